"""A table as people have it: a text file of any dialect, JSON lines, parquet, a sheet, or a folder of
parts.

| name ends in | read as |
|---|---|
| ``.csv``, ``.tsv``, ``.txt``, each also ``.gz`` or ``.zst`` | text, see ``dialect``; all columns are strings |
| ``.jsonl``, ``.ndjson``, ``.json``, each also ``.gz`` or ``.zst`` | one JSON object a line, or an array |
| ``.parquet``, ``.pq`` | parquet |
| ``.xlsx`` | its first sheet, or the one that is named |
| a folder of ``.parquet`` | all parts as one table; ``year=2024`` in their paths is a column |
| a folder of ``.arrow`` | what Hugging Face ``datasets`` writes to disk |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.tables import Bools, Ints
from coldlm.data.files.dialect import find_dialect
from coldlm.data.files.fields import NUMBER, read_text
from coldlm.data.files.lines import AGAIN, MAGIC, NO_ROWS, csv_rows, json_lines, refuse_file
from coldlm.data.files.raw import UNREADABLE, name_rows, parquet_schema, read_parquet
from coldlm.data.files.sheets import read_sheets

TEXT: Final = (".csv", ".tsv", ".txt")
JSON: Final = (".jsonl", ".ndjson", ".json")
PARQUET: Final = (".parquet", ".pq")

KINDS: Final = "csv, tsv, txt or jsonl (also .gz and .zst), parquet, xlsx, or a folder of .parquet or .arrow files"


@dataclass(frozen=True)
class Table:
    """``frame``: its rows. ``lines``: [rows] where each ends in a text file, or stands in a sheet; None
    elsewhere. ``said``: our name of a column -> its own, where they differ. ``found``: how it is
    written. ``empty_rows``: rows without any value, which were left out."""

    path: Path
    frame: pl.DataFrame
    found: str
    lines: Ints | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    empty_rows: int = 0

    def __len__(self) -> int:
        return len(self.frame)

    def __getitem__(self, name: str) -> pl.Series:
        return self.frame[name]

    @property
    def names(self) -> list[str]:
        """The columns, by our names."""
        return self.frame.columns

    @property
    def header(self) -> str:
        """Where the names of the columns stand."""
        return str(self.path) if self.lines is None else f"{self.path}, line 1"

    def where(self, name: str) -> str:
        """Return file and column, for messages; the column by its own name."""
        return f"{self.path}, column {self.said.get(name, name)!r}"

    def rows(self, bad: Bools) -> str:
        """Return the rows marked in ``bad``, [rows] bool, in words; see ``raw.name_rows``."""
        if self.lines is None:
            return name_rows(bad)
        several = "from " if np.count_nonzero(bad) > 1 else ""
        return f"{name_rows(bad)} ({several}line {self.lines[int(np.argmax(bad))]})"

    def holding(self, frame: pl.DataFrame) -> Table:
        """Return the same table with other values in its rows."""
        return replace(self, frame=frame)

    def called(self, ours: Mapping[str, str]) -> Table:
        """Return the same table with columns under our names, own -> ours; a column that has the name
        already is left out."""
        others = [n for n in self.names if n in ours.values() and n not in ours]
        said = {our: own for own, our in ours.items() if our != own}
        return replace(self, frame=self.frame.drop(others).rename(dict(ours)), said=said)


def read(
    path: Path,
    knows: Callable[[Sequence[str]], bool],
    *,
    encoding: str | None = None,
    separator: str | None = None,
    sheet: str | None = None,
) -> Table:
    """Return all columns of a table.

    Args:
        knows, encoding, separator: see ``dialect.find_dialect``. ``sheet``: by name; otherwise the
            first.

    Raises:
        DataError: no such file, another kind, what is damaged or can be read in several ways, no
            header, a name twice, no rows.
    """
    if path.is_dir():
        return _whole(_read_folder(path))
    if not path.is_file():
        raise DataError(
            f"{path}: no such file" + ("" if path.is_absolute() else f" (seen from {Path.cwd()})")
        )
    kind = Path(
        path.name.removesuffix(path.suffix) if path.suffix in MAGIC else path.name
    ).suffix.lower()
    if kind in TEXT:
        return _whole(_read_text(path, knows, encoding, separator))
    if kind in JSON:
        return _whole(Table(path, _read_json(path), "JSON lines"))
    if kind in PARQUET:
        return _whole(Table(path, read_parquet(path, list(parquet_schema(path))), "parquet"))
    if kind == ".xlsx":
        return _whole(_read_sheet(path, sheet))
    more = "; save it as xlsx or csv" if kind in (".xls", ".ods", ".xlsb", ".numbers") else ""
    raise DataError(f"{path}: the name must end as one of {KINDS}{more}")


def _whole(table: Table) -> Table:
    """Without rows that hold nothing at all, such as those that spreadsheets leave behind the last."""
    if not table.names:
        raise DataError(f"{table.path}: the file is empty; names of columns and rows are needed")
    frame = table.frame.with_columns(pl.col(pl.String).replace("", None))
    kept = frame.select(pl.any_horizontal(pl.all().is_not_null())).to_series()
    if not kept.any():
        raise DataError(f"{table.path}: {NO_ROWS}")
    lines = None if table.lines is None else table.lines[kept.to_numpy()]
    return replace(table, frame=frame.filter(kept), lines=lines, empty_rows=int((~kept).sum()))


def _read_text(
    path: Path, knows: Callable[[Sequence[str]], bool], encoding: str | None, separator: str | None
) -> Table:
    dialect = find_dialect(path, knows, encoding=encoding, separator=separator)
    how = {"encoding": dialect.encoding, "separator": dialect.separator}
    names = next(csv_rows(path, **how), (0, []))[1]
    if not names:
        raise DataError(f"{path}: the file is empty; a header line with the column names is needed")
    if names[0].startswith("sep=") and len(names) <= 2:
        raise DataError(
            f"{path}, line 1: a note for a spreadsheet, not names of columns; remove it"
        )
    if names.count("") > 1:
        raise DataError(
            f"{path}, line 1: {names.count('')} columns have no name; the first line must name all, "
            "without a title above the table or empty columns beside it"
        )
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"{path}, line 1: column {name!r} appears twice; rename or remove one")
    if not knows(names) and any(map(_is_value, names)):
        raise DataError(
            f"{path}, line 1: {', '.join(map(repr, names))[:200]} are values, not names of columns; "
            "put a line with the names above, such as user_id,item_id,timestamp"
        )
    frame = read_text(path, names, **how)
    return Table(path, frame.drop(NUMBER), str(dialect), frame[NUMBER].cast(pl.Int64).to_numpy())


def _is_value(name: str) -> bool:
    """Whether a cell of a header is a number or a date."""
    return sum(c.isdigit() for c in name) * 5 > len(name) * 3


def _read_json(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".json" and path.read_bytes()[:100].lstrip().startswith(b"["):
            return pl.read_json(path, infer_schema_length=None)
        if path.suffix in MAGIC:
            return pl.read_ndjson(path.read_bytes(), infer_schema_length=None)
        return pl.read_ndjson(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError, RuntimeError) as error:
        if not path.stat().st_size:
            raise DataError(
                f"{path}: the file is empty; one JSON object a line is needed"
            ) from error
        for _ in json_lines(path):  # names the line that is none
            pass
        refuse_file(path, "JSON lines, one object each", error)


def _read_sheet(path: Path, sheet: str | None) -> Table:
    sheets = read_sheets(path)
    name = sheet or next(iter(sheets), "")
    if name not in sheets:
        raise DataError(f"{path}: no sheet {name!r}; there are {', '.join(map(repr, sheets))}")
    frame = sheets[name]
    return Table(path, frame, f"xlsx, sheet {name!r} of {len(sheets)}", np.arange(len(frame)) + 2)


def _read_folder(path: Path) -> Table:
    if (path / "dataset_dict.json").is_file():
        splits = sorted(p.name for p in path.iterdir() if p.is_dir())
        raise DataError(
            f"{path}: holds several tables; name one of them: {', '.join(splits)} in it"
        )
    parts = parts_of(path)
    if not parts:
        raise DataError(
            f"{path}: is a folder without .parquet or .arrow files; name the file in it"
        )
    try:
        if parts[0].suffix == ".arrow":
            frame = pl.concat([pl.read_ipc_stream(part) for part in parts])
        else:
            frame = pl.read_parquet(parts, hive_partitioning=True, missing_columns="raise")
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}; {AGAIN}") from error
    return Table(path, frame, f"{len(parts)} {parts[0].suffix} files")


def parts_of(path: Path) -> list[Path]:
    """Return the files that make a table: itself, or those in a folder, in the order of their paths."""
    if not path.is_dir():
        return [path]
    return sorted(path.rglob("*.parquet")) or sorted(path.glob("*.arrow"))
