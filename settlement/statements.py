"""PURE: statements. Rated lines to what each party reads and pays, to the minor unit; and the files of them.

Every movement is a line and the lines sum to the net, in micro-units and in the minor units shown. Each line is
rounded half-even by itself; what that loses or gains is a line too, so a net is always whole minor units.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from kit import amounts
from partners.terms import Terms
from settlement import netting, rating
from settlement.rating import OPERATOR, ClearingGroup, RatedLine

ROUNDING = "ROUNDING"

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
class Detail:
    """One posting behind a line, as the partner that pays or is paid for it may see it.

    reference, outlet and business_date are those of the partner's own receipt, None where the points moved without
    one of its own. member is the partner's own opaque id of the card holder.
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


def draw(groups: Sequence[ClearingGroup], terms: Mapping[int, Terms]) -> list[Draft]:
    """The statements of a run: the operator's and every partner's that has a line, per currency.

    The operator's lines are rated on their own; its net is the other side of all the partners'. Raises Imbalance
    where they do not meet, rating.Unrated for terms that are missing.
    """
    partners = [_draft(*key, lines) for key, lines in _by_party(rating.rate(groups, terms))]
    own = dict(_by_party(rating.rate_operator(groups, terms)))
    currencies = sorted({p.currency for p in partners} | {currency for _, currency in own})
    operators = [_operator(c, own.get((OPERATOR, c), []), partners) for c in currencies]
    return sorted(operators + partners, key=lambda d: (d.currency, d.party_id))


def positions(drafts: Iterable[Draft]) -> list[netting.Position]:
    """What the statements leave to be paid, minor units, the operator's own included."""
    return [netting.Position(d.party_id, d.currency, d.net_minor) for d in drafts]


def _by_party(lines: Iterable[RatedLine]) -> list[tuple[tuple[int, str], list[RatedLine]]]:
    found: dict[tuple[int, str], list[RatedLine]] = defaultdict(list)
    for line in lines:
        found[line.party_id, line.currency].append(line)
    return sorted(found.items())


def _operator(currency: str, lines: Sequence[RatedLine], partners: Iterable[Draft]) -> Draft:
    others = [p for p in partners if p.currency == currency]
    before_rounding = sum(line.amount_micro for p in others for line in p.lines if line.kind != ROUNDING)
    if sum(line.amount_micro for line in lines) != -before_rounding:
        raise Imbalance(f"the operator's lines in {currency} are not the other side of the partners'")
    return _draft(OPERATOR, currency, lines, net_minor=-sum(p.net_minor for p in others))


def _draft(
    party_id: int, currency: str, rated: Sequence[RatedLine], *, opening_minor: int = 0, net_minor: int | None = None
) -> Draft:
    lines = [_line(number, line) for number, line in enumerate(rated, start=1)]
    exact = sum(line.amount_micro for line in lines)
    if net_minor is None:
        net_minor = opening_minor + amounts.minor_from_micro(exact, currency)
    per_minor = amounts.micro_per_minor(currency)
    rest_micro = (net_minor - opening_minor) * per_minor - exact
    rest_minor = net_minor - opening_minor - sum(line.amount_minor for line in lines)
    if rest_micro or rest_minor:
        lines.append(Line(len(lines) + 1, ROUNDING, None, 0, 0, 0, rest_micro, rest_minor))
    return Draft(
        party_id=party_id,
        currency=currency,
        opening_micro=opening_minor * per_minor,
        opening_minor=opening_minor,
        net_micro=net_minor * per_minor,
        net_minor=net_minor,
        lines=tuple(lines),
    )


def _line(number: int, rated: RatedLine) -> Line:
    return Line(
        line_no=number,
        kind=rated.kind,
        terms_id=rated.terms_id,
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
