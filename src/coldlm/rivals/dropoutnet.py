"""Items by text and by who took them, of which the second may be missing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from coldlm.core.seeding import generator, torch_seed
from coldlm.core.tables import Ints
from coldlm.evaluate.baselines import centred
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.bpr import warm_factors
from coldlm.rivals.known import Known
from coldlm.rivals.learned import WIDTH, OthersOfTheTime, batches, fit

HIDDEN, BATCH, RATE = 128, 512, 1e-3


def dropoutnet(known: Known, dropout: float) -> ScoreFunction:
    """Return f_U(V_u(t), X_u(t)) . f_V(V_i, X_i) by Volkovs et al. 2017, "DropoutNet": networks f of what is
    preferred, V, and of what is written, X, that minimise (U_u . V_i - f_U . f_V)^2 over events and as many
    drawn items (eq. 2), where V_i, and V_u, are 0 for a share of ``dropout`` of the pairs (eq. 3). U and V are the
    factors of ``bpr``, X text vectors.

    V_u(t) and X_u(t) are the means over the user's last items as of the query (the user transform, eq.
    5), in training as of the event, so that a trained user is no other than a new one. V_i is 0 for items
    that nobody took in what was learned from.
    """
    factors = warm_factors(known)
    items = factors.items.detach() * torch.from_numpy(known.seen)[:, None]
    preferred = items / items.norm(dim=1).mean().clamp(min=1e-9)
    written = centred(known.vectors, known.vectors, known.known)
    log, others = known.data.log, OthersOfTheTime(known)
    target = factors.users.detach(), items
    with torch_seed(known.seed, "dropoutnet"):
        networks = _Networks(written.shape[1])

        def losses(epoch: int) -> Iterator[Tensor]:
            rng = generator(known.seed, "dropoutnet", epoch)
            for rows in batches(known.positives, BATCH, rng):
                other = others.draw(rows, rng)
                item = torch.from_numpy(np.concatenate([log.item[rows], other[other >= 0]]))
                rows = np.concatenate([rows, rows[other >= 0]])
                user = torch.from_numpy(log.user[rows])
                past = _means(known, log.user[rows], log.time[rows], preferred, written)
                kept = torch.from_numpy(rng.random((2, len(rows), 1)) >= dropout)
                got = networks.users(past[0] * kept[0], past[1]) * networks.items(
                    preferred[item] * kept[1], written[item]
                )
                wanted = (target[0][user] * target[1][item]).sum(1)
                yield (got.sum(1) - wanted).square().mean()

        def snapshot() -> ScoreFunction:
            with torch.no_grad():
                vectors = networks.items(preferred, written).T

            def score(users: Ints, times: Ints) -> Tensor:
                with torch.no_grad():
                    past = _means(known, users, times, preferred, written)
                    found: Tensor = networks.users(*past) @ vectors
                return found

            return score

        return fit(known, networks, losses, snapshot, name="dropoutnet", rate=RATE, every=3)


class _Networks(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.users, self.items = _Network(width), _Network(width)


class _Network(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(WIDTH + width, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, WIDTH)
        )

    def forward(self, preferred: Tensor, written: Tensor) -> Tensor:
        found: Tensor = self.layers(torch.cat([preferred, written], 1))
        return found


def _means(known: Known, users: Ints, times: Ints, *vectors: Tensor) -> list[Tensor]:
    """[Q, D] of each of ``vectors``, [N, D]: the mean over each user's last items before each time, 0
    for who has none."""
    past = known.past(users, times)
    n = np.maximum(np.asarray(past.sum(1)), 1)
    return [torch.from_numpy((past @ table.numpy() / n).astype(np.float32)) for table in vectors]
