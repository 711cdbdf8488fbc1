"""Context of all items as of ascending times in one pass each, compiled: what ``AsOf.features`` and
``AsOf.counts`` say, without a plane per feature.

Shapes: Q times, N items, E events, P planes of state (the count, then decayed counts), U hidden units.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from coldlm.core.compiled import compiled, part
from coldlm.core.tables import DAY, Floats, Ints

Planes = NDArray[np.float32]

BLOCK = 256
"""Items at once: their features stay in the processor's nearest cache."""

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
SECONDS_A_DAY = np.float32(DAY)

GONE = np.float32(1e-30)
"""A decayed count below it is none: log(1 + it) is 0, and numbers below the smallest normal one are slow."""

ROOT_HALF = np.float32(0.707106781186547524)
LN_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
LOG = tuple(
    np.float32(c)
    for c in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
"""Coefficients of the logarithm of the Cephes library (Moshier 1989, logf)."""


@intrinsic  # type: ignore[untyped-decorator]
def exponent(_: Any, x: Any) -> Any:
    """e of x = m 2^e, 1/2 <= m < 1, as a float32."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.lshr(builder.bitcast(arguments[0], word), ir.Constant(word, 23))
        return builder.sitofp(builder.sub(bits, ir.Constant(word, 126)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def mantissa(_: Any, x: Any) -> Any:
    """m of x = m 2^e, 1/2 <= m < 1, as a float32."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.and_(builder.bitcast(arguments[0], word), ir.Constant(word, 0x7FFFFF))
        bits = builder.or_(bits, ir.Constant(word, 0x3F000000))
        return builder.bitcast(bits, ir.FloatType())

    return types.float32(types.float32), generate


@part
def log(x: Any) -> Any:
    """The natural logarithm of a float32 of at least 1, within 1e-7 of it; 0 of 1. Unlike the library's
    it is computed for many items at once."""
    e, m = exponent(x), mantissa(x)
    is_low = m < ROOT_HALF
    e = e - ONE if is_low else e
    m = (m + m if is_low else m) - ONE
    z = m * m
    y = LOG[0]
    y = y * m + LOG[1]
    y = y * m + LOG[2]
    y = y * m + LOG[3]
    y = y * m + LOG[4]
    y = y * m + LOG[5]
    y = y * m + LOG[6]
    y = y * m + LOG[7]
    y = y * m + LOG[8]
    y = y * m * z + e * LN_2[1] - HALF * z
    return m + y + e * LN_2[0]


@compiled
def begin(
    time: Any, start: Ints, when: Ints, decayed: Floats, half_lives: Floats, state: Planes
) -> None:
    """Write [P, N] the state as of one time: the count, and the decayed counts of items that have one.

    Args:
        start: [N + 1] of each item's events in ``when``, [E], and in ``decayed``, [P - 1, E]: what the
            decayed counts were just after each.
    """
    for i in range(state.shape[1]):
        low, high = start[i], start[i + 1]
        while low < high:  # the first event that is not earlier
            middle = (low + high) // 2
            if when[middle] < time:
                low = middle + 1
            else:
                high = middle
        state[0, i] = low - start[i]
        for h in range(half_lives.shape[0]):
            state[h + 1, i] = ZERO
            if low > start[i]:
                x = decayed[h, low - 1] * 2.0 ** (-(time - when[low - 1]) / half_lives[h])
                state[h + 1, i] = x if x > GONE else ZERO


@compiled
def counts(
    times: Ints, order: Ints, state: Planes, first: Ints, last: Ints, item: Ints, masked_until: Ints,
    out: Planes,
) -> None:  # fmt: skip
    """Write [Q, N] counts of all items as of each time; see ``network``."""
    n_items = state.shape[1]
    for k in range(times.shape[0]):
        t, row = times[k], order[k]
        for event in range(first[k], last[k]):
            state[0, item[event]] += ONE
        for i in range(n_items):
            out[row, i] = ZERO if t < masked_until[i] else state[0, i]


@compiled
def log_decayed(
    times: Ints, order: Ints, state: Floats, first: Ints, last: Ints, item: Ints, masked_until: Ints,
    out: Floats,
    height: Floats, ages: Floats, never: float,
) -> None:  # fmt: skip
    """Write [Q, N] logarithms of decayed counts as of each time, ``never`` of nothing; see ``network``.

    Args:
        state: [N] height of the line of each item's last event, -inf of none; ``height``: of each event's
            from ``first[0]`` on. ages: [Q] how far each time has fallen along every line.
    """
    n_items = state.shape[0]
    for k in range(times.shape[0]):
        t, row, age = times[k], order[k], ages[k]
        for event in range(first[k], last[k]):
            state[item[event]] = height[event - first[0]]
        for i in range(n_items):
            known = state[i] - age if t >= masked_until[i] else -np.inf
            out[row, i] = known if known > never else never


@compiled
def network(
    times: Ints, order: Ints, state: Planes, first: Ints, last: Ints, item: Ints, masked_until: Ints,
    out: Planes,
    when: Ints, half_lives: Floats, enters_at: Ints, inner: Planes, bias: Planes, outer: Planes, level: Any,
    shrink: Any,
) -> None:  # fmt: skip
    """Write [Q, N] float32 scores of a network of one hidden layer over the features of all items.

    Args:
        times: [Q] ascending; order: [Q] the row of ``out`` of each.
        state: [P, N] float32 as of the first time, walked on from there, in place.
        first, last: [Q] events between the time before and each, as a range of ``item`` and ``when``,
            [E]; none at the first time.
        masked_until, enters_at: [N], half_lives: [P - 1] seconds, see ``AsOf``.
        inner: [U, F], bias: [Q, U] by row of ``out``, outer: [U], level: of the network.
        shrink: what the logarithms are multiplied by.
    """
    n_items, n_units = state.shape[1], outer.shape[0]
    planes = np.zeros((6, BLOCK), np.float32)
    scores = np.zeros(BLOCK, np.float32)
    for k in range(times.shape[0]):
        t, row = times[k], order[k]
        if k > 0 and t != times[k - 1]:
            for h in range(half_lives.shape[0]):
                step = np.float32(2.0 ** (-(t - times[k - 1]) / half_lives[h]))
                decayed = state[h + 1]
                for i in range(n_items):
                    x = decayed[i] * step
                    decayed[i] = x if x > GONE else ZERO
            for event in range(first[k], last[k]):
                i = item[event]
                state[0, i] += ONE
                for h in range(half_lives.shape[0]):
                    state[h + 1, i] += np.float32(2.0 ** (-(t - when[event]) / half_lives[h]))
        for begin in range(0, n_items, BLOCK):
            size = min(BLOCK, n_items - begin)
            # simple loops, one after the other, are those that become instructions on many numbers
            for f in range(4):
                known, plane = state[(f + 1) % 4, begin : begin + size], planes[f]
                for j in range(size):
                    plane[j] = known[j] + ONE
            enters, until = enters_at[begin : begin + size], masked_until[begin : begin + size]
            n_hidden = 0
            for j in range(size):
                age = np.float32(t - enters[j])
                planes[4, j] = max(age, ZERO) / SECONDS_A_DAY + ONE
                n_hidden += t < until[j]
            if n_hidden > 0:
                for j in range(size):
                    if t < until[j]:
                        planes[:5, j] = ONE
            for j in range(BLOCK):
                planes[5, j] = ONE if planes[3, j] == ONE else ZERO
            for f in range(5):
                plane = planes[f]
                for j in range(BLOCK):  # always whole: the last items are computed as all others
                    plane[j] = log(plane[j]) * shrink
            for j in range(BLOCK):
                scores[j] = level
            for u in range(n_units):
                b, v = bias[row, u], outer[u]
                a0, a1, a2 = inner[u, 0], inner[u, 1], inner[u, 2]
                a3, a4, a5 = inner[u, 3], inner[u, 4], inner[u, 5]
                for j in range(BLOCK):
                    x = b + a0 * planes[0, j] + a1 * planes[1, j] + a2 * planes[2, j]
                    x = x + a3 * planes[3, j] + a4 * planes[4, j] + a5 * planes[5, j]
                    scores[j] += v * (x if x > ZERO else ZERO)
            for j in range(size):
                out[row, begin + j] = scores[j]
