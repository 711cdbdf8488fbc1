"""The report as one page that needs nothing else: verdicts, tables that sort and filter, figures that
follow the page's colours, and where each row comes from."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Final

from coldlm.report.cohorts import cohort_table
from coldlm.report.flags import flags
from coldlm.report.formats import latex, marks_in
from coldlm.report.html_grid import grid
from coldlm.report.inline_svg import inline_svg
from coldlm.report.lists import example_tables
from coldlm.report.measured import Part, Report
from coldlm.report.notes import about_shots, footnotes
from coldlm.report.pages import curve_tables, headline_tables, tables_over_all, tex_label
from coldlm.report.provenance import data_hashes, provenance_table
from coldlm.report.rows import KINDS, Comparison
from coldlm.report.table import Table, k_shot_table
from coldlm.report.verdict import Verdict, judge

PICTURES: Final[dict[str, tuple[str, str]]] = {
    "figure": ("{} against feedback events", ""),
    "slots": ("Recall@10 of all against that of new items", "Slots"),
    "reliability": ("Probability said, and share taken", "Calibration"),
    "cost": ("{} against cost", "Cost"),
    "stream": ("nDCG@10 over time", "Schedules"),
    "k_shot": ("nDCG@10 against revealed events", "k-shot"),
}
"""Name of a figure's file -> its caption, of the headline, and how the title begins of the table below which it
stands; first of all where that is empty, last where there is no such table."""

KIND_WORDS: Final = {"strategy": "strategies", "control": "controls", "baseline": "baselines"}

CODE: Final = re.compile(r"`([^`]+)`")
"""What notes put between backticks: names of rows and options."""


@dataclass
class _Contents:
    """Headings in the order of the page: (id, words, whether it begins a part)."""

    entries: list[tuple[str, str, bool]]

    def add(self, words: str, *, part: bool = False) -> str:
        """Return the id of a new heading."""
        name = f"s{len(self.entries)}"
        self.entries.append((name, words, part))
        return name


def html_page(report: Report, figures: Mapping[str, bytes]) -> str:
    """Return the page. ``figures``: content of the figures' files by name, of which the SVGs are put
    into it. The same runs give the same bytes."""
    contents = _Contents([])
    verdicts = [judge(comparison, headline) for comparison, headline, _ in report.parts]
    parts = [
        _part(report, part, verdict, figures, contents)
        for part, verdict in zip(report.parts, verdicts, strict=True)
    ]
    if report.cohorts:
        table = cohort_table(report.cohorts)
        heading = contents.add("All data sets", part=True)
        tables = (table, *tables_over_all(report.runs.comparisons))
        inner = _filter(table.kinds) + "".join(_tables(tables, "all data sets", {}, contents))
        parts.append(
            f'<section class="part" aria-labelledby="{heading}"><h2 id="{heading}">All data sets'
            f"</h2>{inner}</section>"
        )
    style, script = (_asset(name) for name in ("page.css", "page.js"))
    policy = (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    titles = ", ".join(comparison.title for comparison, *_ in report.parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(titles)}: coldlm report</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{_head(report, verdicts, contents)}\n<main>\n{_skipped(report)}\n"
        + "\n".join(parts)
        + f"\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def _asset(name: str) -> str:
    """A file that is shipped beside this module."""
    return files("coldlm.report").joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """What the policy allows: this very text."""
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _head(report: Report, verdicts: Sequence[Verdict], contents: _Contents) -> str:
    """Title, colours, and the contents, where each comparison has its answer beside it."""
    n_runs, n_parts = len(report.runs.found), len(report.parts)
    words = f"{n_runs} run{'s' * (n_runs > 1)}, {n_parts} comparison{'s' * (n_parts > 1)}"
    answers: Iterator[Verdict] = iter(verdicts)
    lines, is_open = [], False
    for name, heading, begins in contents.entries:
        link = f'<a href="#{name}">{escape(heading)}</a>'
        if begins:
            lines.append("</ul></li>" * is_open)
            answer = next(answers, None)
            said = "" if answer is None else f" <small>{escape(answer.answer)}</small>"
            lines.append(f"<li>{link}{said}<ul>")
            is_open = True
        else:
            lines.append(f"<li>{link}</li>")
    lines.append("</ul></li>" * is_open)
    return (
        f'<header class="top"><h1>Report</h1><p>{words}</p>'
        '<button type="button" class="theme" aria-pressed="false">Dark</button></header>\n'
        f'<nav aria-label="Contents"><ol>{"".join(lines)}</ol></nav>'
    )


def _skipped(report: Report) -> str:
    """Runs that take no part, with the reason: failed, unfinished, broken, or there twice."""
    if not report.runs.skipped:
        return ""
    lines = "".join(
        f"<li><code>{escape(folder)}</code>: {escape(why)}</li>"
        for folder, why in report.runs.skipped
    )
    n = len(report.runs.skipped)
    return (
        f'<section class="skipped" aria-labelledby="skipped"><h2 id="skipped">{n} run'
        f"{'s' * (n > 1)} that take{'s' * (n == 1)} no part</h2><ul>{lines}</ul></section>"
    )


def _part(
    report: Report,
    part: Part,
    verdict: Verdict,
    figures: Mapping[str, bytes],
    contents: _Contents,
) -> str:
    """One comparison: verdict, flags, tables with their figures, notes, and where rows come from."""
    comparison, headline, texts = part
    notes = footnotes(comparison, headline)
    warnings = [note for note in notes if note.startswith("WARNING")]
    heading = contents.add(comparison.title, part=True)
    pictures = _pictures(report, comparison, figures, f"{heading}-")
    tables = (
        *headline_tables(comparison, headline, texts),
        *curve_tables(comparison),
        *example_tables(comparison, headline),
    )
    body = [
        _verdict(verdict),
        _flagged([*flags(comparison), *warnings]),
        _filter([row.kind for row in comparison.rows]),
        *pictures.pop("", ()),
        *_tables(tables, comparison.title, pictures, contents),
    ]
    for shots in comparison.shots:
        body.append(_flagged(flags(shots)))
        body += _tables([k_shot_table(shots)], comparison.title, pictures, contents)
        body.append(_list(about_shots(shots)))
    body += [picture for left in pictures.values() for picture in left]
    about = contents.add("Notes")
    body.append(f'<h3 id="{about}">Notes</h3>{_list([n for n in notes if n not in warnings])}')
    body.append(_provenance(comparison, contents))
    return (
        f'<section class="part" aria-labelledby="{heading}"><h2 id="{heading}">'
        f"{escape(comparison.title)}</h2>\n" + "\n".join(filter(None, body)) + "\n</section>"
    )


def _tables(
    tables: Iterable[Table], title: str, pictures: dict[str, list[str]], contents: _Contents
) -> Iterator[str]:
    """Each table, and below it the figures that belong to it, which leave ``pictures``."""
    for table in tables:
        yield _table(table, title, contents)
        for begin in [begin for begin in pictures if table.title.startswith(begin)]:
            yield from pictures.pop(begin)


def _pictures(
    report: Report, comparison: Comparison, figures: Mapping[str, bytes], prefix: str
) -> dict[str, list[str]]:
    """How a table's title begins -> the figures that belong to it, as markup."""
    found: dict[str, list[str]] = {}
    for name, (caption, table) in PICTURES.items():
        stem, caption = report.stem(name, comparison), caption.format(comparison.target.words)
        if (svg := figures.get(f"{stem}.svg")) is None:
            continue
        drawn = inline_svg(svg, f"{prefix}{name}-", f"{comparison.title}: {caption}")
        found.setdefault(table, []).append(
            f'<figure><div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
            f'{drawn}</div><figcaption>{escape(caption)} <button type="button" data-do="png" '
            f'data-name="{escape(stem)}">Save PNG</button></figcaption></figure>'
        )
    return found


def _verdict(verdict: Verdict) -> str:
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in verdict.facts
    )
    kind = "claim" if verdict.is_claim else "none"
    return (
        f'<div class="verdict {kind}"><p><strong>{escape(verdict.answer)}.</strong> '
        f"{_prose(verdict.words)}</p>{f'<dl>{facts}</dl>' if facts else ''}</div>"
    )


def _flagged(found: Sequence[str]) -> str:
    """Flags and warnings; the word before the colon is what the docs explain."""
    lines = []
    for flag in found:
        word, colon, why = flag.partition(":")
        lines.append(f"<li><strong>{escape(word)}{colon}</strong>{_prose(why)}</li>")
    return f'<ul class="flags" aria-label="Flags">{"".join(lines)}</ul>' if lines else ""


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{_prose(line)}</li>" for line in lines)}</ul>'


def _prose(text: str) -> str:
    """A sentence as markup, names in it as code."""
    return CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def _filter(kinds: Sequence[str]) -> str:
    """What to show of all tables of a part: rows that hold some text, of some kinds."""
    there = [kind for kind in KINDS if kind in kinds]
    boxes = "".join(
        f'<label class="{kind}"><input type="checkbox" value="{kind}" checked> '
        f"{KIND_WORDS[kind]}</label>"
        for kind in there
        if len(there) > 1
    )
    return (
        '<div class="filter" role="search"><label>Rows with <input type="search" '
        'placeholder="any name" autocomplete="off" spellcheck="false"></label>'
        f'{boxes}<output aria-live="polite"></output></div>'
    )


def _table(table: Table, title: str, contents: _Contents) -> str:
    """A table with its heading and its buttons; its LaTeX waits in a template."""
    heading = contents.add(table.title.partition(":")[0].partition(" (")[0])
    slug = re.sub(r"\W+", "-", f"{title} {contents.entries[-1][1]}".lower()).strip("-")
    return (
        f'<section class="table" aria-labelledby="{heading}" data-name="{escape(slug)}">'
        f'<div class="bar"><h3 id="{heading}">{escape(table.title)}</h3><p class="tools">'
        '<button type="button" data-do="csv">Save CSV</button>'
        '<button type="button" data-do="copy">Copy LaTeX</button>'
        '<button type="button" data-do="tex">Save LaTeX</button></p></div>'
        f"{grid(table, heading)}"
        f"<template>{escape(_latex(table, title), quote=False)}</template>"
        "</section>"
    )


def _latex(table: Table, title: str) -> str:
    return latex(table, f"{title}: {table.title}", tex_label(title, table), marks_in(table))


def _provenance(comparison: Comparison, contents: _Contents) -> str:
    """Command, hashes, commit and hardware of every run, folded."""
    table = provenance_table(comparison)
    heading = contents.add(table.title)
    hashes = "".join(
        f"<li><code>{escape(file)}</code> sha256 <code>{escape(digest)}</code></li>"
        for file, digest in data_hashes(comparison)
    )
    return (
        f'<details class="table" data-name="provenance"><summary id="{heading}">'
        f"{escape(table.title)}</summary><p>Every run repeats the baselines: they are of the first "
        f"that has them. The raw data of all rows:</p><ul>{hashes}</ul>"
        '<p class="tools"><button type="button" data-do="csv">Save CSV</button></p>'
        f"{grid(table, heading)}</details>"
    )
