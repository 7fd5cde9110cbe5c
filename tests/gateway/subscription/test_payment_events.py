"""What payment providers tell by themselves: twice, early, late, reordered, forged; it counts once, as asking would."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from gateway import app, lanes
from gateway.charging import choice, tokens
from gateway.schema import schema
from gateway.subscription import payment_events
from kit import actors, clock, postgres
from kit.database import APPLICATION_ROLE, Database
from kit.secrets import Vault
from kit.settings import Settings
from members import erasure
from members.subscription import charging, crediting, entitlements, invoices, provider_events, subscriptions
from members.subscription.providers import Provider
from members.subscription.subscriptions import TrialUsed
from tests import builders
from tests.gateway import desk as desks
from tests.gateway import paying, stand
from tests.gateway.conversing import Script, script_of
from tests.gateway.paying import STRIPE, YOOKASSA, Bank, Server
from tests.members import people
from tests.members.subscribers import START, Club

FACTS = ("charge_outcome", "fee_payment", "entitlement_grant", "payment_means", "provider_event", "provider_event_due")


@pytest.fixture(scope="module")
def payments() -> Iterator[Server]:
    with paying.serving() as running:
        yield running


@dataclass
class Counter:
    """A programme that charges by a provider, its gateway's routes and its worker."""

    club: Club
    bank: Bank
    http: httpx2.AsyncClient
    chosen: Settings

    @property
    def provider(self) -> Provider:
        return self.club.provider

    async def payer(self, script: str = "ok") -> int:
        """Somebody whose card does as the words say."""
        member_id = (await people.enrol(self.club.database, self.club.vault)).member_id
        customer = f"cus_{member_id}/" if self.provider.name == STRIPE else ""
        token = tokens.sealed(self.club.vault, self.provider.name, f"{customer}pm_{script}")
        await self.club.do(
            subscriptions.give_means, self.provider, member_id, token=token, mark=f"card-{member_id}", text_version="1"
        )
        return member_id

    async def tell(self, kind: str, reference: str, event: str = "evt_1", key: str = "k", **more: Any) -> int:
        """The provider tells something; the status of our answer."""
        return await self.send(*self.message(kind, reference, event, key, **more))

    def message(self, kind: str, reference: str, event: str, key: str, **more: Any) -> tuple[dict[str, str], bytes]:
        """The bytes of it."""
        if self.provider.name == YOOKASSA:
            return paying.yookassa_event(kind, reference)
        return paying.stripe_event(kind, {"id": reference, "metadata": {paying.ORDER: key}}, event_id=event, **more)

    async def send(self, headers: dict[str, str], raw: bytes, name: str | None = None) -> int:
        path = f"/webhooks/payments/{name or self.provider.name}"
        return (await self.http.post(path, content=raw, headers=headers)).status_code

    async def look(self, later: timedelta = timedelta(0)) -> int:
        """The worker looks at what was told."""
        return await payment_events.look_by(
            self.club.database, self.club.providers, at=self.club.at, now=clock.wall() + later, stopping=asyncio.Event()
        )

    async def facts(self) -> list[int]:
        return [await self.club.database.pool.fetchval(f"SELECT count(*) FROM members.{table}") for table in FACTS]

    async def is_entitled(self, member_id: int) -> bool:
        async with self.club.database.reading() as connection:
            return bool(await entitlements.entitled(connection, member_id, at=self.club.at))


@pytest.fixture(params=[STRIPE, YOOKASSA])
async def counter(
    request: pytest.FixtureRequest, payments: Server, database: Database, database_name: str, vault: Vault,
    server: postgres.Server,
) -> AsyncIterator[Counter]:  # fmt: skip
    bank = payments.banks[request.param]
    bank.__init__()  # type: ignore[misc]
    chosen = Settings(
        issuer=stand.ISSUER, clock="sandbox", pool_size=2, charging=request.param,
        stripe_key=SecretStr(paying.STRIPE_KEY), stripe_webhook_secrets=SecretStr(paying.STRIPE_SECRET),
        stripe_address=payments.address, yookassa_shop=paying.SHOP, yookassa_key=SecretStr(paying.YOOKASSA_KEY),
        yookassa_address=f"{payments.address}/v3", yookassa_networks="127.0.0.0/8, ::1/128",
    )  # fmt: skip
    club = Club(database, vault, choice.of(chosen, vault)[request.param])
    await club.open()
    built = app.build(
        chosen, schema, database_url=server.url(database_name, APPLICATION_ROLE), vault=vault, opening=lanes.opened,
        pages=payment_events.ROUTES,
    )  # fmt: skip
    async with (
        built.router.lifespan_context(built),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(built), base_url=stand.ISSUER) as http,
    ):
        yield Counter(club, bank, http, chosen)


SUCCEEDED = {STRIPE: "payment_intent.succeeded", YOOKASSA: "payment.succeeded"}
FAILED = {STRIPE: "payment_intent.payment_failed", YOOKASSA: "payment.canceled"}


async def test_a_payment_whose_answer_was_lost_is_settled_by_what_the_provider_tells_once(counter: Counter) -> None:
    member_id = await counter.payer("silent")
    its = await counter.club.subscribe(member_id)
    await counter.club.pass_time(timedelta(0))
    assert await counter.club.status(its) == "INCOMPLETE"
    [paid] = counter.bank.taken
    told = (SUCCEEDED[counter.provider.name], paid.payment_id, "evt_1", paid.key)
    assert [await counter.tell(*told) for _ in range(3)] == [200, 200, 200]
    assert await counter.facts() == [0, 0, 0, 1, 1, 1]
    assert [await counter.look(), await counter.look()] == [1, 0]
    assert await counter.club.status(its) == "ACTIVE"
    assert await counter.is_entitled(member_id)
    once = await counter.facts()
    assert once == [1, 1, 1, 1, 1, 0]
    # Another event of it, one that says the opposite and comes late, and asking again: nothing more comes of any.
    await counter.tell(*told[:2], "evt_2", paid.key)
    await counter.tell(FAILED[counter.provider.name], paid.payment_id, "evt_3", paid.key)
    await counter.look()
    await counter.club.pass_time(timedelta(hours=3))
    assert (await counter.facts())[:4] == once[:4]
    assert len(counter.bank.taken) == 1
    charging_minor = await counter.club.database.pool.fetchval("SELECT charging_minor FROM members.fee_payment")
    assert charging_minor > 0


async def test_what_is_told_before_the_answer_to_the_order_is_there_counts_once(counter: Counter) -> None:
    """The order was taken and the bank has yet to decide; the event overtakes everything that we write."""
    its = await counter.club.subscribe(await counter.payer("pending"))
    await counter.club.pass_time(timedelta(0))
    [order] = counter.bank.payments.values()
    kind = SUCCEEDED[counter.provider.name]
    await counter.tell(kind, order.payment_id, "evt_1", order.key)  # claims what is not so: asking says it is pending
    await counter.look()
    assert await counter.club.status(its) == "INCOMPLETE"
    counter.bank.decide(order.key)
    await counter.tell(kind.replace("succeeded", "processing") if counter.provider.name == STRIPE else
                       "payment.waiting_for_capture", order.payment_id, "evt_2", order.key)  # fmt: skip
    await counter.look()
    assert await counter.club.status(its) == "ACTIVE"
    await counter.club.pass_time(timedelta(hours=3))  # it is also asked about, and says the same
    assert (await counter.facts())[:3] == [1, 1, 1]


async def test_what_is_forged_too_large_or_from_elsewhere_writes_nothing(counter: Counter) -> None:
    member_id = await counter.payer("pending")
    its = await counter.club.subscribe(member_id)
    await counter.club.pass_time(timedelta(0))
    [order] = counter.bank.payments.values()
    before = await counter.facts()
    kind = SUCCEEDED[counter.provider.name]
    headers, raw = counter.message(kind, order.payment_id, "evt_1", order.key)
    assert await counter.send(headers, raw[:-1]) == 400
    assert await counter.send(headers, raw + b" " * payment_events.LARGEST_EVENT) == 413
    assert await counter.send(headers, raw, "simulator") == 404
    assert await counter.send(headers, raw, "manual") == 404
    assert (await counter.http.get(f"/webhooks/payments/{counter.provider.name}")).status_code == 405
    if counter.provider.name == STRIPE:
        assert await counter.send({}, raw) == 400
        assert await counter.send(headers, raw.replace(b"evt_1", b"evt_2")) == 400
        assert await counter.tell(kind, order.payment_id, key=order.key, at=time.time() - 400) == 400
        assert await counter.tell(kind, order.payment_id, key=order.key, secret="whsec_of_another") == 400
    else:
        away = httpx2.ASGITransport(counter.http._transport.app, client=("203.0.113.9", 1))  # type: ignore[attr-defined]
        async with httpx2.AsyncClient(transport=away, base_url=stand.ISSUER) as elsewhere:
            answer = await elsewhere.post(f"/webhooks/payments/{YOOKASSA}", content=raw)
        assert answer.status_code == 403
        mapped = httpx2.ASGITransport(away.app, client=("::ffff:127.0.0.1", 1))
        async with httpx2.AsyncClient(transport=mapped, base_url=stand.ISSUER) as near:
            assert (await near.post(f"/webhooks/payments/{YOOKASSA}", content=raw)).status_code == 200
        # It has no signature: from the right network anybody may say anything, and only asking counts.
        assert await counter.tell(kind, "22e12f66-000f-5000-8000-18db351245c7") == 200
        assert await counter.tell(kind, order.payment_id) == 200
        await counter.look()
        before = [*before[:4], 2, 0]
    assert await counter.facts() == before
    assert await counter.club.status(its) == "INCOMPLETE"


async def test_an_event_waits_where_the_provider_does_not_answer_and_for_no_other(counter: Counter) -> None:
    its = await counter.club.subscribe(await counter.payer("silent"))
    await counter.club.pass_time(timedelta(0))
    [paid] = counter.bank.taken
    counter.bank.is_away = True
    await counter.tell(SUCCEEDED[counter.provider.name], paid.payment_id, "evt_1", paid.key)
    assert await counter.look() == 0
    counter.bank.is_away = False
    assert await counter.look() == 0  # it was looked at a moment ago
    assert await counter.look(timedelta(minutes=2)) == 1
    assert await counter.club.status(its) == "ACTIVE"


async def test_where_too_much_waits_no_more_is_taken(counter: Counter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_events, "MOST_WAITING", 2)
    kind = SUCCEEDED[counter.provider.name]
    references = [f"22e12f66-000f-5000-8000-00000000000{n}" for n in range(4)]
    said = [await counter.tell(kind, reference, f"evt_{reference}") for reference in references]
    assert said == [200, 200, 503, 503]
    assert (await counter.facts())[4:] == [2, 2]
    await counter.look()  # nobody knows of any of them, and nothing waits any more
    assert await counter.tell(kind, references[3], "evt_4") == 200


async def test_a_payment_that_a_bank_takes_back_ends_what_it_paid_for(counter: Counter) -> None:
    if counter.provider.name == YOOKASSA:
        assert counter.provider.read(*paying.yookassa_event("refund.succeeded", "22e12f66-000f-5000-8000-1")) == []
        return  # it tells of no chargebacks: finance records them
    member_id = await counter.payer()
    its = await counter.club.subscribe(member_id)
    await counter.club.pass_time(timedelta(0))
    made = paying.dispute(counter.bank, counter.bank.taken[0])
    for event in ("evt_1", "evt_2"):
        await counter.send(*paying.stripe_event("charge.dispute.funds_withdrawn", made, event_id=event))
        await counter.look()
    assert await counter.club.status(its) == "ENDED"
    assert not await counter.is_entitled(member_id)
    notes = await counter.club.database.pool.fetch("SELECT kind FROM members.credit_note")
    assert [row["kind"] for row in notes] == ["CHARGEBACK"]


async def test_a_payment_taken_back_before_anybody_knew_of_it_is_taken_back_when_it_is_known(counter: Counter) -> None:
    if counter.provider.name == YOOKASSA:
        return  # it tells of no chargebacks
    member_id = await counter.payer("silent")
    its = await counter.club.subscribe(member_id)
    await counter.club.pass_time(timedelta(0))
    [paid] = counter.bank.taken
    made = paying.dispute(counter.bank, paid)
    await counter.send(*paying.stripe_event("charge.dispute.funds_withdrawn", made, event_id="evt_1"))
    assert await counter.look() == 0
    await counter.tell(SUCCEEDED[STRIPE], paid.payment_id, "evt_2", paid.key)
    assert await counter.look() == 1
    assert await counter.club.status(its) == "ACTIVE"
    assert await counter.look(timedelta(hours=1)) == 1
    assert await counter.club.status(its) == "ENDED"
    assert (await counter.facts())[5] == 0
    # Of a payment that is nobody's it is asked some days long, and then no more.
    other = paying.dispute(counter.bank, replace(paid, payment_id="pi_of_nobody"))
    await counter.send(*paying.stripe_event("charge.dispute.funds_withdrawn", other, event_id="evt_3"))
    assert [await counter.look(timedelta(days=n)) for n in range(1, 14)] == [0] * 11 + [1, 0]


async def test_a_surplus_that_a_bank_takes_back_ends_nothing_and_goes_back_no_second_time(counter: Counter) -> None:
    if counter.provider.name == YOOKASSA:
        return  # it tells of no chargebacks
    member_id = await counter.payer("silent")
    its = await counter.club.subscribe(member_id)
    await counter.club.pass_time(timedelta(0))
    [paid] = counter.bank.taken
    async with counter.club.database.transaction() as connection:
        await actors.ensure_actor(connection, "fina", [actors.FINANCE_MAKER])
        [one] = await invoices.of_subscription(connection, its.holder_id, its.subscription_no)
        receipt = charging.Receipt(one.invoice_no, one.gross_minor, "over the desk", "slip 1")
        await charging.record_receipt(connection, counter.provider, receipt, actor="fina", at=counter.club.at)
    await counter.tell(SUCCEEDED[STRIPE], paid.payment_id, "evt_1", paid.key)
    await counter.look()
    made = paying.dispute(counter.bank, paid)
    await counter.send(*paying.stripe_event("charge.dispute.funds_withdrawn", made, event_id="evt_2"))
    await counter.look()
    await counter.club.pass_time(timedelta(hours=3))
    assert await counter.club.status(its) == "ACTIVE"
    assert await counter.is_entitled(member_id)
    assert paid.refunded == []
    done = await counter.club.database.pool.fetch("SELECT reference FROM members.fee_refund_done")
    assert [row["reference"] for row in done] == ["chargeback"]


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_means_that_a_member_gives_on_the_providers_page_is_charged_from_then_on(
    counter: Counter, is_told: bool
) -> None:
    members = [(await people.enrol(counter.club.database, counter.club.vault)).member_id for _ in range(2)]
    give = paying.give_stripe_card if counter.provider.name == STRIPE else paying.give_yookassa_card
    finished = {STRIPE: "checkout.session.completed", YOOKASSA: "payment_method.active"}[counter.provider.name]
    for number, member_id in enumerate(members):
        page = await counter.provider.set_up(f"setup-{number}", return_to="https://tessera.example/app")
        await counter.club.do(provider_events.begin_setup, counter.provider, member_id, page, text_version="2026-03")
        assert await counter.look() == 0
        give(counter.bank, page.reference)  # both give the same card
        for _ in range(2):
            if is_told:
                assert await counter.tell(finished, page.reference, f"evt_{number}") == 200
            await counter.look()
    rows = await counter.club.database.pool.fetch("SELECT token, text_version FROM members.payment_means ORDER BY 1")
    assert [row["text_version"] for row in rows] == ["2026-03", "2026-03"]
    assert all("pm_" not in row["token"] and "cus_" not in row["token"] for row in rows)
    its = await counter.club.subscribe(members[0], wants_trial=True)
    with pytest.raises(TrialUsed):  # another person with the same card
        await counter.club.subscribe(members[1], wants_trial=True)
    await counter.club.pass_time(START + timedelta(days=15))
    assert await counter.club.status(its) == "ACTIVE"
    assert [one.means for one in counter.bank.taken] != []


async def test_a_means_of_somebody_who_left_meanwhile_is_nobodys_and_keeps_nothing_else_waiting(
    counter: Counter,
) -> None:
    member_id = (await people.enrol(counter.club.database, counter.club.vault)).member_id
    give = paying.give_stripe_card if counter.provider.name == STRIPE else paying.give_yookassa_card
    finished = {STRIPE: "checkout.session.completed", YOOKASSA: "payment_method.active"}[counter.provider.name]
    page = await counter.provider.set_up("setup-1", return_to="https://tessera.example/app")
    await counter.club.do(provider_events.begin_setup, counter.provider, member_id, page, text_version="2026-03")
    give(counter.bank, page.reference)
    async with counter.club.database.transaction() as connection:
        await erasure.forget(connection, member_id, by="member", at=counter.club.at)
    assert await counter.tell(finished, page.reference, "evt_1") == 200
    await counter.look()
    assert (await counter.facts())[3:] == [0, 1, 0]


async def test_a_page_that_nobody_began_gives_nobody_a_means(counter: Counter) -> None:
    page = await counter.provider.set_up("setup-1", return_to="https://tessera.example/app")
    (paying.give_stripe_card if counter.provider.name == STRIPE else paying.give_yookassa_card)(
        counter.bank, page.reference
    )
    kind = {STRIPE: "checkout.session.completed", YOOKASSA: "payment_method.active"}[counter.provider.name]
    await counter.tell(kind, page.reference)
    await counter.look()
    assert await counter.facts() == [0, 0, 0, 0, 1, 0]


async def test_money_goes_back_the_way_it_came_and_another_means_does_not_change_an_order(counter: Counter) -> None:
    """An order that was lost is given again by the means that it named, though the member gave another one since."""
    member_id = await counter.payer("lost")
    its = await counter.club.subscribe(member_id)
    await counter.club.pass_time(timedelta(0))
    assert counter.bank.taken == []
    token = tokens.sealed(
        counter.club.vault, counter.provider.name, f"cus_{member_id}/pm_hard" if counter.provider.name == STRIPE else "pm_hard"
    )  # fmt: skip
    await counter.club.do(
        subscriptions.give_means, counter.provider, member_id, token=token, mark="another", text_version="1"
    )
    await counter.club.pass_time(timedelta(hours=2))
    assert [one.means for one in counter.bank.taken] == ["pm_lost"]
    assert await counter.club.status(its) == "ACTIVE"
    async with counter.club.database.transaction() as connection:
        [one] = await invoices.of_subscription(connection, its.holder_id, its.subscription_no)
        await crediting.credit(connection, one, "UTC", reason="CANCELLED", at=counter.club.at)
    await counter.club.pass_time(timedelta(hours=1))
    assert [len(one.refunded) for one in counter.bank.taken] == [1]
    assert await counter.club.database.pool.fetchval("SELECT count(*) FROM members.fee_refund_done") == 1


GIVE = """mutation($i: GivePaymentMeansInput!) { givePaymentMeans(input: $i) {
  ... on GivePaymentMeansSuccess { address replayed } ... on Rejection { code retryable } } }"""
TAKE = "mutation($i: SubscribeInput!) { subscribe(input: $i) { ... on Rejection { code } } }"


async def test_a_member_is_shown_the_providers_page_and_may_name_no_token(
    counter: Counter, server: postgres.Server, database_name: str, database: Database, vault: Vault
) -> None:
    coalition = await builders.found(database, vault)
    await coalition.add_member(email="ada@example.org")
    async with desks.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as desk:
        services = desk.application.state.services
        ada: Script = await script_of(await desk.signed_in("ada@example.org"))
        asked = {"idempotencyKey": stand.key(), "textVersion": "2026-03"}
        assert await ada.ask(GIVE, i=asked) == {"code": "PAYMENT_PAGE_MISSING", "retryable": False}
        services.settings = counter.chosen.model_copy(update={"issuer": desk.settings.issuer})
        counter.bank.is_away = True
        assert await ada.ask(GIVE, i=asked) == {"code": "PROVIDER_SILENT", "retryable": True}
        counter.bank.is_away = False
        assert await database.pool.fetchval("SELECT count(*) FROM members.means_setup") == 0
        first, again = await ada.ask(GIVE, i=asked), await ada.ask(GIVE, i=asked)
        assert (first["replayed"], again) == (False, first | {"replayed": True})
        assert first["address"].startswith("https://")
        assert await database.pool.fetchval("SELECT count(*) FROM members.means_setup") == 1
        assert "There is none yet" in (await ada.browser.get("/app/means")).text
        page = await ada.browser.fill("/app/means")
        assert (page.status_code, 'href="https://' in page.text) == (200, True)
        own = "{ viewer { ... on Member { own { paymentMeans { provider isCharged givenAt } } } } }"
        told = {"provider": counter.provider.name, "isCharged": True, "givenAt": None}
        assert (await ada.ask(own))["own"]["paymentMeans"] == told
        before = await counter.facts()
        wish = {"idempotencyKey": stand.key(), "plan": "plus", "interval": "MONTH", "currencyCode": "EUR",
                "paymentToken": "cus_of_another/pm_1", "paymentTextVersion": "1"}  # fmt: skip
        assert await ada.ask(TAKE, i=wish) == {"code": "PAYMENT_TOKEN_REFUSED"}
        assert await counter.facts() == before
    await coalition.desk.close()
