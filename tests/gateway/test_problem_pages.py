"""Whatever goes wrong behind a page, a browser is shown a page about it, and a program is told in JSON."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import asyncpg
import httpx2
import pytest
from starlette.routing import Route

from gateway.context import LANGUAGES
from gateway.pages import console, member, operator, operator_rules, portal, problems, till
from gateway.sessions import colleagues
from kit import actors, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from members import messages
from tests.founded import a_coalition, met
from tests.gateway import desk as desks
from tests.gateway.desk import Browser, Desk
from tests.gateway.test_session_matrix import colleague

PAGES = (*member.ROUTES, *till.ROUTES, *portal.ROUTES, *console.ROUTES, *operator.ROUTES, *operator_rules.ROUTES)
SIGN_INS = ("/sign-in", "/staff/sign-in", "/portal/sign-in")
NO_PAGES = (".js", ".webmanifest")
TRY = {"en": "Something went wrong here", "ru": "Что-то пошло не так", "ro": "Ceva nu a mers"}
PROGRAM = {"Accept": "application/json"}


template = a_coalition(bakery={})


@pytest.fixture
async def desk(server: postgres.Server, database_name: str, database: Database, vault: Vault) -> AsyncIterator[Desk]:
    coalition = await met(database, vault)
    ada = await coalition.add_member(email="ada@example.org")
    async with database.transaction() as connection:
        await messages.set_manner(connection, ada.member_id, language="ru", time_zone=None)
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        yield opened
    await coalition.desk.close()


def paths(method: str) -> list[str]:
    """Every path of a page that takes a method, with a part in each place for one."""
    found = {re.sub(r"{\w+(:int)?}", "1", each.path) for each in PAGES if isinstance(each, Route)
             and method in (each.methods or ())}  # fmt: skip
    return sorted(path for path in found if not path.endswith(NO_PAGES))


def is_page(answer: httpx2.Response, status: int) -> None:
    """It is a whole page with a sentence, a way on and the request's number; nothing of what went wrong is in it."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8"), answer.text[
        :300
    ]
    assert answer.headers["x-request-id"] in answer.text
    assert 'role="alert"' in answer.text
    assert re.search(r'<a class="btn" href="/(?!/)', answer.text)
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    for secret in ("Traceback", "asyncpg", "relation", "SELECT"):
        assert secret not in answer.text


async def people(desk: Desk) -> dict[str, Browser]:
    """A browser of each kind of people, by the part of the pages that is theirs."""
    await colleague(desk, "bakery", "All", "all@example.org", *colleagues.SCOPES)
    await desk.invite("root", "root@example.org", [*actors.ROLES])
    return {
        "/app": await desk.signed_in("ada@example.org"),
        "/portal": await desk.signed_in("all@example.org", "/portal"),
        "/console": await desk.signed_in("root@example.org", "/staff"),
    }


async def test_what_is_not_there_or_not_taken_is_told_on_a_page_and_to_programs_in_json(desk: Desk) -> None:
    browser = desk.browser()
    for part in (*problems.PARTS, ""):
        path = f"{part}/no/such/thing"
        is_page(await browser.get(path), 404)
        told = await browser.http.get(path, headers=PROGRAM)
        assert (told.status_code, told.headers["content-type"], told.json()) == (
            404, "application/json", {"error": "Not Found"},
        )  # fmt: skip
    only_get, only_post = set(paths("GET")) - set(paths("POST")), set(paths("POST")) - set(paths("GET"))
    for path in sorted(only_get):
        answer = await browser.post(path, {})
        is_page(answer, 405)
        assert "GET" in answer.headers["allow"]
    for path in sorted(only_post):
        is_page(await browser.get(path), 405)
        assert (await browser.http.get(path, headers=PROGRAM)).json() == {"error": "Method Not Allowed"}
    assert len(only_get) > 40
    assert len(only_post) > 20

    members = (await people(desk))["/app"]
    answer = await members.get("/app/nowhere", headers={"Accept-Language": "en"})
    assert 'lang="ru"' in answer.text  # whoever is signed in is told in their own language
    is_page(await members.post("/app/lock", {"locked": "yes"}), 403)
    large = {"locked": "x" * 70_000}
    is_page(await members.post("/app/lock", large), 413)
    for path in SIGN_INS:
        is_page(await browser.post(path, {"address": "x"}), 403)
        is_page(await browser.post(path, {"address": "x" * 70_000}), 413)
    graphql = await members.post("/session/graphql", {"query": "{ viewer { __typename } }"})
    assert graphql.headers["content-type"].startswith("application/")


async def test_a_defect_behind_any_page_is_told_on_a_page_in_the_persons_language(
    desk: Desk, server: postgres.Server, database_name: str
) -> None:
    browsers = await people(desk)
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    try:
        await owner.execute("ALTER TABLE gateway.session RENAME COLUMN person_id TO lost")
        for path in paths("GET"):
            browser = next((each for part, each in browsers.items() if path.startswith(part)), desk.browser())
            desk.wall.move(seconds=30)
            answer = await browser.get(path)
            if answer.status_code != 200:
                is_page(answer, 500)
            else:
                assert path.endswith("/offline"), path
        for path in SIGN_INS:
            for language in LANGUAGES:
                answer = await browsers["/app"].get(path, headers={"Accept-Language": language})
                if path == "/sign-in":
                    is_page(answer, 500)
                    assert TRY[language] in answer.text
                    assert f'lang="{language}"' in answer.text
        program = await browsers["/app"].http.get("/app", headers=PROGRAM)
        assert (program.status_code, program.json()["errors"][0]["extensions"]["code"]) == (
            500,
            "INTERNAL_SERVER_ERROR",
        )
        await owner.execute("ALTER TABLE gateway.session RENAME COLUMN lost TO person_id")

        # A document of a page that fails: the answer has errors, and the page says so in the member's own language.
        await owner.execute("ALTER TABLE members.card RENAME COLUMN last_four TO lost")
        answer = await browsers["/app"].get("/app/me", headers={"Accept-Language": "en"})
        assert 'lang="ru"' in answer.text
        is_page(answer, answer.status_code)
        await owner.execute("ALTER TABLE members.card RENAME COLUMN lost TO last_four")
        assert (await browsers["/app"].get("/app/me")).status_code == 200
    finally:
        await owner.close()


async def test_a_database_that_is_away_is_told_on_a_page_that_can_be_tried_again(
    desk: Desk, server: postgres.Server, database_name: str
) -> None:
    browser = await desk.signed_in("ada@example.org")
    owner = await asyncpg.connect(server.dsn("postgres", server.superuser))
    try:
        await owner.execute(f'ALTER DATABASE "{database_name}" CONNECTION LIMIT 0')
        await owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database_name)
        for path in ("/app", "/app/history?kind=earned", "/portal/till", "/console/runs", "/sign-in"):
            answer = await browser.get(path, headers={"Accept-Language": "ro"})
            if answer.status_code == 303:  # nobody is signed in there
                continue
            is_page(answer, 503)
            assert 'lang="ro"' in answer.text
            assert answer.headers["retry-after"] == "1"
            assert f'href="{path}"' in answer.text
    finally:
        await owner.execute(f'ALTER DATABASE "{database_name}" CONNECTION LIMIT -1')
        await owner.close()
