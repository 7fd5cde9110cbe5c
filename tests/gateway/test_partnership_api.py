"""What a partner's people are told of their part: the next settlement as it will be, what waits, what a promotion
brought."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from gateway import partner_alerts
from gateway.pages.portal_partnership import three_numbers
from gateway.sessions import colleagues
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from members.cards import IssuedCard
from partners.promotions.holdouts import CONTROL, arm
from settlement import cycles, runs
from settlement.exposure.caps import Exposure
from settlement.windows import positions
from tests.builders import DAY, NOON, a_receipt
from tests.gateway import desk as desks
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.test_session_matrix import colleague
from tests.partners.mechanics import fair as fairs
from tests.partners.mechanics.fair import Fair
from tests.partners.promotions.market import bonus

OUTLOOK = "{ settlementOutlook { currencyCode closesAt carried { amount } expected { amount } } }"
ALERTS = "{ partnerAlerts { kind subject name dueAt shareBp reached } }"
RESULT = """query($code: String!) { promotionResult(code: $code) { since until buyers participants points ownPoints
  cost { amount currencyCode } experiment treated heldOut verdict
  perMember { estimate { amount } low { amount } high { amount } } relative { estimateBp } inAll { estimate { amount } } } }"""
LINES = """{ settlementStatements(first: 1) { nodes { netDue { amount } review { state }
  lines(first: 20) { nodes { number kind points } } } } }"""
SALT = "spring-2026"


template = fairs.a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with fairs.met(database, vault) as opened:
        yield opened


@pytest.fixture
async def desk(fair: Fair, server: postgres.Server, database_name: str) -> AsyncIterator[Desk]:
    async with desks.opened(fair.coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened


async def person(desk: Desk, partner: str, *roles: str) -> Script:
    """The script of somebody of a partner."""
    address = f"{'-'.join(roles).lower()}@{partner}.example"
    await colleague(desk, partner, "P" + "".join(each[0] for each in roles), address, *roles)
    return await script_of(await desk.signed_in(address, "/portal"), "/portal")


async def test_a_promotion_is_measured_against_who_was_held_out_at_the_own_tills_alone(fair: Fair, desk: Desk) -> None:
    await fair.agree("HOLDOUT", "spring", control_bp=5_000, salt=SALT)
    await fair.market.publish(
        bonus("tried", 30, experiment="spring", where={"partners": ["bakery"]}, stack={"priority": 1}),
        bonus("other", 5, where={"partners": ["grocer"]}, stack={"priority": 2}),
    )
    sales: dict[bool, list[int]] = {True: [], False: []}
    cards: list[IssuedCard] = []
    number = 0
    while min(map(len, sales.values())) < 30:
        number += 1
        card = await fair.coalition.add_member()
        cards.append(card)
        held_out = arm("spring", salt=SALT, member=str(card.member_id), control_bp=5_000) == CONTROL
        cents = (2_000 if held_out else 3_000) + 10 * (number % 7)
        await fair.market.buy(card, a_receipt(cents, reference=f"B-{number}"))
        sales[held_out].append(cents)
    await fair.market.buy(cards[0], a_receipt(99_900, reference="G-1"), partner="grocer")  # not the bakery's to see
    desk.wall.move(hours=1)
    await desk.at_wall()
    pam = await person(desk, "bakery", colleagues.MANAGER)
    found = await pam.ask(RESULT, code="test")
    assert (found["treated"], found["heldOut"], found["experiment"]) == (len(sales[False]), len(sales[True]), "spring")
    assert (found["buyers"], found["participants"]) == (number, len(sales[False]))
    assert int(found["points"]) == int(found["ownPoints"]) == 30 * len(sales[False])
    terms = (await fair.coalition.desk.directory.get()).terms_at(fair.coalition.callers["bakery"].partner_id, NOON)
    assert terms is not None
    cost_micro = int(found["ownPoints"]) * terms.issue_price_micro
    assert abs(float(found["cost"]["amount"]) * 1_000_000 - cost_micro) <= 5_000
    assert found["verdict"] == "UP"
    means = {arm: sum(each) / len(each) / 100 for arm, each in sales.items()}
    said = {end: float(found["perMember"][end]["amount"]) for end in ("low", "estimate", "high")}
    assert said["estimate"] == pytest.approx(means[False] - means[True], abs=0.01)
    assert 0 < said["low"] < said["estimate"] < said["high"]
    assert float(found["inAll"]["estimate"]["amount"]) == pytest.approx(
        (means[False] - means[True]) * len(sales[False]), abs=0.01
    )
    assert await pam.ask(RESULT, code="nothing") is None
    gus = await person(desk, "grocer", colleagues.MANAGER)
    other = await gus.ask(RESULT, code="test")  # of the same promotion another rule is the grocer's
    assert (other["buyers"], other["participants"], other["verdict"], other["perMember"]) == (1, 1, "NO_HOLDOUT", None)
    dev = await person(desk, "bakery", colleagues.DEVELOPER)
    assert (await dev.error(RESULT, code="test"))["code"] == "FORBIDDEN"


async def test_the_next_settlement_is_what_the_statement_then_says_and_its_three_numbers_are_its_lines(
    fair: Fair, desk: Desk
) -> None:
    card = await fair.coalition.add_member()
    for number, cents in enumerate((48_20, 105_90)):
        await fair.market.buy(card, a_receipt(cents, reference=f"B-{number}"))
    desk.wall.move(days=20)
    await desk.at_wall()
    await fair.market.buy(card, a_receipt(30_00, reference="G-1", at=desk.wall()), partner="grocer", spend=100)
    await positions.catch_up(desk.database, at=desk.wall())
    fee = await person(desk, "bakery", colleagues.FINANCE)
    gus = await person(desk, "grocer", colleagues.FINANCE)
    [found], [other] = await fee.ask(OUTLOOK), await gus.ask(OUTLOOK)
    assert found["expected"]["amount"].startswith("-")
    assert not other["expected"]["amount"].startswith("-")
    assert found["closesAt"] == "2026-04-01T00:00:00Z"
    assert (found["currencyCode"], float(found["carried"]["amount"])) == ("EUR", 0)
    at = desk.wall()
    await cutoffs.close(desk.database, at=at)
    async with desk.database.transaction() as connection:
        await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
        await runs.settle(connection, actor="maker", at=at)
    for who, expected in ((fee, found), (gus, other)):
        [statement] = (await who.ask(LINES))["nodes"]
        assert statement["netDue"]["amount"] == expected["expected"]["amount"]
    [statement] = (await gus.ask(LINES))["nodes"]
    three = three_numbers(statement["lines"]["nodes"])
    assert (three.redeemed, three.issued) == (100, 29)
    assert len(three.redeemed_lines) == 1
    alerts = await fee.ask(ALERTS)
    assert [each["kind"] for each in alerts] == ["STATEMENT"]
    assert alerts[0]["dueAt"] is not None
    [after] = await fee.ask(OUTLOOK)
    assert float(after["expected"]["amount"]) == 0


async def test_each_is_told_what_waits_as_far_as_they_may_look_it_up(fair: Fair, desk: Desk) -> None:
    bakery = fair.coalition.callers["bakery"].partner_id
    for sponsor, code in ((bakery, "own"), (fair.coalition.callers["grocer"].partner_id, "foreign")):
        await fair.market.budget(code, sponsor_id=sponsor, unit="points", limit=100)
    await fair.market.publish(bonus("tried", 85, caps=["own", "foreign"]))
    card = await fair.coalition.add_member()
    await fair.market.buy(card, a_receipt(10_000, reference="B-1"))
    manager, dev = [await person(desk, "bakery", role) for role in (colleagues.MANAGER, colleagues.DEVELOPER)]
    assert await manager.ask(ALERTS) == [
        {"kind": "BUDGET", "subject": "own", "name": "", "dueAt": None, "shareBp": 8_500, "reached": False}
    ]
    assert await dev.ask(ALERTS) == []


def exposed(debit_micro: int, cap_micro: int) -> Exposure:
    return Exposure(1, "EUR", debit_micro, 0, 0, cap_micro, "BLOCK", None)


def test_a_limit_is_told_of_when_four_fifths_are_used() -> None:
    found: list[Any] = [exposed(79, 100), exposed(80, 100), exposed(150, 100), exposed(0, 0), exposed(1, 0)]
    told = partner_alerts.of_exposures(found)
    assert [(each.share_bp, each.is_reached) for each in told] == [(8_000, False), (15_000, True), (10_000, True)]


@pytest.mark.parametrize(
    ("cycle", "at", "end"),
    [
        (cycles.DAY, "2026-03-02T12:00:00+00:00", "2026-03-02T22:00:00+00:00"),
        (cycles.WEEK, "2026-03-02T12:00:00+00:00", "2026-03-08T22:00:00+00:00"),
        (cycles.MONTH, "2026-03-31T20:59:59+00:00", "2026-03-31T21:00:00+00:00"),  # summer time began meanwhile
        (cycles.MONTH, "2026-03-31T21:00:00+00:00", "2026-04-30T21:00:00+00:00"),
        (cycles.MONTH, "2026-12-31T23:00:00+00:00", "2027-01-31T22:00:00+00:00"),
    ],
)
def test_the_next_end_of_a_cycle_is_the_first_one_behind_an_instant(cycle: str, at: str, end: str) -> None:
    from datetime import datetime

    instant = datetime.fromisoformat(at)
    found = cycles.next_end(cycle, instant, zone="Europe/Chisinau")
    assert found == datetime.fromisoformat(end)
    assert cycles.last_end(cycle, found, zone="Europe/Chisinau") == found
    assert cycles.last_end(cycle, found - timedelta(microseconds=1), zone="Europe/Chisinau") <= instant < found
    assert found - instant <= 31 * DAY + timedelta(hours=1)
