"""BPR against what RecBole publishes of its own on MovieLens-100K: a random 80/10/10 cut of each user's
ratings, all of them positives, all items that the user did not have ranked, metrics of whole baskets.

Usage: python benchmarks/bpr_ml_100k.py ml-100k.inter [seed]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.seeding import generator
from coldlm.core.tables import Bools, Dataset, Floats, Items, Users, sorted_log
from coldlm.evaluate.judge import ScoreFunction
from coldlm.rivals import bpr, learned
from coldlm.rivals.known import Known, Stopping

K, AFTER = 10, 2_000_000_000
PUBLISHED = {
    "recall": (0.2368, 0.2416),
    "mrr": 0.4519,
    "ndcg": (0.2768, 0.2863),
    "hit": 0.7614,
    "precision": 0.1901,
}
"""RecBole's table for the same cut, and the spread of other tables of the same model where known."""


def read(file: Path) -> tuple[Dataset, Bools, Bools, Bools]:
    """The data, and [U, N] what each user has in training, validation and test."""
    rows = np.loadtxt(file, dtype=np.int64, skiprows=1)
    user, item = (np.unique(rows[:, c], return_inverse=True)[1] for c in (0, 1))
    n_users, n_items = user.max() + 1, item.max() + 1
    part = np.zeros(len(rows), np.int64)
    rng = generator(int(sys.argv[2]) if len(sys.argv) > 2 else 1, "cut")
    for u in range(n_users):
        own = rng.permutation(np.flatnonzero(user == u))
        tenth = len(own) // 10
        part[own[:tenth]], part[own[tenth : 2 * tenth]] = 2, 1
    sets = np.zeros((3, n_users, n_items), bool)
    sets[part, user, item] = True
    log = sorted_log(
        *(c[part == 0] for c in (user, item, rows[:, 3])),
        np.ones((part == 0).sum()),
        np.ones((part == 0).sum(), bool),
    )
    names = tuple(map(str, range(max(n_users, n_items))))
    items = Items(names[:n_items], names[:n_items], names[:n_items], np.zeros(n_items, np.int64))
    users = Users(names[:n_users], ("",) * n_users)
    data = Dataset("ml-100k", "films", items, users, log, False, "field", (1.0, 7.0, 30.0))
    return data, *sets


def baskets(scorer: ScoreFunction, wanted: Bools, had: Bools) -> dict[str, float]:
    """Mean over users with a wanted item of each metric at 10."""
    users = np.flatnonzero(wanted.any(1))
    scores: Floats = scorer(users, np.full(len(users), AFTER)).double().numpy()
    scores[had[users]] = -np.inf
    top = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    hit = np.take_along_axis(wanted[users], top, 1)
    gain = 1 / np.log2(np.arange(K) + 2)
    n = wanted[users].sum(1)
    ideal = np.cumsum(gain)[np.minimum(n, K) - 1]
    return {
        "recall": float((hit.sum(1) / n).mean()),
        "mrr": float(np.where(hit.any(1), 1 / (hit.argmax(1) + 1), 0).mean()),
        "ndcg": float(((hit * gain).sum(1) / ideal).mean()),
        "hit": float(hit.any(1).mean()),
        "precision": float(hit.mean()),
    }


def main() -> None:
    """Train as RecBole does (64 wide, rate .001, 2,048 a batch, stopped by MRR@10), print both."""
    data, train, validation, test = read(Path(sys.argv[1]))
    bpr.BATCH, bpr.RATE = 2048, 0.001
    learned.EPOCHS, learned.PATIENCE, bpr.EVERY = 300, 10, 1
    catalogue = Catalogue(data)
    as_of = AsOf(data.log, *train.shape, catalogue.enters_at, data.half_lives_days)
    stopping = Stopping(lambda scorer: baskets(scorer, validation, train)["mrr"])
    known = Known(
        data, catalogue, as_of, np.arange(len(data.log)), np.ones(len(data.items), bool), 10,
        np.zeros((len(data.items), 1)), 1, 0, stopping,
    )  # fmt: skip
    begin = time.perf_counter()
    scorer = bpr.bpr(known, 0.0)
    print(f"{stopping.epochs} epochs, {time.perf_counter() - begin:.0f} s")
    for name, value in baskets(scorer, test, train | validation).items():
        print(f"{name}@{K} {value:.4f}, published {PUBLISHED[name]}")


if __name__ == "__main__":
    main()
