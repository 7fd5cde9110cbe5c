"""Fees at the console: invoices and the money that comes for them, who owes and what was written, what goes back, what
is deferred and recognised as of any day."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway.pages import desk
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_MAKE

INVOICES, ARREARS, RETURNS = "/console/invoices", "/console/arrears", "/console/returns"
RECOGNITION = "/console/recognition"
ON_A_PAGE = 25
_DAY, _CURRENCY = re.compile(r"\d{4}-\d{2}-\d{2}"), re.compile("[A-Z]{3}")

INVOICE_STATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"OPEN": (_("to be paid"), ""), "PAID": (_("paid"), "good"), "VOID": (_("void"), ""),
     "CREDITED": (_("given back"), "")}
)  # fmt: skip
STEPS: Mapping[str, str] = MappingProxyType(
    {
        "FIRST_PAYMENT": _("waits for its first payment"),
        "CHANGE": _("waits for a change to be paid"),
        "PRESENT": _("a present that waits to be paid"),
        "GRACE": _("overdue, benefits stay"),
        "ON_HOLD": _("on hold, no benefits"),
    }
)
WAITS: Mapping[str, str] = MappingProxyType(
    {
        "CHARGE": _("the next try"),
        "PROVIDER": _("what became of an order"),
        "MEANS": _("another means of payment"),
        "MONEY": _("a transfer"),
    }
)
OUTCOMES: Mapping[str, str] = MappingProxyType({"SOFT": _("no money, tried again"), "HARD": _("refused for good")})
LETTERS: Mapping[str, str] = MappingProxyType(
    {
        "RENEWAL": _("renewal announced"),
        "UNPAID": _("not paid"),
        "ON_HOLD": _("on hold"),
        "ENDED": _("ended"),
    }
)
REASONS: Mapping[str, str] = MappingProxyType(
    {
        "CREDIT_NOTE": _("days not served"),
        "SURPLUS": _("nobody owed it"),
        "UNSERVED": _("days not served"),
        "CHARGEBACK": _("taken back by a bank"),
    }
)


async def invoices(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/invoices: invoices, the latest first, of a state or by what a payment names."""
    state, reference = at.asked("state"), at.asked("reference").strip()
    told = await at.ask(
        "ConsoleInvoices", first=ON_A_PAGE, after=at.asked("after") or None, reference=reference or None,
        state=state if state in INVOICE_STATES else None,
    )  # fmt: skip
    return at.page(
        "console/fee_invoices.html", problem=problem, invoices=told["subscriptionInvoices"], state=state,
        reference=reference, invoice_states=INVOICE_STATES,
    )  # fmt: skip


async def invoice(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/invoices/{number}: an invoice, what came for it, and what may be recorded of it."""
    number = at.number("number")
    its = (await at.ask("ConsoleInvoice", number=number))["subscriptionInvoice"]
    if its is None:
        return at.missing(INVOICES)
    return at.page(
        "console/fee_invoice.html", problem=problem, its=its, invoice_states=INVOICE_STATES, letters=LETTERS,
        can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def arrears(at: Desk) -> Response:
    """GET /console/arrears: who owes, in which step since when, what is next, and what was written."""
    step = at.asked("step") if at.asked("step") in STEPS else ""
    told = await at.ask("ConsoleArrears", first=ON_A_PAGE, after=at.asked("after") or None, step=step or None)
    return at.page(
        "console/arrears.html", arrears=told["subscriptionArrears"], totals=told["subscriptionArrearsTotals"],
        step=step, steps=STEPS, waits=WAITS, outcomes=OUTCOMES, letters=LETTERS,
    )  # fmt: skip


async def returns(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/returns: money that has to go back, and the credit notes that it is of."""
    everything = at.asked("all") == "yes"
    told = await at.ask(
        "ConsoleReturns", first=ON_A_PAGE, after=at.asked("after") or None, done=None if everything else False
    )
    return at.page(
        "console/returns.html", problem=problem, refunds=told["subscriptionRefunds"],
        notes=told["subscriptionCreditNotes"]["nodes"], everything=everything, reasons=REASONS,
        can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def recognition(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/recognition: what is deferred and recognised as of a day, and by months or days."""
    as_of = at.asked("as_of") if _DAY.fullmatch(at.asked("as_of")) else ""
    standings = (await at.ask("ConsoleStandings", asOf=as_of or None))["feeStandings"]
    as_of = as_of or next((one["asOf"] for one in standings), "")
    codes = [one["currencyCode"] for one in standings]
    currency = at.asked("currency") if at.asked("currency") in codes else next(iter(codes), "")
    by = "DAY" if at.asked("by") == "DAY" else "MONTH"
    since = at.asked("since") if _DAY.fullmatch(at.asked("since")) else ""
    rows: dict[str, Any] | None = None
    if currency:
        asked = {"currency": currency, "by": by, "first": ON_A_PAGE, "since": since or None}
        rows = (await at.ask("ConsoleRecognition", after=at.asked("after") or None, **asked))["feeRecognition"]
    return at.page(
        "console/recognition.html", problem=problem, standings=standings, rows=rows, currency=currency, by=by,
        since=since, as_of=as_of, can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


# --- What is done -------------------------------------------------------------------------------------------


async def receive(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/invoices/{number}/receipt: the money came; a large sum is proposed instead."""
    given = {
        "invoice": at.number("number"), "amount": fields.get("amount", "").strip().replace(",", "."),
        "reference": fields.get("reference", "").strip(), "evidence": fields.get("evidence", "").strip(),
    }  # fmt: skip
    onward = f"{INVOICES}/{at.number('number')}"

    async def shown(_: Desk, told: Mapping[str, Any]) -> Response:
        return RedirectResponse("/console/proposals" if told["proposal"] else onward, 303)

    return await decided(at, fields, "RecordSubscriptionReceipt", given, onward=onward, again=invoice, shown=shown)


async def charge_back(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/invoices/{number}/chargeback: a bank took the payment back."""
    given = {"invoice": at.number("number"), "reference": fields.get("reference", "").strip()}
    onward = f"{INVOICES}/{at.number('number')}"
    return await decided(at, fields, "RecordSubscriptionChargeback", given, onward=onward, again=invoice)


async def refund(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/returns: money went back."""
    given = {"refund": desk.whole(fields.get("refund", "")), "reference": fields.get("reference", "").strip()}
    return await decided(at, fields, "RecordSubscriptionRefund", given, onward=RETURNS, again=returns)


async def close(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/recognition: a month of fees is closed, and shared."""
    month, currency = fields.get("month", ""), fields.get("currency", "")
    if not re.fullmatch(r"\d{4}-\d{2}", month) or not _CURRENCY.fullmatch(currency):
        return await recognition(at, Problem("BAD_USER_INPUT"))
    given = {"month": f"{month}-01", "currencyCode": currency}
    return await decided(at, fields, "CloseFeeMonth", given, onward="/console/subscription", again=recognition)


ROUTES: list[BaseRoute] = desk.routes(
    (
        (INVOICES, invoices),
        (INVOICES + "/{number}", invoice),
        (ARREARS, arrears),
        (RETURNS, returns),
        (RECOGNITION, recognition),
    ),
    (
        (INVOICES + "/{number}/receipt", receive),
        (INVOICES + "/{number}/chargeback", charge_back),
        (RETURNS, refund),
        (RECOGNITION, close),
    ),
)
