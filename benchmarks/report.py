"""The results: JSON files with everything, and the page of tables made from them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.figures import TPC_B, Figure
from benchmarks.storage import LEDGER

RESULTS = Path(__file__).parent / "results"
PAGE = "README.md"
PARTS = {"levels": "Levels", "scenarios": "Scenarios", "peers": "Peers"}


def store(name: str, content: Mapping[str, object], settings: Mapping[str, object], *, folder: Path = RESULTS) -> Path:
    """Write one part's results with everything they depend on."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    whole = {"settings": {**settings, **machine}, **content}
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return path


def stored(figures: Iterable[Figure], not_measured: Mapping[str, str] | None = None) -> dict[str, object]:
    """Figures as a part's content, and why some could not be measured."""
    content: dict[str, object] = {"figures": [asdict(figure) for figure in figures]}
    return {**content, "not_measured": dict(not_measured)} if not_measured else content


def write_page(folder: Path = RESULTS) -> Path:
    """Make the page of tables from the JSON files of a folder."""
    path = folder / PAGE
    path.write_text(page(folder), encoding="utf-8")
    return path


def page(folder: Path = RESULTS) -> str:
    """The page of tables: one section per part that was measured."""
    sections = [
        "# Results",
        "Made by `python -m benchmarks report` from the JSON files beside it. How to read it: [above](../README.md).",
    ]
    for name, title in PARTS.items():
        if (whole := _read(folder, name)) is not None:
            sections += _part(title, whole)
    if (whole := _read(folder, "closing")) is not None:
        sections += _closing(whole)
    if (whole := _read(folder, "renewals")) is not None:
        sections += _renewals(whole)
    if (whole := _read(folder, "overload")) is not None:
        sections += _overload(whole)
    if (whole := _read(folder, "long")) is not None:
        sections += _long(whole)
    return "\n\n".join(sections) + "\n"


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _part(title: str, whole: Mapping[str, Any]) -> list[str]:
    figures = [Figure(**figure) for figure in whole["figures"]]
    parts = [f"## {title}", _settings(whole["settings"]), markdown(HEAD, [row(figure) for figure in figures])]
    if costs := [line for figure in figures if (line := cost_row(figure))]:
        parts += ["Bytes stored per operation, rows + indexes:", markdown(COST_HEAD, costs)]
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    notes += [f"- **{name}: not measured, it {reason}**" for name, reason in whole.get("not_measured", {}).items()]
    parts += ["\n".join(notes)] if notes else []
    return parts


def _settings(settings: Mapping[str, Any]) -> str:
    named = (
        "server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "cores", "seconds",
        "rounds", "members", "holders", "scale", "times", "connections", "seed", "audit_violations", "load_average",
    )  # fmt: skip
    return ", ".join(f"{name} {settings[name]}" for name in named if name in settings)


HEAD = ("load", "per second", "ratio", "spread", "p50 ms", "p99 ms", "server µs", "driver µs", "gateway µs", "WAL B",
        "fsyncs")  # fmt: skip
AT_A_GLANCE = 6  # columns
COST_HEAD = ("load", "journal", "posting", "lot", "together", "receipt", "claim")


def row(figure: Figure) -> list[str]:
    """A figure's cells, as `HEAD` names them. Processor time is user + system per operation."""
    what = "" if figure.unit == TPC_B else " ÷"
    return [
        figure.name,
        f"{figure.per_second:,.0f}",
        f"{figure.ratio:.2f}{what}",
        f"{figure.ratio_low:.2f} to {figure.ratio_high:.2f}",
        _number(figure.p50_ms, ".1f"),
        _number(figure.p99_ms, ".1f"),
        *(_split(figure.cpu_us.get(party)) for party in ("server", "driver", "gateway")),
        _number(figure.wal_bytes, ",.0f"),
        _number(figure.fsyncs, ".3f"),
    ]


def cost_row(figure: Figure) -> list[str] | None:
    """What an operation stores, as `COST_HEAD` names it; None where the ledger's tables were not written to."""
    if not set(LEDGER) <= set(figure.bytes_stored):
        return None
    of = figure.bytes_stored
    together = sum(sum(of[table].values()) for table in LEDGER)
    beside = ("partners.receipt", "partners.receipt_claim")
    return [
        figure.name,
        *(_stored(of[table]) for table in LEDGER),
        f"**{together:.0f}**",
        *(_stored(of.get(table)) for table in beside),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _split(spent: Mapping[str, float] | None) -> str:
    return "" if spent is None else f"{spent['user']:.0f} + {spent['system']:.0f}"


def _stored(size: Mapping[str, float] | None) -> str:
    return "" if size is None else f"{size['heap']:.0f} + {size['indexes']:.0f}"


def _closing(whole: Mapping[str, Any]) -> list[str]:
    head = (
        "postings in the cut-off",
        "close, s",
        "least",
        "most",
        "calculate the run, s",
        "adding up, µs each",
        "violations",
        "recomputed by the second engine, s",
        "postings a second",
    )
    rows = [
        [
            f"{one['postings']:,}", f"{one['median_seconds']:.3f}", f"{min(one['close_seconds']):.3f}",
            f"{max(one['close_seconds']):.3f}", f"{sorted(one['run_seconds'])[len(one['run_seconds']) // 2]:.3f}",
            f"{one['adding_up_us']:.1f}", str(one["violations"]), f"{one['certificate_seconds']:.2f}",
            f"{one['recomputed_per_second']:,.0f}",
        ]
        for one in whole["sizes"]
    ]  # fmt: skip
    grew = "; ".join(f"× {growth:.2f}" for growth in whole["growths"]) or "nothing to compare with"
    return [
        "## Closing",
        _settings(whole["settings"]),
        markdown(head, rows),
        f"From each size to the next the close grew {grew}.",
        *_statements(whole.get("statements", ())),
    ]


STATEMENT_HEAD = ("lines of a statement", "controlled, s", "package written, s", "peak MiB", "detail, MiB",
                  "verified, s", "peak MiB")  # fmt: skip


def _statements(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Statements of many lines: peaks are of the whole process that wrote the package, and that verified it."""
    mebibyte = 1 << 20
    rows = [
        [
            f"{one['lines']:,}", f"{one['control_seconds']:.1f}", f"{one['written']['seconds']:.1f}",
            f"{one['written']['peak_bytes'] / mebibyte:.0f}", f"{one['detail_bytes'] / mebibyte:.1f}",
            f"{one['verified']['seconds']:.1f}", f"{one['verified']['peak_bytes'] / mebibyte:.0f}",
        ]
        for one in found
    ]  # fmt: skip
    return [markdown(STATEMENT_HEAD, rows)] if rows else []


OVERLOAD_HEAD = ("kind", "rank", "sent", "answered", "share", "refused", "with Retry-After", "failed", "p50 ms",
                 "p99 ms")  # fmt: skip


def _renewals(whole: Mapping[str, Any]) -> list[str]:
    """A night: minutes and seconds of all of it, the kill and what was asked about after it among them."""
    head = (
        "subscriptions",
        "all of it, s",
        "a second",
        "processes",
        "killed",
        "paid by then",
        "asked about after",
        "wrong",
    )
    wrong = ", ".join(f"{number} {what}" for what, number in whole["wrong"].items()) or "0"
    row = [
        f"{whole['renewals']:,}", f"{whole['seconds']:.0f}", f"{whole['per_second']:.0f}", str(whole["processes"]),
        str(whole["kills"]), f"{whole['paid_when_killed']:,}", str(whole["asked_after"]), wrong,
    ]  # fmt: skip
    return ["## Renewals", _settings(whole["settings"]), markdown(head, [row])]


def _overload(whole: Mapping[str, Any]) -> list[str]:
    normal = whole["seconds_to_normal"]
    back = f"back to normal after {normal} s" if normal is not None else "**not back to normal**"
    lines = [
        f"Server on one core, callers on another. Capacity {whole['capacity']:,.0f} answers a second (p99 "
        f"{whole['normal_p99_ms']:.0f} ms); {whole['due']:,} requests became due in {whole['settings']['seconds']} s. "
        f"Goodput {whole['goodput']:,.0f} answers a second, which is **{whole['share']:.0%}** of the capacity, each "
        f"kind weighed by what it costs; {back}. The audit found {whole['audit_violations']} violations.",
    ]
    rows = [_overload_row(kind) for kind in whole["kinds"]]
    return ["## Overload", _settings(whole["settings"]), "\n\n".join(lines), markdown(OVERLOAD_HEAD, rows)]


def _overload_row(kind: Mapping[str, Any]) -> list[str]:
    """The cells of a kind of request, as `OVERLOAD_HEAD` names them."""
    sent, refused = kind["sent"], kind["refused"]
    return [
        kind["name"],
        str(kind["rank"]),
        f"{sent:,}",
        f"{kind['answered']:,}",
        f"{kind['answered'] / sent:.0%}" if sent else "",
        f"{refused:,}",
        f"{kind['told_when'] / refused:.0%}" if refused else "",
        f"{kind['failed']:,}",
        _number(kind["p50_ms"], ",.0f"),
        _number(kind["p99_ms"], ",.0f"),
    ]


def _long(whole: Mapping[str, Any]) -> list[str]:
    stocked, soak = whole["stocked"], whole["soak"]
    together = sum(sum(stocked["bytes_stored"].get(table, {}).values()) for table in LEDGER)
    minutes = soak["minutes"]
    first, last = minutes[0], minutes[-1]
    lines = [
        f"{stocked['lots']:,} lots of {stocked['holders']:,} holders were recorded in {stocked['seconds']:,.0f} s, "
        f"{stocked['per_second']:,.0f} a second; journal, posting and lot take {together:.0f} bytes each.",
        f"Soak of {len(minutes)} minutes: first {first['per_second']:,.0f}, median {soak['median_per_second']:,.0f}, "
        f"last {last['per_second']:,.0f} operations a second. Last ÷ first **{soak['last_to_first']:.2f}**.",
        f"By TPC-B, which ran for {soak['unit_seconds']} s before and after each {soak['piece_seconds']} s: first "
        f"{first['ratio']:.2f}, median {soak['median_ratio']:.2f}, lowest {soak['lowest_ratio']:.2f}, last "
        f"{last['ratio']:.2f}. Last ÷ first **{soak['last_to_first_by_tpc_b']:.2f}**. p99 of the first minute "
        f"{first['p99_ms']:.1f} ms, of the last {last['p99_ms']:.1f}.",
        f"The audit of it all took {whole['audit_seconds']:,.0f} s and found {whole['audit_violations']} violations.",
    ]
    return ["## Long", _settings(whole["settings"]), "\n\n".join(lines)]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, its first column to the left and the others to the right."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ruler, *rows))


def table(title: str, figures: Sequence[Figure]) -> Table:
    """Figures for the terminal; what they cost is on the page only, to keep to the width."""
    found = Table(title=title)
    for number, head in enumerate(HEAD[:AT_A_GLANCE]):
        found.add_column(head, justify="right" if number else "left", overflow="fold")
    for figure in figures:
        found.add_row(*row(figure)[:AT_A_GLANCE])
    return found
