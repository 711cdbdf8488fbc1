"""From raw csv to prepared tables: MovieLens in the layout of ml-25m, made up, of 1, 5 and 20
million ratings.

Usage: OMP_NUM_THREADS=2 POLARS_MAX_THREADS=2 python benchmarks/read_movielens.py [number of ratings
...]

Prints the seconds that reading and preparing take in a process of its own (hashing the raw files,
reading, coding, sorting, writing parquet and reading it again), and that process's peak memory;
then whether the number of rows and a checksum of users, items, times and stars in their order are
those of a direct computation with numpy.
"""

import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from coldlm.data import movielens_editions
from coldlm.data.canonical.prepared import prepared_tables

SIZES = (1_000_000, 5_000_000, 20_000_000)
RATINGS_PER_USER, FILMS, RATINGS_PER_TAG = 154, 62_423, 23
"""As in ml-25m."""


def main(sizes: list[int]) -> None:
    """Measure and print."""
    for n_ratings in sizes:
        with tempfile.TemporaryDirectory() as folder:
            expected = make(Path(folder) / "ml-25m", n_ratings)
            size = sum(file.stat().st_size for file in Path(folder).rglob("*.csv")) / 1e6
            command = [sys.executable, __file__, "--child", folder, *map(str, expected[:4])]
            said = subprocess.run(
                command, check=True, capture_output=True, text=True
            ).stdout.split()
        seconds, gigabytes, rows, checksum = (
            float(said[0]),
            float(said[1]),
            int(said[2]),
            int(said[3]),
        )
        same = (rows, checksum) == (n_ratings, expected[4])
        print(
            f"{n_ratings:>11,} ratings, {size:6.0f} MB csv: {seconds:6.1f} s, peak {gigabytes:.2f} "
            "GB, "
            "rows and checksum "
            f"{'as computed directly' if same else f'WRONG: {rows:,}, {checksum}'}",
            flush=True,
        )
        if not same:
            sys.exit(1)


def make(folder: Path, n_ratings: int) -> tuple[int, int, int, int, int]:
    """Write the three files; numbers of ratings, users, films and tags, and the expected
    checksum."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    films = np.sort(rng.choice(np.arange(1, 210_000), FILMS, replace=False))
    user = np.sort(rng.integers(1, n_ratings // RATINGS_PER_USER + 1, n_ratings))
    film = films[np.minimum(rng.exponential(FILMS / 20, n_ratings).astype(np.int64), FILMS - 1)]
    stars = rng.integers(1, 11, n_ratings) / 2
    at = 789_652_009 + user * 4_000 % 780_000_000 + rng.integers(0, 4_000, n_ratings)
    table = {"userId": user, "movieId": film, "rating": stars, "timestamp": at}
    pl.DataFrame(table).write_csv(folder / "ratings.csv")
    titles = {"movieId": films, "title": [f"Film {i}, The ({1950 + i % 70})" for i in films]}
    pl.DataFrame(titles | {"genres": ["Comedy|Drama"] * FILMS}).write_csv(folder / "movies.csv")
    tags = rng.choice(n_ratings, n_ratings // RATINGS_PER_TAG)
    words = np.array([f"tag {i}" for i in range(5_000)])[rng.integers(0, 5_000, len(tags))]
    written = {"userId": user[tags], "movieId": film[tags], "tag": words, "timestamp": at[tags]}
    pl.DataFrame(written).write_csv(folder / "tags.csv")
    ids, codes = np.unique(user, return_inverse=True)
    order = np.lexsort((np.arange(n_ratings), at))
    expected = checksum(codes[order], np.searchsorted(films, film)[order], at[order], stars[order])
    return n_ratings, len(ids), FILMS, len(tags), expected


def checksum(user: np.ndarray, item: np.ndarray, at: np.ndarray, stars: np.ndarray) -> int:
    """A number that changes with any value and with the order of the rows."""
    row = np.zeros(len(user), np.uint64)
    for column in (user, item, at, stars * 2):
        row = row * np.uint64(1_000_003) + column.astype(np.uint64)
    return int((row * np.arange(1, len(row) + 1, dtype=np.uint64)).sum(dtype=np.uint64))


def child(root: Path, ratings: int, users: int, films: int, tags: int) -> None:
    """Read and prepare; print seconds, gigabytes, rows and checksum."""
    known = replace(
        movielens_editions.EDITIONS["25m"], ratings=ratings, users=users, films=films, tags=tags
    )
    movielens_editions.EDITIONS["25m"] = known
    begin = time.perf_counter()
    files = movielens_editions.find(root, "25m")
    tables, _ = prepared_tables(
        "benchmark",
        files,
        lambda: movielens_editions.read(files, "25m"),
        version=1,
        cache=root / "cache",
    )
    seconds = time.perf_counter() - begin
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    events = tables.interactions
    columns = (events[name].to_numpy() for name in ("user", "item", "timestamp", "label"))
    print(seconds, gigabytes, len(events), checksum(*columns))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), *map(int, sys.argv[3:]))
    else:
        main([int(size) for size in sys.argv[1:]] or list(SIZES))
