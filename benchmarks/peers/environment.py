"""The environment of a peer that is no part of the product: made once, from a list of files with their hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "requirements" / "build.txt"
PEERS = ROOT / "requirements" / "peers.txt"


class EnvironmentMissing(Exception):  # noqa: N818 - it is no error of ours
    """The peer cannot be installed here; the text says why."""


def python(folder: Path) -> Path:
    """The Python of the environment in a folder, made now if it is not there or its list has changed.

    Raises EnvironmentMissing with what the installer said.
    """
    program = folder / "bin" / "python"
    wanted = hashlib.sha256(BUILD.read_bytes() + PEERS.read_bytes()).hexdigest()
    stamp = folder / "installed"
    if stamp.is_file() and stamp.read_text() == wanted:
        return program
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(program), "-m", "pip", "install", "-qq", "--no-input", "--require-hashes", "--no-build-isolation"]
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [*install, "-r", str(BUILD)],  # what builds the one that comes as source
        [*install, "-r", str(PEERS)],
    ):
        run(command)
    stamp.write_text(wanted)
    return program


def run(command: list[str]) -> None:
    """Run an installer. Raises EnvironmentMissing with the first reason that it gave."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as problem:
        raise EnvironmentMissing(str(problem)) from problem
    if done.returncode:
        raise EnvironmentMissing(_reason(done.stderr or done.stdout))


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "npm error"))]
    return (errors or lines or ["it does not say why"])[0]
