"""How a causal model goes on from what it has read, and says what may come next. Shapes: B texts, T
tokens, D width."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache

from coldlm.models.backbones.checkpoints import FAMILIES, OTHER

HEADS: Final = ("lm_head", "embed_out")
"""What the language-model head is called in a checkpoint."""

BENT: Final = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Keys of a config by which an architecture changes its logits behind the head."""

Head = tuple[Tensor, Tensor | None]
"""[V, D] weights and [V] bias of a language-model head."""


def read_head(files: Sequence[Path], model: Any) -> Head | None:
    """Return the head in ``files`` of a model whose head is not its word embeddings; None if there
    is none."""
    if model.config.tie_word_embeddings:
        return None
    parts: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, "pt") as stored:
            wanted = {f"{name}.{part}": part for name in HEADS for part in ("weight", "bias")}
            parts |= {
                wanted[key]: stored.get_tensor(key).float()
                for key in stored.keys()  # noqa: SIM118  it is no mapping
                if key in wanted
            }
    return (parts["weight"], parts.get("bias")) if "weight" in parts else None


def why_silent(model: Any, head: Tensor | None, family: str, causal: bool) -> str | None:
    """Return why a model cannot say how probable the next token is; None if it can."""
    config = model.config
    if not causal:
        return "it is no causal model: every token sees those behind it"
    if head is None and not config.tie_word_embeddings:
        return (
            f"it has no language-model head ({' or '.join(f'{name}.weight' for name in HEADS)} in "
            "its folder, or tie_word_embeddings=true); use one that was saved with its head"
        )
    if family != OTHER:
        return None
    if config.model_type in FAMILIES:
        return (
            f"a {config.model_type!r} decoder has more layers in its head than are read here; "
            "use another decoder"
        )
    if bent := [key for key in BENT if getattr(config, key, None) not in (None, 1.0)]:
        return (
            f"its architecture changes its logits ({bent[0]}={getattr(config, bent[0])}); use "
            "another decoder"
        )
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        return (
            f"a {config.model_type!r} model keeps no keys and values to go on from; use a "
            "decoder with attention"
        )
    return None


class Past:
    """Keys and values of what a model that is run layer by layer has read, each [B, heads, T, D /
    heads]."""

    def __init__(self, known: dict[int, tuple[Tensor, Tensor]] | None = None) -> None:
        self._known = known or {}

    @property
    def length(self) -> int:
        """Tokens read."""
        return self._known[0][0].shape[2] if self._known else 0

    def update(self, key: Tensor, value: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """Add those of further tokens; what all of them follow may be there once. All keys and
        values of the layer."""
        if layer in self._known:
            key, value = (
                torch.cat([old.expand(len(new), -1, -1, -1), new], 2)
                for old, new in zip(self._known[layer], (key, value), strict=True)
            )
        self._known[layer] = key, value
        return key, value

    def fork(self, rows: Tensor | None = None) -> Past:
        """Another continuation of the same text, or of the texts ``rows``."""
        if rows is None:
            return Past(dict(self._known))
        return Past(
            {layer: (key[rows], value[rows]) for layer, (key, value) in self._known.items()}
        )

    def proceed(self, backbone: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Return [B, T, D] hidden states of right-padded texts behind what was read, which then is
        part of it."""
        depth = torch.arange(ids.shape[1], device=ids.device)
        sees = mask[:, None, :] & (depth[:, None] >= depth)
        return self.branch(backbone, ids, depth[None], sees)

    def branch(self, backbone: Any, ids: Tensor, depth: Tensor, sees: Tensor) -> Tensor:
        """As ``proceed``, for tokens which see of each other what ``sees`` says, [B, T, T] bool, and
        stand ``depth``, [1 or B, T] int64, behind what was read."""
        model, prompt = backbone.model, backbone.prompt
        before = 0 if prompt is None else len(prompt)
        first = max(self.length - before, 0)  # a prompt takes no position
        x = model.drop(model.wte(ids) + model.wpe(first + depth))
        if prompt is not None and not self.length:
            x = torch.cat([prompt.expand(len(x), -1, -1).to(x.dtype), x], 1)
            own = sees.new_ones(before, before).tril().expand(len(x), -1, -1)
            sees = torch.cat(
                [F.pad(own, (0, ids.shape[1])), F.pad(sees, (before, 0), value=True)], 1
            )
        attend = F.pad(sees[:, None], (self.length, 0), value=True)
        for layer in backbone.layers:
            x = layer(x, past_key_values=self, attention_mask=attend)
        out: Tensor = model.ln_f(x[:, -ids.shape[1] :])
        return out


class WholePast:
    """The same for a model that is run by its own forward, as transformers keeps it."""

    def __init__(self, cache: Any = None, texts: int = 1) -> None:
        self._cache = DynamicCache() if cache is None else cache
        self._texts = texts

    def fork(self, rows: Tensor | None = None) -> WholePast:
        """As ``Past.fork``."""
        cache = copy.deepcopy(self._cache)
        if rows is None:
            return WholePast(cache, self._texts)
        cache.batch_select_indices(rows)
        return WholePast(cache, len(rows))

    def proceed(self, backbone: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """As ``Past.proceed``. What is padded stands behind every token that is read, so nothing
        sees it."""
        n = self._cache.get_seq_length()
        if n and self._texts < len(ids):
            self._cache.batch_repeat_interleave(len(ids))
        out = backbone.model(
            input_ids=ids,
            attention_mask=torch.ones(
                len(ids), n + ids.shape[1], dtype=torch.long, device=ids.device
            ),
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache, self._texts = out.past_key_values, len(ids)
        hidden: Tensor = out.last_hidden_state
        return hidden
