"""`tessera --help` and all below it: nothing that may be typed stands there without a sentence."""

from __future__ import annotations

import importlib
from typing import Any

import typer
from typer.main import get_command

from gateway import commands


def test_every_command_and_every_option_says_what_it_is() -> None:
    applications = [commands.app]
    for module, attribute, _ in commands._ELSEWHERE.values():
        told = getattr(importlib.import_module(module), attribute)
        if not isinstance(told, typer.Typer):
            alone = typer.Typer()
            alone.command()(told)
            told = alone
        applications.append(told)
    found = [_below(get_command(each), "") for each in applications]
    assert sum(len(each) for each in found) > 200
    assert [name for each in found for name, words in each if not words] == []


def _below(command: Any, path: str) -> list[tuple[str, str]]:
    """What may be typed, with what help says of it."""
    name = f"{path} {command.name}".strip()
    below = [one for each in getattr(command, "commands", {}).values() for one in _below(each, name)]
    mine = [] if below else [(f"{name} {each.name}", str(getattr(each, "help", "") or "")) for each in command.params]
    return [(name, str(command.help or "")), *mine, *below]
