"""Consents: an append-only ledger per purpose and partner. What somebody had agreed to is known for any past moment.

Every purpose is a consent of its own; none is ever bundled with another. Advertising is one per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import FieldProblem, Rejection
from members import store
from members.cards import MemberUnknown

PROGRAMME = "PROGRAMME"
OPERATOR = 0
PURPOSES = frozenset(
    {
        PROGRAMME,
        "PERSONAL_DATA",
        "PARTNER_TRANSFER",
        "ADVERTISING_EMAIL",
        "ADVERTISING_SMS",
        "ADVERTISING_PUSH",
        "ADVERTISING_PHONE",
    }
)


class ConsentRequired(Rejection):
    """A newcomer has not agreed to take part in the programme."""

    code = "CONSENT_REQUIRED"
    retryable = False

    def __init__(self) -> None:
        super().__init__(f"enrolment needs the member's consent of purpose {PROGRAMME}, given to the operator")


class ConsentInvalid(Rejection):
    """A consent for a purpose that we do not know, or without saying to which words."""

    code = "CONSENT_INVALID"
    retryable = False

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("a consent needs a known purpose and the version of the text shown", problems=problems)


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    """A member's "yes" as it was given: for what, to whom (a partner's number, 0 is the operator), to which version of
    the words, when, and where they were shown."""

    purpose: str
    text_version: str
    at: datetime
    partner_id: int = OPERATOR
    channel: str = "PARTNER"


@dataclass(frozen=True, slots=True)
class Consent:
    """What holds for one purpose and partner, since when, and by which version of the words."""

    purpose: str
    partner_id: int
    granted: bool
    text_version: str
    channel: str
    at: datetime


def require(given: Sequence[ConsentGiven]) -> None:
    """Check a newcomer's consents. Rejects CONSENT_INVALID, and CONSENT_REQUIRED without one to the programme."""
    _check(given)
    if not any(consent.purpose == PROGRAMME and consent.partner_id == OPERATOR for consent in given):
        raise ConsentRequired


async def grant(connection: AsyncConnection, member_id: int, given: ConsentGiven) -> None:
    """Append a "yes". Rejects CONSENT_INVALID, MEMBER_UNKNOWN."""
    await _append(connection, member_id, given, granted=True)


async def withdraw(connection: AsyncConnection, member_id: int, given: ConsentGiven) -> None:
    """Append a "no", whether or not there was a "yes": an objection counts too. Rejects as `grant` does."""
    await _append(connection, member_id, given, granted=False)


async def append_granted(connection: AsyncConnection, given: Sequence[tuple[int, ConsentGiven]], at: datetime) -> None:
    """Append checked consents of members who are new or locked.

    None is later than `at`: a till whose clock runs ahead must not make a member who has not agreed yet.
    """
    await store.append_consents(
        connection, [_row(member_id, consent, min(consent.at, at), granted=True) for member_id, consent in given]
    )


async def keep_refusals(connection: AsyncConnection, *, of: int, to: int, at: datetime) -> None:
    """Let what one locked member has refused be refused by another one too, where that one agreed.

    Of two records of one person the stricter holds. Taking part in the programme is not a purpose of this kind.
    """
    agreed = {(one.purpose, one.partner_id) for one in await state_at(connection, to, at) if one.granted}
    refused = [
        one
        for one in await state_at(connection, of, at)
        if not one.granted and one.purpose != PROGRAMME and (one.purpose, one.partner_id) in agreed
    ]
    if refused:
        given = [ConsentGiven(one.purpose, one.text_version, at, one.partner_id, "MERGE") for one in refused]
        await store.append_consents(connection, [_row(to, one, at, granted=False) for one in given])


async def state_at(connection: AsyncConnection, member_id: int, at: datetime) -> list[Consent]:
    """What held at an instant, a row per purpose and partner that had been asked for by then. No row is a "no"."""
    rows = await store.last_consents(connection, member_id, at)
    return [Consent(row.purpose, row.partner_id, row.granted, row.text_version, row.channel, row.at) for row in rows]


async def history(connection: AsyncConnection, member_id: int, at: datetime, *, limit: int) -> list[Consent]:
    """Every answer that a member gave by an instant, the latest first, at most so many."""
    rows = await store.consents_of(connection, member_id, at, limit)
    return [Consent(row.purpose, row.partner_id, row.granted, row.text_version, row.channel, row.at) for row in rows]


async def is_granted(
    connection: AsyncConnection, member_id: int, purpose: str, at: datetime, *, partner_id: int = OPERATOR
) -> bool:
    """Whether a member's consent to a purpose and partner held at an instant."""
    return any(
        consent.granted and consent.purpose == purpose and consent.partner_id == partner_id
        for consent in await state_at(connection, member_id, at)
    )


async def _append(connection: AsyncConnection, member_id: int, given: ConsentGiven, *, granted: bool) -> None:
    _check([given])
    # The next number of a member's ledger is read and taken; two at once would take the same.
    if not await store.lock_member(connection, member_id):
        raise MemberUnknown
    await store.append_consents(connection, [_row(member_id, given, given.at, granted=granted)])


def _check(given: Sequence[ConsentGiven]) -> None:
    problems = [
        FieldProblem(("consents", str(index), name), "INVALID", message)
        for index, consent in enumerate(given)
        for name, message in _complaints(consent)
    ]
    if problems:
        raise ConsentInvalid(problems)


def _complaints(consent: ConsentGiven) -> list[tuple[str, str]]:
    complaints = []
    if consent.purpose not in PURPOSES:
        complaints.append(("purpose", f"one of {', '.join(sorted(PURPOSES))}"))
    if not 0 < len(consent.text_version) <= 64 or not consent.text_version.isprintable():
        complaints.append(("textVersion", "1 to 64 printable characters"))
    if not 0 < len(consent.channel) <= 64 or not consent.channel.isprintable():
        complaints.append(("channel", "1 to 64 printable characters"))
    return complaints


def _row(member_id: int, consent: ConsentGiven, at: datetime, *, granted: bool) -> dict[str, object]:
    return {
        "member_id": member_id,
        "purpose": consent.purpose,
        "partner_id": consent.partner_id,
        "granted": granted,
        "text_version": consent.text_version,
        "channel": consent.channel,
        "at": at,
    }
