"""Compute a few results ahead in threads. The work is numpy and torch, which let go of the
interpreter's lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")

WORKERS = 2


def prefetch(
    function: Callable[[Argument], Result], arguments: Iterable[Argument]
) -> Iterator[Result]:
    """Yield ``map`` with results in order, at most ``WORKERS`` + 1 of them in memory; ``function``
    must be pure.

    >>> list(prefetch(abs, [-1, 2, -3]))
    [1, 2, 3]
    """
    left = iter(arguments)
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: deque[Future[Result]] = deque(
            pool.submit(function, a) for a in islice(left, WORKERS)
        )
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(pool.submit(function, a) for a in islice(left, 1))
                yield result
        finally:
            for future in waiting:
                future.cancel()
