"""Figures for a monitor on the same machine, and for nobody else."""

from __future__ import annotations

import asyncpg
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from kit import postgres
from ledger import rollups, watch
from tests.gateway.toys import ISSUER, Toy
from tests.ledger.test_operations import T0, open_holder


async def figures(toy: Toy) -> dict[str, float]:
    """What /metrics says, by name and label."""
    response = await toy.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


async def test_the_figures_are_those_of_the_watch_and_of_the_journals_readers(
    own_toy: Toy, server: postgres.Server, database_name: str
) -> None:
    fresh = await figures(own_toy)
    assert fresh["tessera_ledger_violations_found_total"] == 0
    assert "tessera_ledger_watch_looked_timestamp_seconds" not in fresh
    holder = await open_holder(own_toy.database.pool)
    for _ in range(3):
        await holder.accrue(10)
    waiting = await figures(own_toy)
    assert waiting["tessera_ledger_entries_waiting roll_up"] == waiting["tessera_ledger_entries_waiting watch"] == 3
    assert waiting["tessera_ledger_oldest_waiting_timestamp_seconds watch"] == T0.timestamp()
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    await owner.execute("UPDATE ledger.lot SET granted = granted + 1 WHERE seq = 1")
    await owner.close()
    async with own_toy.database.transaction() as connection:
        await watch.step(connection, at=T0)
    async with own_toy.database.transaction() as connection:
        await rollups.roll_up(connection)
    seen = await figures(own_toy)
    assert seen["tessera_ledger_entries_waiting roll_up"] == seen["tessera_ledger_entries_waiting watch"] == 0
    assert seen["tessera_ledger_violations_found_total"] == seen["tessera_ledger_violations_standing"] == 1
    assert seen["tessera_ledger_rule_violations_standing A3"] == 1
    assert seen["tessera_ledger_watch_accounts_total"] == 1
    assert seen["tessera_ledger_watch_looked_timestamp_seconds"] == T0.timestamp()
    assert seen["tessera_ledger_is_at_home"] == 1


async def test_no_figure_tells_of_a_single_holder(toy: Toy) -> None:
    named = {label for name in await figures(toy) for label in name.split(" ")[1:]}
    assert named <= {"roll_up", "watch", "tally"}


@pytest.mark.parametrize(
    "header", ["Forwarded: for=198.51.100.7", "X-Forwarded-For: 198.51.100.7", "X-Real-IP: 198.51.100.7", "Via: 1.1 p"]
)
async def test_a_request_that_came_through_a_proxy_finds_no_such_page(toy: Toy, header: str) -> None:
    name, _, value = header.partition(": ")
    response = await toy.http.get("/metrics", headers={name: value})
    assert response.status_code == 404
    assert "tessera_ledger" not in response.text


@pytest.mark.parametrize(("address", "status"), [("198.51.100.7", 404), ("::1", 200), ("127.0.0.9", 200), ("", 404)])
async def test_only_the_machine_itself_is_answered(toy: Toy, address: str, status: int) -> None:
    transport = httpx2.ASGITransport(app=toy.app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url=ISSUER) as stranger:
        assert (await stranger.get("/metrics")).status_code == status
