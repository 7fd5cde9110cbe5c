"""Keys that sign settlement packages: Ed25519, sealed in the database, their public halves never taken away.

A package is verified years after it was signed, so a key that no longer signs stays published.
"""

from __future__ import annotations

import json
from datetime import datetime

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, audit
from kit.secrets import BadKey, Vault
from settlement.packages import key_store
from settlement.packages.signatures import Signer, public_jwk


async def signer(connection: AsyncConnection, vault: Vault, *, at: datetime) -> Signer:
    """The key that signs at a business instant, made where the database has none yet."""
    await key_store.lock(connection)
    row = await key_store.current(connection)
    if row is None:
        return await _add(connection, vault, at=at)
    try:
        raw = vault.open(bytes(row.sealed_key), f"settlement-key:{row.kid}")
    except InvalidTag as error:
        raise BadKey("the master key is not the one that this database was made with") from error
    return Signer(row.kid, Ed25519PrivateKey.from_private_bytes(raw))


async def rotate(connection: AsyncConnection, vault: Vault, *, by: str, at: datetime) -> str:
    """Add a key that signs from now on, for an OPERATOR_ADMIN; returns its kid. What was signed stays verifiable.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED.
    """
    actor_id = await actors.by_name(connection, by)
    await actors.require_role(connection, actor_id, actors.OPERATOR_ADMIN)
    await key_store.lock(connection)
    made = await _add(connection, vault, at=at)
    await audit.write(
        connection, actor=actor_id, action="SETTLEMENT_KEY_ROTATED", subject=f"key:{made.kid}", detail={}, at=at
    )
    return made.kid


async def public_keys(connection: AsyncConnection) -> dict[str, list[dict[str, str]]]:
    """Every key that ever signed, as a JSON Web Key Set, the newest first."""
    rows = await key_store.public(connection)
    return {"keys": [{**json.loads(row.public_jwk), "use": "sig", "alg": "EdDSA"} for row in rows]}


async def _add(connection: AsyncConnection, vault: Vault, *, at: datetime) -> Signer:
    key = Ed25519PrivateKey.generate()
    jwk = public_jwk(key)
    sealed = vault.seal(key.private_bytes_raw(), f"settlement-key:{jwk['kid']}")
    await key_store.insert(connection, kid=jwk["kid"], public_jwk=json.dumps(jwk), sealed_key=sealed, at=at)
    return Signer(jwk["kid"], key)


async def seal_anew(connection: AsyncConnection, vault: Vault) -> int:
    """Seal every key under the newest master key, with the rights of the schema's owner; how many there are."""
    rows = await key_store.sealed(connection)
    for row in rows:
        context = f"settlement-key:{row.kid}"
        await key_store.reseal(connection, row.kid, vault.seal(vault.open(bytes(row.sealed_key), context), context))
    return len(rows)
