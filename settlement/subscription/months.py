"""Closing a month of fees: what was served of them is recognised and shared, and becomes clearing events.

A month is closed once and never computed again: what is told later (a payment, a use, a purchase) is in the month in
which it is told. All that a month was decided on is kept with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.amounts import micro_per_minor
from kit.errors import Rejection
from kit.instants import add_months
from ledger import cutoffs
from members.subscription import facts
from members.subscription.facts import Covered, FeeCredited, FeePaid, PaidService, Used
from partners.adjustments import allotments
from partners.agreements import programme
from partners.clearing import clearing
from settlement.money import fees
from settlement.money.events import MoneyEvent
from settlement.rating import OPERATOR
from settlement.subscription import allocation, corrections, rules, store
from settlement.subscription.allocation import Allocation, Fee, MeteredUse
from settlement.subscription.corrections import FeeCorrection
from settlement.subscription.rules import FeeRules

CARRIED = 0
"""Stands among subscriptions for what was carried from the month before."""
_LATE = timedelta(days=28)
_INSTANT = timedelta(microseconds=1)
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class FeeMonthOpen(Rejection):
    """The month is not over, or the one before it is not closed."""

    code = "FEE_MONTH_OPEN"
    retryable = True


@dataclass(frozen=True, slots=True)
class FeeMonth:
    """A month that was closed: what was shared and where it went, micro-units. pool is what was recognised, less what
    charging cost, with what was brought from the month before; added is what the operator put in. taking_part are the
    partners whose fixed weights counted, None of a month that was closed before that was kept."""

    month: date
    currency: str
    rules_version: int
    cutoff_id: int
    pool_micro: int
    brought_micro: int
    charging_micro: int
    points_micro: int
    reserve_micro: int
    operator_micro: int
    carried_micro: int
    added_micro: int
    actor: str
    at: datetime
    taking_part: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class FeeShare:
    """What a month gave a partner: for a benefit that was used (its name), or of the rest (none), micro-units."""

    partner_id: int
    benefit: str
    units: int
    trial_units: int
    rate_micro: int
    amount_micro: int
    trial_micro: int
    terms_id: int


@dataclass(frozen=True, slots=True)
class _Told:
    """All that a month is decided on."""

    services: list[PaidService]
    before: Mapping[int, tuple[int, int]]
    used: list[Used]
    weights: dict[int, dict[int, int]]
    terms: Mapping[int, int]
    taking_part: Sequence[int]
    brought_micro: int
    given_micro: int
    taken_micro: int
    charged_micro: int
    paid: list[FeePaid]
    credited: list[FeeCredited]
    returned: list[tuple[str, int]]
    corrected: list[FeeCorrection]

    @property
    def points_micro(self) -> int:
        """What the points cost that plans gave, less what was taken back and what earlier months paid of it."""
        return max(self.given_micro - self.taken_micro - self.charged_micro, 0)


async def close(connection: AsyncConnection, *, month: date, currency: str, actor: str, at: datetime) -> FeeMonth:
    """Close a month (named by its first day) of fees in a currency, on behalf of a FINANCE_MAKER. Again it answers the
    same and writes nothing.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, FEE_MONTH_OPEN, FEE_RULES_MISSING.
    """
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.FINANCE_MAKER)
    await store.lock(connection)
    if (earlier := await store.month(connection, month, currency)) is not None:
        return FeeMonth(**earlier._mapping)
    since, until = await _bounds(connection, month)
    last = await store.last_month(connection, currency)
    if at < until or month.day != 1 or (last is not None and _next(last) != month):
        raise FeeMonthOpen(f"{month:%Y-%m} is not over, or the month before it is not closed")
    version, said = await rules.in_force(connection, currency, month)
    told = await _gather(connection, month, currency, said, since, until, at, last)
    cutoff_id = await cutoffs.enter(connection)
    await _write(connection, month, currency, version, cutoff_id, said, told, actor, at)
    found = await store.month(connection, month, currency)
    assert found is not None
    detail = {"pool_micro": found.pool_micro, "cutoff": cutoff_id}
    subject = f"fees:{currency}:{month:%Y-%m}"
    await audit.write(connection, actor=actor, action="FEE_MONTH_CLOSED", subject=subject, detail=detail, at=at)
    return FeeMonth(**found._mapping)


async def months(connection: AsyncConnection, *, cutoff_ids: Sequence[int] | None = None) -> list[FeeMonth]:
    """Months that were closed, in order; those in cut-offs where they are named."""
    return [FeeMonth(**row._mapping) for row in await store.months(connection, cutoff_ids=cutoff_ids)]


async def shares(connection: AsyncConnection, its: FeeMonth) -> list[FeeShare]:
    """What a month gave partners, by partner and benefit."""
    rows = await store.of_month(connection, "fee_share", its.month, its.currency, "partner_id, benefit")
    columns = FeeShare.__slots__
    return [FeeShare(**{name: row._mapping[name] for name in columns}) for row in rows]


@dataclass(frozen=True, slots=True)
class Compared:
    """A share, and of one of the rest what each method would have given instead, micro-units."""

    share: FeeShare
    methods: Mapping[str, int]


async def shares_compared(connection: AsyncConnection, its: FeeMonth) -> list[Compared]:
    """What a month gave partners, by partner and benefit, and what each method would have given of the rest: to those
    too who had nothing of it."""
    kept, methods = await shares(connection, its), await compared(connection, its)
    had = {one.partner_id for one in kept if not one.benefit}
    would = {n for by in methods.values() for n, amount in by.items() if amount and n not in had}
    every = [*kept, *(FeeShare(n, "", 0, 0, 0, 0, 0, 0) for n in would)]
    return [
        Compared(one, {} if one.benefit else {method: by.get(one.partner_id, 0) for method, by in methods.items()})
        for one in sorted(every, key=lambda one: (one.partner_id, one.benefit))
    ]


async def booked(connection: AsyncConnection, currency: str, *, before: date) -> tuple[int, date | None]:
    """What months that were closed and had ended before a day recognised, minor units, and the last of them."""
    row = await store.booked_before(connection, currency, before)
    return int(row.recognised_minor), row.last_month


async def compared(connection: AsyncConnection, its: FeeMonth) -> dict[str, dict[int, int]]:
    """What each method would have paid partners of the rest, micro-units, by method and partner."""
    found: dict[str, dict[int, int]] = {method: {} for method in allocation.METHODS}
    for row in await store.of_month(connection, "fee_comparison", its.month, its.currency, "method, partner_id"):
        found[row.method][row.partner_id] = row.amount_micro
    return found


async def allocated_again(connection: AsyncConnection, its: FeeMonth) -> Allocation:
    """The allocation of a month once more, from what is kept with it; writes nothing."""
    return allocation.allocate_month(**await _given(connection, its))


async def _given(connection: AsyncConnection, its: FeeMonth) -> dict[str, Any]:
    """What a month was allocated from."""
    said = rules.from_json(await store.rules(connection, its.currency, its.rules_version))
    per = micro_per_minor(its.currency)
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for row in await store.of_month(connection, "fee_recognition", its.month, its.currency, "invoice_no"):
        sums[row.subscription_no][0] += row.recognised_minor * per
        sums[row.subscription_no][1] += row.charging_minor * per
    fees_ = [Fee(number, recognised, charging) for number, (recognised, charging) in sums.items()]
    fees_ += [Fee(CARRIED, its.brought_micro)] if its.brought_micro else []
    weights: dict[int, dict[int, int]] = defaultdict(dict)
    for row in await store.of_month(connection, "fee_weight", its.month, its.currency, "subscription_no, partner_id"):
        weights[row.subscription_no][row.partner_id] = row.weight
    caps = {(rate.partner_id, rate.benefit): rate.most_micro for rate in said.rates}
    metered = [
        MeteredUse(one.partner_id, one.benefit, one.units, one.rate_micro, caps[one.partner_id, one.benefit])
        for one in await shares(connection, its)
        if one.benefit and one.units
    ]
    points_micro = await _points(connection, its)
    return {"fees": fees_, "metered": metered, "points_micro": points_micro, "weights": weights,
            "rules": said.sharing(its.taking_part)}  # fmt: skip


async def _corrected(connection: AsyncConnection, month: date, currency: str) -> list[FeeCorrection]:
    """What a month corrects of those before it."""

    async def again(of_month: date) -> dict[str, Any]:
        earlier = await store.month(connection, of_month, currency)
        assert earlier is not None, "what was recognised is of a month that was closed"
        return await _given(connection, FeeMonth(**earlier._mapping))

    _, until = await _bounds(connection, month)
    return await corrections.due(connection, month, currency, until=until, again=again)


async def wrongs(connection: AsyncConnection, its: FeeMonth) -> list[str]:
    """What of a month is not what it was decided on: where it went allocated again, what each method would have paid,
    what of an invoice was recognised beyond what was paid, and events that state something else than the shares."""
    again = await allocated_again(connection, its)
    kept = await shares(connection, its)
    rest = {one.partner_id: one.amount_micro for one in kept if not one.benefit}
    metered = {(one.partner_id, one.benefit): one.amount_micro for one in kept if one.benefit}
    said = {
        "the pool": (its.pool_micro, again.pool_micro),
        "the shares of the rest": (rest, {n: amount for n, amount in again.shares.items() if n in rest or amount}),
        "what was paid for benefits": (
            {key: amount for key, amount in metered.items() if amount},
            {key: amount for key, amount in again.metered.items() if amount},
        ),
        "what points cost": (its.points_micro, again.points_micro),
        "the reserve": (its.reserve_micro, again.reserve_micro),
        "the operator's share": (its.operator_micro, again.operator_micro),
        "what was carried": (its.carried_micro, again.carried_micro),
        "what the operator added": (its.added_micro, again.added_micro),
        "what went out": (its.pool_micro + its.added_micro, again.total_micro),
        "what was corrected of earlier months": (
            await corrections.of_month(connection, its.month, its.currency),
            await _corrected(connection, its.month, its.currency),
        ),
    }
    compared_ = await compared(connection, its)
    said["what the chosen method would have paid"] = (
        rest,
        compared_[await _method(connection, its)],
    )
    found = [f"{what} differs when it is allocated again" for what, (was, now) in said.items() if was != now]
    found += [
        f"invoice {number} is recognised beyond what it came to"
        for number in await store.recognised_beyond(connection, its.month, its.currency)
    ]
    found += [
        f"partner {partner_id} is stated {stated} micro-units for {given}"
        for partner_id, given, stated in await store.stated_otherwise(connection, its.month, its.currency)
    ]
    return found


async def _points(connection: AsyncConnection, its: FeeMonth) -> int:
    """What points cost that a month was to pay, before fees that did not cover it cut it."""
    rows = await store.of_month(connection, "fee_points", its.month, its.currency, "month")
    if not rows:  # closed before plans gave any
        return its.points_micro
    charged = await store.points_before(connection, its.currency, its.month)
    given_micro, taken_micro = int(rows[0].given_micro), int(rows[0].taken_micro)
    return max(given_micro - taken_micro - charged, 0)


async def _method(connection: AsyncConnection, its: FeeMonth) -> str:
    return rules.from_json(await store.rules(connection, its.currency, its.rules_version)).method


# --- What a month is decided on -----------------------------------------------------------------------------------


async def _gather(
    connection: AsyncConnection, month: date, currency: str, said: FeeRules, since: datetime, until: datetime,
    at: datetime, last: date | None,
) -> _Told:  # fmt: skip
    terms = await clearing.signed_in(connection, currency, at=at)  # what was used before it moved is a partner's still
    began = since if last is not None else _BEGINNING
    used = [one for one in await facts.uses(connection, currency, since=began, until=until) if one.partner_id in terms]
    weights = (
        _by_benefits(used, said) if said.weigh == "BENEFITS"
        else await _by_purchases(connection, currency, began, since, until)
    )  # fmt: skip
    before = None if last is None else await store.month(connection, last, currency)
    booked = await store.booked(connection, currency)
    given_micro, taken_micro = await allotments.cost(connection, currency, until=until)
    return _Told(
        services=await facts.services(connection, currency, until=_next(month), paid_until=until),
        before=await store.recognised_before(connection, currency),
        used=used,
        weights={n: own for n, each in weights.items() if (own := {p: w for p, w in each.items() if p in terms})},
        terms=terms,
        taking_part=sorted(await rules.taking_part(connection, currency, at=until - _INSTANT) & terms.keys()),
        brought_micro=0 if before is None else before.carried_micro,
        given_micro=given_micro,
        taken_micro=taken_micro,
        charged_micro=await store.points_before(connection, currency, month),
        paid=[one for one in await facts.paid(connection, currency, until=until) if ("PAYMENT", one.key) not in booked],
        credited=[
            one
            for one in await facts.credited(connection, currency, until=until)
            if ("CREDIT_NOTE", one.key) not in booked
        ],
        returned=[
            one
            for one in await facts.surplus_returned(connection, currency, until=until)
            if ("REFUND", one[0]) not in booked
        ],
        corrected=await _corrected(connection, month, currency),
    )


async def _by_purchases(
    connection: AsyncConnection, currency: str, began: datetime, since: datetime, until: datetime
) -> dict[int, dict[int, int]]:
    earliest = min(began, since - _LATE)
    covers: Sequence[Covered] = await facts.covered(connection, currency, since=earliest, until=until)
    rows = [(one.subscription_no, one.member_id, one.valid_from, one.valid_until) for one in covers]
    return await clearing.purchased(connection, rows, currency, since=began, until=until)


def _by_benefits(used: Iterable[Used], said: FeeRules) -> dict[int, dict[int, int]]:
    rates = {(rate.partner_id, rate.benefit): rate.rate_micro for rate in said.rates}
    found: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for one in used:
        cost = one.units * rates.get((one.partner_id, one.benefit), 0)
        if cost and not one.is_trial:
            found[one.subscription_no][one.partner_id] += cost
    return found


# --- What comes of it -----------------------------------------------------------------------------------------------


async def _write(
    connection: AsyncConnection, month: date, currency: str, version: int, cutoff_id: int, said: FeeRules,
    told: _Told, actor: str, at: datetime,
) -> None:  # fmt: skip
    per, key = micro_per_minor(currency), {"month": month, "currency": currency}
    recognised = _recognised(told, _next(month))
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for service, own, charging in recognised:
        sums[service.subscription_no][0] += own * per
        sums[service.subscription_no][1] += charging * per
    fees_ = [Fee(number, own, charging) for number, (own, charging) in sums.items()]
    weights = dict(told.weights)
    if told.brought_micro:
        fees_.append(Fee(CARRIED, told.brought_micro))
        weights[CARRIED] = _everybody(told.weights)
    given = {"points_micro": told.points_micro, "weights": weights, "rules": said.sharing(told.taking_part)}
    metered, trials = _metered(told.used, said)
    done = allocation.allocate_month(fees_, metered=metered, **given)  # type: ignore[arg-type]
    await store.insert(
        connection, "fee_month",
        [{**key, "rules_version": version, "cutoff_id": cutoff_id, "pool_micro": done.pool_micro,
          "brought_micro": told.brought_micro, "charging_micro": sum(fee.charging_micro for fee in fees_),
          "points_micro": done.points_micro, "reserve_micro": done.reserve_micro,
          "operator_micro": done.operator_micro, "carried_micro": done.carried_micro,
          "added_micro": done.added_micro, "actor": actor, "at": at, "taking_part": told.taking_part}],
    )  # fmt: skip
    points = {**key, "given_micro": told.given_micro, "taken_micro": told.taken_micro}
    await store.insert(connection, "fee_points", [points])
    await store.insert(
        connection, "fee_recognition",
        [{**key, "holder_id": service.holder_id, "invoice_no": service.invoice_no,
          "subscription_no": service.subscription_no, "recognised_minor": own, "charging_minor": charging}
         for service, own, charging in recognised],
    )  # fmt: skip
    await store.insert(
        connection, "fee_weight",
        [{**key, "subscription_no": number, "partner_id": partner_id, "weight": weight}
         for number, own in sorted(weights.items()) for partner_id, weight in sorted(own.items())],
    )  # fmt: skip
    its_shares = _shares(done, metered, trials, told, said)
    await store.insert(
        connection, "fee_share",
        [{**key, **{name: getattr(one, name) for name in FeeShare.__slots__}} for one in its_shares],
    )  # fmt: skip
    methods = allocation.compare_methods(fees_, metered=metered, **given)  # type: ignore[arg-type]
    await store.insert(
        connection, "fee_comparison",
        [{**key, "method": method, "partner_id": partner_id, "amount_micro": amount}
         for method, one in methods.items() for partner_id, amount in sorted(one.shares.items())],
    )  # fmt: skip
    earned = sum(own for _, own, _ in recognised) * per
    await store.insert(
        connection, "fee_correction",
        [{**key, **{name: getattr(one, name) for name in FeeCorrection.__slots__}} for one in told.corrected],
    )  # fmt: skip
    events = [*_of_money(told, currency, earned), *_of_sharing(its_shares, done, told.brought_micro, currency, month)]
    events += corrections.events(told.corrected, currency, month)
    await store.insert(connection, "fee_event", [_row(key, n, cutoff_id, one) for n, one in enumerate(events, 1)])
    seen = [("PAYMENT", one.key) for one in told.paid] + [("CREDIT_NOTE", one.key) for one in told.credited]
    seen += [("REFUND", number) for number, _ in told.returned]
    await store.insert(connection, "fee_booked", [{**key, "kind": kind, "fact_key": fact} for kind, fact in seen])


def _recognised(told: _Told, until: date) -> list[tuple[PaidService, int, int]]:
    """By service what the month recognises and what of the cost of charging goes with it: all up to its end that no
    month before has. What was credited meanwhile is not taken back of months that are closed."""
    found = []
    for service in told.services:
        recognised, charging = told.before.get(service.invoice_no, (0, 0))
        own = max(service.recognised(until) - recognised, 0)
        cost = min(max(service.charging(until) - charging, 0), own)
        if own:
            found.append((service, own, cost))
    return found


def _metered(used: Iterable[Used], said: FeeRules) -> tuple[list[MeteredUse], dict[tuple[int, str], int]]:
    """What was used of benefits that have a rate; and the units that were used in trials."""
    units: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in used:
        units[one.partner_id, one.benefit][one.is_trial] += one.units
    metered, trials = [], {}
    for rate in sorted(said.rates, key=lambda one: (one.partner_id, one.benefit)):
        paid, tried = units.get((rate.partner_id, rate.benefit), (0, 0))
        if paid or tried:
            metered.append(MeteredUse(rate.partner_id, rate.benefit, paid, rate.rate_micro, rate.most_micro))
            trials[rate.partner_id, rate.benefit] = tried
    return metered, trials


def _shares(
    done: Allocation, metered: Sequence[MeteredUse], trials: Mapping[tuple[int, str], int], told: _Told, said: FeeRules
) -> list[FeeShare]:
    found = []
    for use in metered:
        tried = trials[use.partner_id, use.benefit]
        both = MeteredUse(use.partner_id, use.benefit, use.units + tried, use.rate_micro, use.most_micro)
        found.append(
            FeeShare(use.partner_id, use.benefit, use.units, tried, use.rate_micro,
                     done.metered[use.partner_id, use.benefit], both.owed_micro - use.owed_micro,
                     told.terms[use.partner_id])
        )  # fmt: skip
    found += [
        FeeShare(partner_id, "", 0, 0, 0, amount, 0, told.terms[partner_id])
        for partner_id, amount in sorted(done.shares.items())
        if partner_id in told.terms
    ]
    return found


def _of_money(told: _Told, currency: str, earned_micro: int) -> list[MoneyEvent]:
    """What came, was given back and was served, in sums; each fact once."""
    per = micro_per_minor(currency)
    net: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0, 0, 0])

    def add(kind: str, amount_minor: int, tax_minor: int = 0, tax_rule: str = "", way: int = 1) -> None:
        total = net[kind, tax_rule, way]
        for index, value in enumerate((way * amount_minor * per, way * tax_minor * per, 1)):
            total[index] += value

    for paid in told.paid:
        if paid.is_surplus:
            add("RECEIPT_UNIDENTIFIED", paid.amount_minor)
        else:
            add("SUBSCRIPTION_PAID", paid.net_minor, paid.tax_minor, paid.tax_rule)
        add("SUBSCRIPTION_CHARGED", paid.charging_minor)
    for note in told.credited:
        add("SUBSCRIPTION_PAID", note.net_minor, note.tax_minor, note.tax_rule, -1)
        add("SUBSCRIPTION_LOST", note.lost_minor)
    for _, amount in told.returned:
        add("RECEIPT_UNIDENTIFIED", amount, way=-1)
    found = [
        MoneyEvent(kind, OPERATOR, OPERATOR, currency, amount, count=count, tax_micro=tax, tax_rule=tax_rule or None)
        for (kind, tax_rule, _), (amount, tax, count) in sorted(net.items())
        if amount
    ]
    earned = MoneyEvent("SUBSCRIPTION_EARNED", OPERATOR, OPERATOR, currency, earned_micro)
    return [*found, earned] if earned_micro else found


def _of_sharing(
    its_shares: Iterable[FeeShare], done: Allocation, brought_micro: int, currency: str, month: date
) -> list[MoneyEvent]:
    """What partners are owed, and what is kept for later."""
    found = [
        MoneyEvent(
            fees.USED if one.benefit else fees.SHARED, OPERATOR, one.partner_id, currency,
            one.amount_micro + one.trial_micro, terms_id=one.terms_id, count=max(one.units + one.trial_units, 1),
            reference=f"{month:%Y-%m} {one.benefit}".strip(),
        )
        for one in its_shares
        if one.amount_micro + one.trial_micro
    ]  # fmt: skip
    kept = done.reserve_micro + done.carried_micro - brought_micro
    return found + ([MoneyEvent("SUBSCRIPTION_KEPT", OPERATOR, OPERATOR, currency, kept)] if kept else [])


def _row(key: Mapping[str, Any], number: int, cutoff_id: int, event: MoneyEvent) -> dict[str, Any]:
    return {
        **key, "event_no": number, "cutoff_id": cutoff_id, "kind": event.kind, "payee_id": event.payee_id,
        "terms_id": event.terms_id, "amount_micro": event.amount_micro, "tax_micro": event.tax_micro,
        "tax_rule": event.tax_rule, "count": event.count, "reference": event.reference,
    }  # fmt: skip


def _everybody(weights: Mapping[int, Mapping[int, int]]) -> dict[int, int]:
    found: dict[int, int] = defaultdict(int)
    for own in weights.values():
        for partner_id, weight in own.items():
            found[partner_id] += weight
    return dict(found)


async def _bounds(connection: AsyncConnection, month: date) -> tuple[datetime, datetime]:
    zone = ZoneInfo((await programme.read(connection)).time_zone)
    since = datetime(month.year, month.month, 1, tzinfo=zone)
    return since.astimezone(UTC), add_months(since, 1).astimezone(UTC)


def _next(month: date) -> date:
    return add_months(datetime(month.year, month.month, 1, tzinfo=UTC), 1).date()
