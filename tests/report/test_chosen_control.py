"""Against the trivial row that validation chose."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.report.chosen_control import chosen_table, validation_values
from coldlm.report.results import read_runs
from coldlm.report.rows import Comparison


@pytest.fixture
def compared(make_runs) -> Callable[..., Comparison]:
    """Runs whose manifests say these values of baselines, and of context_only."""

    def make(baselines: dict[str, float], context: float | None = None) -> Comparison:
        folder: Path = make_runs(seeds=(1, 2, 3, 4, 5))
        for file in folder.rglob("manifest.json"):
            manifest = json.loads(file.read_text())
            if manifest["axes"]["control"] == "none":
                manifest["on_validation"] = baselines
            elif manifest["axes"]["control"] == "context_only" and context is not None:
                manifest["validation"] = {"ndcg@10": [context / 2, context], "best_epoch": 2}
            file.write_text(json.dumps(manifest))
        return read_runs([folder]).comparisons[0]

    return make


def test_the_row_that_validation_chose_is_compared_with(compared) -> None:
    comparison = compared({"tfidf": 0.05, "recent_popularity": 0.04, "zero_shot": 0.01})
    table = chosen_table(comparison)
    assert table.title.startswith("Against tfidf, which validation chose (.0500 there, ")
    names = [row.name for row in comparison.rows]
    other = names.index("tfidf")
    for line in table.body:
        found = comparison.difference(names.index(line[0]), other)
        assert line[1] == f"{found.mean:+.4f}".replace("0.", ".")
        assert float(line[3].lstrip("<")) <= 1
    assert {line[0] for line in table.body} == {
        name for name in names if name.startswith(("frozen", "lora")) and "static" not in name
    }


def test_a_control_counts_by_its_best_epoch(compared) -> None:
    comparison = compared({"tfidf": 0.05}, context=0.06)
    assert "Against context_only, history" in chosen_table(comparison).title
    values = {comparison.rows[i].name: v for i, v in validation_values(comparison).items()}
    assert values["tfidf"] == pytest.approx(0.05)
    assert values["context_only, history"] == pytest.approx(0.06)
    assert "context_only, static" not in values


def test_nothing_is_added_where_both_agree_or_validation_says_nothing(compared) -> None:
    assert chosen_table(compared({})) is None


def test_nothing_is_added_where_the_best_on_the_stream_was_chosen(make_runs, compared) -> None:
    comparison = compared({"tfidf": 0.01})
    trivial = [i for i, row in enumerate(comparison.rows) if row.kind != "strategy"]
    best = max(trivial, key=comparison.value)
    assert comparison.rows[best].kind == "control"
    assert chosen_table(comparison) is not None
    row = comparison.rows[best]
    for manifest in row.manifests:
        manifest.validation = {"ndcg@10": [0.9], "best_epoch": 1}
    assert chosen_table(comparison) is None
