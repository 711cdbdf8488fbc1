"""What makes two runs the same run, or two seeds of one experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from coldlm.config.kinds import Reader, Strategy
from coldlm.config.options import chosen, every
from coldlm.config.schedules import label_of
from coldlm.config.schema import RunConfig, under_todays_keys
from coldlm.core.columns import NO_DEBUG, SIMULATED_COLD
from coldlm.core.errors import RunFolderError
from coldlm.runs.manifest import NAME, PLACES, Manifest, read_manifest

NOT_PART_OF_A_RUN = ("output", "name", "tags", "cache", "stages", "logger", "launcher", "published")
"""Where a run lives, how much of it was asked for, who carries it out
and watches it, and what others found: everything else
makes another run."""

NOT_PART_OF_A_RECIPE = (*NOT_PART_OF_A_RUN, "seed", "evaluate")
"""What two seeds of one experiment may differ in."""


def config_hash(config: RunConfig) -> str:
    """Return 12 hexadecimal digits that identify what a run is."""
    identity = _of_the_run(config, NOT_PART_OF_A_RUN)
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def recipe(config: RunConfig) -> dict[str, Any]:
    """Return every key, by its dotted path, that must be equal for two runs to be two seeds of one
    experiment."""
    whole = flatten(_of_the_run(config, NOT_PART_OF_A_RECIPE))
    return {key: value for key, value in whole.items() if key not in PLACES}


def axes(config: RunConfig) -> dict[str, str]:
    """Return what a sweep compares, by name: the run columns of ``results.parquet``."""
    objective = config.pretrain.objective.replace("off", "")
    held_out = config.split.get("simulated_cold")
    return {
        "dataset": str(config.dataset.get("name") or chosen(Reader, config.dataset).name),
        "split": f"{SIMULATED_COLD}_{held_out:g}" if held_out else _label(config.split),
        "candidates": config.evaluate.candidates,
        "backbone": "_".join(
            filter(None, [_label(config.backbone), config.backbone.get("family"), objective])
        ),
        "strategy": _strategy(config.strategy),
        "head": _label(config.head),
        "context": str(config.head.get("context", "off")),
        "loss": _label(config.loss),
        "control": config.control.name,
        "online": label_of(config.online.parts),
        "seed": str(config.seed),
    }


def scalars(config: RunConfig) -> dict[str, float | str | bool]:
    """Return what a run is as plain values by dotted key, for those who list runs: things by the
    name of their option, what is empty left out, and the axes under their own names."""
    own = _of_the_run(config, NOT_PART_OF_A_RUN)
    found: dict[str, float | str | bool] = {}
    for key, value in flatten(own).items():
        if value is None or value in ("", [], {}) or key in PLACES:
            continue
        if key.endswith("._target_"):
            group = key.removesuffix("._target_")
            named = (o.name for o in every(group.replace(".", "/")) if o.target == value)
            found[group] = next(named, str(value))
        else:
            is_plain = isinstance(value, bool | int | float | str)
            found[key] = value if is_plain else json.dumps(value, ensure_ascii=False)
    return found | axes(config) | {"seed": config.seed}


def open_run(folder: Path, config: RunConfig) -> Manifest:
    """Return the manifest of the run in ``folder``, a new one if there is none.

    Raises:
        RunFolderError: the folder holds a run of another configuration, and what differs; or no
            readable manifest.
    """
    if not (folder / NAME).is_file():
        return Manifest(config_hash(config))
    manifest = read_manifest(folder)
    if manifest.config_hash != config_hash(config):
        raise RunFolderError(
            f"{folder} holds a run of another configuration: {_difference(folder, config)}. "
            "Give this run another name=..., or remove the folder"
        )
    return manifest


def _of_the_run(config: RunConfig, left_out: Collection[str]) -> dict[str, Any]:
    """The plain configuration without these parts, and without ``debug`` where nobody debugs."""
    unsaid = {*left_out, "debug"} if config.debug.name == NO_DEBUG else left_out
    return {key: value for key, value in config.plain().items() if key not in unsaid}


def _label(node: Mapping[str, Any]) -> str:
    """A short name of a node: its own name, its function's, or its module's where that is just
    "load"."""
    module, _, function = str(node["_target_"]).rpartition(".")
    return str(node.get("name") or (module.rpartition(".")[2] if function == "load" else function))


def _strategy(node: Mapping[str, Any]) -> str:
    """The strategy's label with its values; a size that was chosen to match a number of parameters
    is not what the configuration says."""
    option = chosen(Strategy, node)
    size = option.size if node.get("match_params") else None
    # what waits for the stream is the schedule's business
    unsaid = ("_target_", "name", "stream_adapters", size)
    values = [f"{key}={value}" for key, value in node.items() if value and key not in unsaid]
    return " ".join([option.name, *values])


def _difference(folder: Path, config: RunConfig) -> str:
    from omegaconf import OmegaConf

    try:
        before: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.resolved.yaml"))
        old = flatten(under_todays_keys(before))
    except OSError:
        return "its config.resolved.yaml is missing"
    new = flatten(config.plain())
    changed = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.split(".")[0] not in NOT_PART_OF_A_RUN
    ]
    return "; ".join(changed[:8]) or "written by another version"


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, keys joined by dots."""
    if not isinstance(config, Mapping):
        return {prefix: config}
    out: dict[str, Any] = {}
    for key, value in config.items():
        out |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return out
