"""The names that every floor shares: columns of the tables on disk, cohorts, buckets and metric
keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

COHORTS: Final = (
    "all",
    "warm_warm",
    "cold_user",
    "cold_item",
    "cold_both",
    "cold_user_any",
    "cold_item_any",
)
"""Quadrants (user x item, disjoint), the two marginals, and everything; frozen at T_test."""

QUERY_COHORTS: Final = ("seen_query", "unseen_query")
"""Whether what was typed had been typed in train + validation; where the data have such texts."""

QUERY_SEEN: Final = "query_seen"
"""Of ``events.parquet`` where the data have typed texts: 1 where the positive's had been typed in train +
validation, 0 where not, -1 where nothing was typed."""

WARMUP_EDGES: Final = (0, 1, 2, 3, 5, 10, 20, 50)
"""Lower edges of the warm-up buckets: the number of events an item (or user) has had as of the
query."""

WARMUP_BUCKETS: Final = ("0", "1", "2", "3-4", "5-9", "10-19", "20-49", "50+")
"""One label per edge of ``WARMUP_EDGES``."""

USER_AUC: Final = "auc/user"
"""A metric within each user's queries; those of each positive alone are
``evaluate.metrics.FORMULAS``."""

LIST_METRICS: Final = ("ndcg/impression", "mrr/impression", "auc/impression")
"""Of a whole list as it was shown, with all its clicks."""

MRR_K: Final = 0
"""``k`` of a metric without a cut: MRR and AUC look at the whole ranking."""

LIST_COLUMNS: Final = ("other_clicks_above", "other_clicks_level", "other_clicks")
"""Of ``events.parquet`` where lists are ranked: the list's other clicks strictly above, level, and
in all."""

BASKET_METRICS: Final = tuple(
    f"{name}/basket" for name in ("ndcg", "recall", "precision", "map", "hit", "mrr")
)
"""Of all positives of a query at once, in the catalogue: what is published of baskets; all are cut at k."""

BASKET_COLUMNS: Final = ("others_above", "others_level", "others")
"""Of ``events.parquet`` where the catalogue is ranked: the other positives of the query strictly
above, level, and in all."""

GROUP: Final = "group:"
"""Before the name of a column of users in ``events.parquet``: the user's value. Its cohorts are called
COLUMN=VALUE."""

VIEWS: Final = ("peers", "shelf")
"""Parts of the candidates among which the same scores are looked at again. ``peers``: whose events
fall into the positive's own warm-up bucket, so that counts decide nothing between buckets; ``shelf``:
with few events, the "new arrivals" of a shop; it says nothing of positives that are not on it."""

N_SHOWN: Final = "n_shown"
"""Of ``events.parquet``: the item's events as a scorer may know them (``AsOf.counts``, which a grid
masks), by which views are cut."""

ON_SHELF: Final = "on_shelf"
"""Of ``events.parquet``: 1 where the positive is on the shelf, by ``evaluate.shelf``, else 0."""

SLOTS: Final = "recall/slots"
"""Begins the name of a metric: of a list in which so many places are kept for the shelf."""

LIST_K: Final = 5
"""A cut that is measured beside the others where lists are ranked, for comparison with what others
publish."""

HEADLINE_K: Final = 10
"""``k`` of the tables and figures; it is measured beside whatever ``evaluate.k`` asks for."""

NOT_KNOWN: Final = "-"
"""An axis of a scorer whose scores came from a file: nobody here knows what it was made of."""

MODEL: Final = "model"
"""``scorer`` of the rows that the trained model made; other rows carry a baseline's name."""

MANDATORY_BASELINES: Final = (
    "random",
    "constant",
    "popularity",
    "recent_popularity",
    "newest",
    "tfidf",
    "zero_shot",
)
"""Baselines that need no training; ``own_repeats`` joins them in domains where items repeat."""

PERMUTED_TEXT: Final = "permuted_text"
"""The control in which every item has another item's text, whenever that enters."""

PERMUTED_IN_COHORT: Final = "permuted_in_cohort"
"""The control in which every item has the text of another that entered at about the same time."""

PERMUTED_QUERY: Final = "permuted_query"
"""The control in which every search has the text of another search of its day."""

PERMUTED: Final = (PERMUTED_IN_COHORT, PERMUTED_TEXT)
"""Controls that put texts on the wrong items, the one to prefer first."""

LATE_TEXTS: Final = "late_texts"
"""What the leak meter says of texts that have a date."""

MANDATORY_CONTROLS: Final = ("context_only", "random_vectors", PERMUTED_IN_COHORT)
"""Trained controls, each a run of its own: what is left when language is taken away. Any of
``PERMUTED`` does for the last."""

UNTRAINED: Final = "untrained_strategy"
"""The control in which what the strategy adds to the backbone stays as it was drawn."""

CONTROLS: Final = (*MANDATORY_CONTROLS, PERMUTED_TEXT, PERMUTED_QUERY, UNTRAINED)
"""All controls, in the order of tables; ``PERMUTED_QUERY`` is mandatory where the data have typed texts."""

CANARIES: Final = ("newest", "fewest_events")
"""Scorers that find a leaking release rule: far above chance at n = 0 means that the candidates
leak."""

HONEST_SPLITS: Final = ("time", "time_at_once")
"""Splits that let nothing of the future into training; rows of all others say LEAKY."""

SIMULATED_COLD: Final = "simulated_cold"
"""``split`` of the rows whose past some items were held out of begins with it and ends with their
share."""

CHANCE: Final = "constant"
"""The scorer that is worth what a random one is worth, exactly."""

RESULT_COLUMNS: Final = (
    "run",
    "dataset",
    "split",
    "candidates",
    "backbone",
    "strategy",
    "head",
    "context",
    "loss",
    "control",
    "schedule",
    "seed",
    "scorer",
    "stage",
    "window",
    "cohort",
    "bucket",
    "average",
    "metric",
    "k",
    "value",
    "n_users",
    "n_queries",
    "n_events",
    "config_hash",
)
"""Columns of ``results.parquet``, long form: one row per value (see ``evaluate/summary.py``)."""

RUN_COLUMNS: Final = RESULT_COLUMNS[: RESULT_COLUMNS.index("schedule")]
"""The part of ``RESULT_COLUMNS`` that is the same on all rows of one run."""

VALUE_COLUMNS: Final = RESULT_COLUMNS[
    RESULT_COLUMNS.index("window") : RESULT_COLUMNS.index("config_hash")
]
"""The part of ``RESULT_COLUMNS`` that is a value, and what it is a value of."""

K_SHOT_COLUMNS: Final = (
    *RUN_COLUMNS,
    "seed",
    "side",
    "shots",
    "scorer",
    "updated",
    "average",
    "metric",
    "k",
    "value",
    "n_users",
    "n_queries",
    "n_events",
    "n_entities",
    "question",
    "config_hash",
)
"""Columns of ``k_shot.parquet``, long form (see ``split/k_shot.py``). ``shots``: events revealed of
each eligible entity of the ``side`` ("item" or "user"); ``k``: cut of the metric, as everywhere.
``updated``: whether the weights were fitted on what was revealed. ``n_entities``: that were asked
for. ``question``: hash of the queries, the same at all shots."""


@dataclass(frozen=True)
class Range:
    """Bounds of a number in a configuration, written as ``Annotated[float, Range(0, 1)]``.

    ``low`` and ``high`` are inclusive; None leaves that side open. ``above`` excludes ``low``
    itself.
    """

    low: float | None = None
    high: float | None = None
    above: bool = False


Share = Annotated[float, Range(0, 1)]
Above0 = Annotated[float, Range(0, above=True)]
Count = Annotated[int, Range(1)]


def metric_key(stage: str, cohort: str, metric: str, k: int) -> str:
    """Return the key under which loggers store a value, such as ``test/cold_item/ndcg@10`` or
    ``test/all/mrr``."""
    return f"{stage}/{cohort}/{metric}@{k}" if k else f"{stage}/{cohort}/{metric}"


def view_columns(view: str) -> tuple[str, str, str]:
    """Return the columns of ``events.parquet`` that are g, e and the number of candidates of a view."""
    return f"{view}_g", f"{view}_e", f"{view}_candidates"


NO_DEBUG: Final = "none"
"""Name of ``debug`` in a run that is meant."""

DEBUG_KEY: Final = "debug.name"
"""Where a debug run's recipe says that it is one; other recipes have no such key."""
