"""The three layouts in which MovieLens was published: tables of one shape from each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN
from coldlm.data.files.fields import (
    read_numbers,
    read_quoted,
    refuse_lines,
    scan_fields,
    to_numbers,
)
from coldlm.data.files.films import article_first, list_genres, new_years, split_year
from coldlm.data.files.raw import name_rows
from coldlm.data.files.times import MILLISECONDS_FROM

RATINGS: Final = {
    "userId": pl.Int32,
    "movieId": pl.Int32,
    "rating": pl.Float32,
    "timestamp": pl.Int64,
}

GENRES: Final = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
"""The last 19 fields of ``u.item``, each 0 or 1."""

GENDERS: Final = {"F": "woman", "M": "man"}

AGES: Final = {
    1: "under 18",
    18: "18-24",
    25: "25-34",
    35: "35-44",
    45: "45-49",
    50: "50-55",
    56: "56 or older",
}

OCCUPATIONS: Final = (
    "", "academic or educator", "artist", "clerical or admin", "college or graduate student", "customer service",
    "doctor or health care", "executive or managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer",
    "retired", "sales or marketing", "scientist", "self-employed", "technician or engineer", "tradesman or craftsman",
    "unemployed", "writer",
)  # fmt: skip
"""Of edition 1m, by code; 0 is "other or not specified"."""


@dataclass(frozen=True)
class Raw:
    """``ratings``: user_id, item_id, timestamp, label. ``films``: item_id, title, genres, year,
    released_at.
    ``users``: user_id and profile fields, None without profiles. ``tags``: item_id, timestamp,
    field, value, None without the file; ``n_tags``: its rows. ``counts``: policies that touched
    rows."""

    ratings: pl.DataFrame
    films: pl.DataFrame
    users: pl.DataFrame | None = None
    tags: pl.DataFrame | None = None
    n_tags: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def read_csv(files: Sequence[Path]) -> Raw:
    """Return ``ratings.csv``, ``movies.csv`` and, if given, ``tags.csv``."""
    ratings = _ratings(files[0], ",", names=True)
    films = _films(files[1], read_quoted(files[1], ("movieId", "title", "genres")))
    if len(files) == 2:
        return Raw(ratings, films)
    rows = read_quoted(files[2], ("movieId", "tag", "timestamp"))
    numbered = to_numbers(files[2], rows, {"movieId": pl.Int32, "timestamp": pl.Int64})
    tags = numbered.select(
        "timestamp", item_id="movieId", field=pl.lit("tags"), value="tag"
    ).collect()
    _check_times(tags["timestamp"], files[2])
    empty = pl.col("value").str.strip_chars() == ""
    return Raw(
        ratings,
        films,
        None,
        tags.filter(~empty),
        len(tags),
        {"empty_tags": len(tags.filter(empty))},
    )


def read_100k(files: Sequence[Path]) -> Raw:
    """Return ``u.data``, ``u.item`` and, if given, ``u.user``."""
    ratings = _ratings(files[0], "\t", names=False)
    names = ("movieId", "title", "date", "video_date", "url", *GENRES)
    table = scan_fields(files[1], names, separator="|", latin_1=True).collect()
    day = pl.col("date").str.strip_chars()
    date = day.str.to_date("%d-%b-%Y", strict=False)
    rules = {genre: (pl.col(genre).is_in(["0", "1"]), "a genre: 0 or 1") for genre in GENRES}
    rules |= {
        "date": ((day == "") | date.is_not_null(), "such as 01-Jan-1995"),
        # else the dates stand here, and all films lack theirs
        "video_date": (
            pl.col("video_date") == "",
            "nothing",
        ),
    }
    refuse_lines(files[1], table, rules)
    genres = [pl.when(pl.col(genre) == "1").then(pl.lit(genre)) for genre in GENRES[1:]]
    titles = table.with_columns(
        pl.col("title").replace("unknown", ""),
        genres=pl.concat_str(genres, separator="|", ignore_nulls=True),
    )
    released = table.select(
        date.cast(pl.Datetime("us")).dt.epoch("s").alias("released_at")
    ).to_series()
    films = _films(files[1], titles).with_columns(released)
    if len(files) == 2:
        return Raw(ratings, films)
    job = pl.when(~pl.col("job").is_in(["none", "other"])).then("job").otherwise(pl.lit(""))
    return Raw(
        ratings, films, _users(files[2], ("userId", "age", "gender", "job", "zip"), "|", "age", job)
    )


def read_1m(files: Sequence[Path]) -> Raw:
    """Return ``ratings.dat``, ``movies.dat`` and, if given, ``users.dat``."""
    ratings = _ratings(files[0], "::", names=False)
    films = _films(
        files[1],
        scan_fields(
            files[1], ("movieId", "title", "genres"), separator="::", latin_1=True
        ).collect(),
    )
    if len(files) == 2:
        return Raw(ratings, films)
    codes = {
        name: {str(code): word for code, word in words}
        for name, words in (("age", AGES.items()), ("job", enumerate(OCCUPATIONS)))
    }
    age, job = (pl.col(name).replace(words) for name, words in codes.items())
    columns = ("userId", "gender", "age", "job", "zip")
    return Raw(ratings, films, _users(files[2], columns, "::", age, job, codes))


def _users(
    path: Path,
    columns: Sequence[str],
    separator: str,
    age: pl.Expr | str,
    job: pl.Expr,
    codes: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
) -> pl.DataFrame:
    """``user_id`` and the profile.

    Args:
        codes: column -> what each of its codes stands for.
    """
    people = scan_fields(path, columns, separator=separator, latin_1=True).collect()
    known = {"gender": GENDERS, **codes}
    distinct = (pl.col("userId").is_first_distinct(), "every user once")
    refuse_lines(
        path,
        people,
        {
            name: (pl.col(name).is_in(list(words)), f"one of {', '.join(words)}")
            for name, words in known.items()
        }
        | {"userId": distinct},
    )
    profiles = to_numbers(path, people, {"userId": pl.Int32}).select(
        pl.col("gender").replace(GENDERS), user_id="userId", age=age, occupation=job
    )
    return profiles.select("user_id", "gender", "age", "occupation").sort("user_id").collect()


def _ratings(path: Path, separator: str, names: bool) -> pl.DataFrame:
    table = read_numbers(path, RATINGS, separator=separator, names=names)
    stars = table["rating"]
    if (bad := ((stars < 0.5) | (stars > 5)).to_numpy()).any():
        raise DataError(
            f"{path}: ratings outside 0.5 to 5 in {name_rows(bad)}, such as "
            f"{stars[int(np.argmax(bad))]:g}"
        )
    _check_times(table["timestamp"], path)
    return table.rename({"userId": "user_id", "movieId": "item_id", "rating": "label"})


def _check_times(times: pl.Series, path: Path) -> None:
    if (bad := ((times < 0) | (times > MILLISECONDS_FROM)).to_numpy()).any():
        raise DataError(
            f"{path}, column 'timestamp': {times[int(np.argmax(bad))]} in {name_rows(bad)}; "
            "expected whole Unix seconds"
        )


def _films(path: Path, table: pl.DataFrame) -> pl.DataFrame:
    """The films of a table with ``line``, ``movieId``, ``title`` and ``genres``."""
    numbered = to_numbers(path, table, {"movieId": pl.Int32}).collect()
    refuse_lines(
        path, numbered, {"movieId": (pl.col("movieId").is_first_distinct(), "every film once")}
    )
    parts = [split_year(title) for title in numbered["title"]]
    years = np.array([year for _, year in parts], np.int64)
    released = new_years(years)
    return pl.DataFrame(
        {
            "item_id": numbered["movieId"],
            "title": [article_first(title) for title, _ in parts],
            "genres": [list_genres(value) for value in numbered["genres"]],
            "year": [str(year) if year else "" for year in years],
            "released_at": pl.Series(released).set(pl.Series(released == UNKNOWN), None),
        }
    )
