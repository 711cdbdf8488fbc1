"""Loggers: functions (what a run is called) -> those who are told of it besides ``metrics.csv``,
which is written whatever is chosen."""

from __future__ import annotations

from typing import Literal

from coldlm.core.keys import has_wandb_key
from coldlm.learn.sinks.about import About
from coldlm.learn.sinks.event_file import EventFile
from coldlm.learn.sinks.mlflow_run import MlflowRun
from coldlm.learn.sinks.wandb_run import WandbRun


def files(about: About, /) -> None:
    """Tell nobody besides the run folder."""


def wandb(
    about: About,
    /,
    *,
    project: str = "coldlm",
    entity: str | None = None,
    mode: Literal["auto", "offline", "online"] = "auto",
) -> WandbRun:
    """Tell Weights & Biases, offline unless a key is there (with a key and no server, wandb waits
    for minutes)."""
    offline = mode == "offline" or (mode == "auto" and not has_wandb_key())
    return WandbRun(about, project=project, entity=entity, offline=offline)


def tensorboard(about: About, /) -> EventFile:
    """Write an event file of TensorBoard into the run folder."""
    return EventFile(about)


def mlflow(
    about: About, /, *, tracking_uri: str | None = None, experiment: str | None = None
) -> MlflowRun:
    """Tell MLflow: a database beside the run folders, unless ``tracking_uri`` names another
    store."""
    return MlflowRun(about, uri=tracking_uri, experiment=experiment)
