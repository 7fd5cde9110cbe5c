"""The catalogue: what there is of promotions, rules and releases, as people read it. Nothing here decides or writes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import FieldProblem
from partners.promotions import catalogue_store, documents
from partners.promotions.documents import RuleDocument
from partners.promotions.launching import Objective

SUBMITTED, PUBLISHED, DECLINED, SUSPENSION = "SUBMITTED", "PUBLISHED", "DECLINED", "SUSPENSION"


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion; sponsor_id is a partner's number, 0 the operator's. names are in the programme's languages."""

    promotion_id: int
    code: str
    names: Mapping[str, str]
    sponsor_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Drafted:
    """The last version of a rule, who wrote it, and when."""

    document: RuleDocument
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Gate:
    """What a launch is for, where that was said, and what its examination found: minor units of the base currency, and
    what stands against it. cover_minor, what covers obligations, was not kept of the earliest."""

    objective: Objective | None
    gain_minor: int
    cost_minor: int
    break_even_sales_minor: int | None
    obligation_after_minor: int
    cover_minor: int | None
    against: tuple[FieldProblem, ...]


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """A release: what it was made on (0: nothing), what became of it (SUBMITTED, PUBLISHED, DECLINED, SUSPENSION), the
    rules that it holds by code with their version, and what its gate found where its launch was examined."""

    release_id: int
    parent_id: int
    state: str
    sha256: str
    effective_from: datetime
    author: str
    at: datetime
    approver: str | None
    decided_at: datetime | None
    rules: Mapping[str, int]
    gate: Gate | None


async def promotions(
    connection: AsyncConnection,
    *,
    before: int | None,
    limit: int,
    codes: Collection[str] | None = None,
    sponsor_id: int | None = None,
) -> list[Promotion]:
    """Promotions numbered below `before`, the latest first; where codes are given only those and the sponsor's own."""
    rows = await catalogue_store.promotions(
        connection, before=before, limit=limit, codes=codes, sponsor_id=sponsor_id
    )  # fmt: skip
    return [_promotion(row) for row in rows]


async def promotion(connection: AsyncConnection, code: str) -> Promotion | None:
    """The promotion of a code; None where there is none."""
    row = await catalogue_store.promotion(connection, code)
    return None if row is None else _promotion(row)


async def drafted(connection: AsyncConnection, promotion_ids: Sequence[int]) -> dict[int, list[Drafted]]:
    """The rules of promotions by the promotion's number, each in its last version."""
    found: dict[int, list[Drafted]] = {}
    for row in await catalogue_store.latest_rules(connection, promotion_ids):
        document = documents.read(orjson.loads(row.document))
        found.setdefault(row.promotion_id, []).append(Drafted(document, row.author, row.at))
    return found


async def version(connection: AsyncConnection, code: str, number: int) -> Drafted:
    """A version of a rule that there is."""
    row = await catalogue_store.rule_version(connection, code, number)
    return Drafted(documents.read(orjson.loads(row.document)), row.author, row.at)


async def releases(connection: AsyncConnection, *, before: int | None, limit: int) -> list[ReleaseEntry]:
    """Releases numbered below `before`, the latest first."""
    return [_release(row) for row in await catalogue_store.releases(connection, before=before, limit=limit)]


async def release(connection: AsyncConnection, release_id: int) -> ReleaseEntry | None:
    """The release of a number, whatever became of it; None where there is none."""
    row = await catalogue_store.release(connection, release_id)
    return None if row is None else _release(row)


def _promotion(row: Row[Any]) -> Promotion:
    return Promotion(row.promotion_id, row.code, row.names, row.sponsor_id, row.at)


def _release(row: Row[Any]) -> ReleaseEntry:
    state = SUSPENSION
    if row.kind == "PUBLICATION":
        state = {None: SUBMITTED, True: PUBLISHED, False: DECLINED}[row.approved]
    return ReleaseEntry(
        row.release_id, row.parent_id or 0, state, row.sha256, row.effective_from, row.author, row.at, row.approver,
        row.decided_at, dict(zip(row.codes, row.versions, strict=True)), _gate(row.detail or {}),
    )  # fmt: skip


def _gate(detail: Mapping[str, Any]) -> Gate | None:
    if "against" not in detail:
        return None
    against = tuple(FieldProblem(tuple(path), code, message) for path, code, message in detail["against"])
    aim = detail.get("objective")
    objective = None if aim is None else Objective(aim["metric"], aim["target"], date.fromisoformat(aim["due"]))
    return Gate(
        objective, detail["gain_minor"], detail["cost_minor"], detail["break_even_sales_minor"],
        detail["obligation_after_minor"], detail.get("cover_minor"), against,
    )  # fmt: skip
