"""What stage online goes on from when it was interrupted: one file in the run folder, while the stage
runs."""

from __future__ import annotations

import logging
import time
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from coldlm.core import ranks
from coldlm.core.errors import RunFolderError
from coldlm.evaluate.judge import Judged
from coldlm.experiment.probe import Probe
from coldlm.experiment.state import State
from coldlm.experiment.updater import Updater
from coldlm.models.rankers.ranker import Scorer
from coldlm.online.loop import Scored, Stream, Update
from coldlm.runs.state_file import read_state, write_state

log = logging.getLogger("coldlm")

NAME = "online.state.safetensors"
JUDGED = tuple(field.name for field in fields(Judged))
VERSIONS = ("version", "since", "latency")


class SavedStream:
    """Saves a stream every so many updates or seconds, and puts it back. ``updates``, ``scored``:
    of the interrupted stage, none where there was none."""

    def __init__(self, state: State, updater: Updater, probe: Probe) -> None:
        self._online, self._hash = state.inputs.config.online, state.manifest.config_hash
        self._file = state.inputs.record.folder / NAME
        self._updater, self._probe = updater, probe
        self.updates: list[Update] = []
        self.scored: Scored | None = None
        self._read()
        self._at, self._behind = time.perf_counter(), len(self.updates)

    def at_rest(self, stream: Stream[Scorer]) -> None:
        """Save what there is if it is time to."""
        n = len(stream.updates)
        is_due = n - self._behind >= self._online.save_updates
        # several processes have several clocks: they go by updates alone
        if not ranks.in_group():
            is_due |= time.perf_counter() - self._at > self._online.save_seconds
        if not is_due or n < len(self.updates):
            return
        stream.settle()
        if ranks.is_first():
            self._write(stream)
        self._at, self._behind = time.perf_counter(), n

    def forget(self) -> None:
        """Remove the file: the stage is done."""
        if ranks.is_first():
            self._file.unlink(missing_ok=True)

    def _write(self, stream: Stream[Scorer]) -> None:
        scored = stream.scored
        groups: dict[str, dict[str, Any]] = {
            **self._updater.tensors(),
            "judged": {name: torch.from_numpy(getattr(scored.judged, name)) for name in JUDGED},
            "scored": {name: torch.from_numpy(getattr(scored, name)) for name in VERSIONS},
        }
        tensors = {f"{group}/{key}": t for group, its in groups.items() for key, t in its.items()}
        facts = {
            "updates": [update.row() for update in stream.updates],
            "probes": self._probe.rows,
            "done": stream.position,
            "hash": self._hash,
        }
        write_state(self._file, tensors, facts)

    def _read(self) -> None:
        if not self._file.is_file():
            return
        begin = time.perf_counter()
        try:
            tensors, facts = read_state(self._file)
        except RunFolderError as error:
            log.warning("%s", error)
            return
        if facts["hash"] != self._hash:
            return
        groups: dict[str, dict[str, Tensor]] = {
            group: {}
            for group in ("weights", "held", "memory", "moments", "waiting", "judged", "scored")
        }
        for name, tensor in tensors.items():
            group, _, key = name.partition("/")
            groups[group][key] = tensor
        self._updater.restore(groups)
        judged = Judged(*(groups["judged"][name].numpy() for name in JUDGED))
        version, since, latency = (groups["scored"][name].numpy() for name in VERSIONS)
        self.scored = Scored(judged, version, since, latency, facts["done"])
        self.updates = [Update(**row) for row in facts["updates"]]
        self._probe.rows = facts["probes"]
        log.info(
            "stage online goes on behind update %d, query %d: it took %.1f s to come to it",
            len(self.updates),
            facts["done"],
            time.perf_counter() - begin,
        )
