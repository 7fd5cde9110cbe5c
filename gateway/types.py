"""What partners are answered: members, balances, transactions, quotes. Plain objects, no resolver below the roots."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import strawberry
from msgspec import Struct
from strawberry import Info

from gateway import access, slips
from gateway.context import Context
from gateway.inputs import described
from gateway.scalars import CurrencyCode, TransactionKind
from kit.amounts import Points, decimal_from_minor
from kit.secrets import opaque_id, read_opaque_id
from ledger import debts as ledger_debts
from ledger import holds as ledger_holds
from ledger.accounts import POINTS
from members import initials
from members.approvals import Approval
from partners.decisions import decisions, rules
from partners.decisions.decisions import Decided
from partners.directory import Directory, Partner
from partners.holds.holds import HoldRef
from partners.outcomes import Recorded
from partners.promotions.basket import Discount
from partners.receipts.records import CANCELLATION, PURCHASE, REDEMPTION, RETURN, StoredReceipt

if TYPE_CHECKING:
    from gateway.membership.membership_types import Membership
    from gateway.right_types import MemberRight
    from gateway.subscription.subscription_types import Entitlement

KINDS = {PURCHASE: "PURCHASE", REDEMPTION: "REDEMPTION", RETURN: "RETURN", CANCELLATION: "CANCELLATION"}


def member_id_for(partner: Partner, member_id: int) -> strawberry.ID:
    """A member's id as one partner knows it."""
    return strawberry.ID(opaque_id(partner.id_key, "mbr", member_id.to_bytes(8, "big")))


def read_member_id(partner: Partner, opaque: str) -> int | None:
    """The member inside an id of this partner's, None for anything else."""
    raw = read_opaque_id(partner.id_key, "mbr", opaque)
    return int.from_bytes(raw, "big") if raw and len(raw) == 8 else None


def transaction_id_for(partner: Partner, receipt: StoredReceipt) -> strawberry.ID:
    """A transaction's id as its partner knows it."""
    place = receipt.holder_id.to_bytes(8, "big") + receipt.seq.to_bytes(8, "big")
    return strawberry.ID(opaque_id(partner.id_key, "txn", place))


def read_transaction_id(partner: Partner, opaque: str) -> tuple[int, int] | None:
    """(holder, seq) inside an id of this partner's, None for anything else."""
    return _two_numbers(partner, "txn", opaque)


def hold_id_for(partner: Partner, ref: HoldRef) -> strawberry.ID:
    """A hold's id as the partner that placed it knows it."""
    place = ref.holder_id.to_bytes(8, "big") + ref.seq.to_bytes(8, "big")
    return strawberry.ID(opaque_id(partner.id_key, "hld", place))


def read_hold_id(partner: Partner, opaque: str) -> tuple[int, int] | None:
    """(holder, seq) inside an id of this partner's, None for anything else."""
    return _two_numbers(partner, "hld", opaque)


def approval_id_for(partner: Partner, approval: Approval) -> strawberry.ID:
    """An approval's id as the partner that asked for it knows it."""
    clear = approval.member_id.to_bytes(8, "big") + approval.approval_no.to_bytes(8, "big")
    return strawberry.ID(opaque_id(partner.id_key, "apv", clear))


def read_approval_id(partner: Partner, opaque: str) -> tuple[int, int] | None:
    """(member, number) inside an id of this partner's, None for anything else."""
    return _two_numbers(partner, "apv", opaque)


def read_approval_no(partner: Partner, opaque: str) -> int:
    """The number of the approval inside an id of this partner's; 0, which is nobody's, for anything else."""
    return (read_approval_id(partner, opaque) or (0, 0))[1]


def _two_numbers(partner: Partner, prefix: str, opaque: str) -> tuple[int, int] | None:
    raw = read_opaque_id(partner.id_key, prefix, opaque)
    return (int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big")) if raw and len(raw) == 16 else None


@strawberry.interface(description="Anything that `node` finds by its id.")
class Node:
    id: strawberry.ID = described("Opaque id.")


@strawberry.type(description="An amount of money.")
class Money:
    amount: Decimal = described("Exact, in units of the currency.")
    currency_code: CurrencyCode = described("ISO 4217 code.")


def money(amount_minor: int, currency: str) -> Money:
    """Money of an amount in minor units."""
    return Money(amount=decimal_from_minor(amount_minor, currency), currency_code=CurrencyCode(currency))


@strawberry.type(description="A member's points.")
class Balance:
    available: Points = described("May be spent now.")
    pending: Points = described("Earned, waiting for the return window to end.")
    as_of: datetime = described("The instant it holds for.")
    known_held: strawberry.Private[int | None]
    known_debt: strawberry.Private[int | None]
    holder_id: strawberry.Private[int]

    @access.field(cost=1, description="Set aside for a purchase that is not finished.")
    def held(self, info: Info[Context, None]) -> Points:
        if self.known_held is not None:
            return Points(self.known_held)
        # A batch of purchases does not tell it, and few ask: who does pays for the look. Core awaits what is awaitable.
        return _held(info, self.holder_id)  # type: ignore[return-value]

    @access.field(
        cost=1,
        description="Owed since a purchase was returned whose points were spent. Nothing is available while it lasts: "
        "points that become available repay it first.",
    )
    def debt(self, info: Info[Context, None]) -> Points:
        if self.known_debt is not None:
            return Points(self.known_debt)
        return _debt(info, self.holder_id)  # type: ignore[return-value]


async def _held(info: Info[Context, None], holder_id: int) -> Points:
    return Points(await ledger_holds.held(info.context.services.database.pool, holder_id, unit=POINTS))


async def _debt(info: Info[Context, None], holder_id: int) -> Points:
    return Points(await ledger_debts.debt(info.context.services.database.pool, holder_id, unit=POINTS))


@strawberry.type(description="Why points were or were not given.")
class Reason:
    code: str = described(
        "BASE, TIER_BONUS, RULE, KIND_DOES_NOT_EARN, CLASS_DOES_NOT_EARN, PAID_WITH_POINTS, PARTNER_DOES_NOT_ISSUE; "
        "more may appear."
    )
    points: Points = described("Points that it accounts for; all reasons sum to the award.")
    text: str = described("For people, in the language that was asked for.")
    rule: str | None = described("The code of the rule that it is of, null where the agreement alone decided.")


@strawberry.type(description="What became of a rule of the programme's.")
class RuleAnswer:
    rule: str = described("The rule's code.")
    version: int = described("Its version.")
    title: str = described("Its name for people.")
    reason: str = described(
        "APPLIED, CAPPED, BUDGET_EXHAUSTED, BELOW_THRESHOLD, CONDITION_FALSE, OUTRANKED_BY; more may appear."
    )
    text: str = described("Why, in the language that was asked for.")


@strawberry.type(description="An amount off a line by a rule of the programme's.")
class LineDiscount:
    line_id: str = described("The line's id in the receipt; empty where the receipt was a total alone.")
    rule: str = described("The rule's code; a till that gives the discount names it as the discount's promotion.")
    source: str = described("PROGRAMME or COUPON; a till that gives the discount names it as the discount's source.")
    amount: Money = described("How much.")


@strawberry.type(description="What a line earned, and what points paid of it.")
class PurchaseLine:
    line_id: str = described("The line's id in the receipt; empty where the receipt was a total alone.")
    points: Points = described("Points that the line earned.")
    points_paid: Points = described("Points that paid it.")
    value_paid: Money = described("What those points were worth.")


class Shown(Struct, frozen=True):
    """A receipt as it is shown: to its own partner, in a language. Its types compute only what is asked for."""

    receipt: StoredReceipt
    partner: Partner
    language: str
    directory: Directory

    def money(self, amount_minor: int) -> Money:
        """Money in the receipt's currency."""
        return money(amount_minor, self.receipt.currency)


@strawberry.interface(description="Something that changed, or could have changed, a member's points.")
class Transaction(Node):
    shown: strawberry.Private[Shown]

    @access.field(description="Opaque id, as this partner knows it.")  # type: ignore[misc]
    def id(self) -> strawberry.ID:
        return transaction_id_for(self.shown.partner, self.shown.receipt)

    @access.field(description="PURCHASE, REDEMPTION, RETURN, CANCELLATION; more may appear.")
    def kind(self) -> TransactionKind:
        return TransactionKind(KINDS[self.shown.receipt.kind])

    @access.field(description="Signed: positive is credited to the member.")
    def points(self) -> Points:
        receipt = self.shown.receipt
        change = receipt.awarded_points - receipt.redeemed_points
        return Points(change if receipt.kind in (PURCHASE, REDEMPTION) else -change)

    @access.field(description="The partner's own number.")
    def reference(self) -> str:
        return self.shown.receipt.reference

    @access.field(description="When it happened, by the till's clock.")
    def occurred_at(self) -> datetime:
        return self.shown.receipt.occurred_at

    @access.field(description="When it was recorded.")
    def recorded_at(self) -> datetime:
        return self.shown.receipt.at


@strawberry.type(description="A purchase that earned, and may have spent, points.")
class Purchase(Transaction):
    @access.field(description="What the customer owed before points.")
    def total(self) -> Money:
        return self.shown.money(self.shown.receipt.total_minor)

    @access.field(description="Points that it earned.")
    def awarded(self) -> Points:
        return Points(self.shown.receipt.awarded_points)

    @access.field(description="Points that paid a part of it.")
    def redeemed(self) -> Points:
        return Points(self.shown.receipt.redeemed_points)

    @access.field(description="Line by line.")
    def lines(self) -> list[PurchaseLine]:
        decision = self.shown.receipt.decision
        return purchase_lines(decision["lines"], decision.get("paid", {}), self.shown.receipt.currency)

    @access.field(description="Why, summing to `awarded`.")
    def reasons(self) -> list[Reason]:
        receipt = self.shown.receipt
        titles = rules.titles(receipt.decision.get("release", 0), self.shown.directory.shelf, self.shown.language)
        return reasons(receipt.decision["reasons"], receipt.currency, self.shown.language, titles)

    @access.field(description="Discounts of the programme's that the till gave, line by line.")
    def discounts(self) -> list[LineDiscount]:
        receipt = self.shown.receipt
        if not decisions.was_by_rules(receipt):
            return []
        return line_discounts(
            decisions.recalled(receipt, self.shown.directory.around(receipt)).outcome.discounts, receipt.currency
        )

    @access.field(cost=5, description="What became of each rule that the till may know of; empty where none was asked.")
    def rules(self) -> list[RuleAnswer]:
        receipt = self.shown.receipt
        if not decisions.was_by_rules(receipt):
            return []
        return rule_answers(decisions.recalled(receipt, self.shown.directory.around(receipt)), self.shown.language)


@strawberry.type(description="Points spent on a reward or a service.")
class Redemption(Transaction):
    @access.field(description="Points that were spent.")
    def redeemed(self) -> Points:
        return Points(self.shown.receipt.redeemed_points)


@strawberry.type(description="A return or cancellation.")
class PurchaseReturn(Transaction):
    @access.field(description="What was returned, before points.")
    def total(self) -> Money:
        return self.shown.money(self.shown.receipt.total_minor)

    @access.field(description="Points taken back from the member.")
    def taken_back(self) -> Points:
        return Points(self.shown.receipt.awarded_points)

    @access.field(description="Points that were spent and the member owed when it was recorded.")
    def owed(self) -> Points:
        return Points(self.shown.receipt.decision.get("owed", 0))

    @access.field(description="Points that should have been taken back and were gone, and that nobody owes.")
    def unrecovered(self) -> Points:
        receipt = self.shown.receipt
        asked = receipt.decision["takeback"]["take"]
        return Points(asked - receipt.awarded_points - receipt.decision.get("owed", 0))

    @access.field(description="Points given back to the member.")
    def refunded_points(self) -> Points:
        return Points(self.shown.receipt.redeemed_points)


AnyTransaction = Purchase | Redemption | PurchaseReturn


def transaction(directory: Directory, receipt: StoredReceipt, language: str) -> AnyTransaction:
    """The transaction that a receipt is, as its own partner sees it."""
    partner = directory.partner(receipt.partner_id)
    assert partner is not None
    return transaction_of(receipt, partner, language, directory)


def transaction_of(receipt: StoredReceipt, partner: Partner, language: str, directory: Directory) -> AnyTransaction:
    """The transaction that a receipt of a partner's is; its id by that partner's key."""
    shown = Shown(receipt, partner, language, directory)
    if receipt.kind == PURCHASE:
        return Purchase(shown=shown)
    return Redemption(shown=shown) if receipt.kind == REDEMPTION else PurchaseReturn(shown=shown)


def purchase_lines(
    line_points: Mapping[str, int], paid: Mapping[str, tuple[int, int]], currency: str
) -> list[PurchaseLine]:
    """Lines with what each earned, and the points and minor units that paid it."""
    nothing = (0, 0)
    return [
        PurchaseLine(
            line_id=line_id,
            points=Points(points),
            points_paid=Points(paid.get(line_id, nothing)[0]),
            value_paid=money(paid.get(line_id, nothing)[1], currency),
        )
        for line_id, points in line_points.items()
    ]


def reasons(decided: Sequence[Sequence[Any]], currency: str, language: str, titles: Mapping[str, str]) -> list[Reason]:
    """Stored reasons with a sentence each; titles are those of rules by code, in the language."""
    return [
        Reason(
            code=code,
            points=Points(points),
            text=slips.reason_text(code, {**facts, "title": titles.get(facts.get("rule", ""), "")}, currency, language),
            rule=facts.get("rule"),
        )
        for code, points, facts in decided
    ]


def line_discounts(discounts: Sequence[Discount], currency: str) -> list[LineDiscount]:
    """Discounts as tills are told them."""
    return [
        LineDiscount(line_id=one.line_id, rule=one.rule, source=one.source, amount=money(one.amount_minor, currency))
        for one in discounts
    ]


def rule_answers(decided: Decided, language: str) -> list[RuleAnswer]:
    """What became of each rule that a till may know of, in a language."""
    return [
        RuleAnswer(
            rule=one.rule, version=one.version, title=one.title[language], reason=one.reason,
            text=one.sentence[language],
        )
        for one in rules.for_till(decided)
    ]  # fmt: skip


@strawberry.interface(description="A transaction that was recorded, or found recorded before.")
class Recording:
    done: strawberry.Private[Recorded]
    language: strawberry.Private[str]

    @access.field(description="True when it was recorded by an earlier call; nothing was written now.")
    def replayed(self) -> bool:
        return self.done.replayed

    @access.field(description="The member's points after it; null in a replay.")
    def balance(self) -> Balance | None:
        return balance(self.done)

    @access.field(description="For the till's screen.")
    def cashier_text(self) -> str:
        return "; ".join(self._slip())

    @access.field(description="For the printed receipt.")
    def slip_lines(self) -> list[str]:
        return self._slip()

    def _slip(self) -> list[str]:
        receipt = self.done.receipt
        moved = {"earned": receipt.awarded_points, "spent": receipt.redeemed_points}
        if receipt.kind not in (PURCHASE, REDEMPTION):
            moved = {"taken": receipt.awarded_points, "refunded": receipt.redeemed_points}
        return slips.slip_lines(
            self.language, available=self.done.available, pending=self.done.pending, debt=self.done.debt, **moved
        )


@strawberry.type(description="A purchase that earned.")
class AccruePointsSuccess(Recording):
    transaction: Purchase = described("The purchase.")


@strawberry.type(description="A purchase that earned and may have spent.")
class RecordPurchaseSuccess(Recording):
    transaction: Purchase = described("The purchase.")


@strawberry.type(description="Points that were spent.")
class RedeemPointsSuccess(Recording):
    transaction: Redemption = described("The redemption.")


@strawberry.type(description="What a return does to money and points.")
class ReturnFigures:
    refund_money: Money = described("Money to hand back, before the deduction.")
    deduct_from_refund: Money = described("What the partner keeps of it for points that are gone.")
    refund_points: Points = described("Points that come back to the member.")
    take_back: Points = described("Points that are taken from the member: the purchase's own, then others as agreed.")
    owed: Points = described("Points that are spent and that the member owes from then on; the next points repay them.")
    unrecovered: Points = described("Points that should be taken and are gone, and that the member does not owe.")


@strawberry.type(description="What a return would do to money and points.")
class ReturnQuote(ReturnFigures):
    pass


@strawberry.type(description="A return.")
class ReturnPurchaseSuccess(Recording):
    transaction: PurchaseReturn = described("The return.")
    figures: ReturnFigures = described("What it did to money and points.")


@strawberry.type(description="A receipt that is undone, or will be refused if it ever arrives.")
class CancelPurchaseSuccess:
    known: bool = described("False when the receipt never arrived; it will now be refused.")
    replayed: bool = described("True when it was cancelled by an earlier call; nothing was written now.")
    transaction: PurchaseReturn | None = described("The cancellation; null of a receipt that never arrived.")
    figures: ReturnFigures | None = described("What it did to money and points.")
    cashier_text: str = described("For the till's screen.")


@strawberry.type(description="The most points that a bill takes.")
class SpendLimit:
    points: Points = described("How many.")
    value: Money = described("What they are worth at the till.")
    bound_by: str = described(
        "What bound it: PROGRAMME_CEILING, AGREEMENT_SHARE, MINIMUM_MONEY, BALANCE, SPEND_LOCK, RULE: and a rule's "
        "code; more may appear."
    )


@strawberry.type(description="What a receipt would earn and the most that may be spent on it.")
class Quote:
    quote_id: strawberry.ID = described("Sent with the purchase, these terms are honoured until `validUntil`.")
    valid_until: datetime = described("Until when.")
    points: Points = described("Points that it would earn if none are spent.")
    lines: list[PurchaseLine] = described("Line by line.")
    reasons: list[Reason] = described("Why, summing to `points`.")
    max_redeem: SpendLimit = described("The most that may be spent.")
    discounts: list[LineDiscount] = described(
        "Discounts that the till may give in the programme's name, line by line; those that it gives it reports with "
        "the purchase, in the lines' `discounts`."
    )
    rules: list[RuleAnswer] = described("What became of each rule that the till may know of.")
    member_id: strawberry.Private[int]
    at: strawberry.Private[datetime]

    @access.field(cost=2, description="What subscriptions give the member here and now.")
    async def entitlements(
        self, info: Info[Context, None]
    ) -> list[Annotated["Entitlement", strawberry.lazy("gateway.subscription.subscription_types")]]:
        from gateway.subscription import subscription_types

        return await subscription_types.entitled(info.context.services, self.member_id, self.at)


@strawberry.type(description="A member, as far as this partner may know.")
class Member(Node):
    tier: str = described("The member's tier.")
    status: str = described("ACTIVE, or ANONYMOUS for the holder of a card that nobody registered.")
    identified_by: str = described(
        "How the member was recognised: NUMBER (of a card), CODE (the rotating one), ALIAS, ID, PAIRING (by their own "
        "phone); of a visit, how it was begun. More may appear. However well: spending needs a proof of its own."
    )
    balance: Balance = described("Points; nothing is available while the member has locked spending.")
    visit: str | None = described("Names the member for ten minutes at the terminal that was given; null without one.")
    own: Annotated["Membership", strawberry.lazy("gateway.membership.membership_types")] | None = described(
        "What only the member reads who is signed in; null for everybody else.", default=None
    )

    @access.field(cost=2, description="What subscriptions give the member here and now, their own and seats.")
    async def entitlements(
        self, info: Info[Context, None]
    ) -> list[Annotated["Entitlement", strawberry.lazy("gateway.subscription.subscription_types")]]:
        from gateway.subscription import subscription_types

        return await subscription_types.entitled(info.context.services, self.balance.holder_id, self.balance.as_of)

    @access.field(
        cost=2,
        description="What the member may have without money, by code: to a partner what it honours, to the member all.",
    )
    async def rights(
        self, info: Info[Context, None]
    ) -> list[Annotated["MemberRight", strawberry.lazy("gateway.right_types")]]:
        from gateway import right_types

        return await right_types.rights_of(
            info.context.services, self.balance.holder_id, partner_id=info.context.viewer.partner_id,
            at=self.balance.as_of, language=info.context.language,
        )  # fmt: skip

    @access.field(
        cost=2,
        description="The first letter of the member's name, for a greeting, where the member agreed that this partner "
        "may learn who they are (PARTNER_TRANSFER); null else.",
    )
    async def initial(self, info: Info[Context, None]) -> str | None:
        services, partner_id = info.context.services, info.context.viewer.partner_id
        if partner_id is None:
            return None
        async with services.database.reading() as connection:
            return await initials.initial(
                connection, services.vault, self.balance.holder_id, partner_id=partner_id, at=self.balance.as_of
            )


@strawberry.type(description="A partner.")
class PartnerView(Node):
    name: str = described("Its name.")
    code: str = described("Its short name.")


def partner_view(partner: Partner) -> PartnerView:
    """A partner as everybody may see it."""
    return PartnerView(id=strawberry.ID(f"prt_{partner.code}"), name=partner.name, code=partner.code)


@strawberry.type(description="A partner's place of sale.")
class OutletView:
    code: str = described("The partner's own code of it.")
    name: str = described("Its name.")
    terminals: list[str] = described("Codes of its tills that are in use.")


@strawberry.type(description="Somebody who signs in for a partner.")
class ColleagueView:
    name: str = described("What the portal and the audit trail call them; unique at the partner.")
    roles: list[str] = described("MANAGER, DEVELOPER, FINANCE, CASHIER; more may appear.")


@strawberry.type(description="The calling client of a partner, or the portal in the name of one of its people.")
class PartnerClient:
    client_id: str = described("The OAuth client.")
    partner: PartnerView = described("Whose client it is.")
    scopes: list[str] = described("What it may do.")
    person: ColleagueView | None = described(
        "Who is signed in at the portal; null where a program calls.", default=None
    )
    partner_id: strawberry.Private[int] = 0

    @access.field(cost=2, description="The partner's places of sale, by code, with their tills.")
    async def outlets(self, info: Info[Context, None]) -> list[OutletView]:
        directory = await info.context.services.directory.get()
        return [
            OutletView(
                code=outlet.code,
                name=outlet.name,
                terminals=[each.code for each in directory.terminals(outlet.outlet_id) if each.status == "ACTIVE"],
            )
            for outlet in directory.outlets(self.partner_id)
        ]


@strawberry.type(description="The operator's staff.")
class Staff:
    client_id: str = described("The OAuth client.")
    scopes: list[str] = described("What it may do.")
    name: str | None = described("Who is signed in at the console; null where a program calls.", default=None)
    roles: list[str] = described("The roles of the programme that they hold now.", default_factory=list)


def balance(done: Recorded) -> Balance | None:
    """The balances that a recording call told; None in a replay."""
    if done.available is None or done.pending is None:
        return None
    return Balance(
        available=Points(done.available), pending=Points(done.pending), as_of=done.receipt.at,
        known_held=done.held, known_debt=done.debt, holder_id=done.receipt.holder_id,
    )  # fmt: skip
