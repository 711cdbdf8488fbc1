"""``run.log``: what a run says, on the terminal and in its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger("coldlm")


@contextmanager
def logging_to(folder: Path | None) -> Iterator[None]:
    """Inside, what coldlm says goes to the terminal and to ``run.log``; other ranks than the first
    are silent."""
    handlers: list[logging.Handler] = []
    if folder is not None:
        handlers = [
            logging.StreamHandler(),
            logging.FileHandler(folder / "run.log", encoding="utf-8"),
        ]
        handlers[0].setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S")
        )
        log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    log.propagate = False
    try:
        yield
    finally:
        for handler in handlers:
            log.removeHandler(handler)
            handler.close()
