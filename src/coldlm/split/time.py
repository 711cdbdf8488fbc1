"""The time split: who learns from what, and when.

```
time ->      t_val        t_test     edge 1     edge 2           end
   | train    | validation | window 0 | window 1 | ... stream     |
     weights    stopping     test, then (online) train, window by window
```
Hyper-parameters and stopping look at validation only; then the model is refitted on train + validation. Histories and
counts always hold every event strictly earlier than the query, whichever part it lies in.

>>> import numpy as np
>>> from coldlm.tables import sorted_log
>>> one = np.ones(10)
>>> log = sorted_log(np.arange(10), np.arange(10), np.arange(10) * 100, one, one > 0)
>>> split = cut(log, train=0.5, validation=0.2, windows=3)
>>> split.t_val, split.t_test, split.edges.tolist()
(500, 700, [700, 800, 900, 901])
"""

from __future__ import annotations

import numpy as np

from coldlm.errors import DataError
from coldlm.tables import Log, Split


def cut(log: Log, *, name: str = "time", train: float = 0.7, validation: float = 0.1, windows: int = 5) -> Split:
    """Cut the log by shares of *events*, moved down to the next boundary between two times, so no block is torn.

    Args:
        train, validation: shares of the events; the rest is the stream, cut into ``windows`` of about equal count.

    Raises:
        DataError: a part would be empty, or the stream has fewer distinct times than windows.
    """
    n = len(log)
    # rounded first, since .7 + .1 is a little less than .8
    firsts = (min(int(round(n * share, 6)), n - 1) for share in (train, train + validation))
    t_val, t_test = (int(log.time[first]) for first in firsts)
    n_train, n_past = (int(np.searchsorted(log.time, t)) for t in (t_val, t_test))
    if not 0 < n_train < n_past < n:
        raise DataError(
            f"the time split leaves an empty part: {n_train} train, {n_past - n_train} validation and {n - n_past} "
            f"stream events of {n}; the log needs distinct times on both sides of split.train={train} and "
            f"split.train + split.validation={train + validation:g}"
        )
    stream = log.time[n_past:]
    distinct, window = np.unique(stream), np.arange(windows)
    if len(distinct) < windows:
        raise DataError(
            f"the stream's {len(stream)} events at {len(distinct)} distinct times cannot be cut into "
            f"split.windows={windows} non-empty windows; use fewer"
        )
    wanted = np.searchsorted(distinct, stream[(window * len(stream)) // windows])
    # a block larger than a window pushes the next start to the time behind it; the last windows keep a time each
    begin = np.minimum(np.maximum.accumulate(wanted - window) + window, len(distinct) - windows + window)
    edges = np.append(distinct[begin], stream[-1] + 1).astype(np.int64)
    return Split(name, t_val, t_test, n_train, n_past, edges)
