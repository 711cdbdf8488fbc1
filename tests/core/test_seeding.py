from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from coldlm.core.seeding import derive, generator, torch_seed, uniform


def test_a_stream_is_the_same_on_every_machine() -> None:
    assert derive(0, "random", 3, 17) == 1_595_912_583_077_895_991
    assert 0 <= derive(-1, "any") < 2**63


def test_seed_and_every_name_and_their_order_matter() -> None:
    seeds = {
        derive(0, "a", "b"),
        derive(1, "a", "b"),
        derive(0, "b", "a"),
        derive(0, "ab"),
        derive(0, "a"),
        derive(0),
        derive(0, "a", "b", ""),
    }
    assert len(seeds) == 7
    assert derive(1, 23) != derive(12, 3)  # names do not run into each other


def test_generators_of_one_name_draw_the_same_and_of_another_name_do_not() -> None:
    assert np.array_equal(generator(5, "x").random(8), generator(5, "x").random(8))
    assert not np.array_equal(generator(5, "x").random(8), generator(5, "y").random(8))


def test_generators_neither_read_nor_move_global_randomness() -> None:
    np.random.seed(1)
    state, first = random.getstate(), generator(5, "x").random(8)
    before = np.random.get_state()[1].copy()
    np.random.seed(2)
    assert np.array_equal(generator(5, "x").random(8), first)
    np.random.seed(1)
    assert np.array_equal(np.random.get_state()[1], before)
    assert random.getstate() == state


def test_torch_follows_the_stream_inside_and_is_untouched_outside() -> None:
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    with torch_seed(0, "head"):
        first = torch.rand(4)
    assert torch.equal(torch.rand(4), expected)
    with torch_seed(0, "head"):
        assert torch.equal(torch.rand(4), first)
    with torch_seed(0, "strategy"):
        assert not torch.equal(torch.rand(4), first)


def test_torch_is_put_back_after_an_error_too() -> None:
    torch.manual_seed(7)
    state = torch.get_rng_state()

    def fail() -> None:
        with torch_seed(0, "head"):
            raise ValueError(float(torch.rand(1)))

    with pytest.raises(ValueError, match=r"0\."):
        fail()
    assert torch.equal(torch.get_rng_state(), state)


def test_numbers_of_codes_are_uniform() -> None:
    found = uniform(0, "probe", np.arange(100_000))
    assert 0 <= found.min() < found.max() < 1
    # 4 standard deviations of the count in each of 50 bins
    count = np.histogram(found, 50, (0, 1))[0]
    assert abs(count - 2000).max() < 4 * np.sqrt(2000)
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1]) < 0.02


def test_the_number_of_a_code_says_nothing_of_other_codes() -> None:
    """It is the same alone and among others, in any order."""
    codes = np.array([7, 3, 2**40, 7])
    found = uniform(5, "probe", codes)
    assert found[0] == found[3]
    for code, number in zip(codes, found, strict=True):
        assert uniform(5, "probe", np.array([code]))[0] == number
    assert len(uniform(5, "probe", np.zeros(0, np.int64))) == 0


def test_numbers_of_other_seeds_and_names_are_others() -> None:
    codes = np.arange(1000)
    one = uniform(0, "probe", codes)
    for other in (uniform(1, "probe", codes), uniform(0, "buffer", codes)):
        assert abs(np.corrcoef(one, other)[0, 1]) < 0.1
        assert not (one == other).any()
