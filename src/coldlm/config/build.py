"""The only way from a config to an object: what may be named, and what is called."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Mapping
from typing import Any

from coldlm.config import options
from coldlm.config.kinds import PARTS
from coldlm.config.plugins import how_to_name
from coldlm.config.signatures import fields_of
from coldlm.core.errors import ConfigError

NODE_GROUPS = (
    *("backbone", "strategy", "head", "loss", "dataset", "split", "optim", "logger"),
    "launcher",
    *(part.group for part in PARTS),
)
"""The groups whose nodes name targets."""


def refuse(found: list[str]) -> None:
    """Raise one ``ConfigError`` that lists all problems; do nothing if there are none."""
    if found:
        head = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        raise ConfigError("\n  - ".join([f"{head} in the configuration:", *found]))


def build(node: Mapping[str, object], *args: object) -> Any:
    """Call the target of ``node`` with ``args`` and the node's keys.

    Hydra's ``instantiate`` would do the same in 10 ms of which nothing is needed here: values are
    plain, and things inside things are not built.

    Raises:
        ConfigError: the target is not on the allow-list; nothing was imported then.
        Exception: whatever the target raises.
    """
    target = node.get("_target_")
    refuse([] if any(is_allowed(target, group) for group in NODE_GROUPS) else [refusal("", target)])
    refuse(
        [
            f"{key}: this key is not allowed here"
            for key in node
            if key.startswith("_") and key != "_target_"
        ]
    )
    module, _, name = str(target).rpartition(".")
    keys = {key: copy.deepcopy(value) for key, value in node.items() if key != "_target_"}
    return getattr(importlib.import_module(module), name)(*args, **keys)


def resolve(target: str) -> Any:
    """Return the function or class that a declared option stands for, imported.

    Raises:
        ConfigError: no option stands for it.
    """
    if not any(target in options.targets(group) for group in options.KINDS):
        raise ConfigError(refusal("", target))
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def is_allowed(target: object, group: str) -> bool:
    """Return whether a node of ``group`` (``online/trigger``, or its path ``online.trigger``) may
    name this target; decided from declarations and source, without importing it."""
    if not isinstance(target, str) or target not in options.targets(group_at(group)):
        return False
    try:
        fields_of(target)
    except LookupError:
        return False
    return True


def group_at(path: str) -> str:
    """Return the group of the node at a path: loggers, of which there may be several, lie below
    theirs.

    >>> group_at("online.trigger"), group_at("logger.wandb"), group_at("head")
    ('online/trigger', 'logger', 'head')
    """
    return "logger" if path.startswith("logger.") else path.replace(".", "/")


def refusal(group: str, target: object) -> str:
    """Return what is said of a target that may not be named."""
    path = f"{group}._target_" if group else "_target_"
    allowed = (
        " or ".join(options.targets(group_at(group)))
        if group
        else "what coldlm/config/options.py declares"
    )
    return f"{path}: got {target!r}, allowed: {allowed}; {how_to_name(target)}"
