"""Statements on many renewals at once. Private to the members."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from members.subscription.contract import Event

Place = tuple[datetime, int, int]
"""Where something due stands in the order of its kind: when, whose, which subscription."""

# Nothing of a subscription is due before what is taken here, so that its own order is kept.
_FIRST = """
    NOT EXISTS (
      SELECT FROM members.subscription_due o
      WHERE o.holder_id = w.holder_id AND o.subscription_no = w.subscription_no
        AND (o.due_at, o.kind, o.about) < (w.due_at, :kind, w.about)
    )
"""
# Codes make periods cheaper, presents pay them: whoever has one of either is renewed alone.
_AT_ITS_PRICE = """
    NOT s.is_gift AND NOT EXISTS (
      SELECT FROM members.offer_use u WHERE u.holder_id = s.holder_id AND u.subscription_no = s.subscription_no
        AND u.released_at IS NULL
    ) AND NOT EXISTS (
      SELECT FROM members.gift_use u WHERE u.holder_id = s.holder_id AND u.subscription_no = s.subscription_no
        AND u.ends_at > w.due_at
    )
"""
_DUE = """
    unnest(CAST(:holders AS bigint[]), CAST(:numbers AS bigint[]), CAST(:about AS bigint[]),
           CAST(:due_at AS timestamptz[])) AS w(holder_id, subscription_no, about, due_at)
    JOIN members.subscription s USING (holder_id, subscription_no)
"""


async def plain_plans(connection: AsyncConnection) -> set[int]:
    """Plans that give no points when a period is paid."""
    found = await connection.execute(text("SELECT plan_id FROM members.plan WHERE allotment_points = 0"))
    return {row.plan_id for row in found}


async def take_due(
    connection: AsyncConnection, kind: str, to: datetime, after: Place, limit: int
) -> tuple[Sequence[Row[Any]], set[tuple[int, int]]]:
    """What is due of a kind by an instant, behind a place in its order, locked: holder_id, subscription_no, about,
    due_at; and of which of it the subscriptions are locked too. What somebody else has locked is left to them.

    Single statements over one index each: in a night statistics are always of another hour.
    """
    taken = await connection.execute(
        text("""
            SELECT holder_id, subscription_no, about, due_at FROM members.subscription_due
            WHERE kind = :kind AND due_at <= :to
              AND (due_at, holder_id, subscription_no) > (:due_at, :holder_id, :number)
            ORDER BY due_at, holder_id, subscription_no LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
        """),
        {"kind": kind, "to": to, "due_at": after[0], "holder_id": after[1], "number": after[2], "limit": limit},
    )
    rows = taken.all()
    locked = await connection.execute(
        text("""
            SELECT s.holder_id, s.subscription_no
            FROM unnest(CAST(:holders AS bigint[]), CAST(:numbers AS bigint[])) AS w(holder_id, subscription_no)
            JOIN members.subscription s USING (holder_id, subscription_no) FOR NO KEY UPDATE OF s SKIP LOCKED
        """),
        _named([(row.holder_id, row.subscription_no) for row in rows]),
    )
    return rows, {(row.holder_id, row.subscription_no) for row in locked}


async def periods(connection: AsyncConnection, due: Sequence[Row[Any]]) -> Sequence[Row[Any]]:
    """Of periods that are over and locked, those with nothing due before, no code, no present and no other invoice that
    is open, in their order: holder_id, subscription_no, zone, provider, due_at."""
    found = await connection.execute(
        text(f"""
            SELECT w.holder_id, w.subscription_no, s.zone, s.provider, w.due_at
            FROM {_DUE}
            WHERE {_FIRST} AND {_AT_ITS_PRICE}
              AND NOT EXISTS (
                SELECT FROM members.invoice i
                WHERE i.holder_id = w.holder_id AND i.subscription_no = w.subscription_no AND i.kind <> 'PERIOD'
                  AND NOT EXISTS (
                    SELECT FROM members.fee_payment p WHERE p.holder_id = i.holder_id AND p.invoice_no = i.invoice_no
                  )
                  AND NOT EXISTS (
                    SELECT FROM members.invoice_void v WHERE v.holder_id = i.holder_id AND v.invoice_no = i.invoice_no
                  )
              )
            ORDER BY w.due_at, w.holder_id, w.subscription_no
        """),
        _listed("PERIOD", due),
    )
    return found.all()


async def events(connection: AsyncConnection, whose: Sequence[tuple[int, int]]) -> dict[tuple[int, int], list[Event]]:
    """What happened to each of some subscriptions, in order."""
    found = await connection.execute(
        text("""
            SELECT e.holder_id, e.subscription_no, e.kind, e.at, e.price_no, e.interval, e.until, e.reason
            FROM unnest(CAST(:holders AS bigint[]), CAST(:numbers AS bigint[])) AS w(holder_id, subscription_no)
            JOIN members.subscription_event e USING (holder_id, subscription_no)
            ORDER BY e.holder_id, e.subscription_no, e.seq
        """),
        _named(whose),
    )
    by_subscription: dict[tuple[int, int], list[Event]] = {}
    for row in found:
        happened = Event(row.kind, row.at, row.price_no, row.interval, until=row.until, reason=row.reason)
        by_subscription.setdefault((row.holder_id, row.subscription_no), []).append(happened)
    return by_subscription


async def append_renewals(
    connection: AsyncConnection, whose: Sequence[tuple[int, int]], at: Sequence[datetime]
) -> None:
    """Append to subscriptions that are locked that each was renewed, at its instant."""
    await connection.execute(
        text("""
            WITH named AS (
              SELECT * FROM unnest(CAST(:holders AS bigint[]), CAST(:numbers AS bigint[]), CAST(:at AS timestamptz[]))
                AS n(holder_id, subscription_no, at)
            ), counted AS (
              UPDATE members.subscription s SET version = s.version + 1 FROM named n
              WHERE s.holder_id = n.holder_id AND s.subscription_no = n.subscription_no
              RETURNING s.holder_id, s.subscription_no, s.version, n.at
            )
            INSERT INTO members.subscription_event (holder_id, subscription_no, seq, kind, at)
            SELECT holder_id, subscription_no, version, 'RENEWED', at FROM counted
        """),
        _named(whose) | {"at": list(at)},
    )


async def next_numbers(connection: AsyncConnection, series: str, count: int) -> range:
    """So many next numbers of a series, without a gap; whoever takes some waits for whoever took those before."""
    found = await connection.execute(
        text("SELECT members.next_numbers(:series, :count)"), {"series": series, "count": count}
    )
    last = int(found.scalar_one())
    return range(last - count + 1, last + 1)


async def insert_invoices(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Write invoices of periods, each with its one line: the whole price."""
    await connection.execute(
        text("""
            WITH given AS (
              SELECT * FROM unnest(
                CAST(:holder_id AS bigint[]), CAST(:invoice_no AS bigint[]), CAST(:subscription_no AS bigint[]),
                CAST(:period_from AS timestamptz[]), CAST(:period_until AS timestamptz[]), CAST(:price_no AS int[]),
                CAST(:currency AS text[]), CAST(:net_minor AS bigint[]), CAST(:tax_minor AS bigint[]),
                CAST(:gross_minor AS bigint[]), CAST(:tax_code AS text[]), CAST(:tax_version AS int[]),
                CAST(:provider AS text[]), CAST(:reference AS text[]), CAST(:is_test AS boolean[]),
                CAST(:at AS timestamptz[])
              ) AS g(holder_id, invoice_no, subscription_no, period_from, period_until, price_no, currency, net_minor,
                     tax_minor, gross_minor, tax_code, tax_version, provider, reference, is_test, at)
            ), issued AS (
              INSERT INTO members.invoice
                (holder_id, invoice_no, subscription_no, kind, period_from, period_until, price_no, currency, net_minor,
                 tax_minor, gross_minor, tax_code, tax_version, provider, reference, is_test, issued_at, due_at)
              SELECT holder_id, invoice_no, subscription_no, 'PERIOD', period_from, period_until, price_no, currency,
                     net_minor, tax_minor, gross_minor, tax_code, tax_version, provider, reference, is_test, at, at
              FROM given
              RETURNING holder_id, invoice_no, price_no, gross_minor
            )
            INSERT INTO members.invoice_line (holder_id, invoice_no, line_no, kind, price_no, amount_minor)
            SELECT holder_id, invoice_no, 1, 'PERIOD', price_no, gross_minor FROM issued
        """),
        {name: [row[name] for row in rows] for name in rows[0]},
    )


async def insert_grants(connection: AsyncConnection, source: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write what plans give for times."""
    names = ("holder_id", "subscription_no", "plan_id", "invoice_no", "valid_from", "valid_until", "at")
    await connection.execute(
        text("""
            INSERT INTO members.entitlement_grant
              (holder_id, subscription_no, plan_id, source, invoice_no, valid_from, valid_until, at)
            SELECT holder_id, subscription_no, plan_id, :source, invoice_no, valid_from, valid_until, at
            FROM unnest(CAST(:holder_id AS bigint[]), CAST(:subscription_no AS bigint[]), CAST(:plan_id AS int[]),
                        CAST(:invoice_no AS bigint[]), CAST(:valid_from AS timestamptz[]),
                        CAST(:valid_until AS timestamptz[]), CAST(:at AS timestamptz[]))
              AS g(holder_id, subscription_no, plan_id, invoice_no, valid_from, valid_until, at)
        """),
        {"source": source} | {name: [row.get(name) for row in rows] for name in names},
    )


async def put_due(connection: AsyncConnection, rows: Sequence[tuple[int, int, str, int, datetime]]) -> None:
    """Things of subscriptions are due: holder, number, kind, what about, when; what was there of a kind moves."""
    await connection.execute(
        text("""
            INSERT INTO members.subscription_due (holder_id, subscription_no, kind, about, due_at)
            SELECT * FROM unnest(CAST(:holders AS bigint[]), CAST(:numbers AS bigint[]), CAST(:kinds AS text[]),
                                 CAST(:about AS bigint[]), CAST(:due_at AS timestamptz[]))
            ON CONFLICT (holder_id, subscription_no, kind, about) DO UPDATE SET due_at = EXCLUDED.due_at
        """),
        {
            "holders": [row[0] for row in rows], "numbers": [row[1] for row in rows], "kinds": [row[2] for row in rows],
            "about": [row[3] for row in rows], "due_at": [row[4] for row in rows],
        },
    )  # fmt: skip


# --- Charging ---------------------------------------------------------------------------------------------------


async def charges(
    connection: AsyncConnection, due: Sequence[Row[Any]], providers: Sequence[str], to: datetime
) -> Sequence[Row[Any]]:
    """Of charges that are due and locked, those of open invoices of renewals that nobody tried yet, and by which means.

    A subscription whose last event is its renewal is active, and neither paused nor left.
    """
    found = await connection.execute(
        text(f"""
            SELECT w.holder_id, w.subscription_no, s.zone, w.due_at, i.invoice_no, i.reference, i.gross_minor,
                   i.currency, i.provider, i.price_no, i.period_from, i.period_until, m.means_no, m.token
            FROM {_DUE}
            JOIN members.invoice i ON i.holder_id = w.holder_id AND i.invoice_no = w.about
            JOIN members.subscription_event e
              ON e.holder_id = s.holder_id AND e.subscription_no = s.subscription_no AND e.seq = s.version
            CROSS JOIN LATERAL (
              SELECT means_no, token FROM members.payment_means m
              WHERE m.holder_id = i.holder_id AND m.provider = i.provider ORDER BY means_no DESC LIMIT 1
            ) m
            WHERE i.due_at <= :to AND i.kind = 'PERIOD' AND i.provider = ANY (:providers) AND e.kind = 'RENEWED'
              AND {_FIRST} AND {_AT_ITS_PRICE}
              AND EXISTS (
                SELECT FROM members.plan_price r JOIN members.plan p USING (plan_id)
                WHERE r.price_no = i.price_no AND p.allotment_points = 0
              )
              AND NOT EXISTS (
                SELECT FROM members.charge_attempt a WHERE a.holder_id = i.holder_id AND a.invoice_no = i.invoice_no
              )
              AND NOT EXISTS (
                SELECT FROM members.fee_payment p WHERE p.holder_id = i.holder_id AND p.invoice_no = i.invoice_no
              )
              AND NOT EXISTS (
                SELECT FROM members.invoice_void v WHERE v.holder_id = i.holder_id AND v.invoice_no = i.invoice_no
              )
            ORDER BY w.due_at, w.holder_id, w.subscription_no
        """),
        _listed("CHARGE", due) | {"to": to, "providers": list(providers)},
    )
    return found.all()


async def insert_first_attempts(
    connection: AsyncConnection, rows: Sequence[tuple[int, int, str, int, datetime]]
) -> None:
    """Write that invoices are about to be charged for the first time: holder, invoice, key, means, instant."""
    await connection.execute(
        text("""
            WITH given AS (
              SELECT * FROM unnest(CAST(:holders AS bigint[]), CAST(:invoices AS bigint[]), CAST(:keys AS text[]),
                                   CAST(:means AS bigint[]), CAST(:at AS timestamptz[]))
                AS g(holder_id, invoice_no, charge_key, means_no, at)
            ), tried AS (
              INSERT INTO members.charge_attempt (holder_id, invoice_no, attempt_no, charge_key, at)
              SELECT holder_id, invoice_no, 1, charge_key, at FROM given RETURNING holder_id, invoice_no
            )
            INSERT INTO members.charge_call (holder_id, invoice_no, attempt_no, call_no, means_no)
            SELECT holder_id, invoice_no, 1, 1, g.means_no FROM tried JOIN given g USING (holder_id, invoice_no)
        """),
        {
            "holders": [row[0] for row in rows], "invoices": [row[1] for row in rows], "keys": [row[2] for row in rows],
            "means": [row[3] for row in rows], "at": [row[4] for row in rows],
        },
    )  # fmt: skip


async def lock(connection: AsyncConnection, whose: Sequence[tuple[int, int]]) -> None:
    """Subscriptions that nobody else changes until the transaction ends, locked in the order of their keys."""
    await connection.execute(
        text("""
            SELECT FROM members.subscription s
            JOIN unnest(CAST(:holders AS bigint[]), CAST(:numbers AS bigint[])) AS w(holder_id, subscription_no)
              USING (holder_id, subscription_no)
            ORDER BY s.holder_id, s.subscription_no FOR NO KEY UPDATE OF s
        """),
        _named(whose),
    )


async def undecided(connection: AsyncConnection, which: Sequence[tuple[int, int]]) -> set[int]:
    """The numbers of those of some invoices (holder and number) that are open and whose first attempt has no outcome
    yet."""
    found = await connection.execute(
        text("""
            SELECT i.invoice_no
            FROM unnest(CAST(:holders AS bigint[]), CAST(:numbers AS bigint[])) AS w(holder_id, invoice_no)
            JOIN members.invoice i USING (holder_id, invoice_no)
            WHERE NOT EXISTS (
                SELECT FROM members.fee_payment p WHERE p.holder_id = i.holder_id AND p.invoice_no = i.invoice_no
              )
              AND NOT EXISTS (
                SELECT FROM members.charge_outcome o WHERE o.holder_id = i.holder_id AND o.invoice_no = i.invoice_no
              )
              AND NOT EXISTS (
                SELECT FROM members.invoice_void v WHERE v.holder_id = i.holder_id AND v.invoice_no = i.invoice_no
              )
        """),
        _named(which),
    )
    return {row.invoice_no for row in found}


async def insert_payments(
    connection: AsyncConnection,
    rows: Sequence[tuple[int, int, str, str, int, int, date, date, str, datetime]],
) -> None:
    """Write that first attempts at invoices were paid, and the money that came: holder, invoice, provider, reference,
    minor units, of which the provider keeps so many, for days [from, until), by which evidence, when. What was due
    about each is not any more."""
    names = (
        "holders",
        "invoices",
        "providers",
        "references",
        "amounts",
        "charging",
        "since",
        "until",
        "evidence",
        "at",
    )
    columns = """unnest(
        CAST(:holders AS bigint[]), CAST(:invoices AS bigint[]), CAST(:providers AS text[]),
        CAST(:references AS text[]), CAST(:amounts AS bigint[]), CAST(:charging AS bigint[]), CAST(:since AS date[]),
        CAST(:until AS date[]), CAST(:evidence AS text[]), CAST(:at AS timestamptz[])
      ) AS g(holder_id, invoice_no, provider, reference, amount_minor, charging_minor, since, until, evidence, at)"""
    await connection.execute(
        text(f"""
            WITH given AS (SELECT * FROM {columns}), decided AS (
              INSERT INTO members.charge_outcome (holder_id, invoice_no, attempt_no, outcome, reference, at)
              SELECT holder_id, invoice_no, 1, 'PAID', reference, at FROM given
            ), done AS (
              DELETE FROM members.subscription_due d USING given g
              WHERE d.holder_id = g.holder_id AND d.about = g.invoice_no
                AND d.kind IN ('ASK', 'CHARGE', 'END', 'EXPIRE', 'REMIND')
            )
            INSERT INTO members.fee_payment
              (holder_id, invoice_no, provider, reference, amount_minor, charging_minor, is_surplus, service_from,
               service_until, evidence, actor, at)
            SELECT holder_id, invoice_no, provider, reference, amount_minor, charging_minor, false, since, until,
                   evidence, provider, at
            FROM given
        """),
        {name: [row[place] for row in rows] for place, name in enumerate(names)},
    )


def _named(whose: Sequence[tuple[int, int]]) -> dict[str, Any]:
    return {"holders": [holder_id for holder_id, _ in whose], "numbers": [number for _, number in whose]}


def _listed(kind: str, due: Sequence[Row[Any]]) -> dict[str, Any]:
    return _named([(row.holder_id, row.subscription_no) for row in due]) | {
        "kind": kind, "about": [row.about for row in due], "due_at": [row.due_at for row in due],
    }  # fmt: skip
