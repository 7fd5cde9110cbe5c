"""PURE: what stands for the API's codes on the pages, in English; the catalogues have the other languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.pages.catalogues import marked as _

ENTRIES: Mapping[str, str] = MappingProxyType(
    {
        "ACCRUAL": _("Earned"),
        "ACTIVATION": _("Became available"),
        "REDEMPTION": _("Spent"),
        "HOLD": _("Set aside"),
        "CAPTURE": _("Spent from what was set aside"),
        "RELEASE": _("No longer set aside"),
        "LAPSE": _("No longer set aside: the time was over"),
        "RETURN": _("Taken back for a return"),
        "REFUND": _("Given back for a return"),
        "REPAYMENT": _("Paid back what was owed"),
        "EXPIRY": _("Expired"),
        "TRANSFER_OUT": _("Given away"),
        "TRANSFER_IN": _("Received"),
        "TRANSFER_BACK": _("Given back to you"),
        "ADJUSTMENT": _("Corrected by the programme"),
        "DECLINE": _("Not spent: declined"),
    }
)

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "earned": _("Earned"),
        "spent": _("Spent"),
        "returned": _("Returned and corrected"),
        "expired": _("Expired"),
    }
)

FILTERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "earned": frozenset({"ACCRUAL", "ACTIVATION"}),
        "spent": frozenset({"REDEMPTION", "HOLD", "CAPTURE", "RELEASE", "LAPSE", "DECLINE"}),
        "returned": frozenset({"RETURN", "REFUND", "REPAYMENT", "ADJUSTMENT"}),
        "expired": frozenset({"EXPIRY"}),
    }
)

PURPOSES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "PROGRAMME": (_("Taking part in the programme"), _("Without it there is no card and there are no points.")),
        "PERSONAL_DATA": (_("Keeping your personal data"), _("Name, address and phone, to recognise and reach you.")),
        "PARTNER_TRANSFER": (_("Passing data to this partner"), _("The partner learns who you are.")),
        "ADVERTISING_EMAIL": (_("Offers by e-mail"), _("News and offers to your e-mail address.")),
        "ADVERTISING_SMS": (_("Offers by text message"), _("News and offers to your phone.")),
        "ADVERTISING_PUSH": (_("Offers on this device"), _("News and offers as notifications.")),
        "ADVERTISING_PHONE": (_("Offers by a call"), _("Somebody may call you.")),
    }
)

CRITERIA: Mapping[str, str] = MappingProxyType(
    {
        "POINTS": _("points"),
        "AMOUNT": _("spent"),
        "PURCHASES": _("purchases"),
        "PARTNERS": _("partners"),
        "TENURE_DAYS": _("days as a member"),
    }
)

BOUNDS: Mapping[str, str] = MappingProxyType(
    {
        "PROGRAMME_CEILING": _("the programme's ceiling"),
        "AGREEMENT_SHARE": _("the share that this partner takes in points"),
        "MINIMUM_MONEY": _("the least that must be paid in money"),
        "BALANCE": _("all that you have available"),
        "SPEND_LOCK": _("your spend lock is on"),
    }
)

OFFERS: Mapping[str, str] = MappingProxyType(
    {
        "PROMOTION": _("Offer"),
        "COUPON": _("Coupon"),
        "REWARD": _("Reward"),
        "STAMPS": _("Stamps"),
    }
)

CARDS: Mapping[str, str] = MappingProxyType(
    {"ACTIVE": _("in use"), "LOST": _("reported gone"), "BLOCKED": _("blocked")}
)

PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "STEP_UP_REQUIRED": _("Confirm first that it is you."),
        "DAILY_CAP_INVALID": _("A limit is a whole number, 0 or more. Leave it empty for no limit."),
        "APPROVAL_UNKNOWN": _("The till no longer waits for this answer. Ask the cashier to try again."),
        "APPROVAL_EXPIRED": _("The till no longer waits for this answer. Ask the cashier to try again."),
        "APPROVAL_DECIDED": _("The till no longer waits for this answer. Ask the cashier to try again."),
        "OFFER_UNKNOWN": _("This offer is not there any more. Look at the list anew."),
        "CARDS_TOO_MANY": _("You have as many cards as one may have. Report those gone that you no longer use."),
        "WALLET_NOT_OFFERED": _("No passes are made for this wallet here."),
        "CARD_UNKNOWN": _("There is no such card any more."),
        "CONSENT_INVALID": _("This consent cannot be given. Open the page anew."),
        "PARTNER_UNKNOWN": _("This partner does not take part any more. Choose another one."),
        "PARTNER_SUSPENDED": _("This partner does not take part at the moment. Choose another one."),
        "AGREEMENT_MISSING": _("This partner does not take part at the moment. Choose another one."),
        "SUBSCRIPTION_EXISTS": _("You have a subscription already. Change that one."),
        "SUBSCRIPTION_STATE": _("That does not fit what the subscription is now. Open the page anew."),
        "PLAN_UNKNOWN": _("There is no such plan at this price any more. Look at the list anew."),
        "TRIAL_USED": _("A trial is had once, and you had it. You can subscribe without one."),
        "PAYMENT_MEANS_MISSING": _("There is nothing yet that could be charged. Choose how to pay."),
        "SEATS_TAKEN": _("Every seat is taken, promised, or not free again yet."),
        "SEAT_UNKNOWN": _("There is no such seat or nobody of this number. Check the number."),
        "REWARD_UNKNOWN": _("This reward is not there any more. Look at the list anew."),
        "REWARD_SOLD_OUT": _("None of this reward is left. Nothing was spent."),
        "INSUFFICIENT_POINTS": _("You do not have so many points available. Nothing was spent."),
        "SPENDING_LOCKED": _("Your spend lock is on. Unlock spending first, on the page Me."),
        "DAILY_CAP_REACHED": _("That is more than your limit for a day. Nothing was spent."),
        "INVITATIONS_DISABLED": _("In this programme nobody is invited at the moment."),
        "CLAIM_TOO_EARLY": _("A till may still send this receipt. Wait some days, and claim it then."),
        "CLAIM_TOO_LATE": _("The purchase is older than what can be claimed."),
        "CLAIM_BEFORE_ENROLMENT": _("The purchase was before you took part."),
        "CLAIM_INVALID": _("Something of the receipt cannot be so. Check day, number, sum and place."),
        "CLAIM_DUPLICATE": _("This receipt was claimed before. Look where that claim stands."),
        "CLAIM_RECEIPT_RECORDED": _("This receipt is in your history already."),
        "CLAIM_RECEIPT_ELSEWHERE": _("This receipt is recorded for another card, or was cancelled."),
        "CLAIM_LIMIT_REACHED": _("You made as many claims in thirty days as one may. Try again later."),
        "CLAIM_UNKNOWN": _("There is no such claim any more."),
        "CLAIM_STATE": _("That cannot be done with this claim any more. Open the page anew."),
        "RECEIPT_INVALID": _("Enter an amount as on a receipt, for instance 12.50."),
        "BAD_USER_INPUT": _("Something that was entered cannot be right. Check it and try again."),
        "THROTTLED": _("That was a lot at once. Wait a moment and try again."),
        "SERVICE_UNAVAILABLE": _("The service is being looked after. Nothing is lost: try again in a minute."),
        "OUTCOME_UNKNOWN": _("We could not see whether it was done. Try again: it will not be done twice."),
        "FORBIDDEN": _("This is not for you."),
    }
)
OTHER_PROBLEM = _("That did not work, and nothing has changed. Try again, or tell us the number below.")


def problem(code: str) -> str:
    """What to tell somebody of a code."""
    return PROBLEMS.get(code, OTHER_PROBLEM)


TOO_LARGE = _("This is larger than a page takes. Send it in parts, or at the terminal.")
STALE = _("Nothing was changed: the page was too old, or was not sent by this site. Open it anew and try again.")
NO_CASHIER = _("This page is for cashiers. Ask a manager of the partner for the role CASHIER.")
