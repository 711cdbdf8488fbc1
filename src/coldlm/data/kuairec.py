"""KuaiRec 2.0: views of short videos on Kuaishou, July to September 2020, with Chinese captions; CC
BY-SA 4.0.

| file | what it is |
|---|---|
| ``big_matrix.csv`` | 12,530,806 views of 7,176 users and 10,728 videos |
| ``small_matrix.csv`` | 4,676,570 others: 1,411 of these users were shown nearly all of 3,327 videos |
| ``kuairec_caption_category.csv`` | captions, texts on covers, topics and categories; published beside the archive |

A view has ``watch_ratio``, the time played divided by the video's length; videos play in a loop, so
it may be far above
one. Short videos are played over more easily, so a positive is partly a short video. ``timestamp`` is
in seconds with a fraction; some views have none, some an impossible one. Captions hold line breaks,
lone carriage returns and, it seems, broken characters; "UNKNOWN" stands for a missing value. Daily
statistics of videos are in a file of their own, which is not read. Videos enter after their first
event.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from coldlm.core.columns import Above0
from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader, with_defaults_of
from coldlm.data.files.fields import read_numbers, read_quoted, refuse_lines, to_numbers
from coldlm.data.files.raw import name_rows

FIELDS: Final = ("caption", "cover", "topics", "category")

_COUNTED = "counted day by day, later than most views"
BANNED: Final = dict.fromkeys(
    (
        "show_cnt",
        "play_cnt",
        "like_cnt",
        "comment_cnt",
        "share_cnt",
        "follow_cnt",
        "download_cnt",
        "play_progress",
    ),
    _COUNTED,
)

COLUMNS: Final = {
    "user_id": pl.Int64,
    "video_id": pl.Int64,
    "timestamp": pl.Float64,
    "watch_ratio": pl.Float64,
}

LEVELS: Final = tuple(f"{level}_level_category_name" for level in ("first", "second", "third"))

N_USERS: Final = 7_176

YEARS: Final = (1_420_070_400, 1_735_689_600)
"""2015 to 2024 in Unix seconds: wide, but no other column lies in it."""

N_VIEWS: Final = {"big_matrix.csv": 12_530_806, "small_matrix.csv": 4_676_570}
"""As published; another number is a file that was cut short, or another version."""

Matrix = Literal["big", "small"]

CAPTIONS: Final = "kuairec_caption_category.csv"

FOLDERS: Final = ("KuaiRec 2.0/data", "KuaiRec 2.0", "KuaiRec/data", "KuaiRec", "kuairec", ".")

WAYS: Final = (
    "By hand: unpack KuaiRec.zip of https://zenodo.org/records/18164998 into the data folder, put "
    " kuairec_caption_category.csv of the same page beside the matrices in 'KuaiRec 2.0/data/', "
    "and name the data folder by COLDLM_DATA or dataset.root"
)


def load(
    *,
    root: str | None = None,
    matrix: Matrix = "big",
    positive_from: Above0 = 2.0,
    text: str = "{caption} | {category}",
    half_lives_days: list[float] = [1.0, 7.0, 30.0],  # noqa: B006  never changed
    item_ttl_days: float | None = None,
    cache: str = "cache",
) -> Dataset:
    """Return every view is an event, at its second.

    Args:
        root: the data folder: it holds ``KuaiRec 2.0/data/`` as in the archive, ``kuairec/``, or
            the files themselves.
        matrix: "big", what people saw as they used the app, or "small", shown to a few on purpose.
        positive_from: a view of at least this watch ratio is a positive; 2: the video was played
            twice over, which is rarer and says more than that it ran to its end.
        text: template over caption, cover (the text on it), topics ("美食, 旅行"), category ("生活 >
            美食").

    Left out and counted: views without a time, views before 1970, and views that repeat user,
    video, time and watch ratio of an earlier one.

    Raises:
        DataError: see ``problems``; damaged files.
    """
    return reader(matrix).load(
        root=root,
        text=text,
        half_lives_days=half_lives_days,
        item_ttl_days=item_ttl_days,
        cache=cache,
        positive_from=positive_from,
    )


@with_defaults_of(load)
def problems(*, matrix: Matrix, **keys: Any) -> list[str]:
    """Return what keeps ``load`` with the same keys from starting, without opening a file; [] if
    nothing does."""
    return reader(matrix).problems(**keys)


def reader(matrix: Matrix) -> Reader:
    """Say what is special to a matrix."""
    return Reader(
        name="kuairec" if matrix == "big" else "kuairec_small",
        domain="video",
        version=1,
        fields=FIELDS,
        banned=BANNED,
        title="caption",
        find=lambda root: find(root, matrix),
        read=read,
        wanted=f"{matrix}_matrix.csv and {CAPTIONS}, neither itself nor in "
        f"{' or '.join(FOLDERS[:-1])}",
        ways=WAYS,
    )


def find(root: Path, matrix: Matrix) -> list[Path]:
    """Return the matrix and the captions, which may lie in different ones of ``FOLDERS``; [] if one
    is missing."""
    found = [
        next((root / folder / name for folder in FOLDERS if (root / folder / name).is_file()), None)
        for name in (f"{matrix}_matrix.csv", CAPTIONS)
    ]
    return [file for file in found if file] if all(found) else []


def read(files: Sequence[Path]) -> Tables:
    """Views and captions. Videos and users in the order of their numbers."""
    views = read_numbers(files[0], COLUMNS, optional=("timestamp",)).with_row_index("event_id")
    _check_views(views, files[0])
    timed = views.drop_nulls("timestamp")
    later = timed.filter(pl.col("timestamp") >= 0)
    once = later.unique(list(COLUMNS), keep="first", maintain_order=True)
    captions, broken = _captions(files[1])
    return assemble(
        once.select(
            "event_id",
            "user_id",
            pl.col("timestamp").floor().cast(pl.Int64),
            item_id="video_id",
            label="watch_ratio",
        ),
        captions.sort("item_id"),
        counts={
            "views_without_time": len(views) - len(timed),
            "views_before_1970": len(timed) - len(later),
            "repeated_views": len(later) - len(once),
            "captions_with_broken_characters": broken,
        },
    )


def _check_views(views: pl.DataFrame, path: Path) -> None:
    """Refuse what is another column, another matrix, or a part of one."""
    ratio, time = views["watch_ratio"], views["timestamp"]
    possible = {
        "watch_ratio": ratio.is_between(0, 1e6),
        "timestamp": (time < 0) | time.is_between(*YEARS),
    }
    for name, right in possible.items():
        if (rows := ~right.fill_null(True).to_numpy()).any():
            value = views[name][int(np.argmax(rows))]
            raise DataError(
                f"{path}, column {name!r}: {value:g} in {name_rows(rows)}; is this another column?"
            )
    if (n_users := views["user_id"].n_unique()) > N_USERS:
        raise DataError(
            f"{path}, line 1: {n_users:,} users, {N_USERS:,} were published; are user_id and "
            "video_id swapped?"
        )
    if len(views) != (n_views := N_VIEWS[path.name]):
        raise DataError(
            f"{path}: {len(views):,} views, {n_views:,} were published: cut short, or another "
            "version"
        )


def _captions(path: Path) -> tuple[pl.DataFrame, int]:
    """Texts by video, and how many hold characters that are not UTF-8 (they read as "�")."""
    needed = ("video_id", "manual_cover_text", "caption", "topic_tag", *LEVELS)
    table = read_quoted(path, needed, errors="replace")
    broken = table.filter(pl.any_horizontal(pl.col(needed[1:]).str.contains("\ufffd")))["line"]
    if len(broken) > len(table) / 100:
        raise DataError(
            f"{path}, line {broken[0]}: not UTF-8 text, like {len(broken):,} of {len(table):,} "
            "rows; save it as UTF-8"
        )
    numbered = to_numbers(path, table, {"video_id": pl.Int64})
    refuse_lines(
        path, numbered, {"video_id": (pl.col("video_id").is_first_distinct(), "every video once")}
    )
    known = numbered.with_columns(pl.col(needed[1:]).str.strip_chars().replace("UNKNOWN", ""))
    levels = [pl.when(pl.col(level) != "").then(pl.col(level)) for level in LEVELS]
    topics = (
        pl.col("topic_tag")
        .str.replace_all(r"""[\[\]"']""", "")
        .str.replace_all(r"\s*[,，]\s*", ", ")
    )
    return known.select(
        pl.col("video_id").alias("item_id"),
        "caption",
        topics.str.strip_chars().alias("topics"),
        pl.concat_str(levels, separator=" > ", ignore_nulls=True).alias("category"),
        cover="manual_cover_text",
    ).collect(), len(broken)
