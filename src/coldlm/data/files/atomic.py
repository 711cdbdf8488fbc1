"""RecBole's atomic files: tables of tabs whose header cells say ``field:type``, read strictly.

| type | a cell holds |
|---|---|
| ``token`` | one word or id, or a text without tabs |
| ``token_seq`` | words with blanks between them, read as the text that they are |
| ``float`` | one number |
| ``float_seq`` | numbers with blanks between them |

A cell may be empty: the value is missing. What is not of its field's type is refused with file, line and
column, whether the field is wanted or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.spelling import did_you_mean
from coldlm.core.tables import UNKNOWN
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.typed import COLUMN
from coldlm.data.files.fields import refuse_lines, scan_fields
from coldlm.data.files.films import new_years
from coldlm.data.files.lines import check_whole, text_lines
from coldlm.data.files.own import first_of_equals
from coldlm.data.files.raw import refuse
from coldlm.data.files.times import MILLISECONDS_FROM, seconds

TYPES: Final = ("token", "token_seq", "float", "float_seq")

LAST_YEAR: Final = 9999
"""Releases of which none is larger are years, not seconds: those would all be of 1 January 1970."""

Rules = Mapping[str, tuple[pl.Expr, str]]


@dataclass(frozen=True)
class Names:
    """What the fields are called. ``label``: None where every event is a positive; ``released_at``:
    of the items, None where no release is known."""

    user: str
    item: str
    time: str
    label: str | None
    released_at: str | None


def read_header(path: Path) -> dict[str, str]:
    """Return field -> type, in the order of the file, without reading its rows.

    Raises:
        DataError: no file, a cell that is not ``field:type``, another type, a field twice.
    """
    check_whole(path)
    line = next(text_lines(path)).removeprefix("\ufeff").rstrip("\r\n")
    found: dict[str, str] = {}
    for cell in line.split("\t"):
        field, colon, kind = cell.rpartition(":")
        if not (field and colon and kind in TYPES):
            hint = did_you_mean(kind, TYPES, begin="; ") if colon else ""
            raise DataError(
                f"{path}, line 1: {cell[:80]!r}; expected field:type between tabs, of type "
                f"{', '.join(TYPES)}{hint}"
            )
        if field in found:
            raise DataError(f"{path}, line 1: field {field!r} appears twice; rename or remove one")
        found[field] = kind
    return found


def read_tables(files: Sequence[Path], names: Names) -> Tables:
    """Return what ``NAME.inter`` and, as far as they are there, ``NAME.item`` and ``NAME.user`` hold.

    Items and users that only the interactions have stand behind the others, without text, and are
    counted; so are interactions that repeat user, item, time and label of an earlier line, which are
    left out, and releases that are no time. An event's id is its line, from 0 behind the header.

    Raises:
        DataError: see ``read_header`` and ``fields.scan_fields``; a value of another type than its
            field's, an id that is missing or there twice, a time before 1970 or in milliseconds; items
            or users of which most are in no file of theirs.
    """
    inter, *others = files
    counts: dict[str, int] = {}
    events = _read_events(inter, names, counts)
    tables: dict[str, pl.DataFrame | None] = {"items": None, "users": None}
    for path in others:
        what, key = ("items", "item_id") if path.suffix == ".item" else ("users", "user_id")
        table = _read_entities(path, names.item if key == "item_id" else names.user, key)
        n_unknown = _unknown(events[key], table[key], path, what, inter)
        if what == "users":  # those of items are counted where the tables are assembled
            counts["users_without_profile"] = n_unknown
        tables[what] = table
    items = tables["items"]
    if items is None:
        items = pl.DataFrame(schema={"item_id": pl.String})
    elif names.released_at:
        released = _releases(items[names.released_at], names.released_at, others[0], counts)
        items = items.with_columns(released_at=released)
    return assemble(events, items, users=tables["users"], counts=counts)


def inter_fields(names: Names) -> dict[str, str]:
    """Return the fields that ``.inter`` must have, by the keys that name them."""
    label = {"dataset.label": names.label} if names.label else {}
    return {
        "dataset.user": names.user,
        "dataset.item": names.item,
        "dataset.time": names.time,
    } | label


def _scan(path: Path, kinds: Mapping[str, str], rules: Rules) -> pl.LazyFrame:
    """``line`` and the fields as strings, every value of its type."""
    cells = {f"{field}:{kind}": field for field, kind in kinds.items()}
    table = scan_fields(path, list(cells), header=True).rename(cells)
    refuse_lines(path, table, _typed(kinds) | dict(rules))
    return table


def _typed(kinds: Mapping[str, str]) -> dict[str, tuple[pl.Expr, str]]:
    """Rules for the fields that hold numbers."""
    rules: dict[str, tuple[pl.Expr, str]] = {}
    for field, kind in kinds.items():
        is_empty = pl.col(field) == ""
        if kind == "float":
            is_number = pl.col(field).cast(pl.Float64, strict=False).is_finite()
            rules[field] = (is_empty | is_number.fill_null(False), "a number (float)")
        elif kind == "float_seq":
            parts = pl.col(field).str.strip_chars().str.split(" ")
            numbers = parts.list.eval(
                pl.element().cast(pl.Float64, strict=False).is_finite().fill_null(False)
            )
            rules[field] = (
                is_empty | numbers.list.all(),
                "numbers with blanks between them (float_seq)",
            )
    return rules


def _read_events(path: Path, names: Names, counts: dict[str, int]) -> pl.DataFrame:
    """``event_id``, ``user_id``, ``item_id``, ``timestamp``, ``label`` and, if there is such a field of
    words, ``query``."""
    kinds = read_header(path)
    refuse(missing_fields(path, kinds, inter_fields(names)))
    has_query = kinds.get(COLUMN, "").startswith("token")
    is_search = pl.col(COLUMN).str.strip_chars() != "" if has_query else pl.lit(False)
    rules = {
        names.user: ((pl.col(names.user) != "") | is_search, "an id"),
        names.item: (pl.col(names.item) != "", "an id"),
    }
    is_time = kinds[names.time].startswith("token")
    when = pl.col(names.time).cast(pl.Float64, strict=False)
    if not is_time:
        rules[names.time] = (
            when.is_between(0, MILLISECONDS_FROM),
            "Unix seconds, from 1970 on; milliseconds must be divided by 1,000",
        )
    if names.label:
        rules[names.label] = (
            pl.col(names.label).cast(pl.Float64, strict=False).is_finite(),
            "a number",
        )
    table = _scan(path, kinds, rules)
    label = pl.col(names.label).cast(pl.Float64) if names.label else pl.lit(1.0)
    events = table.select(
        event_id=pl.col("line").cast(pl.Int64) - 2,
        user_id=pl.col(names.user).cast(pl.Categorical),
        item_id=pl.col(names.item).cast(pl.Categorical),
        timestamp=pl.col(names.time) if is_time else when,
        label=label,
        **({COLUMN: pl.col(COLUMN)} if has_query else {}),
    ).collect(engine="streaming")
    if is_time:
        stamps = events["timestamp"].replace("", None)
        whole, n_cut = seconds(stamps, f"{path}, column {names.time!r}")
    else:
        whole = events["timestamp"].floor().cast(pl.Int64).to_numpy()
        n_cut = int((events["timestamp"].to_numpy() != whole).sum())
    counts["timestamps_cut_to_seconds"] = n_cut
    events = events.with_columns(timestamp=pl.Series(whole))
    keep = first_of_equals(events.drop("event_id"))
    counts["exact_duplicate_interactions_dropped"] = int((~keep).sum())
    return events.filter(keep)


def _read_entities(path: Path, own: str, key: str) -> pl.DataFrame:
    """The id as ``key``, then all fields that can be text, in the order of the file."""
    kinds = read_header(path)
    refuse(missing_fields(path, kinds, {f"dataset.{key.removesuffix('_id')}": own}))
    is_new = (pl.col(own) != "") & pl.col(own).is_first_distinct()
    table = _scan(path, kinds, {own: (is_new, "an id that no earlier line has")})
    fields = [field for field in text_fields(kinds, own) if field != key]
    return table.select(pl.col(own).alias(key), *fields).collect()


def text_fields(kinds: Mapping[str, str], own: str) -> list[str]:
    """Return the fields that can be text: all but the id ``own`` and the vectors."""
    return [field for field, kind in kinds.items() if field != own and kind != "float_seq"]


def _unknown(ids: pl.Series, known: pl.Series, path: Path, what: str, inter: Path) -> int:
    """How many of the distinct ``ids`` are not among the known ones.

    Raises:
        DataError: most of them.
    """
    distinct = ids.unique().cast(pl.String)
    distinct = distinct.filter(distinct != "")  # who searched without a name
    missing = distinct.filter(~distinct.is_in(known.implode()))
    if len(missing) > len(distinct) / 2:
        raise DataError(
            f"{path}, line 1: {len(missing):,} of the {len(distinct):,} {what} of {inter}, such as "
            f"{missing.sort()[0]!r}, are not in it; are columns exchanged, or is it of another set?"
        )
    return len(missing)


def _releases(column: pl.Series, name: str, path: Path, counts: dict[str, int]) -> pl.Series:
    """[N] Unix seconds, null where a value is no time; a column of years is their 1 January, UTC.

    Raises:
        DataError: there is no time in any line.
    """
    given, where = column.replace("", None), f"{path}, column {name!r}"
    number = given.cast(pl.Float64, strict=False)
    number = number.set(~number.is_finite(), None)
    if number.is_not_null().any() and (number <= LAST_YEAR).all():
        found = new_years(number.fill_null(0).cast(pl.Int64).to_numpy())
    elif number.is_not_null().any():
        found, _ = seconds(number.floor().cast(pl.Int64), where, optional=True)
    else:
        is_date = given.str.contains(r"^\d{4}-\d{2}-\d{2}").fill_null(False)
        found, _ = seconds(given.set(~is_date, None), where, optional=True)
    is_time = pl.Series(found != UNKNOWN)
    if not is_time.any():
        raise DataError(
            f"{path}, line 2, column {name!r}: {column[0]!r}, and no time in any other line; a "
            "release is a year, whole Unix seconds, or an ISO date"
        )
    counts["releases_that_are_no_time"] = int((given.is_not_null() & ~is_time).sum())
    return pl.Series(found).set(~is_time, None)


def missing_fields(path: Path, kinds: Mapping[str, str], needed: Mapping[str, str]) -> list[str]:
    """Return a problem per field that a file lacks.

    Args:
        needed: key -> the field that it names.
    """
    found = ", ".join(f"{field}:{kind}" for field, kind in kinds.items())
    return [
        f"{path}, line 1: no field {name!r} ({key}); fields found: {found}"
        f"{did_you_mean(name, kinds, begin='; ', shown=repr)}; {key}=... names another one"
        for key, name in needed.items()
        if name not in kinds
    ]
