"""Tie-safe ranking metrics: every value is the expectation over a random order of the ties.

With g candidates scored strictly above the positive and e tied with it (itself included), the
positive's rank is uniform on g+1 .. g+e. A constant scorer therefore equals a random one exactly.
Shapes: Q rows, N items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from coldlm.core import compiled
from coldlm.core.columns import LIST_METRICS
from coldlm.core.errors import ScoreError
from coldlm.core.finite import all_finite
from coldlm.core.prefetch import WORKERS, prefetch

AT_ONCE = 1 << 20
"""Scores that one thread compares sooner than another one starts."""


def outranking(scores: Tensor, candidates: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """Count the candidates above and level with each row's positive.

    Args:
        scores: [Q, N] float.
        candidates: [Q, N] bool; whether the positive itself is marked does not matter.
        positive: [Q] int64 item of each row.

    Returns:
        g [Q] int64 candidates strictly above; e [Q] int64 tied ones, the positive included (so e >=
        1).

    Raises:
        ScoreError: a score of a candidate or of a positive is not finite; names row and item.
    """
    if scores.device.type == "cpu" and compiled.is_on():
        return _counted(scores, candidates, positive)
    _refuse_what_is_not_finite(scores, candidates, positive)
    (place,) = places(scores, [candidates], positive)
    return place


def _counted(scores: Tensor, candidates: Tensor, positive: Tensor) -> tuple[Tensor, Tensor]:
    """The same in one pass; of many scores side by side, where torch may use several threads."""
    from coldlm.evaluate import loops

    above, level = torch.empty_like(positive), torch.empty_like(positive)
    whole = scores.detach().contiguous(), candidates.contiguous(), positive, above, level
    n_parts = WORKERS if scores.numel() > AT_ONCE and torch.get_num_threads() > 1 else 1
    parts = zip(
        *((part.numpy() for part in tensor.chunk(n_parts)) for tensor in whole), strict=True
    )
    work = prefetch if n_parts > 1 else map
    if not all(list(work(lambda part: loops.outranking(*part), parts))):
        _refuse_what_is_not_finite(scores, candidates, positive)
    return above, level + 1


def places(
    scores: Tensor, parts: Sequence[Tensor], positive: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Return (g, e) of finite scores as ``outranking`` does, among each of several parts of the
    candidates, each [Q, N] bool."""
    own = scores.gather(1, positive[:, None])
    is_above = scores > own
    is_level = (scores == own).scatter(1, positive[:, None], False)
    is_above.scatter_(1, positive[:, None], False)
    return [
        (
            (is_above & part).sum(1, dtype=torch.int32).long(),
            (is_level & part).sum(1, dtype=torch.int32).long() + 1,
        )
        for part in parts
    ]


def _refuse_what_is_not_finite(scores: Tensor, candidates: Tensor, positive: Tensor) -> None:
    if not all_finite(scores):
        bad = ~torch.isfinite(scores) & candidates
        own = scores.gather(1, positive[:, None])
        bad.scatter_(1, positive[:, None], ~torch.isfinite(own))
        if bad.any():
            row, item = (int(x) for x in bad.nonzero()[0])
            raise ScoreError(
                f"score of item {item} in row {row} is {float(scores[row, item])}; scores must be "
                "finite"
            )


def recall(g: Tensor, e: Tensor, k: int) -> Tensor:
    """Return the expected hit within the first k: clip((k - g) / e, 0, 1). float64."""
    return ((k - g).double() / e).clamp(0, 1)


def ndcg(g: Tensor, e: Tensor, k: int) -> Tensor:
    """Return the expected DCG of the one positive, whose ideal DCG is 1: (1/e) * sum over r =
    g+1..min(g+e, k) of 1/log2(r+1)."""
    discount = torch.zeros(k + 1, dtype=torch.float64)
    discount[1:] = torch.cumsum(1 / torch.log2(torch.arange(2, k + 2, dtype=torch.float64)), 0)
    return _mean_over_ties(discount, g, e)


def mrr(g: Tensor, e: Tensor, k: int = 0) -> Tensor:
    """Return the expected reciprocal rank: (1/e) * sum over r = g+1..g+e of 1/r (up to rank k, if k >
    0)."""
    top = int((g + e).max()) if g.numel() else 0
    harmonic = torch.zeros((k or top) + 1, dtype=torch.float64)
    harmonic[1:] = torch.cumsum(1 / torch.arange(1, len(harmonic), dtype=torch.float64), 0)
    return _mean_over_ties(harmonic, g, e)


def auc(g: Tensor, e: Tensor, candidates: Tensor) -> Tensor:
    """Return the share of the other candidates, [P] in all with the positive, that are below it, a tie
    counting half (the Mann-Whitney statistic): 1 - (g + (e - 1)/2) / (candidates - 1). float64; one
    half where there is no other."""
    others = candidates - 1
    return torch.where(others > 0, 1 - (g + (e - 1).double() / 2) / others.clamp(min=1), 0.5)


def list_values(
    g: Tensor,
    e: Tensor,
    candidates: Tensor,
    above: Tensor,
    level: Tensor,
    others: Tensor,
    *,
    k: int,
) -> dict[str, Tensor]:
    """Return each click's share in three metrics of its whole list: their mean over a list's clicks
    is the metric of the list.

    Let a list hold P clicks and M other items. Under a random order of the ties each click's rank R
    is uniform on G+1 .. G+E, with G items of the list strictly above it and E level, other clicks
    among them; expectations add up, so no joint distribution is needed (McSherry and Najork 2008,
    "Computing information retrieval performance measures efficiently in the presence of tied
    scores", ECIR):

    - nDCG@k = sum over clicks of E[1/log2(R+1); R <= k] / sum over r = 1..min(P, k) of 1/log2(r+1);
    - MRR = 1/P * sum over clicks of E[1/R]: the mean over *all* clicks, as MIND's evaluation has it
      (Wu et al. 2020, "MIND: a large-scale dataset for news recommendation", ACL), not the first
      click alone;
    - AUC = 1/P * sum over clicks of 1 - (g + (e - 1)/2) / M: the share of pairs of a click and a
      non-click that are in order, a tie counting half (the Mann-Whitney statistic).

    The mean over *some* clicks of a list, as in a slice by items, is that of their shares; nDCG's
    may exceed 1.

    Args:
        g, e: [P] items strictly above and level (itself included), the list's other clicks left
            out.
        candidates: [P] items of the list less the other clicks, at least 2.
        above, level, others: [P] other clicks of the list strictly above, level, and in all.

    Returns:
        [P] float64 under each name of ``columns.LIST_METRICS``; nDCG is cut at ``k``.
    """
    rank = g + above, e + level
    # at best the clicks share the first places: the mean of their gains is the ideal one over P
    best = ndcg(torch.zeros_like(others), others + 1, k)
    gained = ndcg(*rank, k) / best
    values = gained, mrr(*rank), auc(g, e, candidates)
    return dict(zip(LIST_METRICS, values, strict=True))


def _mean_over_ties(cumulative: Tensor, g: Tensor, e: Tensor) -> Tensor:
    last = len(cumulative) - 1
    return (cumulative[(g + e).clamp(max=last)] - cumulative[g.clamp(max=last)]) / e


Formulas = Mapping[str, Callable[[Tensor, Tensor, int], Tensor]]
"""Metric -> formula (g, e, k) -> [P] values, each from the place (g, e) of one positive alone."""

FORMULAS: Formulas = {"ndcg": ndcg, "recall": recall, "mrr": mrr}
"""coldlm's own; whatever else is passed along with them is measured and stored like them."""

HEADLINE = "ndcg"
"""The metric by which training stops and rows are compared."""
