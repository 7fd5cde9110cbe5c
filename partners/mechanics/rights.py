"""Rights: what a member may have without money, an escort or a lounge, so many times; what is left, and its use.

A code is one right in the whole coalition. A partner honours what was given there, and what a rule of the release in
force gives there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import fingerprint
from partners.directory import Partner
from partners.mechanics import grant_store, right_store
from partners.outcomes import KEY_REUSED, rejection
from partners.promotions.documents import GrantEntitlement, RuleDocument
from partners.promotions.releases import Release


class EntitlementUsed(Rejection):
    """The member has no such right that this partner honours, or none left."""

    code = "ENTITLEMENT_USED"
    retryable = True


@dataclass(frozen=True, slots=True)
class Right:
    """How many of one right a member has left; ends_at is when the first of them ends, None where none does."""

    code: str
    left: int
    ends_at: datetime | None


@dataclass(frozen=True, slots=True)
class Honoured:
    """What a partner honours: whatever was given there, and these codes wherever they were."""

    partner_id: int
    codes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Use:
    """That a till has a member use a right: where, and which of the partner's clients says so."""

    member_id: int
    right: str
    client_id: int
    outlet_id: int
    terminal_id: int | None


def honoured(release: Release, partner: Partner) -> Honoured:
    """What a partner honours under a release. A rule that has ended still says where its rights are good."""
    codes = {
        rule.effect.entitlement
        for rule in release.rules
        if isinstance(rule.effect, GrantEntitlement) and _works_at(rule, partner.code)
    }
    return Honoured(partner.partner_id, frozenset(codes))


def title(release: Release, code: str, language: str) -> str:
    """What a rule that everybody sees calls the right, in a language; empty where none gives it."""
    found = sorted(
        (rule.code, rule.title.of(language))
        for rule in release.rules
        if isinstance(rule.effect, GrantEntitlement) and rule.effect.entitlement == code and rule.visible == "everyone"
    )
    return found[0][1] if found else ""


async def left(
    connection: AsyncConnection, member_id: int, *, here: Honoured | None = None, at: datetime
) -> list[Right]:
    """The rights that a member has left at an instant, by code: all of them, or those that a partner honours."""
    rows = [row for row in await right_store.left(connection, member_id, at) if here is None or _is_good(row, here)]
    return [_right(code, [row for row in rows if row.code == code]) for code in sorted({row.code for row in rows})]


async def use(connection: AsyncConnection, wanted: Use, *, here: Honoured, key: UUID, at: datetime) -> tuple[int, bool]:
    """Use one of a member's rights, the one that ends first, once under a key; how many are left of it here, and
    whether an earlier call used it.

    Rejects ENTITLEMENT_USED, IDEMPOTENCY_KEY_REUSED.
    """
    content = fingerprint(
        "right", str(wanted.member_id), wanted.right, str(wanted.outlet_id), str(wanted.terminal_id or "")
    )
    # Two calls under one key: the second waits here, and hears of the first.
    await grant_store.lock(connection, wanted.member_id)
    earlier = await right_store.fingerprint_of(connection, key)
    if earlier is not None and earlier != content:
        raise rejection(KEY_REUSED)
    if earlier is None:
        rows = [row for row in await right_store.left(connection, wanted.member_id, at) if _is_good(row, here)]
        for row in (row for row in rows if row.code == wanted.right):
            # Of somebody merged into the member it may go back in this moment: then the next one.
            if await right_store.use_one(connection, row.holder_id, row.code, row.cause):
                break
        else:
            raise EntitlementUsed("the member has no such right left that is good here")
        written = await right_store.insert_use(
            connection,
            {
                "holder_id": row.holder_id, "code": row.code, "cause": row.cause, "member_id": wanted.member_id,
                "partner_id": here.partner_id, "client_id": wanted.client_id, "outlet_id": wanted.outlet_id,
                "terminal_id": wanted.terminal_id, "at": at, "idem_key": key, "fingerprint": content,
            },
        )  # fmt: skip
        if not written:
            raise rejection(KEY_REUSED)
    found = await left(connection, wanted.member_id, here=here, at=at)
    return next((one.left for one in found if one.code == wanted.right), 0), earlier is not None


def _works_at(rule: RuleDocument, partner: str) -> bool:
    named: Collection[str] = rule.where.partners
    return (not named or partner in named) and partner not in rule.where.exclude_partners


def _is_good(row: right_store.Left, here: Honoured) -> bool:
    return row.partner_id == here.partner_id or row.code in here.codes


def _right(code: str, rows: list[right_store.Left]) -> Right:
    ends = [row.expires_at for row in rows if row.expires_at is not None]
    return Right(code, sum(row.left for row in rows), min(ends, default=None))
