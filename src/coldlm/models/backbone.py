"""Where a backbone comes from: a checkpoint, random weights, texts to be learned from, or nowhere.
The options of ``conf/backbone/``."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from coldlm.core.columns import Count, Range, Share
from coldlm.core.errors import CheckpointError
from coldlm.core.files import hash_file
from coldlm.core.seeding import torch_seed
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.checkpoints import find, seen_until
from coldlm.models.backbones.families import cut_layers, open_model, open_tokenizer, positions
from coldlm.models.backbones.lm_head import read_head
from coldlm.models.backbones.runtime import Runtime, version
from coldlm.models.backbones.scratch import byte_tokenizer, random_model

Pooling = Literal["mean", "cls", "last", "attention"]


def load(
    *,
    name: str,
    hub: str | None = None,
    revision: str | None = None,
    package: str | None = None,
    path: str | None = None,
    sha256: str | None = None,
    keep_layers: list[Annotated[int, Range(0)]] | Count | None = None,
    pooling: Pooling = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
    item_prefix: str = "",
    query_prefix: str = "",
    dropout: Share | None = None,
    released: str | None = None,
    runtime: Runtime = "torch",
) -> Backbone:
    """Return a checkpoint from the hub's local cache, an installed package or a folder; never code
    from the checkpoint.

    Args:
        sha256: of the weight file; refused if it differs.
        keep_layers: the first n layers, or those with these numbers (from 0); the others are left
            out.
        dropout: replaces the checkpoint's own dropout rates (they act in trained layers only).
        released: 'YYYY-MM' of the checkpoint's first publication; tables flag what is newer than
            T_test. A folder that stage pretrain made is at least as new as the texts that it has
            seen.
        runtime: what computes the frozen layers of the item texts: torch, or OpenVINO, in 32 bits or
            in 16.

    Raises:
        CheckpointError: files missing, a wrong hash, no model of texts, too few positions or
            layers, or a runtime that is not there.
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
            fingerprint=_fingerprint([folder / "config.json", *files], pooling, keep_layers)
            + version(runtime),
            output=read_head(files, model),
            runtime=runtime,
        )
        _check_reading(backbone)
    except CheckpointError as error:
        raise CheckpointError(f"backbone {name!r} in {folder}: {error}") from error
    return backbone


@dataclass(frozen=True)
class RandomVectors:
    """No backbone: the control in which every item has a fixed random vector (see
    ``text.encode.RandomEncoder``)."""

    width: int
    seed: int
    reads_text: ClassVar[bool] = False
    starts_untouched: ClassVar[bool] = True
    released: ClassVar[str | None] = None
    matched: ClassVar[dict[str, int]] = {}


def random_vectors(*, width: Count = 384, seed: int = 0) -> RandomVectors:
    """Return a fixed random vector of ``width`` per item."""
    return RandomVectors(width, seed)


def tiny(
    *,
    family: Literal["bert", "roberta", "gpt2"],
    layers: Count = 2,
    width: Annotated[int, Range(4)] = 32,
    heads: Count = 2,
    pooling: Pooling = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
    seed: int = 0,
) -> Backbone:
    """Return a small random model over bytes: it exercises every code path in seconds and knows no
    language."""
    tokenizer = byte_tokenizer(family)
    with torch_seed(seed, "tiny", family):
        model = random_model(
            family, tokenizer, layers=layers, width=width, heads=heads, positions=max_tokens + 2
        )
    return Backbone(
        model,
        tokenizer,
        name=f"tiny_{family}",
        pooling=pooling,
        max_tokens=max_tokens,
        fingerprint=f"tiny {family} {layers} {width} {heads} {max_tokens} {seed} {pooling}",
    )


@dataclass(frozen=True)
class Scratch:
    """No backbone yet: stage pretrain trains its tokenizer and its weights (see
    ``models/backbones/scratch.py``)."""

    has_weights: ClassVar[bool] = False
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
    layers: Count = 3,
    width: Annotated[int, Range(4)] = 128,
    heads: Count = 4,
    vocabulary: Annotated[int, Range(512)] = 4096,
    pooling: Pooling = "mean",
    max_tokens: Annotated[int, Range(4, 512)] = 64,
) -> Scratch:
    """Return a model of this shape with ``vocabulary`` byte-pair tokens, to be trained from nothing
    on the item texts."""
    return Scratch(family, layers, width, heads, vocabulary, pooling, max_tokens)


def _check_reading(backbone: Backbone) -> None:
    longest = positions(backbone.model)
    if longest is not None and backbone.max_tokens > longest:
        raise CheckpointError(
            f"backbone.max_tokens={backbone.max_tokens}: it has {longest} positions; choose up to "
            "that"
        )
    if backbone.causal and backbone.pooling == "cls":
        raise CheckpointError(
            "backbone.pooling=cls: the first token of a causal model has read nothing else; use "
            "last or mean"
        )
    if backbone.causal and backbone.tokenizer.eos_token_id is None:
        raise CheckpointError(
            "its tokenizer has no end-of-text token (eos_token), which a causal model reads last"
        )


def _fingerprint(files: list[Path], pooling: str, keep_layers: object) -> str:
    digest = hashlib.sha256(pooling.encode())
    if keep_layers is not None:
        digest.update(str(keep_layers).encode())
    for file in files:
        digest.update(bytes.fromhex(hash_file(file)))
    return digest.hexdigest()
