"""Breakage: what is expected never to be redeemed, by a model over months of issue, beside the books' facts.

The estimate is nothing but an estimate: its entries touch the contra account 2105 and 4200E alone, each run of the
model is kept with its version, and the next one posts the difference. Income it is at expiry, when it is a fact.

Method: chain ladder. Of a cohort (points of one funder and version that became spendable in one month) the redemptions
accumulated by age in months are developed to the end by the ratios that older cohorts showed from age to age; the
ultimate redemption rate is what then comes of what was issued (Friedland, Estimating Unpaid Claims Using Basic
Techniques, chapter 7). A cohort without any redemption takes the rate of the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import divide_half_even
from partners.clearing import clearing
from settlement import breakage_store, rating
from settlement.money import accounts, journal, stock
from settlement.money.entries import Entry, Posting

MODEL = "chain-ladder/1"
KIND = "BREAKAGE_ESTIMATE"
PPM = 1_000_000
CURRENT_MONTHS = 12  # IAS 1: what is expected to be settled within a year is current


@dataclass(frozen=True, slots=True)
class Cohort:
    """Points of one funder and version that became spendable in one month (its first day), net of what was returned.

    redeemed by age in whole months up to the present age, not accumulated; repayments of debts count as redemption.
    """

    funder_id: int
    terms_id: int
    month: date
    issued: int
    redeemed: tuple[int, ...]
    expired: int

    @property
    def used(self) -> int:
        """Points redeemed so far."""
        return sum(self.redeemed)

    @property
    def left(self) -> int:
        """Points still out there."""
        return self.issued - self.used - self.expired


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the model expects of a cohort: the share redeemed in the end, millionths, and what to hold in 2105."""

    cohort: Cohort
    currency: str
    urr_ppm: int
    estimate_micro: int


@dataclass(frozen=True, slots=True)
class BreakageRun:
    """A run of the model: its number, when it looked, the estimates, and what it booked, if anything changed."""

    breakage_run_id: int
    model: str
    as_of: datetime
    estimates: tuple[Estimate, ...]
    booking_id: int | None


def ultimate_rates(cohorts: Sequence[Cohort]) -> list[int]:
    """The ultimate redemption rate of each cohort, millionths; between what was redeemed and what still can be.

    Where nobody has redeemed anything yet, everything is expected to be.
    """
    factors = _factors(cohorts)
    developed = [_developed(cohort, factors) for cohort in cohorts]
    known = [(one, cohort) for one, cohort in zip(developed, cohorts, strict=True) if one is not None]
    issued = sum(cohort.issued for _, cohort in known)
    overall = Fraction(sum(one for one, _ in known), issued) if issued else Fraction(1)
    return [
        _rate(cohort, overall * cohort.issued if one is None else one)
        for one, cohort in zip(developed, cohorts, strict=True)
    ]


def expected_micro(cohort: Cohort, *, urr_ppm: int, price_micro: int) -> int:
    """What of the obligation to recognise as never to be used, in proportion to what was redeemed, micro-units.

    Redeemed points stand for redeemed / rate issued ones (ASC 606-10-55-48); what expired is a fact already, and no
    more is expected than is left.
    """
    if not urr_ppm or not cohort.left:
        return 0
    earned = divide_half_even(cohort.used * price_micro * (PPM - urr_ppm), urr_ppm)
    return max(0, min(earned - cohort.expired * price_micro, cohort.left * price_micro))


def current_shares(cohorts: Sequence[Cohort], *, months: int = CURRENT_MONTHS) -> dict[tuple[int, int], Fraction]:
    """Of what is still expected to be redeemed of each funder's version, the share within so many months.

    The same development as for the ultimate rate, broken off after the months. Where nobody has redeemed anything yet
    there is no experience: all of it may be asked for at once, and counts as current.
    """
    factors = _factors(cohorts)
    sums: dict[tuple[int, int], list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for cohort in cohorts:
        total = sums[cohort.funder_id, cohort.terms_id]
        most = Fraction(cohort.issued - cohort.expired)
        ultimate = _developed(cohort, factors)
        soon = _developed(cohort, factors[: len(cohort.redeemed) - 1 + months])
        if ultimate is None or soon is None:
            total[0] += cohort.left
            total[1] += cohort.left
        else:
            total[0] += max(Fraction(0), min(soon, most) - cohort.used)
            total[1] += max(Fraction(0), min(ultimate, most) - cohort.used)
    return {key: Fraction(within, in_all) if in_all else Fraction(1) for key, (within, in_all) in sums.items()}


def change(estimates: Sequence[Estimate], held: Mapping[tuple[int, int, date], tuple[str, int]]) -> list[Entry]:
    """The entries from what 2105 holds (currency and micro-units by funder, version and month) to the estimates."""
    wanted = {
        (e.cohort.funder_id, e.cohort.terms_id, e.cohort.month): (e.currency, e.estimate_micro) for e in estimates
    }
    found = []
    for key in sorted({*wanted, *held}):
        currency = (wanted.get(key) or held[key])[0]
        delta = wanted.get(key, ("", 0))[1] - held.get(key, ("", 0))[1]
        if delta:
            funder_id, terms_id, month = key
            postings = [
                Posting(account, currency, amount, funder_id, terms_id, month, terms_id=terms_id)
                for account, amount in ((accounts.BREAKAGE_ALLOWANCE, delta), (accounts.BREAKAGE_ESTIMATED, -delta))
            ]
            found.append(Entry(KIND, tuple(postings)))
    return found


async def estimate(connection: AsyncConnection, *, as_of: datetime, actor: str, at: datetime) -> BreakageRun:
    """Run the model over what was recorded by an instant and book the difference, on behalf of a FINANCE_MAKER.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PERIOD_LOCKED.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    await breakage_store.lock_model(connection)
    estimates = await _estimates(connection, as_of)
    held = {
        (row.party_id, row.cohort_id, row.cohort_month): (row.currency, row.amount_micro)
        for row in await breakage_store.held(connection)
    }
    entries = change(estimates, held)
    number = await breakage_store.next_number(connection)
    booking_id = None
    if entries:
        booked = await journal.post(connection, source=f"breakage:{number}", entries=entries, at=at, actor=actor)
        booking_id = booked.booking_id
    await breakage_store.insert_run(connection, number, MODEL, as_of, actor, booking_id)
    await breakage_store.insert_estimates(connection, number, [_row(one) for one in estimates])
    detail = {"model": MODEL, "booking": booking_id}
    await audit.write(
        connection, actor=actor, action="BREAKAGE_ESTIMATED", subject=f"breakage:{number}", detail=detail, at=at
    )
    return BreakageRun(number, MODEL, as_of, tuple(estimates), booking_id)


async def cohorts(connection: AsyncConnection, *, as_of: datetime) -> list[Cohort]:
    """Every cohort with its redemptions by age, from postings recorded by an instant. Reads all of them."""
    ages: dict[tuple[int, int, date], dict[int, int]] = defaultdict(dict)
    sums: dict[tuple[int, int, date], tuple[int, int]] = {}
    for row in await breakage_store.development(connection, as_of):
        key = (row.funder_id, row.terms_id, row.month)
        ages[key][row.age] = row.redeemed
        issued, expired = sums.get(key, (0, 0))
        sums[key] = (issued + row.issued, expired + row.expired)
    found = []
    for key in sorted(sums):
        last = _age(key[2], as_of)
        redeemed = tuple(ages[key].get(age, 0) for age in range(last + 1))
        found.append(Cohort(*key, sums[key][0], redeemed, sums[key][1]))
    return found


async def _estimates(connection: AsyncConnection, as_of: datetime) -> list[Estimate]:
    found = [cohort for cohort in await cohorts(connection, as_of=as_of) if cohort.terms_id and cohort.issued > 0]
    terms = await clearing.agreed_terms(connection, {cohort.terms_id for cohort in found})
    stocks = await stock.as_of(connection, await breakage_store.last_cutoff(connection))
    estimates = []
    for cohort, urr_ppm in zip(found, ultimate_rates(found), strict=True):
        price = rating.kept_at_expiry_micro(cohort.funder_id, terms[cohort.terms_id], stocks)
        amount = expected_micro(cohort, urr_ppm=urr_ppm, price_micro=price)
        estimates.append(Estimate(cohort, terms[cohort.terms_id].currency, urr_ppm, amount))
    return estimates


def _factors(cohorts: Sequence[Cohort]) -> list[Fraction]:
    """From age to age: how accumulated redemptions grew, of all cohorts that have been both ages."""
    longest = max((len(cohort.redeemed) for cohort in cohorts), default=0)
    factors = []
    for age in range(longest - 1):
        both = [cohort for cohort in cohorts if len(cohort.redeemed) > age + 1]
        before = sum(sum(cohort.redeemed[: age + 1]) for cohort in both)
        after = sum(sum(cohort.redeemed[: age + 2]) for cohort in both)
        factors.append(Fraction(after, before) if before > 0 else Fraction(1))
    return factors


def _developed(cohort: Cohort, factors: Sequence[Fraction]) -> Fraction | None:
    if cohort.used <= 0:
        return None
    points = Fraction(cohort.used)
    for factor in factors[len(cohort.redeemed) - 1 :]:
        points *= factor
    return points


def _rate(cohort: Cohort, ultimate: Fraction) -> int:
    least, most = Fraction(cohort.used), Fraction(cohort.issued - cohort.expired)
    points = min(max(ultimate, least), most)
    return divide_half_even(points.numerator * PPM, points.denominator * cohort.issued) if cohort.issued > 0 else PPM


def _age(month: date, as_of: datetime) -> int:
    day = as_of.astimezone(UTC)
    return max(0, (day.year - month.year) * 12 + day.month - month.month)


def _row(one: Estimate) -> tuple[int, int, date, str, int, int, int, int, int]:
    c = one.cohort
    return (
        c.funder_id, c.terms_id, c.month, one.currency, c.issued, c.used, c.expired, one.urr_ppm, one.estimate_micro,
    )  # fmt: skip
