"""Markdown, LaTeX and terminal from one toy table."""

from __future__ import annotations

import io

from rich.console import Console

from coldlm.report.formats import latex, markdown, terminal, tex
from coldlm.report.table import Table

TOY = Table(
    "Toy",
    ("scorer", "nDCG@10", "95 % interval"),
    (("lora · a|b†", ".0412", "[.03, .05]"), ("recent_popularity", ".0260", "–")),
    ("strategy", "baseline"),
    frozenset({(0, 1)}),
)


def test_markdown_escapes_bars_and_marks_bold_and_baselines() -> None:
    assert markdown(TOY).splitlines() == [
        "| scorer | nDCG@10 | 95 % interval |",
        "| --- | ---: | ---: |",
        "| lora · a\\|b† | **.0412** | [.03, .05] |",
        "| *recent_popularity* | .0260 | – |",
    ]


def test_latex_escapes_every_special_character() -> None:
    assert tex("a_b & 5 % $x$ #1 {y} ~ ^ \\") == (
        "a\\_b \\& 5 \\% \\$x\\$ \\#1 \\{y\\} \\textasciitilde{} \\textasciicircum{} "
        "\\textbackslash{}"
    )
    assert tex("a · b† <.001 –") == "a $\\cdot$ b$^\\dagger$ $<$.001 --"


def test_latex_is_a_booktabs_table_with_grey_baselines() -> None:
    text = latex(TOY, "Toy: 5 % of_it", "Toy: of_it")
    assert "\\caption{Toy: 5 \\% of\\_it}" in text
    assert "lora $\\cdot$ a$|$b$^\\dagger$ & \\textbf{.0412} & [.03, .05] \\\\" in text
    assert "\\textcolor{gray}{recent\\_popularity} & \\textcolor{gray}{.0260}" in text
    assert [text.count(rule) for rule in ("\\toprule", "\\midrule", "\\bottomrule")] == [1, 2, 1]
    assert text.isascii()


def show(width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    for panel in terminal(TOY, width):
        console.print(panel)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_narrow_terminal_gets_more_tables_and_no_cut_cell() -> None:
    assert len(terminal(TOY, 80)) == 1
    narrow = show(30)
    assert narrow.count("recent_popularity") == 2
    assert "[.03, .05]" in narrow
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= 30
