"""What the second engine reads, and the second engine. Private to the package.

What a run was made of goes out of PostgreSQL as files, once; DuckDB reads nothing but those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
_ZONE = "(SELECT time_zone AS zone FROM partners.programme)"
_SIGNED = (
    "(SELECT DISTINCT ON (a.partner_id) a.*, min(a.valid_from) OVER (PARTITION BY a.partner_id) AS agreed_since "
    " FROM partners.agreement a JOIN kit.approval p USING (approval_id) "
    f" JOIN {_RUN} r ON a.currency = r.currency AND a.valid_from <= r.cut_at WHERE p.approved "
    " ORDER BY a.partner_id, a.valid_from < r.cut_at DESC, a.valid_from DESC, a.version DESC)"
)
_BEFORE = (
    "(WITH RECURSIVE chain AS (SELECT previous_run_id AS run_id FROM settlement.run WHERE run_id = {run} "
    "   UNION ALL SELECT r.previous_run_id FROM settlement.run r JOIN chain USING (run_id)) "
    " SELECT run_id FROM chain WHERE run_id IS NOT NULL)"
)
# Cut-offs of the runs before, as far back as the longest volume period in which the run begins.
_EARLIER = (
    f"(SELECT DISTINCT c.cutoff_id, c.cut_at FROM {_BEFORE} chain JOIN settlement.run_window x USING (run_id) "
    " JOIN settlement.window w USING (window_id) JOIN ledger.cutoff c ON c.cutoff_id = w.cutoff_id "
    f" CROSS JOIN {_ZONE} z JOIN settlement.run b ON b.run_id = (SELECT previous_run_id FROM settlement.run "
    "   WHERE run_id = {run}) "
    " WHERE (c.cut_at - interval '1 microsecond') AT TIME ZONE z.zone >= (SELECT date_trunc(coalesce(("
    "     SELECT f.volume_period FROM " + _SIGNED + " f WHERE f.platform_fee_micro > 0 OR f.minimum_fee_micro > 0 "
    "       OR f.volume_tiers <> '[]' OR f.volume_rebates <> '[]' "
    "     ORDER BY array_position(ARRAY['YEAR', 'QUARTER', 'MONTH'], f.volume_period) LIMIT 1), 'DAY'), "
    "   b.cut_at AT TIME ZONE z.zone)))"
)
PERIOD_KINDS = ("PLATFORM_FEE", "MINIMUM_FEE", "TIER_REBATE", "VOLUME_REBATE")
_PERIOD = ", ".join(f"'{kind}'" for kind in PERIOD_KINDS)
_KEPT = (
    "FROM jsonb_to_recordset(CAST("
    f"{_EVIDENCE} AS jsonb) -> 'events') AS e(kind text, payer_id int, payee_id int, currency text, "
    "amount_micro bigint, terms_id int, count bigint, points bigint)"
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
        {
            "party": "INTEGER", "terms_id": "INTEGER", "holdback_bp": "INTEGER", "is_netted": "BOOLEAN",
            "minimum_payout": "BIGINT", "tax_rule": "VARCHAR", "dispute_days": "INTEGER", "volume_period": "VARCHAR",
            "platform_fee": "BIGINT", "minimum_fee": "BIGINT", "agreed_since": "DATE",
        },
        "SELECT partner_id, terms_id, holdback_bp, is_netted, minimum_payout_minor, tax_rule, dispute_days, "
        "       volume_period, platform_fee_micro, minimum_fee_micro, CAST(agreed_since AT TIME ZONE zone AS date) "
        f"FROM {_SIGNED} f CROSS JOIN {_ZONE} z ORDER BY 1",
    ),
    "tier": (
        {"party": "INTEGER", "step": "INTEGER", "above": "BIGINT", "rebate": "BIGINT"},
        "SELECT partner_id, t.step, CAST(t.said ->> 0 AS bigint), CAST(t.said ->> 1 AS bigint) "
        f"FROM {_SIGNED} f, jsonb_array_elements(volume_tiers) WITH ORDINALITY t(said, step) ORDER BY 1, 2",
    ),
    "rebate": (
        {"party": "INTEGER", "step": "INTEGER", "least": "BIGINT", "rebate_bp": "BIGINT"},
        "SELECT partner_id, t.step, CAST(t.said ->> 0 AS bigint), CAST(t.said ->> 1 AS bigint) "
        f"FROM {_SIGNED} f, jsonb_array_elements(volume_rebates) WITH ORDINALITY t(said, step) ORDER BY 1, 2",
    ),
    "bounds": (
        {"since_day": "DATE", "until_day": "DATE"},
        "SELECT CAST(b.cut_at AT TIME ZONE zone AS date), CAST(r.cut_at AT TIME ZONE zone AS date) "
        f"FROM {_RUN} r CROSS JOIN {_ZONE} z LEFT JOIN settlement.run b ON b.run_id = r.previous_run_id",
    ),
    "span": (
        {"cutoff_id": "INTEGER", "day": "DATE"},
        "SELECT cutoff_id, CAST((cut_at - interval '1 microsecond') AT TIME ZONE zone AS date) "
        f"FROM (SELECT cutoff_id, cut_at FROM ledger.cutoff JOIN {_CUTOFFS} o USING (cutoff_id) "
        f"      UNION SELECT cutoff_id, cut_at FROM {_EARLIER} e) c CROSS JOIN {_ZONE} z ORDER BY 1",
    ),
    "earlier": (
        {
            "cutoff_id": "INTEGER", "debit": "INTEGER", "credit": "INTEGER", "funder_id": "INTEGER",
            "lot_terms_id": "INTEGER", "points": "BIGINT",
        },
        "SELECT cutoff_id, debit, credit, funder_id, lot_terms_id, sum(amount) FROM ledger.posting "
        f"WHERE unit = 1 AND cutoff_id IN (SELECT cutoff_id FROM {_EARLIER} e) GROUP BY 1, 2, 3, 4, 5 "
        "ORDER BY 1, 2, 3, 4, 5",
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
        f"SELECT e.* {_KEPT} WHERE kind NOT IN ({_PERIOD})",
    ),
    "kept_fee": (
        {
            "kind": "VARCHAR", "payer_id": "INTEGER", "payee_id": "INTEGER", "currency": "VARCHAR",
            "amount_micro": "BIGINT", "terms_id": "INTEGER",
        },
        f"SELECT kind, payer_id, payee_id, currency, amount_micro, terms_id {_KEPT} WHERE kind IN ({_PERIOD})",
    ),
    "tax": (
        {"code": "VARCHAR", "rate_bp": "INTEGER", "is_by_line": "BOOLEAN"},
        "SELECT DISTINCT ON (t.code) t.code, t.rate_bp, t.rounding = 'LINE' FROM settlement.tax_rule t "
        f"JOIN {_RUN} r ON t.valid_from <= r.cut_at ORDER BY t.code, t.valid_from < r.cut_at DESC, t.valid_from DESC",
    ),
    "held": (
        {
            "party": "INTEGER", "age_micros": "BIGINT", "held_minor": "BIGINT", "released_minor": "BIGINT",
            "used_minor": "BIGINT",
        },
        "SELECT s.partner_id, CAST(extract(epoch FROM r.cut_at - b.cut_at) * 1000000 AS bigint), "
        "       coalesce(sum(-n.amount_minor) FILTER (WHERE n.kind = 'HOLDBACK'), 0), "
        "       coalesce(sum(n.amount_minor) FILTER (WHERE n.kind = 'HOLDBACK_RELEASED'), 0), 0 "
        "FROM settlement.line n JOIN settlement.statement s USING (statement_id) "
        f"JOIN settlement.run b ON b.run_id = s.run_id JOIN {_BEFORE} c ON c.run_id = b.run_id CROSS JOIN {_RUN} r "
        "WHERE s.partner_id <> 0 AND n.kind IN ('HOLDBACK', 'HOLDBACK_RELEASED') GROUP BY 1, 2 "
        f"UNION ALL SELECT d.partner_id, 0, 0, 0, sum(d.amount_minor) FROM settlement.default_step d JOIN {_RUN} r "
        "ON d.currency = r.currency WHERE d.source = 'HOLDBACK' GROUP BY d.partner_id ORDER BY 1, 2",
    ),
    "kept_brought": (
        {"party": "INTEGER", "tax_bp": "INTEGER", "is_by_line": "BOOLEAN", "released_minor": "BIGINT"},
        "SELECT CAST(b.key AS int), CAST(b.value #>> '{{conditions,tax,rate_bp}}' AS int), "
        "       b.value #>> '{{conditions,tax,rounding}}' = 'LINE', CAST(b.value ->> 'released_minor' AS bigint) "
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
_CONDITIONS = "SELECT party, tax_bp, is_by_line, released_minor * (SELECT per_minor FROM run) FROM {table} ORDER BY ALL"

Line = tuple[int, str, int, int, int, int, int, int]
"""Party, kind, version, price, points, postings, micro-units, minor units."""
Moved = tuple[int, int, str, int, int, int]
"""Funder, version, kind, price, points, micro-units."""
Fee = tuple[int, str, int, int]
"""Party, kind, version, micro-units as the party receives them."""
Condition = tuple[int, int, bool, int]
"""Party, rate of tax in basis points, whether it is rounded on every line, micro-units of retention that is let go."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the second engine found: lines (openings under an empty kind), movements of stock, what has no explanation,
    how many postings, the fees of volume periods, and under which conditions partners are settled; kept_fees and
    kept_conditions are those that the run was decided on."""

    lines: list[Line]
    moved: list[Moved]
    unexplained: list[str]
    postings: int
    fees: list[Fee]
    kept_fees: list[Fee]
    conditions: list[Condition]
    kept_conditions: list[Condition]


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


def recompute(folder: Path, *, currency: str, per_minor: int) -> Found:
    """What comes of the files of a folder.

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
            engine.execute(
                f"CREATE {made} {name} AS FROM read_csv('{path}', header = true, auto_detect = false, delim = ',', "
                f"quote = '\"', escape = '\"', columns = {{{typed}}})"
            )
        engine.execute(_SCRIPT.read_text(encoding="utf-8"))
        [(postings,)] = engine.execute("SELECT coalesce(sum(postings), 0) FROM summed WHERE is_own").fetchall()
        return Found(
            lines=engine.execute(
                "SELECT party, kind, terms_id, price, points, postings, micro, minor FROM settled ORDER BY ALL"
            ).fetchall(),
            moved=engine.execute(
                "SELECT funder_id, terms_id, kind, price, points, micro FROM stock ORDER BY ALL"
            ).fetchall(),
            unexplained=[row[0] for row in engine.execute("SELECT what FROM unexplained ORDER BY 1").fetchall()],
            postings=int(postings),
            fees=engine.execute("SELECT party, kind, terms_id, micro FROM fee ORDER BY ALL").fetchall(),
            kept_fees=engine.execute(
                "SELECT payer_id + payee_id, kind, terms_id, CASE WHEN payer_id = 0 THEN 1 ELSE -1 END * amount_micro "
                "FROM kept_fee WHERE currency = (SELECT currency FROM run) ORDER BY ALL"
            ).fetchall(),
            conditions=engine.execute(_CONDITIONS.format(table="brought")).fetchall(),
            kept_conditions=engine.execute(_CONDITIONS.format(table="kept_brought")).fetchall(),
        )


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
