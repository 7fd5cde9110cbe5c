"""PURE: the words in which a decision is explained, in the programme's languages.

Figures stand after a colon, so that no language has to count.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LANGUAGES = ("en", "ru", "ro")

REASON_TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "BASE": {
            "en": "For what you paid, {amount} at {rate} %. Points: {points}.",
            "ru": "За оплаченное, {amount} по ставке {rate} %. Баллы: {points}.",
            "ro": "Pentru suma plătită, {amount} la {rate} %. Puncte: {points}.",
        },
        "TIER_BONUS": {
            "en": "More for your level {tier}, {rate} %. Points: {points}.",
            "ru": "Дополнительно за уровень {tier}, {rate} %. Баллы: {points}.",
            "ro": "În plus pentru nivelul {tier}, {rate} %. Puncte: {points}.",
        },
        "KIND_DOES_NOT_EARN": {
            "en": "Earns no points: {kinds}, {amount}.",
            "ru": "Баллы не начисляются: {kinds}, {amount}.",
            "ro": "Nu aduce puncte: {kinds}, {amount}.",
        },
        "CLASS_DOES_NOT_EARN": {
            "en": "By the agreement earns no points: {kinds}, {amount}.",
            "ru": "По соглашению баллы не начисляются: {kinds}, {amount}.",
            "ro": "Conform acordului nu aduce puncte: {kinds}, {amount}.",
        },
        "PARTNER_DOES_NOT_ISSUE": {
            "en": "No points are earned here.",
            "ru": "Здесь баллы не начисляются.",
            "ro": "Aici nu se acordă puncte.",
        },
        "PAID_WITH_POINTS": {
            "en": "What points paid earns no points: {amount}.",
            "ru": "На оплаченное баллами баллы не начисляются: {amount}.",
            "ro": "Pentru ce s-a plătit cu puncte nu se acordă puncte: {amount}.",
        },
        "APPLIED": {
            "en": "{title}. Given: {given}.",
            "ru": "{title}. Предоставлено: {given}.",
            "ro": "{title}. Acordat: {given}.",
        },
        "CAPPED": {
            "en": "{title}. Given: {given} of {computed}, which is all that the limit {budget} had left.",
            "ru": "{title}. Предоставлено: {given} из {computed}, это весь остаток лимита {budget}.",
            "ro": "{title}. Acordat: {given} din {computed}, tot ce mai rămăsese din limita {budget}.",
        },
        "NOT_EFFECTIVE": {
            "en": "{title}. Not given: the offer is not in force at this time.",
            "ru": "{title}. Не предоставлено: предложение сейчас не действует.",
            "ro": "{title}. Nu s-a acordat: oferta nu este în vigoare acum.",
        },
        "CONDITION_FALSE": {
            "en": "{title}. Not given: {conditions}.",
            "ru": "{title}. Не предоставлено: {conditions}.",
            "ro": "{title}. Nu s-a acordat: {conditions}.",
        },
        "CONDITION_ERROR": {
            "en": "{title}. Not given: a condition could not be checked.",
            "ru": "{title}. Не предоставлено: условие не удалось проверить.",
            "ro": "{title}. Nu s-a acordat: o condiție nu a putut fi verificată.",
        },
        "OUTRANKED_BY": {
            "en": "{title}. Not given: {by} counts instead.",
            "ru": "{title}. Не предоставлено: вместо этого действует {by}.",
            "ro": "{title}. Nu s-a acordat: se aplică în schimb {by}.",
        },
        "EXCLUSIVE_AFTER": {
            "en": "{title}. Not given: {by} does not go with other offers.",
            "ru": "{title}. Не предоставлено: {by} не сочетается с другими предложениями.",
            "ro": "{title}. Nu s-a acordat: {by} nu se cumulează cu alte oferte.",
        },
        "CODE_REQUIRED": {
            "en": "{title}. Not given: show the coupon for it.",
            "ru": "{title}. Не предоставлено: предъявите купон.",
            "ro": "{title}. Nu s-a acordat: prezentați cuponul.",
        },
        "CODE_INVALID": {
            "en": "{title}. Not given: the coupon cannot be used.",
            "ru": "{title}. Не предоставлено: купон использовать нельзя.",
            "ro": "{title}. Nu s-a acordat: cuponul nu poate fi folosit.",
        },
        "BUDGET_EXHAUSTED": {
            "en": "{title}. Not given: the limit {budget} is used up.",
            "ru": "{title}. Не предоставлено: лимит {budget} исчерпан.",
            "ro": "{title}. Nu s-a acordat: limita {budget} este epuizată.",
        },
        "ZERO_EFFECT": {
            "en": "{title}. Comes to nothing on this bill.",
            "ru": "{title}. По этому чеку ничего не даёт.",
            "ro": "{title}. Nu aduce nimic la acest bon.",
        },
        "HOLDOUT": {
            "en": "{title}. Not given: the member is in the control group.",
            "ru": "{title}. Не предоставлено: участник в контрольной группе.",
            "ro": "{title}. Nu s-a acordat: membrul este în grupul de control.",
        },
        "BELOW_THRESHOLD": {
            "en": "{title}. Not given: missing {missing}.",
            "ru": "{title}. Не предоставлено: не хватает {missing}.",
            "ro": "{title}. Nu s-a acordat: lipsesc {missing}.",
        },
        "SCOPE_MISSING": {
            "en": "{title}. Not given: it is not known whose limit {budget} would count.",
            "ru": "{title}. Не предоставлено: неизвестно, чей лимит {budget} считать.",
            "ro": "{title}. Nu s-a acordat: nu se știe a cui limită {budget} s-ar socoti.",
        },
        "STAMPS_SHORT": {
            "en": "{title}. Not given: it takes {needed} stamps, and you have {had}.",
            "ru": "{title}. Не предоставлено: нужно штампов: {needed}, есть: {had}.",
            "ro": "{title}. Nu s-a acordat: ștampile necesare: {needed}, existente: {had}.",
        },
    }
)

# What a condition asks for, by its id; of who.counters.* what they count.
CONDITION_TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "who.tiers": {
            "en": "for level {expected}; it is {actual}",
            "ru": "для уровня {expected}, а уровень {actual}",
            "ro": "pentru nivelul {expected}; este {actual}",
        },
        "who.plans": {
            "en": "for plan {expected}; it is {actual}",
            "ru": "для подписки {expected}, а действует {actual}",
            "ro": "pentru abonamentul {expected}; este {actual}",
        },
        "who.subscriber": {
            "en": "subscription: expected {expected}, found {actual}",
            "ru": "подписка: нужно {expected}, есть {actual}",
            "ro": "abonament: necesar {expected}, găsit {actual}",
        },
        "who.benefits": {
            "en": "for holders of {expected}",
            "ru": "для имеющих {expected}",
            "ro": "pentru cei cu {expected}",
        },
        "who.segments": {
            "en": "only for a group of members",
            "ru": "только для группы участников",
            "ro": "numai pentru un grup de membri",
        },
        "who.exclude_segments": {
            "en": "not for a group of members",
            "ru": "не для группы участников",
            "ro": "nu pentru un grup de membri",
        },
        "who.attributes": {
            "en": "needs verified evidence: {expected}",
            "ru": "нужно подтверждение: {expected}",
            "ro": "necesită dovadă verificată: {expected}",
        },
        "who.badges": {
            "en": "needs a badge: {expected}",
            "ru": "нужен знак: {expected}",
            "ro": "necesită insigna: {expected}",
        },
        "who.membership_age_days": {
            "en": "days of membership: {expected}; there are {actual}",
            "ru": "дней участия: {expected}; есть {actual}",
            "ro": "zile ca membru: {expected}; sunt {actual}",
        },
        "who.enrolled_here": {
            "en": "enrolled at this partner: expected {expected}, found {actual}",
            "ru": "вступление у этого партнёра: нужно {expected}, есть {actual}",
            "ro": "înscris la acest partener: necesar {expected}, găsit {actual}",
        },
        "who.in_household": {
            "en": "member of a household: expected {expected}, found {actual}",
            "ru": "участник семьи: нужно {expected}, есть {actual}",
            "ro": "membru al unei familii: necesar {expected}, găsit {actual}",
        },
        "who.counters": {
            "en": "earlier purchases: {expected}; there are {actual}",
            "ru": "прежних покупок: {expected}; есть {actual}",
            "ro": "cumpărături anterioare: {expected}; sunt {actual}",
        },
        "who.sums": {
            "en": "bought earlier, in minor units: {expected}; it is {actual}",
            "ru": "куплено раньше, в минимальных единицах валюты: {expected}; есть {actual}",
            "ro": "cumpărat anterior, în unități minore: {expected}; este {actual}",
        },
        "where.partners": {
            "en": "at {expected}, and this is {actual}",
            "ru": "действует у {expected}, а это {actual}",
            "ro": "la {expected}, iar aici este {actual}",
        },
        "where.exclude_partners": {
            "en": "not at {expected}",
            "ru": "не действует у {expected}",
            "ro": "nu la {expected}",
        },
        "where.outlets": {
            "en": "at outlet {expected}, and this is {actual}",
            "ru": "в точке {expected}, а это {actual}",
            "ro": "la punctul {expected}, iar aici este {actual}",
        },
        "where.channels": {
            "en": "bought through {expected}, and this is {actual}",
            "ru": "канал покупки: нужен {expected}, а это {actual}",
            "ro": "canal: necesar {expected}, iar acesta este {actual}",
        },
        "what.lines": {
            "en": "needs on the bill: {expected}",
            "ru": "нужно в чеке: {expected}",
            "ro": "necesar pe bon: {expected}",
        },
        "when.dates": {
            "en": "on {expected}, and it is {actual}",
            "ru": "дата: нужна {expected}, сейчас {actual}",
            "ro": "data: {expected}, acum {actual}",
        },
        "when.weekdays": {
            "en": "on these days: {expected}; it is {actual}",
            "ru": "в эти дни: {expected}; сейчас {actual}",
            "ro": "în aceste zile: {expected}; acum este {actual}",
        },
        "when.hours": {
            "en": "hours: {expected}, and it is {actual}",
            "ru": "часы: {expected}, сейчас {actual}",
            "ro": "orele: {expected}, acum {actual}",
        },
        "when.holidays": {
            "en": "on a holiday: {expected}",
            "ru": "в праздник: {expected}",
            "ro": "într-o sărbătoare: {expected}",
        },
        "when.birthday_window": {
            "en": "around the birthday",
            "ru": "около дня рождения",
            "ro": "în preajma zilei de naștere",
        },
    }
)

WORDS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "points": {"en": "points {figure}", "ru": "баллы {figure}", "ro": "puncte {figure}"},
        "off": {"en": "{figure} off", "ru": "скидка {figure}", "ro": "reducere {figure}"},
        "COUPON": {"en": "coupons {figure}", "ru": "купоны {figure}", "ro": "cupoane {figure}"},
        "STAMP": {"en": "stamps {figure}", "ru": "штампы {figure}", "ro": "ștampile {figure}"},
        "BADGE": {"en": "badges {figure}", "ru": "знаки {figure}", "ro": "insigne {figure}"},
        "ENTITLEMENT": {"en": "rights {figure}", "ru": "права {figure}", "ro": "drepturi {figure}"},
        "TIER_CREDIT": {
            "en": "credit toward the level {figure}",
            "ru": "зачёт к уровню {figure}",
            "ro": "credit pentru nivel {figure}",
        },
        "RAFFLE_TICKET": {"en": "raffle tickets {figure}", "ru": "билеты {figure}", "ro": "bilete {figure}"},
        "limit": {
            "en": "points may pay at most {figure}",
            "ru": "баллами можно оплатить не более {figure}",
            "ro": "cu puncte se poate plăti cel mult {figure}",
        },
        "units": {"en": "units {figure}", "ru": "штук {figure}", "ro": "bucăți {figure}"},
        "yes": {"en": "yes", "ru": "да", "ro": "da"},
        "no": {"en": "no", "ru": "нет", "ro": "nu"},
        "at_most": {"en": "at most {high}", "ru": "не больше {high}", "ro": "cel mult {high}"},
        "at_least": {"en": "at least {low}", "ru": "не меньше {low}", "ro": "cel puțin {low}"},
        "from_to": {"en": "{low} to {high}", "ru": "от {low} до {high}", "ro": "de la {low} la {high}"},
        "nothing": {"en": "none", "ru": "нет", "ro": "nimic"},
    }
)

WEEKDAYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
        "ru": ("понедельник", "вторник", "среда", "четверг", "пятница", "суббота", "воскресенье"),
        "ro": ("luni", "marți", "miercuri", "joi", "vineri", "sâmbătă", "duminică"),
    }
)
"""Days of the week by their number in ISO 8601, less one."""


def worded(texts: Mapping[str, Mapping[str, str]], key: str, language: str, **figures: object) -> str:
    """A sentence in a language, with figures; English where the language is unknown."""
    found = texts[key]
    return found.get(language, found["en"]).format(**figures)
