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
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import Planes
from coldlm.core import compiled, ranks
from coldlm.core.columns import N_SHOWN, ON_SHELF, WARMUP_EDGES
from coldlm.core.errors import ScoreError
from coldlm.core.finite import all_finite
from coldlm.core.prefetch import prefetch
from coldlm.core.tables import Bools, Dataset, Floats, Impressions, Ints, Queries
from coldlm.evaluate.metrics import places

if TYPE_CHECKING:
    from coldlm.evaluate.ranking_metric import RankingMetric

ScoreFunction = Callable[[Ints, Ints], Tensor]
"""(who asks [Q], times [Q]) -> float32 or float64 scores [Q, N] of all items; pure, and blind to events not
before each time. Who asks is a user's code, or more where a text was typed: see ``core.tables.Users``."""

Chunk = tuple[Tensor, Tensor, Tensor, Tensor]
"""Scores [Q, C], candidates without the query's positives [Q, C] bool, the column of each positive [P],
and its row [P]. Columns are the catalogue's items, or the places of the lists."""

_BUCKET_OF = np.searchsorted(WARMUP_EDGES, np.arange(WARMUP_EDGES[-1] + 1), side="right").astype(
    np.int8
)

CHUNK = 64
"""Queries scored at once. The last chunk is padded to this size, so that a row's floating-point
result never depends on how many rows stand behind it."""

AT_ONCE = 1 << 24
"""Scores at once, at most: of large catalogues fewer queries."""


@dataclass(frozen=True)
class Views:
    """What views are cut by. ``counts``: times [Q] -> [Q, N] events of all items as a scorer may know
    them (``AsOf.counts``). ``shelf``: up to how many an item is on the shelf."""

    counts: Callable[[Ints], Planes]
    shelf: int


@dataclass(frozen=True)
class Judged:
    """One row per positive, in the order of ``Queries.event``, [P] int64 all but ``score``: float64.
    ``g``, ``e``: candidates strictly above and tied (itself included); ``candidates``: size of the
    candidate set; the same among the candidates of each of ``columns.VIEWS``, the positive beside
    them. ``n_shown``, ``on_shelf``: see ``columns``.
    """

    g: Ints
    e: Ints
    candidates: Ints
    score: Floats
    peers_g: Ints
    peers_e: Ints
    peers_candidates: Ints
    shelf_g: Ints
    shelf_e: Ints
    shelf_candidates: Ints
    n_shown: Ints
    on_shelf: Ints

    @staticmethod
    def nothing(n: int) -> Judged:
        """Return ``n`` rows of nothing."""
        columns: dict[str, Any] = {
            field.name: np.zeros(n, np.float64 if field.name == "score" else np.int64)
            for field in fields(Judged)
        }
        return Judged(**columns)

    def rows(self, rows: slice) -> Judged:
        """Return some of the rows."""
        return Judged(*(getattr(self, field.name)[rows] for field in fields(Judged)))


def judge(
    scorer: ScoreFunction,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    views: Views,
    *,
    name: str,
    on_chunk: Callable[[int], None] = lambda n: None,
) -> Judged:
    """Rank each positive alone against C(t), or its list, the other positives of its query left
    out; and against the views of it.

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
    judged = Judged.nothing(len(queries.event))
    mine = chunks(queries, len(catalogue))[rank::world]

    def place(part: tuple[int, int]) -> dict[str, NDArray[Any]]:
        chunk = _chunk(scorer, queries, data, catalogue, name, part)
        return _placed(chunk, queries.slice(*part), views)

    with one_thread():
        for (first, last), columns in zip(mine, prefetch(place, mine), strict=True):
            rows = slice(queries.start[first], queries.start[last])
            for column, values in columns.items():
                getattr(judged, column)[rows] = values
            on_chunk((last - first) * world)
    if world > 1:
        # the rows of other ranks' chunks are 0 here, so the sum over ranks is the whole
        for field in fields(Judged):
            torch.distributed.all_reduce(torch.from_numpy(getattr(judged, field.name)))
    return judged


def _placed(chunk: Chunk, queries: Queries, views: Views) -> dict[str, NDArray[Any]]:
    """The columns of ``Judged`` of one chunk."""
    scores, candidates, positive, rows = chunk
    counts = views.counts(queries.time)
    if queries.lists is not None:
        counts = np.take_along_axis(counts, _places(queries.lists)[0], 1)
    if compiled.is_on():
        return _counted(chunk, counts, views.shelf)
    # counts are whole numbers
    bucket = torch.from_numpy(_BUCKET_OF[np.minimum(counts, WARMUP_EDGES[-1]).astype(np.int64)])
    is_new = torch.from_numpy(counts <= views.shelf)
    own = bucket[rows, positive]
    everybody = candidates[rows]
    parts = {
        "": everybody,
        "peers_": everybody & (bucket[rows] == own[:, None]),
        "shelf_": everybody & is_new[rows],
    }
    found: dict[str, NDArray[Any]] = {}
    each = places(scores[rows], list(parts.values()), positive)
    for (prefix, part), (g, e) in zip(parts.items(), each, strict=True):
        found[f"{prefix}g"], found[f"{prefix}e"] = g.numpy(), e.numpy()
        found[f"{prefix}candidates"] = part.sum(1).numpy() + 1
    found["score"] = scores[rows, positive].double().numpy()
    found[N_SHOWN] = counts[rows.numpy(), positive.numpy()]
    found[ON_SHELF] = is_new[rows, positive].numpy()
    return found


def _counted(chunk: Chunk, counts: Planes, shelf: int) -> dict[str, NDArray[Any]]:
    """The same in one pass over the candidates of each positive."""
    from coldlm.evaluate import loops

    scores, candidates, positive, rows = (part.contiguous().numpy() for part in chunk)
    own = counts[rows, positive]
    bucket = np.searchsorted(WARMUP_EDGES, own, side="right")
    out = np.empty((9, len(rows)), np.int64)
    lower, upper = np.append(0, WARMUP_EDGES)[bucket], np.append(WARMUP_EDGES, np.inf)[bucket]
    loops.places(scores, candidates, counts, rows, positive, lower, upper, shelf, out)
    found: dict[str, NDArray[Any]] = {}
    for prefix, (g, e, n) in zip(("", "peers_", "shelf_"), out.reshape(3, 3, -1), strict=True):
        # the positive is level with itself
        found[f"{prefix}g"], found[f"{prefix}e"], found[f"{prefix}candidates"] = g, e + 1, n + 1
    found["score"] = scores[rows, positive].astype(np.float64)
    found[N_SHOWN], found[ON_SHELF] = own, own <= shelf
    return found


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
    mine = chunks(queries, len(catalogue))[rank::world]
    for (first, last), (scores, candidates, positive, rows) in scored(
        scorer, queries, data, catalogue, name, mine
    ):
        share = torch.from_numpy(1.0 / sizes[first:last])[rows]
        user = torch.from_numpy(queries.user[first:last])[rows]
        metric.update(scores[rows], candidates[rows], positive, user, share)
    return float(metric.compute())


def chunk_size(n_items: int) -> int:
    """Return how many queries are scored at once.

    >>> chunk_size(10_000), chunk_size(1_000_000)
    (64, 16)
    """
    size = CHUNK
    while size > 1 and size * n_items > AT_ONCE:
        size //= 2
    return size


def chunks(queries: Queries, n_items: int) -> list[tuple[int, int]]:
    """Return (first, last) of up to ``chunk_size`` queries of one window each: a window is scored alike
    alone and in the stream."""
    size = chunk_size(n_items)
    edges = np.flatnonzero(np.diff(queries.window, prepend=-2, append=-2)).tolist()
    return [
        (first, min(first + size, last))
        for begin, last in itertools.pairwise(edges)
        for first in range(begin, last, size)
    ]


def _share() -> tuple[int, int]:
    """Rank and world of the processes that can add up what each of them scored: everything alone
    without a group."""
    return (ranks.rank(), ranks.world()) if ranks.in_group() else (0, 1)


def scored(
    scorer: ScoreFunction,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    name: str,
    parts: list[tuple[int, int]],
) -> Iterator[tuple[tuple[int, int], Chunk]]:
    """Yield each part of the queries with its ``Chunk``, computed ahead."""
    with one_thread():
        yield from zip(
            parts,
            prefetch(partial(_chunk, scorer, queries, data, catalogue, name), parts),
            strict=True,
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes with one thread. Chunks are scored side by side, each by one: torch's own
    threads would wait for each other at every small product, which made the context network three
    times as slow."""
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
) -> Chunk:
    """The queries from first to last (excluded)."""
    chunk = queries.slice(*part)
    padded = np.minimum(np.arange(chunk_size(len(catalogue))), len(chunk) - 1)
    scores = scorer(data.who_asks(chunk)[padded], chunk.time[padded])[: len(chunk)]
    if scores.dtype not in (torch.float32, torch.float64) or scores.shape != (
        len(chunk),
        len(catalogue),
    ):
        raise ScoreError(
            f"scorer {name!r} returned {tuple(scores.shape)} {scores.dtype}, "
            f"expected {(len(chunk), len(catalogue))} torch.float32 or float64"
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
    if all_finite(scores):
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
