"""The bank's files: what we write is what their schema wants, what we read adds up or is refused."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import sepaxml
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from settlement.bank import accounts, camt, orders
from settlement.bank.accounts import BankAccountInvalid
from settlement.bank.camt import BankFileInvalid, Entry, Head, Tail
from settlement.bank.orders import Leg, Mandate, Order

SCHEMAS = Path(sepaxml.__file__).parent / "schemas"
OWN = accounts.account("Tessera Operator", "DE89 3704 0044 0532 0130 00", "COBADEFFXXX")
CAFE = accounts.account("Кофейня «Ștefan & Co»", "MD24AG000225100013104168")
BAKERY = accounts.account("Boulangerie d'été", "FR1420041010050500013M02606")
AT = datetime(2026, 4, 3, 8, 30, 15, 123, tzinfo=UTC)


def order(**changes: object) -> Order:
    legs = (
        Leg("RUN3-CAFE", CAFE, 123_456, accounts.creditor_reference("3CAFE"), Mandate("M-1", date(2026, 1, 2))),
        Leg("RUN3-BAKERY", BAKERY, 1, accounts.creditor_reference("3BAKERY"), Mandate("M-2", date(2026, 1, 3))),
    )
    values = {"message_id": "RUN3-EUR-OUT", "own": OWN, "currency": "EUR", "execute_on": date(2026, 4, 7),
              "created_at": AT, "legs": legs, "creditor_id": "DE98ZZZ09999999999"}  # fmt: skip
    return Order(**(values | changes))  # type: ignore[arg-type]


def validate(content: bytes, schema: str) -> None:
    etree.XMLSchema(etree.parse(SCHEMAS / f"{schema}.xsd")).assertValid(etree.fromstring(content))


@pytest.mark.parametrize(
    ("write", "schema"), [(orders.pay_out, "pain.001.001.09"), (orders.collect, "pain.008.001.08")]
)
@pytest.mark.parametrize("currency", ["EUR", "MDL", "JPY"])
def test_what_is_written_is_valid_against_the_banks_schema(write, schema, currency):
    content = write(order(currency=currency))
    validate(content, schema)
    assert content == write(order(currency=currency))


def test_the_control_sum_and_the_count_are_those_of_the_legs():
    root = etree.fromstring(orders.pay_out(order()))
    assert [e.text for e in root.iter("{*}CtrlSum")] == ["1234.57", "1234.57"]
    assert [e.text for e in root.iter("{*}NbOfTxs")] == ["2", "2"]
    assert [e.text for e in root.iter("{*}InstdAmt")] == ["1234.56", "0.01"]


def test_an_outside_writer_says_the_same_amounts_references_and_accounts():
    theirs = sepaxml.SepaTransfer(
        {"name": "Tessera Operator", "IBAN": OWN.iban, "BIC": OWN.bic, "batch": True, "currency": "EUR"},
        schema="pain.001.001.09", clean=True,
    )  # fmt: skip
    for leg in order().legs:
        theirs.add_payment({
            "name": orders.latin(leg.party.holder, 70), "IBAN": leg.party.iban, "amount": leg.amount_minor,
            "execution_date": date(2026, 4, 7), "description": leg.reference, "endtoend_id": leg.end_to_end_id,
        })  # fmt: skip

    def said(content: bytes) -> list[tuple[str | None, ...]]:
        root = etree.fromstring(content)
        return [
            tuple(item.findtext(f".//{{*}}{name}") for name in ("EndToEndId", "InstdAmt", "IBAN", "Nm"))
            for item in root.iter("{*}CdtTrfTxInf")
        ]

    assert said(theirs.export()) == said(orders.pay_out(order()))


def test_names_are_spelt_with_what_banks_take():
    assert orders.latin("Кофейня «Ștefan & Co»", 70) == "Kofeynya Stefan Co"
    assert orders.latin("Щука Ёж", 4) == "Shch"
    assert orders.latin("漢字", 70) == "NOTPROVIDED"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"legs": ()}, "at least one leg"),
        ({"message_id": "x" * 36}, "not an id"),
        ({"message_id": "a//b"}, "not an id"),
        ({"legs": order().legs[:1] * 2}, "same end-to-end id"),
        ({"legs": (Leg("A", CAFE, 0, "RF18539007547034"),)}, "above zero"),
    ],
)
def test_what_no_bank_would_take_is_not_written(changes, why):
    with pytest.raises(ValueError, match=why):
        orders.pay_out(order(**changes))


def test_a_collection_without_a_mandate_is_not_written():
    with pytest.raises(ValueError, match="mandate"):
        orders.collect(order(legs=(Leg("A", CAFE, 1, "RF18539007547034"),)))


def test_an_account_number_is_checked_and_never_shown_whole():
    assert CAFE.masked == "MD24…4168"
    assert "AG0002" not in repr(CAFE)
    for wrong in ("DE89370400440532013001", "DE00", "XX89370400440532013000", ""):
        with pytest.raises(BankAccountInvalid):
            accounts.account("A", wrong)
    with pytest.raises(BankAccountInvalid) as no:
        accounts.account(" ", "DE89370400440532013000", "COBA")
    assert [problem.path for problem in no.value.problems] == [("holder",), ("bic",)]


@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=1, max_size=21), st.data())
def test_a_creditor_reference_reads_back_and_one_wrong_character_is_seen(text, data):
    made = accounts.creditor_reference(text)
    assert accounts.read_creditor_reference(made) == text
    place = data.draw(st.integers(4, len(made) - 1))
    other = data.draw(st.sampled_from([c for c in "0123456789" if c != made[place]]))
    if made[place].isdigit():
        assert accounts.read_creditor_reference(made[:place] + other + made[place + 1 :]) is None


def test_the_published_example_of_a_creditor_reference_holds():
    """ISO 11649 is quoted everywhere with RF18 5390 0754 7034."""
    assert accounts.creditor_reference("539007547034") == "RF18539007547034"
    assert accounts.read_creditor_reference("RF18 5390 0754 7034") == "539007547034"


# --- Statements -----------------------------------------------------------------------------------------------


def balance(code: str, amount: str, way: str = "CRDT") -> str:
    return (f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy='EUR'>{amount}</Amt>"
            f"<CdtDbtInd>{way}</CdtDbtInd><Dt><Dt>2026-04-03</Dt></Dt></Bal>")  # fmt: skip


def entry(amount: str, way: str = "CRDT", *, status: str = "<Sts>BOOK</Sts>", details: str = "", more: str = "") -> str:
    return (f"<Ntry><Amt Ccy='EUR'>{amount}</Amt><CdtDbtInd>{way}</CdtDbtInd>{more}{status}"
            f"<BookgDt><Dt>2026-04-03</Dt></BookgDt><ValDt><DtTm>2026-04-03T12:00:00</DtTm></ValDt>"
            f"<AcctSvcrRef>S1</AcctSvcrRef><NtryDtls>{details}</NtryDtls></Ntry>")  # fmt: skip


def payment(amount: str | None, end_to_end: str, *, reference: str = "", way: str = "") -> str:
    value = f"<Amt Ccy='EUR'>{amount}</Amt>" if amount else ""
    return (f"<TxDtls><Refs><EndToEndId>{end_to_end}</EndToEndId></Refs>{value}{way}<RmtInf><Strd><CdtrRefInf>"
            f"<Ref>{reference}</Ref></CdtrRefInf></Strd></RmtInf></TxDtls>")  # fmt: skip


def file(*entries: str, opening: str = "100.00", closing: str = "100.00", version: str = "camt.053.001.08",
         prolog: str = "", first: str = "OPBD") -> bytes:  # fmt: skip
    return (f"<?xml version='1.0'?>{prolog}<Document xmlns='urn:iso:std:iso:20022:tech:xsd:{version}'><BkToCstmrStmt>"
            "<GrpHdr><MsgId>MSG1</MsgId></GrpHdr><Stmt><Id>ST1</Id><ElctrncSeqNb>14</ElctrncSeqNb>"
            "<CreDtTm>2026-04-03T20:00:00+02:00</CreDtTm><Acct><Id><IBAN>DE89370400440532013000</IBAN></Id>"
            f"<Ccy>EUR</Ccy></Acct>{balance(first, opening)}{balance('CLBD', closing)}{''.join(entries)}"
            "</Stmt></BkToCstmrStmt></Document>").encode()  # fmt: skip


def read(content: bytes) -> list[Head | Entry | Tail]:
    return list(camt.read(io.BytesIO(content)))


@pytest.mark.parametrize("version", camt.VERSIONS)
def test_both_common_versions_are_read(version):
    status = "<Sts>BOOK</Sts>" if version.endswith("02") else "<Sts><Cd>BOOK</Cd></Sts>"
    head, one, two, tail = read(
        file(entry("10.50", status=status, details=payment(None, "RUN3-CAFE", reference="RF18539007547034")),
             entry("0.50", "DBIT", status=status), closing="110.00", version=version)
    )  # fmt: skip
    assert (head.opening_minor, head.closing_minor, head.sequence, head.currency) == (10_000, 11_000, 14, "EUR")
    assert head.created_at == datetime(2026, 4, 3, 18, tzinfo=UTC)
    assert (one.amount_minor, one.payments[0].end_to_end_id) == (1050, "RUN3-CAFE")
    assert one.payments[0].creditor_reference == "RF18539007547034"
    assert (two.amount_minor, two.value_on) == (-50, date(2026, 4, 3))
    assert tail == Tail(2, 1000)


def test_a_batch_is_its_payments_and_never_the_entry_once_per_payment():
    """OCA bank-statement-import issue 157: each payment of a batch carried the total of its entry."""
    batch = entry("30.00", details=payment("10.00", "A") + payment("20.00", "B"))
    _, found, tail = read(file(batch, closing="130.00"))
    assert [one.amount_minor for one in found.payments] == [1000, 2000]
    assert tail.booked_minor == 3000
    with pytest.raises(BankFileInvalid, match="do not sum to it"):
        read(file(entry("30.00", details=payment("30.00", "A") + payment("30.00", "B")), closing="130.00"))
    with pytest.raises(BankFileInvalid, match="not each with its amount"):
        read(file(entry("30.00", details=payment("30.00", "A") + payment(None, "B")), closing="130.00"))


@pytest.mark.parametrize("kind", ["camt.054.001.08", "camt.052.001.08", "pain.001.001.09"])
def test_a_notice_is_not_taken_for_a_statement(kind):
    """OCA bank-statement-import issue 106: a camt.054 was imported as a statement with balances of zero."""
    with pytest.raises(BankFileInvalid, match=f"this is {kind}, not a statement"):
        read(file(version=kind))


def test_what_is_only_announced_does_not_count_and_reversals_are_seen():
    pending = entry("5.00", status="<Sts>PDNG</Sts>")
    back = entry("5.00", "DBIT", more="<RvslInd>true</RvslInd>")
    _, one, two, tail = read(file(pending, back, closing="95.00"))
    assert (one.is_booked, two.is_booked, two.is_reversal) == (False, True, True)
    assert tail.booked_minor == -500


def test_an_older_file_opens_with_the_previous_closing_balance():
    assert read(file(first="PRCD"))[-1] == Tail(0, 0)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (file(entry("1.00")), "do not make"),
        (file(entry("1.001"), closing="101.00"), "not an amount"),
        (file(entry("-1.00"), closing="99.00"), "not an amount"),
        (file(entry("1.00", "BOTH"), closing="101.00"), "neither credit nor debit"),
        (file(entry("1.00"), closing="101.00").replace(b"Ccy='EUR'>1.00", b"Ccy='USD'>1.00"), "on an account in EUR"),
        (file(first="ITBD"), "without opening and closing"),
        (file()[:-20], "not well-formed"),
        (b"", "not well-formed|no statement"),
        (b"<html/>", "this is html"),
        (file(prolog="<!DOCTYPE x [<!ENTITY a 'b'>]>"), "document type"),
        (file(prolog="<!DOCTYPE x SYSTEM 'file:///etc/passwd'>"), "document type"),
        (file(entry("1.00", details=payment(None, "x" * 3000)), closing="101.00"), "more than 2000 characters"),
    ],
)
def test_what_does_not_add_up_or_is_no_statement_is_refused_with_where(content, why):
    with pytest.raises(BankFileInvalid, match=why):
        read(content)


def test_a_bomb_of_entities_is_refused_before_it_grows():
    bomb = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10 if n else 'lol'}'>" for n in range(10))
    with pytest.raises(BankFileInvalid):
        read(file(entry("1.00", details=payment(None, "&e9;")), prolog=f"<!DOCTYPE Document [{bomb}]>"))


class Endless(io.RawIOBase):
    """A statement of a given number of entries that exists nowhere whole."""

    def __init__(self, entries: int) -> None:
        whole = file(closing=f"{100 + entries}.00")
        cut = whole.index(b"</Stmt>")
        self._parts: Iterator[bytes] = iter(
            [whole[:cut], *([entry("1.00").encode() * 100] * (entries // 100)), whole[cut:]]
        )

    def read(self, size: int = -1) -> bytes:
        return next(self._parts, b"")


def test_memory_does_not_grow_with_the_file():
    def peak(entries: int) -> int:
        tracemalloc.start()
        tail = [event for event in camt.read(Endless(entries)) if isinstance(event, Tail)]
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert tail == [Tail(entries, entries * 100)]
        return most

    assert peak(2_000) < 2 * peak(300)


def test_a_file_larger_than_allowed_is_not_read_to_its_end():
    source = Endless(1_000_000)
    with pytest.raises(BankFileInvalid, match="larger than"):
        list(camt.read(source, most_bytes=1_000_000))
    assert source.read() != b""


@given(st.data())
@settings(max_examples=200)
def test_whatever_is_broken_in_a_file_is_refused_or_read_and_never_anything_else(data):
    content = bytearray(file(entry("30.00", details=payment("10.00", "A") + payment("20.00", "B")), closing="130.00"))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        tails = [event for event in read(bytes(content)) if isinstance(event, Tail)]
    except BankFileInvalid:
        return
    assert tails
