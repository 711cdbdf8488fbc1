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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from coldlm.config.kinds import Trigger
from coldlm.config.options import chosen
from coldlm.core.errors import ConfigError, DataError, RunFolderError
from coldlm.core.spelling import did_you_mean
from coldlm.core.tables import DAY
from coldlm.experiment.encoder import with_own_backbone
from coldlm.experiment.grown import Growing
from coldlm.experiment.live_engine import Learned, LiveEngine
from coldlm.experiment.live_files import (
    FOLDER,
    JOURNAL,
    EventLine,
    ItemLine,
    refuse_config,
)
from coldlm.experiment.moved import Moves, moved
from coldlm.experiment.version import Question, Version
from coldlm.experiment.world import make_world
from coldlm.runs.journal import Journal
from coldlm.runs.last import weights_of
from coldlm.runs.manifest import read_manifest, refuse_other_data
from coldlm.runs.process import set_up_process
from coldlm.runs.resolved import read_config

log = logging.getLogger("coldlm")

RECENT = 30 * DAY
"""A run whose data end within so many seconds of now goes by the clock on the wall."""

REMEMBERED = 10_000
"""Requests whose answers are not taken twice."""


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
        weights_of(run)
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
        self._known = Growing(world)
        self._pending: list[EventLine] = []
        self._last: tuple[str | None, str] = None, ""  # who came last, and what was typed
        self._answers: dict[str, set[str]] = {}
        self.engine = LiveEngine(run, self.config, self.manifest, world)
        self._journal = Journal(self.folder / JOURNAL)
        self.torn = self._journal.torn
        self._known.replay(self._journal.lines)
        self.received = len(self._journal.lines)
        self._note([EventLine(**x["event"]) for x in self._journal.lines if "event" in x])
        self._journal.lines = []
        self.engine.resume(self._known.world)
        self._version = self.engine.version(self._known.world)

    @property
    def now(self) -> int:
        """Return the second in which a request of now is answered: everything known is earlier."""
        return max(self._clock(), self._latest + 1, self.engine.updated_at)

    @property
    def known_until(self) -> int:
        """Return the second of the latest event that is known, or learned from if that is later."""
        return max(self._latest, self.engine.updated_at - 1)

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
            now = max(self._clock(), self._latest, self.engine.updated_at)
            timed = [
                replace(e, time=now) if e.time < 0 else e
                for e in events
                if e.item not in self._answers.get(e.request, ())
            ]
            latest = max(self._latest, self.engine.updated_at)
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
            now = max(self._clock(), self._latest, self.engine.updated_at)
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
        return bool(self._version.ranker.head.uses_text)

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
            return len(self._known.world.data.log) + len(self._pending) - self.engine.learned

    @property
    def number(self) -> int:
        """Return the number of the latest version."""
        return self.engine.number

    @property
    def learned(self) -> list[dict[str, Any]]:
        """Return what the latest updates came to."""
        return self.engine.rows

    @property
    def is_learning(self) -> bool:
        """Whether an update is on its way."""
        return self._learning.locked()

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
            made = self.engine.update(world, now, asked=asked, ends_window=ends_window)
            if made is None:
                return None
            after, moves = None, Moves()
            if made.scorer is not None:
                after = self.engine.version(world, made.scorer)
                moves = moved(before, after, Question(now, text, self.user(user)))
            learned = Learned(made.update, moves)
            self.engine.save(learned)
            if after is not None:
                with self._lock:
                    known = self._known.world
                    self._version = after if known is world else after.knowing(known)
            return learned

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
