"""Words of the members' tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.secrets import Vault
from members import enrolment
from members.consents import PROGRAMME, ConsentGiven
from members.enrolment import Enrolled, Personal

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BAKERY, PHARMACY = 7, 8

TABLES = (
    "member",
    "member_key",
    "personal",
    "alias",
    "card",
    "code_use",
    "consent",
    "tier_assessment",
    "enrolment",
    "approval",
    "approval_decision",
    "approval_use",
)


def agreed(at: datetime = AT, purpose: str = PROGRAMME, partner_id: int = 0) -> ConsentGiven:
    """A "yes" to a purpose."""
    return ConsentGiven(purpose, "2026-01", at, partner_id, "TILL")


async def enrol(database: Database, vault: Vault, personal: Personal | None = None, **given: Any) -> Enrolled:
    """Somebody enrolled by the bakery, committed."""
    arguments = {"enrolled_by": BAKERY, "at": AT, "consents": [agreed()], "language": "en"} | given
    async with database.transaction() as connection:
        return await enrolment.enrol(connection, vault, personal=personal, **arguments)


async def accrue(
    connection: AsyncConnection, holder_id: int, points: int, at: datetime, *, pending_days: int = 0
) -> int:
    """Points from the bakery in one lot; the entry's number."""
    activates = at + timedelta(days=pending_days)
    found = await connection.execute(
        text("""
            SELECT seq FROM ledger.accrue(:holder, 1::smallint, 7, :key, :key, :at, ARRAY[7], ARRAY[7], ARRAY[1],
                                          ARRAY[CAST(:points AS bigint)], ARRAY[CAST(:activates AS timestamptz)],
                                          ARRAY[CAST(:expires AS timestamptz)])
        """),
        {
            "holder": holder_id,
            "key": uuid4(),
            "at": at,
            "points": points,
            "activates": activates,
            "expires": activates + timedelta(days=365),
        },
    )
    return int(found.scalar_one())


async def give_back(connection: AsyncConnection, holder_id: int, seq: int, points: int, at: datetime) -> None:
    """A return of part of an accrual."""
    await connection.execute(
        text("""
            SELECT ledger.return_accrual(:holder, 1::smallint, :seq, ARRAY[1::smallint],
                                         ARRAY[CAST(:points AS bigint)], 7, :key, :key, :at)
        """),
        {"holder": holder_id, "seq": seq, "points": points, "key": uuid4(), "at": at},
    )


async def spend(connection: AsyncConnection, holder_id: int, points: int, at: datetime) -> None:
    """A redemption at the bakery."""
    await connection.execute(
        text("SELECT ledger.redeem(:holder, 1::smallint, :points, 7, 1, :key, :key, :at, :day)"),
        {"holder": holder_id, "points": points, "key": uuid4(), "at": at, "day": at.date()},
    )


async def everything_written(database: Database) -> dict[str, list[str]]:
    """All rows of the members' tables and of the accounts, as text: two of these differ where anything was written."""
    async with database.reading() as connection:
        written = {
            table: list((await connection.execute(text(f"SELECT t::text FROM members.{table} t"))).scalars())
            for table in TABLES
        }
        accounts = await connection.execute(text("SELECT t::text FROM ledger.account t"))
        return {table: sorted(rows) for table, rows in (written | {"account": list(accounts.scalars())}).items()}
