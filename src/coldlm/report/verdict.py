"""The first sentence of a page: whether the best strategy beats the best row without one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coldlm.config.schedules import cheats
from coldlm.report.flags import flags
from coldlm.report.measure import MARGIN, Headline, Measure
from coldlm.report.rows import Comparison
from coldlm.report.statistics import ALPHA, MIN_EVENTS, MIN_USERS, Estimate
from coldlm.report.table import DOES_NOT_APPLY, metric, name, probability

NO_CLAIM: Final = "No claim"


@dataclass(frozen=True)
class Verdict:
    """``answer``: what may be said, in two words or a few. ``words``: why, in sentences. ``facts``:
    (name, value) of the numbers behind it."""

    is_claim: bool
    answer: str
    words: str
    facts: tuple[tuple[str, str], ...] = ()


def judge(comparison: Comparison, headline: Headline) -> Verdict:
    """Return the verdict on the best strategy: the row of the highest headline among those that
    ``measure`` has put in bold, which alone may be claimed, else among all. What has learned from
    what it was asked is not asked for, nor ``static``, which is a control."""
    asked = [
        m
        for m in headline.measures
        if m.row.kind == "strategy" and m.row.schedule != "static" and not cheats(m.row.schedule)
    ]
    measured = [m for m in asked if m.value is not None]
    if not measured:
        return Verdict(False, NO_CLAIM, "No strategy was run, or none has a value.")
    bold = [m for m in measured if m.is_bold]
    best, highest = (
        max(among, key=lambda m: m.value or 0.0) for among in (bold or measured, measured)
    )
    of = f"the {len(bold)} in bold" if bold else f"{len(measured)} strategy rows"
    own = f"The best of {of}, `{name(best.row, comparison)}`, has {comparison.target.words} "
    own += metric(best.value)
    if headline.best_trivial is None:
        return Verdict(
            False, NO_CLAIM, f"{own}. There is no baseline and no control to compare it with."
        )
    trivial = next(m for m in headline.measures if m.row == headline.best_trivial)
    against = f"`{name(trivial.row, comparison)}`, has {metric(trivial.value)}"
    d = best.vs_trivial
    if d is None or best.p_holm is None or best.p_seeds is None:
        why = f"fewer than {MIN_USERS} users or {MIN_EVENTS} events are behind the difference"
        return Verdict(
            False,
            NO_CLAIM,
            f"{own}; the best row without one, {against}; {why}.",
            _of(best, None, comparison),
        )
    said = f"{own}; the best of all baselines and controls, {against}."
    compared = sum(m.vs_trivial is not None for m in headline.measures)
    chosen = (
        "Both were chosen on the stream itself, which flatters each; p is after Holm over "
        f"{compared} comparison{'s' * (compared > 1)}."
    )
    if not best.is_bold:
        reasons = "; ".join(_reasons(best, d, trivial, headline.seeds_needed or 0, compared))
        return Verdict(False, NO_CLAIM, f"{said} {reasons}. {chosen}", _of(best, d, comparison))
    more = ""
    if highest is not best:
        more = f" `{name(highest.row, comparison)}` is higher, {metric(highest.value)}, "
        more += "but not in bold."
    found = dict.fromkeys(flag.partition(":")[0] for flag in flags(comparison))
    if found:
        more += f" Read it under its flags: {', '.join(found)}."
    words = f"The best strategy beats the best row without one. {said} {chosen}{more}"
    return Verdict(True, "Yes, but flagged" if found else "Yes", words, _of(best, d, comparison))


def _reasons(best: Measure, d: Estimate, trivial: Measure, needed: int, compared: int) -> list[str]:
    """Which of the rules for a claim are not met, as ``measure`` has them."""
    found = []
    if d.seeds < needed:
        has = "1 seed is" if d.seeds == 1 else f"{d.seeds} seeds are"
        of = "1 comparison needs" if compared == 1 else f"{compared} comparisons need"
        found.append(f"{has} behind it, {of} {needed}")
    elif not (best.p_holm or 0.0) < ALPHA:
        found.append(f"its p is not below {ALPHA:.2f}")
    if not d.low > MARGIN * (trivial.value or 0.0):
        found.append(
            f"the interval of the difference does not lie above {100 * MARGIN:.0f} % of the best "
            "row without one"
        )
    return [text if i else text[0].upper() + text[1:] for i, text in enumerate(found)]


def _of(best: Measure, d: Estimate | None, comparison: Comparison) -> tuple[tuple[str, str], ...]:
    """The numbers, as the table of quality has them."""
    if d is None:
        return ((comparison.target.words, metric(best.value)),)
    return (
        ("difference", metric(d.mean, True)),
        ("95 % interval", f"[{metric(d.low, True)}, {metric(d.high, True)}]"),
        ("p", probability(best.p_holm) if best.p_holm is not None else DOES_NOT_APPLY),
        ("p over seeds", probability(best.p_seeds) if best.p_seeds is not None else DOES_NOT_APPLY),
        ("seeds", str(d.seeds)),
        ("users", f"{d.users:,}"),
    )
