"""The command line: one clear sentence and exit code 2, or a defect that shows itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr, ValidationError

from kit import console
from kit.database import connect
from kit.errors import FieldProblem, Rejection
from kit.postgres import PostgresError, Server
from kit.secrets import BadKey
from kit.settings import Settings


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "TESSERA_MIGRATION_URL", "TESSERA_PORT"):
        monkeypatch.delenv(name, raising=False)


class Closed(Rejection):
    code = "CLOSED"


def said(problem: BaseException, capsys: pytest.CaptureFixture[str]) -> str:
    """What a person reads of a problem, on standard error, with exit code 2."""
    with pytest.raises(SystemExit) as exit_, console.clear_errors():
        raise problem
    assert exit_.value.code == 2
    heard = capsys.readouterr()
    assert heard.out == ""
    return heard.err


def test_a_rejection_is_said_with_its_code_and_its_problems(capsys: pytest.CaptureFixture[str]) -> None:
    no = Closed("the [shop] is closed", problems=[FieldProblem(("opening", "hours"), "LATE", "come tomorrow")])
    assert said(no, capsys) == "the [shop] is closed (CLOSED)\n  opening.hours: come tomorrow\n"


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        (PostgresError("no programs here"), "no programs here"),
        (BadKey("too short"), "too short"),
        (asyncpg.UndefinedTableError("relation"), "tessera migrate"),
        (asyncpg.InvalidPasswordError("password"), "DATABASE_URL"),
        (ConnectionRefusedError(111, "Connect call failed"), "Connect call failed"),
        (asyncpg.CannotConnectNowError("starting up"), "try again"),
    ],
)
def test_what_a_person_can_mend_is_one_sentence(
    problem: Exception, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = said(problem, capsys)
    assert sentence in heard
    assert heard.count("\n") == 1


def test_a_wrong_setting_is_named_as_its_variable_and_its_value_stays_unsaid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TESSERA_PORT", "sesame")
    with pytest.raises(ValidationError) as wrong:
        Settings()
    heard = said(wrong.value, capsys)
    assert heard.startswith("TESSERA_PORT: ")
    assert "sesame" not in heard


@pytest.mark.parametrize("defect", [KeyError("x"), asyncpg.UniqueViolationError("x"), AssertionError("x")])
def test_a_defect_of_ours_stays_a_traceback(defect: Exception) -> None:
    with pytest.raises(type(defect)), console.clear_errors():
        raise defect


def test_a_commands_coroutine_runs_to_its_end_or_fails_clearly(capsys: pytest.CaptureFixture[str]) -> None:
    async def command(answer: int | None) -> int:
        await asyncio.sleep(0)
        if answer is None:
            raise Closed("closed")
        return answer

    assert console.run(command(7)) == 7
    with pytest.raises(SystemExit) as exit_:
        console.run(command(None))
    assert exit_.value.code == 2
    assert capsys.readouterr().err == "closed (CLOSED)\n"


@pytest.mark.parametrize("address", ["postgresql://nobody@127.0.0.1:1/none", "no address at all"])
def test_an_address_that_leads_nowhere_is_one_sentence(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def command() -> None:
        async with connect(address):
            pass

    with pytest.raises(SystemExit):
        console.run(command())
    heard = capsys.readouterr().err
    assert heard
    assert "Traceback" not in heard


def test_a_database_of_ones_own_is_used_as_it_is(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, DATABASE_URL=SecretStr("postgresql://app@db/t"))  # type: ignore[call-arg]
    with console.database_address(settings) as addresses:
        assert addresses == ("postgresql://app@db/t", "postgresql://app@db/t")
    settings = settings.model_copy(update={"migration_url": SecretStr("postgresql://owner@db/t")})
    with console.database_address(settings) as addresses:
        assert addresses == ("postgresql://app@db/t", "postgresql://owner@db/t")
    assert list(tmp_path.iterdir()) == []


def test_without_an_address_the_embedded_postgresql_has_the_database(server: Server, tmp_path: Path) -> None:
    async def name_of_database(address: str) -> object:
        async with connect(address, pool_size=1) as database:
            return await database.pool.fetchval("SELECT current_database()")

    settings = Settings(data=tmp_path)
    for _ in range(2):
        with console.database_address(settings) as (_, owner):
            assert console.run(name_of_database(owner)) == console.DATABASE


def test_without_a_terminal_progress_says_that_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("Counting [cards]", total=2) as advance:
        advance(1)
        advance(1)
    assert capsys.readouterr().err == "Counting [cards]\n"
