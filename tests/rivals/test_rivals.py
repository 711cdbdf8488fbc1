"""Rivals by hand, and on a world whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import log

import numpy as np
import polars as pl
import pytest
import torch

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.config.build import resolve
from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.config.kinds import Rival
from coldlm.config.options import every, named
from coldlm.config.schema import RunConfig
from coldlm.core.errors import ConfigError
from coldlm.core.tables import DAY, TRAIN, Dataset
from coldlm.data import simulated
from coldlm.evaluate.judge import ScoreFunction
from coldlm.experiment.baselines import Ready
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.rivals import make_rivals
from coldlm.experiment.run import execute
from coldlm.experiment.world import make_world
from coldlm.rivals import learned
from coldlm.rivals.bm25 import bm25
from coldlm.rivals.content_knn import content_knn
from coldlm.rivals.ease import ease
from coldlm.rivals.fusion import reciprocal_ranks, standard
from coldlm.rivals.item_knn import item_knn
from coldlm.rivals.known import Known, Stopping
from coldlm.rivals.late_fusion import late_fusion
from coldlm.rivals.mixture_by_n import mixture_by_n
from coldlm.rivals.popularity_days import popularity_days
from coldlm.runs.manifest import read_manifest

MakeData = Callable[..., Dataset]
MakeConfig = Callable[..., RunConfig]

SLOW = ("sasrec", "gru4rec", "clcrec", "heater", "aldi")
"""Learn for seconds; ``test_learned.py`` asks them for less."""

EVENTS = [(0, 0, 1), (0, 1, 2), (1, 0, 3), (1, 1, 4), (2, 1, 5), (2, 2, 6), (3, 0, 50)]
TEXTS = ["red car", "red red boat", "blue sea", "blue car sea"]


def _known(data: Dataset, until: int = 10, history: int = 5) -> Known:
    catalogue = Catalogue(data)
    sizes = len(data.users), len(data.items)
    as_of = AsOf(data.log, *sizes, catalogue.enters_at, data.half_lives_days)
    rows = np.flatnonzero(data.log.time < until)
    vectors = torch.from_numpy(np.random.default_rng(0).standard_normal((len(data.items), 8)))
    return Known(
        data, catalogue, as_of, rows, catalogue.enters_at < until, history, vectors.float(), 1, 1, Stopping(epochs=2)
    )  # fmt: skip


@pytest.fixture
def known(make_data: MakeData) -> Known:
    """Users 0 to 2 by second 10; user 3 takes item 0 at 50; item 3 is taken by nobody."""
    return _known(make_data(EVENTS, items=4, texts=TEXTS, released=dict.fromkeys(range(4), 0)))


def _at(scorer: Callable[..., torch.Tensor], time: int, user: int = 3) -> list[float]:
    scores = scorer(np.array([user, user]), np.array([time, time]))
    assert torch.equal(scores[0], scores[1])
    return scores[0].double().tolist()


def test_popularity_of_days_forgets_what_is_older(make_data: MakeData) -> None:
    data = make_data([(0, 0, DAY), (1, 0, 2 * DAY), (1, 1, 3 * DAY)], items=3)
    scorer = popularity_days(_known(data), 1.5)
    assert _at(scorer, 3 * DAY, 0) == [1, 0, 0]  # strictly earlier
    assert _at(scorer, 3 * DAY + 1, 0) == [1, 1, 0]
    assert _at(scorer, 5 * DAY, 0) == [0, 0, 0]


def test_item_knn_is_the_cosine_of_columns(known: Known) -> None:
    # item 0: users 0 1; item 1: users 0 1 2; item 2: user 2. User 3 has item 0 behind second 50
    assert _at(item_knn(known, 10), 51) == pytest.approx([0, 2 / 6**0.5, 0, 0])
    assert _at(item_knn(known, 10), 50) == [0, 0, 0, 0]  # what happens at the time is not known
    of_one = item_knn(known, 1)  # the nearest of item 1 is item 0 alone
    assert _at(of_one, 60, 2) == pytest.approx([2 / 6**0.5, 1 / 3**0.5, 0, 0])


def test_ease_is_ridge_regression_of_each_item_on_the_others(known: Known) -> None:
    strength, x = 2.0, known.taken().toarray()[:, :3]
    expected = np.zeros((3, 3))
    for j in range(3):
        others = [i for i in range(3) if i != j]
        a = x[:, others]
        gram = a.T @ a + strength * np.eye(2)
        expected[others, j] = np.linalg.solve(gram, a.T @ x[:, j])
    assert _at(ease(known, strength), 51) == pytest.approx([*expected[0], 0])


def test_bm25_by_hand(known: Known) -> None:
    k1, length = 1.5, 10 / 4
    n = {"red": 2, "car": 2, "boat": 1, "blue": 2, "sea": 2}

    def weight(word: str, text: str) -> float:
        f = text.split().count(word)
        idf = log(1 + (4 - n[word] + 0.5) / (n[word] + 0.5))
        return idf * f * (k1 + 1) / (f + k1 * (0.25 + 0.75 * len(text.split()) / length))

    expected = [weight("red", text) + weight("car", text) for text in TEXTS]
    assert _at(bm25(known, k1), 51) == pytest.approx(expected)
    assert _at(bm25(known, k1), 50) == [0, 0, 0, 0]


def test_content_knn_is_the_nearest_of_the_last(known: Known) -> None:
    unit = known.vectors - known.vectors.mean(0)  # all items had entered
    unit = unit / unit.norm(dim=1, keepdim=True)
    cosine = (unit @ unit.T).double()
    assert _at(content_knn(known, 5), 51) == pytest.approx(cosine[0].tolist(), abs=1e-6)
    # user 2 has item 1, then item 2
    nearest = torch.maximum(cosine[1], cosine[2]).tolist()
    assert _at(content_knn(known, 5), 60, 2) == pytest.approx(nearest, abs=1e-6)
    assert _at(content_knn(known, 1), 60, 2) == pytest.approx(cosine[2].tolist(), abs=1e-6)
    assert len(set(_at(content_knn(known, 5), 50))) == 1


def test_ranks_and_standard_scores_are_those_of_what_is_there() -> None:
    scores = np.array([[5.0, 1.0, 9.0, 1.0]])
    there = np.array([[True, True, False, True]])
    expected = [1 / 61, 1 / 62.5, 1 / 64, 1 / 62.5]
    assert reciprocal_ranks(scores, there)[0].tolist() == pytest.approx(expected)
    mean, spread = 7 / 3, np.std([5, 1, 1])
    expected = [(score - mean) / spread for score in scores[0]]
    assert standard(scores, there)[0].tolist() == pytest.approx(expected)
    assert standard(np.ones((1, 4)), there)[0].tolist() == [0, 0, 0, 0]


def test_late_fusion_weighs_the_ranks_of_words_and_of_counts(known: Known) -> None:
    there, time = np.ones((1, 4), bool), np.array([51])
    words = bm25(known, 1.2)(np.array([3]), time).numpy()
    counts = known.as_of.log_decayed_counts(time, known.half_life)
    for weight in (0.0, 0.3, 1.0):
        expected = weight * reciprocal_ranks(words, there)
        expected += (1 - weight) * reciprocal_ranks(counts, there)
        assert _at(late_fusion(known, weight), 51) == pytest.approx(expected[0].tolist())


def test_a_mixture_trusts_neighbours_by_an_items_events(known: Known) -> None:
    """Item 0 has 3 events by second 51, item 3 none."""
    there, ask = np.ones((1, 4), bool), (np.array([3]), np.array([51]))
    cold, warm = (
        standard(scorer(*ask).double().numpy(), there)[0]
        for scorer in (content_knn(known, 5), item_knn(known, 100))
    )
    mixed = _at(mixture_by_n(known, 2), 51)
    assert mixed[3] == pytest.approx(cold[3])
    assert mixed[0] == pytest.approx((2 * cold[0] + 3 * warm[0]) / 5)


@pytest.mark.parametrize("rival", [option.name for option in every(Rival)])
def test_nothing_later_can_change_what_was_learned(rival: str, make_data: MakeData) -> None:
    make = resolve(named(Rival, rival).target)
    later = [*EVENTS, (0, 2, 60), (1, 3, 61), (2, 0, 62)]
    released = dict.fromkeys(range(4), 0) | {3: 20}
    one = make_data(EVENTS, items=4, texts=TEXTS, released=released)
    other = make_data(later, items=4, texts=[*TEXTS[:3], "red red red"], released=released)
    value = named(Rival, rival).values[0]
    scores = [_at(make(_known(data), value), 55)[:3] for data in (one, other)]
    assert scores[0] == scores[1]


@pytest.fixture(scope="module")
def evaluation(compose: MakeConfig, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Of a world whose items are there from the start and whose tastes stay: who took what says what a
    user likes, and so do texts."""
    keys = (
        "dataset.users=150", "dataset.items=60", "dataset.events=4000", "dataset.drift=0",
        "dataset.new_item_share=0", "dataset.popularity=0", "dataset.repeats=true",
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("known")
    config = compose(folder / "runs", folder / "cache", *keys)
    return Evaluation(config, make_world(config), "")


def _ready(evaluation: Evaluation) -> Ready:
    """What rivals need, with vectors that say which topics an item is about."""
    world = evaluation._world
    _, truth = simulated.make_world(
        users=150, items=60, events=4000, drift=0, new_item_share=0, popularity=0, repeats=True
    )
    vectors = torch.from_numpy(truth.item_topics).float()
    profiles = torch.zeros(len(world.data.users), vectors.shape[1])
    return Ready(1, 2, vectors, profiles, frozenset())


@pytest.mark.parametrize(
    "rival",
    [
        pytest.param(option.name, marks=[pytest.mark.long] * (option.name in SLOW))
        for option in every(Rival)
        if option.name != "popularity_days"
    ],
)
def test_on_a_known_world_those_who_learn_from_others_or_read_beat_chance(
    rival: str, evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "EPOCHS", 8)
    world = evaluation._world
    scorers, chosen = make_rivals(
        [rival], _ready(evaluation), world, 20, evaluation.measure, refit=True
    )
    found = evaluation.measure_on(scorers[rival], world.stream)
    chance = evaluation.measure_on(lambda u, t: torch.zeros(len(u), 60), world.stream)
    assert found > 1.5 * chance, (found, chance)
    option, said = named(Rival, rival), chosen[rival]
    assert [float(value) for value in said["tried"]] == list(option.values)
    assert said["tried"][f"{said['value']:g}"] == max(said["tried"].values())
    assert said["unseen"] == option.unseen != ""


def test_without_a_refit_a_rival_knows_training_alone_and_never_the_probe(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, learned_from = evaluation._world, []

    def spy(known: Known, value: float) -> ScoreFunction:
        learned_from.append((len(known.rows), known.rows))
        return ease(known, value)

    monkeypatch.setattr("coldlm.rivals.ease.ease", spy)
    probe = replace(world, probe=np.arange(len(world.data.log)) % 7 == 0)
    for refit in (False, True):
        learned_from.clear()
        make_rivals(["ease"], _ready(evaluation), probe, 20, evaluation.measure, refit=refit)
        sizes = {size for size, _ in learned_from}
        assert len(sizes) == 1 + refit
        assert not probe.probe[np.concatenate([rows for _, rows in learned_from])].any()
    train = world.split.rows(TRAIN)
    assert min(sizes) == (~probe.probe[train]).sum()


def test_a_value_of_its_own_is_not_tuned(evaluation: Evaluation) -> None:
    world, ready = evaluation._world, _ready(evaluation)
    names = ["ease:300", "ease"]
    scorers, chosen = make_rivals(names, ready, world, 20, evaluation.measure, refit=True)
    assert list(scorers) == names
    assert list(chosen["ease:300"]["tried"]) == ["300"]
    assert len(chosen["ease"]["tried"]) == 4


def test_a_rival_that_follows_the_stream_learns_before_each_window(
    evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, learned_from = evaluation._world, list[Known]()

    def spy(known: Known, value: float) -> ScoreFunction:
        learned_from.append(known)
        return ease(known, value)

    monkeypatch.setattr("coldlm.rivals.ease.ease", spy)
    names = ["ease:300", "ease:300@per_window"]
    scorers, chosen = make_rivals(
        names, _ready(evaluation), world, 20, evaluation.measure, refit=True
    )
    assert len(learned_from) == 2  # tuned once for both
    assert chosen[names[0]] == chosen[names[1]]
    learned_from.clear()
    stands, follows = (evaluation.judge_stream(scorers[name], name).score for name in names)
    edges, times = world.split.edges, world.data.log.time
    for known, edge in zip(learned_from, edges[:-1], strict=True):
        assert np.array_equal(known.rows, np.flatnonzero((times < edge) & ~world.probe))
    first = times[world.stream.event] < edges[1]
    assert follows[first] == pytest.approx(stands[first], abs=1e-12)
    assert follows[~first] != pytest.approx(stands[~first], abs=1e-6)
    # each query is scored by its own window's version, in whatever order and company
    some = np.array([5, len(world.stream) - 1, 0, len(world.stream) // 2])
    users, at = world.stream.user, world.stream.time
    together = scorers[names[1]](users[some], at[some])
    for row, query in zip(together, some, strict=True):
        alone = scorers[names[1]](users[[query]], at[[query]])[0]
        torch.testing.assert_close(row, alone, rtol=0, atol=1e-12)


def test_rivals_are_judged_like_baselines_and_chosen_on_validation(
    config: MakeConfig,
) -> None:
    folder = execute(
        config(
            "evaluate.rivals=[ease,ease@per_window,popularity_days]",
            "stages=[train,evaluate]",
            "evaluate.lists=5",
        ),
        "rivals",
    )
    results = pl.read_parquet(folder / "results.parquet")
    assert {"ease", "ease@per_window", "popularity_days"} <= set(results["scorer"])
    listed = set(pl.read_parquet(folder / "lists.parquet")["scorer"])
    assert "ease" in listed
    assert "ease@per_window" not in listed  # lists are of weights as trained
    assert "bm25" not in set(results["scorer"])
    assert "ease on validation, by strength: " in (folder / "run.log").read_text()
    said = read_manifest(folder).rivals
    assert said is not None
    assert set(said) == {"ease", "ease@per_window", "popularity_days"}
    assert said["ease"]["setting"] == "strength"


def test_an_unknown_rival_is_told_which_there_are() -> None:
    values = compose_plain(["dataset=simulated", "backbone=tiny_bert", "evaluate.rivals=[eas]"])
    with pytest.raises(
        ConfigError, match="got 'eas', allowed: popularity_days, bm25, item_knn, ease"
    ):
        check(values)
