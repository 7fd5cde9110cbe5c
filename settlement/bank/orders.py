"""PURE: payments as ISO 20022 messages: pain.001.001.09 to pay out, pain.008.001.08 to collect.

The same order gives the same bytes. What the character set of banks does not have is written without it, and what is
cut to a field's length is cut by us, never by a bank.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from lxml import etree

from kit.amounts import decimal_from_minor
from settlement.bank.accounts import BankAccount

PAIN_001 = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
PAIN_008 = "urn:iso:std:iso:20022:tech:xsd:pain.008.001.08"
MOST_MINOR = 10**13
_NOT_LATIN = re.compile(r"[^A-Za-z0-9/\-?:().,'+ ]")
_ID = re.compile(r"[A-Za-z0-9/\-?:().,'+ ]{1,35}")
_RUSSIAN = {
    **dict(zip("абвгдезийклмнопрстуфыэё", "abvgdeziyklmnoprstufyee", strict=True)),
    "ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "'", "ь": "'", "ю": "yu", "я": "ya",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mandate:
    """What allows a collection: its number and when it was signed."""

    mandate_id: str
    signed_on: date


@dataclass(frozen=True, slots=True)
class Leg:
    """One payment: to whom or from whom, how much in minor units, and the references that come back with it.

    end_to_end_id is unique for ever, 35 characters at most; reference is a creditor reference (ISO 11649).
    """

    end_to_end_id: str
    party: BankAccount
    amount_minor: int
    reference: str
    mandate: Mandate | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """Payments of one account in one currency on one day. message_id is unique for ever."""

    message_id: str
    own: BankAccount
    currency: str
    execute_on: date
    created_at: datetime
    legs: tuple[Leg, ...]
    creditor_id: str | None = None

    @property
    def total_minor(self) -> int:
        """The control sum, minor units."""
        return sum(leg.amount_minor for leg in self.legs)


def pay_out(order: Order) -> bytes:
    """Credit transfers as pain.001.001.09. Raises ValueError for what no bank would take."""
    _check(order)
    root, info = _head(order, PAIN_001, "CstmrCdtTrfInitn", "TRF")
    _put(_put(info, "ReqdExctnDt"), "Dt", order.execute_on.isoformat())
    _party(info, "Dbtr", order.own)
    for leg in order.legs:
        item = _put(info, "CdtTrfTxInf")
        _put(_put(item, "PmtId"), "EndToEndId", leg.end_to_end_id)
        _amount(_put(item, "Amt"), leg.amount_minor, order.currency)
        _agent(item, "CdtrAgt", leg.party, is_optional=True)
        _put(_put(item, "Cdtr"), "Nm", latin(leg.party.holder, 70))
        _put(_put(_put(item, "CdtrAcct"), "Id"), "IBAN", leg.party.iban)
        _reference(item, leg.reference)
    return _written(root)


def collect(order: Order) -> bytes:
    """Direct debits as pain.008.001.08; each leg has a mandate. Raises ValueError for what no bank would take."""
    _check(order)
    if order.creditor_id is None or any(leg.mandate is None for leg in order.legs):
        raise ValueError("a collection needs a creditor identifier and a mandate for each leg")
    root, info = _head(order, PAIN_008, "CstmrDrctDbtInitn", "DD")
    _put(info, "ReqdColltnDt", order.execute_on.isoformat())
    _party(info, "Cdtr", order.own)
    other = _put(_put(_put(_put(info, "CdtrSchmeId"), "Id"), "PrvtId"), "Othr")
    _put(other, "Id", order.creditor_id)
    _put(_put(other, "SchmeNm"), "Prtry", "SEPA")
    for leg in order.legs:
        assert leg.mandate is not None
        item = _put(info, "DrctDbtTxInf")
        _put(_put(item, "PmtId"), "EndToEndId", leg.end_to_end_id)
        _amount(item, leg.amount_minor, order.currency)
        mandate = _put(_put(item, "DrctDbtTx"), "MndtRltdInf")
        _put(mandate, "MndtId", leg.mandate.mandate_id)
        _put(mandate, "DtOfSgntr", leg.mandate.signed_on.isoformat())
        _agent(item, "DbtrAgt", leg.party)
        _put(_put(item, "Dbtr"), "Nm", latin(leg.party.holder, 70))
        _put(_put(_put(item, "DbtrAcct"), "Id"), "IBAN", leg.party.iban)
        _reference(item, leg.reference)
    return _written(root)


def latin(text: str, length: int) -> str:
    """A name in the character set that every bank takes (EPC217-08), at most so long; accents go, Cyrillic is spelt."""
    spelt = "".join(_spelt(character) for character in text)
    bare = unicodedata.normalize("NFKD", spelt).encode("ascii", "ignore").decode()
    return " ".join(_NOT_LATIN.sub(" ", bare).split())[:length].strip() or "NOTPROVIDED"


def _spelt(character: str) -> str:
    found = _RUSSIAN.get(character.lower())
    if found is None:
        return character
    return found.capitalize() if character.isupper() else found


def _check(order: Order) -> None:
    if not order.legs:
        raise ValueError("an order has at least one leg")
    ids = [leg.end_to_end_id for leg in order.legs]
    if len(set(ids)) != len(ids):
        raise ValueError("two legs have the same end-to-end id")
    if wrong := [text for text in (order.message_id, *ids) if not _ID.fullmatch(text) or "//" in text]:
        raise ValueError(f"not an id that a bank takes: {wrong[0]!r}")
    if any(not 0 < leg.amount_minor <= MOST_MINOR for leg in order.legs):
        raise ValueError("a leg's amount is above zero and within what a message holds")


def _head(order: Order, namespace: str, kind: str, method: str) -> tuple[etree._Element, etree._Element]:
    root = etree.Element(etree.QName(namespace, "Document"), nsmap={None: namespace})
    message = _put(root, kind)
    group = _put(message, "GrpHdr")
    _put(group, "MsgId", order.message_id)
    _put(group, "CreDtTm", order.created_at.replace(microsecond=0).isoformat())
    _put(group, "NbOfTxs", str(len(order.legs)))
    _put(group, "CtrlSum", _decimal(order.total_minor, order.currency))
    _put(_put(group, "InitgPty"), "Nm", latin(order.own.holder, 70))
    info = _put(message, "PmtInf")
    _put(info, "PmtInfId", order.message_id)
    _put(info, "PmtMtd", method)
    _put(info, "NbOfTxs", str(len(order.legs)))
    _put(info, "CtrlSum", _decimal(order.total_minor, order.currency))
    kind_of_payment = _put(info, "PmtTpInf")
    _put(_put(kind_of_payment, "SvcLvl"), "Cd", "SEPA" if order.currency == "EUR" else "NURG")
    if method == "DD":
        _put(_put(kind_of_payment, "LclInstrm"), "Cd", "B2B")
        _put(kind_of_payment, "SeqTp", "RCUR")
    return root, info


def _party(info: etree._Element, role: str, own: BankAccount) -> None:
    _put(_put(info, role), "Nm", latin(own.holder, 70))
    _put(_put(_put(info, f"{role}Acct"), "Id"), "IBAN", own.iban)
    _agent(info, f"{role}Agt", own)


def _agent(parent: etree._Element, role: str, party: BankAccount, *, is_optional: bool = False) -> None:
    if party.bic is None and is_optional:
        return
    agent = _put(_put(parent, role), "FinInstnId")
    if party.bic is not None:
        _put(agent, "BICFI", party.bic)
    else:
        _put(_put(agent, "Othr"), "Id", "NOTPROVIDED")


def _amount(parent: etree._Element, amount_minor: int, currency: str) -> None:
    _put(parent, "InstdAmt", _decimal(amount_minor, currency)).set("Ccy", currency)


def _reference(item: etree._Element, reference: str) -> None:
    structured = _put(_put(_put(item, "RmtInf"), "Strd"), "CdtrRefInf")
    kind = _put(structured, "Tp")
    _put(_put(kind, "CdOrPrtry"), "Cd", "SCOR")
    _put(kind, "Issr", "ISO")
    _put(structured, "Ref", reference)


def _put(parent: etree._Element, name: str, value: str | None = None) -> etree._Element:
    child = etree.SubElement(parent, etree.QName(etree.QName(parent).namespace, name))
    child.text = value
    return child


def _decimal(amount_minor: int, currency: str) -> str:
    amount: Decimal = decimal_from_minor(amount_minor, currency)
    return f"{amount:f}"


def _written(root: etree._Element) -> bytes:
    written: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True)
    return written
