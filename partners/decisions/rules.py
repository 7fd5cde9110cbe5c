"""PURE: what a till may be told about rules: their names, and what became of each.

A till belongs to one partner. What a rule asks of the member, bought elsewhere perhaps, is not the till's to know: of a
rule that did not apply because of the member only those hear who may read all, the member and the operator.
"""

from __future__ import annotations

from partners.decisions.decisions import Decided
from partners.promotions import explanations
from partners.promotions.explanations import RuleFound
from partners.promotions.expressions import HOLDS
from partners.promotions.shelf import Shelf

_TOLD_BY_THE_RECEIPT = frozenset({"where", "what", "when"})


def titles(release_id: int, shelf: Shelf, language: str) -> dict[str, str]:
    """The names of a release's rules by code, in a language; none where the shelf does not hold it."""
    if not shelf.knows(release_id):
        return {}
    return {rule.code: rule.title.of(language) for rule in shelf.release(release_id).rules}


def for_till(decided: Decided) -> list[RuleFound]:
    """What became of each rule of a decision that a till may be told of."""
    basis = decided.basis
    found = explanations.explain(basis.release, decided.basket, basis.context, basis.counters).for_member()
    return [one for one in found.rules if _may_be_told(one)]


def _may_be_told(rule: RuleFound) -> bool:
    failed = {one.id.partition(".")[0] for one in rule.conditions if one.state != HOLDS}
    return failed <= _TOLD_BY_THE_RECEIPT
