"""What GraphQL says of claims to missing points: to its member, its partner, the operator's finance."""

from collections.abc import Sequence
from datetime import date, datetime

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import connections, masking
from gateway.connections import Connection, Cursors
from gateway.context import Context
from gateway.inputs import described
from gateway.membership.own_ids import own_id, read_own_id
from gateway.types import Money, PartnerView, money, partner_view
from kit.amounts import Points
from kit.secrets import Vault, opaque_id, read_opaque_id
from partners.directory import Directory
from settlement.claims import claims
from settlement.claims.claims import Claim, Evidence, Shown

_IDS, PREFIX = "missing points claim", "clm"


@strawberry.input(description="A picture or file that speaks for a side and stays with it; we keep its hash.")
class EvidenceInput:
    media_type: str = described("image/jpeg, image/png, image/webp or application/pdf.")
    size_bytes: int = described("Its size, at most 10 MiB.")
    sha256: str = described("Its SHA-256, 64 hexadecimal digits.")


@strawberry.type(description="A picture or file that was shown of a claim or a dispute.")
class ShownEvidence:
    side: str = described("MEMBER, PARTNER or OPERATOR: who has it.")
    media_type: str = described("What it is.")
    size_bytes: int = described("Its size.")
    sha256: str = described("Its SHA-256, hexadecimal: who gets the file from the other side checks it by this.")
    at: datetime = described("When it was named.")


@strawberry.type(description="What a member says of a purchase whose points are missing, and where that stands.")
class MissingPointsClaim:
    id: strawberry.ID = described("Its id.")
    partner: PartnerView = described("At whom it was.")
    state: str = described(
        "FILED, ACCEPTED, REFUSED, CONTESTED, UPHELD, DISMISSED, CREDITED, FOUND, REPLACED, CLOSED; more may appear."
    )
    business_date: date = described("Day of the receipt.")
    reference: str = described("Number of the receipt.")
    outlet: str | None = described("Code of the outlet, where the member told it.")
    place: str | None = described("The place in the member's words, where not.")
    terminal: str | None = described("Code of the till, where it is known.")
    total: Money = described("What the purchase came to, as the member told it.")
    answered_total: Money | None = described("As the partner has it, where that is another.")
    refusal: str | None = described("Why the partner refused: P01 to P06; more may appear.")
    contest: str | None = described("Why the operator is asked: C01 to C03, C09; more may appear.")
    note: str | None = described("What the partner or the operator says besides.")
    points: Points | None = described("How many points it gave.")
    deadline: datetime | None = described("Until when somebody has to say something; none where nobody has.")
    filed_at: datetime = described("When it was made.")
    state_at: datetime = described("Since when it is in its state.")
    evidence: list[ShownEvidence] = described("What was shown.")


def claim_id(vault: Vault, number: int) -> strawberry.ID:
    """A claim's id as its partner and finance know it."""
    return strawberry.ID(opaque_id(connections.id_key(vault, _IDS), PREFIX, number.to_bytes(8, "big")))


def read_claim_id(vault: Vault, opaque: str) -> int:
    """The number inside an id of a claim; 0, which none has, for anything else."""
    raw = read_opaque_id(connections.id_key(vault, _IDS), PREFIX, opaque)
    return int.from_bytes(raw, "big") if raw is not None and len(raw) == 8 else 0


def read_own_claim_id(vault: Vault, member_id: int, opaque: str) -> int:
    """The number inside a member's own id of a claim; 0 for anything else."""
    return read_own_id(vault, PREFIX, member_id, opaque) or 0


def view(
    vault: Vault, directory: Directory, its: Claim, shown: Sequence[Evidence], *, of_member: int | None = None
) -> MissingPointsClaim:
    """A claim; of_member is the member to whom it is told, None for its partner and finance."""
    partner = directory.partner(its.partner_id)
    assert partner is not None
    number = its.claim_id
    return MissingPointsClaim(
        id=claim_id(vault, number) if of_member is None else own_id(vault, PREFIX, of_member, number),
        partner=partner_view(partner), state=its.state, business_date=its.business_date, reference=its.reference,
        outlet=its.outlet, place=its.place, terminal=its.terminal, total=money(its.total_minor, its.currency),
        answered_total=None if its.answered_minor is None else money(its.answered_minor, its.currency),
        refusal=its.refusal, contest=its.contest, note=its.note,
        points=None if its.points is None else Points(its.points), deadline=its.deadline, filed_at=its.at,
        state_at=its.state_at, evidence=[shown_evidence(one) for one in shown],
    )  # fmt: skip


def shown_evidence(one: Evidence) -> ShownEvidence:
    """A piece of evidence."""
    return ShownEvidence(
        side=one.side, media_type=one.media_type, size_bytes=one.size_bytes, sha256=one.sha256.hex(), at=one.at
    )


def shown_of(said: Sequence[EvidenceInput] | None) -> tuple[Shown, ...]:
    """Evidence as it came in. Raises BAD_USER_INPUT for a hash that is none."""
    return tuple(Shown(one.media_type, one.size_bytes, hash_of(one.sha256)) for one in said or ())


def hash_of(sha256: str) -> bytes:
    """The bytes of a SHA-256 in hexadecimal digits. Raises BAD_USER_INPUT."""
    try:
        found = bytes.fromhex(sha256)
    except ValueError:
        found = b""
    if len(found) != 32 or len(sha256) != 64:
        raise masking.coded(masking.BAD_USER_INPUT, "A SHA-256 is 64 hexadecimal digits.")
    return found


async def own_claims(
    info: Info[Context, None], member_id: int, first: int, after: str | None
) -> Connection[MissingPointsClaim]:
    """A member's claims, the latest first."""
    cursors = Cursors(info.context.services.vault, "own claim")
    async with info.context.services.database.reading() as connection:
        rows = await claims.page(
            connection, member_id=member_id, before=cursors.read(after) or 2**62, limit=connections.bounded(first) + 1
        )
        found = await views(info, connection, rows, of_member=member_id)
    return connections.page(
        rows, first, after=after, cursor=lambda row: cursors.write(row.claim_id), node=lambda row: found[row.claim_id]
    )


async def views(
    info: Info[Context, None], connection: AsyncConnection, rows: Sequence[Claim], *, of_member: int | None = None
) -> dict[int, MissingPointsClaim]:
    """Claims by number, as they are told."""
    services = info.context.services
    shown = await claims.evidence(connection, [row.claim_id for row in rows])
    directory = await services.directory.get()
    return {row.claim_id: view(services.vault, directory, row, shown[row.claim_id], of_member=of_member)
            for row in rows}  # fmt: skip
