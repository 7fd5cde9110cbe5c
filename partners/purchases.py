"""Purchases: identify, decide, record. A purchase earns, may spend, and is recorded once whatever is retried.

`Desk` is a process's counter: the lane, the directory of partners, the keys. Every use case takes who asks (`Caller`)
and the business instant, and answers a `Recorded` or raises a Rejection.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Any, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import orjson

from kit.amounts import allocate
from kit.database import Database
from kit.errors import Rejection
from kit.lane import Busy, Lane
from kit.secrets import Vault, fingerprint
from kit.values import quick
from ledger.accounts import POINTS
from ledger.jams import Jams
from members import aliases, identification
from members.approvals import ApprovalUsed
from members.guesses import CardGuesses
from members.identification import Identified
from members.proofs import CodeUsed
from partners import decisions, earning, outcomes, receipt_store, receipts, spending
from partners.coupons import codes, coupons
from partners.coupons.coupons import LIMIT_LOST, Shown
from partners.decisions import Basis, Decided
from partners.directory import Directory, DirectoryCache, Partner
from partners.earning import Award
from partners.mechanics import facts
from partners.mechanics.arms import NOBODY, Arms
from partners.mechanics.documents import HoldoutDocument
from partners.mechanics.fact_store import WHICH_CARD, WHOSE, BudgetAsked
from partners.mechanics.facts import Asked, Facts
from partners.mechanics.grants import STAMPS_SHORT
from partners.onboarding import OutletUnknown, TerminalUnknown
from partners.outcomes import Recorded
from partners.paces import EarningPaused
from partners.promotions import counter_store, evaluation
from partners.promotions.basket import OPERATOR, Counters, Lot, Member, Outcome
from partners.promotions.basket import Coupon as ShownCoupon
from partners.promotions.releases import Release
from partners.promotions.shelf import Needs
from partners.receipts import Receipt
from partners.records import Promoted, ProofUse, Row, StoredReceipt
from partners.terms import Terms, exposure_code, holding_code, limit_codes

PURCHASE, REDEMPTION, RETURN, CANCELLATION = 1, 2, 3, 4
ATTEMPTS = 3
CLAIM_LOST, OUTRUN = "TS001", "TS002"
PURCHASE_TRIGGER = "purchase"
MOST_BESIDE = 4  # budgets that are read in the statement that reads facts
FLIGHTS = 3  # batches of purchases at a time
ABREAST = 2  # of them with purchases of tills; files alone have two as well


class AgreementMissing(Rejection):
    """No agreement with the partner was in force when the purchase happened."""

    code = "AGREEMENT_MISSING"
    retryable = True


class TerminalSuspended(Rejection):
    """The terminal is suspended."""

    code = "TERMINAL_SUSPENDED"
    retryable = True


class TerminalMismatch(Rejection):
    """The caller is one till, and speaks of another or of none."""

    code = "TERMINAL_MISMATCH"
    retryable = False


class PartnerSuspended(Rejection):
    """The partner is suspended."""

    code = "PARTNER_SUSPENDED"
    retryable = True


class PointsNotPositive(Rejection):
    """The number of points to spend must be above zero."""

    code = "POINTS_NOT_POSITIVE"
    retryable = False


class PointsExceedShare(Rejection):
    """Points may not pay that much of the bill; `maximum_points` tells how many may."""

    code = "POINTS_EXCEED_SHARE"
    retryable = False


@quick
@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the partner and the number of its OAuth client; terminal_id where it is one till and no other."""

    partner_id: int
    client_no: int
    terminal_id: int | None = None


@quick
@dataclass(frozen=True, slots=True)
class Place:
    """Where it happened, checked: the partner, its outlet's number and its terminal's, if one was named."""

    partner: Partner
    outlet_id: int
    terminal_id: int | None


@quick
@dataclass(frozen=True, slots=True)
class Presented:
    """Coupons that a member shows, looked at and good; whether the member proved who it is, and the wall's instant."""

    coupons: tuple[Shown, ...] = ()
    is_proved: bool = False
    wall_at: datetime | None = None


NOTHING_PRESENTED = Presented()


class Again(Protocol):
    """Decides a purchase anew, on what is known by then."""

    def __call__(self, *, denied: Collection[str]) -> Awaitable[Prepared]: ...


class Outrun(Exception):  # noqa: N818 - never told to anybody: the purchase is decided again
    """Others were faster: a budget has no room now, or the member bought something meanwhile. Nothing was written."""

    def __init__(self, denied: frozenset[str], *, stale: bool) -> None:
        super().__init__("what was decided does not hold any more")
        self.denied = denied
        self.stale = stale


@dataclass(slots=True)
class Retries:
    """How often one purchase was decided again: three times because of the account, and once more per budget."""

    denied: set[str] = field(default_factory=set)
    outruns: int = 0
    stale: int = 0

    async def again(self, prepared: Prepared, outrun: Outrun) -> Prepared:
        """The purchase decided on what is known now. A budget that had no room twice is left out. Raises Stale."""
        self.outruns += 1
        self.stale += outrun.stale
        if self.stale >= ATTEMPTS or prepared.again is None:
            raise outcomes.rejection(outcomes.STALE)
        if self.outruns > 1:
            self.denied |= outrun.denied
        return await prepared.again(denied=frozenset(self.denied))


@quick
@dataclass(frozen=True, slots=True)
class Prepared:
    """A purchase decided and ready to be recorded.

    Where rules decided it, promoted is what it writes besides, decided what it was decided on, and again decides it
    anew, without the budgets named.
    """

    row: Row
    award: Award
    at: datetime
    promoted: Promoted | None = None
    decided: Decided | None = None
    again: Again | None = None

    def stored(self, record: asyncpg.Record, *, kind: int, redeemed: int, redemption_seq: int | None) -> StoredReceipt:
        """The receipt as the recording call has just written it."""
        row = self.row
        return StoredReceipt(
            holder_id=row.holder_id, unit=POINTS, seq=record["seq"], kind=kind, partner_id=row.partner_id,
            outlet_id=row.outlet_id, terminal_id=row.terminal_id, reference=row.reference,
            business_date=row.business_date, occurred_at=row.occurred_at, at=self.at, currency=row.currency,
            total_minor=row.total, awarded_points=row.awarded, redeemed_points=redeemed,
            redemption_seq=redemption_seq, original_seq=None, terms_id=row.terms_id, card_id=row.card_id,
            detail=orjson.loads(row.detail) if row.detail else {}, decision=row.decision,
        )  # fmt: skip


BudgetKey = tuple[str, str, str]  # code, scope, period
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


@quick
@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to be read for a decision: these fields of a member and these counters by name, as known at an instant,
    and what is left of budgets. Either may be nothing."""

    asked: Asked
    at: datetime
    fields: frozenset[str]
    counters: frozenset[str]
    keys: Sequence[BudgetKey]


@quick
@dataclass(frozen=True, slots=True)
class Told:
    """What was read for a decision: the facts (None: not asked for, or there is no such member), and what is left of
    each budget that was asked for."""

    facts: Facts | None = None
    left: Mapping[BudgetKey, int] = field(default_factory=dict)


UNTOLD = Told()


@quick
@dataclass(frozen=True, slots=True)
class Setting:
    """What a purchase is decided on whoever buys: where it happened, terms and release in force then, what the
    release's rules want to know (needs), the budgets by which settlement limits the partner, and the local date of
    every zone that budgets count in."""

    directory: Directory
    place: Place
    terms: Terms
    release: Release
    needs: Needs
    limited: Sequence[str]
    dates: Mapping[str, str]

    @property
    def by_rules(self) -> bool:
        """Whether more has a say than what every agreement says."""
        return self.needs.any or bool(self.limited) or not self.terms.is_ordinary


@quick
@dataclass(frozen=True, slots=True)
class Foreseen:
    """A receipt's setting, and what a decision will want to know of whom a card stands for before that is known (None:
    nothing): see `foresee`.

    In the scopes of wanted.keys WHOSE and WHICH_CARD stand for the numbers of member and card, and wanted.asked names
    nobody.
    """

    setting: Setting
    wanted: Wanted | None


@quick
@dataclass(frozen=True, slots=True)
class Carried:
    """A card that is shown at a till, by its number, and what else is to be read of whom it stands for (`Foreseen`)."""

    number: str
    wanted: Wanted | None = None


@quick
@dataclass(frozen=True, slots=True)
class Met:
    """Whom a card stands for, and what was read of them beside (None: nothing was foreseen)."""

    member: Identified
    told: Told | None = None


class Moved:
    """Where accounts stood after what this process recorded last: what was decided before is not worth a call."""

    MOST = 10_000

    def __init__(self) -> None:
        self._seqs: OrderedDict[int, int] = OrderedDict()

    def note(self, holder_id: int, seq: int) -> None:
        """A purchase of a holder was recorded as this entry."""
        self._seqs[holder_id] = seq
        self._seqs.move_to_end(holder_id)
        if len(self._seqs) > self.MOST:
            self._seqs.popitem(last=False)

    def outran(self, items: Sequence[Prepared]) -> dict[int, Outrun]:
        """Items, by place, decided before a purchase that this process knows of, or that one before them brings."""
        found, here = {}, set[int]()
        for place, item in enumerate(items):
            seq, holder_id = item.promoted.if_seq if item.promoted else None, item.row.holder_id
            if seq is not None and (holder_id in here or self._seqs.get(holder_id, 0) > seq):
                found[place] = Outrun(frozenset(), stale=True)
            else:
                here.add(holder_id)
        return found


class Desk:
    """What a process needs to record purchases. Open one per process, close it to drain its lanes.

    `lane` records purchases that spend nothing, `cards` recognises members by card number, both many callers at once;
    in the lane tills go before files. `known` reads what the decisions of many look at. `jams` knows the accounts that
    a batch should not wait for, `guesses` who named too many cards that do not exist.
    """

    def __init__(
        self, database: Database, vault: Vault, directory: DirectoryCache, *, guesses: CardGuesses | None = None
    ) -> None:
        self.database = database
        self.pool = database.pool
        self.vault = vault
        self.directory = directory
        self.jams = Jams(database.pool)
        self.lane: Lane[Prepared, Recorded] = Lane(self._record_batch, flights=FLIGHTS, abreast=ABREAST)
        self.cards: Lane[Carried, Met] = Lane(self._meet_batch)
        self.known: Lane[Wanted, Told] = Lane(self._known_batch, flights=FLIGHTS)
        self.arms = Arms(database.pool)
        self.moved = Moved()
        self.guesses = guesses or CardGuesses(database)

    async def close(self) -> None:
        """Finish what is queued."""
        await self.cards.close()
        await self.known.close()
        await self.arms.close()
        await self.lane.close()

    async def directory_with(self, terms_id: int) -> Directory:
        """The directory, looked up anew where another process signed these terms a moment ago."""
        directory = await self.directory.get()
        return directory if directory.knows_terms(terms_id) else await self.directory.refresh()

    async def _meet_batch(self, items: Sequence[Carried]) -> list[Met | Exception]:
        lookups = identification.lookups_of(self.vault, [item.number for item in items])
        of_rules = [item.wanted is not None and item.number in lookups for item in items]
        if not any(of_rules):
            return await self._identify_batch(items)
        if all(of_rules):
            return await self._known_by_card(items, lookups)
        wanted = [item for item, is_it in zip(items, of_rules, strict=True) if is_it]
        others = [item for item, is_it in zip(items, of_rules, strict=True) if not is_it]
        read = await asyncio.gather(self._known_by_card(wanted, lookups), self._identify_batch(others))
        told, plain = map(iter, read)
        return [next(told) if is_it else next(plain) for is_it in of_rules]

    async def _identify_batch(self, items: Sequence[Carried]) -> list[Met | Exception]:
        found = await identification.identify_cards(self.pool, self.vault, [item.number for item in items])
        return [_met(found[item.number], None) for item in items]

    async def _known_by_card(self, items: Sequence[Carried], lookups: Mapping[str, UUID]) -> list[Met | Exception]:
        """Whom cards stand for, and what was foreseen of each, in one statement."""
        wanted = [item.wanted for item in items if item.wanted is not None]
        fields, counters = _named(wanted)
        directory = await self.directory.get()
        numbered = [_numbered(one.keys, directory) for one in wanted]
        together = all(one is not None for one in numbered)
        told = await facts.facts_of_cards(
            self.pool, self.vault, directory.programme, [lookups[item.number] for item in items],
            [one.asked for one in wanted], fields=fields, counters=counters,
            budgets=[one or () for one in numbered] if together else (), at=max(one.at for one in wanted),
        )  # fmt: skip
        answers: list[Met | Exception] = []
        for one, (row, known, left) in zip(wanted, told, strict=True):
            member = identification.judged(row)
            if isinstance(member, Rejection) or not together:
                answers.append(_met(member, None))
                continue
            keys = [_own(key, member) for key in one.keys]
            answers.append(Met(member, Told(known if one.fields else None, dict(zip(keys, left, strict=True)))))
        return answers

    async def _known_batch(self, items: Sequence[Wanted]) -> list[Told]:
        """What is wanted of each: of those with facts in one statement, budgets alone beside it on another."""
        directory = await self.directory.get()
        asking = [item for item in items if item.fields]
        numbered = [_numbered(item.keys, directory) for item in asking]
        together = all(one is not None for one in numbered)
        keys = {key for item in items if not (item.fields and together) for key in item.keys}
        budgets = [one or () for one in numbered] if together else ()
        if keys and asking:  # neither waits for the other
            known, left = await asyncio.gather(self._facts_of(asking, budgets), self._left_of(keys))
        else:
            known = await self._facts_of(asking, budgets) if asking else []
            left = await self._left_of(keys) if keys else {}
        of_asking = iter(known)
        told = []
        for item in items:
            found, rest = next(of_asking) if item.fields else (None, ())
            if item.fields and together:
                told.append(Told(found, dict(zip(item.keys, rest or [0] * len(item.keys), strict=True))))
            else:
                told.append(Told(found, {key: left[key] for key in item.keys}))
        return told

    async def _facts_of(
        self, items: Sequence[Wanted], budgets: Sequence[Sequence[BudgetAsked]]
    ) -> list[tuple[Facts | None, list[int]]]:
        fields, counters = _named(items)
        rules = (await self.directory.get()).programme
        return await facts.facts_and_budgets(
            self.pool, self.vault, rules, [item.asked for item in items], fields=fields, counters=counters,
            budgets=budgets, at=max(item.at for item in items),
        )  # fmt: skip

    async def _left_of(self, keys: Collection[BudgetKey]) -> dict[BudgetKey, int]:
        rows = await counter_store.remaining(self.pool, sorted(keys))
        return {(row["code"], row["scope"], row["period"]): row["remaining"] for row in rows}

    async def _record_batch(self, items: Sequence[Prepared]) -> list[Recorded | Exception]:
        found = await record_many(self, items, at=max(item.at for item in items))
        return list(found)


def _met(member: Identified | Rejection, told: Told | None) -> Met | Exception:
    return member if isinstance(member, Rejection) else Met(member, told)


def _named(items: Sequence[Wanted]) -> tuple[frozenset[str], frozenset[str]]:
    """The fields and counters that any of the items wants."""
    fields, counters = items[0].fields, items[0].counters
    for item in items:
        if item.fields is not fields or item.counters is not counters:
            fields, counters = fields | item.fields, counters | item.counters
    return fields, counters


def _numbered(keys: Sequence[BudgetKey], directory: Directory) -> list[BudgetAsked] | None:
    """Counters of budgets by the budgets' numbers, to be read beside facts. None where they are too many for that, or
    the directory has not heard of one yet."""
    if len(keys) > MOST_BESIDE or not all(code in directory.budgets for code, _, _ in keys):
        return None
    return [(directory.budgets[code].budget_id, scope, period) for code, scope, period in keys]


def _own(key: BudgetKey, member: Identified) -> BudgetKey:
    """A foreseen key, now that it is known whose it is."""
    code, scope, period = key
    return code, scope.replace(WHOSE, str(member.member_id)).replace(WHICH_CARD, str(member.card_id)), period


def place_of(directory: Directory, caller: Caller, outlet_code: str, terminal_code: str | None) -> Place:
    """The caller's own outlet and terminal. Raises PartnerSuspended, OutletUnknown, Terminal-Unknown, -Suspended or
    -Mismatch.
    """
    partner = directory.partner(caller.partner_id)
    if partner is None or partner.status != "ACTIVE":
        raise PartnerSuspended("the partner is suspended")
    outlet = directory.outlet(caller.partner_id, outlet_code)
    if outlet is None:
        raise OutletUnknown("no such outlet; register it first")
    if terminal_code is None:
        if caller.terminal_id is not None:
            raise TerminalMismatch("this till was enrolled as one terminal: name it")
        return Place(partner, outlet.outlet_id, None)
    terminal = directory.terminal(outlet.outlet_id, terminal_code)
    if terminal is None:
        raise TerminalUnknown("no such terminal at this outlet; register it first")
    if terminal.status != "ACTIVE":
        raise TerminalSuspended("the terminal is suspended")
    if caller.terminal_id not in (None, terminal.terminal_id):
        raise TerminalMismatch("this till was enrolled as another terminal")
    return Place(partner, outlet.outlet_id, terminal.terminal_id)


def terms_at(directory: Directory, partner_id: int, at: datetime) -> Terms:
    """The agreement in force at an instant. Raises AgreementMissing."""
    terms = directory.terms_at(partner_id, at)
    if terms is None:
        raise AgreementMissing("no agreement was in force at that time")
    return terms


def idem_key_of(caller: Caller, operation: str, key: str) -> UUID:
    """The scope of an idempotency key: the client, the operation, the key (decision 8).

    Pages of ours, whose numbers are below zero, are one client for every partner: their keys are each partner's own.
    """
    client = str(caller.client_no) if caller.client_no > 0 else f"{caller.client_no} at {caller.partner_id}"
    return fingerprint(client, operation, key)


def prepare(
    directory: Directory,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    at: datetime,
    idem_key: UUID | None,
    redeem_points: int = 0,
    terms: Terms | None = None,
    basis: Basis | None = None,
    place: Place | None = None,
    again: Again | None = None,
) -> Prepared:
    """Decide a purchase: its place, terms, award and what is stored of it. PURE but for the directory's snapshot.

    place is where it happened, where that was looked up before. basis is what rules decide on; without one the
    agreement alone decides, and `decide` tells which it is. again decides the purchase anew.
    at is the business instant of recording. Without an idem_key the receipt itself is the key. terms are those of a
    quote where one is honoured. Raises the rejections of receipts.check, place_of, terms_at, PointsExceedShare and
    EarningPaused.
    """
    place = place or place_of(directory, caller, receipt.outlet, receipt.terminal)
    terms = terms or terms_at(directory, caller.partner_id, receipt.occurred_at)
    value_minor = spending.value_of(redeem_points, terms=terms, programme=directory.programme)
    receipts.check(receipt, currency=terms.currency, at=at, points_value_minor=value_minor)
    price = _Price(directory, terms, redeem_points, value_minor)
    verdict = _by_agreement(price, member, receipt) if basis is None else _by_rules(price, basis, receipt)
    if verdict.award.points and place.partner.paused_until is not None and at < place.partner.paused_until:
        raise EarningPaused
    claim = receipts.claim_of(caller.partner_id, place.outlet_id, place.terminal_id, receipt, "SALE")
    detail = receipt.detail
    stored_detail = orjson.dumps(detail).decode() if detail else None
    receipts.check_detail(stored_detail)
    return Prepared(
        row=Row(
            holder_id=member.member_id,
            claim=claim,
            idem_key=idem_key or fingerprint("receipt", claim.bytes),
            fingerprint=_content(member.member_id, claim, receipt, detail, redeem_points),
            partner_id=caller.partner_id,
            outlet_id=place.outlet_id,
            terminal_id=place.terminal_id,
            client_id=caller.client_no,
            card_id=member.card_id,
            terms_id=terms.terms_id,
            reference=receipt.reference,
            business_date=receipt.business_date,
            occurred_at=receipt.occurred_at,
            currency=receipt.currency,
            total=receipt.total_minor,
            awarded=verdict.award.points,
            detail=stored_detail,
            decision=_decision(verdict, member),
        ),
        award=verdict.award,
        at=at,
        promoted=verdict.promoted,
        decided=verdict.decided,
        again=again,
    )


@quick
@dataclass(frozen=True, slots=True)
class _Price:
    directory: Directory
    terms: Terms
    redeem_points: int
    value_minor: int

    def check(self, most: int) -> None:
        if self.redeem_points > most:
            raise PointsExceedShare("points may not pay that much of this bill", maximum_points=most)


@quick
@dataclass(frozen=True, slots=True)
class _Verdict:
    award: Award
    lines: Sequence[earning.EarnLine]
    paid_points: Sequence[int]
    promoted: Promoted | None = None
    decided: Decided | None = None


def _by_agreement(price: _Price, member: Identified, receipt: Receipt) -> _Verdict:
    terms, programme = price.terms, price.directory.programme
    if receipt.lines and decisions.reported_rules(receipt):
        decisions.check_discounts(receipt, Outcome())
    if price.redeem_points:
        price.check(spending.limit(receipt.total_minor, terms=terms, programme=programme).points)
    paid_points, lines = spending.spread(receipt.effective_lines, price.redeem_points, price.value_minor)
    award = earning.evaluate(lines, terms=terms, programme=programme, tier=member.tier, occurred_at=receipt.occurred_at)
    return _Verdict(award, lines, paid_points)


def _by_rules(price: _Price, basis: Basis, receipt: Receipt) -> _Verdict:
    directory = price.directory
    basket = decisions.basket_of(receipt, points=price.redeem_points, points_minor=price.value_minor)
    decided = decisions.decide(basis, basket)
    if not basis.is_quote:
        decisions.check_discounts(receipt, decided.outcome)
    if price.redeem_points:
        assert decided.outcome.spend_limit is not None
        if price.redeem_points > decided.outcome.spend_limit.points:
            decisions.check_plan(decided.outcome.spend_limit, basis.release)
        price.check(decided.outcome.spend_limit.points)
    ours = (OPERATOR, price.terms.partner_id)
    funders = {lot.funder_id for lot in decided.outcome.lots if lot.funder_id not in ours}
    signed = {funder: directory.terms_at(funder, receipt.occurred_at) for funder in funders}
    lines = decisions.earn_lines(decided)
    award = decisions.award_of(decided, {funder: terms.terms_id for funder, terms in signed.items() if terms}, lines)
    budget_ids = directory.budget_ids
    promoted = decisions.promoted_of(decided, budget_ids)
    if basis.is_limited:
        award, promoted = decisions.within_exposure(award, promoted, basis, budget_ids)
    paid_points: Sequence[int] = ()
    if price.redeem_points:
        paid_points = allocate(price.redeem_points, [line.points_value_minor for line in lines])
    return _Verdict(award, lines, paid_points, promoted, decided)


async def decide(
    desk: Desk,
    directory: Directory,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    at: datetime,
    idem_key: UUID | None,
    redeem_points: int = 0,
    terms: Terms | None = None,
    presented: Presented = NOTHING_PRESENTED,
    is_quote: bool = False,
    denied: Collection[str] = (),
    foreseen: Foreseen | None = None,
    told: Told | None = None,
) -> Prepared:
    """Decide a purchase by the agreement and by the rules in force when it occurred, as `prepare`.

    Nothing is read where no rule looks at more than the receipt and the card; told is what was read already, of what
    was foreseen. Of a quote the rules' discounts are proposals; a purchase is decided with those that the till says it
    gave, which must be right. denied are budgets that have no room. Raises what `prepare` raises, and
    DiscountNotGranted.
    """
    if foreseen is not None and foreseen.setting.directory is directory and terms is None and not is_quote:
        setting = foreseen.setting
    else:
        place, told = place_of(directory, caller, receipt.outlet, receipt.terminal), None
        setting = _setting(directory, place, receipt, at=at, terms=terms, is_quote=is_quote)
    asked = _Asked(
        desk, caller, member, receipt, at, idem_key, redeem_points, presented, is_quote, denied, setting
    )  # fmt: skip
    if not setting.by_rules:
        return _prepared(asked, None)
    whose = _whose(asked)
    if told is None or presented.coupons:
        told = await desk.known.submit(wanted) if (wanted := _wanted(asked, whose)) is not None else UNTOLD
    if setting.needs.household:
        whose, more = _of_household(asked, whose, told)
        told = replace(told, left=(await desk.known.submit(more)).left) if more else told
    met = asked.experiments
    arms = await desk.arms.held_out(member.member_id, met, at=at) if met else NOBODY
    return _prepared(asked, _basis(asked, whose, told, arms))


def foresee(
    desk: Desk, directory: Directory, caller: Caller, place: Place, receipt: Receipt, *, at: datetime
) -> Foreseen | None:
    """What `decide` will have to read of whoever shows a card for this receipt, so that one statement can say who it is
    and that. None where it cannot be told yet, or the receipt will be refused. Raises nothing."""
    if any("discounts" in line.facts for line in receipt.lines):  # which rules decide is told by these
        return None
    if directory.terms_at(caller.partner_id, receipt.occurred_at) is None:
        return None
    setting = _setting(directory, place, receipt, at=at)
    needs = setting.needs
    keys: Sequence[BudgetKey] = ()
    if not needs.household and (needs.budgets or setting.limited):
        scopes = _known_scopes(desk, caller, place.partner.code, receipt, member=WHOSE, card=WHICH_CARD)
        keys = _budget_keys(setting, _Whose(place.partner.code, receipt.occurred_at, scopes, setting.dates, ()))
    if not (keys or needs.fields):
        return Foreseen(setting, None)
    nobody = Asked(0, caller.partner_id, receipt.occurred_at)
    return Foreseen(setting, Wanted(nobody, at, needs.fields, needs.counters, keys))


async def decide_many(
    desk: Desk, directory: Directory, caller: Caller, items: Sequence[tuple[Identified, Receipt]], *, at: datetime
) -> list[Prepared | Rejection]:
    """Decide purchases of a file as `decide` does each of them, but what they need to know is read together; each item
    answers for itself, in order."""
    found: dict[int, Prepared | Rejection] = {}
    asked: dict[int, _Asked] = {}
    for place, (member, receipt) in enumerate(items):
        try:
            where = place_of(directory, caller, receipt.outlet, receipt.terminal)
            setting = _setting(directory, where, receipt, at=at)
            asked[place] = _Asked(desk, caller, member, receipt, at, None, 0, NOTHING_PRESENTED, False, (), setting)
        except Rejection as no:
            found[place] = no
    by_rules = {n: one for n, one in asked.items() if one.setting.by_rules}
    whose = {n: _whose(one) for n, one in by_rules.items()}
    wanted = {n: some for n, one in by_rules.items() if (some := _wanted(one, whose[n])) is not None}
    told = await _read(desk.known, wanted, found)
    more: dict[int, Wanted] = {}
    for n, one in by_rules.items():
        if n not in found and one.setting.needs.household:
            whose[n], keys = _of_household(one, whose[n], told[n])
            more |= {n: keys} if keys else {}
    told |= {n: replace(told[n], left=one.left) for n, one in (await _read(desk.known, more, found)).items()}
    met = {n: experiments for n, one in by_rules.items() if n not in found and (experiments := one.experiments)}
    await desk.arms.meet({asked[n].member.member_id: some for n, some in met.items()}, at=at)
    arms_of = {n: await desk.arms.held_out(asked[n].member.member_id, some, at=at) for n, some in met.items()}
    for place, one in asked.items():
        if place not in found:
            try:
                basis = None
                if one.setting.by_rules:
                    basis = _basis(one, whose[place], told.get(place, UNTOLD), arms_of.get(place, NOBODY))
                found[place] = _prepared(one, basis)
            except Rejection as no:
                found[place] = no
    return [found[place] for place in range(len(items))]


async def _read(
    lane: Lane[_Item, _Answer], wanted: Mapping[int, _Item], found: dict[int, Prepared | Rejection]
) -> dict[int, _Answer]:
    """What a lane tells of items of a file, by their places; an item that it refuses has found its answer."""
    told: dict[int, _Answer] = {}
    if wanted:
        for place, answer in zip(wanted, await lane.submit_all(list(wanted.values())), strict=True):
            if isinstance(answer, Rejection):
                found[place] = answer
            elif isinstance(answer, Exception):
                raise answer
            else:
                told[place] = answer
    return told


@quick
@dataclass(frozen=True, slots=True)
class _Asked:
    """A purchase to be decided."""

    desk: Desk
    caller: Caller
    member: Identified
    receipt: Receipt
    at: datetime
    idem_key: UUID | None
    redeem_points: int
    presented: Presented
    is_quote: bool
    denied: Collection[str]
    setting: Setting

    @property
    def experiments(self) -> Mapping[str, HoldoutDocument]:
        """Those that may hold the member out of some of its rules."""
        setting = self.setting
        return setting.directory.experiments.among(setting.needs.experiments, at=self.receipt.occurred_at)


@quick
@dataclass(frozen=True, slots=True)
class _Whose:
    """What says which counters of budgets a purchase looks at: see evaluation.Whose."""

    partner: str
    occurred_at: datetime
    scopes: Mapping[str, str]
    dates: Mapping[str, str]
    coupons: tuple[ShownCoupon, ...]
    trigger: str = PURCHASE_TRIGGER
    event: None = None


def _setting(
    directory: Directory,
    place: Place,
    receipt: Receipt,
    *,
    at: datetime,
    terms: Terms | None = None,
    is_quote: bool = False,
) -> Setting:
    """What decides a receipt. Raises AgreementMissing, and DiscountNotGranted for a discount that names no rule."""
    shelf, partner = directory.shelf, place.partner
    terms = terms or terms_at(directory, partner.partner_id, receipt.occurred_at)
    release = shelf.at(receipt.occurred_at, at)
    if release.rules and not is_quote:
        release = shelf.honouring(release, decisions.reported_rules(receipt))
    needs = shelf.needs(release, PURCHASE_TRIGGER, "", partner.code)
    dates = decisions.dates_of(receipt.occurred_at, release.zones) if needs.budgets else _NO_DATES
    return Setting(directory, place, terms, release, needs, limits_of(directory, partner.code), dates)


_NO_DATES: Mapping[str, str] = MappingProxyType({})


def _whose(asked: _Asked) -> _Whose:
    coupons, setting = asked.presented.coupons, asked.setting
    return _Whose(
        setting.place.partner.code, asked.receipt.occurred_at, _scopes(asked), setting.dates,
        tuple([ShownCoupon(one.batch, str(one.coupon_id)) for one in coupons]) if coupons else (),
    )  # fmt: skip


def _wanted(asked: _Asked, whose: _Whose) -> Wanted | None:
    """What has to be read; budgets of a household wait until it is known which that is."""
    needs = asked.setting.needs
    keys = () if needs.household else _budget_keys(asked.setting, whose)
    if not (keys or needs.fields):
        return None
    member = Asked(asked.member.member_id, asked.caller.partner_id, asked.receipt.occurred_at)
    return Wanted(member, asked.at, needs.fields, needs.counters, keys)


def _of_household(asked: _Asked, whose: _Whose, told: Told) -> tuple[_Whose, Wanted | None]:
    """Whose the budgets are, now that the household is known, and those that have to be read."""
    if told.facts is not None:
        whose = replace(whose, scopes={**whose.scopes, **told.facts.scopes})
    keys = _budget_keys(asked.setting, whose)
    member = Asked(asked.member.member_id, asked.caller.partner_id, asked.receipt.occurred_at)
    return whose, Wanted(member, asked.at, _NO_NAMES, _NO_NAMES, keys) if keys else None


_NO_NAMES = frozenset[str]()


@lru_cache(maxsize=64)
def _of_the_card(tier: str) -> Member:
    """A member of whom nothing is known but what the card tells."""
    return Member(tier=tier)


def _budget_keys(setting: Setting, whose: _Whose) -> Sequence[BudgetKey]:
    """The counters of budgets that have to be read."""
    keys = evaluation.budget_keys(setting.release, whose) if setting.needs.budgets else ()
    return [*keys, *((code, "", "") for code in setting.limited)] if setting.limited else keys


def _basis(asked: _Asked, whose: _Whose, told: Told, arms: Mapping[str, str]) -> Basis:
    setting, receipt = asked.setting, asked.receipt
    directory, partner, needs = setting.directory, setting.place.partner.code, setting.needs
    programme, calendar = directory.programme, directory.calendar
    known, if_seq = _of_the_card(asked.member.tier), None
    if told.facts is not None:
        known = decisions.told(told.facts.member, asked.member.tier, needs)
        if_seq = told.facts.seq if needs.account else None
    zone = directory.zone_at(setting.place.outlet_id)
    day = receipt.occurred_at.astimezone(ZoneInfo(zone)).date() if calendar.versions else None
    foreign = directory.foreign_budgets(setting.terms.currency)
    context = decisions.context_of(
        receipt, partner=partner, zone=zone, terms=setting.terms, programme=programme, dates=setting.dates,
        member=known, scopes=whose.scopes, at=asked.at,
        denied=(*asked.denied, *foreign) if asked.denied or foreign else (),
        holidays=calendar.codes(day, at=receipt.occurred_at) if day else (),
        coupons=whose.coupons, arms=arms,
    )  # fmt: skip
    if not told.left:
        return Basis(setting.release, context, _NOTHING_LEFT, if_seq, is_quote=asked.is_quote)
    rest = dict(told.left)
    limits = taken_limits(rest, setting.limited, asked.denied)
    counters = Counters({Counters.key(*key): remaining for key, remaining in sorted(rest.items())})
    return Basis(
        setting.release, context, counters, if_seq, limits.get(exposure_code(partner)), asked.is_quote,
        limits.get(holding_code(partner)),
    )  # fmt: skip


_NOTHING_LEFT = Counters()


def _prepared(asked: _Asked, basis: Basis | None) -> Prepared:
    desk, caller, member, receipt, setting = asked.desk, asked.caller, asked.member, asked.receipt, asked.setting
    directory = setting.directory
    again = None
    if basis is not None:
        again = partial(
            decide, desk, directory, caller, member, receipt, at=asked.at, idem_key=asked.idem_key,
            redeem_points=asked.redeem_points, terms=setting.terms, presented=asked.presented,
        )  # fmt: skip
    prepared = prepare(
        directory, caller, member, receipt, at=asked.at, idem_key=asked.idem_key, redeem_points=asked.redeem_points,
        terms=setting.terms, basis=basis, place=setting.place, again=again,
    )  # fmt: skip
    if prepared.decided is None or not (prepared.decided.outcome.uses or prepared.decided.outcome.grants):
        return prepared
    return _with_given(desk, directory, prepared, asked.presented)


def _with_given(desk: Desk, directory: Directory, prepared: Prepared, presented: Presented) -> Prepared:
    """The purchase with what its outcome uses up and gives beside points."""
    assert prepared.decided is not None
    assert prepared.promoted is not None
    outcome, row = prepared.decided.outcome, prepared.row
    new = [codes.draw() for one in outcome.grants if one.kind == "COUPON" for _ in range(one.quantity)]
    given = decisions.given_of(
        outcome,
        lookups={coupon.coupon_id: coupon.lookup for coupon in presented.coupons},
        drawn=[(codes.lookup(desk.vault, code), code[-codes.TAIL :]) for code in new],
        about={
            "partner": row.partner_id, "terms": row.terms_id, "claim": row.claim, "at": prepared.at,
            "day": day_of(directory, prepared.at), "wall": presented.wall_at or prepared.at,
            "proved": presented.is_proved,
        },
    )  # fmt: skip
    return replace(prepared, promoted=replace(prepared.promoted, given=given))


def limits_of(directory: Directory, partner_code: str) -> list[str]:
    """The budgets by which settlement limits what a partner may come to owe; most have none."""
    return [code for code in limit_codes(partner_code) if code in directory.budgets] if directory.budgets else []


def taken_limits(
    left: dict[tuple[str, str, str], int], limited: Collection[str], denied: Collection[str]
) -> dict[str, int]:
    """What is left of a partner's limits, taken out of what is left of all budgets; nothing of one that was denied."""
    found = {code: left.pop((code, "", ""), 0) for code in limited}
    return {code: 0 if code in denied else remaining for code, remaining in found.items()}


def _scopes(asked: _Asked) -> dict[str, str]:
    """Whose a budget may be, as far as the receipt and the card tell."""
    return _known_scopes(
        asked.desk, asked.caller, asked.setting.place.partner.code, asked.receipt, member=asked.member.member_id,
        card=asked.member.card_id,
    )  # fmt: skip


def _known_scopes(
    desk: Desk, caller: Caller, partner: str, receipt: Receipt, *, member: int | str, card: int | str | None
) -> dict[str, str]:
    found = decisions.scopes_of(member, card, partner, receipt.outlet)
    if not receipt.payments:
        return found
    tokens = sorted({paid.instrument for paid in receipt.payments if paid.instrument})
    if len(tokens) == 1:  # of two cards neither is the one that paid
        paid_with = aliases.instrument(desk.vault, caller.partner_id, tokens[0])
        found |= {"instrument": paid_with.lookup.hex} if paid_with else {}
    return found


def content_of(holder_id: int, claim: UUID, receipt: Receipt, redeem_points: int) -> UUID:
    """What a key stands for: the same for every retry of one purchase, and for no other purchase."""
    return _content(holder_id, claim, receipt, receipt.detail, redeem_points)


def _content(
    holder_id: int, claim: UUID, receipt: Receipt, detail: Mapping[str, Any] | None, redeem_points: int
) -> UUID:
    # How the member was recognised, the proof, the quote and the time of sending may differ between retries.
    kept = {key: value for key, value in (detail or {}).items() if key != "sentAt"}
    head = [holder_id, claim.hex, receipt.occurred_at.isoformat(), receipt.currency, receipt.total_minor]
    return fingerprint(orjson.dumps([*head, redeem_points, kept], option=orjson.OPT_SORT_KEYS))


def _decision(verdict: _Verdict, member: Identified) -> dict[str, Any]:
    award = verdict.award
    decided: dict[str, Any] = {
        "tier": member.tier,
        "level": member.level,
        "lines": award.line_points,
        "reasons": [[reason.code, reason.points, reason.facts] for reason in award.reasons],
        "lots": {str(lot.lot_no): lot.points for lot in award.lots},
    }
    if member.visit is not None:
        decided["visit"] = member.visit.level
    if any(verdict.paid_points):
        decided["paid"] = {
            line.line_id: [points, line.points_value_minor]
            for line, points in zip(verdict.lines, verdict.paid_points, strict=True)
            if points or line.points_value_minor
        }
    if verdict.decided is not None and verdict.promoted is not None:
        decided |= decisions.kept(verdict.decided, verdict.promoted, member.member_id, member.card_id)
    return decided


async def accrue(desk: Desk, prepared: Prepared) -> Recorded:
    """Record one purchase that earns and spends nothing, in the lane. Raises what its status says."""
    retries = Retries()
    while True:
        try:
            return await desk.lane.submit(prepared)
        except Outrun as outrun:
            prepared = await retries.again(prepared, outrun)


async def accrue_file(desk: Desk, items: Sequence[Prepared]) -> list[Recorded | Rejection]:
    """Record purchases that nobody waits for at a till, in the lane behind those that somebody does; in order.

    An item for which the lane has no room is answered Busy. Raises what is no Rejection of an item's.
    """
    answers = await desk.lane.submit_all(items)
    outrun: dict[int, dict[int, Outrun]] = {}
    for index, answer in enumerate(answers):
        if isinstance(answer, Outrun):
            outrun.setdefault(items[index].row.holder_id, {})[index] = answer
    again = await asyncio.gather(*(_again_in_order(desk, items, places) for places in outrun.values()))
    for index, told in (one for each in again for one in each.items()):
        answers[index] = told
    if broken := next((answer for answer in answers if not isinstance(answer, Recorded | Rejection)), None):
        raise broken
    return [answer for answer in answers if isinstance(answer, Recorded | Rejection)]


async def _again_in_order(
    desk: Desk, items: Sequence[Prepared], places: Mapping[int, Outrun]
) -> dict[int, Recorded | Exception]:
    """Items of one member, decided again one after another: each has to know of those before it."""
    return {index: await _decided_again(desk, items[index], outrun) for index, outrun in places.items()}


async def _decided_again(desk: Desk, item: Prepared, outrun: Outrun) -> Recorded | Exception:
    try:
        return await accrue(desk, await Retries().again(item, outrun))
    except Rejection as no:
        return no


async def record_many(desk: Desk, items: Sequence[Prepared], *, at: datetime) -> list[Recorded | Rejection | Outrun]:
    """Record purchases that spend nothing, in one call; each item answers for itself, in order.

    One that was outrun is answered so, and the others are recorded without it. An item that another call is recording
    in this moment, or that repeats an earlier item, is tried again. One whose account somebody keeps locked is answered
    Busy, and the others do not wait for it.
    """
    found: dict[int, Recorded | Rejection | Outrun] = {**desk.moved.outran(items)}
    holder_ids = [item.row.holder_id for item in items]
    jammed = await desk.jams.known(holder_ids)
    if len(items) == 1 and not jammed and not found and (alone := await _record_alone(desk, items[0], at)):
        return [alone]
    waiting = [index for index in range(len(items)) if index not in found]
    attempts = 0
    while attempts < ATTEMPTS:
        waiting = [index for index in waiting if holder_ids[index] not in jammed]
        if not waiting:
            break
        attempts += 1
        try:
            records = await call_safely(
                receipt_store.record_purchases,
                desk.pool,
                [items[index].row for index in waiting],
                [items[index].award.lots for index in waiting],
                at,
                [items[index].promoted for index in waiting],
            )
        except asyncpg.LockNotAvailableError:
            jammed = await desk.jams.look([holder_ids[index] for index in waiting])
            continue
        except asyncpg.PostgresError as error:
            outrun = outruns(error, [items[index] for index in waiting])
            found.update({waiting[place]: each for place, each in outrun.items()})
            waiting = [index for index in waiting if index not in found]
            attempts -= 1  # each such call leaves fewer items
            continue
        by_index = dict(zip(waiting, records, strict=True))
        found.update(await _answers(desk, items, by_index))
        waiting = [index for index, record in by_index.items() if record["status"] == outcomes.AGAIN]
        if not waiting:
            break
    return [found.get(index) or Busy("the account is in use") for index in range(len(items))]


def outruns(error: asyncpg.PostgresError, items: Sequence[Prepared]) -> dict[int, Outrun | Rejection]:
    """Which items of a call were outrun, by their places from 0, as the call says; raises any other error again.

    Whose coupon was used meanwhile hears that, and is not decided again: the till counts on its discount.
    """
    if error.sqlstate == LIMIT_LOST and len(items) == 1:
        return {0: Outrun(frozenset(), stale=True)}
    if error.sqlstate != OUTRUN:
        raise error
    told = orjson.loads(error.detail or "{}")
    stale = {place - 1 for place in told["stale"]}
    used = {place - 1: status for place, status in told.get("used", ())}
    stale |= {place for place, status in used.items() if status == STAMPS_SHORT}
    denied: dict[int, set[str]] = {place: set() for place in stale}
    for place, budget_id in told["denied"]:
        promoted = items[place - 1].promoted
        assert promoted is not None
        codes = {charge.code for charge in promoted.charges if charge.budget_id == budget_id}
        denied.setdefault(place - 1, set()).update(codes)
    found: dict[int, Outrun | Rejection] = {
        place: Outrun(frozenset(codes), stale=place in stale) for place, codes in denied.items()
    }
    return found | {place: coupons.rejection(status) for place, status in used.items() if status != STAMPS_SHORT}


async def _record_alone(desk: Desk, item: Prepared, at: datetime) -> Recorded | Rejection | Outrun | None:
    """A lone till need not pay for what a batch needs. None where something stands in the way: nothing was written."""
    try:
        record = await call_safely(
            receipt_store.record_purchase, desk.pool, item.row, item.award.lots, at, item.promoted
        )
    except asyncpg.LockNotAvailableError:
        await desk.jams.look([item.row.holder_id])
        return Busy("the account is in use")
    except asyncpg.PostgresError as error:
        return None if error.sqlstate == CLAIM_LOST else outruns(error, [item])[0]
    if record["status"] != outcomes.RECORDED:
        return None
    desk.moved.note(item.row.holder_id, record["seq"])
    receipt = item.stored(record, kind=PURCHASE, redeemed=0, redemption_seq=None)
    return Recorded(receipt, False, record["available"], record["pending"], record["debt"])


async def _answers(
    desk: Desk, items: Sequence[Prepared], records: Mapping[int, asyncpg.Record]
) -> dict[int, Recorded | Rejection]:
    replays = {index: record for index, record in records.items() if record["status"] == outcomes.REPLAYED}
    earlier = await _earlier(desk, items, replays)
    found: dict[int, Recorded | Rejection] = {}
    for index, record in records.items():
        if record["status"] == outcomes.RECORDED:
            desk.moved.note(items[index].row.holder_id, record["seq"])
            receipt = items[index].stored(record, kind=PURCHASE, redeemed=0, redemption_seq=None)
            found[index] = Recorded(receipt, False, record["available"], record["pending"], record["debt"])
        elif index in earlier:
            found[index] = Recorded(earlier[index], True)
        else:
            found[index] = outcomes.rejection(2 if index in replays else record["status"])
    return found


async def _earlier(
    desk: Desk, items: Sequence[Prepared], replays: Mapping[int, asyncpg.Record]
) -> dict[int, StoredReceipt]:
    if not replays:
        return {}
    wanted = [
        (items[index].row.partner_id, record["holder_id"], items[index].row.claim) for index, record in replays.items()
    ]
    found = await receipt_store.receipts_by_claim(desk.pool, wanted)
    return {index: found[claim] for index, (_, _, claim) in zip(replays, wanted, strict=True) if claim in found}


async def purchase(desk: Desk, prepared: Prepared, *, redeem_points: int, use: ProofUse) -> Recorded:
    """Record one purchase that spends points and earns on the rest, under one lock.

    use is the proof of the spending, to be used up. Raises what the status says: InsufficientPoints is final and
    stored, the others wrote nothing.
    """
    return await _spend(desk, prepared, kind=PURCHASE, redeem_points=redeem_points, use=use)


async def _spend(desk: Desk, prepared: Prepared, *, kind: int, redeem_points: int, use: ProofUse) -> Recorded:
    retries = Retries()
    while True:
        try:
            return await _spend_as_decided(desk, prepared, kind=kind, redeem_points=redeem_points, use=use)
        except Outrun as outrun:
            prepared = await retries.again(prepared, outrun)


async def _spend_as_decided(
    desk: Desk, prepared: Prepared, *, kind: int, redeem_points: int, use: ProofUse
) -> Recorded:
    directory = await desk.directory.get()
    day = day_of(directory, prepared.at)
    lots: Sequence[Lot] = prepared.award.lots
    for _ in range(ATTEMPTS):
        try:
            record = await call_safely(
                receipt_store.record_spending, desk.pool, prepared.row, lots, kind=kind, redeem_points=redeem_points,
                use=use, day=day, at=prepared.at, promoted=prepared.promoted,
            )  # fmt: skip
        except asyncpg.PostgresError as error:
            if error.sqlstate != CLAIM_LOST:
                raise outruns(error, [prepared])[0] from None
            continue
        if record["status"] == outcomes.RECORDED:
            spent_seq = record["seq"] - 1 if kind == PURCHASE else record["seq"]  # the accrual follows the redemption
            receipt = prepared.stored(record, kind=kind, redeemed=redeem_points, redemption_seq=spent_seq)
            return Recorded(receipt, False, record["available"], record["pending"])
        if record["status"] == outcomes.REPLAYED:
            return await replay(desk, prepared.row)
        raise_used_proof(record["status"], prepared.row.holder_id)
        if record["status"] != outcomes.AGAIN:
            raise outcomes.rejection(record["status"], available=record["available"])
    raise outcomes.rejection(outcomes.AGAIN)


def raise_used_proof(status: int, member_id: int) -> None:
    """Raise CodeUsed or ApprovalUsed where a recording call says so."""
    if status == outcomes.CODE_USED:
        raise CodeUsed(member_id)
    if status == outcomes.APPROVAL_USED:
        raise ApprovalUsed(member_id)


def day_of(directory: Directory, at: datetime) -> date:
    """The programme's calendar day of an instant."""
    return at.astimezone(ZoneInfo(directory.programme.time_zone)).date()


def redemption_content_of(bare: UUID, points: int) -> UUID:
    """What the key of a redemption stands for: the content of its receipt of nothing, and the points."""
    return fingerprint(bare.bytes, "redeem", str(points))


async def redeem(
    desk: Desk,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    points: int,
    use: ProofUse,
    idem_key: UUID,
    at: datetime,
    reward_id: int | None = None,
) -> Recorded:
    """The spending half alone: points for a reward or a service, no money and nothing earned. A reward of the catalogue
    is taken from its stock.

    Raises PointsNotPositive and what `purchase` raises.
    """
    if points <= 0:
        raise PointsNotPositive("the number of points to spend must be above zero")
    directory = await desk.directory.get()
    prepared = bare(prepare(directory, caller, member, receipt, at=at, idem_key=idem_key), member)
    content = redemption_content_of(prepared.row.fingerprint, points)
    row = replace(prepared.row, fingerprint=content, reward_id=reward_id)
    return await _spend(desk, replace(prepared, row=row), kind=REDEMPTION, redeem_points=points, use=use)


def bare(prepared: Prepared, member: Identified) -> Prepared:
    """A prepared receipt of nothing as one that decides and earns nothing."""
    decision = {"tier": member.tier, "level": member.level, "lines": {}, "reasons": [], "lots": {}}
    row = replace(prepared.row, awarded=0, decision=decision)
    return replace(prepared, row=row, award=replace(prepared.award, points=0, lots=()))


async def replay(desk: Desk, row: Row) -> Recorded:
    """The receipt that an earlier call recorded. Raises IdempotencyKeyReused where the key was another receipt's."""
    receipt = await receipt_store.receipt_by_claim(desk.pool, row.partner_id, row.claim)
    if receipt is None:
        raise outcomes.rejection(2)
    return Recorded(receipt, True)


async def call_safely(call: Any, *arguments: Any, **named: Any) -> Any:
    """Await a recording call again when the database chose it to end a deadlock; the call wrote nothing then."""
    for attempt in range(ATTEMPTS):
        try:
            return await call(*arguments, **named)
        except asyncpg.DeadlockDetectedError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")
