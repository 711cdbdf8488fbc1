"""Vectors of items and of their texts that are told from those of others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coldlm.core.seeding import generator, torch_seed
from coldlm.evaluate.baselines import centred
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.bpr import Factors, folded_in
from coldlm.rivals.known import Known
from coldlm.rivals.learned import WIDTH, OthersOfTheTime, batches, fit

BATCH, RATE, HIDDEN, NEGATIVES = 512, 3e-3, 128, 16
TEMPERATURE, REPLACED = 0.2, 0.5
"""Of cosines; and the share of events whose items are looked at by their texts."""


def clcrec(known: Known, weight: float) -> ScoreFunction:
    """Return p_u(t) . z_i by Wei et al. 2021, "Contrastive learning for cold-start recommendation": the factors p
    and q of users and items and a network g of text vectors x minimise

        weight * contrast(q_i, g(x_i) against g(x_j)) + (1 - weight) * contrast(p_u, z_i against z_j),

    each minus the logarithm of a softmax over the event's item and drawn items j, of cosines / .2 in the first
    and of products in the second; z is g(x) for a random half of the events, and q for the others.

    z_i is q_i for an item that somebody took in what was learned from, else g(x_i): its text tells where it
    would lie. Users move with what they take, as in ``bpr``.
    """
    log, others = known.data.log, OthersOfTheTime(known)
    texts = centred(known.vectors, known.vectors, known.known)
    sizes = len(known.data.users), len(known.data.items)
    model = _Model(*sizes, texts.shape[1], known.seed)

    def losses(epoch: int) -> Iterator[Tensor]:
        rng = generator(known.seed, "clcrec", epoch)
        for rows in batches(known.positives, BATCH, rng):
            drawn = others.draw(np.repeat(rows, NEGATIVES), rng).reshape(len(rows), -1)
            codes = torch.from_numpy(np.concatenate([log.item[rows][:, None], drawn], 1))
            items, none = codes.clamp(min=0), codes < 0
            distinct, place = np.unique(items.numpy(), return_inverse=True)
            by_text = model.network(texts[distinct])[place.reshape(items.shape)]
            by_events = F.embedding(items, model.factors.items)
            user = F.embedding(torch.from_numpy(log.user[rows]), model.factors.users)
            z = torch.where(
                torch.from_numpy(rng.random((len(rows), 1, 1)) < REPLACED), by_text, by_events
            )
            alike = F.cosine_similarity(by_events[:, :1], by_text, dim=2) / TEMPERATURE
            liked = (user[:, None] * z).sum(2)
            yield weight * _contrast(alike, none) + (1 - weight) * _contrast(liked, none)

    def snapshot() -> ScoreFunction:
        seen = torch.from_numpy(known.seen)[:, None]
        with torch.no_grad():
            z = torch.where(seen, model.factors.items, model.network(texts))
        return folded_in(known, model.factors.users.detach().double().numpy(), z.double().numpy())

    return fit(known, model, losses, snapshot, name="clcrec", rate=RATE, every=3)


class _Model(nn.Module):
    """Vectors by events, and of texts."""

    def __init__(self, n_users: int, n_items: int, width: int, seed: int) -> None:
        super().__init__()
        self.factors = Factors(n_users, n_items, seed)
        with torch_seed(seed, "clcrec"):
            self.network = nn.Sequential(
                nn.Linear(width, HIDDEN), nn.LeakyReLU(), nn.Linear(HIDDEN, WIDTH)
            )


def _contrast(scores: Tensor, none: Tensor) -> Tensor:
    """Minus the mean logarithm of the first column's share in a softmax of those that are not ``none``. [B, 1 +
    S] both."""
    return -F.log_softmax(scores.masked_fill(none, -torch.inf), 1)[:, 0].mean()
