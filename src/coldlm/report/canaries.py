"""How far scorers that find a leaking release rule are from chance."""

from __future__ import annotations

from collections.abc import Mapping

from coldlm.core.columns import CHANCE
from coldlm.core.tables import Floats
from coldlm.report.statistics import estimate


def from_chance(values: Mapping[str, Floats]) -> dict[str, dict[str, float]]:
    """Return the mean of each scorer: ``value``, and the 95 % interval ``low``, ``high`` of its
    distance to chance (the constant scorer) over users. Empty where chance was not asked.

    Args:
        values: scorer -> [U] values of the same users in the same order, see
            ``evaluate.canaries.canary_values``.
    """
    if CHANCE not in values:
        return {}
    found = {}
    for name, own in values.items():
        apart = estimate((own - values[CHANCE])[None])
        found[name] = {"value": float(own.mean()), "low": apart.low, "high": apart.high}
    return found
