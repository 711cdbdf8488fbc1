from __future__ import annotations

import inspect

import numpy as np
import pytest

from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import DataError
from coldlm.core.tables import DAY, Dataset, Ints
from coldlm.data.simulated import START, SimulatedTruth, load, make_world, problems

SMALL = {"users": 120, "items": 240, "events": 4000}


def _first_events(code: Ints, time: Ints, n: int) -> Ints:
    first = np.full(n, np.iinfo(np.int64).max)
    np.minimum.at(first, code, time)
    return first


def _ndcg(data: Dataset, world: SimulatedTruth) -> tuple[float, float]:
    """nDCG@10 of the true affinity and of a random order, on items that are new in the last fifth
    of the events."""
    log = data.log
    cut = log.time[int(0.8 * len(log))]
    rows = np.flatnonzero(_first_events(log.item, log.time, len(data.items))[log.item] >= cut)
    assert len(rows) > 50
    is_candidate = Catalogue(data).mask(log.user[rows], log.time[rows])
    score = np.where(is_candidate, world.affinity(log.user[rows], log.time[rows]), -np.inf)
    rank = (score > score[np.arange(len(rows)), log.item[rows]][:, None]).sum(axis=1)
    gains = 1 / np.log2(np.arange(2, 12))
    return np.where(rank < 10, gains[np.minimum(rank, 9)], 0).mean(), (
        gains.sum() / is_candidate.sum(axis=1)
    ).mean()


def test_true_affinity_ranks_cold_items_far_above_random() -> None:
    for seed in range(3):
        oracle, chance = _ndcg(*make_world(seed=seed, **SMALL))
        assert oracle > 5 * chance


def test_same_seed_gives_identical_bytes_and_another_seed_does_not() -> None:
    first, again, other = load(seed=3, **SMALL), load(seed=3, **SMALL), load(seed=4, **SMALL)
    assert first.items.texts == again.items.texts
    for name in ("user", "item", "time"):
        assert getattr(first.log, name).tobytes() == getattr(again.log, name).tobytes()
        assert getattr(first.log, name).tobytes() != getattr(other.log, name).tobytes()


def test_text_signal_and_language_change_texts_only() -> None:
    clear, noisy, chinese = (
        load(**SMALL, text_signal=s, language=x) for s, x in ((1, "en"), (0, "en"), (1, "zh"))
    )
    assert clear.log.item.tobytes() == noisy.log.item.tobytes() == chinese.log.item.tobytes()
    assert clear.items.released_at.tobytes() == noisy.items.released_at.tobytes()
    assert clear.items.texts != noisy.items.texts
    assert all(text.isascii() for text in clear.items.texts + clear.users.texts)
    assert not any(text.isascii() for text in chinese.items.texts)


def _words(texts: tuple[str, ...]) -> list[set[str]]:
    return [set(text.replace(",", "").lower().split()) for text in texts]


@pytest.mark.parametrize(("text_signal", "is_informative"), [(1.0, True), (0.0, False)])
def test_items_of_one_topic_share_words_only_if_the_text_has_signal(
    text_signal: float, is_informative: bool
) -> None:
    data, world = make_world(**SMALL, text_signal=text_signal, language="en")
    words = _words(data.items.texts)
    topic = world.item_topics.argmax(axis=1)
    shared = np.array([[len(a & b) for b in words] for a in words])
    same = topic[:, None] == topic[None, :]
    np.fill_diagonal(same, False)
    ratio = shared[same].mean() / shared[topic[:, None] != topic[None, :]].mean()
    assert (ratio > 3) if is_informative else (0.9 < ratio < 1.1)


def test_events_follow_release_and_stay_inside_the_period() -> None:
    data = load(**SMALL, days=10)
    assert (data.log.time > data.items.released_at[data.log.item]).all()
    assert data.log.time.min() > START
    assert data.log.time.max() < START + 10 * DAY
    assert data.release == "field"
    assert len(data.log) == SMALL["events"]
    assert (data.items.released_at > START).sum() == SMALL["items"] // 2


def test_items_and_users_are_cold_in_the_last_fifth() -> None:
    data = load(**SMALL)
    cut = data.log.time[int(0.8 * len(data.log))]
    assert (_first_events(data.log.item, data.log.time, len(data.items)) >= cut).sum() > 10
    assert (_first_events(data.log.user, data.log.time, len(data.users)) >= cut).sum() > 5


def test_nobody_takes_an_item_twice_unless_items_repeat() -> None:
    once, often = load(**SMALL), load(**SMALL, repeats=True)
    pairs = [
        len(set(zip(data.log.user.tolist(), data.log.item.tolist(), strict=True)))
        for data in (once, often)
    ]
    assert pairs[0] == SMALL["events"]
    assert pairs[1] < SMALL["events"]


def test_drift_moves_tastes_and_popularity_skews_counts() -> None:
    _, still = make_world(**SMALL, drift=0)
    _, moving = make_world(**SMALL, drift=1)
    assert np.array_equal(still.tastes[0], still.tastes[1])
    assert not np.allclose(moving.tastes[0], moving.tastes[1])
    flat, skewed = (
        np.bincount(load(**SMALL, repeats=True, popularity=p).log.item).max() for p in (0, 2)
    )
    assert skewed > 2 * flat


def test_too_many_events_are_a_problem_unless_items_repeat() -> None:
    [problem] = problems(users=10, items=20, events=51)
    assert "dataset.events=51: at most 50 with 10 users and 20 items" in problem
    assert problems(users=10, items=20, events=50) == []
    assert problems(users=10, items=20, events=51, repeats=True) == []
    with pytest.raises(DataError, match="at most 50"):
        load(users=10, items=20, events=51)


def test_a_crowded_world_uses_every_user_with_choice_left() -> None:
    data = load(users=2, items=40, events=20, new_item_share=0)
    assert len(data.log) == 20
    with pytest.raises(DataError, match=r"event \d+ of 100: nobody has an item left"):
        make_world(users=2, items=40, events=100, new_item_share=0)


def test_load_and_make_world_have_the_same_defaults() -> None:
    outer, inner = (inspect.signature(f).parameters for f in (load, make_world))
    assert {name: outer[name].default for name in inner} == {
        name: key.default for name, key in inner.items()
    }
    assert set(outer) - set(inner) == {"half_lives_days"}


def test_searches_are_about_what_is_taken_and_change_nothing_else() -> None:
    silent, typed = (load(**SMALL, queries=share, language="en") for share in (0.0, 0.5))
    assert silent.log.query is None
    assert silent.users.queries == ()
    for name in ("user", "item", "time", "label", "positive", "event_id"):
        assert np.array_equal(getattr(silent.log, name), getattr(typed.log, name))
    assert silent.items.texts == typed.items.texts
    assert silent.users.texts == typed.users.texts
    query = typed.log.query
    assert query is not None
    assert 0.45 < (query >= 0).mean() < 0.55
    rows = np.flatnonzero(query >= 0)

    def share(of: Ints) -> float:
        """Of searches that have a word of the item's text."""
        texts = (set(typed.items.texts[i].lower().replace(",", "").split()) for i in of)
        words = (set(typed.users.queries[code].lower().split()) for code in query[rows])
        return float(np.mean([bool(a & b) for a, b in zip(words, texts, strict=True)]))

    own, other = share(typed.log.item[rows]), share(np.roll(typed.log.item[rows], 1))
    assert own > 1.5 * other
