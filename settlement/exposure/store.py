"""Statements on exposure and defaults. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_EXPOSURE = (
    "partner_id, currency, debit_micro, pending_micro, cover_micro, cap_micro, policy, limit_points, withheld_micro"
)
_ONE_AT_A_TIME = 7_305_016  # an advisory lock's number, of no meaning elsewhere


async def insert_exposures(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Where partners stood at an instant."""
    if rows:
        await connection.execute(
            text(
                f"INSERT INTO settlement.exposure (at, {_EXPOSURE}) VALUES (:at, :partner_id, :currency, :debit_micro, "
                "  :pending_micro, :cover_micro, :cap_micro, :policy, :limit_points, :withheld_micro)"
            ),
            list(rows),
        )


async def lock_limits(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to set limits and to let go what waits."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})


async def added_up(connection: AsyncConnection) -> int:
    """The transaction number below which everything is added up in the positions."""
    found = await connection.execute(text("SELECT coalesce(max(until_xid), '0') FROM settlement.position_batch"))
    return int(found.scalar_one())


async def last_exposures(connection: AsyncConnection, *, at: datetime | None = None) -> Sequence[Row[Any]]:
    """Where every partner stood when it was last looked at, or by an instant."""
    found = await connection.execute(
        text(
            f"SELECT DISTINCT ON (partner_id, currency) {_EXPOSURE} FROM settlement.exposure "
            "WHERE CAST(:at AS timestamptz) IS NULL OR at <= :at ORDER BY partner_id, currency, exposure_id DESC"
        ),
        {"at": at},
    )
    return found.all()


async def finished(connection: AsyncConnection) -> int:
    """A transaction number below which every transaction has ended, so that what it recorded is read."""
    return int((await connection.execute(text("SELECT ledger.horizon()"))).scalar_one())


async def reached(connection: AsyncConnection) -> int:
    """A transaction number below which everything lies that was recorded by now, also what is not committed yet."""
    return int((await connection.execute(text("SELECT ledger.reached()"))).scalar_one())


async def is_over(connection: AsyncConnection, xid: int) -> bool:
    """Whether every transaction below a number has ended, so that what it recorded can be read."""
    found = await connection.execute(text("SELECT ledger.horizon() >= CAST(:xid AS xid8)"), {"xid": xid})
    return bool(found.scalar_one())


async def pay_in(connection: AsyncConnection, run_id: int, partner_id: int) -> int:
    """What a partner has to pay for a run, less what it paid or disputes and what was taken before; minor units."""
    found = await connection.execute(
        text(
            "SELECT coalesce((SELECT sum(amount_minor) FROM settlement.instruction WHERE run_id = :run_id "
            "                   AND partner_id = :partner_id AND direction = 'PAY_IN'), 0) "
            "     - coalesce((SELECT sum(amount_minor) FROM settlement.default_step WHERE run_id = :run_id "
            "                   AND partner_id = :partner_id), 0) "
            "     - coalesce((SELECT sum(p.amount_minor) FROM settlement.payment_leg l "
            "                   JOIN settlement.leg_payment p USING (leg_id) WHERE l.run_id = :run_id "
            "                   AND l.partner_id = :partner_id AND l.direction = 'PAY_IN'), 0) "
            "     - coalesce((SELECT sum(amount_minor) FROM settlement.dispute WHERE run_id = :run_id "
            "                   AND partner_id = :partner_id AND mode = 'WITHHELD'), 0) "
            "     - coalesce((SELECT sum(r.amount_minor) FROM settlement.payment_leg l "
            "                   JOIN settlement.leg_relief r USING (leg_id) WHERE l.run_id = :run_id "
            "                   AND l.partner_id = :partner_id AND l.direction = 'PAY_IN'), 0)"
        ),
        {"run_id": run_id, "partner_id": partner_id},
    )
    return int(found.scalar_one())


async def insert_default_steps(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """What was taken for what a partner did not pay."""
    await connection.execute(
        text(
            "INSERT INTO settlement.default_step (run_id, partner_id, currency, step_no, source, amount_minor, actor, "
            "                                     approval_id, at) "
            "VALUES (:run_id, :partner_id, :currency, :step_no, :source, :amount_minor, :actor, :approval_id, :at)"
        ),
        list(rows),
    )


async def default_steps(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """What was taken for what partners did not pay for a run."""
    found = await connection.execute(
        text(
            "SELECT partner_id, currency, step_no, source, amount_minor, actor, at FROM settlement.default_step "
            "WHERE run_id = :run_id ORDER BY partner_id, step_no"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def latest_calculated_at(connection: AsyncConnection, currency: str) -> datetime | None:
    """The business instant of the latest run of a currency."""
    found = await connection.execute(
        text("SELECT max(at) FROM settlement.run WHERE currency = :currency"), {"currency": currency}
    )
    latest: datetime | None = found.scalar_one()
    return latest
