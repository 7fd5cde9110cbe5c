"""Erasure: a member is forgotten. Their key goes, and with it what every copy and backup holds of them; what remains is
a number that owns an account, and consents that prove what was allowed.

The points stay in the ledger, where nobody can spend them any more, until they expire.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import audit
from members import erasure_store, registration_store, store
from members.cards import MemberUnknown


async def forget(connection: AsyncConnection, member_id: int, *, by: int | str, at: datetime) -> None:
    """Destroy a member's key, personal data and every way to find them, and end the membership; may be repeated.

    by is who does it, for the audit trail. Rejects MEMBER_UNKNOWN.
    """
    if not await store.lock_member(connection, member_id):
        raise MemberUnknown
    await erasure_store.delete_personal(connection, member_id)
    await registration_store.forget(connection, member_id)
    await erasure_store.close(connection, member_id)
    await audit.write(connection, actor=by, action="MEMBER_FORGOTTEN", subject=f"member:{member_id}", detail={}, at=at)
