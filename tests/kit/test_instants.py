"""What is the same for a whole minute is made once in it, for each key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from kit.instants import same_for_a_minute

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def test_what_is_the_same_for_a_minute_is_made_once_in_it_for_each_key_and_of_its_first_instant() -> None:
    made: list[tuple[datetime, str]] = []

    @same_for_a_minute
    def look(minute: datetime, key: str) -> int:
        """What it is."""
        made.append((minute, key))
        return len(made)

    east = timezone(timedelta(hours=5, minutes=30))
    within = [NOON, NOON + timedelta(seconds=59, microseconds=999_999), (NOON + timedelta(seconds=1)).astimezone(east)]
    assert [look(at, "a") for at in within] == [1, 1, 1]
    assert look(NOON.astimezone(east), "b") == 2
    assert [look(NOON + timedelta(minutes=1), "a"), look(NOON - timedelta(microseconds=1), "a")] == [3, 4]
    assert [(at.tzinfo, at, key) for at, key in made] == [
        (UTC, NOON, "a"), (UTC, NOON, "b"), (UTC, NOON + timedelta(minutes=1), "a"), (UTC, NOON - timedelta(minutes=1), "a"),
    ]  # fmt: skip
    assert look.__doc__ == "What it is."


def test_keys_without_end_do_not_fill_the_memory() -> None:
    made = []

    @same_for_a_minute
    def look(minute: datetime, key: int) -> None:
        made.append(key)

    for key in range(1_024):
        look(NOON, key)
    look(NOON, 0)
    assert len(made) == 1_024
    look(NOON, 1_024)
    look(NOON, 0)
    assert made[-2:] == [1_024, 0]  # all were forgotten to make room for one more
