"""Values that are each allowed and cannot stand together, and what the logger needs from outside."""

from __future__ import annotations

import netrc
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

from coldlm.models import checkpoints
from coldlm.models.checkpoints import Shape
from coldlm.schema import WITH_LISTS
from coldlm.tables import seconds

Section = Mapping[str, Any]


def combination_problems(sound: Section) -> Iterator[str]:
    """One message per impossible combination among the parts of a configuration that are in order one by one."""
    checks: dict[Callable[..., Iterator[str]], tuple[str, ...]] = {
        _stage_problems: ("stages",),
        _split_problems: ("split",),
        _leaky_problems: ("split", "online"),
        _trainer_problems: ("trainer", "train"),
        _layer_problems: ("trainer", "strategy", "control"),
        _strategy_problems: ("backbone", "strategy"),
        _context_problems: ("strategy", "head"),
        _head_problems: ("head", "strategy"),
        _reading_problems: ("head", "loss", "backbone", "train", "evaluate"),
        _backbone_problems: ("backbone",),
        _pretrain_problems: ("pretrain", "backbone", "stages"),
        _pretrain_machine_problems: ("pretrain", "trainer"),
        _candidate_problems: ("evaluate", "dataset", "split"),
        _loss_problems: ("loss", "evaluate"),
        _k_shot_problems: ("stages", "evaluate", "split"),
        _control_problems: ("control", "backbone", "head", "dataset"),
    }
    for check, parts in checks.items():
        if sound.keys() >= set(parts):
            yield from check(*(sound[part] for part in parts))


def logger_problems(logger: Section) -> Iterator[str]:
    """A logger whose package is not installed, or that must be online without a key."""
    name = _name(logger)
    if name in ("wandb", "tensorboard") and find_spec(name) is None:
        yield f'logger={name}: the package is not installed; pip install "coldlm[{name}]", or logger=files'
    if name == "wandb" and logger.get("mode") == "online" and not _has_wandb_key():
        yield "logger.mode=online: no key was found; set WANDB_API_KEY or run wandb login, or logger.mode=offline"


def device_problems(trainer: object) -> list[str]:
    """A GPU that is not there, or too few of them; looks for one only if one is asked for, which is slow."""
    if not isinstance(trainer, dict) or trainer.get("accelerator") != "gpu":
        return []
    import torch

    there, asked = torch.cuda.device_count(), trainer.get("devices")
    if not there:
        return ["trainer.accelerator=gpu: no CUDA device is there; use trainer=cpu"]
    if isinstance(asked, int) and asked > there:
        return [f"trainer.devices={asked}: {there} CUDA devices are there"]
    return []


def _stage_problems(stages: list[str]) -> Iterator[str]:
    if not stages:
        yield "stages: got none, allowed: at least one of train, evaluate, online, k_shot"
    if len(set(stages)) < len(stages):
        yield f"stages: got {', '.join(stages)}; each stage runs once"


def _split_problems(split: Section) -> Iterator[str]:
    train, validation = split.get("train"), split.get("validation")
    if train and validation and train + validation >= 1:
        yield (
            f"split.train={train} and split.validation={validation} leave nothing for the stream: "
            "their sum must be below 1"
        )
    if _name(split) == "time":
        yield from _alternative_problems(split, "the cuts", ("train", "validation"), ("t_val", "t_test"))
        yield from _alternative_problems(split, "the windows", ("windows",), ("window_days",), ("edges",))
        yield from _date_problems(split)


def _alternative_problems(split: Section, what: str, *ways: tuple[str, ...]) -> Iterator[str]:
    """Keys of which all of one way must be set and those of the other ways null."""
    given = {key: split[key] for way in ways for key in way if split[key] is not None}
    if tuple(given) not in ways:
        got = ", ".join(f"split.{key}={value}" for key, value in given.items()) or "nothing"
        allowed = " or ".join(" and ".join(f"split.{key}" for key in way) for way in ways)
        yield f"split: got {got} for {what}, allowed: {allowed}; set the others to null"


def _date_problems(split: Section) -> Iterator[str]:
    """Dates that are none, or not one after the other."""
    dates = {f"split.{key}": split[key] for key in ("t_val", "t_test")}
    dates |= {f"split.edges[{i}]": date for i, date in enumerate(split["edges"] or ())}
    known: list[tuple[str, int]] = []
    for path, date in dates.items():
        try:
            if date is not None:
                known.append((f"{path}={date}", seconds(date)))
        except ValueError:
            yield f"{path}: got {date!r}, allowed: an ISO date or time, such as 2016-01-31 or 2016-01-31T12:00:00"
    for (earlier, left), (later, right) in pairwise(known):
        if left >= right:
            yield f"{later} must be later than {earlier}"


def _leaky_problems(split: Section, online: Section) -> Iterator[str]:
    if _name(split) != "time" and online["schedule"] != "off":
        yield (
            f"split={_name(split)} lets the future into training, so that nothing is left to be learned online, but "
            f"online.schedule={online['schedule']}; use online=off, or split=time"
        )


def _trainer_problems(trainer: Section, train: Section) -> Iterator[str]:
    if trainer["precision"] == "16-mixed" and trainer["accelerator"] == "cpu":
        yield "trainer.precision=16-mixed needs trainer.accelerator=gpu; on the CPU use 32-true"
    if train["batch_size"] % trainer["devices"]:
        yield (
            f"train.batch_size={train['batch_size']} cannot be shared evenly by trainer.devices={trainer['devices']}; "
            "choose a multiple"
        )


def _layer_problems(trainer: Section, strategy: Section, control: Section) -> Iterator[str]:
    """Keys that act on layers that train, where none does; a control that took them away is the run's own otherwise."""
    for key in ("gradient_checkpointing", "compile"):
        if trainer[key] and _name(strategy) == "frozen" and control["name"] == "none":
            yield f"trainer.{key}=true acts on layers that train, but strategy=frozen trains none; set it to false"


def _strategy_problems(backbone: Section, strategy: Section) -> Iterator[str]:
    name, shape, layers = _name(strategy), _shape(backbone), strategy.get("layers")
    if name != "frozen" and _name(backbone) == "random_vectors":
        yield f"strategy={name} has nothing to train in backbone=random_vectors; use strategy=frozen"
    if name == "adalora" and strategy["tinit"] + strategy["tfinal"] >= 1:
        yield (
            f"strategy.tinit={strategy['tinit']} and strategy.tfinal={strategy['tfinal']} leave no steps between them "
            "in which ranks could be given up: their sum must be below 1"
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


def _context_problems(strategy: Section, head: Section) -> Iterator[str]:
    if _name(strategy) != "frozen" and head.get("context") == "only":
        yield f"strategy={_name(strategy)} trains a backbone that head.context=only never reads; use strategy=frozen"


def _head_problems(head: Section, strategy: Section) -> Iterator[str]:
    """What a head cannot train, or cannot train with."""
    if _name(head) == "ZeroShot" and _name(strategy) != "frozen":
        yield f"head=zero_shot trains nothing, but strategy={_name(strategy)}; use strategy=frozen, or head=towers"
    if head.get("user") == "transformer" and head["width"] % head["user_heads"]:
        yield f"head.width={head['width']} must be a multiple of head.user_heads={head['user_heads']}"
    if head.get("fusion") == "gate" and head["context"] == "off":
        yield "head.fusion=gate weighs text against context, but head.context=off; use head.context=on, or fusion=add"


def _reading_problems(
    head: Section, loss: Section, backbone: Section, train: Section, evaluate: Section
) -> Iterator[str]:
    """Heads that read user and item together: what they are trained by, and what they cannot do."""
    name, shape = {"Pair": "pair", "CausalLM": "causal_lm"}.get(_name(head)), _shape(backbone)
    if _name(loss) == "NegativeLogLikelihood" and name != "causal_lm":
        yield "loss=nll needs scores that are log-probabilities: head=causal_lm, or another loss"
    if name is None:
        return
    if name == "pair" and _name(loss) != "BinaryCrossEntropy":
        yield (
            f"head=pair is a classifier, but loss={_name(loss)}; use loss=binary_cross_entropy with few draws, such as "
            "loss.draws=4, and small batches"
        )
    if name == "causal_lm" and _name(loss) != "NegativeLogLikelihood":
        yield f"head=causal_lm learns to say the chosen text, but loss={_name(loss)}; use loss=nll"
    if name == "causal_lm" and (problem := _prompt_problem(head["prompt"])):
        yield problem
    if _name(backbone) == "random_vectors":
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


def _backbone_problems(backbone: Section) -> Iterator[str]:
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
    if _name(backbone) in ("tiny", "scratch") and backbone["width"] % backbone["heads"]:
        yield f"backbone.width={backbone['width']} must be a multiple of backbone.heads={backbone['heads']}"


def _pretrain_problems(pretrain: Section, backbone: Section, stages: list[str]) -> Iterator[str]:
    objective, name, shape = pretrain["objective"], _name(backbone), _shape(backbone)
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


def _pretrain_machine_problems(pretrain: Section, trainer: Section) -> Iterator[str]:
    if pretrain["objective"] != "off" and trainer["devices"] > 1:
        yield f"pretrain={pretrain['objective']} runs in one process, but trainer.devices={trainer['devices']}; use 1"


def _candidate_problems(evaluate: Section, dataset: Section, split: Section) -> Iterator[str]:
    if evaluate["candidates"] == "impression" and _name(split) != "time":
        yield f"evaluate.candidates=impression goes with split=time alone, got split={_name(split)}"
    if evaluate["candidates"] == "impression" and split.get("simulated_cold"):
        yield (
            f"evaluate.candidates=impression: the lists show what split.simulated_cold={split['simulated_cold']} would "
            "hide; use evaluate.candidates=full, or split.simulated_cold=0"
        )
    if evaluate["candidates"] == "impression" and dataset["_target_"] not in WITH_LISTS:
        reader, *others = (target.split(".")[-2] for target in (str(dataset["_target_"]), *WITH_LISTS))
        yield (
            f"evaluate.candidates=impression: {reader} holds no lists as shown; use evaluate.candidates=full, "
            f"or {' or '.join(f'dataset=news/{other}' for other in others)}"
        )


def _loss_problems(loss: Section, evaluate: Section) -> Iterator[str]:
    if loss.get("negatives") == "given" and evaluate["candidates"] != "impression":
        yield (
            f"loss.negatives=given learns from lists as shown, but evaluate.candidates={evaluate['candidates']}; use "
            "evaluate.candidates=impression, or loss.negatives=uniform"
        )


def _k_shot_problems(stages: list[str], evaluate: Section, split: Section) -> Iterator[str]:
    shots = evaluate["k_shot"]
    if shots != sorted(set(shots) | {0}):
        yield f"evaluate.k_shot: got {shots}, allowed: ascending numbers that begin with 0, such as [0, 1, 2, 5, 10]"
    if "k_shot" in stages and _name(split) != "time":
        yield f"stages: k_shot asks who is new after T_test, which split={_name(split)} has not; use split=time"
    if "k_shot" in stages and evaluate["candidates"] != "full":
        yield (
            f"stages: k_shot ranks the catalogue, but evaluate.candidates={evaluate['candidates']}; use "
            "evaluate.candidates=full, or leave k_shot out"
        )


def _control_problems(control: Section, backbone: Section, head: Section, dataset: Section) -> Iterator[str]:
    """A control is a label on every row of results: it must be true."""
    name, context = control["name"], head.get("context")
    if name == "context_only" and context != "only":
        yield f"control=context_only, but head.context={context}; leave it to the control"
    if name == "random_vectors" and _name(backbone) != "random_vectors":
        yield f"control=random_vectors, but backbone={_name(backbone)}; leave it to the control"
    if name == "permuted_text" and not dataset["permute_text"]:
        yield "control=permuted_text, but dataset.permute_text=false; leave it to the control"


def _name(node: Section) -> str:
    """``lora`` for a node whose target is ``coldlm.models.strategy.lora``."""
    return str(node["_target_"]).rpartition(".")[2]


def _shape(backbone: Section) -> Shape | None:
    """What can be known, without loading anything, of the backbone with the layers that are kept."""
    shape, keep = _whole_shape(backbone), backbone.get("keep_layers")
    if shape is None or not shape.layers or not keep:
        return shape
    return replace(shape, layers=keep if isinstance(keep, int) else len(keep))


def _whole_shape(backbone: Section) -> Shape | None:
    if _name(backbone) in ("tiny", "scratch"):
        return Shape(backbone["family"], backbone["layers"], backbone["family"] == "gpt2")
    if _name(backbone) != "load":
        return None
    places = {key: backbone.get(key) for key in ("hub", "revision", "package", "path")}
    folder = checkpoints.locate(**places)
    return checkpoints.read_shape(folder) if folder else None


def _has_wandb_key() -> bool:
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return bool(os.environ.get("WANDB_API_KEY") or netrc.netrc().authenticators(host))
    except (OSError, netrc.NetrcParseError):
        return False
