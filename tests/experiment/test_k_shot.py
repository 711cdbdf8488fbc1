"""The k-shot stage: one question at every k, blind to what is hidden, and no trace in what the run
does otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from coldlm.config import options
from coldlm.config.kinds import Metric
from coldlm.config.schema import RunConfig
from coldlm.core.columns import (
    BASKET_METRICS,
    K_SHOT_COLUMNS,
    MANDATORY_BASELINES,
    MODEL,
    USER_AUC,
    VIEWS,
)
from coldlm.core.tables import Dataset, Ints, Log
from coldlm.data import simulated
from coldlm.evaluate.metrics import FORMULAS, HEADLINE
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.run import execute
from coldlm.experiment.training import Training
from coldlm.experiment.world import World, make_world
from coldlm.split.k_shot import SIDES, Plan, Side, make_plan

MakeConfig = Callable[..., RunConfig]

SHOTS = (0, 1, 2)
STAGE = (
    f"evaluate.k_shot=[{','.join(map(str, SHOTS))}]",
    "dataset.events=800",
    "dataset.repeats=true",
    "dataset.new_item_share=0.7",
    "split.train=0.3",
)
BRIEF = (*STAGE, "stages=[train,k_shot]", "train.batch_size=64")


def plan_of(world: World, side: Side) -> Plan:
    cold = world.cold_items if side == "item" else world.cold_users
    return make_plan(side, world.data.log, world.split, world.stream, cold, max(SHOTS))


def shots_of(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "k_shot.parquet")


def manifest(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, cache: Path, compose: MakeConfig) -> Path:
    """A run with all stages, k-shot before online; for reading only."""
    overrides = (*STAGE, "stages=[train,evaluate,k_shot,online]")
    return execute(compose(tmp_path_factory.mktemp("runs"), cache, *overrides), "whole")


@pytest.fixture(scope="module")
def true(tmp_path_factory: pytest.TempPathFactory, cache: Path, compose: MakeConfig) -> Path:
    """A brief run without garbage; for reading only."""
    return execute(compose(tmp_path_factory.mktemp("runs"), cache, *BRIEF), "true")


def test_every_k_is_asked_the_same_questions_by_every_scorer(
    whole: Path, config: MakeConfig
) -> None:
    rows, world = shots_of(whole), make_world(config(*STAGE))
    assert rows.columns == list(K_SHOT_COLUMNS)
    assert rows.null_count().sum_horizontal().item() == 0
    for side in SIDES:
        part, plan = rows.filter(side=side), plan_of(world, side)
        assert plan.eligible.sum() > 1
        of_all = part.filter(pl.col("metric") != "ndcg/shelf")  # which is asked of some alone
        asked = of_all.select("question", "n_users", "n_queries", "n_events", "n_entities").unique()
        assert asked.height == 1
        assert asked.row(0)[2:4] == (len(plan.queries), plan.asked.sum())
        assert set(part["scorer"]) == {MODEL, "fewest_events", "own_repeats", *MANDATORY_BASELINES}
        kinds = set(part.select("scorer", "updated").unique().iter_rows())
        assert kinds == {(MODEL, True), *((scorer, False) for scorer in set(part["scorer"]))}
        for _, values in part.group_by("scorer", "updated"):
            asked_of_each = (*FORMULAS, USER_AUC, *VIEWS, *BASKET_METRICS)
            assert values.height == len(SHOTS) * len(asked_of_each) * 2
        said = manifest(whole)["k_shot"][side]
        assert said["eligible"] + said["counted out"] == said["cold"] == plan.n_cold
        assert said["question"] == asked["question"].item()
        assert said["canaries"].keys() == set(map(str, SHOTS))


@pytest.mark.long
def test_metrics_of_other_packages_are_measured_too(config: MakeConfig) -> None:
    settled = config(*BRIEF)
    options.plug([Metric("found", "coldlm.evaluate.metrics.recall")])
    try:
        folder = execute(settled, "more")
    finally:
        options.plug(())
    rows = shots_of(folder)
    views = {f"{HEADLINE}/{view}" for view in VIEWS}
    assert set(rows["metric"]) == {*FORMULAS, USER_AUC, "found", *BASKET_METRICS, *views}
    by_metric = [rows.filter(metric=name)["value"] for name in ("found", "recall")]
    assert len(by_metric[0])
    assert by_metric[0].equals(by_metric[1])


def test_what_does_not_look_at_the_log_is_the_same_at_every_k_and_the_model_is_not(
    whole: Path,
) -> None:
    rows = shots_of(whole).filter(metric="mrr", average="macro")
    for side in SIDES:
        values = {
            scorer: rows.filter(side=side, scorer=scorer, updated=updated)
            .sort("shots")["value"]
            .to_list()
            for scorer, updated in (
                ("random", False),
                ("constant", False),
                ("newest", False),
                (MODEL, False),
            )
        }
        assert all(len(set(values[scorer])) == 1 for scorer in ("random", "constant", "newest"))
        assert len(set(values[MODEL])) == len(SHOTS)


def test_fewest_events_counts_what_is_known(whole: Path) -> None:
    found = {
        k: c["fewest_events"]["value"]
        for k, c in manifest(whole)["k_shot"]["item"]["canaries"].items()
    }
    assert found["0"] > found["1"] >= found["2"]


def test_an_update_sees_the_known_events_of_the_first_half(whole: Path, config: MakeConfig) -> None:
    world, updates = make_world(config(*STAGE)), pl.read_parquet(whole / "k_shot_updates.parquet")
    assert updates.select("side", "shots").rows() == [
        (side, shots) for side in SIDES for shots in SHOTS
    ]
    for side, shots, known, examples in updates.select(
        "side", "shots", "known", "examples"
    ).iter_rows():
        plan = plan_of(world, side)
        rows = plan.known(world.data.log, shots) & (world.data.log.time >= world.split.t_test)
        assert (known, examples) == (rows.sum(), (rows & ~world.probe).sum())


@pytest.mark.long
def test_the_stage_leaves_everything_else_as_it_is_without_it(
    whole: Path, config: MakeConfig
) -> None:
    without = execute(config(*STAGE), "without")
    for name in ("events", "results", "per_user"):
        left, right = (pl.read_parquet(folder / f"{name}.parquet") for folder in (whole, without))
        same = [column for column in left.columns if column not in ("run", "config_hash")]
        assert_frame_equal(left.select(same), right.select(same), check_exact=True)
    for name in ("model.safetensors", "online.safetensors"):
        assert (whole / name).read_bytes() == (without / name).read_bytes()
    assert pl.read_csv(whole / "metrics.csv").shape == pl.read_csv(without / "metrics.csv").shape
    assert not (without / "k_shot.parquet").exists()


@pytest.mark.long
def test_stages_one_by_one_give_the_same_curve(whole: Path, config: MakeConfig) -> None:
    for stages in ("train,evaluate", "k_shot", "online"):
        folder = execute(config(*STAGE, f"stages=[{stages}]"), "steps")
    assert manifest(folder)["done"] == ["train", "evaluate", "k_shot", "online"]
    assert_frame_equal(shots_of(folder).drop("run"), shots_of(whole).drop("run"), check_exact=True)
    assert (whole / "online.safetensors").read_bytes() == (
        folder / "online.safetensors"
    ).read_bytes()


@pytest.mark.long
def test_the_weights_are_put_back_whatever_trains(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = execute(config(*BRIEF, "strategy=top"), "top")
    rows = shots_of(folder).filter(scorer=MODEL, metric="mrr", average="macro")
    assert not rows.filter(updated=True)["value"].equals(rows.filter(updated=False)["value"])
    # without an update the two rows are one: each k starts from the weights before the stream
    monkeypatch.setattr(Training, "trainable", lambda training, rows: rows[:0])
    (folder / "k_shot.parquet").unlink()
    manifest_of = manifest(folder) | {"done": ["train"], "status": "RUNNING"}
    (folder / "manifest.json").write_text(json.dumps(manifest_of))
    execute(config(*BRIEF, "strategy=top", "stages=[k_shot]"), "top")
    again = shots_of(folder).filter(scorer=MODEL, metric="mrr", average="macro")
    assert again.filter(updated=True)["value"].equals(again.filter(updated=False)["value"])
    assert again.filter(updated=False)["value"].equals(rows.filter(updated=False)["value"])


def test_a_run_without_anybody_to_ask_says_so(config: MakeConfig) -> None:
    folder = execute(config("stages=[train,k_shot]", "evaluate.k_shot=[0,500]"), "nobody")
    assert not (folder / "k_shot.parquet").exists()
    said = manifest(folder)["k_shot"]
    assert said["item"]["eligible"] == said["item"]["queries"] == 0
    assert said["item"]["counted out"] == said["item"]["cold"] > 0


# --- blindness --------------------------------------------------------------------------------------------------------


def with_garbage(data: Dataset, rows: Ints, column: str, codes: Ints) -> Dataset:
    """The same log with garbage in one column of some rows: codes drawn from ``codes``."""
    log = data.log
    values = getattr(log, column).copy()
    values[rows] = np.random.default_rng(0).choice(codes, len(rows))
    columns = {
        name: getattr(log, name)
        for name in ("user", "item", "time", "label", "positive", "event_id")
    }
    columns |= {column: values}
    return replace(data, log=Log(**columns))


def run_on(
    change: Callable[[Dataset], Dataset],
    config: dict[str, Any],
    name: str,
    patch: pytest.MonkeyPatch,
) -> Path:
    with patch.context() as inside:
        load = simulated.load
        inside.setattr(simulated, "load", lambda **keys: change(load(**keys)))
        return execute(config, name)


def of_side(folder: Path, side: Side) -> pl.DataFrame:
    return shots_of(folder).filter(side=side).drop("run", "question")


@pytest.mark.long
@pytest.mark.parametrize("side", SIDES)
def test_garbage_in_what_is_hidden_moves_no_bit(
    side: Side, true: Path, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = config(*BRIEF)
    world = make_world(settled)
    plan, log = plan_of(world, side), world.data.log
    hidden = np.flatnonzero((log.time < plan.midpoint) & ~plan.known(log, max(SHOTS)))
    assert len(hidden) > 5
    # old codes of the other side, so that nobody turns cold or warm, and no item enters before its
    # release
    other = (
        ("user", np.unique(log.user[: len(log) // 2]))
        if side == "item"
        else ("item", np.unique(log.item[:80]))
    )
    garbage = run_on(
        lambda data: with_garbage(data, hidden, *other), settled, "garbage", monkeypatch
    )
    assert_frame_equal(of_side(true, side), of_side(garbage, side), check_exact=True)
    shown = np.flatnonzero(
        plan.eligible[plan.code] & plan.known(log, max(SHOTS)) & (log.time >= world.split.t_test)
    )
    other_world = run_on(
        lambda data: with_garbage(data, shown, *other), settled, "shown", monkeypatch
    )
    assert not of_side(true, side).equals(of_side(other_world, side))


@pytest.mark.long
@pytest.mark.parametrize("side", SIDES)
def test_garbage_in_the_second_half_moves_no_bit(
    side: Side, true: Path, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = config(*BRIEF)
    world = make_world(settled)
    plan, log = plan_of(world, side), world.data.log
    # whatever is not asked, so that the questions stay the same
    late = np.setdiff1d(np.flatnonzero(log.time >= plan.midpoint), plan.queries.event)
    assert len(late) > 20
    codes = np.flatnonzero(~plan.eligible)
    codes = np.intersect1d(codes, getattr(log, side)[: len(log) // 2])
    garbage = run_on(
        lambda data: with_garbage(data, late, side, codes), settled, "garbage", monkeypatch
    )
    assert_frame_equal(of_side(true, side), of_side(garbage, side), check_exact=True)


@pytest.mark.long
def test_a_memory_that_goes_on_is_caught(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same garbage moves bits as soon as the second half is known."""
    settled = config(*BRIEF)
    world = make_world(settled)
    plan, log = plan_of(world, "item"), world.data.log
    late = np.setdiff1d(np.flatnonzero(log.time >= plan.midpoint), plan.queries.event)
    codes = np.intersect1d(np.flatnonzero(~plan.eligible), log.item[: len(log) // 2])
    blind = Plan.known
    monkeypatch.setattr(
        Plan,
        "known",
        lambda plan, log, shots: blind(plan, log, shots) | (log.time >= plan.midpoint),
    )
    true = execute(settled, "true")
    garbage = run_on(
        lambda data: with_garbage(data, late, "item", codes), settled, "garbage", monkeypatch
    )
    assert not of_side(true, "item").equals(of_side(garbage, "item"))


# --- what somebody knows ----------------------------------------------------------------------------------------------


def test_a_world_known_in_part_counts_remembers_and_has_had_the_known_events_only(
    config: MakeConfig,
) -> None:
    world = make_world(config())
    log = world.data.log
    known = np.arange(len(log)) % 3 > 0
    part = world.knowing(known)
    end = np.full(len(world.data.items), log.time[-1] + 1)
    items = np.arange(len(world.data.items))
    assert (
        part.as_of.n_item(items, end).tolist()
        == np.bincount(log.item[known], minlength=len(items)).tolist()
    )
    assert np.array_equal(part.catalogue.enters_at, world.catalogue.enters_at)
    users = np.arange(len(world.data.users))
    row, item = part.catalogue.had(users, np.full(len(users), log.time[-1] + 1))
    pairs = set(zip(log.user[known].tolist(), log.item[known].tolist(), strict=True))
    assert set(zip(row.tolist(), item.tolist(), strict=True)) == pairs
    assert len(part.stream) == len(part.validation) == 0
    assert len(world.stream) > 0
    everything = world.knowing(np.ones(len(log), bool))
    times = np.full(len(users), log.time[-1] + 1)
    assert np.array_equal(
        everything.catalogue.mask(users, times), world.catalogue.mask(users, times)
    )
    assert (
        part.memory_of_the_past().n_item(items, end).sum()
        == (known & (log.time < world.split.t_test)).sum()
    )


@pytest.mark.long
def test_half_lives_are_chosen_as_in_evaluate(
    whole: Path, config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []
    measure = Evaluation.measure
    monkeypatch.setattr(
        Evaluation,
        "measure",
        lambda self, scorer, name: measured.append(name) or measure(self, scorer, name),
    )
    execute(config(*STAGE, "stages=[train,k_shot]"), "alone")
    # and whether those that read texts do better with profiles
    assert [name for name in measured if name != MODEL] == [
        *(f"recent_popularity {h}" for h in range(3)),
        *("tfidf", "tfidf", "zero_shot", "zero_shot"),
    ]
    assert_frame_equal(
        shots_of(Path(config().output) / "alone").drop("run"),
        shots_of(whole).drop("run"),
        check_exact=True,
    )


@pytest.mark.usefixtures("without_releases")
def test_events_of_items_whose_counts_are_masked_at_the_midpoint_are_not_learned(
    config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled, learned = config(*BRIEF, "release_slot=week"), list[tuple[Ints, World]]()
    fit = Training.fit

    def watched(self: Training, rows: Ints, part: str, **keys: Any) -> Any:
        if part.endswith("shots"):
            learned.append((rows, self._world))
        return fit(self, rows, part, **keys)

    monkeypatch.setattr(Training, "fit", watched)
    execute(settled, "grid")
    world = make_world(settled)
    masked = 0
    for rows, known in learned:
        until = known.catalogue.masked_until[known.data.log.item]
        midpoint = plan_of(world, "item").midpoint
        assert (until[rows] <= midpoint).all()
        stream = known.data.log.time >= world.split.t_test
        masked += int((until[stream] > midpoint).sum())
    assert masked > 0
