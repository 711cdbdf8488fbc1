"""Tables of text -> Markdown, LaTeX and the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from coldlm.report.table import DAGGER, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def markdown(table: Table) -> str:
    """Return a GitHub table; baselines in italics, since Markdown has no grey."""
    lines = [_line(table.header), _line(["---"] + ["---:"] * (len(table.header) - 1))]
    for i, cells in enumerate(table.body):
        escaped = [cell.replace("|", "\\|") for cell in cells]
        marked = [f"**{cell}**" if (i, j) in table.bold else cell for j, cell in enumerate(escaped)]
        if table.kinds[i] == "baseline":
            marked[0] = f"*{marked[0]}*"
        lines.append(_line(marked))
    return "\n".join(lines) + "\n"


def latex(table: Table, caption: str) -> str:
    """Return a booktabs table; needs ``\\usepackage{booktabs,xcolor,graphicx}``."""
    body = []
    rows = zip(range(len(table.body)), table.kinds, table.body, strict=True)
    for kind, group in groupby(rows, key=lambda row: row[1]):
        body.append("\\midrule")
        for i, _, cells in group:
            marked = [
                f"\\textbf{{{tex(c)}}}" if (i, j) in table.bold else tex(c)
                for j, c in enumerate(cells)
            ]
            if kind == "baseline":
                marked = [f"\\textcolor{{gray}}{{{cell}}}" for cell in marked]
            body.append(" & ".join(marked) + " \\\\")
    return "\n".join(
        [
            "\\begin{table}\n\\centering",
            f"\\caption{{{tex(caption)}}}",
            "\\resizebox{\\linewidth}{!}{%",
            f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}\n\\toprule",
            " & ".join(map(tex, table.header)) + " \\\\",
            *body,
            "\\bottomrule\n\\end{tabular}}\n\\end{table}\n",
        ]
    )


def tex(text: str) -> str:
    r"""Plain text made safe for LaTeX.

    >>> print(tex("recent_popularity 95 % -.0012"))
    recent\_popularity 95 \% $-$.0012
    """
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {
        "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "$<$", ">": "$>$",
        "|": "$|$", "·": "$\\cdot$", "–": "--", DAGGER: "$^\\dagger$",
    }  # fmt: skip
    escaped = "".join(special.get(character, character) for character in text)
    return re.sub(r"(?<!\w)-(?=\.\d)", "$-$", escaped)  # a minus, not a hyphen


def terminal(table: Table, width: int) -> list[RichTable]:
    """Return the table cut into as many tables, each with the row names, as fit ``width``
    characters."""
    from rich.table import Table as RichTable
    from rich.text import Text

    sizes = [
        max(len(line) for cell in column for line in cell.split("\n"))
        for column in zip(_stacked(table.header), *table.body, strict=True)
    ]
    panels = []
    for part, columns in enumerate(_fit(sizes, width)):
        rich = RichTable(
            box=None,
            padding=(0, 2, 0, 0),
            title_justify="left",
            header_style="bold",
            pad_edge=False,
        )
        rich.title = f"{table.title}, continued" if part else table.title
        for j in columns:
            rich.add_column(
                _stacked(table.header)[j],
                justify="right" if j else "left",
                no_wrap=True,
                vertical="bottom",
            )
        for i, cells in enumerate(table.body):
            style = {"strategy": "", "control": "cyan", "baseline": "bright_black"}[table.kinds[i]]
            last = i + 1 < len(table.body) and table.kinds[i + 1] != table.kinds[i]
            marked = [Text(cells[j], style="bold" if (i, j) in table.bold else "") for j in columns]
            rich.add_row(*marked, style=style, end_section=last)
        panels.append(rich)
    return panels


def _stacked(header: Sequence[str]) -> list[str]:
    """Column heads broken at their spaces and before "@", so that they are no wider than
    numbers."""
    broken = [
        head.replace(" %", "\u00a0%").replace(" ", "\n").replace("@", "\n@") for head in header[1:]
    ]
    return [header[0], *broken]


def _fit(sizes: Sequence[int], width: int) -> Iterator[list[int]]:
    """Column numbers of each part: column 0, then as many others as fit, at least one."""
    part, used = [0], sizes[0]
    for j, size in list(enumerate(sizes))[1:]:
        if len(part) > 1 and used + 2 + size > width:
            yield part
            part, used = [0], sizes[0]
        part.append(j)
        used += 2 + size
    yield part


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
