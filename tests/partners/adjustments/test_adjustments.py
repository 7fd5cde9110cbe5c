"""Adjustments: proposed by one, approved by another, paid by whom they name, bounded per person and day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from kit import actors, approvals
from kit.approvals import AlreadyDecided, FourEyesRequired
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger.adjustments import AdjustmentExceedsBalance
from members.cards import IssuedCard, MemberUnknown
from partners import callers
from partners.adjustments import adjustments
from partners.adjustments.adjustments import AdjustmentDraft
from partners.agreements import onboarding
from tests.builders import DAY, NOON, Coalition, violations
from tests.founded import a_coalition, met
from tests.partners.purchases.test_purchases import available


@dataclass
class Office:
    """The people who adjust, and a member."""

    coalition: Coalition
    card: IssuedCard
    mia: int
    carl: int
    fina: int

    async def propose(
        self, points: int, *, maker: int | None = None, after: int = 0, reason: str = "GOODWILL", **how: object
    ) -> int:
        given = {"issuer": "bakery"} if points > 0 else {}
        draft = AdjustmentDraft(self.card.member_id, points, reason, **{**given, **how})  # type: ignore[arg-type]
        async with self.coalition.database.transaction() as connection:
            return await adjustments.propose(connection, draft, maker=maker or self.mia, at=NOON + after * DAY)

    async def decide(
        self, number: int, *, checker: int | None = None, approved: bool = True, after: int = 0
    ) -> int | None:
        async with self.coalition.database.transaction() as connection:
            approval = await approvals.read(connection, number)
            return await adjustments.decide(
                connection, approval, checker=checker or self.carl, approved=approved, at=NOON + after * DAY
            )

    async def adjust(self, points: int, *, after: int = 0, **how: object) -> int | None:
        return await self.decide(await self.propose(points, after=after, **how), after=after)  # type: ignore[arg-type]

    async def available(self) -> int:
        return await available(self.coalition, self.card, 1)

    async def written(self) -> list[int]:
        pool = self.coalition.database.pool
        tables = ("ledger.journal", "ledger.lot", "kit.approval", "kit.audit_trail", "partners.adjustment")
        decided = await pool.fetchval("SELECT count(*) FROM kit.approval WHERE decided_at IS NOT NULL")
        return [decided, *[await pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]]

    async def refused(self, expected: type[Rejection], call) -> Rejection:  # type: ignore[no-untyped-def]
        before = await self.written()
        with pytest.raises(expected) as no:
            await call
        assert await self.written() == before
        return no.value


template = a_coalition(bakery={"return_window_days": 0})


@pytest.fixture
async def office(database: Database, vault: Vault) -> AsyncIterator[Office]:
    coalition = await met(database, vault)
    async with database.transaction() as connection:
        both = [actors.MEMBER_CARE_MAKER, actors.MEMBER_CARE_CHECKER]
        mia = await actors.ensure_actor(connection, "mia", both)
        carl = await actors.ensure_actor(connection, "carl", both)
        fina = await actors.ensure_actor(connection, "fina", [actors.FINANCE_CHECKER])
    yield Office(coalition, await coalition.add_member(), mia, carl, fina)
    assert await violations(database.pool) == []
    assert await database.pool.fetch("SELECT * FROM ledger.verify_chains()") == []
    await coalition.desk.close()


@pytest.mark.parametrize("by_issuer", [False, True])
async def test_points_given_are_a_lot_of_their_issuer_funder_terms_and_expiry(office: Office, by_issuer: bool) -> None:
    seq = await office.adjust(120, is_funded_by_issuer=by_issuer)
    [lot] = await office.coalition.database.pool.fetch(
        "SELECT seq, remaining, issuer_id, funder_id, terms_id, active, expires_at FROM ledger.lot"
    )
    issuer = office.coalition.callers["bakery"].partner_id
    terms = callers.terms_at(await office.coalition.desk.directory.get(), issuer, NOON)
    assert tuple(lot)[:6] == (seq, 120, issuer, issuer if by_issuer else 0, terms.terms_id, True)
    assert lot["expires_at"] == NOON.replace(year=NOON.year + 1)
    assert await office.available() == 120


async def test_points_taken_are_those_that_expire_first_and_never_more_than_there_are(office: Office) -> None:
    await office.adjust(100, after=1)
    await office.adjust(100)
    await office.adjust(-130, reason="CORRECTION", after=1)
    lots = await office.coalition.database.pool.fetch("SELECT remaining FROM ledger.lot ORDER BY expires_at")
    assert [row["remaining"] for row in lots] == [0, 70]
    number = await office.propose(-71, reason="CORRECTION")
    too_much = await office.refused(AdjustmentExceedsBalance, office.decide(number, after=1))
    assert too_much.available_points == 70
    await office.decide(await office.propose(-70, reason="CORRECTION"), after=1)
    assert await office.available() == 0


async def test_the_same_person_approving_is_refused_and_nothing_is_written(office: Office) -> None:
    number = await office.propose(100)
    await office.refused(FourEyesRequired, office.decide(number, checker=office.mia))
    await office.refused(actors.NotPermitted, office.decide(number, checker=office.fina))
    await office.refused(actors.NotPermitted, office.propose(100, maker=office.fina))
    assert await office.available() == 0
    await office.decide(number)
    await office.refused(AlreadyDecided, office.decide(number))
    declined = await office.propose(50)
    assert await office.decide(declined, approved=False) is None
    await office.refused(AlreadyDecided, office.decide(declined))
    assert await office.available() == 100


async def test_what_cannot_be_proposed_is_refused(office: Office) -> None:
    invalid = adjustments.AdjustmentInvalid
    await office.refused(invalid, office.propose(0))
    await office.refused(invalid, office.propose(adjustments.DAILY_POINTS + 1))
    await office.refused(invalid, office.propose(10, reason="BECAUSE"))
    await office.refused(invalid, office.propose(10, issuer=None))
    await office.refused(invalid, office.propose(-10, issuer="bakery"))
    await office.refused(onboarding.PartnerUnknown, office.propose(10, issuer="nobody"))
    await office.refused(callers.AgreementMissing, office.propose(10, after=-500))
    office.card = await office.coalition.add_member()
    object.__setattr__(office.card, "member_id", 404)
    await office.refused(MemberUnknown, office.propose(10))


async def test_a_large_adjustment_takes_somebody_of_finance(office: Office) -> None:
    number = await office.propose(adjustments.FINANCE_ABOVE_POINTS + 1)
    await office.refused(actors.NotPermitted, office.decide(number))
    await office.decide(number, checker=office.fina)
    await office.adjust(adjustments.FINANCE_ABOVE_POINTS)


async def test_one_person_proposes_no_more_than_the_days_cap_and_what_is_declined_does_not_count(
    office: Office,
) -> None:
    first = await office.propose(30_000)
    await office.propose(20_000)
    await office.refused(adjustments.AdjustmentCapReached, office.propose(-1))
    await office.propose(50_000, maker=office.carl)
    await office.propose(50_000, after=1)
    await office.decide(first, checker=office.fina, approved=False)
    await office.propose(30_000)
    await office.refused(adjustments.AdjustmentCapReached, office.propose(1))


async def test_one_person_approves_no_more_than_the_days_cap(office: Office) -> None:
    numbers = [await office.propose(25_000, after=day) for day in range(3)]
    for number in numbers[:2]:
        await office.decide(number, checker=office.fina, after=5)
    await office.refused(adjustments.AdjustmentCapReached, office.decide(numbers[2], checker=office.fina, after=5))
    await office.decide(numbers[2], checker=office.fina, after=6)


async def test_proposals_and_decisions_at_once_stay_under_the_cap_and_happen_once(office: Office) -> None:
    tries = [office.propose(20_000) for _ in range(5)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    numbers = [one for one in done if isinstance(one, int)]
    assert len(numbers) == 2
    assert {type(one) for one in done if not isinstance(one, int)} == {adjustments.AdjustmentCapReached}
    decided = await asyncio.gather(
        *(office.decide(numbers[0], checker=office.fina) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(one).__name__ for one in decided) == ["AlreadyDecided"] * 3 + ["int"]
    assert await office.available() == 20_000
