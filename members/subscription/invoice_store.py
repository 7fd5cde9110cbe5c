"""Statements on invoices, attempts, payments and what is given back. Private to the members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_INVOICE = """
    SELECT i.holder_id, i.invoice_no, i.subscription_no, i.kind, i.period_from, i.period_until, i.price_no, i.currency,
           i.net_minor, i.tax_minor, i.gross_minor, i.tax_code, i.tax_version, i.provider, i.reference, i.is_test,
           i.issued_at, i.due_at, p.at AS paid_at, v.at AS voided_at, n.at AS credited_at, n.note_no
    FROM members.invoice i
    LEFT JOIN members.fee_payment p ON p.invoice_no = i.invoice_no AND NOT p.is_surplus
    LEFT JOIN members.invoice_void v ON v.holder_id = i.holder_id AND v.invoice_no = i.invoice_no
    LEFT JOIN members.credit_note n ON n.invoice_no = i.invoice_no
"""


async def next_number(connection: AsyncConnection, series: str) -> int:
    """The next number of a series, without a gap: whoever takes one waits for whoever took the one before."""
    found = await connection.execute(
        text("UPDATE members.invoice_counter SET last_no = last_no + 1 WHERE series = :series RETURNING last_no"),
        {"series": series},
    )
    return int(found.scalar_one())


async def insert_invoice(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write an invoice."""
    await connection.execute(
        text("""
            INSERT INTO members.invoice
              (holder_id, invoice_no, subscription_no, kind, period_from, period_until, price_no, currency, net_minor,
               tax_minor, gross_minor, tax_code, tax_version, provider, reference, is_test, issued_at, due_at)
            VALUES (:holder_id, :invoice_no, :subscription_no, :kind, :period_from, :period_until, :price_no, :currency,
                    :net_minor, :tax_minor, :gross_minor, :tax_code, :tax_version, :provider, :reference, :is_test,
                    :issued_at, :due_at)
        """),
        values,
    )


async def insert_lines(
    connection: AsyncConnection, holder_id: int, invoice_no: int, lines: Sequence[tuple[str, int, int]]
) -> None:
    """Write an invoice's lines: kind, number of a price, minor units."""
    await connection.execute(
        text("""
            INSERT INTO members.invoice_line (holder_id, invoice_no, line_no, kind, price_no, amount_minor)
            VALUES (:holder_id, :invoice_no, :line_no, :kind, :price_no, :amount_minor)
        """),
        [
            {"holder_id": holder_id, "invoice_no": invoice_no, "line_no": number, "kind": kind, "price_no": price_no,
             "amount_minor": amount}
            for number, (kind, price_no, amount) in enumerate(lines, 1)
        ],
    )  # fmt: skip


async def lines(connection: AsyncConnection, holder_id: int, invoice_no: int) -> Sequence[Row[Any]]:
    """An invoice's lines, in order: kind, price_no, amount_minor."""
    found = await connection.execute(
        text("""
            SELECT kind, price_no, amount_minor FROM members.invoice_line
            WHERE holder_id = :holder_id AND invoice_no = :invoice_no ORDER BY line_no
        """),
        {"holder_id": holder_id, "invoice_no": invoice_no},
    )
    return found.all()


async def invoice(connection: AsyncConnection, holder_id: int, invoice_no: int) -> Row[Any] | None:
    """An invoice, and when it was paid, voided and credited."""
    found = await connection.execute(
        text(f"{_INVOICE} WHERE i.holder_id = :holder_id AND i.invoice_no = :invoice_no"),
        {"holder_id": holder_id, "invoice_no": invoice_no},
    )
    return found.one_or_none()


async def invoice_by_number(connection: AsyncConnection, invoice_no: int) -> Row[Any] | None:
    """The same, by its number alone."""
    found = await connection.execute(text(f"{_INVOICE} WHERE i.invoice_no = :invoice_no"), {"invoice_no": invoice_no})
    return found.one_or_none()


async def of_subscription(connection: AsyncConnection, holder_id: int, subscription_no: int) -> Sequence[Row[Any]]:
    """The invoices of a subscription, in order of their numbers."""
    found = await connection.execute(
        text(f"{_INVOICE} WHERE i.holder_id = :holder_id AND i.subscription_no = :number ORDER BY i.invoice_no"),
        {"holder_id": holder_id, "number": subscription_no},
    )
    return found.all()


async def page(connection: AsyncConnection, asked: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Invoices, the latest first, with numbers below one; of a state, currency and reference where they are said."""
    found = await connection.execute(
        text(f"""
            {_INVOICE} WHERE i.invoice_no < coalesce(CAST(:before AS bigint), 9223372036854775807)
              AND i.currency = coalesce(CAST(:currency AS text), i.currency)
              AND i.reference = coalesce(CAST(:reference AS text), i.reference)
              AND (CAST(:state AS text) IS NULL OR :state =
                   CASE WHEN n.at IS NOT NULL THEN 'CREDITED' WHEN v.at IS NOT NULL THEN 'VOID'
                        WHEN p.at IS NOT NULL THEN 'PAID' ELSE 'OPEN' END)
            ORDER BY i.invoice_no DESC LIMIT :limit
        """),
        asked,
    )
    return found.all()


async def insert_void(connection: AsyncConnection, holder_id: int, invoice_no: int, reason: str, at: datetime) -> None:
    """Write that an invoice is void."""
    await connection.execute(
        text("INSERT INTO members.invoice_void VALUES (:holder_id, :invoice_no, :reason, :at)"),
        {"holder_id": holder_id, "invoice_no": invoice_no, "reason": reason, "at": at},
    )


# --- Charging ---------------------------------------------------------------------------------------------------


async def attempts(connection: AsyncConnection, holder_id: int, invoice_no: int) -> Sequence[Row[Any]]:
    """Attempts at an invoice, in order: attempt_no, charge_key, at, outcome, and whether the member gave another means
    of payment since."""
    found = await connection.execute(
        text("""
            SELECT a.attempt_no, a.charge_key, a.at, o.outcome,
                   EXISTS (SELECT FROM members.payment_means m
                           WHERE m.holder_id = a.holder_id AND m.at > a.at) AS has_new_means_since
            FROM members.charge_attempt a LEFT JOIN members.charge_outcome o USING (holder_id, invoice_no, attempt_no)
            WHERE a.holder_id = :holder_id AND a.invoice_no = :invoice_no ORDER BY a.attempt_no
        """),
        {"holder_id": holder_id, "invoice_no": invoice_no},
    )
    return found.all()


async def insert_attempt(
    connection: AsyncConnection, holder_id: int, invoice_no: int, attempt_no: int, charge_key: str, at: datetime
) -> None:
    """Write that a charge is about to be ordered."""
    await connection.execute(
        text("INSERT INTO members.charge_attempt VALUES (:holder_id, :invoice_no, :attempt_no, :charge_key, :at)"),
        {"holder_id": holder_id, "invoice_no": invoice_no, "attempt_no": attempt_no, "charge_key": charge_key,
         "at": at},
    )  # fmt: skip


async def insert_call(
    connection: AsyncConnection, holder_id: int, invoice_no: int, attempt_no: int, call_no: int, means_no: int
) -> None:
    """Write that an order is about to be given to its provider, by which means; the database notes when. Again changes
    nothing."""
    await connection.execute(
        text("""
            INSERT INTO members.charge_call (holder_id, invoice_no, attempt_no, call_no, means_no)
            VALUES (:holder_id, :invoice_no, :attempt_no, :call_no, :means_no) ON CONFLICT DO NOTHING
        """),
        {"holder_id": holder_id, "invoice_no": invoice_no, "attempt_no": attempt_no, "call_no": call_no,
         "means_no": means_no},
    )  # fmt: skip


async def calls(connection: AsyncConnection, holder_id: int, invoice_no: int, attempt_no: int) -> Sequence[Row[Any]]:
    """How often an order was given to its provider, in order: means_no, token, given_at (by the wall's clock)."""
    found = await connection.execute(
        text("""
            SELECT c.means_no, m.token, c.given_at
            FROM members.charge_call c JOIN members.payment_means m USING (holder_id, means_no)
            WHERE c.holder_id = :holder_id AND c.invoice_no = :invoice_no AND c.attempt_no = :attempt_no
            ORDER BY c.call_no
        """),
        {"holder_id": holder_id, "invoice_no": invoice_no, "attempt_no": attempt_no},
    )
    return found.all()


async def attempt_by_key(connection: AsyncConnection, charge_key: str) -> Row[Any] | None:
    """Which attempt a key is of: holder_id, invoice_no, attempt_no, at."""
    found = await connection.execute(
        text("SELECT holder_id, invoice_no, attempt_no, at FROM members.charge_attempt WHERE charge_key = :charge_key"),
        {"charge_key": charge_key},
    )
    return found.one_or_none()


async def insert_outcome(
    connection: AsyncConnection, holder_id: int, invoice_no: int, attempt_no: int, outcome: str, reference: str,
    at: datetime,
) -> bool:  # fmt: skip
    """Write what became of an attempt; False where that was known."""
    done = await connection.execute(
        text("""
            INSERT INTO members.charge_outcome
            VALUES (:holder_id, :invoice_no, :attempt_no, :outcome, :reference, :at) ON CONFLICT DO NOTHING
        """),
        {"holder_id": holder_id, "invoice_no": invoice_no, "attempt_no": attempt_no, "outcome": outcome,
         "reference": reference, "at": at},
    )  # fmt: skip
    return done.rowcount == 1


async def insert_means(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """Write what a member lets us charge; its number."""
    found = await connection.execute(
        text("""
            INSERT INTO members.payment_means (holder_id, provider, token, fingerprint, text_version, at)
            VALUES (:holder_id, :provider, :token, :fingerprint, :text_version, :at) RETURNING means_no
        """),
        values,
    )
    return int(found.scalar_one())


async def means(connection: AsyncConnection, holder_id: int, provider: str) -> Row[Any] | None:
    """The last means of payment that a member gave for a provider: means_no, token, fingerprint, at."""
    found = await connection.execute(
        text("""
            SELECT means_no, token, fingerprint, at FROM members.payment_means
            WHERE holder_id = :holder_id AND provider = :provider ORDER BY means_no DESC LIMIT 1
        """),
        {"holder_id": holder_id, "provider": provider},
    )
    return found.one_or_none()


async def means_after(
    connection: AsyncConnection, providers: Sequence[str], after: int, limit: int
) -> Sequence[Row[Any]]:
    """The next means of payment of some providers behind a number: means_no, provider, token. With the owner's rights,
    for the master key's rotation."""
    found = await connection.execute(
        text("""
            SELECT means_no, provider, token FROM members.payment_means
            WHERE means_no > :after AND provider = ANY (:providers) ORDER BY means_no LIMIT :limit FOR NO KEY UPDATE
        """),
        {"after": after, "providers": list(providers), "limit": limit},
    )
    return found.all()


async def write_tokens(connection: AsyncConnection, changed: Sequence[tuple[int, str]]) -> None:
    """Give means of payment other seals of their tokens: (number, token). With the owner's rights."""
    await connection.execute(
        text("""
            UPDATE members.payment_means m SET token = n.token
            FROM unnest(CAST(:numbers AS bigint[]), CAST(:tokens AS text[])) AS n(means_no, token)
            WHERE m.means_no = n.means_no
        """),
        {"numbers": [number for number, _ in changed], "tokens": [token for _, token in changed]},
    )


async def insert_letter(
    connection: AsyncConnection, holder_id: int, invoice_no: int, step: str, message_id: UUID | None, at: datetime
) -> None:
    """Write that whoever owes was written to, or that there was nobody to write to. Again changes nothing."""
    await connection.execute(
        text("""
            INSERT INTO members.arrears_letter (holder_id, invoice_no, step, message_id, at)
            VALUES (:holder_id, :invoice_no, :step, :message_id, :at) ON CONFLICT DO NOTHING
        """),
        {"holder_id": holder_id, "invoice_no": invoice_no, "step": step, "message_id": message_id, "at": at},
    )


async def has_letter(connection: AsyncConnection, holder_id: int, invoice_no: int, step: str) -> bool:
    """Whether that was written before."""
    found = await connection.execute(
        text("""
            SELECT EXISTS (SELECT FROM members.arrears_letter
                           WHERE holder_id = :holder_id AND invoice_no = :invoice_no AND step = :step)
        """),
        {"holder_id": holder_id, "invoice_no": invoice_no, "step": step},
    )
    return bool(found.scalar_one())


# --- Money ------------------------------------------------------------------------------------------------------


async def insert_payment(connection: AsyncConnection, values: Mapping[str, Any]) -> bool:
    """Write money that came; False where it was known by its reference."""
    done = await connection.execute(
        text("""
            INSERT INTO members.fee_payment
              (holder_id, invoice_no, provider, reference, amount_minor, charging_minor, is_surplus, service_from,
               service_until, evidence, actor, approval_id, at)
            VALUES (:holder_id, :invoice_no, :provider, :reference, :amount_minor, :charging_minor, :is_surplus,
                    :service_from, :service_until, :evidence, :actor, :approval_id, :at)
            ON CONFLICT DO NOTHING
        """),
        values,
    )
    return done.rowcount == 1


async def payment_by_reference(connection: AsyncConnection, provider: str, reference: str) -> Row[Any] | None:
    """Which invoice a payment was for: invoice_no, amount_minor."""
    found = await connection.execute(
        text("""
            SELECT invoice_no, amount_minor FROM members.fee_payment
            WHERE provider = :provider AND reference = :reference
        """),
        {"provider": provider, "reference": reference},
    )
    return found.one_or_none()


async def payment(connection: AsyncConnection, invoice_no: int) -> Row[Any] | None:
    """The payment of an invoice: reference, amount_minor, service_from, service_until, at; of a present the days of who
    got it, and is_waiting while nobody did."""
    found = await connection.execute(
        text("""
            SELECT p.reference, p.amount_minor, coalesce(u.service_from, p.service_from) AS service_from,
                   coalesce(u.service_until, p.service_until) AS service_until, p.at,
                   g.gift_no IS NOT NULL AND u.gift_no IS NULL AS is_waiting
            FROM members.fee_payment p LEFT JOIN members.gift g ON g.invoice_no = p.invoice_no
            LEFT JOIN members.gift_use u ON u.invoice_no = p.invoice_no
            WHERE p.invoice_no = :invoice_no AND NOT p.is_surplus
        """),
        {"invoice_no": invoice_no},
    )
    return found.one_or_none()


async def insert_note(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Write a credit note."""
    await connection.execute(
        text("""
            INSERT INTO members.credit_note
              (holder_id, note_no, invoice_no, kind, from_day, net_minor, tax_minor, lost_minor, reason, at)
            VALUES (:holder_id, :note_no, :invoice_no, :kind, :from_day, :net_minor, :tax_minor, :lost_minor, :reason,
                    :at)
        """),
        values,
    )


_NOTE = """
    SELECT n.holder_id, n.note_no, n.invoice_no, n.kind, n.from_day, n.net_minor, n.tax_minor, n.lost_minor, n.reason,
           n.at
    FROM members.credit_note n
"""


async def note(connection: AsyncConnection, note_no: int) -> Row[Any] | None:
    """A credit note by its number."""
    found = await connection.execute(text(f"{_NOTE} WHERE n.note_no = :note_no"), {"note_no": note_no})
    return found.one_or_none()


async def note_of(connection: AsyncConnection, invoice_no: int) -> Row[Any] | None:
    """The credit note of an invoice."""
    found = await connection.execute(text(f"{_NOTE} WHERE n.invoice_no = :invoice_no"), {"invoice_no": invoice_no})
    return found.one_or_none()


async def insert_refund(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """Write that money has to go back; its number, None where that is known."""
    found = await connection.execute(
        text("""
            INSERT INTO members.fee_refund (holder_id, invoice_no, payment, amount_minor, reason, at)
            VALUES (:holder_id, :invoice_no, :payment, :amount_minor, :reason, :at)
            ON CONFLICT DO NOTHING RETURNING refund_no
        """),
        values,
    )
    return found.scalar_one_or_none()


async def refund(connection: AsyncConnection, refund_no: int) -> Row[Any] | None:
    """Money that has to go back: holder_id, invoice_no, payment, amount_minor, currency, provider, is_done."""
    found = await connection.execute(
        text("""
            SELECT r.holder_id, r.refund_no, r.invoice_no, i.subscription_no, r.payment, r.amount_minor, i.currency,
                   i.provider, d.at IS NOT NULL AS is_done
            FROM members.fee_refund r JOIN members.invoice i USING (holder_id, invoice_no)
            LEFT JOIN members.fee_refund_done d USING (holder_id, refund_no) WHERE r.refund_no = :refund_no
        """),
        {"refund_no": refund_no},
    )
    return found.one_or_none()


async def open_refund(connection: AsyncConnection, invoice_no: int, payment: str) -> int | None:
    """The number of a refund of a payment that nobody has recorded yet."""
    found = await connection.execute(
        text("""
            SELECT r.refund_no
            FROM members.fee_refund r LEFT JOIN members.fee_refund_done d USING (holder_id, refund_no)
            WHERE r.invoice_no = :invoice_no AND r.payment = :payment AND d.refund_no IS NULL
        """),
        {"invoice_no": invoice_no, "payment": payment},
    )
    return found.scalar_one_or_none()


async def insert_refund_done(
    connection: AsyncConnection, holder_id: int, refund_no: int, reference: str, actor: str, at: datetime
) -> bool:
    """Write that money went back; False where that is known."""
    done = await connection.execute(
        text("""
            INSERT INTO members.fee_refund_done VALUES (:holder_id, :refund_no, :reference, :actor, :at)
            ON CONFLICT DO NOTHING
        """),
        {"holder_id": holder_id, "refund_no": refund_no, "reference": reference, "actor": actor, "at": at},
    )
    return done.rowcount == 1


# --- For settlement -----------------------------------------------------------------------------------------------


async def services(connection: AsyncConnection, currency: str, until: date, paid_until: datetime) -> Sequence[Row[Any]]:
    """What was paid before an instant for days that begin before one: invoice, days, what it is without tax, what
    charging it cost, and from which day it was not served. A present is whose it became, from when it did. Invoices of
    a test are none."""
    found = await connection.execute(
        text("""
            SELECT coalesce(u.holder_id, i.holder_id) AS holder_id,
                   coalesce(u.subscription_no, i.subscription_no) AS subscription_no, i.invoice_no,
                   coalesce(u.service_from, p.service_from) AS service_from,
                   coalesce(u.service_until, p.service_until) AS service_until, i.net_minor, p.charging_minor,
                   n.from_day
            FROM members.fee_payment p JOIN members.invoice i USING (holder_id, invoice_no)
            LEFT JOIN members.credit_note n USING (invoice_no)
            LEFT JOIN members.gift_use u ON u.invoice_no = i.invoice_no
            WHERE NOT p.is_surplus AND NOT i.is_test AND i.currency = :currency AND p.at < :paid_until
              AND coalesce(u.service_from, p.service_from) < :until
              AND (i.kind <> 'GIFT' OR u.at < :paid_until)
            ORDER BY i.invoice_no
        """),
        {"currency": currency, "until": until, "paid_until": paid_until},
    )
    return found.all()


async def paid(connection: AsyncConnection, currency: str, until: datetime) -> Sequence[Row[Any]]:
    """Money that came before an instant: provider, reference, is_surplus, amount, charging, net, tax and its rule."""
    found = await connection.execute(
        text("""
            SELECT p.provider, p.reference, p.is_surplus, p.amount_minor, p.charging_minor, i.net_minor, i.tax_minor,
                   i.tax_code, i.tax_version
            FROM members.fee_payment p JOIN members.invoice i USING (holder_id, invoice_no)
            WHERE NOT i.is_test AND i.currency = :currency AND p.at < :until ORDER BY p.at, p.invoice_no, p.reference
        """),
        {"currency": currency, "until": until},
    )
    return found.all()


async def credited(connection: AsyncConnection, currency: str, until: datetime) -> Sequence[Row[Any]]:
    """Credit notes before an instant: note_no, kind, net, tax and its rule, what was lost, of which invoice, and
    what of that was served, without tax."""
    found = await connection.execute(
        text("""
            SELECT n.note_no, n.kind, n.net_minor, n.tax_minor, n.lost_minor, i.tax_code, i.tax_version, i.invoice_no,
                   i.net_minor - n.net_minor AS served_minor
            FROM members.credit_note n JOIN members.invoice i USING (holder_id, invoice_no)
            WHERE NOT i.is_test AND i.currency = :currency AND n.at < :until ORDER BY n.note_no
        """),
        {"currency": currency, "until": until},
    )
    return found.all()


async def returned(connection: AsyncConnection, currency: str, until: datetime) -> Sequence[Row[Any]]:
    """Surplus that went back before an instant: refund_no, amount_minor."""
    found = await connection.execute(
        text("""
            SELECT r.refund_no, r.amount_minor
            FROM members.fee_refund r JOIN members.fee_refund_done d USING (holder_id, refund_no)
            JOIN members.invoice i USING (holder_id, invoice_no)
            WHERE r.reason = 'SURPLUS' AND NOT i.is_test AND i.currency = :currency AND d.at < :until
            ORDER BY r.refund_no
        """),
        {"currency": currency, "until": until},
    )
    return found.all()
