"""What makes two runs the same run, or two seeds of one experiment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coldlm.core.columns import SIMULATED_COLD

NOT_PART_OF_A_RUN = ("output", "name", "cache", "stages", "logger")
"""Where a run lives, how much of it was asked for and who watches: everything else makes another run."""

WATCHED_BY_FILES = {"logger": {"_target_": "coldlm.learn.loggers.files"}}
"""Stands for every logger in the hash, which runs were told apart by when it was part of what they are."""

NOT_PART_OF_A_RECIPE = (*NOT_PART_OF_A_RUN, "seed", "evaluate")
"""What two seeds of one experiment may differ in."""

SIZES = ("rank", "bottleneck", "length")
"""What ``strategy.match_params`` chooses."""


def config_hash(config: Mapping[str, Any]) -> str:
    """12 hexadecimal digits that identify what a run is."""
    identity = {key: value for key, value in config.items() if key not in NOT_PART_OF_A_RUN} | WATCHED_BY_FILES
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Every key, by its dotted path, that must be equal for two runs to be two seeds of one experiment."""
    return flatten({key: value for key, value in config.items() if key not in NOT_PART_OF_A_RECIPE})


def axes(config: Mapping[str, Any]) -> dict[str, str]:
    """What a sweep compares, by name: the run columns of ``results.parquet``."""
    objective = config["pretrain"]["objective"].replace("off", "")
    held_out = config["split"].get("simulated_cold")
    return {
        "dataset": _label(config["dataset"]),
        "split": f"{SIMULATED_COLD}_{held_out:g}" if held_out else _label(config["split"]),
        "candidates": str(config["evaluate"]["candidates"]),
        "backbone": "_".join(filter(None, [_label(config["backbone"]), config["backbone"].get("family"), objective])),
        "strategy": _label(config["strategy"], with_values=True),
        "head": _label(config["head"]),
        "context": str(config["head"].get("context", "off")),
        "loss": _label(config["loss"]),
        "control": str(config["control"]["name"]),
        "online": str(config["online"]["schedule"]),
        "seed": str(config["seed"]),
    }


def _label(node: Mapping[str, Any], *, with_values: bool = False) -> str:
    """A short name of a ``_target_`` node: its own name, its function's, or its module's where that is just "load"."""
    module, _, function = str(node["_target_"]).rpartition(".")
    label = str(node.get("name") or (module.rpartition(".")[2] if function == "load" else function))
    # a size that was chosen to match a number of parameters is not what the configuration says
    hidden = ("_target_", "name", *(SIZES if node.get("match_params") else ()))
    values = [f"{key}={value}" for key, value in node.items() if key not in hidden and value]
    return " ".join([label, *values]) if with_values else label


def difference(folder: Path, config: Mapping[str, Any]) -> str:
    from omegaconf import OmegaConf

    try:
        old = flatten(OmegaConf.to_container(OmegaConf.load(folder / "config.resolved.yaml")))
    except OSError:
        return "its config.resolved.yaml is missing"
    new = flatten(dict(config))
    changed = [
        f"{key} was {old.get(key)!r}, is {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.split(".")[0] not in NOT_PART_OF_A_RUN
    ]
    return "; ".join(changed[:8]) or "written by another version"


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    if not isinstance(config, Mapping):
        return {prefix: config}
    out: dict[str, Any] = {}
    for key, value in config.items():
        out |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return out
