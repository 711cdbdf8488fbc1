"""The page: whole, alone, safe, and the same for the same runs."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from coldlm.report.measured import make_report
from coldlm.report.verdict import NO_CLAIM, judge
from coldlm.report.write import write_report

REPO = Path(__file__).parents[2]
MOST_BYTES = 3_000_000
EVIL = "<script>alert(1)</script><img/src=x/onerror=alert(2)>\"'`&|"
VOID = {"meta", "input"}


class Page(HTMLParser):
    """``tags``: (name, attributes) of every element. ``tables``: heading -> rows of texts, head first.
    ``bold``, ``texts``: all that stands in bold, and all that is read, script and style left out."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.bold: list[str] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self._heading = ""
        self.feed(text)
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("h2", "h3", "summary"):
            self._heading = ""
        elif tag == "table":
            self.tables[self._heading] = []
        elif tag == "tr":
            self.tables[self._heading].append([])
        elif tag in ("th", "td"):
            self.tables[self._heading][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("script", "style"):
            return
        self.texts.append(data)
        if "table" in self._open and {"th", "td"} & set(self._open):
            self.tables[self._heading][-1][-1] += data
            if "b" in self._open:
                self.bold.append(data)
        elif self._open and self._open[-1] in ("h2", "h3", "summary"):
            self._heading += data


def written(folder: Path, out: Path) -> str:
    write_report([folder], out)
    return (out / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[[Path], str]:
    return lambda folder: written(folder, tmp_path / "out")


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """Title -> rows of a Markdown page, marks of bold and italics left out."""
    found = {}
    for title, body in re.findall(r"^#{2,3} (.+)\n\n(?:\*\*.+\n\n)*((?:\|.*\n)+)", text, re.M):
        rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in body.splitlines()]
        found[title] = [
            [re.sub(r"^(\*+)(.*)\1$", r"\2", cell).replace("\\|", "|") for cell in row]
            for i, row in enumerate(rows)
            if i != 1
        ]
    return found


@pytest.mark.usefixtures("unpainted")
def test_every_table_of_the_markdown_page_is_on_it_cell_by_cell(
    make_runs, add_shots, tmp_path: Path
) -> None:
    folder = make_runs(seeds=(1, 2))
    for run in folder.iterdir():
        add_shots(run)
    page = Page(written(folder, tmp_path / "out"))
    expected = markdown_tables((tmp_path / "out" / "report.md").read_text())
    assert len(expected) == 9
    assert any("k-shot by user" in title for title in expected)
    assert expected == {title: page.tables[title] for title in expected}


@pytest.mark.usefixtures("unpainted")
def test_what_is_bold_small_or_a_baseline_is_marked(
    make_runs, page_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coldlm.report.statistics.MIN_EVENTS", 1000)
    runs = make_runs(seeds=tuple(range(1, 10)), schedules=("history",))
    page = page_of(runs)
    assert Page(page).bold == [".0420", "+.0080", ".0460", "+.0120"]
    kinds = re.findall(r'<tr class="(\w+)"><th scope="row"><span>(\w+)', page)
    assert {"strategy", "control", "baseline"} == {kind for kind, _ in kinds}
    assert ("baseline", "random") in kinds
    small = re.findall(r'<td class="small">(.+?)</td>', page)
    assert small
    assert all(re.fullmatch(r"\(\.\d{4}\)", text) for text in small)


@pytest.mark.usefixtures("unpainted")
def test_names_of_others_come_out_as_text(make_run, tmp_path: Path) -> None:
    manifest = {"command": f"coldlm run name={EVIL}", "device": EVIL}
    run = make_run("evil", strategy=EVIL, value=0.04, manifest=manifest)
    make_run("other", seed=2, manifest={"status": "FAILED", "reason": EVIL})
    facts = json.loads((run / "manifest.json").read_text())
    facts["dataset"]["name"] = EVIL
    facts["dataset"]["hashes"] = {EVIL: EVIL}
    (run / "manifest.json").write_text(json.dumps(facts))
    text = written(tmp_path / "runs", tmp_path / "out")
    page = Page(text)
    names = [name for name, _ in page.tags]
    assert names.count("script") == 1
    assert "img" not in names
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert f"{EVIL}, history" in [row[0] for row in page.tables["Quality"]]
    assert any(EVIL in cell for cell in page.tables["How each row was made"][1])
    # the LaTeX of a table is text of the page, too
    assert "\\begin{tabular}" in text
    assert any("$<$script$>$alert(1)" in said for said in page.texts)
    assert any(f"FAILED: {EVIL}" in said for said in page.texts)


def test_the_same_runs_give_the_same_bytes(make_run, tmp_path: Path) -> None:
    run = make_run("a")
    first, second = (written(run, tmp_path / name) for name in ("x", "y"))
    assert first == second


def test_it_needs_nothing_from_elsewhere(make_runs, page_of) -> None:
    text = page_of(make_runs())
    assert re.findall(r"https?:|[\"'(]//|@import|\burl\((?!#)", text) == []
    for name, attributes in Page(text).tags:
        assert name not in ("link", "iframe", "object", "embed", "base", "form")
        assert "src" not in attributes
        assert "style" not in attributes, "the policy forbids it"
        assert attributes.get("href", "#").startswith("#")


@pytest.mark.usefixtures("unpainted")
def test_its_policy_allows_its_own_script_and_style_and_nothing_else(make_run, page_of) -> None:
    text = page_of(make_run("a"))
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)[0]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@pytest.mark.long
def test_every_figure_is_in_it_as_text_that_reads_and_with_ids_of_its_own(
    make_runs, make_run, add_shots, tmp_path: Path
) -> None:
    folder = make_runs()
    for run in folder.iterdir():
        add_shots(run)
    other = make_run("chinese")
    facts = json.loads((other / "manifest.json").read_text())
    facts["dataset"]["name"] = "新闻"
    (other / "manifest.json").write_text(json.dumps(facts))
    text = written(folder, tmp_path / "out")
    page = Page(text)
    assert text.count("<figure>") == len(list((tmp_path / "out").glob("*.svg"))) == 5
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed = set(re.findall(r'(?:href="#|aria-labelledby="|url\(#)([^")]+)', text))
    assert pointed <= set(ids)
    assert re.search(r"<text[^>]*>新闻, INCOMPLETE</text>", text)
    assert "earlier events of the item (n)" in text
    # copies of a shape have the colours of their place, which follow the page's
    shapes = re.findall(r'<path id="([^"]+)"([^>]*)>', text)
    assert shapes
    assert not [name for name, said in shapes if '"#' in said]
    assert all(f'href="#{name}"' in text for name, _ in shapes)
    assert not re.findall(r'<use (?![^>]*stroke="#)[^>]*>', text)


@pytest.mark.usefixtures("unpainted")
def test_each_comparison_begins_with_its_verdict_then_its_flags(
    make_run, make_runs, page_of
) -> None:
    make_run("sampled", candidates="sampled_100")
    text = page_of(make_runs())
    parts = text.split('<section class="part"')[1:]
    assert len(parts) == 3  # two comparisons, and all data sets
    for part in parts[:2]:
        order = [part.index(mark) for mark in ("<h2", 'class="verdict', "<figure", "<table")]
        assert order == sorted(order)
    assert "<strong>SAMPLED:</strong> ranked among" in parts[1]
    assert parts[1].index('class="flags"') < parts[1].index("<table")
    nav = text[text.index("<nav") : text.index("</nav>")]
    assert nav.count(NO_CLAIM) == 2


@pytest.mark.parametrize(("seeds", "claims"), [(1, False), (6, False), (9, True)])
def test_the_verdict_claims_what_the_table_has_in_bold(make_runs, seeds, claims) -> None:
    runs = make_runs(seeds=tuple(range(1, seeds + 1)), schedules=("history",))
    ((comparison, headline, _),) = make_report([runs]).parts
    verdict = judge(comparison, headline)
    assert verdict.is_claim == claims == any(m.is_bold for m in headline.measures)
    assert verdict.answer == ("Yes" if claims else NO_CLAIM)
    assert "`lora, history`, has nDCG@10 .0460" in verdict.words
    assert "`random_vectors, history`, has .0340" in verdict.words
    assert ("difference", "+.0120") in verdict.facts
    assert ("seeds", str(seeds)) in verdict.facts
    said = "1 seed is behind it" if seeds == 1 else f"{seeds} seeds are behind it"
    assert (said in verdict.words) != claims


def test_the_verdict_on_a_strategy_that_is_worse_is_no_claim_and_says_so(
    make_runs, make_run
) -> None:
    runs = make_runs(seeds=tuple(range(1, 10)), schedules=("history",))
    for folder in runs.iterdir():
        if folder.name.startswith(("lora", "frozen")):
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
    for seed in range(1, 10):
        make_run(f"weak-{seed}", seed=seed, value=0.01, schedules=("history",))
    ((comparison, headline, _),) = make_report([runs]).parts
    verdict = judge(comparison, headline)
    assert not verdict.is_claim
    assert "does not lie above 1 %" in verdict.words


def test_neither_a_cheat_nor_static_is_the_best_strategy(make_run, make_runs) -> None:
    runs = make_runs()
    make_run("cheat", value=0.9, schedules=("history", "static"), strategy="top", seed=1)
    ((comparison, headline, _),) = make_report([runs]).parts
    assert "`top, history`" in judge(comparison, headline).words
    rows = tuple(
        replace(
            m, row=replace(m.row, schedule="oracle" if m.row.label == "top" else m.row.schedule)
        )
        for m in headline.measures
    )
    verdict = judge(comparison, replace(headline, measures=rows))
    assert "`lora, per_window`" in verdict.words


def test_a_row_that_may_be_claimed_goes_before_a_higher_one_that_may_not(
    make_runs, make_run
) -> None:
    runs = make_runs(seeds=tuple(range(1, 10)), schedules=("history",))
    make_run("once", strategy="top", value=0.09, seed=1, schedules=("history",))
    ((comparison, headline, _),) = make_report([runs]).parts
    verdict = judge(comparison, headline)
    assert verdict.is_claim
    assert "The best of the 2 in bold, `lora, history`, has nDCG@10 .0460" in verdict.words
    assert "`top, history` is higher, .0900, but not in bold." in verdict.words


def test_a_claim_under_a_flag_says_so(make_runs) -> None:
    runs = make_runs(seeds=tuple(range(1, 10)), schedules=("history",), split="loo")
    ((comparison, headline, _),) = make_report([runs]).parts
    verdict = judge(comparison, headline)
    assert (verdict.is_claim, verdict.answer) == (True, "Yes, but flagged")
    assert "Read it under its flags: LEAKY." in verdict.words


def test_without_a_trivial_row_or_a_strategy_there_is_no_claim(make_run, tmp_path: Path) -> None:
    run = make_run("alone", baselines={})
    ((comparison, headline, _),) = make_report([run]).parts
    assert "no baseline and no control" in judge(comparison, headline).words
    control = make_run("control", control="context_only")
    ((comparison, headline, _),) = make_report([control]).parts
    assert judge(comparison, headline).words.startswith("No strategy")


@pytest.mark.usefixtures("unpainted")
def test_each_row_says_where_it_comes_from(make_runs, tmp_path: Path) -> None:
    command = {"command": "coldlm run x=1", "device": "H200", "threads": 3}
    folder = make_runs(seeds=(1, 2), manifest=command)
    report = write_report([folder], tmp_path / "out")
    table = Page((tmp_path / "out" / "report.html").read_text()).tables["How each row was made"]
    assert len(table) == 1 + 10
    lines = {row[3]: dict(zip(table[0], row, strict=True)) for row in table[1:]}
    ((comparison, *_),) = report.parts
    for row in comparison.rows:
        for manifest in row.manifests:
            line = lines[manifest.config_hash]
            assert f"{row.label}: " in line["scorer"]
            assert row.schedule in line["scorer"]
            assert line["command"] == "coldlm run x=1"
            assert line["hardware"] == "H200, 3 threads"
            assert line["commit"] == "0123456789abcdef"
            assert line["data hash"] == "ab12cd34ef"


@pytest.mark.usefixtures("unpainted")
def test_runs_that_take_no_part_are_named_with_the_reason(make_run, tmp_path: Path) -> None:
    make_run("good")
    make_run("bad", seed=2, manifest={"status": "FAILED", "reason": "no space left"})
    make_run("open", seed=3, manifest={"status": "RUNNING"})
    said = "".join(Page(written(tmp_path / "runs", tmp_path / "out")).texts)
    assert "2 runs that take no part" in said
    assert "FAILED: no space left" in said
    assert f"{tmp_path / 'runs' / 'open'}: RUNNING" in said


@pytest.mark.long
def test_the_page_of_a_study_is_small(tmp_path: Path) -> None:
    text = written(REPO / "studies" / "quickstart" / "runs.parquet", tmp_path)
    assert len(text.encode()) < MOST_BYTES
    page = Page(text)
    assert any(title.startswith("Views") for title in page.tables)
    assert any(title.startswith("Warm-up by item among peers") for title in page.tables)
