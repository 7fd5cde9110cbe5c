"""Spreads a migrated database over the nodes of a Citus cluster, by holder.

Never run by us against Citus: it cannot be installed where this was written. It follows Citus' documented rules, and
the tests check what can be checked without it: that every table and every function of the ledger has its place, the
statements' form, and that the routines that are replaced do on plain PostgreSQL what the replaced ones do. See
docs/decisions/0011-sharding-by-holder.md for what is known not to work yet.

To be run on the coordinator, by the tables' owner, after CREATE EXTENSION citus on every node, after
citus_set_coordinator_host and citus_add_node, in place of `tessera migrate`, now and with every new version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

import migrations
from kit.database import driver_url

HOLDER = "holder_id"
FIRST = "ledger.account"
ROUTINES = Path(__file__).with_suffix(".sql")

# Read inside the calls that run on a shard's node, therefore copied to every node. Never written on the hot path.
REFERENCE = frozenset(
    {
        "ledger.unit", "ledger.account_kind", "ledger.entry_kind", "ledger.cutoff", "partners.stamp_unit",
        "partners.coupon_batch",
    }
)  # fmt: skip

# Whole, on the coordinator, and why. What is not named is either the holder's, by its key, or an error.
_ROLLED = "read and written by the jobs that read the journal, none of which is hot"
_DIRECTORY = "read into the gateway's cache, never inside a call on a shard; its identity columns are too narrow"
LOCAL = {
    "ledger.epoch": _ROLLED,
    "ledger.watermark": _ROLLED,
    "ledger.rollup": _ROLLED,
    "ledger.tally": _ROLLED,
    "ledger.watch_position": _ROLLED,
    "ledger.violation": _ROLLED,
    "ledger.clearance": _ROLLED,
    "partners.receipt_claim": "unique by receipt and unique by idempotency key, which share no column to shard by",
    "partners.programme": _DIRECTORY,
    "partners.point_value": _DIRECTORY,
    "partners.partner": _DIRECTORY,
    "partners.outlet": _DIRECTORY,
    "partners.terminal": _DIRECTORY,
    "partners.agreement": _DIRECTORY,
    "partners.revision": _DIRECTORY,
    "partners.award_pace": "counted per partner and hour",
    "partners.brake": "a partner's, a few a year",
    "partners.mechanic": _DIRECTORY,
    "partners.coupon": "found by the hash of a code that anybody may show; before the holder's call, like the claim",
    "partners.coupon_use": "beside its coupon",
    "partners.coupon_guess": "counted by terminal and client too",
    "partners.event_review": "what waits for somebody to look at it, a few a day",
    "partners.invitation": "found by the hash of a code that anybody may show",
    "partners.reward": "its stock is for all members: before the holder's call, like the claim",
    "partners.promotion": _DIRECTORY,
    "partners.rule": _DIRECTORY,
    "partners.rule_version": _DIRECTORY,
    "partners.release": _DIRECTORY,
    "partners.release_rule": _DIRECTORY,
    "partners.simulation": "asked for by marketers, a few a day, run by the worker",
    "partners.budget": "read beside its counters",
    "partners.budget_limit": "changes of budgets, a few a day",
    "partners.budget_counter": "a budget counts over all members; as slots beside the shards where one row is too slow",
    "partners.budget_window": "beside its counters",
    "partners.raffle": "a few a year, and one list for all members",
    "partners.raffle_closing": "beside its raffle",
    "partners.raffle_drawing": "beside its raffle",
    "partners.allotment": "beside the subscription that it is of",
    "partners.right_use": "unique by idempotency key over all members; some hundreds a day",
    "partners.adjustment": "proposals of the desk, a few a day, found by their approval",
}
_FEES = "invoices, keys and payments are unique over all members; some thousands a day"
LOCAL |= {
    f"members.{name}": _FEES
    for name in (
        "subscription", "subscription_event", "subscription_due", "subscription_seat", "invoice", "invoice_line",
        "invoice_void", "charge_attempt", "charge_outcome", "fee_payment", "credit_note", "fee_refund",
        "fee_refund_done", "offer_use", "offer_period", "gift", "gift_use", "charge_call", "means_setup",
        "means_setup_done",
        "entitlement_grant", "entitlement_block", "payment_means", "renewal_notice", "benefit_use",
        "arrears_letter",
    )
}  # fmt: skip
LOCAL_SCHEMAS = {
    "kit": "the programme's people and settings; one table has a trigger",
    "members": "found by lookups that are unique over all members",
    "settlement": "some thousands of rows a month, summed from the shards",
    "gateway": "the clients and their keys",
    "jobs": "one queue, with a trigger, an enum type and sequences",
    "public": "where the migrations stand",
}


class CitusError(Exception):
    """The database is not one of a Citus cluster. The text is one sentence for a person."""


class PlaceError(Exception):
    """A table that nobody has said the place of."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as Citus sees it: its name with the schema, and the first column of its primary key."""

    name: str
    leading: str | None


@dataclass(frozen=True, slots=True)
class Function:
    """A function's signature with the schema, and the argument that names the one account it touches, if it does."""

    signature: str
    holder_argument: str | None


async def tables(connection: asyncpg.Connection) -> list[Table]:
    """Every table of the database that is ours, partitions left out."""
    return [Table(*row) for row in await connection.fetch(_TABLES)]


async def functions(connection: asyncpg.Connection) -> list[Function]:
    """Every function of the ledger."""
    return [Function(*row) for row in await connection.fetch(_FUNCTIONS)]


def holder_side(found: Iterable[Table]) -> list[str]:
    """The names of the tables that shard by holder: those whose primary key begins with it, but those named above.
    The accounts are first."""
    names = [table.name for table in found if table.leading == HOLDER and table.name not in LOCAL]
    return sorted(names, key=lambda name: (name != FIRST, name))


def place_tables(found: Sequence[Table]) -> list[str]:
    """The statements that give tables their places; none for those that stay whole on the coordinator.

    Raises PlaceError for a table that neither begins its key with the holder nor is named above.
    """
    names = {table.name for table in found}
    by_holder = holder_side(found)
    rest = names - set(by_holder) - REFERENCE - set(LOCAL)
    if lost := sorted(name for name in rest if name.partition(".")[0] not in LOCAL_SCHEMAS):
        raise PlaceError(f"say in migrations/citus.py where on Citus belongs: {', '.join(lost)}")
    references = [f"SELECT create_reference_table({_quoted(name)})" for name in sorted(names & REFERENCE)]
    return references + [_distribute(name) for name in by_holder]


def place_functions(found: Iterable[Function]) -> list[str]:
    """The statements that run a function of one account where the account is, and copy the others to every node."""
    return [
        f"SELECT create_distributed_function({_quoted(function.signature)}"
        + (
            f", {_quoted(function.holder_argument)}, colocate_with := {_quoted(FIRST)})"
            if function.holder_argument
            else ")"
        )
        for function in found
    ]


def distribute(url: str) -> list[str]:
    """Bring the Citus database at a postgresql:// address to date and spread it; returns what changed.

    Raises CitusError before anything is changed, and what the driver raises.
    """
    return asyncio.run(_distribute_all(url))


async def _distribute_all(url: str) -> list[str]:
    connection = await asyncpg.connect(driver_url(url))
    try:
        await _require_citus(connection)
        changed = await migrations.upgrade_async(url)
        async with connection.transaction():
            return changed + await spread(connection)
    finally:
        await connection.close()


async def _require_citus(connection: asyncpg.Connection) -> None:
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'citus')"):
        raise CitusError(
            "this PostgreSQL has no Citus: install it, CREATE EXTENSION citus in this database on every node, "
            "add the nodes, and run `tessera migrate --citus` again"
        )


async def spread(connection: asyncpg.Connection) -> list[str]:
    """Give what has no place yet its place, and put the routines for Citus in; returns what changed.

    In the transaction that the owner's connection is in. May be repeated.
    """
    # Citus refuses to read a reference table that the same transaction distributed in parallel.
    await connection.execute("SET LOCAL citus.multi_shard_modify_mode = 'sequential'")
    placed = {row["name"] for row in await connection.fetch(_PLACED)}
    waiting = [table for table in await tables(connection) if table.name not in placed]
    done = place_tables(waiting)
    for statement in done:
        await connection.execute(statement)
    await connection.execute(ROUTINES.read_text(encoding="utf-8"))
    for statement in place_functions(await functions(connection)):
        await connection.execute(statement)
    return [f"distributed: {len(done)} tables"] if done else []


def _distribute(name: str) -> str:
    colocation = "none" if name == FIRST else FIRST
    return (
        f"SELECT create_distributed_table({_quoted(name)}, {_quoted(HOLDER)}, colocate_with := {_quoted(colocation)})"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_OURS = "nspname NOT IN ('pg_catalog', 'information_schema', 'citus', 'columnar') AND nspname !~ '^pg_'"
_TABLES = f"""
    SELECT n.nspname || '.' || c.relname AS name, a.attname AS leading
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND {_OURS}
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 1
"""  # noqa: S608  nothing of it comes from outside
_FUNCTIONS = """
    SELECT format('%I.%I(%s)', n.nspname, p.proname,
                  array_to_string(ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t), ', ')) AS signature,
           (SELECT p.proargnames[i] FROM generate_series(1, p.pronargs) i
            WHERE p.proargnames[i] = 'p_holder' AND p.proargtypes[i - 1] = 'bigint'::regtype
              AND p.prorettype <> 'bytea'::regtype) AS holder_argument
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'ledger'
    ORDER BY 1
"""
_PLACED = """
    SELECT n.nspname || '.' || c.relname AS name
    FROM pg_dist_partition d JOIN pg_class c ON c.oid = d.logicalrelid JOIN pg_namespace n ON n.oid = c.relnamespace
"""
