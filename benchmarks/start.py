"""Fixed costs of the command line, everything cached: from the start of a process to its end, or to the first batch of
training.

Usage: python benchmarks/start.py [rounds]

Seconds on the clock and of the processor are medians over rounds, in which all take turns; modules and the seconds of
their imports are those that ``python -X importtime`` tells of one more process.
"""

from __future__ import annotations

import gc
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PACK = HERE.parent / "studies" / "strategies_x_backbones" / "runs.parquet"
COLDLM = ["-m", "coldlm"]
SELF_TIME = re.compile(r"import time: +(\d+) \|")


def first_batch(words: Sequence[str]) -> None:
    """The child: a run that ends where its first batch of training would begin."""
    gc.disable()  # as the command line does before it imports anything
    from coldlm.cli import main
    from coldlm.learn.module import Learner

    Learner.training_step = lambda *_: os._exit(0)  # type: ignore[assignment, method-assign]
    main(["run", *words])


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured -> the words behind ``python``; what they need is made."""
    place = [f"output={folder}/runs", f"cache={folder}/cache"]
    short = ["online=off", "train.epochs=1", "train.max_steps=20", "evaluate.queries=300", *place]
    found = {}
    for name in ("frozen", "top"):
        finished = [*COLDLM, "run", f"strategy={name}", *short, f"name={name}"]
        python(finished)
        query = [*COLDLM, "recommend", f"{folder}/runs/{name}", "--query", "space adventure"]
        if name == "frozen":
            found["a finished run, asked again"] = finished
        found[f"a list, {name}"] = query
    found["a report of 132 packed runs"] = [*COLDLM, "report", str(PACK), "--out", f"{folder}/report"]  # fmt: skip
    for name in ("frozen", "top", "lora"):
        words = [f"strategy={name}", "stages=[train]", *short, f"name=new-{name}"]
        found[f"to the first batch, {name}"] = [__file__, "first batch", *words]
    return found


def python(words: Sequence[str]) -> str:
    """Its standard error."""
    done = subprocess.run(
        [sys.executable, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    return done.stderr


def measure(words: Sequence[str]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    before, begin = of_children(), time.perf_counter()
    python(words)
    return time.perf_counter() - begin, of_children() - before


def of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """A line per command."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as folder:
        asked = commands(Path(folder))
        for words in asked.values():
            python(words)  # fills the caches
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
        for _ in range(rounds):
            for name, words in asked.items():
                seconds[name].append(measure(words))
        print(f"{'':<30}{'clock':>8}{'processor':>12}{'modules':>10}{'imports':>10}")
        for name, words in asked.items():
            imports = [
                int(line[1]) for line in SELF_TIME.finditer(python(["-X", "importtime", *words]))
            ]
            clock, processor = map(statistics.median, zip(*seconds[name], strict=True))
            print(
                f"{name:<30}{clock:>6.2f} s{processor:>10.2f} s{len(imports):>10,}{sum(imports) / 1e6:>8.2f} s"
            )


if __name__ == "__main__":
    first_batch(sys.argv[2:]) if sys.argv[1:2] == ["first batch"] else main()
