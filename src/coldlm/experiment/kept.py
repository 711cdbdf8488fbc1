"""What the runs of one sweep share: nothing that another cell has made already is made again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coldlm.config.schema import RunConfig
from coldlm.experiment.baselines import JudgedBaselines
from coldlm.runs.identity import NOT_PART_OF_A_RUN

SEEN_BY_TRAINING = ("probe", "label_delay_seconds")
"""Of ``online``: what nothing trains on, and what is not known yet."""


@dataclass
class Kept:
    """Of all runs of this process so far. ``baselines``: those that were judged last. ``trained``:
    what stage train depends on -> the folder of the run that has done it."""

    baselines: JudgedBaselines = field(default_factory=JudgedBaselines)
    trained: dict[str, Path] = field(default_factory=dict)


def training_key(config: RunConfig, hashes: Mapping[str, str]) -> str:
    """Return all that the weights before the stream depend on, of a run over files with these
    ``hashes``: two that agree in it differ in their schedules alone, and would train the same to the
    bit."""
    values = {key: value for key, value in config.plain().items() if key not in NOT_PART_OF_A_RUN}
    values["online"] = {key: values["online"][key] for key in SEEN_BY_TRAINING}
    return json.dumps([values, dict(hashes)], sort_keys=True, default=str)
