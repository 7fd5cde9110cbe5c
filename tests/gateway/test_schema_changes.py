"""Nobody's till breaks by surprise: the schema against the released one, and who uses which field."""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from graphql import GraphQLScalarType, build_schema, is_specified_scalar_type, parse, validate

from gateway import schema_changes, scopes, usage
from gateway.schema import schema
from gateway.schema_changes import RELEASED, Change, changes, unwaived, waivers
from gateway.usage import Usage
from tests.gateway.toys import Toy
from tests.gateway.toys import schema as toy_schema

PAGE = Path(__file__).parents[2] / "docs" / "schema-changes.md"
OLD = """
type Query { a(first: Int = 20): Int b: Result! }
input In { x: Int! = 1 }
union Result = Yes | No
type Yes { y: Int } type No { n: Int }
"""


def test_the_schema_is_what_was_released_and_more() -> None:
    found = unwaived(RELEASED.read_text(encoding="utf-8"), schema.sdl(), PAGE.read_text(encoding="utf-8"))
    assert [str(change) for change in found] == [], "add a dated row to docs/schema-changes.md, or take it back"


def test_the_released_schema_is_one() -> None:
    assert build_schema(RELEASED.read_text(encoding="utf-8")).query_type


def test_every_waiver_is_of_a_change_that_is_there() -> None:
    there = {str(change) for change in changes(RELEASED.read_text(encoding="utf-8"), schema.sdl())}
    assert [waiver.change for waiver in waivers(PAGE.read_text(encoding="utf-8")) if waiver.change not in there] == []


@pytest.mark.parametrize(
    ("new", "kind", "is_breaking"),
    [
        (OLD.replace("b: Result!", ""), "FIELD_REMOVED", True),
        (OLD.replace("a(first: Int = 20): Int", "a(first: Int = 20): String"), "FIELD_CHANGED_KIND", True),
        (OLD.replace("first: Int = 20", "first: Int = 10"), "ARG_DEFAULT_VALUE_CHANGE", False),
        (OLD.replace("= Yes | No", "= Yes | No | Perhaps") + "type Perhaps { p: Int }", "TYPE_ADDED_TO_UNION", False),
        (OLD.replace("x: Int! = 1", "x: Int! = 1 z: Int!"), "REQUIRED_INPUT_FIELD_ADDED", True),
    ],
)
def test_what_a_caller_could_notice_is_seen_unless_it_is_waived(new: str, kind: str, is_breaking: bool) -> None:
    [change] = unwaived(OLD, new, "")
    assert (change.kind, change.is_breaking) == (kind, is_breaking)
    row = f"| 2026-11-21 | `{change}` | Agreed with every partner. |"
    assert unwaived(OLD, new, row) == []
    assert unwaived(OLD, new, row.replace("2026-11-21", "soon")) == [change]
    [waiver] = waivers(row)
    assert waiver.decided_on == date(2026, 11, 21)


def test_the_documents_for_partners_are_valid_and_their_scalars_known_to_the_generator() -> None:
    client = PAGE.parent / "client"
    document = parse((client / "till.graphql").read_text(encoding="utf-8"))
    assert validate(schema.graphql, document) == []
    known = tomllib.loads((client / "codegen.toml").read_text(encoding="utf-8"))["tool"]["ariadne-codegen"]["scalars"]
    own = {
        kind.name
        for kind in schema.graphql.type_map.values()
        if isinstance(kind, GraphQLScalarType) and not is_specified_scalar_type(kind)
    }
    assert set(known) == own


def test_more_is_no_change() -> None:
    assert changes(OLD, OLD.replace("b: Result!", "b: Result! c: Int") + "type New { n: Int }") == []


def test_a_change_reads_as_kind_and_sentence() -> None:
    assert str(Change("FIELD_REMOVED", "Query.a was removed.", True)) == "FIELD_REMOVED: Query.a was removed."
    assert schema_changes.RELEASED.name == "released.graphql"


# --- Use of fields ------------------------------------------------------------------------------------------


async def test_uses_are_counted_by_client_and_field_and_written_in_batches(own_toy: Toy) -> None:
    counting = Usage(own_toy.database, now=lambda: datetime(2026, 11, 21, 23, tzinfo=UTC))
    _, operation = toy_schema.admit("{ one items { nodes { name } } }", None, {}, frozenset(scopes.SCOPES))
    assert operation.fields == ("Item.name", "Page.nodes", "Query.items", "Query.one")
    number = await own_toy.database.pool.fetchval("SELECT client_no FROM gateway.client WHERE client_no > 0")
    for _ in range(3):
        counting.count(number, operation)
    await counting.write()
    counting.count(number, operation)
    await counting.write()
    await counting.write()
    async with own_toy.database.reading() as connection:
        found = await usage.used(connection, since=date(2026, 11, 1), fields=["Query.one", "Query.who"])
        totals = await usage.totals(connection, since=date(2026, 1, 1))
        nothing = await usage.used(connection, since=date(2026, 11, 22))
    assert [(use.field, use.client_id, use.uses, use.last_on) for use in found] == [
        ("Query.one", own_toy.client_id, 4, date(2026, 11, 21))
    ]
    assert totals == {"Item.name": 4, "Page.nodes": 4, "Query.items": 4, "Query.one": 4}
    assert nothing == []


async def test_what_could_not_be_written_is_written_next_time(own_toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Usage(own_toy.database)
    _, operation = toy_schema.admit("{ one }", None, {}, frozenset())
    number = await own_toy.database.pool.fetchval("SELECT client_no FROM gateway.client WHERE client_no > 0")
    counting.count(number, operation)

    async def away(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr("gateway.usage_store.add_uses", away)
        with pytest.raises(ConnectionResetError):
            await counting.write()
    counting.count(number, operation)
    await counting.write()
    async with own_toy.database.reading() as connection:
        assert await usage.totals(connection, since=date(2026, 1, 1)) == {"Query.one": 2}


async def test_a_running_gateway_counts_and_its_figures_show_the_sums_of_fields(own_toy: Toy) -> None:
    for _ in range(3):
        await own_toy.ask("{ one who }")
    await own_toy.ask("{ nine }")
    await own_toy.app.state.endpoint.admission.usage.write()
    said = (await own_toy.http.get("/metrics")).text
    assert 'tessera_gateway_field_uses{field="Query.one"} 3.0' in said
    assert own_toy.client_id not in said
