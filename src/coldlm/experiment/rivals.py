"""Rivals over one world: what each may learn from, the value that validation chose, and those that follow
the stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from coldlm.config.build import resolve
from coldlm.config.kinds import Rival
from coldlm.config.options import rival_asked
from coldlm.core.tables import STREAM, TRAIN, VALIDATION, Ints
from coldlm.evaluate.judge import ScoreFunction
from coldlm.experiment.world import World
from coldlm.rivals.known import Known, Make, Stopping

if TYPE_CHECKING:
    from coldlm.experiment.baselines import Ready

log = logging.getLogger("coldlm")

Measure = Callable[[ScoreFunction, str], float]
"""(scorer, name) -> its value on validation."""


def make_rivals(
    names: Sequence[str],
    ready: Ready,
    world: World,
    history: int,
    measure: Measure,
    *,
    refit: bool,
) -> tuple[dict[str, ScoreFunction], dict[str, dict[str, Any]]]:
    """Return each rival with the value, and the number of epochs, that did best on validation when it
    had learned from training alone (Name -> scorer); and what was chosen (Name -> what the manifest
    says of it). Like the models they learn nothing from the probe.

    Args:
        history: how many of a user's last items are looked at.
        refit: learn again, from training and validation with what was chosen; and where a name asks for
            it before each window, from all that was known then.
    """
    train = _known_by(world, ready, history, world.split.t_val, TRAIN)
    both = _known_by(world, ready, history, world.split.t_test, TRAIN, VALIDATION)
    found, chosen = dict[str, ScoreFunction](), dict[str, dict[str, Any]]()
    tuned = dict[Rival, _Tuned]()
    for name in dict.fromkeys(names):
        rival = rival_asked(name)
        same = replace(rival, name=name.partition("@")[0], follows=False)
        if same not in tuned:
            tuned[same] = _tune(same, train, measure, keep=not refit)
        best = tuned[same]
        if rival.follows:
            found[name] = LearnedAnew(
                partial(_of_window, best, world, ready, history), world.split.edges
            )
        else:
            found[name] = best.learned or best.learn(both)
        chosen[name] = {
            "setting": rival.setting,
            "value": best.value,
            "tried": best.tried,
            "epochs": best.epochs,
            "unseen": rival.unseen,
        }
    return found, chosen


@dataclass(frozen=True)
class _Tuned:
    """A rival with its best ``value``, and as ``learned`` from training alone where that is what counts: the
    matrices of several need not be in memory at once for nothing. ``tried``: value -> quality on
    validation. ``epochs``: None of what learns in none."""

    make: Make
    value: float
    learned: ScoreFunction | None
    tried: dict[str, float]
    epochs: int | None

    def learn(self, known: Known) -> ScoreFunction:
        return self.make(replace(known, stopping=Stopping(epochs=self.epochs)), self.value)


def _tune(rival: Rival, train: Known, measure: Measure, *, keep: bool) -> _Tuned:
    """Learn from training with each value, and say what came of them."""
    begin = time.perf_counter()
    make: Make = resolve(rival.target)
    tried, epochs, learned = {}, [], []
    for value in rival.values:
        judged_as = partial(_measured, measure, f"{rival.name} {value:g}")
        stopping = Stopping(judged_as)
        learned.append(make(replace(train, stopping=stopping), value))
        tried[f"{value:g}"] = judged_as(learned[-1])
        epochs.append(stopping.epochs)
    best = int(np.argmax(list(tried.values())))
    said = ", ".join(f"{quality:.4f} at {value}" for value, quality in tried.items())
    seconds = time.perf_counter() - begin
    log.info("%s on validation, by %s: %s (%.1f s)", rival.name, rival.setting, said, seconds)
    kept = learned[best] if keep else None
    return _Tuned(make, rival.values[best], kept, tried, epochs[best])


def _measured(measure: Measure, name: str, scorer: ScoreFunction) -> float:
    return measure(scorer, name)


def _known_by(world: World, ready: Ready, history: int, end: int, *parts: int) -> Known:
    """What may be learned from at second ``end``."""
    rows = world.visible(world.split.rows(*parts), end)
    return Known(
        world.data,
        world.catalogue,
        world.as_of,
        rows[~world.probe[rows]],
        world.entered_by(end),
        history,
        ready.items.float(),
        ready.seed,
        ready.half_life,
    )


def _of_window(
    best: _Tuned, world: World, ready: Ready, history: int, window: int
) -> ScoreFunction:
    """The rival as learned from all that is known when a window begins."""
    end = int(world.split.edges[window])
    parts = (TRAIN, VALIDATION, STREAM) if window else (TRAIN, VALIDATION)
    return best.learn(_known_by(world, ready, history, end, *parts))


class LearnedAnew:
    """Scores of a rival that is learned anew when a window begins, with what validation chose before the
    stream. Two versions at most are kept: queries that come in time order, a few at once, learn each once."""

    def __init__(self, learn: Callable[[int], ScoreFunction], edges: Ints) -> None:
        """``learn``: of a window. ``edges``: as of ``Split``; what is earlier than the first is asked of
        the first window's version."""
        self._learn, self._inner = learn, edges[1:-1]
        self._versions: dict[int, ScoreFunction] = {}
        self._lock = Lock()

    def __call__(self, users: Ints, times: Ints) -> Tensor:
        """Return [Q, N] scores, each query's by the version of its time's window."""
        window = np.searchsorted(self._inner, times, side="right")
        parts = [np.flatnonzero(window == each) for each in np.unique(window)]
        found = torch.cat(
            [self._version(int(window[part[0]]))(users[part], times[part]) for part in parts]
        )
        return found[torch.from_numpy(np.argsort(np.concatenate(parts), kind="stable"))]

    def _version(self, window: int) -> ScoreFunction:
        with self._lock:
            if window not in self._versions:
                while len(self._versions) > 1:
                    del self._versions[min(self._versions)]
                with torch.enable_grad():
                    self._versions[window] = self._learn(window)
            return self._versions[window]
