"""The business clock of a sandbox over GraphQL: it goes on, and what is due by then is done, as `tessera clock advance`
does it."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, person_calls, scopes
from gateway.context import Context
from gateway.inputs import KEY, described
from gateway.rejections import Rejection
from gateway.subscription import renewals
from kit import audit, clock, errors
from members.messages import STAFF

_AT_MOST_SECONDS = 5.0


class NoTestClock(errors.Rejection):
    """The clock here is the wall's, which nobody moves: only a sandbox has one that goes on by a call."""

    code = "NO_TEST_CLOCK"
    retryable = False


@strawberry.input(description="An instant that the clock of a sandbox goes on to.")
class AdvanceTestClockInput:
    idempotency_key: str = described(KEY)
    to: datetime = described("Until when; an earlier one than it is leaves it where it is.")


@strawberry.type(description="The clock went on, and what was due was done, each thing at its own instant.")
class AdvanceTestClockSuccess:
    now: datetime = described("What the clock says now.")
    done: int = described("How many things were due and are done.")
    arrived: bool = described("False where there was too much for one call: ask again, under another key.")
    replayed: bool = described("True when an earlier call did it; nothing was done now.")


AdvanceTestClockResult = Annotated[
    AdvanceTestClockSuccess | Rejection, strawberry.union("AdvanceTestClockResult", description="Done, or the reason.")
]


@strawberry.type
class ClockMutation:
    @access.mutation(
        scopes=(scopes.CLOCK_ADVANCE,),
        moves_points=False,
        cost=50,
        description="Lets a sandbox's clock go on, and does all that is due of subscriptions by then, in its order. "
        "Elsewhere it is refused.",
    )
    async def advance_test_clock(
        self, info: Info[Context, None], input: AdvanceTestClockInput
    ) -> AdvanceTestClockResult:
        services, person = info.context.services, person_calls.person_of(info.context.viewer, STAFF)
        if services.settings.clock != "sandbox":
            raise NoTestClock("the clock is the wall's")
        to, at = input.to.astimezone(UTC), await services.now()
        async with services.database.transaction() as connection:
            is_new = await person_calls.is_new(
                connection, services.vault, person, "advanceTestClock", input.idempotency_key, to.isoformat(), at=at
            )
            if is_new:
                detail = {"to": to.isoformat()}
                await audit.write(connection, actor=person.number, action="CLOCK_ADVANCED", subject="clock",
                                  detail=detail, at=at)  # fmt: skip
        done, stopping = 0, asyncio.Event()
        if is_new and to > at:
            asyncio.get_running_loop().call_later(_AT_MOST_SECONDS, stopping.set)
            done = await renewals.advance_clock(
                services.database, to, chosen=services.settings, vault=services.vault, stopping=stopping
            )
        async with services.database.reading() as connection:
            now = await clock.sandbox(connection)
        return AdvanceTestClockSuccess(now=now, done=done, arrived=now >= to, replayed=not is_new)
