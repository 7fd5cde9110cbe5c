"""Claims to missing points: every way one can end, in time and by silence, and that no receipt earns twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec import structs
from sqlalchemy.exc import IntegrityError

from kit import actors
from kit.approvals import FourEyesRequired
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import erasure
from members.cards import IssuedCard
from partners import callers
from partners.agreements import onboarding
from partners.outcomes import ReceiptAlreadyRecorded
from partners.purchases import late_receipts
from partners.receipts.receipts import Receipt
from settlement import controls, proposals, runs
from settlement.claims import claiming, claims, crediting
from settlement.claims.claiming import ClaimRule
from settlement.claims.claims import Claim, ClaimDraft, Purchase, Shown
from settlement.reconciliation import late_answers, standing
from tests.builders import DAY, NOON, a_receipt, violations
from tests.partners.purchases.test_purchases import record
from tests.settlement.money.books import Books, met, some_books
from tests.settlement.reconciling import CHECKER, MAKER

BOUGHT = NOON + DAY  # a Tuesday
TODAY = NOON + 4 * DAY
DUE = datetime(2026, 3, 21, tzinfo=NOON.tzinfo)  # the end of the tenth business day behind a Friday
PHOTO = Shown("image/jpeg", 90_000, b"p" * 32)
WHO = "colleague:carla"


@dataclass
class Street:
    """A cafe and a bakery, and Ada who bought something at the cafe without its till telling us."""

    books: Books
    ada: IssuedCard

    @property
    def database(self) -> Database:
        return self.books.database

    @property
    def cafe(self) -> int:
        return self.books.id_of("cafe")

    def draft(self, **more: Any) -> ClaimDraft:
        said: dict[str, Any] = {
            "partner_id": self.cafe, "business_date": BOUGHT.date(), "reference": "A-1", "total_minor": 5_000,
            "currency": "EUR", "outlet": "1", "terminal": "1", "shown": (PHOTO,),
        }  # fmt: skip
        return ClaimDraft(**(said | more))

    async def file(self, *, at: datetime = TODAY, card: IssuedCard | None = None, **more: Any) -> Claim:
        desk = self.books.coalition.desk
        who = (card or self.ada).member_id
        async with self.database.transaction() as connection:
            directory = await desk.directory.get()
            return await claims.file(connection, desk.vault, directory, self.draft(**more), member_id=who, at=at)

    async def do(self, use_case: Any, *args: Any, **more: Any) -> Any:
        async with self.database.transaction() as connection:
            return await use_case(connection, *args, **more)

    async def accept(self, claim: Claim, *, at: datetime = TODAY, purchase: Purchase = claims.AS_TOLD) -> Claim:
        directory = await self.books.coalition.desk.directory.get()
        found: Claim = await self.do(
            claims.accept, directory, claim.claim_id, partner_id=self.cafe, actor=WHO, at=at, purchase=purchase
        )
        return found

    async def refuse(self, claim: Claim, *, at: datetime = TODAY, reason: str = "P01", **more: Any) -> Claim:
        named = {"partner_id": self.cafe, "actor": WHO, "at": at, "reason": reason}
        found: Claim = await self.do(claims.refuse, claim.claim_id, **named, **more)
        return found

    async def contested(self, **more: Any) -> Claim:
        claim = await self.refuse(await self.file(**more))
        found: Claim = await self.do(
            claims.contest, claim.claim_id, member_id=self.ada.member_id, reason="C01", at=TODAY + DAY
        )
        return found

    async def tick(self, *, at: datetime) -> int:
        desk = self.books.coalition.desk
        done = await crediting.advance(desk, at=at, stopping=asyncio.Event())
        return done + await crediting.watch_originals(desk, at=at, stopping=asyncio.Event())

    async def read(self, claim: Claim) -> Claim:
        async with self.database.reading() as connection:
            return await claims.read(connection, claim.claim_id)

    async def balance(self, card: IssuedCard | None = None) -> int:
        found: int = await self.database.pool.fetchval(
            "SELECT available + pending FROM ledger.account WHERE holder_id = $1", (card or self.ada).member_id
        )
        return found

    async def written(self) -> list[int]:
        """How many rows there are of whatever a claim may write."""
        tables = (
            "settlement.claim", "settlement.claim_step", "settlement.claim_evidence", "settlement.claim_rule",
            "kit.approval", "kit.audit_trail", "partners.receipt", "partners.receipt_claim", "ledger.posting",
        )  # fmt: skip
        return [await self.database.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]

    async def billed(self, *, at: datetime) -> dict[str, int]:
        """What the next statements charge partners with for points issued: minor units by code."""
        await runs.close_cutoff(self.database, actor=MAKER, at=at)
        made = await self.do(runs.settle, actor=MAKER, at=at)
        codes = {caller.partner_id: code for code, caller in self.books.coalition.callers.items()}
        return {codes[s.partner_id]: -s.net_minor for one in made for s in one.statements if s.partner_id in codes}


template = some_books("cafe", "bakery")


@pytest.fixture
async def street(database: Database, vault: Vault) -> AsyncIterator[Street]:
    books = await met(database, vault)
    made = Street(books, await books.member())
    yield made
    assert await violations(database.pool) == []
    assert await books.violations() == []
    async with database.reading() as connection:
        assert [f"{v.code} {v.detail}" for v in await controls.run(connection)] == []
    await books.coalition.desk.close()


def original(terminal: str | None = "1", **more: Any) -> Receipt:
    return a_receipt(5_000, at=BOUGHT, reference="A-1", terminal=terminal, **more)


async def refused(street: Street, code: str, doing: Any) -> Rejection:
    """Something is refused with a code, and leaves nothing behind."""
    before = await street.written()
    with pytest.raises(Rejection) as no:
        await doing
    assert no.value.code == code
    assert await street.written() == before
    return no.value


# --- The ways it can end --------------------------------------------------------------------------------------


async def test_what_the_partner_accepts_is_given_once_and_is_in_its_next_statement(street: Street) -> None:
    claim = await street.file()
    assert (claim.state, claim.deadline) == (claiming.FILED, DUE)
    accepted = await street.accept(claim, purchase=Purchase(total_minor=4_200))
    assert (accepted.state, accepted.deadline) == (claiming.ACCEPTED, None)
    assert await street.balance() == 0
    assert await street.tick(at=TODAY) == 1
    done = await street.read(claim)
    assert (done.state, done.points, await street.balance()) == (claiming.CREDITED, 42, 42)

    # However often the clock ticks, and whatever the till sends later, it is this receipt.
    written = await street.written()
    assert await street.tick(at=TODAY) == 0
    with pytest.raises(ReceiptAlreadyRecorded):
        await record(street.books.coalition, street.ada, original(), partner="cafe", after=5)
    assert await street.written() == written
    # 42 points at 1.0 cent: fund and service part, to the partner that accepted, and to nobody else.
    assert await street.billed(at=TODAY + 30 * DAY) == {"cafe": 42}


async def test_silence_until_the_deadline_is_charged_to_the_partner(street: Street) -> None:
    claim = await street.file()
    before = await street.written()
    assert await street.tick(at=DUE - timedelta(seconds=1)) == 0
    assert await street.written() == before
    assert await street.tick(at=DUE) == 2
    done = await street.read(claim)
    assert (done.state, done.points, await street.balance()) == (claiming.CREDITED, 50, 50)
    assert await street.tick(at=DUE + DAY) == 0
    assert await street.billed(at=DUE + 30 * DAY) == {"cafe": 50}


async def test_an_answer_at_the_deadline_is_too_late_even_before_the_clock_has_ticked(street: Street) -> None:
    claim = await street.file()
    await refused(street, "CLAIM_STATE", street.refuse(claim, at=DUE))
    await refused(street, "CLAIM_STATE", street.accept(claim, at=DUE))
    assert (await street.refuse(claim, at=DUE - timedelta(seconds=1))).state == claiming.REFUSED


async def test_of_too_much_silence_gives_nothing_and_the_operator_decides(street: Street) -> None:
    claim = await street.file(total_minor=100_001)
    assert await street.tick(at=DUE) == 1
    now = await street.read(claim)
    assert (now.state, now.side, now.contest) == (claiming.CONTESTED, claiming.SILENCE, "C09")
    assert await street.balance() == 0


async def test_a_holiday_is_no_day_to_answer_on(street: Street) -> None:
    await street.do(runs.declare_holiday, day=date(2026, 3, 9), name="Day of rest", actor=MAKER, at=TODAY)
    assert (await street.file()).deadline == DUE + 3 * DAY  # the end of the next Monday


async def test_what_is_refused_and_not_contested_in_time_is_over(street: Street) -> None:
    claim = await street.refuse(await street.file(), note="no such receipt", shown=(PHOTO,))
    assert (claim.state, claim.refusal, claim.deadline) == (claiming.REFUSED, "P01", TODAY + 14 * DAY)
    contest = {"member_id": street.ada.member_id, "reason": "C01"}
    at = TODAY + 14 * DAY
    await refused(street, "CLAIM_STATE", street.do(claims.contest, claim.claim_id, at=at, **contest))
    assert await street.tick(at=at) == 1
    assert (await street.read(claim)).state == claiming.CLOSED
    assert await street.balance() == 0
    await refused(street, "CLAIM_DUPLICATE", street.file(at=at))


@pytest.mark.parametrize("upheld", [True, False])
async def test_a_refusal_is_contested_once_and_two_people_decide_it(street: Street, upheld: bool) -> None:
    claim = await street.contested()
    again = street.do(claims.contest, claim.claim_id, member_id=street.ada.member_id, reason="C02", at=TODAY + DAY)
    await refused(street, "CLAIM_STATE", again)
    said = {"cause": "the receipt is shown", "at": TODAY + DAY}
    await refused(
        street, "NOT_PERMITTED", street.do(claims.propose, claim.claim_id, upheld=upheld, actor=CHECKER, **said)
    )
    async with street.database.transaction() as connection:
        await actors.ensure_actor(connection, MAKER, [actors.FINANCE_CHECKER])
    number = await street.do(claims.propose, claim.claim_id, upheld=upheld, actor=MAKER, **said)
    decide: dict[str, Any] = {"approved": True, "at": TODAY + DAY}
    await refused(street, FourEyesRequired.code, street.do(proposals.decide, number, checker=MAKER, **decide))
    await street.do(proposals.decide, number, checker=CHECKER, **decide)
    assert (await street.read(claim)).state == (claiming.UPHELD if upheld else claiming.DISMISSED)
    await refused(street, "ALREADY_DECIDED", street.do(proposals.decide, number, checker=CHECKER, **decide))
    await street.tick(at=TODAY + DAY)
    await refused(street, "CLAIM_STATE", street.do(claims.propose, claim.claim_id, upheld=True, actor=MAKER, **said))
    assert await street.balance() == (50 if upheld else 0)
    if upheld:
        assert await street.billed(at=TODAY + 30 * DAY) == {"cafe": 50}


async def test_a_proposal_that_is_declined_leaves_it_contested_however_late(street: Street) -> None:
    claim = await street.contested()
    number = await street.do(claims.propose, claim.claim_id, upheld=False, cause="no", actor=MAKER, at=TODAY + DAY)
    await street.do(proposals.decide, number, approved=False, checker=CHECKER, at=TODAY + DAY)
    assert (await street.read(claim)).state == claiming.CONTESTED
    async with street.database.reading() as connection:
        assert await proposals.waiting(connection) == []
    before = await street.written()
    assert await street.tick(at=TODAY + 90 * DAY) == 0
    assert await street.written() == before
    async with street.database.reading() as connection:
        late = [one for one in await standing.late(connection, at=TODAY + 90 * DAY) if one.kind == "CLAIM"]
    assert [(one.subject, one.detail) for one in late] == [("claim 1", "CONTESTED: the operator decides")]


async def test_an_answer_that_the_operator_owes_goes_to_the_next_role_once_at_each_level(street: Street) -> None:
    claim = await street.contested()
    await street.do(claims.propose, claim.claim_id, upheld=True, cause="x", actor=MAKER, at=TODAY + DAY)
    assert claim.deadline is not None
    for at, wanted in (
        (claim.deadline - 3 * DAY, []),
        (claim.deadline - 2 * DAY, [(1, actors.FINANCE_CHECKER)]),
        (claim.deadline - DAY, []),
        (claim.deadline, [(2, actors.OPERATOR_ADMIN)]),
        (claim.deadline + 9 * DAY, []),
    ):
        before = await street.written()
        gone = await street.do(late_answers.escalate, at=at)
        assert [(one.level, one.role) for one in gone] == wanted
        assert all((one.kind, one.subject_id, one.owner) == ("CLAIM", claim.claim_id, MAKER) for one in gone)
        assert wanted or await street.written() == before
    async with street.database.reading() as connection:
        [one] = await late_answers.standing(connection)
        late = {item.kind for item in await standing.late(connection, at=claim.deadline)}
    assert (one.level, late) == (2, {"CLAIM", "ANSWER"})


# --- The original comes after all -----------------------------------------------------------------------------


@pytest.mark.parametrize("terminal", ["1", None])
async def test_an_original_that_comes_while_the_claim_waits_is_found_and_nothing_is_given_twice(
    street: Street, terminal: str | None
) -> None:
    claim = await street.file(terminal=terminal)
    await record(street.books.coalition, street.ada, original(), partner="cafe", after=5)
    assert await street.tick(at=DUE) == 2
    assert ((await street.read(claim)).state, await street.balance()) == (claiming.FOUND, 50)
    assert await street.billed(at=DUE + 30 * DAY) == {"cafe": 50}


@pytest.mark.parametrize("told", [{"terminal": None}, {"terminal": None, "outlet": None, "place": "by the bridge"}])
async def test_an_original_under_an_identity_that_nobody_knew_takes_the_place_of_what_was_given(
    street: Street, told: dict[str, Any]
) -> None:
    claim = await street.file(**told)
    assert await street.tick(at=DUE) == 2
    assert await street.balance() == 50
    await record(street.books.coalition, street.ada, original(), partner="cafe", after=60)
    assert await street.tick(at=NOON + 60 * DAY) == 1
    assert ((await street.read(claim)).state, await street.balance()) == (claiming.REPLACED, 50)
    assert await street.tick(at=NOON + 61 * DAY) == 0
    assert await street.billed(at=NOON + 90 * DAY) == {"cafe": 50}


async def test_another_tills_receipt_of_the_same_number_is_another_purchase(street: Street) -> None:
    async with street.database.transaction() as connection:
        outlet_id = await onboarding.outlet_id_of(connection, partner_id=street.cafe, code="1")
        maker = street.books.coalition.onboarder
        await onboarding.add_terminal(connection, outlet_id=outlet_id, code="2", actor=maker, at=NOON)
    await street.books.coalition.desk.directory.refresh()
    other = structs.replace(original("2"), total_minor=700)
    await record(street.books.coalition, street.ada, other, partner="cafe", after=2)
    claim = await street.accept(await street.file())
    await street.tick(at=TODAY)
    assert ((await street.read(claim)).state, await street.balance()) == (claiming.CREDITED, 57)


@pytest.mark.parametrize("is_late", [False, True])
async def test_another_outlets_receipt_of_the_same_number_is_another_purchase(street: Street, is_late: bool) -> None:
    """Whether the till of what is claimed is known or not, and before as after it was given."""
    async with street.database.transaction() as connection:
        maker = street.books.coalition.onboarder
        outlet_id = await onboarding.add_outlet(
            connection, partner_id=street.cafe, code="2", name="2", actor=maker, at=NOON
        )
        await onboarding.add_terminal(connection, outlet_id=outlet_id, code="1", actor=maker, at=NOON)
    await street.books.coalition.desk.directory.refresh()
    other = structs.replace(original("1"), outlet="2", total_minor=700)
    if not is_late:
        await record(street.books.coalition, street.ada, other, partner="cafe", after=2)
    claim = await street.accept(await street.file(terminal=None))
    await street.tick(at=TODAY)
    if is_late:
        await record(street.books.coalition, street.ada, other, partner="cafe", after=60)
    await street.tick(at=NOON + 60 * DAY)
    assert ((await street.read(claim)).state, await street.balance()) == (claiming.CREDITED, 57)


async def test_what_is_recorded_or_cancelled_cannot_be_claimed(street: Street) -> None:
    coalition = street.books.coalition
    await record(coalition, street.ada, original(), partner="cafe", after=2)
    told = await refused(street, "CLAIM_RECEIPT_RECORDED", street.file())
    assert "on 2026-03-04 and gave 50 points" in told.message
    await refused(street, "CLAIM_RECEIPT_RECORDED", street.file(terminal=None))
    await refused(street, "CLAIM_RECEIPT_RECORDED", street.file(terminal=None, outlet=None, place="by the bridge"))
    bob = await street.books.member()
    await refused(street, "CLAIM_RECEIPT_ELSEWHERE", street.file(card=bob))
    await refused(street, "CLAIM_RECEIPT_ELSEWHERE", street.file(card=bob, terminal=None))
    ref = late_receipts.ReceiptRef("1", "1", BOUGHT.date(), "A-2")
    caller = coalition.callers["cafe"]
    key = callers.idem_key_of(caller, "cancelPurchase", "a-2")
    await late_receipts.yield_to_original(coalition.desk, street.cafe, ref, idem_key=key, at=TODAY)
    await refused(street, "CLAIM_RECEIPT_ELSEWHERE", street.file(reference="A-2"))


# --- What cannot be claimed -----------------------------------------------------------------------------------


async def test_a_claim_comes_in_time_and_about_a_purchase_of_a_member(street: Street) -> None:
    early = await refused(street, "CLAIM_TOO_EARLY", street.file(at=BOUGHT + DAY))
    assert early.retryable
    await refused(street, "CLAIM_TOO_LATE", street.file(at=BOUGHT + 121 * DAY))
    for day in (date.min, date.max):
        await refused(street, "CLAIM_INVALID", street.file(business_date=day))
    await refused(street, "CLAIM_BEFORE_ENROLMENT", street.file(business_date=NOON.date() - DAY))
    await refused(street, "CLAIM_INVALID", street.file(total_minor=0))
    await refused(street, "CLAIM_INVALID", street.file(reference=" A-1"))
    await refused(street, "CLAIM_INVALID", street.file(outlet=None))
    await refused(street, "CLAIM_INVALID", street.file(currency="USD"))
    await refused(street, "CLAIM_INVALID", street.file(shown=(Shown("text/html", 10, b"p" * 32),)))
    await refused(street, "CLAIM_INVALID", street.file(shown=(Shown("image/png", 11 * 1024**2, b"p" * 32),)))
    await refused(street, "CLAIM_INVALID", street.file(occurred_at=BOUGHT + 5 * DAY))
    await refused(street, "OUTLET_UNKNOWN", street.file(outlet="9"))
    await refused(street, "TERMINAL_UNKNOWN", street.file(terminal="9"))
    await refused(street, "PARTNER_UNKNOWN", street.file(partner_id=99))
    assert (await street.file(at=BOUGHT + 120 * DAY)).state == claiming.FILED


async def test_a_receipt_is_claimed_once_by_anybody_until_it_is_settled_that_it_was_not_theirs(street: Street) -> None:
    bob = await street.books.member()
    claim = await street.file()
    await refused(street, "CLAIM_DUPLICATE", street.file())
    await refused(street, "CLAIM_DUPLICATE", street.file(terminal=None, outlet=None, place="by the bridge"))
    await refused(street, "CLAIM_DUPLICATE", street.file(card=bob))
    await street.refuse(claim)
    await refused(street, "CLAIM_DUPLICATE", street.file(card=bob))
    await street.tick(at=TODAY + 14 * DAY)
    assert (await street.file(card=bob, at=TODAY + 14 * DAY)).member_id == bob.member_id


async def test_a_member_makes_so_many_claims_in_a_month_and_each_partner_may_have_a_rule(street: Street) -> None:
    change = {"actor": CHECKER, "at": NOON}
    await refused(
        street,
        "CLAIM_RULE_INVALID",
        street.do(claims.change_rule, 0, ClaimRule(earliest_days=9, latest_days=8), **change),
    )
    await refused(street, "NOT_PERMITTED", street.do(claims.change_rule, 0, ClaimRule(), actor=MAKER, at=NOON))
    await street.do(claims.change_rule, 0, ClaimRule(most_per_month=2), **change)
    for n in (1, 2):
        await street.file(reference=f"B-{n}")
    no = await refused(street, "CLAIM_LIMIT_REACHED", street.file())
    assert no.retryable
    await street.do(claims.change_rule, street.cafe, ClaimRule(most_per_month=3, answer_days=1), **change)
    claim = await street.file()
    assert claim.deadline == datetime(2026, 3, 10, tzinfo=NOON.tzinfo)
    assert (await street.file(reference="B-4", at=TODAY + 31 * DAY)).state == claiming.FILED


# --- Whose it is, and races -----------------------------------------------------------------------------------


async def test_nobody_but_its_partner_and_its_member_has_to_do_with_a_claim(street: Street) -> None:
    bob, bakery = await street.books.member(), street.books.id_of("bakery")
    claim = await street.file()
    directory = await street.books.coalition.desk.directory.get()
    other = {"partner_id": bakery, "actor": WHO, "at": TODAY}
    await refused(street, "CLAIM_UNKNOWN", street.do(claims.accept, directory, claim.claim_id, **other))
    await refused(street, "CLAIM_UNKNOWN", street.do(claims.refuse, claim.claim_id, reason="P01", **other))
    async with street.database.reading() as connection:
        assert await claims.page(connection, partner_id=bakery) == []
        assert await claims.page(connection, member_id=bob.member_id) == []
        (own,) = await claims.page(connection, partner_id=street.cafe, states=[claiming.FILED])
        (shown,) = (await claims.evidence(connection, [own.claim_id]))[own.claim_id]
    assert (own, shown.side, shown.sha256) == (claim, claiming.MEMBER, PHOTO.sha256)
    await street.refuse(claim)
    contest = street.do(claims.contest, claim.claim_id, member_id=bob.member_id, reason="C01", at=TODAY)
    await refused(street, "CLAIM_UNKNOWN", contest)


async def test_an_answer_says_something_that_can_be(street: Street) -> None:
    claim = await street.file(terminal=None, outlet=None, place="by the bridge")
    await refused(street, "CLAIM_INVALID", street.accept(claim))  # at which outlet?
    await refused(street, "OUTLET_UNKNOWN", street.accept(claim, purchase=Purchase(outlet="9")))
    await refused(street, "TERMINAL_UNKNOWN", street.accept(claim, purchase=Purchase(outlet="1", terminal="9")))
    await refused(street, "CLAIM_INVALID", street.accept(claim, purchase=Purchase(outlet="1", total_minor=0)))
    await refused(street, "CLAIM_INVALID", street.refuse(claim, reason="C01"))
    await refused(street, "CLAIM_INVALID", street.refuse(claim, note="n" * 501))
    done = await street.accept(claim, purchase=Purchase(outlet="1", terminal="1", reference="A-01"))
    await street.tick(at=TODAY)
    assert (await street.read(done)).state == claiming.CREDITED
    late = structs.replace(original(), reference="A-01")
    with pytest.raises(ReceiptAlreadyRecorded):
        await record(street.books.coalition, street.ada, late, partner="cafe", after=5)


async def test_of_two_answers_at_once_one_counts_and_of_many_ticks_one_gives(street: Street) -> None:
    claim = await street.file()
    answers = await asyncio.gather(
        street.accept(claim), street.refuse(claim), street.accept(claim), return_exceptions=True
    )
    assert [getattr(one, "code", "DONE") for one in answers].count("DONE") == 1
    assert {getattr(one, "code", "DONE") for one in answers} == {"DONE", "CLAIM_STATE"}
    other = await street.accept(await street.file(reference="A-2"))
    late = asyncio.create_task(
        record(
            street.books.coalition, street.ada, structs.replace(original(), reference="A-2"), partner="cafe", after=5
        )
    )
    await asyncio.gather(*(street.tick(at=TODAY) for _ in range(4)), late, return_exceptions=True)
    await street.tick(at=TODAY)
    assert (await street.read(other)).state in (claiming.CREDITED, claiming.FOUND)
    first = (await street.read(claim)).state
    assert first in (claiming.CREDITED, claiming.REFUSED)
    assert await street.balance() == 50 + 50 * (first == claiming.CREDITED)


async def test_a_tick_that_was_killed_behind_the_receipt_goes_on_where_it_was(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = await street.accept(await street.file())

    async def killed(*_: object, **__: object) -> bool:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(crediting, "_conclude", killed)
        with pytest.raises(ConnectionResetError):
            await street.tick(at=TODAY)
    assert ((await street.read(claim)).state, await street.balance()) == (claiming.ACCEPTED, 50)
    assert await street.tick(at=TODAY + DAY) == 1
    done = await street.read(claim)
    assert (done.state, done.points, await street.balance()) == (claiming.CREDITED, 50, 50)


async def test_a_claim_whose_partner_is_suspended_waits_and_one_of_a_member_who_left_is_closed(street: Street) -> None:
    claim = await street.accept(await street.file())
    bob = await street.books.member()
    gone = await street.accept(await street.file(card=bob, reference="A-2"))
    async with street.database.transaction() as connection:
        by = street.books.coalition.onboarder
        await onboarding.suspend_partner(connection, partner_id=street.cafe, actor=by, at=TODAY)
        await erasure.forget(connection, bob.member_id, by="member", at=TODAY)
    await street.books.coalition.desk.directory.refresh()
    assert await street.tick(at=TODAY) == 1
    async with street.database.reading() as connection:
        assert [one.claim_id for one in await claims.late(connection, at=TODAY + DAY)] == [claim.claim_id]
    assert ((await street.read(claim)).state, (await street.read(gone)).state) == (claiming.ACCEPTED, claiming.CLOSED)
    async with street.database.transaction() as connection:
        await onboarding.resume_partner(connection, partner_id=street.cafe, actor=by, at=TODAY)
    await street.books.coalition.desk.directory.refresh()
    assert await street.tick(at=TODAY) == 1
    assert (await street.read(claim)).state == claiming.CREDITED


async def test_the_database_keeps_claims_as_they_were_said(street: Street) -> None:
    claim = await street.file()
    for table in ("claim", "claim_step", "claim_evidence"):
        for statement in (f"UPDATE settlement.{table} SET at = now()", f"DELETE FROM settlement.{table}"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await street.database.pool.execute(statement)
    with pytest.raises(IntegrityError):  # no edge leads there
        await street.do(claims.move, claim, claiming.CREDITED, side=claiming.SYSTEM, actor="x", at=TODAY,
                        holder_id=1, seq=1, points=1)  # fmt: skip
