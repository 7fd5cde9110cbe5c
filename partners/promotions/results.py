"""What a promotion gave and brought at one partner: its own members' purchases at its own tills, nobody else's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.amounts import BASIS, divide_half_even
from ledger import cutoffs
from partners.promotions import result_store, uplift
from partners.promotions.concerns import share_bp
from partners.promotions.documents import RuleDocument
from partners.promotions.evaluation import GLOBAL
from partners.promotions.holdouts import CONTROL, TREATED
from partners.promotions.uplift import Arm, Uplift

NOBODY = Arm(0, 0, 0)


@dataclass(frozen=True, slots=True)
class Period:
    """What is looked at: a partner, the currency of its receipts, and instants [since, until)."""

    partner_id: int
    partner: str
    currency: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it. participants of buyers got something; points were given in all, own_points are what the partner
    pays of them by its shares; owed_minor is what it owes others for discounts. experiment is whose arms were compared.
    """

    period: Period
    experiment: str
    buyers: int
    participants: int
    points: int
    own_points: int
    owed_minor: int
    treated: Arm
    control: Arm
    uplift: Uplift


def experiment_of(rules: Sequence[RuleDocument]) -> str:
    """PURE: the experiment that all of the rules name, else the programme's own, which holds for every rule."""
    named = {rule.experiment for rule in rules}
    return (named.pop() or GLOBAL) if len(named) == 1 else GLOBAL


def since(rules: Sequence[RuleDocument]) -> datetime:
    """PURE: when the first of the rules began."""
    return min(rule.valid_from for rule in rules)


def is_alone(rule: RuleDocument, partner: str) -> bool:
    """PURE: whether a rule works at this partner and at no other."""
    where = rule.where
    return where.partners == (partner,) or bool(
        where.outlets and all(outlet.startswith(f"{partner}:") for outlet in where.outlets)
    )


async def of_partner(
    connection: AsyncConnection, period: Period, rules: Sequence[RuleDocument], control_shares: Mapping[str, int]
) -> Result:
    """What rules of one promotion came to at a partner. control_shares are the experiments' agreed shares, in basis
    points."""
    experiment = experiment_of(rules)
    wanted = {
        **asdict(period), "rules": [rule.code for rule in rules], "experiment": experiment,
        "is_alone": all(is_alone(rule, period.partner) for rule in rules),
        "cutoff_id": await _first_cutoff(connection, period.since),
    }  # fmt: skip
    given = await result_store.given(connection, wanted)
    by_rule = await result_store.points_by_rule(connection, wanted)
    arms = {
        row["arm"]: Arm(row["members"], int(row["sales_minor"]), int(row["squares"]))
        for row in await result_store.arms(connection, wanted)
    }
    treated, control = arms.get(TREATED, NOBODY), arms.get(CONTROL, NOBODY)
    return Result(
        period, experiment, given["buyers"], given["participants"], given["points"],
        sum(divide_half_even(by_rule.get(one.code, 0) * share_bp(one, period.partner), BASIS) for one in rules),
        await result_store.owed_minor(connection, wanted), treated, control,
        uplift.measured(treated, control, control_shares.get(experiment)),
    )  # fmt: skip


async def _first_cutoff(connection: AsyncConnection, at: datetime) -> int:
    """The cut-off that was open at an instant, before which nothing has to be read."""
    opened = [one for one in await cutoffs.cutoffs(connection) if one.opened_at is None or one.opened_at <= at]
    return max((one.cutoff_id for one in opened), default=0)
