"""What happens at a partner reaches its own endpoints over HTTP, at least once, and nobody else's; by a clock in hand."""

from __future__ import annotations

import asyncio
import random
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from gateway.types import read_member_id, read_transaction_id
from gateway.webhooks import (
    addresses,
    calling,
    calls,
    delivering,
    duties,
    endpoints,
    gathering,
    kinds,
    retrying,
)
from gateway.webhooks.calling import Call
from gateway.webhooks.endpoints import Endpoint, Wanted
from gateway.webhooks.gathering import Sources
from gateway.webhooks.kinds import KINDS
from kit import actors, clock
from kit.database import Database
from kit.secrets import Vault
from kit.settings import Settings
from ledger import cutoffs
from members import messages
from partners.agreements.onboarding import OwnPerson
from partners.directory import Partner
from partners.promotions import budgets
from settlement import runs
from settlement.reconciliation import disputes
from tests.builders import DAY, NOON, Coalition, a_receipt
from tests.founded import a_coalition, met
from tests.gateway import receiving
from tests.gateway.receiving import Received, Receiver
from tests.gateway.test_session_matrix import colleague
from tests.partners.adjustments.test_adjustments import Office
from tests.partners.holds.test_holds import place
from tests.partners.purchases.test_purchases import record
from tests.partners.returns.test_returns import cancel, give_back

SITE = "https://tessera.example"
HOUR = timedelta(hours=1)


@dataclass
class Post:
    """A coalition of which partners listen, their receiver, and the wall's clock."""

    coalition: Coalition
    sources: Sources
    receiver: Receiver
    secrets: dict[int, str] = field(default_factory=dict)
    late: timedelta = timedelta(0)  # how far the wall's clock was moved

    def now(self) -> datetime:
        return clock.wall() + self.late

    async def partner(self, code: str) -> Partner:
        found = (await self.sources.directory.refresh()).partner_by_code(code)
        assert found is not None
        return found

    async def by(self, code: str) -> OwnPerson:
        """Somebody of a partner's."""
        async with self.coalition.database.transaction() as connection:
            actor = await actors.ensure_actor(connection, f"{code}/Dev", [])
        return OwnPerson(actor, self.coalition.callers[code].partner_id)

    async def listen(
        self, code: str = "bakery", path: str = "/hooks", types: Sequence[str] = tuple(KINDS), at: datetime = NOON
    ) -> int:
        """An endpoint of a partner's at a path of the receiver."""
        by, wanted = await self.by(code), Wanted(self.receiver.url(path), "", tuple(types))
        async with self.coalition.database.transaction() as connection:
            number, secret = await endpoints.add(
                connection, self.sources.vault, by, wanted, is_sandbox=True, at=at, now=self.now()
            )
        self.secrets[number] = secret
        return number

    async def gather(self, at: datetime = NOON) -> int:
        told, is_more = 0, True
        while is_more:
            found, is_more = await gathering.gather(self.sources, at=at, now=self.now())
            told += found
        return told + await gathering.look(self.sources, at=at, now=self.now())

    async def deliver(self, at: datetime = NOON, **more: object) -> int:
        async with calling.opened(is_sandbox=True, **more) as caller:  # type: ignore[arg-type]
            return await delivering.deliver(self.sources, caller, site=SITE, at=at, now=self.now)

    async def tell(self, at: datetime = NOON) -> list[Received]:
        """Gather and deliver; what came in meanwhile."""
        before = len(self.receiver.received)
        await self.gather(at)
        await self.deliver(at)
        return self.receiver.received[before:]

    async def standing(self, code: str, number: int) -> Endpoint:
        async with self.coalition.database.reading() as connection:
            partner_id = self.coalition.callers[code].partner_id
            return await endpoints.by_number(connection, partner_id, number, now=self.now())

    async def deliveries(self, code: str = "bakery", **wanted: object) -> list[calls.Delivered]:
        async with self.coalition.database.reading() as connection:
            return await calls.page(connection, await self.partner(code), limit=500, **wanted)  # type: ignore[arg-type]

    async def attempts(self, delivery_no: int) -> list[calls.Attempt]:
        async with self.coalition.database.reading() as connection:
            return await calls.attempts(connection, delivery_no)


@asynccontextmanager
async def posting(database: Database, vault: Vault) -> AsyncIterator[Post]:
    coalition = await met(database, vault)
    async with receiving.opened() as receiver:
        yield Post(coalition, Sources(database, vault, coalition.desk.directory), receiver)
    await coalition.desk.close()


template = a_coalition(
    **{code: {"return_window_days": 0, "review_days": 5, "dispute_days": 60} for code in ("bakery", "grocer")}
)


@pytest.fixture
async def post(database: Database, vault: Vault) -> AsyncIterator[Post]:
    async with posting(database, vault) as opened:
        yield opened


def said(status: int, headers: dict[str, str] | None = None, body: bytes = b""):  # type: ignore[no-untyped-def]
    return lambda _: (status, headers or {}, body)


# --- What is told -------------------------------------------------------------------------------------------


async def test_every_kind_of_fact_is_told_to_the_partner_that_it_is_of_with_ids_of_its_own(post: Post) -> None:
    coalition, database = post.coalition, post.coalition.database
    bakery = await post.listen("bakery", "/bakery")
    await post.listen("grocer", "/grocer")
    card = await coalition.add_member(name="Ada", phone="+49 30 1234567")
    sale = a_receipt(100_000, reference="S-1")
    await record(coalition, card, sale, after=0)
    await record(coalition, card, a_receipt(5_000, reference="S-2"), after=0, spend=100)
    gone = a_receipt(1_000, reference="S-3")
    await record(coalition, card, gone, after=0)
    await give_back(coalition, sale, after=0)
    await cancel(coalition, gone, after=0)
    await record(coalition, card, a_receipt(50_000, reference="S-4"), after=0)
    held = await place(coalition, card, 40)
    async with database.transaction() as connection:
        await cutoffs.sweep(connection, at=NOON + DAY)
        mia = await actors.ensure_actor(connection, "mia", [actors.MEMBER_CARE_MAKER])
        carl = await actors.ensure_actor(connection, "carl", [actors.MEMBER_CARE_CHECKER])
    await Office(coalition, card, mia, carl, carl).adjust(70, after=1)
    found = {}
    for each in await post.tell(NOON + DAY):
        data, type = each.told["data"], each.told["type"]
        found[type if type == kinds.PURCHASE_CANCELLED else data.get("reference", type)] = each
    assert {each.path for each in found.values()} == {"/bakery"}
    told = {name: each.verified(post.secrets[bakery]) for name, each in found.items()}
    assert {each["type"] for each in told.values()} == {
        kinds.PURCHASE_RECORDED, kinds.PURCHASE_RETURNED, kinds.PURCHASE_CANCELLED, kinds.HOLD_LAPSED,
        kinds.POINTS_ADJUSTED,
    }  # fmt: skip
    assert told["S-2"]["data"] | {"memberId": "", "transactionId": ""} == {
        "transactionId": "", "memberId": "", "outlet": "1", "terminal": "1", "reference": "S-2",
        "businessDate": "2026-03-02", "currencyCode": "EUR", "total": "50.00", "points": "-51", "awarded": "49",
        "redeemed": "100",
    }  # fmt: skip
    assert told[kinds.HOLD_LAPSED]["data"]["points"] == "40"
    assert told[kinds.HOLD_LAPSED]["timestamp"] == kinds.instant(held.hold.lapses_at)
    assert told[kinds.POINTS_ADJUSTED]["data"]["points"] == "70"
    assert told["back-S-1"]["data"]["originalTransactionId"] == told["S-1"]["data"]["transactionId"]
    own, other = await post.partner("bakery"), await post.partner("grocer")
    for each in told.values():
        assert read_member_id(own, each["data"]["memberId"]) == card.member_id
        assert read_member_id(other, each["data"]["memberId"]) is None
    assert read_transaction_id(own, told["S-2"]["data"]["transactionId"]) is not None
    everything = b"".join(each.body for each in post.receiver.received)
    assert not [name for name in (b"Ada", b"1234567", card.number.encode()) if name in everything]


async def test_statements_answers_in_disputes_and_budgets_near_their_end_are_told_once(post: Post) -> None:
    coalition, database = post.coalition, post.coalition.database
    await post.listen("bakery", "/bakery")
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(100_000), after=0)
    bakery = coalition.callers["bakery"].partner_id
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "robot", [actors.FINANCE_MAKER])
        source = {"code": "spring", "unit": "points", "limit": 1_000, "period": "month"}
        await budgets.add(connection, source=source, sponsor_id=bakery, actor="tests", at=NOON)
        await budgets.add(connection, source={**source, "code": "other"}, sponsor_id=0, actor="tests", at=NOON)
    await database.pool.execute(
        "INSERT INTO partners.budget_counter (budget_id, scope, period, used, ceiling) "
        "SELECT budget_id, '', '2026-03', 850, 1000 FROM partners.budget"
    )
    await cutoffs.close(database, at=NOON)
    async with database.transaction() as connection:
        [run] = await runs.settle(connection, actor="robot", at=NOON)
    told = [each.told for each in await post.tell()]
    by_type = {each["type"]: each["data"] for each in told}
    assert set(by_type) == {kinds.PURCHASE_RECORDED, kinds.STATEMENT_PUBLISHED, kinds.BUDGET_NEAR_ITS_END}
    net = next(each.net_minor for each in run.statements if each.partner_id == bakery)
    assert by_type[kinds.STATEMENT_PUBLISHED]["net"] == f"{net / 100:.2f}"
    assert by_type[kinds.BUDGET_NEAR_ITS_END] | {"unit": ""} == {
        "budget": "spring", "unit": "", "currencyCode": None, "period": "2026-03", "used": "850", "ceiling": "1000",
        "thresholdBasisPoints": 8_000,
    }  # fmt: skip
    assert await post.tell(NOON + HOUR) == []
    # What the partner does itself it is not told; what it is answered it is.
    its = next(each for each in run.statements if each.partner_id == bakery)
    async with database.transaction() as connection:
        opened = await disputes.dispute(
            connection, its.statement_id, its.lines[0].line_no, partner_id=bakery, reason="D03", amount_minor=200,
            note="too many", actor="fay", at=NOON,
        )  # fmt: skip
        await disputes.acknowledge(connection, opened.dispute_id, actor="robot", at=NOON + HOUR)
    [answered] = await post.tell(NOON + HOUR)
    its_data = answered.told["data"]
    assert (its_data["state"], its_data["side"], its_data["line"]) == ("ACKNOWLEDGED", "OPERATOR", its.lines[0].line_no)
    assert its_data["statementId"] == by_type[kinds.STATEMENT_PUBLISHED]["statementId"]
    await database.pool.execute("UPDATE partners.budget_counter SET used = 1000")
    [ended] = await post.tell(NOON + HOUR)
    assert ended.told["data"]["thresholdBasisPoints"] == 10_000
    # Who begins to listen later is not told what was issued before.
    await post.listen("bakery", "/late", at=NOON + DAY)
    await post.tell(NOON + DAY)
    assert post.receiver.at("/late") == []


async def test_a_budget_that_is_near_its_end_for_months_is_told_once(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, never = post.coalition.database, asyncio.Event()
    await post.listen("bakery")
    async with database.transaction() as connection:
        source = {"code": "ever", "unit": "points", "limit": 1_000}
        sponsor_id = post.coalition.callers["bakery"].partner_id
        await budgets.add(connection, source=source, sponsor_id=sponsor_id, actor="tests", at=NOON)
    await database.pool.execute(
        "INSERT INTO partners.budget_counter (budget_id, scope, period, used, ceiling) "
        "SELECT budget_id, '', '', 850, 1000 FROM partners.budget"
    )
    assert [each.told["type"] for each in await post.tell()] == [kinds.BUDGET_NEAR_ITS_END]
    monkeypatch.setattr(duties, "KEPT", -HOUR)
    for later in (NOON + 40 * DAY, NOON + 80 * DAY):
        assert await post.tell(later) == []
        await duties.forget(database, later, never)


async def test_an_endpoint_is_told_of_the_types_that_it_named_from_when_it_was_added_in_a_sequence_without_gaps(
    post: Post,
) -> None:
    card = await post.coalition.add_member()
    await record(post.coalition, card, a_receipt(reference="before"), after=0)
    await post.tell()
    await post.listen("bakery", "/sales", [kinds.PURCHASE_RECORDED])
    await post.listen("bakery", "/returns", [kinds.PURCHASE_RETURNED])
    sales = [a_receipt(1_000) for _ in range(3)]
    for sale in sales:
        await record(post.coalition, card, sale, after=0)
    await give_back(post.coalition, sales[0], after=0)
    await post.tell()
    told = post.receiver.at("/sales")
    assert sorted(each.told["sequence"] for each in told) == [1, 2, 3]
    assert {each.told["data"]["reference"] for each in told} == {sale.reference for sale in sales}
    assert [each.told["type"] for each in post.receiver.at("/returns")] == [kinds.PURCHASE_RETURNED]


async def test_while_nobody_listens_the_worker_keeps_up_and_once_somebody_does_it_tells_until_it_is_stopped(
    post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = Settings(clock="sandbox", master_key=SecretStr(urlsafe_b64encode(bytes(range(32))).decode()))
    monkeypatch.setattr(duties, "settings", lambda: chosen)
    monkeypatch.setattr(gathering, "ENTRIES_AT_ONCE", 2)
    database, never = post.coalition.database, asyncio.Event()
    async with database.transaction() as connection:
        await clock.set_sandbox(connection, NOON)
    card = await post.coalition.add_member()
    for _ in range(5):
        await record(post.coalition, card, a_receipt(100), after=0)
    assert await duties.tell_partners(database, NOON, never) == 0
    await post.listen()
    for number in range(5):
        await record(post.coalition, card, a_receipt(100, reference=f"T-{number}"), after=0)
    stopping = asyncio.Event()
    at_work = asyncio.create_task(duties.tell_partners(database, NOON, stopping))
    async with asyncio.timeout(60):
        while len(post.receiver.received) < 5:
            await asyncio.sleep(0.01)
    stopping.set()
    assert await at_work == 5
    assert {each.told["data"]["reference"] for each in post.receiver.received} == {f"T-{n}" for n in range(5)}
    # A month later it is forgotten, with its attempts; what waits is not.
    await record(post.coalition, card, a_receipt(100), after=0)
    await post.gather()
    await database.pool.execute("UPDATE gateway.webhook_position SET looked_at = now() + interval '1 year'")
    monkeypatch.setattr(duties, "KEPT", -HOUR)
    assert await duties.forget(database, NOON, never) == 5
    assert await database.pool.fetchval("SELECT count(*) FROM gateway.webhook_attempt") == 0
    [waiting] = await post.deliveries()
    assert waiting.state == delivering.WAITING


# --- How it is signed ---------------------------------------------------------------------------------------


async def test_a_receiver_verifies_with_its_library_and_anything_altered_fails(post: Post) -> None:
    number = await post.listen()
    async with post.coalition.database.transaction() as connection:
        await calls.send_sample(
            connection, await post.partner("bakery"), number, kinds.HOLD_LAPSED, at=NOON, now=post.now()
        )
    [one] = await post.tell()
    told = one.verified(post.secrets[number])
    assert told["sample"] is True
    assert read_member_id(await post.partner("bakery"), told["data"]["memberId"]) == 0
    for name, value in (
        ("webhook-id", "dlv_other"),
        ("webhook-timestamp", str(int(one.headers["webhook-timestamp"]) + 1)),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(post.secrets[number]).verify(one.body, {**one.headers, name: value})
    with pytest.raises(WebhookVerificationError):
        Webhook(post.secrets[number]).verify(one.body + b" ", one.headers)


async def test_while_a_secret_is_replaced_both_verify_and_afterwards_the_new_one_alone(post: Post) -> None:
    number, partner = await post.listen(), await post.partner("bakery")
    by, old = await post.by("bakery"), post.secrets[number]
    async with post.coalition.database.transaction() as connection:
        new = await endpoints.rotate(connection, post.sources.vault, by, number, overlap=HOUR, now=post.now())

    async def sample() -> Received:
        async with post.coalition.database.transaction() as connection:
            await calls.send_sample(connection, partner, number, kinds.HOLD_LAPSED, at=NOON, now=post.now())
        [one] = await post.tell()
        return one

    one = await sample()
    assert one.verified(old) == one.verified(new)
    post.late = 2 * HOUR
    call = Call("", one.id, "request-1", one.body, ())
    async with post.coalition.database.reading() as connection:
        signing = await endpoints.signing_secrets(connection, post.sources.vault, number, now=post.now())
    assert [endpoints.written(each) for each in signing] == [new]
    assert dict(calling.headers(call, NOON))["webhook-signature"] == ""
    # Replaced twice, the first signs no more at once: a call bears two signatures at most.
    post.late = timedelta(0)
    async with post.coalition.database.transaction() as connection:
        last = await endpoints.rotate(connection, post.sources.vault, by, number, overlap=HOUR, now=post.now())
    one = await sample()
    assert one.verified(new) == one.verified(last)
    assert len(one.headers["webhook-signature"].split()) == 2
    with pytest.raises(WebhookVerificationError):
        one.verified(old)


# --- At least once ------------------------------------------------------------------------------------------


async def test_what_is_refused_comes_again_by_the_schedule_under_one_id_until_it_is_given_up(post: Post) -> None:
    await post.listen()
    card = await post.coalition.add_member()
    await record(post.coalition, card, a_receipt(), after=0)
    post.receiver.script = said(503, body=b"Ada ada@example.org is out")
    at = NOON
    await post.gather(at)
    for tries in range(1, retrying.MOST_TRIES + 1):
        assert await post.deliver(at - timedelta(seconds=1)) == 0
        assert await post.deliver(at) == 1
        [waiting] = await post.deliveries()
        assert waiting.attempts == tries
        if tries < retrying.MOST_TRIES:
            assert waiting.next_at is not None
            at = max(waiting.next_at, (await post.standing("bakery", 1)).rests_until or at)
    assert (waiting.state, waiting.next_at) == (delivering.FAILED, None)
    assert len({each.id for each in post.receiver.received}) == 1
    assert len({each.body for each in post.receiver.received}) == 1
    assert len({each.headers["x-request-id"] for each in post.receiver.received}) == retrying.MOST_TRIES
    attempts = await post.attempts(waiting.delivery_no)
    assert [each.number for each in attempts] == list(range(retrying.MOST_TRIES, 0, -1))
    assert {(each.status, each.error, each.answer) for each in attempts} == {(503, None, "Ada … is out")}
    # After the outage the partner has it sent again, under the same id.
    post.receiver.script = receiving.taken
    async with post.coalition.database.transaction() as connection:
        partner = await post.partner("bakery")
        count = await calls.resend_failed(connection, partner, waiting.endpoint_no, since=NOON, at=at, now=post.now())
    assert count == 1
    later = (await post.standing("bakery", waiting.endpoint_no)).rests_until or at
    assert await post.deliver(later) == 1
    [done] = await post.deliveries()
    assert (done.state, post.receiver.received[-1].id) == (delivering.DELIVERED, done.delivery_id)
    assert (await post.standing("bakery", waiting.endpoint_no)).failing_since is None


async def test_whatever_an_endpoint_says_of_when_to_come_again_its_refusal_is_kept(post: Post) -> None:
    await post.listen()
    await record(post.coalition, await post.coalition.add_member(), a_receipt(), after=0)
    post.receiver.script = said(429, {"Retry-After": "01 Jan 2026 00:00:00 +99999999999999999999"})
    await post.gather()
    assert await post.deliver() == 1
    [waiting] = await post.deliveries()
    assert (waiting.state, waiting.attempts) == (delivering.WAITING, 1)
    assert [each.status for each in await post.attempts(waiting.delivery_no)] == [429]


async def test_who_dies_between_the_answer_and_the_note_of_it_sends_again_under_the_same_id(post: Post) -> None:
    await post.listen()
    card = await post.coalition.add_member()
    await record(post.coalition, card, a_receipt(), after=0)
    await post.gather()

    class Killed(BaseException):
        pass

    noted = delivering.Round._note

    async def dies(*_: object) -> None:
        raise Killed

    delivering.Round._note = dies  # type: ignore[assignment, method-assign]
    try:
        assert await post.deliver() == 0
    finally:
        delivering.Round._note = noted  # type: ignore[method-assign]
    assert await post.deliver() == 0, "the dead one's lease still holds"
    post.late = delivering.LEASE
    assert await post.deliver() == 1
    first, second = post.receiver.received
    assert (first.id, first.body) == (second.id, second.body)
    [done] = await post.deliveries()
    assert (done.state, done.attempts) == (delivering.DELIVERED, 1)


async def test_two_workers_at_once_gather_once_and_send_each_delivery_once(post: Post) -> None:
    await post.listen()
    card = await post.coalition.add_member()
    for _ in range(20):
        await record(post.coalition, card, a_receipt(100), after=0)
    await asyncio.gather(*(post.tell() for _ in range(3)))
    await post.tell()
    assert len(post.receiver.received) == len({each.id for each in post.receiver.received}) == 20


async def test_a_slow_endpoint_holds_up_nobody_and_one_that_is_down_rests(post: Post) -> None:
    slow, quick = await post.listen("bakery", "/slow"), await post.listen("grocer", "/quick")
    card = await post.coalition.add_member()
    for _ in range(12):
        await record(post.coalition, card, a_receipt(100), after=0)
        await record(post.coalition, card, a_receipt(100), after=0, partner="grocer")
    await post.gather()
    post.receiver.open.clear()  # nobody is answered
    at_work = asyncio.create_task(post.deliver(patience_seconds=30))
    async with asyncio.timeout(30):
        while not (post.receiver.at("/slow") and post.receiver.at("/quick")):
            await asyncio.sleep(0.01)
    # Both have calls open, each a few: the quick one is served as soon as it answers.
    assert len(post.receiver.at("/slow")) <= delivering.CALLS_OF_ENDPOINT
    gate = post.receiver.open

    post.receiver.script = lambda call: (204, {}, b"") if call.path == "/quick" else (500, {}, b"")
    gate.set()
    await at_work
    assert len({each.id for each in post.receiver.at("/quick")}) == 12
    standing = await post.standing("bakery", slow)
    assert standing.rests_until is not None
    assert len(post.receiver.at("/slow")) == delivering.DELIVERIES_AT_ONCE, "it is left alone for the rest"
    assert (await post.standing("grocer", quick)).failing_since is None
    # When its rest is over one is tried; once that is taken, the others follow.
    post.receiver.script = receiving.taken
    before = len(post.receiver.at("/slow"))
    await post.deliver(standing.rests_until - timedelta(seconds=1))
    assert len(post.receiver.at("/slow")) == before
    await post.deliver(NOON + DAY)
    assert {each.state for each in await post.deliveries()} == {delivering.DELIVERED}


async def test_an_endpoint_that_fails_for_days_or_says_that_it_is_gone_is_disabled_and_its_developers_are_told(
    post: Post,
) -> None:
    coalition = post.coalition
    await colleague(_desk(post), "bakery", "Dev", "dev@bakery.example", "DEVELOPER")
    failing, gone = await post.listen("bakery", "/failing"), await post.listen("bakery", "/gone")
    post.receiver.script = lambda call: (410 if call.path == "/gone" else 500, {}, b"")
    card = await coalition.add_member()
    for day in range(7):
        await record(coalition, card, a_receipt(reference=f"D-{day}"), after=day)
        await post.tell(NOON + day * DAY)
    found = {number: await post.standing("bakery", number) for number in (failing, gone)}
    assert {number: (each.status, each.reason) for number, each in found.items()} == {
        failing: ("DISABLED", "FAILING"), gone: ("DISABLED", "GONE"),
    }  # fmt: skip
    async with coalition.database.reading() as connection:
        written = [each for each in await messages.latest(connection, 10) if each.purpose == messages.SERVICE_NOTICE]
    assert len(written) == 2
    assert len(post.receiver.at("/gone")) == 1
    # What happened meanwhile was kept, and is sent when it is enabled again.
    post.receiver.script = receiving.taken
    async with coalition.database.transaction() as connection:
        await endpoints.enable(connection, await post.by("bakery"), gone, now=post.now())
    await post.deliver(NOON + 8 * DAY)
    references = [each.told["data"]["reference"] for each in post.receiver.at("/gone")[1:]]
    assert sorted(references) == [f"D-{day}" for day in range(7)]


def _desk(post: Post):  # type: ignore[no-untyped-def]
    """As much of a desk as inviting takes."""

    class Inviting:
        coalition, database, vault, wall = post.coalition, post.coalition.database, post.sources.vault, post.now

    return Inviting


# --- Where it goes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "error"),
    [(["10.0.0.1"], "NOT_PUBLIC"), (["169.254.169.254"], "NOT_PUBLIC"), (["127.0.0.1"], "NOT_PUBLIC"),
     (["8.8.8.8", "::ffff:10.0.0.1"], "NOT_PUBLIC"), ([], "NOT_PUBLIC")],
)  # fmt: skip
async def test_a_name_that_means_an_address_inside_is_never_called(post: Post, numbers: list[str], error: str) -> None:
    async def resolve(_: str, __: int) -> list[addresses.Address]:
        return [ip_address(each) for each in numbers]

    async with calling.opened(is_sandbox=False, resolve=resolve) as caller:
        call = Call(f"http://hooks.example.org:{post.receiver.port}/", "dlv_1", "request-1", b"{}", (bytes(32),))
        answer = await caller.call(call, now=clock.wall())
    assert (answer.status, answer.error, post.receiver.received) == (None, error, [])


async def test_a_redirect_is_a_refusal_and_is_not_followed(post: Post) -> None:
    await post.listen()
    post.receiver.script = said(307, {"Location": post.receiver.url("/inside")})
    card = await post.coalition.add_member()
    await record(post.coalition, card, a_receipt(), after=0)
    await post.tell()
    [waiting] = await post.deliveries()
    [attempt] = await post.attempts(waiting.delivery_no)
    assert (attempt.status, waiting.state, post.receiver.at("/inside")) == (307, delivering.WAITING, [])


async def test_an_endless_answer_a_silent_one_and_what_is_no_http_end_in_time(post: Post) -> None:
    async def speaks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if b"endless" in line:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n" + b"x" * 100_000)
        elif b"other" in line:
            writer.write(b"220 mail.example.org ESMTP\r\n")
            writer.close()
        elif b"broken" in line:
            writer.close()
        with suppress(ConnectionError):
            await writer.drain()

    server = await asyncio.start_server(speaks, "127.0.0.1", 0)
    here = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with calling.opened(is_sandbox=True, patience_seconds=0.5) as caller:
        found = {}
        for path in ("endless", "silent", "other", "broken"):
            call = Call(f"{here}/{path}", "dlv_1", "request-1", b"{}", (bytes(32),))
            answer = await caller.call(call, now=clock.wall())
            found[path] = (answer.status, answer.error, len(answer.body))
    server.close()
    assert found.pop("broken")[1] in ("BROKEN_OFF", "NOT_HTTP")
    assert found == {
        "endless": (200, None, 2_048), "silent": (None, "TIMEOUT", 0), "other": (None, "NOT_HTTP", 0)
    }  # fmt: skip


# --- Whatever happens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_every_event_reaches_every_endpoint_that_wants_it_and_no_other_partners(
    post: Post, seed: int
) -> None:
    dice, coalition = random.Random(seed), post.coalition
    wanted: dict[int, tuple[str, str, set[tuple[str, str]]]] = {}  # of each endpoint: partner, path, what it is to hear
    cards = [await coalition.add_member() for _ in range(3)]
    sold: list[tuple[str, Any]] = []
    at = NOON

    def happened(code: str, type: str, reference: str) -> None:
        for number, (partner, _, hears) in wanted.items():
            if partner == code and type in types[number]:
                hears.add((type, reference))

    def answer(_: Received) -> tuple[int, dict[str, str], bytes]:
        return dice.choice([(200, {}, b""), (204, {}, b""), (500, {}, b"no"), (429, {"Retry-After": "60"}, b"")])

    types: dict[int, tuple[str, ...]] = {}
    post.receiver.script = answer
    for step in range(60):
        code = dice.choice(("bakery", "grocer"))
        match dice.choice(("sale", "sale", "sale", "return", "cancel", "tell", "tell", "listen", "toggle", "later")):
            case "sale":
                receipt = a_receipt(dice.randint(100, 9_000), reference=f"{code}-{step}")
                await record(coalition, dice.choice(cards), receipt, partner=code, after=0)
                happened(code, kinds.PURCHASE_RECORDED, receipt.reference)
                sold.append((code, receipt))
            case "return" if sold:
                code, receipt = sold.pop(dice.randrange(len(sold)))
                await give_back(coalition, receipt, partner=code, after=0)
                happened(code, kinds.PURCHASE_RETURNED, f"back-{receipt.reference}")
            case "cancel" if sold:
                code, receipt = sold.pop(dice.randrange(len(sold)))
                await cancel(coalition, receipt, partner=code, key=f"c{step}", after=0)
                happened(code, kinds.PURCHASE_CANCELLED, receipt.reference)
            case "tell":
                await post.tell(at)
            case "listen" if len(wanted) < 6:
                await post.gather(at)
                chosen = tuple(dice.sample(sorted(KINDS), dice.randint(3, len(KINDS))))
                number = await post.listen(code, f"/{code}/{step}", chosen)
                wanted[number], types[number] = (code, f"/{code}/{step}", set()), chosen
            case "toggle" if wanted:
                number, (code, _, _) = dice.choice(sorted(wanted.items()))
                is_active = (await post.standing(code, number)).status == endpoints.ACTIVE
                change = endpoints.disable if is_active else endpoints.enable
                async with coalition.database.transaction() as connection:
                    await change(connection, await post.by(code), number, now=post.now())
            case "later":
                at += timedelta(seconds=dice.randint(1, 4_000))
    post.receiver.script = receiving.taken
    await post.gather(at)
    for number, (code, _, _) in wanted.items():
        if (await post.standing(code, number)).status != endpoints.ACTIVE:
            async with coalition.database.transaction() as connection:
                await endpoints.enable(connection, await post.by(code), number, now=post.now())
    await post.deliver(at + 2 * DAY)
    for number, (code, path, hears) in wanted.items():
        calls_ = post.receiver.at(path)
        heard = {each.id: each.verified(post.secrets[number]) for each in calls_}
        assert {(each["type"], each["data"]["reference"]) for each in heard.values()} == hears
        assert len(heard) == len(hears), "one delivery of each event, however often it was sent"
        assert sorted(each["sequence"] for each in heard.values()) == list(range(1, len(hears) + 1))
        own = await post.partner(code)
        assert all(read_member_id(own, each["data"]["memberId"]) for each in heard.values())
    assert sum(len(hears) for *_, hears in wanted.values()) > 0
