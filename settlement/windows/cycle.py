"""The way of windows up to where a run may claim them: they follow their cut-off, are added up and held against it.

Nothing is opened or closed here by itself: the ledger's cut-offs say what is open, draining and cut, whoever closed
them, and windows are brought to date with it. Doing so again changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from ledger import cutoffs
from partners.clearing import clearing
from settlement import states
from settlement.windows import names, positions, shares, store
from settlement.windows.names import NET, WindowName
from settlement.windows.shares import Moved

SYSTEM = "settlement"
PATIENCE = 40
PAUSE = timedelta(milliseconds=25)


class WindowUnread(Rejection):
    """A transaction that began before the cut-off was cut still runs somewhere in the cluster: try in a moment."""

    code = "WINDOW_UNREAD"
    retryable = True


class WindowBroken(Rejection):
    """What was added up in a window is not what its cut-off was counted with; nobody settles it."""

    code = "WINDOW_BROKEN"
    retryable = False


@dataclass(frozen=True, slots=True)
class Window:
    """A cut-off in one currency, or what came late in it for origin_cutoff.

    postings and points are None before it was balanced. opened_at and cut_at are the cut-off's, run_id the run's that
    moved it last.
    """

    window_id: int
    name: str
    model: str
    currency: str
    cutoff_id: int
    origin_cutoff: int
    is_late: bool
    state: str
    opened_at: datetime | None
    cut_at: datetime | None
    postings: int | None
    points: int | None
    run_id: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a window's way: who moved it, why, at which business instant."""

    step_no: int
    from_state: str | None
    to_state: str
    actor: str
    reason: str
    at: datetime
    run_id: int | None


async def bring_to_date(connection: AsyncConnection, *, at: datetime, actor: str = SYSTEM) -> None:
    """Let windows follow their cut-offs, and balance what is cut and read.

    What a transaction of somebody else's still keeps from being read stays CUT until this is done again. Raises
    rating.Unrated for points that moved in a way that nobody can price.
    """
    await store.lock_positions(connection)
    await _open_missing(connection, at=at, actor=actor)
    await _follow(connection, at=at, actor=actor)
    while await store.add_batch(connection, at=at, entries=positions.ENTRIES_AT_ONCE) >= positions.ENTRIES_AT_ONCE:
        pass  # a batch that is not full came to the end; while tills go on there is always more
    for cutoff_id in await store.read_cutoffs(connection):
        await _balance(connection, cutoff_id, at=at, actor=actor)


async def wait_until_read(
    database: Database, cutoff_id: int, *, at: datetime, actor: str, advance: Callable[[int], None] = lambda _: None
) -> bool:
    """Bring windows to date, a batch per transaction, until those of a cut-off are balanced; whether they are.

    Waits a moment for transactions that began before the cut, and not for long: whoever settles does the rest.
    """
    await positions.catch_up(database, at=at, advance=advance)
    for _ in range(PATIENCE):
        async with database.transaction() as connection:
            await bring_to_date(connection, at=at, actor=actor)
            waiting = await windows(
                connection, cutoff_ids=[cutoff_id], states=[states.OPEN, states.DRAINING, states.CUT]
            )
        if not waiting:
            return True
        await asyncio.sleep(PAUSE.total_seconds())
    return False


async def windows(
    connection: AsyncConnection,
    *,
    currency: str | None = None,
    states: Sequence[str] | None = None,
    cutoff_ids: Sequence[int] | None = None,
    run_id: int | None = None,
) -> list[Window]:
    """Windows in the order of their cut-offs, of one currency, of states, cut-offs or a run where asked for."""
    rows = await store.windows(connection, currency=currency, states=states, cutoff_ids=cutoff_ids, run_id=run_id)
    return [_window(row) for row in rows]


async def trail(connection: AsyncConnection, window_id: int) -> list[Step]:
    """How a window got where it is."""
    return [Step(**row._mapping) for row in await store.steps(connection, window_id)]


async def open_cutoff(connection: AsyncConnection) -> int:
    """The number of the cut-off that is open."""
    return (await cutoffs.cutoffs(connection))[-1].cutoff_id


async def claim(connection: AsyncConnection, found: Sequence[Window], *, run_id: int, actor: str, at: datetime) -> None:
    """Give balanced windows to a run; the database refuses one that another run has."""
    for window in found:
        await _step(
            connection, window.window_id, window.state, states.CLAIMED,
            actor=actor, reason="claimed by a run", at=at, run_id=run_id,
        )  # fmt: skip


async def release(connection: AsyncConnection, run_id: int, *, actor: str, reason: str, at: datetime) -> None:
    """Take the windows of a run that is no more back from it."""
    for window in await windows(connection, run_id=run_id):
        await _step(
            connection, window.window_id, window.state, states.BALANCED,
            actor=actor, reason=reason, at=at, run_id=run_id,
        )  # fmt: skip


async def moved_in(connection: AsyncConnection, run_id: int) -> list[Moved]:
    """What was added up in the windows of a run."""
    own = await windows(connection, run_id=run_id)
    return await moved_of(connection, own)


async def moved_of(connection: AsyncConnection, own: Sequence[Window]) -> list[Moved]:
    """What was added up in windows of one currency: all of the cut-offs' that is cleared in it and in these windows."""
    if not own:
        return []
    currency, wanted = own[0].currency, {(w.cutoff_id, w.origin_cutoff) for w in own}
    numbers = sorted({w.cutoff_id for w in own})
    moved = await positions.moved(connection, numbers)
    all_of_them = await windows(connection, currency=currency, cutoff_ids=numbers)
    late = {(w.cutoff_id, w.origin_cutoff) for w in all_of_them if w.is_late}
    terms = await clearing.agreed_terms(connection, shares.terms_ids(moved))
    base = await clearing.base_currency(connection)
    found = shares.by_window(moved, late, currency, terms, base)
    return [one for key in sorted(found) if key in wanted for one in found[key]]


async def _open_missing(connection: AsyncConnection, *, at: datetime, actor: str) -> None:
    currencies = await clearing.currencies(connection)
    for row in await store.missing_windows(connection, NET, currencies):
        await _open(connection, row.currency, row.cutoff_id, row.cutoff_id, row.opened_at, at=at, actor=actor)


async def _open(
    connection: AsyncConnection, currency: str, cutoff_id: int, origin: int, opened_at: datetime | None, *,
    at: datetime, actor: str, reason: str = "its cut-off opened",
) -> int:  # fmt: skip
    since = None if opened_at is None else names.minute_of(opened_at)
    seq = await store.next_seq(connection, model=NET, currency=currency, since=since)
    name = WindowName(NET, currency, names.minute_of(opened_at), seq)
    row = {"name": str(name), "model": NET, "currency": currency, "since": since, "seq": seq}
    window_id = await store.insert_window(connection, row | {"cutoff_id": cutoff_id, "origin_cutoff": origin})
    await _step(connection, window_id, None, states.OPEN, actor=actor, reason=reason, at=opened_at or at)
    return window_id


async def _follow(connection: AsyncConnection, *, at: datetime, actor: str) -> None:
    for cutoff_id in await store.unmarked_cutoffs(connection):
        await store.mark_cutoff(connection, cutoff_id)
    for row in await store.known_states(connection):
        way = {"OPEN": (), "DRAINING": (states.DRAINING,), "CUT": (states.DRAINING, states.CUT)}[row.cutoff_state]
        state = row.state
        for wanted in way:
            if (state, wanted) in states.WINDOW_EDGES:
                await _step(
                    connection, row.window_id, state, wanted,
                    actor=actor, reason="its cut-off did", at=row.cut_at or at,
                )  # fmt: skip
                state = wanted


async def _balance(connection: AsyncConnection, cutoff_id: int, *, at: datetime, actor: str) -> None:
    """Hold what was added up behind the watermark against what the ledger counted at the cut, and let windows go on."""
    moved = await positions.moved(connection, [cutoff_id])
    terms = await clearing.agreed_terms(connection, shares.terms_ids(moved))
    base = await clearing.base_currency(connection)
    await _open_late(connection, cutoff_id, moved, terms, base, at=at, actor=actor)
    difference = await positions.difference(connection, cutoff_id)
    waiting = await windows(connection, cutoff_ids=[cutoff_id], states=[states.CUT])
    for window in waiting:
        late = {(w.cutoff_id, w.origin_cutoff) for w in waiting if w.is_late and w.currency == window.currency}
        own = shares.by_window(moved, late, window.currency, terms, base).get((cutoff_id, window.origin_cutoff), [])
        await _count(connection, window, own, difference, at=at, actor=actor)
    await store.mark_balanced(connection, cutoff_id)
    await store.insert_stock(connection, cutoff_id)


async def _count(
    connection: AsyncConnection, window: Window, own: Sequence[Moved], difference: str | None, *,
    at: datetime, actor: str,
) -> None:  # fmt: skip
    postings = sum(one.turnover.postings for one in own)
    points = sum(one.turnover.points for one in own)
    await store.insert_window_count(connection, window_id=window.window_id, postings=postings, points=points)
    if difference is not None:
        wanted, reason = states.BROKEN, difference
    elif postings:
        wanted, reason = states.BALANCED, "what was added up is what was counted at the cut"
    else:
        wanted, reason = states.SETTLED, "nothing is in it"
    await _step(connection, window.window_id, states.CUT, wanted, actor=actor, reason=reason, at=at)


async def _open_late(
    connection: AsyncConnection, cutoff_id: int, moved: Sequence[Moved], terms: Any, base: str, *,
    at: datetime, actor: str,
) -> None:  # fmt: skip
    """Windows for what came late, where the cut-off's own are still to be settled."""
    for own in await windows(connection, cutoff_ids=[cutoff_id], states=[states.CUT]):
        came = shares.in_currency(moved, own.currency, terms, base)
        for origin in sorted({one.origin_cutoff for one in came} - {cutoff_id}):
            opened_at = await store.opened_at(connection, origin)
            reason = f"came late for cut-off {origin}"
            window_id = await _open(
                connection, own.currency, cutoff_id, origin, opened_at, at=at, actor=actor, reason=reason
            )
            for before, after in ((states.OPEN, states.DRAINING), (states.DRAINING, states.CUT)):
                await _step(connection, window_id, before, after, actor=actor, reason=reason, at=own.cut_at or at)


async def _step(
    connection: AsyncConnection, window_id: int, before: str | None, after: str, *,
    actor: str, reason: str, at: datetime, run_id: int | None = None,
) -> None:  # fmt: skip
    assert before is None or (before, after) in states.WINDOW_EDGES, f"a window does not go from {before} to {after}"
    row = {"window_id": window_id, "from_state": before, "to_state": after, "actor": actor, "reason": reason, "at": at}
    await store.insert_window_step(connection, row | {"run_id": run_id})


def _window(row: Any) -> Window:
    points = row.points
    return Window(**{**row._mapping, "points": None if points is None else int(points)})
