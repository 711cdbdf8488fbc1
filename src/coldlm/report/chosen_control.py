"""Strategies against the trivial row that validation chose. The best on the stream, which the headline
table compares with, was found on the queries that it is then tested on: that favours it, and a
strategy that is not above it may still be above what one would have chosen beforehand."""

from __future__ import annotations

import math

from coldlm.config.schedules import cheats
from coldlm.report.rows import Comparison, Row
from coldlm.report.statistics import holm
from coldlm.report.table import Table, metric, name, probability
from coldlm.report.target import METRIC, K
from coldlm.runs.manifest import Manifest


def chosen_table(comparison: Comparison) -> Table | None:
    """Return each strategy minus the row that validation chose of all baselines, rivals and controls
    that have a value there, trained ones as they were trained; None where none has, or where it is
    the best on the stream as well, under any schedule."""
    known = {i: value for i, value in validation_values(comparison).items() if _may(comparison, i)}
    if not known:
        return None
    # a rival and the same one that follows the stream are level there: the better of them stands
    chosen = max(known, key=lambda i: (known[i], comparison.value(i) or -1.0, -i))
    trivial = [i for i in range(len(comparison.rows)) if _may(comparison, i)]
    best = max(trivial, key=lambda i: (comparison.value(i) or -1.0, -i))
    if comparison.rows[chosen].label == comparison.rows[best].label:
        return None
    found = {
        i: d
        for i, row in enumerate(comparison.rows)
        if row.kind == "strategy" and row.schedule != "static"
        if (d := comparison.difference(i, chosen)) is not None
    }
    if not found:
        return None
    adjusted = holm([d.p for d in found.values()])
    body = tuple(
        (
            name(comparison.rows[i], comparison),
            metric(d.mean, True),
            f"[{metric(d.low, True)}, {metric(d.high, True)}]",
            probability(p),
        )
        for (i, d), p in zip(found.items(), adjusted, strict=True)
    )
    without = len(trivial) - len(known)
    words = f", {without} trivial rows have no value there" if without else ""
    title = (
        f"Against {comparison.rows[chosen].name}, which validation chose ({metric(known[chosen])} "
        f"there{words}): {comparison.target.words}"
    )
    header = ("scorer", "difference", "95 % interval", "p")
    return Table(title, header, body, ("strategy",) * len(body))


def validation_values(comparison: Comparison) -> dict[int, float]:
    """Return row -> its nDCG@10 on validation, averaged over the runs that say it: of a baseline as of
    training, of a trained row that of its best epoch, before it was fitted again."""
    found = {}
    for i, row in enumerate(comparison.rows):
        values = [
            value
            for manifest in (comparison.manifests if row.kind == "baseline" else row.manifests)
            if (value := _said(manifest, row)) is not None
        ]
        if values:
            found[i] = sum(values) / len(values)
    return found


def _said(manifest: Manifest, row: Row) -> float | None:
    if row.kind == "baseline":
        scorer, _, backbone = row.label.partition(" · ")
        if backbone and backbone != manifest.axes.get("backbone"):
            return None
        value = (manifest.on_validation or {}).get(scorer)
    else:
        if row.schedule != "history":  # validation is over before any schedule begins
            return None
        values = (manifest.validation or {}).get(f"{METRIC}@{K}") or [None]
        known = [each for each in values if each is not None and math.isfinite(each)]
        value = max(known) if known else None
    return value if value is not None and math.isfinite(value) else None


def _may(comparison: Comparison, i: int) -> bool:
    row = comparison.rows[i]
    return row.kind != "strategy" and not cheats(row.schedule)
