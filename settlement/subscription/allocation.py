"""PURE: a month's fees to the partners, as a waterfall. Everything that came in goes somewhere, to the micro-unit.

    recognised fees without tax, less what charging them cost                = the pool
    a) benefits that were used, at the agreed rate and up to its cap         → the partners that gave them
    b) points that the plans promised, at the network's price                → the points' fund
    c) the reserve and the operator's share                                  → the operator
    d) what is left                                                          → the partners, by one of four methods

USER_CENTRIC shares each subscriber's own rest by what that subscriber used; PRO_RATA all of it by all usage; SHAPLEY
each subscriber's rest equally among the partners used at all (Bergantiños and Moreno-Ternero); FIXED by agreed
weights. A subscriber who used nothing goes by the zero-use rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from kit.amounts import BASIS, allocate

Method = Literal["USER_CENTRIC", "PRO_RATA", "SHAPLEY", "FIXED"]
ZeroUse = Literal["PRO_RATA", "OPERATOR", "CARRY"]
Shortage = Literal["OPERATOR", "HAIRCUT"]
METHODS: tuple[Method, ...] = ("USER_CENTRIC", "PRO_RATA", "SHAPLEY", "FIXED")


@dataclass(frozen=True, slots=True)
class Fee:
    """What one subscription earned in the month, micro-units: recognised without tax, and what charging it cost."""

    subscription_no: int
    recognised_micro: int
    charging_micro: int = 0


@dataclass(frozen=True, slots=True)
class MeteredUse:
    """What a partner is owed for benefits of one kind: units used, the rate, and the most for the month (None: all)."""

    partner_id: int
    benefit: str
    units: int
    rate_micro: int
    most_micro: int | None = None

    @property
    def owed_micro(self) -> int:
        """Units at the rate, up to the cap."""
        owed = self.units * self.rate_micro
        return owed if self.most_micro is None else min(owed, self.most_micro)


@dataclass(frozen=True, slots=True)
class Rules:
    """How a plan is shared: reserve and the operator's share in basis points of what a) and b) leave."""

    method: Method = "USER_CENTRIC"
    zero_use: ZeroUse = "PRO_RATA"
    shortage: Shortage = "OPERATOR"
    reserve_bp: int = 0
    operator_bp: int = 0
    fixed_weights: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allocation:
    """Where a month's fees went, micro-units. All of it together, less what the operator added, is the pool.

    metered is per (partner, benefit), shares per partner; operator_micro is the operator's share with what nobody could
    be given, added_micro what it put in where fees did not cover what was owed; carried_micro goes to next month.
    """

    pool_micro: int
    metered: Mapping[tuple[int, str], int]
    points_micro: int
    reserve_micro: int
    operator_micro: int
    shares: Mapping[int, int]
    carried_micro: int
    added_micro: int

    @property
    def total_micro(self) -> int:
        """Everything given out, which is the pool and what the operator added."""
        given = sum(self.metered.values()) + sum(self.shares.values())
        return given + self.points_micro + self.reserve_micro + self.operator_micro + self.carried_micro


def allocate_month(
    fees: Sequence[Fee],
    *,
    metered: Sequence[MeteredUse],
    points_micro: int,
    weights: Mapping[int, Mapping[int, int]],
    rules: Rules,
) -> Allocation:
    """Share the fees of a month. weights are what each subscription used, per partner (benefit cost or verified
    purchases, never clicks). The order of what comes in does not matter. Raises ValueError for negative amounts.
    """
    if points_micro < 0 or any(fee.recognised_micro < fee.charging_micro or fee.charging_micro < 0 for fee in fees):
        raise ValueError("fees cover what charging them cost, and nothing is negative")
    nets = _nets(fees)
    pool = sum(nets.values())
    owed = {(use.partner_id, use.benefit): use.owed_micro for use in sorted(metered, key=_use_key)}
    owed_all = sum(owed.values()) + points_micro
    added = 0
    if owed_all > pool:
        if rules.shortage == "OPERATOR":
            added = owed_all - pool
        else:
            *parts, points_micro = allocate(pool, [*owed.values(), points_micro])
            owed = dict(zip(owed, parts, strict=True))
            owed_all = pool
    left = max(pool - owed_all, 0)
    reserve, operator = left * rules.reserve_bp // BASIS, left * rules.operator_bp // BASIS
    shares, rest_operator, carried = _shares(left - reserve - operator, nets, weights, rules)
    return Allocation(pool, owed, points_micro, reserve, operator + rest_operator, shares, carried, added)


def compare_methods(
    fees: Sequence[Fee],
    *,
    metered: Sequence[MeteredUse],
    points_micro: int,
    weights: Mapping[int, Mapping[int, int]],
    rules: Rules,
) -> dict[Method, Allocation]:
    """What each method would have paid, the others equal: printed on every statement."""

    return {
        method: allocate_month(
            fees, metered=metered, points_micro=points_micro, weights=weights, rules=replace(rules, method=method)
        )
        for method in METHODS
    }


def parts_of(
    taken: Sequence[tuple[int, int]],
    *,
    fees: Sequence[Fee],
    metered: Sequence[MeteredUse],
    points_micro: int,
    weights: Mapping[int, Mapping[int, int]],
    rules: Rules,
) -> list[dict[int, int]]:
    """What partners got of the rest of a month for parts of single fees, each part given as (subscription, micro-units
    without what charging cost): its part of the rest, shared as the method shares it, by largest remainder.

    Of a fee whose rest was carried or stayed with the operator nobody got anything.
    """
    done = allocate_month(fees, metered=metered, points_micro=points_micro, weights=weights, rules=rules)
    left = done.pool_micro + done.added_micro - sum(done.metered.values()) - done.points_micro
    residual = left - done.reserve_micro - left * rules.operator_bp // BASIS
    nets = _nets(fees)
    own = dict(zip(nets, allocate(residual, list(nets.values())), strict=True))
    everybody = _everybody(nets, weights)
    found = []
    for number, part in taken:
        amount = allocate(own[number], [part, nets[number] - part])[0] if part else 0
        found.append(_spread(amount, _by(_used(weights.get(number, {})), everybody, rules)))
    return found


def _by(used: Mapping[int, int], everybody: Mapping[int, int], rules: Rules) -> Mapping[int, int]:
    """By which weights the rest of one fee is shared."""
    if rules.method == "FIXED":
        return rules.fixed_weights
    if not used:
        return everybody if rules.zero_use == "PRO_RATA" else {}
    if rules.method == "PRO_RATA":
        return everybody
    return used if rules.method == "USER_CENTRIC" else dict.fromkeys(used, 1)


def _nets(fees: Sequence[Fee]) -> dict[int, int]:
    return {fee.subscription_no: fee.recognised_micro - fee.charging_micro for fee in sorted(fees, key=_number)}


def _everybody(numbers: Iterable[int], weights: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
    found: dict[int, int] = defaultdict(int)
    for number in numbers:
        for partner_id, weight in _used(weights.get(number, {})).items():
            found[partner_id] += weight
    return found


def _shares(
    residual: int, nets: Mapping[int, int], weights: Mapping[int, Mapping[int, int]], rules: Rules
) -> tuple[dict[int, int], int, int]:
    """Partners' shares of the residual, what stays with the operator, and what is carried over."""
    if rules.method == "FIXED":
        return _spread(residual, dict(rules.fixed_weights)), *_nobody(residual, rules.fixed_weights)
    own = dict(zip(nets, allocate(residual, list(nets.values())), strict=True)) if nets else {}
    used = {number: _used(weights.get(number, {})) for number in own}
    everybody = _everybody(own, weights)
    idle = sum(amount for number, amount in own.items() if not used[number])
    if rules.method == "PRO_RATA":
        shares = _spread(residual - idle, everybody)
    else:
        shares = defaultdict(int)
        for number, amount in own.items():
            by = used[number] if rules.method == "USER_CENTRIC" else dict.fromkeys(used[number], 1)
            for partner_id, part in _spread(amount, by).items():
                shares[partner_id] += part
    if rules.zero_use == "PRO_RATA" and everybody:
        for partner_id, part in _spread(idle, everybody).items():
            shares[partner_id] = shares.get(partner_id, 0) + part
        return dict(sorted(shares.items())), 0, 0
    kept = idle if used else residual
    return dict(sorted(shares.items())), *((0, kept) if rules.zero_use == "CARRY" else (kept, 0))


def _nobody(residual: int, weights: Mapping[int, int]) -> tuple[int, int]:
    return (0, 0) if any(weights.values()) else (residual, 0)


def _used(weights: Mapping[int, int]) -> dict[int, int]:
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("a weight is not negative")
    return {partner_id: weight for partner_id, weight in sorted(weights.items()) if weight}


def _spread(amount: int, weights: Mapping[int, int]) -> dict[int, int]:
    ordered = {partner_id: weight for partner_id, weight in sorted(weights.items()) if weight}
    if not ordered:
        return {}
    return dict(zip(ordered, allocate(amount, list(ordered.values())), strict=True))


def _number(fee: Fee) -> int:
    return fee.subscription_no


def _use_key(use: MeteredUse) -> tuple[int, str]:
    return use.partner_id, use.benefit
