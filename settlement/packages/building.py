"""Packages of statements that went out: sealed once, signed whenever they are asked for."""

from __future__ import annotations

import csv
import io
import secrets
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import Vault
from partners import clearing
from partners.terms import SettlementTerms
from settlement import agreed, archive, calculation, charges, states
from settlement.archive import Run, Statement
from settlement.money import stock
from settlement.packages import archive as zipped
from settlement.packages import content, keys, seal_store
from settlement.packages.archive import Leaf, Part
from settlement.packages.canonical import canonical_bytes, digest_hex
from settlement.packages.content import Facts
from settlement.rating import OPERATOR
from settlement.volumes import Volume

OPERATOR_NAME = "operator"


class PackageUnknown(Rejection):
    """There is no statement of this partner in the run that went out, so there is no package of it."""

    code = "PACKAGE_UNKNOWN"
    retryable = False


async def build(
    connection: AsyncConnection, vault: Vault, run_id: int, partner_id: int, *, id_key: bytes, at: datetime
) -> bytes:
    """The signed package of a partner's statement in a run, as a zip file.

    id_key is the partner's key for ids of members. Needs a transaction: what is not sealed yet is sealed, with every
    statement of the run and the runs before, and the package's own hash is kept. Rejects RUN_UNKNOWN, PACKAGE_UNKNOWN.
    """
    run = await archive.run(connection, run_id)
    its = next((s for s in run.statements if s.partner_id == partner_id and partner_id != OPERATOR), None)
    if its is None or run.head.state not in states.ISSUED:
        raise PackageUnknown(f"partner {partner_id} has no statement of run {run_id} that went out")
    signer = await keys.signer(connection, vault, at=at)  # also keeps two from sealing at once
    await _seal(connection, run, at=at)
    named = await clearing.names(connection)
    facts = await _facts(connection, run, its)
    detail = await _detail(connection, its, id_key)
    said = await _statement_bytes(connection, run, its, facts)
    numbers = {line.terms_id for line in its.lines if line.terms_id} | {t.terms_id for t, _ in facts.volumes}
    terms = await clearing.agreed_terms(connection, numbers)
    signed = await clearing.settlement_terms(connection, numbers)
    stocks = [await stock.as_of(connection, n) for n in run.cutoff_ids]
    seals = await seal_store.ledger_seals(connection, run.cutoff_ids[0], run.cutoff_ids[-1])
    sealed = [(r.cutoff_id, r.cut_at, r.seal, r.previous) for r in seals]
    parts = [
        Part("statement.json", said, {"rows": str(len(its.lines))}),
        detail,
        Part("agreements.json", canonical_bytes(content.agreements(its, facts, terms, signed, stocks)), {}),
        Part("seals.json", canonical_bytes(content.seals(sealed)), {}),
    ]
    leaves, own = await _leaves(connection, run, its)
    manifest = {
        "statement": str(its.statement_id),
        "run": run.head.name,
        "partner": named[partner_id].code,
        "currency": its.currency,
        "previous_statement_sha256": await _previous(connection, its),
        "certificate_sha256": await _certificate(connection, run_id),
        "tree": zipped.tree_of(leaves, own),
    }
    made = zipped.build(manifest, parts, signer=signer, keys=await keys.public_keys(connection))
    await seal_store.insert_package(
        connection, statement_id=its.statement_id, kid=signer.kid, sha256=bytes.fromhex(digest_hex(made)), at=at
    )
    return made


async def _seal(connection: AsyncConnection, run: Run, *, at: datetime) -> None:
    """Seal every statement of a run that is not yet, after those of the runs before that they follow."""
    if await seal_store.of_run(connection, run.head.run_id):
        return
    if run.head.previous_run_id is not None:
        await _seal(connection, await archive.run(connection, run.head.previous_run_id), at=at)
    rows = []
    for its in run.statements:
        before = await seal_store.previous_statement(connection, its.statement_id)
        if before is not None:
            await _seal(connection, await archive.run(connection, before.run_id), at=at)
        said = await _statement_bytes(connection, run, its, await _facts(connection, run, its))
        rows.append(
            {
                "statement_id": its.statement_id,
                "sha256": bytes.fromhex(digest_hex(said)),
                "nonce": secrets.token_bytes(16),
                "sealed_at": at,
            }
        )
    await seal_store.insert(connection, rows)


async def _statement_bytes(connection: AsyncConnection, run: Run, its: Statement, facts: Facts) -> bytes:
    named = await clearing.names(connection)
    code = OPERATOR_NAME if its.partner_id == OPERATOR else named[its.partner_id].code
    windows = [window.name for window in run.windows]
    previous = await _previous(connection, its)
    said = content.statement(its, run.head, facts, partner=code, windows=windows, previous_sha256=previous)
    return canonical_bytes(said)


async def _facts(connection: AsyncConnection, run: Run, its: Statement) -> Facts:
    """What a statement was decided on; its volumes are read again."""
    kept = next((s for s in await archive.trail(connection, run.head.run_id) if s.to_state == "CALCULATED"), None)
    found = calculation.thawed(kept.evidence) if kept is not None and kept.evidence else calculation.Agreed({})
    covered: list[tuple[SettlementTerms, list[Volume]]] = []
    if its.partner_id != OPERATOR and any(line.kind in content.PERIOD for line in its.lines):
        covered = await agreed.volumes(connection, run.head, run.windows)
    own = tuple((terms, volumes) for terms, volumes in covered if terms.partner_id == its.partner_id)
    party = [event for event in found.events if its.partner_id in (event.payer_id, event.payee_id)]
    events = () if its.partner_id == OPERATOR else tuple(party)
    return Facts(found.brought.get(its.partner_id, charges.NOTHING), events, own)


async def _previous(connection: AsyncConnection, its: Statement) -> str | None:
    before = await seal_store.previous_statement(connection, its.statement_id)
    if before is None:
        return None
    sealed = await seal_store.of_run(connection, before.run_id)
    return bytes(sealed[before.statement_id].sha256).hex()


async def _detail(connection: AsyncConnection, its: Statement, id_key: bytes) -> Part:
    buffer = io.StringIO()
    buffer.write(content.DETAIL_HEADER)
    writer = csv.writer(buffer, lineterminator="\n")
    count = points = micro = 0
    async for one in archive.detail(connection, its, id_key=id_key):
        if not one.points:
            continue  # money that moved without points: the statement's events have it
        writer.writerow(content.detail_row(one))
        count, points, micro = count + 1, points + one.points, micro + one.amount_micro
    figures = {"rows": str(count), "points": str(points), "amount_micro": str(micro)}
    return Part("detail.csv", buffer.getvalue().encode(), figures)


async def _leaves(connection: AsyncConnection, run: Run, own: Statement) -> tuple[list[Leaf], Leaf]:
    """Every net of the run in the statement's currency; the operator's among them, so that they sum to zero."""
    named = await clearing.names(connection)
    sealed = await seal_store.of_run(connection, run.head.run_id)
    found = {}
    for its in run.statements:
        code = OPERATOR_NAME if its.partner_id == OPERATOR else named[its.partner_id].code
        seal = sealed[its.statement_id]
        if its.currency == own.currency:
            found[its.statement_id] = Leaf(
                code, its.currency, its.net_micro, bytes(seal.sha256).hex(), bytes(seal.nonce).hex()
            )
    return list(found.values()), found[own.statement_id]


async def _certificate(connection: AsyncConnection, run_id: int) -> str | None:
    for step in await archive.trail(connection, run_id):
        if step.to_state == states.CONTROLLED and "certificate" in step.evidence:
            return str(step.evidence["certificate"]["sha256"])
    return None
