"""A table of the metrics and cohorts that somebody asks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from coldlm.commands.report import main
from coldlm.core.errors import ConfigError
from coldlm.report.chosen import choose
from coldlm.report.results import read_runs
from coldlm.report.table import chosen_table


def test_the_table_has_a_column_per_cohort_and_metric(make_run) -> None:
    (comparison,) = read_runs([make_run("a", value=0.04)]).comparisons
    columns = choose(["recall@10", "mrr"], ["all", "cold_user"], [comparison])
    table = chosen_table(comparison, columns)
    assert table.header == (
        "scorer",
        "all: recall@10",
        "all: mrr",
        "cold user: recall@10",
        "cold user: mrr",
    )
    row = table.body[0]
    assert row[:3] == ("lora, history", ".0680", ".0360")
    assert row[3:] == ("n/a", "n/a")  # these toys have other metrics over all users only


def test_small_cohorts_stand_in_brackets(make_run, monkeypatch: pytest.MonkeyPatch) -> None:
    (comparison,) = read_runs([make_run("a", value=0.04)]).comparisons
    monkeypatch.setattr("coldlm.report.statistics.MIN_EVENTS", 1000)
    table = chosen_table(comparison, choose([], ["all", "cold_both"], [comparison]))
    assert table.header[1:] == ("all: ndcg@10", "cold both: ndcg@10")
    assert table.body[0][1:] == (".0400", "(.0320)")


def test_all_unknown_names_are_told_at_once_with_what_there_is(make_run) -> None:
    runs = read_runs([make_run("a")])
    with pytest.raises(ConfigError) as error:
        choose(["ndcg@01", "mrr"], ["cold_itm"], runs.comparisons)
    said = str(error.value)
    assert "no metric 'ndcg@01', nearest is 'ndcg@10'; there are mrr, ndcg@10, recall@10" in said
    assert "no cohort 'cold_itm', nearest is 'cold_item'; there are all, warm_warm" in said


@pytest.mark.usefixtures("unpainted")
def test_the_command_prints_it_besides_and_refuses_before_anything_is_written(
    make_run, tmp_path: Path, capsys
) -> None:
    run, out = str(make_run("a", value=0.04)), tmp_path / "out"
    assert main([run, "--out", str(out), "--metrics", "mpr"]) == 2
    assert "no metric 'mpr'" in capsys.readouterr().err
    assert not out.exists()
    assert main([run, "--out", str(out), "--metrics", "mrr, recall@10", "--cohorts", "all"]) == 0
    printed = capsys.readouterr().out
    assert "As asked for" in printed
    assert printed.index("Quality") < printed.index("As asked for")
    assert main([run, "--out", str(out)]) == 0
    assert "As asked for" not in capsys.readouterr().out
