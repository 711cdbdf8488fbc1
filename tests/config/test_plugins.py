"""Options of other packages: what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from textwrap import dedent

import pytest

from coldlm.config import options
from coldlm.config.build import refusal
from coldlm.config.check import problems
from coldlm.config.compose import compose_plain, list_options, make_plan
from coldlm.config.guard import check_hydra
from coldlm.config.kinds import Option, Strategy
from coldlm.config.plugins import plug_problems
from coldlm.config.schedules import label_of
from coldlm.config.schema import typed
from coldlm.config.search_path import PluginFolders, packages_in, with_plugins
from coldlm.config.signatures import fields_of

TINY = ("backbone=tiny_bert", "dataset=simulated")

Package = Callable[..., str]

NUMBERS = count()

STRATEGY = """
def mine(backbone, *, size: int = 2):
    return backbone
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """``package("options.py", "OPTIONS = ()", ...)``: a package that can be imported under the name
    that comes back."""
    monkeypatch.syspath_prepend(tmp_path)
    name = f"plugin_{next(NUMBERS)}"  # what was imported stays so: each test has another

    def make(*files: str) -> str:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        for file, content in zip(files[::2], files[1::2], strict=True):
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            text = dedent(content).replace("PACKAGE", name)
            (tmp_path / name / file).write_text(text, encoding="utf-8")
        return name

    yield make
    plug_problems([])


def declares(*declared: str) -> str:
    lines = [f"    {option}," for option in declared]
    imports = [f"from coldlm.config.{module} import *" for module in ("kinds", "schedules")]
    return "\n".join([*imports, "OPTIONS = (", *lines, ")"])


def test_an_option_of_a_package_can_be_chosen_while_it_is_named(package: Package) -> None:
    name = package(
        "options.py", declares('Strategy("mine", "PACKAGE.strategies.mine", size="size")'),
        "strategies.py", STRATEGY,
        "conf/strategy/mine.yaml", "_target_: PACKAGE.strategies.mine\nsize: 2",
    )  # fmt: skip
    config = compose_plain([*TINY, f"plugins=[{name}]", "strategy=mine"])
    assert problems(config) == []
    assert options.names(Strategy)[-1] == "mine"
    (problem,) = problems(config | {"plugins": []})
    assert f"got '{name}.strategies.mine'" in problem
    assert "mine" not in options.names(Strategy)
    assert (
        make_plan([*TINY, f"plugins=[{name}]", "strategy=mine", "strategy.size=3"]).problems == []
    )
    (problem,) = make_plan([*TINY, "strategy=mine"]).problems
    assert problem.startswith("strategy=mine: no such option")


MINE = (
    "options.py", declares('Strategy("mine", "PACKAGE.strategies.mine", size="size")'),
    "strategies.py", STRATEGY,
    "conf/strategy/mine.yaml", "_target_: PACKAGE.strategies.mine\nsize: 2",
)  # fmt: skip
"""A package with one strategy."""


@pytest.fixture
def own_folder(tmp_path: Path, package: Package) -> Path:
    """A folder of config files whose experiments and sweep name a package and choose its
    strategy."""
    name, folder = package(*MINE), tmp_path / "own"
    files = {
        "experiment/direct": f"plugins: [{name}]\ndefaults: [override /strategy: mine]",
        "experiment/based": "defaults: [direct, _self_]\nseed: 3",
        "experiment/plain": "seed: 4",
        "experiment/torn": "plugins: [",
        "sweep/some": f"plugins: [{name}]\nhydra: {{mode: MULTIRUN, sweeper: {{params: "
        "{strategy: 'mine,frozen'}}}",
        "experiment/lost": "plugins: [nothing_of_this_name]\nstrategy: {size: 3}",
    }
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{file}.yaml").write_text(f"# @package _global_\n{text}\n")
    return folder


@pytest.mark.parametrize(
    "line",
    [
        ["experiment=direct", "strategy.size=3"],
        ["experiment=based"],
        ["-m", "experiment=plain,based", "seed=1,2"],
        ["sweep=some"],
    ],
    ids=" ".join,
)
def test_a_file_brings_the_package_that_it_names(own_folder: Path, line: list[str]) -> None:
    plan = make_plan([*line, *TINY, "--config-dir", str(own_folder)])
    assert plan.problems == []
    words = [word for word in line if word != "-m" and "," not in word]
    assert check_hydra(["--cfg", "job", "--config-dir", str(own_folder), *TINY, *words]) == []


def test_the_command_line_has_the_last_word_on_plugins(own_folder: Path) -> None:
    line = ["--config-dir", str(own_folder), *TINY]
    (problem,) = make_plan([*line, "experiment=lost"]).problems
    assert problem.startswith("plugins: nothing_of_this_name: no such package is installed; ")
    (problem,) = make_plan([*line, "experiment=lost", "plugins=[]"]).problems
    assert problem.startswith("strategy.size: unknown key")
    (problem,) = make_plan([*line, "experiment=torn"]).problems
    assert "torn.yaml" in problem
    search = [f"hydra.searchpath=[{own_folder.as_uri()}]"]
    assert compose_plain([*search, *TINY, "experiment=based"])["strategy"]["size"] == 2


def test_a_package_that_is_not_there_is_one_problem_with_what_to_do() -> None:
    (problem,) = make_plan([*TINY, "plugins=[nope]", "strategy=mine", "strategy.size=2"]).problems
    assert problem.startswith(
        "plugins: nope: no such package is installed; install it, or take it out of plugins "
    )
    (problem,) = make_plan([*TINY, "strategy=mine"]).problems
    assert problem.endswith("; one of another package needs plugins=[PACKAGE]")


def test_coldlms_own_files_come_first(package: Package) -> None:
    name = package(
        "options.py",
        "",
        "conf/strategy/lora.yaml",
        "_target_: os.system",
        "conf/run.yaml",
        "seed: 7",
    )
    with with_plugins([f"plugins=[{name}]"]) as folders:
        assert [folder.parent.name for folder in folders][-1] == name
        assert PluginFolders.folders == folders
    assert PluginFolders.folders == ()
    config = compose_plain([*TINY, f"plugins=[{name}]", "strategy=lora"])
    assert (config["strategy"]["_target_"], config["seed"]) == ("coldlm.models.strategy.lora", 1)
    assert sorted(list_options(plugins=folders)["strategy"]) == sorted(
        ["lora", *list_options()["strategy"]]
    )


def test_a_packages_files_may_set_no_more_of_hydras_than_others(package: Package) -> None:
    name = package("options.py", "", "conf/experiment/bad.yaml", """
        # @package _global_
        hydra: {callbacks: {mine: {_target_: os.system}}}
    """)  # fmt: skip
    (problem,) = make_plan([*TINY, f"plugins=[{name}]", "experiment=bad"]).problems
    assert problem.startswith("hydra.callbacks")


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("", "its options cannot be read from PACKAGE.options:OPTIONS: AttributeError: "),
        ("OPTIONS = ()", "ValueError: it declares no option"),
        ("OPTIONS = 3", "TypeError: 'int' object is not iterable"),
        ("OPTIONS = ('lora',)", "TypeError: 'lora' is none of coldlm.config.kinds"),
        (
            "import nothing_of_this_name",
            "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        ("raise RuntimeError('on\\npurpose')", "RuntimeError: on purpose"),
        ("OPTIONS = (", "SyntaxError: "),
        (
            declares('Strategy("mine", "os.system")'),
            "strategy=mine stands for os.system, which is not in PACKAGE",
        ),
        (declares('Strategy("mine", "coldlm.models.strategy.lora")'), "which is not in PACKAGE"),
        (
            declares('Strategy("lora", "PACKAGE.strategies.mine")'),
            "strategy=lora is taken; rename the option",
        ),
        (
            declares('Baseline("popularity", "PACKAGE.strategies.mine")'),
            "baseline=popularity is taken",
        ),
        (declares('Metric("auc/user", "PACKAGE.strategies.mine")'), "metric=auc/user is taken"),
        (
            declares('Trigger("every_n", "PACKAGE.strategies.mine")'),
            "online/trigger=every_n is taken",
        ),
        # tables would call it as they call the schedule
        (
            declares('Trigger("retrain", "PACKAGE.strategies.mine")'),
            "online/trigger=retrain is taken",
        ),
        (
            declares('Trigger("static", "PACKAGE.strategies.mine")'),
            "online/trigger=static is taken",
        ),
        (declares('Gate("ewc", "PACKAGE.strategies.mine")'), "online/gate=ewc is taken"),
        (declares(*2 * ['Metric("hit", "PACKAGE.strategies.mine")']), "metric=hit is taken"),
        (
            declares('Trigger("mine", "PACKAGE.triggers.Mine")'),
            "stands for PACKAGE.triggers.Mine, which its",
        ),
        (
            declares('Metric("hit", "PACKAGE.strategies.other")'),
            "stands for PACKAGE.strategies.other, which its",
        ),
        (
            declares('Strategy("mine", "PACKAGE.strategies.mine", size="rank")'),
            "declared with size=rank, which is no",
        ),
    ],
)
def test_a_package_that_cannot_be_used_is_one_clear_line(
    package: Package, declared: str, said: str
) -> None:
    name = package("options.py", declared, "strategies.py", STRATEGY)
    (problem,) = plug_problems([name])
    assert problem.startswith(f"plugins: {name}: ")
    assert said.replace("PACKAGE", name) in problem
    assert "\n" not in problem
    assert not list(options.plugged(Option))


def test_a_package_without_declarations_or_that_is_not_there(package: Package) -> None:
    name = package()
    (problem,) = plug_problems([name])
    assert f"No module named '{name}.options'" in problem
    (problem,) = plug_problems([f"{name}_2"])
    assert "no such package is installed" in problem
    for wrong in (name, [3], None):
        (problem,) = plug_problems(wrong)
        assert problem.endswith(
            "allowed: a list of names of packages, such as plugins=[coldlm_example]"
        )


def test_a_file_whose_target_is_not_declared_says_where_to_declare_it(package: Package) -> None:
    name = package(
        "options.py", declares('Strategy("mine", "PACKAGE.strategies.mine")'),
        "strategies.py", STRATEGY + STRATEGY.replace("mine", "forgotten"),
        "conf/strategy/forgotten.yaml", "_target_: PACKAGE.strategies.forgotten",
    )  # fmt: skip
    (problem,) = problems(compose_plain([*TINY, f"plugins=[{name}]", "strategy=forgotten"]))
    assert f"got '{name}.strategies.forgotten'" in problem
    assert problem.endswith(f"{name}.options:OPTIONS does not declare it; add it there")
    assert refusal("strategy", "os.system").endswith("is named with plugins=[PACKAGE])")


TRIGGER = """
class Mine:
    def __init__(self, *, n: int = 2) -> None: ...
"""

ONLINE = "defaults: [_base, override trigger: mine, _self_]"


def test_a_schedule_of_a_package_has_its_name_while_the_package_is_named(package: Package) -> None:
    name = package(
        "options.py", declares('Trigger("mine", "PACKAGE.triggers.Mine")', 'Schedule("ours", trigger="mine")'),
        "triggers.py", TRIGGER,
        "conf/online/trigger/mine.yaml", "_target_: PACKAGE.triggers.Mine\nn: 3",
        "conf/online/ours.yaml", ONLINE,
    )  # fmt: skip
    line = [*TINY, f"plugins=[{name}]"]
    config = compose_plain([*line, "online=ours"])
    assert problems(config) == []
    assert config["online"]["trigger"] == {"_target_": f"{name}.triggers.Mine", "n": 3}
    assert label_of(typed(config).online.parts) == "ours"
    assert make_plan([*line, "online/trigger=mine", "online.trigger.n=5"]).problems == []
    other = compose_plain([*line, "online=ours", "online/data=replay"])
    assert problems(other) == []
    assert label_of(typed(other).online.parts) == "mine+replay"


def test_without_a_name_of_its_own_a_schedule_has_those_of_its_parts(package: Package) -> None:
    name = package(
        "options.py", declares('Trigger("mine", "PACKAGE.triggers.Mine")'),
        "triggers.py", TRIGGER,
        "conf/online/trigger/mine.yaml", "_target_: PACKAGE.triggers.Mine",
        "conf/online/ours.yaml", ONLINE,
    )  # fmt: skip
    config = compose_plain([*TINY, f"plugins=[{name}]", "online=ours"])
    assert problems(config) == []
    assert label_of(typed(config).online.parts) == "mine"


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        (['Schedule("retrain", gate="probe")'], "the schedule retrain is taken; rename it"),
        (['Schedule("static", gate="probe")'], "the schedule static is taken; rename it"),
        (
            ['Schedule("mine", data="replay")'],
            "the schedule mine is made of the parts of replay; leave it out",
        ),
        (
            ['Schedule("mine", trigger="hourly")'],
            "the schedule mine names online/trigger=hourly, which is no option",
        ),
        (2 * ['Schedule("mine", gate="probe")'], "the schedule mine is taken; rename it"),
    ],
)
def test_a_schedule_that_cannot_have_its_name_is_refused(
    package: Package, declared: list[str], said: str
) -> None:
    name = package("options.py", declares(*declared))
    assert f"plugins: {said}" in plug_problems([name])
    assert plug_problems([]) == []


def test_a_trigger_that_is_not_declared_is_refused(package: Package) -> None:
    name = package(
        "options.py", declares('Metric("hit", "PACKAGE.metrics.hit")'),
        "metrics.py", "def hit(g, e, k): return e",
        "triggers.py", TRIGGER,
        "conf/online/trigger/mine.yaml", "_target_: PACKAGE.triggers.Mine",
    )  # fmt: skip
    (problem,) = problems(compose_plain([*TINY, f"plugins=[{name}]", "online/trigger=mine"]))
    assert problem.startswith(f"online.trigger._target_: got '{name}.triggers.Mine', allowed: ")
    assert problem.endswith(f"{name}.options:OPTIONS does not declare it; add it there")


@pytest.mark.parametrize("base", ["coldlm.models.towers", "PACKAGE.between", "..between"])
def test_a_head_without_a_constructor_of_its_own_has_its_bases_keys(
    package: Package, base: str
) -> None:
    name = package(
        "options.py", declares('Head("mine", "PACKAGE.heads.mine.Mine")'),
        "between.py", "from coldlm.models.towers import Towers",
        "heads/__init__.py", "",
        "heads/mine.py", f"from {base} import Towers\n\nclass Mine(Towers):\n    pass\n",
        "conf/head/mine.yaml", "_target_: PACKAGE.heads.mine.Mine\nhistory: 8",
    )  # fmt: skip
    assert plug_problems([name]) == []
    assert fields_of(f"{name}.heads.mine.Mine") == fields_of("coldlm.models.towers.Towers")
    assert make_plan([*TINY, f"plugins=[{name}]", "head=mine", "head.history=3"]).problems == []
    (problem,) = make_plan([*TINY, f"plugins=[{name}]", "head=mine", "head.widht=3"]).problems
    assert problem == "head.widht: unknown key; did you mean head.width?"


def test_plugins_are_found_on_a_command_line() -> None:
    assert packages_in(["-m", "seed=1,2", "plugins=[a],[b,a]"]) == ["a", "b"]
    assert packages_in(
        ["plugins=[", "plugins=a", "~plugins", "+plugins=[c]", "plugins=[3]", "x.plugins=[d]"]
    ) == ["c"]
