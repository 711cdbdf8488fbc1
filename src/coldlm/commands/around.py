"""Which values trials take around a configuration, by default: a rate and a size.

Trial 0 is the configuration as it stands. Every other one takes another learning rate, log-uniform
within a factor of ``REACH``, and another size of the strategy (rank, layers, ...), halves and
doubles of it. The rate is the backbone's, or the head's where nothing of the backbone trains; the
head's is thus chosen first, under strategy=frozen, and the same for all. Trials spread evenly
however few they are, and differ by their number alone: all strategies get the same multiples of
their own rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coldlm.commands.space import Between, OneOf, Space, put
from coldlm.config.kinds import Strategy
from coldlm.config.options import chosen
from coldlm.config.schema import RunConfig, typed

REACH = 10.0
"""The largest factor by which a learning rate is raised or lowered."""

STEPS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Factors of the strategy's own key."""

SPREAD = (0.7548776662466927, 0.5698402909980532)
"""Steps, modulo 1, of a sequence whose first points lie evenly in the square, however many they
are: 1 / p and 1 / p^2 with p^3 = p + 1 (R2, Roberts 2018)."""

Values = dict[str, Any]
"""Dotted key -> value."""


def draw(base: RunConfig, number: int) -> Values:
    """Return dotted key -> value of a trial; none for the first, which is ``base`` itself."""
    if not number:
        return {}
    high, large = ((0.5 + number * step) % 1 for step in SPREAD)
    rate = rate_key(base)
    values: Values = {f"optim.{rate}": float(f"{base.optim[rate] * REACH ** (2 * high - 1):.3g}")}
    if key := own_key(base.strategy):
        allowed = sizes(base, key)
        values[f"strategy.{key}"] = allowed[int(large * len(allowed))]
    return values


def around(base: RunConfig) -> Space:
    """Return the space that ``draw`` draws from."""
    rate = rate_key(base)
    lr = float(base.optim[rate])
    space: dict[str, Between | OneOf] = {f"optim.{rate}": Between(lr / REACH, lr * REACH, log=True)}
    if key := own_key(base.strategy):
        space[f"strategy.{key}"] = OneOf(tuple(sizes(base, key)))
    return space


def rate_key(base: RunConfig) -> str:
    """Return the key of ``optim`` that matters: the head's rate where nothing of the backbone trains."""
    return "body_lr" if chosen(Strategy, base.strategy).trains else "lr"


def sizes(base: RunConfig, key: str) -> list[int]:
    """Return the sizes of a strategy around its own that its backbone allows."""
    from coldlm.config.check import problems

    near = sorted({max(1, int(base.strategy[key] * step)) for step in STEPS})
    return [
        size for size in near if not problems(with_values(base, {f"strategy.{key}": size}).plain())
    ]


def own_key(strategy: Mapping[str, Any]) -> str | None:
    """Return the key that holds a strategy's size; None if it has none, or chooses it by itself."""
    size: str | None = chosen(Strategy, strategy).size
    return None if strategy.get("match_params") else size


def with_values(base: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Return a configuration with these values at their dotted keys."""
    config = base.plain()
    for path, value in values.items():
        put(config, path, value)
    return typed(config)
