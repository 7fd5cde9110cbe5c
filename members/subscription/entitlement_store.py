"""Statements on grants, blocks, seats, trials and uses of benefits. Private to the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_grant(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write that a subscription gives the benefits of a plan for a time."""
    await connection.execute(
        text("""
            INSERT INTO members.entitlement_grant
              (holder_id, subscription_no, plan_id, source, invoice_no, valid_from, valid_until, at)
            VALUES (:holder_id, :subscription_no, :plan_id, :source, :invoice_no, :valid_from, :valid_until, :at)
        """),
        values,
    )


async def insert_block(
    connection: AsyncConnection, holder_id: int, subscription_no: int, reason: str, at: datetime
) -> None:
    """Write that a subscription gives nothing from an instant on."""
    await connection.execute(
        text("""
            INSERT INTO members.entitlement_block (holder_id, subscription_no, reason, valid_from, at)
            VALUES (:holder_id, :number, :reason, :at, :at)
        """),
        {"holder_id": holder_id, "number": subscription_no, "reason": reason, "at": at},
    )


async def entitled(connection: AsyncConnection, member_id: int, at: datetime) -> Sequence[Row[Any]]:
    """What a member is entitled to, by subscription: owner_id, subscription_no, plan, benefits, is_trial."""
    found = await connection.execute(
        text("SELECT * FROM members.entitled(:member_id, :at)"), {"member_id": member_id, "at": at}
    )
    return found.all()


async def seats(connection: AsyncConnection, holder_id: int, subscription_no: int) -> Sequence[Row[Any]]:
    """The seats of a subscription, in order."""
    found = await connection.execute(
        text("""
            SELECT seat_no, member_id, invited_at, accepted_at, removed_at, free_at FROM members.subscription_seat
            WHERE holder_id = :holder_id AND subscription_no = :number ORDER BY seat_no
        """),
        {"holder_id": holder_id, "number": subscription_no},
    )
    return found.all()


async def insert_seat(
    connection: AsyncConnection, holder_id: int, subscription_no: int, seat_no: int, member_id: int, at: datetime
) -> None:
    """Write that somebody is invited to a seat."""
    await connection.execute(
        text("""
            INSERT INTO members.subscription_seat (holder_id, subscription_no, seat_no, member_id, invited_at)
            VALUES (:holder_id, :number, :seat_no, :member_id, :at)
        """),
        {"holder_id": holder_id, "number": subscription_no, "seat_no": seat_no, "member_id": member_id, "at": at},
    )


async def accept_seat(connection: AsyncConnection, subscription_no: int, member_id: int, at: datetime) -> bool:
    """Somebody takes the seat that they are invited to; False where there is none."""
    done = await connection.execute(
        text("""
            UPDATE members.subscription_seat SET accepted_at = coalesce(accepted_at, :at)
            WHERE subscription_no = :number AND member_id = :member_id AND removed_at IS NULL
        """),
        {"number": subscription_no, "member_id": member_id, "at": at},
    )
    return done.rowcount == 1


async def remove_seat(
    connection: AsyncConnection, subscription_no: int, member_id: int, at: datetime, free_at: datetime
) -> bool:
    """Somebody's seat is given up; False where they have none."""
    done = await connection.execute(
        text("""
            UPDATE members.subscription_seat SET removed_at = CAST(:at AS timestamptz),
                   free_at = CASE WHEN accepted_at IS NULL THEN CAST(:at AS timestamptz)
                                  ELSE CAST(:free_at AS timestamptz) END
            WHERE subscription_no = :number AND member_id = :member_id AND removed_at IS NULL
        """),
        {"number": subscription_no, "member_id": member_id, "at": at, "free_at": free_at},
    )
    return done.rowcount == 1


async def seats_of(connection: AsyncConnection, member_id: int) -> Sequence[Row[Any]]:
    """Seats that a member has or is invited to: owner_id, subscription_no, invited_at, accepted_at."""
    found = await connection.execute(
        text("""
            SELECT holder_id AS owner_id, subscription_no, invited_at, accepted_at FROM members.subscription_seat
            WHERE member_id IN (SELECT members.selves(:member_id)) AND removed_at IS NULL ORDER BY subscription_no
        """),
        {"member_id": member_id},
    )
    return found.all()


async def trials_had(connection: AsyncConnection, member_id: int, lookups: Sequence[tuple[str, UUID]]) -> int:
    """How many trials were had by a member, whoever they were before, or under one of these."""
    found = await connection.execute(
        text("""
            SELECT count(*) FROM members.trial_use t
            WHERE t.holder_id IN (SELECT members.selves(:member_id))
               OR (t.kind, t.lookup) IN (
                 SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:lookups AS uuid[])))
        """),
        {"member_id": member_id, "kinds": [kind for kind, _ in lookups], "lookups": [one for _, one in lookups]},
    )
    return int(found.scalar_one())


async def insert_trial(
    connection: AsyncConnection, kind: str, lookup: UUID, holder_id: int, subscription_no: int, at: datetime
) -> bool:
    """Write that a trial is had; False where it was."""
    done = await connection.execute(
        text("""
            INSERT INTO members.trial_use VALUES (:kind, :lookup, :holder_id, :number, :at) ON CONFLICT DO NOTHING
        """),
        {"kind": kind, "lookup": lookup, "holder_id": holder_id, "number": subscription_no, "at": at},
    )
    return done.rowcount == 1


async def insert_use(connection: AsyncConnection, values: Mapping[str, Any]) -> Row[Any]:
    """Write that a benefit was used, once under its key: use_no, fingerprint, holder_id, is_new."""
    await connection.execute(
        text("""
            INSERT INTO members.benefit_use
              (holder_id, subscription_no, member_id, benefit, partner_id, client_id, units, is_trial, used_at, at,
               idem_key, fingerprint)
            VALUES (:holder_id, :subscription_no, :member_id, :benefit, :partner_id, :client_id, :units, :is_trial,
                    :used_at, :at, :idem_key, :fingerprint)
            ON CONFLICT (idem_key) DO NOTHING
        """),
        values,
    )
    row = await use_by_key(connection, values["idem_key"])
    assert row is not None
    return row


async def use_by_key(connection: AsyncConnection, idem_key: UUID) -> Row[Any] | None:
    """What was told under a key: use_no, fingerprint, holder_id, benefit, units, at."""
    found = await connection.execute(
        text("""
            SELECT use_no, fingerprint, holder_id, benefit, units, at FROM members.benefit_use
            WHERE idem_key = :idem_key
        """),
        {"idem_key": idem_key},
    )
    return found.one_or_none()


async def uses(connection: AsyncConnection, currency: str, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """Uses that were told of in [since, until), summed: subscription_no, partner_id, benefit, is_trial, units.

    By when they were told, not when they were: what is told late is in the month that it is told in. Those of
    subscriptions in a currency.
    """
    found = await connection.execute(
        text("""
            SELECT u.subscription_no, u.partner_id, u.benefit, u.is_trial, CAST(sum(u.units) AS bigint) AS units
            FROM members.benefit_use u JOIN members.subscription s USING (holder_id, subscription_no)
            WHERE u.at >= :since AND u.at < :until AND s.currency = :currency
            GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
        """),
        {"currency": currency, "since": since, "until": until},
    )
    return found.all()


async def covered(connection: AsyncConnection, currency: str, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """Who was entitled by a paid subscription in some part of [since, until), and in which: subscription_no, member_id,
    from, until. A seat counts for its owner's subscription, as long as it was taken."""
    found = await connection.execute(
        text("""
            SELECT g.subscription_no, w.member_id, greatest(g.valid_from, w.since, :since) AS valid_from,
                   least(g.valid_until, w.until, b.valid_from, :until) AS valid_until
            FROM members.entitlement_grant g JOIN members.subscription s USING (holder_id, subscription_no)
            CROSS JOIN LATERAL (
              SELECT g.holder_id AS member_id, '-infinity'::timestamptz AS since, 'infinity'::timestamptz AS until
              UNION ALL
              SELECT t.member_id, t.accepted_at, coalesce(t.removed_at, 'infinity') FROM members.subscription_seat t
              WHERE t.holder_id = g.holder_id AND t.subscription_no = g.subscription_no AND t.accepted_at IS NOT NULL
            ) w
            LEFT JOIN LATERAL (
              SELECT min(x.valid_from) AS valid_from FROM members.entitlement_block x
              WHERE x.holder_id = g.holder_id AND x.subscription_no = g.subscription_no
            ) b ON true
            WHERE g.source IN ('PAID', 'GIFT') AND s.currency = :currency AND g.valid_from < :until
              AND g.valid_until > :since
              AND greatest(g.valid_from, w.since, :since) < least(g.valid_until, w.until, b.valid_from, :until)
            ORDER BY 1, 2, 3
        """),
        {"currency": currency, "since": since, "until": until},
    )
    return found.all()
