"""Statements on coupons. Private to the partners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

if TYPE_CHECKING:
    from partners.coupons.batches import BatchDraft

GENERATED, ISSUED, RESERVED, REDEEMED, VOID = range(5)
STATES = ("GENERATED", "ISSUED", "RESERVED", "REDEEMED", "VOID")


async def insert_batch(connection: AsyncConnection, draft: BatchDraft) -> int | None:
    """Store a batch; its number, None where the code is taken."""
    done = await connection.execute(
        text("""
            INSERT INTO partners.coupon_batch (partner_id, code, kind, bound_to, honoured_by, valid_from, expires_at,
                                               lasts_days, per_receipt, needed, total_limit, member_limit, channel)
            VALUES (:partner_id, :code, :kind, :bound_to, CAST(:honoured_by AS int[]), :valid_from, :expires_at,
                    :lasts_days, :per_receipt, :needed, :total_limit, :member_limit, :channel)
            ON CONFLICT (code) DO NOTHING RETURNING batch_id
        """),
        {
            "partner_id": draft.partner_id,
            "code": draft.code,
            "kind": draft.kind,
            "bound_to": draft.bound_to,
            "honoured_by": sorted(draft.honoured_by),
            "valid_from": draft.valid_from,
            "expires_at": draft.expires_at,
            "lasts_days": draft.lasts_days,
            "per_receipt": draft.per_receipt,
            "needed": draft.needed,
            "total_limit": draft.total_limit,
            "member_limit": draft.member_limit,
            "channel": draft.channel,
        },
    )
    return done.scalar_one_or_none()


async def insert_coupons(
    connection: AsyncConnection,
    batch_id: int,
    lookups: Sequence[UUID],
    tails: Sequence[str],
    expires_at: datetime,
    *,
    state: int,
) -> list[UUID]:
    """Store coupons; the lookups of those that are stored. One whose code there is already is left out."""
    done = await connection.execute(
        text("""
            INSERT INTO partners.coupon (code_lookup, expires_at, batch_id, state, tail)
            SELECT t.lookup, :expires_at, :batch_id, :state, t.tail
            FROM unnest(CAST(:lookups AS uuid[]), CAST(:tails AS text[])) AS t(lookup, tail)
            ON CONFLICT (code_lookup) DO NOTHING RETURNING code_lookup
        """),
        {
            "batch_id": batch_id,
            "lookups": list(lookups),
            "tails": list(tails),
            "expires_at": expires_at,
            "state": state,
        },
    )
    return list(done.scalars())


async def issue(connection: AsyncConnection, batch_id: int, expires_at: datetime) -> int:
    """Issue what was generated; how many."""
    done = await connection.execute(
        text("""
            UPDATE partners.coupon SET state = 1, expires_at = :expires_at WHERE batch_id = :batch_id AND state = 0
        """),
        {"batch_id": batch_id, "expires_at": expires_at},
    )
    return done.rowcount


async def stop(connection: AsyncConnection, batch_id: int, at: datetime) -> None:
    """Stop a batch; one that was stopped keeps its instant."""
    await connection.execute(
        text("UPDATE partners.coupon_batch SET stopped_at = :at WHERE batch_id = :batch_id AND stopped_at IS NULL"),
        {"batch_id": batch_id, "at": at},
    )


async def void(connection: AsyncConnection, lookup: UUID) -> Row[Any] | None:
    """Make a coupon void that nobody has used: coupon_id, batch_code; None where there is no such coupon."""
    done = await connection.execute(
        text("""
            UPDATE partners.coupon c SET state = 4, reserved_by = NULL, reserved_until = NULL
            FROM partners.coupon_batch b
            WHERE c.code_lookup = :lookup AND c.state IN (0, 1, 2) AND b.batch_id = c.batch_id
            RETURNING c.coupon_id, b.code AS batch_code
        """),
        {"lookup": lookup},
    )
    return done.one_or_none()


async def batches(connection: AsyncConnection, codes: Sequence[str]) -> Sequence[Row[Any]]:
    """Batches by their codes."""
    found = await connection.execute(
        text("SELECT * FROM partners.coupon_batch WHERE code = ANY (CAST(:codes AS text[]))"), {"codes": list(codes)}
    )
    return found.all()


async def figures(connection: AsyncConnection, batch_id: int) -> dict[str, int]:
    """How many coupons of a batch are in each state; USES, how often it was redeemed."""
    found = await connection.execute(
        text("SELECT state, count(*) FROM partners.coupon WHERE batch_id = :batch_id GROUP BY state"),
        {"batch_id": batch_id},
    )
    counted = dict.fromkeys(STATES, 0) | {STATES[state]: number for state, number in found.all()}
    uses = await connection.execute(
        text("SELECT count(*) FROM partners.coupon_use WHERE batch_id = :batch_id AND state = 3"),
        {"batch_id": batch_id},
    )
    return counted | {"USES": uses.scalar_one()}


async def judged(
    connection: AsyncConnection,
    lookups: Sequence[UUID],
    *,
    holder_id: int,
    partner_id: int,
    by: UUID | None,
    at: datetime,
) -> Sequence[Row[Any]]:
    """What is known of codes, in order: ord, reason (None: good), coupon_id, batch_id, batch_code, and is_own: it was
    redeemed for the very receipt that shows it again."""
    found = await connection.execute(
        text("""
            SELECT j.ord, j.reason, j.coupon_id, j.batch_id, b.code AS batch_code,
                   EXISTS (SELECT FROM partners.coupon_use u
                           WHERE u.coupon_id = j.coupon_id AND u.used_by = :by AND u.state = 3) AS is_own
            FROM partners.judge_coupons(CAST(:lookups AS uuid[]), :holder_id, :partner_id, :by, :at) j
            LEFT JOIN partners.coupon_batch b USING (batch_id) ORDER BY j.ord
        """),
        {"lookups": list(lookups), "holder_id": holder_id, "partner_id": partner_id, "by": by, "at": at},
    )
    return found.all()


async def weigh(connection: AsyncConnection, given: Mapping[str, Any]) -> int:
    """What stands in the way of coupons that are good, as a status of `partners.use_coupons`; 0 where nothing does."""
    found = await connection.execute(
        text("""
            SELECT status FROM partners.weigh_coupons(CAST(:lookups AS uuid[]), :holder_id, :by, :proved, :wall_at, :at)
        """),
        dict(given),
    )
    return int(found.scalar_one())


async def use(connection: AsyncConnection, given: Mapping[str, Any]) -> Row[Any]:
    """Reserve or redeem: status, reason, batch_id."""
    found = await connection.execute(
        text("""
            SELECT status, reason, batch_id FROM partners.use_coupons(
              CAST(:lookups AS uuid[]), :holder_id, :partner_id, :by, :claim, :until, :proved, :wall_at, :at)
        """),
        dict(given),
    )
    return found.one()


async def release(connection: AsyncConnection, *, by: UUID | None, claim: UUID | None, lookups: Sequence[UUID]) -> int:
    """Let a reservation go, or give back what a purchase had used; how many coupons."""
    found = await connection.execute(
        text("SELECT partners.release_coupons(:by, :claim, CAST(:lookups AS uuid[]))"),
        {"by": by, "claim": claim, "lookups": list(lookups)},
    )
    return int(found.scalar_one())


async def grant(
    connection: AsyncConnection,
    holder_id: int,
    cause: UUID,
    batch_ids: Sequence[int],
    lookups: Sequence[UUID],
    tails: Sequence[str],
    ends: Sequence[datetime],
) -> int:
    """Grant coupons for a cause; how many are new."""
    found = await connection.execute(
        text("""
            SELECT partners.grant_coupons(:holder_id, :cause, CAST(:batch_ids AS int[]), CAST(:lookups AS uuid[]),
                                          CAST(:tails AS text[]), CAST(:ends AS timestamptz[]))
        """),
        {
            "holder_id": holder_id,
            "cause": cause,
            "batch_ids": list(batch_ids),
            "lookups": list(lookups),
            "tails": list(tails),
            "ends": list(ends),
        },
    )
    return int(found.scalar_one())


async def void_granted(connection: AsyncConnection, cause: UUID) -> int:
    """Take back unused coupons that were granted for a cause; how many."""
    found = await connection.execute(text("SELECT partners.void_granted_coupons(:cause)"), {"cause": cause})
    return int(found.scalar_one())


async def held(connection: AsyncConnection, holder_id: int, at: datetime) -> Sequence[Row[Any]]:
    """Coupons that lie with a member, or one merged into them, and are good, those that end first first: coupon_id,
    tail, expires_at, batch_code, honoured_by, per_receipt, needed."""
    found = await connection.execute(
        text("""
            SELECT c.coupon_id, c.tail, least(c.expires_at, b.expires_at) AS expires_at, b.code AS batch_code,
                   b.honoured_by, b.per_receipt, b.needed
            FROM partners.coupon c JOIN partners.coupon_batch b USING (batch_id)
            WHERE c.holder_id IN (SELECT members.selves(:holder_id))
              AND (c.state = 1 OR c.state = 2 AND c.reserved_until <= :at)
              AND b.valid_from <= :at AND least(c.expires_at, b.expires_at) > :at
              AND (b.stopped_at IS NULL OR b.stopped_at > :at)
            ORDER BY 3, c.coupon_id
        """),
        {"holder_id": holder_id, "at": at},
    )
    return found.all()


async def lookups_of(connection: AsyncConnection, coupon_ids: Sequence[int]) -> dict[int, UUID]:
    """The keyed hashes of coupons by their numbers."""
    found = await connection.execute(
        text("SELECT coupon_id, code_lookup FROM partners.coupon WHERE coupon_id = ANY (CAST(:ids AS bigint[]))"),
        {"ids": list(coupon_ids)},
    )
    # Plain UUIDs: the driver's own do not go into the JSON that a purchase's call takes.
    return {row.coupon_id: UUID(int=row.code_lookup.int) for row in found}


# --- Guesses ------------------------------------------------------------------------------------------------


async def count_wrong(
    connection: AsyncConnection, kind: str, subject: int, wrong: int, *, now: datetime, since: datetime
) -> int:
    """Count wrong codes; how many there are in the window, which begins anew where it began before `since`."""
    counted = await connection.execute(
        text("""
            INSERT INTO partners.coupon_guess AS g (kind, subject, began_at, wrong)
            VALUES (:kind, :subject, :now, :wrong)
            ON CONFLICT (kind, subject) DO UPDATE
            SET wrong = CASE WHEN g.began_at <= :since THEN 0 ELSE g.wrong END + EXCLUDED.wrong,
                began_at = CASE WHEN g.began_at <= :since THEN EXCLUDED.began_at ELSE g.began_at END
            RETURNING wrong
        """),
        {"kind": kind, "subject": subject, "wrong": wrong, "now": now, "since": since},
    )
    return int(counted.scalar_one())


async def wrong_tries(
    connection: AsyncConnection, kinds: Sequence[str], subjects: Sequence[int], since: datetime
) -> dict[str, int]:
    """How many codes were wrong in windows that began after an instant, by kind."""
    found = await connection.execute(
        text("""
            SELECT g.kind, g.wrong
            FROM unnest(CAST(:kinds AS text[]), CAST(:subjects AS bigint[])) AS t(kind, subject)
            JOIN partners.coupon_guess g USING (kind, subject) WHERE g.began_at > :since
        """),
        {"kinds": list(kinds), "subjects": list(subjects), "since": since},
    )
    return {row.kind: row.wrong for row in found}
