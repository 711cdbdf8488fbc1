"""Which items a batch looks at, and what each may be a negative for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coldlm.core.seeding import generator
from coldlm.learn.batches import (
    VARIANTS,
    WORD,
    Batch,
    Batches,
    EventData,
    pseudo_query,
    session_order,
)
from coldlm.models.losses import BinaryCrossEntropy, FullSoftmax, SampledSoftmax

LOSSES = {
    "sampled": SampledSoftmax(draws=5),
    "full": FullSoftmax(),
    "binary": BinaryCrossEntropy(draws=6),
}
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)

Make = Callable[..., Any]


@dataclass
class SamplingSpec:
    """A loss that is asked for nothing but the batch's own events."""

    draws: int | None = 0
    in_batch: bool = True
    corrected: bool = False
    explicit_negatives: bool = False
    negatives: str = "in_batch"
    ips: float | None = None


def _events(batches: Batches) -> list[tuple[int, Batch, int]]:
    """(row of the log, its batch, its place in there) of all events of an epoch."""
    return [
        (int(row), batch, b)
        for n, batch in enumerate(batches)
        for b, row in enumerate(batches.rows(n))
    ]


def _codes(batch: Batch) -> list[int]:
    """Item code of each column."""
    return batch.items[batch.columns].tolist()


def _weights(batch: Batch, b: int) -> dict[int, float]:
    """Item -> weight, of the columns that are negatives of event ``b``."""
    weight = batch.log_weight[b].exp().tolist()
    return {item: w for item, w in zip(_codes(batch), weight, strict=True) if w > 0}


# --- what is in a batch --------------------------------------------------------------------------------------------


@losses
def test_an_epoch_visits_every_event_once_and_points_at_its_item(small: Any, loss: Any) -> None:
    events = _events(small.batches(loss))
    expected = (
        small.rows if loss.explicit_negatives else small.rows[small.data.log.positive[small.rows]]
    )
    assert sorted(row for row, _, _ in events) == expected.tolist()
    for row, batch, b in events:
        assert _codes(batch)[batch.positive[b]] == small.data.log.item[row]
        assert batch.label[b] == small.data.log.positive[row]


def test_given_negatives_are_for_binary_cross_entropy_only(small: Any) -> None:
    labels = {
        name: torch.cat([batch.label for batch in small.batches(loss)])
        for name, loss in LOSSES.items()
    }
    assert (labels["binary"] == 0).any()
    assert labels["sampled"].all()
    assert labels["full"].all()


@losses
def test_histories_hold_positives_strictly_before_the_event(small: Any, loss: Any) -> None:
    for row, batch, b in _events(small.batches(loss)):
        known = batch.history[b][batch.history[b] >= 0]
        assert batch.items[known].tolist() == small.history(row, 3)


def test_each_item_of_a_batch_is_listed_once(small: Any) -> None:
    for batch in small.batches(LOSSES["sampled"]):
        assert len(set(batch.items.tolist())) == len(batch.items)
        assert len(set(batch.columns.tolist())) == len(batch.columns)
        used = {*batch.columns.tolist(), *batch.history[batch.history >= 0].tolist()}
        assert used == set(range(len(batch.items)))


@losses
def test_features_of_every_column_are_as_of_the_event(small: Any, loss: Any) -> None:
    for row, batch, b in _events(small.batches(loss))[::5]:
        expected = [small.features(row, item) for item in _codes(batch)]
        torch.testing.assert_close(
            batch.features[:, b].T, torch.tensor(expected), atol=1e-5, rtol=1e-4
        )


def test_what_the_head_does_not_use_is_not_made(small: Any) -> None:
    batch = small.batches(LOSSES["full"], uses_context=False)[0]
    assert batch.features.numel() == 0
    batch = small.batches(LOSSES["full"], uses_text=False, pseudo_query=1.0)[0]
    assert batch.texts == ()
    assert batch.items[batch.columns].tolist() == batch.items.tolist()


# --- texts ---------------------------------------------------------------------------------------------------------


def test_without_pseudo_queries_the_texts_are_the_users_profiles(small: Any) -> None:
    for row, batch, b in _events(small.batches(LOSSES["full"])):
        profile = small.data.users.texts[small.data.log.user[row]]
        assert (batch.texts[batch.text[b]] if batch.text[b] >= 0 else "") == profile


def test_a_pseudo_query_is_words_of_the_next_item_and_replaces_history_and_profile(
    small: Any,
) -> None:
    for row, batch, b in _events(small.batches(LOSSES["full"], pseudo_query=1.0)):
        text = small.data.items.texts[small.data.log.item[row]]
        if not text:  # nothing to ask with: the event keeps what is known of its user
            assert (batch.history[b] >= 0).sum() == len(small.history(row, 3))
            continue
        asked = batch.texts[batch.text[b]]
        assert set(WORD.findall(asked)) <= set(WORD.findall(text))
        assert (batch.history[b] == -1).all()


def test_the_share_of_pseudo_queries_is_the_recipes(small: Any) -> None:
    profiles = set(small.data.users.texts)
    texts = [
        batch.texts[k] if k >= 0 else ""
        for epoch in range(30)
        for batch in small.batches(LOSSES["full"], pseudo_query=0.3, epoch=epoch)
        for k in batch.text.tolist()
    ]
    assert abs(np.mean([text not in profiles for text in texts]) - 0.3) < 0.06


def test_an_item_has_few_pseudo_queries(small: Any) -> None:
    asked: dict[int, set[str]] = {}
    for epoch in range(20):
        for row, batch, b in _events(small.batches(LOSSES["full"], pseudo_query=1.0, epoch=epoch)):
            if small.data.items.texts[item := int(small.data.log.item[row])]:
                asked.setdefault(item, set()).add(batch.texts[batch.text[b]])
    assert 1 < max(map(len, asked.values())) <= VARIANTS


def test_a_pseudo_query_is_one_to_three_words_of_any_language() -> None:
    asked = [
        pseudo_query("Deep space, 大海的故事!", generator(0, n)).split(" ") for n in range(200)
    ]
    assert {len(words) for words in asked} == {1, 2, 3}
    assert {word for words in asked for word in words} == {"Deep", "space", "大海", "的故", "事"}
    assert pseudo_query("", generator(0)) == pseudo_query("?!", generator(0)) == ""


# --- negatives -----------------------------------------------------------------------------------------------------


@losses
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("ttl_seconds", [None, 120])
def test_only_candidates_that_the_user_has_not_met_are_negatives(
    make_small: Make, loss: Any, repeats: bool, ttl_seconds: float | None
) -> None:
    small = make_small(repeats=repeats, ttl_seconds=ttl_seconds)
    met = 0
    for row, batch, b in _events(small.batches(loss)):
        allowed = small.negatives(row)
        assert set(_weights(batch, b)) <= allowed
        met += len(set(_codes(batch)) - allowed)
    assert met > 0


def test_the_full_softmax_holds_every_candidate_with_weight_one(small: Any) -> None:
    for row, batch, b in _events(small.batches(LOSSES["full"])):
        assert _weights(batch, b) == dict.fromkeys(small.negatives(row), 1.0)


def test_events_of_one_block_are_no_negatives_of_each_other(make_small: Make) -> None:
    small = make_small(repeats=True)
    log, blocks = small.data.log, 0
    for row, batch, b in _events(small.batches(LOSSES["full"])):
        block = set(log.item[(log.user == log.user[row]) & (log.time == log.time[row])].tolist())
        assert not block & set(_weights(batch, b))
        blocks += len(block) > 1
    assert blocks > 0


def test_in_the_batch_events_of_other_users_are_drawn_as_often_as_they_stand_there(
    small: Any,
) -> None:
    log = small.data.log
    batches = small.batches(SamplingSpec())
    for n, batch in enumerate(batches):
        rows = batches.rows(n)
        for b, row in enumerate(rows):
            others = [int(log.item[r]) for r in rows if log.user[r] != log.user[row]]
            expected = {
                item: float(others.count(item)) for item in set(others) & small.negatives(row)
            }
            assert _weights(batch, b) == pytest.approx(expected)


def test_uniform_draws_are_counted_and_the_same_for_all_events(small: Any) -> None:
    for batch in small.batches(LOSSES["binary"]):
        drawn: dict[int, float] = {}
        for b in range(len(batch.label)):
            for item, weight in _weights(batch, b).items():
                assert drawn.setdefault(item, weight) == pytest.approx(weight)
        assert sum(drawn.values()) <= 6 + 1e-4
        assert all(abs(weight - round(weight)) < 1e-4 for weight in drawn.values())


# --- the correction ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wants", "session", "batch_size", "repeats"),
    [
        (SampledSoftmax(draws=2), 3, 8, False),
        (SampledSoftmax(draws=2), 3, 8, True),
        (SampledSoftmax(draws=2), 6, 12, False),
        (SampledSoftmax(draws=1), 1, 9, True),
        (SampledSoftmax(draws=40), 4, 100, False),
        (SampledSoftmax(negatives="popularity", draws=3), 3, 8, False),
        (SampledSoftmax(negatives="popularity", draws=3), 6, 12, True),
        (
            SamplingSpec(draws=12, in_batch=False, corrected=True, negatives="popularity"),
            3,
            18,
            False,
        ),
        (SamplingSpec(draws=4, in_batch=False, corrected=True, negatives="uniform"), 3, 18, False),
    ],
    ids=[
        "mixture",
        "items repeat",
        "long sessions",
        "single events",
        "one batch",
        "popularity",
        "popularity, items repeat",
        "popularity alone",
        "uniform alone",
    ],
)
def test_the_weighted_sum_over_draws_is_the_sum_over_all_candidates_on_average(
    make_small: Make, wants: Any, session: int, batch_size: int, repeats: bool
) -> None:
    """Unbiased: the mean over epochs of sum_j w_ij f(j) is sum over all allowed j of f(j), for
    events and in total."""
    small = make_small(repeats=repeats, all_positive=True)
    f = 0.2 + generator(7).random(12)
    truth = {int(row): sum(f[item] for item in small.negatives(row)) for row in small.rows}
    index = {row: i for i, row in enumerate(truth)}
    epochs = 250
    estimate = np.zeros((epochs, len(truth)))
    for epoch in range(epochs):
        batches = small.batches(
            wants,
            epoch=epoch,
            session=session,
            batch_size=batch_size,
            uses_context=False,
            uses_text=False,
        )
        for n in range(len(batches)):
            batch, rows = batches[n], batches.rows(n)
            sums = batch.log_weight.double().exp() @ torch.from_numpy(f[_codes(batch)])
            estimate[epoch, [index[int(row)] for row in rows]] = sums.numpy()
    error = estimate - np.array(list(truth.values()))
    total = error.mean(1)
    assert abs(total.mean()) < 4 * total.std() / np.sqrt(epochs) + 1e-6
    per_event = error.mean(0)
    assert (np.abs(per_event) < 4 * error.std(0) / np.sqrt(epochs) + 1e-6).all()
    # and it can fail: the standard error is small against what is estimated
    assert total.std() / np.sqrt(epochs) < 0.02 * np.mean(list(truth.values()))


# --- order ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 6), st.integers(0, 3))
def test_session_order_is_a_permutation_that_keeps_sessions(
    owners: list[int], session: int, seed: int
) -> None:
    user = np.array(owners, np.int64)
    rows = np.flatnonzero(np.arange(len(user)) % 7 != 3).astype(np.int64)
    order, start = session_order(rows, user, session, generator(seed))
    assert sorted(order.tolist()) == rows.tolist()
    assert (start[0], start[-1]) == (0, len(rows))
    for first, last in pairwise(start.tolist()):
        part = order[first:last]
        assert 1 <= len(part) <= session
        assert len(set(user[part].tolist())) == 1
        # consecutive events of that user, in time order
        own = rows[user[rows] == user[part[0]]]
        at = np.searchsorted(own, part)
        assert (np.diff(at) == 1).all()
        assert at[0] % session == 0


def test_batches_have_equally_many_sessions_and_the_asked_size_on_average(small: Any) -> None:
    for batch_size, session in ((8, 3), (5, 1), (3, 6), (1000, 4)):
        batches = small.batches(LOSSES["full"], batch_size=batch_size, session=session)
        sizes = [batch.size for batch in batches]
        assert len(sizes) == len(batches) >= 1
        assert min(sizes) > 0
        if session <= batch_size:
            assert np.mean(sizes) <= batch_size < np.mean(sizes) + batch_size
        n_sessions = [
            sum(
                -(-int(n) // session)
                for n in np.unique(small.data.log.user[batches.rows(k)], return_counts=True)[1]
            )
            for k in range(len(batches))
        ]
        if session == 1:
            assert max(n_sessions) - min(n_sessions) <= 1


def test_no_event_makes_no_batch(small: Any) -> None:
    small = type(small)(small.data, small.catalogue, small.as_of, small.rows[:0])
    assert list(small.batches(LOSSES["sampled"])) == []


def _flat(batch: Batch) -> dict[str, Any]:
    """Everything that a batch says, without its internal numbering of texts."""
    said = {f.name: getattr(batch, f.name) for f in fields(batch)}
    texts = said.pop("texts")
    said["text"] = [texts[k] if k >= 0 else "" for k in said["text"].tolist()]
    return {
        name: value.tolist() if isinstance(value, torch.Tensor) else value
        for name, value in said.items()
    }


@losses
def test_a_batch_depends_on_seed_epoch_and_number_only(small: Any, loss: Any) -> None:
    def made(n: int, **keys: Any) -> dict[str, Any]:
        return _flat(small.batches(loss, pseudo_query=0.5, **keys)[n])

    whole = [_flat(batch) for batch in small.batches(loss, pseudo_query=0.5, epoch=2)]
    assert made(1, epoch=2) == whole[1]  # asked for alone, in another order
    assert made(0, epoch=2) == whole[0]
    assert made(1, epoch=3) != whole[1]
    assert made(1, epoch=2, seed=2) != whole[1]
    assert whole[0] != whole[1]


def test_another_epoch_has_another_order(small: Any) -> None:
    rows = [
        np.concatenate([b.rows(n) for n in range(len(b))])
        for e in (0, 1)
        for b in [small.batches(LOSSES["full"], epoch=e)]
    ]
    assert rows[0].tolist() != rows[1].tolist()
    assert sorted(rows[0]) == sorted(rows[1])


def test_a_number_beyond_the_epoch_is_refused(small: Any) -> None:
    batches = small.batches(LOSSES["full"])
    for number in (-1, len(batches)):
        with pytest.raises(IndexError):
            batches[number]


@losses
@pytest.mark.parametrize("world", [2, 3])
def test_the_shares_of_all_ranks_are_the_batch(small: Any, loss: Any, world: int) -> None:
    whole = small.batches(loss, pseudo_query=0.3)
    shares = [small.batches(loss, pseudo_query=0.3, share=(rank, world)) for rank in range(world)]
    for n in range(len(whole)):
        expected, parts = _flat(whole[n]), [_flat(share[n]) for share in shares]
        for part in parts:
            assert all(part[name] == expected[name] for name in ("items", "columns", "size"))
        for name in ("positive", "history", "text", "log_weight", "label"):
            assert [x for part in parts for x in part[name]] == expected[name]
        features = np.concatenate([np.array(part["features"]) for part in parts], axis=1)
        np.testing.assert_allclose(features, np.array(expected["features"]), atol=1e-6)


@losses
def test_a_rank_may_have_no_event_of_a_small_batch(small: Any, loss: Any) -> None:
    size = len(small.batches(loss)[0].label)
    empty = small.batches(loss, share=(size, size + 1))[0]
    assert (len(empty.label), empty.size) == (0, size)
    assert empty.features.shape[1:] == empty.log_weight.shape == (0, len(empty.columns))


def test_moving_a_batch_moves_every_tensor(small: Any) -> None:
    moved = small.batches(LOSSES["full"])[0].to(torch.device("meta"))
    assert all(
        getattr(moved, f.name).is_meta
        for f in fields(moved)
        if isinstance(getattr(moved, f.name), torch.Tensor)
    )


def test_the_data_module_gives_the_first_epoch_before_a_trainer_is_there(small: Any) -> None:
    epochs = [small.batches(LOSSES["full"], epoch=epoch) for epoch in range(2)]
    assert EventData(epochs).train_dataloader() is epochs[0]
