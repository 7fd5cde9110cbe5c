"""The partner portal at /portal: what a partner's people look at and decide, each as far as their roles go.

Every page asks named documents for the colleague who is signed in. What is secret is shown once, in the answer to the
form that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from gateway import scopes
from gateway.finance import report_pages
from gateway.pages import (
    partnership_phrases,
    portal_frame,
    portal_integration,
    portal_outlets,
    portal_partnership,
)
from gateway.pages.portal_frame import HOME, Office
from gateway.pages.portal_webhooks import ROUTES as OF_WEBHOOKS
from gateway.pages.workplace import Problem, decided, language
from kit.errors import Rejection

DAYS = 14
ON_A_PAGE = 20
LINES_ON_A_PAGE = 25
MOST_TERMINALS = 20


async def home(office: Office) -> Response:
    """GET /portal: points by day, and what is open."""
    today = (await office.request.app.state.services.now()).date()
    days = {"since": (today - timedelta(days=DAYS - 1)).isoformat(), "until": (today + timedelta(days=1)).isoformat()}
    activity = (await office.ask("PortalHome", **days))["partnerActivity"]
    found = await office.ask("PortalOpen") if office.may(scopes.SETTLEMENT_READ) else None
    alerts = (await office.ask("PortalAlerts"))["partnerAlerts"]
    most = max((int(each[kind]) for each in activity for kind in ("issued", "redeemed")), default=0)
    return office.page(
        "home.html", activity=activity, most=most, found=found, alerts=alerts, words=partnership_phrases.ALERTS
    )


# --- Clients and requests -----------------------------------------------------------------------------------


async def clients(office: Office, problem: Problem | None = None) -> Response:
    """GET /portal/clients: the programs that call for the partner."""
    return office.page("clients.html", problem=problem, clients=(await office.ask("PortalClients"))["apiClients"])


async def new_client(
    office: Office, problem: Problem | None = None, fields: Mapping[str, str] | None = None
) -> Response:
    """GET /portal/clients/new: asks what the client is to be."""
    found = (await office.ask("PortalScopes"))["grantableScopes"]
    return office.page("client_new.html", problem=problem, scopes=found, fields=fields or {})


async def add_client(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/clients/new: the client is added; a secret is shown."""
    kind, key = fields.get("kind", "KEY"), fields.get("publicKey", "").strip()
    given = {
        "name": fields.get("name", ""),
        "scopes": [name.removeprefix("scope ") for name in fields if name.startswith("scope ")],
        "publicKey": key or "{}" if kind == "KEY" else None, "forTills": kind == "TILLS",
    }  # fmt: skip

    async def again(at: Office, problem: Problem) -> Response:
        return await new_client(at, problem, fields)

    return await decided(
        office, fields, "AddApiClient", given, onward=f"{HOME}/clients/new", again=again, shown=_with_secret
    )


async def client(office: Office, problem: Problem | None = None) -> Response:
    """GET /portal/clients/{client}: one client with its credentials, and what was done to it."""
    found = (await office.ask("PortalClient", client=_client_id(office)))["apiClient"]
    if found is None:
        return office.missing(f"{HOME}/clients")
    is_again = bool(office.asked("again"))
    return office.page("client.html", problem=problem, client=found, secret=None, is_again=is_again)


async def add_key(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/clients/{client}/key: another key is registered."""
    given = {"publicKey": fields.get("publicKey", ""), "overlapHours": _number(fields.get("overlap"), 24)}
    return await _changed(office, fields, "AddClientKey", given)


async def remove_key(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/clients/{client}/remove-key: a key is refused from now on."""
    return await _changed(office, fields, "RemoveClientKey", {"kid": fields.get("kid", "")})


async def rotate(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/clients/{client}/secret: a new secret is made and shown."""
    given = {"overlapHours": _number(fields.get("overlap"), 24)}
    return await _changed(office, fields, "RotateClientSecret", given)


async def suspend(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/clients/{client}/suspend: the client is let in no more."""
    return await _changed(office, fields, "SuspendApiClient", {})


async def sandbox(
    office: Office, problem: Problem | None = None, *, made: list[dict[str, Any]] | None = None
) -> Response:
    """GET /portal/sandbox: makes up members to try out a till with."""
    places = (await office.ask("TillPlaces"))["viewer"]["outlets"]
    outlets = [each for each in places if each["terminals"]]
    now, currency = await _here(office)
    return office.page(
        "sandbox.html",
        problem=problem,
        made=made,
        outlets=outlets,
        is_again=bool(office.asked("again")),
        now=now,
        currency=currency,
    )


async def _here(office: Office) -> tuple[str, str]:
    """The sandbox's instant and the currency of the partner's receipts, for whoever goes on to the explorer."""
    services, now = office.request.app.state.services, await office.request.app.state.services.now()
    terms = (await services.directory.get()).terms_at(office.viewer.partner_id or 0, now)
    currency = "" if terms is None else terms.currency
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), currency


async def seed(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/sandbox: members are made up, and shown once."""

    async def shown(at: Office, told: dict[str, Any]) -> Response:
        if told["replayed"]:
            return RedirectResponse(f"{HOME}/sandbox?again=1", 303)
        return await sandbox(at, made=told["members"])

    given = {"outlet": fields.get("outlet", "")}
    return await decided(office, fields, "SeedSandbox", given, onward=f"{HOME}/sandbox", again=sandbox, shown=shown)


# --- Statements ---------------------------------------------------------------------------------------------


async def statements(office: Office) -> Response:
    """GET /portal/statements: what was settled, the latest first."""
    found = await office.ask("PortalStatements", first=ON_A_PAGE, after=office.asked("after") or None)
    return office.page("statements.html", found=found["settlementStatements"], is_first=not office.asked("after"))


async def statement(office: Office, problem: Problem | None = None) -> Response:
    """GET /portal/statements/{id}: one statement with its lines, and its files."""
    found = await office.ask("PortalStatement", id=office.request.path_params["id"])
    if found["settlementStatement"] is None:
        return office.missing(f"{HOME}/statements")
    return office.page(
        "statement.html", problem=problem, its=found["settlementStatement"],
        three=portal_partnership.three_numbers(found["settlementStatement"]["lines"]["nodes"]),
        reports=[each for each in found["settlementReports"] if each["needsRun"]],
        may_accept=office.may(scopes.STATEMENTS_ACCEPT),
    )  # fmt: skip


async def line(office: Office) -> Response:
    """GET /portal/statements/{id}/lines/{line}: what is behind a line, receipt by receipt."""
    id, number = office.request.path_params["id"], office.request.path_params["line"]
    found = await office.ask(
        "PortalMovements", id=id, line=number, first=LINES_ON_A_PAGE, after=office.asked("after") or None
    )
    its = found["settlementStatement"]
    chosen = None if its is None else next((one for one in its["lines"]["nodes"] if one["number"] == number), None)
    if chosen is None:
        return office.missing(f"{HOME}/statements")
    return office.page(
        "line.html", its=its, line=chosen, found=found["ownMovements"], is_first=not office.asked("after")
    )


async def receipt(office: Office) -> Response:
    """GET /portal/receipts?outlet=&date=&reference=: one of the partner's receipts, and why it earned what it did."""
    outlet, reference, day = office.asked("outlet"), office.asked("reference"), office.asked("date", 10)
    places = (await office.ask("TillPlaces"))["viewer"]["outlets"]
    terminals: list[str] = next((each["terminals"] for each in places if each["code"] == outlet), [])
    for terminal in (*terminals[:MOST_TERMINALS], None):
        ref = {"receipt": {"outlet": outlet, "terminal": terminal, "businessDate": day, "reference": reference}}
        found = (await office.ask("PortalReceipt", ref=ref))["transaction"]
        if found is not None:
            return office.page("receipt.html", receipt=found, outlet=outlet, terminal=terminal, day_of=day)
    return office.missing(f"{HOME}/statements")


async def accept(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/statements/{id}/accept: the statement is accepted for the partner."""
    id = office.request.path_params["id"]
    return await decided(
        office, fields, "AcceptStatement", {"statementId": id}, again=statement,
        onward=f"{HOME}/statements/{quote(id, safe='')}",
    )  # fmt: skip


async def dispute(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/statements/{id}/dispute: a line is disputed."""
    given = {
        "statementId": office.request.path_params["id"], "line": _number(fields.get("line"), 0),
        "reason": fields.get("reason", ""), "amount": fields.get("amount", "").strip().replace(",", "."),
        "note": fields.get("note", ""), "reference": fields.get("reference", "").strip() or None,
    }  # fmt: skip
    return await decided(office, fields, "OpenDispute", given, onward=f"{HOME}/disputes", again=statement)


async def disputes(office: Office, problem: Problem | None = None) -> Response:
    """GET /portal/disputes: what is disputed, and where it stands."""
    found = await office.ask("PortalDisputes", first=ON_A_PAGE, after=office.asked("after") or None)
    return office.page(
        "disputes.html", problem=problem, found=found["statementDisputes"], is_first=not office.asked("after")
    )


async def answer(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/disputes/answer: the partner's turn in a dispute is taken."""
    given = {
        "disputeId": fields.get("dispute", ""), "answer": fields.get("answer", ""), "note": fields.get("note") or None
    }  # fmt: skip
    return await decided(office, fields, "AnswerDispute", given, onward=f"{HOME}/disputes", again=disputes)


async def differences(office: Office) -> Response:
    """GET /portal/differences: where the partner's books and ours say something else."""
    is_all = bool(office.asked("all"))
    found = await office.ask("PortalDifferences", first=ON_A_PAGE, after=office.asked("after") or None, all=is_all)
    return office.page(
        "differences.html", found=found["settlementBreaks"], is_all=is_all, is_first=not office.asked("after")
    )


async def report(office: Office) -> Response:
    """GET /portal/reports/{code}?run=&format=: a report of the own statement in a run, as a file."""
    try:
        return await report_pages.report_for(office.request, office.viewer)
    except Rejection:
        return office.missing(f"{HOME}/statements")


async def package(office: Office) -> Response:
    """GET /portal/packages/{run}: the signed package of the own statement in a run."""
    try:
        return await report_pages.package_for(office.request, office.viewer)
    except Rejection:
        return office.missing(f"{HOME}/statements")


# --- Colleagues ---------------------------------------------------------------------------------------------


async def colleagues(
    office: Office,
    problem: Problem | None = None,
    invitation: str | None = None,
    fields: Mapping[str, str] | None = None,
) -> Response:
    """GET /portal/colleagues: who signs in for the partner."""
    found = (await office.ask("PortalColleagues"))["colleagues"]
    return office.page("colleagues.html", problem=problem, colleagues=found, invitation=invitation, fields=fields or {})


async def invite(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/colleagues/invite: somebody may sign in; what lets them in first is shown once."""
    given = {
        "name": fields.get("name", ""), "email": fields.get("email", ""), "language": fields.get("language", "en"),
        "roles": [name.removeprefix("role ") for name in fields if name.startswith("role ")],
    }  # fmt: skip

    async def again(at: Office, problem: Problem) -> Response:
        return await colleagues(at, problem, fields=fields)

    async def shown(at: Office, told: dict[str, Any]) -> Response:
        if told["invitation"] is None:
            return RedirectResponse(f"{HOME}/colleagues", 303)
        return await colleagues(at, invitation=told["invitation"])

    return await decided(
        office, fields, "InviteColleague", given, onward=f"{HOME}/colleagues", again=again, shown=shown
    )


async def remove(office: Office, fields: Mapping[str, str]) -> Response:
    """POST /portal/colleagues/remove: a colleague signs in no more."""
    given = {"name": fields.get("name", "")}
    return await decided(office, fields, "RemoveColleague", given, onward=f"{HOME}/colleagues", again=colleagues)


# --- Parts --------------------------------------------------------------------------------------------------


def _client_id(office: Office) -> str:
    return str(office.request.path_params["client"])


async def _changed(office: Office, fields: Mapping[str, str], name: str, given: Mapping[str, Any]) -> Response:
    client_id = _client_id(office)
    return await decided(
        office, fields, name, {"clientId": client_id, **given}, again=client, shown=_with_secret,
        onward=f"{HOME}/clients/{quote(client_id, safe='')}",
    )  # fmt: skip


async def _with_secret(office: Office, told: dict[str, Any]) -> Response:
    """A client after it was changed: its page, or this once the page with the secret that was made."""
    found = told["client"]
    if told["secret"] is None:
        again = "?again=1" if told["replayed"] and found["secrets"] else ""
        return RedirectResponse(f"{HOME}/clients/{found['clientId']}{again}", 303)
    return office.page("client.html", client=found, secret=told["secret"], is_again=False)


def _number(text: str | None, otherwise: int) -> int:
    """A small number as somebody typed it; one that is none is refused as one that is too large."""
    if text is None:
        return otherwise
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 10**6


OF_OTHER_MODULES = portal_integration.ROUTES + portal_partnership.ROUTES + portal_outlets.ROUTES
ROUTES: list[BaseRoute] = OF_OTHER_MODULES + portal_frame.routes(
    (
        ("", home),
        ("/clients", clients),
        ("/clients/new", new_client),
        ("/clients/{client}", client),
        ("/sandbox", sandbox),
        ("/statements", statements),
        ("/statements/{id}", statement),
        ("/statements/{id}/lines/{line:int}", line),
        ("/disputes", disputes),
        ("/receipts", receipt),
        ("/reports/{code}", report),
        ("/packages/{run}", package),
        ("/differences", differences),
        ("/colleagues", colleagues),
    ),
    (
        ("/clients/new", add_client),
        ("/clients/{client}/key", add_key),
        ("/clients/{client}/remove-key", remove_key),
        ("/clients/{client}/secret", rotate),
        ("/clients/{client}/suspend", suspend),
        ("/sandbox", seed),
        ("/statements/{id}/accept", accept),
        ("/statements/{id}/dispute", dispute),
        ("/disputes/answer", answer),
        ("/colleagues/invite", invite),
        ("/colleagues/remove", remove),
        ("/language", language),
        ("/leave", portal_frame.leave),
    ),
)
ROUTES += OF_WEBHOOKS
