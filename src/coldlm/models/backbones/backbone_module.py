"""Pre-trained bodies, cut into stages so that what is frozen can be computed once.

In BERT, RoBERTa and GPT-2, stage 0 is the embeddings and stage i (1..L) the i-th transformer layer;
any other model of texts is one stage. ``depth`` says how many leading stages are constant: 0 when
everything trains, all of them when nothing does. Shapes: B texts, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from coldlm.models.backbones.checkpoints import OTHER, shape_of
from coldlm.models.backbones.families import find_layers, probe, run_whole
from coldlm.models.backbones.lm_head import Head, Past, WholePast, why_silent
from coldlm.models.backbones.runtime import Runtime, Stages, compiled
from coldlm.models.parts.adalora import Ranks


class Backbone(nn.Module):
    """One text encoder, without pooler, in float32.

    ``output``: [V, D], a language-model head of its own, and ``output_bias``: [V]; None where it is
    the word embeddings', or not there. It stays as it was loaded.

    A strategy (see ``models/strategy.py``) sets ``depth``; ``base_trained``: whether parameters of
    the backbone's own train; ``starts_untouched``: whether vectors are those of the untouched
    backbone before training; ``prompt``: [P, D] vectors that enter the first layer before the text;
    ``ranks``: a budget that moves while training; ``matched``: the size that it chose by itself.
    ``checkpointing``: layers keep their input only and are computed again going back (Chen et al.
    2016). ``graph_tokens``: tokens of a batch whose graphs are in memory at once, None for all of them
    (see ``text.again``). ``fingerprint`` identifies the weights as loaded, for caches. ``runtime``: what computes the
    constant stages of a whole catalogue.
    """

    reads_text = True
    has_weights = True

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
        runtime: Runtime = "torch",
    ) -> None:
        super().__init__()
        self.output: Tensor | None
        self.output_bias: Tensor | None
        for part, tensor in zip(("output", "output_bias"), output or (None, None), strict=True):
            self.register_buffer(part, tensor, persistent=False)
        self.model, self.tokenizer = model, tokenizer
        self.name, self.pooling, self.max_tokens = name, pooling, max_tokens
        self.item_prefix, self.query_prefix = item_prefix, query_prefix
        self.released, self.fingerprint, self.runtime = released, fingerprint, runtime
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
        self.graph_tokens: int | None = None
        self.model.requires_grad_(False)
        self.eval()

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return 1 if self.family == OTHER else len(self.layers) + 1

    @property
    def is_frozen(self) -> bool:
        """Whether vectors are constant; under attention pooling the tokens' hidden states are at
        most."""
        return self.depth == self.stages and self.query is None

    def train_from(self, layer: int) -> None:
        """Say that something trains in the layers from number ``layer`` on, and that what is below
        them is constant."""
        self.depth = 0 if self.family == OTHER else layer + 1

    def compile_layers(self) -> None:
        """Compile the layers that are not constant, for blocks of any shape; values change by
        rounding only."""
        for layer in self.layers[max(self.depth - 1, 0) :]:
            layer.compile(dynamic=True)

    def train(self, mode: bool = True) -> Backbone:
        """Frozen stages stay in eval mode, whatever ``mode`` says: their dropout would be noise on
        constants."""
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
        """Return [B, T, D] output of the constant stages from ``first`` on, without gradient.

        ``x``: [B, T] int64 token ids for stage 0, else [B, T, D] hidden states; ``mask``: [B, T]
        bool.
        """
        with torch.no_grad():
            return self._run(x, mask, first, self.depth)

    def lower_of_many(self) -> Stages:
        """Return what computes ``lower`` from token ids for many texts, made for it for seconds, but
        for torch."""
        return compiled(self.runtime, self.lower)

    def words(self, blocks: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return word vectors [B, T, D] of several blocks of token ids [B, T], as ``upper`` takes them
        where nothing is constant: looked up at once, for the gradient of a lookup is as large as the
        vocabulary. The ids themselves in models that are run as one stage."""
        if self.family == OTHER:
            return blocks
        found = self.model.get_input_embeddings()(torch.cat([ids.flatten() for ids in blocks]))
        parts = found.split([ids.numel() for ids in blocks])
        return [part.view(*ids.shape, -1) for part, ids in zip(parts, blocks, strict=True)]

    def upper(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return [B, D] pooled vectors from the output of ``lower``, or of ``words``."""
        return self._pool(self._run(hidden, mask, self.depth, self.stages), mask)

    def forward(self, ids: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        """Return [B, D] vectors of texts, [B, T] int64, padded on either side; ``mask``: [B, T]
        bool, True on tokens.

        ``types``: [B, T] int64, 0 in the first text and 1 in the second; backbones that know no
        types do not look.
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
        """Return [B, T, D] output of a causal model for right-padded texts, what ``vocabulary``
        reads."""
        with torch.no_grad():
            x = self._run(ids, mask, 0, self.depth)
        out: Tensor = self._run(x, mask, self.depth, self.stages)
        return out if self.family == OTHER else self.model.ln_f(out)

    def nothing_read(self) -> Past | WholePast:
        """Return what ``proceed`` begins with."""
        return WholePast() if self.family == OTHER else Past()

    @torch.no_grad()
    def proceed(self, ids: Tensor, mask: Tensor, past: Past | WholePast) -> Tensor:
        """Return [B, T, D] what ``hidden`` gives, for texts that go on behind ``past``, which then
        holds them too."""
        return past.proceed(self, ids, mask)

    @property
    def branches(self) -> bool:
        """Whether it can read several continuations of a text as one sequence, by ``branch``."""
        return self.family != OTHER

    @torch.no_grad()
    def branch(self, ids: Tensor, depth: Tensor, sees: Tensor, past: Past) -> Tensor:
        """Return [B, T, D] what ``hidden`` gives for tokens ``ids`` that continue ``past`` in several
        ways: see ``Past.branch``."""
        return past.branch(self, ids, depth, sees)

    def vocabulary(self, hidden: Tensor) -> Tensor:
        """Return [..., V] logits of the next token."""
        weight = self.model.get_input_embeddings().weight if self.output is None else self.output
        return F.linear(hidden, weight, self.output_bias)

    def _trained(self) -> list[nn.Module]:
        """The parts whose own weights train."""
        if self.family == OTHER:
            if all(p.requires_grad for p in self.model.parameters()):
                return [self.model]
            return [
                layer for layer in self.layers if any(p.requires_grad for p in layer.parameters())
            ]
        final = [self.model.ln_f] if self.causal else []
        return [self._embeddings(), *self.layers, *final][self.depth :]

    def _embeddings(self) -> nn.Module:
        # GPT-2 has no embeddings module of its own: word and position tables and a dropout stand
        # side by side
        return (
            nn.ModuleList([self.model.wte, self.model.wpe, self.model.drop])
            if self.causal
            else self.model.embeddings
        )

    def _embed(self, x: Tensor, types: Tensor | None = None) -> Tensor:
        """[B, T, D] what enters the layers, from token ids or from word vectors."""
        positions = torch.arange(x.shape[1], device=x.device)[None]
        words = x if x.is_floating_point() else self.model.get_input_embeddings()(x)
        embedded: Tensor
        if self.causal:
            embedded = self.model.drop(words + self.model.wpe(positions))
        else:
            # RoBERTa numbers its positions from behind the padding's
            first = self.model.embeddings.padding_idx + 1 if self.family == "roberta" else 0
            types = types if self.model.config.type_vocab_size > 1 else None
            embedded = self.model.embeddings(
                inputs_embeds=words, position_ids=positions + first, token_type_ids=types
            )
        return embedded

    def _run(
        self, x: Tensor, mask: Tensor, first: int, last: int, types: Tensor | None = None
    ) -> Tensor:
        """Stages ``first`` to ``last`` (excluded); ``x`` holds ids or word vectors for stage 0, hidden
        states otherwise."""
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
            attend = (
                attend
                & torch.ones(
                    mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device
                ).tril()
            )
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
