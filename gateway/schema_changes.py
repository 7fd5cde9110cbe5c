"""Whether the schema still is what was released: what breaks a caller, or may surprise one, has to be waived.

gateway/released.graphql is the schema as it was last released. docs/schema-changes.md holds the waivers, a dated line
each, in the words in which the change is named here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from graphql import build_schema
from graphql.utilities import find_breaking_changes, find_dangerous_changes

RELEASED = Path(__file__).parent / "released.graphql"

_WAIVER = re.compile(r"^\| (\d{4}-\d{2}-\d{2}) \| `([A-Z_]+): (.+?)` \| (.+?) \|$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that a caller of the released schema may notice. Dangerous ones break callers that were generated."""

    kind: str
    description: str
    is_breaking: bool

    def __str__(self) -> str:
        return f"{self.kind}: {self.description}"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A change that was decided on, when and why."""

    decided_on: date
    change: str
    reason: str


def changes(released: str, current: str) -> list[Change]:
    """What changed between two schemas that is not merely more, breaking changes first. Raises GraphQLError."""
    before, after = build_schema(released), build_schema(current)
    breaking = [Change(change.type.name, change.description, True) for change in find_breaking_changes(before, after)]
    return breaking + [
        Change(change.type.name, change.description, False) for change in find_dangerous_changes(before, after)
    ]


def waivers(page: str) -> list[Waiver]:
    """The waivers of a page of Markdown: rows of a date, the change in backquotes, and the reason."""
    return list(_waivers(page))


def unwaived(released: str, current: str, page: str) -> list[Change]:
    """Changes that nobody has waived."""
    known = {waiver.change for waiver in waivers(page)}
    return [change for change in changes(released, current) if str(change) not in known]


def _waivers(page: str) -> Iterator[Waiver]:
    for day, kind, description, reason in _WAIVER.findall(page):
        yield Waiver(date.fromisoformat(day), f"{kind}: {description}", reason)
