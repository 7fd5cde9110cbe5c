"""PURE: whether a promotion may be launched: one objective, a gain expected above the cost, obligations within cover;
and whether a budget of one that was may let more be given.

What it costs comes from a simulation, what it brings and the margin from whoever proposes it, the cover from
settlement. Break-even: a cost that grows with sales needs a lift of cost / (margin - cost), one on what is sold anyway
cost / margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from kit.amounts import BASIS, micro_per_minor
from kit.errors import FieldProblem

LONGEST_METRIC = 100


@dataclass(frozen=True, slots=True)
class Objective:
    """The one thing the promotion is for: a metric, the figure to reach, and by when."""

    metric: str
    target: int
    due: date


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected, in minor units of the programme's base currency: sales it adds, and what it costs.

    margin_bp is the contribution margin of the sales; obligation_minor is what the points will owe at most, cover_minor
    what stands for obligations, standing_minor what is owed already. rehearsed is on how many purchases the cost was
    found, None where it comes from elsewhere.
    """

    added_sales_minor: int
    margin_bp: int
    cost_minor: int
    obligation_minor: int
    standing_minor: int
    cover_minor: int
    rehearsed: int | None = None


@dataclass(frozen=True, slots=True)
class Cover:
    """What whoever proposes to raise a budget says: what is owed already, and what stands for obligations, in minor
    units of the base currency."""

    standing_minor: int
    cover_minor: int


@dataclass(frozen=True, slots=True)
class Aim:
    """What whoever submits says of a launch: the objective, and what is expected besides what a simulation tells."""

    objective: Objective
    added_sales_minor: int
    margin_bp: int
    standing_minor: int
    cover_minor: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it may be launched, what stands against it, and the figures to decide on in spite of it.

    gain_minor is the margin on the added sales; break_even_sales_minor is what would have to be added to pay the cost.
    """

    problems: tuple[FieldProblem, ...]
    gain_minor: int
    cost_minor: int
    break_even_sales_minor: int | None
    obligation_after_minor: int

    @property
    def passes(self) -> bool:
        """Whether nothing stands against it."""
        return not self.problems


def expectation(aim: Aim, *, points_minor: int, off_minor: int, rehearsed: int) -> Expectation:
    """What is expected of a launch that a rehearsal on so many purchases gave so much more for, in points at the till
    and in discounts."""
    return Expectation(
        added_sales_minor=aim.added_sales_minor,
        margin_bp=aim.margin_bp,
        cost_minor=max(points_minor + off_minor, 0),
        obligation_minor=max(points_minor, 0),
        standing_minor=aim.standing_minor,
        cover_minor=aim.cover_minor,
        rehearsed=rehearsed,
    )


def examine(objective: Objective | None, expected: Expectation, *, on: date) -> Verdict:
    """Whether a promotion may be launched on a day. One that fails may still be, if a second person says so."""
    gain = expected.added_sales_minor * expected.margin_bp // BASIS
    owed = expected.standing_minor + expected.obligation_minor
    found = list(_objective(objective, on))
    if not 0 < expected.margin_bp <= BASIS:
        found.append(FieldProblem(("margin",), "MARGIN", "expected a margin above zero, at most the whole"))
    if gain <= expected.cost_minor:
        message = f"expected a gain above the cost: {gain} against {expected.cost_minor} minor units"
        found.append(FieldProblem(("addedSales",), "GAIN_NOT_ABOVE_COST", message))
    found += _beyond(owed, expected.cover_minor)
    if expected.rehearsed == 0:  # it would cost nothing, whatever it gives
        found.append(FieldProblem(("simulation",), "NOTHING_REHEARSED", "expected purchases to rehearse it on"))
    return Verdict(tuple(found), gain, expected.cost_minor, break_even_sales(expected), owed)


def examine_raise(more_minor: int, cover: Cover | None) -> tuple[int, tuple[FieldProblem, ...]]:
    """What would be owed at most once a budget lets so much more be given, and what stands against that.

    What a promotion is worth was judged at its launch; of that only what may be owed hangs on a budget's limit.
    """
    if cover is None:
        message = "expected what stands for obligations, and what is owed already"
        return more_minor, (FieldProblem(("cover",), "MISSING", message),)
    owed = cover.standing_minor + more_minor
    return owed, tuple(_beyond(owed, cover.cover_minor))


def worth_minor(points: int, point_value_micro: int, currency: str) -> int:
    """What points are worth at the till in minor units, rounded up: it is what may be owed for them at most."""
    return -(-points * point_value_micro // micro_per_minor(currency))


def break_even_sales(expected: Expectation) -> int | None:
    """Sales that must be added to pay the cost, in minor units, rounded up; None without a margin."""
    return -(-expected.cost_minor * BASIS // expected.margin_bp) if expected.margin_bp > 0 else None


def break_even_lift_bp(cost_bp: int, margin_bp: int, *, proportional: bool) -> int | None:
    """By how many basis points sales must rise to pay a cost of cost_bp of sales; None where they never do.

    proportional: the cost grows with what is added; otherwise it is paid once on what is sold anyway. Rounded up.
    """
    left = margin_bp - cost_bp if proportional else margin_bp
    return -(-cost_bp * BASIS // left) if left > 0 else None


def _beyond(owed_minor: int, cover_minor: int) -> list[FieldProblem]:
    if owed_minor <= cover_minor:
        return []
    message = f"expected obligations within cover: {owed_minor} against {cover_minor} minor units"
    return [FieldProblem(("cover",), "COVER_EXCEEDED", message)]


def _objective(objective: Objective | None, on: date) -> list[FieldProblem]:
    if objective is None:
        return [FieldProblem(("objective",), "MISSING", "expected one objective with metric, target and date")]
    found = []
    if not 0 < len(objective.metric.strip()) <= LONGEST_METRIC:
        message = f"expected what is measured, in at most {LONGEST_METRIC} characters"
        found.append(FieldProblem(("objective", "metric"), "MISSING", message))
    if objective.target <= 0:
        found.append(FieldProblem(("objective", "target"), "NOT_POSITIVE", "expected a figure above zero to reach"))
    if objective.due <= on:
        found.append(FieldProblem(("objective", "due"), "PAST", "expected a day after the launch"))
    return found
