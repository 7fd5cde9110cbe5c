"""What fields demand is declared once, and a field that declares nothing is not built."""

from __future__ import annotations

import pytest
import strawberry
from graphql import build_schema

from gateway import access, scopes
from gateway.gate.prepared import Schema, Unacceptable
from gateway.scalars import SCALARS
from tests.gateway.toys import Accrued, Mutation, Page, Query, schema


@strawberry.type
class Bare:
    @strawberry.field
    def bare(self) -> int:
        return 1


@strawberry.type
class Unsized:
    @access.query(scopes=(), description="Pages without a size.")
    def pages(self, first: int = 20) -> Page:
        return Page(nodes=[])


@strawberry.type
class Certain:
    @access.mutation(scopes=(scopes.POINTS_ACCRUE,), description="Cannot say no.")
    def certain(self) -> Accrued:
        raise NotImplementedError


def test_a_root_field_without_scopes_is_not_built() -> None:
    with pytest.raises(ValueError, match=r"Bare\.bare"):
        Schema(Bare)


def test_a_page_without_a_size_is_not_built() -> None:
    with pytest.raises(ValueError, match=r"Query\.pages|Unsized\.pages"):
        Schema(strawberry.type(type("Query", (Unsized,), {})))


def test_a_mutation_that_cannot_reject_is_not_built() -> None:
    mutation = strawberry.type(type("Mutation", (Certain,), {}))
    with pytest.raises(ValueError, match=r"Mutation\.certain"):
        Schema(Query, mutation)


def test_a_scope_that_does_not_exist_is_not_declared() -> None:
    with pytest.raises(ValueError, match="points:acrue"):
        access.query(scopes=("points:acrue",), description="A slip of the pen.")


def test_the_walks_find_nothing_in_a_schema_that_was_built() -> None:
    assert access.unscoped_fields(schema) == []
    assert access.unsized_lists(schema) == []
    assert access.mutations_without_rejection(schema) == []


def test_every_root_field_is_forbidden_to_a_token_without_its_scopes() -> None:
    """The matrix of scopes, made from the schema itself."""
    roots = {"query": schema.graphql.query_type, "mutation": schema.graphql.mutation_type}
    checked = 0
    for kind, root in roots.items():
        assert root is not None
        for name, field in root.fields.items():
            wanted = set(access.directive_of(field, access.RequiresScope).any_of)
            call = name + _arguments(name) + _selection(name)
            for held in scopes.SCOPES:
                admitted = _is_admitted(f"{kind} {{ {call} }}", frozenset({held}))
                assert admitted == (not wanted or held in wanted), (name, held)
                checked += 1
    assert checked >= 80


def _is_admitted(query: str, held: frozenset[str]) -> bool:
    try:
        schema.admit(query, None, {}, held)
    except Unacceptable as no:
        assert {error.extensions["code"] for error in no.errors if error.extensions} == {"FORBIDDEN"}
        return False
    return True


def _arguments(name: str) -> str:
    return {
        "accrueMany": "(items: [])", "accrue": '(input: {idempotencyKey: "k", points: 1})', "lose": '(how: "commit")', "broken": '(card: "1")',
        "painted": "(colour: RED)",
    }.get(name, "")  # fmt: skip


def _selection(name: str) -> str:
    return {
        "items": " { nodes { name } }",
        "few": " { nodes { name } }",
        "accrue": " { __typename }",
        "accrueMany": " { __typename }",
        "lose": " { __typename }",
    }.get(name, "")


def test_the_published_schema_is_sorted_complete_and_shows_what_fields_demand() -> None:
    published = schema.sdl()
    assert build_schema(published)
    assert 'guarded: String! @requiresScope(anyOf: ["members:read", "history:read"])' in published
    assert "one: Int! @requiresScope(anyOf: [])" in published
    assert '@listSize(assumedSize: 20, sizedFields: ["nodes", "edges"], slicingArguments: ["first"])' in published
    assert '@cost(weight: "10") @movesPoints' in published
    assert "union AccrueResult = Accrued | Rejection" in published
    assert published.index("type Accrued") < published.index("type Mutation") < published.index("type Query")
    assert published == schema.sdl()


def test_the_scalars_print_with_their_descriptions() -> None:
    names = {definition.name for definition in SCALARS.values()}
    assert {"Points", "Decimal", "DateTime", "Date", "Scope", "RejectionCode", "CurrencyCode", "LineKind"} <= names
    assert all(definition.description for definition in SCALARS.values())
    assert Mutation.__strawberry_definition__.fields  # type: ignore[attr-defined]
