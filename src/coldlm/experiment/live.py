"""A finished run that goes on: events and items that come in, versions that follow them. It is the
engine of stage online, trigger to gate, over a world that grows instead of one that is replayed.

```
RUN/live/journal.jsonl             what came in, one line each, on the disk before it is acknowledged
RUN/live/version-N.safetensors     all that later updates depend on, behind update N; the latest few
RUN/live/lock                      held by whoever writes: one process at a time
```
The files of the run itself are never touched. What is known is the run's data and the journal, so a
restart is the same as never having stopped.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from filelock import FileLock, Timeout

from coldlm.asof.context import visible_before
from coldlm.config.build import build
from coldlm.config.kinds import Trigger
from coldlm.config.options import chosen
from coldlm.core.errors import ConfigError, DataError, RunFolderError
from coldlm.core.spelling import did_you_mean
from coldlm.core.tables import DAY, Floats
from coldlm.experiment.encoder import with_own_backbone
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.grown import Growing
from coldlm.experiment.kept import Kept
from coldlm.experiment.live_files import (
    FOLDER,
    JOURNAL,
    EventLine,
    ItemLine,
    read_version,
    refuse_config,
    write_version,
)
from coldlm.experiment.model import grown_ranker, make_ranker, take_snapshot
from coldlm.experiment.moved import Moves, moved
from coldlm.experiment.probe import Probe
from coldlm.experiment.state import Inputs, State, Workshop
from coldlm.experiment.training import Training
from coldlm.experiment.updater import Updater
from coldlm.experiment.version import Question, Version, last_weights
from coldlm.experiment.world import World, make_world
from coldlm.learn.fit import Machine
from coldlm.models.rankers.ranker import Scorer
from coldlm.online.loop import Made, Update
from coldlm.online.moment import Moment
from coldlm.runs.journal import Journal
from coldlm.runs.manifest import read_manifest, refuse_other_data
from coldlm.runs.process import set_up_process
from coldlm.runs.record import Record
from coldlm.runs.resolved import read_config
from coldlm.runs.weights import WEIGHTS, read_weights

log = logging.getLogger("coldlm")

RECENT = 30 * DAY
"""A run whose data end within so many seconds of now goes by the clock on the wall."""

REMEMBERED = 10_000
"""Requests whose answers are not taken twice."""

ASKED = "asked for"


@dataclass(frozen=True)
class Learned:
    """What an update came to: its row as in ``updates.parquet``, and what it moved."""

    update: Update
    moves: Moves

    def row(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**self.update.row(), **asdict(self.moves)}


class Live:
    """A run that goes on. Methods may be called by several threads; updates are made one at a time.

    Args:
        clock: Unix seconds; by default the clock on the wall, or, where the run's data end longer ago
            than ``RECENT``, one that goes on from their end. Time never runs backwards.

    Raises:
        ConfigError: a run that cannot go on.
        RunFolderError: no finished run, other data, a damaged file, or another process writes.
    """

    def __init__(self, run: Path, *, clock: Callable[[], int] | None = None) -> None:
        self.run, self.folder = run, run / FOLDER
        last_weights(run)
        self.config = with_own_backbone(read_config(run), run)
        refuse_config(self.config)
        self.manifest = read_manifest(run)
        world = make_world(self.config)
        refuse_other_data(self.manifest, world.data.hashes, run)
        self.folder.mkdir(exist_ok=True)
        self._file_lock = FileLock(self.folder / "lock")
        try:
            self._file_lock.acquire(timeout=0)
        except Timeout:
            raise RunFolderError(
                f"{self.folder} is written by another process (coldlm serve or update): one at a time; "
                "events can be sent to a running coldlm serve by POST /feedback"
            ) from None
        self._lock, self._learning = threading.RLock(), threading.Lock()
        set_up_process(self.config.trainer, self.config.trainer.accelerator)
        self.end = int(world.data.log.time[-1])
        self._clock = clock or clock_from(self.end)
        self._known, self._trigger = Growing(world), build(self.config.online.trigger)
        self._pending: list[EventLine] = []
        self._last: tuple[str | None, str] = None, ""  # who came last, and what was typed
        self._answers: dict[str, set[str]] = {}
        self._open_engine(world)
        self._begin()
        self._journal = Journal(self.folder / JOURNAL)
        self.torn = self._journal.torn
        self._known.replay(self._journal.lines)
        self.received = len(self._journal.lines)
        self._note([EventLine(**x["event"]) for x in self._journal.lines if "event" in x])
        self._journal.lines = []
        self._follow(self._known.world)
        self._resume()
        self._version = Version.of(self.number, self._known.world, self._ranker.apart())

    # -- the engine ------------------------------------------------------------------------------

    def _open_engine(self, world: World) -> None:
        config = self.config
        self._ranker: Any = make_ranker(config, world)
        if config.trainer.accelerator == "gpu":
            self._ranker.to("cuda")
        self._initial = {name: t.clone() for name, t in self._ranker.trainable().items()}
        self._record = Record(
            self.run, config, self.run.name, self.manifest, is_main=False, formulas={}
        )
        state = self._state(world)
        probe = Probe(world, state.workshop.evaluation)
        self._updater = Updater(state, state.trained(), probe)
        if (last := last_weights(self.run)).name != WEIGHTS:
            read_weights(last, self._ranker)
            self._updater.scorer = take_snapshot(self._ranker, world, self._updater.scorer)

    def _state(self, world: World) -> State:
        """The state of a run over ``world``, whose model is the one that there is."""
        config = self.config
        machine = Machine(config.trainer.accelerator, config.trainer.precision)
        inputs = Inputs(config, world, self._record, machine, Kept())
        training = Training(config, world, self._ranker, machine, [])
        evaluation = Evaluation(config, world, self.run.name)
        return State(inputs, Workshop(config, self._ranker, self._initial, training, evaluation))

    def _begin(self) -> None:
        """The moment at which the run ended, as its ``updates.parquet`` tells it."""
        world, file = self._known.world, self.run / "updates.parquet"
        start = world.split.t_test
        visible = np.searchsorted(world.data.log.time, visible_before(np.array(start), world.delay))
        self._window = world.split.n_windows - 1
        self._updated_at, self._updated_in, self._learned = start, 0, int(visible)
        self._moments: list[tuple[int, float]] = []
        self.number, self.learned = 0, list[dict[str, Any]]()
        rows = pl.read_parquet(file).to_dicts() if file.is_file() else []
        for row in rows:
            self._moments.append((row["time"], row["seconds"]))
            self._updated_at = row["time"]
            at = np.searchsorted(world.split.edges, row["time"], side="right")
            self._updated_in = int(at) - 1
            self._learned, self.number = row["visible"], row["version"]

    def _resume(self) -> None:
        """Go on behind the latest version that was saved."""
        if (saved := read_version(self.folder)) is None:
            return
        groups, facts = saved
        self._updater.restore(groups)
        self.number, self._window = facts["version"], facts["window"]
        self._updated_at, self._updated_in = facts["updated_at"], facts["updated_in"]
        self._learned, self.learned = facts["learned"], facts["updates"]
        self._moments = [(at, seconds) for at, seconds in facts["moments"]]

    def _save(self) -> None:
        facts = {
            "version": self.number, "window": self._window, "updated_at": self._updated_at,
            "updated_in": self._updated_in, "learned": self._learned,
            "moments": self._moments, "updates": self.learned,
        }  # fmt: skip
        write_version(self.folder, len(self._moments), self._updater.tensors(), facts)

    def _follow(self, world: World) -> None:
        """Let the engine see ``world``."""
        seen = self._updater.world
        if len(world.catalogue) > len(seen.catalogue):
            self._ranker = grown_ranker(self._ranker, seen, world)
        state = self._state(world)
        self._updater.follow(state, Probe(world, state.workshop.evaluation))

    # -- what comes in ---------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Return the second in which a request of now is answered: everything known is earlier."""
        return max(self._clock(), self._latest + 1, self._updated_at)

    @property
    def known_until(self) -> int:
        """Return the second of the latest event that is known, or learned from if that is later."""
        return max(self._latest, self._updated_at - 1)

    def known_items(self, names: Sequence[str]) -> list[str]:
        """Return those of the item ids that exist."""
        return [name for name in names if name in self._known.items]

    @property
    def _latest(self) -> int:
        return self._pending[-1].time if self._pending else int(self._known.world.data.log.time[-1])

    def add_events(self, events: Sequence[EventLine]) -> int:
        """Take events, in time order; those without a time (-1) happen now. On the disk when this
        returns; how many were new: what a request was answered by already is not taken twice.

        Raises:
            DataError: an item that does not exist, or a time before what is known.
        """
        with self._lock:
            for event in events:
                self.item(event.item)
            now = max(self._clock(), self._latest, self._updated_at)
            timed = [
                replace(e, time=now) if e.time < 0 else e
                for e in events
                if e.item not in self._answers.get(e.request, ())
            ]
            latest = max(self._latest, self._updated_at)
            for event in timed:
                if event.time < latest:
                    raise DataError(
                        f"an event at {event.time} (item {event.item!r}) is earlier than what is known "
                        f"already, up to {latest}: events come in time order"
                    )
                latest = event.time
            self._journal.append({"event": asdict(event)} for event in timed)
            self._pending += timed
            self.received += len(timed)
            self._note(timed)
        return len(timed)

    def _note(self, events: Sequence[EventLine]) -> None:
        """Remember who came last, and what the latest requests were answered by."""
        for event in events:
            self._last = event.user, event.text
            if event.request:
                self._answers.setdefault(event.request, set()).add(event.item)
        while len(self._answers) > REMEMBERED:
            del self._answers[next(iter(self._answers))]

    def add_items(self, items: Sequence[ItemLine]) -> None:
        """Take new items, which are candidates at once (``released_at`` -1: now).

        Raises:
            ConfigError: a head that has a learned vector of each item.
            DataError: an id that there is already.
        """
        if self.config.head.get("delta"):
            raise ConfigError(
                "this run's head has a learned vector of each item (head.delta): it takes no new ones"
            )
        with self._lock:
            ids = [item.id for item in items]
            if again := [i for n, i in enumerate(ids) if i in self._known.items or i in ids[:n]]:
                raise DataError(
                    f"item {again[0]!r} exists already: give new items ids of their own"
                )
            now = max(self._clock(), self._latest, self._updated_at)
            timed = [replace(i, released_at=now) if i.released_at < 0 else i for i in items]
            self._journal.append({"item": asdict(item)} for item in timed)
            self.received += len(timed)
            self._grow(timed)

    def _grow(self, items: Sequence[ItemLine] = ()) -> None:
        """Let the version that answers know what has come in."""
        events, self._pending = self._pending, []
        self._known.grow(events, items)
        if self._version.world is not self._known.world:
            self._version = self._version.knowing(self._known.world)

    # -- what goes out ---------------------------------------------------------------------------

    @property
    def version(self) -> Version:
        """Return the version that answers now; it knows everything that was acknowledged."""
        with self._lock:
            self._grow()
            return self._version

    def ask(self, user: str | None) -> tuple[Version, int, int | None]:
        """Return the version that answers now, the second in which it does, and the code of a user (None
        of somebody unknown), which belong together."""
        with self._lock:
            return self.version, self.now, self.user(user)

    @property
    def trigger(self) -> str:
        """Return the name of the run's trigger."""
        name: str = chosen(Trigger, self.config.online.trigger).name
        return name

    @property
    def uses_text(self) -> bool:
        """Whether the head reads texts."""
        return bool(self._ranker.head.uses_text)

    def user(self, name: str | None) -> int | None:
        """Return the code of a user, None of somebody unknown."""
        return None if name is None else self._known.users.get(name)

    def item(self, name: str) -> int:
        """Return the code of an item.

        Raises:
            DataError: there is none by this name.
        """
        items = self._known.items
        if name not in items:
            hint = did_you_mean(name, items, end=" ", shown=repr) if len(items) < 10_000 else ""
            raise DataError(f"item {name!r} does not exist; {hint}there are {len(items)}")
        return items[name]

    @property
    def waiting(self) -> int:
        """Return how many events came since the last update."""
        with self._lock:
            return len(self._known.world.data.log) + len(self._pending) - self._learned

    @property
    def is_learning(self) -> bool:
        """Whether an update is on its way."""
        return self._learning.locked()

    # -- updates ---------------------------------------------------------------------------------

    def update(self, *, asked: bool = True, ends_window: bool = True) -> Learned | None:
        """Make the next version if the run's trigger says so, or if it is ``asked`` for; None if not,
        or if nothing new is visible.

        Args:
            ends_window: what came since the last update is a window, which ends now.
        """
        with self._learning:
            with self._lock:
                before, now = self.version, self.now
                world, (user, text) = before.world, self._last
            moment = self._moment(world, now, self._window + ends_window)
            reason = self._trigger.ask(moment) or (ASKED if asked and moment.new > 0 else "")
            if not reason:
                return None
            self._window = moment.window
            self._follow(world)
            made = self._make(moment, reason)
            moment.note_update(made.update.seconds)
            self.number = made.update.version
            self._updated_at, self._updated_in = moment.updated_at, moment.updated_in
            self._learned, self._moments = moment.learned, moment.updates
            moves = Moves()
            if made.scorer is not None:
                after = Version.of(self.number, world, self._ranker.apart(), made.scorer)
                asker = Question(now, text, self.user(user))
                moves = moved(before, after, asker)
            learned = Learned(made.update, moves)
            self.learned = [*self.learned, learned.row()][-100:]
            self._save()
            if made.scorer is not None:
                with self._lock:
                    known = self._known.world
                    self._version = after if known is world else after.knowing(known)
            return learned

    def _make(self, moment: Moment, reason: str) -> Made[Scorer]:
        """One update of the engine; whatever fails leaves it where it was."""
        groups = self._updater.tensors()
        held = {group: {key: t.clone() for key, t in its.items()} for group, its in groups.items()}
        try:
            return self._updater.update(moment, reason, self.number + 1)
        except Exception:
            self._updater.restore(held)
            raise

    def _moment(self, world: World, now: int, window: int) -> Moment:
        log_ = world.data.log
        visible = int(np.searchsorted(log_.time, visible_before(np.array(now), world.delay)))
        learned = min(self._learned, visible)
        met, met_then = (len(np.unique(log_.item[:n])) for n in (visible, learned))
        began = self._updated_at, self._updated_in, learned, met_then
        return Moment(now, window, visible, met, _no_losses, *began, updates=list(self._moments))

    def close(self) -> None:
        """Let another process write."""
        self._journal.close()
        self._file_lock.release()


def clock_from(end: int) -> Callable[[], int]:
    """Return the clock of a run whose data end at the second ``end``."""
    if 0 <= time.time() - end <= RECENT:
        return lambda: int(time.time())
    begin = time.monotonic()
    return lambda: end + 1 + int(time.monotonic() - begin)


def _no_losses() -> Floats:
    return np.empty(0)
