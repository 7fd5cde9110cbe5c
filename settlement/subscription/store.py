"""Statements on what fees become. Private to settlement."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ONE_AT_A_TIME = 7_305_033
_OF = "WHERE month = :month AND currency = :currency"


async def lock(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to close months."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})


async def latest_rules_from(connection: AsyncConnection, currency: str) -> date | None:
    """The month from which the last version of rules holds."""
    found = await connection.execute(
        text("SELECT max(valid_from) FROM settlement.fee_rules WHERE currency = :currency"), {"currency": currency}
    )
    return found.scalar_one()  # type: ignore[no-any-return]


async def insert_rules(
    connection: AsyncConnection, currency: str, valid_from: date, document: Mapping[str, Any], approval_id: int
) -> int:
    """Write the next version of rules; its number."""
    found = await connection.execute(
        text("""
            INSERT INTO settlement.fee_rules (currency, version, valid_from, document, approval_id)
            SELECT CAST(:currency AS text), coalesce(max(version), 0) + 1, :valid_from, CAST(:document AS jsonb),
                   :approval_id
            FROM settlement.fee_rules WHERE currency = :currency RETURNING version
        """),
        {"currency": currency, "valid_from": valid_from, "document": json.dumps(document), "approval_id": approval_id},
    )
    return int(found.scalar_one())


async def rules_at(connection: AsyncConnection, currency: str, month: date) -> Row[Any] | None:
    """The rules that hold for a month: version, document."""
    found = await connection.execute(
        text("""
            SELECT version, document FROM settlement.fee_rules WHERE currency = :currency AND valid_from <= :month
            ORDER BY version DESC LIMIT 1
        """),
        {"currency": currency, "month": month},
    )
    return found.one_or_none()


async def rules(connection: AsyncConnection, currency: str, version: int) -> Mapping[str, Any]:
    """What a version of rules says."""
    found = await connection.execute(
        text("SELECT document FROM settlement.fee_rules WHERE currency = :currency AND version = :version"),
        {"currency": currency, "version": version},
    )
    document: Mapping[str, Any] = found.scalar_one()
    return document


async def last_month(connection: AsyncConnection, currency: str) -> date | None:
    """The last month that was closed."""
    found = await connection.execute(
        text("SELECT max(month) FROM settlement.fee_month WHERE currency = :currency"), {"currency": currency}
    )
    return found.scalar_one()  # type: ignore[no-any-return]


async def month(connection: AsyncConnection, month: date, currency: str) -> Row[Any] | None:
    """A month that was closed."""
    found = await connection.execute(
        text(f"SELECT * FROM settlement.fee_month {_OF}"), {"month": month, "currency": currency}
    )
    return found.one_or_none()


async def months(connection: AsyncConnection, *, cutoff_ids: Sequence[int] | None = None) -> Sequence[Row[Any]]:
    """Months that were closed, in order; those in cut-offs where they are named."""
    found = await connection.execute(
        text("""
            SELECT * FROM settlement.fee_month WHERE CAST(:ids AS int[]) IS NULL OR cutoff_id = ANY (:ids)
            ORDER BY month, currency
        """),
        {"ids": None if cutoff_ids is None else list(cutoff_ids)},
    )
    return found.all()


async def insert(connection: AsyncConnection, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of one of the tables fee_*: columns by their names."""
    given = list(rows)
    if given:
        columns = ", ".join(given[0])
        places = ", ".join(f":{name}" for name in given[0])
        await connection.execute(text(f"INSERT INTO settlement.{table} ({columns}) VALUES ({places})"), given)


async def recognised_before(connection: AsyncConnection, currency: str) -> dict[int, tuple[int, int]]:
    """What all closed months together recognised of each invoice, and what of the cost of charging it, minor units."""
    found = await connection.execute(
        text("""
            SELECT invoice_no, CAST(sum(recognised_minor) AS bigint), CAST(sum(charging_minor) AS bigint)
            FROM settlement.fee_recognition WHERE currency = :currency GROUP BY invoice_no
        """),
        {"currency": currency},
    )
    return {number: (recognised, charging) for number, recognised, charging in found}


async def booked_before(connection: AsyncConnection, currency: str, before: date) -> Row[Any]:
    """What closed months that had ended before a day recognised: recognised_minor, last_month."""
    found = await connection.execute(
        text("""
            SELECT CAST(coalesce(sum(r.recognised_minor), 0) AS bigint) AS recognised_minor, max(m.month) AS last_month
            FROM settlement.fee_month m LEFT JOIN settlement.fee_recognition r USING (month, currency)
            WHERE m.currency = :currency AND m.month + interval '1 month' <= :before
        """),
        {"currency": currency, "before": before},
    )
    return found.one()


async def every_rules(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every version of rules, the latest first: currency, version, valid_from, document."""
    found = await connection.execute(
        text("""
            SELECT currency, version, valid_from, document FROM settlement.fee_rules
            ORDER BY valid_from DESC, currency, version DESC
        """)
    )
    return found.all()


async def booked(connection: AsyncConnection, currency: str) -> set[tuple[str, str]]:
    """Facts that the books have seen: kind and key."""
    found = await connection.execute(
        text("SELECT kind, fact_key FROM settlement.fee_booked WHERE currency = :currency"), {"currency": currency}
    )
    return {(kind, key) for kind, key in found}


async def of_month(
    connection: AsyncConnection, table: str, month: date, currency: str, order: str
) -> Sequence[Row[Any]]:
    """The rows of one of the tables fee_* of a month, in an order of columns."""
    found = await connection.execute(
        text(f"SELECT * FROM settlement.{table} {_OF} ORDER BY {order}"), {"month": month, "currency": currency}
    )
    return found.all()


async def events(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Money events of cut-offs, in order."""
    found = await connection.execute(
        text("""
            SELECT e.*, m.at FROM settlement.fee_event e JOIN settlement.fee_month m USING (month, currency)
            WHERE e.cutoff_id = ANY (:ids) ORDER BY e.cutoff_id, month, currency, event_no
        """),
        {"ids": list(cutoff_ids)},
    )
    return found.all()


async def recognised_beyond(connection: AsyncConnection, month: date, currency: str) -> list[int]:
    """Invoices of a month of which all months together recognised more than what they come to without tax."""
    found = await connection.execute(
        text("""
            SELECT r.invoice_no FROM settlement.fee_recognition r JOIN members.invoice i USING (invoice_no)
            WHERE r.invoice_no IN (SELECT invoice_no FROM settlement.fee_recognition
                                   WHERE month = :month AND currency = :currency)
            GROUP BY r.invoice_no, i.net_minor HAVING sum(r.recognised_minor) > i.net_minor ORDER BY 1
        """),
        {"month": month, "currency": currency},
    )
    return list(found.scalars())


async def stated_otherwise(connection: AsyncConnection, month: date, currency: str) -> list[tuple[int, int, int]]:
    """Partners whose clearing events of a month are not what its shares and corrections come to: who, these, events,
    micro-units."""
    found = await connection.execute(
        text("""
            SELECT partner_id, sum(given)::bigint, sum(stated)::bigint FROM (
              SELECT partner_id, amount_micro + trial_micro AS given, 0::bigint AS stated FROM settlement.fee_share
              WHERE month = :month AND currency = :currency
              UNION ALL
              SELECT partner_id, amount_micro, 0 FROM settlement.fee_correction
              WHERE month = :month AND currency = :currency
              UNION ALL
              SELECT payee_id, 0, amount_micro FROM settlement.fee_event
              WHERE month = :month AND currency = :currency AND payee_id > 0
            ) x GROUP BY 1 HAVING sum(given) <> sum(stated) ORDER BY 1
        """),
        {"month": month, "currency": currency},
    )
    return [(partner_id, given, stated) for partner_id, given, stated in found]


async def points_before(connection: AsyncConnection, currency: str, month: date) -> int:
    """What all months before one paid for points, micro-units."""
    found = await connection.execute(
        text("""
            SELECT CAST(coalesce(sum(points_micro), 0) AS bigint) FROM settlement.fee_month
            WHERE currency = :currency AND month < :month
        """),
        {"currency": currency, "month": month},
    )
    return int(found.scalar_one())


async def notes_booked(connection: AsyncConnection, currency: str) -> dict[str, date]:
    """The month in which the books saw each credit note, by its key."""
    found = await connection.execute(
        text("SELECT fact_key, month FROM settlement.fee_booked WHERE kind = 'CREDIT_NOTE' AND currency = :currency"),
        {"currency": currency},
    )
    return {row.fact_key: row.month for row in found}


async def recognitions(
    connection: AsyncConnection, currency: str, invoice_nos: Sequence[int], *, before: date
) -> Sequence[Row[Any]]:
    """What months before one recognised of invoices, in their order."""
    found = await connection.execute(
        text("""
            SELECT month, invoice_no, subscription_no, recognised_minor, charging_minor
            FROM settlement.fee_recognition
            WHERE invoice_no = ANY (CAST(:numbers AS bigint[])) AND currency = :currency AND month < :before
            ORDER BY month, invoice_no
        """),
        {"numbers": list(invoice_nos), "currency": currency, "before": before},
    )
    return found.all()


async def corrected_before(connection: AsyncConnection, of_month: date, currency: str, before: date) -> dict[int, int]:
    """What months before one took back of the shares of a month, by partner, below zero, micro-units."""
    found = await connection.execute(
        text("""
            SELECT partner_id, CAST(sum(amount_micro) AS bigint) AS amount_micro FROM settlement.fee_correction
            WHERE of_month = :of_month AND currency = :currency AND month < :before GROUP BY partner_id
        """),
        {"of_month": of_month, "currency": currency, "before": before},
    )
    return {row.partner_id: row.amount_micro for row in found}
