"""What a reader must know of a data set and its cut before any number."""

from __future__ import annotations

import logging

import numpy as np

from coldlm.core.dates import iso
from coldlm.core.errors import DataError
from coldlm.core.progress import listed
from coldlm.core.tables import TRAIN
from coldlm.experiment.world import World
from coldlm.runs.manifest import DataFacts, Manifest
from coldlm.split.leaks import release_facts, selection_facts
from coldlm.split.queries import count_lists, count_queries, trainable

log = logging.getLogger("coldlm")


def refuse_empty_parts(world: World, has_lists: bool) -> None:
    """Refuse a cut that leaves nothing to learn from, or nothing to ask.

    Raises:
        DataError: one of the three parts holds no positive that counts.
    """
    data = world.data
    trained = data.log.positive[trainable(data.log, world.catalogue, world.split.rows(TRAIN))]
    positive = "positive that was a candidate at its time"
    asked = "list with a click and something else" if has_lists else positive
    for part, n, what in (
        ("training", trained.sum(), positive),
        ("validation", len(world.validation), asked),
        ("stream", len(world.stream), asked),
    ):
        if not n:
            raise DataError(
                f"{data.name}: the {part} part holds no {what}; "
                "move split.train and split.validation, or see dataset.positive_from"
            )


def tell_data_facts(world: World, has_lists: bool, manifest: Manifest) -> None:
    """Log the counts, policies, dates and what is not asked, and write them into the manifest."""
    data, split, stream = world.data, world.split, world.stream
    dates = {key: iso(t) for key, t in (("t_val", split.t_val), ("t_test", split.t_test))}
    windows = [iso(t) for t in split.edges]
    log.info(
        "%s: %d users, %d items, %d events (%d positive); %s",
        data.name,
        len(data.users),
        len(data.items),
        len(data.log),
        int(data.log.positive.sum()),
        split,
    )
    for name, what in data.found.items():
        log.info("found: %s: %s", name, what)
    for warning in data.warnings:
        log.warning("%s", warning)
    applied = {name: count for name, count in data.counts.items() if count}
    log.info("policies: %s", listed(applied) if applied else "none applied")
    log.info(
        "windows start at %s, %d without an event merged; %d queries, %d positives; not asked: %s",
        ", ".join(date[:16] for date in windows[:-1]),
        split.merged,
        len(stream),
        len(stream.event),
        listed({reason: count for reason, count in stream.counts.items() if count}),
    )
    releases = release_facts(data)
    manifest.dataset = DataFacts(
        name=data.name,
        domain=data.domain,
        repeats=data.repeats,
        release=data.release,
        half_lives_days=list(data.half_lives_days),
        items_never_taken=len(data.items) - len(np.unique(data.log.item)),
        hashes=dict(data.hashes),
        counts=dict(data.counts),
        found=dict(data.found),
        warnings=list(data.warnings),
        dates=dates | {"windows": windows},
        cut=str(split),
        n_users=len(data.users),
        n_items=len(data.items),
        n_events=len(data.log),
        at_release=releases["at_release"],
        before_release=releases["before_release"],
        **selection_facts(data),
    )
    manifest.not_asked = dict(stream.counts)
    typed = count_queries(data, world.seen_query, stream)
    manifest.typed = typed or None
    if typed:
        log.info(
            "%d different texts were typed, %d of them in train + validation; of %d queries %d were "
            "typed, %.1f %% of them before T_test as well",
            *(typed[key] for key in list(typed)[:4]),
            100 * typed["typed before"] / max(typed["typed"], 1),
        )
    manifest.lists = (
        count_lists(data.impressions, split.t_test) if data.impressions and has_lists else {}
    )
