"""The cells that all formats share."""

from __future__ import annotations

from coldlm.report.measure import measure
from coldlm.report.results import read_runs
from coldlm.report.table import cost_table, metric, probability, quality_table, quantity, warmup_table, window_table


def test_numbers_are_written_short() -> None:
    assert [metric(v) for v in (0.0412, 0.0, 1.0, 0.99999, None, float("nan"))] == [
        ".0412", ".0000", "1.0000", "1.0000", "n/a", "n/a"
    ]  # fmt: skip
    assert [metric(v, sign=True) for v in (0.0031, -0.0031)] == ["+.0031", "-.0031"]
    assert [probability(p) for p in (0.0002, 0.04, 1.0)] == ["<.001", ".040", "1"]
    assert [quantity(v) for v in (98304.0, 12.345, 0.4, 5.0, None)] == ["98,304", "12.3", "0.4", "5", "–"]


def test_the_quality_table_has_one_row_per_scorer_and_schedule(make_runs) -> None:
    comparison = read_runs([make_runs(schedules=("history",))]).comparisons[0]
    table = quality_table(comparison, measure(comparison, draws=200))
    cells = dict(zip(table.header[:3], table.body[1][:3], strict=True))
    assert cells == {"scorer": "lora, history", "seeds": "1", "nDCG@10": ".0460"}
    assert table.body[3][10] == "best trivial"
    assert table.body[-1][-4:] == ("–", "–", "–", "–")
    assert table.kinds == ("strategy",) * 2 + ("control",) * 3 + ("baseline",) * 8
    assert table.bold == frozenset()


def test_bold_marks_the_score_and_its_distance(make_runs) -> None:
    comparison = read_runs([make_runs(seeds=(1, 2, 3), schedules=("history",))]).comparisons[0]
    assert quality_table(comparison, measure(comparison, draws=1000)).bold == {(0, 2), (0, 10), (1, 2), (1, 10)}


def test_the_cost_table_leaves_out_what_was_not_trained(make_runs) -> None:
    comparison = read_runs([make_runs(schedules=("history",))]).comparisons[0]
    table = cost_table(comparison, measure(comparison, draws=200))
    assert set(table.kinds) == {"strategy", "control"}
    assert table.body[1] == ("lora, history", "589,824", "2,600", "20", "300", "–", "150", "4.2", "6.1", "2.4")


def test_a_bucket_without_events_is_not_a_number(make_runs) -> None:
    comparison = read_runs([make_runs()]).comparisons[0]
    table = warmup_table(comparison, "item")
    assert table.header[:3] == ("item has had", "0 (0)", "1 (90)")
    assert {row[1] for row in table.body} == {"n/a"}
    assert "n/a" not in {cell for row in warmup_table(comparison, "user").body for cell in row}


def test_the_window_table_shows_every_window(make_runs) -> None:
    table = window_table(read_runs([make_runs()]).comparisons[0])
    assert table.header == ("window", "0 (710)", "1 (710)", "2 (710)", "3 (710)")
    assert table.body[0][1:] == (".0420", ".0462", ".0504", ".0546")
