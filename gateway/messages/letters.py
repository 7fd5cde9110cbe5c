"""PURE: what we write to people, letter by letter. A letter says what it must and sells nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, tzinfo
from typing import Final

from babel.dates import format_date, format_datetime
from babel.numbers import format_currency

from gateway.messages.letter_texts import TEXTS
from gateway.slips import points_text
from kit.amounts import decimal_from_minor
from members.messages import Letter

PASSKEY_ADDED: Final = "PASSKEY_ADDED"
PASSKEY_REMOVED: Final = "PASSKEY_REMOVED"
SIGNED_OUT_EVERYWHERE: Final = "SIGNED_OUT_EVERYWHERE"
SPENDING_UNLOCKED: Final = "SPENDING_UNLOCKED"
DAILY_CAP_RAISED: Final = "DAILY_CAP_RAISED"
CARD_ON_DEVICE: Final = "CARD_ON_DEVICE"
CARD_IN_WALLET: Final = "CARD_IN_WALLET"


def sign_in_code(language: str, *, code: str, minutes: int, programme: str, site: str) -> Letter:
    """A one-time code, its digits in two groups. The subject, which shows on locked screens, does not hold it."""
    half = len(code) // 2
    return _letter("sign_in_code", language, code=f"{code[:half]} {code[half:]}", minutes=str(minutes),
                   programme=programme, site=site)  # fmt: skip


def invitation(language: str, *, name: str, programme: str, site: str) -> Letter:
    """To who may sign in from now on; site is the address of their pages."""
    return _letter("invitation", language, name=name, programme=programme, site=site)


def security_notice(language: str, *, what: str, at: datetime, zone: tzinfo, site: str) -> Letter:
    """Something changed in how somebody signs in, or what may be spent: one of the names above."""
    return _letter(what, language, when=_moment(at, zone, language), site=site)


def expiry_notice(language: str, *, points: int, expires_at: datetime, zone: tzinfo, programme: str) -> Letter:
    """Points end at an instant."""
    told = _told(language)
    return _letter("expiry", language, points=points_text(points, told), programme=programme,
                   when=_moment(expires_at, zone, language))  # fmt: skip


def expiry_reminder(
    language: str, *, endings: Sequence[tuple[datetime, int]], zone: tzinfo, programme: str, site: str
) -> Letter:
    """Points end at some instants, given as (instant, points)."""
    told = _told(language)
    lines = [f"{_moment(at, zone, language)}: {points_text(points, told)}" for at, points in endings]
    return _letter("expiry_reminder", language, endings="\n".join(lines), programme=programme, site=site)


def renewal_notice(
    language: str,
    *,
    plan: str,
    amount_minor: int,
    currency: str,
    renews_at: datetime,
    zone: tzinfo,
    programme: str,
    site: str,
) -> Letter:
    """A subscription goes on, for a price in minor units."""
    price = format_currency(decimal_from_minor(amount_minor, currency), currency, locale=_told(language))
    return _letter("renewal", language, plan=plan, programme=programme, price=price, site=site,
                   when=_moment(renews_at, zone, language))  # fmt: skip


def payment_notice(
    language: str,
    *,
    step: str,
    plan: str,
    amount_minor: int,
    currency: str,
    reference: str,
    until: datetime,
    zone: tzinfo,
    programme: str,
    site: str,
) -> Letter:
    """Somebody owes for a subscription: UNPAID, ON_HOLD or ENDED; reference is what a payment names, until when it is,
    or was, over."""
    price = format_currency(decimal_from_minor(amount_minor, currency), currency, locale=_told(language))
    return _letter(f"payment_{step}", language, plan=plan, programme=programme, price=price, reference=reference,
                   site=site, until=_moment(until, zone, language))  # fmt: skip


def claim_notice(
    language: str,
    *,
    what: str,
    partner: str,
    day: date,
    points: int,
    until: datetime | None,
    zone: tzinfo,
    site: str,
) -> Letter:
    """What became of a claim to missing points: CREDITED, FOUND, REFUSED or DISMISSED; until when a refusal can be
    contested."""
    told = _told(language)
    return _letter(
        f"claim_{what}", language, partner=partner, day=format_date(day, "d MMMM y", locale=told), site=site,
        points=points_text(points, told), until="" if until is None else _moment(until, zone, language),
    )  # fmt: skip


def webhook_disabled(language: str, *, host: str, reason: str, site: str) -> Letter:
    """An endpoint of a partner's is no longer called: it took nothing for days (FAILING), or is gone (GONE)."""
    return _letter(f"webhook_{reason}", language, host=host, site=site)


def _letter(kind: str, language: str, **values: str) -> Letter:
    subject, body = TEXTS[kind][_told(language)]
    # A subject is one line whatever a programme is called.
    return Letter(" ".join(subject.format(**values).split()), body.format(**values))


def _told(language: str) -> str:
    return language if language in TEXTS["expiry"] else "en"


def _moment(at: datetime, zone: tzinfo, language: str) -> str:
    return format_datetime(at, "d MMMM y, HH:mm (zzzz)", tzinfo=zone, locale=_told(language))
