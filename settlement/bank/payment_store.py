"""Statements on bank accounts, legs, orders and what the bank told. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ACCOUNT = (
    "a.account_id, a.party_id, a.currency, a.holder, a.iban, a.bic, a.mandate, a.mandate_signed_on, a.creditor_id, "
    "a.approval_id"
)

# What a leg came to: state, what the bank's payments and a partner's default took off, and what is left.
_LEG = """
    SELECT l.leg_id, l.run_id, l.partner_id, l.currency, l.direction, l.amount_minor, l.due_on, l.reference,
           s.to_state AS state, s.at AS state_at, CAST(paid.minor AS bigint) AS paid_minor,
           CAST(l.amount_minor - paid.minor - relief.minor
                - CASE l.direction WHEN 'PAY_IN' THEN covered.minor ELSE 0 END AS bigint) AS left_minor,
           (SELECT r.to_state FROM settlement.run_step r WHERE r.run_id = l.run_id ORDER BY r.step_no DESC LIMIT 1)
             AS run_state
    FROM settlement.payment_leg l
    JOIN LATERAL (SELECT to_state, at FROM settlement.leg_step t WHERE t.leg_id = l.leg_id
                  ORDER BY step_no DESC LIMIT 1) s ON true
    CROSS JOIN LATERAL (SELECT coalesce(sum(p.amount_minor), 0) AS minor FROM settlement.leg_payment p
                        WHERE p.leg_id = l.leg_id) paid
    CROSS JOIN LATERAL (SELECT coalesce(sum(r.amount_minor), 0) AS minor FROM settlement.leg_relief r
                        WHERE r.leg_id = l.leg_id) relief
    CROSS JOIN LATERAL (SELECT coalesce(sum(d.amount_minor), 0) AS minor FROM settlement.default_step d
                        WHERE (d.run_id, d.partner_id) = (l.run_id, l.partner_id)) covered
"""


# --- Bank accounts --------------------------------------------------------------------------------------------


async def insert_account(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """An account that was proposed; its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.bank_account (party_id, currency, holder, iban, bic, mandate, mandate_signed_on, "
            "                                     creditor_id, approval_id, at) "
            "VALUES (:party_id, :currency, :holder, :iban, :bic, :mandate, :mandate_signed_on, :creditor_id, "
            "        :approval_id, :at) RETURNING account_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def account_of_approval(connection: AsyncConnection, approval_id: int) -> Row[Any] | None:
    """The account that a proposal is about."""
    found = await connection.execute(
        text(f"SELECT {_ACCOUNT} FROM settlement.bank_account a WHERE approval_id = :approval_id"),
        {"approval_id": approval_id},
    )
    return found.one_or_none()


async def insert_account_use(
    connection: AsyncConnection, account_id: int, *, valid_from: datetime, at: datetime
) -> None:
    """From when on an approved account is used."""
    await connection.execute(
        text(
            "INSERT INTO settlement.bank_account_use (account_id, valid_from, at) "
            "VALUES (:account_id, :valid_from, :at)"
        ),
        {"account_id": account_id, "valid_from": valid_from, "at": at},
    )


async def accounts_at(connection: AsyncConnection, at: datetime) -> Sequence[Row[Any]]:
    """The account that each party has in force in each currency at an instant."""
    found = await connection.execute(
        text(
            f"SELECT DISTINCT ON (a.party_id, a.currency) {_ACCOUNT}, u.valid_from "
            "FROM settlement.bank_account a JOIN settlement.bank_account_use u USING (account_id) "
            "WHERE u.valid_from <= :at ORDER BY a.party_id, a.currency, u.valid_from DESC, a.account_id DESC"
        ),
        {"at": at},
    )
    return found.all()


async def has_account(connection: AsyncConnection, party_id: int, currency: str) -> bool:
    """Whether a party ever had an approved account in a currency."""
    found = await connection.execute(
        text(
            "SELECT EXISTS (SELECT FROM settlement.bank_account JOIN settlement.bank_account_use USING (account_id) "
            "WHERE party_id = :party_id AND currency = :currency)"
        ),
        {"party_id": party_id, "currency": currency},
    )
    return bool(found.scalar_one())


# --- Legs and orders ------------------------------------------------------------------------------------------


async def insert_leg(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """What has to be paid for a run by or to a partner, due; its number."""
    made = await connection.execute(
        text(
            "WITH l AS (INSERT INTO settlement.payment_leg (run_id, partner_id, currency, direction, amount_minor, "
            "                                               due_on, reference, at) "
            "  VALUES (:run_id, :partner_id, :currency, :direction, :amount_minor, :due_on, :reference, :at) "
            "  RETURNING leg_id), "
            "s AS (INSERT INTO settlement.leg_step (leg_id, step_no, from_state, to_state, actor, reason, at) "
            "  SELECT leg_id, 1, NULL, 'DUE', :actor, 'due for the run', :at FROM l) SELECT leg_id FROM l"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_leg_step(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A step of a leg. The database refuses one that does not begin where the leg is, or follows no edge."""
    await connection.execute(
        text(
            "INSERT INTO settlement.leg_step (leg_id, step_no, from_state, to_state, actor, reason, at) "
            "SELECT :leg_id, 1 + max(step_no), :from_state, :to_state, :actor, :reason, :at "
            "FROM settlement.leg_step WHERE leg_id = :leg_id"
        ),
        row,
    )


async def legs_of_run(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """The legs of a run and where they stand."""
    found = await connection.execute(
        text(f"{_LEG} WHERE l.run_id = :run_id ORDER BY l.partner_id, l.direction"), {"run_id": run_id}
    )
    return found.all()


async def legs_page(
    connection: AsyncConnection, *, partner_id: int | None, run_id: int | None, state: str | None, before: int | None,
    limit: int,
) -> Sequence[Row[Any]]:  # fmt: skip
    """Legs, the latest first: of a partner, of a run, in a state, older than one, as asked for."""
    found = await connection.execute(
        text(
            f"{_LEG} WHERE (CAST(:partner_id AS int) IS NULL OR l.partner_id = :partner_id) "
            "  AND (CAST(:run_id AS int) IS NULL OR l.run_id = :run_id) "
            "  AND (CAST(:state AS text) IS NULL OR s.to_state = :state) "
            "  AND (CAST(:before AS bigint) IS NULL OR l.leg_id < :before) ORDER BY l.leg_id DESC LIMIT :limit"
        ),
        {"partner_id": partner_id, "run_id": run_id, "state": state, "before": before, "limit": limit},
    )
    return found.all()


async def legs(connection: AsyncConnection, leg_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Legs by their numbers."""
    found = await connection.execute(
        text(f"{_LEG} WHERE l.leg_id = ANY (:leg_ids) ORDER BY l.leg_id"), {"leg_ids": list(leg_ids)}
    )
    return found.all()


async def legs_by_reference(connection: AsyncConnection, references: Sequence[str]) -> Sequence[Row[Any]]:
    """Legs by the references that payments for them carry."""
    found = await connection.execute(
        text(f"{_LEG} WHERE l.reference = ANY (:references) ORDER BY l.leg_id"), {"references": list(references)}
    )
    return found.all()


async def open_pay_ins(connection: AsyncConnection, partner_id: int, currency: str) -> Sequence[Row[Any]]:
    """What a partner has still to pay, the oldest first."""
    found = await connection.execute(
        text(
            f"SELECT * FROM ({_LEG} WHERE l.partner_id = :partner_id AND l.currency = :currency "
            "  AND l.direction = 'PAY_IN') q WHERE left_minor > 0 ORDER BY due_on, leg_id"
        ),
        {"partner_id": partner_id, "currency": currency},
    )
    return found.all()


async def unpaid(connection: AsyncConnection, on: date | None) -> Sequence[Row[Any]]:
    """Legs with something left to be paid, due before a day if one is named."""
    found = await connection.execute(
        text(
            f"SELECT * FROM ({_LEG} WHERE CAST(:on AS date) IS NULL OR l.due_on < :on) q "
            "WHERE left_minor > 0 ORDER BY due_on, leg_id"
        ),
        {"on": on},
    )
    return found.all()


async def insert_order(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A file for the bank; its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.payment_order (message_id, run_id, kind, account_id, currency, execute_on, legs, "
            "                                      total_minor, content, sha256, actor, at) "
            "VALUES (:message_id, :run_id, :kind, :account_id, :currency, :execute_on, :legs, :total_minor, :content, "
            "        :sha256, :actor, :at) RETURNING order_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_order_legs(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Which legs a file is about, and to which account each goes."""
    await connection.execute(
        text(
            "INSERT INTO settlement.order_leg (order_id, leg_id, end_to_end_id, account_id, amount_minor) "
            "VALUES (:order_id, :leg_id, :end_to_end_id, :account_id, :amount_minor)"
        ),
        list(rows),
    )


_ORDER = (
    "SELECT o.order_id, o.message_id, o.run_id, o.kind, o.currency, o.execute_on, o.legs, o.total_minor, o.sha256, "
    "       o.actor, o.at, r.actor AS released_by "
    "FROM settlement.payment_order o LEFT JOIN settlement.order_release r USING (order_id)"
)


async def orders(connection: AsyncConnection, run_id: int | None = None) -> Sequence[Row[Any]]:
    """Files for the bank, in order: of a run, or all."""
    found = await connection.execute(
        text(f"{_ORDER} WHERE CAST(:run_id AS int) IS NULL OR o.run_id = :run_id ORDER BY o.order_id"),
        {"run_id": run_id},
    )
    return found.all()


async def orders_page(connection: AsyncConnection, *, before: int | None, limit: int) -> Sequence[Row[Any]]:
    """Files for the bank, the latest first, older than one."""
    found = await connection.execute(
        text(
            f"{_ORDER} WHERE CAST(:before AS bigint) IS NULL OR o.order_id < :before "
            "ORDER BY o.order_id DESC LIMIT :limit"
        ),
        {"before": before, "limit": limit},
    )
    return found.all()


async def order(connection: AsyncConnection, order_id: int) -> Row[Any] | None:
    """One file for the bank."""
    found = await connection.execute(text(f"{_ORDER} WHERE o.order_id = :order_id"), {"order_id": order_id})
    return found.one_or_none()


async def insert_release(connection: AsyncConnection, order_id: int, *, actor: str, at: datetime) -> None:
    """That a file was let go to the bank."""
    await connection.execute(
        text("INSERT INTO settlement.order_release (order_id, actor, at) VALUES (:order_id, :actor, :at)"),
        {"order_id": order_id, "actor": actor, "at": at},
    )


async def order_content(connection: AsyncConnection, order_id: int) -> bytes | None:
    """A file for the bank as it was written."""
    found = await connection.execute(
        text("SELECT content FROM settlement.payment_order WHERE order_id = :order_id"), {"order_id": order_id}
    )
    return found.scalar_one_or_none()


async def order_legs(connection: AsyncConnection, order_id: int) -> Sequence[Row[Any]]:
    """The legs of a file."""
    found = await connection.execute(
        text("SELECT leg_id, end_to_end_id FROM settlement.order_leg WHERE order_id = :order_id ORDER BY leg_id"),
        {"order_id": order_id},
    )
    return found.all()


async def attempts(connection: AsyncConnection, leg_ids: Sequence[int]) -> dict[int, int]:
    """How often each leg was put into a file."""
    found = await connection.execute(
        text(
            "SELECT leg_id, count(*) AS times FROM settlement.order_leg WHERE leg_id = ANY (:leg_ids) GROUP BY leg_id"
        ),
        {"leg_ids": list(leg_ids)},
    )
    return {row.leg_id: row.times for row in found}


async def register(connection: AsyncConnection, run_id: int | None) -> Sequence[Row[Any]]:
    """Every leg of every file, with where it stands and what the bank said of it: of a run, or all."""
    found = await connection.execute(
        text(
            f"SELECT o.message_id, o.kind, o.sha256, o.legs AS count, o.total_minor AS control_sum, o.currency, "
            "       x.end_to_end_id, x.amount_minor, q.leg_id, q.partner_id, q.state, q.reference, b.booked_on, "
            "       b.servicer_reference, s.status AS bank_status, s.reason AS bank_reason "
            "FROM settlement.payment_order o JOIN settlement.order_leg x USING (order_id) "
            f"JOIN ({_LEG}) q USING (leg_id) "
            "LEFT JOIN LATERAL (SELECT e.booked_on, coalesce(p.servicer_reference, e.servicer_reference) "
            "    AS servicer_reference FROM settlement.leg_payment m "
            "  JOIN settlement.bank_payment p USING (bank_statement_id, entry_no, payment_no) "
            "  JOIN settlement.bank_entry e USING (bank_statement_id, entry_no) WHERE m.leg_id = q.leg_id "
            "  ORDER BY m.bank_statement_id DESC, m.entry_no DESC LIMIT 1) b ON true "
            "LEFT JOIN LATERAL (SELECT status, reason FROM settlement.payment_report_leg r "
            "  WHERE r.end_to_end_id = x.end_to_end_id ORDER BY r.report_id DESC LIMIT 1) s ON true "
            "WHERE CAST(:run_id AS int) IS NULL OR o.run_id = :run_id ORDER BY o.order_id, x.leg_id"
        ),
        {"run_id": run_id},
    )
    return found.all()


# --- The bank's statements ------------------------------------------------------------------------------------


async def insert_statement(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A statement of the bank; its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.bank_statement (account_id, iban, statement_ref, message_id, sequence, currency, "
            "  opening_minor, opening_on, closing_minor, closing_on, file_sha256, actor, at) "
            "VALUES (:account_id, :iban, :statement_ref, :message_id, :sequence, :currency, :opening_minor, "
            "  :opening_on, :closing_minor, :closing_on, :file_sha256, :actor, :at) RETURNING bank_statement_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_entries(
    connection: AsyncConnection, entries: Sequence[Mapping[str, Any]], payments: Sequence[Mapping[str, Any]]
) -> None:
    """Entries of a statement and the payments that they are made of."""
    if entries:
        await connection.execute(
            text(
                "INSERT INTO settlement.bank_entry (bank_statement_id, entry_no, amount_minor, is_reversal, booked_on, "
                "                                   value_on, servicer_reference, bank_code) "
                "VALUES (:bank_statement_id, :entry_no, :amount_minor, :is_reversal, :booked_on, :value_on, "
                "        :servicer_reference, :bank_code)"
            ),
            list(entries),
        )
    if payments:
        await connection.execute(
            text(
                "INSERT INTO settlement.bank_payment (bank_statement_id, entry_no, payment_no, amount_minor, "
                "  end_to_end_id, creditor_reference, message, party, party_account, servicer_reference, "
                "  return_reason) "
                "VALUES (:bank_statement_id, :entry_no, :payment_no, :amount_minor, :end_to_end_id, "
                "  :creditor_reference, :message, :party, :party_account, :servicer_reference, :return_reason)"
            ),
            list(payments),
        )


async def entries_of(connection: AsyncConnection, bank_statement_id: int, numbers: Sequence[int]) -> Sequence[Row[Any]]:
    """Entries of a statement by their numbers, in order."""
    found = await connection.execute(
        text(
            "SELECT * FROM settlement.bank_entry WHERE bank_statement_id = :id AND entry_no = ANY (:numbers) "
            "ORDER BY entry_no"
        ),
        {"id": bank_statement_id, "numbers": list(numbers)},
    )
    return found.all()


async def payments_of(
    connection: AsyncConnection, bank_statement_id: int, numbers: Sequence[int]
) -> Sequence[Row[Any]]:
    """Payments of entries of a statement, in order."""
    found = await connection.execute(
        text(
            "SELECT * FROM settlement.bank_payment WHERE bank_statement_id = :id AND entry_no = ANY (:numbers) "
            "ORDER BY entry_no, payment_no"
        ),
        {"id": bank_statement_id, "numbers": list(numbers)},
    )
    return found.all()


async def entry_count(connection: AsyncConnection, bank_statement_id: int) -> int:
    """How many booked entries a statement has."""
    found = await connection.execute(
        text("SELECT count(*) FROM settlement.bank_entry WHERE bank_statement_id = :id"), {"id": bank_statement_id}
    )
    return int(found.scalar_one())


async def statement_of(connection: AsyncConnection, iban: str, statement_ref: str) -> Row[Any] | None:
    """A statement by what the bank calls it."""
    found = await connection.execute(
        text(
            "SELECT bank_statement_id, opening_minor, closing_minor FROM settlement.bank_statement "
            "WHERE iban = :iban AND statement_ref = :statement_ref"
        ),
        {"iban": iban, "statement_ref": statement_ref},
    )
    return found.one_or_none()


async def last_statement(connection: AsyncConnection, iban: str) -> Row[Any] | None:
    """The last statement of an account."""
    found = await connection.execute(
        text(
            "SELECT bank_statement_id, statement_ref, sequence, closing_minor, closing_on, currency "
            "FROM settlement.bank_statement WHERE iban = :iban ORDER BY bank_statement_id DESC LIMIT 1"
        ),
        {"iban": iban},
    )
    return found.one_or_none()


async def payments_page(
    connection: AsyncConnection, bank_statement_id: int, *, after: tuple[int, int], limit: int
) -> Sequence[Row[Any]]:
    """Payments of a statement behind an entry and payment, in order, each with its entry and with the leg whose
    end-to-end id it has."""
    found = await connection.execute(
        text(
            "SELECT p.*, e.is_reversal, e.bank_code, e.booked_on, x.leg_id AS told_leg_id "
            "FROM settlement.bank_payment p JOIN settlement.bank_entry e USING (bank_statement_id, entry_no) "
            "LEFT JOIN settlement.order_leg x ON x.end_to_end_id = p.end_to_end_id "
            "WHERE p.bank_statement_id = :bank_statement_id AND (p.entry_no, p.payment_no) > (:entry_no, :payment_no) "
            "ORDER BY p.entry_no, p.payment_no LIMIT :limit"
        ),
        {"bank_statement_id": bank_statement_id, "entry_no": after[0], "payment_no": after[1], "limit": limit},
    )
    return found.all()


async def insert_leg_payments(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Which payments of the bank are for which legs."""
    if rows:
        await connection.execute(
            text(
                "INSERT INTO settlement.leg_payment (bank_statement_id, entry_no, payment_no, leg_id, amount_minor, "
                "                                    rule, rules_version, actor, at) "
                "VALUES (:bank_statement_id, :entry_no, :payment_no, :leg_id, :amount_minor, :rule, :rules_version, "
                "        :actor, :at)"
            ),
            list(rows),
        )


async def insert_relief(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """What was written off of a leg."""
    await connection.execute(
        text(
            "INSERT INTO settlement.leg_relief (leg_id, amount_minor, approval_id, actor, at) "
            "VALUES (:leg_id, :amount_minor, :approval_id, :actor, :at)"
        ),
        row,
    )


# --- Suspense -------------------------------------------------------------------------------------------------

_ITEM = (
    "i.item_id, i.bank_statement_id, i.entry_no, i.payment_no, i.currency, i.amount_minor, i.partner_id, i.at, "
    "e.kind AS end_kind"
)


async def insert_item(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """Money of the bank that is for no leg yet; its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.suspense_item (bank_statement_id, entry_no, payment_no, currency, amount_minor, "
            "                                      partner_id, at) "
            "VALUES (:bank_statement_id, :entry_no, :payment_no, :currency, :amount_minor, :partner_id, :at) "
            "RETURNING item_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_item_end(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """What money in suspense was for."""
    await connection.execute(
        text(
            "INSERT INTO settlement.suspense_end (item_id, kind, leg_id, partner_id, approval_id, actor, at) "
            "VALUES (:item_id, :kind, :leg_id, :partner_id, :approval_id, :actor, :at)"
        ),
        row,
    )


async def item(connection: AsyncConnection, item_id: int) -> Row[Any] | None:
    """Money in suspense, and how it ended, if it did."""
    found = await connection.execute(
        text(
            f"SELECT {_ITEM} FROM settlement.suspense_item i LEFT JOIN settlement.suspense_end e USING (item_id) "
            "WHERE item_id = :item_id"
        ),
        {"item_id": item_id},
    )
    return found.one_or_none()


async def open_items(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Money in suspense of which nobody has said what it is for, the oldest first."""
    found = await connection.execute(
        text(
            f"SELECT {_ITEM} FROM settlement.suspense_item i LEFT JOIN settlement.suspense_end e USING (item_id) "
            "WHERE e.item_id IS NULL ORDER BY item_id"
        )
    )
    return found.all()


async def bare_items(connection: AsyncConnection, iban: str, reference: str, amount_minor: int) -> Sequence[Row[Any]]:
    """Money in suspense of an account that is an entry of a number of the bank's, whole, of which the statement said
    nothing else: item_id, amount_minor, is_reversal, bank_code."""
    found = await connection.execute(
        text("""
            SELECT i.item_id, i.amount_minor, e.is_reversal, e.bank_code
            FROM settlement.bank_entry e
            JOIN settlement.bank_statement s USING (bank_statement_id)
            JOIN settlement.bank_payment p USING (bank_statement_id, entry_no)
            JOIN settlement.suspense_item i USING (bank_statement_id, entry_no, payment_no)
            LEFT JOIN settlement.suspense_end x USING (item_id)
            WHERE e.servicer_reference = :reference AND s.iban = :iban AND e.amount_minor = :amount_minor
              AND i.amount_minor = :amount_minor AND x.item_id IS NULL AND num_nonnulls(
                p.end_to_end_id, p.creditor_reference, p.party_account, p.return_reason) = 0
        """),
        {"iban": iban, "reference": reference, "amount_minor": amount_minor},
    )
    return found.all()


async def legs_of_ids(connection: AsyncConnection, end_to_end_ids: Sequence[str]) -> dict[str, int]:
    """The payments of ours that carry end-to-end ids."""
    found = await connection.execute(
        text("SELECT end_to_end_id, leg_id FROM settlement.order_leg WHERE end_to_end_id = ANY (:ids)"),
        {"ids": list(end_to_end_ids)},
    )
    return {row.end_to_end_id: row.leg_id for row in found}


# --- Controls: every row returned is a violation --------------------------------------------------------------

ENTRIES_MAKE_CLOSING = """
    SELECT format('statement %s: opening %s and entries %s are not the closing %s', s.statement_ref, s.opening_minor,
                  coalesce(e.minor, 0), s.closing_minor)
    FROM settlement.bank_statement s
    LEFT JOIN (SELECT bank_statement_id, sum(amount_minor) AS minor FROM settlement.bank_entry
               GROUP BY bank_statement_id) e USING (bank_statement_id)
    WHERE s.opening_minor + coalesce(e.minor, 0) <> s.closing_minor
    UNION ALL
    SELECT format('statement %s opens with %s, the one before closed with %s', statement_ref, opening_minor, before)
    FROM (SELECT statement_ref, opening_minor,
                 lag(closing_minor) OVER (PARTITION BY iban ORDER BY bank_statement_id) AS before
          FROM settlement.bank_statement) s
    WHERE opening_minor <> before
    UNION ALL
    SELECT format('entry %s of statement %s: its payments are %s, it is %s', e.entry_no, e.bank_statement_id, p.minor,
                  e.amount_minor)
    FROM settlement.bank_entry e
    JOIN (SELECT bank_statement_id, entry_no, sum(amount_minor) AS minor FROM settlement.bank_payment
          GROUP BY bank_statement_id, entry_no) p USING (bank_statement_id, entry_no)
    WHERE p.minor <> e.amount_minor
"""

LEGS_ARE_PAID = f"""
    SELECT format('leg %s is %s, and %s minor units are left', leg_id, state, left_minor)
    FROM ({_LEG}) q WHERE state IN ('MATCHED', 'DEFAULTED') AND left_minor <> 0
    UNION ALL
    SELECT format('leg %s is of run %s, which is over, and %s', leg_id, run_id, q.state)
    FROM ({_LEG}) q
    WHERE q.state NOT IN ('MATCHED', 'DEFAULTED') AND q.run_state IN ('SETTLED', 'SEALED')
"""


async def violations(connection: AsyncConnection, control: str) -> list[str]:
    """What one of the controls above found, as sentences."""
    return list((await connection.execute(text(control))).scalars())


async def closings(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Of every currency what the bank's accounts closed with, and what 1110 is: minor units and micro-units."""
    found = await connection.execute(
        text(
            """
            WITH said AS (
              SELECT DISTINCT ON (iban) iban, currency, closing_minor FROM settlement.bank_statement
              ORDER BY iban, bank_statement_id DESC
            )
            SELECT currency, CAST(sum(closing_minor) AS bigint) AS closing_minor,
                   CAST(coalesce((SELECT sum(p.amount_micro) FROM settlement.money_posting p
                                  WHERE p.account = '1110' AND p.currency = said.currency), 0) AS bigint) AS kept_micro
            FROM said GROUP BY currency ORDER BY currency
            """
        )
    )
    return found.all()


async def in_transit(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Of every currency what pay-outs are on their way (minor units), and what 1410 is (Cr, micro-units)."""
    found = await connection.execute(
        text(
            f"""
            WITH sent AS (
              SELECT q.currency, sum(q.left_minor) AS minor FROM ({_LEG}) q
              WHERE q.direction = 'PAY_OUT' AND q.state IN ('INSTRUCTED', 'ACKED', 'PARTIAL') GROUP BY q.currency
            ), kept AS (
              SELECT currency, -sum(amount_micro) AS micro FROM settlement.money_posting WHERE account = '1410'
              GROUP BY currency
            )
            SELECT currency, CAST(coalesce(sent.minor, 0) AS bigint) AS sent_minor,
                   CAST(coalesce(kept.micro, 0) AS bigint) AS kept_micro
            FROM sent FULL JOIN kept USING (currency) ORDER BY currency
            """
        )
    )
    return found.all()


async def suspended(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Of every currency what is in suspense (minor units), with what a run will still take out of it (micro-units),
    and what 2600 is (Cr, micro-units)."""
    found = await connection.execute(
        text(
            """
            WITH open AS (
              SELECT i.currency, sum(i.amount_minor) AS minor FROM settlement.suspense_item i
              WHERE NOT EXISTS (SELECT FROM settlement.suspense_end e WHERE e.item_id = i.item_id) GROUP BY i.currency
            ), due AS (
              SELECT c.currency, -sum(c.amount_micro) AS micro FROM settlement.correction c
              WHERE c.kind = 'RECEIPT_CREDITED' AND NOT EXISTS (
                SELECT FROM settlement.run_correction x JOIN settlement.booking b ON b.source = 'run:' || x.run_id
                WHERE x.correction_id = c.correction_id AND NOT EXISTS (
                  SELECT FROM settlement.booking r WHERE r.source = 'run:' || x.run_id || '/aborted'))
              GROUP BY c.currency
            ), kept AS (
              SELECT currency, -sum(amount_micro) AS micro FROM settlement.money_posting WHERE account = '2600'
              GROUP BY currency
            )
            SELECT currency, CAST(coalesce(open.minor, 0) AS bigint) AS open_minor,
                   CAST(coalesce(due.micro, 0) AS bigint) AS due_micro,
                   CAST(coalesce(kept.micro, 0) AS bigint) AS kept_micro
            FROM open FULL JOIN due USING (currency) FULL JOIN kept USING (currency) ORDER BY currency
            """
        )
    )
    return found.all()


# --- Reports and notices of the bank --------------------------------------------------------------------------


async def order_of_message(connection: AsyncConnection, message_id: str) -> int | None:
    """The number of the file that a message is."""
    found = await connection.execute(
        text("SELECT order_id FROM settlement.payment_order WHERE message_id = :message_id"), {"message_id": message_id}
    )
    return found.scalar_one_or_none()


async def latest_orders(connection: AsyncConnection, leg_ids: Sequence[int]) -> dict[int, int]:
    """The file in which each leg went to the bank last."""
    found = await connection.execute(
        text(
            "SELECT leg_id, max(order_id) AS order_id FROM settlement.order_leg WHERE leg_id = ANY (:leg_ids) "
            "GROUP BY leg_id"
        ),
        {"leg_ids": list(leg_ids)},
    )
    return {row.leg_id: row.order_id for row in found}


async def report_sha256(connection: AsyncConnection, order_id: int, report_ref: str) -> bytes | None:
    """Of which content a report on a file was taken; None where it was not."""
    found = await connection.execute(
        text(
            "SELECT file_sha256 FROM settlement.payment_report WHERE order_id = :order_id AND report_ref = :report_ref"
        ),
        {"order_id": order_id, "report_ref": report_ref},
    )
    sha256 = found.scalar_one_or_none()
    return None if sha256 is None else bytes(sha256)


async def insert_report(connection: AsyncConnection, row: Mapping[str, Any], legs: Sequence[Mapping[str, Any]]) -> None:
    """A report on a file, and what it says of its payments."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.payment_report (report_ref, order_id, status, file_sha256, actor, at) "
            "VALUES (:report_ref, :order_id, :status, :file_sha256, :actor, :at) RETURNING report_id"
        ),
        row,
    )
    report_id = made.scalar_one()
    await connection.execute(
        text(
            "INSERT INTO settlement.payment_report_leg (report_id, end_to_end_id, status, reason) "
            "VALUES (:report_id, :end_to_end_id, :status, :reason)"
        ),
        [{"report_id": report_id, **one} for one in legs],
    )


async def notice_of(connection: AsyncConnection, iban: str, notice_ref: str) -> Row[Any] | None:
    """A notice by what the bank calls it."""
    found = await connection.execute(
        text(
            "SELECT notice_id, content_sha256 FROM settlement.bank_notice "
            "WHERE iban = :iban AND notice_ref = :notice_ref"
        ),
        {"iban": iban, "notice_ref": notice_ref},
    )
    return found.one_or_none()


async def insert_notice(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A notice; its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.bank_notice (iban, notice_ref, message_id, currency, entries, content_sha256, "
            "                                    actor, at) "
            "VALUES (:iban, :notice_ref, :message_id, :currency, :entries, :content_sha256, :actor, :at) "
            "RETURNING notice_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_notice_payments(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """What the entries of a notice are made of."""
    if rows:
        await connection.execute(
            text(
                "INSERT INTO settlement.bank_notice_payment (notice_id, entry_no, payment_no, entry_reference, "
                "  entry_minor, amount_minor, end_to_end_id, creditor_reference, message, party, party_account, "
                "  servicer_reference, return_reason) "
                "VALUES (:notice_id, :entry_no, :payment_no, :entry_reference, :entry_minor, :amount_minor, "
                "  :end_to_end_id, :creditor_reference, :message, :party, :party_account, :servicer_reference, "
                "  :return_reason)"
            ),
            list(rows),
        )


async def noticed_payments(connection: AsyncConnection, iban: str, references: Sequence[str]) -> Sequence[Row[Any]]:
    """What the latest notice told of entries of an account by the bank's own numbers, in order: of such as stand in no
    statement that came since, and took no entry out of suspense. A bank gives some numbers more than once."""
    found = await connection.execute(
        text(
            """
            SELECT p.entry_reference, p.entry_minor, p.amount_minor, p.end_to_end_id, p.creditor_reference, p.message,
                   p.party, p.party_account, p.servicer_reference, p.return_reason
            FROM settlement.bank_notice_payment p JOIN settlement.bank_notice n USING (notice_id)
            WHERE n.iban = :iban AND p.entry_reference = ANY (:references)
              AND (p.notice_id, p.entry_no) = (
                SELECT q.notice_id, q.entry_no FROM settlement.bank_notice_payment q
                JOIN settlement.bank_notice m USING (notice_id)
                WHERE m.iban = :iban AND q.entry_reference = p.entry_reference
                ORDER BY q.notice_id DESC, q.entry_no DESC LIMIT 1)
              AND NOT EXISTS (
                SELECT FROM settlement.bank_entry e JOIN settlement.bank_statement s USING (bank_statement_id)
                WHERE e.servicer_reference = p.entry_reference AND s.iban = :iban AND (s.at >= n.at OR EXISTS (
                  SELECT FROM settlement.suspense_item i JOIN settlement.suspense_end x USING (item_id)
                  WHERE i.bank_statement_id = e.bank_statement_id AND i.entry_no = e.entry_no AND x.at >= n.at)))
            ORDER BY p.entry_reference, p.payment_no
            """
        ),
        {"iban": iban, "references": list(references)},
    )
    return found.all()
