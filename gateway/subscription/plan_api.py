"""Plans over GraphQL as the programme's people make them: one drafts a plan or a price, another approves it; offers for
promotional codes are made, and stopped."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, cast

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, connections, scopes
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.finance.answers import FinanceResult, FinanceSuccess, ProposalResult, ProposalSuccess
from gateway.finance.calls import once
from gateway.inputs import KEY, REPLAYED, described
from gateway.rejections import Rejection
from gateway.scalars import CurrencyCode
from gateway.types import Money, money
from kit import codes
from kit.amounts import Points, minor_from_decimal
from members.subscription import offers, plan_proposals, plans
from members.subscription.discounts import Off
from members.subscription.offers import OfferDraft, OfferStanding, PlanOfferInvalid
from members.subscription.periods import Interval
from members.subscription.plan_proposals import Proposal
from members.subscription.plans import PlanDraft, PlanInvalid, PriceDraft
from partners.agreements import onboarding
from partners.directory import Directory

_DRAFT, _DECIDE = (scopes.RULES_EDIT,), (scopes.RULES_APPROVE,)
_READ = (scopes.RULES_EDIT, scopes.RULES_APPROVE)
_PLAN = "The plan's code."


@strawberry.input(description="A name in a language.")
class PlanNameInput:
    language: str = described("en, ru, ro; more may be.")
    name: str = described("What the plan is called in it.")


@strawberry.input(description="What a plan is to be.")
class ProposePlanInput:
    idempotency_key: str = described(KEY)
    code: str = described("1 to 32 small letters, digits and -.")
    names: list[PlanNameInput] = described("What it is called.")
    benefits: list[str] = described("Codes of what it opens at partners.", default_factory=list)
    seats: int = described("How many people beside the owner it counts for.", default=0)
    trial_days: int = described("How long it can be tried once; 0: not at all.", default=0)
    notice_days: int = described("How many days before a renewal it is announced.", default=7)
    on_leaving: str = described("Days that are paid when somebody leaves at once: CREDIT or KEEP.", default="CREDIT")
    points_per_month: Points = described("Points for every month that is paid.", default=Points(0))
    points_issuer: str | None = described("Code of the partner under whose agreement they are.", default=None)
    points_on_leaving: str = described("Points of days that are not served: KEEP or TAKE_BACK.", default="KEEP")


@strawberry.input(description="What a plan is to cost.")
class PlanPriceInput:
    plan: str = described(_PLAN)
    interval: str = described("MONTH, QUARTER, YEAR.")
    amount: Decimal = described("What a member pays, tax among it.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    tax: str = described("The rule of the tax in it.", default="NONE")
    valid_from: datetime = described("For whoever subscribes from then on.")


@strawberry.input(description="A version of a price that somebody else is to approve.")
class ProposePlanPriceInput:
    idempotency_key: str = described(KEY)
    price: PlanPriceInput = described("The price.")


@strawberry.input(description="What another drafted.")
class DecidePlanProposalInput:
    idempotency_key: str = described(KEY)
    proposal: int = described("Its number.")
    approved: bool = described("Whether it is to count.")


@strawberry.input(description="An offer for promotional codes.")
class AddPlanOfferInput:
    idempotency_key: str = described(KEY)
    code: str = described("The offer's own code, not what members enter.")
    kind: str = described("PERCENT, AMOUNT, or FREE periods.")
    percent_bp: int | None = described("Of PERCENT: basis points.", default=None)
    amount: Decimal | None = described("Of AMOUNT: how much.", default=None)
    currency_code: CurrencyCode | None = described("Of AMOUNT: ISO 4217 code.", default=None)
    periods: int = described("Off how many periods.", default=1)
    plan: str | None = described("Of which plan alone.", default=None)
    interval: str | None = described("Of which interval alone.", default=None)
    only_new: bool = described("Only for who never had a plan.", default=False)
    most_uses: int | None = described("How often in all; by default without end.", default=None)
    valid_until: datetime = described("Until when a code can be entered.")
    word: str | None = described("A word that many enter; by default codes are drawn.", default=None)


@strawberry.input(description="Codes that are to be drawn.")
class DrawPlanCodesInput:
    idempotency_key: str = described(KEY)
    offer: str = described("The offer's own code.")
    count: int = described("How many, at most 1,000 here; more at the terminal.")


@strawberry.input(description="An offer whose codes are to be no good from now on.")
class StopPlanOfferInput:
    idempotency_key: str = described(KEY)
    offer: str = described("The offer's own code.")


@strawberry.type(description="A version of what a plan costs.")
class PlanPriceVersion:
    version: int = described("Its number, by currency and interval.")
    interval: str = described("MONTH, QUARTER, YEAR; more may appear.")
    amount: Money = described("What a member pays, tax among it.")
    tax: str = described("The rule of the tax in it.")
    valid_from: datetime = described("For whoever subscribed from then on.")


@strawberry.type(description="What a plan is called in a language.")
class PlanName:
    language: str = described("The language.")
    name: str = described("The name.")


@strawberry.type(description="A plan as the programme's people see it.")
class PlanSheet:
    code: str = described(_PLAN)
    names: list[PlanName] = described("What it is called.")
    benefits: list[str] = described("Codes of what it opens.")
    seats: int = described("How many people beside the owner it counts for.")
    trial_days: int = described("How long it can be tried once.")
    notice_days: int = described("How many days before a renewal it is announced.")
    on_leaving: str = described("CREDIT or KEEP.")
    points_per_month: Points = described("Points for every month that is paid.")
    points_issuer: str | None = described("Code of the partner under whose agreement they are.")
    points_on_leaving: str = described("KEEP or TAKE_BACK.")


@strawberry.type(description="A plan with every version of its prices.")
class CataloguePlan:
    plan: PlanSheet = described("The plan, which never changes.")
    prices: list[PlanPriceVersion] = described("Versions of its prices, the latest first.")


@strawberry.type(description="What a version of a price would do.")
class PlanPricePreview:
    net: Money = described("Without tax.")
    tax: Money = described("The tax in it.")
    before: Money | None = described("What is asked until then; null: nothing is.")
    keep: int = described("How many subscriptions are at an earlier version, which they keep.")


@strawberry.type(description="What one drafted and another approves: a plan, or a price.")
class PlanProposal:
    number: int = described("Its number.")
    maker: str = described("Who drafted it.")
    made_at: datetime = described("Business instant.")
    plan: PlanSheet | None = described("The plan; null of a price.")
    price: "ProposedPrice | None" = described("The price; null of a plan.")


@strawberry.type(description="A price that was drafted.")
class ProposedPrice:
    plan: str = described(_PLAN)
    interval: str = described("MONTH, QUARTER, YEAR; more may appear.")
    amount: Money = described("What a member would pay, tax among it.")
    tax: str = described("The rule of the tax in it.")
    valid_from: datetime = described("For whoever subscribes from then on.")


@strawberry.type(description="An offer for promotional codes.")
class PlanOffer:
    code: str = described("Its own code.")
    kind: str = described("PERCENT, AMOUNT, FREE; more may appear.")
    percent_bp: int | None = described("Of PERCENT.")
    amount: Money | None = described("Of AMOUNT.")
    periods: int = described("Off how many periods.")
    plan: str | None = described("Of which plan alone.")
    interval: str | None = described("Of which interval alone.")
    only_new: bool = described("Only for who never had a plan.")
    uses: int = described("How often it is used.")
    most_uses: int | None = described("How often it may be; null: without end.")
    codes: int = described("How many codes there are, a word among them.")
    valid_from: datetime = described("Since when.")
    valid_until: datetime = described("Until when a code can be entered.")
    stopped_at: datetime | None = described("When it was stopped.")


@strawberry.type(description="The offer is there.")
class AddPlanOfferSuccess:
    replayed: bool = described(REPLAYED)


@strawberry.type(description="Codes were drawn.")
class DrawPlanCodesSuccess:
    codes: list[str] | None = described("What to hand out; told once, and null when this is replayed.")
    replayed: bool = described(REPLAYED)


AddPlanOfferResult = Annotated[
    AddPlanOfferSuccess | Rejection, strawberry.union("AddPlanOfferResult", description="Done, or the reason.")
]
DrawPlanCodesResult = Annotated[
    DrawPlanCodesSuccess | Rejection, strawberry.union("DrawPlanCodesResult", description="Done, or the reason.")
]


@strawberry.type
class PlanQuery:
    @access.query(
        scopes=_READ, size=access.paged(), description="Every plan, by code, with every version of its prices."
    )
    async def plan_catalogue(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[CataloguePlan]:
        directory = await info.context.services.directory.get()
        cursors = Cursors(info.context.services.vault, "plan")
        behind, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with info.context.services.database.reading() as connection:
            every = await plans.catalogue(connection)
        rows = list(enumerate(every, start=1))[behind : behind + wanted]
        return connections.page(
            rows, first, after=after, cursor=lambda row: cursors.write(row[0]),
            node=lambda row: CataloguePlan(
                plan=_sheet(row[1][0], directory),
                prices=[
                    PlanPriceVersion(
                        version=one.version, interval=one.interval, amount=money(one.amount_minor, one.currency),
                        tax=one.tax_code, valid_from=one.valid_from,
                    )
                    for one in row[1][1]
                ],
            ),
        )  # fmt: skip

    @access.query(scopes=_READ, cost=10, description="What a version of a price would do, before anybody drafts it.")
    async def plan_price_preview(self, info: Info[Context, None], price: PlanPriceInput) -> PlanPricePreview:
        draft = _price_draft(price)
        async with info.context.services.database.reading() as connection:
            seen = await plan_proposals.preview_price(connection, draft, at=await info.context.now())
        return PlanPricePreview(
            net=money(seen.net_minor, draft.currency), tax=money(seen.tax_minor, draft.currency),
            before=None if seen.before_minor is None else money(seen.before_minor, draft.currency), keep=seen.keep,
        )  # fmt: skip

    @access.query(
        scopes=_READ,
        size=access.paged(),
        description="What waits for a second person: plans and prices, the oldest first.",
    )
    async def plan_proposals(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[PlanProposal]:
        directory = await info.context.services.directory.get()
        cursors = Cursors(info.context.services.vault, "plan proposal")
        behind, wanted = cursors.read(after) or 0, connections.bounded(first) + 1
        async with info.context.services.database.reading() as connection:
            found = [one for one in await plan_proposals.waiting(connection) if one.number > behind]
        return connections.page(
            found[:wanted], first, after=after, cursor=lambda one: cursors.write(one.number),
            node=lambda one: _proposal(one, directory),
        )  # fmt: skip

    @access.query(scopes=_READ, size=access.paged(), description="Offers for promotional codes, the latest first.")
    async def plan_offers(
        self, info: Info[Context, None], first: First = 20, after: After = None
    ) -> Connection[PlanOffer]:
        cursors = Cursors(info.context.services.vault, "plan offer")
        before, wanted = cursors.read(after), connections.bounded(first) + 1
        async with info.context.services.database.reading() as connection:
            found = await offers.page(connection, before=before, limit=wanted)
        return connections.page(found, first, after=after, cursor=lambda one: cursors.write(one.offer_id), node=_offer)


@strawberry.type
class PlanMutation:
    @access.mutation(
        scopes=_DRAFT, moves_points=False, description="Drafts a plan; it counts when somebody else approves it."
    )
    async def propose_plan(self, info: Info[Context, None], input: ProposePlanInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            issuer = input.points_issuer
            draft = PlanDraft(
                input.code, {one.language: one.name for one in input.names}, tuple(input.benefits), input.seats,
                input.trial_days, input.notice_days, input.on_leaving, int(input.points_per_month),
                None if issuer is None else await onboarding.partner_id_of(connection, issuer), input.points_on_leaving,
            )  # fmt: skip
            return await plan_proposals.propose_plan(connection, draft, actor=actor, at=at)

        number, is_new = await once(
            info, "proposePlan", input.idempotency_key, propose, input.code,
            *(f"{one.language}={one.name}" for one in input.names), *input.benefits, str(input.seats),
            str(input.trial_days), str(input.notice_days), input.on_leaving, str(input.points_per_month),
            input.points_issuer or "", input.points_on_leaving,
        )  # fmt: skip
        return ProposalSuccess(number=number, replayed=not is_new)

    @access.mutation(
        scopes=_DRAFT,
        moves_points=False,
        description="Drafts the next version of a price; it counts when somebody else approves it, from its day on.",
    )
    async def propose_plan_price(self, info: Info[Context, None], input: ProposePlanPriceInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            return await plan_proposals.propose_price(connection, _price_draft(input.price), actor=actor, at=at)

        its = input.price
        number, is_new = await once(
            info, "proposePlanPrice", input.idempotency_key, propose, its.plan, its.interval, str(its.amount),
            its.currency_code, its.tax, its.valid_from.isoformat(),
        )  # fmt: skip
        return ProposalSuccess(number=number, replayed=not is_new)

    @access.mutation(
        scopes=_DECIDE,
        moves_points=False,
        description="Approves a plan or a price that another drafted, or declines it.",
    )
    async def decide_plan_proposal(self, info: Info[Context, None], input: DecidePlanProposalInput) -> FinanceResult:
        async def decide(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await plan_proposals.decide(connection, input.proposal, approved=input.approved, actor=actor, at=at)

        content = (str(input.proposal), str(input.approved))
        _, is_new = await once(info, "decidePlanProposal", input.idempotency_key, decide, *content)
        return FinanceSuccess(replayed=not is_new)

    @access.mutation(scopes=_DRAFT, moves_points=False, description="Adds an offer; a word of it is good at once.")
    async def add_plan_offer(self, info: Info[Context, None], input: AddPlanOfferInput) -> AddPlanOfferResult:
        vault = info.context.services.vault

        async def add(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await offers.add(connection, vault, _offer_draft(input, at), actor=actor, at=at)

        said = (
            input.code, input.kind, input.percent_bp, input.amount, input.currency_code, input.periods, input.plan,
            input.interval, input.only_new, input.most_uses, input.valid_until.isoformat(), input.word,
        )  # fmt: skip
        _, is_new = await once(info, "addPlanOffer", input.idempotency_key, add, *(str(one) for one in said))
        return AddPlanOfferSuccess(replayed=not is_new)

    @access.mutation(
        scopes=_DRAFT, moves_points=False, cost=50, description="Draws codes of an offer, told here and never again."
    )
    async def draw_plan_codes(self, info: Info[Context, None], input: DrawPlanCodesInput) -> DrawPlanCodesResult:
        vault = info.context.services.vault

        async def draw(connection: AsyncConnection, actor: str, at: datetime) -> list[str]:
            count = input.count if input.count <= _MOST_CODES else 0
            return await offers.draw(connection, vault, input.offer, count, actor=actor, at=at)

        content = (input.offer, str(input.count))
        drawn, is_new = await once(info, "drawPlanCodes", input.idempotency_key, draw, *content)
        shown = None if drawn is None else [codes.shown(one) for one in drawn]
        return DrawPlanCodesSuccess(codes=shown, replayed=not is_new)

    @access.mutation(
        scopes=_DRAFT,
        moves_points=False,
        description="Lets no code of an offer be entered any more; whoever used one keeps what it gives.",
    )
    async def stop_plan_offer(self, info: Info[Context, None], input: StopPlanOfferInput) -> FinanceResult:
        async def stop(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await offers.stop(connection, input.offer, actor=actor, at=at)

        _, is_new = await once(info, "stopPlanOffer", input.idempotency_key, stop, input.offer)
        return FinanceSuccess(replayed=not is_new)


_MOST_CODES = 1_000


def _sheet(its: plans.Plan | PlanDraft, directory: Directory) -> PlanSheet:
    issuer = None if its.allotment_issuer is None else directory.partner(its.allotment_issuer)
    return PlanSheet(
        code=its.code, names=[PlanName(language=language, name=name) for language, name in sorted(its.names.items())],
        benefits=list(its.benefits), seats=its.seats, trial_days=its.trial_days, notice_days=its.notice_days,
        on_leaving=its.on_leaving, points_per_month=Points(its.allotment_points),
        points_issuer=None if issuer is None else issuer.code, points_on_leaving=its.allotment_on_leaving,
    )  # fmt: skip


def _proposal(one: Proposal, directory: Directory) -> PlanProposal:
    plan, price = (one.draft, None) if isinstance(one.draft, PlanDraft) else (None, one.draft)
    return PlanProposal(
        number=one.number, maker=one.maker, made_at=one.made_at,
        plan=None if plan is None else _sheet(plan, directory),
        price=None if price is None else ProposedPrice(
            plan=price.plan, interval=price.interval, amount=money(price.amount_minor, price.currency),
            tax=price.tax_code, valid_from=price.valid_from,
        ),
    )  # fmt: skip


def _offer(one: OfferStanding) -> PlanOffer:
    off = one.terms
    return PlanOffer(
        code=one.code, kind=off.kind, percent_bp=off.percent_bp,
        amount=None if off.amount_minor is None else money(off.amount_minor, off.currency or ""),
        periods=off.periods, plan=one.plan, interval=off.interval, only_new=one.is_for_new, uses=one.uses,
        most_uses=one.most_uses, codes=one.codes, valid_from=one.valid_from, valid_until=one.valid_until,
        stopped_at=one.stopped_at,
    )  # fmt: skip


def _price_draft(said: PlanPriceInput) -> PriceDraft:
    """What was said of a price. Rejects PLAN_INVALID."""
    try:
        amount_minor = minor_from_decimal(said.amount, said.currency_code)
    except (ArithmeticError, ValueError):
        raise PlanInvalid(f"{said.amount} is no amount of {said.currency_code}") from None
    return PriceDraft(
        said.plan, said.currency_code, cast(Interval, said.interval), amount_minor, said.tax, said.valid_from
    )


def _offer_draft(said: AddPlanOfferInput, at: datetime) -> OfferDraft:
    """What was said of an offer. Rejects PLAN_OFFER_INVALID."""
    amount_minor = None
    if said.amount is not None:
        try:
            amount_minor = minor_from_decimal(said.amount, said.currency_code or "")
        except (ArithmeticError, ValueError, KeyError):
            raise PlanOfferInvalid(f"{said.amount} is no amount of {said.currency_code}") from None
    return OfferDraft(
        said.code, cast(Off, said.kind), at, said.valid_until, said.percent_bp, amount_minor, said.currency_code,
        said.periods, said.plan, cast(Interval | None, said.interval), said.only_new, said.most_uses, said.word,
    )  # fmt: skip
