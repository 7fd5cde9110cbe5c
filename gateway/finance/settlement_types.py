"""What GraphQL says of settlement beside statements: runs, windows, cut-offs, agreements, caps, deposits, proposals."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
import strawberry
from strawberry import Info

from gateway import access
from gateway.context import Context
from gateway.inputs import described
from gateway.scalars import CurrencyCode
from gateway.types import Money, money
from kit.amounts import Points
from kit.approvals import Approval
from ledger.cutoffs import Cutoff
from partners.agreements import drafts
from partners.agreements.agreements import Version
from partners.clearing import clearing
from settlement import archive, runs
from settlement.archive import RunHead
from settlement.documents.drawing import TaxRule
from settlement.exposure import defaults
from settlement.exposure.caps import Exposure
from settlement.exposure.deposits import Deposited
from settlement.statements import decimal_from_micro
from settlement.what_if import Difference
from settlement.windows.cycle import Window


@strawberry.type(description="One step of a settlement run: who moved it, why, when.")
class SettlementRunStep:
    state: str = described("The state that it came to.")
    actor: str = described("Who did it; `settlement` is the clock.")
    reason: str = described("Why.")
    at: datetime = described("Business instant.")


@strawberry.type(description="What was taken for a partner that did not pay for a run.")
class DefaultStep:
    partner: str = described("The partner's code.")
    number: int = described("In which order.")
    source: str = described("PREFUNDING, HOLDBACK, COLLATERAL, OPERATOR.")
    amount: Money = described("What the source gave.")
    at: datetime = described("Business instant.")


@strawberry.type(description="What the second engine said of a run before its statements went out.")
class ControlCertificate:
    status: str = described("NONE before the control, CLEAN behind it: a run that differs does not come further.")
    sha256: str | None = described("Hash of the certificate, as statements' packages name it.")
    controls: list[str] = described("The controls that held.")


@strawberry.type(description="A settlement run: one currency, from its draft to its seal.")
class SettlementRun:
    number: int = described("Its number, as reports and packages take it.")
    name: str = described("Its name, from its last window.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    state: str = described("DRAFT, CALCULATED, CONTROLLED, STATEMENTS_ISSUED, IN_REVIEW, APPROVED; more may appear.")
    actor: str = described("Who made it; `settlement` is the clock.")
    at: datetime = described("Business instant at which it was drafted.")
    opened_at: datetime | None = described("When its first cut-off opened; none where that was the very first.")
    cut_at: datetime = described("When its last cut-off was cut.")
    previous: int | None = described("Number of the run whose carry it opens with.")

    @access.field(cost=5, size=access.ListSize(assumed_size=12), description="How it got where it is.")
    async def steps(self, info: Info[Context, None]) -> list[SettlementRunStep]:
        async with info.context.services.database.reading() as connection:
            found = await archive.trail(connection, self.number)
        return [SettlementRunStep(state=s.to_state, actor=s.actor, reason=s.reason, at=s.at) for s in found]

    @access.field(cost=5, description="What the second engine said.")
    async def certificate(self, info: Info[Context, None]) -> ControlCertificate:
        async with info.context.services.database.reading() as connection:
            steps = await archive.trail(connection, self.number)
        kept = runs.certified(steps)
        evidence: Mapping[str, Any] = {} if kept is None else kept.evidence
        return ControlCertificate(
            status=runs.certificate_status(steps),
            sha256=evidence.get("certificate", {}).get("sha256"),
            controls=list(evidence.get("controls", [])),
        )

    @access.field(
        cost=5, size=access.ListSize(assumed_size=4), description="What was taken for partners that did not pay."
    )
    async def defaults(self, info: Info[Context, None]) -> list[DefaultStep]:
        async with info.context.services.database.reading() as connection:
            found = await defaults.steps(connection, self.number)
            names = await clearing.names(connection)
        return [
            DefaultStep(
                partner=names[s.partner_id].code, number=s.step_no, source=s.source,
                amount=money(s.amount_minor, s.currency), at=s.at,
            )
            for s in found
        ]  # fmt: skip


@strawberry.type(description="A cut-off in one currency, or what came late in it for an earlier one.")
class SettlementWindow:
    name: str = described("From the model, the currency and the minute at which its cut-off opened.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    state: str = described("OPEN, DRAINING, CUT, BALANCED, CLAIMED, SETTLED, BROKEN.")
    cutoff: int = described("Number of its cut-off.")
    late_for: int | None = described("Number of the cut-off that it came late for.")
    cut_at: datetime | None = described("When its cut-off was cut.")
    postings: int | None = described("Postings in it, once they were counted.")
    points: Points | None = described("Points moved in it, once they were counted.")
    run: int | None = described("Number of the run that moved it last.")


@strawberry.type(description="A cut-off: what was recorded from its opening to its cut.")
class SettlementCutoff:
    number: int = described("Its number.")
    state: str = described("OPEN, DRAINING, CUT.")
    opened_at: datetime | None = described("None of the very first.")
    cut_at: datetime | None = described("When it was cut.")
    entries: int | None = described("Journal entries in it, as counted at the cut.")
    postings: int | None = described("Postings in it.")
    points: Points | None = described("Points moved in it.")


@strawberry.type(description="A term as people write it.")
class AgreementTerm:
    name: str = described("Its name.")
    value: str = described("What it says: digits, a word, yes or no, none, or steps.")


@strawberry.type(description="How a term differs from the version before.")
class AgreementChange:
    name: str = described("The term.")
    before: str = described("What it said.")
    after: str = described("What it says.")


@strawberry.type(description="One version of what a partner and the operator signed. Never edited.")
class AgreementVersion:
    partner: str = described("The partner's code.")
    version: int = described("Its number at the partner.")
    state: str = described("PROPOSED, APPROVED, DECLINED. A partner sees what was approved.")
    valid_from: datetime = described("In force from here until the next approved version's.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    maker: str | None = described("Who proposed it; the programme's staff alone sees that.")
    checker: str | None = described("Who decided; the programme's staff alone sees that.")
    terms: list[AgreementTerm] = described("All it says.")
    changes: list[AgreementChange] = described("How it differs from the approved version before.")


@strawberry.type(description="Where a partner stands against its net debit cap, when it was last measured.")
class PartnerExposure:
    partner: str = described("The partner's code.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    owed: Decimal = described("What it owes and no run has settled.")
    pending: Decimal = described("What points that are out there will cost it.")
    withheld: Decimal = described("What of that waits until there is room, under PENDING_HOLD.")
    cover: Decimal = described("What it deposited and what is retained of it.")
    exposure: Decimal = described("What the operator would lose if it paid nothing any more.")
    cap: Decimal = described("The most that may be.")
    policy: str = described("ALERT, PENDING_HOLD, BLOCK.")
    limit_points: Points | None = described("How many more it may issue; none where it is not held to the cap.")


@strawberry.type(description="What a partner has to have deposited by its agreement, and what it has.")
class PartnerDeposit:
    partner: str = described("The partner's code.")
    currency_code: CurrencyCode = described("ISO 4217 code.")
    prefunding: Decimal = described("What it has to pay in advance.")
    collateral: Decimal = described("What it has to have as collateral.")
    deposited: Decimal = described("What it deposited.")
    missing: Decimal = described("What is missing.")
    retained: Decimal = described("What is retained of payments to it.")


@strawberry.type(description="What one of finance proposed and another decides.")
class FinanceProposal:
    number: int = described("Its number.")
    kind: str = described("PERIOD_LOCK, STOCK_TRANSFER, OPENING_BALANCES, TAX_RULE; more may appear.")
    subject: str = described("What it is about.")
    facts: list["ProposalFact"] = described("What whoever decides has to know.")
    maker: str = described("Who proposed it.")
    made_at: datetime = described("Business instant.")


@strawberry.type(description="Something that a proposal says.")
class ProposalFact:
    name: str = described("What it is called: cause, amount, iban; more may appear.")
    value: str = described("What it is, as people read it; what has parts as JSON.")


@strawberry.type(description="A day on which nobody works: reviews do not count it.")
class Holiday:
    day: date = described("The day.")
    name: str = described("What it is called.")


@strawberry.type(description="The version of a tax rule that holds now.")
class TaxRuleVersion:
    code: str = described("The rule, as agreements name it.")
    version: int = described("Its number.")
    rate_bp: int = described("Basis points.")
    rounding: str = described("LINE or DOCUMENT.")
    tax_code: str = described("What documents call it.")


@strawberry.type(description="A kind of line as it was and as other prices would have made it.")
class WhatIfDifference:
    kind: str = described("The kind of line; NET is the statement's.")
    base: Decimal = described("As it was.")
    scenario: Decimal = described("As it would have been.")
    delta: Decimal = described("What would have been more to the partner, or less.")


def run_of(head: RunHead) -> SettlementRun:
    """A run for GraphQL."""
    return SettlementRun(
        number=head.run_id, name=head.name, currency_code=CurrencyCode(head.currency), state=head.state,
        actor=head.actor, at=head.at, opened_at=head.opened_at, cut_at=head.cut_at, previous=head.previous_run_id,
    )  # fmt: skip


def window_of(one: Window) -> SettlementWindow:
    """A window for GraphQL."""
    return SettlementWindow(
        name=one.name, currency_code=CurrencyCode(one.currency), state=one.state, cutoff=one.cutoff_id,
        late_for=one.origin_cutoff if one.is_late else None, cut_at=one.cut_at, postings=one.postings,
        points=None if one.points is None else Points(one.points), run=one.run_id,
    )  # fmt: skip


def cutoff_of(one: Cutoff) -> SettlementCutoff:
    """A cut-off for GraphQL."""
    return SettlementCutoff(
        number=one.cutoff_id, state=one.state, opened_at=one.opened_at, cut_at=one.cut_at, entries=one.journal_count,
        postings=one.posting_count, points=None if one.posting_points is None else Points(one.posting_points),
    )  # fmt: skip


def agreement_of(code: str, one: Version, before: Version | None, *, is_staff: bool) -> AgreementVersion:
    """A version for GraphQL; before is the approved one that it follows."""
    draft = drafts.of_version(one)
    changes = [] if before is None else drafts.differences(before, one)
    return AgreementVersion(
        partner=code, version=one.terms.version, state=one.state, valid_from=one.terms.valid_from,
        currency_code=CurrencyCode(one.terms.currency), maker=one.maker if is_staff else None,
        checker=one.checker if is_staff else None,
        terms=[AgreementTerm(name=n, value=drafts.written(getattr(draft, n))) for n in drafts.NAMES],
        changes=[AgreementChange(name=c.name, before=c.before, after=c.after) for c in changes],
    )  # fmt: skip


def exposure_of(one: Exposure, code: str) -> PartnerExposure:
    """Where a partner stands, for GraphQL."""
    return PartnerExposure(
        partner=code, currency_code=CurrencyCode(one.currency), owed=decimal_from_micro(one.debit_micro),
        pending=decimal_from_micro(one.pending_micro), withheld=decimal_from_micro(one.withheld_micro),
        cover=decimal_from_micro(one.cover_micro), exposure=decimal_from_micro(one.exposure_micro),
        cap=decimal_from_micro(one.cap_micro), policy=one.policy,
        limit_points=None if one.limit_points is None else Points(one.limit_points),
    )  # fmt: skip


def deposit_of(one: Deposited, code: str) -> PartnerDeposit:
    """What a partner deposited, for GraphQL."""
    return PartnerDeposit(
        partner=code, currency_code=CurrencyCode(one.currency), prefunding=decimal_from_micro(one.prefunding_micro),
        collateral=decimal_from_micro(one.collateral_micro), deposited=decimal_from_micro(one.deposited_micro),
        missing=decimal_from_micro(one.missing_micro), retained=decimal_from_micro(one.retained_micro),
    )  # fmt: skip


def proposals_of(found: Sequence[Approval], makers: Sequence[str], called: Mapping[int, str]) -> list[FinanceProposal]:
    """Proposals for GraphQL; called is what partners are called, by number."""
    return [
        FinanceProposal(
            number=p.approval_id, kind=p.kind, subject=p.subject, maker=maker, made_at=p.made_at,
            facts=_facts(p.detail, called),
        )
        for p, maker in zip(found, makers, strict=True)
    ]  # fmt: skip


def _facts(detail: Mapping[str, Any], called: Mapping[int, str]) -> list[ProposalFact]:
    currency = detail.get("currency")
    made = []
    for name, value in detail.items():
        if name in ("partner", "party"):
            made.append(ProposalFact(name=name, value=called.get(value, str(value))))
        elif currency is not None and name.endswith("_minor"):
            said = f"{money(value, currency).amount} {currency}"
            made.append(ProposalFact(name=name.removesuffix("_minor"), value=said))
        elif currency is not None and name.endswith("_micro"):
            made.append(ProposalFact(name=name.removesuffix("_micro"), value=f"{decimal_from_micro(value)} {currency}"))
        elif isinstance(value, str | int) and not isinstance(value, bool):
            made.append(ProposalFact(name=name, value=str(value)))
        else:
            made.append(ProposalFact(name=name, value=orjson.dumps(value).decode()))
    return made


def tax_rule_of(rule: TaxRule) -> TaxRuleVersion:
    """A tax rule for GraphQL."""
    return TaxRuleVersion(
        code=rule.code, version=rule.version, rate_bp=rule.rate_bp, rounding=rule.rounding, tax_code=rule.tax_code
    )


def difference_of(one: Difference) -> WhatIfDifference:
    """A difference for GraphQL."""
    return WhatIfDifference(
        kind=one.kind, base=decimal_from_micro(one.base_micro), scenario=decimal_from_micro(one.scenario_micro),
        delta=decimal_from_micro(one.delta_micro),
    )  # fmt: skip
