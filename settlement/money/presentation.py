"""PURE: how the books are shown to the general ledger: gross or net. The journal itself is never changed by it.

The books keep redemptions net, as a spread, and subscriptions gross, as revenue and the cost of benefits. Whether the
operator is principal or agent is a judgement of whoever reports, so each can be shown the other way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from settlement.money import accounts
from settlement.money.entries import Entry, Posting

_REDEMPTIONS = ("REDEMPTION", "REFUND")


def gross(entry: Entry) -> Entry:
    """A redemption with the revenue of what was released and the cost of what was paid, instead of their difference.

    What came from the pool and from the funder is revenue, what the redeemer is paid is cost. Other entries, and those
    in two currencies, stay as they are.
    """
    if entry.kind not in _REDEMPTIONS or any(p.account == accounts.FX_CLEARING for p in entry.postings):
        return entry
    kept = [p for p in entry.postings if p.account != accounts.SPREAD]
    paid = [p for p in kept if _is_reimbursement(entry, p)]
    released, cost = sum(p.amount_micro for p in kept if p not in paid), -sum(p.amount_micro for p in paid)
    shown = [
        Posting(accounts.REDEMPTION_REVENUE, kept[0].currency, -released, terms_id=kept[0].terms_id),
        Posting(accounts.REDEMPTION_COST, kept[0].currency, cost, terms_id=kept[0].terms_id),
    ]
    return Entry(entry.kind, (*kept, *(p for p in shown if p.amount_micro)))


def net(entries: Iterable[Entry]) -> list[Entry]:
    """Entries with the cost of benefits taken off subscription revenue instead of shown beside it."""
    return [
        Entry(
            entry.kind,
            tuple(
                replace(p, account=accounts.SUBSCRIPTIONS) if p.account == accounts.BENEFITS else p
                for p in entry.postings
            ),
        )
        for entry in entries
    ]


def _is_reimbursement(entry: Entry, posting: Posting) -> bool:
    """The redeemer's side: Cr of a redemption, Dr of a refund."""
    way = 1 if entry.kind == "REFUND" else -1
    return posting.account == accounts.POSITION and posting.amount_micro * way > 0
