"""Seconds to score 100 candidates behind one prompt: each read with the prompt, and from the
prompt's keys and values.

    python benchmarks/causal_scoring.py [--layers 4] [--width 256]

The model is random: time does not depend on weights. Both ways give the same scores; the largest
difference is printed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from coldlm.core.seeding import generator
from coldlm.models import strategy
from coldlm.models.backbone import tiny
from coldlm.text.prompts import PromptReader

PROMPT = "Chosen before, newest first: {history}\nLooking for: {query}\nChosen next:"
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    for name, default in (
        ("layers", 4),
        ("width", 256),
        ("candidates", 100),
        ("history", 10),
        ("tokens", 512),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    rng = generator(0, "titles")
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz "))
    texts = ["".join(rng.choice(letters, rng.integers(8, 25))) for _ in range(arguments.candidates)]
    body = strategy.frozen(
        tiny(
            family="gpt2",
            layers=arguments.layers,
            width=arguments.width,
            heads=4,
            max_tokens=arguments.tokens,
        )
    )
    reader = PromptReader(body, texts, PROMPT).eval()
    prompt = reader.prompts([""], np.arange(arguments.history)[None])[0]
    with torch.no_grad():
        slow, naive = timed(lambda: reader.whole([prompt] * len(texts), reader.items))
        fast, shared = timed(lambda: reader.score(prompt, reader.items))
    tokens = sum(map(len, reader.items)) / len(texts)
    threads = torch.get_num_threads()
    print(
        f"{len(texts)} candidates of {tokens:.1f} tokens, a prompt of {len(prompt)}, {threads} "
        "threads"
    )
    print(f"each with the prompt: {1000 * slow:8.1f} ms")
    print(f"prompt read once:     {1000 * fast:8.1f} ms, {slow / fast:.1f} times as fast")
    print(f"largest difference:   {float((naive - shared).abs().max()):.1e}")


def timed(score: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Median seconds of a few calls, after one that does not count."""
    scores, seconds = score(), []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        score()
        seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds)), scores


if __name__ == "__main__":
    main()
