"""Whether a member may spend points at a place at all: a rule may leave that to those who have a plan of the
subscription. Nothing is taken from the others: their points stay, and can be spent when they have one again.

Purchases are bound by such a rule through what points may pay of their bill; what spends points alone, or sets them
aside, has no bill and asks here.
"""

from __future__ import annotations

from datetime import datetime

from members.identification import Identified
from partners import callers
from partners.callers import Caller
from partners.decisions import deciding, decisions
from partners.decisions.deciding import PURCHASE_TRIGGER
from partners.desk import Desk
from partners.promotions.compiling import book
from partners.receipts.receipts import Receipt

_ANY_BILL_MINOR = 100_000


async def check_spending(
    desk: Desk, caller: Caller, member: Identified, outlet: str, terminal: str | None, *, at: datetime
) -> None:
    """Nothing where no rule in force keeps the member from spending points at a place. Reads of the member only where
    there is such a rule. Rejects PLAN_REQUIRED, OUTLET_UNKNOWN, TERMINAL_UNKNOWN."""
    directory = await desk.directory.get()
    partner = callers.place_of(directory, caller, outlet, terminal).partner.code
    release = directory.shelf.at(at, at)
    limits = book(release).candidates(PURCHASE_TRIGGER, "", partner).limits
    if not any(decisions.leaves_spending_to_subscribers(rule.doc) for rule in limits):
        return
    terms = callers.terms_at(directory, caller.partner_id, at)
    bill = Receipt(
        reference="-", outlet=outlet, terminal=terminal, business_date=callers.day_of(directory, at),
        occurred_at=at, currency=terms.currency, total_minor=_ANY_BILL_MINOR,
    )  # fmt: skip
    asked = await deciding.decide(desk, directory, caller, member, bill, at=at, idem_key=None, is_quote=True)
    if asked.decided is not None:
        decisions.check_plan(asked.decided.outcome.spend_limit, release)
