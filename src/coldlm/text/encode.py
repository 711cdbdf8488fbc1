"""Item texts -> vectors, each text encoded once; the output of the frozen lower stages is computed
once and kept.

Shapes: N items, n texts asked for, T tokens, D width, S tokens of all items.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from coldlm.core.files import write_file
from coldlm.core.seeding import generator
from coldlm.core.tables import Ints
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

TRAIN_TOKENS = 4096
"""Tokens per block with gradient; such blocks hold texts of exactly one length, so that no mask is
needed."""


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
    tokenizer: object

    def lower(self, x: Tensor, mask: Tensor, first: int = 0) -> Tensor: ...
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
        self.tokens = tokenize(
            [body.item_prefix + text for text in texts],
            body.tokenizer,
            body.max_tokens,
            causal=body.causal,
        )
        self._order = order
        self._row = np.arange(len(texts)) if row is None else row
        self._on_block = on_block
        # the frozen part stays in main memory: only the rows of a block travel to the device
        self._kept: Tensor | None = None
        self._memo: dict[str, Tensor] = {}
        self._anchor: Tensor
        self.register_buffer("_anchor", torch.empty(0), persistent=False)
        if body.depth:
            self._kept = self._load_or_compute(cache)

    def items(self, codes: Tensor) -> Tensor:
        """Return [n, D] vectors of the item ``codes``, [n] int64; with gradient where the backbone
        trains."""
        rows = self._row[codes.cpu().numpy()]
        if self.body.is_frozen:
            assert self._kept is not None
            return self._kept[torch.from_numpy(rows)].to(self._anchor.device)
        return self._encode(self.tokens, rows, self._kept, None if self.training else EVAL_TOKENS)

    def all_items(self) -> Tensor:
        """Return [N, D] vectors of every item, without gradient; call it in eval mode: later items
        cannot change a bit."""
        with torch.no_grad():
            vectors = self.items(torch.from_numpy(self._order))
            out = torch.empty_like(vectors)
            out[torch.from_numpy(self._order).to(out.device)] = vectors
            return out

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return [n, D] vectors of free texts (queries, profiles); under a frozen body each text is
        encoded once."""
        if not self.body.is_frozen:
            return self._encode_texts(texts)
        return _remember(self._memo, self._encode_texts, texts)

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        tokens = tokenize(
            [self.body.query_prefix + text for text in texts],
            self.body.tokenizer,
            self.body.max_tokens,
            causal=self.body.causal,
        )
        # what is kept must not depend on the moment at which it was first asked for
        size = None if self.training and not self.body.is_frozen else TEXT_TOKENS
        return self._encode(tokens, np.arange(len(texts)), None, size)

    def _encode(
        self, tokens: Tokens, codes: Ints, kept: Tensor | None, fixed: int | None
    ) -> Tensor:
        """[n, D] vectors in blocks of ``fixed`` tokens and fixed shapes, or, for training (None),
        in exact shapes."""
        device = self._anchor.device
        parts, places = [], []
        for places_in, rows, length in blocks(
            tokens.lengths[codes], fixed or TRAIN_TOKENS, EVAL_STEP if fixed else 1
        ):
            index, mask = _pad(tokens, codes[places_in], rows if fixed else len(places_in), length)
            if kept is not None:
                hidden, mask = (
                    (kept[index.clamp(min=0)] * mask[:, :, None]).to(device),
                    mask.to(device),
                )
            else:
                ids, mask = (
                    (torch.from_numpy(tokens.ids)[index.clamp(min=0)] * mask).to(device),
                    mask.to(device),
                )
                hidden = self.body.lower(ids, mask) if self.body.depth else ids
            parts.append(self.body.upper(hidden, mask)[: len(places_in)])
            places.append(places_in)
        where = np.empty(len(codes), np.int64)
        where[np.concatenate(places)] = np.arange(len(codes))
        return torch.cat(parts)[torch.from_numpy(where).to(device)]

    def _load_or_compute(self, cache: Path | None) -> Tensor:
        """The frozen part's output: from the cache, or from the deepest cached stage below it, or
        from the ids."""
        if cache is None:
            return self._compute(None, 0)
        file = self._file(cache, self.body.depth)
        if file.is_file():
            return load_file(file)["kept"]
        below = next(
            (d for d in range(self.body.depth - 1, 0, -1) if self._file(cache, d).is_file()), 0
        )
        kept = self._compute(load_file(self._file(cache, below))["kept"] if below else None, below)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, lambda part: save_file({"kept": kept}, part))
        return kept

    def _file(self, cache: Path, depth: int) -> Path:
        key = hashlib.sha256(f"{self.body.fingerprint} {depth} {EVAL_TOKENS} {EVAL_STEP}".encode())
        for array in (self.tokens.ids, self.tokens.start, self._order):
            key.update(array.tobytes())
        return cache / "hidden" / f"{key.hexdigest()[:32]}.safetensors"

    @torch.no_grad()
    def _compute(self, below: Tensor | None, first: int) -> Tensor:
        """[N, D] vectors if nothing trains, else [S, D] hidden states below the lowest trained
        stage.

        Args:
            below: [S, D] output of the stages before ``first``, None for the token ids themselves.
        """
        log.info("encoding %d item texts with %s", len(self._order), self.body.name)
        frozen, device = self.body.is_frozen, self._anchor.device
        kept = torch.empty(len(self._order) if frozen else len(self.tokens.ids), self.width)
        for places, rows, length in blocks(
            self.tokens.lengths[self._order], EVAL_TOKENS, EVAL_STEP
        ):
            codes = self._order[places]
            index, mask = _pad(self.tokens, codes, rows, length)
            at = index.clamp(min=0)
            x = (
                torch.from_numpy(self.tokens.ids)[at] * mask
                if below is None
                else below[at] * mask[:, :, None]
            )
            mask = mask.to(device)
            hidden = self.body.lower(x.to(device), mask, first)
            if frozen:
                kept[torch.from_numpy(codes)] = self.body.upper(hidden, mask)[: len(codes)].cpu()
            else:
                real = index >= 0
                kept[index[real]] = hidden.cpu()[real]
            self._on_block(len(codes))
        return kept


class FixedEncoder(nn.Module):
    """Another encoder's item vectors as constants: for training a head alone while the encoder
    stands still."""

    def __init__(self, vectors: Tensor, texts: Callable[[Sequence[str]], Tensor]) -> None:
        super().__init__()
        self.width = vectors.shape[1]
        self._vectors, self._texts = vectors, texts
        self._memo: dict[str, Tensor] = {}

    def items(self, codes: Tensor) -> Tensor:
        """Return [n, D] vectors of item codes."""
        return self._vectors[codes]

    def all_items(self) -> Tensor:
        """Return [N, D] vectors of every item."""
        return self._vectors

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return [n, D] vectors of free texts, each encoded once."""
        return _remember(self._memo, self._texts, texts)


def _remember(
    memo: dict[str, Tensor], encode: Callable[[Sequence[str]], Tensor], texts: Sequence[str]
) -> Tensor:
    new = [text for text in dict.fromkeys(texts) if text not in memo]
    if new:
        with torch.no_grad():
            memo.update(zip(new, encode(new), strict=True))
    return torch.stack([memo[text] for text in texts])


class RandomEncoder(nn.Module):
    """The control that knows no language: a fixed random unit vector per item, and per distinct
    free text.

    Args:
        body: ``RandomVectors``, which says how wide they are and by which seed they are drawn.
    """

    def __init__(self, n_items: int, body: Any) -> None:
        super().__init__()
        self.body = body
        self.width: int = body.width
        self.seed: int = body.seed
        vectors = [self._vector("item", item) for item in range(n_items)]
        self.register_buffer("_vectors", torch.from_numpy(np.stack(vectors)), persistent=False)
        self._vectors: Tensor

    def items(self, codes: Tensor) -> Tensor:
        """Return [n, D] vectors of item codes."""
        return self._vectors[codes]

    def all_items(self) -> Tensor:
        """Return [N, D] vectors of every item."""
        return self._vectors

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Return [n, D] vectors of free texts; equal texts get equal vectors, similar ones do not
        get similar vectors."""
        return torch.from_numpy(np.stack([self._vector("text", text) for text in texts])).to(
            self._vectors.device
        )

    def _vector(self, kind: str, key: object) -> np.ndarray:
        vector = (
            generator(self.seed, "random vector", kind, key)
            .standard_normal(self.width)
            .astype(np.float32)
        )
        return vector / np.linalg.norm(vector)


def _pad(tokens: Tokens, codes: Ints, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """[rows, length] positions in the flat token array, -1 where there is none, and the attention
    mask.

    Rows beyond ``codes`` are empty; they attend to their first position, since a softmax over
    nothing is not a number.
    """
    start = np.zeros(rows, np.int64)
    size = np.zeros(rows, np.int64)
    start[: len(codes)] = tokens.start[codes]
    size[: len(codes)] = tokens.lengths[codes]
    column = np.arange(length)[None, :]
    real = column < size[:, None]
    index = np.where(real, start[:, None] + column, -1)
    mask = real.copy()
    mask[:, 0] = True
    return torch.from_numpy(index), torch.from_numpy(mask)
