"""Two members become one, and two again: cards, points, consents, tiers; decided by two people."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from kit import actors, approvals
from kit.approvals import AlreadyDecided, FourEyesRequired
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import transfers
from members import cards, consents, households, identification, merging, proofs, sharing, standings
from members.consents import ConsentGiven
from members.enrolment import Enrolled, Personal
from members.identification import Identified, MemberRef
from members.sharing import SharingRules
from tests.members.people import AT, accrue, agreed, enrol, spend

DAY = timedelta(days=1)


@dataclass
class Care:
    """The people of member care, and what they do."""

    database: Database
    vault: Vault
    maker: int
    checker: int

    async def member(self, points: int = 0, *, pending: int = 0, personal: Personal | None = None) -> Enrolled:
        enrolled = await enrol(self.database, self.vault, personal)
        async with self.database.transaction() as connection:
            if points:
                await accrue(connection, enrolled.member_id, points, AT)
            if pending:
                await accrue(connection, enrolled.member_id, pending, AT, pending_days=14)
        return enrolled

    async def propose(self, member: int, survivor: int, maker: int | None = None) -> int:
        async with self.database.transaction() as connection:
            return await merging.propose(
                connection,
                member_id=member,
                survivor_id=survivor,
                reason="the same person",
                maker=maker or self.maker,
                at=AT,
            )

    async def propose_end(self, merge: int) -> int:
        async with self.database.transaction() as connection:
            return await merging.propose_end(connection, merge=merge, reason="not so", maker=self.maker, at=AT)

    async def decide(
        self, number: int, *, checker: int | None = None, approved: bool = True, complete: bool = True
    ) -> None:
        async with self.database.transaction() as connection:
            approval = await approvals.read(connection, number)
            sent = await merging.decide(
                connection, approval, checker=checker or self.checker, approved=approved, at=AT, day=AT.date()
            )
        if complete:
            await transfers.complete_all(self.database, sent, at=AT)

    async def merge(self, member: Enrolled, survivor: Enrolled, **how: bool) -> int:
        number = await self.propose(member.member_id, survivor.member_id)
        await self.decide(number, **how)
        return number

    async def end(self, merge: int) -> None:
        await self.decide(await self.propose_end(merge))

    async def balance(self, member: Enrolled) -> tuple[int, int]:
        row = await self.database.pool.fetchrow(
            "SELECT available, pending FROM ledger.account WHERE holder_id = $1", member.member_id
        )
        return tuple(row)

    async def identify(self, **ref: str | int) -> Identified:
        async with self.database.reading() as connection:
            return await identification.identify(
                connection, self.vault, MemberRef(**ref), partner_id=7, terminal_id=None, at=AT
            )

    async def spend(self, member: Enrolled, points: int) -> None:
        async with self.database.transaction() as connection:
            await spend(connection, member.member_id, points, AT)


@pytest.fixture
async def care(database: Database, vault: Vault) -> AsyncIterator[Care]:
    async with database.transaction() as connection:
        maker = await actors.ensure_actor(connection, "mia", [actors.MEMBER_CARE_MAKER, actors.MEMBER_CARE_CHECKER])
        checker = await actors.ensure_actor(connection, "carl", [actors.MEMBER_CARE_CHECKER])
    yield Care(database, vault, maker, checker)
    assert await database.pool.fetch("SELECT * FROM ledger.audit()") == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []


TABLES = (
    "members.succession",
    "members.consent",
    "kit.approval",
    "kit.audit_trail",
    "ledger.journal",
    "ledger.transfer",
)


async def written(care: Care) -> list[object]:
    decided = await care.database.pool.fetchval("SELECT count(*) FROM kit.approval WHERE decided_at IS NOT NULL")
    return [decided, *[await care.database.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]]


async def refused(care: Care, expected: type[Rejection], call) -> None:  # type: ignore[no-untyped-def]
    before = await written(care)
    with pytest.raises(expected):
        await call
    assert await written(care) == before


async def test_cards_aliases_and_numbers_of_the_one_merged_stand_for_the_survivor_and_the_points_go_over(
    care: Care,
) -> None:
    twice = await care.member(100, pending=40, personal=Personal(phone="+49 30 1234567"))
    survivor = await care.member(10)
    await care.merge(twice, survivor)
    for ref in ({"card_number": twice.card.number}, {"phone": "+49 30 1234567"}, {"id": twice.member_id}):
        known = await care.identify(**ref)  # type: ignore[arg-type]
        assert (known.member_id, known.issued_to) == (survivor.member_id, twice.member_id)
    async with care.database.reading() as connection:
        by_card = await identification.identify_cards(care.database.pool, care.vault, [twice.card.number])
        code = proofs.code_for(twice.card.secret, cards.ref(care.vault, twice.card.card_id), proofs.step_at(AT))
        proof = await proofs.verify_code(connection, care.vault, code, at=AT)
    assert by_card[twice.card.number].member_id == proof.member_id == survivor.member_id  # type: ignore[union-attr]
    assert (await care.balance(twice), await care.balance(survivor)) == ((0, 0), (110, 40))
    assert (await care.identify(card_number=survivor.card.number)).issued_to is None


async def test_the_end_of_a_merge_gives_back_what_is_left_of_the_members_own_lots(care: Care) -> None:
    twice, survivor = await care.member(100, pending=40), await care.member(10)
    merge = await care.merge(twice, survivor)
    await care.spend(survivor, 30)
    async with care.database.transaction() as connection:
        await accrue(connection, survivor.member_id, 5, AT)  # on whosever card
    left = sum(await care.balance(survivor))
    await care.end(merge)
    back, kept = await care.balance(twice), await care.balance(survivor)
    assert sum(back) + sum(kept) == left == 125
    assert (back, kept) == ((80, 40), (5, 0)), "the survivor's ten expired first and were spent first"
    known = await care.identify(card_number=twice.card.number)
    assert (known.member_id, known.issued_to) == (twice.member_id, twice.member_id)
    lots = await care.database.pool.fetch(
        "SELECT seq, remaining FROM ledger.lot WHERE holder_id = $1 ORDER BY seq", twice.member_id
    )
    assert [row["seq"] for row in lots] == [1, 2], "they are the lots that were there before"


async def test_the_maker_may_not_approve_and_nothing_is_written(care: Care) -> None:
    twice, survivor = await care.member(100), await care.member()
    number = await care.propose(twice.member_id, survivor.member_id)
    await refused(care, FourEyesRequired, care.decide(number, checker=care.maker))
    await refused(care, actors.NotPermitted, care.propose(twice.member_id, survivor.member_id, maker=care.checker))
    async with care.database.transaction() as connection:
        nobody = await actors.ensure_actor(connection, "otto", [])
    await refused(care, actors.NotPermitted, care.decide(number, checker=nobody))
    await care.decide(number, approved=False)
    assert await care.balance(twice) == (100, 0)
    await refused(care, AlreadyDecided, care.decide(number))


async def test_what_cannot_be_merged_or_ended_is_refused(care: Care) -> None:
    one, other, third = await care.member(10), await care.member(), await care.member()
    await refused(care, merging.MergeInvalid, care.propose(one.member_id, one.member_id))
    rules = SharingRules(is_enabled=True)
    async with care.database.transaction() as connection:
        card = await households.found(connection, care.vault, rules, member_id=third.member_id, at=AT)
    await refused(care, merging.MergeInvalid, care.propose(third.member_id, one.member_id))
    await refused(care, sharing.NotAPerson, care.propose(one.member_id, card.member_id))
    await refused(care, merging.MergeUnknown, care.propose_end(99))
    first, second = (
        await care.propose(one.member_id, other.member_id),
        await care.propose(one.member_id, third.member_id),
    )
    await care.decide(first)
    await refused(care, merging.MergeInvalid, care.propose(one.member_id, other.member_id))
    await refused(care, merging.MergeInvalid, care.decide(second))
    ending, again = await care.propose_end(first), await care.propose_end(first)
    await care.decide(ending)
    await refused(care, merging.MergeOver, care.decide(again))
    await refused(care, merging.MergeOver, care.propose_end(first))
    await refused(care, merging.MergeUnknown, care.propose_end(ending))


async def test_who_was_merged_before_comes_along_and_goes_back_in_the_order_of_time(care: Care) -> None:
    a, b, c = await care.member(100), await care.member(20), await care.member(3)
    first = await care.merge(a, b)
    second = await care.merge(b, c)
    assert (await care.identify(card_number=a.card.number)).member_id == c.member_id
    assert await care.balance(c) == (123, 0)
    await refused(care, merging.MergeOver, care.propose_end(first))
    await care.end(second)
    assert (await care.identify(card_number=a.card.number)).member_id == b.member_id
    assert (await care.balance(b), await care.balance(c)) == ((120, 0), (3, 0))
    await care.end(first)
    assert (await care.identify(card_number=a.card.number)).member_id == a.member_id
    assert (await care.balance(a), await care.balance(b)) == ((100, 0), (20, 0))
    await care.merge(a, c)
    assert (await care.identify(card_number=a.card.number)).member_id == c.member_id


async def test_what_a_crash_left_and_what_comes_late_to_a_merged_member_is_sent_on(care: Care) -> None:
    twice, survivor = await care.member(100), await care.member()
    await care.merge(twice, survivor, complete=False)
    assert (await care.balance(twice), await care.balance(survivor)) == ((0, 0), (0, 0))
    async with care.database.reading() as connection:
        [(_, sender_id, _, seq)] = await transfers.unfinished(connection)
    await transfers.complete(care.database, sender_id, seq, at=AT)
    assert await care.balance(survivor) == (100, 0)
    async with care.database.transaction() as connection:
        await accrue(connection, twice.member_id, 7, AT)  # from a till that had identified the member a moment before
    assert [await merging.forward(care.database, at=AT) for _ in range(2)] == [1, 0]
    assert (await care.balance(twice), await care.balance(survivor)) == ((0, 0), (107, 0))


async def test_of_two_records_the_stricter_consent_and_the_spend_lock_hold(care: Care) -> None:
    twice, survivor = await care.member(10), await care.member()
    async with care.database.transaction() as connection:
        for purpose in ("ADVERTISING_EMAIL", "ADVERTISING_SMS"):
            await consents.grant(connection, survivor.member_id, agreed(purpose=purpose))
        await consents.withdraw(connection, twice.member_id, ConsentGiven("ADVERTISING_EMAIL", "1", AT))
        await consents.withdraw(connection, twice.member_id, ConsentGiven("ADVERTISING_PUSH", "1", AT))
        await transfers.lock_spending(connection, twice.member_id)
    await care.merge(twice, survivor)
    async with care.database.reading() as connection:
        state = {one.purpose: one.granted for one in await consents.state_at(connection, survivor.member_id, AT)}
    assert (state["ADVERTISING_EMAIL"], state["ADVERTISING_SMS"], state["PROGRAMME"]) == (False, True, True)
    assert "ADVERTISING_PUSH" not in state
    assert await care.database.pool.fetchval(
        "SELECT spend_locked FROM ledger.account WHERE holder_id = $1", survivor.member_id
    )


async def test_points_of_both_qualify_for_the_survivors_tier(care: Care) -> None:
    twice, survivor = await care.member(600), await care.member(500)
    merge = await care.merge(twice, survivor)
    async with care.database.transaction() as connection:
        await standings.assess(connection, at=AT + DAY)
        assert (await standings.standing(connection, twice.member_id, AT + DAY)).tier == "SILVER"
    await care.end(merge)
    async with care.database.reading() as connection:
        assert (await standings.standing(connection, twice.member_id, AT + DAY)).points_to_next == 400
