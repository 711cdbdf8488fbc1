"""Which metrics and cohorts somebody asks for, as columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import polars as pl

from coldlm.core.columns import COHORTS, QUERY_COHORTS
from coldlm.core.errors import ConfigError
from coldlm.report.rows import METRIC, Comparison, K


def choose(
    metrics: Sequence[str], cohorts: Sequence[str], comparisons: Sequence[Comparison]
) -> dict[str, dict[str, Any]]:
    """Return columns for ``table.chosen_table``: each metric (``ndcg@10``, ``mrr``) in each cohort,
    macro over users. Without metrics it is nDCG@10, without cohorts everything.

    Raises:
        ConfigError: a metric that no comparison has, or a cohort that there is not; it names all such
            and what is allowed.
    """
    there = {key for comparison in comparisons for key in _measured(comparison)}
    allowed = {_word(*key): key for key in sorted(there)}
    problems = [
        *_unknown("metric", metrics, list(allowed)),
        *_unknown("cohort", cohorts, (*COHORTS, *QUERY_COHORTS)),
    ]
    if problems:
        raise ConfigError("\n".join(problems))
    chosen = [allowed[metric] for metric in metrics] or [(METRIC, K)]
    return {
        f"{cohort.replace('_', ' ')}: {_word(metric, k)}": {
            "cohort": cohort,
            "metric": metric,
            "k": k,
        }
        for cohort in cohorts or ("all",)
        for metric, k in chosen
    }


def _measured(comparison: Comparison) -> list[tuple[str, int]]:
    whole = comparison.values.filter(window=-1, bucket="all", average="macro")
    return whole.filter(pl.col("value").is_not_null()).select("metric", "k").unique().rows()


def _word(metric: str, k: int) -> str:
    """``ndcg@10``; ``mrr``, which has no cut."""
    return f"{metric}@{k}" if k else metric


def _unknown(what: str, given: Sequence[str], allowed: Sequence[str]) -> list[str]:
    found = []
    for each in given:
        if each not in allowed:
            near = get_close_matches(each, allowed, 1)
            hint = f", nearest is {near[0]!r}" if near else ""
            found.append(f"no {what} {each!r}{hint}; there are {', '.join(allowed)}")
    return found
