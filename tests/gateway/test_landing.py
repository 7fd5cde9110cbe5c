"""The page at /: what a stranger sees, and what nobody may see."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from html.parser import HTMLParser

import httpx2
import pytest
from starlette.applications import Starlette

from gateway import landing
from gateway.context import Services
from gateway.demo.names import INVENTED, PROGRAMME_NAME, SOURCE
from kit import actors
from kit.database import Database
from kit.secrets import Vault
from kit.settings import Settings
from partners import callers
from partners.agreements import programme
from partners.decisions import preparing
from partners.desk import Desk
from partners.directory import DirectoryCache
from partners.purchases import purchases
from partners.terms import Programme
from settlement import runs
from tests import builders
from tests.builders import NOON, a_receipt, identified

Browse = Callable[..., httpx2.AsyncClient]


@pytest.fixture
async def browse(database: Database, vault: Vault) -> AsyncIterator[Browse]:
    """A browser of the landing page over the test's database."""
    opened: list[httpx2.AsyncClient] = []

    def over(clock: str = "sandbox") -> httpx2.AsyncClient:
        application = Starlette(routes=landing.ROUTES)
        settings = Settings(clock=clock, issuer="http://127.0.0.1:8000")  # type: ignore[arg-type]
        application.state.services = Services(settings, database, vault, DirectoryCache(database.pool, vault))
        transport = httpx2.ASGITransport(app=application)
        opened.append(httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000"))
        return opened[-1]

    yield over
    for client in opened:
        await client.aclose()


async def test_before_a_coalition_is_founded_the_page_says_how_to_found_one(browse: Browse) -> None:
    answer = await browse().get("/")
    assert answer.status_code == 200
    assert "tessera demo" in answer.text
    assert "Members" not in answer.text


async def test_the_page_shows_sums_and_nobody(browse: Browse, database: Database, vault: Vault) -> None:
    coalition = await builders.found(database, vault)
    bakery = await coalition.add_partner("bakery", earn_rate_bp=100, return_window_days=0)
    fuel = await coalition.add_partner("fuel", earn_rate_bp=100, return_window_days=14)
    card = await coalition.add_member(name="Ada Lovelace", phone="+49 30 1234567", email="ada@example.org")
    await _buys(coalition, bakery, card, 123_456)
    await _buys(coalition, fuel, card, 4_200)
    text = (await browse().get("/")).text
    assert _figures(text) == {
        "Partners": "2", "Members": "1", "Receipts": "2", "Points to spend": "1\u202f234", "Points pending": "42",
    }  # fmt: skip
    assert "Nothing was settled yet" in text
    for personal in ("Ada", "Lovelace", "1234567", "ada@", card.number, card.last_four):
        assert personal not in text


async def test_the_last_settlement_shows_who_pays_and_who_receives(
    browse: Browse, database: Database, vault: Vault
) -> None:
    coalition = await builders.found(database, vault)
    bakery = await coalition.add_partner("bakery", return_window_days=0)
    card = await coalition.add_member()
    await _buys(coalition, bakery, card, 100_000)
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "financier", [actors.FINANCE_MAKER])
    await runs.close_cutoff(database, actor="financier", at=NOON + timedelta(days=1))
    async with database.transaction() as connection:
        await runs.settle(connection, actor="financier", at=NOON + timedelta(days=1))
    rows = re.findall(
        r'<th scope="row">(.*?)</th>.*?(pays|receives)</td><td class="number">(.*?)</td>', await _text(browse()), re.S
    )
    assert rows == [("Operator", "receives", "10.00 EUR"), ("Bakery", "pays", "10.00 EUR")]


async def test_with_the_walls_clock_there_is_no_figure(browse: Browse, database: Database, vault: Vault) -> None:
    coalition = await builders.found(database, vault)
    await coalition.add_partner("bakery")
    text = (await browse(clock="wall").get("/")).text
    assert "Members" not in text
    assert "Test coalition" not in text
    assert "tessera demo" not in text
    assert 'href="/schema.graphql"' in text


async def test_the_demonstration_says_where_its_receipts_come_from_and_other_coalitions_do_not(
    browse: Browse, database: Database, vault: Vault
) -> None:
    async with database.transaction() as connection:
        await programme.found(connection, Programme(PROGRAMME_NAME, "UTC", "EUR", ("en",), 10_000, 30, {"EUR": 10_000}))
    assert "84.51" not in await _text(browse())  # nothing is shown yet that comes from anywhere
    maker = builders.Coalition(database, vault, Desk(database, vault, DirectoryCache(database.pool, vault)))
    async with database.transaction() as connection:
        maker.maker = await actors.ensure_actor(connection, "maker", [actors.AGREEMENT_MAKER])
        maker.checker = await actors.ensure_actor(connection, "checker", [actors.AGREEMENT_CHECKER])
        maker.onboarder = await actors.ensure_actor(connection, "onboarder", [actors.ONBOARDING])
    bakery = await maker.add_partner("bakery")
    await _buys(maker, bakery, await maker.add_member(), 500)
    shown = await _text(browse())
    assert SOURCE in shown
    assert INVENTED in shown


async def test_a_name_that_looks_like_markup_stays_text(browse: Browse, database: Database) -> None:
    async with database.transaction() as connection:
        name = "<script>alert(1)</script>"
        await programme.found(connection, Programme(name, "UTC", "EUR", ("en",), 10_000, 30, {"EUR": 10_000}))
    text = await _text(browse())
    assert "<script" not in text
    assert "&lt;script&gt;" in text


async def test_the_page_runs_no_script_and_only_its_own_style(browse: Browse) -> None:
    answer = await browse().get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    style = re.search(r"<style>(.*?)</style>", answer.text, re.S)
    assert style is not None
    assert style[1] == landing._STYLE
    assert " style=" not in answer.text
    assert "<script" not in answer.text


async def test_the_page_is_well_formed_has_one_heading_and_names_its_language(browse: Browse) -> None:
    page = _Page()
    page.feed((await browse().get("/")).text)
    assert page.open == []
    assert page.seen.count("h1") == 1
    assert page.language == "en"
    assert {"header", "main", "footer"} <= set(page.seen)


async def test_a_crowd_asks_the_database_once(
    browse: Browse, database: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    await builders.found(database, vault)
    looks = []
    look = landing.Landing._look

    async def counted(self: landing.Landing) -> landing.State | None:
        looks.append(1)
        return await look(self)

    monkeypatch.setattr(landing.Landing, "_look", counted)
    browser = browse()
    for _ in range(5):
        await browser.get("/")
    assert len(looks) == 1


async def test_the_schema_is_served_as_it_is_published(browse: Browse) -> None:
    answer = await browse().get("/schema.graphql")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "recordPurchase(" in answer.text


async def _text(browser: httpx2.AsyncClient) -> str:
    return (await browser.get("/")).text


async def _buys(coalition: builders.Coalition, caller: callers.Caller, card: builders.IssuedCard, total: int) -> None:
    desk = coalition.desk
    prepared = preparing.prepare(
        await desk.directory.get(), caller, identified(card), a_receipt(total), at=NOON, idem_key=None
    )
    await purchases.accrue(desk, prepared)


def _figures(text: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text))


class _Page(HTMLParser):
    """Which elements a page has, and which it leaves open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.language: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag == "html":
            self.language = dict(attrs)["lang"]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
