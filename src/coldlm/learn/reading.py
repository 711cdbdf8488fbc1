"""What a pre-training learns from: texts alone, or users with the texts of what they took; and its batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coldlm.core.tables import Ints
from coldlm.models.backbones.objectives import TextBatch
from coldlm.text.tokens import Tokens

POOL = 32
"""Batches whose texts are sorted by length among themselves, so that little is padded."""


class Batches(Protocol):
    """An epoch."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[TextBatch]: ...


class Material(Protocol):
    """What there is to learn from, of which a share is held out. ``texts``: all that are read."""

    @property
    def texts(self) -> Sequence[str]: ...

    @property
    def what(self) -> str:
        """Return what is counted and held out, in words."""

    def __len__(self) -> int: ...

    def counts(self, tokens: Tokens, rows: Ints) -> tuple[int, int, int]:
        """Return how many texts, tokens and users ``rows`` are."""

    def batches(
        self, tokens: Tokens, rows: Ints, size: int, rng: np.random.Generator | None = None
    ) -> Batches:
        """Return ``rows``, ``size`` at a time; shuffled by ``rng``, in order without."""


@dataclass(frozen=True)
class Texts:
    """Distinct texts, alone."""

    texts: Sequence[str]
    what = "texts"

    def __len__(self) -> int:
        return len(self.texts)

    def counts(self, tokens: Tokens, rows: Ints) -> tuple[int, int, int]:
        return len(rows), int(tokens.lengths[rows].sum()), 0

    def batches(
        self, tokens: Tokens, rows: Ints, size: int, rng: np.random.Generator | None = None
    ) -> Batches:
        return TextBatches(tokens, rows, size, rng)


@dataclass(frozen=True)
class Takers:
    """Users and what they took: ``taken``, [U, M] scipy.sparse, 1 where a user took the item of a text.
    ``items``: how many of the texts a batch reads, those that its users took first."""

    texts: Sequence[str]
    taken: Any
    items: int
    what = "users who took two items or more"

    @staticmethod
    def of(users: Ints, taken: Ints, texts: Sequence[str], items: int) -> Takers:
        """Return who took two of the items that have a text, or more.

        Args:
            users, taken: [E] codes of users and of the items that they took. texts: [N].
        """
        from scipy.sparse import csr_matrix

        shape = int(users.max(initial=-1)) + 1, len(texts)
        matrix = csr_matrix((np.ones(len(users)), (users, taken)), shape)
        matrix.data[:] = 1
        read = [i for i, text in enumerate(texts) if text]
        matrix = matrix[:, read]
        many = np.flatnonzero(np.asarray(matrix.sum(1))[:, 0] >= 2)
        return Takers([texts[i] for i in read], matrix[many], items)

    def __len__(self) -> int:
        return int(self.taken.shape[0])

    def counts(self, tokens: Tokens, rows: Ints) -> tuple[int, int, int]:
        return len(self.texts), int(tokens.lengths.sum()), len(rows)

    def batches(
        self, tokens: Tokens, rows: Ints, size: int, rng: np.random.Generator | None = None
    ) -> Batches:
        return TakerBatches(tokens, self.taken, rows, size, self.items, rng)


class TextBatches:
    """Batches of ``size`` of the texts ``rows``, of about one length each; shuffled by ``rng``, in
    order without."""

    def __init__(
        self, tokens: Tokens, rows: Ints, size: int, rng: np.random.Generator | None = None
    ) -> None:
        self._tokens = tokens
        order = rows if rng is None else rng.permutation(rows)
        pools = [order[i : i + POOL * size] for i in range(0, len(order), POOL * size)]
        sorted_pools = [pool[np.argsort(tokens.lengths[pool], kind="stable")] for pool in pools]
        self._batches = [
            pool[i : i + size] for pool in sorted_pools for i in range(0, len(pool), size)
        ]
        if rng is not None:
            self._batches = [self._batches[i] for i in rng.permutation(len(self._batches))]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[TextBatch]:
        for rows in self._batches:
            yield TextBatch(*_padded(self._tokens, rows))


class TakerBatches:
    """Batches of ``size`` of the users ``rows`` and ``items`` of the texts: drawn among those that they
    took, and where these are fewer, filled with others; short texts first."""

    def __init__(
        self,
        tokens: Tokens,
        taken: Any,
        rows: Ints,
        size: int,
        items: int,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._tokens, self._taken = tokens, taken
        order = rows if rng is None else rng.permutation(rows)
        draw = np.random.default_rng(0) if rng is None else rng
        self._batches = [
            (users, _short_first(tokens, _of_users(taken, users, items, draw)))
            for users in (order[i : i + size] for i in range(0, len(order), size))
        ]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[TextBatch]:
        for users, items in self._batches:
            taken = torch.from_numpy(self._taken[users][:, items].toarray()).float()
            yield TextBatch(*_padded(self._tokens, items), taken)


def _of_users(taken: Any, users: Ints, items: int, rng: np.random.Generator) -> Ints:
    """So many of the items, those that the users took first; ascending."""
    theirs = np.unique(taken[users].indices)
    if len(theirs) > items:
        return np.sort(rng.choice(theirs, items, replace=False))
    others = np.setdiff1d(np.arange(taken.shape[1]), theirs)
    more = rng.choice(others, min(items - len(theirs), len(others)), replace=False)
    return np.sort(np.concatenate([theirs, more]))


def _short_first(tokens: Tokens, rows: Ints) -> Ints:
    return rows[np.argsort(tokens.lengths[rows], kind="stable")]


def _padded(tokens: Tokens, rows: Ints) -> tuple[Tensor, Tensor]:
    """``ids`` and ``mask`` of a ``TextBatch``."""
    start, lengths = tokens.start[rows], tokens.lengths[rows]
    column = np.arange(lengths.max())
    mask = column < lengths[:, None]
    ids = tokens.ids[np.where(mask, start[:, None] + column, 0)] * mask
    return torch.from_numpy(ids), torch.from_numpy(mask)
