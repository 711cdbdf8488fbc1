"""Queries evaluated a second, and the memory that it takes, as catalogues grow: with compiled loops, and with
numpy and torch.

Usage: python benchmarks/evaluation.py [items ...], for example 1000 10000 100000 1000000

A drawn stream is scored by a head of two towers with context, trained on nothing: time does not depend
on weights. Prints, of each catalogue: queries/s of scoring, ranking and views together (median of 5, and
of what has no more than 100,000 items the same without compiled loops, in turn), the largest resident memory of
the process, and whether all ranks are equal. Each catalogue has a process of its own. How it grows:
benchmarks/growth.py.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.core.compiled import SWITCH
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import DAY
from coldlm.evaluate.judge import Judged
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.model import make_ranker, take_snapshot
from coldlm.experiment.world import make_world
from coldlm.runs.process import set_up_process

ITEMS = (1_000, 10_000, 100_000)
REPEATS = 5
PAIRS = 2e8
"""Of a query and an item, at most, that are scored at a time."""

MOST_IN_PLANES = 100_000
"""Items, that is: a plane of numbers for each feature of a million takes more memory than there is."""


def main(items: list[str]) -> None:
    """Measure each catalogue in a process of its own, and print."""
    sizes = [int(n) for n in items] or list(ITEMS)
    for n in sizes:
        command = [sys.executable, __file__, "--one", str(n)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"{n:9,d} items, {found['queries']:,} queries: {_rates(found['compiled'])}, {found['mb']:.0f} MB at most"
        )
        if plain := found["plain"]:
            ratio = statistics.median(a / b for a, b in zip(found["compiled"], plain, strict=True))
            ranks = "equal" if found["unequal"] == 0 else f"unequal in {found['unequal']} rows"
            print(
                f"          by numpy and torch: {_rates(plain)}, {ratio:.1f} times as long; ranks {ranks}"
            )


def _rates(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f} queries/s ({min(rates):,.0f} to {max(rates):,.0f})"


def measured(n_items: int, ways: str) -> dict[str, Any]:
    """Measure one catalogue, with compiled loops ("1") and without ("0")."""
    with tempfile.TemporaryDirectory() as folder:
        config = check(compose_plain([
            *files(Path(folder), max(20_000, 2 * n_items), n_items), "backbone=random_vectors", "strategy=frozen",
        ]))  # fmt: skip
        set_up_process(config.trainer, "cpu")
        world = make_world(config)
    ranker = make_ranker(config, world)
    with torch_seed(0), torch.no_grad():
        for parameter in ranker.head.parameters():
            parameter.normal_()
    scorer, evaluation = take_snapshot(ranker, world), Evaluation(config, world, "")
    queries = world.stream.slice(0, max(256, min(len(world.stream), int(PAIRS / n_items))))
    rates: dict[str, list[float]] = {"1": [], "0": []}
    judged: dict[str, Judged] = {}
    for repeat in range(REPEATS + 1):
        for way in ways:
            os.environ[SWITCH] = way
            begin = time.perf_counter()
            judged[way] = evaluation.judge(scorer, queries, "towers")
            if repeat:
                rates[way].append(len(queries) / (time.perf_counter() - begin))
    a, b = judged["1"], judged[ways[-1]]
    names = [field.name for field in fields(Judged) if field.name != "score"]
    return {
        "queries": len(queries), "compiled": rates["1"], "plain": rates["0"],
        "unequal": max(int((getattr(a, name) != getattr(b, name)).sum()) for name in names),
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def files(folder: Path, n_events: int, n_items: int, n_users: int = 2000) -> list[str]:
    """Write items, and events over 100 days, popular items more often than others; return what names them."""
    rng = np.random.default_rng(0)
    items = pl.DataFrame({"item_id": np.arange(n_items)}).with_columns(
        title="item " + pl.col("item_id").cast(str)
    )
    events = pl.DataFrame({
        "user_id": rng.integers(0, n_users, n_events),
        "item_id": (n_items * rng.random(n_events) ** 3).astype(np.int64),
        "timestamp": rng.integers(0, 100 * DAY, n_events) + 1_600_000_000,
    })  # fmt: skip
    items.write_parquet(folder / "items.parquet")
    events.write_parquet(folder / "events.parquet")
    return [
        "dataset=own", "dataset.repeats=true", f"dataset.items={folder}/items.parquet",
        f"dataset.interactions={folder}/events.parquet",
    ]  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        size = int(sys.argv[2])
        print(json.dumps(measured(size, "10" if size <= MOST_IN_PLANES else "1")))
    else:
        main(sys.argv[1:])
