"""The demonstration's coalition: founded once through the product's own use cases, traded with over the real gateway."""

from __future__ import annotations

import stat
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from gateway import application
from gateway.demo import coalition, data, report, trading
from gateway.demo.coalition import Tills
from gateway.demo.data import DemonstrationError, Journeys
from gateway.demo.replay import Gateway, Replay, Tally
from gateway.demo.tills import Day, Spending
from kit.database import APPLICATION_ROLE, Database, connect
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import Settings
from ledger import lots
from members import identification
from partners.agreements import programme
from partners.agreements.programme import ProgrammeExists
from partners.directory import DirectoryCache
from settlement import archive
from tests import builders
from tests.conftest import Copying

pytestmark = pytest.mark.skipif(
    find_spec(data.PACKAGE) is None, reason="the data package is not installed: requirements/data.txt"
)
SEED = 2017
VAULT_KEY = SecretStr(urlsafe_b64encode(bytes(range(32))).decode())  # the fixture's
# The last two days of January and the first of February: a month ends in between.
SINCE, UNTIL = date(2017, 1, 30), date(2017, 2, 2)


@dataclass
class Demonstration:
    """A founded coalition and its tills, before a gateway in this process."""

    database: Database
    vault: Vault
    journeys: Journeys
    tills: Tills
    file: Path
    replay: Replay


@dataclass
class Founded:
    """What founding leaves: a database of this name, and tills."""

    database_name: str
    tills: Tills
    file: Path


@pytest.fixture(scope="module")
async def founded(
    server: Server, template: str, copying: Copying, vault: Vault, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Founded]:
    """The coalition is founded once; each test trades in a copy."""
    file = tmp_path_factory.mktemp("founded") / "tills.json"
    async with copying(template) as name:
        with Journeys() as journeys:
            async with connect(server.url(name, APPLICATION_ROLE)) as database:
                tills = await coalition.found(database, vault, journeys, file, seed=SEED)
        yield Founded(name, tills, file)


@pytest.fixture
async def demonstration(
    server: Server, founded: Founded, copying: Copying, vault: Vault
) -> AsyncIterator[Demonstration]:
    settings = Settings(clock="sandbox", issuer="http://127.0.0.1:8000", master_key=VAULT_KEY)
    tills, file = coalition.tills_in(founded.file, seed=SEED), founded.file
    async with copying(founded.database_name) as name, connect(server.url(name, APPLICATION_ROLE)) as database:
        app = application.of(settings, server.url(name, APPLICATION_ROLE))
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=settings.issuer) as http,
        ):
            replay = Replay(Gateway(http, tills.clients), tills.cards, Tally(), partial(trading.set_clock, database))
            with Journeys() as journeys:
                yield Demonstration(database, vault, journeys, tills, file, replay)


async def test_days_are_replayed_settled_at_the_months_end_and_replayed_again_without_effect(
    demonstration: Demonstration,
) -> None:
    database, replay, journeys = demonstration.database, demonstration.replay, demonstration.journeys
    expected = journeys.receipt_count(SINCE, UNTIL)
    seen: list[int] = []
    await trading.forward(database, replay, journeys, seed=SEED, since=SINCE, until=UNTIL, advance=seen.append)
    assert sum(seen) == replay.tally.receipts == replay.tally.accepted == expected
    assert await trading.replayed_until(database) == UNTIL
    # What was bought before SINCE and comes back now is unknown here, and nothing else is refused.
    assert replay.tally.rejected.keys() <= {"ORIGINAL_UNKNOWN"}

    standing = await _standing(database)
    assert [check for check in standing.checks if not check.held] == []
    assert standing.figures.receipts == expected
    assert standing.points.issued > 10_000
    assert sum(standing.nets.values()) == 0
    async with database.reading() as connection:
        heads = await archive.runs(connection)
    assert [head.cut_at for head in heads] == [trading.midnight(UNTIL), trading.midnight(date(2017, 2, 1))]

    again = await trading.again(database, replay, journeys, seed=SEED, since=SINCE, until=UNTIL, advance=seen.append)
    assert again.held, again.detail
    assert replay.tally.accepted == expected
    await trading.settle(database, trading.midnight(UNTIL))
    async with database.reading() as connection:
        assert await archive.runs(connection) == heads


async def test_a_member_pays_with_points_and_the_code_is_good_once(demonstration: Demonstration) -> None:
    replay, database = demonstration.replay, demonstration.database
    shopping = _one_receipt(demonstration, partner="deli-cafe", total_minor=50_000)
    await replay.day(Day(shopping.day, 1, batches=[[shopping]]))
    bill = replace_total(shopping, "bill", 2_000)
    await replay.day(Day(shopping.day, 1, visits={shopping.household: [Spending(bill, 500, 0)]}))
    assert (replay.tally.spendings, replay.tally.declined) == (1, 0)
    other = replace_total(shopping, "other", 2_000)
    await replay.day(Day(shopping.day, 1, visits={shopping.household: [Spending(other, 500, 0)]}))
    assert replay.tally.rejected == {"CODE_USED": 1}
    found = await identification.identify_cards(
        database.pool, demonstration.vault, [demonstration.tills.cards[shopping.household].number]
    )
    [member] = found.values()
    assert isinstance(member, identification.Identified)
    owned = await lots.standing(database.pool, member.member_id, unit=1, at=trading.midnight(UNTIL))
    assert owned is not None
    # 3 per cent of 500.00 less 500 points, and 3 per cent of the 15.00 paid with money.
    assert owned.available == 1_500 - 500 + 45


async def test_the_conversation_at_the_end_is_about_somebody_with_points_to_spend(
    demonstration: Demonstration,
) -> None:
    shopping = _one_receipt(demonstration, partner="deli-cafe", total_minor=9_000)
    first = next(iter(demonstration.tills.cards))
    await demonstration.replay.day(Day(shopping.day, 1, batches=[[shopping._replace(household=first)]]))
    shopper = await report.richest(
        demonstration.database, demonstration.vault, demonstration.tills, at=trading.midnight(UNTIL)
    )
    assert (shopper.card, shopper.points) == (demonstration.tills.cards[first], 270)


async def test_every_partner_has_signed_terms_outlets_with_a_till_and_a_client(
    demonstration: Demonstration,
) -> None:
    directory = await DirectoryCache(demonstration.database.pool, demonstration.vault).get()
    outlets = demonstration.journeys.outlets()
    for merchant in data.MERCHANTS:
        partner = directory.partner_by_code(merchant.code)
        assert partner is not None
        terms = directory.terms_at(partner.partner_id, coalition.FOUNDED_AT)
        assert terms is not None
        assert 100 <= terms.earn_rate_bp <= 300
        assert (terms.fund_price_micro, terms.service_price_micro, terms.reimbursement_price_micro) == (
            8_500,
            1_500,
            8_000,
        )
        for store in outlets[merchant.code]:
            outlet = directory.outlet(partner.partner_id, data.outlet_code(store))
            assert outlet is not None
            assert directory.terminal(outlet.outlet_id, data.TERMINAL) is not None
    assert set(demonstration.tills.clients) == {merchant.code for merchant in data.MERCHANTS}
    proposed = await demonstration.database.pool.fetch("SELECT maker_id, checker_id FROM kit.approval")
    assert len(proposed) == 13 + 1  # every partner's agreement, and the release of the promotions
    assert all(row["checker_id"] not in (None, row["maker_id"]) for row in proposed)


async def test_members_agreed_and_what_tills_hold_is_in_a_private_file_and_nowhere_else(
    demonstration: Demonstration, founded: Founded
) -> None:
    pool, tills = demonstration.database.pool, founded.tills
    assert await pool.fetchval("SELECT count(*) FROM members.consent WHERE granted AND purpose = 'PROGRAMME'") == 2_469
    assert stat.S_IMODE(demonstration.file.stat().st_mode) == 0o600
    assert coalition.tills_in(demonstration.file, seed=SEED) == tills
    card, client = next(iter(tills.cards.values())), tills.clients["fuel"]
    stored = await pool.fetchval(
        "SELECT (SELECT string_agg(c::text, '') FROM members.card c)"
        " || (SELECT string_agg(s::text, '') FROM gateway.client_secret s)"
    )
    assert card.number not in stored
    assert card.secret.hex() not in stored
    assert client.secret not in stored
    assert client.secret.encode().hex() not in stored


async def test_tills_that_follow_another_seed_are_not_taken(demonstration: Demonstration) -> None:
    with pytest.raises(DemonstrationError, match="follows seed 2017"):
        coalition.tills_in(demonstration.file, seed=1)


@pytest.mark.parametrize("content", ["", "{}", '{"seed": 2017, "clients": {"fuel": ["one"]}, "cards": {}}'])
def test_a_broken_file_of_tills_is_one_sentence(tmp_path: Path, content: str) -> None:
    file = tmp_path / "tills.json"
    file.write_text(content)
    with pytest.raises(DemonstrationError, match="start over with --fresh"):
        coalition.tills_in(file, seed=SEED)


async def test_a_database_with_another_coalition_is_left_alone(database: Database, vault: Vault) -> None:
    async with database.reading() as connection:
        assert not await coalition.is_founded(connection)
    await builders.found(database, vault)
    async with database.reading() as connection:
        with pytest.raises(ProgrammeExists):
            await coalition.is_founded(connection)


async def test_a_founding_that_fails_leaves_nothing(
    database: Database, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, tills: Tills) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(coalition, "_write", full)
    with Journeys() as journeys, pytest.raises(OSError, match="No space"):
        await coalition.found(database, vault, journeys, tmp_path / "tills.json", seed=SEED)
    async with database.reading() as connection:
        with pytest.raises(programme.ProgrammeUnknown):
            await programme.read(connection)
    assert await database.pool.fetchval("SELECT count(*) FROM members.member") == 0


async def _standing(database: Database) -> report.Standing:
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        return await report.standing(connection)


def _one_receipt(demonstration: Demonstration, *, partner: str, total_minor: int) -> data.Receipt:
    some = demonstration.journeys.receipts(SINCE, SINCE + timedelta(days=1))
    return replace_total(next(one for one in some if one.partner == partner), "first", total_minor)


def replace_total(receipt: data.Receipt, reference: str, total_minor: int) -> data.Receipt:
    """The receipt under another reference, of a total and no lines."""
    content = receipt.input | {"reference": reference, "total": f"{total_minor // 100}.{total_minor % 100:02d}"}
    content.pop("lines", None)
    return receipt._replace(reference=reference, total_minor=total_minor, json=data.orjson.dumps(content).decode())
