"""Replay: new events beside a few old ones from a buffer of a fixed size."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np

from coldlm.core.columns import Count, Range
from coldlm.core.seeding import generator, uniform
from coldlm.core.tables import Floats, Ints
from coldlm.online.data import Past, Policy

Keep = Literal["reservoir", "recency", "per_user", "per_item", "popularity", "herding"]


class Replay(Policy):
    """What is new, and old events drawn from a buffer without repetition.

    Args:
        keep: who stays in the buffer when it is full:

            reservoir    everybody alike: a uniform sample of what was seen (Vitter 1985)
            recency      the latest
            per_user     the latest of each user, equally many where there are so many
            per_item     the same of each item
            popularity   by chance in proportion to the item's events so far (Efraimidis and
                         Spirakis 2006, algorithm A)
            herding      of each item, in proportion to its events, those whose users' vectors have
                         together the mean nearest to that of all its users (Welling 2009; ADER: Mi
                         et al. 2020, section 3.2)
        size: events of the buffer.
        share: of the old ones in what an update learns from.
    """

    def __init__(
        self,
        *,
        keep: Keep = "reservoir",
        size: Count = 2000,
        share: Annotated[float, Range(0, 0.95)] = 0.5,
    ) -> None:
        super().__init__()
        self._keep, self._size, self._share = keep, size, share

    def choose(self, past: Past) -> Ints:
        """Return the new rows and those drawn from the buffer, which has the new ones afterwards."""
        buffer = self.memory.get("buffer")
        if buffer is None:
            buffer = self._kept(np.arange(past.learned), past)
        wanted = round(self._share / (1 - self._share) * len(past.new))
        draw = generator(past.seed, "replay", past.number)
        old = buffer[draw.permutation(len(buffer))[:wanted]]
        self.memory["buffer"] = self._kept(np.concatenate([buffer, past.new]), past)
        return np.union1d(past.new, old)

    def _kept(self, rows: Ints, past: Past) -> Ints:
        """Those of ``rows`` that stay, ascending."""
        if len(rows) <= self._size:
            return rows
        if self._keep == "herding":
            return np.sort(_herd(rows, past, self._size))
        return np.sort(rows[np.argsort(-self._worth(rows, past), kind="stable")[: self._size]])

    def _worth(self, rows: Ints, past: Past) -> Floats:
        """[E] the larger, the longer a row stays; of a row alone, or of it among ``rows``."""
        if self._keep == "recency":
            return rows.astype(np.float64)
        if self._keep == "per_user":
            return -_from_newest(past.log.user[rows]).astype(np.float64)
        if self._keep == "per_item":
            return -_from_newest(past.log.item[rows]).astype(np.float64)
        chance = uniform(past.seed, "buffer", rows)
        if self._keep == "reservoir":
            return chance
        # ln(u) / w orders as u ^ (1 / w)
        weight = np.bincount(past.log.item[: past.visible])[past.log.item[rows]]
        worth: Floats = np.log(np.maximum(chance, 1e-300)) / weight
        return worth


def _from_newest(code: Ints) -> Ints:
    """[E] how many rows of the same code stand behind each one."""
    n = len(code)
    order = np.argsort(code[::-1], kind="stable")
    grouped = code[::-1][order]
    first = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    rank = np.arange(n) - np.repeat(first, np.diff(np.r_[first, n]))
    out = np.empty(n, np.int64)
    out[order] = rank
    return out[::-1]


def _herd(rows: Ints, past: Past, size: int) -> Ints:
    vectors = past.users(rows)
    item = past.log.item[rows]
    order = np.argsort(item, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(item[order])) + 1)
    # the largest remainders get the places that whole shares leave
    share = np.array([len(group) for group in groups]) * size / len(rows)
    quota = np.floor(share).astype(np.int64)
    quota[np.argsort(quota - share, kind="stable")[: size - quota.sum()]] += 1
    picked = [g[_nearest_mean(vectors[g], int(q))] for g, q in zip(groups, quota, strict=True) if q]
    return rows[np.concatenate(picked)]


def _nearest_mean(vectors: Floats, n: int) -> Ints:
    """[n] places, one after the other the one that brings the mean of those chosen nearest to the
    mean of all: argmin |m - (v + sum of chosen) / k| (ADER, algorithm 1)."""
    mean, total = vectors.mean(0), np.zeros(vectors.shape[1])
    chosen = list[int]()
    for k in range(1, n + 1):
        distance = ((mean - (vectors + total) / k) ** 2).sum(1)
        distance[chosen] = np.inf
        chosen.append(int(distance.argmin()))
        total += vectors[chosen[-1]]
    return np.array(chosen, np.int64)
