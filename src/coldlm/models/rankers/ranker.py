"""What a trained model offers, and the model of two towers: encoder + head.

Shapes as in ``models/towers.py``; I distinct items of a batch, Q queries, N items.
"""

from __future__ import annotations

import copy
import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core import ranks
from coldlm.core.tables import Ints, Users
from coldlm.models.parts.adalora import Ranks
from coldlm.models.parts.sides import ItemSide
from coldlm.models.parts.stream_adapters import adapter_number
from coldlm.models.rankers.snapshot import ItemVectors, Snapshot


class Encoder(Protocol):
    """What turns item codes and texts into vectors (see ``text/encode.py``)."""

    width: int

    def items(self, codes: Tensor) -> Tensor: ...
    def all_items(self) -> Tensor: ...
    def texts(self, texts: Sequence[str]) -> Tensor: ...
    def read_ahead(self, texts: Sequence[str]) -> None: ...


class ScoringBatch(Protocol):
    """The part of a batch that scoring needs (``learn.batches.Batch`` is one)."""

    @property
    def items(self) -> Tensor: ...
    @property
    def columns(self) -> Tensor: ...
    @property
    def history(self) -> Tensor: ...
    @property
    def texts(self) -> tuple[str, ...]: ...
    @property
    def text(self) -> Tensor: ...
    @property
    def features(self) -> Tensor: ...
    @property
    def log_weight(self) -> Tensor: ...
    @property
    def positive(self) -> Tensor: ...


class Scorer(Protocol):
    """One immutable version of a model as a scorer: what is live between two updates."""

    def __call__(self, users: Ints, times: Ints, /) -> Tensor:
        """[Q, N] float32 scores of all items for who asks at each time."""
        ...

    def remembering(self, as_of: AsOf, /) -> Scorer:
        """Return the same weights with another memory."""
        ...

    def answer(self, time: int, *, text: str = "", history: Sequence[int] = ()) -> Tensor:
        """Return [N] scores for a typed text and/or a history of item codes, newest first, as of
        ``time``."""
        ...

    def batch(self, batch: ScoringBatch, /) -> Tensor:
        """Return [B, M] scores of a training batch."""
        ...


class Model(nn.Module):
    """What training needs of a model, whatever its head. The optimiser gives what lies in
    ``encoder`` a learning rate of its own; the sampler asks ``head`` for its ``history``,
    ``pseudo_query``, ``uses_text`` and ``uses_context``."""

    first_stage: Callable[[AsOf], Any] | None = None
    """What is known -> the scorer whose best candidates are read; None where the whole catalogue is
    scored."""

    def __init__(self, encoder: Any, head: Any) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    @abstractmethod
    def forward(self, batch: ScoringBatch) -> Tensor:
        """[B, M] logits; where ``log_weight`` is -inf only the positive's own need be right."""

    @abstractmethod
    def snapshot(
        self, as_of: AsOf, users: Users, catalogue: Catalogue, before: Any = None
    ) -> Scorer:
        """Return the current weights as a scorer that remembers ``as_of``.

        Args:
            before: an earlier scorer of this model, whose vectors are taken where the weights that
                they come from have not changed since.
        """

    @property
    def starts_from_vectors(self) -> bool:
        """Whether the head must be given the untouched backbone's item vectors before it trains."""
        return False

    def read_ahead(self, texts: Callable[[], Iterable[str]]) -> None:
        """Training is about to ask for ``texts()``: read now what will not change."""

    @property
    def device(self) -> torch.device:
        return next(chain(self.parameters(), self.buffers())).device

    def trainable(self) -> dict[str, Tensor]:
        """Return all that a checkpoint needs besides the backbone: parameters that train, adapters
        that wait for the stream, the ranks that are left, and the head's own parameters and buffers,
        also those that this loss leaves as they start (``levels``)."""
        state = {
            name: p.detach()
            for name, p in self.named_parameters()
            if p.requires_grad or name.startswith("head.") or adapter_number(name)
        }
        state |= {
            f"{name}.kept": m.kept for name, m in self.named_modules() if isinstance(m, Ranks)
        }
        state |= {f"head.{name}": b.detach() for name, b in self.head.named_buffers()}
        return state

    @property
    def trained_bytes(self) -> int:
        """Size of the parameters that train: what one training may change."""
        return sum(p.numel() * p.element_size() for p in self.parameters() if p.requires_grad)

    @contextmanager
    def only(self, names: Iterable[str]) -> Iterator[None]:
        """Inside, the parameters ``names`` train, and no others."""
        wanted = set(names)
        turned = [p for name, p in self.named_parameters() if p.requires_grad != (name in wanted)]
        for p in turned:
            p.requires_grad_(not p.requires_grad)
        try:
            yield
        finally:
            for p in turned:
                p.requires_grad_(not p.requires_grad)

    @property
    def movable(self) -> list[str]:
        """Return the names of the parameters that an update may move: those that train, and those of
        adapters that wait for the stream."""
        return [n for n, p in self.named_parameters() if p.requires_grad or adapter_number(n)]

    @property
    def ranks(self) -> list[Ranks]:
        """The budgets that move while training: one under AdaLoRA, else none."""
        return [module for module in self.modules() if isinstance(module, Ranks)]

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what ``trainable`` gave.

        Raises:
            KeyError: names that do not fit this model.
            ValueError: a shape that does not.
        """
        own = self.trainable()
        if set(own) != set(state):
            raise KeyError(f"checkpoint and model differ in {sorted(set(own) ^ set(state))[:5]}")
        for name, tensor in own.items():
            if state[name].shape != tensor.shape:
                raise ValueError(
                    f"{name} is {list(state[name].shape)}, the model's {list(tensor.shape)}"
                )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(state[name])


class Ranker(Model):
    """Two towers: scores events against columns, every distinct item of a batch encoded once.

    Args:
        encoder: an ``Encoder``. head: ``Towers``, ``ZeroShot``, or another with their methods.
    """

    def snapshot(
        self, as_of: AsOf, users: Users, catalogue: Catalogue, before: Any = None
    ) -> Snapshot:
        """Return the current weights as a scorer that remembers ``as_of``."""
        kept = before.vectors if isinstance(before, Snapshot) else None
        return Snapshot(self, as_of, users, len(catalogue), kept)

    @property
    def starts_from_vectors(self) -> bool:
        return bool(self.head.uses_text)

    def read_ahead(self, texts: Callable[[], Iterable[str]]) -> None:
        """All texts of an epoch are read faster at once than a few at a time."""
        if found := list(texts()):
            self.encoder.read_ahead(found)

    def apart(self) -> Ranker:
        """Return the same model with weights of its own, which later training leaves alone; what never
        trains is shared."""
        movable, body = {*self.trainable(), *self.movable}, self.encoder.body
        tensors = chain(self.named_parameters(), self.named_buffers())
        shared: list[Any] = [t for name, t in tensors if name not in movable]
        shared += [self.encoder, body] if body.is_frozen else [body.tokenizer]
        shared += self.encoder.constant
        return copy.deepcopy(self, {id(part): part for part in shared})

    def forward(self, batch: ScoringBatch) -> Tensor:
        """Return [B, M] scores."""
        return self.score(
            self.side(self._encode_shared(batch.items), batch.items)
            if self.head.uses_text
            else None,
            batch,
        )

    def side(self, vectors: Tensor, codes: Tensor) -> ItemSide:
        """Return the item side of text vectors [n, D] of the item ``codes``, [n]."""
        beside = self.head.beside(codes)
        side: ItemSide = self.head.items(vectors if beside is None else vectors + beside)
        return side

    def score(self, items: ItemSide | None, batch: ScoringBatch) -> Tensor:
        """Return [B, M] scores from the item side of the batch's ``items`` (None for a head without
        text)."""
        users, columns = None, None
        if items is not None:
            history = items.vector[batch.history.clamp(min=0)]
            users = self.head.users(
                history, batch.history >= 0, *self.read(batch.texts, batch.text)
            )
            columns = items.at(batch.columns)
        scores: Tensor = self.head.score(users, columns, batch.features)
        return scores

    def read(self, texts: Sequence[str], text: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, W] vectors of the texts at index ``text`` [B] (-1: none), and [B] whether
        there is one."""
        if not texts:
            return text.new_zeros(
                len(text), self.head.width, dtype=self.head.centre.dtype
            ), text >= 0
        vectors = self.head.items(self.encoder.texts(texts)).vector
        return vectors[text.clamp(min=0)] * (text >= 0)[:, None], text >= 0

    @torch.no_grad()
    def item_vectors(self, kept: ItemVectors | None = None, n_items: int = 0) -> ItemVectors | None:
        """Return the encoder's vectors of the whole catalogue, None for a head without text; those
        that are ``kept`` if they are of the weights of now, and more behind them where there are more
        items since. Call it in eval mode."""
        if not self.head.uses_text:
            return None
        source = self.source
        if kept is None or kept.source != source:
            return ItemVectors(self.encoder.all_items(), source)
        if n_items > len(kept.vectors):
            more = self.encoder.items(torch.arange(len(kept.vectors), n_items))
            return ItemVectors(torch.cat([kept.vectors, more]), source)
        return kept

    @property
    def source(self) -> str:
        """What tells the weights that item vectors come from."""
        return self.digest([name for name in self.trainable() if not name.startswith("head.")])

    def tensors(self, names: Sequence[str]) -> list[Tensor]:
        """Return these weights themselves: training writes to them and puts no others in their place."""
        return list(self._named(names).values())

    def digest(self, names: Sequence[str]) -> str:
        """Return what tells two states of these weights apart."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in self._named(names).items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _named(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Parameters and buffers by name, whatever trains just now."""
        found = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {name: found[name] for name in names}

    def _encode_shared(self, codes: Tensor) -> Tensor:
        """[I, D] vectors; under DDP each rank encodes its part, and gradients flow back to the rank
        that did."""
        if not ranks.in_group() or not _trains(self.encoder):
            vectors: Tensor = self.encoder.items(codes)
            return vectors
        rank, world = ranks.rank(), ranks.world()
        each = -(-len(codes) // world)
        # every rank gathers equally many rows: the last part is filled up with its first item
        padded = torch.cat([codes, codes[:1].expand(each * world - len(codes))])
        mine = self.encoder.items(padded[rank * each : (rank + 1) * each])
        gather: Any = _Gather.apply
        gathered: Tensor = gather(mine)
        return gathered[: len(codes)]


def _trains(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


class _Gather(torch.autograd.Function):
    """Concatenate equal parts of all ranks; the gradient of a part is the sum over ranks."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        ctx.rows = len(part)
        parts = [torch.empty_like(part) for _ in range(ranks.world())]
        distributed.all_gather(parts, part.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        distributed.all_reduce(total)
        first = ranks.rank() * ctx.rows
        return total[first : first + ctx.rows]
