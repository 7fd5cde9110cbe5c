"""More of a budget in force over GraphQL: proposed by one, let by another, and told to nobody else."""

from __future__ import annotations

import asyncio
from typing import Any

from gateway import scopes
from gateway.sessions import session
from kit import actors
from tests.builders import a_receipt
from tests.gateway import stand
from tests.gateway.promotions.test_rule_api import (
    ADD_BUDGET,
    FUND,
    LIMIT,
    NO,
    PUBLISH,
    SUBMIT,
    Office,
    gift,
    keyed,
    office,
    template,
)
from tests.partners.promotions.offers import document

__all__ = ["office", "template"]  # fixtures

PROPOSAL = """proposal { number budget kind state before { points money { amount } } after { points money { amount } }
  payer { code } reference maker checker reason }"""
GATE = "gate { cover { amount } obligationAfter { amount } against { path code } }"
RAISE = f"""mutation($i: SetBudgetLimitInput!) {{ setBudgetLimit(input: $i) {{ __typename {NO}
  ... on SetBudgetLimitSuccess {{ replayed budget {{ limit {{ points }} }} {PROPOSAL} }} }} }}"""
OPENED = f"query($n: Int!) {{ budgetProposal(number: $n) {{ number state {GATE} }} }}"
PAY = f"""mutation($i: FundBudgetInput!) {{ fundBudget(input: $i) {{ __typename {NO}
  ... on FundBudgetSuccess {{ replayed budget {{ limit {{ money {{ amount }} }} }} {PROPOSAL} }} }} }}"""
WAITING = f"""query($f: Int, $a: String) {{ budgetProposals(first: $f, after: $a) {{ pageInfo {{ hasNextPage endCursor }}
  nodes {PROPOSAL.removeprefix("proposal")} }} }}"""
WAITING_GATES = WAITING.replace("number", f"number {GATE}", 1)
KEPT = """query($c: String!) { budgetUsage(code: $c) { limit { points } proposals { nodes { number state maker checker reason } } } }"""

PAGED = """query($c: String!, $a: String) { budgetUsage(code: $c) { isSampled proposals(first: 2, after: $a) {
  nodes { number } pageInfo { hasNextPage endCursor } } } }"""


def deciding(verb: str) -> str:
    name = f"{verb}BudgetProposal"
    kind = name[0].upper() + name[1:]
    return f"""mutation($i: {kind}Input!) {{ {name}(input: $i) {{ __typename {NO}
      ... on {kind}Success {{ replayed {PROPOSAL} }} }} }}"""


APPROVE, DECLINE, WITHDRAW = deciding("approve"), deciding("decline"), deciding("withdraw")
PLENTY = {"cover": "5000.00"}


async def in_force(office: Office, **given: Any) -> None:
    """A budget of points that a published release counts against."""
    await office.mia.ask(ADD_BUDGET, i=keyed(code="cap", unit="points", limit="10", **given))
    await office.published(gift(caps=["cap"]))


async def test_a_raise_waits_for_another_and_then_the_till_gives_it(office: Office) -> None:
    mia, paul = office.mia, office.paul
    await in_force(office)
    card = await office.market.coalition.add_member()

    async def bought() -> int:
        return (await office.market.buy(card, a_receipt(1_000, at=office.desk.wall()))).receipt.awarded_points - 10

    assert [await bought(), await bought()] == [7, 0]
    asked = keyed(budget="cap", limit="100", cover="1.00", standing="0.10")
    told = await mia.ask(RAISE, i=asked)
    proposal = told["proposal"]
    assert told["budget"] == {"limit": {"points": "10"}}
    assert proposal == {
        "number": proposal["number"], "budget": "cap", "kind": "BUDGET_LIMIT", "state": "WAITING", "payer": None,
        "before": {"points": "10", "money": None}, "after": {"points": "100", "money": None}, "reference": None,
        "maker": "mia", "checker": None, "reason": None,
    }  # fmt: skip
    assert await mia.ask(RAISE, i=asked) == told | {"replayed": True}
    assert (await paul.ask(WAITING))["nodes"] == [proposal]
    assert await bought() == 0
    number = proposal["number"]
    opened = {"number": number, "state": "WAITING", "gate": {
        "cover": {"amount": "1.00"}, "obligationAfter": {"amount": "1.00"}, "against": [],
    }}  # fmt: skip
    assert await paul.ask(OPENED, n=number) == opened
    assert (await mia.error(APPROVE, i=keyed(proposal=number)))["code"] == "FORBIDDEN"
    yes = keyed(proposal=number, reason="the spring offer sells")
    done = await asyncio.gather(*(paul.ask(APPROVE, i=yes) for _ in range(4)))
    assert sorted(one["replayed"] for one in done) == [False, True, True, True]
    assert {(one["proposal"]["state"], one["proposal"]["checker"]) for one in done} == {("APPROVED", "paul")}
    assert await bought() == 7
    assert await mia.ask(OPENED, n=number) == {"number": number, "state": "APPROVED", "gate": None}
    assert await mia.ask(OPENED, n=number + 1) is None
    kept = await mia.ask(KEPT, c="cap")
    assert kept == {"limit": {"points": "100"}, "proposals": {"nodes": [
        {"number": number, "state": "APPROVED", "maker": "mia", "checker": "paul", "reason": "the spring offer sells"},
    ]}}  # fmt: skip
    assert await mia.ask(RAISE, i=asked) == told | {
        "replayed": True, "budget": {"limit": {"points": "100"}}, "proposal": done[0]["proposal"],
    }  # fmt: skip
    assert (await paul.ask(WAITING))["nodes"] == []
    lower = await mia.ask(RAISE, i=keyed(budget="cap", limit="50"))
    assert (lower["budget"], lower["proposal"]) == ({"limit": {"points": "50"}}, None)


async def test_what_was_proposed_of_a_budget_is_read_page_by_page(office: Office) -> None:
    mia = office.mia
    await in_force(office)
    limits = [str(20 + more) for more in range(5)]
    numbers = [
        (await mia.ask(RAISE, i=keyed(budget="cap", limit=one, **PLENTY)))["proposal"]["number"] for one in limits
    ]
    await mia.ask(WITHDRAW, i=keyed(proposal=numbers[4]))
    shown, after = [], None
    for _ in range(3):
        told = (await mia.ask(PAGED, c="cap", a=after))["proposals"]
        shown += [one["number"] for one in told["nodes"]]
        after = told["pageInfo"]["endCursor"]
    assert shown == [*numbers[3::-1], numbers[4]]
    assert not told["pageInfo"]["hasNextPage"]
    assert (await mia.error(PAGED, c="cap", a="cur_x"))["code"] == "BAD_USER_INPUT"


async def test_who_proposed_it_does_not_decide_it_and_what_is_refused_writes_nothing(office: Office) -> None:
    mia, paul = office.mia, office.paul
    max_ = await office.staff("max", actors.PROMOTION_MAKER, actors.PROMOTION_CHECKER)
    await in_force(office)

    async def proposed(**given: Any) -> int:
        told = await max_.ask(RAISE, i=keyed(budget="cap", **{"limit": "100", **PLENTY, **given}))
        number: int = told["proposal"]["number"]
        return number

    number = await proposed()
    for asked in (APPROVE, DECLINE):
        assert (await office.refused(max_, asked, proposal=number))["code"] == "FOUR_EYES_REQUIRED"
    assert (await office.refused(mia, WITHDRAW, proposal=number))["code"] == "NOT_PERMITTED"
    for asked, script in ((APPROVE, paul), (DECLINE, paul), (WITHDRAW, mia)):
        assert (await office.refused(script, asked, proposal=999))["code"] == "PROPOSAL_UNKNOWN"
    assert (await office.refused(paul, DECLINE, proposal=number, reason="x" * 501))["code"] == "BUDGET_INVALID"
    assert (await office.refused(mia, RAISE, budget="cap", limit="100", cover="0.001"))["code"] == "BUDGET_INVALID"
    assert (await office.refused(mia, ADD_BUDGET, code="exposure:bakery", unit="points", limit="1"))[
        "code"
    ] == "BUDGET_RESERVED"
    taken = await max_.ask(WITHDRAW, i=keyed(proposal=number))
    assert taken["proposal"]["state"] == "WITHDRAWN"
    assert (await office.refused(paul, APPROVE, proposal=number))["code"] == "ALREADY_DECIDED"
    declined = await paul.ask(DECLINE, i=keyed(proposal=await proposed(), reason="wait for the figures"))
    assert (declined["proposal"]["state"], declined["proposal"]["reason"]) == ("DECLINED", "wait for the figures")
    # The gate is open for nobody who does not say so; whoever does is in the trail.
    beyond = await proposed(cover="0.89")
    told = await office.refused(paul, APPROVE, proposal=beyond)
    assert (told["code"], [one["code"] for one in told["fields"]]) == ("LAUNCH_REFUSED", ["COVER_EXCEEDED"])
    stale = await proposed()
    await paul.ask(APPROVE, i=keyed(proposal=beyond, inSpite=True))
    assert (await office.refused(paul, APPROVE, proposal=stale))["code"] == "RAISE_OUTDATED"
    actor = "SELECT actor FROM kit.audit_trail WHERE action = 'BUDGET_LIMIT_SET' AND detail @> '{\"in_spite\": true}'"
    assert await office.desk.database.pool.fetchval(actor) == "paul"
    # More takes a proof of a moment ago of both, stopping it of none.
    fresh = await proposed(limit="200")
    office.desk.wall.at += session.STEP_UP
    assert (await office.refused(max_, RAISE, budget="cap", limit="300"))["code"] == "STEP_UP_REQUIRED"
    assert (await office.refused(paul, APPROVE, proposal=fresh))["code"] == "STEP_UP_REQUIRED"
    assert (await max_.ask(WITHDRAW, i=keyed(proposal=fresh)))["proposal"]["state"] == "WITHDRAWN"


async def test_a_payment_waits_too_and_no_partner_hears_of_any_of_it(office: Office) -> None:
    mia, paul = office.mia, office.paul
    await in_force(office, sponsor="bakery")
    pot = keyed(code="pot", unit="money", limit="0", currencyCode="EUR", sponsor="bakery")
    await mia.ask(ADD_BUDGET, i=pot)
    paid = keyed(budget="pot", amount="1.00", payer="bakery", reference="P-0")
    assert (await mia.ask(PAY, i=paid))["proposal"] is None  # nothing counts against it yet
    half = document(
        "half", {"type": "discount_percent", "rate_bp": 5_000}, promotion="winter", caps=["pot"], stack={"priority": 11}
    )
    await office.published(half, seconds=2)
    more = keyed(budget="pot", amount="12.50", payer="bakery", reference="P-1")
    told = await mia.ask(PAY, i=more)
    assert told["budget"] == {"limit": {"money": {"amount": "1.00"}}}
    proposal = told["proposal"]
    assert (proposal["after"]["money"], proposal["payer"], proposal["reference"]) == (
        {"amount": "13.50"}, {"code": "bakery"}, "P-1",
    )  # fmt: skip
    again = {**more, "idempotencyKey": stand.key()}
    assert (await office.refused(mia, FUND, **again))["code"] == "FUNDING_REUSED"
    cap = (await mia.ask(RAISE, i=keyed(budget="cap", limit="20", **PLENTY)))["proposal"]
    page = await paul.ask(WAITING, f=1)
    assert [one["number"] for one in page["nodes"]] == [proposal["number"]]
    following = await paul.ask(WAITING, f=1, a=page["pageInfo"]["endCursor"])
    assert (await paul.error(WAITING_GATES, f=20))["code"] == "QUERY_TOO_COMPLEX"  # gates are opened one by one
    assert [one["number"] for one in following["nodes"]] == [cap["number"]]
    # The sponsor's own people and programs read and decide none of it.
    ann, before = await office.manager("bakery"), await office.rows()
    named: dict[str, Any] = {"proposal": cap["number"]}
    writes = ((RAISE, {"budget": "cap", "limit": "9"}), (APPROVE, named), (DECLINE, named), (WITHDRAW, named))
    opened = (OPENED, {"n": cap["number"]})
    assert (await paul.ask(OPENED, n=proposal["number"]))["gate"] is None  # a payment is owed by nobody
    for asked, given in (
        (WAITING, {}),
        opened,
        (KEPT, {"c": "cap"}),
        *((asked, {"i": keyed(**it)}) for asked, it in writes),
    ):
        assert (await ann.error(asked, **given))["code"] == "FORBIDDEN", asked
    assert await office.rows() == before
    async with stand.opened(office.market.coalition, office.url) as gateway:
        program = await gateway.till("bakery", wanted=[scopes.RULES_READ])
        assert (await program.error(WAITING))["extensions"]["code"] == "FORBIDDEN"
    await paul.ask(APPROVE, i=keyed(proposal=proposal["number"]))
    assert (await mia.ask(PAY, i=more))["budget"] == {"limit": {"money": {"amount": "13.50"}}}


async def test_whoever_publishes_sees_the_limits_that_will_hold(office: Office) -> None:
    mia, paul = office.mia, office.paul
    await mia.ask(ADD_BUDGET, i=keyed(code="cap", unit="points", limit="10"))
    await office.draft(gift(caps=["cap"]))
    begins = (office.desk.wall() + session.STEP_UP / 2).isoformat()
    given = {"change": {"rules": [{"code": "gift"}]}, "effectiveFrom": begins}
    numbers = []
    for limit in ("20", "15"):
        numbers.append((await mia.ask(SUBMIT, i=keyed(**given)))["release"]["number"])
        assert (await mia.ask(LIMIT, i=keyed(budget="cap", limit=limit)))["budget"]["limit"]["points"] == limit
    shown = "query($n: Int!) { release(number: $n) { budgets { code limit { points } } } }"
    for number in numbers:
        assert await paul.ask(shown, n=number) == {"budgets": [{"code": "cap", "limit": {"points": "15"}}]}
    first, second = numbers
    assert (await office.refused(paul, PUBLISH, release=first, inSpite=True))["code"] == "RELEASE_OUTDATED"
    told = await paul.ask(PUBLISH, i=keyed(release=second, inSpite=True))
    assert told["release"]["state"] == "PUBLISHED"
