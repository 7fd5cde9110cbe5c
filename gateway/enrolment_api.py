"""Enrolment at a partner's till: the input, the answer with what was told shown masked, the mutation."""

from datetime import date, datetime
from typing import Annotated

import strawberry
from strawberry import Info

from gateway import access, echoes, scopes, slips
from gateway.context import Context
from gateway.inputs import KEY, described
from gateway.purchase_api import Counter, call_of
from gateway.rejections import Rejection
from gateway.types import member_id_for
from kit.errors import FieldProblem
from members.consents import OPERATOR, ConsentGiven, ConsentInvalid
from members.enrolment import Personal
from members.registrations import Application, Registration
from partners.tills import enrolling


@strawberry.input(description="One thing that the person agreed to. Each purpose is a consent of its own.")
class ConsentInput:
    purpose: str = described(
        "PROGRAMME, PERSONAL_DATA, PARTNER_TRANSFER, ADVERTISING_EMAIL, ADVERTISING_SMS, ADVERTISING_PUSH, "
        "ADVERTISING_PHONE; more may appear. PROGRAMME, given to the operator, is needed."
    )
    text_version: str = described("The version of the words that were shown.")
    at: datetime = described("When the person agreed, by the till's clock.")
    partner: str | None = described(
        "To whom: the code of the calling partner; the operator where nothing is said. Nobody collects consents for "
        "others.",
        default=None,
    )


@strawberry.input(description="What the person tells of themselves, each part or none.")
class PersonInput:
    name: str | None = described("Name.", default=None)
    phone: str | None = described("Phone number with its country code.", default=None)
    email: str | None = described("E-mail address.", default=None)
    birth_date: date | None = described("Date of birth.", default=None)

    def personal(self) -> Personal:
        """The same as the members' package has it."""
        return Personal(self.name, self.phone, self.email, self.birth_date)


@strawberry.input(description="Somebody who becomes a member.")
class EnrolMemberInput:
    idempotency_key: str = described(KEY)
    outlet: str = described("The partner's code of the outlet.")
    consents: list[ConsentInput] = described("What the person agreed to.")
    terminal: str | None = described("The outlet's code of the till.", default=None)
    person: PersonInput | None = described("What the person tells of themselves.", default=None)
    language: str = described("Language to write to them in, two letters (ISO 639-1).", default="en")
    card_number: str | None = described(
        "Number of the pre-printed card that they hold; its points stay theirs. A new card where nothing is said.",
        default=None,
    )
    external_id: str | None = described("This partner's own number for them.", default=None)

    def application(self, counter: Counter) -> Application:
        """What is asked, as the members' package has it. Raises ConsentInvalid for a consent to somebody else."""
        return Application(
            personal=self.person.personal() if self.person else None,
            consents=[_consent(counter, index, given) for index, given in enumerate(self.consents)],
            language=self.language,
            external_id=self.external_id,
            card_number=self.card_number,
        )


@strawberry.type(description="What was told of a person, as much of it as lets a cashier see a slip of the finger.")
class MaskedPerson:
    name: str | None = described("First letters.")
    phone: str | None = described("Last digits.")
    email: str | None = described("First letter and the end of the domain.")


@strawberry.type(description="Somebody who is a member now.")
class EnrolMemberSuccess:
    member_id: strawberry.ID = described("Our id of the member, as this partner knows it.")
    card_last_four: str = described("Last four digits of the member's card.")
    card_number: str | None = described(
        "Number of a new card, told once: null in a replay, and of the card that the member held."
    )
    person: MaskedPerson | None = described("What was told of the member, masked; null where nothing was.")
    replayed: bool = described("True when an earlier call enrolled them; nothing was written now.")
    cashier_text: str = described("For the till's screen.")
    slip_lines: list[str] = described("For the printed receipt.")


EnrolMemberResult = Annotated[
    EnrolMemberSuccess | Rejection, strawberry.union("EnrolMemberResult", description="The member, or the reason.")
]


@strawberry.type
class EnrolmentMutation:
    @access.mutation(
        scopes=(scopes.MEMBERS_ENROL,),
        moves_points=False,
        description="Makes somebody a member with the consents that they gave, by a new card or by registering the "
        "pre-printed one that they hold. Nothing of what is told can be read back.",
    )
    async def enrol_member(self, info: Info[Context, None], input: EnrolMemberInput) -> EnrolMemberResult:
        counter, call = await call_of(info, "enrolMember", input.idempotency_key)
        done = await enrolling.enrol_member(
            counter.desk, call, input.outlet, input.terminal, input.application(counter)
        )
        return _success(counter, done, info.context.language)


def _consent(counter: Counter, index: int, given: ConsentInput) -> ConsentGiven:
    if given.partner not in (None, counter.partner.code):
        path = ("consents", str(index), "partner")
        raise ConsentInvalid([FieldProblem(path, "INVALID", "the code of the calling partner, or nothing")])
    whose = OPERATOR if given.partner is None else counter.partner.partner_id
    return ConsentGiven(given.purpose, given.text_version, given.at, whose)


def _success(counter: Counter, done: Registration, language: str) -> EnrolMemberSuccess:
    sentence = slips.enrolled(done.last_four, language)
    return EnrolMemberSuccess(
        member_id=member_id_for(counter.partner, done.member_id),
        card_last_four=done.last_four,
        card_number=done.card_number,
        person=_masked(done.personal) if done.personal else None,
        replayed=done.replayed,
        cashier_text=sentence,
        slip_lines=[sentence],
    )


def _masked(told: Personal) -> MaskedPerson:
    return MaskedPerson(
        name=echoes.name(told.name) if told.name else None,
        phone=echoes.phone(told.phone) if told.phone else None,
        email=echoes.email(told.email) if told.email else None,
    )
