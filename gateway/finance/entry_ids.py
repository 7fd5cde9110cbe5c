"""Ids of the ledger's entries, as whoever settles knows them: whose account it is, nobody reads in one."""

import strawberry

from gateway import connections
from kit.secrets import Vault, opaque_id, read_opaque_id

_PREFIX, _PURPOSE = "ent", "ledger entry id"


def entry_id(vault: Vault, holder_id: int, seq: int) -> strawberry.ID:
    """The id of an entry by its holder and its place in the account."""
    content = holder_id.to_bytes(8, "big") + seq.to_bytes(8, "big")
    return strawberry.ID(opaque_id(connections.id_key(vault, _PURPOSE), _PREFIX, content))


def read_entry_id(vault: Vault, opaque: str) -> tuple[int, int] | None:
    """Holder and place inside an id; None for anything else."""
    raws = (read_opaque_id(key, _PREFIX, opaque) for key in connections.id_keys(vault, _PURPOSE))
    raw = next((raw for raw in raws if raw is not None), None)
    return None if raw is None or len(raw) != 16 else (int.from_bytes(raw[:8], "big"), int.from_bytes(raw[8:], "big"))
