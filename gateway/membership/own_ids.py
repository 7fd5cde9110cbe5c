"""Ids of what is a member's own, as the members' app knows them. No partner's id reads as one, nor another member's."""

from __future__ import annotations

import struct

import strawberry

from gateway.connections import id_key
from kit.secrets import Vault, opaque_id, read_opaque_id

CARD = "crd"
APPROVAL = "apv"
MEMBER = "mbr"
SUBSCRIPTION = "sub"

_PLACE = struct.Struct(">qq")


def own_key(vault: Vault) -> bytes:
    """The key of these ids."""
    return id_key(vault, "own id")


def own_id(vault: Vault, prefix: str, member_id: int, number: int = 0) -> strawberry.ID:
    """The id of something of a member's by its number."""
    return strawberry.ID(opaque_id(own_key(vault), prefix, _PLACE.pack(member_id, number)))


def read_any_own_id(vault: Vault, prefix: str, opaque: str) -> int | None:
    """Whose an id of this kind is, whoever shows it; None for anything else."""
    raw = read_opaque_id(own_key(vault), prefix, opaque)
    return None if raw is None or len(raw) != _PLACE.size else int(_PLACE.unpack(raw)[0])


def read_own_id(vault: Vault, prefix: str, member_id: int, opaque: str) -> int | None:
    """The number inside an id of this member's; None for anything else."""
    raw = read_opaque_id(own_key(vault), prefix, opaque)
    if raw is None or len(raw) != _PLACE.size:
        return None
    whose, number = _PLACE.unpack(raw)
    return int(number) if whose == member_id else None
