"""What a run is called where it is watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class About:
    """A run as those who watch it file it. ``folder``: of the run. ``output``: that holds the run
    folders of the sweep. ``name``: of the run. ``group``: the sweep that it belongs to.
    ``job_type``: what is compared. ``axes``: what a sweep compares, by name. ``tags``: beside the
    axes. ``config``: dotted key -> plain value. ``ids``: of the run by sink, as an earlier start of
    it was given them."""

    folder: Path
    output: Path
    name: str
    group: str
    job_type: str
    axes: Mapping[str, str]
    tags: tuple[str, ...]
    config: Mapping[str, float | str | bool]
    ids: Mapping[str, str]
