"""Who asks, where it happened and under which terms, checked against the directory's snapshot."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from msgspec import Struct

from kit.errors import Rejection
from kit.secrets import fingerprint
from partners.agreements.onboarding import OutletUnknown, TerminalUnknown
from partners.directory import Directory, Partner
from partners.terms import Terms


class AgreementMissing(Rejection):
    """No agreement with the partner was in force when the purchase happened."""

    code = "AGREEMENT_MISSING"
    retryable = True


class TerminalSuspended(Rejection):
    """The terminal is suspended."""

    code = "TERMINAL_SUSPENDED"
    retryable = True


class TerminalMismatch(Rejection):
    """The caller is one till, and speaks of another or of none."""

    code = "TERMINAL_MISMATCH"
    retryable = False


class PartnerSuspended(Rejection):
    """The partner is suspended."""

    code = "PARTNER_SUSPENDED"
    retryable = True


class Caller(Struct, frozen=True):
    """Who asks: the partner and the number of its OAuth client; terminal_id where it is one till and no other."""

    partner_id: int
    client_no: int
    terminal_id: int | None = None


class Place(Struct, frozen=True):
    """Where it happened, checked: the partner, its outlet's number and its terminal's, if one was named."""

    partner: Partner
    outlet_id: int
    terminal_id: int | None


def place_of(directory: Directory, caller: Caller, outlet_code: str, terminal_code: str | None) -> Place:
    """The caller's own outlet and terminal. Raises PartnerSuspended, OutletUnknown, Terminal-Unknown, -Suspended or
    -Mismatch.
    """
    partner = directory.partner(caller.partner_id)
    if partner is None or partner.status != "ACTIVE":
        raise PartnerSuspended("the partner is suspended")
    outlet = directory.outlet(caller.partner_id, outlet_code)
    if outlet is None:
        raise OutletUnknown("no such outlet; register it first")
    if terminal_code is None:
        if caller.terminal_id is not None:
            raise TerminalMismatch("this till was enrolled as one terminal: name it")
        return Place(partner, outlet.outlet_id, None)
    terminal = directory.terminal(outlet.outlet_id, terminal_code)
    if terminal is None:
        raise TerminalUnknown("no such terminal at this outlet; register it first")
    if terminal.status != "ACTIVE":
        raise TerminalSuspended("the terminal is suspended")
    if caller.terminal_id not in (None, terminal.terminal_id):
        raise TerminalMismatch("this till was enrolled as another terminal")
    return Place(partner, outlet.outlet_id, terminal.terminal_id)


def terms_at(directory: Directory, partner_id: int, at: datetime) -> Terms:
    """The agreement in force at an instant. Raises AgreementMissing."""
    terms = directory.terms_at(partner_id, at)
    if terms is None:
        raise AgreementMissing("no agreement was in force at that time")
    return terms


def idem_key_of(caller: Caller, operation: str, key: str) -> UUID:
    """The scope of an idempotency key: the client, the operation, the key (decision 8).

    Pages of ours, whose numbers are below zero, are one client for every partner: their keys are each partner's own.
    """
    client = str(caller.client_no) if caller.client_no > 0 else f"{caller.client_no} at {caller.partner_id}"
    return fingerprint(client, operation, key)


def day_of(directory: Directory, at: datetime) -> date:
    """The programme's calendar day of an instant."""
    return at.astimezone(ZoneInfo(directory.programme.time_zone)).date()
