"""Damaged raw files of every reader: refused with file and place, or read as if nothing had happened, never otherwise.

Every file of the readers' own tests is damaged in every way below that its format knows. One kind of damage cannot be
noticed without a checksum, and is shown at the end: a digit that became another digit.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from coldlm.data import (
    adressa,
    amazon2018,
    amazon2023,
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
)  # fmt: skip
from coldlm.data.canonical import Tables
from coldlm.data.fetch import Remote, check, damaged
from coldlm.data.raw import hash_file
from coldlm.errors import DataError
from coldlm.tables import Dataset

Read = Callable[[], Tables | Dataset]
Made = tuple[list[Path], Read]
"""The files that are damaged one by one, and how they are read."""

Mutation = Callable[[bytes], bytes | None]
"""None: the file has no place for it."""


def fixtures(reader: str) -> ModuleType:
    """The tests of a reader, for the files that they write."""
    path = Path(__file__).with_name(f"test_{reader}.py")
    spec = importlib.util.spec_from_file_location(f"fixtures_of_{reader}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OF = {
    name: fixtures(name)
    for name in (
        "adressa", "amazon2018", "amazon2023", "caixin", "ebnerd", "hm", "kuairec", "lastfm_1k", "lastfm_2k",
        "microlens", "mind", "movielens", "movielens_editions", "online_retail", "own",
    )
}  # fmt: skip


# --- the files of every reader ----------------------------------------------------------------------------------------


def _own(folder: Path, patch: pytest.MonkeyPatch, kind: str) -> Made:
    keys = OF["own"]._write(folder, users="user_id,name\nv,Võ\nu,Uma\n")
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
    files = OF["amazon2023"]._write(folder)
    files = _zipped(files) if is_zipped else files
    return files, lambda: amazon2023.read(files)


def _amazon2018(folder: Path, patch: pytest.MonkeyPatch, kind: str) -> Made:
    of = OF["amazon2018"]
    files = of._write(folder, of.CSV if kind == "csv" else of._lines(of.REVIEWS), f"Gift_Cards.{kind}")
    return files, lambda: amazon2018.read(files)


def _online_retail(folder: Path, patch: pytest.MonkeyPatch, writer: str) -> Made:
    file = getattr(OF["online_retail"], writer)(folder)
    return [file], lambda: online_retail.read([file])


def _hm(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = OF["hm"]._write(folder, customers=OF["hm"].CUSTOMERS)
    return files, lambda: hm.read(files)


def _movielens(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    root = OF["movielens"].write(folder, patch)
    return sorted((root / "ml-latest-small").iterdir()), lambda: movielens.load(root=str(root))


def _edition(folder: Path, patch: pytest.MonkeyPatch, edition: Any) -> Made:
    files = movielens_editions.find(OF["movielens_editions"].write(folder, patch), edition)
    return files, lambda: movielens_editions.read(files, edition)


def _kuairec(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = kuairec.find(OF["kuairec"].write(folder, patch), "big")
    return files, lambda: kuairec.read(files)


def _mind(folder: Path, patch: pytest.MonkeyPatch, translations: str) -> Made:
    root = OF["mind"].write(folder)
    files = mind.find(root)
    if not translations:
        return files.behaviors + files.news, lambda: mind.read(files)
    there = root / "xMINDsmall" / "cmn" / translations
    there.parent.mkdir(parents=True)
    if there.suffix == ".tsv":
        there.write_text(OF["mind"].CHINESE)
    else:
        pl.DataFrame({"nid": ["N1", "N2"], "title": ["题一", "题二"], "abstract": [None, "x"]}).write_parquet(there)
    files = mind.find(root, language="cmn")
    return [there], lambda: mind.read(files)


def _lastfm_2k(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    patch.setattr(lastfm_2k, "N_USERS", 2)
    files = lastfm_2k.find(OF["lastfm_2k"].write(folder))
    return files, lambda: lastfm_2k.read(files)


def _ebnerd(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = ebnerd.find(OF["ebnerd"].write(folder))
    return [*files.behaviors, *files.histories, *files.articles], lambda: ebnerd.read(files)


def _caixin(folder: Path, patch: pytest.MonkeyPatch) -> Made:
    files = caixin.find(OF["caixin"].write(folder))
    # readers read more than one news: else they could be the news
    files[0].write_text(OF["caixin"].CLICKS + '1626\t100645303\t1393637579\t"百忧解"\t1\n')
    return files, lambda: caixin.read(files)


def _plain(folder: Path, patch: pytest.MonkeyPatch, name: str, find: Callable[[Path], list[Path]], read: Any) -> Made:
    OF[name].write(folder)
    files = find(folder)
    return files, lambda: read(files)


READERS: dict[str, Callable[[Path, pytest.MonkeyPatch], Made]] = {
    "own csv": partial(_own, kind="csv"),
    "own parquet": partial(_own, kind="parquet"),
    "amazon2023": partial(_amazon2023, is_zipped=False),
    "amazon2023 gz": partial(_amazon2023, is_zipped=True),
    "amazon2018 json": partial(_amazon2018, kind="json"),
    "amazon2018 csv": partial(_amazon2018, kind="csv"),
    "online_retail xlsx": partial(_online_retail, writer="_new"),
    "online_retail csv": partial(_online_retail, writer="_csv"),
    "online_retail parquet": partial(_online_retail, writer="_parquet"),
    "hm": _hm,
    "movielens 2016": _movielens,
    **{f"movielens {name}": partial(_edition, edition=name) for name in movielens_editions.EDITIONS},
    "microlens": partial(_plain, name="microlens", find=lambda root: microlens.find(root, "50k"), read=microlens.read),
    "kuairec": _kuairec,
    "lastfm_2k": _lastfm_2k,
    "lastfm_1k": partial(
        _plain, name="lastfm_1k", find=lastfm_1k.find, read=lambda files: lastfm_1k.read(files, "artist")
    ),
    "mind": partial(_mind, translations=""),
    "xmind tsv": partial(_mind, translations="train.tsv"),
    "xmind parquet": partial(_mind, translations="train.parquet.gzip"),
    "ebnerd": _ebnerd,
    "adressa": partial(_plain, name="adressa", find=adressa.find, read=adressa.read),
    "caixin": _caixin,
}


# --- ways to damage any file ------------------------------------------------------------------------------------------


def lines_of(content: bytes) -> list[bytes]:
    """With their line breaks; a lone carriage return is none."""
    return re.findall(rb"[^\n]*\n|[^\n]+$", content)


def half(content: bytes) -> bytes:
    """Cut inside the line, or block, in the middle."""
    lines = lines_of(content)
    kept, middle = lines[: len(lines) // 2], lines[len(lines) // 2]
    return b"".join(kept) + middle[: len(middle) // 2]


ANY: dict[str, Mutation] = {
    "empty": lambda b: b"",
    "half of it": half,
    "a page of the server": lambda b: b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
    "another archive": lambda b: b"PK\x03\x04\x14\0\0\0\x08\0" + b[:40],
    "zeros at its end": lambda b: b[: len(b) * 3 // 4] + bytes(len(b) - len(b) * 3 // 4),
    "zeros at its start": lambda b: bytes(8) + b[8:],
}

# --- ways to damage text ----------------------------------------------------------------------------------------------


def at_line(place: Callable[[int], int], change: Callable[[bytes], bytes]) -> Mutation:
    """Change one line; ``place``: of how many lines which."""

    def mutate(content: bytes) -> bytes:
        lines = lines_of(content)
        which = place(len(lines))
        return b"".join([*lines[:which], change(lines[which]), *lines[which + 1 :]])

    return mutate


def last(n: int) -> int:
    return n - 1


def middle(n: int) -> int:
    return n // 2


def inside(line: bytes, what: bytes) -> bytes:
    """``what`` at a place of the line that the line itself draws."""
    end = len(line.rstrip(b"\r\n"))
    place = random.Random(line).randrange(1, max(2, end))
    return line[:place] + what + line[place:]


def open_quote(line: bytes) -> bytes:
    """At the start of the line's last field."""
    place = line.rindex(b",") + 1
    return line[:place] + b'"' + line[place:]


def cut_character(content: bytes) -> bytes | None:
    text = content.decode("utf-8", "replace")
    wide = [i for i, character in enumerate(text) if len(character.encode()) > 1 and character != "\ufffd"]
    return text[: wide[-1] + 1].encode()[:-1] if wide else None


def other_line_ends(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n") if b"\r\n" in content else content.replace(b"\n", b"\r\n")


TEXT: dict[str, Mutation] = ANY | {
    "the last line cut": at_line(last, lambda line: line[: len(line) // 2]),
    "a character cut": cut_character,
    "a byte order mark": lambda b: b"\xef\xbb\xbf" + b,
    "UTF-16": lambda b: b.decode("utf-8", "replace").encode("utf-16"),
    "line ends exchanged": other_line_ends,
    "line ends of old": lambda b: b.replace(b"\r\n", b"\n").replace(b"\n", b"\r"),
    "a NUL byte": at_line(middle, partial(inside, what=b"\0")),
    "a byte that is no text": at_line(last, partial(inside, what=b"\xff\xfe")),
    "two lines joined": at_line(middle, lambda line: line.rstrip(b"\r\n")),
    "the end once more": lambda b: b + lines_of(b)[-1][-9:],
    "packed": gzip.compress,
}

# --- ways to damage tables of text ------------------------------------------------------------------------------------


def delimiter(path: Path) -> str:
    return {".csv": ",", ".user": "|", ".item": "|"}.get(path.suffix) or ("::" if "ml-1m" in path.parts else "\t")


def rows_of(content: bytes, separator: str) -> list[list[str]]:
    lines = io.StringIO(content.decode("utf-8", "surrogateescape"), newline="")
    if separator == ",":
        return list(csv.reader(lines))
    return [line.rstrip("\r\n").split(separator) for line in lines]


def text_of(rows: list[list[str]], separator: str) -> bytes:
    out = io.StringIO(newline="")
    if separator == ",":
        csv.writer(out, lineterminator="\n").writerows(rows)
    else:
        out.writelines(separator.join(row) + "\n" for row in rows)
    return out.getvalue().encode("utf-8", "surrogateescape")


Rows = list[list[str]]


def exchanged(rows: Rows, start: int = 0) -> Rows:
    """The first two columns."""
    return rows[:start] + [[row[1], row[0], *row[2:]] for row in rows[start:]]


TABLE: dict[str, Callable[[Rows], Rows]] = {
    "a field too few": lambda rows: [*rows[:-1], rows[-1][:-1]],
    "a field too many": lambda rows: [*rows[:-1], [*rows[-1], "9"]],
    "a line of names": lambda rows: [[f"name{n}" for n in range(len(rows[0]))], *rows],
    "columns exchanged": exchanged,
}

NAMED: dict[str, Callable[[Rows], Rows]] = {
    "columns exchanged under their names": lambda rows: exchanged(rows, 1),
    "the names twice": lambda rows: [rows[0], *rows],
    "the names once more": lambda rows: [*rows[:-1], rows[0], rows[-1]],
    "no names": lambda rows: rows[1:],
    "only names": lambda rows: rows[:1],
    "one name twice": lambda rows: [[rows[0][0], rows[0][0], *rows[0][2:]], *rows[1:]],
}


def table_mutations(path: Path, content: bytes) -> dict[str, Mutation]:
    separator = delimiter(path)
    has_names = path.name.endswith(("csv", "dat")) and content[:1].isalpha() and "ml-1m" not in path.parts
    has_names = (has_names or "xMIND" in str(path)) and path.name != "Gift_Cards.csv"
    changes = TABLE | (NAMED if has_names else {})
    if content.count(separator.encode(), 0, content.index(b"\n")) > 1:  # two words may stand in any order
        changes["a field moved"] = lambda rows: [*rows[:-1], [*rows[-1][1:], rows[-1][0]]]

    def apply(change: Callable[[Rows], Rows], content: bytes) -> bytes:
        return text_of(change(rows_of(content, separator)), separator)

    other = b";" if separator != "\t" else b","
    return {
        "another delimiter": lambda b: b.replace(separator.encode(), other),
        **({"a quote that is not closed": at_line(middle, open_quote)} if separator == "," else {}),
        **{name: partial(apply, change) for name, change in changes.items()},
    }


OBJECTS: dict[str, Mutation] = {
    "a key renamed": lambda b: re.sub(rb'"(asin|parent_asin|time)":', b'"other":', b),
    "a number in quotes": at_line(last, lambda line: re.sub(rb'": ([\d.]+)', rb'": "\1"', line)),
    "a word without quotes": at_line(last, lambda line: re.sub(rb'("\w+"): "(\w+)"', rb"\1: \2", line)),
    "a list": lambda b: b"[" + b.rstrip().replace(b"\n", b",\n") + b"]\n",
    "a bracket lost": at_line(middle, lambda line: line.replace(b"}", b"", 1)),
}

# --- ways to damage archives, parquet and sheets ----------------------------------------------------------------------

ARCHIVE: dict[str, Mutation] = ANY | {
    "not packed": gzip.decompress,
    "another check sum": lambda b: b[:-8] + bytes(4) + b[-4:],
    "another length": lambda b: b[:-4] + b"\1\2\3\4",
    "damaged inside": lambda b: b[: len(b) // 2] + bytes(6) + b[len(b) // 2 + 6 :],
    "packed twice": gzip.compress,
    "something behind it": lambda b: b + b"something",
    "in two parts": lambda b: gzip.compress(gzip.decompress(b)[:50]) + gzip.compress(gzip.decompress(b)[50:]),
}

Frames = dict[str, Callable[[pl.DataFrame], pl.DataFrame]]


def renamed(table: pl.DataFrame, *names: str) -> pl.DataFrame:
    return table.rename(dict(zip(table.columns, names, strict=False)))


FRAMES: Frames = {
    "a column renamed": lambda t: renamed(t, "other"),
    "columns exchanged": lambda t: t.select(t.columns[::-1]),
    "columns exchanged under their names": lambda t: renamed(t, t.columns[1], t.columns[0]),
    "a column lost": lambda t: t.drop(t.columns[0]),
    "ids of another type": lambda t: t.with_columns(pl.lit(2.5).alias(t.columns[0])),
    "an id missing": lambda t: t.with_columns(
        pl.when(pl.int_range(pl.len()) != pl.len() - 1).then(t.columns[0]).alias(t.columns[0])
    ),
    "no rows": lambda t: t.clear(),
}


def parquet(table: pl.DataFrame, **options: Any) -> bytes:
    stream = io.BytesIO()
    table.write_parquet(stream, **options)
    return stream.getvalue()


PARQUET: dict[str, Mutation] = ANY | {
    "its end cut": lambda b: b[:-4],
    "a table of text": lambda b: b"item_id,title\na,b\n",
    "zeros in the middle": lambda b: b[: len(b) // 4] + bytes(len(b) // 4) + b[len(b) // 4 * 2 :],
    "two row groups": lambda b: parquet(pl.read_parquet(b), row_group_size=1),
    "another compression": lambda b: parquet(pl.read_parquet(b), compression="gzip"),
    **{
        name: lambda b, change=change: parquet(change(pl.read_parquet(b)))  # type: ignore[misc]
        for name, change in FRAMES.items()
    },
}


def sheet(change: Callable[[Rows], Rows]) -> Mutation:
    """The workbook of Online Retail with other rows; the first one holds the names."""

    def mutate(_: bytes) -> bytes:
        of, stream = OF["online_retail"], io.BytesIO()
        names, *rows = change([list(of.NEW), *map(list, of.FIRST)])
        of._xlsx(stream, tuple(names), Year_2009=rows, Year_2010=of.SECOND if len(rows) else [])
        return stream.getvalue()

    return mutate


SHEET: dict[str, Mutation] = ANY | {
    "damaged inside": lambda b: b[: len(b) // 2] + b"damage" + b[len(b) // 2 + 6 :],
    "its end cut": lambda b: b[:-9],
    "columns exchanged": sheet(lambda rows: [row[::-1] for row in rows]),
    "a value moved": sheet(lambda rows: [*rows[:-1], [*rows[-1][1:], rows[-1][0]]]),
    "the names once more": sheet(lambda rows: [*rows[:-1], rows[0], rows[-1]]),
    "no names": sheet(lambda rows: rows[1:]),
    "only names": sheet(lambda rows: rows[:1]),
    "a column renamed": sheet(lambda rows: [["Bill", *rows[0][1:]], *rows[1:]]),
    "columns exchanged under their names": sheet(lambda rows: exchanged(rows, 1)),
    "one name twice": sheet(lambda rows: [[rows[0][1], *rows[0][1:]], *rows[1:]]),
    "a time of text": sheet(lambda rows: [*rows[:-1], [*rows[-1][:4], "1/2/10 8:26", *rows[-1][5:]]]),
    "a value missing": sheet(lambda rows: [*rows[:-1], [*rows[-1][:3], None, *rows[-1][4:]]]),
}


def mutations(path: Path, content: bytes) -> dict[str, Mutation]:
    """All that the file's format knows."""
    if path.suffix == ".gz":
        inner = mutations(path.with_suffix(""), gzip.decompress(content))
        packed: dict[str, Mutation] = {
            f"{name}, packed": lambda b, change=change: (
                None  # type: ignore[misc]
                if (changed := change(gzip.decompress(b))) is None
                else gzip.compress(changed)
            )
            for name, change in inner.items()
        }
        return ARCHIVE | packed
    if ".parquet" in path.suffixes:
        return PARQUET
    if path.suffix == ".xlsx":
        return SHEET
    if path.suffix in (".json", ".jsonl") or path.name.startswith("2017"):
        return TEXT | OBJECTS
    text = TEXT | table_mutations(path, content)
    if path.suffix in (".item", ".dat") and path.name != "artists.dat":
        del text["a byte that is no text"]  # in latin-1 every byte is a character
    return text


# --- what becomes of it -----------------------------------------------------------------------------------------------

WHOLE = (
    "the file is empty", "no rows", "cannot be read as (parquet|xlsx)", "no gzip archive",
    r"parquet(\.gzip)?: no column", r"parquet(\.gzip)?, column '\w+': (values|ids) of type",
    r"(ratings|users|films|tags) (of \d users )?in .*, expected [\d,]+",
)  # fmt: skip
"""Damage without a line: of all of a file, of the types of a column, or known by the published number of rows."""

PLACE = re.compile(r"line \d+|data rows? \d+|row \d+|" + "|".join(WHOLE))


def same(left: Tables | Dataset, right: Tables | Dataset) -> bool:
    if isinstance(left, Tables):
        frames = ("items", "users", "interactions", "dated", "impressions")
        return isinstance(right, Tables) and all(getattr(left, n).equals(getattr(right, n)) for n in frames)
    assert isinstance(right, Dataset)
    columns = ("user", "item", "time", "label", "positive", "event_id")
    logs = all((getattr(left.log, name) == getattr(right.log, name)).all() for name in columns)
    items = left.items.released_at.tolist() == right.items.released_at.tolist()
    items &= (left.items.ids, left.items.titles, left.items.texts) == (
        right.items.ids, right.items.titles, right.items.texts
    )  # fmt: skip
    return logs and items and left.users == right.users


@dataclass(frozen=True)
class Outcome:
    """``seen``: "refused", "same", or what else came of it. ``has_other_hash``: what a checksum says."""

    reader: str
    file: str
    mutation: str
    seen: str
    has_other_hash: bool


def attempt(read: Read, whole: Tables | Dataset, name: str) -> str:
    try:
        return "same" if same(read(), whole) else "other tables"
    except DataError as error:
        is_clear = name in str(error) and PLACE.search(str(error))
        return "refused" if is_clear else f"refused without a place: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def outcomes_of(reader: str, folder: Path) -> Iterator[Outcome]:
    with pytest.MonkeyPatch.context() as patch:
        files, read = READERS[reader](folder, patch)
        whole = read()
        for file in files:
            content, name = file.read_bytes(), str(file.relative_to(folder))
            entry = {"files": {name: hash_file(file)}}
            for mutation, change in mutations(file, content).items():
                if (changed := change(content)) is None or changed == content:
                    continue
                file.write_bytes(changed)
                yield Outcome(reader, name, mutation, attempt(read, whole, file.name), damaged(folder, entry) == [name])
            file.write_bytes(content)
            assert same(read(), whole)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    return [found for reader in READERS for found in outcomes_of(reader, tmp_path_factory.mktemp("damaged"))]


@pytest.mark.parametrize("reader", READERS)
def test_damage_is_refused_with_its_place_or_changes_nothing(reader: str, outcomes: list[Outcome]) -> None:
    of = [found for found in outcomes if found.reader == reader]
    assert len(of) >= 20
    assert [found for found in of if found.seen not in ("refused", "same")] == []


def test_far_more_than_two_hundred_were_tried_and_both_outcomes_occur(outcomes: list[Outcome]) -> None:
    seen = Counter(found.seen for found in outcomes)
    assert len({(found.reader, found.file, found.mutation) for found in outcomes}) == len(outcomes) >= 1_000
    assert seen["refused"] > 800
    assert seen["same"] > 80


def test_a_checksum_refuses_all_of_them(outcomes: list[Outcome]) -> None:
    assert [found for found in outcomes if not found.has_other_hash] == []


def test_a_digit_that_became_another_is_noticed_by_a_checksum_alone(tmp_path: Path) -> None:
    files = caixin.find(OF["caixin"].write(tmp_path))
    published = Remote("https://x/clicks.tsv", f"sha256:{hash_file(files[0])}")
    before = caixin.read(files)
    assert check(files[0], published)
    files[0].write_text(OF["caixin"].CLICKS.replace("1393637578", "1393637579"))
    after = caixin.read(files)
    assert len(after.interactions) == len(before.interactions)
    assert not after.interactions.equals(before.interactions)
    with pytest.raises(DataError, match="another edition, or damaged on its way"):
        check(files[0], published)
