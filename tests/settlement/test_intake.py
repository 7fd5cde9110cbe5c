"""Partners' files on their way in: once, in order, all or what is right, and nothing left of what is refused."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from random import Random

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.finance import dispute_duties
from kit import actors
from kit.database import Database
from kit.secrets import Vault
from settlement.reconciliation import comparing, intake, matching, register, resolving
from settlement.reconciliation.breaks import Category
from settlement.reconciliation.intake import FileRule
from settlement.reconciliation.matching import Break, Item, Match, Tolerance
from tests.builders import DAY, NOON
from tests.settlement.reconciling import CHECKER, MAKER, House, Row, a_house_of, changed, file_of, met

TODAY = NOON.date()


template = a_house_of()


@pytest.fixture
async def a_house(database: Database, vault: Vault) -> AsyncIterator[House]:
    made = await met(database, vault)
    yield made
    await made.books.coalition.desk.close()


def row(number: int, **changes: object) -> Row:
    return replace(Row("1", TODAY, f"R{number}", "SALE", 10 + number, 1_000), **changes)  # type: ignore[arg-type]


async def test_a_file_is_taken_once_in_its_order_and_every_other_is_answered_and_leaves_one_break(
    a_house: House,
) -> None:
    rows = [row(n) for n in range(3)]
    first = await a_house.send("cafe", TODAY, rows, at=NOON)
    assert (first.state, first.records, first.points, first.sequence) == ("TAKEN", 3, 33, 1)
    before = await a_house.written()
    cases = [
        (file_of("cafe", TODAY, 1, rows), "FILE_DUPLICATE"),
        (file_of("cafe", TODAY, 3, rows[:1]), "FILE_GAP"),
        (file_of("bakery", TODAY, 2, rows), "FILE_PARTNER"),
        (file_of("cafe", TODAY, 2, rows, records=9), "PARTNER_FILE_INVALID"),
        (file_of("cafe", TODAY, 2, [*rows, row(3, kind="GIFT")]), "RECORDS_WRONG"),
    ]
    for content, code in cases:
        for _ in range(2):
            refused = await a_house.send("cafe", TODAY, [], at=NOON, content=content)
            assert (refused.state, refused.code) == ("REFUSED", code)
    after = await a_house.written()
    files, found = 2 * len(cases), len(cases)
    assert {t: after[t] - before[t] for t in after if after[t] != before[t]} == {
        "partner_file": files, "break": found, "break_step": found,
    }  # fmt: skip
    second = await a_house.send("cafe", TODAY, [row(7)], at=NOON)
    assert second.state == "TAKEN"
    states = {one.detail["code"]: one.state for one in await a_house.breaks()}
    assert states["PARTNER_FILE_INVALID"] == states["RECORDS_WRONG"] == "RESOLVED"  # their number came as it should
    assert states["FILE_GAP"] == states["FILE_DUPLICATE"] == "OPEN"


async def test_of_a_file_taken_by_records_what_is_wrong_is_told_line_by_line(a_house: House) -> None:
    rule = FileRule("RECORDS", 0)
    await a_house.do(intake.change_rule, a_house.books.id_of("cafe"), rule, actor=CHECKER, at=NOON)
    made = await a_house.send("cafe", TODAY, [row(0), row(1, kind="GIFT"), row(2, reference="=1+1")], at=NOON)
    assert (made.state, made.records, made.refused) == ("TAKEN", 3, 1)
    await a_house.compare(made, at=NOON + DAY)
    async with a_house.database.reading() as connection:
        told = [json.loads(line) async for line in intake.result_lines(connection, made.file_id)]
    assert told[0] == {"line": 3, "reference": "R1", "code": "KIND_UNKNOWN", "message": told[0]["message"]}
    assert [(one["line"], one["reference"], one["category"]) for one in told[1:]] == [
        (2, "R0", "MISSING_OURS"), (4, "=1+1", "MISSING_OURS"),
    ]  # fmt: skip


async def test_the_same_file_sent_by_many_at_once_is_taken_once(a_house: House) -> None:
    content = file_of("cafe", TODAY, 1, [row(n) for n in range(200)])
    made = await asyncio.gather(*(a_house.send("cafe", TODAY, [], at=NOON, content=content) for _ in range(5)))
    assert sorted(one.state for one in made) == ["REFUSED"] * 4 + ["TAKEN"]
    assert (await a_house.written())["partner_record"] == 200


async def test_whoever_may_not_compare_or_change_how_files_are_taken_changes_nothing(a_house: House) -> None:
    made = await a_house.send("cafe", TODAY, [row(0)], at=NOON)
    before = await a_house.written()
    with pytest.raises(actors.NotPermitted):
        await a_house.do(comparing.compare, made.file_id, actor=CHECKER, at=NOON)
    with pytest.raises(actors.NotPermitted):
        await a_house.do(intake.change_rule, 1, FileRule(), actor=MAKER, at=NOON)
    with pytest.raises(intake.FileRuleInvalid):
        await a_house.do(intake.change_rule, 1, FileRule("SOME"), actor=CHECKER, at=NOON)
    with pytest.raises(intake.FileUnknown):
        await a_house.do(comparing.compare, 999, actor=MAKER, at=NOON)
    async with a_house.database.reading() as connection:
        with pytest.raises(intake.FileUnknown):
            await intake.acknowledgement(connection, made.file_id, partner_id=a_house.books.id_of("bakery"))
    assert await a_house.written() == before


async def test_what_the_database_matches_is_what_the_pure_rules_say(a_house: House, monkeypatch) -> None:
    """The fast way and the rules over everything come to the same matches and breaks."""
    card = await a_house.books.member()
    for n in range(6):
        await a_house.sell(card, 5 + n, "cafe", after=0, reference=f"S{n}", tax=10)
    await a_house.sell(card, 1, "cafe", after=1, reference="NEXT", tax=10)
    rows = await a_house.rows("cafe", TODAY)
    rows = changed(changed(rows, "S1", points=1), "S2", reference="RENAMED")
    rows += [replace(rows[3]), replace(rows[0], reference="NEXT", points=1, minor=100), row(9)]
    made = await a_house.send("cafe", TODAY, rows, at=NOON + 2 * DAY)
    lines = await a_house.database.pool.fetch("SELECT * FROM partners.receipt_line ORDER BY reference, kind")
    ours = [
        Item(n, (line["reference"], line["kind"]), line["outlet"], line["business_date"], line["points"],
             line["amount_minor"], "EUR", tax_minor=10, unit_price_micro=10_000,
             window=(line["business_date"] - TODAY).days)
        for n, line in enumerate(lines)
    ]  # fmt: skip
    theirs = sorted(
        (Item(n, (r.reference, r.kind), r.outlet, r.day, r.points, r.minor, "EUR") for n, r in enumerate(rows, 2)),
        key=lambda one: (one.key, one.item_no),
    )
    found = list(matching.reconcile(ours, theirs, tolerance=Tolerance(), on=date(2027, 1, 1)))
    compared = await a_house.compare(made, at=NOON + 2 * DAY)
    assert compared.matched == sum(isinstance(one, Match) for one in found) == 4
    breaks = await a_house.breaks()
    assert sorted(one.category for one in breaks) == sorted(str(b.category) for b in found if isinstance(b, Break))
    again = await a_house.written()
    assert await a_house.compare(made, at=NOON + 3 * DAY) == compared
    assert await a_house.written() == again


async def test_a_file_that_hardly_meets_ours_is_not_drowned_in_breaks(a_house: House, monkeypatch) -> None:
    monkeypatch.setattr(matching, "MOST_DIFFERENCES", 3)
    made = await a_house.send("cafe", TODAY, [row(n) for n in range(5)], at=NOON)
    before = await a_house.written()
    with pytest.raises(matching.TooManyDifferences):
        await a_house.compare(made, at=NOON)
    assert await a_house.written() == before


async def test_what_is_missing_is_waited_for_and_closes_by_itself_when_it_comes(a_house: House) -> None:
    card, at = await a_house.books.member(), NOON + DAY
    await a_house.sell(card, 5, "cafe", after=0, reference="OURS")
    rows = await a_house.rows("cafe", TODAY)
    late = replace(rows[0], reference="LATE")
    made = await a_house.send("cafe", TODAY, [late], at=at)
    await a_house.compare(made, at=at)
    assert [(one.category, one.state) for one in await a_house.breaks()] == [("REFERENCE", "OPEN")]
    assert (await a_house.do(comparing.look_again, actor=MAKER, at=at)) == (0, 0)

    gone = await a_house.send("cafe", TODAY, [replace(late, reference="OFFLINE", points=7, minor=700)], at=at)
    assert await dispute_duties.compare(a_house.database, at, asyncio.Event()) == 1  # nobody need ask for it
    assert await dispute_duties.compare(a_house.database, at, asyncio.Event()) == 0
    assert (await a_house.compare(gone, at=at)).actor == "reconciliation"
    await a_house.sell(card, 7, "cafe", after=0, reference="OFFLINE")
    assert (await a_house.do(comparing.look_again, actor=MAKER, at=at))[0] == 1
    states = {one.detail["reference"]: (one.category, one.state, one.resolution) for one in await a_house.breaks()}
    assert states["OFFLINE"] == ("MISSING_OURS", "RESOLVED", "ARRIVED")


async def test_a_break_goes_its_way_and_gives_money_by_two_people_or_within_a_budget(a_house: House) -> None:
    card, at = await a_house.books.member(), NOON + DAY
    for n in range(3):
        await a_house.sell(card, 50, "cafe", after=0, reference=f"S{n}")
    rows = [replace(one, points=one.points - 5) for one in await a_house.rows("cafe", TODAY)]
    await a_house.compare(await a_house.send("cafe", TODAY, rows, at=at), at=at)
    one, two, three = await a_house.breaks()
    assert {b.category for b in (one, two, three)} == {Category.QUANTITY}
    assert one.value_micro == 5 * 10_000  # ours are five points more, at the issue price: it would pay us

    assigned = await a_house.do(register.assign, one.break_id, owner=CHECKER, actor=MAKER, at=at, on=at.date())
    assert (assigned.state, assigned.owner, assigned.due_on) == ("ASSIGNED", CHECKER, date(2026, 3, 17))
    with pytest.raises(register.CauseMissing):
        await a_house.do(register.explain, one.break_id, cause=" ", actor=MAKER, at=at)
    await a_house.do(register.explain, one.break_id, cause="the till rounds", actor=MAKER, at=at)
    with pytest.raises(resolving.NoCounterpart):
        await a_house.do(resolving.match, [one.break_id], cause="same", actor=MAKER, at=at)

    budget = FileRule("WHOLE", write_off_minor=5)
    await a_house.do(intake.change_rule, a_house.books.id_of("cafe"), budget, actor=CHECKER, at=at)
    assert await a_house.do(resolving.write_off, one.break_id, cause="small", actor=MAKER, at=at) is None
    above = await a_house.do(resolving.write_off, two.break_id, cause="small too", actor=MAKER, at=at)
    assert above is not None  # the month's budget is used up: a second person
    before = await a_house.written()
    with pytest.raises(actors.NotPermitted):
        await a_house.do(resolving.decide, above, approved=True, actor=MAKER, at=at)
    with pytest.raises(register.BreakState):
        await a_house.do(resolving.accept, one.break_id, cause="again", actor=MAKER, at=at)
    assert await a_house.written() == before
    await a_house.do(resolving.decide, above, approved=True, actor=CHECKER, at=at)
    await a_house.do(resolving.accept, three.break_id, cause="they are right", actor=MAKER, at=at)
    await a_house.do(register.verify, three.break_id, actor=CHECKER, at=at)
    reopened = await a_house.do(register.reopen, three.break_id, cause="they are not", actor=CHECKER, at=at)
    assert reopened.state == "OPEN"
    with pytest.raises(register.BreakState):
        await a_house.do(register.reopen, one.break_id, cause="money was given", actor=CHECKER, at=at)
    told = await a_house.database.pool.fetch("SELECT amount_micro FROM settlement.correction ORDER BY 1")
    assert [r["amount_micro"] for r in told] == [-50_000, -50_000]


async def test_days_and_sums_that_nobody_counts_with_are_refused_and_answered(a_house: House) -> None:
    for day, rows in ((date.max, []), (date.min, []), (TODAY, [replace(row(n), minor=9 * 10**16) for n in range(110)])):
        made = await a_house.send("cafe", day, rows, at=NOON)
        assert (made.state, made.code) == ("REFUSED", "PARTNER_FILE_INVALID")
    assert await dispute_duties.compare(a_house.database, NOON, asyncio.Event()) == 0


@given(content=st.binary(max_size=400), cut=st.integers(0, 300), place=st.integers(0, 300))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_is_answered_and_a_refused_file_leaves_no_record(a_house, content, cut, place) -> None:
    """Real files with rubbish in them, cut off or not: the loop of the fixture runs elsewhere, so only reading is
    fuzzed here; that nothing stays is the transaction, which the tests above look at."""
    good = file_of("cafe", TODAY, 1, [row(n) for n in range(5)])
    spoilt = good[:place] + content + good[place : len(good) - cut]
    events = intake.files.read(io.BytesIO(spoilt), "CSV")
    try:
        last = list(events)[-1]
    except intake.PartnerFileInvalid:
        return
    assert isinstance(last, intake.FileTail)


async def test_taking_a_match_back_opens_what_it_was_about_and_nothing_that_gave_money(a_house: House) -> None:
    card, at = await a_house.books.member(), NOON + DAY
    await a_house.sell(card, 50, "cafe", after=0, reference="S")
    [row] = await a_house.rows("cafe", TODAY)
    await a_house.compare(await a_house.send("cafe", TODAY, [], at=at), at=at)
    [missing] = await a_house.breaks()
    number = await a_house.do(resolving.post, missing.break_id, cause="they never saw it", actor=MAKER, at=at)
    await a_house.do(resolving.decide, number, approved=True, actor=CHECKER, at=at)
    await a_house.compare(await a_house.send("cafe", TODAY, [replace(row, minor=row.minor + 1)], at=at), at=at)
    [_, other] = await a_house.breaks()
    assert other.category == Category.AMOUNT
    await a_house.do(resolving.match, [other.break_id], cause="a cent", actor=MAKER, at=at)
    opened = await a_house.do(resolving.undo_match, other.break_id, cause="no", actor=CHECKER, at=at)
    assert [one.break_id for one in opened] == [other.break_id]
    assert [one.state for one in await a_house.breaks()] == ["RESOLVED", "OPEN"]


async def test_a_bill_that_was_split_is_one_match_of_all_its_lines_each_used_once(a_house: House) -> None:
    card, at = await a_house.books.member(), NOON + DAY
    await a_house.sell(card, 9, "cafe", after=0, reference="SPLIT")
    await a_house.sell(card, 5, "cafe", after=0, reference="ONE")
    whole = next(one for one in await a_house.rows("cafe", TODAY) if one.reference == "SPLIT")
    parts = [replace(whole, points=4, minor=400), replace(whole, points=5, minor=whole.minor - 400)]
    rest = [one for one in await a_house.rows("cafe", TODAY) if one.reference == "ONE"]
    made = await a_house.send("cafe", TODAY, [*parts, *rest], at=at)
    done = await a_house.compare(made, at=at)
    assert (done.records, done.matched, done.breaks) == (3, 3, 0)
    rows = await a_house.database.pool.fetch(
        "SELECT line_no, holder_id IS NOT NULL AS has_ours, stage, group_line FROM settlement.record_match ORDER BY line_no"
    )
    assert [tuple(one) for one in rows] == [
        (2, True, "GROUPED", 2), (3, False, "GROUPED", 2), (4, True, "EXACT", None),
    ]  # fmt: skip
    before = await a_house.written()
    assert (await a_house.do(comparing.look_again, actor=MAKER, at=at + 30 * DAY)) == (0, 0)
    assert await a_house.written() == before
    with pytest.raises(asyncpg.UniqueViolationError):  # a line is in one match, whatever anybody writes
        await a_house.database.pool.execute(
            "INSERT INTO settlement.record_match (file_id, line_no, holder_id, unit, seq, kind, stage, rules_version, "
            "group_line, actor, at) SELECT file_id, 3, holder_id, unit, seq + 100, kind, stage, 1, 3, actor, at "
            "FROM settlement.record_match WHERE line_no = 2"
        )
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await a_house.database.pool.execute(
            "INSERT INTO settlement.record_match (file_id, line_no, holder_id, unit, seq, kind, stage, rules_version, "
            "actor, at) SELECT file_id, 99, holder_id, unit, seq + 100, kind, 'EXACT', 1, actor, at "
            "FROM settlement.record_match WHERE line_no = 4"
        )


async def test_of_a_spoilt_file_nothing_is_written_but_its_answer_and_its_break(a_house: House) -> None:
    draws = Random(7)
    rows = [row(n) for n in range(4)]
    good = {"CSV": file_of("cafe", TODAY, 1, rows), "JSONL": as_json(file_of("cafe", TODAY, 1, rows))}
    for _ in range(15):
        for file_format, content in good.items():
            place, cut = draws.randrange(len(content)), draws.randrange(40)
            spoilt = content[:place] + draws.randbytes(draws.randrange(6)) + content[place + cut :]
            before = await a_house.written()
            made = await intake.receive(
                a_house.database, io.BytesIO(spoilt), file_format, partner_id=a_house.books.id_of("cafe"),
                actor=MAKER, at=NOON,
            )  # fmt: skip
            after = await a_house.written()
            changed_tables = {t for t in after if after[t] != before[t]}
            if made.state == intake.REFUSED:
                assert after["partner_file"] == before["partner_file"] + 1
                assert changed_tables <= {"partner_file", "break", "break_step"}
            else:
                assert after["partner_record"] == before["partner_record"] + made.records
    numbers = "SELECT count(*) FROM settlement.file_number LEFT JOIN settlement.partner_file USING (file_id) WHERE partner_id IS NULL"
    assert await a_house.database.pool.fetchval(numbers) == 0


def as_json(content: bytes) -> bytes:
    """The same file as JSON lines."""
    names = {"H": intake.files.HEAD, "D": intake.files.DETAIL, "T": intake.files.TAIL}
    cells = [line.split(",") for line in content.decode().splitlines()]
    return "".join(json.dumps(dict(zip(names[one[0]], one, strict=True))) + "\n" for one in cells).encode()
