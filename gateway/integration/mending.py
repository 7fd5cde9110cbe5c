"""PURE: what each code that a program may be told means, and what to do about it.

Of a rejection the module that owns the rule says what it means, in the sentence that stands with its code; whether to
send it again follows from its being retryable. What is an error of GraphQL or of the transport is explained here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway import masking
from kit.errors import Rejection

AGAIN = "Send it again with the same idempotency key, after what is in the way has changed or a moment later."
OTHERWISE = "Sending the same again changes nothing: change the input, and give it a new idempotency key."


@dataclass(frozen=True, slots=True)
class Mending:
    """What a code means, and what to do; in English, for developers."""

    meaning: str
    mend: str


_ERRORS: Mapping[str, Mending] = MappingProxyType(
    {
        masking.GRAPHQL_PARSE_FAILED: Mending(
            "The document is not GraphQL.", "Mend the document at the line and column that the error names."
        ),
        masking.GRAPHQL_VALIDATION_FAILED: Mending(
            "The document asks for what the schema has not.",
            "Validate documents against /schema.graphql in your build.",
        ),
        masking.OPERATION_RESOLUTION_FAILURE: Mending(
            "The document has several operations, or none of the name that was asked for.", "Send `operationName`."
        ),
        masking.QUERY_TOO_COMPLEX: Mending(
            "The request costs more than one may.", "Ask for fewer items at once (`first`), and in several requests."
        ),
        masking.BAD_USER_INPUT: Mending(
            "A variable is not what its type takes.", "The error's `path` says which; nothing was done."
        ),
        masking.BAD_REQUEST: Mending(
            "The request is not one of GraphQL over HTTP: method, media type, size or JSON.",
            "POST one JSON object in UTF-8 as application/json, at most 64 KiB (2 MiB with accrueMany).",
        ),
        masking.UNAUTHENTICATED: Mending(
            "The access token is missing, over, or not accepted.",
            "Ask /oauth/token for another one a minute before the last one ends.",
        ),
        masking.FORBIDDEN: Mending(
            "The client may not do this.",
            "Ask for a token with the scope that the error names, as far as it is granted.",
        ),
        masking.THROTTLED: Mending(
            "More was asked for than the allowance holds.",
            "Wait as long as Retry-After says; `extensions.cost` tells how much is left before it is used up.",
        ),
        masking.PERSISTED_QUERY_NOT_FOUND: Mending(
            "No document is registered under this hash.", "Send the text once, or register it for the client."
        ),
        masking.OUTCOME_UNKNOWN: Mending(
            "It is not known whether this happened.",
            "Send it again with the same idempotency key until it is answered.",
        ),
        masking.SERVICE_UNAVAILABLE: Mending(
            "There was no room for it, or the database was away.",
            "Send it again as Retry-After says, with the same idempotency key.",
        ),
        masking.INTERNAL_SERVER_ERROR: Mending(
            "Something went wrong here.", "Tell the operator the request's id; it finds what happened in our logs."
        ),
    }
)


def of(code: str) -> Mending | None:
    """What a code means and what to do; None for one that nobody here knows."""
    if (found := _ERRORS.get(code)) is not None:
        return found
    kind = next((each for each in _below(Rejection) if vars(each).get("code") == code and each.__doc__), None)
    if kind is None:
        return None
    meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
    return Mending(meaning, AGAIN if kind.retryable else OTHERWISE)


def _below(kind: type[Rejection]) -> Iterator[type[Rejection]]:
    for below in kind.__subclasses__():
        yield below
        yield from _below(below)
