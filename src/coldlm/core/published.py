"""What a paper says that a scorer is worth, written as one line of text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from coldlm.core.columns import COHORTS, QUERY_COHORTS

_LINE = re.compile(r"(\S+) (\S+?)(?:@(\d+))? (\d*\.?\d+) (\d*\.?\d+)")
FORM = "'SCORER METRIC@K VALUE TOLERANCE', such as 'bpr recall/basket@10 .2368 .0048'"


@dataclass(frozen=True)
class PublishedValue:
    """``scorer``: a baseline's or rival's name, or "model". ``average``: "macro", or "micro" of metrics that
    end in it. ``k``: 0 for a metric without a cut. ``tolerance``: how far another's value may be from it and agree."""

    scorer: str
    cohort: str
    metric: str
    average: str
    k: int
    value: float
    tolerance: float

    @staticmethod
    def of(line: str) -> PublishedValue:
        """Return what a line says; a cohort may stand before the metric.

        Raises:
            ValueError: it has another form.

        >>> found = PublishedValue.of("bpr cold_item_any/ndcg@10 .05 .01")
        >>> found.scorer, found.cohort, found.metric, found.k, found.value, found.tolerance
        ('bpr', 'cold_item_any', 'ndcg', 10, 0.05, 0.01)
        >>> PublishedValue.of("random mrr/impression/micro .201 .002").average
        'micro'
        """
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"got {line!r}, allowed: {FORM}")
        scorer, metric, k, value, tolerance = found.groups()
        first, _, rest = metric.partition("/")
        cohort, metric = (
            (first, rest) if first in (*COHORTS, *QUERY_COHORTS) and rest else ("all", metric)
        )
        average = "micro" if metric.endswith("/micro") else "macro"
        metric = metric.removesuffix("/micro")
        numbers = int(k or 0), float(value), float(tolerance)
        return PublishedValue(scorer, cohort, metric, average, *numbers)
