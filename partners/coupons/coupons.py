"""Coupons: looked at, reserved, redeemed, let go, granted.

Whatever is wrong with a code, a till hears one sentence: unknown, another's, used, expired. What exactly it was stands
in what the database answered, for staff. A purchase redeems in its own database call (`partners.use_coupons`); the
functions here are for what stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault, opaque_id, read_opaque_id
from partners.coupons import codes, guesses, store
from partners.coupons.batches import Batch
from partners.coupons.guesses import Asking

MOST_SHOWN = 20
REF = "cpn"
RESERVED_FOR = timedelta(minutes=15)
NO_GOOD, TOO_MANY, TOO_FEW, PROOF_NEEDED, USED_UP = 40, 41, 42, 43, 44
LIMIT_LOST = "TS003"
"""What the database says where another took the last of a batch in this very moment: the call wrote nothing."""


class CouponInvalid(Rejection):
    """The coupon is no good: unknown, another's, used or expired; it is not said which."""

    code = "COUPON_INVALID"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the coupon is no good here and now")


class CouponsTooMany(Rejection):
    """More coupons of a batch than one purchase takes, or one of them twice."""

    code = "COUPONS_TOO_MANY"
    retryable = False


class CouponsTooFew(Rejection):
    """Fewer coupons of a batch than one benefit takes."""

    code = "COUPONS_TOO_FEW"
    retryable = False


class CouponProofRequired(Rejection):
    """Codes of the batch are being guessed: for a while one is taken only with a proof of the member."""

    code = "COUPON_PROOF_REQUIRED"
    retryable = True


class CouponExhausted(Rejection):
    """The coupon has been used as often as it may be, by everybody or by this member."""

    code = "COUPON_EXHAUSTED"
    retryable = True


_SENTENCES: dict[int, tuple[type[Rejection], str]] = {
    TOO_MANY: (CouponsTooMany, "more coupons of a kind than one purchase takes"),
    TOO_FEW: (CouponsTooFew, "more coupons of the kind are needed together"),
    PROOF_NEEDED: (CouponProofRequired, "the coupon takes a proof of the member at this moment"),
    USED_UP: (CouponExhausted, "the coupon has been used as often as it may be"),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A coupon as a till shows it, looked at and good: the keyed hash of its code, its number, and its batch's code."""

    lookup: UUID
    coupon_id: int
    batch_id: int
    batch: str


@dataclass(frozen=True, slots=True)
class Held:
    """A coupon that lies with a member: what is left of its code, its batch, until when, and who takes it (nobody
    named: all partners)."""

    coupon_id: int
    tail: str
    batch: str
    expires_at: datetime
    honoured_by: tuple[int, ...]
    per_receipt: int
    needed: int


@dataclass(frozen=True, slots=True)
class Granted:
    """Coupons to be granted: their codes, told once, and what is stored of them."""

    batch_ids: tuple[int, ...]
    lookups: tuple[UUID, ...]
    tails: tuple[str, ...]
    ends: tuple[datetime, ...]
    codes: tuple[str, ...] = field(repr=False)


def rejection(status: int) -> Rejection:
    """The rejection that a status of `partners.use_coupons` stands for."""
    if status == NO_GOOD:
        return CouponInvalid()
    kind, sentence = _SENTENCES[status]
    return kind(sentence)


async def look(
    database: Database,
    vault: Vault,
    shown: Sequence[str],
    *,
    asking: Asking,
    partner_id: int,
    at: datetime,
    now: datetime,
    by: UUID | None = None,
) -> list[Shown]:
    """The coupons behind codes and words, or behind references (`ref_for`) to coupons that lie with the member, in
    order.

    by is the reservation that they are under, now the wall's instant. Rejects COUPONS_LIMITED, COUPON_INVALID and
    COUPONS_TOO_MANY; codes that are no good are counted, whatever becomes of the caller's transaction, but not those
    that a till shows again with the receipt that used them.
    """
    if not shown:
        return []
    if len(shown) > MOST_SHOWN:
        raise CouponsTooMany(f"at most {MOST_SHOWN} coupons at one purchase")
    async with database.reading() as connection:
        await guesses.check(connection, asking, now=now)
        lookups = await _lookups(connection, vault, shown, partner_id)
        known = [lookup for lookup in lookups if lookup is not None]
        rows = await store.judged(
            connection, known, holder_id=asking.member_id, partner_id=partner_id, by=by, at=at
        )  # fmt: skip
    bad = [row for row in rows if row.reason is not None]
    guessed = [row for row in bad if not row.is_own]
    if wrong := len(guessed) + lookups.count(None):
        async with database.transaction() as connection:
            batch_ids = [row.batch_id for row in guessed if row.batch_id is not None]
            await guesses.count_wrong(connection, asking, wrong, batch_ids, now=now)
    if wrong or bad:
        raise CouponInvalid
    return [Shown(known[row.ord - 1], row.coupon_id, row.batch_id, row.batch_code) for row in rows]


async def weigh(
    connection: AsyncConnection, lookups: Sequence[UUID], *, holder_id: int, by: UUID, at: datetime, now: datetime
) -> None:
    """Whether coupons that are good would be redeemed at this moment for a receipt, given by its claim, without a
    proof; writes nothing.

    Rejects COUPONS_TOO_MANY, COUPONS_TOO_FEW, COUPON_PROOF_REQUIRED, COUPON_EXHAUSTED, as `redeem` does.
    """
    given = {"lookups": list(lookups), "holder_id": holder_id, "by": by, "proved": False, "wall_at": now, "at": at}
    if status := await store.weigh(connection, given):
        raise rejection(status)


async def reserve(
    connection: AsyncConnection,
    lookups: Sequence[UUID],
    *,
    holder_id: int,
    partner_id: int,
    by: UUID,
    at: datetime,
    now: datetime,
    lasts: timedelta = RESERVED_FOR,
    proved: bool = False,
) -> None:
    """Keep coupons for a basket, all or none, counted from now; a second time for the same basket it begins anew.

    Rejects COUPON_INVALID, COUPONS_TOO_MANY, COUPONS_TOO_FEW, COUPON_PROOF_REQUIRED, COUPON_EXHAUSTED.
    """
    given = {"lookups": list(lookups), "holder_id": holder_id, "partner_id": partner_id, "by": by, "claim": None}
    await _use(connection, given | {"until": at + lasts, "proved": proved, "wall_at": now, "at": at})


async def redeem(
    connection: AsyncConnection,
    lookups: Sequence[UUID],
    *,
    holder_id: int,
    partner_id: int,
    claim: UUID,
    at: datetime,
    now: datetime,
    by: UUID | None = None,
    proved: bool = False,
) -> None:
    """Redeem coupons for a receipt, given by its claim, all or none; by is the reservation that they are under.

    Rejects what `reserve` rejects.
    """
    given = {"lookups": list(lookups), "holder_id": holder_id, "partner_id": partner_id, "by": by, "claim": claim}
    await _use(connection, given | {"until": None, "proved": proved, "wall_at": now, "at": at})


async def lookups(connection: AsyncConnection, vault: Vault, shown: Sequence[str], partner_id: int) -> list[UUID]:
    """The keyed hashes of codes, words and references, those that can be such; nobody looks whether they are any.

    Rejects COUPONS_TOO_MANY.
    """
    if len(shown) > MOST_SHOWN:
        raise CouponsTooMany(f"at most {MOST_SHOWN} coupons at one purchase")
    return [one for one in await _lookups(connection, vault, shown, partner_id) if one is not None]


async def release(connection: AsyncConnection, lookups: Sequence[UUID], *, by: UUID) -> int:
    """Let the coupons of a basket go; how many were reserved for it."""
    return await store.release(connection, by=by, claim=None, lookups=lookups)


async def give_back(connection: AsyncConnection, claim: UUID) -> int:
    """Give back what a purchase had redeemed that was taken back whole; how many coupons. One whose time is over stays
    over."""
    return await store.release(connection, by=None, claim=claim, lookups=())


def draw(vault: Vault, wanted: Sequence[Batch], *, at: datetime) -> Granted:
    """New coupons, one of each batch given, to be granted at an instant: by `grant`, or inside a purchase's call by
    `partners.grant_coupons`."""
    drawn = [codes.draw() for _ in wanted]
    return Granted(
        batch_ids=tuple(batch.batch_id for batch in wanted),
        lookups=tuple(codes.lookup(vault, code) for code in drawn),
        tails=tuple(code[-codes.TAIL :] for code in drawn),
        ends=tuple(batch.end_of_one_issued(at) for batch in wanted),
        codes=tuple(drawn),
    )


async def grant(connection: AsyncConnection, granted: Granted, *, holder_id: int, cause: UUID) -> int:
    """Grant coupons to a member for a cause, once; how many are new. The same cause again grants nothing."""
    return await store.grant(
        connection, holder_id, cause, granted.batch_ids, granted.lookups, granted.tails, granted.ends
    )


async def take_granted(connection: AsyncConnection, cause: UUID) -> int:
    """Take back what was granted for a cause that is no more, as far as it is unused; how many."""
    return await store.void_granted(connection, cause)


async def held(connection: AsyncConnection, holder_id: int, *, at: datetime) -> list[Held]:
    """The good coupons that lie with a member, those that end first first."""
    return [
        Held(
            row.coupon_id, row.tail, row.batch_code, row.expires_at, tuple(row.honoured_by), row.per_receipt, row.needed
        )
        for row in await store.held(connection, holder_id, at)
    ]  # fmt: skip


def ref_for(vault: Vault, partner_id: int, coupon_id: int) -> str:
    """What a partner may show in place of the code of a coupon that lies with a member: an id of that partner's."""
    clear = partner_id.to_bytes(4, "big") + coupon_id.to_bytes(8, "big")
    return opaque_id(_ref_key(vault), REF, clear)


async def _lookups(
    connection: AsyncConnection, vault: Vault, shown: Sequence[str], partner_id: int
) -> list[UUID | None]:
    numbers = {one: number for one in shown if (number := _number(vault, one, partner_id)) is not None}
    by_number = await store.lookups_of(connection, list(numbers.values())) if numbers else {}
    return [by_number.get(numbers[one]) if one in numbers else _lookup(vault, one) for one in shown]


def _number(vault: Vault, text: str, partner_id: int) -> int | None:
    raw = read_opaque_id(_ref_key(vault), REF, text)
    if raw is None or len(raw) != 12 or int.from_bytes(raw[:4], "big") != partner_id:
        return None
    return int.from_bytes(raw[4:], "big")


def _ref_key(vault: Vault) -> bytes:
    return vault.derive("coupon ref 1") + vault.derive("coupon ref 2")


def _lookup(vault: Vault, text: str) -> UUID | None:
    code = codes.normal(text) or codes.normal_word(text)
    return codes.lookup(vault, code) if code else None


async def _use(connection: AsyncConnection, given: dict[str, object]) -> None:
    try:
        row = await store.use(connection, given)
    except DBAPIError as error:
        if _is_lost(error):
            raise rejection(USED_UP) from error
        raise
    if row.status:
        raise rejection(row.status)


def _is_lost(error: DBAPIError) -> bool:
    cause = error.orig.__cause__ if error.orig else None
    return isinstance(cause, asyncpg.PostgresError) and cause.sqlstate == LIMIT_LOST
