"""What the report says of schedules: one table, one figure, and nothing good of who cheats."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from coldlm.config.schedules import cheats
from coldlm.config.schema import RunConfig
from coldlm.experiment.run import execute
from coldlm.report.flags import flags
from coldlm.report.headline import headlines
from coldlm.report.looks import COLOURS
from coldlm.report.measured import Report, make_report
from coldlm.report.pages import curve_tables, table_page
from coldlm.report.probes import matrix_table
from coldlm.report.schedules import REST, draw_stream, in_streams, schedule_table

MakeConfig = Callable[..., RunConfig]


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, compose: MakeConfig, cache: Path
) -> dict[str, Path]:
    """A run under a schedule, one trained anew, one that cheats, and one whose weights stand."""
    output = tmp_path_factory.mktemp("schedules")
    given = ("stages=[train,evaluate,online]", "evaluate.latency_requests=0", "train.batch_size=64")
    return {
        name: execute(compose(output, cache, *given, f"online={name}"), name)
        for name in ("per_window", "retrain", "oracle", "history")
    }


@pytest.fixture(scope="module")
def report(folders: dict[str, Path]) -> Report:
    return make_report(list(folders.values()))


def test_standing_weights_are_one_row_whatever_the_schedule(report: Report) -> None:
    (comparison,) = report.runs.comparisons
    own = [row.name for row in comparison.rows if row.kind == "strategy"]
    assert own == [
        "frozen, history", "frozen, per_window", "frozen, retrain", "frozen, oracle", "frozen, static",
    ]  # fmt: skip
    assert not comparison.warnings


def test_the_table_is_what_the_manifests_say(report: Report, folders: dict[str, Path]) -> None:
    (comparison,) = report.runs.comparisons
    table = schedule_table(comparison)
    assert table is not None
    assert [cells[0] for cells in table.body] == [
        "frozen, history", "frozen, per_window", "frozen, retrain", "frozen, oracle CHEATS",
    ]  # fmt: skip
    said = {
        name: json.loads((folder / "manifest.json").read_text())["stream"]
        for name, folder in folders.items()
    }
    stands, row, retrain, _ = (dict(zip(table.header, cells, strict=True)) for cells in table.body)
    # every run has a row of weights that stand; what its updates cost is none of theirs
    assert (stands["updates"], stands["s in updates"]) == ("0", "0")
    assert row["updates"] == str(said["per_window"]["updates"])
    anew, own = (said[name]["learned_average"] for name in ("retrain", "per_window"))
    assert float(row["intransigence"]) == pytest.approx(anew - own, abs=6e-5)
    assert retrain["intransigence"] == "+.0000"


def test_the_figure_has_a_line_per_schedule(report: Report) -> None:
    (comparison,) = report.runs.comparisons
    figure = draw_stream(comparison)
    assert len(figure.axes[0].get_lines()) == len(in_streams(comparison)) == 4


def test_of_many_schedules_the_front_and_the_best_are_told_apart(report: Report) -> None:
    (comparison,) = report.runs.comparisons
    rows = tuple(
        replace(row, schedule=f"{row.schedule}{copy or ''}")
        for copy in range(5)
        for row in comparison.rows
    )
    many = replace(comparison, rows=rows)
    figure = draw_stream(many)
    colours = [line.get_color() for line in figure.axes[0].get_lines()]
    assert len(colours) == 20
    named = {colour for colour in colours if colour != REST}
    assert len(named) == len(COLOURS) == sum(colour != REST for colour in colours)
    assert len(figure.legends[0].get_texts()) == len(COLOURS)
    # no scale is made for who cheats
    top = max(
        comparison.estimate(i).high for i, row in in_streams(comparison) if not cheats(row.schedule)
    )
    assert figure.axes[4].get_ylim()[1] <= 1.1 * top


def test_an_age_that_no_item_had_is_an_empty_line(report: Report) -> None:
    (comparison,) = report.runs.comparisons
    rows = tuple(
        replace(row, streams=tuple(s.filter(pl.col("age") != "warmed") for s in row.streams))
        for row in comparison.rows
    )
    figure = draw_stream(replace(comparison, rows=rows))
    assert all(len(line.get_xdata()) == 0 for line in figure.axes[2].get_lines())  # type: ignore[arg-type]
    assert all(len(line.get_xdata()) > 0 for line in figure.axes[0].get_lines())  # type: ignore[arg-type]


def test_who_cheats_is_marked_and_never_bold_nor_best(
    report: Report, folders: dict[str, Path]
) -> None:
    (comparison,), (headline,) = report.runs.comparisons, report.headlines
    assert "frozen, oracle CHEATS" in table_page(report.parts)
    assert not any(m.is_bold for m in headline.measures if cheats(m.row.schedule))
    assert headline.best_trivial is not None
    assert not cheats(headline.best_trivial.schedule)
    (line,) = headlines(list(folders.values()))
    assert "CHEATS" not in line or "retrain" in line or "per_window" in line
    assert "of oracle" not in line
    assert not any(flag.startswith("AUDIT") for flag in flags(comparison))


def test_a_stream_that_fails_its_audit_is_flagged(report: Report) -> None:
    (comparison,) = report.runs.comparisons
    audits = {"learned_too_early": 1, "scored_by_the_future": 2, "live_too_early": 0}
    rows = tuple(
        replace(row, manifests=tuple(replace(m, audit=audits) for m in row.manifests))
        for row in comparison.rows
    )
    (flag,) = [f for f in flags(replace(comparison, rows=rows)) if f.startswith("AUDIT")]
    assert "`frozen, per_window`" in flag
    assert "oracle" not in flag
    oracle = next(row for row in comparison.rows if row.schedule == "oracle")
    assert any(manifest.audit and any(manifest.audit.values()) for manifest in oracle.manifests)


def test_the_matrix_of_versions_is_the_probe_of_the_runs(
    report: Report, folders: dict[str, Path]
) -> None:
    (comparison,) = report.runs.comparisons
    table = matrix_table(comparison)
    assert table is not None
    assert {line[0] for line in table.body} == {
        "frozen, history", "frozen, per_window", "frozen, retrain",
    }  # fmt: skip
    probes = pl.read_parquet(folders["per_window"] / "probes.parquet")
    said = {
        (window, part): value
        for window, part, value in probes.select("window", "part", "value").iter_rows()
    }
    lines = [line for line in table.body if line[0] == "frozen, per_window"]
    windows = sorted({window for window, _ in said})
    assert [line[1] for line in lines] == ["training", *(f"window {w}" for w in windows[1:])]
    parts = sorted({part for _, part in said})
    assert table.header[2:] == ("validation", *(f"window {part}" for part in parts[1:]))
    for window, line in zip(windows, lines, strict=True):
        asked = [said[window, part] for part in parts]
        assert [float(cell) for cell in line[2:]] == pytest.approx(asked, abs=6e-5)
    # weights that stand are worth the same whenever they are asked
    stands = [line[2:] for line in table.body if line[0] == "frozen, history"]
    assert len(set(stands)) == 1 < len(stands)
    assert table in curve_tables(comparison)
