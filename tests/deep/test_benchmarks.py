"""Levels and scenarios from the command line to the page of tables, in the shortest slices: they run, no time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.deep
@pytest.mark.parametrize(("part", "loads"), [("levels", 19), ("scenarios", 10)])
def test_a_part_of_the_benchmarks_runs_from_the_command_line(part: str, loads: int, tmp_path: Path) -> None:
    few = ["--holders", "1000", *(["--members", "200"] if part == "levels" else [])]
    shortest = ["--seconds", "1", "--rounds", "1", "--scale", "1", "--seed", "7", "--into", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks", part, *few, *shortest]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / f"{part}.json").read_text())
    without_npm = 2 * len(found.get("not_measured", {}))  # PostGraphile, by itself and beside us
    assert len(found["figures"]) == loads - without_npm
    assert all(figure["operations"] > 0 for figure in found["figures"])
    assert found["settings"]["audit_violations"] == 0
    assert (found["settings"]["fsync"], found["settings"]["synchronous_commit"]) == ("on", "on")
    assert (found["settings"]["seed"], found["settings"]["seconds"]) == (7, 1)
    for figure in found["figures"]:
        assert f"| {figure['name']} |" in (tmp_path / "README.md").read_text()
