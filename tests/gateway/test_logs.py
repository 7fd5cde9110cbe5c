"""A real process over real sockets: what it logs, how it drains, what it says when its port is taken."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx2
import pytest

from gateway import logs
from kit import postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from tests.gateway.toys import onboarded

CARD = "4000999912341234"
KEY = "idempotency-canary-77"
ALIAS = "aliasCanary"
OPERATION = "Sale"
BAD_TOKEN = "eyJhbGciOiJFUzI1NiJ9.canary.canary"
PATH = "/member/4000999912341234"

PROGRAM = """
import sys
from contextlib import asynccontextmanager
from gateway import app, serving
from kit.secrets import Vault
from kit.settings import Settings
from tests.gateway.toys import Seen, schema

@asynccontextmanager
async def opening(_):
    yield Seen()

settings = Settings(issuer="http://127.0.0.1:8000", port=int(sys.argv[2]), pool_size=2, drain_seconds=4, log_level="debug")
vault = Vault(bytes(range(32)))
serving.serve(app.build(settings, schema, database_url=sys.argv[1], vault=vault, opening=opening), settings)
"""


@contextmanager
def serving(database_url: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The toy gateway as a process of its own; yields it and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, database_url, str(port)], stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx2.TransportError):
                if httpx2.get(f"{address}/readyz", trust_env=False).status_code == 200:
                    break
            time.sleep(0.1)
        yield process, address
    finally:
        process.kill()
        process.wait()


def ended(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """The lines of a process that was told to stop, each of them JSON."""
    _, written = process.communicate(timeout=30)
    return [json.loads(line) for line in written.splitlines()]


async def test_a_process_logs_every_request_and_nothing_that_is_a_secret(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> None:
    from kit.clock import wall

    _, client_id, secret = await onboarded(database, vault, wall())
    query = f"""query {OPERATION}($c: String!) {{ {ALIAS}: broken(card: $c) other: broken(card: "{CARD}") }}"""
    accrue = f'mutation {{ accrue(input: {{idempotencyKey: "{KEY}", points: "1x"}}) {{ __typename }} }}'
    with serving(server.url(database_name, APPLICATION_ROLE)) as (process, address):
        with httpx2.Client(base_url=address, trust_env=False) as http:
            grant = {"grant_type": "client_credentials"}
            token = http.post("/oauth/token", data=grant, auth=(client_id, secret)).json()["access_token"]
            http.post("/oauth/token", data={**grant, "scope": CARD}, auth=(client_id, "wrong-canary"))
            http.post("/oauth/token", data=grant, auth=(CARD, "wrong-canary"))
            bearer = {"Authorization": f"Bearer {token}", "X-Request-Id": "till-7.2026"}
            response = http.post("/graphql", json={"query": query, "variables": {"c": CARD}}, headers=bearer)
            assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
            http.post("/graphql", json={"query": accrue}, headers=bearer)
            http.post("/graphql", json={"query": "query($n: Int!) { one }", "variables": {"n": CARD}}, headers=bearer)
            http.post("/graphql", content=f'{{"{CARD}'.encode(), headers={**bearer, "Content-Type": "application/json"})
            http.post("/graphql", json={"query": query}, headers={"Authorization": f"Bearer {BAD_TOKEN}"})
            http.get(PATH)
            http.get(f"/healthz?card={CARD}")
        process.send_signal(signal.SIGTERM)
        lines = ended(process)
    written = json.dumps(lines)
    for canary in (CARD, KEY, ALIAS, token, token.split(".")[2], secret, "wrong-canary", BAD_TOKEN, "no room"):
        assert canary not in written, canary
    requests = [line for line in lines if line["event"] == "request"]
    assert [(line["path"], line["status"]) for line in requests] == [
        ("/oauth/token", 200), ("/oauth/token", 401), ("/oauth/token", 401), ("/graphql", 200), ("/graphql", 200),
        ("/graphql", 200), ("/graphql", 400), ("/graphql", 401), ("unknown", 404),
    ]  # fmt: skip
    sale = next(line for line in requests if line.get("operation") == OPERATION)
    assert sale["client_id"] == client_id
    assert sale["request_id"] == "till-7.2026"
    assert sale["duration_ms"] > 0
    [defect] = [line for line in lines if line["event"] == "defect"]
    assert defect["error"] == ["builtins.ValueError"]
    assert defect["request_id"] == "till-7.2026"
    assert defect["field"] == "broken"
    assert any("toys.py" in place and "broken" in place for place in defect["at"])
    assert all(line.keys() >= {"event", "level", "timestamp"} for line in lines)


async def test_a_process_that_is_told_to_end_finishes_what_is_in_flight(
    server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> None:
    from kit.clock import wall

    await onboarded(database, vault, wall())
    with serving(server.url(database_name, APPLICATION_ROLE)) as (process, address):
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.3)
        answer = httpx2.get(f"{address}/readyz", trust_env=False)
        assert (answer.status_code, answer.json()["because"]) == (503, "draining")
        assert "server" not in answer.headers
        lines = ended(process)
        assert process.returncode == 0
    assert "draining" in {line["event"] for line in lines}


def test_a_taken_port_is_said_in_one_sentence_with_exit_code_2(tmp_path: object) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, "postgresql://x@127.0.0.1:1/x", port], capture_output=True, text=True,
            check=False, env={**os.environ, "PYTHONPATH": "."},
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip() == f"port {port} on 127.0.0.1 is in use: choose another with TESSERA_PORT"


def test_an_exception_is_described_by_types_and_places_alone() -> None:
    try:
        try:
            int(CARD + "x")
        except ValueError as inner:
            raise RuntimeError(CARD) from inner
    except RuntimeError as error:
        said = logs.described(error)
    assert said["error"] == ["builtins.RuntimeError", "builtins.ValueError"]
    assert CARD not in json.dumps(said)
    assert "test_logs.py" in said["at"][-1]


def test_an_exception_of_the_driver_brings_its_state() -> None:
    import asyncpg

    assert logs.described(asyncpg.UniqueViolationError(CARD))["sqlstate"] == "23505"


@pytest.mark.parametrize("command", [["--help"], ["partner", "client", "--help"]])
def test_the_command_line_helps(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway.commands", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "Usage" in done.stdout
