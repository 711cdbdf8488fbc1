"""The footnotes below a table: what was averaged and compared, how sure it is, what was left out."""

from __future__ import annotations

from typing import Any

from coldlm.core.columns import CHANCE, LATE_TEXTS
from coldlm.report.k_shot import shots_of, what_was_asked
from coldlm.report.measure import MARGIN, Headline
from coldlm.report.rows import Comparison
from coldlm.report.statistics import ALPHA, MIN_EVENTS, MIN_SEEDS, MIN_USERS
from coldlm.report.table import DAGGER, metric
from coldlm.report.tuning import tuned_rivals, tuned_values
from coldlm.runs.manifest import Manifest


def footnotes(comparison: Comparison, headline: Headline) -> list[str]:
    """Return one line each: what was averaged, how sure it is, what was compared, asked, dropped
    and leaked."""
    return [
        *(f"WARNING: {warning}." for warning in comparison.warnings),
        *_about_numbers(comparison, headline),
        *(_about_lists(comparison.manifests[0]) if comparison.candidates == "impression" else []),
        *tuned_values(comparison),
        *tuned_rivals(comparison),
        *_about_data(comparison),
        *_about_files(comparison),
        *_about_checkpoints(comparison.manifests),
    ]


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
            f"Lists of the stream: {_counts(lists)}. Those without a click or of clicks alone ask "
            "nothing."
        )
    return lines


def _about_data(comparison: Comparison) -> list[str]:
    manifests, first = comparison.manifests, comparison.manifests[0]
    dataset = first.data
    lines = [
        f"Dates: {dataset.cut}. "
        f"{dataset.name}: {_count(dataset.n_users)} users, {_count(dataset.n_items)} items, "
        f"{_count(dataset.n_events)} events."
    ]
    cohorts = [
        f"{c['cohort']} {c['events']:,} ({c['share']:.1%}) of {c['users']:,} users"
        for c in first.cohorts or ()
    ]
    lines.append(f"Cohorts, in events: {'; '.join(cohorts)}.")
    leaks: dict[str, int] = {}
    for m in manifests:
        leaks |= {name: max(n, leaks.get(name, 0)) for name, n in (m.leaks or {}).items()}
    lines.append(
        f"Leak meter{', NOT 0' if any(leaks.values()) else ''}: {_counts(leaks)}"
        f"{'' if not leaks or LATE_TEXTS in leaks else ', late_texts not checkable (no dates)'} (100 "
        "queries recounted)."
    )
    lines.append(
        f"Dropped events: {max(m.dropped or 0 for m in manifests):,}. "
        f"{_others(first.others_would_drop or {})}"
    )
    asked = next((c["events"] for c in first.cohorts or () if c["cohort"] == "all"), 0)
    if first.not_asked and any(first.not_asked.values()):
        share = asked / max(asked + sum(first.not_asked.values()), 1)
        lines.append(
            f"Asked: {asked:,}, {share:.1%} of the stream's positives; not asked, by reason: "
            f"{_counts(first.not_asked)}."
        )
    if drawn := first.drawn_queries:
        lines.append(
            f"Queries: {drawn:,} of the stream's at most, drawn once; every row answers the same "
            "ones."
        )
    return [*lines, *_about_first_stages(manifests), *_about_fresh_items(comparison)]


def _about_first_stages(manifests: tuple[Manifest, ...]) -> list[str]:
    """What re-ranking heads were given, and what they could have found at most."""
    found = {(s["name"], s["rerank"], s["recall"]) for m in manifests if (s := m.first_stage)}
    return [
        f"Re-ranked: the best {top:,} candidates of {name}, whose recall@{top} (macro) is "
        f"{metric(recall)}: the "
        "ceiling of any re-ranking of them. The other candidates stay below in its order."
        for name, top, recall in sorted(found)
    ] + sorted(
        {
            f"Classification: a pair counts as taken from a probability of {c['threshold']} on; "
            "the stream's positives "
            f"against {c['negatives']}, weights frozen. Who met more negatives than positives in "
            "training seldom says so much; the AUC depends on no threshold."
            for m in manifests
            if (c := m.classification)
        }
    )


def _about_fresh_items(comparison: Comparison) -> list[str]:
    """What the canaries say of the release rule, and whether the catalogue holds survivors only."""
    if comparison.candidates == "impression":
        return [
            "Canaries: no release rule chose these lists. At n = 0 newest and fewest_events are "
            "above chance by "
            "selection (a new item beside older ones comes first, clicked or not), and popularity "
            "below it: compare "
            "the rows of a warm-up curve, not its points. Whether new items are clicked more is "
            "told by the AUC of newest and fewest_events in the list table."
        ]
    manifests, dataset = comparison.manifests, comparison.manifests[0].data
    canaries: dict[str, Any] = next((m.canaries for m in manifests if m.canaries), {})
    if not canaries or (dataset.release == "after_first" and comparison.mark != "SIMULATED"):
        return ["Canaries at n = 0: not measurable, since an item enters after its first event."]
    seen = ", ".join(
        f"{name} {metric(c['value'])} ([{metric(c['low'], True)}, {metric(c['high'], True)}] from "
        "chance)"
        for name, c in canaries.items()
        if name != CHANCE
    )
    lines = [f"Canaries at n = 0, nDCG@10: {seen}; chance {metric(canaries[CHANCE]['value'])}."]
    above = [name for name, c in canaries.items() if name != CHANCE and c["low"] > 0]
    if above:
        lines.append(
            f"ABOVE CHANCE at n = 0: {', '.join(above)}. Either people like fresh items, or being "
            "a candidate says "
            "that an item is about to be taken: no claim about n = 0 rests on this table alone."
        )
    if comparison.mark == "SIMULATED" and dataset.release != "field":
        lines.append(
            "Held-out items are the only candidates without an event: fewest_events is above "
            "chance by that."
        )
    if dataset.items_never_taken == 0:
        lines.append(
            "Survivors: every item of this catalogue is taken at some time, so one without events "
            "is known to get some."
        )
    return lines


def _about_files(comparison: Comparison) -> list[str]:
    """What the files held whose scores were judged, and what nobody knows of them."""
    lines = []
    for row in comparison.rows:
        for said in filter(None, (manifest.scores_from for manifest in row.manifests)):
            rest = (
                f"{said['missing']:,} candidates without one tie behind, "
                if said["missing"]
                else "every candidate has one, "
            )
            lines.append(
                f"`{row.name}`: {said['kind']} from {said['file']} (sha256 {said['sha256'][:12]}): "
                f"{rest}{said['ignored']:,} rows of no candidate are ignored. May have been trained on "
                "anything; its place among the candidates is all that was looked at."
            )
    return lines


def _about_checkpoints(manifests: tuple[Manifest, ...]) -> list[str]:
    t_test = manifests[0].data.dates["t_test"]
    # runs that know a checkpoint's date have the last word
    known = sorted(manifests, key=lambda m: m.scores_from is None)
    checkpoints = {m.checkpoint.name: m.checkpoint for m in known if m.checkpoint}
    lines = []
    for name, checkpoint in sorted(checkpoints.items()):
        if checkpoint.newer_than_t_test:
            lines.append(
                f"{DAGGER} {name} ({checkpoint.date}) is newer than T_test ({t_test}): it may know "
                "the future."
            )
        elif checkpoint.date is None and name != "random_vectors":
            lines.append(
                f"The date of {name} is not known: it may be newer than T_test ({t_test})."
            )
    commits = sorted({_short(m.commit) for m in manifests})
    return [
        *lines,
        f"{len(manifests)} runs, commit{'s' if len(commits) > 1 else ''} {', '.join(commits)}.",
    ]


def _short(commit: str | None) -> str:
    """A commit's first digits, with the "+" of a source tree that had changes."""
    return f"{commit[:12]}{'+' if commit.endswith('+') else ''}" if commit else "unknown"


def _others(would: dict[str, int]) -> str:
    if not would.get("of"):
        return ""
    parts = ", ".join(f"{name} {n:,}" for name, n in would.items() if name not in ("any", "of"))
    return (
        f"Other evaluators' defaults would have dropped {would['any']:,} of {would['of']:,} "
        f"({parts})."
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "not measured"


def _count(n: int | None) -> str:
    return "?" if n is None else f"{n:,}"
