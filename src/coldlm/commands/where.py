"""Which items of a list are wanted, by the columns of the item table, and which columns are shown: that
table is read again, so that no run holds what nobody asks for."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coldlm.core.errors import ConfigError
from coldlm.core.spelling import did_you_mean

if TYPE_CHECKING:
    from coldlm.commands.recommend import Recommended
    from coldlm.data.files.table import Table

Columns = Mapping[str, Mapping[str, str]]
"""Column -> item id -> its value as text, "" where it has none."""

USUAL: Final = ("price", "category")
"""Columns that are shown unasked, where the table has them."""

OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
"""As written in a condition; of two that begin alike the longer one stands first."""

CONDITION: Final = re.compile(rf"\s*([^!<>=]+?)\s*({'|'.join(OPERATORS)})\s*([^!<>=].*?)\s*")


@dataclass(frozen=True)
class Condition:
    """COLUMN OP VALUE. Two numbers are compared as such; other values are equal, or not, as text."""

    column: str
    sign: str
    value: str

    @classmethod
    def of(cls, text: str) -> Condition:
        """Return the condition that ``text`` is.

        >>> Condition.of("price <= 20")
        Condition(column='price', sign='<=', value='20')

        Raises:
            ConfigError: it is none.
        """
        if not (found := CONDITION.fullmatch(text)):
            raise ConfigError(
                f"--where {text!r}: a condition is COLUMN OP VALUE, such as 'price<20' or category=Books; OP: "
                f"{' '.join(OPERATORS)}"
            )
        return cls(*found.groups())

    def holds(self, value: str) -> bool:
        """Return whether an item with this value is wanted; one without any never is.

        Raises:
            ConfigError: < and the like of what is no number.
        """
        if not value:
            return False
        mine, other = _number(value), _number(self.value)
        if mine is not None and other is not None:
            return OPERATORS[self.sign](mine, other)
        if self.sign not in ("=", "!="):
            text = value if mine is None else self.value
            raise ConfigError(
                f"--where {self.column}{self.sign}{self.value}: {text!r} is no number; of text only = and != "
                "can be asked"
            )
        return OPERATORS[self.sign](value, self.value)


def columns_for(run: Path, conditions: Sequence[Condition], shown: Sequence[str] | None) -> Columns:
    """Return those columns of the run's item table that are asked for, in the order in which they are
    shown; ``shown`` None: the usual ones, where there are any.

    Raises:
        ConfigError: a column that the table lacks, or data that come without such a table.
    """
    from coldlm.data.files.own import Keys, Notes, open_tables
    from coldlm.runs.resolved import read_config

    dataset = read_config(run).dataset
    is_own = dataset["_target_"] == "coldlm.data.own.load"
    asked = [*(shown or ()), *(condition.column for condition in conditions)]
    if not is_own:
        if asked:
            raise ConfigError(
                f"{asked[0]}: this run's data come without a table of items whose columns could be read; "
                "--where and --show need dataset=own"
            )
        return {}
    path = Path(str(dataset["items"]))
    keys = Keys.of({name: dataset[name] for name in vars(Keys())})
    table = open_tables({"items": path}, keys, Notes())["items"]
    for column in asked:
        if column not in table.names:
            hint = did_you_mean(column, table.names, begin="; ", shown=repr)
            raise ConfigError(
                f"{path} has no column {column!r}{hint}; it has {', '.join(table.names)}"
            )
    names = dict.fromkeys([*(USUAL if shown is None else ()), *asked])
    return _read(table, [name for name in names if name in table.names])


def _read(table: Table, names: Sequence[str]) -> Columns:
    from coldlm.data.files.ids import read_ids

    ids = read_ids(table, "item_id").to_list()
    return {
        name: dict(zip(ids, ("" if v is None else str(v) for v in table[name]), strict=True))
        for name in names
    }


def wanted(
    rows: Sequence[Recommended], conditions: Sequence[Condition], columns: Columns
) -> Iterator[Recommended]:
    """Yield the places of a list for which every condition holds."""
    for row in rows:
        if all(c.holds(columns[c.column].get(row.item, "")) for c in conditions):
            yield row


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
