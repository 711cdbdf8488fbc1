"""The head without training, by hand: vectors in a plane, so that every cosine can be read off."""

from __future__ import annotations

import torch

from coldlm.models.zero_shot import ZeroShot


def test_scores_are_sums_of_centred_cosines() -> None:
    head = ZeroShot(2, history=2)
    head.standardise(torch.tensor([[0.0, 0.0], [2.0, 2.0]]))
    assert head.centre.tolist() == [1.0, 1.0]
    # seen from (1, 1): east, north, west, north-east
    side = head.items(torch.tensor([[4.0, 1.0], [1.0, 9.0], [0.0, 1.0], [3.0, 3.0]]))
    text = head.items(torch.tensor([[0.0, 1.0]])).vector.expand(3, 2)
    past = torch.tensor([[0, 1], [0, 0], [0, 0]])
    known = torch.tensor([[True, True], [True, False], [False, False]])
    users = head.users(side.vector[past], known, text, torch.tensor([False, True, False]))
    half = 2**-0.5
    expected = [
        [1, 1, -1, 2 * half],  # east and north
        [0, 0, 0, 0],  # east, and a text that says west
        [0, 0, 0, 0],  # nothing: every item ties
    ]
    torch.testing.assert_close(
        head.score(users, side, None), torch.tensor(expected, dtype=torch.float32)
    )


def test_nothing_trains() -> None:
    assert not list(ZeroShot(2).parameters())
