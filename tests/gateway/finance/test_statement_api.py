"""Settlement statements over GraphQL: pages, lines, and nobody sees another partner's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from gateway import connections, scopes
from gateway.context import Context, Services, Viewer
from gateway.finance.statement_api import FinanceQuery
from gateway.gate.prepared import Schema
from kit import actors
from kit.database import Database
from kit.secrets import Vault, opaque_id
from kit.settings import Settings
from ledger import cutoffs
from partners.agreements import onboarding, programme
from partners.directory import DirectoryCache
from partners.terms import Programme
from settlement import archive, runs

START = datetime(2026, 3, 1, 9, tzinfo=UTC)
RULES = Programme("Tessera Test", "UTC", "EUR", ("en",), 10_000, 30, {"EUR": 10_000})
SCHEMA = Schema(FinanceQuery)

STATEMENTS = """query($first: Int! = 20, $after: String) { settlementStatements(first: $first, after: $after) {
  nodes { id partnerName openedAt closedAt settledAt currencyCode netDue { amount currencyCode } opening { amount }
          direction }
  edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }"""
ONE = """query($id: ID!, $first: Int! = 50, $after: String) { settlementStatement(id: $id) {
  id partnerName lines(first: $first, after: $after) {
    nodes { number kind agreementVersion points postings unitPrice amountExact amount { amount } }
    pageInfo { hasNextPage endCursor } } } }"""


class Finance:
    """Two partners that earn and honour points for three weeks, settled every week, and who asks about it."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.database = database
        self.services = Services(Settings(), database, vault, DirectoryCache(database.pool, vault))
        self.partners: dict[str, int] = {}

    async def found(self) -> None:
        async with self.database.transaction() as connection:
            await programme.found(connection, RULES)
            self.maker = await actors.ensure_actor(
                connection, "maker", [actors.ONBOARDING, actors.AGREEMENT_MAKER, actors.FINANCE_MAKER]
            )
            self.checker = await actors.ensure_actor(connection, "checker", [actors.AGREEMENT_CHECKER])
            for code in "ab":
                await onboarding.add_partner(
                    connection, self.services.vault, code=code, name=f"Shop {code}", actor=self.maker, at=START
                )
                self.partners[code] = await onboarding.partner_id_of(connection, code)
        for code in "ab":
            await self._sign(code)
        self.member = await self.database.pool.fetchval("SELECT ledger.open_accounts(1, 1::smallint)")
        for week in range(3):
            await self._week(START + week * timedelta(days=7))

    async def _sign(self, code: str) -> None:
        await self.database.pool.execute(
            "WITH a AS (INSERT INTO kit.approval (kind, subject, maker_id, made_at, checker_id, decided_at, approved) "
            "           VALUES ('AGREEMENT', $1, $2, $3, $4, $3, true) RETURNING approval_id) "
            "INSERT INTO partners.agreement (partner_id, version, valid_from, currency, earn_rate_bp, fund_price_micro,"
            "  service_price_micro, reimbursement_price_micro, funding, return_window_days, expiry_months,"
            "  bill_share_bp, return_policy, approval_id) "
            "SELECT $5, 1, $3, 'EUR', 100, 8500, 1500, 8000, 'POOL', 0, 12, 5000, 'ISSUER_BEARS', approval_id FROM a",
            code, self.maker, START, self.checker, self.partners[code],
        )  # fmt: skip

    async def _week(self, at: datetime) -> None:
        a, b = self.partners["a"], self.partners["b"]
        terms = dict(await self.database.pool.fetch("SELECT partner_id, terms_id FROM partners.agreement"))
        await self.database.pool.fetchval(
            "SELECT status FROM ledger.accrue($1, 1::smallint, $2, $3, $3, $4, ARRAY[$2::int], ARRAY[$2::int],"
            " ARRAY[$5::int], ARRAY[1000::bigint], ARRAY[$4::timestamptz], ARRAY[$6::timestamptz])",
            self.member, a, uuid4(), at, terms[a], at + timedelta(days=365),
        )  # fmt: skip
        for redeemer in (a, b):
            await self.database.pool.fetchval(
                "SELECT status FROM ledger.redeem($1, 1::smallint, 300, $2, $3, $4, $4, $5, $6)",
                self.member, redeemer, terms[redeemer], uuid4(), at, at.date(),
            )  # fmt: skip
        await cutoffs.close(self.database, at=at + timedelta(days=1))
        async with self.database.transaction() as connection:
            await runs.settle(connection, actor="maker", at=at + timedelta(days=1))

    async def ask(
        self, document: str, *, of: str | None, scope: str = scopes.SETTLEMENT_READ, **variables: Any
    ) -> dict[str, Any]:
        """The answer to a partner's client (or to the operator's staff, of=None) as a till would see it."""
        partner_id = None if of is None else self.partners[of]
        viewer = Viewer(1, "client", partner_id, frozenset({scope}))
        context = Context(viewer, self.services, "request-1")
        result = await SCHEMA.execute(document, variables, context_value=context)
        return {"data": result.data, "errors": [e.message for e in result.errors or ()]}


@pytest.fixture(scope="module")
async def finance(module_database: Database, vault: Vault) -> Finance:
    """One for all tests: they only read."""
    founded = Finance(module_database, vault)
    await founded.found()
    return founded


async def test_a_partner_sees_its_own_statements_the_latest_first(finance: Finance) -> None:
    answer = await finance.ask(STATEMENTS, of="a")

    nodes = answer["data"]["settlementStatements"]["nodes"]
    assert [n["partnerName"] for n in nodes] == ["Shop a"] * 3
    assert [n["settledAt"] for n in nodes] == [
        "2026-03-16T09:00:00Z", "2026-03-09T09:00:00Z", "2026-03-02T09:00:00Z"
    ]  # fmt: skip
    assert {(n["netDue"]["amount"], n["direction"]) for n in nodes} == {("-7.60", "PAY_IN")}
    assert nodes[0]["openedAt"] == nodes[1]["closedAt"]
    assert nodes[2]["openedAt"] is None
    b = (await finance.ask(STATEMENTS, of="b"))["data"]["settlementStatements"]["nodes"]
    assert {(n["partnerName"], n["netDue"]["amount"], n["direction"]) for n in b} == {("Shop b", "2.40", "PAY_OUT")}


async def test_the_operators_staff_sees_everybodys_and_they_sum_to_zero(finance: Finance) -> None:
    nodes = (await finance.ask(STATEMENTS, of=None))["data"]["settlementStatements"]["nodes"]

    assert {n["partnerName"] for n in nodes} == {"Shop a", "Shop b", "Tessera Test"}
    assert len(nodes) == 9
    assert sum(Decimal(n["netDue"]["amount"]) for n in nodes) == 0


async def test_another_partners_statement_is_as_unknown_as_one_that_is_not_there(
    finance: Finance, vault: Vault
) -> None:
    [theirs, *_] = (await finance.ask(STATEMENTS, of="b"))["data"]["settlementStatements"]["nodes"]
    key = connections.id_key(vault, "settlement statement id")
    absent = opaque_id(key, "stm", (10**6).to_bytes(8, "big"))

    answers = [await finance.ask(ONE, of="a", id=i) for i in (theirs["id"], absent, "stm_1", "1", "")]

    assert answers == [{"data": {"settlementStatement": None}, "errors": []}] * 5
    assert (await finance.ask(ONE, of="b", id=theirs["id"]))["data"]["settlementStatement"]["id"] == theirs["id"]
    assert (await finance.ask(ONE, of=None, id=theirs["id"]))["data"]["settlementStatement"]["id"] == theirs["id"]


async def test_a_statement_has_its_lines_in_pages(finance: Finance) -> None:
    [own, *_] = (await finance.ask(STATEMENTS, of="a"))["data"]["settlementStatements"]["nodes"]

    first = (await finance.ask(ONE, of="a", id=own["id"], first=1))["data"]["settlementStatement"]["lines"]
    rest = (await finance.ask(ONE, of="a", id=own["id"], first=1, after=first["pageInfo"]["endCursor"]))["data"]

    assert first["nodes"] == [
        {
            "number": 1, "kind": "ACTIVATION", "agreementVersion": 1, "points": "1000", "postings": 1,
            "unitPrice": "0.010000", "amountExact": "-10.000000", "amount": {"amount": "-10.00"},
        }
    ]  # fmt: skip
    assert first["pageInfo"]["hasNextPage"]
    lines = rest["settlementStatement"]["lines"]
    assert [(n["kind"], n["amount"]["amount"]) for n in lines["nodes"]] == [("REDEMPTION", "2.40")]
    assert not lines["pageInfo"]["hasNextPage"]


async def test_pages_by_cursor_meet_every_statement_once(finance: Finance) -> None:
    seen, after = [], None
    while True:
        page = (await finance.ask(STATEMENTS, of=None, first=2, after=after))["data"]["settlementStatements"]
        seen += [edge["node"]["id"] for edge in page["edges"]]
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        assert page["pageInfo"]["startCursor"] == page["edges"][0]["cursor"]
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert len(seen) == len(set(seen)) == 9


async def test_the_lines_of_a_page_of_statements_take_one_query(
    finance: Finance, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    lines_page = archive.lines_page

    async def counted(connection: Any, statement_ids: Any, **options: Any) -> Any:
        asked.append(len(statement_ids))
        return await lines_page(connection, statement_ids, **options)

    monkeypatch.setattr(archive, "lines_page", counted)
    document = "{ settlementStatements(first: 9) { nodes { lines(first: 10) { nodes { kind } } } } }"
    nodes = (await finance.ask(document, of=None))["data"]["settlementStatements"]["nodes"]

    assert asked == [9]
    assert sum(len(n["lines"]["nodes"]) for n in nodes) == 3 * (2 + 1 + 4)


@pytest.mark.parametrize("after", ["nonsense", "cur_AAAA", ""])
async def test_a_cursor_of_another_list_is_refused(finance: Finance, after: str) -> None:
    answer = await finance.ask(STATEMENTS, of="a", after=after)
    assert answer["errors"] == ["`after` is not a cursor of this list."]


@pytest.mark.parametrize("first", [0, 101, -1])
async def test_a_page_is_one_to_a_hundred(finance: Finance, first: int) -> None:
    answer = await finance.ask(STATEMENTS, of="a", first=first)
    assert answer["data"] is None
    assert answer["errors"] == ["`first` is from 1 to 100."]


async def test_without_the_scope_nothing_is_told(finance: Finance) -> None:
    answer = await finance.ask(STATEMENTS, of="a", scope=scopes.POINTS_ACCRUE)
    assert answer["data"] is None
    assert answer["errors"] == ["This takes the scope settlement:read."]
