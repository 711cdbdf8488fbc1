"""Many finished runs in one small parquet file, of which the same report is made as of their
folders."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import polars as pl

from coldlm.core.columns import MODEL
from coldlm.core.errors import RunFolderError
from coldlm.report.found import FinishedRun, with_bucket
from coldlm.report.labels import before_the_stream
from coldlm.report.rows import CELL, WITHOUT_UPDATES
from coldlm.runs.manifest import Manifest

TABLES: Final = ("results", "users", "shots", "stream", "lists", "probes")
SAYS: Final = ("stage", "schedule", *CELL, "value", "n_users", "n_queries", "n_events")
"""Columns of a baseline's results in which two runs that ask the same agree."""

PLACE: Final = re.compile(r"(?<![^\s='\"(\[,])(~|\.{1,2})?(/[^\s='\"/,]+)*/(?=[^\s='\"/,])")
"""Of a path from the root, from home or from here, which begins a word or follows what gives it: all but
the last part."""

PAGE: Final = 2**27
"""Bytes. A page is compressed alone, and all that repeats itself should be found: the users of one run in
those of the next, and of baselines their values, too."""

OF_ITS_SCHEDULE: Final = ("run", "online", "config_hash")
"""Facts of a run in which those that differ in their schedules alone differ."""


def pack(runs: Sequence[FinishedRun]) -> bytes:
    """Return one row per run: folder, manifest and facts as JSON, its tables as lists of structs. A
    pack is made to be passed on: of paths the last part is kept, and of folders what tells them apart.
    Baselines, which every run repeats, are kept of the first run among those that say the same of
    them; so are the users of weights that stand, which runs of all schedules have."""
    known: dict[str, list[pl.DataFrame]] = {}
    lines = []
    folders = _told_apart([run.folder for run in runs])
    for folder, run in zip(folders, (_without_known(run, known) for run in runs), strict=True):
        tables = {name: table for name in TABLES if (table := getattr(run, name)) is not None}
        line = {
            "folder": str(folder),
            "manifest": json.dumps(_without_places(run.manifest.plain())),
            "facts": json.dumps(run.facts),
        }
        structs = [
            table.select(pl.struct(pl.all()).implode().alias(name))
            for name, table in tables.items()
        ]
        lines.append(pl.concat([pl.DataFrame(line), *structs], how="horizontal"))
    buffer = BytesIO()
    pl.concat(lines, how="diagonal").write_parquet(
        buffer, compression="zstd", compression_level=19, data_page_size=PAGE
    )
    return buffer.getvalue()


def _told_apart(folders: Sequence[Path]) -> list[Path]:
    """Folders without what all of those from the root have in common; others are as they were given, or
    as another pack has them."""
    absolute = [folder.parent for folder in folders if folder.is_absolute()]
    above = Path(os.path.commonpath(absolute)).parent if absolute else None
    return [
        folder.relative_to(above) if above and folder.is_absolute() else folder
        for folder in folders
    ]


def _without_places(value: Any) -> Any:
    """JSON in which every path has become its last part."""
    if isinstance(value, str):
        return PLACE.sub("", value)
    if isinstance(value, list):
        return [_without_places(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_places(each) for key, each in value.items()}
    return value


def unpack(file: Path) -> list[FinishedRun]:
    """Return the runs in a file that ``pack`` wrote.

    Raises:
        RunFolderError: it is another kind of file, or damaged.
    """
    try:
        frame = pl.read_parquet(file)
        return [_unpack_line(frame.slice(i, 1)) for i in range(frame.height)]
    except (OSError, LookupError, TypeError, ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise RunFolderError(
            f"{file} holds no runs ({reason}): give a file of coldlm report --pack"
        ) from error


def _unpack_line(line: pl.DataFrame) -> FinishedRun:
    texts: dict[str, Any] = line.select("folder", "manifest", "facts").row(0, named=True)
    tables = {
        name: line.select(pl.col(name).explode()).unnest(name)
        for name in TABLES
        if name in line.columns and line[name][0] is not None
    }
    tables["users"] = with_bucket(tables["users"])
    return FinishedRun(
        Path(texts["folder"]),
        Manifest.of(json.loads(texts["manifest"])),
        json.loads(texts["facts"]),
        **tables,
    )


def _without_known(run: FinishedRun, known: dict[str, list[pl.DataFrame]]) -> FinishedRun:
    """``run`` without those baselines of which ``known`` holds the same; the others join it."""
    kept = [MODEL]
    for scorer in run.results["scorer"].unique(maintain_order=True):
        says = run.results.filter(scorer=scorer).select(SAYS)
        # the zero-shot baseline is the backbone's own, and a control's text baselines count for
        # nothing
        alike = [run.facts[name] for name in ("seed", "backbone", "control")]
        key = json.dumps([run.question, *alike, scorer], sort_keys=True)
        if scorer != MODEL and not any(says.equals(other) for other in known.setdefault(key, [])):
            known[key].append(says)
            kept.append(scorer)
    here = pl.col("scorer").is_in(kept)
    users = _without_known_users(run, run.users.filter(here), known)
    lists = run.lists
    if lists is not None:
        lists = lists.filter(pl.col("scorer").is_in(kept))
    return replace(run, results=run.results.filter(here), users=users, lists=lists)


def _without_known_users(
    run: FinishedRun, users: pl.DataFrame, known: dict[str, list[pl.DataFrame]]
) -> pl.DataFrame:
    """``users`` without those of weights that stand, where a run of another schedule has given the
    same."""
    facts = {name: value for name, value in run.facts.items() if name not in OF_ITS_SCHEDULE}
    for schedule in WITHOUT_UPDATES:
        stands = (pl.col("scorer") == MODEL) & (pl.col("schedule") == schedule)
        own = users.filter(stands)
        recipe = before_the_stream(run.manifest.recipe)
        key = json.dumps([run.question, facts, recipe, schedule], sort_keys=True, default=str)
        if any(own.equals(other) for other in known.setdefault(key, [])):
            users = users.filter(~stands)
        else:
            known[key].append(own)
    return users
