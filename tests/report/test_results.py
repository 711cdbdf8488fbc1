"""Which run folders take part, and which may stand in one table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

from coldlm.core.errors import RunFolderError
from coldlm.report.results import read_runs


def test_runs_are_found_at_any_depth_and_only_once(make_run, tmp_path: Path) -> None:
    run = make_run("a/deep/lora-1")
    runs = read_runs([tmp_path, run])
    assert len(runs.comparisons[0].manifests) == 1
    assert runs.skipped == ()


def test_unfinished_and_failed_runs_are_skipped_and_named(make_run, tmp_path: Path) -> None:
    make_run("good")
    make_run("bad", seed=2, manifest={"status": "DIVERGED", "reason": "loss is nan at step 7"})
    make_run("open", seed=3, manifest={"status": "RUNNING"})
    skipped = {Path(folder).name: why for folder, why in read_runs([tmp_path]).skipped}
    assert skipped == {
        "bad": "DIVERGED: loss is nan at step 7",
        "open": "RUNNING: it is not finished yet, or was killed within the hour",
    }


def test_a_copy_of_a_run_is_not_a_second_seed(make_run, tmp_path: Path) -> None:
    run = make_run("lora-1")
    shutil.copytree(run, tmp_path / "runs" / "copy")
    runs = read_runs([tmp_path])
    assert len(runs.comparisons[0].manifests) == 1
    assert "the same configuration and seed" in runs.skipped[0][1]


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_run_with_values_that_are_not_finite_is_skipped(
    make_run, tmp_path: Path, bad: float
) -> None:
    make_run("good")
    path = make_run("bad", seed=2) / "results.parquet"
    first = pl.int_range(pl.len()) == 0
    pl.read_parquet(path).with_columns(
        value=pl.when(first).then(bad).otherwise("value")
    ).write_parquet(path)
    assert "1 values are not finite" in read_runs([tmp_path]).skipped[0][1]


def test_broken_files_are_named(make_run, tmp_path: Path) -> None:
    make_run("good")
    (make_run("no-manifest", seed=2) / "manifest.json").write_text("{")
    (make_run("no-results", seed=3) / "results.parquet").unlink()
    columns = make_run("no-column", seed=4) / "results.parquet"
    pl.read_parquet(columns).drop("bucket").write_parquet(columns)
    pretrained = make_run("only-pretrained", seed=6)
    (pretrained / "results.parquet").unlink()
    said = json.loads((pretrained / "manifest.json").read_text())
    (pretrained / "manifest.json").write_text(
        json.dumps({key: said[key] for key in said if key != "question"})
    )
    other_k = make_run("other-k", seed=5) / "per_user.parquet"
    pl.read_parquet(other_k).with_columns(k=20).write_parquet(other_k)
    skipped = {Path(folder).name: why for folder, why in read_runs([tmp_path]).skipped}
    assert skipped["other-k"].endswith("run it with evaluate.k=10")
    assert skipped["no-manifest"].startswith("manifest.json cannot be read")
    assert skipped["no-results"].startswith("results.parquet cannot be read")
    assert skipped["only-pretrained"].startswith("no test or online results: run it with the stage")
    assert "bucket" in skipped["no-column"]


def test_no_finished_run_is_an_error_that_says_why(make_run, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no folder with a manifest"):
        read_runs([tmp_path])
    make_run("bad", manifest={"status": "FAILED", "reason": "out of memory"})
    with pytest.raises(RunFolderError, match="FAILED: out of memory"):
        read_runs([tmp_path])
    with pytest.raises(RunFolderError, match="is not there"):
        read_runs([tmp_path / "nowhere"])


def test_runs_over_other_dates_get_a_table_of_their_own(make_run, tmp_path: Path) -> None:
    manifest = json.loads((make_run("a") / "manifest.json").read_text())
    manifest["dataset"]["dates"]["t_test"] = "2016-01-01"
    make_run("b", manifest={"dataset": manifest["dataset"]})
    make_run("c", candidates="sampled_100")
    titles = [comparison.title for comparison in read_runs([tmp_path]).comparisons]
    assert titles == [
        "toy (candidates full, t_test 2016-01-01)",
        "toy (candidates full, t_test 2017-05-03)",
        "toy (candidates sampled_100)",
    ]


def test_many_windows_make_no_long_title(make_run, tmp_path: Path) -> None:
    dataset = json.loads((make_run("plain") / "manifest.json").read_text())["dataset"]
    for split, n in (("loo", 2), ("time", 30), ("time", 31)):
        windows = [f"2017-05-{day:02}T00:00:00" for day in range(1, n + 1)]
        dates = dataset["dates"] | {"windows": windows}
        make_run(
            f"{split}-{n}",
            split=split,
            manifest={"dataset": dataset | {"name": "long", "dates": dates}},
        )
    titles = [comparison.title for comparison in read_runs([tmp_path]).comparisons][:-1]
    assert titles[0] == "long (split loo)"
    assert titles[1:] == [f"long (split time, {n} windows)" for n in (29, 30)]
    assert len(set(titles)) == 3
