"""The thread that makes the next version while the one before answers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from coldlm.experiment.live import Live
from coldlm.experiment.live_engine import Learned

log = logging.getLogger("coldlm")

PAUSE = 1.0
"""Seconds after an update that failed before the next is tried."""


class Learner(threading.Thread):
    """Asks the run's trigger whenever something has come in.

    Args:
        window: events after which a window of the stream is over.
        on_update: told of what an update came to.

    ``failure``: why the last update failed, "" if it did not.
    """

    def __init__(self, live: Live, window: int, on_update: Callable[[Learned], None]) -> None:
        super().__init__(name="coldlm learner", daemon=True)
        self._live, self._window, self._on_update = live, window, on_update
        self._wake, self._stops, self._asked = threading.Event(), False, False
        self.failure = ""

    def look(self) -> None:
        """Say that something has come in."""
        self._wake.set()

    def ask(self) -> bool:
        """Ask for an update; False if one is on its way."""
        if self._asked or self._live.is_learning:
            return False
        self._asked = True
        self._wake.set()
        return True

    @property
    def is_busy(self) -> bool:
        """Whether an update is on its way, or asked for."""
        return self._asked or self._live.is_learning

    def run(self) -> None:
        """Make updates until told to stop."""
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._stops:
                return
            asked = self._asked
            try:
                ends = asked or self._live.waiting >= self._window
                learned = self._live.update(asked=asked, ends_window=ends)
                self.failure = ""
                if learned is not None:
                    self._on_update(learned)
            except Exception as error:
                self.failure = f"{type(error).__name__}: {error}"
                log.exception("an update failed; the version before goes on answering")
                time.sleep(PAUSE)
            finally:
                if asked:
                    self._asked = False

    def stop(self) -> None:
        """End behind the update that is on its way."""
        self._stops = True
        self._wake.set()
        self.join()
