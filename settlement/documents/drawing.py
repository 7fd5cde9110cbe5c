"""PURE: documents of what was supplied, from the lines of a statement. Netting nets payment, never these.

The operator supplies points and services to whoever pays for them: an invoice, and a credit note for what is given
back. A partner that honours points supplies the operator: the operator draws that invoice in its name (self-billed),
and its credit note. What each line is worth is what the statement shows, in minor units; tax comes on top.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from kit.amounts import BASIS, divide_half_even

INVOICE, CREDIT_NOTE = "INVOICE", "CREDIT_NOTE"
SELF_BILLED, SELF_BILLED_CREDIT = "SELF_BILLED", "SELF_BILLED_CREDIT"
SET_OFF = "SET_OFF"
LINE, DOCUMENT = "LINE", "DOCUMENT"

SERIES = {
    INVOICE: "INV", CREDIT_NOTE: "CRN", SELF_BILLED: "SBI", SELF_BILLED_CREDIT: "SBC", SET_OFF: "OFF",
}  # fmt: skip
CORRECTS = {
    INVOICE: CREDIT_NOTE,
    SELF_BILLED: SELF_BILLED_CREDIT,
    CREDIT_NOTE: INVOICE,
    SELF_BILLED_CREDIT: SELF_BILLED,
}
"""With which kind a document is taken back."""

# Whose supply a line of a statement is about. What is not here is no supply: payment, carrying over, retention, tax.
_PARTNERS_SUPPLY = frozenset({
    "REDEMPTION", "REFUND", "BENEFIT", "SUBSCRIPTION_SHARE", "DISCOUNT", "COUPON", "EXPIRY",
})  # fmt: skip
_NO_SUPPLY = frozenset({
    "ROUNDING", "CARRIED_OUT", "HOLDBACK", "HOLDBACK_RELEASED", "HOLDBACK_USED", "DEPOSIT_USED", "DEFAULT_LOSS",
    "OUTPUT_TAX", "INPUT_TAX", "DISPUTE_WITHHELD", "DISPUTE_UPHELD", "STORED_LOAD", "STORED_SPEND",
    "RECEIPT_CREDITED",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class TaxRule:
    """A version of a rule: rate in basis points, rounded half-even per LINE or once per DOCUMENT."""

    code: str
    version: int
    rate_bp: int
    rounding: str
    tax_code: str


NO_TAX = TaxRule("NONE", 1, 0, LINE, "outside the scope of tax")


@dataclass(frozen=True, slots=True)
class Supply:
    """One line of a statement, as a document needs it: minor units, positive where the partner receives."""

    kind: str
    terms_id: int | None
    points: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class DocumentLine:
    """A line of a document. base_minor > 0; tax_minor is None where tax is rounded over the whole document."""

    kind: str
    terms_id: int | None
    points: int
    base_minor: int
    tax_minor: int | None


@dataclass(frozen=True, slots=True)
class DocumentDraft:
    """A document before it has a number. entity is in whose name it is: `operator` or `partner:17`."""

    kind: str
    entity: str
    rule: TaxRule
    lines: tuple[DocumentLine, ...]
    base_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        """Base and tax, minor units."""
        return self.base_minor + self.tax_minor

    @property
    def way(self) -> int:
        """1 where the partner is owed the amount, -1 where it owes it."""
        return 1 if self.kind in (SELF_BILLED, CREDIT_NOTE) else -1


@dataclass(frozen=True, slots=True)
class SetOff:
    """An act of set-off: what both sides claim by the documents of a run, and how much of it meets. Minor units.

    operators_minor is what the operator claims of the partner, partners_minor the other way round; both fall by
    met_minor, and at most one of them is left.
    """

    operators_minor: int
    partners_minor: int

    @property
    def met_minor(self) -> int:
        """How much both sides' claims fall by."""
        return min(self.operators_minor, self.partners_minor)

    @property
    def left_minor(self) -> int:
        """What is left: positive to the partner, negative from it."""
        return self.partners_minor - self.operators_minor


def draw(partner_id: int, supplies: Iterable[Supply], rule: TaxRule) -> list[DocumentDraft]:
    """The documents of one partner's statement, by kind; a kind without a line is not drawn."""
    found: dict[str, list[Supply]] = defaultdict(list)
    for supply in supplies:
        if supply.amount_minor and supply.kind not in _NO_SUPPLY:
            found[kind_of(supply)].append(supply)
    return [_draft(kind, partner_id, found[kind], rule) for kind in SERIES if kind in found]


def kind_of(supply: Supply) -> str:
    """The kind of document that a line of a statement stands on."""
    if supply.kind in _PARTNERS_SUPPLY:
        return SELF_BILLED if supply.amount_minor > 0 else SELF_BILLED_CREDIT
    return INVOICE if supply.amount_minor < 0 else CREDIT_NOTE


def tax_lines(documents: Iterable[DocumentDraft]) -> tuple[int, int]:
    """Tax on the operator's documents and on the self-billed ones, minor units, positive where the partner receives."""
    sums = {True: 0, False: 0}
    for document in documents:
        sums[document.kind in (INVOICE, CREDIT_NOTE)] += document.way * document.tax_minor
    return sums[True], sums[False]


def tax_minor(base_minor: int, rate_bp: int) -> int:
    """Tax on a base, minor units, half-even."""
    return divide_half_even(base_minor * rate_bp, BASIS)


def set_off(documents: Iterable[DocumentDraft]) -> SetOff:
    """What both sides claim by their documents."""
    operators = partners = 0
    for document in documents:
        if document.way > 0:
            partners += document.gross_minor
        else:
            operators += document.gross_minor
    return SetOff(operators, partners)


def taken_back(document: DocumentDraft) -> DocumentDraft:
    """The document that takes another back whole."""
    return DocumentDraft(
        CORRECTS[document.kind], document.entity, document.rule, document.lines, document.base_minor, document.tax_minor
    )


def content_hash(document: DocumentDraft | SetOff, *, number: str, partner_id: int, currency: str) -> bytes:
    """SHA-256 over a document's canonical form with its number."""
    content = {"number": number, "partner": partner_id, "currency": currency, **asdict(document)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).digest()


def number_of(series: str, number: int) -> str:
    """A document's number as people read it: `INV-000017`."""
    return f"{series}-{number:06d}"


def _draft(kind: str, partner_id: int, supplies: Sequence[Supply], rule: TaxRule) -> DocumentDraft:
    entity = f"partner:{partner_id}" if kind in (SELF_BILLED, SELF_BILLED_CREDIT) else "operator"
    by_line = rule.rounding == LINE
    lines = tuple(
        DocumentLine(s.kind, s.terms_id, s.points, base, tax_minor(base, rule.rate_bp) if by_line else None)
        for s in supplies
        for base in [abs(s.amount_minor)]
    )
    base = sum(line.base_minor for line in lines)
    tax = sum(line.tax_minor or 0 for line in lines) if by_line else tax_minor(base, rule.rate_bp)
    return DocumentDraft(kind, entity, rule, lines, base, tax)
