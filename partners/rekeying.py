"""What of partners lies under the master key, given over to the next one: id keys, hashes of codes and devices.

The id keys themselves stay: what partners noted down must stay readable, and nobody outside has ever seen them. For the
rotation alone, with the rights of the schema's owner.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.secrets import Vault
from partners import rekeying_store
from partners.agreements.onboarding import id_key_context
from partners.mechanics.raffles import seed_context


async def id_keys(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """Seal the keys of the next partners behind a number anew; the last one's number, and how many were done."""
    rows = await rekeying_store.id_keys(connection, after, limit)
    sealed = []
    for row in rows:
        context = id_key_context(row.code)
        sealed.append(vault.seal(vault.open(bytes(row.sealed_id_key), context), context))
    await rekeying_store.write_id_keys(connection, [row.partner_id for row in rows], sealed)
    return (rows[-1].partner_id if rows else after), len(rows)


async def coupons(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """The hashes of the next coupons' codes behind a number, made anew; the last one's number, and how many."""
    rows = await rekeying_store.coupons(connection, after, limit)
    anew = [vault.looked_up_anew(row.code_lookup, since) for row in rows]
    await rekeying_store.write_coupons(connection, [row.coupon_id for row in rows], anew)
    return (rows[-1].coupon_id if rows else after), len(rows)


async def invitations(
    connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int
) -> tuple[int, int]:
    """The hashes of the codes and devices of the next members' invitations, and of who came by one; as `coupons`."""
    holders = await rekeying_store.inviting_holders(connection, after, limit)
    for row in await rekeying_store.invitations(connection, holders):
        device = row.device and vault.looked_up_anew(row.device, since)
        await rekeying_store.write_invitation(
            connection, row.code_lookup, vault.looked_up_anew(row.code_lookup, since), device
        )
    for row in await rekeying_store.referrals(connection, holders):
        await rekeying_store.write_referral(connection, row.holder_id, vault.looked_up_anew(row.device, since))
    return (holders[-1] if holders else after), len(holders)


async def raffles(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """The seeds of all raffles, sealed anew; how many there are, and how many were done."""
    if after:
        return after, 0
    rows = await rekeying_store.raffle_seeds(connection)
    for row in rows:
        context = seed_context(row.code)
        sealed = vault.seal(vault.open(bytes(row.sealed_seed), context), context)
        await rekeying_store.write_raffle_seed(connection, row.code, sealed)
    return 1, len(rows)
