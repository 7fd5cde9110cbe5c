"""A profile shares an operation's processor time among samples, each in one layer."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import profile
from benchmarks.profile import Profile

RESOLVER = ("/x/gateway/purchase_api.py", "accrue", 10)
FINGERPRINT = ("/x/kit/secrets.py", "fingerprint", 20)
SHA = ("/usr/lib/python3.11/hashlib.py", "sha256", 1)
SEND = ("/x/site-packages/uvicorn/protocols/http/httptools_impl.py", "RequestResponseCycle.send", 463)
STRANGE = ("/usr/lib/python3.11/heapq.py", "heapify", 1)

STACKS = {(SHA, FINGERPRINT, RESOLVER): 6, (SEND,): 3, (STRANGE,): 1}


def test_a_sample_belongs_to_the_innermost_layer_that_is_known() -> None:
    found = Profile("accruePoints", STACKS, 500.0).by_layer()
    assert found == {"kit: the rest": 6, "uvicorn, httptools": 3, profile.OTHER: 1}


def test_a_function_has_its_own_samples_and_those_below_it() -> None:
    one = Profile("accruePoints", STACKS, 500.0)
    assert one.alone()[RESOLVER] == 0
    assert one.below()[RESOLVER] == one.alone()[SHA] == 6


def test_a_recursion_is_counted_once() -> None:
    one = Profile("x", {(FINGERPRINT, RESOLVER, RESOLVER): 2}, 1.0)
    assert one.below()[RESOLVER] == 2


def test_the_text_shares_the_processor_time_out(tmp_path: Path) -> None:
    path = profile.store([Profile("accruePoints", STACKS, 500.0)], tmp_path)
    text = path.read_text()
    assert text.startswith("accruePoints: 500 µs of the gateway's processor time each, 10 samples\n=====")
    assert "   300.0 µs  60.0%  kit: the rest\n" in text
    assert "RequestResponseCycle.send  (uvicorn/protocols/http/httptools_impl.py)" in text
    assert "fingerprint  (kit/secrets.py)" in text
    assert "/x/" not in text


def test_what_was_sampled_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "stacks.json"
    file.write_text(json.dumps([[stack, number] for stack, number in STACKS.items()]))
    assert profile.read(file) == STACKS
