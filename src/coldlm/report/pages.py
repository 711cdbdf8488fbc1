"""The report as text: Markdown and LaTeX, each table with its flags and notes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from coldlm.report.chosen_control import chosen_table
from coldlm.report.classification import calibration_table, classification_table
from coldlm.report.cohorts import cohort_table, new_items_table
from coldlm.report.columns import quality_table
from coldlm.report.flags import flags
from coldlm.report.formats import latex, markdown, marks_in
from coldlm.report.groups import groups_tables
from coldlm.report.lists import example_tables, lists_table
from coldlm.report.measure import Headline, has_baskets, has_views
from coldlm.report.measured import Part, Report
from coldlm.report.notes import about_shots, footnotes
from coldlm.report.origins import origin_tables
from coldlm.report.probes import matrix_table
from coldlm.report.published import published_table
from coldlm.report.ranks import rank_tables
from coldlm.report.rows import Comparison
from coldlm.report.schedules import schedule_table
from coldlm.report.slots import slot_points, slots_table
from coldlm.report.table import (
    Table,
    basket_table,
    cost_table,
    further_table,
    k_shot_table,
    list_table,
    views_table,
    warmup_table,
    window_table,
)
from coldlm.report.target import ON_THE_SHELF, PEERS
from coldlm.report.texts import TextWorth, texts_table


def headline_tables(
    comparison: Comparison, headline: Headline, texts: tuple[TextWorth, ...]
) -> tuple[Table, ...]:
    """Return the tables that say who is best, in order; those that have nothing to say are left out."""
    lists = (list_table(comparison),) if comparison.candidates == "impression" else ()
    views = (views_table(comparison),) if has_views(comparison) else ()
    chosen = chosen_table(comparison)
    points, shown = slot_points(comparison), lists_table(comparison)
    further = further_table(comparison)
    probable = classification_table(comparison), calibration_table(comparison)
    schedules, published = schedule_table(comparison), published_table(comparison)
    return (
        quality_table(comparison, headline),
        *((chosen,) if chosen else ()),
        *views,
        *((basket_table(comparison),) if has_baskets(comparison) else ()),
        *((shown,) if shown else ()),
        *((slots_table(comparison, points),) if points else ()),
        *((further,) if further else ()),
        *((texts_table(comparison, texts),) if texts else ()),
        *lists,
        *(table for table in probable if table),
        cost_table(comparison, headline),
        *((schedules,) if schedules else ()),
        *((published,) if published else ()),
    )


def curve_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return scorers by group of users, where they are told apart; strategies in each view and bucket of
    items; warm-up by item, among peers too, and by user, among peers and on the shelf too, and, where
    there are windows, the values of each, and what versions are worth on all of them. On the shelf all
    items are about equally new."""
    by_view = new_items_table(comparison)
    windows = () if comparison.by_window().is_empty() else (window_table(comparison),)
    versions = matrix_table(comparison)
    by_item, by_user = (
        [warmup_table(comparison, by, among) for among in (None, *asked)]
        for by, asked in (
            ("item", (PEERS,) if has_views(comparison) else ()),
            ("user", (PEERS, ON_THE_SHELF) if has_views(comparison) else ()),
        )
    )
    first, last = ((each,) if each else () for each in (by_view, versions))
    return (*groups_tables(comparison), *first, *by_item, *by_user, *windows, *last)


def tables_over_all(comparisons: Sequence[Comparison]) -> tuple[Table, ...]:
    """Return what several comparisons say together: over origins of one data set, and over data sets."""
    return (*origin_tables(comparisons), *rank_tables(comparisons))


def report_page(report: Report) -> str:
    """Return everything that the report says, figures by their file names."""
    cohorts = cohort_table(report.cohorts)
    parts = ["# Report\n", f"## {cohorts.title}\n\n{markdown(cohorts)}"]
    parts += [
        f"## {table.title}\n\n{markdown(table)}"
        for table in tables_over_all(report.runs.comparisons)
    ]
    for comparison, headline, texts in report.parts:
        parts.append(f"## {comparison.title}\n")
        parts += [f"**{flag}**\n" for flag in flags(comparison)]
        parts.append(
            f"![{comparison.target.words} against feedback events]({report.stem('figure', comparison)}.png)\n"
        )
        for table in (*headline_tables(comparison, headline, texts), *curve_tables(comparison)):
            parts.append(f"### {table.title}\n\n{markdown(table)}")
            if table.title == "Cost":
                parts.append(
                    f"![{comparison.target.words} against cost]({report.stem('cost', comparison)}.png)\n"
                )
            if table.title == "Calibration":
                parts.append(f"![Reliability]({report.stem('reliability', comparison)}.png)\n")
            if table.title.startswith("Slots"):
                parts.append(
                    f"![Recall@10 with kept places]({report.stem('slots', comparison)}.png)\n"
                )
            if table.title == "Schedules":
                parts.append(f"![nDCG@10 over time]({report.stem('stream', comparison)}.png)\n")
        parts += [
            f"### {table.title}\n\n{markdown(table)}"
            for table in example_tables(comparison, headline)
        ]
        parts.append(
            "### Notes\n\n"
            + "\n".join(f"- {note}" for note in footnotes(comparison, headline))
            + "\n"
        )
        if comparison.shots:
            parts.append(
                f"![nDCG@10 against revealed events]({report.stem('k_shot', comparison)}.png)\n"
            )
        parts += [_k_shot_part(shots) for shots in comparison.shots]
    if report.runs.skipped:
        lines = "\n".join(f"- `{folder}`: {why}" for folder, why in report.runs.skipped)
        parts.append(f"## Skipped runs\n\n{lines}\n")
    return "\n".join(parts)


def table_page(parts: Sequence[Part]) -> str:
    """Return the headline tables of every comparison with their flags and notes, for a README."""
    lines = []
    for comparison, headline, texts in parts:
        lines += [f"**{comparison.title}**\n", *(f"**{flag}**\n" for flag in flags(comparison))]
        lines += [markdown(table) for table in headline_tables(comparison, headline, texts)]
        lines.append("\n".join(f"- {note}" for note in footnotes(comparison, headline)) + "\n")
        lines += [_k_shot_part(shots) for shots in comparison.shots]
    return "\n".join(lines)


def latex_parts(
    comparison: Comparison, headline: Headline, texts: tuple[TextWorth, ...]
) -> Iterator[str]:
    """Yield the headline tables of one comparison, each with its flags in the caption and what its marks
    mean below."""
    tables = [(table, comparison) for table in headline_tables(comparison, headline, texts)]
    tables += [(k_shot_table(shots), shots) for shots in comparison.shots]
    for table, its in tables:
        words = table.title[0].lower() + table.title[1:]
        caption = f"{comparison.title}: {words}. {' '.join(flags(its))}".strip()
        yield latex(table, caption, tex_label(comparison.title, table), marks_in(table))


def tex_label(title: str, table: Table) -> str:
    """Return what a table is referred to by: its comparison, and its own title up to a bracket."""
    return f"{title} {table.title.partition(' (')[0].partition(':')[0]}"


def _k_shot_part(shots: Comparison) -> str:
    """One side's table with its own flags and notes: not every run beside it need have revealed
    anything."""
    table = k_shot_table(shots)
    above = "".join(f"**{flag}**\n\n" for flag in flags(shots))
    return f"### {table.title}\n\n{above}{markdown(table)}\n" + "".join(
        f"- {note}\n" for note in about_shots(shots)
    )
