"""k-shot rows become tables of their own, beside the comparison of the same runs."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from coldlm.report.flags import flags
from coldlm.report.k_shot import what_was_asked
from coldlm.report.notes import about_shots
from coldlm.report.results import read_runs
from coldlm.report.table import k_shot_table
from coldlm.report.write import print_report, write_report


def test_each_side_has_a_table_with_a_column_per_k(make_run, add_shots) -> None:
    add_shots(make_run("a"), value=0.02)
    [comparison] = read_runs([make_run("a2", seed=2).parent]).comparisons
    assert [shots.title for shots in comparison.shots] == ["item", "user"]
    table = k_shot_table(comparison.shots[0])
    assert (
        table.title
        == "k-shot by item: nDCG@10 after k revealed events (5 items, 50 queries of 30 users)"
    )
    assert table.header == ("k events of the item", "0", "1", "2")
    assert table.body[0] == ("lora, history", ".0200", ".0220", ".0240")
    assert table.body[1] == ("lora, updated", ".0300", ".0320", ".0340")
    assert table.kinds == ("strategy",) * 2 + ("baseline",) * 8


def test_seeds_are_averaged_and_baselines_appear_once(make_run, add_shots) -> None:
    for seed, value in ((1, 0.02), (2, 0.04)):
        add_shots(make_run(f"a{seed}", seed=seed), value=value)
    add_shots(make_run("c", control="context_only"), value=0.01)
    [comparison] = read_runs([make_run("b", strategy="frozen").parent]).comparisons
    item = comparison.shots[0]
    assert [row.name for row in item.rows[:4]] == [
        "lora, history", "lora, updated", "context_only, history", "context_only, updated"
    ]  # fmt: skip
    assert [row.seeds for row in item.rows[:3]] == [2, 2, 1]
    assert k_shot_table(item).body[0] == ("lora, history", ".0300", ".0330", ".0360")
    assert item.warnings == ()
    assert sum(row.kind == "baseline" for row in item.rows) == 8
    # the table says itself which controls have no such rows, whatever the others have
    [incomplete] = flags(item)
    assert incomplete.startswith("INCOMPLETE: without random_vectors, permuted_in_cohort nobody")
    assert what_was_asked(item)["cold"] == 9


def test_other_questions_have_other_tables(make_run, add_shots) -> None:
    add_shots(make_run("a"))
    add_shots(make_run("b", seed=2), most=3, question="other")
    [comparison] = read_runs([make_run("c", seed=3).parent]).comparisons
    assert sorted((s.title, len(k_shot_table(s).header)) for s in comparison.shots) == [
        ("item", 4), ("item", 5), ("user", 4), ("user", 5)
    ]  # fmt: skip


def test_the_notes_say_who_was_counted_out_and_where_the_canary_sings(make_run, add_shots) -> None:
    add_shots(make_run("a"))
    [comparison] = read_runs([make_run("b", control="context_only").parent]).comparisons
    asked, canary, most = about_shots(comparison.shots[0])
    assert asked.startswith("k-shot by item: 5 of 9 cold items have at least 2 positive events")
    assert "4 are counted out" in asked
    assert canary.startswith(
        "Canary by item: fewest_events .2000 at 0, .0010 at 1, .0010 at 2; chance .0020. ABOVE "
        "CHANCE at k = 0:"
    )
    assert most.startswith("At k = 2 every item that is asked for has 2 known events")
    assert len(about_shots(comparison.shots[1])) == 2


def test_every_format_shows_the_tables_and_none_does_without_them(
    make_run, add_shots, tmp_path: Path
) -> None:
    run = make_run("a")
    names = ("k_shot.csv", "k_shot.png", "k_shot.svg")
    write_report([run], tmp_path / "without")
    assert not any((tmp_path / "without" / name).exists() for name in names)
    assert "k-shot" not in (tmp_path / "without" / "report.md").read_text()
    add_shots(run)
    report = write_report([run], tmp_path / "out")
    assert all((tmp_path / "out" / name).stat().st_size for name in names)
    console = Console(file=io.StringIO(), width=200)
    print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    texts = [
        (tmp_path / "out" / name).read_text() for name in ("report.md", "table.md", "table.tex")
    ]
    for side in ("item", "user"):
        assert all(f"k-shot by {side}: nDCG@10 after k revealed events" in text for text in texts)
        # a title is as wide as its table
        assert "k-shot by item, user" in console.file.getvalue()
    assert "| lora, updated | .0300 | .0320 | .0340 |" in texts[0]
    lines = pl.read_csv(tmp_path / "out" / "k_shot.csv")
    assert lines.height == 2 * 3 * 10 * 2
    one = lines.filter(side="user", label="lora", schedule="updated", average="micro", shots=1)
    assert one.select("value", "n_users", "n_queries", "seeds").row(0) == (
        pytest.approx(0.016),
        30,
        50,
        1,
    )


def test_a_simulated_comparison_says_so_on_every_row(make_run, add_shots) -> None:
    run = make_run("a", split="simulated_cold_0.2")
    add_shots(run)
    [comparison] = read_runs([run]).comparisons
    assert flags(comparison)[0].startswith("SIMULATED: split `simulated_cold_0.2` holds that share")
    for shown in (comparison, *comparison.shots):
        assert shown.mark == "SIMULATED"
    assert all(cells[0].endswith(" SIMULATED") for cells in k_shot_table(comparison.shots[0]).body)
