"""Neighbours of items, by who took them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coldlm.core.tables import Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals.known import Known


def item_knn(known: Known, neighbours: float) -> ScoreFunction:
    """Return the sum over the user's last items j of cos(i, j), where i is among the nearest
    ``neighbours`` of j: cosine of the columns of who took what (Deshpande and Karypis 2004,
    "Item-based top-N recommendation algorithms", section 4). An item that nobody had taken by then
    scores 0, and ties with all that are no neighbours."""
    from scipy.sparse import csr_matrix, diags

    taken = known.taken()
    norm = np.sqrt(np.asarray(taken.sum(0))[0])
    unit = taken @ diags(1 / np.maximum(norm, 1))
    cosine = csr_matrix(unit.T @ unit)
    cosine.setdiag(0)
    cosine.eliminate_zeros()
    nearest = _largest_of_rows(cosine, int(neighbours))

    def score(users: Ints, times: Ints) -> Tensor:
        return torch.from_numpy((known.past(users, times) @ nearest).toarray())

    return score


def _largest_of_rows(matrix: object, n: int) -> object:
    """The same matrix with the ``n`` largest values of each row."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix(matrix)
    keep = np.ones(rows.nnz, bool)
    for begin, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True):
        if end - begin > n:
            order = np.argsort(-rows.data[begin:end], kind="stable")
            keep[begin + order[n:]] = False
    rows.data[~keep] = 0
    rows.eliminate_zeros()
    return rows
