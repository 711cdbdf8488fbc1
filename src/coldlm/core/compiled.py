"""Loops over whole catalogues as machine code. They lie in modules that are imported no earlier than such a
loop is to run: numba takes as long to import as a list takes to recommend."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

SWITCH: Final = "COLDLM_COMPILED"
"""Environment variable: 0 leaves the loops to numpy and torch, which hold more and take longer."""


def is_on() -> bool:
    """Return whether loops are compiled."""
    return os.environ.get(SWITCH, "1") != "0"


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as machine code, made when it is first called and kept beside its source (or in
    the user's cache folder), without the interpreter's lock. Products and sums may be one instruction;
    the order of sums is as written."""
    import numba

    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract"}}
    try:
        made: Callable[..., Any] = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that may be written
        made = numba.njit(**options)(function)
    return made


def part(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that becomes part of the compiled loops that call it: only so are many numbers
    computed at once."""
    import numba

    made: Callable[..., Any] = numba.njit(inline="always", fastmath={"contract"})(function)
    return made
