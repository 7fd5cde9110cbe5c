"""PURE: conditions in CEL: what they may speak of, whether they are sound, and what they answer.

The engine is cel-expr-python, and its traps end here. It reports an error as a value, which Python would take for true:
only a BOOL that is True holds. Its types are checked against messages that are built at start-up, so a misspelt field
fails when a rule is saved. Its compiled form is not stable, so only sources are ever stored or hashed. Rules keep to
what a second engine understands too; the tests run a corpus on both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from partners.promotions.basket import COUNTERS, Basket, BasketLine, Context

HOLDS, FAILS, ERRED = "OK", "FALSE", "ERROR"
_PACKAGE = "tessera"

# What an expression may speak of: type of each field; `many` says a list, `map` a mapping from text.
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Line": {
        "no": "int", "kind": "string", "sku": "string", "category": "string", "classes": "many string",
        "quantity_milli": "int", "amount_minor": "int", "list_minor": "int",
    },
    "Payment": {"kind": "string", "amount_minor": "int"},
    "Basket": {
        "lines": "many Line", "payments": "many Payment", "currency": "string", "total_minor": "int",
        "points_minor": "int",
    },
    "Member": {
        "tier": "string", "plan": "string", "subscriber": "bool", "benefits": "many string", "segments": "many string",
        "attributes": "many string", "badges": "many string", "age_days": "int", "enrolled_here": "bool",
        "in_household": "bool", "has_birthday": "bool", "days_to_birthday": "int", "counters": "map int",
        "stamps": "map int",
    },
    "Local": {"date": "string", "weekday": "int", "hour": "int", "minute": "int", "holidays": "many string"},
    "Place": {"partner": "string", "outlet": "string", "channel": "string"},
    "Event": {"code": "string", "numbers": "map int", "words": "map string"},
    "Presented": {"batches": "many string"},
}  # fmt: skip
VARIABLES: Mapping[str, str] = {
    "basket": "Basket", "member": "Member", "local": "Local", "place": "Place", "event": "Event",
    "coupons": "Presented",
}  # fmt: skip
Needed = Mapping[str, tuple[str, ...]]
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_REFUSED = re.compile(
    r"\b(getFullYear|getMonth|getDate|getDayOfMonth|getDayOfWeek|getDayOfYear|getHours|getMinutes|getSeconds"
    r"|getMilliseconds|timestamp|duration|double|bytes|dyn|type)\s*\("
)
_TOKEN = re.compile(
    r"""(?P<text>[rR]?(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))"""
    r"|(?P<number>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+|0[xX][0-9a-fA-F]+[uU]?|\d+[uU]?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<operator>&&|\|\||[<>=!]=|\S)",
    re.DOTALL,
)


class ExpressionInvalid(Exception):  # noqa: N818 - it is told to the author as a problem
    """The expression cannot be part of a rule: at that column (from 1), and what was expected."""

    def __init__(self, column: int, message: str) -> None:
        super().__init__(f"column {column}: {message}")
        self.column = column
        self.message = message


@dataclass(frozen=True, slots=True)
class Answer:
    """What an expression came to: HOLDS, FAILS or ERRED with the engine's words."""

    state: str
    error: str = ""


# --- what an expression may speak of ------------------------------------------------------------------------


def _descriptor() -> descriptor_pb2.FileDescriptorProto:
    described = descriptor_pb2.FileDescriptorProto(name="tessera/rules.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        message = described.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            _field(message, number, field, kind)
    return described


def _field(message: Any, number: int, name: str, kind: str) -> None:
    how, _, what = kind.rpartition(" ")
    proto = descriptor_pb2.FieldDescriptorProto
    simple = {"int": proto.TYPE_INT64, "string": proto.TYPE_STRING, "bool": proto.TYPE_BOOL}
    label = proto.LABEL_REPEATED if how else proto.LABEL_OPTIONAL
    if how == "map":
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        entry.field.add(name="key", number=1, type=proto.TYPE_STRING, label=proto.LABEL_OPTIONAL)
        entry.field.add(name="value", number=2, type=simple[what], label=proto.LABEL_OPTIONAL)
        target = f".{_PACKAGE}.{message.name}.{entry.name}"
    elif what in simple:
        message.field.add(name=name, number=number, type=simple[what], label=label)
        return
    else:
        target = f".{_PACKAGE}.{what}"
    message.field.add(name=name, number=number, type=proto.TYPE_MESSAGE, label=label, type_name=target)


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_descriptor())
_MESSAGES = {
    name: message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _FIELDS
}
_TYPES = {variable: cel.Type(f"{_PACKAGE}.{message}") for variable, message in VARIABLES.items()}
_MESSAGE_OF = {variable: _MESSAGES[message] for variable, message in VARIABLES.items()}
_RULES = cel.NewEnv(descriptor_pool=_POOL, variables=_TYPES)
_LINES = cel.NewEnv(descriptor_pool=_POOL, variables={**_TYPES, "l": cel.Type(f"{_PACKAGE}.Line")})


_Getter = Callable[[Basket, Context], Any]
_LINE: Mapping[str, Callable[[int, BasketLine], Any]] = {
    "no": lambda number, line: number,
    "kind": lambda number, line: line.kind,
    "sku": lambda number, line: line.sku,
    "category": lambda number, line: line.category,
    "classes": lambda number, line: line.classes,
    "quantity_milli": lambda number, line: line.quantity_milli,
    "amount_minor": lambda number, line: line.amount_minor,
    "list_minor": lambda number, line: line.amount_minor if line.list_minor is None else line.list_minor,
}
_BASKET: Mapping[str, _Getter] = {
    "payments": lambda basket, context: [
        {"kind": paid.kind, "amount_minor": paid.amount_minor} for paid in basket.payments
    ],
    "currency": lambda basket, context: basket.currency,
    "total_minor": lambda basket, context: basket.total_minor,
    "points_minor": lambda basket, context: basket.points_minor,
}
_MEMBER: Mapping[str, _Getter] = {
    "subscriber": lambda basket, context: bool(context.member.plan),
    "has_birthday": lambda basket, context: context.member.days_to_birthday is not None,
    "days_to_birthday": lambda basket, context: context.member.days_to_birthday or 0,
}
_PLACE: Mapping[str, _Getter] = {
    "partner": lambda basket, context: context.partner,
    "outlet": lambda basket, context: f"{context.partner}:{context.outlet}",
    "channel": lambda basket, context: context.channel,
}
_PRESENTED: Mapping[str, _Getter] = {
    "batches": lambda basket, context: [one.batch for one in context.coupons if one.state == "VALID"],
}


def _of_basket(names: Iterable[str], basket: Basket, context: Context, named: Needed) -> dict[str, Any]:
    found = {name: _BASKET[name](basket, context) for name in names if name != "lines"}
    if "lines" in names:
        getters = [(name, _LINE[name]) for name in named["Line"]]
        found["lines"] = [
            {name: get(number, line) for name, get in getters} for number, line in enumerate(basket.lines)
        ]
    return found


def _of_member(names: Iterable[str], basket: Basket, context: Context, named: Needed) -> dict[str, Any]:
    member = context.member
    return {name: _MEMBER[name](basket, context) if name in _MEMBER else getattr(member, name) for name in names}


def _of_local(names: Iterable[str], basket: Basket, context: Context, named: Needed) -> dict[str, Any]:
    return {name: getattr(context.local, name) for name in names}


def _of_place(names: Iterable[str], basket: Basket, context: Context, named: Needed) -> dict[str, Any]:
    return {name: _PLACE[name](basket, context) for name in names}


def _of_event(names: Iterable[str], basket: Basket, context: Context, named: Needed) -> dict[str, Any]:
    return {name: getattr(context.event, name) for name in names} if context.event else {}


def _of_presented(names: Iterable[str], basket: Basket, context: Context, named: Needed) -> dict[str, Any]:
    return {name: _PRESENTED[name](basket, context) for name in names}


_FACTS: Mapping[str, Callable[[Iterable[str], Basket, Context, Needed], dict[str, Any]]] = {
    "basket": _of_basket, "member": _of_member, "local": _of_local, "place": _of_place, "event": _of_event,
    "coupons": _of_presented,
}  # fmt: skip
EVERYTHING: Needed = {
    **{variable: tuple(_FIELDS[message]) for variable, message in VARIABLES.items()}, "Line": tuple(_FIELDS["Line"]),
}  # fmt: skip


def needed(sources: Iterable[str]) -> Needed:
    """What expressions speak of: fields by variable, and those of a line under `Line`. The rest need not be built."""
    names = {token[0] for source in sources for token in _tokens(source) if token.lastgroup == "name"}
    return {
        variable: tuple(field for field in fields if field in names)
        for variable, fields in EVERYTHING.items()
        if variable in names or variable == "Line"
    }


def plain_facts(basket: Basket, context: Context) -> dict[str, Any]:
    """What an expression sees, as plain values: one definition for every engine."""
    return {variable: _FACTS[variable](EVERYTHING[variable], basket, context, EVERYTHING) for variable in VARIABLES}


class Facts:
    """What expressions are asked about, built once for a basket and only when the first one asks.

    named is what will be asked about (`needed`); the rest is not there.
    """

    __slots__ = ("_activation", "_basket", "_context", "_failed", "_named")

    def __init__(self, basket: Basket, context: Context, named: Needed = EVERYTHING) -> None:
        self._basket, self._context, self._named = basket, context, named
        self._activation: Any = None
        self._failed = ""

    def activation(self) -> Any:
        """The engine's form of the facts. Raises ValueError where they do not fit, as a number beyond 64 bits."""
        if self._failed:
            raise ValueError(self._failed)
        if self._activation is None:
            try:
                self._activation = self._built()
            except (ValueError, TypeError) as refused:
                self._failed = str(refused)
                raise ValueError(self._failed) from refused
        return self._activation

    def _built(self) -> Any:
        named = self._named
        return _RULES.Activation(
            {
                variable: _MESSAGE_OF[variable](**_FACTS[variable](fields, self._basket, self._context, named))
                for variable, fields in named.items()
                if variable != "Line"
            }
        )


# --- compiling and asking -----------------------------------------------------------------------------------


class Predicate:
    """A checked expression that answers yes or no."""

    __slots__ = ("_compiled", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self._compiled = _compiled(source)
        if self._compiled.return_type().name() != "BOOL":
            raise ExpressionInvalid(1, "expected an expression that is true or false")

    def answer(self, facts: Facts) -> Answer:
        """HOLDS only for a BOOL that is True; an error, in whatever way the engine tells it, is ERRED."""
        try:
            result = self._compiled.eval(facts.activation())
        except (RuntimeError, ValueError, TypeError) as refused:
            return Answer(ERRED, str(refused))
        if result.type().name() != "BOOL":
            return Answer(ERRED, str(result.value()))
        return _HELD if result.value() is True else _FAILED

    def holds(self, facts: Facts) -> bool | None:
        """As `answer`, in one word for the hot path; None is an error, whose value is a text, never True or False."""
        try:
            found = self._compiled.eval(facts.activation()).value()
        except (RuntimeError, ValueError, TypeError):
            return None
        return found if found is True or found is False else None


class Selection:
    """Which lines of the basket an expression over one line `l` means."""

    __slots__ = ("_compiled", "source")

    def __init__(self, source: str) -> None:
        self.source = f"basket.lines.filter(l, {source}).map(l, l.no)"
        self._compiled = _compiled(self.source)

    def lines(self, facts: Facts) -> tuple[int, ...] | None:
        """The positions of the lines meant, None where asking failed."""
        try:
            result = self._compiled.eval(facts.activation())
        except (RuntimeError, ValueError, TypeError):
            return None
        return tuple(result.plain_value()) if result.type().name().startswith("LIST") else None


class Poll:
    """The conditions and line selections of several rules asked in one go, which costs little more than one of them.

    Questions are pairs of a predicate and a selection, either None where there is nothing to ask.
    """

    __slots__ = ("_compiled",)

    def __init__(self, questions: Sequence[tuple[Predicate | None, Selection | None]]) -> None:
        parts = [
            f"({asks.source if asks else 'true'}\n) ? {selects.source if selects else '[-2]'} : [-1]"
            for asks, selects in questions
        ]
        self._compiled = _compiled(f"[{', '.join(parts)}]")

    def answers(self, facts: Facts) -> list[Sequence[int] | None] | None:
        """Of each question None where its condition fails, else the lines selected; EVERY where it selects none.

        None in all where any of them errs or the engine's bound is reached: then each has to be asked by itself.
        """
        try:
            result = self._compiled.eval(facts.activation())
        except (RuntimeError, ValueError, TypeError):
            return None
        found = result.plain_value()
        if not isinstance(found, list):
            return None
        return [None if lines == _NO else lines for lines in found]


_NO, EVERY = [-1], [-2]
_HELD, _FAILED = Answer(HOLDS), Answer(FAILS)


# --- rules asked together -----------------------------------------------------------------------------------

Question = tuple["Predicate | None", "Selection | None"]
Found = tuple[bool | None, Sequence[int] | None]
"""Whether a rule's condition holds (None: asking failed), and the lines it selects (None: all ordinary ones)."""
_MOST_REMEMBERED = 4096
_MOST_LINES = 8  # of a basket whose answers are worth remembering
_EVERY_LINE: Found = (True, None)
_NONE_AT_ALL: Found = (False, ())

# Where a fact that takes few values is found in a context; what it depends on is the rest of `_FIELDS`, which varies
# from basket to basket: amounts, quantities, articles, minutes.
_STEADY: Mapping[str, str] = {
    "member.tier": "member.tier", "member.plan": "member.plan", "member.subscriber": "member.plan",
    "member.benefits": "member.benefits", "member.segments": "member.segments",
    "member.attributes": "member.attributes", "member.badges": "member.badges",
    "member.enrolled_here": "member.enrolled_here", "member.in_household": "member.in_household",
    "member.has_birthday": "member.days_to_birthday", "member.days_to_birthday": "member.days_to_birthday",
    "local.date": "local.date", "local.weekday": "local.weekday", "local.hour": "local.hour",
    "local.holidays": "local.holidays", "place.partner": "partner", "place.outlet": "outlet",
    "place.channel": "channel",
}  # fmt: skip
_STEADY_LINE = frozenset({"no", "kind", "category", "classes"})


class Panel:
    """Rules' questions, by the rules' codes, asked in one go; answers are remembered where they are about facts that
    take few values, such as a tier, an hour, or the categories of some lines. What is true of the same facts once is so
    for ever: an expression looks at nothing else.

    together False asks each rule by itself, which comes to the same.
    """

    __slots__ = ("_key", "_named", "_poll", "_questions", "_remembered")

    def __init__(self, questions: Mapping[str, Question], *, together: bool = True) -> None:
        sources = [one.source for pair in questions.values() for one in pair if one]
        self._questions = dict(questions)
        self._named = needed(sources)
        self._poll = _poll(list(questions.values())) if together else None
        self._key = _key_of(self._named, sources) if together else None
        self._remembered: dict[Any, Mapping[str, Found]] = {}

    def answers(self, basket: Basket, context: Context) -> Mapping[str, Found]:
        """What each rule's question came to."""
        if self._key is None or len(basket.lines) > _MOST_LINES:
            return self._ask(basket, context)
        key = self._key(basket, context)
        found = self._remembered.get(key)
        if found is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[key] = self._ask(basket, context)
        return found

    def _ask(self, basket: Basket, context: Context) -> Mapping[str, Found]:
        facts = Facts(basket, context, self._named)
        told = self._poll.answers(facts) if self._poll else None
        if told is None:
            return {code: _alone(question, facts) for code, question in self._questions.items()}
        return {code: _found(lines) for code, lines in zip(self._questions, told, strict=True)}


def panels(questions: Mapping[str, Question], *, together: bool = True) -> tuple[Panel, ...]:
    """Questions in at most two panels: those whose answers can be remembered, and the others."""
    steady = {code: pair for code, pair in questions.items() if _is_steady([one.source for one in pair if one])}
    others = {code: pair for code, pair in questions.items() if code not in steady}
    return tuple(Panel(some, together=together) for some in (steady, others) if some)


def _poll(questions: Sequence[Question]) -> Poll | None:
    try:
        return Poll(questions)
    except ExpressionInvalid:  # more than the engine takes at once: they are asked one by one
        return None


def _found(lines: Sequence[int] | None) -> Found:
    if lines is None:
        return _NONE_AT_ALL
    return _EVERY_LINE if lines == EVERY else (bool(lines), tuple(lines))


def _alone(question: Question, facts: Facts) -> Found:
    asks, selects = question
    held = asks.holds(facts) if asks else True
    if not held or selects is None:
        return (held, None if held else ())
    lines = selects.lines(facts)
    return (None, ()) if lines is None else (bool(lines), lines)


def _is_steady(sources: Sequence[str]) -> bool:
    return _key_of(needed(sources), sources) is not None


def _key_of(named: Needed, sources: Sequence[str]) -> Callable[[Basket, Context], Any] | None:
    """What answers about these facts depend on; None where it varies too much to be met again."""
    places, parts = set(), list[Callable[[Basket, Context], Any]]()
    for variable, fields in named.items():
        if variable == "Line":
            continue
        if variable == "place":
            places.add("partner")  # an outlet is named with it
        for field in fields:
            name = f"{variable}.{field}"
            if name in _STEADY:
                places.add(_STEADY[name])
            elif (part := _steady_part(name, named, sources)) is not None:
                parts.append(part)
            else:
                return None
    of_context = attrgetter(*sorted(places)) if places else _nothing_of
    if not parts:
        return lambda basket, context: of_context(context)
    if len(parts) == 1:
        [only] = parts
        return lambda basket, context: (of_context(context), only(basket, context))
    return lambda basket, context: (of_context(context), *[part(basket, context) for part in parts])


def _nothing_of(_: Context) -> None:
    """Answers that depend on nothing around the basket."""


def _steady_part(name: str, named: Needed, sources: Sequence[str]) -> Callable[[Basket, Context], Any] | None:
    if name == "basket.lines" and _STEADY_LINE.issuperset(named["Line"]):
        of_line = attrgetter("kind", *(field for field in named["Line"] if field != "no"))
        return lambda basket, context: tuple(map(of_line, basket.lines))
    if name == "basket.currency":
        return lambda basket, context: basket.currency
    if name == "member.counters":
        counters = frozenset[str]().union(*map(counters_named, sources))
        if counters and all(counter.endswith(".count") for counter in counters):
            return lambda basket, context: tuple(context.member.counters.items())
    if name == "member.stamps":
        return lambda basket, context: tuple(context.member.stamps.items())
    return None


@lru_cache(maxsize=8192)
def predicate(source: str) -> Predicate:
    """The compiled predicate of a source. Raises ExpressionInvalid."""
    return Predicate(source)


@lru_cache(maxsize=8192)
def selection(source: str) -> Selection:
    """The compiled selection of a line expression. Raises ExpressionInvalid."""
    return Selection(source)


def actual(source: str, facts: Facts) -> Any:
    """The value of any expression as plain data, for people to read; None where it cannot be computed."""
    try:
        result = _value_of(source).eval(facts.activation())
        return None if result.type().name() == "ERROR" else _plain(result.plain_value())
    except (ExpressionInvalid, RuntimeError, ValueError, TypeError):
        return None


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    return str(value)


@lru_cache(maxsize=8192)
def _value_of(source: str) -> Any:
    return _compiled(source)


def _compiled(source: str) -> Any:
    try:
        return _RULES.compile(source)
    except RuntimeError as refused:
        raise _invalid(str(refused)) from refused


def _invalid(text: str) -> ExpressionInvalid:
    found = re.search(r"<input>:\d+:(\d+): (.*)", text)
    column, message = (int(found[1]), found[2]) if found else (1, text.split("\n", maxsplit=1)[0])
    return ExpressionInvalid(column, _expected(message))


def _expected(message: str) -> str:
    if unknown := re.search(r"undefined field '(\w+)' not found in struct '\w+\.(\w+)'", message):
        return _instead(f"{unknown[2].lower()} has no {unknown[1]}", unknown[1], list(_FIELDS[unknown[2]]))
    if unknown := re.search(r"undeclared reference to '(\w+)'", message):
        return _instead(f"nothing is called {unknown[1]}", unknown[1], list(VARIABLES))
    if mismatch := re.search(r"found no matching overload for '(\S+)' applied to '\((.*)\)'", message):
        operator = mismatch[1].strip("_").replace("_", "")
        return f"{operator} does not go with {mismatch[2]}: expected values of one type"
    return message


def _instead(what: str, wrong: str, known: Sequence[str]) -> str:
    near = get_close_matches(wrong, known, n=1)
    return f"{what}; expected {near[0]}" if near else f"{what}; expected one of {', '.join(known)}"


# --- what an author may write -------------------------------------------------------------------------------


def check(source: str) -> None:
    """Raise ExpressionInvalid unless the source is a sound condition: typed, no fractions, clocks or nested loops."""
    _lint(source)
    Predicate(source)


def check_line(source: str) -> None:
    """As `check`, of an expression over one line `l`, which is asked in a loop already."""
    _lint(source, depth=1)
    try:
        compiled = _LINES.compile(source)
    except RuntimeError as refused:
        raise _invalid(str(refused)) from refused
    if compiled.return_type().name() != "BOOL":
        raise ExpressionInvalid(1, "expected an expression that is true or false")


def counters_named(source: str) -> frozenset[str]:
    """The counters that an expression asks for by name."""
    return frozenset(found[2] for found in re.finditer(r"counters\s*\[\s*(['\"])(.*?)\1", source))


def _lint(source: str, depth: int = 0) -> None:
    for token in _tokens(source):
        if token.lastgroup == "number" and re.search(r"[.eE]", token[0]) and not token[0].lower().startswith("0x"):
            raise ExpressionInvalid(token.start() + 1, "expected whole numbers: minor units, basis points, thousandths")
    if refused := _REFUSED.search(_without_texts(source)):
        raise ExpressionInvalid(refused.start() + 1, f"{refused[1]} is not for rules; expected the facts of `local`")
    for name in sorted(counters_named(source) - COUNTERS):
        near = get_close_matches(name, COUNTERS, n=1)
        raise ExpressionInvalid(
            source.index(name) + 1, f"no counter is called {name}; expected {near[0] if near else sorted(COUNTERS)[0]}"
        )
    _lint_loops(source, depth)


def _lint_loops(source: str, depth: int) -> None:
    """One loop at a time: what is asked of every line must not loop again."""
    open_brackets: list[bool] = []
    before: list[str] = ["", ""]
    for token in _tokens(source):
        if token[0] in ("(", "[", "{"):
            loops = token[0] == "(" and before[1] in _MACROS and before[0] == "."
            if loops and depth + sum(open_brackets) >= 1:
                raise ExpressionInvalid(token.start() + 1, "expected one loop at a time, not one inside another")
            open_brackets.append(loops)
        elif token[0] in (")", "]", "}") and open_brackets:
            open_brackets.pop()
        before = [before[1], token[0]]


def _tokens(source: str) -> Iterator[re.Match[str]]:
    return _TOKEN.finditer(source)


def _without_texts(source: str) -> str:
    return _TOKEN.sub(lambda token: " " * len(token[0]) if token.lastgroup == "text" else token[0], source)


@cache
def subjects(source: str) -> tuple[str, ...]:
    """The parts of a condition whose values explain it: of a comparison its left side, else the whole."""
    return tuple(dict.fromkeys(_left(part) for part in _split(source, ("&&", "||", "?", ":"))))


def _split(source: str, operators: tuple[str, ...]) -> list[str]:
    source = source.strip()
    depth, start, parts = 0, 0, []
    for token in _tokens(source):
        depth += (token[0] in ("(", "[", "{")) - (token[0] in (")", "]", "}"))
        if depth == 0 and token.lastgroup == "operator" and token[0] in operators:
            parts.append(source[start : token.start()].strip())
            start = token.end()
    parts.append(source[start:].strip())
    if len(parts) == 1 and source.startswith("(") and _closes_at_end(source):
        return _split(source[1:-1], operators)
    return [part for part in parts if part]


def _closes_at_end(source: str) -> bool:
    depth = 0
    for token in _tokens(source):
        depth += (token[0] == "(") - (token[0] == ")")
        if depth == 0:
            return token.end() == len(source)
    return False


def _left(part: str) -> str:
    depth = 0
    for token in _tokens(part):
        depth += (token[0] in ("(", "[", "{")) - (token[0] in (")", "]", "}"))
        if depth == 0 and (token[0] in ("==", "!=", "<", "<=", ">", ">=") or token[0] == "in") and token.start():
            return part[: token.start()].strip()
    return part
