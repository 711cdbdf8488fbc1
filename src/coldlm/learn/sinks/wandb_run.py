"""A run at Weights & Biases."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coldlm.core.tracked import AXES
from coldlm.learn.sinks.about import About

MOST_LETTERS = 128
"""Of a name; of a tag, a group and a job type half as many."""


class WandbRun:
    """One run; a resumed run is the same run there, by its id. Offline each start of it is a folder
    of its own.

    The step of wandb's own is never given: series stand against the axes of ``core.tracked``.
    """

    name = "wandb"

    def __init__(self, about: About, *, project: str, entity: str | None, offline: bool) -> None:
        import wandb
        from wandb.sdk.lib.runid import generate_id

        self._folder, self._offline = about.folder, offline
        # an agent of a sweep has given the run its id already
        known = about.ids.get(self.name) or os.environ.get("WANDB_RUN_ID")
        short = MOST_LETTERS // 2
        self._run: Any = wandb.init(
            project=project,
            entity=entity,
            dir=about.folder,
            id=known or generate_id(),
            name=about.name[-MOST_LETTERS:],
            # offline there is nobody to ask; the id alone tells
            resume=None if offline else "allow",
            mode="offline" if offline else "online",
            group=about.group[:short],
            job_type=about.job_type[:short],
            tags=[
                *(tag[:short] for tag in about.tags),
                *(f"{axis}={value}"[:short] for axis, value in about.axes.items()),
            ],
            config=dict(about.config),
            reinit="finish_previous",
            # what is on the terminal is in run.log, and what the machine is in manifest.json
            settings=wandb.Settings(
                console="off",
                quiet=True,
                disable_git=True,
                disable_code=True,
                disable_job_creation=True,
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
            ),
        )
        self.id = str(self._run.id)
        for axis, firsts in AXES.items():
            self._run.define_metric(axis)
            for first in firsts:
                self._run.define_metric(f"{first}/*", step_metric=axis)

    def point(self, axis: str, at: float, values: Mapping[str, float]) -> None:
        self._run.log({axis: at, **values})

    def headline(self, values: Mapping[str, float | str]) -> None:
        self._run.summary.update(dict(values))

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        import wandb

        self._run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def picture(self, name: str, png: bytes) -> None:
        import wandb

        with TemporaryDirectory() as room:
            file = Path(room) / "figure.png"
            file.write_bytes(png)
            self._run.log({name: wandb.Image(str(file))})

    def model(self, file: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"{file.stem}-{self.id}", type="model")
        artifact.add_file(str(file))
        self._run.log_artifact(artifact)

    def close(self, headline: Mapping[str, float | str], *, failed: bool) -> str:
        # all of it, for an offline folder knows nothing of those before
        self._run.summary.update(dict(headline))
        # another run in this process would otherwise be the same run
        self._run.finish(exit_code=int(failed))
        if not self._offline:
            return ""
        folders = sorted((self._folder / "wandb").glob(f"offline-run-*-{self.id}"))
        return f"wandb sync {' '.join(shlex.quote(str(folder)) for folder in folders)}"
