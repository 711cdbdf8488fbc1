"""Seconds to encode item texts with fewer layers of a backbone: MiniLM (six), MovieLens titles.

    python benchmarks/keep_layers.py [overrides], for example dataset.text={title}

Median of 5 readings of the same texts after one that does not count, every depth in turn. Beside
it, the largest difference to the hidden states of the whole model, as transformers gives them,
behind so many layers.
"""

import statistics
import sys
import time

import numpy as np
import torch
from torch import Tensor

from coldlm.config.build import build
from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.experiment.world import make_world
from coldlm.models import strategy
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.text.encode import TextEncoder

REPEATS, TEXTS, DEPTHS = 5, 1000, (6, 4, 3, 2, 1)


@torch.no_grad()
def main(overrides: list[str]) -> None:
    """Measure and print."""
    config = check(compose_plain(overrides))
    texts = make_world(config).data.items.texts[:TEXTS]
    # as under full tuning: nothing is kept, so that every reading goes through all layers
    bodies = {n: strategy.full(build(config.backbone | {"keep_layers": n})).eval() for n in DEPTHS}
    encoders = {
        n: TextEncoder(body, texts, np.arange(len(texts))).eval() for n, body in bodies.items()
    }
    seconds: dict[int, list[float]] = {n: [] for n in DEPTHS}
    for _ in range(REPEATS + 1):
        for n, encoder in encoders.items():
            begin = time.perf_counter()
            encoder.all_items()
            seconds[n].append(time.perf_counter() - begin)
    whole = statistics.median(seconds[DEPTHS[0]][1:])
    print(f"{len(texts)} texts, {torch.get_num_threads()} threads")
    for n, encoder in encoders.items():
        took = statistics.median(seconds[n][1:])
        apart = float(
            (encoder.all_items()[:100] - by_transformers(bodies[DEPTHS[0]], texts[:100], n))
            .abs()
            .max()
        )
        print(
            f"{n} layers: {took:6.3f} s, {whole / took:.2f} times as fast, largest difference "
            f"{apart:.1e}"
        )


def by_transformers(body: Backbone, texts: list[str], layers: int) -> Tensor:
    """[n, D] mean hidden states behind the first ``layers`` of the whole model, each text alone."""
    vectors = []
    for text in texts:
        ids = body.tokenizer(text, truncation=True, max_length=body.max_tokens, return_tensors="pt")
        vectors.append(
            body.model(**ids, output_hidden_states=True).hidden_states[layers][0].mean(0)
        )
    return torch.stack(vectors)


if __name__ == "__main__":
    main(sys.argv[1:])
