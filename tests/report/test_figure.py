"""What is drawn, not how it looks."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text

from coldlm.report import fonts
from coldlm.report.figure import MOST_STRATEGIES, draw_warmup, render
from coldlm.report.lines import curves_of, lie_on_each_other
from coldlm.report.looks import put_legend
from coldlm.report.measure import measure
from coldlm.report.pareto import PANELS, draw_cost
from coldlm.report.results import read_runs
from coldlm.report.write import write_report

BASELINES = {
    "random",
    "constant",
    "popularity",
    "recent_popularity",
    "newest",
    "tfidf",
    "zero_shot",
}


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


def test_lines_hold_the_values_of_the_table_and_a_gap_where_nothing_was_measurable(
    comparison,
) -> None:
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


def test_the_cost_figure_has_a_panel_per_cost_and_updates_in_the_last(comparison) -> None:
    figure = draw_cost(comparison, measure(comparison))
    above, below = figure.axes[: len(PANELS)], figure.axes[len(PANELS) :]
    assert [axis.get_xlabel() for axis in below] == [label for _, label in PANELS]
    for axis in (*above, *below):
        assert len(_points(axis)) == 5  # two strategies, three controls
    frozen, updated = (sorted(y for _, y in _points(axis)) for axis in (above[0], above[-1]))
    # made 1.1 times as good by updates
    assert all(a < b for a, b in zip(frozen, updated, strict=True))
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {
        "frozen", "lora", "context_only", "random_vectors", "permuted_text", "front of the strategies",
        "best trivial row over all",
    }  # fmt: skip
    assert render(figure, "png").startswith(b"\x89PNG")


def in_chinese(comparison):
    return replace(comparison, title="新闻")


def test_chinese_falls_back_to_a_font_that_has_it_and_nothing_else_does(
    comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = ["DejaVu Sans", "Some Sans", "WenQuanYi Micro Hei", "Noto Sans CJK SC"]
    monkeypatch.setattr("matplotlib.font_manager.get_font_names", lambda: there)
    monkeypatch.setattr(
        fonts, "_has", lambda family, letter: family.startswith("Noto") or letter < "一"
    )
    fonts._fallbacks.cache_clear()
    figure = draw_warmup(in_chinese(comparison))
    before = figure.axes[0].title.get_fontfamily()
    with fonts.dressed(figure, is_text=False):
        assert figure.get_suptitle() == "新闻"
    assert figure.texts[0].get_fontfamily() == [
        "DejaVu Sans",
        "Noto Sans CJK SC",
        "WenQuanYi Micro Hei",
    ]
    assert figure.axes[0].title.get_fontfamily() == before
    assert not fonts.lacking(figure)
    fonts._fallbacks.cache_clear()


@pytest.mark.usefixtures("only_svg")
def test_without_such_a_font_code_points_are_drawn_and_one_warning_says_what_to_do(
    make_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(fonts, "_fallbacks", lambda: ())
    folder = make_run("a", dataset="新闻")
    facts = json.loads((folder / "manifest.json").read_text())
    facts["dataset"]["name"] = "新闻"
    (folder / "manifest.json").write_text(json.dumps(facts))
    report = write_report([folder], tmp_path / "out")
    (warning,) = report.warnings
    assert "新" in warning
    assert "apt-get install fonts-noto-cjk" in warning
    assert not [w for w in recwarn if "lyph" in str(w.message)]
    assert ">新闻, INCOMPLETE</text>" in (tmp_path / "out" / "figure.svg").read_text()
    figure = draw_warmup(report.runs.comparisons[0])
    with fonts.dressed(figure, is_text=False):
        assert figure.get_suptitle() == "\\u65b0\\u95fb, INCOMPLETE"
    assert figure.get_suptitle() == "新闻, INCOMPLETE"


def test_a_font_of_this_machine_draws_chinese(comparison) -> None:
    fonts._fallbacks.cache_clear()
    figure = draw_warmup(in_chinese(comparison))
    if fonts.lacking(figure):
        pytest.skip("no font here has Chinese")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fonts.dressed(figure, is_text=False):
            figure.draw_without_rendering()
            assert figure.get_suptitle().startswith("新闻"), "letters, no code points"


def test_a_font_that_was_installed_since_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    names, added = ["DejaVu Sans"], []

    def add(file: str) -> None:
        added.append(file)
        names.append("Noto Sans CJK SC")

    monkeypatch.setattr("matplotlib.font_manager.get_font_names", lambda: list(names))
    monkeypatch.setattr("matplotlib.font_manager.fontManager.addfont", add)
    monkeypatch.setattr(
        "matplotlib.font_manager.findSystemFonts", lambda: ["/f/NotoSansCJK.ttc", "/f/Comic.ttf"]
    )
    fonts._fallbacks.cache_clear()
    assert fonts._fallbacks() == ("Noto Sans CJK SC",)
    assert added == ["/f/NotoSansCJK.ttc"]
    fonts._fallbacks.cache_clear()


def test_bands_are_the_intervals_of_the_table(make_run) -> None:
    folder = make_run("a", strategy="lora", schedules=("history",))
    users = pl.read_parquet(folder / "per_user.parquet").with_columns(bucket=pl.lit("all"))
    of_items = users.filter(cohort="all").with_columns(bucket=pl.lit("item:3-4"))
    pl.concat([users, of_items]).write_parquet(folder / "per_user.parquet")
    (comparison,) = read_runs([folder]).comparisons
    axis = draw_warmup(comparison).axes[0]
    (band,) = axis.collections
    own = comparison.estimate(0, bucket="item:3-4")
    corners = band.get_paths()[0].vertices
    at = corners[corners[:, 0] == 3, 1]
    assert {round(float(y), 9) for y in at} == {round(own.low, 9), round(own.high, 9)}


def test_cost_bars_are_the_intervals_of_the_table_and_stop_at_zero(comparison) -> None:
    headline = measure(comparison)
    axes = draw_cost(comparison, headline).axes
    (bars,) = axes[0].collections
    drawn = sorted(tuple(part[:, 1]) for part in bars.get_segments())
    expected = sorted(
        (max(m.headline.low, 0.0), m.headline.high)
        for m in headline.measures
        if m.row.kind == "strategy" and m.row.schedule == "history"
    )
    np.testing.assert_allclose(drawn, expected)


def test_lines_that_lie_on_each_other_get_panels_of_their_own(make_run, tmp_path: Path) -> None:
    for strategy, value in (("frozen", 0.0400), ("lora", 0.0401)):
        folder = make_run(strategy, strategy=strategy, value=value, schedules=("history",))
        results = pl.read_parquet(folder / "results.parquet")
        level = pl.when(scorer="model", bucket="item:5-9").then(value).otherwise("value")
        flat = pl.when(pl.col("bucket").str.starts_with("item:") & (pl.col("scorer") == "model"))
        results.with_columns(flat.then(value).otherwise(level).alias("value")).write_parquet(
            folder / "results.parquet"
        )
    (comparison,) = read_runs([tmp_path]).comparisons
    figure = draw_warmup(comparison)
    assert "a panel per strategy" in figure.get_suptitle()
    tops = [
        axis for axis in figure.axes if axis.lines and axis.get_subplotspec().colspan.start == 0
    ]
    assert [[line.get_label() for line in axis.lines] for axis in tops] == [
        ["frozen, history"], ["lora, history"]
    ]  # fmt: skip
    assert len({axis.get_ylim() for axis in tops}) == 1


def test_strategies_that_are_apart_share_a_panel(comparison) -> None:
    curve = comparison.curve("item")
    rows = list(range(len(comparison.rows)))
    apart = {i: [0.01 * (i + 1)] * 3 for i in rows}
    assert not lie_on_each_other(apart, comparison)
    assert lie_on_each_other({i: [0.04] * 3 for i in rows}, comparison)
    assert curves_of(curve, ["50+"], [0])[0] == curve.filter(row=0, bucket="50+")["value"].to_list()


def test_names_of_baselines_stand_at_their_ends_and_apart(comparison) -> None:
    figure = draw_warmup(comparison)
    figure.set_figwidth(12)
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if text.get_text() in BASELINES]
    assert {text.get_text() for text in names} == BASELINES
    boxes = sorted((Text.get_window_extent(text) for text in names), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))
    legend = {text.get_text() for text in figure.legends[0].get_texts()}
    assert not BASELINES & legend


def test_the_text_of_an_svg_is_text(comparison) -> None:
    assert b">earlier events of the item (n)</text>" in render(draw_warmup(comparison), "svg")


def test_long_names_widen_a_figure_and_leave_its_axes_their_room() -> None:
    from matplotlib.figure import Figure

    inches = []
    for name in (
        "frozen",
        "full · CausalLM · NegativeLogLikelihood · first_stage=recent_popularity",
    ):
        figure = Figure(figsize=(1, 4), layout="constrained")
        axis = figure.subplots()
        put_legend(figure, axis.plot([0, 1], label=name), 5.0)
        figure.draw_without_rendering()
        inches.append(axis.get_window_extent().width / figure.dpi)
    assert min(inches) > 4
    assert inches[1] >= inches[0]


def _points(axis) -> list[tuple[float, float]]:
    lines = [line for line in axis.lines if line.get_linestyle() == "None"]
    return [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines]


def test_the_front_leaves_out_who_is_beaten_by_somebody_cheaper(make_run, tmp_path) -> None:
    for strategy, value, size in (
        ("frozen", 0.04, 1),
        ("top", 0.03, 2),
        ("lora", 0.05, 3),
        ("full", 0.045, 4),
    ):
        make_run(strategy, strategy=strategy, value=value, manifest={"trainable_parameters": size})
    make_run("control", control="context_only", value=0.09, manifest={"trainable_parameters": 2})
    comparison = read_runs([tmp_path]).comparisons[0]
    axis = draw_cost(comparison, measure(comparison)).axes[0]
    assert axis.get_xscale() == "linear"
    (front,) = [line for line in axis.lines if line.get_drawstyle() == "steps-post"]
    assert list(front.get_xdata()) == [1, 3]
    np.testing.assert_allclose(front.get_ydata(), [0.04, 0.05])


def test_costs_that_are_far_apart_are_on_a_logarithmic_scale(make_run, tmp_path) -> None:
    for strategy, size in (("frozen", 10), ("full", 10_000)):
        make_run(strategy, strategy=strategy, value=0.04, manifest={"trainable_parameters": size})
    comparison = read_runs([tmp_path]).comparisons[0]
    parameters = draw_cost(comparison, measure(comparison)).axes[5]
    assert parameters.get_xscale() == "log"
    assert parameters.get_xlabel() == "trained parameters (log scale)"


def test_level_rows_are_not_drawn_by_their_rounding(comparison) -> None:
    headline = measure(comparison)
    for i, m in enumerate(headline.measures):
        m.quality["ndcg@10/cold_item_any"] = i * 1e-18
    low, high = draw_cost(comparison, headline).axes[len(PANELS)].get_ylim()
    assert high - low >= 0.001


def test_backbones_differ_in_markers_and_strategies_in_colours(make_run, tmp_path) -> None:
    for strategy in ("frozen", "lora"):
        for backbone in ("minilm", "gpt2"):
            make_run(f"{strategy}-{backbone}", strategy=strategy, backbone=backbone)
    comparison = read_runs([tmp_path]).comparisons[0]
    figure = draw_cost(comparison, measure(comparison))
    drawn = [line for line in figure.axes[0].lines if line.get_linestyle() == "None"]
    assert len({(line.get_color(), line.get_marker()) for line in drawn}) == 4
    assert (
        len({line.get_color() for line in drawn}) == len({line.get_marker() for line in drawn}) == 2
    )
    assert {"frozen", "lora", "minilm", "gpt2"} < {
        text.get_text() for text in figure.legends[0].get_texts()
    }


def test_of_very_many_strategies_the_best_have_lines_and_the_title_says_so(
    make_run, tmp_path
) -> None:
    for i in range(MOST_STRATEGIES + 3):
        make_run(f"cell-{i}", value=0.01 * (i + 1) ** 2, head=f"head{i:02}", schedules=("history",))
    figure = draw_warmup(read_runs([tmp_path]).comparisons[0])
    lines = {line.get_label() for line in figure.axes[0].lines}
    assert {label for label in lines if "head" in label} == {
        f"lora · head{i:02}, history" for i in range(3, MOST_STRATEGIES + 3)
    }
    assert "the best of the strategies, 3 not shown" in figure.get_suptitle()


def test_no_panel_cuts_off_a_line(make_run) -> None:
    run = make_run("one")
    results = pl.read_parquet(run / "results.parquet")
    # users are easy at first: the right panel is far above the left one
    easy = pl.when(pl.col("bucket") == "user:0").then(0.9).otherwise(pl.col("value"))
    results.with_columns(easy.alias("value")).write_parquet(run / "results.parquet")
    right = draw_warmup(read_runs([run]).comparisons[0]).axes[1]
    assert right.get_ylim()[1] > 0.9


def test_many_strategies_are_drawn_without_static_and_controls_once_each(
    make_run, tmp_path
) -> None:
    for i, head in enumerate(("a", "b", "c", "d")):
        make_run(f"cell-{i}", value=0.01 * (i + 1), head=head)
        make_run(f"control-{i}", control="permuted_text", value=0.001 * (i + 1), head=head)
    lines = {
        line.get_label() for line in draw_warmup(read_runs([tmp_path]).comparisons[0]).axes[0].lines
    }
    assert not any(label.endswith("static") for label in lines)
    assert [label for label in lines if label.startswith("permuted_text")] == [
        "permuted_text · d, per_window"
    ]


def test_of_many_baselines_those_that_lead_somewhere_have_lines_and_the_title_says_so(
    make_run,
) -> None:
    many = {f"rival_{i:02}": 0.01 + i / 1000 for i in range(12)} | {"constant": 0.002}
    run = make_run("one", baselines=many)
    results = pl.read_parquet(run / "results.parquet")
    first = (pl.col("scorer") == "rival_03") & (pl.col("bucket") == "user:0")
    raised = pl.when(first).then(0.9).otherwise(pl.col("value"))
    results.with_columns(raised.alias("value")).write_parquet(run / "results.parquet")
    figure = draw_warmup(read_runs([run]).comparisons[0])
    lines = {line.get_label() for line in figure.axes[0].lines}
    shown = {label for label in lines if label.startswith("rival")}
    assert {"rival_03", "rival_11"} <= shown  # at one point, and at most of them
    assert "rival_00" not in shown
    assert "constant" in lines
    assert f"baselines that lead somewhere, {12 - len(shown)} not shown" in figure.get_suptitle()
