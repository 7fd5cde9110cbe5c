"""What the demonstration prints at its end."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, date, datetime

import pytest
from rich.console import Console

from gateway.demo import report
from gateway.demo.coalition import TillCard, TillClient, Tills
from gateway.demo.replay import Tally
from gateway.demo.report import Check, Cost, Points, Shopper, Standing
from gateway.figures import Figures
from ledger.cutoffs import Turnover
from members import proofs
from partners.clearing.clearing import OwedGroup
from settlement.netting import Bilateral

AT = datetime(2017, 2, 26, tzinfo=UTC)
CARD = TillCard("9701234567890128", "c_ref", b"s" * 20)
TILLS = Tills(2017, {"supermarket": TillClient("cl_x", "tsk_y")}, {7: CARD})


def moved(debit: int, credit: int, points: int) -> Turnover:
    return Turnover(debit, credit, 1, 1, 1, 1, 1, points, 1)


def a_standing(*checks: Check) -> Standing:
    return Standing(
        figures=Figures("Demo", "USD", 2, 3, 12_345, date(2017, 2, 25), 500, 300, 0),
        points=Points(issued=1_000, redeemed=150, returned=40, expired=10, available=500, pending=300, held=0),
        nets={0: 3_500, 1: -4_000, 2: 500},
        run_count=2,
        pairs=[Bilateral(1, 2, "USD", "USD", 150, 1_275_000, 1_200_000)],
        obligation_points=500,
        obligation_micro=4_250_000,
        checks=checks,
    )


def printed(standing: Standing, *more: Check) -> str:
    console = Console(width=100, record=True, force_terminal=False)
    with console.capture() as captured:
        report.show(console, standing, more, Tally(), {0: "Operator", 1: "Bakery", 2: "Fuel"})
    return captured.get()


def test_points_are_followed_from_issue_to_where_they_are_and_refunds_are_no_redemptions() -> None:
    found = report.points_of([
        moved(10, 2, 1_000), moved(10, 1, 100), moved(2, 1, 600), moved(1, 11, 300), moved(11, 1, 50),
        moved(2, 13, 40), moved(1, 13, 10), moved(1, 12, 5),
    ])  # fmt: skip
    assert found == Points(issued=1_100, redeemed=250, returned=50, expired=5, available=435, pending=360, held=0)
    assert found.outstanding == 795
    assert found.issued == found.redeemed + found.returned + found.expired + found.outstanding


def test_points_that_are_owed_or_forgiven_are_followed_too() -> None:
    found = report.points_of(
        [moved(10, 1, 100), moved(1, 11, 100), moved(4, 13, 60), moved(19, 13, 40), moved(1, 4, 0)]
    )
    assert (found.returned, found.owed, found.outstanding) == (60, 60, 0)
    assert found.issued + found.owed == found.redeemed + found.returned + found.expired + found.outstanding


def test_the_report_says_who_pays_who_receives_and_that_it_sums_to_zero() -> None:
    lines = [" ".join(line.replace("│", " ").split()) for line in printed(a_standing()).splitlines()]
    assert "Bakery pays 40.00 USD" in lines
    assert "Fuel receives 5.00 USD" in lines
    assert "Operator receives 35.00 USD" in lines
    assert "Sum 0.00 USD" in lines
    assert "Bakery Fuel 150 1.28 USD 1.20 USD" in lines
    assert "outstanding 800" in lines
    assert "in money 4.25 USD" in lines


def test_every_check_is_printed_as_held_or_broken_with_what_says_so() -> None:
    text = printed(a_standing(Check("nets sum to zero", True)), Check("nothing changed", False, "[1] instead of [2]"))
    assert "nets sum to zero: held" in text
    assert "nothing changed: BROKEN [1] instead of [2]" in text


@pytest.mark.parametrize(("points", "spent"), [(0, None), (40, "40"), (2_000, "100")])
def test_the_conversation_is_shell_that_a_shell_understands_with_json_that_fits(points: int, spent: str | None) -> None:
    text = report.conversation("http://127.0.0.1:8000", TILLS, Shopper(CARD, points), at=AT)
    token, _, calls = text.partition("\ncurl")
    assert "cl_x:tsk_y" in token
    quote, purchase = (json.loads(shlex.split(line)[-1]) for line in ("curl" + calls).splitlines())
    assert quote["variables"]["input"]["member"] == {"cardNumber": CARD.number}
    given = purchase["variables"]["input"]
    assert 16 <= len(given["idempotencyKey"]) <= 64
    assert given["receipt"]["occurredAt"] == "2017-02-26T00:00:00Z"
    if spent is None:
        assert "redeem" not in given
    else:
        code = proofs.code_for(CARD.secret, CARD.reference, proofs.step_at(AT))
        assert given["redeem"] == {"points": spent, "proof": {"cardCode": code}}


def test_what_a_funder_pays_elsewhere_is_told_apart_and_a_discount_taken_back_is_paid_by_nobody() -> None:
    def given(funder_id: int, points: int) -> Turnover:
        return Turnover(10, 1, 1, funder_id, 1, 1, 1, points, 1)

    owed = [OwedGroup(1, 1, 2, 1, 1, "USD", False, 60, 2), OwedGroup(1, 1, 1, 2, 1, "USD", True, 25, 1)]
    assert report.costs_of([given(1, 100), given(2, 40), moved(1, 13, 7)], owed) == {
        1: Cost(points_here=100),
        2: Cost(points_elsewhere=40, discount_minor=35),
    }
