"""What marketers send: promotions, rules, releases, budgets, and how each becomes a value of the partners' package."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
import strawberry

from gateway.inputs import KEY, TransactionRefInput, described
from gateway.scalars import CurrencyCode
from kit.amounts import Points, minor_from_decimal
from kit.errors import FieldProblem
from partners.promotions import drafts
from partners.promotions.budgets import BudgetInvalid
from partners.promotions.launching import Aim, Cover, Objective
from partners.promotions.publishing import Change, RuleInvalid
from partners.terms import Programme

LONGEST_DOCUMENT = 20_000


@strawberry.input(description="One text in the programme's three languages.")
class TextsInput:
    en: str = described("English.")
    ru: str = described("Russian.")
    ro: str = described("Romanian.")

    def texts(self) -> dict[str, str]:
        """The texts by language."""
        return {"en": self.en, "ru": self.ru, "ro": self.ro}


@strawberry.input(description="A marketing offer, which rules will belong to.")
class AddPromotionInput:
    idempotency_key: str = described(KEY)
    code: str = described("Its code, for ever.")
    names: TextsInput = described("What people call it.")
    sponsor: str | None = described("Code of the partner that wants it; null: the operator.", default=None)


@strawberry.input(description="A version of a rule.")
class DraftRuleInput:
    idempotency_key: str = described(KEY)
    document: str = described("The rule's document, as JSON. Its version is the next one, whatever it says.")


@strawberry.input(description="A rule in one of its versions.")
class RuleChoiceInput:
    code: str = described("Code of the rule.")
    version: int | None = described("Which version; null: the latest.", default=None)


@strawberry.input(description="A group in which rules stack.")
class StackingGroupInput:
    code: str = described("Its code.")
    mode: str = described("SUM, BEST, FIRST or EXCLUSIVE.")
    priority: int = described("Its place in its parent, the lowest first.")
    parent: str = described("The group that it is in; empty: the release itself.", default="")
    scope: str = described("Whether BEST and FIRST choose for the basket or by line.", default="basket")

    def document(self) -> dict[str, Any]:
        """The group as a part of a release."""
        return {
            "code": self.code, "mode": self.mode, "priority": self.priority, "parent": self.parent, "scope": self.scope,
        }  # fmt: skip


@strawberry.input(description="What a release changes of the one before it.")
class ReleaseChangeInput:
    rules: list[RuleChoiceInput] = described("Rules that come in, or come in another version.", default_factory=list)
    without: list[str] = described("Codes of rules that go.", default_factory=list)
    groups: list[StackingGroupInput] | None = described(
        "Stacking groups instead of those that were; null: they stay.", default=None
    )

    def change(self) -> Change:
        """The change as the partners' package has it."""
        groups = None if self.groups is None else [group.document() for group in self.groups]
        return Change({one.code: one.version for one in self.rules}, tuple(self.without), groups)

    def content(self) -> str:
        """All of it in one line, to tell one change from another."""
        change = self.change()
        return orjson.dumps([sorted(change.rules.items()), list(change.without), change.groups]).decode()


@strawberry.input(description="A draft of a release, to be rehearsed on purchases of past days.")
class SimulateReleaseInput:
    idempotency_key: str = described(KEY)
    change: ReleaseChangeInput = described("What it changes of the latest release.")
    days: int = described("How many days back, 1 to 366.", default=30)


@strawberry.input(description="What a launch is for, and what is expected of it beside what its simulation tells.")
class LaunchInput:
    simulation: int = described("Number of a finished simulation of exactly this change: it tells what it costs.")
    metric: str = described("The one thing that is measured.")
    target: Points = described("The figure to reach.")
    due: date = described("By which day.")
    added_sales: Decimal = described("Sales that it adds, in the base currency, over as many days as were simulated.")
    margin_bp: int = described("Contribution margin of these, in basis points.")
    cover: Decimal = described("What stands for obligations, in the base currency.")
    standing: Decimal = described("What is owed already, in the base currency.", default=Decimal(0))

    def aim(self, programme: Programme) -> Aim:
        """The aim in minor units. Raises RuleInvalid where an amount is not a whole number of them."""
        amounts = {}
        for name, amount in (("addedSales", self.added_sales), ("standing", self.standing), ("cover", self.cover)):
            try:
                amounts[name] = minor_from_decimal(amount, programme.base_currency)
            except ValueError as error:
                problem = FieldProblem(("launch", name), "AMOUNT", f"expected minor units of {programme.base_currency}")
                raise RuleInvalid("this is no amount of the base currency", problems=[problem]) from error
            if amounts[name] < 0:  # what is owed already would make room for more
                problem = FieldProblem(("launch", name), "AMOUNT", "expected an amount that is not negative")
                raise RuleInvalid("this is no amount", problems=[problem])
        objective = Objective(self.metric, self.target, self.due)
        return Aim(objective, amounts["addedSales"], self.margin_bp, amounts["standing"], amounts["cover"])

    def content(self) -> str:
        """All of it in one line."""
        return "|".join(
            str(one)
            for one in (
                self.simulation, self.metric, self.target, self.due, self.added_sales, self.margin_bp, self.cover,
                self.standing,
            )
        )  # fmt: skip


@strawberry.input(description="A release for somebody else to approve.")
class SubmitReleaseInput:
    idempotency_key: str = described(KEY)
    change: ReleaseChangeInput = described("What it changes of the latest release.")
    effective_from: datetime = described("When it begins to decide; not before it is approved.")
    launch: LaunchInput | None = described(
        "What it is for. Where rules come in without it, the gate finds that against the release.", default=None
    )


@strawberry.input(description="A release that somebody else submitted, to be published.")
class PublishReleaseInput:
    idempotency_key: str = described(KEY)
    release: int = described("Its number.")
    in_spite: bool = described("Also where its launch did not pass the gate; the trail says so.", default=False)


@strawberry.input(description="A release that somebody else submitted, to be refused.")
class DeclineReleaseInput:
    idempotency_key: str = described(KEY)
    release: int = described("Its number.")


@strawberry.input(description="Rules to be taken out of force at once.")
class SuspendPromotionInput:
    idempotency_key: str = described(KEY)
    promotion: str = described("Code of the promotion.")
    rules: list[str] | None = described("Codes of those of its rules that are meant; null: all of them.", default=None)


@strawberry.input(description="A cap that rules may count against.")
class AddBudgetInput:
    idempotency_key: str = described(KEY)
    code: str = described("Its code, for ever.")
    unit: str = described("points, money, or count of applications.")
    limit: Points = described(
        "How much may be used per scope and period, in points or times; one of money is as large as what is paid in, "
        "and begins with 0."
    )
    scopes: list[str] = described(
        "Whose it is: member, household, card, instrument, partner, outlet, code, referrer; none: all together.",
        default_factory=list,
    )
    period: str = described(
        "total, year, month, week, day, or rolling:30 over any 30 days in a row, at most 999.", default="total"
    )
    zone: str = described("Time zone by whose calendar periods begin.", default="UTC")
    on_exceed: str = described("deny the whole effect, or partial: give what is left.", default="deny")
    currency_code: CurrencyCode | None = described("Of a budget of money.", default=None)
    sponsor: str | None = described("Code of the partner whose it is; null: the operator's.", default=None)

    def document(self) -> dict[str, Any]:
        """The budget's document."""
        return {
            "code": self.code, "unit": self.unit, "limit": self.limit, "scopes": self.scopes, "period": self.period,
            "zone": self.zone, "on_exceed": self.on_exceed,
        }  # fmt: skip


@strawberry.input(description="Another limit of a budget of points or times.")
class SetBudgetLimitInput:
    idempotency_key: str = described(KEY)
    budget: str = described("Its code.")
    limit: Points = described("How much may be used per scope and period. A higher one takes a proof of a moment ago.")
    cover: Decimal | None = described(
        "What stands for obligations, in the base currency. Where more points take a second person and nobody says it, "
        "the gate finds that against the raise.",
        default=None,
    )
    standing: Decimal = described("What is owed already, in the base currency.", default=Decimal(0))

    def told_cover(self, programme: Programme) -> Cover | None:
        """The cover in minor units. Raises BudgetInvalid where an amount is not a whole number of them."""
        if self.cover is None:
            return None
        currency = programme.base_currency
        try:
            return Cover(minor_from_decimal(self.standing, currency), minor_from_decimal(self.cover, currency))
        except ValueError as error:
            problem = FieldProblem(("cover",), "AMOUNT", f"expected minor units of {currency}")
            raise BudgetInvalid("this is no amount of the base currency", problems=[problem]) from error


@strawberry.input(description="A payment into a budget of money.")
class FundBudgetInput:
    idempotency_key: str = described(KEY)
    budget: str = described("Its code.")
    amount: Decimal = described("How much, in the budget's currency.")
    payer: str | None = described("Code of the partner that paid; null: the operator.", default=None)
    reference: str = described("The payer's reference; the same payment again is no other one.")


@strawberry.input(description="More of a budget that somebody else proposed, to be let.")
class ApproveBudgetProposalInput:
    idempotency_key: str = described(KEY)
    proposal: int = described("Its number.")
    in_spite: bool = described("Also where its gate finds something against it; the trail says so.", default=False)
    reason: str | None = described("Why, in at most 500 characters; kept beside it.", default=None)


@strawberry.input(description="More of a budget that somebody else proposed, to be refused.")
class DeclineBudgetProposalInput:
    idempotency_key: str = described(KEY)
    proposal: int = described("Its number.")
    reason: str | None = described("Why, in at most 500 characters; kept beside it.", default=None)


@strawberry.input(description="A proposal of one's own about a budget, to be taken back.")
class WithdrawBudgetProposalInput:
    idempotency_key: str = described(KEY)
    proposal: int = described("Its number.")


@strawberry.input(description="A decision that was stored, by the partner's transaction.")
class DecisionRefInput:
    partner: str = described("Code of the partner.")
    transaction: TransactionRefInput = described("Which of its transactions.")


def parsed(document: str) -> dict[str, Any]:
    """The JSON object of a text. Rejects RULE_INVALID, which names the column."""
    expected = f"expected a JSON object of at most {LONGEST_DOCUMENT} characters"
    if len(document) > LONGEST_DOCUMENT:
        raise _no_document(expected)
    try:
        found = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise _no_document(f"column {error.colno}: line {error.lineno}, expected JSON") from error
    if not isinstance(found, dict):
        raise _no_document(expected)
    try:
        drafts.plain_json(document)
    except ValueError as error:
        raise _no_document(str(error)) from error
    return found


def _no_document(expected: str) -> RuleInvalid:
    return RuleInvalid("this is no rule", problems=[FieldProblem(("document",), "JSON", expected)])
