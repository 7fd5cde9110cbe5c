"""PURE: statements. Rated lines to what each party reads and pays, to the minor unit; and the files of them.

Every movement is a line and the lines sum to the net, in micro-units and in the minor units shown. Each line is
rounded half-even by itself; what that loses or gains is a line too, so a net is always whole minor units.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from kit import amounts
from partners.terms import Terms
from settlement import charges, netting, rating
from settlement.charges import NOTHING, Brought
from settlement.documents import drawing
from settlement.documents.drawing import Supply
from settlement.netting import Instruction, Position
from settlement.rating import OPERATOR, ClearingGroup, RatedLine

ROUNDING = charges.ROUNDING

STATEMENT_HEADER = (
    "statement", "partner", "currency", "line", "kind", "agreement", "points", "postings",
    "unit_price", "amount_exact", "amount",
)  # fmt: skip
DETAIL_HEADER = (
    "statement", "cutoff", "kind", "at", "business_date", "outlet", "reference", "member", "points", "currency",
    "unit_price", "amount_exact",
)  # fmt: skip


class Imbalance(Exception):  # noqa: N818 - it is the state of the run
    """The operator's own lines are not the other side of the partners'. A fault of the programme: nothing is issued."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a statement. Amounts are what the party receives (positive) or pays (negative)."""

    line_no: int
    kind: str
    terms_id: int | None
    points: int
    postings: int
    unit_price_micro: int
    amount_micro: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Draft:
    """A statement before it has a number: party 0 is the operator. net = opening + lines, in both units."""

    party_id: int
    currency: str
    opening_micro: int
    opening_minor: int
    net_micro: int
    net_minor: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a posting stands in the ledger: its holder's entry; and the entry of the receipt that tells why."""

    holder_id: int
    seq: int
    receipt_holder_id: int | None
    receipt_seq: int | None


@dataclass(frozen=True, slots=True)
class Detail:
    """One posting behind a line, as the partner that pays or is paid for it may see it.

    reference, outlet and business_date are those of the partner's own receipt, None where the points moved without
    one of its own. member is the partner's own opaque id of the card holder. terms_id is the version that priced it.
    source is for the programme's own staff, and None for what no posting is behind.
    """

    cutoff_id: int
    kind: str
    at: datetime
    business_date: date | None
    outlet: str | None
    reference: str | None
    member: str
    points: int
    unit_price_micro: int
    amount_micro: int
    terms_id: int = 0
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Sides:
    """Rated lines of one run: the partners', the operator's own for the same events, found without them, and the
    partners' for money that moved without points."""

    partners: Sequence[RatedLine]
    operator: Sequence[RatedLine]
    charged: Sequence[RatedLine] = ()

    def in_currency(self, currency: str) -> Sides:
        """The lines in one currency."""
        return Sides(
            *([n for n in side if n.currency == currency] for side in (self.partners, self.operator, self.charged))
        )


def draw(groups: Sequence[ClearingGroup], terms: Mapping[int, Terms]) -> list[Draft]:
    """The statements of clearing groups in every currency, of partners that bring nothing. Raises as `settle`."""
    sides = Sides(rating.rate(groups, terms), rating.rate_operator(groups, terms))
    currencies = sorted({line.currency for side in (sides.partners, sides.operator) for line in side})
    return [draft for currency in currencies for draft in settle(sides, currency, {})]


def settle(sides: Sides, currency: str, brought: Mapping[int, Brought]) -> list[Draft]:
    """The statements of a run in one currency: the operator's and every partner's that has a line or brings something.

    The operator's rated lines are found on their own, the rest are the other side of the partners'; its net is the
    other side of all of theirs. Raises Imbalance where they do not meet.
    """
    own = sides.in_currency(currency)
    rated, charged = _by_party(own.partners), _by_party(own.charged)
    parties = set(rated) | set(charged) | {party for party, one in brought.items() if not one.is_nothing}
    partners = [
        _partners(party, currency, [*rated.get(party, ()), *charged.get(party, ())], brought.get(party, NOTHING))
        for party in sorted(parties)
    ]
    if not partners and not own.operator:
        return []
    return [_operator(currency, own, partners), *partners]


def payments(drafts: Iterable[Draft], gross: Collection[int]) -> list[Instruction]:
    """The payments that statements leave to be made: one per partner; of those that are not netted one each way."""
    netted, apart = [], []
    for draft in drafts:
        if draft.party_id in gross:
            amounts_minor = [draft.opening_minor, *(line.amount_minor for line in draft.lines)]
            apart += netting.gross(draft.party_id, draft.currency, amounts_minor)
        else:
            netted.append(Position(draft.party_id, draft.currency, draft.net_minor))
    found = netting.instructions(netted) + apart
    return sorted(found, key=lambda p: (p.currency, p.partner_id, p.direction))


def content(draft: Draft, windows: Sequence[str]) -> bytes:
    """A statement's canonical form: JSON with sorted keys and no space, of what is in it and nothing that is handed out
    by a database."""
    said = {"windows": list(windows), **asdict(draft)}
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def content_hash(draft: Draft, windows: Sequence[str]) -> bytes:
    """SHA-256 over a statement's canonical form."""
    return hashlib.sha256(content(draft, windows)).digest()


def _by_party(lines: Iterable[RatedLine]) -> dict[int, list[RatedLine]]:
    found: dict[int, list[RatedLine]] = defaultdict(list)
    for line in lines:
        found[line.party_id].append(line)
    return found


def _partners(party_id: int, currency: str, rated: Sequence[RatedLine], brought: Brought) -> Draft:
    lines = [_line(line) for line in rated]
    lines += _taxes(party_id, currency, lines, brought)
    exact = sum(line.amount_micro for line in lines)
    minor = amounts.minor_from_micro(exact, currency)
    lines += _rounding(lines, minor, currency)
    lines += [_in_minor(kind, amount, currency) for kind, amount in charges.retained(minor, brought)]
    return _draft(party_id, currency, lines, brought.opening_minor)


def _taxes(party_id: int, currency: str, lines: Sequence[Line], brought: Brought) -> list[Line]:
    supplies = drawing.draw(party_id, (supply(line) for line in lines), brought.conditions.tax)
    by_operator, by_partner = drawing.tax_lines(supplies)
    taxes = ((charges.OUTPUT_TAX, by_operator), (charges.INPUT_TAX, by_partner))
    return [_in_minor(kind, amount, currency) for kind, amount in taxes if amount]


def supply(line: Line) -> Supply:
    """What a document needs of a statement's line."""
    return Supply(line.kind, line.terms_id, line.points, line.amount_minor)


def _operator(currency: str, own: Sides, partners: Sequence[Draft]) -> Draft:
    if sum(line.amount_micro for line in own.operator) != -sum(line.amount_micro for line in own.partners):
        raise Imbalance(f"the operator's lines in {currency} are not the other side of the partners'")
    kinds = {line.kind for line in own.partners}
    mirrored: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for line in (line for p in partners for line in p.lines if line.kind not in kinds and line.kind != ROUNDING):
        mirrored[line.kind][0] -= line.amount_micro
        mirrored[line.kind][1] -= line.amount_minor
    lines = [_line(line) for line in own.operator]
    lines += [Line(0, kind, None, 0, 0, 0, *mirrored[kind]) for kind in sorted(mirrored)]
    opening = -sum(p.opening_minor for p in partners)
    lines += _rounding(lines, -sum(p.net_minor for p in partners) - opening, currency)
    return _draft(OPERATOR, currency, lines, opening)


def _rounding(lines: Sequence[Line], minor: int, currency: str) -> list[Line]:
    """The line that makes lines come to so many minor units, in both units; none where they do already."""
    rest_micro = minor * amounts.micro_per_minor(currency) - sum(line.amount_micro for line in lines)
    rest_minor = minor - sum(line.amount_minor for line in lines)
    return [Line(0, ROUNDING, None, 0, 0, 0, rest_micro, rest_minor)] if rest_micro or rest_minor else []


def _draft(party_id: int, currency: str, lines: Iterable[Line], opening_minor: int) -> Draft:
    numbered = tuple(replace(line, line_no=number) for number, line in enumerate(lines, start=1))
    net_minor = opening_minor + sum(line.amount_minor for line in numbered)
    per_minor = amounts.micro_per_minor(currency)
    opening_micro = opening_minor * per_minor
    return Draft(
        party_id=party_id,
        currency=currency,
        opening_micro=opening_micro,
        opening_minor=opening_minor,
        net_micro=opening_micro + sum(line.amount_micro for line in numbered),
        net_minor=net_minor,
        lines=numbered,
    )


def _in_minor(kind: str, amount_minor: int, currency: str) -> Line:
    return Line(0, kind, None, 0, 0, 0, amount_minor * amounts.micro_per_minor(currency), amount_minor)


def _line(rated: RatedLine) -> Line:
    return Line(
        line_no=0,
        kind=rated.kind,
        terms_id=rated.terms_id or None,
        points=rated.points,
        postings=rated.count,
        unit_price_micro=rated.unit_price_micro,
        amount_micro=rated.amount_micro,
        amount_minor=amounts.minor_from_micro(rated.amount_micro, rated.currency),
    )


# --- Files: RFC 4180 with LF, UTF-8 without mark, dot decimals, empty for nothing ------------------------------


def statement_csv(draft: Draft, *, statement_id: int, partner: str, agreements: Mapping[int, str]) -> str:
    """A statement as CSV: header, opening, its lines, and the net, which they sum to.

    partner is the code to name it by; agreements names the agreement version of a terms_id.
    """
    head = (statement_id, partner, draft.currency)
    rows = [csv_row(STATEMENT_HEADER), csv_row((*head, 0, "OPENING", None, None, None, None, *_opening(draft)))]
    rows += [csv_row((*head, *_line_cells(line, draft.currency, agreements))) for line in draft.lines]
    exact, shown = decimal_from_micro(draft.net_micro), amounts.decimal_from_minor(draft.net_minor, draft.currency)
    rows.append(csv_row((*head, len(draft.lines) + 1, "NET", None, None, None, None, exact, shown)))
    return "".join(rows)


def detail_csv_row(detail: Detail, *, statement_id: int, currency: str) -> str:
    """One posting of the clearing detail as a CSV row under DETAIL_HEADER."""
    return csv_row(
        (
            statement_id,
            detail.cutoff_id,
            detail.kind,
            detail.at.isoformat(),
            detail.business_date,
            detail.outlet,
            detail.reference,
            detail.member,
            detail.points,
            currency,
            decimal_from_micro(detail.unit_price_micro),
            decimal_from_micro(detail.amount_micro),
        )
    )


def csv_row(cells: Iterable[object]) -> str:
    """One row of CSV, ended. Text that a spreadsheet would take for a formula is made text; numbers stay numbers."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow([_cell(cell) for cell in cells])
    return buffer.getvalue()


def decimal_from_micro(amount_micro: int) -> Decimal:
    """The exact amount of micro-units as a decimal with six places."""
    return Decimal(amount_micro).scaleb(-6)


def _line_cells(line: Line, currency: str, agreements: Mapping[int, str]) -> tuple[object, ...]:
    is_priced = line.terms_id is not None
    return (
        line.line_no,
        line.kind,
        agreements[line.terms_id] if line.terms_id is not None else None,
        line.points,
        line.postings,
        decimal_from_micro(line.unit_price_micro) if is_priced else None,
        decimal_from_micro(line.amount_micro),
        amounts.decimal_from_minor(line.amount_minor, currency),
    )


def _opening(draft: Draft) -> tuple[Decimal, Decimal]:
    return decimal_from_micro(draft.opening_micro), amounts.decimal_from_minor(draft.opening_minor, draft.currency)


def _cell(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Decimal):
        return f"{cell:f}"
    text = str(cell)
    is_formula = isinstance(cell, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n")
    return "'" + text if is_formula else text
