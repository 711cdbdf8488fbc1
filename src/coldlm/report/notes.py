"""The footnotes below a table: what was averaged and compared, how sure it is, what was left out."""

from __future__ import annotations

from typing import Any, Final

from coldlm.core.columns import CHANCE
from coldlm.report.data_notes import about_checkpoints, about_data, about_files, counts
from coldlm.report.k_shot import shots_of, what_was_asked
from coldlm.report.measure import MARGIN, Headline
from coldlm.report.rows import Comparison
from coldlm.report.statistics import ALPHA, MIN_EVENTS, MIN_SEEDS, MIN_USERS
from coldlm.report.table import metric
from coldlm.report.tuning import tuned_rivals, tuned_values
from coldlm.runs.manifest import Manifest

MOST_NAMED: Final = 8
"""Rows, or seeds, that a note names."""


def footnotes(comparison: Comparison, headline: Headline) -> list[str]:
    """Return one line each: what was averaged, how sure it is, what was compared, asked, dropped
    and leaked."""
    return [
        *(f"WARNING: {warning}." for warning in comparison.warnings),
        *_about_seeds(comparison),
        *_about_numbers(comparison, headline),
        *(_about_lists(comparison.manifests[0]) if comparison.candidates == "impression" else []),
        *tuned_values(comparison),
        *tuned_rivals(comparison),
        *about_data(comparison),
        *about_files(comparison),
        *about_checkpoints(comparison.manifests),
    ]


def _about_seeds(comparison: Comparison) -> list[str]:
    """Who has fewer seeds than others of its kind, and what failed."""
    lines = [f"{row.status}: `{row.name}`: {row.words}." for row in comparison.failed]
    trained = [row for row in comparison.rows if row.kind != "baseline" and row.its_seeds]
    everyone = set[str]().union(*(row.its_seeds for row in trained))
    short = [row for row in trained if row.its_seeds != everyone]
    if short:
        named = "; ".join(
            f"`{row.name}` {_numbers(everyone - row.its_seeds)}" for row in short[:MOST_NAMED]
        )
        more = f"; and {len(short) - MOST_NAMED} rows more" * (len(short) > MOST_NAMED)
        lines.append(f"Seeds are {_numbers(everyone)}; missing: {named}{more}.")
    return lines


def _numbers(seeds: set[str]) -> str:
    """Seeds in order, as many as one can read."""
    ordered = sorted(seeds, key=lambda seed: (len(seed), seed))
    more = f" and {len(ordered) - MOST_NAMED} more" * (len(ordered) > MOST_NAMED)
    return ", ".join(ordered[:MOST_NAMED]) + more


def about_shots(shots: Comparison) -> list[str]:
    """Return what was revealed and asked for one side, and what the canaries say of it."""
    asked, side = what_was_asked(shots), shots.title
    most = shots_of(shots)[-1]
    lines = [f"WARNING: {warning}." for warning in shots.warnings]
    lines.append(
        f"k-shot by {side}: {asked['eligible']:,} of {asked['cold']:,} cold {side}s have at least "
        f"{most} positive events in the first half of the stream (before {asked['midpoint']}), "
        f"{asked['counted out']:,} are counted "
        f"out: it speaks of busy newcomers. The same {asked['queries']:,} queries of the second "
        "half, among the same "
        "candidates, at every k; what came after the first k events is hidden, and nothing of the "
        "second half is "
        "revealed. history = weights as before the stream; updated = one update on what is known."
    )
    if canaries := next(filter(None, (_canaries(m, side) for m in shots.manifests)), None):
        seen = ", ".join(
            f"{metric(c['fewest_events']['value'])} at {k}" for k, c in canaries.items()
        )
        chance = metric(next(iter(canaries.values()))[CHANCE]["value"])
        above = [k for k, c in canaries.items() if c["fewest_events"]["low"] > 0]
        verdict = (
            f"ABOVE CHANCE at k = {', '.join(above)}: candidates without a known event, be it "
            "hidden or later than the "
            "midpoint, are asked for more than others, so no claim rests there on a scorer that "
            "sees counts; compare it with the rows that see none."
            if above
            else "not above chance at any k."
        )
        lines.append(f"Canary by {side}: fewest_events {seen}; chance {chance}. {verdict}")
    if side == "item":
        lines.append(
            f"At k = {most} every item that is asked for has {most} known events, and a new item "
            "that was counted out "
            "has fewer: counts alone tell them apart, in baselines as in models."
        )
    return lines


def _canaries(manifest: Manifest, side: str) -> dict[str, Any]:
    """What a run says of its canaries by number of reveals; {} where nothing was asked."""
    canaries: dict[str, Any] = (manifest.k_shot or {})[side]["canaries"]
    return canaries if any(canaries.values()) else {}


def _about_numbers(comparison: Comparison, headline: Headline) -> list[str]:
    whole = comparison.values.filter(row=0, window=-1, cohort="all", bucket="all", average="macro")
    users, queries, events = (
        int(whole[name].max() or 0)  # type: ignore[arg-type]
        for name in ("n_users", "n_queries", "n_events")
    )
    lines = [
        f"Means over users (macro), micro: over queries; {users:,} users, {queries:,} queries, "
        f"{events:,} events. Candidates: {comparison.candidates}; ties count as their expectation.",
        "Schedules: history = weights frozen, histories grow; per_window = weights updated on each "
        "window once it is scored; retrain = trained anew on everything scored so far; "
        "static = histories stop at T_test too. Controls (no language) and baselines (no training) "
        "end the table.",
        "Intervals: 95 %; users and seeds are both chance, crossed. Of one seed, or of rows "
        f"without one in common, they hold users alone: others may lie outside. Below {MIN_SEEDS} seeds there is no p.",
        f"In brackets: of fewer than {MIN_USERS} users or {MIN_EVENTS} events, of which nothing is "
        "claimed.",
        "Any cold user, any cold item: whatever the other side is. A point of a warm-up curve is a "
        "mean over the users "
        "that have such queries, so its points differ in users and items, not in n alone.",
    ]
    if headline.best_trivial is None:
        return [*lines, "No baseline and no control: nothing to compare with."]
    best = headline.best_trivial
    lines.append(
        f"vs best trivial: strategy minus `{best.name}`, the best of all baselines and controls "
        "under any schedule; "
        "paired by user and by seed. p: of both together, and over seeds alone (sign flips) as a "
        "second opinion, both after Holm over the rows."
    )
    if headline.asked.against:
        lines.append(
            f"vs {headline.asked.against}: each row minus that one, paired by user and by seed; of several of that "
            "name the one of the same schedule, then of the same backbone, then the best. p after Holm over the rows."
        )
    if turned := _turned_by_weight(comparison, headline):
        lines.append(
            f"By user and by query disagree: {turned}. Busy users count once in the first (macro) and "
            "as often as they ask in the second (micro)."
        )
    if headline.smallest_effect is not None:
        lines.append(
            f"With so many users and seeds a true difference of {metric(headline.smallest_effect)} is found "
            "in 80 % of repetitions (two-sided 5 %, before Holm)."
        )
    seeds, needed = (
        [d.seeds for m in headline.measures if (d := m.vs_trivial)],
        headline.seeds_needed,
    )
    if needed is None or not seeds:
        return lines
    if max(seeds) < needed:
        lines.append(
            f"{max(seeds)} seed{'' if max(seeds) == 1 else 's'}: no claim. {len(seeds)} comparisons "
            f"need {needed}: sign flips of fewer seeds never reach p = {ALPHA:.2f} after Holm."
        )
    elif min(seeds) < needed:
        lines.append(f"Rows with fewer than {needed} seeds: no claim.")
    return [
        *lines,
        f"Bold: at least {needed} seeds, Holm p < {ALPHA:.2f}, and an interval above a "
        f"{100 * MARGIN:.0f} % relative margin.",
    ]


def _turned_by_weight(comparison: Comparison, headline: Headline) -> str:
    """Strategies that are above the best trivial row in one average and below it in the other."""
    assert headline.best_trivial is not None
    best = comparison.rows.index(headline.best_trivial)
    found = []
    for i, row in enumerate(comparison.rows):
        if row.kind != "strategy":
            continue
        values = [
            (comparison.value(i, average=average), comparison.value(best, average=average))
            for average in ("macro", "micro")
        ]
        apart = [own - its for own, its in values if own is not None and its is not None]
        if len(apart) == 2 and apart[0] * apart[1] < 0:
            said = " by user and ".join(metric(difference, True) for difference in apart)
            found.append(f"`{row.name}` is {said} by query from `{headline.best_trivial.name}`")
    return "; ".join(found)


def _about_lists(manifest: Manifest) -> list[str]:
    lines = [
        "Candidates are the lists as the log's own system showed them: nothing is sampled, and "
        "what it did not show is "
        "not asked. Counts n are those of this log, sample counts where it is a sample, and its "
        "catalogue holds "
        "what these users were shown (survivors' bias): no cold claim rests on this table alone.",
        "nDCG, Recall and MRR of the quality table rank each click alone, the list's other clicks "
        "left out; those of "
        "the list table count all clicks of a list (MRR: the mean of 1/rank over them, as MIND's "
        "evaluation has it). AUC is that of one list, a tie counting half.",
    ]
    if lists := manifest.lists:
        lines.append(
            f"Lists of the stream: {counts(lists)}. Those without a click or of clicks alone ask "
            "nothing."
        )
    return lines
