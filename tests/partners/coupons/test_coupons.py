"""Coupons against a real database: one use each, whoever asks at the same time; one sentence for whatever is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from sqlalchemy import text

from kit import actors
from kit.database import Database
from kit.errors import Rejection
from kit.postgres import Server
from kit.secrets import Vault
from ledger import accounts
from partners.coupons import batches, codes, coupons, guesses
from partners.coupons.batches import BatchDraft
from partners.coupons.coupons import Shown
from partners.coupons.guesses import Asking
from partners.mechanics import facts
from tests.builders import PROGRAMME

DAY = timedelta(days=1)
NOON = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
BAKERY, PHARMACY = 7, 8
TABLES = ("coupon", "coupon_batch", "coupon_use", "coupon_count", "coupon_guess")


@dataclass
class Shop:
    """Members with accounts and somebody who makes coupons."""

    database: Database
    vault: Vault
    actor: int
    members: list[int]
    is_unguarded: bool = False

    async def batch(self, code: str = "spring", count: int = 1, **changes: object) -> list[str]:
        """A batch with codes drawn."""
        draft = replace(BatchDraft(code, NOON - DAY, NOON + 30 * DAY), **changes)  # type: ignore[arg-type]
        async with self.database.transaction() as connection:
            await batches.add(connection, self.vault, draft, actor=self.actor, at=NOON)
            if draft.kind == batches.GENERIC:
                return [draft.word or ""]
            return await batches.draw(connection, self.vault, code, count, actor=self.actor, at=NOON)

    def asking(self, member: int = 0, terminal: int | None = 1) -> Asking:
        return Asking(self.members[member], terminal, 100)

    async def look(
        self, *shown: str, member: int = 0, partner: int = BAKERY, at: datetime = NOON, now: datetime = NOON,
        by: UUID | None = None, terminal: int | None = 1,
    ) -> list[Shown]:  # fmt: skip
        return await coupons.look(
            self.database, self.vault, shown, asking=self.asking(member, terminal), partner_id=partner, at=at, now=now,
            by=by,
        )  # fmt: skip

    async def redeem(
        self, *shown: str, member: int = 0, claim: UUID | None = None, by: UUID | None = None, at: datetime = NOON,
        partner: int = BAKERY, proved: bool = False,
    ) -> UUID:  # fmt: skip
        claim = claim or uuid4()
        async with self.database.transaction() as connection:
            await coupons.redeem(
                connection, [self.lookup(one) for one in shown], holder_id=self.members[member], partner_id=partner,
                claim=claim, by=by, at=at, now=at, proved=proved,
            )  # fmt: skip
        return claim

    async def reserve(self, *shown: str, by: UUID, member: int = 0, at: datetime = NOON) -> None:
        async with self.database.transaction() as connection:
            await coupons.reserve(
                connection, [self.lookup(one) for one in shown], holder_id=self.members[member], partner_id=BAKERY,
                by=by, at=at, now=at,
            )  # fmt: skip

    def lookup(self, code: str) -> UUID:
        normal = codes.normal(code) or codes.normal_word(code)
        assert normal is not None
        return codes.lookup(self.vault, normal)

    async def refused(self, work: object, expected: type[Rejection]) -> None:
        """A rejection that has written nothing."""
        before = await self.everything()
        with pytest.raises(expected):
            await work  # type: ignore[misc]
        assert await self.everything() == before

    async def everything(self) -> dict[str, list[str]]:
        async with self.database.reading() as connection:
            return {
                table: sorted((await connection.execute(text(f"SELECT t::text FROM partners.{table} t"))).scalars())
                for table in TABLES
            }


@pytest.fixture
async def shop(database: Database, vault: Vault) -> AsyncIterator[Shop]:
    async with database.transaction() as connection:
        actor = await actors.ensure_actor(connection, "marketer", [actors.PROMOTION_MAKER])
        members = await accounts.open_accounts(connection, 3)
    opened = Shop(database, vault, actor, members)
    yield opened
    if not opened.is_unguarded:
        async with database.reading() as connection:
            assert await facts.audit(connection, PROGRAMME) == []


async def states(shop: Shop, code: str = "spring") -> dict[str, int]:
    async with shop.database.reading() as connection:
        return {name: n for name, n in (await batches.figures(connection, code)).items() if n}


async def test_a_code_is_shown_redeemed_and_gone(shop: Shop) -> None:
    [code] = await shop.batch()
    [seen] = await shop.look(codes.shown(code))
    assert seen.batch == "spring"
    await shop.redeem(code)
    assert await states(shop) == {"REDEEMED": 1, "USES": 1}
    await shop.refused(shop.redeem(code), coupons.CouponInvalid)


async def test_nothing_of_a_code_is_stored_but_its_hash_and_tail(shop: Shop) -> None:
    [code] = await shop.batch()
    stored = str(await shop.everything())
    assert code not in stored
    assert code[:8] not in stored
    assert str(shop.lookup(code)) in stored


async def test_whatever_is_wrong_one_sentence_is_heard(shop: Shop) -> None:
    used, late, foreign, voided = await shop.batch(count=4, honoured_by=(BAKERY,))
    [stopped] = await shop.batch("stopped")
    await shop.redeem(used)
    async with shop.database.transaction() as connection:
        assert await batches.void(connection, shop.vault, voided, actor=shop.actor, at=NOON)
        await batches.stop(connection, "stopped", actor=shop.actor, at=NOON)
    unknown = codes.draw()
    heard = set()
    for shown, partner, at in (
        (used, BAKERY, NOON), (late, BAKERY, NOON + 31 * DAY), (late, BAKERY, NOON - 2 * DAY), (foreign, PHARMACY, NOON),
        (voided, BAKERY, NOON), (stopped, BAKERY, NOON), (unknown, BAKERY, NOON), ("no code", BAKERY, NOON),
        (unknown[:-1] + ("0" if unknown[-1] != "0" else "1"), BAKERY, NOON),
    ):  # fmt: skip
        with pytest.raises(coupons.CouponInvalid) as caught:
            await shop.look(shown, partner=partner, at=at, terminal=None, member=len(heard) % 3)
        heard.add((caught.value.code, caught.value.message, caught.value.retryable))
    assert len(heard) == 1


async def test_of_many_baskets_at_once_exactly_one_redeems(shop: Shop) -> None:
    [code] = await shop.batch()
    done = await asyncio.gather(*[shop.redeem(code, member=n % 3) for n in range(12)], return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["CouponInvalid"] * 11 + ["UUID"]
    assert await states(shop) == {"REDEEMED": 1, "USES": 1}


async def test_without_the_guard_the_same_test_sees_several_redeem(
    shop: Shop, server: Server, database_name: str
) -> None:
    shop.is_unguarded = True
    [code] = await shop.batch()
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    source = await owner.fetchval("SELECT pg_get_functiondef('partners.judge_coupons'::regproc)")
    guard = "WHEN c.state = 3 THEN 'REDEEMED'"
    assert guard in source
    await owner.execute(source.replace(guard, ""))
    await owner.close()
    done = await asyncio.gather(*[shop.redeem(code) for _ in range(6)], return_exceptions=True)
    assert [type(one).__name__ for one in done] == ["UUID"] * 6


@pytest.mark.parametrize(("commits", "second"), [(True, coupons.NO_GOOD), (False, 0)])
async def test_whoever_comes_second_waits_to_see_what_becomes_of_the_first(
    shop: Shop, commits: bool, second: int
) -> None:
    [code] = await shop.batch()
    statement = "SELECT status FROM partners.use_coupons($1, $2, 7, NULL, gen_random_uuid(), NULL, false, $3, $3)"
    given = ([shop.lookup(code)], shop.members[0], NOON)
    async with shop.database.pool.acquire() as one, shop.database.pool.acquire() as other:
        begun = one.transaction()
        await begun.start()
        assert await one.fetchval(statement, *given) == 0
        waiting = asyncio.create_task(other.fetchval(statement, *given))
        blocked = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pid = $1)"
        while not await shop.database.pool.fetchval(blocked, other.get_server_pid()):
            assert not waiting.done()
            await asyncio.wait([waiting], timeout=0.01)
        await (begun.commit() if commits else begun.rollback())
        assert await waiting == second


async def test_all_of_a_basket_or_none(shop: Shop) -> None:
    first, second = await shop.batch(count=2, per_receipt=5)
    await shop.redeem(first)
    await shop.refused(shop.redeem(second, first), coupons.CouponInvalid)
    await shop.redeem(second)


async def test_coupons_that_add_up_count_together_and_savings_need_their_number(shop: Shop) -> None:
    adding = await shop.batch("adding", count=4, per_receipt=3)
    await shop.refused(shop.redeem(*adding), coupons.CouponsTooMany)
    await shop.refused(shop.redeem(adding[0], adding[0]), coupons.CouponsTooMany)
    await shop.redeem(*adding[:3])
    saving = await shop.batch("saving", count=6, per_receipt=6, needed=3)
    await shop.refused(shop.redeem(*saving[:4]), coupons.CouponsTooFew)
    await shop.redeem(*saving)
    assert (await states(shop, "saving"))["USES"] == 6


# --- Reserving ----------------------------------------------------------------------------------------------


async def test_a_reservation_keeps_a_coupon_for_its_basket_until_its_time_is_over(shop: Shop) -> None:
    [code] = await shop.batch()
    mine, other = uuid4(), uuid4()
    await shop.reserve(code, by=mine)
    await shop.reserve(code, by=mine, at=NOON + timedelta(minutes=5))
    later = NOON + timedelta(minutes=19)
    await shop.refused(shop.reserve(code, by=other, at=later), coupons.CouponInvalid)
    await shop.refused(shop.redeem(code, by=other, at=later), coupons.CouponInvalid)
    await shop.reserve(code, by=other, at=NOON + timedelta(minutes=20))
    await shop.refused(shop.redeem(code, by=mine, at=NOON + timedelta(minutes=21)), coupons.CouponInvalid)
    await shop.redeem(code, by=other, at=NOON + timedelta(minutes=21))
    assert await states(shop) == {"REDEEMED": 1, "USES": 1}


async def test_what_is_let_go_is_anybodys_again(shop: Shop) -> None:
    [code] = await shop.batch()
    mine = uuid4()
    await shop.reserve(code, by=mine)
    async with shop.database.transaction() as connection:
        assert await coupons.release(connection, [shop.lookup(code)], by=uuid4()) == 0
        assert await coupons.release(connection, [shop.lookup(code)], by=mine) == 1
        assert await coupons.release(connection, [shop.lookup(code)], by=mine) == 0
    await shop.redeem(code, by=uuid4())


@pytest.mark.parametrize("is_paid", [True, False])
async def test_who_lets_go_too_late_frees_nothing_that_another_basket_has_by_then(shop: Shop, is_paid: bool) -> None:
    """Kept for one basket, paid with at another when that was over, and let go by the first: it was good once more, and
    so on without an end."""
    [code] = await shop.batch()
    mine, other, third = uuid4(), uuid4(), uuid4()
    await shop.reserve(code, by=mine)
    later = NOON + timedelta(minutes=16)
    if is_paid:
        await shop.redeem(code, by=other, at=later)
    else:
        await shop.reserve(code, by=other, at=later)
    async with shop.database.transaction() as connection:
        await coupons.release(connection, [shop.lookup(code)], by=mine)
    await shop.refused(shop.redeem(code, by=third, at=later), coupons.CouponInvalid)
    if not is_paid:
        await shop.redeem(code, by=other, at=later)
    assert await states(shop) == {"REDEEMED": 1, "USES": 1}


async def test_a_purchase_that_is_taken_back_gives_its_coupons_back(shop: Shop) -> None:
    [code] = await shop.batch(total_limit=1)
    claim = await shop.redeem(code)
    async with shop.database.transaction() as connection:
        assert await coupons.give_back(connection, claim) == 1
        assert await coupons.give_back(connection, claim) == 0
    assert await states(shop) == {"ISSUED": 1}
    await shop.redeem(code)


# --- Words for many -----------------------------------------------------------------------------------------


async def test_a_word_is_counted_in_all_and_by_member(shop: Shop) -> None:
    [word] = await shop.batch(kind=batches.GENERIC, word="spring-26", total_limit=3, member_limit=2)
    await shop.redeem(word)
    await shop.redeem(word)
    await shop.refused(shop.redeem(word), coupons.CouponExhausted)
    await shop.redeem(word, member=1)
    await shop.refused(shop.redeem(word, member=2), coupons.CouponExhausted)
    assert (await states(shop))["USES"] == 3


async def test_of_many_at_once_a_word_takes_no_more_than_its_limit(shop: Shop) -> None:
    [word] = await shop.batch(kind=batches.GENERIC, word="spring-26", total_limit=5)
    done = await asyncio.gather(*[shop.redeem(word, member=n % 3) for n in range(16)], return_exceptions=True)
    assert sorted(type(one).__name__ for one in done) == ["CouponExhausted"] * 11 + ["UUID"] * 5
    counted = await shop.database.pool.fetchval("SELECT used FROM partners.coupon_count WHERE holder_id = 0")
    assert counted == 5 == (await states(shop))["USES"]


async def test_without_the_guard_a_word_takes_more_than_its_limit(
    shop: Shop, server: Server, database_name: str
) -> None:
    [word] = await shop.batch(kind=batches.GENERIC, word="spring-26", total_limit=5)
    shop.is_unguarded = True
    owner = await asyncpg.connect(server.dsn(database_name, server.superuser))
    for function, guard in (
        ("count_coupons", "WHERE n.used + EXCLUDED.used <= n.most"),
        (
            "weigh_coupons",
            "IF status = 0 AND b.limited AND b.new > 0 AND partners.coupons_left(b.batch_id, p_holder, p_at) < b.new THEN",
        ),
    ):
        source = await owner.fetchval(f"SELECT pg_get_functiondef('partners.{function}'::regproc)")
        assert guard in source
        await owner.execute(source.replace(guard, "IF false THEN" if guard.startswith("IF") else ""))
    await owner.execute("ALTER TABLE partners.coupon_count DROP CONSTRAINT coupon_count_check")
    await owner.close()
    done = await asyncio.gather(*[shop.redeem(word) for _ in range(8)], return_exceptions=True)
    assert [type(one).__name__ for one in done] == ["UUID"] * 8


async def test_a_word_is_counted_when_it_is_reserved_and_comes_back_when_that_is_over(shop: Shop) -> None:
    [word] = await shop.batch(kind=batches.GENERIC, word="spring-26", total_limit=1)
    mine = uuid4()
    await shop.reserve(word, by=mine)
    await shop.refused(shop.redeem(word, member=1), coupons.CouponExhausted)
    await shop.redeem(word, by=mine)
    await shop.refused(shop.redeem(word, member=1), coupons.CouponExhausted)
    [other] = await shop.batch("other", kind=batches.GENERIC, word="other-26", total_limit=1)
    await shop.reserve(other, by=uuid4())
    await shop.redeem(other, member=1, at=NOON + timedelta(minutes=15))
    counted = await shop.database.pool.fetch("SELECT used FROM partners.coupon_count WHERE holder_id = 0")
    assert [row["used"] for row in counted] == [1, 1]


# --- Coupons that lie with a member -------------------------------------------------------------------------


async def test_a_purchase_grants_a_coupon_for_the_next_one_once(shop: Shop) -> None:
    await shop.batch("next", count=1, bound_to=batches.MEMBER, lasts_days=14)
    cause = uuid4()
    async with shop.database.transaction() as connection:
        batch = await batches.of_code(connection, "next")
        drawn = coupons.draw(shop.vault, [batch, batch], at=NOON)
        assert await coupons.grant(connection, drawn, holder_id=shop.members[0], cause=cause) == 2
        again = coupons.draw(shop.vault, [batch, batch], at=NOON)
        assert await coupons.grant(connection, again, holder_id=shop.members[0], cause=cause) == 0
        held = await coupons.held(connection, shop.members[0], at=NOON)
        assert await coupons.held(connection, shop.members[0], at=NOON + 14 * DAY) == []
    assert [(one.batch, one.tail, one.expires_at) for one in held] == [
        ("next", code[-3:], NOON + 14 * DAY) for code in drawn.codes
    ]
    ref = coupons.ref_for(shop.vault, BAKERY, held[0].coupon_id)
    [by_number] = await shop.look(ref)
    for member, partner in ((1, BAKERY), (0, PHARMACY)):
        with pytest.raises(coupons.CouponInvalid):
            await shop.look(ref, member=member, partner=partner)
    [by_code] = await shop.look(drawn.codes[0])
    assert by_number == by_code
    with pytest.raises(coupons.CouponInvalid):
        await shop.look(drawn.codes[0], member=1)
    await shop.refused(shop.redeem(drawn.codes[0], member=1), coupons.CouponInvalid)
    await shop.redeem(drawn.codes[0])
    async with shop.database.transaction() as connection:
        assert await coupons.take_granted(connection, cause) == 1
    await shop.refused(shop.redeem(drawn.codes[1]), coupons.CouponInvalid)


async def test_a_purchase_here_is_a_coupon_at_a_partner_that_only_honours(shop: Shop) -> None:
    """Cobranding: the bakery gives what the pharmacy takes, and nobody else."""
    await shop.batch("camp", count=1, bound_to=batches.MEMBER, honoured_by=(PHARMACY,))
    async with shop.database.transaction() as connection:
        drawn = coupons.draw(shop.vault, [await batches.of_code(connection, "camp")], at=NOON)
        await coupons.grant(connection, drawn, holder_id=shop.members[0], cause=uuid4())
    await shop.refused(shop.redeem(*drawn.codes), coupons.CouponInvalid)
    await shop.redeem(*drawn.codes, partner=PHARMACY)


# --- Guessing -----------------------------------------------------------------------------------------------


async def test_who_guesses_is_told_nothing_any_more_and_others_are(shop: Shop) -> None:
    [code] = await shop.batch()
    for _ in range(guesses.MOST["MEMBER"]):
        with pytest.raises(coupons.CouponInvalid):
            await shop.look(codes.draw())
    await shop.refused(shop.look(code), guesses.CouponsLimited)
    assert await shop.look(code, member=1)
    assert await shop.look(code, now=NOON + guesses.WINDOW)
    for member in (1, 2):
        for _ in range(guesses.MOST["MEMBER"]):
            with pytest.raises(coupons.CouponInvalid):
                await shop.look("no code", member=member)
    await shop.refused(shop.look(code, now=NOON + timedelta(minutes=1)), guesses.CouponsLimited)
    trail = await shop.database.pool.fetch(
        "SELECT subject FROM kit.audit_trail WHERE action = 'COUPONS_GUESSED' ORDER BY subject"
    )
    assert [row["subject"] for row in trail] == [
        *sorted(f"member:{member}" for member in shop.members), "terminal:1",
    ]  # fmt: skip


async def test_a_slip_of_the_finger_counts_as_a_guess_without_a_look_into_the_coupons(shop: Shop) -> None:
    with pytest.raises(coupons.CouponInvalid):
        await shop.look("no code", terminal=None)
    counted = await shop.database.pool.fetch("SELECT kind, wrong FROM partners.coupon_guess ORDER BY kind")
    assert [tuple(row) for row in counted] == [("CLIENT", 1), ("MEMBER", 1)]


async def test_a_batch_that_is_guessed_at_takes_a_proof_until_it_is_calm(shop: Shop) -> None:
    good, *bad = await shop.batch(count=22)
    async with shop.database.transaction() as connection:
        for code in bad:
            assert await batches.void(connection, shop.vault, code, actor=shop.actor, at=NOON) == "spring"
    for number, code in enumerate(bad):
        with pytest.raises(coupons.CouponInvalid):
            await shop.look(code, member=number % 3, terminal=None)
    await shop.refused(shop.redeem(good), coupons.CouponProofRequired)
    later = NOON + timedelta(minutes=5)
    await shop.redeem(good, proved=True, at=NOON)
    [other] = await shop.batch("calm")
    await shop.redeem(other, at=later)


# --- Batches ------------------------------------------------------------------------------------------------


async def test_what_is_drawn_and_not_issued_is_good_for_nothing(shop: Shop) -> None:
    await shop.batch(lasts_days=3)
    async with shop.database.transaction() as connection:
        [code] = await batches.draw(connection, shop.vault, "spring", 1, actor=shop.actor, at=NOON, issued=False)
    await shop.refused(shop.redeem(code), coupons.CouponInvalid)
    async with shop.database.transaction() as connection:
        assert await batches.issue(connection, "spring", actor=shop.actor, at=NOON + DAY) == 1
        assert await batches.issue(connection, "spring", actor=shop.actor, at=NOON + DAY) == 0
    await shop.refused(shop.redeem(code, at=NOON + 4 * DAY), coupons.CouponInvalid)
    await shop.redeem(code, at=NOON + 3 * DAY)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "Spring!"}, {"kind": "MANY"}, {"expires_at": NOON - DAY}, {"lasts_days": 0}, {"per_receipt": 0},
        {"needed": 2}, {"total_limit": 0}, {"channel": "flyer"}, {"word": "spring-26"}, {"kind": "GENERIC"},
        {"kind": "GENERIC", "word": "spring-26", "bound_to": "MEMBER"}, {"kind": "GENERIC", "word": "abc"},
    ],
)  # fmt: skip
async def test_a_batch_that_cannot_be_is_refused(shop: Shop, wrong: dict[str, object]) -> None:
    await shop.refused(shop.batch(**wrong), batches.CouponBatchInvalid)  # type: ignore[arg-type]


async def test_a_code_of_a_batch_and_a_word_are_taken_once(shop: Shop) -> None:
    await shop.batch(kind=batches.GENERIC, word="spring-26")
    await shop.refused(shop.batch(), batches.CouponBatchExists)
    await shop.refused(shop.batch("other", kind=batches.GENERIC, word="SPRING-26"), batches.CouponBatchExists)
    await shop.refused(shop.batch("third", count=0), batches.CouponBatchInvalid)


async def test_only_who_holds_the_role_makes_coupons(shop: Shop) -> None:
    async with shop.database.transaction() as connection:
        other = await actors.ensure_actor(connection, "other", [actors.ONBOARDING])
    shop.actor = other
    await shop.refused(shop.batch(), actors.NotPermitted)
    with pytest.raises(batches.CouponBatchUnknown):
        await states(shop, "nothing")
