"""What is a defect, what was merely away."""

from __future__ import annotations

from socket import gaierror

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from gateway.masking import is_unavailable
from kit.errors import OutcomeUnknown


class _DriverError(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    "cause",
    [
        OutcomeUnknown(), TimeoutError(), ConnectionResetError(), ConnectionRefusedError(), PoolExhausted("pool"),
        FileNotFoundError("its socket"), gaierror("its name"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.ConnectionDoesNotExistError("closed"), asyncpg.AdminShutdownError("x"), asyncpg.CrashShutdownError("x"),
        asyncpg.CannotConnectNowError("x"), asyncpg.TooManyConnectionsError("x"), asyncpg.QueryCanceledError("x"),
        asyncpg.DeadlockDetectedError("x"), asyncpg.SerializationError("x"),
        asyncpg.InterfaceError("cannot perform operation: connection is closed"), asyncpg.InterfaceError("pool is closing"),
        DBAPIError("SELECT", None, _DriverError("57P01")), DBAPIError("SELECT", None, _DriverError("x"), connection_invalidated=True),
    ],
)  # fmt: skip
def test_what_was_away_can_be_asked_again(cause: Exception) -> None:
    assert is_unavailable(cause)


@pytest.mark.parametrize(
    "cause",
    [
        ValueError("closed"), KeyError("x"), asyncpg.UniqueViolationError("x"), asyncpg.UndefinedTableError("x"),
        asyncpg.CheckViolationError("x"), asyncpg.DataError("invalid input: closed"),
        asyncpg.InterfaceError("another operation is in progress"), DBAPIError("SELECT", None, _DriverError("23505")),
        type("Both", (asyncpg.InterfaceError, ValueError), {})("invalid input for query argument $1: 'closed'"),
    ],
)  # fmt: skip
def test_what_is_wrong_stays_wrong(cause: Exception) -> None:
    assert not is_unavailable(cause)
