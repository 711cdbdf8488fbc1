"""The flags above a table: why nobody should take its numbers for what they look like."""

from __future__ import annotations

from typing import Final

from coldlm.config.schedules import cheats
from coldlm.core.columns import (
    DEBUG_KEY,
    MANDATORY_BASELINES,
    MANDATORY_CONTROLS,
    PERMUTED,
    PERMUTED_QUERY,
)
from coldlm.report.rows import Comparison
from coldlm.report.target import HEADLINE
from coldlm.report.texts import own_control
from coldlm.report.tuning import unequal_budgets

AT_RELEASE: Final = 0.2
"""Share of items first taken in the second of their release above which that is no chance."""

BEFORE_RELEASE: Final = 0.05
"""Share of events earlier than a release above which releases are not what they are called."""


MOST_FAILED: Final = 8
"""Rows that flags name; the notes name all."""

SELECTED: Final = 5
"""Events over the whole log from which on nobody has fewer by chance: of a 5-core, say."""


def flags(comparison: Comparison) -> list[str]:
    """DEBUG, ONLY, FAILED, DIVERGED, LEAKY, SIMULATED, SAMPLED, RELEASE, SELECTED, AUDIT, FROM A FILE, NO USERS,
    INCOMPLETE and UNEQUAL TUNING, each with its reason, where they apply."""
    found = [f"ONLY: {comparison.only}: chosen after the fact, and p counts those that are left"]
    found = [*_debug(comparison), *(found if comparison.only else []), *_failed_runs(comparison)]
    if comparison.mark == "SIMULATED":
        found.append(
            f"SIMULATED: split `{comparison.split}` holds that share of the items taken before "
            "T_test out of the past; they are old items without their events, not new ones"
        )
    if comparison.mark == "LEAKY":
        found.append(
            f"LEAKY: split `{comparison.split}` lets the future into training; `split=time` does not"
        )
    if comparison.candidates not in ("full", "impression"):
        found.append(
            f"SAMPLED: ranked among `{comparison.candidates}` candidates, not among the full "
            "catalogue"
        )
    found += _doubtful_releases(comparison)
    found += _selected_by_the_future(comparison)
    found += _failed_audits(comparison)
    found += _from_files(comparison)
    if (
        comparison.target != HEADLINE
        and comparison.users.table.filter(metric=comparison.target.metric).is_empty()
    ):
        found.append(
            f"NO USERS: these packed runs hold no users' values of {comparison.target.words}: without them there is "
            "no interval and no p. A report of the run folders has them, and so has a pack that it makes"
        )
    missing = _missing_rows(comparison)
    if missing:
        found.append(
            f"INCOMPLETE: without {', '.join(missing)} nobody can tell what language is worth"
        )
    found += unequal_budgets(comparison)
    return found


def _debug(comparison: Comparison) -> list[str]:
    """Runs that were made small to find out what is wrong."""
    names = dict.fromkeys(m.recipe.get(DEBUG_KEY) for m in comparison.manifests)
    said = ", ".join(f"debug={name}" for name in names if name)
    return [f"DEBUG: {said}: made small to find a mistake, no result"] * bool(said)


def _failed_runs(comparison: Comparison) -> list[str]:
    """Cells of the sweep that have no value, each with its reason."""
    said = [f"{row.status}: `{row.name}`: {row.words}" for row in comparison.failed]
    more = len(said) - MOST_FAILED
    return said[:MOST_FAILED] + [f"FAILED: {more} rows more, see below"] * (more > 0)


def _doubtful_releases(comparison: Comparison) -> list[str]:
    """Release times that events seem to have made, or that events do not keep to."""
    data, found = comparison.manifests[0].data, []
    if (data.at_release or 0) > AT_RELEASE:
        found.append(
            f"RELEASE: {data.at_release:.0%} of the items that enter are first taken in the very "
            "second of their release: being a candidate gives away who is about to be taken, and no "
            "value at n = 0 says anything"
        )
    if (data.before_release or 0) > BEFORE_RELEASE:
        found.append(
            f"RELEASE: {data.before_release:.0%} of the events are earlier than their item's release, "
            "which is then none"
        )
    return found


def _selected_by_the_future(comparison: Comparison) -> list[str]:
    """Items, or users, who are in the set for events that were still to come."""
    data = comparison.manifests[0].data
    least = {"item": data.least_of_item or 0, "user": data.least_of_user or 0}
    chosen = [f"every {name} has at least {n}" for name, n in least.items() if n >= SELECTED]
    if not chosen:
        return []
    return [
        f"SELECTED: {' and '.join(chosen)} events over the whole log, so that who is in it was chosen by "
        "what came later: a newcomer here is one that will stay"
    ]


def _failed_audits(comparison: Comparison) -> list[str]:
    """Streams in which something was learned before it was scored, but for the control that says
    so."""
    names = {
        row.name
        for row in comparison.rows
        for manifest in row.manifests
        if row.schedule == manifest.axes.get("online") and not cheats(row.schedule)
        if any((manifest.audit or {}).values())
    }
    said = ", ".join(f"`{name}`" for name in sorted(names))
    return [f"AUDIT: {said} learned from events before they were scored"] * bool(names)


def _from_files(comparison: Comparison) -> list[str]:
    """Rows of which nobody here knows what they have seen."""
    said = ", ".join(f"`{row.name}`" for row in comparison.rows if row.is_outside)
    return [
        f"FROM A FILE: {said}: scores that other software wrote may have been trained on anything, the "
        "stream's own events among it; no leak was looked for in them"
    ] * bool(said)


def _missing_rows(comparison: Comparison) -> list[str]:
    rows = comparison.rows
    first = {(row.kind, row.label.split(" · ")[0]) for row in rows}
    missing = [name for name in MANDATORY_BASELINES if ("baseline", name) not in first]
    if (
        any(m.data.repeats for m in comparison.manifests)
        and ("baseline", "own_repeats") not in first
    ):
        missing.append("own_repeats")
    controls = {name for kind, name in first if kind == "control"}
    if controls & set(PERMUTED):
        controls |= set(PERMUTED)
    of_queries = (PERMUTED_QUERY,) if any(m.typed for m in comparison.manifests) else ()
    missing += [name for name in (*MANDATORY_CONTROLS, *of_queries) if name not in controls]
    # context alone must have been updated in the same way as the models that it is compared with
    schedules = list(
        dict.fromkeys(
            row.schedule
            for row in rows
            if row.kind == "strategy" and row.schedule != "static" and not row.is_outside
        )
    )
    context = {row.schedule for row in rows if row.label.split(" · ")[0] == "context_only"}
    missing += [
        f"context_only, {schedule}" for schedule in schedules if context and schedule not in context
    ]
    return missing + _without_own_control(comparison)


def _without_own_control(comparison: Comparison) -> list[str]:
    """The controls of strategies that train the backbone but whose permuted texts were never trained
    in the same way; for frozen vectors, random ones are that control as well."""
    controls = {
        row.manifests[0].axes["control"] for row in comparison.rows if row.kind == "control"
    }
    permuted = next((name for name in PERMUTED if name in controls), None)
    if permuted is None:
        return []
    return sorted(
        {
            f"{permuted} of {row.name.rpartition(', ')[0] or row.name}"
            for row in comparison.rows
            if row.kind == "strategy" and row.schedule != "static" and not row.is_outside
            if not (row.manifests[0].axes["strategy"] == "frozen" and "random_vectors" in controls)
            if own_control(comparison, row) is None
        }
    )
