"""Runs that failed or diverged: they are seen wherever their row would have been."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from coldlm.report.columns import quality_table
from coldlm.report.flags import flags
from coldlm.report.measured import make_report
from coldlm.report.notes import footnotes
from coldlm.report.write import print_report, write_report

AXES = {
    "dataset": "toy", "split": "time", "candidates": "full", "backbone": "minilm", "head": "towers",
    "context": "counts", "loss": "sampled_softmax", "control": "none", "online": "per_window",
}  # fmt: skip
LOST = "no space left"


@pytest.fixture
def sweep(make_run, tmp_path: Path) -> Path:
    """frozen with seeds 1 and 2 of 3, the third out of space; ia3, which diverged; lora, killed."""
    for seed in (1, 2):
        make_run(f"frozen-{seed}", strategy="frozen", seed=seed)

    def fail(name: str, status: str, reason: str | None, strategy: str, seed: int) -> Path:
        axes = AXES | {"strategy": strategy, "seed": str(seed)}
        folder = make_run(
            name, strategy=strategy, seed=seed, value=0.9,
            manifest={"status": status, "reason": reason, "axes": axes, "dataset": None, "done": ["train"]},
        )  # fmt: skip
        for file in folder.glob("*.parquet"):
            file.unlink()
        return folder

    fail("frozen-3", "FAILED", f"OSError: {LOST}\nat line 3", "frozen", 3)
    fail("ia3-1", "DIVERGED", "loss is nan at step 7", "ia3", 1)
    killed = fail("lora-1", "RUNNING", None, "lora", 1)
    yesterday = time.time() - 86400
    for file in killed.iterdir():
        os.utime(file, (yesterday, yesterday))
    return tmp_path / "runs"


def test_a_failed_cell_is_a_row_with_its_reason(sweep: Path) -> None:
    (comparison,) = make_report([sweep]).runs.comparisons
    table = quality_table(comparison, make_report([sweep]).headlines[0])
    by_name = {cells[0]: cells for cells in table.body}
    assert by_name["ia3, per_window"][1:4] == ("0, 1 DIVERGED", "DIVERGED", "–")
    assert by_name["lora, per_window"][2] == "FAILED"
    assert by_name["frozen, per_window"][1] == "2, 1 FAILED"
    assert by_name["frozen, history"][1] == "2"
    said = flags(comparison)
    assert f"FAILED: `frozen, per_window`: seed 3: OSError: {LOST}" in said
    assert "DIVERGED: `ia3, per_window`: seed 1: loss is nan at step 7" in said
    assert any("killed after stage train" in flag and "24 h" in flag for flag in said)


@pytest.mark.usefixtures("only_svg")
def test_every_file_and_the_terminal_say_it(sweep: Path, tmp_path: Path) -> None:
    report = write_report([sweep], tmp_path / "out")
    console = Console(file=io.StringIO(), width=80)
    print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    texts = {
        file: (tmp_path / "out" / file).read_text()
        for file in ("report.md", "table.md", "table.tex", "report.html", "figure.svg", "cost.svg")
    }
    for text in (*texts.values(), console.file.getvalue()):
        assert "DIVERGED" in text
        assert "FAILED" in text
        assert "ia3" in text
    assert LOST in texts["report.html"]
    line = pl.read_csv(tmp_path / "out" / "table.csv").filter(label="ia3")
    assert line.select("status", "seeds", "failed_seeds", "ndcg@10").rows() == [
        ("DIVERGED", 0, 1, None)
    ]
    assert line["why"].item() == "seed 1: loss is nan at step 7"


def test_what_was_run_again_is_not_missing(sweep: Path, make_run) -> None:
    again = make_run(
        "again", strategy="ia3", seed=1, value=0.02, manifest={"config_hash": "ia3-1-hash"}
    )
    (comparison,) = make_report([sweep]).runs.comparisons
    assert again.is_dir()
    assert not any(row.label == "ia3" for row in comparison.failed)


def test_missing_seeds_are_told(make_run, tmp_path: Path) -> None:
    for name, strategy, seed in (("a", "frozen", 1), ("b", "frozen", 2), ("c", "lora", 1)):
        make_run(name, strategy=strategy, seed=seed, schedules=("history",))
    report = make_report([tmp_path / "runs"])
    notes = footnotes(report.runs.comparisons[0], report.headlines[0])
    assert "Seeds are 1, 2; missing: `lora, history` 2." in notes
