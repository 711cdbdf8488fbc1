"""Texts side by side as one sequence: shared beginnings are there once, and each sees its own."""

from __future__ import annotations

import numpy as np
import pytest

from coldlm.text.forest import Forest, forests

END = 0
TEXTS = [[5, 6, 7, END], [5, 6, END], [8, END], [5, 6, 7, END], [END], [8, 6, END]]


def unfold(forest: Forest) -> list[list[tuple[int, list[int]]]]:
    """What each text says, token by token, and all that the token has seen by then."""
    told: list[list[tuple[int, list[int]]]] = [[] for _ in range(int(forest.text.max()) + 1)]
    for text, edge in zip(forest.text, forest.edge, strict=True):
        place = forest.behind[edge]
        seen = np.flatnonzero(forest.sees[place]) if place >= 0 else np.zeros(0, int)
        in_order = seen[np.argsort(forest.depth[seen])]
        told[text].append((int(forest.said[edge]), forest.ids[in_order].tolist()))
    return told


def test_each_token_is_said_behind_its_own_beginning() -> None:
    forest = Forest.of(TEXTS)
    assert unfold(forest) == [
        [(token, text[:place]) for place, token in enumerate(text)] for text in TEXTS
    ]
    # 5 6 7 and 8 6: no end is read, and nothing twice
    assert sorted(forest.ids.tolist()) == [5, 6, 6, 7, 8]
    assert len(forest.said) == 5 + len({tuple(text) for text in TEXTS})


def test_the_end_of_one_text_may_be_the_middle_of_another() -> None:
    texts = [[1, END], [1, END, 2, END]]
    assert unfold(Forest.of(texts)) == [
        [(token, text[:place]) for place, token in enumerate(text)] for text in texts
    ]


@pytest.mark.parametrize("size", [1, 4, 9, 100])
def test_every_text_is_in_one_forest(size: int) -> None:
    parts = list(forests(TEXTS, size))
    assert sorted(np.concatenate([place for place, _ in parts])) == list(range(len(TEXTS)))
    assert len(parts) == {1: 6, 4: 5, 9: 2, 100: 1}[size]
    for place, forest in parts:
        assert [[token for token, _ in said] for said in unfold(forest)] == [
            TEXTS[text] for text in place
        ]
    assert list(forests([], size)) == []
