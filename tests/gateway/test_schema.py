"""The published schema: its committed print is current, everything in it is described, and nobody gets in unasked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLUnionType,
    get_named_type,
    is_introspection_type,
    is_leaf_type,
    is_specified_scalar_type,
)
from strawberry.schema.schema_converter import GraphQLCoreConverter

from gateway import access, scopes
from gateway.gate.prepared import Unacceptable
from gateway.schema import schema
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.builders import rows_written
from tests.founded import a_coalition, met
from tests.gateway import stand
from tests.gateway.stand import Gateway

COMMITTED = Path(__file__).parents[2] / "gateway" / "schema.graphql"
BUILT = schema.graphql
ROOT_TYPES = {kind.name: kind for kind in (BUILT.query_type, BUILT.mutation_type, BUILT.subscription_type) if kind}
ROOTS = [(kind.name, name) for kind in ROOT_TYPES.values() for name in kind.fields]


def own_types() -> Iterator[GraphQLNamedType]:
    for kind in BUILT.type_map.values():
        if not is_introspection_type(kind) and not is_specified_scalar_type(kind):
            yield kind


def test_the_committed_print_is_what_the_code_says() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == schema.sdl(), "run make schema and commit it"


def test_every_type_field_argument_and_value_is_described() -> None:
    bare = []
    for kind in own_types():
        bare += [] if kind.description else [kind.name]
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            bare += [f"{kind.name}.{name}" for name, field in kind.fields.items() if not field.description]
        if isinstance(kind, GraphQLEnumType):
            bare += [f"{kind.name}.{name}" for name, value in kind.values.items() if not value.description]
    assert bare == []


def test_value_never_travels_as_a_float() -> None:
    assert "Float" not in BUILT.type_map


def test_unions_have_two_members_for_ever() -> None:
    for kind in own_types():
        if isinstance(kind, GraphQLUnionType):
            # Who calls is one of three for ever; each caller is always the same one.
            assert len(kind.types) == (3 if kind.name == "Viewer" else 2), kind.name


def test_sets_that_will_grow_are_scalars() -> None:
    assert [kind.name for kind in own_types() if isinstance(kind, GraphQLEnumType)] == []


def example(kind: Any) -> str:
    """A literal that a type coerces, required parts only."""
    named = get_named_type(kind)
    if isinstance(named, GraphQLInputObjectType):
        fields = [(name, field) for name, field in named.fields.items() if str(field.type).endswith("!")]
        if named.extensions[GraphQLCoreConverter.DEFINITION_BACKREF].is_one_of:
            fields = [next(iter(named.fields.items()))]
        inside = "{" + ", ".join(f"{name}: {example(field.type)}" for name, field in fields) + "}"
        return f"[{inside}]" if "[" in str(kind) else inside
    return {
        "Decimal": '"1.00"', "Points": '"1"', "Date": '"2026-03-02"', "DateTime": '"2026-03-02T12:00:00Z"',
        "CurrencyCode": '"EUR"', "WebhookEventType": '"hold.lapsed"', "Boolean": "true", "Int": "1",
    }.get(named.name, '"a-text-of-sixteen-letters"')  # fmt: skip


def document(root: str, name: str) -> str:
    """A document with the one root field, all of its required arguments, and as little as can be selected."""
    field = ROOT_TYPES[root].fields[name]
    wanted = [
        f"{key}: {example(argument.type)}" for key, argument in field.args.items() if str(argument.type).endswith("!")
    ]
    arguments = f"({', '.join(wanted)})" if wanted else ""
    selection = "" if is_leaf_type(get_named_type(field.type)) else " { __typename }"
    return f"{root.lower()} {{ {name}{arguments}{selection} }}"


def demanded(root: str, name: str) -> set[str]:
    return set(access.directive_of(ROOT_TYPES[root].fields[name], access.RequiresScope).any_of)


def test_each_scope_opens_the_root_fields_that_name_it_and_no_other() -> None:
    """The whole matrix of root fields and scopes, made from the schema: a new field is in it by being there."""
    for root, name in ROOTS:
        for held in (frozenset({scope}) for scope in (*scopes.SCOPES, *scopes.OF_SESSIONS)):
            wanted = demanded(root, name)
            try:
                schema.admit(document(root, name), None, {}, held)
                is_admitted = True
            except Unacceptable as no:
                assert {error.extensions["code"] for error in no.errors if error.extensions} == {"FORBIDDEN"}
                is_admitted = False
            assert is_admitted == (not wanted or not held.isdisjoint(wanted)), f"{root}.{name} with {held}"
    assert len(ROOTS) >= 15


template = a_coalition(bakery={})


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await met(database, vault)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


async def test_no_root_field_answers_a_token_without_its_scopes_and_none_writes(gateway: Gateway) -> None:
    before = await rows_written(gateway.coalition.database.pool)
    for root, name in ROOTS:
        wanted = demanded(root, name)
        others = [scope for scope in scopes.SCOPES if scope not in wanted]
        if not wanted:
            continue
        till = await gateway.till("bakery", wanted=others)
        error = await till.error(document(root, name))
        assert error["extensions"]["code"] == "FORBIDDEN", f"{root}.{name}"
    assert await rows_written(gateway.coalition.database.pool) == before


async def test_every_root_field_answers_a_token_with_its_scopes(gateway: Gateway) -> None:
    for root, name in ROOTS:
        wanted = demanded(root, name) - scopes.OF_SESSIONS.keys()
        if demanded(root, name) and not wanted:  # only for who is signed in: tests/gateway/test_session_matrix.py
            continue
        till = await gateway.till("bakery", wanted=[*(wanted or [scopes.MEMBERS_READ])])
        if root == "Subscription":  # what those answer is in test_subscriptions
            assert (await till.post(document(root, name))).status_code == 406
            continue
        body = (await till.post(document(root, name))).json()
        codes = {error["extensions"]["code"] for error in body.get("errors", [])}
        assert codes <= {"BAD_USER_INPUT"}, f"{root}.{name}: {body}"


async def test_nothing_answers_without_a_token(gateway: Gateway) -> None:
    for root, name in ROOTS:
        answer = await gateway.http.post("/graphql", json={"query": document(root, name)})
        assert answer.status_code == 401, f"{root}.{name}"
        assert "www-authenticate" in answer.headers
