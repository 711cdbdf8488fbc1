"""The distance to the best trivial row, and when it may be claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from coldlm.report.measure import Headline, measure
from coldlm.report.results import read_runs
from coldlm.report.statistics import estimate, seeds_needed


def headline(folder: Path) -> Headline:
    return measure(read_runs([folder]).comparisons[0])


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


def test_intervals_hold_users_and_seeds(make_runs) -> None:
    comparison = read_runs([make_runs(seeds=(1, 2, 3))]).comparisons[0]
    found = measure(comparison).measures[0]
    users = (
        comparison.users.table.filter(row=0, cohort="all").sort("seed", "user")["value"].to_numpy()
    )
    assert found.headline == estimate(users.reshape(3, 40))
    assert found.headline.sd_seeds < 1e-12  # made so
    assert found.vs_trivial is not None
    assert (found.vs_trivial.seeds, found.vs_trivial.users) == (3, 40)


def test_strategy_and_control_are_compared_on_the_seeds_that_both_have(
    make_run, tmp_path: Path
) -> None:
    for seed, value in ((1, 0.05), (2, 0.06), (3, 0.1)):
        make_run(f"lora-{seed}", seed=seed, value=value, schedules=("history",))
    for seed, value in ((2, 0.03), (3, 0.05), (4, 0.2)):
        control = {"control": "context_only", "value": value, "schedules": ("history",)}
        make_run(f"control-{seed}", seed=seed, **control)
    comparison = read_runs([tmp_path]).comparisons[0]
    lora, control = 0, 1
    found = comparison.difference(lora, control)
    assert found is not None
    assert (found.seeds, found.mean) == (2, pytest.approx((0.06 + 0.1 - 0.03 - 0.05) / 2))
    baseline = len(comparison.rows) - 1
    against = comparison.difference(lora, baseline)
    assert against is not None
    assert against.seeds == 3
    assert against.mean == pytest.approx(0.07 - (comparison.value(baseline) or 0))


def test_two_runs_of_one_seed_are_one_seed(make_run, tmp_path: Path) -> None:
    for name, seed, value in (("a", 1, 0.04), ("b", 1, 0.06), ("c", 2, 0.08)):
        make_run(name, seed=seed, value=value, schedules=("per_window",))
    comparison = read_runs([tmp_path]).comparisons[0]
    assert comparison.value(0) == pytest.approx(1.1 * (0.05 + 0.08) / 2)
    assert comparison.estimate(0).mean == pytest.approx(1.1 * (0.05 + 0.08) / 2)
    assert not any("per_user.parquet says" in warning for warning in comparison.warnings)


def test_what_can_be_found_is_told_where_there_is_a_p(make_runs) -> None:
    assert headline(make_runs(seeds=(1, 2))).smallest_effect is None
    found = headline(make_runs(seeds=(3, 4, 5))).smallest_effect
    assert found is not None
    assert found > 0


def test_rows_without_a_seed_in_common_rest_on_none(make_run, tmp_path: Path) -> None:
    make_run("lora", seed=1)
    make_run("control", seed=2, control="context_only")
    found = read_runs([tmp_path]).comparisons[0].difference(0, 3)
    assert found is not None
    assert found.seeds == 0
    assert np.isnan(found.p)


@pytest.mark.parametrize(("seeds", "claims"), [(1, 0), (3, 0), (6, 0), (7, 2)])
def test_nothing_is_bold_below_the_seeds_that_two_comparisons_need(
    make_runs, seeds: int, claims: int
) -> None:
    found = headline(make_runs(tuple(range(seeds)), schedules=("history",)))
    assert found.seeds_needed == seeds_needed(2) == 7
    assert sum(m.is_bold for m in found.measures) == claims


def test_a_strategy_worse_than_the_trivial_is_never_bold(make_run, tmp_path: Path) -> None:
    for seed in range(9):
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
    assert found.seeds_needed is None
    assert np.isfinite(found.measures[0].headline.low)
