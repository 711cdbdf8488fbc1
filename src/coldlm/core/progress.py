"""What people see of long work: a bar on a terminal while texts are encoded or queries scored;
nothing in a log file and on other ranks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from coldlm.core import ranks


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[..., None]]:
    """Gives a function that is told how many of ``total`` were done since the last call, and what
    there is to say now besides ``what``."""
    if not sys.stderr.isatty() or not ranks.is_first():
        yield lambda n, said="": None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda n, said="": bar.update(
            task, advance=n, description=f"{what}: {said}" if said else what
        )


def listed(facts: Mapping[str, object]) -> str:
    """Return the facts in words for a line of the log.

    >>> listed({"late_training": 0, "share": 0.25, "what": "x"})
    'late training 0, share 0.250, what x'
    """
    values = {
        key: f"{value:.3f}" if isinstance(value, float) else value for key, value in facts.items()
    }
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in values.items()) or "none"
