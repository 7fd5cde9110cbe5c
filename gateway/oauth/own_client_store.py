"""The statements of clients as their partner's own people see them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_CLIENT = "client_no, client_id, name, kind, status, scopes, created_at"


async def of_partner(connection: AsyncConnection, partner_id: int) -> Sequence[RowMapping]:
    """A partner's clients, those in use first, by name."""
    statement = text(
        f"SELECT {_CLIENT} FROM gateway.client WHERE partner_id = :partner_id AND client_no > 0 "
        "ORDER BY status, name, client_no LIMIT 200"
    )
    return (await connection.execute(statement, {"partner_id": partner_id})).mappings().all()


async def one(connection: AsyncConnection, partner_id: int, client_id: str) -> RowMapping | None:
    """A partner's client by its id."""
    statement = text(
        f"SELECT {_CLIENT} FROM gateway.client "
        "WHERE partner_id = :partner_id AND client_id = :client_id AND client_no > 0"
    )
    values = {"partner_id": partner_id, "client_id": client_id}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def numbered(connection: AsyncConnection, partner_id: int, client_no: int) -> RowMapping | None:
    """A partner's client by its number."""
    statement = text(f"SELECT {_CLIENT} FROM gateway.client WHERE partner_id = :partner_id AND client_no = :client_no")
    values = {"partner_id": partner_id, "client_no": client_no}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def in_use(connection: AsyncConnection, partner_id: int) -> int:
    """How many clients of a partner are active."""
    statement = text("SELECT count(*) FROM gateway.client WHERE partner_id = :partner_id AND status = 'ACTIVE'")
    return int((await connection.execute(statement, {"partner_id": partner_id})).scalar_one())
