"""PURE: the bank's statements and notices, camt.053 and camt.054 in two common versions (.02 and .08), as a stream.

Nothing is trusted: no entity is resolved, no document type is allowed, size and length are bounded, and a statement
counts only when its opening balance and its booked entries make its closing balance. A batch's payments must sum to
their entry, so that an entry is never counted once per payment. A file is read to its end before anything is stored:
whoever reads keeps what it yields in a transaction that the first complaint rolls back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import IO, Generic, TypeVar

from lxml import etree

from kit.amounts import minor_from_decimal
from kit.errors import Rejection

T = TypeVar("T")
H = TypeVar("H")

VERSIONS = ("camt.053.001.02", "camt.053.001.08")
NOTICES = ("camt.054.001.02", "camt.054.001.08")
MOST_BYTES = 512 * 1024 * 1024
LONGEST_TEXT = 2_000
MOST_DETAILS = 100_000
_BLOCK = 64 * 1024
_OPENING, _CLOSING = ("OPBD", "PRCD"), ("CLBD",)


class BankFileInvalid(Rejection):
    """The file cannot be read as a bank statement, or does not add up; the message says where."""

    code = "BANK_FILE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Head:
    """What a statement says of itself before its entries. Balances are minor units, negative for a debit balance."""

    message_id: str
    statement_id: str
    account: str
    currency: str
    sequence: int | None
    legal_sequence: int | None
    created_at: datetime | None
    opening_minor: int
    opening_on: date
    closing_minor: int
    closing_on: date


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment inside an entry: amount in minor units, positive in, negative out, and what identifies it."""

    amount_minor: int
    end_to_end_id: str | None = None
    creditor_reference: str | None = None
    text: str | None = field(default=None, repr=False)
    party: str | None = field(default=None, repr=False)
    party_account: str | None = field(default=None, repr=False)
    servicer_reference: str | None = None
    return_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a statement; its payments sum to it. is_booked is False for what the bank only announces."""

    number: int
    amount_minor: int
    is_booked: bool
    is_reversal: bool
    booked_on: date | None
    value_on: date | None
    servicer_reference: str | None
    bank_code: str | None
    payments: tuple[Payment, ...]


@dataclass(frozen=True, slots=True)
class NoticeHead:
    """What a notice says of itself: it has no balances, so nothing of it is ever money that came or went."""

    message_id: str
    notice_id: str
    account: str
    currency: str


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a statement whose figures add up: how many entries it had, and the sum of the booked ones."""

    entries: int
    booked_minor: int


def read(source: IO[bytes], *, most_bytes: int = MOST_BYTES) -> Iterator[Head | Entry | Tail]:
    """The statements of a file: for each its Head, its entries in order, and its Tail. Memory holds one entry.

    Rejects BANK_FILE_INVALID, at the place where the file stops making sense.
    """
    yield from _events_of(_Reader(), source, most_bytes)


def read_notices(source: IO[bytes], *, most_bytes: int = MOST_BYTES) -> Iterator[NoticeHead | Entry | Tail]:
    """The notices of a file (camt.054): for each its NoticeHead, its entries in order, and its Tail. Memory holds one
    entry. Rejects BANK_FILE_INVALID, also for a statement.
    """
    yield from _events_of(_NoticeReader(), source, most_bytes)


def root_of(source: IO[bytes]) -> str:
    """The message that a file is, by its namespace (`camt.053.001.08`); the file is brought back to its beginning.

    Rejects BANK_FILE_INVALID.
    """
    parser = _parser(("start",))
    try:
        while block := source.read(_BLOCK):
            parser.feed(block)
            for _, element in parser.read_events():
                _check_type(element)
                return (etree.QName(element).namespace or "").rpartition(":")[2] or _name(element)
    except etree.XMLSyntaxError as wrong:
        raise BankFileInvalid(f"this is not well-formed XML: {wrong.msg}") from wrong
    finally:
        source.seek(0)
    raise BankFileInvalid("the file is empty")


def _events_of(reader: _Base[H], source: IO[bytes], most_bytes: int) -> Iterator[H | Entry | Tail]:
    try:
        yield from reader.events(_bounded(source, most_bytes))
    except etree.XMLSyntaxError as wrong:
        raise BankFileInvalid(f"this is not well-formed XML: {wrong.msg}") from wrong
    if not reader.statements:
        raise BankFileInvalid(f"there is no {reader.what} in this file")


def _parser(events: tuple[str, ...]) -> etree.XMLPullParser:
    return etree.XMLPullParser(
        events=events, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True,
        remove_pis=True,
    )  # fmt: skip


class _Base(Generic[H]):
    """Where reading stands."""

    container: str
    versions: tuple[str, ...]
    what: str

    def __init__(self) -> None:
        self.statements = 0
        self._message_id = ""
        self._head: H | None = None
        self._entries = 0
        self._booked = 0

    def events(self, blocks: Iterator[bytes]) -> Iterator[H | Entry | Tail]:
        parser = _parser(("start", "end"))
        is_first = True
        for block in blocks:
            parser.feed(block)
            for event, element in parser.read_events():
                if is_first:
                    _check_root(element, self.versions, self.what)
                    is_first = False
                yield from self._seen(event, element)
        parser.close()
        for event, element in parser.read_events():
            yield from self._seen(event, element)

    def _seen(self, event: str, element: etree._Element) -> Iterator[H | Entry | Tail]:
        name = _name(element)
        if event == "start":
            return
        if len(element.text or "") > LONGEST_TEXT:
            raise _wrong(element, f"a text of more than {LONGEST_TEXT} characters")
        if name == "GrpHdr":
            self._message_id = _required(element, "MsgId")
        elif name == "Ntry" and _name(element.getparent()) == self.container:
            if self._head is None:
                self._head = self._begin(element.getparent())
                yield self._head
            yield self._entry(element)
            _forget(element)
        elif name == self.container:
            if self._head is None:
                self._head = self._begin(element)
                yield self._head
            yield self._end(element)
            _forget(element)

    def _begin(self, container: etree._Element) -> H:
        raise NotImplementedError

    def _currency(self) -> str:
        raise NotImplementedError

    def _end(self, element: etree._Element) -> Tail:
        tail = Tail(self._entries, self._booked)
        self.statements += 1
        self._head, self._entries, self._booked = None, 0, 0
        return tail

    def _entry(self, element: etree._Element) -> Entry:
        currency = self._currency()
        self._entries += 1
        amount = _signed(element, currency)
        status = _text(element, "Sts/Cd") or _text(element, "Sts") or ""
        is_booked = status.strip() == "BOOK"
        if is_booked:
            self._booked += amount
        return Entry(
            number=self._entries,
            amount_minor=amount,
            is_booked=is_booked,
            is_reversal=_text(element, "RvslInd") in ("true", "1"),
            booked_on=_day(element, "BookgDt"),
            value_on=_day(element, "ValDt"),
            servicer_reference=_text(element, "AcctSvcrRef"),
            bank_code=_bank_code(element),
            payments=_payments(element, amount, currency),
        )


class _Reader(_Base[Head]):
    """Reads statements, whose balances and entries add up."""

    container, versions, what = "Stmt", VERSIONS, "statement"

    def _begin(self, statement: etree._Element) -> Head:
        currency = _text(statement, "Acct/Ccy")
        balances = {_text(balance, "Tp/CdOrPrtry/Cd"): balance for balance in _children(statement, "Bal")}
        opening = next((balances[code] for code in _OPENING if code in balances), None)
        closing = next((balances[code] for code in _CLOSING if code in balances), None)
        if opening is None or closing is None:
            raise _wrong(statement, "a statement without opening and closing booked balances: is this a camt.053?")
        currency = currency or _find(opening, "Amt").get("Ccy") or ""
        opening_minor, opening_on = _balance(opening, currency)
        closing_minor, closing_on = _balance(closing, currency)
        account = _text(statement, "Acct/Id/IBAN") or _text(statement, "Acct/Id/Othr/Id")
        if account is None:
            raise _wrong(statement, "a statement without its account")
        return Head(
            message_id=self._message_id,
            statement_id=_required(statement, "Id"),
            account=account,
            currency=currency,
            sequence=_whole(statement, "ElctrncSeqNb"),
            legal_sequence=_whole(statement, "LglSeqNb"),
            created_at=_instant(statement, "CreDtTm"),
            opening_minor=opening_minor,
            opening_on=opening_on,
            closing_minor=closing_minor,
            closing_on=closing_on,
        )

    def _currency(self) -> str:
        assert self._head is not None
        return self._head.currency

    def _end(self, element: etree._Element) -> Tail:
        head = self._head
        assert head is not None
        if head.opening_minor + self._booked != head.closing_minor:
            raise _wrong(
                element,
                f"statement {head.statement_id}: opening {head.opening_minor} and entries {self._booked} do not make "
                f"the closing balance {head.closing_minor}",
            )
        return super()._end(element)


class _NoticeReader(_Base[NoticeHead]):
    """Reads notices, which have entries and no balances."""

    container, versions, what = "Ntfctn", NOTICES, "notice"

    def _begin(self, container: etree._Element) -> NoticeHead:
        account = _text(container, "Acct/Id/IBAN") or _text(container, "Acct/Id/Othr/Id")
        first = _maybe(container, "Ntry/Amt")
        currency = _text(container, "Acct/Ccy") or (first.get("Ccy") if first is not None else None)
        if account is None or currency is None:
            raise _wrong(container, "a notice without its account or currency")
        return NoticeHead(self._message_id, _required(container, "Id"), account, currency)

    def _currency(self) -> str:
        assert self._head is not None
        return self._head.currency


def _payments(entry: etree._Element, amount: int, currency: str) -> tuple[Payment, ...]:
    """The payments of an entry. One without an amount of its own is the entry; several must have theirs."""
    found = [tx for details in _children(entry, "NtryDtls") for tx in _children(details, "TxDtls")]
    if len(found) > MOST_DETAILS:
        raise _wrong(entry, f"more than {MOST_DETAILS} payments in one entry")
    if not found:
        return (Payment(amount, servicer_reference=_text(entry, "AcctSvcrRef"), text=_text(entry, "AddtlNtryInf")),)
    way = -1 if amount < 0 else 1
    amounts = [_payment_minor(tx, currency, way) for tx in found]
    if len(found) == 1 and amounts[0] is None:
        amounts = [amount]
    if any(one is None for one in amounts):
        raise _wrong(entry, "several payments in one entry, and not each with its amount")
    if sum(one for one in amounts if one is not None) != amount:
        raise _wrong(entry, "the payments of an entry do not sum to it")
    return tuple(_payment(tx, one) for tx, one in zip(found, amounts, strict=True) if one is not None)


def _payment_minor(tx: etree._Element, currency: str, way: int) -> int | None:
    """The amount of a payment in the account's currency, signed by its own indicator or by the entry's."""
    indicator = _text(tx, "CdtDbtInd")
    if indicator is not None:
        way = {"CRDT": 1, "DBIT": -1}.get(indicator, 0)
        if not way:
            raise _wrong(tx, "neither credit nor debit")
    for path in ("Amt", "AmtDtls/TxAmt/Amt", "AmtDtls/InstdAmt/Amt"):
        found = _maybe(tx, path)
        if found is not None and found.get("Ccy") == currency:
            return way * _minor(found, currency)
    return None


def _payment(tx: etree._Element, amount: int) -> Payment:
    other = "Dbtr" if amount > 0 else "Cdtr"
    texts = [e.text or "" for e in _children(_maybe(tx, "RmtInf"), "Ustrd")]
    return Payment(
        amount_minor=amount,
        end_to_end_id=_given(_text(tx, "Refs/EndToEndId")),
        creditor_reference=_text(tx, "RmtInf/Strd/CdtrRefInf/Ref"),
        text=" ".join(texts)[:LONGEST_TEXT] or None,
        party=_text(tx, f"RltdPties/{other}/Pty/Nm") or _text(tx, f"RltdPties/{other}/Nm"),
        party_account=_text(tx, f"RltdPties/{other}Acct/Id/IBAN"),
        servicer_reference=_text(tx, "Refs/AcctSvcrRef"),
        return_reason=_text(tx, "RtrInf/Rsn/Cd") or _text(tx, "RtrInf/Rsn/Prtry"),
    )


def _given(text: str | None) -> str | None:
    return None if text in (None, "", "NOTPROVIDED") else text


def _bank_code(entry: etree._Element) -> str | None:
    parts = [_text(entry, f"BkTxCd/Domn/{path}") for path in ("Cd", "Fmly/Cd", "Fmly/SubFmlyCd")]
    return "-".join(part for part in parts if part) or _text(entry, "BkTxCd/Prtry/Cd")


# --- Elements -------------------------------------------------------------------------------------------------


def _check_type(element: etree._Element) -> None:
    if element.getroottree().docinfo.doctype:
        raise BankFileInvalid("a document type is not allowed in a bank's file")


def _check_root(element: etree._Element, versions: tuple[str, ...], called: str) -> None:
    _check_type(element)
    namespace = etree.QName(element).namespace or ""
    version = namespace.rpartition(":")[2]
    if _name(element) != "Document" or version not in versions:
        what = version or _name(element)
        hint = (
            "; notices and reports of the day (camt.052, camt.054) have no closing balance"
            if "camt.05" in what and versions == VERSIONS
            else ""
        )
        raise BankFileInvalid(f"this is {what}, not a {called} of {' or '.join(versions)}{hint}")


def _balance(balance: etree._Element, currency: str) -> tuple[int, date]:
    on = _day(balance, "Dt")
    if on is None:
        raise _wrong(balance, "a balance without its date")
    return _signed(balance, currency), on


def _signed(element: etree._Element, currency: str) -> int:
    amount = _find(element, "Amt")
    if amount.get("Ccy") != currency:
        raise _wrong(amount, f"{amount.get('Ccy')} on an account in {currency}")
    way = {"CRDT": 1, "DBIT": -1}.get(_required(element, "CdtDbtInd"))
    if way is None:
        raise _wrong(element, "neither credit nor debit")
    return way * _minor(amount, currency)


def _minor(element: etree._Element, currency: str) -> int:
    try:
        amount = Decimal((element.text or "").strip())
        if not amount.is_finite() or amount < 0 or len(amount.as_tuple().digits) > 18:
            raise ValueError
        return minor_from_decimal(amount, currency)
    except (InvalidOperation, ValueError):
        raise _wrong(element, f"not an amount in {currency}") from None


def _day(element: etree._Element, path: str) -> date | None:
    text = _text(element, f"{path}/Dt") or _text(element, f"{path}/DtTm") or _text(element, path)
    return None if text is None else _read(element, lambda: date.fromisoformat(text[:10]), "a date")


def _instant(element: etree._Element, path: str) -> datetime | None:
    text = _text(element, path)
    if text is None:
        return None
    at = _read(element, lambda: datetime.fromisoformat(text), "an instant")
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _whole(element: etree._Element, path: str) -> int | None:
    text = _text(element, path)
    return None if text is None else _read(element, lambda: int(text[:18]), "a number")


def _read(element: etree._Element, convert: Callable[[], T], what: str) -> T:
    try:
        return convert()
    except (ValueError, OverflowError):
        raise _wrong(element, f"not {what}") from None


def _required(element: etree._Element, path: str) -> str:
    text = _text(element, path)
    if not text:
        raise _wrong(element, f"{path} is missing")
    return text


def _text(element: etree._Element, path: str) -> str | None:
    found = _maybe(element, path)
    return None if found is None or found.text is None else found.text.strip() or None


def _find(element: etree._Element, path: str) -> etree._Element:
    found = _maybe(element, path)
    if found is None:
        raise _wrong(element, f"{path} is missing")
    return found


def _maybe(element: etree._Element, path: str) -> etree._Element | None:
    namespace = etree.QName(element).namespace
    return element.find("/".join(f"{{{namespace}}}{step}" for step in path.split("/")))


def _children(element: etree._Element | None, name: str) -> list[etree._Element]:
    if element is None:
        return []
    return list(element.findall(f"{{{etree.QName(element).namespace}}}{name}"))


def _name(element: etree._Element | None) -> str:
    return "" if element is None or not isinstance(element.tag, str) else str(etree.QName(element).localname)


def _forget(element: etree._Element) -> None:
    """Let go of what was read, so that memory does not grow with the file."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None and _name(element.getprevious()) == _name(element):
        parent.remove(element.getprevious())


def _wrong(element: etree._Element, what: str) -> BankFileInvalid:
    return BankFileInvalid(f"line {element.sourceline}, {_name(element)}: {what}")


def _bounded(source: IO[bytes], most_bytes: int) -> Iterator[bytes]:
    size = 0
    while block := source.read(_BLOCK):
        size += len(block)
        if size > most_bytes:
            raise BankFileInvalid(f"the file is larger than {most_bytes:,} bytes")
        yield block
