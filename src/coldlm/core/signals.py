"""What a process does that is told to stop."""

from __future__ import annotations

from typing import NoReturn


def terminate(signum: int, _: object) -> NoReturn:
    """Leave with the status that says which signal it was, a handler for ``signal.signal``."""
    raise SystemExit(128 + signum)
