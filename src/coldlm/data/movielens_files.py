"""The three layouts in which MovieLens was published: tables of one shape from each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from coldlm.data.delimited import csv_columns, read_numbers, split_lines, whole_numbers
from coldlm.data.films import article_first, list_genres, new_years, split_year
from coldlm.data.raw import name_rows
from coldlm.data.times import MILLISECONDS_FROM
from coldlm.errors import DataError
from coldlm.tables import UNKNOWN

RATINGS: Final = {"userId": pl.Int32, "movieId": pl.Int32, "rating": pl.Float32, "timestamp": pl.Int64}

LATIN: Final = ("utf-8", "latin-1")
"""As published in latin-1; a copy that was saved again in UTF-8 reads the same."""

GENRES: Final = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The last 19 fields of ``u.item``, each 0 or 1."""

GENDERS: Final = {"F": "woman", "M": "man"}

AGES: Final = {1: "under 18", 18: "18-24", 25: "25-34", 35: "35-44", 45: "45-49", 50: "50-55", 56: "56 or older"}

OCCUPATIONS: Final = (
    "", "academic or educator", "artist", "clerical or admin", "college or graduate student", "customer service",
    "doctor or health care", "executive or managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer",
    "retired", "sales or marketing", "scientist", "self-employed", "technician or engineer", "tradesman or craftsman",
    "unemployed", "writer",
)  # fmt: skip
"""Of edition 1m, by code; 0 is "other or not specified"."""


@dataclass(frozen=True)
class Raw:
    """``ratings``: user_id, item_id, timestamp, label. ``films``: item_id, title, genres, year, released_at.
    ``users``: user_id and profile fields, None without profiles. ``tags``: item_id, timestamp, field, value, None
    without the file; ``n_tags``: its rows. ``counts``: policies that touched rows."""

    ratings: pl.DataFrame
    films: pl.DataFrame
    users: pl.DataFrame | None = None
    tags: pl.DataFrame | None = None
    n_tags: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def read_csv(files: Sequence[Path]) -> Raw:
    """``ratings.csv``, ``movies.csv`` and, if given, ``tags.csv``."""
    ratings = _ratings(files[0], ",", names=True)
    table = csv_columns(files[1], ("movieId", "title", "genres"))
    films = _films(files[1], whole_numbers(table, "movieId", files[1], pl.Int32), table["title"], table["genres"])
    if len(files) == 2:
        return Raw(ratings, films)
    rows = csv_columns(files[2], ("movieId", "tag", "timestamp"))
    tags = rows.select(
        whole_numbers(rows, "movieId", files[2], pl.Int32).alias("item_id"),
        whole_numbers(rows, "timestamp", files[2]),
        pl.lit("tags").alias("field"),
        pl.col("tag").alias("value"),
    )
    _check_times(tags["timestamp"], files[2])
    empty = pl.col("value").str.strip_chars() == ""
    return Raw(ratings, films, None, tags.filter(~empty), len(tags), {"empty_tags": len(tags.filter(empty))})


def read_100k(files: Sequence[Path]) -> Raw:
    """``u.data``, ``u.item`` and, if given, ``u.user``."""
    ratings = _ratings(files[0], "\t", names=False)
    rows = split_lines(files[1], "|", 5 + len(GENRES), LATIN)
    for number, row in enumerate(rows, 1):
        if not set(row[5:]) <= {"0", "1"}:
            raise DataError(f"{files[1]}, line {number}: genres {'|'.join(row[5:])}; expected 19 times 0 or 1")
    genres = ["|".join(g for g, flag in zip(GENRES[1:], row[6:], strict=True) if flag == "1") for row in rows]
    titles = ["" if row[1] == "unknown" else row[1] for row in rows]
    films = _films(files[1], _ids(files[1], rows), pl.Series(titles), pl.Series(genres))
    given = pl.Series([row[2].strip() or None for row in rows], dtype=pl.String)
    dates = given.str.to_date("%d-%b-%Y", strict=False)
    if (bad := (dates.is_null() & given.is_not_null()).to_numpy()).any():
        first = int(np.argmax(bad))
        raise DataError(f"{files[1]}, line {first + 1}: release date {given[first]!r}; expected such as 01-Jan-1995")
    films = films.with_columns(dates.cast(pl.Datetime("us")).dt.epoch("s").alias("released_at"))
    if len(files) == 2:
        return Raw(ratings, films)
    people = split_lines(files[2], "|", 5, LATIN)
    _check_codes(files[2], [row[2] for row in people], GENDERS)
    users = pl.DataFrame(
        {
            "user_id": _ids(files[2], people),
            "gender": [GENDERS[row[2]] for row in people],
            "age": [row[1] for row in people],
            "occupation": ["" if row[3] in ("none", "other") else row[3] for row in people],
        }
    )
    return Raw(ratings, films, users.sort("user_id"))


def read_1m(files: Sequence[Path]) -> Raw:
    """``ratings.dat``, ``movies.dat`` and, if given, ``users.dat``."""
    ratings = _ratings(files[0], "::", names=False)
    rows = split_lines(files[1], "::", 3, LATIN)
    films = _films(
        files[1], _ids(files[1], rows), pl.Series([row[1] for row in rows]), pl.Series([row[2] for row in rows])
    )
    if len(files) == 2:
        return Raw(ratings, films)
    people = split_lines(files[2], "::", 5, LATIN)
    ages, jobs = ({str(code): word for code, word in words} for words in (AGES.items(), enumerate(OCCUPATIONS)))
    for place, codes in ((1, GENDERS), (2, ages), (3, jobs)):
        _check_codes(files[2], [row[place] for row in people], codes)
    users = pl.DataFrame(
        {
            "user_id": _ids(files[2], people),
            "gender": [GENDERS[row[1]] for row in people],
            "age": [ages[row[2]] for row in people],
            "occupation": [jobs[row[3]] for row in people],
        }
    )
    return Raw(ratings, films, users.sort("user_id"))


def _ratings(path: Path, separator: str, names: bool) -> pl.DataFrame:
    table = read_numbers(path, RATINGS, separator=separator, names=names)
    stars = table["rating"]
    if (bad := ((stars < 0.5) | (stars > 5)).to_numpy()).any():
        raise DataError(f"{path}: ratings outside 0.5 to 5 in {name_rows(bad)}, such as {stars[int(np.argmax(bad))]:g}")
    _check_times(table["timestamp"], path)
    return table.rename({"userId": "user_id", "movieId": "item_id", "rating": "label"})


def _check_times(times: pl.Series, path: Path) -> None:
    if (bad := ((times < 0) | (times > MILLISECONDS_FROM)).to_numpy()).any():
        raise DataError(
            f"{path}, column 'timestamp': {times[int(np.argmax(bad))]} in {name_rows(bad)}; expected whole Unix seconds"
        )


def _films(path: Path, ids: pl.Series, titles: pl.Series, genres: pl.Series) -> pl.DataFrame:
    if (again := ids.is_duplicated()).any():
        raise DataError(f"{path}: film {ids.filter(again)[0]} is there more than once")
    parts = [split_year(title) for title in titles]
    years = np.array([year for _, year in parts], np.int64)
    released = new_years(years)
    return pl.DataFrame(
        {
            "item_id": ids,
            "title": [article_first(title) for title, _ in parts],
            "genres": [list_genres(value) for value in genres],
            "year": [str(year) if year else "" for year in years],
            "released_at": pl.Series(released).set(pl.Series(released == UNKNOWN), None),
        }
    )


def _ids(path: Path, rows: Sequence[Sequence[str]]) -> pl.Series:
    """The first field of each line as a number."""
    table = pl.DataFrame({"id": [row[0] for row in rows], "line": range(1, len(rows) + 1)})
    return whole_numbers(table, "id", path, pl.Int32)


def _check_codes(path: Path, values: Sequence[str], known: dict[str, str]) -> None:
    for number, value in enumerate(values, 1):
        if value not in known:
            raise DataError(f"{path}, line {number}: {value!r}; expected one of {', '.join(known)}")
