"""Fees that go back when their days are allocated: who bears them is the agreement's to say, month by month."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.reports.tables import LANGUAGES
from kit.secrets import Vault
from members.subscription import charging, subscriptions
from members.subscription.providers import Told
from members.subscription.subscriptions import Wish
from settlement.money import controls as money_controls
from settlement.reports import catalogue
from settlement.reports.catalogue import Wanted
from settlement.subscription import allocation, corrections, months
from settlement.subscription.allocation import METHODS, Fee, MeteredUse, Rules
from settlement.subscription.corrections import Taken
from tests.settlement import test_fees
from tests.settlement.test_fees import APRIL, MARCH, Clubbed
from tests.settlement.test_package_building import package, verify

template, coalition, club = test_fees.template, test_fees.coalition, test_fees.club
MAY, JUNE = date(2026, 5, 1), date(2026, 6, 1)
SAYS = {"fee_return_policy": "DATED_CORRECTION"}
START = datetime(2026, 3, 1, 9, tzinfo=UTC)


async def corrected(club: Clubbed) -> dict[tuple[date, date, str], int]:
    """Every correction by the month that states it, the month that it corrects and the partner."""
    rows = await club.database.pool.fetch(
        "SELECT month, of_month, code, amount_micro FROM settlement.fee_correction "
        "JOIN partners.partner USING (partner_id) ORDER BY 1, 2, 3"
    )
    return {(row["month"], row["of_month"], row["code"]): row["amount_micro"] for row in rows}


async def everything_adds_up(club: Clubbed, coalition: Any) -> None:
    """Partners, operator, tax, what went back and what is not served yet are the fees that were paid, to the
    micro-unit. What a bank took back of days that were served is the operator's loss."""
    sums = await club.database.pool.fetchrow("""
        SELECT (SELECT sum(amount_minor) FROM members.fee_payment WHERE at < '2026-07-01') * 10000 AS fees,
               (SELECT sum(tax_minor) FROM members.invoice JOIN members.fee_payment USING (invoice_no)
                WHERE at < '2026-07-01') * 10000 AS tax,
               (SELECT coalesce(sum(net_minor + tax_minor + lost_minor), 0) FROM members.credit_note) * 10000 AS back,
               (SELECT coalesce(sum(tax_minor), 0) FROM members.credit_note) * 10000 AS tax_back,
               (SELECT coalesce(sum(lost_minor), 0) FROM members.credit_note) * 10000 AS lost,
               (SELECT sum(amount_micro) FROM settlement.fee_event WHERE payee_id > 0) AS partners,
               (SELECT sum(amount_micro) FROM settlement.fee_share) AS shares,
               (SELECT coalesce(sum(amount_micro), 0) FROM settlement.fee_correction) AS corrected,
               (SELECT sum(recognised_minor) FROM settlement.fee_recognition) * 10000 AS recognised,
               (SELECT sum(reserve_micro + operator_micro + charging_micro) FROM settlement.fee_month) AS operator
    """)
    assert sums["partners"] == sums["shares"] + sums["corrected"]
    operator = sums["operator"] - sums["corrected"]  # what partners gave back covers a part of what was lost
    deferred = -await club.balance("2400")
    assert sums["partners"] + operator == sums["recognised"]
    tax = sums["tax"] - sums["tax_back"]
    assert sums["partners"] + operator - sums["lost"] + deferred + tax + sums["back"] == sums["fees"]
    assert await club.balance("5400") == sums["lost"]
    assert await coalition.violations() == []
    async with club.database.reading() as connection:
        assert await money_controls.violations(connection) == []


@pytest.mark.parametrize(
    ("since", "expected"),
    [
        (None, {}),
        (START, {(APRIL, MARCH, "b"): -6_140_000, (MAY, APRIL, "b"): -8_000_000}),
        # Signed when March was closed: March stays.
        (datetime(2026, 4, 5, tzinfo=UTC), {(MAY, APRIL, "b"): -8_000_000}),
    ],
    ids=["the operator bears", "corrected", "agreed later"],
)
async def test_a_partner_gives_back_what_it_got_of_a_fee_that_a_bank_took_back_where_it_agreed_to(
    club: Clubbed, coalition: Any, vault: Vault, tmp_path: Path,
    since: datetime | None, expected: dict[tuple[date, date, str], int],
) -> None:  # fmt: skip
    """92.00 for the 92 days of a quarter, less 0.30 of charging in March, and 10.00 less 0.30 a month. A tenth each is
    the reserve's and the operator's, so of what each paid four fifths are shared.

    March: 30.70 and 9.70. Of the quarter's 24.56 a gets three quarters, 18.42, and b 6.14; a gets 7.76 of the other.
    April: ten days were served before the bank took all back: 10.00, of which b got 8.00, and 7.76 of who was idle.
    """
    if since is not None:
        await coalition.sign("b", says=SAYS, valid_from=since)
    await club.rule(reserve_bp=1000, operator_bp=1000)
    first, second = await club.person(), await club.person()
    await club.subscribe(first, interval="QUARTER")
    await club.pass_time(timedelta(0))
    [key] = club.provider.charged  # type: ignore[attr-defined]
    await club.subscribe(second)
    await club.pass_time(timedelta(days=5))
    for member_id, partner, amount in ((first, "a", 3000), (first, "b", 1000), (second, "a", 1000)):
        await club.buys(member_id, partner, amount)
    await club.pass_time(datetime(2026, 4, 2, 3, tzinfo=UTC))
    march = await club.close(MARCH)
    async with club.database.reading() as connection:
        got = {one.partner_id: one.amount_micro for one in await months.shares(connection, march)}
    assert got == {coalition.partners["a"]: 26_180_000, coalition.partners["b"]: 6_140_000}
    await club.buys(first, "b", 1000)
    await club.pass_time(datetime(2026, 4, 11, 12, tzinfo=UTC))
    told = [Told(key, "CHARGEBACK", f"pay-{key}")]
    await club.do(charging.hear, club.provider, told * 2)
    statements = {}
    stranger = await club.person()
    for month, closing in ((APRIL, 5), (MAY, 6), (JUNE, 7)):
        await club.pass_time(datetime(2026, closing, 2, 3, tzinfo=UTC))
        assert await club.close(month) == await club.close(month)
        await club.do(charging.hear, club.provider, told)
        await club.buys(stranger, "c", 1000)  # no subscriber: weighs nothing
        statements[month] = await coalition.settle()
    assert await corrected(club) == expected
    given = {
        month: sum(n.amount_micro for n in coalition.of(statements[month], "b").lines if n.kind == "SUBSCRIPTION_SHARE")
        for month in (APRIL, *([MAY] if expected else []))
    }
    of_march = expected.get((APRIL, MARCH, "b"), 0)
    assert given == {APRIL: 6_140_000 + 15_760_000 + of_march} | ({MAY: -8_000_000} if expected else {})
    await everything_adds_up(club, coalition)
    if not expected:
        return
    statement, run_id = coalition.of(statements[MAY], "b"), statements[MAY].runs[0].head.run_id
    assert statement.net_minor == -800  # it owes, as of anything else
    status, said = verify(tmp_path, await package(coalition, vault, run_id, "b"))
    assert status == 0, said
    async with club.database.transaction() as connection:
        made = await catalogue.make(connection, "R16", Wanted(run_id, None, club.at))
        for number, format in enumerate(catalogue.FORMATS):
            await catalogue.write(made, tmp_path / f"r16.{format}", format=format, language=LANGUAGES[number])
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r16.csv").read_text(encoding="utf-8"))))
    [row] = [row for row in rows if row["corrects"]]
    assert (row["fee_month"], row["corrects"], Decimal(row["amount"])) == ("2026-05", "2026-04", Decimal(-8))


async def test_a_day_of_a_closed_month_that_is_credited_is_corrected_too(
    club: Clubbed,
    coalition: Any,
    owner: asyncpg.Connection,
) -> None:
    """Who cancels where it is still the last of March is given that day back: 1.00 of 31.00, of 30.70 0.990323. The
    control sees what is altered of it or left out. By then the partner has an agreement in another currency, and owes it
    still."""
    await coalition.sign("b", says=SAYS)
    await club.rule()
    member_id = await club.person()
    its = await club.do(
        subscriptions.subscribe, club.provider, Wish(member_id, "plus", "EUR", "QUARTER", "America/Los_Angeles")
    )
    await club.pass_time(timedelta(0))
    await club.buys(member_id, "b", 1000)
    await club.pass_time(datetime(2026, 4, 1, 0, 10, tzinfo=UTC))
    await club.close(MARCH)
    await club.do(subscriptions.cancel, member_id, its.subscription_no, at_once=True)
    await coalition.sign("b", currency="USD", valid_from=datetime(2026, 4, 1, 12, tzinfo=UTC))
    await club.pass_time(datetime(2026, 5, 2, tzinfo=UTC))
    await club.close(APRIL)
    await club.pass_time(datetime(2026, 6, 2, tzinfo=UTC))
    await club.close(MAY)
    assert await corrected(club) == {(APRIL, MARCH, "b"): -990_323}
    await club.buys(await club.person(), "c", 1000)
    coalition.at = club.at
    settled = await coalition.settle()
    share = {n.kind: n.amount_micro for n in coalition.of(settled, "b").lines}["SUBSCRIPTION_SHARE"]
    assert share == 30_700_000 - 990_323
    assert [one for one in await coalition.violations() if one.startswith("S16")] == []
    for alteration in ("UPDATE settlement.fee_correction SET amount_micro = amount_micro - 1",
                       "DELETE FROM settlement.fee_correction"):  # fmt: skip
        await owner.execute(alteration)
        found = [one for one in await coalition.violations() if one.startswith("S16")]
        assert any("corrected of earlier months" in one for one in found), found
        assert any("is stated" in one for one in found), found


weights = st.dictionaries(
    st.integers(1, 6), st.dictionaries(st.integers(1, 4), st.integers(0, 50), max_size=4), max_size=6
)


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**6), st.booleans()), min_size=1, max_size=6),
    weights,
    st.integers(0, 10**9),
    st.sampled_from(METHODS),
    st.sampled_from(["PRO_RATA", "OPERATOR", "CARRY"]),
    st.integers(0, 5000),
)
def test_what_is_given_back_is_what_was_got_and_never_more(
    said: list[tuple[int, int, bool]], used: dict[int, dict[int, int]], points: int, method: Any, zero_use: Any,
    share_bp: int,
) -> None:  # fmt: skip
    """Against exact fractions: what was got of a fee, for the part of it that went back; and of all fees, all."""
    fees = [Fee(number, recognised * 10_000) for number, (recognised, _, _) in enumerate(said, start=1)]
    rules = Rules(method, zero_use, "OPERATOR", share_bp, share_bp, {1: 3, 4: 1})
    asked = {"fees": fees, "metered": [MeteredUse(1, "B", 3, 1000)], "points_micro": points, "weights": used,
             "rules": rules}  # fmt: skip
    done = allocation.allocate_month(**asked)  # type: ignore[arg-type]
    shares = {partner_id: (amount, 7) for partner_id, amount in done.shares.items() if partner_id != 2}
    taken = [
        Taken(number, MARCH, number, number, min(part, recognised) or 1, recognised, 0)
        for number, (recognised, part, is_taken) in enumerate(said, start=1) if is_taken
    ]  # fmt: skip
    found = corrections.corrected(taken, shares, asked, 10_000)
    left = Fraction(done.pool_micro + done.added_micro - sum(done.metered.values()) - done.points_micro)
    residual = left - done.reserve_micro - int(left) * share_bp // 10_000
    everybody = {p: sum(own.get(p, 0) for n, own in used.items() if n <= len(fees)) for p in range(1, 5)}
    for partner_id in range(1, 5):
        back = -sum(one.amount_micro for one in found if one.partner_id == partner_id)
        exact = Fraction(0)
        for one in taken:
            own = {p: weight for p, weight in used.get(one.subscription_no, {}).items() if weight}
            by = {"USER_CENTRIC": own, "SHAPLEY": dict.fromkeys(own, 1), "PRO_RATA": everybody}.get(
                method, {1: 3, 4: 1}
            )
            if method != "FIXED" and not own:
                by = everybody if zero_use == "PRO_RATA" else {}
            if by.get(partner_id):
                part = Fraction(one.taken_minor * 10_000, done.pool_micro) * residual
                exact += part * by[partner_id] / sum(by.values())
        assert 0 <= back <= shares.get(partner_id, (0, 0))[0]
        assert abs(back - (exact if partner_id in shares else 0)) <= 4 * len(taken) + 4
    kept = sum(done.shares.values()) + sum(one.amount_micro for one in found)
    operator = done.operator_micro - sum(one.amount_micro for one in found)
    others = sum(done.metered.values()) + done.points_micro + done.reserve_micro + done.carried_micro - done.added_micro
    assert kept + operator + others == sum(fee.recognised_micro for fee in fees)
