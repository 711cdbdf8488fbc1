"""What a configuration holds: its values as dataclasses, its things as nodes by group."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from coldlm.core.columns import PERMUTED_TEXT, Above0, Count, Range, Share

Node = dict[str, Any]
"""A thing: ``_target_`` names a function or class, the other keys are its keyword-only
parameters."""


@dataclass(frozen=True)
class Train:
    """See conf/run.yaml for what the values mean."""

    head_epochs: Annotated[int, Range(0)]
    epochs: Count
    patience: Annotated[int, Range(0)]
    validate: bool
    refit: bool
    batch_size: Count
    session: Count
    max_steps: Count | None
    latest: Count | None
    accumulate: Count
    clip: Above0 | None
    warmup: Share
    schedule: Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Pretrain:
    """See conf/pretrain/masked_lm.yaml for what the values mean."""

    objective: Literal["off", "masked_lm", "causal_lm", "contrastive", "item_to_item"]
    epochs: Count
    max_steps: Count | None
    max_seconds: Above0 | None
    lr: Above0
    batch_size: Annotated[int, Range(2)]
    held_out: Annotated[float, Range(0, 0.5, above=True)]
    mask_share: Annotated[float, Range(0, 1, above=True)] | None
    temperature: Above0 | None
    items: Annotated[int, Range(2)] | None


@dataclass(frozen=True)
class Evaluate:
    candidates: Literal["full", "impression"]
    k: Count
    queries: Annotated[int, Range(300)] | None
    k_shot: list[Annotated[int, Range(0)]]
    shelf: Annotated[int, Range(0)]
    rivals: list[str]
    lists: Annotated[int, Range(0)]
    latency_requests: Annotated[int, Range(0)]


@dataclass(frozen=True)
class Online:
    """See conf/online/_base.yaml for what the values mean; the nodes are those of groups of their
    own."""

    trigger: Node
    data: Node
    regulariser: Node
    scope: Node
    gate: Node
    label_delay_seconds: Annotated[int, Range(0)]
    latency_seconds: Annotated[float, Range(0)]
    latency_scale: Annotated[float, Range(0)]
    epochs: Count | None
    max_steps: Count | None
    lr_factor: Annotated[float, Range(0)]
    optimiser: Literal["reset", "keep"]
    rate: Literal["warmed", "constant"]
    probe: Annotated[float, Range(0, 0.5)]
    save_updates: Count
    save_seconds: Above0

    @property
    def parts(self) -> tuple[Node, ...]:
        """Return the five nodes that make a schedule."""
        return self.trigger, self.data, self.regulariser, self.scope, self.gate


@dataclass(frozen=True)
class Trainer:
    accelerator: Literal["cpu", "gpu"]
    devices: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed"]
    gradient_checkpointing: bool
    graph_tokens: Count | None
    compile: bool
    threads: Count | None
    port: Annotated[int, Range(1024, 65535)] | None


@dataclass(frozen=True)
class Tuning:
    """How values were chosen: ``coldlm tune`` writes it. A label, which changes no training."""

    trials: Annotated[int, Range(0)]
    keys: list[str]
    sampler: Literal["random", "tpe"]
    space: str
    pruner: Literal["none", "median"]


@dataclass(frozen=True)
class Published:
    """What a paper says, which the report puts ours beside. A label, which changes no number.
    ``values``: lines as ``core.published`` reads them."""

    source: str
    values: list[str]


@dataclass(frozen=True)
class Logging:
    """How a run is filed where it is told of, see conf/run.yaml for what the values mean.
    ``loggers``: name -> node of each that ``logger=[...]`` names; their keys stand beside the others,
    ``logger.wandb.mode`` beside ``logger.group``."""

    group: str | None
    job_type: str | None
    figures: bool
    log_model: bool
    loggers: dict[str, Node] = field(metadata={"beside": True})


@dataclass(frozen=True)
class Debug:
    """A run made small, to find out what is wrong: see conf/debug/none.yaml for what the values mean."""

    name: Literal["none", "one_batch", "overfit", "profiler", "limit", "cpu"]
    events: Annotated[int, Range(100)] | None
    falls_to: Annotated[float, Range(0, 1, above=True)] | None
    profile: bool


@dataclass(frozen=True)
class Control:
    name: Literal[
        "none",
        "context_only",
        "random_vectors",
        "permuted_in_cohort",
        "permuted_text",
        "permuted_query",
        "untrained_strategy",
    ]
    replaces: dict[str, str]


@dataclass(frozen=True)
class RunConfig:
    """A whole configuration, checked. Dataclasses are values, ``Node`` is a thing of the group that
    the field is named after."""

    stages: list[Literal["pretrain", "train", "evaluate", "online", "k_shot"]]
    seed: Annotated[int, Range(0)]
    output: str
    name: str | None
    tags: list[str]
    cache: str
    plugins: list[str]
    release_slot: Literal["hour", "day", "week", "auto"] | None
    train: Train
    evaluate: Evaluate
    online: Online
    trainer: Trainer
    control: Control
    debug: Debug
    tuning: Tuning
    published: Published
    backbone: Node
    strategy: Node
    head: Node
    loss: Node
    dataset: Node
    split: Node
    optim: Node
    logger: Logging
    launcher: Node
    pretrain: Pretrain

    def plain(self) -> dict[str, Any]:
        """Return the configuration as nested dicts of plain values, as its files have it."""
        values = dataclasses.asdict(self)
        values["logger"] |= values["logger"].pop("loggers")
        return values


def typed(values: dict[str, Any]) -> RunConfig:
    """Return the configuration that checked plain ``values`` are; see ``check.check``."""
    logger = dict(values["logger"])
    own = {f.name: logger.pop(f.name) for f in dataclasses.fields(Logging) if f.name in logger}
    config: RunConfig = _typed(RunConfig, values | {"logger": own | {"loggers": logger}})
    return config


def _typed(cls: type[Any], values: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(cls)
    return cls(
        **{
            field.name: _typed(hints[field.name], values[field.name])
            if dataclasses.is_dataclass(hints[field.name])
            else values[field.name]
            for field in dataclasses.fields(cls)
        }
    )


MOVED = {
    "logger.project": "logger.wandb.project",
    "logger.entity": "logger.wandb.entity",
    "logger.mode": "logger.wandb.mode",
    "logger.tags": "tags",
    "dataset.release_slot": "release_slot",
    "split.refit": "train.refit",
    "optim.schedule": "train.schedule",
    "loss.uniform": "loss.draws",
}
"""Keys of earlier versions, and what they are now."""

GONE = {
    "online.schedule": "online=NAME says it, or its parts, such as online/trigger=every_n",
    "dataset.permute_text": "control=permuted_text or permuted_in_cohort does that",
}
"""Keys of earlier versions that are none any more, and what there is instead."""


ADDED: tuple[tuple[str, str, str, object], ...] = (
    ("strategy", "coldlm.models.strategy.lora", "stream_adapters", 0),
    ("head", "coldlm.models.towers.Towers", "delta", 0.0),
    ("split", "coldlm.split.cuts.time", "origins", 1),
    ("split", "coldlm.split.cuts.time", "origin", 1),
    ("head", "coldlm.models.towers.Towers", "context_dropout", 0.0),
    ("head", "coldlm.models.pair.Pair", "context_dropout", 0.0),
    ("head", "coldlm.models.causal_lm.CausalLM", "context_dropout", 0.0),
    ("dataset", "coldlm.data.simulated.load", "queries", 0.0),
    ("dataset", "coldlm.data.own.load", "groups", []),
    ("dataset", "coldlm.data.atomic.load", "groups", []),
    ("dataset", "coldlm.data.own.load", "columns", {}),
    ("dataset", "coldlm.data.own.load", "unlisted_items", "refuse"),
    *(
        ("dataset", "coldlm.data.own.load", key, None)
        for key in (
            "actions",
            "time_format",
            "released_format",
            "day_first",
            "encoding",
            "separator",
            "sheet",
        )
    ),
    ("backbone", "coldlm.models.backbone.load", "runtime", "torch"),
    ("pretrain", "", "items", None),
    ("trainer", "", "graph_tokens", None),
    ("tuning", "", "sampler", "random"),
    ("tuning", "", "space", "around"),
    ("tuning", "", "pruner", "none"),
)
"""Group, the option that got a key of late ("" of groups that hold values), the key, and the value that leaves all
as it was."""


def under_todays_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Return the plain configuration of an earlier version with its keys where they are now; as it
    is otherwise."""
    now = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    now.setdefault("plugins", [])
    now.setdefault("published", {"source": "", "values": []})
    now.setdefault("launcher", {"_target_": "coldlm.commands.launchers.basic"})
    now.setdefault("debug", {"name": "none", "events": None, "falls_to": None, "profile": False})
    if isinstance(evaluate := now.get("evaluate"), dict):
        now["evaluate"] = {"shelf": 4, "rivals": [], "lists": 0} | evaluate
    if isinstance(online := now.get("online"), dict) and "schedule" in online:
        now["online"] = _of_windows(**online)
    if isinstance(logger := now.get("logger"), dict) and "_target_" in logger:
        now["logger"] = _of_one_logger(**logger)
    for group, target, key, value in ADDED:
        if isinstance(node := now.get(group), dict) and node.get("_target_", "") == target:
            node.setdefault(key, value)
    if isinstance(dataset := now.get("dataset"), dict) and dataset.pop("permute_text", False):
        now["control"] = {**now.get("control", {}), "name": PERMUTED_TEXT}
    for old, new in MOVED.items():
        group, _, key = old.partition(".")
        owner, _, last = new.rpartition(".")
        if isinstance(now.get(group), dict) and key in now[group]:
            value = now[group].pop(key)
            if isinstance(place := now.setdefault(owner, {}) if owner else now, dict):
                place.setdefault(last, value)
    return now


def _of_one_logger(_target_: str, **keys: Any) -> dict[str, Any]:
    """What the one logger of an earlier version, whose keys were all its own, is among several."""
    filed: dict[str, Any] = {"group": None, "job_type": None, "tags": []}
    filed |= {key: keys.pop(key) for key in filed if key in keys}
    node = {"_target_": _target_, **keys}
    return {**filed, "figures": False, "log_model": False, _target_.rpartition(".")[2]: node}


def _of_windows(schedule: str, **keys: Any) -> dict[str, Any]:
    """What a schedule of an earlier version, which knew windows alone, is made of."""
    parts = {
        "trigger": {"off": "triggers.Off"}.get(schedule, "triggers.EveryWindow"),
        "data": {"retrain": "data.Cumulative"}.get(schedule, "data.NewOnly"),
        "regulariser": "regularisers.Regulariser",
        "scope": f"scopes.{'reset_to_base' if schedule == 'retrain' else 'everything'}",
        "gate": "gates.Finite",
    }
    return {
        **{part: {"_target_": f"coldlm.online.{name}"} for part, name in parts.items()},
        "label_delay_seconds": 0,
        "latency_seconds": 0,
        "latency_scale": 0,
        "max_steps": None,
        "optimiser": "reset",
        "rate": "warmed",
        "probe": 0,
        "save_updates": 10,
        "save_seconds": 300,
        **keys,
    }
