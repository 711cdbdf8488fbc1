"""Files of other software as a scorer: what they give, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset, Impressions, Ints, Queries
from coldlm.evaluate import scores as scores_module
from coldlm.evaluate.judge import Judged, ScoreFunction, Views, judge
from coldlm.evaluate.metrics import ndcg, recall
from coldlm.evaluate.score_files import Told, read_scores
from coldlm.evaluate.scores import FileScores
from coldlm.split.queries import ask, ask_lists

MakeData = Callable[..., Dataset]
Shown = Callable[..., Impressions]


class Toy:
    """Fifty users and forty items over a thousand seconds, some of them in baskets."""

    def __init__(self, make_data: MakeData, folder: Path) -> None:
        draw = np.random.default_rng(0)
        pairs = np.unique(draw.integers(0, (50, 40), (600, 2)), axis=0)
        events = [(int(u), int(i), int(draw.integers(0, 100)) * 10) for u, i in pairs]
        self.data = make_data(events, released=dict.fromkeys(range(40), 0))
        self.catalogue = Catalogue(self.data)
        late = np.flatnonzero(self.data.log.time >= 500)
        self.queries = ask(self.data.log, self.catalogue, late, np.array([500, 750, 1000]))
        sizes = len(self.data.users), len(self.data.items)
        enters = self.catalogue.enters_at
        self.as_of = AsOf(self.data.log, *sizes, enters, self.data.half_lives_days)
        self.folder = folder

    def judge(self, scorer: ScoreFunction, queries: Queries | None = None) -> Judged:
        views = Views(self.as_of.counts, 4)
        return judge(scorer, queries or self.queries, self.data, self.catalogue, views, name="x")

    def table(self, scorer: ScoreFunction) -> pl.DataFrame:
        """query, item, score of every candidate."""
        queries = self.queries
        row, item = np.nonzero(self.catalogue.mask(queries.user, queries.time))
        score = scorer(queries.user, queries.time)[row, item].numpy()
        ids = pl.Series(self.data.items.ids).gather(item)
        return pl.DataFrame({"query": row, "item": ids, "score": score})

    def read(
        self, table: pl.DataFrame | Path, kind: Any = "scores", missing: Any = "refuse", n: int = 3
    ) -> tuple[FileScores, Told]:
        path = table if isinstance(table, Path) else self.folder / "scores.parquet"
        if isinstance(table, pl.DataFrame):
            table.write_parquet(path)
        return read_scores(
            path,
            kind,
            self.queries,
            n,
            self.data,
            self.catalogue,
            missing=missing,
            room=self.room(),
        )

    def room(self) -> Path:
        room = self.folder / f"room{len(list(self.folder.glob('room*')))}"
        room.mkdir()
        return room


@pytest.fixture
def toy(make_data: MakeData, tmp_path: Path) -> Toy:
    return Toy(make_data, tmp_path)


def popular(toy: Toy) -> ScoreFunction:
    return lambda users, times: torch.from_numpy(toy.as_of.log_decayed_counts(times, 1))


def shuffled(toy: Toy) -> ScoreFunction:
    """Other scores in every query, none tied."""

    def score(users: Ints, times: Ints) -> Tensor:
        rows = [
            np.random.default_rng([u, t]).permutation(len(toy.data.items))
            for u, t in zip(users, times, strict=True)
        ]
        return torch.from_numpy(np.stack(rows).astype(np.float64))

    return score


def same(left: Judged, right: Judged) -> bool:
    return all((getattr(left, f.name) == getattr(right, f.name)).all() for f in fields(Judged))


def test_scores_written_and_read_are_the_same_scores(toy: Toy) -> None:
    scorer = popular(toy)
    read, told = toy.read(toy.table(scorer))
    assert same(toy.judge(read), toy.judge(scorer))
    assert told == Told(len(toy.table(scorer)), 0, 0, 0)
    assert len(np.unique(np.diff(toy.queries.start))) > 1  # there are baskets


@pytest.mark.parametrize("form", ["parquet", "csv", "tsv", "jsonl", "arrow"])
def test_every_form_and_every_order_of_rows_is_the_same(form: str, toy: Toy) -> None:
    table = toy.table(popular(toy)).sample(fraction=1, shuffle=True, seed=1)
    path = toy.folder / f"scores.{form}"
    {
        "parquet": table.write_parquet,
        "csv": table.write_csv,
        "tsv": lambda file: table.write_csv(file, separator="\t"),
        "jsonl": table.write_ndjson,
        "arrow": table.write_ipc,
    }[form](path)
    assert same(toy.judge(toy.read(path)[0]), toy.judge(popular(toy)))


def test_a_file_of_many_parts_is_the_same(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores_module, "HELD", 50)
    read, _ = toy.read(toy.table(popular(toy)).sample(fraction=1, shuffle=True, seed=1))
    assert len(np.unique(read._part)) > 20
    assert same(toy.judge(read), toy.judge(popular(toy)))
    assert all(isinstance(column, np.memmap) for part in read._held.values() for column in part)


def test_a_constant_score_is_the_constant(toy: Toy) -> None:
    table = toy.table(popular(toy)).with_columns(score=pl.lit(3))
    judged = toy.judge(toy.read(table)[0])
    assert (judged.g == 0).all()
    assert (judged.e == judged.candidates).all()


def test_numbers_may_be_ids_of_queries_and_of_items(toy: Toy) -> None:
    table = toy.table(popular(toy))
    as_text = table.with_columns(pl.col("query").cast(pl.String))
    assert same(toy.judge(toy.read(as_text)[0]), toy.judge(toy.read(table)[0]))
    number = table.with_columns(pl.lit(7).alias("item"))
    with pytest.raises(DataError, match=r"column 'item': '7' in data row 1, and .*7 is not 007"):
        toy.read(number)
    with pytest.raises(DataError, match="column 'query': ids of type Float64; write whole numbers"):
        toy.read(table.cast({"query": pl.Float64}))


def test_lists_of_ten_give_the_metrics_at_ten_of_the_scores(toy: Toy) -> None:
    single = toy.queries.where(np.diff(toy.queries.start) == 1)
    assert len(single) > 50
    toy.queries = single
    whole = toy.judge(shuffled(toy))
    table = toy.table(shuffled(toy)).sort("query", "score", descending=[False, True])
    table = table.with_columns(rank=pl.int_range(1, pl.len() + 1).over("query"))
    top = table.filter(pl.col("rank") <= 10)
    read, told = toy.read(top.select("query", "item", "rank"), "lists")
    judged = toy.judge(read)
    assert told.missing > 0
    for metric in (recall, ndcg):
        values = [metric(torch.from_numpy(j.g), torch.from_numpy(j.e), 10) for j in (judged, whole)]
        assert torch.equal(*values)
    outside = whole.g >= 10
    assert (judged.g[outside] == 10).all()
    assert (judged.e[outside] == judged.candidates[outside] - 10).all()


def test_what_has_no_score_ties_below_everything_that_has(toy: Toy) -> None:
    table = toy.table(popular(toy)).filter(pl.col("item") != "i3", pl.col("query") != 5)
    with pytest.raises(
        DataError,
        match=r"[\d,]+ candidates of the stream's queries have no score, the first is item",
    ):
        toy.read(table)
    read, told = toy.read(table, missing="last")
    given = toy.table(popular(toy))
    assert told.missing == len(given) - len(table)
    scores = read(toy.queries.user, toy.queries.time)
    row = given.filter(pl.col("query") == 2)["score"]
    assert scores[2, 3] < row.min()
    assert (scores[5] == 0).all()


def test_the_lowest_number_is_a_score_unless_something_must_lie_below(toy: Toy) -> None:
    lowest = -np.finfo(np.float64).max
    table = toy.table(popular(toy)).with_columns(
        score=pl.when(pl.col("item") == "i7").then(lowest).otherwise("score")
    )
    read, _ = toy.read(table)
    assert read(toy.queries.user[:1], toy.queries.time[:1]).min() == lowest
    with pytest.raises(DataError, match="no number lies below it for the 1 candidates without one"):
        toy.read(table.tail(-1), missing="last")


def test_rows_of_no_candidate_and_of_validation_are_counted(toy: Toy) -> None:
    table = toy.table(popular(toy))
    user, time = int(toy.queries.user[9]), int(toy.queries.time[9])
    had = int(toy.catalogue.had(np.array([user]), np.array([time]))[1][0])
    n = len(toy.queries)
    more = pl.DataFrame(
        {"query": [9, n, n + 2], "item": [f"i{had}", "i1", "i1"], "score": [99.0, 1.0, 1.0]}
    )
    read, told = toy.read(pl.concat([table, more.cast({"query": table["query"].dtype})]))
    assert (told.ignored, told.of_validation) == (1, 2)
    assert same(toy.judge(read), toy.judge(popular(toy)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: pl.concat([t, t.head(2)]), "query 0 and item 'i.*' stand in it twice, and 1 more"),
        (lambda t: t.with_columns(query=pl.col("query") + 9), r"column 'query': '\d+' in data row"),
        (lambda t: t.with_columns(query=pl.lit(-1)), "'-1' in data row 1, .*0 to"),
        (lambda t: t.with_columns(query=pl.lit("q")), "'q' in data row 1, .* ids of the split's"),
        (lambda t: t.with_columns(item=pl.lit("x")), "column 'item': 'x' in data row 1, and .* such"),
        (lambda t: t.with_columns(score=pl.lit(float("nan"))), "column 'score': 'NaN' in data row 1"),
        (lambda t: t.with_columns(score=pl.lit(float("inf"))), "column 'score': 'inf' in data row 1"),
        (lambda t: t.with_columns(score=2**60 + pl.int_range(pl.len())), r"whole ones up to 2\^53"),
        (lambda t: t.with_columns(score=pl.col("score") > 1), "column 'score': '(true|false)' in data"),
        (lambda t: t.with_columns(score=-np.finfo(float).max).tail(-1), "have no score, the first"),
        (lambda t: t.with_columns(score=pl.lit(None, pl.Float64)), "column 'score': None in data ro"),
        (lambda t: t.with_columns(score=pl.lit("high")), "column 'score': 'high' in data row 1"),
        (lambda t: t.rename({"score": "scores"}), "no column 'score'.*did you mean 'scores'"),
        (lambda t: t.clear(), "no rows; at least one is needed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_first_row(
    change: Callable[[pl.DataFrame], pl.DataFrame], message: str, toy: Toy
) -> None:
    with pytest.raises(DataError, match=message):
        toy.read(change(toy.table(popular(toy))))


def test_the_row_that_is_named_is_the_row_that_is_wrong(toy: Toy) -> None:
    table = toy.table(popular(toy))
    bad = pl.int_range(pl.len()).is_in([30, 41])
    wrong = table.with_columns(item=pl.when(bad).then(pl.lit("none")).otherwise("item"))
    with pytest.raises(DataError, match="'none' in data row 31, and 1 more such rows"):
        toy.read(wrong)


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ([1, 1, 2], "1 places hold several items, the first is rank 1 of query 0; a place holds"),
        ([0, 1, 2], "column 'rank': '0' in data row 1, and 0 more .* whole numbers from 1 on"),
        ([1.0, 2.0, 2.5], "column 'rank': '2.5' in data row 3"),
    ],
)
def test_ranks_are_places(ranks: list[float], message: str, toy: Toy) -> None:
    table = pl.DataFrame({"query": [0, 0, 0], "item": ["i1", "i2", "i4"], "rank": ranks})
    with pytest.raises(DataError, match=message):
        toy.read(table, "lists")


def test_files_that_cannot_be_read_are_refused(toy: Toy) -> None:
    with pytest.raises(DataError, match=r"none.csv: no such file"):
        toy.read(toy.folder / "none.csv")
    for name, content, message in (
        ("scores.txt", b"query,item,score\n", "the name must end in .parquet, .csv"),
        ("scores.parquet", b"query,item,score\n", "scores.parquet: cannot be read"),
        ("scores.csv", b"", "scores.csv: cannot be read"),
        ("scores.csv", b"query,item,score\n1,i1\n", "column 'score': None in data row 1"),
        ("scores.csv", b"query,item,score\n1,i1,2,3\n", "scores.csv: cannot be read"),
    ):
        (toy.folder / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            toy.read(toy.folder / name)


def test_two_lists_of_one_user_and_second_are_one_to_a_scorer(
    make_data: MakeData, shown: Shown, toy: Toy
) -> None:
    data = make_data([(0, 0, 5), (0, 1, 10), (0, 2, 10)], items=4)
    toy.data, toy.catalogue = data, Catalogue(data)
    lists = shown((0, 10, "3 1* 0"), (0, 10, "2* 3"))
    toy.queries = ask_lists(data.log, lists, np.arange(1, 3), np.array([0, 100]))
    assert len(toy.queries) == 2
    table = pl.DataFrame(
        {
            "query": [0, 0, 0, 1, 1],
            "item": ["i3", "i1", "i0", "i2", "i3"],
            "score": [5, 3, 1, 9, 5],
        }
    )
    read, told = toy.read(table)
    assert told.missing == 0
    assert toy.judge(read).g.tolist() == [1, 0]
    with pytest.raises(DataError, match="item 'i3' has other values in queries 0 and 1"):
        toy.read(table.with_columns(score=pl.int_range(pl.len())))
