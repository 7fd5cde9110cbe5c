"""What has to be known for a purchase's decision is read, and the purchase decided: at a till, for a quote, or a file's
many together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from kit.errors import Rejection
from kit.lane import Lane
from members import aliases
from members.identification import Identified
from partners import callers
from partners.callers import Caller, Place
from partners.coupons import codes
from partners.coupons.coupons import Shown
from partners.decisions import decisions, preparing
from partners.decisions.decisions import Basis
from partners.decisions.prepared import Prepared
from partners.desk import UNTOLD, BudgetKey, Desk, Told, Wanted
from partners.directory import Directory
from partners.mechanics.arms import NOBODY
from partners.mechanics.documents import HoldoutDocument
from partners.mechanics.fact_store import WHICH_CARD, WHOSE
from partners.mechanics.facts import Asked
from partners.promotions import evaluation
from partners.promotions.basket import Counters, Member, zone_of
from partners.promotions.basket import Coupon as ShownCoupon
from partners.promotions.releases import Release
from partners.promotions.shelf import Needs
from partners.receipts.receipts import Receipt
from partners.terms import Terms, exposure_code, holding_code, limit_codes

PURCHASE_TRIGGER = "purchase"

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class Presented(Struct, frozen=True):
    """Coupons that a member shows, looked at and good; whether the member proved who it is, and the wall's instant."""

    coupons: tuple[Shown, ...] = ()
    is_proved: bool = False
    wall_at: datetime | None = None


NOTHING_PRESENTED = Presented()


class Setting(Struct, frozen=True):
    """What a purchase is decided on whoever buys: where it happened, terms and release in force then, what the
    release's rules want to know (needs), the budgets by which settlement limits the partner, and the local date of
    every zone that budgets count in."""

    directory: Directory
    place: Place
    terms: Terms
    release: Release
    needs: Needs
    limited: Sequence[str]
    dates: Mapping[str, str]

    @property
    def by_rules(self) -> bool:
        """Whether more has a say than what every agreement says."""
        return self.needs.any or bool(self.limited) or not self.terms.is_ordinary


class Foreseen(Struct, frozen=True):
    """A receipt's setting, and what a decision will want to know of whom a card stands for before that is known (None:
    nothing): see `foresee`.

    In the scopes of wanted.keys, and in scopes (None: not looked at), WHOSE and WHICH_CARD stand for the numbers of
    member and card, and wanted.asked names nobody.
    """

    setting: Setting
    wanted: Wanted | None
    scopes: Mapping[str, str] | None = None


async def decide(
    desk: Desk,
    directory: Directory,
    caller: Caller,
    member: Identified,
    receipt: Receipt,
    *,
    at: datetime,
    idem_key: UUID | None,
    redeem_points: int = 0,
    terms: Terms | None = None,
    presented: Presented = NOTHING_PRESENTED,
    is_quote: bool = False,
    denied: Collection[str] = (),
    foreseen: Foreseen | None = None,
    told: Told | None = None,
) -> Prepared:
    """Decide a purchase by the agreement and by the rules in force when it occurred, as `prepare`.

    Nothing is read where no rule looks at more than the receipt and the card; told is what was read already, of what
    was foreseen. Of a quote the rules' discounts are proposals; a purchase is decided with those that the till says it
    gave, which must be right. denied are budgets that have no room. Raises what `prepare` raises, and
    DiscountNotGranted.
    """
    scopes = None
    if foreseen is not None and foreseen.setting.directory is directory and terms is None and not is_quote:
        setting, scopes = foreseen.setting, foreseen.scopes
    else:
        place, told = callers.place_of(directory, caller, receipt.outlet, receipt.terminal), None
        setting = _setting(directory, place, receipt, at=at, terms=terms, is_quote=is_quote)
    asked = _Asked(
        desk, caller, member, receipt, at, idem_key, redeem_points, presented, is_quote, denied, setting
    )  # fmt: skip
    if not setting.by_rules:
        return _prepared(asked, None)
    whose = _whose(asked, scopes)
    if told is None or presented.coupons:
        told = await desk.known.submit(wanted) if (wanted := _wanted(asked, whose)) is not None else UNTOLD
    if setting.needs.household:
        whose, more = _of_household(asked, whose, told)
        told = replace(told, left=(await desk.known.submit(more)).left) if more else told
    met = asked.experiments
    arms = await desk.arms.held_out(member.member_id, met, at=at) if met else NOBODY
    return _prepared(asked, _basis(asked, whose, told, arms))


def foresee(
    desk: Desk, directory: Directory, caller: Caller, place: Place, receipt: Receipt, *, at: datetime
) -> Foreseen | None:
    """What `decide` will have to read of whoever shows a card for this receipt, so that one statement can say who it is
    and that. None where it cannot be told yet, or the receipt will be refused. Raises nothing."""
    if receipt.lines and any("discounts" in line.facts for line in receipt.lines):  # these tell which rules decide
        return None
    if directory.terms_at(caller.partner_id, receipt.occurred_at) is None:
        return None
    setting = _setting(directory, place, receipt, at=at)
    needs = setting.needs
    keys: Sequence[BudgetKey] = ()
    scopes = None
    if not needs.household and (needs.budgets or setting.limited):
        scopes, keys = _of_whoever(desk, caller, setting, receipt)
    if not (keys or needs.fields):
        return Foreseen(setting, None, scopes)
    nobody = Asked(0, caller.partner_id, receipt.occurred_at)
    return Foreseen(setting, Wanted(nobody, at, needs.fields, needs.counters, keys), scopes)


_OF_WHOEVER: dict[tuple[Any, ...], tuple[Mapping[str, str], Sequence[BudgetKey]]] = {}
_MOST_OF_WHOEVER = 4096


def _of_whoever(
    desk: Desk, caller: Caller, setting: Setting, receipt: Receipt
) -> tuple[Mapping[str, str], Sequence[BudgetKey]]:
    """The scopes of whoever buys, and the budgets' counters that have to be read. They are the same for a day at an
    outlet but for a bank card or a limit, so they are kept."""
    partner = setting.place.partner.code
    key = None
    if not receipt.payments and not setting.limited:
        key = (setting.release.content_sha256, partner, receipt.outlet, *setting.dates.values())
        if (known := _OF_WHOEVER.get(key)) is not None:
            return known
    scopes = _known_scopes(desk, caller, partner, receipt, member=WHOSE, card=WHICH_CARD)
    found = scopes, _budget_keys(setting, _Whose(partner, receipt.occurred_at, scopes, setting.dates, ()))
    if key is not None:
        if len(_OF_WHOEVER) >= _MOST_OF_WHOEVER:
            _OF_WHOEVER.clear()
        _OF_WHOEVER[key] = found
    return found


async def decide_many(
    desk: Desk, directory: Directory, caller: Caller, items: Sequence[tuple[Identified, Receipt]], *, at: datetime
) -> list[Prepared | Rejection]:
    """Decide purchases of a file as `decide` does each of them, but what they need to know is read together; each item
    answers for itself, in order."""
    found: dict[int, Prepared | Rejection] = {}
    asked: dict[int, _Asked] = {}
    for place, (member, receipt) in enumerate(items):
        try:
            where = callers.place_of(directory, caller, receipt.outlet, receipt.terminal)
            setting = _setting(directory, where, receipt, at=at)
            asked[place] = _Asked(desk, caller, member, receipt, at, None, 0, NOTHING_PRESENTED, False, (), setting)
        except Rejection as no:
            found[place] = no
    by_rules = {n: one for n, one in asked.items() if one.setting.by_rules}
    whose = {n: _whose(one) for n, one in by_rules.items()}
    wanted = {n: some for n, one in by_rules.items() if (some := _wanted(one, whose[n])) is not None}
    told = await _read(desk.known, wanted, found)
    more: dict[int, Wanted] = {}
    for n, one in by_rules.items():
        if n not in found and one.setting.needs.household:
            whose[n], keys = _of_household(one, whose[n], told[n])
            more |= {n: keys} if keys else {}
    told |= {n: replace(told[n], left=one.left) for n, one in (await _read(desk.known, more, found)).items()}
    met = {n: experiments for n, one in by_rules.items() if n not in found and (experiments := one.experiments)}
    await desk.arms.meet({asked[n].member.member_id: some for n, some in met.items()}, at=at)
    arms_of = {n: await desk.arms.held_out(asked[n].member.member_id, some, at=at) for n, some in met.items()}
    for place, one in asked.items():
        if place not in found:
            try:
                basis = None
                if one.setting.by_rules:
                    basis = _basis(one, whose[place], told.get(place, UNTOLD), arms_of.get(place, NOBODY))
                found[place] = _prepared(one, basis)
            except Rejection as no:
                found[place] = no
    return [found[place] for place in range(len(items))]


async def _read(
    lane: Lane[_Item, _Answer], wanted: Mapping[int, _Item], found: dict[int, Prepared | Rejection]
) -> dict[int, _Answer]:
    """What a lane tells of items of a file, by their places; an item that it refuses has found its answer."""
    told: dict[int, _Answer] = {}
    if wanted:
        for place, answer in zip(wanted, await lane.submit_all(list(wanted.values())), strict=True):
            if isinstance(answer, Rejection):
                found[place] = answer
            elif isinstance(answer, Exception):
                raise answer
            else:
                told[place] = answer
    return told


class _Asked(Struct, frozen=True):
    """A purchase to be decided."""

    desk: Desk
    caller: Caller
    member: Identified
    receipt: Receipt
    at: datetime
    idem_key: UUID | None
    redeem_points: int
    presented: Presented
    is_quote: bool
    denied: Collection[str]
    setting: Setting

    @property
    def experiments(self) -> Mapping[str, HoldoutDocument]:
        """Those that may hold the member out of some of its rules."""
        setting = self.setting
        return setting.directory.experiments.among(setting.needs.experiments, at=self.receipt.occurred_at)

    def again(self, *, denied: Collection[str]) -> Awaitable[Prepared]:
        """The purchase decided anew on what is known by then, as `prepared.Again`."""
        return decide(
            self.desk, self.setting.directory, self.caller, self.member, self.receipt, at=self.at,
            idem_key=self.idem_key, redeem_points=self.redeem_points, terms=self.setting.terms,
            presented=self.presented, denied=denied,
        )  # fmt: skip


class _Whose(Struct, frozen=True):
    """What says which counters of budgets a purchase looks at: see evaluation.Whose."""

    partner: str
    occurred_at: datetime
    scopes: Mapping[str, str]
    dates: Mapping[str, str]
    coupons: tuple[ShownCoupon, ...]
    trigger: str = PURCHASE_TRIGGER
    event: None = None


def _setting(
    directory: Directory,
    place: Place,
    receipt: Receipt,
    *,
    at: datetime,
    terms: Terms | None = None,
    is_quote: bool = False,
) -> Setting:
    """What decides a receipt. Raises AgreementMissing, and DiscountNotGranted for a discount that names no rule."""
    shelf, partner = directory.shelf, place.partner
    terms = terms or callers.terms_at(directory, partner.partner_id, receipt.occurred_at)
    release = shelf.at(receipt.occurred_at, at)
    if release.rules and not is_quote:
        release = shelf.honouring(release, decisions.reported_rules(receipt))
    needs = shelf.needs(release, PURCHASE_TRIGGER, "", partner.code)
    dates = decisions.dates_of(receipt.occurred_at, release.zones) if needs.budgets else _NO_DATES
    return Setting(directory, place, terms, release, needs, limits_of(directory, partner.code), dates)


_NO_DATES: Mapping[str, str] = MappingProxyType({})


def _whose(asked: _Asked, foreseen: Mapping[str, str] | None = None) -> _Whose:
    coupons, setting = asked.presented.coupons, asked.setting
    return _Whose(
        setting.place.partner.code, asked.receipt.occurred_at, _scopes(asked, foreseen), setting.dates,
        tuple([ShownCoupon(one.batch, str(one.coupon_id)) for one in coupons]) if coupons else (),
    )  # fmt: skip


def _wanted(asked: _Asked, whose: _Whose) -> Wanted | None:
    """What has to be read; budgets of a household wait until it is known which that is."""
    needs = asked.setting.needs
    keys = () if needs.household else _budget_keys(asked.setting, whose)
    if not (keys or needs.fields):
        return None
    member = Asked(asked.member.member_id, asked.caller.partner_id, asked.receipt.occurred_at)
    return Wanted(member, asked.at, needs.fields, needs.counters, keys)


def _of_household(asked: _Asked, whose: _Whose, told: Told) -> tuple[_Whose, Wanted | None]:
    """Whose the budgets are, now that the household is known, and those that have to be read."""
    if told.facts is not None:
        whose = replace(whose, scopes={**whose.scopes, **told.facts.scopes})
    keys = _budget_keys(asked.setting, whose)
    member = Asked(asked.member.member_id, asked.caller.partner_id, asked.receipt.occurred_at)
    return whose, Wanted(member, asked.at, _NO_NAMES, _NO_NAMES, keys) if keys else None


_NO_NAMES = frozenset[str]()


@lru_cache(maxsize=64)
def _of_the_card(tier: str) -> Member:
    """A member of whom nothing is known but what the card tells."""
    return Member(tier=tier)


def _budget_keys(setting: Setting, whose: _Whose) -> Sequence[BudgetKey]:
    """The counters of budgets that have to be read."""
    keys = evaluation.budget_keys(setting.release, whose) if setting.needs.budgets else ()
    return [*keys, *((code, "", "") for code in setting.limited)] if setting.limited else keys


def _basis(asked: _Asked, whose: _Whose, told: Told, arms: Mapping[str, str]) -> Basis:
    setting, receipt = asked.setting, asked.receipt
    directory, partner, needs = setting.directory, setting.place.partner.code, setting.needs
    programme, calendar = directory.programme, directory.calendar
    known, if_seq = _of_the_card(asked.member.tier), None
    if told.facts is not None:
        known = decisions.told(told.facts.member, asked.member.tier, needs)
        if_seq = told.facts.seq if needs.account else None
    zone = directory.zone_at(setting.place.outlet_id)
    day = receipt.occurred_at.astimezone(zone_of(zone)).date() if calendar.versions else None
    foreign = directory.foreign_budgets(setting.terms.currency)
    context = decisions.context_of(
        receipt, partner=partner, zone=zone, terms=setting.terms, programme=programme, dates=setting.dates,
        member=known, scopes=whose.scopes, at=asked.at,
        denied=(*asked.denied, *foreign) if asked.denied or foreign else (),
        holidays=calendar.codes(day, at=receipt.occurred_at) if day else (),
        coupons=whose.coupons, arms=arms,
    )  # fmt: skip
    if not setting.limited:
        left = Counters.of(told.left) if told.left else _NOTHING_LEFT
        return Basis(setting.release, context, left, if_seq, is_quote=asked.is_quote)
    rest = dict(told.left)
    limits = taken_limits(rest, setting.limited, asked.denied)
    return Basis(
        setting.release, context, Counters.of(rest), if_seq, limits.get(exposure_code(partner)), asked.is_quote,
        limits.get(holding_code(partner)),
    )  # fmt: skip


_NOTHING_LEFT = Counters()


def _prepared(asked: _Asked, basis: Basis | None) -> Prepared:
    desk, caller, member, receipt, setting = asked.desk, asked.caller, asked.member, asked.receipt, asked.setting
    directory = setting.directory
    prepared = preparing.prepare(
        directory, caller, member, receipt, at=asked.at, idem_key=asked.idem_key, redeem_points=asked.redeem_points,
        terms=setting.terms, basis=basis, place=setting.place,
        again=None if basis is None else asked.again,
    )  # fmt: skip
    if prepared.decided is None or not (prepared.decided.outcome.uses or prepared.decided.outcome.grants):
        return prepared
    return _with_given(desk, directory, prepared, asked.presented)


def _with_given(desk: Desk, directory: Directory, prepared: Prepared, presented: Presented) -> Prepared:
    """The purchase with what its outcome uses up and gives beside points."""
    assert prepared.decided is not None
    assert prepared.promoted is not None
    outcome, row = prepared.decided.outcome, prepared.row
    new = [codes.draw() for one in outcome.grants if one.kind == "COUPON" for _ in range(one.quantity)]
    is_stopped = any(reason.code == decisions.EXPOSURE_REACHED for reason in prepared.award.reasons)
    given = decisions.given_of(
        outcome,
        decisions.used_up(prepared.decided, is_stopped=is_stopped),
        lookups={coupon.coupon_id: coupon.lookup for coupon in presented.coupons},
        drawn=[(codes.lookup(desk.vault, code), code[-codes.TAIL :]) for code in new],
        about={
            "partner": row.partner_id, "terms": row.terms_id, "claim": row.claim, "at": prepared.at,
            "day": callers.day_of(directory, prepared.at), "wall": presented.wall_at or prepared.at,
            "proved": presented.is_proved,
        },
    )  # fmt: skip
    return replace(prepared, promoted=replace(prepared.promoted, given=given))


def limits_of(directory: Directory, partner_code: str) -> list[str]:
    """The budgets by which settlement limits what a partner may come to owe; most have none."""
    return [code for code in limit_codes(partner_code) if code in directory.budgets] if directory.budgets else []


def taken_limits(
    left: dict[tuple[str, str, str], int], limited: Collection[str], denied: Collection[str]
) -> dict[str, int]:
    """What is left of a partner's limits, taken out of what is left of all budgets; nothing of one that was denied."""
    found = {code: left.pop((code, "", ""), 0) for code in limited}
    return {code: 0 if code in denied else remaining for code, remaining in found.items()}


def _scopes(asked: _Asked, foreseen: Mapping[str, str] | None) -> dict[str, str]:
    """Whose a budget may be, as far as the receipt and the card tell; of a card that was foreseen, now that it is known
    whose it is."""
    member = asked.member
    if foreseen is not None and member.card_id is not None:
        return {**foreseen, "member": str(member.member_id), "card": str(member.card_id)}
    return _known_scopes(
        asked.desk, asked.caller, asked.setting.place.partner.code, asked.receipt, member=asked.member.member_id,
        card=asked.member.card_id,
    )  # fmt: skip


def _known_scopes(
    desk: Desk, caller: Caller, partner: str, receipt: Receipt, *, member: int | str, card: int | str | None
) -> dict[str, str]:
    found = decisions.scopes_of(member, card, partner, receipt.outlet)
    if not receipt.payments:
        return found
    tokens = sorted({paid.instrument for paid in receipt.payments if paid.instrument})
    if len(tokens) == 1:  # of two cards neither is the one that paid
        paid_with = aliases.instrument(desk.vault, caller.partner_id, tokens[0])
        found |= {"instrument": paid_with.lookup.hex} if paid_with else {}
    return found
