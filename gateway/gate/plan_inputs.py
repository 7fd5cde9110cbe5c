"""How a plan reads variables: from what JSON held to the values that a resolver takes, in one pass.

Core first makes plain values of a request's variables and the library then input objects of those, asking each type
again what its fields are. A reader has asked beforehand. It takes only what is plainly right and raises for anything
else: then core and the library read the same variables in their own way, and say what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING
from decimal import Decimal
from typing import Any

from graphql import (
    GraphQLInputObjectType,
    GraphQLScalarType,
    GraphQLString,
    Undefined,
    is_input_object_type,
    is_list_type,
    is_non_null_type,
    is_required_input_field,
    is_scalar_type,
)
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry import Some
from strawberry.schema.schema_converter import GraphQLCoreConverter
from strawberry.types.base import (
    StrawberryList,
    StrawberryMaybe,
    StrawberryObjectDefinition,
    StrawberryOptional,
    has_object_definition,
)

BACKREF = GraphQLCoreConverter.DEFINITION_BACKREF
Read = Callable[[Any], Any]


class NotPlannable(Exception):  # noqa: N818 - a document or type is
    """There is no plan for this; it is executed by core."""


class NotAsPlanned(Exception):  # noqa: N818 - a value is
    """A value is not what a plan expects; core looks at it."""


def reader(kind: Any, declared: Any) -> Read:
    """What reads a value of core's input type `kind`, declared in the library as `declared`. Raises NotPlannable."""
    if is_non_null_type(kind):
        return _required(kind.of_type, declared)
    if isinstance(declared, StrawberryMaybe):
        inner = _required(kind, declared.of_type)
        return lambda value: Some(inner(value))
    read = _required(kind, declared)
    return lambda value: None if value is None else read(value)


def _required(kind: Any, declared: Any) -> Read:
    if isinstance(declared, StrawberryOptional):
        declared = declared.of_type
    if is_list_type(kind) and isinstance(declared, StrawberryList):
        return _list(reader(kind.of_type, declared.of_type))
    if is_input_object_type(kind) and has_object_definition(declared):
        return _object(kind, declared.__strawberry_definition__)
    if is_scalar_type(kind):
        return _scalar(kind)
    raise NotPlannable(str(kind))


def _scalar(kind: GraphQLScalarType) -> Read:
    parse = kind.coerce_input_value

    def read(value: Any) -> Any:
        if value is None:
            raise NotAsPlanned
        found = parse(value)
        if found is Undefined:
            raise NotAsPlanned
        return found

    def read_text(value: Any) -> Any:
        if type(value) is not str:
            raise NotAsPlanned
        return value

    return read_text if kind is GraphQLString else read


def _list(item: Read) -> Read:
    def read(value: Any) -> Any:
        if type(value) is not list:
            raise NotAsPlanned
        return [item(each) for each in value]

    return read


def _object(kind: GraphQLInputObjectType, definition: StrawberryObjectDefinition) -> Read:
    if definition.from_input is None:
        raise NotPlannable(kind.name)
    make = definition.origin
    fields: dict[str, tuple[str, Read]] = {}
    unsaid: dict[str, Any] = {}
    for name, field in kind.fields.items():
        declared = field.extensions[BACKREF]
        fields[name] = declared.python_name, reader(field.type, declared.resolve_type(type_definition=definition))
        default = coerce_default_value(field)
        if default == [] and declared.default_factory is list:
            continue  # the class makes an empty one of each value's own
        if default is not Undefined:
            unsaid[declared.python_name] = _constant(default)
        elif declared.default_value is MISSING and declared.default_factory is MISSING:
            unsaid[declared.python_name] = None
    required = frozenset(name for name, field in kind.fields.items() if is_required_input_field(field))

    def read(value: Any) -> Any:
        if type(value) is not dict or not value.keys() >= required:
            raise NotAsPlanned
        given = unsaid.copy()
        for name, part in value.items():
            python_name, of = fields[name]
            given[python_name] = of(part)
        return make(**given)

    def read_one_of(value: Any) -> Any:
        if type(value) is not dict or len(value) != 1 or None in value.values():
            raise NotAsPlanned
        return read(value)

    return read_one_of if definition.is_one_of else read


def _constant(default: Any) -> Any:
    """A default that every request may share. Raises NotPlannable for one that somebody could change."""
    if default is not None and not isinstance(default, str | int | Decimal):
        raise NotPlannable("a default that is not a plain value")
    return default
