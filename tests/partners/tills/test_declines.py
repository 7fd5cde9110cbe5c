"""A final decline is told again to every retry, however old its code has grown; other input under its key is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members import cards, proofs
from members.cards import IssuedCard
from members.identification import MemberRef
from members.proofs import CodeExpired
from partners import outcomes
from partners.calls import Call
from partners.receipts.receipts import Receipt
from partners.tills import tills
from partners.tills.tills import Proof, Spend
from tests import builders
from tests.builders import DAY, NOON, a_receipt


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> builders.Coalition:
    founded = await builders.found(database, vault)
    await founded.add_partner("bakery", return_window_days=0)
    return founded


def proof_of(coalition: builders.Coalition, card: IssuedCard) -> Proof:
    code = proofs.code_for(card.secret, cards.ref(coalition.vault, card.card_id), proofs.step_at(NOON))
    return Proof(card_code=code)


async def buys(coalition: builders.Coalition, call: Call, card: IssuedCard, receipt: Receipt, points: int) -> Rejection:
    """The "no" to a purchase paid with points."""
    spend = Spend(points, None, proof_of(coalition, card))
    with pytest.raises(Rejection) as refused:
        await tills.record_purchase(coalition.desk, call, MemberRef(card_number=card.number), receipt, spend=spend)
    return refused.value


async def test_a_declined_purchase_is_declined_again_when_its_code_is_old_and_nothing_is_written(
    coalition: builders.Coalition,
) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    call = Call(coalition.callers["bakery"], uuid4(), NOON, NOON)
    assert isinstance(await buys(coalition, call, card, receipt, 100), outcomes.InsufficientPoints)
    written = await builders.rows_written(coalition.database.pool)
    later = replace(call, at=NOON + DAY)
    assert isinstance(await buys(coalition, later, card, receipt, 100), outcomes.InsufficientPoints)
    assert await builders.rows_written(coalition.database.pool) == written


async def test_another_amount_under_a_declined_key_is_told_so_even_with_an_old_code(
    coalition: builders.Coalition,
) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    call = Call(coalition.callers["bakery"], uuid4(), NOON, NOON)
    await buys(coalition, call, card, receipt, 100)
    later = replace(call, at=NOON + DAY)
    assert isinstance(await buys(coalition, later, card, receipt, 200), outcomes.IdempotencyKeyReused)


async def test_an_old_code_under_a_key_that_was_never_answered_is_old(coalition: builders.Coalition) -> None:
    card = await coalition.add_member()
    call = Call(coalition.callers["bakery"], uuid4(), NOON + timedelta(minutes=5), NOON)
    assert isinstance(await buys(coalition, call, card, a_receipt(10_000), 100), CodeExpired)


async def test_a_declined_redemption_is_declined_again_when_its_code_is_old(coalition: builders.Coalition) -> None:
    card, receipt = await coalition.add_member(), a_receipt(0)
    call = Call(coalition.callers["bakery"], uuid4(), NOON, NOON)
    for at, points, expected in (
        (NOON, 100, outcomes.InsufficientPoints),
        (NOON + DAY, 100, outcomes.InsufficientPoints),
        (NOON + DAY, 200, outcomes.IdempotencyKeyReused),
    ):
        with pytest.raises(expected):
            await tills.redeem_points(
                coalition.desk, replace(call, at=at), MemberRef(card_number=card.number), receipt,
                points=points, proof=proof_of(coalition, card),
            )  # fmt: skip
