from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from kit.database import Database
from kit.secrets import Vault
from ledger import accounts
from members import cards, enrolment, identification
from tests.members.people import AT, accrue, enrol, everything_written

numbers = st.from_regex(r"970[0-9]{12}", fullmatch=True).map(lambda payload: payload + cards.check_digit(payload))


def test_the_check_digit_is_luhns() -> None:
    # The example of ISO/IEC 7812-1 and two published test numbers of card schemes.
    assert cards.check_digit("7992739871") == "3"
    assert cards.check_digit("411111111111111") == "1"
    assert cards.check_digit("555555555555444") == "4"


@given(numbers)
def test_a_number_is_taken_with_spaces_and_hyphens(number: str) -> None:
    spaced = " ".join(number[at : at + 4] for at in range(0, 16, 4))
    assert cards.check_number(number)
    assert cards.check_number(spaced)
    assert cards.normal_number(f" {spaced.replace(' ', '-')} ") == number


@given(numbers, st.integers(0, 15), st.integers(1, 9))
def test_any_single_wrong_digit_is_caught(number: str, at: int, by: int) -> None:
    wrong = number[:at] + str((int(number[at]) + by) % 10) + number[at + 1 :]
    assert not cards.check_number(wrong)


@given(numbers, st.integers(3, 14))
def test_two_neighbours_swapped_are_caught_but_for_09(number: str, at: int) -> None:
    a, b = number[at], number[at + 1]
    swapped = number[:at] + b + a + number[at + 2 :]
    assert cards.check_number(swapped) == (a == b or {a, b} == {"0", "9"})


@pytest.mark.parametrize(
    "text_", ["", "970", "4111111111111111", "٩٧٠٠٠٠٠٠٠٠٠٠٠٠٠٠", "9700000000000000\x00", "\ud800", "9" * 10_000]
)
def test_what_is_no_number_of_ours_is_none(text_: str) -> None:
    assert not cards.check_number(text_)


async def test_a_member_has_several_cards_and_loses_only_one(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault)
    async with database.transaction() as connection:
        second = await cards.issue(connection, vault, member_id=enrolled.member_id, at=AT)
        await cards.mark_lost(connection, enrolled.card.card_id, at=AT)
    found = await identification.identify_cards(database.pool, vault, [enrolled.card.number, second.number])
    lost, kept = found[enrolled.card.number], found[second.number]
    assert isinstance(lost, cards.CardBlocked)
    assert lost.member_id == enrolled.member_id
    assert isinstance(kept, identification.Identified)
    assert (kept.member_id, kept.card_id) == (enrolled.member_id, second.card_id)


async def test_a_blocked_card_reported_lost_stays_blocked(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault)
    async with database.transaction() as connection:
        await cards.block(connection, enrolled.card.card_id, at=AT)
        await cards.mark_lost(connection, enrolled.card.card_id, at=AT)
        status = await connection.execute(text("SELECT status FROM members.card"))
    assert status.scalar_one() == "BLOCKED"


async def test_a_card_that_is_not_there_cannot_be_lost(database: Database) -> None:
    with pytest.raises(cards.CardUnknown):
        async with database.transaction() as connection:
            await cards.mark_lost(connection, 1, at=AT)


async def test_nobody_and_who_left_get_no_card(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault)
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE members.member SET status = 'CLOSED'"))
    before = await everything_written(database)
    for member_id, rejection in ((enrolled.member_id, cards.MemberClosed), (10**9, cards.MemberUnknown)):
        with pytest.raises(rejection):
            async with database.transaction() as connection:
                await cards.issue(connection, vault, member_id=member_id, at=AT)
    assert await everything_written(database) == before


async def test_numbers_and_secrets_are_not_in_the_table(database: Database, vault: Vault) -> None:
    card = (await enrol(database, vault)).card
    [row] = (await everything_written(database))["card"]
    assert cards.check_number(card.number)
    assert card.last_four == card.number[-4:]
    assert card.number not in row
    assert card.secret.hex() not in row
    assert len(card.secret) * 8 == 160
    assert card.number not in repr(card)
    assert repr(card.secret) not in repr(card)


async def test_a_number_drawn_twice_is_drawn_again(
    database: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = (await enrol(database, vault)).card.number
    draw = cards._draw_number
    drawn = iter([taken, taken, taken])
    monkeypatch.setattr(cards, "_draw_number", lambda: next(drawn, None) or draw())
    async with database.transaction() as connection:
        issued = await cards.issue_anonymous(connection, vault, 3, AT)
    assert len({card.number for card in issued} | {taken}) == 4
    found = await identification.identify_cards(database.pool, vault, [card.number for card in issued])
    assert [found[card.number].member_id for card in issued] == [card.member_id for card in issued]  # type: ignore[union-attr]


async def test_an_anonymous_card_earns_then_is_registered_and_keeps_its_points(
    database: Database, vault: Vault
) -> None:
    async with database.transaction() as connection:
        first, second = await cards.issue_anonymous(connection, vault, 2, AT)
        await accrue(connection, first.member_id, 120, AT)
    anonymous = (await identification.identify_cards(database.pool, vault, [first.number]))[first.number]
    assert isinstance(anonymous, identification.Identified)
    assert anonymous.status == "ANONYMOUS"

    person = enrolment.Personal(name="Ada", phone="+44 20 7946 0000")
    enrolled = await enrol(database, vault, person, card_number=first.number, language="de")
    assert enrolled.member_id == first.member_id
    assert (enrolled.card.card_id, enrolled.card.secret) == (first.card_id, first.secret)
    known = (await identification.identify_cards(database.pool, vault, [first.number]))[first.number]
    assert isinstance(known, identification.Identified)
    assert (known.member_id, known.status, known.language) == (first.member_id, "ACTIVE", "de")
    async with database.reading() as connection:
        balance = await accounts.balance(connection, first.member_id, at=AT)
        assert balance is not None
        assert balance.available == 120
        told = await enrolment.personal(connection, vault, first.member_id)
    assert told is not None
    assert told.name == "Ada"
    assert second.member_id != first.member_id


@pytest.mark.parametrize("reason", ["registered", "lost", "unknown", "wrong digit"])
async def test_a_card_that_cannot_be_registered_is_refused_and_nothing_is_written(
    database: Database, vault: Vault, reason: str
) -> None:
    async with database.transaction() as connection:
        [card] = await cards.issue_anonymous(connection, vault, 1, AT)
    number, rejection = card.number, cards.CardUnknown
    if reason == "registered":
        await enrol(database, vault, card_number=number)
        rejection = cards.CardRegistered
    elif reason == "lost":
        async with database.transaction() as connection:
            await cards.mark_lost(connection, card.card_id, at=AT)
        rejection = cards.CardBlocked
    elif reason == "unknown":
        number = cards._draw_number()
    else:
        number = number[:-1] + str((int(number[-1]) + 1) % 10)
    before = await everything_written(database)
    with pytest.raises(rejection):
        await enrol(database, vault, enrolment.Personal(phone="+44 20 7946 0000"), card_number=number)
    assert await everything_written(database) == before


async def test_one_anonymous_card_is_registered_by_one_of_many(database: Database, vault: Vault) -> None:
    async with database.transaction() as connection:
        [card] = await cards.issue_anonymous(connection, vault, 1, AT)
    outcomes = await asyncio.gather(
        *(enrol(database, vault, external_id=str(n), card_number=card.number) for n in range(6)),
        return_exceptions=True,
    )
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, cards.CardRegistered) for outcome in outcomes) == 5
    assert len((await everything_written(database))["alias"]) == 1
