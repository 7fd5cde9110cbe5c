"""The mechanics in force: documents that one proposes and another approves, versioned and never edited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.errors import FieldProblem, Rejection
from members.tiers import STANDARD, Ladder
from partners import store
from partners.agreements import programme
from partners.mechanics import documents, mechanic_store
from partners.mechanics.documents import EventDocument, InvitationDocument, LadderDocument

KIND = "MECHANIC"


class MechanicInvalid(Rejection):
    """The document is not one of its kind; `problems` says where and what was expected."""

    code = "MECHANIC_INVALID"
    retryable = False


class MechanicRetroactive(Rejection):
    """The version would begin before it is approved, or before another one."""

    code = "MECHANIC_RETROACTIVE"
    retryable = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A version of a mechanic as somebody proposes it: its kind and code, its document as plain JSON, and from when."""

    kind: str
    code: str
    document: Mapping[str, Any]
    valid_from: datetime


async def propose(connection: AsyncConnection, draft: Draft, *, maker: int, at: datetime) -> int:
    """Propose a version of a mechanic for a PROMOTION_CHECKER; returns the approval's number.

    Rejects NOT_PERMITTED, MECHANIC_INVALID, MECHANIC_RETROACTIVE.
    """
    await actors.require_role(connection, maker, actors.PROMOTION_MAKER)
    if found := _problems(draft):
        raise MechanicInvalid("this is no such mechanic", problems=found)
    if draft.valid_from < at:
        raise MechanicRetroactive("a version begins at its approval or later")
    detail = {
        "kind": draft.kind, "code": draft.code, "document": dict(draft.document),
        "valid_from": draft.valid_from.isoformat(),
    }  # fmt: skip
    subject = f"{draft.kind.lower()}:{draft.code}"
    approval_id = await approvals.propose(connection, kind=KIND, subject=subject, detail=detail, maker=maker, at=at)
    await audit.write(
        connection, actor=maker, action="MECHANIC_PROPOSED", subject=subject, detail={"of": approval_id}, at=at
    )
    return approval_id


async def decide(
    connection: AsyncConnection, approval: Approval, *, checker: int, approved: bool, at: datetime
) -> int | None:
    """Approve or decline a proposal of this module; returns the version that is in force from then, None if declined.

    Rejects NOT_PERMITTED, FOUR_EYES_REQUIRED, ALREADY_DECIDED, ROLE_SELF_GRANTED, MECHANIC_RETROACTIVE.
    """
    await approvals.decide(
        connection, approval.approval_id, checker=checker, role=actors.PROMOTION_CHECKER, approved=approved, at=at
    )
    action = f"MECHANIC_{'APPROVED' if approved else 'DECLINED'}"
    detail = {"of": approval.approval_id}
    await audit.write(connection, actor=checker, action=action, subject=approval.subject, detail=detail, at=at)
    if not approved:
        return None
    told = approval.detail
    valid_from = max(datetime.fromisoformat(told["valid_from"]), at)
    version = await mechanic_store.insert(
        connection, told["kind"], told["code"], valid_from, told["document"], approval.approval_id
    )
    if version is None:
        raise MechanicRetroactive("a later version is in force or will be")
    await store.bump_revision(connection)
    return version


async def ladder(connection: AsyncConnection, *, at: datetime) -> Ladder:
    """The ladder of tiers in force at an instant, which knows the ones before it; the standard one where the programme
    has said nothing."""
    found = await mechanic_store.begun(connection, documents.LADDER, documents.SINGLE[documents.LADDER], at)
    if not found:
        return STANDARD
    rules = await programme.read(connection)
    ladders = []
    for row in found:
        document = documents.read(documents.LADDER, row.document)
        assert isinstance(document, LadderDocument)
        ladders.append(document.ladder(row.version, rules.time_zone))
    return ladders[0].after([*ladders[1:], STANDARD])


async def event(connection: AsyncConnection, code: str, *, at: datetime) -> EventDocument | None:
    """An event that may be told at an instant; None where there is none of this code."""
    found = await mechanic_store.in_force(connection, documents.EVENT, code, at)
    if found is None:
        return None
    document = documents.read(documents.EVENT, found.document)
    assert isinstance(document, EventDocument)
    return document


async def invitations(connection: AsyncConnection, *, at: datetime) -> InvitationDocument | None:
    """The rules of invitations in force at an instant; None where members bring nobody."""
    code = documents.SINGLE[documents.INVITATION]
    found = await mechanic_store.in_force(connection, documents.INVITATION, code, at)
    if found is None:
        return None
    document = documents.read(documents.INVITATION, found.document)
    assert isinstance(document, InvitationDocument)
    return document


def _problems(draft: Draft) -> list[FieldProblem]:
    if draft.kind not in documents.KINDS:
        return [FieldProblem(("kind",), "UNKNOWN", f"expected one of {', '.join(sorted(documents.KINDS))}")]
    expected = documents.SINGLE.get(draft.kind)
    if expected is not None and draft.code != expected:
        return [FieldProblem(("code",), "INVALID", f"expected {expected}: there is one")]
    if not mechanic_store.CODE.fullmatch(draft.code):
        return [FieldProblem(("code",), "INVALID", "1 to 32 small letters, digits and hyphens")]
    try:
        documents.read(draft.kind, draft.document)
    except ValidationError as error:
        return [
            FieldProblem(("document", *(str(part) for part in one["loc"])), "INVALID", one["msg"])
            for one in error.errors(include_url=False)
        ]
    return []
