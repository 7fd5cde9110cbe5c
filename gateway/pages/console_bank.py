"""The bank at the console: payments and the files that ask for them, what the bank sent and what it is for, money of
which nobody knows that yet, and where parties are paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from gateway.pages import desk, desk_phrases, listings
from gateway.pages.catalogues import marked as _
from gateway.pages.desk import Desk
from gateway.pages.listings import Field, Listing
from gateway.pages.workplace import Problem, decided
from gateway.scopes import SETTLEMENT_DECIDE, SETTLEMENT_MAKE
from gateway.sessions.uploads import Upload
from settlement import states
from settlement.bank import paying

PAYMENTS, FILES, BANK = "/console/payments", "/console/payment-files", "/console/bank"
SUSPENSE, ACCOUNTS = "/console/suspense", "/console/accounts"
ON_A_PAGE, OPEN_PAYMENTS = 25, 100
LARGEST_FILE_BYTES = 2 * 1024 * 1024
STATES = (
    paying.DUE, states.INSTRUCTED, paying.ACKED, paying.REJECTED, paying.PARTIAL, paying.MATCHED, paying.RETURNED,
    paying.OVERDUE, paying.DEFAULTED,
)  # fmt: skip


def _payments_asked(at: Desk) -> Mapping[str, Any]:
    run = at.asked("run")
    return {
        "run": desk.whole(run) if run else None, "state": at.asked("state") or None,
        "partner": at.asked("partner") or None,
    }  # fmt: skip


PAYMENT_LIST = Listing(
    "payments", _("Payments"), "ConsolePayments", "settlementPayments", PAYMENTS,
    (
        Field("partner", _("Partner"), path="partnerName"),
        Field("direction", _("Direction"), "code", words=desk_phrases.DIRECTIONS),
        Field("reference", _("Reference")),
        Field("amount", _("Amount"), "money"),
        Field("left", _("Left"), "money"),
        Field("due", _("Due"), "date", path="dueOn"),
        Field("state", _("State"), "state"),
    ),
    _payments_asked,
)  # fmt: skip
FILE_LIST = Listing(
    "payment-files", _("Files for the bank"), "ConsolePaymentFiles", "paymentFiles", FILES,
    (
        Field("message", _("What it calls itself"), path="messageId"),
        Field("number", "№", "count"),
        Field("run", _("Run"), "count", link="/console/runs/{run}"),
        Field("kind", _("What it asks"), "code", words=desk_phrases.ORDERS),
        Field("payments", _("Payments"), "count"),
        Field("total", _("Together"), "money"),
        Field("execute", _("To be done on"), "date", path="executeOn"),
        Field("prepared", _("Made by"), path="preparedBy"),
        Field("released", _("Let go by"), path="releasedBy"),
    ),
)  # fmt: skip
STATEMENT_LIST = Listing(
    "bank-statements", _("Statements of the bank"), "ConsoleBankStatements", "bankStatements", BANK,
    (
        Field("reference", _("What the bank calls it"), link=BANK + "/{number}"),
        Field("account", _("Account")),
        Field("from", _("From"), "date", path="openedOn"),
        Field("until", _("Until"), "date", path="closedOn"),
        Field("opening", _("Opening"), "money"),
        Field("closing", _("Closing"), "money"),
        Field("payments", _("Payments"), "count", path="paymentCount"),
        Field("matched", _("Matched"), "count", path="matchedCount"),
        Field("suspense", _("In suspense"), "count", path="suspenseCount"),
        Field("by", _("Brought by"), path="takenBy"),
    ),
)  # fmt: skip
TOLD_LIST = Listing(
    "bank-payments", _("Payments of the statement"), "ConsoleBankStatement", "bankStatement.payments",
    BANK + "/{number}",
    (
        Field("party", _("Who")),
        Field("account", _("Account")),
        Field("booked", _("The bank's day"), "date", path="bookedOn"),
        Field("amount", _("Amount"), "money"),
        Field("reference", _("What it says that it is for")),
        Field("state", _("What became of it"), "code", words=desk_phrases.TOLD),
        Field("rule", _("By which rule"), "code", words=desk_phrases.RULES),
        Field("matched", _("For our payments")),
        Field("returned", _("Why it came back"), path="returnReason"),
    ),
    lambda at: {"number": at.number("number")},
)  # fmt: skip
SUSPENSE_LIST = Listing(
    "suspense", _("Money in suspense"), "ConsoleSuspense", "suspenseItems", SUSPENSE,
    (
        Field("number", "№", "count"),
        Field("amount", _("Amount"), "money"),
        Field("partner", _("Whose it may be"), path="partnerName"),
        Field("since", _("Since"), "instant"),
    ),
)  # fmt: skip
ACCOUNT_LIST = Listing(
    "bank-accounts", _("Bank accounts"), "ConsoleAccounts", "bankAccounts", ACCOUNTS,
    (
        Field("partner", _("Partner"), path="partnerName"),
        Field("currency", _("Currency"), path="currencyCode"),
        Field("holder", _("In whose name")),
        Field("account", _("Account")),
        Field("bic", "BIC"),
        Field("state", _("State"), "code", words=desk_phrases.ACCOUNTS),
        Field("from", _("Used from"), "instant", path="validFrom"),
    ),
)  # fmt: skip


# --- Payments and their files -------------------------------------------------------------------------------


async def payments(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/payments: what is paid for runs, and where each payment stands."""
    told = await PAYMENT_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/payments.html", problem=problem, listing=PAYMENT_LIST, payments=told[PAYMENT_LIST.root],
        partners=told["settlementPartners"], asked=_payments_asked(at), states=STATES, can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def follow_up(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/payments/follow-up: what should have come is overdue, what was covered is done."""
    return await decided(at, fields, "FollowUpPayments", {}, onward=PAYMENTS + "?state=OVERDUE", again=payments)


async def write_off(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/payments/write-off: the rest of a payment that came in part is given up."""
    given = {"paymentId": fields.get("payment", ""), "cause": fields.get("cause", "").strip()}
    return await decided(at, fields, "WriteOffPayment", given, onward=PAYMENTS, again=payments)


async def files(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/payment-files: files for the bank, the latest first, and what is to be done with each."""
    told = await FILE_LIST.page(at, ON_A_PAGE)
    runs = [run for run in told["settlementRuns"]["nodes"] if run["state"] in _TO_BE_PAID]
    return at.page(
        "console/payment_files.html", problem=problem, listing=FILE_LIST, files=told[FILE_LIST.root], runs=runs,
        can_make=at.may(SETTLEMENT_MAKE), can_decide=at.may(SETTLEMENT_DECIDE),
    )  # fmt: skip


_TO_BE_PAID = (states.APPROVED, states.INSTRUCTED, states.SETTLING)


async def prepare(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/payment-files: the files of a run are made; again for what was rejected or came back alone."""
    given = {"run": desk.whole(fields.get("run", ""))}
    return await decided(at, fields, "PreparePaymentFiles", given, onward=FILES, again=files)


async def release(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/payment-files/release: a second person lets a file go to the bank."""
    given = {"file": desk.whole(fields.get("file", ""))}
    return await decided(at, fields, "ReleasePaymentFile", given, onward=FILES, again=files)


async def acknowledge(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/payment-files/acknowledge: the bank took a file, but for what is named."""
    rejected = fields.get("rejected", "").replace(",", " ").split()
    given = {"file": desk.whole(fields.get("file", "")), "rejected": rejected}
    return await decided(at, fields, "AcknowledgePaymentFile", given, onward=FILES, again=files)


async def content(at: Desk) -> Response:
    """GET /console/payment-files/{number}/content: a file that was let go, as it goes to the bank."""
    its = (await at.ask("ConsolePaymentFile", number=at.number("number")))["paymentFile"]
    if its is None or its["content"] is None:
        return at.missing(FILES)
    name = f"{its['messageId']}.xml"
    headers = {"Cache-Control": "private, no-store", "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(its["content"], headers=headers, media_type="application/xml")


# --- What the bank sent -------------------------------------------------------------------------------------


async def bank(at: Desk, problem: Problem | None = None, *, taken: dict[str, Any] | None = None) -> Response:
    """GET /console/bank: statements of the bank, the latest first, and where another file is brought."""
    told = await STATEMENT_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/bank.html", problem=problem, listing=STATEMENT_LIST, statements=told[STATEMENT_LIST.root],
        taken=taken, can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def bring(at: Desk, fields: Mapping[str, str], file: Upload | None) -> Response:
    """POST /console/bank: what the bank sent is taken, all of the file or nothing; what became of it is shown."""
    try:
        written = "" if file is None else file.content.decode()
    except UnicodeDecodeError:
        written = ""
    if not written:
        return await bank(at, Problem("BANK_FILE_INVALID"))

    async def shown(at: Desk, told: dict[str, Any]) -> Response:
        return await bank(at, taken=told)

    return await decided(
        at, fields, "ImportBankFile", {"content": written}, onward=BANK, again=bank, shown=shown
    )  # fmt: skip


async def statement(at: Desk) -> Response:
    """GET /console/bank/{number}: payments of a statement of the bank, each with what it is for."""
    its = (await TOLD_LIST.page(at, ON_A_PAGE))["bankStatement"]
    if its is None:
        return at.missing(BANK)
    return at.page("console/bank_statement.html", its=its, listing=TOLD_LIST)


# --- Suspense and accounts ----------------------------------------------------------------------------------


async def suspense(at: Desk, problem: Problem | None = None) -> Response:
    """GET /console/suspense: money of which nobody has said what it is for, the oldest first."""
    told = await SUSPENSE_LIST.page(at, ON_A_PAGE, payments=OPEN_PAYMENTS)
    waiting = [each for each in told["settlementPayments"]["nodes"] if each["state"] not in paying.DONE]
    return at.page(
        "console/suspense.html", problem=problem, listing=SUSPENSE_LIST, items=told[SUSPENSE_LIST.root],
        payments=waiting, partners=told["settlementPartners"], can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def identify(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/suspense/identify: money is for a payment of ours."""
    return await _of_suspense(at, fields, "IdentifySuspense", paymentId=fields.get("payment", ""))


async def send_back(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/suspense/send: a partner's next statement gives it the money."""
    return await _of_suspense(at, fields, "SendSuspense", partner=fields.get("partner", ""))


async def keep(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/suspense/keep: money that is nobody's is kept, when another person approves it."""
    return await _of_suspense(at, fields, "KeepSuspense", cause=fields.get("cause", "").strip())


async def _of_suspense(at: Desk, fields: Mapping[str, str], name: str, **given: Any) -> Response:
    said = {"item": desk.whole(fields.get("item", "")), **given}
    return await decided(at, fields, name, said, onward=SUSPENSE, again=suspense)


_OF_ACCOUNT = ("partner", "holder", "iban", "bic", "currency", "mandate", "signed", "creditor")


async def accounts(at: Desk, problem: Problem | None = None, fields: Mapping[str, str] | None = None) -> Response:
    """GET /console/accounts: where the operator and partners are paid."""
    told = await ACCOUNT_LIST.page(at, ON_A_PAGE)
    return at.page(
        "console/accounts.html", problem=problem, listing=ACCOUNT_LIST, accounts=told[ACCOUNT_LIST.root],
        partners=told["settlementPartners"], currencies=told["settlementCurrencies"],
        fields={name: (fields or {}).get(name, "") for name in _OF_ACCOUNT},
        can_make=at.may(SETTLEMENT_MAKE),
    )  # fmt: skip


async def propose_account(at: Desk, fields: Mapping[str, str]) -> Response:
    """POST /console/accounts: where a party is to be paid, when another person approves it."""
    mandate = None
    if fields.get("mandate", "").strip():
        mandate = {"number": fields["mandate"].strip(), "signedOn": fields.get("signed", "")}
    given = {
        "partner": fields.get("partner", "") or None, "holder": fields.get("holder", "").strip(),
        "iban": fields.get("iban", "").strip(), "bic": fields.get("bic", "").strip() or None,
        "currencyCode": fields.get("currency", ""), "mandate": mandate,
        "creditorId": fields.get("creditor", "").strip() or None,
    }  # fmt: skip

    async def again(at: Desk, problem: Problem) -> Response:
        return await accounts(at, problem, fields)

    return await decided(at, fields, "ProposeBankAccount", given, onward="/console/proposals", again=again)


ROUTES: list[BaseRoute] = [
    *listings.routes((PAYMENT_LIST, FILE_LIST, STATEMENT_LIST, TOLD_LIST, SUSPENSE_LIST, ACCOUNT_LIST)),
    *desk.routes(
        (
            (PAYMENTS, payments),
            (FILES, files),
            (FILES + "/{number}/content", content),
            (BANK, bank),
            (BANK + "/{number}", statement),
            (SUSPENSE, suspense),
            (ACCOUNTS, accounts),
        ),
        (
            (PAYMENTS + "/follow-up", follow_up),
            (PAYMENTS + "/write-off", write_off),
            (FILES, prepare),
            (FILES + "/release", release),
            (FILES + "/acknowledge", acknowledge),
            (SUSPENSE + "/identify", identify),
            (SUSPENSE + "/send", send_back),
            (SUSPENSE + "/keep", keep),
            (ACCOUNTS, propose_account),
        ),
        ((BANK, bring, LARGEST_FILE_BYTES),),
    ),
]
