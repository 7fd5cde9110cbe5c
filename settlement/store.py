"""settlement's statements. Private to the package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_ONE_AT_A_TIME = 7_305_004  # an advisory lock's number, of no meaning elsewhere
_RUN = "run_id, actor, at, through_cutoff, opened_at, cut_at"
_STATEMENT = (
    "s.statement_id, s.run_id, s.partner_id, s.currency, s.opening_micro, s.opening_minor, s.net_micro, "
    "s.net_minor, r.at, r.opened_at, r.cut_at"
)


# --- A run is written -----------------------------------------------------------------------------------------


async def lock_runs(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to settle."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ONE_AT_A_TIME})


async def settled_cutoff_ids(connection: AsyncConnection) -> set[int]:
    """Numbers of the cut-offs that are in a run."""
    return set((await connection.execute(text("SELECT cutoff_id FROM settlement.run_cutoff"))).scalars())


async def insert_run(
    connection: AsyncConnection,
    *,
    actor: str,
    at: datetime,
    cutoff_ids: Sequence[int],
    opened_at: datetime | None,
    cut_at: datetime,
) -> int:
    """A new run over cut-offs, each of which can be in no other; returns its number."""
    made = await connection.execute(
        text(
            "INSERT INTO settlement.run (actor, at, through_cutoff, opened_at, cut_at) "
            "VALUES (:actor, :at, :through_cutoff, :opened_at, :cut_at) RETURNING run_id"
        ),
        {
            "actor": actor,
            "at": at,
            "through_cutoff": max(cutoff_ids),
            "opened_at": opened_at,
            "cut_at": cut_at,
        },
    )
    run_id = int(made.scalar_one())
    await connection.execute(
        text(
            "INSERT INTO settlement.run_cutoff (cutoff_id, run_id) "
            "SELECT cutoff_id, :run_id FROM unnest(CAST(:cutoff_ids AS int[])) AS cutoff_id"
        ),
        {"run_id": run_id, "cutoff_ids": list(cutoff_ids)},
    )
    return run_id


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


async def runs(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """All runs, the latest first."""
    return (await connection.execute(text(f"SELECT {_RUN} FROM settlement.run ORDER BY run_id DESC"))).all()


async def run(connection: AsyncConnection, run_id: int) -> Row[Any] | None:
    """One run."""
    found = await connection.execute(
        text(f"SELECT {_RUN} FROM settlement.run WHERE run_id = :run_id"),
        {"run_id": run_id},
    )
    return found.one_or_none()


async def run_cutoff_ids(connection: AsyncConnection, run_id: int) -> list[int]:
    """Numbers of a run's cut-offs, in order."""
    found = await connection.execute(
        text("SELECT cutoff_id FROM settlement.run_cutoff WHERE run_id = :run_id ORDER BY cutoff_id"),
        {"run_id": run_id},
    )
    return list(found.scalars())


async def clearing_groups(connection: AsyncConnection, run_id: int | None) -> Sequence[Row[Any]]:
    """What a run rated; of all runs together where none is named."""
    found = await connection.execute(
        text(
            "SELECT kind, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, "
            "       CAST(sum(points) AS bigint) AS points, CAST(sum(postings) AS bigint) AS count "
            "FROM settlement.clearing_group WHERE run_id = coalesce(CAST(:run_id AS int), run_id) "
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
    connection: AsyncConnection, *, partner_id: int | None, before: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Statements of one partner, or of everybody where partner_id is None; the latest first, older than `before`."""
    found = await connection.execute(
        text(
            f"SELECT {_STATEMENT} FROM settlement.statement s JOIN settlement.run r USING (run_id) "
            "WHERE (CAST(:partner_id AS int) IS NULL OR s.partner_id = :partner_id) "
            "  AND (CAST(:before AS bigint) IS NULL OR s.statement_id < :before) "
            "ORDER BY s.statement_id DESC LIMIT :limit"
        ),
        {"partner_id": partner_id, "before": before, "limit": limit},
    )
    return found.all()


async def statement(connection: AsyncConnection, statement_id: int, *, partner_id: int | None) -> Row[Any] | None:
    """One statement; None where it is not this partner's. partner_id None may see every one."""
    found = await connection.execute(
        text(
            f"SELECT {_STATEMENT} FROM settlement.statement s JOIN settlement.run r USING (run_id) "
            "WHERE s.statement_id = :statement_id "
            "  AND (CAST(:partner_id AS int) IS NULL OR s.partner_id = :partner_id)"
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
            "WHERE run_id = :run_id ORDER BY currency, partner_id"
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
            "FROM settlement.obligation_movement GROUP BY funder_id, terms_id, currency "
            "ORDER BY funder_id, terms_id"
        )
    )
    return found.all()


# --- Controls: every row returned is a violation --------------------------------------------------------------

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
    WHERE NOT EXISTS (SELECT FROM settlement.line l WHERE l.statement_id = s.statement_id)
"""

PAYMENTS_ARE_NETS = """
    SELECT format('run %s, partner %s in %s: net %s, payment %s', coalesce(s.run_id, i.run_id),
                  coalesce(s.partner_id, i.partner_id), coalesce(s.currency, i.currency), s.net_minor, i.amount)
    FROM (SELECT * FROM settlement.statement WHERE partner_id <> 0) s
    FULL JOIN (SELECT run_id, partner_id, currency,
                      CASE direction WHEN 'PAY_OUT' THEN amount_minor ELSE -amount_minor END AS amount
               FROM settlement.instruction) i USING (run_id, partner_id, currency)
    WHERE coalesce(s.net_minor, 0) <> coalesce(i.amount, 0)
"""

EVERY_POSTING_IN_ONE_RUN = """
    WITH posted AS (
      SELECT c.run_id, p.issuer_id, p.funder_id, p.partner_id, p.lot_terms_id, p.terms_id,
             sum(p.amount) AS points, count(*) AS postings
      FROM settlement.run_cutoff c JOIN ledger.posting p USING (cutoff_id) WHERE p.unit = 1
      GROUP BY c.run_id, p.issuer_id, p.funder_id, p.partner_id, p.lot_terms_id, p.terms_id
    ), rated AS (
      SELECT run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, sum(points) AS points,
             sum(postings) AS postings
      FROM settlement.clearing_group
      GROUP BY run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id
    )
    SELECT format('run %s, issuer %s, funder %s, partner %s, terms %s and %s: %s postings of %s points, rated %s of %s',
                  run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id, p.postings, p.points, r.postings,
                  r.points)
    FROM posted p FULL JOIN rated r USING (run_id, issuer_id, funder_id, partner_id, lot_terms_id, terms_id)
    WHERE (p.points, p.postings) IS DISTINCT FROM (r.points, r.postings)
    UNION ALL
    SELECT format('run %s settled cut-off %s, which is not cut', c.run_id, c.cutoff_id)
    FROM settlement.run_cutoff c LEFT JOIN ledger.cutoff k USING (cutoff_id) WHERE k.state IS DISTINCT FROM 'CUT'
"""

# Not through rating: what can still be spent is counted in the lots and in transfers on their way (what arrived is in
# the lots though nobody said so yet), and what postings of cut-offs that no run has settled did to it is taken off by
# looking at accounts 1 (available) and 3 (held) alone: what goes between holders stays.
OBLIGATION_IS_LOTS = """
    WITH lots AS (
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
      FROM ledger.posting p
      WHERE p.unit = 1 AND 14 NOT IN (p.debit, p.credit)
        AND NOT EXISTS (SELECT FROM settlement.run_cutoff c WHERE c.cutoff_id = p.cutoff_id)
      GROUP BY p.funder_id, p.lot_terms_id
    ), here AS (
      SELECT funder_id, terms_id, coalesce(l.points, 0) - coalesce(u.points, 0) AS points,
             (coalesce(l.points, 0) - coalesce(u.points, 0)) * a.fund_price_micro AS amount_micro
      FROM lots l FULL JOIN unsettled u USING (funder_id, terms_id) JOIN partners.agreement a USING (terms_id)
    ), kept AS (
      SELECT funder_id, terms_id, sum(points) AS points, sum(amount_micro) AS amount_micro
      FROM settlement.obligation_movement GROUP BY funder_id, terms_id
    )
    SELECT format('funder %s, terms %s: the obligation is %s points, %s micro-units; the lots say %s, %s', funder_id,
                  terms_id, coalesce(k.points, 0), coalesce(k.amount_micro, 0), coalesce(h.points, 0),
                  coalesce(h.amount_micro, 0))
    FROM here h FULL JOIN kept k USING (funder_id, terms_id)
    WHERE (coalesce(h.points, 0), coalesce(h.amount_micro, 0)) <> (coalesce(k.points, 0), coalesce(k.amount_micro, 0))
"""


async def violations(connection: AsyncConnection, control: str) -> list[str]:
    """What one of the controls above found, as sentences."""
    return list((await connection.execute(text(control))).scalars())
