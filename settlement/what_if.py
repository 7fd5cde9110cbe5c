"""What a draft of an agreement would have made of a run that is over. The same functions decide; nothing is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from settlement import archive, calculation
from settlement.calculation import Material

PRICES = frozenset({
    "fund_price_micro", "service_price_micro", "reimbursement_price_micro", "hybrid_fund_micro", "breakage_share_bp",
})  # fmt: skip
"""What of an agreement a draft may say otherwise; integers not below zero."""


class WhatIfInvalid(Rejection):
    """The draft says something that no agreement can, or the run kept nothing to decide again."""

    code = "WHAT_IF_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Difference:
    """A kind of line as it was and as it would have been, micro-units of the run's currency."""

    kind: str
    base_micro: int
    scenario_micro: int

    @property
    def delta_micro(self) -> int:
        """What would have been more to the partner (positive) or less."""
        return self.scenario_micro - self.base_micro


def scenario(material: Material, partner_id: int, changes: Mapping[str, int]) -> Material:
    """PURE: a run's material with every version of a partner's agreement changed. Rejects WHAT_IF_INVALID."""
    if not changes or changes.keys() - PRICES or any(value < 0 for value in changes.values()):
        raise WhatIfInvalid(f"a draft says integers, not below zero, of: {', '.join(sorted(PRICES))}")
    if changes.get("breakage_share_bp", 0) > 10_000:
        raise WhatIfInvalid("a share is at most 10,000 basis points")
    terms = dict(material.terms)
    for number, one in material.terms.items():
        if one.partner_id == partner_id:
            terms[number] = replace(one, **dict[str, Any](changes))
            if terms[number].hybrid_fund_micro > terms[number].fund_price_micro:
                raise WhatIfInvalid("what is billed at issue is more than the whole fund part")
    return replace(material, terms=terms)


def differences(base: Material, changed: Material, partner_id: int) -> list[Difference]:
    """PURE: a partner's lines by kind under both, and the NET. Fees and rebates of volume periods stay as they were."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for place, material in enumerate((base, changed)):
        for draft in calculation.decide(material).drafts:
            if draft.party_id == partner_id:
                for line in draft.lines:
                    sums[line.kind][place] += line.amount_micro
                sums["NET"][place] += draft.net_micro
    return [Difference(kind, was, would) for kind, (was, would) in sums.items()]


def drivers(base: Material, partner_id: int, changes: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """PURE: by kind of line what each of a draft's prices does alone, where it does anything, micro-units. A price that
    no agreement could have without the others does nothing alone."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for name, value in sorted(changes.items()):
        try:
            alone = scenario(base, partner_id, {name: value})
        except WhatIfInvalid:
            continue
        for one in differences(base, alone, partner_id):
            if one.delta_micro:
                found[one.kind][name] = one.delta_micro
    return dict(found)


async def compare(
    connection: AsyncConnection, run_id: int, partner_id: int, changes: Mapping[str, int]
) -> list[Difference]:
    """What a draft would have made of a partner's statement in a run, line by line and net. Writes nothing.

    Rejects RUN_UNKNOWN, WHAT_IF_INVALID.
    """
    base = await _base(connection, run_id)
    return differences(base, scenario(base, partner_id, changes), partner_id)


async def explain(
    connection: AsyncConnection, run_id: int, partner_id: int, changes: Mapping[str, int]
) -> list[tuple[Difference, dict[str, int]]]:
    """The same, and for each kind of line what each of the prices does alone. Writes nothing.

    Rejects RUN_UNKNOWN, WHAT_IF_INVALID.
    """
    base = await _base(connection, run_id)
    found = differences(base, scenario(base, partner_id, changes), partner_id)
    by_kind = drivers(base, partner_id, changes)
    return [(one, by_kind.get(one.kind, {})) for one in found]


async def _base(connection: AsyncConnection, run_id: int) -> Material:
    await archive.head(connection, run_id)
    base = await archive.material(connection, run_id)
    if base is None:
        raise WhatIfInvalid(f"run {run_id} kept nothing that it could be decided on again")
    return base
