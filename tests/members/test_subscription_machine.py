"""Months of random events in a club, against a model that knows nothing of the product: who is entitled, what was taken."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit import postgres
from kit.database import APPLICATION_ROLE, connect
from kit.errors import Rejection
from kit.secrets import Vault
from members.subscription import charging, entitlements, facts, gifts, offers, recognition, subscriptions
from members.subscription.facts import PaidService
from members.subscription.gifts import GiftWish
from members.subscription.offers import OfferDraft
from members.subscription.providers import Answer, Told
from tests.members.subscribers import DAY, START, Club, Scripted

WORDS = ("PAID", "PAID", "PAID", "SOFT", "HARD", "SILENT", "LOST", "PENDING")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 700)),
        st.tuples(st.just("subscribe"), st.sampled_from(["plus", "family"])),
        st.tuples(st.just("trial"), st.just("plus")),
        st.tuples(st.sampled_from(["code", "free"]), st.sampled_from(["plus", "family"])),
        st.tuples(st.just("give"), st.integers(1, 3)),
        st.tuples(st.sampled_from(["redeem", "gift back"]), st.just("")),
        st.tuples(st.just("change"), st.sampled_from(["plus", "family"])),
        st.tuples(st.sampled_from(["cancel", "leave", "stay", "resume", "card", "chargeback", "again"]), st.just("")),
        st.tuples(st.just("pause"), st.integers(1, 60)),
        st.tuples(st.just("script"), st.lists(st.sampled_from(WORDS), min_size=1, max_size=4)),
    ),
    min_size=4, max_size=14,
)  # fmt: skip


async def act(club: Club, member_id: int, word: str, value: Any) -> None:
    """One thing that somebody does, or tries to."""
    provider: Scripted = club.provider  # type: ignore[assignment]
    async with club.database.reading() as connection:
        held = [one for one in await subscriptions.of_member(connection, member_id) if not one.is_over]
    number = held[0].subscription_no if held else 0
    match word:
        case "pass":
            await club.pass_time(timedelta(hours=value))
        case "script":
            provider.script = list(value)
        case "card":
            await club.do(subscriptions.give_means, provider, member_id, token="card", mark=None, text_version="1")
        case "subscribe" | "trial":
            await club.subscribe(member_id, value, wants_trial=word == "trial")
        case "code" | "free":
            shown = await offers.look(
                club.database, club.vault, "HALF-OFF" if word == "code" else "FIRST-FREE", member_id=member_id,
                at=club.at, now=club.at,
            )  # fmt: skip
            await club.subscribe(member_id, value, code=shown)
        case "give":
            wish = GiftWish(member_id, "family", "EUR", "MONTH", value, "UTC")
            club.given.append(await club.do(gifts.buy, club.vault, provider, wish))
        case "redeem":
            for gift in club.given[-1:]:
                shown = await offers.look(
                    club.database, club.vault, gift.code or "", member_id=member_id, at=club.at, now=club.at
                )
                await club.do(gifts.redeem, provider, shown, member_id=member_id, zone="UTC")
        case "gift back":
            for gift in club.given[-1:]:
                await club.do(gifts.take_back, member_id, gift.gift_no)
        case "change":
            await club.do(subscriptions.change, provider, member_id, number, plan=value, interval="MONTH")
        case "cancel" | "leave":
            await club.do(subscriptions.cancel, member_id, number, at_once=word == "leave")
        case "stay":
            await club.do(subscriptions.stay, member_id, number)
        case "resume":
            await club.do(subscriptions.resume, provider, member_id, number)
        case "pause":
            end = held[0].contract.period_end if held else None
            await club.do(subscriptions.pause, member_id, number, until=(end or club.at) + value * DAY)
        case "chargeback":
            for key in provider.charged[-1:]:
                await club.do(charging.hear, provider, [Told(key, "CHARGEBACK", f"pay-{key}")])
        case "again":  # everything that was ever told, once more and in the wrong order
            for key, answer in reversed(provider.taken.items()):
                if answer.state in ("PAID", "SOFT", "HARD"):
                    await club.do(charging.hear, provider, [Told(key, answer.state, answer.reference, 30)])


async def check(club: Club, member_id: int) -> None:
    """What holds after every step, asked of the rows and of what the provider took."""
    provider, pool = club.provider, club.database.pool
    assert isinstance(provider, Scripted)
    # Never one charge too many: each order of money is for one invoice, and no invoice is paid twice without giving back.
    payments = await pool.fetch("SELECT invoice_no, amount_minor, is_surplus, reference FROM members.fee_payment")
    assert {row["reference"] for row in payments} <= {
        f"{kind}-{key}" for kind in ("pay", "late") for key in (*provider.charged, *provider.taken)
    }
    for invoice_no in {row["invoice_no"] for row in payments}:
        own = [row for row in payments if row["invoice_no"] == invoice_no]
        assert sum(not row["is_surplus"] for row in own) <= 1
    owed = await pool.fetchval("SELECT coalesce(sum(amount_minor), 0) FROM members.fee_payment WHERE is_surplus")
    ordered = await pool.fetchval(
        "SELECT coalesce(sum(amount_minor), 0) FROM members.fee_refund WHERE reason = 'SURPLUS'"
    )
    assert owed == ordered
    # Entitled exactly where a grant covers and no block does, by rows alone.
    rows = await pool.fetch(
        "SELECT subscription_no, source, invoice_no, valid_from, valid_until FROM members.entitlement_grant WHERE valid_from <= $1 AND valid_until > $1",
        club.at,
    )
    blocked = {
        row[0]
        for row in await pool.fetch(
            "SELECT subscription_no FROM members.entitlement_block WHERE valid_from <= $1", club.at
        )
    }
    async with club.database.reading() as connection:
        entitled = await entitlements.entitled(connection, member_id, at=club.at)
    assert {one.subscription_no for one in entitled} == {row["subscription_no"] for row in rows} - blocked
    paid = {row["invoice_no"] for row in payments if not row["is_surplus"]}
    assert {row["invoice_no"] for row in rows if row["source"] == "PAID"} <= paid
    # A present is had once, by what was paid; a code is used once; uses are counted.
    for row in rows:
        if row["source"] == "GIFT":
            assert row["invoice_no"] in paid
    used = await pool.fetch(
        "SELECT u.gift_no, n.note_no, n.kind FROM members.gift_use u LEFT JOIN members.credit_note n USING (invoice_no)"
    )
    assert all(row["note_no"] is None or row["kind"] == "CHARGEBACK" for row in used)
    offers_ = await pool.fetch(
        "SELECT o.uses, (SELECT count(*) FROM members.offer_use u WHERE u.offer_id = o.offer_id AND u.released_at IS NULL) AS rows FROM members.plan_offer o"
    )
    assert all(row["uses"] == row["rows"] <= 1 for row in offers_)
    cheaper = await pool.fetch(
        "SELECT o.off_minor, i.gross_minor, p.amount_minor FROM members.offer_period o LEFT JOIN members.invoice i USING (invoice_no) LEFT JOIN members.plan_price p ON p.price_no = i.price_no"
    )
    assert all(
        row["gross_minor"] is None or row["gross_minor"] + row["off_minor"] == row["amount_minor"] for row in cheaper
    )
    # Points for a month once, and only of months of which something was paid.
    promised = [(one.subscription_no, one.starts_at) for one in club.allotted if one.unserved is None]
    assert len(promised) == len(set(promised))
    served = {
        row[0]
        for row in await pool.fetch(
            "SELECT subscription_no FROM members.entitlement_grant WHERE source IN ('PAID', 'GIFT')"
        )
    }
    assert {number for number, _ in promised} <= served
    # Everything that came is earned by some day, or went back, or waits for who gets a present.
    async with club.database.reading() as connection:
        services = await facts.services(connection, "EUR", until=date(2100, 1, 1), paid_until=club.at + DAY)
    earned = sum(one.recognised(date(2100, 1, 1)) for one in services)
    back = await pool.fetchval("SELECT coalesce(sum(net_minor), 0) FROM members.credit_note")
    waiting = await pool.fetchval(
        "SELECT coalesce(sum(i.net_minor), 0) FROM members.gift g JOIN members.invoice i USING (invoice_no) JOIN members.fee_payment p ON p.invoice_no = g.invoice_no AND NOT p.is_surplus WHERE NOT EXISTS (SELECT FROM members.gift_use u WHERE u.gift_no = g.gift_no) AND NOT EXISTS (SELECT FROM members.credit_note n WHERE n.invoice_no = g.invoice_no)"
    )
    came = await pool.fetchval(
        "SELECT coalesce(sum(i.net_minor), 0) FROM members.fee_payment p JOIN members.invoice i USING (invoice_no) WHERE NOT p.is_surplus"
    )
    assert earned + back + waiting == came
    await check_standings(club, services)
    # Numbers without a gap.
    numbers = [row[0] for row in await pool.fetch("SELECT invoice_no FROM members.invoice ORDER BY 1")]
    assert numbers == list(range(1, len(numbers) + 1))
    # What is given back is never more than came.
    notes = await pool.fetch(
        "SELECT n.net_minor + n.tax_minor + n.lost_minor AS back, i.gross_minor FROM members.credit_note n JOIN members.invoice i USING (invoice_no)"
    )
    assert all(0 < row["back"] <= row["gross_minor"] for row in notes)


async def check_standings(club: Club, services: list[PaidService]) -> None:
    """What finance reads of a day is the sum of the days of every fee, never below zero, and never another later."""
    tomorrow = (club.at + DAY).date()
    days = [START.date() + n * DAY for n in range((tomorrow - START.date()).days + 1)]
    async with club.database.reading() as connection:
        *past, now = await recognition.standings(connection, "EUR", days[-40:], zone="UTC")
        [last] = await recognition.standings(connection, "EUR", [date(2100, 1, 1)], zone="UTC")
    for one in (*past, now):
        assert one.deferred_minor >= 0
    for one in past:
        assert club.standings.setdefault(one.day, one) == one
    assert now.recognised_minor == sum(one.recognised(tomorrow) for one in services)
    assert last.recognised_minor == sum(one.recognised(date(2100, 1, 1)) for one in services)
    letters = await club.database.pool.fetch(
        "SELECT l.step, l.at, i.due_at, i.kind FROM members.arrears_letter l JOIN members.invoice i USING (invoice_no)"
    )
    assert all(row["kind"] == "PERIOD" for row in letters)
    assert all((row["at"] >= row["due_at"] + 7 * DAY) == (row["step"] != "UNPAID") for row in letters)


def play(url: str, vault: Vault, story: list[tuple[str, Any]]) -> None:
    async def run() -> None:
        async with connect(url) as database:
            club = Club(database, vault, Scripted())
            await club.open(allotment_points=10, allotment_issuer=1, allotment_on_leaving="TAKE_BACK")
            for code, said in (("half", {"kind": "PERCENT", "percent_bp": 5000, "periods": 2, "word": "HALF-OFF"}),
                               ("free", {"kind": "FREE", "word": "FIRST-FREE"})):  # fmt: skip
                draft = OfferDraft(code, valid_from=club.at, valid_until=club.at + 3650 * DAY, **said)  # type: ignore[arg-type]
                await club.do(offers.add, vault, draft, actor="marketer")
            member_id = await club.person()
            for word, value in story:
                with suppress(Rejection):
                    await act(club, member_id, word, value)
                await check(club, member_id)
            provider: Scripted = club.provider  # type: ignore[assignment]
            provider.script = ["PAID"]  # from now on it answers, and whoever was waited for has decided
            for key, answer in provider.taken.items():
                provider.taken[key] = answer if answer.state != "PENDING" else Answer("PAID", f"late-{key}")
            await club.pass_time(45 * DAY)
            await check(club, member_id)
            asked = await database.pool.fetchval(
                "SELECT count(*) FROM members.charge_attempt a LEFT JOIN members.charge_outcome o USING (holder_id, invoice_no, attempt_no) WHERE o.outcome IS NULL"
            )
            assert asked == 0

    asyncio.run(run())


@pytest.fixture
def fresh(server: postgres.Server, template: str) -> Any:
    """Makes a database and forgets it."""
    made: list[str] = []

    def make() -> str:
        name = f"machine_{template}_{len(made)}"
        made.append(name)
        postgres.create_database(server, name, template=template)
        return server.url(name, APPLICATION_ROLE)

    yield make
    for name in made:
        postgres.drop_database(server, name)


@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=STEPS)
def test_months_of_anything_keep_the_rules(fresh: Any, vault: Vault, story: list[tuple[str, Any]]) -> None:
    play(fresh(), vault, story)


@pytest.mark.deep
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(story=STEPS)
def test_many_months_of_anything_keep_the_rules(fresh: Any, vault: Vault, story: list[tuple[str, Any]]) -> None:
    play(fresh(), vault, story)


def test_a_story_that_has_it_all(fresh: Any, vault: Vault) -> None:
    """One that is long by hand, so that the rare steps are always taken."""
    story: list[tuple[str, Any]] = [
        ("trial", "plus"), ("pass", 20 * 24), ("change", "family"), ("pass", 3), ("script", ["SOFT", "SILENT"]),
        ("pass", 40 * 24), ("again", ""), ("pause", 20), ("pass", 60 * 24), ("cancel", ""), ("stay", ""),
        ("script", ["LOST", "PAID"]), ("pass", 40 * 24), ("chargeback", ""), ("subscribe", "plus"), ("pass", 2),
        ("leave", ""), ("again", ""),
    ]  # fmt: skip
    play(fresh(), vault, story)


def test_a_story_of_codes_and_presents_that_has_it_all(fresh: Any, vault: Vault) -> None:
    story: list[tuple[str, Any]] = [
        ("free", "plus"), ("pass", 35 * 24), ("give", 2), ("pass", 1), ("redeem", ""), ("change", "family"),
        ("pass", 70 * 24), ("cancel", ""), ("give", 1), ("pass", 1), ("redeem", ""), ("pass", 40 * 24), ("again", ""),
        ("pass", 40 * 24), ("give", 3), ("pass", 1), ("gift back", ""), ("redeem", ""), ("code", "family"),
        ("pass", 2), ("script", ["SOFT", "PAID"]), ("pass", 40 * 24), ("give", 1), ("pass", 3 * 24), ("chargeback", ""),
        ("redeem", ""), ("leave", ""), ("pass", 24), ("code", "plus"), ("pass", 24),
    ]  # fmt: skip
    play(fresh(), vault, story)
