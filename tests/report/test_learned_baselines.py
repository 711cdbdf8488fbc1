"""Baselines that learn in epochs draw: their seeds are chance, as those of strategies are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coldlm.report.results import read_runs
from coldlm.report.rows import Comparison

SEEDS = (1, 2, 3, 4, 5)
OFF = (0.004, -0.004, 0.002, -0.002, 0.0)
"""What the baseline is off by in each seed."""


@pytest.fixture
def compared(make_run) -> Callable[[int | None], Comparison]:
    """Five seeds of a strategy beside tfidf, which is off by ``OFF`` and learned in so many epochs."""

    def make(epochs: int | None) -> Comparison:
        folder = Path()
        for seed, off in zip(SEEDS, OFF, strict=True):
            folder = make_run(f"frozen-{seed}", seed=seed)
            for name in ("results", "per_user"):
                file = folder / f"{name}.parquet"
                moved = pl.when(pl.col("scorer") == "tfidf").then(off).otherwise(0.0)
                pl.read_parquet(file).with_columns(pl.col("value") + moved).write_parquet(file)
            manifest = json.loads((folder / "manifest.json").read_text())
            manifest["rivals"] = {"tfidf": {"epochs": epochs}}
            (folder / "manifest.json").write_text(json.dumps(manifest))
        return read_runs([folder.parent]).comparisons[0]

    return make


@pytest.mark.parametrize("epochs", [None, 7])
def test_seeds_of_a_baseline_count_where_it_learns_in_epochs(compared, epochs) -> None:
    comparison = compared(epochs)
    shown = [(row.kind, row.schedule) for row in comparison.rows]
    frozen = shown.index(("strategy", "history"))
    tfidf = [row.name for row in comparison.rows].index("tfidf")
    assert comparison.rows[tfidf].learned == (epochs is not None)
    found = comparison.difference(frozen, tfidf)
    plain = comparison.estimate(frozen)
    assert found.mean == pytest.approx(plain.mean - comparison.value(tfidf))
    own = comparison.estimate(tfidf).sd_seeds
    assert own == pytest.approx(np.std(OFF, ddof=1))
    if epochs is None:
        assert found.sd_seeds == pytest.approx(plain.sd_seeds)
    else:
        assert found.sd_seeds > own / 2
        assert found.sd_seeds != pytest.approx(plain.sd_seeds)


def test_a_rival_stands_beside_itself_learned_anew(make_run) -> None:
    folder = make_run("frozen")
    others = {"tfidf": "ease@per_window", "newest": "late_fusion", "fewest_events": "ease"}
    for name in ("results", "per_user"):
        file = folder / f"{name}.parquet"
        renamed = pl.col("scorer").cast(pl.String).replace(others)
        pl.read_parquet(file).with_columns(renamed).write_parquet(file)
    names = [row.name for row in read_runs([folder.parent]).comparisons[0].rows]
    rivals = [name for name in names if name.partition("@")[0] in ("ease", "late_fusion")]
    assert rivals == ["ease", "ease@per_window", "late_fusion"]
