"""A person signs in and allows programs at the OAuth pages: what sessions and the OAuth server are to each other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from gateway import scopes
from gateway.endpoint import Endpoint
from gateway.oauth import clients
from gateway.oauth.clients import DEVICE_CODE
from gateway.schema import schema
from gateway.sessions import colleagues, session, staff
from gateway.sessions.session import Person
from gateway.sockets import Socket
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import erasure
from members.cards import IssuedCard
from members.messages import MEMBER, STAFF
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway import listening
from tests.gateway.desk import Browser, Desk
from tests.gateway.signers import Flow, Program, came_back_from, form_of, given, refused
from tests.gateway.toys import ISSUER

ANNA, ADA = "anna@example.org", "ada@example.org"
BALANCE = "subscription($ref: MemberRefInput!) { balanceChanged(ref: $ref) { balance { available } } }"
PLACE = {"outlet": "1", "terminal": "1", "serial": "SN-7"}


@dataclass
class Shop:
    """A gateway with its pages, a partner's clients, and Anna who may allow them."""

    desk: Desk
    http: httpx2.AsyncClient
    card: IssuedCard

    async def program(self, *redirect_uris: str) -> Program:
        """A public client of the bakery: an app, or without an address its tills."""
        async with self.desk.database.transaction() as connection:
            await actors.ensure_actor(connection, "boss", [actors.ONBOARDING])
            client_id = await clients.add_public_client(
                connection, partner_id=self.desk.coalition.callers["bakery"].partner_id, name="Tills",
                scopes=scopes.TILL, redirect_uris=redirect_uris, by="boss", at=self.desk.wall(),
            )  # fmt: skip
        toy: Any = SimpleNamespace(http=self.http, clock=self.desk.wall)
        return Program(toy, client_id, public=True)

    async def anna(self) -> Browser:
        """Anna's browser, in which she signed in a moment ago."""
        return await self.desk.signed_in(ANNA, "/staff")


template = a_coalition(bakery={"return_window_days": 0})


@pytest.fixture
async def shop(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Shop]:
    coalition = await met(database, vault)
    card = await coalition.add_member(email=ADA)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE), issuer=ISSUER) as desk:
        await desk.invite("anna", ANNA, [actors.ONBOARDING])
        yield Shop(desk, desk.browser().http, card)
    await coalition.desk.close()


async def pressed(browser: Browser, page: httpx2.Response, path: str, decision: str, **more: str) -> httpx2.Response:
    return await browser.post(path, {**form_of(page), **more, "decision": decision})


async def allowed(browser: Browser, user_code: str) -> httpx2.Response:
    """Type a till's code, compare, allow."""
    seen = await pressed(browser, await browser.get("/oauth/device"), "/oauth/device", "look", user_code=user_code)
    return await pressed(browser, seen, "/oauth/device", "approve")


async def enrolled(shop: Shop, browser: Browser) -> tuple[Program, dict[str, Any]]:
    till = await shop.program()
    begun = given(await till.post("/oauth/device_authorization", PLACE))
    assert (await allowed(browser, begun["user_code"])).status_code == 200
    return till, given(await till.token(grant_type=DEVICE_CODE, device_code=begun["device_code"]))


async def consented(shop: Shop, browser: Browser) -> tuple[Program, dict[str, Any]]:
    app = await shop.program("https://app.example/back")
    flow = Flow(app)
    page = await browser.get(await flow.address())
    code = came_back_from(await pressed(browser, page, "/oauth/authorize", "approve"), ISSUER)["code"]
    return app, given(await flow.redeem(code))


def next_of(answer: httpx2.Response, path: str) -> str:
    """Where a way to a proof leads afterwards."""
    assert answer.status_code == 303
    location = urlsplit(answer.headers["location"])
    assert location.path == path
    return parse_qs(location.query)["next"][0]


async def refresh(program: Program, tokens: dict[str, Any]) -> httpx2.Response:
    return await program.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"])


async def test_staff_sign_in_by_code_allow_a_till_and_it_gets_its_token(shop: Shop) -> None:
    till = await shop.program()
    begun = given(await till.post("/oauth/device_authorization", PLACE))
    link = begun["verification_uri_complete"].removeprefix(ISSUER)
    browser = shop.desk.browser()
    # Nobody is signed in: there and back again, with the code that the link carried.
    assert next_of(await browser.get(link), "/staff/sign-in") == link
    shop.desk.wall.move(seconds=1)
    await shop.desk.at_wall()
    asked = await browser.fill(f"/staff/sign-in?next={link}", address=ANNA)
    entered = await browser.fill(asked.headers["location"], "/staff/sign-in/code", code=await shop.desk.code_for(ANNA))
    assert entered.headers["location"] == link
    page = await browser.get(link)
    assert begun["user_code"] in page.text
    seen = await pressed(browser, page, "/oauth/device", "look", user_code=begun["user_code"])
    assert "SN-7" in seen.text
    assert (await pressed(browser, seen, "/oauth/device", "approve")).status_code == 200
    tokens = given(await till.token(grant_type=DEVICE_CODE, device_code=begun["device_code"]))
    answer = await till.ask(tokens["access_token"], "{ viewer { __typename } }")
    assert answer.json()["data"] == {"viewer": {"__typename": "PartnerClient"}}


async def test_a_member_who_is_signed_in_allows_nothing(shop: Shop) -> None:
    browser = await shop.desk.signed_in(ADA)
    assert next_of(await browser.get("/oauth/device"), "/staff/sign-in") == "/oauth/device"


async def manager_of(shop: Shop, code: str, *roles: str) -> Browser:
    """A browser in which somebody of a partner is signed in, a moment ago."""
    partner = (await shop.desk.coalition.desk.directory.get()).partner_by_code(code)
    assert partner is not None
    address = f"boss@{code}.example"
    async with shop.desk.database.transaction() as connection:
        await colleagues.invite(
            connection, shop.desk.vault, desks.SENDER, partner, name="Boss", roles=roles, email=address, language="en",
            by=shop.desk.coalition.onboarder, now=shop.desk.wall(),
        )  # fmt: skip
    return await shop.desk.signed_in(address, "/portal")


async def test_a_manager_allows_apps_and_tills_of_the_own_partner_and_of_no_other(shop: Shop) -> None:
    await shop.desk.coalition.add_partner("grocer")
    ours, theirs = await manager_of(shop, "bakery", "MANAGER"), await manager_of(shop, "grocer", "MANAGER")
    till = await shop.program()
    begun = given(await till.post("/oauth/device_authorization", PLACE))
    page = await theirs.get("/oauth/device")
    assert (await pressed(theirs, page, "/oauth/device", "look", user_code=begun["user_code"])).status_code == 400
    flow = Flow(await shop.program("https://app.example/back"))
    assert (await theirs.get(await flow.address())).status_code == 403
    _, tokens = await enrolled(shop, ours)
    assert tokens["token_type"] == "DPoP"
    # An old sign-in is not enough, and the way to a fresh one is the portal's.
    shop.desk.wall.at += session.STEP_UP
    assert next_of(await ours.get("/oauth/device"), "/portal/confirm") == "/oauth/device"


async def test_a_developer_of_the_partner_allows_nothing(shop: Shop) -> None:
    browser = await manager_of(shop, "bakery", "DEVELOPER", "FINANCE")
    assert next_of(await browser.get("/oauth/device"), "/portal/sign-in") == "/oauth/device"


async def test_staff_without_the_role_allow_nothing(shop: Shop) -> None:
    await shop.desk.invite("boris", "boris@example.org", [actors.FINANCE_MAKER])
    browser = await shop.desk.signed_in("boris@example.org", "/staff")
    till = await shop.program()
    begun = given(await till.post("/oauth/device_authorization", PLACE))
    page = await browser.get("/oauth/device")
    assert (await pressed(browser, page, "/oauth/device", "look", user_code=begun["user_code"])).status_code == 400
    flow = Flow(await shop.program("https://app.example/back"))
    assert (await browser.get(await flow.address())).status_code == 403
    refused(await till.token(grant_type=DEVICE_CODE, device_code=begun["device_code"]), 400, "authorization_pending")


async def test_an_old_sign_in_is_proved_anew_before_anything_is_allowed(shop: Shop) -> None:
    browser = await shop.anna()
    flow = Flow(await shop.program("https://app.example/back"))
    address = await flow.address()
    page = await browser.get(address)
    shop.desk.wall.move(minutes=5)
    assert next_of(await pressed(browser, page, "/oauth/authorize", "approve"), "/staff/confirm") == address
    assert next_of(await browser.get(address), "/staff/confirm") == address
    await shop.desk.at_wall()
    asked = await browser.fill(f"/staff/confirm?next={address.replace('&', '%26')}", "/staff/confirm")
    entered = await browser.fill(asked.headers["location"], "/staff/sign-in/code", code=await shop.desk.code_for(ANNA))
    assert entered.headers["location"] == address
    page = await browser.get(address)
    code = came_back_from(await pressed(browser, page, "/oauth/authorize", "approve"), ISSUER)["code"]
    assert "access_token" in given(await flow.redeem(code))


async def test_a_form_is_good_in_the_sign_in_that_it_was_shown_to_alone(shop: Shop) -> None:
    first, second = await shop.anna(), await shop.anna()
    address = await Flow(await shop.program("https://app.example/back")).address()
    page = await first.get(address)
    assert (await pressed(second, page, "/oauth/authorize", "approve")).status_code == 403
    assert (await pressed(first, page, "/oauth/authorize", "deny")).status_code == 303


@pytest.mark.parametrize("way", ["everywhere", "removed"])
async def test_who_signs_out_everywhere_or_leaves_takes_apps_along_but_no_till(shop: Shop, way: str) -> None:
    browser = await shop.anna()
    app, of_app = await consented(shop, browser)
    till, of_till = await enrolled(shop, browser)
    of_app, of_till = given(await refresh(app, of_app)), given(await refresh(till, of_till))
    if way == "everywhere":
        assert (await browser.fill("/staff/security", "/staff/security/end-all")).status_code == 303
    else:
        async with shop.desk.database.transaction() as connection:
            await staff.remove(connection, name="anna", by="boss", now=shop.desk.wall())
    refused(await refresh(app, of_app), 400, "invalid_grant")
    assert "access_token" in given(await refresh(till, of_till))
    assert next_of(await browser.get("/oauth/device"), "/staff/sign-in")


async def test_signing_out_at_one_browser_ends_no_grant_and_a_members_sign_out_none_of_an_actors(shop: Shop) -> None:
    browser = await shop.anna()
    app, tokens = await consented(shop, browser)
    await browser.fill("/staff/security", "/staff/sign-out")
    number = await shop.desk.database.pool.fetchval("SELECT actor_id FROM kit.actor WHERE name = 'anna'")
    async with shop.desk.database.transaction() as connection:  # a member whose number happens to be Anna's
        await session.end_all(connection, Person(MEMBER, number), now=shop.desk.wall())
    tokens = given(await refresh(app, tokens))
    async with shop.desk.database.transaction() as connection:
        await session.end_all(connection, Person(STAFF, number), now=shop.desk.wall())
    refused(await refresh(app, tokens), 400, "invalid_grant")


# --- Streams of bound tokens --------------------------------------------------------------------------------


def beating(shop: Shop) -> None:
    """An endpoint whose streams beat quickly."""
    state = shop.desk.application.state
    state.endpoint = Endpoint(schema, state.services, state.oauth.bearers, beat_seconds=0.01)
    state.socket = Socket(state.endpoint, allowed_origin=ISSUER)


async def test_a_bound_token_listens_with_one_proof_for_as_long_as_it_is_good(shop: Shop) -> None:
    till, tokens = await enrolled(shop, await shop.anna())
    beating(shop)
    token, ref = tokens["access_token"], {"cardNumber": shop.card.number}
    proof = till.holder.proof("/graphql", shop.desk.wall(), token=token)
    async with listening.events(shop.desk.application, token, BALANCE, proof=proof, ref=ref) as stream:
        assert (await stream.data())["balance"] == {"available": "0"}
        shop.desk.wall.move(minutes=2)  # the proof is over, the token is not
        assert await stream.event(beats=True) == ("", None)
        shop.desk.wall.move(minutes=9)
        kind, payload = await stream.event()
        assert (kind, payload["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
    async with listening.events(shop.desk.application, token, BALANCE, proof=proof, ref=ref) as again:
        assert again.status == 401


@pytest.mark.parametrize("wrong", ["none", "another key", "for a POST", "seen before"])
async def test_a_bound_token_opens_no_socket_without_a_proof_of_its_own(shop: Shop, wrong: str) -> None:
    till, tokens = await enrolled(shop, await shop.anna())
    token, at = tokens["access_token"], shop.desk.wall()
    good = till.holder.proof("/graphql", at, token=token, method="GET")
    async with listening.accepted(shop.desk.application, None) as socket:
        await socket.acknowledged({"authorization": f"DPoP {token}", "dpop": good})
        await socket.subscribe("1", BALANCE, ref={"cardNumber": shop.card.number})
        assert (await socket.message())["payload"]["data"]["balanceChanged"]["balance"] == {"available": "0"}
    proofs = {
        "none": None,
        "another key": type(till.holder)().proof("/graphql", at, token=token, method="GET"),
        "for a POST": till.holder.proof("/graphql", at, token=token),
        "seen before": good,
    }
    async with listening.accepted(shop.desk.application, None) as socket:
        payload = {"authorization": f"DPoP {token}", "dpop": proofs[wrong]}
        await socket.send({"type": "connection_init", "payload": payload})
        assert await socket.closed() == 4403
    async with listening.accepted(shop.desk.application, token) as socket:
        await socket.send({"type": "connection_init"})
        assert await socket.closed() == 4403


# --- Who is forgotten ---------------------------------------------------------------------------------------


async def test_a_member_who_is_forgotten_is_signed_out_and_their_letters_are_unreadable(shop: Shop) -> None:
    browser = await shop.desk.signed_in(ADA)
    assert ADA in [to for to, _ in await shop.desk.letters()]
    assert (await browser.get("/security")).status_code == 200
    async with shop.desk.database.transaction() as connection:
        await erasure.forget(connection, shop.card.member_id, by="boss", at=clock.wall())
    assert next_of(await browser.get("/security"), "/sign-in") == "/security"
    assert ADA not in [to for to, _ in await shop.desk.letters()]
    other = shop.desk.browser()
    await other.ask(ADA)
    assert ADA not in [to for to, _ in await shop.desk.letters()]
