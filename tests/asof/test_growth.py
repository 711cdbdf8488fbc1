"""A memory that grows is, to the bit, that of the longer log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.asof.growth import grown_catalogue, grown_memory
from coldlm.core.tables import Dataset, Log

MakeData = Callable[..., Dataset]

codes = st.integers(0, 5)
logs = st.lists(st.tuples(codes, codes, st.integers(0, 40), st.booleans()), min_size=1, max_size=25)


def remembered(data: Dataset, log: Log, catalogue: Catalogue) -> AsOf:
    known = catalogue.enters_at, data.half_lives_days, catalogue.masked_until
    return AsOf(log, len(data.users), len(data.items), *known)


def same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    ours, theirs = (x if isinstance(x, dict) else getattr(x, "__dict__", {}) for x in (a, b))
    return all(same(x, theirs[key]) for key, x in ours.items()) if ours else a == b


@given(events=logs, share=st.floats(0, 1), repeats=st.booleans(), slot=st.sampled_from([None, 7]))
def test_growing_by_the_rest_of_a_log_gives_the_whole_of_it(
    make_data: MakeData,
    events: list[tuple[int, int, int, bool]],
    share: float,
    repeats: bool,
    slot: int | None,
) -> None:
    whole = make_data(
        events, users=6, items=6, repeats=repeats, released={2: 3} if slot is None else None
    )
    whole = replace(whole, slot=slot)
    n = max(1, round(share * len(whole.log)))
    first, rest = whole.log.rows(slice(n)), whole.log.rows(slice(n, None))
    users, items = first.user.max() + 1, first.item.max() + 1
    short = replace(
        whole,
        log=first,
        users=replace(whole.users, ids=whole.users.ids[:users], texts=whole.users.texts[:users]),
        items=replace(
            whole.items,
            ids=whole.items.ids[:items],
            titles=whole.items.titles[:items],
            texts=whole.items.texts[:items],
            released_at=whole.items.released_at[:items],
        ),
    )
    before, after = Catalogue(short), Catalogue(whole)
    grown = grown_catalogue(before, whole, rest)
    assert same(grown, after)
    memory = remembered(short, first, before)
    memory.log_decayed_counts(np.array([50]), 0)  # leaves lines behind
    entered = grown.enters_at, grown.masked_until
    longer, expected = grown_memory(memory, rest, 6, *entered), remembered(whole, whole.log, after)
    times = np.array([3, 20, 41, 60])
    assert np.array_equal(
        longer.log_decayed_counts(times, 1), expected.log_decayed_counts(times, 1)
    )
    assert same(longer, expected)
