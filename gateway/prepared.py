"""The gate in front of execution: each distinct document is parsed, limited, validated and priced once.

What is left for a repeated request is a look-up, the scopes of its root fields, and the part of its price that
depends on variables. Work on a new document is bounded before validation sees it. Only good documents are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import graphql
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLCompositeType,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    ValuesOfCorrectTypeRule,
    VariableNode,
    get_named_type,
    is_composite_type,
    specified_rules,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from gateway import masking
from gateway.access import LONGEST_PAGE, Cost, ListSize, MovesPoints, RequiresScope, directive_of

_RULES = (
    *(masking.QuietValuesRule if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules),
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)
_RULES_WITHOUT_INTROSPECTION = (*_RULES, NoSchemaIntrospectionCustomRule)
_INTROSPECTION_COST = 10


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
    cost: int = 1_000
    errors: int = 10


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

    def check(self, scopes: frozenset[str], variables: Mapping[str, Any], limits: Limits) -> None:
        """Nothing where a caller with these scopes may run it. Raises FORBIDDEN, BAD_USER_INPUT, QUERY_TOO_COMPLEX."""
        for name, any_of in self.demands:
            if any_of and scopes.isdisjoint(any_of):
                wanted = " or ".join(sorted(any_of))
                raise masking.coded(masking.FORBIDDEN, f"This takes the scope {wanted}.", path=[name])
        if self.cost(variables) > limits.cost:
            raise _too_complex(f"it costs more than {limits.cost}")

    def cost(self, variables: Mapping[str, Any]) -> int:
        """The price with these variables. Raises BAD_USER_INPUT for a page that is too long."""
        total = self.base
        for sizes, weight in self.terms:
            for size in sizes:
                weight *= size.value(variables)
            total += weight
        return total


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is good, with its operations by name (None: the one without)."""

    document: DocumentNode
    operations: Mapping[str | None, Operation]

    def operation(self, name: str | None) -> Operation:
        """The operation that a request means. Raises OPERATION_RESOLUTION_FAILURE where that is open."""
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        found = self.operations.get(name)
        if found is None:
            message = "operationName has to name one of the document's operations."
            raise masking.coded(masking.OPERATION_RESOLUTION_FAILURE, message)
        return found


class Unacceptable(Exception):  # noqa: N818 - a document is
    """A document that will not run, with the GraphQL errors to answer."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("document not accepted")
        self.errors = errors


class Documents:
    """The good documents of a schema, least recently used ones forgotten: at most so many and so much text."""

    def __init__(
        self, schema: GraphQLSchema, limits: Limits | None = None, *, most: int = 512, most_text: int = 1_048_576
    ) -> None:
        self._schema = schema
        self._most = most
        self._most_text = most_text
        self._held_text = 0
        self._held: OrderedDict[tuple[bool, str], Prepared] = OrderedDict()
        self.limits = limits or Limits()

    def prepare(self, text: str, *, introspection: bool) -> Prepared:
        """The prepared document. Raises Unacceptable; what it takes is done once per text and permission."""
        key = (introspection, text)
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
            return found
        prepared = self._prepare(text, introspection)
        self._keep(key, prepared)
        return prepared

    def _keep(self, key: tuple[bool, str], prepared: Prepared) -> None:
        self._held[key] = prepared
        self._held_text += len(key[1])
        while len(self._held) > self._most or self._held_text > self._most_text:
            (_, forgotten), _ = self._held.popitem(last=False)
            self._held_text -= len(forgotten)

    def _prepare(self, text: str, introspection: bool) -> Prepared:
        if len(text) > self.limits.text:
            raise Unacceptable([_too_complex(f"it has more than {self.limits.text} characters")])
        document = self._parse(text)
        if over := _first_limit_over(document, self.limits):
            raise Unacceptable([_too_complex(over)])
        self._validate(document, introspection)
        try:
            return Prepared(document, dict(_priced(self._schema, document)))
        except GraphQLError as error:
            raise Unacceptable([error]) from error

    def _parse(self, text: str) -> DocumentNode:
        try:
            return graphql.parse(text, max_tokens=self.limits.tokens)
        except GraphQLError as error:
            raise Unacceptable([masking.parse_error(error)]) from error
        except RecursionError as error:
            raise Unacceptable([_too_complex("it is nested too deeply")]) from error

    def _validate(self, document: DocumentNode, introspection: bool) -> None:
        rules = _RULES if introspection else _RULES_WITHOUT_INTROSPECTION
        try:
            errors = graphql.validate(
                self._schema, document, rules, max_errors=self.limits.errors, hide_suggestions=True
            )
        except RecursionError as error:
            raise Unacceptable([_too_complex("it is nested too deeply")]) from error
        if errors:
            raise Unacceptable([masking.validation_error(error) for error in errors])


def _too_complex(why: str) -> GraphQLError:
    return masking.coded(masking.QUERY_TOO_COMPLEX, f"This document is too much: {why}.")


def _check_page(size: int) -> None:
    if not 1 <= size <= LONGEST_PAGE:
        raise masking.coded(masking.BAD_USER_INPUT, f"`first` is from 1 to {LONGEST_PAGE}.")


# Limits. Every visited selection counts, so the walk ends after a bounded number of steps whatever the fragments do.


@dataclass(slots=True)
class _Tally:
    selections: int = 0
    aliases: int = 0
    directives: int = 0
    root_fields: int = 0
    depth: int = 0

    def over(self, limits: Limits) -> str | None:
        for name in ("selections", "directives", "aliases", "depth"):
            if getattr(self, name) > getattr(limits, name):
                return f"more than {getattr(limits, name)} {name}"
        return f"more than {limits.root_fields} root fields" if self.root_fields > limits.root_fields else None


@dataclass(frozen=True, slots=True)
class _Visit:
    selections: SelectionSetNode
    depth: int
    spread: frozenset[str] = field(default_factory=frozenset)


def _first_limit_over(document: DocumentNode, limits: Limits) -> str | None:
    fragments = _fragments(document)
    operations = [each for each in document.definitions if isinstance(each, OperationDefinitionNode)]
    if len(operations) > limits.operations:
        return f"more than {limits.operations} operations"
    # Fragments that no operation uses are validated too, so they are counted as if they were operations.
    for definition in (*operations, *fragments.values()):
        tally = _Tally(directives=len(definition.directives or ()))
        if over := _walk(definition.selection_set, fragments, tally, limits):
            return over
    return None


def _walk(
    root: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode], tally: _Tally, limits: Limits
) -> str | None:
    stack = [_Visit(root, 1)]
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
                deeper = _enter_spread(selection, visit, fragments)
            if deeper is not None:
                stack.append(deeper)
            if over := tally.over(limits):
                return over
    return None


def _enter_field(node: FieldNode, visit: _Visit, tally: _Tally) -> _Visit | None:
    tally.aliases += node.alias is not None
    tally.root_fields += visit.depth == 1
    if node.selection_set is None:
        return None
    # Introspection is deep by nature and core bounds it; negative depth keeps its subtree out of the count.
    depth = -LONGEST_PAGE if node.name.value.startswith("__") else visit.depth + 1
    tally.depth = max(tally.depth, depth)
    return _Visit(node.selection_set, depth, visit.spread)


def _enter_spread(
    node: FragmentSpreadNode, visit: _Visit, fragments: Mapping[str, FragmentDefinitionNode]
) -> _Visit | None:
    name = node.name.value
    fragment = fragments.get(name)
    if fragment is None or name in visit.spread:  # both are validation's to report
        return None
    return _Visit(fragment.selection_set, visit.depth, visit.spread | {name})


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}


# Price. Only for valid documents: types and fields exist, and fragments do not contain themselves.


@dataclass(slots=True)
class _Pricing:
    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    defaults: Mapping[str, ValueNode | None]
    weights: dict[tuple[Size, ...], int] = field(default_factory=dict)

    def add(self, sizes: tuple[Size, ...], weight: int) -> None:
        if weight:
            self.weights[sizes] = self.weights.get(sizes, 0) + weight


def _priced(schema: GraphQLSchema, document: DocumentNode) -> Iterator[tuple[str | None, Operation]]:
    fragments = _fragments(document)
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
        raise _too_complex("a mutation that moves points stands alone")


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


def _price_field(
    pricing: _Pricing, parent: Any, node: FieldNode, sizes: tuple[Size, ...], factor: int
) -> None:
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
