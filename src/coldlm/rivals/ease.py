"""The linear model of items by items."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coldlm.core.tables import Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known


def ease(known: Known, strength: float) -> ScoreFunction:
    """Return x B of the user's last items x, where B minimises |X - X B|^2 + strength |B|^2 with nothing
    on its diagonal: B_ij = -P_ij / P_jj for i != j, P = (X'X + strength I)^-1 (Steck 2019,
    "Embarrassingly shallow autoencoders for sparse data", eq. 8), X who took what. Items that nobody
    had taken by then have no column in X: they score 0."""
    taken = known.taken()
    old = np.flatnonzero(np.asarray(taken.sum(0))[0] > 0)
    x = taken[:, old]
    gram = torch.from_numpy((x.T @ x).toarray())
    gram.diagonal().add_(strength)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    weights = -inverse / inverse.diagonal()
    weights.fill_diagonal_(0)

    def score(users: Ints, times: Ints) -> Tensor:
        scores = torch.zeros(len(users), len(known.data.items), dtype=torch.float64)
        past = torch.from_numpy(known.past(users, times)[:, old].toarray())
        scores[:, torch.from_numpy(old)] = past @ weights
        return scores

    return score
