"""One document of a supply as a report: an invoice, a self-billed one, a credit note, an act of set-off."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

from kit.amounts import decimal_from_minor, exponent
from kit.reports.tables import Column, Fact, Kind, Report, Row, Table, Term, Words
from settlement.documents.drawing import SET_OFF
from settlement.documents.register import Document
from settlement.reports import words
from settlement.reports.more_words import column
from settlement.reports.of_books import About


def _t(en: str, ru: str, ro: str) -> Words:
    return {"en": en, "ru": ru, "ro": ro}


TITLES: Mapping[str, Words] = MappingProxyType(
    {
        "INVOICE": _t("Invoice", "Счёт", "Factură"),
        "CREDIT_NOTE": _t("Credit note", "Кредит-нота", "Notă de credit"),
        "SELF_BILLED": _t(
            "Invoice, drawn by the buyer in the supplier's name", "Счёт, выставленный покупателем от имени поставщика",
            "Factură emisă de cumpărător în numele furnizorului",
        ),
        "SELF_BILLED_CREDIT": _t(
            "Credit note, drawn by the buyer in the supplier's name",
            "Кредит-нота, выставленная покупателем от имени поставщика",
            "Notă de credit emisă de cumpărător în numele furnizorului",
        ),
        "SET_OFF": _t("Act of set-off", "Акт взаимозачёта", "Act de compensare"),
    }
)  # fmt: skip
_SUPPLIER = _t("Supplier", "Поставщик", "Furnizor")
_BUYER = _t("Buyer", "Покупатель", "Cumpărător")
_ADDRESS = _t("Operator's address", "Адрес оператора", "Adresa operatorului")
_TAX_ID = _t("Operator's VAT number", "Номер плательщика НДС оператора", "Codul de TVA al operatorului")
_LINES = _t("Lines", "Строки", "Linii")
_TAX = _t("Tax", "Налог", "Taxe")
_RATE = _t("Rate", "Ставка", "Cota")
_RULE = _t("Rule and its version", "Правило и его версия", "Regula și versiunea ei")
_CORRECTS = _t(
    "Takes back an earlier document", "Отменяет ранее выставленный документ", "Anulează un document anterior"
)
_MET = _t("Set off on both sides", "Зачтено с обеих сторон", "Compensat de ambele părți")
_LEFT = _t("Left, positive to the partner", "Остаток, плюс в пользу партнёра", "Rest, pozitiv către partener")


def document(about: About, its: Document, *, operator: str, address: str = "", tax_id: str = "") -> Report:
    """A document: who supplies whom, each line, and the tax by a version of its rule. operator is the operator's legal
    name; the partner is named as the programme knows it."""
    partner = str(about.party(its.partner_id))
    supplier, buyer = (partner, operator) if its.entity != "operator" else (operator, partner)
    facts = [
        _fact("number", words.COLUMNS["reference"], its.number),
        _fact("supplier", _SUPPLIER, supplier),
        _fact("buyer", _BUYER, buyer),
        *([_fact("address", _ADDRESS, address)] if address else []),
        *([_fact("tax_id", _TAX_ID, tax_id)] if tax_id else []),
        Fact("issued_at", column("issued_at").title, its.issued_at, Kind.INSTANT),
        _fact("currency", words.COLUMNS["currency"], its.currency),
        *([Fact("corrects", _CORRECTS, True)] if its.corrects_id is not None else []),
    ]
    tables = (_set_off(its),) if its.kind == SET_OFF else (_lines(about, its), _tax(its))
    return Report(its.kind, TITLES[its.kind], its.number, its.issued_at, about.time_zone, tuple(facts), tables)


def _lines(about: About, its: Document) -> Table:
    columns = (
        words.column("description", width=3), words.column("agreement", width=2), words.column("points", Kind.COUNT),
        column("base", Kind.AMOUNT, places=exponent(its.currency), is_summed=True),
    )  # fmt: skip
    rows: list[Row] = [
        (words.kind_of_line(line.kind), None if line.terms_id is None else about.agreement(line.terms_id), line.points,
         decimal_from_minor(line.base_minor, its.currency))
        for line in its.lines
    ]  # fmt: skip
    return Table("lines", _LINES, columns, rows)


def _tax(its: Document) -> Table:
    columns = (
        Column("rule", _RULE, width=2), column("tax_code", width=2), Column("rate", _RATE, Kind.PERCENT),
        *(column(name, Kind.AMOUNT, places=exponent(its.currency)) for name in ("base", "tax", "gross")),
    )  # fmt: skip
    row: Row = (
        f"{its.rule.code} / {its.rule.version}", its.rule.tax_code, Decimal(its.rule.rate_bp).scaleb(-4),
        *(decimal_from_minor(minor, its.currency) for minor in (its.base_minor, its.tax_minor, its.gross_minor)),
    )  # fmt: skip
    return Table("tax", _TAX, columns, [row])


def _set_off(its: Document) -> Table:
    places = exponent(its.currency)
    columns = (Column("met", _MET, Kind.AMOUNT, places), Column("left", _LEFT, Kind.AMOUNT, places))
    row: Row = (decimal_from_minor(its.base_minor, its.currency), decimal_from_minor(its.gross_minor, its.currency))
    return Table("set_off", TITLES[SET_OFF], columns, [row])


def _fact(key: str, title: Words, value: str | Term) -> Fact:
    return Fact(key, title, value)
