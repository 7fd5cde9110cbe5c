"""Agreements: two people sign a version, nobody edits one, and nothing is priced again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from kit import actors
from kit.approvals import AlreadyDecided, FourEyesRequired
from kit.database import Database
from kit.secrets import Vault
from partners.agreements import agreements, drafts, onboarding, programme
from partners.agreements.agreements import AgreementInvalid, AgreementRetroactive, AgreementUnknown
from partners.agreements.onboarding import PartnerUnknown
from partners.clearing import clearing
from partners.directory import Directory, DirectoryCache
from partners.promotions.shelf import Shelf
from partners.terms import SettlementTerms, Terms, VolumeRebate, VolumeTier
from tests.builders import DAY, NOON, PROGRAMME, draft

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Table:
    """Where agreements are signed: the partner, and the people around it."""

    database: Database
    partner_id: int
    maker: int
    checker: int
    other_checker: int

    async def propose(self, **changes: object) -> int:
        async with self.database.transaction() as connection:
            return await agreements.propose(
                connection, partner_id=self.partner_id, draft=draft(**changes), maker=self.maker, at=NOON
            )

    async def approve(self, terms_id: int, *, checker: int | None = None) -> None:
        async with self.database.transaction() as connection:
            await agreements.approve(connection, terms_id, checker=checker or self.checker, at=NOON)

    async def states(self) -> list[tuple[int, str]]:
        async with self.database.reading() as connection:
            found = await agreements.versions(connection, self.partner_id)
        return [(version.terms.version, version.state) for version in found]

    async def traces(self) -> tuple[int, ...]:
        """What any change leaves behind, to see that a refusal left nothing."""
        counts = (
            "SELECT (SELECT count(*) FROM partners.agreement), (SELECT count(*) FROM kit.approval), "
            "(SELECT count(*) FROM kit.approval WHERE decided_at IS NOT NULL), "
            "(SELECT count(*) FROM kit.audit_trail), (SELECT revision FROM partners.revision)"
        )
        async with self.database.reading() as connection:
            return tuple((await connection.execute(text(counts))).one())


@pytest.fixture
async def table(database: Database, vault: Vault) -> Table:
    async with database.transaction() as connection:
        await programme.found(connection, PROGRAMME)
        maker = await actors.ensure_actor(
            connection, "maria", [actors.ONBOARDING, actors.AGREEMENT_MAKER, actors.AGREEMENT_CHECKER]
        )
        return Table(
            database,
            await onboarding.add_partner(connection, vault, code="bakery", name="Bakery", actor=maker, at=NOON),
            maker,
            await actors.ensure_actor(connection, "carl", [actors.AGREEMENT_CHECKER]),
            await actors.ensure_actor(connection, "chen", [actors.AGREEMENT_CHECKER]),
        )


async def signed_by(table: Table, vault: Vault) -> Directory:
    return await DirectoryCache(table.database.pool, vault).get()


async def test_a_proposal_binds_nobody_until_another_person_approves_it(table: Table, vault: Vault) -> None:
    terms_id = await table.propose(earn_rate_bp=150, tier_bonus_bp={"GOLD": 2_500})
    assert (await signed_by(table, vault)).terms_at(table.partner_id, NOON) is None
    await table.approve(terms_id)
    terms = (await signed_by(table, vault)).terms_at(table.partner_id, NOON)
    assert terms is not None
    assert (terms.terms_id, terms.version, terms.earn_rate_bp) == (terms_id, 1, 150)
    assert terms.tier_bonus_bp == {"GOLD": 2_500}
    assert terms.valid_from == draft().valid_from


async def test_the_maker_may_not_approve_even_with_the_role(table: Table) -> None:
    terms_id = await table.propose()
    before = await table.traces()
    with pytest.raises(FourEyesRequired):
        await table.approve(terms_id, checker=table.maker)
    assert await table.traces() == before
    assert await table.states() == [(1, "PROPOSED")]


async def test_who_lacks_the_role_neither_proposes_nor_approves(table: Table) -> None:
    terms_id = await table.propose()
    before = await table.traces()
    async with table.database.transaction() as connection:
        onlooker = await actors.ensure_actor(connection, "otto", [actors.FINANCE_CHECKER])
        with pytest.raises(actors.NotPermitted):
            await agreements.propose(connection, partner_id=table.partner_id, draft=draft(), maker=onlooker, at=NOON)
    with pytest.raises(actors.NotPermitted):
        await table.approve(terms_id, checker=onlooker)
    assert await table.traces() == before


async def test_a_later_version_may_not_begin_before_its_approval_and_writes_nothing(table: Table) -> None:
    await table.approve(await table.propose())
    late = await table.propose(valid_from=NOON - INSTANT)
    before = await table.traces()
    with pytest.raises(AgreementRetroactive):
        await table.approve(late)
    assert await table.traces() == before
    assert await table.states() == [(1, "APPROVED"), (2, "PROPOSED")]


async def test_a_retroactive_approval_leaves_nothing_even_if_the_caller_commits(table: Table) -> None:
    await table.approve(await table.propose())
    late = await table.propose(valid_from=NOON - DAY)
    before = await table.traces()
    async with table.database.transaction() as connection:
        with pytest.raises(AgreementRetroactive):
            await agreements.approve(connection, late, checker=table.checker, at=NOON)
    assert await table.traces() == before


async def test_a_later_version_may_begin_in_the_moment_of_its_approval(table: Table, vault: Vault) -> None:
    first = await table.propose()
    second = await table.propose(valid_from=NOON)
    await table.approve(first)
    await table.approve(second)
    directory = await signed_by(table, vault)
    in_force = [directory.terms_at(table.partner_id, at) for at in (NOON - INSTANT, NOON)]
    assert [terms and terms.terms_id for terms in in_force] == [first, second]


async def test_of_two_versions_in_the_past_only_one_is_signed_even_at_once(table: Table) -> None:
    first, second = await table.propose(), await table.propose(valid_from=NOON - 5 * DAY)
    async with table.database.transaction() as connection:
        await agreements.approve(connection, first, checker=table.checker, at=NOON)
        late = asyncio.create_task(table.approve(second, checker=table.other_checker))
        done, _ = await asyncio.wait({late}, timeout=0.2)
        assert not done
    with pytest.raises(AgreementRetroactive):
        await late
    assert await table.states() == [(1, "APPROVED"), (2, "PROPOSED")]


async def test_of_two_checkers_at_once_one_signs(table: Table) -> None:
    terms_id = await table.propose()
    outcomes = await asyncio.gather(
        table.approve(terms_id),
        table.approve(terms_id, checker=table.other_checker),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AlreadyDecided", "NoneType"]
    assert await table.states() == [(1, "APPROVED")]


async def test_a_declined_version_is_never_in_force(table: Table, vault: Vault) -> None:
    terms_id = await table.propose()
    async with table.database.transaction() as connection:
        await agreements.decline(connection, terms_id, checker=table.checker, at=NOON)
    with pytest.raises(AlreadyDecided):
        await table.approve(terms_id, checker=table.other_checker)
    assert await table.states() == [(1, "DECLINED")]
    assert (await signed_by(table, vault)).terms_at(table.partner_id, NOON + DAY) is None


async def test_versions_are_numbered_without_a_gap_when_many_propose_at_once(table: Table) -> None:
    with pytest.raises(AgreementInvalid):
        await table.propose(earn_rate_bp=-1)
    await asyncio.gather(*(table.propose(earn_rate_bp=rate) for rate in range(12)))
    assert await table.states() == [(version, "PROPOSED") for version in range(1, 13)]


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"currency": "RUB"}, ("currency",), "NO_POINT_VALUE"),
        ({"fund_price_micro": -1}, ("fund_price_micro",), "OUT_OF_RANGE"),
        ({"service_price_micro": -1}, ("service_price_micro",), "OUT_OF_RANGE"),
        ({"reimbursement_price_micro": 10**9 + 1}, ("reimbursement_price_micro",), "OUT_OF_RANGE"),
        ({"earn_rate_bp": 10_001}, ("earn_rate_bp",), "OUT_OF_RANGE"),
        ({"expiry_months": 0}, ("expiry_months",), "OUT_OF_RANGE"),
        ({"return_window_days": 366}, ("return_window_days",), "OUT_OF_RANGE"),
        ({"valid_from": NOON.replace(tzinfo=None)}, ("valid_from",), "NO_TIME_ZONE"),
        ({"funding": "WISHES"}, ("funding",), "UNKNOWN"),
        ({"return_policy": "SHRUG"}, ("return_policy",), "UNKNOWN"),
        ({"fee_return_policy": "SHRUG"}, ("fee_return_policy",), "UNKNOWN"),
        ({"tier_bonus_bp": {"gold": 100}}, ("tier_bonus_bp", "gold"), "INVALID"),
        ({"tier_bonus_bp": {"GOLD": -100}}, ("tier_bonus_bp", "GOLD"), "INVALID"),
        ({"role": "GUEST"}, ("role",), "UNKNOWN"),
        ({"cap_policy": "SHOUT", "debit_cap_micro": 5}, ("cap_policy",), "UNKNOWN"),
        ({"cap_policy": "BLOCK"}, ("cap_policy",), "NO_CAP"),
        ({"debit_cap_micro": -1}, ("debit_cap_micro",), "OUT_OF_RANGE"),
        ({"cycle": "YEAR"}, ("cycle",), "UNKNOWN"),
        ({"volume_period": "WEEK"}, ("volume_period",), "UNKNOWN"),
        ({"tax_rule": "vat 20"}, ("tax_rule",), "INVALID"),
        ({"earn_kinds": ()}, ("earn_kinds",), "EMPTY"),
        ({"earn_kinds": ("GOODS", "GIFT_CARD")}, ("earn_kinds",), "UNKNOWN"),
        ({"unpayable_kinds": ("TRAVEL",)}, ("unpayable_kinds",), "UNKNOWN"),
        ({"never_earn_classes": ("a,b",)}, ("never_earn_classes",), "INVALID"),
        ({"minimum_money_minor": -1}, ("minimum_money_minor",), "OUT_OF_RANGE"),
        ({"fx_rule": ""}, ("fx_rule",), "INVALID"),
        ({"breakage_share_bp": 10_001}, ("breakage_share_bp",), "OUT_OF_RANGE"),
        ({"minimum_payout_minor": -1}, ("minimum_payout_minor",), "OUT_OF_RANGE"),
        ({"review_days": 121}, ("review_days",), "OUT_OF_RANGE"),
        ({"funding": "REDEEMER"}, ("fund_price_micro",), "NOT_FUNDED"),
        ({"funding": "HYBRID"}, ("hybrid_fund_micro",), "OUT_OF_RANGE"),
        ({"funding": "HYBRID", "hybrid_fund_micro": 8_500}, ("hybrid_fund_micro",), "OUT_OF_RANGE"),
        ({"hybrid_fund_micro": 1}, ("hybrid_fund_micro",), "NOT_HYBRID"),
        ({"funding": "OPERATOR"}, ("service_price_micro",), "NOT_BILLED"),
        ({"role": "HONOURS"}, ("bill_share_bp",), "NO_POINTS"),
        ({"volume_tiers": (VolumeTier(5, 1), VolumeTier(5, 2))}, ("volume_tiers",), "NOT_ASCENDING"),
        ({"volume_tiers": (VolumeTier(5, 1_501),)}, ("volume_tiers",), "OUT_OF_RANGE"),
        ({"volume_rebates": (VolumeRebate(5, 10_001),)}, ("volume_rebates",), "OUT_OF_RANGE"),
        ({"volume_rebates": (VolumeRebate(-5, 1),)}, ("volume_rebates",), "NOT_ASCENDING"),
    ],
)
def test_terms_that_cannot_be_signed_have_a_problem_at_its_place(
    changes: dict[str, object], path: tuple[str, ...], code: str
) -> None:
    found = agreements.problems(draft(**changes), PROGRAMME)
    assert [(problem.path, problem.code) for problem in found] == [(path, code)]


async def test_terms_with_problems_are_refused_with_all_of_them(table: Table) -> None:
    before = await table.traces()
    with pytest.raises(AgreementInvalid) as refused:
        await table.propose(earn_rate_bp=-1, currency="RUB")
    assert [problem.path for problem in refused.value.problems] == [("currency",), ("earn_rate_bp",)]
    assert await table.traces() == before


def test_a_share_of_the_bill_above_the_programmes_ceiling_is_a_problem() -> None:
    modest = type(PROGRAMME)("Modest", "UTC", "EUR", ("en",), 4_999, 30, {"EUR": 10_000})
    found = list(agreements.problems(draft(bill_share_bp=5_000), modest))
    assert [(problem.path, problem.code) for problem in found] == [(("bill_share_bp",), "ABOVE_CEILING")]


async def test_an_agreement_takes_a_partner_and_a_version_that_exist(table: Table) -> None:
    before = await table.traces()
    with pytest.raises(AgreementUnknown):
        await table.approve(404)
    async with table.database.transaction() as connection:
        with pytest.raises(PartnerUnknown):
            await agreements.propose(connection, partner_id=404, draft=draft(), maker=table.maker, at=NOON)
    assert await table.traces() == before


@pytest.mark.parametrize("change", ["UPDATE partners.agreement SET earn_rate_bp = 1", "DELETE FROM partners.agreement"])
async def test_nobody_edits_a_version(table: Table, change: str) -> None:
    await table.approve(await table.propose())
    with pytest.raises(DBAPIError, match="permission denied"):
        async with table.database.transaction() as connection:
            await connection.execute(text(change))


SETTLED = {
    "role": "ISSUER", "funding": "HYBRID", "hybrid_fund_micro": 4_000, "breakage_share_bp": 2_500,
    "volume_period": "QUARTER", "volume_tiers": (VolumeTier(0, 10), VolumeTier(1_000, 100)),
    "volume_rebates": (VolumeRebate(5_000, 250),), "platform_fee_micro": 50_000_000, "minimum_fee_micro": 60_000_000,
    "debit_cap_micro": 10**10, "cap_policy": "PENDING_HOLD", "prefunding_micro": 10**9, "collateral_micro": 10**9,
    "holdback_bp": 500, "payment_days": 5, "is_netted": False, "tax_rule": "RO_2026", "fx_rule": "BNM_DAILY",
    "review_days": 7, "dispute_days": 90, "dispute_minimum_minor": 100, "tolerance_minor": 5, "tolerance_days": 2,
    "cycle": "WEEK", "minimum_payout_minor": 1_000, "fee_return_policy": "DATED_CORRECTION",
    "earn_kinds": ("DELIVERY", "GOODS"), "never_earn_classes": ("alcohol", "tobacco"), "never_earn_categories": ("stamps",),
    "earns_on_tax": False, "unpayable_kinds": ("GIFT_CARD",), "minimum_money_minor": 500, "returns_in_proportion": True,
}  # fmt: skip


async def test_every_term_that_was_signed_is_read_again_by_the_till_and_by_settlement(
    table: Table, vault: Vault
) -> None:
    terms_id = await table.propose(**SETTLED)
    await table.approve(terms_id)
    hot = (await signed_by(table, vault)).terms(terms_id)
    async with table.database.reading() as connection:
        cold = (await clearing.settlement_terms(connection, [terms_id]))[terms_id]
        assert await clearing.agreed_terms(connection, [terms_id]) == {terms_id: hot}
        assert await clearing.settlement_terms_at(connection, at=NOON) == {table.partner_id: cold}
        assert await clearing.settlement_terms_at(connection, at=draft().valid_from - INSTANT) == {}
        [version] = await agreements.versions(connection, table.partner_id)
    for name, value in SETTLED.items():
        assert getattr(hot if name in Terms.__slots__ else cold, name) == value, name
    assert version.settlement == cold
    assert drafts.of_version(version) == draft(**SETTLED)


async def test_a_version_that_says_nothing_of_settlement_has_the_terms_of_before(table: Table) -> None:
    terms_id = await table.propose()
    async with table.database.reading() as connection:
        cold = (await clearing.settlement_terms(connection, [terms_id]))[terms_id]
    assert cold == SettlementTerms(terms_id, table.partner_id, 1, draft().valid_from, "EUR")


async def test_what_two_versions_say_otherwise(table: Table) -> None:
    await table.propose()
    await table.propose(volume_tiers=(VolumeTier(10, 5),), is_netted=False, tier_bonus_bp={"GOLD": 50})
    async with table.database.reading() as connection:
        one, other = await agreements.versions(connection, table.partner_id)
    assert [(d.name, d.before, d.after) for d in drafts.differences(one, other)] == [
        ("tier_bonus_bp", "none", "GOLD:50"),
        ("volume_tiers", "none", "10:5"),
        ("is_netted", "yes", "no"),
    ]
    assert drafts.differences(one, one) == []


@given(st.sampled_from(sorted(SETTLED)))
def test_a_term_is_read_as_it_is_written(name: str) -> None:
    whole = draft(**SETTLED)
    assert drafts.changed(draft(), {name: drafts.written(getattr(whole, name))}) == draft(**{name: SETTLED[name]})


def test_terms_that_nobody_knows_or_can_read_are_refused_together() -> None:
    with pytest.raises(AgreementInvalid) as no:
        drafts.changed(draft(), {"colour": "red", "payment_days": "soon", "is_netted": "maybe", "volume_tiers": "1"})
    assert [(p.path[0], p.code) for p in no.value.problems] == [
        ("colour", "UNKNOWN"), ("payment_days", "UNREADABLE"), ("is_netted", "UNREADABLE"),
        ("volume_tiers", "UNREADABLE"),
    ]  # fmt: skip
    assert drafts.changed(draft(), {"debit_cap_micro": "none", "volume_tiers": "none"}) == draft()


# --- Which version is in force: against a model that walks the calendar --------------------------------------

Signed = list[tuple[int, int]]  # (partner, hours after NOON at which the version begins), in order of version
SIGNED = st.lists(st.tuples(st.integers(1, 3), st.integers(-5, 5)), max_size=12)


def as_terms(signed: Signed) -> list[Terms]:
    figures = {"currency": "EUR", "earn_rate_bp": 100, "fund_price_micro": 0, "service_price_micro": 0}
    rest = {"reimbursement_price_micro": 0, "funding": "POOL", "return_window_days": 0, "expiry_months": 1}
    more = {"bill_share_bp": 0, "return_policy": "ISSUER_BEARS"}
    return [
        Terms(
            **{  # type: ignore[arg-type]
                "terms_id": number,
                "partner_id": partner_id,
                "version": number,
                "valid_from": NOON + timedelta(hours=begins),
                **figures,
                **rest,
                **more,
            }
        )
        for number, (partner_id, begins) in enumerate(signed, start=1)
    ]


def by_walking_the_calendar(signed: Signed, partner_id: int, hour: int) -> int | None:
    current = None
    for today in range(-5, hour + 1):
        for number, (partner, begins) in enumerate(signed, start=1):
            if partner == partner_id and begins == today:
                current = number
    return current


def numbers_in_force(terms: Sequence[Terms], partner_id: int) -> list[int | None]:
    directory = Directory(
        revision=1, programme=PROGRAMME, partners=[], outlets=[], terminals=[], terms=terms, shelf=Shelf(), budgets={}
    )
    found = [directory.terms_at(partner_id, NOON + timedelta(hours=hour)) for hour in range(-6, 7)]
    return [one.terms_id if one else None for one in found]


@given(SIGNED, st.randoms(use_true_random=False), st.integers(1, 4))
def test_the_version_in_force_is_what_walking_the_calendar_finds(
    signed: Signed, random: object, partner_id: int
) -> None:
    terms = as_terms(signed)
    random.shuffle(terms)  # type: ignore[attr-defined]
    expected = [by_walking_the_calendar(signed, partner_id, hour) for hour in range(-6, 7)]
    assert numbers_in_force(terms, partner_id) == expected


@given(SIGNED, st.integers(-5, 5))
def test_a_version_begins_in_its_first_instant_and_not_before(signed: Signed, begins: int) -> None:
    terms = as_terms([*signed, (9, begins)])
    start = NOON + timedelta(hours=begins)
    of_nine = [one for one in terms if one.partner_id == 9]
    assert agreements.in_force(of_nine, start - INSTANT) is None
    assert agreements.in_force(of_nine, start) == terms[-1]
