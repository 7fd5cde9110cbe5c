"""Statements of the breakage model. Private to settlement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ONE_AT_A_TIME = 7_305_013  # an advisory lock's number, of no meaning elsewhere


async def lock_model(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to run the model."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})


async def development(connection: AsyncConnection, as_of: datetime) -> Sequence[Row[Any]]:
    """Per funder, version, month of activation and age in months: points issued less returned, redeemed, expired.

    A lot that came by a transfer counts by its own activation, which it keeps.
    """
    found = await connection.execute(
        text(
            """
            WITH moved AS (
              SELECT p.funder_id, p.lot_terms_id AS terms_id,
                     CAST(date_trunc('month', l.activates_at AT TIME ZONE 'UTC') AS date) AS month,
                     j.at AT TIME ZONE 'UTC' AS at, p.debit, p.credit, p.amount
              FROM ledger.posting p
              JOIN ledger.journal j USING (holder_id, unit, seq)
              JOIN ledger.lot l ON l.holder_id = p.holder_id AND l.unit = p.unit AND l.seq = p.lot_seq
                               AND l.lot_no = p.lot_no
              WHERE p.unit = 1 AND j.recorded_at <= :as_of
            )
            SELECT funder_id, terms_id, month,
                   CAST(greatest(0, (extract(year FROM at) - extract(year FROM month)) * 12
                                    + extract(month FROM at) - extract(month FROM month)) AS int) AS age,
                   CAST(sum(CASE WHEN debit IN (2, 10, 15) AND credit = 1 THEN amount
                                 WHEN debit = 1 AND credit IN (13, 15) THEN -amount ELSE 0 END) AS bigint) AS issued,
                   CAST(sum(CASE WHEN credit = 11 OR debit = 1 AND credit = 4 THEN amount
                                 WHEN debit = 11 THEN -amount ELSE 0 END) AS bigint) AS redeemed,
                   CAST(sum(CASE WHEN debit = 1 AND credit = 12 THEN amount ELSE 0 END) AS bigint) AS expired
            FROM moved GROUP BY funder_id, terms_id, month, age ORDER BY funder_id, terms_id, month, age
            """
        ),
        {"as_of": as_of},
    )
    return found.all()


async def held(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """What is held in the contra account, by funder, version and month."""
    found = await connection.execute(
        text(
            "SELECT party_id, cohort_id, cohort_month, currency, CAST(sum(amount_micro) AS bigint) AS amount_micro "
            "FROM settlement.money_posting WHERE account = '2105' "
            "GROUP BY party_id, cohort_id, cohort_month, currency HAVING sum(amount_micro) <> 0"
        )
    )
    return found.all()


async def last_cutoff(connection: AsyncConnection) -> int:
    """Number of the latest cut-off that is booked; 0 where none is."""
    found = await connection.execute(
        text("SELECT coalesce(max(cutoff_id), 0) FROM settlement.booking WHERE source = 'cutoff:' || cutoff_id")
    )
    return int(found.scalar_one())


async def next_number(connection: AsyncConnection) -> int:
    """Number of the next run of the model; whoever asks holds the lock."""
    found = await connection.execute(text("SELECT coalesce(max(breakage_run_id), 0) + 1 FROM settlement.breakage_run"))
    return int(found.scalar_one())


async def insert_run(
    connection: AsyncConnection, number: int, model: str, as_of: datetime, actor: str, booking_id: int | None
) -> None:
    """A run of the model."""
    await connection.execute(
        text(
            "INSERT INTO settlement.breakage_run (breakage_run_id, model, as_of, actor, booking_id) "
            "VALUES (:number, :model, :as_of, :actor, :booking_id)"
        ),
        {"number": number, "model": model, "as_of": as_of, "actor": actor, "booking_id": booking_id},
    )


async def insert_estimates(
    connection: AsyncConnection, number: int, rows: Sequence[tuple[int, int, date, str, int, int, int, int, int]]
) -> None:
    """What a run of the model expected of each cohort."""
    names = (
        "funder_id", "terms_id", "month", "currency", "issued", "redeemed", "expired", "urr_ppm", "estimate_micro",
    )  # fmt: skip
    if rows:
        await connection.execute(
            text(
                f"INSERT INTO settlement.breakage_estimate (breakage_run_id, {', '.join(names)}) "
                f"VALUES (:number, {', '.join(f':{name}' for name in names)})"
            ),
            [{"number": number, **dict(zip(names, row, strict=True))} for row in rows],
        )
