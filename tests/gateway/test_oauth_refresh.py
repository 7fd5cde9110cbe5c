"""Refresh tokens: replaced and watched for public clients, stable for confidential ones. Cases O-58 to O-60."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import text

from gateway.oauth import clients, endings, grants
from gateway.oauth.clients import ClientCache
from gateway.oauth.endings import GrantUnknown
from tests.gateway import own_toys
from tests.gateway.signers import CALLBACK, Flow, Program, Signer, given, key_client, public_client, refused, staff
from tests.gateway.toys import Toy

template = own_toys.a_toy()

pytestmark = pytest.mark.usefixtures("oauth_logs")


async def begun(toy: Toy, *, public: bool) -> tuple[Program, dict[str, Any]]:
    """An app with its first tokens."""
    uris = (CALLBACK,)
    program = await (public_client(toy, redirect_uris=uris) if public else key_client(toy, redirect_uris=uris))
    flow = Flow(program)
    return program, given(await flow.redeem(await flow.code(await staff(toy))))


async def refresh(program: Program, token: str, *, proof: str | None = "", **more: str) -> httpx2.Response:
    form = {"grant_type": "refresh_token", "refresh_token": token, **more}
    return await program.post("/oauth/token", form, proof=proof)


def quick_view(toy: Toy) -> list[float]:
    """Let a test say when the view of clients and of what was ended is old."""
    ticks = [0.0]
    toy.app.state.oauth.bearers._clients = ClientCache(toy.database, clock=lambda: ticks[0])
    return ticks


async def test_a_public_client_s_token_is_replaced_at_every_use(own_toy: Toy) -> None:
    toy = own_toy
    program, said = await begun(toy, public=True)
    seen = {said["refresh_token"]}
    for _ in range(4):
        toy.clock.forward(minutes=1)
        said = given(await refresh(program, said["refresh_token"]))
        assert said["refresh_token"] not in seen
        seen.add(said["refresh_token"])
        assert (await program.ask(said["access_token"])).status_code == 200


async def test_o_58_a_token_that_comes_back_after_the_grace_ends_the_family(own_toy: Toy) -> None:
    toy, ticks = own_toy, quick_view(own_toy)
    program, first = await begun(toy, public=True)
    second = given(await refresh(program, first["refresh_token"]))
    toy.clock.forward(seconds=10)
    assert (await program.ask(second["access_token"])).status_code == 200
    refused(await refresh(program, first["refresh_token"]), 400, "invalid_grant")
    refused(await refresh(program, second["refresh_token"]), 400, "invalid_grant")
    ticks[0] += clients.STALE_SECONDS
    for said in (first, second):
        assert (await program.ask(said["access_token"])).status_code == 401
    async with toy.database.transaction() as connection:
        [grant] = await endings.of_client(connection, program.client_id)
        trail = (await connection.execute(text("SELECT action FROM kit.audit_trail"))).scalars().all()
    assert grant.ended_why == "REFRESH_TOKEN_REUSED"
    assert "REFRESH_TOKEN_REUSED" in trail


async def test_o_58_whoever_lost_the_answer_gets_the_same_successor_for_ten_seconds(own_toy: Toy) -> None:
    toy = own_toy
    program, first = await begun(toy, public=True)
    second = given(await refresh(program, first["refresh_token"]))
    toy.clock.forward(seconds=9)
    assert given(await refresh(program, first["refresh_token"]))["refresh_token"] == second["refresh_token"]


async def test_o_58_once_the_successor_was_used_there_is_no_grace(own_toy: Toy) -> None:
    program, first = await begun(own_toy, public=True)
    second = given(await refresh(program, first["refresh_token"]))
    third = given(await refresh(program, second["refresh_token"]))
    refused(await refresh(program, first["refresh_token"]), 400, "invalid_grant")
    refused(await refresh(program, third["refresh_token"]), 400, "invalid_grant")


async def test_o_58_five_at_once_get_one_successor(own_toy: Toy) -> None:
    program, said = await begun(own_toy, public=True)
    for _ in range(5):
        answers = await asyncio.gather(*(refresh(program, said["refresh_token"]) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["refresh_token"] for answer in answers}) == 1
        said = answers[0].json()
    async with own_toy.database.reading() as connection:
        held = (await connection.execute(text("SELECT count(*) FROM gateway.refresh_token"))).scalar_one()
    assert held == 6


async def test_o_58_a_reuse_beside_a_use_leaves_at_most_one_family_and_no_second_line(own_toy: Toy) -> None:
    program, first = await begun(own_toy, public=True)
    second = given(await refresh(program, first["refresh_token"]))
    answers = await asyncio.gather(
        *(refresh(program, each["refresh_token"]) for each in (first, second, first, second))
    )
    given_out = {answer.json()["refresh_token"] for answer in answers if answer.status_code == 200}
    line = grants.successor_of(own_toy.vault.derive("refresh-token"), second["refresh_token"])
    assert given_out <= {second["refresh_token"], line}


async def test_o_59_a_confidential_client_s_token_stays(own_toy: Toy) -> None:
    toy = own_toy
    program, said = await begun(toy, public=False)
    for _ in range(3):
        toy.clock.forward(days=10)
        assert "refresh_token" not in given(await refresh(program, said["refresh_token"]))
    answers = await asyncio.gather(*(refresh(program, said["refresh_token"]) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}


@pytest.mark.parametrize("public", [False, True])
async def test_o_60_another_client_s_token_is_nobody_s_and_stays_good(own_toy: Toy, public: bool) -> None:
    program, said = await begun(own_toy, public=public)
    thief, _ = await begun(own_toy, public=public)
    thief.holder = program.holder
    refused(await refresh(thief, said["refresh_token"]), 400, "invalid_grant")
    given(await refresh(program, said["refresh_token"]))


async def test_o_60_a_client_shows_who_it_is(own_toy: Toy) -> None:
    program, said = await begun(own_toy, public=False)
    form = {"grant_type": "refresh_token", "refresh_token": said["refresh_token"], "client_id": program.client_id}
    refused(await own_toy.http.post("/oauth/token", data=form), 401, "invalid_client")


async def test_o_60_a_public_client_shows_the_key_that_its_tokens_are_bound_to(own_toy: Toy) -> None:
    toy = own_toy
    program, said = await begun(toy, public=True)
    other = Signer().proof("/oauth/token", toy.clock.at)
    refused(await refresh(program, said["refresh_token"], proof=other), 400, "invalid_grant")
    refused(await refresh(program, said["refresh_token"], proof=None), 400, "invalid_dpop_proof")
    given(await refresh(program, said["refresh_token"]))


async def test_a_confidential_client_may_bring_a_new_key(own_toy: Toy) -> None:
    program, said = await begun(own_toy, public=False)
    program.holder = Signer()
    token = given(await refresh(program, said["refresh_token"]))["access_token"]
    assert (await program.ask(token)).status_code == 200


@pytest.mark.parametrize("scope", ["points:accrue points:redeem", "settlement:read", "", " ", "ж"])
async def test_o_60_more_than_was_allowed_is_refused(own_toy: Toy, scope: str) -> None:
    program, said = await begun(own_toy, public=True)
    refused(await refresh(program, said["refresh_token"], scope=scope), 400, "invalid_scope")
    narrower = given(await refresh(program, said["refresh_token"], scope="points:accrue"))
    assert narrower["scope"] == "points:accrue"
    assert given(await refresh(program, narrower["refresh_token"]))["scope"] == "members:read points:accrue"


@pytest.mark.parametrize("public", [False, True])
async def test_o_60_a_token_ends_when_nobody_uses_it_and_after_ninety_days_in_any_case(
    own_toy: Toy, public: bool
) -> None:
    toy = own_toy
    program, said = await begun(toy, public=public)
    idle, idle_said = await begun(toy, public=public)
    toy.clock.forward(days=14)
    refused(await refresh(idle, idle_said["refresh_token"]), 400, "invalid_grant")
    program, said = await begun(toy, public=public)
    for _ in range(8):
        toy.clock.forward(days=11)
        said = {**said, **given(await refresh(program, said["refresh_token"]))}
    toy.clock.forward(days=2)
    refused(await refresh(program, said["refresh_token"]), 400, "invalid_grant")


async def test_o_60_what_its_giver_or_the_operator_ended_gives_nothing(own_toy: Toy) -> None:
    toy, ticks = own_toy, quick_view(own_toy)
    one, one_said = await begun(toy, public=True)
    two, two_said = await begun(toy, public=False)
    async with toy.database.transaction() as connection:
        [grant] = await endings.of_client(connection, one.client_id)
        await endings.end(connection, grant.grant_id, by="anna", at=toy.clock.at)
        with pytest.raises(GrantUnknown):
            await endings.end(connection, grant.grant_id, by="anna", at=toy.clock.at)
    refused(await refresh(one, one_said["refresh_token"]), 400, "invalid_grant")
    assert (await two.ask(two_said["access_token"])).status_code == 200
    async with toy.database.transaction() as connection:
        assert await endings.end_all_of(connection, toy.people.by_cookie["anna"].actor_id, at=toy.clock.at) == 1
        assert await endings.end_all_of(connection, toy.people.by_cookie["anna"].actor_id, at=toy.clock.at) == 0
    refused(await refresh(two, two_said["refresh_token"]), 400, "invalid_grant")
    ticks[0] += clients.STALE_SECONDS
    for program, said in ((one, one_said), (two, two_said)):
        assert (await program.ask(said["access_token"])).status_code == 401


async def test_o_60_a_suspended_client_refreshes_nothing(own_toy: Toy) -> None:
    program, said = await begun(own_toy, public=True)
    async with own_toy.database.transaction() as connection:
        await clients.suspend(connection, program.client_id, by="anna", at=own_toy.clock.at)
    refused(await refresh(program, said["refresh_token"]), 401, "invalid_client")


@pytest.mark.parametrize("token", ["", "x", "\x00", "ж", "x" * 400, '"'])
async def test_what_is_no_refresh_token_gives_nothing(toy: Toy, token: str) -> None:
    program = await public_client(toy, redirect_uris=(CALLBACK,))
    refused(await refresh(program, token), 400, "invalid_grant")


async def test_what_was_ended_long_ago_is_forgotten(own_toy: Toy) -> None:
    toy = own_toy
    for _ in range(3):
        await begun(toy, public=False)
    counting = text("SELECT count(*) FROM gateway.ended_token")
    async with toy.database.transaction() as connection:
        await endings.end_all_of(connection, toy.people.by_cookie["anna"].actor_id, at=toy.clock.at)
        assert (await connection.execute(counting)).scalar_one() == 3
    toy.clock.at += timedelta(hours=1)
    await begun(toy, public=False)
    async with toy.database.transaction() as connection:
        await endings.end_all_of(connection, toy.people.by_cookie["anna"].actor_id, at=toy.clock.at)
        assert (await connection.execute(counting)).scalar_one() == 1


async def test_t_22_a_refresh_that_fails_half_way_leaves_what_was(
    own_toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = own_toy
    program, said = await begun(toy, public=True)

    def away(*_: object, **__: object) -> None:
        raise ConnectionError("cut between saving the new token and ending the old one")

    with monkeypatch.context() as broken:
        broken.setattr(grants.grant_store, "use_refresh", away)
        assert (await refresh(program, said["refresh_token"])).status_code == 503
    async with toy.database.reading() as connection:
        held = (await connection.execute(text("SELECT count(*) FROM gateway.refresh_token"))).scalar_one()
    assert held == 1
    given(await refresh(program, said["refresh_token"]))


async def test_tokens_that_were_replaced_are_seen_for_a_week_and_then_forgotten(own_toy: Toy) -> None:
    toy = own_toy
    program, said = await begun(toy, public=True)
    first = said["refresh_token"]
    for _ in range(9):
        toy.clock.forward(hours=1)
        said = given(await refresh(program, said["refresh_token"]))
    toy.clock.forward(days=8)
    refused(await refresh(program, first), 400, "invalid_grant")
    for _ in range(9):
        said = given(await refresh(program, said["refresh_token"]))
    async with toy.database.reading() as connection:
        held = (await connection.execute(text("SELECT count(*) FROM gateway.refresh_token"))).scalar_one()
    assert held <= 11


async def test_where_nothing_can_be_remembered_nothing_passes_and_it_is_said_to_be_for_a_moment(own_toy: Toy) -> None:
    program, said = await begun(own_toy, public=False)
    await own_toy.app.state.oauth.used.close()
    response = await program.ask(said["access_token"])
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
