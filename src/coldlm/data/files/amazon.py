"""What the readers of the Amazon reviews share: stars and metadata of one category, checked and put
together."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import polars as pl

from coldlm.core.errors import DataError
from coldlm.data.canonical.assemble import Tables, assemble
from coldlm.data.canonical.reader import Reader
from coldlm.data.files.fields import refuse_lines
from coldlm.data.files.lines import NO_ROWS, json_lines

BLOCK = 10_000
"""Products that are held as Python texts at once."""

_TAG = re.compile(
    r"<(script|style)\b.*?</\1\s*>|</?[A-Za-z][^<>]*>|<!--.*?-->", re.DOTALL | re.IGNORECASE
)


def find(root: Path, folder: str, names: Sequence[str]) -> list[Path]:
    """Return the files with these names, plain or .gz, in ``root/folder``, or, if there is none, in
    ``root``."""
    for place in (root / folder, root):
        if found := [
            path
            for name in names
            for path in (place / name, place / f"{name}.gz")
            if path.is_file()
        ]:
            return found
    return []


def find_all(root: Path, folder: str, wanted: Mapping[str, Sequence[str]]) -> list[Path]:
    """Return the files of ``wanted``, what a file holds -> the names that it may have, in its
    order, as far as they are there."""
    return [path for names in wanted.values() for path in find(root, folder, names)]


def make_reader(
    folder: str,
    category: str,
    wanted: Mapping[str, Sequence[str]],
    *,
    version: int,
    fields: Sequence[str],
    banned: Mapping[str, str],
    read: Callable[[Sequence[Path]], Tables],
    ways: str,
) -> Reader:
    """Say what is special to a category of an edition, which is known by its ``folder``; ``wanted``:
    see ``find_all``, the others: see ``Reader``."""
    return Reader(
        name=f"{folder}_{category}",
        domain="ecommerce",
        version=version,
        fields=fields,
        banned=banned,
        title="title",
        find=lambda root: find_all(root, folder, wanted),
        read=read,
        ways=ways,
        further=lambda _, root: file_problems(root, folder, wanted, category, ways),
    )


def file_problems(
    root: Path | None, folder: str, wanted: Mapping[str, Sequence[str]], category: str, ways: str
) -> list[str]:
    """Return what is wrong with the key ``dataset.category``, or else missing, or there more than
    once.

    Args:
        root: the data folder, if there is one.
        wanted: see ``find_all``.
    """
    if not re.fullmatch(r"\w+", category, re.ASCII):  # it becomes part of file names
        return [
            f"dataset.category={category!r}: letters, digits and underscores, as in "
            "Home_and_Kitchen"
        ]
    if not root:
        return []
    problems = []
    for what, names in wanted.items():
        found = find(root, folder, names)
        if not found:
            problems.append(
                f"dataset.root={root}: no {what} of dataset.category={category}: none of "
                f"{', '.join(names)}, plain or .gz, nor in {folder}/. {ways}"
            )
        if len(found) > 1:
            both = ", ".join(map(str, found))
            problems.append(
                f"dataset.root={root}: the {what} are there more than once ({both}); keep one of "
                "them"
            )
    return problems


def check_stars(
    ratings: pl.DataFrame, path: Path, last_year: int, per_second: int = 1
) -> pl.DataFrame:
    """Return the columns ``user_id``, ``item_id``, ``label`` and ``timestamp``, the last two as
    numbers, in whole seconds.

    Args:
        ratings: the same columns as read, and ``line``.
        last_year: of the reviews; a number that lost or won a digit lies outside.
        per_second: 1,000 where times are in milliseconds.

    Raises:
        DataError: ids that are missing or no words, products in the place of users, stars not from
            1 to 5, times out of range; names the line.
    """
    start, end = (
        int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * per_second
        for year in (1990, last_year + 1)
    )
    unit = "milliseconds" if per_second == 1000 else "seconds"
    stars, time = (
        pl.col("label").cast(pl.Float64, strict=False),
        pl.col("timestamp").cast(pl.Int64, strict=False),
    )
    rules = {
        name: (~pl.col(name).str.contains(r'[\s"\[\]{},\x00]|^$'), "an id")
        for name in ("user_id", "item_id")
    }
    rules["label"] = (stars.is_between(1, 5), "stars from 1 to 5")
    rules["timestamp"] = (
        time.is_between(start, end, closed="left"), f"Unix {unit} from {start} to {end} (1990 to "
                                                    f"{last_year})"
    )  # fmt: skip
    refuse_lines(path, ratings, rules)
    tens = ratings.select((pl.col("item_id", "user_id").str.len_chars() == 10).sum()).row(0)
    if tens[1] > tens[0]:  # ids of products have ten characters, those of users hardly ever
        raise DataError(
            f"{path}, line {ratings['line'][0]}: {ratings['user_id'][0]!r} is a product, not a "
            f"user; in the edition of 2014 both have changed places"
        )
    return ratings.select("user_id", "item_id", stars, time // per_second)


def read_meta(
    path: Path, key: str, joints: Mapping[str, str], items: Collection[str], html: bool
) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return ``item_id`` and a text column per field for those of ``items`` that the file has, in
    its order, and counts.

    Args:
        key: the JSON key of the id.
        joints: field -> what stands between the parts of a list.
        html: whether texts hold tags; entities are resolved in either case.

    Of lines with the same id the first counts. Titles that are a piece of the page's script are
    taken for missing.

    Raises:
        DataError: a damaged file, a line without id, a field that is neither text nor a list of
            texts.
    """
    counts = {"repeated_meta_lines": 0, "meta_lines_of_unrated_items": 0, "titles_of_script": 0}
    schema = dict.fromkeys(("item_id", *joints), pl.String)
    rows, blocks, seen = list[list[str]](), [pl.DataFrame(schema=schema)], set[str]()
    for number, found in json_lines(path):
        item = found.get(key)
        if not isinstance(item, str) or not item:
            raise DataError(f"{path}, line {number}, {key!r}: {item!r}; expected an id")
        counts["repeated_meta_lines"] += item in seen
        counts["meta_lines_of_unrated_items"] += item not in items and item not in seen
        if item in items and item not in seen:
            texts = (
                _text(found.get(name), joint, html, path, number, name)
                for name, joint in joints.items()
            )
            rows.append([item, *texts])
        seen.add(item)
        if len(rows) == BLOCK:  # as columns they take a fraction of the memory
            blocks.append(pl.DataFrame(rows, schema=schema, orient="row"))
            rows.clear()
    if not seen:
        raise DataError(f"{path}: {NO_ROWS}")
    table = pl.concat([*blocks, pl.DataFrame(rows, schema=schema, orient="row")])
    script = pl.col("title").str.contains("getTime", literal=True)
    counts["titles_of_script"] = table.filter(script).height
    return table.with_columns(title=pl.when(~script).then("title")), counts


def put_together(ratings: pl.DataFrame, meta: pl.DataFrame, counts: Mapping[str, int]) -> Tables:
    """Return the canonical tables; lines that repeat user, item, time and stars of an earlier one
    are left out and counted."""
    once = ratings.unique(
        ["user_id", "item_id", "timestamp", "label"], keep="first", maintain_order=True
    )
    return assemble(once, meta, counts={**counts, "repeated_lines": len(ratings) - len(once)})


def _text(value: Any, joint: str, html: bool, path: Path, number: int, name: str) -> str:
    if isinstance(value, list):
        parts = (_text(part, joint, html, path, number, name) for part in value)
        return joint.join(part for part in parts if part.strip())
    if value is None:
        return ""
    if isinstance(value, str):
        return unescape(_TAG.sub(" ", value) if html else value)
    raise DataError(f"{path}, line {number}, {name!r}: {value!r}; expected text or a list of texts")
