"""Who is shown k events of, which events those are, and what is asked: the k-shot rule, one side at
a time.

The stream is cut at its midpoint M: the time of the event at half of its events, so that no block
is torn. Reveals lie in [T_test, M), queries in [M, end). An item (a user) is *eligible* if it is
cold, without a positive event before T_test, and has at least the largest k of all positive events
in the first half; the other cold ones are counted out.

```
                      T_test                     M                end
cold, eligible           |   o  o  x  .  .  .    |    ?    ?  ?    |     k = 2: o revealed, . and x hidden, ? asked
cold, too few events     |   o     o             |    -    -       |     counted out: known as it is, never asked
warm                 o o |     o     o  o        |    -    -       |     known until M
```

Known at k are all events before M but those of eligible entities of that side that come after their
first k positive ones in the first half, in the order of the log; negative ones (x) are hidden with
what comes after the k-th positive. So k = 0 hides all that an eligible entity did in the first
half. Nothing is known of the second half, whatever its queries' time: everything stands still at M,
only ages and decays go on. The queries, their candidates and what users had already are those of
the whole log, the same for every k.

Eligible entities had many events within half a stream: the curve speaks of newcomers that were
going to be busy. And what is hidden makes them stand out of the candidates by their counts: at k =
0 few others have no known event, and at the largest k no cold item that was counted out has as many
as they. The canary ``fewest_events`` tells the first, and ``recent_popularity`` may profit from the
second. On a grid, a candidate of the current slot shows no counts at any k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from coldlm.core.tables import STREAM, Bools, Ints, Log, Queries, Split

Side = Literal["item", "user"]

SIDES: Final[tuple[Side, ...]] = ("item", "user")


@dataclass(frozen=True)
class Plan:
    """One side's reveals and queries.

    ``code``: [E] the entity of each event of the log. ``midpoint``: M, Unix seconds. ``n_cold``:
    cold entities with a positive event in the stream. ``eligible``: [N] or [U] bool. ``queries``:
    those of the second half with a positive of an eligible entity. ``asked``: [P] bool, which of
    their positives are judged; the others of an item's block leave its candidates as ever.
    """

    side: Side
    t_test: int
    midpoint: int
    code: Ints
    n_cold: int
    eligible: Bools
    queries: Queries
    asked: Bools

    def known(self, log: Log, shots: int) -> Bools:
        """Return [E] whether each event is known when ``shots`` positives of each eligible entity
        are revealed."""
        of_eligible = np.flatnonzero(
            self.eligible[self.code] & (log.time >= self.t_test) & (log.time < self.midpoint)
        )
        rows = of_eligible[np.argsort(self.code[of_eligible], kind="stable")]
        code, positive = self.code[rows], log.positive[rows]
        before: Ints = np.cumsum(positive) - positive
        # less what other entities had: the running count at each entity's first row
        before -= before[np.searchsorted(code, code)]
        known: Bools = log.time < self.midpoint
        known[rows[before >= shots]] = False
        return known


def midpoint(log: Log, split: Split) -> int:
    """Return the time of the event at half of the stream's events: from here on, events are
    queries.

    >>> from coldlm.core.tables import sorted_log
    >>> one = np.ones(6)
    >>> log = sorted_log(np.arange(6), np.arange(6), np.array([1, 2, 3, 4, 4, 4]), one, one > 0)
    >>> midpoint(log, Split("time", 2, 3, np.array([0, 1, 2, 2, 2, 2], np.int8), np.array([3, 5])))
    4
    """
    stream = split.rows(STREAM)
    return int(log.time[stream[len(stream) // 2]])


def make_plan(side: Side, log: Log, split: Split, stream: Queries, cold: Bools, most: int) -> Plan:
    """Return the plan of one side.

    Args:
        stream: the queries of the whole stream.
        cold: [N] or [U] entities without a positive event before T_test.
        most: the largest number of reveals.
    """
    code, half = (log.item if side == "item" else log.user), midpoint(log, split)
    in_stream = log.positive & (log.time >= split.t_test)
    newcomer = cold & (np.bincount(code[in_stream], minlength=len(cold)) > 0)
    eligible = newcomer & (
        np.bincount(code[in_stream & (log.time < half)], minlength=len(cold)) >= most
    )
    owner = np.repeat(np.arange(len(stream)), np.diff(stream.start))
    asked = eligible[code[stream.event]] & (stream.time >= half)[owner]
    keep = np.bincount(owner[asked], minlength=len(stream)) > 0
    return Plan(
        side=side,
        t_test=split.t_test,
        midpoint=half,
        code=code,
        n_cold=int(newcomer.sum()),
        eligible=eligible,
        queries=stream.where(keep),
        asked=asked[keep[owner]],
    )
