from __future__ import annotations

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event, text

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from ledger import accounts
from members import aliases, consents, enrolment
from members.enrolment import AlreadyEnrolled, Newcomer, Personal, PersonalInvalid
from tests.members.people import AT, BAKERY, PHARMACY, agreed, enrol, everything_written

ADA = Personal("Ada Lovelace", "+44 20 7946 0958", "Ada@Example.org", date(1990, 12, 10))


@given(st.from_regex(r"[1-9][0-9]{7,14}", fullmatch=True), st.sampled_from([" ", "-", ".", "(", ""]))
def test_a_phone_is_the_same_however_it_is_written(digits: str, between: str) -> None:
    written = between.join(digits)
    assert aliases.normal_phone(f"+{written}") == digits
    assert aliases.normal_phone(f"00{written}") == digits
    assert aliases.normal_phone(f" {written} ") == digits


@pytest.mark.parametrize(
    "text_", ["", "+", "12", "+1234567890123456", "٠١٢٣٤٥٦٧٨", "44+2079460958", "0044 x", "\ud800"]
)
def test_what_is_no_phone_is_none(text_: str) -> None:
    assert aliases.normal_phone(text_) is None


def test_equal_numbers_at_two_partners_do_not_look_equal(vault: Vault) -> None:
    ours, theirs = aliases.external(vault, BAKERY, "17"), aliases.external(vault, PHARMACY, "17")
    assert ours is not None
    assert theirs is not None
    assert ours.lookup != theirs.lookup


async def test_a_new_member_has_a_card_an_account_and_their_data_back(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault, ADA, external_id="K-17")
    async with database.reading() as connection:
        told = await enrolment.personal(connection, vault, enrolled.member_id)
        balance = await accounts.balance(connection, enrolled.member_id, at=AT)
    assert told is not None
    assert (told.name, told.phone, told.email, told.birth_date) == (
        "Ada Lovelace", "+442079460958", "Ada@Example.org", date(1990, 12, 10),
    )  # fmt: skip
    assert balance is not None
    assert (balance.available, balance.pending, balance.seq) == (0, 0, 0)
    assert {table: len(rows) for table, rows in (await everything_written(database)).items()} == {
        "member": 1, "member_key": 1, "personal": 1, "alias": 3, "card": 1, "consent": 1, "account": 1,
        "code_use": 0, "tier_assessment": 0, "enrolment": 0, "approval": 0, "approval_decision": 0, "approval_use": 0,
    }  # fmt: skip


async def test_nothing_personal_is_in_clear_in_the_database(database: Database, vault: Vault) -> None:
    await enrol(database, vault, ADA, external_id="K-1789")
    written = await everything_written(database)
    everything = "\n".join(row for rows in written.values() for row in rows).lower()
    for clear in ("Lovelace", "442079460958", "example.org", "1990-12-10", "K-1789"):
        assert clear.lower() not in everything
        assert clear.encode().hex() not in everything
    assert "Ada" not in repr(ADA)


async def test_without_its_key_personal_data_is_gone(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault, ADA)
    other = await enrol(database, vault, Personal(name="Grace"))
    async with database.transaction() as connection:
        await connection.execute(
            text("DELETE FROM members.member_key WHERE member_id = :id"), {"id": enrolled.member_id}
        )
        assert await enrolment.personal(connection, vault, enrolled.member_id) is None
        kept = await enrolment.personal(connection, vault, other.member_id)
        assert kept is not None
        assert kept.name == "Grace"
        sealed = await connection.execute(text("SELECT count(*) FROM members.personal"))
    assert sealed.scalar_one() == 2


async def test_one_members_key_does_not_open_another(database: Database, vault: Vault) -> None:
    ada, grace = await enrol(database, vault, ADA), await enrol(database, vault, Personal(name="Grace"))
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "UPDATE members.personal SET sealed = (SELECT sealed FROM members.personal WHERE member_id = :ada) "
                "WHERE member_id = :grace"
            ),
            {"ada": ada.member_id, "grace": grace.member_id},
        )
        with pytest.raises(InvalidTag):
            await enrolment.personal(connection, vault, grace.member_id)


@pytest.mark.parametrize(
    ("given_", "code"),
    [
        ({"consents": []}, "CONSENT_REQUIRED"),
        ({"consents": [agreed(purpose="ADVERTISING_SMS")]}, "CONSENT_REQUIRED"),
        ({"consents": [agreed(partner_id=BAKERY)]}, "CONSENT_REQUIRED"),
        ({"consents": [agreed(), agreed(purpose="EVERYTHING")]}, "CONSENT_INVALID"),
        ({"personal": Personal(phone="12")}, "PERSONAL_INVALID"),
        ({"personal": Personal(email="nobody")}, "PERSONAL_INVALID"),
        ({"personal": Personal(name="\x00")}, "PERSONAL_INVALID"),
        ({"personal": Personal(birth_date=AT.date() + timedelta(days=1))}, "PERSONAL_INVALID"),
        ({"language": "english"}, "PERSONAL_INVALID"),
        ({"external_id": "\ud800"}, "PERSONAL_INVALID"),
    ],
)
async def test_who_cannot_be_enrolled_leaves_no_trace(
    database: Database, vault: Vault, given_: dict[str, Any], code: str
) -> None:
    with pytest.raises(Rejection) as raised:
        await enrol(database, vault, **given_)
    assert raised.value.code == code
    assert not any((await everything_written(database)).values())


@pytest.mark.parametrize(
    "given_",
    [
        {"personal": Personal(phone="0044 (20) 7946-0958")},
        {"personal": Personal(email="ADA@example.ORG")},
        {"external_id": " K-17 "},
    ],
)
async def test_who_is_a_member_already_is_told_so_and_no_more(
    database: Database, vault: Vault, given_: dict[str, Any]
) -> None:
    await enrol(database, vault, ADA, external_id="K-17")
    before = await everything_written(database)
    with pytest.raises(AlreadyEnrolled) as raised:
        await enrol(database, vault, **given_)
    assert (raised.value.message, raised.value.problems, raised.value.current) == ("already a member", (), None)
    assert await everything_written(database) == before


async def test_a_partners_own_number_is_taken_only_at_that_partner(database: Database, vault: Vault) -> None:
    here = await enrol(database, vault, external_id="K-17", enrolled_by=BAKERY)
    there = await enrol(database, vault, external_id="K-17", enrolled_by=PHARMACY)
    assert here.member_id != there.member_id


async def test_one_phone_enrols_once_however_many_try(database: Database, vault: Vault) -> None:
    outcomes = await asyncio.gather(*(enrol(database, vault, ADA) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(outcome, AlreadyEnrolled) for outcome in outcomes) == 7
    assert len((await everything_written(database))["member"]) == 1


async def test_an_import_enrols_thousands_in_as_many_statements_as_one_and_in_order(
    database: Database, vault: Vault
) -> None:
    newcomers = [
        Newcomer([agreed()], "en", Personal(name=f"Member {n}", phone=f"+4915100{n:05d}"), external_id=str(n))
        for n in range(2_500)
    ]
    first, rest = await _enrolled(database, vault, newcomers[:1]), await _enrolled(database, vault, newcomers[1:])
    assert first[1] == rest[1] > 0
    enrolled = first[0] + rest[0]
    assert len({one.card.number for one in enrolled}) == 2_500
    async with database.reading() as connection:
        for n in (0, 1_249, 2_499):
            told = await enrolment.personal(connection, vault, enrolled[n].member_id)
            assert told is not None
            assert told.name == f"Member {n}"


async def _enrolled(
    database: Database, vault: Vault, newcomers: list[Newcomer]
) -> tuple[list[enrolment.Enrolled], int]:
    """Those enrolled, and how many statements it took."""
    said: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        said.append(statement)

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        async with database.transaction() as connection:
            found = await enrolment.enrol_many(connection, vault, newcomers, at=AT, enrolled_by=BAKERY)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return found, len(said)


async def test_an_import_is_all_or_nothing_and_says_which(database: Database, vault: Vault) -> None:
    await enrol(database, vault, external_id="taken")
    before = await everything_written(database)
    newcomers = [Newcomer([agreed()], external_id=external_id) for external_id in ("a", "taken", "b", "a")]
    with pytest.raises(AlreadyEnrolled) as raised:
        async with database.transaction() as connection:
            await enrolment.enrol_many(connection, vault, newcomers, at=AT, enrolled_by=BAKERY)
    assert [problem.path for problem in raised.value.problems] == [("1",), ("3",)]
    assert await everything_written(database) == before


async def test_a_consent_dated_ahead_counts_from_now(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault, consents=[agreed(AT + timedelta(hours=1))])
    async with database.reading() as connection:
        assert await consents.is_granted(connection, enrolled.member_id, consents.PROGRAMME, AT)


async def test_an_instrument_is_bound_to_one_member(database: Database, vault: Vault) -> None:
    ada, grace = await enrol(database, vault), await enrol(database, vault)
    async with database.transaction() as connection:
        await enrolment.bind_instrument(connection, vault, ada.member_id, partner_id=BAKERY, token="tok_1")
    before = await everything_written(database)
    for rejection, token in ((AlreadyEnrolled, "tok_1"), (PersonalInvalid, "")):
        with pytest.raises(rejection):
            async with database.transaction() as connection:
                await enrolment.bind_instrument(connection, vault, grace.member_id, partner_id=BAKERY, token=token)
    assert await everything_written(database) == before
