"""Ranking each list as it was shown: from toy lists to whole runs.

The candidates are exactly the list; everything else, scorers, cohorts, windows and averages, is
that of full ranking.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, permutations
from math import log2
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.config.schema import RunConfig
from coldlm.core.columns import (
    COHORTS,
    LIST_COLUMNS,
    LIST_METRICS,
    MANDATORY_BASELINES,
    MODEL,
    USER_AUC,
)
from coldlm.core.errors import ConfigError, DataError
from coldlm.core.tables import DAY, STREAM, UNKNOWN, Dataset, Impressions
from coldlm.data import simulated
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import Views, judge
from coldlm.evaluate.metrics import FORMULAS
from coldlm.evaluate.positives import tabulate
from coldlm.evaluate.slots import slot_columns
from coldlm.evaluate.summary import per_user, summarise
from coldlm.experiment.kept import Kept
from coldlm.experiment.model import make_ranker
from coldlm.experiment.run import execute
from coldlm.experiment.world import make_world
from coldlm.report.results import read_runs
from coldlm.split.queries import ask_lists

MakeConfig = Callable[..., RunConfig]
MakeData = Callable[..., Dataset]
Shown = Callable[..., Impressions]

DATA = Path(os.environ.get("COLDLM_DATA") or "no data")
K = 10
WHOLE = {"window": -1, "cohort": "all", "bucket": "all"}
ITEMS = range(4)


# --- from scores to values --------------------------------------------------------------------------------------------


def tabulated(data: Dataset, lists: Impressions, scores: list[float]) -> pl.DataFrame:
    """The rows of events under one score per item."""
    catalogue = Catalogue(data)
    as_of = AsOf(
        data.log, len(data.users), len(data.items), catalogue.enters_at, data.half_lives_days
    )
    queries = ask_lists(data.log, lists, np.arange(len(data.log)), np.array([0, 1000]))
    judged = judge(
        lambda users, times: torch.tensor(scores).expand(len(users), -1),
        queries,
        data,
        catalogue,
        Views(as_of.counts, 4),
        name="x",
    )
    cold = np.zeros(len(data.users), bool), np.array([item == 3 for item in ITEMS])
    version = np.zeros(len(queries.event), np.int64)
    return tabulate(
        judged, queries, data, catalogue, as_of, *cold, version=version, live_from=version
    )


def value(
    table: pl.DataFrame, metric: str, average: str = "micro", k: int = 0, **where: object
) -> float:
    return float(
        table.filter(metric=metric, average=average, k=k, **{**WHOLE, **where})["value"].item()
    )


def test_one_row_per_click_says_where_the_other_clicks_stand(
    make_data: MakeData, shown: Shown
) -> None:
    data = make_data([(0, 1, 10), (0, 2, 10), (0, 3, 10), (1, 0, 20)], items=4)
    rows = tabulated(data, shown((0, 10, "3* 0 2* 1*"), (1, 20, "2 0*")), [2.0, 1.0, 5.0, 1.0])
    assert rows.select("item", "g", "e", "candidates", *LIST_COLUMNS).rows() == [
        ("i3", 1, 1, 2, 1, 1, 2),
        ("i2", 0, 1, 2, 0, 0, 2),
        ("i1", 1, 1, 2, 1, 1, 2),
        ("i0", 1, 1, 2, 0, 0, 0),
    ]


def test_values_of_two_lists_by_hand(make_data: MakeData, shown: Shown) -> None:
    data = make_data([(0, 1, 10), (0, 3, 10), (1, 0, 20), (1, 2, 30)], items=4)
    lists = shown((0, 10, "3* 0 2 1*"), (1, 20, "0* 2"), (1, 30, "0 2* 1"))
    # ranks 2 and 4 of 4; 1 of 2; 3 of 3
    table = summarise(tabulated(data, lists, [4.0, 3.0, 2.0, 1.0]), K)
    ndcg = [(1 / log2(3) + 1 / log2(5)) / (1 + 1 / log2(3)), 1.0, 0.5]
    mrr, auc = [(1 / 2 + 1 / 4) / 2, 1.0, 1 / 3], [(0.5 + 0.0) / 2, 1.0, 0.0]
    for metric, k, values in zip(LIST_METRICS, (K, 0, 0), (ndcg, mrr, auc), strict=True):
        assert value(table, metric, "micro", k) == pytest.approx(np.mean(values))
        assert value(table, metric, "macro", k) == pytest.approx(
            (values[0] + np.mean(values[1:])) / 2
        )
    # alone, the click at 4 is third behind the items at 1 and 3
    assert value(table, "ndcg", "micro", K) == pytest.approx(
        np.mean([(1 / log2(3) + 0.5) / 2, 1.0, 0.5])
    )
    # the cold item's own pairs
    assert value(table, "auc/impression", cohort="cold_item") == 0.0


def over_all_orders(places: list[tuple[float, bool]]) -> dict[str, float]:
    """nDCG@2, MRR and AUC of one list, each the mean over every order of its ties."""
    found: list[tuple[float, float, float]] = []
    for order in permutations(range(len(places))):
        if any(places[a][0] < places[b][0] for a, b in pairwise(order)):
            continue
        clicks = [places[at][1] for at in order]
        ranks = [rank for rank, click in enumerate(clicks, 1) if click]
        ideal = sum(1 / log2(r + 1) for r in range(1, min(len(ranks), 2) + 1))
        pairs = [
            clicks[a]
            for a in range(len(clicks))
            for b in range(a, len(clicks))
            if clicks[a] != clicks[b]
        ]
        found.append(
            (
                sum(1 / log2(r + 1) for r in ranks if r <= 2) / ideal,
                float(np.mean([1 / r for r in ranks])),
                float(np.mean(pairs)),
            )
        )
    return dict(zip(LIST_METRICS, np.mean(found, axis=0).tolist(), strict=True))


@given(
    clicks=st.lists(st.booleans(), min_size=2, max_size=6).filter(lambda c: 0 < sum(c) < len(c)),
    scores=st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=4, max_size=4),
    draw=st.data(),
)
def test_values_of_a_judged_list_are_the_mean_over_all_orders_of_its_ties(
    make_data: MakeData, shown: Shown, clicks: list[bool], scores: list[float], draw: st.DataObject
) -> None:
    items = [draw.draw(st.sampled_from(ITEMS)) for _ in clicks]
    taken = sorted({item for item, click in zip(items, clicks, strict=True) if click})
    data = make_data([(0, item, 10) for item in taken], items=4)
    words = " ".join(f"{item}{'*' * click}" for item, click in zip(items, clicks, strict=True))
    table = summarise(tabulated(data, shown((0, 10, words)), scores), 2)
    expected = over_all_orders(
        [(scores[item], click) for item, click in zip(items, clicks, strict=True)]
    )
    for metric, k in zip(LIST_METRICS, (2, 0, 0), strict=True):
        for average in ("macro", "micro"):
            assert value(table, metric, average, k) == pytest.approx(expected[metric], abs=1e-12)


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(
    config: MakeConfig, show_blocks: Callable[..., Impressions], monkeypatch: pytest.MonkeyPatch
) -> MakeConfig:
    """``listed("seed=2")``: the configuration of a micro run over lists; days hold several clicks
    of a user."""
    load = simulated.load

    def read(**keys: Any) -> Dataset:
        data = load(**keys)
        items = replace(data.items, released_at=np.full(len(data.items), UNKNOWN))
        data = replace(
            data,
            items=items,
            release="after_first",
            log=replace(data.log, time=data.log.time // DAY * DAY),
        )
        return replace(data, impressions=show_blocks(data))

    monkeypatch.setattr(simulated, "load", read)

    def make(*overrides: str, candidates: str = "impression") -> RunConfig:
        settled = config(*overrides)
        return replace(settled, evaluate=replace(settled.evaluate, candidates=candidates))

    return make


def tables(folder: Path) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    events, results, users = (
        pl.read_parquet(folder / f"{n}.parquet") for n in ("events", "results", "per_user")
    )
    return events, results, users, json.loads((folder / "manifest.json").read_text())


def test_a_run_over_lists(listed: MakeConfig) -> None:
    folder = execute(listed(), "lists")
    events, results, users, said = tables(folder)
    world = make_world(listed())
    assert set(results["candidates"]) == {"impression"}
    assert set(results["scorer"]) == {MODEL, "fewest_events", *MANDATORY_BASELINES}
    views = {"ndcg/peers", "ndcg/shelf"}
    measured = {*FORMULAS, USER_AUC, *LIST_METRICS, *views}
    assert set(users["metric"]) == measured
    assert set(results["metric"]) == measured | set(slot_columns(10)) | set(slot_columns(5))
    assert set(results.filter(metric="ndcg/impression")["k"]) == {5, 10}
    assert set(results.filter(metric="auc/impression")["k"]) == {0}
    assert results["value"].is_finite().all()
    assert set(results["schedule"]) == {"history", "static", "per_window"}
    assert set(results["window"]) == {-1, 0, 1, 2, 3, 4}
    # every list asks its own clicks among its own items, whatever the catalogue says of them
    lists = world.stream.lists
    assert lists is not None
    assert (lists.n_clicked > 1).any()
    assert (world.catalogue.enters_at[lists.item] > lists.time[lists.owner]).any()
    for (scorer, schedule), rows in events.group_by("scorer", "schedule"):
        assert rows.height == len(world.stream.event), (scorer, schedule)
        sizes = np.repeat(np.diff(lists.start) - lists.n_clicked, lists.n_clicked)
        assert (
            rows.sort("query", maintain_order=True)["candidates"].to_list() == (sizes + 1).tolist()
        )
        assert rows["query"].n_unique() == len(world.stream)
    # what an item is worth before its first event can be asked here
    assert "item:0" in set(results["bucket"])
    positives = int(world.data.log.positive[world.split.rows(STREAM)].sum())
    assert (
        events.filter(scorer="constant")["event_id"].n_unique() + sum(said["not_asked"].values())
        == positives
    )
    assert said["dropped"] == 0
    assert set(said["leaks"].values()) == {0}
    assert said["lists"]["shown"] == said["lists"]["without a click"] + said["lists"][
        "of clicks alone"
    ] + len(lists)
    assert min(said["lists"].values()) > 0


def test_texts_are_encoded_in_the_order_in_which_queries_may_meet_them(listed: MakeConfig) -> None:
    world, full = make_world(listed()), make_world(listed(candidates="full"))
    lists = world.data.impressions
    assert lists is not None
    expected = full.catalogue.enters_at.tolist()
    for item, owner in zip(lists.item, lists.owner, strict=True):
        expected[item] = min(expected[item], lists.time[owner])
    assert world.meets_at.tolist() == expected
    assert full.meets_at.tolist() == full.catalogue.enters_at.tolist() != expected
    for each in (world, full):
        assert (np.diff(each.meets_at[make_ranker(listed(), each).encoder._order]) >= 0).all()


def test_in_lists_a_constant_scorer_is_worth_what_chance_is_worth(listed: MakeConfig) -> None:
    events, results, _, _ = tables(execute(listed("stages=[train,evaluate]"), "lists"))
    rows = events.filter(scorer="constant")
    assert (rows["g"] == 0).all()
    assert (rows["e"] == rows["candidates"]).all()
    assert (rows["other_clicks_level"] == rows["other_clicks"]).all()
    auc = results.filter(scorer="constant", metric="auc/impression")
    assert (auc["value"] - 0.5).abs().max() < 1e-12  # type: ignore[operator]
    # the mean over all orders of a list with P clicks and M others, of which the ranks are uniform
    size = rows["candidates"] + rows["other_clicks"]
    mean = [float(np.mean([1 / r for r in range(1, n + 1)])) for n in size]
    by_query = (
        rows.with_columns(value=pl.Series(mean)).group_by("query").agg(pl.col("value").mean())
    )
    micro = value(results.filter(scorer="constant"), "mrr/impression")
    assert micro == pytest.approx(float(np.mean(by_query["value"].to_numpy())), abs=1e-12)


def test_averages_of_lists_follow_from_the_events_alone(listed: MakeConfig) -> None:
    events, results, users, _ = tables(execute(listed("stages=[train,evaluate]"), "lists"))
    rows = events.filter(scorer=MODEL, schedule="history")
    mine = results.filter(scorer=MODEL, schedule="history")
    worth = {}
    for (query,), part in rows.group_by("query"):
        others = part["candidates"][0] - 1
        prefetch = sum(g + (e - 1) / 2 for g, e in part.select("g", "e").iter_rows())
        worth[part["user"][0], query] = 1 - prefetch / part.height / others
    per_name: dict[str, list[float]] = {}
    for (user, _), auc in worth.items():
        per_name.setdefault(user, []).append(auc)
    assert value(mine, "auc/impression") == pytest.approx(
        float(np.mean(list(worth.values()))), abs=1e-12
    )
    macro = float(np.mean([np.mean(values) for values in per_name.values()]))
    assert value(mine, "auc/impression", "macro") == pytest.approx(macro, abs=1e-12)
    kept = users.filter(scorer=MODEL, schedule="history", metric="auc/impression")
    assert set(kept["cohort"]) <= set(COHORTS)
    assert kept.filter(cohort="all")["value"].mean() == pytest.approx(macro, abs=1e-12)
    assert per_user(rows, K).filter(metric="auc/impression", cohort="all").height == len(per_name)


@pytest.mark.long
def test_the_candidates_make_another_run_of_the_same_data(
    listed: MakeConfig, tmp_path: Path
) -> None:
    settled = listed("stages=[train,evaluate]")
    lists = execute(settled, "lists")
    full = execute(listed("stages=[train,evaluate]", candidates="full"), "full")
    left, right = (pl.read_parquet(folder / "events.parquet") for folder in (lists, full))
    assert not set(LIST_COLUMNS) & set(right.columns)
    for scorer in ("popularity", MODEL):
        shared = left.filter(scorer=scorer).join(
            right.filter(scorer=scorer), on=["event_id", "schedule"]
        )
        assert shared.height > 20
        assert not shared["candidates"].equals(shared["candidates_right"])
    # the score is that of the same scorer, which knows nothing of lists
    shared = left.filter(scorer="popularity").join(right.filter(scorer="popularity"), on="event_id")
    assert shared["score"].equals(shared["score_right"])
    # stopping has looked at other queries
    said = [tables(folder)[3]["validation"]["ndcg@10"] for folder in (lists, full)]
    assert said[0] != said[1]
    assert {c.candidates for c in read_runs([Path(settled.output)]).comparisons} == {
        "impression",
        "full",
    }


@pytest.mark.long
def test_baselines_are_not_shared_between_candidates(listed: MakeConfig) -> None:
    kept = Kept()
    for candidates in ("impression", "full"):
        execute(listed("stages=[train,evaluate]", candidates=candidates), candidates, kept)
        world = make_world(listed(candidates=candidates))
        assert len(kept.baselines.rows["popularity"].g) == len(world.stream.event)


def test_data_without_lists_are_refused_before_anything_is_read(config: MakeConfig) -> None:
    settled = config()
    settled = replace(settled, evaluate=replace(settled.evaluate, candidates="impression"))
    said = (
        "evaluate.candidates=impression: simulated holds no lists as shown; use "
        "evaluate.candidates=full, or dataset="
    )
    with pytest.raises(ConfigError, match=re.escape(said)):
        check(settled.plain())
    with pytest.raises(
        ConfigError, match=r"evaluate\.candidates=impression: simulated holds no lists"
    ):
        make_world(settled)


def test_a_stream_of_lists_that_ask_nothing_says_so(
    listed: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = simulated.load

    def without_clicks(**keys: Any) -> Dataset:
        data = read(**keys)
        assert data.impressions is not None
        nothing = np.zeros_like(data.impressions.clicked)
        return replace(data, impressions=replace(data.impressions, clicked=nothing))

    monkeypatch.setattr(simulated, "load", without_clicks)
    with pytest.raises(
        DataError, match=r"the validation part holds no list with a click and something else"
    ):
        execute(listed(), "nothing")


# --- the real thing ---------------------------------------------------------------------------------------------------


def published(
    clicked: np.ndarray[Any, Any], score: np.ndarray[Any, Any]
) -> dict[tuple[str, int], float]:
    """One list without ties as MIND's own evaluation has it."""
    y = clicked[np.argsort(score)[::-1]].astype(float)
    discount = 1 / np.log2(np.arange(len(y)) + 2)
    ideal = np.sort(y)[::-1]
    ndcg = {k: float((y * discount)[:k].sum() / (ideal * discount)[:k].sum()) for k in (5, 10)}
    mrr = float((y / (np.arange(len(y)) + 1)).sum() / y.sum())
    auc = float(roc_auc_score(clicked, score))
    return {("ndcg/impression", k): ndcg[k] for k in ndcg} | {
        ("mrr/impression", 0): mrr,
        ("auc/impression", 0): auc,
    }


@pytest.mark.real_data
@pytest.mark.skipif(not (DATA / "mind_sample").is_dir(), reason="mind_sample is not there")
def test_the_lists_of_the_mind_sample(tmp_path: Path) -> None:
    settled = check(
        compose_plain(
            [
                "dataset=news/mind",
                "dataset.edition=sample",
                f"dataset.root='{DATA}'",
                "evaluate.candidates=impression",
                "backbone=random_vectors",
                "train.epochs=1",
                "online=off",
                f"output={tmp_path}",
                f"cache={tmp_path}",
            ]
        )
    )
    events, results, _, said = tables(execute(settled, "mind"))
    assert said["dropped"] == 0
    assert said["not_asked"]["outside the lists"] == 0
    assert (events["candidates"] > 1).all()
    chance = results.filter(scorer="constant", metric="auc/impression")
    assert (chance["value"] - 0.5).abs().max() < 1e-12  # type: ignore[operator]
    random = results.filter(scorer="random")
    world = make_world(settled)
    lists, scorer = (
        world.stream.lists,
        baselines.random(settled.seed, len(world.data.items), world.data.users.ids),
    )
    assert lists is not None
    by_list = []
    for at in range(len(lists)):
        part = lists.slice(at, at + 1)
        by_list.append(published(part.clicked, scorer(part.user, part.time)[0].numpy()[part.item]))
    for cell in by_list[0]:
        expected = float(np.mean([values[cell] for values in by_list]))
        assert value(random, cell[0], k=cell[1]) == pytest.approx(expected, abs=1e-9)
    n = random.filter(metric="auc/impression", average="micro", **WHOLE)["n_queries"].item()
    assert n > 1000
    # one list's AUC has a spread of at most 1/2
    assert abs(value(random, "auc/impression") - 0.5) < 4 * 0.5 / np.sqrt(n)
    for metric, k in (("ndcg/impression", 5), ("ndcg/impression", 10), ("mrr/impression", 0)):
        expected = value(results.filter(scorer="constant"), metric, k=k)
        assert abs(value(random, metric, k=k) - expected) < 4 * 0.5 / np.sqrt(n)
