"""Partners, their outlets and terminals: added, suspended, resumed; never removed, because receipts name them."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault
from partners import store
from partners.agreements import programme

T = TypeVar("T")

ID_KEY_BYTES = 64
LONGEST_CODE = 32
LONGEST_NAME = 200
LONGEST_TOWN = 100
MICRO = 1_000_000

ACTIVE = "ACTIVE"
SUSPENDED = "SUSPENDED"


@dataclass(frozen=True, slots=True)
class OwnPerson:
    """Somebody of a partner, whom the caller has seen to be one who may change what is that partner's alone."""

    actor_id: int
    partner_id: int


@dataclass(frozen=True, slots=True)
class OutletPlace:
    """Where an outlet is; degrees in millionths, both or none."""

    town: str | None = None
    street: str | None = None
    latitude_micro: int | None = None
    longitude_micro: int | None = None


class OnboardingInvalid(Rejection):
    """A code, a name or a place has not the form it must have; the problems say which."""

    code = "ONBOARDING_INVALID"
    retryable = False


class PartnerExists(Rejection):
    """The partner's code is taken."""

    code = "PARTNER_EXISTS"
    retryable = False


class PartnerUnknown(Rejection):
    """There is no such partner."""

    code = "PARTNER_UNKNOWN"
    retryable = True


class OutletExists(Rejection):
    """The partner has an outlet of this code."""

    code = "OUTLET_EXISTS"
    retryable = False


class OutletUnknown(Rejection):
    """The partner has no such outlet."""

    code = "OUTLET_UNKNOWN"
    retryable = True


class TerminalExists(Rejection):
    """The outlet has a terminal of this code."""

    code = "TERMINAL_EXISTS"
    retryable = False


class TerminalUnknown(Rejection):
    """The outlet has no such terminal."""

    code = "TERMINAL_UNKNOWN"
    retryable = True


class StatusUnchanged(Rejection):
    """What is to be suspended is suspended, or what is to be resumed is active."""

    code = "STATUS_UNCHANGED"
    retryable = True


# --- Partners -----------------------------------------------------------------------------------------------


async def add_partner(
    connection: AsyncConnection, vault: Vault, *, code: str, name: str, actor: int, at: datetime
) -> int:
    """Add an active partner with a key of its own for the ids it is shown; returns partner_id.

    code is what people call it: lower case letters, digits and hyphens, never changed. Rejects NOT_PERMITTED,
    ONBOARDING_INVALID, PARTNER_EXISTS.
    """
    await actors.require_role(connection, actor, actors.ONBOARDING)
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", code):
        form = f"1 to {LONGEST_CODE} lower case letters, digits and hyphens"
        raise _invalid("code", form)
    _check_name(name)
    sealed = vault.seal(secrets.token_bytes(ID_KEY_BYTES), id_key_context(code))
    partner_id = await store.insert_partner(connection, code=code, name=name, sealed_id_key=sealed, at=at)
    if partner_id is None:
        raise PartnerExists(f"there is a partner '{code}'")
    await _note(connection, "PARTNER_ADDED", f"partner:{partner_id}", {"code": code}, actor, at)
    return partner_id


def id_key_context(code: str) -> str:
    """What the seal of a partner's id key is bound to."""
    return f"partner-id-key:{code}"


async def suspend_partner(connection: AsyncConnection, *, partner_id: int, actor: int, at: datetime) -> None:
    """Refuse the partner's business from now on. Rejects NOT_PERMITTED, PARTNER_UNKNOWN, STATUS_UNCHANGED."""
    await _set_partner_status(connection, partner_id, SUSPENDED, actor, at)


async def resume_partner(connection: AsyncConnection, *, partner_id: int, actor: int, at: datetime) -> None:
    """Take a suspension back. Rejects NOT_PERMITTED, PARTNER_UNKNOWN, STATUS_UNCHANGED."""
    await _set_partner_status(connection, partner_id, ACTIVE, actor, at)


async def partner_id_of(connection: AsyncConnection, code: str) -> int:
    """The number of the partner with this code. Rejects PARTNER_UNKNOWN."""
    partner_id = await store.partner_id_by_code(connection, code)
    if partner_id is None:
        raise PartnerUnknown(f"there is no partner '{code}'")
    return partner_id


# --- Outlets ------------------------------------------------------------------------------------------------


async def add_outlet(
    connection: AsyncConnection, *, partner_id: int, code: str, name: str, actor: int, at: datetime
) -> int:
    """Add a place of sale; returns outlet_id. Rejects what `add_outlets` rejects."""
    added = await add_outlets(connection, partner_id=partner_id, outlets=[(code, name)], actor=actor, at=at)
    return added[code]


async def add_outlets(
    connection: AsyncConnection,
    *,
    partner_id: int,
    outlets: Sequence[tuple[str, str]],
    actor: int | OwnPerson,
    at: datetime,
) -> dict[str, int]:
    """Add places of sale given as (code, name), all or none; returns outlet_id by code.

    actor is in ONBOARDING, or of the partner itself. Rejects NOT_PERMITTED, ONBOARDING_INVALID, PARTNER_UNKNOWN,
    OUTLET_EXISTS.
    """
    by = await _permitted(connection, actor, partner_id)
    for code, name in outlets:
        _check_code(code)
        _check_name(name)
    await lock_partner(connection, partner_id)
    codes = [code for code, _ in outlets]
    if taken := _twice(codes) or await store.outlet_codes_taken(connection, partner_id, codes):
        raise OutletExists(f"the partner has an outlet '{taken[0]}', or was given it twice")
    if not outlets:
        return {}
    added = await store.insert_outlets(connection, partner_id, outlets)
    await _note(connection, "OUTLETS_ADDED", f"partner:{partner_id}", {"codes": codes}, by, at)
    return added


async def outlet_id_of(connection: AsyncConnection, *, partner_id: int, code: str) -> int:
    """The number of a partner's outlet with this code. Rejects OUTLET_UNKNOWN."""
    outlet_id = await store.outlet_id_by_code(connection, partner_id, code)
    if outlet_id is None:
        raise OutletUnknown("the partner has no such outlet")
    return outlet_id


async def set_outlet_place(
    connection: AsyncConnection,
    *,
    partner_id: int,
    code: str,
    place: OutletPlace,
    actor: int | OwnPerson,
    at: datetime,
) -> None:
    """Say where one of a partner's outlets is. Rejects what `set_outlet_places` rejects."""
    await set_outlet_places(connection, partner_id=partner_id, places={code: place}, actor=actor, at=at)


async def set_outlet_places(
    connection: AsyncConnection,
    *,
    partner_id: int,
    places: Mapping[str, OutletPlace],
    actor: int | OwnPerson,
    at: datetime,
) -> None:
    """Say where a partner's outlets are, by their codes, in place of what was said before, all or none.

    actor as for `add_outlets`. Rejects NOT_PERMITTED, ONBOARDING_INVALID, OUTLET_UNKNOWN.
    """
    by = await _permitted(connection, actor, partner_id)
    for place in places.values():
        _check_place(place)
    await lock_partner(connection, partner_id)
    if len(await store.outlet_codes_taken(connection, partner_id, list(places))) < len(places):
        raise OutletUnknown("the partner has no such outlet")
    if not places:
        return
    await store.set_outlet_places(
        connection,
        partner_id,
        [(code, one.town, one.street, one.latitude_micro, one.longitude_micro) for code, one in places.items()],
    )
    await _note(connection, "OUTLETS_PLACED", f"partner:{partner_id}", {"codes": list(places)}, by, at)


def _check_place(place: OutletPlace) -> None:
    for field, text, longest in (("town", place.town, LONGEST_TOWN), ("street", place.street, LONGEST_NAME)):
        if text is not None and (not text.strip() or len(text) > longest or not text.isprintable()):
            raise _invalid(field, f"1 to {longest} characters that can be seen")
    for field, degrees, most in (("latitude", place.latitude_micro, 90), ("longitude", place.longitude_micro, 180)):
        if degrees is not None and abs(degrees) > most * MICRO:
            raise _invalid(field, f"from -{most} to {most} degrees")
    if (place.latitude_micro is None) != (place.longitude_micro is None):
        raise _invalid("latitude" if place.latitude_micro is None else "longitude", "told where the other one is")


async def set_outlet_zone(
    connection: AsyncConnection, *, partner_id: int, code: str, time_zone: str | None, actor: int, at: datetime
) -> None:
    """Say which zone's time the clocks of an outlet show, by its IANA name (None: the programme's). Rules of hours and
    days look at them, so it is the operator's to say. Rejects NOT_PERMITTED, OUTLET_UNKNOWN, ONBOARDING_INVALID.
    """
    by = await _permitted(connection, actor, partner_id)
    if time_zone is not None and not programme.is_time_zone(time_zone):
        raise _invalid("time_zone", "a time zone of the IANA database, such as Europe/Chisinau")
    await lock_partner(connection, partner_id)
    outlet_id = await outlet_id_of(connection, partner_id=partner_id, code=code)
    await store.set_outlet_zone(connection, outlet_id, time_zone)
    await _note(connection, "OUTLET_ZONE_SET", f"partner:{partner_id}", {"code": code, "zone": time_zone}, by, at)


# --- Terminals ----------------------------------------------------------------------------------------------


async def add_terminal(connection: AsyncConnection, *, outlet_id: int, code: str, actor: int, at: datetime) -> int:
    """Add an active till; returns terminal_id. Rejects what `add_terminals` rejects."""
    partner_id = await store.partner_id_by_outlet(connection, outlet_id)
    if partner_id is None:
        raise OutletUnknown(f"there is no outlet number {outlet_id}")
    terminal = (outlet_id, code)
    added = await add_terminals(connection, partner_id=partner_id, terminals=[terminal], actor=actor, at=at)
    return added[terminal]


async def add_terminals(
    connection: AsyncConnection,
    *,
    partner_id: int,
    terminals: Sequence[tuple[int, str]],
    actor: int | OwnPerson,
    at: datetime,
) -> dict[tuple[int, str], int]:
    """Add active tills of one partner given as (outlet_id, code), all or none; returns terminal_id by the same.

    actor is in ONBOARDING, or of the partner itself. Rejects NOT_PERMITTED, ONBOARDING_INVALID, PARTNER_UNKNOWN,
    OUTLET_UNKNOWN, TERMINAL_EXISTS.
    """
    by = await _permitted(connection, actor, partner_id)
    for _, code in terminals:
        _check_code(code)
    await lock_partner(connection, partner_id)
    if {outlet_id for outlet_id, _ in terminals} - await store.outlet_ids_of(connection, partner_id):
        raise OutletUnknown("a terminal stands at an outlet that the partner does not have")
    if taken := _twice(terminals) or await store.terminals_taken(connection, terminals):
        raise TerminalExists(f"the outlet has a terminal '{taken[0][1]}', or was given it twice")
    if not terminals:
        return {}
    added = await store.insert_terminals(connection, terminals)
    detail = {"terminals": sorted(added.values())}
    await _note(connection, "TERMINALS_ADDED", f"partner:{partner_id}", detail, by, at)
    return added


async def suspend_terminal(
    connection: AsyncConnection, *, terminal_id: int, actor: int | OwnPerson, at: datetime
) -> None:
    """Refuse what this till sends from now on; actor as for `add_terminals`.

    Rejects NOT_PERMITTED, TERMINAL_UNKNOWN, STATUS_UNCHANGED.
    """
    await _set_terminal_status(connection, terminal_id, SUSPENDED, actor, at)


async def resume_terminal(connection: AsyncConnection, *, terminal_id: int, actor: int, at: datetime) -> None:
    """Take a suspension back; a partner's own people cannot, for it may be the operator's.

    Rejects NOT_PERMITTED, TERMINAL_UNKNOWN, STATUS_UNCHANGED.
    """
    await _set_terminal_status(connection, terminal_id, ACTIVE, actor, at)


async def terminal_id_of(connection: AsyncConnection, *, outlet_id: int, code: str) -> int:
    """The number of an outlet's terminal with this code. Rejects TERMINAL_UNKNOWN."""
    terminal_id = await store.terminal_id_by_code(connection, outlet_id, code)
    if terminal_id is None:
        raise TerminalUnknown("the outlet has no such terminal")
    return terminal_id


# --- What they share ----------------------------------------------------------------------------------------


async def lock_partner(connection: AsyncConnection, partner_id: int) -> str:
    """A partner's status, with the right to change what belongs to it until the transaction ends.

    Rejects PARTNER_UNKNOWN.
    """
    status = await store.partner_status_for_update(connection, partner_id)
    if status is None:
        raise PartnerUnknown(f"there is no partner number {partner_id}")
    return status


async def _set_partner_status(
    connection: AsyncConnection, partner_id: int, status: str, actor: int, at: datetime
) -> None:
    await actors.require_role(connection, actor, actors.ONBOARDING)
    if await lock_partner(connection, partner_id) == status:
        raise StatusUnchanged(f"the partner is {status.lower()} already")
    await store.set_partner_status(connection, partner_id, status)
    action = "PARTNER_SUSPENDED" if status == SUSPENDED else "PARTNER_RESUMED"
    await _note(connection, action, f"partner:{partner_id}", {}, actor, at)


async def _set_terminal_status(
    connection: AsyncConnection, terminal_id: int, status: str, actor: int | OwnPerson, at: datetime
) -> None:
    by = await _permitted(connection, actor, await store.partner_id_by_terminal(connection, terminal_id))
    held = await store.terminal_status_for_update(connection, terminal_id)
    if held is None:
        raise TerminalUnknown(f"there is no terminal number {terminal_id}")
    if held == status:
        raise StatusUnchanged(f"the terminal is {status.lower()} already")
    await store.set_terminal_status(connection, terminal_id, status)
    action = "TERMINAL_SUSPENDED" if status == SUSPENDED else "TERMINAL_RESUMED"
    await _note(connection, action, f"terminal:{terminal_id}", {}, by, at)


async def _permitted(connection: AsyncConnection, actor: int | OwnPerson, partner_id: int | None) -> int:
    """The actor's number, where they may change what is a partner's. Rejects NOT_PERMITTED."""
    if isinstance(actor, int):
        await actors.require_role(connection, actor, actors.ONBOARDING)
        return actor
    if actor.partner_id != partner_id:
        raise actors.NotPermitted("this is another partner's")
    return actor.actor_id


async def _note(
    connection: AsyncConnection, action: str, subject: str, detail: dict[str, Any], actor: int, at: datetime
) -> None:
    await store.bump_revision(connection)
    await audit.write(connection, actor=actor, action=action, subject=subject, detail=detail, at=at)


def _twice(keys: Sequence[T]) -> list[T]:
    return [key for key, times in Counter(keys).items() if times > 1]


def _check_code(code: str) -> None:
    if not code or len(code) > LONGEST_CODE or not code.isprintable() or code != code.strip():
        raise _invalid("code", f"1 to {LONGEST_CODE} characters, no space around them")


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise _invalid("name", f"1 to {LONGEST_NAME} characters that can be seen")


def _invalid(field: str, form: str) -> OnboardingInvalid:
    return OnboardingInvalid(f"the {field} must be {form}", problems=[FieldProblem((field,), "INVALID", form)])
