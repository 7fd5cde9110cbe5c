"""Attributes: what somebody has looked at and found true of a member, for a time: a large family, a veteran, a student.

What was shown is noted by its kind, never by number or content, and nobody keeps a copy.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from members import attribute_store, sharing, store

LONGEST = timedelta(days=1100)
"""Evidence is looked at again after three years at the latest."""

_WORD = re.compile(r"[A-Z]+(_[A-Z]+)*")


class AttributeInvalid(Rejection):
    """An attribute or evidence that is no word in capitals, or an end that has come or is too far."""

    code = "ATTRIBUTE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Attribute:
    """What is true of a member until an instant, by which kind of evidence, and who looked at it (`partner:7`)."""

    kind: str
    evidence: str
    verifier: str
    at: datetime
    expires_at: datetime


async def verify(
    connection: AsyncConnection,
    member_id: int,
    kind: str,
    *,
    evidence: str,
    verifier: str,
    expires_at: datetime,
    at: datetime,
) -> None:
    """Somebody has looked at evidence and found it good until it ends.

    Rejects ATTRIBUTE_INVALID, MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON.
    """
    if not (_WORD.fullmatch(kind) and _WORD.fullmatch(evidence)):
        raise AttributeInvalid("an attribute and its evidence are words in capitals, such as LARGE_FAMILY")
    if not at < expires_at <= at + LONGEST:
        raise AttributeInvalid(f"evidence ends within {LONGEST.days} days")
    member = await sharing.person(connection, member_id)
    await store.lock_member(connection, member.member_id)
    await attribute_store.append(
        connection,
        member.member_id,
        kind,
        holds=True,
        evidence=evidence,
        verifier=verifier,
        at=at,
        expires_at=expires_at,
    )


async def withdraw(
    connection: AsyncConnection, member_id: int, kind: str, *, reason: str, verifier: str, at: datetime
) -> bool:
    """It is true no more; False where it was not said to be. Rejects ATTRIBUTE_INVALID."""
    if not _WORD.fullmatch(reason):
        raise AttributeInvalid("a reason is a word in capitals, such as EVIDENCE_FALSE")
    await store.lock_member(connection, member_id)
    if kind not in {one.kind for one in await held(connection, member_id, at=at)}:
        return False
    await attribute_store.append(
        connection, member_id, kind, holds=False, evidence=reason, verifier=verifier, at=at, expires_at=None
    )
    return True


async def held(connection: AsyncConnection, member_id: int, *, at: datetime) -> list[Attribute]:
    """What is true of a member at an instant, by kind."""
    return [
        Attribute(row.kind, row.evidence, row.verifier, row.at, row.expires_at)
        for row in await attribute_store.last_of_each(connection, member_id, at)
        if row.holds and row.expires_at > at
    ]
