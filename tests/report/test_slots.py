"""What keeping places for new items costs all, in table and figure."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from coldlm.report.results import read_runs
from coldlm.report.rows import Comparison
from coldlm.report.slots import Point, draw_slots, front, slot_points, slots_table

PLACES = range(11)


@pytest.fixture
def comparison(make_runs) -> Comparison:
    folder: Path = make_runs()
    for file in folder.rglob("results.parquet"):
        table = pl.read_parquet(file)
        whole = table.filter(metric="recall", cohort="all", bucket="all", window=-1)
        rows = [table]
        for s in PLACES:
            value = pl.col("value") * (1 - s / 20)
            rows.append(whole.with_columns(metric=pl.lit(f"recall/slots{s}"), value=value))
            new = pl.lit(f"recall/slots{s}/on_shelf")
            rows.append(whole.with_columns(metric=new, value=pl.col("value") * s / 20))
        pl.concat(rows).write_parquet(file)
    return read_runs([folder]).comparisons[0]


def test_every_row_has_a_point_per_number_of_places(comparison) -> None:
    points = slot_points(comparison)
    assert len(points) == len(comparison.rows) * len(PLACES)
    for point in points:
        recall = comparison.value(point.row, metric="recall")
        assert point.of_all == pytest.approx(recall * (1 - point.kept / 20))
        assert point.of_new == pytest.approx(recall * point.kept / 20)


def test_nobody_on_the_front_is_beaten_and_who_is_not_on_it_is() -> None:
    points = [
        Point(0, 0, 0.5, 0.0),
        Point(0, 1, 0.4, 0.1),
        Point(1, 0, 0.45, 0.1),  # better than the one above, as good for new items
        Point(1, 1, 0.3, 0.3),
        Point(2, 0, 0.3, 0.2),
        Point(2, 1, 0.1, 0.3),
    ]
    assert [(p.row, p.kept) for p in front(points)] == [(0, 0), (1, 0), (1, 1)]


def test_the_table_has_both_sides_of_each_number_and_the_front_in_bold(comparison) -> None:
    points = slot_points(comparison)
    table = slots_table(comparison, points)
    assert table.header[:5] == ("scorer", "0 kept: all", "new", "1 kept: all", "new")
    best = max(range(len(comparison.rows)), key=lambda i: comparison.value(i, metric="recall"))
    assert table.bold == {(best, column) for column in range(1, len(table.header))}
    recall = comparison.value(best, metric="recall")
    assert table.body[best][1:3] == (f"{recall:.4f}".lstrip("0"), ".0000")


def test_the_figure_has_a_line_per_row_from_no_kept_place_on(comparison) -> None:
    points = slot_points(comparison)
    axis = draw_slots(comparison, points).axes[0]
    lines = {line.get_label(): line for line in axis.lines}
    for i, row in enumerate(comparison.rows):
        if row.name in lines:
            its = [(p.of_new, p.of_all) for p in points if p.row == i]
            assert list(zip(*lines[row.name].get_data(), strict=True)) == its
    assert len(lines["front"].get_xdata()) == len(front(points))


def test_runs_without_a_shelf_have_none(make_runs) -> None:
    assert slot_points(read_runs([make_runs()]).comparisons[0]) == []
