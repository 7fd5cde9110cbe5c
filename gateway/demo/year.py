"""The demonstration's year: what partners sign for it, what every month's run must be, and a partner that checks alone.

Twelve runs, each with a net that everybody else's make up for and the second engine's certificate before a statement
went out; then one partner reads all its packages in a process that has nothing of ours.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from datetime import date, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.demo import subscribers, trading
from gateway.demo.coalition import FOUNDED_AT, PROGRAMME, PartnerTerms, Tills
from gateway.demo.data import DemonstrationError
from gateway.demo.report import Check
from kit import clock
from kit.database import Database
from kit.secrets import Vault
from members import identification
from members.identification import Identified
from partners.directory import DirectoryCache
from partners.terms import VolumeRebate, VolumeTier
from settlement import archive, states
from settlement.archive import RunHead
from settlement.packages import building, keys
from settlement.packages.archive import VERIFIER
from settlement.packages.canonical import canonical_bytes
from settlement.subscription import months

HOUSEHOLDS = 250
END = date(2018, 1, 1)
VERIFYING_PARTNER = "supermarket"
_PATIENCE_SECONDS = 300

# So that a year's statements have every kind of line that an agreement can ask for.
TERMS: PartnerTerms = MappingProxyType({
    "supermarket": {
        "volume_period": "QUARTER", "platform_fee_micro": 250_000_000, "minimum_fee_micro": 900_000_000,
        "volume_tiers": (VolumeTier(0, 50), VolumeTier(10_000, 300)), "volume_rebates": (VolumeRebate(5_000, 250),),
    },
    "pharmacy": {"platform_fee_micro": 90_000_001, "volume_rebates": (VolumeRebate(1_000, 333),)},
    "butcher": {"volume_period": "YEAR", "minimum_fee_micro": 5_000_000_000},
    "fuel": {"funding": "AT_BURN"},
    "wine-spirits": {"funding": "HYBRID", "hybrid_fund_micro": 4_001, "breakage_share_bp": 3_333},
    "beauty": {"holdback_bp": 777, "dispute_days": 60},
    "fish": {"minimum_payout_minor": 2_500},
    "flowers-garden": {"is_netted": False},
})  # fmt: skip

# What a partner's own machine has besides Python, and what must not be there.
_LIBRARIES = ("cryptography", "cffi", "_cffi_backend")
_OURS = ("kit", "ledger", "members", "partners", "settlement", "gateway")
_ALONE = f"""
import importlib.util, runpy, sys
sys.path.append("libraries")
ours = [name for name in {_OURS!r} if importlib.util.find_spec(name)]
if ours:
    sys.exit("there is something of ours: " + ", ".join(ours))
runpy.run_path("verify.py", run_name="__main__")
"""


async def enlist(database: Database, vault: Vault, tills: Tills) -> int:
    """Let the members that the rule of subscribers chooses take a plan on the first day; how many they are."""
    numbers = [card.number for card in tills.cards.values()]
    found = await identification.identify_cards(database.pool, vault, numbers)
    members = [one.member_id for one in found.values() if isinstance(one, Identified)]
    return await subscribers.enlist(
        database, members, currency=PROGRAMME.base_currency, zone=PROGRAMME.time_zone, at=FOUNDED_AT
    )


async def settle(database: Database, at: datetime) -> None:
    """As `trading.settle`, after fees that were due are paid and those of the month that ended are shared. Nothing
    happens twice."""
    await trading.set_clock(database, at)
    await subscribers.pass_time(database, to=at)
    ended = (at - timedelta(days=1)).date().replace(day=1)
    await subscribers.close_month(database, ended, currency=PROGRAMME.base_currency, at=at)
    await trading.settle(database, at)


async def checks(database: Database, vault: Vault) -> list[Check]:
    """What has to be so of every month's run, and of every package of one partner."""
    async with database.reading() as connection:
        at = await clock.sandbox(connection)
        found = [await _month(connection, head) for head in reversed(await archive.runs(connection))]
        found.append(await _fees(connection))
    with tempfile.TemporaryDirectory(prefix="tessera-year-") as place:
        folder = Path(place)
        packages = await write_packages(database, vault, VERIFYING_PARTNER, folder, at=at)
        return [*found, await asyncio.to_thread(verified, folder, packages)]


async def _month(connection: AsyncConnection, head: RunHead) -> Check:
    """Whether the nets of a run sum to zero, and its certificate was clean before its statements went out."""
    statements = (await archive.run(connection, head.run_id)).statements
    steps = {step.to_state: step for step in await archive.trail(connection, head.run_id)}
    controlled, issued = steps.get(states.CONTROLLED), steps.get(states.STATEMENTS_ISSUED)
    certificate = {} if controlled is None else controlled.evidence["certificate"]
    differences = [said for check in certificate.get("checks", ()) for said in check["differences"]]
    sums = sum(one.net_micro for one in statements), sum(one.net_minor for one in statements)
    went_out_before = controlled is None or issued is None or issued.step_no < controlled.step_no
    month = f"{head.cut_at - timedelta(microseconds=1):%Y-%m}"
    return Check(
        f"{month}: {len(statements)} nets sum to zero; the second engine agreed on "
        f"{certificate.get('postings', 0):,} postings before statements went out",
        sums == (0, 0) and len(statements) > 1 and bool(certificate.get("holds")) and not differences
        and not went_out_before,
        f"nets {sums}, differences {differences[:3]}, statements before the certificate: {went_out_before}",
    )  # fmt: skip


async def _fees(connection: AsyncConnection) -> Check:
    """Whether what subscribers paid for each month went somewhere, to the micro-unit."""
    closed = await months.months(connection)
    amiss = []
    for one in closed:
        shared = sum(share.amount_micro for share in await months.shares(connection, one))
        went = shared + one.points_micro + one.reserve_micro + one.operator_micro + one.carried_micro
        if went != one.pool_micro + one.added_micro:
            amiss.append(f"{one.month:%Y-%m}: {one.pool_micro + one.added_micro} came, {went} went")
    total = sum(one.pool_micro - one.brought_micro for one in closed)
    return Check(
        f"fees of {len(closed)} months, {total / 1_000_000:,.2f} {PROGRAMME.base_currency}, were shared to the last",
        bool(closed) and not amiss,
        "; ".join(amiss) or "there are none",
    )


async def write_packages(database: Database, vault: Vault, code: str, folder: Path, *, at: datetime) -> list[Path]:
    """Write every package of a partner and the operator's keys into a folder; the packages, the earliest first.

    Rejects, with DemonstrationError, a partner that nobody knows.
    """
    signed = (await DirectoryCache(database.pool, vault).get()).partner_by_code(code)
    if signed is None:
        raise DemonstrationError(f"There is no partner {code}: start over with --fresh")
    async with database.reading() as connection:
        heads = [head for head in reversed(await archive.runs(connection)) if head.state in states.ISSUED]
    written = []
    for head in heads:
        path = folder / f"run-{head.run_id}.zip"
        with path.open("w+b") as file:
            async with database.transaction() as connection:
                await building.write(
                    connection, vault, head.run_id, signed.partner_id, file, id_key=signed.id_key, at=at
                )
        written.append(path)
    async with database.reading() as connection:
        (folder / "keys.json").write_bytes(canonical_bytes(await keys.public_keys(connection)))
    return written


def verified(folder: Path, packages: list[Path]) -> Check:
    """Whether a partner's packages hold, each following the one before, by verify.py in a process of its own.

    The process sees the standard library and what verify.py asks for, and ends where it can import anything of ours.
    """
    (folder / "verify.py").write_bytes(VERIFIER.read_bytes())
    _lend(folder / "libraries")
    failed = []
    for number, package in enumerate(packages):
        previous = ["--previous", packages[number - 1].name] if number else []
        done = subprocess.run(  # noqa: S603 - this interpreter, and a file that ships with us
            [sys.executable, "-I", "-S", "-c", _ALONE, package.name, "--key", "keys.json", *previous],
            cwd=folder, env={}, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            failed.append(f"{package.name}: {(done.stdout + done.stderr).strip().splitlines()[-1]}")
    return Check(
        f"{len(packages)} packages of {VERIFYING_PARTNER} verified by verify.py with nothing of ours on its path",
        bool(packages) and not failed,
        "; ".join(failed) or "there is none",
    )


def _lend(libraries: Path) -> None:
    libraries.mkdir(exist_ok=True)
    for name in _LIBRARIES:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise DemonstrationError(f"verify.py needs {name}, which is not installed")
        origin = Path(spec.origin)
        source = origin.parent if spec.submodule_search_locations else origin
        (libraries / source.name).symlink_to(source)
