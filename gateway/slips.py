"""PURE: what a cashier reads and a customer's slip says when something worked, in the programme's languages."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from babel import Locale
from babel.numbers import format_currency, format_decimal

from kit.amounts import BASIS, decimal_from_minor

_POINTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "en": {"one": "{n} point", "other": "{n} points"},
        "ru": {"one": "{n} балл", "few": "{n} балла", "many": "{n} баллов", "other": "{n} балла"},
        "ro": {"one": "{n} punct", "few": "{n} puncte", "other": "{n} de puncte"},
    }
)
_TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "earned": {"en": "Earned: {points}", "ru": "Начислено: {points}", "ro": "Acumulat: {points}"},
        "spent": {"en": "Paid with points: {points}", "ru": "Оплачено баллами: {points}", "ro": "Plătit cu puncte: {points}"},
        "taken": {"en": "Taken back: {points}", "ru": "Списано при возврате: {points}", "ro": "Retras: {points}"},
        "refunded": {"en": "Given back: {points}", "ru": "Возвращено: {points}", "ro": "Restituit: {points}"},
        "held": {"en": "Set aside: {points}", "ru": "Зарезервировано: {points}", "ro": "Rezervat: {points}"},
        "released": {"en": "Set free: {points}", "ru": "Снято с резерва: {points}", "ro": "Eliberat: {points}"},
        "asked": {
            "en": "The member is asked in the app: {points}",
            "ru": "Запрос участнику в приложении: {points}",
            "ro": "Membrul este întrebat în aplicație: {points}",
        },
        "pairing": {
            "en": "Let the customer scan the code with their phone.",
            "ru": "Пусть покупатель отсканирует код телефоном.",
            "ro": "Rugați clientul să scaneze codul cu telefonul.",
        },
        "available": {"en": "Available: {points}", "ru": "Доступно: {points}", "ro": "Disponibil: {points}"},
        "pending": {"en": "Available later: {points}", "ru": "Станут доступны позже: {points}", "ro": "Disponibil mai târziu: {points}"},
        "owed": {
            "en": "Owed, to be taken from the next points: {points}",
            "ru": "Долг, будет списан из следующих начислений: {points}",
            "ro": "Datorat, se va reține din punctele următoare: {points}",
        },
        "enrolled": {
            "en": "Welcome! Card ending in {card}.",
            "ru": "Добро пожаловать! Карта, последние цифры {card}.",
            "ro": "Bun venit! Cardul se termină în {card}.",
        },
        "event_waiting": {
            "en": "Recorded. Somebody will look at it first.",
            "ru": "Записано. Сначала это проверят.",
            "ro": "Înregistrat. Mai întâi va fi verificat.",
        },
        "event_declined": {"en": "It does not count.", "ru": "Не засчитано.", "ro": "Nu se ia în considerare."},
        "cancelled": {"en": "The receipt is cancelled.", "ru": "Чек отменён.", "ro": "Bonul este anulat."},
        "cancelled_unknown": {
            "en": "The receipt never arrived and will be refused.",
            "ru": "Чек не поступал и не будет принят.",
            "ro": "Bonul nu a sosit și va fi refuzat.",
        },
        "BASE": {"en": "{rate} of {amount}", "ru": "{rate} от {amount}", "ro": "{rate} din {amount}"},
        "RULE": {"en": "{title}", "ru": "{title}", "ro": "{title}"},
        "CAPPED": {"en": "{title}: as much as was left", "ru": "{title}: сколько оставалось", "ro": "{title}: cât a mai rămas"},
        "BUDGET_EXHAUSTED": {
            "en": "{title}: nothing is left of it",
            "ru": "{title}: предложение исчерпано",
            "ro": "{title}: oferta s-a epuizat",
        },
        "EXPOSURE_REACHED": {
            "en": "No points can be collected here at the moment",
            "ru": "Сейчас здесь нельзя накопить баллы",
            "ro": "Momentan aici nu se pot acumula puncte",
        },
        "EXPOSURE_HELD": {
            "en": "The points become available when the partner has settled",
            "ru": "Баллы станут доступны, когда партнёр рассчитается",
            "ro": "Punctele devin disponibile după ce partenerul decontează",
        },
        "TIER_BONUS": {
            "en": "{rate} more for tier {tier}",
            "ru": "ещё {rate} за уровень {tier}",
            "ro": "încă {rate} pentru nivelul {tier}",
        },
        "KIND_DOES_NOT_EARN": {
            "en": "{kind} earns no points",
            "ru": "{kind}: баллы не начисляются",
            "ro": "{kind} nu aduce puncte",
        },
        "CLASS_DOES_NOT_EARN": {
            "en": "{kind} earns no points",
            "ru": "{kind}: баллы не начисляются",
            "ro": "{kind} nu aduce puncte",
        },
        "PARTNER_DOES_NOT_ISSUE": {
            "en": "No points are earned here",
            "ru": "Здесь баллы не начисляются",
            "ro": "Aici nu se acumulează puncte",
        },
        "PAID_WITH_POINTS": {
            "en": "{amount} paid with points earns none",
            "ru": "на {amount}, оплаченные баллами, баллы не начисляются",
            "ro": "{amount} plătit cu puncte nu aduce puncte",
        },
    }
)  # fmt: skip


def points_text(points: int, language: str) -> str:
    """A number of points with the right plural: 21 балл, 22 балла, 25 баллов."""
    form = Locale(language).plural_form(points)
    forms = _POINTS[language]
    return forms.get(form, forms["other"]).format(n=format_decimal(points, locale=language))


def text(name: str, language: str, points: int = 0) -> str:
    """One of the sentences, with its points."""
    return _TEXTS[name][language].format(points=points_text(points, language))


def enrolled(last_four: str, language: str) -> str:
    """What a new member reads, with the last digits of their card."""
    return _TEXTS["enrolled"][language].format(card=last_four)


def reason_text(code: str, facts: Mapping[str, Any], currency: str, language: str) -> str:
    """Why points were or were not given, for people; a code without a sentence says itself."""
    if code not in _TEXTS:
        return code
    amount_minor = facts.get("eligible_minor", facts.get("value_minor", 0))
    hundredths = facts.get("rate_bp", 0)
    whole, rest = divmod(hundredths, BASIS // 100)
    rate = f"{whole}.{rest:02d}".rstrip("0").rstrip(".") + "%"
    return _TEXTS[code][language].format(
        rate=rate if language == "en" else rate.replace(".", ","),
        amount=format_currency(decimal_from_minor(amount_minor, currency), currency, locale=language),
        tier=facts.get("tier", ""),
        kind=facts.get("kind", ""),
        title=facts.get("title") or facts.get("rule", ""),
    )


def slip_lines(
    language: str,
    *,
    earned: int = 0,
    spent: int = 0,
    taken: int = 0,
    refunded: int = 0,
    held: int = 0,
    released: int = 0,
    available: int | None = None,
    pending: int | None = None,
    debt: int = 0,
) -> list[str]:
    """What the slip says of points: what moved, and the balances where they are known, what is owed among them."""
    moved = (
        ("earned", earned), ("spent", spent), ("taken", taken), ("refunded", refunded), ("held", held),
        ("released", released),
    )  # fmt: skip
    lines = [text(name, language, points) for name, points in moved if points]
    if available is not None:
        lines.append(text("available", language, available))
    if pending:
        lines.append(text("pending", language, pending))
    if debt:
        lines.append(text("owed", language, debt))
    return lines
