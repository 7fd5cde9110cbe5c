"""Packages of statements that went out: sealed once, signed whenever they are asked for."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import secrets
import tempfile
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from sqlalchemy.ext.asyncio import AsyncConnection

from kit.errors import Rejection
from kit.secrets import Vault
from partners.clearing import clearing
from partners.terms import SettlementTerms
from settlement import agreed, archive, calculation, charges, states
from settlement.archive import Run, Statement
from settlement.money import stock
from settlement.packages import archive as zipped
from settlement.packages import content, keys, seal_store
from settlement.packages.archive import Leaf, LongPart, Part
from settlement.packages.canonical import Value, canonical_bytes, digest_hex
from settlement.packages.content import Facts
from settlement.rating import OPERATOR
from settlement.volumes import Volume

OPERATOR_NAME = "operator"
_LINES_AT_ONCE = 1_000
_BLOCK = 1 << 20


class PackageUnknown(Rejection):
    """There is no statement of this partner in the run that went out, so there is no package of it."""

    code = "PACKAGE_UNKNOWN"
    retryable = False


async def build(
    connection: AsyncConnection, vault: Vault, run_id: int, partner_id: int, *, id_key: bytes, at: datetime
) -> bytes:
    """The same as bytes, for a statement that is known to be short. Rejects as `write`."""
    buffer = io.BytesIO()
    await write(connection, vault, run_id, partner_id, buffer, id_key=id_key, at=at)
    return buffer.getvalue()


async def write(
    connection: AsyncConnection, vault: Vault, run_id: int, partner_id: int, into: BinaryIO, *, id_key: bytes,
    at: datetime,
) -> None:  # fmt: skip
    """Write the signed package of a partner's statement in a run as a zip file, into what can be read and sought in.

    Memory does not grow with the statement: its movements are streamed to disk, and from there into the package.
    id_key is the partner's key for ids of members. Needs a transaction: what is not sealed yet is sealed, with every
    statement of the run and the runs before, and the package's own hash is kept. Rejects RUN_UNKNOWN, PACKAGE_UNKNOWN.
    """
    run = await archive.run(connection, run_id)
    its = next((s for s in run.statements if s.partner_id == partner_id and partner_id != OPERATOR), None)
    if its is None or run.head.state not in states.ISSUED:
        raise PackageUnknown(f"partner {partner_id} has no statement of run {run_id} that went out")
    signer = await keys.signer(connection, vault, at=at)  # also keeps two from sealing at once
    await _seal(connection, run, at=at)
    parts = await _short_parts(connection, run, its)
    manifest = await _manifest(connection, run, its)
    published = await keys.public_keys(connection)
    with tempfile.TemporaryDirectory(prefix="tessera-package-") as place:
        detail = await _detail(connection, its, id_key, Path(place) / "detail.csv")
        await asyncio.to_thread(zipped.write, into, manifest, [*parts, detail], signer=signer, keys=published)
    made = await asyncio.to_thread(_digest, into)
    await seal_store.insert_package(connection, statement_id=its.statement_id, kid=signer.kid, sha256=made, at=at)


async def _short_parts(connection: AsyncConnection, run: Run, its: Statement) -> list[Part]:
    """Every file of a package but its movements."""
    facts = await _facts(connection, run, its)
    said = await _statement_bytes(connection, run, its, facts)
    numbers = {line.terms_id for line in its.lines if line.terms_id} | {t.terms_id for t, _ in facts.volumes}
    terms = await clearing.agreed_terms(connection, numbers)
    signed = await clearing.settlement_terms(connection, numbers)
    stocks = [await stock.as_of(connection, n) for n in run.cutoff_ids]
    seals = await seal_store.ledger_seals(connection, run.cutoff_ids[0], run.cutoff_ids[-1])
    sealed = [(r.cutoff_id, r.cut_at, r.seal, r.previous) for r in seals]
    return [
        Part("statement.json", said, {"rows": str(len(its.lines))}),
        Part("agreements.json", canonical_bytes(content.agreements(its, facts, terms, signed, stocks)), {}),
        Part("seals.json", canonical_bytes(content.seals(sealed)), {}),
    ]


async def _manifest(connection: AsyncConnection, run: Run, its: Statement) -> dict[str, Value]:
    """What the manifest says besides its files."""
    named = await clearing.names(connection)
    leaves, own = await _leaves(connection, run, its)
    return {
        "statement": str(its.statement_id),
        "run": run.head.name,
        "partner": named[its.partner_id].code,
        "currency": its.currency,
        "previous_statement_sha256": await _previous(connection, its),
        "certificate_sha256": await _certificate(connection, run.head.run_id),
        "tree": zipped.tree_of(leaves, own),
    }


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


async def _detail(connection: AsyncConnection, its: Statement, id_key: bytes, path: Path) -> LongPart:
    """Stream a statement's movements into a file."""
    digest = hashlib.sha256()
    count = points = micro = 0
    with path.open("wb") as file:
        lines = [content.DETAIL_HEADER]
        async for one in archive.detail(connection, its, id_key=id_key):
            if not one.points:
                continue  # money that moved without points: the statement's events have it
            lines.append(_csv_line(content.detail_row(one)))
            count, points, micro = count + 1, points + one.points, micro + one.amount_micro
            if len(lines) == _LINES_AT_ONCE:
                _put(file, digest, lines)
        _put(file, digest, lines)
    figures = {"rows": str(count), "points": str(points), "amount_micro": str(micro)}
    return LongPart("detail.csv", path, digest.hexdigest(), figures)


def _csv_line(cells: tuple[str, ...]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def _put(file: BinaryIO, digest: hashlib._Hash, lines: list[str]) -> None:
    block = "".join(lines).encode()
    lines.clear()
    digest.update(block)
    file.write(block)


def _digest(file: BinaryIO) -> bytes:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.digest()


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
