"""The statements of promotions: what is drafted and published, and budgets. Rows in, rows out, no decisions."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

# A release binds from the moment that it was approved, a suspension from its own.
_BINDING = """
    SELECT r.release_id, r.effective_from, coalesce(a.decided_at, r.at) AS published_at, r.manifest,
           m.name AS author, coalesce(c.name, m.name) AS approver
    FROM partners.release r
    JOIN kit.actor m ON m.actor_id = r.author_id
    LEFT JOIN kit.approval a USING (approval_id)
    LEFT JOIN kit.actor c ON c.actor_id = a.checker_id
    WHERE (r.approval_id IS NULL OR a.approved)
"""


async def unknown_names(connection: AsyncConnection, names: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of names, each with its kind, that nothing bears: a PARTNER, an OUTLET (partner:outlet), an EVENT
    that was declared, a BATCH of coupons, STAMPS, a RAFFLE."""
    statement = text("""
        SELECT w.kind, w.name FROM unnest(CAST(:kinds AS text[]), CAST(:names AS text[])) AS w(kind, name)
        WHERE NOT CASE w.kind
          WHEN 'PARTNER' THEN EXISTS (SELECT FROM partners.partner p WHERE p.code = w.name)
          WHEN 'OUTLET' THEN EXISTS (
            SELECT FROM partners.outlet o JOIN partners.partner p USING (partner_id)
            WHERE p.code || ':' || o.code = w.name)
          WHEN 'EVENT' THEN EXISTS (SELECT FROM partners.mechanic m WHERE m.kind = 'EVENT' AND m.code = w.name)
          WHEN 'BATCH' THEN EXISTS (SELECT FROM partners.coupon_batch b WHERE b.code = w.name)
          WHEN 'STAMPS' THEN EXISTS (SELECT FROM partners.stamp_unit u WHERE u.code = w.name)
          ELSE EXISTS (SELECT FROM partners.raffle r WHERE r.code = w.name) END
    """)
    given = {"kinds": [kind for kind, _ in names], "names": [name for _, name in names]}
    return {(row.kind, row.name) for row in await connection.execute(statement, given)} if names else set()


async def coupons_taken(connection: AsyncConnection, batches: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of batches of coupons by code: how many are one benefit, and how many one purchase takes."""
    statement = text(
        "SELECT code, needed, per_receipt FROM partners.coupon_batch WHERE code = ANY (CAST(:batches AS text[]))"
    )
    found = await connection.execute(statement, {"batches": batches}) if batches else ()
    return {row.code: (row.needed, row.per_receipt) for row in found}


# --- Promotions and rules -------------------------------------------------------------------------------------


async def insert_promotion(
    connection: AsyncConnection, *, code: str, names: Mapping[str, str], sponsor_id: int, author_id: int, at: datetime
) -> int | None:
    """Add a promotion; returns its number, or None where the code is taken."""
    statement = text(
        "INSERT INTO partners.promotion (code, names, sponsor_id, author_id, at) "
        "VALUES (:code, CAST(:names AS jsonb), :sponsor_id, :author_id, :at) "
        "ON CONFLICT (code) DO NOTHING RETURNING promotion_id"
    )
    values = {
        "code": code,
        "names": json.dumps(dict(names)),
        "sponsor_id": sponsor_id,
        "author_id": author_id,
        "at": at,
    }
    return (await connection.execute(statement, values)).scalar_one_or_none()


async def promotion_id(connection: AsyncConnection, code: str) -> int | None:
    """The number of the promotion with this code."""
    statement = text("SELECT promotion_id FROM partners.promotion WHERE code = :code")
    return (await connection.execute(statement, {"code": code})).scalar_one_or_none()


async def ensure_rule(connection: AsyncConnection, code: str, promotion: int) -> RowMapping:
    """The rule of this code, added to the promotion if new: rule_id, promotion_id, and its highest version (0 where it
    has none). Whoever asks holds the releases."""
    await connection.execute(
        text("INSERT INTO partners.rule (promotion_id, code) VALUES (:promotion, :code) ON CONFLICT (code) DO NOTHING"),
        {"promotion": promotion, "code": code},
    )
    statement = text(
        "SELECT rule_id, promotion_id, coalesce((SELECT max(version) FROM partners.rule_version v "
        "                                        WHERE v.rule_id = r.rule_id), 0) AS version "
        "FROM partners.rule r WHERE code = :code"
    )
    return (await connection.execute(statement, {"code": code})).mappings().one()


async def insert_rule_version(
    connection: AsyncConnection,
    *,
    rule_id: int,
    version: int,
    document: str,
    sha256: str,
    valid_from: datetime,
    author_id: int,
    at: datetime,
) -> None:
    """Append a version of a rule."""
    await connection.execute(
        text(
            "INSERT INTO partners.rule_version (rule_id, version, document, sha256, valid_from, author_id, at) "
            "VALUES (:rule_id, :version, :document, :sha256, :valid_from, :author_id, :at)"
        ),
        {
            "rule_id": rule_id, "version": version, "document": document, "sha256": sha256, "valid_from": valid_from,
            "author_id": author_id, "at": at,
        },
    )  # fmt: skip


async def rule_versions(connection: AsyncConnection, codes: Sequence[str]) -> Sequence[RowMapping]:
    """Every version of rules with these codes: code, rule_id, version, document, author_id; in order."""
    statement = text(
        "SELECT code, rule_id, version, document, author_id FROM partners.rule_version JOIN partners.rule "
        "USING (rule_id) WHERE code = ANY (CAST(:codes AS text[])) ORDER BY code, version"
    )
    return (await connection.execute(statement, {"codes": list(codes)})).mappings().all()


# --- Releases -------------------------------------------------------------------------------------------------


async def hold_releases(connection: AsyncConnection) -> None:
    """Hold, until the transaction ends, the right to append to rules and releases."""
    await connection.execute(text("SELECT FROM partners.revision FOR UPDATE"))


async def insert_release(
    connection: AsyncConnection,
    *,
    parent_id: int | None,
    kind: str,
    manifest: str,
    sha256: str,
    effective_from: datetime,
    author_id: int,
    at: datetime,
    approval_id: int | None,
) -> int:
    """Store a release; returns its number."""
    statement = text(
        "INSERT INTO partners.release (parent_id, kind, manifest, sha256, effective_from, author_id, at, approval_id) "
        "VALUES (:parent_id, :kind, :manifest, :sha256, :effective_from, :author_id, :at, :approval_id) "
        "RETURNING release_id"
    )
    values = {
        "parent_id": parent_id, "kind": kind, "manifest": manifest, "sha256": sha256, "effective_from": effective_from,
        "author_id": author_id, "at": at, "approval_id": approval_id,
    }  # fmt: skip
    return int((await connection.execute(statement, values)).scalar_one())


async def insert_release_rules(connection: AsyncConnection, release_id: int, versions: Mapping[str, int]) -> None:
    """Say which versions of which rules a release holds, by rule code."""
    await connection.execute(
        text(
            "INSERT INTO partners.release_rule (release_id, rule_id, version) "
            "SELECT :release_id, rule_id, version "
            "FROM unnest(CAST(:codes AS text[]), CAST(:versions AS int[])) AS t(code, version) "
            "JOIN partners.rule USING (code)"
        ),
        {"release_id": release_id, "codes": list(versions), "versions": list(versions.values())},
    )


async def release(connection: AsyncConnection, release_id: int) -> RowMapping | None:
    """A release, whatever its state: its columns."""
    statement = text("SELECT * FROM partners.release WHERE release_id = :release_id")
    return (await connection.execute(statement, {"release_id": release_id})).mappings().one_or_none()


async def register(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Every release, whatever became of it, the latest first, with its approval's outcome and detail."""
    statement = text(
        "SELECT r.release_id, r.parent_id, r.kind, r.effective_from, r.at, a.approved, a.detail, m.name AS author, "
        "       c.name AS approver, (SELECT count(*) FROM partners.release_rule h WHERE h.release_id = r.release_id) "
        "       AS rules "
        "FROM partners.release r JOIN kit.actor m ON m.actor_id = r.author_id "
        "LEFT JOIN kit.approval a USING (approval_id) LEFT JOIN kit.actor c ON c.actor_id = a.checker_id "
        "ORDER BY r.release_id DESC"
    )
    return (await connection.execute(statement)).mappings().all()


async def binding(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Every release that binds, in order: release_id, effective_from, published_at, manifest, author, approver."""
    return (await connection.execute(text(_BINDING + "ORDER BY r.release_id"))).mappings().all()


async def binding_besides(connection: asyncpg.Connection, known: Collection[int]) -> list[asyncpg.Record]:
    """The same over the raw driver, without those that are known."""
    found: list[asyncpg.Record] = await connection.fetch(
        _BINDING + "AND r.release_id <> ALL ($1::int[]) ORDER BY r.release_id", list(known)
    )
    return found


# --- Budgets --------------------------------------------------------------------------------------------------


async def insert_budget(connection: AsyncConnection, values: Mapping[str, Any]) -> int | None:
    """Add a budget, all columns by name; returns its number, or None where the code is taken."""
    statement = text(
        "INSERT INTO partners.budget (code, unit, currency, scopes, period, zone, on_exceed, sponsor_id, ceiling, "
        "                             author_id, at) "
        "VALUES (:code, :unit, :currency, CAST(:scopes AS text[]), :period, :zone, :on_exceed, :sponsor_id, :ceiling, "
        "        :author_id, :at) ON CONFLICT (code) DO NOTHING RETURNING budget_id"
    )
    return (await connection.execute(statement, dict(values))).scalar_one_or_none()


async def budget_for_update(connection: AsyncConnection, code: str) -> RowMapping | None:
    """The budget of this code, held until the transaction ends; its columns."""
    statement = text("SELECT * FROM partners.budget WHERE code = :code FOR NO KEY UPDATE")
    return (await connection.execute(statement, {"code": code})).mappings().one_or_none()


async def set_ceiling(connection: AsyncConnection, budget_id: int, ceiling: int) -> None:
    """Set what may be used of a budget per scope and period."""
    await connection.execute(
        text("UPDATE partners.budget SET ceiling = :ceiling WHERE budget_id = :budget_id"),
        {"budget_id": budget_id, "ceiling": ceiling},
    )


async def insert_limit(
    connection: AsyncConnection,
    budget_id: int,
    *,
    ceiling: int,
    at: datetime,
    funded: int | None = None,
    payer_id: int | None = None,
    reference: str | None = None,
    author_id: int | None = None,
    approval_id: int | None = None,
) -> None:
    """Append a change of a budget that the caller holds."""
    await connection.execute(
        text(
            "INSERT INTO partners.budget_limit (budget_id, limit_no, ceiling, funded, payer_id, reference, at, "
            "                                   author_id, approval_id) "
            "SELECT :budget_id, coalesce(max(limit_no), 0) + 1, :ceiling, CAST(:funded AS bigint), "
            "       CAST(:payer_id AS int), CAST(:reference AS text), :at, CAST(:author_id AS int), "
            "       CAST(:approval_id AS bigint) "
            "FROM partners.budget_limit WHERE budget_id = :budget_id"
        ),
        {
            "budget_id": budget_id, "ceiling": ceiling, "funded": funded, "payer_id": payer_id,
            "reference": reference, "at": at, "author_id": author_id, "approval_id": approval_id,
        },
    )  # fmt: skip


async def last_limit_no(connection: AsyncConnection, budget_id: int) -> int:
    """How many changes a budget had; 0 of one of money that nobody paid into."""
    statement = text("SELECT coalesce(max(limit_no), 0) FROM partners.budget_limit WHERE budget_id = :budget_id")
    return int((await connection.execute(statement, {"budget_id": budget_id})).scalar_one())


async def is_published_budget(connection: AsyncConnection, code: str) -> bool:
    """Whether a release that was ever published counts against a budget: what is late is decided by old ones, too."""
    statement = text(
        "SELECT EXISTS (SELECT FROM partners.release r JOIN kit.approval a USING (approval_id) WHERE a.approved "
        "AND partners.counts_against(r.manifest, :code))"
    )
    return bool((await connection.execute(statement, {"code": code})).scalar_one())


async def count_scopes(connection: AsyncConnection, budget_id: int) -> int:
    """Of how many scopes (members, cards, outlets) something of a budget was used."""
    statement = text("SELECT count(DISTINCT scope) FROM partners.budget_counter WHERE budget_id = :budget_id")
    return int((await connection.execute(statement, {"budget_id": budget_id})).scalar_one())


async def funding_under(connection: AsyncConnection, budget_id: int, reference: str) -> RowMapping | None:
    """The payment into a budget under a payer's reference: funded, payer_id."""
    statement = text(
        "SELECT funded, payer_id FROM partners.budget_limit WHERE budget_id = :budget_id AND reference = :reference"
    )
    values = {"budget_id": budget_id, "reference": reference}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def budgets(connection: AsyncConnection, codes: Sequence[str] | None = None) -> Sequence[RowMapping]:
    """Budgets by code, all or those of these codes: their columns."""
    statement = text(
        "SELECT * FROM partners.budget WHERE CAST(:codes AS text[]) IS NULL OR code = ANY (CAST(:codes AS text[])) "
        "ORDER BY code"
    )
    return (await connection.execute(statement, {"codes": None if codes is None else list(codes)})).mappings().all()


async def budgets_behind(connection: AsyncConnection, after: int, limit: int) -> Sequence[RowMapping]:
    """Budgets whose numbers are above one, in that order: their columns."""
    statement = text("SELECT * FROM partners.budget WHERE budget_id > :after ORDER BY budget_id LIMIT :limit")
    return (await connection.execute(statement, {"after": after, "limit": limit})).mappings().all()


# From one scope to the next by the key: a counter has no index by what is used, because every charge changes that.
_SCOPES = (
    "WITH RECURSIVE counted (scope, place) AS ("
    "(SELECT scope, 1 FROM partners.budget_counter WHERE budget_id = :budget_id ORDER BY scope LIMIT 1) "
    "UNION ALL SELECT n.scope, c.place + 1 FROM counted c CROSS JOIN LATERAL ("
    "SELECT k.scope FROM partners.budget_counter k WHERE k.budget_id = :budget_id AND k.scope > c.scope "
    "ORDER BY k.scope LIMIT 1) n WHERE c.place < :scopes) "
)
USAGE = (
    f"{_SCOPES}SELECT u.scope, u.period, u.used, CASE WHEN u.period LIKE '%/%' "
    "THEN partners.used_in_window(:budget_id, u.scope, u.period) ELSE u.used END AS counted FROM ("
    "SELECT l.* FROM counted c CROSS JOIN LATERAL ("
    "SELECT k.scope, k.period, k.used FROM partners.budget_counter k WHERE k.budget_id = :budget_id "
    "AND k.scope = c.scope ORDER BY k.period DESC LIMIT :limit) l "
    "ORDER BY l.period DESC, l.used DESC, l.scope LIMIT :limit) u ORDER BY u.period DESC, u.used DESC, u.scope"
)


async def usage(connection: AsyncConnection, budget_id: int, *, limit: int, scopes: int) -> Sequence[RowMapping]:
    """The most used counters of a budget: scope, period, used, and counted, what of it counts against the ceiling; the
    latest period first. Of more scopes than so many only the first are looked at."""
    values = {"budget_id": budget_id, "limit": limit, "scopes": scopes}
    return (await connection.execute(text(USAGE), values)).mappings().all()


async def has_more_scopes(connection: AsyncConnection, budget_id: int, scopes: int) -> bool:
    """Whether something of a budget was used for more scopes than so many."""
    statement = text(f"{_SCOPES}SELECT count(*) >= :scopes FROM counted")
    return bool((await connection.execute(statement, {"budget_id": budget_id, "scopes": scopes + 1})).scalar_one())


async def given_back(connection: AsyncConnection, budget_id: int, since: int) -> int:
    """What returns gave back to a budget in transactions from a number on."""
    statement = text(
        "SELECT CAST(coalesce(-sum(c.amount), 0) AS bigint) FROM ledger.journal j "
        "JOIN partners.budget_charge c USING (holder_id, unit, seq) "
        "WHERE j.xid >= CAST(CAST(:since AS text) AS xid8) AND c.budget_id = :budget_id AND c.amount < 0"
    )
    values = {"since": str(since), "budget_id": budget_id}
    return int((await connection.execute(statement, values)).scalar_one())


async def budget_rows(connection: asyncpg.Connection) -> list[asyncpg.Record]:
    """Every budget over the raw driver: budget_id, code, unit, currency."""
    found: list[asyncpg.Record] = await connection.fetch("SELECT budget_id, code, unit, currency FROM partners.budget")
    return found


async def audit(connection: AsyncConnection) -> Sequence[RowMapping]:
    """What is wrong with budgets and clearing events: rule, holder_id, unit, detail."""
    return (await connection.execute(text("SELECT * FROM partners.audit_promotions()"))).mappings().all()
