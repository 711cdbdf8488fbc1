"""What a configuration makes: the data cut in time, and an encoder of its texts. ``experiment/model.py`` makes the model."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.config.check import build
from coldlm.config.schema import EXTRA
from coldlm.core.errors import ConfigError
from coldlm.core.progress import progress
from coldlm.core.seeding import torch_seed
from coldlm.core.tables import HELD_OUT, STREAM, TRAIN, VALIDATION, Bools, Dataset, Ints, Log, Queries, Split
from coldlm.data.canonical.control import permute_texts
from coldlm.data.canonical.grid import on_grid
from coldlm.models.backbone import RandomVectors
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.split.queries import ask, ask_lists, cold, draw
from coldlm.split.simulated_cold import hold_out
from coldlm.text.encode import RandomEncoder, TextEncoder

log = logging.getLogger("coldlm")

UNKNOWN_TOKENS = 0.05
"""Share of tokens unknown to the tokenizer from which a warning is due."""


@dataclass(frozen=True)
class World:
    """The data, its cuts, and everything that is known as of a time. ``validation``, ``stream``: queries. ``meets_at``:
    [N] the first second at which a query may meet each item: when it enters the catalogue or, where lists are ranked,
    is shown if that is earlier."""

    data: Dataset
    split: Split
    catalogue: Catalogue
    meets_at: Ints
    as_of: AsOf
    validation: Queries
    stream: Queries
    cold_users: Bools
    cold_items: Bools

    def entered_by(self, time: int) -> Bools:
        """[N] items that were candidates at some time before ``time``."""
        return self.catalogue.enters_at < time

    def knowing(self, known: Bools) -> World:
        """This world to somebody who knows of the events ``known`` alone, [E] bool: the log, what is counted and
        remembered, and what users had. Items enter when they do. It asks nothing: rows of queries are the whole log's.
        """
        log = self.data.log.rows(known)
        return replace(
            self,
            data=replace(self.data, log=log),
            split=replace(self.split, part=self.split.part[known]),
            catalogue=self.catalogue.knowing(log),
            as_of=_remember(self.data, self.catalogue, log),
            validation=self.validation.slice(0, 0),
            stream=self.stream.slice(0, 0),
        )

    def memory_of_the_past(self) -> AsOf:
        """An ``AsOf`` that remembers the events of train + validation only."""
        return _remember(self.data, self.catalogue, self.data.log.rows(self.split.rows(TRAIN, VALIDATION)))


def read_data(config: Mapping[str, Any]) -> Dataset:
    """The data set as its reader gives it.

    Raises:
        DataError: bad files.
    """
    data: Dataset = build({key: value for key, value in config["dataset"].items() if key not in EXTRA["dataset"]})
    return data


def cut(config: Mapping[str, Any], data: Dataset) -> Split:
    """The data set's split.

    Raises:
        DataError: too little data for it.
    """
    node = {key: value for key, value in config["split"].items() if key != "refit"}
    split: Split = build(node, data.log, data.log_starts_at)
    return split


def make_world(config: Mapping[str, Any]) -> World:
    """Read the data and cut it.

    Raises:
        ConfigError: lists are to be ranked and the data holds none.
        DataError: bad files, or too little data for the split.
    """
    data, candidates = read_data(config), config["evaluate"]["candidates"]
    lists = data.impressions if candidates == "impression" else None
    if candidates == "impression" and lists is None:
        raise ConfigError(f"evaluate.candidates=impression: {data.name} holds no lists; use evaluate.candidates=full")
    split = cut(config, data)
    if slot := config["dataset"]["release_slot"]:
        data = on_grid(data, slot, split.rows(TRAIN))
        log.info("items without a release time enter with the slot of their first event: %s seconds", data.slot)
    if (split.part == HELD_OUT).any():
        data, split = hold_out(data, split)
        log.info("SIMULATED: some items that were taken before T_test are held out of the past, as if they were new")
    catalogue = Catalogue(data)
    meets_at = catalogue.enters_at.copy()
    if lists is not None:
        np.minimum.at(meets_at, lists.item, lists.time[lists.owner])
    # a text that changes is frozen before the first query that may meet it
    first_query = data.log.time[split.rows(VALIDATION, STREAM)[0]]
    data = data.with_texts_as_of(np.maximum(meets_at, first_query), catalogue.enters_at)
    if config["dataset"]["permute_text"]:
        data = permute_texts(data, config["seed"])
    cold_users, cold_items = cold(data, split)

    def queries(rows: Ints, edges: Ints | None = None) -> Queries:
        if lists is None:
            return ask(data.log, catalogue, rows, edges)
        return ask_lists(data.log, lists, rows, edges)

    return World(
        data=data,
        split=split,
        catalogue=catalogue,
        meets_at=meets_at,
        as_of=_remember(data, catalogue, data.log),
        validation=draw(queries(split.rows(VALIDATION)), config["evaluate"]["queries"]),
        stream=draw(queries(split.rows(STREAM), split.edges), config["evaluate"]["queries"]),
        cold_users=cold_users,
        cold_items=cold_items,
    )


def make_backbone(config: Mapping[str, Any]) -> Any:
    """The backbone under its strategy, or ``RandomVectors``.

    Raises:
        CheckpointError: no usable backbone.
        ConfigError: a strategy that does not fit the backbone.
    """
    backbone = build(config["backbone"])
    if isinstance(backbone, RandomVectors):
        return backbone
    assert isinstance(backbone, Backbone)
    try:
        with torch_seed(config["seed"], "strategy"):
            backbone = build(config["strategy"], backbone)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if backbone.matched:
        log.info("strategy.match_params chose %s", backbone.matched)
    if not backbone.is_frozen:
        if config["trainer"]["gradient_checkpointing"] and backbone.stages == 1:
            raise ConfigError(
                f"trainer.gradient_checkpointing=true: backbone {backbone.name!r} is run as one stage, whose layers "
                "cannot be recomputed one by one; set it to false"
            )
        backbone.checkpointing = config["trainer"]["gradient_checkpointing"]
        if config["trainer"]["compile"]:
            backbone.compile_layers()
    return backbone


def untrained(config: Mapping[str, Any], world: World) -> Any:
    """The encoder of the untouched backbone. Its strategy is frozen, so what it computes is kept for all runs."""
    frozen = {"_target_": "coldlm.models.strategy.frozen"}
    return make_encoder(config, world, make_backbone({**config, "strategy": frozen}))


def make_encoder(config: Mapping[str, Any], world: World, backbone: Any) -> Any:
    """What turns item codes and texts into vectors, the frozen part of the backbone computed."""
    items = world.data.items
    if isinstance(backbone, RandomVectors):
        return RandomEncoder(len(items), width=backbone.width, seed=backbone.seed)
    order: Ints = np.argsort(world.meets_at, kind="stable")
    log.info("encoding %d item texts with %s", len(items), backbone.name)
    texts, source = items.texts, world.data.text_source
    if source is not None:
        # encode the texts where they came from: the vectors are those of the run without the control
        texts = tuple(items.texts[i] for i in np.argsort(source))
    with progress("encoding", len(items)) as done:
        encoder = TextEncoder(backbone, texts, order, row=source, cache=Path(config["cache"]), on_block=done)
    tokens = encoder.tokens
    log.info(
        "%.1f tokens a text; %d tokens lost in texts longer than %d",
        tokens.lengths.mean(),
        tokens.lost,
        backbone.max_tokens,
    )
    if tokens.unknown > UNKNOWN_TOKENS:
        log.warning(
            "%.0f %% of the tokens are unknown to the tokenizer of %s: is it a model of this language?",
            100 * tokens.unknown,
            backbone.name,
        )
    return encoder


def _remember(data: Dataset, catalogue: Catalogue, known: Log) -> AsOf:
    sizes = len(data.users), len(data.items)
    return AsOf(known, *sizes, catalogue.enters_at, data.half_lives_days, catalogue.masked_until)
