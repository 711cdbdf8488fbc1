"""A run in a store of MLflow."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from coldlm.core.tracked import whole
from coldlm.learn.sinks.about import About

MOST_PARAMS = 100
"""In one request."""


class MlflowRun:
    """One run; a resumed run is the same run there, by its id. The step of a series is its place on
    its axis, epochs in thousandths; headlines have step 0.

    Args:
        uri: of the store; None for a database in the folder that holds the run folders, which all of
            them share.
        experiment: None for the group of the run.
    """

    name = "mlflow"

    def __init__(self, about: About, *, uri: str | None, experiment: str | None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nobody is told of our runs
        for noisy in ("alembic", "mlflow.store.db.utils"):  # a line for each table of a new store
            logging.getLogger(noisy).setLevel(logging.WARNING)
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        output = about.output.resolve()
        self._client = MlflowClient(tracking_uri=uri or f"sqlite:///{output / 'mlflow.db'}")
        known = about.ids.get(self.name)
        if known is not None:
            try:
                self._client.set_terminated(known, "RUNNING")
                self.id = known
                return
            except MlflowException:  # another store, which does not have it
                pass
        tags = {
            **about.axes,
            **dict.fromkeys(about.tags, "true"),
            "group": about.group,
            "job_type": about.job_type,
        }
        run = self._client.create_run(
            self._experiment(experiment or about.group, None if uri else output),
            run_name=about.name,
            tags={_allowed(key): value for key, value in tags.items()},
        )
        self.id = str(run.info.run_id)
        params = [Param(_allowed(key), str(value)) for key, value in about.config.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self.id, params=params[first : first + MOST_PARAMS])

    def _experiment(self, name: str, output: Path | None) -> str:
        from mlflow.exceptions import MlflowException

        files = (output / "mlartifacts").as_uri() if output else None
        try:
            return str(self._client.create_experiment(name, artifact_location=files))
        except MlflowException:  # it is there, perhaps since a moment ago, by another cell
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return str(found.experiment_id)

    def point(self, axis: str, at: float, values: Mapping[str, float]) -> None:
        self._log(values, whole(axis, at))

    def headline(self, values: Mapping[str, float | str]) -> None:
        self._log({key: value for key, value in values.items() if not isinstance(value, str)}, 0)
        for key, value in values.items():
            if isinstance(value, str):
                self._client.set_tag(self.id, _allowed(key), value)

    def _log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(_allowed(key), value, now, step) for key, value in values.items()]
        for first in range(0, len(metrics), MOST_PARAMS):
            self._client.log_batch(self.id, metrics=metrics[first : first + MOST_PARAMS])

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        cells = [["" if value is None else str(value) for value in row] for row in rows]
        text = "\n".join("\t".join(line) for line in [columns, *cells])
        self._client.log_text(self.id, text, f"{name}.tsv")

    def picture(self, name: str, png: bytes) -> None:
        with TemporaryDirectory() as room:
            file = Path(room) / f"{name}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png)
            self._client.log_artifact(self.id, str(file))

    def model(self, file: Path) -> None:
        self._client.log_artifact(self.id, str(file), "model")

    def close(self, headline: Mapping[str, float | str], *, failed: bool) -> str:
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")
        return ""


def _allowed(key: str) -> str:
    """A key without what MLflow takes in no name.

    >>> _allowed("test/all/ndcg@10")
    'test/all/ndcg_at_10'
    """
    return re.sub(r"[^/\w.\- :]", "_", key.replace("@", "_at_"))
