"""What is drawn, not how it looks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from coldlm.report.figure import draw_cost, draw_warmup, render
from coldlm.report.measure import measure
from coldlm.report.results import read_runs


@pytest.fixture
def comparison(make_runs):
    return read_runs([make_runs()]).comparisons[0]


def test_there_is_one_line_per_strategy_and_schedule_and_grey_for_the_rest(comparison) -> None:
    lines = {line.get_label(): line for line in draw_warmup(comparison).axes[0].lines}
    strategies = [name for name in lines if name.startswith(("frozen", "lora"))]
    assert len(strategies) == 6
    assert len({lines[name].get_color() for name in strategies}) == 2
    assert [name for name in lines if "context_only" in name] == ["context_only, per_window"]
    greys = {line.get_color() for name, line in lines.items() if name not in strategies}
    assert greys == {"#4d4d4d", "#a0a0a0"}
    assert "fewest_events" not in lines


def test_lines_hold_the_values_of_the_table_and_a_gap_where_nothing_was_measurable(comparison) -> None:
    for line in draw_warmup(comparison).axes[0].lines:
        row = next(i for i, r in enumerate(comparison.rows) if r.name == line.get_label())
        expected = comparison.curve("item").filter(row=row)["value"].to_list()
        assert expected[0] is None
        np.testing.assert_array_equal(line.get_ydata(), np.array(expected, float))
        assert np.isnan(line.get_ydata()[0])
        assert np.isfinite(line.get_ydata()[1:]).all()


def test_a_leaky_figure_says_so_without_its_table(make_runs) -> None:
    figure = draw_warmup(read_runs([make_runs(split="loo")]).comparisons[0])
    assert figure.get_suptitle() == "toy, LEAKY"


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_numbers_give_the_same_bytes(comparison, kind) -> None:
    first, second = (render(draw_warmup(comparison), kind) for _ in range(2))
    assert first == second
    assert b"dc:date" not in first


def test_the_cost_figure_puts_updates_beside_training(comparison) -> None:
    figure = draw_cost(comparison, measure(comparison, draws=100))
    training, updates = ({line.get_label() for line in axis.lines} for axis in figure.axes)
    assert training == updates == {
        "frozen", "lora", "context_only", "random_vectors", "permuted_text", "best trivial row"
    }  # fmt: skip
    assert render(figure, "png").startswith(b"\x89PNG")


def test_no_panel_cuts_off_a_line(make_run) -> None:
    run = make_run("one")
    results = pl.read_parquet(run / "results.parquet")
    # users are easy at first: the right panel is far above the left one
    easy = pl.when(pl.col("bucket") == "user:0").then(0.9).otherwise(pl.col("value"))
    results.with_columns(easy.alias("value")).write_parquet(run / "results.parquet")
    right = draw_warmup(read_runs([run]).comparisons[0]).axes[1]
    assert right.get_ylim()[1] > 0.9
