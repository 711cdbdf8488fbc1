"""What a stream tells, recounted the long way."""

from __future__ import annotations

import itertools
import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from coldlm.core.columns import WARMUP_EDGES
from coldlm.evaluate import continual as c

W = 4


@pytest.fixture
def probes() -> pl.DataFrame:
    """nDCG of the version at the end of each window on each part, drawn; the first row is that of
    the weights before the stream, measured twice."""
    draw = np.random.default_rng(1)
    r = draw.random((W, W + 1))
    rows = [
        {"window": i, "version": max(i, 0), "part": j - 1, "value": r[max(i, 0), j], "n_queries": 3}
        for i in range(-1, W)
        for j in range(W + 1)
    ]
    return pl.DataFrame(rows)


def test_the_matrix_has_a_row_per_window_and_validation_first(probes: pl.DataFrame) -> None:
    r = c.matrix(probes)
    assert r.shape == (W, W + 1)
    for i, j in itertools.product(range(W), range(W + 1)):
        (value,) = probes.filter(window=i, part=j - 1)["value"].to_list()
        assert r[i, j] == value
    assert np.isnan(c.matrix(probes.filter(pl.col("part") != 2))[:, 3]).all()
    assert c.matrix(probes.clear()).shape == (0, 1)


def test_averages_and_transfers_are_their_sums(probes: pl.DataFrame) -> None:
    r = c.matrix(probes)
    retained = learned = backward = forward = lost = least = 0.0
    for j in range(W):
        retained += r[W - 1][j] / W
        learned += r[j][j] / W
    for j in range(W - 1):
        backward += (r[W - 1][j] - r[j][j]) / (W - 1)
        best = max(r[i][j] for i in range(j, W - 1))
        lost += (best - r[W - 1][j]) / (W - 1)
        least += min(r[i][j] for i in range(j + 1, W)) / (W - 1)
    for j in range(2, W + 1):
        forward += (r[j - 1][j] - r[0][j]) / (W - 1)
    assert c.average(r) == pytest.approx(retained)
    assert c.learned_average(r) == pytest.approx(learned)
    assert c.backward_transfer(r) == pytest.approx(backward)
    assert c.forward_transfer(r) == pytest.approx(forward)
    assert c.forgetting(r) == pytest.approx(lost)
    assert c.minimum(r) == pytest.approx(least)
    assert c.harmonic(retained, learned) == pytest.approx(2 / (1 / retained + 1 / learned))
    assert c.intransigence(r, r + 0.1) == pytest.approx(0.1)


def test_weights_that_stand_neither_forget_nor_transfer() -> None:
    r = np.tile(np.random.default_rng(0).random(W + 1), (W, 1))
    assert c.backward_transfer(r) == c.forward_transfer(r) == c.forgetting(r) == 0
    assert c.minimum(r) == pytest.approx(r[0, : W - 1].mean())


def test_one_window_has_no_transfer_and_no_forgetting() -> None:
    r = np.array([[0.2, 0.4]])
    assert (c.average(r), c.learned_average(r)) == (0.2, 0.2)
    for measure in (c.backward_transfer, c.forward_transfer, c.forgetting, c.minimum):
        assert math.isnan(measure(r))
    assert c.harmonic(0.0, 0.0) == 0


def test_a_gap_is_a_fall_of_the_probe_at_an_update() -> None:
    before, after = np.array([0.5, 0.4, 0.6, np.nan]), np.array([0.4, 0.5, 0.3, 0.1])
    assert c.stability_gap(before, after) == pytest.approx(((0.1 + 0 + 0.3) / 3, 0.3))
    assert c.stability_gap(before[:0], after[:0]) == (0.0, 0.0)


def test_area_by_cost_is_the_integral_of_the_steps() -> None:
    value, spent = np.array([0.1, 0.3, 0.2]), np.array([0.0, 2.0, 5.0])
    seconds = np.linspace(0, 10, 100_000, endpoint=False)
    q = [value[max(k for k in range(3) if spent[k] <= s)] for s in seconds[::100]]
    assert c.area_by_cost(value, spent, 10.0) == pytest.approx(np.mean(q), abs=1e-3)
    assert c.area_by_cost(value, spent, 4.0) == pytest.approx((0.1 * 2 + 0.3 * 2) / 4)
    assert c.area_by_cost(value[:1], spent[:1], 10.0) == pytest.approx(0.1)
    assert c.area_by_cost(value, spent, 0.0) == 0.2


def test_time_to_quality_is_the_first_bucket_that_reaches_the_goal() -> None:
    n_item = np.array([0, 0, 1, 2, 4, 7, 60, 70])
    is_new = np.array([1, 1, 1, 1, 1, 1, 0, 0])
    value = np.array([0.0, 0.1, 0.2, 0.2, 0.5, 0.1, 0.4, 0.6])
    for share in (0.1, 0.4, 0.5, 0.9, 1.0):
        goal, first = share * 0.5, math.inf
        for low, high in itertools.pairwise([*WARMUP_EDGES, 10**9]):
            there = [v for n, v, new in zip(n_item, value, is_new, strict=True) if new and low <= n < high]  # fmt: skip
            if there and sum(there) / len(there) >= goal:
                first = low
                break
        assert c.time_to_quality(n_item, value, is_new, share) == first
    assert c.time_to_quality(n_item, value, is_new, 2.0) == math.inf
    assert math.isnan(c.time_to_quality(n_item, value, is_new * 0, 0.5))


def _series(events: pl.DataFrame, updates: pl.DataFrame, points: int) -> pl.DataFrame:
    """One stretch behind the other."""
    ends = c.ends_of_stretches(events.height, points).tolist()
    stretches = pairwise([0, *ends])
    return pl.concat(
        c.stretch(events.slice(begin, end - begin), updates, point, end)
        for point, (begin, end) in enumerate(stretches)
    )


def test_a_series_cuts_the_stream_into_equal_stretches_by_age() -> None:
    n = 23
    draw = np.random.default_rng(2)
    events = pl.DataFrame(
        {
            "time": np.arange(n) * 10,
            "version": np.arange(n) // 6,
            "cohort": draw.choice(["warm_warm", "cold_item", "cold_both", "cold_user"], n),
            "n_item": draw.integers(0, 12, n),
            "ndcg": draw.random(n),
        }
    )
    updates = pl.DataFrame({"version": [1, 1, 2, 3], "seconds": [2.0, 1.0, 4.0, 8.0]})
    found = _series(events, updates, points=5)
    for (point,), rows in found.group_by("point"):
        inside = [i for i in range(n) if i * 5 // n == point]
        assert set(rows["seen"]) == {inside[-1] + 1}
        assert set(rows["time"]) == {inside[-1] * 10}
        # version 1 was tried again when it had been there: what that cost is the next one's
        assert set(rows["spent"]) == {[0.0, 2.0, 7.0, 15.0][inside[-1] // 6]}
        for row in rows.iter_rows(named=True):
            kept = []
            for i in inside:
                cold = events["cohort"][i] in ("cold_item", "cold_both")
                age = "old" if not cold else "cold" if events["n_item"][i] < c.WARM else "warmed"
                if row["age"] in ("all", age):
                    kept.append(events["ndcg"][i])
            assert row["n"] == len(kept)
            assert row["ndcg"] == pytest.approx(sum(kept) / len(kept))
    assert len(c.ends_of_stretches(0)) == 0
    assert c.ends_of_stretches(n).tolist() == list(range(1, n + 1))  # no more than positives


def test_a_summary_leaves_out_what_cannot_be_measured(probes: pl.DataFrame) -> None:
    n = 40
    events = pl.DataFrame(
        {
            "cohort": ["warm_warm"] * 30 + ["cold_item"] * 10,
            "n_item": [50] * 30 + [0] * 10,
            "n_user": [3] * 30 + [9] * 10,
            "ndcg": [0.5] * 30 + [0.0] * 10,
            "staleness": np.arange(n),
            "staleness_seconds": np.arange(n) * 60,
        }
    )
    updates = pl.DataFrame(
        {"probe_before": [0.5], "probe_after": [0.4], "seconds": [3.0], "rolled_back": [True]}
    )
    found = c.summary(events, updates, probes, 12.0, 5.0)
    assert found["update_share"] == 0.25
    assert (found["updates"], found["rolled_back"]) == (1, 1)
    assert found["staleness_seconds_p50"] == pytest.approx(19.5 * 60)
    assert found["item_events_to_80%"] is None
    assert "user_events_to_80%" not in found  # nobody is new
    cold = events.with_columns(cohort=pl.col("cohort").replace("cold_item", "cold_user"))
    served = cold.with_columns(ndcg=pl.lit(0.5))
    assert c.summary(served, updates, probes, 12.0, 5.0)["user_events_to_80%"] == 5
    assert found["forgetting"] == pytest.approx(c.forgetting(c.matrix(probes)))
    warm = c.summary(events[:30], updates, probes.clear(), 12.0, 5.0)
    assert "item_events_to_80%" not in warm
    assert "forgetting" not in warm
    nothing = c.summary(events.clear(), updates, probes, 12.0, 5.0)
    assert {"staleness_p50", "item_events_to_50%"}.isdisjoint(nothing)
