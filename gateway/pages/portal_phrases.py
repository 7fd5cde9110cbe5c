"""PURE: what stands for the API's codes on the pages of partners' people, in English; the catalogues have the rest."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages import phrases
from gateway.pages.catalogues import marked as _

PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "CLIENT_UNKNOWN": _("There is no such client. Go back to the list."),
        "CLIENT_INVALID": _("Give the client a name of at most 60 characters."),
        "CLIENTS_TOO_MANY": _("You have as many clients as one may have. Suspend one that you no longer need."),
        "CLIENT_KEY_INVALID": _("This is no public key that we accept. Paste the public half as a JSON Web Key."),
        "CLIENT_KEY_TAKEN": _("This key is registered already. Make another one for this client."),
        "CLIENT_KEY_UNKNOWN": _("This key is no longer good."),
        "CLIENT_PUBLIC": _("Tills make keys of their own: such a client has none."),
        "SCOPE_UNKNOWN": _("Choose at least one thing that the client may do."),
        "SCOPE_NOT_AGREED": _("Your agreement does not allow this. Choose less, or ask the operator."),
        "SECRET_NOT_ALLOWED": _("Your clients sign with keys. Ask the operator if a system of yours cannot sign."),
        "OVERLAP_TOO_LONG": _("What is replaced stays good for 0 to 720 hours."),
        "WEBHOOK_UNKNOWN": _("There is no such endpoint. Go back to the list."),
        "WEBHOOK_URL_INVALID": _("The address must be https, at a public host, without a user name and password."),
        "WEBHOOK_INVALID": _(
            "Choose at least one thing that it is told of; a description has up to 120 characters, and what is "
            "replaced stays good for 0 to 720 hours."
        ),
        "WEBHOOKS_TOO_MANY": _("You have as many endpoints as one may have. Remove one that you no longer need."),
        "WEBHOOK_STATUS": _("It is so already: somebody was quicker."),
        "WEBHOOK_DELIVERY_UNKNOWN": _("There is no such delivery, or it is older than 30 days."),
        "ONBOARDING_INVALID": _("A code has up to 32 characters without spaces around them; a name has up to 200."),
        "OUTLET_EXISTS": _("You have an outlet with this code."),
        "OUTLET_UNKNOWN": _("There is no such outlet."),
        "TERMINAL_EXISTS": _("This outlet has a till with this code."),
        "TERMINAL_UNKNOWN": _("There is no such till."),
        "STATUS_UNCHANGED": _("This till is closed already."),
        "COLLEAGUE_INVALID": _("Check the name, the address and the roles: one of them cannot be."),
        "COLLEAGUE_UNKNOWN": _("Nobody of this name signs in any more."),
        "LAST_MANAGER": _("Somebody has to remain who can invite others. Make another colleague a manager first."),
        "STATEMENT_UNKNOWN": _("There is no such statement."),
        "DISPUTE_INVALID": _("Check the line, the reason and the amount: the line at most, what was agreed at least."),
        "DISPUTE_TOO_LATE": _("The time to dispute this statement is over."),
        "DISPUTE_UNKNOWN": _("There is no such dispute."),
        "DISPUTE_STATE": _("This cannot be done now: it is the other side's turn, or it is over."),
        "CAUSE_MISSING": _("Say what is wrong, in a few words."),
        "RUN_STATE": _("This statement cannot be accepted now: it is not in review."),
    }
)

NOT_YOURS = _("Your roles do not open this page. Ask a manager of your company.")
NOT_THERE = _("There is nothing here, or it is not your company's.")

ROLES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "MANAGER": (_("Manager"), _("Colleagues, outlets and tills, statements")),
        "DEVELOPER": (_("Developer"), _("Clients and keys, requests, the sandbox")),
        "FINANCE": (_("Finance"), _("Statements and differences; accepts statements")),
        "CASHIER": (_("Cashier"), _("Sells at the till page")),
    }
)

SCOPES: Mapping[str, str] = MappingProxyType(
    {
        "points:accrue": _("record purchases that earn points"),
        "points:redeem": _("let members spend points"),
        "points:return": _("take purchases back and cancel them"),
        "members:read": _("look up members and quote purchases"),
        "members:enrol": _("enrol members"),
        "events:write": _("tell of events that earn points"),
        "events:moderate": _("decide on events that somebody has to look at"),
        "history:read": _("read your own transactions"),
        "settlement:read": _("read your settlement statements"),
        "rules:read": _("read promotions that concern you"),
        "settlement:files": _("send files of your receipts"),
        "schema:read": _("read the schema"),
    }
)

DISPUTED: Mapping[str, str] = MappingProxyType(
    {
        "D01": _("not our member or sale"),
        "D02": _("a duplicate"),
        "D03": _("wrong amount or quantity"),
        "D04": _("wrong price or version of the agreement"),
        "D05": _("something is missing"),
        "D06": _("a return is not credited"),
        "D07": _("a promotion that was not agreed"),
        "D08": _("the wrong window, or late"),
        "D09": _("tax"),
        "D10": _("fraud"),
        "D11": _("the exchange rate"),
    }
)
DISPUTES: Mapping[str, str] = MappingProxyType(
    {
        "OPENED": _("opened"),
        "ACKNOWLEDGED": _("being looked at"),
        "INFO_REQUESTED": _("you are asked for more"),
        "PROPOSED": _("something is offered"),
        "REJECTED": _("rejected"),
        "ESCALATED": _("somebody else decides"),
        "ACCEPTED": _("given"),
        "ARBITRATED": _("decided"),
        "CLOSED": _("over, nothing is given"),
    }
)

KINDS: Mapping[str, str] = MappingProxyType(
    {"KEY": _("signs with a key"), "SECRET": _("shows a secret"), "TILLS": _("for tills")}
)
STATES: Mapping[str, str] = MappingProxyType(
    {
        "ACTIVE": _("in use"),
        "SUSPENDED": _("closed"),
        "IN_REVIEW": _("in review"),
        "APPROVED": _("approved"),
        "STATEMENTS_ISSUED": _("issued"),
        "INSTRUCTED": _("being paid"),
        "SETTLING": _("being paid"),
        "SETTLED": _("settled"),
        "SEALED": _("settled"),
        "OPEN": _("open"),
        "ASSIGNED": _("being looked at"),
        "EXPLAINED": _("explained"),
        "RESOLVED": _("resolved"),
        "VERIFIED": _("resolved and seen again"),
    }
)
OVER = frozenset({"APPROVED", "INSTRUCTED", "SETTLING", "SETTLED", "SEALED"})
"""Nobody objects any more to statements of runs in these states."""
DEEDS: Mapping[str, str] = MappingProxyType(
    {
        "CLIENT_ADDED": _("added"),
        "CLIENT_KEY_ADDED": _("another key was registered"),
        "CLIENT_KEY_REMOVED": _("a key was removed"),
        "CLIENT_SECRET_ROTATED": _("a new secret was made"),
        "CLIENT_SUSPENDED": _("closed"),
        "CLIENT_RESUMED": _("opened again"),
        "ALLOWANCE_CHANGED": _("was given another allowance"),
    }
)


def problem(code: str) -> str:
    """What to tell partners' people of a code."""
    return PROBLEMS.get(code) or phrases.problem(code)
