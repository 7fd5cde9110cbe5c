"""What a partner's people are told of their part in the programme: the next settlement, what waits for them, and what
promotions brought at their own tills."""

from datetime import datetime, timedelta

import strawberry
from strawberry import Info

from gateway import access, partner_alerts, scopes
from gateway.context import Context
from gateway.finance.dispute_api import dispute_id
from gateway.finance.statement_api import statement_id
from gateway.inputs import described
from gateway.partner_alerts import Alert
from gateway.purchase_api import Counter, counter_of
from gateway.scalars import CurrencyCode
from gateway.types import Money, money
from kit import clock
from kit.amounts import Points, minor_from_micro
from partners.promotions import concerns, results
from partners.promotions.documents import RuleDocument
from partners.promotions.results import Period, Result
from partners.promotions.uplift import Interval, Uplift
from settlement import outlook
from settlement.outlook import Outlook

EVERYBODY = (scopes.HISTORY_READ,)
MOST_ALERTS = 30
LONGEST = timedelta(days=366)


@strawberry.type(
    description="What a partner's next statement is likely to say. An estimate: it changes with every sale."
)
class SettlementOutlook:
    currency_code: CurrencyCode = described("ISO 4217 code.")
    closes_at: datetime = described("What moves until then is settled together, unless it is closed before.")
    carried: Money = described("Carried over by the last run.")
    expected: Money = described(
        "What it would be if everything closed now, without fees and taxes of the run. Positive: the partner receives."
    )


@strawberry.type(description="Something that waits for a partner's people, or soon will.")
class PartnerAlert:
    kind: str = described("EXPOSURE, BUDGET, KEY_ENDS, ALLOWANCE, DISPUTE, STATEMENT, EARNING_PAUSED; more may appear.")
    subject: str = described("A client's id, a budget's code, a currency, the id of a dispute or of a statement.")
    name: str = described("What people call it, or why; empty where there is nothing to say.")
    due_at: datetime | None = described("By when.")
    share_bp: int | None = described("How much of a limit is used, in basis points.")
    reached: bool = described("Whether the limit is reached already.")


@strawberry.type(description="A figure with the interval that holds the truth in 95 of 100 experiments.")
class MoneyInterval:
    estimate: Money = described("The figure.")
    low: Money = described("The lower end.")
    high: Money = described("The upper end.")


@strawberry.type(description="The same of a share, in basis points.")
class ShareInterval:
    estimate_bp: int = described("The figure.")
    low_bp: int = described("The lower end.")
    high_bp: int = described("The upper end.")


@strawberry.type(description="What a promotion gave at the own partner's tills, and what it brought there.")
class PromotionResult:
    since: datetime = described("From when on.")
    until: datetime = described("Until when.")
    buyers: int = described("Members who bought here meanwhile.")
    participants: int = described("Of these, how many got something by it.")
    points: Points = described("Points that it gave here; what returns took back is not taken off.")
    own_points: Points = described("What the own partner pays of these.")
    cost: Money = described("Those at the price of its agreement, and what it owes others for discounts.")
    experiment: str = described("Whose draw tells who was held out: GLOBAL is the programme's own.")
    treated: int = described("Members in the experiment who were not held out.")
    held_out: int = described("Members who were, by lot.")
    verdict: str = described(
        "UP, DOWN, CANNOT_TELL where the interval holds zero; TOO_FEW, NOT_AS_DRAWN, NO_HOLDOUT where nothing is said."
    )
    per_member: MoneyInterval | None = described("What a member who was not held out bought more here.")
    relative: ShareInterval | None = described("The same as a share of what one who was held out bought.")
    in_all: MoneyInterval | None = described("The same for all of them together.")


@strawberry.type
class PartnershipQuery:
    @access.query(
        scopes=(scopes.SETTLEMENT_READ,), cost=20, size=access.ListSize(assumed_size=3),
        description="What the own partner's next statement is likely to say, by currency; nothing for staff.",
    )  # fmt: skip
    async def settlement_outlook(self, info: Info[Context, None]) -> list[SettlementOutlook]:
        if info.context.viewer.partner_id is None:
            return []
        counter, at = await counter_of(info), await info.context.now()
        async with info.context.services.database.reading() as connection:
            found = await outlook.of_partner(connection, counter.partner.partner_id, at=at)
        return [_outlook(each) for each in found]

    @access.query(
        scopes=EVERYBODY, cost=2, size=access.ListSize(assumed_size=MOST_ALERTS),
        description="What waits for the own partner's people, or soon will, as far as whoever asks may look it up.",
    )  # fmt: skip
    async def partner_alerts(self, info: Info[Context, None]) -> list[PartnerAlert]:
        counter, at = await counter_of(info), await info.context.now()
        held = info.context.viewer.scopes
        async with info.context.services.database.reading() as connection:
            found = await partner_alerts.of_partner(connection, counter.partner, held, at=at, now=clock.wall())
        return [_alert(info.context, each) for each in found[:MOST_ALERTS]]

    @access.query(
        scopes=(scopes.RULES_READ,), cost=100,
        description="What a promotion gave and brought at the own partner. Null where there is none of this code, it "
        "does not concern this partner, it has not begun, or staff ask.",
    )  # fmt: skip
    async def promotion_result(self, info: Info[Context, None], code: str) -> PromotionResult | None:
        if info.context.viewer.partner_id is None:
            return None
        counter, at = await counter_of(info), await info.context.now()
        found = concerns.published(counter.directory.shelf, counter.partner.code, at=at).get(code, [])
        rules = [each.rule for each in found if each.rule.valid_from <= at]
        terms = counter.directory.terms_at(counter.partner.partner_id, at)
        if not rules or terms is None:
            return None
        experiments = counter.directory.experiments.among({results.experiment_of(rules)}, at=at)
        async with info.context.services.database.reading() as connection:
            result = await results.of_partner(
                connection, _period(counter, rules, terms.currency, at), rules,
                {name: document.control_bp for name, document in experiments.items()},
            )  # fmt: skip
        return _result(result, terms.issue_price_micro)


def _period(counter: Counter, rules: list[RuleDocument], currency: str, at: datetime) -> Period:
    ends = [rule.valid_until for rule in rules]
    until = at if None in ends else min(at, max(end for end in ends if end is not None))
    since = max(results.since(rules), until - LONGEST)
    return Period(counter.partner.partner_id, counter.partner.code, currency, since, until)


def _outlook(found: Outlook) -> SettlementOutlook:
    def of(micro: int) -> Money:
        return money(minor_from_micro(micro, found.currency), found.currency)

    return SettlementOutlook(
        currency_code=CurrencyCode(found.currency), closes_at=found.closes_at, carried=of(found.carried_micro),
        expected=of(found.expected_micro),
    )  # fmt: skip


def _alert(context: Context, found: Alert) -> PartnerAlert:
    subject = found.subject
    if found.kind == partner_alerts.DISPUTE:
        subject = str(dispute_id(context.services.vault, int(subject)))
    if found.kind == partner_alerts.STATEMENT:
        subject = str(statement_id(context.services.vault, int(subject)))
    return PartnerAlert(
        kind=found.kind, subject=subject, name=found.name, due_at=found.due_at, share_bp=found.share_bp,
        reached=found.is_reached,
    )  # fmt: skip


def _result(found: Result, price_micro: int) -> PromotionResult:
    period, brought = found.period, found.uplift
    cost_minor = minor_from_micro(found.own_points * price_micro, period.currency) + found.owed_minor
    return PromotionResult(
        since=period.since, until=period.until, buyers=found.buyers, participants=found.participants,
        points=Points(found.points), own_points=Points(found.own_points), cost=money(cost_minor, period.currency),
        experiment=found.experiment, treated=found.treated.members, held_out=found.control.members,
        verdict=brought.verdict, per_member=_interval(brought.per_member, period.currency),
        relative=_relative(brought), in_all=_interval(brought.total_minor, period.currency),
    )  # fmt: skip


def _interval(found: Interval | None, currency: str) -> MoneyInterval | None:
    if found is None:
        return None
    return MoneyInterval(
        estimate=money(found.estimate, currency), low=money(found.low, currency), high=money(found.high, currency)
    )


def _relative(found: Uplift) -> ShareInterval | None:
    one = found.relative_bp
    return None if one is None else ShareInterval(estimate_bp=one.estimate, low_bp=one.low, high_bp=one.high)
