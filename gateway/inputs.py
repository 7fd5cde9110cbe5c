"""What partners send: the input types, and how each becomes a value of the partners' package.

Full shapes from the first day: what no rule uses yet is stored with the receipt and cleared later.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import strawberry
from strawberry import Maybe

from gateway.scalars import CurrencyCode, EntryMode, LineKind, PaymentKind
from kit.amounts import Points, minor_from_decimal
from kit.errors import FieldProblem
from members.identification import MemberRef
from partners.receipts.receipts import Line, Payment, Receipt, ReceiptInvalid, ReceiptRef
from partners.returns.returning import Wish

KEY = "16 to 64 visible ASCII characters; the same for every retry of this call."
REPLAYED = "True when an earlier call did it; nothing was written now."


def described(description: str, **options: Any) -> Any:
    """A field with its description."""
    return strawberry.field(description=description, **options)


@strawberry.input(one_of=True, description="A member, by exactly one way of recognising them.")
class MemberRefInput:
    id: Maybe[strawberry.ID] = described("Our id of the member, as this partner knows it.")
    card_number: Maybe[str] = described("The number on the card, 16 digits.")
    card_code: Maybe[str] = described("The rotating code that the member's app shows.")
    visit: Maybe[str] = described("A `visit` from `member`, good for ten minutes at the terminal it was asked for.")
    phone: Maybe[str] = described("Phone number with its country code.")
    instrument_token: Maybe[str] = described("Token of a payment card that the member has linked.")
    external_id: Maybe[str] = described("This partner's own number for the member.")

    def ref(self, member_id: int | None) -> MemberRef:
        """The reference; member_id is what was inside an id of ours."""
        return MemberRef(
            id=member_id,
            card_number=self.card_number.value if self.card_number else None,
            card_code=self.card_code.value if self.card_code else None,
            visit=self.visit.value if self.visit else None,
            phone=self.phone.value if self.phone else None,
            instrument_token=self.instrument_token.value if self.instrument_token else None,
            external_id=self.external_id.value if self.external_id else None,
        )


@strawberry.input(one_of=True, description="Proof that the member agrees to spend, by exactly one way.")
class ProofInput:
    card_code: Maybe[str] = described("The rotating code that the member's app shows; good once.")
    pin: Maybe[str] = described("The member's PIN.")
    approval_id: Maybe[strawberry.ID] = described("An approval that the member gave in the app.")


@strawberry.input(description="A discount that is already inside a line's amount.")
class DiscountInput:
    source: str = described("Who gives it, such as PARTNER, MANUFACTURER or PROGRAMME.")
    amount: Decimal = described("How much, in the receipt's currency.")
    promotion: str | None = described("The partner's own name of the promotion.", default=None)


@strawberry.input(description="One line of a receipt.")
class LineInput:
    line_id: str = described("The line's number or name, unique in the receipt.")
    amount: Decimal = described("What is charged for the line: after discounts, before points.")
    kind: LineKind = described("What the line is.", default=LineKind("GOODS"))
    sku: str | None = described("Article number.", default=None)
    category: str | None = described("The partner's product category.", default=None)
    quantity: Decimal | None = described("How many or how much.", default=None)
    list_amount: Decimal | None = described("The price before discounts.", default=None)
    discounts: list[DiscountInput] | None = described("Discounts that the amount already reflects.", default=None)
    tax_rate: Decimal | None = described("Tax rate in per cent.", default=None)
    tax_amount: Decimal | None = described("Tax inside the amount.", default=None)

    def line(self, currency: str) -> Line:
        """The line with its amount in minor units; raises ValueError where it is not a whole number of them."""
        return Line(self.line_id, self.kind, minor_from_decimal(self.amount, currency), self._facts())

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for name, value in (
            ("sku", self.sku), ("category", self.category), ("quantity", self.quantity),
            ("listAmount", self.list_amount), ("taxRate", self.tax_rate), ("taxAmount", self.tax_amount),
        ):  # fmt: skip
            if value is not None:
                facts[name] = value if type(value) is str else str(value)
        if self.discounts:
            facts["discounts"] = [
                {"source": each.source, "promotion": each.promotion, "amount": str(each.amount)}
                for each in self.discounts
            ]
        return facts


@strawberry.input(description="How a part of the total was paid with money.")
class PaymentInput:
    kind: PaymentKind = described("CASH, CARD, GIFT_CARD, TRANSFER or another.")
    amount: Decimal = described("How much, in the receipt's currency.")
    instrument_token: str | None = described("Token of the payment card.", default=None)


@strawberry.input(description="A purchase as the partner's till reports it. It may be a total alone.")
class ReceiptInput:
    reference: str = described("The partner's own number of the receipt.")
    outlet: str = described("The partner's code of the outlet.")
    business_date: date = described("The till's business date.")
    occurred_at: datetime = described("When it happened, by the till's clock.")
    currency_code: CurrencyCode = described("The one currency of the receipt.")
    total: Decimal = described("What the customer owes before points: the lines' sum.")
    terminal: str | None = described("The outlet's code of the till.", default=None)
    lines: list[LineInput] | None = described("The lines.", default=None)
    payments: list[PaymentInput] | None = described(
        "Payments in money; with points they sum to the total.", default=None
    )
    part: str | None = described("Which part of a split bill this is.", default=None)
    entry_mode: EntryMode | None = described("How the receipt reached us.", default=None)
    terminal_seq: int | None = described("The till's own running number.", default=None)
    release_id: strawberry.ID | None = described("The rule release that the till decided by.", default=None)
    sent_at: datetime | None = described("When the till sent it.", default=None)

    def receipt(self) -> Receipt:
        """The receipt in minor units. Raises ReceiptInvalid where an amount is not a whole number of them."""
        try:
            return Receipt(
                reference=self.reference,
                outlet=self.outlet,
                terminal=self.terminal,
                business_date=self.business_date,
                occurred_at=self.occurred_at,
                currency=self.currency_code,
                total_minor=minor_from_decimal(self.total, self.currency_code),
                lines=tuple([line.line(self.currency_code) for line in self.lines or ()]),
                payments=tuple(
                    [
                        Payment(
                            paid.kind, minor_from_decimal(paid.amount, self.currency_code), paid.instrument_token or ""
                        )
                        for paid in self.payments or ()
                    ]
                ),
                facts=self._facts(),
            )
        except ValueError as error:
            problem = FieldProblem(("receipt",), "NOT_MINOR_UNITS", str(error))
            raise ReceiptInvalid("an amount has more decimals than its currency", problems=[problem]) from error

    def _facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = {}
        if self.part is not None:
            facts["part"] = self.part
        if self.entry_mode is not None:
            facts["entryMode"] = self.entry_mode
        if self.terminal_seq is not None:
            facts["terminalSeq"] = self.terminal_seq
        if self.release_id is not None:
            facts["releaseId"] = self.release_id
        if self.sent_at is not None:
            facts["sentAt"] = self.sent_at.isoformat()
        return facts


@strawberry.input(description="One of the partner's own receipts.")
class ReceiptRefInput:
    reference: str = described("The partner's own number of the receipt.")
    outlet: str = described("The partner's code of the outlet.")
    business_date: date = described("The till's business date.")
    terminal: str | None = described("The outlet's code of the till.", default=None)

    def ref(self) -> ReceiptRef:
        """The reference as the partners' package has it."""
        return ReceiptRef(self.outlet, self.terminal, self.business_date, self.reference)


@strawberry.input(one_of=True, description="A transaction of this partner, by exactly one way of naming it.")
class TransactionRefInput:
    id: Maybe[strawberry.ID] = described("Our id of the transaction, as this partner knows it.")
    receipt: Maybe[ReceiptRefInput] = described("The partner's own receipt.")


@strawberry.input(description="Points to spend, and the proof that the member agrees; or a hold, which was proved.")
class RedeemInput:
    points: Points | None = described(
        "How many. Of a hold: how many of it, all where nothing is said; the rest goes back.", default=None
    )
    hold_id: strawberry.ID | None = described("A hold of this member to capture.", default=None)
    proof: ProofInput | None = described("Spending needs one, unless a hold is captured.", default=None)


@strawberry.input(description="What the till asks once: the receipt earns, and spends if it says so.")
class RecordPurchaseInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Whose purchase it is.")
    receipt: ReceiptInput = described("The purchase.")
    redeem: RedeemInput | None = described("Points that pay a part of it.", default=None)
    coupons: list[str] | None = described("Codes of coupons that were shown.", default=None)
    quote_id: strawberry.ID | None = described("A quote to honour.", default=None)


@strawberry.input(description="The earning half alone.")
class AccruePointsInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Whose purchase it is.")
    receipt: ReceiptInput = described("The purchase.")


@strawberry.input(description="One receipt of a batch.")
class AccrueItemInput:
    member: MemberRefInput = described("Whose purchase it is.")
    receipt: ReceiptInput = described("The purchase; it is its own idempotency key.")


@strawberry.input(description="Receipts of a day or a file, each recorded or refused by itself.")
class AccrueManyInput:
    idempotency_key: str = described("Correlates retries of the whole call; each item's key is its receipt.")
    items: list[AccrueItemInput] = described("Up to 500.")


@strawberry.input(description="The spending half alone: a reward or a service for points.")
class RedeemPointsInput:
    idempotency_key: str = described(KEY)
    member: MemberRefInput = described("Who spends.")
    reference: str = described("The partner's own number of this redemption.")
    outlet: str = described("The partner's code of the outlet.")
    business_date: date = described("The till's business date.")
    occurred_at: datetime = described("When it happened, by the till's clock.")
    points: Points = described("How many.")
    proof: ProofInput | None = described("Spending needs one.", default=None)
    terminal: str | None = described("The outlet's code of the till.", default=None)
    description: str | None = described("What the points were spent on.", default=None)

    def receipt(self) -> Receipt:
        """A receipt of nothing in the place and under the reference of the spending; the agreement's currency."""
        facts = {"description": self.description} if self.description else {}
        return Receipt(
            reference=self.reference, outlet=self.outlet, terminal=self.terminal, business_date=self.business_date,
            occurred_at=self.occurred_at, currency="", total_minor=0, facts=facts,
        )  # fmt: skip


@strawberry.input(description="A line to return, whole or in part.")
class ReturnLineInput:
    line_id: str = described("The line of the original.")
    amount: Decimal | None = described("How much of it; all that is left where nothing is said.", default=None)


@strawberry.input(one_of=True, description="What is returned, by exactly one way of saying it.")
class ReturnWhatInput:
    whole: Maybe[bool] = described("Everything that is left; true.")
    lines: Maybe[list[ReturnLineInput]] = described("Some lines.")
    amount: Maybe[Decimal] = described("An amount.")

    def wish(self, currency: str) -> Wish:
        """The wish in minor units. Raises ReceiptInvalid where an amount is not a whole number of them."""
        try:
            if self.lines is not None:
                return Wish(
                    lines={
                        line.line_id: None if line.amount is None else minor_from_decimal(line.amount, currency)
                        for line in self.lines.value
                    }
                )
            if self.amount is not None:
                return Wish(amount_minor=minor_from_decimal(self.amount.value, currency))
        except ValueError as error:
            problem = FieldProblem(("what",), "NOT_MINOR_UNITS", str(error))
            raise ReceiptInvalid("an amount has more decimals than its currency", problems=[problem]) from error
        return Wish()


@strawberry.input(description="A return of a purchase, at any outlet of the partner.")
class ReturnPurchaseInput:
    idempotency_key: str = described(KEY)
    original: TransactionRefInput = described("The purchase.")
    reference: str = described("The partner's own number of the return.")
    outlet: str = described("Where it is returned.")
    business_date: date = described("The till's business date.")
    occurred_at: datetime = described("When it happened, by the till's clock.")
    what: ReturnWhatInput = described("What is returned.")
    terminal: str | None = described("The outlet's code of the till.", default=None)
    reason: str | None = described("Why, in the partner's own words.", default=None)

    def ref(self) -> ReceiptRef:
        """The return's own receipt."""
        return ReceiptRef(self.outlet, self.terminal, self.business_date, self.reference)


@strawberry.input(description="A return to be quoted before money is handed over.")
class QuoteReturnInput:
    original: TransactionRefInput = described("The purchase.")
    what: ReturnWhatInput = described("What would be returned.")


@strawberry.input(description="A receipt to be undone whole, whether or not it ever arrived.")
class CancelPurchaseInput:
    idempotency_key: str = described(KEY)
    receipt: ReceiptRefInput = described("The receipt.")
    reason: str | None = described("Why, in the partner's own words.", default=None)


@strawberry.input(description="A receipt to be quoted before it is paid.")
class QuoteInput:
    member: MemberRefInput = described("Whose purchase it would be.")
    receipt: ReceiptInput = described("The purchase.")
    coupons: list[str] | None = described("Codes of coupons that are shown.", default=None)
