"""The distance to the best trivial row, and when it may be claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldlm.report.measure import Headline, measure
from coldlm.report.results import read_runs
from coldlm.report.statistics import interval


def headline(folder: Path) -> Headline:
    return measure(read_runs([folder]).comparisons[0], draws=1000)


def test_the_best_trivial_row_is_the_best_of_baselines_and_controls(
    make_runs, make_run, tmp_path: Path
) -> None:
    found = headline(make_runs())
    assert found.best_trivial is not None
    assert found.best_trivial.name == "random_vectors, per_window"  # .034 x 1.1
    only_baselines = headline(make_run("alone", seed=9))
    assert only_baselines.best_trivial is not None
    assert only_baselines.best_trivial.name == "recent_popularity"


def test_the_difference_is_strategy_minus_the_best_trivial_row(make_runs) -> None:
    found = headline(make_runs(schedules=("history",)))
    lora = next(m for m in found.measures if m.row.name == "lora, history")
    assert lora.vs_trivial is not None
    assert lora.vs_trivial.mean == pytest.approx(0.046 - 0.034)
    assert lora.vs_trivial.low < 0.012 < lora.vs_trivial.high
    assert all(m.vs_trivial is None for m in found.measures if m.row.kind != "strategy")


def test_intervals_are_over_users_of_seed_averages(make_runs) -> None:
    folder = make_runs(seeds=(1, 2))
    comparison = read_runs([folder]).comparisons[0]
    found = measure(comparison, draws=500, seed=3).measures[0]
    users = comparison.users.filter(row=0, cohort="all").sort("user")["value"].to_numpy()
    assert len(users) == 40
    assert (found.low, found.high) == pytest.approx(interval(users, draws=500, seed=3), abs=1e-12)


@pytest.mark.parametrize(("seeds", "claims"), [((1,), 0), ((1, 2), 0), ((1, 2, 3), 2)])
def test_nothing_is_bold_below_three_seeds(make_runs, seeds, claims) -> None:
    found = headline(make_runs(seeds, schedules=("history",)))
    assert sum(m.is_bold for m in found.measures) == claims


def test_a_strategy_worse_than_the_trivial_is_never_bold(make_run, tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        make_run(f"a{seed}", seed=seed, value=0.001)
    found = headline(tmp_path).measures[0]
    assert found.p_holm is not None
    assert found.p_holm < 0.05
    assert not found.is_bold


def test_costs_are_averaged_over_runs_and_updates_cost_only_where_there_are_some(
    make_run, tmp_path: Path
) -> None:
    make_run(
        "a", seed=1, manifest={"seconds_per_update": 2.0, "seconds": {"train": 10.0, "refit": None}}
    )
    make_run(
        "b", seed=2, manifest={"seconds_per_update": 4.0, "seconds": {"train": 20.0, "refit": 4.0}}
    )
    found = {
        m.row.schedule: m.cost for m in headline(tmp_path).measures if m.row.kind == "strategy"
    }
    assert found["per_window"]["seconds_per_update"] == 3.0
    assert found["history"]["seconds_per_update"] is None
    assert found["history"]["train_seconds"] == 17.0
    assert found["history"]["checkpoint_mb"] == pytest.approx(2.4)


def test_a_run_without_baselines_has_nothing_to_compare_with(make_run, tmp_path: Path) -> None:
    make_run("a", baselines={})
    found = headline(tmp_path)
    assert found.best_trivial is None
    assert found.smallest_effect is None
    assert np.isfinite(found.measures[0].low)
