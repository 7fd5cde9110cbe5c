"""What a field demands and what it costs, declared once: the directives in the published schema are what the gate
reads at run time.

A root field is declared with `query` or `mutation`, which take the scopes as a required argument; an empty tuple
means any authenticated client, and says so. `unscoped_fields` finds the ones that were declared otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import strawberry
from graphql import (
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    is_introspection_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.schema_directive import Location

from gateway.scalars import Scope
from gateway.scopes import OF_SESSIONS, SCOPES

LONGEST_PAGE = 100

Declaring = Callable[[Callable[..., Any]], Any]


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="requiresScope",
    description="The caller's token needs one of these scopes; none named: any authenticated client.",
)
class RequiresScope:
    any_of: list[Scope]


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION], name="cost", description="What the field costs of the 1,000 of a request."
)
class Cost:
    weight: str


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="listSize",
    description="How many items a field returns: as many as a slicing argument says, or as assumed.",
)
class ListSize:
    assumed_size: int | None = strawberry.UNSET
    sized_fields: list[str] | None = strawberry.UNSET
    slicing_arguments: list[str] | None = strawberry.UNSET


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="movesPoints",
    description="A document has at most one such field, so that its outcome is one.",
)
class MovesPoints:
    pass


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION],
    name="takesBatch",
    description="The body of a request with this field may have 2 MiB; that of any other 64 KiB.",
)
class TakesBatch:
    pass


def paged(*, default: int = 20) -> ListSize:
    """The directive of a connection: `first` says how many, of which `nodes` and `edges` hold that many."""
    return ListSize(assumed_size=default, slicing_arguments=["first"], sized_fields=["nodes", "edges"])


def query(
    *, scopes: Sequence[str], cost: int | None = None, size: ListSize | None = None, description: str
) -> Declaring:
    """Declare a query field: a token needs one of the scopes; cost as the gate would count, unless said."""
    return cast(Declaring, strawberry.field(description=description, directives=_directives(scopes, cost, size)))


def mutation(
    *, scopes: Sequence[str], cost: int = 10, moves_points: bool = True, takes_batch: bool = False, description: str
) -> Declaring:
    """Declare a mutation field; one that moves points stands alone in its document."""
    directives = _directives(scopes, cost, None)
    if moves_points:
        directives.append(MovesPoints())
    if takes_batch:
        directives.append(TakesBatch())
    return cast(Declaring, strawberry.mutation(description=description, directives=directives))


def subscription(*, scopes: Sequence[str], cost: int = 10, description: str) -> Declaring:
    """Declare a subscription field; its cost is taken when it begins."""
    directives = _directives(scopes, cost, None)
    return cast(Declaring, strawberry.subscription(description=description, directives=directives))


def field(*, cost: int | None = None, size: ListSize | None = None, description: str) -> Declaring:
    """Declare a field of another type than the roots that costs more than usual or returns a sized list."""
    return cast(Declaring, strawberry.field(description=description, directives=_directives(None, cost, size)))


def directive_of(definition: GraphQLField, kind: type) -> Any:
    """The directive of a kind on a field of the built schema, or None."""
    declared = definition.extensions.get(GraphQLCoreConverter.DEFINITION_BACKREF)
    return next((each for each in getattr(declared, "directives", ()) if isinstance(each, kind)), None)


def unscoped_fields(schema: strawberry.Schema) -> list[str]:
    """Root fields that say nothing of scopes, as Type.field. A schema with one must not be built."""
    return [
        f"{parent.name}.{name}"
        for parent, name, definition in _fields(schema)
        if parent in _roots(schema) and directive_of(definition, RequiresScope) is None
    ]


def unsized_lists(schema: strawberry.Schema) -> list[str]:
    """Fields with a `first` or `last` argument that the gate would not bound, as Type.field."""
    return [
        f"{parent.name}.{name}"
        for parent, name, definition in _fields(schema)
        for argument in ("first", "last")
        if argument in definition.args
        and argument not in (getattr(directive_of(definition, ListSize), "slicing_arguments", None) or ())
    ]


def mutations_without_rejection(schema: strawberry.Schema) -> list[str]:
    """Mutations whose result is not a union of two of which one is Rejection, as Type.field."""
    return [
        f"{parent.name}.{name}"
        for parent, name, definition in _fields(schema)
        if parent is schema._schema.mutation_type and not _is_result(get_named_type(definition.type))
    ]


def _roots(schema: strawberry.Schema) -> tuple[GraphQLObjectType | None, ...]:
    core = schema._schema
    return core.query_type, core.mutation_type, core.subscription_type


def _is_result(kind: GraphQLNamedType) -> bool:
    return isinstance(kind, GraphQLUnionType) and len(kind.types) == 2 and "Rejection" in {t.name for t in kind.types}


def _fields(schema: strawberry.Schema) -> Iterator[tuple[GraphQLObjectType, str, GraphQLField]]:
    for kind in schema._schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not is_introspection_type(kind):
            for name, definition in kind.fields.items():
                yield kind, name, definition


def _directives(scopes: Sequence[str] | None, cost: int | None, size: ListSize | None) -> list[object]:
    directives: list[object] = []
    if scopes is not None:
        if unknown := set(scopes) - SCOPES.keys() - OF_SESSIONS.keys():
            raise ValueError(f"no such scope: {', '.join(sorted(unknown))}")
        directives.append(RequiresScope(any_of=[Scope(scope) for scope in scopes]))
    if cost is not None:
        directives.append(Cost(weight=str(cost)))
    if size is not None:
        directives.append(size)
    return directives
