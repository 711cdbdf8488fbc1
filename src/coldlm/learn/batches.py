"""Training events -> batches: which items a batch looks at, and what each may be a negative for.

Shapes: B events of a batch, H history, M columns, I distinct items of a batch, F context features.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.asof.grouped import ranges
from coldlm.core.aligned import aligned
from coldlm.core.prefetch import prefetch
from coldlm.core.seeding import generator
from coldlm.core.tables import Dataset, Ints
from coldlm.learn.negatives import Negatives, SamplingSpec

WORD = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]{1,2}|[^\W_]+")
"""A search word of a pseudo-query: up to two CJK characters, or a run of letters and digits."""


VARIANTS = 4
"""Different pseudo-queries of one item: few, so that a frozen encoder soon knows them all."""


@dataclass(frozen=True)
class Batch:
    """One batch (under DDP, one rank's rows of it; the items and columns are those of the whole
    batch).

    ``items``: [I] int64 distinct item codes to encode. ``columns``: [M] int64 index into ``items``.
    ``positive``: [B] int64 column of each event's own item. ``history``: [B, H] int64 index into
    ``items``, -1 where there is none.
    ``texts``: distinct texts (typed, pseudo-queries and profiles); ``text``: [B] int64 index into
    them, -1 for none.
    ``log_weight``: [B, M] float32, of columns, and ``weight``: [B] float32, of events (see
    ``models/losses.py``).
    ``features``: [F, B, M] float32. ``label``: [B] float32. ``size``: events of the whole batch,
    over all ranks.
    """

    items: Tensor
    columns: Tensor
    positive: Tensor
    history: Tensor
    texts: tuple[str, ...]
    text: Tensor
    log_weight: Tensor
    features: Tensor
    label: Tensor
    weight: Tensor
    size: int

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on ``device``."""
        tensors = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if isinstance(getattr(self, f.name), Tensor)
        }
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})


@dataclass(frozen=True)
class Recipe:
    """How batches are made. ``batch_size``: events of a batch on average, since batches hold whole
    sessions.
    ``session``: up to so many consecutive events of one user travel together: they share histories,
    so a batch has fewer distinct items to encode. ``seed``: of order, draws and pseudo-queries.
    ``stream``: names of the random numbers of one training among several, () of a run's first."""

    batch_size: int
    session: int
    history: int
    pseudo_query: float
    uses_text: bool
    uses_context: bool
    seed: int
    stream: tuple[object, ...] = ()


class Batches:
    """The batches of one epoch over the events ``rows`` of the log, [E] ascending int64.

    Batch b depends on (seed, epoch, b) only. All batches have equally many sessions, give or take
    one: so a session is as likely as any other to share a batch with a given one, however long it
    is, and the expected draws are exact.

    Args:
        share: (rank, world size).
    """

    def __init__(
        self,
        data: Dataset,
        catalogue: Catalogue,
        as_of: AsOf,
        rows: Ints,
        wants: SamplingSpec,
        recipe: Recipe,
        *,
        epoch: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self._data, self._catalogue, self._as_of = data, catalogue, as_of
        self._recipe, self._epoch, self._share = recipe, epoch, share
        self._negatives = Negatives(data, catalogue, as_of, rows, wants)
        rows = self._negatives.rows
        rng = generator(recipe.seed, "order", *recipe.stream, epoch)
        self._order, self._session = session_order(rows, data.log.user, recipe.session, rng)
        n_sessions = len(self._session) - 1
        n_batches = min(-(-len(rows) // recipe.batch_size), n_sessions)
        # [n_batches + 1] the first session of each batch
        self._first: Ints = n_sessions * np.arange(n_batches + 1) // max(n_batches, 1)

    def __len__(self) -> int:
        return len(self._first) - 1

    def __getitem__(self, number: int) -> Batch:
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._make(self.rows(number), number)

    def __iter__(self) -> Iterator[Batch]:
        return prefetch(self.__getitem__, range(len(self)))

    def rows(self, number: int) -> Ints:
        """Return [B] row numbers of the log of the events in batch ``number``."""
        begin, end = self._session[self._first[number : number + 2]]
        return self._order[begin:end]

    def _make(self, rows: Ints, number: int) -> Batch:
        log, recipe = self._data.log, self._recipe
        rng = generator(recipe.seed, "batch", *recipe.stream, self._epoch, number)
        draws = self._negatives.draw(rows, rng)
        texts = self._texts(rows, number)
        columns = np.unique(np.concatenate([log.item[rows], draws]))
        rank, world = self._share
        mine = np.array_split(np.arange(len(rows)), world)[rank]
        log_weight = self._negatives.log_weight(
            rows, mine, columns, draws, self._share_of_others(number)
        )
        features = np.zeros((0, 0, 0), np.float32)
        if recipe.uses_context:
            features = self._as_of.features(log.time[rows[mine]], columns)
        history = self._as_of.history(log.user[rows], log.time[rows], recipe.history)
        # a pseudo-query stands for a user without any history
        history[[bool(pseudo) for pseudo, _ in texts]] = -1
        items = (
            np.unique(np.concatenate([columns, history[history >= 0]]))
            if recipe.uses_text
            else columns
        )
        place = np.full(len(self._data.items) + 1, -1)
        place[items] = np.arange(len(items))
        chosen = [texts[i][0] or texts[i][1] for i in mine]
        distinct = tuple(sorted({text for text in chosen if text}))
        number_of = {text: i for i, text in enumerate(distinct)}
        return Batch(
            items=torch.from_numpy(items),
            columns=torch.from_numpy(place[columns]),
            positive=torch.from_numpy(np.searchsorted(columns, log.item[rows[mine]])),
            history=torch.from_numpy(place[history[mine]]),
            texts=distinct,
            text=torch.tensor([number_of.get(text, -1) for text in chosen], dtype=torch.int64),
            log_weight=torch.from_numpy(log_weight),
            features=aligned(features),
            label=torch.from_numpy(log.positive[rows[mine]].astype(np.float32)),
            weight=torch.from_numpy(self._negatives.event_weight(rows)[mine]),
            size=len(rows),
        )

    def _share_of_others(self, number: int) -> float:
        """Probability that another session is in batch ``number``, given one that is."""
        in_batch = self._first[number + 1] - self._first[number]
        return float(in_batch - 1) / max(len(self._session) - 2, 1)

    def texts(self) -> list[str]:
        """Return the distinct texts of the whole epoch: a frozen encoder reads them faster at once
        than a few at a time."""
        pairs = (
            pair for number in range(len(self)) for pair in self._texts(self.rows(number), number)
        )
        return sorted({pseudo or own for pseudo, own in pairs} - {""})

    def _texts(self, rows: Ints, number: int) -> list[tuple[str, str]]:
        """(pseudo-query, what was typed or the profile) of each event of batch ``number``, "" where
        there is none. Who typed something needs no pseudo-query."""
        if not self._recipe.uses_text:
            return [("", "")] * len(rows)
        rng = generator(self._recipe.seed, "texts", *self._recipe.stream, self._epoch, number)
        items, users, who = self._data.items.texts, self._data.users, self._data.who_took(rows)
        replaced = (rng.random(len(rows)) < self._recipe.pseudo_query) & (who < len(users))
        variants = rng.integers(0, VARIANTS, len(rows))
        return [
            (
                pseudo_query(items[item], generator(self._recipe.seed, item, variant))
                if chosen
                else "",
                users.read[place],
            )
            for item, place, chosen, variant in zip(
                self._data.log.item[rows],
                users.place(who),
                replaced,
                variants,
                strict=True,
            )
        ]


class EventData(pl.LightningDataModule):
    """The DataModule: fresh batches each epoch, from ``make(epoch)``."""

    def __init__(self, batches: Sequence[Batches]) -> None:
        super().__init__()
        self._batches = batches

    def train_dataloader(self) -> Batches:
        """Return the batches of the current epoch; they are made in threads of their own."""
        return self._batches[self.trainer.current_epoch if self.trainer else 0]

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move the batch's tensors."""
        return batch.to(device)


def session_order(
    rows: Ints, user: Ints, session: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Return the events ``rows`` in shuffled sessions of up to ``session`` consecutive events of
    one user.

    Args:
        rows: [E] ascending row numbers of the log (so in time order). user: user of every row of
            the log.

    Returns:
        [E] rows, and [S + 1] where each session starts in them.
    """
    by_user = rows[np.argsort(user[rows], kind="stable")]
    owner = user[by_user]
    new_user = np.ones(len(rows), bool)
    new_user[1:] = owner[1:] != owner[:-1]
    first = np.flatnonzero(new_user)
    rank = np.arange(len(rows)) - np.repeat(first, np.diff(np.append(first, len(rows))))
    begin = np.flatnonzero(rank % session == 0)
    end = np.append(begin[1:], len(rows))
    order = rng.permutation(len(begin))
    start = np.concatenate([[0], np.cumsum(end[order] - begin[order])]).astype(np.int64)
    return by_user[ranges(begin[order], end[order])[0]], start


def pseudo_query(text: str, rng: np.random.Generator) -> str:
    """Return one to three words of ``text`` in random order, as a search for it would be; "" if it
    has no word."""
    words = WORD.findall(text)
    if not words:
        return ""
    count = min(int(rng.integers(1, 4)), len(words))
    return " ".join(words[i] for i in rng.permutation(len(words))[:count])
