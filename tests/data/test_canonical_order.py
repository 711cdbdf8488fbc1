from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from coldlm.data.canonical import assemble


@pytest.mark.parametrize("given", ["none", "ascending", "shuffled"])
def test_events_are_in_the_order_of_time_and_then_of_their_ids(given: str) -> None:
    rng = np.random.default_rng(0)
    ids = np.arange(500) * 3
    if given == "shuffled":
        rng.shuffle(ids)
    columns = {
        "user_id": rng.integers(0, 9, 500), "item_id": rng.integers(0, 9, 500), "timestamp": rng.integers(0, 40, 500),
        "label": rng.random(500), "event_id": ids,
    }  # fmt: skip
    events = pl.DataFrame(columns if given != "none" else {k: v for k, v in columns.items() if k != "event_id"})
    tables = assemble(events, pl.DataFrame({"item_id": np.arange(9)}))
    order = np.lexsort((ids, columns["timestamp"]))
    assert tables.interactions["label"].to_list() == columns["label"][order].tolist()
    expected = order if given == "none" else ids[order]
    assert tables.interactions["event_id"].to_list() == expected.tolist()
