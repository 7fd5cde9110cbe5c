"""PURE: whom an operation is for and what it costs, worked out once from a valid document.

The price is a sum of weights, each times the sizes of the lists around it. What does not depend on variables is added
up here; the rest is a few multiplications per request.
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
from gateway.access import LONGEST_PAGE, Cost, ListSize, MovesPoints, RequiresScope, directive_of
from gateway.limits import fragments_of

_INTROSPECTION_COST = 10


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


@dataclass(frozen=True, slots=True)
class Operation:
    """What has to be known of an operation to let it run: whom it is for and what it costs.

    demands are response names of root fields with the scopes of which one is needed. The cost is base plus, for each
    of terms, its weight times its sizes.
    """

    definition: OperationDefinitionNode
    demands: tuple[tuple[str, frozenset[str]], ...]
    base: int
    terms: tuple[tuple[tuple[Size, ...], int], ...]

    @property
    def is_mutation(self) -> bool:
        """Whether it writes."""
        return self.definition.operation is OperationType.MUTATION

    def check(self, scopes: frozenset[str], variables: Mapping[str, Any], highest_cost: int) -> None:
        """Nothing where a caller with these scopes may run it. Raises FORBIDDEN, BAD_USER_INPUT, QUERY_TOO_COMPLEX."""
        for name, any_of in self.demands:
            if any_of and scopes.isdisjoint(any_of):
                wanted = " or ".join(sorted(any_of))
                raise masking.coded(masking.FORBIDDEN, f"This takes the scope {wanted}.", path=[name])
        if self.cost(variables) > highest_cost:
            raise masking.too_complex(f"it costs more than {highest_cost}")

    def cost(self, variables: Mapping[str, Any]) -> int:
        """The price with these variables. Raises BAD_USER_INPUT for a page that is too long."""
        total = self.base
        for sizes, weight in self.terms:
            for size in sizes:
                weight *= size.value(variables)
            total += weight
        return total


def _check_page(size: int) -> None:
    if not 1 <= size <= LONGEST_PAGE:
        raise masking.coded(masking.BAD_USER_INPUT, f"`first` is from 1 to {LONGEST_PAGE}.")


@dataclass(slots=True)
class _Pricing:
    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    defaults: Mapping[str, ValueNode | None]
    weights: dict[tuple[Size, ...], int] = field(default_factory=dict)

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
    _price(pricing, root, definition.selection_set, (), 1, ())
    base = pricing.weights.pop((), 0)
    return Operation(
        definition=definition,
        demands=tuple((_response_name(node), _scopes(declared)) for node, declared in fields),
        base=base,
        terms=tuple(pricing.weights.items()),
    )


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
    page: tuple[tuple[Size, ...], int] = ((), 1),
) -> None:
    """Add the weights under a selection set. What `sized` names is multiplied by the page of the field above."""
    for selection in selections.selections:
        if not isinstance(selection, FieldNode):
            assert isinstance(selection, InlineFragmentNode | FragmentSpreadNode)
            inner, kind = _fragment(pricing, selection, parent)
            _price(pricing, kind, inner, sizes, factor, sized, page)
            continue
        name = selection.name.value
        if name.startswith("__"):
            pricing.add(sizes, factor * _INTROSPECTION_COST * (selection.selection_set is not None))
        elif name in sized:
            _price_field(pricing, parent, selection, sizes + page[0], factor * page[1])
        else:
            _price_field(pricing, parent, selection, sizes, factor)


def _price_field(pricing: _Pricing, parent: Any, node: FieldNode, sizes: tuple[Size, ...], factor: int) -> None:
    declared: GraphQLField = parent.fields[node.name.value]
    kind = get_named_type(declared.type)
    listed = directive_of(declared, ListSize)
    page = _page(pricing, declared, node, listed)
    sized = tuple(listed.sized_fields or ()) if listed else ()
    if not sized:
        sizes, factor = sizes + page[0], factor * page[1]
    cost = directive_of(declared, Cost)
    pricing.add(sizes, factor * (int(cost.weight) if cost else int(is_composite_type(kind))))
    if node.selection_set is not None and is_composite_type(kind):
        _price(pricing, kind, node.selection_set, sizes, factor, sized, page)


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
