"""``coldlm data check``: what a run would make of files of one's own, and the line to type."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from coldlm.cli import main
from coldlm.config.check import problems
from coldlm.config.compose import compose_plain
from coldlm.data import own

GOODS = "sku;name;price;launched\n" + "".join(
    f"{i};{'Kanne' if i % 2 else 'Löffel'} {i};{i},99 EUR;{2000 + i}\n" for i in range(20)
)
ORDERS = "customer,sku,date,stars\n" + "".join(
    f"c{e * 7 % 13},{e % 20},2024/{1 + e // 28}/{1 + e % 28},{1 + e % 5}\n" for e in range(160)
)


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("goods.csv").write_text(GOODS, encoding="utf-8")
    Path("my orders.csv").write_text(ORDERS, encoding="utf-8")


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert main(["data", "check", *arguments]) == status
    captured = capsys.readouterr()
    return captured.err if status else captured.out


@pytest.mark.parametrize("turned", [False, True])
def test_files_are_told_apart_and_the_line_to_type_is_a_run(
    capsys: pytest.CaptureFixture[str], turned: bool
) -> None:
    files = ["goods.csv", "my orders.csv"][:: -1 if turned else 1]
    found = said(capsys, *files, "backbone=tiny_bert")
    for part in (
        "found: goods.csv: utf-8, fields between semicolons; sku is item_id; name is title",
        "date of my orders.csv: ymd",
        "found: text: {title} (set aside: price, figures, launched, figures)",
        "13 users, 20 items, 160 events, 160 of them positive",
        "letters: Latin 100%",
        "labels: 1 to 5, 100% of them positive; with dataset.positive_from=3 60% would be",
        "cold: 0.0% of the ",
        "text of 0: Löffel 0\n",
        "tokens under tiny_bert: ",
        "hint: 'launched' looks like a release; dataset.released_at=launched",
        "split: train < 2024-",
    ):
        assert part in found
    line = found.splitlines()[-1].removeprefix("to run: ")
    start, command, *overrides = shlex.split(line)
    assert (start, command) == ("coldlm", "run")
    config = compose_plain(overrides)
    assert problems(config) == []
    keys = {key: value for key, value in config["dataset"].items() if key != "_target_"}
    assert own.problems(**keys) == []
    assert keys["columns"] == {
        "user_id": "customer", "item_id": "sku", "timestamp": "date", "title": "name"
    }  # fmt: skip
    assert (keys["label"], config["backbone"]["_target_"]) == (
        "stars",
        "coldlm.models.backbone.tiny",
    )


def test_a_folder_may_be_called_like_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    orders = pl.read_csv("my orders.csv")
    Path("year=2024").mkdir()
    orders.write_parquet("year=2024/0.parquet")
    found = said(capsys, "year=2024", "goods.csv", "backbone=random_vectors")
    assert "160 events" in found
    line = shlex.split(found.splitlines()[-1])
    assert 'dataset.interactions="year=2024"' in line


def test_overrides_stand_and_are_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    found = said(
        capsys, "dataset=own", "dataset.items=goods.csv", 'dataset.interactions="my orders.csv"',
        "dataset.columns.item_id=sku", "dataset.columns.user_id=customer", "dataset.columns.timestamp=date",
        "dataset.label=stars", "dataset.positive_from=4", "backbone=random_vectors",
    )  # fmt: skip
    assert "160 events, 64 of them positive" in found
    assert "labels:" not in found
    assert "dataset.positive_from=4 backbone=random_vectors" in found.splitlines()[-1]


def test_few_events_are_cut_into_fewer_windows(capsys: pytest.CaptureFixture[str]) -> None:
    few = [f"c{e},{e % 3},2024-01-{1 + e:02d}\n" for e in range(14)]
    Path("few.csv").write_text("customer,sku,date\n" + "".join(few), encoding="utf-8")
    found = said(capsys, "goods.csv", "few.csv", "backbone=random_vectors")
    assert found.splitlines()[-1].endswith("dataset.columns.timestamp=date split.windows=3")
    Path("few.csv").write_text("customer,sku,date\n" + "".join(few[:3]), encoding="utf-8")
    assert "can be read, but not be cut in time: " in said(capsys, "goods.csv", "few.csv", status=2)


def test_chinese_texts_get_an_encoder_that_reads_them(capsys: pytest.CaptureFixture[str]) -> None:
    goods = "商品编号,商品名称\n" + "".join(f"{i},红茶壶{i}号\n" for i in range(20))
    Path("商品.csv").write_text(goods, encoding="gb18030")
    assert "line 1 as gb18030: '商品编号,商品名称'" in said(
        capsys, "商品.csv", "my orders.csv", status=2
    )
    found = said(capsys, "商品.csv", "my orders.csv", "dataset.encoding=gb18030")
    assert "letters: Chinese, Japanese 100%" in found
    assert "tokens under bert_base_chinese: " in found
    line = found.splitlines()[-1]
    assert 'dataset.items="商品.csv"' in shlex.split(line) or "dataset.items=商品.csv" in line
    assert '\'dataset.columns.item_id=["商品编号","sku"]\'' in line
    assert line.endswith("backbone=bert_base_chinese")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "name files of yours"),
        (("goods.csv",), "none of goods.csv looks like interactions"),
        (("goods.csv", "goods.csv"), "both look like items; name them"),
        (("none.csv", "goods.csv"), "none.csv: no such file"),
        (
            ("odd.csv", "goods.csv"),
            "no column looks like user_id or item_id; columns found: 'x', 'y'",
        ),
        (("goods.csv", "my orders.csv", "dataset=simulated"), "only dataset=own reads files"),
        (
            ("goods.csv", "my orders.csv", "dataset.time_format=ms"),
            "taken so far: dataset.items=goods.csv",
        ),
    ],
)
def test_what_cannot_be_told_is_asked_for(
    files: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("odd.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    assert message in said(capsys, *files, status=2)


@pytest.mark.long
def test_a_bad_row_is_refused_before_torch_is_loaded() -> None:
    Path("bad.csv").write_text(f"{ORDERS}c1,1,soon,3\n", encoding="utf-8")
    files = "dataset.items=goods.csv dataset.interactions=bad.csv dataset.label=stars"
    names = "user_id=customer item_id=sku timestamp=date"
    line = ["run", "dataset=own", *files.split(), *(f"dataset.columns.{n}" for n in names.split())]
    program = (
        "import sys; from coldlm.cli import main; status = main(sys.argv[1:]); "
        "sys.exit(7 if {'torch', 'transformers'} & {*sys.modules} else status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *line], capture_output=True, text=True, check=False
    )
    assert "'soon' in data row 161 (line 162) is not a time" in done.stderr
    assert done.returncode == 2
