"""The register of documents: drawn from what a run's statements say, numbered without a gap, kept for ever.

Whoever numbers documents holds the counter's row until the transaction ends: a number is given back with everything
else if it is rolled back. Self-billed documents are the partner's own and numbered in its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from settlement.documents import drawing, store
from settlement.documents.drawing import SET_OFF, DocumentDraft, DocumentLine, SetOff, TaxRule

MOST = 1_000


@dataclass(frozen=True, slots=True)
class Document:
    """A document with its number. Of an act of set-off base_minor is what met, and gross_minor what was left,
    positive to the partner."""

    document_id: int
    run_id: int
    partner_id: int
    currency: str
    kind: str
    entity: str
    number: str
    issued_at: datetime
    rule: TaxRule
    base_minor: int
    tax_minor: int
    gross_minor: int
    corrects_id: int | None
    content_hash: bytes
    lines: tuple[DocumentLine, ...] = ()

    def draft(self) -> DocumentDraft:
        """The same as it was drawn."""
        return DocumentDraft(self.kind, self.entity, self.rule, self.lines, self.base_minor, self.tax_minor)


async def issue(
    connection: AsyncConnection, *, run_id: int, partner_id: int, currency: str, drafts: Sequence[DocumentDraft],
    is_netted: bool, at: datetime,
) -> None:  # fmt: skip
    """Number and keep the documents of a partner in a run, and, where it is netted and both sides claim something, the
    act of set-off. The run's step is the caller's."""
    for draft in drafts:
        await _keep(connection, draft, run_id, partner_id, currency, at, corrects_id=None)
    met = drawing.set_off(drafts)
    if is_netted and met.met_minor:
        await _keep_set_off(connection, met, run_id, partner_id, currency, at)


async def take_back(connection: AsyncConnection, run_id: int, *, at: datetime) -> int:
    """Take every document of a run back by another one; how many. Acts of set-off fall with what they set off."""
    taken = {d.corrects_id for d in await documents(connection, run_id=run_id)}
    found = [d for d in await documents(connection, run_id=run_id) if d.corrects_id is None and d.kind != SET_OFF]
    open_ones = sorted((d for d in found if d.document_id not in taken), key=lambda d: d.document_id)
    for document in open_ones:
        back = drawing.taken_back(document.draft())
        await _keep(
            connection, back, run_id, document.partner_id, document.currency, at, corrects_id=document.document_id
        )
    return len(open_ones)


async def documents(
    connection: AsyncConnection, *, run_id: int | None = None, partner_id: int | None = None,
    before: int | None = None, limit: int = MOST * MOST,
) -> list[Document]:  # fmt: skip
    """Documents with their lines, the latest first: of a run, of a partner, older than one, as asked for."""
    rows = await store.documents(connection, run_id=run_id, partner_id=partner_id, before=before, limit=limit)
    lines: dict[int, list[DocumentLine]] = {row.document_id: [] for row in rows}
    for line in await store.document_lines(connection, list(lines)):
        lines[line.document_id].append(
            DocumentLine(line.kind, line.terms_id, line.points, line.base_minor, line.tax_minor)
        )
    return [_document(row, lines[row.document_id]) for row in rows]


async def _keep(
    connection: AsyncConnection, draft: DocumentDraft, run_id: int, partner_id: int, currency: str, at: datetime, *,
    corrects_id: int | None,
) -> None:  # fmt: skip
    series = drawing.SERIES[draft.kind]
    number = await store.next_number(connection, draft.entity, series)
    said = drawing.content_hash(
        draft, number=drawing.number_of(series, number), partner_id=partner_id, currency=currency
    )
    document_id = await store.insert_document(
        connection,
        {
            "entity": draft.entity, "series": series, "number": number, "kind": draft.kind, "run_id": run_id,
            "partner_id": partner_id, "currency": currency, "issued_at": at, "tax_rule": draft.rule.code,
            "tax_version": draft.rule.version, "base_minor": draft.base_minor, "tax_minor": draft.tax_minor,
            "gross_minor": draft.gross_minor, "corrects_id": corrects_id, "content_hash": said,
        },
    )  # fmt: skip
    rows = [
        {"document_id": document_id, "line_no": n, "kind": line.kind, "terms_id": line.terms_id, "points": line.points,
         "base_minor": line.base_minor, "tax_minor": line.tax_minor}
        for n, line in enumerate(draft.lines, start=1)
    ]  # fmt: skip
    await store.insert_document_lines(connection, rows)


async def _keep_set_off(
    connection: AsyncConnection, met: SetOff, run_id: int, partner_id: int, currency: str, at: datetime
) -> None:
    series = drawing.SERIES[SET_OFF]
    number = await store.next_number(connection, "operator", series)
    said = drawing.content_hash(met, number=drawing.number_of(series, number), partner_id=partner_id, currency=currency)
    await store.insert_document(
        connection,
        {
            "entity": "operator", "series": series, "number": number, "kind": SET_OFF, "run_id": run_id,
            "partner_id": partner_id, "currency": currency, "issued_at": at, "tax_rule": drawing.NO_TAX.code,
            "tax_version": drawing.NO_TAX.version, "base_minor": met.met_minor, "tax_minor": 0,
            "gross_minor": met.left_minor, "corrects_id": None, "content_hash": said,
        },
    )  # fmt: skip


def _document(row: Any, lines: Sequence[DocumentLine]) -> Document:
    return Document(
        document_id=row.document_id,
        run_id=row.run_id,
        partner_id=row.partner_id,
        currency=row.currency,
        kind=row.kind,
        entity=row.entity,
        number=drawing.number_of(row.series, row.number),
        issued_at=row.issued_at,
        rule=TaxRule(row.tax_rule, row.tax_version, row.rate_bp, row.rounding, row.tax_code),
        base_minor=row.base_minor,
        tax_minor=row.tax_minor,
        gross_minor=row.gross_minor,
        corrects_id=row.corrects_id,
        content_hash=bytes(row.content_hash),
        lines=tuple(lines),
    )
