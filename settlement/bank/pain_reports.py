"""PURE: what a bank says of a payment file, pain.002 in its common versions: which file, and which of its payments.

Bounded and without entities or document types, as every file of a bank. Codes are ISO 20022's: RJCT is a rejection,
PDNG and RCVD say nothing yet, everything else is that the bank took it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

from lxml import etree

from settlement.bank.camt import BankFileInvalid

VERSIONS = ("pain.002.001.03", "pain.002.001.10", "pain.002.001.12")
MOST_BYTES = 16 * 1024 * 1024
MOST_PAYMENTS = 100_000
REJECTED, UNSAID = "RJCT", ("PDNG", "RCVD")
_LONGEST = 140


@dataclass(frozen=True, slots=True)
class PaymentStatus:
    """What the bank says of one payment: its end-to-end id, a status of four letters, and why, where it says."""

    end_to_end_id: str
    status: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentReport:
    """A report: its own id, the message it is about, and statuses: of payments, and of all that are not named, where it
    has one. That is what it says of the file's payments together, else what it says of the message."""

    report_id: str
    message_id: str
    status: str | None
    reason: str | None
    payments: tuple[PaymentStatus, ...]


def read(source: IO[bytes], *, most_bytes: int = MOST_BYTES) -> PaymentReport:
    """A report. Rejects BANK_FILE_INVALID."""
    content = source.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise BankFileInvalid(f"the file is larger than {most_bytes:,} bytes")
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except (etree.XMLSyntaxError, ValueError) as wrong:
        raise BankFileInvalid("this is not well-formed XML") from wrong
    namespace = etree.QName(root).namespace or ""
    version = namespace.rpartition(":")[2]
    if root.getroottree().docinfo.doctype or etree.QName(root).localname != "Document" or version not in VERSIONS:
        raise BankFileInvalid(f"this is no report on payments of {' or '.join(VERSIONS)}")
    report = root.find(f"{{{namespace}}}CstmrPmtStsRpt")
    if report is None:
        raise BankFileInvalid("a report on payments without a report")
    return _report(report)


def _report(report: etree._Element) -> PaymentReport:
    whole = _children(report, "OrgnlGrpInfAndSts")
    if len(whole) != 1:
        raise BankFileInvalid("a report is about one message")
    found: dict[str, PaymentStatus] = {}
    for part in _children(report, "OrgnlPmtInfAndSts"):
        part_status, part_reason = _status(part, "PmtInfSts"), _reason(part)
        for one in _children(part, "TxInfAndSts"):
            end_to_end_id, status = _text(one, "OrgnlEndToEndId"), _status(one, "TxSts") or part_status
            if end_to_end_id is None or status is None:
                raise BankFileInvalid(f"line {one.sourceline}: a payment without its id or status")
            if end_to_end_id in found:
                raise BankFileInvalid(f"line {one.sourceline}: payment {end_to_end_id} is told of twice")
            found[end_to_end_id] = PaymentStatus(end_to_end_id, status, _reason(one) or part_reason)
            if len(found) > MOST_PAYMENTS:
                raise BankFileInvalid(f"more than {MOST_PAYMENTS:,} payments in one report")
    parts = {_status(part, "PmtInfSts"): _reason(part) for part in _children(report, "OrgnlPmtInfAndSts")}
    status, reason = _status(whole[0], "GrpSts"), _reason(whole[0])
    if len(parts) == 1 and None not in parts:  # a file of ours is one part: its word is the nearer one
        ((status, of_part),) = parts.items()
        reason = of_part or reason
    return PaymentReport(
        _required(report, "GrpHdr/MsgId"), _required(whole[0], "OrgnlMsgId"), status, reason, tuple(found.values())
    )


def _status(element: etree._Element, path: str) -> str | None:
    text = _text(element, path)
    if text is not None and not (len(text) == 4 and text.isascii() and text.isalpha() and text.isupper()):
        raise BankFileInvalid(f"line {element.sourceline}: {path} is a code of four letters")
    return text


def _reason(element: etree._Element) -> str | None:
    return _text(element, "StsRsnInf/Rsn/Cd") or _text(element, "StsRsnInf/Rsn/Prtry")


def _required(element: etree._Element, path: str) -> str:
    text = _text(element, path)
    if text is None:
        raise BankFileInvalid(f"line {element.sourceline}: {path} is missing")
    return text


def _text(element: etree._Element, path: str) -> str | None:
    namespace = etree.QName(element).namespace
    found = element.find("/".join(f"{{{namespace}}}{step}" for step in path.split("/")))
    return None if found is None or found.text is None else found.text.strip()[:_LONGEST] or None


def _children(element: etree._Element, name: str) -> list[etree._Element]:
    return list(element.findall(f"{{{etree.QName(element).namespace}}}{name}"))
