"""Texts that go on behind one prompt, laid side by side as a single sequence in which beginnings that
they share are there once.

Shapes: n texts, T tokens of one, E of all that stand behind different beginnings, R of these that
others follow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from coldlm.core.tables import Bools, Ints


@dataclass(frozen=True)
class Forest:
    """Texts as trees of tokens, each of which sees its own beginning alone (Miao et al. 2024,
    SpecInfer, section 4.2: tree attention).

    ``ids``: [R] int64 tokens to be read; the last of a text need not be. ``depth``: [R] int64 how many
    of its text stand before each. ``sees``: [R, R] whether the second is the first, or before it.
    ``said``: [E] int64 tokens, and ``behind``: [E] int64 where in ``ids`` each is said, -1 for at
    once. ``text``, ``edge``: [sum of T] int64 pairs of a text, 0 to n - 1, and a token that it says, 0
    to E - 1.
    """

    ids: Ints
    depth: Ints
    sees: Bools
    said: Ints
    behind: Ints
    text: Ints
    edge: Ints

    @staticmethod
    def of(texts: Sequence[Sequence[int]]) -> Forest:
        """Return the forest of token sequences."""
        edges: dict[
            tuple[int, int], int
        ] = {}  # (the edge before, -1 for none; token) -> its number
        edge = []
        for tokens in texts:
            last = -1
            for token in tokens:
                last = edges.setdefault((last, token), len(edges))
                edge.append(last)
        parent, said = np.array(list(edges), np.int64).reshape(-1, 2).T
        followed = np.unique(parent[parent >= 0])
        place = np.full(len(said) + 1, -1)  # the last of them is what stands before a first token
        place[followed] = np.arange(len(followed))
        above, sees = np.arange(len(followed)), np.zeros((len(followed),) * 2, bool)
        while (here := above >= 0).any():
            sees[here, above[here]] = True
            above = np.where(here, place[parent[followed[above]]], -1)
        return Forest(
            ids=said[followed],
            depth=sees.sum(1) - 1,
            sees=sees,
            said=said,
            behind=place[parent],
            text=np.repeat(np.arange(len(texts)), [len(tokens) for tokens in texts]),
            edge=np.array(edge, np.int64),
        )


def forests(texts: Sequence[Sequence[int]], size: int) -> Iterator[tuple[Ints, Forest]]:
    """Yield (numbers of texts, their forest), of about ``size`` tokens each; texts that begin alike
    stand together."""
    order = np.array(sorted(range(len(texts)), key=lambda number: list(texts[number])), np.int64)
    length = np.array([len(texts[number]) for number in order], np.int64)
    parts = -(-int(length.sum()) // size)
    part = (length.cumsum() - length) * parts // max(int(length.sum()), 1)
    for number in np.unique(part):
        here = order[part == number]
        yield here, Forest.of([texts[text] for text in here])
