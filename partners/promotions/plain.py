"""PURE: dataclasses to plain JSON and back, in one canonical form that can be stored and hashed.

What equals its default is left out, so a snapshot that was stored before a field existed keeps its hash. Mappings are
sorted by key; instants are ISO 8601 in UTC; there is no float anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, field, fields
from datetime import UTC, date, datetime
from functools import cache
from hashlib import sha256
from typing import Any, ClassVar, Self, cast

import orjson

_OPTIONS = orjson.OPT_SORT_KEYS


def canonical(value: Any) -> bytes:
    """The one JSON text of a plain value: keys sorted, no spaces, UTF-8."""
    return orjson.dumps(value, option=_OPTIONS)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal."""
    return sha256(canonical(value)).hexdigest()


def of(kind: Any, **given: Any) -> Any:
    """A dataclass field that holds one `kind`; given is what `dataclasses.field` takes."""
    return field(metadata={"read": _reader(kind), "write": _writer(kind)}, **given)


def many(kind: Any) -> Any:
    """A dataclass field that holds a tuple of `kind`; empty where nothing is said."""
    read, write = _reader(kind), _writer(kind)
    return field(
        default=(),
        metadata={
            "read": (lambda found: tuple(read(one) for one in found)) if read else tuple,
            "write": (lambda held: [write(one) for one in held]) if write else list,
        },
    )


def mapping() -> Any:
    """A dataclass field that holds a mapping from text to something plain; empty where nothing is said."""
    return field(default_factory=dict, metadata={"read": dict, "write": dict})


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    if kind is datetime:
        return datetime.fromisoformat
    if kind is date:
        return date.fromisoformat
    return cast("Callable[[Any], Any]", kind.from_json) if hasattr(kind, "from_json") else None


def _writer(kind: Any) -> Callable[[Any], Any] | None:
    if kind is datetime:
        return lambda at: at.astimezone(UTC).isoformat()
    if kind is date:
        return lambda day: day.isoformat()
    return cast("Callable[[Any], Any]", kind.to_json) if hasattr(kind, "to_json") else None


class Plain:
    """A frozen dataclass that can be written as plain JSON and read back."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_json(self) -> dict[str, Any]:
        """Plain values by field name; what equals its default is left out."""
        found = {}
        for name, default, write in _written(type(self)):
            value = getattr(self, name)
            if value != default:
                found[name] = write(value) if write and value is not None else value
        return found

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


@cache
def _written(kind: type[Plain]) -> tuple[tuple[str, Any, Callable[[Any], Any] | None], ...]:
    return tuple((one.name, _default(one), one.metadata.get("write")) for one in fields(kind))


@cache
def _readers(kind: type[Plain]) -> dict[str, Callable[[Any], Any]]:
    return {one.name: one.metadata["read"] for one in fields(kind) if one.metadata.get("read")}


def _default(one: Field[Any]) -> Any:
    if one.default is not MISSING:
        return one.default
    return one.default_factory() if one.default_factory is not MISSING else MISSING
