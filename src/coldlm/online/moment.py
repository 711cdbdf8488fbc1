"""What a trigger may look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from coldlm.core.tables import Floats


@dataclass
class Moment:
    """What is known just before the queries of one second are scored; all of it visible then.

    ``time``: the second. ``window``: of the stream. ``visible``: events of the log that are
    visible, of any label. ``met``: distinct items among them. ``losses``: () -> the prequential
    losses that have become visible since they were last asked for, oldest first, see ``loop``.

    As they were when the last update was started, or at T_test before the first: ``updated_at``
    (the second), ``updated_in`` (the window), ``learned`` (``visible``), ``met_then`` (``met``).
    ``updates``: (second at which it was started, seconds that it took) of every update so far.
    """

    time: int
    window: int
    visible: int
    met: int
    losses: Callable[[], Floats]
    updated_at: int
    updated_in: int
    learned: int
    met_then: int
    updates: list[tuple[int, float]] = field(default_factory=list)

    @property
    def new(self) -> int:
        """Return how many events have become visible since the last update was started."""
        return self.visible - self.learned

    @property
    def waited(self) -> int:
        """Return the seconds of the stream since the last update was started."""
        return self.time - self.updated_at

    def note_update(self, seconds: float) -> None:
        """Remember that an update was started now."""
        self.updates.append((self.time, seconds))
        self.updated_at, self.updated_in = self.time, self.window
        self.learned, self.met_then = self.visible, self.met
