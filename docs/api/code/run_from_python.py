"""One run from Python: compose, check, execute, read what it left."""

from pathlib import Path

import polars as pl

from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.experiment.run import execute


def run(output: Path) -> pl.DataFrame:
    """nDCG@10 of every scorer of a small run in a made-up world."""
    values = compose_plain(
        [
            "dataset=simulated",
            "dataset.users=40",
            "dataset.items=60",
            "dataset.events=600",
            "backbone=tiny_bert",
            "train.epochs=1",
            f"output={output}",
            f"cache={output / 'cache'}",
        ]
    )
    folder = execute(check(values), "small")
    results = pl.read_parquet(folder / "results.parquet")
    whole = results.filter(
        metric="ndcg", k=10, average="macro", cohort="all", window=-1, bucket="all"
    )
    return whole.select("scorer", "schedule", "value").sort("value", descending=True)


if __name__ == "__main__":
    print(run(Path("runs")))
