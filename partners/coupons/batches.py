"""Batches: coupons of one kind, made together, and a stop for when something is wrong with them.

A unique code is one coupon; a word (`SUMMER-26`) is one coupon that many use, counted under its limits. What a coupon
brings is not said here: a promotion asks for a batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault
from partners.coupons import codes, store

UNIQUE = "UNIQUE"
GENERIC = "GENERIC"
NOBODY = "NOBODY"
MEMBER = "MEMBER"
MOST_AT_ONCE = 100_000

_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_CHANNEL = re.compile(r"[A-Z][A-Z_]{0,31}")


class CouponBatchInvalid(Rejection):
    """The batch cannot be; `problems` says why."""

    code = "COUPON_BATCH_INVALID"
    retryable = False


class CouponBatchExists(Rejection):
    """There is a batch of this code, or the word is a coupon already."""

    code = "COUPON_BATCH_EXISTS"
    retryable = False


class CouponBatchUnknown(Rejection):
    """There is no batch of this code."""

    code = "COUPON_BATCH_UNKNOWN"
    retryable = True


@dataclass(frozen=True, slots=True)
class BatchDraft:
    """A batch as somebody defines it.

    partner_id is whose it is (0 the operator's), honoured_by who takes it (nobody named: all partners). A coupon is
    good until the batch ends, or lasts_days from its issue if that is earlier. At one purchase at most per_receipt
    are taken, and `needed` of them together are one benefit. total_limit and member_limit bound how often it is used.
    channel says where coupons went. word is the code of a generic one.
    """

    code: str
    valid_from: datetime
    expires_at: datetime
    kind: str = UNIQUE
    partner_id: int = 0
    bound_to: str = NOBODY
    honoured_by: Sequence[int] = ()
    lasts_days: int | None = None
    per_receipt: int = 1
    needed: int = 1
    total_limit: int | None = None
    member_limit: int | None = None
    channel: str | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as it is."""

    batch_id: int
    code: str
    kind: str
    partner_id: int
    bound_to: str
    honoured_by: tuple[int, ...]
    valid_from: datetime
    expires_at: datetime
    lasts_days: int | None
    per_receipt: int
    needed: int
    stopped_at: datetime | None

    def end_of_one_issued(self, at: datetime) -> datetime:
        """Until when a coupon is good that is issued at an instant."""
        if self.lasts_days is None:
            return self.expires_at
        return min(self.expires_at, at + timedelta(days=self.lasts_days))


async def add(connection: AsyncConnection, vault: Vault, draft: BatchDraft, *, actor: int, at: datetime) -> int:
    """Add a batch; returns its number. A generic one has its coupon at once, of a unique one they are drawn.

    Rejects NOT_PERMITTED, COUPON_BATCH_INVALID, COUPON_BATCH_EXISTS.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    if found := list(_problems(draft)):
        raise CouponBatchInvalid("this batch cannot be", problems=found)
    batch_id = await store.insert_batch(connection, draft)
    if batch_id is None:
        raise CouponBatchExists(f"there is a batch {draft.code}")
    if draft.kind == GENERIC:
        word = codes.normal_word(draft.word or "")
        assert word is not None
        tails = [word[-codes.TAIL :]]
        made = await store.insert_coupons(
            connection, batch_id, [codes.lookup(vault, word)], tails, draft.expires_at, state=store.ISSUED
        )
        if not made:
            raise CouponBatchExists("the word is a coupon already")
    await _note(connection, "COUPON_BATCH_ADDED", draft.code, {"kind": draft.kind}, actor, at)
    return batch_id


async def draw(
    connection: AsyncConnection, vault: Vault, code: str, count: int, *, actor: int, at: datetime, issued: bool = True
) -> list[str]:
    """Draw codes of a batch, told here and never again: nothing but their keyed hashes is stored.

    Those that are not issued at once are good for nothing until `issue`. Rejects NOT_PERMITTED, COUPON_BATCH_UNKNOWN,
    COUPON_BATCH_INVALID.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    batch = await of_code(connection, code)
    if batch.kind != UNIQUE or not 1 <= count <= MOST_AT_ONCE:
        message = f"1 to {MOST_AT_ONCE} codes of a batch of unique ones"
        raise CouponBatchInvalid(message, problems=[FieldProblem(("count",), "OUT_OF_RANGE", message)])
    state, expires_at = (store.ISSUED, batch.end_of_one_issued(at)) if issued else (store.GENERATED, batch.expires_at)
    drawn: list[str] = []
    while len(drawn) < count:
        fresh = [codes.draw() for _ in range(count - len(drawn))]
        found = {codes.lookup(vault, one): one for one in fresh}
        tails = [one[-codes.TAIL :] for one in found.values()]
        made = await store.insert_coupons(connection, batch.batch_id, list(found), tails, expires_at, state=state)
        drawn += [found[lookup] for lookup in made]
    await _note(connection, "COUPONS_DRAWN", code, {"count": count, "issued": issued}, actor, at)
    return drawn


async def issue(connection: AsyncConnection, code: str, *, actor: int, at: datetime) -> int:
    """Issue the codes of a batch that were drawn and not issued; how many. Their days count from now. Where there are
    none, nothing is written.

    Rejects NOT_PERMITTED, COUPON_BATCH_UNKNOWN.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    batch = await of_code(connection, code)
    done = await store.issue(connection, batch.batch_id, batch.end_of_one_issued(at))
    if done:
        await _note(connection, "COUPONS_ISSUED", code, {"count": done}, actor, at)
    return done


async def stop(connection: AsyncConnection, code: str, *, actor: int, at: datetime) -> None:
    """Let no coupon of a batch be used from now on. What was redeemed stays redeemed.

    Rejects NOT_PERMITTED, COUPON_BATCH_UNKNOWN.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    batch = await of_code(connection, code)
    await store.stop(connection, batch.batch_id, at)
    await _note(connection, "COUPON_BATCH_STOPPED", code, {}, actor, at)


async def void(connection: AsyncConnection, vault: Vault, shown: str, *, actor: int, at: datetime) -> str | None:
    """Make the coupon of a code, or of a word, good for nothing; the code of its batch. None where nothing is written:
    there is no such coupon, or it is used or void already. The trail names its number and never its code.

    Rejects NOT_PERMITTED.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    normal = codes.normal(shown) or codes.normal_word(shown)
    done = await store.void(connection, codes.lookup(vault, normal)) if normal else None
    if done is None:
        return None
    await _note(connection, "COUPON_VOIDED", done.batch_code, {"coupon": done.coupon_id}, actor, at)
    return str(done.batch_code)


async def of_code(connection: AsyncConnection, code: str) -> Batch:
    """A batch by its code. Rejects COUPON_BATCH_UNKNOWN."""
    rows = await store.batches(connection, [code])
    if not rows:
        raise CouponBatchUnknown(f"there is no batch {code}")
    return batch_of(rows[0])


async def of_codes(connection: AsyncConnection, wanted: Sequence[str]) -> dict[str, Batch]:
    """Batches by their codes, those that there are."""
    return {row.code: batch_of(row) for row in await store.batches(connection, wanted)}


async def figures(connection: AsyncConnection, code: str) -> dict[str, int]:
    """How many coupons of a batch are in which state, and how often it was redeemed. Rejects COUPON_BATCH_UNKNOWN."""
    batch = await of_code(connection, code)
    return await store.figures(connection, batch.batch_id)


def batch_of(row: Row[tuple[object, ...]]) -> Batch:
    """A batch of its stored row."""
    return Batch(
        batch_id=row.batch_id, code=row.code, kind=row.kind, partner_id=row.partner_id, bound_to=row.bound_to,
        honoured_by=tuple(row.honoured_by), valid_from=row.valid_from, expires_at=row.expires_at,
        lasts_days=row.lasts_days, per_receipt=row.per_receipt, needed=row.needed, stopped_at=row.stopped_at,
    )  # fmt: skip


def _problems(draft: BatchDraft) -> Iterator[FieldProblem]:
    is_generic = draft.kind == GENERIC
    checks = (
        ("code", bool(_CODE.fullmatch(draft.code)), "1 to 32 small letters, digits and hyphens"),
        ("kind", draft.kind in (UNIQUE, GENERIC), f"{UNIQUE} or {GENERIC}"),
        ("boundTo", draft.bound_to in (NOBODY, MEMBER), f"{NOBODY} or {MEMBER}"),
        ("expiresAt", draft.expires_at > draft.valid_from, "after the beginning"),
        ("lastsDays", draft.lasts_days is None or 1 <= draft.lasts_days <= 3660, "1 to 3660 days"),
        ("perReceipt", 1 <= draft.per_receipt <= 100, "1 to 100"),
        ("needed", 1 <= draft.needed <= draft.per_receipt, "at least one, at most what one purchase takes"),
        ("totalLimit", draft.total_limit is None or draft.total_limit > 0, "above zero"),
        ("memberLimit", draft.member_limit is None or draft.member_limit > 0, "above zero"),
        ("channel", draft.channel is None or bool(_CHANNEL.fullmatch(draft.channel)), "capitals and underscores"),
        ("word", is_generic == (draft.word is not None), "a generic batch has a word, no other has"),
    )
    yield from (FieldProblem((name,), "INVALID", message) for name, is_right, message in checks if not is_right)
    if draft.word is not None and codes.normal_word(draft.word) is None:
        yield FieldProblem(("word",), "INVALID", "4 to 32 letters, digits and hyphens")
    if is_generic and (draft.bound_to != NOBODY or draft.per_receipt != 1 or draft.lasts_days is not None):
        yield FieldProblem(
            ("kind",), "INVALID", "a word is nobody's own, lasts as its batch, and counts once a purchase"
        )


async def _note(
    connection: AsyncConnection, action: str, code: str, detail: dict[str, object], actor: int, at: datetime
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=f"coupons:{code}", detail=detail, at=at)
