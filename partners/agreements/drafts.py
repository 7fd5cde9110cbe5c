"""Drafts of agreements as people write them: a version with some terms changed, and what differs between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from kit.errors import FieldProblem
from partners.agreements.agreements import AgreementDraft, AgreementInvalid, Version
from partners.terms import VolumeRebate, VolumeTier

_STEPS = {"volume_tiers": VolumeTier, "volume_rebates": VolumeRebate}
_LISTS = ("earn_kinds", "never_earn_classes", "never_earn_categories", "unpayable_kinds")
_ANSWERS = {"yes": True, "no": False}
NAMES = tuple(field.name for field in fields(AgreementDraft) if field.name != "valid_from")


@dataclass(frozen=True, slots=True)
class Difference:
    """One term that two versions say otherwise, as it is written."""

    name: str
    before: str
    after: str


def of_version(version: Version) -> AgreementDraft:
    """The draft that such a version is made of."""
    given = {
        field.name: getattr(version.terms if hasattr(version.terms, field.name) else version.settlement, field.name)
        for field in fields(AgreementDraft)
    }
    return AgreementDraft(**given)


def changed(draft: AgreementDraft, written: Mapping[str, str]) -> AgreementDraft:
    """A draft with terms replaced by what somebody wrote.

    Numbers as digits, yes or no, none, steps as 1000:50,5000:80, tier bonuses as GOLD:50,SILVER:20, lists
    as GOODS,DELIVERY. Rejects
    AGREEMENT_INVALID with every term that is unknown or cannot be read.
    """
    found: dict[str, Any] = {}
    problems = []
    for name, value in written.items():
        if name not in NAMES:
            problems.append(FieldProblem((name,), "UNKNOWN", "one of " + ", ".join(NAMES)))
            continue
        try:
            found[name] = _read(name, value.strip(), getattr(draft, name))
        except ValueError:
            problems.append(FieldProblem((name,), "UNREADABLE", f"'{value}' is not written as this term is"))
    if problems:
        raise AgreementInvalid("these terms cannot be read", problems=problems)
    return replace(draft, **found)


def written(value: object) -> str:
    """A term as people write and read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ",".join(f"{tier}:{bonus}" for tier, bonus in value.items()) or "none"
    if isinstance(value, tuple) and all(isinstance(one, str) for one in value):
        return ",".join(value) or "none"
    if isinstance(value, tuple):
        return ",".join(":".join(str(getattr(step, f.name)) for f in fields(step)) for step in value) or "none"
    return str(value)


def differences(one: Version, other: Version) -> list[Difference]:
    """What the second of two versions says otherwise than the first, valid_from aside."""
    before, after = of_version(one), of_version(other)
    return [
        Difference(name, written(getattr(before, name)), written(getattr(after, name)))
        for name in NAMES
        if getattr(before, name) != getattr(after, name)
    ]


def _read(name: str, value: str, held: object) -> object:
    if name in _STEPS:
        steps = [] if value == "none" else [step.split(":") for step in value.split(",")]
        return tuple(_STEPS[name](*(int(part) for part in _pair(step))) for step in steps)
    if name in _LISTS:
        return () if value == "none" else tuple(sorted({one.strip() for one in value.split(",")}))
    if name == "tier_bonus_bp":
        tiers = [] if value == "none" else [tier.split(":") for tier in value.split(",")]
        return {tier: int(bonus) for tier, bonus in map(_pair, tiers)}
    if name == "debit_cap_micro":
        return None if value == "none" else int(value)
    if isinstance(held, bool):
        if value not in _ANSWERS:
            raise ValueError(value)
        return _ANSWERS[value]
    return int(value) if isinstance(held, int) else value


def _pair(parts: list[str]) -> tuple[str, str]:
    first, second = parts
    return first, second
