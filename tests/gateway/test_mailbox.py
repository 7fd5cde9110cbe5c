"""The mailbox: open in a sandbox on this machine, elsewhere for the few who may, and never for codes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from gateway.sessions import mailbox
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.builders import Coalition
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway.desk import Browser, Desk

ADA = "ada@example.org"
BOSS = "boss@example.org"


async def ada(coalition: Coalition) -> None:
    await coalition.add_member(name="Ada", email=ADA)


template = a_coalition(ada)


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> Coalition:
    """A coalition with a member called Ada."""
    return await met(database, vault)


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, coalition: Coalition) -> AsyncIterator[Desk]:
    """A sandbox on this machine."""
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened


@pytest.fixture
async def public(server: postgres.Server, database_name: str, coalition: Coalition) -> AsyncIterator[Desk]:
    """A gateway that is not on this machine alone."""
    url = server.url(database_name, APPLICATION_ROLE)
    async with desks.opened(coalition, url, issuer="https://points.example.org") as opened:
        yield opened


def links(html: str) -> list[str]:
    """The messages that a mailbox lists."""
    return re.findall(r'href="(/mailbox/[^"]+)"', html)


async def listed(browser: Browser) -> list[str]:
    """The messages that this browser's reader sees."""
    page = await browser.get("/mailbox")
    assert page.status_code == 200
    return links(page.text)


async def test_in_a_sandbox_anybody_on_this_machine_reads_what_was_written_and_why_it_was_not_sent(desk: Desk) -> None:
    assert "Nothing was written to anybody yet." in (await desk.browser().get("/mailbox")).text
    await desk.browser().ask(ADA)
    await desk.browser().ask("nobody@example.org")
    await desk.posted()
    page = (await desk.browser().get("/mailbox")).text
    assert "not sent, no channel configured" in page
    assert ADA in page  # whose code it is; everybody here is made up
    [link] = links(page)
    message = (await desk.browser().get(link)).text
    assert await desk.code_for(ADA) == "".join(re.findall(r"\b\d{4}\b(?= \d{4})|(?<=\d{4} )\d{4}\b", message))
    assert "not sent, no channel configured" in message


async def test_pages_of_sign_in_speak_the_language_that_was_chosen_in_this_browser(desk: Desk) -> None:
    russian = {"Accept-Language": "ru"}
    assert '<html lang="ru">' in (await desk.browser().get("/sign-in", headers=russian)).text
    chosen = {**russian, "Cookie": "language=ro"}
    assert '<html lang="ro">' in (await desk.browser().get("/sign-in", headers=chosen)).text
    unknown = {**russian, "Cookie": "language=xx"}
    assert '<html lang="ru">' in (await desk.browser().get("/sign-in", headers=unknown)).text
    ada = await desk.signed_in(ADA)
    assert '<a href="/app">' in (await ada.get("/security")).text  # and the way back


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example:8000"}, {"X-Forwarded-For": "203.0.113.9"}, {"Via": "1.1 proxy"}]
)
async def test_from_elsewhere_or_under_another_name_even_a_sandbox_s_mailbox_is_closed(
    desk: Desk, headers: dict[str, str]
) -> None:
    await desk.browser().ask(ADA)
    [link] = await listed(desk.browser())
    for path in ("/mailbox", link):
        answer = await desk.browser().get(path, headers=headers)
        assert (answer.status_code, answer.headers["location"].partition("?")[0]) == (303, "/staff/sign-in")


async def test_elsewhere_a_stranger_is_asked_to_sign_in_and_others_are_told_the_role(public: Desk) -> None:
    await public.browser().ask(ADA)
    assert (await public.browser().get("/mailbox")).headers["location"] == "/staff/sign-in?next=%2Fmailbox"
    member = await public.signed_in(ADA)
    assert (await member.get("/mailbox")).status_code == 303
    await public.invite("anna", "anna@example.org", [actors.FINANCE_MAKER])
    anna = await public.signed_in("anna@example.org", "/staff")
    answer = await anna.get("/mailbox")
    assert answer.status_code == 403
    assert actors.OPERATOR_ADMIN in answer.text


async def test_an_administrator_reads_notices_under_audit_and_no_sign_in_code(public: Desk) -> None:
    await public.invite("boss", BOSS, [actors.OPERATOR_ADMIN])
    boss = await public.signed_in(BOSS, "/staff")
    await public.browser().ask(ADA)
    code = await public.code_for(ADA)
    assert ADA not in (await boss.get("/mailbox")).text  # an address is seen by opening a message, under audit
    opened = {link: (await boss.get(link)).text for link in await listed(boss)}
    assert len(opened) == 3  # two codes, one invitation
    for text in opened.values():
        assert code not in text
        assert f"{code[:4]} {code[4:]}" not in text
    assert sum("is shown to nobody else" in text for text in opened.values()) == 2
    assert sum("You were given access as boss." in text for text in opened.values()) == 1
    rows = await public.database.pool.fetch("SELECT actor FROM kit.audit_trail WHERE action = 'MESSAGE_READ'")
    assert [row["actor"] for row in rows] == ["boss"]


async def test_the_words_are_gone_with_the_member_s_key_and_the_page_says_so(desk: Desk) -> None:
    await desk.browser().ask(ADA)
    [link] = await listed(desk.browser())
    await desk.database.pool.execute("DELETE FROM members.member_key")
    text = (await desk.browser().get(link)).text
    assert "the key that they lay under was destroyed" in text
    assert ADA not in text


async def test_a_long_mailbox_shows_the_last_ones_and_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "SHOWN", 2)
    for _ in range(3):
        await desk.browser().ask(ADA)
        desk.wall.move(seconds=1)
    page = (await desk.browser().get("/mailbox")).text
    assert len(links(page)) == 2
    assert "Only the last 2 are shown." in page


@pytest.mark.parametrize("path", ["member/1/x", "member/x/{id}", "nobody/0/{id}", "member/1/{id}", "member/-1/{id}", f"member/{2**70}/{{id}}"])  # fmt: skip
async def test_what_is_no_message_is_not_there(desk: Desk, path: str) -> None:
    unknown = path.format(id="406fdf08-6f3f-4738-a2e2-0cd078f1407b")
    assert (await desk.browser().get(f"/mailbox/{unknown}")).status_code == 404


async def test_markup_in_a_letter_stays_text(desk: Desk, database: Database, vault: Vault) -> None:
    from uuid import uuid4

    from members import messages
    from tests.builders import NOON

    async with database.transaction() as connection:
        to = await messages.find_member(connection, vault, ADA)
        assert to is not None
        letter = messages.Letter("<script>alert(1)</script>", "<img src=x onerror=alert(1)>")
        await messages.accept(
            connection, to, letter, message_id=uuid4(), purpose=messages.EXPIRY_NOTICE, at=NOON, now=desk.wall()
        )
    [link] = await listed(desk.browser())
    text = (await desk.browser().get(link)).text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "&lt;img src=x" in text
