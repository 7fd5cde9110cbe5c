"""Statements of giving members' secrets over to the next master key. Private to this package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection


async def cards(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next cards: card_id, number_lookup, sealed_secret."""
    statement = text(
        "SELECT card_id, number_lookup, sealed_secret FROM members.card WHERE card_id > :after "
        "ORDER BY card_id LIMIT :limit FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_cards(
    connection: AsyncConnection, card_ids: Sequence[int], lookups: Sequence[UUID], sealed: Sequence[bytes]
) -> None:
    """Give cards other hashes and secrets."""
    statement = text("""
        UPDATE members.card c SET number_lookup = n.lookup, sealed_secret = n.sealed
        FROM unnest(CAST(:card_ids AS bigint[]), CAST(:lookups AS uuid[]), CAST(:sealed AS bytea[]))
             AS n(card_id, lookup, sealed)
        WHERE c.card_id = n.card_id
    """)
    given = {"card_ids": list(card_ids), "lookups": list(lookups), "sealed": list(sealed)}
    await connection.execute(statement, given)


async def aliases(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """All aliases of the next members: kind, partner_id, lookup, member_id."""
    statement = text("""
        SELECT kind, partner_id, lookup, member_id FROM members.alias
        WHERE member_id > :after AND member_id <= coalesce(
          (SELECT max(n.member_id) FROM (SELECT DISTINCT member_id FROM members.alias WHERE member_id > :after
                                         ORDER BY member_id LIMIT :limit) n), :after)
        ORDER BY member_id FOR UPDATE
    """)
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_aliases(connection: AsyncConnection, changed: Sequence[tuple[str, int, UUID, UUID]]) -> None:
    """Give aliases other hashes: (kind, partner, old, new)."""
    statement = text("""
        UPDATE members.alias a SET lookup = n.fresh
        FROM unnest(CAST(:kinds AS text[]), CAST(:partner_ids AS int[]), CAST(:old AS uuid[]), CAST(:fresh AS uuid[]))
             AS n(kind, partner_id, old, fresh)
        WHERE a.kind = n.kind AND a.partner_id = n.partner_id AND a.lookup = n.old
    """)
    given = {
        "kinds": [kind for kind, _, _, _ in changed],
        "partner_ids": [partner_id for _, partner_id, _, _ in changed],
        "old": [old for _, _, old, _ in changed],
        "fresh": [fresh for _, _, _, fresh in changed],
    }
    await connection.execute(statement, given)


async def member_keys(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next members' own keys: member_id, sealed_key."""
    statement = text(
        "SELECT member_id, sealed_key FROM members.member_key WHERE member_id > :after "
        "ORDER BY member_id LIMIT :limit FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_member_keys(connection: AsyncConnection, member_ids: Sequence[int], sealed: Sequence[bytes]) -> None:
    """Seal members' own keys otherwise."""
    statement = text("""
        UPDATE members.member_key k SET sealed_key = n.sealed
        FROM unnest(CAST(:member_ids AS bigint[]), CAST(:sealed AS bytea[])) AS n(member_id, sealed)
        WHERE k.member_id = n.member_id
    """)
    await connection.execute(statement, {"member_ids": list(member_ids), "sealed": list(sealed)})


async def enrolments(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """All enrolments of the next members whose fingerprint is still kept: idem_key, fingerprint, member_id."""
    statement = text("""
        SELECT idem_key, fingerprint, member_id FROM members.enrolment
        WHERE fingerprint IS NOT NULL AND member_id > :after AND member_id <= coalesce(
          (SELECT max(n.member_id) FROM (SELECT DISTINCT member_id FROM members.enrolment WHERE member_id > :after
             AND fingerprint IS NOT NULL ORDER BY member_id LIMIT :limit) n), :after)
        ORDER BY member_id FOR NO KEY UPDATE
    """)
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_enrolments(connection: AsyncConnection, changed: Sequence[tuple[UUID, UUID]]) -> None:
    """Give enrolments other fingerprints: (key, new)."""
    statement = text("""
        UPDATE members.enrolment e SET fingerprint = n.fresh
        FROM unnest(CAST(:keys AS uuid[]), CAST(:fresh AS uuid[])) AS n(idem_key, fresh) WHERE e.idem_key = n.idem_key
    """)
    await connection.execute(statement, {"keys": [key for key, _ in changed], "fresh": [fresh for _, fresh in changed]})


async def phones(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """All phones of the next members that have some: member_id, lookup."""
    statement = text("""
        SELECT member_id, lookup FROM members.alias
        WHERE kind = 'PHONE' AND member_id > :after AND member_id <= coalesce(
          (SELECT max(n.member_id) FROM (SELECT DISTINCT member_id FROM members.alias
                                         WHERE kind = 'PHONE' AND member_id > :after
                                         ORDER BY member_id LIMIT :limit) n), :after)
        ORDER BY member_id
    """)
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_persons(connection: AsyncConnection, changed: Sequence[tuple[UUID, UUID]]) -> None:
    """Give persons other hashes: (old, new)."""
    statement = text("""
        UPDATE members.person_once p SET person = n.fresh
        FROM unnest(CAST(:old AS uuid[]), CAST(:fresh AS uuid[])) AS n(old, fresh) WHERE p.person = n.old
    """)
    await connection.execute(statement, {"old": [old for old, _ in changed], "fresh": [fresh for _, fresh in changed]})


async def plan_codes(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next codes of plans and presents: code_no, lookup."""
    statement = text(
        "SELECT code_no, lookup FROM members.plan_code WHERE code_no > :after "
        "ORDER BY code_no LIMIT :limit FOR NO KEY UPDATE"
    )
    return (await connection.execute(statement, {"after": after, "limit": limit})).all()


async def write_plan_codes(connection: AsyncConnection, numbers: Sequence[int], lookups: Sequence[UUID]) -> None:
    """Give codes other hashes."""
    statement = text("""
        UPDATE members.plan_code c SET lookup = n.lookup
        FROM unnest(CAST(:numbers AS bigint[]), CAST(:lookups AS uuid[])) AS n(code_no, lookup)
        WHERE c.code_no = n.code_no
    """)
    await connection.execute(statement, {"numbers": list(numbers), "lookups": list(lookups)})
