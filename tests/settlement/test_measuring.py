"""How reconciliation does: figures that a person could count by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from kit.database import Database
from kit.secrets import Vault
from settlement.reconciliation import intake, measuring, register, resolving
from settlement.reconciliation.intake import FileRule
from settlement.reconciliation.matching import RULES_VERSION
from settlement.reconciliation.measuring import Matched
from settlement.reports import catalogue
from settlement.reports.catalogue import Wanted
from tests.builders import DAY, NOON
from tests.settlement.bank_files import Paid
from tests.settlement.reconciling import CHECKER, MAKER, House, a_house_of, changed, met

TODAY, AT = NOON.date(), NOON + DAY


template = a_house_of()


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    await made.books.coalition.desk.close()


async def test_figures_say_what_was_matched_by_which_rule_and_how_long_the_rest_took(a_house: House) -> None:
    card = await a_house.books.member()
    for n, points in enumerate((5, 50, 60)):
        await a_house.sell(card, points, "cafe", after=0, reference=f"S{n}")
    rows = changed(await a_house.rows("cafe", TODAY), "S1", points=40)
    rows = changed(rows, "S2", points=55)
    budget = FileRule("WHOLE", write_off_minor=100)
    await a_house.do(intake.change_rule, a_house.books.id_of("cafe"), budget, actor=CHECKER, at=AT)
    await a_house.compare(await a_house.send("cafe", TODAY, rows, at=AT), at=AT)
    await a_house.compare(await a_house.send("bakery", TODAY, [replace(rows[0], reference="X")], at=AT), at=AT)
    first, second, _ = await a_house.breaks()
    await a_house.do(register.explain, first.break_id, cause="the till", actor=MAKER, at=AT + DAY)
    await a_house.do(resolving.write_off, first.break_id, cause="small", actor=MAKER, at=AT + 20 * DAY)
    await a_house.receive(a_house.bank.statement(Paid(500, text="a gift")), at=AT)

    async with a_house.database.reading() as connection:
        found = await measuring.figures(connection, partner_id=a_house.books.id_of("cafe"), at=AT + 7 * DAY)
        everybody = await measuring.figures(connection, at=AT + 7 * DAY)
    assert (found.compared, found.told, found.rules) == (3, 0, (Matched("FILE", "EXACT", RULES_VERSION, 1),))
    assert (everybody.compared, everybody.told, everybody.straight_through("BANK")) == (4, 1, 0)
    [kept] = found.categories.values()
    assert (kept.found, kept.unresolved, kept.resolved) == (2, 1, 1)
    assert (kept.found_micro, kept.open_micro) == (150_000, second.value_micro)
    assert (kept.resolved_days, kept.oldest_days) == (14, 5)  # 20 days and 7, weekends not counted
    assert (kept.in_time_micro, kept.written_off_micro) == (first.value_micro, first.value_micro)
    async with a_house.database.transaction() as connection:
        made = await catalogue.make(connection, "R25", Wanted(None, a_house.books.id_of("cafe"), AT + 7 * DAY))
    told = {(row[1].code, row[2]): row for row in made.report.tables[0].rows if row[0] == "FILE"}  # type: ignore[union-attr]
    assert [str(told["STRAIGHT_THROUGH", None][n]) for n in (3, 4)] == ["1", "0.3333"]
    assert told["RESOLVED_OF", "QUANTITY"][7] == 14
