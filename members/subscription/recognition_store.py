"""Statements on fees as they stood at the beginning of days. Private to the members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

# A fee is served from a day on at so much a day, and the first days a minor unit more: four steps up and down, each on
# its day, whose sum up to a day is what `serving.Service` says of it. A step counts from the day on which it is known.
_STEPS = """
    WITH wanted AS (
      SELECT * FROM unnest(CAST(:days AS date[])) WITH ORDINALITY AS w(day, place)
    ), paid AS (
      SELECT p.at, i.net_minor, i.tax_minor, p.charging_minor, p.amount_minor, p.is_surplus, p.invoice_no,
             CASE WHEN i.kind = 'GIFT' THEN u.at ELSE p.at END AS known_at,
             coalesce(u.service_from, p.service_from) AS since, coalesce(u.service_until, p.service_until) AS until
      FROM members.fee_payment p JOIN members.invoice i USING (holder_id, invoice_no)
      LEFT JOIN members.gift_use u ON u.invoice_no = i.invoice_no
      WHERE NOT i.is_test AND i.currency = :currency
    ), served AS (
      SELECT known_at, invoice_no, since, until, net_minor / (until - since) AS each,
             net_minor % (until - since) AS rest
      FROM paid WHERE NOT is_surplus AND known_at IS NOT NULL
    ), noted AS (
      SELECT n.at, n.invoice_no, n.from_day, n.net_minor, n.tax_minor, n.lost_minor
      FROM members.credit_note n JOIN members.invoice i USING (holder_id, invoice_no)
      WHERE NOT i.is_test AND i.currency = :currency
    ), step AS (
      SELECT known_at AS at, since AS day, each + CASE WHEN rest > 0 THEN 1 ELSE 0 END AS rate FROM served
      UNION ALL SELECT known_at, since + CAST(rest AS int), -1 FROM served WHERE rest > 0
      UNION ALL SELECT known_at, until, -each FROM served
      -- What a credit note takes back of days to come is not served from its day on.
      UNION ALL
      SELECT greatest(n.at, s.known_at), x.day, x.rate
      FROM noted n JOIN served s USING (invoice_no)
      CROSS JOIN LATERAL (VALUES
        (n.from_day, -s.each - CASE WHEN n.from_day < s.since + CAST(s.rest AS int) THEN 1 ELSE 0 END),
        (s.since + CAST(s.rest AS int), CASE WHEN n.from_day < s.since + CAST(s.rest AS int) THEN 1 ELSE 0 END),
        (s.until, s.each)
      ) AS x(day, rate)
      WHERE n.from_day < s.until
    ), stepped AS (
      SELECT greatest(day, (at AT TIME ZONE :zone)::date) AS from_day, day, sum(rate) AS rate FROM step GROUP BY 1, 2
    ), money AS (
      SELECT (at AT TIME ZONE :zone)::date AS day,
             sum(net_minor) FILTER (WHERE NOT is_surplus) AS net, sum(tax_minor) FILTER (WHERE NOT is_surplus) AS tax,
             sum(charging_minor) AS charging, sum(amount_minor) FILTER (WHERE is_surplus) AS surplus
      FROM paid GROUP BY 1
    ), taken AS (
      SELECT (at AT TIME ZONE :zone)::date AS day, sum(net_minor) AS net, sum(tax_minor) AS tax,
             sum(lost_minor) AS lost
      FROM noted GROUP BY 1
    ), returned AS (
      SELECT (d.at AT TIME ZONE :zone)::date AS day, sum(r.amount_minor) AS amount
      FROM members.fee_refund r JOIN members.fee_refund_done d USING (holder_id, refund_no)
      JOIN members.invoice i USING (holder_id, invoice_no)
      WHERE NOT i.is_test AND i.currency = :currency GROUP BY 1
    )
"""


async def standings(connection: AsyncConnection, currency: str, days: Sequence[date], zone: str) -> Sequence[Row[Any]]:
    """How fees stood at the beginning of days, in their order: the columns of `recognition.Standing`."""
    found = await connection.execute(
        text(f"""
            {_STEPS}
            SELECT w.day,
                   CAST(coalesce(m.net, 0) AS bigint) AS net_minor, CAST(coalesce(m.tax, 0) AS bigint) AS tax_minor,
                   CAST(coalesce(m.charging, 0) AS bigint) AS charging_minor,
                   CAST(coalesce(m.surplus, 0) AS bigint) AS surplus_minor,
                   CAST(coalesce(t.net, 0) AS bigint) AS credited_minor,
                   CAST(coalesce(t.tax, 0) AS bigint) AS credited_tax_minor,
                   CAST(coalesce(t.lost, 0) AS bigint) AS lost_minor,
                   CAST(coalesce(r.amount, 0) AS bigint) AS refunded_minor,
                   CAST(coalesce(s.recognised, 0) AS bigint) AS recognised_minor
            FROM wanted w
            LEFT JOIN LATERAL (
              SELECT sum(net) AS net, sum(tax) AS tax, sum(charging) AS charging, sum(surplus) AS surplus
              FROM money x WHERE x.day < w.day
            ) m ON true
            LEFT JOIN LATERAL (
              SELECT sum(net) AS net, sum(tax) AS tax, sum(lost) AS lost FROM taken x WHERE x.day < w.day
            ) t ON true
            LEFT JOIN LATERAL (SELECT sum(amount) AS amount FROM returned x WHERE x.day < w.day) r ON true
            LEFT JOIN LATERAL (
              SELECT sum(rate * (w.day - x.day)) AS recognised FROM stepped x WHERE x.from_day < w.day
            ) s ON true
            ORDER BY w.place
        """),
        {"currency": currency, "zone": zone, "days": list(days)},
    )
    return found.all()


async def currencies(connection: AsyncConnection) -> list[str]:
    """Currencies of prices, in order."""
    found = await connection.execute(text("SELECT DISTINCT currency FROM members.plan_price ORDER BY currency"))
    return list(found.scalars())


async def first_day(connection: AsyncConnection, currency: str, zone: str) -> date | None:
    """The day of a zone on which the first money came."""
    found = await connection.execute(
        text("""
            SELECT (p.at AT TIME ZONE :zone)::date
            FROM members.fee_payment p JOIN members.invoice i USING (holder_id, invoice_no)
            WHERE NOT i.is_test AND i.currency = :currency ORDER BY p.at LIMIT 1
        """),
        {"currency": currency, "zone": zone},
    )
    return found.scalar_one_or_none()
