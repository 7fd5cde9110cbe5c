"""Founds the demonstration's coalition, once, through the product's own use cases.

What tills and members would hold, client secrets and cards, goes into a file that only this account may read; the
database keeps hashes of them.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import scopes
from gateway.demo import promotions, towns
from gateway.demo.data import CURRENCY, FIRST_DAY, MERCHANTS, TERMINAL, DemonstrationError, Journeys, outlet_code
from gateway.demo.names import PROGRAMME_NAME
from gateway.gate import client_rules
from gateway.gate.allowances import Allowance
from gateway.oauth import clients
from kit import actors
from kit.clock import set_sandbox, wall
from kit.database import Database
from kit.secrets import Vault
from members import cards, consents, enrolment
from partners.agreements import agreements, onboarding, programme
from partners.agreements.agreements import AgreementDraft
from partners.terms import Programme

FOUNDED_AT = datetime.combine(FIRST_DAY, time(), UTC)
OPERATOR = 0
SIGNING_IN = 20
MAKER = "demo-maker"
CHECKER = "demo-checker"
DEMONSTRATION = Allowance(10_000_000, 1_000_000)

PROGRAMME = Programme(
    name=PROGRAMME_NAME,
    time_zone="UTC",  # so a business day is a day of the data
    base_currency=CURRENCY,
    languages=("en", "ru", "ro"),
    bill_ceiling_bp=10_000,
    refund_grace_days=30,
    point_value_micro={CURRENCY: 10_000},
)

# Earn rate in basis points and return window in days: what is eaten or burnt the same day does not come back.
_EARNING = {
    "supermarket": (100, 14), "pharmacy": (200, 14), "butcher": (150, 14), "fresh-market": (150, 14),
    "fuel": (100, 0), "deli-cafe": (300, 0), "bakery": (250, 14), "health-food": (300, 14), "fish": (200, 14),
    "flowers-garden": (300, 14), "beauty": (300, 14), "wine-spirits": (200, 14), "other": (100, 14),
}  # fmt: skip


PartnerTerms = Mapping[str, Mapping[str, Any]]
"""Fields of AgreementDraft by a partner's code."""
NO_TERMS: PartnerTerms = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class TillClient:
    """How a partner's tills sign in."""

    client_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class TillCard:
    """What a member shows: the number printed on the card, and what its rotating code is made of."""

    number: str
    reference: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class Tills:
    """What the demonstration's tills hold: a client by partner code, a card by household, and the seed they follow."""

    seed: int
    clients: Mapping[str, TillClient]
    cards: Mapping[int, TillCard]


async def found(
    database: Database, vault: Vault, journeys: Journeys, file: Path, *, seed: int, terms: PartnerTerms = NO_TERMS
) -> Tills:
    """Found the coalition, all of it or nothing, and keep in the file what its tills hold.

    terms are what partners sign besides what all of them do, by their codes.
    """
    async with database.transaction() as connection:
        tills = Tills(seed, *await _found(connection, vault, journeys, terms))
        await set_sandbox(connection, FOUNDED_AT)
        _write(file, tills)  # before the commit: what the database holds hashes of, somebody must know
    return tills


def tills_in(file: Path, *, seed: int) -> Tills:
    """What the tills of a coalition that was founded before hold.

    Rejects, with DemonstrationError, a file that is gone or broken, and one whose tills follow another seed: they
    would now do otherwise with what they have reported already.
    """
    tills = _read(file)
    if tills.seed != seed:
        raise DemonstrationError(
            f"The demonstration in {file.parent} follows seed {tills.seed}: say --seed {tills.seed}, or start over "
            "with --fresh"
        )
    return tills


async def is_founded(connection: AsyncConnection) -> bool:
    """Whether the database holds the demonstration's coalition. Rejects PROGRAMME_EXISTS where it holds another."""
    try:
        held = await programme.read(connection)
    except programme.ProgrammeUnknown:
        return False
    if held != PROGRAMME:
        raise programme.ProgrammeExists("another programme was founded in this database: give the demo one of its own")
    return True


async def _found(
    connection: AsyncConnection, vault: Vault, journeys: Journeys, terms: PartnerTerms
) -> tuple[dict[str, TillClient], dict[int, TillCard]]:
    await programme.found(connection, PROGRAMME)
    maker = await actors.ensure_actor(
        connection, MAKER,
        [actors.ONBOARDING, actors.AGREEMENT_MAKER, actors.FINANCE_MAKER, actors.PROMOTION_MAKER],
    )  # fmt: skip
    checker = await actors.ensure_actor(
        connection, CHECKER, [actors.AGREEMENT_CHECKER, actors.FINANCE_CHECKER, actors.PROMOTION_CHECKER]
    )
    till_clients = {}
    stores = journeys.outlets()
    for merchant in MERCHANTS:
        partner_id = await onboarding.add_partner(
            connection, vault, code=merchant.code, name=merchant.name, actor=maker, at=FOUNDED_AT
        )
        await _open_outlets(connection, partner_id, stores[merchant.code], maker)
        draft = replace(_draft(merchant.code), **terms.get(merchant.code, {}))
        await _sign(connection, partner_id, draft, maker, checker)
        # The ready conversation with curl is to work, and curl signs nothing.
        await clients.allow_secrets(connection, partner_id=partner_id, by=MAKER, at=wall())
        client_id, secret = await clients.add_client(
            connection,
            partner_id=partner_id,
            name=f"{merchant.name}, tills and back office",
            scopes=[*scopes.TILL, scopes.SETTLEMENT_READ],
            by=MAKER,
            at=wall(),
        )
        # Eight weeks of a chain's tills come through this one client in minutes.
        await client_rules.change(connection, client_id, by=MAKER, at=wall(), allowance=DEMONSTRATION)
        till_clients[merchant.code] = TillClient(client_id, secret)
    await promotions.install(connection, journeys.campaigns(), maker=maker, checker=checker, at=FOUNDED_AT)
    return till_clients, await _enrol(connection, vault, journeys.households())


async def _open_outlets(connection: AsyncConnection, partner_id: int, stores: Sequence[int], actor: int) -> None:
    opened = await onboarding.add_outlets(
        connection,
        partner_id=partner_id,
        outlets=[(outlet_code(store), f"Store {store}") for store in stores],
        actor=actor,
        at=FOUNDED_AT,
    )
    await onboarding.set_outlet_places(
        connection,
        partner_id=partner_id,
        places={outlet_code(store): towns.place_of(store) for store in stores},
        actor=actor,
        at=FOUNDED_AT,
    )
    terminals = [(outlet_id, TERMINAL) for outlet_id in opened.values()]
    await onboarding.add_terminals(connection, partner_id=partner_id, terminals=terminals, actor=actor, at=FOUNDED_AT)


def _draft(code: str) -> AgreementDraft:
    earn_rate_bp, return_window_days = _EARNING[code]
    return AgreementDraft(
        valid_from=FOUNDED_AT,
        currency=CURRENCY,
        earn_rate_bp=earn_rate_bp,
        fund_price_micro=8_500,
        service_price_micro=1_500,
        reimbursement_price_micro=8_000,
        return_window_days=return_window_days,
        expiry_months=12,
        bill_share_bp=5_000,
        tier_bonus_bp={"SILVER": 50, "GOLD": 100},
    )


async def _sign(connection: AsyncConnection, partner_id: int, draft: AgreementDraft, maker: int, checker: int) -> None:
    terms_id = await agreements.propose(connection, partner_id=partner_id, draft=draft, maker=maker, at=FOUNDED_AT)
    await agreements.approve(connection, terms_id, checker=checker, at=FOUNDED_AT)


async def _enrol(connection: AsyncConnection, vault: Vault, households: Sequence[int]) -> dict[int, TillCard]:
    agreed = (consents.ConsentGiven(consents.PROGRAMME, "demo-1", FOUNDED_AT, channel="DEMO"),)
    writing = frozenset(some_of(households))
    enrolled = await enrolment.enrol_many(
        connection,
        vault,
        [enrolment.Newcomer(agreed, personal=_personal(one) if one in writing else None) for one in households],
        at=FOUNDED_AT,
        enrolled_by=OPERATOR,
    )
    return {
        household: TillCard(one.card.number, cards.ref(vault, one.card.card_id), one.card.secret)
        for household, one in zip(households, enrolled, strict=True)
    }


def some_of(households: Sequence[int]) -> list[int]:
    """Some households, evenly out of all, whose member can sign in to the app."""
    return list(households[:: max(1, len(households) // SIGNING_IN)])


def address_of(household: int) -> str:
    """The address with which a household's member signs in, if it is one of some."""
    return f"household-{household}@example.org"


def _personal(household: int) -> enrolment.Personal:
    return enrolment.Personal(name=f"Household {household}", email=address_of(household))


def _write(file: Path, tills: Tills) -> None:
    content = orjson.dumps({
        "seed": tills.seed,
        "clients": {code: [client.client_id, client.secret] for code, client in tills.clients.items()},
        "cards": {
            str(household): [card.number, card.reference, b64encode(card.secret).decode()]
            for household, card in tills.cards.items()
        },
    })  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
        written.write(content)
        written.flush()
        os.fsync(written.fileno())


def _read(file: Path) -> Tills:
    try:
        content = orjson.loads(file.read_bytes())
        return Tills(
            content["seed"],
            {code: TillClient(*held) for code, held in content["clients"].items()},
            {
                int(household): TillCard(number, reference, b64decode(secret))
                for household, (number, reference, secret) in content["cards"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DemonstrationError(
            f"The demonstration's cards and client secrets in {file} cannot be read: start over with --fresh"
        ) from error
