"""One line per data set, strategy and cohort."""

from __future__ import annotations

import polars as pl
import pytest

from coldlm.core.columns import COHORTS
from coldlm.report.cohorts import cohort_table, measure_cohorts
from coldlm.report.results import read_runs
from coldlm.report.statistics import holm


def test_every_strategy_stands_in_every_cohort_beside_the_best_of_both_kinds(make_runs) -> None:
    comparison = read_runs([make_runs(schedules=("history",))]).comparisons[0]
    found = measure_cohorts([comparison])
    assert [(m.row, m.cohort) for m in found] == [
        (row, cohort) for cohort in COHORTS for row in ("frozen, history", "lora, history")
    ]
    cold = next(m for m in found if (m.row, m.cohort) == ("lora, history", "cold_user_any"))
    share = 1 - 0.05 * COHORTS.index("cold_user_any")
    assert cold.value == pytest.approx(0.046 * share)
    assert cold.baseline == ("recent_popularity", pytest.approx(0.026 * share))
    assert cold.control == ("random_vectors, history", pytest.approx(0.034 * share))
    assert cold.vs is not None
    names = [row.name for row in comparison.rows]
    pair = (names.index(name) for name in ("lora, history", "random_vectors, history"))
    assert cold.vs == comparison.difference(*pair, "cold_user_any")
    assert cold.vs.mean == pytest.approx(0.012 * share)


def test_the_best_trivial_row_is_chosen_anew_in_each_cohort(make_runs) -> None:
    folder = make_runs(schedules=("history",))
    for name in ("results", "per_user"):
        for run in folder.iterdir():  # texts win where both sides are cold
            frame = pl.read_parquet(run / f"{name}.parquet")
            better = (pl.col("scorer") == "tfidf") & (pl.col("cohort") == "cold_both")
            changed = frame.with_columns(
                pl.when(better).then(pl.col("value") * 9).otherwise("value").alias("value")
            )
            changed.write_parquet(run / f"{name}.parquet")
    found = {(m.row, m.cohort): m for m in measure_cohorts(read_runs([folder]).comparisons)}
    warm, cold = (found["lora, history", cohort] for cohort in ("warm_warm", "cold_both"))
    assert warm.baseline is not None
    assert cold.baseline is not None
    assert (warm.baseline[0], cold.baseline[0]) == ("recent_popularity", "tfidf")
    assert warm.vs is not None
    assert cold.vs is not None
    assert warm.vs.mean > 0 > cold.vs.mean


def test_holm_counts_the_cohorts_of_all_data_sets(make_run, tmp_path) -> None:
    for seed in (1, 2, 3):
        make_run(f"a{seed}", value=0.03, seed=seed)
        make_run(f"b{seed}", value=0.03, seed=seed, dataset="other", manifest={"question": "other"})
    found = measure_cohorts(read_runs([tmp_path]).comparisons)
    raw = [m.vs.p for m in found if m.vs]
    assert len(raw) == 2 * 2 * len(COHORTS)  # histories and updates; static is a control
    assert [m.p_holm for m in found] == holm(raw)


def test_a_cohort_that_nobody_asked_for_has_no_line(make_run, tmp_path) -> None:
    run = make_run("a")
    for name in ("results", "per_user"):
        frame = pl.read_parquet(run / f"{name}.parquet")
        frame.filter(pl.col("cohort") != "cold_both").write_parquet(run / f"{name}.parquet")
    found = measure_cohorts(read_runs([tmp_path]).comparisons)
    assert {m.cohort for m in found} == set(COHORTS) - {"cold_both"}


def test_without_a_control_its_cells_say_so(make_run, tmp_path) -> None:
    make_run("a", schedules=("history",), baselines={})
    table = cohort_table(measure_cohorts(read_runs([tmp_path]).comparisons))
    assert table.body[0] == ("toy", "lora, history", "all", "2,840", "40", ".0460") + ("–",) * 7


def test_a_handful_of_users_gets_no_interval(make_run, tmp_path) -> None:
    make_run("a")
    users = tmp_path / "runs" / "a" / "per_user.parquet"
    frame = pl.read_parquet(users)
    few = frame.filter((pl.col("cohort") != "cold_both") | (pl.col("user") < "u019"))
    few.write_parquet(users)
    found = {m.cohort: m for m in measure_cohorts(read_runs([tmp_path]).comparisons)}
    assert found["cold_both"].vs is None
    assert found["cold_user"].vs is not None
    assert cohort_table([found["cold_both"]]).body[0][-3:] == ("–", "–", "–")
