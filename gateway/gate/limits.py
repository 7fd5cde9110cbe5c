"""PURE: how large a document may be, checked before anything else looks at it; and how long a list in its variables.

Every selection that is visited counts, so the walk ends after a bounded number of steps whatever the fragments do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    ListValueNode,
    ObjectValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
)

LONGEST_LIST = 100
LONGEST_LIST_OF_BATCH = 500
_OUT_OF_COUNT = -1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may be. Selections are counted after fragments are expanded; introspection has no depth."""

    text: int = 16_384
    tokens: int = 1_000
    operations: int = 5
    depth: int = 10
    aliases: int = 15
    root_fields: int = 10
    directives: int = 8
    selections: int = 400
    list_items: int = LONGEST_LIST
    cost: int = 1_000
    errors: int = 10


def is_list_over(value: object, longest: int) -> bool:
    """Whether a list of more items than that is anywhere in what came as JSON."""
    waiting = [value]
    while waiting:
        inside = waiting.pop()
        if type(inside) is dict:
            waiting += [each for each in inside.values() if type(each) is dict or type(each) is list]
        elif type(inside) is list:
            if len(inside) > longest:
                return True
            waiting += [each for each in inside if type(each) is dict or type(each) is list]
    return False


@dataclass(slots=True)
class _Tally:
    selections: int = 0
    aliases: int = 0
    directives: int = 0
    root_fields: int = 0
    depth: int = 0
    list_items: int = 0

    def over(self, limits: Limits) -> str | None:
        for name in ("selections", "directives", "aliases", "depth"):
            if getattr(self, name) > getattr(limits, name):
                return f"more than {getattr(limits, name)} {name}"
        if self.list_items > limits.list_items:
            return f"more than {limits.list_items} items in a list"
        return f"more than {limits.root_fields} root fields" if self.root_fields > limits.root_fields else None


@dataclass(frozen=True, slots=True)
class _Visit:
    selections: SelectionSetNode
    depth: int
    spread: frozenset[str] = field(default_factory=frozenset)


def first_over(document: DocumentNode, limits: Limits) -> str | None:
    """What there is too much of, in words; None for a document within the limits."""
    fragments = fragments_of(document)
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if len(operations) > limits.operations:
        return f"more than {limits.operations} operations"
    for operation in operations:
        tally = _Tally(directives=len(operation.directives or ()))
        if over := _walk(_Visit(operation.selection_set, 1), fragments, tally, limits):
            return over
    # Validation looks at fragments that no operation uses too, so their size counts, but they are nowhere in depth.
    for fragment in fragments.values():
        tally = _Tally(directives=len(fragment.directives or ()))
        if over := _walk(_Visit(fragment.selection_set, _OUT_OF_COUNT), fragments, tally, limits):
            return over
    return None


def _walk(root: _Visit, fragments: Mapping[str, FragmentDefinitionNode], tally: _Tally, limits: Limits) -> str | None:
    stack = [root]
    while stack:
        visit = stack.pop()
        for selection in visit.selections.selections:
            tally.selections += 1
            tally.directives += len(selection.directives or ())
            if isinstance(selection, FieldNode):
                deeper = _enter_field(selection, visit, tally)
            elif isinstance(selection, InlineFragmentNode):
                deeper = _Visit(selection.selection_set, visit.depth, visit.spread)
            else:
                assert isinstance(selection, FragmentSpreadNode)
                deeper = _enter_spread(selection, visit, fragments)
            if deeper is not None:
                stack.append(deeper)
            if over := tally.over(limits):
                return over
    return None


def _enter_field(node: FieldNode, visit: _Visit, tally: _Tally) -> _Visit | None:
    tally.aliases += node.alias is not None
    tally.root_fields += visit.depth == 1
    tally.list_items = max([tally.list_items, *(_longest(each.value) for each in node.arguments or ())])
    if node.selection_set is None:
        return None
    # Introspection is deep by nature and core bounds it; negative depth keeps its subtree out of the count.
    depth = _OUT_OF_COUNT if node.name.value.startswith("__") else visit.depth + 1
    tally.depth = max(tally.depth, depth)
    return _Visit(node.selection_set, depth, visit.spread)


def _longest(value: ValueNode) -> int:
    """How many items the longest list in a literal has."""
    longest, waiting = 0, [value]
    while waiting:
        inside = waiting.pop()
        if isinstance(inside, ListValueNode):
            longest = max(longest, len(inside.values))
            waiting += inside.values
        elif isinstance(inside, ObjectValueNode):
            waiting += [each.value for each in inside.fields]
    return longest


def _enter_spread(
    node: FragmentSpreadNode, visit: _Visit, fragments: Mapping[str, FragmentDefinitionNode]
) -> _Visit | None:
    name = node.name.value
    fragment = fragments.get(name)
    if fragment is None or name in visit.spread:  # both are validation's to report
        return None
    return _Visit(fragment.selection_set, visit.depth, visit.spread | {name})


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """The document's fragments by name."""
    return {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
