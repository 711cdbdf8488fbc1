"""Training a language model on texts, alone or with who took what they are about, before a strategy learns from
anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from coldlm.core.errors import DataError, Diverged
from coldlm.core.seeding import generator, torch_seed
from coldlm.core.tables import Ints
from coldlm.learn.fit import Budget, Machine, Watch, train
from coldlm.learn.optimisers import groups
from coldlm.models.backbones.objectives import Objective, TextBatch
from coldlm.text.tokens import Tokens, tokenize

POOL = 32
"""Batches whose texts are sorted by length among themselves, so that little is padded."""

WEIGHT_DECAY = 0.01


@dataclass
class Pretrained:
    """What a pre-training did. ``n_texts``, ``n_tokens``: trained on, special tokens included;
    ``n_users``: of whom it learned who took what; ``n_held_out``: texts, or users, that it was judged
    by; ``before``, ``after``: mean loss on these (of tokens and texts in nats), the latter of the best
    epoch, whose weights are kept; ``losses``: after each epoch; ``epochs``: of the best one;
    ``seconds``: training only."""

    n_texts: int
    n_tokens: int
    n_users: int
    n_held_out: int
    before: float
    after: float = float("nan")
    losses: list[float] = field(default_factory=list)
    epochs: int = 0
    steps: int = 0
    seconds: float = 0.0


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


class Reader(pl.LightningModule):
    """One step: the mean of an objective's losses, under AdamW with a warm-up."""

    def __init__(self, objective: Objective, lr: float, rate: Callable[[int], float]) -> None:
        super().__init__()
        self.objective = objective
        self._lr, self._rate = lr, rate

    def training_step(self, batch: TextBatch, number: int) -> Tensor:
        """Return the mean loss of the batch.

        Raises:
            Diverged: it is not finite.
        """
        loss = _mean(self.objective(batch))
        if not torch.isfinite(loss):
            raise Diverged(
                f"pre-training loss is {float(loss.detach())} in epoch {self.current_epoch}, batch "
                f"{number}: lower pretrain.lr"
            )
        self.log("pretrain/loss", loss.detach(), prog_bar=True, batch_size=len(batch.ids))
        return loss

    def configure_optimizers(self) -> Any:
        """AdamW; no decay on vectors."""
        named = [(name, p) for name, p in self.objective.named_parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(groups(named, self._lr, self._lr, WEIGHT_DECAY))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": LambdaLR(optimizer, self._rate), "interval": "step"},
        }


def pretrain(
    objective: Objective,
    material: Material,
    budget: Budget,
    machine: Machine,
    *,
    lr: float,
    batch_size: int,
    held_out: float,
    seed: int,
    loggers: list[Any] | None = None,
) -> Pretrained:
    """Train ``objective`` in place on what there is to learn from, less a share ``held_out`` by which it
    is judged before, and after each epoch; the weights of the best epoch stay.

    Raises:
        DataError: fewer than two texts, or users, to learn from or none to be judged by.
        Diverged: the loss stopped being finite.
    """
    texts, n = list(material.texts), len(material)
    tokens = tokenize(texts, objective.tokenizer, objective.max_tokens, causal=objective.causal)
    order = generator(seed, "pretrain", "held out").permutation(n)
    n_held_out = max(1, round(held_out * n))
    if n - n_held_out < 2:
        raise DataError(
            f"stage pretrain: {n} {material.what} are known before t_val; it needs at least 3"
        )
    rows = np.sort(order[n_held_out:])
    judged = material.batches(tokens, np.sort(order[:n_held_out]), batch_size)
    epochs = [
        material.batches(tokens, rows, batch_size, generator(seed, "pretrain", epoch))
        for epoch in range(budget.epochs)
    ]

    def validate() -> float:
        return -judge(objective, judged, seed)

    done = Pretrained(*material.counts(tokens, rows), n_held_out, judge(objective, judged, seed))
    watch = Watch(objective, validate, budget.epochs, "validation/pretrain/minus_loss")
    reader = Reader(objective, lr, budget.rates(epochs))
    done.seconds = train(
        reader, epochs, budget, machine, seed=seed, name="pretrain", loggers=loggers, watch=watch
    )
    done.losses = [-value for value in watch.values]
    done.epochs, done.steps = watch.best_epoch, reader.global_step
    done.after = min(done.losses)
    return done


@torch.no_grad()
def judge(objective: Objective, batches: Batches, seed: int) -> float:
    """Return the mean loss over all predictions in ``batches``, in nats, under the same draws every
    time; in eval mode, unless the objective needs dropout."""
    device = next(objective.parameters()).device
    objective.train(objective.noisy)
    with torch_seed(seed, "pretrain", "validation"):
        losses = torch.cat([objective(batch.to(device)) for batch in batches])
    objective.eval()
    return float(_mean(losses))


def _mean(losses: Tensor) -> Tensor:
    return losses.sum() / max(1, len(losses))
