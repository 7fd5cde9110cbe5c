"""settlement's statements. Private to the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ONE_AT_A_TIME = 7_305_004  # an advisory lock's number, of no meaning elsewhere
_BY_THE_CLOCK = 7_305_017
_RUN = (
    "r.run_id, r.name, r.model, r.currency, r.version, r.actor, r.at, r.through_cutoff, r.opened_at, r.cut_at, "
    "r.previous_run_id, state"
)
_STATE = (
    "CROSS JOIN LATERAL (SELECT to_state AS state FROM settlement.run_step x WHERE x.run_id = r.run_id "
    "                    ORDER BY step_no DESC LIMIT 1) now"
)
_SEEN = "AND state NOT IN ('DRAFT', 'CALCULATED', 'CONTROLLED', 'ABORTED', 'SUPERSEDED') "
_STATEMENT = (
    "s.statement_id, s.run_id, s.partner_id, s.currency, s.opening_micro, s.opening_minor, s.net_micro, "
    "s.net_minor, r.at, r.opened_at, r.cut_at"
)


# --- A run is written -----------------------------------------------------------------------------------------


async def lock_schedule(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to close cut-offs by the clock."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _BY_THE_CLOCK})


async def lock_runs(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to move runs on."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})


async def unbooked_cutoff_ids(connection: AsyncConnection) -> list[int]:
    """Cut-offs that are balanced and not booked, in order, up to the first that is not balanced."""
    found = await connection.execute(
        text(
            "SELECT cutoff_id FROM settlement.stock_cutoff c "
            "WHERE NOT EXISTS (SELECT FROM settlement.booking b WHERE b.source = 'cutoff:' || c.cutoff_id) "
            "  AND NOT EXISTS (SELECT FROM settlement.window w JOIN settlement.window_step s USING (window_id) "
            "                  WHERE w.cutoff_id <= c.cutoff_id AND s.to_state = 'BROKEN') "
            "  AND cutoff_id < coalesce((SELECT min(cutoff_id) FROM ledger.cutoff k WHERE NOT EXISTS ("
            "    SELECT FROM settlement.stock_cutoff d WHERE d.cutoff_id = k.cutoff_id)), cutoff_id + 1) "
            "ORDER BY cutoff_id"
        )
    )
    return list(found.scalars())


async def insert_run(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A new run without a state yet; its version is how many there were of the same cut-offs. Returns its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.run (actor, at, model, currency, through_cutoff, opened_at, cut_at, version, name, "
            "                            previous_run_id) "
            "SELECT :actor, :at, :model, :currency, :through_cutoff, :opened_at, :cut_at, version, "
            "       :window || '.R' || version, :previous_run_id "
            "FROM (SELECT 1 + count(*) AS version FROM settlement.run "
            "      WHERE currency = :currency AND model = :model AND through_cutoff = :through_cutoff) v "
            "RETURNING run_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_run_windows(connection: AsyncConnection, run_id: int, window_ids: Sequence[int]) -> None:
    """Which windows a run is about."""
    await connection.execute(
        text(
            "INSERT INTO settlement.run_window (run_id, window_id) "
            "SELECT :run_id, window_id FROM unnest(CAST(:window_ids AS bigint[])) AS window_id"
        ),
        {"run_id": run_id, "window_ids": list(window_ids)},
    )


async def insert_run_step(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A step of a run. The database refuses one that does not begin where the run is, or follows no edge."""
    await connection.execute(
        text(
            "INSERT INTO settlement.run_step (run_id, step_no, from_state, to_state, actor, reason, at, input_hash, "
            "                                 output_hash, evidence) "
            "SELECT :run_id, 1 + coalesce(max(step_no), 0), :from_state, :to_state, :actor, :reason, :at, :input_hash, "
            "       :output_hash, CAST(:evidence AS jsonb) FROM settlement.run_step WHERE run_id = :run_id"
        ),
        row,
    )


async def insert_issued(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Statements that go out, with the time to object and the hash of what they say."""
    await _insert_many(
        connection,
        "INSERT INTO settlement.issued_statement (statement_id, issued_at, review_ends_at, content_hash) "
        "VALUES (:statement_id, :issued_at, :review_ends_at, :content_hash)",
        rows,
    )


async def insert_acceptance(connection: AsyncConnection, *, statement_id: int, actor: str, at: datetime) -> bool:
    """That a partner accepted a statement; False where it had."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.acceptance (statement_id, actor, at) VALUES (:statement_id, :actor, :at) "
            "ON CONFLICT DO NOTHING RETURNING statement_id"
        ),
        {"statement_id": statement_id, "actor": actor, "at": at},
    )
    return made.scalar_one_or_none() is not None


async def insert_holiday(connection: AsyncConnection, *, day: date, name: str, actor: str, at: datetime) -> bool:
    """A day on which nobody works; False where it was one already."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.holiday (day, name, actor, at) VALUES (:day, :name, :actor, :at) "
            "ON CONFLICT DO NOTHING RETURNING day"
        ),
        {"day": day, "name": name, "actor": actor, "at": at},
    )
    return made.scalar_one_or_none() is not None


async def holidays(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """The days that were declared, in order."""
    return (await connection.execute(text("SELECT day, name FROM settlement.holiday ORDER BY day"))).all()


async def insert_clearing_groups(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """What a run rated."""
    await _insert_many(
        connection,
        "INSERT INTO settlement.clearing_group (run_id, kind, issuer_id, funder_id, partner_id, lot_terms_id, "
        "                                       terms_id, points, postings) "
        "VALUES (:run_id, :kind, :issuer_id, :funder_id, :partner_id, :lot_terms_id, :terms_id, :points, :count)",
        rows,
    )


async def insert_statement(connection: AsyncConnection, row: Mapping[str, Any]) -> int:
    """A statement without its lines; returns its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.statement (run_id, partner_id, currency, opening_micro, opening_minor, net_micro, "
            "                                  net_minor) "
            "VALUES (:run_id, :partner_id, :currency, :opening_micro, :opening_minor, :net_micro, :net_minor) "
            "RETURNING statement_id"
        ),
        row,
    )
    return int(made.scalar_one())


async def insert_lines(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Lines of statements."""
    await _insert_many(
        connection,
        "INSERT INTO settlement.line (statement_id, line_no, kind, terms_id, points, postings, unit_price_micro, "
        "                             amount_micro, amount_minor) "
        "VALUES (:statement_id, :line_no, :kind, :terms_id, :points, :postings, :unit_price_micro, "
        "        :amount_micro, :amount_minor)",
        rows,
    )


async def insert_instructions(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Payments of a run."""
    await _insert_many(
        connection,
        "INSERT INTO settlement.instruction (run_id, partner_id, currency, direction, amount_minor) "
        "VALUES (:run_id, :partner_id, :currency, :direction, :amount)",
        rows,
    )


async def insert_movements(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """What a run did to the obligation."""
    await _insert_many(
        connection,
        "INSERT INTO settlement.obligation_movement (run_id, funder_id, terms_id, kind, currency, points, "
        "                                            unit_price_micro, amount_micro) "
        "VALUES (:run_id, :funder_id, :terms_id, :kind, :currency, :points, :unit_price_micro, :amount_micro)",
        rows,
    )


async def _insert_many(connection: AsyncConnection, statement: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        await connection.execute(text(statement), list(rows))


# --- Runs are read --------------------------------------------------------------------------------------------


async def runs(connection: AsyncConnection, *, currency: str | None = None) -> Sequence[Row[Any]]:
    """All runs, or those of a currency, the latest first."""
    found = await connection.execute(
        text(
            f"SELECT {_RUN} FROM settlement.run r {_STATE} "
            "WHERE CAST(:currency AS text) IS NULL OR r.currency = :currency ORDER BY r.run_id DESC"
        ),
        {"currency": currency},
    )
    return found.all()


async def run(connection: AsyncConnection, run_id: int) -> Row[Any] | None:
    """One run."""
    found = await connection.execute(
        text(f"SELECT {_RUN} FROM settlement.run r {_STATE} WHERE r.run_id = :run_id"),
        {"run_id": run_id},
    )
    return found.one_or_none()


async def run_steps(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """The way of a run, in order."""
    found = await connection.execute(
        text(
            "SELECT step_no, from_state, to_state, actor, reason, at, input_hash, output_hash, evidence "
            "FROM settlement.run_step WHERE run_id = :run_id ORDER BY step_no"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def run_cutoff_ids(connection: AsyncConnection, run_id: int) -> list[int]:
    """Numbers of a run's cut-offs, in order."""
    found = await connection.execute(
        text(
            "SELECT DISTINCT cutoff_id FROM settlement.run_window JOIN settlement.window USING (window_id) "
            "WHERE run_id = :run_id ORDER BY cutoff_id"
        ),
        {"run_id": run_id},
    )
    return list(found.scalars())


async def statement_ids(connection: AsyncConnection, run_id: int) -> dict[int, int]:
    """Numbers of a run's statements by party."""
    found = await connection.execute(
        text("SELECT partner_id, statement_id FROM settlement.statement WHERE run_id = :run_id"), {"run_id": run_id}
    )
    return {row.partner_id: row.statement_id for row in found}


async def issued_hashes(connection: AsyncConnection, run_id: int) -> dict[int, bytes]:
    """The hashes of a run's issued statements by their numbers."""
    found = await connection.execute(
        text(
            "SELECT statement_id, content_hash FROM settlement.issued_statement "
            "JOIN settlement.statement USING (statement_id) WHERE run_id = :run_id"
        ),
        {"run_id": run_id},
    )
    return {row.statement_id: bytes(row.content_hash) for row in found}


async def carried(connection: AsyncConnection, run_id: int) -> dict[int, int]:
    """What a run carried over, minor units by partner, positive where the partner is owed it."""
    found = await connection.execute(
        text(
            "SELECT partner_id, CAST(-sum(amount_minor) AS bigint) AS amount "
            "FROM settlement.line JOIN settlement.statement USING (statement_id) "
            "WHERE run_id = :run_id AND partner_id <> 0 AND kind = 'CARRIED_OUT' GROUP BY partner_id"
        ),
        {"run_id": run_id},
    )
    return {row.partner_id: row.amount for row in found}


async def holdbacks(connection: AsyncConnection, currency: str) -> Sequence[Row[Any]]:
    """What was retained of partners, let go and used up, by run, minor units; of runs that are gone nothing."""
    found = await connection.execute(
        text(
            "SELECT s.partner_id, r.cut_at, "
            "       CAST(coalesce(sum(-n.amount_minor) FILTER (WHERE n.kind = 'HOLDBACK'), 0) AS bigint) "
            "         AS held_minor, "
            "       CAST(coalesce(sum(n.amount_minor) FILTER (WHERE n.kind = 'HOLDBACK_RELEASED'), 0) AS bigint) "
            "         AS released_minor, CAST(0 AS bigint) AS used_minor "
            f"FROM settlement.line n JOIN settlement.statement s USING (statement_id) "
            f"JOIN settlement.run r USING (run_id) {_STATE} "
            "WHERE s.partner_id <> 0 AND s.currency = :currency AND state NOT IN ('ABORTED', 'SUPERSEDED') "
            "  AND n.kind IN ('HOLDBACK', 'HOLDBACK_RELEASED') GROUP BY s.partner_id, r.cut_at "
            "UNION ALL "
            "SELECT partner_id, CAST('-infinity' AS timestamptz), 0, 0, CAST(sum(amount_minor) AS bigint) "
            "FROM settlement.default_step WHERE currency = :currency AND source = 'HOLDBACK' GROUP BY partner_id"
        ),
        {"currency": currency},
    )
    return found.all()


async def reviews(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """Partners' statements of a run with when the time to object ends and whether they were accepted."""
    found = await connection.execute(
        text(
            "SELECT s.statement_id, s.partner_id, i.issued_at, i.review_ends_at, i.content_hash, "
            "       a.at AS accepted_at "
            "FROM settlement.statement s LEFT JOIN settlement.issued_statement i USING (statement_id) "
            "LEFT JOIN settlement.acceptance a USING (statement_id) "
            "WHERE s.run_id = :run_id AND s.partner_id <> 0 ORDER BY s.partner_id"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def clearing_groups(connection: AsyncConnection, run_id: int | None) -> Sequence[Row[Any]]:
    """What a run rated; of all runs together where none is named."""
    found = await connection.execute(
        text(
            "SELECT kind, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, "
            "       CAST(sum(points) AS bigint) AS points, CAST(sum(postings) AS bigint) AS count "
            f"FROM settlement.clearing_group g JOIN settlement.run r USING (run_id) {_STATE} "
            "WHERE CASE WHEN CAST(:run_id AS int) IS NULL THEN state NOT IN ('ABORTED', 'SUPERSEDED') "
            "           ELSE run_id = :run_id END "
            "GROUP BY kind, issuer_id, funder_id, partner_id, lot_terms_id, terms_id "
            "ORDER BY kind, issuer_id, funder_id, partner_id, lot_terms_id, terms_id"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def statements_of_run(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """A run's statements, by currency, the operator's first."""
    found = await connection.execute(
        text(
            f"SELECT {_STATEMENT} FROM settlement.statement s JOIN settlement.run r USING (run_id) "
            "WHERE s.run_id = :run_id ORDER BY s.currency, s.partner_id"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def statements_page(
    connection: AsyncConnection, *, partner_id: int | None, before: int | None, limit: int, run_id: int | None = None
) -> Sequence[Row[Any]]:
    """Statements of one partner, or of everybody where partner_id is None, of one run where it is named; the latest
    first, older than `before`."""
    found = await connection.execute(
        text(
            f"SELECT {_STATEMENT} FROM settlement.statement s JOIN settlement.run r USING (run_id) {_STATE} "
            "WHERE (CAST(:partner_id AS int) IS NULL OR s.partner_id = :partner_id) "
            "  AND (CAST(:run_id AS int) IS NULL OR s.run_id = :run_id) "
            f"  AND (CAST(:before AS bigint) IS NULL OR s.statement_id < :before) {_SEEN}"
            "ORDER BY s.statement_id DESC LIMIT :limit"
        ),
        {"partner_id": partner_id, "before": before, "limit": limit, "run_id": run_id},
    )
    return found.all()


async def statement(connection: AsyncConnection, statement_id: int, *, partner_id: int | None) -> Row[Any] | None:
    """One statement; None where it is not this partner's. partner_id None may see every one."""
    found = await connection.execute(
        text(
            f"SELECT {_STATEMENT} FROM settlement.statement s JOIN settlement.run r USING (run_id) {_STATE} "
            "WHERE s.statement_id = :statement_id "
            f"  AND (CAST(:partner_id AS int) IS NULL OR s.partner_id = :partner_id) {_SEEN}"
        ),
        {"statement_id": statement_id, "partner_id": partner_id},
    )
    return found.one_or_none()


async def lines(connection: AsyncConnection, statement_ids: Iterable[int]) -> Sequence[Row[Any]]:
    """Lines of statements, in order."""
    found = await connection.execute(
        text(
            "SELECT statement_id, line_no, kind, terms_id, points, postings, unit_price_micro, amount_micro, "
            "       amount_minor "
            "FROM settlement.line WHERE statement_id = ANY (:statement_ids) ORDER BY statement_id, line_no"
        ),
        {"statement_ids": list(statement_ids)},
    )
    return found.all()


async def lines_page(
    connection: AsyncConnection, statement_ids: Iterable[int], *, after: int, limit: int
) -> Sequence[Row[Any]]:
    """Lines of each of the statements behind a line number, at most `limit` of each."""
    found = await connection.execute(
        text(
            "SELECT l.* FROM unnest(CAST(:statement_ids AS bigint[])) AS s(statement_id) CROSS JOIN LATERAL ( "
            "  SELECT statement_id, line_no, kind, terms_id, points, postings, unit_price_micro, amount_micro, "
            "         amount_minor "
            "  FROM settlement.line l WHERE l.statement_id = s.statement_id AND line_no > :after "
            "  ORDER BY line_no LIMIT :limit) l "
            "ORDER BY l.statement_id, l.line_no"
        ),
        {"statement_ids": list(statement_ids), "after": after, "limit": limit},
    )
    return found.all()


async def instructions(connection: AsyncConnection, run_id: int) -> Sequence[Row[Any]]:
    """Payments of a run."""
    found = await connection.execute(
        text(
            "SELECT partner_id, currency, direction, amount_minor AS amount FROM settlement.instruction "
            "WHERE run_id = :run_id ORDER BY currency, partner_id, direction"
        ),
        {"run_id": run_id},
    )
    return found.all()


async def obligation(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """What all runs together left to be kept, per funder and terms."""
    found = await connection.execute(
        text(
            "SELECT funder_id, terms_id, currency, CAST(sum(points) AS bigint) AS points, "
            "       CAST(sum(amount_micro) AS bigint) AS amount_micro "
            "FROM settlement.obligation_movement m "
            f"JOIN (SELECT r.run_id FROM settlement.run r {_STATE} WHERE state NOT IN ('ABORTED', 'SUPERSEDED')) r "
            "  USING (run_id) GROUP BY funder_id, terms_id, currency ORDER BY funder_id, terms_id"
        )
    )
    return found.all()


# --- Controls: every row returned is a violation --------------------------------------------------------------

_LIVE = (
    f"live AS (SELECT r.run_id, r.currency, r.previous_run_id, state FROM settlement.run r {_STATE} "
    "          WHERE state NOT IN ('DRAFT', 'ABORTED', 'SUPERSEDED'))"
)

NETS_SUM_TO_ZERO = """
    SELECT format('run %s in %s: nets sum to %s micro-units, %s minor units', run_id, currency, sum(net_micro),
                  sum(net_minor))
    FROM settlement.statement GROUP BY run_id, currency HAVING sum(net_micro) <> 0 OR sum(net_minor) <> 0
"""

LINES_SUM_TO_NET = """
    SELECT format('statement %s: opening and lines are %s micro-units and %s minor units, the net says %s and %s',
                  s.statement_id, s.opening_micro + l.micro, s.opening_minor + l.minor, s.net_micro, s.net_minor)
    FROM settlement.statement s
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(amount_micro), 0) AS micro, coalesce(sum(amount_minor), 0) AS minor
      FROM settlement.line l WHERE l.statement_id = s.statement_id
    ) l
    WHERE (s.net_micro, s.net_minor) <> (s.opening_micro + l.micro, s.opening_minor + l.minor)
"""

STATEMENTS_HAVE_LINES = """
    SELECT format('statement %s has no line', s.statement_id) FROM settlement.statement s
    WHERE s.opening_minor = 0
      AND NOT EXISTS (SELECT FROM settlement.line l WHERE l.statement_id = s.statement_id)
"""

PAYMENTS_ARE_NETS = """
    SELECT format('run %s, partner %s in %s: net %s, payment %s', coalesce(s.run_id, i.run_id),
                  coalesce(s.partner_id, i.partner_id), coalesce(s.currency, i.currency), s.net_minor, i.amount)
    FROM (SELECT * FROM settlement.statement WHERE partner_id <> 0) s
    FULL JOIN (SELECT run_id, partner_id, currency,
                      sum(CASE direction WHEN 'PAY_OUT' THEN amount_minor ELSE -amount_minor END) AS amount
               FROM settlement.instruction GROUP BY run_id, partner_id, currency) i USING (run_id, partner_id, currency)
    WHERE coalesce(s.net_minor, 0) <> coalesce(i.amount, 0)
"""

# What clears in two currencies, because whoever took points is paid in another one than they were funded in, is in the
# runs of both; everything else in one.
EVERY_POSTING_IN_ONE_RUN = f"""
    WITH {_LIVE}, claimed AS (
      SELECT DISTINCT run_id, w.currency, w.cutoff_id
      FROM live JOIN settlement.run_window USING (run_id) JOIN settlement.window w USING (window_id)
    ), posted AS (
      SELECT c.run_id, p.issuer_id, p.funder_id, p.partner_id, p.lot_terms_id, p.terms_id,
             sum(p.amount) AS points, count(*) AS postings
      FROM claimed c JOIN ledger.posting p USING (cutoff_id)
      LEFT JOIN partners.agreement l ON l.terms_id = p.lot_terms_id
      LEFT JOIN partners.agreement e ON e.terms_id = p.terms_id AND 11 IN (p.debit, p.credit) AND p.partner_id <> 0
      WHERE p.unit = 1
        AND c.currency IN (coalesce(l.currency, (SELECT base_currency FROM partners.programme)), e.currency)
      GROUP BY c.run_id, p.issuer_id, p.funder_id, p.partner_id, p.lot_terms_id, p.terms_id
    ), rated AS (
      SELECT run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, sum(points) AS points,
             sum(postings) AS postings
      FROM settlement.clearing_group JOIN live USING (run_id)
      GROUP BY run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id
    )
    SELECT format('run %s, issuer %s, funder %s, partner %s, terms %s and %s: %s postings of %s points, rated %s of %s',
                  run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, p.postings, p.points, r.postings,
                  r.points)
    FROM posted p FULL JOIN rated r USING (run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id)
    WHERE (p.points, p.postings) IS DISTINCT FROM (r.points, r.postings)
    UNION ALL
    SELECT format('run %s settled cut-off %s, which is not cut', c.run_id, c.cutoff_id)
    FROM claimed c LEFT JOIN ledger.cutoff k USING (cutoff_id) WHERE k.state IS DISTINCT FROM 'CUT'
    UNION ALL
    SELECT format('window %s is in %s runs', w.name, count(*))
    FROM live JOIN settlement.run_window USING (run_id) JOIN settlement.window w USING (window_id)
    GROUP BY w.name HAVING count(*) > 1
    UNION ALL
    SELECT format('cut-off %s in %s: of its windows some are in a run and some are not', w.cutoff_id, w.currency)
    FROM settlement.window w LEFT JOIN settlement.run_window x ON x.window_id = w.window_id
      AND EXISTS (SELECT FROM live WHERE live.run_id = x.run_id)
    WHERE NOT EXISTS (SELECT FROM settlement.window_step s WHERE s.window_id = w.window_id AND s.from_state = 'CUT'
                      AND s.to_state = 'SETTLED')
    GROUP BY w.cutoff_id, w.currency HAVING bool_or(x.run_id IS NULL) AND bool_or(x.run_id IS NOT NULL)
"""

# Not through rating: what can still be spent is counted in the lots and in transfers on their way (what arrived is in
# the lots though nobody said so yet), and what postings of cut-offs that no run has settled did to it is taken off by
# looking at accounts 1 (available) and 3 (held) alone: what goes between holders stays.
OBLIGATION_IS_LOTS = f"""
    WITH {_LIVE}, claimed AS (
      SELECT DISTINCT w.currency, w.cutoff_id
      FROM live JOIN settlement.run_window USING (run_id) JOIN settlement.window w USING (window_id)
    ), lots AS (
      SELECT funder_id, terms_id, sum(points) AS points FROM (
        SELECT funder_id, terms_id, remaining + held AS points FROM ledger.lot WHERE unit = 1 AND active AND open
        UNION ALL
        SELECT p.funder_id, p.lot_terms_id, p.amount
        FROM ledger.transfer t JOIN ledger.posting p USING (holder_id, unit, seq)
        WHERE t.unit = 1 AND t.state = 0 AND p.debit = 1 AND NOT EXISTS (
          SELECT FROM ledger.journal j
          WHERE j.holder_id = t.receiver_id AND j.unit = t.unit AND j.kind = 15
            AND j.idem_key = ledger.transfer_key(t.holder_id, t.unit, t.seq))
      ) here GROUP BY funder_id, terms_id
    ), unsettled AS (
      SELECT p.funder_id, p.lot_terms_id AS terms_id,
             sum(CASE WHEN p.credit IN (1, 3) THEN p.amount ELSE 0 END
                 - CASE WHEN p.debit IN (1, 3) THEN p.amount ELSE 0 END) AS points
      FROM ledger.posting p LEFT JOIN partners.agreement l ON l.terms_id = p.lot_terms_id
      WHERE p.unit = 1 AND 14 NOT IN (p.debit, p.credit)
        AND NOT EXISTS (SELECT FROM claimed c WHERE c.cutoff_id = p.cutoff_id AND c.currency = l.currency)
      GROUP BY p.funder_id, p.lot_terms_id
    ), here AS (
      SELECT funder_id, terms_id, coalesce(l.points, 0) - coalesce(u.points, 0) AS points,
             (coalesce(l.points, 0) - coalesce(u.points, 0))
             * coalesce((SELECT t.billed_fund_micro
                         FROM settlement.stock_transfer t
                         WHERE t.funder_id = coalesce(l.funder_id, u.funder_id) AND t.terms_id = a.terms_id
                           AND t.from_cutoff <= (SELECT max(c.cutoff_id) FROM claimed c WHERE c.currency = a.currency)
                         ORDER BY t.from_cutoff DESC LIMIT 1), a.billed_fund_micro) AS amount_micro
      FROM lots l FULL JOIN unsettled u USING (funder_id, terms_id) JOIN partners.agreement a USING (terms_id)
    ), kept AS (
      SELECT funder_id, terms_id, sum(points) AS points, sum(amount_micro) AS amount_micro
      FROM settlement.obligation_movement JOIN live USING (run_id) GROUP BY funder_id, terms_id
    )
    SELECT format('funder %s, terms %s: the obligation is %s points, %s micro-units; the lots say %s, %s', funder_id,
                  terms_id, coalesce(k.points, 0), coalesce(k.amount_micro, 0), coalesce(h.points, 0),
                  coalesce(h.amount_micro, 0))
    FROM here h FULL JOIN kept k USING (funder_id, terms_id)
    WHERE (coalesce(h.points, 0), coalesce(h.amount_micro, 0)) <> (coalesce(k.points, 0), coalesce(k.amount_micro, 0))
"""

# Three countings that know nothing of each other: the ledger's under the cut-off's lock, the deltas' by transaction
# number, and one of every posting now.
WINDOWS_ARE_COMPLETE = """
    WITH added AS (
      SELECT cutoff_id, sum(postings) AS postings, sum(points) AS points FROM settlement.position_delta
      GROUP BY cutoff_id
    ), there AS (
      SELECT cutoff_id, count(*) AS postings, sum(amount) AS points FROM ledger.posting GROUP BY cutoff_id
    )
    SELECT format('cut-off %s: counted %s postings of %s points at the cut, added up %s of %s, there are %s of %s',
                  c.cutoff_id, c.posting_count, c.posting_points, coalesce(a.postings, 0), coalesce(a.points, 0),
                  coalesce(t.postings, 0), coalesce(t.points, 0))
    FROM ledger.cutoff c JOIN settlement.stock_cutoff USING (cutoff_id)
    LEFT JOIN added a USING (cutoff_id) LEFT JOIN there t USING (cutoff_id)
    WHERE (c.posting_count, c.posting_points) <> (coalesce(a.postings, 0), coalesce(a.points, 0))
       OR (c.posting_count, c.posting_points) <> (coalesce(t.postings, 0), coalesce(t.points, 0))
    UNION ALL
    SELECT format('entry %s of holder %s is in cut-off %s, which had been read through when it was recorded', j.seq,
                  j.holder_id, j.cutoff_id)
    FROM settlement.cutoff_mark m JOIN ledger.journal j USING (cutoff_id) WHERE j.xid >= m.xid
    UNION ALL
    SELECT format('window %s is broken: %s', w.name, s.reason)
    FROM settlement.window w JOIN settlement.window_step s USING (window_id) WHERE s.to_state = 'BROKEN'
"""

OPENINGS_ARE_CLOSINGS = f"""
    WITH {_LIVE}, opened AS (
      SELECT run_id, partner_id, opening_minor FROM settlement.statement JOIN live USING (run_id) WHERE partner_id <> 0
    ), closed AS (
      SELECT live.run_id, s.partner_id, -sum(n.amount_minor) AS minor
      FROM live JOIN settlement.statement s ON s.run_id = live.previous_run_id
      JOIN settlement.line n USING (statement_id)
      WHERE s.partner_id <> 0 AND n.kind = 'CARRIED_OUT' GROUP BY live.run_id, s.partner_id
    )
    SELECT format('run %s, partner %s: opens with %s minor units, the run before carried over %s', run_id, partner_id,
                  coalesce(o.opening_minor, 0), coalesce(c.minor, 0))
    FROM opened o FULL JOIN closed c USING (run_id, partner_id)
    WHERE coalesce(o.opening_minor, 0) <> coalesce(c.minor, 0)
"""

ROUNDING_IS_SMALL = """
    SELECT format('statement %s: rounding of %s minor units over %s lines', s.statement_id, n.amount_minor, l.lines)
    FROM settlement.statement s JOIN settlement.line n USING (statement_id)
    CROSS JOIN LATERAL (SELECT count(*) AS lines FROM settlement.line x WHERE x.statement_id = s.statement_id) l
    WHERE n.kind = 'ROUNDING' AND s.partner_id <> 0 AND 2 * abs(n.amount_minor) > l.lines
"""

STEPS_ARE_ALLOWED = """
    SELECT format('window %s went from %s to %s in step %s', window_id, from_state, to_state, step_no)
    FROM settlement.window_step s
    WHERE NOT (from_state IS NULL AND to_state = 'OPEN' AND step_no = 1)
      AND (NOT EXISTS (SELECT FROM settlement.window_edge e
                       WHERE (e.from_state, e.to_state) = (s.from_state, s.to_state))
           OR NOT EXISTS (SELECT FROM settlement.window_step b
                          WHERE b.window_id = s.window_id AND b.step_no = s.step_no - 1 AND b.to_state = s.from_state))
    UNION ALL
    SELECT format('run %s went from %s to %s in step %s', run_id, from_state, to_state, step_no)
    FROM settlement.run_step s
    WHERE NOT (from_state IS NULL AND to_state = 'DRAFT' AND step_no = 1)
      AND (NOT EXISTS (SELECT FROM settlement.run_edge e WHERE (e.from_state, e.to_state) = (s.from_state, s.to_state))
           OR NOT EXISTS (SELECT FROM settlement.run_step b
                          WHERE b.run_id = s.run_id AND b.step_no = s.step_no - 1 AND b.to_state = s.from_state))
"""

TWO_PEOPLE = """
    SELECT format('run %s was approved by %s, who had made it', run_id, a.actor)
    FROM settlement.run_step a JOIN settlement.run_step m USING (run_id)
    WHERE a.to_state = 'APPROVED' AND m.to_state IN ('DRAFT', 'CALCULATED', 'STATEMENTS_ISSUED') AND m.actor = a.actor
    UNION ALL
    SELECT format('proposal %s was decided by who made it', approval_id) FROM kit.approval WHERE checker_id = maker_id
"""

NUMBERS_HAVE_NO_GAP = """
    SELECT format('%s %s: %s documents, the last number is %s, the counter says %s', coalesce(c.entity, d.entity),
                  coalesce(c.series, d.series), d.documents, d.last_no, c.last_no)
    FROM settlement.document_counter c
    FULL JOIN (SELECT entity, series, count(*) AS documents, max(number) AS last_no, min(number) AS first_no
               FROM settlement.document GROUP BY entity, series) d USING (entity, series)
    WHERE c.last_no IS DISTINCT FROM d.last_no OR d.documents <> d.last_no OR d.first_no <> 1
"""

DOCUMENTS_ADD_UP = f"""
    WITH {_LIVE}
    SELECT format('document %s: its lines are %s, it says %s', d.document_id, l.base, d.base_minor)
    FROM settlement.document d
    CROSS JOIN LATERAL (SELECT coalesce(sum(base_minor), 0) AS base, coalesce(sum(tax_minor), 0) AS tax,
                               bool_or(tax_minor IS NULL) AS by_document
                        FROM settlement.document_line n WHERE n.document_id = d.document_id) l
    WHERE d.kind <> 'SET_OFF' AND (l.base <> d.base_minor OR NOT l.by_document AND l.tax <> d.tax_minor)
    UNION ALL
    SELECT format('run %s, partner %s: supplies and tax of its statement are %s minor units, its documents %s', run_id,
                  partner_id, s.minor, d.minor)
    FROM (SELECT t.run_id, t.partner_id, sum(n.amount_minor) AS minor
          FROM settlement.issued_statement i JOIN settlement.statement t USING (statement_id)
          JOIN live USING (run_id) JOIN settlement.line n USING (statement_id)
          WHERE t.partner_id <> 0 AND n.kind NOT IN ('ROUNDING', 'CARRIED_OUT', 'HOLDBACK', 'HOLDBACK_RELEASED',
                'HOLDBACK_USED', 'DEPOSIT_USED', 'DEFAULT_LOSS', 'DISPUTE_WITHHELD', 'DISPUTE_UPHELD', 'STORED_LOAD',
                'STORED_SPEND', 'RECEIPT_CREDITED')
          GROUP BY t.run_id, t.partner_id) s
    FULL JOIN (SELECT d.run_id, d.partner_id,
                      sum(CASE WHEN d.kind IN ('SELF_BILLED', 'CREDIT_NOTE') THEN gross_minor
                               ELSE -gross_minor END) AS minor
               FROM settlement.document d JOIN live USING (run_id) WHERE d.kind <> 'SET_OFF'
               GROUP BY d.run_id, d.partner_id) d USING (run_id, partner_id)
    WHERE coalesce(s.minor, 0) <> coalesce(d.minor, 0)
"""


async def violations(connection: AsyncConnection, control: str) -> list[str]:
    """What one of the controls above found, as sentences."""
    return list((await connection.execute(text(control))).scalars())
