"""The audit on two small files, and leaks injected into them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from coldlm.online.audit import audit

CLEAN = {"learned_too_early": 0, "scored_by_the_future": 0, "live_too_early": 0}

UPDATES: list[dict[str, Any]] = [
    {"version": 1, "time": 100, "newest": 90, "n_events": 9, "live_at": 105.0, "rolled_back": False},
    {"version": 1, "time": 150, "newest": 140, "n_events": 9, "live_at": 150.0, "rolled_back": True},
    {"version": 2, "time": 200, "newest": 190, "n_events": 9, "live_at": 200.0, "rolled_back": False},
    {"version": 3, "time": 250, "newest": -1, "n_events": 0, "live_at": 250.0, "rolled_back": False},
]  # fmt: skip

EVENTS = [(100, 0), (105, 1), (150, 1), (190, 1), (200, 2), (260, 3)]


def found(
    updates: list[dict[str, Any]] = UPDATES,
    events: list[tuple[int, int]] = EVENTS,
    delay: int = 0,
) -> dict[str, int]:
    frame = pl.DataFrame(events, schema=["time", "version"], orient="row")
    return audit(frame, pl.DataFrame(updates), delay)


def changed(row: int, **keys: Any) -> list[dict[str, Any]]:
    return [{**update, **(keys if n == row else {})} for n, update in enumerate(UPDATES)]


def test_a_clean_stream_has_no_leak() -> None:
    assert found() == CLEAN
    assert found(delay=10) == CLEAN
    assert found(updates=UPDATES[:1], events=EVENTS[:2]) == CLEAN


def test_updates_that_never_were_are_no_leak() -> None:
    frame = pl.DataFrame(EVENTS[:1], schema=["time", "version"], orient="row")
    assert audit(frame, pl.DataFrame(UPDATES).clear(), 0) == CLEAN


@pytest.mark.parametrize("newest", [200, 10_000])
def test_learning_from_its_own_second_or_later_is_caught(newest: int) -> None:
    leaks = found(changed(2, newest=newest))
    assert leaks["learned_too_early"] == 1
    # what a version has learned, those behind it have too
    assert leaks["scored_by_the_future"] == (2 if newest > 260 else 1)
    assert leaks["live_too_early"] == 0


def test_a_leak_is_caught_in_an_update_that_was_rolled_back() -> None:
    """Nothing was scored by it."""
    assert found(changed(1, newest=150)) == CLEAN | {"learned_too_early": 1}


def test_a_label_seen_early_is_caught() -> None:
    assert found(delay=11) == CLEAN | {"learned_too_early": 3}


def test_a_version_that_is_live_too_early_is_caught() -> None:
    leaks = found(events=[(100, 0), (104, 1), (150, 1), (199, 2)])
    assert leaks == CLEAN | {"live_too_early": 2}
