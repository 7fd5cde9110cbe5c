"""Enrolment: somebody becomes a member, with a card, an account, the consents given, and their data under a key of
their own. Who destroys that key destroys the data, in every backup too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault, new_key, open_with, seal_with
from ledger import accounts
from members import aliases, cards, consents, store
from members.cards import IssuedCard, MemberUnknown
from members.consents import ConsentGiven

_LANGUAGE = re.compile(r"[a-z]{2}", re.ASCII)
_EARLIEST_BIRTH = date(1900, 1, 1)


class AlreadyEnrolled(Rejection):
    """A phone, an e-mail address, an external id or an instrument is a member's already. Never says whose, or which.

    Of many newcomers, `problems` names the ones that are refused.
    """

    code = "ALREADY_ENROLLED"
    retryable = False

    def __init__(self, positions: Sequence[int] = ()) -> None:
        problems = [FieldProblem((str(at),), self.code, "already a member") for at in positions]
        super().__init__("already a member", problems=problems)


class PersonalInvalid(Rejection):
    """A name, phone, e-mail address, birth date, language or external id that cannot be one."""

    code = "PERSONAL_INVALID"
    retryable = False

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        super().__init__("some of what was said about the member cannot be right", problems=problems)


@dataclass(frozen=True, slots=True, repr=False)
class Personal:
    """What a member told about themselves, each part or none. It never prints."""

    name: str | None = None
    phone: str | None = None
    email: str | None = None
    birth_date: date | None = None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody to be enrolled. external_id is the enrolling partner's own number for them."""

    consents: Sequence[ConsentGiven]
    language: str = "en"
    personal: Personal | None = None
    external_id: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A new member and the card they hold."""

    member_id: int
    card: IssuedCard


async def enrol(
    connection: AsyncConnection,
    vault: Vault,
    *,
    enrolled_by: int,
    at: datetime,
    personal: Personal | None,
    consents: Sequence[ConsentGiven],
    language: str,
    external_id: str | None = None,
    card_number: str | None = None,
) -> Enrolled:
    """Enrol one person through a partner (0: the operator), with a new card or the anonymous one they hold already,
    whose points stay theirs.

    Rejects CONSENT_REQUIRED, CONSENT_INVALID, PERSONAL_INVALID, ALREADY_ENROLLED, and of the card held CARD_UNKNOWN,
    CARD_BLOCKED, CARD_REGISTERED.
    """
    newcomer = Newcomer(consents, language, personal, external_id)
    if card_number is None:
        [enrolled] = await enrol_many(connection, vault, [newcomer], at=at, enrolled_by=enrolled_by)
        return enrolled
    _check([newcomer], at)
    card = await cards.find_anonymous(connection, vault, card_number)
    if not await store.activate_member(connection, card.member_id, language, at, enrolled_by):
        raise cards.CardRegistered(card.member_id)
    await _write_particulars(connection, vault, [(card.member_id, newcomer)], at, enrolled_by)
    return Enrolled(card.member_id, card)


async def enrol_many(
    connection: AsyncConnection, vault: Vault, newcomers: Sequence[Newcomer], *, at: datetime, enrolled_by: int
) -> list[Enrolled]:
    """Enrol many at once, all or none, each with a new card; in their order. Rejects as `enrol` does."""
    _check(newcomers, at)
    member_ids = await accounts.open_accounts(connection, len(newcomers))
    languages = [newcomer.language for newcomer in newcomers]
    await store.insert_members(connection, member_ids, languages, "ACTIVE", at, enrolled_by)
    await _write_particulars(connection, vault, list(zip(member_ids, newcomers, strict=True)), at, enrolled_by)
    issued = await cards.issue_many(connection, vault, member_ids, at)
    return [Enrolled(card.member_id, card) for card in issued]


async def personal(connection: AsyncConnection, vault: Vault, member_id: int) -> Personal | None:
    """What a member told about themselves; None where there is nothing, or no key to it any more."""
    row = await store.sealed_personal(connection, member_id)
    if row is None:
        return None
    key = vault.open(row.sealed_key, key_context(member_id))
    told = json.loads(open_with(key, row.sealed, f"personal:{member_id}"))
    born = told.pop("birth_date", None)
    return Personal(**told, birth_date=date.fromisoformat(born) if born else None)


async def rewrite(
    connection: AsyncConnection, vault: Vault, member_id: int, personal: Personal, *, at: datetime
) -> None:
    """Put other personal data in the place of what a member told before, under the same key.

    Rejects MEMBER_UNKNOWN where there is no key, PERSONAL_INVALID. Aliases stay as they are: phone and address are
    changed by who proves to have them.
    """
    if problems := _problems(Newcomer((), personal=personal), at):
        raise PersonalInvalid(problems)
    row = await store.sealed_personal(connection, member_id)
    if row is None:
        raise MemberUnknown
    key = vault.open(row.sealed_key, f"member_key:{member_id}")
    sealed = seal_with(key, _as_json(personal), f"personal:{member_id}")
    await store.update_personal(connection, member_id, sealed)


async def bind_instrument(
    connection: AsyncConnection, vault: Vault, member_id: int, *, partner_id: int, token: str
) -> None:
    """Let a member be found by a partner's token of a means of payment.

    Rejects MEMBER_UNKNOWN, PERSONAL_INVALID, ALREADY_ENROLLED (it is bound already, whoever to).
    """
    alias = aliases.instrument(vault, partner_id, token)
    if alias is None:
        raise PersonalInvalid([_problem("instrumentToken", "1 to 128 printable characters")])
    if await store.member_by_id(connection, member_id) is None:
        raise MemberUnknown
    if not await store.insert_aliases(connection, [(member_id, alias)]):
        raise AlreadyEnrolled


def _check(newcomers: Sequence[Newcomer], at: datetime) -> None:
    for newcomer in newcomers:
        consents.require(newcomer.consents)
    if problems := [problem for newcomer in newcomers for problem in _problems(newcomer, at)]:
        raise PersonalInvalid(problems)


def _problems(newcomer: Newcomer, at: datetime) -> list[FieldProblem]:
    told = newcomer.personal or Personal()
    texts: tuple[tuple[str, str | None, Callable[[str], object], str], ...] = (
        ("name", told.name, _is_name, "1 to 200 printable characters"),
        ("phone", told.phone, aliases.normal_phone, "country code and number, for instance +49 30 1234567"),
        ("email", told.email, aliases.normal_email, "an e-mail address"),
        ("language", newcomer.language, _LANGUAGE.fullmatch, "two small letters (ISO 639-1)"),
        ("externalId", newcomer.external_id, aliases.normal_name, "1 to 128 printable characters"),
    )
    problems = [_problem(name, message) for name, text, fits, message in texts if text is not None and not fits(text)]
    if told.birth_date is not None and not _EARLIEST_BIRTH <= told.birth_date <= at.date():
        problems.append(_problem("birthDate", f"a day from {_EARLIEST_BIRTH} to today"))
    return problems


def _is_name(text: str) -> bool:
    return 0 < len(text.strip()) <= 200 and text.isprintable()


def _problem(name: str, message: str) -> FieldProblem:
    return FieldProblem((name,), "INVALID", message)


async def _write_particulars(
    connection: AsyncConnection,
    vault: Vault,
    newcomers: Sequence[tuple[int, Newcomer]],
    at: datetime,
    enrolled_by: int,
) -> None:
    await _write_aliases(connection, vault, newcomers, enrolled_by)
    await _write_personal(connection, vault, newcomers)
    given = [(member_id, consent) for member_id, newcomer in newcomers for consent in newcomer.consents]
    await consents.append_granted(connection, given, at)


async def _write_aliases(
    connection: AsyncConnection, vault: Vault, newcomers: Sequence[tuple[int, Newcomer]], partner_id: int
) -> None:
    wanted = [
        (position, member_id, alias)
        for position, (member_id, newcomer) in enumerate(newcomers)
        for alias in _aliases(vault, newcomer, partner_id)
    ]
    if not wanted:
        return
    free = await store.insert_aliases(connection, [(member_id, alias) for _, member_id, alias in wanted])
    taken = set()
    for position, _, alias in wanted:
        if alias in free:
            free.remove(alias)  # whoever of this batch comes second finds it taken
        else:
            taken.add(position)
    if taken:
        raise AlreadyEnrolled(sorted(taken) if len(newcomers) > 1 else ())


def _aliases(vault: Vault, newcomer: Newcomer, partner_id: int) -> list[aliases.Alias]:
    told = newcomer.personal or Personal()
    found = (
        aliases.phone(vault, told.phone) if told.phone else None,
        aliases.email(vault, told.email) if told.email else None,
        aliases.external(vault, partner_id, newcomer.external_id) if newcomer.external_id else None,
    )
    return [alias for alias in found if alias is not None]


async def _write_personal(connection: AsyncConnection, vault: Vault, newcomers: Sequence[tuple[int, Newcomer]]) -> None:
    told = [(member_id, newcomer.personal, new_key()) for member_id, newcomer in newcomers if newcomer.personal]
    if told:
        await store.insert_personal(
            connection,
            [member_id for member_id, _, _ in told],
            [vault.seal(key, key_context(member_id)) for member_id, _, key in told],
            [seal_with(key, _as_json(personal), f"personal:{member_id}") for member_id, personal, key in told],
        )


def key_context(member_id: int) -> str:
    """What the seal of a member's own key is bound to."""
    return f"member_key:{member_id}"


def _as_json(personal: Personal) -> bytes:
    told = {
        "name": personal.name.strip() if personal.name else None,
        "phone": f"+{aliases.normal_phone(personal.phone)}" if personal.phone else None,
        "email": personal.email.strip() if personal.email else None,
        "birth_date": personal.birth_date.isoformat() if personal.birth_date else None,
    }
    return json.dumps(told).encode()
