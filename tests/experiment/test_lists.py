"""The lists that a run keeps."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from coldlm.core.columns import MODEL
from coldlm.experiment.run import execute


@pytest.fixture(scope="module")
def run(compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("lists")
    config = compose(base / "runs", base / "cache", "stages=[train,evaluate]", "evaluate.lists=20")
    return execute(config, "run")


def test_every_scorer_has_a_list_of_ten_for_the_same_drawn_queries(run: Path) -> None:
    lists = pl.read_parquet(run / "lists.parquet")
    events = pl.read_parquet(run / "events.parquet")
    said = json.loads((run / "manifest.json").read_text())["shown"]
    assert set(lists["scorer"]) == set(events["scorer"]) == set(said)
    asked = lists.select("query", "user", "time").unique()
    assert asked.height == 20
    assert asked.join(events.select("user", "time").unique(), on=["user", "time"]).height == 20
    for (_, _), places in lists.group_by("scorer", "query"):
        # ten, or all that a user has left of sixty
        assert 5 < places.height <= 10
        assert places["rank"].to_list() == list(range(1, places.height + 1))
        assert places["item"].n_unique() == places.height
        assert places["score"].is_sorted(descending=True)


def test_lists_agree_with_the_places_of_positives(run: Path) -> None:
    """What was asked for stands in the list where g says, but for ties."""
    lists = pl.read_parquet(run / "lists.parquet").filter(scorer=MODEL)
    events = pl.read_parquet(run / "events.parquet").filter(scorer=MODEL, schedule="history")
    both = lists.filter("asked").join(events, on=["user", "time", "item"])
    alone = both.filter((pl.col("others") == 0) & (pl.col("e") == 1))
    assert alone.height
    assert (alone["rank"] == alone["g"] + 1).all()
    assert (both["n_shown"] == both["n_shown_right"]).all()
    firsts = lists.filter(rank=1)
    assert firsts["wanted"].list.len().min() >= 1
    assert lists.filter(pl.col("rank") > 1)["wanted"].null_count() == lists.height - firsts.height


def test_no_lists_are_kept_where_none_are_asked_for(compose, tmp_path: Path) -> None:
    config = compose(tmp_path, tmp_path / "cache", "stages=[train,evaluate]", "evaluate.lists=0")
    folder = execute(config, "run")
    assert not (folder / "lists.parquet").exists()
    assert "shown" not in json.loads((folder / "manifest.json").read_text())
