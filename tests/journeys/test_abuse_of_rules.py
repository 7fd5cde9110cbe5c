"""Replays, insiders, weak secrets, games with expiry and rounding: by the numbers of the list of abuses.

What is tried with cards, codes and returns is in tests/gateway/test_abuse.py, with personal data in
tests/gateway/test_privacy.py.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import actors, approvals, postgres
from kit.approvals import FourEyesRequired, RoleSelfGranted
from kit.database import APPLICATION_ROLE, Database, driver_url
from kit.secrets import Vault
from members import proofs
from members.cards import IssuedCard
from partners.decisions import earning, spending
from partners.decisions.earning import EarnLine
from tests.builders import DAY, NOON, PROGRAMME, found, rows_written, violations
from tests.gateway import stand
from tests.gateway.stand import Gateway, Till
from tests.gateway.test_abuse import holding, redeeming, returning
from tests.gateway.test_hold_api import PLACE
from tests.gateway.test_purchase_api import MEMBER, RECORD, REDEEM, RETURN, by_number, record
from tests.partners.decisions.test_earning import TERMS


@pytest.fixture
async def gateway(
    database: Database, vault: Vault, server: postgres.Server, database_name: str
) -> AsyncIterator[Gateway]:
    coalition = await found(database, vault)
    await coalition.add_partner("bakery", return_window_days=0)
    async with stand.opened(coalition, server.url(database_name, APPLICATION_ROLE)) as opened:
        await opened.till("bakery")
        yield opened
    assert await violations(database.pool) == []
    await coalition.desk.close()


@pytest.fixture
def till(gateway: Gateway) -> Till:
    return gateway.tills["bakery"]


@pytest.fixture
async def card(gateway: Gateway, till: Till) -> IssuedCard:
    """A member with ten thousand points and a PIN."""
    made = await gateway.coalition.add_member()
    async with gateway.coalition.database.transaction() as connection:
        await proofs.set_pin(connection, gateway.coalition.vault, made.member_id, "4711")
    await record(till, made, stand.receipt("10000.00"))
    return made


# --- Replays ------------------------------------------------------------------------------------------------


async def test_l15_what_a_till_sent_is_answered_the_same_a_second_a_day_and_a_month_later_and_moves_nothing(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    pin = {"pin": "4711"}
    member = by_number(card)
    sale = {"idempotencyKey": stand.key(), "member": member, "receipt": stand.receipt("20.00"),
            "redeem": {"points": "100", "proof": pin}}  # fmt: skip
    bought = await till.ask(RECORD, input=sale)
    sent = [
        (RECORD, sale, bought),
        *[
            (document, asked, await till.ask(document, input=asked))
            for document, asked in (
                (REDEEM, redeeming(member, "10", pin)),
                (PLACE, holding(member, "10", pin)),
                (RETURN, returning(bought["transaction"]["id"])),
            )
        ],
    ]
    before = await rows_written(gateway.coalition.database.pool)
    for later in (timedelta(seconds=1), DAY, 30 * DAY):
        await gateway.at(NOON + later)
        for document, asked, first in sent:
            again = await till.ask(document, input=asked)
            assert again["replayed"], document
            for part in ("transaction", "figures"):
                assert again.get(part) == first.get(part)
            if "hold" in first:
                assert again["hold"]["id"] == first["hold"]["id"]
    assert await rows_written(gateway.coalition.database.pool) == before


async def test_l16_the_same_key_with_another_content_is_refused_whatever_was_changed(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    pin, member = {"pin": "4711"}, by_number(card)
    other = await gateway.coalition.add_member()
    sale = {"idempotencyKey": stand.key(), "member": member, "receipt": stand.receipt("20.00")}
    spent, held = redeeming(member, "10", pin), holding(member, "10", pin)
    bought = await till.ask(RECORD, input=sale)
    hold = await till.ask(PLACE, input=held)
    await till.ask(REDEEM, input=spent)
    taken = returning(bought["transaction"]["id"], what={"amount": "5.00"})
    await till.ask(RETURN, input=taken)
    before = await rows_written(gateway.coalition.database.pool)
    for document, asked, change in (
        (RECORD, sale, {"receipt": sale["receipt"] | {"total": "200.00"}}),
        (RECORD, sale, {"receipt": sale["receipt"] | {"reference": "another"}}),
        (RECORD, sale, {"member": by_number(other)}),
        (RECORD, sale, {"redeem": {"holdId": hold["hold"]["id"]}}),
        (REDEEM, spent, {"points": "11"}),
        (REDEEM, spent, {"member": by_number(other)}),
        (PLACE, held, {"points": "11"}),
        (PLACE, held, {"lastsSeconds": 60}),
        (PLACE, held, {"reference": "another"}),
        (PLACE, held, {"member": by_number(other)}),
        (RETURN, taken, {"what": {"amount": "6.00"}}),
    ):
        no = await till.ask(document, input=asked | change)
        assert no.get("code") == "IDEMPOTENCY_KEY_REUSED", (change, no)
    assert await rows_written(gateway.coalition.database.pool) == before


# --- Insiders -----------------------------------------------------------------------------------------------


async def test_l20_nobody_decides_what_he_proposed_nor_with_a_role_that_he_gave_himself_today(
    database: Database, server: postgres.Server, database_name: str
) -> None:
    role = actors.AGREEMENT_CHECKER
    async with database.transaction() as connection:
        await actors.ensure_actor(connection, "anna", [actors.OPERATOR_ADMIN])
        boris = await actors.ensure_actor(connection, "boris", [actors.AGREEMENT_MAKER, role])
        anna = await actors.add(connection, name="anna", roles=[role], by="anna", at=NOON)
        carl = await actors.add(connection, name="carl", roles=[role], by="anna", at=NOON)

    async def propose() -> int:
        async with database.transaction() as connection:
            return await approvals.propose(
                connection, kind="ADJUSTMENT", subject="member:1", detail={}, maker=boris, at=NOON
            )

    async def decide(approval_id: int, checker: int) -> None:
        async with database.transaction() as connection:
            await approvals.decide(connection, approval_id, checker=checker, role=role, approved=True, at=NOON)

    one = await propose()
    with pytest.raises(FourEyesRequired):
        await decide(one, boris)
    with pytest.raises(RoleSelfGranted):
        await decide(one, anna)
    assert await database.pool.fetchval("SELECT count(*) FROM kit.approval WHERE decided_at IS NOT NULL") == 0
    await decide(one, carl)
    owner = await asyncpg.connect(driver_url(server.url(database_name, server.superuser)))
    await owner.execute("UPDATE kit.audit_trail SET wrote_at = wrote_at - interval '25 hours'")
    await owner.close()
    await decide(await propose(), anna)


# What the application's role may change in place or remove. The rest it may only read and append to, or not even that.
MAY_CHANGE = {
    "gateway.client", "gateway.client_secret", "gateway.signing_key", "jobs.pgqueuer", "jobs.pgqueuer_schedules",
    "jobs.pgqueuer_statistics", "jobs.pgqueuer_log", "kit.approval", "kit.business_clock", "members.card",
    "members.enrolment", "members.guess", "members.member", "members.personal", "partners.partner",
    "partners.revision", "partners.terminal", "partners.programme",  # of the last, how members may share points
    # Credentials of programs, and what people allowed them: used, replaced, ended.
    "gateway.client_key", "gateway.secret_exception", "gateway.client_grant", "gateway.pushed_request",
    "gateway.authorization_code", "gateway.refresh_token", "gateway.device_code", "gateway.ended_token", "gateway.used_id",
    # What clients may ask for, and how much they did.
    "gateway.client_rule", "gateway.allowance", "gateway.field_use", "gateway.request_figure",
    # The number of what a call made, kept beside the call.
    "gateway.person_call",
    # People's sign-in; letters on their way.
    "gateway.staff", "gateway.colleague", "gateway.session", "gateway.sign_in", "gateway.sign_in_budget",
    "gateway.passkey", "members.message_queue", "partners.brake",
    # Numbers of documents count on by one; a trigger refuses anything else.
    "settlement.document_counter",
    # Caps, and what is used of them; what was charged, and how a cap came to be, is appended.
    "partners.budget", "partners.budget_counter", "partners.budget_window",
    # States of what is used once, stocks, and sums that are added up; each change has its own appended record.
    "partners.coupon", "partners.coupon_batch", "partners.coupon_count", "partners.coupon_guess", "partners.coupon_use",
    "partners.entitlement", "partners.raffle_ticket", "partners.event_review", "partners.referral", "partners.reward",
    "partners.reward_order", "partners.simulation", "members.activity", "members.activity_position", "members.badge", "members.tier_credit",
    # Of subscriptions: numbers that count on, a count of events, what is due when, seats that are taken and given up.
    "members.plan_offer", "members.offer_use",  # uses that are counted, and one that is free again
    "members.invoice_counter", "members.subscription", "members.subscription_due", "members.subscription_seat",
    # When an event of a payment provider is looked at again.
    "members.provider_event_due",
    # Where webhooks go, until when a secret signs, when a delivery is sent next, how far the journal was read for them.
    "gateway.webhook_endpoint", "gateway.webhook_secret", "gateway.webhook_delivery", "gateway.webhook_position",
    # Where an outlet is, as members are told.
    "partners.outlet",
    # Up to when a member was told of points that end.
    "members.expiry_reminder",
}  # fmt: skip
MAY_REMOVE = {
    "members.alias", "members.member_key", "members.personal",
    # Credentials that are over.
    "gateway.refresh_token", "gateway.pushed_request", "gateway.device_code", "gateway.user_code_miss", "gateway.used_id",
    "gateway.ended_token", "gateway.trusted_document",
    "gateway.staff", "gateway.colleague", "gateway.session", "gateway.sign_in", "gateway.sign_in_budget",
    "gateway.passkey", "gateway.passkey_challenge",
    # What was only counted, to be looked at for a while.
    "gateway.field_use", "gateway.request_log", "gateway.request_figure", "partners.award_pace",
    # Sums that are added up anew when members are merged.
    "members.activity", "members.activity_position",
    # Sign-in codes go after a day, other letters stay.
    "members.message", "members.message_queue",
    # What was due and is done.
    "members.subscription_due", "members.provider_event_due",
    # What was told a month ago; secrets that are over.
    "gateway.webhook_event", "gateway.webhook_delivery", "gateway.webhook_secret",
    # Codes that tills showed for some minutes.
    "members.pairing",
}  # fmt: skip


async def test_l21_the_application_can_neither_rewrite_nor_remove_what_happened(database: Database) -> None:
    rows = await database.pool.fetch("""
        SELECT n.nspname || '.' || c.relname AS name,
               has_any_column_privilege('tessera_app', c.oid, 'UPDATE') AS may_change,
               has_table_privilege('tessera_app', c.oid, 'DELETE') AS may_remove,
               has_table_privilege('tessera_app', c.oid, 'TRUNCATE') AS may_empty,
               has_table_privilege('tessera_app', c.oid, 'INSERT') AS may_append,
               pg_get_userbyid(c.relowner) AS owner
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname IN ('kit', 'ledger', 'members', 'partners', 'settlement', 'gateway', 'jobs')
    """)
    assert len(rows) > 40
    jobs = {row["name"] for row in rows if row["name"].startswith("jobs.")}
    assert {row["name"] for row in rows if row["may_change"]} - jobs <= MAY_CHANGE
    assert {row["name"] for row in rows if row["may_remove"]} - jobs <= MAY_REMOVE
    assert not [row["name"] for row in rows if row["owner"] == APPLICATION_ROLE]
    assert not [row["name"] for row in rows if row["may_empty"] and row["name"] not in jobs]
    books = ("ledger.journal", "ledger.posting", "ledger.account", "ledger.lot", "ledger.hold", "ledger.cutoff")
    assert not [row["name"] for row in rows if row["name"] in books and row["may_append"]]
    for statement in (
        "UPDATE ledger.posting SET amount = amount + 1", "DELETE FROM ledger.journal",
        "UPDATE ledger.account SET available = 1000000", "INSERT INTO ledger.hold VALUES (1, 1, 1, 0, now(), 1, 1, 0)",
        "UPDATE partners.receipt SET awarded = 1000000", "UPDATE partners.hold SET points = 1",
        "UPDATE kit.audit_trail SET actor = 'nobody'", "SET ROLE tessera_ledger", "TRUNCATE partners.receipt_claim",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.pool.execute(statement)
    assert await database.pool.fetchval("SELECT NOT rolsuper FROM pg_roles WHERE rolname = 'tessera_app'")


@pytest.mark.parametrize(
    "key",
    [
        "secret",
        *(
            pytest.param(weak, marks=pytest.mark.deep)  # each starts a gateway of its own
            for weak in (
                "", "changeme", base64.urlsafe_b64encode(bytes(16)).decode(),
                base64.urlsafe_b64encode(bytes(32)).decode(), base64.urlsafe_b64encode(b"secret" * 5 + b"se").decode(),
            )
        ),
    ],
)  # fmt: skip
def test_l30_a_gateway_with_a_weak_key_does_not_start(key: str) -> None:
    environment = {**os.environ, "TESSERA_MASTER_KEY": key, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = subprocess.run(
        [sys.executable, "-m", "gateway.commands", "serve"], capture_output=True, text=True, check=False,
        env=environment, timeout=180,
    )  # fmt: skip
    assert done.returncode not in (0, None)
    assert "key" in done.stderr
    assert "Traceback" not in done.stderr
    assert not key or key not in done.stderr


# --- Games with expiry and rounding -------------------------------------------------------------------------


async def test_l32_spending_and_returning_again_and_again_makes_no_point_live_longer(
    gateway: Gateway, till: Till, card: IssuedCard
) -> None:
    pool = gateway.coalition.database.pool
    lots = "SELECT seq, lot_no, expires_at FROM ledger.lot WHERE granted = 10000"
    before = await pool.fetch(lots)
    ends = before[0]["expires_at"]
    for day in range(0, 360, 60):
        at = NOON + day * DAY
        await gateway.at(at)
        now = {"occurredAt": at.isoformat(), "businessDate": at.date().isoformat()}
        spent = await till.ask(REDEEM, input=redeeming(by_number(card), "9000", {"pin": "4711"}) | now)
        back = await till.ask(RETURN, input=returning(spent["transaction"]["id"]) | now)
        assert back["transaction"]["refundedPoints"] == "9000"
        assert await pool.fetch(lots) == before
    # What comes back after its end is good for the programme's grace from then, and not a day longer.
    await gateway.at(ends - DAY)
    eve = {"occurredAt": (ends - DAY).isoformat(), "businessDate": (ends - DAY).date().isoformat()}
    spent = await till.ask(REDEEM, input=redeeming(by_number(card), "100", {"pin": "4711"}) | eve)
    await gateway.at(ends + DAY)
    later = {"occurredAt": (ends + DAY).isoformat(), "businessDate": (ends + DAY).date().isoformat()}
    await till.ask(RETURN, input=returning(spent["transaction"]["id"]) | later)
    grace = PROGRAMME.refund_grace_days * DAY
    for at, available in ((ends + DAY + grace - timedelta(seconds=1), "100"), (ends + DAY + grace, "0")):
        await gateway.at(at)
        assert (await till.ask(MEMBER, ref=by_number(card)))["balance"]["available"] == available


@given(
    st.lists(st.integers(0, 10**7), min_size=1, max_size=12), st.integers(0, 10_000), st.integers(0, 5_000),
    st.sampled_from(["BASE", "GOLD"]),
)  # fmt: skip
def test_l33_split_receipts_never_earn_more_than_the_whole(
    parts: list[int], rate_bp: int, bonus_bp: int, tier: str
) -> None:
    terms = replace(TERMS, earn_rate_bp=rate_bp, tier_bonus_bp={"GOLD": bonus_bp})

    def earned(amounts: list[int]) -> int:
        lines = [EarnLine(str(number), "GOODS", amount, 0) for number, amount in enumerate(amounts)]
        return earning.evaluate(lines, terms=terms, programme=PROGRAMME, tier=tier, occurred_at=NOON).points

    apart = sum(earned([part]) for part in parts)
    assert earned(parts) == earned([sum(parts)])
    assert earned(parts) - len(parts) < apart <= earned(parts)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=12), st.integers(1, 10**6))
def test_l33_points_spent_in_pieces_never_pay_more_than_together(parts: list[int], value_micro: int) -> None:
    programme = replace(PROGRAMME, point_value_micro={"EUR": value_micro})

    def worth(points: int) -> int:
        return spending.value_of(points, terms=TERMS, programme=programme)

    assert sum(worth(part) for part in parts) <= worth(sum(parts))
