"""A toy's partner and client that are added once per file of tests, for files in which many tests have a toy of their own."""

from __future__ import annotations

from typing import Any

from kit.database import Database
from kit.secrets import Vault
from tests.founded import a_template
from tests.gateway.toys import Clock, Onboarded, onboarded

ONBOARDED: dict[str, Onboarded] = {}
"""Whom there is in a template, by its name."""


def a_toy() -> Any:
    """A file's own `template`, in which a toy finds its partner and its client."""

    async def build(database: Database, vault: Vault) -> None:
        name = database.engine.url.database
        assert name is not None
        ONBOARDED[name] = await onboarded(database, vault, Clock().at)

    return a_template(build)
