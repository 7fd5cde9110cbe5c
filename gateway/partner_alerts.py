"""What waits for a partner's people, or soon will: each as a fact, with what it is about and by when.

Only what the person's scopes open is looked at, so nobody is told of what they could not look up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway import scopes
from gateway.gate import client_rules
from gateway.integration import request_figures
from gateway.oauth import own_clients
from kit.amounts import BASIS
from partners.directory import Partner
from partners.promotions import budgets
from settlement import archive, runs, states
from settlement.exposure import limits
from settlement.exposure.caps import Exposure
from settlement.reconciliation import disputes, disputing

EXPOSURE, BUDGET, KEY_ENDS, ALLOWANCE = "EXPOSURE", "BUDGET", "KEY_ENDS", "ALLOWANCE"
DISPUTE, STATEMENT, EARNING_PAUSED = "DISPUTE", "STATEMENT", "EARNING_PAUSED"
NEAR_BP = 8_000
"""From so much of a limit on somebody is told."""
KEY_NOTICE = timedelta(days=14)
MOST_STATEMENTS = 5
TO_ACCEPT = frozenset({states.STATEMENTS_ISSUED, states.IN_REVIEW})


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that waits. subject: a client's id, a budget's code, a currency, or the number of a dispute or of a
    statement; due_at: by when; share_bp: how much of a limit is used, in basis points."""

    kind: str
    subject: str
    name: str = ""
    due_at: datetime | None = None
    share_bp: int | None = None

    @property
    def is_reached(self) -> bool:
        """Whether the limit is reached already."""
        return self.share_bp is not None and self.share_bp >= BASIS


async def of_partner(
    connection: AsyncConnection, partner: Partner, held: frozenset[str], *, at: datetime, now: datetime
) -> list[Alert]:
    """What waits for somebody with these scopes; at is the business instant, now the wall's."""
    found: list[Alert] = []
    if partner.paused_until is not None and at < partner.paused_until:
        found.append(Alert(EARNING_PAUSED, partner.code, due_at=partner.paused_until))
    if scopes.SETTLEMENT_READ in held:
        found += of_exposures(each for each in await limits.last(connection) if each.partner_id == partner.partner_id)
        found += await _statements(connection, partner.partner_id)
    if scopes.DISPUTES_WRITE in held:
        found += await _disputes(connection, partner.partner_id)
    if scopes.RULES_READ in held:
        found += await _budgets(connection, partner.partner_id)
    if scopes.CLIENTS_MANAGE in held:
        found += await _clients(connection, partner.partner_id, now)
    return found


def of_exposures(found: Iterable[Exposure]) -> list[Alert]:
    """PURE: partners near what they may come to owe, or beyond it."""
    shares = [(one, one.exposure_micro * BASIS // one.cap_micro if one.cap_micro else BASIS) for one in found]
    return [
        Alert(EXPOSURE, one.currency, name=one.policy, share_bp=share)
        for one, share in shares if share >= NEAR_BP and (one.cap_micro or one.exposure_micro)
    ]  # fmt: skip


async def _statements(connection: AsyncConnection, partner_id: int) -> list[Alert]:
    found = []
    rows = await archive.statements_page(connection, partner_id=partner_id, before=None, limit=MOST_STATEMENTS)
    for row in rows:
        head = await archive.head(connection, row.run_id)
        own = [one for one in await runs.reviews(connection, row.run_id) if one.statement_id == row.statement_id]
        if head.state in TO_ACCEPT and own and own[0].issued_at is not None and own[0].accepted_at is None:
            found.append(Alert(STATEMENT, str(row.statement_id), due_at=own[0].review_ends_at))
    return found


async def _disputes(connection: AsyncConnection, partner_id: int) -> list[Alert]:
    rows = await disputes.undecided(connection, partner_id=partner_id)
    return [
        Alert(DISPUTE, str(one.dispute_id), name=one.reason, due_at=one.deadline)
        for one in rows if disputing.waits_for(one.state) == disputing.PARTNER
    ]  # fmt: skip


async def _budgets(connection: AsyncConnection, partner_id: int) -> list[Alert]:
    own = [one for one in await budgets.everything(connection) if one.sponsor_id == partner_id and one.ceiling]
    found = []
    for one in own:
        share = budget_share_bp(one.ceiling, await budgets.usage(connection, one.document.code, limit=1))
        if share >= NEAR_BP:
            found.append(Alert(BUDGET, one.document.code, share_bp=share))
    return found


def budget_share_bp(ceiling: int, usage: Sequence[budgets.Usage]) -> int:
    """PURE: how much of a budget is used where most is, in basis points of its ceiling."""
    return max((BASIS - each.remaining * BASIS // ceiling for each in usage), default=0) if ceiling else BASIS


async def _clients(connection: AsyncConnection, partner_id: int, now: datetime) -> list[Alert]:
    figures = await request_figures.of_partner(connection, partner_id, since=now - timedelta(days=1))
    found = []
    for client in await own_clients.all_of(connection, partner_id, at=now):
        ends = [*(key.expires_at for key in client.keys), *(end for _, end in client.secrets)]
        if client.status == "ACTIVE" and ends and all(end is not None and end < now + KEY_NOTICE for end in ends):
            last = max(end for end in ends if end is not None)
            found.append(Alert(KEY_ENDS, client.client_id, client.name, due_at=last))
        rule = await client_rules.rule_of(connection, client.client_id)
        asked = figures[client.client_no].busiest_cost if client.client_no in figures else 0
        share = asked * BASIS // (rule.allowance.restore_per_second * 3_600)
        if share >= NEAR_BP:
            found.append(Alert(ALLOWANCE, client.client_id, client.name, share_bp=share))
    return found
