"""``coldlm data check``: what a run would make of data, before anything is trained."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coldlm.commands.data_card import about_data, about_stream
from coldlm.core.errors import ColdlmError, ConfigError, DataError

OWN = "coldlm.data.own.load"

CHINESE = ("Chinese", "bert_base_chinese")
"""A script, and the backbone for texts in which it prevails."""

WINDOWS = (5, 3, 2, 1)
"""Numbers of windows that are tried, the first that the data can be cut into is suggested."""

EXAMPLES = 3

TOKENISED = 2_000
"""Texts whose tokens are counted."""


def check(arguments: Sequence[str]) -> list[str]:
    """Return the findings, one line each, the last of which is the command to type.

    Args:
        arguments: files, whose kinds are guessed, and overrides.

    Raises:
        ConfigError: keys or files that a run would refuse.
        DataError: too little data to be cut.
    """
    from coldlm.config.build import refuse
    from coldlm.config.check import problems
    from coldlm.config.compose import compose_plain

    # a folder of parts may be called year=2024
    paths = [Path(each) for each in arguments if "=" not in each or Path(each).exists()]
    overrides = [each for each in arguments if Path(each) not in paths]
    chosen = [each for each in overrides if each.startswith("dataset=")]
    if not paths and not chosen:
        raise ConfigError("name files of yours, such as items.csv orders.csv, or dataset=...")
    if paths and not chosen:
        overrides.insert(0, "dataset=own")
    config = compose_plain(overrides)
    refuse(problems(config))
    hints, typed = list[str](), list[str]()
    if paths:
        typed, hints = _take(paths, config)
    refuse(_data_problems(config, typed))
    config, world, cut = _cut(config)
    script = next((line for line in about_data(world.data) if "letters: " in line), "")
    is_chinese = CHINESE[0] in script.rpartition("letters: ")[2].partition(",")[0]
    if not any(each.startswith("backbone=") for each in overrides):
        typed += [f"backbone={CHINESE[1]}"] if is_chinese else []
        config["backbone"] = compose_plain([*overrides, *typed[-1:]] if is_chinese else overrides)[
            "backbone"
        ]
    line = " ".join(["coldlm run", *map(_as_typed, overrides), *typed, *cut])
    return [
        *(f"found: {name}: {what}" for name, what in world.data.found.items()),
        *(f"WARNING: {warning}" for warning in world.data.warnings),
        *(fact for fact in about_data(world.data) if not fact.startswith("sha256")),
        *about_stream(world),
        _cold(world),
        *_labels(world.data, config["dataset"]),
        *_examples(world.data),
        _tokens(world.data, config["backbone"]),
        *(f"hint: {hint}" for hint in hints),
        f"to run: {line}",
    ]


def _take(paths: Sequence[Path], config: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Set the files and columns that are guessed in the configuration; they as they are typed, and
    hints.

    Raises:
        ConfigError: the data set does not take files.
        DataError: files that are none of the tables.
    """
    from coldlm.data.files.columns import override
    from coldlm.data.files.guess import guess, with_guess
    from coldlm.data.files.own import Keys

    node = config["dataset"]
    if node["_target_"] != OWN:
        raise ConfigError(f"{paths[0]}: only dataset=own reads files that are named; leave it out")
    found = guess(paths, Keys.of(node))
    typed = [override(f"dataset.{kind}", str(path)) for kind, path in found.files.items()]
    for name, names in found.columns.items():
        key = f"dataset.columns.{name}"
        several = ",".join(f'"{each}"' for each in names)
        typed.append(override(key, names[0]) if len(names) == 1 else f"'{key}=[{several}]'")
    if found.label:
        typed.append(override("dataset.label", found.label))
    config["dataset"] = with_guess(node, found)
    return typed, found.hints


def _data_problems(config: Mapping[str, Any], typed: Sequence[str]) -> list[str]:
    """What the reader refuses, and what has been guessed."""
    from coldlm.config.check import file_problems

    found = file_problems({"dataset": config["dataset"]})
    if found and typed:
        found[-1] += f"\n    taken so far: {' '.join(typed)}"
    return found


def _cut(config: dict[str, Any]) -> tuple[dict[str, Any], Any, list[str]]:
    """The configuration, its world, and the override under which it can be cut.

    Raises:
        DataError: it cannot be.
    """
    from coldlm.config.schema import typed
    from coldlm.experiment.facts import refuse_empty_parts
    from coldlm.experiment.world import make_world

    trouble: ColdlmError | None = None
    for windows in (config["split"].get("windows"), *WINDOWS):
        split = config["split"]
        tried = config if windows is None else {**config, "split": {**split, "windows": windows}}
        try:
            world = make_world(typed(tried))
            refuse_empty_parts(world, has_lists=False)
        except DataError as error:
            trouble = error
            if "windows" not in split:
                break
            continue
        is_default = windows == split.get("windows")
        return tried, world, [] if is_default else [f"split.windows={windows}"]
    raise DataError(f"the files can be read, but not be cut in time: {trouble}")


def _cold(world: Any) -> str:
    """Who is new in the stream."""
    import numpy as np

    stream = world.stream
    items = np.unique(world.data.log.item[stream.event])
    users = np.unique(stream.user)
    return (
        f"cold: {world.cold_items[items].mean():.1%} of the {len(items):,} items and "
        f"{world.cold_users[users].mean():.1%} of the {len(users):,} users asked in the stream have no "
        "earlier event in train or validation"
    )


def _labels(data: Any, node: Mapping[str, Any]) -> list[str]:
    """What the labels are and who is a positive, where they are more than yes and no."""
    import numpy as np

    values = np.unique(data.log.label)
    if len(values) <= 2 or node.get("positive_from") is not None or node.get("actions"):
        return []
    at = float(np.median(data.log.label))
    return [
        f"labels: {values[0]:g} to {values[-1]:g}, {data.log.positive.mean():.0%} of them positive; "
        f"with dataset.positive_from={at:g} {(data.log.label >= at).mean():.0%} would be"
    ]


def _examples(data: Any) -> list[str]:
    """A few texts as the model reads them, from all over the table."""
    n = len(data.items)
    places = dict.fromkeys(place * (n - 1) // max(1, EXAMPLES - 1) for place in range(EXAMPLES))
    return [
        f"text of {data.items.ids[place]}: {text[:200]}{'...' if len(text) > 200 else ''}"
        for place in places
        for text in [data.items.texts[place]]
    ]


def _tokens(data: Any, node: Mapping[str, Any]) -> str:
    """How well a backbone's tokenizer knows the texts, if it is on disk."""
    from coldlm.config.build import build
    from coldlm.config.check import file_problems
    from coldlm.text.tokens import tokenize

    if found := file_problems({"backbone": node}):
        return f"tokens under {node.get('name')}: not counted: {found[0]}"
    backbone = build(node)
    if not hasattr(backbone, "tokenizer"):
        return "tokens: this backbone reads none"
    name = backbone.name
    step = max(1, len(data.items) // TOKENISED)
    tokens = tokenize(
        data.items.texts[::step], backbone.tokenizer, backbone.max_tokens, causal=backbone.causal
    )
    return (
        f"tokens under {name}: {tokens.lengths.mean():.1f} a text, {tokens.unknown:.2%} of them unknown "
        f"to it, {tokens.lost:,} lost in texts longer than {backbone.max_tokens}"
    )


def _as_typed(override: str) -> str:
    """An override as it was typed: the shell has taken its quotes away."""
    return shlex.quote(override)
