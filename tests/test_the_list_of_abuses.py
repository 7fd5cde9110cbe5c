"""Every abuse and every rule of privacy that we answer for has a test of its name."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
ABUSES = (1, 2, 3, 8, 10, 11, 15, 16, 20, 21, 25, 28, 30, 32, 33)
PRIVACY = (1, 4, 7, 12, 15)


def names() -> list[str]:
    """The names of all tests."""
    return [
        name
        for path in HERE.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


def test_every_row_has_a_test_of_its_name() -> None:
    rows = [f"test_l{number:02d}_" for number in ABUSES] + [f"test_p{number:02d}_" for number in PRIVACY]
    there = names()
    assert [row for row in rows if not any(name.startswith(row) for name in there)] == []
