"""A gateway that notes where its processor time goes: `python -m benchmarks.sampling FILE`.

The kernel interrupts the process after so much processor time of its own, and the stack of that moment is counted.
SIGUSR1 forgets what was counted so far, so that starting up is left out; the counts are written when the process ends.
"""

from __future__ import annotations

import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

from gateway import commands

EVERY_SECONDS = 0.001  # of processor time; the kernel rounds it up to its own tick
DEEPEST = 60

Place = tuple[str, str, int]
"""File, function, and the line it begins at."""

_counted: Counter[tuple[Place, ...]] = Counter()


def _count(_signal: int, frame: FrameType | None) -> None:
    stack: list[Place] = []
    while frame is not None and len(stack) < DEEPEST:
        code = frame.f_code
        stack.append((code.co_filename, code.co_qualname, code.co_firstlineno))
        frame = frame.f_back
    _counted[tuple(stack)] += 1


def _forget(_signal: int, _frame: FrameType | None) -> None:
    _counted.clear()


def main(file: Path) -> None:
    """Serve, and write the stacks (innermost place first) with their counts into a file."""
    signal.signal(signal.SIGPROF, _count)
    signal.signal(signal.SIGUSR1, _forget)
    signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)
    try:
        commands.serve()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        file.write_text(json.dumps([[stack, number] for stack, number in _counted.items()]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
