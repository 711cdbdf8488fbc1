"""Experiments that stand beside a paper: each composes, says which files it wants and what was found
there, and puts ours beside it in a run over made-up files of the same layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from coldlm.config.check import check
from coldlm.config.compose import compose_plain
from coldlm.config.schema import typed
from coldlm.config.tree import list_options
from coldlm.core.columns import MODEL
from coldlm.core.errors import ConfigError
from coldlm.data.movielens_editions import EDITIONS
from coldlm.experiment.run import execute
from coldlm.report.published import published_table
from coldlm.report.results import read_runs

PAPERS = [name for name in list_options()["experiment"] if name.startswith("paper_")]

USERS, ITEMS, EACH = 12, 24, 8
BEGIN, DAY = 978_300_000, 86_400

Write = Callable[[Path, pytest.MonkeyPatch], None]


def ratings() -> list[tuple[int, int, int, int]]:
    """(user, item, stars, second), users and items from 1: each begins four days behind the one before and
    takes an item a day."""
    draw, rows = np.random.default_rng(0), []
    for user in range(USERS):
        for place, item in enumerate(draw.permutation(ITEMS)[:EACH]):
            time = BEGIN + (4 * user + place) * DAY
            rows.append((user + 1, int(item) + 1, int(draw.integers(1, 6)), time))
    return rows


def movielens(root: Path, monkeypatch: pytest.MonkeyPatch, edition: str) -> None:
    known = EDITIONS[edition]
    small = replace(known, ratings=len(ratings()), users=USERS, films=ITEMS)
    monkeypatch.setitem(EDITIONS, edition, small)
    folder = root / known.folders[0]
    folder.mkdir()
    sign, heads = ("::", ("", "")) if edition == "1m" else (",", HEADS)
    films = [sign.join((str(i), f"Film {i} (1990)", "Drama")) for i in range(1, ITEMS + 1)]
    for file, head, lines in (
        (known.files[0], heads[0], [sign.join(map(str, row)) for row in ratings()]),
        (known.files[1], heads[1], films),
    ):
        (folder / file).write_text(head + "".join(f"{line}\n" for line in lines), "latin-1")


HEADS = "userId,movieId,rating,timestamp\n", "movieId,title,genres\n"


def ml_1m(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movielens(root, monkeypatch, "1m")


def ml_20m(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movielens(root, monkeypatch, "20m")


def atomic(root: Path, _: pytest.MonkeyPatch) -> None:
    rows = "".join("\t".join(map(str, row)) + "\n" for row in ratings())
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (root / "ml-100k.inter").write_text(head + rows)
    films = "".join(f"{i}\tFilm {i}\n" for i in range(1, ITEMS + 1))
    (root / "ml-100k.item").write_text("item_id:token\tmovie_title:token_seq\n" + films)


def mind(root: Path, edition: str) -> None:
    """A list each four hours, from 9 to 15 November: whoever looks takes one of three news."""
    news = "".join(f"N{i}\tnews\tworld\tNews {i}\tMore\thttps://x\t[]\t[]\n" for i in range(ITEMS))
    draw, lines, edge = np.random.default_rng(0), [], 30
    for i in range(42):
        day, hour = 9 + i // 6, 4 * (i % 6)
        clicked, *others = draw.permutation(ITEMS)[:3]
        shown = " ".join([f"N{clicked}-1", *(f"N{other}-0" for other in others)])
        time = f"11/{day}/2019 {hour % 12 or 12}:00:00 {'AM' if hour < 12 else 'PM'}"
        lines.append(f"{i + 1}\tU{i % USERS}\t{time}\tN{i % 5}\t{shown}\n")
    for part, (first, last) in zip(("train", "dev"), pairwise((0, edge, len(lines))), strict=True):
        folder = root / f"MIND{edition}_{part}"
        folder.mkdir()
        (folder / "behaviors.tsv").write_text("".join(lines[first:last]))
        (folder / "news.tsv").write_text(news)


def mind_small(root: Path, _: pytest.MonkeyPatch) -> None:
    mind(root, "small")


def mind_large(root: Path, _: pytest.MonkeyPatch) -> None:
    mind(root, "large")


TINY_BERT = ("backbone=tiny_bert", "backbone.width=16")

LAYOUTS: dict[str, tuple[str, Write, tuple[str, ...]]] = {
    "paper_recbole_bpr": ("ml-100k.inter", atomic, ("split.validation=0.25", "split.test=0.25")),
    "paper_mind": ("behaviors.tsv and news.tsv", mind_small, TINY_BERT),
    "paper_loo": ("ratings.dat and movies.dat", ml_1m, ()),
    "paper_loo_in_time": ("ratings.dat and movies.dat", ml_1m, ()),
    "paper_popularity": (
        "ratings.csv and movies.csv", ml_20m, ("split.train=0.6", "split.validation=0.2"),
    ),
    "paper_id_or_text": ("behaviors.tsv and news.tsv", mind_large, TINY_BERT),
}  # fmt: skip
"""Experiment -> the files that its refusal names, who writes such files, and what is smaller than there."""

SMALL = (
    "backbone=random_vectors", "head.history=4", "head.width=16", "train.epochs=1", "train.max_steps=1",
    "stages=[train,evaluate]", "evaluate.queries=null", "evaluate.lists=0", "evaluate.latency_requests=0",
)  # fmt: skip


@pytest.mark.parametrize("paper", PAPERS)
def test_it_says_what_it_wants_and_puts_ours_beside_what_was_found(
    paper: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, write, smaller = LAYOUTS[paper]
    places = f"dataset.root={tmp_path}", f"output={tmp_path / 'runs'}", f"cache={cache}"
    values = compose_plain([f"experiment={paper}", *places, *SMALL, *smaller])
    source, lines = values["published"]["source"], values["published"]["values"]
    with pytest.raises(ConfigError) as refused:
        check(values)
    assert wanted in str(refused.value)
    assert f"{source} found there: {', '.join(lines)}" in str(refused.value)

    write(tmp_path, monkeypatch)
    check(values)
    folder = execute(typed(values), "paper")
    table = published_table(read_runs([folder]).comparisons[0])
    assert table is not None
    rows = [dict(zip(table.header, line, strict=True)) for line in table.body]
    assert {row["source"] for row in rows} == {source}
    assert {row["verdict"] for row in rows} <= {"agrees", "DISAGREES"}  # and no n/a
    for row, line in zip(rows, lines, strict=True):
        scorer = line.split()[0]
        assert scorer == MODEL or row["scorer"].startswith(scorer)
