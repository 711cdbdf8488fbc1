"""What of strategy, backbone, head, loss and pre-training cannot stand together; see
``combinations``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from string import Formatter
from typing import Any

from coldlm.config import options
from coldlm.config.kinds import BackboneSource, Head, Loss, Strategy
from coldlm.config.options import chosen
from coldlm.models.backbones import checkpoints
from coldlm.models.backbones.checkpoints import Shape

Section = Mapping[str, Any]


def strategy_problems(backbone: Section, strategy: Section) -> Iterator[str]:
    """Yield what keeps a strategy from training this backbone."""
    option, shape, layers = chosen(Strategy, strategy), _shape(backbone), strategy.get("layers")
    if option.trains and not chosen(BackboneSource, backbone).reads_text:
        yield (
            f"strategy={option.name} has nothing to train in backbone=random_vectors; use "
            f"strategy={_or(not_training())}"
        )
    if strategy.get("tinit", 0) + strategy.get("tfinal", 0) >= 1:
        yield (
            f"strategy.tinit={strategy['tinit']} and strategy.tfinal={strategy['tfinal']} leave no "
            "steps between them in which ranks could be given up: their sum must be below 1"
        )
    if strategy.get("use_dora") and strategy.get("stream_adapters"):
        yield (
            "strategy.use_dora=true trains norms of one product, strategy.stream_adapters="
            f"{strategy['stream_adapters']} adds others; use one of the two"
        )
    if shape and shape.family == checkpoints.OTHER and option.needs_layers:
        others = [other.name for other in options.every(Strategy) if not other.needs_layers]
        yield (
            f"strategy={option.name} is made for BERT, RoBERTa and GPT-2, and backbone "
            f"{backbone['name']!r} is another model; use strategy={_or(others)}"
        )
    if not shape or not layers or shape.layers is None:
        return
    if not shape.layers:
        yield (
            f"strategy.layers={layers}: the backbone's layers share their weights, so none can "
            "train alone; use strategy=full, strategy=frozen or strategy=lora with layers=null"
        )
    elif layers > shape.layers:
        yield (
            f"strategy.layers={layers}: the backbone has {shape.layers} layers; choose 1 to "
            f"{shape.layers}"
        )


def context_problems(strategy: Section, head: Section) -> Iterator[str]:
    """Yield a strategy that trains what the head never reads."""
    option = chosen(Strategy, strategy)
    if option.trains and head.get("context") == "only":
        yield (
            f"strategy={option.name} trains a backbone that head.context=only never reads; use "
            f"strategy={_or(not_training())}"
        )


def head_problems(head: Section, strategy: Section, backbone: Section) -> Iterator[str]:
    """Yield what a head cannot train, or cannot train with."""
    option, training = chosen(Head, head), chosen(Strategy, strategy)
    if backbone.get("pooling") == "attention" and not option.pools:
        why = "pools nothing" if option.trains else "trains nothing"
        yield (
            f"backbone.pooling=attention trains a query, but head={option.name} {why}; use "
            "pooling=mean or last"
        )
    if not option.trains and training.trains:
        yield (
            f"head={option.name} trains nothing, but strategy={training.name}; use "
            f"strategy={_or(not_training())}, or head=towers"
        )
    if head.get("user") == "transformer" and head["width"] % head["user_heads"]:
        yield (
            f"head.width={head['width']} must be a multiple of head.user_heads={head['user_heads']}"
        )
    if head.get("fusion") == "gate" and head["context"] == "off":
        yield (
            "head.fusion=gate weighs text against context, but head.context=off; use "
            "head.context=on, or fusion=add"
        )
    if head.get("context_dropout") and head["context"] == "off":
        yield (
            f"head.context_dropout={head['context_dropout']} hides context in training, but "
            "head.context=off; use head.context=on, or context_dropout=0"
        )


def reading_problems(
    head: Section, loss: Section, backbone: Section, train: Section, evaluate: Section
) -> Iterator[str]:
    """Yield what heads that read user and item together are not trained by, and what they cannot
    do."""
    option, asked, shape = chosen(Head, head), chosen(Loss, loss), _shape(backbone)
    yield from _loss_problems(option, asked, head)
    if option.needs_decoder and (problem := _prompt_problem(head["prompt"])):
        yield problem
    if not option.reads_pairs:
        return
    if not chosen(BackboneSource, backbone).reads_text:
        yield (
            f"head={option.name} reads texts, but backbone=random_vectors has none to read; use "
            "head=towers"
        )
    elif option.needs_decoder and shape and shape.causal is False:
        yield (
            f"head={option.name} needs a decoder, got {shape.family}; use one, such as "
            "backbone=gpt2"
        )
    if train["head_epochs"]:
        yield (
            f"train.head_epochs={train['head_epochs']}: head={option.name} keeps no vectors of the "
            "untouched backbone that it could train on alone; use 0"
        )
    if evaluate["candidates"] == "impression":
        yield (
            f"evaluate.candidates=impression: head={option.name} re-ranks the best of the "
            "catalogue, not lists as shown; use evaluate.candidates=full, or head=towers"
        )


def _loss_problems(head: Head, loss: Loss, node: Section) -> Iterator[str]:
    """A loss by which this head cannot learn."""
    if loss.needs_log_probabilities and loss.name not in head.losses:
        yield (
            f"loss={loss.name} needs scores that are log-probabilities: head=causal_lm, or "
            "another loss"
        )
    elif head.needs_decoder:
        yield from _decoder_loss_problems(head, loss, node["context"])
    elif head.losses and loss.name not in head.losses:
        yield (
            f"head={head.name} is a classifier, but loss={loss.name}; use loss={_or(head.losses)} "
            "with few draws, such as loss.draws=4, and small batches"
        )


def _decoder_loss_problems(head: Head, loss: Loss, context: str) -> Iterator[str]:
    if context == "off" and not loss.needs_log_probabilities:
        yield (
            f"head={head.name} without context learns to say the chosen text, but "
            f"loss={loss.name}; use loss=nll, or head.context=on"
        )
    if context != "off" and not loss.classifies:
        yield (
            f"head={head.name}: with head.context={context} its scores are no log-probabilities, "
            f"but loss={loss.name}; use loss=binary_cross_entropy with few draws, such as "
            "loss.draws=4, or head.context=off"
        )


def not_training() -> list[str]:
    """Return the names of the strategies that leave the backbone as it is."""
    return [option.name for option in options.every(Strategy) if not option.trains]


def _or(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


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


def runtime_problems(backbone: Section, trainer: Section) -> Iterator[str]:
    """Yield a library that computes the frozen layers and is not installed, or not where training is."""
    runtime = str(backbone.get("runtime", "torch"))
    package = runtime.partition("_")[0]
    if find_spec(package) is None:
        yield (
            f'backbone.runtime={runtime}: the package is not installed; pip install "coldlm[{package}]", '
            "or backbone.runtime=torch"
        )
    elif package != "torch" and trainer["accelerator"] == "gpu":
        yield (
            f"backbone.runtime={runtime} computes on the CPU, but trainer.accelerator=gpu; use "
            "backbone.runtime=torch"
        )


def backbone_problems(backbone: Section) -> Iterator[str]:
    shape, keep = _whole_shape(backbone), backbone.get("keep_layers")
    if shape and shape.refusal:
        yield f"backbone: {shape.refusal}"
    if shape and shape.layers is not None and isinstance(keep, int | list):
        numbers = list(range(keep)) if isinstance(keep, int) else keep
        if not numbers or numbers != sorted(set(numbers)) or numbers[-1] >= shape.layers:
            yield (
                f"backbone.keep_layers={keep}: the backbone has {shape.layers} layers that can be "
                "told apart; choose how many to keep, or their numbers from 0, ascending"
            )
    if shape and shape.causal and backbone.get("pooling") == "cls":
        yield (
            "backbone.pooling=cls: the first token of a causal model has read nothing else; use "
            "last or mean"
        )
    if name_of(backbone) in ("tiny", "scratch") and backbone["width"] % backbone["heads"]:
        yield (
            f"backbone.width={backbone['width']} must be a multiple of "
            f"backbone.heads={backbone['heads']}"
        )


OF_VECTORS = ("contrastive", "item_to_item")
"""Objectives of a text's vector, whatever the backbone."""


def pretrain_problems(pretrain: Section, backbone: Section, stages: list[str]) -> Iterator[str]:
    objective, name, shape = pretrain["objective"], name_of(backbone), _shape(backbone)
    if "pretrain" in stages[1:]:
        yield f"stages: got {', '.join(stages)}; pretrain comes first"
    if objective == "off":
        if name == "scratch":
            yield (
                "backbone=scratch has no weights before stage pretrain; set pretrain=masked_lm "
                "or pretrain=causal_lm"
            )
        return
    if name not in ("load", "scratch"):
        yield (
            f"pretrain={objective} has nothing to learn with in backbone={name}; use a checkpoint, "
            "backbone=scratch_bert or backbone=scratch_gpt2"
        )
    elif (
        shape
        and shape.causal is not None
        and objective not in OF_VECTORS
        and shape.causal != (objective == "causal_lm")
    ):
        fits = "causal_lm" if shape.causal else "masked_lm"
        yield (
            f"pretrain={objective}: the backbone learns by pretrain={fits}, contrastive or item_to_item"
        )
    owners = {"mask_share": "masked_lm", "temperature": "contrastive", "items": "item_to_item"}
    for key, owner in owners.items():
        if (pretrain[key] is None) == (objective == owner):
            yield (
                f"pretrain.{key}: got {pretrain[key]}; set it with pretrain={owner}, and to null "
                "with any other"
            )
    if objective in OF_VECTORS and backbone.get("pooling") == "attention":
        yield (
            "backbone.pooling=attention: its query is no part of the backbone's folder, so "
            f"pretrain={objective} would lose it; use mean, cls or last"
        )


def name_of(node: Section) -> str:
    """Return ``lora`` for a node whose target is ``coldlm.models.strategy.lora``."""
    return str(node["_target_"]).rpartition(".")[2]


def _shape(backbone: Section) -> Shape | None:
    """What can be known, without loading anything, of the backbone with the layers that are
    kept."""
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
