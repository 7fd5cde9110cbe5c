"""Arms: who is held out of promotions, stored before anybody is shown anything, and never drawn again.

What a member is in follows from the experiment and the member alone (`promotions.holdouts`). It is stored when the
member first meets a rule of the experiment, and counts as it was stored, whatever becomes of the experiment's share. A
process remembers what it has seen stored, so that a purchase costs neither a write nor a read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import asyncpg
from msgspec import Struct

from kit.lane import Lane
from partners.mechanics import arm_store
from partners.mechanics.documents import HoldoutDocument
from partners.promotions import holdouts
from partners.promotions.evaluation import GLOBAL
from partners.promotions.holdouts import CONTROL

MOST_REMEMBERED = 200_000
NOBODY: Mapping[str, str] = {}


class Met(Struct, frozen=True):
    """A member who is about to meet a rule of an experiment, and the business instant."""

    holder_id: int
    experiment: str
    document: HoldoutDocument
    at: datetime


class Experiments:
    """The experiments that were agreed on: versions of their documents by code, each with the instant it is in force
    from, in order. Read only."""

    def __init__(self, versions: Iterable[tuple[str, datetime, HoldoutDocument]] = ()) -> None:
        self._versions: dict[str, list[tuple[datetime, HoldoutDocument]]] = {}
        for code, valid_from, document in versions:
            self._versions.setdefault(experiment_of(code), []).append((valid_from, document))

    def among(self, named: Iterable[str], *, at: datetime) -> dict[str, HoldoutDocument]:
        """Those of some experiments that are in force at an instant."""
        if not self._versions:
            return {}
        found = {}
        for experiment in sorted(named):
            held = [document for valid_from, document in self._versions.get(experiment, ()) if valid_from <= at]
            if held:
                found[experiment] = held[-1]
        return found


def experiment_of(code: str) -> str:
    """The experiment of a mechanic's code: the programme's own is `global`, and GLOBAL to rules."""
    return GLOBAL if code == GLOBAL.lower() else code


class Arms:
    """The arms of members as this process has seen them stored."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._seen: OrderedDict[tuple[int, str], str] = OrderedDict()
        self._lane: Lane[Met, str] = Lane(self._arms_of)

    async def close(self) -> None:
        """Finish what is queued."""
        await self._lane.close()

    async def held_out(
        self, holder_id: int, experiments: Mapping[str, HoldoutDocument], *, at: datetime
    ) -> Mapping[str, str]:
        """The experiments in whose control group the member is, each with CONTROL; being treated needs no word."""
        found = {}
        for experiment, document in experiments.items():
            arm = self._seen.get((holder_id, experiment))
            if arm is None:
                arm = await self._lane.submit(Met(holder_id, experiment, document, at))
            if arm == CONTROL:
                found[experiment] = arm
        return found or NOBODY

    async def meet(self, met: Mapping[int, Mapping[str, HoldoutDocument]], *, at: datetime) -> None:
        """Store and remember the arms of many members, by their numbers, together: what `held_out` asks for then."""
        unknown = [
            Met(holder_id, experiment, document, at)
            for holder_id, experiments in met.items()
            for experiment, document in experiments.items()
            if (holder_id, experiment) not in self._seen
        ]
        if unknown:
            await self._lane.submit_all(unknown)

    async def _arms_of(self, met: Sequence[Met]) -> list[str]:
        """Stored arms, and those that are stored now; of a household all members are in one."""
        at = max(one.at for one in met)
        wanted = {(one.holder_id, one.experiment): one for one in met}
        arms: dict[tuple[int, str], str] = {}
        drawn = []
        rows = await arm_store.arms(self._pool, list(wanted), at)
        for (key, one), (stored, household_id) in zip(wanted.items(), rows, strict=True):
            if stored is None:
                who = _drawn(one, household_id)
                arm = holdouts.arm(
                    one.experiment, salt=one.document.salt, member=who, control_bp=one.document.control_bp
                )
                drawn.append((*key, arm, who))
            else:
                arms[key] = stored
        if drawn:
            for (holder_id, experiment, _, _), arm in zip(
                drawn, await arm_store.keep(self._pool, drawn, at), strict=True
            ):
                arms[holder_id, experiment] = arm
        for key, arm in arms.items():
            self._remember(key, arm)
        return [arms[one.holder_id, one.experiment] for one in met]

    def _remember(self, key: tuple[int, str], arm: str) -> None:
        self._seen[key] = arm
        if len(self._seen) > MOST_REMEMBERED:
            self._seen.popitem(last=False)


def _drawn(met: Met, household_id: int | None) -> str:
    if household_id is None or met.document.per == "member":
        return str(met.holder_id)
    return f"household:{household_id}"
