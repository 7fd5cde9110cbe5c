"""PURE: the ways of windows and of runs: which state may follow which. The database holds the same edges."""

from __future__ import annotations

from kit.errors import Rejection

OPEN, DRAINING, CUT, BALANCED, BROKEN = "OPEN", "DRAINING", "CUT", "BALANCED", "BROKEN"
CLAIMED, SETTLED = "CLAIMED", "SETTLED"

DRAFT, CALCULATED, CONTROLLED = "DRAFT", "CALCULATED", "CONTROLLED"
STATEMENTS_ISSUED, IN_REVIEW, APPROVED = "STATEMENTS_ISSUED", "IN_REVIEW", "APPROVED"
INSTRUCTED, SETTLING, SEALED = "INSTRUCTED", "SETTLING", "SEALED"
ABORTED, SUPERSEDED = "ABORTED", "SUPERSEDED"

WINDOW_EDGES = frozenset({
    (OPEN, DRAINING), (DRAINING, CUT), (CUT, BALANCED), (CUT, BROKEN), (CUT, SETTLED),
    (BALANCED, CLAIMED), (CLAIMED, SETTLED), (CLAIMED, BALANCED),
})  # fmt: skip
RUN_EDGES = frozenset({
    (DRAFT, CALCULATED), (CALCULATED, CONTROLLED), (CONTROLLED, STATEMENTS_ISSUED), (STATEMENTS_ISSUED, IN_REVIEW),
    (IN_REVIEW, APPROVED), (APPROVED, INSTRUCTED), (INSTRUCTED, SETTLING), (SETTLING, SETTLED), (SETTLED, SEALED),
    (DRAFT, SUPERSEDED), (CALCULATED, SUPERSEDED), (CONTROLLED, SUPERSEDED),
    (DRAFT, ABORTED), (CALCULATED, ABORTED), (CONTROLLED, ABORTED), (STATEMENTS_ISSUED, ABORTED),
    (IN_REVIEW, ABORTED), (APPROVED, ABORTED),
})  # fmt: skip

GONE = frozenset({ABORTED, SUPERSEDED})
"""Runs in these states settle nothing: their windows are free again."""
ISSUED = frozenset({STATEMENTS_ISSUED, IN_REVIEW, APPROVED, INSTRUCTED, SETTLING, SETTLED, SEALED})
"""Runs in these states have statements that their parties see, and that nobody edits."""


class RunState(Rejection):
    """The run is in a state from which this cannot be done."""

    code = "RUN_STATE"
    retryable = True


def check_run(name: str, state: str, wanted: str) -> None:
    """Nothing where a run in a state may come to the one wanted. Rejects RUN_STATE."""
    if (state, wanted) not in RUN_EDGES:
        raise RunState(f"run {name} is {state}: it cannot become {wanted} from there")
