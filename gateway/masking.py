"""What a caller is told when something is wrong: a code, a sentence that repeats no value, and the request's id.

The list is of what may be said. Whatever is not on it is a defect of ours: the caller learns only that there is one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import asyncpg
from graphql import (
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    SourceLocation,
    ValueNode,
    is_input_type,
    type_from_ast,
)
from graphql.utilities import validate_input_literal, validate_input_value
from graphql.validation import ValuesOfCorrectTypeRule
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from strawberry.exceptions import StrawberryInputCoercionError

from kit import errors

GRAPHQL_PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
GRAPHQL_VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
OPERATION_RESOLUTION_FAILURE = "OPERATION_RESOLUTION_FAILURE"
QUERY_TOO_COMPLEX = "QUERY_TOO_COMPLEX"
BAD_USER_INPUT = "BAD_USER_INPUT"
BAD_REQUEST = "BAD_REQUEST"
UNAUTHENTICATED = "UNAUTHENTICATED"
FORBIDDEN = "FORBIDDEN"
THROTTLED = "THROTTLED"
PERSISTED_QUERY_NOT_FOUND = "PERSISTED_QUERY_NOT_FOUND"
OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"

EXCUSES = {
    INTERNAL_SERVER_ERROR: "Something went wrong here. The request id finds it in our logs.",
    SERVICE_UNAVAILABLE: "This is not available at the moment. Try again.",
    THROTTLED: "Too much was asked for in too short a time. Wait as long as Retry-After says.",
    OUTCOME_UNKNOWN: "It is not known whether this happened. Send it again with the same idempotency key.",
}

MOST_COMPLAINTS = 10

# The beginnings of the library's messages that name types and fields; what follows them quotes the value.
_NAMES_ONLY = re.compile(
    r"Expected value of type '[\w!\[\]]+'"
    r"( to include required field '\w+'| not to include unknown field '[A-Za-z_]\w{0,63}'| to be an object)?"
    r"|Expected (a )?value of non-null type '[\w!\[\]]+' (not to be None|to be provided)"
    r"|(OneOf Input Object|Exactly one key)[^:]*"
)
_QUOTED_TOKEN = re.compile(r"(String|BlockString|Int|Float|Comment|character)\b.*", re.DOTALL)
# Lost connections, no resources, shutting down; rolled back by a conflict or by a deadline of the database's.
_UNAVAILABLE_STATES = ("08", "53", "57P", "40", "57014", "25P03")


class Explained(GraphQLError):  # noqa: N818 - it is what it says
    """A complaint about a value in our own words, which do not repeat the value."""


def coded(code: str, message: str, *, path: Sequence[str | int] | None = None) -> GraphQLError:
    """An error that may be told as it is."""
    return GraphQLError(message, path=path, extensions={"code": code})


def too_complex(why: str) -> GraphQLError:
    """A document over a limit."""
    return coded(QUERY_TOO_COMPLEX, f"This document is too much: {why}.")


def parse_error(error: GraphQLError) -> GraphQLError:
    """A syntax error without the text that it stumbled over."""
    message = _QUOTED_TOKEN.sub(r"\1", error.message)
    return GraphQLError(
        message, source=error.source, positions=error.positions, extensions={"code": GRAPHQL_PARSE_FAILED}
    )


def validation_error(error: GraphQLError) -> GraphQLError:
    """A validation error with its code, and without advice on what else there might be."""
    message = error.message.partition(" Did you mean")[0]
    return GraphQLError(message, error.nodes, extensions={"code": GRAPHQL_VALIDATION_FAILED})


class QuietValuesRule(ValuesOfCorrectTypeRule):
    """The library's rule on literals, saying what is expected and not what it found."""

    def is_valid_value_node(self, node: ValueNode, input_type: Any) -> Any:
        """Report every part of a literal that is not of its type."""
        if input_type:
            validate_input_literal(
                node,
                input_type,
                lambda error, path: self.report_error(GraphQLError(_quiet(error, path), error.nodes or node)),
                None,
                None,
                True,
            )
        return self.SKIP


def variable_errors(
    schema: GraphQLSchema, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> list[GraphQLError]:
    """What is wrong with a request's variables, as BAD_USER_INPUT; asked only when something is."""
    complaints: list[str] = []
    try:
        for complaint in _variable_complaints(schema, operation, variables):
            complaints.append(complaint)
            if len(complaints) == MOST_COMPLAINTS:
                break
    except RecursionError:
        complaints = ["The variables are nested too deeply."]
    return [coded(BAD_USER_INPUT, message) for message in complaints or ["The variables are not acceptable."]]


def _variable_complaints(
    schema: GraphQLSchema, operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> Iterator[str]:
    for declared in operation.variable_definitions or ():
        name = declared.variable.name.value
        kind = type_from_ast(schema, declared.type)
        found: list[str] = []
        if name in variables and is_input_type(kind):
            validate_input_value(variables[name], kind, partial(_collect, found), True)
        elif declared.default_value is None and str(kind).endswith("!"):
            found.append(f"Expected a value of type '{kind}'.")
        yield from (f"Variable '${name}': {message}" for message in found)


def _collect(found: list[str], error: GraphQLError, path: list[str | int]) -> None:
    found.append(_quiet(error, path))


def _quiet(error: GraphQLError, path: Sequence[str | int]) -> str:
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path)
    explained = error if isinstance(error, Explained) else error.original_error
    if isinstance(explained, Explained):
        message = explained.message
    else:
        named = _NAMES_ONLY.match(error.message)
        message = f"{named.group()}." if named else "This is not of the type that is expected here."
    return f"at {where.lstrip('.')}: {message}" if where else message


def expected(error: GraphQLError) -> dict[str, Any] | None:
    """The extensions of an error that may be told, or None for a defect. Its message may be told too."""
    cause = root_cause(error)
    if error.extensions and "code" in error.extensions:
        return dict(error.extensions)
    if isinstance(cause, errors.Rejection):
        return {"code": BAD_USER_INPUT, "rejection": {"code": cause.code, "retryable": cause.retryable}}
    return None


def is_bad_argument(error: GraphQLError) -> bool:
    """Whether execution stopped at an argument that the caller gave (a null by variable, say)."""
    cause = root_cause(error)
    if isinstance(cause, StrawberryInputCoercionError | Explained):
        return True
    # The library gives its complaints about arguments the place in the document, those about our answers none.
    return type(cause) is GraphQLError and bool(cause.nodes)


def root_cause(error: GraphQLError) -> Exception:
    """The exception that a resolver raised, whatever was wrapped around it."""
    cause: Exception = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def is_unavailable(cause: BaseException) -> bool:
    """Whether a resource was away rather than the code wrong: the database, a connection to it, time."""
    if isinstance(cause, DBAPIError):
        return cause.connection_invalidated or is_unavailable(cause.orig or ValueError())
    # OSError: no route, no socket, no name. InternalClientError: the server's last word came between two queries.
    if isinstance(cause, errors.OutcomeUnknown | OSError | PoolExhausted | asyncpg.InternalClientError):
        return True
    if isinstance(cause, asyncpg.InterfaceError):  # the same type tells of closed connections and of our mistakes
        return "clos" in str(cause) and not isinstance(cause, ValueError)
    return str(getattr(cause, "sqlstate", None) or "").startswith(_UNAVAILABLE_STATES)


def formatted(message: str, extensions: Mapping[str, Any], error: GraphQLError | None = None) -> dict[str, Any]:
    """An error as the answer holds it."""
    said: dict[str, Any] = {"message": message}
    if error is not None and error.locations:
        said["locations"] = [_location(location) for location in error.locations]
    if error is not None and error.path:
        said["path"] = list(error.path)
    said["extensions"] = dict(extensions)
    return said


def _location(location: SourceLocation) -> dict[str, int]:
    return {"line": location.line, "column": location.column}
