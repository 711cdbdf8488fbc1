"""The model card of a pushed run: how it is used, what was measured, on what, and what nobody should believe of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import metadata, packages_distributions
from pathlib import Path
from typing import Final

from coldlm.config.kinds import SplitRule, Strategy
from coldlm.config.options import chosen
from coldlm.config.schema import RunConfig
from coldlm.core.errors import RunFolderError
from coldlm.experiment.card_code import code
from coldlm.models.backbones.backbone_module import Backbone
from coldlm.models.backbones.layouts import Layout
from coldlm.report.asked import Asked
from coldlm.report.columns import quality_table
from coldlm.report.flags import flags
from coldlm.report.formats import markdown
from coldlm.report.measured import make_report
from coldlm.report.notes import footnotes
from coldlm.report.table import name
from coldlm.report.target import HEADLINE
from coldlm.report.verdict import judge
from coldlm.runs.manifest import Manifest

SHOWN: Final = Asked(
    columns=(HEADLINE.key, "interval", "cold_item_any", "cold_user_any", "vs_trivial")
)
"""Columns of the card's table."""

LAYOUTS: Final[dict[Layout, str]] = {
    "whole": "a whole model of transformers: `AutoModel.from_pretrained` reads this folder",
    "peft": "an adapter in peft's layout: `PeftModel.from_pretrained(base, folder)`",
    "prefix": "a prefix in peft's layout. **peft's own forward reads it otherwise than it was trained**: it counts "
    "the text's positions from behind the prefix. Use the lines below",
    "prompt": "a prompt in peft's layout. **peft's own forward reads it otherwise than it was trained**: it puts the "
    "prompt in front of the embeddings' norm and positions, and this one was trained behind them. Use the lines below",
    "bottleneck": "bottleneck adapters. Neither transformers nor peft has a layout for them, so they lie as tensors "
    "in `adapter.safetensors`, named by the dense layer that each stands behind; the lines below put them there",
}

CONTROLS: Final = {
    "none": "This run is none: every item has its own text.",
    "untrained_strategy": "THIS RUN IS ONE: what the strategy added stayed as it was drawn, only the head was trained.",
}
PERMUTED: Final = (
    "THIS RUN IS ONE ({name}): items had the texts of other items. It is no model to be used."
)

BESIDE: Final = (
    "Whether the text did anything is told by the same run with `control=permuted_text`, `random_vectors` or "
    "`context_only`, and by the baselines; a single run has no such rows beside it."
)

CARD: Final = """\
---
{front}
---

# {run}: {strategy} on {base}, for {dataset}

A text encoder out of a cold-start recommender that [coldlm]({source}) trained: it turns what is written about
an item into a vector. What lies here is {layout}.

```python
{code}
```

{reading}

The recommender's head is in `head/head.safetensors`, and `head/head.json` says what it is: tensors without code, which
coldlm knows how to put together. It scores (user, item) pairs from these vectors{context}.

## Which weights

{weights}

## What was measured

{quality}

## Controls

{controls}

## Limits

{limits}

## How it was made

| | |
|---|---|
{made}

## Licence

{licence}
"""

SOURCE: Final = "https://github.com/coldlm/coldlm"


@dataclass(frozen=True)
class Base:
    """The model that a run began with. ``words``: what it is called; ``hub``, ``revision``: its public name, None where
    a copy is needed; ``licence``: what is known of it."""

    words: str
    hub: str | None
    revision: str | None
    licence: str

    @staticmethod
    def of(config: RunConfig) -> Base:
        """Return the base of a configuration. What was cut, pre-trained or made here has no public name."""
        node = config.backbone
        words = str(node.get("name") or f"{node['_target_'].rpartition('.')[2]}_{node['family']}")
        if "path" not in node:
            return Base(words, None, None, "It was made of random numbers, by the run itself.")
        if node["path"]:
            return Base(words, None, None, "It came from a folder: ask whoever pushed this.")
        if node["package"]:
            return Base(words, None, None, _licence_of(node["package"]))
        said = f"It is https://huggingface.co/{node['hub']} at {node['revision']}, whose page names it."
        is_plain = node["keep_layers"] is None and config.pretrain.objective == "off"
        hub, revision = (node["hub"], node["revision"]) if is_plain else (None, None)
        return Base(words, hub, revision, said)


def _licence_of(package: str) -> str:
    """What an installed package says of its licence."""
    name = next(iter(packages_distributions().get(package, [])), None)
    facts = metadata(name).json if name else {}
    said = facts.get("license_expression") or facts.get("license")
    known = f"names {said} for itself" if said else "names none that this card could read"
    return f"It came from the PyPI package `{name or package}`, which {known}."


@dataclass(frozen=True)
class Facts:
    """What a card is made from. ``where``: OWNER/NAME on the hub, None for a folder."""

    run: Path
    config: RunConfig
    manifest: Manifest
    stage: str
    layout: Layout
    base: Base
    where: str | None


def card(facts: Facts, backbone: Backbone) -> str:
    """Return the card as Markdown; ``backbone`` is the trained one."""
    config, manifest, base = facts.config, facts.manifest, facts.base
    lines = code(backbone, facts.layout, base.hub, base.revision, facts.where)
    control = config.control.name
    quality, limits = _measured(facts.run)
    copy = "" if facts.layout == "whole" or base.hub else " `base/` is a copy of it."
    return CARD.format(
        front="\n".join(_front(facts)),
        run=manifest.run or facts.run.name,
        strategy=manifest.axes.get("strategy", chosen(Strategy, config.strategy).name),
        base=base.words,
        dataset=manifest.data.name,
        source=SOURCE,
        layout=LAYOUTS[facts.layout],
        code=lines,
        reading=_reading(backbone),
        context=" and from counts, recency and age, which are not in them"
        if config.head.get("context") == "on"
        else "",
        weights=_weights(facts),
        quality=quality,
        controls=f"{CONTROLS.get(control, PERMUTED.format(name=control))} {BESIDE}",
        limits="\n".join(f"- {line}" for line in limits),
        made="\n".join(f"| {key} | {value} |" for key, value in _made(facts)),
        licence=f"The licence of the base, {base.words}, holds for what was made from it.{copy} {base.licence} "
        f"The terms of the data set, {manifest.data.name}, may say more. This card grants nothing.",
    )


def _front(facts: Facts) -> Iterator[str]:
    """The card's metadata, as the hub reads them."""
    if facts.base.hub:
        yield f"base_model: {facts.base.hub}"
        yield f"base_model_relation: {'finetune' if facts.layout == 'whole' else 'adapter'}"
    has_peft = facts.layout in ("peft", "prefix", "prompt")
    yield f"library_name: {'peft' if has_peft else 'transformers'}"
    yield "pipeline_tag: feature-extraction"
    yield "tags: [coldlm, recommendation, cold-start]"


def _reading(backbone: Backbone) -> str:
    """How texts are given to it."""
    prefixes = [
        f"`{prefix!r}` stands before {what}"
        for prefix, what in (
            (backbone.item_prefix, "every item's text"),
            (backbone.query_prefix, "a typed query or a profile"),
        )
        if prefix
    ]
    said = f"Texts are cut at {backbone.max_tokens} tokens; a vector has {backbone.width} numbers "
    said += f"({backbone.pooling} pooling)."
    return f"{said} {'; '.join(prefixes)}{'.' * bool(prefixes)}".rstrip()


def _weights(facts: Facts) -> str:
    """Which of the run's weights these are, and what they have seen."""
    dates, asked = facts.manifest.data.dates, facts.config.pretrain.objective
    said = ""
    if asked != "off":
        said += f"Stage `pretrain` ({asked}) has trained the base on item texts known before {dates['t_val']}. "
    if not chosen(Strategy, facts.config.strategy).trains:
        said += "The strategy has trained nothing of the backbone: what follows is about the head. "
    if facts.stage == "train":
        until = f"what was known before {dates['t_test' if facts.manifest.refit else 't_val']}"
        if chosen(SplitRule, facts.config.split).leaks:
            until = "a training part that the future leaks into (LEAKY)"
        return (
            f"{said}As stage `train` left them, from {until}; the rows `history` are of "
            "these weights."
        )
    schedule = facts.manifest.axes.get("online", "online")
    return (
        f"{said}As they were after the last update of stage `online` (`{schedule}`): they have learned from the very "
        "stream that the numbers below are of. Each of those was taken before the update that saw it, by an earlier "
        "state of these weights; **no number below is of this state**, and on that stream there can be none. The rows "
        "`history` are of the weights before the stream (`coldlm push --stage train`)."
    )


def _measured(run: Path) -> tuple[str, list[str]]:
    """What the report says of the run alone: its rows and the best baseline's; and its notes."""
    try:
        report = make_report([run], SHOWN)
    except RunFolderError:
        nothing = "Nothing: this run was not scored, or not to its end. Nobody knows what these weights are worth."
        return nothing, ["No claim of any kind."]
    comparison, headline, _ = report.parts[0]
    table = quality_table(comparison, headline)
    best = headline.best_trivial and name(headline.best_trivial, comparison)
    rows = [
        at
        for at, (kind, cells) in enumerate(zip(table.kinds, table.body, strict=True))
        if kind != "baseline" or cells[0] == best
    ]
    verdict = judge(comparison, headline)
    found = [
        f"{comparison.target.words}, macro over all users, on {comparison.title}, candidates: {comparison.candidates}. "
        "The last row is the best baseline.",
        *(f"**{flag}**" for flag in flags(comparison)),
        markdown(table.rows(rows)).rstrip(),
        f"**{verdict.answer}.** {verdict.words}",
    ]
    return "\n\n".join(found), footnotes(comparison, headline)


def _made(facts: Facts) -> Iterator[tuple[str, str]]:
    manifest, data = facts.manifest, facts.manifest.data
    yield "command", f"`{manifest.command or 'not stored'}`".replace("|", "\\|")
    yield "commit of coldlm", f"`{manifest.commit or 'unknown'}`"
    yield "configuration", f"`{manifest.config_hash}`, seed {manifest.axes.get('seed', 'unknown')}"
    files = (f"`{file}` sha256 `{digest[:12]}`" for file, digest in (data.hashes or {}).items())
    yield "data", "; ".join([data.name, *files])
    yield "split", f"{manifest.axes.get('split', 'unknown')}: {data.cut}".replace("|", "\\|")
    yield (
        "trained parameters",
        f"{manifest.trainable_parameters:,}" if manifest.trainable_parameters else "unknown",
    )
    yield "versions", ", ".join(f"{k} {v}" for k, v in (manifest.versions or {}).items() if v)
