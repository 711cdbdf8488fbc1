"""The metric that a report is about, and how metrics are called."""

from __future__ import annotations

from typing import Final, NamedTuple

from coldlm.core.columns import HEADLINE_K, VIEWS

METRIC: Final = "ndcg"
K: Final = HEADLINE_K
"""The headline metric is nDCG@10, the mean over users, unless another is asked for."""

WORDS: Final = {"ndcg": "nDCG", "recall": "Recall", "mrr": "MRR", "auc/user": "AUC by user"}
"""How metrics are written in tables; others stand as they are called."""


class Target(NamedTuple):
    """The metric that a report is about. ``k``: its cut, 0 of a metric without one."""

    metric: str = METRIC
    k: int = K

    @property
    def key(self) -> str:
        """As files and options have it.

        >>> Target().key, Target("mrr", 0).key
        ('ndcg@10', 'mrr')
        """
        return f"{self.metric}@{self.k}" if self.k else self.metric

    @property
    def words(self) -> str:
        """As a reader sees it.

        >>> Target().words, Target("mrr", 0).words
        ('nDCG@10', 'MRR')
        """
        return f"{WORDS.get(self.metric, self.metric)}{f'@{self.k}' if self.k else ''}"


VIEW_METRICS = PEERS, ON_THE_SHELF = tuple(f"{METRIC}/{view}" for view in VIEWS)
"""The same of the views of the candidates: among peers, on the shelf."""

HEADLINE: Final = Target()
