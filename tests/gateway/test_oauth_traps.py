"""What the library leaves open and we close, where no other module of cases says so; and that no case is forgotten."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from gateway.oauth.clients import DEVICE_CODE
from tests.gateway.signers import CALLBACK, Flow, given, key_client, person, public_client, refused, staff
from tests.gateway.toys import ISSUER, Toy

pytestmark = pytest.mark.usefixtures("oauth_logs")

CORE = [2, *range(5, 9), 16, *range(19, 23), *range(24, 30), 32, 35, 36, *range(38, 57), 58, 60, 63, 66, 67, 68]
"""The numbers of the cases that every release has to answer rightly."""

TRAPS = {
    1: "o_20", 2: "o_58_five", 3: "o_05", 4: "o_06", 5: "o_24", 6: "o_04", 7: "o_29", 8: "o_28", 9: "o_26", 10: "o_32",
    11: "o_31", 12: "o_39", 13: "o_45", 14: "o_52", 15: "o_50", 16: "o_63", 17: "o_67", 18: "o_16", 19: "o_36", 20: "o_35",
    21: "o_34", 22: "t_22",
}  # fmt: skip
"""By the number of a trap of the library, how the test is named that sees it closed."""


def names() -> str:
    modules = Path(__file__).parent.glob("test_*.py")
    return "\n".join(
        name
        for module in modules
        for name in re.findall(r"^async def (test_\w+)", module.read_text(encoding="utf-8"), re.MULTILINE)
    )


def test_every_core_case_and_every_trap_has_its_named_test() -> None:
    said = names()
    assert [number for number in CORE if f"o_{number:02}" not in said] == []
    assert [trap for trap, name in TRAPS.items() if f"test_{name}" not in said and f"_{name}" not in said] == []


@pytest.mark.parametrize("encoded", [
    "!!!", base64.b64encode(b"\xff\xfe:\xff").decode(), base64.b64encode(b"cl_\x00:x").decode(), base64.b64encode(b"no colon").decode(),
    "A" * 65_536, "", base64.b64encode("cl_ж:x".encode()).decode(),
])  # fmt: skip
@pytest.mark.parametrize(
    "path", ["/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect", "/oauth/device_authorization"]
)
async def test_o_29_a_hostile_basic_header_is_one_answer_everywhere(toy: Toy, path: str, encoded: str) -> None:
    response = await toy.http.post(path, data={"token": "x"}, headers={"Authorization": f"Basic {encoded}"})
    refused(response, 401, "invalid_client")


async def test_o_34_plain_http_behind_a_proxy_is_no_server_error(toy: Toy) -> None:
    transport = httpx2.ASGITransport(toy.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://loyalty.example") as outside:
        for path in ("/oauth/token", "/oauth/par", "/oauth/device_authorization", "/oauth/revoke", "/oauth/introspect"):
            refused(await outside.post(path, data={"a": "b"}), 401, "invalid_client")
        for path in ("/oauth/authorize", "/oauth/device"):
            assert (await outside.get(path)).status_code in (303, 400)
        form = {"grant_type": "client_credentials"}
        said = given(await outside.post("/oauth/token", data=form, auth=(toy.client_id, toy.secret)))
    assert (await toy.app.state.oauth.bearers.read(said["access_token"])).client_id == toy.client_id


async def test_o_36_no_grant_gives_an_access_token_for_longer_than_ten_minutes(own_toy: Toy) -> None:
    who = await staff(own_toy)
    flow = Flow(await key_client(own_toy, redirect_uris=(CALLBACK,)))
    first = given(await flow.redeem(await flow.code(who)))
    again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    answers = [first, given(await flow.program.post("/oauth/token", again)), given(await flow.program.token())]
    for said in answers:
        assert said["expires_in"] == 600
        read = await own_toy.app.state.oauth.bearers.read(said["access_token"])
        assert read.expires_at - read.issued_at == 600


async def test_o_53_the_resource_says_what_is_missing(own_toy: Toy) -> None:
    toy = own_toy
    program = await key_client(toy, wanted=("points:accrue",))
    none = await toy.http.post("/graphql", json={"query": "{ one }"})
    assert none.status_code == 401
    assert "error" not in none.headers["www-authenticate"]
    token = given(await program.token())["access_token"]
    [lacking] = (await program.ask(token, "{ guarded }")).json()["errors"]
    assert lacking["extensions"]["code"] == "FORBIDDEN"
    toy.clock.forward(minutes=10)
    late = await program.ask(token)
    assert (late.status_code, late.headers["www-authenticate"]) == (401, 'DPoP error="invalid_token"')


@pytest.mark.parametrize(
    "audience", [ISSUER, ISSUER + "/graphql/", "https://other.example/graphql", [ISSUER + "/graphql"], None]
)
async def test_o_54_a_token_for_another_resource_is_refused(toy: Toy, audience: Any) -> None:
    from tests.gateway.test_oauth_tokens import signed

    assert (await toy.ask("{ one }", token=await signed(toy, aud=audience))).status_code == 401
    assert (await toy.ask("{ one }", token=await signed(toy))).status_code == 200


async def test_o_55_another_partner_s_tills_and_apps_are_as_unknown_as_none(own_toy: Toy) -> None:
    from tests.gateway.signers import another_partner, decide, form_of, look

    toy = own_toy
    fedor = await person(toy, "fedor", partner_id=await another_partner(toy))
    till = await public_client(toy)
    place = {"outlet": "main", "terminal": "1", "serial": "S"}
    code = given(await till.post("/oauth/device_authorization", place))["user_code"]
    form = form_of(await look(toy, "/oauth/device", fedor))
    seen = [
        await decide(toy, "/oauth/device", {**form, "user_code": each}, fedor, "look") for each in (code, "BBBB-BBBB")
    ]
    assert [page.status_code for page in seen] == [400, 400]
    assert seen[0].text.replace(code, "") == seen[1].text.replace("BBBB-BBBB", "")


async def test_o_56_a_token_without_the_scope_changes_nothing(toy: Toy) -> None:
    program = await key_client(toy, wanted=("members:read",))
    token = given(await program.token())["access_token"]
    mutation = 'mutation { accrue(input: {idempotencyKey: "x", points: "1"}) { __typename } }'
    said = (await program.ask(token, mutation)).json()
    assert said["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert said.get("data") is None
    assert toy.seen.calls == []


async def test_every_refusal_and_every_token_is_an_event_without_its_value(toy: Toy, oauth_logs: list[Any]) -> None:
    program, till = await key_client(toy), await public_client(toy)
    given(await program.token())
    refused(await program.token("x"), 400, "invalid_dpop_proof")
    refused(await program.token(client_assertion="a.b.c", client_assertion_type="x"), 401, "invalid_client")
    refused(await till.post("/oauth/token", {"grant_type": DEVICE_CODE, "device_code": "x"}), 400, "invalid_grant")
    refused(await program.post("/oauth/par", {}), 400, "unauthorized_client")
    refused(await program.post("/oauth/revoke", {}), 400, "invalid_request")
    said = [(entry["event"], entry.get("client_id")) for entry in oauth_logs if entry["event"] != "request"]
    assert said == [
        ("token_issued", program.client_id), ("proof_refused", None), ("token_refused", program.client_id),
        ("token_refused", None), ("token_refused", till.client_id), ("pushed_request_refused", program.client_id),
        ("revocation_refused", program.client_id),
    ]  # fmt: skip
