"""What /graphql answers, above all to those who send it something wrong."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from gateway import endpoint
from gateway.endpoint import LARGEST_BATCH, LARGEST_BODY, Refused, parsed
from tests.gateway.toys import Toy, schema

CARD = "4000123412341234"
GRAPHQL_JSON = "application/graphql-response+json"


def code_of(response: httpx2.Response) -> str:
    errors = response.json()["errors"]
    assert "data" not in response.json()
    assert {error["extensions"]["requestId"] for error in errors} == {response.headers["x-request-id"]}
    [code] = {error["extensions"]["code"] for error in errors}
    return str(code)


async def post(toy: Toy, content: bytes, **headers: str) -> httpx2.Response:
    given = {"Authorization": f"Bearer {toy.token}", "Content-Type": "application/json", **headers}
    return await toy.http.post("/graphql", content=content, headers=given)


async def test_a_query_is_answered_with_data_and_security_headers(toy: Toy) -> None:
    response = await toy.ask("{ one }")
    assert (response.status_code, response.json()["data"]) == (200, {"one": 1})
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert "server" not in response.headers


async def test_a_mutation_moves_points_as_strings(toy: Toy) -> None:
    query = "mutation($i: AccrueInput!) { accrue(input: $i) { ... on Accrued { points at total day } } }"
    given = {
        "idempotencyKey": "k", "points": "9007199254740993", "at": "2026-11-21T12:00:00+02:00", "total": "10.50",
        "day": "2026-11-21",
    }  # fmt: skip
    refused = (await toy.ask(query, {"i": given})).json()
    assert refused["data"] == {"accrue": {}}
    given["points"] = "250"
    assert (await toy.ask(query, {"i": given})).json()["data"]["accrue"] == {
        "points": "250", "at": "2026-11-21T10:00:00Z", "total": "10.50", "day": "2026-11-21",
    }  # fmt: skip


async def test_a_rejection_is_data_with_a_text_for_the_cashier_in_the_language_asked_for(toy: Toy) -> None:
    query = """mutation { accrue(input: {idempotencyKey: "k", points: 1001}) { __typename ... on Rejection {
        code message retryable cashierText available maximum currentId fields { path code message } } } }"""
    response = await toy.ask(query, **{"Accept-Language": "de, ru;q=0.8, en;q=0.5"})
    assert response.json()["data"]["accrue"] == {
        "__typename": "Rejection", "code": "INSUFFICIENT_POINTS", "message": "not enough", "retryable": True,
        "cashierText": "Недостаточно баллов.", "available": "7", "maximum": "1000", "currentId": "tx_1",
        "fields": [{"path": ["input", "points"], "code": "TOO_MANY", "message": "more than 1,000"}],
    }  # fmt: skip


async def test_a_rejection_where_the_result_has_no_room_is_an_error_with_its_code(toy: Toy) -> None:
    [error] = (await toy.ask("{ refused }")).json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert error["extensions"]["rejection"] == {"code": "INSUFFICIENT_POINTS", "retryable": True}


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ({}, 'Bearer, DPoP algs="ES256 PS256 EdDSA Ed25519"'),
        ({"Authorization": "Bearer x.y.z"}, 'Bearer error="invalid_token"'),
        ({"Authorization": "Basic Y2xfOng="}, 'Bearer error="invalid_token"'),
        ({"Authorization": "Bearer"}, 'Bearer error="invalid_token"'),
    ],
)
async def test_without_a_good_token_nothing_is_read(toy: Toy, header: dict[str, str], challenge: str) -> None:
    response = await toy.http.post("/graphql", content=b"not even json", headers=header)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == challenge
    assert code_of(response) == "UNAUTHENTICATED"


async def test_only_post_is_served(toy: Toy) -> None:
    for method in ("GET", "PUT", "DELETE"):
        response = await toy.http.request(method, "/graphql?query={one}")
        assert (response.status_code, response.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json; charset=utf-16", ""],
)  # fmt: skip
async def test_only_json_in_utf8_is_read(toy: Toy, content_type: str) -> None:
    response = await post(toy, b'{"query": "{ one }"}', **{"Content-Type": content_type})
    assert response.status_code == 415


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html, application/*;q=0.5"])
async def test_the_answer_is_plain_json_unless_asked_otherwise(toy: Toy, accept: str | None) -> None:
    response = await post(toy, b'{"query": "{ one }"}', **({"Accept": accept} if accept else {}))
    assert response.headers["content-type"].startswith("application/json")


async def test_an_answer_in_a_media_type_that_is_not_ours_is_refused(toy: Toy) -> None:
    assert (await post(toy, b'{"query": "{ one }"}', Accept="text/html")).status_code == 406


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b'"hi"', b"[]", b'[{"query": "{ one }"}]', b"null", b'{"query": "{ one }"', b'\xff\xfe{"query": "x"}',
        b'{"query": "\xff"}', b'{"query": "\\ud800"}', b'{"query": null}', b'{"query": 1}', b'{"query": ""}', b"{}",
        b'{"query": "{ one }", "variables": []}', b'{"query": "{ one }", "variables": "x"}',
        b'{"query": "{ one }", "operationName": 1}', b'{"query": "{ one }", "operationName": "a b"}',
        b'{"query": "{ one }", "extensions": "x"}', b'{"query": "{ one }", "variables": {"a": "\\u0000"}}',
        b'{"query": "{ one }", "variables": ' + b"[" * 100_000 + b"}", b'{"a":' * 100_000,
    ],
)  # fmt: skip
async def test_a_body_that_is_not_one_request_is_a_400(toy: Toy, content: bytes) -> None:
    response = await post(toy, content)
    assert response.status_code == 400
    assert code_of(response) == "BAD_REQUEST"
    assert toy.seen.calls == []


async def test_a_large_body_is_refused_by_its_header(toy: Toy) -> None:
    for scope, largest in (("members:read", LARGEST_BODY), ("points:accrue", LARGEST_BATCH)):
        token = (await toy.ask_token(scope=scope)).json()["access_token"]
        response = await post(toy, b" " * (largest + 1), Authorization=f"Bearer {token}")
        assert (response.status_code, str(largest) in response.text) == (413, True)


async def test_a_large_body_without_a_length_is_refused_when_it_gets_there(toy: Toy) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * LARGEST_BATCH:
            sent += 65_536
            yield b" " * 65_536

    given = {"Authorization": f"Bearer {toy.token}", "Content-Type": "application/json"}
    response = await toy.http.post("/graphql", content=endless(), headers=given)
    assert response.status_code == 413
    assert sent <= LARGEST_BATCH + 2 * 65_536 or sent == 100 * LARGEST_BATCH  # the test's transport reads ahead


async def test_two_mebibytes_are_read_of_a_batch_and_of_nothing_else(toy: Toy) -> None:
    def body(query: str, size: int) -> bytes:
        variables = {"items": [{"idempotencyKey": "k", "points": 1, "card": "x" * size}]}
        return json.dumps({"query": query, "variables": variables}).encode()

    batch = "mutation($items: [AccrueInput!]!) { accrueMany(items: $items) { __typename } }"
    read = await post(toy, body(batch, LARGEST_BATCH - 1_000))
    assert read.json()["data"] == {"accrueMany": {"__typename": "Accrued"}}
    assert (await post(toy, body("query { one }", LARGEST_BODY))).status_code == 413
    assert (await post(toy, body("query { one }", LARGEST_BODY - 1_000))).status_code == 200
    assert (await post(toy, body(batch, LARGEST_BATCH))).status_code == 413


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("{ one", "GRAPHQL_PARSE_FAILED"),
        ("{ nine }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ __schema { types { name } } }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { one }", "GRAPHQL_VALIDATION_FAILED"),
        ("query A { one } query B { one }", "OPERATION_RESOLUTION_FAILURE"),
        ("fragment F on Query { one }", "GRAPHQL_VALIDATION_FAILED"),
        ("{ items(first: 101) { nodes { name } } }", "BAD_USER_INPUT"),
        ("{ a: dear b: dear }", "QUERY_TOO_COMPLEX"),
    ],
)
async def test_a_request_error_has_the_status_of_its_media_type(toy: Toy, query: str, code: str) -> None:
    plain = await toy.ask(query)
    assert (plain.status_code, code_of(plain)) == (200, code)
    strict = await toy.ask(query, Accept=GRAPHQL_JSON)
    assert (strict.status_code, code_of(strict)) == (400, code)
    assert strict.headers["content-type"].startswith(GRAPHQL_JSON)


async def test_a_missing_scope_is_forbidden_before_anything_runs(toy: Toy) -> None:
    token = (await toy.ask_token(scope="points:accrue")).json()["access_token"]
    response = await toy.ask("{ one g: guarded }", token=token, Accept=GRAPHQL_JSON)
    assert (response.status_code, code_of(response)) == (403, "FORBIDDEN")
    assert response.json()["errors"][0]["path"] == ["g"]
    assert toy.seen.calls == []
    assert (await toy.ask("{ guarded }")).json()["data"] == {"guarded": "ok"}


async def test_the_named_operation_runs(toy: Toy) -> None:
    content = {"query": "query A { one } query B { who }", "operationName": "B"}
    response = await toy.http.post("/graphql", json=content, headers={"Authorization": f"Bearer {toy.token}"})
    assert response.json()["data"] == {"who": f"{toy.client_id} {toy.partner_id} en"}


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("query($c: Colour!) { painted(colour: $c) }", {"c": CARD}),
        ("query($c: Colour!) { painted(colour: $c) }", {"c": {CARD: CARD}}),
        ("query($c: Colour!) { painted(colour: $c) }", {"c": "REDD"}),
        ("query($n: Int!) { items(first: $n) { nodes { name } } }", {"n": CARD}),
        ("query($n: Int!) { items(first: $n) { nodes { name } } }", {"n": float(CARD)}),
        ("query($n: Int!) { items(first: $n) { nodes { name } } }", {}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"points": CARD}}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": CARD}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": None}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"idempotencyKey": CARD, "pointz": 1}}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"idempotencyKey": CARD, "points": 1.5}}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"idempotencyKey": CARD, "points": True}}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"idempotencyKey": CARD, "points": CARD * 2}}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"idempotencyKey": CARD, "points": 1, "at": CARD}}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"idempotencyKey": CARD, "points": 1, "total": f"{CARD}e9"}}),
        ("mutation($i: AccrueInput!) { accrue(input: $i) { __typename } }", {"i": {"idempotencyKey": {"a": CARD}, "points": 1}}),
    ],
)  # fmt: skip
async def test_a_wrong_variable_is_told_by_place_and_type_never_by_value(toy: Toy, query: str, variables: Any) -> None:
    response = await toy.ask(query, variables)
    errors = response.json()["errors"]
    assert {error["extensions"]["code"] for error in errors} == {"BAD_USER_INPUT"}
    assert CARD not in response.text
    assert "id you mean" not in response.text
    assert all(error["message"].startswith("Variable '$") for error in errors)
    assert toy.seen.calls == []


@pytest.mark.parametrize(
    "query",
    [
        f'{{ painted(colour: "{CARD}") }}', "{ painted(colour: REDD) }", f"{{ items(first: {CARD}) {{ nodes {{ name }} }} }}",
        f'{{ items(first: "{CARD}") {{ nodes {{ name }} }} }}', f'{{ broken(card: ["{CARD}", {{a: 1}}]) }}',
        f'{{ broken(card: {{ number: "{CARD}" }}) }}', "{ onne }", "{ items(frist: 1) { nodes { name } } }",
        "{ items { nodez { name } } }", "{ items }", "query($c: Color) { one }",
        f'mutation {{ accrue(input: {{idempotencyKey: "{CARD}", points: 1.5}}) {{ __typename }} }}',
        f'mutation {{ accrue(input: {{idempotencyKey: "{CARD}", pints: 1}}) {{ __typename }} }}',
        f'mutation {{ accrue(input: "{CARD}") {{ __typename }} }}',
        f'mutation {{ accrue(input: {{idempotencyKey: "{CARD}"}}) {{ __typename }} }}',
        f'mutation {{ accrue(input: {{idempotencyKey: "{CARD}", points: {CARD * 300}}}) {{ __typename }} }}',
        f'{{ one "{CARD}" }}', f"{{ one {CARD} }}", f'{{ one """{CARD}""" }}', f'{{ broken(card: "{CARD}) }}',
    ],
)  # fmt: skip
async def test_a_wrong_document_is_told_without_its_literals_or_suggestions(toy: Toy, query: str) -> None:
    response = await toy.ask(query)
    assert "errors" in response.json()
    assert CARD not in response.text
    assert "id you mean" not in response.text
    assert toy.seen.calls == []


async def test_a_null_given_through_a_nullable_variable_is_the_callers_mistake(toy: Toy) -> None:
    response = await toy.ask("query($n: Int = 5) { items(first: $n) { nodes { name } } }", {"n": None})
    [error] = response.json()["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_a_defect_is_excused_with_the_request_id_and_nothing_else(toy: Toy) -> None:
    response = await toy.ask(f'{{ broken(card: "{CARD}") }}', **{"X-Request-Id": "till-7.2026"})
    assert response.headers["x-request-id"] == "till-7.2026"
    [error] = response.json()["errors"]
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": "till-7.2026"}
    assert CARD not in response.text
    assert "room" not in response.text


async def test_a_request_id_that_is_none_is_replaced(toy: Toy) -> None:
    for given in ("x", "a b c d e f g h", "<script>alert(1)</script>", "y" * 65):
        response = await toy.ask("{ one }", **{"X-Request-Id": given})
        assert response.headers["x-request-id"] != given
        assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize("how", ["commit", "driver"])
async def test_a_write_with_an_unknown_outcome_is_a_503_to_be_sent_again(toy: Toy, how: str) -> None:
    response = await toy.ask("mutation($h: String!) { lose(how: $h) { __typename } }", {"h": how})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert code_of(response) == "OUTCOME_UNKNOWN"
    assert "same idempotency key" in response.json()["errors"][0]["message"]


async def test_a_read_without_its_database_is_a_503(toy: Toy) -> None:
    response = await toy.ask("{ away }")
    assert (response.status_code, code_of(response)) == (503, "SERVICE_UNAVAILABLE")


async def test_a_request_ends_at_its_deadline(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    state = toy.app.state
    quick = endpoint.Endpoint(schema, state.services, state.oauth.bearers, read_seconds=0.05, write_seconds=0.05)
    monkeypatch.setattr(state, "endpoint", quick)
    read = await toy.ask("{ slow }")
    assert (read.status_code, code_of(read)) == (503, "SERVICE_UNAVAILABLE")
    written = await toy.ask('mutation { lose(how: "slow") { __typename } }')
    assert (written.status_code, code_of(written)) == (503, "OUTCOME_UNKNOWN")


async def test_a_path_that_is_not_served_is_a_404_in_json(toy: Toy) -> None:
    response = await toy.http.get("/graphiql")
    assert (response.status_code, response.json()) == (404, {"error": "Not Found"})
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_batch_is_not_a_request() -> None:
    with pytest.raises(Refused):
        parsed(b'[{"query": "{ one }"}]')
