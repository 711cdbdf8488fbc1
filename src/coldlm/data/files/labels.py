"""Labels of interactions: numbers, truth values, or actions that the user gives a number each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Floats
from coldlm.data.files.columns import override
from coldlm.data.files.figures import plain, to_floats
from coldlm.data.files.table import Table

Actions = Mapping[str, float]

LIKE_A_LABEL: Final = (
    "label",
    "labels",
    "rating",
    "ratings",
    "score",
    "stars",
    "click",
    "clicked",
    "is_click",
    "like",
    "liked",
)
"""Names of columns that would say what a positive is, had they been read."""

LIKE_AN_ACTION: Final = (
    "action", "actions", "actiontype", "event", "eventtype", "eventname", "behavior", "behaviour", "behaviortype",
    "interaction", "interactiontype", "feedback", "行为", "行为类型", "操作", "动作", "事件",
)  # fmt: skip
"""The same of words, as ``figures.plain`` writes them."""

SHOWN: Final = 10
"""Actions in a message."""


def unread_labels(path: str, names: Sequence[str]) -> list[str]:
    """Return a problem per column that looks like a label, in a file that has none by that name."""
    return [
        f"{path}: column {name!r} looks like a label, but is not read: set dataset.label={name}, "
        "or remove it"
        for name in names
        if name.strip().casefold() in LIKE_A_LABEL
    ]


def unread_actions(table: Table) -> list[str]:
    """Return a problem per column of actions, in a table without a label: a view would count as much as
    a purchase."""
    return [
        f"{table.path}: column {name!r} looks like actions, but is not read: set "
        f"{override('dataset.label', name)} {_as_actions(_texts(table[name]))}, or remove it"
        for name in table.names
        if plain(name) in LIKE_AN_ACTION
    ]


def parse_actions(said: Mapping[Any, Any] | str | None) -> Actions | None:
    """Return action -> label from a mapping, or from its text, since a command line takes no Chinese keys.

    Raises:
        DataError: another text, or a label that is no number.

    >>> parse_actions("{浏览: 0, 购买: 5}"), parse_actions({"buy": 5})
    ({'浏览': 0.0, '购买': 5.0}, {'buy': 5.0})
    """
    if said is None:
        return None
    if isinstance(said, str):
        pairs = [part.rpartition(":") for part in said.strip().strip("{}").split(",")]
        said = {action.strip().strip("\"'"): label for action, _, label in pairs}
    actions = {}
    for action, label in said.items():
        try:
            actions[str(action)] = float(label) if not isinstance(label, bool) else float("nan")
        except (TypeError, ValueError):
            actions[str(action)] = float("nan")
        if not (str(action) and np.isfinite(actions[str(action)])):
            raise DataError(
                f"dataset.actions: {action!r}: {label!r}; expected actions and the number that each "
                "stands for, such as '{view: 0, cart: 3, buy: 5}'"
            )
    return actions


def read_labels(table: Table, name: str, actions: Actions | None, warnings: list[str]) -> Floats:
    """Return [rows] float64 labels.

    Args:
        actions: value of the column -> its label, where it holds actions.

    Raises:
        DataError: missing values, what is no number, or an action without a label, with counts.
    """
    column, where = table[name], table.where(name)
    if not (
        column.dtype.is_numeric()
        or column.dtype in (pl.String, pl.Boolean, pl.Categorical, pl.Enum)
    ):
        raise DataError(f"{where}: values of type {column.dtype}; expected numbers")
    missing = column.is_null().to_numpy()
    if missing.any():
        raise DataError(f"{where}: missing in {table.rows(missing)}")
    if actions:
        return _of_actions(_texts(column), where, actions, warnings)
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        number = column.cast(pl.Float64)
    else:
        text = column.cast(pl.String).replace(
            {"true": "1", "True": "1", "false": "0", "False": "0"}
        )
        number, _ = to_floats(text, where)
        if number.null_count() == len(number):
            raise DataError(
                f"{where}: holds words, not numbers: {_counted(_texts(column))}; set "
                f"{_as_actions(_texts(column))}"
            )
    label = number.fill_null(np.nan).to_numpy()
    bad = ~np.isfinite(label)
    if bad.any():
        raise DataError(
            f"{where}: {column[int(np.argmax(bad))]!r}, which is not a number, in {table.rows(bad)}"
        )
    return label


def action_problems(actions: Actions | None, label: str | None, table: Table) -> list[str]:
    """Return that ``dataset.actions`` names no column, with those that may be meant."""
    if not actions or label or "label" in table.names:
        return []
    likely = [name for name in table.names if plain(name) in LIKE_AN_ACTION]
    hint = (
        f"; {likely[0]!r} looks like it: {override('dataset.label', likely[0])}" if likely else ""
    )
    return [
        f"{table.path}: dataset.actions is set, but dataset.label does not say which column holds "
        f"them; columns found: {', '.join(map(repr, table.names))}{hint}"
    ]


def _of_actions(column: pl.Series, where: str, actions: Actions, warnings: list[str]) -> Floats:
    unknown = column.filter(~column.is_in(list(actions)))
    if len(unknown):
        raise DataError(
            f"{where}: {len(unknown):,} of {len(column):,} rows hold actions that dataset.actions does "
            f"not name: {_counted(unknown)}; it names {', '.join(actions)}; give each a label, 0 for "
            "what is no positive"
        )
    if unseen := [action for action in actions if action not in set(column.unique())]:
        warnings.append(f"{where}: no row holds {', '.join(unseen)}, which dataset.actions names")
    return column.replace_strict(actions, return_dtype=pl.Float64).to_numpy()


def _texts(column: pl.Series) -> pl.Series:
    return column.cast(pl.String).str.replace(r"^(-?\d+)\.0+$", "${1}").rename("action")


def _counted(column: pl.Series) -> str:
    """The values by how often they occur: ``'view' 12, 'buy' 3``."""
    rows = column.value_counts().sort(["count", "action"], descending=[True, False])
    shown = ", ".join(f"{value!r} {n:,}" for value, n in rows.head(SHOWN).iter_rows())
    return shown + (f" and {len(rows) - SHOWN:,} others" if len(rows) > SHOWN else "")


def _as_actions(column: pl.Series) -> str:
    """An override to be filled in: the rarer an action, the more it says."""
    rows = column.drop_nulls().value_counts().sort(["count", "action"], descending=[True, False])
    pairs = ", ".join(f"{value}: {n}" for n, value in enumerate(rows["action"].head(SHOWN), 1))
    return f"'dataset.actions=\"{{{pairs}}}\"' (numbers of yours; 0: no positive)"
