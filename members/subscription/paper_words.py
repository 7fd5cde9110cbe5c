"""PURE: an invoice of a subscription and its credit note as reports, in the programme's languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType

from kit.amounts import decimal_from_minor, exponent
from kit.reports.tables import Column, Fact, Kind, Report, Row, Table, Term, Words


def _t(en: str, ru: str, ro: str) -> Words:
    return {"en": en, "ru": ru, "ro": ro}


_WORDS: Mapping[str, Words] = MappingProxyType(
    {
        "invoice": _t("Invoice", "Счёт", "Factură"),
        "credit_note": _t("Credit note", "Кредит-нота", "Notă de credit"),
        "number": _t("Number", "Номер", "Număr"),
        "of_invoice": _t("To invoice", "К счёту", "La factura"),
        "seller": _t("Seller", "Продавец", "Vânzător"),
        "address": _t("Address", "Адрес", "Adresă"),
        "registration": _t("Registration number", "Регистрационный номер", "Număr de înregistrare"),
        "tax_id": _t("VAT number", "Номер плательщика НДС", "Cod de TVA"),
        "buyer": _t("Member", "Участник", "Membru"),
        "issued_at": _t("Issued", "Выставлен", "Emisă"),
        "due_at": _t("Due", "Срок оплаты", "Scadentă"),
        "plan": _t("Plan", "План", "Plan"),
        "seats": _t("Seats beside the owner's", "Мест кроме места владельца", "Locuri pe lângă cel al titularului"),
        "price": _t("Price of a period, VAT in it", "Цена периода с НДС", "Prețul perioadei, cu TVA"),
        "interval": _t("Renews every", "Продлевается каждый", "Se reînnoiește la fiecare"),
        "from": _t("Period from", "Период с", "Perioada de la"),
        "until": _t("Period to, that day not included", "Период до, не включая этот день",
                    "Perioada până la, fără acea zi"),
        "currency": _t("Currency", "Валюта", "Valută"),
        "reference": _t("Payment reference", "Назначение платежа", "Referința plății"),
        "state": _t("State", "Состояние", "Stare"),
        "paid_at": _t("Paid", "Оплачен", "Plătită"),
        "lines": _t("Lines", "Строки", "Linii"),
        "description": _t("Description", "Описание", "Descriere"),
        "amount": _t("Amount, VAT in it", "Сумма с НДС", "Suma cu TVA"),
        "tax": _t("VAT", "НДС", "TVA"),
        "rule": _t("Rule and its version", "Правило и его версия", "Regula și versiunea ei"),
        "rate": _t("Rate", "Ставка", "Cota"),
        "base": _t("Without VAT", "Без НДС", "Fără TVA"),
        "gross": _t("Together", "Всего", "Împreună"),
        "notes": _t("Credit notes", "Кредит-ноты", "Note de credit"),
        "reason": _t("Reason", "Причина", "Motiv"),
        "from_day": _t("First day not served", "Первый день без услуги", "Prima zi neprestată"),
    }
)  # fmt: skip
_LINES: Mapping[str, Words] = MappingProxyType(
    {
        "PERIOD": _t("Subscription for the period", "Подписка на период", "Abonament pentru perioadă"),
        "PRORATION_CREDIT": _t("Days of the plan before, not used", "Неиспользованные дни прежнего плана",
                               "Zile nefolosite ale planului anterior"),
        "PRORATION_DEBIT": _t("Days of the new plan", "Дни нового плана", "Zile ale noului plan"),
        "PROMO": _t("Discount by a promotional code", "Скидка по промокоду", "Reducere prin cod promoțional"),
        "GIFT": _t("Subscription given as a present", "Подписка в подарок", "Abonament oferit cadou"),
    }
)  # fmt: skip
_STATES: Mapping[str, Words] = MappingProxyType(
    {
        "OPEN": _t("To be paid", "К оплате", "De plătit"),
        "PAID": _t("Paid", "Оплачен", "Plătită"),
        "VOID": _t("Void: nothing is to be paid", "Аннулирован: платить не нужно", "Anulată: nu se plătește nimic"),
        "CREDITED": _t("Credited", "Сторнирован кредит-нотой", "Creditată"),
    }
)
_REASONS: Mapping[str, Words] = MappingProxyType(
    {
        "CANCELLED": _t("The member left before the end", "Участник ушёл до окончания",
                        "Membrul a plecat înainte de sfârșit"),
        "CHARGEBACK": _t("The bank took the payment back", "Банк отозвал платёж", "Banca a retras plata"),
        "TAKEN_BACK": _t("A present that nobody used", "Неиспользованный подарок", "Un cadou nefolosit"),
    }
)  # fmt: skip
_INTERVALS: Mapping[str, Words] = MappingProxyType(
    {
        "MONTH": _t("month", "месяц", "lună"),
        "QUARTER": _t("quarter", "квартал", "trimestru"),
        "YEAR": _t("year", "год", "an"),
    }
)
_TEST = _t(
    "TEST. Nobody is charged, and this is no invoice.",
    "ТЕСТ. Деньги не списываются, и это не счёт.",
    "TEST. Nimeni nu este taxat, iar aceasta nu este o factură.",
)
_CHARGED = _t(
    "There is nothing to do: the amount is charged to the means of payment that you gave.",
    "Ничего делать не нужно: сумма списывается с указанного вами способа оплаты.",
    "Nu trebuie făcut nimic: suma se încasează prin mijlocul de plată indicat.",
)
_NOTHING = _t("Nothing is to be paid any more.", "Платить больше не нужно.", "Nu mai este nimic de plătit.")
_TO_PAY = _t(
    "Please transfer {amount} {currency} to {seller}, {bank}, account {account}, and name the reference {reference}. "
    "The subscription begins, or goes on, when the payment has been recorded.",
    "Переведите {amount} {currency}: получатель {seller}, {bank}, счёт {account}, назначение {reference}. "
    "Подписка начнётся или продолжится, когда платёж будет учтён.",
    "Transferați {amount} {currency} către {seller}, {bank}, contul {account}, cu referința {reference}. "
    "Abonamentul începe sau continuă după înregistrarea plății.",
)
_BACK = _t(
    "The amount goes back the way it came.",
    "Сумма возвращается тем же путём, каким пришла.",
    "Suma se restituie pe calea pe care a venit.",
)


@dataclass(frozen=True, slots=True)
class Parties:
    """Who sells (name, address, numbers and bank as `sellers.Seller` has them) and how the member is named."""

    seller: str
    address: str
    registration: str
    tax_id: str
    bank: str
    account: str
    buyer: str


@dataclass(frozen=True, slots=True)
class Money:
    """A sum with the tax in it, minor units of a currency, by a version of a rule of tax."""

    currency: str
    net_minor: int
    tax_minor: int
    tax_code: str
    tax_version: int
    rate_bp: int

    @property
    def gross_minor(self) -> int:
        """Tax among it."""
        return self.net_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class NotePaper:
    """A credit note as it is printed: reason is one of the words that end a subscription."""

    note_no: int
    invoice_no: int
    reason: str
    from_day: date
    money: Money
    at: datetime


@dataclass(frozen=True, slots=True)
class InvoicePaper:
    """An invoice as it is printed: lines are kinds and minor units, days [from, until) of the zone."""

    invoice_no: int
    reference: str
    state: str
    plan_code: str
    plan: Words
    seats: int
    price_minor: int
    interval: str
    from_day: date
    until_day: date
    lines: Sequence[tuple[str, int]]
    money: Money
    is_test: bool
    is_charged: bool
    issued_at: datetime
    due_at: datetime
    paid_at: datetime | None
    note: NotePaper | None


def invoice(its: InvoicePaper, parties: Parties, *, zone: str) -> Report:
    """An invoice: who sells, for which period and seats, at what price, with which tax, and how to pay it."""
    facts = [
        _fact("number", _number("INVOICE", its.invoice_no)),
        *_seller(parties),
        _fact("buyer", parties.buyer),
        _fact("issued_at", its.issued_at, Kind.INSTANT),
        _fact("due_at", its.due_at, Kind.INSTANT),
        _fact("plan", Term(its.plan_code, _plan(its.plan))),
        _fact("seats", its.seats, Kind.COUNT),
        _fact("price", decimal_from_minor(its.price_minor, its.money.currency), Kind.AMOUNT,
              exponent(its.money.currency)),
        _fact("interval", Term(its.interval, _INTERVALS[its.interval])),
        _fact("from", its.from_day, Kind.DATE),
        _fact("until", its.until_day, Kind.DATE),
        _fact("currency", its.money.currency),
        _fact("reference", its.reference),
        _fact("state", Term(its.state, _STATES[its.state])),
    ]  # fmt: skip
    if its.paid_at is not None:
        facts.append(_fact("paid_at", its.paid_at, Kind.INSTANT))
    amount = _amount("amount", its.money.currency, is_summed=True)
    rows: list[Row] = [
        (Term(kind, _LINES[kind]), decimal_from_minor(minor, its.money.currency)) for kind, minor in its.lines
    ]
    tables = [Table("lines", _WORDS["lines"], (_text("description", 4), amount), rows), _tax(its.money)]
    if its.note is not None:
        tables.append(_notes(its.note))
    return Report(
        "INVOICE", _WORDS["invoice"], _number("INVOICE", its.invoice_no), its.issued_at, zone, tuple(facts),
        tuple(tables), tuple(_what_to_do(its, parties)),
    )  # fmt: skip


def credit_note(its: NotePaper, parties: Parties, *, zone: str, is_test: bool) -> Report:
    """A credit note: of which invoice, from which day on, how much, and that it goes back."""
    facts = (
        _fact("number", _number("CREDIT_NOTE", its.note_no)),
        _fact("of_invoice", _number("INVOICE", its.invoice_no)),
        *_seller(parties),
        _fact("buyer", parties.buyer),
        _fact("issued_at", its.at, Kind.INSTANT),
        _fact("reason", _reason(its.reason)),
        _fact("from_day", its.from_day, Kind.DATE),
        _fact("currency", its.money.currency),
    )
    notes = ([_TEST] if is_test else []) + ([_BACK] if its.reason != "CHARGEBACK" else [])
    return Report(
        "CREDIT_NOTE", _WORDS["credit_note"], _number("CREDIT_NOTE", its.note_no), its.at, zone, facts,
        (_tax(its.money),), tuple(notes),
    )  # fmt: skip


def _what_to_do(its: InvoicePaper, parties: Parties) -> list[Words]:
    found = [_TEST] if its.is_test else []
    if its.state != "OPEN":
        return [*found, _NOTHING]
    if its.is_charged:
        return [*found, _CHARGED]
    said = {
        "amount": f"{decimal_from_minor(its.money.gross_minor, its.money.currency):f}",
        "currency": its.money.currency, "seller": parties.seller, "bank": parties.bank, "account": parties.account,
        "reference": its.reference,
    }  # fmt: skip
    return [*found, {language: _filled(words, said) for language, words in _TO_PAY.items()}]


def _filled(words: str, said: Mapping[str, str]) -> str:
    """Words with what is said in their places; what a person typed is never read as a place itself."""
    for name, value in said.items():
        before, _, after = words.partition("{" + name + "}")
        words = before + value.replace("{", "(").replace("}", ")") + after
    return words.replace(", ,", ",")


def _seller(parties: Parties) -> list[Fact]:
    said = (("seller", parties.seller), ("address", parties.address), ("registration", parties.registration),
            ("tax_id", parties.tax_id))  # fmt: skip
    return [_fact(key, value) for key, value in said if value]


def _tax(money: Money) -> Table:
    columns = (
        _text("rule", 2), Column("rate", _WORDS["rate"], Kind.PERCENT), _amount("base", money.currency),
        _amount("tax", money.currency), _amount("gross", money.currency),
    )  # fmt: skip
    row: Row = (
        f"{money.tax_code} / {money.tax_version}", Decimal(money.rate_bp).scaleb(-4),
        *(decimal_from_minor(minor, money.currency) for minor in (money.net_minor, money.tax_minor, money.gross_minor)),
    )  # fmt: skip
    return Table("tax", _WORDS["tax"], columns, [row])


def _notes(note: NotePaper) -> Table:
    columns = (
        _text("number", 2), _text("reason", 3), Column("from_day", _WORDS["from_day"], Kind.DATE),
        _amount("gross", note.money.currency),
    )  # fmt: skip
    row: Row = (
        _number("CREDIT_NOTE", note.note_no), _reason(note.reason), note.from_day,
        decimal_from_minor(note.money.gross_minor, note.money.currency),
    )  # fmt: skip
    return Table("notes", _WORDS["notes"], columns, [row])


def _reason(reason: str) -> Term:
    return Term(reason, _REASONS.get(reason, _t(reason, reason, reason)))


def _plan(names: Words) -> Words:
    """A plan's names, its first one standing for languages that it has none in."""
    first = next(iter(names.values()))
    return {language: names.get(language) or first for language in ("en", "ru", "ro")}


def _number(series: str, number: int) -> str:
    return f"{'FEE' if series == 'INVOICE' else 'FCN'}-{number:09d}"


def _fact(
    key: str, value: str | int | Decimal | date | datetime | Term, kind: Kind = Kind.TEXT, places: int = 2
) -> Fact:
    return Fact(key, _WORDS[key], value, kind, places)


def _text(key: str, width: int) -> Column:
    return Column(key, _WORDS[key], width=width)


def _amount(key: str, currency: str, *, is_summed: bool = False) -> Column:
    return Column(key, _WORDS[key], Kind.AMOUNT, exponent(currency), is_summed=is_summed)
