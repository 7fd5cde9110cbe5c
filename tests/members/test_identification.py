from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import cards, enrolment, identification, proofs
from members.enrolment import Personal
from members.identification import Identified, MemberRef
from tests.members.people import AT, BAKERY, PHARMACY, enrol

TILL = 3


async def at_till(database: Database, vault: Vault, ref: MemberRef, **given: Any) -> Identified:
    arguments = {"partner_id": BAKERY, "terminal_id": TILL, "at": AT} | given
    async with database.reading() as connection:
        return await identification.identify(connection, vault, ref, **arguments)


class Counting:
    """A pool that counts what it is asked."""

    def __init__(self, pool: Any) -> None:
        self.pool, self.queries = pool, 0

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        self.queries += 1
        return list(await self.pool.fetch(query, *args))


async def test_a_batch_of_cards_is_one_query_and_everyone_gets_an_answer(database: Database, vault: Vault) -> None:
    ada, lost, left = [await enrol(database, vault) for _ in range(3)]
    async with database.transaction() as connection:
        [anonymous] = await cards.issue_anonymous(connection, vault, 1, AT)
        await cards.mark_lost(connection, lost.card.card_id, at=AT)
        await connection.execute(
            text("UPDATE members.member SET status = 'CLOSED' WHERE member_id = :id"), {"id": left.member_id}
        )
    spaced = f"{ada.card.number[:4]} {ada.card.number[4:]}"
    stranger = cards._draw_number()
    asked: Sequence[str] = [
        ada.card.number, spaced, anonymous.number, lost.card.number, left.card.number, stranger, "970", "\ud800",
    ]  # fmt: skip
    pool = Counting(database.pool)
    found = await identification.identify_cards(pool, vault, asked)
    assert pool.queries == 1
    expected = Identified(ada.member_id, ada.card.card_id, "NUMBER", "BASE", "en", "ACTIVE")
    assert found[ada.card.number] == found[spaced] == expected
    codes = {number: found[number].code for number in asked[3:]}  # type: ignore[union-attr]
    assert list(codes.values()) == ["CARD_BLOCKED", "MEMBER_CLOSED", "CARD_UNKNOWN", "CARD_UNKNOWN", "CARD_UNKNOWN"]
    assert isinstance(found[anonymous.number], Identified)


async def test_numbers_that_cannot_be_right_do_not_reach_the_database(database: Database, vault: Vault) -> None:
    pool = Counting(database.pool)
    found = await identification.identify_cards(pool, vault, ["4111 1111 1111 1111", "9700000000000000"])
    assert {rejection.code for rejection in found.values()} == {"CARD_UNKNOWN"}  # type: ignore[union-attr]
    assert pool.queries == 0


async def test_one_member_is_found_in_every_way(database: Database, vault: Vault) -> None:
    person = Personal(phone="+44 20 7946 0958")
    ada = await enrol(database, vault, person, external_id="K-17", language="de")
    async with database.transaction() as connection:
        await enrolment.bind_instrument(connection, vault, ada.member_id, partner_id=BAKERY, token="tok_1")
    code = proofs.code_for(ada.card.secret, cards.ref(vault, ada.card.card_id), proofs.step_at(AT))
    for ref, level, card_id in (
        (MemberRef(id=ada.member_id), "ID", None),
        (MemberRef(card_number=ada.card.number), "NUMBER", ada.card.card_id),
        (MemberRef(card_code=code), "CODE", ada.card.card_id),
        (MemberRef(phone="0044 20 79460958"), "ALIAS", None),
        (MemberRef(external_id="K-17"), "ALIAS", None),
        (MemberRef(instrument_token="tok_1"), "ALIAS", None),
    ):
        found = await at_till(database, vault, ref)
        assert found == Identified(ada.member_id, card_id, level, "BASE", "de", "ACTIVE")


async def test_nobody_is_found_by_what_is_not_theirs(database: Database, vault: Vault) -> None:
    ada = await enrol(database, vault, Personal(phone="+442079460958"), external_id="K-17")
    async with database.transaction() as connection:
        await enrolment.bind_instrument(connection, vault, ada.member_id, partner_id=BAKERY, token="tok_1")
    for ref, partner_id, code in (
        (MemberRef(id=ada.member_id + 1_000), BAKERY, "MEMBER_UNKNOWN"),
        (MemberRef(phone="+442079460959"), BAKERY, "MEMBER_UNKNOWN"),
        (MemberRef(phone="\ud800"), BAKERY, "MEMBER_UNKNOWN"),
        (MemberRef(external_id="K-17"), PHARMACY, "MEMBER_UNKNOWN"),
        (MemberRef(external_id="\x00"), BAKERY, "MEMBER_UNKNOWN"),
        (MemberRef(instrument_token="tok_1"), PHARMACY, "MEMBER_UNKNOWN"),
        (MemberRef(instrument_token="K-17"), BAKERY, "MEMBER_UNKNOWN"),
        (MemberRef(visit="vst_"), BAKERY, "MEMBER_UNKNOWN"),
        (MemberRef(visit="vst_é"), BAKERY, "MEMBER_UNKNOWN"),
        (MemberRef(card_number=cards._draw_number()), BAKERY, "CARD_UNKNOWN"),
        (MemberRef(card_code="L1.x.1.12345678"), BAKERY, "CODE_INVALID"),
    ):
        with pytest.raises(Rejection) as raised:
            await at_till(database, vault, ref, partner_id=partner_id)
        assert raised.value.code == code, ref


@pytest.mark.parametrize("given_", [{}, {"id": 1, "phone": "+442079460958"}])
def test_a_member_is_named_in_exactly_one_way(given_: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        MemberRef(**given_)


def test_a_reference_does_not_print_what_names_the_member() -> None:
    assert "7946" not in repr(MemberRef(phone="+442079460958"))


async def begun(database: Database, vault: Vault, ref: MemberRef) -> str:
    found = await at_till(database, vault, ref)
    visit = identification.begin_visit(found, partner_id=BAKERY, terminal_id=TILL, at=AT)
    return identification.issue_visit(vault, visit)


async def test_a_visit_says_how_well_the_member_was_identified_and_ends(database: Database, vault: Vault) -> None:
    ada = await enrol(database, vault)
    token = await begun(database, vault, MemberRef(card_number=ada.card.number))
    last = AT + timedelta(minutes=10) - timedelta(microseconds=1)
    found = await at_till(database, vault, MemberRef(visit=token), at=last)
    assert (found.member_id, found.card_id, found.level) == (ada.member_id, ada.card.card_id, "VISIT")
    assert found.visit is not None
    assert found.visit.level == "NUMBER"
    with pytest.raises(identification.VisitExpired) as raised:
        await at_till(database, vault, MemberRef(visit=token), at=AT + timedelta(minutes=10))
    assert raised.value.member_id == ada.member_id


async def test_a_visit_asked_for_again_ends_no_later(database: Database, vault: Vault) -> None:
    ada = await enrol(database, vault)
    token = await begun(database, vault, MemberRef(id=ada.member_id))
    later = AT + timedelta(minutes=9)
    found = await at_till(database, vault, MemberRef(visit=token), at=later)
    again = identification.begin_visit(found, partner_id=BAKERY, terminal_id=TILL, at=later)
    assert identification.issue_visit(vault, again) == token


@pytest.mark.parametrize("where", [{"partner_id": PHARMACY}, {"terminal_id": TILL + 1}, {"terminal_id": None}])
async def test_a_visit_is_nothing_at_another_till(database: Database, vault: Vault, where: dict[str, Any]) -> None:
    ada = await enrol(database, vault)
    token = await begun(database, vault, MemberRef(id=ada.member_id))
    for at in (AT, AT + timedelta(hours=1)):
        with pytest.raises(cards.MemberUnknown):
            await at_till(database, vault, MemberRef(visit=token), at=at, **where)


async def test_a_card_lost_during_the_visit_is_refused(database: Database, vault: Vault) -> None:
    ada = await enrol(database, vault)
    token = await begun(database, vault, MemberRef(card_number=ada.card.number))
    async with database.transaction() as connection:
        await cards.mark_lost(connection, ada.card.card_id, at=AT)
    with pytest.raises(cards.CardBlocked):
        await at_till(database, vault, MemberRef(visit=token))


async def test_a_visit_without_a_terminal_is_bound_to_none(database: Database, vault: Vault) -> None:
    ada = await enrol(database, vault)
    found = await at_till(database, vault, MemberRef(id=ada.member_id), terminal_id=None)
    visit = identification.begin_visit(found, partner_id=BAKERY, terminal_id=None, at=AT)
    token = identification.issue_visit(vault, visit)
    assert (await at_till(database, vault, MemberRef(visit=token), terminal_id=None)).member_id == ada.member_id
    with pytest.raises(cards.MemberUnknown):
        await at_till(database, vault, MemberRef(visit=token))
