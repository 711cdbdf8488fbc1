"""What a configuration may hold: its values as dataclasses, its things by group, and which targets a group may name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from coldlm.config.signatures import Field
from coldlm.core.columns import Range

Node = dict[str, object]
"""A thing: ``_target_`` names a function or class of coldlm, the other keys are its keyword-only parameters."""

Count = Annotated[int, Range(1)]
Share = Annotated[float, Range(0, 1)]
Above0 = Annotated[float, Range(0, above=True)]


@dataclass(frozen=True)
class Train:
    """See conf/run.yaml for what the values mean."""

    head_epochs: Annotated[int, Range(0)]
    epochs: Count
    patience: Annotated[int, Range(0)]
    validate: bool
    batch_size: Count
    session: Count
    max_steps: Count | None
    latest: Count | None
    accumulate: Count
    clip: Above0 | None
    warmup: Share


@dataclass(frozen=True)
class Pretrain:
    """See conf/pretrain/masked_lm.yaml for what the values mean."""

    objective: Literal["off", "masked_lm", "causal_lm", "contrastive"]
    epochs: Count
    max_steps: Count | None
    max_seconds: Above0 | None
    lr: Above0
    batch_size: Annotated[int, Range(2)]
    held_out: Annotated[float, Range(0, 0.5, above=True)]
    mask_share: Annotated[float, Range(0, 1, above=True)] | None
    temperature: Above0 | None


@dataclass(frozen=True)
class Evaluate:
    candidates: Literal["full", "impression"]
    k: Count
    queries: Annotated[int, Range(300)] | None
    k_shot: list[Annotated[int, Range(0)]]
    latency_requests: Annotated[int, Range(0)]


@dataclass(frozen=True)
class Online:
    schedule: Literal["off", "per_window", "retrain"]
    epochs: Count | None
    lr_factor: Above0


@dataclass(frozen=True)
class Trainer:
    accelerator: Literal["cpu", "gpu"]
    devices: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    gradient_checkpointing: bool
    compile: bool
    threads: Count | None
    port: Annotated[int, Range(1024, 65535)] | None


@dataclass(frozen=True)
class Tuning:
    """How values were chosen: ``coldlm tune`` writes it. A label, which changes no training."""

    trials: Annotated[int, Range(0)]
    keys: list[str]


@dataclass(frozen=True)
class Control:
    name: Literal["none", "context_only", "random_vectors", "permuted_text"]
    replaces: dict[str, str]


@dataclass(frozen=True)
class Run:
    """A whole configuration. Dataclasses are values, ``Node`` is a thing of the group that the field is named after."""

    stages: list[Literal["pretrain", "train", "evaluate", "online", "k_shot"]]
    seed: Annotated[int, Range(0)]
    output: str
    name: str | None
    cache: str
    train: Train
    evaluate: Evaluate
    online: Online
    trainer: Trainer
    control: Control
    tuning: Tuning
    backbone: Node
    strategy: Node
    head: Node
    loss: Node
    dataset: Node
    split: Node
    optim: Node
    logger: Node
    pretrain: Pretrain


HEADS = ("towers", "pair", "causal_lm", "zero_shot")
"""Modules of ``coldlm.models`` that hold a head."""

FIRST_STAGES = ("recent_popularity", "popularity", "tfidf", "zero_shot")
"""Names of ``head.first_stage``; anything else is the folder of a run."""

ALLOWED = {
    "backbone": ("coldlm.models.backbone.*",),
    "strategy": ("coldlm.models.strategy.*",),
    "head": tuple(f"coldlm.models.{head}.*" for head in HEADS),
    "loss": ("coldlm.models.losses.*",),
    "dataset": ("coldlm.data.*.load",),
    "split": ("coldlm.split.cuts.*",),
    "optim": ("coldlm.learn.optimisers.*",),
    "logger": ("coldlm.learn.loggers.*",),
}
"""The targets of each group; besides, a target must be a public function or class that its module defines itself."""

WITH_LISTS = ("coldlm.data.mind.load", "coldlm.data.ebnerd.load")
"""Data sets whose sources hold candidate lists as they were shown."""

EXTRA = {
    "dataset": {"permute_text": Field(bool), "release_slot": Field(Literal["hour", "day", "week", "auto"] | None)},
    "split": {"refit": Field(bool)},
    "optim": {"schedule": Field(Literal["constant", "linear", "cosine"])},
}
"""Keys of a group that are not the target's own: what is done with the thing after it was built."""
