"""Statements on subscriptions: what happened to them, and what time makes due. Private to the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription.contract import Event

_SUBSCRIPTION = "SELECT holder_id, subscription_no, zone, provider, currency, at, is_gift FROM members.subscription"
_DUE = "SELECT due_at, kind, holder_id, subscription_no, about FROM members.subscription_due"
_ORDER = "ORDER BY due_at, kind, holder_id, subscription_no, about"


async def insert_subscription(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """Write a subscription; its number."""
    found = await connection.execute(
        text("""
            INSERT INTO members.subscription (holder_id, zone, provider, currency, at, is_gift)
            VALUES (:holder_id, :zone, :provider, :currency, :at, :is_gift) RETURNING subscription_no
        """),
        {"is_gift": False, **values},
    )
    return int(found.scalar_one())


async def lock(connection: AsyncConnection, holder_id: int, subscription_no: int) -> Row[Any] | None:
    """A subscription, which nobody else changes until the transaction ends."""
    found = await connection.execute(
        text(f"{_SUBSCRIPTION} WHERE holder_id = :holder_id AND subscription_no = :number FOR NO KEY UPDATE"),
        {"holder_id": holder_id, "number": subscription_no},
    )
    return found.one_or_none()


async def subscription(connection: AsyncConnection, holder_id: int, subscription_no: int) -> Row[Any] | None:
    """A subscription."""
    found = await connection.execute(
        text(f"{_SUBSCRIPTION} WHERE holder_id = :holder_id AND subscription_no = :number"),
        {"holder_id": holder_id, "number": subscription_no},
    )
    return found.one_or_none()


async def of_holder(connection: AsyncConnection, holder_id: int) -> Sequence[Row[Any]]:
    """A member's subscriptions, those of whom they are now among them, the latest first."""
    found = await connection.execute(
        text(
            f"{_SUBSCRIPTION} WHERE holder_id IN (SELECT members.selves(:holder_id)) ORDER BY at DESC, "
            "subscription_no DESC"
        ),
        {"holder_id": holder_id},
    )
    return found.all()


async def append_event(connection: AsyncConnection, holder_id: int, subscription_no: int, event: Event) -> None:
    """Append to what happened to a subscription that is locked."""
    await connection.execute(
        text("""
            WITH counted AS (
              UPDATE members.subscription SET version = version + 1
              WHERE holder_id = :holder_id AND subscription_no = :number RETURNING version
            )
            INSERT INTO members.subscription_event
              (holder_id, subscription_no, seq, kind, at, price_no, interval, until, reason)
            SELECT :holder_id, :number, version, :kind, :at, :price_no, :interval, :until, :reason FROM counted
        """),
        {
            "holder_id": holder_id, "number": subscription_no, "kind": event.kind, "at": event.at,
            "price_no": event.price_no, "interval": event.interval, "until": event.until, "reason": event.reason,
        },
    )  # fmt: skip


async def events(connection: AsyncConnection, holder_id: int, subscription_no: int) -> list[Event]:
    """What happened to a subscription, in order."""
    found = await connection.execute(
        text("""
            SELECT kind, at, price_no, interval, until, reason FROM members.subscription_event
            WHERE holder_id = :holder_id AND subscription_no = :number ORDER BY seq
        """),
        {"holder_id": holder_id, "number": subscription_no},
    )
    return [Event(**row._mapping) for row in found]


# --- What time makes due --------------------------------------------------------------------------------------


async def put_due(
    connection: AsyncConnection, holder_id: int, subscription_no: int, kind: str, about: int, due_at: datetime
) -> None:
    """Something of a subscription is due at an instant; what was there of its kind moves."""
    await connection.execute(
        text("""
            INSERT INTO members.subscription_due (holder_id, subscription_no, kind, about, due_at)
            VALUES (:holder_id, :number, :kind, :about, :due_at)
            ON CONFLICT (holder_id, subscription_no, kind, about) DO UPDATE SET due_at = EXCLUDED.due_at
        """),
        {"holder_id": holder_id, "number": subscription_no, "kind": kind, "about": about, "due_at": due_at},
    )


async def drop_due(
    connection: AsyncConnection, holder_id: int, subscription_no: int, kinds: Sequence[str], about: int | None = None
) -> None:
    """What is due of these kinds is not any more; about None: whatever it is about."""
    await connection.execute(
        text("""
            DELETE FROM members.subscription_due WHERE holder_id = :holder_id AND subscription_no = :number
              AND kind = ANY (:kinds) AND about = coalesce(CAST(:about AS bigint), about)
        """),
        {"holder_id": holder_id, "number": subscription_no, "kinds": list(kinds), "about": about},
    )


async def next_due(connection: AsyncConnection, until: datetime) -> Row[Any] | None:
    """The first of all that is due by an instant. Nothing is locked: whoever does it locks the subscription and looks
    again, as everybody who changes one does."""
    found = await connection.execute(text(f"{_DUE} WHERE due_at <= :until {_ORDER} LIMIT 1"), {"until": until})
    return found.one_or_none()


async def is_due(
    connection: AsyncConnection, holder_id: int, subscription_no: int, kind: str, about: int, due_at: datetime
) -> bool:
    """Whether it is still due then."""
    found = await connection.execute(
        text(f"""
            SELECT EXISTS ({_DUE} WHERE holder_id = :holder_id AND subscription_no = :number AND kind = :kind
                                    AND about = :about AND due_at = :due_at)
        """),
        {"holder_id": holder_id, "number": subscription_no, "kind": kind, "about": about, "due_at": due_at},
    )
    return bool(found.scalar_one())


async def insert_notice(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write that a renewal was announced, or why no letter went out."""
    await connection.execute(
        text("""
            INSERT INTO members.renewal_notice
              (holder_id, subscription_no, renews_at, amount_minor, currency, message_id, at)
            VALUES (:holder_id, :subscription_no, :renews_at, :amount_minor, :currency, :message_id, :at)
            ON CONFLICT DO NOTHING
        """),
        values,
    )


# --- What it all comes to -------------------------------------------------------------------------------------

_HASHED = {
    "subscription_event": "holder_id, subscription_no, seq",
    "invoice": "invoice_no",
    "invoice_line": "invoice_no, line_no",
    "invoice_void": "invoice_no",
    "charge_attempt": "invoice_no, attempt_no",
    "charge_outcome": "invoice_no, attempt_no",
    "fee_payment": "invoice_no, provider, reference",
    "credit_note": "note_no",
    "renewal_notice": "holder_id, subscription_no, renews_at",
    "arrears_letter": "invoice_no, step",
    "subscription_due": "holder_id, subscription_no, kind, about",
    "offer_use": "holder_id, subscription_no",
    "offer_period": "holder_id, subscription_no, starts_at",
    "gift": "gift_no",
    "gift_use": "gift_no",
}


async def digests(connection: AsyncConnection) -> list[str]:
    """A hash of each table of facts about subscriptions, in a fixed order of tables and rows. Numbers that a sequence
    gave out are left out: they have gaps."""
    found = []
    for table, order in _HASHED.items():
        statement = f"SELECT coalesce(string_agg(t::text, E'\\n' ORDER BY {order}), '') FROM members.{table} t"
        value = await connection.execute(text(f"SELECT encode(sha256(convert_to(({statement}), 'UTF8')), 'hex')"))
        found.append(value.scalar_one())
    grants = """
        SELECT encode(sha256(convert_to(coalesce(string_agg(
          concat_ws('|', holder_id, subscription_no, plan_id, source, invoice_no, valid_from, valid_until),
          E'\\n' ORDER BY holder_id, subscription_no, valid_from, valid_until, source), ''), 'UTF8')), 'hex')
        FROM members.entitlement_grant
    """
    found.append((await connection.execute(text(grants))).scalar_one())
    return found
