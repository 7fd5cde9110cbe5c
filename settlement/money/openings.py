"""Opening balances from before the programme came here: a whole file proposed by one person and approved by another.

What can be counted here afterwards may not be told: the obligation follows the lots, claims their debts, positions what
runs settle, estimates their model. Their balances come with the points; the file says how many there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256

from sqlalchemy.ext.asyncio import AsyncConnection

from kit import actors, approvals, audit
from kit.approvals import Approval
from kit.errors import FieldProblem, Rejection
from partners.agreements import programme
from partners.clearing import clearing
from partners.terms import OPERATOR
from settlement.money import accounts, entries, journal, opening_files, stock, stock_store, store
from settlement.money.entries import Entry, Posting
from settlement.money.opening_files import BALANCE, OPERATOR_CODE, STOCK, OpeningLine
from settlement.money.stock import Opening

KIND = "OPENING_BALANCES"
ENTRY = "OPENING_BALANCE"
ALLOWED = frozenset({
    accounts.BANK, accounts.SETTLEMENT_BANK, accounts.TRUST, accounts.DEPOSITS_CASH, accounts.INPUT_TAX,
    accounts.SERVICE_DEFERRED, accounts.DEPOSITS, accounts.HOLDBACK, accounts.SUBSCRIPTION_DEFERRED,
    accounts.BENEFIT_POOL, accounts.OUTPUT_TAX, accounts.SUSPENSE,
})  # fmt: skip
"""Accounts whose balance nothing else here could tell."""


class OpeningInvalid(Rejection):
    """The file cannot be brought in like this; `problems` names lines and fields. Nothing of it was."""

    code = "OPENING_INVALID"
    retryable = False


@dataclass(frozen=True, slots=True)
class _Known:
    """What lines are looked up in: partners by code, their versions, currencies by version's number, currencies."""

    parties: Mapping[str, int]
    versions: Mapping[tuple[int, int], int]
    currency_of: Mapping[int, str]
    currencies: frozenset[str]


async def propose(connection: AsyncConnection, content: bytes, *, is_json: bool, maker: str, at: datetime) -> int:
    """Propose a file of opening balances on behalf of a FINANCE_MAKER; returns the proposal's number.

    The same bytes again answer the number of the proposal that stands, whoever made it. Rejects ACTOR_UNKNOWN,
    NOT_PERMITTED, OPENING_INVALID.
    """
    maker_id = await actors.by_name(connection, maker)
    await actors.require_role(connection, maker_id, actors.FINANCE_MAKER)
    await store.lock_books(connection)
    digest = sha256(content).hexdigest()
    standing = await approvals.standing(connection, KIND, _subject(digest))
    if standing is not None:
        return standing
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        problem = FieldProblem(("file",), "INVALID", "text in UTF-8")
        raise OpeningInvalid("the file cannot be read", problems=[problem]) from None
    lines, problems = opening_files.read(text, is_json=is_json)
    openings, posted, more = await _checked(connection, lines)
    if problems := [*problems, *more]:
        raise OpeningInvalid(f"{len(problems)} things are wrong with the file", problems=problems)
    detail = {"sha256": digest, "lines": [asdict(one) for one in lines]}
    approval_id = await approvals.propose(
        connection, kind=KIND, subject=_subject(digest), detail=detail, maker=maker_id, at=at
    )
    said = {"openings": len(openings), "balances": len(posted)}
    await audit.write(
        connection, actor=maker, action=f"{KIND}_PROPOSED", subject=f"approval:{approval_id}", detail=said, at=at
    )
    return approval_id


async def decide(
    connection: AsyncConnection, approval: Approval, *, checker: int, approved: bool, at: datetime
) -> None:
    """Bring in what was proposed or decline to, on behalf of a FINANCE_CHECKER: all of it, or nothing.

    Rejects NOT_PERMITTED, FOUR_EYES_REQUIRED, ROLE_SELF_GRANTED, ALREADY_DECIDED, OPENING_INVALID, PERIOD_LOCKED.
    """
    await approvals.decide(
        connection, approval.approval_id, checker=checker, role=actors.FINANCE_CHECKER, approved=approved, at=at
    )
    name, _ = await actors.standing(connection, checker)
    action = f"{KIND}_{'APPROVED' if approved else 'DECLINED'}"
    if approved:
        await store.lock_books(connection)
        lines = [OpeningLine(**one) for one in approval.detail["lines"]]
        openings, posted, problems = await _checked(connection, lines)
        if problems:
            raise OpeningInvalid("this cannot be brought in any more", problems=problems)
        for one in openings:
            await stock_store.insert_opening(
                connection, approval_id=approval.approval_id, funder_id=one.funder_id, terms_id=one.terms_id,
                points=one.points,
            )  # fmt: skip
        if posted:
            source = f"opening:{approval.detail['sha256']}"
            await journal.post(connection, source=source, entries=posted, at=at, actor=name)
    await audit.write(
        connection, actor=name, action=action, subject=f"approval:{approval.approval_id}",
        detail={"sha256": approval.detail["sha256"]}, at=at,
    )  # fmt: skip


def _subject(digest: str) -> str:
    return f"opening balances {digest}"


async def _checked(
    connection: AsyncConnection, lines: Sequence[OpeningLine]
) -> tuple[list[Opening], list[Entry], list[FieldProblem]]:
    """What lines bring in, and what keeps them from it here."""
    known = await _known(connection)
    openings: list[Opening] = []
    posted: list[Entry] = []
    problems: list[FieldProblem] = []
    numbers: dict[int, OpeningLine] = {}
    for one in lines:
        party_id = OPERATOR if one.party in ("", OPERATOR_CODE) else known.parties.get(one.party)
        if party_id is None:
            problems.append(_problem(one, "party", "UNKNOWN", "there is no such partner"))
            continue
        terms_id = known.versions.get((party_id, one.version), 0)
        if one.version and not terms_id:
            problems.append(_problem(one, "version", "UNKNOWN", "the party signed no such version"))
        elif one.kind == STOCK:
            numbers[len(openings)] = one
            openings.append(Opening(party_id, terms_id, one.points))
        elif wrong := _balance_problems(one, party_id, terms_id, known):
            problems += wrong
        else:
            posted.append(_entry(one, party_id, terms_id))
    for problem in await stock.opening_problems(connection, openings) if openings else ():
        line = numbers[int(problem.path[1])]
        problems.append(_problem(line, "version", problem.code, problem.message))
    return openings, posted, problems


async def _known(connection: AsyncConnection) -> _Known:
    signed = [terms for terms, _ in await clearing.signed(connection)]
    rules = await programme.read(connection)
    return _Known(
        {name.code: number for number, name in (await clearing.names(connection)).items()},
        {(terms.partner_id, terms.version): terms.terms_id for terms in signed},
        {terms.terms_id: terms.currency for terms in signed},
        frozenset({rules.base_currency, *rules.point_value_micro}),
    )


def _balance_problems(one: OpeningLine, party_id: int, terms_id: int, known: _Known) -> list[FieldProblem]:
    account = accounts.CHART.get(one.account)
    if one.kind != BALANCE or account is None or one.account not in ALLOWED:
        return [_problem(one, "account", "NOT_ALLOWED", f"one of {', '.join(sorted(ALLOWED))}")]
    found = []
    if account.by_party != (party_id != OPERATOR):
        found.append(_problem(one, "party", "INVALID", "a partner where the account is kept by partner, else none"))
    if account.by_cohort != bool(terms_id):
        found.append(_problem(one, "version", "INVALID", "a version where the account is kept by cohort, else none"))
    if one.currency not in known.currencies or (terms_id and known.currency_of[terms_id] != one.currency):
        found.append(_problem(one, "currency", "INVALID", "a currency of the programme, and of the version"))
    return found


def _entry(one: OpeningLine, party_id: int, terms_id: int) -> Entry:
    """The balance against the account of opening balances."""
    own = Posting(one.account, one.currency, one.amount_micro, party_id, terms_id, terms_id=terms_id)
    return entries.checked(Entry(ENTRY, (own, Posting(accounts.OPENING, one.currency, -one.amount_micro))))


def _problem(one: OpeningLine, name: str, code: str, message: str) -> FieldProblem:
    return FieldProblem((str(one.line_no), name), code, message)
