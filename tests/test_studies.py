"""Every study has the same shape, and its table says what its own packed runs say, whatever options
there are today."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from coldlm.config.schema import RunConfig
from coldlm.config.signatures import fields_of, fields_of_dataclass
from coldlm.config.tree import list_options
from coldlm.report.measure import Headline, measure
from coldlm.report.results import read_runs
from coldlm.report.rows import Comparison, Row
from coldlm.report.table import metric, quantity
from coldlm.report.target import ON_THE_SHELF, PEERS
from coldlm.report.texts import TextWorth, measure_texts
from coldlm.runs.manifest import PLACES

REPO = Path(__file__).parents[1]
STUDIES = sorted(path.parent for path in (REPO / "studies").glob("*/README.md"))
SECTIONS = (
    "Claim",
    "Command",
    "Hardware",
    "Time",
    "Data",
    "Table",
    "Findings",
    "What it does not show",
)
USERS_ONLY = "resamples users only"
WITHOUT_INTERVALS = {"agreement"}
"""Studies of files that no people are behind; they say so at their end."""

MOST_BYTES = 200_000
"""Of a figure."""


def named(folder: Path) -> str:
    return folder.name


def test_the_studies_are_found() -> None:
    assert {"quickstart", "domain_tour", "strategies_x_backbones", "heads"} <= {
        study.name for study in STUDIES
    }


@pytest.mark.parametrize("study", STUDIES, ids=named)
def test_a_study_has_its_sections_in_order_and_says_what_its_intervals_leave_out(
    study: Path,
) -> None:
    text = (study / "README.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, re.M)) == SECTIONS
    top = re.sub(r"\s*\n>?\s*", " ", text.partition("\n## ")[0])
    if study.name in WITHOUT_INTERVALS:
        top = re.sub(r"\s*\n\s*", " ", _section(study, "What it does not show"))
    assert USERS_ONLY in top
    assert "49 %" in top
    findings = _section(study, "Findings").strip().split("\n- ")
    assert all(re.match(r"(- )?20\d\d-\d\d-\d\d\. ", finding) for finding in findings)


@pytest.mark.parametrize("study", STUDIES, ids=named)
def test_a_study_runs_by_a_script_that_bash_can_read(study: Path) -> None:
    script = study / "run.sh"
    assert script.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert f"studies/{study.name}/run.sh" in _section(study, "Command")


@pytest.mark.parametrize("study", STUDIES, ids=named)
def test_files_that_a_study_shows_are_there_and_figures_are_small(study: Path) -> None:
    text = (study / "README.md").read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (study / link).exists()] == []
    assert all(figure.stat().st_size < MOST_BYTES for figure in study.glob("*.png"))


@pytest.mark.parametrize("study", [s for s in STUDIES if (s / "runs.parquet").is_file()], ids=named)
def test_a_study_says_which_data_its_packed_runs_read(study: Path) -> None:
    data = _section(study, "Data").replace(",", "")
    for comparison in _runs(study.name):
        for manifest in comparison.manifests:
            assert str(manifest.data.n_items) in data
            assert all(digest[:12] in data for digest in (manifest.data.hashes or {}).values())


@pytest.mark.parametrize("study", [s for s in STUDIES if (s / "runs.parquet").is_file()], ids=named)
def test_packed_runs_can_be_joined_by_runs_of_today(study: Path) -> None:
    """A key that was added since must have its value in ``schema.ADDED``, or a new seed of an old recipe
    is another row."""
    for comparison in _runs(study.name):
        for manifest in comparison.manifests:
            today = []
            for key, target in manifest.recipe.items():
                group, is_node, _ = key.rpartition("._target_")
                if is_node:
                    today += [f"{group}.{name}" for name in fields_of(target)]
            for group in ("train", "pretrain", "trainer"):
                section = fields_of_dataclass(RunConfig)[group].annotation
                today += [f"{group}.{name}" for name in fields_of_dataclass(section)]
            lost = [
                name
                for name in today
                if name not in PLACES
                and not any(f"{key}.".startswith(f"{name}.") for key in manifest.recipe)
            ]
            assert lost == []


def test_the_table_of_strategies_x_backbones_is_what_its_runs_say() -> None:
    columns = {
        "MiniLM": ("movielens", "minilm"),
        "RoBERTa's code": ("movielens", "minilm_as_roberta"),
        "tiny GPT-2": ("movielens", "gpt2_movielens"),
        "e5, Caixin": ("caixin", "e5_small_pruned"),
    }
    found: dict[tuple[str, str], dict[str, tuple[Comparison, Row, TextWorth]]] = {}
    costs: dict[str, dict[str, float | None]] = {}
    for comparison in _runs("strategies_x_backbones"):
        for each in measure_texts(comparison):
            axes = comparison.rows[each.row].manifests[0].axes
            strategy = axes["strategy"].partition(" ")[0]
            its = found.setdefault((comparison.title, axes["backbone"]), {})
            its[strategy] = (comparison, comparison.rows[each.row], each)
            if (comparison.title, axes["backbone"]) == columns["MiniLM"]:
                costs[strategy] = (
                    _headline("strategies_x_backbones", comparison.title).measures[each.row].cost
                )
    header, *body = _table("strategies_x_backbones")
    assert {cells[0] for cells in body} == set(found[columns["MiniLM"]])
    for cells in body:
        for column, place in columns.items():
            at = header.index(column)
            comparison, row, each = found[place][cells[0]]
            d = each.worth["all"]
            value, worth = metric(comparison.value(each.row)), metric(d.mean, True)
            if column == "MiniLM":
                new = metric(comparison.value(each.row, "cold_item_any"))
                worth = f"{worth} [{metric(d.low, True)}, {metric(d.high, True)}]"
                assert cells[header.index("new items")] == new
                assert cells[header.index("seeds")] == str(row.seeds)
            assert cells[at : at + 2] == [value, worth], (cells[0], column)
        said = [cells[header.index(name)] for name in ("trained", "s", "peak MB", "file MB")]
        names = ("trainable_parameters", "train_seconds", "peak_memory_mb", "checkpoint_mb")
        assert said == [quantity(costs[cells[0]][name]) for name in names]


def test_the_table_of_heads_is_what_its_runs_say() -> None:
    (comparison,) = _runs("heads")
    headline = _headline("heads", comparison.title)
    permuted = {
        metric(comparison.value(each.row)): metric(comparison.value(each.control))
        for each in measure_texts(comparison)
    }
    said = set()
    for m in headline.measures:
        seconds = [
            "" if m.cost[name] is None else f"{m.cost[name]:.0f}"
            for name in ("train_seconds", "latency_p50_ms")
        ]
        if m.row.schedule == "history" or m.row.kind == "baseline":
            low, high = metric(m.headline.low), metric(m.headline.high)
            said.add((metric(m.quality["ndcg@10"]), f"{low} to {high}", *seconds))
    header, *body = _table("heads")
    names = ("nDCG@10", "95 %", "training s", "ms a request")
    for cells in body:
        value, *others = (cells[header.index(name)] for name in names)
        assert (value, *others) in said, cells
        assert cells[header.index("on permuted texts")] in ("", permuted.get(value)), cells


def test_the_table_of_the_domain_tour_is_what_its_digits_say() -> None:
    names = {
        "Online Retail": "online_retail",
        "MovieLens": "movielens",
        "Last.fm-2k": "lastfm_2k",
        "Caixin, after first event": "caixin (queries 35869e3ea01fad76)",
        "Caixin, day slots": "caixin (queries 781d1b18e3f32801)",
        "MIND sample, lists": "mind_sample",
    }
    digits = pl.read_csv(REPO / "studies" / "domain_tour" / "domain_tour.csv")
    lines = {
        (line["comparison"], line["row"].strip("†"), line["cohort"]): line
        for line in digits.to_dicts()
    }
    header, *body = _table("domain_tour")
    assert header[-1] == "per_window vs better of both"
    assert len(body) == len(names) * 5
    for data_set, cohort, events, history, updated, baseline, control, distance in body:
        title = names[data_set]
        frozen, line = (
            lines[title, f"frozen, {how}", cohort.replace(" ", "_")]
            for how in ("history", "per_window")
        )
        assert events == f"{line['n_events']:,}"
        assert [history, updated] == [metric(each["ndcg@10"]) for each in (frozen, line)]
        for cell, best in ((baseline, "best_baseline"), (control, "best_control")):
            label = line[best].partition(",")[0].strip("†").replace("_", " ")
            assert cell == f"{label} {metric(line[f'{best}/ndcg@10'])}"
        if distance != "too few users":
            mean, low, high = (
                metric(line[key], True)
                for key in ("vs_trivial", "vs_trivial/low", "vs_trivial/high")
            )
            assert distance == f"{mean} [{low}, {high}]"


@pytest.mark.skipif(
    not (REPO / "studies" / "quickstart" / "runs.parquet").is_file(), reason="no packed runs yet"
)
def test_the_table_of_the_quickstart_is_what_its_runs_say_within_its_tolerance() -> None:
    (comparison,) = _runs("quickstart")
    tolerance = float(re.findall(r"^Tolerance: (\.\d+)", _section("quickstart", "Table"), re.M)[0])
    rows = {
        row.label.split()[0]
        if row.kind == "baseline"
        else f"{row.label.split()[0]}, {row.schedule}": i
        for i, row in enumerate(comparison.rows)
    }
    header, *body = _table("quickstart")
    cohorts = {"all": "all", "any cold user": "cold_user_any", "any cold item": "cold_item_any"}
    for cells in body:
        row = rows[cells[0].partition(" (")[0]]
        for column, cohort in cohorts.items():
            assert float(cells[header.index(column)]) == pytest.approx(
                comparison.value(row, cohort), abs=tolerance
            ), cells


def test_the_table_of_schedules_is_what_its_runs_say() -> None:
    header, *body = _table("schedules")
    assert header == list(SCHEDULE_COLUMNS)
    found = {
        cells[:3]: cells
        for comparison in _runs("schedules")
        for i, row in enumerate(comparison.rows)
        if row.kind != "baseline" and row.schedule != "static"
        if (cells := schedule_cells(comparison, i))
    }
    assert {tuple(cells[:3]) for cells in body} == set(found)
    for cells in body:
        assert tuple(cells) == found[tuple(cells[:3])]


SCHEDULE_COLUMNS = (
    "data", "model", "schedule", "seeds", "nDCG@10", "sd", "vs its history", "new items", "vs its history, new items",
    "forgetting", "updates", "s",
)  # fmt: skip


def schedule_cells(comparison: Comparison, i: int) -> tuple[str, ...]:
    """One row of the study of schedules; a difference is to the same model whose weights stand."""
    row = comparison.rows[i]
    stands = [
        j
        for j, other in enumerate(comparison.rows)
        if (other.kind, other.label, other.schedule) == (row.kind, row.label, "history")
    ]
    own = [m.stream or {} for m in row.manifests if m.axes.get("online") == row.schedule]
    mean = {
        key: sum(float(stream[key] or 0) for stream in own) / len(own)
        for key in ("forgetting", "updates", "update_seconds")
    }
    cells = [comparison.title, row.label, row.schedule, str(row.seeds)]
    for cohort in ("all", "cold_item_any"):
        cells.append(metric(comparison.value(i, cohort)))
        if cohort == "all":
            sd = comparison.estimate(i).sd_seeds
            cells.append("" if sd != sd else metric(sd))
        d = comparison.difference(i, stands[0], cohort) if stands != [i] else None
        cells.append(
            f"{metric(d.mean, True)} [{metric(d.low, True)}, {metric(d.high, True)}]" if d else ""
        )
    spent = (quantity(mean["updates"]), quantity(mean["update_seconds"]))
    return (*cells, metric(mean["forgetting"], True), *spent)


@cache
def _runs(study: str, pack: str = "runs.parquet") -> tuple[Comparison, ...]:
    return read_runs([REPO / "studies" / study / pack]).comparisons


@cache
def _headline(study: str, title: str) -> Headline:
    return measure(next(each for each in _runs(study) if each.title == title))


def _section(study: Path | str, name: str) -> str:
    text = (REPO / "studies" / study / "README.md").read_text(encoding="utf-8")
    return text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def _table(study: str, part: str = "") -> list[list[str]]:
    """The first table of the section, or of a part of it: its header and its rows, without the line
    between them."""
    text = _section(study, "Table")
    if part:
        text = text.partition(f"\n### {part}\n")[2].partition("\n### ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in lines
        if not line.startswith("|---")
    ]


@pytest.mark.parametrize(
    "pack",
    ["runs.parquet", "ml-100k.parquet", "caixin.parquet"],
)
def test_the_tables_of_rivals_are_what_their_runs_say(pack: str) -> None:
    (comparison,) = _runs("rivals", pack)
    measures = measure(comparison).measures
    assert all(
        digest[:12] in _section("rivals", "Data")
        for digest in (comparison.manifests[0].data.hashes or {}).values()
    )
    rows = {row.name: i for i, row in enumerate(comparison.rows) if row.schedule != "static"}
    header, *body = _table("rivals", comparison.title)
    assert [cells[0] for cells in body] == list(rows)
    for name, seeds, *cells in body:
        i = rows[name]
        own, d = measures[i].headline, measures[i].vs_trivial
        apart = (
            f"{metric(d.mean, True)} [{metric(d.low, True)}, {metric(d.high, True)}]" if d else ""
        )
        values = (
            comparison.value(i, "cold_item_any"),
            comparison.value(i, metric=PEERS),
            comparison.value(i, metric=PEERS, bucket="item:0"),
            comparison.value(i, "cold_item_any", metric=PEERS),
            comparison.value(i, metric=ON_THE_SHELF),
        )
        whole = (metric(own.mean), f"{metric(own.low)} to {metric(own.high)}", metric(own.sd_seeds))
        assert [seeds, *cells] == [
            str(comparison.rows[i].seeds),
            *whole,
            *map(metric, values),
            apart,
        ]
    assert header[1:5] == ["seeds", "all", "95 %", "sd"]


@pytest.mark.parametrize(
    "script", sorted((REPO / "studies").glob("*/run.sh")), ids=lambda p: p.parent.name
)
def test_the_options_that_a_study_names_are_there(script: Path) -> None:
    options = list_options()
    groups = ("experiment", "sweep", "strategy", "backbone", "control", "head", "loss", "dataset")
    asked = re.findall(
        rf"(?<![\w.])({'|'.join(groups)})=([\w,/]+)", script.read_text(encoding="utf-8")
    )
    assert [
        f"{g}={name}" for g, names in asked for name in names.split(",") if name not in options[g]
    ] == []
