"""Passkeys, with a device in software that signs for real and can lie."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.sessions import passkeys
from gateway.sessions.passkeys import PasskeyInvalid, Site
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests import builders
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway.authenticator import BE, BS, UP, UV, Authenticator, Key, encode
from tests.gateway.desk import Browser, Desk, hidden

ADA = "ada@example.org"
BEN = "ben@example.org"


async def ada_and_ben(coalition: builders.Coalition) -> None:
    await coalition.add_member(name="Ada", email=ADA)
    await coalition.add_member(name="Ben", email=BEN)


template = a_coalition(ada_and_ben)


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    """A gateway with its pages under a host name, and members called Ada and Ben."""
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened


async def options(
    browser: Browser, page: str = "/security", path: str = "/security/passkeys/options"
) -> dict[str, Any]:
    """What a page's script is given for the device."""
    answer = await browser.json(page, path, {})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def add(browser: Browser, device: Authenticator, **lies: Any) -> httpx2.Response:
    """Add a passkey, as the security page's script does."""
    credential = device.make(await options(browser), **lies)
    return await browser.json("/security", "/security/passkeys", {"credential": credential})


async def use(
    desk: Desk, device: Authenticator, key: Key | None = None, prefix: str = "", **lies: Any
) -> tuple[Browser, httpx2.Response]:
    """Sign in with a passkey in a new browser."""
    browser = desk.browser()
    page = f"{prefix}/sign-in"
    told = await options(browser, page, f"{page}/passkey/options")
    credential = device.use(told, key, **lies)
    return browser, await browser.json(page, f"{page}/passkey", {"credential": credential, "next": "/statements"})


async def count(desk: Desk, table: str = "gateway.passkey") -> int:
    return int(await desk.database.pool.fetchval(f"SELECT count(*) FROM {table}"))


async def test_a_passkey_is_added_told_of_and_signs_in_without_an_address(desk: Desk) -> None:
    ada, device = await desk.signed_in(ADA), Authenticator()
    added = await add(ada, device)
    assert (added.status_code, added.json()) == (200, {"next": "/security"})
    assert "Passkey of" in (await ada.get("/security")).text
    assert any("passkey was added" in body for to, body in await desk.letters() if to == ADA)
    browser, answer = await use(desk, device)
    assert (answer.status_code, answer.json()) == (200, {"next": "/statements"})
    page = await browser.get("/security")
    assert page.status_code == 200
    row = await desk.database.pool.fetchrow("SELECT proved_by, person_id FROM gateway.session ORDER BY 1 DESC LIMIT 1")
    assert row["proved_by"] == "PASSKEY"


async def test_options_ask_for_verification_by_the_device_and_name_nobody(desk: Desk) -> None:
    ada = await desk.signed_in(ADA)
    told = await options(ada)
    assert told["rp"] == {"name": "Test coalition", "id": "localhost"}
    assert told["authenticatorSelection"]["userVerification"] == "required"
    assert told["authenticatorSelection"]["residentKey"] == "required"
    assert "Ada" not in str(told)
    assert "ada@" not in str(told)
    signing_in = await options(desk.browser(), "/sign-in", "/sign-in/passkey/options")
    assert signing_in["userVerification"] == "required"
    assert signing_in.get("allowCredentials", []) == []


@pytest.mark.parametrize(
    "lies",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://localhost:8001"},
        {"host": "evil.example"},
        {"type": "webauthn.create"},
        {"flags": UP},  # the device did not look who holds it
        {"flags": UV},  # nobody touched it
        {"challenge": encode(b"x" * 32)},
        {"user_handle": b"somebody else"},
        {"signed_by": Key(b"", ec.generate_private_key(ec.SECP256R1()), b"")},
    ],
    ids=lambda lies: "-".join(f"{name}" for name in lies) + str(lies.get("flags", "")),
)
async def test_a_device_that_lies_signs_nobody_in(desk: Desk, lies: dict[str, Any]) -> None:
    device = Authenticator()
    await add(await desk.signed_in(ADA), device)
    browser, answer = await use(desk, device, **lies)
    assert (answer.status_code, answer.json()) == (422, {"code": "PASSKEY_INVALID"})
    assert (await browser.get("/security")).status_code == 303
    assert await count(desk, "gateway.session") == 1
    assert (await use(desk, device))[1].status_code == 200  # the honest one still does


@pytest.mark.parametrize(
    "lies",
    [
        {"origin": "https://evil.example"},
        {"host": "evil.example"},
        {"type": "webauthn.get"},
        {"flags": UP | 0x40},
        {"challenge": encode(b"x" * 32)},
    ],
)
async def test_a_device_that_lies_adds_no_passkey(desk: Desk, lies: dict[str, Any]) -> None:
    ada = await desk.signed_in(ADA)
    answer = await add(ada, Authenticator(), **lies)
    assert (answer.status_code, answer.json()) == (422, {"code": "PASSKEY_INVALID"})
    assert await count(desk) == 0


async def test_an_unknown_passkey_is_refused_with_the_same_words(desk: Desk) -> None:
    device = Authenticator()
    device.keys.append(Key(b"never-added", ec.generate_private_key(ec.SECP256R1()), b"x"))
    _, answer = await use(desk, device)
    assert (answer.status_code, answer.json()) == (422, {"code": "PASSKEY_INVALID"})


async def test_an_answer_is_good_once_even_in_parallel(desk: Desk) -> None:
    device = Authenticator(counts=False)  # as synced passkeys do: their count stays 0
    await add(await desk.signed_in(ADA), device)
    browser = desk.browser()
    told = await options(browser, "/sign-in", "/sign-in/passkey/options")
    entry, credential = dict(browser.http.cookies), device.use(told)

    async def hand_in() -> int:
        other = desk.browser()
        other.http.cookies.update(entry)
        return (await other.json("/sign-in", "/sign-in/passkey", {"credential": credential})).status_code

    answers = await asyncio.gather(*(hand_in() for _ in range(6)))
    assert sorted(answers) == [200, 422, 422, 422, 422, 422]
    assert await hand_in() == 422
    assert await count(desk, "gateway.session") == 2


async def test_a_challenge_is_answered_by_the_browser_that_was_given_it_and_within_five_minutes(desk: Desk) -> None:
    device = Authenticator()
    await add(await desk.signed_in(ADA), device)
    asked, other = desk.browser(), desk.browser()
    told = await options(asked, "/sign-in", "/sign-in/passkey/options")
    stolen = await other.json("/sign-in", "/sign-in/passkey", {"credential": device.use(told)})
    assert stolen.status_code == 422
    desk.wall.move(minutes=5)
    late = await asked.json("/sign-in", "/sign-in/passkey", {"credential": device.use(told)})
    assert late.status_code == 422


async def test_an_answer_to_an_addition_signs_nobody_in_and_the_other_way_round(desk: Desk) -> None:
    ada, device = await desk.signed_in(ADA), Authenticator()
    await add(ada, device)
    to_add = await options(ada)
    credential = device.use(to_add)
    browser = desk.browser()
    answer = await browser.json("/sign-in", "/sign-in/passkey", {"credential": credential})
    assert answer.status_code == 422
    to_sign_in = await options(browser, "/sign-in", "/sign-in/passkey/options")
    made = device.make({**to_add, "challenge": to_sign_in["challenge"]})
    assert (await ada.json("/security", "/security/passkeys", {"credential": made})).status_code == 422
    assert await count(desk) == 1


async def test_a_copied_device_is_noticed_by_its_count(desk: Desk) -> None:
    device = Authenticator()
    await add(await desk.signed_in(ADA), device)
    assert (await use(desk, device))[1].status_code == 200
    assert (await use(desk, device))[1].status_code == 200
    _, answer = await use(desk, device, count=1)
    assert answer.status_code == 422


async def test_a_member_s_passkey_is_none_of_the_staff_s(desk: Desk) -> None:
    device = Authenticator()
    await add(await desk.signed_in(ADA), device)
    _, answer = await use(desk, device, prefix="/staff")
    assert answer.status_code == 422


async def test_the_same_passkey_cannot_be_added_twice_by_anybody(desk: Desk) -> None:
    ada, ben, device = await desk.signed_in(ADA), await desk.signed_in(BEN), Authenticator()
    told = await options(ada)
    credential = device.make(told)
    assert (await ada.json("/security", "/security/passkeys", {"credential": credential})).status_code == 200
    of_ben = await options(ben)
    copied = device.use({"challenge": of_ben["challenge"]})
    copied["response"] = {
        **credential["response"],
        "clientDataJSON": encode(device._client("webauthn.create", of_ben, {})),
    }
    assert (await ben.json("/security", "/security/passkeys", {"credential": copied})).status_code == 422
    assert await count(desk) == 1


async def test_adding_and_removing_take_a_proof_of_the_last_five_minutes(desk: Desk) -> None:
    ada, device = await desk.signed_in(ADA), Authenticator()
    await add(ada, device)
    told = await options(ada)
    desk.wall.move(minutes=5)
    refused = await ada.json("/security", "/security/passkeys/options", {})
    assert (refused.status_code, refused.json()) == (403, {"code": "STEP_UP_REQUIRED"})
    late = await ada.json("/security", "/security/passkeys", {"credential": device.make(told)})
    assert (late.status_code, late.json()) == (403, {"code": "STEP_UP_REQUIRED"})
    removing = await ada.fill("/security", "/security/passkeys/remove")
    assert removing.headers["location"] == "/confirm?next=/security"
    assert await count(desk) == 1
    # A passkey is as good as a code to prove it again.
    asked = await options(ada, "/confirm", "/sign-in/passkey/options")
    proved = await ada.json(
        "/confirm", "/sign-in/passkey", {"credential": device.use(asked, device.keys[0]), "next": "/security"}
    )
    assert proved.status_code == 200
    assert (await ada.fill("/security", "/security/passkeys/remove")).headers["location"] == "/security"
    assert await count(desk) == 0
    assert (await use(desk, device, device.keys[0]))[1].status_code == 422
    assert any("passkey was removed" in body for to, body in await desk.letters() if to == ADA)


async def test_nobody_removes_another_s_passkey(desk: Desk) -> None:
    ada, ben, device = await desk.signed_in(ADA), await desk.signed_in(BEN), Authenticator()
    await add(ada, device)
    number = hidden((await ada.get("/security")).text, "/security/passkeys/remove")["passkey"]
    csrf = hidden((await ben.get("/security")).text, "/sign-out")["csrf"]
    answer = await ben.post("/security/passkeys/remove", {"csrf": csrf, "passkey": number})
    assert answer.status_code == 422
    assert "no such passkey any more" in answer.text
    assert await count(desk) == 1


async def test_one_person_has_at_most_twenty(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passkeys, "MOST_PASSKEYS", 2)
    ada, device = await desk.signed_in(ADA), Authenticator()
    assert [(await add(ada, device)).status_code for _ in range(2)] == [200, 200]
    refused = await ada.json("/security", "/security/passkeys/options", {})
    assert (refused.status_code, refused.json()) == (422, {"code": "PASSKEYS_TOO_MANY"})


async def test_whether_a_passkey_lives_in_an_account_is_told(desk: Desk) -> None:
    ada = await desk.signed_in(ADA)
    await add(ada, Authenticator(flags=UP | UV | BE | BS, counts=False))
    assert "your account of passkeys" in (await ada.get("/security")).text


@pytest.mark.parametrize("path", ["/security/passkeys/options", "/security/passkeys"])
async def test_a_script_of_another_site_is_refused(desk: Desk, path: str) -> None:
    ada = await desk.signed_in(ADA)
    for headers in ({"X-CSRF-Token": "0" * 64}, {"X-CSRF-Token": ""}, {"Sec-Fetch-Site": "cross-site"}):
        assert (await ada.json("/security", path, {}, **headers)).status_code == 403
    assert (await ada.http.post(path, content=b"{}", headers={"Content-Type": "text/plain"})).status_code == 415
    stranger = desk.browser()
    await stranger.get("/sign-in")
    assert (await stranger.http.post(path, json={})).status_code == 403


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=40) | st.binary(max_size=40).map(encode),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["id", "rawId", "type", "response", "clientDataJSON", "attestationObject", "signature", "x"]),
        inner, max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


async def test_whatever_is_sent_as_a_credential_is_refused_and_breaks_nothing(desk: Desk) -> None:
    ada, device = await desk.signed_in(ADA), Authenticator()
    site = Site("http://localhost:8000", "localhost", "x")
    await add(ada, device)
    cases: list[Any] = []

    @given(ANYTHING)
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
    def collect(case: Any) -> None:
        cases.append(case)

    collect()
    told = await options(desk.browser(), "/sign-in", "/sign-in/passkey/options")
    honest = device.use(told)
    for part in ("clientDataJSON", "authenticatorData", "signature", "userHandle"):
        cases += [
            {**honest, "response": {**honest["response"], part: wrong}} for wrong in ("", "!", None, 7, "AA", [1])
        ]
    for case in cases:
        answer = case if isinstance(case, dict) else {"response": case}
        async with desk.database.transaction() as connection:
            with pytest.raises(PasskeyInvalid):
                await passkeys.prove(
                    connection, desk.vault, site, answer, audience="MEMBER", holder="entry", now=desk.wall()
                )
    for case in (*cases[:8], "text", None, [1]):
        answer = await ada.json("/security", "/security/passkeys", {"credential": case})
        assert answer.status_code == 422


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:8000", "https://[2001:db8::1]"])
def test_an_address_without_a_name_has_no_passkeys(issuer: str) -> None:
    assert passkeys.site_of(issuer, "x") is None
    assert passkeys.site_of("https://points.example.org:8443", "x") == Site(
        "https://points.example.org:8443", "points.example.org", "x"
    )


async def test_at_an_address_without_a_name_the_pages_offer_none(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> None:
    coalition = await met(database, vault)
    url = server.url(database_name, APPLICATION_ROLE)
    async with desks.opened(coalition, url, issuer="http://127.0.0.1:8000") as desk:
        assert "data-passkey" not in (await desk.browser().get("/sign-in")).text
        page = (await (await desk.signed_in(ADA)).get("/security")).text
        assert "need a host name" in page
        assert "data-passkey" not in page
