"""Our metrics beside those of other libraries, on files that a seed makes: the same numbers without ties,
and what each makes of ties and of a scorer that knows nothing.

Run it with the other libraries in a folder of their own, which is looked at last:

    pip install --target peers ranx ir_measures rectools recbole
    python studies/agreement/agreement.py --peers peers
"""

from __future__ import annotations

import argparse
import csv
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

K, QUERIES, ITEMS, MOST = 10, 200, 500, 5
WITHIN = 512
"""What ranks are divided by: a power of 2, so that nothing is rounded."""

COLUMNS = ("positives", "scores", "metric", "library", "version", "value", "ours", "seconds")
Values = Mapping[str, Callable[[], float]]


@dataclass(frozen=True)
class Case:
    """``scores``: [Q, N]. ``relevant``: [Q, N] bool, one in each row or up to ``MOST``."""

    positives: str
    kind: str
    scores: np.ndarray[Any, np.dtype[np.float32]]
    relevant: np.ndarray[Any, np.dtype[np.bool_]]


def make_cases(seed: int = 0) -> Iterator[Case]:
    """One positive or a basket, under scores that are all distinct, rounded to ten levels, or constant."""
    draw = np.random.default_rng(seed)
    for positives in ("one", "basket"):
        sizes = draw.integers(1, MOST + 1, QUERIES) if positives == "basket" else np.ones(QUERIES)
        relevant = np.zeros((QUERIES, ITEMS), bool)
        for row, size in enumerate(sizes.astype(int)):
            relevant[row, draw.choice(ITEMS, size, replace=False)] = True
        # ranks of noise that leans towards the positives, within 0 to 1: distinct, and exact in 32 bits
        noise = draw.standard_normal((QUERIES, ITEMS)) + 2 * relevant
        rank = noise.argsort(1).argsort(1).astype(np.float32)
        for kind, scores in (
            ("distinct", rank / WITHIN),
            ("tied", np.floor(rank / (ITEMS / 10)) / WITHIN),
            ("constant", np.zeros_like(rank)),
        ):
            yield Case(positives, kind, scores, relevant)


def ours(case: Case) -> Values:
    """Return what coldlm has: of whole baskets, one positive being the smallest. MRR is cut at the last
    place, which no cut is."""
    from coldlm.evaluate import metrics
    from coldlm.evaluate.baskets import OF_EACH, OF_THE_BEST, Basket

    scores, relevant = torch.from_numpy(case.scores), torch.from_numpy(case.relevant)
    row, item = relevant.nonzero().T
    n_positives = relevant.sum(1)

    def basket() -> Basket:
        g, e = metrics.outranking(scores[row], ~relevant[row], item)
        both = relevant[row]
        both[torch.arange(len(row)), item] = False
        above, level = metrics.outranking(scores[row], both, item)
        return Basket(g, e, above, level - 1, n_positives[row] - 1)

    def mean(values: torch.Tensor) -> float:
        per_query = torch.zeros(len(scores), dtype=torch.float64).index_add(0, row, values)
        return float((per_query / n_positives).mean())

    def of_each(name: str) -> float:
        return mean(OF_EACH[name](basket(), K))

    def of_the_best(name: str, k: int) -> float:
        one = basket()
        values = torch.where(one.above == 0, OF_THE_BEST[name](one, k), 0.0)
        best = torch.zeros(len(scores), dtype=torch.float64).scatter_reduce(0, row, values, "amax")
        return float(best.mean())

    def area() -> float:
        one = basket()
        sizes = torch.full_like(one.g, ITEMS) - one.others
        return mean(metrics.auc(one.g, one.e, sizes))

    return {
        "ndcg@10": lambda: of_each("ndcg"),
        "recall@10": lambda: of_each("recall"),
        "precision@10": lambda: of_each("precision"),
        "auc": area,
        "hit@10": lambda: of_the_best("hit", K),
        "mrr": lambda: of_the_best("mrr", ITEMS),
        "map@10": lambda: of_each("map"),
    }


def of_ranx(case: Case) -> Values:
    import ranx

    qrels, run = (make(named(table)) for make, table in (
        (ranx.Qrels, relevant_of(case)), (ranx.Run, scored(case)),
    ))  # fmt: skip
    names = {"recall@10": "recall@10", "hit@10": "hit_rate@10", "ndcg@10": "ndcg@10", "mrr": "mrr",
             "map@10": "map@10", "precision@10": "precision@10"}  # fmt: skip
    return {
        name: lambda its=its: float(ranx.evaluate(qrels, run, its)) for name, its in names.items()
    }


def of_ir_measures(case: Case) -> Values:
    import ir_measures
    from ir_measures import AP, RR, P, R, Success, nDCG

    qrels, run = named(relevant_of(case)), named(scored(case))
    names = {"ndcg@10": nDCG @ K, "recall@10": R @ K, "hit@10": Success @ K, "mrr": RR,
             "map@10": AP @ K, "precision@10": P @ K}  # fmt: skip
    return {
        name: lambda its=its: float(ir_measures.calc_aggregate([its], qrels, run)[its])
        for name, its in names.items()
    }


def of_torchmetrics(case: Case) -> Values:
    from torchmetrics import retrieval

    scores = torch.from_numpy(case.scores).flatten()
    relevant = torch.from_numpy(case.relevant).flatten()
    query = torch.arange(QUERIES).repeat_interleave(ITEMS)
    kinds = {
        "ndcg@10": partial(retrieval.RetrievalNormalizedDCG, top_k=K),
        "recall@10": partial(retrieval.RetrievalRecall, top_k=K),
        "hit@10": partial(retrieval.RetrievalHitRate, top_k=K),
        "mrr": retrieval.RetrievalMRR,
        "map@10": partial(retrieval.RetrievalMAP, top_k=K),
        "precision@10": partial(retrieval.RetrievalPrecision, top_k=K),
        "auc": retrieval.RetrievalAUROC,
    }
    found: dict[str, Callable[[], float]] = {
        name: lambda make=make: float(make()(scores, relevant, indexes=query))
        for name, make in kinds.items()
    }
    # the same order, but numbers that are no probabilities
    return found | {
        "auc, scores of 0 to 499": lambda: float(
            retrieval.RetrievalAUROC()(WITHIN * scores, relevant, indexes=query)
        )
    }


def of_sklearn(case: Case) -> Values:
    from sklearn import metrics

    scores, relevant = case.scores, case.relevant
    found: dict[str, Callable[[], float]] = {
        "ndcg@10": lambda: float(metrics.ndcg_score(relevant, scores, k=K)),
        "auc": lambda: float(
            np.mean([metrics.roc_auc_score(r, s) for r, s in zip(relevant, scores, strict=True)])
        ),
    }
    if case.positives == "one":
        found["mrr"] = lambda: float(
            metrics.label_ranking_average_precision_score(relevant, scores)
        )
        label = relevant.argmax(1)
        found["hit@10"] = lambda: float(
            metrics.top_k_accuracy_score(label, scores, k=K, labels=np.arange(ITEMS))
        )
    return found


def of_rectools(case: Case) -> Values:
    """From lists, which a stable sort makes."""
    import pandas as pd
    from rectools import metrics

    order = np.argsort(-case.scores, 1, kind="stable")
    reco = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(QUERIES), ITEMS),
            "item_id": order.ravel(),
            "rank": np.tile(np.arange(1, ITEMS + 1), QUERIES),
        }
    )
    user, item = np.nonzero(case.relevant)
    truth = pd.DataFrame({"user_id": user, "item_id": item})
    kinds = {
        "ndcg@10": metrics.NDCG(k=K, divide_by_achievable=True),
        "ndcg@10, its default": metrics.NDCG(k=K),
        "recall@10": metrics.Recall(k=K),
        "hit@10": metrics.HitRate(k=K),
        "mrr": metrics.MRR(k=ITEMS),
        "map@10": metrics.MAP(k=K),
        "precision@10": metrics.Precision(k=K),
    }
    return {name: lambda kind=kind: float(kind.calc(reco, truth)) for name, kind in kinds.items()}


def of_recbole(case: Case) -> Values:
    """From the places of the positives among the best k, which torch.topk finds, as its collector
    does."""
    # names of types that numpy had until 1.24, and that this library still asks for
    vars(np).update({"float": float, "int": int})
    from recbole.evaluator import metrics

    scores, relevant = torch.from_numpy(case.scores), torch.from_numpy(case.relevant)

    def value(kind: Any, k: int) -> float:
        best = torch.topk(scores, k).indices
        places = torch.cat([relevant.gather(1, best).int(), relevant.sum(1, keepdim=True)], 1)
        metric = kind({"topk": [k], "metric_decimal_place": 12})
        (found,) = metric.calculate_metric({"rec.topk": places}).values()
        return float(found)

    kinds = {"ndcg@10": metrics.NDCG, "recall@10": metrics.Recall, "hit@10": metrics.Hit,
             "map@10": metrics.MAP, "precision@10": metrics.Precision}  # fmt: skip
    found: dict[str, Callable[[], float]] = {
        name: partial(value, kind, K) for name, kind in kinds.items()
    }
    return found | {"mrr": partial(value, metrics.MRR, ITEMS)}


PEERS: dict[str, Callable[[Case], Values]] = {
    "ranx": of_ranx,
    "ir_measures": of_ir_measures,
    "torchmetrics": of_torchmetrics,
    "scikit-learn": of_sklearn,
    "rectools": of_rectools,
    "recbole": of_recbole,
}


def relevant_of(case: Case) -> Iterator[tuple[int, int, int]]:
    return ((int(q), int(i), 1) for q, i in zip(*np.nonzero(case.relevant), strict=True))


def scored(case: Case) -> Iterator[tuple[int, int, float]]:
    return ((q, i, float(s)) for (q, i), s in np.ndenumerate(case.scores))


def named(table: Iterator[tuple[int, int, Any]]) -> dict[str, dict[str, Any]]:
    """Return query -> item -> value, by names that sort as their numbers do."""
    found: dict[str, dict[str, Any]] = {f"q{q:04d}": {} for q in range(QUERIES)}
    for q, i, value in table:
        found[f"q{q:04d}"][f"i{i:04d}"] = value
    return found


def timed(measure: Callable[[], float], repeats: int) -> tuple[float, float]:
    """Return the value, and the median of the seconds, once everything is warm."""
    value, seconds = measure(), []
    for _ in range(repeats):
        begin = time.perf_counter()
        measure()
        seconds.append(time.perf_counter() - begin)
    return value, statistics.median(seconds) if seconds else 0.0


def compare(repeats: int = 5) -> Iterator[dict[str, Any]]:
    """Return a row per case, metric and library: its value beside ours, where we have one."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for case in make_cases():
        mine = {name: timed(measure, repeats) for name, measure in ours(case).items()}
        libraries: dict[str, Callable[[Case], Values]] = {"coldlm": ours} | PEERS
        for library, of in libraries.items():
            for name, measure in of(case).items():
                value, seconds = mine[name] if library == "coldlm" else timed(measure, repeats)
                own = mine.get(name.partition(",")[0])
                cells = (case.positives, case.kind, name, library, version(library), value)
                yield dict(
                    zip(COLUMNS, (*cells, "" if own is None else own[0], seconds), strict=True)
                )


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write every digit of the values, and three of the seconds."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows({**row, "seconds": f"{row['seconds']:.3g}"} for row in rows)


def main() -> None:
    """Write ``agreement.csv`` and print the table of the README."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", type=Path, help="folder of the other libraries")
    arguments = parser.parse_args()
    if arguments.peers:
        sys.path.append(str(arguments.peers))  # behind what is installed
    rows = list(compare())
    write(rows, Path(__file__).with_name("agreement.csv"))
    print("\n".join(tables(rows)))


def tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Return the lines of the README's tables."""
    libraries = ["coldlm", *PEERS]
    for positives in ("one", "basket"):
        for kind in ("distinct", "tied", "constant"):
            yield f"\n{positives}, {kind}:\n"
            yield f"| metric | {' | '.join(libraries)} |"
            yield "|---|" + "---:|" * len(libraries)
            chosen = [r for r in rows if (r["positives"], r["scores"]) == (positives, kind)]
            for name in dict.fromkeys(r["metric"] for r in chosen):
                by = {r["library"]: r for r in chosen if r["metric"] == name}
                yield f"| {name} | " + " | ".join(cell(by.get(each)) for each in libraries) + " |"


def cell(row: dict[str, Any] | None) -> str:
    """Return a value, and by how much it differs from ours."""
    if row is None:
        return "–"
    seconds = f"{1000 * row['seconds']:.3g} ms"
    if row["library"] == "coldlm" or row["ours"] == "":
        return f"{row['value']:.6f} ({seconds})"
    apart = row["value"] - row["ours"]
    return f"{'equal' if abs(apart) < 1e-6 else f'{apart:+.6f}'} ({seconds})"


if __name__ == "__main__":
    main()
