"""The grid release rule: who is a candidate when, what is masked, and that nothing tells the items
of a slot apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import FEATURES, AsOf
from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.config.schema import typed
from coldlm.core.columns import CANARIES, MODEL
from coldlm.core.errors import DataError
from coldlm.core.tables import DAY, TRAIN, UNKNOWN, VALIDATION, Dataset, Ints
from coldlm.data.canonical.grid import FRESH, choose, on_grid
from coldlm.data.simulated import load
from coldlm.evaluate import baselines
from coldlm.evaluate.canaries import canary_values
from coldlm.evaluate.judge import Views, judge
from coldlm.experiment.run import execute
from coldlm.experiment.world import World, make_world
from coldlm.report.canaries import from_chance
from coldlm.split import cuts
from coldlm.split.leaks import meter
from coldlm.split.queries import ask

MakeData = Callable[..., Dataset]

D = DAY
EVENTS = [
    (0, 0, 5),
    (1, 0, D + 10),
    (0, 1, D + 20),
    (1, 2, D + 30),
    (0, 2, D + 40),
    (1, 1, 2 * D + 1),
]
"""Item 0 enters on day 0; items 1 and 2 on day 1, 20 and 30 seconds after its start."""


@pytest.fixture
def toy(make_data: MakeData) -> Dataset:
    return on_grid(make_data(EVENTS), "day", np.arange(2))


def _as_of(data: Dataset, catalogue: Catalogue) -> AsOf:
    sizes = len(data.users), len(data.items)
    return AsOf(data.log, *sizes, catalogue.enters_at, data.half_lives_days, catalogue.masked_until)


def test_an_item_enters_with_the_slot_of_its_first_event(toy: Dataset) -> None:
    catalogue = Catalogue(toy)
    assert catalogue.enters_at.tolist() == [0, D, D]
    assert catalogue.masked_until.tolist() == [D, 2 * D, 2 * D]
    assert catalogue.released(np.array([4, D - 1, D])).tolist() == [[True, False, False]] * 2 + [
        [True, True, True]
    ]
    queries = ask(toy.log, catalogue, np.arange(len(toy.log)))
    assert len(queries.event) == len(EVENTS)  # the first event of an item is asked too


def test_until_its_slot_ends_an_item_looks_like_one_without_events(toy: Dataset) -> None:
    as_of = _as_of(toy, Catalogue(toy))
    times = np.array([D + 15, D + 35, D + 50, 2 * D])
    assert as_of.counts(times).tolist() == [[1 + 1, 0, 0]] * 3 + [[2, 1, 2]]
    features = dict(zip(FEATURES, as_of.features(times, np.arange(3)), strict=True))
    for name in FEATURES:
        assert (features[name][:3, 1] == features[name][:3, 2]).all()
    assert features["is_new"][2].tolist() == [0, 1, 1]
    assert features["age"][2, 1] == 0
    assert features["age"][3, 1] > 0
    assert [as_of.decayed_counts(times, h)[2].tolist()[1:] for h in range(3)] == [[0, 0]] * 3
    # what an item really had, for buckets, is not masked; nor is a history
    assert as_of.n_item(np.array([1, 2]), np.array([D + 50, D + 50])).tolist() == [1, 2]
    assert as_of.history(np.array([0]), np.array([D + 50]), 3).tolist() == [[2, 1, 0]]


def test_scorers_cannot_tell_the_items_of_a_slot_apart(toy: Dataset) -> None:
    catalogue = Catalogue(toy)
    as_of = _as_of(toy, catalogue)
    for scorer in (
        baselines.popularity(as_of),
        baselines.recent_popularity(as_of, 0),
        baselines.newest(catalogue),
        baselines.fewest_events(toy, catalogue),
    ):
        scores = scorer(np.array([0]), np.array([D + 35]))[0]
        assert scores[1] == scores[2]


def test_the_meter_agrees_with_the_rule_and_catches_a_rule_that_looks_ahead(toy: Dataset) -> None:
    catalogue = Catalogue(toy)
    split, queries = (
        cuts.time(toy.log, train=0.3, validation=0.2, windows=1),
        ask(toy.log, catalogue, np.arange(len(toy.log))),
    )

    def count(catalogue: Catalogue, as_of: AsOf) -> dict[str, int]:
        return meter(toy, split, queries, split.rows(TRAIN, VALIDATION), as_of, catalogue)

    assert set(count(catalogue, _as_of(toy, catalogue)).values()) == {0}
    early = Catalogue(toy)
    early.enters_at = early.enters_at - D
    assert count(early, _as_of(toy, catalogue))["early_candidates"] > 0
    unmasked = AsOf(toy.log, 2, 3, catalogue.enters_at, toy.half_lives_days)
    assert count(catalogue, unmasked)["future_counts"] > 0


@pytest.fixture(scope="module")
def stream() -> Dataset:
    """A simulated world without release times, in which most items are new."""
    data = load(users=80, items=900, events=3000, new_item_share=0.9, days=30.0)
    unknown = replace(data.items, released_at=np.full(len(data.items), UNKNOWN))
    return replace(data, items=unknown, release="after_first")


def _at_zero(data: Dataset, catalogue: Catalogue) -> dict[str, float]:
    """nDCG@10 where the item had no event yet, of the canaries and of chance."""
    as_of, log = _as_of(data, catalogue), data.log
    queries = ask(log, catalogue, np.arange(len(log) // 2, len(log)))
    scorers = {
        "newest": baselines.newest(catalogue),
        "fewest_events": baselines.fewest_events(data, catalogue),
        "constant": baselines.constant(len(data.items)),
    }
    parts = []
    for name, scorer in scorers.items():
        judged = judge(scorer, queries, data, catalogue, Views(as_of.counts, 4), name=name)
        query = np.repeat(np.arange(len(queries)), np.diff(queries.start))
        item: Ints = log.item[queries.event]
        parts.append(
            pl.DataFrame(
                {
                    "scorer": name,
                    "query": query,
                    "user": queries.user[query].astype(str),
                    "cohort": "warm_warm",
                    "n_item": as_of.n_item(item, log.time[queries.event]),
                    "g": judged.g,
                    "e": judged.e,
                    "candidates": judged.candidates,
                }
            )
        )
    values = canary_values(pl.concat(parts).filter(pl.col("n_item") == 0), 10)
    return {name: found["value"] for name, found in from_chance(values).items()}


def test_without_the_mask_the_canary_finds_the_items_that_are_about_to_be_taken(
    stream: Dataset,
) -> None:
    data = on_grid(stream, "day", np.arange(1500))
    masked, naive = Catalogue(data), Catalogue(data)
    naive.masked_until = naive.enters_at
    with_mask, without = _at_zero(data, masked), _at_zero(data, naive)
    assert without["fewest_events"] > 1.5 * with_mask["fewest_events"]
    # both see the slot, and nothing in it
    assert with_mask["fewest_events"] == pytest.approx(with_mask["newest"])
    assert with_mask["constant"] == pytest.approx(without["constant"])


def test_auto_takes_the_shortest_slot_with_enough_fresh_items_in_training(stream: Dataset) -> None:
    n_train, slots = 1500, {"hour": 3600, "day": D, "week": 7 * D}
    first: dict[int, int] = {}
    for item, time in zip(
        stream.log.item[:n_train].tolist(), stream.log.time[:n_train].tolist(), strict=True
    ):
        first.setdefault(item, time)
    medians = {
        name: np.median(np.unique(np.array(list(first.values())) // s, return_counts=True)[1])
        for name, s in slots.items()
    }
    chosen = choose(stream, np.arange(n_train))
    assert chosen == next(name for name in slots if medians[name] >= FRESH)
    assert chosen != "hour"
    # what comes after the training part has no say
    later = replace(
        stream,
        log=replace(
            stream.log,
            time=np.where(np.arange(len(stream.log)) < n_train, stream.log.time, 4 * 10**9),
        ),
    )
    assert choose(later, np.arange(n_train)) == chosen


def test_where_all_release_times_are_known_a_grid_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"every item of simulated has a release time; set release_slot=null"
    ):
        on_grid(load(users=20, items=30, events=100), "day", np.arange(50))


def test_items_that_would_leave_within_their_slot_are_refused(make_data: MakeData) -> None:
    data = make_data(EVENTS)
    assert on_grid(replace(data, item_ttl_days=1.5), "day", np.arange(2)).slot == DAY
    with pytest.raises(
        DataError, match=r"item_ttl_days=1\.0: items would leave within the day in which they enter"
    ):
        on_grid(replace(data, item_ttl_days=1.0), "day", np.arange(2))


@pytest.fixture(scope="module")
def world_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str | None], World]:
    """The world of 40 items, each new for a time, with a value of ``release_slot``."""
    folder = tmp_path_factory.mktemp("own")
    events = "".join(f"u{n % 7},i{n // 3},{1_000_000 + n * 20_000}\n" for n in range(120))
    (folder / "e.csv").write_text("user_id,item_id,timestamp\n" + events)
    (folder / "i.csv").write_text(
        "item_id,title\n" + "".join(f"i{n},title {n}\n" for n in range(40))
    )
    own = [
        "dataset=own",
        f"dataset.items={folder / 'i.csv'}",
        f"dataset.interactions={folder / 'e.csv'}",
    ]
    config = typed(compose_plain([*own, "split.windows=1"]))
    return cache(lambda slot: make_world(replace(config, release_slot=slot)))


@pytest.mark.parametrize("slot", ["hour", "day", "week", "auto"])
def test_the_key_changes_the_world(slot: str, world_of: Callable[[str | None], World]) -> None:
    plain, changed = world_of(None), world_of(slot)
    assert (changed.catalogue.enters_at < plain.catalogue.enters_at).all()
    assert len(changed.stream.event) > len(plain.stream.event)
    assert (plain.data.release, changed.data.release) == ("after_first", "grid")


def test_a_run_on_a_grid_has_a_value_at_no_events_and_no_leak(tmp_path: Path) -> None:
    data = load(users=40, items=120, events=900)
    pl.DataFrame({"item_id": data.items.ids, "title": data.items.texts}).write_csv(
        tmp_path / "i.csv"
    )
    log = data.log
    pl.DataFrame(
        {
            "user_id": log.user,
            "item_id": [data.items.ids[i] for i in log.item],
            "timestamp": log.time,
        }
    ).write_parquet(tmp_path / "e.parquet")
    own = [
        "dataset=own",
        f"dataset.items={tmp_path / 'i.csv'}",
        f"dataset.interactions={tmp_path / 'e.parquet'}",
    ]
    small = [
        "backbone=random_vectors",
        "backbone.width=16",
        "head.width=16",
        "train.epochs=1",
        "online=off",
    ]
    run = check(
        compose_plain([*own, *small, "release_slot=day", f"output={tmp_path}", f"cache={tmp_path}"])
    )
    folder = execute(run, "grid")
    results = pl.read_parquet(folder / "results.parquet").filter(
        scorer=MODEL, bucket="item:0", schedule="history"
    )
    assert results.height > 0
    said = json.loads((folder / "manifest.json").read_text())
    assert set(said["leaks"].values()) == {0}
    assert said["canaries"].keys() == {*CANARIES, "constant"}
    assert said["dataset"]["release"] == "grid"
