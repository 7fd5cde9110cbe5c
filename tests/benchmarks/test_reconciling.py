"""The benchmark of partners' files finds what it planted, at a size that takes no time."""

from __future__ import annotations

from benchmarks import reconciling
from kit.postgres import Server


async def test_a_small_file_is_taken_and_compared_and_what_differs_is_found(server: Server) -> None:
    read = []
    found = await reconciling.measure(server, 3_000, advance=read.append)
    assert (found.matched, found.breaks) == (2_997, 3)
    assert sum(read) == 3_002
    assert found.content()["lines"] == 3_000
