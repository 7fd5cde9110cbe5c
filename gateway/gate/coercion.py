"""Turns what core has coerced into input objects, by a plan made once per input type.

The library's own way asks every field of every line of every receipt for its name and its type again, which is most
of what a batch of receipts costs. Its `from_input` hook lets a type build its own values. Fields that may be absent
(`Maybe`) are only understood of types with exactly one field, which core has checked; others keep the library's way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING
from typing import Any

from strawberry import Some
from strawberry.schema.config import StrawberryConfig
from strawberry.types.arguments import InputContext
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryObjectDefinition,
    StrawberryOptional,
    has_object_definition,
)

Convert = Callable[[Any, InputContext, str], Any]


def build_by_plan(definitions: list[StrawberryObjectDefinition], config: StrawberryConfig) -> None:
    """Let these input types build their values by a plan, those with `Maybe` fields only where exactly one is given."""
    for definition in definitions:
        has_maybe = any(isinstance(field.type, StrawberryMaybe) for field in definition.fields)
        if definition.is_input and (definition.is_one_of or not has_maybe):
            definition.from_input = _Builder(definition, config)


class _Builder:
    """Builds values of one input type; made of its fields when the first value comes."""

    def __init__(self, definition: StrawberryObjectDefinition, config: StrawberryConfig) -> None:
        self._definition = definition
        self._config = config
        self._plan: dict[str, tuple[str, Convert | None]] = {}
        self._absent: dict[str, None] = {}

    def __call__(self, cls: type, value: Mapping[str, Any], context: InputContext) -> Any:
        plan = self._plan or self._make()
        given = dict(self._absent)
        for name, part in value.items():
            python_name, convert = plan[name]
            given[python_name] = part if convert is None or part is None else convert(part, context, name)
        return cls(**given)

    def _make(self) -> dict[str, tuple[str, Convert | None]]:
        fields = self._definition.fields
        self._absent = {
            field.python_name: None
            for field in fields
            if field.default_value is MISSING and field.default_factory is MISSING
        }
        self._plan = {
            self._config.name_converter.from_field(field): (
                field.python_name,
                _converter(field.resolve_type(type_definition=self._definition)),
            )
            for field in fields
        }
        return self._plan


def _converter(type_: Any) -> Convert | None:
    """How a value of a type is converted; None where it is what it is."""
    if isinstance(type_, StrawberryMaybe):
        inner = _converter(type_.of_type)
        if inner is None:
            return lambda value, context, name: Some(value)
        return lambda value, context, name: Some(inner(value, context, name))
    if isinstance(type_, StrawberryOptional):
        return _converter(type_.of_type)
    if isinstance(type_, StrawberryList):
        convert = _converter(type_.of_type)
        if convert is None:
            return lambda value, context, name: list(value)
        return lambda value, context, name: [None if part is None else convert(part, context, name) for part in value]
    if has_object_definition(type_):
        builder = type_.__strawberry_definition__.from_input
        if builder is not None:
            return lambda value, context, name: builder(type_, value, context)
        return lambda value, context, name: context.convert(value, type_, name)
    return None
