"""Who is told of a run besides its folder, and what they are told when it is over: its headline
beside that of every rival, as the report of it has them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import polars as pl

from coldlm.config.build import build
from coldlm.config.schema import RunConfig
from coldlm.core.columns import HEADLINE_K, MRR_K, metric_key
from coldlm.core.errors import RunFolderError
from coldlm.evaluate.metrics import HEADLINE
from coldlm.learn.sinks.about import About
from coldlm.report.measure import Measure, measure
from coldlm.report.results import Runs, read_runs
from coldlm.report.rows import Comparison
from coldlm.runs.identity import scalars
from coldlm.runs.manifest import NAME, Manifest
from coldlm.runs.record import HEADLINE_METRICS, PARTS, Record
from coldlm.runs.track import Track, Value

log = logging.getLogger("coldlm")

COHORTS = "cohorts"
"""Name of the table of values by cohort and by bucket."""

LABELS = ("scorer", "schedule", "stage", "cohort", "bucket", "n_users", "n_queries", "n_events")


def open_track(config: RunConfig, record: Record) -> Track:
    """Return what tells of a run, with everybody whom the configuration names; their ids for it are
    kept in the manifest, so that a resumed run is the same run there."""
    if not record.is_main:
        return Track()
    logger, manifest = config.logger, record.manifest
    strategy, control = record.axes["strategy"].split(" ")[0], config.control.name
    output = record.folder.parent.resolve()
    about = About(
        folder=record.folder,
        output=output,
        name=record.name,
        group=logger.group or output.name,
        job_type=logger.job_type
        or (strategy if control == "none" else f"control/{control}/{strategy}"),
        axes=record.axes,
        tags=tuple(config.tags),
        config=scalars(config),
        ids=manifest.tracked,
    )
    sinks = [sink for node in logger.loggers.values() if (sink := build(node, about)) is not None]
    manifest.tracked |= {sink.name: sink.id for sink in sinks if sink.id}
    record.save()
    return Track(record.folder, sinks, manifest.epochs)


def tell_end(config: RunConfig, record: Record) -> None:
    """Tell of a finished run what its files say: its headline, costs, rivals, tables, figures and
    weights. ``metrics.csv`` has those of the stages; the rest is the report's there."""
    track, folder = record.track, record.folder
    if not track.sinks:
        return
    track.headline(_costs(record.manifest))
    if (folder / "results.parquet").is_file():
        record.tell_again()
        columns, rows = _by_cohort(folder)
        for sink in track.sinks:
            sink.table(COHORTS, columns, rows)
    for comparison in _compared(folder).comparisons:
        track.headline(dict(_rivals(comparison)))
    if config.logger.figures:
        # of this run alone: those of the sweep are its report's
        for name, png in _figures(folder):
            for sink in track.sinks:
                sink.picture(f"figures/{name}", png)
    if config.logger.log_model:
        for file in sorted(folder.glob("*.safetensors")):
            for sink in track.sinks:
                sink.model(file)


def _costs(manifest: Manifest) -> dict[str, Value]:
    """What a run took, where it was measured."""
    latency = manifest.latency_ms or {}
    found = {
        "parameters/trainable": manifest.trainable_parameters,
        "parameters/total": manifest.total_parameters,
        "cost/checkpoint_bytes": manifest.checkpoint_bytes,
        "cost/events_per_second": manifest.events_per_second,
        "cost/seconds_per_update": manifest.seconds_per_update,
        "cost/peak_memory_mb": manifest.peak_memory_mb,
        **{f"cost/seconds/{stage}": seconds for stage, seconds in manifest.seconds.items()},
        **{f"cost/latency_ms/{name}": value for name, value in latency.items()},
    }
    return {key: float(value) for key, value in found.items() if value is not None}


def _by_cohort(folder: Path) -> tuple[list[str], list[list[object]]]:
    """A row per scorer, schedule, cohort and bucket of the whole stream, with the metrics of the
    headline: what ``results.parquet`` has of them, side by side."""
    table = pl.read_parquet(folder / "results.parquet").filter(window=-1, average="macro")
    told = table.filter(
        pl.col("metric").is_in(HEADLINE_METRICS), pl.col("k").is_in([MRR_K, HEADLINE_K])
    )
    wide = told.with_columns(
        pl.when(pl.col("k") == MRR_K)
        .then(pl.col("metric"))
        .otherwise(pl.format("{}@{}", "metric", "k"))
        .alias("metric")
    ).pivot("metric", index=LABELS[:5], values="value", aggregate_function="first")
    # a view has users of its own
    counts = told.filter(metric=HEADLINE).select(LABELS)
    joined = counts.join(wide, on=LABELS[:5], how="left", maintain_order="left")
    return joined.columns, [list(row) for row in joined.rows()]


def _compared(folder: Path) -> Runs:
    """The run in ``folder`` beside the controls of the same model and question that are finished by
    now in the folders next to it."""
    own = _manifest(folder)
    assert own is not None
    beside = [
        other.parent
        for other in sorted(folder.parent.glob(f"*/{NAME}"))
        if (its := _manifest(other.parent)) is not None and _controls(its, own)
    ]
    try:
        return read_runs([folder, *beside])
    except RunFolderError:  # nothing was asked
        return Runs((), (), ())


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.of(json.loads((folder / NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None  # being written, or of another kind


def _controls(its: Manifest, own: Manifest) -> bool:
    same = ("strategy", "seed", "online")
    return (
        its.status == "FINISHED"
        and own.axes["control"] == "none" != its.axes.get("control")
        and its.question == own.question
        and all(its.axes.get(axis) == own.axes[axis] for axis in same)
    )


def _figures(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The report's figures of one run, by name, as PNG."""
    from coldlm.report.figure import render
    from coldlm.report.write import draw_all

    for comparison in read_runs([folder]).comparisons:
        for name, figure in draw_all(comparison, measure(comparison)).items():
            yield name, render(figure, "png")


def _rivals(comparison: Comparison) -> Iterator[tuple[str, Value]]:
    """The headline of every baseline and control, and by how much the run is above the best."""
    headline = measure(comparison)
    for row, m in zip(comparison.rows, headline.measures, strict=True):
        value = m.quality["ndcg@10"]
        if row.kind == "strategy":
            yield from _difference(m)
        elif value is not None:
            name = row.label if row.kind == "baseline" else f"{row.label}/{row.schedule}"
            yield metric_key(row.kind, name, HEADLINE, HEADLINE_K), value
    if headline.best_trivial is not None:
        yield "vs_best_rival/rival", headline.best_trivial.name


def _difference(m: Measure) -> Iterator[tuple[str, Value]]:
    if m.vs_trivial is None:
        return
    part = PARTS["evaluate" if m.row.schedule == "history" else "online"]
    found = asdict(m.vs_trivial)
    for key in ("mean", "low", "high"):
        yield f"vs_best_rival/{part}/{HEADLINE}@{HEADLINE_K}/{key}", float(found[key])
