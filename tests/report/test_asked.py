"""What somebody asks of a report: its metric, its runs, its columns, their order, a row to compare with."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from coldlm.core.errors import ConfigError
from coldlm.report.asked import Asked
from coldlm.report.columns import quality_table
from coldlm.report.flags import flags
from coldlm.report.measure import measure
from coldlm.report.measured import Report, make_report
from coldlm.report.records import table_lines
from coldlm.report.verdict import judge


def report_of(folder: Path, **asked) -> Report:
    return make_report([folder], Asked(**asked))


def table_of(folder: Path, **asked):
    report = report_of(folder, **asked)
    return quality_table(report.runs.comparisons[0], report.headlines[0])


@pytest.fixture
def with_recall(make_run):
    """Two strategies and a control whose Recall@20 is twice nDCG@10, but that of lora, which is half of
    it; users say so, too."""

    def make() -> Path:
        for name, strategy, control, factor in (
            ("a", "frozen", "none", 2.0), ("b", "lora", "none", 0.5), ("c", "frozen", "context_only", 2.0)
        ):  # fmt: skip
            folder = make_run(name, strategy=strategy, control=control, schedules=("history",))
            for file in ("results.parquet", "per_user.parquet"):
                table = pl.read_parquet(folder / file)
                own = factor if strategy == "lora" else 2.0
                more = table.filter(metric="ndcg", k=10).with_columns(
                    metric=pl.lit("recall"),
                    k=pl.lit(20).cast(table.schema["k"]),
                    value=pl.col("value") * pl.when(scorer="model").then(own).otherwise(2.0),
                )
                pl.concat([table, more]).write_parquet(folder / file)
        return folder.parent

    return make


def test_another_metric_is_the_headline_everywhere(with_recall) -> None:
    folder = with_recall()
    default, asked = (report_of(folder, metric=metric) for metric in ("", "recall@20"))
    ((comparison, headline, texts),) = asked.parts
    table = quality_table(comparison, headline)
    assert table.header[2] == "Recall@20"
    assert table.header[8:11] == ("nDCG@10", "Recall@10", "MRR")
    by_name = {cells[0]: cells for cells in table.body}
    assert by_name["frozen, history"][2] == ".0840"
    # its interval is that of its own users: twice as wide as that of nDCG@10
    widths = [
        m.headline.high - m.headline.low
        for headline in (default.headlines[0], asked.headlines[0])
        for m in headline.measures
        if m.row.name == "frozen, history"
    ]
    assert widths[1] == pytest.approx(2 * widths[0])
    # lora is the best by nDCG@10, frozen by Recall@20
    assert "`lora, history`, has nDCG@10" in judge(*default.parts[0][:2]).words
    words = judge(comparison, headline).words
    assert "`frozen, history`, has Recall@20 .0840" in words
    assert "`context_only, history`, has .0660" in words  # twice .0330
    line = table_lines(comparison, headline, texts)[0]
    assert line["recall@20"] == pytest.approx(0.084)
    assert {"recall@20/low", "recall@20/warm_warm", "ndcg@10"} <= set(line)
    assert asked.cohorts[0].line()["recall@20"] == pytest.approx(0.084)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("recal@10", "did you mean recall@10"),
        ("recall@50", "measured by evaluate.k=50"),
        ("mrr@10", "mrr looks at the whole ranking"),
    ],
)
def test_a_metric_that_no_run_has_is_refused(make_run, metric: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        report_of(make_run("a"), metric=metric)


def test_packed_users_of_another_metric_are_missed_and_said_so(make_run, tmp_path: Path) -> None:
    from coldlm.report.flags import flags
    from coldlm.report.pack import pack
    from coldlm.report.results import read_runs

    make_run("a")
    (tmp_path / "packed.parquet").write_bytes(pack(read_runs([tmp_path / "runs"]).found))
    report = report_of(tmp_path / "packed.parquet", metric="recall@10")
    (comparison,) = report.runs.comparisons
    assert any(flag.startswith("NO USERS") for flag in flags(comparison))
    assert report.headlines[0].measures[0].value is not None


def test_only_some_runs_and_baselines_of_all(make_runs, make_run) -> None:
    folder = make_runs()
    # as in a pack, where one run keeps the baselines of all
    make_run("ia3-1", strategy="ia3", value=0.01, baselines={"ease": 0.09})
    assert "ease" in {cells[0] for cells in table_of(folder).body}
    report = report_of(folder, only=(("strategy", ("frozen",)),))
    rows = {row.name for row in report.runs.comparisons[0].rows}
    assert {"frozen, history", "context_only, history", "ease", "popularity"} <= rows
    assert not any(name.startswith(("lora", "ia3")) for name in rows)
    assert "--only strategy=frozen leaves" in report.runs.comparisons[0].only
    # nobody looks better for what was left out
    assert report.headlines[0].best_trivial.name == "ease"


def test_controls_without_a_text_stay_unless_they_are_chosen_by_name(make_runs) -> None:
    folder = make_runs()
    kept = report_of(folder, only=(("strategy", ("frozen",)),)).runs.comparisons[0].rows
    assert {"context_only, history", "frozen, history"} <= {row.name for row in kept}
    assert "permuted_text, history" not in {row.name for row in kept}
    plain = report_of(folder, only=(("control", ("none",)),)).runs.comparisons[0].rows
    assert {row.kind for row in plain} == {"strategy", "baseline"}


@pytest.mark.parametrize(
    ("axis", "value", "said"),
    [
        ("stratgy", "lora", "no such axis; did you mean strategy"),
        ("strategy", "lorra", r"no run has it; did you mean lora\?; there are frozen, lora"),
        ("optim.lr", "3", "there are 0.01"),
    ],
)
def test_an_axis_or_a_value_that_is_not_there_is_refused(
    make_runs, axis: str, value: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        report_of(make_runs(), only=((axis, (value,)),))


def test_every_row_against_one(make_runs) -> None:
    folder = make_runs(seeds=(1, 2, 3))
    report = report_of(folder, against="frozen")
    comparison, headline = report.runs.comparisons[0], report.headlines[0]
    names = [row.name for row in comparison.rows]
    for name, reference in (
        ("lora, per_window", "frozen, per_window"), ("lora, history", "frozen, history"),
        ("popularity", "frozen, history"), ("context_only, static", "frozen, static"),
    ):  # fmt: skip
        d = headline.measures[names.index(name)].against.d
        expected = comparison.difference(names.index(name), names.index(reference))
        assert d == expected
        assert d.mean == pytest.approx(
            comparison.value(names.index(name)) - comparison.value(names.index(reference))
        )
    table = quality_table(comparison, headline)
    at = table.header.index("vs frozen")
    by_name = {cells[0]: cells[at] for cells in table.body}
    assert by_name["frozen, history"] == "reference"
    assert by_name["lora, history"] == "+.0040"
    line = next(
        it for it in table_lines(*report.parts[0]) if (it["label"], it["schedule"]) == ("lora", "history")
    )  # fmt: skip
    assert line["against"] == "frozen, history"
    assert line["vs_against/low"] < line["vs_against/mean"] < line["vs_against/high"]
    with pytest.raises(ConfigError, match=r"--against frozn: no such row; did you mean frozen\?"):
        report_of(folder, against="frozn")


def test_columns_and_their_order_are_as_asked_for(make_run) -> None:
    folder = make_run("a", value=0.04)
    table = table_of(folder, columns=("mrr", "cold_both:ndcg@10", "interval", "train_seconds"))
    assert table.header == ("scorer", "MRR", "cold both", "95 % interval", "train seconds")
    assert table.body[0][:3] == ("lora, history", ".0360", ".0320")
    assert table.body[0][4] == "300"
    with pytest.raises(ConfigError, match=r"--columns cold_itm: .*did you mean cold_item\?"):
        report_of(folder, columns=("cold_itm",))
    with pytest.raises(ConfigError, match="--sort pp: no such column"):
        report_of(folder, sort="pp:asc")


def test_rows_are_sorted_and_bold_follows_its_row(make_runs) -> None:
    folder = make_runs(seeds=tuple(range(1, 8)), schedules=("history",))
    (comparison,) = make_report([folder]).runs.comparisons

    def sorted_by(sort: str):
        return quality_table(comparison, measure(comparison, Asked(sort=sort)))

    plain, table = sorted_by(""), sorted_by("ndcg@10:asc")
    values = [float(cells[2]) for cells in table.body]
    assert values == sorted(values)
    assert values != [float(cells[2]) for cells in plain.body]
    bold = [{t.body[i][j] for i, j in t.bold} for t in (plain, table)]
    assert bold[0] == bold[1] != set()
    by_cost = sorted_by("train_seconds")
    assert by_cost.body[0][0] == "lora, history"
    assert by_cost.body[-1][0] in {"fewest_events", "zero_shot", "tfidf"}  # no cost: last
    assert sorted_by("scorer:asc").body[0][0] == "constant"


def test_titles_say_which_key_tells_comparisons_apart(make_run, tmp_path: Path) -> None:
    for name, positive_from in (("a", 4.0), ("b", 3.5)):
        make_run(
            name, manifest={"question": name, "recipe": {"dataset.positive_from": positive_from}}
        )
    folder = make_run("c", manifest={"question": "c", "recipe": {"dataset.positive_from": 4.0}})
    facts = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(facts | {"drawn_queries": 500}))
    titles = [comparison.title for comparison in report_of(tmp_path).runs.comparisons]
    assert titles == [
        "toy (dataset.positive_from=3.5)",
        "toy (dataset.positive_from=4, evaluate.queries=500)",
        "toy (dataset.positive_from=4, evaluate.queries=all)",
    ]


def test_runs_are_chosen_by_their_tags(make_run) -> None:
    first = make_run("lora-1", manifest={"tags": ["night", "mine"]})
    make_run("frozen-1", strategy="frozen", manifest={"tags": ["mine"]})

    def chosen(word: str) -> list[Path]:
        found = report_of(first.parent, only=(("tag", (word,)),)).runs.found
        return [run.folder for run in found]

    assert chosen("night") == [first]
    assert len(chosen("mine")) == 2
    with pytest.raises(ConfigError, match=r"--only tag=day: no run has it.*mine, night"):
        chosen("day")


def test_a_debug_run_is_left_out_unless_it_is_named(make_run) -> None:
    meant = make_run("lora-1")
    recipe = json.loads((meant / "manifest.json").read_text())["recipe"]
    small = make_run("small", manifest={"recipe": {**recipe, "debug.name": "limit"}})
    runs = report_of(meant.parent).runs
    assert [run.folder for run in runs.found] == [meant]
    assert [why for folder, why in runs.skipped if folder == str(small)] == [
        "debug=limit, which is no result; name its own folder to see it"
    ]
    [comparison] = report_of(small).runs.comparisons
    assert flags(comparison)[0].startswith("DEBUG: debug=limit")
