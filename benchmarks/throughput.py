"""Training throughput of the towers head: MiniLM, the default loss, histories of 20, batches of
1,024.

Usage: python benchmarks/throughput.py [overrides], for example strategy.layers=1 train.session=128
dataset.text={title}

Prints interactions per second (median of 7 steps after one warm-up: batch, forward, backward, step)
and, beside it, the largest difference between the vectors of the batched, cached path and those of
each text encoded alone.
"""

import statistics
import sys
import time

import numpy as np
import torch

from coldlm.config.build import build
from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.core.tables import TRAIN
from coldlm.experiment.model import make_ranker, standardise
from coldlm.experiment.training import Training
from coldlm.experiment.world import make_world
from coldlm.learn.fit import Machine

STEPS = 7
BASE = [
    "strategy=top",
    "strategy.layers=2",
    "train.batch_size=1024",
    "train.session=64",
    "backbone.dropout=0.0",
]


def main(overrides: list[str]) -> None:
    """Measure and print."""
    config = check(compose_plain([*BASE, *overrides]))
    world = make_world(config)
    ranker = make_ranker(config, world)
    standardise(ranker, ranker.encoder.all_items(), world.entered_by(world.split.t_val))
    training = Training(config, world, ranker, Machine(), [])
    batches, loss = (
        training._batches(training.trainable(world.split.rows(TRAIN)), 0),
        build(config.loss),
    )
    optimiser = build(config.optim, list(ranker.named_parameters()))
    difference = largest_difference(ranker, batches[0].items[:200])
    ranker.train()
    seconds = []
    for number in range(STEPS + 1):
        begin = time.perf_counter()
        batch = batches[number]
        optimiser.zero_grad()
        loss(ranker(batch), batch.log_weight, batch.positive, batch.label).mean().backward()
        torch.nn.utils.clip_grad_norm_(ranker.parameters(), 1.0)
        optimiser.step()
        seconds.append((time.perf_counter() - begin) / batch.size)
    rates = sorted(1 / s for s in seconds[1:])
    print(f"{' '.join([*BASE, *overrides])}")
    print(
        f"  {statistics.median(rates):.0f} interactions/s (min {rates[0]:.0f}, max "
        f"{rates[-1]:.0f}, {STEPS} steps)"
    )
    print(
        f"  {len(batch.items)} distinct items a batch; largest difference to single texts "
        f"{difference:.1e}"
    )


@torch.no_grad()
def largest_difference(ranker: torch.nn.Module, codes: torch.Tensor) -> float:
    """Between the batched vectors of ``codes`` and those of each text alone, without cache or
    padding."""
    encoder = ranker.encoder
    body, tokens = encoder.body, encoder.tokens
    encoder.train()
    together = encoder.items(codes)
    alone = []
    for code in np.asarray(codes):
        ids = torch.from_numpy(tokens.ids[tokens.start[code] : tokens.start[code + 1]])[None]
        alone.append(body(ids, torch.ones_like(ids, dtype=torch.bool))[0])
    encoder.eval()
    return float((together - torch.stack(alone)).abs().max())


if __name__ == "__main__":
    main(sys.argv[1:])
