"""What networks over a user's last items share: how sequences are cut, trained and asked. Shapes: B
sequences, L places, D width, E events, M items of a batch, Q queries, N items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.seeding import generator
from coldlm.core.tables import Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.learn.batches import session_order
from coldlm.learn.negatives import Negatives, SamplingSpec
from coldlm.models.losses import SampledSoftmax
from coldlm.rivals.known import Known
from coldlm.rivals.learned import WIDTH, fit, unseen_last

BATCH = 512
"""Events of a batch, on average: sequences stay whole."""

DROPOUT = 0.5


class Sequential(nn.Module, ABC):
    """Learned vectors of items, and one of a sequence's begin behind them; a subclass says what a
    sequence is at each place."""

    def __init__(self, n_items: int) -> None:
        super().__init__()
        self.items = nn.Parameter(torch.randn(n_items + 1, WIDTH) * 0.02)

    @abstractmethod
    def states(self, inputs: Tensor) -> Tensor:
        """[B, L] item codes -> [B, L, D] what is known at each place, of it and those before."""


def fit_sequences(known: Known, network: Sequential, name: str, rate: float) -> ScoreFunction:
    """Train a network to tell each positive in ``rows`` from the other candidates of its time, given
    what its user had taken before: by our own sampled softmax, whose corrected sum is an unbiased
    estimate of the full one's. Returns the scores of the best.

    Each user's events are cut into sequences, of which the last event has ``history`` before it. What
    happens in the same second is not known to an event: it looks at the last place before.
    """
    loss = SampledSoftmax()
    wants = cast(SamplingSpec, loss)
    negatives = Negatives(known.data, known.catalogue, known.as_of, known.positives, wants)

    def losses(epoch: int) -> Iterator[Tensor]:
        rng = generator(known.seed, name, epoch)
        log = known.data.log
        rows, start = session_order(negatives.rows, log.user, known.history + 1, rng)
        n, per_batch = len(start) - 1, max(1, round(BATCH * (len(start) - 1) / max(len(rows), 1)))
        for first in range(0, n, per_batch):
            edges = start[first : first + per_batch + 1]
            part = rows[edges[0] : edges[-1]]
            draws = negatives.draw(part, rng)
            columns = np.unique(np.concatenate([log.item[part], draws]))
            share = (len(edges) - 2) / max(n - 1, 1)
            weight = negatives.log_weight(part, np.arange(len(part)), columns, draws, share)
            state = _states_before(network, log.item[part], log.time[part], edges - edges[0])
            scores = state @ F.embedding(torch.from_numpy(columns), network.items).T
            own = torch.from_numpy(np.searchsorted(columns, log.item[part]))
            label = torch.ones(len(part))
            yield loss(scores, torch.from_numpy(weight), own, label).mean()

    return fit(
        known, network, losses, lambda: _scorer(known, network), name=name, rate=rate, every=1
    )


def _states_before(network: Sequential, item: Ints, time: Ints, edges: Ints) -> Tensor:
    """[E, D] what the network knows of the sequence that each event lies in, before its second.

    Args:
        item, time: [E] of the events, sequence by sequence. edges: [B + 1] where each begins.
    """
    longest = int(np.diff(edges).max())
    inputs = np.full((len(edges) - 1, longest), len(network.items) - 1)
    last = np.empty(len(item), np.int64)
    for row, (begin, end) in enumerate(pairwise(edges)):
        inputs[row, 1 : end - begin] = item[begin : end - 1]
        last[begin:end] = row * longest + np.searchsorted(time[begin:end], time[begin:end])
    return network.states(torch.from_numpy(inputs)).flatten(0, 1)[torch.from_numpy(last)]


def _scorer(known: Known, network: Sequential) -> ScoreFunction:
    """Of the weights as they are when it is asked."""
    seen, begin = known.seen, len(known.data.items)

    def score(users: Ints, times: Ints) -> Tensor:
        history = known.as_of.history(users, times, known.history)
        n = (history >= 0).sum(1)
        inputs = np.full((len(users), known.history + 1), begin)
        for row, count in enumerate(n):
            inputs[row, 1 : count + 1] = history[row, :count][::-1]
        with torch.no_grad():
            state = network.states(torch.from_numpy(inputs))[np.arange(len(users)), n]
            return unseen_last(state @ network.items[:-1].T, seen)

    return score
