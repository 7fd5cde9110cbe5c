"""PURE: decisions by rules: what a receipt is to the engine, and what the engine's outcome is to the database.

A decision is kept so that it can be made again: which release, on which context and counters, with which outcome. The
basket is the receipt itself; `recalled` makes one of the other and must come to the same outcome for ever.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from kit.amounts import minor_from_decimal
from kit.errors import FieldProblem, Rejection
from kit.instants import just_before, same_for_a_minute
from partners.decisions import earning
from partners.decisions.earning import Award, EarnLine, Reason
from partners.promotions import evaluation
from partners.promotions.basket import (
    BaseTerms,
    Basket,
    BasketLine,
    Context,
    Counters,
    Local,
    Member,
    Outcome,
    SpendLimit,
    Use,
    snapshot_sha256,
    zone_of,
)  # fmt: skip
from partners.promotions.basket import Coupon as ShownCoupon
from partners.promotions.basket import Payment as BasketPayment
from partners.promotions.compiling import POINTS, phase_of
from partners.promotions.documents import RuleDocument, SetRedeemCap
from partners.promotions.releases import ENGINE_VERSION, Release
from partners.promotions.shelf import Needs, Shelf
from partners.receipts.receipts import WHOLE_RECEIPT, Line, Payment, Receipt
from partners.receipts.records import BENEFIT, COUPON, DISCOUNT, BudgetCharge, OwedRow, Promoted, StoredReceipt
from partners.terms import Programme, Terms, exposure_code, holding_code

OURS = frozenset({"PROGRAMME", "COUPON"})  # sources of discounts that a till gave because we said so
_LIMITED = frozenset({"CAPPED", "BUDGET_EXHAUSTED"})
EXPOSURE_REACHED, EXPOSURE_HELD, RULE = "EXPOSURE_REACHED", "EXPOSURE_HELD", "RULE"


class DiscountNotGranted(Rejection):
    """The till gave a discount in the programme's name that the rules do not give, or another amount.

    `problems` names the lines and what may be given: ask for a quote, or report it as the partner's own.
    """

    code = "DISCOUNT_NOT_GRANTED"
    retryable = True


class PlanRequired(Rejection):
    """A rule leaves spending points here to members with a plan; nothing is taken away, they can be spent then."""

    code = "PLAN_REQUIRED"
    retryable = True


def leaves_spending_to_subscribers(rule: RuleDocument) -> bool:
    """Whether a rule lets nobody pay with points who has no plan of the subscription."""
    return isinstance(rule.effect, SetRedeemCap) and rule.effect.share_bp == 0 and rule.who.subscriber is False


def check_plan(limit: SpendLimit | None, release: Release) -> None:
    """Nothing where points may be spent, or something else than a missing plan forbids it. Rejects PLAN_REQUIRED."""
    if limit is None or limit.points or not limit.bound_by.startswith("RULE:"):
        return
    code = limit.bound_by.removeprefix("RULE:")
    if any(rule.code == code and leaves_spending_to_subscribers(rule) for rule in release.rules):
        raise PlanRequired(f"here points are spent only with a plan of the subscription (rule {code}); they stay")


class Basis(Struct, frozen=True):
    """What a decision by rules is made on, beside the receipt.

    if_seq is the account's number when counters of the
    member were read, None where none was. exposure is what the partner may still grant, None where nothing limits it;
    holding is the same of points that become spendable by themselves. Of a quote discounts are proposals.
    """

    release: Release
    context: Context
    counters: Counters
    if_seq: int | None = None
    exposure: int | None = None
    is_quote: bool = False
    holding: int | None = None

    @property
    def is_limited(self) -> bool:
        """Whether the partner is held to what it may come to owe."""
        return self.exposure is not None or self.holding is not None


class Decided(Struct, frozen=True):
    """A decision by rules with all that it was made on."""

    basis: Basis
    basket: Basket
    outcome: Outcome


def reported(line: Line, currency: str) -> dict[str, int]:
    """The discounts that a till gave on a line in the programme's name: minor units by rule.

    Raises DiscountNotGranted where one names no rule or is no amount.
    """
    given = line.facts.get("discounts")
    if not given:
        return {}
    found: defaultdict[str, int] = defaultdict(int)
    for one in given:
        if one.get("source") not in OURS:
            continue
        try:
            amount_minor = minor_from_decimal(Decimal(one["amount"]), currency)
        except (InvalidOperation, ValueError) as error:
            raise _not_granted(line.line_id, "an amount of the currency") from error
        if not one.get("promotion") or amount_minor < 0:
            raise _not_granted(line.line_id, "the rule's code as its promotion, and an amount not below zero")
        found[one["promotion"]] += amount_minor
    return dict(found)


def reported_rules(receipt: Receipt) -> frozenset[str]:
    """The rules in whose name a till gave discounts."""
    return frozenset(rule for line in receipt.lines for rule in reported(line, receipt.currency))


def basket_of(receipt: Receipt, *, points: int, points_minor: int) -> Basket:
    """The receipt as the engine sees it: lines before the discounts that are ours, and what points are to pay."""
    currency = receipt.currency
    lines: tuple[BasketLine, ...]
    if receipt.lines:
        lines = tuple([_basket_line(line, currency) for line in receipt.lines])
    else:
        lines = (BasketLine(WHOLE_RECEIPT, "GOODS", receipt.total_minor),)  # as `Receipt.effective_lines`
    payments: tuple[BasketPayment, ...] = ()
    if receipt.payments:
        payments = tuple([BasketPayment(paid.kind, paid.amount_minor) for paid in receipt.payments])
    return Basket(currency, lines, payments, points, points_minor)


def context_of(
    receipt: Receipt,
    *,
    partner: str,
    zone: str,
    terms: Terms,
    programme: Programme,
    dates: Mapping[str, str],
    member: Member,
    scopes: Mapping[str, str],
    at: datetime,
    holidays: tuple[str, ...] = (),
    coupons: tuple[ShownCoupon, ...] = (),
    denied: Sequence[str] = (),
    arms: Mapping[str, str] = MappingProxyType({}),
) -> Context:
    """Everything around a receipt that rules may look at, at the instant at which it was received.

    dates are `dates_of` a release; a decision in which no budget counts needs none.
    """
    occurred_at = receipt.occurred_at
    if occurred_at.tzinfo is not UTC:  # lots begin and end in its zone, and are hashed as they are written
        occurred_at = occurred_at.astimezone(UTC)
    return Context(
        occurred_at=occurred_at,
        received_at=at,
        partner=partner,
        outlet=receipt.outlet,
        zone=zone,
        local=Local.at(occurred_at, zone, holidays),
        terms=_signed(terms, programme),
        channel=str(receipt.facts.get("channel", "pos")),
        member=member,
        coupons=coupons,
        scopes=scopes,
        dates=dates,
        denied=tuple(sorted(denied)) if denied else (),
        arms=dict(arms),
    )


@same_for_a_minute
def dates_of(occurred_at: datetime, zones: tuple[str, ...]) -> Mapping[str, str]:
    """The local date of an instant in each of the zones, as those in which budgets of a release count."""
    return MappingProxyType({one: occurred_at.astimezone(zone_of(one)).date().isoformat() for one in zones})


_SIGNED: dict[int, tuple[Terms, Programme, BaseTerms]] = {}


def _signed(terms: Terms, programme: Programme) -> BaseTerms:
    """`BaseTerms.signed`, made once for terms and programme of one directory."""
    known = _SIGNED.get(terms.terms_id)
    if known is None or known[0] is not terms or known[1] is not programme:
        known = _SIGNED[terms.terms_id] = (terms, programme, BaseTerms.signed(terms, programme))
    return known[2]


def told(member: Member, tier: str, needs: Needs) -> Member:
    """Facts about a member as a decision keeps them: the tier that the card told, and those that rules ask for; of
    counters and stamps with zero where there is nothing."""
    if needs.counters and member.counters.keys() == needs.counters and len(needs.fields) == 1:
        return Member(tier=tier, counters=member.counters)
    kept: dict[str, Any] = {name: getattr(member, name) for name in needs.fields}
    if needs.counters:
        known = member.counters
        if known.keys() != needs.counters:
            known = {name: known.get(name, 0) for name in sorted(needs.counters)}
        kept["counters"] = known
    if "stamps" in kept:
        kept["stamps"] = dict.fromkeys(sorted(needs.stamps), 0) | dict(member.stamps)
    return Member(tier=tier, **kept)


def scopes_of(member_id: int | str, card_id: int | str | None, partner: str, outlet: str) -> dict[str, str]:
    """Whose a budget may be, as far as the receipt itself tells; member and card by number, or what stands for one."""
    found = {"member": str(member_id), "partner": partner, "outlet": f"{partner}:{outlet}"}
    if card_id is not None:
        found["card"] = str(card_id)
    return found


_TOLD_BY_RECEIPTS = frozenset(scopes_of(1, 1, "", ""))


def decide(basis: Basis, basket: Basket) -> Decided:
    """The outcome of a basket, with what it was decided on."""
    return Decided(basis, basket, evaluation.evaluate(basis.release, basket, basis.context, basis.counters))


def check_discounts(receipt: Receipt, outcome: Outcome) -> None:
    """Raise DiscountNotGranted unless what the till gave in our name is what the rules give, line by line."""
    if not outcome.discounts and not any("discounts" in line.facts for line in receipt.lines):
        return
    granted: defaultdict[tuple[str, str], int] = defaultdict(int)
    for one in outcome.discounts:
        granted[one.line_id, one.rule] += one.amount_minor
    given = {
        (line.line_id, rule): amount
        for line in receipt.effective_lines
        for rule, amount in reported(line, receipt.currency).items()
    }
    problems = [
        FieldProblem(
            ("receipt", "lines", line_id, "discounts", rule),
            "DISCOUNT",
            f"{granted.get((line_id, rule), 0)} minor units",
        )
        for line_id, rule in sorted(given.keys() | granted.keys())
        if given.get((line_id, rule), 0) != granted.get((line_id, rule), 0)
    ]  # fmt: skip
    if problems:
        raise DiscountNotGranted("the rules do not give these discounts now", problems=problems)


def award_of(decided: Decided, terms_of_funder: Mapping[int, int], lines: Sequence[EarnLine] | None = None) -> Award:
    """The award of an outcome: its lots under the terms of whoever funds them (by number; else the purchase's own).

    lines are its `earn_lines`, where they were made before.
    """
    outcome = decided.outcome
    line_points = {}
    for part in outcome.line_points:
        line_points[part.line_id] = part.amount
    return Award(
        points=outcome.points,
        line_points=line_points,
        reasons=_reasons(decided, earn_lines(decided) if lines is None else lines),
        lots=outcome.lots if not terms_of_funder else tuple(
            replace(lot, terms_id=terms_of_funder.get(lot.funder_id, lot.terms_id)) for lot in outcome.lots
        ),
    )  # fmt: skip


def earn_lines(decided: Decided) -> list[EarnLine]:
    """The lines after our discounts, with what points pay of each, in minor units."""
    outcome = decided.outcome
    if not outcome.discounts and not outcome.line_points_minor:
        return [EarnLine(line.line_id, line.kind, line.amount_minor) for line in decided.basket.lines]
    off: defaultdict[str, int] = defaultdict(int)
    for one in outcome.discounts:
        off[one.line_id] += one.amount_minor
    lines = decided.basket.lines
    paid = outcome.line_points_minor or [0] * len(lines)
    return [
        EarnLine(line.line_id, line.kind, line.amount_minor - off[line.line_id], minor)
        for line, minor in zip(lines, paid, strict=True)
    ]


def _reasons(decided: Decided, lines: Sequence[EarnLine]) -> tuple[Reason, ...]:
    """The parts of an award, which sum to it, the budgets that made it smaller, and what earns nothing."""
    outcome, terms = decided.outcome, decided.basis.context.terms
    if not terms.issues:
        return (Reason("PARTNER_DOES_NOT_ISSUE", 0, {}),)
    found: list[Reason] = []
    for award in outcome.awards:
        if award.version == 0:
            found.append(Reason(award.rule, award.points, award.facts))
        else:
            found.append(Reason(RULE, award.points, {"rule": award.rule, "version": award.version}))
    for step in outcome.steps:
        if step.reason in _LIMITED:
            facts = {"rule": step.rule, "version": step.version, "budget": step.limited_by}
            found.append(Reason(step.reason, 0, facts))
    return (*found, *_left_out(decided), *earning.exclusions(lines, terms.earn.kinds))


def _left_out(decided: Decided) -> list[Reason]:
    """Product classes and categories on the bill that never earn by the agreement."""
    earn = decided.basis.context.terms.earn
    if not (earn.excluded_classes or earn.excluded_categories):
        return []
    lines = [line for line in decided.basket.lines if line.kind in earn.kinds and line.amount_minor]
    names = {name for line in lines if (name := earn.left_out_by(line)) is not None}
    return [Reason("CLASS_DOES_NOT_EARN", 0, {"kind": name}) for name in sorted(names)]


def within_exposure(
    award: Award, promoted: Promoted, basis: Basis, budget_ids: Mapping[str, int]
) -> tuple[Award, Promoted]:
    """The award of a partner whose exposure is limited, and the charge for what of it the partner funds itself.

    Where that is more than may still be granted, there is no award at all, and that is why; discounts stay. Where it is
    more than may become spendable by itself, those lots are withheld and charged to nothing.
    """
    here = basis.context.terms.partner_id
    granted = sum(lot.points for lot in award.lots if lot.funder_id == here)
    if not granted:
        return award, promoted
    if basis.exposure is not None and granted > basis.exposure:
        stopped = Award(0, dict.fromkeys(award.line_points, 0), (Reason(EXPOSURE_REACHED, 0, {}),), ())
        points = {rule.code for rule in basis.release.rules if phase_of(rule) == POINTS}
        caps = {cap for rule in basis.release.rules if rule.code in points for cap in rule.caps}
        caps -= {cap for rule in basis.release.rules if rule.code not in points for cap in rule.caps}
        return stopped, replace(promoted, charges=tuple(one for one in promoted.charges if one.code not in caps))
    standing = [(exposure_code(basis.context.partner), basis.exposure)]
    if basis.holding is None or granted <= basis.holding:
        standing.append((holding_code(basis.context.partner), basis.holding))
    else:
        award = _withheld(award, here)
    charges = (BudgetCharge(budget_ids[code], code, "", "", granted) for code, left in standing if left is not None)
    return award, replace(promoted, charges=(*promoted.charges, *charges))


def used_up(decided: Decided, *, is_stopped: bool) -> tuple[Use, ...]:
    """What a purchase uses up. Of one whose points were stopped (see `within_exposure`) the coupons and stamps of
    discounts and grants alone: what gave nothing uses up nothing."""
    outcome, basis = decided.outcome, decided.basis
    if not is_stopped or not outcome.uses:
        return outcome.uses
    gave = {one.rule for one in outcome.discounts} | {one.rule for one in outcome.grants}
    rules = [rule for rule in basis.release.rules if rule.code in gave]
    coupons = evaluation.coupons_of(rules, basis.context)
    return tuple(one for one in outcome.uses if (one.code in coupons if one.kind == "COUPON" else one.rule in gave))


def _withheld(award: Award, funder_id: int) -> Award:
    """The award with a funder's lots pending until settlement lets them go: marked as ledger.withheld finds them."""
    lots = tuple(
        replace(lot, activates_at=just_before(lot.expires_at)) if lot.funder_id == funder_id else lot
        for lot in award.lots
    )
    return replace(award, lots=lots, reasons=(*award.reasons, Reason(EXPOSURE_HELD, 0, {})))


def promoted_of(decided: Decided, budget_ids: Mapping[str, int]) -> Promoted:
    """What an outcome writes beside the receipt: charges of budgets, and what funders of discounts owe the partner."""
    outcome, terms = decided.outcome, decided.basis.context.terms
    charges: list[BudgetCharge] = []
    for one in outcome.charges:
        if one.amount:
            budget = one.budget
            charges.append(BudgetCharge(budget_ids[budget], budget, one.scope_key, one.period_key, one.amount))
    owed = owed_of(outcome, decided.basis.release, terms) if outcome.discounts else ()
    return Promoted(tuple(charges), owed, decided.basis.if_seq)


def given_of(
    outcome: Outcome,
    uses: Sequence[Use],
    *,
    lookups: Mapping[int, UUID],
    drawn: Sequence[tuple[UUID, str]],
    about: Mapping[str, Any],
) -> dict[str, Any] | None:
    """What a purchase uses up and its outcome gives beside points, as partners.record_given takes it; None where it is
    nothing.

    lookups are the keyed hashes of presented coupons by number, drawn the hash and tail of a new code for each coupon
    that is granted, about where and when it is.
    """
    if not uses and not outcome.grants:
        return None
    stamps = [one for one in uses if one.kind == "STAMP"]
    return {
        **about,
        "coupons": [lookups[int(one.code)] for one in uses if one.kind == "COUPON"],
        "stamps": [one.code for one in stamps],
        "counts": [one.quantity for one in stamps],
        "kinds": [one.kind for one in outcome.grants],
        "codes": [one.code for one in outcome.grants],
        "quantities": [one.quantity for one in outcome.grants],
        "ends": [one.expires_at for one in outcome.grants],
        "lookups": [lookup for lookup, _ in drawn],
        "tails": [tail for _, tail in drawn],
    }


def owed_of(outcome: Outcome, release: Release, terms: BaseTerms) -> tuple[OwedRow, ...]:
    """What funders other than the partner owe it for discounts that it gave: a row per rule and payer."""
    if not outcome.discounts:
        return ()
    benefits = {rule.code for rule in release.rules if rule.kind == "benefit"}
    sums: defaultdict[tuple[str, int, int], int] = defaultdict(int)
    for one in outcome.discounts:
        kind = BENEFIT if one.rule in benefits else COUPON if one.source == "COUPON" else DISCOUNT
        for share in one.funders:
            if share.party_id != terms.partner_id:
                sums[one.rule, share.party_id, kind] += share.amount
    return tuple(
        OwedRow(kind, payer_id, terms.partner_id, terms.terms_id, rule, terms.currency, amount)
        for (rule, payer_id, kind), amount in sorted(sums.items())
        if amount
    )


def stored(decided: Decided, promoted: Promoted) -> dict[str, Any]:
    """All of a decision by rules that has no receipt, as it is kept beside what is kept of every one."""
    basis = decided.basis
    return {
        **given(promoted.charges, promoted.owed),
        "release": basis.release.release_id,
        "engine": ENGINE_VERSION,
        "context": basis.context.to_json(),
        "counters": basis.counters.to_json(),
        "outcome": decided.outcome.to_json(),
        "outcome_sha256": decided.outcome.outcome_sha256,
        "snapshot_sha256": snapshot_of(decided),
    }


def snapshot_of(decided: Decided) -> str:
    """The hash of all that a decision was made on but its release."""
    return snapshot_sha256(decided.basket, decided.basis.context, decided.basis.counters)


def given(charges: Sequence[BudgetCharge], owed: Sequence[OwedRow]) -> dict[str, Any]:
    """Charges and what parties owe each other as they are kept: lists whose last entry is the amount."""
    found: dict[str, Any] = {}
    if charges:
        found["charges"] = [[one.budget_id, one.code, one.scope_key, one.period_key, one.amount] for one in charges]
    if owed:
        found["owed"] = [
            [one.kind, one.payer_id, one.payee_id, one.terms_id, one.rule, one.currency, one.amount_minor]
            for one in owed
        ]
    return found


def was_by_rules(receipt: StoredReceipt) -> bool:
    """Whether rules decided it; what the agreement alone gave is decided by `earning`."""
    return "release" in receipt.decision


def kept(decided: Decided, promoted: Promoted, member_id: int, card_id: int | None) -> dict[str, Any]:
    """What is kept of a purchase that rules decided: what its receipt, its terms and its release do not say already.

    The outcome is not: whoever wants it decides again (`recalled`), and its hash tells that it is the same.
    """
    basis, context = decided.basis, decided.basis.context
    known: dict[str, Any] = {}
    if member := context.member.to_json():
        known["member"] = member
    if not _TOLD_BY_RECEIPTS.issuperset(context.scopes):
        own = scopes_of(member_id, card_id, context.partner, context.outlet)
        known["scopes"] = {name: value for name, value in context.scopes.items() if own.get(name) != value}
    if context.denied:
        known["denied"] = context.denied
    if context.local.holidays:
        known["holidays"] = context.local.holidays
    if left := basis.counters.remaining:
        known["left"] = left
    if context.arms:
        known["arms"] = context.arms
    if context.coupons:
        known["coupons"] = [one.to_json() for one in context.coupons]
    return {
        **given(promoted.charges, promoted.owed),
        "release": basis.release.release_id,
        "engine": ENGINE_VERSION,
        "received": context.received_at.isoformat(),
        "zone": context.zone,
        "worth": [context.terms.bill_ceiling_bp, context.terms.point_value_micro],
        "known": known,
        "outcome_sha256": decided.outcome.outcome_sha256,
    }


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around a stored receipt and never changes: codes, the terms it was decided under, the releases."""

    partner: str
    outlet: str
    terms: Terms
    programme: Programme
    shelf: Shelf


def recalled(receipt: StoredReceipt, around: Around) -> Decided:
    """A stored decision as it was made, decided again. Raises KeyError where the shelf does not hold its release."""
    decision = receipt.decision
    sent = replace(receipt_of(receipt), outlet=around.outlet)
    paid = decision.get("paid", {}).values()
    basket = basket_of(sent, points=sum(points for points, _ in paid), points_minor=sum(minor for _, minor in paid))
    release = around.shelf.honouring(around.shelf.release(decision["release"]), reported_rules(sent))
    counters = Counters(decision["known"].get("left", {}))
    return decide(Basis(release, _context(receipt, sent, around, release), counters), basket)


def _context(receipt: StoredReceipt, sent: Receipt, around: Around, release: Release) -> Context:
    decision, known = receipt.decision, receipt.decision["known"]
    context = context_of(
        sent,
        partner=around.partner,
        zone=decision["zone"],
        terms=around.terms,
        programme=around.programme,
        dates=dates_of(sent.occurred_at, release.zones),
        member=Member.from_json(known.get("member", {})),
        scopes=scopes_of(receipt.holder_id, receipt.card_id, around.partner, around.outlet) | known.get("scopes", {}),
        at=datetime.fromisoformat(decision["received"]),
        holidays=tuple(known.get("holidays", ())),
        coupons=tuple(ShownCoupon.from_json(one) for one in known.get("coupons", ())),
        denied=known.get("denied", ()),
        arms=known.get("arms", {}),
    )
    ceiling_bp, value_micro = decision["worth"]
    if (context.terms.bill_ceiling_bp, context.terms.point_value_micro) == (ceiling_bp, value_micro):
        return context
    return replace(context, terms=replace(context.terms, bill_ceiling_bp=ceiling_bp, point_value_micro=value_micro))


def receipt_of(stored: StoredReceipt) -> Receipt:
    """The receipt as its partner reported it, of what is stored. Its outlet and terminal are not told again."""
    detail = stored.detail
    lines = tuple(
        Line(line["id"], line["kind"], line["amount"],
             {name: value for name, value in line.items() if name not in ("id", "kind", "amount")})
        for line in detail.get("lines", ())
    )  # fmt: skip
    return Receipt(
        reference=stored.reference, outlet="", terminal=None, business_date=stored.business_date,
        occurred_at=stored.occurred_at, currency=stored.currency, total_minor=stored.total_minor, lines=lines,
        payments=tuple(Payment(paid["kind"], paid["amount"]) for paid in detail.get("payments", ())),
        facts={name: value for name, value in detail.items() if name not in ("lines", "payments")},
    )  # fmt: skip


def _basket_line(line: Line, currency: str) -> BasketLine:
    if not line.facts:
        return BasketLine(line.line_id or WHOLE_RECEIPT, line.kind, line.amount_minor)
    ours = sum(reported(line, currency).values())
    facts = line.facts
    amount_minor = line.amount_minor + ours
    return BasketLine(
        line_id=line.line_id or WHOLE_RECEIPT,
        kind=line.kind,
        amount_minor=amount_minor,
        quantity_milli=_thousandths(facts.get("quantity")),
        sku=str(facts.get("sku", "")),
        category=str(facts.get("category", "")),
        classes=tuple(sorted(facts.get("classes", ()))),
        list_minor=_minor(facts.get("listAmount"), currency),
        tax_minor=min(_minor(facts.get("taxAmount"), currency) or 0, amount_minor),
    )


def _thousandths(quantity: str | None) -> int:
    """A quantity in thousandths, what is finer cut off; one where none was told or it cannot be one."""
    if quantity is None:
        return 1000
    try:
        found = int(Decimal(quantity) * 1000)
    except (InvalidOperation, ValueError, OverflowError):
        return 1000
    return found if 0 < found <= 10**12 else 1000


def _minor(amount: str | None, currency: str) -> int | None:
    if amount is None:
        return None
    try:
        found = minor_from_decimal(Decimal(amount), currency)
    except (InvalidOperation, ValueError):
        return None
    return found if found >= 0 else None


def _not_granted(line_id: str, expected: str) -> DiscountNotGranted:
    problem = FieldProblem(("receipt", "lines", line_id, "discounts"), "DISCOUNT", expected)
    return DiscountNotGranted("this is no discount of the programme's", problems=[problem])
