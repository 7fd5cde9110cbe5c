"""Frozen values at the price of open ones.

A frozen dataclass sets each of its fields by a call, which makes a value of twenty fields cost as much as a look-up in
a database's cache. What a purchase makes of such values was a sixth of the gateway's time.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, TypeVar

Kind = TypeVar("Kind")


def quick(kind: type[Kind]) -> type[Kind]:
    """Class decorator, outermost on a frozen dataclass with slots: the same class, made in a fraction of the time.

    While its fields are set, a new value is of a twin class that has the same slots and is not frozen. Raises TypeError
    for a class that is not such a dataclass, or has fields that its `__init__` does not take.
    """
    parts = fields(kind)  # type: ignore[arg-type]
    frozen = kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    names = [part.name for part in parts]
    if not frozen or list(kind.__dict__.get("__slots__", ())) != names or not all(part.init for part in parts):
        raise TypeError(f"{kind.__name__} is not a frozen dataclass whose slots are all set when it is made")
    known: dict[str, Any] = {
        "_reclass": object.__setattr__,
        "_twin": type(kind.__name__, kind.__bases__, {"__slots__": tuple(names)}),
        "_kind": kind,
        "_MISSING": MISSING,
    }
    taken, body = [], ["_reclass(self, '__class__', _twin)"]
    for part in parts:
        name, given = part.name, part.name
        if part.default is not MISSING:
            known[f"_default_{name}"] = part.default
            given = f"{name}=_default_{name}"
        elif part.default_factory is not MISSING:
            known[f"_make_{name}"] = part.default_factory
            given = f"{name}=_MISSING"
        taken += ["*", given] if part.kw_only and "*" not in taken else [given]
        made = f"_make_{name}() if {name} is _MISSING else {name}" if f"_make_{name}" in known else name
        body.append(f"self.{name} = {made}")
    body.append("self.__class__ = _kind")
    if hasattr(kind, "__post_init__"):
        body.append("self.__post_init__()")
    exec(f"def __init__(self, {', '.join(taken)}):\n    " + "\n    ".join(body), known)  # noqa: S102 - as dataclasses do
    made_init = known["__init__"]
    made_init.__qualname__ = f"{kind.__qualname__}.__init__"
    made_init.__annotations__ = kind.__init__.__annotations__
    kind.__init__ = made_init  # type: ignore[method-assign]
    return kind
