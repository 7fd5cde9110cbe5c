"""Events: points for what is no purchase, told by a partner; and what is on offer to a member."""

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, connections, scopes, slips
from gateway.connections import After, Connection, Cursors, First
from gateway.context import Context
from gateway.inputs import KEY, MemberRefInput, described
from gateway.purchase_api import Counter, call_of, counter_of
from gateway.rejections import Rejection
from gateway.scalars import OfferKind
from gateway.types import Balance, member_id_for
from kit.amounts import Points
from kit.secrets import opaque_id, read_opaque_id
from partners import callers
from partners.directory import Partner
from partners.mechanics import events, offers
from partners.mechanics.events import Waiting
from partners.mechanics.moments import Counted
from partners.mechanics.offers import Offer as Offered
from partners.promotions.basket import Event
from partners.tills import recognition

_REVIEW = "rev"


@strawberry.input(description="A figure that came with an event.")
class FigureInput:
    name: str = described("What it is.")
    value: int = described("How much, a whole number.")


@strawberry.input(description="A word that came with an event.")
class WordInput:
    name: str = described("What it is.")
    value: str = described("What it says.")


@strawberry.input(description="Something of a member's that is no purchase.")
class RecordEventInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Whose.")
    event: str = described("The event's code, as it was declared to the programme.")
    occurred_at: datetime = described("When it happened, by the partner's clock.")
    once_key: str = described(
        "What it counts once under, for an event that counts once: which product, which newsletter. Empty where the "
        "event itself is that.",
        default="",
    )
    figures: list[FigureInput] | None = described("Figures that rules may look at.", default=None)
    words: list[WordInput] | None = described("Words that rules may look at. Nothing personal.", default=None)
    outlet: str | None = described(
        "The partner's code of the outlet; needed, with the till, where the member is named by a visit.", default=None
    )
    terminal: str | None = described("The outlet's code of the till.", default=None)

    def told(self) -> Event:
        """The event as the partners' package has it."""
        return Event(
            self.event,
            {figure.name: figure.value for figure in self.figures or ()},
            {word.name: word.value for word in self.words or ()},
        )


@strawberry.input(description="What became of an event that somebody had to look at.")
class ModerateEventInput:
    idempotency_key: str = described(KEY)
    review_id: strawberry.ID = described("The id that recordEvent answered.")
    approved: bool = described("Whether it counts. The same decision again hears the same answer.")


@strawberry.type(description="A coupon that a member was given.")
class GivenCoupon:
    code: str = described("Its code, told once.")


@strawberry.type(description="An event that is on record, or waits to be looked at.")
class RecordEventSuccess:
    status: str = described("COUNTED, WAITING, DECLINED; more may appear.")
    points: Points = described("Points that it gave.")
    coupons: list[GivenCoupon] = described("Coupons that it gave; none in a replay.")
    review_id: strawberry.ID | None = described("What `moderateEvent` takes, of one that waits.")
    balance: Balance | None = described(
        "The member's points after it; null in a replay and where nothing was recorded."
    )
    replayed: bool = described("True when an earlier call told it; nothing was written now.")
    cashier_text: str = described("For the till's screen.")
    slip_lines: list[str] = described("For the printed receipt.")


RecordEventResult = Annotated[
    RecordEventSuccess | Rejection, strawberry.union("RecordEventResult", description="The event, or the reason.")
]


@strawberry.type(description="One thing that an offer asks for.")
class OfferCondition:
    text: str = described("In a sentence.")
    holds: bool | None = described("Whether it is so now; null where only a basket can tell.")


@strawberry.type(description="Something on offer to a member at this partner.")
class Offer:
    kind: OfferKind = described("PROMOTION, COUPON, REWARD, STAMPS; more may appear.")
    code: str = described("Code of the rule, the coupons' batch, the reward or the stamps.")
    title: str = described("In the language that was asked for; empty where it has none.")
    is_now: bool = described("Whether nothing that is known now stands against it.")
    conditions: list[OfferCondition] = described("What it asks for beside the member: lines, days, hours.")
    valid_until: datetime | None = described("When it ends, where it does.")
    points: Points | None = described("A reward's price.")
    quantity: int | None = described("How many stamps the member has, or coupons.")
    coupon: str | None = described("What to send among `coupons` of a purchase for a coupon that lies with the member.")
    activation: str | None = described("The promotion that the member has to say yes to first.")


@strawberry.input(description="A member's yes to a personal offer.")
class ActivateOfferInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Whose.")
    promotion: str = described("The offer's `activation`.")
    outlet: str | None = described(
        "The partner's code of the outlet; needed, with the till, where the member is named by a visit.", default=None
    )
    terminal: str | None = described("The outlet's code of the till.", default=None)


@strawberry.type(description="A personal offer that counts from now on.")
class ActivateOfferSuccess:
    promotion: str = described("Which.")
    member_id: strawberry.ID = described("Our id of the member, as this partner knows it.")


ActivateOfferResult = Annotated[
    ActivateOfferSuccess | Rejection, strawberry.union("ActivateOfferResult", description="The offer, or the reason.")
]


@strawberry.type
class OfferQuery:
    @access.query(
        scopes=(scopes.MEMBERS_READ,),
        size=access.paged(),
        description="What is on offer to a member at this partner, and what each offer asks for. What is for others "
        "only is not among it. Who cannot be found is an error with the rejection's code.",
    )
    async def offers(
        self,
        info: Info[Context, None],
        member: MemberRefInput,
        outlet: str | None = None,
        terminal: str | None = None,
        first: First = 20,
        after: After = None,
    ) -> Connection[Offer]:
        counter = await counter_of(info)
        at = await info.context.now()
        cursors = Cursors(info.context.services.vault, "offer")
        begin = cursors.read(after) or 0
        terminal_id = _terminal(counter, outlet, terminal)
        found = await recognition.identify(counter.desk, counter.caller, counter.member_ref(member), terminal_id, at)
        rows = list(enumerate(await offers.offers_to(counter.desk, counter.caller, found, at=at), start=1))
        return connections.page(
            rows[begin : begin + connections.bounded(first) + 1],
            first,
            after=after,
            cursor=lambda row: cursors.write(row[0]),
            node=lambda row: offer_of(row[1], info.context.language),
        )


@strawberry.type
class EventMutation:
    @access.mutation(
        scopes=(scopes.EVENTS_WRITE,),
        description="Tells of something that is no purchase, a registration, a review, whatever was declared; rules "
        "say what it gives. What counts once counts once, whatever key is sent.",
    )
    async def record_event(self, info: Info[Context, None], input: RecordEventInput) -> RecordEventResult:
        counter, call = await call_of(info, "recordEvent", input.idempotency_key)
        done = await events.record_event(
            counter.desk, call, counter.member_ref(input.member), input.told(), occurred_at=input.occurred_at,
            once_key=input.once_key, terminal_id=_terminal(counter, input.outlet, input.terminal),
        )  # fmt: skip
        return _recorded(counter, done, call.at, info.context.language)

    @access.mutation(
        scopes=(scopes.EVENTS_MODERATE,),
        description="Decides on an event that had to be looked at; one that is approved counts as of when it happened.",
    )
    async def moderate_event(self, info: Info[Context, None], input: ModerateEventInput) -> RecordEventResult:
        counter, call = await call_of(info, "moderateEvent", input.idempotency_key)
        member_id, review_no = _read_review(counter.partner, input.review_id)
        done = await events.moderate(
            counter.desk, counter.caller, member_id, review_no, approved=input.approved, at=call.at
        )
        if done is None:
            return _success("DECLINED", "event_declined", info.context.language, review_id=input.review_id)
        return _recorded(counter, done, call.at, info.context.language)

    @access.mutation(
        scopes=(scopes.POINTS_ACCRUE,),
        moves_points=False,
        description="A member says yes to a personal offer, which counts from then on. May be repeated.",
    )
    async def activate_offer(self, info: Info[Context, None], input: ActivateOfferInput) -> ActivateOfferResult:
        counter, call = await call_of(info, "activateOffer", input.idempotency_key)
        terminal_id = _terminal(counter, input.outlet, input.terminal)
        found = await recognition.identify(
            counter.desk, counter.caller, counter.member_ref(input.member), terminal_id, call.at
        )
        await offers.activate(counter.desk, counter.caller, found, input.promotion, at=call.at)
        return ActivateOfferSuccess(
            promotion=input.promotion, member_id=member_id_for(counter.partner, found.member_id)
        )


def _terminal(counter: Counter, outlet: str | None, terminal: str | None) -> int | None:
    if outlet is None:
        return None
    return callers.place_of(counter.directory, counter.caller, outlet, terminal).terminal_id


def _recorded(counter: Counter, done: Counted | Waiting, at: datetime, language: str) -> RecordEventSuccess:
    if isinstance(done, Waiting):
        review_id = _review_id(counter.partner, done)
        return _success("WAITING", "event_waiting", language, review_id=review_id, replayed=done.replayed)
    balance = None
    if done.available is not None and done.pending is not None:
        balance = Balance(
            available=Points(done.available), pending=Points(done.pending), as_of=at, known_held=None, known_debt=None,
            holder_id=done.member_id,
        )  # fmt: skip
    sentence = slips.text("earned", language, done.points)
    return RecordEventSuccess(
        status="COUNTED", points=Points(done.points), coupons=[GivenCoupon(code=code) for code in done.coupons],
        review_id=None, balance=balance, replayed=done.replayed, cashier_text=sentence, slip_lines=[sentence],
    )  # fmt: skip


def _success(
    status: str, text: str, language: str, *, review_id: strawberry.ID, replayed: bool = False
) -> RecordEventSuccess:
    return RecordEventSuccess(
        status=status, points=Points(0), coupons=[], review_id=review_id, balance=None, replayed=replayed,
        cashier_text=slips.text(text, language), slip_lines=[],
    )  # fmt: skip


def _review_id(partner: Partner, waiting: Waiting) -> strawberry.ID:
    clear = waiting.member_id.to_bytes(8, "big") + waiting.review_no.to_bytes(8, "big")
    return strawberry.ID(opaque_id(partner.id_key, _REVIEW, clear))


def _read_review(partner: Partner, opaque: str) -> tuple[int, int]:
    """(member, number) inside an id of this partner's; for anything else what nobody told."""
    raw = read_opaque_id(partner.id_key, _REVIEW, opaque)
    return (int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")) if raw and len(raw) == 16 else (0, 0)


def offer_of(found: Offered, language: str) -> Offer:
    """An offer as a till, and the member, is told it."""
    return Offer(
        kind=OfferKind(found.kind), code=found.code, title=found.titles.get(language, ""), is_now=found.is_now,
        conditions=[OfferCondition(text=one.text[language], holds=one.is_so) for one in found.asks],
        valid_until=found.valid_until, points=None if found.points is None else Points(found.points),
        quantity=found.quantity, coupon=found.ref, activation=found.activation,
    )  # fmt: skip
