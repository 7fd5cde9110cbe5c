"""What people of finance do over GraphQL about payments and the bank, in their own name, with a proof of a moment ago.

What goes to the bank takes two people, one who makes the file and one who lets it go; so does where a partner is paid,
which is used only after a time. The rest is as open as at the terminal: the role asks.
"""

import io
from datetime import date, datetime
from typing import Annotated

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, person_calls
from gateway.context import Context
from gateway.finance.answers import FinanceResult, ProposalResult, done, proposed
from gateway.finance.calls import DECIDE, MAKE, Do, once, person
from gateway.finance.reconciliation_types import (
    BankNotice,
    BankStatement,
    PaymentFile,
    PaymentReport,
    SettlementPayment,
    bank_notice_of,
    bank_statement_of,
    names,
    payment_file_of,
    payment_number,
    payment_of,
    payment_report_of,
)
from gateway.inputs import KEY, REPLAYED, described
from gateway.rejections import Rejection
from gateway.scalars import CurrencyCode
from kit.secrets import fingerprint
from partners.agreements import onboarding
from settlement.bank import accounts, bank_files, details, paying, suspense
from settlement.bank.notices import Noticed
from settlement.bank.orders import Mandate
from settlement.bank.receiving import Received
from settlement.bank.reporting import Reported
from settlement.rating import OPERATOR

_CAUSE = "Why; it stays for ever."
_ITEM = "Number of money in suspense, as `suspenseItems` has it."
_ORDER = "Number of a file for the bank, as `paymentFiles` has it."
_PAYMENT = "Id of the payment, as `settlementPayments` has it."
_RUN = "Number of a run."


@strawberry.input(description="A run whose payments are to be made.")
class PreparePaymentFilesInput:
    idempotency_key: str = described(KEY)
    run: int = described(_RUN)


@strawberry.input(description="A file that is to go to the bank.")
class ReleasePaymentFileInput:
    idempotency_key: str = described(KEY)
    file: int = described(_ORDER)


@strawberry.input(description="What the bank said to a file.")
class AcknowledgePaymentFileInput:
    idempotency_key: str = described(KEY)
    file: int = described(_ORDER)
    rejected: list[str] = described("End-to-end ids that it rejected; it took the others.", default_factory=list)


@strawberry.input(description="A run of which every payment is done.")
class SealSettlementRunInput:
    idempotency_key: str = described(KEY)
    run: int = described(_RUN)


@strawberry.input(description="Nothing but the key.")
class FollowUpPaymentsInput:
    idempotency_key: str = described(KEY)


@strawberry.input(description="What the bank sent.")
class ImportBankFileInput:
    idempotency_key: str = described(KEY)
    content: str = described("The whole file (XML).")


@strawberry.input(description="What allows the operator to collect from an account.")
class MandateInput:
    number: str = described("Its number.")
    signed_on: date = described("When it was signed.")


@strawberry.input(description="Where a partner, or the operator, is paid from now on.")
class ProposeBankAccountInput:
    idempotency_key: str = described(KEY)
    partner: str | None = described("Code of the partner; by default the operator.", default=None)
    holder: str = described("Whose account it is.")
    iban: str = described("Its number (ISO 13616).")
    bic: str | None = described("The bank (ISO 9362).", default=None)
    currency_code: CurrencyCode = described("ISO 4217 code.")
    mandate: MandateInput | None = described("Where the operator may collect from it.", default=None)
    creditor_id: str | None = described("Of the operator's account: what it collects under.", default=None)


@strawberry.input(description="What money in suspense is for.")
class IdentifySuspenseInput:
    idempotency_key: str = described(KEY)
    item: int = described(_ITEM)
    payment_id: strawberry.ID = described(_PAYMENT)


@strawberry.input(description="Money in suspense that goes back by a partner's next statement.")
class SendSuspenseInput:
    idempotency_key: str = described(KEY)
    item: int = described(_ITEM)
    partner: str = described("Code of the partner.")


@strawberry.input(description="Money in suspense that is nobody's.")
class ProposeKeepSuspenseInput:
    idempotency_key: str = described(KEY)
    item: int = described(_ITEM)
    cause: str = described(_CAUSE)


@strawberry.input(description="A payment of which only a part came.")
class WriteOffPaymentInput:
    idempotency_key: str = described(KEY)
    payment_id: strawberry.ID = described(_PAYMENT)
    cause: str = described(_CAUSE)


@strawberry.type(description="Files for the bank.")
class PaymentFilesSuccess:
    files: list[PaymentFile] = described("All files of the run, or the one that was meant.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="Payments as they stand now.")
class PaymentsSuccess:
    payments: list[SettlementPayment] = described("Those that were meant.")
    proposal: int | None = described("Number of the proposal that somebody else decides; null where it is done.")
    replayed: bool = described(REPLAYED)


@strawberry.type(description="What the bank sent, as it was taken.")
class ImportBankFileSuccess:
    statements: list[BankStatement] = described("Statements of the file, in order.")
    notices: list[BankNotice] = described("Notices of the file, in order.")
    reports: list[PaymentReport] = described("The report on payments that the file is.")
    replayed: bool = described(REPLAYED)


PaymentFilesResult = Annotated[
    PaymentFilesSuccess | Rejection, strawberry.union("PaymentFilesResult", description="Done, or the reason.")
]
PaymentsResult = Annotated[
    PaymentsSuccess | Rejection, strawberry.union("PaymentsResult", description="Done, or the reason.")
]
ImportBankFileResult = Annotated[
    ImportBankFileSuccess | Rejection, strawberry.union("ImportBankFileResult", description="Done, or the reason.")
]


@strawberry.type
class PaymentMutation:
    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        cost=50,
        description="Makes the files for the bank of an approved run; again for what it rejected or sent back alone.",
    )
    async def prepare_payment_files(
        self, info: Info[Context, None], input: PreparePaymentFilesInput
    ) -> PaymentFilesResult:
        async def prepare(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await paying.instruct(connection, input.run, actor=actor, at=at)

        _, is_new = await once(info, "preparePaymentFiles", input.idempotency_key, prepare, str(input.run))
        async with info.context.services.database.reading() as connection:
            made = await paying.orders_of(connection, input.run)
        return PaymentFilesSuccess(files=[payment_file_of(one) for one in made], replayed=not is_new)

    @access.mutation(
        scopes=DECIDE,
        moves_points=False,
        description="Lets a file go to the bank; somebody else than who made it. Only then can it be read.",
    )
    async def release_payment_file(
        self, info: Info[Context, None], input: ReleasePaymentFileInput
    ) -> PaymentFilesResult:
        async def release(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await paying.release(connection, input.file, actor=actor, at=at)

        _, is_new = await once(info, "releasePaymentFile", input.idempotency_key, release, str(input.file))
        async with info.context.services.database.reading() as connection:
            one = await paying.order_of(connection, input.file)
        return PaymentFilesSuccess(files=[payment_file_of(one)], replayed=not is_new)

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Notes what the bank said to a file: taken, but for what is named."
    )
    async def acknowledge_payment_file(
        self, info: Info[Context, None], input: AcknowledgePaymentFileInput
    ) -> PaymentsResult:
        async def note(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await paying.acknowledge(connection, input.file, rejected=input.rejected, actor=actor, at=at)

        content = (str(input.file), *sorted(input.rejected))
        _, is_new = await once(info, "acknowledgePaymentFile", input.idempotency_key, note, *content)
        async with info.context.services.database.reading() as connection:
            legs = await paying.legs_of_order(connection, input.file)
        return await _payments(info, legs, None, is_new=is_new)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Says of payments that should have come that they are overdue, of covered ones that they are done.",
    )
    async def follow_up_payments(self, info: Info[Context, None], input: FollowUpPaymentsInput) -> PaymentsResult:
        async def follow_up(connection: AsyncConnection, actor: str, at: datetime) -> list[paying.PaymentLeg]:
            return await paying.follow_up(connection, actor=actor, at=at)

        overdue, is_new = await once(info, "followUpPayments", input.idempotency_key, follow_up)
        return await _payments(info, overdue or [], None, is_new=is_new)

    @access.mutation(
        scopes=DECIDE, moves_points=False, description="Seals a run of which every payment is done, for ever."
    )
    async def seal_settlement_run(self, info: Info[Context, None], input: SealSettlementRunInput) -> FinanceResult:
        async def seal(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await paying.seal(connection, input.run, actor=actor, at=at)

        return await done(info, "sealSettlementRun", input.idempotency_key, seal, str(input.run))

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        takes_batch=True,
        cost=100,
        description="Takes what the bank sent, all of a file or nothing: statements (camt.053), notices (camt.054), a "
        "report on payments (pain.002). A larger one at the terminal.",
    )
    async def import_bank_file(self, info: Info[Context, None], input: ImportBankFileInput) -> ImportBankFileResult:
        who, services, at = person(info), info.context.services, await info.context.now()
        person_calls.require_fresh(who)
        asked = fingerprint(input.content).hex
        new: list[bool] = []

        async def keep(connection: AsyncConnection) -> None:
            key = input.idempotency_key
            new.append(await person_calls.is_new(connection, services.vault, who, "importBankFile", key, asked, at=at))

        taken = await bank_files.receive(
            services.database, io.BytesIO(input.content.encode()), actor=who.name, at=at, once=keep
        )  # fmt: skip
        return ImportBankFileSuccess(
            statements=[bank_statement_of(one) for one in taken if isinstance(one, Received)],
            notices=[bank_notice_of(one) for one in taken if isinstance(one, Noticed)],
            reports=[payment_report_of(one) for one in taken if isinstance(one, Reported)],
            replayed=not new[-1],
        )

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Proposes where a partner or the operator is paid from now on. Somebody else decides; another "
        "account than the first is used five days after that.",
    )
    async def propose_bank_account(self, info: Info[Context, None], input: ProposeBankAccountInput) -> ProposalResult:
        checked = accounts.account(input.holder, input.iban, input.bic)
        mandate = None if input.mandate is None else Mandate(input.mandate.number, input.mandate.signed_on)

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            code = input.partner
            party_id = OPERATOR if code is None else await onboarding.partner_id_of(connection, code)
            return await details.propose(
                connection, party_id, checked, currency=input.currency_code, maker=actor, at=at, mandate=mandate,
                creditor_id=input.creditor_id,
            )  # fmt: skip

        content = (
            input.partner or "", input.holder, checked.iban, input.bic or "", input.currency_code, str(mandate),
            input.creditor_id or "",
        )  # fmt: skip
        return await proposed(info, "proposeBankAccount", input.idempotency_key, propose, *content)

    @access.mutation(scopes=MAKE, moves_points=False, description="Says that money in suspense is for a payment.")
    async def identify_suspense(self, info: Info[Context, None], input: IdentifySuspenseInput) -> PaymentsResult:
        async def identify(connection: AsyncConnection, actor: str, at: datetime) -> None:
            await suspense.identify(connection, input.item, leg_id, actor=actor, at=at)

        leg_id = payment_number(info.context.services.vault, input.payment_id)
        return await _payment(info, "identifySuspense", input.idempotency_key, identify, leg_id, str(input.item))

    @access.mutation(
        scopes=MAKE, moves_points=False, description="Gives money in suspense to a partner by its next statement."
    )
    async def send_suspense(self, info: Info[Context, None], input: SendSuspenseInput) -> FinanceResult:
        async def send(connection: AsyncConnection, actor: str, at: datetime) -> None:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            await suspense.credit(connection, input.item, partner_id, actor=actor, at=at)

        content = (str(input.item), input.partner)
        return await done(info, "sendSuspense", input.idempotency_key, send, *content)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Proposes to keep money that is nobody's, or to bear what went out; somebody else decides.",
    )
    async def propose_keep_suspense(self, info: Info[Context, None], input: ProposeKeepSuspenseInput) -> ProposalResult:
        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            return await suspense.propose_keep(connection, input.item, cause=input.cause, actor=actor, at=at)

        content = (str(input.item), input.cause)
        return await proposed(info, "proposeKeepSuspense", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=MAKE,
        moves_points=False,
        description="Gives up the rest of a payment that came in part: at once within the month's budget, else "
        "somebody else decides.",
    )
    async def write_off_payment(self, info: Info[Context, None], input: WriteOffPaymentInput) -> PaymentsResult:
        async def write_off(connection: AsyncConnection, actor: str, at: datetime) -> int | None:
            return await suspense.write_off(connection, leg_id, cause=input.cause, actor=actor, at=at)

        leg_id = payment_number(info.context.services.vault, input.payment_id)
        return await _payment(info, "writeOffPayment", input.idempotency_key, write_off, leg_id, input.cause)


async def _payment(
    info: Info[Context, None], operation: str, key: str, do: Do[int | None], leg_id: int, *content: str
) -> PaymentsSuccess:
    proposal, is_new = await once(info, operation, key, do, str(leg_id), *content)
    async with info.context.services.database.reading() as connection:
        legs = list((await paying.legs(connection, [leg_id])).values())
    return await _payments(info, legs, proposal, is_new=is_new)


async def _payments(
    info: Info[Context, None], legs: list[paying.PaymentLeg], proposal: int | None, *, is_new: bool
) -> PaymentsSuccess:
    called = await names(info.context)
    shown = [payment_of(info.context.services.vault, leg, called) for leg in legs]
    return PaymentsSuccess(payments=shown, proposal=proposal, replayed=not is_new)
