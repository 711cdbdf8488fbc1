"""What somebody probably meant by a key that there is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coldlm.config import options as declared
from coldlm.config.schema import GONE, MOVED
from coldlm.config.signatures import fields_of
from coldlm.config.tree import Options
from coldlm.core.spelling import did_you_mean, nearest

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
    "lr_scheduler": "did you mean train.schedule?",
    "learning_rate": "did you mean optim.lr (of the head) or optim.body_lr (of the backbone)?",
    "num_epochs": "did you mean train.epochs?",
    "max_epochs": "did you mean train.epochs?",
}
"""Words of others, wherever they stand -> what to do."""


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
    if key in MEANT:
        return _name_groups(MEANT[key], str(value), options)
    if key in paths:
        return f"this file does not set it: write +{key}"
    group, meant = key.partition(".")[0], meant_by(key, paths)
    node = config.get(group)
    if not isinstance(node, dict) or "_target_" not in node:
        return meant or "coldlm run --help lists all keys"
    keys = [name for name in node if not name.startswith("_")]
    takes = f"{group}={chosen.get(group)} takes {', '.join(keys) or 'none'}"
    return f"{takes}; {meant}" if is_of_another_option(key) else meant or takes


def meant_by(key: str, paths: Sequence[str]) -> str:
    """Return what somebody probably meant by an unknown key of a file or a command line: what it is
    called now or here, whose it is, the nearest of ``paths``; nothing where that is anybody's
    guess."""
    if key in MOVED or key in GONE:
        return f"it is {MOVED[key]} now" if key in MOVED else GONE[key]
    last = key.rpartition(".")[2]
    if last in SAID:
        return SAID[last]
    group, owners = key.partition(".")[0], _owners(key.partition(".")[0])
    own = [path for path in paths if path.startswith(f"{group}.")]
    if last not in owners and (near := did_you_mean(key, own)):
        return near
    if other := nearest(last, owners):
        return f"{other} is a key of {group}={', '.join(owners[other])}"
    return did_you_mean(key, paths)


def is_of_another_option(key: str) -> bool:
    """Return whether an unknown key is one that other options of its group have."""
    group, _, last = key.partition(".")
    return last in _owners(group)


def _owners(group: str) -> dict[str, list[str]]:
    """Each key that options of a group have, with the names of those options."""
    owners: dict[str, list[str]] = {}
    for option in declared.every(group):
        for key in fields_of(option.target):
            owners.setdefault(key, []).append(option.name)
    return owners


def _name_groups(groups: Sequence[str], value: str, options: Options) -> str:
    begins = [
        (group, option) for group in groups for option in options[group] if option.startswith(value)
    ]
    found = [*begins, *((group, nearest(value, options[group])) for group in groups)]
    near = next((f"did you mean {group}={option}? " for group, option in found if option), "")
    return near + "; ".join(
        f"{group}=... is one of {', '.join(options[group])}" for group in groups
    )
