"""PURE: who wins a raffle, so that anybody can draw it again and come to the same.

A seed is committed to by its hash before the first ticket is given; the list of tickets is told by its hash before the
seed is. Winners are those tickets whose HMAC-SHA256, keyed by the seed, over the list's hash and the ticket's name is
the smallest: nobody who gives tickets can know it, and nobody who knows the seed can change it without showing.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from kit.secrets import fingerprint

SEED_BYTES = 32


class Ticket(NamedTuple):
    """A ticket as it is published: its name, which tells nothing of its member, and that of the first ticket of the
    same member, so that one member wins once."""

    name: UUID
    first: UUID


class Entry(NamedTuple):
    """A ticket with the member who holds it, which is not published."""

    holder_id: int
    ticket: Ticket


def commitment(seed: bytes) -> str:
    """What is told of a seed that is still secret: its SHA-256, in hexadecimal."""
    return sha256(seed).hexdigest()


def ticket_name(raffle: str, holder_id: int, cause: UUID, ticket_no: int) -> UUID:
    """The public name of a ticket. What it was given for is in it, which nobody else knows."""
    return fingerprint("raffle ticket", raffle, str(holder_id), cause.bytes, str(ticket_no))


def entries(
    raffle: str, given: Iterable[tuple[int, UUID, int]], survivors: Mapping[int, int] = MappingProxyType({})
) -> list[Entry]:
    """The tickets of a raffle, each given as (member, cause, number), in the order of their public names.

    survivors are those into whom others are merged: their tickets are one person's, who wins once. A ticket keeps the
    name that it was given.
    """
    named = sorted((ticket_name(raffle, *one), survivors.get(one[0], one[0])) for one in given)
    first: dict[int, UUID] = {}
    for name, holder_id in named:
        first.setdefault(holder_id, name)
    return [Entry(holder_id, Ticket(name, first[holder_id])) for name, holder_id in named]


def list_sha256(tickets: Iterable[Ticket]) -> str:
    """The hash of a list of tickets: one line each, name and first, in order."""
    text = "".join(f"{one.name} {one.first}\n" for one in sorted(tickets))
    return sha256(text.encode()).hexdigest()


def winners(seed: bytes, tickets: Sequence[Ticket], prizes: int) -> list[UUID]:
    """The tickets that win, the first prize first; fewer than prizes where fewer members take part."""
    told = list_sha256(tickets)
    drawn = sorted(tickets, key=lambda one: _lot(seed, told, one.name))
    best: dict[UUID, UUID] = {}
    for one in drawn:
        if len(best) == prizes:
            break
        best.setdefault(one.first, one.name)
    return list(best.values())


def problems(published: Mapping[str, Any]) -> list[str]:
    """What is wrong with a raffle as it was published (`raffles.published`), a sentence each; nothing where anybody
    comes to the same winners. Raises KeyError or ValueError for what is no such publication."""
    seed = bytes.fromhex(published["seed"])
    tickets = [Ticket(UUID(name), UUID(first)) for name, first in published["tickets"]]
    found = []
    if commitment(seed) != published["commitment"]:
        found.append("the seed is not the one that was committed to")
    if list_sha256(tickets) != published["listSha256"]:
        found.append("the list of tickets is not the one that was told before the draw")
    if len({one.name for one in tickets}) != len(tickets):
        found.append("a ticket is in the list twice")
    if any(one.first > one.name for one in tickets):
        found.append("a ticket comes before the first one of its member")
    if [str(one) for one in winners(seed, tickets, published["prizes"])] != list(published["winners"]):
        found.append("other tickets win")
    return found


def _lot(seed: bytes, list_hash: str, name: UUID) -> bytes:
    return hmac.digest(seed, f"{list_hash}:{name}".encode(), "sha256")
