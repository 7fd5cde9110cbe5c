"""Finance reconciles in its own name over GraphQL: two people, a fresh proof, once under a key; a partner sends its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest

from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from ledger import cutoffs
from settlement import runs
from settlement.bank.details import COOLING
from tests.builders import NOON, rows_written
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import script_of
from tests.gateway.finance.test_settlement_api import House
from tests.gateway.test_session_matrix import colleague
from tests.settlement.bank_files import OWN, Bank, Paid
from tests.settlement.money.books import Books
from tests.settlement.reconciling import IBANS, Row, file_of
from tests.settlement.reconciling import House as Shop

TODAY = NOON.date()
PEOPLE = {"mila": [actors.FINANCE_MAKER], "chen": [actors.FINANCE_CHECKER],
          "both": [actors.FINANCE_MAKER, actors.FINANCE_CHECKER]}  # fmt: skip
FILE = "... on SendPartnerFileSuccess { replayed file { id state code records lines { nodes { line reference code match category breakId } } } }"
BREAK = "... on BreaksSuccess { replayed proposal breaks { id state resolution owner notes { nodes { text by } } history { nodes { state by } } } }"
LINES = "{ partnerFiles(first: 1) { nodes { lines(first: 9) { nodes { reference match category breakId } } } } }"
DONE = "... on FinanceSuccess { replayed }"
PAYMENTS = "... on PaymentsSuccess { replayed proposal payments { id state left { amount } } }"
FILES = "... on PaymentFilesSuccess { replayed files { number kind payments total { amount } releasedBy content } }"


template = a_coalition(
    cafe={"return_window_days": 0, "bill_share_bp": 10_000, "review_days": 0},
    bakery={"return_window_days": 0, "bill_share_bp": 10_000, "review_days": 0},
)


@pytest.fixture
async def house(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[House]:
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        people = {}
        for name, roles in PEOPLE.items():
            await desk.invite(name, f"{name}@example.org", roles)
            people[name] = await script_of(await desk.signed_in(f"{name}@example.org", "/staff"), "/staff")
        await colleague(desk, "cafe", "fee", "fee@example.org", "FINANCE")
        people["fee"] = await script_of(await desk.signed_in("fee@example.org", "/portal"), "/portal")
        yield House(desk, people)
    await coalition.desk.close()


async def sent(house: House, rows: list[Row], sequence: int, **more: str) -> dict[str, object]:
    """What finance hears of a file that it sends in for the café."""
    content = file_of("cafe", TODAY, sequence, rows).decode()
    return await house.act("mila", "sendPartnerFile", FILE, partner="cafe", content=content, **more)


def row(reference: str, points: int = 5) -> Row:
    return Row("1", TODAY, reference, "SALE", points, points * 100)


async def test_a_file_is_taken_compared_and_its_breaks_end_by_two_people_each_call_once(house: House) -> None:
    shop = Shop(Books(house.desk.coalition, 0, 0))
    card = await shop.books.member()
    for reference, points in (("SAME", 5), ("MORE", 7), ("SPLIT", 9), ("NAMED", 3)):
        await shop.sell(card, points, "cafe", after=0, reference=reference)
    pieces = [row("SPLIT-a", 4), row("SPLIT-b", 5)]
    rows = [row("SAME"), row("MORE", 6), *pieces]
    key, content = stand.key(), file_of("cafe", TODAY, 1, rows).decode()
    for replayed in (False, True):
        told = await house.act("mila", "sendPartnerFile", FILE, key, partner="cafe", content=content)
        assert (told["replayed"], told["file"]["state"]) == (replayed, "TAKEN")
    assert (await house.act("mila", "sendPartnerFile", FILE, key, partner="cafe", content="H"))["code"] == (
        "IDEMPOTENCY_KEY_REUSED"
    )
    refused = await sent(house, rows, 1)
    assert (refused["file"]["state"], refused["file"]["code"]) == ("REFUSED", "FILE_DUPLICATE")
    compared = "... on ComparePartnerFileSuccess { replayed comparison { records matched breaks } }"
    result = await house.act("mila", "comparePartnerFile", compared, fileId=told["file"]["id"])
    assert result["comparison"] == {"records": 4, "matched": 1, "breaks": 5}
    assert await house.refused("mila", "comparePartnerFile", fileId=refused["file"]["id"]) == "FILE_UNKNOWN"
    assert await house.refused("mila", "comparePartnerFile", fileId="fil_nothing") == "FILE_UNKNOWN"
    lines = "{ partnerFiles { nodes { lines { nodes { reference match category breakId } } } } }"
    found = {one["reference"]: one for one in (await house.mila.ask(lines))["nodes"][-1]["lines"]["nodes"]}
    assert (found["SAME"]["match"], found["MORE"]["category"]) == ("EXACT", "QUANTITY")

    listed = "{ settlementBreaks(first: 50) { nodes { id category reference state owner } } }"
    ids = {one["reference"]: one["id"] for one in (await house.mila.ask(listed))["nodes"] if one["reference"]}
    assert ids["MORE"] == found["MORE"]["breakId"]
    more = ids["MORE"]
    given = await house.act("mila", "assignBreak", BREAK, breakId=more, owner="chen")
    assert (given["breaks"][0]["state"], given["breaks"][0]["owner"]) == ("ASSIGNED", "chen")
    await house.act("mila", "explainBreak", BREAK, breakId=more, cause="the till rounds")
    noted = await house.act("chen", "addBreakNote", BREAK, breakId=more, text="I rang them")
    assert noted["breaks"][0]["notes"]["nodes"] == [{"text": "I rang them", "by": "chen"}]
    assert await house.refused("chen", "addBreakNote", breakId=more, text=" ") == "NOTE_INVALID"
    posted = await house.act("mila", "resolveBreak", BREAK, breakId=more, resolution="POST", cause="one point")
    number = posted["proposal"]
    assert posted["breaks"][0]["state"] == "EXPLAINED"
    waiting = await house.chen.ask("{ financeProposals { nodes { number kind maker } } }")
    assert waiting["nodes"] == [{"number": number, "kind": "BREAK", "maker": "mila"}]
    assert (await house.decided(number))["replayed"] is False
    assert await house.refused("mila", "resolveBreak", breakId=more, resolution="ACCEPT", cause="late") == "BREAK_STATE"
    verified = await house.act("chen", "verifyBreak", BREAK, breakId=more)
    way = [one["state"] for one in verified["breaks"][0]["history"]["nodes"]]
    assert way == ["OPEN", "ASSIGNED", "EXPLAINED", "RESOLVED", "VERIFIED"]
    assert await house.refused("chen", "reopenBreak", breakId=more, cause="no") == "BREAK_STATE"  # money was given

    parts = [ids["SPLIT"], ids["SPLIT-a"], ids["SPLIT-b"]]
    assert await house.refused("both", "matchBreaks", breakIds=parts[:2], cause="no") == "NO_COUNTERPART"
    matched = await house.act("both", "matchBreaks", BREAK, breakIds=parts, cause="one table, two bills")
    assert {one["resolution"] for one in matched["breaks"]} == {"MATCHED"}
    again = (await house.mila.ask(lines))["nodes"][-1]["lines"]["nodes"]
    assert [one["match"] for one in again if one["reference"].startswith("SPLIT")] == ["MANUAL", "MANUAL"]
    assert await house.refused("both", "undoBreakMatch", breakId=parts[0], cause="x") == "FOUR_EYES_REQUIRED"
    assert await house.refused("chen", "reopenBreak", breakId=parts[0], cause="x") == "BREAK_STATE"
    undone = await house.act("chen", "undoBreakMatch", BREAK, breakId=parts[1], cause="two tables")
    assert undone["breaks"][0]["state"] == "OPEN"
    states = {one["id"]: one["state"] for one in (await house.mila.ask(listed))["nodes"]}
    assert [states[one] for one in parts] == ["OPEN", "OPEN", "OPEN"]
    kept = await house.database.pool.fetch("SELECT stage, matched_by, actor FROM settlement.match_undone")
    assert [tuple(one) for one in kept] == [("MANUAL", "both", "chen")] * 2
    assert await house.refused("mila", "assignBreak", breakId="brk_nothing", owner="chen") == "BREAK_UNKNOWN"
    looked = await house.act("mila", "lookForMissingLines", "... on LookForMissingLinesSuccess { arrived missing }")
    assert (looked["arrived"], looked["missing"]) == (0, 0)
    accepted = await house.act("mila", "resolveBreak", BREAK, breakId=ids["NAMED"], resolution="ACCEPT", cause="theirs")
    assert accepted["breaks"][0]["resolution"] == "ACCEPT"
    reopened = await house.act("chen", "reopenBreak", BREAK, breakId=ids["NAMED"], cause="it is not")
    assert reopened["breaks"][0]["state"] == "OPEN"

    inside = "owner notes(first: 1) { nodes { text } } history(first: 1) { nodes { by } }"
    own = await house.fee.ask(f"{{ settlementBreaks(first: 10, allStates: true) {{ nodes {{ {inside} }} }} }}")
    assert len(own["nodes"]) == 6
    assert all(one == {"owner": None, "notes": {"nodes": []}, "history": {"nodes": []}} for one in own["nodes"])


async def test_from_the_accounts_to_the_seal_nothing_goes_to_the_bank_by_one_person(house: House) -> None:
    accounts = [(None, OWN), *IBANS.items()]
    for partner, iban in accounts:
        said = {"partner": partner, "holder": "Party", "iban": iban, "currencyCode": "EUR"}
        number = await house.proposed("mila", "proposeBankAccount", **said)
        await house.decided(number)
    assert await house.refused("mila", "proposeBankAccount", holder="X", iban="DE00", currencyCode="EUR") == (
        "BANK_ACCOUNT_INVALID"
    )
    number = await house.proposed(
        "mila", "proposeBankAccount", partner="cafe", holder="Thief", iban="GB33BUKB20201555555555", currencyCode="EUR"
    )
    await house.decided(number)
    used = await house.database.pool.fetchval("SELECT max(valid_from - at) FROM settlement.bank_account_use")
    assert used == COOLING
    shop = Shop(Books(house.desk.coalition, 0, 0))
    card = await shop.books.member()
    await shop.sell(card, 500, "cafe", after=0)
    await shop.sell(card, 7, "bakery", after=0, spend=50)
    run = await settled(house)

    key = stand.key()
    for replayed in (False, True):
        made = await house.act("both", "preparePaymentFiles", FILES, key, run=run)
        assert (made["replayed"], len(made["files"])) == (replayed, 1)
    [file] = made["files"]
    assert (file["kind"], file["payments"], file["releasedBy"], file["content"]) == ("PAIN_001", 1, None, None)
    number = file["number"]
    assert await house.refused("both", "releasePaymentFile", file=number) == "FOUR_EYES_REQUIRED"
    assert await house.refused("mila", "acknowledgePaymentFile", file=number) == "ORDER_NOT_RELEASED"
    assert await house.refused("chen", "releasePaymentFile", file=99) == "ORDER_UNKNOWN"
    released = await house.act("chen", "releasePaymentFile", FILES, file=number)
    assert released["files"][0]["releasedBy"] == "chen"
    assert "CstmrCdtTrfInitn" in released["files"][0]["content"]
    listed = await house.chen.ask("{ paymentFiles { nodes { number releasedBy } } }")
    assert listed["nodes"] == [{"number": number, "releasedBy": "chen"}]
    taken = await house.act("mila", "acknowledgePaymentFile", PAYMENTS, file=number)
    assert [one["state"] for one in taken["payments"]] == ["ACKED"]

    payments = (await house.mila.ask("{ settlementPayments { nodes { id reference direction amount { amount } } } }"))[
        "nodes"
    ]
    pay_in = next(one for one in payments if one["direction"] == "PAY_IN")
    pay_out = next(one for one in payments if one["direction"] == "PAY_OUT")
    minor = {one["id"]: int(Decimal(one["amount"]["amount"]) * 100) for one in payments}
    sent_as = await house.database.pool.fetchval("SELECT end_to_end_id FROM settlement.order_leg")
    bank = Bank()
    content = bank.statement(
        Paid(minor[pay_in["id"]] - 100, reference=pay_in["reference"]), Paid(-minor[pay_out["id"]], end_to_end_id=sent_as),
        Paid(70), Paid(900), Paid(11),
    ).decode()  # fmt: skip
    statements = (
        "... on ImportBankFileSuccess { replayed statements { reference payments matched leftOver takenBefore } }"
    )
    key = stand.key()
    for again in (False, True):
        told = await house.act("mila", "importBankFile", statements, key, content=content)
        assert (told["replayed"], told["statements"][0]["takenBefore"]) == (again, again)
    assert (await house.act("mila", "importBankFile", statements, key, content="<x/>"))["code"] == (
        "IDEMPOTENCY_KEY_REUSED"
    )
    items = (await house.mila.ask("{ suspenseItems { nodes { number amount { amount } } } }"))["nodes"]
    assert [one["amount"]["amount"] for one in items] == ["0.70", "9.00", "0.11"]
    late = await house.chen.ask("{ lateItems(first: 50) { nodes { kind } } }")
    assert [one["kind"] for one in late["nodes"]] == ["SUSPENSE"] * 3
    assert await house.refused("mila", "identifySuspense", item=99, paymentId=pay_in["id"]) == "SUSPENSE_UNKNOWN"
    assert await house.refused("mila", "identifySuspense", item=1, paymentId="pay_nothing") == "LEG_STATE"
    for_it = await house.act("mila", "identifySuspense", PAYMENTS, item=items[0]["number"], paymentId=pay_in["id"])
    assert for_it["payments"][0] == {"id": pay_in["id"], "state": "PARTIAL", "left": {"amount": "0.30"}}
    assert (await house.act("mila", "sendSuspense", DONE, item=items[1]["number"], partner="cafe"))["replayed"] is False
    number = await house.proposed("mila", "proposeKeepSuspense", item=items[2]["number"], cause="nobody knows")
    await house.decided(number)
    given_up = await house.act("mila", "writeOffPayment", PAYMENTS, paymentId=pay_in["id"], cause="thirty cents")
    assert given_up["payments"][0]["state"] == "PARTIAL"
    await house.decided(given_up["proposal"])
    assert await house.refused("chen", "sealSettlementRun", run=99) == "RUN_UNKNOWN"
    assert (await house.act("chen", "sealSettlementRun", DONE, run=run))["replayed"] is False
    overdue = await house.act("mila", "followUpPayments", PAYMENTS)
    assert overdue["payments"] == []
    assert (await house.mila.ask("{ suspenseItems { nodes { number } } }"))["nodes"] == []


async def test_without_a_fresh_proof_nothing_is_done(house: House) -> None:
    house.desk.wall.move(minutes=11)
    before = await rows_written(house.database.pool)
    content = file_of("cafe", TODAY, 1, [row("A")]).decode()
    for field, said in (
        ("sendPartnerFile", {"partner": "cafe", "content": content}), ("importBankFile", {"content": "<x/>"}),
        ("preparePaymentFiles", {"run": 1}), ("lookForMissingLines", {}),
    ):  # fmt: skip
        assert (await house.act("mila", field, "", **said))["code"] == "STEP_UP_REQUIRED"
    assert await rows_written(house.database.pool) == before


async def settled(house: House) -> int:
    """The number of an approved run over what was sold."""
    at = NOON + timedelta(days=1)
    await cutoffs.close(house.database, at=at)
    async with house.database.transaction() as connection:
        made = await runs.settle(connection, actor="mila", at=at)
    async with house.database.transaction() as connection:
        await runs.approve(connection, made[0].head.run_id, actor="chen", at=at)
    return made[0].head.run_id
