"""Promotions by GraphQL: from a draft to the till, by two people; what partners see of it; and what refuses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from gateway import scopes
from gateway.sessions import session
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from partners.promotions import simulations
from tests.builders import DAY, NOON, a_receipt
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.membership.test_membership_api import a_till
from tests.gateway.test_purchase_api import by_number
from tests.gateway.test_session_matrix import colleague
from tests.partners.promotions.market import Market, bonus, open_market
from tests.partners.promotions.offers import document, texts

NO = "... on Rejection { code retryable fields { path code message } }"
RELEASE = """release { number state madeOn contentHash effectiveFrom author approver rules { code version }
  gate { objective { metric target due } gain { amount } cost { amount } obligationAfter { amount } cover { amount }
    against { path code } } }"""
ADD = f"""mutation($i: AddPromotionInput!) {{ addPromotion(input: $i) {{ __typename {NO}
  ... on AddPromotionSuccess {{ replayed promotion {{ code name sponsor {{ code }} rules {{ code }} }} }} }} }}"""
DRAFT = f"""mutation($i: DraftRuleInput!) {{ draftRule(input: $i) {{ __typename {NO}
  ... on DraftRuleSuccess {{ replayed rule {{ code version versionInForce author document }} }} }} }}"""
CHECK = "query($d: String!) { checkRule(document: $d) { path column code expected } }"
SIMULATE = f"""mutation($i: SimulateReleaseInput!) {{ simulateRelease(input: $i) {{ __typename {NO}
  ... on SimulateReleaseSuccess {{ replayed simulation {{ number state purchasesDone }} }} }} }}"""
SIMULATION = """query($n: Int!) { simulation(number: $n) { state author purchases purchasesDone contentHash report { purchases
  pointsWas pointsDraft cost { amount currencyCode } obligationPoints winners losers unchanged mostGained { amount }
  funders { partner { code } pointsWas pointsDraft } rules { rule applied points } budgets { budget times } } } }"""
SUBMIT = f"""mutation($i: SubmitReleaseInput!) {{ submitRelease(input: $i) {{ __typename {NO}
  ... on SubmitReleaseSuccess {{ replayed {RELEASE} }} }} }}"""
PUBLISH = f"""mutation($i: PublishReleaseInput!) {{ publishRelease(input: $i) {{ __typename {NO}
  ... on PublishReleaseSuccess {{ replayed {RELEASE} }} }} }}"""
DECLINE = f"""mutation($i: DeclineReleaseInput!) {{ declineRelease(input: $i) {{ __typename {NO}
  ... on DeclineReleaseSuccess {{ replayed {RELEASE} }} }} }}"""
SUSPEND = f"""mutation($i: SuspendPromotionInput!) {{ suspendPromotion(input: $i) {{ __typename {NO}
  ... on SuspendPromotionSuccess {{ replayed {RELEASE} }} }} }}"""
BUDGET = """budget { code limit { points times money { amount } } uses { scope period used { points money { amount } }
  remaining { points } } }"""
ADD_BUDGET = f"""mutation($i: AddBudgetInput!) {{ addBudget(input: $i) {{ __typename {NO}
  ... on AddBudgetSuccess {{ replayed {BUDGET} }} }} }}"""
LIMIT = f"""mutation($i: SetBudgetLimitInput!) {{ setBudgetLimit(input: $i) {{ __typename {NO}
  ... on SetBudgetLimitSuccess {{ replayed {BUDGET} }} }} }}"""
FUND = f"""mutation($i: FundBudgetInput!) {{ fundBudget(input: $i) {{ __typename {NO}
  ... on FundBudgetSuccess {{ replayed {BUDGET} }} }} }}"""
USAGE = f"query($c: String!) {{ budgetUsage(code: $c) {BUDGET.removeprefix('budget')} }}"
BUDGETS = "query($f: Int, $a: String) { budgets(first: $f, after: $a) { pageInfo { endCursor } nodes { code unit } } }"
PROMOTIONS = """query($f: Int, $a: String) { promotions(first: $f, after: $a) { pageInfo { hasNextPage endCursor } nodes {
  code name sponsor { code } rules { code version versionInForce shareBp document author effect } } } }"""
PROMOTION = "query($c: String!) { promotion(code: $c) { code rules { code document } } }"
EXPLAIN = """query($of: DecisionRefInput!) { explanation(of: $of) { release storedHash replayedHash isSame points
  reasons { code points rule } rules { rule version reason text awarded conditions { id state actual text }
  funders { partner { code } amount } } } }"""
RECORD = """mutation($input: RecordPurchaseInput!) { recordPurchase(input: $input) { ... on RecordPurchaseSuccess {
  transaction { id awarded reference } } ... on Rejection { code } } }"""
TABLES = (
    "partners.promotion", "partners.rule", "partners.rule_version", "partners.release", "partners.budget",
    "partners.budget_limit", "partners.simulation", "kit.approval", "kit.audit_trail", "gateway.person_call",
)  # fmt: skip
WINTER = {"en": "Winter", "ru": "Зима", "ro": "Iarna"}


def gift(code: str = "gift", points: int = 7, **given: Any) -> dict[str, Any]:
    return bonus(code, points, promotion="winter", **given)


@dataclass
class Office:
    """A gateway with pages, two partners with a till each, Mia who makes promotions, Paul who checks them, and Max who
    may do both."""

    desk: Desk
    market: Market
    mia: Script
    paul: Script
    url: str

    async def rows(self) -> dict[str, int]:
        """What any of it could have written."""
        pool = self.desk.database.pool
        found = {table: await pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
        found["decided"] = await pool.fetchval("SELECT count(*) FROM kit.approval WHERE decided_at IS NOT NULL")
        found["ceilings"] = await pool.fetchval("SELECT coalesce(sum(ceiling), 0) FROM partners.budget")
        return found

    async def refused(self, script: Script, asked: str, **given: Any) -> dict[str, Any]:
        """A rejection, which wrote nothing."""
        before = await self.rows()
        told: dict[str, Any] = await script.ask(asked, i=keyed(**given))
        assert told["__typename"] == "Rejection", told
        assert await self.rows() == before
        return told

    async def draft(self, *rules: dict[str, Any]) -> None:
        """The promotion "winter" with these rules."""
        await self.mia.ask(ADD, i=keyed(code="winter", names=WINTER))
        for rule in rules:
            told = await self.mia.ask(DRAFT, i=keyed(document=orjson.dumps(rule).decode()))
            assert told["__typename"] == "DraftRuleSuccess", told

    async def published(self, *rules: dict[str, Any], seconds: int = 1) -> int:
        """The same, published a moment from now, in spite of a gate that nobody told anything; the clock is there."""
        await self.draft(*rules)
        begins = self.desk.wall() + timedelta(seconds=seconds)
        given = keyed(change={"rules": [{"code": rule["code"]} for rule in rules]}, effectiveFrom=begins.isoformat())
        number: int = (await self.mia.ask(SUBMIT, i=given))["release"]["number"]
        told = await self.paul.ask(PUBLISH, i=keyed(release=number, inSpite=True))
        assert told["release"]["state"] == "PUBLISHED", told
        self.desk.wall.move(seconds=seconds)
        await self.desk.at_wall()
        await self.market.desk.directory.refresh()
        return number

    async def run(self) -> int | None:
        """The worker's turn."""
        return await simulations.run_next(
            self.desk.database, self.market.desk.directory, now=clock.wall, stopping=asyncio.Event()
        )

    async def staff(self, name: str, *roles: str) -> Script:
        """Somebody of the operator's, signed in."""
        address = f"{name}@example.org"
        await self.desk.invite(name, address, roles)
        return await script_of(await self.desk.signed_in(address, "/staff"), "/staff")

    async def manager(self, code: str) -> Script:
        """A manager of a partner, signed in at the portal."""
        address = f"manager@{code}.example"
        await colleague(self.desk, code, "Ann", address, "MANAGER")
        return await script_of(await self.desk.signed_in(address, "/portal"), "/portal")


template = a_coalition(bakery={"return_window_days": 0}, grocer={"return_window_days": 0})


@pytest.fixture
async def office(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> AsyncIterator[Office]:
    coalition = await met(database, vault)
    market = await open_market(coalition)
    url = server.url(database_name, APPLICATION_ROLE)
    async with desks.opened(coalition, url) as desk:
        made = Office(desk, market, None, None, url)  # type: ignore[arg-type]
        made.mia = await made.staff("mia", actors.PROMOTION_MAKER)
        made.paul = await made.staff("paul", actors.PROMOTION_CHECKER)
        yield made
        assert await market.violations() == []
    await coalition.desk.close()


def keyed(**given: Any) -> dict[str, Any]:
    return {"idempotencyKey": stand.key(), **given}


def launch(simulation: int, **changed: Any) -> dict[str, Any]:
    """A launch that a gate lets through which costs little."""
    return {
        "simulation": simulation, "metric": "repeat visits", "target": "100", "due": "2026-06-01",
        "addedSales": "1000.00", "marginBp": 3_000, "cover": "5000.00", **changed,
    }  # fmt: skip


# --- From the draft to the till -----------------------------------------------------------------------------


async def test_a_rule_goes_from_its_draft_to_the_till_by_two_people(office: Office) -> None:
    mia, paul, pool = office.mia, office.paul, office.desk.database.pool
    cards = [await office.market.coalition.add_member() for _ in range(3)]
    for day in (20, 5, 4):
        for card in cards:
            await office.market.buy(card, a_receipt(1_000, at=NOON - day * DAY))
    added = await mia.ask(ADD, i=keyed(code="winter", names=WINTER, sponsor="bakery"))
    assert added["promotion"] == {"code": "winter", "name": "Winter", "sponsor": {"code": "bakery"}, "rules": []}
    rule = gift(who={"counters": [{"counter": "coalition.ever.count", "min": 1}]})
    text, first = orjson.dumps(rule).decode(), stand.key()
    drafted = await mia.ask(DRAFT, i={"idempotencyKey": first, "document": text})
    assert (drafted["rule"]["version"], drafted["rule"]["author"], drafted["rule"]["versionInForce"]) == (
        1,
        "mia",
        None,
    )
    assert (await mia.ask(DRAFT, i={"idempotencyKey": first, "document": text}))["replayed"]
    change = {"rules": [{"code": "gift", "version": 1}]}
    asked = keyed(change=change, days=7)
    told = await mia.ask(SIMULATE, i=asked)
    assert told["simulation"]["state"] == "WAITING"
    number = told["simulation"]["number"]
    assert (await mia.ask(SIMULATE, i=asked)) == told | {"replayed": True}
    assert await office.run() == number
    assert await office.run() is None
    found = await paul.ask(SIMULATION, n=number)
    assert (found["state"], found["author"], found["purchases"], found["purchasesDone"]) == ("DONE", "mia", "6", "6")
    report = found["report"]
    # Within the window each buys twice, and the second purchase is the one that comes after another.
    assert (report["pointsWas"], report["pointsDraft"], report["obligationPoints"]) == ("60", "81", "21")
    assert report["cost"] == {"amount": "0.21", "currencyCode": "EUR"}
    assert (report["winners"], report["losers"], report["mostGained"]["amount"]) == ("3", "0", "0.07")
    assert report["funders"] == [{"partner": {"code": "bakery"}, "pointsWas": "60", "pointsDraft": "81"}]
    assert {"rule": "gift", "applied": "3", "points": "21"} in report["rules"]
    begins = (office.desk.wall() + timedelta(minutes=1)).isoformat()
    given = keyed(change=change, effectiveFrom=begins, launch=launch(number))
    submitted = await mia.ask(SUBMIT, i=given)
    release = submitted["release"]
    assert (release["state"], release["author"], release["approver"]) == ("SUBMITTED", "mia", None)
    assert release["gate"] == {
        "objective": {"metric": "repeat visits", "target": "100", "due": "2026-06-01"}, "gain": {"amount": "300.00"},
        "cost": {"amount": "0.21"}, "obligationAfter": {"amount": "0.21"},
        "cover": {"amount": "5000.00"}, "against": [],
    }  # fmt: skip
    assert release["contentHash"] == found["contentHash"]
    assert (await mia.ask(SUBMIT, i=given))["release"] == release
    assert (await mia.error(PUBLISH, i=keyed(release=release["number"])))["code"] == "FORBIDDEN"
    published = await paul.ask(PUBLISH, i=keyed(release=release["number"]))
    assert (published["release"]["state"], published["release"]["approver"]) == ("PUBLISHED", "paul")
    office.desk.wall.move(minutes=2)
    await office.desk.at_wall()
    till = await a_till(office.desk)
    receipt = stand.receipt("10.00", occurredAt=office.desk.wall().isoformat())
    bought = await till.ask(RECORD, input=keyed(member=by_number(cards[0]), receipt=receipt))
    assert bought["transaction"]["awarded"] == "17"
    actions = [row["action"] for row in await pool.fetch("SELECT action FROM kit.audit_trail ORDER BY entry_id")]
    mine = ["PROMOTION_ADDED", "RULE_DRAFTED", "SIMULATION_ORDERED", "RELEASE_SUBMITTED", "RELEASE_PUBLISHED"]
    assert [action for action in actions if action in mine][-5:] == mine
    # Why it got that, decided once more on what was stored.
    why = await paul.ask(EXPLAIN, of={"partner": "bakery", "transaction": {"id": bought["transaction"]["id"]}})
    assert (why["isSame"], why["storedHash"], why["release"]) == (True, why["replayedHash"], release["number"])
    assert [(one["code"], one["points"]) for one in why["reasons"]] == [("BASE", "10"), ("RULE", "7")]
    (became,) = why["rules"]
    assert (became["reason"], became["awarded"]) == ("APPLIED", "7")
    assert became["funders"] == [{"partner": {"code": "bakery"}, "amount": "7"}]
    assert became["conditions"][0]["state"] == "OK"
    by_receipt = {
        "reference": receipt["reference"],
        "outlet": "1",
        "terminal": "1",
        "businessDate": receipt["businessDate"],
    }
    again = await paul.ask(EXPLAIN, of={"partner": "bakery", "transaction": {"receipt": by_receipt}})
    assert again == why
    assert await paul.ask(EXPLAIN, of={"partner": "grocer", "transaction": {"receipt": by_receipt}}) is None
    assert await paul.ask(EXPLAIN, of={"partner": "nobody", "transaction": {"receipt": by_receipt}}) is None


async def test_an_error_names_the_column_and_what_was_expected_and_nothing_is_drafted(office: Office) -> None:
    await office.draft()
    label = texts("big")
    rule = gift(conditions=[{"id": "big", "label": label, "cel": "basket.net > "}])
    (problem,) = await office.mia.ask(CHECK, d=orjson.dumps(rule).decode())
    assert (problem["path"], problem["code"]) == (["conditions", "0", "cel"], "EXPRESSION")
    assert problem["column"] >= 12
    told = await office.refused(office.mia, DRAFT, document=orjson.dumps(rule).decode())
    assert told["code"] == "RULE_INVALID"
    assert told["fields"][0]["path"] == ["conditions", "0", "cel"]
    assert told["fields"][0]["message"].startswith(f"column {problem['column']}: ")
    (typo,) = await office.mia.ask(CHECK, d='{"code": "gift", }')
    assert (typo["path"], typo["column"], typo["code"]) == (["document"], 16, "JSON")
    (twice,) = await office.mia.ask(CHECK, d='{"code": "a", "code": "b"}')
    assert (twice["path"], twice["code"]) == (["document"], "JSON")
    assert (await office.refused(office.mia, DRAFT, document='{"code": "gift", }'))["code"] == "RULE_INVALID"
    for no_object in ("[]", "7", "null", '"x"', "x" * 20_001):
        assert [one["column"] for one in await office.mia.ask(CHECK, d=no_object)] in ([None], [1])
    missing = {name: value for name, value in gift().items() if name != "stack"}
    (problem,) = await office.paul.ask(
        CHECK, d=orjson.dumps(missing | {"effect": {"type": "points_fixed", "points": 1}}).decode()
    )
    assert (problem["path"], problem["column"]) == (["stack"], None)
    assert await office.mia.ask(CHECK, d=orjson.dumps(gift()).decode()) == []


# --- Two people ---------------------------------------------------------------------------------------------


async def test_who_submitted_a_release_publishes_and_declines_it_not_whatever_their_roles(office: Office) -> None:
    max_ = await office.staff("max", actors.PROMOTION_MAKER, actors.PROMOTION_CHECKER)
    await office.draft(gift())
    begins = (office.desk.wall() + timedelta(minutes=1)).isoformat()
    told = await max_.ask(SUBMIT, i=keyed(change={"rules": [{"code": "gift"}]}, effectiveFrom=begins))
    number = told["release"]["number"]
    assert {one["code"] for one in told["release"]["gate"]["against"]} == {"MISSING", "MARGIN", "GAIN_NOT_ABOVE_COST"}
    for asked in (PUBLISH, DECLINE):
        assert (await office.refused(max_, asked, release=number))["code"] == "FOUR_EYES_REQUIRED"
    # The gate is open for nobody who does not say so; whoever does is in the trail.
    assert (await office.refused(office.paul, PUBLISH, release=number))["code"] == "LAUNCH_REFUSED"
    spite = keyed(release=number, inSpite=True)
    done = await asyncio.gather(*[office.paul.ask(PUBLISH, i=spite) for _ in range(4)])
    assert sorted(one["replayed"] for one in done) == [False, True, True, True]
    detail = await office.desk.database.pool.fetchval(
        "SELECT detail::text FROM kit.audit_trail WHERE action = 'RELEASE_PUBLISHED' AND actor = 'paul'"
    )
    assert orjson.loads(detail)["in_spite"] is True
    assert (await office.refused(office.paul, PUBLISH, release=number, inSpite=True))["code"] == "ALREADY_DECIDED"
    assert (await office.refused(office.paul, DECLINE, release=number))["code"] == "ALREADY_DECIDED"
    # Other groups alone change what rules give together: they pass no gate unexamined.
    groups = {"rules": [], "groups": [{"code": "all", "mode": "SUM", "priority": 1}]}
    later = (office.desk.wall() + timedelta(minutes=2)).isoformat()
    told = await office.mia.ask(SUBMIT, i=keyed(change=groups, effectiveFrom=later))
    assert "MISSING" in {one["code"] for one in told["release"]["gate"]["against"]}
    again = told["release"]["number"]
    assert (await office.refused(office.paul, PUBLISH, release=again))["code"] == "LAUNCH_REFUSED"


async def test_publishing_and_more_money_take_a_proof_of_a_moment_ago_stopping_does_not(office: Office) -> None:
    await office.published(gift())
    await office.mia.ask(ADD_BUDGET, i=keyed(code="cap", unit="points", limit="100"))
    await office.mia.ask(ADD_BUDGET, i=keyed(code="pot", unit="money", limit="0", currencyCode="EUR"))
    office.desk.wall.at += session.STEP_UP
    stale: dict[str, tuple[Script, dict[str, Any]]] = {
        PUBLISH: (office.paul, {"release": 1, "inSpite": True}),
        LIMIT: (office.mia, {"budget": "cap", "limit": "101"}),
        FUND: (office.mia, {"budget": "pot", "amount": "10.00", "reference": "P-1"}),
    }
    for asked, (script, given) in stale.items():
        assert (await office.refused(script, asked, **given))["code"] == "STEP_UP_REQUIRED"
    lower = await office.mia.ask(LIMIT, i=keyed(budget="cap", limit="99"))
    assert lower["budget"]["limit"]["points"] == "99"
    await office.desk.at_wall()
    suspended = await office.mia.ask(SUSPEND, i=keyed(promotion="winter"))
    assert suspended["release"]["state"] == "SUSPENSION"


async def test_one_person_takes_rules_out_at_once_and_two_put_them_back(office: Office) -> None:
    number = await office.published(gift(), gift("second", 5, stack={"priority": 11}))
    other = document("other", {"type": "points_fixed", "points": 3}, stack={"priority": 12})
    await office.market.publish(other, effective_from=office.desk.wall() + DAY, at=office.desk.wall())
    for given in (
        {"promotion": "none"},
        {"promotion": "winter", "rules": ["other"]},
        {"promotion": "test", "rules": ["x"]},
    ):
        assert (await office.refused(office.mia, SUSPEND, **given))["code"] == "PROMOTION_UNKNOWN"
    one = keyed(promotion="winter", rules=["second"])
    told = await office.paul.ask(SUSPEND, i=one)
    assert (told["release"]["state"], told["release"]["rules"]) == ("SUSPENSION", [{"code": "gift", "version": 1}])
    assert told["release"]["madeOn"] == number
    assert await office.paul.ask(SUSPEND, i=one) == told | {"replayed": True}
    await office.desk.application.state.services.directory.refresh()
    (winter,) = [each for each in (await office.mia.ask(PROMOTIONS))["nodes"] if each["code"] == "winter"]
    assert {rule["code"]: rule["versionInForce"] for rule in winter["rules"]} == {"gift": 1, "second": None}
    all_out = await office.mia.ask(SUSPEND, i=keyed(promotion="winter"))
    assert all_out["release"]["rules"] == []
    assert (await office.refused(office.mia, SUSPEND, promotion="winter"))["code"] == "RELEASE_INVALID"
    # Back again takes a release, and somebody else.
    begins = (office.desk.wall() + 2 * DAY).isoformat()
    back = await office.mia.ask(SUBMIT, i=keyed(change={"rules": [{"code": "gift"}]}, effectiveFrom=begins))
    assert [rule["code"] for rule in back["release"]["rules"]] == ["gift", "other"]
    declined = await office.paul.ask(DECLINE, i=keyed(release=back["release"]["number"]))
    assert declined["release"]["state"] == "DECLINED"


# --- What partners see --------------------------------------------------------------------------------------


async def test_a_partner_sees_what_was_published_and_concerns_it_and_nothing_of_another(office: Office) -> None:
    ann, gus = await office.manager("bakery"), await office.manager("grocer")
    here = gift(
        "here",
        5,
        where={"partners": ["bakery"]},
        funding=[{"party": "HERE", "bp": 6_000}, {"party": "OPERATOR", "bp": 4_000}],
    )
    there = gift("there", 5, where={"partners": ["grocer"]}, stack={"priority": 11})
    await office.draft()
    before = [await each.ask(PROMOTIONS) for each in (ann, gus)]
    assert [page["nodes"] for page in before] == [[], []]
    await office.published(here, there)
    drafted_only = gift("secret", 5, where={"partners": ["bakery"]}, stack={"priority": 12})
    await office.draft(drafted_only)
    (winter,) = (await ann.ask(PROMOTIONS))["nodes"]
    (rule,) = winter["rules"]
    assert rule == {
        "code": "here", "version": 1, "versionInForce": 1, "shareBp": 6_000, "document": None, "author": None,
        "effect": "points_fixed",
    }  # fmt: skip
    assert [each["code"] for each in (await gus.ask(PROMOTION, c="winter"))["rules"]] == ["there"]
    only_here = document(
        "only", {"type": "points_fixed", "points": 3}, where={"outlets": ["bakery:1"]}, stack={"priority": 13}
    )
    await office.market.publish(only_here, effective_from=office.desk.wall(), at=office.desk.wall())
    await office.desk.application.state.services.directory.refresh()
    assert {each["code"] for each in (await ann.ask(PROMOTIONS))["nodes"]} == {"winter", "test"}
    assert await gus.ask(PROMOTION, c="test") is None
    assert await gus.ask(PROMOTION, c="test") == await gus.ask(PROMOTION, c="nothing")
    told = orjson.dumps([await gus.ask(PROMOTIONS), await gus.ask(PROMOTION, c="winter")]).decode()
    assert "here" not in told.replace("there", "")
    assert "only" not in told
    # Reading is all that a partner may, and of releases, budgets and decisions it reads nothing.
    before_rows = await office.rows()
    for asked, given in (
        (DRAFT, {"i": keyed(document="{}")}), (PUBLISH, {"i": keyed(release=1)}), (SUSPEND, {"i": keyed(promotion="winter")}),
        (SUBMIT, {"i": keyed(change={}, effectiveFrom=NOON.isoformat())}), (CHECK, {"d": "{}"}), (USAGE, {"c": "cap"}),
        (SIMULATION, {"n": 1}), ("{ releases { nodes { number } } }", {}), ("{ release(number: 1) { number } }", {}),
        (EXPLAIN, {"of": {"partner": "grocer", "transaction": {"id": "txn_x"}}}),
    ):  # fmt: skip
        assert (await ann.error(asked, **given))["code"] == "FORBIDDEN", asked
    assert await office.rows() == before_rows


async def test_a_partners_program_reads_its_own_and_no_program_writes(office: Office) -> None:
    await office.published(gift("here", 5, where={"partners": ["bakery"]}))
    found = {}
    async with stand.opened(office.market.coalition, office.url) as gateway:
        for code in ("bakery", "grocer", None):
            program = await gateway.till(code, wanted=[scopes.RULES_READ])
            found[code] = [each["code"] for each in (await program.ask(PROMOTIONS))["nodes"]]
            for asked, given in ((DRAFT, {"i": keyed(document="{}")}), (PUBLISH, {"i": keyed(release=1)})):
                assert (await program.error(asked, **given))["extensions"]["code"] == "FORBIDDEN"
    assert found == {"bakery": ["winter"], "grocer": [], None: ["winter", "test"]}


# --- What refuses -------------------------------------------------------------------------------------------


async def test_what_is_refused_writes_nothing(office: Office) -> None:
    mia, paul = office.mia, office.paul
    await office.draft(gift())
    begins = (office.desk.wall() + timedelta(minutes=1)).isoformat()
    change = {"rules": [{"code": "gift"}]}
    number = (await mia.ask(SIMULATE, i=keyed(change=change)))["simulation"]["number"]
    late = (NOON - DAY).isoformat()
    past = (await mia.ask(SUBMIT, i=keyed(change=change, effectiveFrom=late)))["release"]["number"]
    refusals: list[tuple[Script, str, dict[str, Any], str]] = [
        (mia, ADD, {"code": "winter", "names": WINTER}, "PROMOTION_EXISTS"),
        (mia, ADD, {"code": "no spaces", "names": WINTER}, "PROMOTION_INVALID"),
        (mia, ADD, {"code": "x", "names": WINTER | {"ro": ""}}, "PROMOTION_INVALID"),
        (mia, ADD, {"code": "x", "names": WINTER, "sponsor": "nobody"}, "PARTNER_UNKNOWN"),
        (mia, DRAFT, {"document": orjson.dumps(bonus("x", 1, promotion="none")).decode()}, "PROMOTION_UNKNOWN"),
        (mia, DRAFT, {"document": orjson.dumps(bonus("gift", 1)).decode()}, "PROMOTION_UNKNOWN"),
        (mia, SIMULATE, {"change": change, "days": 0}, "SIMULATION_INVALID"),
        (mia, SIMULATE, {"change": change, "days": 367}, "SIMULATION_INVALID"),
        (mia, SIMULATE, {"change": {"rules": [{"code": "none"}]}}, "RELEASE_INVALID"),
        (mia, SIMULATE, {"change": {"rules": [{"code": "gift", "version": 2}]}}, "RELEASE_INVALID"),
        (mia, SUBMIT, {"change": {"without": ["none"]}, "effectiveFrom": begins}, "RELEASE_INVALID"),
        (mia, SUBMIT, {"change": change, "effectiveFrom": begins, "launch": launch(99)}, "SIMULATION_UNKNOWN"),
        (mia, SUBMIT, {"change": change, "effectiveFrom": begins, "launch": launch(number)}, "SIMULATION_UNFINISHED"),
        (mia, SUBMIT, {"change": change | {"groups": [{"code": "g", "mode": "MOST", "priority": 1}]}, "effectiveFrom": begins}, "RELEASE_INVALID"),
        (paul, PUBLISH, {"release": 99}, "RELEASE_UNKNOWN"),
        (paul, PUBLISH, {"release": past, "inSpite": True}, "RELEASE_RETROACTIVE"),
        (paul, DECLINE, {"release": 99}, "RELEASE_UNKNOWN"),
        (mia, ADD_BUDGET, {"code": "x", "unit": "apples", "limit": "1"}, "BUDGET_INVALID"),
        (mia, ADD_BUDGET, {"code": "x", "unit": "money", "limit": "0"}, "BUDGET_INVALID"),
        (mia, ADD_BUDGET, {"code": "x", "unit": "points", "limit": "-1"}, "BUDGET_INVALID"),
        (mia, ADD_BUDGET, {"code": "x", "unit": "points", "limit": "1", "zone": "Europe"}, "BUDGET_INVALID"),
        (mia, ADD_BUDGET, {"code": "x", "unit": "points", "limit": "1", "zone": "x" * 300}, "BUDGET_INVALID"),
        (mia, ADD_BUDGET, {"code": "x", "unit": "points", "limit": "1", "sponsor": "nobody"}, "PARTNER_UNKNOWN"),
        (mia, LIMIT, {"budget": "none", "limit": "1"}, "BUDGET_UNKNOWN"),
        (mia, FUND, {"budget": "none", "amount": "1.00", "reference": "R"}, "BUDGET_UNKNOWN"),
    ]  # fmt: skip
    for script, asked, given, code in refusals:
        assert (await office.refused(script, asked, **given))["code"] == code, (asked, given)
    # Of a budget all that is wrong is told at once.
    wrong = {
        "code": "?",
        "unit": "points",
        "limit": "-1",
        "period": "month:3",
        "zone": "Moon/Sea",
        "currencyCode": "EUR",
    }
    found = (await office.refused(mia, ADD_BUDGET, **wrong))["fields"]
    assert [one["path"][0] for one in found] == ["code", "period", "limit", "currency", "zone"]
    assert await mia.ask("{ budgetCurrencies }") == ["EUR", "USD"]
    await office.run()
    other = keyed(change=change | {"groups": []}, effectiveFrom=begins, launch=launch(number, addedSales="0.001"))
    assert (await office.refused(mia, SUBMIT, **other))["code"] == "RULE_INVALID"
    owed = launch(number, standing="-9000.00", cover="0.01")  # what is owed already makes no room for more
    refused = await office.refused(mia, SUBMIT, change=change, effectiveFrom=begins, launch=owed)
    assert refused["fields"][0]["path"] == ["launch", "standing"]
    await office.draft(gift(points=8))
    given = {"change": change, "effectiveFrom": begins, "launch": launch(number)}
    assert (await office.refused(mia, SUBMIT, **given))["code"] == "SIMULATION_DIFFERS"
    # A key is good for one thing, and keys have a form.
    used = keyed(code="spring", names=WINTER)
    assert (await mia.ask(ADD, i=used))["__typename"] == "AddPromotionSuccess"
    assert (await office.refused(mia, ADD, **used | {"code": "summer"}))["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert (await office.refused(mia, ADD, idempotencyKey="short", code="y", names=WINTER))[
        "code"
    ] == "IDEMPOTENCY_KEY_INVALID"


async def test_a_release_that_another_overtook_is_not_published(office: Office) -> None:
    await office.draft(gift())
    begins = (office.desk.wall() + timedelta(minutes=1)).isoformat()
    given = {"change": {"rules": [{"code": "gift"}]}, "effectiveFrom": begins}
    first, second = [(await office.mia.ask(SUBMIT, i=keyed(**given)))["release"]["number"] for _ in range(2)]
    await office.paul.ask(PUBLISH, i=keyed(release=second, inSpite=True))
    told = await office.refused(office.paul, PUBLISH, release=first, inSpite=True)
    assert told["code"] == "RELEASE_OUTDATED"
    page = await office.paul.ask("{ releases(first: 1) { nodes { number state } pageInfo { hasNextPage endCursor } } }")
    assert page["nodes"] == [{"number": second, "state": "PUBLISHED"}]
    following = await office.mia.ask(
        "query($a: String) { releases(after: $a) { nodes { number state } } }", a=page["pageInfo"]["endCursor"]
    )
    assert following["nodes"] == [{"number": first, "state": "SUBMITTED"}]
    assert (await office.mia.ask("query($n: Int!) { release(number: $n) { number } }", n=first)) == {"number": first}
    assert await office.mia.ask("{ release(number: 99) { number } }") is None


# --- Budgets ------------------------------------------------------------------------------------------------


async def test_budgets_are_added_limited_funded_and_their_use_is_shown_without_naming_members(office: Office) -> None:
    mia = office.mia
    made = await mia.ask(ADD_BUDGET, i=keyed(code="each", unit="points", limit="10", scopes=["member"], period="month"))
    assert made["budget"] == {"code": "each", "limit": {"points": "10", "times": None, "money": None}, "uses": []}
    await mia.ask(ADD_BUDGET, i=keyed(code="pot", unit="money", limit="0", currencyCode="EUR", sponsor="bakery"))
    paid = keyed(budget="pot", amount="12.50", payer="bakery", reference="P-1")
    funded = await mia.ask(FUND, i=paid)
    assert funded["budget"]["limit"] == {"points": None, "times": None, "money": {"amount": "12.50"}}
    assert (await mia.ask(FUND, i=paid))["replayed"]
    for wrong, code in (({"amount": "13.00"}, "FUNDING_REUSED"), ({"amount": "0.001"}, "BUDGET_INVALID"),
                        ({"amount": "100000000000000.00"}, "BUDGET_INVALID"), ({"amount": "-1.00"}, "BUDGET_INVALID"),
                        ({"budget": "each"}, "BUDGET_NOT_FUNDED")):  # fmt: skip
        given = {**paid, **wrong, "idempotencyKey": stand.key()}
        assert (await office.refused(mia, FUND, **given))["code"] == code
    assert (await office.refused(mia, LIMIT, budget="pot", limit="1"))["code"] == "BUDGET_IS_FUNDED"
    assert (await office.refused(mia, LIMIT, budget="each", limit="-1"))["code"] == "BUDGET_INVALID"
    await office.published(gift(caps=["each"]))
    card = await office.market.coalition.add_member()
    await office.market.buy(card, a_receipt(1_000, at=office.desk.wall()))
    used = await office.paul.ask(USAGE, c="each")
    assert used["uses"] == [
        {"scope": None, "period": "2026-03", "used": {"points": "7", "money": None}, "remaining": {"points": "3"}}
    ]
    assert (await mia.ask(LIMIT, i=keyed(budget="each", limit="8")))["budget"]["uses"][0]["remaining"] == {
        "points": "1"
    }
    assert await mia.ask(USAGE, c="none") is None
    listed = await office.paul.ask(BUDGETS, f=1)
    others = await office.paul.ask(BUDGETS, a=listed["pageInfo"]["endCursor"])
    assert [(one["code"], one["unit"]) for one in (*listed["nodes"], *others["nodes"])] == [
        ("each", "points"),
        ("pot", "money"),
    ]


async def test_promotions_come_in_pages_the_latest_first(office: Office) -> None:
    for code in ("one", "two", "three"):
        await office.mia.ask(ADD, i=keyed(code=code, names=WINTER))
    page = await office.mia.ask(PROMOTIONS, f=2)
    assert [each["code"] for each in page["nodes"]] == ["three", "two"]
    following = await office.mia.ask(PROMOTIONS, f=2, a=page["pageInfo"]["endCursor"])
    assert [each["code"] for each in following["nodes"]] == ["one", "test"]
    assert following["pageInfo"]["hasNextPage"] is False


# --- The page for operators ---------------------------------------------------------------------------------


async def test_the_dialogue_on_the_page_for_operators_runs_as_it_stands(office: Office) -> None:
    page = (Path(__file__).parents[3] / "docs" / "for-operators.md").read_text(encoding="utf-8")
    await office.market.buy(await office.market.coalition.add_member(), a_receipt(1_000, at=NOON - DAY))
    calls = re.findall(r"```graphql\n# (mia|paul)\n(.+?)```\n```json\n(.+?)```", page, re.S)
    told = []
    for who, asked, variables in calls:
        script = office.mia if who == "mia" else office.paul
        (answer,) = (await script.post(asked, orjson.loads(variables))).json()["data"].values()
        told.append(answer)
        await office.run()
    assert len(told) == page.count("```graphql") == 8
    (problem,) = told[0]
    assert problem["path"] == ["conditions", "0", "cel"]
    said = re.search(r'`\["conditions", "0", "cel"\]`, column (\d+) and `(.+?)`', page.replace("\n", " "))
    assert said is not None
    assert (str(problem["column"]), problem["expected"]) == said.groups()
    assert [one["__typename"] for one in told[1:] if "__typename" in one] == [
        "AddPromotionSuccess", "DraftRuleSuccess", "SimulateReleaseSuccess", "SubmitReleaseSuccess",
        "PublishReleaseSuccess", "SuspendPromotionSuccess",
    ]  # fmt: skip
    assert told[4]["state"] == "DONE"
    assert told[5]["release"]["gate"]["against"] == []
    assert told[7]["release"]["rules"] == []
