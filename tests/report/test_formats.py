"""Markdown, LaTeX and terminal from one toy table."""

from __future__ import annotations

import io

from rich.cells import cell_len
from rich.console import Console

from coldlm.report.formats import fitting, latex, markdown, marks_in, preamble, terminal, tex
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


def test_a_latex_table_can_be_referred_to_and_explains_its_marks() -> None:
    table = Table(
        "Quality", ("scorer", "seeds", "nDCG@10"),
        (("lora_1†", "1", "(.01)"), ("50 % & $x^2$ #{~}", "3, 1 FAILED", "–"), ("[a]", "2", "n/a")),
        ("strategy",) * 3,
    )  # fmt: skip
    text = latex(table, "新闻: quality", "新闻 (t_test 2017) Quality", marks_in(table))
    assert "\\label{tab:u65b0-u95fb-t-test-2017-quality}" in text
    assert "lora\\_1$^\\dagger$ & 1 & (.01)" in text
    assert (
        "50 \\% \\& \\$x\\textasciicircum{}2\\$ \\#\\{\\textasciitilde{}\\} & 3, 1 FAILED" in text
    )
    assert "{}[a] & 2" in text  # else an argument of the end of the row above
    below = text.partition("\\end{tabular}")[2]
    for words in (
        "$^\\dagger$: the backbone",
        "1 seed: intervals hold users alone",
        "FAILED",
        "In brackets",
    ):
        assert words in below
    assert "1 seed" not in latex(TOY, "", "", marks_in(TOY))
    assert "xeCJK" in preamble(text)
    assert "xeCJK" not in preamble("Latin")
    assert all(
        f"\\usepackage{{{name}}}" in preamble("") for name in ("booktabs", "graphicx", "xcolor")
    )


def test_what_does_not_fit_is_left_out_and_named() -> None:
    table = Table(
        "Quality", ("scorer", "seeds", "nDCG@10", "95 % interval", "MRR", "p"),
        (("permuted_text · prompt · e5_small_pruned, history", "1", ".1000", "[.0900, .1100]", ".2000", "–"),
         ("新闻推荐", "1", ".2000", "[.1900, .2100]", ".3000", "–")),
        ("control", "strategy"), order=((2,), (3,), (5,), (1,), (4,)),
    )  # fmt: skip
    for width in (50, 60, 80):
        narrow, out = fitting(table, width)
        (panel,) = terminal(narrow, width)
        console = Console(file=io.StringIO(), width=width)
        console.print(panel)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        assert all(cell_len(line) <= width for line in text.splitlines())
        assert "[.0900, .1100]" in text
        assert all(
            part in text for part in ("permuted_text", "prompt", "e5_small_pruned", "history")
        )
        assert set(narrow.header) | set(out) == set(table.header)
    assert fitting(table, 50)[1] == ["seeds", "MRR"]
    assert fitting(table, 54)[1] == ["MRR", "p"]  # p says nothing of anybody
    assert fitting(table, 80)[1] == []
