"""The demonstration's year, here of two months and a few households: settled, certified, and verified by itself."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import httpx2
import pytest
from pydantic import SecretStr

from gateway import application
from gateway.demo import coalition, data, subscribers, trading, year
from gateway.demo.data import DemonstrationError, Journeys
from gateway.demo.replay import Gateway, Replay, Tally
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import Settings
from settlement import archive

pytestmark = pytest.mark.skipif(
    find_spec(data.PACKAGE) is None, reason="the data package is not installed: requirements/data.txt"
)
SEED = 2017
HOUSEHOLDS = 10
UNTIL = date(2017, 3, 1)
VAULT_KEY = SecretStr(urlsafe_b64encode(bytes(range(32))).decode())  # the fixture's


@dataclass
class Traded:
    """Two months of a sample, settled."""

    database: Database
    vault: Vault
    tally: Tally


@pytest.fixture
async def traded(
    server: Server, database_name: str, database: Database, vault: Vault, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Traded]:  # fmt: skip
    settings = Settings(clock="sandbox", issuer="http://127.0.0.1:8000", master_key=VAULT_KEY)
    with Journeys() as journeys:
        journeys.take(HOUSEHOLDS, seed=SEED)
        tills = await coalition.found(database, vault, journeys, tmp_path / "tills.json", seed=SEED, terms=year.TERMS)
        monkeypatch.setattr(subscribers, "SHARE_PERCENT", 50)  # of ten households twelve in a hundred are none
        assert 0 < await year.enlist(database, vault, tills) < HOUSEHOLDS
        app = application.of(settings, server.url(database_name, APPLICATION_ROLE))
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=settings.issuer) as http,
        ):
            replay = Replay(Gateway(http, tills.clients), tills.cards, Tally(), partial(trading.set_clock, database))
            seen: list[int] = []
            await trading.forward(
                database, replay, journeys, seed=SEED, since=data.FIRST_DAY, until=UNTIL, advance=seen.append,
                at_months_end=year.settle,
            )  # fmt: skip
            assert sum(seen) == journeys.receipt_count(until=UNTIL) > 50
            yield Traded(database, vault, replay.tally)


async def test_every_month_nets_to_zero_is_certified_and_is_read_alone_by_a_partner(
    traded: Traded, server: Server, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert traded.tally.rejected == {}
    found = await year.checks(traded.database, traded.vault)
    assert [(check.name, check.detail) for check in found if not check.held] == []
    assert [check.name[:7] for check in found[:-1]] == ["2017-01", "2017-02", "fees of"]
    assert "2 packages of supermarket" in found[-1].name
    async with traded.database.reading() as connection:
        heads = await archive.runs(connection)
        lines = [n.kind for h in heads for s in (await archive.run(connection, h.run_id)).statements for n in s.lines]
    assert {"PLATFORM_FEE", "TIER_REBATE", "CARRIED_OUT", "SUBSCRIPTION_SHARE"} <= set(lines)

    packages = await year.write_packages(
        traded.database, traded.vault, "supermarket", tmp_path, at=trading.midnight(UNTIL)
    )
    altered = bytearray(packages[1].read_bytes())
    altered[len(altered) // 3] ^= 1
    packages[1].write_bytes(altered)
    assert not year.verified(tmp_path, packages).held  # and the first one alone holds:
    monkeypatch.setattr(year, "_LIBRARIES", ())
    assert year.verified(tmp_path, packages[:1]).held

    (tmp_path / "libraries" / "ledger.py").write_text("")
    told = year.verified(tmp_path, packages[:1])
    assert not told.held
    assert "there is something of ours: ledger" in told.detail

    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("SET session_replication_role = replica")
    await owner.execute("UPDATE settlement.statement SET net_micro = net_micro + 1 WHERE run_id = 2 AND partner_id = 1")
    await owner.close()
    again = await year.checks(traded.database, traded.vault)
    assert [check.held for check in again[:2]] == [True, False]


async def test_a_partner_that_nobody_knows_has_no_packages(database: Database, vault: Vault, tmp_path: Path) -> None:
    with Journeys() as journeys:
        journeys.take(1, seed=SEED)
        await coalition.found(database, vault, journeys, tmp_path / "tills.json", seed=SEED)
    with pytest.raises(DemonstrationError, match="no partner nobody"):
        await year.write_packages(database, vault, "nobody", tmp_path, at=trading.midnight(UNTIL))
