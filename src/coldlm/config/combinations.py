"""Values that are each allowed and cannot stand together, and what the logger needs from
outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import pairwise

from coldlm.config import model_combinations as model
from coldlm.config import options
from coldlm.config.kinds import (
    BackboneSource,
    Baseline,
    Logger,
    Reader,
    Rival,
    SplitRule,
    Strategy,
    Trigger,
)
from coldlm.config.model_combinations import Section
from coldlm.config.online_combinations import online_problems
from coldlm.config.options import FOLLOWS, chosen, names, rival_asked
from coldlm.core.columns import HEADLINE_K, LIST_K, MANDATORY_BASELINES, MODEL
from coldlm.core.dates import seconds
from coldlm.core.keys import has_wandb_key
from coldlm.core.published import PublishedValue


def combination_problems(sound: Section) -> Iterator[str]:
    """Yield one message per impossible combination among the parts of a configuration that are in
    order one by one."""
    checks: dict[Callable[..., Iterator[str]], tuple[str, ...]] = {
        _stage_problems: ("stages",),
        _split_problems: ("split",),
        _origin_problems: ("split",),
        _stream_problems: ("split", "online"),
        _validation_problems: ("train",),
        online_problems: ("online", "strategy", "head", "control"),
        _trainer_problems: ("trainer", "train"),
        _layer_problems: ("trainer", "strategy", "control"),
        model.strategy_problems: ("backbone", "strategy"),
        model.context_problems: ("strategy", "head"),
        model.head_problems: ("head", "strategy", "backbone"),
        model.reading_problems: ("head", "loss", "backbone", "train", "evaluate"),
        model.backbone_problems: ("backbone",),
        model.runtime_problems: ("backbone", "trainer"),
        model.pretrain_problems: ("pretrain", "backbone", "stages"),
        _pretrain_machine_problems: ("pretrain", "trainer"),
        _candidate_problems: ("evaluate", "dataset", "split"),
        _loss_problems: ("loss", "evaluate"),
        _rival_problems: ("evaluate", "train"),
        _published_problems: ("published", "evaluate"),
        _k_shot_problems: ("stages", "evaluate", "split"),
        _control_problems: ("control", "backbone", "head"),
    }
    for check, parts in checks.items():
        if sound.keys() >= set(parts):
            yield from check(*(sound[part] for part in parts))


def logger_problems(logger: Section) -> Iterator[str]:
    """Yield, of the node of one logger, that its package is not installed, or that it must be online
    without a key."""
    option = chosen(Logger, logger)
    if option.package and find_spec(option.package) is None:
        yield (
            f"logger={option.name}: the package is not installed; pip install "
            f'"coldlm[{option.package}]", or logger=files'
        )
    if option.package == "wandb" and logger.get("mode") == "online" and not has_wandb_key():
        yield (
            "logger.wandb.mode=online: no key was found; set WANDB_API_KEY or run wandb login, or "
            "logger.wandb.mode=offline"
        )


def device_problems(trainer: object) -> list[str]:
    """Return a GPU that is not there, or too few of them; looks for one only if one is asked for,
    which is slow."""
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
    if "t_test" in split:
        yield from _alternative_problems(
            split, "the cuts", ("train", "validation"), ("t_val", "t_test")
        )
        yield from _date_problems(split)
    if "windows" in split:
        yield from _alternative_problems(
            split, "the windows", ("windows",), ("window_days",), ("edges",)
        )


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
    dates |= {f"split.edges[{i}]": date for i, date in enumerate(split.get("edges") or ())}
    known: list[tuple[str, int]] = []
    for path, date in dates.items():
        try:
            if date is not None:
                known.append((f"{path}={date}", seconds(date)))
        except ValueError:
            yield (
                f"{path}: got {date!r}, allowed: an ISO date or time, such as 2016-01-31 or "
                "2016-01-31T12:00:00"
            )
    for (earlier, left), (later, right) in pairwise(known):
        if left >= right:
            yield f"{later} must be later than {earlier}"


def _origin_problems(split: Section) -> Iterator[str]:
    if (origin := split.get("origin", 1)) > (origins := split.get("origins", 1)):
        yield f"split.origin={origin}: there are split.origins={origins}; allowed: 1 to {origins}"


def _stream_problems(split: Section, online: Section) -> Iterator[str]:
    option = chosen(SplitRule, split)
    if not option.has_stream and chosen(Trigger, online["trigger"]).updates:
        does = "lets the future into training" if option.leaks else "asks everybody at once"
        yield (
            f"split={option.name} {does}, so that nothing is left to be "
            f"learned online, but online/trigger={chosen(Trigger, online['trigger']).name}; use "
            "online=off, or split=time"
        )


def _validation_problems(train: Section) -> Iterator[str]:
    if not train["validate"] and not train["refit"]:
        yield (
            "train.validate=false trains once, on train + validation, but train.refit=false leaves "
            "that out; set train.refit=true"
        )


def _trainer_problems(trainer: Section, train: Section) -> Iterator[str]:
    if trainer["precision"] == "16-mixed" and trainer["accelerator"] == "cpu":
        yield "trainer.precision=16-mixed needs trainer.accelerator=gpu; on the CPU use 32-true"
    if train["batch_size"] % trainer["devices"]:
        yield (
            f"train.batch_size={train['batch_size']} cannot be shared evenly by "
            f"trainer.devices={trainer['devices']}; choose a multiple"
        )


def _layer_problems(trainer: Section, strategy: Section, control: Section) -> Iterator[str]:
    """Keys that act on layers that train, where none does; a control that took them away is the
    run's own otherwise."""
    for key, off in (
        ("gradient_checkpointing", "false"),
        ("graph_tokens", "null"),
        ("compile", "false"),
    ):
        option = chosen(Strategy, strategy)
        if trainer[key] and not option.trains and control["name"] == "none":
            yield (
                f"trainer.{key}={str(trainer[key]).lower()} acts on layers that train, but "
                f"strategy={option.name} trains none; set it to {off}"
            )


def _pretrain_machine_problems(pretrain: Section, trainer: Section) -> Iterator[str]:
    if pretrain["objective"] != "off" and trainer["devices"] > 1:
        yield (
            f"pretrain={pretrain['objective']} runs in one process, but "
            f"trainer.devices={trainer['devices']}; use 1"
        )


def _candidate_problems(evaluate: Section, dataset: Section, split: Section) -> Iterator[str]:
    rule, reader = chosen(SplitRule, split), chosen(Reader, dataset)
    if evaluate["candidates"] == "impression" and not rule.has_stream:
        yield f"evaluate.candidates=impression goes with split=time alone, got split={rule.name}"
    if evaluate["candidates"] == "impression" and split.get("simulated_cold"):
        yield (
            "evaluate.candidates=impression: the lists show what "
            f"split.simulated_cold={split['simulated_cold']} would "
            "hide; use evaluate.candidates=full, or split.simulated_cold=0"
        )
    if evaluate["candidates"] == "impression" and not reader.has_lists:
        others = [
            f"dataset=news/{other.name}" for other in options.every(Reader) if other.has_lists
        ]
        yield (
            f"evaluate.candidates=impression: {reader.name} holds no lists as shown; use "
            f"evaluate.candidates=full, or {' or '.join(others)}"
        )


def _rival_problems(evaluate: Section, train: Section) -> Iterator[str]:
    allowed = names(Rival)
    for rival in evaluate["rivals"]:
        try:
            asked = rival_asked(rival)
        except LookupError:
            yield f"evaluate.rivals: got {rival!r}, allowed: {', '.join(allowed)}"
        except ValueError:
            yield (
                f"evaluate.rivals: got {rival!r}; behind the colon stands a number, the value of its setting, "
                f"and behind @ {FOLLOWS}: learned anew before each window"
            )
        else:
            if asked.follows and not train["refit"]:
                yield (
                    f"evaluate.rivals: {rival!r} learns anew before each window, and train.refit=false "
                    f"learns from training alone; use train.refit=true, or {rival.partition('@')[0]!r}"
                )


def _published_problems(published: Section, evaluate: Section) -> Iterator[str]:
    known = (MODEL, *MANDATORY_BASELINES, *evaluate["rivals"], *names(Baseline))
    for line in published["values"]:
        try:
            found = PublishedValue.of(line)
        except ValueError as error:
            yield f"published.values: {error}"
            continue
        if found.scorer not in known:
            yield (
                f"published.values: {line!r} is of {found.scorer}, which is not judged; name it in "
                f"evaluate.rivals, or one of {', '.join(known)}"
            )
        if found.k not in (0, HEADLINE_K, LIST_K, evaluate["k"]):
            yield f"published.values: {line!r} is cut at {found.k}; set evaluate.k={found.k}"


def _loss_problems(loss: Section, evaluate: Section) -> Iterator[str]:
    if loss.get("negatives") == "given" and evaluate["candidates"] != "impression":
        yield (
            "loss.negatives=given learns from lists as shown, but "
            f"evaluate.candidates={evaluate['candidates']}; use "
            "evaluate.candidates=impression, or loss.negatives=uniform"
        )


def _k_shot_problems(stages: list[str], evaluate: Section, split: Section) -> Iterator[str]:
    shots = evaluate["k_shot"]
    if shots != sorted(set(shots) | {0}):
        yield (
            f"evaluate.k_shot: got {shots}, allowed: ascending numbers that begin with 0, such "
            "as [0, 1, 2, 5, 10]"
        )
    rule = chosen(SplitRule, split)
    if "k_shot" in stages and not rule.has_stream:
        yield (
            f"stages: k_shot asks who is new after T_test, which split={rule.name} has not; use "
            "split=time"
        )
    if "k_shot" in stages and evaluate["candidates"] != "full":
        yield (
            "stages: k_shot ranks the catalogue, but "
            f"evaluate.candidates={evaluate['candidates']}; use "
            "evaluate.candidates=full, or leave k_shot out"
        )


def _control_problems(control: Section, backbone: Section, head: Section) -> Iterator[str]:
    """A control is a label on every row of results: it must be true."""
    name, context = control["name"], head.get("context")
    if name == "context_only" and context != "only":
        yield f"control=context_only, but head.context={context}; leave it to the control"
    source = chosen(BackboneSource, backbone)
    if name == "random_vectors" and source.reads_text:
        yield f"control=random_vectors, but backbone={source.name}; leave it to the control"
