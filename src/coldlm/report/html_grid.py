"""The cells of a table as markup: which columns are words and which numbers, what is bold or small."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from coldlm.report.failed import ENDED
from coldlm.report.table import DOES_NOT_APPLY, NOT_MEASURABLE, Table

IS_NUMBER: Final = re.compile(r"[\[(<]?[+-]?[\d,]*\.?\d+(e[+-]?\d+)?(\)|, .*\])?$")
"""A cell that has a value: a number, one of few users, a bound, or an interval."""

IN_BRACKETS: Final = re.compile(r"\(.*\d\)")
"""A value of too few users or events."""


def grid(table: Table, heading: str) -> str:
    """The cells, in a box of their own that scrolls."""
    text = [
        j == 0 or _is_text([cells[j] for cells in table.body]) for j in range(len(table.header))
    ]
    head = "".join(
        f'<th scope="col" aria-sort="none"{_classes(text=is_text)}><button type="button">'
        f"{escape(title)}</button></th>"
        for title, is_text in zip(table.header, text, strict=True)
    )
    rows = []
    for i, (kind, cells) in enumerate(zip(table.kinds, table.body, strict=True)):
        said = [
            f"<b>{escape(cell, quote=False)}</b>"
            if (i, j) in table.bold
            else escape(cell, quote=False)
            for j, cell in enumerate(cells)
        ]
        looks = [
            _classes(text=text[j], small=bool(IN_BRACKETS.fullmatch(cell)), ended=cell in ENDED)
            for j, cell in enumerate(cells)
        ]
        row = "".join(f"<td{looks[j]}>{said[j]}</td>" for j in range(1, len(cells)))
        rows.append(f'<tr class="{kind}"><th scope="row"><span>{said[0]}</span></th>{row}</tr>')
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{heading}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table></div>"
    )


def _is_text(column: Sequence[str]) -> bool:
    """Whether a column holds words: it has some, and no number."""
    known = [cell for cell in column if cell not in (NOT_MEASURABLE, DOES_NOT_APPLY)]
    return bool(known) and not any(map(IS_NUMBER.match, known))


def _classes(**there: bool) -> str:
    """An attribute with the names of what holds, or none."""
    names = " ".join(name for name, holds in there.items() if holds)
    return f' class="{names}"' if names else ""
