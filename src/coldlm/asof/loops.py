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

LN_2 = np.float32(0.693359375), np.float32(-2.12194440e-4)
LOG = tuple(
    np.float32(c)
    for c in (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    )
)
"""Coefficients of the logarithm of the Cephes library (Moshier 1989, logf)."""


LOW = 0x3F3504F3
"""The bits of the square root of 1/2, a float32."""


@intrinsic  # type: ignore[untyped-decorator]
def exponent(_: Any, x: Any) -> Any:
    """e of a float32 x = m 2^e with m from the square root of 1/2 to that of 2, as a float32."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.sub(builder.bitcast(arguments[0], word), ir.Constant(word, LOW))
        return builder.sitofp(builder.ashr(bits, ir.Constant(word, 23)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic  # type: ignore[untyped-decorator]
def mantissa(_: Any, x: Any) -> Any:
    """m of it, a float32."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        bits = builder.sub(builder.bitcast(arguments[0], word), ir.Constant(word, LOW))
        bits = builder.and_(bits, ir.Constant(word, 0x7FFFFF))
        return builder.bitcast(builder.add(bits, ir.Constant(word, LOW)), ir.FloatType())

    return types.float32(types.float32), generate


@part
def log(x: Any) -> Any:
    """The natural logarithm of a float32 of at least 1, within 1e-7 of it; 0 of 1. Unlike the library's
    it is computed for many items at once."""
    e, m = exponent(x), mantissa(x) - ONE
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
    times: Ints, order: Ints, state: Planes, event: Ints, start: Ints, last: Ints, item: Ints,
    masked_until: Ints, out: Planes,
) -> None:  # fmt: skip
    """Write [Q, N] counts of all items as of each time; see ``network``."""
    n_items = state.shape[1]
    for block in range(start.shape[0] - 1):
        begin, e = block * BLOCK, start[block]
        end = min(begin + BLOCK, n_items)
        known, until = state[0, begin:end], masked_until[begin:end]
        n_masked = 0
        for j in range(end - begin):
            n_masked += times[0] < until[j]
        for k in range(times.shape[0]):
            t, mine = times[k], out[order[k], begin:end]
            while e < start[block + 1] and event[e] < last[k]:
                known[item[event[e]] - begin] += ONE
                e += 1
            for j in range(end - begin):
                mine[j] = known[j]
            if n_masked > 0:
                for j in range(end - begin):
                    mine[j] = ZERO if t < until[j] else known[j]


@compiled
def log_decayed(
    times: Ints, order: Ints, state: Floats, event: Ints, start: Ints, last: Ints, item: Ints,
    masked_until: Ints, out: Floats,
    height: Floats, ages: Floats, never: float,
) -> None:  # fmt: skip
    """Write [Q, N] logarithms of decayed counts as of each time, ``never`` of nothing; see ``network``.

    Args:
        state: [N] height of the line of each item's last event, -inf of none; ``height``: of each of
            ``event``. ages: [Q] how far each time has fallen along every line.
    """
    n_items = state.shape[0]
    for block in range(start.shape[0] - 1):
        begin, e = block * BLOCK, start[block]
        end = min(begin + BLOCK, n_items)
        line, until = state[begin:end], masked_until[begin:end]
        for k in range(times.shape[0]):
            t, age, mine = times[k], ages[k], out[order[k], begin:end]
            while e < start[block + 1] and event[e] < last[k]:
                line[item[event[e]] - begin] = height[e]
                e += 1
            for j in range(end - begin):
                known = line[j] - age if t >= until[j] else -np.inf
                mine[j] = known if known > never else never


@compiled
def network(
    times: Ints, order: Ints, state: Planes, event: Ints, start: Ints, last: Ints, item: Ints,
    masked_until: Ints, out: Planes,
    when: Ints, half_lives: Floats, enters_at: Ints, inner: Planes, bias: Planes, outer: Planes, level: Any,
    shrink: Any,
) -> None:  # fmt: skip
    """Add to [Q, N] float32 the scores of a network of one hidden layer over the features of all items.

    Items are walked in blocks, each through all times, so that what is known of a block stays in the
    processor's nearest cache.

    Args:
        times: [Q] ascending; order: [Q] the row of ``out`` of each.
        state: [P, N] float32 as of the first time.
        event: [M] events behind the first time and before the last, rows of ``item`` and ``when``, [E],
            by the block of their item, ascending in each; start: [blocks + 1] of each block's.
        last: [Q] the first row of ``item`` that is not before each time.
        masked_until, enters_at: [N], half_lives: [P - 1] seconds, see ``AsOf``.
        inner: [U, F], bias: [Q, U] by row of ``out``, outer: [U], level: of the network.
        shrink: what the logarithms are multiplied by.
    """
    n_items, n_units = state.shape[1], outer.shape[0]
    steps = np.ones((times.shape[0], half_lives.shape[0]), np.float32)
    differs = np.ones(times.shape[0], np.bool_)  # from the row before, which said it all otherwise
    for k in range(1, times.shape[0]):
        differs[k] = times[k] != times[k - 1]
        for u in range(n_units):
            differs[k] |= bias[order[k], u] != bias[order[k - 1], u]
        for h in range(half_lives.shape[0]):
            steps[k, h] = 2.0 ** (-(times[k] - times[k - 1]) / half_lives[h])
    known, planes = np.zeros((4, BLOCK), np.float32), np.zeros((6, BLOCK), np.float32)
    whole, scores = np.zeros((2, BLOCK), np.float32), np.zeros(BLOCK, np.float32)
    for block in range(start.shape[0] - 1):
        begin, e = block * BLOCK, start[block]
        size = min(BLOCK, n_items - begin)
        enters, until = enters_at[begin : begin + size], masked_until[begin : begin + size]
        known[:, :size] = state[:, begin : begin + size]
        known[:, size:] = ZERO
        for j in range(BLOCK):  # always all: the last items are computed as the others are
            whole[0, j] = log(known[0, j] + ONE) * shrink
            whole[1, j] = ONE if known[0, j] == ZERO else ZERO
        n_masked = 0
        for j in range(size):
            n_masked += times[0] < until[j]
        for k in range(times.shape[0]):
            t, row = times[k], order[k]
            if k > 0 and t != times[k - 1]:
                for h in range(half_lives.shape[0]):
                    step, decayed = steps[k, h], known[h + 1]
                    for j in range(BLOCK):
                        x = decayed[j] * step
                        decayed[j] = x if x > GONE else ZERO
                while e < start[block + 1] and event[e] < last[k]:
                    j = item[event[e]] - begin
                    known[0, j] += ONE
                    whole[0, j], whole[1, j] = log(known[0, j] + ONE) * shrink, ZERO
                    for h in range(half_lives.shape[0]):
                        known[h + 1, j] += np.float32(
                            2.0 ** (-(t - when[event[e]]) / half_lives[h])
                        )
                    e += 1
            if differs[k]:
                # simple loops, one after the other, are those that become instructions on many numbers
                for f in range(3):
                    decayed, plane = known[f + 1], planes[f]
                    for j in range(BLOCK):
                        plane[j] = log(decayed[j] + ONE) * shrink
                counted, age, is_new = planes[3], planes[4], planes[5]
                for j in range(size):
                    age[j] = np.float32(t - enters[j])
                for j in range(BLOCK):
                    counted[j], is_new[j] = whole[0, j], whole[1, j]
                    age[j] = log(max(age[j], ZERO) / SECONDS_A_DAY + ONE) * shrink
                if n_masked > 0:
                    for j in range(size):
                        if t < until[j]:
                            planes[:5, j] = ZERO
                            is_new[j] = ONE
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
            mine = out[row, begin : begin + size]
            for j in range(size):
                mine[j] += scores[j]
