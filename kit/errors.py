"""The expected "no": one exception that carries a code, a sentence and facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One offending part of an input: where it is, the code, and a sentence for developers."""

    path: tuple[str, ...]
    code: str
    message: str


class Rejection(Exception):  # noqa: N818 - the field's word; it is an answer, not an error
    """A request that was understood and refused.

    Subclasses live in the module that owns the rule and set `code` (stable, UPPER_SNAKE, listed in
    docs/rejection-codes.md) and `retryable` (may the same input with the same key succeed later). Nothing was
    written when it is raised, with the one exception that decision 8 names: the final decline of a redemption.
    """

    code: ClassVar[str] = "REJECTED"
    retryable: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        available_points: int | None = None,
        maximum_points: int | None = None,
        current: object | None = None,
        problems: Sequence[FieldProblem] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.available_points = available_points
        self.maximum_points = maximum_points
        self.current = current
        self.problems = tuple(problems)


class OutcomeUnknown(Exception):  # noqa: N818 - nobody knows whether it is an error
    """The connection was lost while a write was being committed: it happened wholly or not at all.

    Never reported as a failure. The caller sends the same input with the same idempotency key again and is told what
    was the case.
    """
