"""PURE: what a partner may do with points by its agreement: issue them, take them, both, or only honour cards."""

from __future__ import annotations

from kit.errors import Rejection
from partners.terms import Terms


class PartnerDoesNotIssue(Rejection):
    """By its agreement the partner grants no points."""

    code = "PARTNER_DOES_NOT_ISSUE"
    retryable = False


class PartnerDoesNotRedeem(Rejection):
    """By its agreement no points are spent at the partner."""

    code = "PARTNER_DOES_NOT_REDEEM"
    retryable = False


def require_issuer(terms: Terms) -> None:
    """Raises PartnerDoesNotIssue."""
    if not terms.issues:
        raise PartnerDoesNotIssue(f"the partner takes part as {terms.role} and grants no points")


def require_redeemer(terms: Terms) -> None:
    """Raises PartnerDoesNotRedeem."""
    if not terms.redeems:
        raise PartnerDoesNotRedeem(f"the partner takes part as {terms.role}: no points are spent there")
