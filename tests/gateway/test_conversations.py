"""The conversations that are printed for partner developers, run as they stand against a running gateway."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import application, scopes
from gateway.oauth import clients
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from kit.settings import Settings
from members import proofs
from tests.builders import NOON, found, violations
from tests.gateway import stand
from tests.gateway.live import served

PAGE = Path(__file__).parents[2] / "docs" / "conversations.md"
BLOCKS = re.findall(r"^```(bash|json|python)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
MARK = "----- the next block -----"


@pytest.fixture
async def environment(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[dict[str, str]]:
    """A running gateway, and what the page takes for given."""
    url = server.url(database_name, APPLICATION_ROLE)
    coalition = await found(database, vault)
    caller = await coalition.add_partner("bakery", return_window_days=0)
    card = await coalition.add_member()
    async with database.transaction() as connection:
        await proofs.set_pin(connection, vault, card.member_id, "2468")
        await actors.ensure_actor(connection, "tester", [actors.ONBOARDING])
        await clients.allow_secrets(connection, partner_id=caller.partner_id, by="tester", at=clock.wall())
        client_id, secret = await clients.add_client(
            connection, partner_id=caller.partner_id, name="docs", scopes=scopes.TILL, by="tester", at=clock.wall()
        )
        await clock.set_sandbox(connection, NOON)
    await coalition.desk.close()
    settings = Settings(issuer=stand.ISSUER, clock="sandbox", pool_size=2)
    with served(application.of(settings, url, vault=vault), settings) as address:
        yield {
            "PATH": os.environ["PATH"], "TESSERA": address, "CLIENT_ID": client_id, "CLIENT_SECRET": secret,
            "OUTLET": "1", "BUSINESS_DATE": NOON.date().isoformat(), "CARD_NUMBER": card.number, "PIN": "2468",
        }  # fmt: skip
    assert await violations(database.pool) == []


def same(printed: Any, answered: Any) -> bool:
    """Whether an answer is what is printed, the sign … standing for anything."""
    if printed == "…":
        return True
    if isinstance(printed, dict) and isinstance(answered, dict):
        return printed.keys() == answered.keys() and all(same(printed[key], answered[key]) for key in printed)
    return bool(printed == answered)


@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="needs curl and bash")
def test_the_conversations_with_curl_are_answered_as_printed(environment: dict[str, str]) -> None:
    script = f"\necho; echo '{MARK}'\n".join(text for kind, text in BLOCKS if kind == "bash")
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = [part.strip() for part in done.stdout.split(MARK)]
    printed = _answers()
    assert len(said) == len(printed)
    assert sum(answer is not None for answer in printed) == 13
    for answered, expected in zip(said, printed, strict=True):
        if expected is None:
            assert answered == ""
        else:
            body = json.loads(answered)
            assert body.pop("extensions")["cost"]["throttleStatus"]["maximumAvailable"] == 2_000
            assert same(expected, body), answered


def _answers() -> list[Any]:
    """What is printed behind each block of bash, None for one without an answer."""
    kinds = [*(kind for kind, _ in BLOCKS), ""]
    return [
        json.loads(BLOCKS[index + 1][1]) if kinds[index + 1] == "json" else None
        for index, (kind, _) in enumerate(BLOCKS)
        if kind == "bash"
    ]


def test_the_conversations_with_python_run_to_their_end(environment: dict[str, str]) -> None:
    script = "\n".join(text for kind, text in BLOCKS if kind == "python")
    done = subprocess.run(
        [sys.executable, "-I", "-c", script], capture_output=True, text=True, timeout=120, env=environment, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "All is back as it was.\n")
