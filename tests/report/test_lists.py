"""What lists hold, how alike seeds are, and lists side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import polars as pl
import pytest

from coldlm.report.lists import PERSISTENCE, example_tables, lists_table, stability
from coldlm.report.measure import measure
from coldlm.report.pack import pack, unpack
from coldlm.report.results import read_runs

SHOWN = {"coverage": 0.5, "share/shelf": 0.25, "novelty": 12.345, "popularity": 3.0}


def _rows(scorer: str, lists: dict[int, str], cold: bool = True) -> pl.DataFrame:
    """Lists of one-letter items, by query; what was asked for is in capitals."""
    return pl.DataFrame(
        [
            {
                "scorer": scorer, "query": query, "user": f"u{query}", "rank": rank, "item": letter.lower(),
                "title": f"智能手表 {letter.lower()}", "asked": letter.isupper(), "cold_user": cold,
                "history": ["旧"] if rank == 1 else None, "wanted": ["x"] * (query + 1) if rank == 1 else None,
            }
            for query, letters in lists.items()
            for rank, letter in enumerate(letters, 1)
        ],
        schema_overrides={"history": pl.List(pl.String), "wanted": pl.List(pl.String)},
    )  # fmt: skip


@pytest.fixture
def make_listed(make_run) -> Callable[..., Path]:
    """A run whose model and popularity show these lists."""

    def make(name: str, lists: dict[int, str], **facts: object) -> Path:
        folder: Path = make_run(name, **facts)
        rows = [_rows("model", lists), _rows("popularity", {0: "pq", 1: "pq"})]
        pl.concat(rows).write_parquet(folder / "lists.parquet")
        file = folder / "manifest.json"
        manifest = json.loads(file.read_text())
        manifest["shown"] = {"model": SHOWN, "popularity": {**SHOWN, "coverage": 0.1}}
        file.write_text(json.dumps(manifest))
        return folder

    return make


def test_the_table_has_what_manifests_say_and_dashes_where_they_do_not(make_listed) -> None:
    make_listed("one", {0: "abc", 1: "abd"}, seed=1)
    folder = make_listed("two", {0: "abc", 1: "dba"}, seed=2).parent
    [comparison] = read_runs([folder]).comparisons
    table = lists_table(comparison)
    lines = {line[0]: dict(zip(table.header, line, strict=True)) for line in table.body}
    own, popular = lines["lora, history"], lines["popularity"]
    assert (own["coverage"], own["novelty, bits"], own["popularity lift"]) == (".5000", "12.3", "3")
    assert (popular["coverage"], popular["same in two seeds"]) == (".1000", "–")
    assert lines["lora, static"]["coverage"] == "–"  # lists are those of histories that grow
    assert own["Gini"] == "–"
    assert own["same in two seeds"] == "1.0000"  # the same three items, in another order once
    warm, new = (comparison.value(0, cohort) for cohort in ("warm_warm", "cold_item_any"))
    assert float(own["warm and new, harmonic"]) == pytest.approx(2 / (1 / warm + 1 / new), abs=1e-4)


def test_rank_biased_overlap_is_that_of_prefixes(make_listed) -> None:
    make_listed("one", {0: "abcd", 1: "abcd"}, seed=1)
    folder = make_listed("two", {0: "abcd", 1: "xbaq"}, seed=2).parent
    [comparison] = read_runs([folder]).comparisons
    row = next(row for row in comparison.rows if row.name == "lora, history")
    overlap, rbo = stability(row)
    assert overlap == pytest.approx((4 / 4 + 2 / 4) / 2)
    p = PERSISTENCE

    def extrapolated(shared: list[int]) -> float:
        terms = sum(x / d * p**d for d, x in enumerate(shared, 1))
        return shared[-1] / 4 * p**4 + (1 - p) / p * terms

    # prefixes share 1, 2, 3, 4; and 0 (a, x), 1 (b), 2 (a too), 2
    assert rbo == pytest.approx((extrapolated([1, 2, 3, 4]) + extrapolated([0, 1, 2, 2])) / 2)
    assert extrapolated([1, 2, 3, 4]) == pytest.approx(1)


def test_many_seeds_are_the_mean_of_their_pairs(make_listed) -> None:
    seeds = {0: "abcd", 1: "abcd", 2: "ab"}, {0: "dcxa", 1: "xbaq", 3: "z"}, {1: "ba", 2: "bac"}
    folders = [make_listed(f"run{i}", its, seed=i) for i, its in enumerate(seeds)]
    [comparison] = read_runs([folders[0].parent]).comparisons
    row = next(row for row in comparison.rows if row.name == "lora, history")
    pairs = [stability(replace(row, lists=two)) for two in combinations(row.lists, 2)]
    assert len(row.lists) == len(set(pairs)) == 3
    assert stability(row) == pytest.approx([sum(each) / 3 for each in zip(*pairs, strict=True)])


def test_cold_users_lists_stand_side_by_side_with_a_star_at_what_was_taken(make_listed) -> None:
    folder = make_listed("one", {0: "abc", 1: "aBd"})
    [comparison] = read_runs([folder]).comparisons
    tables = example_tables(comparison, measure(comparison))
    # who took more first
    assert [table.title[:12] for table in tables] == ["Cold user u1", "Cold user u0"]
    assert "had 旧" in tables[0].title
    assert tables[0].header == ("rank", "popularity", "lora, history")
    assert tables[0].body[1] == ("2", "智能手表 q", "★ 智能手表 b")
    assert tables[0].body[2][1] == "–"


def test_warm_users_are_no_examples_and_runs_without_lists_have_no_table(
    make_run, make_listed
) -> None:
    [comparison] = read_runs([make_run("plain")]).comparisons
    assert lists_table(comparison) is None
    assert example_tables(comparison, measure(comparison)) == ()
    folder = make_listed("warm", {0: "abc"})
    _rows("model", {0: "abc"}, cold=False).write_parquet(folder / "lists.parquet")
    [comparison] = read_runs([folder]).comparisons
    assert example_tables(comparison, measure(comparison)) == ()


def test_a_pack_has_the_same_lists(make_listed, tmp_path: Path) -> None:
    make_listed("one", {0: "abc", 1: "abd", 200: "abc"}, seed=1)
    folder = make_listed("two", {0: "acb", 1: "dba", 200: "abc"}, seed=2).parent
    file = tmp_path / "runs.parquet"
    file.write_bytes(pack(read_runs([folder]).found))
    assert len(unpack(file)) == 2
    found = [read_runs([path]).comparisons[0] for path in (folder, file)]
    assert lists_table(found[0]) == lists_table(found[1])
    examples = [example_tables(each, measure(each)) for each in found]
    assert examples[0] == examples[1] != ()
