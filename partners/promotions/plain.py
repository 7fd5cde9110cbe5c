"""PURE: values to plain JSON and back, in one canonical form that can be stored and hashed.

What equals its default is left out, so a snapshot that was stored before a field existed keeps its hash. Mappings are
sorted by key; instants are ISO 8601 in UTC; there is no float anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from hashlib import sha256
from types import NoneType
from typing import Any, Self, cast, get_args, get_origin, get_type_hints

import orjson
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

_OPTIONS = orjson.OPT_SORT_KEYS
_UNLESS_NONE = "None if value is None else "


def canonical(value: Any) -> bytes:
    """The one JSON text of a plain value: keys sorted, no spaces, UTF-8."""
    return orjson.dumps(value, option=_OPTIONS)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return sha256(canonical(value)).hexdigest()


class Plain(Struct, frozen=True, gc=False):
    """A frozen value that can be written as plain JSON and read back. It is a tree, so no cycle goes through it."""

    def to_json(self) -> dict[str, Any]:
        """Plain values by field name; what equals its default is left out."""
        kind: Any = type(self)
        kind.to_json = _written(kind)  # from here on without this look at its fields
        return cast("dict[str, Any]", kind.to_json(self))

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `to_json` wrote. Raises TypeError where a field is missing or unknown."""
        readers = _readers(cls)
        return cls(
            **{
                name: reader(value) if (reader := readers.get(name)) and value is not None else value
                for name, value in found.items()
            }
        )


class Pair(Struct, frozen=True, gc=False):
    """A frozen value that is written as a list: all of its fields in their order."""

    @classmethod
    def from_json(cls, found: Sequence[Any]) -> Self:
        """What was written."""
        return cls(*found)


def _written(kind: type[Plain]) -> Callable[[Any], dict[str, Any]]:
    """`to_json` of a class, written out field by field: a decision has some thirty values, and is hashed as JSON."""
    hints = get_type_hints(kind)
    known: dict[str, Any] = {"instant": _instant}
    always, body = [], list[str]()
    for one in fields(kind):
        name, default = one.name, _default(one)
        written = _how(hints[name])
        if default is NODEFAULT and written == "value":
            always.append(f"{name!r}: self.{name}")
            continue
        if default is NODEFAULT:
            body += [f"value = self.{name}", f"found[{name!r}] = {written}"]
            continue
        known[f"default_{name}"] = default
        there = written.removeprefix(_UNLESS_NONE) if default is None else written
        body += [f"if {_differs(name, default)}:", f"    value = self.{name}", f"    found[{name!r}] = {there}"]
    made_of = ["found = {" + ", ".join(always) + "}", *body, "return found"]
    exec("def to_json(self):\n    " + "\n    ".join(made_of), known)  # noqa: S102 - as dataclasses do
    made: Callable[[Any], dict[str, Any]] = known["to_json"]
    return made


def _differs(name: str, default: Any) -> str:
    """The expression that says whether a field is not its default."""
    if default is None:
        return f"self.{name} is not None"
    same = f"self.{name} is not default_{name} and self.{name} != default_{name}"
    return same if default else f"self.{name}"  # no text, nothing in it, 0, False: all of one type


def _how(hint: Any) -> str:
    """The expression that writes a `value` of a type as plain JSON."""
    collection, inner = _inner(hint)
    is_plain = hasattr(inner, "to_json")
    if collection is tuple:
        if issubclass(inner, Pair):
            return f"[[{', '.join(f'one.{part.name}' for part in fields(inner))}] for one in value]"
        return "[one.to_json() for one in value]" if is_plain else "list(value)"
    if collection is dict:
        return "dict(value)"
    if inner is datetime or is_plain:
        call = "instant(value)" if inner is datetime else "value.to_json()"
        return f"{_UNLESS_NONE}{call}"
    return "value"


@cache
def _readers(kind: type[Plain]) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind)
    found = {one.name: _reader(hints[one.name]) for one in fields(kind)}
    return {name: reader for name, reader in found.items() if reader}


def _default(one: FieldInfo) -> Any:
    if one.default is not NODEFAULT:
        return one.default
    return one.default_factory() if one.default_factory is not NODEFAULT else NODEFAULT


def _inner(hint: Any) -> tuple[Any, Any]:
    """The kind of collection and what is in it: (tuple, BasketLine), (dict, None), (None, datetime)."""
    options = [one for one in get_args(hint) if one is not NoneType]
    if get_origin(hint) is tuple:
        return tuple, options[0]
    if get_origin(hint) is Mapping:
        return dict, None
    return None, options[0] if options else hint


def _reader(hint: Any) -> Callable[[Any], Any] | None:
    collection, inner = _inner(hint)
    read = getattr(inner, "fromisoformat", None) or getattr(inner, "from_json", None)
    if collection is tuple:
        return (lambda found: tuple(read(one) for one in found)) if read else tuple
    return cast("Callable[[Any], Any] | None", collection or read)


@lru_cache(maxsize=4096)
def _instant(at: datetime) -> str:
    return at.isoformat() if at.tzinfo is UTC else at.astimezone(UTC).isoformat()
