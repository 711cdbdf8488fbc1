"""Loggers: functions (run folder, run name, settings, axes) -> Lightning loggers. The only door to
wandb and tensorboard.

``settings`` are the configuration as plain values; ``axes`` are what a sweep compares (dataset,
backbone, strategy, ...), by name; ``metrics.csv`` is written whatever is chosen.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import CSVLogger, Logger

from coldlm.core.keys import has_wandb_key


def files(
    folder: Path, run: str, settings: Mapping[str, Any], axes: Mapping[str, str], /
) -> list[Logger]:
    """Log to ``metrics.csv`` in the run folder; a resumed run goes on in its own."""
    file, logger = folder / "metrics.csv", CSVLogger(folder, name="", version="")
    if earlier := file.read_text(encoding="utf-8") if file.is_file() else "":
        # Lightning deletes a file that it finds
        logger.experiment.metrics_keys = next(csv.reader(earlier.splitlines()))
        file.write_text(earlier, encoding="utf-8")
    return [logger]


def wandb(
    folder: Path,
    run: str,
    settings: Mapping[str, Any],
    axes: Mapping[str, str],
    /,
    *,
    project: str = "coldlm",
    entity: str | None = None,
    mode: Literal["auto", "offline", "online"] = "auto",
    group: str | None = None,
    job_type: str | None = None,
    tags: list[str] | None = None,
) -> list[Logger]:
    """Log to Weights & Biases, offline unless a key is there (with a key and no server, wandb waits
    for minutes).

    By default a run's group is its data set and split, its job type what is compared (the strategy,
    or the control), and its tags the axes.
    """
    from pytorch_lightning.loggers import WandbLogger

    logger = WandbLogger(
        project=project,
        entity=entity,
        save_dir=folder,
        name=run[-128:],
        offline=mode == "offline" or (mode == "auto" and not has_wandb_key()),
        group=group or f"{axes['dataset']}-{axes['split']}",
        job_type=job_type or (axes["strategy"] if axes["control"] == "none" else axes["control"]),
        tags=[*(tags or []), *(f"{axis}={value}"[:64] for axis, value in axes.items())],
        config=dict(settings),
        log_model=False,
    )
    return [*files(folder, run, settings, axes), logger]


def tensorboard(
    folder: Path, run: str, settings: Mapping[str, Any], axes: Mapping[str, str], /
) -> list[Logger]:
    """Log to TensorBoard event files in the run folder."""
    from pytorch_lightning.loggers import TensorBoardLogger

    return [
        *files(folder, run, settings, axes),
        TensorBoardLogger(folder, name="tensorboard", version=""),
    ]


def close(loggers: list[Logger], *, failed: bool) -> None:
    """Write out what is pending; a second wandb run in this process would otherwise be the same
    run."""
    for logger in loggers:
        logger.finalize("failed" if failed else "success")
        if type(logger).__name__ == "WandbLogger":
            logger.experiment.finish(exit_code=int(failed))  # type: ignore[attr-defined]
