"""The business "no" as data: the second member of every mutation's result."""

import strawberry
from strawberry.schema.exception_handlers import ExceptionHandler
from strawberry.types.field import StrawberryField

from gateway.context import Context
from gateway.scalars import RejectionCode
from gateway.texts import cashier_text
from kit import errors
from kit.amounts import Points


@strawberry.type(description="One offending part of an input.")
class FieldProblem:
    path: list[str] = strawberry.field(description='Where it is, such as ["input", "receipt", "total"].')
    code: RejectionCode = strawberry.field(description="What is wrong with it.")
    message: str = strawberry.field(description="For developers; wording may change.")


@strawberry.type(
    description="The request was understood and refused; nothing was written. Details are null unless the code's "
    "documentation says otherwise. New codes and new nullable details may appear at any time."
)
class Rejection:
    code: RejectionCode = strawberry.field(description="Stable reason.")
    message: str = strawberry.field(
        description="For developers and logs; wording may change. Do not show it to members, do not match on it."
    )
    retryable: bool = strawberry.field(
        description="True when the same input with the same idempotency key may succeed later."
    )
    cashier_text: str = strawberry.field(description="For the till's screen, in the language that was asked for.")
    fields: list[FieldProblem] = strawberry.field(description="One entry per offending part of the input.")
    available: Points | None = strawberry.field(description="Points that the member has, where that was the reason.")
    maximum: Points | None = strawberry.field(description="The most that would have been accepted.")
    current_id: strawberry.ID | None = strawberry.field(
        description="What stands in the way, such as the first receipt."
    )


def as_data(no: errors.Rejection, language: str) -> Rejection:
    """The answer that says a rejection, its cashier's text in a language."""
    return Rejection(
        code=RejectionCode(no.code),
        message=no.message,
        retryable=no.retryable,
        cashier_text=cashier_text(no.code, retryable=no.retryable, language=language),
        fields=[
            FieldProblem(path=list(problem.path), code=RejectionCode(problem.code), message=problem.message)
            for problem in no.problems
        ],
        available=None if no.available_points is None else Points(no.available_points),
        maximum=None if no.maximum_points is None else Points(no.maximum_points),
        current_id=strawberry.ID(no.current) if isinstance(no.current, str) else None,
    )


_MISSES = frozenset({"CARD_UNKNOWN", "CODE_INVALID", "MEMBER_UNKNOWN", "PAIRING_UNKNOWN"})


def is_miss(no: BaseException) -> bool:
    """Whether it says that nobody is found by what was given, which a guesser hears often."""
    return isinstance(no, errors.Rejection) and no.code in _MISSES


class RejectionAsData(ExceptionHandler[errors.Rejection, Rejection]):
    """Turns a rejection that a resolver raised into its result, wherever the result's union has room for it."""

    def handle(
        self, exception: errors.Rejection, *, field: StrawberryField, info: strawberry.Info[Context, None]
    ) -> Rejection:
        """The answer for this rejection."""
        info.context.misses += is_miss(exception)
        info.context.rejected = exception.code
        return as_data(exception, info.context.language)
