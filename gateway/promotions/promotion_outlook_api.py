"""What marketers look at before and while a promotion runs: which running rules it meets, how fast its budgets are used
up, and what members read of it in every language."""

from collections.abc import Sequence
from datetime import datetime

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, scopes
from gateway.context import LANGUAGES, Context
from gateway.inputs import described
from gateway.promotions.rule_types import BudgetFigure, figure
from kit.amounts import BASIS
from partners.promotions import budgets, burning, catalogue, overlaps
from partners.promotions.documents import RuleDocument
from partners.promotions.overlaps import Overlap

MARKETERS = (scopes.RULES_EDIT, scopes.RULES_APPROVE)
MOST = 50


@strawberry.type(description="A running rule of another promotion that a rule meets at the same tills.")
class RuleOverlap:
    rule: str = described("Code of the rule that meets it.")
    other: str = described("Code of the running rule.")
    promotion: str = described("Code of that one's promotion.")
    title: str = described("What people call that one, in the language that was asked for.")
    since: datetime = described("From when on both are in force.")
    until: datetime | None = described("Until when; null: without an end.")
    how: str = described("ADDS_UP: both give. OUTRANKS: the running one is kept out. OUTRANKED: it keeps this one out.")


@strawberry.type(description="How a budget that a promotion counts against is used up.")
class BudgetBurn:
    budget: str = described("Its code.")
    period: str = described("total, year, month, week, day, or rolling days.")
    limit: BudgetFigure = described("How much may be used per scope and period.")
    used: BudgetFigure = described("How much is, where most is.")
    share_bp: int = described("The same in basis points of the limit.")
    per_day: BudgetFigure | None = described("So much a day since its period began. Null of one that counts by scopes.")
    since: datetime | None = described("Since when that was reckoned.")
    runs_out_at: datetime | None = described("When nothing is left at that pace; null: not within its period.")


@strawberry.type(description="What members read of a promotion in a language.")
class PromotionPreview:
    language: str = described("en, ru, ro.")
    name: str = described("Its name.")
    titles: list[str] = described("What its rules are called.")


@strawberry.type(description="What is worth knowing of a promotion before and while it runs.")
class PromotionOutlook:
    overlaps: list[RuleOverlap] = described("Running rules that it meets.")
    budgets: list[BudgetBurn] = described("How its budgets are used up.")
    previews: list[PromotionPreview] = described("What members read, in every language.")


@strawberry.type
class PromotionOutlookQuery:
    @access.query(
        scopes=MARKETERS, cost=50,
        description="Which running rules a promotion meets, how fast its budgets are used up, and what members read of "
        "it. Of its rules the last version that was drafted counts. Null where there is none of this code.",
    )  # fmt: skip
    async def promotion_outlook(self, info: Info[Context, None], code: str) -> PromotionOutlook | None:
        services, at, language = info.context.services, await info.context.now(), info.context.language
        shelf = (await services.directory.get()).shelf
        async with services.database.reading() as connection:
            promotion = await catalogue.promotion(connection, code)
            if promotion is None:
                return None
            drafted = await catalogue.drafted(connection, [promotion.promotion_id])
            rules = [one.document for one in drafted.get(promotion.promotion_id, [])]
            burns = await _burns(connection, rules, at)
        running = shelf.at(at, at).rules
        met = [(rule.code, one) for rule in rules for one in overlaps.found(rule, running)]
        return PromotionOutlook(
            overlaps=[_overlap(rule, one, language) for rule, one in met[:MOST]],
            budgets=burns,
            previews=[
                PromotionPreview(
                    language=each, name=promotion.names.get(each, code), titles=[rule.title.of(each) for rule in rules]
                )
                for each in LANGUAGES
            ],
        )


def _overlap(rule: str, found: Overlap, language: str) -> RuleOverlap:
    other = found.rule
    return RuleOverlap(
        rule=rule, other=other.code, promotion=other.promotion, title=other.title.of(language), since=found.since,
        until=found.until, how=found.how,
    )  # fmt: skip


async def _burns(connection: AsyncConnection, rules: Sequence[RuleDocument], at: datetime) -> list[BudgetBurn]:
    found = []
    for code in sorted({cap for rule in rules for cap in rule.caps}):
        budget = await budgets.read(connection, code)
        usage = await budgets.usage(connection, code, limit=1)
        used, remaining = (usage[0].used, usage[0].remaining) if usage else (0, budget.ceiling)
        document, first = budget.document, min(rule.valid_from for rule in rules if code in rule.caps)
        burn = None
        if not document.scopes and first < at and not document.rolling_days:
            since = burning.begins_at(document.period, at, zone=document.zone, first=first)
            ends = burning.ends_at(document.period, at, zone=document.zone)
            burn = burning.burn(used, remaining, since=since, at=at, ends=ends)
        found.append(
            BudgetBurn(
                budget=code, period=document.period, limit=figure(document.unit, budget.currency, budget.ceiling),
                used=figure(document.unit, budget.currency, used),
                share_bp=BASIS - remaining * BASIS // budget.ceiling if budget.ceiling else BASIS,
                per_day=None if burn is None else figure(document.unit, budget.currency, burn.per_day),
                since=None if burn is None else burn.since, runs_out_at=None if burn is None else burn.runs_out_at,
            )
        )  # fmt: skip
    return found
