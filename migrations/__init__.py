"""Brings a database to the current schema: Alembic revisions for tables, then each package's routines.

Tables change by reviewed revisions. Functions do not: the files hold them as they are now, and all of a schema's
functions are replaced, in the same transaction, whenever a file's hash differs from the one applied.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

HERE = Path(__file__).parent
PACKAGES_WITH_ROUTINES = ("ledger", "members", "partners")
_ONE_AT_A_TIME = 7_305_001  # an advisory lock's number, of no meaning elsewhere


def upgrade(url: str) -> list[str]:
    """Bring the database at a postgresql:// address (the schema's owner) to date; returns what changed.

    Safe to run by several processes at once: one works, the others wait and find nothing to do. Everything happens
    in one transaction. Raises what the driver raises.
    """
    return asyncio.run(upgrade_async(url))


async def upgrade_async(url: str) -> list[str]:
    """As `upgrade`, from code that already runs in an event loop."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> list[str]:
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})
    before = MigrationContext.configure(connection).get_current_revision()
    config = Config()
    config.set_main_option("script_location", str(HERE))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    after = MigrationContext.configure(connection).get_current_revision()
    changed = [f"tables: {before or 'nothing'} to {after}"] if before != after else []
    changed += [f"routines: {name}" for name in PACKAGES_WITH_ROUTINES if _load_routines(connection, name)]
    epoch = connection.execute(text("SELECT ledger.re_base()")).scalar_one()
    return changed if epoch is None else [*changed, f"journal: epoch {epoch}, in another cluster"]


def _load_routines(connection: Connection, package: str) -> bool:
    source = _routines_of(package)
    wanted = hashlib.sha256(source.encode()).hexdigest()
    held = connection.execute(
        text("SELECT source_hash FROM kit.routine_file WHERE package = :package"), {"package": package}
    ).scalar_one_or_none()
    if held == wanted:
        return False
    connection.execute(text("SELECT kit.drop_routines(:package)"), {"package": package})
    run_script(connection, source)
    connection.execute(
        text(
            "INSERT INTO kit.routine_file (package, source_hash) VALUES (:package, :hash) "
            "ON CONFLICT (package) DO UPDATE SET source_hash = EXCLUDED.source_hash"
        ),
        {"package": package, "hash": wanted},
    )
    return True


def _routines_of(package: str) -> str:
    """The package's files of routines as one script; who may call them comes last."""
    files = sorted(
        (HERE.parent / package / "routines").glob("*.sql"), key=lambda file: (file.stem == "privileges", file)
    )
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def run_script(connection: Connection, script: str) -> None:
    """Run a script of many statements, without parameters, in the transaction that the connection is in."""
    connection.execute(text("SELECT 1"))  # SQLAlchemy's adapter begins only with the first statement of its own
    adapted = connection.connection.dbapi_connection
    assert adapted is not None
    adapted.run_async(lambda driver: driver.execute(script))
