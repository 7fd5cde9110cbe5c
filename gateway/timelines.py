"""One member's course across the programme, or one receipt's: the journal, receipts, consents, claims, the
subscription, cut-offs and the audit trail in one line of time, the latest first. Nothing of it says who that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.context import Services
from gateway.searching import KINDS
from kit import audit
from ledger import cutoffs, history
from ledger.history import LatestEntry
from members import consents
from members.subscription import subscriptions
from partners.directory import Directory
from partners.receipts import histories
from partners.receipts.records import StoredReceipt
from settlement.claims import claims

JOURNAL, RECEIPT, CONSENT, CLAIM = "JOURNAL", "RECEIPT", "CONSENT", "CLAIM"
SUBSCRIPTION, SETTLEMENT, TRAIL = "SUBSCRIPTION", "SETTLEMENT", "TRAIL"
MOST_ENTRIES = 500
"""Of the journal so many are looked through for those that belong to a receipt."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened: when (the business instant), where in the programme, what, and how many points moved.

    about is a reference, a purpose, a plan or a subject; by is a partner's code or who did it; entry_no is of the
    journal.
    """

    at: datetime
    part: str
    what: str
    about: str = ""
    by: str = ""
    points: int | None = None
    entry_no: int | None = None


async def of_member(
    services: Services, directory: Directory, member_id: int, *, before: datetime, limit: int
) -> list[Moment]:
    """What happened to a member before an instant, the latest first, at most so much."""
    async with services.database.reading() as connection:
        entries = await _entries(connection, member_id, before, limit)
        found = [_moment(each, directory) for each in entries]
        found += await _consents(connection, directory, member_id, before, limit)
        found += await _claims(connection, directory, member_id)
        found += await _subscriptions(connection, member_id)
        found += await _trail(connection, member_id, before, limit)
    receipts = await histories.receipts_of(services.database.pool, member_id, [each.seq for each in entries])
    found += [_receipt(each, directory) for each in _once(receipts.values())]
    return latest(found, before=before, limit=limit)


async def of_receipt(
    services: Services, directory: Directory, member_id: int, entry_no: int, *, before: datetime
) -> list[Moment]:
    """What became of one receipt: the entries that recorded it and that answer it, returns of it, its cut-offs, claims
    that name it. Nothing for an entry that no receipt made."""
    pool = services.database.pool
    original = (await histories.receipts_of(pool, member_id, [entry_no])).get(entry_no)
    if original is None:
        return []
    async with services.database.reading() as connection:
        entries = await history.latest(connection, member_id, limit=MOST_ENTRIES)
        receipts = await histories.receipts_of(pool, member_id, [each.seq for each in entries])
        own = {seq for seq in (original.seq, original.redemption_seq) if seq is not None}
        own |= {each.seq for each in receipts.values() if each.original_seq == original.seq}
        chain = [each for each in entries if each.seq in own or each.ref_seq in own]
        found = [_moment(each, directory) for each in chain]
        found += [_receipt(each, directory) for each in _once([original, *receipts.values()]) if each.seq in own]
        found += await _cuts(connection, member_id, [each.seq for each in chain])
        found += [each for each in await _claims(connection, directory, member_id) if each.about == original.reference]
    return latest(found, before=before, limit=len(found))


def latest(found: Iterable[Moment], *, before: datetime, limit: int) -> list[Moment]:
    """PURE: the last of them before an instant; of one instant in a fixed order."""
    wanted = [each for each in found if each.at < before]
    return sorted(wanted, key=lambda each: (each.at, each.entry_no or 0, each.part, each.what), reverse=True)[:limit]


async def _entries(connection: AsyncConnection, member_id: int, before: datetime, limit: int) -> list[LatestEntry]:
    """The journal's last entries before an instant; what was recorded later is passed over."""
    found: list[LatestEntry] = []
    behind: int | None = None
    while len(found) < limit:
        page = await history.latest(connection, member_id, before=behind, limit=limit)
        found += [each for each in page if each.recorded_at < before]
        if len(page) < limit:
            break
        behind = page[-1].seq
    return found[:limit]


async def _trail(connection: AsyncConnection, member_id: int, before: datetime, limit: int) -> list[Moment]:
    """The trail's last entries about the member from before a business instant; what was done later is passed over."""
    found: list[Moment] = []
    behind: int | None = None
    while len(found) < limit:
        rows = await audit.entries(connection, subject=f"member:{member_id}", before=behind, limit=limit)
        found += [Moment(row.at, TRAIL, row.action, row.subject, row.actor) for row in rows if row.at < before]
        if len(rows) < limit:
            break
        behind = rows[-1].entry_id
    return found[:limit]


def _moment(entry: LatestEntry, directory: Directory) -> Moment:
    owned = entry.available_after + entry.pending_after + entry.held_after - entry.debt_after
    by, points = _code(directory, entry.partner_id), owned - entry.owned_before
    return Moment(entry.recorded_at, JOURNAL, entry.kind, by=by, points=points, entry_no=entry.seq)


def _receipt(found: StoredReceipt, directory: Directory) -> Moment:
    what = KINDS.get(found.kind, str(found.kind))
    return Moment(found.at, RECEIPT, what, found.reference, _code(directory, found.partner_id), entry_no=found.seq)


def _once(receipts: Iterable[StoredReceipt]) -> list[StoredReceipt]:
    return list({each.seq: each for each in receipts}.values())


async def _consents(
    connection: AsyncConnection, directory: Directory, member_id: int, before: datetime, limit: int
) -> list[Moment]:
    return [
        Moment(each.at, CONSENT, "GRANTED" if each.granted else "WITHDRAWN", each.purpose,
               _code(directory, each.partner_id))
        for each in await consents.history(connection, member_id, before, limit=limit)
    ]  # fmt: skip


async def _claims(connection: AsyncConnection, directory: Directory, member_id: int) -> list[Moment]:
    found = []
    for each in await claims.page(connection, member_id=member_id):
        by = _code(directory, each.partner_id)
        found.append(Moment(each.at, CLAIM, "FILED", each.reference, by))
        if each.state_at > each.at:
            found.append(Moment(each.state_at, CLAIM, each.state, each.reference, by))
    return found


async def _subscriptions(connection: AsyncConnection, member_id: int) -> list[Moment]:
    return [
        Moment(each.at, SUBSCRIPTION, "BEGUN", each.plan.code)
        for each in await subscriptions.of_member(connection, member_id)
    ]


async def _cuts(connection: AsyncConnection, member_id: int, seqs: Sequence[int]) -> list[Moment]:
    numbers: set[int] = set()
    for seq in seqs:
        numbers |= {each.cutoff_id for each in await history.postings(connection, member_id, seq)}
    return [
        Moment(each.cut_at, SETTLEMENT, "CUT_OFF", str(each.cutoff_id))
        for each in await cutoffs.cutoffs(connection) if each.cutoff_id in numbers and each.cut_at is not None
    ]  # fmt: skip


def _code(directory: Directory, partner_id: int) -> str:
    found = directory.partner(partner_id)
    return "" if found is None else found.code
