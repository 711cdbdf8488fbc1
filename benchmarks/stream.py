"""What a stream costs: scoring, updates, everything else, and whether an update gets dearer with what
was streamed before.

Usage: python benchmarks/stream.py [overrides], for example dataset=news/caixin release_slot=day
strategy=lora strategy.layers=2 online=every_n

Prints, of one run of the stages train and online: seconds of the stage, its parts in percent,
queries scored per second, seconds of an update of 1,000 events (median of 5), the 95th percentile
of one request, and whether weights that an update leaves alone score the same to the bit. Then the
seconds of an update of 500 events (median of 5) at the end of simulated streams of 10,000, 100,000
and 1,000,000 events, and the slope of its logarithm against that of the length.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.config.schema import RunConfig
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.model import make_ranker, standardise, take_snapshot
from coldlm.experiment.run import execute
from coldlm.experiment.training import Training
from coldlm.experiment.world import World, make_world
from coldlm.learn.fit import Machine
from coldlm.runs.manifest import read_manifest

REPEATS = 5
LENGTHS = (10_000, 100_000, 1_000_000)
STAGES = "stages=[train,online]"
SIMULATED = [
    "dataset=simulated", "dataset.users=300", "dataset.items=1000", "dataset.repeats=true",
    "backbone=tiny_bert", "strategy=lora", "online=every_n",
]  # fmt: skip


def main(overrides: list[str]) -> None:
    """Measure and print."""
    config = check(compose_plain([STAGES, *overrides]))
    print(" ".join(overrides) or "the default run")
    whole_stream(config)
    world = make_world(config)
    print(f"  an update of 1,000 events: {update_seconds(config, world, 1000):.2f} s")
    print(f"  one request, 95th percentile: {request_p95(config, world):.1f} ms")
    print("an update of 500 events behind a stream of")
    seconds = []
    for length in LENGTHS:
        config = check(compose_plain([STAGES, *SIMULATED, f"dataset.events={length}"]))
        seconds.append(update_seconds(config, make_world(config), 500))
        print(f"  {length:9,d} events: {seconds[-1]:.3f} s")
    slope = np.polyfit(np.log(LENGTHS), np.log(seconds), 1)[0]
    print(f"  slope of log seconds against log events: {slope:.3f}")


def whole_stream(config: RunConfig) -> None:
    """One run of the stages train and online, and where its time went."""
    with tempfile.TemporaryDirectory() as folder:
        values = {**config.plain(), "output": folder}
        folder_of = execute(check(values), "stream")
        stream = read_manifest(Path(folder_of)).stream or {}
        updates = pl.read_parquet(Path(folder_of) / "updates.parquet")
    n, whole = len(make_world(config).stream), float(stream["stage_seconds"] or 0)
    train, encode, all_of_it = (
        updates[c].sum() for c in ("train_seconds", "encode_seconds", "seconds")
    )
    scoring = float(stream["scoring_seconds"] or 0)
    parts = {
        "training": train,
        "encoding": encode,
        f"scoring ({n / scoring:.0f} queries/s)": scoring,
        "choosing, loss, gate and probe of updates": all_of_it - train - encode,
        "everything else": whole - scoring - all_of_it,
    }
    print(f"  {whole:.1f} s with {len(updates)} updates: "
          + ", ".join(f"{100 * s / whole:.1f} % {part}" for part, s in parts.items()))  # fmt: skip


def update_seconds(config: RunConfig, world: World, n: int) -> float:
    """Median seconds of an update on the last ``n`` events: training, vectors anew, and nothing
    else."""
    ranker = make_ranker(config, world)
    standardise(ranker, ranker.encoder.all_items(), world.entered_by(world.split.t_test))
    training = Training(config, world, ranker, Machine(), [])
    rows = training.trainable(np.arange(len(world.data.log) - n, len(world.data.log)))
    seconds = []
    for repeat in range(REPEATS + 1):
        before = take_snapshot(ranker, world)
        begin = time.perf_counter()
        training.fit(rows, "update", epochs=1, stream=("update", repeat))
        take_snapshot(ranker, world, before)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def request_p95(config: RunConfig, world: World) -> float:
    """95th percentile of one request against the whole catalogue, in ms."""
    ranker = make_ranker(config, world)
    scorer = take_snapshot(ranker, world)
    return Evaluation(config, world, "").time_requests(scorer)["p95"]


if __name__ == "__main__":
    main(sys.argv[1:])
