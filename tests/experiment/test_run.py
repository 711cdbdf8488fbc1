"""Whole runs: what they leave, that they repeat bit for bit, and that they go on where they
stopped."""

from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from numpy.typing import NDArray
from polars.testing import assert_frame_equal
from safetensors.torch import load_file

from coldlm.cli import main
from coldlm.commands.recommend import recommend
from coldlm.config.schema import RunConfig
from coldlm.core.columns import (
    BASKET_METRICS,
    COHORTS,
    MANDATORY_BASELINES,
    MODEL,
    RESULT_COLUMNS,
    SLOTS,
    USER_AUC,
    WARMUP_BUCKETS,
    WARMUP_EDGES,
)
from coldlm.core.errors import Diverged, RunFolderError
from coldlm.core.tables import STREAM, TRAIN, UNKNOWN, VALIDATION, Dataset
from coldlm.data import simulated
from coldlm.evaluate.metrics import FORMULAS
from coldlm.evaluate.slots import slot_columns
from coldlm.experiment import baselines as scorers
from coldlm.experiment import run, state, training, updater
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.kept import Kept
from coldlm.experiment.model import make_ranker
from coldlm.experiment.run import execute
from coldlm.experiment.state import State
from coldlm.experiment.world import make_world
from coldlm.models.losses import SampledSoftmax
from coldlm.report.results import read_runs
from coldlm.runs.track import Track

MakeConfig = Callable[..., RunConfig]

K = 10
WHOLE = {"window": -1, "cohort": "all", "bucket": "all"}
LEAKS = (
    "late_training",
    "early_candidates",
    "future_history",
    "future_counts",
    "late_idf",
)
TABLES = ("events.parquet", "results.parquet", "per_user.parquet", "probes.parquet")
FILES = (
    *TABLES,
    ".lock",
    "config.resolved.yaml",
    "manifest.json",
    "metrics.csv",
    "model.json",
    "model.safetensors",
    "online.json",
    "online.safetensors",
    "run.log",
    "stream.parquet",
    "updates.parquet",
)


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def table(folder: Path, name: str) -> pl.DataFrame:
    """A table less the columns that say which run it was."""
    frame = pl.read_parquet(folder / name)
    return frame.drop([column for column in ("run", "config_hash") if column in frame.columns])


def assert_same_numbers(left: Path, right: Path) -> None:
    for name in TABLES:
        assert_frame_equal(table(left, name), table(right, name), check_exact=True)
    for name in ("model.safetensors", "online.safetensors"):
        assert (left / name).read_bytes() == (right / name).read_bytes()


# --- outputs ----------------------------------------------------------------------------------------------------------


def test_what_a_softmax_cannot_see_stays_where_it_started(
    finished: Path, config: MakeConfig
) -> None:
    """Under Adam a gradient of rounding alone would move it by a whole step, on every processor
    another way."""
    assert "adamw" in (finished / "config.resolved.yaml").read_text()
    settled = config()
    start = make_ranker(settled, make_world(settled)).trainable()
    for name in ("model", "online"):
        trained = load_file(finished / f"{name}.safetensors")
        assert not torch.equal(trained["head.prior.weight"], start["head.prior.weight"])
        for level in ("head.prior.bias", "head.fusion.context.outer.bias"):
            assert torch.equal(trained[level], start[level])


def test_a_run_leaves_exactly_the_promised_files(finished: Path) -> None:
    assert sorted(file.name for file in finished.iterdir()) == sorted(FILES)


def test_tables_have_their_columns_and_finite_values(finished: Path) -> None:
    results, events, users = (
        pl.read_parquet(finished / f"{name}.parquet") for name in ("results", "events", "per_user")
    )
    assert results.columns == list(RESULT_COLUMNS)
    assert results["value"].is_finite().all()
    assert results.null_count().sum_horizontal().item() == 0
    assert set(results["scorer"]) == {MODEL, "fewest_events", *MANDATORY_BASELINES}
    assert set(results["cohort"]) <= set(COHORTS)
    views = {"ndcg/peers", "ndcg/shelf"}
    own = {*FORMULAS, USER_AUC, *BASKET_METRICS, *views}
    assert set(results["metric"]) == {*own, *slot_columns(10)}
    assert users.columns == [
        "run", "control", "strategy", "scorer", "schedule", "user", "cohort",
        "bucket", "metric", "k", "value", "n_queries",
        "n_events",
    ]  # fmt: skip
    assert events.null_count().sum_horizontal().item() == 0
    assert events["score"].is_finite().all()
    assert (
        (events["g"] >= 0)
        & (events["e"] >= 1)
        & (events["g"] + events["e"] <= events["candidates"])
    ).all()


def test_the_manifest_says_what_was_run_on_what(finished: Path) -> None:
    said = manifest(finished)
    assert (said["status"], said["reason"], said["run"]) == ("FINISHED", None, "whole")
    assert said["done"] == ["train", "evaluate", "online"]
    assert said["seconds"].keys() == {"prepare", "train", "refit", "evaluate", "online"}
    assert said["leaks"] == dict.fromkeys(LEAKS, 0)
    assert said["dropped"] == 0
    assert 0 < said["trainable_parameters"] < said["total_parameters"]
    assert said["checkpoint_bytes"] == (finished / "online.safetensors").stat().st_size
    assert said["latency_ms"].keys() == {"p50", "p95"}
    assert said["dataset"]["n_events"] == 600
    assert said["canaries"].keys() == {"newest", "fewest_events", "constant"}
    for key in (
        "commit",
        "command",
        "versions",
        "device",
        "config_hash",
        "peak_memory_mb",
        "events_per_second",
    ):
        assert said[key]


def test_every_positive_of_the_stream_is_asked_or_counted(
    finished: Path, config: MakeConfig
) -> None:
    world = make_world(config())
    positives = int(world.data.log.positive[world.split.rows(STREAM)].sum())
    events = pl.read_parquet(finished / "events.parquet")
    for (_, _), rows in events.group_by("scorer", "schedule"):
        assert rows.height + sum(manifest(finished)["not_asked"].values()) == positives
        assert rows["event_id"].n_unique() == rows.height


def discount(rank: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(rank <= K, 1 / np.log2(rank + 1.0), 0.0)


def by_hand(g: int, e: int, candidates: int) -> dict[str, float]:
    """Expected value of each metric over a random order of the ties, by walking through the
    places."""
    places = np.arange(g + 1, g + e + 1)
    return {
        "ndcg": float(discount(places).mean()),
        "recall": float((places <= K).mean()),
        "mrr": float((1 / places).mean()),
        "auc/user": float((candidates - places).mean() / (candidates - 1)),
    }


def average_by_hand(rows: pl.DataFrame, metric: str) -> dict[str, float]:
    """Positives -> queries -> (micro) or users (macro), in plain Python."""
    queries: dict[tuple[str, int], list[float]] = {}
    for user, query, *place in rows.select("user", "query", "g", "e", "candidates").iter_rows():
        queries.setdefault((user, query), []).append(by_hand(*place)[metric])
    users: dict[str, list[float]] = {}
    for (user, _), values in queries.items():
        users.setdefault(user, []).append(float(np.mean(values)))
    everyone = [value for values in users.values() for value in values]
    return {
        "macro": float(np.mean([np.mean(values) for values in users.values()])),
        "micro": float(np.mean(everyone)),
    }


def rows_of(events: pl.DataFrame, cohort: str, bucket: str, window: int) -> pl.DataFrame:
    """The slice that a line of results stands for, cut anew."""
    kind, _, label = bucket.partition(":")
    if kind != "all":
        edges = [*WARMUP_EDGES, math.inf]
        low, high = edges[WARMUP_BUCKETS.index(label)], edges[WARMUP_BUCKETS.index(label) + 1]
        events = events.filter(
            pl.Series([low <= n < high for n in events[f"n_{kind}"]], dtype=pl.Boolean)
        )
    names = {
        "all": COHORTS,
        "cold_user_any": ("cold_user", "cold_both"),
        "cold_item_any": ("cold_item", "cold_both"),
    }.get(cohort, (cohort,))
    events = events.filter(pl.Series([c in names for c in events["cohort"]], dtype=pl.Boolean))
    return events if window == -1 else events.filter(pl.col("window") == window)


@pytest.mark.parametrize("scorer", [MODEL, "popularity", "constant"])
def test_results_are_what_events_say(finished: Path, scorer: str) -> None:
    events = pl.read_parquet(finished / "events.parquet").filter(scorer=scorer)
    results = pl.read_parquet(finished / "results.parquet").filter(scorer=scorer)
    slices = set(results.select("schedule", "cohort", "bucket", "window").iter_rows())
    assert {window for _, _, _, window in slices} == {-1, 0, 1, 2, 3, 4}
    assert len({bucket for _, _, bucket, _ in slices}) >= 10
    for schedule, cohort, bucket, window in slices:
        part = rows_of(events.filter(schedule=schedule), cohort, bucket, window)
        where = {"schedule": schedule, "cohort": cohort, "bucket": bucket, "window": window}
        for metric in (*FORMULAS, USER_AUC):
            expected = average_by_hand(part, metric)
            for average, value in expected.items():
                line = results.filter(average=average, metric=metric, **where).row(0, named=True)
                assert line["value"] == pytest.approx(value, abs=1e-12)
                assert line["n_events"] == part.height
                assert line["n_users"] == part["user"].n_unique()


def test_no_slice_with_events_is_left_out(finished: Path) -> None:
    events = pl.read_parquet(finished / "events.parquet").filter(scorer=MODEL, schedule="history")
    results = pl.read_parquet(finished / "results.parquet").filter(scorer=MODEL, schedule="history")
    for cohort in COHORTS:
        assert bool(results.filter(cohort=cohort).height) == bool(
            rows_of(events, cohort, "all", -1).height
        )
    for bucket in (f"{kind}:{label}" for kind in ("item", "user") for label in WARMUP_BUCKETS):
        assert bool(results.filter(bucket=bucket).height) == bool(
            rows_of(events, "all", bucket, -1).height
        )


def test_the_mean_over_users_is_the_macro_value(finished: Path) -> None:
    users = pl.read_parquet(finished / "per_user.parquet")
    results = pl.read_parquet(finished / "results.parquet").filter(average="macro", window=-1)
    # of lists with kept places nothing is kept by user, of buckets items' nDCG alone
    whole = (pl.col("bucket") == "all") & ~pl.col("metric").str.starts_with(SLOTS)
    of_items = pl.col("bucket").str.starts_with("item:") & pl.col("metric").is_in(
        ["ndcg", "ndcg/peers", "ndcg/shelf"]
    )
    results = results.filter(whole | of_items)
    keys = ["scorer", "schedule", "cohort", "bucket", "metric", "k"]
    means = users.group_by(keys).agg(
        pl.col("value").mean().alias("mean"),
        pl.len().alias("users"),
        pl.col("n_queries").sum().alias("queries"),
    )
    both = results.join(means, on=keys)
    assert both.height == results.height == means.height
    assert (both["value"] - both["mean"]).abs().max() < 1e-12  # type: ignore[operator]
    assert (both["n_users"] == both["users"]).all()
    assert (both["n_queries"] == both["queries"]).all()


def test_a_constant_scorer_is_worth_what_chance_is_worth(finished: Path) -> None:
    rows = pl.read_parquet(finished / "events.parquet").filter(scorer="constant")
    assert (rows["g"] == 0).all()
    assert (rows["e"] == rows["candidates"]).all()


def test_metrics_reach_the_logger(finished: Path) -> None:
    logged = pl.read_csv(finished / "metrics.csv", infer_schema_length=None)
    expected = {"validation/all/ndcg", "test/all/ndcg@10", "online/all/mrr", "static/all/recall@10"}
    assert expected <= set(logged.columns)
    value = pl.read_parquet(finished / "results.parquet").row(
        by_predicate=(pl.col("scorer") == MODEL) & (pl.col("schedule") == "per_window") & (pl.col("window") == -1)
        & (pl.col("cohort") == "all") & (pl.col("bucket") == "all") & (pl.col("average") == "macro")
        & (pl.col("metric") == "ndcg"),
        named=True,
    )["value"]  # fmt: skip
    assert logged["online/all/ndcg@10"].drop_nulls().to_list() == [pytest.approx(value)]


def test_each_window_is_scored_by_the_version_that_had_learned_from_the_windows_before(
    finished: Path, config: MakeConfig
) -> None:
    rows = pl.read_parquet(finished / "events.parquet").filter(schedule="per_window")
    assert (rows["version"] == rows["window"]).all()
    assert rows.group_by("window").agg(pl.col("staleness").min())["staleness"].to_list() == [0] * 5
    updates = pl.read_parquet(finished / "updates.parquet")
    assert updates["version"].to_list() == [1, 2, 3, 4]
    world = make_world(config())
    window = np.repeat(world.stream.window, np.diff(world.stream.start))
    learned = window[~world.probe[world.stream.event]]
    assert updates["n_events"].to_list() == np.bincount(learned)[:4].tolist()
    assert len(learned) < len(window)
    assert not updates["rolled_back"].any()
    assert (updates["bytes"] > 0).all()


@pytest.mark.parametrize("split", ["loo", "random"])
def test_a_leaky_split_counts_what_it_lets_into_training_and_every_row_says_so(
    split: str, config: MakeConfig, tmp_path: Path
) -> None:
    folder = execute(config(f"split={split}", "online=off"), split)
    said = manifest(folder)
    assert said["done"] == ["train", "evaluate"]
    assert said["leaks"].pop("late_training") > 0
    # histories, counts and candidates are as honest as ever
    assert said["leaks"] == dict.fromkeys(LEAKS[1:], 0)
    assert said["dropped"] == 0
    results, events = (
        pl.read_parquet(folder / f"{name}.parquet") for name in ("results", "events")
    )
    assert set(results["split"]) == {split}
    assert set(results["window"]) == {-1, 0}
    assert events["staleness"].min() == 0
    assert main(["report", str(folder), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert f"LEAKY: split `{split}` lets the future into training" in page
    assert f"Dates: LEAKY split {split}: train + validation < " in page
    table = (tmp_path / "report" / "table.md").read_text()
    names = [
        line.split(" | ")[0].strip("| *") for line in table.splitlines() if line.startswith("| ")
    ]
    rows = [name for name in names if name not in ("scorer", "---")]
    # quality, views, baskets and slots of all rows, cost of the trained ones
    assert len(rows) == 4 * 10 + 2
    assert all(name.endswith(" LEAKY") for name in rows)


def test_held_out_items_come_back_without_a_past_and_every_row_says_so(
    config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = simulated.load

    def after_first(**keys: Any) -> Dataset:
        data = load(**keys)
        return replace(
            data,
            release="after_first",
            items=replace(data.items, released_at=np.full(len(data.items), UNKNOWN)),
        )

    monkeypatch.setattr(simulated, "load", after_first)
    whole, world = make_world(config()), make_world(config("split.simulated_cold=0.3"))
    held_out = world.cold_items & ~whole.cold_items
    assert held_out.sum() == math.ceil(0.3 * (~whole.cold_items).sum())
    assert (world.split.t_val, world.split.edges.tolist()) == (
        whole.split.t_val,
        whole.split.edges.tolist(),
    )
    assert (
        world.data.counts["held out: simulated cold"]
        == len(whole.data.log) - len(world.data.log)
        > 0
    )
    folder = execute(config("split.simulated_cold=0.3", "stages=[train,evaluate]"), "cold")
    said, results = manifest(folder), pl.read_parquet(folder / "results.parquet")
    assert said["leaks"] == dict.fromkeys(LEAKS, 0)
    assert said["dropped"] == 0
    assert said["dataset"]["counts"]["items held out"] == held_out.sum()
    assert set(results["split"]) == {"simulated_cold_0.3"}
    # what is asked at n = 0 is what was held out, since nothing else is a candidate before its
    # first event
    asked = pl.read_parquet(folder / "events.parquet").filter(
        scorer=MODEL, schedule="history", n_item=0
    )
    assert (
        asked.height
        == results.filter(bucket="item:0", scorer=MODEL, schedule="history")["n_events"].max()
        > 0
    )  # type: ignore[operator]
    assert set(asked["item"]) <= {world.data.items.ids[i] for i in np.flatnonzero(held_out)}
    assert main(["report", str(folder), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert "SIMULATED: split `simulated_cold_0.3` holds that share" in page
    assert "Held-out items are the only candidates without an event" in page
    table = (tmp_path / "report" / "table.md").read_text()
    names = [
        line.split(" | ")[0].strip("| *") for line in table.splitlines() if line.startswith("| ")
    ]
    assert all(name.endswith(" SIMULATED") for name in names if name not in ("scorer", "---"))


def test_leave_one_out_asks_every_user_once_and_trains_on_the_rest(config: MakeConfig) -> None:
    world = make_world(config("split=loo", "online=off"))
    log, split = world.data.log, world.split
    last = {int(user): int(time) for user, time in zip(log.user, log.time, strict=True)}
    assert {
        int(user): int(time)
        for user, time in zip(world.stream.user, world.stream.time, strict=True)
    } == last
    assert len(world.stream) == len(last)
    assert len(world.validation) <= len(last)
    assert len(split.rows(TRAIN)) + len(split.rows(VALIDATION)) + len(split.rows(STREAM)) == len(
        log
    )


@pytest.fixture
def trained_too_early(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[int, int]]:
    """``schedule`` -> (events of the stream in the batches of its updates, those of them that were
    in a batch before they were scored, or not earlier than what was scored afterwards)."""

    def count(schedule: str) -> tuple[int, int]:
        world = make_world(config())
        time = world.data.log.time
        told: list[tuple[str, NDArray[np.int64]]] = []
        make, judge, stage = training.Batches, Evaluation.judge_part, run.STAGES["online"]

        def batches(
            data: Any,
            catalogue: Any,
            as_of: Any,
            rows: NDArray[np.int64],
            *others: Any,
            **keys: Any,
        ) -> Any:
            told.append(("train", rows[time[rows] >= world.split.t_test]))
            return make(data, catalogue, as_of, rows, *others, **keys)

        def score(self: Evaluation, scorer: Any, first: int, last: int, since: int) -> Any:
            told.append(("score", world.stream.slice(since, last).event))
            return judge(self, scorer, first, last, since)

        def begin(its: State) -> None:
            told.clear()  # what was scored before with frozen weights does not count
            stage(its)

        monkeypatch.setattr(training, "Batches", batches)
        monkeypatch.setattr(Evaluation, "judge_part", score)
        monkeypatch.setitem(run.STAGES, "online", begin)
        execute(config(f"online={schedule}"), schedule)
        seen, early = set[int](), set[int]()
        for place, (what, rows) in enumerate(told):
            if what == "train":
                scored = np.concatenate([other for name, other in told[:place] if name == "score"])
                after = [time[other].min() for name, other in told[place:] if name == "score"]
                seen.update(rows.tolist())
                early.update(np.setdiff1d(rows, scored).tolist())
                early.update(rows[time[rows] >= min(after, default=UNKNOWN)].tolist())
        return len(seen), len(early)

    return count


@pytest.mark.parametrize("schedule", ["per_window", "retrain"])
def test_no_event_is_trained_on_before_it_was_scored(
    schedule: str, trained_too_early: Callable[[str], tuple[int, int]]
) -> None:
    seen, early = trained_too_early(schedule)
    assert seen > 80
    assert early == 0


@pytest.mark.parametrize("schedule", ["per_window", "retrain"])
def test_an_update_that_learns_from_the_next_event_is_caught(
    schedule: str,
    trained_too_early: Callable[[str], tuple[int, int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = training.Training.fit

    def fit(self: training.Training, rows: NDArray[np.int64], *others: Any, **keys: Any) -> Any:
        return honest(self, np.append(rows, rows[-1] + 1), *others, **keys)

    monkeypatch.setattr(training.Training, "fit", fit)
    assert trained_too_early(schedule)[1] > 0


# --- the same numbers -------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not(
    finished: Path, config: MakeConfig
) -> None:
    again = execute(config(), "again")
    assert_same_numbers(finished, again)
    other = execute(config("seed=2", "stages=[train,evaluate]"), "other")
    of_model = pl.col("scorer") == MODEL
    left, right = (
        table(folder, "events.parquet").filter(of_model)["score"] for folder in (again, other)
    )
    assert not left.head(right.len()).equals(right)


def test_the_first_window_is_the_same_with_and_without_updates(finished: Path) -> None:
    rows = pl.read_parquet(finished / "events.parquet").filter(scorer=MODEL, window=0)
    without, with_updates = (
        rows.filter(schedule=s).drop("schedule", "stage") for s in ("history", "per_window")
    )
    assert without.height > 0
    assert_frame_equal(without, with_updates, check_exact=True)
    later = (
        pl.read_parquet(finished / "events.parquet")
        .filter(scorer=MODEL)
        .filter(pl.col("window") > 0)
    )
    assert not later.filter(schedule="history")["score"].equals(
        later.filter(schedule="per_window")["score"]
    )


def test_an_update_that_changes_nothing_changes_no_bit(config: MakeConfig) -> None:
    folder = execute(config("optim=sgd", "optim.lr=1e-30", "optim.body_lr=1e-30"), "null")
    rows = pl.read_parquet(folder / "events.parquet").filter(scorer=MODEL)
    columns = ["event_id", "score", "g", "e", "candidates"]
    left, right = (
        rows.filter(schedule=schedule).select(columns) for schedule in ("history", "per_window")
    )
    assert_frame_equal(left, right, check_exact=True)


def test_retraining_sees_everything_so_far_and_starts_anew(
    config: MakeConfig, finished: Path
) -> None:
    folder = execute(config("online=retrain"), "retrain")
    rows = pl.read_parquet(folder / "events.parquet").filter(scorer=MODEL)
    assert set(rows["schedule"]) == {"history", "static", "retrain"}
    columns = ["event_id", "score", "g", "e"]
    for window, same in ((0, True), (1, False)):
        part = rows.filter(window=window)
        left, right = (part.filter(schedule=s).select(columns) for s in ("history", "retrain"))
        assert left.equals(right) == same
    seen = pl.read_parquet(folder / "updates.parquet")["n_events"].to_list()
    per_window = pl.read_parquet(finished / "updates.parquet")["n_events"].to_list()
    best = manifest(folder)["validation"]["best_epoch"]
    assert np.diff(seen).tolist() == [best * n for n in per_window[1:]]
    assert seen[0] > best * per_window[0]
    twice = execute(config("online=retrain", f"online.epochs={2 * best}"), "twice")
    assert pl.read_parquet(twice / "updates.parquet")["n_events"].to_list() == [2 * n for n in seen]


def test_without_updates_nothing_is_online(config: MakeConfig, finished: Path) -> None:
    folder = execute(config("online=off"), "off")
    assert manifest(folder)["done"] == ["train", "evaluate"]
    assert not (folder / "updates.parquet").exists()
    assert not (folder / "online.safetensors").exists()
    rows = table(finished, "events.parquet").filter(pl.col("stage") == "test")
    assert_frame_equal(table(folder, "events.parquet"), rows, check_exact=True)


# --- going on ---------------------------------------------------------------------------------------------------------


def test_stages_one_by_one_give_the_same_numbers_as_in_one_go(
    finished: Path, config: MakeConfig
) -> None:
    for stage in ("train", "evaluate", "online"):
        execute(config(f"stages=[{stage}]"), "steps")
    assert manifest(config().output / Path("steps"))["done"] == ["train", "evaluate", "online"]
    assert_same_numbers(finished, Path(config().output) / "steps")


@pytest.mark.long
@pytest.mark.parametrize(("values", "encodings"), [((0.1, 0.9), 2), ((0.9, 0.1), 3)])
def test_what_was_encoded_for_validation_serves_where_the_last_epoch_is_the_best(
    values: tuple[float, float], encodings: int, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one go, and never in stages of their own: the numbers are the same."""
    taken: list[object] = []
    take, measure = state.take_snapshot, Evaluation.measure
    told = iter([*values, *values])

    def counted(*arguments: Any) -> Any:
        taken.append(arguments)
        return take(*arguments)

    def measured(self: Evaluation, scorer: Any, name: str) -> float:
        return next(told) if name == MODEL else measure(self, scorer, name)

    for module in (state, updater):
        monkeypatch.setattr(module, "take_snapshot", counted)
    monkeypatch.setattr(Evaluation, "measure", measured)
    line = ("train.refit=false", "train.epochs=2", "strategy=top", "split.windows=1")
    whole = execute(config(*line), "whole")
    assert len(taken) == encodings
    for stage in ("train", "evaluate", "online"):
        execute(config(*line, f"stages=[{stage}]"), "steps")
    assert len(taken) == encodings + 4  # each stage encodes for itself
    assert_same_numbers(whole, whole.parent / "steps")


def test_without_validation_the_same_model_is_trained_at_once(config: MakeConfig) -> None:
    line = (
        "train.epochs=2",
        "train.patience=3",
        "train.refit=true",
        "stages=[train]",
        "strategy=top",
    )
    at_once = execute(config(*line, "train.validate=false"), "at_once")
    said = manifest(at_once)
    assert said["validation"] == {f"ndcg@{K}": [], "best_epoch": 2}
    assert said["seconds"].keys() == {"prepare", "refit"}
    chosen = execute(config(*line), "chosen")
    epochs = manifest(chosen)["validation"]["best_epoch"]
    if epochs != 2:
        at_once = execute(
            config(*line, "train.validate=false", f"train.epochs={epochs}"), "as_chosen"
        )
    assert (at_once / "model.safetensors").read_bytes() == (
        chosen / "model.safetensors"
    ).read_bytes()


def test_a_finished_run_is_left_alone(
    config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = execute(config("stages=[train]"), "once")
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    assert execute(config("stages=[train]"), "once") == folder
    assert "is finished already" in capsys.readouterr().out
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_a_run_that_measures_another_cut_measures_the_tables_cut_too(config: MakeConfig) -> None:
    folder = execute(config("evaluate.k=5", "stages=[train,evaluate]"), "five")
    results = pl.read_parquet(folder / "results.parquet")
    assert set(results.filter(metric="ndcg")["k"]) == {5, 10}
    assert results.height == results.unique(results.columns).height
    assert len(read_runs([folder]).comparisons) == 1


def test_data_that_changed_under_a_run_is_refused(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = execute(config("stages=[train]"), "half")
    data = replace(make_world(config()).data, hashes={"events.csv": "abc"})
    for module in ("left", "kept", "world"):
        monkeypatch.setattr(f"coldlm.experiment.{module}.read_data", lambda _: data)
    for again in (
        lambda: execute(config("stages=[train]"), "half"),  # finished
        lambda: execute(config("stages=[train,evaluate]"), "half"),  # to be resumed
        lambda: recommend(folder, query="space"),
    ):
        with pytest.raises(
            RunFolderError, match=r"was made from other data: events\.csv changed since"
        ):
            again()


def test_an_output_that_is_no_folder_is_refused(config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match=r"cannot be made .*: choose another output"):
        execute(replace(config(), output=str(tmp_path / "file")), "run")


def test_a_changed_configuration_is_refused_by_the_key_that_changed(config: MakeConfig) -> None:
    folder = execute(config("stages=[train]"), "mine")
    before = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    with pytest.raises(RunFolderError, match=r"train\.clip was 1\.0, is 2\.0.*another name="):
        execute(config("train.clip=2.0"), "mine")
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == before


def test_a_run_that_was_killed_says_so_and_goes_on_to_the_same_numbers(
    finished: Path, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(run.STAGES, "evaluate", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(config(), "killed")
    folder = Path(config().output) / "killed"
    assert (manifest(folder)["status"], manifest(folder)["done"]) == ("FAILED", ["train"])
    assert manifest(folder)["reason"].startswith("interrupted; the same command goes on")
    execute(config(), "killed")
    assert manifest(folder)["status"] == "FINISHED"
    assert manifest(folder)["reason"] is None
    assert_same_numbers(finished, folder)


def test_an_interrupt_in_the_middle_of_training_is_an_interrupt(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strike(*_: object) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(SampledSoftmax, "__call__", strike)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        execute(config(), "struck")
    assert signal.getsignal(signal.SIGINT) is before
    said = manifest(Path(config().output) / "struck")
    assert (said["status"], said["done"]) == ("FAILED", [])
    assert said["reason"].startswith("interrupted; the same command goes on")


def _interrupt(_: State) -> None:
    raise KeyboardInterrupt


# --- going wrong ------------------------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_the_run_as_diverged(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nan(self: object, logits: torch.Tensor, *_: object) -> torch.Tensor:
        return logits.sum(1) * torch.nan

    monkeypatch.setattr(SampledSoftmax, "__call__", nan)
    with pytest.raises(
        Diverged, match=r"training loss is nan in epoch 0, batch 0: lower optim\.lr"
    ):
        execute(config(), "nan")
    said = manifest(Path(config().output) / "nan")
    assert (said["status"], said["done"]) == ("DIVERGED", [])
    assert said["reason"].startswith("training loss is nan")


def test_a_learning_rate_without_measure_diverges(config: MakeConfig) -> None:
    with pytest.raises(Diverged):
        execute(
            config("optim.lr=1e30", "train.epochs=3", "train.batch_size=64", "train.warmup=0"),
            "huge",
        )
    assert manifest(Path(config().output) / "huge")["status"] == "DIVERGED"


def test_an_update_that_diverges_is_rolled_back(config: MakeConfig, finished: Path) -> None:
    folder = execute(
        config("online.lr_factor=1e35", "online.epochs=3", "train.batch_size=16", "train.warmup=0"),
        "bad",
    )
    updates = pl.read_parquet(folder / "updates.parquet")
    assert updates["rolled_back"].all()
    assert updates["version"].to_list() == [0, 0, 0, 0]
    rows = pl.read_parquet(folder / "events.parquet").filter(scorer=MODEL)
    frozen, online = (
        rows.filter(schedule=s).drop("schedule", "stage", "staleness")
        for s in ("history", "per_window")
    )
    assert_frame_equal(frozen, online, check_exact=True)
    left, right = (load_file(folder / f"{name}.safetensors") for name in ("model", "online"))
    assert all(torch.equal(left[key], right[key]) for key in left)


@pytest.mark.parametrize("failed", [False, True])
def test_loggers_are_closed_however_a_run_ends(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch, failed: bool
) -> None:
    closed: list[bool] = []

    def close(self: Track, *, failed: bool) -> list[str]:
        closed.append(failed)
        return []

    monkeypatch.setattr(Track, "close", close)
    if failed:
        monkeypatch.setitem(run.STAGES, "train", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            execute(config("stages=[train]"), "closing")
    else:
        execute(config("stages=[train]"), "closing")
    assert closed == [failed]
    assert not [
        handler
        for handler in logging.getLogger("coldlm").handlers
        if type(handler) is logging.FileHandler
    ]


def test_no_half_written_file_is_left(config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def tear(_: pl.DataFrame, file: Path) -> None:
        Path(file).write_bytes(b"half")
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(pl.DataFrame, "write_parquet", tear)
        with pytest.raises(OSError, match="disk full"):
            execute(config(), "torn")
    folder = Path(config().output) / "torn"
    assert sorted(folder.glob("*.parquet")) == []
    assert [file.name for file in folder.glob(".*")] == [".lock"]
    assert manifest(folder)["done"] == ["train"]


@pytest.mark.long
def test_cells_of_a_sweep_share_the_judged_baselines(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    make = scorers.make_baselines
    monkeypatch.setattr(
        scorers, "make_baselines", lambda *arguments: made.append(1) or make(*arguments)
    )
    kept = Kept()
    first, second = (execute(config(f"strategy={name}"), name, kept) for name in ("frozen", "top"))
    assert len(made) == 1
    baselines = [
        pl.read_parquet(run / "events.parquet").filter(pl.col("scorer") != MODEL)
        for run in (first, second)
    ]
    assert [frame["run"].unique().to_list() for frame in baselines] == [["frozen"], ["top"]]
    assert_frame_equal(baselines[0].drop("run"), baselines[1].drop("run"), check_exact=True)
    others = (
        "dataset.seed=3",
        "split.train=0.6",
        "backbone=tiny_gpt2",
        "evaluate.k=5",
        "head.history=3",
    )
    for other in others:
        execute(config(other), other, kept)
    assert len(made) == 1 + len(others)
