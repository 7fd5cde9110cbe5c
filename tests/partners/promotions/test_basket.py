"""Baskets, contexts and outcomes as plain JSON, and the calendar facts in them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import NODEFAULT
from msgspec.structs import fields

from partners.decisions.decisions import dates_of
from partners.promotions.basket import (
    Award,
    Basket,
    Context,
    Counters,
    LinePart,
    Local,
    Outcome,
    Share,
    Step,
    days_to_birthday,
    snapshot,
    snapshot_sha256,
)  # fmt: skip
from partners.promotions.documents import BudgetDocument
from partners.promotions.evaluation import budget_keys, period_key
from partners.promotions.plain import Plain, canonical
from tests.partners.promotions.expression_corpus import BASKET, CONTEXT
from tests.partners.promotions.offers import NOON, budget, context, release, rule


def test_what_a_decision_was_made_on_reads_back_and_keeps_its_hash() -> None:
    stored = orjson.loads(canonical(snapshot(BASKET, CONTEXT, Counters({"a//": 3}))))
    found = (
        Basket.from_json(stored["basket"]),
        Context.from_json(stored["context"]),
        Counters.from_json(stored["counters"]),
    )
    assert found == (BASKET, CONTEXT, Counters({"a//": 3}))
    assert snapshot_sha256(*found) == snapshot_sha256(BASKET, CONTEXT, Counters({"a//": 3}))


def test_what_equals_its_default_is_not_written_so_that_new_fields_change_no_hash() -> None:
    assert context().member.to_json() == {}
    assert Counters().to_json() == {}
    with pytest.raises(TypeError):
        Basket.from_json({"currency": "EUR", "colour": "red"})


def test_a_default_in_an_outcome_is_one_of_which_there_is_one_object() -> None:
    """Whether a field is hashed is told by identity: 1000 would be left out of one outcome and hashed in its twin."""
    kinds = [kind for kind in Plain.__subclasses__() if kind.__struct_config__.omit_defaults]
    defaults = [one.default for kind in kinds for one in fields(kind) if one.default is not NODEFAULT]
    assert {Outcome, Award, Step} < set(kinds)
    assert defaults
    assert all(any(one is single for single in (None, 0, 1, "", ())) for one in defaults)
    made = {one.default_factory for kind in kinds for one in fields(kind)} - {NODEFAULT}
    assert made == {dict}


def test_an_outcome_of_other_objects_has_the_same_hash() -> None:
    award = Award("a", 1, 700, (LinePart("1", 700),), (Share(2, 700),), NOON, NOON, {"b": 1, "a": 2})
    twin = Award("a", 1, 700, (LinePart("1", 700),), (Share(2, 700),), NOON, NOON, {"a": 2, "b": 1})
    one, other = Outcome(points=700, awards=(award,)), Outcome(points=700, awards=(twin,))
    assert one == other
    assert one.outcome_sha256 == other.outcome_sha256 != Outcome(points=701, awards=(award,)).outcome_sha256


def test_calendar_facts_are_those_of_the_outlets_zone() -> None:
    late = datetime(2026, 3, 7, 22, 30, tzinfo=UTC)
    assert Local.at(late, "Europe/Chisinau", ("b", "a")) == Local("2026-03-08", 7, 0, 30, ("a", "b"))
    assert Local.at(late, "America/New_York") == Local("2026-03-07", 6, 17, 30)


ZONES = ("Europe/Chisinau", "America/New_York", "Asia/Kathmandu", "UTC")
near_a_change = st.builds(  # both nights on which Chisinau moves its clocks, and midnights
    lambda start, seconds, zone: (start + timedelta(seconds=seconds)).astimezone(ZoneInfo(zone)),
    st.sampled_from([datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), NOON]),
    st.one_of(st.integers(-4_000, 4_000), st.integers(-60, 60).map(lambda minutes: minutes * 60)), st.sampled_from(ZONES),
)  # fmt: skip


@given(st.lists(st.tuples(near_a_change, st.sampled_from(ZONES)), min_size=2, max_size=12))
@example([(NOON, "UTC"), (NOON + timedelta(minutes=1), "UTC"), (NOON - timedelta(seconds=1), "UTC")])
def test_the_calendar_of_an_instant_is_the_same_whatever_was_asked_before(asked: list[tuple[datetime, str]]) -> None:
    for at, zone in asked:
        here = at.astimezone(UTC).astimezone(ZoneInfo(zone))
        day = here.date().isoformat()
        assert Local.at(at, zone) == Local(day, here.isoweekday(), here.hour, here.minute)
        assert dates_of(at, (zone,)) == {zone: day}


@pytest.mark.parametrize(
    ("day", "month", "on", "away"),
    [
        (2, 3, date(2026, 3, 2), 0), (5, 3, date(2026, 3, 2), 3), (28, 2, date(2026, 3, 2), -2),
        (31, 12, date(2026, 1, 2), -2), (1, 1, date(2026, 12, 30), 2),
        (29, 2, date(2026, 2, 28), 0), (29, 2, date(2028, 2, 28), 1), (29, 2, date(2028, 2, 29), 0),
    ],
)  # fmt: skip
def test_days_to_the_nearest_birthday_which_of_29_february_is_the_28th(
    day: int, month: int, on: date, away: int
) -> None:
    assert days_to_birthday(day, month, on) == away


@pytest.mark.parametrize(
    ("period", "zone", "key"),
    [("total", "UTC", ""), ("year", "UTC", "2025"), ("month", "UTC", "2025-12"), ("day", "UTC", "2025-12-31"),
     ("rolling:30", "UTC", "2025-12-31/30"), ("rolling:7", "Asia/Tokyo", "2026-01-01/7"),
     ("week", "UTC", "2026-W01"), ("month", "Asia/Tokyo", "2026-01"), ("day", "America/New_York", "2025-12-31")],
)  # fmt: skip
def test_a_period_is_counted_in_the_budgets_own_zone(period: str, zone: str, key: str) -> None:
    around = context(datetime(2025, 12, 31, 20, 0, tzinfo=UTC))
    assert period_key(BudgetDocument(code="b", unit="points", limit=1, period=period, zone=zone), around) == key


def test_the_date_that_the_host_gave_goes_before_the_zones_own_rules() -> None:
    around = context(NOON, dates={"UTC": "2026-04-01"})
    assert period_key(BudgetDocument(code="b", unit="points", limit=1, period="month"), around) == "2026-04"


def test_the_host_can_ask_which_counters_a_decision_will_look_at() -> None:
    offer = release(
        rule("a", {"type": "points_fixed", "points": 1}, caps=["m", "all"]),
        rule("b", {"type": "points_fixed", "points": 1}, caps=["far"], where={"partners": ["roaster"]}),
        rule("c", {"type": "points_fixed", "points": 1}, caps=["house"]),
        budget("m", scopes=("member", "partner"), period="month", zone="UTC"), budget("all"), budget("far"),
        budget("house", scopes=("household",)),
    )  # fmt: skip
    assert budget_keys(offer, context(scopes={"member": "17", "partner": "3"})) == [
        ("all", "", ""), ("m", "member:17,partner:3", "2026-03"),
    ]  # fmt: skip
