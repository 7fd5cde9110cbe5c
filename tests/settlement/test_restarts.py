"""A run that is broken off anywhere is either not done or done, and whoever goes on gets the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from settlement import archive, runs, statements
from settlement.documents import register
from settlement.windows import cycle

DAY = timedelta(days=1)
Coalition = Any  # of conftest, which is not imported


class Killed(Exception):  # noqa: N818 - it stands for a process that is no more
    """Raised where the process would have died."""


@contextmanager
def killed_at(engine: AsyncEngine, number: int) -> Iterator[Callable[[], int]]:
    """Die before the statement of this number is sent, or, behind the last, before the commit; yields how many were."""
    sent = 0

    def before_statement(*_: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            raise Killed

    def before_commit(_: Any) -> None:
        if sent == number - 1:
            raise Killed

    event.listen(engine.sync_engine, "before_cursor_execute", before_statement)
    event.listen(engine.sync_engine, "commit", before_commit)
    try:
        yield lambda: sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", before_statement)
        event.remove(engine.sync_engine, "commit", before_commit)


async def everything(coalition: Coalition) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of settlement and of the trail, without what the wall's clock wrote."""
    tables = await coalition.database.pool.fetch(
        "SELECT table_schema || '.' || table_name AS name, string_agg(quote_ident(column_name), ', ' ORDER BY "
        "ordinal_position) AS columns FROM information_schema.columns WHERE table_schema = 'settlement' "
        "AND column_name <> 'wrote_at' GROUP BY 1"
    )
    found = {t["name"]: await coalition.database.pool.fetch(f"SELECT {t['columns']} FROM {t['name']}") for t in tables}
    found["kit.audit_trail"] = await coalition.database.pool.fetch("SELECT * FROM kit.audit_trail")
    return {name: sorted((tuple(row) for row in rows), key=repr) for name, rows in found.items()}


async def killed_everywhere(coalition: Coalition, step: Callable[[], Any]) -> tuple[int, Any]:
    """Do a step, killed before its first statement, then before its second, and so on, until it gets through.

    Each time nothing is left of it. Returns at how many places it was killed, and what it gave.
    """
    number = 0
    while True:
        number += 1
        before = await everything(coalition)
        with killed_at(coalition.database.engine, number) as sent:
            try:
                given = await step()
            except Killed:
                assert await everything(coalition) == before, f"killed before statement {number}, and something is left"
                continue
        assert sent() == number - 2, "the commit was the last place to be killed at"
        return number - 1, given


@pytest.mark.deep  # some hundred runs, each killed once
@pytest.mark.parametrize("tax_bp", [2_000])
async def test_a_run_killed_before_every_statement_of_every_step_goes_on_to_the_same_bytes(
    coalition: Coalition, tax_bp: int
) -> None:
    says = {"holdback_bp": 500, "minimum_payout_minor": 20, "platform_fee_micro": 3_000_000, "tax_rule": "VAT"}
    await coalition.database.pool.execute(
        "WITH a AS (INSERT INTO kit.approval (kind, subject, maker_id, made_at, checker_id, decided_at, approved) "
        "           VALUES ('TAX_RULE', 'x', $1, $3, $2, $3, true) RETURNING approval_id) "
        "INSERT INTO settlement.tax_rule SELECT 'VAT', 1, '-infinity', $4, 'LINE', 'S', approval_id FROM a",
        coalition.maker, coalition.checker, coalition.at, tax_bp,
    )  # fmt: skip
    a = await coalition.partner("a", says=says)
    b = await coalition.partner("b", reimbursement=8_003, says=says)
    await coalition.partner("c")
    member = await coalition.member()
    await coalition.earn(member, "a", a, 1000)
    redemption = await coalition.spend(member, "b", b, 600)
    await coalition.close()
    coalition.at += 40 * DAY
    await coalition.refund(member, redemption, 7, "b")
    await coalition.close()

    places: dict[str, int] = {}
    places["begin"], [run_id] = await killed_everywhere(coalition, lambda: coalition.step(runs.begin))
    for use_case in (runs.calculate, runs.control, runs.issue):
        places[use_case.__name__], _ = await killed_everywhere(
            coalition, lambda step=use_case: coalition.step(step, run_id)
        )
    first = await read(coalition, run_id)
    numbers = await numbered(coalition, run_id)
    coalition.at += 9 * DAY
    places["abort"], _ = await killed_everywhere(
        coalition, lambda: coalition.step(runs.abort, run_id, by="checker", reason="to do it again")
    )
    coalition.at -= 9 * DAY
    [again] = (await coalition.settle_closed()).runs

    assert min(places.values()) > 10, places
    assert await read(coalition, again.head.run_id) == first
    assert first, "statements were drawn"
    assert sorted(numbers["operator", "INV"]) == list(range(1, len(numbers["operator", "INV"]) + 1))
    assert await coalition.violations() == []


async def read(coalition: Coalition, run_id: int) -> list[bytes]:
    """The canonical bytes of a run's statements."""
    async with coalition.database.reading() as connection:
        found = await archive.run(connection, run_id)
        windows = [w.name for w in await cycle.windows(connection, run_id=run_id)]
    return [statements.content(s.draft(), windows) for s in found.statements]


async def numbered(coalition: Coalition, run_id: int) -> dict[tuple[str, str], list[int]]:
    """Numbers of a run's documents by entity and series."""
    found: dict[tuple[str, str], list[int]] = {}
    async with coalition.database.reading() as connection:
        for document in await register.documents(connection, run_id=run_id):
            series, number = document.number.split("-")
            found.setdefault((document.entity, series), []).append(int(number))
    return found
