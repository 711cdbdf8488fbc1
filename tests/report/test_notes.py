"""Flags and footnotes: what must be said beside the numbers."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from coldlm.report.flags import flags
from coldlm.report.measure import measure
from coldlm.report.notes import footnotes
from coldlm.report.results import read_runs


def flags_of(folder: Path) -> str:
    return "\n".join(flags(read_runs([folder]).comparisons[0]))


def notes_of(folder: Path) -> str:
    comparison = read_runs([folder]).comparisons[0]
    return "\n".join(footnotes(comparison, measure(comparison)))


def test_a_complete_table_has_no_flag(make_runs) -> None:
    assert flags_of(make_runs()) == ""


def test_missing_baselines_and_controls_are_incomplete_by_name(make_run, tmp_path: Path) -> None:
    make_run("a", baselines={"random": 0.002, "popularity": 0.02})
    make_run("b", control="permuted_text", baselines={"constant": 0.002})
    assert flags_of(tmp_path).startswith(
        "INCOMPLETE: without recent_popularity, newest, tfidf, zero_shot, context_only, "
        "random_vectors nobody"
    )


def test_context_only_must_be_updated_as_the_models_are(
    make_runs, make_run, tmp_path: Path
) -> None:
    make_runs(schedules=("history",))
    make_run("updated", strategy="frozen", seed=7, schedules=("history", "per_window"))
    assert "INCOMPLETE: without context_only, per_window nobody" in flags_of(tmp_path)


def test_where_items_repeat_own_repeats_is_demanded(make_run, tmp_path: Path) -> None:
    plain = make_run("plain")
    assert "own_repeats" not in flags_of(plain)
    dataset = json.loads((plain / "manifest.json").read_text())["dataset"]
    assert "own_repeats" in flags_of(
        make_run("repeats", manifest={"dataset": dataset | {"repeats": True}})
    )


def test_random_vectors_have_no_date_to_worry_about(make_run, tmp_path: Path) -> None:
    make_run(
        "a",
        manifest={
            "checkpoint": {"name": "random_vectors", "date": None, "newer_than_t_test": False}
        },
    )
    assert "random_vectors is not known" not in notes_of(tmp_path)


@pytest.mark.parametrize("split", ["loo", "random"])
def test_every_row_of_a_leaky_split_says_so(make_runs, split: str) -> None:
    from coldlm.report.table import name

    comparison = read_runs([make_runs(split=split)]).comparisons[0]
    assert flags(comparison)[0].startswith(f"LEAKY: split `{split}`")
    assert all(name(row, comparison).endswith(" LEAKY") for row in comparison.rows)


def test_a_cut_in_time_is_not_leaky_also_where_everybody_is_asked_at_once(make_runs) -> None:
    comparison = read_runs([make_runs(split="time_at_once")]).comparisons[0]
    assert comparison.mark == ""
    assert not any(flag.startswith("LEAKY") for flag in flags(comparison))


def test_doubtful_releases_stand_above_the_table(make_run, tmp_path: Path) -> None:
    file = make_run("a") / "manifest.json"
    said = json.loads(file.read_text())

    def told(**facts: float) -> str:
        file.write_text(json.dumps(said | {"dataset": said["dataset"] | facts}))
        return flags_of(tmp_path)

    assert "RELEASE" not in told(at_release=0.01, before_release=0.01)
    assert "RELEASE: 93% of the items that enter are first taken" in told(at_release=0.93)
    assert "RELEASE: 33% of the events are earlier than" in told(before_release=0.33)
    assert "SELECTED" not in told(least_of_item=4, least_of_user=1)
    assert "SELECTED: every item has at least 5 events over" in told(least_of_item=5)
    both = "SELECTED: every item has at least 5 and every user has at least 20 events over"
    assert both in told(least_of_item=5, least_of_user=20)


def test_sampled_candidates_say_so(make_runs) -> None:
    assert "SAMPLED: ranked among `sampled_100`" in flags_of(make_runs(candidates="sampled_100"))


def test_lists_as_shown_are_not_a_sample_and_say_what_they_are(make_runs) -> None:
    folder = make_runs(
        candidates="impression",
        manifest={"lists": {"shown": 90, "without a click": 7, "of clicks alone": 2}},
    )
    assert flags_of(folder) == ""
    notes = notes_of(folder)
    for fact in (
        "Candidates are the lists as the log's own system showed them: nothing is sampled",
        "sample counts where it is a sample",
        "survivors' bias",
        "the mean of 1/rank over them",
        "Lists of the stream: shown 90, without a click 7, of clicks alone 2. ",
        "Canaries: no release rule chose these lists.",
    ):
        assert fact in notes


def test_rivals_say_what_was_tried_and_what_they_know_of_unseen_items(
    make_run, tmp_path: Path
) -> None:
    ease = {
        "setting": "strength", "value": 300.0, "tried": {"100": 0.1, "300": 0.2}, "epochs": None, "unseen": "0, tied",
    }  # fmt: skip
    bpr = ease | {"value": 100.0, "epochs": 40}
    make_run("a", seed=1, manifest={"rivals": {"ease": ease, "bpr": bpr}})
    make_run("b", seed=2, manifest={"rivals": {"bpr": bpr | {"value": 300.0, "unseen": "last"}}})
    make_run("c", seed=3)
    notes = notes_of(tmp_path)
    for fact in (
        "validation and learned anew with it: ease (strength of 100, 300): 300; "
        "bpr (strength of 100, 300): 100, 40 epochs or 300, 40 epochs.",
        "took in what a rival learned from scores with rivals: 0, tied (ease, bpr); last (bpr).",
    ):
        assert fact in notes


def test_full_rankings_do_not_speak_of_lists(make_runs) -> None:
    notes = notes_of(make_runs())
    assert "ivals" not in notes
    assert "survivors' bias" not in notes
    assert "Lists" not in notes


def test_in_lists_canaries_above_chance_at_zero_are_no_alarm(make_run) -> None:
    canaries = {
        name: {"value": 0.5, "low": 0.1, "high": 0.2}
        for name in ("newest", "fewest_events", "constant")
    }
    for candidates, is_full in (("full", True), ("impression", False)):
        notes = notes_of(
            make_run(candidates, candidates=candidates, manifest={"canaries": canaries})
        )
        assert ("ABOVE CHANCE at n = 0" in notes) == is_full


def test_footnotes_say_dates_leaks_drops_canaries_and_seeds(make_runs) -> None:
    notes = notes_of(make_runs(seeds=(1,)))
    for fact in (
        "train < 2015-08-02 <= validation < 2017-05-03 <= stream",
        "Leak meter: late training events 0",
        "Dropped events: 0. Other evaluators' defaults would have dropped 1,500 of 2,840 (cold "
        "user 1,200, cold item",
        "newest .0040 ([-.0010, +.0030] from chance), fewest_events .0030 ([-.0020, +.0020] from "
        "chance); chance .0020",
        "Means over users (macro)",
        "Asked: 2,840, 99.6% of the stream's positives; not asked, by reason: label 12.",
        "1 seed: no claim. 4 comparisons need 8: sign flips of fewer seeds never reach p = 0.05",
        "Of one seed, or of rows without one in common, they hold users alone",
        "minus `random_vectors, per_window`",
    ):
        assert fact in notes


def test_as_many_seeds_as_are_needed_lift_the_ban_on_claims(make_runs) -> None:
    notes = notes_of(make_runs(seeds=tuple(range(7)), schedules=("history",)))
    assert "no claim" not in notes
    assert "Bold: at least 7 seeds" in notes


def test_rows_with_too_few_seeds_are_told_from_the_others(
    make_runs, make_run, tmp_path: Path
) -> None:
    make_runs(seeds=tuple(range(8)), schedules=("history",))
    make_run("adapter", strategy="adapter", value=0.04, schedules=("history",))
    assert "Rows with fewer than 7 seeds: no claim." in notes_of(tmp_path)


def test_a_leak_in_any_run_is_loud(make_runs, make_run, tmp_path: Path) -> None:
    make_runs()
    make_run("leaking", seed=2, manifest={"leaks": {"late training events": 3}})
    assert (
        "Leak meter, NOT 0: late training events 3, unreleased candidates 0, late_texts not "
        "checkable (no dates) (100 queries" in notes_of(tmp_path)
    )


def test_canaries_that_could_not_be_measured_say_so(make_run, tmp_path: Path) -> None:
    make_run("a", manifest={"canaries": {}})
    assert "Canaries at n = 0: not measurable" in notes_of(tmp_path)


def test_a_canary_above_chance_and_a_catalogue_of_survivors_are_loud(
    make_run, tmp_path: Path
) -> None:
    plain = make_run("plain")
    assert "ABOVE CHANCE" not in notes_of(plain)
    assert "Survivors" not in notes_of(plain)
    said = json.loads((plain / "manifest.json").read_text())
    canaries = said["canaries"] | {"fewest_events": {"value": 0.02, "low": 0.01, "high": 0.03}}
    manifest = {"canaries": canaries, "dataset": said["dataset"] | {"items_never_taken": 0}}
    notes = notes_of(make_run("leaking", manifest=manifest))
    assert "ABOVE CHANCE at n = 0: fewest_events. " in notes
    assert "Survivors: every item" in notes


def test_a_trained_backbone_needs_its_own_permuted_texts(make_run, tmp_path: Path) -> None:
    def make(name: str, strategy: str, control: str = "none", **recipe: object) -> None:
        said = {"strategy": strategy, "control.name": control, **recipe}
        make_run(name, strategy=strategy, control=control, manifest={"recipe": said})

    make("frozen", "frozen")
    make("lora", "lora")
    for control in ("context_only", "random_vectors"):
        make(control, "frozen", control)
    make("permuted", "frozen", "permuted_text")
    assert "INCOMPLETE: without permuted_text of lora nobody" in flags_of(tmp_path)
    make("its-own", "lora", "permuted_text")
    assert flags_of(tmp_path) == ""
    # within cohorts or not, but all of them alike
    make("cohort", "frozen", "permuted_in_cohort")
    assert flags_of(tmp_path) == ""
    # and in the same way: with another head it is another training
    make("pair", "lora", **{"head._target_": "coldlm.models.pair.Pair"})
    assert "INCOMPLETE: without permuted_in_cohort of lora" in flags_of(tmp_path)


@pytest.mark.parametrize(
    ("checkpoint", "note"),
    [
        (
            {"name": "minilm", "date": "2021-08", "newer_than_t_test": True},
            "† minilm (2021-08) is newer than T_test",
        ),
        (
            {"name": "mine", "date": None, "newer_than_t_test": False},
            "The date of mine is not known",
        ),
    ],
)
def test_checkpoints_that_may_know_the_future_are_noted(
    make_run, tmp_path, checkpoint, note
) -> None:
    make_run("a", manifest={"checkpoint": checkpoint})
    assert note in notes_of(tmp_path)


def _recipe(trials: int, *keys: str, **more: object) -> dict[str, object]:
    return {
        "recipe": {"optim.lr": 0.01, "tuning.trials": trials, "tuning.keys": list(keys), **more}
    }


def test_tuned_values_and_their_budget_are_told(make_run, tmp_path: Path) -> None:
    make_run("a", strategy="frozen", manifest=_recipe(8, "optim.lr"))
    make_run(
        "b",
        strategy="lora",
        manifest=_recipe(8, "optim.lr", "strategy.rank", **{"strategy.rank": 4}),
    )
    make_run("c", control="permuted_text")  # a control has its strategy's values, or none
    assert (
        "Tuned on validation, never on the stream, of this data and backbone or of others: "
        "frozen: 8 trials, optim.lr=0.01; "
        "lora: 8 trials, optim.lr=0.01, strategy.rank=4." in notes_of(tmp_path)
    )
    assert "UNEQUAL" not in flags_of(tmp_path)


def test_another_budget_for_one_strategy_is_flagged(make_run, tmp_path: Path) -> None:
    make_run("a", strategy="frozen")
    make_run("b", strategy="lora", manifest=_recipe(8))
    assert "UNEQUAL TUNING: trials on validation were frozen 0, lora 8; tune all" in flags_of(
        tmp_path
    )
    assert "lora: 8 trials, the values as configured." in notes_of(tmp_path)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sampler", "tpe", "the sampler was frozen random, lora tpe;"),
        (
            "space",
            "optim.lr 0.001..0.1 log",
            "the space was frozen around, lora optim.lr 0.001..0.1 log;",
        ),
        ("pruner", "median", "the pruner was frozen none, lora median;"),
    ],
)
def test_another_way_of_tuning_for_one_strategy_is_flagged(
    make_run, tmp_path: Path, key: str, value: str, words: str
) -> None:
    make_run("a", strategy="frozen", manifest=_recipe(8))
    make_run("b", strategy="lora", manifest=_recipe(8, **{f"tuning.{key}": value}))
    said = flags_of(tmp_path)
    assert f"UNEQUAL TUNING: {words} tune all" in said
    assert f"lora: 8 trials ({key} {value}), the values as configured." in notes_of(tmp_path)


def test_nothing_is_said_of_tuning_where_there_was_none(make_runs) -> None:
    assert "uned" not in notes_of(make_runs())


def test_a_row_that_wins_by_user_and_loses_by_query_is_named(make_run, tmp_path: Path) -> None:
    file = make_run("a") / "results.parquet"
    table = pl.read_parquet(file)
    # its queries are worth a tenth: busy users are served worse
    own = (pl.col("scorer") == "model") & (pl.col("average") == "micro")
    assert "disagree" not in notes_of(tmp_path)
    changed = table.with_columns(value=pl.when(own).then(pl.col("value") / 10).otherwise("value"))
    changed.write_parquet(file)
    said = notes_of(tmp_path)
    assert (
        "By user and by query disagree: `lora, history` is +.0200 by user and -.0171 by query"
        in said
    )
    assert "from `recent_popularity`" in said
