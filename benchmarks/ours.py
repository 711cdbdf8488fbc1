"""coldlm as a contender: python -m benchmarks.ours KIND FOLDER ..., see ``serve``; and ``files``, which writes what all
contenders read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contender import serve
from coldlm.config.build import build
from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.core.tables import TRAIN
from coldlm.evaluate.metrics import ndcg, outranking
from coldlm.experiment.encoder import make_encoder
from coldlm.experiment.model import make_backbone, make_ranker, standardise
from coldlm.experiment.training import Training
from coldlm.experiment.world import World, make_world
from coldlm.learn.batches import Batch
from coldlm.learn.fit import Machine
from coldlm.models.backbones.checkpoints import find

TITLES = ["dataset.text={title}"]
"""The text that all contenders read."""

HISTORY = 20
PAIRS = 2048
QUERIES = 1000


def files(folder: Path) -> None:
    """Write the titles, pairs of a user's last titles and a title that was taken or drawn, scores of the whole
    catalogue with the positive of each row, and where the encoder lies."""
    config = check(compose_plain(TITLES))
    world, rng = make_world(config), np.random.default_rng(0)
    titles = list(world.data.items.texts)
    rows = world.split.rows(TRAIN)[-PAIRS:]
    log = world.data.log
    past = world.as_of.history(log.user[rows], log.time[rows], HISTORY)
    users = [", ".join(titles[item] for item in items if item >= 0) for items in past]
    taken = rng.random(len(rows)) < 0.5
    items = np.where(taken, log.item[rows], rng.integers(0, len(titles), len(rows)))
    pairs = [
        [user, titles[item], int(yes)] for user, item, yes in zip(users, items, taken, strict=True)
    ]
    write(folder, "titles", titles)
    write(folder, "pairs", pairs)
    scores = rng.permuted(np.tile(np.arange(len(titles), dtype=np.float32), (QUERIES, 1)), axis=1)
    np.save(
        folder / "scores.npy", scores
    )  # no two are equal, since others do not say what they do then
    np.save(folder / "positive.npy", rng.integers(0, len(titles), QUERIES))
    node = config.backbone
    sources = {key: node[key] for key in ("name", "hub", "revision", "package", "path", "sha256")}
    write(folder, "encoder", str(find(**sources)))


def write(folder: Path, name: str, content: object) -> None:
    (folder / f"{name}.json").write_text(json.dumps(content))


@dataclass
class Steps:
    """Training steps of one strategy, each of a batch."""

    overrides: list[str]

    @cached_property
    def world(self) -> World:
        return make_world(self.config)

    @cached_property
    def config(self) -> Any:
        return check(
            compose_plain([*TITLES, "train.session=64", "backbone.dropout=0.0", *self.overrides])
        )

    def __post_init__(self) -> None:
        world, config = self.world, self.config
        self.ranker = make_ranker(config, world)
        standardise(
            self.ranker, self.ranker.encoder.all_items(), world.entered_by(world.split.t_val)
        )
        training = Training(config, world, self.ranker, Machine(), [])
        rows = training.trainable(world.split.rows(TRAIN))
        self.device = torch.device("cuda" if config.trainer.accelerator == "gpu" else "cpu")
        self.is_mixed = config.trainer.precision == "bf16-mixed"
        self.ranker.to(self.device)
        self.difference = largest_difference(self.ranker, training.batches(rows, 0)[0].items[:100])
        self.loss = build(config.loss)
        self.optimiser = build(config.optim, list(self.ranker.named_parameters()))
        self._batches: Iterator[Batch] = chain.from_iterable(
            training.batches(rows, epoch) for epoch in range(9)
        )
        self.ranker.train()

    def step(self) -> int:
        batch, ranker = next(self._batches).to(self.device), self.ranker
        self.optimiser.zero_grad()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_mixed):
            logits = ranker(batch)
            loss = self.loss(logits, batch.log_weight, batch.positive, batch.label).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ranker.parameters(), 1.0)
        self.optimiser.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return batch.size


@torch.no_grad()
def largest_difference(ranker: Any, codes: torch.Tensor) -> float:
    """Between the batched, cached vectors of ``codes`` and those of each text alone, without cache or padding."""
    encoder, alone = ranker.encoder, []
    for code in np.asarray(codes):
        part = slice(encoder.tokens.start[code], encoder.tokens.start[code + 1])
        ids = torch.from_numpy(encoder.tokens.ids[part])[None]
        ids = ids.to(ranker.device)
        alone.append(encoder.body(ids, torch.ones_like(ids, dtype=torch.bool))[0])
    return float((encoder.items(codes) - torch.stack(alone)).abs().max())


def encoding(folder: Path, runtime: str, *overrides: str) -> None:
    """Serve encoding all titles."""
    words = [*TITLES, "strategy=frozen", f"backbone.runtime={runtime}", *overrides]
    config = check(compose_plain(words))
    world, backbone = make_world(config), make_backbone(config)
    encoder = make_encoder(config, world, backbone)
    if config.trainer.accelerator == "gpu":
        encoder.to("cuda")
    vectors = torch.nn.functional.normalize(encoder.all_items()).cpu()
    np.save(folder / f"vectors-{runtime}.npy", vectors.numpy())
    lower = backbone.lower_of_many()
    backbone.lower_of_many = lambda: lower  # made once, as for a larger catalogue

    def work() -> int:
        return len(encoder._compute(None, 0))

    serve(work, tokens=int(encoder.tokens.start[-1]), texts=len(vectors))


def metrics(folder: Path) -> None:
    """Serve nDCG@10 of every row, from scores to value."""
    scores = torch.from_numpy(np.load(folder / "scores.npy"))
    positive = torch.from_numpy(np.load(folder / "positive.npy"))
    candidates = torch.ones_like(scores, dtype=torch.bool)

    def value() -> float:
        return float(ndcg(*outranking(scores, candidates, positive), 10).mean())

    def work() -> int:
        value()
        return len(scores)

    serve(work, value=f"{value():.9f}")


if __name__ == "__main__":
    kind, folder, *rest = sys.argv[1:]
    if kind == "files":
        files(Path(folder))
    elif kind == "training":
        steps = Steps(rest)
        serve(steps.step, difference=f"{steps.difference:.0e}")
    elif kind == "encoding":
        encoding(Path(folder), *rest)
    elif kind == "metrics":
        metrics(Path(folder))
