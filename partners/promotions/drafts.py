"""Drafts: what a marketer writes in one file, rules with the promotions, budgets and groups that they need.

A file is one rule document, a list of them, or an object with `rules` and, where wanted, `promotions`, `budgets`,
`groups` and `without` (codes of rules that go).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import FieldProblem
from partners.agreements import onboarding
from partners.promotions import budgets, documents, publishing, store
from partners.promotions.publishing import Change, RuleInvalid
from partners.promotions.releases import Release

_PARTS = ("promotions", "budgets", "rules", "groups", "without")
_OPERATOR = 0
_COLUMN = re.compile(r"column (\d+): ")


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be drafted, as plain JSON. promotions have code, names and, where it is no promotion of the
    operator's, the sponsor's code; budgets are their documents with sponsor and currency beside."""

    rules: Sequence[Mapping[str, Any]]
    promotions: Sequence[Mapping[str, Any]] = ()
    budgets: Sequence[Mapping[str, Any]] = ()
    groups: Sequence[Mapping[str, Any]] | None = None
    without: Sequence[str] = ()


def plain_json(text: str) -> Any:
    """What a text of JSON says. Raises ValueError for what is none, and where a name is written twice in one object:
    of two `where` the first would count for nothing, without a word."""
    try:
        return json.loads(text, object_pairs_hook=_written_once)
    except RecursionError as deep:
        raise ValueError("expected less in each other") from deep


def of(source: Any) -> Draft:
    """The draft that a file holds. Rejects RULE_INVALID where it has another form."""
    if isinstance(source, list):
        source = {"rules": source}
    elif isinstance(source, Mapping) and not source.keys() & set(_PARTS):
        source = {"rules": [source]}
    if not isinstance(source, Mapping):
        raise RuleInvalid("expected a rule, a list of rules, or an object with rules")
    found = [FieldProblem((name,), "UNKNOWN", f"expected {', '.join(_PARTS)}") for name in source if name not in _PARTS]
    lists = {name: given for name, given in source.items() if name in _PARTS}
    found += [FieldProblem((name,), "LIST", "expected a list") for name in lists if not isinstance(lists[name], list)]
    found += [
        FieldProblem((name, str(number)), "OBJECT", "expected an object")
        for name in lists.keys() - {"without"} if isinstance(lists[name], list)
        for number, one in enumerate(lists[name]) if not isinstance(one, Mapping)
    ]  # fmt: skip
    found += [
        FieldProblem(("without", str(number)), "TEXT", "expected the code of a rule")
        for number, one in enumerate(lists.get("without", ()) if isinstance(lists.get("without"), list) else ())
        if not isinstance(one, str)
    ]  # fmt: skip
    if found:
        raise RuleInvalid("this is no draft", problems=found)
    return Draft(**{"rules": (), **lists})


def problems(draft: Draft) -> list[FieldProblem]:
    """What is wrong with the rules themselves, by path: `rules`, the rule's code or number, and where in it."""
    found = [
        replace(one, path=("rules", str(source.get("code", number)), *one.path))
        for number, source in enumerate(draft.rules)
        for one in documents.problems(source)
    ]
    codes = Counter(str(source["code"]) for source in draft.rules if "code" in source)
    found += [
        FieldProblem(("rules", code, "code"), "REPEATED", "expected every rule once: only the last would count")
        for code, count in codes.items() if count > 1
    ]  # fmt: skip
    return found


def placed(problem: FieldProblem) -> tuple[int | None, str]:
    """The column of an expression at which a problem is, where it is in one, and what was expected."""
    place = _COLUMN.match(problem.message)
    return (int(place[1]), problem.message[place.end() :]) if place else (None, problem.message)


async def keep(connection: AsyncConnection, draft: Draft, *, author: int, at: datetime) -> Change:
    """Add the promotions and budgets that are not there, append the rules, and say what release they make.

    Rejects NOT_PERMITTED, RULE_INVALID, BUDGET_INVALID, PARTNER_UNKNOWN, PROMOTION_UNKNOWN.
    """
    if found := problems(draft):
        raise RuleInvalid("these are no rules", problems=found)
    for source in draft.promotions:
        await _promotion(connection, source, author, at)
    known = {budget.document.code for budget in await budgets.everything(connection)}
    for given in draft.budgets:
        document = dict(given)
        sponsor_id, currency = await _sponsor(connection, document.pop("sponsor", None)), document.pop("currency", None)
        if document.get("code") not in known:
            await budgets.add(
                connection, source=document, sponsor_id=sponsor_id, actor=author, at=at, currency=currency
            )
    drafted = [await publishing.draft(connection, source=source, author=author, at=at) for source in draft.rules]
    return Change({rule.code: rule.version for rule in drafted}, draft.without, draft.groups)


def in_force_since(release: Release, codes: Sequence[str], since: datetime) -> Release:
    """The release as if rules of these codes were in force from an instant on and had no end: what is rehearsed."""
    rules = tuple(
        rule.model_copy(update={"valid_from": min(rule.valid_from, since), "valid_until": None})
        if rule.code in codes else rule
        for rule in release.rules
    )  # fmt: skip
    return replace(release, rules=rules)


def _written_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"expected every name once in an object, and {name} is written twice")
    return found


async def _promotion(connection: AsyncConnection, source: Mapping[str, Any], author: int, at: datetime) -> None:
    code, names = source.get("code"), source.get("names")
    if not isinstance(code, str) or not isinstance(names, Mapping) or set(names) != set(documents.LANGUAGES):
        problem = FieldProblem(("promotions",), "NAMES", f"expected code and names in {', '.join(documents.LANGUAGES)}")
        raise RuleInvalid("this is no promotion", problems=[problem])
    if await store.promotion_id(connection, code) is None:
        sponsor_id = await _sponsor(connection, source.get("sponsor"))
        await publishing.add_promotion(
            connection, code=code, names=names, sponsor_id=sponsor_id, actor=author, at=at
        )  # fmt: skip


async def _sponsor(connection: AsyncConnection, code: str | None) -> int:
    return _OPERATOR if code is None else await onboarding.partner_id_of(connection, code)
