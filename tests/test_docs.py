"""The site is built strictly, every example of it runs, every command is one, every link leads
somewhere."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
import yaml

from coldlm.config.options import KINDS
from coldlm.core.columns import K_SHOT_COLUMNS, RESULT_COLUMNS
from coldlm.core.tables import Dataset
from coldlm.models.backbone import RandomVectors
from coldlm.runs.manifest import Manifest

REPO = Path(__file__).parents[1]
DOCS = REPO / "docs"
EXAMPLES = DOCS / "extend" / "code"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *PAGES,
    *sorted((REPO / "studies").rglob("*.md")),
    *sorted((REPO / "examples").rglob("*.md")),
]
MADE_PAGES = {DOCS / "guide" / "reference.md", DOCS / "studies" / "index.md"}
"""Pages that ``docs/hooks.py`` makes while the site is built."""

LINK = re.compile(r"\]\(([^)\s]+)\)|^ *--8<-- \"([^\":]+)", re.M)
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.M | re.S)
COMMANDS = sorted(
    {
        line.partition("  #")[0].strip()
        for page in PAGES
        for block in BLOCK.findall(page.read_text(encoding="utf-8"))
        for line in block.splitlines()
        if line.strip().startswith("coldlm run")
    }
)
MakeData = Callable[..., Dataset]


def load(path: Path) -> ModuleType:
    """A file of ``docs/`` as a module."""
    spec = importlib.util.spec_from_file_location(f"docs_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config_page() -> ModuleType:
    return load(DOCS / "config_page.py")


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    built = subprocess.run(command, cwd=REPO, env=quiet, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    pages = {
        file.relative_to(tmp_path / "site").as_posix()
        for file in (tmp_path / "site").rglob("*.html")
    }
    assert pages >= {
        page.relative_to(DOCS).with_suffix(".html").as_posix() for page in {*PAGES, *MADE_PAGES}
    }
    elsewhere = re.compile(
        r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?https?://(?!github\.com/coldlm)[^\"' >]+"
    )
    for file in (tmp_path / "site").rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not elsewhere.findall(text), f"{file} loads from elsewhere"
        assert "<!-- made:" not in text


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.relative_to(REPO).as_posix())
def test_relative_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link, included in LINK.findall(page.read_text(encoding="utf-8")):
        target = REPO / included if included else page.parent / link.partition("#")[0]
        if not link.startswith(("http", "mailto", "#")) and not target.exists():
            lost.append(link or included)
    assert lost == []


def test_a_folder_that_a_page_is_made_of_is_a_link_to_that_page(monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    hooks = load(DOCS / "hooks.py")
    page = SimpleNamespace(file=SimpleNamespace(src_uri="guide/config.md"))
    config = {"extra": {"source": "https://github.com/coldlm/coldlm"}}
    text = "[all](../../conf) [found](../../studies) [it](../../conf/run.yaml)"
    assert hooks.on_page_markdown(text, page, config, None) == (
        "[all](reference.md) [found](../studies/index.md) "
        "[it](https://github.com/coldlm/coldlm/blob/main/conf/run.yaml)"
    )


def test_every_page_is_in_the_navigation() -> None:
    text = (REPO / "mkdocs.yml").read_text(encoding="utf-8")
    assert [p for p in PAGES if p.relative_to(DOCS).as_posix() not in text] == []


def test_every_key_has_a_type_and_a_meaning(config_page: ModuleType) -> None:
    assert config_page.without_type(REPO / "conf") == []
    assert config_page.without_meaning(config_page.make_page(REPO / "conf")) == []


def test_the_page_of_keys_names_every_option(config_page: ModuleType) -> None:
    page = config_page.make_page(REPO / "conf")
    files = [
        file.relative_to(REPO / "conf").with_suffix("")
        for file in (REPO / "conf").rglob("[!_]*.yaml")
    ]
    places = (file.as_posix() for file in files if len(file.parts) > 1)
    inner = [group for group in KINDS if "/" in group]
    options = [
        (group, place.removeprefix(f"{group}/"))
        for place in places
        for group in [next((g for g in inner if place.startswith(f"{g}/")), place.split("/")[0])]
    ]
    assert len(options) > 90
    assert [option for option in options if f'"{option[0]}={option[1]}"' not in page] == []
    assert "| `strategy.rank` | `8` | an integer from 1 |" in page
    assert "| `train.epochs` | `4` | an integer from 1 |" in page
    assert "| `online.trigger.n` | `500` | an integer from 1 |" in page
    assert "| `online.epochs` | `null` | an integer from 1 or null |" in page  # of retrain
    assert "[`online/data=replay`](#online-data-replay)" in page


def test_every_folder_has_a_word_in_the_picture() -> None:
    page = load(DOCS / "layers_page.py")
    floors, doors = page.read_tables(REPO / "tests")
    assert set(page.PURPOSE) == set(floors)
    picture, table = page.make_picture(floors), page.make_table(floors, doors)
    assert all(
        f">{name}/<" in picture and f"`{name}/`" in table for name in floors if name != "top"
    )
    level = page.heights(floors)
    assert all(level[upper] > level[lower] for upper, lower in page.arrows(floors))


@pytest.mark.parametrize(
    ("page", "group"),
    [
        ("strategies", "strategy"),
        ("heads", "head"),
        ("losses", "loss"),
        ("controls", "control"),
        ("schedules", "online"),
    ],
)
def test_the_tables_of_the_guide_name_every_option(page: str, group: str) -> None:
    rows = re.findall(
        r"^\| (`\w+`(?:, `\w+`)*) \|",
        (DOCS / "guide" / f"{page}.md").read_text(encoding="utf-8"),
        re.M,
    )
    options = {file.stem for file in (REPO / "conf" / group).rglob("[!_]*.yaml")} - {"none"}
    # rows that name two options, such as off and never, count for both
    assert options <= {name for row in rows for name in re.findall(r"\w+", row)}


@pytest.mark.slow
def test_the_columns_of_a_run_are_explained(finished: Path) -> None:
    text = (DOCS / "understand" / "files.md").read_text(encoding="utf-8")
    tables = dict(re.findall(r"<!-- columns: (\w+) -->\n\n(.*?)\n\n", f"{text}\n\n", re.S))
    there = {
        name: pl.read_parquet_schema(finished / f"{name}.parquet").keys()
        for name in tables
        if name != "k_shot"
    }
    there |= {"results": RESULT_COLUMNS, "k_shot": K_SHOT_COLUMNS}
    for name, table in tables.items():
        rows = [line.split("|")[1] for line in table.splitlines()[2:]]
        assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(there[name]), name
    assert set(tables) == {"results", "events", "per_user", "updates", "probes", "stream", "k_shot"}
    assert [
        file.name
        for file in finished.iterdir()
        if f"`{file.name}`" not in text.replace("`.json`", _JSON)
    ] == []


def test_the_keys_of_a_manifest_are_explained() -> None:
    text = (DOCS / "understand" / "files.md").read_text(encoding="utf-8")
    table = text.partition("## manifest.json")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = re.findall(r"`(\w+)`", " ".join(rows))
    assert len(set(told)) == len(told)
    # what another version has written is kept as it is, under its own keys
    assert set(told) == {field.name for field in dataclasses.fields(Manifest)} - {"unknown"}


_JSON = "`model.json` `online.json`"


@pytest.mark.long
@pytest.mark.parametrize(
    "command",
    [
        # a sweep is composed cell by cell, which takes seconds
        pytest.param(c, marks=[pytest.mark.long] if re.search(r" -m |sweep=", c) else [])
        for c in COMMANDS
        if "plugins=" not in c  # they run in tests/examples
    ],
)
def test_the_commands_of_the_pages_are_right(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Composed and checked, not run; files and weights need not be there."""
    from coldlm.config import compose
    from coldlm.config.quoting import readable

    monkeypatch.setattr(compose, "file_problems", lambda config: [])
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "narrow.yaml").write_text(
        "# @package _global_\nhead:\n  width: 32\n"
    )
    (tmp_path / "tuned" / "tuned").mkdir(parents=True)
    (tmp_path / "tuned" / "tuned" / "quickstart_top.yaml").write_text(
        "# @package _global_\ntuning: {trials: 8}\n"
    )
    monkeypatch.chdir(tmp_path)
    shows = ("--help", "--cfg", "job", "--resolve", "--info", "defaults")
    words = [word for word in shlex.split(command, comments=True)[2:] if word not in shows]
    words = [word for word in words if not word.startswith("plugins=")]
    flags = [words.index("--config-dir")] if "--config-dir" in words else []
    first = [word for i in flags for word in words[i : i + 2]]
    overrides = readable(
        [word for word in words if word not in first]
    )  # as the command itself does
    assert compose.make_plan([*first, *overrides]).problems == []


def test_messages_that_pages_show_are_those_that_come(capsys: pytest.CaptureFixture[str]) -> None:
    from coldlm.cli import main

    shown = [
        found
        for page in PAGES
        for found in re.findall(
            r"^```text\n\$ coldlm ([^\n]*)\n(.*?)```", page.read_text(encoding="utf-8"), re.M | re.S
        )
    ]
    assert len(shown) == 2
    for command, said in shown:
        assert main(shlex.split(command)) == 2
        assert capsys.readouterr().err == said


@pytest.mark.slow
def test_the_files_of_ones_own_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coldlm.cli import main

    monkeypatch.chdir(tmp_path)
    code = DOCS / "start" / "code"
    files = [
        f"dataset.items={code / 'items.csv'}",
        f"dataset.interactions={code / 'interactions.csv'}",
    ]
    assert (
        main(["run", "dataset=own", *files, "backbone=tiny_bert", "train.epochs=1", "name=own"])
        == 0
    )
    assert (tmp_path / "runs" / "own" / "updates.parquet").is_file()


@pytest.mark.slow
def test_a_run_from_python(tmp_path: Path) -> None:
    found = load(DOCS / "api" / "code" / "run_from_python.py").run(tmp_path)
    assert {"model", "random", "recent_popularity", "tfidf"} <= set(found["scorer"])
    assert found["value"].is_sorted(descending=True)


def test_other_software_answers_an_exported_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coldlm.cli import main

    small = ["dataset=simulated", "dataset.users=40", "dataset.items=60", "dataset.events=600"]
    assert main(["export", *small, "--out", str(tmp_path / "split"), "--candidates"]) == 0
    scores = tmp_path / "svd.parquet"
    load(DOCS / "guide" / "code" / "truncated_svd.py").score(tmp_path / "split", scores)
    line = ["--split", str(tmp_path / "split"), "--scores", str(scores), "--name", "SVD"]
    assert main(["evaluate", *line, "--out", str(tmp_path / "runs" / "svd")]) == 0
    events = pl.read_parquet(tmp_path / "runs" / "svd" / "events.parquet")
    # items that nobody had taken before the stream have the factor 0, and tie
    new = events.filter(pl.col("cohort").is_in(["cold_item", "cold_both"]))
    assert len(new) > 0
    assert (new["score"] == 0).all()
    assert (new["e"] > 1).any()
    monkeypatch.chdir(tmp_path)
    assert main(["report", "runs"]) == 0
    assert "FROM A FILE" in (tmp_path / "report" / "report.md").read_text()


def test_the_example_of_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = load(EXAMPLES / "reader.py")
    assert reader.problems(root=str(tmp_path), text="{titel}") != []
    (tmp_path / "songs.csv").write_text(
        "song,title,singer\n1,十年,陈奕迅\n2,晴天,周杰伦\n", encoding="utf-8"
    )
    (tmp_path / "plays.csv").write_text("listener,song,second\na,1,30\na,2,10\nb,1,20\nb,9,40\n")
    assert reader.problems(root=str(tmp_path)) == []
    data = reader.load(root=str(tmp_path))
    assert data.items.texts == ("十年 | 陈奕迅", "晴天 | 周杰伦", "")
    assert data.items.ids == ("1", "2", "9")
    assert data.log.time.tolist() == [10, 20, 30, 40]
    assert data.log.item.tolist() == [1, 0, 0, 2]
    assert data.counts["items_without_metadata"] == 1


@pytest.mark.parametrize("family", ["bert", "gpt2"])
def test_the_example_of_a_strategy(family: Any) -> None:
    from coldlm.models.backbone import tiny

    width, layers = 16, 2
    backbone = load(EXAMPLES / "strategy.py").norms(
        tiny(family=family, layers=layers, width=width, max_tokens=8)
    )
    trained = [name for name, p in backbone.named_parameters() if p.requires_grad]
    # two norms a layer; BERT's embeddings, or GPT-2's end, have one more
    assert len(trained) == 2 * (2 * layers + 1)
    ids = torch.tensor([[1, 2, 3]])
    backbone(ids, torch.ones_like(ids, dtype=torch.bool)).sum().backward()
    gradients = {name: p.grad for name, p in backbone.named_parameters() if p.grad is not None}
    assert set(gradients) == set(trained)


def test_the_example_of_a_head() -> None:
    from coldlm.core.seeding import torch_seed
    from coldlm.models.rankers.ranker import Ranker
    from coldlm.text.constant import RandomEncoder

    n, width = 6, 8
    encoder = RandomEncoder(n, RandomVectors(width, 0))
    with torch_seed(0):
        head = load(EXAMPLES / "head.py").Weighted(width, history=1)
    head.standardise(encoder.all_items())
    ranker = Ranker(encoder, head)
    assert {"head.weight", "head.scale"} <= ranker.trainable().keys()
    items = head.items(encoder.all_items())
    users = head.users(
        items.vector[:2, None],
        torch.ones(2, 1, dtype=torch.bool),
        torch.zeros(2, width),
        torch.zeros(2),
    )
    scores = head.score(users, items, None)
    assert scores.shape == (2, n)
    assert scores.argmax(1).tolist() == [0, 1]  # nothing is nearer than itself
    nobody = head.users(
        items.vector[:1, None], torch.zeros(1, 1), torch.zeros(1, width), torch.zeros(1)
    )
    assert head.score(nobody, items, None).unique().tolist() == [0.0]


def test_the_example_of_a_loss() -> None:
    loss = load(EXAMPLES / "loss.py").Margin(margin=1.0)
    logits = torch.tensor([[2.0, 1.5, 0.0], [0.0, 0.0, 9.0]])
    log_weight = torch.tensor([[0.0, 0.0, 0.0], [0.0, np.log(2.0), -np.inf]])
    # (max(0, 1 - 2 + 1.5) + max(0, 1 - 2 + 0)) / 2; the one negative that is left, level, counts
    # twice
    assert loss(logits, log_weight, torch.tensor([0, 0]), torch.ones(2)).tolist() == [0.25, 1.0]
    nothing = torch.full((1, 3), -np.inf)
    assert loss(logits[:1], nothing, torch.tensor([0]), torch.ones(1)).tolist() == [0.0]


def test_the_example_of_a_metric_is_the_mean_over_every_order_of_the_ties() -> None:
    metric = load(EXAMPLES / "metric.py")
    for above, level, k in itertools.product(range(3), range(1, 5), (1, 3, 10)):
        ranks = [above + order.index(0) + 1 for order in itertools.permutations(range(level))]
        values = [
            (1 - metric.PATIENCE) * metric.PATIENCE ** (rank - 1) * (rank <= k) for rank in ranks
        ]
        found = metric.rbp(torch.tensor([above]), torch.tensor([level]), k)
        assert found.item() == pytest.approx(np.mean(values), abs=1e-12)


def test_the_example_of_a_baseline_looks_at_the_last_week_only(make_data: MakeData) -> None:
    from coldlm.asof.catalogue import Catalogue
    from coldlm.asof.context import AsOf

    day = 86_400
    data = make_data([(0, 0, 0), (1, 0, day), (0, 1, 9 * day), (1, 1, 10 * day), (1, 2, 11 * day)])
    catalogue = Catalogue(data)
    as_of = AsOf(data.log, 2, 3, catalogue.enters_at, data.half_lives_days)
    score = load(EXAMPLES / "baseline.py").last_week(data, as_of, catalogue)
    scores = score(np.array([0, 0]), np.array([3 * day, 11 * day]))
    assert scores.tolist() == [[2, 0, 0], [0, 2, 0]]  # the event at the very time is not counted
    assert scores.dtype == torch.float32


def test_the_examples_of_parts_of_a_schedule() -> None:
    from coldlm.core.tables import DAY, sorted_log
    from coldlm.online.data import Past
    from coldlm.online.moment import Moment

    page = load(EXAMPLES / "schedule.py")
    at_night = page.AtNight(n=3)
    now = Moment(DAY - 1, 0, 10, 0, lambda: np.zeros(0), DAY // 2, 0, 6, 0)
    assert at_night.ask(now) == ""
    now.time = DAY
    assert at_night.ask(now) == "1 nights"
    now.learned = 8
    assert at_night.ask(now) == ""
    user, n = np.array([0, 0, 1, 0, 0, 1]), 6
    log = sorted_log(user, user, np.arange(n), np.ones(n), np.ones(n, bool))
    none = np.zeros(0, np.int64)
    past = Past(log, 1, 6, 1, 0, lambda: none, lambda rows: np.zeros((len(rows), 0)))
    assert page.FewOfEach(n=2).choose(past).tolist() == [2, 3, 4, 5]
    assert page.FewOfEach(n=1).choose(past).tolist() == [4, 5]


@pytest.mark.slow
def test_the_examples_make_a_plugin_with_which_a_run_goes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strategy, head, loss, trigger, data policy, metric and baseline of a package that is not ours, in one
    run."""
    from coldlm.cli import main
    from coldlm.config.plugins import plug_problems

    package = tmp_path / "packages" / "mypackage"
    shutil.copytree(EXAMPLES, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__init__.py").touch()
    targets = {"strategy": "strategy.norms", "head": "head.Weighted", "loss": "loss.Margin"}
    for group, target in targets.items():
        file = package / "conf" / group / f"{target.partition('.')[2].lower()}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"_target_: mypackage.{target}\n")
    parts = {"trigger/at_night": "AtNight", "data/few_of_each": "FewOfEach"}
    for part, target in parts.items():
        file = package / "conf" / "online" / f"{part}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(f"_target_: mypackage.schedule.{target}\nn: 10\n")
    (package / "conf" / "online" / "nightly.yaml").write_text(
        "defaults: [_base, override trigger: at_night, override data: few_of_each, _self_]\n"
    )
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.chdir(tmp_path)
    small = ["dataset=simulated", "dataset.users=40", "dataset.items=60", "dataset.events=600"]
    mine = [
        "plugins=[mypackage]",
        "strategy=norms",
        "head=weighted",
        "loss=margin",
        "online=nightly",
    ]
    folder = ["--config-dir", str(package / "conf")]
    assert (
        main(["run", *folder, *mine, *small, "backbone=tiny_bert", "train.epochs=1", "name=mine"])
        == 0
    )
    results = pl.read_parquet(tmp_path / "runs" / "mine" / "results.parquet")
    assert "rbp" in results["metric"].unique()
    assert "last_week" in results["scorer"].unique()
    assert "nightly" in results["schedule"].unique()
    plug_problems([])  # the other tests of this process have coldlm's own options


def test_hooks_before_a_commit_have_the_locked_versions() -> None:
    locked = dict(
        line.split("==")
        for line in (REPO / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    hooks = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"]
    ruff = next(repo for repo in hooks if repo["repo"].endswith("ruff-pre-commit"))
    mypy = next(hook for repo in hooks for hook in repo["hooks"] if hook["id"] == "mypy")
    assert ruff["rev"] == f"v{locked['ruff']}"
    assert mypy["additional_dependencies"] == [f"mypy=={locked['mypy']}"]


def test_the_package_says_that_it_is_typed_and_where_it_lives() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))
    assert (REPO / "src" / "coldlm" / "py.typed").is_file()
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/coldlm"]
    source = yaml.safe_load((REPO / "mkdocs.yml").read_text(encoding="utf-8"))["extra"]["source"]
    assert project["project"]["urls"]["Source"] == source
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["repository-code"] == source
    assert citation["license"] == project["project"]["license"]


def test_every_push_runs_what_a_clean_clone_must_do() -> None:
    steps = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["run"][
        "steps"
    ]
    assert steps[-1] == {"run": ".ci/run"}
    assert os.access(REPO / ".ci" / "run", os.X_OK)
