"""The members' statements. Private to this package."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from members.aliases import Alias


class Fetches(Protocol):
    """What the hot path needs of raw asyncpg: a pool or one of its connections."""

    async def fetch(self, query: str, *args: Any) -> list[Any]: ...


# A card, an alias or a number stands for the member whom the last row of its own member's succession names.
_LAST_SUCCESSION = """
    LEFT JOIN LATERAL (
      SELECT x.member_id, x.survivor_id FROM members.succession x WHERE x.member_id = {own} ORDER BY x.seq DESC LIMIT 1
    ) s ON true
    JOIN members.member m ON m.member_id = coalesce(s.survivor_id, {own})
"""
_OF_CARD = _LAST_SUCCESSION.format(own="c.member_id")
_RECOGNISED = """
    c.card_id, c.status AS card_status, m.member_id, m.status AS member_status, m.tier, m.language,
    s.member_id AS issued_to
"""

# --- Recognising --------------------------------------------------------------------------------------------

# LIMIT: planned once and not for each number of cards; see FEW in partners/mechanics/fact_store.py.
_CARDS_BY_LOOKUP = """
    SELECT w.lookup AS number_lookup, r.card_id, r.card_status, r.member_id, r.member_status, r.tier, r.language,
           r.issued_to
    FROM (SELECT lookup FROM unnest($1::uuid[]) AS lookup LIMIT cardinality($1::uuid[])) w
    CROSS JOIN LATERAL members.recognised(w.lookup) r
"""


async def cards_by_lookup(source: Fetches, lookups: Sequence[UUID]) -> dict[UUID, Any]:
    """Cards with their members by keyed hash of the number, in one query."""
    return {row["number_lookup"]: row for row in await source.fetch(_CARDS_BY_LOOKUP, lookups)}


_CARD = f"SELECT {_RECOGNISED} FROM members.card c {_OF_CARD}"
_CARD_BY_LOOKUP = text(f"{_CARD} WHERE c.number_lookup = :lookup")
_CARD_BY_ID = text(f"{_CARD} WHERE c.card_id = :card_id")


async def card_by_lookup(connection: AsyncConnection, lookup: UUID) -> Row[Any] | None:
    """The card with its member under a keyed hash of the number."""
    return (await connection.execute(_CARD_BY_LOOKUP, {"lookup": lookup})).one_or_none()


async def card_by_id(connection: AsyncConnection, card_id: int) -> Row[Any] | None:
    """A card with its member."""
    return (await connection.execute(_CARD_BY_ID, {"card_id": card_id})).one_or_none()


_MEMBER = """
    m.member_id, m.status AS member_status, m.tier, m.language, NULL::bigint AS card_id, NULL AS card_status,
    s.member_id AS issued_to
"""
_MEMBER_BY_ID = text(f"""
    SELECT {_MEMBER} FROM (SELECT CAST(:member_id AS bigint) AS member_id) n
    {_LAST_SUCCESSION.format(own="n.member_id")}
""")
_MEMBER_BY_ALIAS = text(f"""
    SELECT {_MEMBER} FROM members.alias a {_LAST_SUCCESSION.format(own="a.member_id")}
    WHERE a.kind = :kind AND a.partner_id = :partner_id AND a.lookup = :lookup
""")


async def member_by_id(connection: AsyncConnection, member_id: int) -> Row[Any] | None:
    """The member whom a number stands for."""
    return (await connection.execute(_MEMBER_BY_ID, {"member_id": member_id})).one_or_none()


async def member_by_alias(connection: AsyncConnection, alias: Alias) -> Row[Any] | None:
    """The member whom an alias names."""
    given = {"kind": alias.kind, "partner_id": alias.partner_id, "lookup": alias.lookup}
    return (await connection.execute(_MEMBER_BY_ALIAS, given)).one_or_none()


# --- Enrolling ----------------------------------------------------------------------------------------------


async def insert_members(
    connection: AsyncConnection,
    member_ids: Sequence[int],
    languages: Sequence[str],
    status: str,
    at: datetime,
    enrolled_by: int,
) -> None:
    """Write new members of one status."""
    await connection.execute(
        text("""
            INSERT INTO members.member (member_id, status, enrolled_at, enrolled_by, language)
            SELECT t.member_id, :status, :at, :enrolled_by, t.language
            FROM unnest(CAST(:member_ids AS bigint[]), CAST(:languages AS text[])) AS t(member_id, language)
        """),
        {
            "member_ids": list(member_ids),
            "languages": list(languages),
            "status": status,
            "at": at,
            "enrolled_by": enrolled_by,
        },
    )


async def activate_member(
    connection: AsyncConnection, member_id: int, language: str, at: datetime, enrolled_by: int
) -> bool:
    """Make an anonymous member an active one; False where it is not anonymous (any more)."""
    found = await connection.execute(
        text("""
            UPDATE members.member
            SET status = 'ACTIVE', enrolled_at = :at, enrolled_by = :enrolled_by, language = :language
            WHERE member_id = :member_id AND status = 'ANONYMOUS'
            RETURNING member_id
        """),
        {"member_id": member_id, "language": language, "at": at, "enrolled_by": enrolled_by},
    )
    return found.one_or_none() is not None


async def insert_personal(
    connection: AsyncConnection, member_ids: Sequence[int], sealed_keys: Sequence[bytes], sealed: Sequence[bytes]
) -> None:
    """Write members' own keys and what is sealed with them."""
    ids = list(member_ids)
    await connection.execute(
        text("""
            INSERT INTO members.member_key (member_id, sealed_key)
            SELECT * FROM unnest(CAST(:member_ids AS bigint[]), CAST(:sealed_keys AS bytea[]))
        """),
        {"member_ids": ids, "sealed_keys": list(sealed_keys)},
    )
    await connection.execute(
        text("""
            INSERT INTO members.personal (member_id, sealed)
            SELECT * FROM unnest(CAST(:member_ids AS bigint[]), CAST(:sealed AS bytea[]))
        """),
        {"member_ids": ids, "sealed": list(sealed)},
    )


async def update_personal(connection: AsyncConnection, member_id: int, sealed: bytes) -> None:
    """Replace what is sealed with a member's own key."""
    await connection.execute(
        text("UPDATE members.personal SET sealed = :sealed WHERE member_id = :member_id"),
        {"member_id": member_id, "sealed": sealed},
    )


async def insert_aliases(connection: AsyncConnection, aliases: Sequence[tuple[int, Alias]]) -> set[Alias]:
    """Write aliases of members; those that are written. One that somebody has already is left out."""
    # In one order for everyone, so that two enrolments that share aliases wait for each other instead of deadlocking.
    ordered = sorted(aliases, key=lambda pair: (pair[1].kind, pair[1].partner_id, pair[1].lookup))
    found = await connection.execute(
        text("""
            INSERT INTO members.alias (kind, partner_id, lookup, member_id)
            SELECT * FROM unnest(CAST(:kinds AS text[]), CAST(:partner_ids AS int[]), CAST(:lookups AS uuid[]),
                                 CAST(:member_ids AS bigint[]))
            ON CONFLICT DO NOTHING
            RETURNING kind, partner_id, lookup
        """),
        {
            "kinds": [alias.kind for _, alias in ordered],
            "partner_ids": [alias.partner_id for _, alias in ordered],
            "lookups": [alias.lookup for _, alias in ordered],
            "member_ids": [member_id for member_id, _ in ordered],
        },
    )
    return {Alias(row.kind, row.partner_id, row.lookup) for row in found}


async def sealed_personal(connection: AsyncConnection, member_id: int) -> Row[Any] | None:
    """A member's sealed key and sealed personal data, where both are there."""
    found = await connection.execute(
        text("""
            SELECT k.sealed_key, p.sealed FROM members.member_key k JOIN members.personal p USING (member_id)
            WHERE k.member_id = :member_id
        """),
        {"member_id": member_id},
    )
    return found.one_or_none()


# --- Cards --------------------------------------------------------------------------------------------------


async def insert_cards(
    connection: AsyncConnection,
    member_ids: Sequence[int],
    lookups: Sequence[UUID],
    last_fours: Sequence[str],
    sealed_secrets: Sequence[bytes],
    at: datetime,
) -> dict[UUID, int]:
    """Write cards; their ids by keyed hash. One whose number is taken is left out."""
    found = await connection.execute(
        text("""
            INSERT INTO members.card (number_lookup, last_four, member_id, status, status_at, sealed_secret, issued_at)
            SELECT t.lookup, t.last_four, t.member_id, 'ACTIVE', :at, t.sealed_secret, :at
            FROM unnest(CAST(:lookups AS uuid[]), CAST(:last_fours AS text[]), CAST(:member_ids AS bigint[]),
                        CAST(:sealed_secrets AS bytea[])) AS t(lookup, last_four, member_id, sealed_secret)
            ON CONFLICT (number_lookup) DO NOTHING
            RETURNING number_lookup, card_id
        """),
        {
            "lookups": list(lookups),
            "last_fours": list(last_fours),
            "member_ids": list(member_ids),
            "sealed_secrets": list(sealed_secrets),
            "at": at,
        },
    )
    return {row.number_lookup: row.card_id for row in found}


async def cards_of(connection: AsyncConnection, member_id: int) -> Sequence[Row[Any]]:
    """A member's own cards as a list shows them."""
    found = await connection.execute(
        text("""
            SELECT card_id, last_four, status, status_at, issued_at FROM members.card WHERE member_id = :member_id
            ORDER BY (status = 'ACTIVE') DESC, card_id DESC
        """),
        {"member_id": member_id},
    )
    return found.all()


async def change_card_status(connection: AsyncConnection, card_id: int, status: str, at: datetime) -> None:
    """Give an active card another status; one that is not active keeps its own."""
    await connection.execute(
        text("""
            UPDATE members.card SET status = :status, status_at = :at WHERE card_id = :card_id AND status = 'ACTIVE'
        """),
        {"card_id": card_id, "status": status, "at": at},
    )


async def card_and_code_use(
    connection: AsyncConnection, card_id: int, step: int, *, most_wrong: int, since: datetime
) -> Row[Any] | None:
    """A card with what its rotating code is made of, whether the code of a step has been used, and whether so many
    wrong ones were shown in a window that began after an instant."""
    found = await connection.execute(
        text(f"""
            SELECT c.card_id, m.member_id, c.status AS card_status, c.number_lookup, c.sealed_secret,
                   EXISTS (SELECT FROM members.code_use u WHERE u.card_id = c.card_id AND u.step = :step) AS is_used,
                   EXISTS (SELECT FROM members.guess g WHERE g.kind = 'CODE' AND g.subject = c.card_id
                             AND g.wrong >= :most_wrong AND g.began_at > :since) AS is_locked
            FROM members.card c {_OF_CARD} WHERE c.card_id = :card_id
        """),
        {"card_id": card_id, "step": step, "most_wrong": most_wrong, "since": since},
    )
    return found.one_or_none()


async def card_secret(connection: AsyncConnection, card_id: int) -> bytes:
    """The sealed secret of a card that is there."""
    found = await connection.execute(
        text("SELECT sealed_secret FROM members.card WHERE card_id = :card_id"), {"card_id": card_id}
    )
    return bytes(found.scalar_one())


# --- The PIN ------------------------------------------------------------------------------------------------


async def write_pin(connection: AsyncConnection, member_id: int, pin_hash: bytes) -> bool:
    """Write the hash of a new PIN and forget failures; False where there is no such member."""
    found = await connection.execute(
        text("""
            UPDATE members.member SET pin_hash = :pin_hash, pin_failures = 0, pin_tried_at = NULL
            WHERE member_id = :member_id RETURNING member_id
        """),
        {"member_id": member_id, "pin_hash": pin_hash},
    )
    return found.one_or_none() is not None


async def pin_tries(connection: AsyncConnection, member_id: int) -> Row[Any] | None:
    """A member's PIN hash and counted tries, locked until the transaction ends."""
    found = await connection.execute(
        text("""
            SELECT pin_hash, pin_failures, pin_tried_at FROM members.member WHERE member_id = :member_id
            FOR NO KEY UPDATE
        """),
        {"member_id": member_id},
    )
    return found.one_or_none()


async def write_pin_tries(
    connection: AsyncConnection, member_id: int, pin_hash: bytes, failures: int, tried_at: datetime | None
) -> None:
    """Count tries of the PIN that has this hash; of a PIN set meanwhile, nothing."""
    await connection.execute(
        text("""
            UPDATE members.member SET pin_failures = :failures, pin_tried_at = :tried_at
            WHERE member_id = :member_id AND pin_hash = :pin_hash
        """),
        {"member_id": member_id, "pin_hash": pin_hash, "failures": failures, "tried_at": tried_at},
    )


# --- Consents -----------------------------------------------------------------------------------------------


async def lock_member(connection: AsyncConnection, member_id: int) -> bool:
    """Keep others from changing a member until the transaction ends; False where there is none."""
    found = await connection.execute(
        text("SELECT 1 FROM members.member WHERE member_id = :member_id FOR NO KEY UPDATE"), {"member_id": member_id}
    )
    return found.one_or_none() is not None


async def append_consents(connection: AsyncConnection, rows: Sequence[dict[str, Any]]) -> None:
    """Append consents to the ledgers of members who are new or locked, in the order given."""
    columns = ("member_id", "purpose", "partner_id", "granted", "text_version", "channel", "at")
    await connection.execute(
        text("""
            INSERT INTO members.consent (member_id, seq, purpose, partner_id, granted, text_version, channel, at)
            SELECT t.member_id,
                   coalesce((SELECT max(c.seq) FROM members.consent c WHERE c.member_id = t.member_id), 0)
                     + row_number() OVER (PARTITION BY t.member_id ORDER BY t.ord),
                   t.purpose, t.partner_id, t.granted, t.text_version, t.channel, t.at
            FROM unnest(CAST(:member_id AS bigint[]), CAST(:purpose AS text[]), CAST(:partner_id AS int[]),
                        CAST(:granted AS boolean[]), CAST(:text_version AS text[]), CAST(:channel AS text[]),
                        CAST(:at AS timestamptz[])) WITH ORDINALITY
                 AS t(member_id, purpose, partner_id, granted, text_version, channel, at, ord)
        """),
        {column: [row[column] for row in rows] for column in columns},
    )


async def last_consents(connection: AsyncConnection, member_id: int, at: datetime) -> Sequence[Row[Any]]:
    """The last consent of each purpose and partner by an instant."""
    found = await connection.execute(
        text("""
            SELECT DISTINCT ON (purpose, partner_id) purpose, partner_id, granted, text_version, channel, at
            FROM members.consent WHERE member_id = :member_id AND at <= :at
            ORDER BY purpose, partner_id, at DESC, seq DESC
        """),
        {"member_id": member_id, "at": at},
    )
    return found.all()


async def consents_of(connection: AsyncConnection, member_id: int, at: datetime, limit: int) -> Sequence[Row[Any]]:
    """A member's consents by an instant, the latest first."""
    found = await connection.execute(
        text("""
            SELECT purpose, partner_id, granted, text_version, channel, at FROM members.consent
            WHERE member_id = :member_id AND at <= :at ORDER BY at DESC, seq DESC LIMIT :limit
        """),
        {"member_id": member_id, "at": at, "limit": limit},
    )
    return found.all()


# --- Tiers --------------------------------------------------------------------------------------------------


async def members_to_assess(connection: AsyncConnection, after: int, limit: int) -> Sequence[Row[Any]]:
    """The next active members in order of their numbers, with their tiers, locked until the transaction ends."""
    found = await connection.execute(
        text("""
            SELECT member_id, tier, tier_until, enrolled_at FROM members.member
            WHERE member_id > :after AND status = 'ACTIVE' ORDER BY member_id LIMIT :limit
            FOR NO KEY UPDATE
        """),
        {"after": after, "limit": limit},
    )
    return found.all()


async def write_assessments(
    connection: AsyncConnection,
    at: datetime,
    ladder_version: int,
    rows: Sequence[tuple[int, str, datetime | None, int, dict[str, int]]],
) -> None:
    """Record assessments of one instant, given as member, tier, end, points and all facts, and make them the members'
    tiers; a second of one instant is left out."""
    member_ids, tiers, untils, points, facts = zip(*rows, strict=True)
    await connection.execute(
        text("""
            WITH assessed AS (
              INSERT INTO members.tier_assessment (member_id, at, tier, qualifying_points, until, ladder_version, facts)
              SELECT t.member_id, :at, t.tier, t.points, t.until, :ladder_version, CAST(t.facts AS jsonb)
              FROM unnest(CAST(:member_ids AS bigint[]), CAST(:tiers AS text[]), CAST(:points AS bigint[]),
                          CAST(:untils AS timestamptz[]), CAST(:facts AS text[]))
                   AS t(member_id, tier, points, until, facts)
              ON CONFLICT DO NOTHING
              RETURNING member_id, tier, until
            )
            UPDATE members.member m SET tier = a.tier, tier_until = a.until
            FROM assessed a WHERE m.member_id = a.member_id
        """),
        {
            "at": at,
            "ladder_version": ladder_version,
            "member_ids": list(member_ids),
            "tiers": list(tiers),
            "points": list(points),
            "untils": list(untils),
            "facts": [json.dumps(each) for each in facts],
        },
    )


async def last_assessment(connection: AsyncConnection, member_id: int, at: datetime) -> Row[Any] | None:
    """The last assessment of a member by an instant."""
    found = await connection.execute(
        text("""
            SELECT tier, until FROM members.tier_assessment WHERE member_id = :member_id AND at <= :at
            ORDER BY at DESC LIMIT 1
        """),
        {"member_id": member_id, "at": at},
    )
    return found.one_or_none()
