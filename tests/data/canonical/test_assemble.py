from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from coldlm.core.tables import DAY
from coldlm.data.canonical.assemble import assemble
from coldlm.data.canonical.dataset import to_dataset
from coldlm.data.canonical.dated import DatedField


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
    events = pl.DataFrame(
        columns if given != "none" else {k: v for k, v in columns.items() if k != "event_id"}
    )
    tables = assemble(events, pl.DataFrame({"item_id": np.arange(9)}))
    order = np.lexsort((ids, columns["timestamp"]))
    assert tables.interactions["label"].to_list() == columns["label"][order].tolist()
    expected = order if given == "none" else ids[order]
    assert tables.interactions["event_id"].to_list() == expected.tolist()


@pytest.mark.parametrize(
    ("at_entry", "shown"), [(True, ("late in the slot", "", "early")), (False, ("", "", "early"))]
)
def test_an_item_shows_what_was_written_of_it_in_its_first_slot_and_nothing_later(
    at_entry: bool, shown: tuple[str, ...]
) -> None:
    """Items 0 and 1 enter on day 1, item 2 on day 0. Of item 1 nothing is written before day 3."""
    events = pl.DataFrame(
        {
            "user_id": [0, 0, 0, 1],
            "item_id": [2, 0, 1, 1],
            "timestamp": [5, DAY + 50, DAY + 60, 3 * DAY],
            "label": 1.0,
        }
    )
    written = [
        (2, 5, "early"),
        (2, DAY + 70, "changed"),
        (0, DAY + 50, "late in the slot"),
        (1, 3 * DAY, "later"),
    ]
    dated = pl.DataFrame(
        [(item, time, "name", value) for item, time, value in written],
        schema=["item_id", "timestamp", "field", "value"], orient="row",
    )  # fmt: skip
    tables = assemble(events, pl.DataFrame({"item_id": [0, 1, 2]}), dated=dated)
    data = to_dataset(
        tables, name="toy", domain="ecommerce", text="{name}", title="name", repeats=True, release="after_first",
        half_lives_days=(1.0, 2.0, 3.0), dated={"name": DatedField(at_entry=at_entry)},
    )  # fmt: skip
    assert data.counts["items_without_text"] == 0
    enters = np.array([DAY, DAY, 0])
    gridded = replace(data, slot=DAY).with_texts_as_of(np.maximum(enters, DAY), enters)
    assert gridded.items.texts == shown
    assert gridded.text_known_at is not None
    assert gridded.text_known_at.tolist() == [DAY + 50 if at_entry else 0, 0, 5]
    after_first = data.with_texts_as_of(
        np.array([DAY + 51, DAY + 61, DAY]), np.array([DAY + 51, DAY + 61, 6])
    )
    assert after_first.items.texts == ("late in the slot", "", "early")
