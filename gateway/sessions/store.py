"""The statements of sessions, sign-in codes, passkeys and staff."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

# --- Sessions -----------------------------------------------------------------------------------------------


async def insert_session(connection: AsyncConnection, values: dict[str, Any]) -> int:
    """Begin a session; returns its number."""
    statement = text(
        "INSERT INTO gateway.session (token_hash, audience, person_id, browser, proved_by, began_at, seen_at, ends_at, "
        "card_id) VALUES (:token_hash, :audience, :person_id, :browser, :proved_by, :now, :now, :ends_at, :card_id) "
        "RETURNING session_id"
    )
    return int((await connection.execute(statement, values)).scalar_one())


async def session_by_hash(
    connection: AsyncConnection, audience: str, token_hash: bytes, now: datetime, seen_after: datetime
) -> RowMapping | None:
    """The session under a token's hash, where it is still good."""
    statement = text(
        "SELECT session_id, person_id, proved_by, began_at, seen_at FROM gateway.session "
        "WHERE token_hash = :token_hash AND audience = :audience AND ended_at IS NULL AND ends_at > :now "
        "AND seen_at > :seen_after"
    )
    values = {"token_hash": token_hash, "audience": audience, "now": now, "seen_after": seen_after}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def touch_session(connection: AsyncConnection, session_id: int, now: datetime) -> None:
    """Note that a session was used."""
    statement = text("UPDATE gateway.session SET seen_at = greatest(seen_at, :now) WHERE session_id = :session_id")
    await connection.execute(statement, {"session_id": session_id, "now": now})


async def end_session_by_hash(
    connection: AsyncConnection, audience: str, token_hash: bytes, now: datetime
) -> RowMapping | None:
    """End the session under a token's hash, if there is one: whose it was, and the card that the device holds."""
    statement = text(
        "UPDATE gateway.session SET ended_at = greatest(began_at, :now) "
        "WHERE token_hash = :token_hash AND audience = :audience AND ended_at IS NULL RETURNING person_id, card_id"
    )
    values = {"token_hash": token_hash, "audience": audience, "now": now}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def write_session_card(connection: AsyncConnection, session_id: int, card_id: int) -> int | None:
    """Note the card that a session's device holds; returns the one that it held before."""
    statement = text(
        "UPDATE gateway.session s SET card_id = :card_id "
        "FROM (SELECT session_id, card_id FROM gateway.session WHERE session_id = :session_id FOR UPDATE) b "
        "WHERE s.session_id = b.session_id RETURNING b.card_id"
    )
    found = (await connection.execute(statement, {"session_id": session_id, "card_id": card_id})).one_or_none()
    return None if found is None else found.card_id


async def end_sessions(
    connection: AsyncConnection, audience: str, person_id: int, now: datetime, *, only: int | None, but: int | None
) -> list[int | None]:
    """End a person's sessions: one of them, all but one, or all; for each the card that its device holds."""
    statement = text(
        "UPDATE gateway.session SET ended_at = greatest(began_at, :now) "
        "WHERE person_id = :person_id AND audience = :audience AND ended_at IS NULL "
        "AND (CAST(:only AS bigint) IS NULL OR session_id = :only) "
        "AND (CAST(:but AS bigint) IS NULL OR session_id <> :but) RETURNING card_id"
    )
    values = {"audience": audience, "person_id": person_id, "now": now, "only": only, "but": but}
    return list((await connection.execute(statement, values)).scalars())


async def sessions_of(
    connection: AsyncConnection, audience: str, person_id: int, now: datetime, seen_after: datetime
) -> Sequence[RowMapping]:
    """A person's sessions that are still good, the one used last first."""
    statement = text(
        "SELECT session_id, browser, proved_by, began_at, seen_at FROM gateway.session "
        "WHERE person_id = :person_id AND audience = :audience AND ended_at IS NULL AND ends_at > :now "
        "AND seen_at > :seen_after ORDER BY seen_at DESC, session_id DESC"
    )
    values = {"audience": audience, "person_id": person_id, "now": now, "seen_after": seen_after}
    return (await connection.execute(statement, values)).mappings().all()


# --- Sign-in codes ------------------------------------------------------------------------------------------


async def take_from_budget(
    connection: AsyncConnection, budget: UUID, now: datetime, fresh_before: datetime, most: int
) -> bool:
    """Count one more code for an address; False where it had as many as it may in the hour since the first."""
    statement = text(
        "INSERT INTO gateway.sign_in_budget AS b (budget, began_at, asked) VALUES (:budget, :now, 1) "
        "ON CONFLICT (budget) DO UPDATE SET "
        "began_at = CASE WHEN b.began_at <= :fresh_before THEN EXCLUDED.began_at ELSE b.began_at END, "
        "asked = CASE WHEN b.began_at <= :fresh_before THEN 1 ELSE b.asked + 1 END "
        "WHERE b.began_at <= :fresh_before OR b.asked < :most RETURNING asked"
    )
    values = {"budget": budget, "now": now, "fresh_before": fresh_before, "most": most}
    return (await connection.execute(statement, values)).one_or_none() is not None


async def insert_sign_in(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """Keep that a browser asked for a code."""
    statement = text(
        "INSERT INTO gateway.sign_in (token_hash, audience, person_id, code_hash, asked_at, ends_at) "
        "VALUES (:token_hash, :audience, :person_id, :code_hash, :now, :ends_at)"
    )
    await connection.execute(statement, values)


async def count_try(
    connection: AsyncConnection, audience: str, token_hash: bytes, now: datetime, most_tries: int
) -> RowMapping | None:
    """Count one more try of a code and return what it is compared with; None where no try is left, or no time."""
    statement = text(
        "UPDATE gateway.sign_in SET tries = tries + 1 "
        "WHERE token_hash = :token_hash AND audience = :audience AND used_at IS NULL AND ends_at > :now "
        "AND tries < :most_tries RETURNING person_id, code_hash"
    )
    values = {"token_hash": token_hash, "audience": audience, "now": now, "most_tries": most_tries}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def use_sign_in(connection: AsyncConnection, token_hash: bytes, now: datetime) -> bool:
    """Use up what a browser asked for; False where that was done."""
    statement = text(
        "UPDATE gateway.sign_in SET used_at = :now WHERE token_hash = :token_hash AND used_at IS NULL RETURNING 1"
    )
    return (await connection.execute(statement, {"token_hash": token_hash, "now": now})).one_or_none() is not None


# --- Staff --------------------------------------------------------------------------------------------------


async def write_staff(connection: AsyncConnection, values: dict[str, Any]) -> bool:
    """Let an actor sign in, or change where codes go; False where the address is another's."""
    statement = text(
        "INSERT INTO gateway.staff (actor_id, address_lookup, sealed_address, language, invitation_hash, "
        "invitation_until) VALUES (:actor_id, :lookup, :sealed_address, :language, :invitation_hash, :until) "
        "ON CONFLICT (actor_id) DO UPDATE SET address_lookup = EXCLUDED.address_lookup, "
        "sealed_address = EXCLUDED.sealed_address, language = EXCLUDED.language, "
        "invitation_hash = EXCLUDED.invitation_hash, invitation_until = EXCLUDED.invitation_until"
    )
    free = text(
        "SELECT NOT EXISTS (SELECT FROM gateway.staff WHERE address_lookup = :lookup AND actor_id <> :actor_id)"
    )
    is_free = bool((await connection.execute(free, values)).scalar_one())
    if is_free:
        await connection.execute(statement, values)
    return is_free


async def staff_by_lookup(connection: AsyncConnection, lookup: UUID) -> RowMapping | None:
    """Staff under the keyed hash of an address."""
    statement = text("SELECT actor_id, sealed_address, language FROM gateway.staff WHERE address_lookup = :lookup")
    return (await connection.execute(statement, {"lookup": lookup})).mappings().one_or_none()


async def staff_by_actor(connection: AsyncConnection, actor_id: int) -> RowMapping | None:
    """Staff by the actor's number."""
    statement = text("SELECT actor_id, sealed_address, language FROM gateway.staff WHERE actor_id = :actor_id")
    return (await connection.execute(statement, {"actor_id": actor_id})).mappings().one_or_none()


async def use_invitation(connection: AsyncConnection, actor_id: int, invitation_hash: bytes, now: datetime) -> bool:
    """Use up an actor's invitation; False where this is none that is good."""
    statement = text(
        "UPDATE gateway.staff SET invitation_hash = NULL, invitation_until = NULL "
        "WHERE actor_id = :actor_id AND invitation_hash = :invitation_hash AND invitation_until > :now RETURNING 1"
    )
    values = {"actor_id": actor_id, "invitation_hash": invitation_hash, "now": now}
    return (await connection.execute(statement, values)).one_or_none() is not None


async def delete_staff(connection: AsyncConnection, actor_id: int) -> bool:
    """Let an actor sign in no more; False where they could not."""
    statement = text("DELETE FROM gateway.staff WHERE actor_id = :actor_id RETURNING 1")
    return (await connection.execute(statement, {"actor_id": actor_id})).one_or_none() is not None


async def all_staff(connection: AsyncConnection) -> Sequence[RowMapping]:
    """The numbers of the actors who may sign in."""
    statement = text("SELECT actor_id, language, invitation_until FROM gateway.staff ORDER BY actor_id")
    return (await connection.execute(statement)).mappings().all()


# --- Passkeys -----------------------------------------------------------------------------------------------


async def insert_challenge(
    connection: AsyncConnection, challenge_hash: bytes, holder_hash: bytes, ceremony: str, ends_at: datetime
) -> None:
    """Keep a challenge that a browser is given."""
    statement = text(
        "INSERT INTO gateway.passkey_challenge (challenge_hash, holder_hash, ceremony, ends_at) "
        "VALUES (:challenge_hash, :holder_hash, :ceremony, :ends_at)"
    )
    values = {
        "challenge_hash": challenge_hash,
        "holder_hash": holder_hash,
        "ceremony": ceremony,
        "ends_at": ends_at,
    }
    await connection.execute(statement, values)


async def take_challenge(
    connection: AsyncConnection, challenge_hash: bytes, holder_hash: bytes, ceremony: str, now: datetime
) -> bool:
    """Take away a challenge that this browser was given; False where there is none that is good."""
    statement = text(
        "DELETE FROM gateway.passkey_challenge WHERE challenge_hash = :challenge_hash AND holder_hash = :holder_hash "
        "AND ceremony = :ceremony AND ends_at > :now RETURNING 1"
    )
    values = {"challenge_hash": challenge_hash, "holder_hash": holder_hash, "ceremony": ceremony, "now": now}
    return (await connection.execute(statement, values)).one_or_none() is not None


async def insert_passkey(connection: AsyncConnection, values: dict[str, Any]) -> bool:
    """Add a passkey; False where it is there already, whoever's it is."""
    statement = text(
        "INSERT INTO gateway.passkey (credential_id, audience, person_id, public_key, sign_count, is_synced, added_at) "
        "VALUES (:credential_id, :audience, :person_id, :public_key, :sign_count, :is_synced, :now) "
        "ON CONFLICT (credential_id) DO NOTHING RETURNING passkey_id"
    )
    return (await connection.execute(statement, values)).one_or_none() is not None


async def lock_passkey(connection: AsyncConnection, audience: str, credential_id: bytes) -> RowMapping | None:
    """A passkey, held until the transaction ends."""
    statement = text(
        "SELECT passkey_id, person_id, public_key, sign_count FROM gateway.passkey "
        "WHERE credential_id = :credential_id AND audience = :audience FOR UPDATE"
    )
    values = {"credential_id": credential_id, "audience": audience}
    return (await connection.execute(statement, values)).mappings().one_or_none()


async def use_passkey(
    connection: AsyncConnection, passkey_id: int, sign_count: int, is_synced: bool, now: datetime
) -> None:
    """Note that a passkey was used."""
    statement = text(
        "UPDATE gateway.passkey SET sign_count = :sign_count, is_synced = :is_synced, "
        "used_at = greatest(added_at, :now) WHERE passkey_id = :passkey_id"
    )
    values = {"passkey_id": passkey_id, "sign_count": sign_count, "is_synced": is_synced, "now": now}
    await connection.execute(statement, values)


async def passkeys_of(connection: AsyncConnection, audience: str, person_id: int) -> Sequence[RowMapping]:
    """A person's passkeys, the first added first."""
    statement = text(
        "SELECT passkey_id, credential_id, is_synced, added_at, used_at FROM gateway.passkey "
        "WHERE person_id = :person_id AND audience = :audience ORDER BY passkey_id"
    )
    return (await connection.execute(statement, {"person_id": person_id, "audience": audience})).mappings().all()


async def delete_passkeys(
    connection: AsyncConnection, audience: str, person_id: int, *, only: int | None = None
) -> int:
    """Remove a person's passkeys, or one of them; how many."""
    statement = text(
        "DELETE FROM gateway.passkey WHERE person_id = :person_id AND audience = :audience "
        "AND (CAST(:only AS bigint) IS NULL OR passkey_id = :only) RETURNING 1"
    )
    values = {"person_id": person_id, "audience": audience, "only": only}
    return len((await connection.execute(statement, values)).all())


async def forget_members(connection: AsyncConnection, limit: int) -> int:
    """Delete sessions, passkeys, codes and calls of members who have left; how many rows."""
    gone = (
        "SELECT m.member_id FROM members.member m WHERE m.status = 'CLOSED' AND m.member_id IN "
        "(SELECT member_id FROM gateway.session WHERE member_id IS NOT NULL "
        "UNION SELECT member_id FROM gateway.passkey WHERE member_id IS NOT NULL "
        "UNION SELECT person_id FROM gateway.sign_in WHERE audience = 'MEMBER' AND person_id IS NOT NULL) "
        "ORDER BY m.member_id LIMIT :limit"
    )
    members = list((await connection.execute(text(gone), {"limit": limit})).scalars())
    deleted = 0
    for table in ("gateway.session", "gateway.passkey", "gateway.sign_in"):
        statement = text(
            f"DELETE FROM {table} WHERE audience = 'MEMBER' AND person_id = ANY (CAST(:members AS bigint[]))"
        )
        deleted += (await connection.execute(statement, {"members": members})).rowcount
    return deleted


# --- Forgetting ---------------------------------------------------------------------------------------------


async def forget(
    connection: AsyncConnection, *, now: datetime, sessions_before: datetime
) -> tuple[int, list[int | None]]:
    """Delete codes, budgets and challenges that are over, and sessions that ended before an instant; how many, and for
    each session the card that its device holds."""
    deleted = 0
    budgets = "began_at <= CAST(:now AS timestamptz) - interval '1 hour'"
    for statement in (
        "DELETE FROM gateway.sign_in WHERE ends_at <= :now RETURNING 1",
        f"DELETE FROM gateway.sign_in_budget WHERE {budgets} RETURNING 1",
        "DELETE FROM gateway.passkey_challenge WHERE ends_at <= :now RETURNING 1",
    ):
        deleted += len((await connection.execute(text(statement), {"now": now})).all())
    ended = text("DELETE FROM gateway.session WHERE least(ended_at, ends_at) < :before RETURNING card_id")
    held = list((await connection.execute(ended, {"before": sessions_before})).scalars())
    return deleted + len(held), held
