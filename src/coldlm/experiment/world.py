"""What a configuration makes of its data: the log, cut in time, and what is asked of it."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf, visible_before
from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core.columns import PERMUTED, PERMUTED_IN_COHORT, PERMUTED_QUERY, PERMUTED_TEXT
from coldlm.core.errors import ConfigError
from coldlm.core.tables import (
    AFTERWARDS,
    HELD_OUT,
    STREAM,
    TRAIN,
    VALIDATION,
    Bools,
    Dataset,
    Ints,
    Log,
    Parts,
    Queries,
    Split,
)
from coldlm.data.canonical.control import anywhere, with_queries_permuted, within_cohorts
from coldlm.data.canonical.few import of_few_users
from coldlm.data.canonical.grid import on_grid
from coldlm.split.at_once import move
from coldlm.split.queries import ask, ask_lists, cold, draw, on_probe, seen_queries
from coldlm.split.simulated_cold import hold_out

log = logging.getLogger("coldlm")


@dataclass(frozen=True)
class World:
    """The data, its cuts, and everything that is known as of a time. ``validation``, ``stream``:
    queries. ``delay``: seconds from an event to when its label is known. ``probe``: [E] events that
    nothing trains on. ``seen_query``: [E] whether what was typed had been typed before T_test, see
    ``columns.QUERY_SEEN``; None where the data have no such texts. ``meets_at``: [N] the first second at
    which a query may meet each item: when it enters the catalogue or, where lists are ranked, is shown if
    that is earlier."""

    data: Dataset
    split: Split
    catalogue: Catalogue
    meets_at: Ints
    as_of: AsOf
    validation: Queries
    stream: Queries
    cold_users: Bools
    cold_items: Bools
    delay: int
    probe: Bools
    seen_query: Parts | None = None

    def visible(self, rows: Ints, time: int) -> Ints:
        """Return those of the log's ``rows`` that may be learned from at ``time``: known then, and not
        ``waiting``."""
        known, masked = self._known(rows, time)
        return rows[known & ~masked]

    def waiting(self, rows: Ints, time: int) -> Ints:
        """Return those of the log's ``rows`` that are known at ``time``, of items whose counts are masked
        until later: weights must not tell what the mask hides (``Catalogue``)."""
        known, masked = self._known(rows, time)
        return rows[known & masked]

    def _known(self, rows: Ints, time: int) -> tuple[Bools, Bools]:
        log = self.data.log
        known = log.time[rows] < visible_before(np.array(time), self.delay)
        return known, self.catalogue.masked_until[log.item[rows]] > time

    def entered_by(self, time: int) -> Bools:
        """Return [N] items that were candidates at some time before ``time``."""
        return self.catalogue.enters_at < time

    def knowing(self, known: Bools) -> World:
        """Return this world to somebody who knows of the events ``known`` alone, [E] bool: the log,
        what is counted and remembered, and what users had. Items enter when they do. It asks
        nothing: rows of queries are the whole log's.
        """
        log = self.data.log.rows(known)
        return replace(
            self,
            data=replace(self.data, log=log),
            split=replace(self.split, part=self.split.part[known]),
            catalogue=self.catalogue.knowing(log),
            as_of=_remember(self.data, self.catalogue, log, self.delay),
            probe=self.probe[known],
            seen_query=None if self.seen_query is None else self.seen_query[known],
            validation=self.validation.slice(0, 0),
            stream=self.stream.slice(0, 0),
        )

    @cached_property
    def digest(self) -> str:
        """Of the data itself: two readings of one configuration may differ."""
        data, digest = self.data, hashlib.sha256()
        arrays = [column for column in vars(data.log).values() if column is not None]
        arrays.append(data.items.released_at)
        if data.impressions is not None:
            arrays += vars(data.impressions).values()
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        items, users = data.items, data.users
        # one column at a time: as JSON each is as large as in memory
        for column in (items.ids, items.titles, items.texts, users.ids, users.texts, users.groups):
            digest.update(json.dumps(column).encode())
        if users.queries:
            digest.update(json.dumps(users.queries).encode())
        return digest.hexdigest()

    def memory_of_the_past(self) -> AsOf:
        """Return an ``AsOf`` that remembers the events of train + validation only."""
        return _remember(
            self.data,
            self.catalogue,
            self.data.log.rows(self.split.rows(TRAIN, VALIDATION)),
            self.delay,
        )


def read_data(config: RunConfig) -> Dataset:
    """Return the data set as its reader gives it.

    Raises:
        DataError: bad files.
    """
    data: Dataset = build(config.dataset)
    return data


def cut(config: RunConfig, data: Dataset) -> Split:
    """Return the data set's split.

    Raises:
        DataError: too little data for it.
    """
    split: Split = build(config.split, data.log, data.log_starts_at)
    return split


def make_world(config: RunConfig) -> World:
    """Read the data and cut it; see ``world_of``.

    Raises:
        DataError: bad files.
    """
    return world_of(config, read_data(config))


def cut_keys(config: RunConfig) -> list[Any]:
    """Return all of a configuration that ``world_of`` depends on, besides the data."""
    control = config.control.name
    return [
        config.debug.events,
        config.release_slot,
        config.split,
        (control, config.seed) if control in (*PERMUTED, PERMUTED_QUERY) else None,
        config.evaluate.candidates,
        config.evaluate.queries,
        config.online.label_delay_seconds,
        config.online.probe,
    ]


def world_of(config: RunConfig, data: Dataset) -> World:
    """Return what the configuration makes of ``data``.

    Raises:
        ConfigError: lists are to be ranked, or queries permuted, and the data holds none.
        DataError: too little data for the split.
    """
    if config.debug.events is not None:
        data = of_few_users(data, config.debug.events)
    candidates = config.evaluate.candidates
    lists = data.impressions if candidates == "impression" else None
    if candidates == "impression" and lists is None:
        raise ConfigError(
            f"evaluate.candidates=impression: {data.name} holds no lists; use "
            "evaluate.candidates=full"
        )
    if config.control.name == PERMUTED_QUERY and not data.users.queries:
        raise ConfigError(
            f"control={PERMUTED_QUERY}: in {data.name} nobody typed anything; another control, or data "
            "with a column of queries (dataset.queries=0.5 in dataset=simulated)"
        )
    data, split = _cut(config, data)
    catalogue = Catalogue(data)
    meets_at = catalogue.enters_at.copy()
    if lists is not None:
        np.minimum.at(meets_at, lists.item, lists.time[lists.owner])
    # a text that changes is frozen before the first query that may meet it
    first_query = int(data.log.time[split.rows(VALIDATION, STREAM)[0]])
    data = data.with_texts_as_of(np.maximum(meets_at, first_query), catalogue.enters_at)
    if config.control.name == PERMUTED_IN_COHORT:
        data = data.with_texts_of(within_cohorts(meets_at, first_query, config.seed))
    elif config.control.name == PERMUTED_TEXT:
        data = data.with_texts_of(anywhere(len(data.items), config.seed))
    cold_users, cold_items = cold(data, split)
    seen_query = seen_queries(data, split)
    if config.control.name == PERMUTED_QUERY:
        data = with_queries_permuted(data, split.part, config.seed)

    def queries(rows: Ints, edges: Ints | None = None) -> Queries:
        if lists is None:
            return ask(data.log, catalogue, rows, edges)
        return ask_lists(data.log, lists, rows, edges)

    delay = config.online.label_delay_seconds
    validation, stream = queries(split.rows(VALIDATION)), queries(split.rows(STREAM), split.edges)
    return World(
        data=data,
        split=split,
        catalogue=catalogue,
        meets_at=meets_at,
        as_of=_remember(data, catalogue, data.log, delay),
        validation=draw(validation, config.evaluate.queries),
        stream=draw(stream, config.evaluate.queries),
        cold_users=cold_users,
        cold_items=cold_items,
        seen_query=seen_query,
        delay=delay,
        probe=on_probe(data.log, [validation, stream], config.online.probe),
    )


def _cut(config: RunConfig, data: Dataset) -> tuple[Dataset, Split]:
    """The data under the release rule, without the events that the split holds out."""
    split = cut(config, data)
    if (behind := split.part == AFTERWARDS).any():
        data = replace(data, log=data.log.rows(~behind))
        split = replace(split, part=split.part[~behind])
    if slot := config.release_slot:
        data = on_grid(data, slot, split.rows(TRAIN))
        log.info(
            "items without a release time enter with the slot of their first event: %s seconds",
            data.slot,
        )
    if split.at_once:
        data, split = move(data, split)
    if (split.part == HELD_OUT).any():
        data, split = hold_out(data, split)
        log.info(
            "SIMULATED: some items that were taken before T_test are held out of the past, as if "
            "they were new"
        )
    return data, split


def _remember(data: Dataset, catalogue: Catalogue, known: Log, delay: int) -> AsOf:
    sizes = len(data.users), len(data.items)
    # known when its label is: to whoever looks, an event happens then
    known = replace(known, time=known.time + max(delay - 1, 0))
    return AsOf(known, *sizes, catalogue.enters_at, data.half_lives_days, catalogue.masked_until)
