"""Popular, in-batch and shown negatives, and the weight of an event. Items 0 to 11 of the small
crowded world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from coldlm.core.errors import DataError
from coldlm.core.seeding import generator
from coldlm.core.tables import Impressions
from coldlm.learn.batches import Batch
from coldlm.learn.negatives import Negatives
from coldlm.models.losses import BPR, BinaryCrossEntropy, FullSoftmax, InfoNCE, SampledSoftmax

Show = Callable[..., Impressions]


def _events(batches: Any) -> list[tuple[int, Batch, int]]:
    return [
        (int(row), batch, b)
        for n, batch in enumerate(batches)
        for b, row in enumerate(batches.rows(n))
    ]


def _weights(batch: Batch, b: int) -> dict[int, float]:
    """Item -> w_ij, of the columns that are negatives of event ``b``."""
    codes = batch.items[batch.columns].tolist()
    return {i: w for i, w in zip(codes, batch.log_weight[b].exp().tolist(), strict=True) if w > 0}


def _popularity(small: Any, row: int) -> dict[int, float]:
    """Item -> chance of a draw as of the event: 1 + its events before, over the sum of the same
    (plain loops)."""
    log, now = small.data.log, small.data.log.time[row]
    taken = [
        int(i) for i, t, p in zip(log.item, log.time, log.positive, strict=True) if p and t < now
    ]
    # every item enters at some time of the epoch
    return {
        item: (taken.count(item) + 1) / (len(taken) + len(small.data.items)) for item in range(12)
    }


def _sampler(small: Any, wants: Any) -> Negatives:
    return Negatives(small.data, small.catalogue, small.as_of, small.rows, wants)


@pytest.mark.parametrize(
    "loss", [BPR(negatives="popularity", draws=5), SampledSoftmax(negatives="popularity", draws=5)]
)
def test_popular_draws_obey_the_rules_of_all_negatives(small: Any, loss: Any) -> None:
    for row, batch, b in _events(small.batches(loss)):
        assert set(_weights(batch, b)) <= small.negatives(row)


def test_draws_follow_the_mean_of_the_popularity_as_of_each_event(small: Any) -> None:
    sampler, rng = _sampler(small, BPR(negatives="popularity", draws=60_000)), generator(3)
    positives = small.rows[small.data.log.positive[small.rows]]
    expected = np.mean([list(_popularity(small, row).values()) for row in positives], axis=0)
    got = np.bincount(sampler.draw(small.rows[:2], rng), minlength=12) / 60_000
    np.testing.assert_allclose(got, expected, atol=5 * np.sqrt(expected.max() / 60_000))
    assert np.ptp(expected) > 0.05  # and it is far from uniform


def test_a_loss_without_correction_sees_popularity_as_of_its_own_event(small: Any) -> None:
    """On average over epochs, w_ij is draws x the item's share of the events before t_i, however it
    was drawn."""
    epochs, seen = 300, dict[int, list[np.ndarray]]()
    for epoch in range(epochs):
        loss = BPR(negatives="popularity", draws=4)
        for row, batch, b in _events(
            small.batches(loss, epoch=epoch, uses_text=False, uses_context=False)
        ):
            weights = np.zeros(12)
            weights[list(_weights(batch, b))] = list(_weights(batch, b).values())
            seen.setdefault(row, []).append(weights)
    uniform = []
    for row, weights in seen.items():
        mean, error = np.mean(weights, 0), np.std(weights, 0) / np.sqrt(epochs)
        allowed = [item in small.negatives(row) for item in range(12)]
        expected = 4 * np.array(list(_popularity(small, row).values())) * allowed
        assert (np.abs(mean - expected) <= 5 * error).all()
        uniform.append((np.abs(mean - 4 / 12 * np.array(allowed)) > 5 * error).any())
    assert np.mean(uniform) > 0.5  # and it can fail: most events are far from uniform draws


@pytest.mark.parametrize(
    "loss", [BPR(negatives="in_batch"), BinaryCrossEntropy(negatives="in_batch"), InfoNCE()]
)
def test_in_the_batch_nothing_is_drawn(small: Any, loss: Any) -> None:
    log, batches = small.data.log, small.batches(loss)
    for n, batch in enumerate(batches):
        rows = batches.rows(n)
        assert set(batch.items[batch.columns].tolist()) == set(log.item[rows].tolist())
        for b, row in enumerate(rows):
            others = [int(log.item[r]) for r in rows if log.user[r] != log.user[row]]
            expected = {
                item: float(others.count(item)) for item in set(others) & small.negatives(row)
            }
            assert _weights(batch, b) == pytest.approx(expected)


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(small: Any, show_blocks: Callable[..., Impressions]) -> Any:
    """The small world with a list for every block, in which item 11 is shown too, long before its
    release."""
    lists = show_blocks(small.data)
    start = lists.start + np.arange(len(lists) + 1)
    item, clicked = (
        np.insert(lists.item, lists.start[1:], 11),
        np.insert(lists.clicked, lists.start[1:], False),
    )
    return replace(
        small,
        data=replace(
            small.data, impressions=Impressions(lists.user, lists.time, start, item, clicked)
        ),
    )


@pytest.mark.parametrize("loss", [SampledSoftmax(negatives="given"), BPR(negatives="given")])
def test_given_negatives_are_what_the_events_own_list_showed_besides(
    listed: Any, loss: Any
) -> None:
    lists, log = listed.data.impressions, listed.data.log
    events, before_release = _events(listed.batches(loss)), 0
    of_block = {
        (int(u), int(t)): n for n, (u, t) in enumerate(zip(lists.user, lists.time, strict=True))
    }
    for row, batch, b in events:
        one = lists.slice(n := of_block[int(log.user[row]), int(log.time[row])], n + 1)
        assert log.item[row] in one.item[one.clicked]
        met = {
            int(log.item[e])
            for e in range(len(log))
            if log.user[e] == log.user[row] and log.time[e] <= log.time[row]
        }
        assert _weights(batch, b) == dict.fromkeys(set(one.item[~one.clicked].tolist()) - met, 1.0)
        before_release += len(set(_weights(batch, b)) - listed.negatives(row))
    assert before_release > 0  # what is shown is released, whatever the catalogue says


def test_events_that_no_list_shows_are_left_out(listed: Any) -> None:
    lists, log = listed.data.impressions, listed.data.log
    clicked = {
        pair
        for pair, n in zip(zip(lists.user, lists.time, strict=True), lists.n_clicked, strict=True)
        if n
    }
    rows = [row for row, *_ in _events(listed.batches(SampledSoftmax(negatives="given")))]
    positives = [int(row) for row in listed.rows if log.positive[row]]
    assert sorted(rows) == [row for row in positives if (log.user[row], log.time[row]) in clicked]
    assert 0 < len(rows) < len(positives)


def test_lists_that_are_not_there_are_an_error(small: Any) -> None:
    with pytest.raises(DataError, match="toy holds no lists as shown; use negatives=uniform"):
        small.batches(SampledSoftmax(negatives="given"))


# --- weights of events ------------------------------------------------------------------------------------------------


def test_without_propensities_every_event_weighs_one(small: Any) -> None:
    assert all(
        batch.weight.tolist() == [1.0] * len(batch.label) for batch in small.batches(FullSoftmax())
    )


@pytest.mark.parametrize("ips", [0.05, 0.5])
def test_an_event_weighs_by_the_inverse_propensity_of_its_item_as_of_its_time(
    small: Any, ips: float
) -> None:
    log, clipped = small.data.log, 0
    batches = small.batches(FullSoftmax(ips=ips))
    for n, batch in enumerate(batches):
        inverse = []
        for row in batches.rows(n):
            taken = log.item[log.positive & (log.time < log.time[row])].tolist()
            most = max((taken.count(item) for item in set(taken)), default=0)
            propensity = ((taken.count(log.item[row]) + 1) / (most + 1)) ** 0.5
            clipped += propensity < ips
            inverse.append(1 / max(propensity, ips))
        torch.testing.assert_close(
            batch.weight, torch.tensor(inverse) / np.mean(inverse), check_dtype=False
        )
    assert (clipped > 0) == (ips == 0.5)


def test_ranks_share_the_weights_of_the_whole_batch(small: Any) -> None:
    whole = small.batches(FullSoftmax(ips=0.1))[0].weight
    shares = [small.batches(FullSoftmax(ips=0.1), share=(rank, 2))[0].weight for rank in (0, 1)]
    assert torch.equal(torch.cat(shares), whole)
    assert float(whole.mean()) == pytest.approx(1, abs=1e-6)
