"""What a partner may do with points by its agreement, at its tills."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kit import actors
from kit.database import Database
from kit.errors import Rejection
from kit.secrets import Vault
from members.identification import MemberRef
from partners import callers
from partners.adjustments import adjustments
from partners.adjustments.adjustments import AdjustmentDraft
from partners.agreements import roles
from partners.agreements.roles import PartnerDoesNotIssue, PartnerDoesNotRedeem
from partners.calls import Call
from partners.decisions import earning
from partners.holds.holds import HoldWish
from partners.receipts.records import PURCHASE
from partners.tills import batches, tills
from tests.builders import NOON, PROGRAMME, Coalition, a_receipt, rows_written, violations
from tests.founded import a_coalition, met
from tests.partners.purchases.test_purchases import available, record
from tests.partners.returns.test_returns import give_back

template = a_coalition(
    bakery={"return_window_days": 0},
    issuer={"role": "ISSUER", "return_window_days": 0},
    redeemer={"role": "REDEEMER"},
    honours={"role": "HONOURS", "bill_share_bp": 0},
    leaving={"role": "RUN_OFF"},
)


@pytest.fixture
async def coalition(database: Database, vault: Vault) -> AsyncIterator[Coalition]:
    made = await met(database, vault)
    yield made
    assert await violations(database.pool) == []
    await made.desk.close()


def call_of(coalition: Coalition, partner: str, key: str) -> Call:
    caller = coalition.callers[partner]
    return Call(caller, callers.idem_key_of(caller, "x", key), NOON, NOON)


async def refused(coalition: Coalition, expected: type[Rejection], attempt: object) -> None:
    before = await rows_written(coalition.desk.pool)
    with pytest.raises(expected):
        await attempt  # type: ignore[misc]
    assert await rows_written(coalition.desk.pool) == before


@pytest.mark.parametrize("partner", ["redeemer", "honours", "leaving"])
async def test_who_does_not_issue_grants_no_points_and_records_its_receipts(coalition: Coalition, partner: str) -> None:
    card = await coalition.add_member()
    ref = MemberRef(card_number=card.number)
    done = await tills.record_purchase(
        coalition.desk, call_of(coalition, partner, "k1"), ref, a_receipt(5_000), spend=None
    )
    assert (done.receipt.awarded_points, done.receipt.kind) == (0, PURCHASE)
    assert [code for code, _, _ in done.receipt.decision["reasons"]] == ["PARTNER_DOES_NOT_ISSUE"]
    await refused(
        coalition,
        PartnerDoesNotIssue,
        tills.record_purchase(
            coalition.desk, call_of(coalition, partner, "k2"), ref, a_receipt(5_000), spend=None, must_earn=True
        ),
    )
    before = await rows_written(coalition.desk.pool)
    [answer] = await batches.accrue_many(coalition.desk, coalition.callers[partner], [(ref, a_receipt(5_000))], at=NOON)
    assert isinstance(answer, PartnerDoesNotIssue)
    assert await rows_written(coalition.desk.pool) == before


@pytest.mark.parametrize("partner", ["issuer", "honours", "leaving"])
async def test_at_who_does_not_redeem_no_points_are_spent_or_held(coalition: Coalition, partner: str) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(10_000))
    ref = MemberRef(card_number=card.number)
    await refused(
        coalition,
        PartnerDoesNotRedeem,
        tills.redeem_points(
            coalition.desk, call_of(coalition, partner, "k1"), ref, a_receipt(0), points=10, proof=None
        ),
    )
    await refused(
        coalition,
        PartnerDoesNotRedeem,
        tills.place_hold(
            coalition.desk, call_of(coalition, partner, "k2"), ref, "1", "1", HoldWish(10, None, "H1"), proof=None
        ),
    )
    assert await available(coalition, card) == 100


async def test_a_redeemer_takes_points_and_the_rest_of_the_bill_earns_nothing(coalition: Coalition) -> None:
    card = await coalition.add_member()
    await record(coalition, card, a_receipt(10_000))
    receipt = a_receipt(200)
    done = await record(coalition, card, receipt, partner="redeemer", spend=100)
    assert (done.receipt.redeemed_points, done.receipt.awarded_points) == (100, 0)
    back = await give_back(coalition, receipt, partner="redeemer")
    assert (back.refunded_points, back.taken_points) == (100, 0)


async def test_points_that_an_issuer_granted_are_returned_as_anywhere(coalition: Coalition) -> None:
    card, receipt = await coalition.add_member(), a_receipt(10_000)
    await record(coalition, card, receipt, partner="issuer")
    done = await give_back(coalition, receipt, partner="issuer")
    assert done.taken_points == 100


async def test_goodwill_is_not_issued_under_an_agreement_that_issues_nothing(coalition: Coalition) -> None:
    card = await coalition.add_member()
    async with coalition.database.transaction() as connection:
        mia = await actors.ensure_actor(connection, "mia", [actors.MEMBER_CARE_MAKER])
        with pytest.raises(PartnerDoesNotIssue):
            await adjustments.propose(
                connection, AdjustmentDraft(card.member_id, 5, "GOODWILL", "redeemer"), maker=mia, at=NOON
            )


async def test_what_is_awarded_is_decided_by_the_role_and_the_operator_funds_its_own(coalition: Coalition) -> None:
    directory = await coalition.desk.directory.get()
    lines = [earning.EarnLine("1", "GOODS", 10_000)]
    for code in ("bakery", "issuer", "redeemer", "honours", "leaving"):
        terms = directory.terms_at(coalition.callers[code].partner_id, NOON)
        assert terms is not None
        award = earning.evaluate(lines, terms=terms, programme=PROGRAMME, tier="BASE", occurred_at=NOON)
        assert (award.points > 0) is terms.issues
        assert sum(award.line_points.values()) == award.points
        if terms.redeems:
            roles.require_redeemer(terms)
