"""What somebody probably meant by a key that there is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coldlm.config.schema import GONE, MOVED
from coldlm.config.signatures import nearest
from coldlm.config.tree import Options

MEANT = {
    "model": ("backbone", "head"),
    "lm": ("backbone",),
    "llm": ("backbone",),
    "encoder": ("backbone",),
    "checkpoint": ("backbone",),
    "method": ("strategy",),
    "peft": ("strategy",),
    "data": ("dataset",),
    "optimizer": ("optim",),
    "optimiser": ("optim",),
    "device": ("trainer",),
    "accelerator": ("trainer",),
}
"""Words of others -> our groups."""

SAID = {
    "metric": "every metric is measured always; evaluate.k is where they cut",
    "metrics": "every metric is measured always; evaluate.k is where they cut",
    "scheduler": "did you mean train.schedule?",
}
"""Words of others -> what to do."""


def hint(
    key: str,
    value: object,
    paths: Sequence[str],
    config: Mapping[str, Any],
    chosen: Mapping[Any, Any],
    options: Options,
) -> str:
    """Return what to do about an unknown key that was given ``value``.

    Args:
        paths: all keys that ``config`` knows.
        chosen: the option of each group that ``config`` is made of.
    """
    if key in MOVED or key in GONE:
        return f"it is {MOVED[key]} now" if key in MOVED else GONE[key]
    if key in SAID:
        return SAID[key]
    if key in MEANT:
        return _name_groups(MEANT[key], str(value), options)
    near, group = nearest(key, paths), key.partition(".")[0]
    if near == key:
        return f"this file does not set it: write +{key}"
    node = config.get(group)
    if isinstance(node, dict) and "_target_" in node and (near or "").partition(".")[0] != group:
        keys = [name for name in node if not name.startswith("_")]
        return f"{group}={chosen.get(group)} takes {', '.join(keys) or 'none'}"
    return f"did you mean {near}?" if near else "coldlm run --help lists all keys"


def _name_groups(groups: Sequence[str], value: str, options: Options) -> str:
    begins = [
        (group, option) for group in groups for option in options[group] if option.startswith(value)
    ]
    found = [*begins, *((group, nearest(value, options[group])) for group in groups)]
    near = next((f"did you mean {group}={option}? " for group, option in found if option), "")
    return near + "; ".join(
        f"{group}=... is one of {', '.join(options[group])}" for group in groups
    )
