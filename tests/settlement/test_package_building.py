"""Packages of real runs: a partner recomputes every line with the file inside, and nothing of ours."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from kit.secrets import Vault
from settlement import archive, runs
from settlement.packages import building, keys, seal_store
from settlement.packages.canonical import canonical_bytes, digest_hex
from tests.settlement.once import once

Coalition = Any
KEY = bytes(range(64))


async def a_year(coalition: Coalition, owner: asyncpg.Connection) -> None:
    """A run whose statements have every kind of line, and one that follows it."""
    await owner.execute("UPDATE settlement.tax_rule SET rate_bp = 1923, rounding = 'DOCUMENT'")
    a = await coalition.partner(
        "a", says={"platform_fee_micro": 7_000_001, "minimum_fee_micro": 50_000_000,
                   "volume_tiers": "[[0, 0], [500, 333]]", "volume_rebates": "[[100, 250]]"},
    )  # fmt: skip
    b = await coalition.partner("b", says={"funding": "AT_BURN", "holdback_bp": 777}, reimbursement=8_001)
    c = await coalition.partner(
        "c", says={"funding": "HYBRID", "hybrid_fund_micro": 4_001, "minimum_payout_minor": 100_000}
    )
    for n in (1, 2):
        member = await coalition.member()
        first = await coalition.earn(member, "a", a, 1000 * n)
        await coalition.earn(member, "b", b, 777)
        await coalition.earn(member, "c", c, 333)
        spent = await coalition.spend(member, "b", b, 1601)
        await coalition.spend(member, "c", c, 99)
        await coalition.refund(member, spent, 33, "b")
        await coalition.give_back(member, first, 100, "a", shortfall=1)
        coalition.at += timedelta(days=35)
        await coalition.settle()


template, year = once(a_year)


async def package(coalition: Coalition, vault: Vault, run_id: int, code: str) -> bytes:
    async with coalition.database.transaction() as connection:
        partner_id = coalition.partners[code]
        return await building.build(connection, vault, run_id, partner_id, id_key=KEY, at=coalition.at)


def verify(folder: Path, content: bytes, *options: str) -> tuple[int, str]:
    """Alone in a folder, isolated: no path of ours, no site of the user's."""
    (folder / "package.zip").write_bytes(content)
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        (folder / "verify.py").write_bytes(opened.read("verify.py"))
    done = subprocess.run(
        [sys.executable, "-I", "verify.py", "package.zip", *options],
        cwd=folder, capture_output=True, text=True, timeout=60, check=False, env={},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


async def test_every_partner_recomputes_every_line_of_both_runs(year: Coalition, vault: Vault, tmp_path: Path) -> None:
    for code in ("a", "b", "c"):
        first, second = await package(year, vault, 1, code), await package(year, vault, 2, code)
        async with year.database.reading() as connection:
            (tmp_path / "keys.json").write_bytes(canonical_bytes(await keys.public_keys(connection)))
        (tmp_path / "first.zip").write_bytes(first)
        for content, options in ((first, ()), (second, ("--previous", "first.zip"))):
            status, said = verify(tmp_path, content, "--key", "keys.json", *options)
            assert status == 0, said
            assert "a key that you trust" in said
            assert "that sum to zero" in said
        assert "opens with what it left" in said


async def test_the_runs_have_every_kind_of_line_that_a_rule_makes(year: Coalition) -> None:
    async with year.database.reading() as connection:
        kinds = {n.kind for r in (1, 2) for s in (await archive.run(connection, r)).statements for n in s.lines}
    assert {
        "TIER_REBATE", "VOLUME_REBATE", "PLATFORM_FEE", "MINIMUM_FEE", "OUTPUT_TAX", "INPUT_TAX", "HOLDBACK",
        "CARRIED_OUT", "ROUNDING", "FUNDED_REDEMPTION",
    } <= kinds  # fmt: skip


async def test_the_same_statement_is_the_same_bytes_and_its_hash_is_kept(year: Coalition, vault: Vault) -> None:
    one, again = await package(year, vault, 2, "a"), await package(year, vault, 2, "a")
    assert one == again
    async with year.database.reading() as connection:
        [its] = [s for s in (await archive.run(connection, 2)).statements if s.partner_id == year.partners["a"]]
        [kept] = await seal_store.packages(connection, its.statement_id)
    assert bytes(kept.sha256).hex() == digest_hex(one)


async def test_however_many_lines_are_written_at_once_the_bytes_are_the_same(
    year: Coalition, vault: Vault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = await package(year, vault, 1, "a")
    for lines in (1, 2, 3):
        monkeypatch.setattr(building, "_LINES_AT_ONCE", lines)
        with (tmp_path / "package.zip").open("w+b") as into:
            async with year.database.transaction() as connection:
                await building.write(connection, vault, 1, year.partners["a"], into, id_key=KEY, at=year.at)
        assert (tmp_path / "package.zip").read_bytes() == whole


async def test_any_byte_altered_in_any_file_is_found(year: Coalition, vault: Vault, tmp_path: Path) -> None:
    whole = await package(year, vault, 1, "a")
    (tmp_path / "keys.json").write_bytes(zipfile.ZipFile(io.BytesIO(whole)).read("keys.json"))
    with zipfile.ZipFile(io.BytesIO(whole)) as source:
        files = {name: source.read(name) for name in source.namelist()}
    (tmp_path / "check.py").write_bytes(files["verify.py"])  # the partner's own copy: the one inside is altered too
    for name, content in files.items():
        if name == "keys.json":
            continue
        for place in (0, len(content) // 2, len(content) - 1):
            changed = bytearray(content)
            changed[place] ^= 1
            with zipfile.ZipFile(tmp_path / "package.zip", "w") as made:
                for other, text in files.items():
                    made.writestr(other, bytes(changed) if other == name else text)
            done = subprocess.run(  # noqa: ASYNC221 - nothing else waits
                [sys.executable, "-I", "check.py", "package.zip", "--key", "keys.json"],
                cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode != 0, (name, place, done.stdout)


async def test_what_did_not_go_out_has_no_package(year: Coalition, vault: Vault) -> None:
    await year.earn(await year.member(), "a", 1, 10)
    await year.close()
    [run_id] = await year.step(runs.begin)
    await year.step(runs.calculate, run_id)
    with pytest.raises(building.PackageUnknown):
        await package(year, vault, run_id, "a")
    assert await year.database.pool.fetchval("SELECT count(*) FROM settlement.package") == 0
