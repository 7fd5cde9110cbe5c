"""Stories of mechanics, from the rule to the receipt: a birthday, a month, a family."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest

from kit.database import Database
from kit.secrets import Vault
from members import birthdays, enrolment, households
from members.consents import ConsentGiven
from members.enrolment import Personal
from members.sharing import SharingRules
from partners.decisions import decisions
from partners.mechanics import grants
from tests.builders import DAY, NOON, a_receipt, identified
from tests.partners.mechanics.fair import EARLIER, Fair, a_fair, met
from tests.partners.promotions.market import bonus
from tests.partners.promotions.offers import document

BASE = 100


template = a_fair()


@pytest.fixture
async def fair(database: Database, vault: Vault) -> AsyncIterator[Fair]:
    async with met(database, vault) as fair:
        yield fair


def day(written: str) -> datetime:
    """Noon of a day."""
    return datetime.combine(date.fromisoformat(written), NOON.time(), UTC)


async def test_a_birthday_is_one_party_on_either_side_of_new_year_and_whatever_date_it_becomes(fair: Fair) -> None:
    """Once in any 350 days: by the calendar's years a birthday at New Year's would be two parties, and with fewer days a date
    that was moved to November another one in the same year."""
    await fair.market.budget("party", unit="count", limit=1, scopes=["member"], period="rolling:350")
    await fair.market.publish(bonus("party", 500, when={"birthday_window": {"before": 3, "after": 3}}, caps=["party"]))
    async with fair.coalition.database.transaction() as connection:
        born = await enrolment.enrol(
            connection, fair.coalition.vault, enrolled_by=0, at=NOON, personal=Personal(birth_date=date(1984, 1, 1)),
            consents=[ConsentGiven("PROGRAMME", "1", NOON)], language="en",
        )  # fmt: skip
    assert born.card is not None

    async def given(on: str) -> int:
        assert born.card is not None
        return (await fair.market.buy(born.card, a_receipt(10_000, at=day(on)))).receipt.awarded_points - BASE

    assert [await given(on) for on in ("2026-12-28", "2026-12-30", "2026-12-31", "2027-01-02")] == [0, 500, 0, 0]
    async with fair.coalition.database.transaction() as connection:
        await birthdays.correct(
            connection, fair.coalition.vault, born.member_id, date(1984, 11, 20), at=day("2027-02-15")
        )
    assert [await given(on) for on in ("2027-11-20", "2027-12-30", "2028-11-19")] == [0, 0, 500]


async def test_who_buys_enough_in_a_month_is_rewarded_from_the_next_purchase_on_until_the_month_ends(
    fair: Fair,
) -> None:
    """So much in a month, anywhere in the coalition; what went back does not count, and a new month begins at none."""
    enough = {"counters": [{"counter": "coalition.month.sum", "min": 25_000}]}
    await fair.market.publish(bonus("thanks", 300, who=enough))
    card = await fair.coalition.add_member()
    given = [
        (
            await fair.market.buy(card, a_receipt(10_000, at=NOON + days * DAY), partner=partner)
        ).receipt.awarded_points - BASE
        for days, partner in ((0, "bakery"), (1, "grocer"), (2, "bakery"), (3, "grocer"), (30, "bakery"))
    ]  # fmt: skip
    assert given == [0, 0, 0, 300, 0]


async def test_a_family_has_its_discount_as_long_as_it_is_one(fair: Fair) -> None:
    """Whoever is in a household, by either of their cards; not before they joined, and not when they have left."""
    family = document("family", {"type": "discount_percent", "rate_bp": 500}, who={"in_household": True})
    await fair.market.publish(family)
    card = await fair.coalition.add_member()
    rules = SharingRules(is_enabled=True)

    async def off(days: int) -> int:
        quoted = await fair.market.decide(card, a_receipt(10_000, at=NOON + days * DAY), is_quote=True)
        return 0 if quoted.decided is None else quoted.decided.outcome.discount_minor

    assert await off(0) == 0
    async with fair.coalition.database.transaction() as connection:
        shared = await households.found(
            connection, fair.coalition.vault, rules, member_id=card.member_id, at=NOON + DAY
        )  # fmt: skip
    assert await off(2) == 500
    by_its_own = await fair.market.decide(
        shared, a_receipt(10_000, at=NOON + 2 * DAY), is_quote=True, member=identified(shared)
    )
    assert by_its_own.decided is not None
    assert by_its_own.decided.outcome.discount_minor == 500
    async with fair.coalition.database.transaction() as connection:
        left = NOON + 3 * DAY
        await households.leave(connection, member_id=card.member_id, spent_points=0, at=left, day=left.date())
    assert await off(4) == 0


async def test_a_purchase_that_a_till_tells_late_is_recorded_though_what_it_gives_would_be_over(fair: Fair) -> None:
    """Stamps and badges that had ended made the database refuse the whole purchase, base points and all."""
    async with fair.coalition.database.transaction() as connection:
        await grants.define_stamps(connection, "cup", "Cups", actor=fair.market.maker, at=EARLIER)
    await fair.market.publish(
        document("cup", {"type": "grant_stamp", "unit": "cup", "expiry": {"days": 2}}),
        document(
            "cups", {"type": "grant_badge", "badge": "cups", "expiry": {"on": "2026-03-04"}}, stack={"priority": 11}
        ),
    )
    card = await fair.coalition.add_member()

    async def given(days_late: int) -> set[str]:
        bought = await fair.market.buy(card, a_receipt(10_000), at=NOON + days_late * DAY)
        assert bought.receipt.awarded_points == BASE
        around = (await fair.coalition.desk.directory.get()).around(bought.receipt)
        recalled = decisions.recalled(bought.receipt, around)
        assert recalled is not None
        return {one.code for one in recalled.outcome.grants}

    assert [await given(days) for days in (0, 2, 3)] == [{"cup", "cups"}, {"cups"}, set()]
