"""The numbers of the headline table: quality with its interval, the distance to the best trivial
row, cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from coldlm.config.schedules import cheats
from coldlm.core.columns import BASKET_METRICS, LIST_K, LIST_METRICS, MRR_K, SLOTS, USER_AUC
from coldlm.report.against import Versus, measure_against
from coldlm.report.asked import NOTHING, Asked
from coldlm.report.rows import WITHOUT_UPDATES, Comparison, Row
from coldlm.report.statistics import ALPHA, Estimate, holm, seeds_needed
from coldlm.report.target import METRIC, ON_THE_SHELF, PEERS, K, Target
from coldlm.runs.manifest import Manifest

BESIDE: Final = (Target(), Target("recall"), Target("mrr", MRR_K), Target(USER_AUC, MRR_K))
"""Metrics that stand beside the headline."""


def quality(target: Target) -> dict[str, dict[str, Any]]:
    """Return key of a quality column -> arguments of ``Comparison.value``, the headline first."""
    key = target.key
    return {
        key: {},
        **{
            f"{key}/{cohort}": {"cohort": cohort}
            for cohort in ("warm_warm", "cold_user_any", "cold_item_any")
        },
        **{it.key: {"metric": it.metric, "k": it.k} for it in BESIDE if it != target},
        f"{key}/micro": {"average": "micro"},
    }


LIST_QUALITY: Final[dict[str, dict[str, Any]]] = {
    f"{metric}{f'@{k}' if k else ''}{'' if average == 'macro' else '/micro'}": {
        "metric": metric,
        "k": k,
        "average": average,
    }
    for average in ("macro", "micro")
    for metric, k in zip((LIST_METRICS[0], *LIST_METRICS), (LIST_K, K, MRR_K, MRR_K), strict=True)
}
"""The same for the columns of the list table: first over users, then over lists."""

VIEW_QUALITY: Final[dict[str, dict[str, Any]]] = {
    f"{PEERS}@10": {"metric": PEERS},
    f"{PEERS}@10/cold_item_any": {"metric": PEERS, "cohort": "cold_item_any"},
    f"{ON_THE_SHELF}@10": {"metric": ON_THE_SHELF},
}
"""The same for the columns of the table of views; runs of earlier versions have none."""

BASKET_QUALITY: Final[dict[str, dict[str, Any]]] = {
    f"{metric}@10": {"metric": metric} for metric in BASKET_METRICS
}
"""The same for the columns of the table of whole baskets."""

_OWN: Final = {
    where.get("metric", METRIC)
    for columns in (quality(Target()), LIST_QUALITY, VIEW_QUALITY, BASKET_QUALITY)
    for where in columns.values()
}

COST: Final = (
    "trainable_parameters",
    "peak_memory_mb",
    "prepare_seconds",
    "train_seconds",
    "seconds_per_update",
    "events_per_second",
    "latency_p50_ms",
    "latency_p95_ms",
    "checkpoint_mb",
)

MARGIN: Final = 0.01
"""Relative: a difference within 1 % of the best trivial row is no difference, however certain."""


@dataclass(frozen=True)
class Measure:
    """One row in numbers; None is "not measured" or "does not apply".

    ``quality``: by key of ``quality``, the headline first. ``headline``: how sure that is.
    ``vs_trivial``: strategy minus the best trivial row, its p after Holm (``p_holm``), and that over
    seeds alone (``p_seeds``). ``cost``: by name in ``COST``, averaged over seeds. ``is_bold``: the
    difference is one that may be claimed. ``against``: the row that somebody named.
    """

    row: Row
    quality: dict[str, float | None]
    headline: Estimate
    vs_trivial: Estimate | None
    p_holm: float | None
    p_seeds: float | None
    cost: dict[str, float | None]
    is_bold: bool
    against: Versus | None = None

    @property
    def value(self) -> float | None:
        """Return the headline."""
        return next(iter(self.quality.values()))


@dataclass(frozen=True)
class Headline:
    """``measures``: one per row of the comparison. ``best_trivial``: the row with the highest
    headline among baselines and controls. ``smallest_effect``: the median over strategies of what
    these users and seeds can tell from zero. ``seeds_needed``: for a claim, by so many strategies; None
    where there is nothing to compare with. ``asked``: how its table is laid out."""

    measures: tuple[Measure, ...]
    best_trivial: Row | None
    smallest_effect: float | None
    seeds_needed: int | None
    asked: Asked = NOTHING


def has_views(comparison: Comparison) -> bool:
    """Return whether views of the candidates were looked at."""
    return PEERS in comparison.values["metric"]


def has_baskets(comparison: Comparison) -> bool:
    """Return whether queries were judged whole."""
    return BASKET_METRICS[0] in comparison.values["metric"]


def further_quality(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Return the same for metrics of other packages, as the results hold them: first over users,
    then over queries."""
    whole = comparison.values.filter(window=-1, cohort="all", bucket="all")
    there = set(whole.select("metric", "k").unique().rows())
    found = [
        (metric, k)
        for metric, k in sorted(there)
        if metric not in _OWN and not metric.startswith(SLOTS) and k in (K, MRR_K)
    ]
    return {
        f"{metric}{f'@{k}' if k else ''}{'' if average == 'macro' else '/micro'}": {
            "metric": metric,
            "k": k,
            "average": average,
        }
        for average in ("macro", "micro")
        for metric, k in found
    }


def measure(comparison: Comparison, asked: Asked | None = None) -> Headline:
    """Return every row in numbers. A strategy is compared with the best of all baselines *and* all
    controls under any schedule, so the distance never flatters it; under ``static`` it is a control of
    itself, of which nothing is asked."""
    rows = comparison.rows
    scores = [comparison.value(i) for i in range(len(rows))]
    trivial = [
        (score, -i)
        for i, score in enumerate(scores)
        if score is not None and rows[i].kind != "strategy" and not cheats(rows[i].schedule)
    ]
    best = -max(trivial)[1] if trivial else None
    found = {
        i: d
        for i, row in enumerate(rows)
        if best is not None and row.kind == "strategy" and row.schedule != "static"
        if (d := comparison.difference(i, best)) is not None
    }
    p_holm, p_seeds = (
        dict(zip(found, holm(p), strict=True))
        for p in ([d.p for d in found.values()], [d.p_seeds for d in found.values()])
    )
    needed = seeds_needed(len(found)) if found else None
    columns = quality(comparison.target)
    asked = asked or NOTHING
    against = measure_against(comparison, asked.against) if asked.against else {}
    measures = tuple(
        Measure(
            row,
            {key: comparison.value(i, **where) for key, where in columns.items()},
            comparison.estimate(i),
            found.get(i),
            p_holm.get(i),
            p_seeds.get(i),
            _cost(row),
            i in found and _may_claim(row, found[i], p_holm[i], scores[best or 0], needed or 0),
            against.get(i),
        )
        for i, row in enumerate(rows)
    )
    findable = [d.findable for d in found.values() if math.isfinite(d.findable)]
    return Headline(
        measures,
        rows[best] if best is not None else None,
        float(np.median(findable)) if findable else None,
        needed,
        asked,
    )


def _may_claim(row: Row, d: Estimate, p: float, reference: float | None, needed: int) -> bool:
    return (
        not cheats(row.schedule)
        and not row.is_outside
        and d.seeds >= needed
        and p < ALPHA
        and d.low > MARGIN * (reference or 0.0)
    )


def _cost(row: Row) -> dict[str, float | None]:
    """Averages over the runs of a row; a baseline costs nothing that was measured, a schedule
    without updates has no seconds per update."""
    # what it cost to judge a file is not what its scores cost
    own = [manifest for manifest in row.manifests if manifest.scores_from is None]
    costs = [_run_cost(manifest, row.schedule not in WITHOUT_UPDATES) for manifest in own]
    known = {name: [cost[name] for cost in costs if cost[name] is not None] for name in COST}
    return {name: float(np.mean(values)) if values else None for name, values in known.items()}  # type: ignore[arg-type]


def _run_cost(manifest: Manifest, updates: bool) -> dict[str, float | None]:
    seconds, latency, size = manifest.seconds, manifest.latency_ms or {}, manifest.checkpoint_bytes
    training = [spent for stage in ("train", "refit") if (spent := seconds.get(stage)) is not None]
    values = (
        manifest.trainable_parameters,
        manifest.peak_memory_mb,
        seconds.get("prepare"),
        sum(training) if training else None,
        manifest.seconds_per_update if updates else None,
        manifest.events_per_second,
        latency.get("p50"),
        latency.get("p95"),
        size / 1e6 if size is not None else None,
    )
    return dict(zip(COST, values, strict=True))
