"""Statements on windows and positions. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ONE_AT_A_TIME = 7_305_006  # an advisory lock's number, of no meaning elsewhere
_GROUP = "debit, credit, issuer_id, funder_id, partner_id, lot_terms_id, terms_id"
_NOW = (
    "CROSS JOIN LATERAL (SELECT step_no, to_state AS state, run_id FROM settlement.window_step x "
    "                    WHERE x.window_id = w.window_id ORDER BY step_no DESC LIMIT 1) s "
)


# --- Positions ------------------------------------------------------------------------------------------------


async def lock_positions(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to add to positions and to move windows on."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})


async def add_batch(connection: AsyncConnection, *, at: datetime, entries: int) -> int:
    """Add what was recorded behind the last batch, about so many entries of it; how many it took.

    A batch of none is written only where a cut-off waits for the watermark to pass it.
    """
    interval = await connection.execute(
        text(
            "WITH last AS (SELECT coalesce(max(batch_no), 0) AS batch_no, coalesce(max(until_xid), '0') AS until_xid "
            "              FROM settlement.position_batch), "
            "next AS (SELECT batch_no + 1 AS batch_no, until_xid AS from_xid, "
            "                ledger.readable_until(until_xid, :entries) AS until_xid FROM last), "
            "counted AS (SELECT n.batch_no, e.* FROM next n CROSS JOIN LATERAL ledger.entered(from_xid, until_xid) e), "
            "batch AS (INSERT INTO settlement.position_batch "
            "          SELECT batch_no, from_xid, until_xid, :at FROM next "
            "          WHERE until_xid > from_xid AND (EXISTS (SELECT FROM counted) OR from_xid < ("
            "            SELECT max(xid) FROM settlement.cutoff_mark)) RETURNING *) "
            "SELECT batch_no, (SELECT sum(entries) FROM counted) AS entries FROM batch"
        ),
        {"at": at, "entries": entries},
    )
    batch = interval.one_or_none()
    if batch is None or batch.entries is None:
        return 0
    for statement in (_BATCH_ENTRIES, _BATCH_DELTAS):
        await connection.execute(statement, {"batch_no": batch.batch_no})
    return int(batch.entries)


_BATCH_ENTRIES = text(
    "INSERT INTO settlement.position_entries (cutoff_id, batch_no, entries) "
    "SELECT e.cutoff_id, b.batch_no, e.entries FROM settlement.position_batch b "
    "CROSS JOIN LATERAL ledger.entered(b.from_xid, b.until_xid) e WHERE b.batch_no = :batch_no"
)
_BATCH_DELTAS = text(
    f"INSERT INTO settlement.position_delta (batch_no, cutoff_id, origin_cutoff, unit, {_GROUP}, points, postings) "
    f"SELECT b.batch_no, m.cutoff_id, m.origin_cutoff, m.unit, {_GROUP}, m.points, m.postings "
    "FROM settlement.position_batch b CROSS JOIN LATERAL ledger.moved(b.from_xid, b.until_xid) m "
    "WHERE b.batch_no = :batch_no"
)


async def turnover(connection: AsyncConnection, cutoff_ids: Sequence[int], unit: int) -> Sequence[Row[Any]]:
    """Sums of deltas of cut-offs by origin and parties; of one unit."""
    found = await connection.execute(
        text(
            f"SELECT cutoff_id, origin_cutoff, {_GROUP}, CAST(sum(points) AS bigint) AS points, "
            "       CAST(sum(postings) AS bigint) AS postings "
            "FROM settlement.position_delta WHERE cutoff_id = ANY (:cutoff_ids) AND unit = :unit "
            f"GROUP BY cutoff_id, origin_cutoff, {_GROUP} ORDER BY cutoff_id, origin_cutoff, {_GROUP}"
        ),
        {"cutoff_ids": list(cutoff_ids), "unit": unit},
    )
    return found.all()


async def recounted(
    connection: AsyncConnection, cutoff_ids: Sequence[int], unit: int, at: datetime | None
) -> Sequence[Row[Any]]:
    """The same from every posting; where an instant is given, of what was recorded by then."""
    found = await connection.execute(
        text(
            f"SELECT cutoff_id, origin_cutoff, {_GROUP}, points, postings "
            "FROM ledger.moved_in(CAST(:cutoff_ids AS int[]), CAST(:at AS timestamptz)) WHERE unit = :unit "
            f"ORDER BY cutoff_id, origin_cutoff, {_GROUP}"
        ),
        {"cutoff_ids": list(cutoff_ids), "unit": unit, "at": at},
    )
    return found.all()


async def counted(connection: AsyncConnection, cutoff_id: int) -> Row[Any]:
    """Of a cut-off: entries, postings and points as its deltas say, and as the ledger counted them at the cut."""
    found = await connection.execute(
        text(
            "SELECT (SELECT coalesce(sum(entries), 0) FROM settlement.position_entries WHERE cutoff_id = :cutoff_id) "
            "         AS entries, d.postings, d.points, c.journal_count, c.posting_count, c.posting_points "
            "FROM ledger.cutoff c CROSS JOIN LATERAL (SELECT coalesce(sum(postings), 0) AS postings, "
            "       coalesce(sum(points), 0) AS points FROM settlement.position_delta p "
            "     WHERE p.cutoff_id = c.cutoff_id) d WHERE c.cutoff_id = :cutoff_id"
        ),
        {"cutoff_id": cutoff_id},
    )
    return found.one()


async def read_cutoffs(connection: AsyncConnection) -> list[int]:
    """Cut-offs that are cut and wholly behind the watermark, and were not balanced yet; in order."""
    found = await connection.execute(
        text(
            "SELECT m.cutoff_id FROM settlement.cutoff_mark m "
            "WHERE m.xid <= (SELECT max(until_xid) FROM settlement.position_batch) "
            "  AND NOT EXISTS (SELECT FROM settlement.stock_cutoff s WHERE s.cutoff_id = m.cutoff_id) "
            "ORDER BY m.cutoff_id"
        )
    )
    return list(found.scalars())


async def unmarked_cutoffs(connection: AsyncConnection) -> list[int]:
    """Cut-offs that were cut and have no mark yet."""
    found = await connection.execute(
        text(
            "SELECT cutoff_id FROM ledger.cutoff c WHERE state = 'CUT' "
            "  AND NOT EXISTS (SELECT FROM settlement.cutoff_mark m WHERE m.cutoff_id = c.cutoff_id) ORDER BY cutoff_id"
        )
    )
    return list(found.scalars())


async def mark_cutoff(connection: AsyncConnection, cutoff_id: int) -> None:
    """Remember a transaction number behind which all of a cut-off lies that was cut."""
    await connection.execute(
        text("INSERT INTO settlement.cutoff_mark (cutoff_id, xid) SELECT :cutoff_id, ledger.reached()"),
        {"cutoff_id": cutoff_id},
    )


async def insert_stock(connection: AsyncConnection, cutoff_id: int) -> None:
    """What there is of each funder's points at the end of a cut-off: what there was before, and its deltas."""
    await connection.execute(_STOCK, {"cutoff_id": cutoff_id})


_STOCK = text("""
    INSERT INTO settlement.stock (cutoff_id, funder_id, lot_terms_id, pending, spendable)
    SELECT :cutoff_id, funder_id, lot_terms_id, sum(pending), sum(spendable) FROM (
      SELECT funder_id, lot_terms_id, pending, spendable FROM settlement.stock
      WHERE cutoff_id = (SELECT max(cutoff_id) FROM settlement.stock_cutoff WHERE cutoff_id < :cutoff_id)
      UNION ALL
      SELECT funder_id, lot_terms_id,
             points * ((credit = 2)::int - (debit = 2)::int),
             points * ((credit IN (1, 3))::int - (debit IN (1, 3))::int)
      FROM settlement.position_delta WHERE cutoff_id = :cutoff_id AND unit = 1
    ) moved GROUP BY funder_id, lot_terms_id HAVING sum(pending) <> 0 OR sum(spendable) <> 0
""")


async def stock_now(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """What there is of each funder's points as far as it was added up: the last stock, and the deltas since."""
    return (await connection.execute(_STOCK_NOW)).all()


_STOCK_NOW = text("""
    WITH last AS (SELECT coalesce(max(cutoff_id), 0) AS cutoff_id FROM settlement.stock_cutoff)
    SELECT funder_id, lot_terms_id, CAST(sum(pending) AS bigint) AS pending, CAST(sum(spendable) AS bigint) AS spendable
    FROM (
      SELECT funder_id, lot_terms_id, pending, spendable FROM settlement.stock JOIN last USING (cutoff_id)
      UNION ALL
      SELECT funder_id, lot_terms_id,
             points * ((credit = 2)::int - (debit = 2)::int),
             points * ((credit IN (1, 3))::int - (debit IN (1, 3))::int)
      FROM settlement.position_delta d, last WHERE d.cutoff_id > last.cutoff_id AND unit = 1
    ) moved GROUP BY funder_id, lot_terms_id HAVING sum(pending) <> 0 OR sum(spendable) <> 0
    ORDER BY funder_id, lot_terms_id
""")


# --- Windows --------------------------------------------------------------------------------------------------


async def known_states(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Windows that are not CUT or further, by number, with their state: those that follow their cut-off."""
    found = await connection.execute(
        text(
            "SELECT w.window_id, w.cutoff_id, w.currency, s.step_no, s.state, c.state AS cutoff_state, c.cut_at "
            f"FROM settlement.window w {_NOW} JOIN ledger.cutoff c USING (cutoff_id) "
            "WHERE s.state IN ('OPEN', 'DRAINING') "
            "  AND NOT EXISTS (SELECT FROM settlement.stock_cutoff b WHERE b.cutoff_id = w.cutoff_id) "
            "ORDER BY w.window_id"
        )
    )
    return found.all()


async def missing_windows(connection: AsyncConnection, model: str, currencies: Sequence[str]) -> Sequence[Row[Any]]:
    """Cut-offs, in order, each with a currency in which it has no window of its own yet, and that may still get one.

    A cut-off that was balanced has all it will ever have.
    """
    found = await connection.execute(
        text(
            "SELECT c.cutoff_id, currency, nullif(c.opened_at, '-infinity') AS opened_at FROM ledger.cutoff c "
            "CROSS JOIN unnest(CAST(:currencies AS text[])) AS currency "
            "WHERE NOT EXISTS (SELECT FROM settlement.window w WHERE w.cutoff_id = c.cutoff_id "
            "                    AND w.origin_cutoff = c.cutoff_id AND w.model = :model AND w.currency = currency) "
            "  AND NOT EXISTS (SELECT FROM settlement.stock_cutoff s WHERE s.cutoff_id = c.cutoff_id) "
            "ORDER BY c.cutoff_id, currency"
        ),
        {"model": model, "currencies": list(currencies)},
    )
    return found.all()


async def opened_at(connection: AsyncConnection, cutoff_id: int) -> datetime | None:
    """When a cut-off opened; None for the very first."""
    found = await connection.execute(
        text("SELECT nullif(opened_at, '-infinity') FROM ledger.cutoff WHERE cutoff_id = :cutoff_id"),
        {"cutoff_id": cutoff_id},
    )
    opened: datetime | None = found.scalar_one()
    return opened


async def next_seq(connection: AsyncConnection, *, model: str, currency: str, since: datetime | None) -> int:
    """The next number of a window for a minute; None is the beginning."""
    found = await connection.execute(
        text(
            "SELECT 1 + coalesce(max(seq), 0) FROM settlement.window WHERE model = :model AND currency = :currency "
            "AND since = coalesce(CAST(:since AS timestamptz), '-infinity')"
        ),
        {"model": model, "currency": currency, "since": since},
    )
    return int(found.scalar_one())


async def insert_window(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A window without a state yet; returns its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.window (name, model, currency, cutoff_id, origin_cutoff, since, seq) "
            "VALUES (:name, :model, :currency, :cutoff_id, :origin_cutoff, "
            "        coalesce(CAST(:since AS timestamptz), '-infinity'), :seq) RETURNING window_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_window_step(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A step of a window. The database refuses one that does not begin where the window is, or follows no edge."""
    await connection.execute(
        text(
            "INSERT INTO settlement.window_step (window_id, step_no, from_state, to_state, actor, reason, at, run_id) "
            "SELECT :window_id, 1 + coalesce(max(step_no), 0), :from_state, :to_state, :actor, :reason, :at, :run_id "
            "FROM settlement.window_step WHERE window_id = :window_id"
        ),
        row,
    )


async def insert_window_count(connection: AsyncConnection, *, window_id: int, postings: int, points: int) -> None:
    """What a window was balanced with."""
    await connection.execute(
        text("INSERT INTO settlement.window_count VALUES (:window_id, :postings, :points)"),
        {"window_id": window_id, "postings": postings, "points": points},
    )


async def mark_balanced(connection: AsyncConnection, cutoff_id: int) -> None:
    """Remember that a cut-off was balanced, and that its stock is written."""
    await connection.execute(
        text("INSERT INTO settlement.stock_cutoff (cutoff_id) VALUES (:cutoff_id)"), {"cutoff_id": cutoff_id}
    )


_WINDOW = (
    "w.window_id, w.name, w.model, w.currency, w.cutoff_id, w.origin_cutoff, w.is_late, s.state, c.cut_at, "
    "nullif(c.opened_at, '-infinity') AS opened_at, n.postings, n.points, s.run_id"
)
_WINDOWS = (
    f"SELECT {_WINDOW} FROM settlement.window w {_NOW} "
    "JOIN ledger.cutoff c USING (cutoff_id) LEFT JOIN settlement.window_count n USING (window_id) "
)


async def windows(
    connection: AsyncConnection,
    *,
    currency: str | None = None,
    states: Sequence[str] | None = None,
    cutoff_ids: Sequence[int] | None = None,
    run_id: int | None = None,
) -> Sequence[Row[Any]]:
    """Windows of a currency, in states, of cut-offs, of a run, as asked for; in the order of their cut-offs."""
    found = await connection.execute(
        text(
            f"{_WINDOWS} WHERE (CAST(:currency AS text) IS NULL OR w.currency = :currency) "
            "AND (CAST(:states AS text[]) IS NULL OR s.state = ANY (:states)) "
            "AND (CAST(:cutoff_ids AS int[]) IS NULL OR w.cutoff_id = ANY (:cutoff_ids)) "
            "AND (CAST(:run_id AS int) IS NULL OR EXISTS (SELECT FROM settlement.run_window r "
            "     WHERE r.window_id = w.window_id AND r.run_id = :run_id)) "
            "ORDER BY w.cutoff_id, w.currency, w.origin_cutoff DESC"
        ),
        {
            "currency": currency,
            "states": None if states is None else list(states),
            "cutoff_ids": None if cutoff_ids is None else list(cutoff_ids),
            "run_id": run_id,
        },
    )
    return found.all()


async def steps(connection: AsyncConnection, window_id: int) -> Sequence[Row[Any]]:
    """The way of a window, in order."""
    found = await connection.execute(
        text(
            "SELECT step_no, from_state, to_state, actor, reason, at, run_id FROM settlement.window_step "
            "WHERE window_id = :window_id ORDER BY step_no"
        ),
        {"window_id": window_id},
    )
    return found.all()


# --- Where partners stand -------------------------------------------------------------------------------------

_LIVE_AT = (
    "live AS (SELECT r.run_id, r.currency FROM settlement.run r CROSS JOIN LATERAL ("
    "           SELECT to_state AS state FROM settlement.run_step x WHERE x.run_id = r.run_id "
    "             AND (CAST(:at AS timestamptz) IS NULL OR x.at <= :at) ORDER BY step_no DESC LIMIT 1) s "
    "         WHERE state NOT IN ('DRAFT', 'ABORTED', 'SUPERSEDED'))"
)


async def unsettled_cutoffs(connection: AsyncConnection, currency: str) -> list[int]:
    """Cut-offs that no run has settled in a currency, open ones too."""
    return await _unsettled(connection, currency, None)


async def unsettled_cutoffs_at(connection: AsyncConnection, currency: str, at: datetime) -> list[int]:
    """Cut-offs that had begun by an instant and that no run had settled then in a currency."""
    return await _unsettled(connection, currency, at)


async def _unsettled(connection: AsyncConnection, currency: str, at: datetime | None) -> list[int]:
    found = await connection.execute(
        text(
            f"WITH {_LIVE_AT} SELECT c.cutoff_id FROM ledger.cutoff c "
            "WHERE (CAST(:at AS timestamptz) IS NULL OR c.opened_at <= :at) AND NOT EXISTS ("
            "  SELECT FROM settlement.window w JOIN settlement.run_window USING (window_id) JOIN live USING (run_id) "
            "  WHERE w.cutoff_id = c.cutoff_id AND w.currency = :currency) ORDER BY c.cutoff_id"
        ),
        {"at": at, "currency": currency},
    )
    return list(found.scalars())


async def carried_at(connection: AsyncConnection, at: datetime | None) -> Sequence[Row[Any]]:
    """What the last run of each currency carried over, by partner; as it was at an instant where one is given."""
    found = await connection.execute(
        text(
            f"WITH {_LIVE_AT}, last AS (SELECT currency, max(run_id) AS run_id FROM live GROUP BY currency) "
            "SELECT s.partner_id, s.currency, CAST(-sum(n.amount_micro) AS bigint) AS carried_micro "
            "FROM last JOIN settlement.statement s USING (run_id) JOIN settlement.line n USING (statement_id) "
            "WHERE s.partner_id <> 0 AND n.kind = 'CARRIED_OUT' GROUP BY s.partner_id, s.currency"
        ),
        {"at": at},
    )
    return found.all()
