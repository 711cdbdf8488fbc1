"""Damaged raw files of every reader: refused with file and place, or read as if nothing had
happened, never otherwise.

Every toy file is damaged in every way below that its format knows. One kind of damage cannot be
noticed without a checksum, and is shown at the end: a digit that became another digit.
"""

from __future__ import annotations

import gzip
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import toys.adressa
import toys.amazon2018
import toys.amazon2023
import toys.atomic
import toys.caixin
import toys.ebnerd
import toys.hm
import toys.kuairec
import toys.lastfm_1k
import toys.lastfm_2k
import toys.microlens
import toys.mind
import toys.movielens
import toys.movielens_editions
import toys.online_retail
import toys.own
from coldlm.core.errors import DataError
from coldlm.core.files import hash_file
from coldlm.core.tables import Dataset
from coldlm.data import (  # fmt: skip
    adressa,
    amazon2018,
    amazon2023,
    atomic,
    caixin,
    ebnerd,
    hm,
    kuairec,
    lastfm_1k,
    lastfm_2k,
    microlens,
    mind,
    movielens,
    movielens_editions,
    online_retail,
    own,
)
from coldlm.data.canonical.assemble import Tables
from coldlm.data.files.atomic import Names, read_tables
from coldlm.data.sources.fetch import Remote, check, damaged
from toys import damage

Read = Callable[[], Tables | Dataset]
Made = tuple[list[Path], Read]
"""The files that are damaged one by one, and how they are read."""


# --- the files of every reader ----------------------------------------------------------------------------------------


def _own(folder: Path, patch: pytest.MonkeyPatch, kind: str) -> Made:
    keys = toys.own.write(folder, users="user_id,name\nv,Võ\nu,Uma\n")
    if kind == "parquet":
        for key, name in keys.items():
            table = pl.read_csv(name)
            keys[key] = str(Path(name).with_suffix(".parquet"))
            table.write_parquet(keys[key])
    return [Path(name) for name in keys.values()], lambda: own.load(**keys)


def _zipped(files: list[Path]) -> list[Path]:
    zipped = [file.with_name(f"{file.name}.gz") for file in files]
    for file, path in zip(files, zipped, strict=True):
        path.write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    return zipped


def _amazon2023(folder: Path, patch: pytest.MonkeyPatch, is_zipped: bool) -> Made:
    files = toys.amazon2023.write(folder)
    files = _zipped(files) if is_zipped else files
    return files, lambda: amazon2023.read(files)


def _reviews2023(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    stars, meta = toys.amazon2023.write(folder)
    stars.unlink()
    reviews = stars.with_suffix(".jsonl")
    reviews.write_text(toys.amazon2023.reviews())
    return [reviews, meta], lambda: amazon2023.read([reviews, meta])


def _amazon2018(folder: Path, patch: pytest.MonkeyPatch, kind: str) -> Made:
    toy = toys.amazon2018
    files = toy.write(
        folder, toy.CSV if kind == "csv" else toy.lines(toy.REVIEWS), f"Gift_Cards.{kind}"
    )
    return files, lambda: amazon2018.read(files)


def _online_retail(folder: Path, patch: pytest.MonkeyPatch, write: Callable[[Path], Path]) -> Made:
    file = write(folder)
    return [file], lambda: online_retail.read([file])


def _hm(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = toys.hm.write(folder, customers=toys.hm.CUSTOMERS)
    return files, lambda: hm.read(files)


def _movielens(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    root = toys.movielens.write(folder, patch)
    return sorted((root / "ml-latest-small").iterdir()), lambda: movielens.load(root=str(root))


def _edition(folder: Path, patch: pytest.MonkeyPatch, edition: Any) -> Made:
    files = movielens_editions.find(toys.movielens_editions.write(folder, patch), edition)
    return files, lambda: movielens_editions.read(files, edition)


def _kuairec(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = kuairec.find(toys.kuairec.write(folder, patch), "big")
    return files, lambda: kuairec.read(files)


def _mind(folder: Path, patch: pytest.MonkeyPatch, translations: str) -> Made:
    root = toys.mind.write(folder)
    files = mind.find(root)
    if not translations:
        return files, lambda: mind.read(files)
    there = root / "xMINDsmall" / "cmn" / translations
    there.parent.mkdir(parents=True)
    if there.suffix == ".tsv":
        there.write_text(toys.mind.CHINESE)
    else:
        pl.DataFrame(
            {"nid": ["N1", "N2"], "title": ["题一", "题二"], "abstract": [None, "x"]}
        ).write_parquet(there)
    files = mind.find(root, language="cmn")
    return [there], lambda: mind.read(files)


def _lastfm_2k(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    patch.setattr(lastfm_2k, "N_USERS", 2)
    files = lastfm_2k.find(toys.lastfm_2k.write(folder))
    return files, lambda: lastfm_2k.read(files)


def _ebnerd(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = ebnerd.find(toys.ebnerd.write(folder))
    return files, lambda: ebnerd.read(files)


def _caixin(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = caixin.find(toys.caixin.write(folder))
    # readers read more than one news: else they could be the news
    files[0].write_text(toys.caixin.CLICKS + '1626\t100645303\t1393637579\t"百忧解"\t1\n')
    return files, lambda: caixin.read(files)


def _atomic(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    toys.atomic.write(folder)
    files = atomic.find(str(folder), None)
    names = Names("user_id", "item_id", "timestamp", "rating", None)
    return files, lambda: read_tables(files, names)


def _plain(
    folder: Path, patch: pytest.MonkeyPatch, toy: Any, find: Callable[[Path], list[Path]], read: Any
) -> Made:
    files = find(toy.write(folder))
    return files, lambda: read(files)


EDITIONS = {known.parse: name for name, known in movielens_editions.EDITIONS.items()}.values()
"""One for each kind of files: those of the larger editions are of one kind."""

READERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Made]] = {
    "own csv": partial(_own, kind="csv"),
    "own parquet": partial(_own, kind="parquet"),
    "amazon2023": partial(_amazon2023, is_zipped=False),
    "amazon2023 gz": partial(_amazon2023, is_zipped=True),
    "amazon2023 reviews": _reviews2023,
    "amazon2018 json": partial(_amazon2018, kind="json"),
    "amazon2018 csv": partial(_amazon2018, kind="csv"),
    "online_retail xlsx": partial(_online_retail, write=toys.online_retail.write_new),
    "online_retail csv": partial(_online_retail, write=toys.online_retail.write_csv),
    "online_retail parquet": partial(_online_retail, write=toys.online_retail.write_parquet),
    "hm": _hm,
    "movielens 2016": _movielens,
    **{f"movielens {name}": partial(_edition, edition=name) for name in EDITIONS},
    "microlens": partial(
        _plain,
        toy=toys.microlens,
        find=lambda root: microlens.find(root, "50k"),
        read=microlens.read,
    ),
    "kuairec": _kuairec,
    "lastfm_2k": _lastfm_2k,
    "lastfm_1k": partial(
        _plain,
        toy=toys.lastfm_1k,
        find=lastfm_1k.find,
        read=lambda files: lastfm_1k.read(files, "artist"),
    ),
    "mind": partial(_mind, translations=""),
    "xmind tsv": partial(_mind, translations="train.tsv"),
    "xmind parquet": partial(_mind, translations="train.parquet.gzip"),
    "ebnerd": _ebnerd,
    "adressa": partial(_plain, toy=toys.adressa, find=adressa.find, read=adressa.read),
    "atomic": _atomic,
    "caixin": _caixin,
}

# --- ways to damage sheets -------------------------------------------------------------------------------------------


def sheet(change: Callable[[list[list[Any]]], list[list[Any]]]) -> Callable[[bytes], bytes]:
    """The workbook of Online Retail with other rows; the first one holds the names."""

    def mutate(_: bytes) -> bytes:
        toy, stream = toys.online_retail, io.BytesIO()
        names, *rows = change([list(toy.NEW), *map(list, toy.FIRST)])
        toy.write_book(
            stream,
            tuple(names),
            Year_2009=map(tuple, rows),
            Year_2010=toy.SECOND if len(rows) else [],
        )
        return stream.getvalue()

    return mutate


SHEET: dict[str, Callable[[bytes], bytes | None]] = damage.ANY | {
    "damaged inside": lambda b: b[: len(b) // 2] + b"damage" + b[len(b) // 2 + 6 :],
    "its end cut": lambda b: b[:-9],
    "columns exchanged": sheet(lambda rows: [row[::-1] for row in rows]),
    "a value moved": sheet(lambda rows: [*rows[:-1], [*rows[-1][1:], rows[-1][0]]]),
    "the names once more": sheet(lambda rows: [*rows[:-1], rows[0], rows[-1]]),
    "no names": sheet(lambda rows: rows[1:]),
    "only names": sheet(lambda rows: rows[:1]),
    "a column renamed": sheet(lambda rows: [["Bill", *rows[0][1:]], *rows[1:]]),
    "columns exchanged under their names": sheet(lambda rows: damage.exchanged(rows, 1)),
    "one name twice": sheet(lambda rows: [[rows[0][1], *rows[0][1:]], *rows[1:]]),
    "a time of text": sheet(
        lambda rows: [*rows[:-1], [*rows[-1][:4], "1/2/10 8:26", *rows[-1][5:]]]
    ),
    "a value missing": sheet(lambda rows: [*rows[:-1], [*rows[-1][:3], None, *rows[-1][4:]]]),
}


# --- what becomes of it -----------------------------------------------------------------------------------------------

WHOLE = (
    "the file is empty", "no rows", "cannot be read as (parquet|xlsx)", "no gzip archive",
    r"parquet(\.gzip)?: no column", r"parquet(\.gzip)?, column '\w+': (values|ids) of type",
    r"(ratings|users|films|tags) (of \d users )?in .*, expected [\d,]+",
)  # fmt: skip
"""Damage without a line: of all of a file, of the types of a column, or known by the published
number of rows."""

PLACE = re.compile(r"line \d+|data rows? \d+|row \d+|" + "|".join(WHOLE))


def same(left: Tables | Dataset, right: Tables | Dataset) -> bool:
    if isinstance(left, Tables):
        frames = ("items", "users", "interactions", "dated", "impressions", "shown")
        return isinstance(right, Tables) and all(
            getattr(left, n).equals(getattr(right, n)) for n in frames
        )
    assert isinstance(right, Dataset)
    columns = ("user", "item", "time", "label", "positive", "event_id")
    logs = all((getattr(left.log, name) == getattr(right.log, name)).all() for name in columns)
    items = left.items.released_at.tolist() == right.items.released_at.tolist()
    items &= (left.items.ids, left.items.titles, left.items.texts) == (
        right.items.ids, right.items.titles, right.items.texts
    )  # fmt: skip
    return logs and items and left.users == right.users


def attempt(read: Read, whole: Tables | Dataset, name: str) -> str:
    try:
        return "same" if same(read(), whole) else "other tables"
    except DataError as error:
        is_clear = name in str(error) and PLACE.search(str(error))
        return "refused" if is_clear else f"refused without a place: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def changes(file: Path) -> Iterator[tuple[str, bytes]]:
    """Every way to damage a file that changes it, and what becomes of its content."""
    content = file.read_bytes()
    for mutation, change in (
        SHEET if file.suffix == ".xlsx" else damage.mutations(file, content)
    ).items():
        if (changed := change(content)) is not None and changed != content:
            yield mutation, changed


@pytest.mark.parametrize("reader", READERS)
def test_damage_is_refused_with_its_place_or_changes_nothing(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, read = READERS[reader](tmp_path, monkeypatch)
    whole, seen, wrong = read(), Counter[str](), []
    for file in files:
        content, entry = file.read_bytes(), {"files": {file.name: hash_file(file)}}
        for mutation, changed in list(changes(file)):
            file.write_bytes(changed)
            outcome = attempt(read, whole, file.name)
            seen[outcome] += 1
            if outcome not in ("refused", "same"):
                wrong.append((file.name, mutation, outcome))
            if not damaged(file.parent, entry):
                wrong.append((file.name, mutation, "not noticed by its checksum"))
        file.write_bytes(content)
        assert same(read(), whole)
    assert wrong == []
    assert seen["refused"] >= 15
    assert seen["same"] >= (0 if reader == "online_retail xlsx" else 2)


def test_far_more_than_two_hundred_are_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []
    for reader, make in READERS.items():
        folder = tmp_path / reader
        folder.mkdir()
        tried += [
            (reader, file, mutation)
            for file in make(folder, monkeypatch)[0]
            for mutation, _ in changes(file)
        ]
    assert len(set(tried)) == len(tried) >= 1_000


def test_a_digit_that_became_another_is_noticed_by_a_checksum_alone(tmp_path: Path) -> None:
    files = caixin.find(toys.caixin.write(tmp_path))
    published = Remote("https://x/clicks.tsv", f"sha256:{hash_file(files[0])}")
    before = caixin.read(files)
    assert check(files[0], published)
    files[0].write_text(toys.caixin.CLICKS.replace("1393637578", "1393637579"))
    after = caixin.read(files)
    assert len(after.interactions) == len(before.interactions)
    assert not after.interactions.equals(before.interactions)
    with pytest.raises(DataError, match="another edition, or damaged on its way"):
        check(files[0], published)
