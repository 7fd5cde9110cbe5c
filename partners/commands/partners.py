"""`tessera partner`: who takes part, where, and on what terms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Annotated, TypedDict
from zoneinfo import ZoneInfo

import typer
from rich.table import Table
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, console
from kit.secrets import Vault, load_master_key
from kit.settings import settings
from partners import store
from partners.agreements import agreements, drafts, onboarding, programme
from partners.agreements.agreements import AgreementDraft, Version
from partners.agreements.drafts import Difference
from partners.decisions import paces
from partners.terms import HOLD_MINUTES, SettlementTerms, Terms

app = typer.Typer(name="partner", help="Partners, their outlets, terminals and agreements.", no_args_is_help=True)
agreement_app = typer.Typer(name="agreement", help="What a partner signs, version by version.", no_args_is_help=True)
app.add_typer(agreement_app)

PartnerCode = Annotated[str, typer.Argument(help="Code of the partner.", metavar="PARTNER", show_default=False)]
TermsId = Annotated[int, typer.Argument(help="Number that `agreement propose` printed.", metavar="TERMS")]
Actor = Annotated[
    str | None,
    typer.Option(
        "--actor", envvar="TESSERA_ACTOR", help="Who does this; by default your login name.", show_default=False
    ),
]


# --- Partners, outlets, terminals ---------------------------------------------------------------------------


@app.command()
def add(
    code: Annotated[str, typer.Argument(help="Short name: lower case letters, digits, hyphens.", show_default=False)],
    name: Annotated[str, typer.Option(help="Name as members read it.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Add a partner. Takes the role ONBOARDING."""
    console.run(_add(code, name, actor))
    _say(f"Partner {code} takes part. Next: tessera partner agreement propose {code} --help")


@app.command()
def outlet(
    partner: PartnerCode,
    code: Annotated[str, typer.Argument(help="The partner's own code of the outlet.", show_default=False)],
    name: Annotated[str, typer.Option(help="Name of the place.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Add a place of sale. Takes the role ONBOARDING."""
    console.run(_outlet(partner, code, name, actor))
    _say(f"Outlet {code} of {partner} added.")


@app.command()
def zone(
    partner: PartnerCode,
    outlet: Annotated[str, typer.Argument(help="Code of the outlet.", show_default=False)],
    time_zone: Annotated[
        str | None, typer.Argument(help="IANA name, such as Europe/Chisinau. None: the programme's.")
    ] = None,
    actor: Actor = None,
) -> None:
    """Say what time the clocks of a place of sale show, for rules of hours and days. Takes the role ONBOARDING."""
    console.run(_zone(partner, outlet, time_zone, actor))
    _say(f"Outlet {outlet} of {partner} keeps {time_zone or 'the time of the programme'}.")


@app.command()
def terminal(
    partner: PartnerCode,
    outlet: Annotated[str, typer.Argument(help="Code of the outlet.", show_default=False)],
    code: Annotated[str, typer.Argument(help="The partner's own code of the till.", show_default=False)],
    actor: Actor = None,
) -> None:
    """Add a till. Takes the role ONBOARDING."""
    console.run(_terminal(partner, outlet, code, actor))
    _say(f"Terminal {code} at {outlet} of {partner} added.")


Till = Annotated[
    tuple[str, str] | None,
    typer.Option(help="Only this till of the partner.", metavar="OUTLET TERMINAL", show_default=False),
]


@app.command()
def suspend(partner: PartnerCode, till: Till = None, actor: Actor = None) -> None:
    """Refuse a partner's business, or one till's, within seconds. Takes the role ONBOARDING."""
    console.run(_set_status(partner, till, actor, active=False))
    _say(f"{' '.join((partner, *(till or ())))} is suspended.")


@app.command()
def resume(partner: PartnerCode, till: Till = None, actor: Actor = None) -> None:
    """Take a suspension back. Takes the role ONBOARDING."""
    console.run(_set_status(partner, till, actor, active=True))
    _say(f"{' '.join((partner, *(till or ())))} is active again.")


@app.command("resume-earning")
def resume_earning(partner: PartnerCode, actor: Actor = None) -> None:
    """Let a partner give points again that was stopped for giving far too many. Takes the role ONBOARDING."""
    console.run(_resume_earning(partner, actor))
    _say(f"{partner} gives points again, and is not stopped for a day.")


@app.command("list")
def show_partners() -> None:
    """Every partner, and the terms in force."""
    if not (found := console.run(_partners())):
        _say("No partner takes part yet: tessera partner add CODE --name NAME")
        return
    table = Table("Partner", "Name", "Status", "Agreement in force")
    table.add_column("Outlets", justify="right")
    table.add_column("Terminals", justify="right")
    for row, terms in found:
        table.add_row(
            row["code"], row["name"], row["status"], _in_brief(terms), str(row["outlets"]), str(row["terminals"])
        )
    console.out.print(table, markup=False)


async def _add(code: str, name: str, actor: str | None) -> None:
    vault = Vault(load_master_key(settings()))
    async with _acting(actor) as (connection, actor_id, at):
        await onboarding.add_partner(connection, vault, code=code, name=name, actor=actor_id, at=at)


async def _resume_earning(partner: str, actor: str | None) -> None:
    async with _acting(actor) as (connection, actor_id, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        await paces.go_on(connection, partner_id=partner_id, actor=actor_id, at=at)


async def _outlet(partner: str, code: str, name: str, actor: str | None) -> None:
    async with _acting(actor) as (connection, actor_id, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        await onboarding.add_outlet(connection, partner_id=partner_id, code=code, name=name, actor=actor_id, at=at)


async def _zone(partner: str, outlet: str, time_zone: str | None, actor: str | None) -> None:
    async with _acting(actor) as (connection, actor_id, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        await onboarding.set_outlet_zone(
            connection, partner_id=partner_id, code=outlet, time_zone=time_zone, actor=actor_id, at=at
        )


async def _terminal(partner: str, outlet: str, code: str, actor: str | None) -> None:
    async with _acting(actor) as (connection, actor_id, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        outlet_id = await onboarding.outlet_id_of(connection, partner_id=partner_id, code=outlet)
        await onboarding.add_terminal(connection, outlet_id=outlet_id, code=code, actor=actor_id, at=at)


async def _set_status(partner: str, till: tuple[str, str] | None, actor: str | None, *, active: bool) -> None:
    async with _acting(actor) as (connection, actor_id, at):
        partner_id = await onboarding.partner_id_of(connection, partner)
        if till is None:
            change = onboarding.resume_partner if active else onboarding.suspend_partner
            await change(connection, partner_id=partner_id, actor=actor_id, at=at)
            return
        outlet_id = await onboarding.outlet_id_of(connection, partner_id=partner_id, code=till[0])
        terminal_id = await onboarding.terminal_id_of(connection, outlet_id=outlet_id, code=till[1])
        change_till = onboarding.resume_terminal if active else onboarding.suspend_terminal
        await change_till(connection, terminal_id=terminal_id, actor=actor_id, at=at)


async def _partners() -> list[tuple[RowMapping, Terms | None]]:
    async with console.database(settings()) as database, database.reading() as connection:
        at = await console.business_instant(connection, settings())
        signed = await store.signed_terms(connection)
        return [
            (row, agreements.in_force([terms for terms in signed if terms.partner_id == row["partner_id"]], at))
            for row in await store.partners_in_brief(connection)
        ]


def _in_brief(terms: Terms | None) -> str:
    if terms is None:
        return "none"
    return f"version {terms.version}, {terms.currency}, earns {terms.earn_rate_bp} bp"


# --- Agreements ---------------------------------------------------------------------------------------------


Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any other term: NAME=VALUE, such as role=ISSUER or volume_tiers=1000:50. Repeatable."),
]


@agreement_app.command()
def propose(
    partner: PartnerCode,
    valid_from: Annotated[
        str,
        typer.Option(help="Begin, as 2026-01-31 or 2026-01-31T08:00; the programme's time zone.", show_default=False),
    ],
    earn_rate_bp: Annotated[int, typer.Option(help="Basis points of the amount that come back as points.")] = 100,
    fund_price_micro: Annotated[int, typer.Option(help="Into the pool per point issued, in micro-units.")] = 10_000,
    service_price_micro: Annotated[int, typer.Option(help="To the operator per point issued, in micro-units.")] = 0,
    reimbursement_price_micro: Annotated[
        int, typer.Option(help="From the pool per point redeemed here, in micro-units.")
    ] = 10_000,
    return_window_days: Annotated[int, typer.Option(help="Days that points stay pending.")] = 14,
    expiry_months: Annotated[int, typer.Option(help="Months after which points expire.")] = 24,
    bill_share_bp: Annotated[int, typer.Option(help="Share of a bill that points may pay, basis points.")] = 5_000,
    hold_minutes: Annotated[int, typer.Option(help="Longest that points may be held for a sale.")] = HOLD_MINUTES,
    return_policy: Annotated[
        str,
        typer.Option(
            help="Who bears points that were spent before a return: ISSUER_BEARS, REFUND_DEDUCTION or MEMBER_DEBT."
        ),
    ] = "ISSUER_BEARS",
    tier_bonus: Annotated[
        list[str] | None, typer.Option(help="Basis points added to the earn rate for a tier: GOLD=50. Repeatable.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Default: the programme's base currency.")] = None,
    set_: Set = None,
    actor: Actor = None,
) -> None:
    """Propose a version for somebody else to approve. Takes the role AGREEMENT_MAKER."""
    terms_id = console.run(
        _propose(
            partner,
            valid_from,
            currency,
            actor,
            _Figures(
                earn_rate_bp=earn_rate_bp,
                fund_price_micro=fund_price_micro,
                service_price_micro=service_price_micro,
                reimbursement_price_micro=reimbursement_price_micro,
                return_window_days=return_window_days,
                expiry_months=expiry_months,
                bill_share_bp=bill_share_bp,
                hold_minutes=hold_minutes,
                return_policy=return_policy,
                tier_bonus_bp=_tier_bonus(tier_bonus or []),
            ),
            _written(set_ or []),
        )
    )
    _say(f"Proposed as {terms_id}. Somebody else now says: tessera partner agreement approve {terms_id}")


@agreement_app.command()
def amend(
    partner: PartnerCode,
    valid_from: Annotated[
        str,
        typer.Option(help="Begin, as 2026-01-31 or 2026-01-31T08:00; the programme's time zone.", show_default=False),
    ],
    set_: Set = None,
    actor: Actor = None,
) -> None:
    """Propose the version in force again with some terms changed. Takes the role AGREEMENT_MAKER."""
    terms_id, found = console.run(_amend(partner, valid_from, actor, _written(set_ or [])))
    _say(f"Agreement {terms_id} is proposed. Somebody else signs it: tessera partner agreement approve {terms_id}")
    _show_differences(found)


@agreement_app.command()
def diff(
    partner: PartnerCode,
    before: Annotated[int, typer.Argument(help="Number of the version to compare with.", min=1)],
    after: Annotated[int, typer.Argument(help="Number of the version to look at.", min=1)],
) -> None:
    """What one version of a partner's agreement says otherwise than another."""
    versions, _ = console.run(_versions(partner))
    by_number = {version.terms.version: version for version in versions}
    for number in (before, after):
        if number not in by_number:
            console.fail(f"{partner} has no version {number}: tessera partner agreement show {partner}")
    _show_differences(drafts.differences(by_number[before], by_number[after]))


def _show_differences(found: list[Difference]) -> None:
    if not found:
        _say("They say the same.")
        return
    table = Table("Term", "Before", "After")
    for one in found:
        table.add_row(one.name, one.before, one.after)
    console.out.print(table, markup=False)


@agreement_app.command()
def approve(terms: TermsId, actor: Actor = None) -> None:
    """Sign a version that somebody else proposed. Takes the role AGREEMENT_CHECKER."""
    console.run(_decide(terms, actor, approved=True))
    _say(f"Agreement {terms} is signed.")


@agreement_app.command()
def decline(terms: TermsId, actor: Actor = None) -> None:
    """Refuse a version that somebody else proposed. Takes the role AGREEMENT_CHECKER."""
    console.run(_decide(terms, actor, approved=False))
    _say(f"Agreement {terms} is declined.")


@agreement_app.command("show")
def show_agreement(partner: PartnerCode) -> None:
    """Every version of a partner's agreement, and the one in force."""
    versions, current = console.run(_versions(partner))
    if not versions:
        _say(f"{partner} has no agreement yet: tessera partner agreement propose {partner} --help")
        return
    table = Table("", *(str(version.terms.version) for version in versions), title=f"Versions of {partner}")
    for label, value in _ROWS.items():
        table.add_row(label, *(value(version) for version in versions))
    marks = ("in force" if version.terms == current else version.state.lower() for version in versions)
    table.add_row("State", *marks)
    console.out.print(table, markup=False)


def _settlement(name: str) -> Callable[[Version], str]:
    return lambda version: drafts.written(getattr(version.settlement, name))


SETTLEMENT_NAMES = tuple(
    name for name in drafts.NAMES if name in SettlementTerms.__slots__ and name not in Terms.__slots__
)

_ROWS: dict[str, Callable[[Version], str]] = {
    "Terms number": lambda version: str(version.terms.terms_id),
    "Valid from (UTC)": lambda version: f"{version.terms.valid_from:%Y-%m-%d %H:%M}",
    "Currency": lambda version: version.terms.currency,
    "Earns, bp": lambda version: str(version.terms.earn_rate_bp),
    "Tier bonus, bp": lambda version: _bonuses(version.terms),
    "Fund price, micro": lambda version: str(version.terms.fund_price_micro),
    "Service price, micro": lambda version: str(version.terms.service_price_micro),
    "Reimbursement price, micro": lambda version: str(version.terms.reimbursement_price_micro),
    "Return window, days": lambda version: str(version.terms.return_window_days),
    "Return policy": lambda version: version.terms.return_policy,
    "Expiry, months": lambda version: str(version.terms.expiry_months),
    "Share of a bill, bp": lambda version: str(version.terms.bill_share_bp),
    "Longest hold, minutes": lambda version: str(version.terms.hold_minutes),
    "Role": lambda version: version.terms.role,
    "Funding": lambda version: version.terms.funding,
    "Fund price at once, micro": lambda version: str(version.terms.billed_fund_micro),
    "Share of breakage, bp": lambda version: str(version.terms.breakage_share_bp),
    "Kinds that earn": lambda version: drafts.written(version.terms.earn_kinds),
    "Classes that never earn": lambda version: drafts.written(version.terms.never_earn_classes),
    "Categories that never earn": lambda version: drafts.written(version.terms.never_earn_categories),
    "Tax earns": lambda version: drafts.written(version.terms.earns_on_tax),
    "Kinds that points do not pay": lambda version: drafts.written(version.terms.unpayable_kinds),
    "Least money, minor units": lambda version: str(version.terms.minimum_money_minor),
    "Returns in proportion": lambda version: drafts.written(version.terms.returns_in_proportion),
    **{name: _settlement(name) for name in SETTLEMENT_NAMES},
    "Proposed by": lambda version: version.maker,
    "Decided by": lambda version: version.checker or "nobody yet",
}


class _Figures(TypedDict):
    earn_rate_bp: int
    fund_price_micro: int
    service_price_micro: int
    reimbursement_price_micro: int
    return_window_days: int
    expiry_months: int
    bill_share_bp: int
    hold_minutes: int
    return_policy: str
    tier_bonus_bp: dict[str, int]


async def _propose(
    partner: str,
    valid_from: str,
    currency: str | None,
    actor: str | None,
    figures: _Figures,
    written: dict[str, str],
) -> int:
    async with _acting(actor) as (connection, actor_id, at):
        rules = await programme.read(connection)
        begin = _instant(valid_from, rules.time_zone)
        draft = AgreementDraft(valid_from=begin, currency=currency or rules.base_currency, **figures)
        draft = drafts.changed(draft, written)
        partner_id = await onboarding.partner_id_of(connection, partner)
        return await agreements.propose(connection, partner_id=partner_id, draft=draft, maker=actor_id, at=at)


async def _amend(
    partner: str, valid_from: str, actor: str | None, written: dict[str, str]
) -> tuple[int, list[Difference]]:
    async with _acting(actor) as (connection, actor_id, at):
        begin = _instant(valid_from, (await programme.read(connection)).time_zone)
        partner_id = await onboarding.partner_id_of(connection, partner)
        signed = [v for v in await agreements.versions(connection, partner_id) if v.state == "APPROVED"]
        current = agreements.in_force([version.terms for version in signed], at)
        if current is None:
            console.fail(f"{partner} has no agreement in force: tessera partner agreement propose {partner} --help")
        held = next(version for version in signed if version.terms == current)
        draft = replace(drafts.changed(drafts.of_version(held), written), valid_from=begin)
        terms_id = await agreements.propose(connection, partner_id=partner_id, draft=draft, maker=actor_id, at=at)
        proposed = (await agreements.versions(connection, partner_id))[-1]
        return terms_id, drafts.differences(held, proposed)


def _written(given: list[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            console.fail(f"'{one}' is not a term and its value such as role=ISSUER")
        found[name.strip()] = value
    return found


async def _decide(terms_id: int, actor: str | None, *, approved: bool) -> None:
    async with _acting(actor) as (connection, actor_id, at):
        decide = agreements.approve if approved else agreements.decline
        await decide(connection, terms_id, checker=actor_id, at=at)


async def _versions(partner: str) -> tuple[list[Version], Terms | None]:
    async with console.database(settings()) as database, database.reading() as connection:
        at = await console.business_instant(connection, settings())
        partner_id = await onboarding.partner_id_of(connection, partner)
        versions = await agreements.versions(connection, partner_id)
    signed = [version.terms for version in versions if version.state == "APPROVED"]
    return versions, agreements.in_force(signed, at)


def _instant(written: str, time_zone: str) -> datetime:
    try:
        instant = datetime.fromisoformat(written)
    except ValueError:
        console.fail(f"'{written}' is not an instant such as 2026-01-31 or 2026-01-31T08:00+02:00")
    return instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(time_zone))


def _tier_bonus(written: list[str]) -> dict[str, int]:
    bonuses = {}
    for one in written:
        tier, _, bonus_bp = one.partition("=")
        if not bonus_bp.isdecimal():
            console.fail(f"'{one}' is not a tier and basis points such as GOLD=2500")
        bonuses[tier] = int(bonus_bp)
    return bonuses


def _bonuses(terms: Terms) -> str:
    return ", ".join(f"{tier} {bonus_bp}" for tier, bonus_bp in terms.tier_bonus_bp.items()) or "none"


# --- What they share ----------------------------------------------------------------------------------------


@asynccontextmanager
async def _acting(actor: str | None) -> AsyncIterator[tuple[AsyncConnection, int, datetime]]:
    """A transaction, the number of whoever acts, and the business instant."""
    name = actor or console.login_name()
    async with console.database(settings()) as database, database.transaction() as connection:
        at = await console.business_instant(connection, settings())
        yield connection, await actors.by_name(connection, name), at


def _say(sentence: str) -> None:
    console.out.print(sentence, markup=False, soft_wrap=True)
