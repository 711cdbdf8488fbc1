"""What the owner of a shop does to tables without meaning harm: each is read as it was meant, or refused
in one clear line."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from coldlm.core.errors import DataError
from coldlm.core.tables import Dataset
from coldlm.data.own import load, problems

ITEMS = "item_id,title\na,Red tea\nb,Tea pot\n"
EVENTS = "user_id,item_id,timestamp\nu,a,2024-01-05\nu,b,2024-02-06\nv,b,2024-03-07\n"
TIMES = [1704412800, 1707177600, 1709769600]
"""Of ``EVENTS``."""


@dataclass(frozen=True)
class Mistake:
    """``items``, ``events``: content of the files, called ``names``. ``keys``: besides them.
    ``refused``: a pattern of the refusal, "" where all is read. ``shows``: what the data set must then
    satisfy."""

    items: str | bytes = ITEMS
    events: str | bytes = EVENTS
    keys: dict[str, Any] = field(default_factory=dict)
    refused: str = ""
    shows: Callable[[Dataset], bool] = lambda data: data.log.time.tolist() == TIMES
    names: tuple[str, str] = ("items.csv", "events.csv")


def times(*values: str) -> str:
    """Interactions at these times."""
    rows = zip("uuv", "abb", values, strict=False)
    return "user_id,item_id,timestamp\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows)


def priced(value: str, more: str = "3") -> str:
    return f"item_id,title,x\na,Red tea,{value}\nb,Tea pot,{more}\n"


def seen(*parts: str) -> Callable[[Dataset], bool]:
    """Whether what was found out, or is warned of, says all this."""
    return lambda data: all(part in f"{data.found} {data.warnings}" for part in parts)


def no_figure(data: Dataset) -> bool:
    return data.items.texts == ("Red tea", "Tea pot") and "x, figures" in data.found["text"]


LABELLED = (
    EVENTS.replace("timestamp", "timestamp,action")
    .replace("\nu,", "\nu,")
    .replace("05\n", "05,view\n")
)
LABELLED = LABELLED.replace("06\n", "06,cart\n").replace("07\n", "07,buy\n")
CHINESE = "item_id,title\na,红茶\nb,茶壶\n"

MISTAKES = {
    "other names": Mistake(
        events=EVENTS.replace("user_id", "customer_id"),
        refused=r"events.csv, line 1: no column 'user_id'; columns found: 'customer_id', 'item_id', 'timestamp'; "
        r"'customer_id' looks like user_id: dataset.columns.user_id=customer_id$",
    ),
    "other names, mapped": Mistake(
        "sku,name\na,Red tea\nb,Tea pot\n",
        EVENTS.replace("user_id,item_id,timestamp", "Kunde,product,when"),
        {"columns": {"user_id": "Kunde", "item_id": ["sku", "product"], "timestamp": "when", "title": "name"}},
        shows=lambda data: data.items.titles == ("Red tea", "Tea pot") and "Kunde is user_id" in str(data.found),
    ),
    "a name with blanks": Mistake(
        events=EVENTS.replace("user_id", "Customer ID"),
        refused=r"'Customer ID' looks like user_id: 'dataset.columns.user_id=\"Customer ID\"'",
    ),
    "Chinese names": Mistake(
        events=EVENTS.replace("user_id", "用户编号"),
        refused=r"'用户编号' looks like user_id: dataset.columns.user_id=用户编号",
    ),
    "two columns for one": Mistake(
        events=EVENTS.replace("user_id,", "a,b,").replace("u,", "u,u,").replace("v,", "v,v,"),
        keys={"columns": {"user_id": ["a", "b"]}},
        refused="dataset.columns.user_id names 'a' and 'b', which are both there; name one",
    ),
    "a name that no file has": Mistake(
        keys={"columns": {"user_id": "custmer"}}, refused="dataset.columns.user_id: no file has a column 'custmer'"
    ),
    "one column for two": Mistake(
        keys={"columns": {"user_id": "item_id"}}, refused="no column 'item_id'; .* says that it is another"
    ),
    "no such column to map": Mistake(keys={"columns": {"user": "x"}}, refused="dataset.columns.user: unknown"),
    "a title above the table": Mistake(
        events="Orders of 2024,,\n" + EVENTS, refused="line 1: 2 columns have no name; .* without a title above"
    ),
    "a spreadsheet's note": Mistake(
        events="sep=;\n" + EVENTS.replace(",", ";"), refused="line 1: a note for a spreadsheet"
    ),
    "carriage returns": Mistake(events=EVENTS.replace("\n", "\r"), refused="end with carriage returns alone"),
    "commas of another width": Mistake(
        events=EVENTS.replace(",", "，"),
        refused="columns found: 'user_id，item_id，timestamp'; only one column"
    ),
    "columns called line": Mistake(
        'item_id,line,title\na,summer,Red tea\nb,winter,"Tea pot"\n',
        "user_id,item_id,timestamp,line\nu,a,2024-01-05,1\n",
        shows=lambda data: data.items.texts == ("Red tea | summer", "Tea pot | winter"),
    ),
    "no header": Mistake(
        events=EVENTS.partition("\n")[2],
        refused=r"events.csv, line 1: 'u', 'a', '2024-01-05' are values, not names of columns",
    ),
    "a name twice": Mistake(
        events=EVENTS.replace("item_id", "user_id"), refused="line 1: column 'user_id' appears twice"
    ),
    "the header again": Mistake(
        events=EVENTS + EVENTS, refused=r"events.csv, line 5: the header once more"
    ),
    "an empty file": Mistake(events="", refused="events.csv: the file is empty"),
    "a header alone": Mistake(events="user_id,item_id,timestamp\n", refused="events.csv: no rows"),
    "ragged lines": Mistake(
        events=EVENTS + "v,a\n", refused=r"events.csv, line 5: 2 fields, expected 3 separated by ','"
    ),
    "a row of sums": Mistake(
        events=EVENTS + "Total,,3\n",
        refused=r"column 'item_id': missing in data row 4 \(line 5\); a row of sums is no event",
    ),
    "rows of commas": Mistake(
        events=EVENTS + ",,\n,,\n",
        shows=lambda data: data.counts["rows of events.csv without any value, left out"] == 2,
    ),
    "GBK": Mistake(
        CHINESE.encode("gb18030"),
        refused="not UTF-8; .*\n    line 2 as gb18030: 'a,红茶'\n    line 2 as latin-1: 'a,ºì²è'\n    line 3 as",
    ),
    "GBK, said": Mistake(
        CHINESE.encode("gbk"),
        keys={"encoding": "gb18030"},
        shows=lambda data: data.items.titles == ("红茶", "茶壶") and "gb18030" in data.found["items.csv"],
    ),
    "GBK beside UTF-8": Mistake(
        CHINESE, EVENTS.replace("u,", "甲,").encode("gbk"), {"encoding": "gb18030"},
        shows=lambda data: data.items.titles == ("红茶", "茶壶") and data.users.ids == ("v", "甲"),
    ),
    "latin-1": Mistake(
        ITEMS.replace("Red tea", "Thé, ça").replace("é, ", "é ").encode("latin-1"),
        keys={"encoding": "latin-1"},
        shows=lambda data: data.items.titles[0] == "Thé ça",
    ),
    "no such encoding": Mistake(keys={"encoding": "gb18031"}, refused="dataset.encoding=gb18031: no encoding"),
    "a byte order mark": Mistake(b"\xef\xbb\xbf" + ITEMS.encode(), b"\xef\xbb\xbf" + EVENTS.encode()),
    "UTF-16": Mistake(
        CHINESE.encode("utf-16"), EVENTS.replace(",", "\t").encode("utf-16"),
        shows=lambda data: data.items.titles == ("红茶", "茶壶") and "utf-16" in data.found["events.csv"],
    ),
    "UTF-16 without a mark": Mistake(
        events=EVENTS.encode("utf-16-le"), refused="as in UTF-16; set dataset.encoding=utf-16-le"
    ),
    "semicolons": Mistake(
        events=EVENTS.replace(",", ";"), shows=seen("'events.csv': 'utf-8, fields between semicolons'")
    ),
    "tabs": Mistake(events=EVENTS.replace(",", "\t"), names=("items.csv", "events.tsv")),
    "pipes": Mistake(events=EVENTS.replace(",", "|")),
    "two separators": Mistake(
        events="user_id,item_id;timestamp\nu,a;2024-01-05\n",
        refused="can be read in several ways:\n    between commas: .*\n    between semicolons: "
        ".*\n    set dataset.separator=comma or semicolon",
    ),
    "another separator": Mistake(events=EVENTS.replace(",", "~"), keys={"separator": "~"}),
    "a quoted line break": Mistake(
        'item_id,title\na,"Red\ntea"\nb,"Tea; ""pot"""\n',
        shows=lambda data: data.items.titles == ("Red tea", 'Tea; "pot"'),
    ),
    "a control character": Mistake(
        ITEMS.replace("Red", "Red\x01"), shows=lambda data: data.items.titles[0] == "Red\x01 tea"
    ),
    "a quoted text of 200,000 characters": Mistake(
        f'item_id,title\na,"{"x" * 200_000}"\nb,y\n',
        shows=lambda data: data.counts["texts_over_10000_chars"] == 1,
    ),
    "gzip": Mistake(gzip.compress(ITEMS.encode()), names=("items.csv.gz", "events.csv")),
    "gzip in name alone": Mistake(ITEMS, names=("items.csv.gz", "events.csv"), refused="no gzip archive"),
    "an old spreadsheet": Mistake(names=("items.xls", "events.csv"), refused="items.xls: .*save it as xlsx or csv"),
    "JSON lines": Mistake(
        '{"item_id": "a", "title": "Red tea", "tags": ["x", "y"]}\n{"item_id": "b", "title": "Tea pot"}\n',
        keys={"text": "{title}: {tags}"}, names=("items.jsonl", "events.csv"),
        shows=lambda data: data.items.texts == ("Red tea: x, y", "Tea pot"),
    ),
    "a JSON array": Mistake(
        '[{"item_id": "a", "title": "Red tea"},\n{"item_id": "b", "title": "Tea pot"}]\n',
        names=("items.json", "events.csv"),
    ),
    "broken JSON": Mistake('{"item_id": "a"}\n{"item_id": \n', names=("items.jsonl", "events.csv"),
                           refused=r"items.jsonl, line 2: not JSON"),
    "seconds": Mistake(events=times(*map(str, TIMES))),
    "seconds with fractions": Mistake(
        "item_id,title\na,x\nb,y\n", times("1704412800.75", "1704412800.5", "1704412801"),
        # within one second by fraction, not by line
        shows=lambda data: data.log.item.tolist() == [1, 0, 1] and data.counts["timestamps_cut_to_seconds"] == 2,
    ),
    "milliseconds": Mistake(events=times(*(f"{t}000" for t in TIMES)), shows=seen("'timestamp of events.csv': 'ms'")),
    "microseconds": Mistake(events=times(*(f"{t}000000" for t in TIMES))),
    "nanoseconds": Mistake(events=times(*(f"{t}000000000" for t in TIMES))),
    "seconds and milliseconds": Mistake(
        events=times(str(TIMES[0]), f"{TIMES[1]}000"),
        refused=r"1704412800 would be s and 1707177600000 in data row 2 \(line 3\) ms",
    ),
    "numbers that are dates": Mistake(events=times("20240105", "20240206", "20240307"), shows=seen("yyyymmdd")),
    "numbers that are dates and times": Mistake(events=times("20240105000000", "20240206000000", "20240307000000")),
    "one of them is none": Mistake(
        events=times("20240105", "20240206", "20241307"), refused=r"'20241307' in data row 3 \(line 4\) is not a time"
    ),
    "years": Mistake(events=times("2022", "2023", "2024"), shows=seen("'year, UTC")),
    "slashes": Mistake(events=times("2024/1/5", "2024/2/6 0:00", "2024/03/07")),
    "a zone": Mistake(events=times("2024-01-05T08:00:00+08:00", "2024-02-06T00:00Z", "2024-03-07")),
    "UTC in words": Mistake(
        events=times("2024-01-05 00:00:00 UTC", "2024-02-06 00:00:00.0 UTC", "2024-03-07 00:00 GMT")
    ),
    "day or month first": Mistake(
        events=times("05/01/2024", "06/02/2024", "07/03/2024"),
        refused="'05/01/2024' is 2024-01-05 with the day first, 2024-05-01 with the month .*dataset.day_first=true",
    ),
    "day first, said": Mistake(events=times("05/01/2024", "06/02/2024", "07/03/2024"), keys={"day_first": True}),
    "month first, a row tells": Mistake(events=times("1/5/2024", "2/6/2024", "1/13/2024"), shows=seen("mdy")),
    "both orders": Mistake(
        events=times("13/01/2024", "01/13/2024"), refused="'13/01/2024' in .* has the day first, '01/13/2024' in"
    ),
    "two digits of a year": Mistake(events=times("5.1.24"), refused="no year of four digits; set dataset.time_format"),
    "a pattern": Mistake(events=times("5.1.24", "6.2.24", "7.3.24"), keys={"time_format": "%d.%m.%y"}),
    "a spreadsheet's days": Mistake(
        events=times("45296", "45328"), shows=seen("all times are in 1970", "excel would be 2024-01-05")
    ),
    "digits lost": Mistake(events=times("1.70441E+12"), refused="has lost digits, as a spreadsheet cuts them"),
    "the future": Mistake(
        events=times("2024-01-05", "2924-01-05"), shows=seen("1 of 2 times are after today, up to 2924")
    ),
    "no date": Mistake(
        events=times("2024-01-05", "yesterday"), refused=r"column 'timestamp': 'yesterday' in data row 2 \(line 3\)"
    ),
    "release in years": Mistake(
        "item_id,title,year\na,x,1995\nb,y,n/a\n", keys={"released_at": "year"},
        shows=lambda data: data.items.released_at[0] == 788_918_400
        and data.counts["items_released_before_the_first_event"] == 1,
    ),
    "release in small numbers": Mistake(
        "item_id,title,released_at\na,x,17\nb,y,18\n", shows=seen("column 'released_at': all times are in 1970")
    ),
    "an id called nan": Mistake(
        ITEMS.replace("b,", "nan,"), EVENTS.replace("b,", "nan,").replace("u,", "NULL,"),
        shows=lambda data: data.items.ids == ("a", "nan") and data.users.ids == ("NULL", "v"),
    ),
    "ids as floats": Mistake(
        "item_id,title\n7,x\n8,y\n", EVENTS.replace(",a,", ",7.0,").replace(",b,", ",8.0,"),
        shows=lambda data: data.items.ids == ("7", "8") and "7.0 read as 7" in str(data.found),
    ),
    "some ids as floats": Mistake(
        "item_id,title\n7,x\n8,y\n", EVENTS.replace(",a,", ",7,").replace(",b,", ",8.0,"),
        refused=r"'8.0' in data rows 2, 3 \(from line 3\) is not .*'8' is another id: digits behind a point count",
    ),
    "blanks around ids": Mistake(
        events=EVENTS.replace(",a,", ", a,"), refused="'a' is another id: case and blanks count"
    ),
    "zeros lost": Mistake("item_id,title\n007,x\n8,y\n", EVENTS.replace(",a,", ",7,").replace(",b,", ",8,"),
                          refused="'007' is another id: zeros at the front count"),
    "items that are not listed": Mistake(
        events=EVENTS + "v,q,2024-04-01\nv,r,2024-04-01\nw,r,2024-04-02\n",
        refused=r"'q' in data rows 4, 5, 6 .*\(2 such items in 3 of 6 rows; dataset.unlisted_items=keep",
    ),
    "items that are not listed, kept": Mistake(
        events=EVENTS + "v,q,2024-04-01\n", keys={"unlisted_items": "keep"},
        shows=lambda data: data.items.texts[-1] == "" and data.counts["items_not_in_the_items_file"] == 1,
    ),
    **{
        f"a figure: {value}": Mistake(priced(value, more), shows=no_figure)
        for value, more in (
            ('"1,137"', "N/A"), ("$3.99", ""), ("12%", "5 %"), ("€ 3", "-"), ("4.5/5", "3/5"), ("1.2k", "37"),
            ("3 reviews", "1 review"), ("2.3万", "500+"), ("已售500+件", "12"),
        )
    },
    "a crowd's column": Mistake(
        "item_id,title,bought_together\na,Red tea,b and c\nb,Tea pot,\n",
        shows=lambda data: data.items.texts[0] == "Red tea" and "bought_together, what a crowd" in str(data.found),
    ),
    "a crowd's column, asked for": Mistake(
        "item_id,title,average_rating\na,Red tea,4.5\nb,Tea pot,3\n", keys={"text": "{title} ({average_rating})"},
        shows=lambda data: data.items.texts[0] == "Red tea (4.5)" and "may tell the future" in str(data.warnings),
    ),
    "words and figures": Mistake(
        priced("3.99", "on request"), shows=lambda data: data.items.texts[0] == "Red tea | 3.99"
    ),
    "actions that are not read": Mistake(
        events=LABELLED, refused=r"'action' looks like actions, .*dataset.label=action 'dataset.actions=.\{buy: 1, "
    ),
    "actions as words": Mistake(events=LABELLED, keys={"label": "action"},
                                refused="holds words, not numbers: 'buy' 1, 'cart' 1, 'view' 1; set 'dataset.actions="),
    "actions": Mistake(
        events=LABELLED, keys={"label": "action", "actions": {"view": 0, "cart": 3, "buy": 5}, "positive_from": 3},
        shows=lambda data: data.log.label.tolist() == [0, 3, 5] and data.log.positive.tolist() == [False, True, True],
    ),
    "actions as text": Mistake(
        events=LABELLED.replace("buy", "购买"), keys={"label": "action", "actions": "{view: 0, cart: 3, 购买: 5}"},
        shows=lambda data: data.log.label.tolist() == [0, 3, 5],
    ),
    "actions without a number": Mistake(
        keys={"label": "action", "actions": "{view, cart: 3}"}, refused="dataset.actions: '': 'view'; expected"
    ),
    "actions unknown": Mistake(
        events=LABELLED, keys={"label": "action", "actions": {"view": 0}},
        refused="2 of 3 rows hold actions that dataset.actions does not name: 'buy' 1, 'cart' 1; it names view",
    ),
    "actions without a column": Mistake(
        events=LABELLED, keys={"actions": {"view": 0}}, refused="'action' looks like it: dataset.label=action"
    ),
    "decimal commas": Mistake(
        events=EVENTS.replace(",", ";").replace("\n", ";4,5\n").replace("timestamp;4,5", "timestamp;label"),
        keys={"positive_from": 4.5}, shows=lambda data: data.log.label.tolist() == [4.5] * 3,
    ),
    "decimals or thousands": Mistake(
        events=EVENTS.replace(",", ";").replace("\n", ";4,500\n").replace("timestamp;4,500", "timestamp;label"),
        refused="'4,500' may be a decimal or a thousand",
    ),
    "a price for a label": Mistake(
        events=EVENTS.replace("\n", ",$3.99\n").replace("timestamp,$3.99", "timestamp,paid"), keys={"label": "paid"},
        refused=r"'paid'.*'\$3.99'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_natural_mistakes_are_read_as_meant_or_refused(mistake: Mistake, tmp_path: Path) -> None:
    paths = [tmp_path / name for name in mistake.names]
    for path, content in zip(paths, (mistake.items, mistake.events), strict=True):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    keys = {"items": str(paths[0]), "interactions": str(paths[1])} | mistake.keys
    if not mistake.refused:
        data = load(**keys)
        assert mistake.shows(data), (data.found, data.warnings, data.counts, data.items)
        return
    with pytest.raises(DataError, match=mistake.refused):
        load(**keys)
    assert len(problems(**keys)) == 1


def test_sheets_and_their_types(tmp_path: Path) -> None:
    pytest.importorskip("fastexcel")
    path = str(tmp_path / "shop.xlsx")
    items = pl.DataFrame({"item_id": [7, 8], "title": ["x", None], "year": [1999.0, 2000.0]})
    dated = pl.Series(["2024-01-05", "2024-02-06"]).str.to_datetime()
    events = pl.DataFrame({"user_id": ["u", "v"], "item_id": [7.0, 8.0], "timestamp": dated})
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        for name, table in (("goods", items), ("sales", events)):
            table.write_excel(book, name)
    events.write_csv(tmp_path / "events.csv")
    keys = {"items": path, "text": "{title} {year}"}
    data = load(**keys, interactions=str(tmp_path / "events.csv"))
    assert data.items.texts == ("x 1999", "2000")
    assert data.found["shop.xlsx"] == "xlsx, sheet 'goods' of 2"
    with pytest.raises(DataError, match="no sheet 'orders'; there are 'goods', 'sales'"):
        load(**keys, interactions=path, sheet="orders")
    both = load(**keys, interactions=path, sheet={"interactions": "sales"})
    assert both.log.time.tolist() == TIMES[:2]
    other = tmp_path / "sales.xlsx"
    events.write_excel(other)
    assert load(**keys, interactions=str(other)).log.time.tolist() == TIMES[:2]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_zstd_is_unpacked(kind: str, tmp_path: Path) -> None:
    events = pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"], "timestamp": TIMES[:2]})
    quoted = pl.DataFrame({"item_id": ["a", "b"], "title": ['Red\n"tea"', "红茶"]})
    packed = {name: tmp_path / f"{name}.{kind}.zst" for name in ("items", "events")}
    for table, path in ((quoted, packed["items"]), (events, packed["events"])):
        if kind == "csv":
            table.write_csv(path, compression="zstd", check_extension=False)
        else:
            table.write_ndjson(path, compression="zstd", check_extension=False)
    data = load(items=str(packed["items"]), interactions=str(packed["events"]))
    assert data.items.texts == ('Red "tea"', "红茶")
    assert data.log.time.tolist() == TIMES[:2]
    if kind == "csv":
        packed["items"].write_bytes(packed["items"].read_bytes()[:-9])
        with pytest.raises(DataError, match=r"items\.csv\.zst"):
            load(items=str(packed["items"]), interactions=str(packed["events"]))


def test_folders_of_parts_are_one_table(tmp_path: Path) -> None:
    """Flat or hive, and what the library ``datasets`` leaves on disk."""
    rows = pl.DataFrame({"user_id": ["u", "v"], "item_id": ["a", "b"], "timestamp": TIMES[:2]})
    for year in (0, 1):
        part = tmp_path / "events" / f"year=202{year}"
        part.mkdir(parents=True)
        rows[[year]].write_parquet(part / "0.parquet")
    saved = tmp_path / "saved"
    saved.mkdir()
    for n in (0, 1):
        items = pl.DataFrame({"item_id": ["ab"[n]], "title": ["xy"[n]]})
        items.write_ipc_stream(saved / f"data-0000{n}-of-00002.arrow")
    data = load(items=str(saved), interactions=str(tmp_path / "events"))
    assert data.items.ids == ("a", "b")
    assert data.log.time.tolist() == TIMES[:2]
    assert len(data.hashes) == 4
    assert data.counts["interaction columns not read: year"] == 1
    (tmp_path / "none").mkdir()
    (tmp_path / "dataset_dict.json").write_text("{}")
    for folder, message in (
        (tmp_path / "none", "without .parquet or .arrow"),
        (tmp_path, "name one of them"),
    ):
        with pytest.raises(DataError, match=message):
            load(items=str(folder), interactions=str(tmp_path / "events"))
