"""Scores and lists that other software wrote into a file, read and looked through.

A file holds ``query``, ``item`` and ``score``, or ``rank`` (1 is best) for lists. It may be far larger than
memory: it is read once, its ids replaced by codes, into a table on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

import numpy as np
import polars as pl

from coldlm.asof.catalogue import Catalogue
from coldlm.core.errors import DataError
from coldlm.core.spelling import did_you_mean
from coldlm.core.tables import Dataset, Queries
from coldlm.evaluate.judge import chunks
from coldlm.evaluate.scores import LOWEST, FileScores, RepeatError

Kind = Literal["scores", "lists"]

SCAN: Final[Mapping[str, Callable[[Path], pl.LazyFrame]]] = {
    ".parquet": pl.scan_parquet,
    ".csv": partial(pl.scan_csv, infer_schema=False),
    ".tsv": partial(pl.scan_csv, infer_schema=False, separator="\t"),
    ".jsonl": pl.scan_ndjson,
    ".ndjson": pl.scan_ndjson,
    ".arrow": pl.scan_ipc,
    ".feather": pl.scan_ipc,
}
"""Ending of a file's name -> how it is read. Columns of text files without types are text."""

VALUE: Final[Mapping[Kind, str]] = {"scores": "score", "lists": "rank"}
"""The column that says where an item belongs."""

EXACT: Final = 2**53
"""Whole numbers up to here are what they are in 64 bits of floating point."""


@dataclass(frozen=True)
class Told:
    """What a file held. ``rows``: of all. ``missing``: candidates of the stream's queries without a
    score. ``ignored``: rows of items that were no candidates of their query, or were had already.
    ``of_validation``: rows of queries of validation, of which nothing is made."""

    rows: int
    missing: int
    ignored: int
    of_validation: int


def read_scores(
    path: Path,
    kind: Kind,
    queries: Queries,
    n_validation: int,
    data: Dataset,
    catalogue: Catalogue,
    *,
    missing: Literal["refuse", "last"],
    room: Path,
) -> tuple[FileScores, Told]:
    """Return the scores of a file, once all of them have been looked at, and what it held.

    Args:
        queries: of the stream; the number of one is its id in the file, and the next ``n_validation``
            ids are those of validation.
        missing: what to do about candidates without a score; a list leaves out what it does not
            hold, whatever this says.
        room: a folder for the table that is made of the file.

    Raises:
        DataError: a file that cannot be read, columns that are missing or of another type, unknown
            queries or items, a pair that is there twice, a score that is not finite, a rank that is
            none or given twice, candidates without a score; with the first of them and their number.
    """
    value = VALUE[kind]
    rows = _rows(path, value)
    ids = pl.LazyFrame({"item": data.items.ids}, schema={"item": pl.String}).with_row_index("code")
    table = room / "scores.parquet"
    try:
        rows.join(ids, on="item", how="left", maintain_order="left").select(
            pl.col("id").alias("query"),
            pl.col("code").alias("item"),
            pl.col("value") if kind == "scores" else -pl.col("value"),
        ).sink_parquet(table)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    n_queries, n_all = len(queries), len(queries) + n_validation
    coded = pl.scan_parquet(table)
    if (n := coded.select(pl.len()).collect().item()) == 0:
        raise DataError(f"{path}: no rows; at least one is needed")
    _refuse_rows(path, rows, coded, kind, n_all, data)
    per_query = (
        coded.filter(pl.col("query") < n_queries)
        .group_by("query")
        .len()
        .collect(engine="streaming")
    )
    sizes = np.zeros(n_queries, np.int64)
    sizes[per_query["query"].to_numpy()] = per_query["len"].to_numpy()
    if kind == "lists":
        _refuse_ranks_given_twice(path, coded)
    scores = FileScores(table, data.who_asks(queries), queries.time, len(data.items), sizes)
    try:
        told = _look_through(path, scores, queries, data, catalogue, kind, missing)
    except RepeatError as error:
        query, item, more, other = error.args
        twice = f"query {query} and item {data.items.ids[item]!r} stand in it twice"
        if other >= 0:
            twice = (
                f"item {data.items.ids[item]!r} has other values in queries {other} and {query}, "
                "which are two lists of one user in one second"
            )
        raise DataError(
            f"{path}: {twice}, and {more - 1:,} more such rows; a pair has one {value}"
        ) from None
    return scores, Told(n, *told, int(n - sizes.sum()))


def _rows(path: Path, value: str) -> pl.LazyFrame:
    """The file as ``query`` and ``item`` (text), ``id`` (the query as a number) and ``value``."""
    scan = SCAN.get(path.suffix.lower())
    if not path.is_file() or scan is None:
        why = f"the name must end in {', '.join(SCAN)}" if path.is_file() else "no such file"
        raise DataError(f"{path}: {why}")
    try:
        lines = scan(path)
        schema = lines.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    for name in ("query", "item", value):
        if name not in schema:
            hint = did_you_mean(name, schema.names(), begin="; ", shown=repr)
            raise DataError(
                f"{path}: no column {name!r}; columns found: {', '.join(schema.names())}; needed: "
                f"query, item, {value}{hint}"
            )
    for name in ("query", "item"):
        kind = schema[name]
        if not (kind.is_integer() or kind in (pl.String, pl.Categorical, pl.Enum)):
            raise DataError(
                f"{path}, column {name!r}: ids of type {kind}; write whole numbers or strings"
            )
    text, number = pl.col("query").cast(pl.String), _number(value, schema[value])
    return lines.select(
        text.alias("query"),
        pl.col("item").cast(pl.String),
        text.cast(pl.Int64, strict=False).alias("id"),
        number.alias("value"),
        pl.col(value).cast(pl.String, strict=False).alias("written"),
    )


def _number(value: str, kind: pl.DataType) -> pl.Expr:
    """A column in 64 bits of floating point; nothing where it is no number, or a whole one of more than
    53 bits, which would tie with its neighbours."""
    number = pl.col(value).cast(pl.Float64, strict=False)
    if kind == pl.Boolean:
        return pl.lit(None, pl.Float64)
    return (
        pl.when(pl.col(value).is_between(-EXACT, EXACT)).then(number)
        if kind.is_integer()
        else number
    )


def _refuse_rows(
    path: Path, rows: pl.LazyFrame, coded: pl.LazyFrame, kind: Kind, n_all: int, data: Dataset
) -> None:
    """Refuse unknown ids and values that are none, with the first of each and how many there are."""
    value = pl.col("value")
    right = value.is_finite()
    allowed = "finite numbers, whole ones up to 2^53"
    if kind == "lists":
        right = right & (value <= -1) & (value == value.floor())
        allowed = "whole numbers from 1 on, 1 for the best"
    known = pl.col("query").is_between(0, n_all - 1)
    wrong = {
        "query": ~known.fill_null(False),
        "item": pl.col("item").is_null(),
        VALUE[kind]: ~right.fill_null(False),
    }
    counts = coded.select(rule.sum().alias(name) for name, rule in wrong.items()).collect(
        engine="streaming"
    )
    ids = f"ids of the split's queries are 0 to {n_all - 1}, see queries of coldlm export"
    hints = {
        "query": ids,
        "item": f"items are those of the split, such as {data.items.ids[0]!r}; ids are compared as "
        "text, so 7 is not 007",
        VALUE[kind]: f"{VALUE[kind]}s must be {allowed}",
    }
    for name, n in counts.row(0, named=True).items():
        if n:
            row = int(
                coded.with_row_index("row")
                .filter(wrong[name])
                .select(pl.col("row").first())
                .collect()
                .item()
            )
            seen = rows.slice(row, 1).collect()["written" if name == VALUE[kind] else name][0]
            raise DataError(
                f"{path}, column {name!r}: {seen!r} in data row {row + 1}, and {n - 1:,} more such "
                f"rows; {hints[name]}"
            )


def _refuse_ranks_given_twice(path: Path, coded: pl.LazyFrame) -> None:
    twice = (
        coded.group_by("query", "value")
        .len()
        .filter(pl.col("len") > 1)
        .sort("query", "value", descending=[False, True])
    ).collect(engine="streaming")
    if len(twice):
        query, rank, _ = twice.row(0)
        raise DataError(
            f"{path}: {len(twice):,} places hold several items, the first is rank {-rank:.0f} of "
            f"query {query}; a place holds one item: write scores instead, where items may tie"
        )


def _look_through(
    path: Path,
    scores: FileScores,
    queries: Queries,
    data: Dataset,
    catalogue: Catalogue,
    kind: Kind,
    missing: str,
) -> tuple[int, int]:
    """How many candidates have no score, and how many rows are of no candidate."""
    n_missing, n_ignored, first = 0, 0, ""
    for begin, end in chunks(queries, len(catalogue)):
        part = queries.slice(begin, end)
        row, item, _ = scores.given(data.who_asks(part), part.time)
        if part.lists is None:
            candidates = catalogue.mask(part.user, part.time)
        else:
            candidates = np.zeros((len(part), len(catalogue)), bool)
            candidates[part.lists.owner, part.lists.item] = True
        n_ignored += int((~candidates[row, item]).sum())
        candidates[row, item] = False
        if candidates.any() and not first:
            q, i = (int(x[0]) for x in np.nonzero(candidates))
            first = f"item {data.items.ids[i]!r} in query {begin + q}"
        n_missing += int(candidates.sum())
    if n_missing and missing == "refuse" and kind == "scores":
        raise DataError(
            f"{path}: {n_missing:,} candidates of the stream's queries have no score, the first is "
            f"{first}; score them all, or say --missing last: they then tie below everything that "
            "has a score"
        )
    if n_missing and scores.reaches_the_lowest:
        raise DataError(
            f"{path}: a score is {LOWEST}, and no number lies below it for the {n_missing:,} candidates "
            "without one; score them all, or write larger scores"
        )
    return n_missing, n_ignored
