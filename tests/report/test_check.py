"""``coldlm report --check``: what a run folder says of itself, recomputed."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from coldlm.commands.report import main
from coldlm.core.columns import SLOTS
from coldlm.core.errors import RunFolderError
from coldlm.evaluate.summary import summarise
from coldlm.report.check import Checked, check_runs

WHOLE = {"window": -1, "bucket": "all"}


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of a whole run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def spoil(folder: Path, column: str, by: float, **where: object) -> None:
    """Add ``by`` to the first cell of ``results.parquet`` that is so."""
    file = folder / "results.parquet"
    results = pl.read_parquet(file).with_row_index("at")
    first = results.filter(**where)["at"][0]
    here = pl.col("at") == first
    spoilt = pl.when(here).then(pl.col(column) + by).otherwise(column)
    results.with_columns(spoilt.cast(results.schema[column]).alias(column)).drop(
        "at"
    ).write_parquet(file)


def check(folder: Path) -> dict[str, Checked]:
    return {each.source: each for each in check_runs([folder], summarise)}


def test_every_cell_of_a_run_is_recomputed_and_equal(folder: Path) -> None:
    results = pl.read_parquet(folder / "results.parquet")
    found = check(folder)
    users, events = found["per_user.parquet"], found["events.parquet"]
    by_user = results.filter(~pl.col("metric").str.starts_with(SLOTS), **WHOLE)
    in_buckets = results.filter(
        pl.col("bucket").str.starts_with("item:"),
        pl.col("metric").is_in(["ndcg", "ndcg/peers", "ndcg/shelf"]),
    )
    assert users.tried == by_user.height + in_buckets.height > by_user.height > 0
    assert events.tried == events.of == users.of == results.height
    assert users.is_right
    assert events.is_right


@pytest.mark.parametrize("average", ["macro", "micro"])
@pytest.mark.parametrize(
    ("column", "by"), [("value", 1e-6), ("n_users", 1), ("n_queries", 1), ("n_events", -1)]
)
def test_one_spoilt_cell_is_found_by_users_and_by_events(folder, average, column, by) -> None:
    spoil(folder, column, by, average=average, metric="recall", cohort="cold_item_any", **WHOLE)
    for each in check(folder).values():
        assert each.differing.height == 1
        (row,) = each.differing.rows(named=True)
        assert (row["cohort"], row["metric"], row["average"]) == (
            "cold_item_any",
            "recall",
            average,
        )
        assert row[column] - row[f"{column} again"] == pytest.approx(by)


def test_a_spoilt_window_is_found_by_events_alone(folder: Path) -> None:
    spoil(folder, "value", 0.1, window=1)
    spoil(folder, "value", 0.1, bucket="user:0")
    found = check(folder)
    assert found["per_user.parquet"].is_right
    assert found["events.parquet"].differing.height == 2


def test_a_cell_or_a_user_that_is_missing_is_a_difference(folder: Path) -> None:
    results = pl.read_parquet(folder / "results.parquet")
    lost = results.filter(metric="mrr", cohort="all", average="macro", **WHOLE)
    results.join(lost, on=results.columns, how="anti").write_parquet(folder / "results.parquet")
    assert check(folder)["per_user.parquet"].differing.height == lost.height > 0
    users = pl.read_parquet(folder / "per_user.parquet")
    users.filter(pl.col("user") != users["user"][0]).write_parquet(folder / "per_user.parquet")
    assert check(folder)["per_user.parquet"].differing.height > lost.height


def test_a_cell_that_is_there_twice_is_a_difference(folder: Path) -> None:
    results = pl.read_parquet(folder / "results.parquet")
    one = results.filter(metric="recall", cohort="all", average="macro", scorer="random", **WHOLE)
    assert one.height == 1
    pl.concat([results, one]).write_parquet(folder / "results.parquet")
    for each in check(folder).values():
        assert each.differing["metric"].to_list() == ["recall", "recall"]


def test_metrics_of_plugins_are_left_to_the_users(folder: Path) -> None:
    for name in ("results.parquet", "per_user.parquet"):
        table = pl.read_parquet(folder / name)
        own = table.filter(metric="ndcg", bucket="all").with_columns(metric=pl.lit("rbp"))
        pl.concat([table, own]).write_parquet(folder / name)
    found = check(folder)
    assert found["per_user.parquet"].is_right
    assert found["events.parquet"].is_right
    assert found["events.parquet"].tried < found["events.parquet"].of


def test_a_folder_without_events_is_checked_by_its_users(folder: Path) -> None:
    (folder / "events.parquet").unlink()
    assert list(check(folder)) == ["per_user.parquet"]


def test_the_command_prints_what_was_tried_and_says_by_its_status_whether_all_is_equal(
    folder: Path, capsys
) -> None:
    assert main(["--check", str(folder)]) == 0
    assert "First differences" not in capsys.readouterr().out
    spoil(folder, "value", 0.25, metric="ndcg", cohort="all", average="macro", **WHOLE)
    assert main(["--check", str(folder)]) == 1
    out = capsys.readouterr().out
    assert "First differences (stored / recomputed)" in out
    assert len([line for line in out.splitlines() if " ndcg " in f" {line} "]) == 2
    assert not Path("report").exists()


def test_a_file_that_cannot_be_read_is_said_and_is_no_success(folder: Path, capsys) -> None:
    (folder / "per_user.parquet").write_bytes(b"nothing")
    assert main(["--check", str(folder)]) == 1
    assert "per_user.parquet cannot be read" in capsys.readouterr().out


def test_packed_files_and_empty_folders_are_refused(tmp_path: Path, capsys) -> None:
    (tmp_path / "runs.parquet").write_bytes(b"")
    with pytest.raises(RunFolderError, match="only run folders can be checked"):
        check_runs([tmp_path / "runs.parquet"], summarise)
    assert main(["--check", str(tmp_path)]) == 2
    assert "no results.parquet under" in capsys.readouterr().err


def test_help_says_which_cells_are_determined(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    assert "From per_user.parquet follow" in out
    assert "windows and warm-up buckets" in out
