"""`tessera mechanics` and `tessera coupons`, as the people of promotions meet them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway import commands
from kit import actors, clock
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import settings
from partners.coupons import codes
from partners.mechanics import facts, registry
from tests.builders import DAY, NOON, PROGRAMME, Coalition, found


@pytest.fixture
async def coalition(
    database: Database, vault: Vault, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Coalition]:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_CLOCK", "sandbox")
    monkeypatch.setenv("TESSERA_ACTOR", "mara")
    monkeypatch.setenv("COLUMNS", "250")
    settings.cache_clear()
    made = await found(database, vault)
    await made.add_partner("bakery")
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON)
        await actors.ensure_actor(connection, "mara", [actors.PROMOTION_MAKER, actors.ONBOARDING])
        await actors.ensure_actor(connection, "paul", [actors.PROMOTION_CHECKER])
    yield made
    await made.desk.close()
    settings.cache_clear()


async def run(*arguments: str, code: int = 0) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, commands.app, list(arguments))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def written(folder: Path, content: Any) -> str:
    file = folder / "given.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return str(file)


async def test_a_mechanic_is_proposed_by_one_and_approved_by_another(coalition: Coalition, tmp_path: Path) -> None:
    ladder = {"steps": [{"tier": "FRIEND", "ways": [{"purchases": 2}]}]}
    said = await run("mechanics", "propose", "ladder", "tiers", written(tmp_path, ladder))
    [number] = re.findall(r"Proposal (\d+)", said)
    assert "MECHANIC" in await run("approvals", "list")
    await run("approvals", "approve", number, code=2)
    await run("approvals", "approve", number, "--actor", "paul")
    async with coalition.database.reading() as connection:
        assert (await registry.ladder(connection, at=NOON)).rank("FRIEND") == 1
    told = await run("mechanics", "propose", "event", "visit", written(tmp_path, {"onec": "member"}), code=2)
    assert "this is no such mechanic" in told
    assert "expected a JSON object" in await run(
        "mechanics", "propose", "event", "visit", written(tmp_path, []), code=2
    )
    await run("mechanics", "propose", "event", "visit", written(tmp_path, {}), "--actor", "paul", code=2)


async def test_coupons_are_made_printed_once_and_stopped(coalition: Coalition, tmp_path: Path) -> None:
    batch = {
        "code": "spring", "partner": "bakery", "valid_from": NOON.isoformat(), "expires_at": (NOON + 30 * DAY).isoformat(),
        "honoured_by": ["bakery"], "channel": "FLYER",
    }  # fmt: skip
    await run("coupons", "add", written(tmp_path, batch))
    printed = (await run("coupons", "draw", "spring", "3")).split()
    assert [codes.normal(code) for code in printed] == printed
    assert re.search(r"ISSUED\W+3\b", await run("coupons", "show", "spring"))
    await run("coupons", "stop", "spring")
    await run("coupons", "draw", "nothing", "1", code=2)
    await run("coupons", "add", written(tmp_path, batch | {"kinds": 1}), code=2)
    await run("coupons", "add", written(tmp_path, batch | {"valid_from": "soon"}), code=2)
    await run("coupons", "add", written(tmp_path, batch), code=2)


async def test_stamps_rewards_segments_evidence_and_clubs(coalition: Coalition, tmp_path: Path) -> None:
    card = await coalition.add_member()
    assert "unit 100" in await run("mechanics", "stamps", "coffee", "--description", "ten are a coffee")
    reward = {
        "partner": "bakery", "code": "mug", "names": {"en": "Mug", "ru": "Кружка", "ro": "Cană"}, "points": 100, "stock": 3,
        "valid_from": NOON.isoformat(), "valid_until": (NOON + 30 * DAY).isoformat(), "badges": ["club:bakers"],
    }  # fmt: skip
    await run("mechanics", "reward", written(tmp_path, reward))
    await run("mechanics", "reward", written(tmp_path, reward | {"stocks": 3}), code=2)
    assert "mug" not in await run("mechanics", "orders", "bakery")
    await run("mechanics", "orders", "nobody", code=2)
    await run("mechanics", "segment", "coffee", written(tmp_path, [card.number]))
    await run("mechanics", "segment", "coffee", written(tmp_path, ["1"]), code=2)
    await run("mechanics", "verify", card.number, "LARGE_FAMILY", "--evidence", "CERTIFICATE", "--until", "2027-03-01")
    await run("mechanics", "verify", card.number, "family", "--evidence", "X", "--until", "2027-03-01", code=2)
    await run("mechanics", "invite", card.number, "club:bakers")
    async with coalition.database.reading() as connection:
        seen = await facts.member_facts(
            connection, coalition.vault, PROGRAMME, card.member_id, 1, occurred_at=NOON, at=NOON
        )
    assert seen is not None
    assert (seen.member.segments, seen.member.attributes, seen.member.badges) == (
        ("coffee",), ("LARGE_FAMILY",), ("club:bakers",),
    )  # fmt: skip
