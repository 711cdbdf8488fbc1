"""Runs become rows: order, names, seeds, and baselines that appear once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from coldlm.report.results import read_runs


def names(folder: Path) -> list[str]:
    return [row.name for row in read_runs([folder]).comparisons[0].rows]


def test_strategies_come_first_then_controls_then_baselines(make_runs) -> None:
    assert names(make_runs(schedules=("per_window", "history"))) == [
        "frozen, history",
        "frozen, per_window",
        "lora, history",
        "lora, per_window",
        "context_only, history",
        "context_only, per_window",
        "random_vectors, history",
        "random_vectors, per_window",
        "permuted_text, history",
        "permuted_text, per_window",
        "random",
        "constant",
        "popularity",
        "recent_popularity",
        "newest",
        "tfidf",
        "zero_shot",
        "fewest_events",
    ]


def test_seeds_are_averaged_and_counted(make_run, tmp_path: Path) -> None:
    for seed, value in ((1, 0.02), (2, 0.03), (3, 0.07)):
        make_run(f"lora-{seed}", seed=seed, value=value)
    comparison = read_runs([tmp_path]).comparisons[0]
    assert comparison.rows[0].seeds == 3
    assert comparison.value(0) == pytest.approx(0.04)
    assert comparison.per_user(0)["value"].mean() == pytest.approx(0.04)


def test_baselines_appear_once_however_many_runs_repeat_them(make_runs) -> None:
    folder = make_runs(seeds=(1, 2))
    comparison = read_runs([folder]).comparisons[0]
    assert names(folder).count("popularity") == 1
    row = names(folder).index("popularity")
    assert comparison.value(row) == 0.018
    assert comparison.rows[row].seeds == 2
    assert comparison.warnings == ()


def test_a_baseline_that_differs_between_runs_is_a_warning(make_run, tmp_path: Path) -> None:
    make_run("frozen-1", strategy="frozen", baselines={"popularity": 0.018, "random": 0.002})
    make_run("lora-1", baselines={"popularity": 0.020, "random": 0.002})
    warnings = read_runs([tmp_path]).comparisons[0].warnings
    assert len(warnings) == 1
    assert "baseline `popularity` differs" in warnings[0]
    assert "frozen-1, lora-1" in warnings[0]


def test_text_baselines_of_control_runs_are_not_used(make_run, tmp_path: Path) -> None:
    make_run("permuted-1", control="permuted_text", baselines={"tfidf": 0.001, "popularity": 0.018})
    make_run("lora-1", baselines={"tfidf": 0.015, "popularity": 0.018})
    comparison = read_runs([tmp_path]).comparisons[0]
    assert comparison.value(names(tmp_path).index("tfidf")) == 0.015
    assert comparison.warnings == ()


def test_zero_shot_is_named_by_backbone_when_there_are_several(make_run, tmp_path: Path) -> None:
    make_run("a", backbone="minilm", baselines={"zero_shot": 0.017})
    make_run("b", backbone="bert_base", baselines={"zero_shot": 0.019})
    found = names(tmp_path)
    assert {"lora · minilm, history", "lora · bert_base, history"} < set(found)
    assert found[-2:] == ["zero_shot · bert_base", "zero_shot · minilm"]
    assert read_runs([tmp_path]).comparisons[0].warnings == ()


def test_runs_that_differ_out_of_sight_do_not_pass_for_two_seeds(make_run, tmp_path: Path) -> None:
    recipes = [{"optim.lr": lr, "loss.draws": 8} for lr in (0.1, 0.5)]
    for seed, recipe in ((1, recipes[0]), (2, recipes[1]), (3, recipes[1])):
        make_run(
            f"run-{seed}",
            seed=seed,
            value=0.03,
            schedules=("history",),
            manifest={"recipe": recipe},
        )
    rows = read_runs([tmp_path]).comparisons[0].rows[:2]
    assert [(row.name, row.seeds) for row in rows] == [
        ("lora · lr=0.1, history", 1),
        ("lora · lr=0.5, history", 2),
    ]


def test_runs_that_differ_in_many_keys_are_numbered(make_run, tmp_path: Path) -> None:
    for n in (0, 1):
        make_run(
            f"run-{n}", schedules=("history",), manifest={"recipe": {f"a.{k}": n for k in "vwxyz"}}
        )
    names = [row.name for row in read_runs([tmp_path]).comparisons[0].rows[:2]]
    assert names == [f"lora · v={n} · w={n} · x={n} · recipe {n + 1} of 2, history" for n in (0, 1)]


def test_runs_that_were_asked_other_things_share_no_table(make_run, tmp_path: Path) -> None:
    make_run("four-stars")
    make_run("five-stars", seed=2, manifest={"question": "others"})
    assert len(read_runs([tmp_path]).comparisons) == 2


def test_a_row_judged_on_other_users_is_a_warning(make_run, tmp_path: Path) -> None:
    make_run("frozen-1", strategy="frozen")
    path = make_run("lora-1") / "per_user.parquet"
    pl.read_parquet(path).filter(
        (pl.col("user") != "u000") | (pl.col("scorer") != "model")
    ).write_parquet(path)
    warnings = read_runs([tmp_path]).comparisons[0].warnings
    assert any("`lora, history` was judged on 39 users" in warning for warning in warnings)
    # the two files of that run no longer agree, which is a warning too
    assert any("per_user.parquet says" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("control", "newer"), [("none", True), ("permuted_text", True), ("context_only", False)]
)
def test_rows_that_use_a_checkpoint_newer_than_the_test_are_marked(
    make_run, tmp_path, control, newer
) -> None:
    checkpoint = {"name": "minilm", "date": "2021-08", "newer_than_t_test": True}
    make_run("a", control=control, manifest={"checkpoint": checkpoint})
    rows = read_runs([tmp_path]).comparisons[0].rows
    assert rows[0].newer is newer
    assert {row.label: row.newer for row in rows}.get("zero_shot", False) is (control == "none")


def test_curves_follow_the_buckets_and_keep_what_was_not_measurable(
    make_run, tmp_path: Path
) -> None:
    make_run("a")
    comparison = read_runs([tmp_path]).comparisons[0]
    curve = comparison.curve("item").filter(row=0)
    assert curve["bucket"].to_list() == ["0", "1", "2", "3-4", "5-9", "10-19", "20-49", "50+"]
    assert curve["value"].null_count() == 1
    assert curve["n_events"].to_list() == [0, 90, 80, 140, 300, 410, 620, 1200]
    assert comparison.by_window().filter(row=0)["window"].to_list() == [0, 1, 2, 3]


def test_a_strategy_is_called_by_its_name_unless_another_of_that_name_is_there(
    make_run, tmp_path: Path
) -> None:
    make_run("one", strategy="lora rank=8 alpha=16", value=0.04)
    make_run("two", strategy="top layers=1", value=0.03)
    labels = {
        row.label for row in read_runs([tmp_path]).comparisons[0].rows if row.kind == "strategy"
    }
    assert labels == {"lora", "top"}
    make_run("three", strategy="lora rank=4 alpha=16", value=0.04)
    labels = {
        row.label for row in read_runs([tmp_path]).comparisons[0].rows if row.kind == "strategy"
    }
    assert labels == {"lora rank=8 alpha=16", "lora rank=4 alpha=16", "top"}


def test_differences_are_the_same_to_the_bit_however_often_they_were_asked_for(make_runs) -> None:
    folder = make_runs(seeds=(1, 2))
    asked, fresh = (read_runs([folder]).comparisons[0] for _ in range(2))
    rows = range(len(asked.rows))
    first = [str(asked.difference(i, j)) for i in rows for j in rows]
    copy = replace(asked, warnings=())
    assert [str(copy.difference(i, j)) for i in rows for j in rows] == first
    assert copy.users._panels is asked.users._panels
    backwards = [str(fresh.difference(i, j)) for i in reversed(rows) for j in reversed(rows)]
    assert backwards[::-1] == first
    assert len(set(first)) > 1
