"""Values of papers beside those of runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from coldlm.core.published import PublishedValue
from coldlm.report.published import published_table
from coldlm.report.results import read_runs
from coldlm.report.rows import Comparison


@pytest.fixture
def comparison(make_run) -> Callable[..., Comparison]:
    def make(*values: str) -> Comparison:
        folder: Path = make_run("paper")
        file = folder / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["published"] = {"source": "A. Author 2020, table 1", "values": values}
        file.write_text(json.dumps(manifest))
        return read_runs([folder]).comparisons[0]

    return make


def test_ours_stands_beside_what_is_published_and_a_mark_where_they_disagree(comparison) -> None:
    table = published_table(
        comparison(
            "popularity ndcg@10 .02 .003", "popularity recall@10 .02 .003", "model mrr .04 1"
        )
    )
    found = [dict(zip(table.header, line, strict=True)) for line in table.body]
    assert [line["verdict"] for line in found] == ["agrees", "DISAGREES", "agrees"]
    assert (found[0]["published"], found[0]["ours"], found[0]["apart"]) == (
        ".0200",
        ".0180",
        "-.0020",
    )
    assert found[1]["ours"] == ".0306"  # 1.7 times nDCG, in the runs of these tests
    assert found[2]["scorer"].startswith("lora, history")
    assert {line["source"] for line in found} == {"A. Author 2020, table 1"}


def test_a_cohort_may_be_named_and_what_was_not_measured_is_said(comparison) -> None:
    table = published_table(comparison("random cold_item/ndcg@10 .002 .01", "random map@10 .1 .1"))
    assert [line[2] for line in table.body] == ["cold_item/ndcg@10", "all/map@10"]
    assert [line[7] for line in table.body] == ["agrees", "n/a"]


def test_runs_without_a_paper_have_no_table(make_run) -> None:
    assert published_table(read_runs([make_run("plain")]).comparisons[0]) is None


@pytest.mark.parametrize("line", ["bpr ndcg@10 .2", "bpr ndcg@10 high .1", "ndcg@10 .2 .1", ""])
def test_another_form_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="allowed: 'SCORER METRIC@K VALUE TOLERANCE'"):
        PublishedValue.of(line)
