"""`tessera mechanics` and `tessera coupons`, as the people of promotions meet them."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from gateway import commands
from kit import actors, clock
from kit.database import APPLICATION_ROLE, Database
from kit.postgres import Server
from kit.secrets import Vault
from kit.settings import settings
from members import enrolment
from members.cards import IssuedCard
from members.consents import ConsentGiven
from members.enrolment import Personal
from partners.coupons import codes, coupons
from partners.mechanics import facts, registry
from tests.builders import DAY, NOON, PROGRAMME, Coalition, found


@pytest.fixture
async def coalition(
    database: Database, vault: Vault, server: Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Coalition]:
    monkeypatch.setenv("DATABASE_URL", server.dsn(database_name, APPLICATION_ROLE))
    monkeypatch.setenv("TESSERA_MASTER_KEY", base64.urlsafe_b64encode(bytes(range(32))).decode())
    monkeypatch.setenv("TESSERA_CLOCK", "sandbox")
    monkeypatch.setenv("TESSERA_ACTOR", "mara")
    monkeypatch.setenv("COLUMNS", "250")
    settings.cache_clear()
    made = await found(database, vault)
    await made.add_partner("bakery")
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON)
        await actors.ensure_actor(connection, "mara", [actors.PROMOTION_MAKER, actors.ONBOARDING])
        await actors.ensure_actor(connection, "paul", [actors.PROMOTION_CHECKER])
    yield made
    await made.desk.close()
    settings.cache_clear()


async def run(*arguments: str, code: int = 0) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, commands.app, list(arguments))
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def written(folder: Path, content: Any) -> str:
    file = folder / "given.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    return str(file)


async def test_a_mechanic_is_proposed_by_one_and_approved_by_another(coalition: Coalition, tmp_path: Path) -> None:
    ladder = {"steps": [{"tier": "FRIEND", "ways": [{"purchases": 2}]}]}
    said = await run("mechanics", "propose", "ladder", "tiers", written(tmp_path, ladder))
    [number] = re.findall(r"Proposal (\d+)", said)
    assert "MECHANIC" in await run("approvals", "list")
    await run("approvals", "approve", number, code=2)
    await run("approvals", "approve", number, "--actor", "paul")
    async with coalition.database.reading() as connection:
        assert (await registry.ladder(connection, at=NOON)).rank("FRIEND") == 1
    told = await run("mechanics", "propose", "event", "visit", written(tmp_path, {"onec": "member"}), code=2)
    assert "this is no such mechanic" in told
    assert "expected a JSON object" in await run(
        "mechanics", "propose", "event", "visit", written(tmp_path, []), code=2
    )
    await run("mechanics", "propose", "event", "visit", written(tmp_path, {}), "--actor", "paul", code=2)


async def test_coupons_are_made_printed_once_and_stopped(coalition: Coalition, tmp_path: Path) -> None:
    batch = {
        "code": "spring", "partner": "bakery", "valid_from": NOON.isoformat(), "expires_at": (NOON + 30 * DAY).isoformat(),
        "honoured_by": ["bakery"], "channel": "FLYER",
    }  # fmt: skip
    await run("coupons", "add", written(tmp_path, batch))
    printed = (await run("coupons", "draw", "spring", "3")).split()
    assert [codes.normal(code) for code in printed] == printed
    assert re.search(r"ISSUED\W+3\b", await run("coupons", "show", "spring"))
    await run("coupons", "stop", "spring")
    await run("coupons", "draw", "nothing", "1", code=2)
    await run("coupons", "add", written(tmp_path, batch | {"kinds": 1}), code=2)
    await run("coupons", "add", written(tmp_path, batch | {"valid_from": "soon"}), code=2)
    await run("coupons", "add", written(tmp_path, batch), code=2)


async def test_stamps_rewards_segments_evidence_and_clubs(coalition: Coalition, tmp_path: Path) -> None:
    card = await coalition.add_member()
    assert "unit 100" in await run("mechanics", "stamps", "coffee", "--description", "ten are a coffee")
    reward = {
        "partner": "bakery", "code": "mug", "names": {"en": "Mug", "ru": "Кружка", "ro": "Cană"}, "points": 100, "stock": 3,
        "valid_from": NOON.isoformat(), "valid_until": (NOON + 30 * DAY).isoformat(), "badges": ["club:bakers"],
    }  # fmt: skip
    await run("mechanics", "reward", written(tmp_path, reward))
    await run("mechanics", "reward", written(tmp_path, reward | {"stocks": 3}), code=2)
    assert "mug" not in await run("mechanics", "orders", "bakery")
    await run("mechanics", "orders", "nobody", code=2)
    await run("mechanics", "segment", "coffee", written(tmp_path, [card.number]))
    await run("mechanics", "segment", "coffee", written(tmp_path, ["1"]), code=2)
    await run("mechanics", "verify", card.number, "LARGE_FAMILY", "--evidence", "CERTIFICATE", "--until", "2027-03-01")
    await run("mechanics", "verify", card.number, "family", "--evidence", "X", "--until", "2027-03-01", code=2)
    await run("mechanics", "invite", card.number, "club:bakers")
    async with coalition.database.reading() as connection:
        seen = await facts.member_facts(
            connection, coalition.vault, PROGRAMME, card.member_id, 1, occurred_at=NOON, at=NOON
        )
    assert seen is not None
    assert (seen.member.segments, seen.member.attributes, seen.member.badges) == (
        ("coffee",), ("LARGE_FAMILY",), ("club:bakers",),
    )  # fmt: skip


# --- What was done is undone --------------------------------------------------------------------------------

TABLES = (
    "partners.coupon", "members.badge", "members.attribute", "members.birth_date_change", "members.personal",
    "kit.audit_trail",
)  # fmt: skip


async def everything(coalition: Coalition) -> dict[str, list[str]]:
    async with coalition.database.reading() as connection:
        return {
            table: sorted((await connection.execute(text(f"SELECT t::text FROM {table} t"))).scalars())
            for table in TABLES
        }


async def refused(coalition: Coalition, expected: str, *arguments: str) -> None:
    """A refusal of one sentence that has written nothing."""
    before = await everything(coalition)
    assert expected in " ".join((await run(*arguments, code=2)).split())
    assert await everything(coalition) == before


async def trail(coalition: Coalition, action: str) -> list[tuple[str, dict[str, Any]]]:
    """Whom an action was done to, with its detail, each by mara."""
    async with coalition.database.reading() as connection:
        found = await connection.execute(
            text("SELECT actor, subject, detail FROM kit.audit_trail WHERE action = :action ORDER BY 1"),
            {"action": action},
        )
        rows = found.all()
    assert {row.actor for row in rows} == {"mara"}
    return [(row.subject, row.detail) for row in rows]


async def of_the_member(coalition: Coalition, card: IssuedCard) -> tuple[tuple[str, ...], tuple[str, ...]]:
    async with coalition.database.reading() as connection:
        seen = await facts.member_facts(
            connection, coalition.vault, PROGRAMME, card.member_id, 1, occurred_at=NOON, at=NOON
        )
    assert seen is not None
    return seen.member.attributes, seen.member.badges


async def a_batch(tmp_path: Path, **more: object) -> None:
    batch = {"code": "spring", "valid_from": NOON.isoformat(), "expires_at": (NOON + 30 * DAY).isoformat()}
    await run("coupons", "add", written(tmp_path, batch | more))


async def test_codes_are_drawn_without_being_issued_and_issued_later(coalition: Coalition, tmp_path: Path) -> None:
    await a_batch(tmp_path, lasts_days=3)
    assert len((await run("coupons", "draw", "spring", "2", "--not-issued")).split()) == 2
    shown = await run("coupons", "show", "spring")
    assert re.search(r"GENERATED\W+2\b", shown)
    assert re.search(r"ISSUED\W+0\b", shown)
    await refused(coalition, "(NOT_PERMITTED)", "coupons", "issue", "spring", "--actor", "paul")
    await refused(coalition, "(COUPON_BATCH_UNKNOWN)", "coupons", "issue", "autumn")
    async with coalition.database.transaction() as connection:
        await clock.set_sandbox(connection, NOON + DAY)
    assert "2 coupons of batch spring are issued." in await run("coupons", "issue", "spring")
    assert re.search(r"ISSUED\W+2\b", await run("coupons", "show", "spring"))
    async with coalition.database.reading() as connection:
        ends = set((await connection.execute(text("SELECT expires_at FROM partners.coupon"))).scalars())
    assert ends == {NOON + 4 * DAY}
    assert await trail(coalition, "COUPONS_ISSUED") == [("coupons:spring", {"count": 2})]
    await refused(coalition, "no code of batch spring waits to be issued", "coupons", "issue", "spring")


async def test_one_coupon_is_made_good_for_nothing_by_its_code(coalition: Coalition, tmp_path: Path) -> None:
    await a_batch(tmp_path)
    one, other = (await run("coupons", "draw", "spring", "2")).split()
    await refused(coalition, "(NOT_PERMITTED)", "coupons", "void", one, "--actor", "paul")
    said = await run("coupons", "void", codes.shown(one).lower())
    assert "The coupon of batch spring is void." in said
    assert one not in said
    async with coalition.database.reading() as connection:
        left = (await connection.execute(text("SELECT code_lookup, state FROM partners.coupon"))).all()
        number = await connection.scalar(text("SELECT coupon_id FROM partners.coupon WHERE state = 4"))
    assert {str(row.code_lookup): row.state for row in left} == {
        str(codes.lookup(coalition.vault, one)): 4, str(codes.lookup(coalition.vault, other)): 1,
    }  # fmt: skip
    assert await trail(coalition, "COUPON_VOIDED") == [("coupons:spring", {"coupon": number})]
    for nothing in (one, codes.draw(), "no code", f"{number}", "1"):
        await refused(coalition, "there is no such coupon, or it is used or void already", "coupons", "void", nothing)


async def test_a_used_coupon_stays_used_and_a_reserved_one_is_voided(coalition: Coalition, tmp_path: Path) -> None:
    await a_batch(tmp_path)
    used, reserved = (await run("coupons", "draw", "spring", "2")).split()
    card = await coalition.add_member()
    at = {"holder_id": card.member_id, "partner_id": 1, "at": NOON, "now": NOON}
    async with coalition.database.transaction() as connection:
        await coupons.redeem(connection, [codes.lookup(coalition.vault, used)], claim=uuid4(), **at)
        await coupons.reserve(connection, [codes.lookup(coalition.vault, reserved)], by=uuid4(), **at)
    await refused(coalition, "it is used or void already", "coupons", "void", used)
    await run("coupons", "void", reserved)
    shown = await run("coupons", "show", "spring")
    assert re.search(r"REDEEMED\W+1\b", shown)
    assert re.search(r"VOID\W+1\b", shown)


async def test_a_word_is_voided_as_one_coupon(coalition: Coalition, tmp_path: Path) -> None:
    await a_batch(tmp_path, kind="GENERIC", word="SUMMER-26")
    assert "spring is void" in await run("coupons", "void", "summer-26")
    assert re.search(r"VOID\W+1\b", await run("coupons", "show", "spring"))


async def test_what_was_found_true_of_a_member_is_withdrawn_and_the_trail_does_not_say_what(
    coalition: Coalition,
) -> None:
    card = await coalition.add_member()
    evidence = ("--evidence", "STUDENT_CARD", "--until", "2027-03-01")
    for attribute in ("STUDENT", "LARGE_FAMILY"):
        await run("mechanics", "verify", card.number, attribute, *evidence)
    withdraw = ("mechanics", "withdraw", card.number, "STUDENT", "--reason")
    await refused(coalition, "(NOT_PERMITTED)", *withdraw, "STUDIES_ENDED", "--actor", "paul")
    await refused(coalition, "(ATTRIBUTE_INVALID)", *withdraw, "left the university")
    await refused(coalition, "(CARD_UNKNOWN)", "mechanics", "withdraw", "1", "STUDENT", "--reason", "STUDIES_ENDED")
    assert "STUDENT holds no more." in await run(*withdraw, "STUDIES_ENDED")
    assert await of_the_member(coalition, card) == (("LARGE_FAMILY",), ())
    assert await trail(coalition, "ATTRIBUTE_WITHDRAWN") == [(f"member:{card.member_id}", {})]
    await refused(coalition, "STUDENT does not hold of this member", *withdraw, "STUDIES_ENDED")


async def test_who_is_put_out_of_a_club_bears_its_badge_no_more_and_may_be_invited_again(coalition: Coalition) -> None:
    card = await coalition.add_member()
    out = ("mechanics", "put-out", card.number, "club:bakers")
    for badge in ("club:bakers", "club:tea"):
        await run("mechanics", "invite", card.number, badge)
    await refused(coalition, "(NOT_PERMITTED)", *out, "--actor", "paul")
    await refused(coalition, "(CARD_UNKNOWN)", "mechanics", "put-out", "1", "club:bakers")
    assert "The member bears club:bakers no more." in await run(*out)
    assert await of_the_member(coalition, card) == ((), ("club:tea",))
    assert await trail(coalition, "CLUB_LEFT") == [(f"member:{card.member_id}", {"badge": "club:bakers"})]
    await refused(coalition, "the member does not bear club:bakers", *out)
    # The sandbox's clock has not moved: an invitation of this instant counts all the same.
    await run("mechanics", "invite", card.number, "club:bakers")
    assert await of_the_member(coalition, card) == ((), ("club:bakers", "club:tea"))


async def test_a_birth_date_that_was_written_wrongly_is_corrected_once(coalition: Coalition) -> None:
    async with coalition.database.transaction() as connection:
        born = await enrolment.enrol(
            connection, coalition.vault, enrolled_by=0, at=NOON, language="en",
            personal=Personal(name="Ada", birth_date=date(1984, 9, 1)), consents=[ConsentGiven("PROGRAMME", "1", NOON)],
        )  # fmt: skip
    correct = ("member", "birth-date", born.card.number, "--born")
    await refused(coalition, "(NOT_PERMITTED)", *correct, "1984-08-01", "--actor", "paul")
    await refused(coalition, "(CARD_UNKNOWN)", "member", "birth-date", "1", "--born", "1984-08-01")
    await refused(coalition, "(BIRTH_DATE_FIXED)", *correct, "1984-03-20")
    await refused(coalition, "(PERSONAL_INVALID)", *correct, "2984-08-01")
    said = await run(*correct, "1984-08-01")
    assert "1984" not in said
    async with coalition.database.reading() as connection:
        told = await enrolment.personal(connection, coalition.vault, born.member_id)
    assert told == Personal(name="Ada", birth_date=date(1984, 8, 1))
    assert await trail(coalition, "BIRTH_DATE_CORRECTED") == [(f"member:{born.member_id}", {})]
    await refused(coalition, "(BIRTH_DATE_FIXED)", *correct, "1984-07-01")
