"""The gateway's security checklist: every row has its tests, and they exist.

A row is an attack or a probe. What was tested before stands where it belongs; what has no better place is below. The last
part are the questions that graphql-cop, a scanner of GraphQL servers, asks: each is one request.
"""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway import scopes
from tests.gateway.toys import Toy

HERE = Path(__file__).parent

ROWS: dict[int, tuple[str, ...]] = {
    1: ("test_checklist::test_introspection_takes_its_scope",),
    2: ("test_checklist::test_circular_introspection_is_refused",),
    3: ("test_endpoint::test_a_wrong_document_is_told_without_its_literals_or_suggestions",
        "test_endpoint::test_a_wrong_variable_is_told_by_place_and_type_never_by_value"),
    4: ("test_checklist::test_a_hundred_aliases_are_refused",),
    5: ("test_checklist::test_repeated_directives_are_one_error",),
    6: ("test_checklist::test_five_hundred_equal_fields_are_refused",),
    7: ("gate/test_prepared::test_a_bomb_of_fragments_is_refused_before_it_goes_off",),
    8: ("gate/test_prepared::test_a_cycle_of_fragments_is_refused",),
    9: ("test_endpoint::test_a_batch_is_not_a_request",),
    10: ("test_endpoint::test_only_post_is_served",),
    11: ("test_endpoint::test_only_json_in_utf8_is_read",),
    12: ("test_endpoint::test_a_body_that_is_not_one_request_is_a_400",),
    13: ("test_endpoint::test_a_large_body_is_refused_by_its_header",
         "test_endpoint::test_a_large_body_without_a_length_is_refused_when_it_gets_there"),
    14: ("test_checklist::test_a_long_list_of_the_wrong_type_is_a_handful_of_errors",),
    15: ("test_endpoint::test_a_defect_is_excused_with_the_request_id_and_nothing_else",),
    16: ("test_subscriptions::test_a_message_that_is_none_closes_the_socket",),
    17: ("test_subscriptions::test_another_protocol_is_refused_before_it_is_accepted",),
    18: ("test_subscriptions::test_a_page_of_another_origin_is_refused_before_it_is_accepted",),
    19: ("test_subscriptions::test_what_is_no_good_subscription_is_an_error_of_its_own_and_runs_nothing",),
    20: ("test_subscriptions::test_a_stream_ends_with_its_token",
         "test_subscriptions::test_a_stream_ends_when_its_client_is_suspended",
         "test_subscriptions::test_a_socket_closes_when_its_client_is_suspended"),
    21: ("test_purchase_api::test_another_partner_can_neither_read_nor_return_nor_name_what_is_not_its_own",
         "finance/test_statement_api::test_another_partners_statement_is_as_unknown_as_one_that_is_not_there",
         "test_subscriptions::test_a_cursor_of_another_partner_member_or_list_is_refused"),
    22: ("test_schema::test_each_scope_opens_the_root_fields_that_name_it_and_no_other",
         "test_schema::test_no_root_field_answers_a_token_without_its_scopes_and_none_writes",
         "test_schema::test_every_root_field_answers_a_token_with_its_scopes",
         "test_access::test_a_root_field_without_scopes_is_not_built"),
    23: ("test_checklist::test_a_members_own_token_does_not_exist_without_a_member",),
    24: ("test_checklist::test_two_requests_at_once_never_see_each_others_caller",),
    25: ("gate/test_limits::test_whoever_guesses_members_is_stopped_and_other_clients_are_not",),
    26: ("test_logs::test_a_process_logs_every_request_and_nothing_that_is_a_secret",),
    27: ("gate/test_limits::test_new_documents_are_sixty_at_once_and_then_one_a_second",),
    28: ("test_subscriptions::test_a_socket_that_says_nothing_to_a_ping_is_closed",
         "test_subscriptions::test_a_stream_beats_while_nothing_happens"),
    29: ("test_checklist::test_a_browser_gets_no_page_at_graphql",),
    30: ("test_checklist::test_there_is_no_tracing",),
}  # fmt: skip


def test_every_row_has_tests_and_they_exist() -> None:
    assert sorted(ROWS) == list(range(1, 31))
    for row, named in ROWS.items():
        for name in named:
            module, _, function = name.partition("::")
            tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
            there = {each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert function in there, f"row {row}: {name}"


def codes(response: httpx2.Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json().get("errors", [])]


async def documentation_token(toy: Toy) -> str:
    """A token of a client that may ask for the schema."""
    from gateway.oauth import clients

    async with toy.database.transaction() as connection:
        client_id, secret = await clients.add_client(
            connection, partner_id=toy.partner_id, name="docs", scopes=[scopes.SCHEMA_READ], by="anna", at=toy.clock.at
        )
    form = {"grant_type": "client_credentials"}
    return str((await toy.http.post("/oauth/token", data=form, auth=(client_id, secret))).json()["access_token"])


CIRCULAR = (
    "{ __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }"
)
INTROSPECTIONS = ("{ __schema { types { name } } }", '{ __type(name: "Query") { name } }', CIRCULAR)


@pytest.mark.parametrize("query", INTROSPECTIONS)
async def test_introspection_takes_its_scope(toy: Toy, query: str) -> None:
    assert set(codes(await toy.ask(query))) == {"GRAPHQL_VALIDATION_FAILED"}
    if query != CIRCULAR:
        assert "data" in (await toy.ask(query, token=await documentation_token(toy))).json()


async def test_circular_introspection_is_refused(toy: Toy) -> None:
    assert "data" not in (await toy.ask(CIRCULAR, token=await documentation_token(toy))).json()


async def test_a_hundred_aliases_are_refused(toy: Toy) -> None:
    aliases = " ".join(f"alias{number}: __typename" for number in range(101))
    assert codes(await toy.ask(f"query cop {{ {aliases} }}")) == ["QUERY_TOO_COMPLEX"]


async def test_repeated_directives_are_one_error(toy: Toy) -> None:
    response = await toy.ask("query cop { __typename " + "@aa" * 10 + " }")
    assert codes(response) == ["QUERY_TOO_COMPLEX"]


async def test_five_hundred_equal_fields_are_refused(toy: Toy) -> None:
    assert codes(await toy.ask("query cop { " + "__typename \n" * 500 + "}")) == ["QUERY_TOO_COMPLEX"]


async def test_a_long_list_of_the_wrong_type_is_a_handful_of_errors(toy: Toy) -> None:
    query = "mutation($items: [AccrueInput!]!) { accrueMany(items: $items) { __typename } }"
    response = await toy.ask(query, {"items": [1] * 200_000})
    assert 1 <= len(codes(response)) <= 10
    assert set(codes(response)) == {"BAD_USER_INPUT"}
    assert len(response.content) < 5_000
    assert toy.seen.calls == []


async def test_a_members_own_token_does_not_exist_without_a_member(toy: Toy) -> None:
    """Every viewer that a token makes is a partner's client or staff; a member's own comes with its member alone."""
    from gateway.context import Viewer

    assert Viewer(1, "cl_x", 1, frozenset()).member_id is None
    assert (await toy.ask("{ who }")).json()["data"]["who"] == f"{toy.client_id} {toy.partner_id} en"


async def test_two_requests_at_once_never_see_each_others_caller(own_toy: Toy) -> None:
    other = await documentation_token(own_toy)
    tokens = [own_toy.token, other] * 20
    answers = await asyncio.gather(*[own_toy.ask("{ who }", token=token) for token in tokens])
    said = [answer.json()["data"]["who"].split()[0] for answer in answers]
    assert said[0::2] == [own_toy.client_id] * 20
    assert len(set(said[1::2])) == 1
    assert said[1] != own_toy.client_id


@pytest.mark.parametrize("path", ["/graphql", "/graphiql", "/playground", "/console", "/graphql/console"])
async def test_a_browser_gets_no_page_at_graphql(toy: Toy, path: str) -> None:
    response = await toy.http.get(path, headers={"Accept": "text/html"})
    assert response.status_code in (404, 405)
    assert "html" not in response.headers["content-type"]


async def test_there_is_no_tracing(toy: Toy) -> None:
    response = await toy.ask("{ one }", **{"apollo-federation-include-trace": "ftv1", "apollo-tracing": "1"})
    assert set(response.json()["extensions"]) == {"cost"}


# --- graphql-cop's twelve questions -------------------------------------------------------------------------


async def raw(toy: Toy, method: str = "POST", **more: Any) -> httpx2.Response:
    return await toy.http.request(method, "/graphql", headers={"Authorization": f"Bearer {toy.token}"}, **more)


async def test_cop_field_suggestions(toy: Toy) -> None:
    assert "Did you mean" not in (await toy.ask("query cop { __schema { directive } }")).text
    assert "Did you mean" not in (await toy.ask("query cop { onne }")).text


async def test_cop_introspection(toy: Toy) -> None:
    assert "data" not in (await toy.ask("query cop { __schema { types { name fields { name } } } }")).json()


async def test_cop_detect_graphiql(toy: Toy) -> None:
    page = await toy.http.get("/graphql", headers={"Accept": "text/html"})
    assert not any(word in page.text.lower() for word in ("graphiql", "playground", "react", "<html"))


async def test_cop_get_method_support(toy: Toy) -> None:
    assert "data" not in (await raw(toy, "GET", params={"query": "query cop {__typename}"})).text


async def test_cop_alias_overloading(toy: Toy) -> None:
    query = "query cop { " + " ".join(f"alias{number}:__typename" for number in range(101)) + " }"
    assert "data" not in (await toy.ask(query)).json()


async def test_cop_batch_query(toy: Toy) -> None:
    assert (await raw(toy, json=[{"query": "query cop { __typename }"}] * 10)).status_code == 400


async def test_cop_trace_mode(toy: Toy) -> None:
    assert "tracing" not in (await toy.ask("query cop { __typename }")).json()["extensions"]


async def test_cop_directive_overloading(toy: Toy) -> None:
    assert len(codes(await toy.ask("query cop { __typename " + "@aa" * 10 + " }"))) == 1


async def test_cop_circular_query_introspection(toy: Toy) -> None:
    assert (
        "data"
        not in (
            await toy.ask(
                "query cop { __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }"
            )
        ).json()
    )


async def test_cop_get_based_mutation(toy: Toy) -> None:
    response = await raw(toy, "GET", params={"query": 'mutation cop { lose(how: "x") { __typename } }'})
    assert (response.status_code, toy.seen.calls) == (405, [])


async def test_cop_post_based_csrf(toy: Toy) -> None:
    assert (await raw(toy, data={"query": "query cop { __typename }"})).status_code == 415


async def test_cop_unhandled_error_detection(toy: Toy) -> None:
    response = await toy.ask("qwerty cop { abc }")
    assert codes(response) == ["GRAPHQL_PARSE_FAILED"]
    assert not any(word in response.text for word in ("Traceback", "Exception", ".py"))
