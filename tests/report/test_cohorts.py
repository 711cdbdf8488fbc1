"""One line per data set, strategy and cohort."""

from __future__ import annotations

import polars as pl
import pytest

from coldlm.core.columns import COHORTS
from coldlm.report.cohorts import BY_VIEW, cohort_table, measure_slices, new_items_table
from coldlm.report.results import read_runs
from coldlm.report.statistics import holm


def test_every_strategy_stands_in_every_cohort_beside_the_best_of_both_kinds(make_runs) -> None:
    comparison = read_runs([make_runs(schedules=("history",))]).comparisons[0]
    found = measure_slices([comparison])
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
    found = {(m.row, m.cohort): m for m in measure_slices(read_runs([folder]).comparisons)}
    warm, cold = (found["lora, history", cohort] for cohort in ("warm_warm", "cold_both"))
    assert warm.baseline is not None
    assert cold.baseline is not None
    assert (warm.baseline[0], cold.baseline[0]) == ("recent_popularity", "tfidf")
    assert warm.vs is not None
    assert cold.vs is not None
    assert warm.vs.mean > 0 > cold.vs.mean


def test_no_strategy_is_held_against_a_control_that_cheats(make_runs) -> None:
    folder = make_runs(schedules=("history", "per_window"))
    for name in ("results", "per_user"):
        file = folder / "context_only-1" / f"{name}.parquet"
        moves = pl.col("schedule") == "per_window"
        pl.read_parquet(file).with_columns(
            pl.when(moves).then(pl.col("value") * 9).otherwise("value").alias("value"),
            pl.when(moves).then(pl.lit("oracle")).otherwise("schedule").alias("schedule"),
        ).write_parquet(file)
    comparison = read_runs([folder]).comparisons[0]
    assert "context_only, oracle" in [row.name for row in comparison.rows]
    controls = {m.control[0] for m in measure_slices([comparison]) if m.control}
    assert controls == {"random_vectors, per_window"}


def test_holm_counts_the_cohorts_of_all_data_sets(make_run, tmp_path) -> None:
    for seed in (1, 2, 3):
        make_run(f"a{seed}", value=0.03, seed=seed)
        make_run(f"b{seed}", value=0.03, seed=seed, dataset="other", manifest={"question": "other"})
    found = measure_slices(read_runs([tmp_path]).comparisons)
    raw = [m.vs.p for m in found if m.vs]
    assert len(raw) == 2 * 2 * len(COHORTS)  # histories and updates; static is a control
    assert [m.p_holm for m in found] == holm(raw)


def test_a_cohort_that_nobody_asked_for_has_no_line(make_run, tmp_path) -> None:
    run = make_run("a")
    for name in ("results", "per_user"):
        frame = pl.read_parquet(run / f"{name}.parquet")
        frame.filter(pl.col("cohort") != "cold_both").write_parquet(run / f"{name}.parquet")
    found = measure_slices(read_runs([tmp_path]).comparisons)
    assert {m.cohort for m in found} == set(COHORTS) - {"cold_both"}


def test_without_a_control_its_cells_say_so(make_run, tmp_path) -> None:
    make_run("a", schedules=("history",), baselines={})
    table = cohort_table(measure_slices(read_runs([tmp_path]).comparisons))
    assert table.body[0] == ("toy", "lora, history", "all", "2,840", "40", ".0460") + ("–",) * 7


def test_a_handful_of_users_gets_no_interval(make_run, tmp_path) -> None:
    make_run("a")
    users = tmp_path / "runs" / "a" / "per_user.parquet"
    frame = pl.read_parquet(users)
    few = frame.filter((pl.col("cohort") != "cold_both") | (pl.col("user") < "u019"))
    few.write_parquet(users)
    found = {m.cohort: m for m in measure_slices(read_runs([tmp_path]).comparisons)}
    assert found["cold_both"].vs is None
    assert found["cold_user"].vs is not None
    assert cohort_table([found["cold_both"]]).body[0][-3:] == ("–", "–", "–")


def test_views_are_measured_by_what_items_have_had(make_runs) -> None:
    folder = make_runs(schedules=("history",))
    slices = {"item:1": 1.0, "item:5-9": 2.0}
    better = pl.when(pl.col("scorer") == "zero_shot").then(3.0).otherwise(1.0)
    for run in folder.iterdir():
        for name in ("results", "per_user"):
            table = pl.read_parquet(run / f"{name}.parquet")
            if name == "per_user":
                table = table.with_columns(bucket=pl.lit("all"))
            own = table.filter(cohort="all", bucket="all", metric="ndcg", k=10)
            if name == "results":
                own = own.filter(window=-1, average="macro")
            peers = [own.with_columns(metric=pl.lit("ndcg/peers"))] + [
                own.with_columns(
                    metric=pl.lit("ndcg/peers"),
                    bucket=pl.lit(bucket),
                    value=pl.col("value") * times * (better if bucket == "item:1" else 1.0),
                )
                for bucket, times in slices.items()
            ]
            pl.concat([table, *peers]).write_parquet(run / f"{name}.parquet")
    comparison = read_runs([folder]).comparisons[0]
    found = {m.which[1]: m for m in measure_slices([comparison], BY_VIEW) if m.row[:4] == "lora"}
    assert set(found) == {"all", *slices}
    first, later = found["item:1"], found["item:5-9"]
    assert (first.value, later.value) == (pytest.approx(0.046), pytest.approx(0.092))
    assert first.baseline == ("zero_shot", pytest.approx(0.051))
    assert later.control == ("random_vectors, history", pytest.approx(0.068))
    assert first.vs is not None
    assert later.vs is not None
    assert first.vs.mean == pytest.approx(-0.005)
    assert later.vs.mean == pytest.approx(0.024)
    names = [row.name for row in comparison.rows]
    own, other = (names.index(name) for name in ("lora, history", "zero_shot"))
    assert first.vs == comparison.difference(own, other, bucket="item:1", metric="ndcg/peers")
    table = new_items_table(comparison)
    assert table is not None
    assert [line[1] for line in table.body[::2]] == [
        "peers", "peers, item has had 1", "peers, item has had 5-9",
    ]  # fmt: skip
    assert table.body[3][5:9] == ("zero_shot", ".0510", "random_vectors, history", ".0340")


def test_without_views_there_is_no_table_of_them(make_runs) -> None:
    assert new_items_table(read_runs([make_runs()]).comparisons[0]) is None
