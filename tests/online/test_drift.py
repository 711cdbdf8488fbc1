"""The trigger on drift: a jump of the losses is seen, and not before they may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from coldlm.core.seeding import generator
from coldlm.online.drift import OnDrift
from coldlm.online.moment import Moment

DETECTORS = ("adwin", "page_hinkley", "kswin")
BEFORE, AFTER = 300, 220


def series(jump: float = 0.5) -> list[float]:
    """Losses about .2, which jump after ``BEFORE`` of them."""
    noise = generator(0, "losses").normal(0, 0.05, BEFORE + AFTER)
    return np.clip(0.2 + noise + jump * (np.arange(BEFORE + AFTER) >= BEFORE), 0, 1).tolist()


def moments(losses: list[float], step: int = 10, hidden: int = 0) -> Iterator[Moment]:
    """A moment after every ``step`` events, each seen when ``hidden`` more have happened."""
    told = 0

    def fresh() -> np.ndarray:
        nonlocal told
        begin, told = told, now.visible
        return np.array(losses[begin:told])

    now = Moment(0, 0, 0, 0, fresh, 0, 0, 0, 0)
    for happened in range(step, len(losses) + 1, step):
        now.time, now.visible = happened, max(0, happened - hidden)
        yield now


def fires(trigger: Any, losses: list[float], hidden: int = 0) -> list[int]:
    """How many events had happened whenever it fired; each time an update is noted."""
    found = []
    for now in moments(losses, hidden=hidden):
        if reason := trigger.ask(now):
            assert reason == "drift of the prequential loss"
            now.note_update(1.0)
            found.append(now.time)
    return found


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_jump_is_seen_soon_and_nothing_else_is(detector: Any) -> None:
    found = fires(OnDrift(detector=detector, sensitivity=0.0001), series())
    assert found
    assert BEFORE < found[0] <= BEFORE + 100
    assert len(found) <= 2
    assert fires(OnDrift(detector=detector, sensitivity=0.0001), series(jump=0)) == []


@pytest.mark.parametrize("detector", DETECTORS)
def test_it_is_not_seen_before_labels_are_there(detector: Any) -> None:
    at_once = fires(OnDrift(detector=detector, sensitivity=0.0001), series())
    late = fires(OnDrift(detector=detector, sensitivity=0.0001), series(), hidden=100)
    assert late[0] == at_once[0] + 100


@pytest.mark.parametrize("detector", DETECTORS)
def test_an_update_begins_another_series(detector: Any) -> None:
    """Two series end alike, what was before the update differs: what comes of it does not."""
    first, second = (OnDrift(detector=detector, sensitivity=0.0001) for _ in range(2))
    found = fires(first, series())
    rest = series()[found[0] :]
    # one that never saw what was before
    assert [at - found[0] for at in found[1:]] == fires(second, rest)


def test_an_alarm_waits_for_enough_events() -> None:
    """It is not lost: the update comes when ``n`` have become visible."""
    losses = series()
    soon = fires(OnDrift(n=1, sensitivity=0.0001), losses)[0]
    late = fires(OnDrift(n=soon + 55, sensitivity=0.0001), losses)
    assert late == [soon + 60]


def test_a_more_sensitive_one_fires_sooner() -> None:
    losses = series(jump=0.15)
    dull, keen = (
        fires(OnDrift(detector="page_hinkley", sensitivity=s), losses) for s in (1e-6, 0.3)
    )
    assert keen[0] < dull[0]
