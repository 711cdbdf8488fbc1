"""What rivals that learn by steps share: the loop, the items that stand against an event, and what
becomes of items without a vector of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from math import inf

import numpy as np
import torch
from torch import Tensor, nn

from coldlm.core.progress import progress
from coldlm.core.tables import Bools, Ints
from coldlm.evaluate.baselines import centred
from coldlm.evaluate.judge import ScoreFunction, one_thread
from coldlm.rivals.known import Known

WIDTH = 64
"""Of users' and items' vectors."""

EPOCHS, PATIENCE = 200, 3
"""At most so many epochs; and how many looks at validation without a better value end them."""

TRIES = 20
"""Draws until a negative is one; an event of which all fail has none."""

Losses = Callable[[int], Iterator[Tensor]]
"""An epoch's number, from 1 -> the losses of its batches, each of the weights as they are then."""


def fit(
    known: Known,
    module: nn.Module,
    losses: Losses,
    snapshot: Callable[[], ScoreFunction],
    *,
    name: str,
    rate: float,
    every: int,
) -> ScoreFunction:
    """Lower the losses by Adam, one thread, until ``known.stopping`` says so, and leave the weights
    that were best on validation, or those of the last epoch where there is none. Returns their
    scores.

    Args:
        snapshot: gives the scores of the module's weights as they are then.
        rate: Adam's. every: so many epochs lie between two looks at validation.
    """
    stopping = known.stopping
    most = EPOCHS if stopping.epochs is None else stopping.epochs
    optimiser = torch.optim.Adam(module.parameters(), lr=rate)
    best, best_weights, looks = -inf, deepcopy(module.state_dict()), 0
    with one_thread(), progress(f"training {name}", most) as done:
        for epoch in range(1, most + 1):
            module.train()
            for loss in losses(epoch):
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            module.eval()
            if stopping.measure is None:
                done(1)
                continue
            if epoch % every == 0:
                value = stopping.measure(snapshot())
                done(every, f"{value:.4f} on validation")
                looks += 1
                if value > best:
                    best, best_weights, looks = value, deepcopy(module.state_dict()), 0
                    stopping.epochs = epoch
                if looks >= PATIENCE:
                    break
    if stopping.measure is not None:
        module.load_state_dict(best_weights)
    return snapshot()


def batches(rows: Ints, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Yield the events ``rows`` in random order, ``size`` at a time."""
    order = rng.permutation(rows)
    for first in range(0, len(order), size):
        yield order[first : first + size]


class OthersOfTheTime:
    """Draws an item for each event: one that was a candidate at the event's time and that its user
    took in none of the rows that are learned from (Rendle et al. 2009, section 3.1, as of the
    event)."""

    def __init__(self, known: Known) -> None:
        self._log, self._n = known.data.log, len(known.data.items)
        self._order: Ints = np.argsort(known.catalogue.enters_at, kind="stable")
        self._enters_at: Ints = known.catalogue.enters_at[self._order]
        self._leaves_at = known.catalogue.leaves_at
        rows = known.rows
        self._taken: Ints = np.unique(self._log.user[rows] * self._n + self._log.item[rows])

    def draw(self, rows: Ints, rng: np.random.Generator) -> Ints:
        """Return [B] items, -1 where none was found in ``TRIES`` draws."""
        log = self._log
        entered = np.searchsorted(self._enters_at, log.time[rows], side="right")
        found = np.full(len(rows), -1)
        open_ = np.flatnonzero(entered > 0)
        for _ in range(TRIES):
            if not len(open_):
                break
            item = self._order[(rng.random(len(open_)) * entered[open_]).astype(np.int64)]
            key = log.user[rows[open_]] * self._n + item
            at = np.minimum(np.searchsorted(self._taken, key), len(self._taken) - 1)
            good = (self._taken[at] != key) & (self._leaves_at[item] > log.time[rows[open_]])
            found[open_[good]] = item[good]
            open_ = open_[~good]
        return found


def spread_texts(known: Known) -> Tensor:
    """Return the items' text vectors, [N, D], centred on those that had entered and of about unit spread, as
    what goes into a tanh should be."""
    width = known.vectors.shape[1]
    found: Tensor = centred(known.vectors, known.vectors, known.known) * width**0.5
    return found


def unseen_last(scores: Tensor, seen: Bools) -> Tensor:
    """Return scores in which the items that nobody took in what was learned from, and which have no
    vector that means anything, tie below all others. [Q, N]; ``seen``: [N]."""
    others = torch.from_numpy(seen)
    lowest = scores[:, others].min(1, keepdim=True).values - 1
    return torch.where(others, scores, lowest)
