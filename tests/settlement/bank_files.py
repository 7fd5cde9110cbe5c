"""What a bank sends, written for tests: statements (camt.053.001.08) that add up."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

OWN = "DE89370400440532013000"


@dataclass(frozen=True)
class Paid:
    """A payment of a statement: minor units, in above zero, and what it says of itself."""

    minor: int
    end_to_end_id: str | None = None
    reference: str | None = None
    text: str | None = None
    account: str | None = None
    code: str = "PMNT-RCDT-ESCT"
    is_reversal: bool = False


@dataclass
class Bank:
    """A bank that numbers its statements and knows where it stands."""

    balance: int = 0
    number: int = 0
    iban: str = OWN
    currency: str = "EUR"
    written: list[bytes] = field(default_factory=list)

    def statement(self, *paid: Paid, batch: bool = False) -> bytes:
        """The next statement: an entry for each payment, or one for all of them."""
        self.number += 1
        opening = self.balance
        self.balance += sum(one.minor for one in paid)
        entries = [paid] if batch else [(one,) for one in paid]
        made = statement(
            [self._entry(list(some)) for some in entries if some], number=self.number, opening=opening,
            closing=self.balance, iban=self.iban, currency=self.currency,
        )  # fmt: skip
        self.written.append(made)
        return made

    def _entry(self, paid: list[Paid]) -> str:
        total = sum(one.minor for one in paid)
        details = "".join(_details(one, self.currency) for one in paid)
        domain, family, sub = paid[0].code.split("-")
        reversal = "<RvslInd>true</RvslInd>" if paid[0].is_reversal else ""
        return (f"<Ntry>{_amount(total, self.currency)}{reversal}<Sts><Cd>BOOK</Cd></Sts>"
                f"<BookgDt><Dt>2026-04-03</Dt></BookgDt><BkTxCd><Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd>"
                f"<SubFmlyCd>{sub}</SubFmlyCd></Fmly></Domn></BkTxCd><NtryDtls>{details}</NtryDtls></Ntry>")  # fmt: skip


def statement(
    entries: list[str], *, number: int, opening: int, closing: int, iban: str = OWN, currency: str = "EUR"
) -> bytes:
    """A statement with these entries, whether or not it adds up."""
    balances = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_amount(minor, currency)}<Dt><Dt>2026-04-03</Dt></Dt></Bal>"
        for code, minor in (("OPBD", opening), ("CLBD", closing))
    )
    return ("<?xml version='1.0'?><Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.053.001.08'><BkToCstmrStmt>"
            f"<GrpHdr><MsgId>M{number}</MsgId></GrpHdr><Stmt><Id>ST{number}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb>"
            f"<Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>{currency}</Ccy></Acct>{balances}{''.join(entries)}"
            "</Stmt></BkToCstmrStmt></Document>").encode()  # fmt: skip


def _amount(minor: int, currency: str) -> str:
    way = "CRDT" if minor >= 0 else "DBIT"
    return f"<Amt Ccy='{currency}'>{Decimal(abs(minor)).scaleb(-2)}</Amt><CdtDbtInd>{way}</CdtDbtInd>"


def _details(one: Paid, currency: str) -> str:
    refs = f"<Refs><EndToEndId>{one.end_to_end_id or 'NOTPROVIDED'}</EndToEndId></Refs>"
    role = "Dbtr" if one.minor > 0 else "Cdtr"
    party = (
        f"<RltdPties><{role}Acct><Id><IBAN>{one.account}</IBAN></Id></{role}Acct></RltdPties>" if one.account else ""
    )
    text = f"<Ustrd>{one.text}</Ustrd>" if one.text else ""
    reference = f"<Strd><CdtrRefInf><Ref>{one.reference}</Ref></CdtrRefInf></Strd>" if one.reference else ""
    return f"<TxDtls>{refs}{_amount(one.minor, currency)}{party}<RmtInf>{text}{reference}</RmtInf></TxDtls>"


def notice(entries: list[str], *, number: int = 1, iban: str = OWN, currency: str = "EUR") -> bytes:
    """A notice (camt.054.001.08) of these entries: like a statement, without a balance."""
    return ("<?xml version='1.0'?><Document xmlns='urn:iso:std:iso:20022:tech:xsd:camt.054.001.08'>"
            f"<BkToCstmrDbtCdtNtfctn><GrpHdr><MsgId>N{number}</MsgId></GrpHdr><Ntfctn><Id>NT{number}</Id>"
            f"<Acct><Id><IBAN>{iban}</IBAN></Id><Ccy>{currency}</Ccy></Acct>{''.join(entries)}"
            "</Ntfctn></BkToCstmrDbtCdtNtfctn></Document>").encode()  # fmt: skip


def entry(paid: list[Paid], *, reference: str, bare: bool = False, currency: str = "EUR") -> str:
    """An entry with the bank's own number; a bare one says nothing of the payments that it is made of."""
    total = sum(one.minor for one in paid)
    details = "" if bare else f"<NtryDtls>{''.join(_details(one, currency) for one in paid)}</NtryDtls>"
    return (f"<Ntry>{_amount(total, currency)}<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>2026-04-03</Dt></BookgDt>"
            f"<AcctSvcrRef>{reference}</AcctSvcrRef>{details}</Ntry>")  # fmt: skip


def report(
    message_id: str, payments: dict[str, str], *, number: int = 1, status: str | None = None, reason: str = "AC04"
) -> bytes:
    """What a bank says of a payment file (pain.002.001.10): statuses by end-to-end id, and of the whole."""
    said = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{one}</OrgnlEndToEndId><TxSts>{code}</TxSts>"
        + (f"<StsRsnInf><Rsn><Cd>{reason}</Cd></Rsn></StsRsnInf>" if code == "RJCT" else "")
        + "</TxInfAndSts>"
        for one, code in payments.items()
    )
    whole = f"<GrpSts>{status}</GrpSts>" if status else ""
    part = f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{message_id}</OrgnlPmtInfId>{said}</OrgnlPmtInfAndSts>" if said else ""
    return ("<?xml version='1.0'?><Document xmlns='urn:iso:std:iso:20022:tech:xsd:pain.002.001.10'><CstmrPmtStsRpt>"
            f"<GrpHdr><MsgId>P{number}</MsgId></GrpHdr><OrgnlGrpInfAndSts><OrgnlMsgId>{message_id}</OrgnlMsgId>"
            f"<OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>{whole}</OrgnlGrpInfAndSts>{part}"
            "</CstmrPmtStsRpt></Document>").encode()  # fmt: skip
