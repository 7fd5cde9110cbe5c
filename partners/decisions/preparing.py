"""The verdict on one purchase: its place, terms and award, what is stored of it, and what its key stands for. PURE but
for the directory's snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from msgspec import Struct

from kit.amounts import allocate
from kit.errors import Rejection
from kit.secrets import fingerprint
from members.identification import Identified
from partners import callers
from partners.callers import Caller, Place
from partners.decisions import decisions, earning, spending
from partners.decisions.decisions import Basis, Decided
from partners.decisions.earning import Award
from partners.decisions.paces import EarningPaused
from partners.decisions.prepared import Again, Prepared
from partners.directory import Directory
from partners.promotions.basket import OPERATOR, Outcome
from partners.receipts import receipts
from partners.receipts.receipts import Receipt
from partners.receipts.records import Promoted, Row
from partners.terms import Terms


class PointsExceedShare(Rejection):
    """Points may not pay that much of the bill; `maximum_points` tells how many may."""

    code = "POINTS_EXCEED_SHARE"
    retryable = False


def prepare(
    directory: Directory,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    at: datetime,
    idem_key: UUID | None,
    redeem_points: int = 0,
    terms: Terms | None = None,
    basis: Basis | None = None,
    place: Place | None = None,
    again: Again | None = None,
) -> Prepared:
    """Decide a purchase: its place, terms, award and what is stored of it. PURE but for the directory's snapshot.

    place is where it happened, where that was looked up before. basis is what rules decide on; without one the
    agreement alone decides, and `decide` tells which it is. again decides the purchase anew.
    at is the business instant of recording. Without an idem_key the receipt itself is the key. terms are those of a
    quote where one is honoured. Raises the rejections of receipts.check, place_of, terms_at, PointsExceedShare and
    EarningPaused.
    """
    place = place or callers.place_of(directory, caller, receipt.outlet, receipt.terminal)
    terms = terms or callers.terms_at(directory, caller.partner_id, receipt.occurred_at)
    value_minor = spending.value_of(redeem_points, terms=terms, programme=directory.programme)
    receipts.check(receipt, currency=terms.currency, at=at, points_value_minor=value_minor)
    price = _Price(directory, terms, redeem_points, value_minor)
    verdict = _by_agreement(price, member, receipt) if basis is None else _by_rules(price, basis, receipt)
    if verdict.award.points and place.partner.paused_until is not None and at < place.partner.paused_until:
        raise EarningPaused
    claim = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    detail = receipt.detail
    stored_detail = orjson.dumps(detail).decode() if detail else None
    receipts.check_detail(stored_detail)
    return Prepared(
        row=Row(
            holder_id=member.member_id,
            claim=claim,
            idem_key=idem_key or fingerprint("receipt", claim.bytes),
            fingerprint=_content(member.member_id, claim, receipt, detail, redeem_points),
            partner_id=caller.partner_id,
            outlet_id=place.outlet_id,
            terminal_id=place.terminal_id,
            client_id=caller.client_no,
            card_id=member.card_id,
            terms_id=terms.terms_id,
            reference=receipt.reference,
            business_date=receipt.business_date,
            occurred_at=receipt.occurred_at,
            currency=receipt.currency,
            total=receipt.total_minor,
            awarded=verdict.award.points,
            detail=stored_detail,
            decision=_decision(verdict, member),
        ),
        award=verdict.award,
        at=at,
        promoted=verdict.promoted,
        decided=verdict.decided,
        again=again,
    )


class _Price(Struct, frozen=True):
    directory: Directory
    terms: Terms
    redeem_points: int
    value_minor: int

    def check(self, most: int) -> None:
        if self.redeem_points > most:
            raise PointsExceedShare("points may not pay that much of this bill", maximum_points=most)


class _Verdict(Struct, frozen=True):
    award: Award
    lines: Sequence[earning.EarnLine]
    paid_points: Sequence[int]
    promoted: Promoted | None = None
    decided: Decided | None = None


def _by_agreement(price: _Price, member: Identified, receipt: Receipt) -> _Verdict:
    terms, programme = price.terms, price.directory.programme
    if receipt.lines and decisions.reported_rules(receipt):
        decisions.check_discounts(receipt, Outcome())
    if price.redeem_points:
        price.check(spending.limit(receipt.total_minor, terms=terms, programme=programme).points)
    paid_points, lines = spending.spread(receipt.effective_lines, price.redeem_points, price.value_minor)
    award = earning.evaluate(lines, terms=terms, programme=programme, tier=member.tier, occurred_at=receipt.occurred_at)
    return _Verdict(award, lines, paid_points)


def _by_rules(price: _Price, basis: Basis, receipt: Receipt) -> _Verdict:
    directory = price.directory
    basket = decisions.basket_of(receipt, points=price.redeem_points, points_minor=price.value_minor)
    decided = decisions.decide(basis, basket)
    if (receipt.lines or decided.outcome.discounts) and not basis.is_quote:
        decisions.check_discounts(receipt, decided.outcome)
    if price.redeem_points:
        assert decided.outcome.spend_limit is not None
        if price.redeem_points > decided.outcome.spend_limit.points:
            decisions.check_plan(decided.outcome.spend_limit, basis.release)
        price.check(decided.outcome.spend_limit.points)
    lines = decisions.earn_lines(decided)
    award = decisions.award_of(decided, _terms_of_funders(price, decided.outcome, receipt), lines)
    budget_ids = directory.budget_ids
    promoted = decisions.promoted_of(decided, budget_ids)
    if basis.is_limited:
        award, promoted = decisions.within_exposure(award, promoted, basis, budget_ids)
    paid_points: Sequence[int] = ()
    if price.redeem_points:
        paid_points = allocate(price.redeem_points, [line.points_value_minor for line in lines])
    return _Verdict(award, lines, paid_points, promoted, decided)


def _terms_of_funders(price: _Price, outcome: Outcome, receipt: Receipt) -> dict[int, int]:
    """The terms that other partners have signed who fund lots of an outcome, by partner."""
    found: dict[int, int] = {}
    for lot in outcome.lots:
        funder = lot.funder_id
        if funder not in (OPERATOR, price.terms.partner_id):
            terms = price.directory.terms_at(funder, receipt.occurred_at)
            if terms is not None:
                found[funder] = terms.terms_id
    return found


def content_of(holder_id: int, claim: UUID, receipt: Receipt, redeem_points: int) -> UUID:
    """What a key stands for: the same for every retry of one purchase, and for no other purchase."""
    return _content(holder_id, claim, receipt, receipt.detail, redeem_points)


def _content(
    holder_id: int, claim: UUID, receipt: Receipt, detail: Mapping[str, Any] | None, redeem_points: int
) -> UUID:
    # How the member was recognised, the proof, the quote and the time of sending may differ between retries.
    kept = {key: value for key, value in (detail or {}).items() if key != "sentAt"}
    head = [holder_id, claim.hex, receipt.occurred_at.isoformat(), receipt.currency, receipt.total_minor]
    return fingerprint(orjson.dumps([*head, redeem_points, kept], option=orjson.OPT_SORT_KEYS))


def _decision(verdict: _Verdict, member: Identified) -> dict[str, Any]:
    award = verdict.award
    decided: dict[str, Any] = {
        "tier": member.tier,
        "level": member.level,
        "lines": award.line_points,
        "reasons": [[reason.code, reason.points, reason.facts] for reason in award.reasons],
        "lots": {str(lot.lot_no): lot.points for lot in award.lots},
    }
    if member.visit is not None:
        decided["visit"] = member.visit.level
    if any(verdict.paid_points):
        decided["paid"] = {
            line.line_id: [points, line.points_value_minor]
            for line, points in zip(verdict.lines, verdict.paid_points, strict=True)
            if points or line.points_value_minor
        }
    if verdict.decided is not None and verdict.promoted is not None:
        decided |= decisions.kept(verdict.decided, verdict.promoted, member.member_id, member.card_id)
    return decided


def redemption_content_of(bare: UUID, points: int) -> UUID:
    """What the key of a redemption stands for: the content of its receipt of nothing, and the points."""
    return fingerprint(bare.bytes, "redeem", str(points))
