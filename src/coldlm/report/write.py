"""The report as files: Markdown, LaTeX, CSV and figures, each written whole or not at all."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from coldlm.core.files import write_file
from coldlm.report.cohorts import CohortMeasure, cohort_table, measure_cohorts
from coldlm.report.figure import draw_k_shot, draw_warmup, render
from coldlm.report.formats import latex, markdown, terminal
from coldlm.report.measure import LIST_QUALITY, Headline, further_quality, measure
from coldlm.report.notes import about_shots, flags, footnotes
from coldlm.report.pack import pack
from coldlm.report.pareto import draw_cost
from coldlm.report.results import Runs, read_runs
from coldlm.report.rows import Comparison
from coldlm.report.table import (
    Table,
    classification_table,
    cost_table,
    further_table,
    k_shot_table,
    list_table,
    quality_table,
    warmup_table,
    window_table,
)
from coldlm.report.texts import TextWorth, measure_texts, texts_table

if TYPE_CHECKING:
    from rich.console import Console

UNCUT: Final = 200
"""Characters in a line of what is piped or stored, where no terminal sets a width."""


@dataclass(frozen=True)
class Report:
    """What was read and what was written. ``headlines``, ``texts``: one per comparison of ``runs``.
    ``cohorts``: of all."""

    runs: Runs
    headlines: tuple[Headline, ...]
    texts: tuple[tuple[TextWorth, ...], ...]
    cohorts: tuple[CohortMeasure, ...]
    files: tuple[Path, ...] = ()


def make_report(paths: Sequence[Path]) -> Report:
    """Read and measure the runs under ``paths``, write nothing; raises what ``read_runs``
    raises."""
    runs = read_runs(paths)
    headlines = tuple(measure(comparison) for comparison in runs.comparisons)
    texts = tuple(measure_texts(comparison) for comparison in runs.comparisons)
    return Report(runs, headlines, texts, measure_cohorts(runs.comparisons))


def write_report(paths: Sequence[Path], out: Path, packed: Path | None = None) -> Report:
    """Read the runs under ``paths`` and write ``report.md, table.md, table.tex, table.csv,
    cohorts.csv, warmup.csv`` and the figures (PNG and SVG; one pair per comparison) into the folder
    ``out``. Files of an earlier report are replaced. ``packed``: a file that gets the runs
    themselves, see ``pack``.

    Raises:
        RunFolderError: no finished run under ``paths``.
    """
    report = make_report(paths)
    parts = list(zip(report.runs.comparisons, report.headlines, report.texts, strict=True))
    files: dict[str, str | bytes] = {
        "report.md": _report_page(report),
        "table.md": _table_page(parts),
    }
    files["table.tex"] = "% needs \\usepackage{booktabs,graphicx,xcolor}\n" + "\n".join(
        piece for part in parts for piece in _latex_parts(*part)
    )
    lines = [line for part in parts for line in _table_lines(*part)]
    files["table.csv"] = pl.DataFrame(lines, infer_schema_length=None).write_csv()
    comparisons = report.runs.comparisons
    files["warmup.csv"] = pl.concat(
        [_warmup_lines(comparison) for comparison in comparisons]
    ).write_csv()
    if shown := [
        _k_shot_lines(comparison.title, shots)
        for comparison in comparisons
        for shots in comparison.shots
    ]:
        files["k_shot.csv"] = pl.concat(shown).write_csv()
    files["cohorts.csv"] = pl.DataFrame(
        [m.line() for m in report.cohorts], infer_schema_length=None
    ).write_csv()
    for comparison, headline, _ in parts:
        figures = {"figure": draw_warmup(comparison), "cost": draw_cost(comparison, headline)}
        if comparison.shots:
            figures["k_shot"] = draw_k_shot(comparison)
        for name, figure in figures.items():
            for kind in ("png", "svg"):
                files[f"{_stem(name, comparison, report)}.{kind}"] = render(figure, kind)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        _write(out / name, content)
    if packed is not None:
        packed.parent.mkdir(parents=True, exist_ok=True)
        _write(packed, pack(report.runs.found))
    return replace(report, files=tuple(out / name for name in files))


def print_report(report: Report, console: Console | None = None) -> None:
    """Headline, cost and item warm-up tables and the footnotes, cut to the width of the terminal; a
    file or a pipe gets them whole. The other tables are in ``report.md``."""
    from rich.console import Console
    from rich.text import Text

    console = console or (Console() if sys.stdout.isatty() else Console(width=UNCUT))
    for comparison, headline, texts in zip(
        report.runs.comparisons, report.headlines, report.texts, strict=True
    ):
        console.print(Text(f"\n{comparison.title}", style="bold"))
        for flag in flags(comparison):
            console.print(Text(flag, style="bold red"))
        for table in (
            *_headline_tables(comparison, headline, texts),
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
    for folder, why in report.runs.skipped:
        console.print(Text(f"skipped {folder}: {why}", style="yellow"))


def _write(path: Path, content: str | bytes) -> None:
    data = content.encode("utf-8") if isinstance(content, str) else content
    write_file(path, lambda part: part.write_bytes(data))


def _headline_tables(
    comparison: Comparison, headline: Headline, texts: tuple[TextWorth, ...]
) -> tuple[Table, ...]:
    lists = (list_table(comparison),) if comparison.candidates == "impression" else ()
    further, classified = further_table(comparison), classification_table(comparison)
    return (
        quality_table(comparison, headline),
        *((further,) if further else ()),
        *((texts_table(comparison, texts),) if texts else ()),
        *lists,
        *((classified,) if classified else ()),
        cost_table(comparison, headline),
    )


def _curve_tables(comparison: Comparison) -> tuple[Table, ...]:
    windows = () if comparison.by_window().is_empty() else (window_table(comparison),)
    return (warmup_table(comparison, "item"), warmup_table(comparison, "user"), *windows)


def _report_page(report: Report) -> str:
    cohorts = cohort_table(report.cohorts)
    parts = ["# Report\n", f"## {cohorts.title}\n\n{markdown(cohorts)}"]
    for comparison, headline, texts in zip(
        report.runs.comparisons, report.headlines, report.texts, strict=True
    ):
        parts.append(f"## {comparison.title}\n")
        parts += [f"**{flag}**\n" for flag in flags(comparison)]
        parts.append(
            f"![nDCG@10 against feedback events]({_stem('figure', comparison, report)}.png)\n"
        )
        for table in (*_headline_tables(comparison, headline, texts), *_curve_tables(comparison)):
            parts.append(f"### {table.title}\n\n{markdown(table)}")
            if table.title == "Cost":
                parts.append(f"![nDCG@10 against cost]({_stem('cost', comparison, report)}.png)\n")
        parts.append(
            "### Notes\n\n"
            + "\n".join(f"- {note}" for note in footnotes(comparison, headline))
            + "\n"
        )
        if comparison.shots:
            parts.append(
                f"![nDCG@10 against revealed events]({_stem('k_shot', comparison, report)}.png)\n"
            )
        parts += [_k_shot_part(shots) for shots in comparison.shots]
    if report.runs.skipped:
        lines = "\n".join(f"- `{folder}`: {why}" for folder, why in report.runs.skipped)
        parts.append(f"## Skipped runs\n\n{lines}\n")
    return "\n".join(parts)


def _table_page(measured: Sequence[tuple[Comparison, Headline, tuple[TextWorth, ...]]]) -> str:
    parts = []
    for comparison, headline, texts in measured:
        parts += [f"**{comparison.title}**\n", *(f"**{flag}**\n" for flag in flags(comparison))]
        parts += [markdown(table) for table in _headline_tables(comparison, headline, texts)]
        parts.append("\n".join(f"- {note}" for note in footnotes(comparison, headline)) + "\n")
        parts += [_k_shot_part(shots) for shots in comparison.shots]
    return "\n".join(parts)


def _latex_parts(
    comparison: Comparison, headline: Headline, texts: tuple[TextWorth, ...]
) -> Iterator[str]:
    for table in _headline_tables(comparison, headline, texts):
        yield latex(
            table,
            f"{comparison.title}: {table.title.lower()}. {' '.join(flags(comparison))}".strip(),
        )
    for shots in comparison.shots:
        table = k_shot_table(shots)
        yield latex(table, f"{comparison.title}: {table.title}. {' '.join(flags(shots))}".strip())


def _k_shot_part(shots: Comparison) -> str:
    """One side's table with its own flags and notes: not every run beside it need have revealed
    anything."""
    table = k_shot_table(shots)
    above = "".join(f"**{flag}**\n\n" for flag in flags(shots))
    return f"### {table.title}\n\n{above}{markdown(table)}\n" + "".join(
        f"- {note}\n" for note in about_shots(shots)
    )


def _table_lines(
    comparison: Comparison, headline: Headline, texts: tuple[TextWorth, ...]
) -> list[dict[str, Any]]:
    """One flat record per row, with every digit; an empty cell is a number that does not exist."""
    lines, worth = [], {each.row: each.line() for each in texts}
    lists = LIST_QUALITY if comparison.candidates == "impression" else {}
    more = lists | further_quality(comparison)
    for i, m in enumerate(headline.measures):
        vs = (
            asdict(m.vs_trivial)
            if m.vs_trivial
            else dict.fromkeys(("mean", "low", "high", "p", "users"))
        )
        lines.append(
            {
                "comparison": comparison.title,
                "split": comparison.split,
                "candidates": comparison.candidates,
            }
            | {
                "kind": m.row.kind,
                "label": m.row.label,
                "schedule": m.row.schedule,
                "seeds": m.row.seeds,
            }
            | m.quality
            | {key: comparison.value(i, **where) for key, where in more.items()}
            | {"ndcg@10/low": m.low, "ndcg@10/high": m.high}
            | {f"vs_trivial/{name}": value for name, value in vs.items()}
            | {
                "vs_trivial/p_holm": m.p_holm,
                "vs_trivial/p_wilcoxon_holm": m.p_wilcoxon,
                "bold": m.is_bold,
            }
            | worth.get(i, {})
            | m.cost
        )
    return lines


def _names(comparison: Comparison) -> pl.DataFrame:
    """``row`` and what the row is called in CSV files."""
    columns = {
        name: [getattr(row, name) for row in comparison.rows]
        for name in ("kind", "label", "schedule", "seeds")
    }
    return pl.DataFrame({"row": range(len(comparison.rows)), **columns})


def _k_shot_lines(title: str, shots: Comparison) -> pl.DataFrame:
    lines = shots.values.join(_names(shots), on="row", maintain_order="left").with_columns(
        comparison=pl.lit(title),
        split=pl.lit(shots.split),
        side=pl.lit(shots.title),
        shots=pl.col("bucket").cast(pl.Int64),
    )
    return lines.sort("average", "metric", "k", "row", "shots").select(
        "comparison", "split", "side", "kind", "label", "schedule", "seeds", "average", "metric", "k", "shots", "value",
        "n_users", "n_queries", "n_events",
    )  # fmt: skip


def _warmup_lines(comparison: Comparison) -> pl.DataFrame:
    curves = pl.concat(
        [comparison.curve(by).with_columns(by=pl.lit(by)) for by in ("item", "user")]
    )
    joined = curves.with_columns(pl.lit(comparison.title).alias("comparison")).join(
        _names(comparison), on="row", maintain_order="left"
    )
    return joined.select(
        "comparison", "kind", "label", "schedule", "by", "bucket", "value", "n_events"
    )


def _stem(name: str, comparison: Comparison, report: Report) -> str:
    """``figure``, or with several comparisons ``figure-<title>`` in letters that any file system
    takes."""
    if len(report.runs.comparisons) == 1:
        return name
    return f"{name}-{re.sub(r'[^A-Za-z0-9.]+', '-', comparison.title).strip('-')}"
