"""`tessera demo`: from nothing to a coalition that has traded for weeks, settled and serves."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Annotated

import httpx2
import typer
import uvloop
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import migrations
from gateway.demo import coalition, data, people, report, trading, year
from gateway.demo.coalition import Tills
from gateway.demo.data import DemonstrationError, Journeys
from gateway.demo.names import INVENTED, SOURCE
from gateway.demo.replay import Replay, Tally, reaching
from gateway.demo.report import Check
from kit import clock, console, postgres
from kit.database import Database, connect
from kit.postgres import PostgresError
from kit.secrets import Vault, load_master_key
from kit.settings import Settings, settings
from partners.directory import DirectoryCache

PATIENCE_SECONDS = 60
HOST = "127.0.0.1"
WEEKS = 8

_OURS = frozenset({"postgres", "postgres-is-elsewhere.txt", "master.key", "tills.json", "gateway.log", "worker.log"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What was asked for on the command line."""

    until: date
    serves: bool
    again: bool
    seed: int
    is_year: bool = False
    households: int | None = None


def demo(
    weeks: Annotated[
        int | None, typer.Option(min=1, max=53, help="How many weeks of 2017 to replay.", show_default="8")
    ] = None,
    serve: Annotated[bool, typer.Option(help="Serve afterwards, until Ctrl-C.")] = True,
    fresh: Annotated[bool, typer.Option("--fresh", help="Remove what is there and start over.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Send what was replayed once more, to see that nothing changes.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the gateway.")] = 8000,
    seed: Annotated[int, typer.Option(help="Decides which receipts are paid with points or come back.")] = 2017,
    folder: Annotated[
        Path | None,
        typer.Option("--data", help="Folder of the demonstration.", show_default="demo, or demo-year, in TESSERA_DATA"),
    ] = None,
    is_year: Annotated[
        bool,
        typer.Option(
            "--year", help="All of 2017 of some of the households: twelve monthly runs, each checked; some minutes."
        ),
    ] = False,
    households: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many households, drawn by the seed.", show_default=f"all; {year.HOUSEHOLDS} with --year"
        ),
    ] = None,
) -> None:
    """Replay weeks of real receipts through the gateway, settle, report, and serve."""
    console.out.print(f"Receipts: {SOURCE}. {INVENTED}.")
    for ended_by in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ended_by, signal.default_int_handler)  # whatever was started is stopped, as for Ctrl-C
    with console.clear_errors(), _sentences():
        base = settings()
        if is_year and weeks is not None:
            raise DemonstrationError("--weeks and --year are two spans: say one of them")
        wish = Wish(
            year.END if is_year else data.span_end(WEEKS if weeks is None else weeks), serve, again, seed, is_year,
            households or (year.HOUSEHOLDS if is_year else None),
        )  # fmt: skip
        place = (folder or base.data / ("demo-year" if is_year else "demo")).resolve()
        data.folder()
        _check_port(port)
        with _alone(place):
            if fresh:
                _start_over(place, base)
            chosen = base.model_copy(
                update={
                    "data": place, "clock": "sandbox", "host": HOST, "port": port, "issuer": f"http://{HOST}:{port}",
                }
            )  # fmt: skip
            holds = _demonstrate(chosen, wish)
    if not holds:
        raise typer.Exit(1)


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except DemonstrationError as problem:
        console.fail(str(problem))
    except KeyboardInterrupt:
        console.err.print("Stopped; the same command goes on where this ended.")
        raise typer.Exit(130) from None


# --- Before and after ---------------------------------------------------------------------------------------


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemonstrationError(
                f"Port {port} cannot be used ({error.strerror}): choose another one with --port"
            ) from error


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the folder for one demonstration at a time."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = (place.parent / f".{place.name}.lock").open("w")
    except OSError as error:
        raise DemonstrationError(
            f"The folder {place} cannot be used ({error.strerror}): choose another one with --data"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemonstrationError(
                f"A demonstration runs in {place} already: stop it, or choose another folder with --data"
            ) from None
        yield


def _start_over(place: Path, base: Settings) -> None:
    """Remove what a demonstration left in its folder. Rejects, with DemonstrationError, a folder with anything else."""
    if base.database_url is not None:
        raise DemonstrationError("--fresh removes no database of your own: unset DATABASE_URL, or empty it yourself")
    if foreign := sorted(entry.name for entry in place.iterdir() if entry.name not in _OURS):
        raise DemonstrationError(f"{place} holds {foreign[0]}, which no demonstration put there: choose another --data")
    # As root the data may live elsewhere, and only its server knows where.
    with suppress(PostgresError):
        server = postgres.start(place / "postgres")
        postgres.stop(server)
        shutil.rmtree(server.data_folder)
    shutil.rmtree(place)
    place.mkdir()


@contextmanager
def _gateway(chosen: Settings, address: str, vault_key: bytes) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway as a process of its own, ready; stopped at the end, with time to finish what it answers."""
    log = chosen.data / "gateway.log"
    with _started("serve", chosen, address, vault_key, log) as process:
        _wait_until_ready(process, chosen, log)
        yield process


@contextmanager
def _worker(chosen: Settings, address: str, vault_key: bytes) -> Iterator[None]:
    """The worker beside it: rehearsals, webhooks and totals go on while somebody looks around."""
    with _started("worker", chosen, address, vault_key, chosen.data / "worker.log"):
        yield


@contextmanager
def _started(
    command: str, chosen: Settings, address: str, vault_key: bytes, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "DATABASE_URL": address,
        "TESSERA_MASTER_KEY": urlsafe_b64encode(vault_key).decode(),
        "TESSERA_CLOCK": "sandbox",
        "TESSERA_DATA": str(chosen.data),
        "TESSERA_HOST": chosen.host,
        "TESSERA_PORT": str(chosen.port),
        "TESSERA_ISSUER": chosen.issuer,
        "TESSERA_LOG_LEVEL": "warning",
    }
    with log.open("ab") as written:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and a command of ours
            [sys.executable, "-m", "gateway.commands", command],
            env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=written, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        _stop(process, chosen.drain_seconds)


def _wait_until_ready(process: subprocess.Popen[bytes], chosen: Settings, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise DemonstrationError(f"The gateway ended before it was ready: {_last_line(log)} (see {log})")
        with suppress(httpx2.TransportError):
            if httpx2.get(f"{chosen.issuer}/readyz", trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise DemonstrationError(f"The gateway was not ready after {PATIENCE_SECONDS} seconds: see {log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it does not say why"


def _stop(process: subprocess.Popen[bytes], patience_seconds: int) -> None:
    process.send_signal(signal.SIGINT)  # SIGTERM would first wait for a load balancer to notice
    try:
        process.wait(patience_seconds + 5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- The demonstration --------------------------------------------------------------------------------------


def _demonstrate(chosen: Settings, wish: Wish) -> bool:
    """Everything from the database to serving; whether each check held."""
    with console.database_address(chosen) as (address, owner_address), Journeys() as journeys:
        changed = migrations.upgrade(owner_address)
        if changed:
            console.out.print(f"Database: {', '.join(changed)}.")
        key = load_master_key(chosen)
        vault = Vault(key)
        _take(journeys, wish)
        tills = uvloop.run(_founded(address, vault, journeys, chosen.data / "tills.json", wish))
        with _gateway(chosen, address, key) as process:
            checks = uvloop.run(_trade(chosen, address, vault, journeys, tills, wish))
            if wish.serves:
                with _worker(chosen, address, key):
                    _serve(process, chosen)
    return all(check.held for check in checks)


def _take(journeys: Journeys, wish: Wish) -> None:
    everybody = len(journeys.households())
    if wish.households is not None and wish.households < everybody:
        journeys.take(wish.households, seed=wish.seed)
        receipts = journeys.receipt_count(until=wish.until)
        console.out.print(
            f"A sample: {wish.households:,} of the {everybody:,} households, drawn by seed {wish.seed}, with "
            f"{receipts:,} receipts until {wish.until}.", soft_wrap=True, highlight=False,
        )  # fmt: skip


def _serve(process: subprocess.Popen[bytes], chosen: Settings) -> None:
    console.out.print(f"\nServing at {chosen.issuer} until Ctrl-C.")
    with suppress(KeyboardInterrupt):
        process.wait()
        raise DemonstrationError(f"The gateway ended by itself: see {chosen.data / 'gateway.log'}")


async def _founded(address: str, vault: Vault, journeys: Journeys, file: Path, wish: Wish) -> Tills:
    """What the coalition's tills hold; it is founded if there is none."""
    members = len(journeys.households())
    async with connect(address, pool_size=2) as database:
        async with database.reading() as connection:
            exists = await coalition.is_founded(connection)
        if exists:
            tills = coalition.tills_in(file, seed=wish.seed)
            if len(tills.cards) != members:
                raise DemonstrationError(
                    f"The demonstration in {file.parent} is of {len(tills.cards):,} households: say --households "
                    f"{len(tills.cards)}, or start over with --fresh"
                )
            return tills
        terms = year.TERMS if wish.is_year else coalition.NO_TERMS
        with console.progress(f"Founding a coalition of {len(data.MERCHANTS)} partners and {members:,} members"):
            tills = await coalition.found(database, vault, journeys, file, seed=wish.seed, terms=terms)
            if wish.is_year:
                await year.enlist(database, vault, tills)
            return tills


async def _trade(
    chosen: Settings, address: str, vault: Vault, journeys: Journeys, tills: Tills, wish: Wish
) -> list[Check]:
    """Replay what is missing and, if so wished, what was there already; settle; report. Returns every check."""
    until = wish.until
    async with connect(address, pool_size=4) as database, reaching(chosen.issuer, tills.clients) as gateway:
        replay = Replay(gateway, tills.cards, Tally(), partial(trading.set_clock, database))
        since = await trading.replayed_until(database)
        checks: list[Check] = []
        if wish.again:
            end = min(since, until)
            with _bar(journeys.receipt_count(until=end), "Replaying again", replay.tally) as advance:
                checks.append(
                    await trading.again(
                        database, replay, journeys, seed=wish.seed, since=data.FIRST_DAY, until=end, advance=advance
                    )
                )
        if since < until:
            with _bar(journeys.receipt_count(since, until), "Replaying", replay.tally) as advance:
                await trading.forward(
                    database, replay, journeys, seed=wish.seed, since=since, until=until, advance=advance,
                    at_months_end=year.settle if wish.is_year else trading.settle,
                )  # fmt: skip
        checks.append(_all_accepted(replay.tally))
        if wish.is_year:
            checks += await year.checks(database, vault)
        return await _report(database, vault, chosen, tills, replay.tally, checks)


def _all_accepted(tally: Tally) -> Check:
    refused = ", ".join(f"{count} times {code}" for code, count in sorted(tally.rejected.items()))
    return Check("no receipt and no return was refused", not refused, refused)


async def _report(
    database: Database, vault: Vault, chosen: Settings, tills: Tills, tally: Tally, checks: list[Check]
) -> list[Check]:
    async with database.engine.connect() as connection:
        await connection.execution_options(isolation_level="REPEATABLE READ")
        found = await report.standing(connection)
        at = await clock.sandbox(connection)
    directory = await DirectoryCache(database.pool, vault).get()
    names = {0: "Operator"} | {partner.partner_id: partner.name for partner in directory.partners()}
    report.show(console.out, found, checks, tally, names)
    shopper = await report.richest(database, vault, tills, at=at)
    await people.let_in(database, vault, chosen.issuer, now=clock.wall())
    entrances = people.told(people.sign_ins(tills, shopper), chosen.issuer)
    console.out.print(f"\n{entrances}", markup=False, soft_wrap=True, highlight=False)
    console.out.print(f"\nOpen {chosen.issuer}/ or talk to it as a till does:\n")
    console.out.print(
        report.conversation(chosen.issuer, tills, shopper, at=at), markup=False, soft_wrap=True, highlight=False
    )
    return [*found.checks, *checks]


@contextmanager
def _bar(total: int, description: str, tally: Tally) -> Iterator[Callable[[int], None]]:
    """A bar on standard error with the receipts per second; without a terminal, a line."""
    if not console.err.is_terminal:
        console.err.print(f"{description} {total:,} receipts", markup=False)
        yield lambda steps: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[speed]} receipts/s"), TimeElapsedColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console.err, transient=True) as bar:
        task = bar.add_task(description, total=total, speed="-")
        yield lambda steps: bar.update(task, advance=steps, speed=f"{tally.receipts_per_second:,}")
