"""The demonstration's year from the command line: twelve monthly runs over real receipts of a few households."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from gateway.demo import data

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in which the database may lie, whoever the server runs as."""
    made = Path(tempfile.mkdtemp(prefix="tessera-deep-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.deep
@pytest.mark.skipif(find_spec(data.PACKAGE) is None, reason="the data package is not installed: requirements/data.txt")
def test_twelve_months_net_to_zero_are_certified_and_verified_by_a_partner_alone(place: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    options = ["--year", "--households", "20", "--no-serve", "--data", str(place / "year"), "--port", port]
    done = subprocess.run(
        [sys.executable, "-m", "gateway.commands", "demo", *options],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=1_200,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "A sample: 20 of the 2,469 households, drawn by seed 2017" in said
    months = re.findall(
        r"(2017-\d\d): \d+ nets sum to zero; the second engine agreed on [\d,]+ postings .*: held", said
    )
    assert months == [f"2017-{number:02d}" for number in range(1, 13)]
    assert "12 packages of supermarket verified by verify.py with nothing of ours on its path: held" in said
    assert "BROKEN" not in said
