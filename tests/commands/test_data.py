"""``coldlm data``: what can be had, under which terms, and what a data set is like."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from coldlm.cli import main
from coldlm.commands import data as datasets
from coldlm.commands.data_card import _about_source, option_of
from coldlm.config.tree import list_options
from coldlm.data.sources.catalogue import SOURCES, Source
from coldlm.data.sources.fetch import Remote

CLICKS = "".join(
    f"{n % 5}\t{n % 31}\t{1_393_631_935 + n * 1000}\t新闻{n % 31}\t{1 + n % 30}\n"
    for n in range(60)
)


def test_every_public_data_set_has_a_source_and_every_source_a_config() -> None:
    named = {option.rpartition("/")[2] for option in list_options()["dataset"] if "/" in option}
    assert named == set(SOURCES)
    for source in SOURCES.values():
        assert source.terms
        assert source.files or source.by_hand
        assert all(remote.url.startswith(("https://", "http://")) for remote in source.files)
        assert all(
            remote.digest.partition(":")[0] in ("", "md5", "sha256") for remote in source.files
        )


def test_the_list_names_all_and_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("movielens_1m", "caixin", "kuairec"))


@pytest.mark.parametrize("name", [[], ["caixing"]])
def test_an_unknown_name_is_refused_with_the_nearest(
    name: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "card", *name]) == 2
    said = capsys.readouterr().err
    assert "no public data set" in said
    assert ("did you mean caixin?" in said) == bool(name)


def test_terms_that_must_be_accepted_are_asked_for_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Source("strict terms", ask=True, files=(Remote("http://127.0.0.1:9/a.csv"),))
    monkeypatch.setitem(SOURCES, "mind", source)
    monkeypatch.setattr(datasets, "fetch", lambda *_: True)
    line = ["data", "fetch", "mind", "--root", str(tmp_path)]
    assert main(line) == 2
    assert (
        "its terms must be accepted first: coldlm data fetch mind accept_licence=true"
        in capsys.readouterr().err
    )
    assert main([*line, "accept_licence=true"]) == 0
    assert "strict terms" in capsys.readouterr().out
    assert main(line) == 0
    assert f"COLDLM_DATA={tmp_path} coldlm run dataset=news/mind" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "key", "value", "names"),
    [
        ("mind", "edition", "large", ["MINDlarge_train.zip", "MINDlarge_dev.zip"]),
        ("mind", None, None, ["MINDsmall_train.zip", "MINDsmall_dev.zip"]),
        ("amazon2023", "category", "Books", ["Books.csv.gz", "meta_Books.jsonl.gz"]),
        ("amazon2018", "category", "Gift_Cards", ["Gift_Cards_5.json.gz", "meta_Gift_Cards.json.gz"]),
    ],
)  # fmt: skip
def test_an_edition_is_chosen_by_the_key_of_the_data_set(
    name: str,
    key: str | None,
    value: str | None,
    names: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Remote] = []
    monkeypatch.setattr(datasets, "fetch", lambda remote, *_: asked.append(remote))
    chosen = [f"dataset.{key}={value}"] if key else []
    assert (
        main(["data", "fetch", name, *chosen, "accept_licence=true", "--root", str(tmp_path)]) == 0
    )
    assert [remote.name for remote in asked] == names
    assert [bool(remote.digest) for remote in asked] == {"mind": [value is None] * 2}.get(
        name, [value == "Books", False]
    )


def test_fetch_refuses_what_it_would_ignore(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for line, said in (
        (["mind", "dataset.edition=huge"], "huge"),
        (
            ["mind", "bogus=1"],
            "bogus=1: fetch and verify of mind take accept_licence=true and dataset.edition=...",
        ),
        (
            ["lastfm_2k", "dataset.text=a"],
            "fetch and verify of lastfm_2k take accept_licence=true and no key",
        ),
    ):
        assert main(["data", "fetch", *line, "--root", str(tmp_path)]) == 2
        assert said in capsys.readouterr().err


def test_what_is_got_by_hand_lies_where_its_reader_looks(tmp_path: Path) -> None:
    """The list and the reader's own message name one folder."""
    from coldlm.config.check import file_problems
    from coldlm.config.compose import compose_plain

    for name, source in SOURCES.items():
        if folder := re.search(r"into (\w+)(?:_<edition>)?/", source.by_hand):
            config = compose_plain([f"dataset={option_of(name)}", f"dataset.root={tmp_path}"])
            assert folder[1] in file_problems(config)[0], name
            assert (
                "coldlm data fetch" in file_problems(config)[0].replace("fetch cannot", "")
            ) == bool(source.files)


def test_what_cannot_be_fetched_says_what_to_put_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "fetch", "caixin", "--root", str(tmp_path)]) == 2
    assert "get it by hand: clicks.tsv" in capsys.readouterr().err
    assert main(["data", "verify", "caixin", "--root", str(tmp_path)]) == 1
    assert (
        "No checksum to compare with: coldlm data card caixin shows its" in capsys.readouterr().out
    )


def test_verify_finds_what_is_missing_changed_and_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        SOURCES, "lastfm_1k", Source("terms", files=(Remote("http://127.0.0.1:9/a.csv"),))
    )
    line = ["data", "verify", "lastfm_1k", "--root", str(tmp_path)]
    assert main(line) == 1
    assert "not fetched: http" in capsys.readouterr().out
    (tmp_path / "a.csv").write_bytes(b"1")
    digest = "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b"
    (tmp_path / "fetched.json").write_text(json.dumps({"a.csv": {"files": {"a.csv": digest}}}))
    assert main(line) == 0
    assert "a.csv: unchanged" in capsys.readouterr().out
    (tmp_path / "a.csv").write_bytes(b"2")
    assert main(line) == 1
    assert "changed or missing: a.csv" in capsys.readouterr().out


def test_a_card_tells_terms_counts_languages_cohorts_and_hashes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clicks.tsv").write_text(
        CLICKS + CLICKS.splitlines(keepends=True)[0], encoding="utf-8"
    )
    assert main(["data", "card", "caixin", "split.windows=1", "--root", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for fact in (
        "# caixin",
        "from: clicks.tsv",
        "terms: contest data",
        "5 users, 31 items, 60 events, 60 of them positive",
        "Chinese, Japanese 100%",
        "events before the log, whose times are made up: 0",
        "policies: repeated_lines 1",
        "cohorts: warm_warm",
        "clicks.tsv",
    ):
        assert fact in said


def test_a_card_of_a_reader_that_saw_no_real_file_says_so(tmp_path: Path) -> None:
    lines = _about_source("amazon2023", SOURCES["amazon2023"], {"price": "of the day of the crawl"})
    assert "format: FORMAT UNVERIFIED: made-up files only" in lines
    assert lines[1].startswith("from: https://")
    assert "banned fields: price (of the day of the crawl)" in lines


def test_without_files_a_card_says_how_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "card", "caixin", "--root", str(tmp_path)]) == 2
    assert "clicks.tsv" in capsys.readouterr().err
