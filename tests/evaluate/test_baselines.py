from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import NEVER, AsOf
from coldlm.core.columns import CANARIES
from coldlm.core.tables import UNKNOWN, Dataset, Ints
from coldlm.data.simulated import load
from coldlm.evaluate import baselines
from coldlm.evaluate.judge import ScoreFunction, Views, judge
from coldlm.evaluate.metrics import ndcg
from coldlm.split.queries import ask

MakeData = Callable[..., Dataset]

EVENTS = [
    (0, 0, 10),
    (1, 0, 20),
    (0, 1, 20),
    (0, 1, 30),
    (1, 2, 40, False),
]
ALWAYS = dict.fromkeys(range(4), 0)


def _as_of(data: Dataset) -> AsOf:
    return AsOf(
        data.log, len(data.users), len(data.items), Catalogue(data).enters_at, data.half_lives_days
    )


def _score(scorer: ScoreFunction, user: int, time: int) -> list[float]:
    scores = scorer(np.array([user]), np.array([time]))
    assert scores.dtype in (torch.float32, torch.float64)
    return scores[0].tolist()


@pytest.fixture
def toy(make_data: MakeData) -> Dataset:
    return make_data(EVENTS, items=4, released=ALWAYS, repeats=True)


def test_random_scores_depend_on_seed_user_and_time_alone() -> None:
    ids = [f"u{u}" for u in range(5)]
    scorer = baselines.random(0, 50, ids)
    users, times = np.array([3, 4, 3]), np.array([10, 10, 11])
    together = scorer(users, times)
    assert together.shape == (3, 50)
    assert together.dtype == torch.float32
    assert (
        together[2].tolist() == _score(scorer, 3, 11) == _score(baselines.random(0, 50, ids), 3, 11)
    )
    assert (
        len(
            {
                tuple(row)
                for row in [*together.tolist(), _score(baselines.random(1, 50, ids), 3, 10)]
            }
        )
        == 4
    )
    assert 0 <= float(together.min()) < float(together.max()) < 1
    # a newcomer may move everybody's code, but nobody's draws
    assert _score(baselines.random(0, 50, ["newcomer", *ids]), 4, 11) == together[2].tolist()


def test_a_constant_scorer_ties_all_items() -> None:
    assert _score(baselines.constant(3), 0, 10) == [0, 0, 0]


def test_popularity_counts_the_positives_so_far(toy: Dataset) -> None:
    scorer = baselines.popularity(_as_of(toy))
    assert [_score(scorer, 0, t) for t in (10, 20, 21, 99)] == [
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [2, 1, 0, 0],
        [2, 2, 0, 0],
    ]


def test_fewest_events_counts_events_of_any_label(toy: Dataset) -> None:
    scorer = baselines.fewest_events(toy, Catalogue(toy))
    assert _score(scorer, 0, 21) == [-2, -1, 0, 0]
    assert _score(scorer, 0, 41) == [-2, -2, -1, 0]


def test_recent_popularity_halves_with_every_half_life(toy: Dataset) -> None:
    fast = baselines.recent_popularity(_as_of(toy), 0)  # 10 s
    assert _score(fast, 0, 40) == pytest.approx(
        [*np.log2([0.25 + 0.125, 0.5 + 0.25]), NEVER, NEVER]
    )
    slow = baselines.recent_popularity(_as_of(toy), 2)  # 1,000 s
    both = np.log2([2**-0.02 + 2**-0.03, 2**-0.01 + 2**-0.02])
    assert _score(slow, 0, 40) == pytest.approx([*both, NEVER, NEVER])


def test_popularity_of_several_times_is_as_of_each(toy: Dataset) -> None:
    users, times = np.zeros(3, np.int64), np.array([21, 20, 21])
    assert baselines.popularity(_as_of(toy))(users, times)[:, 0].tolist() == [2, 1, 2]
    recent = baselines.recent_popularity(_as_of(toy), 0)(users, times)
    expected = np.log2([2**-1.1 + 2**-0.1, 0.5, 2**-1.1 + 2**-0.1])
    assert recent[:, 0].tolist() == pytest.approx(expected)


def test_newest_ranks_by_entry(make_data: MakeData) -> None:
    data = make_data([(0, 0, 50), (0, 1, 60)], items=4, released={0: 30, 2: 10, 3: 30})
    row = _score(baselines.newest(Catalogue(data)), 0, 99)
    assert row[1] > row[0] == row[3] > row[2]  # enter at 61, 30, 30 and 10


def test_what_has_not_entered_is_equally_new_whenever_it_will_enter(make_data: MakeData) -> None:
    # a list may show it all the same; item 1 has its first event at 60, item 3 at 70, item 2 never
    data = make_data([(0, 0, 50), (0, 1, 60), (0, 3, 70)], items=4)
    row = _score(baselines.newest(Catalogue(data)), 0, 55)
    assert row[1] == row[2] == row[3] > row[0]
    row = _score(baselines.newest(Catalogue(data)), 0, 65)
    assert row[2] == row[3] > row[1] > row[0]


def test_own_repeats_counts_what_this_user_had_before(toy: Dataset) -> None:
    scorer = baselines.own_repeats(_as_of(toy), toy)
    assert _score(scorer, 0, 10) == [0, 0, 0, 0]
    assert _score(scorer, 0, 30) == [1, 1, 0, 0]
    assert _score(scorer, 0, 31) == [1, 2, 0, 0]
    assert _score(scorer, 1, 99) == [1, 0, 0, 0]  # the event that is no positive does not count
    assert scorer(np.array([1, 0]), np.array([99, 31])).tolist() == [[1, 0, 0, 0], [1, 2, 0, 0]]


def _tfidf(data: Dataset, known_until: int = 50, history: int = 20) -> ScoreFunction:
    return baselines.TfIdf(data, Catalogue(data), _as_of(data), history, known_until)


def test_tfidf_scores_items_that_share_words_with_the_history(make_data: MakeData) -> None:
    texts = ["red wine", "Red-shoes", "blue shoes", "green tea"]
    data = make_data([(0, 0, 10), (0, 3, 20)], users=2, released=ALWAYS, texts=texts)
    first, second = _score(_tfidf(data), 0, 15), _score(_tfidf(data), 0, 25)
    assert first[0] > first[1] > first[2] == first[3] == 0
    assert first[0] == pytest.approx(1, abs=1e-6)  # an item's cosine with itself
    assert second[3] == pytest.approx(1, abs=1e-6)
    assert _score(_tfidf(data, history=1), 0, 25)[:3] == [0, 0, 0]
    assert _score(_tfidf(data), 1, 25) == [0, 0, 0, 0]  # neither history nor profile


def test_tfidf_is_the_cosine_by_hand(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10)], released=dict.fromkeys(range(3), 0), texts=["a b", "b c", "b d"])
    # smooth idf over three texts: b in all of them, the others in one each
    rare, common = 1 + np.log(4 / 2), 1 + np.log(4 / 4)
    assert _score(_tfidf(data), 0, 20)[1] == pytest.approx(
        common**2 / (common**2 + rare**2), abs=1e-6
    )


def test_tfidf_reads_single_chinese_characters(make_data: MakeData) -> None:
    texts = ["红酒,便宜", "白酒。", "绿茶", "AI手机"]
    data = make_data([(0, 0, 10)], released=ALWAYS, texts=texts)
    scores = _score(_tfidf(data), 0, 20)
    assert scores[1] > 0  # 酒
    assert scores[2] == scores[3] == 0
    assert baselines.WORD.findall("AI手机 x_2,酒") == ["AI", "手", "机", "x", "2", "酒"]


def test_tfidf_reads_the_profile_of_a_user_without_history(make_data: MakeData) -> None:
    data = make_data(
        [(0, 0, 10)], released=ALWAYS, texts=["wine", "tea"], profiles=["", "likes tea"]
    )
    assert _score(_tfidf(data), 1, 5) == pytest.approx([0, 1, 0, 0])


def test_texts_of_items_that_enter_later_change_no_score_of_the_others(make_data: MakeData) -> None:
    def scores(*texts: str) -> list[float]:
        data = make_data(
            [(0, 0, 10)], released={0: 0, 1: 0, 2: 50, 3: 51}, texts=["red wine", "red tea", *texts]
        )
        return _score(_tfidf(data, known_until=50), 0, 60)

    before = scores("green tea", "blue")
    for later in ("red red wine tea", ""):
        assert scores("green tea", later)[:3] == before[:3]
    assert scores("red wine", "blue")[:2] != before[:2]  # item 2 enters at the last known second


@pytest.mark.parametrize("texts", [[], ["", "!?"]])
def test_tfidf_of_items_without_words_is_constant(make_data: MakeData, texts: list[str]) -> None:
    assert _score(_tfidf(make_data([(0, 0, 10)], released=ALWAYS, texts=texts)), 0, 20) == [
        0,
        0,
        0,
        0,
    ]


def _zero_shot(
    data: Dataset, vectors: list[list[float]], known: list[bool], profile: list[float] | None = None
) -> ScoreFunction:
    profiles = torch.zeros(len(data.users), 2)
    if profile:
        profiles[0] = torch.tensor(profile)
    return baselines.zero_shot(
        torch.tensor(vectors), profiles, data.users, np.array(known), _as_of(data), 20
    )


def test_zero_shot_is_the_centred_cosine_with_the_history(toy: Dataset) -> None:
    # centre (1, 1): east, west, north, south
    vectors = [
        [2.0, 1.0],
        [0.0, 1.0],
        [1.0, 2.0],
        [1.0, 0.0],
    ]
    scorer = _zero_shot(toy, vectors, [True] * 4)
    assert _score(scorer, 0, 15) == pytest.approx([1, -1, 0, 0], abs=1e-6)
    assert _score(scorer, 0, 35) == pytest.approx([-1, 1, 0, 0], abs=1e-6)  # east once, west twice
    assert _score(scorer, 0, 5) == [0, 0, 0, 0]


def test_zero_shot_adds_the_profile_where_there_is_one(toy: Dataset) -> None:
    vectors = [[2.0, 1.0], [0.0, 1.0], [1.0, 2.0], [1.0, 0.0]]
    scorer = _zero_shot(toy, vectors, [True] * 4, profile=[1.0, 5.0])
    assert _score(scorer, 0, 5) == pytest.approx([0, 0, 1, -1], abs=1e-6)
    assert _score(scorer, 0, 15) == pytest.approx([1, -1, 1, -1], abs=1e-6)
    assert _score(scorer, 1, 5) == [0, 0, 0, 0]


def test_zero_shot_is_centred_by_the_items_known_before_the_stream(toy: Dataset) -> None:
    vectors = [[2.0, 1.0], [0.0, 1.0], [1.0, 2.0], [1.0, 0.0]]
    known = [True, True, False, False]
    scores = _score(_zero_shot(toy, vectors, known), 0, 15)
    moved = _score(_zero_shot(toy, [*vectors[:2], [90.0, -7.0], [5.0, 5.0]], known), 0, 15)
    assert moved[:2] == scores[:2]
    assert moved[2:] != scores[2:]


@given(
    events=st.lists(
        st.tuples(*[st.integers(0, 3)] * 2, st.integers(0, 30)), min_size=1, max_size=20
    ),
    at=st.integers(0, 30),
)
def test_no_baseline_looks_at_the_events_of_its_own_time_or_later(
    make_data: MakeData, events: list[tuple[int, int, int]], at: int
) -> None:
    texts = ["red wine", "red tea", "green tea", "blue"]
    options = {"users": 4, "items": 4, "released": ALWAYS, "repeats": True, "texts": texts}
    whole = make_data(events, **options)
    log = whole.log.rows(whole.log.time < at)
    users, times = np.arange(4), np.full(4, at)
    for name, scorer in _all(whole).items():
        assert torch.equal(
            scorer(users, times), _all(replace(whole, log=log))[name](users, times)
        ), name


def _all(data: Dataset) -> dict[str, ScoreFunction]:
    as_of, catalogue = _as_of(data), Catalogue(data)
    return {
        "popularity": baselines.popularity(as_of),
        "recent_popularity": baselines.recent_popularity(as_of, 1),
        "newest": baselines.newest(catalogue),
        "fewest_events": baselines.fewest_events(data, catalogue),
        "own_repeats": baselines.own_repeats(as_of, data),
        "tfidf": baselines.TfIdf(data, catalogue, as_of, 20, 0),
        "zero_shot": baselines.zero_shot(
            torch.eye(4),
            torch.zeros(4, 4),
            data.users,
            np.array([True, True, False, False]),
            as_of,
            20,
        ),
    }


def _at_zero(data: Dataset, catalogue: Catalogue) -> dict[str, float]:
    """nDCG@10 over the positives whose item had no event yet, by scorer; empty if there is none."""
    as_of, log = _as_of(data), data.log
    queries = ask(log, catalogue, np.arange(len(log) // 2, len(log)))
    item: Ints = log.item[queries.event]
    is_new = as_of.n_item(item, log.time[queries.event]) == 0
    if not is_new.any():
        return {}
    scorers = {
        "newest": baselines.newest(catalogue),
        "fewest_events": baselines.fewest_events(data, catalogue),
    }
    scorers["random"] = baselines.constant(len(data.items))
    values = {}
    for name, scorer in scorers.items():
        judged = judge(scorer, queries, data, catalogue, Views(as_of.counts, 4), name=name)
        g, e = torch.from_numpy(judged.g[is_new]), torch.from_numpy(judged.e[is_new])
        values[name] = float(ndcg(g, e, 10).mean())
    return values


@pytest.fixture(scope="module")
def simulated() -> Dataset:
    return load(users=60, items=1200, events=1500, new_item_share=0.6)


def test_canaries_find_items_that_are_released_by_their_own_first_event(simulated: Dataset) -> None:
    naive = Catalogue(simulated)
    naive.enters_at = naive.first_event
    values = _at_zero(simulated, naive)
    for canary in CANARIES:
        assert values[canary] > 0.9
    assert values["random"] < 0.05


def test_canaries_are_silent_where_items_have_a_release_time(simulated: Dataset) -> None:
    values = _at_zero(simulated, Catalogue(simulated))
    for canary in CANARIES:
        assert 0 < values[canary] < 0.05


def test_an_item_without_a_release_time_is_never_asked_at_its_first_event(
    simulated: Dataset,
) -> None:
    unknown = replace(simulated.items, released_at=np.full(len(simulated.items), UNKNOWN))
    data = replace(simulated, items=unknown, release="after_first")
    assert _at_zero(data, Catalogue(data)) == {}
