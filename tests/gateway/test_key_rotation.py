"""P-15: the master key is rotated. Everything is found and read as before, and the old key opens nothing any more."""

from __future__ import annotations

import ast
import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from pydantic import SecretStr
from typer.testing import CliRunner

from gateway import commands, key_rotation, serving
from gateway.charging import choice, tokens
from gateway.webhooks import endpoints
from gateway.webhooks.endpoints import Wanted
from kit import clock, keyring, postgres
from kit.database import APPLICATION_ROLE, Database, connect
from kit.secrets import BadKey, Vault, new_key
from kit.settings import Settings, settings
from members import enrolment, proofs
from members.subscription import subscriptions
from partners.agreements.onboarding import OwnPerson
from tests import builders
from tests.gateway import desk as desks
from tests.gateway import stand
from tests.gateway.desk import Desk
from tests.gateway.test_abuse import code, redeeming
from tests.gateway.test_enrolment_api import ENROL, joining
from tests.gateway.test_privacy import PERSON
from tests.gateway.test_purchase_api import MEMBER, RECORD, REDEEM, by_number, record

OLD, NEW = bytes(range(32)), bytes(range(7, 39))
PACKAGES = ("kit", "ledger", "members", "partners", "settlement", "gateway")
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def owner(server: postgres.Server, database_name: str, database: Database) -> AsyncIterator[Database]:
    """The database with the rights of the schema's owner."""
    async with connect(server.url(database_name, server.superuser)) as opened:
        yield opened


async def rotate(
    owner: Database, master_key: bytes = NEW + OLD, *, batch: int = 3
) -> tuple[int, list[tuple[str, int]]]:
    told: list[tuple[str, int]] = []
    done = await key_rotation.rotate(
        owner, master_key, now=clock.wall, told=lambda part, rows: told.append((part, rows)), batch=batch
    )
    return done, told


async def test_p15_everything_is_found_and_read_as_before_and_what_was_told_stays_readable(
    database: Database, owner: Database, server: postgres.Server, database_name: str
) -> None:
    url, before = server.url(database_name, APPLICATION_ROLE), Vault(OLD)
    coalition = await builders.found(database, before)
    await coalition.add_partner("bakery", return_window_days=0)
    card = await coalition.add_member(name="Ada", phone="+49 30 1234567", email="ada@example.org")
    others = [await coalition.add_member(phone=f"+49 30 99{number:05d}") for number in range(7)]
    async with database.transaction() as connection:
        await proofs.set_pin(connection, before, card.member_id, "4711")
        await enrolment.bind_instrument(
            connection, before, card.member_id, partner_id=coalition.callers["bakery"].partner_id, token="tok-1"
        )
    async with stand.opened(coalition, url) as gateway:
        till = await gateway.till("bakery")
        bought = await record(till, card, stand.receipt("1000.00"))
        seen = await till.ask(MEMBER, ref=by_number(card))
        given = joining(person=PERSON, externalId="K-1")
        joined = await till.ask(ENROL, input=given)
        shown = code(gateway, card)
    await coalition.desk.close()
    async with database.transaction() as connection:
        stripe = choice.of(
            Settings(clock="sandbox", stripe_key=SecretStr("sk_test_1"), stripe_webhook_secrets=SecretStr("whsec_1")),
            before,
        )["stripe"]
        await subscriptions.give_means(
            connection, stripe, card.member_id, token=tokens.sealed(before, "stripe", "cus_1/pm_1"), mark=None,
            text_version="1", at=clock.wall(),
        )  # fmt: skip

        by = OwnPerson(coalition.onboarder, coalition.callers["bakery"].partner_id)
        wanted = Wanted("https://hooks.example.org/", "", ("hold.lapsed",))
        number, secret = await endpoints.add(
            connection, before, by, wanted, is_sandbox=False, at=clock.wall(), now=clock.wall()
        )

    done, told = await rotate(owner)
    async with database.reading() as connection:
        [signs] = await endpoints.signing_secrets(connection, Vault(NEW), number, now=clock.wall())
    assert endpoints.written(signs) == secret
    assert done == sum(dict(told).values()) > 20
    assert set(dict(told)) == set(key_rotation.PARTS)

    after = Vault(NEW + OLD)
    coalition = builders.Coalition(
        database,
        after,
        builders.Desk(database, after, builders.DirectoryCache(database.pool, after)),
        coalition.callers,
    )
    async with stand.opened(coalition, url) as gateway:
        # The token of before is still good: the key that signed it was given over too.
        till = stand.Till(gateway.http, till.token)
        refs = (by_number(card), {"phone": "+49301234567"}, {"instrumentToken": "tok-1"}, {"id": seen["id"]})
        assert {(await till.ask(MEMBER, ref=ref))["id"] for ref in refs} == {seen["id"]}
        assert (await till.ask(MEMBER, ref={"externalId": "K-1"}))["id"] == joined["memberId"]
        # An enrolment that comes again is still the same one, and who is a member is known.
        assert (await till.ask(ENROL, input=given))["memberId"] == joined["memberId"]
        assert (await till.ask(ENROL, input=joining(person=PERSON)))["code"] == "ALREADY_ENROLLED"
        # The phone's codes are made as before, and the PIN is the one that was set.
        assert (await till.ask(REDEEM, input=redeeming(by_number(card), "10", shown)))["transaction"][
            "redeemed"
        ] == "10"
        assert (await till.ask(REDEEM, input=redeeming(by_number(card), "10", {"pin": "4711"})))["transaction"]
        assert (await till.ask(REDEEM, input=redeeming(by_number(card), "10", {"pin": "4712"})))[
            "code"
        ] == "PIN_INVALID"
        found = await till.ask(
            "query($r: TransactionRefInput!) { transaction(ref: $r) { id } }", r={"id": bought["transaction"]["id"]}
        )
        assert found["id"] == bought["transaction"]["id"]
        for other in others:
            assert (await till.ask(MEMBER, ref=by_number(other)))["id"]
        assert (
            await till.ask(
                RECORD,
                input={
                    "idempotencyKey": stand.key(),
                    "member": by_number(await coalition.add_member()),
                    "receipt": stand.receipt(),
                },
            )
        )["transaction"]
    async with database.reading() as connection:
        told_of = await enrolment.personal(connection, after, card.member_id)
    assert told_of is not None
    assert told_of.name == "Ada"
    # What the old key sealed is nowhere any more, and its hashes find nobody.
    for table, column in (
        ("members.card", "sealed_secret"),
        ("members.member_key", "sealed_key"),
        ("partners.partner", "sealed_id_key"),
    ):
        for row in await database.pool.fetch(f"SELECT {column} AS sealed FROM {table}"):
            for context in contexts(table, card):
                with pytest.raises(InvalidTag):
                    before.open(bytes(row["sealed"]), context)
    kept = await database.pool.fetchval("SELECT token FROM members.payment_means WHERE provider = 'stripe'")
    assert tokens.opened(after, "stripe", kept) == "cus_1/pm_1"
    with pytest.raises(InvalidTag):
        tokens.opened(before, "stripe", kept)
    lookups = {row["lookup"] for row in await database.pool.fetch("SELECT lookup FROM members.alias")}
    assert before.lookup("PHONE:0", "49301234567") not in lookups
    assert Vault(NEW).lookup("PHONE:0", "49301234567") not in lookups
    assert after.lookup("PHONE:0", "49301234567") in lookups
    await coalition.desk.close()


def contexts(table: str, card: Any) -> list[str]:
    number = Vault(OLD).lookup("card", card.number)
    return {"members.card": [f"card:{number}"], "members.member_key": [f"member_key:{card.member_id}"],
            "partners.partner": ["partner-id-key:bakery"]}[table]  # fmt: skip


class Stopped(Exception):  # noqa: N818 - it is what it says
    """The machine goes away."""


async def test_a_rotation_that_is_stopped_anywhere_goes_on_and_does_nothing_twice(
    database: Database, owner: Database, server: postgres.Server, database_name: str
) -> None:
    coalition = await builders.found(database, Vault(OLD))
    await coalition.add_partner("bakery")
    members = [await coalition.add_member(phone=f"+49 30 77{number:05d}") for number in range(9)]
    await coalition.desk.close()
    master_key, stops = NEW + OLD, 0

    def tell(part: str, rows: int) -> None:
        raise Stopped

    while True:
        try:
            await key_rotation.rotate(owner, master_key, now=clock.wall, told=tell, batch=2)
            break
        except Stopped:
            stops += 1
            async with database.transaction() as connection:
                with pytest.raises(BadKey, match="unfinished"):
                    await keyring.admit(connection, Vault(master_key), now=clock.wall())
            with pytest.raises(BadKey, match="began with"):
                await rotate(owner, new_key() + OLD)
    assert stops > 15
    vault = Vault(master_key)
    async with database.transaction() as connection:
        await keyring.admit(connection, vault, now=clock.wall())
    lookups = {row["lookup"] for row in await database.pool.fetch("SELECT lookup FROM members.alias")}
    assert lookups == {vault.lookup("PHONE:0", f"493077{number:05d}") for number in range(9)}
    cards = {row["number_lookup"] for row in await database.pool.fetch("SELECT number_lookup FROM members.card")}
    assert cards == {vault.lookup("card", card.number) for card in members}
    rows = await database.pool.fetch("SELECT part, rows, is_done FROM kit.key_rotation")
    assert {row["part"]: row["rows"] for row in rows}["cards"] == 9
    assert all(row["is_done"] for row in rows)
    with pytest.raises(BadKey, match="no new key"):
        await rotate(owner, master_key)


async def test_a_key_is_rotated_again_and_again(database: Database, owner: Database) -> None:
    coalition = await builders.found(database, Vault(OLD))
    card = await coalition.add_member(phone="+49 30 1234567")
    await coalition.desk.close()
    third = bytes(range(100, 132))
    await rotate(owner)
    await rotate(owner, third + NEW + OLD)
    vault = Vault(third + NEW + OLD)
    assert await database.pool.fetchval("SELECT number_lookup FROM members.card") == vault.lookup("card", card.number)
    async with database.reading() as connection:
        told = await enrolment.personal(connection, vault, card.member_id)
        assert told is not None
        assert told.phone == "+49301234567"
    with pytest.raises(InvalidTag):
        Vault(NEW + OLD).open(
            bytes(await database.pool.fetchval("SELECT sealed_key FROM members.member_key")),
            f"member_key:{card.member_id}",
        )


async def test_staff_colleagues_and_their_letters_are_found_after_it(
    database: Database, owner: Database, server: postgres.Server, database_name: str
) -> None:
    url = server.url(database_name, APPLICATION_ROLE)
    coalition = await builders.found(database, Vault(OLD))
    await coalition.add_partner("bakery")
    async with desks.opened(coalition, url) as desk:
        await desk.invite("anna", "anna@example.org")
    await rotate(owner)
    coalition.vault = Vault(NEW + OLD)
    async with desks.opened(coalition, url) as desk:
        assert [to for to, _ in await desk.letters()] == ["anna@example.org"]
        await sign_in(desk)
    await coalition.desk.close()


async def sign_in(desk: Desk) -> None:
    browser = await desk.signed_in("anna@example.org", "/staff")
    assert "Signed in as anna." in (await browser.get("/staff/security")).text


async def test_nobody_serves_with_another_key_or_half_way(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    url = server.url(database_name, APPLICATION_ROLE)
    await serving.check(url, Vault(OLD))
    await serving.check(url, Vault(OLD))
    for wrong, sentence in ((NEW, "not the key"), (NEW + OLD, "rotate-keys")):
        with pytest.raises(BadKey, match=sentence):
            await serving.check(url, Vault(wrong))


async def test_the_application_can_change_no_key_and_no_note_of_them(database: Database) -> None:
    for statement in (
        "UPDATE kit.master_key SET finished_at = now()", "DELETE FROM kit.master_key",
        "INSERT INTO kit.key_rotation VALUES (1, 'x', 0, 0, true)", "UPDATE members.card SET sealed_secret = 'x'",
        "UPDATE members.alias SET lookup = gen_random_uuid()", "UPDATE partners.partner SET sealed_id_key = 'x'",
    ):  # fmt: skip
        with pytest.raises(Exception, match="permission denied"):
            await database.pool.execute(statement)


async def test_the_command_asks_that_nobody_serves_rotates_and_says_how_far_it_is(
    server: postgres.Server, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = server.url(database_name, APPLICATION_ROLE)
    async with connect(url) as database:
        coalition = await builders.found(database, Vault(OLD))
        await coalition.add_member(phone="+49 30 1234567")
        await coalition.desk.close()
    encoded = ",".join(urlsafe_b64encode(key).decode() for key in (NEW, OLD))
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("TESSERA_MIGRATION_URL", server.url(database_name, server.superuser))
    monkeypatch.setenv("TESSERA_MASTER_KEY", encoded)
    settings.cache_clear()
    try:
        async with connect(url) as database:
            await database.pool.fetchval("SELECT 1")
            refused = await asyncio.to_thread(CliRunner().invoke, commands.app, ["rotate-keys"])
            assert refused.exit_code == 2
            assert "stop `tessera serve`" in " ".join(refused.output.split())
        done = await asyncio.to_thread(CliRunner().invoke, commands.app, ["rotate-keys"])
        assert done.exit_code == 0, done.output
        assert "cards: 1" in done.output
        assert "Done: " in done.output
        await serving.check(url, Vault(NEW + OLD))
    finally:
        settings.cache_clear()


def test_a_key_that_is_wrong_or_comes_twice_is_refused() -> None:
    for wrong in (b"", OLD[:31], OLD + OLD, OLD + b"\0" * 32, OLD + NEW[:5]):
        with pytest.raises(BadKey):
            Vault(wrong)
    assert Vault(NEW + OLD).generation == 2
    assert len({Vault(key).check_value() for key in (OLD, NEW, NEW + OLD, OLD + NEW)}) == 4


# --- Nothing is forgotten -----------------------------------------------------------------------------------

GIVEN_OVER = {
    "gateway/oauth/keys.py", "gateway/sessions/staff.py", "gateway/sessions/colleagues.py", "members/cards.py",
    "members/enrolment.py", "members/aliases.py", "members/registrations.py", "partners/agreements/onboarding.py",
    "members/persons.py", "partners/coupons/codes.py", "partners/mechanics/invitations.py", "settlement/packages/keys.py",
    "partners/mechanics/raffles.py",
    "members/subscription/offers.py", "gateway/charging/tokens.py", "gateway/webhooks/endpoints.py",
    "members/rekeying.py", "partners/rekeying.py", "gateway/key_rotation.py",
}  # fmt: skip
SHORT_LIVED = {
    "partners/tills/tills.py": "which coupons a purchase was told with: a retry that comes after a rotation is refused",
    "gateway/sessions/codes.py": "codes of ten minutes, budgets of an hour, and what a browser is recognised by",
    "gateway/person_calls.py": "a retry that comes after a rotation is refused, not done twice",
    "gateway/oauth/endpoints.py": "user codes of ten minutes",
    "gateway/oauth/pages.py": "user codes of ten minutes",
}


def test_whatever_is_sealed_or_hashed_for_good_has_a_part_in_the_rotation() -> None:
    """A module that seals or hashes with the vault and is new here has to be given over too, or say why not."""
    sealing = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if (
                    isinstance(node, ast.Attribute)
                    and node.attr in ("seal", "lookup")
                    and "vault" in ast.unparse(node.value)
                ):
                    sealing.add(path.relative_to(ROOT).as_posix())
    assert sealing <= GIVEN_OVER | SHORT_LIVED.keys()
