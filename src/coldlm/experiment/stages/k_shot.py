"""The k-shot stage: the same queries of the second half at every number of reveals (see
``split/k_shot.py``).

At each k the weights trained before T_test are updated once, on the known events of the first half,
and then score:

```
weights of train + validation ──┬── scored with the known events as memory          model, not updated
                                └── one update on the known first half, scored       model, updated
counts, texts, chance           ─── scored with the known events as memory          baselines and canaries
```

Training sees what is known and no more: histories and counts, and which items a user had already
(negatives that he has taken in a hidden event are not masked, since nobody would know). When items
enter is the catalogue's business.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from coldlm.config.schema import RunConfig
from coldlm.core.columns import CANARIES, CHANCE, HEADLINE_K, MODEL
from coldlm.core.dates import iso
from coldlm.core.progress import listed
from coldlm.evaluate.canaries import canary_values
from coldlm.evaluate.judge import ScoreFunction
from coldlm.evaluate.metrics import Formulas
from coldlm.evaluate.positives import tabulate
from coldlm.evaluate.summary import summarise
from coldlm.experiment.baselines import Ready, make_baselines, prepare_baselines
from coldlm.experiment.evaluation import Evaluation
from coldlm.experiment.model import take_snapshot
from coldlm.experiment.state import State
from coldlm.experiment.training import Training
from coldlm.experiment.world import World
from coldlm.learn.fit import Machine
from coldlm.models.rankers.ranker import Model, Scorer
from coldlm.report.canaries import from_chance
from coldlm.runs.track import Track
from coldlm.split.k_shot import SIDES, Plan, make_plan

log = logging.getLogger("coldlm")


def run(state: State) -> None:
    """Reveal the first k events of each newcomer, update once, and ask the same queries for every
    k."""
    begin = time.perf_counter()
    shop, inputs = state.workshop, state.inputs
    is_control = shop.config.control.name != "none"  # which has no baselines, as in stage evaluate
    reveals = Reveals(
        shop.config,
        inputs.world,
        shop.ranker,
        inputs.machine,
        shop.evaluation,
        trained=state.trained(),
        epochs=shop.config.online.epochs or state.manifest.best_epoch,
        cuts=inputs.record.ks,
        formulas=inputs.record.formulas,
        ready=None
        if is_control
        else prepare_baselines(
            shop.config, inputs.world, shop.ranker.head.history, shop.evaluation.measure
        ),
    )
    tables = reveals.run()
    state.manifest.seconds["k_shot"] = time.perf_counter() - begin
    inputs.record.write_k_shot(*tables)


@dataclass(frozen=True)
class Reveals:
    """What stays the same at every k. ``ranker``: holds the weights trained before T_test, and
    again at the end.
    ``trained``: their snapshot. ``epochs``: of one update. ``cuts``: of the metrics.
    ``formulas``: of metrics besides coldlm's own. ``ready``: None without baselines.
    """

    config: RunConfig
    world: World
    ranker: Model
    machine: Machine
    evaluation: Evaluation
    trained: Scorer
    epochs: int
    cuts: list[int]
    formulas: Formulas
    ready: Ready | None

    def run(self) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
        """Return the values (``columns.K_SHOT_COLUMNS`` less the run's), one row per update, and what
        the manifest says."""
        values, updates, about = [], [], dict[str, Any]()
        before = {name: tensor.clone() for name, tensor in self.ranker.trainable().items()}
        for plan in self._plans():
            about["midpoint"] = iso(plan.midpoint)
            about[plan.side] = said = _plan_facts(plan)
            log.info("k-shot by %s: %s", plan.side, listed(said))
            said["canaries"] = {}
            for shots in self.config.evaluate.k_shot if len(plan.queries) else ():
                self.ranker.restore(before)
                known = self.world.knowing(plan.known(self.world.data.log, shots))
                updates.append(
                    {"side": plan.side, "shots": shots, **self._update(plan, shots, known)}
                )
                events = pl.concat(self._score(plan, shots, known))
                said["question"] = _digest(events.filter(scorer=MODEL, updated=False))
                values.append(self._summarise(events, plan, shots, said["question"]))
                said["canaries"][str(shots)] = found = from_chance(
                    canary_values(events, HEADLINE_K)
                )
                _tell_canaries(plan, shots, found)
        self.ranker.restore(before)
        return pl.concat(values) if values else pl.DataFrame(), pl.DataFrame(updates), about

    def _plans(self) -> Iterator[Plan]:
        world, most = self.world, max(self.config.evaluate.k_shot)
        for side in SIDES:
            cold = world.cold_items if side == "item" else world.cold_users
            yield make_plan(side, world.data.log, world.split, world.stream, cold, most)

    def _update(self, plan: Plan, shots: int, known: World) -> dict[str, Any]:
        """Train ``ranker`` once on what is known of the first half."""
        training = Training(self.config, known, self.ranker, self.machine, Track())
        rows = np.flatnonzero(known.data.log.time >= plan.t_test)
        rows = known.visible(rows, plan.midpoint)
        begin = time.perf_counter()
        fitted = training.fit(
            training.trainable(rows),
            f"{plan.side}, {shots} shots",
            epochs=self.epochs,
            max_steps=self.config.online.max_steps,
            lr_factor=self.config.online.lr_factor,
        )
        return {
            "known": len(rows),
            "examples": fitted.examples,
            "seconds": time.perf_counter() - begin,
        }

    def _score(self, plan: Plan, shots: int, known: World) -> Iterator[pl.DataFrame]:
        """The asked positives as ranked by every scorer that remembers what is known: ``scorer``,
        ``updated``, and the columns of ``evaluate.positives.tabulate``."""
        world, n = self.world, len(plan.queries.event)
        scorers: list[tuple[str, bool, ScoreFunction]] = [
            (MODEL, True, take_snapshot(self.ranker, known)),
            (MODEL, False, self.trained.remembering(known.as_of)),
        ]
        if self.ready is not None:
            baselines = make_baselines(self.ready, known, self.ranker.head.history)
            scorers += [(name, False, scorer) for name, scorer in baselines.items()]
        for name, updated, scorer in scorers:
            title = f"{name}{', updated' if updated else ''}, {plan.side}, {shots} shots"
            frame = tabulate(
                self.evaluation.judge(scorer, plan.queries, title, known.as_of),
                plan.queries,
                world.data,
                world.catalogue,
                known.as_of,
                world.cold_users,
                world.cold_items,
                version=np.full(n, int(updated)),
                live_from=np.full(n, plan.midpoint),
            )
            yield frame.filter(pl.Series(plan.asked)).with_columns(
                scorer=pl.lit(name), updated=pl.lit(updated)
            )

    def _summarise(
        self, events: pl.DataFrame, plan: Plan, shots: int, question: str
    ) -> pl.DataFrame:
        parts = []
        for (name, updated), rows in events.group_by("scorer", "updated", maintain_order=True):
            n = rows[plan.side].n_unique()
            values = pl.concat(
                summarise(rows, k, self.formulas, by_window=False, by_bucket=False)
                for k in self.cuts
            )
            parts.append(
                values.filter(cohort="all")
                .unique(maintain_order=True)
                .with_columns(
                    scorer=pl.lit(name), updated=pl.lit(updated), n_entities=pl.lit(n, pl.Int64)
                )
            )
        return pl.concat(parts).with_columns(
            side=pl.lit(plan.side), shots=pl.lit(shots, pl.Int64), question=pl.lit(question)
        )


def _plan_facts(plan: Plan) -> dict[str, Any]:
    n_eligible = int(plan.eligible.sum())
    return {
        "cold": plan.n_cold,
        "eligible": n_eligible,
        "counted out": plan.n_cold - n_eligible,
        "queries": len(plan.queries),
        "positives": int(plan.asked.sum()),
    }


def _tell_canaries(plan: Plan, shots: int, found: Mapping[str, Mapping[str, float]]) -> None:
    for name in (name for name in CANARIES if CHANCE in found):
        c = found[name]
        verdict = "ABOVE CHANCE" if c["low"] > 0 else "not above chance"
        log.info(
            "k-shot by %s, %d shots: %s %.4f, from chance [%+.4f, %+.4f]: %s",
            plan.side, shots, name, c["value"], c["low"], c["high"], verdict,
        )  # fmt: skip


def _digest(events: pl.DataFrame) -> str:
    """Of what was asked: equal at every k."""
    columns = events.select("event_id", "query", "user", "item", "time", "candidates")
    return hashlib.sha256(columns.write_csv().encode()).hexdigest()[:16]
