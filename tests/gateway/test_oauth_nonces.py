"""DPoP nonces of the server (RFC 9449, 8 and 9): demanded where the operator says so, checked wherever they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from gateway.oauth.dpop import NONCE_SECONDS, Nonces
from kit import postgres
from kit.clock import wall
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.gateway import toys
from tests.gateway.signers import Program, given, key_client, refused
from tests.gateway.toys import Toy


@pytest.fixture
async def demanding(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Toy]:
    """A toy gateway that demands nonces."""
    async with toys.running(database, server.url(database_name, APPLICATION_ROLE), vault, dpop_nonces=True) as toy:
        yield toy


async def nonce_of(program: Program) -> str:
    """The nonce that the token endpoint names to whoever comes without."""
    answer = await program.token()
    refused(answer, 400, "use_dpop_nonce")
    return answer.headers["dpop-nonce"]


async def token_of(program: Program, nonce: str) -> str:
    proof = program.holder.proof("/oauth/token", program.toy.clock.at, nonce=nonce)
    return str(given(await program.token(proof))["access_token"])


async def test_where_it_is_demanded_a_proof_without_it_is_told_what_to_carry_and_with_it_is_good(
    demanding: Toy,
) -> None:
    program = await key_client(demanding)
    nonce = await nonce_of(program)
    token = await token_of(program, nonce)
    without = await program.ask(token)
    assert without.status_code == 401
    assert without.headers["www-authenticate"].startswith('DPoP error="use_dpop_nonce"')
    assert without.headers["dpop-nonce"] == nonce
    assert (await program.ask(token, nonce=nonce)).status_code == 200


async def test_a_nonce_that_is_over_or_made_up_is_not_taken_and_the_one_before_still_is(demanding: Toy) -> None:
    program = await key_client(demanding)
    nonce = await nonce_of(program)
    demanding.clock.forward(seconds=NONCE_SECONDS)
    later = await nonce_of(program)
    assert later != nonce
    token = await token_of(program, nonce)
    assert (await program.ask(token, nonce=later)).status_code == 200
    demanding.clock.forward(seconds=NONCE_SECONDS)
    for wrong in (nonce, "made-up", "", 7, ["x"]):
        answer = await program.ask(token, nonce=wrong)
        assert (answer.status_code, "use_dpop_nonce" in answer.headers["www-authenticate"]) == (401, True)


async def test_a_proof_counts_once_with_its_nonce_too(demanding: Toy) -> None:
    program = await key_client(demanding)
    nonce = await nonce_of(program)
    proof = program.holder.proof("/oauth/token", demanding.clock.at, nonce=nonce)
    given(await program.token(proof))
    refused(await program.token(proof), 400, "invalid_dpop_proof")


async def test_a_proof_that_was_only_short_of_a_nonce_is_not_used_up_by_being_shown(demanding: Toy) -> None:
    program = await key_client(demanding)
    proof = program.holder.proof("/oauth/token", demanding.clock.at)
    for _ in range(2):
        refused(await program.token(proof), 400, "use_dpop_nonce")


async def test_where_it_is_not_demanded_none_is_needed_and_what_a_proof_says_of_one_is_not_looked_at(
    own_toy: Toy,
) -> None:
    program = await key_client(own_toy)
    token = str(given(await program.token())["access_token"])
    assert (await program.ask(token)).status_code == 200
    assert (await program.ask(token, nonce="of another server")).status_code == 200


def test_every_process_makes_the_same_of_one_key_and_another_of_another() -> None:
    at = wall()
    assert Nonces(b"k" * 32).current(at) == Nonces(b"k" * 32).current(at) != Nonces(b"j" * 32).current(at)
    assert Nonces(b"k" * 32).current(at) != Nonces(b"k" * 32).current(at + timedelta(seconds=NONCE_SECONDS))
