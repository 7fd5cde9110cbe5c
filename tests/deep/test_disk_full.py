"""A disk that fills up under load: nothing acknowledged is lost, and once there is room every retry succeeds.

The data lie on a small file system of memory. Where the process may not mount one, the test says so and is skipped.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import migrations
from gateway.masking import is_unavailable
from kit import postgres
from kit.database import APPLICATION_ROLE, connect
from kit.secrets import Vault
from tests.builders import NOON
from tests.deep.load import DeskWindow, Load, close_cutoffs, differences, unsound
from tests.deep.test_database_crashes import STEP, coalition_of, stored_key

pytestmark = pytest.mark.deep

SIZE = 320_000_000
ROOM = 3_000_000  # left free when the disk is filled: the load has to use it up itself
ROUNDS = 2
UNKNOWN_PER_ROUND = 40
PATIENCE_SECONDS = 20.0
# Little of everything, so that what grows is what is written: the log of changes is given back soon.
SETTINGS = {"shared_buffers": "16MB", "max_wal_size": "64MB", "min_wal_size": "32MB", "wal_recycle": "off"}


class Disk:
    """A file system of a few megabytes, and a file in it that takes away what is free."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._ballast = place / "ballast"

    @property
    def free(self) -> int:
        """Bytes that can be written yet."""
        found = os.statvfs(self._place)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Leave hardly any room."""
        with self._ballast.open("ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), max(1, self.free - ROOM))

    def give_back(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@contextmanager
def mounted() -> Iterator[tuple[Path, Disk]]:
    """A small file system for the time of a block. Skips the test where none can be mounted."""
    place = Path(tempfile.mkdtemp(prefix="tessera-full-"))
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("a small file system cannot be mounted here: there is no mount")
    said = subprocess.run(
        (mount, "-t", "tmpfs", "-o", f"size={SIZE},mode=0755", "tessera", str(place)), capture_output=True, text=True
    )
    if said.returncode:
        place.rmdir()
        pytest.skip(f"a small file system cannot be mounted here: {said.stderr.strip()}")
    try:
        yield place / "data", Disk(place)
    finally:
        subprocess.run(("umount", "--lazy", str(place)), check=True)
        place.rmdir()


@pytest.fixture
def small_disk() -> Iterator[tuple[postgres.Server, Disk]]:
    """A durable server whose data are on a small disk."""
    with mounted() as (folder, disk), postgres.running(folder, durable=True, settings=SETTINGS) as server:
        assert server.data_folder == folder, "the data went elsewhere"
        yield server, disk
        with suppress(FileNotFoundError):
            disk.give_back()


async def _until(enough: Callable[[], bool], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not enough():
        assert asyncio.get_running_loop().time() < deadline, f"{what} did not happen in {PATIENCE_SECONDS:.0f} s"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [20260304])
async def test_what_was_acknowledged_survives_a_full_disk(
    small_disk: tuple[postgres.Server, Disk], vault: Vault, seed: int, tell: Callable[..., None]
) -> None:
    server, disk = small_disk
    postgres.create_database(server, "full")
    await migrations.upgrade_async(server.url("full", server.superuser))
    async with connect(server.url("full", APPLICATION_ROLE)) as database:
        async with database.pool.acquire() as connection:
            await postgres.assert_durable(connection)
        coalition = await coalition_of(database, vault)
        cards = [await coalition.add_member() for _ in range(12)]
        load = Load(
            DeskWindow(coalition, coalition.desk, is_unavailable), cards, seed, lambda number: NOON + number * STEP
        )
        stop = asyncio.Event()
        working = asyncio.create_task(load.run(stop))
        closing = asyncio.create_task(
            close_cutoffs(database, lambda: NOON + len(load.intents) * STEP, stop, is_unavailable)
        )
        starts = 0
        for _ in range(ROUNDS):
            answered, unknown = _answered(load), _unknown(load)
            await _until(lambda a=answered: _answered(load) > a + 100, "100 answers")  # type: ignore[misc]
            disk.fill()
            await _until(lambda u=unknown: _unknown(load) >= u + UNKNOWN_PER_ROUND, "a full disk")  # type: ignore[misc]
            disk.give_back()
            starts += not _runs(server)
            await _runs_again(server)
        answered = _answered(load)
        await _until(lambda: _answered(load) > answered + 50, "50 answers once there was room")
        stop.set()
        closes, _ = await asyncio.gather(closing, working)
        await load.ask_all_again(400)
        wrong = load.violations + await differences(load, database.pool, stored_key(coalition))
        wrong += await unsound(database, NOON + (len(load.intents) + 1) * STEP)
        await coalition.desk.close()
    figures = load.figures()
    tell(**figures, **{"times full": ROUNDS, "of them down": starts}, cutoffs=closes, violations=len(wrong), seed=seed)
    assert wrong == []


async def _runs_again(server: postgres.Server) -> None:
    """Start what went down; what still recovers by itself is not to be started, and says so."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            await asyncio.to_thread(postgres.start, server.data_folder, durable=True, settings=SETTINGS)
        except postgres.PostgresError:
            assert asyncio.get_running_loop().time() < deadline, "the database does not come back"
            await asyncio.sleep(0.1)
        else:
            return


def _answered(load: Load) -> int:
    return sum(one.answer is not None for one in load.intents)


def _unknown(load: Load) -> int:
    return sum(one.unknown for one in load.intents)


def _runs(server: postgres.Server) -> bool:
    return (server.data_folder / "postmaster.pid").exists()
