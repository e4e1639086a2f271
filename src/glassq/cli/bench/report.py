"""What a run says: for people a table by subject, for programs the same as one document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from glassq.cli.bench.judge import BAD, Row, Verdict, exit_code
from glassq.cli.bench.run import Report
from glassq.cli.bench.samples import NOISE_BOUND
from glassq.cli.bench.targets import PACE
from glassq.cli.escaping import printable

_LABEL, _VERDICT = 40, 16
"""Columns that are never narrower: labels, and what is said about a row."""

_STYLES = {
    Verdict.AIM: "bold green",
    Verdict.HOLDS: "green",
    Verdict.BELOW: "bold red",
    Verdict.NOISY: "bold yellow",
    Verdict.FAILED: "bold red",
    Verdict.SHOWN: "dim",
    Verdict.MISSING: "dim",
}


def document(report: Report) -> dict[str, Any]:
    """The whole report for programs; `exit` is the exit code that goes with it."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return {**plain, "noise_bound": NOISE_BOUND, "exit": exit_code(report.rows)}


def table(report: Report) -> RenderableType:
    """The whole report for people."""
    sections: dict[str, list[Row]] = {}
    for row in report.rows:
        sections.setdefault(row.section, []).append(row)
    return Group(
        _surroundings(report),
        *(_section(name, rows) for name, rows in sections.items()),
        Text(""),
        _verdict(report.rows),
    )


def _surroundings(report: Report) -> RenderableType:
    environment = report.environment
    server = "none" if environment.server is None else f"{environment.server} ({environment.server_origin})"
    peers = ", ".join(f"{name} {version or '(not installed)'}" for name, version in environment.peers.items())
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in (
        ("glassq", environment.glassq),
        ("Python", f"{environment.python}, redis-py {environment.redis_py}, SQLite {environment.sqlite}"),
        ("machine", f"{environment.system}, {environment.cores} cores"),
        ("load", f"{environment.load_before:.2f} before, {environment.load_after:.2f} after"),
        ("server", server),
        ("pace", _pace(report.rows)),
        ("peers", peers),
    ):
        grid.add_row(label, printable(value))
    return grid


def _pace(rows: Sequence[Row]) -> str:
    """How times are judged, and what that goes by."""
    known = [(row, row.value) for row in rows if row.section == PACE and row.value is not None]
    if not known:
        return "not known: times are judged as they were measured"
    paces = ", ".join(f"{row.label} {_amount(value, row.unit)}" for row, value in known)
    return f"{paces} of the machine of the floors; a time is judged by what it is at that pace, if shown"


def _section(name: str, rows: Sequence[Row]) -> RenderableType:
    """The rows of one subject: those with a value, and below them why the others have none."""
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    grid.add_column("", min_width=_LABEL, overflow="fold")
    paced = any(row.paces for row in rows)
    for heading in ("measured", *(["at pace"] if paced else []), "floor", "aim", "spread"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("", overflow="fold", min_width=_VERDICT)
    told = ""
    for row in rows:
        if row.value is None:
            continue
        label = Text(row.label)
        if row.how != told:
            label.append(f"\n{row.how}", "dim")
        told = row.how
        grid.add_row(
            label,
            Text(_amount(row.value, row.unit), "") if row.paces else Text(_judged(row.value, row), "bold"),
            *([Text("" if row.at_pace is None else _judged(row.at_pace, row), "bold")] if paced else []),
            Text(_bound(row.floor, row)),
            Text(_bound(row.aim, row), "dim"),
            Text("" if row.spread is None or len(row.values) < 2 else f"{row.spread:.0%}", "dim"),
            _said(row),
        )
    parts: list[RenderableType] = [Text(f"\n{name}", "bold")]
    if grid.row_count:
        parts.append(Padding(grid, (0, 2), expand=False))
    parts += [Padding(line, (0, 2)) for line in _without_value(rows)]
    return Group(*parts)


def _without_value(rows: Sequence[Row]) -> list[Text]:
    """Rows for which nothing was measured, together where the reason is the same."""
    reasons: dict[tuple[Verdict, str], list[str]] = {}
    for row in rows:
        if row.value is None:
            reasons.setdefault((row.verdict, row.note), []).append(row.label)
    return [
        Text.assemble(
            (verdict.value + (f" ({printable(reason)})" if reason else ""), _STYLES[verdict]),
            (f": {'; '.join(labels)}", "dim"),
        )
        for (verdict, reason), labels in reasons.items()
    ]


def _said(row: Row) -> Text:
    said = Text("" if row.verdict is Verdict.SHOWN else row.verdict.value, _STYLES[row.verdict])
    if row.note:
        said.append(": " if said.plain else "").append(printable(row.note), "dim")
    return said


def _verdict(rows: Sequence[Row]) -> Text:
    judged = [row for row in rows if row.verdict in (Verdict.AIM, Verdict.HOLDS, *BAD)]
    parts = [
        f"{sum(row.verdict is verdict for row in rows)} {verdict.value}"
        for verdict in Verdict
        if verdict is not Verdict.SHOWN and any(row.verdict is verdict for row in rows)
    ]
    held = sum(row.verdict in (Verdict.AIM, Verdict.HOLDS) for row in rows)
    style = "bold red" if exit_code(rows) else "bold green"
    return Text(f"{held} of {len(judged)} floors hold", style).append(f" ({'; '.join(parts)})", "not bold")


def _bound(bound: float | None, row: Row) -> str:
    if bound is None:
        return ""
    return f"{'≤' if row.at_most else '≥'} {_amount(bound, row.unit)}"


def _judged(value: float, row: Row) -> str:
    """What the verdict is about, with so many digits that it differs from floor and aim as shown."""
    digits = _digits(value, row.unit)
    others = [bound for bound in (row.floor, row.aim) if bound is not None and bound != value]
    while any(f"{value:.{digits}f}" == f"{bound:.{digits}f}" for bound in others):
        digits += 1
    return _written(value, row.unit, digits)


def _amount(value: float, unit: str) -> str:
    """A number with as many digits as it deserves."""
    return _written(value, unit, _digits(value, unit))


def _digits(value: float, unit: str) -> int:
    if unit == "x":
        return 2
    whole = value == 0 or abs(value) >= 100 or unit in ("jobs", "files")
    return 0 if whole else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3


def _written(value: float, unit: str, digits: int) -> str:
    return f"{value:,.{digits}f}{'' if unit == 'x' else ' '}{unit}"
