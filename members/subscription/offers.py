"""Promotional codes of plans: what an offer takes off, who used which code for what, and how codes are looked at.

A code is unique, and good for one subscription, or a word that many use under the offer's limit. Whoever enters codes
that are no good is not answered for a while, whatever becomes of the call. An offer that was used is kept to: it takes
its part off so many periods of the plan that it is for, and one that nobody paid is free again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit, codes
from kit.database import Database
from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault
from members import guess_store, persons
from members.subscription import offer_store, plans, store
from members.subscription.discounts import Off, Terms
from members.subscription.periods import Interval
from members.subscription.plans import Price

GUESS = "PLAN_CODE"
WRONG_CODES, WINDOW = 10, timedelta(hours=1)
MOST_AT_ONCE = 10_000
GUESSER = "members.subscription.offers"
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class PlanCodeInvalid(Rejection):
    """The code is no good: unknown, used, stopped, over or not paid yet; it is not said which."""

    code = "PLAN_CODE_INVALID"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the code is no good")


class PlanCodesLimited(Rejection):
    """Too many codes that are no good came from this member; for a while none is looked at."""

    code = "PLAN_CODES_LIMITED"
    retryable = True

    def __init__(self) -> None:
        super().__init__("too many codes that are no good; try again later")


class PlanCodeElsewhere(Rejection):
    """The code is for another plan, interval or currency, or only for who never had a plan."""

    code = "PLAN_CODE_ELSEWHERE"
    retryable = True


class PlanCodeUsed(Rejection):
    """This person has used the offer before, or it was used as often as it may be."""

    code = "PLAN_CODE_USED"
    retryable = False


class PlanOfferInvalid(Rejection):
    """An offer that cannot be; `problems` says what of it."""

    code = "PLAN_OFFER_INVALID"
    retryable = False


class PlanOfferUnknown(Rejection):
    """There is no offer of this code."""

    code = "PLAN_OFFER_UNKNOWN"
    retryable = False


@dataclass(frozen=True, slots=True)
class OfferDraft:
    """An offer as somebody defines it: its own code, what it takes off how many periods, of which plan and interval
    (None: any), until when, how often in all (None: without end), and whether only who never had a plan may use it.
    word is what many enter; without one, codes are drawn."""

    code: str
    kind: Off
    valid_from: datetime
    valid_until: datetime
    percent_bp: int | None = None
    amount_minor: int | None = None
    currency: str | None = None
    periods: int = 1
    plan: str | None = None
    interval: Interval | None = None
    is_for_new: bool = False
    most_uses: int | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class OfferStanding:
    """An offer as it stands: what it takes off, of which plan (its code), how often it was used, how many codes."""

    offer_id: int
    code: str
    plan: str | None
    terms: Terms
    is_for_new: bool
    uses: int
    most_uses: int | None
    codes: int
    valid_from: datetime
    valid_until: datetime
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class Shown:
    """A code that was looked at and is good: of an offer or of a gift. person is who shows it, whatever they are a
    member as, where that is known."""

    code_no: int
    is_word: bool
    offer_id: int | None
    gift_no: int | None
    person: UUID | None = None


@dataclass(frozen=True, slots=True)
class Cheaper:
    """What an offer takes off a period, minor units."""

    offer_id: int
    off_minor: int


# --- What marketers do ------------------------------------------------------------------------------------------


async def add(connection: AsyncConnection, vault: Vault, draft: OfferDraft, *, actor: str, at: datetime) -> int:
    """Add an offer on behalf of a PROMOTION_MAKER; its number. A word is good at once.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_UNKNOWN, PLAN_OFFER_INVALID.
    """
    await _permit(connection, actor)
    if problems := _problems(draft):
        raise PlanOfferInvalid("this cannot be an offer", problems=problems)
    plan = None if draft.plan is None else await plans.named(connection, draft.plan)
    offer_id = await offer_store.insert_offer(
        connection,
        {"code": draft.code, "kind": draft.kind, "plan_id": None if plan is None else plan.plan_id,
         "interval": draft.interval, "percent_bp": draft.percent_bp, "amount_minor": draft.amount_minor,
         "currency": draft.currency, "periods": draft.periods, "is_for_new": draft.is_for_new,
         "most_uses": draft.most_uses, "valid_from": draft.valid_from, "valid_until": draft.valid_until},
    )  # fmt: skip
    if offer_id is None:
        raise PlanOfferInvalid(f"there is an offer {draft.code} already; offers are not edited")
    if draft.word is not None:
        word = codes.normal_word(draft.word)
        assert word is not None
        if not await offer_store.insert_codes(connection, offer_id, [lookup(vault, word)], [word[-codes.TAIL :]], True):
            raise PlanOfferInvalid("the word is a code already")
    await _note(connection, "PLAN_OFFER_ADDED", draft.code, {"kind": draft.kind}, actor, at)
    return offer_id


async def draw(
    connection: AsyncConnection, vault: Vault, code: str, count: int, *, actor: str, at: datetime
) -> list[str]:
    """Draw codes of an offer on behalf of a PROMOTION_MAKER, told here and never again.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_OFFER_UNKNOWN, PLAN_OFFER_INVALID.
    """
    await _permit(connection, actor)
    offer_id = await _numbered(connection, code)
    if not 1 <= count <= MOST_AT_ONCE:
        problem = FieldProblem(("count",), "OUT_OF_RANGE", f"1 to {MOST_AT_ONCE}")
        raise PlanOfferInvalid(f"1 to {MOST_AT_ONCE} codes at once", problems=[problem])
    drawn: dict[UUID, str] = {}
    while len(drawn) < count:
        fresh = {lookup(vault, one): one for one in (codes.draw() for _ in range(count - len(drawn)))}
        tails = [one[-codes.TAIL :] for one in fresh.values()]
        made = await offer_store.insert_codes(connection, offer_id, list(fresh), tails, False)
        drawn |= {found: fresh[found] for found in made}
    await _note(connection, "PLAN_CODES_DRAWN", code, {"count": count}, actor, at)
    return list(drawn.values())


async def stop(connection: AsyncConnection, code: str, *, actor: str, at: datetime) -> None:
    """Let no code of an offer be used from now on; whoever used one keeps what it gives. On behalf of a
    PROMOTION_MAKER. Rejects ACTOR_UNKNOWN, NOT_PERMITTED, PLAN_OFFER_UNKNOWN."""
    await _permit(connection, actor)
    await offer_store.stop(connection, await _numbered(connection, code), at)
    await _note(connection, "PLAN_OFFER_STOPPED", code, {}, actor, at)


async def page(connection: AsyncConnection, *, before: int | None, limit: int) -> list[OfferStanding]:
    """Offers, the latest first, with numbers below one."""
    return [
        OfferStanding(
            row.offer_id, row.code, row.plan, _of(row), row.is_for_new, row.uses, row.most_uses, row.codes,
            row.valid_from, row.valid_until, row.stopped_at,
        )
        for row in await offer_store.page(connection, before, limit)
    ]  # fmt: skip


# --- What members do --------------------------------------------------------------------------------------------


async def look(database: Database, vault: Vault, text: str, *, member_id: int, at: datetime, now: datetime) -> Shown:
    """The code that a member enters, if it is good at an instant. now is the wall's, by which tries are counted.

    Rejects PLAN_CODES_LIMITED, PLAN_CODE_INVALID; a code that is no good is counted, whatever becomes of the call.
    """
    code = codes.normal(text) or codes.normal_word(text)
    async with database.transaction() as connection:
        await guess_store.lock(connection, GUESS, member_id)
        if await guess_store.wrong(connection, GUESS, member_id, since=now - WINDOW) >= WRONG_CODES:
            raise PlanCodesLimited
        row = None if code is None else await offer_store.code(connection, lookup(vault, code), at)
        if row is not None:
            person = await persons.key_of(connection, vault, member_id)
            return Shown(row.code_no, row.is_word, row.offer_id, row.gift_no, person)
        wrong = await guess_store.count(connection, GUESS, member_id, 1, now=now, since=now - WINDOW)
        if wrong == WRONG_CODES:
            await audit.write(
                connection, actor=GUESSER, action="PLAN_CODES_GUESSED", subject=f"member:{member_id}", detail={},
                at=now,
            )  # fmt: skip
    raise PlanCodeInvalid


async def preview(connection: AsyncConnection, shown: Shown, price: Price) -> tuple[int, int]:
    """What a code would take off a period at a price, minor units, and off how many; writes nothing.

    Rejects PLAN_CODE_INVALID of a gift's, PLAN_CODE_ELSEWHERE.
    """
    terms = await _terms(connection, shown, price)
    return terms.off(price.amount_minor), terms.periods


async def take(
    connection: AsyncConnection, shown: Shown, price: Price, *, holder_id: int, subscription_no: int, at: datetime
) -> None:
    """A member uses a code for a subscription that begins. Whoever is called locks the member.

    Rejects PLAN_CODE_INVALID, PLAN_CODE_ELSEWHERE, PLAN_CODE_USED.
    """
    await _terms(connection, shown, price)
    assert shown.offer_id is not None
    offer = await offer_store.offer(connection, shown.offer_id)
    if offer.is_for_new and len(await store.of_holder(connection, holder_id)) > 1:
        raise PlanCodeElsewhere("the code is for who never had a plan")
    had = await offer_store.uses_of(connection, holder_id, shown.offer_id)
    if any(one.released_at is None for one in had):
        raise PlanCodeUsed("this offer was used before")
    is_new_person = shown.person is None or await offer_store.once(
        connection, shown.person, f"plan-offer:{offer.code}", at
    )
    if not had and not is_new_person:
        raise PlanCodeUsed("this offer was used before")
    if not await offer_store.count_use(connection, shown.offer_id):
        raise PlanCodeUsed("the offer was used as often as it may be")
    values = {"holder_id": holder_id, "subscription_no": subscription_no, "offer_id": shown.offer_id,
              "code_no": None if shown.is_word else shown.code_no, "at": at}  # fmt: skip
    if not await offer_store.insert_use(connection, values):
        raise PlanCodeUsed("the code was used a moment ago")


async def release(connection: AsyncConnection, holder_id: int, subscription_no: int, *, at: datetime) -> None:
    """A subscription that nobody paid gives the code back that it was taken with."""
    await offer_store.release(connection, holder_id, subscription_no, at)


# --- What a period costs ----------------------------------------------------------------------------------------


async def cheaper(connection: AsyncConnection, holder_id: int, subscription_no: int, price: Price) -> Cheaper | None:
    """What is taken off the next period of a subscription at a price; None where nothing is."""
    row = await offer_store.in_use(connection, holder_id, subscription_no)
    if row is None or row.used_periods >= row.periods:
        return None
    terms = _of(row)
    if not terms.fits(plan_id=price.plan_id, interval=price.interval, currency=price.currency):
        return None
    off_minor = terms.off(price.amount_minor)
    return Cheaper(row.offer_id, off_minor) if off_minor else None


async def keep(
    connection: AsyncConnection, holder_id: int, subscription_no: int, starts_at: datetime, found: Cheaper,
    *, invoice_no: int | None,
) -> None:  # fmt: skip
    """Write that a period was made cheaper; one without an invoice costs nothing."""
    await offer_store.insert_period(
        connection,
        {"holder_id": holder_id, "subscription_no": subscription_no, "starts_at": starts_at,
         "offer_id": found.offer_id, "off_minor": found.off_minor, "invoice_no": invoice_no},
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheaperPeriod:
    """A period that was made cheaper: since when, by how many minor units, and its invoice, if anything was left."""

    starts_at: datetime
    off_minor: int
    invoice_no: int | None


async def last_period(connection: AsyncConnection, holder_id: int, subscription_no: int) -> CheaperPeriod | None:
    """The last period of a subscription that was made cheaper."""
    row = await offer_store.last_period(connection, holder_id, subscription_no)
    return None if row is None else CheaperPeriod(**row._mapping)


def lookup(vault: Vault, code: str) -> UUID:
    """The keyed hash under which a normal code or word of a plan is found."""
    return vault.lookup("plan code", code)


async def _terms(connection: AsyncConnection, shown: Shown, price: Price) -> Terms:
    if shown.offer_id is None:
        raise PlanCodeInvalid
    terms = _of(await offer_store.offer(connection, shown.offer_id))
    if not terms.fits(plan_id=price.plan_id, interval=price.interval, currency=price.currency):
        raise PlanCodeElsewhere("the code is for another plan, interval or currency")
    return terms


def _of(row: offer_store.AnyRow) -> Terms:
    return Terms(
        row.kind, row.periods, row.percent_bp, row.amount_minor, row.currency, row.plan_id, row.interval
    )  # fmt: skip


async def _numbered(connection: AsyncConnection, code: str) -> int:
    offer_id = await offer_store.offer_by_code(connection, code)
    if offer_id is None:
        raise PlanOfferUnknown(f"there is no offer {code}")
    return offer_id


async def _permit(connection: AsyncConnection, actor: str) -> None:
    await actors.require_role(connection, await actors.by_name(connection, actor), actors.PROMOTION_MAKER)


async def _note(
    connection: AsyncConnection, action: str, code: str, detail: dict[str, object], actor: str, at: datetime
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=f"plan-offer:{code}", detail=detail, at=at)


def _problems(draft: OfferDraft) -> list[FieldProblem]:
    checks = (
        ("code", bool(_CODE.fullmatch(draft.code)), "1 to 32 small letters, digits and -"),
        ("kind", draft.kind in ("PERCENT", "AMOUNT", "FREE"), "PERCENT, AMOUNT or FREE"),
        ("percent_bp", _is_given(draft.kind == "PERCENT", draft.percent_bp, 9_999), "of PERCENT alone, 1 to 9999"),
        ("amount_minor", _is_given(draft.kind == "AMOUNT", draft.amount_minor, None), "of AMOUNT alone, above zero"),
        ("currency", (draft.currency is not None) == (draft.kind == "AMOUNT")
         and bool(re.fullmatch("[A-Z]{3}", draft.currency or "EUR")), "of AMOUNT alone"),
        ("periods", 1 <= draft.periods <= 24, "1 to 24"),
        ("interval", draft.interval in (None, "MONTH", "QUARTER", "YEAR"), "MONTH, QUARTER or YEAR"),
        ("most_uses", draft.most_uses is None or 0 < draft.most_uses < 2**31, "above zero"),
        ("valid_until", draft.valid_until > draft.valid_from, "after the beginning"),
        ("word", draft.word is None or codes.normal_word(draft.word) is not None, "4 to 32 letters, digits and -"),
    )  # fmt: skip
    return [FieldProblem((name,), "INVALID", wanted) for name, holds, wanted in checks if not holds]


def _is_given(is_wanted: bool, value: int | None, most: int | None) -> bool:
    if not is_wanted:
        return value is None
    return value is not None and value > 0 and (most is None or value <= most)
