"""Rows that say how probable a pair is: what they get right as classifiers, and whether their
probabilities are what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from coldlm.report.looks import plain, put_legend, styles, title
from coldlm.report.rows import Comparison, Row
from coldlm.report.table import Table, metric, name, quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES: Final = {
    "log_loss": "log-loss",
    "brier": "Brier",
    "ece": "ECE",
    "ece_adaptive": "adaptive ECE",
    "base_rate": "share taken",
}


def classification_table(comparison: Comparison) -> Table | None:
    """Return AUC, and precision, recall and F1 of each class, averaged over seeds, of rows that are
    classifiers; None without any."""
    if not (rows := _classifiers(comparison)):
        return None
    classes = _said(rows[0])[0]["classes"]
    measures = ("precision", "recall", "f1")
    header = (
        "scorer",
        "AUC",
        *(f"{each['class']}: {name}" for each in classes for name in (*measures, "pairs")),
    )
    body = []
    for row in rows:
        said = _said(row)
        areas = [each["auc"] for each in said if "auc" in each]
        cells = [name(row, comparison), metric(_mean(areas))]
        for c in range(len(classes)):
            found = [each["classes"][c] for each in said]
            cells += [metric(_mean([each[key] for each in found])) for key in measures]
            cells.append(quantity(found[0]["support"]))
        body.append(tuple(cells))
    return Table("Classification", header, tuple(body), tuple(row.kind for row in rows))


def calibration_table(comparison: Comparison) -> Table | None:
    """Return how well the probabilities fit what was taken, averaged over seeds; None of runs of earlier
    versions, or without a classifier."""
    rows = _calibrated(comparison)
    body = tuple(
        (
            name(row, comparison),
            *(metric(_mean([each["calibration"][key] for each in _said(row)])) for key in MEASURES),
        )
        for row in rows
    )
    header = ("scorer", *MEASURES.values())
    return Table("Calibration", header, body, tuple(row.kind for row in rows)) if rows else None


def draw_reliability(comparison: Comparison) -> Figure | None:
    """Return the share that was taken against the probability that was said, a line per row, of its
    first seed; above the diagonal too little was promised. Below, how many pairs each point holds."""
    from matplotlib.figure import Figure

    if not (rows := _calibrated(comparison)):
        return None
    figure = Figure(figsize=(1, 5.2), layout="constrained")  # see put_legend for the width
    axis, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axis.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, label="as said")
    for row, s in zip(rows, styles(rows), strict=True):
        bins = _said(row)[0]["calibration"]["bins"]
        x, y, pairs = (np.array([each[key] for each in bins]) for key in ("said", "taken", "pairs"))
        axis.plot(x, y, label=row.name, color=s.colour, linestyle=s.line, marker=s.marker,
                  linewidth=s.width, markersize=s.size, zorder=s.order)  # fmt: skip
        counts.plot(x, pairs, color=s.colour, linestyle=s.line, marker=s.marker, markersize=3)
    axis.set_ylabel("share that was taken")
    counts.set_ylabel("pairs")
    counts.set_yscale("log")
    counts.set_xlabel("probability that was said")
    plain(axis)
    plain(counts)
    title(figure, comparison, comparison.title, "reliability")
    put_legend(figure, axis.get_legend_handles_labels()[0], 5)
    return figure


def _classifiers(comparison: Comparison) -> list[Row]:
    return [
        row
        for row in comparison.rows
        if row.schedule == "history"
        and row.manifests
        and all(manifest.classification for manifest in row.manifests)
    ]


def _calibrated(comparison: Comparison) -> list[Row]:
    return [
        row for row in _classifiers(comparison) if all("calibration" in each for each in _said(row))
    ]


def _said(row: Row) -> list[dict[str, Any]]:
    return [manifest.classification or {} for manifest in row.manifests]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
