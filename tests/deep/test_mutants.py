"""Who tests the tests: every guard of the routines is broken once, and a test notices."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import asyncpg
import pytest

from kit import postgres
from kit.database import APPLICATION_ROLE, connect
from kit.secrets import Vault
from tests.deep import mutants, transfer_mutants
from tests.deep.mutants import Mutant, NotThere, Stage

pytestmark = pytest.mark.deep

MUTANTS = mutants.MUTANTS + transfer_mutants.MUTANTS
PROBES = mutants.PROBES | transfer_mutants.PROBES

PATIENCE_SECONDS = 30
_numbers = count(1)
# A mutated text that PostgreSQL cannot run proves nothing about the probe.
NONSENSE = (asyncpg.SyntaxOrAccessError, NotThere)


@asynccontextmanager
async def staged(server: postgres.Server, template: str, vault: Vault, mutant: Mutant | None) -> AsyncIterator[Stage]:
    """A database of its own, its routines mutated."""
    name = f"mutant_{os.getpid()}_{next(_numbers)}"
    postgres.create_database(server, name, template=template)
    try:
        owner = await asyncpg.connect(server.dsn(name, server.superuser))
        try:
            await mutants.load(owner, mutant)
        finally:
            await owner.close()
        async with connect(server.url(name, APPLICATION_ROLE)) as database:
            yield Stage(server, name, database, vault)
    finally:
        postgres.drop_database(server, name)


async def seen_by(stage: Stage, probe: mutants.Probe) -> str | None:
    """How a probe notices that something is wrong; None when it does not."""
    try:
        await asyncio.wait_for(probe(stage), PATIENCE_SECONDS)
    except NONSENSE as error:
        if "violates row-level security policy" not in str(error):
            raise
        return f"{type(error).__name__}: {error}"
    except (Exception, pytest.fail.Exception) as noticed:
        return f"{type(noticed).__name__}: {str(noticed).strip().splitlines()[0][:120] if str(noticed).strip() else ''}"
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "_"))
async def test_the_mutant_is_killed(
    server: postgres.Server, template: str, vault: Vault, mutant: Mutant, tell: Callable[..., None]
) -> None:
    async with staged(server, template, vault, mutant) as stage:
        noticed = await seen_by(stage, PROBES[mutant.killer])
    assert noticed is not None, f"the mutant '{mutant.name}' survives {mutant.killer}"
    tell(mutant=repr(mutant.name), **{"killed by": mutant.killer, "with": noticed})


@pytest.mark.parametrize("name", PROBES)
async def test_the_shipped_routines_survive_every_probe(
    server: postgres.Server, template: str, vault: Vault, name: str
) -> None:
    async with staged(server, template, vault, None) as stage:
        assert await seen_by(stage, PROBES[name]) is None


def test_every_probe_kills_and_every_mutant_has_a_name_of_its_own() -> None:
    assert {mutant.killer for mutant in MUTANTS} == set(PROBES)
    assert [name for name, times in Counter(mutant.name for mutant in MUTANTS).items() if times > 1] == []


def test_a_snippet_that_is_gone_or_ambiguous_is_said_so() -> None:
    for old in ("NO SUCH WORDS", "p_holder"):
        with pytest.raises(NotThere):
            mutants.script("ledger", Mutant("x", "ledger.spend", old, "", ""))
    with pytest.raises(NotThere):
        mutants.script("ledger", Mutant("x", "ledger.nothing", "x", "", ""))
