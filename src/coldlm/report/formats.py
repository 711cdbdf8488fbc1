"""Tables of text -> Markdown, LaTeX and the terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

from coldlm.report.failed import ENDED
from coldlm.report.table import DAGGER, DOES_NOT_APPLY, NOT_MEASURABLE, Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

NAME_SHARE: Final = 0.3
MIN_NAME: Final = 24
"""Of a terminal's width, what row names may take, and characters that they may take in any case."""


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


def latex(table: Table, caption: str, label: str, notes: Sequence[str] = ()) -> str:
    """Return a booktabs table with a ``\\label`` and ``notes`` below; needs
    ``\\usepackage{booktabs,xcolor,graphicx}``, see ``preamble``. ``label``: in any letters."""
    body = []
    rows = zip(range(len(table.body)), table.kinds, table.body, strict=True)
    mixed = len(list(groupby(table.kinds))) > len(set(table.kinds))  # sorted by a column
    for kind, group in groupby(rows, key=lambda row: "" if mixed else row[1]):
        body.append("\\midrule")
        for i, own, cells in group:
            marked = [
                f"\\textbf{{{tex(c)}}}" if (i, j) in table.bold or c in ENDED else tex(c)
                for j, c in enumerate(cells)
            ]
            if (own if mixed else kind) == "baseline":
                marked = [f"\\textcolor{{gray}}{{{cell}}}" for cell in marked]
            # a bracket that begins a row would be read as an argument of the \\\\ before it
            body.append(("{}" * marked[0].startswith("[")) + " & ".join(marked) + " \\\\")
    below = [f"\\par\\smallskip\\footnotesize {' '.join(map(tex, notes))}"] if notes else []
    ascii_ = label.encode("ascii", "backslashreplace").decode()
    name = re.sub(r"[^A-Za-z0-9]+", "-", ascii_).strip("-").lower()
    return "\n".join(
        [
            "\\begin{table}\n\\centering",
            f"\\caption{{{tex(caption)}}}",
            f"\\label{{tab:{name}}}",
            "\\resizebox{\\linewidth}{!}{%",
            f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}\n\\toprule",
            " & ".join(map(tex, table.header)) + " \\\\",
            *body,
            "\\bottomrule\n\\end{tabular}}",
            *below,
            "\\end{table}\n",
        ]
    )


def preamble(tables: str) -> str:
    """Return what a file of such tables begins with: the packages that it needs."""
    lines = ["% Input this file where tables may stand, and have in the preamble:"]
    if any(letter > "\u2e7f" for letter in tables):
        lines += [
            "% \\usepackage{xeCJK}  % names hold Chinese, Japanese or Korean: compile by xelatex or lualatex",
            "% \\setCJKmainfont{Noto Serif CJK SC}  % or another font that you have",
        ]
    lines.append("% \\usepackage{booktabs}  % rules")
    lines.append("% \\usepackage{graphicx}  % \\resizebox: as wide as the text")
    lines.append("% \\usepackage{xcolor}    % grey baselines")
    return "\n".join(lines) + "\n"


def marks_in(table: Table) -> list[str]:
    """Return a sentence for each mark that stands in a table, for who has nothing but it."""
    cells = [cell for row in table.body for cell in row]
    at = table.header.index("seeds") if "seeds" in table.header else None
    once = at is not None and any(row[at].split(",")[0] == "1" for row in table.body)
    said = {
        f"{DAGGER}: the backbone's checkpoint is newer than the beginning of the test stream, so it may have "
        "read of it.": any(DAGGER in row[0] for row in table.body),
        "1 seed: intervals hold users alone, not what another seed would give; nothing is claimed.": once,
        "In brackets: of too few users or events, nothing is claimed.": any(
            cell.startswith("(") for cell in cells
        ),
        "–: does not apply, or too few seeds for it.": DOES_NOT_APPLY in cells,
        f"{NOT_MEASURABLE}: not measurable.": NOT_MEASURABLE in cells,
        "FAILED, DIVERGED: the run ended so, and there is no value.": any(
            word in cell for cell in cells for word in ENDED
        ),
    }
    return [sentence for sentence, holds in said.items() if holds]


def tex(text: str) -> str:
    r"""Plain text made safe for LaTeX.

    >>> print(tex("recent_popularity 95 % -.0012"))
    recent\_popularity 95 \% $-$.0012
    """
    special = {c: f"\\{c}" for c in "&%$#_{}"} | {
        "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "$<$", ">": "$>$",
        "|": "$|$", "·": "$\\cdot$", "–": "--", DAGGER: "$^\\dagger$", "…": "\\ldots{}", "≤": "$\\le$", "≥": "$\\ge$",
        "×": "$\\times$", "\u00a0": "~", "→": "$\\to$",
    }  # fmt: skip
    escaped = "".join(special.get(character, character) for character in text)
    return re.sub(r"(?<!\w)-(?=\.\d)", "$-$", escaped)  # a minus, not a hyphen


def fitting(table: Table, width: int) -> tuple[Table, list[str]]:
    """Return as much of a table as ``width`` characters hold, those columns first that are worth most, in
    the order that they have, and the heads of what is left out. Long row names go on in a second line."""
    longest = max(MIN_NAME, int(NAME_SHARE * width))
    cut = tuple((_folded(cells[0], longest), *cells[1:]) for cells in table.body)
    table = replace(table, body=cut)
    sizes, kept = _sizes(table), [0]
    used = sizes[0]
    groups = list(table.order) or [(j,) for j in range(1, len(sizes))]
    # a column that says nothing of anybody comes last
    for at in sorted(
        groups, key=lambda at: all(row[j] == DOES_NOT_APPLY for row in cut for j in at)
    ):
        needed = sum(2 + sizes[j] for j in at)
        if used + needed <= width:
            kept += at
            used += needed
    out = [table.header[at[0]] for at in sorted(groups) if at[0] not in kept]
    return table.columns(sorted(kept)), out


def _folded(text: str, longest: int) -> str:
    """A row's name in lines of at most so many cells of a terminal, broken between its parts; a part that
    is longer loses its middle."""
    from rich.cells import cell_len

    lines = [""]
    for part in re.findall(r".+?(?: · |, |$)", text):
        if lines[-1] and cell_len(lines[-1]) + cell_len(part.rstrip()) > longest:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(_without_middle(line.rstrip(), longest) for line in lines)


def _without_middle(text: str, longest: int) -> str:
    from rich.cells import cell_len, chop_cells

    if cell_len(text) <= longest:
        return text
    tail = chop_cells(text[::-1], longest // 3)[0][::-1]
    return f"{chop_cells(text, longest - cell_len(tail) - 1)[0]}…{tail}"


def _sizes(table: Table) -> list[int]:
    """Width of each column in cells of a terminal."""
    from rich.cells import cell_len

    return [
        max(cell_len(line) for cell in column for line in cell.split("\n"))
        for column in zip(_stacked(table.header), *table.body, strict=True)
    ]


def terminal(table: Table, width: int) -> list[RichTable]:
    """Return the table cut into as many tables, each with the row names, as fit ``width``
    characters."""
    from rich.table import Table as RichTable
    from rich.text import Text

    panels = []
    for part, columns in enumerate(_fit(_sizes(table), width)):
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
            marked = [Text(cells[j], style=_style(cells[j], (i, j) in table.bold)) for j in columns]
            rich.add_row(*marked, style=style)
        panels.append(rich)
    return panels


def _style(cell: str, is_bold: bool) -> str:
    return "bold red" if cell in ENDED else "bold" if is_bold else ""


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
