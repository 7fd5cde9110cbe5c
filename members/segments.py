"""Segments: members who are alike in something. Each version is a dated snapshot that never changes, so that a decision
of last month can be made again on who was in it then."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import Rejection
from members import segment_store

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")


class SegmentInvalid(Rejection):
    """The segment's code cannot be one, some of its members do not exist, or the version would begin before another."""

    code = "SEGMENT_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a segment: from when, of how many members, and the hash of their sorted numbers."""

    segment: str
    version: int
    valid_from: datetime
    members: int
    sha256: str


async def take(
    connection: AsyncConnection, segment: str, member_ids: Collection[int], *, author: int, at: datetime
) -> Snapshot:
    """Take a new version of a segment, in force from an instant until the next one; nobody in it ends it.

    Rejects NOT_PERMITTED, SEGMENT_INVALID.
    """
    await actors.require_role(connection, author, actors.PROMOTION_MAKER)
    if not _CODE.fullmatch(segment):
        raise SegmentInvalid("a segment's code is 1 to 64 letters, digits and _ . : -")
    chosen = sorted(set(member_ids))
    digest = hashlib.sha256(" ".join(map(str, chosen)).encode()).hexdigest()
    version = await segment_store.insert_version(connection, segment, at, len(chosen), digest, author)
    if version is None:
        raise SegmentInvalid("a later version of the segment is in force")
    if await segment_store.insert_members(connection, segment, version, chosen) != len(chosen):
        raise SegmentInvalid("some of these members do not exist")
    detail = {"version": version, "members": len(chosen)}
    await audit.write(
        connection, actor=author, action="SEGMENT_TAKEN", subject=f"segment:{segment}", detail=detail, at=at
    )
    return Snapshot(segment, version, at, len(chosen), digest)


async def members_of(connection: AsyncConnection, segment: str, *, at: datetime) -> list[int]:
    """Who was in a segment at an instant, in order; nobody where there was none."""
    return await segment_store.members_of(connection, segment, at)
