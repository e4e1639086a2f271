"""`glassq verify`: judge recorded histories by the contract."""

from __future__ import annotations

import click
import msgspec
from rich.table import Column

from glassq.cli import options
from glassq.cli.terminal import grid, numbers, open_console, print_json, print_rows, sentences
from glassq.testing.history import INVARIANTS, Report, check, read

_WITHOUT = ("reruns_per_lane",)
"""Figures for programs only: they may have a thousand entries."""


@click.command(short_help="Check recorded histories for lost, reordered or doubled jobs.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--strict", is_flag=True, help="Exit 1 also when something could not be checked.")
@click.option("--losses-expected", is_flag=True, help="The store was made to lose data: judge how it did.")
@options.as_json
def verify(paths: tuple[str, ...], strict: bool, losses_expected: bool, as_json: bool) -> int:
    """Check what `Glassq(history="dir")` recorded, and say where a promise was broken.

    PATH is a directory of histories, or single files of one. All processes that used the store must have
    recorded, and `glassq.testing.history.dump` at the end lets it be checked that nothing was lost.
    Nothing is accused without proof: what a killed process had asked may have happened or not. What could
    not be checked is named in a note, which alone is no failure unless --strict is given.

    \b
    Examples:
      glassq verify /var/lib/shop/history
      glassq verify history/*.jsonl --json
      glassq verify --strict history

    Exit codes: 0 nothing found in what could be checked (notes name the rest), 1 findings, with --strict
    also notes, 2 no history, or one that cannot be read.
    """
    report = check(read(paths), losses_expected=losses_expected)
    if as_json:
        print_json({"clean": report.clean, **msgspec.to_builtins(report)})
    else:
        _print(report)
    return 0 if report.clean and not (strict and report.notes) else 1


def _print(report: Report) -> None:
    figures = grid(Column("", overflow="fold"), numbers(""))
    figures.show_header = False
    for name, value in report.figures.items():
        if name not in _WITHOUT:
            figures.add_row(name.replace("_", " "), _shown(value))
    open_console().print(figures)
    for note in report.notes:
        click.echo(f"note: {note}")
    for invariant, total in report.counts.items():
        click.echo(f"\n{invariant} broken {total} times: {INVARIANTS[invariant]}")
        rows = grid(sentences("what"), Column("where", overflow="fold"))
        for finding in report.findings:
            if finding.invariant == invariant:
                rows.add_row(finding.what, "\n".join(finding.where))
        print_rows(rows)
    click.echo("\nnothing found" if report.clean else f"\n{sum(report.counts.values())} findings")


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {name}" for name, count in value.items()) or "none"
    return f"{value:,}"
