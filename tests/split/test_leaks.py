from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import FEATURES, AsOf
from coldlm.core.tables import (
    DAY,
    STREAM,
    TRAIN,
    UNKNOWN,
    VALIDATION,
    Dataset,
    Ints,
    Items,
    Log,
    Split,
    Users,
    sorted_log,
)
from coldlm.data.simulated import load
from coldlm.evaluate.baselines import WORD, TfIdf
from coldlm.split import cuts
from coldlm.split.leaks import late_idf, meter, release_facts, selection_facts
from coldlm.split.queries import ask, trainable

MakeData = Callable[..., Dataset]
CLEAN = {
    "late_training": 0,
    "early_candidates": 0,
    "future_history": 0,
    "future_counts": 0,
}
DATED = {**CLEAN, "late_texts": 0}
"""Of texts that say when they were written; of others nobody can know."""


@pytest.fixture(scope="module", params=["field", "after_first", "repeats"])
def data(request: pytest.FixtureRequest) -> Dataset:
    data = load(users=40, items=80, events=700, repeats=request.param == "repeats")
    if request.param == "field":
        return data
    return replace(
        data, items=replace(data.items, released_at=np.full(80, UNKNOWN)), release="after_first"
    )


def _as_of(data: Dataset, log: Log | None = None) -> AsOf:
    log = data.log if log is None else log
    return AsOf(
        log, len(data.users), len(data.items), Catalogue(data).enters_at, data.half_lives_days
    )


def _meter(
    data: Dataset,
    *,
    rows: Ints | None = None,
    as_of: AsOf | None = None,
    catalogue: Catalogue | None = None,
    split: Split | None = None,
) -> dict[str, int]:
    """The meter on clean objects, but for those given."""
    split = split or cuts.time(data.log)
    clean = Catalogue(data)
    catalogue = catalogue or clean
    queries = ask(data.log, catalogue, split.rows(STREAM), split.edges)
    rows = trainable(data.log, clean, split.rows(TRAIN, VALIDATION)) if rows is None else rows
    return meter(data, split, queries, rows, as_of or _as_of(data), catalogue, sample=40)


def test_the_meter_is_zero_on_clean_objects(data: Dataset) -> None:
    assert _meter(data) == CLEAN


def test_a_training_row_of_the_stream_is_caught(data: Dataset) -> None:
    n_past = int(cuts.time(data.log).rows(STREAM)[0])
    assert _meter(data, rows=np.array([0, n_past - 1])) == CLEAN
    assert _meter(data, rows=np.array([0, n_past - 1, n_past, len(data.log) - 1])) == {
        **CLEAN,
        "late_training": 2,
    }


def test_items_let_in_before_their_release_are_caught(data: Dataset) -> None:
    early = Catalogue(data)
    early.enters_at = early.enters_at - 5 * 86_400
    found = _meter(data, catalogue=early)
    assert found["early_candidates"] > 0
    assert {**found, "early_candidates": 0} == CLEAN


def test_items_released_at_their_own_first_event_are_caught(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 0, 20), (0, 1, 30), (1, 2, 40), (1, 1, 50)])
    naive = Catalogue(data)
    naive.enters_at = naive.first_event
    split = Split("time", 15, 25, np.array([0, 1, 2, 2, 2], np.int8), np.array([25, 60]))
    # item 1 at 30 and item 2 at 40 are known by nothing but the very event that is asked
    assert _meter(data, catalogue=naive, split=split) == {**CLEAN, "early_candidates": 2}
    assert _meter(data, split=split) == CLEAN


def test_texts_newer_than_the_query_are_caught(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 1, 20), (0, 1, 30), (1, 0, 30)], released={0: 0, 1: 0})
    split = Split("time", 15, 25, np.array([0, 1, 2, 2], np.int8), np.array([25, 31]))
    # both queries at 30 have one candidate each, of which item 1 has a text that was made at 30
    assert _meter(replace(data, text_known_at=np.array([29, 29])), split=split) == DATED
    assert _meter(replace(data, text_known_at=np.array([29, 30])), split=split) == {
        **DATED,
        "late_texts": 1,
    }


@pytest.mark.parametrize("leaky", [cuts.loo, cuts.random])
def test_a_split_that_trains_on_the_future_is_caught(
    data: Dataset, leaky: Callable[[Log], Split]
) -> None:
    found = _meter(data, split=leaky(data.log))
    assert found["late_training"] > 100
    assert {**found, "late_training": 0} == CLEAN


def test_a_memory_that_runs_ahead_is_caught_in_histories_and_counts(data: Dataset) -> None:
    found = _meter(data, as_of=_as_of(data, replace(data.log, time=data.log.time - 1000)))
    assert found["future_history"] > 0
    assert found["future_counts"] > 0
    assert found["late_training"] == found["early_candidates"] == 0


def test_a_history_that_holds_the_asked_repeat_itself_is_caught(make_data: MakeData) -> None:
    data = make_data(
        [(0, 0, 10), (1, 1, 15), (0, 0, 20), (0, 0, 30)], repeats=True, released={0: 0, 1: 0}
    )
    prefetch = _as_of(data, replace(data.log, time=data.log.time - 1))
    split = Split("time", 11, 25, np.array([0, 1, 1, 2], np.int8), np.array([25, 31]))
    # at 30 the user had item 0 twice; the third is the event that is asked, and looks like the
    # other two
    assert _meter(data, as_of=prefetch, split=split)["future_history"] == 1
    assert _meter(data, split=split) == CLEAN


def test_a_text_that_was_written_later_is_caught(data: Dataset) -> None:
    split, catalogue = cuts.time(data.log), Catalogue(data)
    written = data.log.time[split.rows(STREAM)]

    def texts_as_of(times: Ints, until: Ints) -> tuple[tuple[str, ...], Ints]:
        """Every item gets a tag at every event of the stream."""
        at = np.searchsorted(written, times)
        return tuple(f"{n} tags" for n in at), np.where(at > 0, written[np.maximum(at, 1) - 1], 0)

    tagged = replace(data, texts_as_of=texts_as_of)
    assert (
        _meter(
            tagged.with_texts_as_of(
                np.maximum(catalogue.enters_at, split.t_val), catalogue.enters_at
            )
        )
        == DATED
    )
    found = _meter(tagged.with_texts_as_of(np.full(len(data.items), UNKNOWN), catalogue.enters_at))
    assert found["late_texts"] > 0
    assert {**found, "late_texts": 0} == DATED


class _LeakyFeatures(AsOf):
    """Counts and histories are honest, but one plane of the context is that of a second later."""

    plane = 0

    def features(self, times: Ints, items: Ints) -> NDArray[np.float32]:
        honest = super().features(times, items)
        honest[self.plane] = super().features(times + 1, items)[self.plane]
        return honest


@pytest.mark.parametrize(
    "plane", [FEATURES.index(name) for name in ("fast", "medium", "slow", "count")]
)
def test_context_that_has_seen_the_asked_event_is_caught(data: Dataset, plane: int) -> None:
    leaky = _LeakyFeatures(
        data.log, len(data.users), len(data.items), Catalogue(data).enters_at, data.half_lives_days
    )
    leaky.plane = plane
    found = _meter(data, as_of=leaky)
    assert found["future_counts"] > 0
    assert {**found, "future_counts": 0} == CLEAN


def test_a_first_event_that_is_known_before_it_happens_is_caught(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (1, 0, 20), (0, 1, 30)], released={0: 0, 1: 0})
    leaky = _LeakyFeatures(data.log, 2, 2, Catalogue(data).enters_at, data.half_lives_days)
    leaky.plane = FEATURES.index("is_new")
    split = Split("time", 15, 25, np.array([0, 1, 2], np.int8), np.array([25, 31]))
    assert _meter(data, as_of=leaky, split=split) == {**CLEAN, "future_counts": 1}
    assert _meter(data, split=split) == CLEAN


class _LeakyCounts(AsOf):
    """What the popularity baseline reads is that of a second later."""

    def counts(self, times: Ints) -> NDArray[np.float32]:
        return super().counts(times + 1)


class _LeakyDecay(AsOf):
    """What the recent popularity baseline reads at its fastest half-life is that of a second
    later."""

    def decayed_counts(self, times: Ints, half_life: int) -> NDArray[np.float32]:
        return super().decayed_counts(times + (half_life == 0), half_life)


@pytest.mark.parametrize("kind", [_LeakyCounts, _LeakyDecay])
def test_popularity_that_has_seen_the_asked_event_is_caught(
    data: Dataset, kind: type[AsOf]
) -> None:
    leaky = kind(
        data.log, len(data.users), len(data.items), Catalogue(data).enters_at, data.half_lives_days
    )
    assert _meter(data, as_of=leaky)["future_counts"] > 0


def test_a_smaller_sample_recounts_fewer_queries_and_the_seed_says_which(data: Dataset) -> None:
    early = Catalogue(data)
    early.enters_at = np.zeros_like(early.enters_at)
    split = cuts.time(data.log)
    queries = ask(data.log, early, split.rows(STREAM), split.edges)
    rows, as_of = np.arange(3), _as_of(data)

    def found(sample: int, seed: int) -> int:
        return meter(data, split, queries, rows, as_of, early, sample=sample, seed=seed)[
            "early_candidates"
        ]

    assert found(0, 0) == 0
    assert 0 < found(2, 0) < found(100, 0)
    assert found(2, 0) == found(2, 0)


def test_the_meter_changes_nothing(data: Dataset) -> None:
    before = copy.deepcopy(data.log)
    _meter(data)
    for name in before.__dataclass_fields__:
        assert np.array_equal(getattr(before, name), getattr(data.log, name))


def test_a_first_text_of_a_later_slot_is_caught_and_that_of_the_entry_slot_is_not(
    data: Dataset,
) -> None:
    split = cuts.time(data.log)
    late, slot = int(data.log.time[split.rows(STREAM)][-1]), 3600
    gridded = replace(data, slot=slot, release="grid", text_known_at=np.full(len(data.items), late))
    catalogue = Catalogue(gridded)
    found = _meter(gridded, catalogue=catalogue)["late_texts"]
    here = replace(
        gridded,
        text_known_at=np.where(
            catalogue.enters_at < UNKNOWN, (catalogue.enters_at // slot + 1) * slot - 1, 0
        ),
    )
    assert found > 0
    assert _meter(here, catalogue=catalogue)["late_texts"] == 0


def _late_idf(
    data: Dataset, known_until: int | None = None, fitted_on: Dataset | None = None
) -> int:
    """The meter's count over a TF-IDF, by default over a clean one."""
    split, catalogue = cuts.time(data.log), Catalogue(data)
    until = split.t_test if known_until is None else known_until
    tfidf = TfIdf(fitted_on or data, catalogue, _as_of(data), 20, until)
    return late_idf(data, split, catalogue, tfidf.idf, WORD.findall)


def test_document_frequencies_of_the_past_are_clean_and_of_one_later_text_are_not(
    data: Dataset,
) -> None:
    assert _late_idf(data) == 0
    later = np.sort(Catalogue(data).enters_at)
    next_one = int(later[later > cuts.time(data.log).t_test][0])
    assert _late_idf(data, next_one) > 0
    assert _late_idf(data, UNKNOWN) > 0


def test_document_frequencies_of_texts_written_later_are_caught(data: Dataset) -> None:
    """The items are known, but what is written of one of them is not."""
    t_test = cuts.time(data.log).t_test
    known = int(np.flatnonzero(Catalogue(data).enters_at < t_test)[0])
    made = np.zeros(len(data.items), np.int64)
    made[known] = t_test
    assert _late_idf(replace(data, text_known_at=made - 1)) == 0
    assert _late_idf(replace(data, text_known_at=made)) > 0
    texts = tuple("sold out" if i == known else text for i, text in enumerate(data.items.texts))
    assert _late_idf(data, fitted_on=replace(data, items=replace(data.items, texts=texts))) > 0


def test_on_a_grid_document_frequencies_may_know_the_slot_of_the_cut_and_no_more(
    data: Dataset,
) -> None:
    if data.release == "field":
        return
    slot = 7 * 86_400
    gridded = replace(data, slot=slot, release="grid")
    t_test = cuts.time(data.log).t_test
    assert _late_idf(gridded) == 0
    assert _late_idf(gridded, (t_test // slot + 1) * slot - 1) == 0
    assert _late_idf(gridded, (t_test // slot + 1) * slot) > 0


def test_where_no_text_is_known_there_is_no_document_frequency(make_data: MakeData) -> None:
    data = make_data(
        [(0, 0, 10), (1, 0, 20), (0, 0, 30), (1, 1, 40)], texts=["", "word"], repeats=True
    )
    split, catalogue = cuts.time(data.log, train=0.5, validation=0.25, windows=1), Catalogue(data)
    tfidf = TfIdf(data, catalogue, _as_of(data), 20, split.t_test)
    assert tfidf.idf == {}
    assert late_idf(data, split, catalogue, tfidf.idf, WORD.findall) == 0


@given(st.integers(0, 1000))
def test_release_facts_are_shares_of_items_and_of_events(seed: int) -> None:
    draw = np.random.default_rng(seed)
    n, m = 40, 12
    time, item = np.sort(draw.integers(0, 9, n)), draw.integers(0, m, n)
    released = draw.choice([UNKNOWN, 2, 4, 6, 8], m)
    ids = tuple(map(str, range(m)))
    data = Dataset(
        "toy", "toy", Items(ids, ids, ids, released), Users(("u",), ("",)),
        sorted_log(np.zeros(n, np.int64), item, time, np.ones(n), np.ones(n, bool)),
        False, "field", (1.0, 2.0, 3.0),
    )  # fmt: skip
    first = {i: min(time[item == i]) for i in set(item.tolist())}
    told = [i for i in first if released[i] != UNKNOWN and released[i] > time[0]]
    events = [(i, t) for i, t in zip(item, time, strict=True) if released[i] != UNKNOWN]
    facts = release_facts(data)
    at = [first[i] == released[i] for i in told]
    assert facts["at_release"] == (pytest.approx(np.mean(at)) if told else None)
    early = [t < released[i] for i, t in events]
    assert facts["before_release"] == (pytest.approx(np.mean(early)) if events else None)


def test_a_release_made_of_first_events_is_told_from_people_who_like_fresh_items() -> None:
    data = load(users=60, items=200, events=3000)
    honest = release_facts(data)
    assert honest["at_release"] is not None
    assert honest["at_release"] < 0.05
    assert honest["before_release"] == 0
    first = np.full(len(data.items), UNKNOWN)
    np.minimum.at(first, data.log.item, data.log.time)
    made = replace(data, items=replace(data.items, released_at=first))
    assert release_facts(made)["at_release"] == 1
    late = replace(data, items=replace(data.items, released_at=first + 10 * DAY))
    found = release_facts(late)["before_release"]
    assert found is not None
    assert found > 0.1


def test_who_is_kept_for_what_came_later_is_told_by_the_fewest_events(make_data: MakeData) -> None:
    events = [(0, 0, 10), (0, 1, 20), (1, 0, 30), (1, 1, 40), (2, 1, 50)]
    # items that nobody takes were chosen by nobody
    assert selection_facts(make_data(events, items=5)) == {"least_of_item": 2, "least_of_user": 1}
    core = [(user, item, 10 * user + item) for user in range(6) for item in range(5)]
    assert selection_facts(make_data(core)) == {"least_of_item": 6, "least_of_user": 5}
