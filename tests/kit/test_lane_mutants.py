"""Who tests the schedules: every guard of the lane is broken once, and a schedule notices."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from kit import lane
from tests.kit import test_lane_schedules as schedules

MUTANTS = {
    "patient items have no share": ("min(waiting, owed // PATIENT_SHARE)", "0"),
    "patient items go first": ("(batch, keys, False, min(share, self._batch_size - min(", "(batch, keys, True, min(share, self._batch_size - min("),
    "what patient items are owed is never paid back": (
        "self._owed = max(0, owed - PATIENT_SHARE * (len(batch) - ordinary))", "self._owed = owed"),
    "places are left empty": ("            self._move(batch, keys, True, self._batch_size)\n            self._owed", "            self._owed"),
    "the queue is not bounded": ("len(queue) >= self._bounds[patient]", "False"),
    "the queue is bounded one item too late": ("len(queue) >= self._bounds[patient]", "len(queue) > self._bounds[patient]"),
    "the classes share a bound": ("len(queue) >= self._bounds[patient]", "sum(map(len, self._queues.values())) >= self._bounds[patient]"),
    "who goes away stays in the queue": (
        "return await entry.answer\n        finally:\n            self._queues[patient].pop(entry, None)",
        "return await entry.answer\n        finally:\n            pass"),
    "a file that goes away stays in the queue": (
        "            self._queues[patient].pop(entry, None)\n            if entry.answer.done()", "            if entry.answer.done()"),
    "nobody sees that a file went away": ("if len(answers) < len(entered):", "if False:"),
    "an account may be twice in a batch": ("if self._key is None or entry.key not in keys:", "if True:"),
    "the last that came goes first": ("for entry in queue:\n            if len(batch)", "for entry in reversed(queue):\n            if len(batch)"),
    "an item is sent again": ("            del queue[entry]\n", "            pass\n"),
    "a batch that fails costs a call for every item": ("if failed and (calls > MOST_RETRIES or", "if failed and False and (calls > MOST_RETRIES or"),
    "a database that is slow to fail is asked and asked": ("asyncio.get_running_loop().time() > deadline", "False"),
    "half of a batch that fails is forgotten": ("parts += [(part[middle:], error), (part[:middle], error)]", "parts += [(part[:middle], error)]"),
    "one bad item spoils the batch": ("if len(part) == 1:", "if part:"),
    "too few answers are given to whoever is first": ("if len(answers) != len(part):", "if False:"),
    "who waits when the lane stops is left alone": ('_deliver(list(queue), [Busy("the lane has stopped") for _ in queue])', "pass"),
    "what is in flight when the lane stops is left alone": (
        '_deliver(batch, [OutcomeUnknown("the lane stopped while this was in flight")] * len(batch))', "pass"),
    "what is in flight when the lane stops is said not to have happened": (
        '[OutcomeUnknown("the lane stopped while this was in flight")]', '[Busy("")]'),
    "closing does not wait for what is queued": ("while self._flights or any(self._queues.values()):", "while self._flights:"),
    "closing does not wait for what flies": (
        "while self._flights or any(self._queues.values()):", "while any(self._queues.values()):"),
    "a lane that closes takes more": ("if self._closing or len(queue)", "if len(queue)"),
    "a cancelled close lets what flies go on": ("flight.cancel()", "pass"),
    "cancelled work ends the lane": ("if flight is not None and flight.cancelling():", "if True:"),
    "files take every flight": ("max(1, self._most_flights - 1)", "self._most_flights"),
    "more fly than may": ("if len(flying) < self._most_flights:", "if True:"),
    "too many batches of ordinary items fly": ("min(self._abreast - with_ordinary, ", "min(9, "),
    "a few fly beside many": ("min(free, waiting // self._worth)", "min(free, waiting)"),
    "one waits who is worth a flight": ("min(free, waiting // self._worth)", "min(free, (waiting - 1) // self._worth)"),
    "the first batch takes all": ("-(-waiting // flights)", "waiting"),
    "an account may fly twice": ("{entry.key for entries in flying for entry in entries} if self._key else set()", "set()"),
    "who comes while a batch flies is forgotten": ("        else:\n            self._wake()", "        else:\n            pass"),
    "a lane wakes once": ("        self._waking = False\n        while", "        while"),
}  # fmt: skip

PROBES: tuple[Callable[[], object], ...] = (
    schedules.test_one_bad_item_costs_a_few_calls_and_spoils_no_other,
    schedules.test_a_database_that_is_gone_is_not_asked_once_for_every_item,
    schedules.test_a_database_that_is_slow_to_fail_is_not_asked_for_long,
    schedules.test_a_till_that_comes_while_a_file_is_done_waits_for_one_batch_only,
    schedules.test_work_that_answers_too_few_items_leaves_nobody_waiting,
    schedules.test_work_that_is_cancelled_from_within_does_not_end_the_lane,
    schedules.test_with_several_flights_no_till_waits_for_a_file_and_files_fly_side_by_side,
    schedules.test_few_wait_for_the_batch_that_flies_and_many_fly_beside_it,
    partial(schedules.test_who_waits_shares_the_flights_evenly_where_each_is_worth_one, 64, [32, 32]),
    *(partial(schedules.story, seed, ends) for seed in range(schedules.SEEDS // 2) for ends in ("drained", "aborted")),
)


def mutated(old: str, new: str) -> types.ModuleType:
    """kit.lane with one snippet replaced."""
    text = Path(str(lane.__file__)).read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old} is there {text.count(old)} times, not once"
    module = types.ModuleType("mutated_lane")  # of no package, so that nobody counts its Rejection as ours
    sys.modules[module.__name__] = module  # dataclasses look their module up
    exec(compile(text.replace(old, new), "mutated_lane", "exec"), module.__dict__)
    return module


def is_noticed() -> bool:
    """Whether a schedule fails."""
    for probe in PROBES:
        try:
            probe()
        except (Exception, pytest.fail.Exception):
            return True
    return False


@pytest.mark.parametrize(("old", "new"), MUTANTS.values(), ids=MUTANTS)
def test_a_lane_with_one_guard_broken_is_noticed(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    module = mutated(old, new)
    for name in ("Lane", "Busy"):
        monkeypatch.setattr(schedules, name, getattr(module, name))
    assert is_noticed()
