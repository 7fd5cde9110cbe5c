"""`tessera books` as a person at a terminal meets it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from kit import console
from kit.database import APPLICATION_ROLE
from kit.postgres import Server
from kit.settings import settings
from ledger import cutoffs
from settlement.money.commands import app
from tests.builders import DAY, NOON
from tests.settlement.money.books import Books

Run = Callable[..., Any]


@pytest.fixture
def run(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `tessera books …` against this test's database, away from the test's own event loop."""
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_ACTOR", "fina")
    monkeypatch.setattr(console.out, "_width", 200)
    settings.cache_clear()

    async def invoke(*args: str, refused: bool = False) -> str:
        result: Result = await asyncio.to_thread(CliRunner().invoke, app, list(args))
        assert (result.exit_code != 0) == refused, result.output
        return result.output

    yield invoke
    settings.cache_clear()


async def test_booking_and_looking_at_the_balances(books: Books, run: Run) -> None:
    assert "Nothing is booked" in await run("balance")
    await books.partner("a")
    await books.earn(await books.member(), 1_000, "a")
    await cutoffs.close(books.database, at=NOON + DAY)
    assert "Booked: cutoff:1" in await run("book")
    assert "booked already" in await run("book")
    shown = await run("balance")
    for words in ("1200", "Partner's clearing position", "+10.000000", "-8.500000", "Sum of all accounts in EUR: +0.0"):
        assert words in shown
    assert "2100" not in await run("balance", "--account", "1200")
    assert "Nothing is booked" in await run("balance", "--at", "2020-01-01")


async def test_a_buy_out_an_exit_and_an_opening_wait_for_somebody_else(books: Books, run: Run) -> None:
    await books.partner("a", funding="AT_BURN", service_price_micro=0)
    first = str(await books.terms_of("a"))
    await books.earn(await books.member(), 1_000, "a")
    await books.close(after=1)
    assert "Proposal 2 waits" in await run(
        "buy-out", "a", first, "--billed", "8500", "--reason", "agreed", "--paid", "8"
    )
    await run("approve", "2", refused=True)  # fina proposed it, and is no checker
    assert "approved and done" in await run("approve", "2", "--actor", "finn")
    assert {k: v for k, v in (await books.balances()).items() if k == "1200.a"} == {"1200.a": 8_000_000}
    assert "issues points under it" in await run("exit", "a", "--reason", "leaves", refused=True)
    await books.sign("a", after=2, role="RUN_OFF", bill_share_bp=0, funding="AT_BURN", service_price_micro=0)
    sold = str(await books.terms_of("a"))
    assert "waits" in await run("opening", "a", sold, "500")
    assert "declined" in await run("decline", "4", "--actor", "finn")


async def test_closing_a_period(books: Books, run: Run) -> None:
    await books.close(after=0)
    await cutoffs.close(books.database, at=NOON + 40 * DAY)
    await run("lock", "2026-04-12", refused=True)
    await run("book")
    result = await run("lock", "2026-03-03")
    number = result.split()[1]
    assert "done" in await run("approve", number, "--actor", "finn")
    await run("lock", "2026-03-03", refused=True)


async def test_rates_and_the_sweep(books: Books, run: Run) -> None:
    assert "USD is fixed at 0.9" in await run("fix", "2026-03-04", "USD", "0.9", "--source", "BNM")
    await run("fix", "2026-03-04", "USD", "0.8", "--source", "BNM", refused=True)
    assert "at zero already" in await run("sweep", "2026-03-04")


async def test_breakage_is_shown_by_cohort(books: Books, run: Run) -> None:
    await books.partner("a")
    card = await books.member()
    await books.earn(card, 1_000, "a")
    await books.spend(card, 500, "a")
    await books.close(after=1)
    shown = await run("breakage", "--at", "2026-03-05")
    for words in ("chain-ladder/1", "2026-03", "1,000", "50.0000 %", "+4.250000"):
        assert words in shown
