from __future__ import annotations

import doctest
import threading
import time
from collections.abc import Iterator
from itertools import count

import pytest

import coldlm.core.prefetch
from coldlm.core.prefetch import WORKERS, prefetch


def test_the_examples_in_the_docstrings_hold() -> None:
    found = doctest.testmod(coldlm.core.prefetch)
    assert found.attempted
    assert not found.failed


def test_results_come_in_the_order_of_the_arguments_even_if_later_ones_are_ready_first() -> None:
    def slow_first(n: int) -> int:
        time.sleep(0.05 if n == 0 else 0)
        return n * n

    assert list(prefetch(slow_first, range(7))) == [n * n for n in range(7)]


@pytest.mark.parametrize("n", [0, 1, WORKERS, WORKERS + 1])
def test_any_number_of_arguments_is_fine(n: int) -> None:
    assert list(prefetch(str, range(n))) == [str(i) for i in range(n)]


def test_two_results_are_computed_at_the_same_time() -> None:
    together = threading.Barrier(WORKERS)

    def wait(n: int) -> int:
        together.wait(timeout=10)  # breaks, and raises, if one is run after the other
        return n

    assert list(prefetch(wait, range(WORKERS))) == list(range(WORKERS))


def test_no_more_than_a_few_arguments_are_taken_in_advance() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for n in count():
            taken.append(n)
            yield n

    results = prefetch(abs, numbers())
    for n in range(5):
        assert next(results) == n
        assert len(taken) <= n + 1 + WORKERS
    results.close()  # type: ignore[attr-defined]


def test_an_error_reaches_the_caller_at_its_place() -> None:
    def invert(n: int) -> float:
        return 1 / n

    results = prefetch(invert, [1, 2, 0, 4])
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_caller_who_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = prefetch(abs, range(100))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
