"""The subscription's small machines: periods, proration, the contract, arrears, entitlement. No database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from members.subscription import arrears, contract, entitlement, periods
from members.subscription.arrears import ArrearsPolicy, Attempt, NextStep
from members.subscription.contract import Contract, Event, EventOutOfOrder, State
from members.subscription.entitlement import Block, Grant
from members.subscription.periods import Period, Proration, Rhythm

START = datetime(2026, 1, 31, 9, tzinfo=UTC)
DAY = timedelta(days=1)


def days(count: int) -> Period:
    return Period(0, START, START + count * DAY)


def test_periods_are_counted_from_the_anchor_and_never_from_the_one_before():
    rhythm = Rhythm(START, "MONTH", 1, "UTC")
    assert [rhythm.boundary(k).date().isoformat() for k in range(4)] == [
        "2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30",
    ]  # fmt: skip


def test_a_period_keeps_its_local_hour_when_clocks_change():
    rhythm = Rhythm(datetime(2026, 3, 10, 22, 30, tzinfo=UTC), "MONTH", 1, "Europe/Chisinau")
    assert rhythm.boundary(1) == datetime(2026, 4, 10, 21, 30, tzinfo=UTC)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)),
    st.sampled_from(["MONTH", "QUARTER", "YEAR"]),
    st.integers(1, 3),
    st.sampled_from(["UTC", "Europe/Moscow", "Europe/Chisinau", "America/Sao_Paulo"]),
    st.integers(0, 4000),
)
def test_every_instant_is_in_exactly_one_period(anchor, interval, count, zone, passed):
    rhythm = Rhythm(anchor.replace(tzinfo=UTC), interval, count, zone)
    at = rhythm.anchor_at + passed * DAY
    period = rhythm.period_at(at)
    assert period.start <= at < period.end
    assert rhythm.period(period.index) == period
    assert period.index == 0 or rhythm.period(period.index - 1).end == period.start


@pytest.mark.parametrize(("old", "new", "credit", "debit"), [(1000, 2000, 500, 1000), (2000, 5000, 1000, 2500)])
def test_a_change_at_half_of_a_period_costs_what_stripe_and_autumn_publish(old, new, credit, debit):
    """B-1: 10.00 to 20.00 costs 5.00; B-3: 20.00 to 50.00 costs 15.00."""
    found = periods.prorate(old, new, days(30), START + 15 * DAY, zone="UTC")
    assert found == Proration(credit, debit)
    assert found.net_minor == (new - old) // 2


def test_a_credit_can_buy_days_of_the_dearer_plan_instead():
    """B-6: 30.00 for 30 days, 15 left, a plan of 60.00: 7.5 days, given as 8."""
    left = periods.prorate(3000, 0, days(30), START + 15 * DAY, zone="UTC").credit_minor
    assert periods.days_bought(left, 6000, 30) == 8


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(1, 400), st.data())
def test_a_line_is_within_half_a_minor_unit_of_its_exact_share(old, new, length, data):
    at = START + data.draw(st.integers(0, length - 1)) * DAY
    period = days(length)
    found = periods.prorate(old, new, period, at, zone="UTC")
    remaining, whole = periods.remaining_of(period, at, zone="UTC")
    assert abs(2 * found.credit_minor * whole - 2 * old * remaining) <= whole
    assert abs(2 * found.debit_minor * whole - 2 * new * remaining) <= whole
    assert periods.prorate(old, new, period, START, zone="UTC") == Proration(old, new)


def test_nothing_is_prorated_outside_its_period():
    with pytest.raises(ValueError, match="not in the period"):
        periods.prorate(1, 1, days(3), START + 3 * DAY, zone="UTC")


# --- The contract ---------------------------------------------------------------------------------------------


def event(kind: str, day: int, **more: object) -> Event:
    return Event(kind, START + day * DAY, **more)  # type: ignore[arg-type]


def active(*events: Event) -> Contract:
    begun = [event("CREATED", 0, price_no=1), event("ACTIVATED", 0, interval="MONTH")]
    return contract.fold([*begun, *events], zone="UTC")


def test_a_contract_is_active_when_its_first_payment_came_and_incomplete_before():
    new = contract.fold([event("CREATED", 0, price_no=1)], zone="UTC")
    assert contract.status(new) == "INCOMPLETE"
    assert contract.status(active()) == "ACTIVE"
    assert active().period_end == datetime(2026, 2, 28, 9, tzinfo=UTC)


def test_a_cheaper_price_waits_for_the_end_of_the_period_and_can_be_withdrawn():
    planned = active(event("PRICE_CHANGE_PLANNED", 3, price_no=2))
    assert (planned.price_no, planned.pending_price_no) == (1, 2)
    assert contract.apply(planned, event("RENEWED", 30)).price_no == 2
    withdrawn = contract.apply(planned, event("PRICE_CHANGE_WITHDRAWN", 4))
    assert contract.apply(withdrawn, event("RENEWED", 30)).price_no == 1


def test_cancelling_keeps_everything_until_the_period_ends_and_can_be_withdrawn():
    asked = active(event("CANCEL_ASKED", 5))
    assert contract.status(asked) == "CANCELLING"
    assert asked.is_running
    assert asked.cancel_at == asked.period_end
    assert contract.status(contract.apply(asked, event("CANCEL_WITHDRAWN", 6))) == "ACTIVE"


def test_a_change_of_interval_has_a_new_anchor():
    yearly = active(event("PRICE_CHANGED", 10, price_no=3, interval="YEAR"))
    assert yearly.rhythm is not None
    assert yearly.rhythm.anchor_at == START + 10 * DAY
    assert yearly.period_end == datetime(2027, 2, 10, 9, tzinfo=UTC)


def test_a_pause_gives_nothing_and_resuming_begins_a_period_anew():
    paused = active(event("PAUSED", 30, until=START + 60 * DAY))
    assert contract.status(paused) == "PAUSED"
    resumed = contract.apply(paused, event("RESUMED", 60))
    assert resumed.rhythm is not None
    assert resumed.rhythm.anchor_at == START + 60 * DAY
    with pytest.raises(EventOutOfOrder, match="three months"):
        active(event("PAUSED", 30, until=START + 130 * DAY))


def test_arrears_show_in_the_status_and_never_change_the_contract():
    assert contract.status(active(), "GRACE") == "GRACE"
    assert contract.status(active(event("CANCEL_ASKED", 1)), "ON_HOLD") == "ON_HOLD"
    assert contract.status(active(event("ENDED", 2)), "ON_HOLD") == "ENDED"


def test_a_period_is_not_renewed_before_it_has_ended():
    with pytest.raises(EventOutOfOrder, match="when it has ended"):
        active(event("RENEWED", 10))


@pytest.mark.parametrize("kind", sorted(contract._FROM))
def test_what_does_not_fit_the_state_is_refused(kind):
    ended = active(event("ENDED", 1))
    assert not contract.may(ended, kind)
    with pytest.raises(EventOutOfOrder):
        contract.apply(ended, event(kind, 2, price_no=2, interval="MONTH", until=START + 3 * DAY))


class Contracts(RuleBasedStateMachine):
    """Random events in time: whatever happens, a state is reached only by the table, and an end is an end."""

    def __init__(self) -> None:
        super().__init__()
        self.at = START
        self.events = [Event("CREATED", START, price_no=1)]
        self.contract = contract.fold(self.events, zone="Europe/Chisinau")

    @rule(kind=st.sampled_from(sorted(contract._FROM)), hours=st.integers(0, 2000), price_no=st.integers(1, 5))
    def happen(self, kind: str, hours: int, price_no: int) -> None:
        self.at += timedelta(hours=hours)
        made = Event(kind, self.at, price_no=price_no, interval="MONTH", until=self.at + 30 * DAY)
        before = self.contract
        try:
            self.contract = contract.apply(before, made)
        except EventOutOfOrder:
            assert not contract.may(before, kind) or kind in ("RENEWED", "TRIAL_STARTED", "PAUSED")
            return
        assert before.state not in (State.ENDED, State.EXPIRED)
        self.events.append(made)

    @invariant()
    def it_is_the_fold_of_its_events(self) -> None:
        assert contract.fold(self.events, zone="Europe/Chisinau") == self.contract

    @invariant()
    def a_running_contract_has_an_end_of_its_period(self) -> None:
        assert not self.contract.is_running or self.contract.period_end is not None
        if self.contract.state is State.ENDED:
            assert contract.status(self.contract) == "ENDED"


TestContracts = Contracts.TestCase


# --- Arrears and entitlement ----------------------------------------------------------------------------------

POLICY = ArrearsPolicy()


def test_a_soft_failure_is_tried_again_on_the_agreed_days_and_then_it_is_over():
    attempts: list[Attempt] = []
    tried = []
    while (step := arrears.next_step(START, attempts, POLICY)).kind == "CHARGE":
        tried.append((step.at - START).days)
        attempts.append(Attempt(step.at, "SOFT"))
    assert tried == [0, 1, 3, 5, 7]
    assert step == NextStep("END", START + 21 * DAY)


def test_a_hard_failure_is_not_tried_again_until_there_is_another_means():
    hard = [Attempt(START, "HARD")]
    assert arrears.next_step(START, hard, POLICY).kind == "ASK_MEMBER"
    assert arrears.next_step(START, [Attempt(START, "HARD", has_new_means_since=True)], POLICY).kind == "CHARGE"


def test_an_unknown_outcome_is_asked_about_and_never_charged_anew():
    unknown = [Attempt(START, "SOFT"), Attempt(START + DAY, "UNKNOWN")]
    assert arrears.next_step(START, unknown, POLICY).kind == "ASK"


@pytest.mark.parametrize(("day", "phase"), [(-1, "NONE"), (0, "GRACE"), (6, "GRACE"), (7, "ON_HOLD"), (30, "ON_HOLD")])
def test_benefits_stay_for_a_week_of_grace(day, phase):
    assert arrears.phase(START, START + day * DAY, POLICY) == phase
    assert arrears.phase(None, START + day * DAY, POLICY) == "NONE"


def test_an_unpaid_subscription_takes_nothing_from_another_that_is_paid():
    """Kill Bill's issue 1997: arrears of one subscription blocked an annual one that was paid."""
    grants = [Grant("FREE_DELIVERY", START, None, 1), Grant("DOUBLE", START, None, 2), Grant("GIFT", START, None)]
    blocks = [Block(1, "ARREARS", START + DAY, START + 3 * DAY)]
    assert entitlement.benefits_at(grants, blocks, START) == {"FREE_DELIVERY", "DOUBLE", "GIFT"}
    assert entitlement.benefits_at(grants, blocks, START + 2 * DAY) == {"DOUBLE", "GIFT"}
    assert entitlement.benefits_at(grants, blocks, START + 3 * DAY) == {"FREE_DELIVERY", "DOUBLE", "GIFT"}


def test_nobody_is_entitled_without_a_grant():
    assert entitlement.benefits_at([], [], START) == frozenset()
    assert entitlement.benefits_at([Grant("A", START, START + DAY)], [], START + DAY) == frozenset()
