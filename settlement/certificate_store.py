"""What the second engine reads, and the second engine. Private to the package.

What a run was made of goes out of PostgreSQL as files, once; DuckDB reads nothing but those.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_SCRIPT = Path(__file__).with_name("certificate.sql")
_EVIDENCE = (
    "(SELECT evidence FROM settlement.run_step WHERE run_id = {run} AND to_state = 'CALCULATED' "
    " ORDER BY step_no DESC LIMIT 1)"
)
_RUN = "(SELECT currency, cut_at, previous_run_id FROM settlement.run WHERE run_id = {run})"
_CUTOFFS = (
    "(SELECT DISTINCT w.cutoff_id FROM settlement.run_window x JOIN settlement.window w USING (window_id) "
    " WHERE x.run_id = {run})"
)

# Each file's columns with the types that DuckDB reads them as, and the statement that they come from.
_FILES: Mapping[str, tuple[dict[str, str], str]] = {
    "cutoff": ({"cutoff_id": "INTEGER"}, f"SELECT cutoff_id FROM {_CUTOFFS} c ORDER BY 1"),
    "posting": (
        {
            "cutoff_id": "INTEGER", "debit": "INTEGER", "credit": "INTEGER", "funder_id": "INTEGER",
            "partner_id": "INTEGER", "lot_terms_id": "INTEGER", "terms_id": "INTEGER", "points": "BIGINT",
        },
        "SELECT cutoff_id, debit, credit, funder_id, partner_id, lot_terms_id, terms_id, amount "
        f"FROM ledger.posting WHERE unit = 1 AND cutoff_id IN (SELECT cutoff_id FROM {_CUTOFFS} c)",
    ),
    "agreement": (
        {
            "terms_id": "INTEGER", "party": "INTEGER", "currency": "VARCHAR", "funding": "VARCHAR",
            "fund_price": "BIGINT", "service_price": "BIGINT", "reimbursement_price": "BIGINT",
            "hybrid_fund": "BIGINT", "breakage_share_bp": "INTEGER",
        },
        "SELECT terms_id, partner_id, currency, funding, fund_price_micro, service_price_micro, "
        "       reimbursement_price_micro, hybrid_fund_micro, breakage_share_bp FROM partners.agreement ORDER BY 1",
    ),
    "in_force": (
        {"party": "INTEGER", "holdback_bp": "INTEGER", "is_netted": "BOOLEAN", "minimum_payout": "BIGINT"},
        "SELECT DISTINCT ON (a.partner_id) a.partner_id, holdback_bp, is_netted, minimum_payout_minor "
        f"FROM partners.agreement a JOIN {_RUN} r ON a.currency = r.currency AND a.valid_from <= r.cut_at "
        "ORDER BY a.partner_id, a.version DESC",
    ),
    "handover": (
        {
            "funder_id": "INTEGER", "terms_id": "INTEGER", "from_cutoff": "INTEGER", "carrier_id": "INTEGER",
            "was_billed": "BIGINT", "billed_fund": "BIGINT", "points": "BIGINT",
        },
        "SELECT funder_id, terms_id, from_cutoff, carrier_id, was_billed_micro, billed_fund_micro, points "
        "FROM settlement.stock_transfer ORDER BY 1, 2, 3",
    ),
    "opened": (
        {"funder_id": "INTEGER", "terms_id": "INTEGER"},
        "SELECT funder_id, terms_id FROM settlement.opening_stock ORDER BY 1, 2",
    ),
    "event": (
        {
            "kind": "VARCHAR", "payer_id": "INTEGER", "payee_id": "INTEGER", "currency": "VARCHAR",
            "amount_micro": "BIGINT", "terms_id": "INTEGER", "count": "BIGINT", "points": "BIGINT",
        },
        "SELECT e.* FROM jsonb_to_recordset(CAST("
        f"{_EVIDENCE} AS jsonb) -> 'events') AS e(kind text, payer_id int, payee_id int, currency text, "
        "amount_micro bigint, terms_id int, count bigint, points bigint)",
    ),
    "brought": (
        {"party": "INTEGER", "released_minor": "BIGINT", "tax_bp": "INTEGER", "is_by_line": "BOOLEAN"},
        "SELECT CAST(b.key AS int), CAST(b.value ->> 'released_minor' AS bigint), "
        "       CAST(b.value #>> '{{conditions,tax,rate_bp}}' AS int), "
        "       b.value #>> '{{conditions,tax,rounding}}' = 'LINE' "
        f"FROM jsonb_each(CAST({_EVIDENCE} AS jsonb) -> 'brought') AS b ORDER BY 1",
    ),
    "carried_in": (
        {"party": "INTEGER", "opening_minor": "BIGINT"},
        "SELECT s.partner_id, -sum(n.amount_minor) FROM settlement.line n JOIN settlement.statement s "
        f"USING (statement_id) JOIN {_RUN} r ON s.run_id = r.previous_run_id "
        "WHERE s.partner_id <> 0 AND n.kind = 'CARRIED_OUT' GROUP BY s.partner_id ORDER BY 1",
    ),
}  # fmt: skip
RUN_FILES = tuple(_FILES)

Line = tuple[int, str, int, int, int, int, int, int]
"""Party, kind, version, price, points, postings, micro-units, minor units."""
Moved = tuple[int, int, str, int, int, int]
"""Funder, version, kind, price, points, micro-units."""


async def export(connection: AsyncConnection, run_id: int, folder: Path) -> None:
    """Write what a run was made of into a folder, a CSV file for each table; memory does not grow with it."""
    raw = (await connection.get_raw_connection()).driver_connection
    assert raw is not None
    for name, (columns, statement) in _FILES.items():
        path = folder / f"{name}.csv"
        header = ",".join(columns) + "\n"
        with path.open("wb") as file:
            file.write(header.encode())
            await raw.copy_from_query(statement.format(run=int(run_id)), output=file, format="csv")


def recompute(folder: Path, *, currency: str, per_minor: int) -> tuple[list[Line], list[Moved], list[str], int]:
    """The lines (openings under an empty kind), movements of stock, what has no explanation, and how many postings.

    Takes the processor: call it in a thread. Memory is bounded; what does not fit goes to the folder.
    """
    with duckdb.connect() as engine:
        spill = str(folder / "spill").replace("'", "''")
        engine.execute(f"SET temp_directory = '{spill}'; SET memory_limit = '1GB'; SET threads = 2")
        engine.execute("CREATE TABLE run AS SELECT ? AS currency, ?::BIGINT AS per_minor", [currency, per_minor])
        for name, (columns, _) in _FILES.items():
            path = str(folder / f"{name}.csv").replace("'", "''")
            typed = ", ".join(f"'{column}': '{kind}'" for column, kind in columns.items())
            made = "VIEW" if name == "posting" else "TABLE"
            engine.execute(f"CREATE {made} {name} AS FROM read_csv('{path}', header = true, columns = {{{typed}}})")
        engine.execute(_SCRIPT.read_text(encoding="utf-8"))
        lines = engine.execute(
            "SELECT party, kind, terms_id, price, points, postings, micro, minor FROM settled ORDER BY ALL"
        ).fetchall()
        moved = engine.execute("SELECT funder_id, terms_id, kind, price, points, micro FROM stock ORDER BY ALL")
        stock = moved.fetchall()
        unexplained = [row[0] for row in engine.execute("SELECT what FROM unexplained ORDER BY 1").fetchall()]
        counted = engine.execute("SELECT coalesce(sum(postings), 0) FROM summed").fetchall()
    return lines, stock, unexplained, int(counted[0][0])


async def written_lines(connection: AsyncConnection, run_id: int) -> list[Line]:
    """The partners' lines as the first engine wrote them, openings under an empty kind."""
    found = await connection.execute(
        text(
            "SELECT s.partner_id, n.kind, coalesce(n.terms_id, 0), n.unit_price_micro, n.points, n.postings, "
            "       n.amount_micro, n.amount_minor "
            "FROM settlement.line n JOIN settlement.statement s USING (statement_id) "
            "WHERE s.run_id = :run_id AND s.partner_id <> 0 "
            "UNION ALL SELECT partner_id, '', 0, 0, 0, 0, opening_micro, opening_minor FROM settlement.statement "
            "WHERE run_id = :run_id AND partner_id <> 0"
        ),
        {"run_id": run_id},
    )
    return [(r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]) for r in found]


async def written_nets(connection: AsyncConnection, run_id: int) -> dict[int, tuple[int, int]]:
    """Everybody's net as the first engine wrote it, micro-units and minor units."""
    found = await connection.execute(
        text("SELECT partner_id, net_micro, net_minor FROM settlement.statement WHERE run_id = :run_id"),
        {"run_id": run_id},
    )
    return {row.partner_id: (row.net_micro, row.net_minor) for row in found}


async def written_movements(connection: AsyncConnection, run_id: int) -> list[Moved]:
    """The movements of the obligation as the first engine wrote them."""
    found = await connection.execute(
        text(
            "SELECT funder_id, terms_id, kind, unit_price_micro, points, amount_micro "
            "FROM settlement.obligation_movement WHERE run_id = :run_id"
        ),
        {"run_id": run_id},
    )
    return [(r[0], r[1], r[2], r[3], r[4], r[5]) for r in found]
