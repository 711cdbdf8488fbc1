"""Scores of other software, judged by the code that judges everything else and kept as a run.

```
file --read, looked through--> scorer --judge, tabulate--> events.parquet --> results, per_user, manifest
```
The folder says of itself that its scores came from a file: nobody can tell here what they were made
from, so no leak is metered in them.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import polars as pl

from coldlm.config.build import resolve
from coldlm.config.kinds import Metric
from coldlm.config.options import plugged
from coldlm.config.schema import RunConfig
from coldlm.core.columns import MODEL, NOT_KNOWN
from coldlm.core.errors import RunFolderError
from coldlm.core.files import hash_file
from coldlm.evaluate.score_files import Kind, read_scores
from coldlm.experiment.baselines import JudgedBaselines, judge_baselines
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.facts import refuse_empty_parts, tell_data_facts
from coldlm.experiment.world import World, make_world
from coldlm.runs.identity import axes, config_hash, recipe
from coldlm.runs.log import logging_to
from coldlm.runs.manifest import NAME, CheckpointFacts, Manifest, read_manifest, refuse_other_data
from coldlm.runs.process import process_facts, set_up_process
from coldlm.runs.record import Record
from coldlm.runs.resolved import write_config

log = logging.getLogger("coldlm")

OF_THE_QUESTION = ("dataset.", "split.", "release_slot", "plugins", "online.label_delay_seconds")
"""Beginnings of the keys that scores of a file have to do with."""


@dataclass(frozen=True)
class Outside:
    """Scores of other software. ``name``: of the scorer, in tables. ``seed``: which of its
    repetitions this is. ``missing``: what to do about candidates without a score."""

    path: Path
    kind: Kind
    name: str
    seed: int
    missing: Literal["refuse", "last"]


def evaluate_file(
    config: RunConfig,
    outside: Outside,
    folder: Path,
    *,
    baselines: bool = False,
    split: Manifest | None = None,
) -> Path:
    """Judge a file over the stream of a configuration, and leave a run folder that reports read.

    Args:
        baselines: judge those too, as a run of the configuration would.
        split: of the folder whose question is to be answered.

    Returns:
        The run folder; the same file under the same name is not judged again.

    Raises:
        RunFolderError: the folder holds something else; the data or the question changed since
            ``split`` was written.
        DataError: bad data, or see ``evaluate.score_files.read_scores``.
    """
    digest = _digest(outside.path)
    identity = f"{config_hash(config)} {baselines} {outside.kind} {outside.missing} {digest}"
    manifest = Manifest(
        hashlib.sha256(f"{identity} {outside.name} {outside.seed}".encode()).hexdigest()[:12]
    )
    if (folder / NAME).is_file():
        before = read_manifest(folder)
        if before.config_hash != manifest.config_hash:
            raise RunFolderError(
                f"{folder} holds another run or other scores: choose another --out or --name, or "
                "remove the folder"
            )
        if before.status == "FINISHED":
            print(f"{folder} is finished already: nothing to do")
            return folder
    with TemporaryDirectory(prefix="coldlm") as room:
        set_up_process(config.trainer, "cpu")
        world = make_world(config)
        if split is not None:
            refuse_other_data(split, world.data.hashes, folder)
        refuse_empty_parts(world, world.stream.lists is not None)
        # before there is a folder: most files are wrong at first
        scorer, told = read_scores(
            outside.path,
            outside.kind,
            world.stream,
            len(world.validation),
            world.data,
            world.catalogue,
            missing=outside.missing,
            room=Path(room),
        )
        folder.mkdir(parents=True, exist_ok=True)
        about = {"file": outside.path.name, "sha256": digest, "kind": outside.kind, **asdict(told)}
        with logging_to(folder):
            record = _open(config, world, outside, manifest, folder, about)
            _judge(config, world, record, scorer, baselines)
            if split is not None and manifest.question != split.question:
                reason = (
                    "the split asks other questions than this version of coldlm: export it anew"
                )
                record.end("FAILED", reason)
                raise RunFolderError(f"{folder}: {reason}")
            record.end("FINISHED")
    return folder


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""  # refused where it is read
    return hash_file(path)


def _open(
    config: RunConfig,
    world: World,
    outside: Outside,
    manifest: Manifest,
    folder: Path,
    about: Mapping[str, Any],
) -> Record:
    """The record of a run whose scorer is a file, with everything that its manifest says of it."""
    manifest.run, manifest.scores_from = folder.name, dict(about)
    unknown = dict.fromkeys(("backbone", "head", "context", "loss"), NOT_KNOWN)
    manifest.axes = (
        axes(config) | unknown | {"strategy": outside.name, "control": "none", "online": "off"}
    ) | {"seed": str(outside.seed)}
    manifest.recipe = {
        key: value for key, value in recipe(config).items() if key.startswith(OF_THE_QUESTION)
    } | {"scores.kind": outside.kind, "scores.missing": outside.missing}
    for fact, value in process_facts().items():
        setattr(manifest, fact, value)
    formulas = {option.name: resolve(option.target) for option in plugged(Metric)}
    seeded = replace(config, seed=outside.seed)
    record = Record(
        folder, seeded, folder.name, manifest, is_main=True, formulas=formulas, axes=manifest.axes
    )
    write_config(folder, config)
    tell_data_facts(world, record.has_lists, manifest)
    manifest.drawn_queries = config.evaluate.queries
    log.info(
        "%(file)s: %(rows)d rows; %(missing)d candidates without a score, %(ignored)d rows of no "
        "candidate, %(of_validation)d of validation",
        manifest.scores_from,
    )
    record.save()
    return record


def _judge(
    config: RunConfig, world: World, record: Record, scorer: Any, with_baselines: bool
) -> None:
    """The rows of the file's scores, and of the baselines."""
    begin, manifest = time.perf_counter(), record.manifest
    ask = Evaluation(config, world, record.name)
    parts = [ask.tabulate(ask.judge_stream(scorer, MODEL), MODEL, "history")]
    manifest.leaks = {}
    if with_baselines:
        # that of the zero-shot baseline
        manifest.axes["backbone"] = record.axes["backbone"] = axes(config)["backbone"]
        manifest.checkpoint = CheckpointFacts(record.axes["backbone"])
        kept = JudgedBaselines()
        judge_baselines(
            kept, config, world, int(config.head["history"]), ask.measure, ask.judge_stream
        )
        manifest.recent_popularity_half_life_days = kept.half_life_days
        parts += [ask.tabulate(rows, name, "history") for name, rows in kept.rows.items()]
    manifest.dropped, manifest.others_would_drop = ask.count_dropped()
    manifest.seconds["evaluate"] = time.perf_counter() - begin
    record.write_events("evaluate", pl.concat(parts))
    manifest.done.append("evaluate")
