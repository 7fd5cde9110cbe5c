"""PURE: who, where, what and when of a rule document as named conditions in CEL, beside the author's own.

There is one meaning of a condition: its CEL source. On the hot path a rule is asked one fused expression; an
explanation asks every condition by itself and tells the value it found.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from partners.promotions.documents import RuleDocument, Span, Texts, What, When, Who

ORDINARY_KINDS = ("GOODS", "SERVICE")  # what a rule looks at that names no kinds


@dataclass(frozen=True, slots=True)
class Named:
    """One condition: its id, its source, the source of the value that explains it, what was expected, the label.

    label is None for what comes from who, where, what and when; their words are `explanations`' own.
    """

    id: str
    cel: str
    subject: str
    expected: str = ""
    label: Texts | None = None


def quoted(text: str) -> str:
    """A text as CEL writes it."""
    return json.dumps(text, ensure_ascii=False)


def listed(values: Iterable[object]) -> str:
    """Values as a CEL list."""
    return "[" + ", ".join(quoted(value) if isinstance(value, str) else str(value) for value in values) + "]"


def any_of(held: str, values: Iterable[str]) -> str:
    """Whether a list holds any of some texts; without a loop, since one may stand around it."""
    return "(" + " || ".join(f"{quoted(value)} in {held}" for value in values) + ")"


def of(rule: RuleDocument) -> tuple[Named, ...]:
    """All conditions of a rule in the order in which they are declared and explained."""
    own = [Named(one.id, one.cel, "", label=one.label) for one in rule.conditions]
    return (*_who(rule.who), *_where(rule), *_what(rule.what), *_when(rule.when), *own)


def fused(rule: RuleDocument) -> str:
    """One expression for the hot path; empty where there is nothing to ask.

    Partners are left out because candidates are looked up by partner, lines because they are selected anyway.
    """
    asked = [one.cel for one in of(rule) if one.id not in ("where.partners", "what.lines")]
    return " && ".join(f"({cel}\n)" for cel in asked)  # a comment in one must not swallow its bracket


def line_source(what: What) -> str | None:
    """The expression over one line `l` that says which lines are meant; None where ordinary lines are."""
    if not what.narrows:
        return None
    parts = [f"l.kind in {listed(what.kinds or ORDINARY_KINDS)}"]
    for name, values in (("category", what.categories), ("sku", what.skus)):
        parts += [f"l.{name} in {listed(values)}"] if values else []
    parts += [any_of("l.classes", what.classes)] if what.classes else []
    for name, values in (
        ("kind", what.exclude_kinds), ("category", what.exclude_categories), ("sku", what.exclude_skus),
    ):  # fmt: skip
        parts += [f"!(l.{name} in {listed(values)})"] if values else []
    parts += [f"!{any_of('l.classes', what.exclude_classes)}"] if what.exclude_classes else []
    parts += [f"({what.line_cel}\n)"] if what.line_cel else []
    return " && ".join(parts)


def _who(who: Who) -> list[Named]:
    found = []
    if who.tiers:
        found.append(_one_of("who.tiers", "member.tier", who.tiers))
    if who.plans:
        found.append(_one_of("who.plans", "member.plan", who.plans))
    if who.subscriber is not None:
        found.append(_flag("who.subscriber", "member.subscriber", who.subscriber))
    found += [
        Named(f"who.{name}", any_of(f"member.{name}", values), f"member.{name}", ", ".join(values))
        for name, values in (
            ("benefits", who.benefits), ("segments", who.segments), ("attributes", who.attributes),
            ("badges", who.badges),
        ) if values
    ]  # fmt: skip
    if who.exclude_segments:
        cel = f"!{any_of('member.segments', who.exclude_segments)}"
        found.append(Named("who.exclude_segments", cel, "member.segments", ", ".join(who.exclude_segments)))
    if who.membership_age_days:
        found.append(_span("who.membership_age_days", "member.age_days", who.membership_age_days))
    if who.enrolled_here is not None:
        found.append(_flag("who.enrolled_here", "member.enrolled_here", who.enrolled_here))
    if who.in_household is not None:
        found.append(_flag("who.in_household", "member.in_household", who.in_household))
    for one in who.counters:
        found.append(_span(f"who.counters.{one.counter}", f"member.counters[{quoted(one.counter)}]", one))
    return found


def _where(rule: RuleDocument) -> list[Named]:
    where = rule.where
    found = []
    if where.partners:
        found.append(_one_of("where.partners", "place.partner", where.partners))
    if where.exclude_partners:
        cel = f"!(place.partner in {listed(where.exclude_partners)})"
        found.append(Named("where.exclude_partners", cel, "place.partner", ", ".join(where.exclude_partners)))
    if where.outlets:
        found.append(_one_of("where.outlets", "place.outlet", where.outlets))
    if where.channels:
        found.append(_one_of("where.channels", "place.channel", where.channels))
    return found


def _what(what: What) -> list[Named]:
    source = line_source(what)
    if source is None:
        return []
    named = (*what.kinds, *what.categories, *what.skus, *what.classes)
    return [
        Named("what.lines", f"basket.lines.exists(l, {source})", "basket.lines.map(l, l.category)", ", ".join(named))
    ]


def _when(when: When) -> list[Named]:
    found = []
    if when.dates:
        found.append(_one_of("when.dates", "local.date", [day.isoformat() for day in when.dates]))
    if when.weekdays:
        found.append(_one_of("when.weekdays", "local.weekday", when.weekdays))
    if when.hours:
        start, end = when.hours.start, when.hours.end
        both = "&&" if start < end else "||"
        cel = f"local.hour >= {start} {both} local.hour < {end}"
        found.append(Named("when.hours", cel, "local.hour", f"{start}-{end}"))
    if when.holidays:
        cel = any_of("local.holidays", when.holidays)
        found.append(Named("when.holidays", cel, "local.holidays", ", ".join(when.holidays)))
    if when.birthday_window:
        before, after = when.birthday_window.before, when.birthday_window.after
        cel = f"member.has_birthday && member.days_to_birthday <= {before} && member.days_to_birthday >= -{after}"
        subject = "member.has_birthday ? member.days_to_birthday : 999"
        found.append(Named("when.birthday_window", cel, subject, f"-{after}-{before}"))
    return found


def _one_of(name: str, subject: str, values: Sequence[object]) -> Named:
    return Named(name, f"{subject} in {listed(values)}", subject, ", ".join(str(value) for value in values))


def _flag(name: str, subject: str, wanted: bool) -> Named:
    return Named(name, subject if wanted else f"!{subject}", subject, "yes" if wanted else "no")


def _span(name: str, subject: str, span: Span) -> Named:
    parts = [f"{subject} >= {span.min}"] if span.min is not None else []
    parts += [f"{subject} <= {span.max}"] if span.max is not None else []
    low, high = ("" if bound is None else str(bound) for bound in (span.min, span.max))
    return Named(name, " && ".join(parts), subject, f"{low}..{high}")
