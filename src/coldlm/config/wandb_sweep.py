"""A sweep as Weights & Biases wants it: the YAML of ``wandb sweep``, whose agents run one cell at a
time."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import yaml  # type: ignore[import-untyped]
from hydra._internal.utils import get_args

from coldlm.config.build import refuse
from coldlm.config.compose import make_plan
from coldlm.core.errors import ConfigError

METRIC = {"name": "online/all/ndcg@10", "goal": "maximize"}
"""By which the sweep's page sorts; a grid looks at none."""

ARGUMENTS = "${args_no_hyphens}"
"""What an agent replaces by KEY=VALUE of each parameter."""


def wandb_sweep(arguments: Sequence[str]) -> str:
    """Return the YAML of the grid that ``arguments`` of ``coldlm run`` ask for: what is swept as
    parameters, the rest in the command of the agents, which log to wandb.

    Raises:
        ConfigError: arguments that cannot be used, no sweep, or one that leaves cells out, which a
            grid cannot.

    >>> print(wandb_sweep(["-m", "strategy=frozen,lora", "seed=1,2", "train.epochs=3"]))
    method: grid
    metric: {name: online/all/ndcg@10, goal: maximize}
    parameters:
      strategy:
        values: [frozen, lora]
      seed:
        values: [1, 2]
    command: [coldlm, run, train.epochs=3, logger=wandb, hydra.mode=RUN, '${args_no_hyphens}']
    <BLANKLINE>
    """
    plan = make_plan(arguments)
    refuse(plan.problems)
    if not plan.is_sweep:
        raise ConfigError("this is one run, not a sweep: -m key=a,b names several values")
    fixed, swept = list[str](), dict[str, list[int | float | str]]()
    for texts in zip(*plan.cells, strict=True):
        values = list(dict.fromkeys(texts))
        key = values[0].partition("=")[0]
        if key in plan.swept:
            swept[key] = [_plain(text.partition("=")[2]) for text in values]
        else:
            fixed.append(values[0])
    if (n := prod(map(len, swept.values()))) != len(set(plan.cells)):
        raise ConfigError(f"{len(plan.cells)} of the {n} cells of a grid: wandb runs all of them")
    if not any(text.startswith("logger=") and "wandb" in text for text in fixed):
        fixed = [text for text in fixed if not text.startswith("logger=")] + ["logger=wandb"]
    folder = get_args(list(arguments)).config_dir
    flags = ["--config-dir", folder] if folder else []
    # without the last, a sweep that is written in a file would be run whole by each agent
    command = ["coldlm", "run", *flags, *fixed, "hydra.mode=RUN", ARGUMENTS]
    head = yaml.safe_dump({"method": "grid", "metric": METRIC}, **_STYLE, default_flow_style=None)
    parameters = {key: {"values": values} for key, values in swept.items()}
    rest = {"parameters": parameters, "command": command}
    return str(head + yaml.safe_dump(rest, **_STYLE, default_flow_style=None))


_STYLE = {"sort_keys": False, "allow_unicode": True, "width": 10_000}


def _plain(text: str) -> int | float | str:
    """A number as one; all else as it is typed, for an agent types it just so."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if str(value) == text:
            return value
    return text
