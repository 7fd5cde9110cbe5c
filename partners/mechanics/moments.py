"""Moments: what happens to a member that is no purchase, and that rules may reward.

An event that a partner tells, an enrolment, an invitation that came to something. The rules of its trigger decide on it
as they decide on a basket, with nothing in it; it is recorded in one call, once for its cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from kit.errors import Rejection
from partners import callers, outcomes, recording
from partners.callers import Caller
from partners.coupons import batches, coupons
from partners.coupons.coupons import Granted
from partners.decisions import deciding, decisions
from partners.decisions.decisions import Basis, Decided
from partners.decisions.earning import Award
from partners.decisions.prepared import ATTEMPTS
from partners.desk import Desk
from partners.directory import Directory, Partner
from partners.mechanics import facts, grants, moment_store
from partners.mechanics.facts import Asked, Facts
from partners.promotions import counter_store, evaluation
from partners.promotions.basket import BaseTerms, Basket, Context, Counters, Coupon, Event, Grant, Local, Outcome
from partners.promotions.releases import Release
from partners.receipts.records import Promoted
from partners.terms import Terms, exposure_code, holding_code

EVENT, ENROLMENT, INVITATION = "event", "enrolment", "referral_qualified"
COUNTED_BEFORE, PERSON_HAD_IT = 46, 47
OPERATOR = 0


class MomentCounted(Rejection):
    """It counted before, under another key, or for this person as another member."""

    code = "MOMENT_COUNTED"
    retryable = False


@dataclass(frozen=True, slots=True)
class Moment:
    """What happened: to whom, where, which trigger's rules decide, and the event with what came with it.

    cause is what of it happens once. With a person and what, it happens once to that person in the whole coalition,
    whoever they are a member as. fingerprint is what the key stands for.
    """

    member_id: int
    caller: Caller
    kind: str
    cause: UUID
    idem_key: UUID
    fingerprint: UUID
    occurred_at: datetime
    at: datetime
    event: Event | None = None
    person: UUID | None = None
    what: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """A moment on record: the points it gave with the reason for each, what else it gave, and the codes of coupons,
    told once. Balances are those after it, None in a replay."""

    member_id: int
    seq: int
    kind: str
    code: str
    points: int
    reasons: tuple[tuple[str, int, dict[str, Any]], ...]
    grants: tuple[Grant, ...]
    replayed: bool
    available: int | None = None
    pending: int | None = None
    coupons: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A moment decided and ready to be recorded."""

    moment: Moment
    terms_id: int
    award: Award
    promoted: Promoted
    grants: tuple[Grant, ...]
    granted: Granted
    decision: str


async def is_rewarded(desk: Desk, kind: str, code: str, partner_id: int, *, at: datetime) -> bool:
    """Whether any rule in force rewards a moment of a kind at a partner."""
    directory = await desk.directory.get()
    partner = directory.partner(partner_id)
    if partner is None:
        return False
    return directory.shelf.needs(directory.shelf.at(at, at), kind, code, partner.code).any


async def record(desk: Desk, moment: Moment) -> Counted:
    """Decide a moment by the rules in force when it occurred and record it, once whatever is retried.

    Raises MomentCounted, IdempotencyKeyReused, AccountUnknown, AgreementMissing, Stale and GrantMissing.
    """
    outrun: Counter[str] = Counter()
    while True:
        directory = await desk.directory.get()
        denied = {code for code, times in outrun.items() if code and times >= ATTEMPTS}
        prepared = await _decide(desk, directory, moment, denied)
        try:
            row = await recording.call_safely(moment_store.record, desk.pool, prepared)
        except asyncpg.PostgresError as error:
            outrun.update(_outrun(error, prepared))
            if outrun.total() > ATTEMPTS * (len(prepared.promoted.charges) + 2):
                raise outcomes.rejection(outcomes.STALE) from error
            continue
        return await _answer(desk, prepared, row)


def _outrun(error: asyncpg.PostgresError, prepared: Prepared) -> set[str]:
    """Budgets that have no room any more, which are left out once they had none three times; "" where the account moved
    or the moment is being recorded by another call. Raises an error again that says something else."""
    if error.sqlstate == recording.CLAIM_LOST:
        return {""}
    if error.sqlstate != recording.OUTRUN:
        raise error
    budget_ids = {budget_id for _, budget_id in orjson.loads(error.detail or "{}")["denied"]}
    return {charge.code for charge in prepared.promoted.charges if charge.budget_id in budget_ids} or {""}


async def _answer(desk: Desk, prepared: Prepared, row: asyncpg.Record) -> Counted:
    moment = prepared.moment
    if row["status"] == outcomes.RECORDED:
        return Counted(
            member_id=moment.member_id, seq=row["seq"], kind=moment.kind, code=_code(moment),
            points=prepared.award.points,
            reasons=tuple((one.code, one.points, dict(one.facts)) for one in prepared.award.reasons),
            grants=prepared.grants, replayed=False, available=row["available"], pending=row["pending"],
            coupons=prepared.granted.codes,
        )  # fmt: skip
    if row["status"] == outcomes.REPLAYED and row["seq"] is not None:
        return await _recalled(desk.pool, moment.member_id, row["seq"])
    if row["status"] in (COUNTED_BEFORE, PERSON_HAD_IT):
        raise MomentCounted("it counted before")
    raise outcomes.rejection(outcomes.KEY_REUSED if row["status"] == outcomes.REPLAYED else row["status"])


async def recall(desk: Desk, idem_key: UUID, fingerprint: UUID) -> Counted | None:
    """What an earlier call under a key recorded; None where there was none. Raises IdempotencyKeyReused."""
    row = await moment_store.by_key(desk.pool, idem_key)
    if row is None:
        return None
    if row["fingerprint"] != fingerprint or row["seq"] is None:
        raise outcomes.rejection(outcomes.KEY_REUSED)
    return await _recalled(desk.pool, row["holder_id"], row["seq"])


async def _recalled(pool: asyncpg.Pool, member_id: int, seq: int) -> Counted:
    row = await moment_store.moment(pool, member_id, seq)
    decision = orjson.loads(row["decision"])
    return Counted(
        member_id=member_id, seq=seq, kind=row["kind"], code=row["code"], points=row["awarded"],
        reasons=tuple((code, points, facts) for code, points, facts in decision["reasons"]),
        grants=tuple(Outcome.from_json(decision["outcome"]).grants), replayed=True,
    )  # fmt: skip


def _code(moment: Moment) -> str:
    return moment.event.code if moment.event else ""


async def _decide(desk: Desk, directory: Directory, moment: Moment, denied: Collection[str]) -> Prepared:
    partner = directory.partner(moment.caller.partner_id)
    if partner is None:
        raise callers.PartnerSuspended("the partner is suspended")
    terms = callers.terms_at(directory, partner.partner_id, moment.occurred_at)
    release = directory.shelf.at(moment.occurred_at, moment.at)
    needs = directory.shelf.needs(release, moment.kind, _code(moment), partner.code)
    found, context = await around(
        desk, directory, partner, Asked(moment.member_id, partner.partner_id, moment.occurred_at), terms=terms,
        release=release, at=moment.at, trigger=moment.kind, event=moment.event, scopes=_referrer(moment), denied=denied,
        wants_birthday=needs.birthday,
    )  # fmt: skip
    limited = deciding.limits_of(directory, partner.code)
    keys = evaluation.budget_keys(release, context) if needs.budgets else []
    keys += [(code, "", "") for code in limited]
    rows = await counter_store.remaining(desk.pool, keys) if keys else []
    left = {(row["code"], row["scope"], row["period"]): row["remaining"] for row in rows}
    limits = deciding.taken_limits(left, limited, denied)
    counters = Counters.of(left)
    basis = Basis(
        release, context, counters, found.seq, limits.get(exposure_code(partner.code)),
        holding=limits.get(holding_code(partner.code)),
    )  # fmt: skip
    decided = decisions.decide(basis, Basket(terms.currency))
    return await _prepared(desk, directory, moment, decided)


async def around(
    desk: Desk,
    directory: Directory,
    partner: Partner,
    asked: Asked,
    *,
    terms: Terms,
    release: Release,
    at: datetime,
    trigger: str,
    event: Event | None = None,
    scopes: Mapping[str, str] | None = None,
    denied: Collection[str] = (),
    wants_birthday: bool = True,
    presented: tuple[Coupon, ...] = (),
) -> tuple[Facts, Context]:
    """The facts of a member, and all that rules may look at where there is no basket. Raises AccountUnknown."""
    programme, occurred_at = directory.programme, asked.occurred_at
    [found] = await facts.member_facts_of_many(
        desk.pool, desk.vault, programme, [asked], at=at, wants_birthday=wants_birthday
    )
    if found is None:
        raise outcomes.rejection(4)
    zones = {budget.zone for budget in release.budgets}
    holidays = directory.calendar.codes(callers.day_of(directory, occurred_at), at=occurred_at)
    arms = await _held_out(desk, directory, partner, asked, release, trigger, event, at)
    context = Context(
        occurred_at=occurred_at, received_at=at, partner=partner.code, outlet="", zone=programme.time_zone,
        local=Local.at(occurred_at, programme.time_zone, holidays), terms=BaseTerms.signed(terms, programme),
        trigger=trigger, channel="call", member=found.member, event=event, coupons=presented,
        scopes={"partner": partner.code, **found.scopes, **(scopes or {})},
        dates={zone: occurred_at.astimezone(ZoneInfo(zone)).date().isoformat() for zone in sorted(zones)},
        denied=tuple(sorted(denied)), arms=dict(arms),
    )  # fmt: skip
    return found, context


async def _held_out(
    desk: Desk, directory: Directory, partner: Partner, asked: Asked, release: Release, trigger: str,
    event: Event | None, at: datetime,
) -> Mapping[str, str]:  # fmt: skip
    """The experiments that hold the member out of rules of this trigger here, stored before they see any of it."""
    needs = directory.shelf.needs(release, trigger, event.code if event else "", partner.code)
    met = directory.experiments.among(needs.experiments, at=asked.occurred_at)
    return await desk.arms.held_out(asked.member_id, met, at=at) if met else {}


def _referrer(moment: Moment) -> dict[str, str]:
    """Who brought the member: only an invitation knows. The words of an event are its partner's own, who would take
    another name for each."""
    if moment.kind != INVITATION or moment.event is None:
        return {}
    return {"referrer": moment.event.words["referrer"]}


async def _prepared(desk: Desk, directory: Directory, moment: Moment, decided: Decided) -> Prepared:
    context, outcome = decided.basis.context, decided.outcome
    budget_ids = {code: head.budget_id for code, head in directory.budgets.items()}
    funders = {lot.funder_id for lot in outcome.lots} - {OPERATOR, context.terms.partner_id}
    signed = {funder: directory.terms_at(funder, moment.occurred_at) for funder in funders}
    award = decisions.award_of(decided, {funder: terms.terms_id for funder, terms in signed.items() if terms})
    promoted = decisions.promoted_of(decided, budget_ids)
    if decided.basis.is_limited:
        award, promoted = decisions.within_exposure(award, promoted, decided.basis, budget_ids)
    wanted = [grant.code for grant in outcome.grants if grant.kind == grants.COUPON for _ in range(grant.quantity)]
    drawn = await _drawn(desk, wanted, moment.at)
    kept = decisions.stored(decided, promoted)
    kept |= {
        "reasons": [[one.code, one.points, one.facts] for one in award.reasons],
        "lots": {str(lot.lot_no): lot.points for lot in award.lots},
    }
    return Prepared(moment, context.terms.terms_id, award, promoted, outcome.grants, drawn, orjson.dumps(kept).decode())


async def _drawn(desk: Desk, wanted: list[str], at: datetime) -> Granted:
    if not wanted:
        return coupons.draw(desk.vault, [], at=at)
    async with desk.database.reading() as connection:
        known = await batches.of_codes(connection, sorted(set(wanted)))
    if missing := sorted(set(wanted) - known.keys()):
        raise grants.GrantMissing(f"there is no batch {', '.join(missing)}")
    return coupons.draw(desk.vault, [known[code] for code in wanted], at=at)
