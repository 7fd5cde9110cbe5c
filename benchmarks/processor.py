"""Who used the processor: the server's processes, the driver, the gateway; in user and in kernel mode.

Read from /proc, because only the kernel knows of processes that have ended: their parent, having waited for them, keeps
their time.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of processor time, in user and in kernel mode."""

    user: float = 0.0
    system: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.user + other.user, self.system + other.system)

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.user - other.user, self.system - other.system)


@dataclass(frozen=True, slots=True)
class Process:
    """A line of /proc/<pid>/stat: who, its parent, and what it and the children it has waited for have spent."""

    pid: int
    parent: int
    spent: Spent


def parse(line: str) -> Process:
    """The process that a line describes. Its name stands in parentheses and may hold anything, parentheses too."""
    pid, _, rest = line.partition(" (")
    fields = rest[rest.rindex(")") + 2 :].split()  # from the state on, which proc(5) counts as field 3
    user, system, children_user, children_system = (int(fields[number - 3]) for number in (14, 15, 16, 17))
    spent = Spent((user + children_user) / TICKS_A_SECOND, (system + children_system) / TICKS_A_SECOND)
    return Process(int(pid), int(fields[1]), spent)


def processes(folder: Path = PROC) -> dict[int, Process]:
    """Every process there is now, by number."""
    return {process.pid: process for process in _read(folder)}


def _read(folder: Path) -> Iterator[Process]:
    for entry in folder.iterdir():
        if entry.name.isdigit():
            try:
                yield parse((entry / "stat").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile


def spent_below(root: int, among: Mapping[int, Process], *, without: Collection[int] = ()) -> Spent:
    """What a process and all below it have spent, leaving out some branches."""
    total = Spent()
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in without or pid not in among:
            continue
        total += among[pid].spent
        waiting += [process.pid for process in among.values() if process.parent == pid]
    return total


class Meter:
    """The parties of one measurement: the server by its postmaster's number, the driver (this process and what it
    started), and the gateway where there is one."""

    def __init__(self, server: int, gateway: int | None = None) -> None:
        self._server = server
        self._gateway = gateway

    def read(self) -> dict[str, Spent]:
        """What each party has spent since it began."""
        now = processes()
        others = [pid for pid in (self._server, self._gateway) if pid is not None]
        parties = {"server": spent_below(self._server, now), "driver": spent_below(os.getpid(), now, without=others)}
        if self._gateway is not None:
            parties["gateway"] = spent_below(self._gateway, now)
        return parties


def per_operation(spent: Mapping[str, Spent], operations: int) -> dict[str, dict[str, float]]:
    """Microseconds per operation: party to user and system."""
    return {
        party: {"user": each.user * 1e6 / operations, "system": each.system * 1e6 / operations}
        for party, each in spent.items()
    }
