"""Statements on the stock of points: how it moved, who carries it, what was brought in. Private to settlement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


async def insert_movements(
    connection: AsyncConnection, booking_id: int, movements: Mapping[tuple[int, int, str], int]
) -> None:
    """How a booking's points moved, by funder, version and kind; what comes to nothing is left out."""
    rows = [(*key, points) for key, points in movements.items() if points]
    await connection.execute(
        text(
            "INSERT INTO settlement.stock_movement (booking_id, funder_id, terms_id, kind, points) "
            "SELECT :booking_id, * FROM unnest(CAST(:funder_ids AS int[]), CAST(:terms_ids AS int[]), "
            "                                  CAST(:kinds AS text[]), CAST(:points AS bigint[]))"
        ),
        {
            "booking_id": booking_id,
            "funder_ids": [row[0] for row in rows],
            "terms_ids": [row[1] for row in rows],
            "kinds": [row[2] for row in rows],
            "points": [row[3] for row in rows],
        },
    )


async def stock(connection: AsyncConnection, *, funder_id: int | None) -> Sequence[Row[Any]]:
    """Points that could be spent when the latest booked cut-off was cut, by funder and version; of one or all."""
    found = await connection.execute(
        text(
            "SELECT funder_id, terms_id, CAST(sum(points) AS bigint) AS points FROM settlement.stock_movement "
            "WHERE funder_id = coalesce(CAST(:funder_id AS int), funder_id) "
            "GROUP BY funder_id, terms_id ORDER BY funder_id, terms_id"
        ),
        {"funder_id": funder_id},
    )
    return found.all()


async def funders_terms(connection: AsyncConnection, funder_id: int) -> list[int]:
    """Versions of terms under which lots that a partner funds were ever issued."""
    found = await connection.execute(
        text("SELECT DISTINCT terms_id FROM ledger.lot WHERE unit = 1 AND funder_id = :funder_id ORDER BY terms_id"),
        {"funder_id": funder_id},
    )
    return list(found.scalars())


async def transfers_by(connection: AsyncConnection, cutoff_id: int) -> Sequence[Row[Any]]:
    """Of each funder and version the latest transfer that a cut-off is rated by."""
    found = await connection.execute(
        text(
            "SELECT DISTINCT ON (funder_id, terms_id) funder_id, terms_id, carrier_id, billed_fund_micro "
            "FROM settlement.stock_transfer WHERE from_cutoff <= :cutoff_id "
            "ORDER BY funder_id, terms_id, from_cutoff DESC"
        ),
        {"cutoff_id": cutoff_id},
    )
    return found.all()


async def paid_in(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Transfers that begin with one of these cut-offs and that a partner pays for or is paid for: who, and how much."""
    found = await connection.execute(
        text(
            "SELECT t.terms_id, t.points, t.paid_micro, t.from_cutoff, p.party_id FROM settlement.stock_transfer t "
            "JOIN settlement.money_posting p USING (booking_id) "
            "WHERE t.from_cutoff = ANY (:cutoff_ids) AND p.account = '1200' AND p.terms_id = t.terms_id "
            "ORDER BY t.from_cutoff, t.terms_id"
        ),
        {"cutoff_ids": list(cutoff_ids)},
    )
    return found.all()


async def repriced_in(connection: AsyncConnection, cutoff_ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Transfers that begin with one of these cut-offs and reprice points that are out there."""
    found = await connection.execute(
        text(
            "SELECT funder_id, terms_id, points, was_billed_micro, billed_fund_micro FROM settlement.stock_transfer "
            "WHERE from_cutoff = ANY (:cutoff_ids) AND points > 0 AND was_billed_micro <> billed_fund_micro "
            "ORDER BY from_cutoff, funder_id, terms_id"
        ),
        {"cutoff_ids": list(cutoff_ids)},
    )
    return found.all()


async def openings(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """What was brought in from before."""
    found = await connection.execute(
        text("SELECT funder_id, terms_id, points, approval_id FROM settlement.opening_stock ORDER BY 1, 2")
    )
    return found.all()


async def insert_opening(
    connection: AsyncConnection, *, approval_id: int, funder_id: int, terms_id: int, points: int
) -> bool:
    """Declare what is brought in; False where it was for this funder and version."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.opening_stock (approval_id, funder_id, terms_id, points) "
            "VALUES (:approval_id, :funder_id, :terms_id, :points) ON CONFLICT DO NOTHING"
        ),
        {"approval_id": approval_id, "funder_id": funder_id, "terms_id": terms_id, "points": points},
    )
    return made.rowcount == 1


async def insert_transfer(connection: AsyncConnection, values: Mapping[str, Any]) -> None:
    """Who carries the points of a funder and version from a cut-off on."""
    await connection.execute(
        text(
            "INSERT INTO settlement.stock_transfer (approval_id, funder_id, terms_id, from_cutoff, carrier_id, "
            "  was_billed_micro, billed_fund_micro, points, paid_micro, booking_id) "
            "VALUES (:approval_id, :funder_id, :terms_id, :from_cutoff, :carrier_id, :was_billed_micro, "
            "        :billed_fund_micro, :points, :paid_micro, :booking_id)"
        ),
        values,
    )


async def first_unrated_cutoff(connection: AsyncConnection) -> int:
    """The first cut-off that is neither booked nor settled, with every later one."""
    found = await connection.execute(
        text(
            "SELECT 1 + greatest((SELECT coalesce(max(cutoff_id), 0) FROM settlement.booking "
            "                     WHERE source = 'cutoff:' || cutoff_id), "
            "                    (SELECT coalesce(max(w.cutoff_id), 0) "
            "                     FROM settlement.window w JOIN settlement.window_step s USING (window_id) "
            "                     WHERE s.to_state = 'CLAIMED'))"
        )
    )
    return int(found.scalar_one())


async def unbooked_before(connection: AsyncConnection, cutoff_id: int) -> list[int]:
    """Cut-offs before one that are not booked."""
    found = await connection.execute(
        text(
            "SELECT cutoff_id FROM ledger.cutoff c WHERE cutoff_id < :cutoff_id AND NOT EXISTS ( "
            "  SELECT FROM settlement.booking b WHERE b.source = 'cutoff:' || c.cutoff_id) ORDER BY cutoff_id"
        ),
        {"cutoff_id": cutoff_id},
    )
    return list(found.scalars())


async def granted_of_opening(connection: AsyncConnection, funder_id: int, terms_id: int) -> int:
    """Points of an opening that lots were made of."""
    found = await connection.execute(
        text(
            "SELECT coalesce(sum(granted), 0) FROM ledger.lot "
            "WHERE unit = 1 AND funder_id = :funder_id AND terms_id = :terms_id"
        ),
        {"funder_id": funder_id, "terms_id": terms_id},
    )
    return int(found.scalar_one())


async def lock_opening(connection: AsyncConnection, funder_id: int, terms_id: int) -> Row[Any] | None:
    """The opening of a funder and version, to be granted from by one at a time."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(7305012, hashtext(:key))"), {"key": f"{funder_id}:{terms_id}"}
    )
    found = await connection.execute(
        text(
            "SELECT funder_id, terms_id, points, approval_id FROM settlement.opening_stock "
            "WHERE funder_id = :funder_id AND terms_id = :terms_id"
        ),
        {"funder_id": funder_id, "terms_id": terms_id},
    )
    return found.one_or_none()
