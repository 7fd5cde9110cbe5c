"""What a run is decided on besides its windows: what partners bring, by the agreements of its cut, and what volume
periods bring. Once calculated it is kept with the run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from partners.agreements import programme
from partners.clearing import clearing
from partners.terms import SettlementTerms
from settlement import archive, calculation, charges, periods, store
from settlement.archive import RunHead
from settlement.calculation import Agreed
from settlement.charges import Brought
from settlement.documents import taxes
from settlement.money import fees, owed, stock
from settlement.money.events import MoneyEvent
from settlement.periods import Billed
from settlement.reconciliation import corrections
from settlement.volumes import Volume
from settlement.windows import cycle
from settlement.windows.cycle import Window

_DAY = timedelta(days=1)


async def of_run(connection: AsyncConnection, its: RunHead, own: Sequence[Window]) -> Agreed:
    """What partners bring to a drafted run of these windows, and the money that moved without points.

    Rejects TAX_RULE_UNKNOWN.
    """
    signed = await _signed(connection, its)
    found = await _period_events(connection, its, own, signed)
    stated = await archive.stated_cutoffs(connection, its)
    found += await stock.paid_in(connection, stated, its.currency)
    found += await owed.events(connection, stated, its.currency)
    found += await corrections.stated_by(connection, its.run_id, its.currency)
    found += await fees.billed(connection, stated, its.currency)
    handed_over = await stock.repriced_in(connection, stated, its.currency)
    return Agreed(await _brought(connection, its, signed), tuple(found), tuple(handed_over))


async def _brought(
    connection: AsyncConnection, its: RunHead, signed: Mapping[int, SettlementTerms]
) -> dict[int, Brought]:
    """What every partner with an agreement in the run's currency brings to it."""
    carried = {} if its.previous_run_id is None else await store.carried(connection, its.previous_run_id)
    released = await _released(connection, its, signed)
    # What was supplied until the cut is taxed by the version of until then, not by one that begins with it.
    rules = await taxes.in_force(connection, at=its.cut_at)
    rules |= await taxes.in_force(connection, at=its.cut_at - timedelta(microseconds=1))
    found = {}
    for partner_id, terms in signed.items():
        rule = rules.get(terms.tax_rule)
        if rule is None:
            raise taxes.TaxRuleUnknown(f"no version of tax rule {terms.tax_rule} holds at {its.cut_at.isoformat()}")
        found[partner_id] = Brought(
            opening_minor=carried.get(partner_id, 0),
            released_minor=released.get(partner_id, 0),
            conditions=charges.conditions(terms, rule),
        )
    return found


async def _signed(connection: AsyncConnection, its: RunHead) -> dict[int, SettlementTerms]:
    """By partner the last version in the run's currency that was in force before its cut; one that begins with the cut
    is of the next run's time, and counts where there is no other."""
    found: dict[int, SettlementTerms] = {}
    for _, terms in await clearing.signed(connection):
        if terms.currency == its.currency and terms.valid_from <= its.cut_at:
            held = found.get(terms.partner_id)
            if held is None or _standing(terms, its) > _standing(held, its):
                found[terms.partner_id] = terms
    return found


def _standing(terms: SettlementTerms, its: RunHead) -> tuple[bool, datetime, int]:
    return terms.valid_from < its.cut_at, terms.valid_from, terms.version


async def _period_events(
    connection: AsyncConnection, its: RunHead, own: Sequence[Window], signed: Mapping[int, SettlementTerms]
) -> list[MoneyEvent]:
    """Fees and rebates that volume periods bring to the run, of partners whose agreement knows any."""
    found = await _volumes(connection, its, own, signed)
    return [event for terms, volumes in found for event in periods.charges(terms, volumes)]


async def volumes(
    connection: AsyncConnection, its: RunHead, own: Sequence[Window]
) -> list[tuple[SettlementTerms, list[Volume]]]:
    """By partner whose agreement asks for it, what of its volume periods a run of these windows covers."""
    return await _volumes(connection, its, own, await _signed(connection, its))


async def _volumes(
    connection: AsyncConnection, its: RunHead, own: Sequence[Window], signed: Mapping[int, SettlementTerms]
) -> list[tuple[SettlementTerms, list[Volume]]]:
    wanted = {partner_id: terms for partner_id, terms in signed.items() if periods.needs_them(terms)}
    if not wanted:
        return []
    zone = (await programme.read(connection)).time_zone
    first = await _first_valid(connection, its)
    begins = None if its.previous_run_id is None else (await archive.head(connection, its.previous_run_id)).cut_at
    now = await _billed(connection, own)
    settled = [] if begins is None else await _settled_before(connection, its, begins - 366 * _DAY)
    before = await _billed(connection, settled)
    found = []
    for partner_id, terms in sorted(wanted.items()):
        since = first[partner_id]
        covered = periods.covered(
            terms, earlier=before.get(partner_id, []), own=now.get(partner_id, []), agreed_since=since,
            since=since if begins is None else max(begins, since), until=its.cut_at, zone=zone,
        )  # fmt: skip
        found.append((terms, covered))
    return found


async def _first_valid(connection: AsyncConnection, its: RunHead) -> dict[int, datetime]:
    """By partner since when anything is agreed in the run's currency: a later version is not a beginning."""
    found: dict[int, datetime] = {}
    for _, terms in await clearing.signed(connection):
        if terms.currency == its.currency:
            found[terms.partner_id] = min(terms.valid_from, found.get(terms.partner_id, terms.valid_from))
    return found


async def _settled_before(connection: AsyncConnection, its: RunHead, since: datetime) -> list[Window]:
    """Windows of the runs before, of cut-offs that were cut since an instant."""
    found: list[Window] = []
    before = its.previous_run_id
    while before is not None:
        found += [
            w for w in await cycle.windows(connection, run_id=before) if w.cut_at is not None and w.cut_at >= since
        ]
        one = await archive.head(connection, before)
        before = one.previous_run_id if one.cut_at >= since else None
    return found


async def _billed(connection: AsyncConnection, own: Sequence[Window]) -> dict[int, list[Billed]]:
    """What partners were billed for in windows, by partner, a value for each cut-off."""
    if not own:
        return {}
    material = await archive.material_of(connection, own)
    cut_at = {w.cutoff_id: w.cut_at for w in own}
    found: dict[int, list[Billed]] = defaultdict(list)
    for cutoff_id, lines in calculation.rated(material):
        instant = cut_at[cutoff_id]
        assert instant is not None, "a cut-off that is cut says when"
        for partner_id, one in periods.billed(lines, instant, material.terms).items():
            found[partner_id].append(one)
    return found


async def _released(connection: AsyncConnection, its: RunHead, signed: Mapping[int, SettlementTerms]) -> dict[int, int]:
    """What of each partner's holdback is old enough to be let go: when disputes about it can no longer come."""
    sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in await store.holdbacks(connection, its.currency):
        terms = signed.get(row.partner_id)
        if terms is not None:
            total = sums[row.partner_id]
            is_old = row.held_minor and row.cut_at + terms.dispute_days * _DAY <= its.cut_at
            total[0] += row.held_minor if is_old else 0
            total[1] += row.released_minor
            total[2] += row.used_minor
    return {
        partner_id: charges.due_release(held_minor=held, released_minor=released, used_minor=used)
        for partner_id, (held, released, used) in sums.items()
    }
