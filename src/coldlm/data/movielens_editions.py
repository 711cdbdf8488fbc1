"""MovieLens, the editions of 100 thousand to 32 million star ratings; GroupLens, for research, not
commercial.

| edition | folder | ratings / users / films | files |
|---|---|---|---|
| 100k | ``ml-100k`` | 100,000 / 943 / 1,682 | ``u.data`` (tabs), ``u.item`` (bars, latin-1), ``u.user`` |
| 1m | ``ml-1m`` | 1,000,209 / 6,040 / 3,883 | ``ratings.dat``, ``movies.dat`` (``::``, latin-1), ``users.dat`` |
| 20m | ``ml-20m`` | 20,000,263 / 138,493 / 27,278 | ``ratings.csv``, ``movies.csv``, ``tags.csv`` |
| 25m | ``ml-25m`` | 25,000,095 / 162,541 / 62,423 | the same |
| 32m | ``ml-32m`` | 32,000,204 / 200,948 / 87,585 | the same |
| latest-small-2018 | ``ml-latest-small`` | 100,836 / 610 / 9,742 | the same |

``u.user``, ``users.dat`` and ``tags.csv`` may be missing. Latest-small of 2016 is read by
``movielens.py``. A file that holds another number of rows than was published is refused: it is cut
short, or belongs to another edition.

People rate many films in one sitting, long after release, and language models know these films by
heart: fit for scale and for comparison with the literature, never the only evidence. A film enters
on 1 January of its year (in 100k on its release date, which is 1 January where only the year is
known), so late in a year it looks older than it is. Tags are what users wrote about a film, one per
user and word: a film's text may show the five most frequent *so far*. The profiles of 100k and 1m
(age, gender, occupation) were given on registration; zip codes are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import polars as pl

from coldlm.core.columns import Range
from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.dated import DatedField
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.canonical.template import fields
from coldlm.data.files import movielens as movielens_files
from coldlm.data.files.movielens import Raw
from coldlm.data.files.raw import find_files

FIELDS: Final = ("title", "genres", "year", "tags")

BANNED: Final = {
    "genome": "relevance of tags, computed from all of them",
    "rating": "a mean over ratings to come",
}

Name = Literal["100k", "1m", "20m", "25m", "32m", "latest-small-2018"]


@dataclass(frozen=True)
class Edition:
    """``folders``: in which it may lie. ``ratings``, ``users``, ``films``, ``tags``: how many were
    published.
    ``files``: needed; ``more``: read if they are there. ``parse``: reads the files of one
    folder."""

    folders: tuple[str, ...]
    ratings: int
    users: int
    films: int
    tags: int
    files: tuple[str, ...] = ("ratings.csv", "movies.csv")
    more: tuple[str, ...] = ("tags.csv",)
    parse: Callable[[Sequence[Path]], Raw] = movielens_files.read_csv


EDITIONS: Final[dict[str, Edition]] = {
    "100k": Edition(
        ("ml-100k",),
        100_000,
        943,
        1_682,
        0,
        ("u.data", "u.item"),
        ("u.user",),
        movielens_files.read_100k,
    ),
    "1m": Edition(
        ("ml-1m",),
        1_000_209,
        6_040,
        3_883,
        0,
        ("ratings.dat", "movies.dat"),
        ("users.dat",),
        movielens_files.read_1m,
    ),
    "20m": Edition(("ml-20m",), 20_000_263, 138_493, 27_278, 465_564),
    "25m": Edition(("ml-25m",), 25_000_095, 162_541, 62_423, 1_093_360),
    "32m": Edition(("ml-32m",), 32_000_204, 200_948, 87_585, 2_000_072),
    # 2016 lies in a folder of the same name: a folder of its own lets both lie side by side
    "latest-small-2018": Edition(
        ("ml-latest-small-2018", "ml-latest-small"), 100_836, 610, 9_742, 3_683
    ),
}
"""Numbers as in the README files of the editions."""


def load(
    *,
    edition: Name = "25m",
    root: str | None = None,
    positive_from: Annotated[float, Range(0, 5)] = 4.0,
    text: str = "{title} | {genres}",
    half_lives_days: list[float] = [30.0, 365.0, 3650.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every rating is an event, at its second; an event's id is its row in the file of
    ratings, from 0.

    Args:
        edition: which one, see above.
        root: the data folder: it holds the edition's folder, or the files themselves.
        positive_from: a rating of at least so many stars is a positive.
        text: template over title ("The Princess and the Frog", article first), genres ("Comedy,
            Drama"), year, and tags where the edition has some.

    Raises:
        DataError: see ``problems``; a file that is damaged, cut short, or of another edition.
    """
    return reader(edition).load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
        positive_from=positive_from,
    )


@with_defaults_of(load)
def problems(*, edition: Name, **keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader(edition).problems(**keys)


def reader(edition: Name) -> Reader:
    """Say what is special to an edition."""
    known = EDITIONS[edition]
    return Reader(
        name="movielens_" + edition.replace("-", "_"),
        domain="video",
        version=1,
        fields=FIELDS,
        banned=BANNED,
        title="title",
        find=lambda root: find(root, edition),
        read=lambda files: read(files, edition),
        wanted=f"{' and '.join(known.files)}, neither itself nor in {' or '.join(known.folders)}",
        ways=ways(edition),
        release="field",
        dated={"tags": DatedField(limit=5, at_entry=False)},
        further=lambda text, root: _tag_problems(edition, text, root),
    )


def _tag_problems(edition: Name, text: str, root: Path | None) -> list[str]:
    """What keeps tags out of a template that asks for them."""
    if "tags" not in fields(text):
        return []
    if not EDITIONS[edition].tags:
        return [f"dataset.text={text!r}: edition {edition} has no tags; remove {{tags}}"]
    files = find(root, edition) if root else []
    if not files or any(file.name == "tags.csv" for file in files):
        return []
    return [
        f"dataset.text={text!r}: {files[0].parent} holds no tags.csv; add it, or remove {{tags}}"
    ]


def ways(edition: Name) -> str:
    """Return where to get an edition and where to put it."""
    archive = "ml-latest-small" if edition == "latest-small-2018" else f"ml-{edition}"
    return (
        f"coldlm data fetch movielens_{edition.replace('-', '_')} downloads it; or unpack "
        f"https://files.grouplens.org/datasets/movielens/{archive}.zip into the data folder, as "
        f"{EDITIONS[edition].folders[0]}/, and name that by COLDLM_DATA or dataset.root"
    )


def find(root: Path, edition: Name) -> list[Path]:
    """Return the raw files in ``root``, those that must be there first; [] if one of these is not
    there."""
    known = EDITIONS[edition]
    return find_files(root, known.folders, known.files, known.more)


def read(files: Sequence[Path], edition: Name) -> Tables:
    """Return the files of ``find``. Films and users in the order of their numbers."""
    known = EDITIONS[edition]
    raw = known.parse(files)
    _check_counts(files, edition, raw)
    is_film = raw.ratings["item_id"].is_in(raw.films["item_id"].implode())
    if not is_film.all():
        row = int(is_film.arg_min() or 0)
        film, line = raw.ratings["item_id"][row], row + 1 + files[0].name.endswith(".csv")
        raise DataError(
            f"{files[0]}, line {line}: film {film} is not in {files[1]}; are both whole, and of "
            "one edition?"
        )
    counts = dict(raw.counts)
    if raw.users is not None:
        counts["users_without_profile"] = _unknown(
            raw.ratings["user_id"], raw.users["user_id"], files[2], "users"
        )
    if raw.tags is not None:
        _unknown(raw.tags["item_id"], raw.films["item_id"], files[2], "films")
    return assemble(
        raw.ratings, raw.films.sort("item_id"), users=raw.users, dated=raw.tags, counts=counts
    )


def _unknown(ids: pl.Series, known: pl.Series, path: Path, what: str) -> int:
    """How many of the distinct ``ids`` are not among the known ones.

    Raises:
        DataError: more than half of them, so the columns of ``path`` changed places.
    """
    distinct = ids.unique()
    unknown = len(distinct.filter(~distinct.is_in(known.implode())))
    if unknown > len(distinct) / 2:
        raise DataError(
            f"{path}, line 1: {unknown:,} of {len(distinct):,} {what} are unknown; are columns "
            "exchanged?"
        )
    return unknown


def _check_counts(files: Sequence[Path], edition: Name, raw: Raw) -> None:
    known = EDITIONS[edition]
    got = {
        "ratings": (len(raw.ratings), known.ratings, files[0]),
        "users": (raw.ratings["user_id"].n_unique(), known.users, files[0]),
        "films": (len(raw.films), known.films, files[1]),
    }
    if raw.users is not None:
        got["profiles"] = len(raw.users), known.users, files[2]
    if raw.tags is not None:
        got["tags"] = (raw.n_tags, known.tags, files[2])
    wrong = [
        f"{found:,} {what} in {file.name}, expected {expected:,}"
        for what, (found, expected, file) in got.items()
        if found != expected
    ]
    if wrong:
        counted = got["ratings"][0], got["users"][0]
        other = [
            name
            for name, e in EDITIONS.items()
            if (e.ratings, e.users) == counted and name != edition
        ]
        hint = (
            f"these are the counts of edition {other[0]}"
            if other
            else "cut short, or another edition"
        )
        if counted == (100_004, 671):
            hint = "this is the edition of 2016: dataset=video/movielens_latest_small"
        raise DataError(
            f"{files[0].parent}, MovieLens {edition}: {'; '.join(wrong)}: {hint}. {ways(edition)}"
        )
