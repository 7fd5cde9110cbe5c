"""R20, THE CONTROL CERTIFICATE: a second engine comes to what the first one wrote, to the micro-unit, or nothing goes
out.

What the run was made of is exported once into files that are hashed; DuckDB recomputes every line, net and movement of
the obligation from those files by rules that were written apart from settlement.rating.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import amounts
from settlement import archive, certificate_store
from settlement.certificate_store import Condition, Fee, Line, Moved
from settlement.rating import OPERATOR

Row = Line | Moved | Fee | Condition
ENGINE_A, ENGINE_B = "settlement.rating on PostgreSQL", f"settlement/certificate.sql on DuckDB {duckdb.__version__}"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that both engines found: how many of it, what the first says and the second, micro-units."""

    code: str
    population: int
    expected_micro: int
    actual_micro: int
    differences: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether the engines agree, item by item."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Certificate:
    """What the engines found of a run, and the hashes of the files that the second one read."""

    run_id: int
    postings: int
    files: Mapping[str, str]
    checks: tuple[Check, ...]
    engine_a: str = ENGINE_A
    engine_b: str = ENGINE_B

    @property
    def holds(self) -> bool:
        """Whether statements may go out."""
        return all(check.holds for check in self.checks)

    @property
    def differences(self) -> list[str]:
        """Everything that the engines do not agree on, as sentences."""
        return [f"{check.code}: {found}" for check in self.checks for found in check.differences]

    def evidence(self) -> dict[str, Any]:
        """The certificate as it is kept with the run, with the hash over it."""
        text = json.dumps({**asdict(self), "holds": self.holds}, sort_keys=True, separators=(",", ":"))
        said: dict[str, Any] = json.loads(text)  # as it comes back from where it is kept
        return {**said, "sha256": hashlib.sha256(text.encode()).hexdigest()}


async def certify(connection: AsyncConnection, run_id: int) -> Certificate:
    """Recompute a calculated run with the second engine and compare. Rejects RUN_UNKNOWN."""
    head = await archive.head(connection, run_id)
    with tempfile.TemporaryDirectory(prefix="tessera-certificate-") as place:
        folder = Path(place)
        await certificate_store.export(connection, run_id, folder)
        files = await asyncio.to_thread(_sealed, folder)
        found = await asyncio.to_thread(
            certificate_store.recompute, folder, currency=head.currency,
            per_minor=amounts.micro_per_minor(head.currency),
        )  # fmt: skip
    written = await certificate_store.written_lines(connection, run_id)
    nets = await certificate_store.written_nets(connection, run_id)
    checks = (
        Check("R20-EXPLAINED", found.postings, 0, 0, tuple(found.unexplained)),
        _compared("R20-CONDITIONS", found.kept_conditions, found.conditions, of=3),
        _compared("R20-FEES", found.kept_fees, found.fees, of=3),
        _compared("R20-LINES", written, found.lines, of=6),
        _nets(nets, found.lines),
        _compared("R20-OBLIGATION", await certificate_store.written_movements(connection, run_id), found.moved, of=5),
    )
    return Certificate(run_id, found.postings, files, checks)


def _sealed(folder: Path) -> dict[str, str]:
    found = {}
    for name in certificate_store.RUN_FILES:
        with (folder / f"{name}.csv").open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _compared(code: str, written: Iterable[Row], found: Iterable[Row], *, of: int) -> Check:
    """Rows as multisets; `of` is the place of the amount in micro-units."""
    one, other = sorted(written), sorted(found)
    missing = [f"the second engine does not find {row}" for row in _less(one, other)]
    extra = [f"only the second engine finds {row}" for row in _less(other, one)]
    sums = [sum(int(row[of]) for row in rows) for rows in (one, other)]
    return Check(code, len(one), sums[0], sums[1], (*missing, *extra))


def _less(one: Sequence[Row], other: Sequence[Row]) -> list[Row]:
    left: dict[Row, int] = defaultdict(int)
    for row in other:
        left[row] += 1
    found = []
    for row in one:
        left[row] -= 1
        if left[row] < 0:
            found.append(row)
    return found


def _nets(written: Mapping[int, tuple[int, int]], lines: Iterable[Line]) -> Check:
    """Everybody's net against the sum of what the second engine found; the operator's is the other side of all."""
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for line in lines:
        for party, way in ((line[0], 1), (OPERATOR, -1)):
            sums[party][0] += way * line[6]
            sums[party][1] += way * line[7]
    found = {party: (total[0], total[1]) for party, total in sums.items()}
    differences = tuple(
        f"party {party}: the net is {written.get(party)}, the second engine finds {found.get(party)}"
        for party in sorted(written.keys() | found.keys())
        if written.get(party) != found.get(party)
    )
    totals = [sum(abs(net[0]) for net in nets.values()) for nets in (written, found)]
    return Check("R20-NETS", len(written), totals[0], totals[1], differences)
