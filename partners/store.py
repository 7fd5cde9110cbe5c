"""The partners' statements for what changes rarely: programme, partners, outlets, terminals, agreements."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from typing import Any

import asyncpg
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from partners.mechanics import mechanic_store
from partners.promotions import store as promotion_store
from partners.terms import Programme, SettlementTerms, Terms, VolumeRebate, VolumeTier

_SIGNED = "SELECT g.* FROM partners.agreement g JOIN kit.approval USING (approval_id) WHERE approved"

# --- The programme ------------------------------------------------------------------------------------------


async def programme(connection: AsyncConnection) -> Programme | None:
    """The programme's rules, once it is founded."""
    row = (await connection.execute(text("SELECT * FROM partners.programme"))).mappings().one_or_none()
    if row is None:
        return None
    values = await connection.execute(text("SELECT currency, value_micro FROM partners.point_value"))
    return programme_of(row, {value.currency: value.value_micro for value in values})


async def insert_programme(connection: AsyncConnection, founded: Programme) -> bool:
    """Store the programme's rules; False, and nothing written, where there are some."""
    statement = text(
        "INSERT INTO partners.programme "
        "(id, name, time_zone, base_currency, languages, bill_ceiling_bp, refund_grace_days, notice_days) VALUES (1, "
        ":name, :time_zone, :base_currency, CAST(:languages AS text[]), :bill_ceiling_bp, :refund_grace_days, "
        ":notice_days) "
        "ON CONFLICT (id) DO NOTHING"
    )
    values = {
        "name": founded.name,
        "time_zone": founded.time_zone,
        "base_currency": founded.base_currency,
        "languages": list(founded.languages),
        "bill_ceiling_bp": founded.bill_ceiling_bp,
        "refund_grace_days": founded.refund_grace_days,
        "notice_days": founded.notice_days,
    }
    return (await connection.execute(statement, values)).rowcount == 1


async def insert_point_values(connection: AsyncConnection, values_micro: Mapping[str, int]) -> None:
    """Store what a point is worth at the till, in micro-units per currency."""
    statement = text(
        "INSERT INTO partners.point_value (currency, value_micro) "
        "SELECT * FROM unnest(CAST(:currencies AS text[]), CAST(:values AS bigint[]))"
    )
    values = {"currencies": list(values_micro), "values": list(values_micro.values())}
    await connection.execute(statement, values)


async def bump_revision(connection: AsyncConnection) -> None:
    """Tell every process that what it remembers of partners is out of date."""
    await connection.execute(text("UPDATE partners.revision SET revision = revision + 1"))


# --- Partners, outlets, terminals ---------------------------------------------------------------------------


async def insert_partner(
    connection: AsyncConnection, *, code: str, name: str, sealed_id_key: bytes, at: datetime
) -> int | None:
    """Add an active partner; returns its number, or None where the code is taken."""
    statement = text(
        "INSERT INTO partners.partner (code, name, status, sealed_id_key, created_at) "
        "VALUES (:code, :name, 'ACTIVE', :sealed_id_key, :at) ON CONFLICT (code) DO NOTHING RETURNING partner_id"
    )
    values = {"code": code, "name": name, "sealed_id_key": sealed_id_key, "at": at}
    return (await connection.execute(statement, values)).scalar_one_or_none()


async def partner_id_by_code(connection: AsyncConnection, code: str) -> int | None:
    """The number of the partner with this code."""
    statement = text("SELECT partner_id FROM partners.partner WHERE code = :code")
    return (await connection.execute(statement, {"code": code})).scalar_one_or_none()


async def partner_status_for_update(connection: AsyncConnection, partner_id: int) -> str | None:
    """A partner's status, its row locked until the transaction ends; changes to one partner come one by one."""
    statement = text("SELECT status FROM partners.partner WHERE partner_id = :partner_id FOR NO KEY UPDATE")
    return (await connection.execute(statement, {"partner_id": partner_id})).scalar_one_or_none()


async def set_partner_status(connection: AsyncConnection, partner_id: int, status: str) -> None:
    """Set a partner's status."""
    statement = text("UPDATE partners.partner SET status = :status WHERE partner_id = :partner_id")
    await connection.execute(statement, {"partner_id": partner_id, "status": status})


async def outlet_codes_taken(connection: AsyncConnection, partner_id: int, codes: Sequence[str]) -> list[str]:
    """Which of these codes the partner's outlets already have."""
    statement = text(
        "SELECT code FROM partners.outlet WHERE partner_id = :partner_id "
        "AND code = ANY (CAST(:codes AS text[])) ORDER BY code"
    )
    values = {"partner_id": partner_id, "codes": list(codes)}
    return list((await connection.execute(statement, values)).scalars())


async def insert_outlets(
    connection: AsyncConnection, partner_id: int, outlets: Sequence[tuple[str, str]]
) -> dict[str, int]:
    """Add outlets given as (code, name); returns their numbers by code."""
    statement = text(
        "INSERT INTO partners.outlet (partner_id, code, name) SELECT :partner_id, code, name "
        "FROM unnest(CAST(:codes AS text[]), CAST(:names AS text[])) AS o (code, name) RETURNING code, outlet_id"
    )
    values = {
        "partner_id": partner_id,
        "codes": [code for code, _ in outlets],
        "names": [name for _, name in outlets],
    }
    return {row.code: row.outlet_id for row in await connection.execute(statement, values)}


async def set_outlet_places(
    connection: AsyncConnection,
    partner_id: int,
    places: Sequence[tuple[str, str | None, str | None, int | None, int | None]],
) -> None:
    """Say where outlets are, given as (code, town, street, latitude, longitude) with degrees in millionths."""
    codes, towns, streets, latitudes, longitudes = (list(each) for each in zip(*places, strict=True))
    await connection.execute(
        text(
            "UPDATE partners.outlet o SET town = p.town, street = p.street, latitude_micro = p.latitude, "
            "longitude_micro = p.longitude FROM unnest(CAST(:codes AS text[]), CAST(:towns AS text[]), "
            "CAST(:streets AS text[]), CAST(:latitudes AS int[]), CAST(:longitudes AS int[])) "
            "AS p (code, town, street, latitude, longitude) WHERE o.partner_id = :partner_id AND o.code = p.code"
        ),
        {
            "partner_id": partner_id, "codes": codes, "towns": towns, "streets": streets, "latitudes": latitudes,
            "longitudes": longitudes,
        },
    )  # fmt: skip


async def set_outlet_zone(connection: AsyncConnection, outlet_id: int, time_zone: str | None) -> None:
    """Say which zone's time an outlet's clocks show."""
    statement = text("UPDATE partners.outlet SET time_zone = :time_zone WHERE outlet_id = :outlet_id")
    await connection.execute(statement, {"outlet_id": outlet_id, "time_zone": time_zone})


async def partner_id_by_outlet(connection: AsyncConnection, outlet_id: int) -> int | None:
    """The number of the partner whose outlet this is."""
    statement = text("SELECT partner_id FROM partners.outlet WHERE outlet_id = :outlet_id")
    return (await connection.execute(statement, {"outlet_id": outlet_id})).scalar_one_or_none()


async def partner_id_by_terminal(connection: AsyncConnection, terminal_id: int) -> int | None:
    """The number of the partner whose till this is."""
    statement = text(
        "SELECT o.partner_id FROM partners.terminal t JOIN partners.outlet o USING (outlet_id) "
        "WHERE t.terminal_id = :terminal_id"
    )
    return (await connection.execute(statement, {"terminal_id": terminal_id})).scalar_one_or_none()


async def outlet_ids_of(connection: AsyncConnection, partner_id: int) -> set[int]:
    """The numbers of a partner's outlets."""
    statement = text("SELECT outlet_id FROM partners.outlet WHERE partner_id = :partner_id")
    return set((await connection.execute(statement, {"partner_id": partner_id})).scalars())


async def outlet_id_by_code(connection: AsyncConnection, partner_id: int, code: str) -> int | None:
    """The number of a partner's outlet with this code."""
    statement = text("SELECT outlet_id FROM partners.outlet WHERE partner_id = :partner_id AND code = :code")
    values = {"partner_id": partner_id, "code": code}
    return (await connection.execute(statement, values)).scalar_one_or_none()


async def terminals_taken(connection: AsyncConnection, terminals: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """Which of these terminals, given as (outlet_id, code), are there already."""
    statement = text(
        "SELECT outlet_id, code FROM partners.terminal JOIN "
        "unnest(CAST(:outlet_ids AS int[]), CAST(:codes AS text[])) AS t (outlet_id, code) "
        "USING (outlet_id, code) ORDER BY outlet_id, code"
    )
    found = await connection.execute(statement, _terminal_arrays(terminals))
    return [(row.outlet_id, row.code) for row in found]


async def insert_terminals(
    connection: AsyncConnection, terminals: Sequence[tuple[int, str]]
) -> dict[tuple[int, str], int]:
    """Add active terminals given as (outlet_id, code); returns their numbers by the same."""
    statement = text(
        "INSERT INTO partners.terminal (outlet_id, code, status) SELECT outlet_id, code, 'ACTIVE' "
        "FROM unnest(CAST(:outlet_ids AS int[]), CAST(:codes AS text[])) AS t (outlet_id, code) "
        "RETURNING outlet_id, code, terminal_id"
    )
    added = await connection.execute(statement, _terminal_arrays(terminals))
    return {(row.outlet_id, row.code): row.terminal_id for row in added}


def _terminal_arrays(terminals: Sequence[tuple[int, str]]) -> dict[str, Any]:
    return {
        "outlet_ids": [outlet_id for outlet_id, _ in terminals],
        "codes": [code for _, code in terminals],
    }


async def terminal_id_by_code(connection: AsyncConnection, outlet_id: int, code: str) -> int | None:
    """The number of an outlet's terminal with this code."""
    statement = text("SELECT terminal_id FROM partners.terminal WHERE outlet_id = :outlet_id AND code = :code")
    values = {"outlet_id": outlet_id, "code": code}
    return (await connection.execute(statement, values)).scalar_one_or_none()


async def terminal_status_for_update(connection: AsyncConnection, terminal_id: int) -> str | None:
    """A terminal's status, its row locked until the transaction ends."""
    statement = text("SELECT status FROM partners.terminal WHERE terminal_id = :terminal_id FOR NO KEY UPDATE")
    return (await connection.execute(statement, {"terminal_id": terminal_id})).scalar_one_or_none()


async def set_terminal_status(connection: AsyncConnection, terminal_id: int, status: str) -> None:
    """Set a terminal's status."""
    statement = text("UPDATE partners.terminal SET status = :status WHERE terminal_id = :terminal_id")
    await connection.execute(statement, {"terminal_id": terminal_id, "status": status})


async def partners_in_brief(connection: AsyncConnection) -> Sequence[RowMapping]:
    """Every partner by code: partner_id, code, name, status, and how many outlets and terminals it has."""
    statement = text(
        "SELECT partner_id, p.code, p.name, p.status, "
        "count(DISTINCT outlet_id) AS outlets, count(terminal_id) AS terminals "
        "FROM partners.partner p LEFT JOIN partners.outlet USING (partner_id) "
        "LEFT JOIN partners.terminal USING (outlet_id) GROUP BY partner_id ORDER BY p.code"
    )
    return (await connection.execute(statement)).mappings().all()


# --- Agreements ---------------------------------------------------------------------------------------------


async def next_version(connection: AsyncConnection, partner_id: int) -> int:
    """The number of a partner's next agreement version; whoever asks holds the partner's row."""
    statement = text("SELECT coalesce(max(version), 0) + 1 FROM partners.agreement WHERE partner_id = :partner_id")
    return int((await connection.execute(statement, {"partner_id": partner_id})).scalar_one())


async def insert_agreement(connection: AsyncConnection, values: Mapping[str, Any]) -> int:
    """Store a proposed version, all columns by name; returns its terms_id."""
    columns = [*values]
    rows = ", ".join(f"CAST(:{name} AS jsonb)" if name in _JSON else f":{name}" for name in columns)
    statement = text(f"INSERT INTO partners.agreement ({', '.join(columns)}) VALUES ({rows}) RETURNING terms_id")
    return int((await connection.execute(statement, _with_json(values))).scalar_one())


async def agreement(connection: AsyncConnection, terms_id: int) -> RowMapping | None:
    """A version, whatever its state: its columns."""
    statement = text("SELECT * FROM partners.agreement WHERE terms_id = :terms_id")
    return (await connection.execute(statement, {"terms_id": terms_id})).mappings().one_or_none()


async def has_approved_agreement(connection: AsyncConnection, partner_id: int) -> bool:
    """Whether any version of this partner was ever approved."""
    statement = text(
        "SELECT EXISTS (SELECT FROM partners.agreement JOIN kit.approval USING (approval_id) "
        "WHERE partner_id = :partner_id AND approved)"
    )
    return bool((await connection.execute(statement, {"partner_id": partner_id})).scalar_one())


async def signed_terms(connection: AsyncConnection) -> list[Terms]:
    """Every approved version of every partner."""
    return [terms_of(row) for row in (await connection.execute(text(_SIGNED))).mappings()]


async def agreements_of(connection: AsyncConnection, partner_id: int) -> Sequence[RowMapping]:
    """A partner's versions in order, each with who made and who decided it: columns, maker, checker, approved."""
    statement = text(
        "SELECT g.*, m.name AS maker, c.name AS checker, a.approved, a.decided_at "
        "FROM partners.agreement g JOIN kit.approval a USING (approval_id) JOIN kit.actor m ON m.actor_id = maker_id "
        "LEFT JOIN kit.actor c ON c.actor_id = checker_id WHERE partner_id = :partner_id ORDER BY version"
    )
    return (await connection.execute(statement, {"partner_id": partner_id})).mappings().all()


# --- The directory, read over the raw driver ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DirectoryRows:
    """All that a process remembers of partners, as rows of one revision."""

    revision: int
    programme: Programme | None
    partners: Sequence[asyncpg.Record]
    outlets: Sequence[asyncpg.Record]
    terminals: Sequence[asyncpg.Record]
    terms: Sequence[Terms]
    releases: Sequence[asyncpg.Record]  # besides those that were known
    budgets: Sequence[asyncpg.Record]
    calendars: Sequence[asyncpg.Record]
    holdouts: Sequence[asyncpg.Record]


async def revision(connection: asyncpg.Connection) -> int:
    """The number that every change of partners moves on."""
    return int(await connection.fetchval("SELECT revision FROM partners.revision"))


async def directory_rows(connection: asyncpg.Connection, known_releases: Collection[int] = ()) -> DirectoryRows:
    """Partners, outlets, terminals, approved agreements, budgets, and releases that are not known yet, as they were
    together, at one revision."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        rules = await connection.fetchrow("SELECT * FROM partners.programme")
        point_values = await connection.fetch("SELECT currency, value_micro FROM partners.point_value")
        signed = await connection.fetch(_SIGNED)
        return DirectoryRows(
            revision=await revision(connection),
            programme=programme_of(rules, dict(point_values)) if rules else None,
            partners=await connection.fetch(
                "SELECT partner_id, code, name, status, sealed_id_key, (SELECT max(b.ends_at) FROM partners.brake b "
                "WHERE b.partner_id = p.partner_id AND b.lifted_at IS NULL) AS paused_until "
                "FROM partners.partner p ORDER BY code"
            ),
            outlets=await connection.fetch(
                "SELECT outlet_id, partner_id, code, name, town, street, latitude_micro, longitude_micro, time_zone "
                "FROM partners.outlet"
            ),
            terminals=await connection.fetch("SELECT terminal_id, outlet_id, code, status FROM partners.terminal"),
            terms=[terms_of(row) for row in signed],
            releases=await promotion_store.binding_besides(connection, known_releases),
            budgets=await promotion_store.budget_rows(connection),
            calendars=await mechanic_store.versions(connection, "CALENDAR"),
            holdouts=await mechanic_store.versions(connection, "HOLDOUT"),
        )


async def partner_ids(connection: AsyncConnection) -> list[int]:
    """The numbers of all partners."""
    return list((await connection.execute(text("SELECT partner_id FROM partners.partner"))).scalars())


# --- Rows as values -------------------------------------------------------------------------------------------


def programme_of(row: RowMapping | asyncpg.Record, point_value_micro: Mapping[str, int]) -> Programme:
    """The programme of a row of partners.programme."""
    return Programme(
        name=row["name"],
        time_zone=row["time_zone"],
        base_currency=row["base_currency"],
        languages=tuple(row["languages"]),
        bill_ceiling_bp=row["bill_ceiling_bp"],
        refund_grace_days=row["refund_grace_days"],
        point_value_micro=point_value_micro,
        notice_days=row["notice_days"],
    )


def terms_of(row: RowMapping | asyncpg.Record) -> Terms:
    """The terms of a row of partners.agreement."""
    bonus = row["tier_bonus_bp"]
    return Terms(
        terms_id=row["terms_id"],
        partner_id=row["partner_id"],
        version=row["version"],
        valid_from=row["valid_from"],
        currency=row["currency"],
        earn_rate_bp=row["earn_rate_bp"],
        fund_price_micro=row["fund_price_micro"],
        service_price_micro=row["service_price_micro"],
        reimbursement_price_micro=row["reimbursement_price_micro"],
        funding=row["funding"],
        return_window_days=row["return_window_days"],
        expiry_months=row["expiry_months"],
        bill_share_bp=row["bill_share_bp"],
        return_policy=row["return_policy"],
        tier_bonus_bp=json.loads(bonus) if isinstance(bonus, str) else bonus,
        hold_minutes=row["hold_minutes"],
        role=row["role"],
        hybrid_fund_micro=row["hybrid_fund_micro"],
        breakage_share_bp=row["breakage_share_bp"],
        earn_kinds=tuple(row["earn_kinds"]),
        never_earn_classes=tuple(row["never_earn_classes"]),
        never_earn_categories=tuple(row["never_earn_categories"]),
        earns_on_tax=row["earns_on_tax"],
        unpayable_kinds=tuple(row["unpayable_kinds"]),
        minimum_money_minor=row["minimum_money_minor"],
        returns_in_proportion=row["returns_in_proportion"],
    )


def settlement_terms_of(row: RowMapping | asyncpg.Record) -> SettlementTerms:
    """What settlement alone needs of a row of partners.agreement."""
    given = {name: row[name] for name in _SETTLEMENT}
    given["volume_tiers"] = tuple(VolumeTier(*step) for step in row["volume_tiers"])
    given["volume_rebates"] = tuple(VolumeRebate(*step) for step in row["volume_rebates"])
    return SettlementTerms(**given)


_SETTLEMENT = tuple(field.name for field in fields(SettlementTerms))
_JSON = ("tier_bonus_bp", "volume_tiers", "volume_rebates")


def _with_json(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps([astuple(step) for step in value] if isinstance(value, tuple) else value)
        if name in _JSON
        else value
        for name, value in values.items()
    }
