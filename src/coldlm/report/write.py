"""The report as files: Markdown, LaTeX, CSV and figures, each written whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from coldlm.core.files import write_file
from coldlm.report.classification import draw_reliability
from coldlm.report.cohorts import cohort_table
from coldlm.report.figure import draw_k_shot, draw_warmup, render
from coldlm.report.flags import flags
from coldlm.report.formats import terminal
from coldlm.report.html import html_page
from coldlm.report.measure import Headline
from coldlm.report.measured import Report, make_report
from coldlm.report.notes import about_shots, footnotes
from coldlm.report.pack import pack
from coldlm.report.pages import (
    headline_tables,
    latex_parts,
    report_page,
    table_page,
    tables_over_all,
)
from coldlm.report.pareto import draw_cost
from coldlm.report.records import k_shot_lines, table_lines, warmup_lines
from coldlm.report.rows import Comparison
from coldlm.report.schedules import draw_stream, in_streams
from coldlm.report.slots import draw_slots, slot_points
from coldlm.report.table import Table, k_shot_table, warmup_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

UNCUT: Final = 200
"""Characters in a line of what is piped or stored, where no terminal sets a width."""


def write_report(paths: Sequence[Path], out: Path, packed: Path | None = None) -> Report:
    """Read the runs under ``paths`` and write ``report.html, report.md, table.md, table.tex, table.csv,
    cohorts.csv, warmup.csv`` and the figures (PNG and SVG; one pair per comparison) into the folder
    ``out``. Files of an earlier report are replaced. ``packed``: a file that gets the runs
    themselves, see ``pack``.

    Raises:
        RunFolderError: no finished run under ``paths``.
    """
    return write_files(make_report(paths), out, packed)


def write_files(report: Report, out: Path, packed: Path | None = None) -> Report:
    """Write what ``write_report`` does of a report that is made."""
    figures = _figures(report)
    page = {"report.html": html_page(report, figures)}
    files: dict[str, str | bytes] = {**_texts(report), **page, **figures}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        _write(out / name, content)
    if packed is not None:
        packed.parent.mkdir(parents=True, exist_ok=True)
        _write(packed, pack(report.runs.found))
    return replace(report, files=tuple(out / name for name in files))


def _texts(report: Report) -> dict[str, str]:
    """Name -> content of the files that hold text."""
    comparisons, parts = report.runs.comparisons, report.parts
    tables = [piece for part in parts for piece in latex_parts(*part)]
    lines = [line for part in parts for line in table_lines(*part)]
    cohorts = [measured.line() for measured in report.cohorts]
    shown = [k_shot_lines(c.title, shots) for c in comparisons for shots in c.shots]
    return {
        "report.md": report_page(report),
        "table.md": table_page(parts),
        "table.tex": "% needs \\usepackage{booktabs,graphicx,xcolor}\n" + "\n".join(tables),
        "table.csv": _table(lines),
        "warmup.csv": pl.concat([warmup_lines(each) for each in comparisons]).write_csv(),
        **({"k_shot.csv": pl.concat(shown).write_csv()} if shown else {}),
        "cohorts.csv": _table(cohorts),
    }


def _table(lines: Sequence[dict[str, Any]]) -> str:
    """CSV, in which a number that does not exist is an empty cell."""
    return pl.DataFrame(lines, infer_schema_length=None).fill_nan(None).write_csv()


def _figures(report: Report) -> dict[str, bytes]:
    """Name -> content of the figures, each in both formats."""
    return {
        f"{report.stem(name, comparison)}.{kind}": render(figure, kind)
        for comparison, headline, _ in report.parts
        for name, figure in draw_all(comparison, headline).items()
        for kind in ("png", "svg")
    }


def draw_all(comparison: Comparison, headline: Headline) -> dict[str, Figure]:
    """Return the figures that there are of a comparison, by name."""
    figures = {"figure": draw_warmup(comparison), "cost": draw_cost(comparison, headline)}
    if comparison.shots:
        figures["k_shot"] = draw_k_shot(comparison)
    if reliability := draw_reliability(comparison):
        figures["reliability"] = reliability
    if points := slot_points(comparison):
        figures["slots"] = draw_slots(comparison, points)
    if in_streams(comparison):
        figures["stream"] = draw_stream(comparison)
    return figures


def print_report(report: Report, console: Console | None = None) -> None:
    """Headline, cost and item warm-up tables and the footnotes, cut to the width of the terminal; a
    file or a pipe gets them whole. The other tables are in ``report.md``."""
    from rich.text import Text

    console = console or _console()
    for comparison, headline, texts in report.parts:
        console.print(Text(f"\n{comparison.title}", style="bold"))
        for flag in flags(comparison):
            console.print(Text(flag, style="bold red"))
        for table in (
            *headline_tables(comparison, headline, texts),
            warmup_table(comparison, "item"),
        ):
            for panel in terminal(table, console.width):
                console.print()
                console.print(panel)
        console.print()
        for note in footnotes(comparison, headline):
            console.print(Text(note, style="bold red" if note.startswith("WARNING") else "dim"))
        for shots in comparison.shots:
            for panel in terminal(k_shot_table(shots), console.width):
                console.print()
                console.print(panel)
            for note in (*flags(shots), *about_shots(shots)):
                console.print(Text(note, style="bold red" if note.startswith("WARNING") else "dim"))
    if len(report.runs.comparisons) > 1:
        for panel in terminal(cohort_table(report.cohorts), console.width):
            console.print()
            console.print(panel)
    for table in tables_over_all(report.runs.comparisons):
        for panel in terminal(table, console.width):
            console.print()
            console.print(panel)
    for folder, why in report.runs.skipped:
        console.print(Text(f"skipped {folder}: {why}", style="yellow"))


def print_table(table: Table) -> None:
    """One table, cut to the width of the terminal."""
    console = _console()
    for panel in terminal(table, console.width):
        console.print()
        console.print(panel)


def _console() -> Console:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=UNCUT)


def _write(path: Path, content: str | bytes) -> None:
    data = content.encode("utf-8") if isinstance(content, str) else content
    write_file(path, lambda part: part.write_bytes(data))
