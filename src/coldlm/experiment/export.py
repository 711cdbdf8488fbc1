"""What a configuration asks, as tables for other software: who did what, what was there, what is asked.

The folder holds the configuration too, so that ``coldlm evaluate --split`` asks the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL
from coldlm.core.files import new_folder, refuse_filled, write_json
from coldlm.core.tables import STREAM, TRAIN, UNKNOWN, VALIDATION, Ints, Queries
from coldlm.evaluate.baselines import constant
from coldlm.evaluate.judge import CHUNK
from coldlm.evaluate.summary import count_cohorts
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.facts import refuse_empty_parts, tell_data_facts
from coldlm.experiment.world import World, make_world
from coldlm.runs.identity import axes, config_hash, recipe
from coldlm.runs.manifest import NAME, Manifest
from coldlm.runs.process import process_facts
from coldlm.runs.record import question_of
from coldlm.runs.resolved import write_config

PARTS: Final = {TRAIN: "train", VALIDATION: "validation", STREAM: "stream"}

WRITE: Final[Mapping[str, Callable[[pl.DataFrame, Path], None]]] = {
    "parquet": lambda table, file: table.write_parquet(file),
    "csv": lambda table, file: table.write_csv(file),
}

AT_ONCE: Final = 256 * CHUNK
"""Queries whose candidates lie in one file."""

STATUS: Final = "EXPORTED"

README: Final = """\
# {name}: what is asked, and from what

Written by `coldlm export`. The question's digest is {question}: scores for these queries belong to this split
and to no other. {cut}.

| table | a row is | columns |
|---|---|---|
| interactions | an event of the log, in time order | event_id, user, item, time, label, positive, part, probe{typed} |
| items | an item of the catalogue | item, title, text, released_at, enters_at, leaves_at |
| users | a user | user, text (a profile, "" without) |
| queries | something that is asked | query, user, time, window, part (validation or stream){typed} |
| positives | an item that is to be found | query, event_id, item, label, n_item, n_user, cohort, candidates |
{table}
Times are Unix seconds. `n_item` and `n_user` are the positive events that item and user had had; `cohort` says who
of them is cold: without a positive in train and validation. Times that nobody knows are empty.

## Who is a candidate

{rule}
Each positive is ranked alone: the other positives of its query are left out for it. `candidates` counts what is
left, itself included.

## What may be learned from what

Choose on `validation`, having learned from `train`. Score `stream` having learned from `train` and `validation`.
Models of coldlm learn nothing from interactions of the `probe`: leave them out to learn from as much. A
query at `time` may know of the interactions strictly earlier than that, of any part{delay}; models whose weights
stand still and whose histories grow are what the schedule `history` is in coldlm's tables.

## Scores

Write `query`, `item`, `score` (larger is better) for every candidate of every query of the stream, as parquet, csv,
tsv, jsonl or arrow; or lists: `query`, `item`, `rank`. Then, with this folder as DIR:

    coldlm evaluate --split DIR --scores FILE --name NAME
    coldlm evaluate --split DIR --lists FILE --name NAME
"""

RULE: Final = """\
An item is a candidate of a query if `enters_at` <= `time`, `leaves_at` is empty or > `time`{had}.
"""

HAD: Final = """, and no
interaction of the same user with it, of any label and part, is strictly earlier than `time`"""

LISTS: Final = """\
The candidates of a query are the items of the list that was shown: table `candidates`.
"""


def export(
    config: RunConfig, folder: Path, *, form: str = "parquet", candidates: bool = False
) -> Manifest:
    """Write the split of a configuration into ``folder``, whole or not at all.

    Args:
        form: "parquet" or "csv".
        candidates: write them query by query too; without, the rule in the README says who they are.

    Returns:
        What ``manifest.json`` says.

    Raises:
        RunFolderError: the folder is there and not empty.
        DataError: bad files, or too little data for the split.
    """
    refuse_filled(folder, "--out")
    world = make_world(config)
    has_lists = world.stream.lists is not None
    refuse_empty_parts(world, has_lists)
    with new_folder(folder) as part:
        return _write(config, world, part, form, candidates or has_lists)


def _write(
    config: RunConfig, world: World, folder: Path, form: str, with_candidates: bool
) -> Manifest:
    positives = {part: _positives(config, world, part) for part in ("validation", "stream")}
    tables = {
        "interactions": _interactions(world),
        "items": _items(world),
        "users": pl.DataFrame(
            {"user": world.data.users.ids, "text": world.data.users.texts},
            schema={"user": pl.String, "text": pl.String},
        ),
        "queries": pl.concat([_queries(world, "stream"), _queries(world, "validation")]),
        "positives": pl.concat(
            positives[part].select(
                (pl.col("query") + first_id(world, part)).alias("query"),
                *("event_id", "item", "label", "n_item", "n_user", "cohort", "candidates"),
            )
            for part in ("stream", "validation")
        ),
    }
    for name, table in tables.items():
        WRITE[form](table, folder / f"{name}.{form}")
    if with_candidates:
        (folder / "candidates").mkdir()
        for number, table in enumerate(_candidates(world)):
            WRITE[form](table, folder / "candidates" / f"{number:06d}.{form}")
    manifest = _manifest(config, world, positives["stream"])
    write_config(folder, config)
    write_json(folder / NAME, manifest.plain())
    (folder / "README.md").write_text(_readme(world, manifest, with_candidates), encoding="utf-8")
    return manifest


def first_id(world: World, part: str) -> int:
    """Return the id of the first query of a part: those of the stream are 0 and on, as in
    ``events.parquet``, and those of validation come behind."""
    return len(world.stream) if part == "validation" else 0


def _asked(world: World, part: str) -> Queries:
    return world.validation if part == "validation" else world.stream


def _positives(config: RunConfig, world: World, part: str) -> pl.DataFrame:
    """The rows of ``events.parquet`` of a scorer that knows nothing."""
    ask, queries = Evaluation(config, world, ""), _asked(world, part)
    judged = ask.judge(constant(len(world.data.items)), queries, part)
    return ask.tabulate(judged, MODEL, "history", queries=queries)


def _interactions(world: World) -> pl.DataFrame:
    log, data = world.data.log, world.data
    return pl.DataFrame(
        {
            "event_id": log.event_id,
            "user": _named(data.users.ids, log.user),
            "item": _named(data.items.ids, log.item),
            "time": log.time,
            "label": log.label,
            "positive": log.positive,
            "part": pl.Series(world.split.part).replace_strict(PARTS, return_dtype=pl.String),
            "probe": world.probe,
        }
        | _typed(world, data.who_took(np.arange(len(log))))
    )


def _items(world: World) -> pl.DataFrame:
    items, catalogue = world.data.items, world.catalogue
    times = {
        "released_at": items.released_at,
        "enters_at": catalogue.enters_at,
        "leaves_at": catalogue.leaves_at,
    }
    return pl.DataFrame(
        {"item": items.ids, "title": items.titles, "text": items.texts}
        | {
            name: pl.Series(time).set(pl.Series(time) == UNKNOWN, None)
            for name, time in times.items()
        }
    )


def _queries(world: World, part: str) -> pl.DataFrame:
    queries = _asked(world, part)
    number = np.arange(len(queries), dtype=np.int64) + first_id(world, part)
    return pl.DataFrame(
        {
            "query": number,
            "user": _named(world.data.users.ids, queries.user),
            "time": queries.time,
            "window": queries.window,
            "part": pl.Series([part] * len(queries), dtype=pl.String),
        }
        | _typed(world, world.data.who_asks(queries))
    )


def _typed(world: World, who: Ints) -> dict[str, pl.Series]:
    """What was typed by who asked, "" for nothing; no column where the data have no such texts."""
    users = world.data.users
    if not users.queries:
        return {}
    texts = ("",) * len(users) + users.queries
    return {"typed": _named(texts, users.place(who))}


def _candidates(world: World) -> Iterator[pl.DataFrame]:
    """``query``, ``item``, of many queries at a time."""
    for part in ("stream", "validation"):
        queries = _asked(world, part)
        for first in range(0, len(queries), AT_ONCE):
            pieces = [
                _candidates_of(world, queries.slice(begin, min(begin + CHUNK, len(queries))))
                for begin in range(first, min(first + AT_ONCE, len(queries)), CHUNK)
            ]
            offsets = np.repeat(
                np.arange(first, first + len(pieces) * CHUNK, CHUNK), [len(p[0]) for p in pieces]
            )
            row, item = (np.concatenate(columns) for columns in zip(*pieces, strict=True))
            yield pl.DataFrame(
                {
                    "query": row + offsets + first_id(world, part),
                    "item": _named(world.data.items.ids, item),
                }
            )


def _candidates_of(world: World, queries: Queries) -> tuple[Ints, Ints]:
    """(row, item) of every candidate, in the order of the catalogue, or of the list as shown."""
    if queries.lists is not None:
        return queries.lists.owner, queries.lists.item
    row, item = np.nonzero(world.catalogue.mask(queries.user, queries.time))
    return row.astype(np.int64), item.astype(np.int64)


def _named(ids: tuple[str, ...], codes: Ints) -> pl.Series:
    return pl.Series(ids, dtype=pl.String).gather(codes)


def _manifest(config: RunConfig, world: World, stream: pl.DataFrame) -> Manifest:
    reason = "a split for other software: nothing was trained or scored"
    manifest = Manifest(config_hash(config), status=STATUS, reason=reason)
    manifest.axes, manifest.recipe = axes(config), recipe(config)
    for fact, value in process_facts().items():
        setattr(manifest, fact, value)
    tell_data_facts(world, world.stream.lists is not None, manifest)
    manifest.drawn_queries = config.evaluate.queries
    manifest.question, manifest.cohorts = question_of(stream), count_cohorts(stream)
    return manifest


def _readme(world: World, manifest: Manifest, with_candidates: bool) -> str:
    data = world.data
    rule = RULE.format(had="" if data.repeats else HAD)
    table = "| candidates | a candidate of a query, in files by query | query, item |\n"
    return README.format(
        name=data.name,
        question=manifest.question,
        cut=manifest.data.cut[0].upper() + manifest.data.cut[1:],
        table=table if with_candidates else "",
        typed=", typed (into a search box, known at time)" if data.users.queries else "",
        rule=LISTS if world.stream.lists is not None else rule,
        delay=f", if the {world.delay:,} seconds have passed after which labels are known"
        if world.delay
        else "",
    )
