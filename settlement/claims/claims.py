"""Claims to missing points: a member shows a receipt, its partner answers on the business clock, or its silence does.

Nothing here moves points. A claim that is accepted is credited by `crediting`: the receipt is recorded late, in the
ordinary way, so that the partner is billed for it by its next statement, and once, so that the late original earns
nothing beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.errors import FieldProblem, Rejection
from kit.secrets import Vault
from members import identification, sharing, standings
from members.identification import Identified, MemberRef
from partners import callers
from partners.agreements import onboarding, programme, roles
from partners.agreements.onboarding import OutletUnknown, TerminalUnknown
from partners.directory import Directory
from partners.purchases import late_receipts
from partners.receipts.receipts import LARGEST_AMOUNT_MINOR, LONGEST_REFERENCE, ReceiptRef
from settlement import calendars
from settlement.claims import claim_store, claiming
from settlement.claims.claiming import ClaimRule
from settlement.reconciliation import register

APPROVAL: Final = "CLAIM"
PROGRAMME: Final = 0
MONTH = timedelta(days=30)
_NEAR = timedelta(days=10_000)
"""Days farther away are slips that no calendar counts with."""
LONGEST_PLACE = 120
LONGEST_NOTE = 500


class ClaimInvalid(Rejection):
    """What is said of the purchase cannot be; `problems` names every part."""

    code = "CLAIM_INVALID"
    retryable = False


class ClaimDuplicate(Rejection):
    """The receipt was claimed before."""

    code = "CLAIM_DUPLICATE"
    retryable = False


class ClaimReceiptRecorded(Rejection):
    """The receipt is recorded for this member; the message tells when it came and how many points it gave."""

    code = "CLAIM_RECEIPT_RECORDED"
    retryable = False


class ClaimReceiptElsewhere(Rejection):
    """The receipt is recorded for another card, or was cancelled."""

    code = "CLAIM_RECEIPT_ELSEWHERE"
    retryable = False


class ClaimLimitReached(Rejection):
    """The member made as many claims in thirty days as one may."""

    code = "CLAIM_LIMIT_REACHED"
    retryable = True


class ClaimUnknown(Rejection):
    """There is no such claim, or it is another's."""

    code = "CLAIM_UNKNOWN"
    retryable = False


class ClaimState(Rejection):
    """The claim is where this cannot be done: it is answered, its time is over, or it was contested before."""

    code = "CLAIM_STATE"
    retryable = False


class ClaimRuleInvalid(Rejection):
    """A rule for claims whose numbers make no sense together."""

    code = "CLAIM_RULE_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture or file that speaks for a side, which keeps it: what it is, its size, its SHA-256."""

    media_type: str
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a side showed of a claim, and when."""

    side: str
    media_type: str
    size_bytes: int
    sha256: bytes
    at: datetime


@dataclass(frozen=True, slots=True)
class ClaimDraft:
    """A purchase as a member tells it: total in minor units of the partner's currency; the outlet by its code, or the
    place in words. occurred_at None: noon of the day."""

    partner_id: int
    business_date: date
    reference: str
    total_minor: int
    currency: str
    outlet: str | None = None
    place: str | None = None
    terminal: str | None = None
    occurred_at: datetime | None = None
    shown: tuple[Shown, ...] = ()


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase as its partner has it, where that is not what the member told; total in minor units. None: as told."""

    total_minor: int | None = None
    outlet: str | None = None
    terminal: str | None = None
    reference: str | None = None


AS_TOLD = Purchase()


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim and where it stands. deadline: until when somebody has to say something, None where nobody has. refusal,
    contest and note are the reasons that were given; holder_id, seq and points what it gave."""

    claim_id: int
    member_id: int
    partner_id: int
    outlet: str | None
    place: str | None
    terminal: str | None
    business_date: date
    occurred_at: datetime
    reference: str
    currency: str
    total_minor: int
    contest_days: int
    decision_days: int
    silence_most_minor: int
    at: datetime
    step_no: int
    state: str
    side: str
    deadline: datetime | None
    state_at: datetime
    answered_minor: int | None
    answered_outlet: str | None
    answered_terminal: str | None
    answered_reference: str | None
    refusal: str | None
    contest: str | None
    points: int | None
    holder_id: int | None
    seq: int | None
    note: str | None

    @property
    def purchase(self) -> Purchase:
        """What is to be credited: as the partner has it, else as the member told. An outlet that the partner named
        stands with its own terminal, or none."""
        outlet, terminal = self.outlet, self.terminal
        if self.answered_outlet is not None:
            outlet, terminal = self.answered_outlet, self.answered_terminal
        elif self.answered_terminal is not None:
            terminal = self.answered_terminal
        return Purchase(self.answered_minor or self.total_minor, outlet, terminal,
                        self.answered_reference or self.reference)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Untold:
    """Something that became of a claim and that its member has not been told: the state, what it gave, until when a
    refusal can be contested."""

    claim_id: int
    step_no: int
    to_state: str
    points: int | None
    reason: str | None
    deadline: datetime | None
    member_id: int
    partner_id: int
    business_date: date


# --- What the member does -------------------------------------------------------------------------------------


async def file(
    connection: AsyncConnection, vault: Vault, directory: Directory, draft: ClaimDraft, *, member_id: int, at: datetime
) -> Claim:
    """Claim that a purchase's points are missing, on behalf of the member; its partner is asked from now on.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON, PARTNER_UNKNOWN, CLAIM_INVALID, OUTLET_UNKNOWN,
    TERMINAL_UNKNOWN, AGREEMENT_MISSING, PARTNER_DOES_NOT_ISSUE, CLAIM_BEFORE_ENROLMENT, CLAIM_TOO_EARLY,
    CLAIM_TOO_LATE, CLAIM_DUPLICATE, CLAIM_RECEIPT_RECORDED, CLAIM_RECEIPT_ELSEWHERE, CLAIM_LIMIT_REACHED.
    """
    who = (await sharing.person(connection, member_id)).member_id
    if directory.partner(draft.partner_id) is None:
        raise onboarding.PartnerUnknown("there is no such partner")
    rule = await rule_of(connection, draft.partner_id)
    zone = ZoneInfo(directory.programme.time_zone)
    if not abs(draft.business_date - at.date()) < _NEAR:
        raise _invalid("businessDate", "INVALID", "the day of the receipt")
    occurred_at = draft.occurred_at or datetime.combine(draft.business_date, time(12), zone).astimezone(at.tzinfo)
    _check(directory, draft, occurred_at, at, zone)
    terms = callers.terms_at(directory, draft.partner_id, occurred_at)
    roles.require_issuer(terms)
    if draft.currency != terms.currency:
        problem = FieldProblem(("total",), "CURRENCY", f"the partner's receipts are in {terms.currency}")
        raise ClaimInvalid("the receipt cannot be this partner's", problems=[problem])
    enrolled_on = (await standings.enrolled_at(connection, who)).astimezone(zone).date()
    today = at.astimezone(zone).date()
    claiming.check_day(draft.business_date, today=today, enrolled_on=enrolled_on, rule=rule)
    await claim_store.lock_member(connection, who)
    await claim_store.lock_receipt(connection, draft.partner_id, draft.business_date, draft.reference)
    await _check_new(connection, draft, who)
    await _check_missing(connection, vault, directory, draft, who, at)
    if await claim_store.filed_since(connection, who, at - MONTH) >= rule.most_per_month:
        raise ClaimLimitReached(f"a member makes {rule.most_per_month} claims in thirty days")
    claim_id = await claim_store.insert(
        connection,
        {
            "member_id": who, "partner_id": draft.partner_id, "outlet": draft.outlet, "place": draft.place,
            "terminal": draft.terminal, "business_date": draft.business_date, "occurred_at": occurred_at,
            "reference": draft.reference, "currency": draft.currency, "total_minor": draft.total_minor,
            "contest_days": rule.contest_days, "decision_days": rule.decision_days,
            "silence_most_minor": rule.silence_most_minor, "at": at,
            "deadline": await _working_days(connection, rule.answer_days, at, zone.key),
        },
    )  # fmt: skip
    await _show(connection, claim_id, claiming.MEMBER, draft.shown, "member", at)
    detail = {"partner": draft.partner_id, "total_minor": draft.total_minor, "currency": draft.currency}
    await _note(connection, "CLAIM_FILED", claim_id, detail, "member", at)
    return await read(connection, claim_id)


async def contest(
    connection: AsyncConnection, claim_id: int, *, member_id: int, reason: str, at: datetime,
    shown: Sequence[Shown] = (),
) -> Claim:  # fmt: skip
    """Have the operator decide what the partner refused, once, on behalf of the member.

    Rejects MEMBER_UNKNOWN, MEMBER_CLOSED, NOT_A_PERSON, CLAIM_UNKNOWN, CLAIM_STATE, CLAIM_INVALID.
    """
    who = (await sharing.person(connection, member_id)).member_id
    its = await _in_time(connection, claim_id, claiming.REFUSED, at, member_id=who)
    if reason not in claiming.CONTESTS or reason == claiming.TOO_MUCH_FOR_SILENCE:
        raise _invalid("reason", "UNKNOWN", "one of C01, C02, C03")
    _check_shown(shown)
    await _show(connection, claim_id, claiming.MEMBER, shown, "member", at)
    deadline = await _working_days(connection, its.decision_days, at)
    return await move(connection, its, claiming.CONTESTED, side=claiming.MEMBER, actor="member", at=at,
                      reason=reason, deadline=deadline)  # fmt: skip


# --- What the partner does ------------------------------------------------------------------------------------


async def accept(
    connection: AsyncConnection, directory: Directory, claim_id: int, *, partner_id: int, actor: str, at: datetime,
    purchase: Purchase = AS_TOLD,
) -> Claim:  # fmt: skip
    """Accept a claim on behalf of its partner, as the member told it or as the partner has it.

    Rejects CLAIM_UNKNOWN, CLAIM_STATE, CLAIM_INVALID, OUTLET_UNKNOWN, TERMINAL_UNKNOWN.
    """
    its = await _in_time(connection, claim_id, claiming.FILED, at, partner_id=partner_id)
    _check_purchase(purchase)
    outlet = purchase.outlet or its.outlet
    if outlet is None:
        raise _invalid("outlet", "MISSING", "the member told the place in words: say which outlet it is")
    _check_place(directory, partner_id, outlet, purchase.terminal)
    return await move(connection, its, claiming.ACCEPTED, side=claiming.PARTNER, actor=actor, at=at, **asdict(purchase))


async def refuse(
    connection: AsyncConnection, claim_id: int, *, partner_id: int, reason: str, actor: str, at: datetime,
    note: str | None = None, shown: Sequence[Shown] = (),
) -> Claim:  # fmt: skip
    """Refuse a claim on behalf of its partner; the member may contest it for some days.

    Rejects CLAIM_UNKNOWN, CLAIM_STATE, CLAIM_INVALID.
    """
    its = await _in_time(connection, claim_id, claiming.FILED, at, partner_id=partner_id)
    if reason not in claiming.REFUSALS:
        raise _invalid("reason", "UNKNOWN", f"one of {', '.join(claiming.REFUSALS)}")
    if note is not None and not 1 <= len(note) <= LONGEST_NOTE:
        raise _invalid("note", "LENGTH", f"1 to {LONGEST_NOTE} characters")
    _check_shown(shown)
    await _show(connection, claim_id, claiming.PARTNER, shown, actor, at)
    deadline = at + timedelta(days=its.contest_days)
    return await move(connection, its, claiming.REFUSED, side=claiming.PARTNER, actor=actor, at=at, reason=reason,
                      note=note, deadline=deadline)  # fmt: skip


# --- What the operator does -----------------------------------------------------------------------------------


async def propose(
    connection: AsyncConnection, claim_id: int, *, upheld: bool, cause: str, actor: str, at: datetime
) -> int:
    """Propose what becomes of a contested claim, on behalf of a FINANCE_MAKER; the proposal's number.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, CAUSE_MISSING, CLAIM_INVALID, CLAIM_UNKNOWN, CLAIM_STATE.
    """
    maker = await register.permit(connection, actor, actors.FINANCE_MAKER)
    register.check_cause(cause)
    if len(cause) > LONGEST_NOTE:
        raise _invalid("cause", "LENGTH", f"1 to {LONGEST_NOTE} characters")
    its = await lock(connection, claim_id)
    if its.state != claiming.CONTESTED:
        raise ClaimState(f"claim {claim_id} is {its.state}")
    detail = {"claim": claim_id, "upheld": upheld, "cause": cause}
    return await approvals.propose(
        connection, kind=APPROVAL, subject=f"claim:{claim_id}", detail=detail, maker=maker, at=at
    )


async def decide(
    connection: AsyncConnection, proposal: Approval, *, checker: int, approved: bool, at: datetime
) -> None:
    """Decide what another proposed about a contested claim, on behalf of a FINANCE_CHECKER; a proposal that is declined
    leaves the claim contested.

    Rejects what kit.approvals.decide rejects, CLAIM_STATE.
    """
    await approvals.decide(
        connection, proposal.approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    its = await lock(connection, proposal.detail["claim"])
    actor, _ = await actors.standing(connection, checker)
    if not approved:
        await _note(connection, "CLAIM_PROPOSAL_DECLINED", its.claim_id, {"of": proposal.approval_id}, actor, at)
        return
    if its.state != claiming.CONTESTED:
        raise ClaimState(f"claim {its.claim_id} is {its.state}")
    wanted = claiming.UPHELD if proposal.detail["upheld"] else claiming.DISMISSED
    await move(connection, its, wanted, side=claiming.OPERATOR, actor=actor, at=at, note=proposal.detail["cause"],
               approval_id=proposal.approval_id)  # fmt: skip


async def change_rule(
    connection: AsyncConnection, partner_id: int, rule: ClaimRule, *, actor: str, at: datetime
) -> None:
    """Say how claims to points at a partner are taken from now on, on behalf of a FINANCE_CHECKER; partner 0: at all
    that have no rule of their own. Claims that came before keep theirs.

    Rejects ACTOR_UNKNOWN, NOT_PERMITTED, CLAIM_RULE_INVALID.
    """
    await register.permit(connection, actor, actors.FINANCE_CHECKER)
    if not rule.is_possible:
        raise ClaimRuleInvalid("days and counts from 1 to 366, the latest day not before the earliest")
    said = asdict(rule)
    await claim_store.insert_rule(connection, {"partner_id": partner_id, **said, "actor": actor, "at": at})
    await audit.write(
        connection, actor=actor, action="CLAIM_RULE_CHANGED", subject=f"partner:{partner_id}", detail=said, at=at
    )


# --- What time does -------------------------------------------------------------------------------------------


async def overdue(connection: AsyncConnection, *, at: datetime) -> list[int]:
    """Numbers of claims in which somebody was silent for too long by an instant."""
    return await claim_store.overdue(connection, at)


async def let_silence_decide(connection: AsyncConnection, claim_id: int, *, at: datetime) -> Claim | None:
    """What the silence in a claim means; None where nobody was silent, or the operator is waited for all the same."""
    its = await lock(connection, claim_id)
    if its.deadline is None or at < its.deadline:
        return None
    total, most = its.total_minor, its.silence_most_minor
    wanted = claiming.on_silence(its.state, total_minor=total, silence_most_minor=most)
    if wanted is None:
        return None
    more: dict[str, Any] = {}
    if wanted == claiming.CONTESTED:
        deadline = await _working_days(connection, its.decision_days, at)
        more = {"reason": claiming.TOO_MUCH_FOR_SILENCE, "deadline": deadline}
    return await move(connection, its, wanted, side=claiming.SILENCE, actor="claims", at=at, **more)


# --- Reading --------------------------------------------------------------------------------------------------


async def read(
    connection: AsyncConnection, claim_id: int, *, partner_id: int | None = None, member_id: int | None = None
) -> Claim:
    """One claim; partner_id or member_id is whose it has to be, None may see every one. Rejects CLAIM_UNKNOWN."""
    row = await claim_store.one(connection, claim_id)
    is_theirs = row is not None and partner_id in (None, row.partner_id) and member_id in (None, row.member_id)
    if row is None or not is_theirs:
        raise ClaimUnknown("there is no such claim")
    return claim_of(row)


async def late(connection: AsyncConnection, *, at: datetime) -> list[Claim]:
    """Claims that somebody of the operator should look at: contested and not decided in time, or accepted a day ago and
    not given yet."""
    found = await page(connection, states=(claiming.CONTESTED, *claiming.TO_CREDIT))
    return [one for one in found if (one.deadline or one.state_at + timedelta(days=1)) <= at]


async def untold(connection: AsyncConnection, *, limit: int = 200) -> list[Untold]:
    """What members have not been told of their claims, by claim: of how one ended, or that it was refused."""
    return [Untold(**row._mapping) for row in await claim_store.untold(connection, limit)]


async def mark_told(connection: AsyncConnection, news: Untold, *, message_id: UUID | None, at: datetime) -> bool:
    """That the member was told, by a message or, where none can be sent, by the app alone; False where another has told
    it meanwhile."""
    return await claim_store.insert_letter(connection, news.claim_id, news.step_no, message_id, at)


async def numbers(connection: AsyncConnection, states: Sequence[str], *, since: datetime | None = None) -> list[int]:
    """Numbers of claims that are in states, since an instant at the earliest, in order."""
    return await claim_store.numbers(connection, states, since)


async def lock(connection: AsyncConnection, claim_id: int) -> Claim:
    """A claim that nobody else moves until the transaction ends. Rejects CLAIM_UNKNOWN."""
    await claim_store.lock_claim(connection, claim_id)
    return await read(connection, claim_id)


async def page(
    connection: AsyncConnection, *, member_id: int | None = None, partner_id: int | None = None,
    states: Sequence[str] | None = None, after: int = 0, before: int | None = None, limit: int = 1_000,
) -> list[Claim]:  # fmt: skip
    """Claims behind a number, in order, or before one, the latest first: of a member, of a partner, in states."""
    rows = await claim_store.page(
        connection, member_id=member_id, partner_id=partner_id, states=states, after=after, before=before, limit=limit
    )
    return [claim_of(row) for row in rows]


async def evidence(connection: AsyncConnection, claim_ids: Sequence[int]) -> dict[int, list[Evidence]]:
    """What was shown of claims, by claim, in order."""
    found: dict[int, list[Evidence]] = {number: [] for number in claim_ids}
    for row in await claim_store.evidence_of(connection, claim_ids):
        shown = Evidence(row.side, row.media_type, row.size_bytes, bytes(row.sha256), row.at)
        found[row.claim_id].append(shown)
    return found


async def rule_of(connection: AsyncConnection, partner_id: int) -> ClaimRule:
    """How claims to points at a partner are taken."""
    row = await claim_store.rule(connection, partner_id)
    return ClaimRule() if row is None else ClaimRule(**row._mapping)


def claim_of(row: Row[Any]) -> Claim:
    """A claim of its row."""
    return Claim(**{one.name: row._mapping[one.name] for one in fields(Claim)})


# --- What it is made of ---------------------------------------------------------------------------------------


async def move(
    connection: AsyncConnection, its: Claim, wanted: str, *, side: str, actor: str, at: datetime, **more: Any
) -> Claim:
    """Bring a claim, which the caller has locked and looked at, to another state. For this package."""
    begun = {"claim_id": its.claim_id, "from_state": its.state, "to_state": wanted}
    await claim_store.insert_step(connection, {**begun, "side": side, "actor": actor, "at": at, **more})
    detail = {"was": its.state, "side": side} | {name: more[name] for name in ("reason", "points") if name in more}
    await _note(connection, f"CLAIM_{wanted}", its.claim_id, detail, actor, at)
    return await read(connection, its.claim_id)


async def recognised(connection: AsyncConnection, vault: Vault, member_id: int, *, at: datetime) -> Identified:
    """Where a claimant's points go. Rejects MEMBER_UNKNOWN, MEMBER_CLOSED."""
    return await identification.identify(
        connection, vault, MemberRef(id=member_id), partner_id=PROGRAMME, terminal_id=None, at=at
    )


async def _in_time(
    connection: AsyncConnection, claim_id: int, wanted: str, at: datetime, *, partner_id: int | None = None,
    member_id: int | None = None,
) -> Claim:  # fmt: skip
    await claim_store.lock_claim(connection, claim_id)
    its = await read(connection, claim_id, partner_id=partner_id, member_id=member_id)
    if its.state != wanted:
        raise ClaimState(f"the claim is {its.state}")
    if its.deadline is None or at >= its.deadline:
        raise ClaimState("its time is over: silence decides")
    return its


async def _check_new(connection: AsyncConnection, draft: ClaimDraft, member_id: int) -> None:
    earlier = await claim_store.others(
        connection, partner_id=draft.partner_id, day=draft.business_date, reference=draft.reference,
        outlet=draft.outlet,
    )  # fmt: skip
    over = (claiming.DISMISSED, claiming.CLOSED)
    if any(one.member_id == member_id or one.state not in over for one in earlier):
        raise ClaimDuplicate("the receipt was claimed before")


async def _check_missing(
    connection: AsyncConnection, vault: Vault, directory: Directory, draft: ClaimDraft, member_id: int, at: datetime
) -> None:
    holder_id = (await recognised(connection, vault, member_id, at=at)).member_id
    own = await late_receipts.of_holder(
        connection, {member_id, holder_id}, partner_id=draft.partner_id, day=draft.business_date,
        reference=draft.reference,
    )  # fmt: skip
    purchase = Purchase(draft.total_minor, draft.outlet, draft.terminal, draft.reference)
    if same := next((one for one in own if is_the_receipt(draft.partner_id, purchase, one, directory)), None):
        came = f" on {same.at:%Y-%m-%d}" if same.at else ""
        raise ClaimReceiptRecorded(f"the receipt came{came} and gave {same.awarded} points")
    if draft.outlet is None:
        return
    ref = ReceiptRef(draft.outlet, draft.terminal, draft.business_date, draft.reference)
    found = await late_receipts.seen(connection, directory, draft.partner_id, ref, total_minor=draft.total_minor)
    if found is not None:
        raise ClaimReceiptElsewhere("the receipt is recorded for another card, or was cancelled")


def is_the_receipt(partner_id: int, claimed: Purchase, one: late_receipts.Seen, directory: Directory) -> bool:
    """Whether a purchase of the claimant's, of the day and reference that is claimed, is what is claimed. Tills may
    count their receipts each for itself: what is of another till, or of another outlet, is another purchase, unless it
    is of the same total."""
    if one.total == claimed.total_minor:
        return True
    place = None if claimed.outlet is None else directory.outlet(partner_id, claimed.outlet)
    if place is not None and one.outlet_id is not None and place.outlet_id != one.outlet_id:
        return False
    its = None if one.terminal_id is None else directory.terminal_by_id(one.terminal_id)
    return claimed.terminal is None or its is None or its.code == claimed.terminal


def _check(directory: Directory, draft: ClaimDraft, occurred_at: datetime, at: datetime, zone: ZoneInfo) -> None:
    found = []
    if not 1 <= len(draft.reference) <= LONGEST_REFERENCE or draft.reference != draft.reference.strip():
        found.append(FieldProblem(("reference",), "LENGTH", f"1 to {LONGEST_REFERENCE} characters, no space around"))
    if not 0 < draft.total_minor <= LARGEST_AMOUNT_MINOR:
        found.append(FieldProblem(("total",), "OUT_OF_RANGE", "above zero, and no more than any receipt may be"))
    if (draft.outlet is None) == (draft.place is None):
        found.append(FieldProblem(("outlet",), "MISSING", "either the outlet's code or the place in words"))
    if draft.place is not None and not 1 <= len(draft.place.strip()) <= len(draft.place) <= LONGEST_PLACE:
        found.append(FieldProblem(("place",), "LENGTH", f"1 to {LONGEST_PLACE} characters"))
    if draft.terminal is not None and draft.outlet is None:
        found.append(FieldProblem(("terminal",), "INVALID", "a terminal is one of an outlet"))
    if draft.occurred_at is not None and not _is_around(draft.occurred_at.astimezone(zone).date(), draft.business_date):
        found.append(FieldProblem(("occurredAt",), "INVALID", "on the business day, or the night after it"))
    found += _shown_problems(draft.shown)
    if not directory.outlets(draft.partner_id):
        found.append(FieldProblem(("partner",), "INVALID", "the partner has no place of sale"))
    if found:
        raise ClaimInvalid("the claim cannot be taken so", problems=found)
    if draft.outlet is not None:
        _check_place(directory, draft.partner_id, draft.outlet, draft.terminal)


def _is_around(bought_on: date, day: date) -> bool:
    return timedelta(0) <= bought_on - day <= timedelta(days=1)


def _check_place(directory: Directory, partner_id: int, outlet: str, terminal: str | None) -> None:
    found = directory.outlet(partner_id, outlet)
    if found is None:
        raise OutletUnknown("the partner has no such outlet")
    if terminal is not None and directory.terminal(found.outlet_id, terminal) is None:
        raise TerminalUnknown("the outlet has no such terminal")


def _check_purchase(purchase: Purchase) -> None:
    if purchase.total_minor is not None and not 0 < purchase.total_minor <= LARGEST_AMOUNT_MINOR:
        raise _invalid("total", "OUT_OF_RANGE", "above zero, and no more than any receipt may be")
    if purchase.reference is not None and not 1 <= len(purchase.reference) <= LONGEST_REFERENCE:
        raise _invalid("reference", "LENGTH", f"1 to {LONGEST_REFERENCE} characters")


def _check_shown(shown: Sequence[Shown]) -> None:
    if found := _shown_problems(shown):
        raise ClaimInvalid("the evidence cannot be taken so", problems=found)


def _shown_problems(shown: Sequence[Shown]) -> list[FieldProblem]:
    found = []
    if len(shown) > claiming.MOST_EVIDENCE:
        found.append(FieldProblem(("evidence",), "TOO_MANY", f"at most {claiming.MOST_EVIDENCE}"))
    for place, one in enumerate(shown):
        if one.media_type not in claiming.MEDIA_TYPES or len(one.sha256) != 32:
            message = f"a SHA-256 of one of {', '.join(claiming.MEDIA_TYPES)}"
            found.append(FieldProblem(("evidence", str(place)), "INVALID", message))
        if not 1 <= one.size_bytes <= claiming.LARGEST_EVIDENCE_BYTES:
            message = f"1 to {claiming.LARGEST_EVIDENCE_BYTES} bytes"
            found.append(FieldProblem(("evidence", str(place), "sizeBytes"), "TOO_LARGE", message))
    return found


def _invalid(field: str, code: str, message: str) -> ClaimInvalid:
    return ClaimInvalid(message, problems=[FieldProblem((field,), code, message)])


async def _show(
    connection: AsyncConnection, claim_id: int, side: str, shown: Sequence[Shown], actor: str, at: datetime
) -> None:
    for one in shown:
        row = {"claim_id": claim_id, "side": side, "actor": actor, "at": at, **asdict(one)}
        await claim_store.insert_evidence(connection, row)


async def _working_days(connection: AsyncConnection, days: int, at: datetime, zone: str | None = None) -> datetime:
    known = zone or (await programme.read(connection)).time_zone
    return calendars.review_end(at, days, zone=known, holidays=await register.holidays(connection))


async def _note(
    connection: AsyncConnection, action: str, claim_id: int, detail: dict[str, object], actor: str, at: datetime
) -> None:
    await audit.write(connection, actor=actor, action=action, subject=f"claim:{claim_id}", detail=detail, at=at)
