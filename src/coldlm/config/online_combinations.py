"""Parts of a schedule that cannot stand together, or beside a strategy or head."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from coldlm.config.kinds import DataPolicy, Gate, Head, Regulariser, Scope, Strategy, Trigger
from coldlm.config.model_combinations import Section
from coldlm.config.options import chosen


def online_problems(
    online: Section, strategy: Section, head: Section, control: Section
) -> Iterator[str]:
    """Yield what cannot be of a schedule of these parts."""
    trigger = chosen(Trigger, online["trigger"])
    if trigger.package and find_spec(trigger.package) is None:
        yield (
            f"online/trigger={trigger.name}: the package {trigger.package} is not installed; pip "
            'install "coldlm[drift]"'
        )
    if not trigger.updates:
        return
    scope, regulariser = chosen(Scope, online["scope"]), chosen(Regulariser, online["regulariser"])
    yield from _scope_problems(scope, strategy, head, control)
    if regulariser.needs_adapter:
        yield from _adapter_problems(regulariser, scope, strategy, head, control)
    if regulariser.needs_replay and "share" not in online["data"]:
        yield (
            f"online/regulariser={regulariser.name} holds old events to what they were, which "
            f"online/data={chosen(DataPolicy, online['data']).name} does not bring back; use "
            "online/data=replay"
        )
    if scope.anew and regulariser.name != "none":
        yield (
            f"online/regulariser={regulariser.name} holds an update to what was learned before, and "
            f"online/scope={scope.name} moves an adapter that was never trained; use "
            "online/regulariser=none"
        )
    if scope.resets == "base" and regulariser.name != "none":
        yield (
            f"online/regulariser={regulariser.name} holds an update to the weights before it, which "
            f"online/scope={scope.name} does not start from; use online/regulariser=none"
        )
    if (scope.resets or scope.anew) and online["optimiser"] == "keep":
        yield (
            f"online.optimiser=keep goes on with the update before, online/scope={scope.name} "
            "begins anew; use online.optimiser=reset"
        )
    if chosen(Gate, online["gate"]).needs_probe and not online["probe"]:
        yield (
            "online/gate=probe asks the probe, which online.probe=0 leaves empty; use "
            "online.probe=0.05, or online/gate=finite"
        )
    policy, its_head = chosen(DataPolicy, online["data"]), chosen(Head, head)
    if online["data"].get("keep") == "herding" and (
        its_head.reads_pairs or head.get("context") == "only"
    ):
        yield (
            f"online.data.keep=herding looks at users' vectors, which head={its_head.name} does "
            "not make here; use another of online.data.keep"
        )
    if policy.cheats and trigger.name != "every_window":
        yield (
            f"online/data={policy.name} learns from the window to come, so it goes with "
            f"online/trigger=every_window alone, got {trigger.name}"
        )


def _scope_problems(
    scope: Scope, strategy: Section, head: Section, control: Section
) -> Iterator[str]:
    """A scope in which nothing trains; a control that took it away is the run's own otherwise."""
    its_head, its_strategy = chosen(Head, head), chosen(Strategy, strategy)
    if scope.needs.startswith("head.") and not its_head.trains:
        yield (
            f"online/scope={scope.name}: head={its_head.name} has nothing to learn; use "
            "online=history"
        )
    if scope.needs == "head.fusion." and head.get("context") not in ("on", "only"):
        yield f"online/scope={scope.name} needs head.context=on, got {head.get('context')}"
    if scope.needs == "head.deltas." and not (head.get("delta") and head.get("context") != "only"):
        yield (
            f"online/scope={scope.name} moves vectors of items, which this head does not have; use "
            "head.delta=0.5, with a head.context that is not only"
        )
    if "strategy" in control["replaces"]:
        return
    waiting = strategy.get("stream_adapters", 0)
    if scope.adapters and not waiting:
        yield (
            f"online/scope={scope.name} moves adapters that wait for the stream, of which there are "
            "none; use strategy=lora strategy.stream_adapters=1, or as many as there are updates"
        )
    elif waiting and not scope.adapters:
        yield (
            f"strategy.stream_adapters={waiting}: online/scope={scope.name} never trains them; use "
            "online/scope=short_adapter or next_adapter, or strategy.stream_adapters=0"
        )
    elif scope.needs == "encoder." and not its_strategy.trains:
        yield (
            f"online/scope={scope.name}: strategy={its_strategy.name} trains nothing of the "
            "language model; use online/scope=head"
        )


def _adapter_problems(
    regulariser: Regulariser, scope: Scope, strategy: Section, head: Section, control: Section
) -> Iterator[str]:
    its_strategy = chosen(Strategy, strategy)
    if scope.needs.startswith("head."):
        yield (
            f"online/regulariser={regulariser.name} holds what the strategy trains, which "
            f"online/scope={scope.name} leaves alone; use online/regulariser=l2_to_previous"
        )
    elif not its_strategy.trains and control["name"] == "none":
        yield (
            f"online/regulariser={regulariser.name} holds what the strategy trains, but "
            f"strategy={its_strategy.name} trains nothing; use online/regulariser=l2_to_previous"
        )
