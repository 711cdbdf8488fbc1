"""Matrix factorisation by Bayesian personalised ranking."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.seeding import generator, torch_seed
from coldlm.core.tables import Bools, Floats, Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known, Stopping
from coldlm.rivals.learned import WIDTH, OthersOfTheTime, batches, fit, unseen_last

BATCH, RATE, EVERY = 1024, 2e-3, 5
WARM_EPOCHS, WARM_STRENGTH = 40, 0.0
"""Of the factors that networks of texts are to match."""


class Factors(nn.Module):
    """A vector of each user and of each item, drawn by Glorot's rule."""

    def __init__(self, n_users: int, n_items: int, seed: int) -> None:
        super().__init__()
        with torch_seed(seed, "factors"):
            self.users = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_users, WIDTH)))
            self.items = nn.Parameter(nn.init.xavier_normal_(torch.empty(n_items, WIDTH)))

    def loss(self, user: Tensor, item: Tensor, other: Tensor, strength: float) -> Tensor:
        """Return minus BPR-Opt: the mean of -ln sigmoid(p_u . (q_i - q_j)) + strength / 2 (|p_u|^2 + |q_i|^2
        + |q_j|^2)."""
        p, q, r = (
            F.embedding(codes, table)
            for codes, table in ((user, self.users), (item, self.items), (other, self.items))
        )
        norms = p.square().sum(1) + q.square().sum(1) + r.square().sum(1)
        return (F.softplus(-(p * (q - r)).sum(1)) + strength / 2 * norms).mean()


def bpr(known: Known, strength: float) -> ScoreFunction:
    """Return p_u(t) . q_i, where p and q minimise the sum over events (u, i) and items j that u did not
    take of -ln sigmoid(p_u . (q_i - q_j)) + strength / 2 (|p_u|^2 + |q_i|^2 + |q_j|^2) (Rendle et al. 2009, "BPR",
    BPR-Opt and section 4.3.1).

    A user's trained vector knows nothing of the stream, so it moves with what the user takes:
    p_u(t) = p_u + W (m_u(t) - m_u), where m_u is the mean of q over what the user took of what was
    learned from, m_u(t) that over what the user had taken by t, and W the ridge regression of p on
    m. A user who is not in what was learned from begins at the mean of p and of m. Items that are not
    tie below all others.
    """
    return train_factors(known, strength)[1]


def train_factors(known: Known, strength: float) -> tuple[Factors, ScoreFunction]:
    """Return the vectors, trained, and their scores."""
    log = known.data.log
    factors = Factors(len(known.data.users), len(known.data.items), known.seed)
    others = OthersOfTheTime(known)

    def losses(epoch: int) -> Iterator[Tensor]:
        rng = generator(known.seed, "bpr", epoch)
        for rows in batches(known.positives, BATCH, rng):
            other = others.draw(rows, rng)
            rows, other = rows[other >= 0], other[other >= 0]
            if len(rows):
                user, item, negative = map(
                    torch.from_numpy, (log.user[rows], log.item[rows], other)
                )
                yield factors.loss(user, item, negative, strength)

    scorer = fit(
        known,
        factors,
        losses,
        lambda: factor_scores(known, factors),
        name="bpr",
        rate=RATE,
        every=EVERY,
    )
    return factors, scorer


def warm_factors(known: Known) -> Factors:
    """Return the vectors after so many epochs, for what learns from them; validation is not asked."""
    return train_factors(replace(known, stopping=Stopping(epochs=WARM_EPOCHS)), WARM_STRENGTH)[0]


def factor_scores(known: Known, factors: Factors) -> ScoreFunction:
    """Return the scores of the vectors as they are now."""
    p, q = (table.detach().double().numpy() for table in (factors.users, factors.items))
    scorer, seen = folded_in(known, p, q), known.seen
    return lambda users, times: unseen_last(scorer(users, times), seen)


def folded_in(known: Known, p: Floats, q: Floats) -> ScoreFunction:
    """Return p_u(t) . q_i, see ``moved_users``."""
    now, items = moved_users(known, p, q), torch.from_numpy(q.T)
    return lambda users, times: now(users, times) @ items


def moved_users(
    known: Known, p: Floats, q: Floats, among: Bools | None = None
) -> Callable[[Ints, Ints], Tensor]:
    """Return (users, times) -> [Q, D] p_u(t), users moved by what they took since what was learned
    from, as ``bpr`` says.

    Args:
        p: [U, D] of users, which mean something where they are in what was learned from. q: [N, D].
        among: [N] the items that move a user; all by default.
    """
    from sklearn.linear_model import RidgeCV

    taken = known.taken()
    size = np.asarray(taken.sum(1))[:, 0]
    old = size > 0
    mean: Floats = np.zeros_like(p)
    mean[old] = (taken @ q)[old] / size[old, None]
    moves = RidgeCV(alphas=np.logspace(-4, 2, 7)).fit(mean[old], p[old]).coef_
    begin = np.where(old[:, None], p, p[old].mean(0))
    mean[~old] = mean[old].mean(0)

    def now(users: Ints, times: Ints) -> Tensor:
        users = known.data.users.person(users)
        past = known.whole_past(users, times)
        if among is not None:
            past = past.multiply(among[None]).tocsr()
        n = np.asarray(past.sum(1))
        moved = np.where(n > 0, (past @ q) / np.maximum(n, 1), mean[users])
        return torch.from_numpy(begin[users] + (moved - mean[users]) @ moves.T)

    return now
