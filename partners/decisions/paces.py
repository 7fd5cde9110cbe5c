"""How fast partners give points: whoever gives far more in an hour than ever is stopped for a while, and told of.

A partner that inflates its accruals (a stolen credential, a till gone mad, its own staff) takes points out of nothing
for which all pay later. What is usual is the partner's own busiest day of four weeks; more than that within an hour is
not. What is spent, returned or cancelled goes on meanwhile, and staff can let the partner go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import Rejection
from ledger import rollups
from ledger.rollups import Rollup
from partners import store
from partners.decisions import pace_store

HOUR = timedelta(hours=1)
LOOK_BACK_DAYS = 28
NEWCOMERS_HOUR = 1_000_000
"""Points that any partner may give in an hour, however little it gave before."""
BRAKE = timedelta(minutes=15)
LEFT_ALONE = timedelta(hours=24)
"""How long a partner is not stopped again after staff let it go on."""

_ISSUED = 10  # the ledger's kind of account that points come from
WATCHER = "partners.paces"


class EarningPaused(Rejection):
    """The partner gave far more points than it ever does; for a while it gives none."""

    code = "EARNING_PAUSED"
    retryable = True

    def __init__(self) -> None:
        super().__init__("far more points were given than this partner ever gives; the operator was told")


class NotPaused(Rejection):
    """The partner's earning is not paused."""

    code = "EARNING_NOT_PAUSED"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the partner gives points as always")


@dataclass(frozen=True, slots=True)
class Burst:
    """A partner that gave so many points within an hour, and the most that it may."""

    partner_id: int
    points: int
    most: int


def bursts(pace: Mapping[int, int], usual: Mapping[int, int]) -> list[Burst]:
    """PURE: who gave more within an hour (pace) than on the busiest day (usual), and more than any newcomer may."""
    found = []
    for partner_id, points in sorted(pace.items()):
        most = max(usual.get(partner_id, 0), NEWCOMERS_HOUR)
        if points > most:
            found.append(Burst(partner_id, points, most))
    return found


def busiest_days(totals: Sequence[Rollup]) -> dict[int, int]:
    """PURE: the most points that each partner issued on one of the days."""
    by_day: dict[tuple[int, date], int] = {}
    for each in totals:
        if each.debit == _ISSUED:
            key = (each.issuer_id, each.day)
            by_day[key] = by_day.get(key, 0) + each.points
    busiest: dict[int, int] = {}
    for (partner_id, _), points in by_day.items():
        busiest[partner_id] = max(points, busiest.get(partner_id, 0))
    return busiest


async def watch(connection: AsyncConnection, *, at: datetime) -> list[Burst]:
    """Look at the pace of the last hour by the roll-ups, and stop whoever is too fast; those who were stopped now."""
    given = await rollups.issued(connection)
    earlier = await pace_store.given_before(connection, at - HOUR)
    await pace_store.note(connection, given, at, forget_before=at - 2 * HOUR)
    pace = {partner_id: points - earlier.get(partner_id, points) for partner_id, points in given.items()}
    too_fast = bursts({partner_id: points for partner_id, points in pace.items() if points > NEWCOMERS_HOUR}, {})
    if not too_fast:
        return []
    today = at.date()
    since = today - timedelta(days=LOOK_BACK_DAYS)
    usual = busiest_days(await rollups.totals(connection, since=since, until=today))
    stopped, is_changed = [], False
    for burst in bursts(pace, usual):
        is_new = await pace_store.insert_brake(
            connection, burst.partner_id, at=at, until=at + BRAKE, points=burst.points, most=burst.most,
            lifted_after=at - LEFT_ALONE,
        )  # fmt: skip
        is_changed |= is_new is not None
        if is_new:
            detail = {"points": burst.points, "most": burst.most}
            subject = f"partner:{burst.partner_id}"
            await audit.write(connection, actor=WATCHER, action="EARNING_PAUSED", subject=subject, detail=detail, at=at)
            stopped.append(burst)
    if is_changed:
        await store.bump_revision(connection)
    return stopped


async def go_on(connection: AsyncConnection, *, partner_id: int, actor: int, at: datetime) -> None:
    """Let a partner give points again; for a day it is not stopped, however fast. On behalf of ONBOARDING.

    Rejects NOT_PERMITTED, EARNING_NOT_PAUSED.
    """
    await actors.require_role(connection, actor, actors.ONBOARDING)
    if not await pace_store.lift(connection, partner_id, at):
        raise NotPaused
    await store.bump_revision(connection)
    await audit.write(
        connection, actor=actor, action="EARNING_RESUMED", subject=f"partner:{partner_id}", detail={}, at=at
    )
