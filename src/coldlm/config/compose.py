"""From the command line to plain configurations: a sweep's cells are composed and checked before
any of them runs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from coldlm.config.build import NODE_GROUPS, refuse
from coldlm.config.cells import Cell, Grid, make_grid, told_once
from coldlm.config.check import file_problems, known_paths, problems
from coldlm.config.guard import (
    UNREADABLE,
    before_composing,
    compose_safely,
    flag_problems,
    own_problems,
)
from coldlm.config.hints import hint
from coldlm.config.launchers import lone_launcher, swept_launcher
from coldlm.config.names import is_hidden, name_run
from coldlm.config.overrides import one_line, parse, texts_of
from coldlm.config.plugins import absence_problems
from coldlm.config.quoting import as_typed, readable, unreadable
from coldlm.config.search_path import folder_override, packages_in, with_plugins
from coldlm.config.tree import CONF, PRIMARY, Options, list_options
from coldlm.core.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """What a command line asks for. ``problems``: everything wrong with it. ``hydra``: overrides of
    Hydra's, which all cells share; ``given``: the others. ``cells``: the overrides of every cell
    that is to run, a single one where it is no sweep; ``folders``: theirs. ``swept``: keys.
    ``impossible``: (name, problems) of each cell that was left out."""

    problems: list[str]
    is_sweep: bool = False
    hydra: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    cells: tuple[Cell, ...] = ()
    folders: tuple[Path, ...] = ()
    swept: tuple[str, ...] = ()
    impossible: tuple[tuple[str, list[str]], ...] = ()


def plain(config: DictConfig) -> dict[str, Any]:
    """Return the configuration as a dict of plain values, interpolations resolved, without Hydra's
    own part.

    Raises:
        OmegaConfBaseException: an interpolation that leads nowhere.
    """
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    values = OmegaConf.to_container(own, resolve=True)
    assert isinstance(values, dict)
    return _controlled({str(key): value for key, value in values.items()})


def run_folder(
    config: DictConfig,
    values: Mapping[str, Any],
    own: Sequence[str],
    *,
    is_cell: bool,
    swept: Collection[str],
) -> Path:
    """Return the folder of a run.

    Args:
        config: with Hydra's own part; ``values``: the plain ones of the run.
        own: its overrides, without Hydra's.
        swept: keys.

    Raises:
        ConfigError: a name with a slash.
    """
    hidden = config.hydra.job.config.override_dirname.exclude_keys
    shown, name = [each for each in own if not is_hidden(each, hidden)], values["name"]
    return Path(str(values["output"])) / name_run(
        name if name is None else str(name), shown, is_cell, swept
    )


def _controlled(config: dict[str, Any]) -> dict[str, Any]:
    """``config`` with the things that its control replaces, whatever an experiment or the command
    line chose for them.

    Raises:
        ConfigError: ``control.replaces`` names an option that does not exist.
    """
    control = config.get("control")
    replaced = control.get("replaces") if isinstance(control, dict) else None
    for group, option in replaced.items() if isinstance(replaced, dict) else ():
        file = CONF / str(group) / f"{option}.yaml"
        if group not in {*NODE_GROUPS, "pretrain"} or not file.is_file():
            raise ConfigError(
                f"control.replaces: got {group}={option}, which is no option; leave it to the "
                "control"
            )
        config[group] = OmegaConf.to_container(OmegaConf.load(file))
    return config


def compose_plain(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that these overrides make.

    Raises:
        ConfigError: an override that cannot be used, or something of Hydra's own that may not be
            set.
    """
    written = readable(overrides)
    refuse([problem for _, problem in unreadable(written)])
    with with_plugins(written), initialize_config_dir(str(CONF), version_base="1.3"):
        config, found = compose_safely(written)
    refuse(found)
    assert config is not None
    try:
        return plain(config)
    except UNREADABLE as error:
        raise ConfigError(one_line(error)) from error


def make_plan(argv: Sequence[str], *, skip: bool = False, shows_only: bool = False) -> Plan:
    """Compose and check every cell of a command line; ``skip`` leaves impossible ones out, as long
    as any is possible, ``shows_only`` checks no more than that they can be composed.

    Cells are composed one by one, so that a key need only be known where it is used.
    """
    args = get_args(list(argv))
    line = [*folder_override(args.config_dir), *args.overrides]
    # without its package an option is not there, which says nothing new
    if found := flag_problems(args) or absence_problems(packages_in(line)):
        return Plan(found)
    with with_plugins(line) as folders, initialize_config_dir(str(CONF), version_base="1.3"):
        options = list_options(args.config_dir, folders)
        parser = OverridesParser.create(GlobalHydra.instance().config_loader())
        overrides, found = parse(parser, args.overrides, options)
        search = [parser.parse_override(text) for text in folder_override(args.config_dir)]
        if foreign := [*before_composing([*search, *overrides])]:
            return Plan(found + foreign)
        hydra = [str(o.input_line) for o in [*search, *overrides] if o.is_hydra_override()]
        own = [o for o in overrides if not o.is_hydra_override()]
        given = tuple(str(override.input_line) for override in own)
        composed = _composer(hydra)
        try:
            first, foreign = _first_cell(own, options, composed, hydra)
        except UNREADABLE as error:
            return Plan([*found, one_line(error)])
        if foreign:
            return Plan([*found, *foreign])
        is_sweep = args.multirun or first.hydra.mode == RunMode.MULTIRUN
        if is_sweep:
            swept, more = _swept_by_files(first, parser, options)
            own = [*swept, *own]
        else:
            more = [_no_sweep(each, options) for each in own if each.is_sweep_override()]
        found += more
        grid = make_grid(own, options)
        found += swept_launcher(grid.swept)
        whole = [] if shows_only else grid.cells() if skip else grid.sample()
        by_cell, places, foreign = _problems_by_cell(
            grid, whole, parser, composed, hydra, options, is_sweep=is_sweep
        )
        if foreign:
            return Plan([*found, *foreign])
    bad = {cell for cell, wrong in by_cell.items() if wrong} if skip and is_sweep else set()
    if len(bad) == len(by_cell):
        bad = set()
    told = told_once(grid, {cell: wrong for cell, wrong in by_cell.items() if cell not in bad})
    found += _not_told_yet(told, args.overrides)
    impossible = tuple((grid.label(cell), by_cell[cell]) for cell in grid.cells() if cell in bad)
    cells = tuple(cell for cell in grid.cells() if cell not in bad)
    folder_of = tuple(places[cell] for cell in cells if cell in places)
    return Plan(found, is_sweep, tuple(hydra), given, cells, folder_of, grid.swept, impossible)


def _first_cell(
    own: Sequence[Override],
    options: Options,
    composed: Callable[[tuple[str, ...]], DictConfig],
    hydra: Sequence[str],
) -> tuple[DictConfig, list[str]]:
    """The configuration with the first choice of every group, and what of Hydra's own node its
    files set and may not."""
    chosen = [o for o in own if o.key_or_group in options and not o.is_delete()]
    choices = tuple(texts_of(override, options)[0] for override in chosen)
    config = composed(choices)
    return config, own_problems(config, hydra, choices)


def _swept_by_files(
    config: DictConfig, parser: OverridesParser, options: Options
) -> tuple[list[Override], list[str]]:
    """The sweep that config files ask for, and what is wrong with it."""
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return parse(parser, [f"{key}={value}" for key, value in params.items()], options)


def _not_told_yet(problems: Iterable[str], overrides: Sequence[str]) -> list[str]:
    """Those that do not follow from an override that could not be read: they say nothing new."""
    left_out = {key for key, _ in unreadable(overrides)}
    return [problem for problem in problems if re.split("[: ]", problem)[0] not in left_out]


def _no_sweep(override: Override, options: Options) -> str:
    """What to do about several values in one run."""
    line, (key, _, value) = override.input_line, str(override.input_line).partition("=")
    is_text = any(
        isinstance(each, str) and {*" ./"} & {*each} for each in override.sweep_iterator()
    )
    one = (
        f"; or as one value, type {as_typed(key, value)}"
        if is_text and override.key_or_group not in options
        else ""
    )
    return f"{line}: several values are a sweep; add -m{one}"


def _composer(hydra: list[str]) -> Callable[[tuple[str, ...]], DictConfig]:
    """Composition by group choices alone, which is the slow part: cells that differ in values share
    it."""

    @cache
    def composed(choices: tuple[str, ...]) -> DictConfig:
        return compose(PRIMARY, [*hydra, *choices], return_hydra_config=True)

    return composed


def _problems_by_cell(
    grid: Grid,
    whole: Sequence[Cell],
    parser: OverridesParser,
    composed: Callable[[tuple[str, ...]], DictConfig],
    hydra: Sequence[str],
    options: Options,
    *,
    is_sweep: bool,
) -> tuple[dict[Cell, list[str]], dict[Cell, Path], list[str]]:
    """The problems of every cell: all of those in ``whole``, of the others only whether they can be
    composed; the folders of those that can; and what of Hydra's own node the files of any cell set
    and may not."""
    parsed = cache(parser.parse_override)
    foreign: dict[str, None] = {}
    looked_at = set[tuple[str, ...]]()
    first = dict.fromkeys(whole)
    files: dict[str, list[str]] = {}
    found: dict[Cell, list[str]] = {}
    folders: dict[Cell, Path] = {}
    for cell in dict.fromkeys([*first, *grid.cells()]):
        overrides = [parsed(text) for text in cell]
        choices = tuple(
            t for t, o in zip(cell, overrides, strict=True) if o.key_or_group in options
        )
        values = [o for o in overrides if o.key_or_group not in options]
        try:
            if choices not in looked_at:
                looked_at.add(choices)
                foreign |= dict.fromkeys(own_problems(composed(choices), hydra, choices))
            config, wrong = _apply(values, composed(choices), options)
            folders[cell] = run_folder(
                composed(choices), config, cell, is_cell=is_sweep, swept=grid.swept
            )
            if not is_sweep:
                wrong += lone_launcher(config.get("launcher"))
            if cell in first:
                wrong += problems(config)
                nodes = json.dumps(
                    [
                        config.get(group)
                        for group in ("dataset", "backbone", "logger", "launcher", "trainer")
                    ]
                )
                if nodes not in files:
                    files[nodes] = file_problems(config)
                wrong += files[nodes]
        except ConfigError as error:
            wrong = [str(error)]
        except UNREADABLE as error:
            wrong = [one_line(error)]
        found[cell] = list(dict.fromkeys(wrong))
    return found, folders, list(foreign)


def _apply(
    values: Sequence[Override], composed: DictConfig, options: Options
) -> tuple[dict[str, Any], list[str]]:
    """The plain configuration after the overrides of keys that exist, and what is wrong with the
    other overrides."""
    config, found = copy.deepcopy(composed), []
    before = plain(config)
    inner = [
        f"{name}.{key}"
        for name, node in before.items()
        if isinstance(node, dict)
        for key in node
        if not key.startswith("_")
    ]
    paths = [*dict.fromkeys([*known_paths(before), *inner]), *options]
    for override in values:
        key = override.key_or_group
        parent, _, last = key.rpartition(".")
        owner = OmegaConf.select(config, parent) if parent else config
        # ``in`` alone is False for ???
        is_new = not isinstance(owner, DictConfig) or last not in list(owner)
        if is_new and not (override.is_add() or override.is_force_add()):
            chosen = config.hydra.runtime.choices
            found.append(
                f"{key}: unknown key; {hint(key, override.value(), paths, before, chosen, options)}"
            )
            continue
        if override.is_add() and not is_new and not isinstance(override.value(), dict | list):
            found.append(f"{override.input_line}: this file sets it already; leave out the +")
            continue
        with open_dict(config):
            if override.is_delete():
                del owner[last]
            else:
                OmegaConf.update(config, key, override.value(), force_add=True)
    return plain(config), found
