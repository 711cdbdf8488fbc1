"""The page in a browser: it opens fast and quietly, sorts, filters, changes its colours, saves, and is
nowhere wider than the screen. Needs Chromium, and the extra ``browser``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coldlm.report.write import write_report

STUDIES = Path(__file__).parents[2] / "studies"
WIDTHS = (400, 1600)
SECOND = 1000
TRIES = 3
"""Of a time: other processes may hold up one."""

OF_TABLE = """title => [...document.querySelectorAll(".table")]
    .find(each => each.querySelector("h3, summary").textContent.startsWith(title))"""

PAINTED = """() => new Promise(done => new PerformanceObserver(done).observe({type: "paint", buffered: true}))
    .then(() => true)"""

POOR_CONTRAST = """() => {
    const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const luminance = colour => {
        const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(linear);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = each => {
        const colour = getComputedStyle(each).backgroundColor;
        return colour.startsWith("rgba") ? behind(each.parentElement) : colour;
    };
    const texts = "p, li, a, td, th button, tbody th, dt, dd, button, label, summary, strong, b, small, figcaption";
    return [...document.querySelectorAll(texts)].map(each => {
        const [a, b] = [getComputedStyle(each).color, behind(each)].map(luminance).sort((x, y) => y - x);
        return [each.tagName, each.className, (a + 0.05) / (b + 0.05)];
    }).filter(([, , ratio]) => ratio < LEAST);
}"""
"""WCAG 2.1, 1.4.3."""

pytestmark = pytest.mark.long


@pytest.fixture
def open_page(browser) -> Iterator[Callable[..., Any]]:
    """``open_page(file, width, scheme)``: a tab in which no error and no request may occur."""
    said: list[str] = []
    contexts = []

    def open_one(file: Path, width: int = 1600, scheme: str = "light") -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: (
                said.append(request.url)
                if not request.url.startswith(("file:", "data:", "blob:"))
                else None
            ),
        )
        page.goto(file.as_uri())
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="module", params=["quickstart", "strategies_x_backbones"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp(request.param)
    write_report([STUDIES / request.param / "runs.parquet"], out)
    return out / "report.html"


@pytest.fixture
def small(make_runs, make_run, tmp_path: Path) -> Path:
    """A page of toys: bold cells, a name in Chinese, one in markup."""
    runs = make_runs(seeds=tuple(range(1, 10)), schedules=("history",))
    for name, strategy in (("a", "<script>alert(1)</script>"), ("b", "新闻")):
        make_run(name, strategy=strategy, value=0.05, seed=1, schedules=("history",))
    for folder in runs.iterdir():
        facts = json.loads((folder / "manifest.json").read_text())
        facts["dataset"]["name"] = "=新闻 <b>x"
        (folder / "manifest.json").write_text(json.dumps(facts))
    write_report([runs], tmp_path / "out")
    return tmp_path / "out" / "report.html"


def column(page: Any, title: str, number: int) -> list[str]:
    """Texts of a column as shown."""
    found: list[str] = page.evaluate(
        f"""([title, number]) => [...({OF_TABLE})(title).querySelector("tbody").rows]
            .filter(row => !row.hidden).map(row => row.cells[number].textContent)""",
        [title, number],
    )
    return found


def test_a_study_opens_within_a_second(study: Path, open_page) -> None:
    times = []
    for _ in range(TRIES):
        page = open_page(study)
        page.evaluate(PAINTED)
        times.append(
            page.evaluate(
                """Math.max(performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd,
                    ...performance.getEntriesByType("paint").map(each => each.startTime))"""
            )
        )
    assert min(times) < SECOND, times


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_screen(study: Path, open_page, width: int, scheme: str) -> None:
    page = open_page(study, width, scheme)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    # what is out of sight is laid out only when it comes near
    page.evaluate(
        "for (const each of document.querySelectorAll('.table, figure')) each.style.contentVisibility = 'visible'"
    )
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")
    wide = """[...document.querySelectorAll("h1, h2, h3, p, ul, dl, .filter, .verdict, .scroll, summary")]
        .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
        .map(each => each.outerHTML.slice(0, 90))"""
    assert page.evaluate(wide) == []


def test_a_click_sorts_by_value_and_what_is_missing_stays_last(study: Path, open_page) -> None:
    page = open_page(study)
    original = column(page, "Quality", 12)
    head = page.evaluate_handle(f"({OF_TABLE})('Quality').querySelectorAll('thead button')[12]")
    orders = []
    for state in ("descending", "ascending", "none"):
        head.as_element().click()
        shown = column(page, "Quality", 12)
        orders.append(shown)
        assert head.evaluate("each => each.closest('th').ariaSort") == state
        values = [float(text) for text in shown if text[0] in "+-."]
        if state != "none":
            assert values == sorted(values, reverse=state == "descending")
            assert all(text[0] in "+-." for text in shown[: len(values)])
    assert orders[2] == original != orders[0]


def test_the_keyboard_sorts_names_and_counts(small: Path, open_page) -> None:
    page = open_page(small)
    for number, first in ((0, "ascending"), (1, "descending")):
        button = page.evaluate_handle(
            f"({OF_TABLE})('Cost').querySelectorAll('thead button')[{number}]"
        ).as_element()
        button.focus()
        page.keyboard.press("Enter")
        assert button.evaluate("each => each.closest('th').ariaSort") == first
    shown = [float(text.replace(",", "")) for text in column(page, "Cost", 1)]
    assert shown == sorted(shown, reverse=True)
    assert len(set(shown)) > 1


def test_words_and_kinds_filter_every_table_of_a_part(small: Path, open_page) -> None:
    page = open_page(small)
    everything = column(page, "Quality", 0)
    page.locator("[type=search]").first.fill("LORA history")
    for title in ("Quality", "Cost", "Warm-up by item", "By window"):
        assert column(page, title, 0) == ["lora, history"]
    assert page.locator("output").first.text_content() == f"1 of {len(everything)} rows"
    page.locator("[type=search]").first.fill("")
    assert column(page, "Quality", 0) == everything
    page.locator("[value=baseline]").first.uncheck()
    left = column(page, "Quality", 0)
    assert "random" not in left
    assert {"lora, history", "context_only, history"} < set(left)
    page.locator("[value=strategy]").first.uncheck()
    assert all(
        name.startswith(("context", "random_v", "permuted")) for name in column(page, "Quality", 0)
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_toggle_changes_colours_of_page_and_figures(
    small: Path, open_page, scheme: str
) -> None:
    page = open_page(small, scheme=scheme)
    colours = """() => [getComputedStyle(document.body).backgroundColor,
        getComputedStyle(document.querySelector("svg text")).fill,
        getComputedStyle(document.querySelector("svg [fill='#ffffff']")).fill]"""
    before = page.evaluate(colours)
    button = page.locator(".theme")
    assert button.get_attribute("aria-pressed") == str(scheme == "dark").lower()
    button.click()
    after = page.evaluate(colours)
    assert all(a != b for a, b in zip(before, after, strict=True))
    assert before[0] == before[2]
    assert after[0] == after[2]
    button.click()
    assert page.evaluate(colours) == before


def test_buttons_save_csv_latex_and_pictures(small: Path, open_page, tmp_path: Path) -> None:
    page = open_page(small)
    page.locator("[type=search]").first.fill("新闻")
    saved = {}
    for action in ("csv", "tex", "png"):
        with page.expect_download() as download:
            page.locator(f"[data-do={action}]").first.click()
        saved[download.value.suggested_filename.rpartition(".")[2]] = Path(download.value.path())
    assert set(saved) == {"csv", "tex", "png"}
    lines = saved["csv"].read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith('"scorer","seeds","nDCG@10"')
    assert [line.split('"')[1] for line in lines[1:]] == ["新闻, history"]
    assert "$<$script$>$alert(1)" in saved["tex"].read_text(encoding="utf-8")
    picture = saved["png"].read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 20_000
    with_formula = page.evaluate(
        f"({OF_TABLE})('Strategies by cohort').querySelector('tbody th').textContent"
    )
    assert with_formula == "=新闻 <b>x"
    with page.expect_download() as download:
        page.locator(".part [data-do=csv]").last.click()
    assert '"\'=新闻 <b>x"' in Path(download.value.path()).read_text(encoding="utf-8-sig")


def test_latex_is_copied(small: Path, browser) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(small.as_uri())
    page.locator("[data-do=copy]").first.click()
    page.locator("[data-do=copy]", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("\\begin{table}")
    context.close()


def test_text_is_in_enough_contrast_with_what_is_behind(small: Path, open_page) -> None:
    for scheme in ("light", "dark"):
        page = open_page(small, scheme=scheme)
        assert page.evaluate(POOR_CONTRAST.replace("LEAST", "4.5")) == []
        assert page.evaluate(POOR_CONTRAST.replace("LEAST", "8")) != []  # the grey of baselines
