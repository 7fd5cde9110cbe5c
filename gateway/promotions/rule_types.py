"""What marketers and partners read of promotions: rules, releases, simulations, budgets, explanations."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import orjson
import strawberry
from strawberry import Info

from gateway import access, connections
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import described
from gateway.rejections import FieldProblem
from gateway.scalars import CurrencyCode, RejectionCode
from gateway.types import Money, PartnerView, Reason, money, partner_view
from kit import approvals, errors
from kit.amounts import Points
from partners.directory import Directory
from partners.promotions import budget_proposals, catalogue, drafts, explanations, publishing
from partners.promotions import budgets as budget_rules
from partners.promotions.basket import Share
from partners.promotions.budget_proposals import Proposal
from partners.promotions.budgets import Usage
from partners.promotions.catalogue import Drafted, Gate, ReleaseEntry
from partners.promotions.concerns import Published, share_bp
from partners.promotions.documents import RuleDocument
from partners.promotions.launching import Objective
from partners.promotions.plain import canonical
from partners.promotions.simulation import Totals
from partners.promotions.simulations import Kept, Report

_OF_PEOPLE = frozenset({"member", "household", "card", "instrument", "referrer"})  # whose scopes name somebody
_USES = 20
_GATE_COST = 100  # each counts whoever used something of a budget, who may be millions


@strawberry.type(description="What is wrong with a rule's document.")
class RuleProblem:
    path: list[str] = described('Where it is, such as ["conditions", "0", "cel"].')
    column: int | None = described("The column of the condition, or of the JSON text, at which it is.")
    code: RejectionCode = described("What kind of mistake it is.")
    expected: str = described("What was expected there.")


@strawberry.type(description="A rule of a promotion.")
class PromotionRule:
    code: str = described("Its code.")
    version: int = described("The version shown: the last one drafted; to a partner the last one published.")
    title: str = described("What people call it, in the language that was asked for.")
    kind: str = described("earn, discount, redeem_limit, grant, benefit; more may appear.")
    trigger: str = described("What it decides on: purchase, event, enrolment; more may appear.")
    effect: str = described("What it does: points_fixed, discount_percent; more may appear.")
    valid_from: datetime = described("From when.")
    valid_until: datetime | None = described("Until when, where it ends.")
    version_in_force: int | None = described("The version that decides now; null: none does.")
    share_bp: int | None = described("What the calling partner pays of it at its own tills, in basis points.")
    document: str | None = described("All that it says, as JSON; null to a partner.")
    author: str | None = described("Who wrote this version; null to a partner.")


@strawberry.type(description="A marketing offer, made of rules.")
class Promotion:
    code: str = described("Its code.")
    name: str = described("What people call it, in the language that was asked for.")
    sponsor: PartnerView | None = described("The partner that wants it; null: the operator, or another partner.")
    added_at: datetime = described("When it was added.")
    rules: list[PromotionRule] = described("Its rules; to a partner those that concern it.")


@strawberry.type(description="A rule in a release.")
class ReleaseRule:
    code: str = described("Code of the rule.")
    version: int = described("In which version.")


@strawberry.type(description="The one thing that a launch is for.")
class LaunchObjective:
    metric: str = described("What is measured.")
    target: Points = described("The figure to reach.")
    due: date = described("By which day.")


@strawberry.type(description="What the gate before a launch found, in the base currency.")
class LaunchGate:
    objective: LaunchObjective | None = described("What it is for; null where nobody said.")
    gain: Money = described("The margin on the sales that are expected to be added.")
    cost: Money = described("What the simulation gave more than was given.")
    break_even_sales: Money | None = described("Sales that would have to be added to pay the cost; null: no margin.")
    obligation_after: Money = described("What would be owed at most.")
    cover: Money | None = described("What stands for obligations, as its maker says; null: it was not kept then.")
    against: list[FieldProblem] = described("What stands against it; a checker may publish it in spite of that.")


@strawberry.type(description="An immutable set of rules that decide together.")
class Release:
    number: int = described("Its number.")
    state: str = described("SUBMITTED, PUBLISHED, DECLINED, or SUSPENSION where rules were taken out; more may appear.")
    made_on: int | None = described("Number of the release that it changes; null: it is the first.")
    content_hash: str = described("SHA-256 of all that it says; two releases of one content decide alike.")
    effective_from: datetime = described("When it begins to decide, where it is published.")
    author: str = described("Who submitted it.")
    submitted_at: datetime = described("When.")
    approver: str | None = described("Who decided on it.")
    decided_at: datetime | None = described("When.")
    rules: list[ReleaseRule] = described("What it holds, whole.")
    gate: LaunchGate | None = described("What the gate found; null where only rules went.")
    shown: strawberry.Private["Shown"]

    @access.field(
        cost=5,
        size=access.ListSize(assumed_size=_USES),
        description="Budgets that it counts against, with their limits of now. One that was raised since it was "
        "submitted keeps it from being published.",
    )
    async def budgets(self, info: Info[Context, None]) -> list["Budget"]:
        async with info.context.services.database.reading() as connection:
            named = [one.code for one in (await publishing.read(connection, self.number)).budgets]
            return [budget_of(self.shown, one) for one in await budget_rules.named(connection, named)]


@strawberry.type(description="What one party paid, and would pay. The party is a partner, or the operator.")
class FunderDifference:
    partner: PartnerView | None = described("Which; null: the operator.")
    points_was: Points = described("Points that it funded.")
    points_draft: Points = described("Points that it would.")
    discounts_was: Money = described("Discounts that it paid for.")
    discounts_draft: Money = described("Discounts that it would.")


@strawberry.type(description="What one rule of the draft would give.")
class RuleFigures:
    rule: str = described("Code of the rule; BASE and TIER_BONUS are the agreements'.")
    applied: Points = described("How often it applies.")
    points: Points = described("Points that it gives.")
    discounts: Money = described("Discounts that it gives.")


@strawberry.type(description="How often a budget would bind.")
class BudgetBound:
    budget: str = described("Code of the budget.")
    times: Points = described("How often.")


@strawberry.type(
    description="A draft against what was in force, over the purchases of a window; money in the base currency."
)
class SimulationReport:
    purchases: Points = described("How many purchases.")
    points_was: Points = described("Points that were given.")
    points_draft: Points = described("Points that the draft gives.")
    discounts_was: Money = described("Discounts that were given.")
    discounts_draft: Money = described("Discounts that the draft gives.")
    cost: Money = described("What the draft gives more, points as they are worth at the till; below zero: less.")
    obligation_points: Points = described("Points more, or less, that members could spend.")
    winners: Points = described("Members who would have got more.")
    losers: Points = described("Members who would have got less.")
    unchanged: Points = described("Members for whom nothing changes.")
    most_gained: Money = described("What who gains most gains.")
    most_lost: Money = described("What who loses most loses, zero or below.")
    funders: list[FunderDifference] = described("Who pays, and would pay.")
    rules: list[RuleFigures] = described("What each rule gives.")
    budgets: list[BudgetBound] = described("Budgets that would bind.")


@strawberry.type(description="A rehearsal of a draft on purchases of past days, done by a worker within minutes.")
class Simulation:
    number: int = described("Its number.")
    state: str = described("WAITING, RUNNING, DONE, FAILED; more may appear.")
    author: str = described("Who asked for it.")
    asked_at: datetime = described("When.")
    since: datetime = described("The first instant of its window.")
    until: datetime = described("The end of its window.")
    purchases: Points | None = described("How many purchases the window has; null before anybody counted.")
    purchases_done: Points = described("How many are decided.")
    content_hash: str = described("SHA-256 of the release that it is about.")
    report: SimulationReport | None = described("What it came to, when it is DONE.")


@strawberry.type(description="How much: in the budget's own unit, the others are null.")
class BudgetFigure:
    points: Points | None = described("Points.", default=None)
    times: Points | None = described("Times.", default=None)
    money: Money | None = described("Money.", default=None)


@strawberry.type(description="What is used of a budget in one scope and period.")
class BudgetUse:
    scope: str | None = described("Whose, where that names nobody; empty: all together. Null: a member's or a card's.")
    period: str = described("Which period, such as 2026-03; empty: for ever.")
    used: BudgetFigure = described("How much is used.")
    remaining: BudgetFigure = described("How much is left.")


@strawberry.type(description="What the gate finds of more of a budget, in the base currency.")
class RaiseGate:
    cover: Money | None = described("What stands for obligations, as its maker says; null: nobody said.")
    obligation_after: Money = described("What would be owed at most.")
    against: list[FieldProblem] = described("What stands against it; a checker may let it pass in spite of that.")


@strawberry.type(description="More of a budget that a published release counts against, proposed for somebody else.")
class BudgetProposal:
    number: int = described("Its number.")
    budget: str = described("Code of the budget.")
    kind: str = described("BUDGET_LIMIT: a higher limit. BUDGET_FUNDING: a payment. More may appear.")
    state: str = described("WAITING, APPROVED, DECLINED, WITHDRAWN; more may appear.")
    before: BudgetFigure = described("What might be used when it was proposed.")
    after: BudgetFigure = described("What might be used with it, then.")
    payer: PartnerView | None = described("Of a payment, who paid; null: the operator.")
    reference: str | None = described("Of a payment, the payer's reference.")
    maker: str = described("Who proposed it.")
    made_at: datetime = described("When.")
    checker: str | None = described("Who decided on it.")
    ended_at: datetime | None = described("When it was decided or taken back.")
    reason: str | None = described("Why it was decided so, where that was said.")
    shown: strawberry.Private["Shown"]

    @access.field(
        cost=_GATE_COST,
        description="Of a raise of points that waits: what the gate finds now. It is worked out when it is asked for: "
        "ask it of one proposal, not of a list.",
    )
    async def gate(self, info: Info[Context, None]) -> RaiseGate | None:
        async with info.context.services.database.reading() as connection:
            found = await budget_proposals.gate(connection, self.number)
        return None if found is None else _raise_gate(self.shown, found)


@strawberry.type(description="A cap that rules count against.")
class Budget:
    code: str = described("Its code.")
    unit: str = described("points, money or count.")
    scopes: list[str] = described("Whose it is; none: all together.")
    period: str = described("total, year, month, week, day, or rolling:30 over any 30 days in a row.")
    zone: str = described("Time zone by whose calendar periods begin.")
    on_exceed: str = described("deny or partial.")
    limit: BudgetFigure = described("How much may be used per scope and period.")
    sponsor: PartnerView | None = described("The partner whose it is; null: the operator's.")
    currency: strawberry.Private[str | None]
    shown: strawberry.Private["Shown"]

    @access.field(
        cost=5,
        size=access.ListSize(assumed_size=_USES, slicing_arguments=["first"]),
        description="What is used of it, the latest period and the most used first; where something was used for more "
        f"than {budget_rules.MOST_LOOKED_AT} (members, cards, outlets), of the first of them.",
    )
    async def uses(self, info: Info[Context, None], first: First = _USES) -> list[BudgetUse]:
        async with info.context.services.database.reading() as connection:
            found = await budget_rules.usage(connection, self.code, limit=connections.bounded(first))
        return [_use(self, one) for one in found]

    @access.field(cost=5, description="Whether `uses` looks only at some of those for whom something was used.")
    async def is_sampled(self, info: Info[Context, None]) -> bool:
        async with info.context.services.database.reading() as connection:
            return await budget_rules.is_sampled(connection, self.code)

    @access.field(
        cost=5,
        size=access.paged(),
        description="What was proposed about it for a second person: what waits, then the rest, the latest first.",
    )
    async def proposals(
        self, info: Info[Context, None], first: First = _USES, after: After = None
    ) -> Connection[BudgetProposal]:
        cursors = Cursors(info.context.services.vault, "proposal about a budget")
        position, wanted = cursors.read(after), connections.bounded(first) + 1
        behind = None if position is None else (bool(position % 2), position // 2)
        async with info.context.services.database.reading() as connection:
            found = await budget_proposals.about(connection, self.code, limit=wanted, behind=behind)
        return connections.page(
            found, first, after=after,
            cursor=lambda one: cursors.write(2 * one.number + (one.state == approvals.WAITING)),
            node=lambda one: proposal_of(self.shown, one),
        )  # fmt: skip


@strawberry.type(description="What one party pays of a rule's award: points, minor units or pieces.")
class FunderShare:
    partner: PartnerView | None = described("Which partner; null: the operator.")
    amount: Points = described("How much.")


@strawberry.type(description="One condition of a rule, as a decision found it.")
class ConditionFound:
    id: str = described("Its name in the rule, such as who.tiers.")
    state: str = described("OK, FALSE, ERROR; more may appear.")
    text: str = described("In a sentence.")
    expected: str = described("What it asks for.")
    actual: str = described("The values that it was decided on, as JSON.")


@strawberry.type(description="What became of one rule in a decision.")
class RuleFound:
    rule: str = described("Code of the rule.")
    version: int = described("In which version.")
    title: str = described("What people call it.")
    reason: str = described("APPLIED, CONDITION_FALSE, BUDGET_EXHAUSTED; more may appear.")
    text: str = described("In a sentence.")
    computed: Points = described("What it came to: points, minor units or pieces.")
    awarded: Points = described("What was given of that.")
    by: str | None = described("The rule or group that outranked it.")
    limited_by: str | None = described("The budget or threshold that bound.")
    remaining: Points | None = described("What was left in it, or missing for it.")
    conditions: list[ConditionFound] = described("Its conditions, in order.")
    funders: list[FunderShare] = described("Who pays what was given.")


@strawberry.type(description="Why a purchase got what it got, decided once more on what was stored.")
class Explanation:
    release: int | None = described("Number of the release that decided; null: the agreement alone did.")
    stored_hash: str | None = described("SHA-256 of the outcome as it was stored.")
    replayed_hash: str | None = described("The same of the outcome now. There should never be another.")
    is_same: bool = described("Whether both are the same.")
    points: Points = described("Points that it gave.")
    discount: Money = described("Discounts that it gave.")
    reasons: list[Reason] = described("Why, summing to `points`.")
    rules: list[RuleFound] = described("What became of each rule.")


@dataclass(frozen=True, slots=True)
class Shown:
    """For whom promotions are shown: the directory, the language, and the partner that asks, None for the operator."""

    directory: Directory
    language: str
    partner_code: str | None
    at: datetime

    def party(self, party_id: int) -> PartnerView | None:
        """A partner as everybody may see it; None for the operator."""
        partner = self.directory.partner(party_id)
        return None if partner is None else partner_view(partner)

    def money(self, amount_minor: int) -> Money:
        """Money in the base currency."""
        return money(amount_minor, self.directory.programme.base_currency)


def rule_problem(problem: errors.FieldProblem) -> RuleProblem:
    """A mistake in a document, with its column."""
    column, expected = drafts.placed(problem)
    return RuleProblem(path=list(problem.path), column=column, code=RejectionCode(problem.code), expected=expected)


def promotion_of_staff(shown: Shown, promotion: catalogue.Promotion, rules: Sequence[Drafted]) -> Promotion:
    """A promotion as the operator's people see it: all that was drafted."""
    now = {rule.code: rule.version for rule in shown.directory.shelf.at(shown.at, shown.at).rules}
    shown_rules = [
        _rule(
            one.document, shown, version_in_force=now.get(one.document.code), author=one.author,
            document=canonical(one.document.source).decode(),
        )
        for one in rules
    ]  # fmt: skip
    return _promotion(shown, promotion, shown.party(promotion.sponsor_id), shown_rules)


def promotion_of_partner(shown: Shown, promotion: catalogue.Promotion, rules: Sequence[Published]) -> Promotion:
    """A promotion as a partner sees it: what was published and concerns it, and whether it is its own."""
    assert shown.partner_code is not None
    own = shown.directory.partner_by_code(shown.partner_code)
    sponsor = partner_view(own) if own is not None and own.partner_id == promotion.sponsor_id else None
    shown_rules = [
        _rule(
            one.rule, shown, version_in_force=one.rule.version if one.is_in_force else None,
            share=share_bp(one.rule, shown.partner_code),
        )
        for one in rules
    ]  # fmt: skip
    return _promotion(shown, promotion, sponsor, shown_rules)


def _promotion(
    shown: Shown, promotion: catalogue.Promotion, sponsor: PartnerView | None, rules: list[PromotionRule]
) -> Promotion:
    name = promotion.names.get(shown.language) or promotion.names.get("en", "")
    return Promotion(code=promotion.code, name=name, sponsor=sponsor, added_at=promotion.at, rules=rules)


def _rule(
    rule: RuleDocument, shown: Shown, *, version_in_force: int | None, share: int | None = None,
    document: str | None = None, author: str | None = None,
) -> PromotionRule:  # fmt: skip
    return PromotionRule(
        code=rule.code, version=rule.version, title=rule.title.of(shown.language), kind=rule.kind,
        trigger=rule.trigger, effect=rule.effect.type, valid_from=rule.valid_from, valid_until=rule.valid_until,
        version_in_force=version_in_force, share_bp=share, document=document, author=author,
    )  # fmt: skip


def drafted_rule(shown: Shown, found: Drafted) -> PromotionRule:
    """A version of a rule that was drafted."""
    rule = found.document
    now = {one.code: one.version for one in shown.directory.shelf.at(shown.at, shown.at).rules}
    return _rule(
        rule, shown, version_in_force=now.get(rule.code), author=found.author, document=canonical(rule.source).decode()
    )


def release_of(shown: Shown, entry: ReleaseEntry) -> Release:
    """A release as the operator's people see it."""
    return Release(
        number=entry.release_id, state=entry.state, made_on=entry.parent_id or None, content_hash=entry.sha256,
        effective_from=entry.effective_from, author=entry.author, submitted_at=entry.at, approver=entry.approver,
        decided_at=entry.decided_at,
        rules=[ReleaseRule(code=code, version=version) for code, version in entry.rules.items()],
        gate=None if entry.gate is None else _gate(shown, entry.gate), shown=shown,
    )  # fmt: skip


def _gate(shown: Shown, gate: Gate) -> LaunchGate:
    break_even = gate.break_even_sales_minor
    return LaunchGate(
        objective=None if gate.objective is None else _objective(gate.objective),
        gain=shown.money(gate.gain_minor),
        cost=shown.money(gate.cost_minor),
        break_even_sales=None if break_even is None else shown.money(break_even),
        obligation_after=shown.money(gate.obligation_after_minor),
        cover=None if gate.cover_minor is None else shown.money(gate.cover_minor),
        against=_against(gate.against),
    )


def _against(found: Sequence[errors.FieldProblem]) -> list[FieldProblem]:
    return [FieldProblem(path=list(one.path), code=RejectionCode(one.code), message=one.message) for one in found]


def _objective(aim: Objective) -> LaunchObjective:
    return LaunchObjective(metric=aim.metric, target=Points(aim.target), due=aim.due)


def simulation_of(shown: Shown, kept: Kept) -> Simulation:
    """A simulation as it stands."""
    return Simulation(
        number=kept.simulation_id, state=kept.state, author=kept.author, asked_at=kept.at, since=kept.since,
        until=kept.until, purchases=None if kept.baskets is None else Points(kept.baskets),
        purchases_done=Points(kept.baskets_done), content_hash=kept.content_sha256,
        report=None if kept.report is None else _report(shown, kept.report),
    )  # fmt: skip


def _report(shown: Shown, found: Report) -> SimulationReport:
    was, draft = found.was, found.draft
    return SimulationReport(
        purchases=Points(found.baskets), points_was=Points(was.points), points_draft=Points(draft.points),
        discounts_was=shown.money(was.discount_minor), discounts_draft=shown.money(draft.discount_minor),
        cost=shown.money(found.points_minor + found.off_minor),
        obligation_points=Points(draft.points - was.points), winners=Points(found.winners),
        losers=Points(found.losers), unchanged=Points(found.unchanged),
        most_gained=shown.money(found.most_gained_minor), most_lost=shown.money(found.most_lost_minor),
        funders=_funders(shown, was, draft),
        rules=[
            RuleFigures(
                rule=rule, applied=Points(times), points=Points(draft.points_by_rule.get(rule, 0)),
                discounts=shown.money(draft.discount_by_rule.get(rule, 0)),
            )
            for rule, times in draft.applied_by_rule.items()
        ],
        budgets=[BudgetBound(budget=code, times=Points(times)) for code, times in found.exhausted.items()],
    )  # fmt: skip


def _funders(shown: Shown, was: Totals, draft: Totals) -> list[FunderDifference]:
    parties = {*was.points_by_funder, *draft.points_by_funder, *was.discount_by_funder, *draft.discount_by_funder}
    return [
        FunderDifference(
            partner=shown.party(party), points_was=Points(was.points_by_funder.get(party, 0)),
            points_draft=Points(draft.points_by_funder.get(party, 0)),
            discounts_was=shown.money(was.discount_by_funder.get(party, 0)),
            discounts_draft=shown.money(draft.discount_by_funder.get(party, 0)),
        )
        for party in sorted(parties)
    ]  # fmt: skip


def budget_of(shown: Shown, found: budget_rules.Budget) -> Budget:
    """A budget as the operator's people see it."""
    document = found.document
    return Budget(
        code=document.code, unit=document.unit, scopes=list(document.scopes), period=document.period,
        zone=document.zone, on_exceed=document.on_exceed, limit=figure(document.unit, found.currency, found.ceiling),
        sponsor=shown.party(found.sponsor_id), currency=found.currency, shown=shown,
    )  # fmt: skip


def proposal_of(shown: Shown, found: Proposal) -> BudgetProposal:
    """More of a budget, proposed for somebody else."""
    return BudgetProposal(
        number=found.number, budget=found.code, kind=found.kind, state=found.state,
        before=figure(found.unit, found.currency, found.before), after=figure(found.unit, found.currency, found.after),
        payer=None if found.payer_id is None else shown.party(found.payer_id), reference=found.reference,
        maker=found.maker, made_at=found.made_at, checker=found.checker, ended_at=found.ended_at, reason=found.reason,
        shown=shown,
    )  # fmt: skip


def _raise_gate(shown: Shown, gate: budget_proposals.Gate) -> RaiseGate:
    return RaiseGate(
        cover=None if gate.cover_minor is None else shown.money(gate.cover_minor),
        obligation_after=shown.money(gate.obligation_after_minor),
        against=_against(gate.against),
    )


def _use(budget: Budget, found: Usage) -> BudgetUse:
    return BudgetUse(
        scope=None if _OF_PEOPLE.intersection(budget.scopes) else found.scope_key, period=found.period_key,
        used=figure(budget.unit, budget.currency, found.used),
        remaining=figure(budget.unit, budget.currency, found.remaining),
    )  # fmt: skip


def figure(unit: str, currency: str | None, amount: int) -> BudgetFigure:
    """An amount of a budget: points, times, or minor units of its currency."""
    if unit == "money":
        return BudgetFigure(money=money(amount, CurrencyCode(currency or "")))
    return BudgetFigure(points=Points(amount)) if unit == "points" else BudgetFigure(times=Points(amount))


def rule_found(shown: Shown, one: explanations.RuleFound) -> RuleFound:
    """What became of a rule, for the operator's people."""
    return RuleFound(
        rule=one.rule, version=one.version, title=one.title[shown.language], reason=one.reason,
        text=one.sentence[shown.language], computed=Points(one.computed), awarded=Points(one.awarded),
        by=one.by or None, limited_by=one.limited_by or None,
        remaining=None if one.remaining is None else Points(one.remaining),
        conditions=[_condition(found, shown.language) for found in one.conditions],
        funders=[_share(shown, share) for share in one.funders],
    )  # fmt: skip


def _condition(found: explanations.ConditionFound, language: str) -> ConditionFound:
    return ConditionFound(
        id=found.id, state=found.state, text=found.label.get(language, ""), expected=found.expected,
        actual=orjson.dumps(found.actual, default=str, option=orjson.OPT_NON_STR_KEYS).decode(),
    )  # fmt: skip


def _share(shown: Shown, share: Share) -> FunderShare:
    return FunderShare(partner=shown.party(share.party_id), amount=Points(share.amount))
