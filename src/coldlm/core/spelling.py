"""Which of some names somebody probably meant."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import SequenceMatcher

IN_GROUP, ALONE, ELSEWHERE = 0.6, 0.7, 0.85
"""How similar, from 0 to 1, a last part must be to that of a name of the same group, of any group
where the name has none, and of another group. Groups alone make no two names alike."""


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name that ``name`` probably means: one with the same last part wherever it
    stands, else one with a similar last part, a similar one, or one whose last part holds it.

    >>> nearest("lr", ["optim.lr", "seed"]), nearest("train.epoch", ["train.epochs", "seed"])
    ('optim.lr', 'train.epochs')
    >>> nearest("strategy.rank", ["strategy.layers", "head.rerank"]), nearest("q", ["seed"])
    (None, None)
    """
    valid = list(dict.fromkeys(valid))
    group, last = _split(name)
    if same := [choice for choice in valid if _split(choice)[1] == last]:
        of_near_group = [c for c in same if _likeness(group, _split(c)[0]) >= IN_GROUP]
        return max(of_near_group or same[:1], key=lambda choice: _likeness(name, choice))
    close = {}
    for choice in valid:
        its_group, its_last = _split(choice)
        likeness = _likeness(last, its_last)
        if group != its_group:
            likeness = max(likeness, _likeness(name, choice))
        needed = IN_GROUP if group == its_group else ELSEWHERE
        if likeness >= (needed if group else ALONE):
            close[choice] = likeness
    if close:
        return max(close, key=lambda choice: (close[choice], _likeness(name, choice)))
    parts = ((choice, *_split(choice)) for choice in valid)
    longer = (c for c, its, end in parts if len(last) > 2 and last in end and group in ("", its))
    return next(longer, None)


def did_you_mean(
    name: str,
    valid: Iterable[str],
    *,
    begin: str = "",
    end: str = "",
    shown: Callable[[str], str] = str,
) -> str:
    """Return a question for the nearest valid name between ``begin`` and ``end``; nothing at all
    where none is near.

    >>> did_you_mean("lorra", ["lora", "top"], begin="; "), did_you_mean("x", ["lora"], begin="; ")
    ('; did you mean lora?', '')
    """
    near = nearest(name, valid)
    return "" if near is None else f"{begin}did you mean {shown(near)}?{end}"


def _split(name: str) -> tuple[str, str]:
    """What stands before the last dot or slash, and behind it."""
    group, _, last = name.replace("/", ".").rpartition(".")
    return group, last


def _likeness(left: str, right: str) -> float:
    return SequenceMatcher(None, right, left).ratio()
