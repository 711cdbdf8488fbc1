"""Vectors of users and items, smoothed over the graph of who took what."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from coldlm.core.seeding import generator
from coldlm.core.tables import Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.bpr import Factors
from coldlm.rivals.known import Known
from coldlm.rivals.learned import OthersOfTheTime, batches, fit, unseen_last

LAYERS, BATCH, EVERY = 3, 2048, 2
STRENGTH = 1e-4


def lightgcn(known: Known, rate: float) -> ScoreFunction:
    """Return e_u(t) . e_i by He et al. 2020, "LightGCN": e = mean over layers k = 0 to 3 of e^(k), where e_u^(k+1) =
    sum over the items i of u of e_i^(k) / sqrt(|N_u| |N_i|), e_i^(k+1) likewise (eq. 3 and 4), and e^(0) are learned
    by BPR with .0001 / 2 times their squared norms (eq. 15), at Adam's ``rate``.

    Items and their layers are those of what was learned from. A query's user is placed in that graph
    as of its time: N_u is what the user had taken by then, among the items of the graph, and e_u^(0)
    the user's own, or the mean of all for who is not in what was learned from. Items that are not
    tie below all others.
    """
    log, n_users = known.data.log, len(known.data.users)
    factors = Factors(n_users, len(known.data.items), known.seed)
    graph, others = _graph(known), OthersOfTheTime(known)

    def losses(epoch: int) -> Iterator[Tensor]:
        rng = generator(known.seed, "lightgcn", epoch)
        for rows in batches(known.positives, BATCH, rng):
            other = others.draw(rows, rng)
            rows, other = rows[other >= 0], other[other >= 0]
            if not len(rows):
                continue
            smooth = torch.stack(_layers(graph, factors)).mean(0)
            triple = [
                torch.from_numpy(codes)
                for codes in (log.user[rows], n_users + log.item[rows], n_users + other)
            ]
            p, q, r = (F.embedding(codes, smooth) for codes in triple)
            first = torch.cat([factors.users, factors.items])
            norms = F.embedding(torch.stack(triple), first).square().sum((0, 2))
            yield (F.softplus(-(p * (q - r)).sum(1)) + STRENGTH / 2 * norms).mean()

    return fit(
        known,
        factors,
        losses,
        lambda: _scorer(known, factors, graph),
        name="lightgcn",
        rate=rate,
        every=EVERY,
    )


def _graph(known: Known) -> Tensor:
    """[U + N, U + N] sparse, symmetric: 1 / sqrt(|N_u| |N_i|) where a user took an item."""
    from scipy.sparse import bmat, csr_matrix, diags

    taken = known.taken()
    whole = csr_matrix(bmat([[None, taken], [taken.T, None]]))
    scale = diags(1 / np.sqrt(np.maximum(np.asarray(whole.sum(1))[:, 0], 1)))
    normed = (scale @ whole @ scale).tocoo()
    where = torch.from_numpy(np.stack([normed.row, normed.col]).astype(np.int64))
    values = torch.from_numpy(normed.data.astype(np.float32))
    return torch.sparse_coo_tensor(where, values, normed.shape, check_invariants=True).coalesce()


def _layers(graph: Tensor, factors: Factors) -> list[Tensor]:
    """[U + N, D] of each layer."""
    layers = [torch.cat([factors.users, factors.items])]
    for _ in range(LAYERS):
        layers.append(torch.sparse.mm(graph, layers[-1]))
    return layers


def _scorer(known: Known, factors: Factors, graph: Tensor) -> ScoreFunction:
    """Of the weights as they are."""
    seen, n_users = known.seen, len(known.data.users)
    taken = known.taken()
    size = np.asarray(taken.sum(0))[0]
    with torch.no_grad():
        layers = [layer.double().numpy() for layer in _layers(graph, factors)]
    items = torch.from_numpy(np.mean([layer[n_users:] for layer in layers], axis=0).T)
    # what an item of the graph sends to a user, over all layers but the last
    sent = sum(layer[n_users:] for layer in layers[:-1]) / np.sqrt(np.maximum(size, 1))[:, None]
    old = np.asarray(taken.sum(1))[:, 0] > 0
    own = np.where(old[:, None], layers[0][:n_users], layers[0][:n_users][old].mean(0))

    def score(users: Ints, times: Ints) -> Tensor:
        users = known.data.users.person(users)
        past = known.whole_past(users, times).multiply(seen[None]).tocsr()
        n = np.maximum(np.asarray(past.sum(1)), 1)
        user = (own[users] + (past @ sent) / np.sqrt(n)) / (LAYERS + 1)
        return unseen_last(torch.from_numpy(user) @ items, seen)

    return score
