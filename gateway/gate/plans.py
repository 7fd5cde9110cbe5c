"""Plans: what executing an operation comes to, worked out once, so that a repeated request pays for its resolver only.

Core asks at every request and for every field what document and schema say of it, which was most of what a small
request cost. A plan has asked beforehand: which resolver, what reads its arguments, which attributes make the answer.

It knows the good way alone. Whatever is not as planned (a variable of the wrong type, a resolver that raises, null
where there must be none) is core's to judge: the request is executed there, with what the root field's resolver
answered before, if it was called, so that nothing is done twice and every error is core's own. Documents whose answers
depend on more than their fields (directives, several root fields, arguments below the root) have no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from types import CoroutineType
from typing import Any

from graphql import (
    ArgumentNode,
    DocumentNode,
    FieldNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLUnionType,
    OperationDefinitionNode,
    OperationType,
    Undefined,
    VariableNode,
    Visitor,
    get_named_type,
    is_abstract_type,
    is_list_type,
    is_non_null_type,
    is_object_type,
    is_scalar_type,
    type_from_ast,
    visit,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from graphql.utilities.coerce_input_value import coerce_default_value
from strawberry.types.field import StrawberryField

from gateway.context import Context
from gateway.gate.limits import fragments_of
from gateway.gate.plan_inputs import BACKREF, NotAsPlanned, NotPlannable, Read, reader
from gateway.rejections import RejectionAsData
from kit import errors

_NO_VARIABLES = VariableValues({}, {})
_TYPENAME = "__typename"
_VALUES = frozenset({str, int, bool})


class Asking:
    """What a resolver's `info` is under a plan: the context, and nothing else."""

    __slots__ = ("context",)

    def __init__(self, context: Context) -> None:
        self.context = context


@dataclass(slots=True)
class Outcome:
    """What the root field's resolver returned or raised."""

    value: Any = None
    error: Exception | None = None

    def resolve(self, resolver: Callable[..., Any], source: Any, info: Any, **given: Any) -> Any:
        """As a middleware of core's: the root field has this outcome, the fields below it are resolved."""
        if info.path.prev is not None:
            return resolver(source, info, **given)
        if self.error is not None:
            raise self.error
        return self.value


@dataclass(slots=True)
class Run:
    """One execution: what resolvers are told, and the parts of the answer that are still awaited."""

    info: Any
    awaited: list[tuple[dict[str, Any], str, Any, Complete]]


Complete = Callable[[Any, Run], Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of an operation with one root field. inputs are, for each of the resolver's arguments that the document
    takes from a variable, its name, the variable's, what reads it, and whether the variable may be left out; constants
    are the defaults of what is left out.
    """

    response_name: str
    resolve: Callable[..., Any]
    inputs: tuple[tuple[str, str, Read, bool], ...]
    constants: Mapping[str, Any]
    field: StrawberryField
    takes_rejection: bool
    complete: Complete

    def arguments(self, variables: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the resolver is called with; None where core has to look at the variables."""
        given = dict(self.constants)
        try:
            for name, variable, read, may_be_absent in self.inputs:
                if variable in variables:
                    given[name] = read(variables[variable])
                elif not may_be_absent:
                    return None
        except Exception:
            return None
        return given

    async def outcome(self, arguments: dict[str, Any], context: Context) -> Outcome:
        """Call the resolver. A Rejection is a value where the field's result has room for it."""
        info: Any = Asking(context)
        try:
            return Outcome(await self.resolve(None, info=info, **arguments))
        except errors.Rejection as no:
            if not self.takes_rejection:
                return Outcome(error=no)
            return Outcome(RejectionAsData().handle(no, field=self.field, info=info))
        except Exception as error:
            return Outcome(error=error)

    async def data(self, outcome: Outcome, context: Context) -> dict[str, Any] | None:
        """The answer's data; None where core has to make it, or say what is wrong with it."""
        if outcome.error is not None:
            return None
        run = Run(Asking(context), [])
        try:
            completed = self.complete(outcome.value, run)
            for answer, name, value, complete in run.awaited:
                answer[name] = complete(await value, run)
        except Exception:
            return None
        finally:
            for _, _, value, _ in run.awaited:
                value.close()  # of one that was awaited nothing is left to close
        return {self.response_name: completed}


def plan_of(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> Plan | None:
    """The plan of an operation of a valid document; None where core executes it."""
    if operation.operation is OperationType.SUBSCRIPTION:
        return None
    try:
        return _Planner(schema, document, operation).plan()
    except NotPlannable:
        return None


class _Directives(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def enter_directive(self, *_: Any) -> None:
        self.found = True


class _Planner:
    """Works out one plan."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode) -> None:
        self._schema = schema
        self._document = document
        self._operation = operation
        self._fragments = {name: FragmentDetails(found) for name, found in fragments_of(document).items()}

    def plan(self) -> Plan:
        directives = _Directives()
        visit(self._document, directives)
        root = self._schema.get_root_type(self._operation.operation)
        assert root is not None
        collected = collect_fields(self._schema, self._fragments, _NO_VARIABLES, root, self._operation)
        if directives.found or len(collected.grouped_field_set) != 1:
            raise NotPlannable("directives, or not one root field")
        [(response_name, details)] = collected.grouped_field_set.items()
        node = details[0].node
        declared = root.fields.get(node.name.value)
        field = declared and declared.extensions.get(BACKREF)
        if declared is None or not isinstance(field, StrawberryField) or not _is_plain_root(field):
            raise NotPlannable("an unusual root field")
        return Plan(
            response_name=response_name,
            resolve=field.base_resolver.wrapped_func,  # type: ignore[union-attr, arg-type]
            inputs=tuple(self._inputs(node, declared)),
            constants=_defaults(declared),
            field=field,
            takes_rejection=_takes_rejection(declared),
            complete=self._completer(declared.type, details),
        )

    @cached_property
    def _variables(self) -> dict[str, tuple[Any, bool]]:
        """The type of each variable, and whether it may be absent: one with a default of its own is left to core."""
        found = {}
        for each in self._operation.variable_definitions or ():
            kind = type_from_ast(self._schema, each.type)
            found[each.variable.name.value] = kind, each.default_value is None and not is_non_null_type(kind)
        return found

    def _inputs(self, node: FieldNode, declared: GraphQLField) -> list[tuple[str, str, Read, bool]]:
        return [self._input(given, declared) for given in node.arguments or ()]

    def _input(self, given: ArgumentNode, declared: GraphQLField) -> tuple[str, str, Read, bool]:
        if not isinstance(given.value, VariableNode):
            raise NotPlannable("an argument that is no variable")
        argument = declared.args[given.name.value]
        variable = given.value.name.value
        kind, may_be_absent = self._variables[variable]
        if str(kind) not in (str(argument.type), f"{argument.type}!"):
            raise NotPlannable("a variable of another type than its argument")
        taken = argument.extensions[BACKREF]
        return taken.python_name, variable, reader(kind, taken.type), may_be_absent

    # --- What becomes of a value ---------------------------------------------------------------------------

    def _completer(self, kind: Any, details: list[FieldDetails]) -> Complete:
        if is_non_null_type(kind):
            return self._present(kind.of_type, details)
        complete = self._present(kind, details)
        return lambda value, run: None if value is None else complete(value, run)

    def _present(self, kind: Any, details: list[FieldDetails]) -> Complete:
        """What completes a value that must not be null."""
        if is_list_type(kind):
            return _list(self._completer(kind.of_type, details))
        if is_scalar_type(kind):
            return _scalar(kind)
        if is_object_type(kind):
            return _by_class({_class_of(kind): self._object(kind, details)})
        if is_abstract_type(kind):
            return _by_class(dict(self._possible(kind, details)))
        raise NotPlannable(str(kind))

    def _possible(self, kind: Any, details: list[FieldDetails]) -> list[tuple[type, Complete]]:
        """The types that an abstract one may turn out to be. One without a plan is left to core when it comes."""
        found = []
        for possible in self._schema.get_possible_types(kind):
            try:
                found.append((_class_of(possible), self._object(possible, details)))
            except NotPlannable:
                continue
        return found

    def _object(self, kind: GraphQLObjectType, details: list[FieldDetails]) -> Complete:
        collected = collect_subfields(
            self._schema, self._fragments, _NO_VARIABLES, self._operation, kind, details
        ).grouped_field_set
        parts = tuple(self._part(kind, name, below) for name, below in collected.items())

        def complete(value: Any, run: Run) -> Any:
            answer: dict[str, Any] = {}
            for name, get, takes_info, of in parts:
                found = get(value, info=run.info) if takes_info else get(value)
                if type(found) is CoroutineType:
                    run.awaited.append((answer, name, found, of))
                    found = None
                else:
                    found = of(found, run)
                answer[name] = found
            return answer

        return complete

    def _part(
        self, kind: GraphQLObjectType, name: str, details: list[FieldDetails]
    ) -> tuple[str, Callable[..., Any], bool, Complete]:
        """A field of an answer: its name there, what gets its value, whether that takes `info`, what completes it."""
        node = details[0].node
        if node.name.value == _TYPENAME:
            typename = kind.name
            return name, lambda value: typename, False, lambda value, run: value
        declared = kind.fields[node.name.value]
        field = declared.extensions.get(BACKREF)
        if declared.args or not isinstance(field, StrawberryField) or field.extensions:
            raise NotPlannable("a field with arguments or of an unusual kind")
        complete = self._completer(declared.type, details)
        resolver = field.base_resolver
        if resolver is None:
            return name, attrgetter(field.python_name), False, complete
        if not _is_plain(field):
            raise NotPlannable("an unusual resolver")
        return name, resolver.wrapped_func, resolver.info_parameter is not None, complete  # type: ignore[return-value]


def _is_plain(field: StrawberryField) -> bool:
    """Whether a field's resolver takes its object first and, at most, `info` beside its arguments."""
    resolver = field.base_resolver
    return (
        resolver is not None
        and resolver.self_parameter is not None
        and resolver.parent_parameter is None
        and resolver.root_parameter is None
        and (resolver.info_parameter is None or resolver.info_parameter.name == "info")
        and not field.extensions
    )


def _is_plain_root(field: StrawberryField) -> bool:
    resolver = field.base_resolver
    return _is_plain(field) and field.is_async and resolver is not None and resolver.info_parameter is not None


def _defaults(declared: GraphQLField) -> dict[str, Any]:
    """The arguments that have a default."""
    found = {}
    for argument in declared.args.values():
        default = coerce_default_value(argument)
        if default is not Undefined:
            if default is not None and not isinstance(default, str | int):
                raise NotPlannable("a default that is not a plain value")
            found[argument.extensions[BACKREF].python_name] = default
    return found


def _takes_rejection(declared: GraphQLField) -> bool:
    kind = get_named_type(declared.type)
    return isinstance(kind, GraphQLUnionType) and any(of.name == "Rejection" for of in kind.types)


def _class_of(kind: GraphQLObjectType) -> type:
    definition = kind.extensions.get(BACKREF)
    if definition is None:
        raise NotPlannable(kind.name)
    made_by: type = definition.origin
    return made_by


def _by_class(completers: Mapping[type, Complete]) -> Complete:
    def complete(value: Any, run: Run) -> Any:
        of = completers.get(type(value))
        if of is None:
            raise NotAsPlanned
        return of(value, run)

    return complete


def _list(item: Complete) -> Complete:
    def complete(value: Any, run: Run) -> Any:
        if type(value) is not list:
            raise NotAsPlanned
        return [item(each, run) for each in value]

    return complete


def _scalar(kind: GraphQLScalarType) -> Complete:
    serialize = kind.coerce_output_value

    def complete(value: Any, run: Run) -> Any:
        if type(value) not in _VALUES and (
            value is None or isinstance(value, Exception) or hasattr(value, "__await__")
        ):
            raise NotAsPlanned
        found = serialize(value)
        if found is None or found is Undefined:
            raise NotAsPlanned
        return found

    return complete
