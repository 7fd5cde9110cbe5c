"""The first letter of a member's name, which is all that a till may greet them with, and only with their consent."""

from __future__ import annotations

import unicodedata
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.secrets import Vault
from members import consents, enrolment

PURPOSE = "PARTNER_TRANSFER"


async def initial(
    connection: AsyncConnection, vault: Vault, member_id: int, *, partner_id: int, at: datetime
) -> str | None:
    """The letter, where the member agreed by an instant that this partner may learn who they are; None where they did
    not, told no name, or are no person."""
    if not await consents.is_granted(connection, member_id, PURPOSE, at, partner_id=partner_id):
        return None
    told = await enrolment.personal(connection, vault, member_id)
    return None if told is None or told.name is None else letter_of(told.name)


def letter_of(name: str) -> str | None:
    """The first letter of a name, as a capital; None for a name that has none."""
    return next((sign.upper() for sign in unicodedata.normalize("NFC", name) if sign.isalpha()), None)
