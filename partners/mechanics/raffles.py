"""Raffles: tickets that rules gave, a list that is closed, and a draw that anybody can make again.

Who opens a raffle commits to a seed that nobody has seen: it is drawn and sealed here. When the raffle has ended
another closes it, which writes its list of tickets down and tells the hash; and only then the seed is opened and the
winners follow. What is published is checked with `drawing.problems` and nothing else.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.approvals import FourEyesRequired
from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault
from members import merging
from partners.mechanics import drawing, raffle_store
from partners.promotions.documents import CODE, LANGUAGES

MOST_PRIZES = 100_000
OPEN, CLOSED, DRAWN = "OPEN", "CLOSED", "DRAWN"


class RaffleInvalid(Rejection):
    """The raffle cannot be; `problems` says why."""

    code = "RAFFLE_INVALID"
    retryable = False


class RaffleExists(Rejection):
    """A raffle of this code is there."""

    code = "RAFFLE_EXISTS"
    retryable = False


class RaffleUnknown(Rejection):
    """There is no raffle of this code."""

    code = "RAFFLE_UNKNOWN"
    retryable = True


class RaffleOpen(Rejection):
    """The raffle has not ended, or is not closed yet: its list of tickets may still change."""

    code = "RAFFLE_OPEN"
    retryable = True


@dataclass(frozen=True, slots=True)
class Draft:
    """A raffle as somebody wants it: its code, which rules name, its names by language, how many prizes, and when it
    ends."""

    code: str
    names: Mapping[str, str]
    prizes: int
    closes_at: datetime


@dataclass(frozen=True, slots=True)
class Raffle:
    """A raffle as it stands. commitment is told from the beginning, tickets and list_sha256 once it is closed, seed and
    winners (tickets, the first prize first) once it is drawn."""

    code: str
    names: Mapping[str, str]
    prizes: int
    commitment: str
    closes_at: datetime
    state: str
    tickets: int | None = None
    list_sha256: str | None = None
    seed: bytes | None = None
    winners: tuple[UUID, ...] = ()


async def begin(connection: AsyncConnection, vault: Vault, draft: Draft, *, actor: int, at: datetime) -> Raffle:
    """Open a raffle and commit to its seed; rules that give tickets of its code may follow.

    Rejects NOT_PERMITTED (it takes PROMOTION_MAKER), RAFFLE_INVALID, RAFFLE_EXISTS.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_MAKER)
    if found := _problems(draft, at):
        raise RaffleInvalid("this is no raffle", problems=found)
    seed = secrets.token_bytes(drawing.SEED_BYTES)
    commitment = drawing.commitment(seed)
    is_new = await raffle_store.insert(
        connection, code=draft.code, names=draft.names, prizes=draft.prizes, commitment=commitment,
        sealed_seed=vault.seal(seed, seed_context(draft.code)), opened_at=at, closes_at=draft.closes_at,
        author_id=actor,
    )  # fmt: skip
    if not is_new:
        raise RaffleExists(f"there is a raffle {draft.code} already")
    await _note(connection, "RAFFLE_OPENED", draft.code, actor, at, {"commitment": commitment, "prizes": draft.prizes})
    return await read(connection, draft.code)


async def close(connection: AsyncConnection, code: str, *, actor: int, at: datetime) -> Raffle:
    """Write the list of tickets down and tell its hash; again, it changes nothing. Tickets that were taken back are not
    in it, nor any that was given when the raffle had ended; those of merged members are the survivor's.

    Rejects NOT_PERMITTED (it takes PROMOTION_CHECKER), FOUR_EYES_REQUIRED, RAFFLE_UNKNOWN, RAFFLE_OPEN.
    """
    row = await _held(connection, code, actor)
    if row["closed_at"] is None:
        if at < row["closes_at"]:
            raise RaffleOpen(f"tickets of {code} are given until {row['closes_at']:%Y-%m-%d %H:%M}")
        given = await raffle_store.given(connection, code, row["closes_at"])
        survivors = await merging.survivors_of(connection, {holder_id for holder_id, _, _ in given})
        entries = drawing.entries(code, given, survivors)
        told = drawing.list_sha256(one.ticket for one in entries)
        await raffle_store.insert_closing(connection, code, entries, told, at=at, actor_id=actor)
        detail = {"tickets": len(entries), "listSha256": told}
        await _note(connection, "RAFFLE_CLOSED", code, actor, at, detail)
    return await read(connection, code)


async def draw(connection: AsyncConnection, vault: Vault, code: str, *, actor: int, at: datetime) -> Raffle:
    """Open the seed and draw the winners; again, it changes nothing.

    Rejects NOT_PERMITTED (it takes PROMOTION_CHECKER), FOUR_EYES_REQUIRED, RAFFLE_UNKNOWN, RAFFLE_OPEN.
    """
    row = await _held(connection, code, actor)
    if row["closed_at"] is None:
        raise RaffleOpen(f"the tickets of {code} are not written down yet: close it first")
    if row["drawn_at"] is None:
        seed = vault.open(bytes(row["sealed_seed"]), seed_context(code))
        tickets = [one.ticket for one in await raffle_store.entries(connection, code)]
        won = drawing.winners(seed, tickets, row["prizes"])
        await raffle_store.insert_drawing(connection, code, seed, won, at=at, actor_id=actor)
        detail = {"seed": seed.hex(), "winners": [str(one) for one in won]}
        await _note(connection, "RAFFLE_DRAWN", code, actor, at, detail)
    return await read(connection, code)


async def read(connection: AsyncConnection, code: str) -> Raffle:
    """A raffle as it stands. Rejects RAFFLE_UNKNOWN."""
    row = await raffle_store.raffle(connection, code)
    if row is None:
        raise RaffleUnknown(f"there is no raffle {code}")
    state = DRAWN if row["drawn_at"] else CLOSED if row["closed_at"] else OPEN
    return Raffle(
        row["code"], row["names"], row["prizes"], row["commitment"], row["closes_at"], state, row["tickets"],
        row["list_sha256"], None if row["seed"] is None else bytes(row["seed"]), tuple(row["winners"] or ()),
    )  # fmt: skip


async def published(connection: AsyncConnection, code: str) -> dict[str, Any]:
    """All of a raffle that everybody may know by now, as plain JSON; once it is drawn what `drawing.problems` takes.

    Rejects RAFFLE_UNKNOWN.
    """
    raffle = await read(connection, code)
    found: dict[str, Any] = {
        "raffle": code, "names": dict(raffle.names), "prizes": raffle.prizes, "commitment": raffle.commitment,
        "closesAt": raffle.closes_at.isoformat(),
    }  # fmt: skip
    if raffle.state != OPEN:
        listed = await raffle_store.entries(connection, code)
        found["listSha256"] = raffle.list_sha256
        found["tickets"] = [[str(one.ticket.name), str(one.ticket.first)] for one in listed]
    if raffle.seed is not None:
        found |= {"seed": raffle.seed.hex(), "winners": [str(one) for one in raffle.winners]}
    return found


async def winners(connection: AsyncConnection, code: str, *, actor: int) -> list[tuple[UUID, int]]:
    """The tickets that won with their members' numbers, the first prize first. For who gives out the prizes.

    Rejects NOT_PERMITTED (it takes PROMOTION_CHECKER), RAFFLE_UNKNOWN.
    """
    await actors.require_role(connection, actor, actors.PROMOTION_CHECKER)
    raffle = await read(connection, code)
    holders = {one.ticket.name: one.holder_id for one in await raffle_store.entries(connection, code)}
    return [(ticket, holders[ticket]) for ticket in raffle.winners]


def seed_context(code: str) -> str:
    """What a raffle's seed is sealed for."""
    return f"raffle:{code}"


async def _held(connection: AsyncConnection, code: str, actor: int) -> RowMapping:
    await actors.require_role(connection, actor, actors.PROMOTION_CHECKER)
    row = await raffle_store.raffle(connection, code, held=True)
    if row is None:
        raise RaffleUnknown(f"there is no raffle {code}")
    if row["author_id"] == actor:
        raise FourEyesRequired("who opened a raffle neither closes nor draws it")
    return row


def _problems(draft: Draft, at: datetime) -> list[FieldProblem]:
    checks = (
        ("code", CODE.fullmatch(draft.code), "1 to 64 letters, digits and _ . : -"),
        ("names", set(draft.names) == set(LANGUAGES) and all(draft.names.values()), f"one in {', '.join(LANGUAGES)}"),
        ("prizes", 1 <= draft.prizes <= MOST_PRIZES, f"1 to {MOST_PRIZES}"),
        ("closesAt", draft.closes_at > at, "an instant that is to come"),
    )
    return [FieldProblem((field,), "INVALID", expected) for field, is_good, expected in checks if not is_good]


async def _note(
    connection: AsyncConnection, action: str, code: str, actor: int, at: datetime, detail: Mapping[str, Any]
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=f"raffle:{code}", detail=detail, at=at)
