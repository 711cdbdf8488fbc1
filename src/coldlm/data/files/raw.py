"""What every reader does with its raw files: hash them, read them as tables, refuse them in words a
user can act on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.files import hash_file
from coldlm.core.spelling import did_you_mean
from coldlm.core.tables import UNKNOWN, Bools, Items, Log
from coldlm.data.files.lines import AGAIN, NO_ROWS, csv_rows

UNREADABLE: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What polars raises at damaged parquet files; damaged pages panic."""


def hash_files(files: Sequence[Path]) -> dict[str, str]:
    """Return the sha256 of each file by its name, with as many of its folders as tell it from the
    others."""
    paths = [file.absolute().parts for file in files]

    def name(parts: tuple[str, ...]) -> str:
        depth = next(
            n for n in range(1, len(parts) + 1) if sum(p[-n:] == parts[-n:] for p in paths) == 1
        )
        return "/".join(parts[-depth:])

    return {name(parts): hash_file(file) for parts, file in zip(paths, files, strict=True)}


def refuse(problems: Sequence[str]) -> None:
    """Raise one ``DataError`` that lists all ``problems``; do nothing if there are none."""
    if problems:
        raise DataError("\n".join(problems))


def header(path: Path, needed: Sequence[str] = ()) -> list[str]:
    """Column names of a csv (plain or .gz) or parquet file, without reading its rows.

    Raises:
        DataError: not a file, another format, no header, not UTF-8, one name twice, or a column of
            ``needed`` missing.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; name the file in it")
    if not path.is_file():
        raise DataError(
            f"{path}: no such file" + ("" if path.is_absolute() else f" (seen from {Path.cwd()})")
        )
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise DataError(f"{path}: the name must end in .csv or .parquet")
    names = list(parquet_schema(path)) if kind == ".parquet" else next(csv_rows(path), (0, []))[1]
    if not names:
        raise DataError(f"{path}: the file is empty; a header line with the column names is needed")
    for name in names:
        if names.count(name) > 1:
            raise DataError(
                f"{_names_of(path)}: column {name!r} appears twice; rename or remove one"
            )
    refuse(missing_columns(path, names, needed))
    return names


def _names_of(path: Path) -> str:
    """Where the names of the columns stand."""
    return f"{path}, line 1" if ".csv" in path.suffixes else str(path)


def missing_columns(path: Path, found: Sequence[str], needed: Sequence[str]) -> list[str]:
    """Return one problem per column of ``needed`` that is not in ``found``, with the nearest name
    that is."""
    problems = []
    for name in sorted(set(needed) - set(found)):
        hint = did_you_mean(name, found, begin="; ", shown=repr)
        if len(found) == 1 and ".csv" in path.suffixes:
            hint = "; only one column: fields must be separated by commas"
        problems.append(
            f"{_names_of(path)}: no column {name!r}; columns found: "
            f"{', '.join(map(repr, found))}{hint}"
        )
    return problems


def parquet_schema(path: Path) -> pl.Schema:
    """Return the names and types of the columns of a parquet file.

    Raises:
        DataError: no parquet file, or one without its end.
    """
    try:
        return pl.Schema(pl.read_parquet_schema(path))
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as parquet: {_reason(error)}; {AGAIN}") from error


def read_parquet(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """These columns of a parquet file.

    Raises:
        DataError: a damaged file, with the first row that cannot be read; no rows.
    """
    try:
        table = pl.read_parquet(path, columns=list(columns))
    except UNREADABLE as error:
        row = _first_unreadable(path, columns)
        raise DataError(
            f"{path}, data row {row}: cannot be read as parquet: {_reason(error)}; {AGAIN}"
        ) from error
    if not len(table):
        raise DataError(f"{path}: {NO_ROWS}")
    return table


def _first_unreadable(path: Path, columns: Sequence[str]) -> int:
    """Counted from 1, found by halving: pages are read as a whole, so the damage lies in its
    page."""
    good, bad = 0, pl.scan_parquet(path).select(pl.len()).collect().item()
    while bad - good > 1:
        half = (good + bad) // 2
        try:
            pl.read_parquet(path, columns=list(columns), n_rows=half)
            good = half
        except UNREADABLE:
            bad = half
    return good + 1


def _reason(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def name_rows(bad: Bools) -> str:
    """Return the first rows marked in ``bad``, [rows] bool, counted from 1 without the header.

    >>> name_rows(np.array([False, True, True]))
    'data rows 2, 3'
    """
    rows = np.flatnonzero(bad) + 1
    more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
    return f"data row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:5]))}{more}"


def find_files(
    root: Path, folders: Sequence[str], needed: Sequence[str], more: Sequence[str] = ()
) -> list[Path]:
    """Return the files ``needed`` and, as far as they are there, ``more``, of the first folder that
    holds all of the former.

    Args:
        folders: names in ``root``; the last place looked at is ``root`` itself.

    Returns:
        [] if no folder does.
    """
    for folder in (*(root / name for name in folders), root):
        if all((folder / name).is_file() for name in needed):
            return [folder / name for name in (*needed, *more) if (folder / name).is_file()]
    return []


def time_scale_problems(half_lives_days: Sequence[float], item_ttl_days: float | None) -> list[str]:
    """Return what is wrong with the three half-lives and the lifetime of items, both in days."""
    problems = []
    lives = list(half_lives_days)
    if len(lives) != 3 or sorted(set(lives)) != lives or lives[0] <= 0:
        problems.append(
            f"dataset.half_lives_days={lives}: exactly 3 numbers of days above 0, in ascending "
            "order"
        )
    if item_ttl_days is not None and item_ttl_days <= 0:
        problems.append(
            f"dataset.item_ttl_days={item_ttl_days}: days above 0, or null for items that never "
            "expire"
        )
    return problems


def three(half_lives_days: Sequence[float]) -> tuple[float, float, float]:
    """Return the half-lives as ``Dataset`` wants them; checked by ``time_scale_problems``."""
    fast, medium, slow = map(float, half_lives_days)
    return fast, medium, slow


def release_counts(items: Items, log: Log) -> dict[str, int]:
    """Return the items without a release time, and events before the release time that the data states
    for their item.

    The stated time is kept: such an item becomes a candidate after its first event, see
    ``candidates.Catalogue``.
    """
    stated = items.released_at[log.item]
    return {
        "items_without_release_time": int((items.released_at == UNKNOWN).sum()),
        "events_before_release": int(((log.time < stated) & (stated < UNKNOWN)).sum()),
    }
