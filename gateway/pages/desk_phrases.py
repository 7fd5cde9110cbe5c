"""PURE: what stands for the API's codes on the staff's pages, in English; the catalogues have the other languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages import phrases
from gateway.pages.catalogues import marked as _

STATES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "DRAFT": (_("Draft"), "busy"),
        "CALCULATED": (_("Calculated"), "busy"),
        "CONTROLLED": (_("Controlled"), "busy"),
        "STATEMENTS_ISSUED": (_("Issued"), "busy"),
        "IN_REVIEW": (_("In review"), "busy"),
        "APPROVED": (_("Approved"), "good"),
        "INSTRUCTED": (_("Sent to the bank"), "busy"),
        "SETTLING": (_("Being paid"), "busy"),
        "SETTLED": (_("Settled"), "good"),
        "SEALED": (_("Sealed"), "good"),
        "ABORTED": (_("Ended"), "bad"),
        "SUPERSEDED": (_("Drafted anew"), ""),
        "OPEN": (_("Open"), "busy"),
        "DRAINING": (_("Closing"), "busy"),
        "CUT": (_("Closed"), "good"),
        "BALANCED": (_("Balanced"), "good"),
        "CLAIMED": (_("In a run"), "busy"),
        "BROKEN": (_("Broken"), "bad"),
        "ASSIGNED": (_("Assigned"), "busy"),
        "EXPLAINED": (_("Explained"), "busy"),
        "RESOLVED": (_("Resolved"), "good"),
        "VERIFIED": (_("Verified"), "good"),
        "DUE": (_("Due"), ""),
        "ACKED": (_("Taken by the bank"), "busy"),
        "REJECTED": (_("Rejected"), "bad"),
        "PARTIAL": (_("Paid in part"), "busy"),
        "MATCHED": (_("Paid"), "good"),
        "RETURNED": (_("Came back"), "bad"),
        "OVERDUE": (_("Overdue"), "bad"),
        "DEFAULTED": (_("Not paid: covered"), "bad"),
        "TAKEN": (_("Taken"), "good"),
        "REFUSED": (_("Refused"), "bad"),
        "PROPOSED": (_("Waits for a signature"), "busy"),
        "DECLINED": (_("Declined"), "bad"),
        "CLEAN": (_("Clean"), "good"),
        "NONE": (_("Not yet"), ""),
    }
)
"""What a state is called, and which of the page's colours it has."""

MOVES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "CALCULATED": (_("Calculate"), _("Rates what moved, draws the statements and nets them. Nobody sees it yet.")),
        "CONTROLLED": (
            _("Control"),
            _("Holds the run against every control, and has a second engine calculate it from the postings."),
        ),
        "IN_REVIEW": (
            _("Issue the statements"),
            _("Numbers statements and documents, and shows each partner its own. From here on nothing is edited."),
        ),
    }
)
"""What the next step of a run is called, and what it does."""

RESOLUTIONS: Mapping[str, str] = MappingProxyType(
    {
        "ACCEPT": _("Leave it as it is"),
        "POST": _("Correct the next statement"),
        "WRITE_OFF": _("Write it off"),
    }
)
"""How a break may end, as whoever ends it says it."""

DIRECTIONS: Mapping[str, str] = MappingProxyType({"PAY_IN": _("pays"), "PAY_OUT": _("is paid")})

PROPOSALS: Mapping[str, str] = MappingProxyType(
    {
        "PERIOD_LOCK": _("Lock a period"),
        "STOCK_TRANSFER": _("Points change hands"),
        "STOCK_OPENING": _("Points brought in"),
        "OPENING_BALANCES": _("Opening balances"),
        "TAX_RULE": _("Tax rule"),
        "DEPOSIT_RETURN": _("Give back a deposit"),
        "DEFAULT_COVER": _("Cover what was not paid"),
        "FEE_RECEIPT": _("Receipt of a fee"),
        "FEE_RULES": _("How fees are shared"),
    }
)

TROUBLE: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "CONTROL": (_("A control does not hold"), _("Do not issue anything. Tell whoever runs the programme."), ""),
        "BALANCE": (_("Bank and books differ"), _("Do not issue anything. Tell whoever runs the programme."), ""),
        "SUSPENSE": (_("Money in suspense"), _("Say what it is for."), "/console/payments"),
        "FILE": (_("A file waits"), _("It is compared with our receipts by the worker."), "/console/files"),
        "WINDOW_BROKEN": (
            _("A window is broken"),
            _("What was added up is not what was counted. Tell whoever runs the programme."),
            "/console/windows",
        ),
        "WINDOW_UNREAD": (
            _("A window cannot be read yet"),
            _("A transaction from before the cut is still open. Ask whoever runs the database."),
            "/console/windows",
        ),
        "RUN_STANDS": (_("A run stands still"), _("Do its next step, or end it with a reason."), "/console/runs"),
        "RUN_WAITS": (
            _("A run waits for approval"),
            _("Its review is over: a second person decides."),
            "/console/runs",
        ),
        "PAYMENT": (_("A payment is late"), _("Ask the partner, or have it covered."), "/console/payments"),
        "BREAK": (_("A break is late"), _("Its owner resolves it today."), "/console/breaks"),
        "DISPUTE": (
            _("A dispute is late"),
            _("Somebody has to answer: silence decides for the partner."),
            "/console/breaks",
        ),
        "PROPOSAL_WAITS": (
            _("A proposal waits"),
            _("Another of finance approves or declines it."),
            "/console/proposals",
        ),
        "DEPOSIT_SHORT": (_("A deposit is short"), _("Ask the partner for what is missing."), "/console/cover"),
        "CAP_EXCEEDED": (_("A partner is over its cap"), _("Have it pay, or agree on another cap."), "/console/cover"),
    }
)
"""What is the matter, what to do about it, and where."""

PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "RUN_STATE": _(
            "The run is not where this can be done any more. Somebody may have been quicker: look at it anew."
        ),
        "RUN_UNKNOWN": _("There is no such run."),
        "REVIEW_OPEN": _("Partners may still object. Approve it when the last review is over, or all have accepted."),
        "FOUR_EYES_REQUIRED": _("You made this yourself. Somebody else has to decide."),
        "ROLE_SELF_GRANTED": _("You gave yourself this role. Somebody else has to decide."),
        "NOT_PERMITTED": _("Your roles do not allow this. Ask whoever grants roles in the programme."),
        "NOTHING_TO_SETTLE": _("Everything that is closed is settled already. Close a cut-off first."),
        "WINDOW_UNREAD": _("A transaction from before the cut is still open. Try again in a minute."),
        "WINDOW_BROKEN": _("A window is broken: nothing is settled before that is put right."),
        "CONTROL_FAILED": _("A control does not hold, so nothing was written. Look at what does not balance."),
        "RUN_HAS_SUCCESSOR": _("A later run begins where this one ended. That one has to go first."),
        "REASON_MISSING": _("Say why: it stays for ever."),
        "PERIOD_LOCKED": _("The period is closed. What is wrong is put right in the open one."),
        "CUTOFF_NOT_OPEN": _("This cut-off was closed meanwhile. Look at the list anew."),
        "CUTOFF_OUT_OF_ORDER": _("It cannot be closed before it was opened: the clock is behind."),
        "ALREADY_DECIDED": _("Somebody has decided it already."),
        "PROPOSAL_UNKNOWN": _("There is no such proposal any more."),
        "AGREEMENT_UNKNOWN": _("There is no such version."),
        "AGREEMENT_INVALID": _("The version would say something that cannot be. Check the value and the day."),
        "BREAK_UNKNOWN": _("There is no such break any more."),
        "BREAK_STATE": _("This cannot be done to the break any more. Somebody may have been quicker: look at it anew."),
        "CAUSE_MISSING": _("Say why: it stays for ever."),
        "NOTHING_TO_GIVE": _("The break is about no money, so there is nothing to correct or to write off."),
        "ACTOR_UNKNOWN": _("Nobody of this name acts here. Write the name as the list of staff has it."),
        "REPORT_INCOMPLETE": _("The report needs to be told more: choose a run, and a partner."),
        "REPORT_UNKNOWN": _("There is nothing to report for this choice."),
        "REPORT_TOO_LONG": _("This is too long for a document. Take the workbook or the table."),
        "PACKAGE_UNKNOWN": _("There is no signed package for this choice yet."),
        "IDEMPOTENCY_KEY_REUSED": _("This page was used for something else already. Open it anew and try again."),
    }
)

NOT_YOURS = _("Your roles do not open this page. Ask whoever grants roles in the programme.")
NOT_THERE = _("There is no such thing any more, or there never was. Go back to the list.")


def problem(code: str) -> str:
    """What to tell staff of a code."""
    return PROBLEMS.get(code) or phrases.problem(code)
