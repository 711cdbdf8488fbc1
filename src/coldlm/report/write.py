"""The report as files: Markdown, LaTeX, CSV and figures, each written whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from coldlm.core.files import write_file
from coldlm.report.asked import Asked
from coldlm.report.classification import draw_reliability
from coldlm.report.columns import best_rows, quality_table
from coldlm.report.figure import draw_k_shot, draw_warmup, render
from coldlm.report.flags import flags
from coldlm.report.fonts import ADVICE, lacking
from coldlm.report.formats import fitting, preamble, terminal
from coldlm.report.html import html_page
from coldlm.report.measure import Headline
from coldlm.report.measured import Report, make_report
from coldlm.report.notes import footnotes
from coldlm.report.pack import pack
from coldlm.report.pages import (
    latex_parts,
    report_page,
    table_page,
)
from coldlm.report.pareto import draw_cost
from coldlm.report.records import k_shot_lines, table_lines, warmup_lines
from coldlm.report.rows import Comparison
from coldlm.report.schedules import draw_stream, in_streams
from coldlm.report.slots import draw_slots, slot_points
from coldlm.report.table import Table
from coldlm.report.verdict import judge

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

UNCUT: Final = 120
"""Characters in a line of what is piped or stored, where neither a terminal nor COLUMNS sets a width."""

MOST_LETTERS: Final = 12
"""Of those that a warning names."""

MOST_ROWS: Final = 20
"""Of a table, in the terminal."""


def write_report(
    paths: Sequence[Path], out: Path, packed: Path | None = None, asked: Asked | None = None
) -> Report:
    """Read the runs under ``paths`` and write ``report.html, report.md, table.md, table.tex, table.csv,
    cohorts.csv, warmup.csv`` and the figures (PNG and SVG; one pair per comparison) into the folder
    ``out``. Files of an earlier report are replaced. ``packed``: a file that gets the runs
    themselves, see ``pack``. ``asked``: of which metric, of which runs, and how.

    Raises:
        RunFolderError: no finished run under ``paths``.
    """
    return write_files(make_report(paths, asked), out, packed)


def write_files(report: Report, out: Path, packed: Path | None = None) -> Report:
    """Write what ``write_report`` does of a report that is made."""
    figures, missing = _figures(report)
    if missing:
        said = (
            f"{len(missing)} letters of names ({''.join(sorted(missing)[:MOST_LETTERS])}): {ADVICE}"
        )
        report = replace(report, warnings=(*report.warnings, said))
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
    tex = "\n".join(piece for part in parts for piece in latex_parts(*part))
    lines = [line for part in parts for line in table_lines(*part)]
    cohorts = [measured.line() for measured in report.cohorts]
    shown = [k_shot_lines(c.title, shots) for c in comparisons for shots in c.shots]
    return {
        "report.md": report_page(report),
        "table.md": table_page(parts),
        "table.tex": preamble(tex) + "\n" + tex,
        "table.csv": _table(lines),
        "warmup.csv": pl.concat([warmup_lines(each) for each in comparisons]).write_csv(),
        **({"k_shot.csv": pl.concat(shown).write_csv()} if shown else {}),
        "cohorts.csv": _table(cohorts),
    }


def _table(lines: Sequence[dict[str, Any]]) -> str:
    """CSV, in which a number that does not exist is an empty cell."""
    return pl.DataFrame(lines, infer_schema_length=None).fill_nan(None).write_csv()


def _figures(report: Report) -> tuple[dict[str, bytes], set[str]]:
    """Name -> content of the figures, each in both formats; and letters that no font here has."""
    files, missing = {}, set[str]()
    for comparison, headline, _ in report.parts:
        for name, figure in draw_all(comparison, headline).items():
            missing |= lacking(figure)
            for kind in ("png", "svg"):
                files[f"{report.stem(name, comparison)}.{kind}"] = render(figure, kind)
    return files, missing


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
    """The verdict, the flags and the best rows of each comparison, within the width of the terminal, and
    what is not shown; all of it is in the files."""
    from rich.text import Text

    console = console or _console()
    for comparison, headline, _ in report.parts:
        verdict, whole = judge(comparison, headline), quality_table(comparison, headline)
        console.print(Text(f"\n{comparison.title}", style="bold"))
        console.print(Text(f"{verdict.answer}. {verdict.words}"))
        warnings = [note for note in footnotes(comparison, headline) if note.startswith("WARNING")]
        for flag in (*flags(comparison), *warnings):
            console.print(Text(flag, style="bold red"))
        best = best_rows(whole, comparison, headline, MOST_ROWS)
        table, left_out = fitting(best, console.width)
        console.print()
        for panel in terminal(table, console.width):
            console.print(panel)
        hidden = len(whole.body) - len(best.body)
        said = [f"{hidden} more rows, of {len(whole.body)}"] * bool(hidden)
        said += [f"columns left out: {', '.join(left_out)}"] * bool(left_out)
        said += [f"k-shot by {', '.join(shots.title for shots in comparison.shots)}"] * bool(
            comparison.shots
        )
        said.append("costs, warm-up, figures and notes")
        console.print(Text(f"in report.html: {'; '.join(said)}", style="dim"))
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

    known = sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdigit()
    return Console(highlight=False) if known else Console(width=UNCUT, highlight=False)


def _write(path: Path, content: str | bytes) -> None:
    data = content.encode("utf-8") if isinstance(content, str) else content
    write_file(path, lambda part: part.write_bytes(data))
