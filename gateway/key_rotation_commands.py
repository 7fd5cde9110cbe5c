"""`tessera rotate-keys`: give everything over to the next master key, while nobody serves."""

from __future__ import annotations

from gateway import key_rotation
from kit import console, keyring
from kit.clock import wall
from kit.database import APPLICATION_ROLE, connect
from kit.secrets import BadKey, load_master_key
from kit.settings import settings


def rotate_keys() -> None:
    """Rotate, or go on with what was stopped, and say how far it is."""
    with console.clear_errors(), console.database_address(settings()) as (_, owner_address):
        done = console.run(_rotate(owner_address, load_master_key(settings())))
    console.out.print(f"Done: {done} rows. Start the gateway and the worker with this key.", markup=False)


async def _rotate(owner_address: str, master_key: bytes) -> int:
    async with connect(owner_address, pool_size=2) as database:
        async with database.reading() as connection:
            if serving := await keyring.serving(connection, APPLICATION_ROLE):
                raise BadKey(
                    f"{serving} connections of the application are open: stop `tessera serve` and `tessera worker` "
                    "everywhere first, because nobody is found while hashes are made anew"
                )
        return await key_rotation.rotate(database, master_key, now=wall, told=_tell)


def _tell(part: str, rows: int) -> None:
    console.err.print(f"{part}: {rows}", markup=False)
