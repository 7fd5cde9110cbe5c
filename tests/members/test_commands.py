"""`tessera member`, as the person at the operator's desk meets it."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from kit import actors
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.settings import settings
from members import commands


@pytest.fixture(autouse=True)
def environment(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_ACTOR", "olga")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
async def onboarder(database: Database) -> None:
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "olga", [actors.ONBOARDING])


def say(*words: str, typed: str = "") -> tuple[int, str]:
    result = CliRunner().invoke(commands.app, list(words), input=typed)
    assert "Traceback" not in result.output
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


def card_in(said: tuple[int, str]) -> str:
    code, text = said
    assert code == 0, text
    return text.rsplit(" ", 1)[-1]


def test_a_member_is_enrolled_loses_a_card_and_gets_another(onboarder: None) -> None:
    card = card_in(say("enrol", "--consent-text", "1", "--name", "Vera", "--phone", "+37369000000"))
    assert len(card) == 16
    assert say("enrol", "--consent-text", "1", "--phone", "+373 69 000 000")[0] == 2
    assert say("lost", card)[0] == 0
    other = card_in(say("another-card", card))
    assert other != card
    assert say("set-pin", other, typed="4711\n4711\n")[0] == 0
    assert say("set-pin", other, typed="1\n1\n")[0] == 2


def test_a_birth_date_is_asked_for_and_not_said_again(onboarder: None) -> None:
    card = card_in(say("enrol", "--consent-text", "1", "--name", "Vera"))
    assert say("birth-date", card, "--born", "1 August")[0] == 2
    code, text = say("birth-date", card, typed="1984-08-01\n")
    assert (code, text.endswith("The birth date is written.")) == (0, True)


def test_a_printed_card_is_registered_by_its_number(onboarder: None) -> None:
    code, text = say("print-cards", "--count", "2")
    assert (code, len(text.split())) == (0, 2)
    printed = text.split()[0]
    assert card_in(say("enrol", "--consent-text", "1", "--card", printed)) == printed


def test_a_wrong_number_and_a_stranger_are_refused_in_a_sentence(onboarder: None) -> None:
    assert say("lost", "1234") == (2, "no such card (CARD_UNKNOWN)")
    code, text = say("enrol", "--consent-text", "1", "--actor", "nobody")
    assert (code, "ACTOR_UNKNOWN" in text) == (2, True)


def test_a_member_is_forgotten_after_being_asked_again(onboarder: None) -> None:
    card = card_in(say("enrol", "--consent-text", "1", "--name", "Vera", "--phone", "+37369000000"))
    assert say("forget", card, typed="n\n")[0] == 1
    assert say("enrol", "--consent-text", "1", "--phone", "+373 69 000 000")[0] == 2
    assert say("forget", card, typed="y\n")[0] == 0
    assert say("forget", card, "--yes")[0] == 0
    assert say("enrol", "--consent-text", "1", "--phone", "+373 69 000 000")[0] == 0
    assert say("another-card", card)[0] == 2
