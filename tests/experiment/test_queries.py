"""What somebody typed before an event is data: it is trained on, scored, permuted by a control and told
apart in tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.commands.recommend import recommend
from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL, PERMUTED_QUERY, QUERY_COHORTS, QUERY_SEEN
from coldlm.core.errors import ConfigError
from coldlm.core.tables import DAY, STREAM, TRAIN, VALIDATION, Dataset
from coldlm.data.canonical.control import with_queries_permuted
from coldlm.evaluate import baselines
from coldlm.experiment.baselines import Way, prepare_baselines
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.export import export
from coldlm.experiment.first_stage import make_first_stage
from coldlm.experiment.run import execute
from coldlm.experiment.world import World, make_world
from coldlm.learn.batches import Batches, Recipe
from coldlm.report.flags import _missing_rows
from coldlm.rivals.bm25 import bm25
from coldlm.runs.manifest import read_manifest
from coldlm.split.queries import ask

MakeConfig = Callable[..., RunConfig]
MakeData = Callable[..., Dataset]

SEARCHES = "dataset.queries=0.7", "dataset.language=en"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cache: Path, compose: MakeConfig) -> Path:
    """A micro run over a world of searches; for reading only."""
    asked = (*SEARCHES, "stages=[train,evaluate]", "evaluate.lists=5")
    config = compose(tmp_path_factory.mktemp("runs"), cache, *asked)
    return execute(config, "searches")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, cache: Path, compose: MakeConfig) -> World:
    return make_world(compose(tmp_path_factory.mktemp("runs"), cache, *SEARCHES))


@pytest.fixture
def shop(make_data: MakeData) -> Dataset:
    """User 0 takes four things in one second, two of them after "tea"; user 1 searches for it too."""
    texts = ["red wine", "green tea", "black tea", "blue ink"]
    data = make_data(
        [(0, 0, 10), (0, 1, 20), (0, 2, 20), (0, 3, 20), (1, 1, 30), (2, 3, 40)],
        users=3,
        items=4,
        texts=texts,
        released=dict.fromkeys(range(4), 0),
        profiles=["likes wine", "", ""],
    )
    query = np.array([-1, 1, 1, 0, 1, -1])
    users = replace(data.users, queries=("ink", "tea"))
    return replace(data, users=users, log=replace(data.log, query=query))


def test_a_query_is_a_user_a_second_and_what_was_typed(shop: Dataset) -> None:
    queries = ask(shop.log, Catalogue(shop), np.arange(6))
    blocks = [queries.event[a:b].tolist() for a, b in itertools.pairwise(queries.start)]
    assert queries.user.tolist() == [0, 0, 0, 1, 2]
    assert blocks == [[0], [3], [1, 2], [4], [5]]
    who = shop.who_asks(queries)
    assert shop.users.person(who).tolist() == queries.user.tolist()
    said = [shop.users.read[place] for place in shop.users.place(who)]
    assert said == ["likes wine", "ink", "tea", "tea", ""]


def test_who_asks_has_the_past_of_the_person(shop: Dataset) -> None:
    as_of = AsOf(shop.log, 3, 4, np.zeros(4, np.int64), (1.0, 7.0, 30.0))
    catalogue, times = Catalogue(shop), np.array([25, 25])
    user, who = np.array([0, 1]), shop.users.asking(np.array([0, 1]), np.array([1, 0]))
    assert (who != user).all()
    assert np.array_equal(as_of.history(who, times, 5), as_of.history(user, times, 5))
    assert np.array_equal(as_of.n_user(who, times), as_of.n_user(user, times))
    assert np.array_equal(catalogue.mask(who, times), catalogue.mask(user, times))


def test_without_queries_who_asks_is_the_user(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 1, 20)], released=dict.fromkeys(range(2), 0))
    queries = ask(data.log, Catalogue(data), np.arange(2))
    assert data.log.query is None
    assert data.who_asks(queries) is queries.user
    assert np.array_equal(data.who_took(np.arange(2)), data.log.user)


@pytest.mark.parametrize("alone", [True, False])
def test_tfidf_reads_what_was_typed_in_the_profiles_place(shop: Dataset, alone: bool) -> None:
    as_of = AsOf(shop.log, 3, 4, np.zeros(4, np.int64), shop.half_lives_days)
    scorer = baselines.TfIdf(shop, Catalogue(shop), as_of, 20, 100, query_alone=alone)
    tea = scorer(shop.users.asking(np.array([0]), np.array([1])), np.array([15]))[0]
    assert tea[1] == tea[2] > tea[3] == 0
    assert (tea[0] == 0) == alone  # the wine that user 0 had
    assert scorer(np.array([0]), np.array([5]))[0].argmax() == 0  # the profile
    assert scorer.answer(15, text="tea", history=[0]).tolist() == pytest.approx(tea.tolist())


def test_zero_shot_reads_what_was_typed_in_the_profiles_place(shop: Dataset) -> None:
    as_of = AsOf(shop.log, 3, 4, np.zeros(4, np.int64), shop.half_lives_days)
    texts = torch.zeros(5, 4)
    texts[0, 0] = texts[3, 3] = texts[4, 1] = 1.0  # wine, ink, tea
    vectors, known = torch.eye(4), np.ones(4, np.bool_)
    for alone in (True, False):
        scorer = baselines.zero_shot(
            vectors, texts, shop.users, known, as_of, 20, query_alone=alone
        )
        tea = scorer(shop.users.asking(np.array([0]), np.array([1])), np.array([15]))[0]
        assert tea.argmax() == 1 if alone else tea[0] == pytest.approx(float(tea[1]), abs=1e-5)
        assert scorer(np.array([0]), np.array([5]))[0].argmax() == 0


def test_bm25_answers_what_was_typed_alone(world: World) -> None:
    data = world.data
    assert data.log.query is not None
    known: Any = SimpleNamespace(
        data=data,
        known=world.entered_by(world.split.t_test),
        past=lambda who, times: _nothing_but_the_first(len(who), len(data.items)),
    )
    row = int(np.flatnonzero(data.log.query >= 0)[-1])
    scorer, times = bm25(known, 1.2), data.log.time[[row]]
    asking, user = data.who_took(np.array([row])), data.log.user[[row]]
    words = data.users.queries[data.log.query[row]].lower().split()
    has = np.array([any(word in text.lower() for word in words) for text in data.items.texts])
    scores = scorer(asking, times)[0].numpy()
    assert ((scores > 0) == has).all()
    assert has.any()
    assert not np.array_equal(scorer(user, times)[0].numpy(), scores)


def _nothing_but_the_first(n: int, n_items: int) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((np.ones(n), (np.arange(n), np.zeros(n, int))), shape=(n, n_items))


def test_no_scorer_stumbles_over_who_asks(world: World, config: MakeConfig) -> None:
    """Those that learn vectors of users look them up by person."""
    from coldlm.experiment.baselines import make_baselines
    from coldlm.experiment.rivals import make_rivals

    one = world.stream.slice(0, 40)
    who = world.data.who_asks(one)
    assert (who >= len(world.data.users)).any()
    ready = prepare_baselines(config(*SEARCHES), world, 5, lambda scorer, name: 0.0)
    rivals, _ = make_rivals(
        ["bpr:0.01", "lightgcn:0.01", "item_knn:20", "late_fusion:0.5"], ready, world, 5,
        lambda scorer, name: 0.0, refit=False,
    )  # fmt: skip
    found = {**make_baselines(ready, world, 5), **rivals}
    for name, scorer in found.items():
        scores, plain = scorer(who, one.time), scorer(one.user, one.time)
        assert scores.shape == (40, len(world.data.items)), name
        reads = name.startswith(("tfidf", "zero_shot", "late_fusion"))
        assert torch.equal(scores, plain) != reads, name


@pytest.mark.parametrize("best", [Way(False, False), Way(True, True), Way(False, True)])
def test_how_baselines_read_queries_is_chosen_on_validation(
    world: World, config: MakeConfig, best: Way
) -> None:
    each = [float(Way(*way) == best) for way in itertools.product((True, False), (False, True))]
    values = iter([0.0] * 3 + each * 2)
    ready = prepare_baselines(config(*SEARCHES), world, 5, lambda scorer, name: next(values))
    assert set(ready.ways.values()) == {best}


def test_permuted_queries_ask_the_same_with_texts_of_other_searches_of_the_day(
    world: World, config: MakeConfig
) -> None:
    other = make_world(config(*SEARCHES, f"control={PERMUTED_QUERY}"))
    for name in ("user", "time", "window", "start", "event"):
        for part in ("validation", "stream"):
            ours, theirs = (getattr(getattr(w, part), name) for w in (world, other))
            assert np.array_equal(ours, theirs)
    assert np.array_equal(world.seen_query, other.seen_query)
    read = _texts(world.data)
    others = _texts(other.data)
    assert ((read != "") == (others != "")).all()
    assert (read != others)[read != ""].mean() > 0.9  # two searches may say the same
    for part in (TRAIN, VALIDATION, STREAM):
        here = world.split.part == part
        assert sorted(read[here]) == sorted(others[here])
    assert world.digest != other.digest


def _texts(data: Dataset) -> Any:
    assert data.log.query is not None
    return np.array([*data.users.queries, ""])[data.log.query]


def test_texts_stay_in_their_day_and_part(make_data: MakeData) -> None:
    rng = np.random.default_rng(0)
    time = np.sort(rng.integers(0, 4 * DAY, 80))
    events = [(e % 7, e % 9, int(t)) for e, t in enumerate(time)]
    data = make_data(events, users=7, items=9, released=dict.fromkeys(range(9), 0))
    words = tuple(f"text {e}" for e in range(80))
    query = rng.permutation(80)
    data = replace(
        data, users=replace(data.users, queries=words), log=replace(data.log, query=query)
    )
    part = (np.arange(80) >= 50).astype(np.int8)
    before, after = _texts(data), _texts(with_queries_permuted(data, part, seed=1))
    assert not (before == after).any()
    for day, which in set(zip((data.log.time // DAY).tolist(), part.tolist(), strict=True)):
        here = (data.log.time // DAY == day) & (part == which)
        assert sorted(before[here]) == sorted(after[here])


def test_a_block_moves_whole_and_a_lone_day_with_its_neighbour(shop: Dataset) -> None:
    log = replace(shop.log, time=np.array([0, 9, 9, 9, DAY + 5, 9 * DAY]))
    data = replace(shop, log=log)
    moved = with_queries_permuted(data, np.zeros(6, np.int8), seed=3)
    texts, before = _texts(moved), _texts(data)
    assert texts[1] == texts[2]  # one search, two things
    assert sorted([texts[1], texts[3], texts[4]]) == sorted([before[1], before[3], before[4]])
    assert texts[0] == texts[5] == ""
    assert (texts != before).any()


def test_queries_that_nobody_typed_cannot_be_permuted(config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match="nobody typed anything"):
        make_world(config(f"control={PERMUTED_QUERY}"))


def test_tables_tell_seen_from_unseen_queries(folder: Path, world: World) -> None:
    events = pl.read_parquet(folder / "events.parquet").filter(scorer=MODEL, schedule="history")
    log, past = world.data.log, world.split.rows(TRAIN, VALIDATION)
    assert log.query is not None
    typed_before = set(log.query[past]) - {-1}
    row = {event: row for row, event in enumerate(log.event_id.tolist())}
    code = log.query[[row[event] for event in events["event_id"]]]
    expected = np.where(code < 0, -1, np.isin(code, list(typed_before)))
    assert events[QUERY_SEEN].to_list() == expected.tolist()
    assert set(expected) == {-1, 0, 1}
    results = pl.read_parquet(folder / "results.parquet").filter(
        scorer=MODEL, schedule="history", window=-1, metric="ndcg", average="macro", bucket="all"
    )
    for value, cohort in zip((1, 0), QUERY_COHORTS, strict=True):
        assert results.filter(cohort=cohort)["n_events"].item() == (expected == value).sum()


def test_the_manifest_says_what_was_typed(folder: Path, world: World, finished: Path) -> None:
    typed, log = read_manifest(folder).typed, world.data.log
    assert typed is not None
    assert log.query is not None
    stream = world.data.log.query[world.stream.event[world.stream.start[:-1]]]  # type: ignore[index]
    assert typed["distinct"] == len(world.data.users.queries)
    assert typed["asked"] == len(world.stream)
    assert typed["typed"] == (stream >= 0).sum()
    past = log.query[world.split.rows(TRAIN, VALIDATION)]
    assert typed["typed before"] == np.isin(stream[stream >= 0], past).sum()
    cohorts = {row["cohort"] for row in read_manifest(folder).cohorts or ()}
    assert set(QUERY_COHORTS) <= cohorts
    without = read_manifest(finished)
    assert without.typed is None
    assert not set(QUERY_COHORTS) & {row["cohort"] for row in without.cohorts or ()}
    assert QUERY_SEEN not in pl.read_parquet(finished / "events.parquet").columns


def test_a_report_asks_for_the_control_of_queries(folder: Path, finished: Path) -> None:
    for path, is_missing in ((folder, True), (finished, False)):
        comparison: Any = SimpleNamespace(rows=(), manifests=(read_manifest(path),))
        assert (PERMUTED_QUERY in _missing_rows(comparison)) == is_missing


def test_lists_say_what_was_typed(folder: Path, world: World) -> None:
    lists = pl.read_parquet(folder / "lists.parquet").filter(scorer=MODEL)
    first = lists.filter(rank=1)
    assert lists.filter(pl.col("rank") > 1)["typed"].is_null().all()
    log, texts, users = world.data.log, _texts(world.data), world.data.users.ids
    for user, time, typed in first.select("user", "time", "typed").iter_rows():
        row = np.flatnonzero((log.time == time) & (log.user == users.index(user)))
        assert typed in texts[row]
    assert first["typed"].str.len_chars().max()


def test_two_texts_get_two_lists(folder: Path) -> None:
    first, second = (
        [row.item for row in recommend(folder, query=query)] for query in ("spaceship", "puppy")
    )
    assert first != second


def test_an_export_has_what_was_typed(config: MakeConfig, world: World, tmp_path: Path) -> None:
    export(config(*SEARCHES), tmp_path / "split")
    queries = pl.read_parquet(tmp_path / "split" / "queries.parquet").filter(part="stream")
    events = pl.read_parquet(tmp_path / "split" / "interactions.parquet")
    texts = _texts(world.data)
    assert events["typed"].to_list() == texts.tolist()
    assert queries["typed"].to_list() == texts[world.stream.event[world.stream.start[:-1]]].tolist()
    assert ", typed (" in (tmp_path / "split" / "README.md").read_text(encoding="utf-8")


def test_a_mixed_first_stage_reads_what_was_typed_and_keeps_places_for_the_shelf(
    world: World, config: MakeConfig
) -> None:
    make = make_first_stage(config(*SEARCHES), world, "mixed", 5, lambda folder, world: None)
    first, now = make(world.as_of), int(world.data.log.time[-1]) + 1
    there = world.catalogue.released(np.array([now]))[0]
    texts = np.array([text.lower() for text in world.data.items.texts])
    on_shelf = there & (world.as_of.counts(np.array([now]))[0] <= 4)

    def best(scores: torch.Tensor, n: int = 12) -> set[int]:
        return set(np.argsort(-np.where(there, scores.numpy(), -np.inf), kind="stable")[:n])

    space, pets = (best(first.answer(now, text=word)) for word in ("spaceship", "puppy"))
    for found, word in ((space, "spaceship"), (pets, "puppy")):
        has = {i for i in np.flatnonzero(there) if word in texts[i]}
        assert len(has) <= 6  # half of the places
        assert has <= found
    assert space != pets
    nobody = best(first.answer(now))
    assert len(nobody & set(np.flatnonzero(on_shelf))) >= 3
    favourites = baselines.recent_popularity(world.as_of, 0)(np.zeros(1, np.int64), np.array([now]))
    assert int(favourites[0].argmax()) in nobody
    # in a row of the log as where it is typed
    who = world.data.users.asking(np.array([0]), np.array([0]))
    typed = world.data.users.queries[0]
    history = world.as_of.history(np.array([0]), np.array([now]), 5)[0].tolist()
    assert torch.equal(
        first(who, np.array([now]))[0], first.answer(now, text=typed, history=history)
    )
    # the cut knows of no item that is not there
    assert first.answer(int(world.data.log.time[5]), text=typed).isfinite().all()


def test_training_reads_what_was_typed_and_makes_up_nothing_beside_it(
    world: World, config: MakeConfig
) -> None:
    data, rows = world.data, world.split.rows(TRAIN)
    recipe = Recipe(64, 8, 5, pseudo_query=1.0, uses_text=True, uses_context=False, seed=1)
    loss = build(config().loss)
    batches = Batches(data, world.catalogue, world.as_of, rows, loss, recipe)
    typed, searched = _texts(data), 0
    for number in range(len(batches)):
        batch, own = batches[number], batches.rows(number)
        read = [batch.texts[i] for i in batch.text.tolist()]
        for text, row, history in zip(read, own, batch.history, strict=True):
            if typed[row]:
                searched += 1
                assert text == typed[row]
                known = world.as_of.n_user(data.log.user[[row]], data.log.time[[row]])[0]
                assert int((history >= 0).sum()) == min(known, 5)
            else:
                assert not (history >= 0).any()  # a pseudo-query
    assert searched > 50
    assert set(batches.texts()) >= set(typed[rows]) - {""}


def test_words_that_were_typed_find_what_was_taken_and_permuted_ones_do_not(
    world: World, config: MakeConfig
) -> None:
    control = f"control={PERMUTED_QUERY}"
    values = {}
    for name, keys in {"typed": SEARCHES, "permuted": (*SEARCHES, control), "nothing": ()}.items():
        asked = config(*SEARCHES[1:], *keys)
        its = make_world(asked)
        words = baselines.TfIdf(its.data, its.catalogue, its.as_of, 20, its.split.t_test)
        values[name] = Evaluation(asked, its, "").measure_on(words, its.stream)
    assert values["typed"] > values["nothing"] > values["permuted"]


@pytest.mark.long
def test_who_reads_queries_beats_who_does_not_and_permuted_ones_are_worth_nothing(
    config: MakeConfig,
) -> None:
    """The events are the same; what was typed tells the topics of the item that is taken."""
    small = (
        "dataset.language=zh", "dataset.users=200", "dataset.items=300", "dataset.events=6000",
        "backbone=scratch_bert", "backbone.layers=2", "backbone.max_tokens=32", "pretrain=masked_lm",
        "pretrain.epochs=20", "strategy=full", "optim.body_lr=1e-3", "train.epochs=10", "train.patience=3",
        "train.batch_size=128", "train.refit=false", "loss.draws=32", "head.history=10", "online=off",
        "stages=[pretrain,train,evaluate]",
    )  # fmt: skip
    runs = {
        "reads": ("dataset.queries=0.7",),
        "blind": ("dataset.queries=0",),
        "permuted": ("dataset.queries=0.7", f"control={PERMUTED_QUERY}"),
    }
    found = {}
    for name, keys in runs.items():
        results = pl.read_parquet(execute(config(*small, *keys), name) / "results.parquet")
        found[name] = results.filter(
            scorer=MODEL, schedule="history", cohort="all", bucket="all", window=-1,
            average="macro", metric="ndcg", k=10,
        )["value"].item()  # fmt: skip
    assert found["reads"] > 1.15 * found["blind"]
    assert found["permuted"] < found["blind"]
