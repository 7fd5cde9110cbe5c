"""`tessera household`, `member give, merge, adjust` and `approvals`, as the people at the desk meet them; and the till."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from typer.testing import CliRunner

from gateway import commands
from kit import actors, clock
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import settings
from members import identification, proofs
from members.cards import IssuedCard
from members.identification import MemberRef
from members.sharing import SharingRules
from partners import calls
from partners.agreements import sharing
from partners.agreements.programme import ProgrammeInvalid
from partners.calls import Call
from partners.tills import tills
from partners.tills.tills import Proof
from tests.builders import DAY, NOON, Coalition, a_receipt, found, violations
from tests.partners.purchases.test_purchases import available, record


@pytest.fixture
async def coalition(
    database: Database, vault: Vault, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Coalition]:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_CLOCK", "sandbox")
    monkeypatch.setenv("TESSERA_ACTOR", "olga")
    monkeypatch.setenv("COLUMNS", "250")
    settings.cache_clear()
    made = await found(database, vault)
    await made.add_partner("bakery", return_window_days=0)
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON + DAY)
        await actors.ensure_actor(connection, "olga", [actors.ONBOARDING, actors.OPERATOR_ADMIN])
        await actors.ensure_actor(connection, "mia", [actors.MEMBER_CARE_MAKER])
        await actors.ensure_actor(connection, "carl", [actors.MEMBER_CARE_CHECKER])
    yield made
    assert await violations(database.pool) == []
    await made.desk.close()
    settings.cache_clear()


async def say(*words: str) -> tuple[int, str]:
    """What a command answers; it runs a loop of its own, so not in this one."""
    result = await asyncio.to_thread(CliRunner().invoke, commands.app, list(words))
    assert "Traceback" not in result.output, result.output
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


async def done(*words: str) -> str:
    code, text = await say(*words)
    assert code == 0, text
    return text


async def member_with(coalition: Coalition, points: int) -> IssuedCard:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(points * 100))
    return card


async def test_nothing_is_shared_until_the_programme_says_so(coalition: Coalition) -> None:
    one, other = await member_with(coalition, 100), await coalition.add_member()
    assert (await say("member", "give", one.number, other.number, "--points", "10"))[0] == 2
    assert "TRANSFERS_DISABLED" in (await say("household", "found", one.number))[1]
    assert "Members may transfer points" in await done("programme", "sharing", "--transfers", "--household-size", "2")
    for _ in range(2):
        assert "90 points left" in await done(
            "member", "give", one.number, other.number, "--points", "10", "--key", "birthday"
        )
    assert (await available(coalition, one, 2), await available(coalition, other, 2)) == (90, 10)
    assert (await say("programme", "sharing", "--actor", "mia"))[0] == 2
    assert "Members may not transfer" in await done("programme", "sharing", "--no-transfers")
    assert (await say("member", "give", one.number, other.number, "--points", "10"))[0] == 2


async def test_rules_that_make_no_sense_are_refused(coalition: Coalition, database: Database) -> None:
    async with database.transaction() as connection:
        assert await sharing.rules(connection) == SharingRules()
        admin = await actors.ensure_actor(connection, "olga", [])
        for wrong in ({"household_size": 1}, {"household_size": 21}, {"cooling_days": -1}):
            with pytest.raises(ProgrammeInvalid):
                await sharing.change_rules(connection, **wrong, actor=admin, at=NOON)
        assert await sharing.rules(connection) == SharingRules()


async def test_a_household_spends_at_the_till_and_who_leaves_gets_what_they_did_not_spend(coalition: Coalition) -> None:
    await done("programme", "sharing", "--transfers")
    host, guest = await member_with(coalition, 100), await member_with(coalition, 60)
    host_card = (await done("household", "found", host.number)).rsplit(" ", 1)[-1]
    guest_card = (await done("household", "join", host_card, guest.number)).rsplit(" ", 1)[-1]
    assert "ALREADY_IN_HOUSEHOLD" in (await say("household", "join", host_card, guest.number))[1]
    assert "100 points put" in await done("household", "contribute", host.number)
    assert "50 points put" in await done("household", "contribute", guest.number, "--points", "50")

    caller, at = coalition.callers["bakery"], NOON + 2 * DAY
    desk = coalition.desk
    async with desk.database.transaction() as connection:
        household_id, _ = await identification.holder_of(connection, desk.vault, guest_card)
        await proofs.set_pin(connection, desk.vault, household_id, "4711")
    call = Call(caller, calls.scoped_key(caller, "redeemPoints", "key-of-16-characters"), at, at)
    spent = await tills.redeem_points(
        desk, call, MemberRef(card_number=guest_card), a_receipt(0), points=30, proof=Proof(pin="4711")
    )
    assert (spent.receipt.holder_id, spent.available) == (household_id, 120)

    shown = await done("household", "show", host_card)
    assert "120 points are available" in shown
    assert re.search(rf"│ {host.member_id} +│ [-\d]+ +│ 70 ", shown)
    assert "Left, with 20 points" in await done("household", "leave", guest.number)
    assert await available(coalition, guest, 3) == 30
    assert "NOT_IN_HOUSEHOLD" in (await say("household", "leave", guest.number))[1]
    assert "HOUSEHOLD_COOLING" in (await say("household", "join", host_card, guest.number))[1]
    assert "Left, with 100 points" in await done("household", "leave", host.number)
    assert await available(coalition, host, 3) == 100


async def test_a_merge_takes_two_people_and_so_does_its_end(coalition: Coalition) -> None:
    twice, kept = await member_with(coalition, 100), await member_with(coalition, 7)
    assert (await say("member", "merge", twice.number, kept.number, "--reason", "x"))[0] == 2
    said = await done("member", "merge", twice.number, kept.number, "--reason", "same phone", "--actor", "mia")
    number = said.rsplit(" ", 1)[-1]
    assert "same phone" in await done("approvals", "list")
    assert (await say("approvals", "approve", number, "--actor", "mia"))[0] == 2
    await done("approvals", "approve", number, "--actor", "carl")
    assert "Nothing waits" in await done("approvals", "list")
    assert (await available(coalition, twice, 2), await available(coalition, kept, 2)) == (0, 107)
    said = await done("member", "unmerge", number, "--reason", "two people", "--actor", "mia")
    await done("approvals", "approve", said.rsplit(" ", 1)[-1], "--actor", "carl")
    assert (await available(coalition, twice, 2), await available(coalition, kept, 2)) == (100, 7)


async def test_an_adjustment_takes_two_people(coalition: Coalition) -> None:
    card = await coalition.add_member()
    words = ["member", "adjust", card.number, "--points", "40", "--reason", "GOODWILL", "--issuer", "bakery"]
    assert (await say(*words, "--funder", "somebody", "--actor", "mia"))[0] == 2
    number = (await done(*words, "--actor", "mia")).rsplit(" ", 1)[-1]
    code, text = await say("approvals", "approve", number, "--actor", "mia")
    assert (code, "NOT_PERMITTED" in text) == (2, True)
    await done("approvals", "approve", number, "--actor", "carl")
    taking = ["member", "adjust", card.number, "--points=-15", "--reason", "CORRECTION", "--actor", "mia"]
    declined = (await done(*taking)).rsplit(" ", 1)[-1]
    await done("approvals", "decline", declined, "--actor", "carl")
    await done("approvals", "approve", (await done(*taking)).rsplit(" ", 1)[-1], "--actor", "carl")
    assert await available(coalition, card, 2) == 25
    assert "PROPOSAL_UNKNOWN" in (await say("approvals", "approve", "999", "--actor", "carl"))[1]


async def test_an_agreement_is_not_approved_as_if_it_were_about_a_member(
    coalition: Coalition, server: Server, database_name: str
) -> None:
    number = await coalition.database.pool.fetchval("SELECT approval_id FROM kit.approval WHERE kind = 'AGREEMENT'")
    assert "PROPOSAL_UNKNOWN" in (await say("approvals", "approve", str(number), "--actor", "carl"))[1]


async def test_the_application_cannot_rewrite_what_was_merged_moved_or_adjusted(database: Database) -> None:
    for table in ("members.succession", "members.household_move", "partners.adjustment"):
        for statement in (
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
            f"UPDATE {table} SET {'at' if 'members' in table else 'day'} = now()",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.pool.execute(statement)
