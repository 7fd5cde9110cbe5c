"""Fees of subscriptions become recognised days, partners' shares, lines of the run and a report, to the micro-unit."""

from __future__ import annotations

import asyncio
import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from kit.reports.tables import LANGUAGES
from kit.secrets import Vault
from members.subscription import charging, entitlements, gifts, offers, plans, subscriptions
from members.subscription.entitlements import Use
from members.subscription.gifts import GiftWish
from members.subscription.offers import OfferDraft
from members.subscription.plans import PlanDraft
from members.subscription.providers import Told
from partners.adjustments import allotments
from settlement import archive
from settlement.money import controls as money_controls
from settlement.money import journal
from settlement.reports import catalogue
from settlement.reports.catalogue import Wanted
from settlement.subscription import months, rules
from settlement.subscription.months import FeeMonth, FeeMonthOpen
from settlement.subscription.rules import FeeRules, FeeRulesInvalid, FeeRulesMissing, Rate
from tests.members.subscribers import Club, Scripted
from tests.settlement.once import once
from tests.settlement.test_package_building import package, verify

Coalition = Any
FEBRUARY, MARCH, APRIL = date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)


class Clubbed(Club):
    """A club whose members shop at a coalition's partners."""

    coalition: Coalition

    allot = staticmethod(allotments.allot)

    async def rule(self, valid_from: date = MARCH, **said: Any) -> None:
        maker = await self.do(rules.propose, FeeRules(**said), currency="EUR", valid_from=valid_from, maker="maker")
        await self.do(rules.approve, maker, checker="checker")

    async def buys(self, member_id: int, partner: str, amount_minor: int, *, kind: int = 1) -> None:
        """A receipt at a partner, now."""
        self.coalition.at = self.at
        seq = await self.coalition.earn(member_id, partner, self.terms[partner], 10)
        await self.coalition.receipt(member_id, seq, partner, f"r-{uuid4()}", kind=kind)
        # The test's receipt is always of 10.00: as often as it takes.
        for _ in range(amount_minor // 1000 - 1):
            await self.buys(member_id, partner, 1000, kind=kind)

    async def close(self, month: date) -> FeeMonth:
        return await self.do(months.close, month=month, currency="EUR", actor="maker")

    async def balance(self, account: str) -> int:
        async with self.database.reading() as connection:
            return sum(one.amount_micro for one in await journal.balances(connection, account))


async def build(coalition: Coalition, _: asyncpg.Connection) -> None:
    """Three partners, and a programme with a tax of a quarter in its fees."""
    coalition.terms = {code: await coalition.partner(code) for code in ("a", "b", "c")}
    found = Clubbed(coalition.database, Vault(bytes(range(32))))
    await found.open()
    async with found.database.transaction() as connection:
        await plans.publish_tax(connection, code="VAT", rate_bp=2500, valid_from=found.at, actor="maker", at=found.at)
        await plans.publish_price(
            connection, plan="plus", currency="EUR", interval="QUARTER", amount_minor=9_200 * 5 // 4, tax_code="VAT",
            valid_from=found.at, actor="marketer", at=found.at,
        )  # fmt: skip


template, coalition = once(build)


@pytest.fixture
def club(coalition: Coalition, vault: Vault) -> Clubbed:
    """A programme that charges cards, and three partners."""
    found = Clubbed(coalition.database, vault, Scripted())
    found.coalition, found.terms = coalition, coalition.terms  # type: ignore[attr-defined]
    return found


async def written(club: Club) -> int:
    tables = ("fee_rules", "fee_month", "fee_recognition", "fee_weight", "fee_share", "fee_event", "fee_booked")
    return sum([await club.database.pool.fetchval(f"SELECT count(*) FROM settlement.{t}") for t in tables])


async def test_a_fee_is_paid_served_shared_stated_and_reported(
    club: Clubbed, coalition: Coalition, vault: Vault, tmp_path: Path
) -> None:
    """92.00 without tax for the 92 days of a quarter: 31.00 of March, less 0.31 of what charging it cost."""
    await club.rule(
        reserve_bp=1000, operator_bp=1000,
        rates=(Rate(coalition.partners["a"], "free-delivery", 1_500_000, 4_000_000),),
    )  # fmt: skip
    member_id, idle = await club.person(), await club.person()
    await club.subscribe(member_id, interval="QUARTER")
    await club.pass_time(timedelta(0))
    await club.pass_time(timedelta(days=5))
    for partner, amount in (("a", 3000), ("b", 1000)):
        await club.buys(member_id, partner, amount)
    await club.buys(idle, "c", 5000)  # no subscriber: weighs nothing
    for _ in range(3):
        use = Use(member_id, "free-delivery", 1, club.at, coalition.partners["a"])
        await club.do(entitlements.report_use, use, key=uuid4())
    before = await written(club)
    with pytest.raises(FeeMonthOpen):
        await club.close(MARCH)
    assert await written(club) == before
    club.at = datetime(2026, 4, 2, 3, tzinfo=UTC)
    done = await club.close(MARCH)
    assert await club.close(MARCH) == done
    # 31.00 less 0.10 of charging (0.30 over 92 days: the first 30 days have a cent each)
    assert (done.pool_micro, done.charging_micro) == (30_700_000, 300_000)
    async with club.database.reading() as connection:
        shares = {(one.partner_id, one.benefit): one.amount_micro for one in await months.shares(connection, done)}
        again = await months.allocated_again(connection, done)
        compared = await months.compared(connection, done)
    a, b = coalition.partners["a"], coalition.partners["b"]
    left = 30_700_000 - 4_000_000  # three at 1.50, but 4.00 at most
    assert shares == {(a, "free-delivery"): 4_000_000, (a, ""): left * 8 // 10 * 3 // 4, (b, ""): left * 8 // 10 // 4}
    assert done.reserve_micro == done.operator_micro == left // 10
    assert sum(shares.values()) + done.reserve_micro + done.operator_micro == done.pool_micro
    assert (again.shares, again.total_micro) == ({a: shares[a, ""], b: shares[b, ""]}, done.pool_micro)
    assert compared["SHAPLEY"] == {a: left * 4 // 10, b: left * 4 // 10}
    coalition.at = club.at
    settled = await coalition.settle()
    lines = {line.kind: line.amount_micro for line in coalition.of(settled, "a").lines}
    assert (lines["BENEFIT"], lines["SUBSCRIPTION_SHARE"]) == (4_000_000, shares[a, ""])
    for code in ("a", "b"):
        statement = coalition.of(settled, code)
        async with club.database.transaction() as connection:
            detail = [one async for one in archive.detail(connection, statement, id_key=bytes(64))]
        told = sum(one.amount_micro for one in detail if one.kind in ("BENEFIT", "SUBSCRIPTION_SHARE"))
        assert told == sum(n.amount_micro for n in statement.lines if n.kind in ("BENEFIT", "SUBSCRIPTION_SHARE"))
    assert await coalition.violations() == []
    async with club.database.reading() as connection:
        assert await money_controls.violations(connection) == []
    assert await club.balance("2400") == -(9_200 - 3_100) * 10_000  # what is paid and not served
    assert await club.balance("2500") <= -23_00 * 10_000
    assert await club.balance("4300") == -31_000_000
    assert await club.balance("5310") == 300_000
    status, said = verify(tmp_path, await package(coalition, vault, settled.runs[0].head.run_id, "a"))
    assert status == 0, said  # a partner recomputes its statement without us, money without points too
    for number, format in enumerate(catalogue.FORMATS):
        async with club.database.transaction() as connection:
            wanted = Wanted(settled.runs[0].head.run_id, None, club.at)
            made = await catalogue.make(connection, "R16", wanted)
            path = tmp_path / f"r16.{format}"
            await catalogue.write(made, path, format=format, language=LANGUAGES[number])
        assert path.stat().st_size > 100
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r16.csv").read_text(encoding="utf-8"))))
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal(sum(shares.values())).scaleb(-6)
    async with club.database.transaction() as connection:
        own = await catalogue.make(connection, "R16", Wanted(1, b, club.at), is_partner=True)
    assert {row[1] for row in own.report.tables[0].rows} == {"B"}


async def test_what_a_partner_was_used_for_is_its_own_though_its_agreement_moved_before_the_month_closed(
    club: Clubbed, coalition: Coalition, vault: Vault, tmp_path: Path
) -> None:
    a, b = coalition.partners["a"], coalition.partners["b"]
    await club.rule(rates=(Rate(a, "free-delivery", 1_500_000),))
    member_id = await club.person()
    await club.subscribe(member_id)
    await club.pass_time(timedelta(0))
    for partner in ("a", "b"):
        await club.buys(member_id, partner, 1000)
    for _ in range(2):
        await club.do(entitlements.report_use, Use(member_id, "free-delivery", 1, club.at, a), key=uuid4())
    await coalition.sign("a", currency="USD", valid_from=datetime(2026, 4, 1, 12, tzinfo=UTC))
    await club.pass_time(datetime(2026, 4, 2, 3, tzinfo=UTC))
    march = await club.close(MARCH)
    async with club.database.reading() as connection:
        given = {(one.partner_id, one.benefit): one.amount_micro for one in await months.shares(connection, march)}
        assert await months.wrongs(connection, march) == []
    left = march.pool_micro - 3_000_000
    assert given == {(a, "free-delivery"): 3_000_000, (a, ""): left // 2, (b, ""): left // 2}
    await club.buys(await club.person(), "c", 1000)
    coalition.at = club.at
    settled = await coalition.settle()
    stated = {line.kind: line.amount_micro for line in coalition.of(settled, "a").lines}
    assert (stated["BENEFIT"], stated["SUBSCRIPTION_SHARE"]) == (3_000_000, left // 2)
    assert await coalition.violations() == []
    status, said = verify(tmp_path, await package(coalition, vault, settled.runs[0].head.run_id, "a"))
    assert status == 0, said


async def test_what_is_told_late_is_in_the_next_month_and_everything_adds_up_to_the_fees(
    club: Clubbed, coalition: Coalition
) -> None:
    await club.rule(zero_use="CARRY")
    first, second, third = [await club.person() for _ in range(3)]
    for one in (first, second, third):
        await club.subscribe(one)
    await club.pass_time(timedelta(0))
    club.at += timedelta(days=20)
    await club.buys(first, "a", 2000)
    club.at = datetime(2026, 4, 3, tzinfo=UTC)
    march = await club.close(MARCH)
    assert march.carried_micro > 0  # two of three bought nothing
    late = datetime(2026, 3, 28, tzinfo=UTC)
    use = Use(second, "free-delivery", 1, late, coalition.partners["b"])
    await club.do(entitlements.report_use, use, key=uuid4())
    await club.pass_time(timedelta(days=2))  # renewed on the first of April
    [member] = await club.do(_subscriptions, second)
    await club.do(subscriptions.cancel, second, member.subscription_no, at_once=True)
    await club.pass_time(timedelta(0))
    await club.buys(first, "b", 1000)
    club.at = datetime(2026, 5, 2, tzinfo=UTC)
    with pytest.raises(FeeMonthOpen):
        await club.close(date(2026, 5, 1))
    april = await club.close(APRIL)
    assert april.brought_micro == march.carried_micro
    coalition.at = club.at
    await coalition.settle()
    paid = await club.database.pool.fetchval("SELECT sum(amount_minor) FROM members.fee_payment")
    kept = await club.database.pool.fetchval("SELECT sum(net_minor) FROM members.credit_note")
    recognised = await club.database.pool.fetchval("SELECT sum(recognised_minor) FROM settlement.fee_recognition")
    assert await club.balance("2400") == -(paid - kept - recognised) * 10_000
    async with club.database.reading() as connection:
        both = [*await months.shares(connection, march), *await months.shares(connection, april)]
    given = sum(one.amount_micro for one in both)
    assert given + april.carried_micro + march.operator_micro + april.operator_micro == (
        recognised * 10_000 - march.charging_micro - april.charging_micro
    )
    assert await club.balance("2410") == -april.carried_micro
    assert await coalition.violations() == []


async def _subscriptions(connection: Any, member_id: int, at: datetime) -> Any:
    return await subscriptions.of_member(connection, member_id)


async def test_a_payment_that_a_bank_takes_back_takes_nothing_from_partners(
    club: Clubbed, coalition: Coalition
) -> None:
    await club.rule()
    member_id = await club.person()
    await club.subscribe(member_id, interval="YEAR")
    await club.pass_time(timedelta(0))
    await club.buys(member_id, "a", 1000)
    club.at = datetime(2026, 4, 1, 12, tzinfo=UTC)
    march = await club.close(MARCH)
    [key] = club.provider.charged  # type: ignore[attr-defined]
    await club.do(charging.hear, club.provider, [Told(key, "CHARGEBACK", f"pay-{key}")])
    club.at = datetime(2026, 5, 2, tzinfo=UTC)
    april = await club.close(APRIL)
    assert (march.pool_micro > 0, april.pool_micro) == (True, 0)
    coalition.at = club.at
    settled = await coalition.settle()
    assert await club.balance("2400") == 0
    assert await club.balance("5400") > 0
    assert {n.kind: n.amount_micro for n in coalition.of(settled, "a").lines}["SUBSCRIPTION_SHARE"] == march.pool_micro


async def test_points_and_presents_are_in_the_fees_and_everything_adds_up(
    club: Clubbed, coalition: Coalition, vault: Vault
) -> None:
    """A year's fee with 100 points a month, a present for somebody else, a code: each month's waterfall has them."""
    async with club.database.transaction() as connection:
        issuer = coalition.partners["c"]
        draft = PlanDraft("points", {"en": "Points"}, (), allotment_points=100, allotment_issuer=issuer,
                          allotment_on_leaving="TAKE_BACK")  # fmt: skip
        await plans.add(connection, draft, actor="marketer", at=club.at)
        await plans.publish_price(connection, plan="points", currency="EUR", interval="YEAR", amount_minor=36_500,
                                  valid_from=club.at, actor="marketer", at=club.at)  # fmt: skip
        half = OfferDraft("half", "PERCENT", club.at, club.at + timedelta(days=9), percent_bp=5000, word="HALF")
        await offers.add(connection, vault, half, actor="marketer", at=club.at)
    await club.rule(reserve_bp=1000)
    reader, giver, friend, cheap = [await club.person() for _ in range(4)]
    its = await club.subscribe(reader, "points", "YEAR")
    wish = GiftWish(giver, "family", "EUR", "MONTH", 2, "UTC")
    present = await club.do(gifts.buy, vault, club.provider, wish)
    code = await offers.look(club.database, vault, "half", member_id=cheap, at=club.at, now=club.at)
    await club.subscribe(cheap, code=code)
    await club.pass_time(timedelta(hours=1))
    shown = await offers.look(club.database, vault, present.code, member_id=friend, at=club.at, now=club.at)
    await club.do(gifts.redeem, club.provider, shown, member_id=friend, zone="UTC")
    await club.pass_time(timedelta(days=2))
    for member_id, partner in ((reader, "a"), (friend, "b"), (cheap, "a"), (giver, "c")):
        await club.buys(member_id, partner, 1000)
    await club.pass_time(datetime(2026, 4, 2, tzinfo=UTC))
    march = await club.close(MARCH)
    price = await club.database.pool.fetchval("SELECT DISTINCT price_micro FROM partners.allotment")
    given = await club.database.pool.fetchval("SELECT count(*) FROM partners.allotment WHERE at < '2026-04-01'")
    assert (given, march.points_micro) == (1, 100 * price)  # the first month's; April's begins on the first of April
    # 365.00 of a year: 31 days; 40.00 of 61 days: 31 of the first, of 0.66; 5.00 with the code: all of March.
    recognised = await club.database.pool.fetchval("SELECT sum(recognised_minor) FROM settlement.fee_recognition")
    assert recognised == 3100 + 31 * 66 + 500
    weights = {
        tuple(row)
        for row in await club.database.pool.fetch("SELECT subscription_no, partner_id FROM settlement.fee_weight")
    }
    gift_of = await club.database.pool.fetchval("SELECT subscription_no FROM members.gift_use")
    assert {(its.subscription_no, coalition.partners["a"]), (gift_of, coalition.partners["b"])} <= weights
    assert coalition.partners["c"] not in {partner for _, partner in weights}  # the giver's purchases weigh nothing
    # Leaving takes points of the unserved part of the month back; the next month pays so much less for them.
    await club.do(subscriptions.cancel, reader, its.subscription_no, at_once=True)
    await club.pass_time(timedelta(hours=1))
    taken = await club.database.pool.fetchval("SELECT points FROM partners.allotment WHERE kind = 'TAKEN'")
    assert 0 < taken < 100
    await club.pass_time(datetime(2026, 5, 2, tzinfo=UTC))
    april = await club.close(APRIL)
    assert april.points_micro == (100 - taken) * price
    for done in (march, april):
        async with club.database.reading() as connection:
            shares = sum(one.amount_micro for one in await months.shares(connection, done))
            assert await months.wrongs(connection, done) == []
        out = shares + done.points_micro + done.reserve_micro + done.operator_micro + done.carried_micro
        assert out == done.pool_micro + done.added_micro
    coalition.at = club.at
    await coalition.settle()
    assert await coalition.violations() == []


async def test_what_is_taken_back_of_a_plans_points_is_of_those_alone_and_no_partners(
    club: Clubbed, coalition: Coalition
) -> None:
    """Points of partners that expire before stay: who paid for them would be paid for points that are out there still."""
    async with club.database.transaction() as connection:
        draft = PlanDraft("points", {"en": "Points"}, (), allotment_points=100,
                          allotment_issuer=coalition.partners["c"], allotment_on_leaving="TAKE_BACK")  # fmt: skip
        await plans.add(connection, draft, actor="marketer", at=club.at)
        await plans.publish_price(connection, plan="points", currency="EUR", interval="MONTH", amount_minor=3_100,
                                  valid_from=club.at, actor="marketer", at=club.at)  # fmt: skip
    reader = await club.person()
    coalition.at = club.at
    await coalition.earn(reader, "a", club.terms["a"], 70, lasts=timedelta(days=90))
    its = await club.subscribe(reader, "points", "MONTH")
    await club.pass_time(timedelta(hours=1))
    coalition.at = club.at
    await coalition.spend(reader, "b", club.terms["b"], 70 + 40)
    await coalition.earn(reader, "a", club.terms["a"], 80, lasts=timedelta(days=90))
    await club.do(subscriptions.cancel, reader, its.subscription_no, at_once=True)
    await club.pass_time(timedelta(hours=1))
    left = await club.database.pool.fetch(
        "SELECT funder_id, sum(remaining) AS points FROM ledger.lot WHERE holder_id = $1 GROUP BY 1 ORDER BY 1", reader
    )
    assert [tuple(row) for row in left] == [(0, 0), (coalition.partners["a"], 80)]
    taken = await club.database.pool.fetchval("SELECT points FROM partners.allotment WHERE kind = 'TAKEN'")
    assert taken == 60
    assert await coalition.violations() == []


@pytest.mark.parametrize(
    ("alteration", "said"),
    [
        ("UPDATE settlement.fee_share SET amount_micro = amount_micro + 1 WHERE benefit = ''", "the shares of the rest"),
        ("UPDATE settlement.fee_share SET amount_micro = amount_micro - 1 WHERE benefit <> ''", "paid for benefits"),
        ("UPDATE settlement.fee_weight SET weight = weight + 1", "the shares of the rest"),
        ("UPDATE settlement.fee_month SET operator_micro = operator_micro + 1", "the operator's share"),
        ("UPDATE settlement.fee_comparison SET amount_micro = amount_micro + 1 WHERE method = 'USER_CENTRIC'",
         "would have paid"),
        ("INSERT INTO settlement.fee_event (month, currency, event_no, cutoff_id, kind, payee_id, terms_id, "
         "amount_micro, tax_micro, count) SELECT month, currency, 90, cutoff_id, kind, payee_id, terms_id, "
         "amount_micro, tax_micro, count FROM settlement.fee_event WHERE kind = 'SUBSCRIPTION_SHARE' LIMIT 1", "is stated"),
        ("INSERT INTO settlement.fee_recognition SELECT month, currency, holder_id, 2, subscription_no, 1000000, 0 "
         "FROM settlement.fee_recognition LIMIT 1", "beyond what it came to"),
    ],
)  # fmt: skip
async def test_the_control_sees_what_was_allocated_twice_or_otherwise(
    club: Clubbed, coalition: Coalition, owner: asyncpg.Connection, alteration: str, said: str
) -> None:
    await club.rule(operator_bp=1000, rates=(Rate(coalition.partners["a"], "free-delivery", 500_000),))
    people = [await club.person() for _ in range(2)]
    for member_id in people:
        await club.subscribe(member_id)
    await club.pass_time(timedelta(0))
    await club.buys(people[0], "a", 1000)
    await club.buys(people[0], "b", 2000)
    use = Use(people[0], "free-delivery", 1, club.at, coalition.partners["a"])
    await club.do(entitlements.report_use, use, key=uuid4())
    await club.do(subscriptions.cancel, people[1], 2, at_once=True)
    club.at = datetime(2026, 4, 2, tzinfo=UTC)
    await club.close(MARCH)
    assert [found for found in await coalition.violations() if found.startswith("S16")] == []
    await owner.execute(alteration)
    found = [one for one in await coalition.violations() if one.startswith("S16")]
    assert any(said in one for one in found), found


async def test_rules_are_of_two_people_and_of_months_that_are_not_closed(club: Clubbed) -> None:
    club.at = datetime(2026, 4, 2, tzinfo=UTC)
    with pytest.raises(FeeRulesMissing):
        await club.close(MARCH)
    with pytest.raises(FeeRulesInvalid):
        await club.rule(reserve_bp=9000, operator_bp=2000)
    with pytest.raises(FeeRulesInvalid):
        await club.rule(date(2026, 3, 2))
    assert await written(club) == 0
    await club.rule()
    await club.close(MARCH)
    before = await written(club)
    with pytest.raises(FeeRulesInvalid):
        await club.rule(MARCH, method="SHAPLEY")
    assert await written(club) == before


async def test_no_rules_are_approved_for_a_month_that_is_closed_at_that_moment(club: Clubbed) -> None:
    await club.rule(FEBRUARY)
    said = {"currency": "EUR", "valid_from": MARCH, "maker": "maker"}
    proposal = await club.do(rules.propose, FeeRules(method="SHAPLEY"), **said)
    club.at = datetime(2026, 4, 2, tzinfo=UTC)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'"
    async with club.database.transaction() as connection:
        closed = await months.close(connection, month=MARCH, currency="EUR", actor="maker", at=club.at)
        late = asyncio.create_task(club.do(rules.approve, proposal, checker="checker"))
        while not late.done() and not await club.database.pool.fetchval(waits):
            await asyncio.sleep(0)
    with pytest.raises(FeeRulesInvalid):
        await late
    async with club.database.reading() as connection:
        assert (await rules.in_force(connection, "EUR", MARCH))[0] == closed.rules_version == 1


async def test_the_fixed_weight_of_a_partner_that_left_is_the_others_and_everything_is_the_fees(
    club: Clubbed, coalition: Coalition
) -> None:
    a, b, c = (coalition.partners[code] for code in "abc")
    proposals = "SELECT count(*) FROM kit.approval"
    before = await club.database.pool.fetchval(proposals)
    for said in ({"method": "FIXED", "fixed_weights": {a: 1, 999: 2}}, {"rates": (Rate(999, "free-delivery", 1),)}):
        with pytest.raises(FeeRulesInvalid, match="without an agreement in EUR then: 999"):
            await club.rule(**said)
    assert await club.database.pool.fetchval(proposals) == before
    await club.rule(method="FIXED", operator_bp=1000, fixed_weights={a: 1, b: 2, c: 5})
    member_id = await club.person()
    await club.subscribe(member_id)
    await club.pass_time(timedelta(0))
    await club.buys(member_id, "c", 1000)
    await coalition.sign("c", says={"role": "RUN_OFF"}, valid_from=datetime(2026, 3, 20, tzinfo=UTC))
    club.at = datetime(2026, 4, 2, tzinfo=UTC)
    with pytest.raises(FeeRulesInvalid, match=f"then: {c}"):
        await club.rule(APRIL, method="FIXED", fixed_weights={a: 1, c: 1})
    await club.pass_time(timedelta(0))
    march = await club.close(MARCH)
    for code in "ab":
        await coalition.sign(code, currency="USD", valid_from=datetime(2026, 4, 20, tzinfo=UTC))
    club.at = datetime(2026, 5, 2, tzinfo=UTC)
    april = await club.close(APRIL)
    # A month of 10.00, all of it served, less 0.30 of charging; a tenth is the operator's, the rest a third and two.
    async with club.database.reading() as connection:
        given = {
            done.month: {one.partner_id: one.amount_micro for one in await months.shares(connection, done)}
            for done in (march, april)
        }
        assert [await months.wrongs(connection, done) for done in (march, april)] == [[], []]
        # Who had nothing is told too what each method would have given: all was bought at the partner that left.
        told = {one.share.partner_id: (one.share.amount_micro, one.methods) for one in
                await months.shares_compared(connection, march)}  # fmt: skip
    assert told[c] == (0, {"USER_CENTRIC": 8_730_000, "PRO_RATA": 8_730_000, "SHAPLEY": 8_730_000, "FIXED": 0})
    assert told[a][1] == {"USER_CENTRIC": 0, "PRO_RATA": 0, "SHAPLEY": 0, "FIXED": 2_910_000}
    assert given == {MARCH: {a: 2_910_000, b: 5_820_000}, APRIL: {}}
    assert (march.pool_micro, march.operator_micro) == (9_700_000, 970_000)
    assert april.operator_micro == april.pool_micro > 0  # nobody is left to have it
    stated = await club.database.pool.fetchval("SELECT sum(amount_micro) FROM settlement.fee_event WHERE payee_id > 0")
    recognised = await club.database.pool.fetchval("SELECT sum(recognised_minor) FROM settlement.fee_recognition")
    kept = march.operator_micro + april.operator_micro + march.charging_micro + april.charging_micro
    assert stated + kept == recognised * 10_000
