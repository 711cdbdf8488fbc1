"""What takes longer, and more memory, when there is more of something: seconds and peak memory at sizes ten times (or
twice) as large, one run each in a process of its own, and the slope of their logarithms over the last step.

Usage: python benchmarks/growth.py [--quick] [KIND ...]

A slope of 1 is time in proportion, 0 is none of it. Beside it stands what is promised: at most 1.05 of what must grow,
0 (within .1, which is what a machine's other work may do) of what must not.
"""

from __future__ import annotations

import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
if not __package__:
    sys.path.insert(0, str(HERE.parent))

from benchmarks import evaluation, stream  # noqa: E402
from benchmarks.evaluation import files  # noqa: E402
from benchmarks.ours import Steps  # noqa: E402
from coldlm.config.check import check  # noqa: E402
from coldlm.config.compose import compose_plain  # noqa: E402
from coldlm.experiment.run import execute  # noqa: E402
from coldlm.experiment.world import make_world  # noqa: E402

GROWS, STANDS = 1.05, 0.1
STEPS = 5
VECTORS = ["backbone=random_vectors", "strategy=frozen"]


def evaluating(n_items: int) -> float:
    """a query scored, ranked and put into its views, of items"""
    return 1 / statistics.median(evaluation.measured(n_items, ways="1")["compiled"])


def reading(n_events: int) -> float:
    """reading a log and all that is asked of it before training, of events"""
    with tempfile.TemporaryDirectory() as folder:
        users, items = n_events // 20, max(1000, n_events // 50)
        words = files(Path(folder), n_events, items, users)
        config = check(compose_plain([*words, *VECTORS, f"cache={folder}/cache"]))
        begin = time.perf_counter()
        make_world(config)
        return time.perf_counter() - begin


def streaming(n_events: int) -> float:
    """a run whose stream is most of its log, of events, with an update per window"""
    with tempfile.TemporaryDirectory() as folder:
        config = check(compose_plain([
            *files(Path(folder), n_events, 1000), *VECTORS, "split.train=0.1", "split.validation=0.05",
            "train.epochs=1", "online=per_window", "online.max_steps=20", "stages=[train,online]", "evaluate.lists=0",
            f"output={folder}", f"cache={folder}/cache",
        ]))  # fmt: skip
        begin = time.perf_counter()
        execute(config, "growth")
        return time.perf_counter() - begin


def updating(n_events: int) -> float:
    """an update of 500 events behind a stream of events"""
    words = [stream.STAGES, *stream.SIMULATED, f"dataset.events={n_events}"]
    config = check(compose_plain(words))
    return stream.update_seconds(config, make_world(config), 500)


def training(*overrides: str) -> float:
    steps = Steps(["train.batch_size=128", *overrides])
    seconds = []
    for _ in range(STEPS + 1):
        begin = time.perf_counter()
        steps.step()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def remembering(length: int) -> float:
    """a training step of 128 events, frozen vectors, of items in a history"""
    return training("strategy=frozen", f"head.history={length}")


def deepening(layers: int) -> float:
    """a training step of 128 events, of layers that train"""
    return training("strategy=top", f"strategy.layers={layers}")


@dataclass(frozen=True)
class Kind:
    """``seconds``: size -> what it takes. ``sizes``: one process each. ``bound``: of the slope."""

    seconds: Callable[[int], float]
    sizes: Sequence[int]
    bound: float = GROWS


KINDS = {
    "evaluate": Kind(evaluating, (1_000, 10_000, 100_000, 1_000_000)),
    "read": Kind(reading, (10_000, 100_000, 1_000_000, 10_000_000)),
    "stream": Kind(streaming, (10_000, 100_000, 1_000_000)),
    "update": Kind(updating, (10_000, 100_000, 1_000_000), STANDS),
    "history": Kind(remembering, (10, 20, 40, 80)),
    "layers": Kind(deepening, (1, 2, 3, 6)),
}


def point(kind: str, size: int) -> None:
    """Measure one, and print it as JSON."""
    seconds = KINDS[kind].seconds(size)
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([seconds, mb]))


def slope(values: Sequence[float], sizes: Sequence[int]) -> float:
    """Of the logarithms, over the last step.

    >>> slope([1.0, 2.0, 200.0], [1, 10, 100])
    2.0
    """
    return math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2])


def main(said: list[str]) -> None:
    names = [word for word in said if not word.startswith("--")] or list(KINDS)
    for name in names:
        kind = KINDS[name]
        sizes = kind.sizes[:-1] if "--quick" in said and len(kind.sizes) > 2 else kind.sizes
        print(f"{name}: {kind.seconds.__doc__}")
        seconds, memory = [], []
        for size in sizes:
            command = [sys.executable, __file__, "--point", name, str(size)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            took, mb = json.loads(done.stdout.splitlines()[-1])
            seconds, memory = [*seconds, took], [*memory, mb]
            print(f"  {size:12,d} {took:12.5f} s {mb:9,.0f} MB", flush=True)
        found = slope(seconds, sizes)
        kept = "kept" if found <= kind.bound else "NOT KEPT"
        print(
            f"  slope {found:.2f} of seconds ({kind.bound:.2f} promised: {kept}), {slope(memory, sizes):.2f} of memory"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--point"]:
        point(sys.argv[2], int(sys.argv[3]))
    else:
        main(sys.argv[1:])
