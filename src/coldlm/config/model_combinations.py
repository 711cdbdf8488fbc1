"""What of strategy, backbone, head, loss and pre-training cannot stand together; see ``combinations``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from string import Formatter
from typing import Any

from coldlm.models.backbones import checkpoints
from coldlm.models.backbones.checkpoints import Shape

Section = Mapping[str, Any]

STAGED = ("adapter", "prefix", "prompt", "ia3")
"""Strategies that need a backbone that is run layer by layer."""


def strategy_problems(backbone: Section, strategy: Section) -> Iterator[str]:
    name, shape, layers = name_of(strategy), _shape(backbone), strategy.get("layers")
    if name != "frozen" and name_of(backbone) == "random_vectors":
        yield f"strategy={name} has nothing to train in backbone=random_vectors; use strategy=frozen"
    if name == "adalora" and strategy["tinit"] + strategy["tfinal"] >= 1:
        yield (
            f"strategy.tinit={strategy['tinit']} and strategy.tfinal={strategy['tfinal']} leave no steps between them "
            "in which ranks could be given up: their sum must be below 1"
        )
    if shape and shape.family == checkpoints.OTHER and name in STAGED:
        yield (
            f"strategy={name} is made for BERT, RoBERTa and GPT-2, and backbone {backbone['name']!r} is another model; "
            "use strategy=frozen, full, top, bitfit, lora or adalora"
        )
    if not shape or not layers or shape.layers is None:
        return
    if not shape.layers:
        yield (
            f"strategy.layers={layers}: the backbone's layers share their weights, so none can train alone; use "
            "strategy=full, strategy=frozen or strategy=lora with layers=null"
        )
    elif layers > shape.layers:
        yield f"strategy.layers={layers}: the backbone has {shape.layers} layers; choose 1 to {shape.layers}"


def context_problems(strategy: Section, head: Section) -> Iterator[str]:
    if name_of(strategy) != "frozen" and head.get("context") == "only":
        yield f"strategy={name_of(strategy)} trains a backbone that head.context=only never reads; use strategy=frozen"


def head_problems(head: Section, strategy: Section, backbone: Section) -> Iterator[str]:
    """What a head cannot train, or cannot train with."""
    if backbone.get("pooling") == "attention" and name_of(head) in ("ZeroShot", "CausalLM"):
        name, why = ("zero_shot", "trains nothing") if name_of(head) == "ZeroShot" else ("causal_lm", "pools nothing")
        yield f"backbone.pooling=attention trains a query, but head={name} {why}; use pooling=mean or last"
    if name_of(head) == "ZeroShot" and name_of(strategy) != "frozen":
        yield f"head=zero_shot trains nothing, but strategy={name_of(strategy)}; use strategy=frozen, or head=towers"
    if head.get("user") == "transformer" and head["width"] % head["user_heads"]:
        yield f"head.width={head['width']} must be a multiple of head.user_heads={head['user_heads']}"
    if head.get("fusion") == "gate" and head["context"] == "off":
        yield "head.fusion=gate weighs text against context, but head.context=off; use head.context=on, or fusion=add"


def reading_problems(
    head: Section, loss: Section, backbone: Section, train: Section, evaluate: Section
) -> Iterator[str]:
    """Heads that read user and item together: what they are trained by, and what they cannot do."""
    name, shape = {"Pair": "pair", "CausalLM": "causal_lm"}.get(name_of(head)), _shape(backbone)
    if name_of(loss) == "NegativeLogLikelihood" and name != "causal_lm":
        yield "loss=nll needs scores that are log-probabilities: head=causal_lm, or another loss"
    if name is None:
        return
    if name == "pair" and name_of(loss) != "BinaryCrossEntropy":
        yield (
            f"head=pair is a classifier, but loss={name_of(loss)}; use loss=binary_cross_entropy with few draws, such "
            "as loss.draws=4, and small batches"
        )
    if name == "causal_lm":
        yield from _speech_problems(head["context"], name_of(loss))
    if name == "causal_lm" and (problem := _prompt_problem(head["prompt"])):
        yield problem
    if name_of(backbone) == "random_vectors":
        yield f"head={name} reads texts, but backbone=random_vectors has none to read; use head=towers"
    elif name == "causal_lm" and shape and shape.causal is False:
        yield f"head=causal_lm needs a decoder, got {shape.family}; use one, such as backbone=gpt2"
    if train["head_epochs"]:
        yield (
            f"train.head_epochs={train['head_epochs']}: head={name} keeps no vectors of the untouched backbone that it "
            "could train on alone; use 0"
        )
    if evaluate["candidates"] == "impression":
        yield (
            f"evaluate.candidates=impression: head={name} re-ranks the best of the catalogue, not lists as shown; "
            "use evaluate.candidates=full, or head=towers"
        )


def _speech_problems(context: str, loss: str) -> Iterator[str]:
    if context == "off" and loss != "NegativeLogLikelihood":
        yield (
            f"head=causal_lm without context learns to say the chosen text, but loss={loss}; use loss=nll, or "
            "head.context=on"
        )
    if context != "off" and loss != "BinaryCrossEntropy":
        yield (
            f"head=causal_lm: with head.context={context} its scores are no log-probabilities, but loss={loss}; use "
            "loss=binary_cross_entropy with few draws, such as loss.draws=4, or head.context=off"
        )


def _prompt_problem(prompt: str) -> str | None:
    """A prompt that cannot be filled, or in which a history or a typed text would be lost."""
    try:
        fields = sorted(field for _, field, *_ in Formatter().parse(prompt) if field is not None)
    except ValueError as error:
        return f"head.prompt: {error} in {prompt!r}; write {{{{ and }}}} for braces that are text"
    if fields == ["history", "query"]:
        return None
    got = ", ".join(f"{{{field}}}" for field in fields) or "no field"
    return f"head.prompt: got {got}, allowed: {{history}} and {{query}}, each once"


def backbone_problems(backbone: Section) -> Iterator[str]:
    shape, keep = _whole_shape(backbone), backbone.get("keep_layers")
    if shape and shape.refusal:
        yield f"backbone: {shape.refusal}"
    if shape and shape.layers is not None and isinstance(keep, int | list):
        numbers = list(range(keep)) if isinstance(keep, int) else keep
        if not numbers or numbers != sorted(set(numbers)) or numbers[-1] >= shape.layers:
            yield (
                f"backbone.keep_layers={keep}: the backbone has {shape.layers} layers that can be told apart; choose "
                "how many to keep, or their numbers from 0, ascending"
            )
    if shape and shape.causal and backbone.get("pooling") == "cls":
        yield "backbone.pooling=cls: the first token of a causal model has read nothing else; use last or mean"
    if name_of(backbone) in ("tiny", "scratch") and backbone["width"] % backbone["heads"]:
        yield f"backbone.width={backbone['width']} must be a multiple of backbone.heads={backbone['heads']}"


def pretrain_problems(pretrain: Section, backbone: Section, stages: list[str]) -> Iterator[str]:
    objective, name, shape = pretrain["objective"], name_of(backbone), _shape(backbone)
    if "pretrain" in stages[1:]:
        yield f"stages: got {', '.join(stages)}; pretrain comes first"
    if objective == "off":
        if name == "scratch":
            yield "backbone=scratch has no weights before stage pretrain; set pretrain=masked_lm or pretrain=causal_lm"
        return
    if name not in ("load", "scratch"):
        yield (
            f"pretrain={objective} has nothing to learn with in backbone={name}; use a checkpoint, "
            "backbone=scratch_bert or backbone=scratch_gpt2"
        )
    elif (
        shape and shape.causal is not None and objective != "contrastive" and shape.causal != (objective == "causal_lm")
    ):
        fits = "causal_lm" if shape.causal else "masked_lm"
        yield f"pretrain={objective}: the backbone learns by pretrain={fits} or pretrain=contrastive"
    for key, owner in (("mask_share", "masked_lm"), ("temperature", "contrastive")):
        if (pretrain[key] is None) == (objective == owner):
            yield f"pretrain.{key}: got {pretrain[key]}; set it with pretrain={owner}, and to null with any other"
    if objective == "contrastive" and backbone.get("pooling") == "attention":
        yield (
            "backbone.pooling=attention: its query is no part of the backbone's folder, so pretrain=contrastive would "
            "lose it; use mean, cls or last"
        )


def name_of(node: Section) -> str:
    """``lora`` for a node whose target is ``coldlm.models.strategy.lora``."""
    return str(node["_target_"]).rpartition(".")[2]


def _shape(backbone: Section) -> Shape | None:
    """What can be known, without loading anything, of the backbone with the layers that are kept."""
    shape, keep = _whole_shape(backbone), backbone.get("keep_layers")
    if shape is None or not shape.layers or not keep:
        return shape
    return replace(shape, layers=keep if isinstance(keep, int) else len(keep))


def _whole_shape(backbone: Section) -> Shape | None:
    if name_of(backbone) in ("tiny", "scratch"):
        return Shape(backbone["family"], backbone["layers"], backbone["family"] == "gpt2")
    if name_of(backbone) != "load":
        return None
    places = {key: backbone.get(key) for key in ("hub", "revision", "package", "path")}
    folder = checkpoints.locate(**places)
    return checkpoints.read_shape(folder) if folder else None
