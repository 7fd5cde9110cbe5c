"""PURE: whom an operation is for and what it costs, worked out once from a valid document.

The price is a sum of weights, each times the sizes of the lists around it. What does not depend on variables is added
up here; the rest is a few multiplications per request. What an answer really held is counted along an outline of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    is_composite_type,
)

from gateway import masking
from gateway.access import LONGEST_PAGE, Cost, ListSize, MovesPoints, RequiresScope, TakesBatch, directive_of
from gateway.gate.limits import LONGEST_LIST, LONGEST_LIST_OF_BATCH, fragments_of, is_list_over
from gateway.scopes import POINTS_REDEEM, POINTS_RETURN

_INTROSPECTION_COST = 10
# What may find nobody, so that guesses are counted; a till's code finds a till, and is guessed at no more often.
_NAMES_MEMBER = frozenset({"MemberRefInput", "EnrolMemberInput", "AskingTillInput", "ConfirmPairingInput"})
_SPENDING = frozenset({POINTS_REDEEM, POINTS_RETURN})
_PROOF = "ProofInput"


@dataclass(frozen=True, slots=True)
class Size:
    """How many items a paged field returns: a variable's value, or what stands for it where that is absent."""

    variable: str
    default: int

    def value(self, variables: Mapping[str, Any]) -> int:
        """The number of items. Raises BAD_USER_INPUT where it is out of bounds."""
        given = variables.get(self.variable, self.default)
        if type(given) is not int:
            return self.default
        _check_page(given)
        return given


@dataclass(slots=True)
class Outline:
    """A field of an answer that has pages somewhere: what it weighs, and what is below it by response names."""

    weight: int = 0
    is_page: bool = False
    below: dict[str, Outline] = field(default_factory=dict)

    def of(self, answer: Any) -> int:
        """What an answer of this shape holds, in points: nothing for null, an item's weight for each item of a page."""
        if answer is None:
            return 0
        if isinstance(answer, list):
            items = answer if self.is_page else answer[:1]
            return sum(self.of(item) for item in items)
        if not isinstance(answer, dict):
            return self.weight
        return self.weight + sum(below.of(answer.get(name)) for name, below in self.below.items())


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """What has to be known of an operation to let it run: whom it is for and what it costs.

    demands are response names of root fields with the scopes of which one is needed. The cost is base plus, for each
    of terms, its weight times its sizes. fields are the schema's fields that it selects, as Type.field; rank is how
    late it is refused when there is too much to do, 2 the last; names_member is whether it looks a member up;
    takes_batch whether its body may be as large as a batch's. outline is None where the answer has no pages.
    """

    definition: OperationDefinitionNode
    demands: tuple[tuple[str, frozenset[str]], ...]
    base: int
    terms: tuple[tuple[tuple[Size, ...], int], ...]
    fields: tuple[str, ...]
    rank: int
    names_member: bool
    takes_batch: bool
    outline: Outline | None

    @property
    def is_mutation(self) -> bool:
        """Whether it writes."""
        return self.definition.operation is OperationType.MUTATION

    @property
    def is_subscription(self) -> bool:
        """Whether it is answered with a stream."""
        return self.definition.operation is OperationType.SUBSCRIPTION

    def check(self, scopes: frozenset[str], variables: Mapping[str, Any], highest_cost: int) -> None:
        """Nothing where a caller with these scopes may run it. Raises FORBIDDEN, BAD_USER_INPUT, QUERY_TOO_COMPLEX."""
        for name, any_of in self.demands:
            if any_of and scopes.isdisjoint(any_of):
                wanted = " or ".join(sorted(any_of))
                raise masking.coded(masking.FORBIDDEN, f"This takes the scope {wanted}.", path=[name])
        if self.is_list_over(variables):
            raise masking.coded(masking.BAD_USER_INPUT, f"A list in the input has at most {LONGEST_LIST} items.")
        if self.cost(variables) > highest_cost:
            raise masking.too_complex(f"it costs more than {highest_cost}")

    def is_list_over(self, variables: Mapping[str, Any]) -> bool:
        """Whether a list in the variables is longer than one may be; how long the batch itself is, its rule says."""
        if not variables:
            return False
        if not self.takes_batch:
            return is_list_over(variables, LONGEST_LIST)
        return any(is_list_over(each, LONGEST_LIST_OF_BATCH) for each in _batched(variables))

    def cost(self, variables: Mapping[str, Any]) -> int:
        """The price with these variables. Raises BAD_USER_INPUT for a page that is too long."""
        total = self.base
        for sizes, weight in self.terms:
            for size in sizes:
                weight *= size.value(variables)
            total += weight
        return total

    def actual_cost(self, requested: int, data: Any) -> int:
        """What an answer's data was worth of the cost that was requested for it."""
        if self.outline is None or not isinstance(data, dict):
            return requested
        return min(requested, self.outline.of(data))


def _batched(variables: Mapping[str, Any]) -> Iterator[Any]:
    """What stands in the outermost lists of a batch's variables."""
    waiting: list[Any] = [variables]
    while waiting:
        inside = waiting.pop()
        if isinstance(inside, dict):
            waiting += inside.values()
        elif isinstance(inside, list):
            yield from inside


def _check_page(size: int) -> None:
    if not 1 <= size <= LONGEST_PAGE:
        raise masking.coded(masking.BAD_USER_INPUT, f"`first` is from 1 to {LONGEST_PAGE}.")


@dataclass(slots=True)
class _Pricing:
    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    defaults: Mapping[str, ValueNode | None]
    weights: dict[tuple[Size, ...], int] = field(default_factory=dict)
    fields: set[str] = field(default_factory=set)
    has_pages: bool = False

    def add(self, sizes: tuple[Size, ...], weight: int) -> None:
        if weight:
            self.weights[sizes] = self.weights.get(sizes, 0) + weight


def operations(schema: GraphQLSchema, document: DocumentNode) -> Iterator[tuple[str | None, Operation]]:
    """The operations of a valid document by name. Raises BAD_USER_INPUT or QUERY_TOO_COMPLEX for what it can tell."""
    fragments = fragments_of(document)
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            yield definition.name.value if definition.name else None, _operation(schema, definition, fragments)


def _operation(
    schema: GraphQLSchema, definition: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> Operation:
    root = schema.get_root_type(definition.operation)
    assert root is not None
    defaults = {each.variable.name.value: each.default_value for each in definition.variable_definitions or ()}
    pricing = _Pricing(schema, fragments, defaults)
    fields = [(node, root.fields[node.name.value]) for node in _root_fields(definition, fragments)]
    _check_alone(fields)
    outline = Outline()
    _price(pricing, root, definition.selection_set, (), 1, (), outline)
    base = pricing.weights.pop((), 0)
    inputs = frozenset().union(*(_inputs(declared) for _, declared in fields))
    return Operation(
        definition=definition,
        demands=tuple((_response_name(node), _scopes(declared)) for node, declared in fields),
        base=base,
        terms=tuple(pricing.weights.items()),
        fields=tuple(sorted(pricing.fields)),
        rank=_rank(definition, [declared for _, declared in fields], inputs),
        names_member=not _NAMES_MEMBER.isdisjoint(inputs),
        takes_batch=any(directive_of(declared, TakesBatch) for _, declared in fields),
        outline=outline if pricing.has_pages else None,
    )


def _inputs(declared: GraphQLField) -> frozenset[str]:
    """Names of the input types that a field takes, those inside of others included."""
    found: set[str] = set()
    waiting = [get_named_type(argument.type) for argument in declared.args.values()]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, GraphQLInputObjectType) and kind.name not in found:
            found.add(kind.name)
            waiting += [get_named_type(inside.type) for inside in kind.fields.values()]
    return frozenset(found)


def _rank(definition: OperationDefinitionNode, declared: list[GraphQLField], inputs: frozenset[str]) -> int:
    """0: can wait, a read or a batch. 1: earns. 2: spends, sets aside or takes back, while somebody waits for it."""
    if definition.operation is not OperationType.MUTATION:
        return 0
    if _PROOF in inputs or any(_SPENDING & _scopes(each) for each in declared):
        return 2
    return 0 if any(directive_of(each, TakesBatch) for each in declared) else 1


def _scopes(declared: GraphQLField) -> frozenset[str]:
    requires = directive_of(declared, RequiresScope)
    return frozenset(requires.any_of)


def _response_name(node: FieldNode) -> str:
    return (node.alias or node.name).value


def _check_alone(fields: list[tuple[FieldNode, GraphQLField]]) -> None:
    if len(fields) > 1 and any(directive_of(declared, MovesPoints) for _, declared in fields):
        raise masking.too_complex("a mutation that moves points stands alone")


def _root_fields(
    definition: OperationDefinitionNode, fragments: Mapping[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    stack: list[Any] = list(reversed(definition.selection_set.selections))
    while stack:
        selection = stack.pop()
        if isinstance(selection, FieldNode):
            if not selection.name.value.startswith("__"):
                yield selection
        else:
            inner = fragments[selection.name.value] if isinstance(selection, FragmentSpreadNode) else selection
            stack.extend(reversed(inner.selection_set.selections))


def _price(
    pricing: _Pricing,
    parent: GraphQLCompositeType,
    selections: SelectionSetNode,
    sizes: tuple[Size, ...],
    factor: int,
    sized: tuple[str, ...],
    outline: Outline,
    page: tuple[tuple[Size, ...], int] = ((), 1),
) -> None:
    """Add the weights under a selection set. What `sized` names is multiplied by the page of the field above."""
    for selection in selections.selections:
        if not isinstance(selection, FieldNode):
            assert isinstance(selection, InlineFragmentNode | FragmentSpreadNode)
            inner, kind = _fragment(pricing, selection, parent)
            _price(pricing, kind, inner, sizes, factor, sized, outline, page)
            continue
        name = selection.name.value
        if name.startswith("__"):
            pricing.add(sizes, factor * _INTROSPECTION_COST * (selection.selection_set is not None))
        elif name in sized:
            _price_field(pricing, parent, selection, sizes + page[0], factor * page[1], outline, is_page=True)
        else:
            _price_field(pricing, parent, selection, sizes, factor, outline)


def _price_field(
    pricing: _Pricing,
    parent: Any,
    node: FieldNode,
    sizes: tuple[Size, ...],
    factor: int,
    above: Outline,
    *,
    is_page: bool = False,
) -> None:
    pricing.fields.add(f"{parent.name}.{node.name.value}")
    outline = above.below.setdefault(_response_name(node), Outline())
    declared: GraphQLField = parent.fields[node.name.value]
    kind = get_named_type(declared.type)
    listed = directive_of(declared, ListSize)
    page = _page(pricing, declared, node, listed)
    sized = tuple(listed.sized_fields or ()) if listed else ()
    if not sized:
        sizes, factor = sizes + page[0], factor * page[1]
    cost = directive_of(declared, Cost)
    weight = int(cost.weight) if cost else int(is_composite_type(kind))
    outline.weight = max(outline.weight, weight)
    outline.is_page = is_page or (listed is not None and not sized)
    pricing.has_pages |= listed is not None
    pricing.add(sizes, factor * weight)
    if node.selection_set is not None and is_composite_type(kind):
        _price(pricing, kind, node.selection_set, sizes, factor, sized, outline, page)


def _fragment(
    pricing: _Pricing, node: InlineFragmentNode | FragmentSpreadNode, parent: GraphQLCompositeType
) -> tuple[SelectionSetNode, GraphQLCompositeType]:
    fragment = pricing.fragments[node.name.value] if isinstance(node, FragmentSpreadNode) else node
    condition = fragment.type_condition
    kind = pricing.schema.type_map[condition.name.value] if condition else parent
    assert is_composite_type(kind)
    return fragment.selection_set, kind


def _page(
    pricing: _Pricing, declared: GraphQLField, node: FieldNode, listed: ListSize | None
) -> tuple[tuple[Size, ...], int]:
    """How many items a field returns, as sizes that depend on variables and a factor that does not."""
    if listed is None:
        return (), 1
    assumed = listed.assumed_size or 1
    given = {argument.name.value: argument.value for argument in node.arguments or ()}
    for name in listed.slicing_arguments or ():
        value = given.get(name)
        if isinstance(value, VariableNode):
            default = _literal(pricing.defaults.get(value.name.value), assumed)
            return (Size(value.name.value, default),), 1
        if value is not None:
            return (), _literal(value, assumed)
    return (), assumed


def _literal(value: ValueNode | None, assumed: int) -> int:
    if not isinstance(value, IntValueNode):
        return assumed
    size = int(value.value)
    _check_page(size)
    return size
