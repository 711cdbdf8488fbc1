"""What an update moved: who rose, who fell in a list."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from coldlm.experiment.version import Question, Version, best

TOP, TOLD = 20, 5
"""Items of a list that are looked at, and of them so many that are told."""

Move = tuple[str, str, int, int]
"""Item, title, and the rank before and after, from 1."""


@dataclass(frozen=True)
class Moves:
    """The items that moved ``up`` and ``down``, farthest first."""

    up: list[Move] = field(default_factory=list)
    down: list[Move] = field(default_factory=list)


def moved(before: Version, after: Version, asked: Question) -> Moves:
    """Return what stands elsewhere in the list of ``asked`` under the weights ``after``, by what is
    known now; of the items that are among the first ``TOP`` before or after."""
    old, new = (best(*version.score(asked)) for version in (before, after))
    ranks = np.zeros((2, len(after.world.catalogue)), np.int64)
    for rank, order in zip(ranks, (old, new), strict=True):
        rank[order] = np.arange(1, len(order) + 1)
    seen = np.union1d(old[:TOP], new[:TOP])
    gain = ranks[0, seen] - ranks[1, seen]
    items, order = after.world.data.items, seen[np.argsort(-gain, kind="stable")].tolist()
    told = [(items.ids[i], items.titles[i], *map(int, ranks[:, i])) for i in order]
    return Moves(
        [move for move in told[:TOLD] if move[2] > move[3]],
        [move for move in told[: -1 - TOLD : -1] if move[2] < move[3]],
    )
