"""Finance in its own name over GraphQL: two people, a fresh proof, once under a key; a partner reads what is its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from settlement.exposure import limits
from settlement.exposure.tills import TillLimits
from tests import builders
from tests.builders import NOON, rows_written
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Desk
from tests.gateway.test_session_matrix import colleague

NO = "... on Rejection { code }"
RUN = "... on SettlementRunSuccess { replayed run { number state } }"
STAFF = {
    "mila": actors.FINANCE_MAKER, "chen": actors.FINANCE_CHECKER,
    "alma": actors.AGREEMENT_MAKER, "abel": actors.AGREEMENT_CHECKER,
}  # fmt: skip
SHARED = {
    "RecordDepositInput": "DepositInput", "ProposeDepositReturnInput": "DepositInput",
    **dict.fromkeys(("ExplainBreakInput", "UndoBreakMatchInput", "ReopenBreakInput"), "BreakCauseInput"),
}  # fmt: skip
"""Inputs that several mutations share."""


@dataclass
class House:
    """A coalition with its people of finance at their browsers."""

    desk: Desk
    people: dict[str, Script]

    def __getattr__(self, name: str) -> Script:
        return self.people[name]

    @property
    def database(self) -> Database:
        return self.desk.database

    async def act(self, who: str, field: str, result: str, key: str | None = None, **said: Any) -> Any:
        """What somebody hears of a mutation."""
        kind = field[0].upper() + field[1:] + "Input"
        kind = SHARED.get(kind, kind)
        document = f"mutation($i: {kind}!) {{ {field}(input: $i) {{ __typename {result} {NO} }} }}"
        return await self.people[who].ask(document, i={"idempotencyKey": key or stand.key(), **said})

    async def refused(self, who: str, field: str, result: str = "", **said: Any) -> str:
        """The code of a rejection that wrote nothing."""
        before = await rows_written(self.database.pool)
        told = await self.act(who, field, result, **said)
        assert told["__typename"] == "Rejection", told
        assert await rows_written(self.database.pool) == before
        return str(told["code"])

    async def proposed(self, who: str, field: str, **said: Any) -> int:
        told = await self.act(who, field, "... on ProposalSuccess { number replayed }", **said)
        assert told["__typename"] == "ProposalSuccess", told
        return int(told["number"])

    async def decided(self, number: int, *, approved: bool = True) -> Any:
        field, result = "decideFinanceProposal", "... on FinanceSuccess { replayed }"
        return await self.act("chen", field, result, proposal=number, approved=approved)

    async def trade(self, code: str, points: int) -> None:
        """Points that a partner gave, spendable at once."""
        pool, partner_id, at = self.database.pool, self.desk.coalition.callers[code].partner_id, self.desk.wall()
        terms_id = await pool.fetchval(
            "SELECT terms_id FROM partners.agreement WHERE partner_id = $1 AND version = 1", partner_id
        )
        status = await pool.fetchval(
            "SELECT status FROM ledger.accrue((SELECT ledger.open_accounts(1, 1::smallint)), 1::smallint, $1, "
            "gen_random_uuid(), gen_random_uuid(), $2, ARRAY[$1::int], ARRAY[$1::int], ARRAY[$3::int], "
            "ARRAY[$5::bigint], ARRAY[$2::timestamptz], ARRAY[$4::timestamptz])",
            partner_id, at, terms_id, at + timedelta(days=365), points,
        )  # fmt: skip
        assert status == 0


@pytest.fixture
async def house(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[House]:
    coalition = await builders.found(database, vault)
    capped = {"debit_cap_micro": 50_000_000, "cap_policy": "PENDING_HOLD", "prefunding_micro": 2_000_000}
    await coalition.add_partner("bakery", return_window_days=0, **capped)
    await coalition.add_partner("grocer", return_window_days=0)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        people = {}
        for name, role in STAFF.items():
            await desk.invite(name, f"{name}@example.org", [role])
            people[name] = await script_of(await desk.signed_in(f"{name}@example.org", "/staff"), "/staff")
        for name, code in (("fee", "bakery"), ("gus", "grocer")):
            await colleague(desk, code, name, f"{name}@example.org", "FINANCE")
            people[name] = await script_of(await desk.signed_in(f"{name}@example.org", "/portal"), "/portal")
        yield House(desk, people)
    await coalition.desk.close()


async def test_a_run_goes_from_its_windows_to_its_approval_by_two_people_and_its_partner(house: House) -> None:
    await house.trade("bakery", 1_000)
    await house.trade("grocer", 10)
    await house.desk.at_wall()
    await cutoffs.close(house.database, at=house.desk.wall())
    started = "... on SettlementRunsSuccess { replayed runs { number state } }"
    assert (await house.act("mila", "startSettlementRuns", started))["runs"] == [{"number": 1, "state": "DRAFT"}]
    key = stand.key()
    for _ in range(2):
        moved = await house.act("mila", "moveSettlementRun", RUN, key, run=1, to="CALCULATED")
    assert moved == {
        "__typename": "SettlementRunSuccess", "replayed": True, "run": {"number": 1, "state": "CALCULATED"},
    }  # fmt: skip
    again = await house.act("mila", "moveSettlementRun", RUN, key, run=1, to="CONTROLLED")
    assert again["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert await house.refused("mila", "moveSettlementRun", run=1, to="IN_REVIEW") == "RUN_STATE"
    assert await house.refused("chen", "decideSettlementRun", run=1, approved=True) == "RUN_STATE"
    for state in ("CONTROLLED", "IN_REVIEW"):
        assert (await house.act("mila", "moveSettlementRun", RUN, run=1, to=state))["run"]["state"] == state
    assert await house.refused("chen", "decideSettlementRun", run=1, approved=True) == "REVIEW_OPEN"
    for who in ("chen", "fee"):
        document = "mutation($i: MoveSettlementRunInput!) { moveSettlementRun(input: $i) { __typename } }"
        said = {"idempotencyKey": stand.key(), "run": 1, "to": "IN_REVIEW"}
        assert (await house.people[who].error(document, i=said))["code"] == "FORBIDDEN"

    statements = "{ settlementStatements { nodes { id run packagePath review { state acceptedAt windows } } } }"
    accepted = "... on AcceptSettlementStatementSuccess { replayed statement { review { acceptedAt } } }"
    for who in ("fee", "gus"):
        [own] = (await house.people[who].ask(statements))["nodes"]
        assert (own["run"], own["packagePath"], own["review"]["state"]) == (1, "/settlement/packages/1", "IN_REVIEW")
        assert own["review"]["acceptedAt"] is None
        assert own["review"]["windows"] == [
            (await house.mila.ask("{ settlementWindows { nodes { name run } } }"))["nodes"][-1]["name"]
        ]
        told = await house.act(who, "acceptSettlementStatement", accepted, statementId=own["id"])
        assert told["statement"]["review"]["acceptedAt"] is not None
    done = await house.act("chen", "decideSettlementRun", RUN, run=1, approved=True)
    assert done["run"] == {"number": 1, "state": "APPROVED"}
    whole = "{ settlementRun(number: 1) { state steps { state actor } certificate { status sha256 controls } defaults { source } } }"
    run = await house.chen.ask(whole)
    assert [step["state"] for step in run["steps"]][-1] == run["state"] == "APPROVED"
    assert run["steps"][-1]["actor"] == "chen"
    assert (run["certificate"]["status"], len(run["certificate"]["sha256"])) == ("CLEAN", 64)
    assert await house.mila.ask("{ settlementRun(number: 7) { state } }") is None
    assert [
        r["number"] for r in (await house.mila.ask("{ settlementRuns(first: 1) { nodes { number } } }"))["nodes"]
    ] == [1]
    assert len((await house.mila.ask("{ settlementCutoffs { nodes { number state } } }"))["nodes"]) == 2

    number = await house.proposed("mila", "proposeDefaultCover", run=1, partner="bakery")
    assert (await house.decided(number))["replayed"] is False
    assert (await house.chen.ask(whole))["defaults"] == [{"source": "OPERATOR"}]
    draft = '{ whatIf(run: 1, partner: "bakery", prices: [{name: "service_price_micro", value: 0}]) { kind delta } }'
    before = await rows_written(house.database.pool)
    assert {"kind": "NET", "delta": "1.5"} in [
        {**one, "delta": one["delta"].rstrip("0")} for one in await house.mila.ask(draft)
    ]
    assert await rows_written(house.database.pool) == before
    assert (await house.mila.error(draft.replace("service_price_micro", "x")))["code"] == "BAD_USER_INPUT"


async def test_who_proved_who_they_are_long_ago_does_nothing_until_they_do_again(house: House) -> None:
    house.desk.wall.move(minutes=11)
    await house.desk.at_wall()
    deposit = {"partner": "bakery", "amount": "5.00", "currencyCode": "EUR", "reference": "B-1"}
    assert await house.refused("mila", "recordDeposit", **deposit) == "STEP_UP_REQUIRED"
    assert await house.refused("mila", "declareHoliday", day="2026-05-01", name="May") == "STEP_UP_REQUIRED"
    assert await house.refused("chen", "decideFinanceProposal", proposal=1, approved=True) == "STEP_UP_REQUIRED"
    house.people["mila"] = await script_of(await house.desk.signed_in("mila@example.org", "/staff"), "/staff")
    assert (await house.act("mila", "recordDeposit", "", **deposit))["__typename"] == "FinanceSuccess"


async def test_what_finance_proposes_another_decides_and_nothing_is_done_twice(house: House) -> None:
    await house.desk.at_wall()
    deposit = {"partner": "bakery", "amount": "5.00", "currencyCode": "EUR", "reference": "B-1"}
    key = stand.key()
    done = await asyncio.gather(
        *(house.act("mila", "recordDeposit", "... on FinanceSuccess { replayed }", key, **deposit) for _ in range(5))
    )
    assert sorted(one["replayed"] for one in done) == [False, True, True, True, True]
    assert await house.refused("mila", "recordDeposit", **{**deposit, "amount": "6"}) == "BOOKING_KEY_REUSED"
    assert await house.refused("mila", "recordDeposit", **{**deposit, "amount": "-1"}) == "DEPOSIT_INVALID"
    assert await house.refused("mila", "recordDeposit", **{**deposit, "partner": "x"}) == "PARTNER_UNKNOWN"
    assert await house.refused("mila", "proposeDepositReturn", **{**deposit, "amount": "3.01"}) == "DEPOSIT_SHORT"
    back = await house.proposed("mila", "proposeDepositReturn", **{**deposit, "amount": "3"})
    tax = {"code": "VAT_20", "rateBp": 2000, "taxCode": "S", "validFrom": (NOON + timedelta(days=9)).isoformat()}
    rule = await house.proposed("mila", "proposeTaxRule", **tax)
    assert await house.refused("mila", "proposeTaxRule", **{**tax, "rounding": "UP"}) == "TAX_RULE_INVALID"
    waiting = "{ financeProposals { nodes { number kind maker } } }"
    assert (await house.chen.ask(waiting))["nodes"] == [
        {"number": back, "kind": "DEPOSIT_RETURN", "maker": "mila"}, {"number": rule, "kind": "TAX_RULE", "maker": "mila"},
    ]  # fmt: skip
    assert (await house.decided(back))["__typename"] == "FinanceSuccess"
    assert (await house.decided(rule, approved=False))["__typename"] == "FinanceSuccess"
    said = await house.act("chen", "decideFinanceProposal", "", proposal=rule, approved=True)
    assert said["code"] == "ALREADY_DECIDED"
    assert (await house.chen.ask(waiting))["nodes"] == []
    [bakery, _] = (await house.chen.ask("{ partnerDeposits { nodes { partner prefunding deposited missing } } }"))[
        "nodes"
    ]
    assert {name: float(amount) for name, amount in bakery.items() if name != "partner"} == {
        "prefunding": 2, "deposited": 2, "missing": 0,
    }  # fmt: skip
    await limits.enforce(house.database, TillLimits(), at=house.desk.wall())
    [cap] = (await house.mila.ask("{ partnerExposures { nodes { partner policy withheld limitPoints } } }"))["nodes"]
    assert (cap["partner"], cap["policy"], float(cap["withheld"]), cap["limitPoints"]) == (
        "bakery",
        "PENDING_HOLD",
        0,
        "5200",
    )
    for _ in range(2):
        await house.act("mila", "declareHoliday", "", day="2026-05-01", name="May")
    assert (await house.mila.ask("{ holidays { nodes { day name } } }"))["nodes"] == [
        {"day": "2026-05-01", "name": "May"}
    ]
    assert [r["code"] for r in (await house.mila.ask("{ taxRules { nodes { code } } }"))["nodes"]] == ["NONE"]
    assert await house.refused("mila", "proposeExit", partner="grocer", reason="leaves") == "STOCK_INVALID"
    stock = {"partner": "bakery", "version": 1, "billedFundMicro": 10**9, "reason": "agreed"}
    assert await house.refused("mila", "proposeBuyOut", **stock) == "STOCK_INVALID"
    assert await house.refused("mila", "proposeBuyOut", **{**stock, "version": 9}) == "AGREEMENT_UNKNOWN"
    bought = await house.proposed("mila", "proposeBuyOut", **{**stock, "billedFundMicro": 8_500})
    assert (await house.decided(bought, approved=False))["__typename"] == "FinanceSuccess"


async def test_a_version_of_an_agreement_is_proposed_signed_and_read_by_its_partner_alone(house: House) -> None:
    await house.desk.at_wall()
    begins = (house.desk.wall() + timedelta(days=1)).isoformat()
    terms = [{"name": "cycle", "value": "WEEK"}, {"name": "review_days", "value": "3"}]
    said = {"partner": "bakery", "validFrom": begins, "terms": terms}
    wrong = {**said, "terms": [{"name": "cycle", "value": "CENTURY"}]}
    assert await house.refused("alma", "proposeAgreement", **wrong) == "AGREEMENT_INVALID"
    assert await house.proposed("alma", "proposeAgreement", **said) == 2
    read = "{ agreements { nodes { partner version state maker changes { name before after } } } }"
    assert [one["version"] for one in (await house.fee.ask(read))["nodes"]] == [1]
    document = "mutation($i: DecideAgreementInput!) { decideAgreement(input: $i) { __typename } }"
    decision = {"idempotencyKey": stand.key(), "partner": "bakery", "version": 2, "approved": True}
    assert (await house.alma.error(document, i=decision))["code"] == "FORBIDDEN"
    done = await house.act("abel", "decideAgreement", "", partner="bakery", version=2, approved=True)
    assert done["__typename"] == "FinanceSuccess"
    assert (
        await house.refused("abel", "decideAgreement", partner="bakery", version=9, approved=True)
        == "AGREEMENT_UNKNOWN"
    )
    newest, _ = (await house.fee.ask(read))["nodes"]
    assert (newest["partner"], newest["version"], newest["state"], newest["maker"]) == ("bakery", 2, "APPROVED", None)
    assert newest["changes"] == [
        {"name": "review_days", "before": "5", "after": "3"}, {"name": "cycle", "before": "MONTH", "after": "WEEK"},
    ]  # fmt: skip
    assert {one["partner"] for one in (await house.gus.ask(read))["nodes"]} == {"grocer"}
    assert {one["maker"] for one in (await house.mila.ask(read))["nodes"]} == {"maker", "alma"}
    first = await house.mila.ask("{ agreements(first: 2) { nodes { version } pageInfo { hasNextPage endCursor } } }")
    assert first["pageInfo"]["hasNextPage"]
    rest = await house.mila.ask(
        "query($a: String) { agreements(first: 2, after: $a) { nodes { version } pageInfo { hasNextPage } } }",
        a=first["pageInfo"]["endCursor"],
    )  # fmt: skip
    assert (len(rest["nodes"]), rest["pageInfo"]["hasNextPage"]) == (1, False)
