"""The gate: what it counts, what it remembers, and that its own work is bounded."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import graphql
import pytest

from gateway import scopes
from gateway.context import Context, Viewer
from gateway.gate import prepared
from gateway.gate.limits import Limits
from gateway.gate.prepared import Documents, Unacceptable
from tests.gateway.toys import Seen, schema

ALL = frozenset(scopes.SCOPES)
ACCRUE = 'accrue(input: {idempotencyKey: "k", points: 1}) { __typename }'


class Services:
    """As much of the services as the toys' resolvers ask."""

    def __init__(self) -> None:
        self.lanes = Seen()


def context(held: frozenset[str] = ALL) -> Context:
    return Context(Viewer(1, "cl_x", 1, held), Services(), "request-1")  # type: ignore[arg-type]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the expensive steps, in the order they were taken."""
    done: list[str] = []
    for name in ("parse", "validate"):
        original = getattr(prepared, name)

        def counted(*arguments: Any, _name: str = name, _original: Any = original, **named: Any) -> Any:
            done.append(_name)
            return _original(*arguments, **named)

        monkeypatch.setattr(prepared, name, counted)
    monkeypatch.setattr(schema, "documents", Documents(schema.graphql))
    return done


def codes(query: str, *, held: frozenset[str] = ALL, variables: dict[str, Any] | None = None) -> set[str]:
    """Why the gate does not admit a document; empty for one that it admits."""
    try:
        schema.admit(query, None, variables or {}, held)
    except Unacceptable as no:
        return {error.extensions["code"] for error in no.errors if error.extensions}
    return set()


def cost(query: str, variables: dict[str, Any] | None = None) -> int:
    _, operation = schema.admit(query, None, variables or {}, ALL)
    return operation.cost(variables or {})


async def test_the_second_identical_request_parses_and_validates_nothing(work: list[str]) -> None:
    query = "query($n: Int!) { items(first: $n) { nodes { name } } }"
    assert (await schema.execute(query, {"n": 2}, context())).errors is None
    assert work == ["parse", "validate"]
    again = await schema.execute(query, {"n": 3}, context())
    assert again.errors is None
    assert again.data == {"items": {"nodes": [{"name": "0"}, {"name": "1"}, {"name": "2"}]}}
    assert work == ["parse", "validate"]


async def test_what_one_caller_may_ask_is_not_remembered_for_another(work: list[str]) -> None:
    introspection = "{ __schema { queryType { name } } }"
    assert (await schema.execute(introspection, {}, context())).errors is None
    assert codes(introspection, held=frozenset({scopes.POINTS_ACCRUE})) == {"GRAPHQL_VALIDATION_FAILED"}
    assert codes('{ __type(name: "Query") { name } }', held=frozenset()) == {"GRAPHQL_VALIDATION_FAILED"}


def test_bad_documents_are_not_remembered(work: list[str]) -> None:
    assert codes("{ nine }") == codes("{ nine }") == {"GRAPHQL_VALIDATION_FAILED"}
    assert work == ["parse", "validate"] * 2


def test_documents_least_recently_used_are_forgotten(work: list[str]) -> None:
    documents = Documents(schema.graphql, most=2)
    for text in ("{ one }", "{ a: one }", "{ one }", "{ b: one }"):
        documents.prepare(text, introspection=False)
    del work[:]
    documents.prepare("{ one }", introspection=False)
    assert work == []
    documents.prepare("{ a: one }", introspection=False)
    assert work == ["parse", "validate"]


def test_the_text_of_remembered_documents_is_bounded(work: list[str]) -> None:
    documents = Documents(schema.graphql, most_text=2_000)
    for number in range(100):
        documents.prepare(f"{{ {'a' * 90}{number}: one }}", introspection=False)
    assert sum(len(text) for _, text in documents._held) <= 2_000
    assert documents._held_text == sum(len(text) for _, text in documents._held)


@pytest.mark.parametrize(
    "query",
    [
        "{ " + " ".join(f"a{n}: one" for n in range(16)) + " }",
        "{ " + "one " * 11 + "}",
        "{ " + "{ items { nodes " * 5 + "{ name }" + "} } " * 5 + "}",
        "{ items { nodes " + "{ below { nodes " * 5 + "{ name }" + " } }" * 5 + " } }",
        "{ one " + "@skip(if: false) " * 9 + "}",
        "{ items { nodes { " + "name " * 400 + "} } }",
        "{ one #" + "x" * 16_384 + "\n }",
        "{ one(" + "a: 1 " * 400 + ") }",
        " ".join(f"query Q{n} {{ one }}" for n in range(6)),
        "{ a: dear b: dear }",
        "{ items(first: 100) { nodes { below(first: 10) { nodes { name } } } } }",
        f"mutation {{ {ACCRUE} b: {ACCRUE} }}",
        f"mutation {{ ...F ...G }} fragment F on Mutation {{ {ACCRUE} }} fragment G on Mutation {{ a: {ACCRUE} }}",
        f"mutation {{ {ACCRUE} {ACCRUE} }}",
    ],
)
def test_too_much_is_refused(query: str) -> None:
    assert codes(query) <= {"QUERY_TOO_COMPLEX", "GRAPHQL_PARSE_FAILED"}
    assert codes(query)


@pytest.mark.parametrize(
    "query",
    [
        "{ " + " ".join(f"a{n}: one" for n in range(10)) + " }",
        "{ items { nodes { below { nodes { name } } } } }",
        f"mutation {{ __typename {ACCRUE} }}",
        f"query A {{ one }} mutation B {{ {ACCRUE} }}",
        "query Q { ...F } fragment F on Query { " + " ".join(f"a{n}: one" for n in range(10)) + " }",
    ],
)
def test_enough_is_admitted(query: str) -> None:
    name = "A" if query.startswith("query A") else None
    schema.admit(query, name, {}, ALL)


def test_nesting_that_would_exhaust_the_stack_is_refused_in_words() -> None:
    for query in (
        "{ a" * 330 + " }" * 330,
        "{ broken(card: " + "[" * 450 + "]" * 450 + ") }",
        "{ broken(card: " + "{a: " * 220 + "1" + "}" * 220 + ") }",
    ):
        with pytest.raises(Unacceptable) as no:
            schema.admit(query, None, {}, ALL)
        assert all(len(error.message) < 200 for error in no.value.errors)


@pytest.mark.parametrize("leaf", ["one", "items { nodes { name } }", ""])
@pytest.mark.parametrize("levels", [20, 35])
def test_a_bomb_of_fragments_is_refused_before_it_goes_off(leaf: str, levels: int) -> None:
    """What is done about it is counted: following its spreads would be a million calls with the fewer levels."""
    bomb = "".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} {leaf} }} " for n in range(levels))
    bomb = "{ ...F0 } " + bomb + f"fragment F{levels} on Query {{ one }}"
    calls = 0

    def count(_frame: FrameType, what: str, _about: object) -> None:
        nonlocal calls
        calls += what == "call"

    sys.setprofile(count)
    try:
        found = codes(bomb)
    finally:
        sys.setprofile(None)
    assert found == {"QUERY_TOO_COMPLEX"}
    assert calls < 100_000


def test_a_cycle_of_fragments_is_refused() -> None:
    assert codes("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A one }") == {
        "GRAPHQL_VALIDATION_FAILED"
    }


def test_errors_on_one_document_are_bounded() -> None:
    with pytest.raises(Unacceptable) as no:
        schema.admit("{ " + " ".join(f"x{n}" for n in range(10)) + " items { " + "y " * 50 + " } }", None, {}, ALL)
    assert len(no.value.errors) <= Limits().errors + 1


def test_the_standard_introspection_query_passes_for_those_who_may() -> None:
    assert codes(graphql.get_introspection_query()) == set()


def test_the_price_counts_objects_pages_and_what_fields_declare() -> None:
    assert cost("{ one }") == 0
    assert cost("{ dear }") == 600
    assert cost(f"mutation {{ {ACCRUE} }}") == 10
    assert cost("{ items { nodes { name } } }") == 1 + 20
    assert cost("{ items(first: 3) { nodes { name } } }") == 1 + 3
    assert cost("{ items(first: 3) { nodes { below(first: 4) { nodes { name } } } } }") == 1 + 3 + 3 * (1 + 4)
    assert cost("{ ...F } fragment F on Query { items(first: 3) { ... on Page { nodes { name } } } }") == 1 + 3


def test_the_price_follows_the_variables_without_new_work(work: list[str]) -> None:
    query = "query($a: Int!, $b: Int = 2) { items(first: $a) { nodes { below(first: $b) { nodes { name } } } } }"
    assert cost(query, {"a": 3}) == 1 + 3 + 3 * (1 + 2)
    assert cost(query, {"a": 5, "b": 4}) == 1 + 5 + 5 * (1 + 4)
    assert cost(query, {"a": 5, "b": None}) == 1 + 5 + 5 * (1 + 2)
    assert codes(query, variables={"a": 100, "b": 9}) == {"QUERY_TOO_COMPLEX"}
    assert work == ["parse", "validate"]


@pytest.mark.parametrize("size", [0, -1, 101, 2_147_483_647])
def test_a_page_is_from_1_to_100(size: int) -> None:
    assert codes(f"{{ items(first: {size}) {{ nodes {{ name }} }} }}") == {"BAD_USER_INPUT"}
    query = "query($n: Int!) { items(first: $n) { nodes { name } } }"
    assert codes(query, variables={"n": size}) == {"BAD_USER_INPUT"}
    assert codes(f"query($n: Int = {size}) {{ items(first: $n) {{ nodes {{ name }} }} }}") == {"BAD_USER_INPUT"}


async def test_nothing_goes_round_the_gate() -> None:
    refused = await schema.execute("{ one guarded }", {}, held := context(frozenset()))
    assert refused.data is None
    assert held.services.lanes.calls == []
    with pytest.raises(NotImplementedError):
        schema.execute_sync("{ one }")
    for way in (schema.subscribe, schema.stream):
        with pytest.raises(NotImplementedError):
            await way("{ one }")
