"""Ranks over data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from coldlm.report.ranks import critical_difference, rank_tables
from coldlm.report.results import read_runs
from coldlm.report.write import write_report

BASELINES = {"constant": 0.002, "popularity": 0.018, "tfidf": 0.018}
VALUES = {"one": 0.04, "two": 0.05, "three": 0.01}
"""Of the model, by data set."""


@pytest.fixture
def make_sets(make_run) -> Callable[..., Path]:
    """A run per data set, and another of the first one, which ranks lists."""

    def make(values: dict[str, float], again: float | None = None) -> Path:
        folder = Path()
        for name, value in values.items():
            folder = write(make_run, name, name, value)
        if again is not None:
            write(make_run, "again", next(iter(values)), again)
        return folder.parent

    def write(make_run, run: str, name: str, value: float) -> Path:
        dataset = {"name": name, "hashes": {name: "ab"}, "n_users": 610, "n_items": 9742}
        facts = {"value": value, "baselines": BASELINES, "schedules": ("history",)}
        folder: Path = make_run(run, dataset=name, manifest={"question": run}, **facts)

        file = folder / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["dataset"] |= dataset
        file.write_text(json.dumps(manifest))
        return folder

    return make


def test_scorers_stand_by_their_mean_rank(make_sets) -> None:
    (table,) = rank_tables(read_runs([make_sets(VALUES)]).comparisons)
    assert table.header == ("scorer", "mean rank", "one", "three", "two", "apart from the first")
    assert [line[:5] for line in table.body] == [
        ("lora, history", "1.67", "1", "3", "1"),
        ("popularity", "2.17", "2.5", "1.5", "2.5"),  # equals share their ranks
        ("tfidf", "2.17", "2.5", "1.5", "2.5"),
        ("constant", "4.00", "4", "4", "4"),
    ]
    ranks = np.array([[1, 2.5, 2.5, 4], [3, 1.5, 1.5, 4], [1, 2.5, 2.5, 4]])
    p = stats.friedmanchisquare(*ranks.T).pvalue
    assert f"Friedman p {p:.3f}".replace("0.", ".") in table.title
    assert f"critical difference {critical_difference(4, 3):.2f}" in table.title
    assert 2.33 < critical_difference(4, 3) < 3
    assert {line[-1] for line in table.body} == {"no"}  # three sets tell little


@pytest.mark.parametrize(
    ("scorers", "sets", "q"), [(2, 10, 1.960), (5, 10, 2.728), (10, 30, 3.164)]
)
def test_the_critical_difference_is_that_of_the_paper(scorers: int, sets: int, q: float) -> None:
    expected = q * (scorers * (scorers + 1) / (6 * sets)) ** 0.5  # its table 5(a)
    assert critical_difference(scorers, sets) == pytest.approx(expected, abs=2e-3)


def test_a_scorer_far_behind_is_apart(make_sets) -> None:
    many = {f"set-{number}": 0.04 for number in range(8)}
    (table,) = rank_tables(read_runs([make_sets(many)]).comparisons)
    assert [line[-1] for line in table.body] == ["no", "no", "no", "yes"]


def test_a_data_set_with_several_comparisons_counts_once(make_sets) -> None:
    (table,) = rank_tables(read_runs([make_sets(VALUES, again=0.001)]).comparisons)
    assert table.title.startswith("Mean ranks over 3 data sets")
    own = next(line for line in table.body if line[0] == "lora, history")
    assert own[2] == "2.5"  # the first in one of them, the last in the other


def test_two_data_sets_have_no_ranks(make_sets) -> None:
    two = {"one": 0.04, "two": 0.05}
    assert rank_tables(read_runs([make_sets(two)]).comparisons) == ()
    assert rank_tables(()) == ()


def test_the_report_has_them(make_sets, tmp_path: Path, unpainted: None) -> None:
    write_report([make_sets(VALUES)], tmp_path / "report")
    for file in ("report.md", "report.html"):
        assert "Mean ranks over 3 data sets" in (tmp_path / "report" / file).read_text()
