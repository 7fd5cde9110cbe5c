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
        "OPENED": (_("Opened"), "busy"),
        "ACKNOWLEDGED": (_("Looked at"), "busy"),
        "INFO_REQUESTED": (_("The partner is asked"), "busy"),
        "ESCALATED": (_("Somebody else decides"), "bad"),
        "ACCEPTED": (_("Given"), "good"),
        "ARBITRATED": (_("Decided"), "good"),
        "CLOSED": (_("Over, nothing was given"), "bad"),
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
        "OPENING_STOCK": _("Points brought in"),
        "OPENING_BALANCES": _("Opening balances"),
        "TAX_RULE": _("Tax rule"),
        "DEPOSIT_RETURN": _("Give back a deposit"),
        "PARTNER_DEFAULT": _("Cover what was not paid"),
        "BANK_ACCOUNT": _("Bank account"),
        "SUSPENSE": _("Keep money in suspense, or write a rest off"),
        "BREAK": _("End a break"),
        "CLAIM": _("Contested claim to points"),
        "FEE_RECEIPT": _("Receipt of a fee"),
        "FEE_RULES": _("How fees are shared"),
    }
)

SIDES: Mapping[str, str] = MappingProxyType({"PARTNER": _("the partner"), "OPERATOR": _("we"), "SILENCE": _("silence")})
MODES: Mapping[str, str] = MappingProxyType(
    {
        "WITHHELD": _("Withheld: it is not paid before this is decided."),
        "PAY_FIRST": _("Paid first: what is given comes back by a later statement."),
    }
)
CATEGORIES: Mapping[str, str] = MappingProxyType(
    {
        "TIMING": _("Another day's file"),
        "MISSING_OURS": _("We do not have it"),
        "MISSING_THEIRS": _("They do not have it"),
        "DUPLICATE": _("They have it twice"),
        "AMOUNT": _("Another amount"),
        "QUANTITY": _("Other points"),
        "PRICE": _("Another price"),
        "CURRENCY": _("Another currency"),
        "TAX": _("Another tax"),
        "STATUS": _("One side cancelled it"),
        "REFERENCE": _("Another reference"),
        "MAPPING": _("Another outlet"),
        "UNIDENTIFIED_RECEIPT": _("Nobody knows what it is for"),
        "PAYMENT_DIFFERENCE": _("Another sum was paid"),
        "RETURNED_PAYMENT": _("A payment came back"),
        "BANK_FEE": _("A fee of the bank"),
        "FILE": _("A file was not taken"),
    }
)
"""Why two sides differ."""

ENDINGS: Mapping[str, str] = MappingProxyType(
    {
        "POST": _("corrected in the next statement"),
        "ACCEPT": _("left as it is"),
        "WRITE_OFF": _("written off"),
        "DISPUTE": _("became a dispute"),
        "ARRIVED": _("it came later"),
        "MATCHED": _("matched by hand"),
    }
)
"""How a break ended."""

ORDERS: Mapping[str, str] = MappingProxyType({"PAIN_001": _("to pay"), "PAIN_008": _("to collect")})
TOLD: Mapping[str, str] = MappingProxyType(
    {
        "MATCHED": _("for a payment of ours"),
        "SUSPENSE": _("in suspense"),
        "CREDITED": _("given by the next statement"),
        "KEPT": _("kept"),
        "FEE": _("the bank's own"),
    }
)
"""What became of a payment that the bank told of."""

RULES: Mapping[str, str] = MappingProxyType(
    {
        "END_TO_END": _("our id"),
        "REFERENCE": _("our reference"),
        "ACCOUNT": _("account and amount"),
        "GROUPED": _("account and sum"),
        "MANUAL": _("by hand"),
    }
)
ACCOUNTS: Mapping[str, str] = MappingProxyType(
    {"IN_FORCE": _("in use"), "COMING": _("soon"), "REPLACED": _("replaced")}
)
LEDGER: Mapping[str, str] = MappingProxyType(
    {
        "AVAILABLE": _("Available points"),
        "PENDING": _("Points on the way"),
        "HELD": _("Points set aside"),
        "DEBT": _("Owed by the member"),
        "ISSUED": _("Points issued"),
        "REDEEMED": _("Spent points"),
        "EXPIRED": _("Expired points"),
        "RETURNED": _("Returned points"),
        "TRANSFERRED": _("Points passed on"),
        "ADJUSTED": _("Corrected points"),
        "FORGIVEN": _("Points given up"),
    }
)
"""Accounts of the ledger."""
ROUNDING: Mapping[str, str] = MappingProxyType({"LINE": _("each line"), "DOCUMENT": _("the whole document")})
POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "ALERT": _("finance is told"),
        "PENDING_HOLD": _("new points stay pending"),
        "BLOCK": _("tills give no points"),
    }
)
PRICES: Mapping[str, str] = MappingProxyType(
    {
        "fund_price_micro": _("Fund part of a point"),
        "service_price_micro": _("Service part of a point"),
        "reimbursement_price_micro": _("What a spent point is paid with"),
        "hybrid_fund_micro": _("Of the fund part, billed at issue"),
        "breakage_share_bp": _("Share of breakage, basis points"),
    }
)
"""Prices of an agreement, micro-units a point where nothing else is said."""

FACTS: Mapping[str, str] = MappingProxyType(
    {
        "party": _("Whose"),
        "partner": _("Partner"),
        "currency": _("Currency"),
        "iban": _("Account"),
        "collects": _("Collections"),
        "amount": _("Amount"),
        "value": _("Value"),
        "left": _("Left"),
        "cause": _("Why"),
        "reason": _("Why"),
        "resolution": _("How it ends"),
        "reference": _("Reference"),
        "run": _("Run"),
        "through": _("Until"),
    }
)
"""What a proposal's facts are called; others have the name that machines have for them."""

TROUBLE: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        "CONTROL": (_("A control does not hold"), _("Do not issue anything. Tell whoever runs the programme."), ""),
        "BALANCE": (_("Bank and books differ"), _("Do not issue anything. Tell whoever runs the programme."), ""),
        "SUSPENSE": (_("Money in suspense"), _("Say what it is for."), "/console/suspense"),
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
            "/console/disputes",
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
        "NO_COUNTERPART": _(
            "These are not one line on one side and some on the other with the same points. Choose others."
        ),
        "NOTE_INVALID": _("Say something, in 2,000 characters at most."),
        "DISPUTE_UNKNOWN": _("There is no such dispute."),
        "DISPUTE_STATE": _("It is the partner's turn, or it is over. Look at it anew."),
        "DISPUTE_INVALID": _("Check the amount, the line and the reason: one of them cannot be."),
        "DISPUTE_TOO_LATE": _("The time to dispute this statement is over."),
        "BANK_FILE_INVALID": _("This is no camt.053, camt.054 or pain.002 that adds up. Nothing of it was taken."),
        "BANK_ACCOUNT_NOT_OURS": _("It is of an account that is not ours. Propose that under Bank accounts first."),
        "BANK_SEQUENCE_GAP": _("A statement before this one is missing. Bring that one first."),
        "BANK_STATEMENT_CHANGED": _("The bank sent this statement before, with another content. Ask the bank."),
        "BANK_ACCOUNT_INVALID": _("No bank gave this account number. Check the name, the IBAN and the BIC."),
        "BANK_ACCOUNT_MISSING": _("Somebody who pays or is paid has no account yet. Propose it under Bank accounts."),
        "SUSPENSE_UNKNOWN": _("Somebody has said already what this money is for."),
        "SUSPENSE_MISMATCH": _(
            "The money is not for this: another currency or direction, more than is left, or another partner's."
        ),
        "LEG_STATE": _("This cannot be done to the payment any more. Look at it anew."),
        "ORDER_UNKNOWN": _("There is no such file, or no such payment in it."),
        "ORDER_NOT_RELEASED": _("Another person has to let the file go first."),
        "PAYMENTS_OPEN": _("A payment of the run is not done yet."),
        "NOTHING_OWED": _("The partner owes nothing of this run, or all of it is covered."),
        "DEFAULT_TOO_EARLY": _("Wait until the latest run of this currency is over."),
        "DEPOSIT_INVALID": _("A deposit has an amount, the bank's number, and a currency that the partner settles in."),
        "DEPOSIT_SHORT": _("The partner has not deposited so much more than its agreement asks for."),
        "TAX_RULE_INVALID": _("Check the rate, and the day: it has to be later than the one before."),
        "STOCK_INVALID": _("These points cannot change hands like this. Check the version and the amount."),
        "STOCK_MOVING": _("An earlier cut-off is not booked yet. Try again when it is."),
        "STATEMENT_UNKNOWN": _("There is no such statement."),
        "PARTNER_UNKNOWN": _("There is no such partner."),
        "FILE_UNKNOWN": _("There is no such file."),
        "PARTNER_FILE_INVALID": _("This is no file of receipts as partners send them. Nothing of it was taken."),
        "TOO_MANY_DIFFERENCES": _("The two sides hardly meet: it is of another day, partner or format."),
        "WHAT_IF_INVALID": _("Prices are whole numbers, not below zero, and the run has to be over."),
        "BOOKING_KEY_REUSED": _("The bank's number was used for another deposit. Check it."),
        "QUESTION_INVALID": _("Check the name, the columns and what they are compared with."),
        "QUESTION_TOO_LONG": _("The report takes too long. Choose a run or a partner, or take it at the terminal."),
        "QUESTION_UNKNOWN": _("There is no such question any more."),
        "BUDGET_INVALID": _(
            "Check the amount: it is a whole number, or money of the budget's currency, not below zero."
        ),
        "BUDGET_RESERVED": _("What a partner may owe is finance's to say. Ask them."),
        "FUNDING_REUSED": _("This reference was used for another payment into the budget, or waits already."),
        "LAUNCH_REFUSED": _("Something stands against it. Read what, and say so if it is to be in spite of that."),
        "RAISE_OUTDATED": _("The limit was changed since. Decline this, and have it proposed anew."),
        "RELEASE_OUTDATED": _("Something else was published, or a budget was raised, since. Have it submitted anew."),
        "IDEMPOTENCY_KEY_REUSED": _("This page was used for something else already. Open it anew and try again."),
    }
)

NOT_YOURS = _("Your roles do not open this page. Ask whoever grants roles in the programme.")
NOT_THERE = _("There is no such thing any more, or there never was. Go back to the list.")


def problem(code: str) -> str:
    """What to tell staff of a code."""
    return PROBLEMS.get(code) or phrases.problem(code)
