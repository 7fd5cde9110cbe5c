"""Pieces of the command line: one way to fail, one way to show progress, one way to reach the database."""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from typing import Any, NoReturn, TypeVar

import asyncpg
import uvloop
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import clock, postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.errors import Rejection
from kit.postgres import PostgresError
from kit.secrets import BadKey
from kit.settings import Settings

T = TypeVar("T")

DATABASE = "tessera"
# A young database grows a hundredfold within autovacuum's usual minute, on plans made for empty tables.
_YOUNG = {"autovacuum_naptime": "3s"}

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

# By the first characters of SQLSTATE, longer ones first: what a person can do about it.
_SENTENCES = {
    "42P01": "the database has no tables of this version yet: run `tessera migrate`",
    "42883": "the database has no routines of this version yet: run `tessera migrate`",
    "3F000": "the database has no tables yet: run `tessera migrate`",
    "3D000": "PostgreSQL has no database of the name that DATABASE_URL gives",
    "28": "PostgreSQL does not let us in: check DATABASE_URL, or run `tessera migrate` first",
    "42501": "the database's role may not do this: run `tessera migrate` as the owner of the tables",
    "53300": "PostgreSQL has no connection left for us",
    "57P": "PostgreSQL is starting or stopping: try again in a moment",
    "08": "the connection to PostgreSQL was lost",
}


def fail(sentence: str) -> NoReturn:
    """Say a sentence on standard error and exit with code 2."""
    err.print(sentence, style="red", markup=False, soft_wrap=True)
    raise SystemExit(2)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn what a person can do something about into one sentence and exit code 2. Block or decorator.

    A defect of ours stays what it is: a traceback.
    """
    try:
        yield
    except Rejection as no:
        fail(_rejection_sentence(no))
    except ValidationError as wrong:
        fail(_validation_sentence(wrong))
    except (PostgresError, BadKey) as problem:
        fail(str(problem))
    except (DBAPIError, asyncpg.PostgresError) as refused:
        sentence = _database_sentence(refused)
        if sentence is None:
            raise
        fail(sentence)
    except (ArgumentError, asyncpg.InterfaceError) as wrong_address:
        if not isinstance(wrong_address, ArgumentError | ValueError):
            raise
        fail("DATABASE_URL is not an address such as postgresql://user:password@host:5432/tessera")
    except OSError as problem:
        fail(f"the system says no: {problem}")


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end, with `clear_errors` around it."""
    with clear_errors():
        return uvloop.run(coroutine)


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error for a long step; yields what advances it. Without a terminal, a line."""
    if not err.is_terminal:
        err.print(description, markup=False)
        yield lambda steps: None
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def database_address(settings: Settings) -> Iterator[tuple[str, str]]:
    """Addresses of the database for the application's role and for the schema's owner.

    They are DATABASE_URL and TESSERA_MIGRATION_URL (or DATABASE_URL again) where those are set. Else the
    embedded PostgreSQL in the data folder runs for the time of the block, its database made if missing.
    """
    if settings.database_url is not None:
        owner = settings.migration_url or settings.database_url
        yield settings.database_url.get_secret_value(), owner.get_secret_value()
        return
    with postgres.running(settings.data / "postgres", settings=_YOUNG) as server:
        if not postgres.database_exists(server, DATABASE):
            postgres.create_database(server, DATABASE)
        yield server.url(DATABASE, APPLICATION_ROLE), server.url(DATABASE, server.superuser)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database of these settings, opened as the application's role for the time of one command."""
    with database_address(settings) as (address, _):
        async with connect(address, pool_size=2) as opened:
            yield opened


async def business_instant(connection: AsyncConnection, settings: Settings) -> datetime:
    """The instant of the business clock, for the `at` of what a command does."""
    return await clock.sandbox(connection) if settings.clock == "sandbox" else clock.wall()


def login_name() -> str:
    """The name under which the person at this terminal signed in to the machine."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        fail("the system does not tell who you are: say it with --actor")


def _rejection_sentence(no: Rejection) -> str:
    lines = [f"{no.message} ({no.code})"]
    lines += [f"  {'.'.join(problem.path)}: {problem.message}" for problem in no.problems]
    return "\n".join(lines)


def _validation_sentence(wrong: ValidationError) -> str:
    # The offending value stays unsaid: it may be a secret.
    is_settings = wrong.title == Settings.__name__
    problems = []
    for problem in wrong.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in problem["loc"])
        if is_settings and name != "DATABASE_URL":
            name = f"TESSERA_{name.upper()}"
        problems.append(f"{name}: {problem['msg']}")
    return "; ".join(problems)


def _database_sentence(refused: BaseException) -> str | None:
    state = _sqlstate(refused)
    return next((said for prefix, said in _SENTENCES.items() if state.startswith(prefix)), None)


def _sqlstate(refused: BaseException) -> str:
    original = refused.orig if isinstance(refused, DBAPIError) else refused
    return str(getattr(original, "sqlstate", None) or "")
