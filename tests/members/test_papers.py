"""Invoices and credit notes on paper: what stands on them reads back, in every language; who sells is kept by versions."""

from __future__ import annotations

import pypdfium2
import pytest

from kit import actors
from kit.database import Database
from kit.reports import documents
from kit.reports.tables import LANGUAGES, Report, in_language
from kit.secrets import Vault
from members.subscription import papers, plans, sellers, subscriptions
from members.subscription.plans import PlanDraft
from members.subscription.sellers import Seller, SellerInvalid, SellerUnknown
from tests.members.subscribers import DAY, START, Club, Scripted

SELLER = Seller("Кооператив «Țărăncuța» {account} SRL", "str. Ștefan cel Mare 1, Chișinău", "100260001", "MD-0300017",
                "Banca «Țării»", "MD24AG000225100013104168")  # fmt: skip
MARGIN_POINTS, SCALE = 30, 2


async def open_club(database: Database, vault: Vault, **more: object) -> Club:
    """A club with a plan whose price holds 20 % of VAT, and seats."""
    club = Club(database, vault, **more)  # type: ignore[arg-type]
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        await actors.ensure_actor(connection, "maker", [actors.FINANCE_MAKER])
        await plans.publish_tax(connection, code="STD", rate_bp=2000, valid_from=START, actor="maker", at=START)
        names = {"en": "Plus", "ru": "Плюс", "ro": "Plus «Ș»"}
        await plans.add(connection, PlanDraft("plus", names, ("free-delivery",), seats=2), actor="marketer", at=START)
        await plans.publish_price(
            connection, plan="plus", currency="EUR", interval="MONTH", amount_minor=120_000, tax_code="STD",
            valid_from=START, actor="marketer", at=START,
        )  # fmt: skip
    return club


def read_back(report: Report, language: str) -> str:
    """The text of the PDF, whose pages have ink within their margins, and which says that it is for archives."""
    content = documents.render(report, language=language)
    assert content == documents.render(report, language=language)
    assert b"pdfaid:part" in content
    assert b"StructTreeRoot" in content
    text = ""
    for page in pypdfium2.PdfDocument(content):
        image = page.render(scale=SCALE).to_pil().convert("L")
        ink = image.point(lambda shade: 255 if shade < 200 else 0).getbbox()
        assert ink is not None
        assert ink[0] >= MARGIN_POINTS * SCALE
        assert ink[2] <= image.width - MARGIN_POINTS * SCALE
        text += page.get_textpage().get_text_range()
    assert "\ufffd" not in text
    return squeezed(text)


def squeezed(text: str) -> str:
    return "".join(text.split()).replace("\u00a0", "").replace("\u202f", "").replace("\u00ad", "").replace("\u0002", "")


def missing(report: Report, language: str, text: str) -> list[str]:
    """What stands in the report and not on the paper."""
    said = [in_language(report.title, language), report.subtitle]
    for fact in report.facts:
        said += [in_language(fact.title, language),
                 documents.shown(fact.value, fact.kind, fact.places, report, language)]  # fmt: skip
    for table in report.tables:
        said += [in_language(column.title, language) for column in table.columns]
        for row in table.rows:
            said += [
                documents.shown(cell, column.kind, column.places, report, language)
                for cell, column in zip(row, table.columns, strict=True)
            ]
    said += [in_language(note, language) for note in report.notes]
    return [one for one in said if squeezed(one) not in text]


async def test_an_invoice_says_in_every_language_who_sells_what_it_costs_and_how_to_pay(
    database: Database, vault: Vault
) -> None:
    club = await open_club(database, vault)
    await club.subscribe(await club.person())
    async with database.reading() as connection:
        with pytest.raises(SellerUnknown):
            await papers.invoice(connection, 1, buyer="mbr_1")
    await club.do(sellers.publish, SELLER, valid_from=START, actor="maker")
    async with database.reading() as connection:
        report = await papers.invoice(connection, 1, buyer="mbr_1")
    for language in LANGUAGES:
        text = read_back(report, language)
        assert missing(report, language, text) == []
        [what_to_do] = report.notes
        said = in_language(what_to_do, language)
        assert all(part in said for part in ("1200.00 EUR", SELLER.account, SELLER.bank, "000000001-"))
    facts = {fact.key: fact.value for fact in report.facts}
    assert (facts["seller"], facts["seats"], facts["tax_id"]) == (SELLER.name, 2, SELLER.tax_id)
    [tax] = [table for table in report.tables if table.key == "tax"]
    assert [str(cell) for cell in tax.rows[0]] == ["STD / 1", "0.2000", "1000.00", "200.00", "1200.00"]


async def test_a_credit_note_says_in_every_language_what_goes_back_and_why(database: Database, vault: Vault) -> None:
    club = await open_club(database, vault, provider=Scripted())
    await club.do(sellers.publish, SELLER, valid_from=START, actor="maker")
    its = await club.subscribe(await club.person())
    await club.pass_time(0 * DAY)
    await club.pass_time(START + 10 * DAY)
    await club.do(subscriptions.cancel, its.holder_id, its.subscription_no, at_once=True)
    async with database.reading() as connection:
        note = await papers.credit_note(connection, 1, buyer="mbr_1")
        invoice = await papers.invoice(connection, 1, buyer="mbr_1")
    for language in LANGUAGES:
        assert missing(note, language, read_back(note, language)) == []
        assert missing(invoice, language, read_back(invoice, language)) == []
    facts = {fact.key: fact.value for fact in note.facts}
    back = round(120_000 * 21 / 31)  # 11 to 31 March is not served
    assert (facts["of_invoice"], str(facts["from_day"])) == ("FEE-000000001", "2026-03-11")
    assert abs(int(note.tables[0].rows[0][4] * 100) - back) <= 1
    assert [table.key for table in invoice.tables] == ["lines", "tax", "notes"]


async def test_a_seller_is_kept_by_versions_and_an_invoice_has_the_one_of_its_day(
    database: Database, vault: Vault
) -> None:
    club = await open_club(database, vault)
    await club.do(sellers.publish, SELLER, valid_from=START, actor="maker")
    await club.subscribe(await club.person())
    await club.pass_time(5 * DAY)
    await club.do(sellers.publish, Seller("Heir SA", "Bd. 2"), valid_from=club.at, actor="maker")
    await club.subscribe(await club.person())
    async with database.reading() as connection:
        names = [
            next(fact.value for fact in (await papers.invoice(connection, n, buyer="b")).facts if fact.key == "seller")
            for n in (1, 2)
        ]
    assert names == [SELLER.name, "Heir SA"]
    before = await database.pool.fetchval("SELECT count(*) FROM members.seller")
    for wrong, valid_from in ((Seller("", "x"), club.at), (Seller("x", "y" * 201), club.at), (SELLER, START)):
        with pytest.raises(SellerInvalid):
            await club.do(sellers.publish, wrong, valid_from=valid_from, actor="maker")
    assert await database.pool.fetchval("SELECT count(*) FROM members.seller") == before
