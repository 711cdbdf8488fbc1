"""Texts -> vectors, each text encoded once; the output of the frozen lower stages is computed once
and kept.

Shapes: N items, n texts asked for, T tokens, D width, S tokens of all items.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from coldlm.core.tables import Ints
from coldlm.text.again import within
from coldlm.text.kept import kept, read
from coldlm.text.tokens import Tokens, blocks, tokenize

log = logging.getLogger("coldlm")

EVAL_TOKENS = 512
"""Tokens per block without gradient: fixed shapes, filled up with empty rows (see
``tokens.blocks``)."""

EVAL_STEP = 2
"""Lengths of fixed blocks are rounded up to multiples of this."""

TEXT_TOKENS = 64
"""Tokens per fixed block of free texts: a handful of short ones at a time, so large blocks would be
mostly empty."""

FREE_BYTES = 2**29
"""Of the constant parts of free texts that are kept; beyond it the oldest are computed again."""

READ: dict[bytes, Tensor] = {}
"""What is constant of free texts, by all that it depends on, of all encoders of this process: a run makes
several, and reads the same texts before and behind validation."""

KEPT = threading.RLock()
"""Held while texts are looked up or kept, not while they are read: a version may answer while the next
one trains."""


class Body(Protocol):
    """What this module needs of a backbone (``models.backbones.backbone_module.Backbone`` is
    one)."""

    name: str
    depth: int
    width: int
    is_frozen: bool
    causal: bool
    max_tokens: int
    item_prefix: str
    query_prefix: str
    fingerprint: str
    runtime: str
    graph_tokens: int | None
    tokenizer: object

    def lower(self, x: Tensor, mask: Tensor, first: int = 0) -> Tensor: ...
    def lower_of_many(self) -> Callable[[Tensor, Tensor], Tensor]: ...
    def words(self, blocks: Sequence[Tensor]) -> Sequence[Tensor]: ...
    def upper(self, hidden: Tensor, mask: Tensor) -> Tensor: ...


class TextEncoder(nn.Module):
    """Vectors of item texts and of free texts under one backbone.

    Args:
        body: the backbone, its strategy already applied.
        texts: [N] item texts, in the order in which items enter (``order``).
        order: [N] item codes by entry time: later items are encoded behind earlier ones, so that
            they cannot change a bit of them.
        row: [N] which text each item code reads; its own unless texts are permuted among the items.
        cache: folder for the frozen part's output, None to keep it in memory only.
        on_block: called with the number of texts done (progress).
    """

    def __init__(
        self,
        body: Body,
        texts: Sequence[str],
        order: Ints,
        *,
        row: Ints | None = None,
        cache: Path | None = None,
        on_block: Callable[[int], None] = lambda n: None,
    ) -> None:
        super().__init__()
        self.body = body
        self.width = body.width
        self.tokens = self._tokenize(body.item_prefix, texts)
        self._order = order
        self._row = np.arange(len(texts)) if row is None else row
        self._on_block = on_block
        # the frozen part stays in main memory: only the rows of a block travel to the device
        self._kept: Tensor | None = None
        self._free: dict[str, Tensor] = {}
        self._anchor: Tensor
        self.register_buffer("_anchor", torch.empty(0), persistent=False)
        if body.depth:
            self._kept = self._load_or_compute(cache)

    @property
    def constant(self) -> list[Any]:
        """Return what no training changes, and copies of this encoder share."""
        return [self._kept, self._free, self.tokens]

    def items(self, codes: Tensor) -> Tensor:
        """Return [n, D] vectors of the item ``codes``, [n] int64; with gradient where the backbone
        trains."""
        rows = self._row[codes.cpu().numpy()]
        if self.body.is_frozen:
            assert self._kept is not None
            return self._kept[torch.from_numpy(rows)].to(self._anchor.device)
        flat = torch.from_numpy(self.tokens.ids) if self._kept is None else self._kept
        return self._encode(flat, self.tokens.start, rows, None if self.training else EVAL_TOKENS)

    def all_items(self) -> Tensor:
        """Return [N, D] vectors of every item, without gradient; call it in eval mode: later items
        cannot change a bit."""
        with torch.no_grad():
            vectors = self.items(torch.from_numpy(self._order))
            out = torch.empty_like(vectors)
            out[torch.from_numpy(self._order).to(out.device)] = vectors
            return out

    def grown(self, texts: Sequence[str], order: Ints) -> TextEncoder:
        """Return an encoder of the same body with more items behind those it has; what is constant in
        their texts is read now, a few at a time, and that of the others not again.

        Args:
            texts: [M] of the new items alone. order: [N + M] all item codes by entry time.
        """
        other, more = copy.copy(self), self._tokenize(self.body.item_prefix, texts)
        start = np.append(self.tokens.start, self.tokens.start[-1] + more.start[1:])
        ids = np.append(self.tokens.ids, more.ids)
        other.tokens = replace(self.tokens, ids=ids, start=start, lost=self.tokens.lost + more.lost)
        other._order = order
        other._row = np.append(self._row, np.arange(len(start) - 1 - len(texts), len(start) - 1))
        other._free = {}
        if self._kept is not None:
            flat, which = torch.from_numpy(more.ids), np.arange(len(texts))
            read = self._constant(flat, more.start, which, TEXT_TOKENS, self.body.lower)
            other._kept = torch.cat([self._kept, read])
        return other

    def kept_items(self, cache: Path, how: str) -> Tensor:
        """Return ``all_items``, kept in the folder ``cache`` for other processes under all that they depend
        on.

        Args:
            how: what tells the trained weights, and what is done with them, from all others.
        """
        key = self._key(how, hashlib.sha256(self._row.tobytes()).hexdigest())
        return kept(cache / "vectors" / f"{key}.safetensors", self.all_items)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return [n, D] vectors of free texts (queries, profiles), with gradient where the backbone
        trains; what is constant in them is computed once."""
        if not self.body.depth:
            tokens = self._tokenize(self.body.query_prefix, texts)
            flat, start = torch.from_numpy(tokens.ids), tokens.start
        else:
            constant = self._constant_parts(texts)
            if self.body.is_frozen:
                return torch.cat(constant).to(self._anchor.device)
            flat, start = torch.cat(constant), np.cumsum([0, *map(len, constant)])
        fixed = None if self.training else TEXT_TOKENS
        return self._encode(flat, start, np.arange(len(texts)), fixed)

    def read_ahead(self, texts: Sequence[str]) -> None:
        """These texts are about to be asked for: compute now what is constant in them."""
        if self.body.depth:
            self._constant_parts(texts)

    def _constant_parts(self, texts: Sequence[str]) -> list[Tensor]:
        """[1, D] the vector of each text under a frozen backbone, else [T, D] its hidden states below
        the lowest trained stage."""
        with KEPT:
            found = {text: self._free[text] for text in texts if text in self._free}
        if new := [text for text in dict.fromkeys(texts) if text not in found]:
            tokens = self._tokenize(self.body.query_prefix, new)
            ids = np.split(tokens.ids, tokens.start[1:-1])
            read = dict(zip(new, self._read(ids), strict=True))
            found |= read
            _keep(self._free, read)
        return [found[text] for text in texts]

    def _read(self, ids: Sequence[Ints]) -> list[Tensor]:
        """The constant part of each of these token ids, from whichever encoder of this process has read
        them before. In blocks of fixed shapes: what is kept must not depend on the moment at which it
        was first asked for."""
        body = self.body
        where = self._anchor.device.type, torch.get_num_threads()
        kind = f"{body.fingerprint} {body.depth} {body.is_frozen} {where} "
        keys = [hashlib.sha256(kind.encode() + part.tobytes()).digest() for part in ids]
        with KEPT:
            found = {key: READ[key] for key in keys if key in READ}
        new = {key: part for key, part in zip(keys, ids, strict=True) if key not in found}
        if new:
            sizes = np.array([len(part) for part in new.values()])
            start, flat = np.cumsum([0, *sizes]), torch.from_numpy(np.concatenate([*new.values()]))
            out = self._constant(flat, start, np.arange(len(new)), TEXT_TOKENS, body.lower)
            each = torch.split(out, [1] * len(new) if body.is_frozen else sizes.tolist())
            read = dict(zip(new, each, strict=True))
            found |= read
            _keep(READ, read)
        return [found[key] for key in keys]

    def _tokenize(self, prefix: str, texts: Sequence[str]) -> Tokens:
        body = self.body
        whole = [prefix + text for text in texts]
        return tokenize(whole, body.tokenizer, body.max_tokens, causal=body.causal)

    def _encode(self, flat: Tensor, start: Ints, codes: Ints, fixed: int | None) -> Tensor:
        """[n, D] vectors of the texts ``codes``, in blocks of ``fixed`` tokens and fixed shapes, or,
        for training (None), of texts of exactly one length, so that no mask is needed.

        Args:
            flat: [S] token ids, or [S, D] hidden states below the lowest trained stage.
            start: [N + 1] offsets of the texts.
        """
        device = self._anchor.device
        lengths = np.diff(start)[codes]
        size, upper = within(self.body.graph_tokens, int(lengths.sum()), self.body.upper)
        padded, places = [], []
        for places_in, rows, length in blocks(lengths, fixed or size, EVAL_STEP if fixed else 1):
            rows = rows if fixed else len(places_in)
            padded.append(_pad(start, codes[places_in], rows, length))
            places.append(places_in)
        # one block at a time: of a catalogue there may be as much as it takes memory
        inputs: Iterable[Tensor] = (_at(flat, index, mask).to(device) for index, mask in padded)
        if flat.dim() == 1 and torch.is_grad_enabled():
            inputs = self.body.words(list(inputs))
        parts = [
            upper(x, mask.to(device))[: len(places_in)]
            for x, (_, mask), places_in in zip(inputs, padded, places, strict=True)
        ]
        where = np.empty(len(codes), np.int64)
        where[np.concatenate(places)] = np.arange(len(codes))
        return torch.cat(parts)[torch.from_numpy(where).to(device)]

    def _load_or_compute(self, cache: Path | None) -> Tensor:
        """The frozen part's output: from the cache, or from the deepest cached stage below it, or
        from the ids."""
        if cache is None:
            return self._compute(None, 0)
        return kept(self._file(cache, self.body.depth), lambda: self._from_below(cache))

    def _from_below(self, cache: Path) -> Tensor:
        # another library's stages do not give the same bits in two parts as in one
        shallower = range(self.body.depth - 1, 0, -1) if self.body.runtime == "torch" else ()
        for depth in shallower:
            below = read(self._file(cache, depth))
            if below is not None:
                return self._compute(below, depth)
        return self._compute(None, 0)

    def _file(self, cache: Path, depth: int) -> Path:
        return cache / "hidden" / f"{self._key(str(depth))}.safetensors"

    def _key(self, *made_by: str) -> str:
        """Of what is made of the item texts as they are tokenised and laid out: 32 hexadecimal digits."""
        words = self.body.fingerprint, *made_by, EVAL_TOKENS, EVAL_STEP
        key = hashlib.sha256(" ".join(map(str, words)).encode())
        for array in (self.tokens.ids, self.tokens.start, self._order):
            key.update(array.tobytes())
        return key.hexdigest()[:32]

    def _compute(self, below: Tensor | None, first: int) -> Tensor:
        """What is constant of every item text.

        Args:
            below: [S, D] output of the stages before ``first``, None for the token ids themselves.
        """
        log.info("encoding %d item texts with %s", len(self._order), self.body.name)
        start, order = self.tokens.start, self._order
        if below is None:
            ids, lower = torch.from_numpy(self.tokens.ids), self.body.lower_of_many()
            return self._constant(ids, start, order, EVAL_TOKENS, lower, self._on_block)
        lower = partial(self.body.lower, first=first)
        return self._constant(below, start, order, EVAL_TOKENS, lower, self._on_block)

    @torch.no_grad()
    def _constant(
        self,
        flat: Tensor,
        start: Ints,
        order: Ints,
        size: int,
        lower: Callable[[Tensor, Tensor], Tensor],
        on_block: Callable[[int], None] = lambda n: None,
    ) -> Tensor:
        """[N, D] vectors of the texts if nothing trains, else [S, D] their hidden states below the
        lowest trained stage, in main memory.

        Args:
            flat: [S] token ids or [S, D] hidden states, whatever ``lower`` reads.
            start: [N + 1] offsets of the texts. order: [N] in which they are laid out in blocks of
                ``size`` tokens.
        """
        frozen, device = self.body.is_frozen, self._anchor.device
        kept = torch.empty(len(order) if frozen else len(flat), self.width)
        for places, rows, length in blocks(np.diff(start)[order], size, EVAL_STEP):
            codes = order[places]
            index, mask = _pad(start, codes, rows, length)
            x, on_device = _at(flat, index, mask).to(device), mask.to(device)
            with torch.autocast(device.type, enabled=False):  # the same whoever asks, and when
                hidden = lower(x, on_device)
                vectors = self.body.upper(hidden, on_device) if frozen else hidden
            if frozen:
                kept[torch.from_numpy(codes)] = vectors[: len(codes)].cpu()
            else:
                real = index >= 0
                kept[index[real]] = hidden.cpu()[real]
            on_block(len(codes))
        return kept


def _keep(parts: dict[Any, Tensor], more: dict[Any, Tensor]) -> None:
    """Add ``more``, and throw away the oldest, so that ``FREE_BYTES`` are left."""
    with KEPT:
        parts.update(more)
        room = FREE_BYTES - sum(part.nbytes for part in parts.values())
        while room < 0:
            room += parts.pop(next(iter(parts))).nbytes


def _at(flat: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """[B, T] token ids or [B, T, D] hidden states at the positions ``index``, 0 outside the mask."""
    return flat[index.clamp(min=0)] * (mask if flat.dim() == 1 else mask[:, :, None])


def _pad(starts: Ints, codes: Ints, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """[rows, length] positions in the flat token array, -1 where there is none, and the attention
    mask.

    Rows beyond ``codes`` are empty; they attend to their first position, since a softmax over
    nothing is not a number.
    """
    start = np.zeros(rows, np.int64)
    size = np.zeros(rows, np.int64)
    start[: len(codes)] = starts[codes]
    size[: len(codes)] = starts[codes + 1] - starts[codes]
    column = np.arange(length)[None, :]
    real = column < size[:, None]
    index = np.where(real, start[:, None] + column, -1)
    mask = real.copy()
    mask[:, 0] = True
    return torch.from_numpy(index), torch.from_numpy(mask)
