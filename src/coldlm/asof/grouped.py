"""Events of one log by user or item, and ranges of them."""

from __future__ import annotations

import copy

import numpy as np

from coldlm.core.tables import Ints


def ranges(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """Return all integers of the ranges [first_i, last_i), concatenated, and for each the i it came
    from.

    >>> ranges(np.array([3, 10]), np.array([5, 11]))
    (array([ 3,  4, 10]), array([0, 0, 1]))
    """
    sizes = last - first
    owner = np.repeat(np.arange(len(sizes)), sizes)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return first[owner] + offset, owner


def _stable_order(code: Ints) -> Ints:
    """The stable order of codes from 0 on: of 16 bits at a time, which numpy sorts in linear time."""
    order: Ints = np.argsort(code.astype(np.uint16), kind="stable")
    shift = 16
    while code.max(initial=0) >> shift:
        part = (code >> shift).astype(np.uint16)
        order = order[np.argsort(part[order], kind="stable")]
        shift += 16
    return order


class Grouped:
    """Events of one log, which are in time order, grouped by a code (user or item); so they are
    inside a group.

    ``start``: [G + 1] offsets of the groups; ``time``, ``row``: [E] event times and row numbers in
    the log; ``origin``: the earliest time.
    """

    def __init__(self, code: Ints, time: Ints, n_groups: int) -> None:
        order = _stable_order(code)
        self.row: Ints = order
        self.time: Ints = time[order]
        self.start: Ints = np.searchsorted(code[order], np.arange(n_groups + 1)).astype(np.int64)
        self.origin = int(time.min()) if len(time) else 0
        self._span = (int(time.max()) - self.origin + 2) if len(time) else 2
        self._key: Ints = code[order] * self._span + (self.time - self.origin)

    def grown(self, code: Ints, time: Ints, n_groups: int) -> Grouped:
        """Return these events and more behind them in the log, [M], none earlier; to the bit what the
        longer log makes."""
        other = copy.copy(self)
        start = np.append(self.start, np.full(n_groups + 1 - len(self.start), self.start[-1]))
        order = _stable_order(code)
        at = start[code[order] + 1]
        other.row = np.insert(self.row, at, len(self.row) + order)
        other.time = np.insert(self.time, at, time[order])
        other.start = start + np.append(0, np.cumsum(np.bincount(code, minlength=n_groups)))
        other.origin = int(time.min()) if len(time) and not len(self.row) else self.origin
        last = max(int(time.max(initial=other.origin)), self.origin + self._span - 2)
        other._span = last - other.origin + 2
        group = np.repeat(np.arange(n_groups), np.diff(other.start))
        other._key = group * other._span + (other.time - other.origin)
        return other

    def before(self, code: Ints, time: Ints, inclusive: bool = False) -> Ints:
        """Return the position just behind the last event of ``code`` earlier than ``time`` (or at it,
        if ``inclusive``).

        ``code`` and ``time`` broadcast; subtract ``start[code]`` for the number of such events.
        """
        shift = np.clip(time - self.origin + (1 if inclusive else 0), 0, self._span - 1)
        return np.searchsorted(self._key, code * self._span + shift, side="left")
