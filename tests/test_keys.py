"""No key is ignored: each one, changed to another valid value, changes what it is there to change.

The keys are read from the schema and from the targets of all option files, so a new key without a
line below fails.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest
import yaml

from coldlm.config.build import build
from coldlm.config.check import check
from coldlm.config.kinds import Reader
from coldlm.config.options import every
from coldlm.config.schema import Logging, Node, RunConfig, typed
from coldlm.config.signatures import fields_of, fields_of_dataclass
from coldlm.config.tree import CONF, list_options
from coldlm.core.columns import MODEL
from coldlm.data import hm, kuairec, movielens
from coldlm.data.movielens_editions import EDITIONS
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.run import execute
from coldlm.experiment.world import make_world
from coldlm.models.backbone import tiny
from coldlm.report.rows import WITHOUT_UPDATES
from coldlm.runs import process
from coldlm.runs.record import Record

MakeConfig = Callable[..., RunConfig]

BATCHES, FULL, SGD, LOCAL = "train.batch_size=64", "strategy=full", "optim=sgd", "backbone=local"
ADALORA = "strategy=adalora"
BINARY, BPR, INFONCE = "loss=binary_cross_entropy", "loss=bpr", "loss=infonce"
ENTMAX = "loss=alpha_entmax"
ONLINE, OFF = "stages=[train,evaluate,online]", "online=off"
SPEAKS = (
    "head=causal_lm", "loss=nll", "backbone=tiny_gpt2", "backbone.max_tokens=64", "strategy=lora", "optim.body_lr=1e-2",
    "head.rerank=10", "head.history=3", "train.max_steps=2",
)  # fmt: skip
PAIR = (
    "head=pair",
    "loss=binary_cross_entropy",
    "loss.draws=2",
    "head.rerank=10",
    "train.max_steps=2",
)
FUSED = (
    *(o for o in SPEAKS if o != "loss=nll"),
    "loss=binary_cross_entropy",
    "loss.draws=2",
    "head.context=on",
)
LONG = ("backbone.max_tokens=512", "head.rerank=3", "dataset.users=20", "dataset.events=300")
NEEDED = {"pair": PAIR, "causal_lm": SPEAKS, "nll": SPEAKS}
DATES = (
    "split.train=null",
    "split.validation=null",
    "split.t_val=2024-02-01",
    "split.t_test=2024-02-15",
)
AT_ONCE = "split=time_at_once", "online=off"

SCRATCH = (
    "stages=[pretrain,train,evaluate]", "backbone.width=16", "backbone.layers=1", "backbone.heads=2",
    "backbone.vocabulary=520", "backbone.max_tokens=32", "pretrain.batch_size=16", "pretrain.lr=1e-2",
)  # fmt: skip
GPT2, CAUSAL, MASKED = (
    ("backbone=scratch_gpt2", *SCRATCH),
    "pretrain=causal_lm",
    "pretrain=masked_lm",
)

SCORES: dict[str, tuple[object, tuple[str, ...]]] = {
    "seed": (2, ()),
    "train.head_epochs": (1, ()),
    "train.batch_size": (64, ()),
    "train.session": (1, (BATCHES,)),
    "train.max_steps": (1, (BATCHES,)),
    "train.latest": (100, (BATCHES,)),
    "train.accumulate": (2, (BATCHES,)),
    "train.clip": (0.01, (BATCHES, SGD)),
    "train.warmup": (0.9, (BATCHES,)),
    "debug.events": (300, ()),
    "split.time.train": (0.5, ()),
    "split.time.validation": (0.2, ()),
    "split.time.t_val": ("2024-01-20", DATES),
    "split.time.t_test": ("2024-02-20", DATES),
    "split.time_at_once.train": (0.6, AT_ONCE),
    "split.time_at_once.validation": (0.2, AT_ONCE),
    "split.time_at_once.t_val": ("2024-01-20", (*AT_ONCE, *DATES)),
    "split.time_at_once.t_test": ("2024-02-20", (*AT_ONCE, *DATES)),
    "split.time.origins": (2, ()),
    "split.time.origin": (2, ("split.origins=2",)),
    "split.time.simulated_cold": (0.3, ()),
    "split.time.simulated_seed": (1, ("split.simulated_cold=0.3",)),
    "train.refit": (True, ()),
    "train.schedule": ("linear", (BATCHES,)),
    "split.random.train": (0.5, ("split=random", OFF)),
    "split.random.validation": (0.2, ("split=random", OFF)),
    "split.random.seed": (1, ("split=random", OFF)),
    "split.per_user.validation": (0.2, ("split=per_user", OFF)),
    "split.per_user.test": (0.2, ("split=per_user", OFF)),
    "split.per_user.seed": (1, ("split=per_user", OFF)),
    "trainer.precision": ("bf16-mixed", ()),
    "backbone.tiny.family": ("roberta", ()),
    "backbone.tiny.layers": (1, ()),
    "backbone.tiny.width": (32, ()),
    "backbone.tiny.heads": (4, ()),
    "backbone.tiny.pooling": ("cls", ()),
    "backbone.tiny.max_tokens": (16, ()),
    "backbone.tiny.seed": (1, ()),
    "backbone.scratch.family": ("roberta", ("backbone=scratch_bert", *SCRATCH, MASKED)),
    "backbone.scratch.layers": (2, (*GPT2, CAUSAL)),
    "backbone.scratch.width": (8, (*GPT2, CAUSAL)),
    "backbone.scratch.heads": (4, (*GPT2, CAUSAL)),
    "backbone.scratch.vocabulary": (540, (*GPT2, CAUSAL)),
    "backbone.scratch.pooling": ("mean", (*GPT2, CAUSAL)),
    "backbone.scratch.max_tokens": (16, (*GPT2, CAUSAL)),
    "pretrain.objective": ("off", (LOCAL, SCRATCH[0], "pretrain=contrastive")),
    "pretrain.epochs": (2, (*GPT2, CAUSAL)),
    "pretrain.max_steps": (1, (*GPT2, CAUSAL)),
    "pretrain.max_seconds": (1e-6, (*GPT2, CAUSAL)),
    "pretrain.lr": (1e-1, (*GPT2, CAUSAL)),
    "pretrain.batch_size": (8, (*GPT2, CAUSAL)),
    "pretrain.held_out": (0.4, (*GPT2, CAUSAL)),
    "pretrain.mask_share": (0.5, ("backbone=scratch_bert", *SCRATCH, MASKED)),
    "pretrain.temperature": (1.0, (*GPT2, "pretrain=contrastive")),
    "pretrain.items": (9, (*GPT2, "pretrain=item_to_item")),
    "backbone.random_vectors.width": (8, ("backbone=random_vectors",)),
    "backbone.random_vectors.seed": (1, ("backbone=random_vectors",)),
    "backbone.load.path": ("another", (LOCAL,)),
    "backbone.load.pooling": ("attention", (LOCAL,)),
    "backbone.load.keep_layers": ([0], (LOCAL,)),
    "backbone.load.max_tokens": (8, (LOCAL,)),
    "backbone.load.item_prefix": ("passage: ", (LOCAL,)),
    "backbone.load.query_prefix": ("query: ", (LOCAL,)),
    "backbone.load.dropout": (0.5, (LOCAL, FULL)),
    "backbone.load.runtime": ("openvino", (LOCAL,)),
    "strategy.top.layers": (2, ("strategy=top",)),
    "strategy.lora.rank": (2, ("strategy=lora",)),
    "strategy.lora.alpha": (64, ("strategy=lora",)),
    "strategy.lora.dropout": (0.5, ("strategy=lora",)),
    "strategy.lora.layers": (1, ("strategy=lora",)),
    "strategy.lora.targets": ("ffn", ("strategy=lora",)),
    "strategy.lora.use_rslora": (True, ("strategy=lora",)),
    "strategy.lora.use_dora": (True, ("strategy=lora",)),
    "strategy.lora.match_params": (500, ("strategy=lora",)),
    "strategy.adalora.rank": (4, (ADALORA, BATCHES)),
    "strategy.adalora.start": (3.0, (ADALORA, BATCHES)),
    "strategy.adalora.alpha": (64, (ADALORA, BATCHES)),
    "strategy.adalora.layers": (1, (ADALORA, BATCHES)),
    "strategy.adalora.targets": ("ffn", (ADALORA, BATCHES)),
    "strategy.adalora.tinit": (0.6, (ADALORA, BATCHES)),
    "strategy.adalora.tfinal": (0.8, (ADALORA, BATCHES)),
    "strategy.adalora.orthogonality": (5.0, (ADALORA, BATCHES)),
    "strategy.adalora.match_params": (500, (ADALORA, BATCHES)),
    "strategy.ia3.layers": (1, ("strategy=ia3",)),
    "strategy.adapter.variant": ("houlsby", ("strategy=adapter",)),
    "strategy.adapter.bottleneck": (4, ("strategy=adapter",)),
    "strategy.adapter.activation": ("relu", ("strategy=adapter",)),
    "strategy.adapter.layers": (1, ("strategy=adapter",)),
    "strategy.adapter.match_params": (500, ("strategy=adapter",)),
    "strategy.prefix.length": (4, ("strategy=prefix",)),
    "strategy.prefix.projection": (8, ("strategy=prefix",)),
    "strategy.prefix.layers": (1, ("strategy=prefix",)),
    "strategy.prefix.match_params": (500, ("strategy=prefix",)),
    "strategy.prompt.length": (4, ("strategy=prompt",)),
    "strategy.prompt.match_params": (500, ("strategy=prompt",)),
    "head.towers.width": (32, ()),
    "head.towers.history": (2, ()),
    "head.towers.user": ("mean", ()),
    "head.towers.user_layers": (2, ("head.user=transformer",)),
    "head.towers.user_heads": (1, ("head.user=transformer",)),
    "head.towers.context": ("off", ()),
    "head.towers.fusion": ("gate", ()),
    "head.towers.context_width": (4, ()),
    "head.towers.context_dropout": (0.5, ()),
    "head.towers.pseudo_query": (0.9, ()),
    "head.towers.dropout": (0.5, ()),
    "head.towers.delta": (0.5, ()),
    **{
        f"head.pair.{key}": (value, PAIR)
        for key, value in {
            "context": "off",
            "fusion": "gate",
            "context_width": 4,
            "context_dropout": 0.5,
            "pseudo_query": 0.9,
            "dropout": 0.5,
            "first_stage": "popularity",
            "rerank": 5,
        }.items()
    },
    **{
        f"head.causallm.{key}": (value, SPEAKS)
        for key, value in {
            "prompt": "{query} {history}",
            "pseudo_query": 0.9,
            "first_stage": "popularity",
            "rerank": 5,
        }.items()
    },
    "head.causallm.context": (
        "only",
        (*(o for o in FUSED if o != "strategy=lora"), "strategy=frozen"),
    ),
    "head.causallm.fusion": ("gate", FUSED),
    "head.causallm.context_width": (4, FUSED),
    "head.causallm.context_dropout": (0.5, FUSED),
    "head.pair.history": (1, (*PAIR, *LONG)),
    "head.causallm.history": (1, (*SPEAKS, *LONG)),
    "head.zeroshot.history": (2, ("head=zero_shot",)),
    "loss.sampledsoftmax.negatives": ("in_batch", ()),
    "loss.sampledsoftmax.draws": (8, ()),
    "loss.sampledsoftmax.label_smoothing": (0.2, ()),
    "loss.sampledsoftmax.ips": (0.1, ()),
    "loss.fullsoftmax.label_smoothing": (0.2, ("loss=full_softmax",)),
    "loss.fullsoftmax.ips": (0.1, ("loss=full_softmax",)),
    "loss.binarycrossentropy.negatives": ("popularity", (BINARY,)),
    "loss.binarycrossentropy.draws": (8, (BINARY,)),
    "loss.binarycrossentropy.label_smoothing": (0.2, (BINARY,)),
    "loss.binarycrossentropy.ips": (0.1, (BINARY,)),
    "loss.bpr.negatives": ("in_batch", (BPR,)),
    "loss.bpr.draws": (8, (BPR,)),
    "loss.bpr.ips": (0.1, (BPR,)),
    "loss.alphaentmax.alpha": (2.0, (ENTMAX,)),
    "loss.alphaentmax.negatives": ("in_batch", (ENTMAX,)),
    "loss.alphaentmax.draws": (8, (ENTMAX,)),
    "loss.alphaentmax.ips": (0.1, (ENTMAX,)),
    "loss.infonce.temperature": (0.5, (INFONCE,)),
    "loss.infonce.label_smoothing": (0.2, (INFONCE,)),
    "loss.infonce.ips": (0.1, (INFONCE,)),
    "dataset.simulated.half_lives_days": ([2.0, 20.0, 200.0], ()),
    "optim.adamw.lr": (1e-2, ()),
    "optim.adamw.body_lr": (1e-2, (FULL,)),
    "optim.adamw.weight_decay": (0.5, ()),
    "optim.adamw.betas": ([0.5, 0.9], (BATCHES,)),
    "optim.sgd.lr": (0.2, (SGD,)),
    "optim.sgd.body_lr": (0.2, (SGD, FULL)),
    "optim.sgd.weight_decay": (0.5, (SGD,)),
    "optim.sgd.momentum": (0.5, (SGD, BATCHES)),
}
"""Key -> its new value and the overrides under which it matters; it changes the scores of the
stream."""

OUTPUTS: dict[str, tuple[object, tuple[str, ...], str]] = {
    "train.epochs": (2, (), "validation"),
    "train.patience": (0, ("train.epochs=3",), "validation"),
    "train.validate": (False, ("train.refit=true",), "validation"),
    "evaluate.k": (5, (), "k"),
    "evaluate.shelf": (0, (), "shelf"),
    "evaluate.lists": (7, (), "lists"),
    "evaluate.queries": (
        300,
        ("dataset.users=90", "dataset.items=300", "dataset.events=2500"),
        "scores",
    ),
    "strategy.lora.stream_adapters": (
        2,
        (
            "strategy=lora",
            "online=adapter_per_update",
            "strategy.stream_adapters=1",
            "split.windows=4",
            "stages=[train,evaluate,online]",
        ),
        "online",
    ),
    "evaluate.k_shot": (
        [0, 1],
        ("stages=[train,evaluate,k_shot]", "evaluate.k_shot=[0,1,2]"),
        "shots",
    ),
    "evaluate.latency_requests": (0, (), "latency"),
    "split.time.windows": (3, (), "windows"),
    "split.time.window_days": (9.0, ("split.windows=null", "split.window_days=4"), "windows"),
    "split.time.edges": (
        ["2024-02-20"],
        ("split.windows=null", "split.edges=[2024-02-20,2024-02-25]"),
        "windows",
    ),
    "control.name": ("permuted_in_cohort", (), "axes"),
    "stages": (["train", "evaluate", "online"], (), "online"),
    "backbone.load.name": ("mine", (LOCAL,), "axes"),
    "backbone.load.released": ("2030-01", (LOCAL,), "checkpoint"),
}
"""Key -> its new value, the overrides under which it matters, and the output in which it shows."""

UPDATES = ("train.batch_size=16", "split.windows=2", "online=every_n", "online.trigger.n=40")
"""Updates of three steps: at the first one of an update no regulariser can be felt."""

PAGE_HINKLEY = (
    "online=on_drift", "online.trigger.detector=page_hinkley", "online.trigger.sensitivity=0.9", "online.trigger.n=1",
)  # fmt: skip
NONE_OF = ("online=any_of", *(f"online.trigger.{key}=null" for key in ("n", "days", "new_items")))
REPLAY = ("online/data=replay", "online.data.size=60")
GATED = ("online/gate=probe", "online.gate.epsilon=0", "online.probe=0.3", "online.lr_factor=1000")

OF_UPDATES: dict[str, tuple[object, tuple[str, ...]]] = {
    "online.label_delay_seconds": (3 * 86_400, ()),
    "online.latency_seconds": (86_400.0, ()),
    "online.latency_scale": (1e7, ()),
    "online.epochs": (2, ()),
    "online.max_steps": (1, ()),
    "online.lr_factor": (0.1, ()),
    "online.optimiser": ("keep", ()),
    "online.rate": ("constant", ("train.warmup=0.9",)),
    "online.probe": (0.3, ()),
    "online.trigger.everyn.n": (30, ()),
    "online.trigger.every.days": (3.0, ("online=every_day", "online.trigger.days=5.0")),
    "online.trigger.onnewitems.n": (3, ("online=on_new_items", "online.trigger.n=2")),
    "online.trigger.ondrift.detector": ("adwin", PAGE_HINKLEY),
    "online.trigger.ondrift.sensitivity": (1e-6, PAGE_HINKLEY),
    "online.trigger.ondrift.n": (60, PAGE_HINKLEY),
    "online.trigger.budget.n": (60, ("online=budget", "online.trigger.n=30")),
    "online.trigger.budget.updates_per_day": (0.1, ("online=budget", "online.trigger.n=30")),
    "online.trigger.budget.seconds_per_day": (
        1e-9,
        ("online=budget", "online.trigger.n=30", "online.trigger.updates_per_day=null", "dataset.days=3"),
    ),
    "online.trigger.anyof.n": (40, NONE_OF),
    "online.trigger.anyof.days": (4.0, NONE_OF),
    "online.trigger.anyof.new_items": (3, NONE_OF),
    "online.data.window.n": (30, ("online/data=window", "online.data.n=60")),
    "online.data.replay.keep": ("recency", REPLAY),
    "online.data.replay.size": (20, REPLAY),
    "online.data.replay.share": (0.2, REPLAY),
    "online.regulariser.l2toprevious.strength": (50.0, ("online/regulariser=l2_to_previous",)),
    "online.regulariser.ewc.strength": (1e4, ("online/regulariser=ewc",)),
    "online.regulariser.ewc.gamma": (0.1, ("online/regulariser=ewc", "online.regulariser.strength=1e4")),
    "online.regulariser.distill.strength": (5.0, ("online/regulariser=distill",)),
    "online.regulariser.distill.temperature": (3.0, ("online/regulariser=distill",)),
    "online.regulariser.peso.strength": (50.0, ("strategy=lora", "strategy.rank=2", "online/regulariser=peso")),
    "online.regulariser.ema.decay": (0.9, ("online/regulariser=ema",)),
    "online.regulariser.der.strength": (50.0, (*REPLAY, "online/regulariser=der")),
    "online.regulariser.der.size": (10, (*REPLAY, "online/regulariser=der")),
    "online.gate.probe.epsilon": (1.0, GATED),
}  # fmt: skip
"""Key of stage online -> its new value and the overrides, behind ``UPDATES``, under which it
matters; it changes what comes of the stage over one trained model."""

READERS: dict[str, dict[str, object]] = {
    "simulated": {
        "seed": 1, "users": 50, "items": 70, "events": 300, "topics": 4, "text_signal": 0.5, "language": "zh",
        "days": 30.0, "new_item_share": 0.2, "drift": 0.9, "popularity": 2.0, "queries": 0.5, "repeats": True,
    },
    "own": {
        "items": "other_items.csv", "interactions": "other_events.csv", "users": "users.csv", "name": "mine",
        "text": "{title}", "label": "grade", "positive_from": 3.0, "repeats": True, "released_at": "launch",
        "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0, "columns": {"user_id": "grade"},
        "actions": {str(grade): grade % 2 for grade in range(1, 6)}, "time_format": "ms", "released_format": "ms",
    },
    "atomic": {
        "root": "other", "name": "more", "text": "{about}", "profile": "{job}", "user": "visitor", "item": "thing",
        "time": "later", "label": "grade", "positive_from": 3.0, "repeats": True, "released_at": "launch",
        "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0, "groups": ["job"],
    },
    "lastfm_2k": {
        "root": "other", "text": "{tags}", "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,

    },
    "lastfm_1k": {
        "root": "other", "level": "track", "text": "by {artist}", "half_lives_days": [2.0, 20.0, 200.0],
        "item_ttl_days": 3.0,
    },
    "caixin": {
        "root": "other", "text": "《{headline}》", "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,

    },
    "mind": {
        "root": "other", "edition": "large", "language": "cmn", "text": "{title} | {category}",
        "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,
    },
    "ebnerd": {
        "root": "other", "edition": "demo", "text": "{title} | {category}", "half_lives_days": [2.0, 20.0, 200.0],
        "item_ttl_days": 3.0,
    },
    "adressa": {
        "root": "other", "text": "{title} | {category}", "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,

    },
    "movielens": {
        "root": "other", "positive_from": 3.0, "text": "{title}", "half_lives_days": [2.0, 20.0, 200.0],
        "item_ttl_days": 3.0,
    },
    "movielens_editions": {
        "edition": "20m", "root": "other", "positive_from": 3.0, "text": "{title}", "item_ttl_days": 3.0,
        "half_lives_days": [2.0, 20.0, 200.0],
    },
    "microlens": {
        "edition": "100k", "root": "other", "text": "video: {title}", "half_lives_days": [2.0, 20.0, 200.0],
        "item_ttl_days": 3.0,
    },
    "kuairec": {
        "root": "other", "matrix": "small", "positive_from": 0.5, "text": "{caption}", "item_ttl_days": 3.0,
        "half_lives_days": [2.0, 20.0, 200.0],
    },
    "online_retail": {
        "root": "other", "text": "{description}!", "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,

    },
    "amazon2023": {
        "root": "other", "category": "Books", "positive_from": 3.0, "text": "{title}",
        "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,
    },
    "amazon2018": {
        "root": "other", "category": "Books", "positive_from": 3.0, "text": "{title}",
        "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,
    },
    "hm": {
        "root": "other", "text": "{prod_name}", "half_lives_days": [2.0, 20.0, 200.0], "item_ttl_days": 3.0,

    },
}  # fmt: skip
"""Reader -> key -> its new value; it changes the data set."""

SLURM = (
    *("partition", "account", "qos", "constraint", "timeout_min", "cpus_per_task"),
    *("gpus_per_node", "mem_gb", "array_parallelism", "max_num_timeout"),
)

LAUNCHERS = {
    "process": ("workers", "memory_gb"),
    "joblib": ("workers",),
    "submitit_local": ("timeout_min", "cpus_per_task", "mem_gb"),
    "submitit_slurm": SLURM,
    "ray": ("address", "cpus", "gpus"),
}

EXCEPTIONS = {
    "output": "where run folders lie, not what a run is",
    "name": "what a run folder is called, not what a run is",
    "cache": "holds what can be computed anew",
    "trainer.accelerator": "another value needs a GPU",
    "trainer.devices": "tests/test_ddp.py: more processes give the same numbers",
    "trainer.threads": "speed only",
    "trainer.compile": "speed only: tests/models/test_backbone.py",
    "trainer.gradient_checkpointing": "memory only: tests/models/test_backbone.py",
    "trainer.graph_tokens": "memory only: tests/text/test_again.py",
    "trainer.port": "where processes meet",
    "evaluate.candidates": "needs lists as they were shown: tests/test_impressions.py",
    "evaluate.rivals": "stands beside baselines: tests/rivals/test_rivals.py",
    "published.source": "a label of the report: tests/report/test_published.py",
    "published.values": "a label of the report: tests/report/test_published.py",
    "tuning.keys": "a label of the report: tests/report/test_notes.py",
    "tuning.trials": "a label of the report: tests/report/test_notes.py",
    "tuning.sampler": "a label of the report: tests/report/test_notes.py",
    "tuning.space": "a label of the report: tests/report/test_notes.py",
    "tuning.pruner": "a label of the report: tests/report/test_notes.py",
    "tags": "words to find a run by: tests/experiment/test_tracked.py",
    "debug.name": "what a run is called: tests/config/test_debug.py",
    "debug.falls_to": "refuses or does nothing: tests/experiment/test_debug.py",
    "debug.profile": "a file more: tests/experiment/test_debug.py",
    "control.replaces": "acts while composing: tests/test_config.py",
    "backbone.load.hub": "a place where the same files may be: tests/test_config.py",
    "backbone.load.revision": "goes with hub",
    "backbone.load.package": "a place where the same files may be: tests/test_config.py",
    "backbone.load.sha256": "refuses or does nothing: tests/test_config.py",
    "dataset.movielens.source": "the same events from another place: tests/data/test_movielens.py",
    **{
        f"dataset.{reader}.cache": "holds what can be read anew"
        for reader in READERS
        if reader not in ("own", "simulated")
    },
    "online.save_updates": "what is gone on from: tests/experiment/test_online.py",
    "online.save_seconds": "the same, by the clock",
    "dataset.own.groups": "needs dataset.users: tests/data/test_own.py",
    **{
        f"dataset.own.{key}": "needs tables of another kind: tests/data/test_mistakes.py"
        for key in ("unlisted_items", "day_first", "encoding", "separator", "sheet")
    },
    "release_slot": "acts on the world: tests/data/canonical/test_grid_runs.py",
    "plugins": "lets options of other packages be named: tests/examples/test_plugin.py",
    **{
        f"launcher.{launcher}.{key}": "who carries out a sweep: tests/commands/test_launch.py"
        for launcher, keys in LAUNCHERS.items()
        for key in keys
    },
    **{
        f"logger.{key}": "who is told of a run, and how: tests/experiment/test_tracked.py"
        for key in (
            *("group", "job_type", "figures", "log_model"),
            *("wandb.project", "wandb.entity", "wandb.mode"),
            *("mlflow.tracking_uri", "mlflow.experiment"),
        )
    },
}
"""Key -> why no output has to change."""


def all_keys() -> Iterator[str]:
    """``train.epochs``, ``optim.adamw.lr``, ``dataset.own.items``: things by the name of their
    target."""
    for name, field in fields_of_dataclass(RunConfig).items():
        if field.annotation == Node:
            yield from keys_of_things(name)
        elif is_dataclass(field.annotation):
            for key, inner in fields_of_dataclass(cast(type, field.annotation)).items():
                if inner.annotation == Node:
                    yield from keys_of_things(f"{name}/{key}")
                else:
                    yield f"{name}.{key}"
            if field.annotation is Logging:
                yield from keys_of_things(name)
        else:
            yield name


def keys_of_things(group: str) -> Iterator[str]:
    for option in list_options()[group]:
        target = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())["_target_"]
        place = f"{group.replace('/', '.')}.{short(target)}"
        yield from (f"{place}.{key}" for key in fields_of(target))


def short(target: str) -> str:
    module, _, name = target.rpartition(".")
    return module.rpartition(".")[2] if module.startswith("coldlm.data.") else name.lower()


def test_every_key_has_its_line() -> None:
    of_readers = {f"dataset.{reader}.{key}" for reader, keys in READERS.items() for key in keys}
    tables: list[set[str]] = [
        set(SCORES),
        set(OUTPUTS),
        set(OF_UPDATES),
        of_readers,
        set(EXCEPTIONS),
    ]
    assert set.union(*tables) == set(all_keys())
    assert sum(map(len, tables)) == len(set.union(*tables))


Observe = Callable[[RunConfig], dict[str, object]]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders with a small BERT each, "one" and "another"."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for seed, name in enumerate(("one", "another")):
        backbone = tiny(family="bert", width=16, max_tokens=32, seed=seed)
        backbone.model.save_pretrained(folder / name)
        backbone.tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture
def observe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Observe:
    """Run a configuration without the baselines, and gather what keys may show in."""
    monkeypatch.setattr("coldlm.experiment.stages.evaluate.judge_baselines", lambda *_: None)
    monkeypatch.setattr(
        Evaluation, "meter_leaks", lambda *_: {"leaks": {}, "dropped": 0, "others_would_drop": {}}
    )
    monkeypatch.setattr(process, "_commit", lambda: None)  # two processes
    folders = (tmp_path / str(i) for i in itertools.count())

    def observe(config: RunConfig) -> dict[str, object]:
        check(config.plain())
        folder = execute(replace(config, output=str(next(folders))), "run")
        events = pl.read_parquet(folder / "events.parquet").filter(scorer=MODEL)
        said = json.loads((folder / "manifest.json").read_text())
        shots, lists = folder / "k_shot.parquet", folder / "lists.parquet"
        return {
            "scores": events.filter(schedule="history")["score"].to_list(),
            "online": events.filter(~pl.col("schedule").is_in(WITHOUT_UPDATES))["score"].to_list(),
            "windows": events["window"].n_unique(),
            "k": sorted(set(pl.read_parquet(folder / "results.parquet")["k"])),
            "shots": sorted(set(pl.read_parquet(shots)["shots"])) if shots.exists() else [],
            "validation": len(next(iter(said["validation"].values()))),
            "shelf": int(events["on_shelf"].sum()),
            "lists": pl.read_parquet(lists)["query"].n_unique() if lists.exists() else 0,
            "latency": sorted(said["latency_ms"]),
            "axes": said["axes"],
            "checkpoint": said["checkpoint"],
        }

    return observe


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the events are written: where scores are all that is looked at, averages need not be
    made."""

    def write(record: Record, stage: str, frame: pl.DataFrame, known: object = None) -> None:
        frame.write_parquet(record.folder / "events.parquet")
        pl.DataFrame({"k": [record.k]}).write_parquet(record.folder / "results.parquet")

    monkeypatch.setattr(Record, "write_events", write)


Before = Callable[..., tuple[RunConfig, dict[str, object]]]


@pytest.fixture(scope="module")
def known() -> dict[tuple[str, ...], tuple[RunConfig, dict[str, object]]]:
    """Runs that were observed already."""
    return {}


@pytest.fixture
def before(
    config: MakeConfig,
    observe: Observe,
    checkpoints: Path,
    known: dict[tuple[str, ...], tuple[RunConfig, dict[str, object]]],
    request: pytest.FixtureRequest,
) -> Before:
    """``before("strategy=lora")``: the configuration that the overrides make, and what was observed
    of it."""

    def before(*overrides: str) -> tuple[RunConfig, dict[str, object]]:
        name = ("light", *overrides) if "light" in request.fixturenames else overrides
        if name not in known:
            path = (
                [f"backbone.path={checkpoints / 'one'}", "backbone.max_tokens=32"]
                if LOCAL in overrides
                else []
            )
            settled = config("train.refit=false", "stages=[train,evaluate]", *overrides, *path)
            known[name] = settled, observe(settled)
        return known[name]

    return before


def change(config: RunConfig, key: str, value: object) -> RunConfig:
    values = config.plain()
    group, _, last = key.rpartition(".")
    steps = group.split(".") if group else []
    # the last step is the name of a thing, or the only one
    owner = values
    for step in steps[: max(1, len(steps) - 1)]:
        owner = owner[step]
    assert owner[last] != value
    owner[last] = value
    return typed(values)


SECONDS_EACH = ("head.pair", "head.causallm", "backbone.scratch", "pretrain.", "strategy.adalora")
"""Keys of heads that read pairs, and of what is pre-trained: tried by hand."""


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(k, marks=[pytest.mark.long] if k.startswith(SECONDS_EACH) else [])
        for k in SCORES
    ],
)
@pytest.mark.usefixtures("light")
def test_a_key_changes_the_scores(
    key: str, before: Before, observe: Observe, checkpoints: Path
) -> None:
    value, overrides = SCORES[key]
    if key == "backbone.load.path":
        value = str(checkpoints / str(value))
    settled, seen = before(*overrides)
    assert observe(change(settled, key, value))["scores"] != seen["scores"]


@pytest.mark.parametrize("key", OUTPUTS)
def test_a_key_changes_the_output_it_is_for(key: str, before: Before, observe: Observe) -> None:
    value, overrides, shown = OUTPUTS[key]
    settled, seen = before(*overrides)
    assert observe(change(settled, key, value))[shown] != seen[shown]


IN_PASSING = (
    "online.label_delay_seconds",
    "online.latency_seconds",
    "online.probe",
    "online.lr_factor",
)
"""Keys that are tried each time; of the others small cases in tests/online show that they act."""


@pytest.fixture(scope="module")
def known_updates() -> dict[tuple[str, ...], tuple[RunConfig, dict[str, object]]]:
    """Stages that were observed already."""
    return {}


@pytest.mark.parametrize(
    "key",
    [pytest.param(k, marks=[] if k in IN_PASSING else [pytest.mark.long]) for k in OF_UPDATES],
)
@pytest.mark.usefixtures("light")
def test_a_key_changes_what_comes_of_updates(
    key: str,
    config: MakeConfig,
    over_trained: Callable[..., Path],
    known_updates: dict[tuple[str, ...], tuple[RunConfig, dict[str, object]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    none = {"leaks": {}, "dropped": 0, "others_would_drop": {}}
    monkeypatch.setattr(Evaluation, "meter_leaks", lambda *_: none)
    monkeypatch.setattr(process, "_commit", lambda: None)  # two processes
    value, overrides = OF_UPDATES[key]

    def observe(settled: RunConfig, name: str) -> dict[str, object]:
        check(settled.plain(), Path(settled.output))
        folder = over_trained(settled, name, "lora" if "strategy=lora" in overrides else "frozen")
        frames = {
            name: pl.read_parquet(folder / f"{name}.parquet")
            for name in ("events", "updates", "probes")
        }
        updates = frames["updates"].drop(
            "seconds", "train_seconds", "encode_seconds", "peak_memory_mb"
        )
        return {
            "scores": frames["events"]["score"].to_list(),
            "updates": updates.to_dicts(),
            "probes": frames["probes"].to_dicts(),
        }

    if overrides not in known_updates:
        has_trigger = any(override.startswith("online=") for override in overrides)
        usual = UPDATES[:2] if has_trigger else UPDATES
        settled = config("train.refit=false", *usual, *overrides)
        Path(settled.output).mkdir(exist_ok=True)
        known_updates[overrides] = settled, observe(settled, "before")
    settled, seen = known_updates[overrides]
    found = observe(change(settled, key, value), key)
    assert found != seen
    # what is not about when, or what is kept back, is felt in the scores
    assert found["scores"] != seen["scores"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("group", "options"),
    [
        ("strategy", tuple(list_options()["strategy"])),
        (
            "loss",
            (
                "sampled_softmax",
                "full_softmax",
                "alpha_entmax",
                "binary_cross_entropy",
                "bpr",
                "infonce",
                "nll",
            ),
        ),
        ("head", ("towers", "pair", "causal_lm", "zero_shot")),
        ("optim", ("adamw", "sgd")),
        ("backbone", ("tiny_bert", "tiny_roberta", "tiny_gpt2", "random_vectors")),
    ],
)
@pytest.mark.usefixtures("light")
def test_every_option_gives_scores_of_its_own(
    group: str, options: tuple[str, ...], before: Before
) -> None:
    assert group == "backbone" or set(options) == set(list_options()[group])
    scores = [before(*NEEDED.get(option, [f"{group}={option}"]))[1]["scores"] for option in options]
    assert all(left != right for i, left in enumerate(scores) for right in scores[:i])


# --- readers ----------------------------------------------------------------------------------------------------------


def write_videos(folder: Path, shift: int) -> None:
    """The files of MicroLens and KuaiRec: 2 users, 10 videos each."""
    seen = [
        (u, i, 1_600_000_000 + 90_000 * i + u, (i + shift) % 5)
        for i in range(1, 11)
        for u in (1, 2)
    ]
    pairs = "user,item,timestamp\n" + "".join(f"{u},{i},{at + shift}\n" for u, i, at, _ in seen)
    for edition in ("50k", "100k"):
        (folder / f"MicroLens-{edition}_pairs.csv").write_text(pairs)
    (folder / "titles.csv").write_text(
        "item,title\n" + "".join(f"{i},Video {i}\n" for i in range(1, 11))
    )
    views = [f"{u},{i},{at},{ratio}\n" for u, i, at, ratio in seen]
    for matrix, rows in (("big", views), ("small", views[:0:-1] + views[1:2])):
        (folder / f"{matrix}_matrix.csv").write_text(
            "user_id,video_id,timestamp,watch_ratio\n" + "".join(rows)
        )
    names = ",".join(f"{level}_level_category_name" for level in ("first", "second", "third"))
    captions = "".join(f"{i},UNKNOWN,视频{i},[],生活,UNKNOWN,UNKNOWN\n" for i in range(1, 11))
    text = f"video_id,manual_cover_text,caption,topic_tag,{names}\n{captions}"
    (folder / "kuairec_caption_category.csv").write_text(text, encoding="utf-8")


def write_music_and_news(folder: Path, shift: int) -> None:
    """Raw files of every data set of music and news: 20 events each; ``shift`` tells folders
    apart."""
    pairs = [(u, i, 1_300_000_000 + 90_000 * (i + shift) + u) for u in (1, 2) for i in range(1, 11)]
    (folder / "artists.dat").write_text(
        "id\tname\turl\tpictureURL\n" + "".join(f"{i}\tArtist {i}\t\t\n" for i in range(1, 11))
    )
    (folder / "tags.dat").write_text("tagID\ttagValue\n1\trock\n2\tfolk\n")
    (folder / "user_taggedartists.dat").write_text(
        "userID\tartistID\ttagID\tday\tmonth\tyear\n"
        + "".join(f"{u}\t{i}\t{1 + i % 2}\t1\t{i}\t{2006 + u + shift}\n" for u, i, _ in pairs)
    )

    def iso(time: int) -> str:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}"

    (folder / "userid-timestamp-artid-artname-traid-traname.tsv").write_text(
        "".join(f"user_{u}\t{iso(t - 10**8)}\t\tArtist {i % 5}\t\tTrack {i}\n" for u, i, t in pairs)
    )
    (folder / "clicks.tsv").write_text(
        "".join(f"{u}\t{i}\t{t}\t第{i}条\t1\n" for u, i, t in pairs), encoding="utf-8"
    )
    (folder / "20170101").write_text(
        "".join(
            json.dumps(
                {
                    "userId": f"u{u}",
                    "id": f"n{i}",
                    "time": t,
                    "title": f"Sak {i}",
                    "category1": "sport",
                }
            )
            + "\n"
            for u, i, t in pairs
        )
    )
    for edition, more in (("small", 0), ("large", 1)):
        for part in ("train", "dev"):
            (folder / f"MIND{edition}_{part}").mkdir(exist_ok=True)
            (folder / f"MIND{edition}_{part}" / "news.tsv").write_text(
                "".join(f"N{i}\tsport\tgolf\tNews {i}\tAbout\t\t[]\t[]\n" for i in range(1, 12))
            )
            (folder / f"MIND{edition}_{part}" / "behaviors.tsv").write_text(
                "".join(
                    f"{n}\tU{u}\t{datetime.fromtimestamp(t + more, UTC):%m/%d/%Y %I:%M:%S %p}\t\tN{i}-1 N11-0\n"
                    for n, (u, i, t) in enumerate(pairs)
                )
            )
    (folder / "xMINDsmall" / "cmn").mkdir(parents=True, exist_ok=True)
    (folder / "xMINDsmall" / "cmn" / "news.tsv").write_text(
        "nid\ttitle\tabstract\nN1\t新闻\t\n", encoding="utf-8"
    )
    for edition, more in (("small", 0), ("demo", 1)):
        write_ebnerd(folder / f"ebnerd_{edition}", [(u, i, t + more) for u, i, t in pairs])


def write_ebnerd(folder: Path, pairs: list[tuple[int, int, int]]) -> None:
    users, items, seconds = (list(column) for column in zip(*pairs, strict=True))
    times = [datetime.fromtimestamp(time, UTC).replace(tzinfo=None) for time in seconds]
    lists = [[item] for item in items]
    for part in ("train", "validation"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        behaviors = {
            "user_id": users,
            "impression_time": times,
            "article_ids_inview": lists,
            "article_ids_clicked": lists,
        }
        pl.DataFrame(behaviors).write_parquet(folder / part / "behaviors.parquet")
        history = {
            "user_id": users,
            "article_id_fixed": lists,
            "impression_time_fixed": [[time] for time in times],
        }
        pl.DataFrame(history).write_parquet(folder / part / "history.parquet")
    texts = {"subtitle": "Mere", "body": "", "category_str": "sport", "published_time": times[0]}
    articles = pl.DataFrame(
        {"article_id": range(1, 11), "title": [f"Artikel {i}" for i in range(1, 11)]}
    )
    articles.with_columns(
        *(pl.lit(value).alias(name) for name, value in texts.items()),
        topics=pl.lit([], pl.List(pl.String)),
    ).write_parquet(folder / "articles.parquet")


@pytest.fixture
def nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """A working configuration node of every reader; files lie in the working directory."""
    monkeypatch.chdir(tmp_path)
    items = "item_id,title,about,launch,released_at\n" + "".join(
        f"i{i},title {i},about {i},{i * 3600},{i * 7200}\n" for i in range(6)
    )
    (tmp_path / "items.csv").write_text(items)
    (tmp_path / "other_items.csv").write_text(items.replace("about", "all about"))
    rows = [f"u{e % 5},i{e % 6},{100_000 + e * 3600},{1 + e % 5},{e % 2}\n" for e in range(30)]
    (tmp_path / "events.csv").write_text("user_id,item_id,timestamp,label,grade\n" + "".join(rows))
    (tmp_path / "other_events.csv").write_text(
        "user_id,item_id,timestamp,label,grade\n" + "".join(rows[1:])
    )
    (tmp_path / "users.csv").write_text("user_id,about\nu1,likes tea\n")
    monkeypatch.setattr(movielens, "N_RATINGS", 20)
    monkeypatch.setattr(movielens, "N_USERS", 2)
    for name, shift in ((".", 0), ("other", 1)):
        (tmp_path / name).mkdir(exist_ok=True)
        films = "".join(f"{i},Film {i} (20{10 + i}),Comedy|Drama\n" for i in range(1, 11))
        (tmp_path / name / "movies.csv").write_text("movieId,title,genres\n" + films)
        ratings = "".join(
            f"{u},{i},{1 + (i + shift) % 5}.0,{1_300_000_000 + 90_000 * i + u}\n"
            for u in (1, 2)
            for i in range(1, 11)
        )
        (tmp_path / name / "ratings.csv").write_text("userId,movieId,rating,timestamp\n" + ratings)
        write_videos(tmp_path / name, shift)
        write_music_and_news(tmp_path / name, shift)
        write_retail(tmp_path / name, shift)
        write_amazon(tmp_path / name, shift)
        write_hm(tmp_path / name, shift)
        write_atomic(tmp_path / name, shift)
    monkeypatch.setattr(kuairec, "N_VIEWS", {"big_matrix.csv": 20, "small_matrix.csv": 20})
    for edition in ("25m", "20m"):
        known = replace(EDITIONS[edition], ratings=20, users=2, films=10)
        monkeypatch.setitem(EDITIONS, edition, known)
    given = {
        "simulated": {"users": 40, "items": 60, "events": 600},
        "own": {"items": "items.csv", "interactions": "events.csv"},
        "atomic": {"root": ".", "name": "toy"},
        "movielens": {"root": "."},
        "movielens_editions": {"root": "."},
        "microlens": {"root": "."},
        "kuairec": {"root": "."},
        **{
            reader: {"root": "."}
            for reader in ("lastfm_2k", "lastfm_1k", "caixin", "mind", "ebnerd", "adressa")
        },
        **{reader: {"root": "."} for reader in ("online_retail", "amazon2023", "amazon2018", "hm")},
    }
    return {
        reader: {"_target_": f"coldlm.data.{reader}.load"}
        | {key: field.default for key, field in fields_of(f"coldlm.data.{reader}.load").items()}
        | keys
        for reader, keys in given.items()
    }


def write_retail(root: Path, shift: int) -> None:
    """Thirty lines of six products whose description never changes; ``shift`` makes others."""
    (root / "online_retail_ii").mkdir()
    lines = "".join(
        f"{e:06d},1000{e % 6},Lamp {e % 6},1,2010-01-{1 + (e + shift) // 2:02d} "
        f"12:00:00,2.5,{13000 + e % 5},France\n"
        for e in range(30)
    )
    header = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
    (root / "online_retail_ii" / "retail.csv").write_text(header + lines)


def write_amazon(root: Path, shift: int) -> None:
    """Both editions, two categories each."""
    for edition in ("amazon2018", "amazon2023"):
        (root / edition).mkdir()
    for more, category in enumerate(("All_Beauty", "Books")):
        rows = [
            (f"B00000000{e % 6}", f"A{e % 5}", 1 + (e + shift + more) % 5, 1_500_000_000 + 3600 * e)
            for e in range(30)
        ]
        new = "".join(f"{user},{item},{stars},{time}000\n" for item, user, stars, time in rows)
        (root / "amazon2023" / f"{category}.csv").write_text(
            "user_id,parent_asin,rating,timestamp\n" + new
        )
        old = "".join(f"{item},{user},{stars},{time}\n" for item, user, stars, time in rows)
        (root / "amazon2018" / f"{category}.csv").write_text(old)
        for edition, key, several, end in (
            ("amazon2018", "asin", "category", "json"),
            ("amazon2023", "parent_asin", "categories", "jsonl"),
        ):
            meta = [
                {key: f"B00000000{i}", "title": f"Soap {i}", several: ["Bath", f"Kind {i}"]}
                for i in range(6)
            ]
            (root / edition / f"meta_{category}.{end}").write_text(
                "".join(json.dumps(row) + "\n" for row in meta)
            )


def write_atomic(root: Path, shift: int) -> None:
    """Two sets of one folder, whose events have further users, items and times in other fields."""
    fields = "user_id visitor item_id thing timestamp:float later:float label:float grade:float"
    for name, more in (("toy", 0), ("more", 1)):
        rows = [
            f"u{e % 5}\tu{(e + 1) % 5}\ti{e % 6}\ti{(e + 1) % 6}\t{100_000 + 3600 * e}\t"
            f"{100_001 + 3600 * e}\t{1 + (e + shift + more) % 5}\t{e % 2}\n"
            for e in range(30)
        ]
        head = "\t".join(f if ":" in f else f"{f}:token" for f in fields.split())
        (root / f"{name}.inter").write_text(head + "\n" + "".join(rows))
        items = [f"i{i}\ti{5 - i}\tThing {i}\tsaid of {i}\t{3600 * i}\n" for i in range(6)]
        head = "item_id:token\tthing:token\ttitle:token_seq\tabout:token_seq\tlaunch:float\n"
        (root / f"{name}.item").write_text(head + "".join(items))
        users = [f"u{u}\tu{4 - u}\tjob {u}\n" for u in range(5)]
        head = "user_id:token\tvisitor:token\tjob:token_seq\n"
        (root / f"{name}.user").write_text(head + "".join(users))


def write_hm(root: Path, shift: int) -> None:
    (root / "hm").mkdir()
    articles = [
        f"010000000{i}," + ",".join(f"{name} {i}" for name in hm.FIELDS) + "\n" for i in range(6)
    ]
    header = "article_id," + ",".join(hm.FIELDS) + "\n"
    (root / "hm" / "articles.csv").write_text(header + "".join(articles))
    lines = [
        f"2019-01-{1 + (e + shift) // 2:02d},c{e % 5},010000000{e % 6},0.05,2\n" for e in range(30)
    ]
    header = "t_dat,customer_id,article_id,price,sales_channel_id\n"
    (root / "hm" / "transactions_train.csv").write_text(header + "".join(lines))


@pytest.mark.parametrize(
    ("reader", "key"), [(reader, key) for reader, keys in READERS.items() for key in keys]
)
def test_a_key_of_a_reader_changes_the_data(
    reader: str, key: str, nodes: dict[str, dict[str, Any]], config: MakeConfig
) -> None:
    def read(node: dict[str, Any]) -> str:
        split = {
            "_target_": "coldlm.split.cuts.time",
            "train": 0.6,
            "validation": 0.2,
            "windows": 1,
        }
        data = make_world(replace(config(), dataset=node, split=split)).data
        return json.dumps(
            {**asdict(data), "hashes": {}, "texts_as_of": None},
            default=lambda array: array.tolist(),
        )

    node = nodes[reader]
    assert node[key] != READERS[reader][key]
    assert read(node) != read({**node, key: READERS[reader][key]})


def test_lists_may_be_ranked_where_the_reader_gives_some_and_nowhere_else(
    nodes: dict[str, dict[str, Any]],
) -> None:
    with_lists = {
        node["_target_"] for node in nodes.values() if build(node).impressions is not None
    }
    assert with_lists == {option.target for option in every(Reader) if option.has_lists}
