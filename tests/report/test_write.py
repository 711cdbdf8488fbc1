"""The files of a report, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from coldlm.report.measured import make_report
from coldlm.report.write import print_report, write_report

FILES = {"report.html", "report.md", "table.md", "table.tex", "table.csv", "cohorts.csv", "warmup.csv", "figure.png", "figure.svg", "cost.png", "cost.svg"}  # fmt: skip  # noqa: E501


def test_all_files_are_written_and_nothing_else(make_runs, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    report = write_report([make_runs()], out)
    assert {path.name for path in out.iterdir()} == FILES == {path.name for path in report.files}
    page = (out / "report.md").read_text()
    assert "![nDCG@10 against feedback events](figure.png)" in page
    assert "| lora, per_window | 1 | .0506 |" in page
    for title in ("Quality", "Cost", "Warm-up by item", "Warm-up by user", "By window", "Notes"):
        assert f"### {title}" in page


@pytest.mark.usefixtures("unpainted")
def test_csv_numbers_are_the_parquet_numbers(make_run, tmp_path: Path) -> None:
    run = make_run("lora-1", value=1 / 30)
    write_report([run], tmp_path / "out")
    results = pl.read_parquet(run / "results.parquet").filter(
        scorer="model", schedule="history", average="macro"
    )
    ndcg = results.filter(metric="ndcg")
    table = pl.read_csv(tmp_path / "out" / "table.csv").filter(label="lora", schedule="history")
    whole = ndcg.filter(window=-1, bucket="all")
    assert table["ndcg@10"].item() == whole.filter(cohort="all")["value"].item()
    assert (
        table["ndcg@10/cold_item_any"].item()
        == whole.filter(cohort="cold_item_any")["value"].item()
    )
    warmup = pl.read_csv(tmp_path / "out" / "warmup.csv").filter(
        label="lora", schedule="history", by="user"
    )
    buckets = ndcg.filter(pl.col("bucket").str.starts_with("user:"))
    assert warmup["value"].to_list() == buckets["value"].to_list()
    assert warmup["n_events"].to_list() == buckets["n_events"].to_list()


@pytest.mark.usefixtures("unpainted")
def test_a_bucket_without_events_is_an_empty_csv_cell(make_run, tmp_path: Path) -> None:
    write_report([make_run("a")], tmp_path / "out")
    text = (tmp_path / "out" / "warmup.csv").read_text()
    assert "toy,strategy,lora,history,item,ndcg,0,,0" in text
    assert "nan" not in text.lower()


@pytest.mark.usefixtures("unpainted")
def test_each_data_set_has_a_table_and_a_figure_of_its_own(make_run, tmp_path: Path) -> None:
    make_run("a")
    make_run("b", candidates="sampled_100")
    write_report([tmp_path / "runs"], tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"figure-toy-candidates-full.png", "figure-toy-candidates-sampled-100.svg"} < names
    assert (tmp_path / "out" / "report.md").read_text().count("### Quality") == 2


@pytest.mark.usefixtures("unpainted")
def test_skipped_runs_are_named_in_the_report_and_on_the_terminal(make_run, tmp_path: Path) -> None:
    make_run("good")
    make_run("bad", seed=2, manifest={"status": "FAILED", "reason": "no space left"})
    console = Console(file=io.StringIO(), width=200)
    print_report(write_report([tmp_path / "runs"], tmp_path / "out"), console)
    assert isinstance(console.file, io.StringIO)
    for text in ((tmp_path / "out" / "report.md").read_text(), console.file.getvalue()):
        assert "FAILED: no space left" in text
        assert "INCOMPLETE" in text


def test_the_terminal_shows_the_verdict_and_the_best_rows(make_runs) -> None:
    console = Console(file=io.StringIO(), width=200)
    print_report(make_report([make_runs()]), console)
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert all(
        words in text for words in ("No claim. The best of", "Quality", "1 seed is behind it")
    )
