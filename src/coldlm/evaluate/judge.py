"""Every query ranked by any scorer: a popularity count and a language model are judged by the same
code.

The candidates are C(t), or, for queries with lists, the list as it was shown.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.core import ranks
from coldlm.core.errors import ScoreError
from coldlm.core.prefetch import prefetch
from coldlm.core.tables import Bools, Dataset, Floats, Impressions, Ints, Queries
from coldlm.evaluate.metrics import RankingMetric, outranking

ScoreFunction = Callable[[Ints, Ints], Tensor]
"""(users [Q], times [Q]) -> float32 scores [Q, N] of all items; pure, and blind to events not
before each time."""

CHUNK = 64
"""Queries scored at once. The last chunk is padded to this size, so that a row's floating-point
result never depends on how many rows stand behind it."""


@dataclass(frozen=True)
class Judged:
    """One row per positive, in the order of ``Queries.event``. ``g``, ``e``: [P] int64 candidates
    strictly above and tied (itself included). ``candidates``: [P] int64 size of the candidate set.
    ``score``: [P] float64."""

    g: Ints
    e: Ints
    candidates: Ints
    score: Floats

    def rows(self, rows: slice) -> Judged:
        """Return some of the rows."""
        return Judged(*(getattr(self, field.name)[rows] for field in fields(Judged)))


def judge(
    scorer: ScoreFunction,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    *,
    name: str,
    on_chunk: Callable[[int], None] = lambda n: None,
) -> Judged:
    """Rank each positive alone against C(t), or its list, the other positives of its query left
    out.

    Args:
        queries: with ``lists``, nothing but their items is looked at.
        name: of the scorer, for error messages.
        on_chunk: called with the number of queries done (progress).

    Under torch.distributed each rank scores every world-size-th chunk, and all ranks get all rows.

    Raises:
        ScoreError: a positive is not a candidate, or a score is not finite; names scorer, item,
            user and time.
    """
    rank, world = _share()
    n = len(queries.event)
    g, e, size = (np.zeros(n, np.int64) for _ in range(3))
    own = np.zeros(n)
    mine = chunks(queries)[rank::world]
    for (first, last), (scores, candidates, positive, rows) in _scored(
        scorer, queries, data, catalogue, name, mine
    ):
        part = slice(queries.start[first], queries.start[last])
        above, level = outranking(scores[rows], candidates[rows], positive)
        g[part], e[part] = above.numpy(), level.numpy()
        size[part] = candidates.sum(1)[rows].numpy() + 1
        own[part] = scores[rows, positive].double().numpy()
        on_chunk((last - first) * world)
    if world > 1:
        # the rows of other ranks' chunks are 0 here, so the sum over ranks is the whole
        for column in (g, e, size, own):
            torch.distributed.all_reduce(torch.from_numpy(column))
    return Judged(g, e, size, own)


def measure(
    scorer: ScoreFunction,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    metric: RankingMetric,
    *,
    name: str,
) -> float:
    """Return one metric of one scorer over ``queries``, for stopping and for choosing; sharded over
    ranks if there are any."""
    rank, world = _share()
    sizes = np.diff(queries.start)
    mine = chunks(queries)[rank::world]
    for (first, last), (scores, candidates, positive, rows) in _scored(
        scorer, queries, data, catalogue, name, mine
    ):
        share = torch.from_numpy(1.0 / sizes[first:last])[rows]
        user = torch.from_numpy(queries.user[first:last])[rows]
        metric.update(scores[rows], candidates[rows], positive, user, share)
    return float(metric.compute())


def chunks(queries: Queries) -> list[tuple[int, int]]:
    """Return (first, last) of up to ``CHUNK`` queries of one window each: a window is scored alike
    alone and in the stream."""
    edges = np.flatnonzero(np.diff(queries.window, prepend=-2, append=-2)).tolist()
    return [
        (first, min(first + CHUNK, last))
        for begin, last in itertools.pairwise(edges)
        for first in range(begin, last, CHUNK)
    ]


def _share() -> tuple[int, int]:
    """Rank and world of the processes that can add up what each of them scored: everything alone
    without a group."""
    return (ranks.rank(), ranks.world()) if ranks.in_group() else (0, 1)


def _scored(
    scorer: ScoreFunction,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    name: str,
    parts: list[tuple[int, int]],
) -> Iterator[tuple[tuple[int, int], tuple[Tensor, Tensor, Tensor, Tensor]]]:
    """Each part with its chunk, computed ahead."""
    with _one_thread_each():
        yield from zip(
            parts,
            prefetch(partial(_chunk, scorer, queries, data, catalogue, name), parts),
            strict=True,
        )


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Chunks are scored side by side, each by one thread: torch's own threads would wait for each
    other at every small product, which made the context network three times as slow."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chunk(
    scorer: ScoreFunction,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    name: str,
    part: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The queries from first to last (excluded): scores [Q, C], candidates without the query's
    positives [Q, C] bool, the column of each positive [P], and its row [P]. Columns are the
    catalogue's items, or the places of the lists."""
    chunk = queries.slice(*part)
    padded = np.minimum(np.arange(CHUNK), len(chunk) - 1)
    scores = scorer(chunk.user[padded], chunk.time[padded])[: len(chunk)]
    if scores.dtype != torch.float32 or scores.shape != (len(chunk), len(catalogue)):
        raise ScoreError(
            f"scorer {name!r} returned {tuple(scores.shape)} {scores.dtype}, "
            f"expected {(len(chunk), len(catalogue))} torch.float32"
        )
    rows = np.repeat(np.arange(len(chunk)), np.diff(chunk.start))
    if chunk.lists is None:
        items = np.broadcast_to(np.arange(len(catalogue)), scores.shape)
        candidates, positive = catalogue.mask(chunk.user, chunk.time), data.log.item[chunk.event]
        _refuse_what_is_no_candidate(candidates[rows, positive], positive, chunk.time[rows], data)
    else:
        items, candidates, positive = _places(chunk.lists)
        scores = scores.gather(1, torch.from_numpy(items))
    _refuse_what_is_not_finite(scores, candidates, items, chunk, data, name)
    candidates[rows, positive] = False
    return scores, torch.from_numpy(candidates), torch.from_numpy(positive), torch.from_numpy(rows)


def _places(lists: Impressions) -> tuple[Ints, Bools, Ints]:
    """[Q, C] the item at each place of each list (0 behind its end), [Q, C] whether there is one,
    [P] the place of each click."""
    sizes, owner = np.diff(lists.start), lists.owner
    place = np.arange(len(lists.item)) - lists.start[owner]
    is_there = np.arange(sizes.max(initial=0)) < sizes[:, None]
    items = np.zeros(is_there.shape, np.int64)
    items[owner, place] = lists.item
    return items, is_there, place[lists.clicked]


def _refuse_what_is_no_candidate(
    is_candidate: Bools, positive: Ints, time: Ints, data: Dataset
) -> None:
    absent = ~is_candidate
    if absent.any():
        p = int(np.flatnonzero(absent)[0])
        raise ScoreError(
            f"item {data.items.ids[positive[p]]!r} is a positive at time {time[p]} but not a "
            "candidate then: queries must come from split.queries.ask over the same catalogue"
        )


def _refuse_what_is_not_finite(
    scores: Tensor, candidates: Bools, items: Ints, chunk: Queries, data: Dataset, name: str
) -> None:
    # a finite sum has finite terms, and costs a quarter of a look at each
    if torch.isfinite(scores.sum(dtype=torch.float64)):
        return
    bad = (~torch.isfinite(scores) & torch.from_numpy(candidates)).nonzero()
    if len(bad):
        row, column = (int(x) for x in bad[0])
        raise ScoreError(
            f"scorer {name!r} gave item {data.items.ids[items[row, column]]!r} the score "
            f"{float(scores[row, column])} for user "
            f"{data.users.ids[chunk.user[row]]!r} at time {chunk.time[row]}: scores must be "
            "finite; a smaller optim.lr or train.clip may help"
        )
