"""Statements on partners' files and on what they are compared with. Private to the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

_PARTNER = 0x7EC0  # class of the lock under which files of one partner are taken and compared
_FILE = (
    "file_id, partner_id, type, format, state, code, message, sequence, business_date, currency, mode, records, "
    "refused, points, amount_minor, content_sha256, actor, at"
)
_RECORD = (
    "file_id", "line_no", "outlet", "terminal", "business_date", "reference", "kind", "points", "amount_minor",
    "tax_minor", "unit_price_micro", "original_reference", "occurred_at",
)  # fmt: skip
_WORK_MEM = "64MB"
_PROBLEM = ("file_id", "line_no", "code", "message", "reference")


async def lock_partner(connection: AsyncConnection, partner_id: int) -> None:
    """Hold, until the transaction ends, the right to take and compare files of a partner."""
    await connection.execute(
        text("SELECT pg_advisory_xact_lock(:class, :partner_id)"), {"class": _PARTNER, "partner_id": partner_id}
    )


async def next_file_id(connection: AsyncConnection) -> int:
    """The number of a file that is about to come, and is there when the transaction ends."""
    found = await connection.execute(
        text(
            "INSERT INTO settlement.file_number (file_id) "
            "VALUES (nextval('settlement.partner_file_file_id_seq')) RETURNING file_id"
        )
    )
    return int(found.scalar_one())


async def call(connection: AsyncConnection, actor: str, idem_key: UUID) -> Row[Any] | None:
    """A call that sent a file, if it was made before."""
    found = await connection.execute(
        text("SELECT fingerprint, file_id FROM settlement.file_call WHERE actor = :actor AND idem_key = :idem_key"),
        {"actor": actor, "idem_key": idem_key},
    )
    return found.one_or_none()


async def insert_call(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A call that sent a file, and which it is."""
    await connection.execute(
        text(
            "INSERT INTO settlement.file_call (actor, idem_key, fingerprint, file_id, at) "
            "VALUES (:actor, :idem_key, :fingerprint, :file_id, :at)"
        ),
        row,
    )


async def insert_file(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """A file, taken or refused."""
    await connection.execute(
        text(
            f"INSERT INTO settlement.partner_file ({_FILE}) VALUES (:file_id, :partner_id, :type, :format, :state, "
            "  :code, :message, :sequence, :business_date, :currency, :mode, :records, :refused, :points, "
            "  :amount_minor, :content_sha256, :actor, :at)"
        ),
        row,
    )


async def copy_records(connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Records of a file, in the order of the table's columns."""
    await _copy(connection, "partner_record", _RECORD, rows)


async def copy_problems(connection: AsyncConnection, rows: Sequence[tuple[Any, ...]]) -> None:
    """What is wrong with lines of a file, in the order of the table's columns."""
    await _copy(connection, "record_problem", _PROBLEM, rows)


async def _copy(
    connection: AsyncConnection, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    if rows:
        raw = (await connection.get_raw_connection()).driver_connection
        assert raw is not None
        await raw.copy_records_to_table(table, schema_name="settlement", columns=list(columns), records=rows)


async def last_sequence(connection: AsyncConnection, partner_id: int, type: str) -> int | None:
    """The number of the last file of a type that was taken."""
    found = await connection.execute(
        text(
            "SELECT max(sequence) FROM settlement.partner_file "
            "WHERE partner_id = :partner_id AND type = :type AND state = 'TAKEN'"
        ),
        {"partner_id": partner_id, "type": type},
    )
    last: int | None = found.scalar_one()
    return last


async def taken_before(connection: AsyncConnection, partner_id: int, content_sha256: bytes) -> int | None:
    """The number of a file with this content that was taken, if one was."""
    found = await connection.execute(
        text(
            "SELECT file_id FROM settlement.partner_file "
            "WHERE partner_id = :partner_id AND content_sha256 = :sha256 AND state = 'TAKEN'"
        ),
        {"partner_id": partner_id, "sha256": content_sha256},
    )
    return found.scalar_one_or_none()


async def file(connection: AsyncConnection, file_id: int) -> Row[Any] | None:
    """One file."""
    found = await connection.execute(
        text(f"SELECT {_FILE} FROM settlement.partner_file WHERE file_id = :file_id"), {"file_id": file_id}
    )
    return found.one_or_none()


async def files_page(
    connection: AsyncConnection, *, partner_id: int | None, before: int | None, limit: int
) -> Sequence[Row[Any]]:
    """Files, the latest first: of a partner, older than one, as asked for."""
    found = await connection.execute(
        text(
            f"SELECT {_FILE} FROM settlement.partner_file "
            "WHERE (CAST(:partner_id AS int) IS NULL OR partner_id = :partner_id) "
            "  AND (CAST(:before AS bigint) IS NULL OR file_id < :before) ORDER BY file_id DESC LIMIT :limit"
        ),
        {"partner_id": partner_id, "before": before, "limit": limit},
    )
    return found.all()


async def problems_page(connection: AsyncConnection, file_id: int, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """What is wrong with lines of a file, behind a line, in order."""
    found = await connection.execute(
        text(
            "SELECT line_no, code, message, reference FROM settlement.record_problem "
            "WHERE file_id = :file_id AND line_no > :after ORDER BY line_no LIMIT :limit"
        ),
        {"file_id": file_id, "after": after, "limit": limit},
    )
    return found.all()


async def results_page(connection: AsyncConnection, file_id: int, *, after: int, limit: int) -> Sequence[Row[Any]]:
    """Records of a file behind a line with what came of each: the stage of its match, or the category of its break."""
    found = await connection.execute(
        text(
            "SELECT r.line_no, r.reference, r.kind, m.stage, b.break_id, b.category "
            "FROM settlement.partner_record r LEFT JOIN settlement.record_match m USING (file_id, line_no) "
            "LEFT JOIN LATERAL (SELECT x.break_id, x.category FROM settlement.break_side s "
            "  JOIN settlement.break x USING (break_id) WHERE s.side = 'THEIRS' AND s.file_id = r.file_id "
            "  AND s.line_no = r.line_no ORDER BY x.break_id DESC LIMIT 1) b ON true "
            "WHERE r.file_id = :file_id AND r.line_no > :after ORDER BY r.line_no LIMIT :limit"
        ),
        {"file_id": file_id, "after": after, "limit": limit},
    )
    return found.all()


# --- Rules of a partner's files -------------------------------------------------------------------------------


async def insert_rule(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """How files of a partner are taken from now on."""
    await connection.execute(
        text(
            "INSERT INTO settlement.file_rule (partner_id, rule_no, mode, write_off_minor, actor, at) "
            "SELECT :partner_id, 1 + coalesce(max(rule_no), 0), :mode, :write_off_minor, :actor, :at "
            "FROM settlement.file_rule WHERE partner_id = :partner_id"
        ),
        row,
    )


async def rule(connection: AsyncConnection, partner_id: int) -> Row[Any] | None:
    """How files of a partner are taken."""
    found = await connection.execute(
        text(
            "SELECT mode, write_off_minor FROM settlement.file_rule WHERE partner_id = :partner_id "
            "ORDER BY rule_no DESC LIMIT 1"
        ),
        {"partner_id": partner_id},
    )
    return found.one_or_none()


# --- Comparing ------------------------------------------------------------------------------------------------

# Our lines of the day and of its neighbours that nothing explains yet: neither matched nor on a side of a break, but
# for one that only says that theirs is missing. A receipt is in a cut-off that was open two days before it or later.
_OURS = """
    ours AS NOT MATERIALIZED (
      SELECT l.*, l.tax * CAST(:per_unit AS bigint) AS tax_minor
      FROM partners.receipt_line l
      WHERE l.partner_id = :partner_id AND l.business_date BETWEEN :first AND :last
        AND l.cutoff_id >= coalesce((SELECT max(cutoff_id) FROM ledger.cutoff
                                     WHERE opened_at < CAST(:first AS date) - interval '2 days'), 0)
        AND NOT EXISTS (SELECT FROM settlement.record_match m
                        WHERE (m.holder_id, m.unit, m.seq, m.kind) = (l.holder_id, l.unit, l.seq, l.kind))
        AND NOT EXISTS (SELECT FROM settlement.break_side s JOIN settlement.break b USING (break_id)
                        WHERE s.side = 'OURS' AND b.category <> 'MISSING_THEIRS'
                          AND (s.holder_id, s.unit, s.seq, s.kind) = (l.holder_id, l.unit, l.seq, l.kind))
    )
"""


async def allow_sorting(connection: AsyncConnection) -> None:
    """Let the database sort and hash a file of a million lines in memory, until the transaction ends."""
    await connection.execute(text("SELECT set_config('work_mem', :size, true)"), {"size": _WORK_MEM})


async def insert_exact_matches(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """Match what is equal in everything and once on either side, as one statement; how many. The rest is for the
    pure rules, which would say the same of these."""
    made = await connection.execute(
        text(
            f"""
            WITH {_OURS}, mine AS (
              SELECT o.*, count(*) OVER (PARTITION BY reference, kind) AS times FROM ours o
            ), yours AS (
              SELECT r.*, count(*) OVER (PARTITION BY reference, kind) AS times
              FROM settlement.partner_record r WHERE r.file_id = :file_id
            )
            INSERT INTO settlement.record_match (file_id, line_no, holder_id, unit, seq, kind, stage, rules_version,
                                                 actor, at)
            SELECT y.file_id, y.line_no, m.holder_id, m.unit, m.seq, m.kind, 'EXACT', :rules_version, :actor, :at
            FROM yours y JOIN mine m USING (reference, kind)
            WHERE y.times = 1 AND m.times = 1 AND m.business_date = :day AND y.business_date = m.business_date
              AND y.points = m.points AND y.amount_minor = m.amount_minor AND y.outlet = m.outlet
              AND m.currency = :currency AND coalesce(y.tax_minor = m.tax_minor, true)
              AND coalesce(y.unit_price_micro = m.unit_price_micro, true)
            """
        ),
        values,
    )
    return int(made.rowcount)


async def leftover_theirs(connection: AsyncConnection, file_id: int, limit: int) -> Sequence[Row[Any]]:
    """Records of a file that are not matched, by key."""
    found = await connection.execute(
        text(
            """
            SELECT r.* FROM settlement.partner_record r
            WHERE r.file_id = :file_id AND NOT EXISTS (
              SELECT FROM settlement.record_match m WHERE m.file_id = r.file_id AND m.line_no = r.line_no)
            ORDER BY r.reference COLLATE "C", r.kind COLLATE "C", r.line_no LIMIT :limit
            """
        ),
        {"file_id": file_id, "limit": limit},
    )
    return found.all()


async def leftover_ours(connection: AsyncConnection, values: Mapping[str, Any], limit: int) -> Sequence[Row[Any]]:
    """Our lines of the day that are not matched, and those of its neighbours that share a key with a record that is
    not, by key."""
    found = await connection.execute(
        text(
            f"""
            WITH {_OURS}
            SELECT o.* FROM ours o
            WHERE o.business_date = :day OR (o.reference, o.kind) IN (
              SELECT r.reference, r.kind FROM settlement.partner_record r
              WHERE r.file_id = :file_id AND NOT EXISTS (
                SELECT FROM settlement.record_match m WHERE m.file_id = r.file_id AND m.line_no = r.line_no))
            ORDER BY o.reference COLLATE "C", o.kind COLLATE "C", o.holder_id, o.seq LIMIT :limit
            """
        ),
        {**values, "limit": limit},
    )
    return found.all()


async def insert_matches(connection: AsyncConnection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Which record is which line of ours."""
    if rows:
        await connection.execute(
            text(
                "INSERT INTO settlement.record_match (file_id, line_no, holder_id, unit, seq, kind, stage, "
                "  rules_version, group_line, actor, at) "
                "VALUES (:file_id, :line_no, :holder_id, :unit, :seq, :kind, :stage, :rules_version, :group_line, "
                "        :actor, :at)"
            ),
            [{"group_line": None, **row} for row in rows],
        )


async def undo_matches(
    connection: AsyncConnection, break_id: int, *, actor: str, cause: str, at: datetime
) -> list[int]:
    """Take back the match that a person made of the lines of a break; the breaks that it was about."""
    found = await connection.execute(
        text("SELECT * FROM settlement.undo_matches(:break_id, :actor, :cause, :at) b ORDER BY b"),
        {"break_id": break_id, "actor": actor, "cause": cause, "at": at},
    )
    return list(found.scalars())


async def insert_comparison(connection: AsyncConnection, row: Mapping[str, Any]) -> None:
    """That a file was compared, by which rules, and what came of it."""
    await connection.execute(
        text(
            "INSERT INTO settlement.comparison (file_id, rules_version, tolerance_minor, tolerance_days, records, "
            "                                   matched, breaks, actor, at) "
            "VALUES (:file_id, :rules_version, :tolerance_minor, :tolerance_days, :records, :matched, :breaks, "
            "        :actor, :at)"
        ),
        row,
    )


async def comparison(connection: AsyncConnection, file_id: int) -> Row[Any] | None:
    """What came of comparing a file, if it was compared."""
    found = await connection.execute(
        text(
            "SELECT file_id, rules_version, tolerance_minor, tolerance_days, records, matched, breaks, actor, at "
            "FROM settlement.comparison WHERE file_id = :file_id"
        ),
        {"file_id": file_id},
    )
    return found.one_or_none()


async def match_count(connection: AsyncConnection, file_id: int) -> int:
    """How many records of a file are matched."""
    found = await connection.execute(
        text("SELECT count(line_no) FROM settlement.record_match WHERE file_id = :file_id"), {"file_id": file_id}
    )
    return int(found.scalar_one())


async def uncompared(connection: AsyncConnection) -> list[int]:
    """Files that were taken and not compared yet, in order."""
    found = await connection.execute(
        text(
            "SELECT file_id FROM settlement.partner_file f WHERE state = 'TAKEN' AND NOT EXISTS ("
            "  SELECT FROM settlement.comparison c WHERE c.file_id = f.file_id) ORDER BY file_id"
        )
    )
    return list(found.scalars())


async def rates(connection: AsyncConnection, partner_id: int | None) -> Row[Any]:
    """How many records were compared and are matched, how many breaks were found and are unresolved."""
    found = await connection.execute(
        text(
            """
            SELECT (SELECT CAST(coalesce(sum(c.records), 0) AS bigint) FROM settlement.comparison c
                    JOIN settlement.partner_file f USING (file_id)
                    WHERE CAST(:partner_id AS int) IS NULL OR f.partner_id = :partner_id) AS records,
                   (SELECT count(m.line_no) FROM settlement.record_match m
                    JOIN settlement.partner_file f USING (file_id)
                    WHERE CAST(:partner_id AS int) IS NULL OR f.partner_id = :partner_id) AS matched,
                   count(*) AS found,
                   count(*) FILTER (WHERE (SELECT s.to_state FROM settlement.break_step s
                     WHERE s.break_id = b.break_id ORDER BY s.step_no DESC LIMIT 1)
                     IN ('OPEN', 'ASSIGNED', 'EXPLAINED')) AS unresolved
            FROM settlement.break b WHERE CAST(:partner_id AS int) IS NULL OR b.partner_id = :partner_id
            """
        ),
        {"partner_id": partner_id},
    )
    return found.one()


async def arrived_since(connection: AsyncConnection) -> Sequence[Row[Any]]:
    """Breaks that only say that ours is missing, not resolved, with the one line of ours that is there by now, equal
    in everything that both sides say, matched with nothing."""
    found = await connection.execute(
        text(
            """
            SELECT b.break_id, r.file_id, r.line_no, l.holder_id, l.unit, l.seq, l.kind
            FROM settlement.break b
            JOIN settlement.break_side s ON s.break_id = b.break_id AND s.side = 'THEIRS'
            JOIN settlement.partner_record r ON r.file_id = s.file_id AND r.line_no = s.line_no
            JOIN settlement.partner_file f ON f.file_id = r.file_id
            JOIN partners.receipt_line l ON l.partner_id = f.partner_id AND l.reference = r.reference
              AND l.kind = r.kind AND l.business_date = r.business_date AND l.points = r.points
              AND l.amount_minor = r.amount_minor AND l.outlet = r.outlet AND l.currency = f.currency
            WHERE b.category IN ('MISSING_OURS', 'STATUS') AND b.leg = 'FILE'
              AND (SELECT to_state FROM settlement.break_step t WHERE t.break_id = b.break_id
                   ORDER BY step_no DESC LIMIT 1) IN ('OPEN', 'ASSIGNED', 'EXPLAINED')
              AND NOT EXISTS (SELECT FROM settlement.break_side o WHERE o.break_id = b.break_id AND o.side = 'OURS')
              AND NOT EXISTS (SELECT FROM settlement.record_match m WHERE m.file_id = r.file_id
                              AND m.line_no = r.line_no)
              AND NOT EXISTS (SELECT FROM settlement.record_match m
                              WHERE (m.holder_id, m.unit, m.seq, m.kind) = (l.holder_id, l.unit, l.seq, l.kind))
            ORDER BY b.break_id, l.holder_id, l.seq
            """
        )
    )
    return found.all()


async def overdue_ours(connection: AsyncConnection, *, on: date) -> Sequence[Row[Any]]:
    """Our lines of days that were compared, which their side did not have and has not until a day, and that no break
    tells of."""
    found = await connection.execute(
        text(
            """
            SELECT f.file_id, l.* FROM settlement.comparison c
            JOIN settlement.partner_file f USING (file_id)
            JOIN partners.receipt_line l ON l.partner_id = f.partner_id AND l.business_date = f.business_date
            WHERE f.business_date + c.tolerance_days <= :on
              AND l.currency = f.currency
              AND NOT EXISTS (SELECT FROM settlement.record_match m
                              WHERE (m.holder_id, m.unit, m.seq, m.kind) = (l.holder_id, l.unit, l.seq, l.kind))
              AND NOT EXISTS (SELECT FROM settlement.break_side s WHERE s.side = 'OURS'
                              AND (s.holder_id, s.unit, s.seq, s.kind) = (l.holder_id, l.unit, l.seq, l.kind))
            ORDER BY f.file_id, l.reference, l.kind
            """
        ),
        {"on": on},
    )
    return found.all()


async def rules_used(connection: AsyncConnection, partner_id: int | None) -> Sequence[Row[Any]]:
    """How many lines each rule of each version matched: records of files, and payments of the bank by the rule of the
    first leg that they are for."""
    found = await connection.execute(
        text(
            """
            SELECT 'FILE' AS leg, m.stage AS rule, m.rules_version AS version, count(m.line_no) AS lines
            FROM settlement.record_match m JOIN settlement.partner_file f USING (file_id)
            WHERE CAST(:partner_id AS int) IS NULL OR f.partner_id = :partner_id GROUP BY 2, 3
            UNION ALL
            SELECT 'BANK', rule, version, count(*) FROM (
              SELECT DISTINCT ON (p.bank_statement_id, p.entry_no, p.payment_no) p.rule, p.rules_version AS version
              FROM settlement.leg_payment p JOIN settlement.payment_leg l USING (leg_id)
              WHERE CAST(:partner_id AS int) IS NULL OR l.partner_id = :partner_id
              ORDER BY p.bank_statement_id, p.entry_no, p.payment_no, p.leg_id) one GROUP BY 2, 3
            ORDER BY 1 DESC, 2, 3
            """
        ),
        {"partner_id": partner_id},
    )
    return found.all()


async def compared(connection: AsyncConnection, partner_id: int | None) -> Row[Any]:
    """How many records were compared, and how many payments the bank told of; of a partner those that are its."""
    found = await connection.execute(
        text(
            """
            SELECT (SELECT CAST(coalesce(sum(c.records), 0) AS bigint) FROM settlement.comparison c
                    JOIN settlement.partner_file f USING (file_id)
                    WHERE CAST(:partner_id AS int) IS NULL OR f.partner_id = :partner_id) AS records,
                   (SELECT count(*) FROM settlement.bank_payment b
                    WHERE CAST(:partner_id AS int) IS NULL OR EXISTS (
                        SELECT FROM settlement.leg_payment p JOIN settlement.payment_leg l USING (leg_id)
                        WHERE l.partner_id = :partner_id AND (p.bank_statement_id, p.entry_no, p.payment_no)
                          = (b.bank_statement_id, b.entry_no, b.payment_no))
                      OR EXISTS (SELECT FROM settlement.suspense_item i WHERE i.partner_id = :partner_id
                        AND (i.bank_statement_id, i.entry_no, i.payment_no)
                          = (b.bank_statement_id, b.entry_no, b.payment_no))) AS payments
            """
        ),
        {"partner_id": partner_id},
    )
    return found.one()
