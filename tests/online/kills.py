"""SIGKILL at random points of training and stream, then the same command again: every file must be
that of a run that nobody stopped.

Usage: python tests/online/kills.py TRIALS [SEED]. Children are forked from a parent that has
imported everything already. Prints a table, and ends with 1 if anything differs.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import polars as pl

from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.config.schema import RunConfig
from coldlm.experiment.run import execute

OVERRIDES = (
    "dataset=simulated", "dataset.users=40", "dataset.items=60", "dataset.events=600", "train.epochs=1",
    "train.batch_size=32", "backbone=tiny_bert", "backbone.width=16", "strategy=lora", "evaluate.latency_requests=0",
    "stages=[train,online]", "online=every_n", "online.trigger.n=15", "online/data=replay", "online/regulariser=ewc",
    "online/gate=probe", "online.optimiser=keep", "online.latency_seconds=40000", "online.save_updates=1",
)  # fmt: skip
CLOCKS = ("seconds", "train_seconds", "encode_seconds", "peak_memory_mb", "spent", "run")
"""Columns that no two runs share."""
FILES = ("events", "updates", "probes", "stream", "results", "per_user")


def in_a_child(do: Callable[[], int]) -> int:
    """Fork a child that ends with what ``do`` returns; its process id. The parent itself does
    nothing that starts threads: a child of such a parent may wait for them for ever."""
    if child := os.fork():
        return child
    logging.disable(logging.CRITICAL)
    status = 1
    try:
        status = do()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    os._exit(status)


def run(config: RunConfig) -> int:
    """Carry out a run in a child."""
    return in_a_child(lambda: int(execute(config, "run") is None))


def status_of(child: int) -> int:
    """Wait for a child, at most a minute."""
    for _ in range(600):
        if (ended := os.waitpid(child, os.WNOHANG))[0]:
            return os.waitstatus_to_exitcode(ended[1])
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 99


def differing(folder: Path, whole: Path) -> int:
    """How many files are not those of the whole run, but for what only a clock knows."""
    found = 0
    for name in FILES:
        one, two = (
            pl.read_parquet(f / "run" / f"{name}.parquet").drop(CLOCKS, strict=False)
            for f in (folder, whole)
        )
        if not one.equals(two, null_equal=True):
            print(f"{folder.name}: {name} differs", file=sys.stderr, flush=True)
            found += 1
    return found


def trial(config: RunConfig, whole: Path, after: float) -> tuple[str, str]:
    """(where the kill fell, what came of it)."""
    folder = Path(config.output)
    child = run(config)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    where = "after the end"
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        manifest = folder / "run" / "manifest.json"
        done = json.loads(manifest.read_text())["done"] if manifest.is_file() else []
        has_state = (folder / "run" / "online.state.safetensors").is_file()
        where = "stream, saved" if has_state else "stream" if "train" in done else "before"
    if failed := status_of(run(config)):
        return where, f"failed ({failed})"
    other = status_of(in_a_child(lambda: differing(folder, whole)))
    return where, f"differs ({other})" if other else "equal"


def main(trials: int, seed: int) -> int:
    """Print the table."""
    draw, outcomes = random.Random(seed), Counter[tuple[str, str]]()
    with tempfile.TemporaryDirectory() as home:

        def config(name: str) -> RunConfig:
            given = [*OVERRIDES, f"output={home}/{name}", f"cache={home}/cache"]
            return check(compose_plain(given))

        for name in ("warm", "whole"):  # the first fills the cache
            begin = time.perf_counter()
            assert status_of(run(config(name))) == 0
            seconds = time.perf_counter() - begin
        whole = Path(home) / "whole"
        for number in range(trials):
            outcomes[trial(config(f"trial{number}"), whole, draw.uniform(0.1, 1.0) * seconds)] += 1
    print(f"{trials} kills within {seconds:.1f} s")
    for (where, came), n in sorted(outcomes.items()):
        print(f"{n:5d}  {where:15s} {came}")
    return int(any(came != "equal" for _, came in outcomes))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
