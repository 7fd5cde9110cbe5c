"""What of members lies under the master key, given over to the next one, some rows at a time. For its rotation alone.

Called with the rights of the schema's owner while nobody serves: the application may change none of these.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.secrets import Vault
from members import rekeying_store
from members.cards import secret_context
from members.enrolment import key_context


async def cards(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """The next cards behind a number: the hash of the number anew, the secret sealed anew under it.

    since is the generation that they are of. Returns the last one's number (the given one where none is left) and how
    many were done.
    """
    rows = await rekeying_store.cards(connection, after, limit)
    lookups = [vault.looked_up_anew(row.number_lookup, since) for row in rows]
    sealed = [
        vault.seal(vault.open(bytes(row.sealed_secret), secret_context(row.number_lookup)), secret_context(lookup))
        for row, lookup in zip(rows, lookups, strict=True)
    ]
    await rekeying_store.write_cards(connection, [row.card_id for row in rows], lookups, sealed)
    return (rows[-1].card_id if rows else after), len(rows)


async def aliases(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """All aliases of the next members behind a number; else as `cards`."""
    rows = await rekeying_store.aliases(connection, after, limit)
    await rekeying_store.write_aliases(
        connection, [(row.kind, row.partner_id, row.lookup, vault.looked_up_anew(row.lookup, since)) for row in rows]
    )
    return (rows[-1].member_id if rows else after), len(rows)


async def member_keys(
    connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
) -> tuple[int, int]:
    """The own keys of the next members behind a number, sealed anew; what they seal stays. Else as `cards`."""
    rows = await rekeying_store.member_keys(connection, after, limit)
    sealed = []
    for row in rows:
        context = key_context(row.member_id)
        sealed.append(vault.seal(vault.open(bytes(row.sealed_key), context), context))
    await rekeying_store.write_member_keys(connection, [row.member_id for row in rows], sealed)
    return (rows[-1].member_id if rows else after), len(rows)


async def enrolments(
    connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
) -> tuple[int, int]:
    """The fingerprints of enrolments of the next members behind a number; else as `cards`."""
    rows = await rekeying_store.enrolments(connection, after, limit)
    changed = [(row.idem_key, vault.looked_up_anew(row.fingerprint, since)) for row in rows]
    await rekeying_store.write_enrolments(connection, changed)
    return (rows[-1].member_id if rows else after), len(rows)


async def persons(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """What the persons behind the next members' phones were given once; before their aliases. Else as `cards`.

    A person whom nobody is a member as any more is found by no phone, and keeps the hash that they had.
    """
    rows = await rekeying_store.phones(connection, after, limit)
    changed = [
        (
            vault.looked_up_then("person", row.lookup.hex, since),
            vault.lookup("person", vault.looked_up_anew(row.lookup, since).hex),
        )
        for row in rows
    ]
    await rekeying_store.write_persons(connection, changed)
    return (rows[-1].member_id if rows else after), len(rows)


async def plan_codes(
    connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
) -> tuple[int, int]:
    """The hashes of the next codes of plans and presents behind a number; else as `cards`."""
    rows = await rekeying_store.plan_codes(connection, after, limit)
    anew = [vault.looked_up_anew(row.lookup, since) for row in rows]
    await rekeying_store.write_plan_codes(connection, [row.code_no for row in rows], anew)
    return (rows[-1].code_no if rows else after), len(rows)
