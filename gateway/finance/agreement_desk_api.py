"""Agreements over GraphQL: one person of the programme's proposes a version, another signs or declines it."""

from dataclasses import replace
from datetime import datetime

import strawberry
from sqlalchemy.ext.asyncio import AsyncConnection
from strawberry import Info

from gateway import access, scopes
from gateway.context import Context
from gateway.finance.answers import FinanceResult, ProposalResult, done, proposed
from gateway.finance.calls import person
from gateway.inputs import KEY, described
from kit.errors import FieldProblem
from partners.agreements import agreements, drafts, onboarding
from partners.agreements.agreements import AgreementUnknown

_PARTNER = "Code of a partner."


@strawberry.input(description="A term that is to say something else.")
class TermInput:
    name: str = described("Its name, as `agreements` has it.")
    value: str = described("Written as `agreements` writes it.")


@strawberry.input(description="The next version of an agreement: the last approved one, but for some terms.")
class ProposeAgreementInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    valid_from: datetime = described("In force from here.")
    terms: list[TermInput] = described("What is to change.")


@strawberry.input(description="A version of an agreement that another proposed.")
class DecideAgreementInput:
    idempotency_key: str = described(KEY)
    partner: str = described(_PARTNER)
    version: int = described("Its number.")
    approved: bool = described("Whether it is signed.")


@strawberry.type
class AgreementMutation:
    @access.mutation(
        scopes=(scopes.AGREEMENTS_MAKE,),
        moves_points=False,
        description="Proposes the next version of a partner's agreement; what is not said stays as it is.",
    )
    async def propose_agreement(self, info: Info[Context, None], input: ProposeAgreementInput) -> ProposalResult:
        said = {one.name: one.value for one in input.terms}

        async def propose(connection: AsyncConnection, actor: str, at: datetime) -> int:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            signed = [v for v in await agreements.versions(connection, partner_id) if v.state == "APPROVED"]
            if not signed:
                problem = FieldProblem(("partner",), "UNKNOWN", "nothing is signed yet that could be followed")
                raise agreements.AgreementInvalid("the first version is proposed whole", problems=[problem])
            changed = drafts.changed(drafts.of_version(signed[-1]), said)
            draft = replace(changed, valid_from=input.valid_from)
            maker = person(info).number
            terms_id = await agreements.propose(connection, partner_id=partner_id, draft=draft, maker=maker, at=at)
            return next(
                v.terms.version
                for v in await agreements.versions(connection, partner_id)
                if v.terms.terms_id == terms_id
            )

        written = (f"{name}={value}" for name, value in sorted(said.items()))
        content = (input.partner, input.valid_from.isoformat(), *written)
        return await proposed(info, "proposeAgreement", input.idempotency_key, propose, *content)

    @access.mutation(
        scopes=(scopes.AGREEMENTS_DECIDE,),
        moves_points=False,
        description="Signs a version of an agreement that another proposed, or declines it.",
    )
    async def decide_agreement(self, info: Info[Context, None], input: DecideAgreementInput) -> FinanceResult:
        async def decide(connection: AsyncConnection, actor: str, at: datetime) -> None:
            partner_id = await onboarding.partner_id_of(connection, input.partner)
            found = await version_of(connection, partner_id, input.version)
            act = agreements.approve if input.approved else agreements.decline
            await act(connection, found.terms.terms_id, checker=person(info).number, at=at)

        content = (input.partner, str(input.version), str(input.approved))
        return await done(info, "decideAgreement", input.idempotency_key, decide, *content)


async def version_of(connection: AsyncConnection, partner_id: int, version: int) -> agreements.Version:
    """A version of a partner's agreement by its number. Rejects AGREEMENT_UNKNOWN."""
    found = await agreements.versions(connection, partner_id)
    its = next((one for one in found if one.terms.version == version), None)
    if its is None:
        raise AgreementUnknown(f"the partner's agreement has no version {version}")
    return its
