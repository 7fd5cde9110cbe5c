"""`tessera actor` and `tessera partner`, as a person at a terminal meets them."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner, Result

from kit import commands as actor_commands
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.settings import settings
from partners.agreements import programme
from partners.commands import partners
from tests.builders import PROGRAMME

tessera = typer.Typer()
tessera.add_typer(actor_commands.app)
tessera.add_typer(partners.app)


@pytest.fixture(autouse=True)
def environment(server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_ACTOR", "olga")
    monkeypatch.setenv("COLUMNS", "160")
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
async def founded(database: Database) -> None:
    async with database.transaction() as connection:
        await programme.found(connection, PROGRAMME)


def say(line: str) -> Result:
    return CliRunner().invoke(tessera, line.split())


def done(line: str) -> str:
    result = say(line)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def refused(line: str) -> str:
    result = say(line)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    return " ".join(result.stderr.split())


def test_a_partner_takes_part_from_the_first_actor_to_a_signed_agreement(founded: None) -> None:
    assert "tessera actor add" in done("actor list")
    assert "No partner takes part yet" in done("partner list")
    done("actor add olga --role OPERATOR_ADMIN --role ONBOARDING")
    done("actor add maria --role AGREEMENT_MAKER")
    done("actor add carl --role AGREEMENT_CHECKER")
    assert "maria │ AGREEMENT_MAKER" in done("actor list")
    done("partner add bakery --name Bakery")
    done("partner outlet bakery 1 --name Main")
    assert "keeps Europe/Chisinau" in done("partner zone bakery 1 Europe/Chisinau")
    assert "ONBOARDING_INVALID" in refused("partner zone bakery 1 Europe/Atlantis")
    assert "keeps the time of the programme" in done("partner zone bakery 1")
    done("partner terminal bakery 1 till-1")
    assert "has no agreement yet" in done("partner agreement show bakery")
    done("partner agreement propose bakery --valid-from 2026-01-01 --tier-bonus GOLD=2500 --actor maria")
    assert "proposed" in done("partner agreement show bakery")
    done("partner agreement approve 1 --actor carl")
    shown = done("partner agreement show bakery")
    assert "in force" in shown
    assert "GOLD 2500" in shown
    assert "2026-01-01 00:00" in shown
    assert "bakery │ Bakery │ ACTIVE │ version 1, EUR, earns 100 bp │ 1 │ 1" in done("partner list")
    done("partner suspend bakery --till 1 till-1")
    done("partner suspend bakery")
    assert "SUSPENDED" in done("partner list")
    done("partner resume bakery")
    done("partner resume bakery --till 1 till-1")
    assert "SUSPENDED" not in done("partner list")


def test_what_is_not_allowed_is_one_sentence_and_changes_nothing(founded: None) -> None:
    assert "FOUR_EYES" not in refused("partner add bakery --name Bakery")
    done("actor add olga --role OPERATOR_ADMIN")
    assert "(NOT_PERMITTED)" in refused("partner add bakery --name Bakery")
    assert "(ACTOR_UNKNOWN)" in refused("partner add bakery --name Bakery --actor nobody")
    assert "(ROLE_UNKNOWN)" in refused("actor add olga --role EMPEROR")
    done("actor add olga --role ONBOARDING --role AGREEMENT_MAKER --role AGREEMENT_CHECKER")
    done("partner add bakery --name Bakery")
    assert "(PARTNER_EXISTS)" in refused("partner add bakery --name Bakery")
    assert "(PARTNER_UNKNOWN)" in refused("partner suspend grocer")
    assert "(OUTLET_UNKNOWN)" in refused("partner terminal bakery 9 till-1")
    assert "not an instant" in refused("partner agreement propose bakery --valid-from soon")
    assert "GOLD=2500" in refused("partner agreement propose bakery --valid-from 2026-01-01 --tier-bonus GOLD")
    assert "currency:" in refused("partner agreement propose bakery --valid-from 2026-01-01 --currency RUB")
    assert "has no agreement yet" in done("partner agreement show bakery")
    done("partner agreement propose bakery --valid-from 2026-01-01")
    assert "(FOUR_EYES_REQUIRED)" in refused("partner agreement approve 1")
    assert "proposed" in done("partner agreement show bakery")


def test_a_role_is_taken_back(founded: None) -> None:
    done("actor add olga --role OPERATOR_ADMIN --role ONBOARDING")
    done("actor take-back olga --role ONBOARDING")
    assert "(NOT_PERMITTED)" in refused("partner add bakery --name Bakery")
    assert "(NOT_PERMITTED)" in refused("actor take-back olga --role OPERATOR_ADMIN")


def test_a_database_that_is_not_there_is_one_sentence(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("DATABASE_URL", server.dsn("no_such_database", APPLICATION_ROLE))
    settings.cache_clear()
    assert "DATABASE_URL" in refused("partner list")


def test_an_amendment_shows_what_changes_and_versions_are_compared(founded: None) -> None:
    done("actor add olga --role OPERATOR_ADMIN --role ONBOARDING --role AGREEMENT_MAKER")
    done("actor add chen --role AGREEMENT_CHECKER")
    done("partner add bakery --name Bakery")
    assert "no agreement in force" in refused("partner agreement amend bakery --valid-from 2030-01-01")
    done("partner agreement propose bakery --valid-from 2020-01-01 --service-price-micro 500 --set cycle=WEEK")
    done("partner agreement approve 1 --actor chen")
    shown = done("partner agreement amend bakery --valid-from 2030-01-01 --set volume_tiers=1000:50 --set is_netted=no")
    for words in ("Agreement 2 is proposed", "volume_tiers", "1000:50", "is_netted", "yes", "no"):
        assert words in shown
    assert "cycle" not in shown
    assert shown.split("Term")[1] == done("partner agreement diff bakery 1 2").split("Term")[1]
    assert "They say the same" in done("partner agreement diff bakery 2 2")
    assert "no version 3" in refused("partner agreement diff bakery 1 3")
    assert "colour" in refused("partner agreement amend bakery --valid-from 2030-01-01 --set colour=red")
    assert "role=ISSUER" in refused("partner agreement amend bakery --valid-from 2030-01-01 --set colour")
    for words in ("WEEK", "1000:50", "Funding", "POOL"):
        assert words in done("partner agreement show bakery")
