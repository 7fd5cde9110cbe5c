"""Finance at the console's forms: breaks, disputes, the bank, cover, the calendar and what is proposed, each deed once and by
as many people as it takes. The browser's own part is in test_console_pages.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from html import unescape
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.sessions import forms, uploads
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from settlement.bank import told
from tests.builders import NOON, rows_written
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.desk import Browser, Desk
from tests.gateway.finance.test_reconciliation_desk_api import row, settled
from tests.gateway.finance.test_settlement_api import House
from tests.gateway.test_session_matrix import colleague
from tests.settlement.bank_files import OWN, Bank, Paid
from tests.settlement.money.books import Books
from tests.settlement.reconciling import IBANS, file_of
from tests.settlement.reconciling import House as Shop

PEOPLE = {"mila": [actors.FINANCE_MAKER], "chen": [actors.FINANCE_CHECKER], "cara": [actors.MEMBER_CARE_MAKER]}
_FORM = re.compile(r'<form method="post" action="([^"]*)"[^>]*>(.*?)</form>', re.S)
_INPUT = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@dataclass
class Office:
    """Finance at its browsers, over a coalition of two partners."""

    desk: Desk
    browsers: dict[str, Browser] = field(default_factory=dict)
    answers: list[httpx2.Response] = field(default_factory=list)

    @property
    def pool(self) -> Any:
        return self.desk.database.pool

    async def fresh(self, name: str) -> Browser:
        """Somebody who proved a moment ago who they are."""
        self.desk.wall.move(minutes=6)
        self.browsers[name] = await self.desk.signed_in(f"{name}@example.org", "/staff")
        return self.browsers[name]

    async def see(self, name: str, path: str, status: int = 200) -> str:
        """A page as somebody sees it, when the allowance of the one before has come back."""
        self.desk.wall.move(seconds=4)
        await self.desk.at_wall()
        answer = await self.browsers[name].get(path)
        assert answer.status_code == status, (path, answer.status_code, answer.text[:2_000])
        return unescape(answer.text)

    async def do(
        self, who: str, page: str, action: str, /, *, times: int = 2, upload: tuple[str, bytes, str] | None = None,
        **values: str,
    ) -> httpx2.Response:  # fmt: skip
        """Send a page's form, as often as somebody in a hurry presses; what the last answer was."""
        shown = await self.browsers[who].get(page)
        assert shown.status_code == 200, (page, shown.status_code)
        wanted = [inside for to, inside in _FORM.findall(shown.text) if to == action]
        assert wanted, (action, [to for to, _ in _FORM.findall(shown.text)])
        hidden = {key: unescape(value) for key, value in _INPUT.findall(wanted[0])}
        sent = {**hidden, **values}
        self.desk.wall.move(seconds=4)
        await self.desk.at_wall()
        for _ in range(times):
            http = self.browsers[who].http
            files = None if upload is None else {"file": upload}
            answer = await http.post(action, data=sent, files=files, headers={"Accept": "text/html"})
        return answer

    async def refused(self, who: str, page: str, action: str, refusal: str, /, **values: Any) -> str:
        """What somebody is told instead; nothing was written."""
        before = await rows_written(self.pool)
        answer = await self.do(who, page, action, **values)
        assert answer.status_code == 422, (answer.status_code, answer.headers.get("location"))
        assert f"<code>{refusal}</code>" in answer.text, re.findall(r"<code>.*?</code>", answer.text)
        assert answer.headers["x-request-id"] in answer.text
        assert await rows_written(self.pool) == before
        return unescape(answer.text)

    async def done(self, who: str, page: str, action: str, onward: str | None = None, /, **values: Any) -> None:
        """A deed that is done, and once however often it is sent."""
        answer = await self.do(who, page, action, **values)
        assert answer.status_code == 303, unescape(re.sub(r"<[^>]+>", " ", answer.text))[:1_500]
        assert answer.headers["location"] == (page if onward is None else onward)

    async def approved(self) -> None:
        """What finance proposed is approved by who checks, each once."""
        place = "/console/proposals"
        for number in re.findall(r'name="proposal" value="(\d+)"', await self.see("chen", place)):
            await self.done("chen", place, place, times=1, proposal=number, approved="yes")

    async def count(self, table: str) -> int:
        return int(await self.pool.fetchval(f"SELECT count(*) FROM {table}"))


template = a_coalition(
    cafe={"return_window_days": 0, "bill_share_bp": 10_000, "review_days": 0, "dispute_days": 60},
    bakery={"return_window_days": 0, "bill_share_bp": 10_000, "review_days": 0, "dispute_days": 60},
)


@pytest.fixture
async def office(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> AsyncIterator[Office]:
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        made = Office(desk)
        for name, roles in PEOPLE.items():
            await desk.invite(name, f"{name}@example.org", roles)
            made.browsers[name] = await desk.signed_in(f"{name}@example.org", "/staff")
        yield made
    await coalition.desk.close()


async def sold(office: Office, *sales: tuple[str, str, int, int]) -> None:
    """Purchases: where, the receipt's number, points given, points spent."""
    shop = Shop(Books(office.desk.coalition, 0, 0))
    card = await shop.books.member()
    for partner, reference, points, spend in sales:
        await shop.sell(card, points, partner, after=0, spend=spend, reference=reference)


async def run_of(office: Office) -> int:
    return await settled(House(office.desk, {}))


# --- Breaks -------------------------------------------------------------------------------------------------


async def test_a_break_is_given_explained_matched_taken_back_and_ends_by_two_people(office: Office) -> None:
    await sold(office, ("cafe", "SAME", 5, 0), ("cafe", "SPLIT", 9, 0), ("cafe", "LOST", 3, 0))
    content = file_of("cafe", NOON.date(), 1, [row("SAME"), row("SPLITX-a", 4), row("SPLITX-b", 5)])
    files = "/console/files"
    await office.done("mila", files, files, upload=("cafe-1.csv", content, "text/csv"), partner="cafe")
    assert await office.count("settlement.partner_file") == 1
    compared = re.search(r'name="file" value="([^"]+)"', await office.see("mila", files))
    assert compared
    await office.done("mila", files, f"{files}/compare", "/console/breaks", file=compared[1])
    listed = await office.see("mila", "/console/breaks")
    places = dict(re.findall(r'<a href="/console/breaks/(brk_[^"]+)">([^<]+)</a>', listed))
    assert sorted(places.values()) == ["They do not have it"] * 2 + ["We do not have it"] * 2
    assert "Nothing differs" in await office.see("mila", "/console/breaks?category=TAX")
    assert "LOST" not in await office.see("mila", "/console/breaks?partner=bakery")

    pages = {place: await office.see("mila", f"/console/breaks/{place}") for place in places}
    of = {name: next(p for p, text in pages.items() if f">{name}<" in text) for name in ("SPLIT", "LOST")}
    theirs = [place for place, words in places.items() if words == "We do not have it"]
    assert "/console/statements/entries/ent_" in pages[of["SPLIT"]]  # our line leads to the ledger

    lost = f"/console/breaks/{of['LOST']}"
    await office.refused("mila", lost, f"{lost}/assign", "ACTOR_UNKNOWN", owner="nobody")
    await office.done("mila", lost, f"{lost}/assign", owner="mila", due="2026-12-24")
    await office.done("mila", lost, f"{lost}/explain", cause="their till was off")
    await office.done("mila", lost, f"{lost}/note", text="asked them by phone")
    told_ = await office.see("mila", lost)
    assert all(said in told_ for said in ("their till was off", "asked them by phone", "24 Dec 2026"))
    await office.refused("mila", lost, f"{lost}/resolve", "CAUSE_MISSING", cause=" ", resolution="ACCEPT")
    await office.done("mila", lost, f"{lost}/resolve", cause="they will send it", resolution="ACCEPT")
    assert "/verify" not in await office.see("mila", lost)
    await office.done("chen", lost, f"{lost}/reopen", cause="ask again")
    await office.done("mila", lost, f"{lost}/resolve", cause="they will not", resolution="POST")
    assert await office.count("kit.approval WHERE kind = 'BREAK'") == 1
    await office.approved()
    await office.done("chen", lost, f"{lost}/verify")
    assert "Verified" in await office.see("chen", lost)

    boxes = {f"match {place}": "1" for place in (of["SPLIT"], theirs[0])}
    matched = "/console/breaks/lines/match"
    await office.refused("mila", "/console/breaks", matched, "NO_COUNTERPART", **boxes, cause="x")
    boxes[f"match {theirs[1]}"] = "1"
    await office.done("mila", "/console/breaks", matched, **boxes, cause="one bill, written otherwise")
    split = f"/console/breaks/{of['SPLIT']}"
    assert "matched by hand" in await office.see("mila", split)
    await office.done("chen", split, f"{split}/undo", cause="other people's bill")
    assert "one bill, written otherwise" in await office.see("mila", split)
    assert await office.count("settlement.match_undone") > 0

    answer = await office.browsers["mila"].get("/console/breaks/file?format=csv&all=yes")
    assert answer.headers["content-disposition"] == 'attachment; filename="breaks.csv"'
    lines = answer.text.splitlines()
    assert lines[0].startswith("category,partner,state,resolution,reference,points,value,value_currency,")
    assert len(lines) == 5
    answer = await office.browsers["mila"].get("/console/breaks/file?format=xlsx&all=yes")
    book = load_workbook(io.BytesIO(answer.content))
    assert [cell.value for cell in next(book.worksheets[-1].iter_rows())][:2] == ["Why", "Partner"]
    assert (await office.browsers["mila"].get("/console/breaks/file?format=exe")).status_code == 404
    assert (await office.browsers["cara"].get("/console/breaks/file?format=csv")).status_code == 403


# --- Disputes -----------------------------------------------------------------------------------------------


async def test_a_dispute_is_taken_up_by_one_and_answered_by_another(office: Office) -> None:
    await sold(office, ("cafe", "R-1", 400, 0))
    await run_of(office)
    await colleague(office.desk, "cafe", "fee", "fee@example.org", "FINANCE")
    fee = await script_of(await office.desk.signed_in("fee@example.org", "/portal"), "/portal")
    made = await disputed(fee)
    home = "/console/disputes"
    listed = await office.see("mila", home)
    assert f"{home}/{made}" in listed
    assert "too many" in await office.see("mila", f"{home}/{made}")
    assert "No dispute is like this." in await office.see("mila", f"{home}?which=ACCEPTED")
    assert "No dispute is like this." in await office.see("mila", f"{home}?which=all&partner=bakery")
    own = await fee.ask('{ statementDisputes(partner: "bakery") { nodes { id } } }')
    assert [one["id"] for one in own["nodes"]] == [made]  # a partner has its own, whatever it names

    place = f"{home}/{made}"
    await office.done("mila", place, f"{place}/take-up")
    await office.done("mila", place, f"{place}/take-up", question="Which receipts?")
    answered = "mutation($i: AnswerDisputeInput!) { answerDispute(input: $i) { __typename } }"
    await fee.ask(answered, i={"idempotencyKey": stand.key(), "disputeId": made, "answer": "TELL", "note": "R-1"})
    await office.done("mila", place, f"{place}/say", note="we look")
    shown = "Beleg №1.pdf", b"%PDF-1.7 \r\n--x\x00\xff", "application/pdf"
    await office.done("mila", place, f"{place}/evidence", upload=shown)
    kept = await office.pool.fetchrow("SELECT * FROM settlement.dispute_evidence")
    assert (kept["name"], kept["size_bytes"]) == (shown[0], len(shown[1]))
    assert kept["sha256"] == hashlib.sha256(shown[1]).digest()
    wicked = "x.html", b"<script>", "text/html"
    await office.refused("mila", place, f"{place}/evidence", "DISPUTE_INVALID", upload=wicked)

    assert f"{place}/answer" not in await office.see("mila", place)  # whoever makes does not answer
    await office.refused("chen", place, f"{place}/answer", "DISPUTE_INVALID", amount="99", note="all")
    await office.done("chen", place, f"{place}/answer", amount="0,60", note="a part")
    assert "€0.60" in await office.see("mila", place)
    await fee.ask(
        answered, i={"idempotencyKey": stand.key(), "disputeId": made, "answer": "ESCALATE", "note": "unfair"}
    )
    assert "what is answered now decides it" in await office.see("mila", place)
    await office.desk.invite("olga", "olga@example.org", [actors.FINANCE_CHECKER])
    await office.refused("chen", place, f"{place}/answer", "FOUR_EYES_REQUIRED", amount="1", note="mine")
    await office.fresh("olga")
    await office.done("olga", place, f"{place}/answer", amount="1.00", note="half")
    assert "Decided" in await office.see("mila", place)
    steps = await office.pool.fetch("SELECT to_state FROM settlement.dispute_step ORDER BY step_no")
    assert [step["to_state"] for step in steps] == [
        "OPENED", "ACKNOWLEDGED", "INFO_REQUESTED", "ACKNOWLEDGED", "PROPOSED", "ESCALATED", "ARBITRATED",
    ]  # fmt: skip
    assert (await office.browsers["mila"].get(f"{home}/dsp_nothing")).status_code == 404


async def disputed(fee: Script) -> str:
    """What the café says is wrong with the first line of its statement; the dispute's id."""
    [statement] = (await fee.ask("{ settlementStatements { nodes { id } } }"))["nodes"]
    opened = "mutation($i: OpenDisputeInput!) { openDispute(input: $i) { ... on DisputeSuccess { dispute { id } } } }"
    said = {"idempotencyKey": stand.key(), "statementId": statement["id"], "line": 1, "reason": "D03",
            "amount": "2.00", "note": "too many"}  # fmt: skip
    return str((await fee.ask(opened, i=said))["dispute"]["id"])


# --- The bank -----------------------------------------------------------------------------------------------


async def test_accounts_files_statements_and_suspense_go_from_the_approval_to_the_seal(office: Office) -> None:
    accounts, proposals = "/console/accounts", "/console/proposals"
    assert "No account was approved yet." in await office.see("mila", accounts)
    told_ = await office.refused(
        "mila", accounts, accounts, "BANK_ACCOUNT_INVALID", partner="", holder="Us", iban="DE00", currency="EUR"
    )
    assert 'value="DE00"' in told_  # what was written is not lost
    for partner, iban in (("", OWN), *((code, IBANS[code]) for code in ("cafe", "bakery"))):
        await office.done(
            "mila", accounts, accounts, proposals, partner=partner, holder="Somebody", iban=iban, currency="EUR"
        )
    waiting = await office.see("chen", proposals)
    assert waiting.count("Bank account") == 3
    assert OWN not in waiting
    await office.approved()
    assert (await office.see("mila", accounts)).count("in use") == 3
    await sold(office, ("cafe", "A", 500, 0), ("bakery", "B", 7, 50))
    run = await run_of(office)

    files = "/console/payment-files"
    await office.done("mila", files, files, run=str(run))
    [file] = await office.pool.fetch("SELECT order_id, message_id FROM settlement.payment_order")
    assert "somebody else lets it go" in await office.see("mila", files)
    await office.see("mila", f"{files}/{file['order_id']}/content", 404)
    await office.fresh("chen")
    await office.done("chen", files, f"{files}/release", file=str(file["order_id"]))
    answer = await office.browsers["mila"].get(f"{files}/{file['order_id']}/content")
    assert f'filename="{file["message_id"]}.xml"' in answer.headers["content-disposition"]
    assert "CstmrCdtTrfInitn" in answer.text
    await office.fresh("mila")
    await office.done("mila", files, f"{files}/acknowledge", file=str(file["order_id"]))

    legs = {leg["direction"]: leg for leg in await office.pool.fetch("SELECT * FROM settlement.payment_leg")}
    sent_as = await office.pool.fetchval("SELECT end_to_end_id FROM settlement.order_leg")
    content = Bank().statement(
        Paid(legs["PAY_IN"]["amount_minor"] - 100, reference=legs["PAY_IN"]["reference"]),
        Paid(-legs["PAY_OUT"]["amount_minor"], end_to_end_id=sent_as), Paid(70), Paid(900), Paid(11),
    )  # fmt: skip
    bank = "/console/bank"
    for wrong in (b"<x/>", b"\xff\xfe", b""):
        answer = await office.do("mila", bank, bank, upload=("x.xml", wrong, "text/xml"))
        assert (answer.status_code, "BANK_FILE_INVALID" in answer.text) == (422, True)
    answer = await office.do("mila", bank, bank, times=1, upload=("bank.xml", content, "text/xml"))
    assert "5 payments, 2 matched, 3 left over" in unescape(answer.text)
    answer = await office.do("mila", bank, bank, upload=("bank.xml", content, "text/xml"))
    assert "taken before; nothing was written" in unescape(answer.text)
    assert await office.count("settlement.bank_statement") == 1
    told_ = await office.see("mila", f"{bank}/1")
    assert all(words in told_ for words in ("our reference", "our id", "in suspense", legs["PAY_IN"]["reference"]))
    assert "2 / 5" in told_
    lines = (await office.browsers["mila"].get(f"{bank}/1/file?format=csv")).text.splitlines()
    assert [line.split(",")[3] for line in lines[1:]][-3:] == ["0.70", "9.00", "0.11"]
    await office.see("mila", f"{bank}/9", 404)

    suspense = "/console/suspense"
    payment = re.search(
        rf'<option value="(pay_[^"]+)">[^<]*{legs["PAY_IN"]["reference"]}', await office.see("mila", suspense)
    )
    assert payment
    await office.refused("mila", suspense, f"{suspense}/identify", "SUSPENSE_MISMATCH", item="2", payment=payment[1])
    await office.done("mila", suspense, f"{suspense}/identify", item="1", payment=payment[1])
    await office.done("mila", suspense, f"{suspense}/send", item="2", partner="cafe")
    await office.done("mila", suspense, f"{suspense}/keep", item="3", cause="nobody knows")
    payments = "/console/payments"
    assert "Paid in part" in await office.see("mila", f"{payments}?state=PARTIAL")
    assert "No payment is like this." in await office.see("mila", f"{payments}?state=RETURNED&run={run}")
    await office.done("mila", payments, f"{payments}/write-off", payment=payment[1], cause="thirty cents")
    await office.done("mila", payments, f"{payments}/follow-up", f"{payments}?state=OVERDUE")
    await office.fresh("chen")
    await office.approved()
    assert "Nothing is in suspense" in await office.see("chen", suspense)
    async with office.desk.database.reading() as connection:
        states = [one.state for one in await told.payments(connection, 1, limit=9)]
    assert states == ["MATCHED", "MATCHED", "MATCHED", "CREDITED", "KEPT"]
    place = f"/console/runs/{run}"
    await office.done("chen", place, f"{place}/seal")
    assert "Sealed" in await office.see("chen", place)


# --- Cover, the calendar, proposals, what if ----------------------------------------------------------------


async def test_what_is_recorded_and_what_is_proposed_is_what_the_terminal_does(office: Office) -> None:
    await sold(office, ("cafe", "A", 500, 0))
    run = await run_of(office)
    cover, proposals, leaving = "/console/cover", "/console/proposals", "/console/leaving"
    deposit = {"partner": "cafe", "currency": "EUR", "reference": "BANK-7"}
    await office.refused("mila", cover, f"{cover}/deposit", "DEPOSIT_INVALID", **deposit, amount="0")
    await office.done("mila", cover, f"{cover}/deposit", **deposit, amount="1 000,00")
    assert await office.count("settlement.booking WHERE source LIKE 'deposit%'") == 1
    assert "1,000.00" in await office.see("mila", cover)
    answer = await office.do("mila", cover, f"{cover}/deposit", **deposit, amount="1")
    assert "BOOKING_KEY_REUSED" in answer.text

    holidays, taxes = "/console/holidays", "/console/taxes"
    await office.done("mila", holidays, holidays, day="2026-12-25", name="Christmas")
    assert "Christmas" in await office.see("mila", holidays)
    told_ = await office.refused("mila", taxes, taxes, "TAX_RULE_INVALID", code="VAT", rate="20.005", day="2027-01-01",
                                 tax_code="S", rounding="LINE")  # fmt: skip
    assert "Check the rate" in told_
    await office.done("mila", taxes, taxes, proposals, code="vat", rate="20", day="2027-01-01", tax_code="S",
                      rounding="LINE")  # fmt: skip
    await office.done("mila", leaving, f"{leaving}/default", proposals, run=str(run), partner="cafe")
    await office.refused("mila", leaving, f"{leaving}/default", "NOTHING_OWED", run=str(run), partner="bakery")
    await office.refused("mila", leaving, f"{leaving}/exit", "STOCK_INVALID", partner="bakery", carrier="", reason="x")
    otherwise = {"version": "cafe/1", "paid": "", "reason": "it closes"}
    told_ = await office.refused(
        "mila", leaving, f"{leaving}/buy-out", "STOCK_INVALID", **otherwise, billed="999999999"
    )
    assert "handovers" in told_  # what was wrong with which part
    await office.done("mila", leaving, f"{leaving}/buy-out", proposals, **otherwise, billed="8500")
    told_ = await office.see("chen", proposals)
    for words in ("Tax rule", "Cover what was not paid", "Points change hands", "it closes"):
        assert words in told_
    assert "Whoever makes runs proposes these." in await office.see("chen", leaving)
    csv = (await office.browsers["chen"].get(f"{proposals}/file?format=csv")).text
    assert csv.count("\n") == 4

    asked = f"/console/what-if?run={run}&partner=cafe&service_price_micro="
    told_ = await office.see("mila", f"{asked}20000")
    assert "As it would have been" in told_
    file = re.search(r'href="(/console/reports/R23/file[^"]*format=csv[^"]*)"', told_)
    assert file
    assert (await office.browsers["mila"].get(file[1])).status_code == 200
    assert "WHAT_IF_INVALID" in await office.see("mila", f"{asked}-1", 422)
    before = await rows_written(office.pool)
    assert before == await rows_written(office.pool)


async def test_a_question_is_asked_kept_shared_taken_as_a_file_and_dropped(office: Office) -> None:
    await sold(office, ("cafe", "A", 500, 0), ("bakery", "B", 7, 50))
    run = await run_of(office)
    home = "/console/questions"
    whole = await office.see("mila", f"{home}?report=R3&run={run}")
    tables = re.findall(r'name="table" value="(\w+)"', whole)
    columns = re.findall(r'name="column" value="(\w+)"', whole)
    assert len(tables) == 1
    assert {"party", "net"} <= set(columns)
    asked = f"report=R3&run={run}&table={tables[0]}&column=net&column=party&order=-net"
    told_ = await office.see("mila", f"{home}?{asked}&where=party:CONTAINS:caf")
    assert "1 row" in told_
    assert ">Bakery</td>" not in told_
    form = f"{home}?report=R3&run={run}&table={tables[0]}&c0=party&o0=IS_NOT&v0=Cafe&c1=&o1=IS&v1=&order=net&down=yes"
    assert "2 rows" in await office.see("mila", form)  # what a form sends is the same question
    for wrong in (f"table={tables[0]}&where=nothing:IS:x", "table=nothing", f"table={tables[0]}&where=net:AT_LEAST:x",
                  f"table={tables[0]}&where=net:LIKE:1"):  # fmt: skip
        assert "<code>QUESTION_INVALID</code>" in await office.see("mila", f"{home}?report=R3&run={run}&{wrong}", 422)
    lines = (await office.browsers["mila"].get(f"{home}/file?{asked}&where=party:CONTAINS:caf&format=csv")).text
    assert lines.splitlines()[0] == "net,party"
    assert len(lines.splitlines()) == 2
    answer = await office.browsers["mila"].get(f"{home}/file?{asked}&format=xlsx&language=ru")
    book = load_workbook(io.BytesIO(answer.content))
    assert book.worksheets[-1].max_column == 2
    assert (await office.browsers["cara"].get(f"{home}/file?{asked}&format=csv")).status_code == 403
    assert (await office.browsers["mila"].get(f"{home}/file?report=R2&table=x&run={run}&format=csv")).status_code == 422

    page = f"{home}?{asked}"
    await office.done("mila", page, home, page, name="Nets, the largest first")
    await office.done("mila", page, home, page, name="Everybody's", shared="yes")
    await office.refused("mila", page, home, "QUESTION_INVALID", name="x" * 81)
    assert await office.count("settlement.saved_question") == 2
    told_ = await office.see("chen", home)
    assert ("Everybody's" in told_, "Nets, the largest first" in told_) == (True, False)
    link = re.search(r'href="(/console/questions\?[^"]+)">Everybody', told_)
    assert link
    assert "In the order of" in await office.see("chen", link[1])
    assert "Drop" not in told_  # it is mila's
    of_chen = await script_of(office.browsers["chen"], "/staff")
    dropped = "mutation($i: DropQuestionInput!) { dropQuestion(input: $i) { ... on Rejection { code } } }"
    for number in (1, 2, 9):
        before = await rows_written(office.pool)
        told_ = await of_chen.ask(dropped, i={"idempotencyKey": stand.key(), "number": number})
        assert told_ == {"code": "QUESTION_UNKNOWN"}
        assert await rows_written(office.pool) == before
    assert await of_chen.ask("{ savedQuestion(number: 1) { name } }") is None
    await office.done("mila", home, f"{home}/drop", home, number="1")
    assert "Nets, the largest first" not in await office.see("mila", home)
    assert await office.count("settlement.saved_question") == 2  # nothing is removed


async def test_who_may_not_who_is_not_fresh_and_who_is_not_here_write_nothing(office: Office) -> None:
    await sold(office, ("cafe", "A", 500, 0))
    holidays, bank = "/console/holidays", "/console/bank"
    shown = await office.browsers["chen"].get(bank)
    assert "multipart" not in shown.text  # who checks brings nothing
    csrf = re.search(r'name="csrf" value="(\w+)"', shown.text)
    assert csrf
    before = await rows_written(office.pool)
    sent = {"csrf": csrf[1], "key": stand.key()}
    answer = await office.browsers["chen"].post(holidays, {**sent, "day": "2026-12-25", "name": "x"})
    assert answer.status_code == 422
    http = office.browsers["chen"].http
    for data, files, status in (
        (sent, {"file": ("b.xml", b"<x/>", "text/xml")}, 422), ({"key": "x"}, {"file": ("b.xml", b"<x/>", "text/xml")}, 403),
        (sent, {"file": ("b.xml", b"x" * (2 * 1024**2 + 20_000), "text/xml")}, 413), (sent, None, 415),
    ):  # fmt: skip
        answer = await http.post(bank, data=data, files=files, headers={"Accept": "text/html"})
        assert answer.status_code == status
    assert (await office.browsers["cara"].get(bank)).status_code == 403
    office.desk.wall.move(minutes=6)
    await office.desk.at_wall()
    answer = await office.do("mila", holidays, holidays, day="2026-12-25", name="x")
    assert (answer.status_code, answer.headers["location"]) == (303, "/staff/confirm?next=%2Fconsole%2Fholidays")
    assert await rows_written(office.pool) == before


# --- Files that are sent ------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    st.binary(max_size=300),
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30),
)
async def test_a_file_comes_as_it_was_sent(content: bytes, name: str) -> None:
    vault = Vault(bytes(range(32)))
    token = forms.token_for(vault, "c")
    request = httpx2.Request(
        "POST", "http://x/", data={"csrf": token, "note": "ж"}, files={"file": (name, content, "text/csv")}
    )
    fields, file = await uploads.read(_received(request), vault, "c", most_bytes=1_000)
    assert fields == {"csrf": token, "note": "ж"}
    assert file is not None
    assert (file.name, file.media_type, file.content) == (name, "text/csv", content)


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("multipart/form-data", b"", 415),
        ("multipart/form-data; boundary=b", b"", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nnothing\r\n--b--", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", 400),
        ("multipart/form-data; boundary=b", 2 * b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n" + b"--b--", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b--", 403),
        ("multipart/form-data; boundary=b", b"x" * 20_000, 413),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\0\r\n--b--", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a; filename=x\0\r\n\r\nx\r\n--b--", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a; filename*=unicode_escape''%5Cud800\r\n\r\nx\r\n--b--", 400),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Disposition: form-data; name=a; filename*=idna''%C3%A4\r\n\r\nx\r\n--b--", 400),
    ],
)  # fmt: skip
async def test_what_is_no_form_of_ours_is_not_read(head: str, body: bytes, status: int) -> None:
    request = httpx2.Request("POST", "http://x/", content=body, headers={"content-type": head})
    with pytest.raises(HTTPException) as no:
        await uploads.read(_received(request), Vault(bytes(range(32))), "c", most_bytes=1_000)
    assert no.value.status_code == status


async def test_no_form_brings_what_the_database_has_no_place_for() -> None:
    vault = Vault(bytes(range(32)))
    sent = {"csrf": forms.token_for(vault, "c"), "note": "x\0"}
    with pytest.raises(HTTPException) as no:
        await forms.read_form(_received(httpx2.Request("POST", "http://x/", data=sent)), vault, "c")
    assert no.value.status_code == 400


def _received(sent: httpx2.Request) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": sent.read(), "more_body": False}

    headers = [(key.lower().encode(), value.encode()) for key, value in sent.headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)


def test_a_percentage_is_basis_points_or_nothing() -> None:
    from gateway.pages import console_calendar

    said = {"20": 2_000, "8,25": 825, " 0 ": 0, "100": 10_000, "100.01": None, "20.005": None, "-1": None, "x": None,
            "9e999999": None}  # fmt: skip
    assert {text: console_calendar._basis_points(text.strip()) for text in said} == said


def test_money_of_a_list_is_two_columns_of_its_file_and_codes_keep_their_words() -> None:
    from gateway.pages import console_bank, listings

    its = console_bank.PAYMENT_LIST
    node = {"partnerName": "Café", "direction": "PAY_IN", "reference": "RF1", "amount": {"amount": "1.20", "currencyCode": "EUR"},
            "left": None, "dueOn": "2026-03-02", "state": "DUE"}  # fmt: skip
    keys = [column.key for column in listings.columns_of(its)]
    cells = dict(zip(keys, listings.row_of(its, node), strict=True))
    assert (cells["amount"], cells["amount_currency"], cells["left"]) == (Decimal("1.20"), "EUR", None)
    direction: Any = cells["direction"]
    assert (direction.code, direction.words["ru"]) == ("PAY_IN", "платит")
