"""A plan answers what core would: the same values in, the same data out, and core itself where anything is odd."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any

import pytest
import strawberry
from graphql import (
    GraphQLInputObjectType,
    Undefined,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
)
from graphql.utilities import coerce_input_value
from hypothesis import given, settings
from hypothesis import strategies as st
from strawberry.exceptions import StrawberryInputCoercionError
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.arguments import convert_argument

from gateway import access, scopes
from gateway.context import Context, Viewer
from gateway.gate.plan_inputs import NotPlannable, Read, reader
from gateway.gate.prepared import Schema
from gateway.rejections import Rejection
from gateway.schema import schema
from kit import errors
from kit.amounts import Points
from tests.gateway import test_purchase_api as tills
from tests.gateway.toys import schema as toys

BACKREF = GraphQLCoreConverter.DEFINITION_BACKREF

# --- What goes in -------------------------------------------------------------------------------------------


def _arguments() -> Iterator[tuple[str, Any, Any]]:
    for root in (schema.graphql.query_type, schema.graphql.mutation_type):
        assert root is not None
        for field in root.fields.values():
            for argument in field.args.values():
                yield str(argument.type), argument.type, argument.extensions[BACKREF].type


ARGUMENTS = list({each[0]: each for each in _arguments()}.values())
INPUT_TYPES = [kind for kind in schema.graphql.type_map.values() if is_input_object_type(kind)]

GOOD: dict[str, st.SearchStrategy[Any]] = {
    "String": st.text(max_size=5),
    "ID": st.sampled_from(["mbr_x", "", 7]),
    "Int": st.integers(-(2**31), 2**31 - 1),
    "Boolean": st.booleans(),
    "Points": st.sampled_from(["250", "-3", 12, "0", str(2**63 - 1)]),
    "Decimal": st.sampled_from(["10.50", "0", 3, "-1.000000001"]),
    "Date": st.just("2026-03-02"),
    "DateTime": st.sampled_from(["2026-03-02T12:00:00Z", "2026-03-02T12:00:00.123+02:00"]),
    "CurrencyCode": st.just("EUR"),
    "LineKind": st.sampled_from(["GOODS", "FEE"]),
    "PaymentKind": st.just("CARD"),
    "EntryMode": st.just("ONLINE"),
    "WebhookEventType": st.just("purchase.recorded"),
}
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3), st.just([]),
    st.just({}), st.just([[]]), st.just({"id": None}), st.just("2026-02-30"), st.just(" EUR"), st.just("1e3"),
)  # fmt: skip


@cache
def good(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type as a client sends them."""
    if is_non_null_type(kind):
        return _present(kind.of_type)
    return st.none() | _present(kind)


def _present(kind: Any) -> st.SearchStrategy[Any]:
    if is_list_type(kind):
        return st.lists(good(kind.of_type), max_size=2)
    if not isinstance(kind, GraphQLInputObjectType):
        return GOOD[kind.name]
    if kind.extensions[BACKREF].is_one_of:
        return st.one_of(*(st.fixed_dictionaries({name: _present(of.type)}) for name, of in kind.fields.items()))
    required = {name: good(of.type) for name, of in kind.fields.items() if is_non_null_type(of.type)}
    optional = {name: good(of.type) for name, of in kind.fields.items() if not is_non_null_type(of.type)}
    with_default = {name for name, of in kind.fields.items() if name in required and of.default is not None}
    optional |= {name: required.pop(name) for name in with_default}
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def spoilt(draw: st.DrawFn, kind: Any) -> Any:
    """A value of a type with something odd in one place."""
    return _spoil(draw, draw(good(kind)))


def _spoil(draw: st.DrawFn, value: Any) -> Any:
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        name = draw(st.sampled_from(sorted(value)))
        how = draw(st.sampled_from(["inside", "without", "beside"]))
        if how == "without":
            return {key: part for key, part in value.items() if key != name}
        if how == "beside":
            return {**value, "extra": 1}
        return {**value, name: _spoil(draw, value[name])}
    if isinstance(value, list) and value and draw(st.booleans()):
        return [_spoil(draw, value[0]), *value[1:]]
    return draw(ODD)


made = cache(reader)
"""Readers are made once, as the product makes them."""


def by_core(value: Any, kind: Any, declared: Any) -> Any:
    """What core and the library make of a value; Undefined where they refuse it."""
    try:
        coerced = coerce_input_value(value, kind)
    except StrawberryInputCoercionError:
        return Undefined
    if coerced is Undefined:
        return Undefined
    registry = schema.schema_converter.scalar_registry
    return convert_argument(coerced, declared, registry, schema.config)


EXAMPLES = pytest.mark.parametrize("examples", [10, pytest.param(100, marks=pytest.mark.deep)])


def by_plan(read: Read, value: Any) -> Any:
    """What a plan makes of a value; Undefined where it leaves it to core."""
    try:
        return read(value)
    except Exception:
        return Undefined


@pytest.mark.parametrize(("kind", "declared"), [each[1:] for each in ARGUMENTS], ids=[each[0] for each in ARGUMENTS])
@EXAMPLES
def test_a_reader_makes_of_good_values_what_core_and_the_library_make(kind: Any, declared: Any, examples: int) -> None:
    @settings(max_examples=examples)
    @given(value=good(kind))
    def same(value: Any) -> None:
        read, known = by_plan(made(kind, declared), value), by_core(value, kind, declared)
        assert read is not Undefined
        assert read == known
        assert type(read) is type(known)

    same()


@pytest.mark.parametrize(("kind", "declared"), [each[1:] for each in ARGUMENTS], ids=[each[0] for each in ARGUMENTS])
@EXAMPLES
def test_a_reader_takes_nothing_that_core_refuses(kind: Any, declared: Any, examples: int) -> None:
    @settings(max_examples=examples)
    @given(value=spoilt(kind))
    def the_same_or_nothing(value: Any) -> None:
        read = by_plan(made(kind, declared), value)
        if read is not Undefined:
            assert read == by_core(value, kind, declared)

    the_same_or_nothing()


def test_two_requests_share_no_list_or_mapping_of_a_default() -> None:
    for kind in INPUT_TYPES:
        assert all(
            field.default is None or isinstance(field.default.value, str | int | None) for field in kind.fields.values()
        )


# --- What comes out -----------------------------------------------------------------------------------------

DOCUMENTS = {
    name: text for name, text in vars(tills).items() if name.isupper() and isinstance(text, str) and "input" in text
} | {"MEMBER": tills.MEMBER, "TRANSACTION": tills.TRANSACTION}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_till_sends_has_a_plan(name: str) -> None:
    prepared = schema.documents.prepare(DOCUMENTS[name], introspection=False)
    assert prepared.plan(None) is not None


@pytest.mark.parametrize(
    "document",
    [
        "query($ref: MemberRefInput!) { member(ref: $ref) { id @skip(if: true) } }",
        "query($ref: MemberRefInput!) { a: member(ref: $ref) { id } b: member(ref: $ref) { id } }",
        'query { member(ref: { cardNumber: "1" }) { id } }',
        "query { __schema { queryType { name } } }",
        "subscription($ref: MemberRefInput!) { balanceChanged(ref: $ref) { cursor } }",
    ],
)
def test_what_is_unusual_is_left_to_core(document: str) -> None:
    try:
        prepared = schema.documents.prepare(document, introspection=True)
    except Exception as no:
        pytest.fail(str(getattr(no, "errors", no)))
    assert prepared.plan(None) is None


class TooMuch(errors.Rejection):
    code = "INSUFFICIENT_POINTS"
    retryable = False


@strawberry.type
class Inner:
    name: str
    number: int | None = None

    @access.field(description="Awaited.")
    async def late(self) -> str:
        return f"late {self.name}"

    @access.field(description="Awaited, and fails.")
    async def late_no(self) -> str:
        raise ValueError("late")

    @access.field(description="Fails.")
    def broken(self) -> str:
        raise ValueError("broken")


@strawberry.type
class Outer:
    points: Points
    at: datetime
    inner: Inner
    others: list[Inner | None]
    names: list[str]


@strawberry.type
class Other:
    name: str


Either = Annotated[Outer | Other, strawberry.union("Either")]
Done = Annotated[Other | Rejection, strawberry.union("Done")]

Answer = Callable[[], Any]
ANSWERS: dict[str, Answer] = {
    "whole": lambda: Outer(
        points=Points(7), at=datetime(2026, 1, 2, tzinfo=UTC), inner=Inner(name="a", number=3),
        others=[Inner(name="b"), None], names=["x", "y"],
    ),
    "other": lambda: Other(name="o"),
    "tuple for a list": lambda: Outer(
        points=Points(7), at=datetime(2026, 1, 2, tzinfo=UTC), inner=Inner(name="a"), others=(), names=("x",),  # type: ignore[arg-type]
    ),
    "number for a text": lambda: Other(name=5),  # type: ignore[arg-type]
    "null for a text": lambda: Other(name=None),  # type: ignore[arg-type]
    "text for points": lambda: Outer(
        points="7", at=datetime(2026, 1, 2, tzinfo=UTC), inner=Inner(name="a"), others=[], names=[],  # type: ignore[arg-type]
    ),
    "null in a list": lambda: Outer(
        points=Points(7), at=datetime(2026, 1, 2, tzinfo=UTC), inner=Inner(name="a"), others=[], names=[None],  # type: ignore[list-item]
    ),
    "stranger": lambda: Inner(name="x"),
    "exception as a value": lambda: Other(name=ValueError("x")),  # type: ignore[arg-type]
}  # fmt: skip
called: list[str] = []


def _answer(name: str) -> Any:
    called.append(name)
    if name == "refused":
        raise TooMuch("too much", available_points=3)
    if name == "raised":
        raise ValueError("no")
    return None if name == "null" else ANSWERS[name]()


@strawberry.type
class Query:
    @access.query(scopes=(), description="What is wanted, or nothing.")
    async def wanted(self, info: strawberry.Info[Context, None], name: str, more: str | None = None) -> Either | None:
        return _answer(name)

    @access.query(scopes=(), description="What is wanted.")
    async def needed(self, info: strawberry.Info[Context, None], name: str) -> Either:
        return _answer(name)


@strawberry.type
class Mutation:
    @access.mutation(scopes=(), description="Does it.")
    async def done(self, info: strawberry.Info[Context, None], name: str) -> Done:
        return _answer(name)


small = Schema(Query, Mutation)

PARTS = """__typename ... on Outer { points at inner { name number aka: name } others { name number } names }
  ... on Other { name }"""
ASKED = {
    "query": f"query($name: String!) {{ wanted(name: $name) {{ {PARTS} }} }}",
    "needed": f"query($name: String!) {{ it: needed(name: $name) {{ {PARTS} }} }}",
    "optional variable": f"query($name: String!, $more: String) {{ wanted(name: $name, more: $more) {{ {PARTS} }} }}",
    "fragments": """query($name: String!) { wanted(name: $name) { ...F ...G ... { ...F } } }
  fragment F on Outer { points inner { ...I } } fragment G on Other { name } fragment I on Inner { number name }""",
    "awaited": "query($name: String!) { wanted(name: $name) { ... on Outer { inner { late name } others { late } } } }",
    "awaited in vain": "query($name: String!) { wanted(name: $name) { ... on Outer { inner { late lateNo name } } } }",
    "broken": "query($name: String!) { wanted(name: $name) { ... on Outer { inner { name broken } } } }",
    "mutation": "mutation($name: String!) { done(name: $name) { __typename ... on Other { name } "
    "... on Rejection { code available retryable cashierText } } }",
}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", [*ANSWERS, "null", "refused", "raised"])
async def test_a_plan_answers_what_core_answers_and_calls_the_resolver_once(asked: str, name: str) -> None:
    prepared, _ = small.admit(ASKED[asked], None, {"name": name}, frozenset(scopes.SCOPES))
    assert prepared.plan(None) is not None
    called.clear()
    planned = await small.run(prepared, None, {"name": name}, _context())
    assert called == [name]
    core = await small._run_by_core(prepared, None, {"name": name}, _context())
    assert planned.data == core.data
    assert list(planned.data or ()) == list(core.data or ())
    assert _told(planned.errors) == _told(core.errors)


async def test_a_refusal_counts_its_miss_once() -> None:
    class Nobody(errors.Rejection):
        code = "CARD_UNKNOWN"
        retryable = False

    def unknown() -> Any:
        raise Nobody("nobody")

    ANSWERS["nobody"] = unknown
    prepared, _ = small.admit(ASKED["mutation"], None, {"name": "nobody"}, frozenset(scopes.SCOPES))
    context = _context()
    try:
        await small.run(prepared, None, {"name": "nobody"}, context)
    finally:
        del ANSWERS["nobody"]
    assert context.misses == 1


@pytest.mark.parametrize("variables", [{}, {"name": None}, {"name": 5}, {"name": ["whole"]}])
async def test_wrong_variables_are_judged_by_core_and_call_nothing(variables: dict[str, Any]) -> None:
    prepared, _ = small.admit(ASKED["query"], None, variables, frozenset(scopes.SCOPES))
    called.clear()
    planned = await small.run(prepared, None, variables, _context())
    assert called == []
    assert planned.data is None
    assert _told(planned.errors) == _told((await small._run_by_core(prepared, None, variables, _context())).errors)


async def test_good_answers_need_no_core(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: object) -> Any:
        raise AssertionError("core was asked")

    monkeypatch.setattr(Schema, "_run_by_core", never)
    for asked in ("query", "needed", "optional variable", "fragments", "awaited"):
        prepared, _ = small.admit(ASKED[asked], None, {"name": "whole"}, frozenset(scopes.SCOPES))
        assert (await small.run(prepared, None, {"name": "whole"}, _context())).errors is None


def test_resolvers_that_are_no_coroutines_and_values_that_are_enums_are_left_to_core() -> None:
    document = "query($n: Int) { items(first: $n) { nodes { name } } }"
    assert toys.documents.prepare(document, introspection=False).plan(None) is None
    assert toys.graphql.query_type is not None
    colour = toys.graphql.query_type.fields["painted"].args["colour"]
    with pytest.raises(NotPlannable):
        reader(colour.type, colour.extensions[BACKREF].type)


def _context() -> Context:
    return Context(Viewer(1, "cl_x", 1, frozenset(scopes.SCOPES)), None, "request-1")  # type: ignore[arg-type]


def _told(found: Any) -> list[tuple[str, Any, Any]]:
    return [(error.message, error.path, error.locations) for error in found or ()]
