"""xMIND: the news of MIND, machine-translated (NLLB 3.3B) into 14 languages; Iana et al. 2024, CC
BY-NC-SA 4.0.

| file | what it holds |
|---|---|
| ``xMIND{edition}/{language}/*.tsv`` | nid, title, abstract, with a header |
| ``xMIND{edition}/data/{language}/*.parquet.gzip`` | the same columns, in the edition of the Hugging Face hub |

Unlike MIND's own files these tsv follow the rules of csv: a field with a quote in it stands in
quotes, and its quotes are doubled. Every field is on one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from coldlm.core.errors import DataError
from coldlm.data.files.columnar import read_columns
from coldlm.data.files.fields import refuse_lines, scan_fields

COLUMNS: Final = ("nid", "title", "abstract")

WAYS: Final = (
    "Get the language from https://github.com/andreeaiana/xMIND and put its unpacked files (nid, "
    "title, abstract) into "
    "xMIND{edition}/{language}/ of the data folder; without dataset.language news stay as MIND has "
    "them"
)


def find(root: Path, edition: str, language: str) -> list[Path]:
    """Return the tsv and parquet files of the language, in the order of their names."""
    folders = [root / f"xMIND{edition}" / language, root / f"xMIND{edition}" / "data" / language]
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    return [file for file in files if file.suffix == ".tsv" or ".parquet" in file.suffixes]


def translate(news: pl.DataFrame, files: Sequence[Path], counts: dict[str, int]) -> pl.DataFrame:
    """Return ``news`` with title and abstract of ``files`` where they have the item; coverage goes
    into ``counts``.

    Raises:
        DataError: damaged files, with the line; a file of other news altogether.
    """
    theirs = pl.concat([_read(path) for path in files]).unique(
        "item_id", keep="first", maintain_order=True
    )
    joined = news.join(theirs, on="item_id", how="left", maintain_order="left", suffix="_theirs")
    is_translated = pl.col("title_theirs").is_not_null()
    n = joined.select(is_translated.sum()).item()
    if not n:
        raise DataError(
            f"{files[0].parent}: translates none of MIND's {len(news):,} news; is it of another "
            "edition?"
        )
    counts |= {
        "news_translated": n,
        "news_not_translated": len(news) - n,
        "translations_of_other_news": len(theirs) - n,
    }
    return joined.with_columns(
        pl.when(is_translated).then(f"{name}_theirs").otherwise(name).alias(name)
        for name in COLUMNS[1:]
    ).select(news.columns)


def _read(path: Path) -> pl.DataFrame:
    rules = {"nid": (pl.col("nid").str.contains(r"^N\d+$"), "an id such as N123")}
    if path.suffix == ".tsv":
        fields = scan_fields(path, COLUMNS, header=True)
        refuse_lines(path, fields, rules)
        return fields.select(
            item_id="nid", title=_unquoted("title"), abstract=_unquoted("abstract")
        ).collect()
    kinds = dict.fromkeys(COLUMNS, "text")
    table = read_columns(path, kinds, optional=frozenset({"abstract"})).with_row_index("line", 1)
    refuse_lines(path, table.lazy(), rules)
    return table.select("title", pl.col("abstract").fill_null(""), item_id="nid").select(
        "item_id", *COLUMNS[1:]
    )


def _unquoted(name: str) -> pl.Expr:
    column = pl.col(name)
    inside = column.str.slice(1, column.str.len_chars() - 2).str.replace_all(
        '""', '"', literal=True
    )
    return pl.when(column.str.contains(r'^"([^"]|"")*"$')).then(inside).otherwise(column)
