from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import UNKNOWN
from coldlm.data.ebnerd import find, load, problems, read
from coldlm.split.queries import ask_lists
from toys.ebnerd import write

AT = 1_684_404_000  # 2023-05-18 10:00:00


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path)


def test_clicks_of_lists_and_histories_become_events_once(root: Path) -> None:
    tables = read(find(root))
    assert tables.items["item_id"].to_list() == ["10", "11", "12", "13"]
    assert tables.users["user_id"].to_list() == ["7", "8"]
    assert tables.interactions.select("user", "item", "timestamp", "label").rows() == [
        (0, 0, AT - 500, 1.0),
        (1, 0, AT - 400, 1.0),
        (0, 1, AT, 1.0),
        (1, 1, AT + 6, 1.0),
        (0, 2, AT + 50, 1.0),
        (0, 2, AT + 100, 1.0),
        (0, 3, AT + 100, 1.0),
    ]
    assert tables.counts == {
        "history_events_repeated": 1,
        "history_events_already_in_lists": 1,
        "clicks_outside_their_list": 1,
        "lists_without_a_click": 1,
        "repeated_clicks": 1,
        "items_without_metadata": 1,
    }


def test_lists_are_kept_with_their_clicks(root: Path) -> None:
    tables = read(find(root))
    assert tables.impressions.rows() == [
        (0, AT, 2),
        (1, AT + 5, 1),
        (0, AT + 100, 2),
        (0, AT + 100, 1),
    ]
    assert tables.shown.rows() == [
        (0, False),
        (1, True),
        (1, False),
        (2, True),
        (0, False),
        (2, True),
    ]


def test_lists_of_the_data_set_find_their_clicks_in_its_log(root: Path) -> None:
    data = load(root=str(root), cache=str(root))
    assert data.impressions is not None
    lists = data.impressions
    assert (lists.start.tolist(), lists.item.tolist()) == ([0, 2, 3, 5, 6], [0, 1, 1, 2, 0, 2])
    assert lists.n_clicked.tolist() == [1, 0, 1, 1]
    queries = ask_lists(data.log, lists, np.arange(len(data.log)))
    assert queries.time.tolist() == [AT, AT + 100]
    assert data.log.item[queries.event].tolist() == [1, 2]
    # histories, and the click that was in no list
    assert queries.counts == {"in a list of clicks alone": 0, "outside the lists": 5}


def test_texts_and_release(root: Path) -> None:
    text = "{title} | {subtitle} | {body} | {category} | {topics}"
    data = load(root=str(root), text=text, cache=str(root))
    assert (data.name, data.domain, data.repeats, data.release) == (
        "ebnerd_small",
        "news",
        False,
        "field",
    )
    assert data.items.texts == (
        "Små grå | Undertitel | a b | sport | Fodbold, Sport",
        'Den "store" | nyheder',
        "Tredje | nyheder",
        "",
    )
    assert data.items.titles[3] == "item 13"
    assert data.items.released_at.tolist() == [AT - 3600, AT - 10, UNKNOWN, UNKNOWN]
    assert data.counts["items_without_release_time"] == 2
    assert data.counts["events_before_release"] == 0


@pytest.mark.parametrize("name", ["total_inviews", "total_pageviews", "total_read_time"])
def test_later_aggregates_are_banned_from_texts(root: Path, name: str) -> None:
    [problem] = problems(root=str(root), text=f"{{title}} {{{name}}}")
    assert f"{{{name}}} is a later aggregate" in problem
    assert "would leak the future" in problem


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("articles", lambda t: t.rename({"title": "headline"}), "no column 'title'"),
        ("articles", lambda t: pl.concat([t, t]), "item_id: 10 occurs more than once"),
        (
            "articles",
            lambda t: t.with_columns(published_time=pl.lit("2023")),
            "column 'published_time': values of type",
        ),
        ("articles", lambda t: t.head(0), "no rows"),
        (
            "train/behaviors",
            lambda t: t.with_columns(user_id=pl.lit(None, pl.UInt32)),
            "'user_id': missing in data rows 1, 2",
        ),
        (
            "train/behaviors",
            lambda t: t.rename({"impression_time": "user_id", "user_id": "impression_time"}),
            "column 'user_id': values of type Datetime",
        ),
        (
            "train/history",
            lambda t: t.with_columns(pl.col("article_id_fixed").list.head(1)),
            "data row 2",
        ),
    ],
)
def test_other_tables_are_refused(
    root: Path, name: str, change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    path = root / "ebnerd_small" / f"{name}.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(DataError, match=message):
        read(find(root))


def test_a_truncated_file_is_refused(root: Path) -> None:
    path = root / "ebnerd_small" / "train" / "history.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DataError, match=r"history\.parquet: cannot be read as parquet"):
        read(find(root))


def test_problems_name_keys_and_ways(root: Path) -> None:
    assert problems(root=str(root)) == problems(root=str(root / "ebnerd_small")) == []
    assert "https://recsys.eb.dk, download ebnerd_small.zip" in problems()[0]
    [problem] = problems(root=str(root), edition="demo")
    assert "nor does ebnerd_demo/" in problem
    (root / "ebnerd_small" / "validation" / "history.parquet").unlink()
    assert (
        len(problems(root=str(root), text="{url}", half_lives_days=[1.0], item_ttl_days=-1.0)) == 4
    )
