"""Registrations: enrolments that a partner asks for under a key, once whatever is retried.

What was told about a person is compared by a keyed hash, so that the stored key helps nobody to guess a phone number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.secrets import Vault
from members import enrolment, registration_store
from members.consents import ConsentGiven
from members.enrolment import Personal


@dataclass(frozen=True, slots=True)
class Application:
    """What a partner tells of somebody who wants to be a member, with the card that they hold already, if they do."""

    personal: Personal | None
    consents: Sequence[ConsentGiven]
    language: str
    external_id: str | None = field(default=None, repr=False)
    card_number: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Registration:
    """A member as enrolled. card_number is known once, when a new card is issued; personal until they are forgotten."""

    member_id: int
    last_four: str
    replayed: bool
    card_number: str | None = field(default=None, repr=False)
    personal: Personal | None = field(default=None, repr=False)


async def find(
    connection: AsyncConnection, vault: Vault, idem_key: UUID, application: Application
) -> tuple[Registration | None, bool]:
    """What a key was used for, and whether for this very application; (None, True) where it is free."""
    row = await registration_store.by_key(connection, idem_key)
    if row is None:
        return None, True
    return await _registration(connection, vault, row), row.fingerprint == _fingerprint(vault, application)


async def register(
    connection: AsyncConnection,
    vault: Vault,
    application: Application,
    *,
    idem_key: UUID,
    partner_id: int,
    at: datetime,
) -> tuple[Registration, bool]:
    """Enrol somebody, or find them enrolled under this key; and whether the key stands for this very application.

    Rejects what `enrolment.enrol` rejects, and then the key is free again with the caller's transaction.
    """
    content = _fingerprint(vault, application)
    if not await registration_store.insert_key(connection, idem_key, fingerprint=content, partner_id=partner_id, at=at):
        found, is_same = await find(connection, vault, idem_key, application)
        assert found is not None
        return found, is_same
    enrolled = await enrolment.enrol(
        connection,
        vault,
        enrolled_by=partner_id,
        at=at,
        personal=application.personal,
        consents=application.consents,
        language=application.language,
        external_id=application.external_id,
        card_number=application.card_number,
    )
    card = enrolled.card
    await registration_store.complete(connection, idem_key, member_id=enrolled.member_id, card_id=card.card_id)
    number = card.number if application.card_number is None else None
    return Registration(enrolled.member_id, card.last_four, False, number, application.personal), True


async def _registration(connection: AsyncConnection, vault: Vault, row: Row[Any]) -> Registration:
    told = await enrolment.personal(connection, vault, row.member_id)
    return Registration(row.member_id, row.last_four, True, personal=told)


def _fingerprint(vault: Vault, application: Application) -> UUID:
    told = application.personal or Personal()
    said = [
        [told.name, told.phone, told.email, told.birth_date and told.birth_date.isoformat()],
        [
            [consent.purpose, consent.partner_id, consent.text_version, consent.channel, consent.at.isoformat()]
            for consent in application.consents
        ],
        [application.language, application.external_id, application.card_number],
    ]
    return vault.lookup("enrolment", json.dumps(said))
