"""Factors of items, or what several small networks make of their texts, in each other's place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from coldlm.core.seeding import generator, torch_seed
from coldlm.core.tables import Bools, Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.bpr import moved_users, warm_factors
from coldlm.rivals.known import Known
from coldlm.rivals.learned import WIDTH, OthersOfTheTime, batches, fit, spread_texts

BATCH, RATE, HIDDEN, NEGATIVES, EXPERTS = 1024, 1e-3, 128, 5, 5
REPLACED = 0.5
"""The share of pairs whose item is looked at by its text."""


def heater(known: Known, likeness: float) -> ScoreFunction:
    """Return f_U(p_u(t)) . f_V(z_i) by Zhu et al. 2020, "Recommendation for new users and new items via randomized
    training and mixture-of-experts transformation" (Heater): given factors p and q of users and
    items, learned before, networks f and a mixture of experts of text vectors x,

        g(x) = sum over k of tanh(a_k . x + b_k) tanh(W_k x + c_k),

    minimise (f_U(p_u) . f_V(z) - y)^2 + likeness |g(x_i) - q_i|^2, averaged over events (y = 1) and five
    drawn items each (y = 0); z is g(x_i) for a random half of the pairs (randomized training) and
    q_i for the others; the second term is the similarity constraint.

    z_i is q_i for an item that somebody took in what was learned from, else g(x_i). The factors are
    those of ``bpr``, each of their dimensions at mean 0 and spread 1, and users move with what they take
    as there. Simpler than the paper's: users are no mixture of experts, as no text of theirs is read;
    g has no tanh around the sum, f one hidden layer without batch normalisation, and it stops on validation
    instead of a norm.
    """
    factors, log, others = warm_factors(known), known.data.log, OthersOfTheTime(known)
    took: Bools = np.asarray(known.taken().sum(1))[:, 0] > 0
    users, items = _standard(factors.users, took), _standard(factors.items, known.seen)
    texts = spread_texts(known)
    with torch_seed(known.seed, "heater"):
        model = _Model(texts.shape[1])

    def losses(epoch: int) -> Iterator[Tensor]:
        rng = generator(known.seed, "heater", epoch)
        for rows in batches(known.positives, BATCH, rng):
            other = others.draw(np.repeat(rows, NEGATIVES), rng)
            item = torch.from_numpy(np.concatenate([log.item[rows], other[other >= 0]]))
            pair = np.concatenate([rows, np.repeat(rows, NEGATIVES)[other >= 0]])
            y = (torch.arange(len(pair)) < len(rows)).float()
            distinct, place = np.unique(item.numpy(), return_inverse=True)
            by_text, by_events = model.mixture(texts[distinct])[place], items[item]
            text = torch.from_numpy(rng.random((len(pair), 1)) < REPLACED)
            z = torch.where(text, by_text, by_events)
            user = users[torch.from_numpy(log.user[pair])]
            score = (model.users(user) * model.items(z)).sum(1)
            # a drawn item may be one that nobody took: it has no factors to be like
            taken = torch.from_numpy(known.seen)[item]
            unlike = (by_text - by_events)[taken].square().sum(1).mean()
            yield (score - y).square().mean() + likeness * unlike

    def snapshot() -> ScoreFunction:
        with torch.no_grad():
            by_text = model.mixture(texts)
            z = torch.where(torch.from_numpy(known.seen)[:, None], items, by_text)
            vectors = model.items(z).T
        now = moved_users(known, users.double().numpy(), z.double().numpy())

        @torch.no_grad()
        def score(codes: Ints, times: Ints) -> Tensor:
            found: Tensor = model.users(now(codes, times).float()) @ vectors
            return found

        return score

    return fit(known, model, losses, snapshot, name="heater", rate=RATE, every=3)


def _standard(table: Tensor, trained: Bools) -> Tensor:
    """The rows of a table, [n, D], at mean 0 and spread 1 in those that were ``trained``, [n]."""
    of = table.detach()[torch.from_numpy(trained)]
    spread = of.std(0, correction=0).clamp(min=1e-9)
    found: Tensor = (table.detach() - of.mean(0)) / spread
    return found


class _Model(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mixture = _Mixture(width)
        self.users, self.items = (
            nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH))
            for _ in range(2)
        )


class _Mixture(nn.Module):
    """[n, D] text vectors -> [n, WIDTH], each expert weighed by a gate of its own."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Linear(width, EXPERTS)
        self.experts = nn.Linear(width, EXPERTS * WIDTH)

    def forward(self, texts: Tensor) -> Tensor:
        said = torch.tanh(self.experts(texts)).reshape(-1, EXPERTS, WIDTH)
        found: Tensor = (torch.tanh(self.gates(texts))[:, :, None] * said).sum(1)
        return found
