"""A quick value is the frozen value that it would be otherwise."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.values import quick


@dataclass(frozen=True, slots=True)
class Plain:
    number: int
    name: str
    known: bool = False
    facts: Mapping[str, int] = field(default_factory=dict)
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


@quick
@dataclass(frozen=True, slots=True)
class Quick:
    number: int
    name: str
    known: bool = False
    facts: Mapping[str, int] = field(default_factory=dict)
    secret: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    one: int
    two: int = 2


@given(
    st.integers(0, 9), st.text(max_size=3),
    st.fixed_dictionaries(
        {}, optional={"known": st.booleans(), "facts": st.just({"a": 1}), "secret": st.text(max_size=3)}
    ),
)  # fmt: skip
def test_it_has_the_fields_that_the_plain_one_has(number: int, name: str, more: dict[str, object]) -> None:
    plain, made = Plain(number, name, **more), Quick(number, name, **more)  # type: ignore[arg-type]
    assert [getattr(made, part.name) for part in fields(made)] == [getattr(plain, part.name) for part in fields(plain)]
    assert repr(made) == repr(plain).replace("Plain", "Quick")
    assert type(made) is Quick
    assert made == Quick(number, name, **more)  # type: ignore[arg-type]
    assert made == pickle.loads(pickle.dumps(made)) == copy.copy(made) == replace(made)


def test_it_is_frozen_and_hashed_as_before() -> None:
    made = Named(one=1)
    with pytest.raises(FrozenInstanceError):
        made.one = 3  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        del made.one
    assert {made: "x"}[Named(one=1, two=2)] == "x"


def test_every_value_has_facts_of_its_own() -> None:
    assert Quick(1, "a").facts is not Quick(1, "a").facts


def test_what_it_refuses_to_be_made_of_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Quick(-1, "a")
    with pytest.raises(TypeError):
        Quick(1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Named(1)  # type: ignore[misc]


def test_only_a_frozen_dataclass_with_slots_is_made_quick() -> None:
    @dataclass(slots=True)
    class Open:
        one: int

    @dataclass(frozen=True)
    class Loose:
        one: int

    @dataclass(frozen=True, slots=True)
    class Partly:
        one: int = field(init=False)

    for kind in (Open, Loose, Partly):
        with pytest.raises(TypeError):
            quick(kind)
