"""The gate in front of execution: each distinct document is parsed, limited, validated and priced once.

What is left for a repeated request is a look-up, the scopes of its root fields, and the part of its price that
depends on variables. Only good documents are kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any

import strawberry
from graphql import (
    DefinitionNode,
    DirectiveDefinitionNode,
    DocumentNode,
    ExecutionResult,
    GraphQLError,
    GraphQLInputObjectType,
    GraphQLSchema,
    NoSchemaIntrospectionCustomRule,
    ValuesOfCorrectTypeRule,
    execute,
    parse,
    print_ast,
    specified_rules,
    subscribe,
    validate,
)
from strawberry.execution import optimized_is_awaitable
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from gateway import access, masking
from gateway.context import Context
from gateway.gate.coercion import build_by_plan
from gateway.gate.limits import Limits, first_over
from gateway.gate.plans import Outcome, Plan, plan_of
from gateway.gate.pricing import Operation, operations
from gateway.rejections import RejectionAsData
from gateway.scalars import SCALARS
from gateway.scopes import SCHEMA_READ

_RULES = (
    *(masking.QuietValuesRule if rule is ValuesOfCorrectTypeRule else rule for rule in specified_rules),
    MaybeNullValidationRule,
    OneOfInputValidationRule,
)
_RULES_WITHOUT_INTROSPECTION = (*_RULES, NoSchemaIntrospectionCustomRule)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is good, with its operations and their plans by name (None: the one without)."""

    document: DocumentNode
    operations: Mapping[str | None, Operation]
    plans: Mapping[str | None, Plan | None]

    def plan(self, name: str | None) -> Plan | None:
        """The plan of the operation that a request means, where it has one."""
        if name is None and len(self.plans) == 1:
            return next(iter(self.plans.values()))
        return self.plans.get(name)

    def operation(self, name: str | None) -> Operation:
        """The operation that a request means. Raises OPERATION_RESOLUTION_FAILURE where that is open."""
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        found = self.operations.get(name)
        if found is None:
            message = "operationName has to name one of the document's operations."
            raise masking.coded(masking.OPERATION_RESOLUTION_FAILURE, message)
        return found


class Unacceptable(Exception):  # noqa: N818 - a document is
    """A document that will not run, with the GraphQL errors to answer."""

    def __init__(self, errors: list[GraphQLError]) -> None:
        super().__init__("document not accepted")
        self.errors = errors


class Documents:
    """The good documents of a schema, least recently used ones forgotten: at most so many and so much text."""

    def __init__(
        self, schema: GraphQLSchema, limits: Limits | None = None, *, most: int = 512, most_text: int = 1_048_576
    ) -> None:
        self._schema = schema
        self._most = most
        self._most_text = most_text
        self._held_text = 0
        self._held: OrderedDict[tuple[bool, str], Prepared] = OrderedDict()
        self.limits = limits or Limits()

    def prepare(self, text: str, *, introspection: bool) -> Prepared:
        """The prepared document. Raises Unacceptable; what it takes is done once per text and permission."""
        key = (introspection, text)
        found = self._held.get(key)
        if found is not None:
            self._held.move_to_end(key)
            return found
        prepared = self._prepare(text, introspection)
        self._keep(key, prepared)
        return prepared

    def knows(self, text: str, *, introspection: bool) -> bool:
        """Whether preparing a document is no work."""
        return (introspection, text) in self._held

    def _keep(self, key: tuple[bool, str], prepared: Prepared) -> None:
        self._held[key] = prepared
        self._held_text += len(key[1])
        while len(self._held) > self._most or self._held_text > self._most_text:
            (_, forgotten), _ = self._held.popitem(last=False)
            self._held_text -= len(forgotten)

    def _prepare(self, text: str, introspection: bool) -> Prepared:
        if len(text) > self.limits.text:
            raise Unacceptable([masking.too_complex(f"it has more than {self.limits.text} characters")])
        document = self._parse(text)
        if over := first_over(document, self.limits):
            raise Unacceptable([masking.too_complex(over)])
        self._validate(document, introspection)
        try:
            found = dict(operations(self._schema, document))
            plans = {name: plan_of(self._schema, document, each.definition) for name, each in found.items()}
            return Prepared(document, found, plans)
        except GraphQLError as error:
            raise Unacceptable([error]) from error

    def _parse(self, text: str) -> DocumentNode:
        try:
            return parse(text, max_tokens=self.limits.tokens)
        except GraphQLError as error:
            raise Unacceptable([masking.parse_error(error)]) from error
        except RecursionError as error:
            raise Unacceptable([masking.too_complex("it is nested too deeply")]) from error

    def _validate(self, document: DocumentNode, introspection: bool) -> None:
        rules = _RULES if introspection else _RULES_WITHOUT_INTROSPECTION
        try:
            errors = validate(self._schema, document, rules, max_errors=self.limits.errors, hide_suggestions=True)
        except RecursionError as error:
            raise Unacceptable([masking.too_complex("it is nested too deeply")]) from error
        if errors:
            raise Unacceptable([masking.validation_error(error) for error in errors])


def _by_name(definition: DefinitionNode) -> tuple[bool, str]:
    name = getattr(definition, "name", None)
    return not isinstance(definition, DirectiveDefinitionNode), name.value if name else ""


class Schema(strawberry.Schema):
    """The gateway's schema. Whatever it executes has passed the gate: there is no other way in.

    Built only where every root field names its scopes, every paged field its size and every mutation a result that
    has room for a Rejection; raises ValueError otherwise.
    """

    def __init__(
        self,
        query: type,
        mutation: type | None = None,
        subscription: type | None = None,
        *,
        types: tuple[type, ...] = (),
    ) -> None:
        self._types = types
        super().__init__(
            query,
            mutation,
            subscription,
            types=types,
            config=StrawberryConfig(scalar_map=SCALARS),
            exception_handlers=[RejectionAsData()],
        )
        if wrong := (
            access.unscoped_fields(self) + access.unsized_lists(self) + access.mutations_without_rejection(self)
        ):
            raise ValueError(f"declare with gateway.access: {', '.join(wrong)}")
        self.documents = Documents(self._schema)
        build_by_plan(
            [
                kind.extensions["strawberry-definition"]
                for kind in self._schema.type_map.values()
                if isinstance(kind, GraphQLInputObjectType)
            ],
            self.config,
        )

    @property
    def graphql(self) -> GraphQLSchema:
        """The schema as core knows it."""
        return self._schema

    def sdl(self) -> str:
        """The published schema, sorted. Built aside, because a sorted schema does not find the types of its unions."""
        config = StrawberryConfig(scalar_map=SCALARS, sort_schema=True)
        built = strawberry.Schema(self.query, self.mutation, self.subscription, types=self._types, config=config)
        printed = built.as_str()
        definitions = sorted(parse(printed).definitions, key=_by_name)
        return "\n\n".join(map(print_ast, definitions)) + "\n"

    def knows(self, text: str, scopes: frozenset[str]) -> bool:
        """Whether a document was prepared before for callers with these scopes."""
        return self.documents.knows(text, introspection=SCHEMA_READ in scopes)

    def admit(
        self, text: str, operation_name: str | None, variables: Mapping[str, Any], scopes: frozenset[str]
    ) -> tuple[Prepared, Operation]:
        """The document and the operation that a caller with these scopes may run now. Raises Unacceptable."""
        prepared = self.documents.prepare(text, introspection=SCHEMA_READ in scopes)
        try:
            operation = prepared.operation(operation_name)
            operation.check(scopes, variables, self.documents.limits.cost)
        except GraphQLError as error:
            raise Unacceptable([error]) from error
        return prepared, operation

    async def run(
        self, prepared: Prepared, operation_name: str | None, variables: Mapping[str, Any], context: Context
    ) -> ExecutionResult:
        """Execute an admitted operation: by its plan, or by core where it has none or something is not as planned."""
        plan = prepared.plan(operation_name)
        arguments = plan.arguments(variables) if plan else None
        if plan is None or arguments is None:
            return await self._run_by_core(prepared, operation_name, variables, context)
        outcome = await plan.outcome(arguments, context)
        data = await plan.data(outcome, context)
        if data is not None:
            return ExecutionResult(data, None)
        return await self._run_by_core(prepared, operation_name, variables, context, outcome)

    async def _run_by_core(
        self,
        prepared: Prepared,
        operation_name: str | None,
        variables: Mapping[str, Any],
        context: Context,
        outcome: Outcome | None = None,
    ) -> ExecutionResult:
        """Execute as core does, without any of the library's extensions. outcome is the root field's, if it has one."""
        result = execute(
            self._schema,
            prepared.document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=operation_name,
            is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]
            executor_class=StrawberryGraphQLCoreExecutionContext,
            middleware=[outcome] if outcome else None,
            max_coercion_errors=masking.MOST_COMPLAINTS,
            hide_suggestions=True,
        )
        return await result if isawaitable(result) else result

    async def follow(
        self, prepared: Prepared, operation_name: str | None, variables: Mapping[str, Any], context: Context
    ) -> AsyncIterator[ExecutionResult] | ExecutionResult:
        """The stream of an admitted subscription, or the one result that says why there is none."""
        result = subscribe(
            self._schema,
            prepared.document,
            context_value=context,
            variable_values=dict(variables),
            operation_name=operation_name,
            executor_class=StrawberryGraphQLCoreExecutionContext,
            max_coercion_errors=masking.MOST_COMPLAINTS,
            hide_suggestions=True,
        )
        return await result if isawaitable(result) else result

    async def execute(  # type: ignore[override]
        self,
        query: str,
        variable_values: Mapping[str, Any] | None = None,
        context_value: Context | None = None,
        root_value: None = None,
        operation_name: str | None = None,
    ) -> ExecutionResult:
        """Admit and run a document for the context's viewer."""
        assert context_value is not None
        variables = variable_values or {}
        try:
            prepared, _ = self.admit(query, operation_name, variables, context_value.viewer.scopes)
        except Unacceptable as no:
            return ExecutionResult(None, no.errors)
        return await self.run(prepared, operation_name, variables, context_value)

    def execute_sync(self, *args: Any, **kwargs: Any) -> Any:
        """Not offered: it would go round the gate."""
        raise NotImplementedError("use execute")

    async def subscribe(self, *args: Any, **kwargs: Any) -> Any:
        """Not offered: it would go round the gate."""
        raise NotImplementedError("use follow")

    async def stream(self, *args: Any, **kwargs: Any) -> Any:
        """Not offered: it would go round the gate."""
        raise NotImplementedError("there are no streams")
