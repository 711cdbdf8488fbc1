"""What papers say, beside what these runs found."""

from __future__ import annotations

import math

from coldlm.core.columns import MODEL, metric_key
from coldlm.core.published import PublishedValue
from coldlm.report.rows import Comparison, Row
from coldlm.report.table import Table, metric, name


def published_table(comparison: Comparison) -> Table | None:
    """Return a line per published value and row that it is of: both, how far apart, and whether ours
    is within the tolerance; None where no run names any."""
    said = {
        (manifest.published["source"], line): None
        for manifest in comparison.manifests
        if manifest.published
        for line in manifest.published["values"]
    }
    body, kinds = [], []
    for source, line in said:
        claim = PublishedValue.of(line)
        for i, row in enumerate(comparison.rows):
            if not _is_of(row, claim.scorer):
                continue
            ours = comparison.value(i, claim.cohort, claim.average, claim.metric, claim.k)
            apart = math.nan if ours is None else ours - claim.value
            agrees = abs(apart) <= claim.tolerance + 1e-12
            verdict = "n/a" if math.isnan(apart) else "agrees" if agrees else "DISAGREES"
            average = " (micro)" if claim.average == "micro" else ""
            key = metric_key("", claim.cohort, claim.metric, claim.k).removeprefix("/") + average
            said_and_found = metric(claim.value), metric(claim.tolerance), metric(ours)
            cells = name(row, comparison), str(row.seeds), key, *said_and_found
            body.append((*cells, metric(apart, sign=True), verdict, source))
            kinds.append(row.kind)
    if not body:
        return None
    header = (
        "scorer",
        "seeds",
        "metric",
        "published",
        "tolerance",
        "ours",
        "apart",
        "verdict",
        "source",
    )
    return Table("Published values", header, tuple(body), tuple(kinds))


def _is_of(row: Row, scorer: str) -> bool:
    if scorer == MODEL:
        return row.kind == "strategy" and row.schedule == "history"
    return row.kind == "baseline" and row.label.split(" · ")[0] == scorer
