"""coldlm beside its peers: python -m benchmarks [TABLE ...] [--quick] [--threads N] [--device cpu|cuda] [--out FILE]

Tables: training, encoding, metrics, sweep, evaluation, growth, events, stream, start, serve; all of them without a
name. What competes does the same work in turn, each in a process of its own: median of 5 rounds, smallest and largest
rate, the ratio to a peer in the same round. The peers' environment is made by benchmarks/setup_peers.sh and named by
COLDLM_PEERS, by default .venv-peers; a peer that is not there is a row that says so. With --quick there are 3 rounds of
fewer rows. With --device cuda the tables training and encoding are made on a GPU, in 32 bits and mixed with 16.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
import torch

from benchmarks.contest import HERE, Contender, contest, table

LAYERS = "strategy.layers=2"
STEPS: dict[str, list[str]] = {
    "frozen, 512": ["strategy=frozen"],
    "full, 512": ["strategy=full"],
    "top 1, 512": ["strategy=top"],
    "lora, 512": ["strategy=lora"],
    "adalora, 512": ["strategy=adalora"],
    "adapter, 512": ["strategy=adapter"],
    "prefix, 512": ["strategy=prefix"],
    "prompt, 512": ["strategy=prompt"],
    "ia3, 512": ["strategy=ia3"],
    "bitfit, 512": ["strategy=bitfit"],
    "frozen, 1,024": ["strategy=frozen", "train.batch_size=1024"],
    "top 1, 1,024": ["strategy=top", "train.batch_size=1024"],
    "top 2, 1,024": ["strategy=top", LAYERS, "train.batch_size=1024"],
    "lora in the top 2, 1,024": ["strategy=lora", LAYERS, "train.batch_size=1024"],
}
"""Strategy and batch size -> overrides."""

QUICK = ("frozen, 512", "full, 512", "lora, 512", "top 2, 1,024", "lora in the top 2, 1,024")
SWEEP = {"seed": "1,2,3,4,5,6", "online": "off,history,per_window,replay"}
QUICK_SWEEP = {"seed": "1,2", "online": "off,history,per_window"}
"""Key -> its values in a sweep: seeds and schedules of the default strategy."""

TRAINERS = {
    "pairs padded to 128": "plain_loop",
    "Hugging Face Trainer": "hf_trainer",
    "sentence-transformers": "st_trainer",
}
ENCODERS = {
    "sentence-transformers": "st_encode",
    "ONNX Runtime": "onnx",
    "ONNX Runtime, int8": "onnx_int8",
}
METRICS = {"torchmetrics": "torchmetrics", "ranx": "ranx", "RecTools": "rectools"}


@dataclass
class Asked:
    """``folder``: of the files that contenders read. ``found``: everything that was measured."""

    folder: Path
    quick: bool
    device: str
    found: list[dict[str, Any]] = field(default_factory=list)

    def ours(self, name: str, kind: str, *rest: str) -> Contender:
        words = [sys.executable, "-m", "benchmarks.ours", kind, str(self.folder), *rest]
        return Contender(name, words)

    def peers(self, names: dict[str, str]) -> list[Contender]:
        folder = Path(os.environ.get("COLDLM_PEERS", HERE.parent / ".venv-peers"))
        python, script = folder / "bin" / "python", HERE / "peers.py"
        why = "" if python.exists() else "run benchmarks/setup_peers.sh"
        words = [str(python), str(script)]
        return [
            Contender(name, [*words, key, str(self.folder), self.device], why=why)
            for name, key in names.items()
        ]

    def compete(
        self, everyone: list[Contender], unit: str, against: list[str], notes: list[str]
    ) -> str:
        """Let them compete; the table."""
        contest(everyone, 3 if self.quick else 5)
        self.found += [{"unit": unit, **asdict(one)} for one in everyone]
        return table(everyone, unit, against, notes)


def training(asked: Asked) -> str:
    """Interactions a second: titles, MiniLM, histories of 20. Difference: largest, of vectors of texts in batches to
    those of each alone."""
    ours = []
    for name, overrides in STEPS.items():
        words = [*([] if "1,024" in name else ["train.batch_size=512"]), *overrides]
        if asked.quick and name not in QUICK:
            continue
        if asked.device == "cpu":
            ours.append(asked.ours(name, "training", *words))
        else:
            for precision in ("32-true", "bf16-mixed"):
                mixed = [*words, "trainer=gpu", f"trainer.precision={precision}"]
                ours.append(asked.ours(f"{name}, {precision}", "training", *mixed))
    peers = asked.peers(TRAINERS)
    against = ["pairs padded to 128", "sentence-transformers"]
    return asked.compete([*peers, *ours], "interactions/s", against, ["difference"])


def encoding(asked: Asked) -> str:
    """Texts a second: all MovieLens titles. Difference: largest, of vectors of length 1, to coldlm's by torch;
    neighbours: share of the ten nearest of 1,000 titles that are the same."""
    runtimes = ["torch"]
    if asked.device == "cpu":
        runtimes += ["openvino", *(["openvino_bf16"] if has_sixteen_bits() else [])]
    where = [] if asked.device == "cpu" else ["trainer=gpu"]
    ours = [asked.ours(f"coldlm, {name}", "encoding", name, *where) for name in runtimes]
    contest(ours[:1], 0)  # whose vectors the others are held against
    peers, against = asked.peers(ENCODERS), ["sentence-transformers", "coldlm, torch"]
    found = asked.compete([*peers, *ours], "texts/s", against, ["difference", "neighbours"])
    return f"{found}\n\n{of_the_product(ours, asked.device)}"


def has_sixteen_bits() -> bool:
    from coldlm.core.errors import CheckpointError
    from coldlm.models.backbones import runtime

    try:
        return bool(runtime.version("openvino_bf16"))
    except CheckpointError:
        return False


def of_the_product(ours: list[Contender], device: str) -> str:
    """What share of the machine's product of matrices encoding reaches, in float32."""
    size, width, layers = 1536 if device == "cpu" else 8192, 384, 6
    a, b, seconds = (
        torch.randn(size, size, device=device),
        torch.randn(size, size, device=device),
        [],
    )
    for _ in range(7):
        begin = time.perf_counter()
        (a @ b)[0, 0].item()
        seconds.append(time.perf_counter() - begin)
    rate = 2 * size**3 / statistics.median(seconds[2:]) / 1e9
    lines = [
        f"torch's product of two {size} x {size} matrices in float32: {rate:,.0f} GFLOP/s, on the CPU by "
        f"{torch.get_num_threads()} threads."
    ]
    for one in ours:
        if one.rates and "tokens" in one.said:
            each = (
                2 * 12 * width**2 * layers * int(one.said["tokens"]) / int(one.said["texts"]) / 1e9
            )
            share = statistics.median(one.rates) * each / rate
            lines.append(
                f"{one.name}: {100 * share:.0f} % of it, of real tokens, attention left out."
            )
    return " ".join(lines)


def metrics(asked: Asked) -> str:
    """Queries a second: nDCG@10 from scores of all items, 1,000 queries. The lists of ranx and RecTools are cut by
    torch's topk, which is counted."""
    everyone = [*asked.peers(METRICS), asked.ours("coldlm", "metrics")]
    return asked.compete(everyone, "queries/s", ["RecTools", "torchmetrics"], ["value"])


def sweep(asked: Asked) -> str:
    """Seeds and schedules of the frozen strategy in one sweep, one after another, against as many processes without a
    shared cache; one run. Strategies that train the language model gain less: training is what a sweep cannot share
    between seeds."""
    grid = QUICK_SWEEP if asked.quick else SWEEP
    base = ["dataset=simulated", "backbone=minilm", "train.epochs=1"]
    cells = list(itertools.product(*(values.split(",") for values in grid.values())))
    with tempfile.TemporaryDirectory() as folder:
        together = coldlm(
            *(*base, "-m", f"output={folder}/one", f"cache={folder}/cache"),
            *(f"{key}={values}" for key, values in grid.items()),
        )
        apart = Cost()
        for number, cell in enumerate(cells):
            apart += coldlm(
                *(*base, f"output={folder}/many", f"cache={folder}/cache-{number}"),
                *(f"{key}={value}" for key, value in zip(grid, cell, strict=True)),
            )
        equal = results(Path(folder, "one")).equals(results(Path(folder, "many")))
    return (
        f"{len(cells)} cells: {together} in one sweep, {apart} in {len(cells)} processes, "
        f"{apart.seconds / together.seconds:.1f} times ({apart.busy / together.busy:.1f} times the processor's); "
        f"results {'equal' if equal else 'UNEQUAL'}."
    )


@dataclass
class Cost:
    """``seconds`` that passed, and in which processors were ``busy``."""

    seconds: float = 0.0
    busy: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.busy + other.busy)

    def __str__(self) -> str:
        return f"{self.seconds:.1f} s ({self.busy:.1f} s of processor time)"


def results(folder: Path) -> pl.DataFrame:
    """All values of all runs in a folder, in an order of their own."""
    found = pl.concat([pl.read_parquet(file) for file in folder.glob("*/results.parquet")])
    values = found.drop("run", "config_hash")
    return values.sort(values.columns)


def coldlm(*words: str) -> Cost:
    """Run a command of coldlm's to its end; what it cost."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "coldlm", "run", *words],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(time.perf_counter() - begin, busy)


def by_script(name: str, quick: list[str], whole: list[str]) -> Callable[[Asked], str]:
    def run(asked: Asked) -> str:
        words = [sys.executable, str(HERE / f"{name}.py"), *(quick if asked.quick else whole)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
        return f"```\n{done.stdout.strip()}\n```"

    script = (HERE / f"{name}.py").read_text().split('"""')[1]
    run.__doc__ = script.partition("\n\n")[0]
    return run


TABLES: dict[str, Callable[[Asked], str]] = {
    "training": training,
    "encoding": encoding,
    "metrics": metrics,
    "sweep": sweep,
    "evaluation": by_script(
        "evaluation", ["1000", "10000"], ["1000", "10000", "100000", "1000000"]
    ),
    "growth": by_script("growth", ["--quick"], []),
    "events": by_script("as_of", ["100000"], ["1000000"]),
    "stream": by_script("stream", ["strategy=top"], ["strategy=top"]),
    "start": by_script("start", ["3"], ["5"]),
    "serve": by_script("serve", ["10"], ["60"]),
}


ON_A_GPU = ("training", "encoding")


def main() -> None:
    said = parse()
    os.environ |= {
        "OMP_NUM_THREADS": str(said.threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
    }
    torch.set_num_threads(said.threads)
    gpu = [] if said.device == "cpu" else [torch.cuda.get_device_name()]
    versions = [f"torch {version('torch')}", f"coldlm {version('coldlm')}"]
    machine = [platform.machine(), processor(), f"{said.threads} threads", *gpu]
    parts = [", ".join([*machine, *versions])]
    print(parts[0], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = [sys.executable, "-m", "benchmarks.ours", "files", folder]
        subprocess.run(files, check=True, cwd=HERE.parent)
        asked = Asked(Path(folder), said.quick, said.device)
        for name in said.tables or (TABLES if said.device == "cpu" else ON_A_GPU):
            make, begin = TABLES[name], time.perf_counter()
            body, about = make(asked), " ".join((make.__doc__ or "").split())
            parts.append(f"## {name}\n\n{about} {time.perf_counter() - begin:.0f} s.\n\n{body}")
            print("\n" + parts[-1], flush=True)
    if said.out:
        said.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if said.json:
        said.json.write_text(json.dumps({"machine": parts[0], "found": asked.found}, indent=1))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("tables", nargs="*", metavar="TABLE", choices=[[], *TABLES])
    parser.add_argument("--quick", action="store_true", help="3 rounds of fewer rows")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each contender")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    parser.add_argument("--json", type=Path, help="also write all that was measured to this file")
    said = parser.parse_args()
    if said.device == "cuda" and (wrong := [n for n in said.tables if n not in ON_A_GPU]):
        parser.error(f"--device cuda: got {wrong[0]}, allowed: {', '.join(ON_A_GPU)}")
    if said.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no CUDA device is there")
    return said


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
