"""Statements that read what the bank told and where parties are paid, for whoever looks. Private to the package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def statements(connection: AsyncConnection, *, before: int | None, limit: int) -> Sequence[Row[Any]]:
    """Statements of the bank, the latest first, older than one: each with how many payments it has, how many of them
    are for payments of ours, and how many are in suspense still."""
    found = await connection.execute(
        text(
            "SELECT s.bank_statement_id, s.statement_ref, s.iban, s.currency, s.opening_minor, s.opening_on, "
            "       s.closing_minor, s.closing_on, s.actor, s.at, n.payments, n.matched, n.in_suspense "
            "FROM settlement.bank_statement s CROSS JOIN LATERAL ("
            "  SELECT count(*) AS payments, "
            "         count(*) FILTER (WHERE EXISTS (SELECT FROM settlement.leg_payment m "
            "           WHERE (m.bank_statement_id, m.entry_no, m.payment_no) "
            "               = (p.bank_statement_id, p.entry_no, p.payment_no))) AS matched, "
            "         count(*) FILTER (WHERE EXISTS (SELECT FROM settlement.suspense_item i "
            "           LEFT JOIN settlement.suspense_end e USING (item_id) WHERE e.item_id IS NULL "
            "             AND (i.bank_statement_id, i.entry_no, i.payment_no) "
            "               = (p.bank_statement_id, p.entry_no, p.payment_no))) AS in_suspense "
            "  FROM settlement.bank_payment p WHERE p.bank_statement_id = s.bank_statement_id) n "
            "WHERE CAST(:before AS bigint) IS NULL OR s.bank_statement_id < :before "
            "ORDER BY s.bank_statement_id DESC LIMIT :limit"
        ),
        {"before": before, "limit": limit},
    )
    return found.all()


async def payments(
    connection: AsyncConnection, bank_statement_id: int, *, after: tuple[int, int], limit: int
) -> Sequence[Row[Any]]:
    """Payments of a statement behind an entry and payment, in order, each with what it is for."""
    found = await connection.execute(
        text(
            "SELECT p.entry_no, p.payment_no, p.amount_minor, s.currency, e.booked_on, p.end_to_end_id, "
            "       p.creditor_reference, p.message, p.party, p.party_account, p.return_reason, i.item_id, "
            "       x.kind AS end_kind, m.rule, m.references "
            "FROM settlement.bank_payment p JOIN settlement.bank_entry e USING (bank_statement_id, entry_no) "
            "JOIN settlement.bank_statement s USING (bank_statement_id) "
            "LEFT JOIN settlement.suspense_item i USING (bank_statement_id, entry_no, payment_no) "
            "LEFT JOIN settlement.suspense_end x USING (item_id) "
            "LEFT JOIN LATERAL (SELECT min(q.rule) AS rule, array_agg(l.reference ORDER BY l.leg_id) AS references "
            "  FROM settlement.leg_payment q JOIN settlement.payment_leg l USING (leg_id) "
            "  WHERE (q.bank_statement_id, q.entry_no, q.payment_no) "
            "      = (p.bank_statement_id, p.entry_no, p.payment_no)) m ON true "
            "WHERE p.bank_statement_id = :id AND (p.entry_no, p.payment_no) > (:entry_no, :payment_no) "
            "ORDER BY p.entry_no, p.payment_no LIMIT :limit"
        ),
        {"id": bank_statement_id, "entry_no": after[0], "payment_no": after[1], "limit": limit},
    )
    return found.all()


async def accounts(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Every account that was ever approved: of a party the one that is good the longest last."""
    found = await connection.execute(
        text(
            "SELECT a.account_id, a.party_id, a.currency, a.holder, a.iban, a.bic, a.mandate, a.creditor_id, "
            "       u.valid_from "
            "FROM settlement.bank_account a JOIN settlement.bank_account_use u USING (account_id) "
            "ORDER BY a.party_id, a.currency, u.valid_from DESC, a.account_id DESC"
        )
    )
    return found.all()
