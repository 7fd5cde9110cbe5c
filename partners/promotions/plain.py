"""PURE: dataclasses to plain JSON and back, in one canonical form that can be stored and hashed.

What equals its default is left out, so a snapshot that was stored before a field existed keeps its hash. Mappings are
sorted by key; instants are ISO 8601 in UTC; there is no float anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from types import NoneType
from typing import Any, ClassVar, Self, cast, get_args, get_origin, get_type_hints

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS


def canonical(value: Any) -> bytes:
    """The one JSON text of a plain value: keys sorted, no spaces, UTF-8."""
    return orjson.dumps(value, option=_OPTIONS)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return sha256(canonical(value)).hexdigest()


class Plain:
    """A frozen dataclass that can be written as plain JSON and read back."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_json(self) -> dict[str, Any]:
        """Plain values by field name; what equals its default is left out."""
        found = {}
        for name, default, write in _written(cast("Any", type(self))):
            value = getattr(self, name)
            if value != default:
                found[name] = write(value) if write and value is not None else value
        return found

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """What `to_json` wrote. Raises TypeError where a field is missing or unknown."""
        readers = _readers(cast("Any", cls))
        return cls(
            **{
                name: reader(value) if (reader := readers.get(name)) and value is not None else value
                for name, value in found.items()
            }
        )


@cache
def _written(kind: type[Any]) -> tuple[tuple[str, Any, Callable[[Any], Any] | None], ...]:
    hints = get_type_hints(kind)
    return tuple((one.name, _default(one), _writer(hints[one.name])) for one in fields(kind))


@cache
def _readers(kind: type[Any]) -> dict[str, Callable[[Any], Any]]:
    hints = get_type_hints(kind)
    found = {one.name: _reader(hints[one.name]) for one in fields(kind)}
    return {name: reader for name, reader in found.items() if reader}


def _default(one: Field[Any]) -> Any:
    if one.default is not MISSING:
        return one.default
    return one.default_factory() if one.default_factory is not MISSING else MISSING


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


def _writer(hint: Any) -> Callable[[Any], Any] | None:
    collection, inner = _inner(hint)
    write = _instant if inner is datetime else getattr(inner, "to_json", None)
    if collection is tuple:
        return (lambda held: [write(one) for one in held]) if write else list
    return cast("Callable[[Any], Any] | None", collection or write)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()
