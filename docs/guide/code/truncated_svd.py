"""Scores of scikit-learn's TruncatedSVD for the queries of an exported split. Nothing here is coldlm's."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD


def score(split: Path, out: Path, width: int = 16) -> None:
    """Factorise what happened before the stream, fold in what each user did before each query."""
    items = pl.read_parquet(split / "items.parquet").with_row_index("column")
    events = pl.read_parquet(split / "interactions.parquet").filter(pl.col("positive"))
    events = events.join(items.select("item", "column"), on="item")
    past = events.filter(pl.col("part") != "stream")
    row = past["user"].rank("dense").to_numpy() - 1
    taken = csr_array((np.ones(len(past)), (row, past["column"])), (row.max() + 1, len(items)))
    factors = TruncatedSVD(width, random_state=0).fit(taken).components_  # [width, items]

    queries = pl.read_parquet(split / "queries.parquet").filter(pl.col("part") == "stream")
    candidates = pl.read_parquet(split / "candidates" / "*.parquet")
    candidates = candidates.join(queries.select("query"), on="query", how="semi")
    candidates = candidates.join(items.select("item", "column"), on="item")
    known = queries.join(events, on="user", suffix="_event")
    known = known.filter(pl.col("time_event") < pl.col("time"))  # strictly earlier, of any part
    user = np.zeros((len(queries), width))
    np.add.at(user, known["query"].to_numpy(), factors.T[known["column"].to_numpy()])
    scores = (user[candidates["query"]] * factors.T[candidates["column"]]).sum(1)
    candidates.select("query", "item", score=scores).write_parquet(out)


if __name__ == "__main__":
    score(Path(sys.argv[1]), Path(sys.argv[2]))
