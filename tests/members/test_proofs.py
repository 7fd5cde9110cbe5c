from __future__ import annotations

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import cards, proofs
from tests.members.people import AT, enrol, everything_written

STEP = timedelta(seconds=30)


@pytest.mark.parametrize(
    ("second", "digits"),
    [
        (59, "46119246"), (1111111109, "68084774"), (1111111111, "67062674"),
        (1234567890, "91819424"), (2000000000, "90698825"), (20000000000, "77737706"),
    ],
)  # fmt: skip
def test_the_digits_are_those_of_rfc_6238(second: int, digits: str) -> None:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    assert proofs.digits_for(b"12345678901234567890123456789012", proofs.step_at(at)) == digits


def hmac_sha256_by_hand(key: bytes, message: bytes) -> bytes:
    """RFC 2104 from its definition, for keys of at most one block."""
    block = key.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner).digest()


@given(st.binary(min_size=20, max_size=20), st.integers(0, 10**10))
def test_the_truncation_agrees_with_one_written_from_the_definition(secret: bytes, step: int) -> None:
    bits = "".join(f"{byte:08b}" for byte in hmac_sha256_by_hand(secret, step.to_bytes(8, "big")))
    offset = int(bits[-4:], 2) * 8
    expected = str(int(bits[offset + 1 : offset + 32], 2))[-8:].zfill(8)
    assert proofs.code_for(secret, "c_x", step) == f"L1.c_x.{step}.{expected}"


async def looked_at(database: Database, vault: Vault, code: str, at: datetime = AT) -> proofs.CodeProof:
    async with database.reading() as connection:
        return await proofs.verify_code(connection, vault, code, at=at)


def code_of(vault: Vault, card: cards.IssuedCard, at: datetime) -> str:
    return proofs.code_for(card.secret, cards.ref(vault, card.card_id), proofs.step_at(at))


async def test_a_code_is_good_one_step_either_way(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault)
    card = enrolled.card
    for off in (-STEP, timedelta(0), STEP):
        proof = await looked_at(database, vault, code_of(vault, card, AT + off))
        assert proof == proofs.CodeProof(card.card_id, enrolled.member_id, proofs.step_at(AT + off))
    with pytest.raises(proofs.CodeExpired) as raised:
        await looked_at(database, vault, code_of(vault, card, AT - 2 * STEP))
    assert raised.value.member_id == enrolled.member_id
    with pytest.raises(proofs.CodeInvalid):
        await looked_at(database, vault, code_of(vault, card, AT + 2 * STEP))


async def test_a_code_does_not_show_the_number(database: Database, vault: Vault) -> None:
    card = (await enrol(database, vault)).card
    code = code_of(vault, card, AT)
    assert re.fullmatch(r"L1\.c_[A-Za-z0-9_-]+\.[0-9]+\.[0-9]{8}", code)
    assert card.number not in code
    assert len(code) < 64


async def test_a_code_that_is_not_the_cards_is_invalid(database: Database, vault: Vault) -> None:
    ada, grace = (await enrol(database, vault)).card, (await enrol(database, vault)).card
    prefix, ref, step, digits = code_of(vault, ada, AT).split(".")
    wrong = f"{(int(digits) + 1) % 10**8:08d}"
    foreign = cards.ref(vault, 10**9)
    for code in (
        "", "L1", f"L2.{ref}.{step}.{digits}", f"{prefix}.{ref}.{step}.{wrong}", f"{prefix}.{foreign}.{step}.{digits}",
        f"{prefix}.{cards.ref(vault, grace.card_id)}.{step}.{digits}", f"{prefix}.{ref}.{int(step) + 1}.{digits}",
        f"{prefix}.{ref[:-1]}.{step}.{digits}", f"{prefix}.{ref}.{step}.{digits}\n", f"{prefix}.{ref}.-1.{digits}",
        f"{prefix}.{ref}.{'9' * 12}.{digits}", f"{prefix}.{ada.number}.{step}.{digits}", "L1.\ud800.1.12345678",
    ):  # fmt: skip
        with pytest.raises(proofs.CodeInvalid):
            await looked_at(database, vault, code)


async def test_a_code_of_a_lost_card_is_refused(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault)
    async with database.transaction() as connection:
        await cards.mark_lost(connection, enrolled.card.card_id, at=AT)
    with pytest.raises(cards.CardBlocked):
        await looked_at(database, vault, code_of(vault, enrolled.card, AT))


async def test_a_code_used_once_is_refused_and_the_next_is_good(database: Database, vault: Vault) -> None:
    enrolled = await enrol(database, vault)
    proof = await looked_at(database, vault, code_of(vault, enrolled.card, AT))
    use = text("INSERT INTO members.code_use (card_id, step, used_at) VALUES (:card, :step, :at)")
    async with database.transaction() as connection:
        await connection.execute(use, {"card": proof.card_id, "step": proof.step, "at": AT})
    with pytest.raises(proofs.CodeUsed) as raised:
        await looked_at(database, vault, code_of(vault, enrolled.card, AT), AT + STEP)
    assert raised.value.member_id == enrolled.member_id
    assert (await looked_at(database, vault, code_of(vault, enrolled.card, AT + STEP))).step == proof.step + 1


async def test_looking_at_a_code_writes_nothing(database: Database, vault: Vault) -> None:
    card = (await enrol(database, vault)).card
    before = await everything_written(database)
    await looked_at(database, vault, code_of(vault, card, AT))
    assert await everything_written(database) == before


# --- The PIN ------------------------------------------------------------------------------------------------


async def with_pin(database: Database, vault: Vault, pin: str = "4711") -> int:
    member_id = (await enrol(database, vault)).member_id
    async with database.transaction() as connection:
        await proofs.set_pin(connection, vault, member_id, pin)
    return member_id


async def guess(database: Database, vault: Vault, member_id: int, pin: str, now: datetime = AT) -> str:
    try:
        await proofs.check_pin(database, vault, member_id, pin, now=now)
    except Rejection as rejection:
        return rejection.code
    return "OK"


async def test_the_right_pin_is_taken_and_a_wrong_one_is_not(database: Database, vault: Vault) -> None:
    member_id = await with_pin(database, vault, "47110815")
    assert await guess(database, vault, member_id, "47110815") == "OK"
    for wrong in ("47110816", "4711081", "", "4711081\x00", "٤٧١١"):
        assert await guess(database, vault, member_id, wrong) == "PIN_INVALID"
    [row] = (await everything_written(database))["member"]
    assert "47110815" not in row


async def test_who_has_no_pin_is_told_so(database: Database, vault: Vault) -> None:
    member_id = (await enrol(database, vault)).member_id
    before = await everything_written(database)
    assert await guess(database, vault, member_id, "4711") == "PIN_NOT_SET"
    assert await guess(database, vault, member_id + 1_000, "4711") == "MEMBER_UNKNOWN"
    assert await everything_written(database) == before


@pytest.mark.parametrize("pin", ["", "123", "123456789", "12a4", "١٢٣٤"])
async def test_a_pin_has_four_to_eight_digits(database: Database, vault: Vault, pin: str) -> None:
    member_id = (await enrol(database, vault)).member_id
    with pytest.raises(proofs.PinFormat):
        async with database.transaction() as connection:
            await proofs.set_pin(connection, vault, member_id, pin)


async def test_five_wrong_pins_lock_even_the_right_one_for_a_quarter_of_an_hour(
    database: Database, vault: Vault
) -> None:
    member_id = await with_pin(database, vault)
    minute = timedelta(minutes=1)
    for n in range(5):
        assert await guess(database, vault, member_id, "0000", AT + n * minute) == "PIN_INVALID"
    locked_until = AT + 4 * minute + timedelta(minutes=15)
    assert await guess(database, vault, member_id, "4711", locked_until - timedelta(seconds=1)) == "PIN_LOCKED"
    assert await guess(database, vault, member_id, "0000", locked_until) == "PIN_INVALID"
    assert await guess(database, vault, member_id, "4711", locked_until) == "OK"


async def test_the_right_pin_forgives_and_so_does_a_quiet_quarter(database: Database, vault: Vault) -> None:
    member_id = await with_pin(database, vault)
    for now in (AT, AT + timedelta(minutes=16)):
        for _ in range(4):
            assert await guess(database, vault, member_id, "0000", now) == "PIN_INVALID"
    assert await guess(database, vault, member_id, "4711", AT + timedelta(minutes=16)) == "OK"
    for _ in range(4):
        assert await guess(database, vault, member_id, "0000", AT + timedelta(minutes=17)) == "PIN_INVALID"
    assert await guess(database, vault, member_id, "4711", AT + timedelta(minutes=17)) == "OK"


async def test_fifty_guesses_at_once_get_five_tries(database: Database, vault: Vault) -> None:
    member_id = await with_pin(database, vault)
    outcomes = await asyncio.gather(*(guess(database, vault, member_id, f"{n:04d}") for n in range(50)))
    assert sorted(outcomes) == ["PIN_INVALID"] * 5 + ["PIN_LOCKED"] * 45
    assert await guess(database, vault, member_id, "4711") == "PIN_LOCKED"


async def test_a_new_pin_ends_the_lock(database: Database, vault: Vault) -> None:
    member_id = await with_pin(database, vault)
    for _ in range(6):
        await guess(database, vault, member_id, "0000")
    async with database.transaction() as connection:
        await proofs.set_pin(connection, vault, member_id, "12345678")
    assert await guess(database, vault, member_id, "4711") == "PIN_INVALID"
    assert await guess(database, vault, member_id, "12345678") == "OK"


async def test_a_pin_cannot_be_tried_without_the_vaults_key(database: Database, vault: Vault) -> None:
    member_id = await with_pin(database, vault)
    assert await guess(database, Vault(bytes(reversed(range(32)))), member_id, "4711") == "PIN_INVALID"
