"""Signing in by code, sessions, and what keeps them safe."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import structlog
from sqlalchemy import event

from gateway.sessions import browsers, codes, forms, session
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members.messages import MEMBER
from tests import builders
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway.desk import Desk, hidden

ADA = "ada@example.org"
BEN = "ben@example.org"
NOBODY = "nobody@example.org"


async def ada_and_ben(coalition: builders.Coalition) -> None:
    await coalition.add_member(name="Ada Lovelace", email=ADA, phone="+49 30 1234567")
    await coalition.add_member(name="Ben", email=BEN)


template = a_coalition(ada_and_ben)


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    """A gateway with its pages, and members called Ada and Ben."""
    coalition = await met(database, vault)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened


async def counted(desk: Desk, table: str) -> int:
    return int(await desk.database.pool.fetchval(f"SELECT count(*) FROM {table}"))


def cookie(answer: httpx2.Response, name: str) -> str:
    """The Set-Cookie line of a cookie."""
    [line] = [line for line in answer.headers.get_list("set-cookie") if line.startswith(f"{name}=")]
    return line


@contextmanager
def statements(desk: Desk) -> Iterator[list[str]]:
    """The statements that the gateway sends meanwhile, in order."""
    seen: list[str] = []
    engine = desk.application.state.services.database.engine.sync_engine

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(" ".join(statement.split()))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


# --- By code ------------------------------------------------------------------------------------------------


async def test_a_member_signs_in_with_the_code_that_was_sent(desk: Desk) -> None:
    browser = desk.browser()
    asked = await browser.ask(" Ada@Example.org ")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in/code?next=%2Fsecurity")
    entered = await browser.enter(await desk.code_for(ADA))
    assert (entered.status_code, entered.headers["location"]) == (303, "/security")
    page = await browser.get("/security")
    assert page.status_code == 200
    assert "this browser" in page.text


async def test_a_phone_number_does_as_well_and_a_code_may_be_typed_in_groups(desk: Desk) -> None:
    browser = desk.browser()
    assert (await browser.ask("+49 (30) 123-45-67")).status_code == 303
    code = await desk.code_for(ADA)  # who has both is written to by e-mail
    assert (await browser.enter(f" {code[:4]} {code[4:]} ")).status_code == 303


async def test_a_code_is_good_once(desk: Desk) -> None:
    browser = desk.browser()
    await browser.ask(ADA)
    code, entry = await desk.code_for(ADA), dict(browser.http.cookies)
    assert (await browser.enter(code)).status_code == 303
    again = desk.browser()
    again.http.cookies.update(entry)
    assert (await again.enter(code)).status_code == 422
    assert await counted(desk, "gateway.session") == 1


async def test_of_eight_browsers_that_enter_the_same_code_at_once_one_is_signed_in(desk: Desk) -> None:
    first = desk.browser()
    await first.ask(ADA)
    code = await desk.code_for(ADA)
    form = hidden((await first.get("/sign-in/code")).text, "/sign-in/code")

    async def enter() -> int:
        other = desk.browser()
        other.http.cookies.update(first.http.cookies)
        return (await other.post("/sign-in/code", {**form, "code": code})).status_code

    answers = await asyncio.gather(*(enter() for _ in range(codes.MOST_TRIES)))
    assert sorted(answers) == [303] + [422] * (codes.MOST_TRIES - 1)
    assert await counted(desk, "gateway.session") == 1


async def test_a_code_ends_after_ten_minutes(desk: Desk) -> None:
    browser = desk.browser()
    await browser.ask(ADA)
    code = await desk.code_for(ADA)
    desk.wall.move(minutes=10)
    assert (await browser.enter(code)).status_code == 422
    assert await counted(desk, "gateway.session") == 0


async def test_after_five_wrong_codes_the_right_one_is_wrong_too_and_a_new_one_is_right(desk: Desk) -> None:
    browser = desk.browser()
    await browser.ask(ADA)
    code = await desk.code_for(ADA)
    wrong = "0" * 8 if code != "0" * 8 else "1" * 8
    for _ in range(codes.MOST_TRIES):
        answer = await browser.enter(wrong)
        assert answer.status_code == 422
        assert 'role="alert"' in answer.text
    assert (await browser.enter(code)).status_code == 422
    desk.wall.move(seconds=1)
    await desk.at_wall()
    await browser.ask(ADA)
    assert (await browser.enter(await desk.code_for(ADA))).status_code == 303


async def test_guesses_in_parallel_share_the_tries(desk: Desk) -> None:
    browser = desk.browser()
    await browser.ask(ADA)
    form = hidden((await browser.get("/sign-in/code")).text, "/sign-in/code")
    await asyncio.gather(*(browser.post("/sign-in/code", {**form, "code": f"{n:08d}"}) for n in range(15)))
    assert await desk.database.pool.fetchval("SELECT tries FROM gateway.sign_in") == codes.MOST_TRIES


async def test_a_code_is_of_no_use_in_a_browser_that_did_not_ask_for_it(desk: Desk) -> None:
    victim, thief = desk.browser(), desk.browser()
    await victim.ask(ADA)
    await thief.ask(NOBODY)
    assert (await thief.enter(await desk.code_for(ADA))).status_code == 422
    assert await counted(desk, "gateway.session") == 0


async def test_wrong_guesses_of_a_stranger_do_not_lock_the_owner_out(desk: Desk) -> None:
    stranger = desk.browser()
    await stranger.ask(ADA)
    for _ in range(codes.MOST_TRIES):
        await stranger.enter("12345678")
    await desk.signed_in(ADA)


# --- Nobody learns who is here ------------------------------------------------------------------------------


async def test_an_unknown_address_is_answered_as_a_known_one(desk: Desk) -> None:
    answers = []
    for address in (ADA, NOBODY, "+49301234567", "+49301234568"):
        browser = desk.browser()
        asked = await browser.ask(address)
        page = await browser.get("/sign-in/code")
        wrong = await browser.enter("12345678")
        answers.append(
            (
                asked.status_code, asked.headers["location"], sorted(asked.headers.keys()), asked.content,
                varying(page.text), wrong.status_code, varying(wrong.text),
            )
        )  # fmt: skip
    assert answers[1:] == answers[:1] * 3


def varying(html: str) -> str:
    """A page without its tokens."""
    return re.sub(r'value="[0-9a-f]{64}"', "", html)


async def test_an_unknown_address_costs_the_same_statements(desk: Desk) -> None:
    seen = {}
    for address in (ADA, NOBODY):
        browser = desk.browser()
        form = hidden((await browser.get("/sign-in")).text, "/sign-in")
        desk.application.state.post.wake = lambda: None
        with statements(desk) as run:
            await browser.post("/sign-in", {**form, "address": address})
        seen[address] = run
    assert len(seen[ADA]) > 4
    assert seen[ADA] == seen[NOBODY]


async def test_nobody_s_code_is_never_right_though_it_was_guessed(desk: Desk) -> None:
    browser = desk.browser()
    await browser.ask(NOBODY)
    entry = browser.http.cookies["sandbox-member-entry"]
    code_hash = codes._hash(desk.vault, session.hash_of(entry), "12345678")
    # As if the digits that nobody was sent had been these.
    await desk.database.pool.execute("DELETE FROM gateway.sign_in")
    await desk.database.pool.execute(
        "INSERT INTO gateway.sign_in (token_hash, audience, code_hash, asked_at, ends_at) "
        "VALUES ($1, 'MEMBER', $2, $3::timestamptz, $3::timestamptz + interval '10 minutes')",
        session.hash_of(entry), code_hash, desk.wall(),
    )  # fmt: skip
    assert (await browser.enter("12345678")).status_code == 422
    assert await counted(desk, "gateway.session") == 0


async def test_an_address_is_sent_five_codes_in_an_hour_whether_or_not_it_is_somebody_s(desk: Desk) -> None:
    for address in (ADA, NOBODY):
        for _ in range(codes.MOST_CODES):
            assert (await desk.browser().ask(address)).status_code == 303
        before = (await counted(desk, "gateway.sign_in"), await counted(desk, "members.message"))
        refused = await desk.browser().ask(address.upper())
        assert refused.status_code == 429
        assert "Wait an hour" in refused.text
        assert (await counted(desk, "gateway.sign_in"), await counted(desk, "members.message")) == before
    desk.wall.move(hours=1)
    assert (await desk.browser().ask(ADA)).status_code == 303


async def test_asking_in_parallel_does_not_get_more_codes(desk: Desk) -> None:
    browsers_ = [desk.browser() for _ in range(12)]
    answers = await asyncio.gather(*(browser.ask(ADA) for browser in browsers_))
    assert sorted(answer.status_code for answer in answers) == [303] * codes.MOST_CODES + [429] * (
        12 - codes.MOST_CODES
    )


async def test_a_stranger_who_spends_the_hour_s_codes_does_not_keep_the_owner_out_of_a_known_browser(
    desk: Desk,
) -> None:
    known = await desk.signed_in(ADA)
    form = hidden((await known.get("/security")).text, "/sign-out")
    await known.post("/sign-out", form)
    while (await desk.browser().ask(ADA)).status_code == 303:
        pass
    desk.wall.move(seconds=1)
    await desk.at_wall()
    assert (await known.ask(ADA)).status_code == 303
    assert (await known.enter(await desk.code_for(ADA))).status_code == 303
    # What recognises Ada's browser is worth nothing for Ben.
    while (await desk.browser().ask(BEN)).status_code == 303:
        pass
    other = desk.browser()
    other.http.cookies.update(known.http.cookies)
    other.http.cookies.delete("sandbox-member-session")
    assert (await other.ask(BEN)).status_code == 429


async def test_codes_and_tokens_are_kept_as_hashes_only_and_logged_nowhere(desk: Desk) -> None:
    with structlog.testing.capture_logs() as lines:
        browser = await desk.signed_in(ADA)
        await browser.get("/security")
        await desk.browser().ask(NOBODY)
    code = await desk.code_for(ADA)
    token = browser.http.cookies["sandbox-member-session"]
    written = ""
    for table in ("session", "sign_in", "sign_in_budget", "passkey_challenge"):
        written += str([tuple(row) for row in await desk.database.pool.fetch(f"SELECT t::text FROM gateway.{table} t")])
    written += str([tuple(row) for row in await desk.database.pool.fetch("SELECT t::text FROM kit.audit_trail t")])
    for secret in (code, token, ADA, "Ada", NOBODY, session.hash_of(code).hex()):
        assert secret not in written
        assert secret not in str(lines)
    assert session.hash_of(token).hex() in written


# --- Sessions -----------------------------------------------------------------------------------------------


async def test_cookies_of_an_https_address_carry_the_host_prefix_and_every_attribute(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> None:
    coalition = await met(database, vault)
    url = server.url(database_name, APPLICATION_ROLE)
    async with desks.opened(coalition, url, issuer="https://points.example.org") as desk:
        browser = desk.browser()
        asked = await browser.ask(ADA)
        entered = await browser.enter(await desk.code_for(ADA))
        for answer, name in ((asked, "entry"), (entered, "session"), (entered, "known")):
            line = cookie(answer, f"__Host-member-{name}").lower()
            for attribute in ("secure", "httponly", "path=/", "samesite=lax"):
                assert f"; {attribute}" in line, line
            assert "domain" not in line
        assert (await browser.get("/security")).status_code == 200
        assert "Open the mailbox" not in (await browser.get("/sign-in/code")).text


async def test_signing_in_makes_a_new_session_and_ends_the_one_the_browser_came_with(desk: Desk) -> None:
    browser = await desk.signed_in(ADA)
    first = browser.http.cookies["sandbox-member-session"]
    desk.wall.move(minutes=6)
    await desk.at_wall()
    await browser.fill("/confirm?next=/security", action="/confirm")
    await browser.enter(await desk.code_for(ADA))
    second = browser.http.cookies["sandbox-member-session"]
    assert first != second
    old = desk.browser()
    old.http.cookies.set("sandbox-member-session", first)
    assert (await old.get("/security")).status_code == 303
    assert (await browser.get("/security")).status_code == 200


async def test_a_session_that_somebody_planted_is_not_the_one_that_is_signed_in(desk: Desk) -> None:
    browser = desk.browser()
    for name, value in (("session", "planted-by-somebody-else"), ("entry", "planted-too")):
        browser.http.cookies.set(f"sandbox-member-{name}", value, domain="localhost.local", path="/")
    await browser.ask(ADA)
    assert browser.http.cookies["sandbox-member-entry"] != "planted-too"
    await browser.enter(await desk.code_for(ADA))
    assert browser.http.cookies["sandbox-member-session"] != "planted-by-somebody-else"
    assert (await browser.get("/security")).status_code == 200


async def test_a_session_ends_after_a_fortnight_without_use(desk: Desk) -> None:
    idle = session.LIVES[MEMBER].idle
    browser = await desk.signed_in(ADA)
    desk.wall.at += idle - timedelta(seconds=1)
    assert (await browser.get("/security")).status_code == 200
    desk.wall.at += idle
    assert (await browser.get("/security")).status_code == 303


async def test_a_session_in_daily_use_ends_at_its_absolute_life(desk: Desk) -> None:
    life = session.LIVES[MEMBER]
    browser = await desk.signed_in(ADA)
    began = desk.wall()
    while desk.wall() + life.idle / 2 < began + life.absolute:
        desk.wall.at += life.idle / 2
        assert (await browser.get("/security")).status_code == 200
    desk.wall.at = began + life.absolute
    assert (await browser.get("/security")).status_code == 303


async def test_signing_out_ends_the_session_not_only_the_cookie(desk: Desk) -> None:
    browser = await desk.signed_in(ADA)
    token = browser.http.cookies["sandbox-member-session"]
    page = await browser.get("/security")
    gone = await browser.post("/sign-out", hidden(page.text, "/sign-out"))
    assert gone.status_code == 303
    assert "Max-Age=0" in cookie(gone, "sandbox-member-session")
    browser.http.cookies.set("sandbox-member-session", token)
    assert (await browser.get("/security")).status_code == 303


async def test_signing_out_everywhere_ends_all_sessions_of_this_person_and_tells_them(desk: Desk) -> None:
    here, there, other = await desk.signed_in(ADA), await desk.signed_in(ADA), await desk.signed_in(BEN)
    page = await here.get("/security")
    assert (await here.post("/security/end-all", hidden(page.text, "/security/end-all"))).status_code == 303
    for browser, status in ((here, 303), (there, 303), (other, 200)):
        assert (await browser.get("/security")).status_code == status
    told = [body for to, body in await desk.letters() if to == ADA and "sessions of your account" in body]
    assert len(told) == 1


async def test_one_s_own_other_session_can_be_ended_and_nobody_else_s(desk: Desk) -> None:
    here = await desk.signed_in(ADA)
    there = await desk.signed_in(ADA, **{"User-Agent": "Mozilla/5.0 (Windows NT 10.0) Gecko/20100101 Firefox/140.0"})
    other = await desk.signed_in(BEN)
    page = (await here.get("/security")).text
    assert "Firefox, Windows" in page
    form = hidden(page, "/security/end")
    ben = await desk.database.pool.fetchval("SELECT max(session_id) FROM gateway.session")
    await here.post("/security/end", {**form, "session": str(ben)})
    assert (await other.get("/security")).status_code == 200
    await here.post("/security/end", form)
    assert [(await each.get("/security")).status_code for each in (here, there)] == [200, 303]


async def test_who_left_the_programme_is_signed_in_no_more_and_cannot_sign_in(desk: Desk) -> None:
    browser, late = await desk.signed_in(ADA), desk.browser()
    desk.wall.move(seconds=1)
    await desk.at_wall()
    await late.ask(ADA)
    code = await desk.code_for(ADA)
    await desk.database.pool.execute("UPDATE members.member SET status = 'CLOSED'")
    assert (await browser.get("/security")).status_code == 303
    assert (await late.enter(code)).status_code == 422
    assert await counted(desk, "gateway.session") == 1


async def test_a_member_s_session_opens_no_page_of_the_staff(desk: Desk) -> None:
    browser = await desk.signed_in(ADA)
    token = browser.http.cookies["sandbox-member-session"]
    browser.http.cookies.set("sandbox-staff-session", token)
    assert (await browser.get("/staff/security")).status_code == 303


async def test_sign_ins_and_sign_outs_are_in_the_audit_trail(desk: Desk) -> None:
    browser = await desk.signed_in(ADA)
    await browser.post("/sign-out", hidden((await browser.get("/security")).text, "/sign-out"))
    rows = await desk.database.pool.fetch(
        "SELECT actor, action, subject FROM kit.audit_trail WHERE action LIKE 'SIGNED%' ORDER BY entry_id"
    )
    member_id = await desk.database.pool.fetchval("SELECT member_id FROM gateway.session")
    assert [tuple(row) for row in rows] == [
        ("member", "SIGNED_IN", f"member:{member_id}"), ("member", "SIGNED_OUT", f"member:{member_id}"),
    ]  # fmt: skip


async def test_what_is_over_is_forgotten_and_what_is_good_stays(desk: Desk) -> None:
    old = await desk.signed_in(ADA)
    await old.post("/sign-out", hidden((await old.get("/security")).text, "/sign-out"))
    desk.wall.move(days=31)
    await desk.at_wall()
    good = await desk.signed_in(BEN)
    async with desk.database.transaction() as connection:
        assert await session.forget(connection, now=desk.wall()) == 3  # Ada's code, budget and session
    assert (await good.get("/security")).status_code == 200
    assert await counted(desk, "gateway.sign_in") == 1


# --- Forms --------------------------------------------------------------------------------------------------

CHANGES = (
    ("/sign-out", {"any": "thing"}),
    ("/security/end", {"session": "1"}),
    ("/security/end-all", {"any": "thing"}),
    ("/security/manner", {"language": "ru"}),
    ("/security/passkeys/remove", {"passkey": "1"}),
)


@pytest.mark.parametrize(("path", "form"), CHANGES)
async def test_a_form_that_our_page_did_not_send_changes_nothing(desk: Desk, path: str, form: dict[str, str]) -> None:
    browser, other = await desk.signed_in(ADA), await desk.signed_in(BEN)
    foreign = hidden((await other.get("/security")).text, "/security/end-all")["csrf"]
    before = await everything(desk)
    for token in (None, "", "0" * 64, foreign):
        told = form if token is None else {**form, "csrf": token}
        assert (await browser.post(path, told)).status_code == 403, token
    own = hidden((await browser.get("/security")).text, "/security/end-all")["csrf"]
    cross = await browser.post(path, {**form, "csrf": own}, **{"Sec-Fetch-Site": "cross-site"})
    same_site = await browser.post(path, {**form, "csrf": own}, **{"Sec-Fetch-Site": "same-site"})
    assert (cross.status_code, same_site.status_code) == (403, 403)
    assert await everything(desk) == before


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/code", "/confirm"])
async def test_nobody_can_be_made_to_sign_in_as_somebody_else(desk: Desk, path: str) -> None:
    browser, other = desk.browser(), desk.browser()
    await browser.ask(ADA)
    await other.ask(BEN)
    foreign = hidden((await other.get("/sign-in")).text, "/sign-in")["csrf"]
    own = hidden((await browser.get("/sign-in")).text, "/sign-in")["csrf"]
    form = {"address": BEN, "code": await desk.code_for(ADA)}
    before = await everything(desk)
    for token in ("", "0" * 64, foreign):
        assert (await browser.post(path, {**form, "csrf": token})).status_code == 403
    assert (await browser.post(path, {**form, "csrf": own}, **{"Sec-Fetch-Site": "cross-site"})).status_code == 403
    assert await everything(desk) == before


async def everything(desk: Desk) -> list[str]:
    """All rows that signing in can write."""
    rows: list[str] = []
    for table in ("gateway.session", "gateway.sign_in", "gateway.passkey", "members.message", "members.member"):
        rows += sorted(row[0] for row in await desk.database.pool.fetch(f"SELECT t::text FROM {table} t"))
    return rows


async def test_no_change_is_made_by_a_get(desk: Desk) -> None:
    browser = await desk.signed_in(ADA)
    for path in ("/sign-out", "/security/end", "/security/end-all", "/security/passkeys/remove", "/security/manner"):
        assert (await browser.get(path)).status_code == 405


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "text/plain"}, b"csrf=1", 415),
        ({"Content-Type": "application/json"}, b"{}", 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1&a=2", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=\xff\xfe", 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"&".join(b"f%d=1" % n for n in range(40)), 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, b"a=" + b"x" * 70_000, 413),
    ],
)
async def test_what_is_no_form_of_ours_is_refused(
    desk: Desk, headers: dict[str, str], content: bytes, status: int
) -> None:
    browser = desk.browser()
    await browser.get("/sign-in")
    assert (await browser.http.post("/sign-in", content=content, headers=headers)).status_code == status


@pytest.mark.parametrize(
    "text",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "evil", "",
     "/ok\r\nX: y", "/%0d%0a\n", "/é", "/" + "a" * 600, "/ //x", "///evil.example", None, 7],
)  # fmt: skip
def test_where_to_go_on_cannot_lead_elsewhere(text: object) -> None:
    assert forms.local_path(text, "/home") == "/home"


@pytest.mark.parametrize("text", ["/", "/security", "/statements?run=3&partner=bakery#line", "/a//b"])
def test_where_to_go_on_may_be_any_page_of_ours(text: str) -> None:
    assert forms.local_path(text, "/home") == text


async def test_after_signing_in_one_is_where_one_wanted_to_go_and_never_elsewhere(desk: Desk) -> None:
    for wanted, reached in (("/statements?run=3", "/statements?run=3"), ("//evil.example/", "/security")):
        desk.wall.move(seconds=1)
        await desk.at_wall()
        browser = desk.browser()
        first = await browser.fill(f"/sign-in?next={httpx2.URL(wanted)}", address=ADA)
        entered = await browser.fill(first.headers["location"], code=await desk.code_for(ADA))
        assert entered.headers["location"] == reached


async def test_a_second_click_and_the_back_button_are_harmless(desk: Desk) -> None:
    browser = desk.browser()
    await browser.ask(ADA)
    form = {**hidden((await browser.get("/sign-in/code")).text, "/sign-in/code"), "code": await desk.code_for(ADA)}
    assert (await browser.post("/sign-in/code", form)).headers["location"] == "/security"
    assert (await browser.post("/sign-in/code", form)).headers["location"] == "/security"
    assert (await browser.get("/sign-in")).headers["location"] == "/security"
    assert await counted(desk, "gateway.session") == 1


# --- What the pages are -------------------------------------------------------------------------------------

PAGES = (
    "/sign-in",
    "/sign-in/code",
    "/confirm?next=/x",
    "/security",
    "/staff/sign-in",
    "/mailbox",
    "/mailbox/member/1/x",
)


async def seen_pages(desk: Desk, language: str = "en") -> dict[str, httpx2.Response]:
    """Every page, by a member whose proof is old."""
    browser = await desk.signed_in(ADA, **{"Accept-Language": language})
    desk.wall.move(minutes=6)
    await browser.get("/confirm")
    return {path: await browser.get(path) for path in PAGES}


async def test_every_page_forbids_scripts_and_frames_of_others_and_is_not_stored(desk: Desk) -> None:
    for path, answer in (await seen_pages(desk)).items():
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'none'" in policy, path
        assert "unsafe" not in policy, path
        assert answer.headers["cache-control"] == "no-store", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", answer.text), path


@pytest.mark.parametrize("language", ["en", "ru", "ro"])
async def test_every_page_has_one_heading_a_title_its_language_and_a_label_for_every_field(
    desk: Desk, language: str
) -> None:
    for path, answer in (await seen_pages(desk, language)).items():
        if answer.status_code != 200:
            continue
        html = answer.text
        assert f'<html lang="{language}">' in html, path
        assert len(re.findall("<h1", html)) == 1, path
        assert re.search(r"<title>\S", html), path
        for tag in re.findall(r"<(?:input|select)[^>]*>", html):
            if 'type="hidden"' not in tag:
                [name] = re.findall(r'\sid="(\w+)"', tag)
                assert f'<label for="{name}">' in html, (path, tag)
        ids = re.findall(r'\sid="([\w-]+)"', html)
        assert len(ids) == len(set(ids)), path
        for named in re.findall(r'aria-(?:describedby|labelledby)="([^"]+)"', html):
            assert set(named.split()) <= set(ids), (path, named)


async def test_the_files_of_the_pages_are_served_under_their_hash_alone(desk: Desk) -> None:
    html = (await desk.browser().get("/sign-in")).text
    paths = re.findall(r'(?:href|src)="(/assets/[^"]+)"', html)
    assert len(paths) == 2
    for path in paths:
        answer = await desk.browser().get(path)
        assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
        assert (await desk.browser().get(path.replace("/assets/", "/assets/0"))).status_code == 404
    assert (await desk.browser().get("/assets/x/../views.py")).status_code == 404


async def test_a_member_chooses_the_language_and_zone_of_letters(desk: Desk) -> None:
    browser = await desk.signed_in(ADA)
    saved = await browser.fill("/security", "/security/manner", language="ru", time_zone="Asia/Tokyo")
    assert saved.status_code == 303
    page = (await browser.get("/security?saved=1")).text
    assert '<option value="ru" selected>' in page
    assert "<option selected>Asia/Tokyo</option>" in page
    wrong = await browser.fill("/security", "/security/manner", language="ru", time_zone="Mars/Base")
    assert wrong.status_code == 422
    desk.wall.move(seconds=1)
    await desk.at_wall()
    await desk.browser().ask(ADA)
    assert any("Ваш код" in body for _, body in await desk.letters())


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome, Linux"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge, Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Safari/604.1", "Safari, iPhone"),
        ("", "?, ?"),
        ("<script>alert(1)</script>" * 50, "?, ?"),
    ],
)
def test_of_a_browser_a_few_words_are_kept(agent: str, name: str) -> None:
    kept = browsers.name_of(agent)
    assert kept == name
    assert len(kept) <= 60
