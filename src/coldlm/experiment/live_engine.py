"""The engine of stage online behind the end of a run: trigger, data, training, gate, over a world that
grows instead of one that is replayed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from coldlm.asof.context import visible_before
from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core.tables import Floats
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.kept import Kept
from coldlm.experiment.live_files import FOLDER, read_version, write_version
from coldlm.experiment.model import grown_ranker, make_ranker, take_snapshot
from coldlm.experiment.moved import Moves
from coldlm.experiment.probe import Probe
from coldlm.experiment.state import Inputs, State, Workshop
from coldlm.experiment.training import Training
from coldlm.experiment.updater import Updater
from coldlm.experiment.version import Version
from coldlm.experiment.world import World
from coldlm.learn.fit import Machine
from coldlm.models.rankers.ranker import Scorer
from coldlm.online.loop import Made, Update
from coldlm.online.moment import Moment
from coldlm.runs.last import weights_of
from coldlm.runs.manifest import Manifest
from coldlm.runs.record import Record
from coldlm.runs.track import Track
from coldlm.runs.weights import WEIGHTS, read_weights

ASKED = "asked for"
"""Reason of an update that no trigger wanted."""

TOLD = 100
"""Updates of which all is remembered."""


@dataclass(frozen=True)
class Learned:
    """What an update came to: its row as in ``updates.parquet``, and what it moved."""

    update: Update
    moves: Moves

    def row(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**self.update.row(), **asdict(self.moves)}


class LiveEngine:
    """Makes the versions of a finished run, from where it ended.

    ``number``: of the latest version. ``updated_at``: second of the latest update; ``learned``: rows of
    the log that were visible then. ``rows``: what the latest updates came to.
    """

    def __init__(self, run: Path, config: RunConfig, manifest: Manifest, world: World) -> None:
        self._folder, self._config = run / FOLDER, config
        self._trigger = build(config.online.trigger)
        self._ranker: Any = make_ranker(config, world)
        if config.trainer.accelerator == "gpu":
            self._ranker.to("cuda")
        self._initial = {name: t.clone() for name, t in self._ranker.trainable().items()}
        self._record = Record(run, config, run.name, manifest, is_main=False, formulas={})
        state = self._state(world)
        probe = Probe(world, state.workshop.evaluation)
        self._updater = Updater(state, state.trained(), probe)
        if (last := weights_of(run)[1]).name != WEIGHTS:
            read_weights(last, self._ranker)
            self._updater.scorer = take_snapshot(self._ranker, world, self._updater.scorer)
        self._begin(run / "updates.parquet", world)

    def _state(self, world: World) -> State:
        """The state of a run over ``world``, whose model is the one that there is."""
        config, record = self._config, self._record
        machine = Machine(config.trainer.accelerator, config.trainer.precision)
        inputs = Inputs(config, world, record, machine, Kept())
        training = Training(config, world, self._ranker, machine, Track())
        evaluation = Evaluation(config, world, record.name)
        return State(inputs, Workshop(config, self._ranker, self._initial, training, evaluation))

    def _begin(self, updates: Path, world: World) -> None:
        """The moment at which the run ended, as its ``updates`` tell it."""
        start = world.split.t_test
        visible = np.searchsorted(world.data.log.time, visible_before(np.array(start), world.delay))
        self._window = world.split.n_windows - 1
        self.updated_at, self._updated_in, self.learned = start, 0, int(visible)
        self._moments: list[tuple[int, float]] = []
        self.number, self.rows = 0, list[dict[str, Any]]()
        for row in pl.read_parquet(updates).to_dicts() if updates.is_file() else []:
            self._moments.append((row["time"], row["seconds"]))
            self.updated_at, self.learned, self.number = row["time"], row["visible"], row["version"]
            window = np.searchsorted(world.split.edges, row["time"], side="right") - 1
            self._updated_in = int(window)

    def resume(self, world: World) -> None:
        """Go on behind the latest version that was saved, over what is known by now."""
        self._follow(world)
        if (saved := read_version(self._folder)) is None:
            return
        groups, facts = saved
        self._updater.restore(groups)
        self.number, self._window = facts["version"], facts["window"]
        self.updated_at, self._updated_in = facts["updated_at"], facts["updated_in"]
        self.learned, self.rows = facts["learned"], facts["updates"]
        self._moments = [(at, seconds) for at, seconds in facts["moments"]]

    def save(self, learned: Learned) -> None:
        """Note what the latest update came to, and keep all that later ones depend on."""
        self.rows = [*self.rows, learned.row()][-TOLD:]
        facts = {
            "version": self.number, "window": self._window, "updated_at": self.updated_at,
            "updated_in": self._updated_in, "learned": self.learned,
            "moments": self._moments, "updates": self.rows,
        }  # fmt: skip
        write_version(self._folder, len(self._moments), self._updater.tensors(), facts)

    def version(self, world: World, before: Scorer | None = None) -> Version:
        """Return the latest version, with weights of its own; ``before`` as for ``take_snapshot``."""
        return Version.of(self.number, world, self._ranker.apart(), before)

    def update(
        self, world: World, now: int, *, asked: bool, ends_window: bool
    ) -> Made[Scorer] | None:
        """Make an update if the trigger says so, or if it is ``asked`` for and something new is
        visible; None if not."""
        moment = self._moment(world, now, self._window + ends_window)
        reason = self._trigger.ask(moment) or (ASKED if asked and moment.new > 0 else "")
        if not reason:
            return None
        self._follow(world)
        made = self._make(moment, reason)
        moment.note_update(made.update.seconds)
        self.number, self._window = made.update.version, moment.window
        self.updated_at, self._updated_in = moment.updated_at, moment.updated_in
        self.learned, self._moments = moment.learned, moment.updates
        return made

    def _make(self, moment: Moment, reason: str) -> Made[Scorer]:
        """One update; whatever fails leaves everything where it was."""
        groups = self._updater.tensors()
        held = {group: {key: t.clone() for key, t in its.items()} for group, its in groups.items()}
        try:
            return self._updater.update(moment, reason, self.number + 1)
        except Exception:
            self._updater.restore(held)
            raise

    def _follow(self, world: World) -> None:
        """Let the updater see ``world``."""
        seen = self._updater.world
        if len(world.catalogue) > len(seen.catalogue):
            self._ranker = grown_ranker(self._ranker, seen, world)
        state = self._state(world)
        self._updater.follow(state, Probe(world, state.workshop.evaluation))

    def _moment(self, world: World, now: int, window: int) -> Moment:
        log = world.data.log
        visible = int(np.searchsorted(log.time, visible_before(np.array(now), world.delay)))
        learned = min(self.learned, visible)
        met, met_then = (len(np.unique(log.item[:n])) for n in (visible, learned))
        began = self.updated_at, self._updated_in, learned, met_then
        return Moment(now, window, visible, met, _no_losses, *began, updates=list(self._moments))


def _no_losses() -> Floats:
    return np.empty(0)
