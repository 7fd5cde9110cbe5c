"""Partners' id keys, sealed anew under the next master key. The keys themselves stay: what partners noted down must
stay readable, and nobody outside has ever seen them. For the rotation alone, with the rights of the schema's owner.
"""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.secrets import Vault
from partners import rekeying_store
from partners.onboarding import id_key_context


async def id_keys(connection: AsyncConnection, vault: Vault, *, since: int, after: int, limit: int) -> tuple[int, int]:
    """Seal the keys of the next partners behind a number anew; the last one's number, and how many were done."""
    rows = await rekeying_store.id_keys(connection, after, limit)
    sealed = []
    for row in rows:
        context = id_key_context(row.code)
        sealed.append(vault.seal(vault.open(bytes(row.sealed_id_key), context), context))
    await rekeying_store.write_id_keys(connection, [row.partner_id for row in rows], sealed)
    return (rows[-1].partner_id if rows else after), len(rows)
