"""The hash chain: whether anything that was written once has been altered since.

Each entry's hash covers the entry, its postings and the hash before; each closed cut-off's seal covers the heads of the
accounts it touched and the seal before. An alteration is found by recomputing from the first row; one that recomputes
an account's hashes as well is found by the seal, and one that recomputes the seals by whoever was told them.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from ledger import store


@dataclass(frozen=True, slots=True)
class Break:
    """A place where the chain does not hold: an account's entry, and what is wrong."""

    holder_id: int
    unit: int
    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What recomputing found: breaks, the first altered entry first; cut-offs whose seal is broken; the last seal."""

    breaks: list[Break]
    broken_seals: list[int]
    sealed_cutoff: int | None
    seal: str | None

    @property
    def holds(self) -> bool:
        """Whether nothing was altered."""
        return not self.breaks and not self.broken_seals


async def verify(connection: AsyncConnection) -> Verification:
    """Recompute every hash from row one, and every seal."""
    last = await store.last_seal(connection)
    return Verification(
        breaks=[Break(**row._mapping) for row in await store.broken_chains(connection)],
        broken_seals=list(await store.broken_seals(connection)),
        sealed_cutoff=last.cutoff_id if last else None,
        seal=last.seal.hex() if last else None,
    )
