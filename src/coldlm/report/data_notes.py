"""The footnotes about data: what it holds, what was asked, dropped and leaked, and what its checkpoints and
files may have known."""

from __future__ import annotations

from typing import Any

from coldlm.core.columns import CHANCE, LATE_TEXTS
from coldlm.report.rows import Comparison
from coldlm.report.table import DAGGER, metric
from coldlm.runs.manifest import Manifest


def about_data(comparison: Comparison) -> list[str]:
    """Return dates, sizes, cohorts, leaks, and what was dropped and not asked."""
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
        f"Leak meter{', NOT 0' if any(leaks.values()) else ''}: {counts(leaks)}"
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
            f"{counts(first.not_asked)}."
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


def about_files(comparison: Comparison) -> list[str]:
    """Return what the files held whose scores were judged, and what nobody knows of them."""
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


def about_checkpoints(manifests: tuple[Manifest, ...]) -> list[str]:
    """Return which checkpoints are newer than T_test or have no date, and of which commits the runs are."""
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


def counts(found: dict[str, int]) -> str:
    """Return names with their numbers, in one line."""
    return ", ".join(f"{name} {n:,}" for name, n in found.items()) or "not measured"


def _count(n: int | None) -> str:
    return "?" if n is None else f"{n:,}"
