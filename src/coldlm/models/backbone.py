"""Pre-trained bodies, cut into stages so that what is frozen can be computed once.

In BERT, RoBERTa and GPT-2, stage 0 is the embeddings and stage i (1..L) the i-th transformer layer; any other model of
texts is one stage. ``depth`` says how many leading stages are constant: 0 when everything trains, all of them when
nothing does. Shapes: B texts, T tokens, D width.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from coldlm.columns import Range
from coldlm.errors import CheckpointError
from coldlm.models.checkpoints import OTHER, find, seen_until, shape_of
from coldlm.models.families import (
    cut_layers,
    find_layers,
    open_model,
    open_tokenizer,
    positions,
    probe,
    run_whole,
)
from coldlm.models.ranks import Ranks
from coldlm.models.scratch import byte_tokenizer, random_model
from coldlm.models.speech import Head, Past, WholePast, read_head, why_silent
from coldlm.seeding import torch_seed

Pooling = Literal["mean", "cls", "last", "attention"]


class Backbone(nn.Module):
    """One text encoder, without pooler, in float32.

    ``output``: [V, D], a language-model head of its own, and ``output_bias``: [V]; None where it is the word
    embeddings', or not there. It stays as it was loaded.

    A strategy (see ``models/strategy.py``) sets ``depth``; ``base_trained``: whether parameters of the backbone's own
    train; ``starts_untouched``: whether vectors are those of the untouched backbone before training; ``prompt``: [P, D]
    vectors that enter the first layer before the text; ``ranks``: a budget that moves while training; ``matched``: the
    size that it chose by itself. ``checkpointing``: layers keep their input only and are computed again going back
    (Chen et al. 2016). ``fingerprint`` identifies the weights as loaded, for caches.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        pooling: str,
        max_tokens: int,
        item_prefix: str = "",
        query_prefix: str = "",
        released: str | None = None,
        fingerprint: str = "",
        output: Head | None = None,
    ) -> None:
        super().__init__()
        self.output: Tensor | None
        self.output_bias: Tensor | None
        for part, tensor in zip(("output", "output_bias"), output or (None, None), strict=True):
            self.register_buffer(part, tensor, persistent=False)
        self.model, self.tokenizer = model, tokenizer
        self.name, self.pooling, self.max_tokens = name, pooling, max_tokens
        self.item_prefix, self.query_prefix = item_prefix, query_prefix
        self.released, self.fingerprint = released, fingerprint
        self.family = shape_of(model.config.to_dict()).family
        self.layers = find_layers(model)
        self.causal: bool = self.family == "gpt2"
        self.width: int = model.config.hidden_size
        if self.family == OTHER:
            self.causal, self.width = probe(model)
        self.depth = self.stages
        self.base_trained, self.starts_untouched = False, True
        # what attention pooling asks of every token: zero at first, which is the mean
        self.query = nn.Parameter(torch.zeros(self.width)) if pooling == "attention" else None
        self.prompt: nn.Parameter | None
        self.register_parameter("prompt", None)
        self.ranks: Ranks | None = None
        self.matched: dict[str, int] = {}
        self.checkpointing = False
        self.model.requires_grad_(False)
        self.eval()

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return 1 if self.family == OTHER else len(self.layers) + 1

    @property
    def is_frozen(self) -> bool:
        """Whether vectors are constant; under attention pooling the tokens' hidden states are at most."""
        return self.depth == self.stages and self.query is None

    def train_from(self, layer: int) -> None:
        """Say that something trains in the layers from number ``layer`` on, and that what is below them is constant."""
        self.depth = 0 if self.family == OTHER else layer + 1

    def compile_layers(self) -> None:
        """Compile the layers that are not constant, for blocks of any shape; values change by rounding only."""
        for layer in self.layers[max(self.depth - 1, 0) :]:
            layer.compile(dynamic=True)

    def train(self, mode: bool = True) -> Backbone:
        """Frozen stages stay in eval mode, whatever ``mode`` says: their dropout would be noise on constants."""
        super().train(False)
        if self.base_trained:
            for part in self._trained():
                part.train(mode)
        for part_name, part in self.model.named_modules():
            if "lora_dropout" in part_name:
                part.train(mode)
        self.training = mode
        return self

    def lower(self, x: Tensor, mask: Tensor, first: int = 0) -> Tensor:
        """[B, T, D] output of the constant stages from ``first`` on, without gradient.

        ``x``: [B, T] int64 token ids for stage 0, else [B, T, D] hidden states; ``mask``: [B, T] bool.
        """
        with torch.no_grad():
            return self._run(x, mask, first, self.depth)

    def upper(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """[B, D] pooled vectors from the output of ``lower``."""
        return self._pool(self._run(hidden, mask, self.depth, self.stages), mask)

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        """[B, D] vectors of texts, [B, T] int64, padded on either side; ``mask``: [B, T] bool, True on tokens.

        ``types``: [B, T] int64, 0 in the first text and 1 in the second; backbones that know no types do not look.
        """
        tokens_first = (~mask).byte().argsort(dim=1, stable=True)
        ids, mask = ids.gather(1, tokens_first), mask.gather(1, tokens_first)
        types = None if types is None else types.gather(1, tokens_first)
        with torch.no_grad():
            x = self._run(ids, mask, 0, self.depth, types)
        return self._pool(self._run(x, mask, self.depth, self.stages, types), mask)

    @property
    def silence(self) -> str | None:
        """Why it cannot say how probable the next token is; None if it can."""
        return why_silent(self.model, self.output, self.family, self.causal)

    def hidden(self, ids: Tensor, mask: Tensor) -> Tensor:
        """[B, T, D] output of a causal model for right-padded texts, what ``vocabulary`` reads."""
        with torch.no_grad():
            x = self._run(ids, mask, 0, self.depth)
        out: Tensor = self._run(x, mask, self.depth, self.stages)
        return out if self.family == OTHER else self.model.ln_f(out)

    def nothing_read(self) -> Past | WholePast:
        """What ``proceed`` begins with."""
        return WholePast() if self.family == OTHER else Past()

    @torch.no_grad()
    def proceed(self, ids: Tensor, mask: Tensor, past: Past | WholePast) -> Tensor:
        """[B, T, D] what ``hidden`` gives, for texts that go on behind ``past``, which then holds them too."""
        return past.proceed(self, ids, mask)

    def vocabulary(self, hidden: Tensor) -> Tensor:
        """[..., V] logits of the next token."""
        weight = self.model.get_input_embeddings().weight if self.output is None else self.output
        return F.linear(hidden, weight, self.output_bias)

    def _trained(self) -> list[nn.Module]:
        """The parts whose own weights train."""
        if self.family == OTHER:
            if all(p.requires_grad for p in self.model.parameters()):
                return [self.model]
            return [layer for layer in self.layers if any(p.requires_grad for p in layer.parameters())]
        final = [self.model.ln_f] if self.causal else []
        return [self._embeddings(), *self.layers, *final][self.depth :]

    def _embeddings(self) -> nn.Module:
        # GPT-2 has no embeddings module of its own: word and position tables and a dropout stand side by side
        return (
            nn.ModuleList([self.model.wte, self.model.wpe, self.model.drop]) if self.causal else self.model.embeddings
        )

    def _embed(self, ids: Tensor, types: Tensor | None = None) -> Tensor:
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        embedded: Tensor
        if self.causal:
            embedded = self.model.drop(self.model.wte(ids) + self.model.wpe(positions))
        else:
            # RoBERTa numbers its positions from behind the padding's
            first = self.model.embeddings.padding_idx + 1 if self.family == "roberta" else 0
            types = types if self.model.config.type_vocab_size > 1 else None
            embedded = self.model.embeddings(input_ids=ids, position_ids=positions + first, token_type_ids=types)
        return embedded

    def _run(self, x: Tensor, mask: Tensor, first: int, last: int, types: Tensor | None = None) -> Tensor:
        """Stages ``first`` to ``last`` (excluded); ``x`` holds ids for stage 0, hidden states otherwise."""
        if self.family == OTHER:
            return run_whole(self.model, x, mask, types) if first < last else x
        if first == 0 < last:
            x = self._embed(x, types)
        layers = self.layers[max(first - 1, 0) : max(last - 1, 0)]
        if self.prompt is None or not len(layers):
            return self._attend(x, mask, layers)
        # behind the embeddings, so the text's positions are its own; dropped again before pooling
        before = self.prompt.expand(len(x), -1, -1).to(x.dtype)
        mask = F.pad(mask, (before.shape[1], 0), value=True)
        return self._attend(torch.cat([before, x], 1), mask, layers)[:, before.shape[1] :]

    def _attend(self, x: Tensor, mask: Tensor, layers: nn.ModuleList) -> Tensor:
        """[B, T, D] hidden states behind ``layers``."""
        # texts of one length need no mask, and attention without one is faster
        attend = None if not self.causal and bool(mask.all()) else mask[:, None, None, :]
        if attend is not None and self.causal:
            attend = attend & torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device).tril()
        for layer in layers:
            if self.checkpointing and torch.is_grad_enabled():
                x = checkpoint(layer, x, attention_mask=attend, use_reentrant=False)
            else:
                x = layer(x, attention_mask=attend)
        return x

    def _pool(self, hidden: Tensor, mask: Tensor) -> Tensor:
        hidden = self.model.ln_f(hidden) if self.family == "gpt2" else hidden
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "last":
            return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]
        if self.query is not None:
            asked = (hidden @ self.query / self.width**0.5).masked_fill(~mask, -torch.inf)
            hidden = hidden * asked.softmax(1)[:, :, None]
            return hidden.sum(1)
        weight = mask[:, :, None].to(hidden.dtype)
        return (hidden * weight).sum(1) / weight.sum(1)


def load(
    *,
    name: str,
    hub: str | None = None,
    revision: str | None = None,
    package: str | None = None,
    path: str | None = None,
    sha256: str | None = None,
    keep_layers: list[Annotated[int, Range(0)]] | Annotated[int, Range(1)] | None = None,
    pooling: Pooling = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
    item_prefix: str = "",
    query_prefix: str = "",
    dropout: Annotated[float, Range(0, 1)] | None = None,
    released: str | None = None,
) -> Backbone:
    """A checkpoint from the hub's local cache, an installed package or a folder; never code from the checkpoint.

    Args:
        sha256: of the weight file; refused if it differs.
        keep_layers: the first n layers, or those with these numbers (from 0); the others are left out.
        dropout: replaces the checkpoint's own dropout rates (they act in trained layers only).
        released: 'YYYY-MM' of the checkpoint's first publication; tables flag what is newer than T_test. A folder that
            stage pretrain made is at least as new as the texts that it has seen.

    Raises:
        CheckpointError: files missing, a wrong hash, no model of texts, or too few positions or layers.
    """
    folder = find(name=name, hub=hub, revision=revision, package=package, path=path, sha256=sha256)
    try:
        model = open_model(folder, dropout=dropout)
        if keep_layers is not None:
            cut_layers(model, keep_layers)
        tokenizer, files = open_tokenizer(folder, model), sorted(folder.glob("*.safetensors"))
        backbone = Backbone(
            model,
            tokenizer,
            name=name,
            pooling=pooling,
            max_tokens=max_tokens,
            item_prefix=item_prefix,
            query_prefix=query_prefix,
            released=max(filter(None, [released, seen_until(folder)]), default=None),
            fingerprint=_fingerprint(files, pooling, keep_layers),
            output=read_head(files, model),
        )
        _check_reading(backbone)
    except CheckpointError as error:
        raise CheckpointError(f"backbone {name!r} in {folder}: {error}") from error
    return backbone


@dataclass(frozen=True)
class RandomVectors:
    """No backbone: the control in which every item has a fixed random vector (see ``text.encode.RandomEncoder``)."""

    width: int
    seed: int


def random_vectors(*, width: Annotated[int, Range(1)] = 384, seed: int = 0) -> RandomVectors:
    """A fixed random vector of ``width`` per item."""
    return RandomVectors(width, seed)


def tiny(
    *,
    family: Literal["bert", "roberta", "gpt2"],
    layers: Annotated[int, Range(1)] = 2,
    width: Annotated[int, Range(4)] = 32,
    heads: Annotated[int, Range(1)] = 2,
    pooling: Pooling = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
    seed: int = 0,
) -> Backbone:
    """A small random model over bytes: it exercises every code path in seconds and knows no language."""
    tokenizer = byte_tokenizer(family)
    with torch_seed(seed, "tiny", family):
        model = random_model(family, tokenizer, layers=layers, width=width, heads=heads, positions=max_tokens + 2)
    return Backbone(
        model,
        tokenizer,
        name=f"tiny_{family}",
        pooling=pooling,
        max_tokens=max_tokens,
        fingerprint=f"tiny {family} {layers} {width} {heads} {seed} {pooling}",
    )


@dataclass(frozen=True)
class Scratch:
    """No backbone yet: stage pretrain trains its tokenizer and its weights (see ``models/scratch.py``)."""

    family: str
    layers: int
    width: int
    heads: int
    vocabulary: int
    pooling: Pooling
    max_tokens: int


def scratch(
    *,
    family: Literal["bert", "roberta", "gpt2"],
    layers: Annotated[int, Range(1)] = 3,
    width: Annotated[int, Range(4)] = 128,
    heads: Annotated[int, Range(1)] = 4,
    vocabulary: Annotated[int, Range(512)] = 4096,
    pooling: Pooling = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
) -> Scratch:
    """A model of this shape with ``vocabulary`` byte-pair tokens, to be trained from nothing on the item texts."""
    return Scratch(family, layers, width, heads, vocabulary, pooling, max_tokens)


def _check_reading(backbone: Backbone) -> None:
    longest = positions(backbone.model)
    if longest is not None and backbone.max_tokens > longest:
        raise CheckpointError(
            f"backbone.max_tokens={backbone.max_tokens}: it has {longest} positions; choose up to that"
        )
    if backbone.causal and backbone.pooling == "cls":
        raise CheckpointError(
            "backbone.pooling=cls: the first token of a causal model has read nothing else; use last or mean"
        )
    if backbone.causal and backbone.tokenizer.eos_token_id is None:
        raise CheckpointError("its tokenizer has no end-of-text token (eos_token), which a causal model reads last")


def _fingerprint(files: list[Path], pooling: str, keep_layers: object) -> str:
    digest = hashlib.sha256(pooling.encode())
    if keep_layers is not None:
        digest.update(str(keep_layers).encode())
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
