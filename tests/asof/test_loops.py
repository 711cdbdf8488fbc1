"""What is compiled says what numpy and torch say, and equal items are equal wherever they lie."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coldlm.asof import loops
from coldlm.asof.context import FEATURES, AsOf, Moments
from coldlm.core.compiled import SWITCH
from coldlm.core.tables import DAY, Dataset, Ints, sorted_log
from coldlm.models.parts.fusion import ContextNetwork

MakeData = Callable[..., Dataset]

codes = st.integers(0, 3)
event_lists = st.lists(
    st.tuples(codes, codes, st.integers(0, 40), st.booleans()), min_size=1, max_size=30
)
time_lists = st.lists(st.integers(0, 45), max_size=8).map(lambda at: np.array(at, np.int64))


def _network(inputs: int = len(FEATURES)) -> ContextNetwork:
    network = ContextNetwork(inputs, 5)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(generator=draw)
    return network


def _large(n_items: int = 700, slot: int = 0) -> AsOf:
    """Items by the thousand events, some of them with none."""
    rng = np.random.default_rng(0)
    item = rng.integers(0, n_items, 3000) // 3 * 3
    log = sorted_log(
        rng.integers(0, 9, 3000), item, rng.integers(0, 90 * DAY, 3000), np.ones(3000), item >= 0
    )
    enters_at = rng.integers(0, 60 * DAY, n_items)
    return AsOf(log, 9, n_items, enters_at, (1.0, 7.0, 30.0), enters_at + slot)


@given(events=event_lists, at=time_lists, slot=st.integers(0, 20), half_life=st.integers(0, 2))
def test_logarithms_of_decayed_counts_are_those_of_numpy(
    make_data: MakeData,
    events: list[tuple[int, int, int, bool]],
    at: Ints,
    slot: int,
    half_life: int,
) -> None:
    data = make_data(events, users=4, items=4)
    enters_at = np.arange(4)
    as_of = AsOf(data.log, 4, 4, enters_at, data.half_lives_days, enters_at + slot)
    with pytest.MonkeyPatch.context() as patch:
        compiled = as_of.log_decayed_counts(at, half_life)
        patch.setenv(SWITCH, "0")
        plain = as_of.log_decayed_counts(at, half_life)
    assert compiled.shape == plain.shape
    assert np.array_equal(compiled, plain)


@given(events=event_lists, at=time_lists, slot=st.integers(0, 20))
def test_counts_are_those_of_numpy(
    make_data: MakeData, events: list[tuple[int, int, int, bool]], at: Ints, slot: int
) -> None:
    data = make_data(events, users=4, items=4)
    enters_at = np.arange(4)
    as_of = AsOf(data.log, 4, 4, enters_at, data.half_lives_days, enters_at + slot)
    with pytest.MonkeyPatch.context() as patch:
        compiled = as_of.counts(at)
        patch.setenv(SWITCH, "0")
        assert np.array_equal(compiled, as_of.counts(at))


@pytest.mark.parametrize("slot", [0, 5 * DAY])
@pytest.mark.parametrize("beside", [False, True])
@torch.no_grad()
def test_a_network_is_that_over_the_features(slot: int, beside: bool) -> None:
    as_of = _large(slot=slot)
    times = np.random.default_rng(1).integers(0, 100 * DAY, 40)
    times[7:9] = times[3]  # at one time, and in no order
    more = torch.randn(40, generator=torch.Generator().manual_seed(2)) if beside else None
    network = _network(len(FEATURES) + beside)
    planes = torch.from_numpy(as_of.features(times, np.arange(700)))
    expected, found = network(planes, more), network(Moments(as_of, times), more)
    assert found.shape == (40, 700)
    assert float((expected - found).abs().max()) < 2e-6 * float(expected.abs().max())
    assert network(Moments(as_of, times[:0]), None if more is None else more[:0]).shape == (0, 700)


@torch.no_grad()
def test_equal_items_have_equal_scores_wherever_they_lie() -> None:
    one = np.ones(1)
    log = sorted_log(*(np.zeros(1, np.int64) for _ in range(3)), one, one < 1)  # not a positive one
    as_of = AsOf(log, 1, 1001, np.zeros(1001, np.int64), (1.0, 7.0, 30.0))
    found = _network()(Moments(as_of, np.array([3 * DAY, 50 * DAY])))
    assert [len(row.unique()) for row in found] == [1, 1]


def test_a_row_does_not_depend_on_the_memory_of_those_beside_it() -> None:
    as_of, times = _large(), np.array([80, 20, 50]) * DAY
    weights = [p.detach().numpy() for p in _network().parameters()]
    inner, bias, outer, level = weights[0], weights[1], weights[2][0], float(weights[3][0])

    def scores(at: Ints) -> NDArray[np.float32]:
        out = np.zeros((len(at), 700), np.float32)
        as_of.add_network(out, at, inner, np.tile(bias, (len(at), 1)), outer, level)
        return out

    alone = np.concatenate([scores(times[[i]]) for i in range(3)])
    np.testing.assert_allclose(scores(times), alone, rtol=1e-5, atol=1e-5)


def test_the_logarithm_is_that_of_the_library() -> None:
    numbers = np.concatenate([1 + np.geomspace(1e-7, 1e9, 5000), [1.0]]).astype(np.float32)
    found = np.array([loops.log(x) for x in numbers])
    exact = np.log(numbers.astype(np.float64))
    assert found[-1] == 0
    assert np.abs(found - exact).max() < 2e-6
    assert (np.abs(found - exact)[1:] <= 2e-7 * np.maximum(exact[1:], 1e-3)).all()
