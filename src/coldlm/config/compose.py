"""From the command line to plain configurations: a sweep's cells are composed and checked before any of them runs."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from coldlm.config import hydra_node
from coldlm.config.build import GROUPS, refuse
from coldlm.config.check import file_problems, known_paths, problems
from coldlm.config.search_path import with_plugins
from coldlm.config.signatures import PACKAGE, nearest
from coldlm.core.errors import ConfigError

CONF = PACKAGE / "conf" if (PACKAGE / "conf").is_dir() else PACKAGE.parents[1] / "conf"
"""The config tree: inside the installed package, or beside the source."""

PRIMARY = "run"
"""Name of the primary config."""

MAX_CELLS = 64
"""Cells of a sweep that are checked beforehand, each swept value at least once; the rest are checked in their turn."""

UNREADABLE = (HydraException, OmegaConfBaseException, YAMLError)
"""What composing raises for files and overrides that cannot be used."""

Cell = tuple[Override, ...]
Options = dict[str, list[str]]


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration as a dict of plain values, interpolations resolved, without Hydra's own part.

    Raises:
        OmegaConfBaseException: an interpolation that leads nowhere.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True)
    assert isinstance(values, dict)
    return _controlled({str(key): value for key, value in values.items()})


def _controlled(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with the things that its control replaces, whatever an experiment or the command line chose for them.

    Raises:
        ConfigError: ``control.replaces`` names an option that does not exist.
    """
    control = config.get("control")
    replaced = control.get("replaces") if isinstance(control, dict) else None
    for group, option in replaced.items() if isinstance(replaced, dict) else ():
        file = CONF / str(group) / f"{option}.yaml"
        if group not in {*GROUPS, "pretrain"} or not file.is_file():
            raise ConfigError(f"control.replaces: got {group}={option}, which is no option; leave it to the control")
        config[group] = OmegaConf.to_container(OmegaConf.load(file))
    return config


def compose_plain(overrides: Sequence[str]) -> dict[str, Any]:
    """The configuration that these overrides make.

    Raises:
        ConfigError: an override that cannot be used, or something of Hydra's own that may not be set.
    """
    with with_plugins(overrides), initialize_config_dir(str(CONF), version_base="1.3"):
        config, found = _compose_safely(overrides)
    refuse(found)
    assert config is not None
    try:
        return plain(config)
    except UNREADABLE as error:
        raise ConfigError(_message(error)) from error


def check_hydra(argv: Sequence[str]) -> list[str]:
    """What a command line that only shows something sets of Hydra's own and may not: Hydra acts on it all the same."""
    args = get_args(list(argv))
    if found := _flag_problems(args):
        return found
    if args.shell_completion:  # nothing is composed of these overrides
        return []
    with with_plugins(args.overrides), initialize_config_dir(str(CONF), version_base="1.3"):
        return _compose_safely([*_search_path(args.config_dir), *args.overrides])[1]


def _compose_safely(texts: Sequence[str]) -> tuple[DictConfig | None, list[str]]:
    """What Hydra makes of these overrides, and what is wrong with its own node; nothing foreign is imported."""
    try:
        parsed = [OverridesParser.create().parse_override(text) for text in texts]
        if found := [*_before_composing(parsed)]:
            return None, found
        config = compose(PRIMARY, list(texts), return_hydra_config=True)
        lines = [[str(o.input_line) for o in parsed if o.is_hydra_override() == own] for own in (True, False)]
        return config, _own_problems(config, *lines)
    except UNREADABLE as error:
        return None, [_message(error)]


def _flag_problems(args: Any) -> list[str]:
    """Flags of Hydra's that bring another primary config, which may name packages, or unpickle a file."""
    flags = {
        "--config-path": args.config_path,
        "--config-name": args.config_name,
        "--experimental-rerun": args.experimental_rerun,
    }
    found = [
        f"{flag}: is not taken; --config-dir DIR adds a folder of config files, such as DIR/experiment/mine.yaml"
        for flag, value in flags.items()
        if value is not None
    ]
    if args.config_dir and not Path(args.config_dir).is_dir():
        found.append(f"--config-dir: got {args.config_dir}, which is not a folder")
    return found


def _search_path(config_dir: str | None) -> list[str]:
    """The user's own config folder as an override."""
    return [f"hydra.searchpath=['{Path(config_dir).absolute().as_uri()}']"] if config_dir else []


def _before_composing(overrides: Sequence[Override]) -> Iterator[str]:
    """What must not even be composed with."""
    if sum(override.key_or_group == "hydra.searchpath" for override in overrides) > 1:
        yield "hydra.searchpath: got more than one search path, allowed: one, or --config-dir DIR"
    for override in overrides:
        if override.key_or_group == "hydra.searchpath":
            problem = hydra_node.search_path_problem(override.value())
            if problem:
                yield problem
        elif hydra_node.HYDRAS.match(override.key_or_group) and not override.is_hydra_override():
            yield f"{override.key_or_group}: Hydra's node is not set as a whole; name the key, such as hydra.verbose"


def _own_problems(config: DictConfig, hydra: Sequence[str], task: Sequence[str]) -> list[str]:
    """What of Hydra's own node, as composed with these overrides of its own and of the run, may not be there."""
    launcher = config.hydra.runtime.choices.get("hydra/launcher")
    base = _usual(launcher if launcher in hydra_node.LAUNCHERS else "basic")
    return list(hydra_node.node_problems(config.hydra, base, hydra, task))


@cache
def _usual(launcher: str) -> DictConfig:
    """Hydra's own node without anything of the user's."""
    node: DictConfig = compose(PRIMARY, [f"hydra/launcher={launcher}"], return_hydra_config=True).hydra
    return node


def check_overrides(argv: Sequence[str]) -> list[str]:
    """Everything wrong with a command line, the files it names and the configurations it makes; [] if nothing is."""
    args = get_args(list(argv))
    if found := _flag_problems(args):
        return found
    with with_plugins(args.overrides) as folders, initialize_config_dir(str(CONF), version_base="1.3"):
        options = list_options(args.config_dir, folders)
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        overrides, found = _parse(parser, args.overrides, options)
        hydra = [parser.parse_override(text) for text in _search_path(args.config_dir)]
        if foreign := [*_before_composing([*hydra, *overrides])]:
            return found + foreign
        hydra += [o for o in overrides if o.is_hydra_override()]
        own = [o for o in overrides if not o.is_hydra_override()]
        lines = [str(o.input_line) for o in hydra]
        composed = _composer(lines)
        groups = [o for o in own if o.key_or_group in options]
        firsts = tuple(_texts(o)[0] for o in groups if not o.is_delete())
        # what a sweep itself is made by: Hydra leaves out the groups that it varies
        settled = tuple(str(o.input_line) for o in groups if not o.is_sweep_override())
        try:
            first = composed(firsts)
            foreign = [text for made in {firsts, settled} for text in _own_problems(composed(made), lines, made)]
        except UNREADABLE as error:
            return [*found, _message(error)]
        if foreign:
            return [*found, *dict.fromkeys(foreign)]
        is_sweep = args.multirun or first.hydra.mode == RunMode.MULTIRUN
        if is_sweep:
            params = OmegaConf.select(first, "hydra.sweeper.params") or {}
            swept, more = _parse(parser, [f"{key}={value}" for key, value in params.items()], options)
            own, found = [*swept, *own], found + more
        else:
            found += [f"{o.input_line}: several values are a sweep; add -m" for o in own if o.is_sweep_override()]
        # in our own files there is nothing to look for
        if folders or any(o.key_or_group == "hydra.searchpath" for o in hydra):
            for made in _every_choice([o for o in own if o.key_or_group in options]):
                with suppress(*UNREADABLE):  # what cannot be composed is never run, and told below
                    foreign += _own_problems(composed(made), lines, made)
        if foreign:
            return [*found, *dict.fromkeys(foreign)]
        return found + _cell_problems(list(_cells(parser, own)), composed, options)


def list_options(config_dir: str | None = None, plugins: Sequence[Path] = ()) -> Options:
    """Options of each group (``video/movielens_latest_small`` of ``dataset``): ours, and those in the folders of
    ``plugins`` and in ``config_dir``."""
    options: Options = {}
    for root in [CONF, *plugins, *([Path(config_dir)] if config_dir else [])]:
        for file in sorted(root.rglob("*.yaml")):
            group, *rest = file.relative_to(root).with_suffix("").parts
            if rest and not file.name.startswith("_"):  # which other files are made of
                options.setdefault(group, []).append("/".join(rest))
    return options


def _parse(parser: OverridesParser, texts: Sequence[str], options: Options) -> tuple[list[Override], list[str]]:
    """The overrides that can be used, and what is wrong with the others: syntax, or an option that is not there."""
    overrides, found = [], []
    for text in texts:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            found.append(f"{text}: cannot be read as key=value: {_message(error).removesuffix('.')}")
            continue
        wrong = list(_option_problems(override, options))
        found += wrong
        if not wrong:
            overrides.append(override)
    return overrides, found


def _option_problems(override: Override, options: Options) -> Iterator[str]:
    group = override.key_or_group
    if group not in options or override.is_delete():
        return
    values = override.value() if not override.is_sweep_override() else list(override.sweep_iterator())
    for value in values if isinstance(values, list) else [values]:
        if value is not None and value not in options[group]:
            near = nearest(str(value), options[group])
            hint = f"did you mean {near}? " if near else ""
            yield f"{group}={value}: no such option; {hint}there are: {', '.join(options[group])}"


def _composer(hydra: list[str]) -> Callable[[tuple[str, ...]], DictConfig]:
    """Composition by group choices alone, which is the slow part: cells that differ in values share it."""

    @cache
    def composed(choices: tuple[str, ...]) -> DictConfig:
        return compose(PRIMARY, [*hydra, *choices], return_hydra_config=True)

    return composed


def _texts(override: Override) -> list[str]:
    """One ``key=value`` per value of a sweep; the override as it stands if it is none."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]


def _cells(parser: OverridesParser, overrides: Sequence[Override]) -> Iterator[Cell]:
    """Up to ``MAX_CELLS`` combinations: first those in which one axis leaves its first value, then the others."""
    parse = cache(parser.parse_override)
    by_key = {o.get_key_element(): o for o in overrides if o.is_discrete_sweep() or not o.is_sweep_override()}
    axes = [_texts(override) for override in by_key.values()]
    firsts = [axis[0] for axis in axes]
    single = ([*firsts[:i], text, *firsts[i + 1 :]] for i, axis in enumerate(axes) for text in axis[1:])
    order = itertools.chain([firsts], single, itertools.product(*axes))
    distinct = dict.fromkeys(map(tuple, itertools.islice(order, MAX_CELLS)))
    return (tuple(map(parse, texts)) for texts in distinct)


def _every_choice(groups: Sequence[Override]) -> Iterator[tuple[str, ...]]:
    """Every combination of the groups of a sweep, more than ``MAX_CELLS`` too: files could hide something in one."""
    by_key = {o.get_key_element(): o for o in groups if o.is_discrete_sweep() or not o.is_sweep_override()}
    return itertools.product(*(_texts(override) for override in by_key.values()))


def _cell_problems(
    cells: Sequence[Cell], composed: Callable[[tuple[str, ...]], DictConfig], options: Options
) -> list[str]:
    """Problems of all cells, each once, with the first cell that has it where not all have."""
    seen: dict[str, list[Cell]] = {}
    files: dict[str, list[str]] = {}
    for cell in cells:
        choices = tuple(str(o.input_line) for o in cell if o.key_or_group in options)
        values = [o for o in cell if o.key_or_group not in options]
        try:
            config, found = _apply(values, composed(choices), options)
            found += problems(config)
            nodes = json.dumps([config.get(group) for group in ("dataset", "backbone", "logger", "trainer")])
            if nodes not in files:
                files[nodes] = file_problems(config)
            found += files[nodes]
        except UNREADABLE as error:
            found = [_message(error)]
        for problem in dict.fromkeys(found):
            seen.setdefault(problem, []).append(cell)
    return [problem + _where(where, len(cells)) for problem, where in seen.items()]


def _apply(values: Sequence[Override], composed: DictConfig, options: Options) -> tuple[dict[str, Any], list[str]]:
    """The plain configuration after the overrides of keys that exist, and what is wrong with the other overrides."""
    config, found = copy.deepcopy(composed), []
    before = plain(config)
    inner = [f"{name}.{key}" for name, node in before.items() if isinstance(node, dict) for key in node]
    paths = [*dict.fromkeys([*known_paths(before), *inner]), *options]
    for override in values:
        key = override.key_or_group
        parent, _, last = key.rpartition(".")
        owner = OmegaConf.select(config, parent) if parent else config
        is_new = not isinstance(owner, DictConfig) or last not in list(owner)  # ``in`` alone is False for ???
        if is_new and not (override.is_add() or override.is_force_add()):
            near = nearest(key, paths)
            hint = f"did you mean {near}?" if near != key else f"this file does not set it: write +{key}"
            found.append(f"{key}: unknown key; {hint if near else 'coldlm run --help lists all keys'}")
            continue
        with open_dict(config):
            if override.is_delete():
                del owner[last]
            else:
                OmegaConf.update(config, key, override.value(), force_add=True)
    return plain(config), found


def _where(cells: Sequence[Cell], total: int) -> str:
    if len(cells) == total:
        return ""
    first = ",".join(str(override.input_line) for override in cells[0])
    return f" (in {len(cells)} of {total} cells, such as {first})"


def _message(error: Exception) -> str:
    """An exception of Hydra's on one line, without its pointer to the documentation."""
    lines = str(error).splitlines()
    return " ".join(line.strip() for line in lines if line.strip() and not line.startswith("See http"))
