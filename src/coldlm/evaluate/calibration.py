"""Whether a probability is what it says: of pairs said to be taken with probability .3, three in ten
are. Shapes: E labelled pairs, B bins."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from coldlm.core.tables import Bools, Floats, Ints

BINS = 15
"""As many as Guo et al. 2017 have."""

SMALLEST = 1e-12
"""A probability is held this far from 0 and 1 for the log-loss, so that it stays finite."""


@dataclass(frozen=True)
class Bin:
    """``said``: mean probability of its ``pairs``; ``taken``: the share of them that was."""

    said: float
    taken: float
    pairs: int


@dataclass(frozen=True)
class Calibration:
    """``log_loss``: in nats. ``brier``: mean of (p - y)^2. ``ece``: sum over bins of equal width of the
    share of pairs times |said - taken| (Guo et al. 2017, "On calibration of modern neural networks",
    eq. 5, of the probability itself). ``ece_adaptive``: the same over bins of equally many pairs
    (Nixon et al. 2019, "Measuring calibration in deep learning", section 3). ``bins``: of equal width,
    those that hold a pair. ``base_rate``: share that was taken."""

    log_loss: float
    brier: float
    ece: float
    ece_adaptive: float
    base_rate: float
    bins: tuple[Bin, ...]

    def plain(self) -> dict[str, object]:
        """Return it as nested dicts and lists."""
        return asdict(self) | {"bins": [asdict(each) for each in self.bins]}


def calibration(probability: Floats, taken: Bools) -> Calibration:
    """Return how well probabilities [E] fit what was taken [E].

    >>> found = calibration(np.array([0.1, 0.1, 0.9, 0.9]), np.array([False, False, True, False]))
    >>> round(found.ece, 3), round(found.brier, 3), [(b.said, b.taken, b.pairs) for b in found.bins]
    (0.25, 0.21, [(0.1, 0.0, 2), (0.9, 0.5, 2)])
    """
    p, y = probability.astype(np.float64), taken.astype(np.float64)
    by_width = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    # ties stay in one bin, whatever their order
    places = np.searchsorted(np.sort(p), p, side="left")
    by_mass = places * BINS // max(len(p), 1)
    bounded = np.clip(p, SMALLEST, 1 - SMALLEST)
    return Calibration(
        log_loss=float(-np.mean(y * np.log(bounded) + (1 - y) * np.log1p(-bounded))),
        brier=float(np.mean((p - y) ** 2)),
        ece=_error(_bins(p, y, by_width)),
        ece_adaptive=_error(_bins(p, y, by_mass)),
        base_rate=float(y.mean()),
        bins=_bins(p, y, by_width),
    )


def _bins(p: Floats, y: Floats, which: Ints) -> tuple[Bin, ...]:
    return tuple(
        Bin(float(p[here].mean()), float(y[here].mean()), int(here.sum()))
        for number in range(BINS)
        if (here := which == number).any()
    )


def _error(bins: tuple[Bin, ...]) -> float:
    pairs = sum(each.pairs for each in bins)
    return sum(each.pairs * abs(each.said - each.taken) for each in bins) / pairs
