"""`tessera programme`, as the person meets it who founds a coalition without a demonstration."""

from __future__ import annotations

import typer

from kit import commands as actor_commands
from partners.commands import programme
from tests.partners.commands import test_partners
from tests.partners.commands.test_partners import environment  # noqa: F401 - the same address and actor

tessera = typer.Typer()
tessera.add_typer(actor_commands.app)
tessera.add_typer(programme.app)


def say(line: str, monkeypatch) -> tuple[int, str]:
    monkeypatch.setattr(test_partners, "tessera", tessera)
    result = test_partners.say(line)
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


def test_a_programme_is_founded_once_by_an_admin_and_shown(monkeypatch) -> None:
    assert say("programme show", monkeypatch) == (
        2,
        "no programme was founded in this database yet (PROGRAMME_UNKNOWN)",
    )
    code, text = say("programme found --name Old --point-value EUR=0.01", monkeypatch)
    assert (code, "actor" in text) == (2, True)
    assert say("actor add olga --role OPERATOR_ADMIN", monkeypatch)[0] == 0
    found = (
        "programme found --name Old --point-value EUR=0.01 --point-value MDL=0.2 --time-zone Europe/Chisinau "
        "--notice-days 30"
    )
    assert say(found, monkeypatch)[0] == 0
    assert say(found, monkeypatch)[0] == 0
    assert say("programme found --name New --point-value EUR=0.01", monkeypatch)[0] == 2
    code, text = say("programme show", monkeypatch)
    assert code == 0
    assert "0.01 EUR, 0.2 MDL" in text
    assert "Europe/Chisinau" in text
    assert "30 days" in text.split("Notice before expiry")[1]


def test_a_point_value_that_is_none_is_refused_in_a_sentence(monkeypatch) -> None:
    for wrong in ("EUR", "EUR=x", "EUR=0.00000001", "EUR=-1"):
        code, text = say(f"programme found --name Old --point-value {wrong}", monkeypatch)
        assert (code, "write it as EUR=0.01" in text) == (2, True), text
