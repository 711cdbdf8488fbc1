from __future__ import annotations

from collections.abc import Callable
from math import log2, nan
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.columns import COHORTS, RESULT_COLUMNS
from coldlm.core.tables import DAY, STREAM, Dataset, Split
from coldlm.evaluate import baselines, summary
from coldlm.evaluate.judge import Views, judge, measure
from coldlm.evaluate.positives import cut_of, tabulate, with_metrics
from coldlm.evaluate.ranking_metric import RankingMetric
from coldlm.evaluate.summary import count_cohorts, in_cohort, per_user, summaries, summarise
from coldlm.split import cuts
from coldlm.split.queries import ask, cold

MakeData = Callable[..., Dataset]

K = 10
SECOND, THIRD = 1 / log2(3), 0.5
"""nDCG of a positive at rank 2 and 3."""


@pytest.fixture
def events() -> pl.DataFrame:
    """Two users, three queries, four positives at ranks 1, 2, 3 and 21."""
    return pl.DataFrame(
        {
            #         q0   q0   q1   q2
            "query": [0, 0, 1, 2],
            "user": ["a", "a", "a", "b"],
            "window": [0, 0, 1, 1],
            "n_item": [0, 4, 3, 60],
            "n_user": [2, 2, 3, 0],
            "cohort": ["cold_item", "warm_warm", "warm_warm", "cold_user"],
            "g": [0, 1, 2, 20],
            "e": [1, 1, 1, 1],
            "candidates": [21, 21, 41, 21],
        }
    )


def _value(table: pl.DataFrame, column: str = "value", **where: object) -> float:
    where = {
        "window": -1,
        "cohort": "all",
        "bucket": "all",
        "average": "macro",
        "metric": "ndcg",
    } | where
    found = table.filter([pl.col(name) == value for name, value in where.items()])
    assert found.height <= 1
    return found[column][0] if found.height else nan


def test_values_are_averaged_over_positives_then_queries_then_users(events: pl.DataFrame) -> None:
    table = summarise(events, K)
    first_query = (1 + SECOND) / 2
    assert _value(table) == pytest.approx(((first_query + THIRD) / 2 + 0) / 2)
    assert _value(table, average="micro") == pytest.approx((first_query + THIRD + 0) / 3)
    assert _value(table, metric="recall", average="micro") == pytest.approx((1 + 1 + 0) / 3)
    assert _value(table, metric="mrr") == pytest.approx(
        (((1 + 1 / 2) / 2 + 1 / 3) / 2 + 1 / 21) / 2
    )
    assert [_value(table, column) for column in ("n_users", "n_queries", "n_events")] == [2, 3, 4]


def test_a_view_averages_over_those_who_are_in_it(events: pl.DataFrame) -> None:
    views = events.with_columns(
        n_shown=pl.col("n_item"),
        on_shelf=pl.Series([1, 1, 1, 0]),
        peers_g=pl.Series([0, 0, 1, 2]),
        peers_e=pl.lit(1),
        peers_candidates=pl.lit(5),
        shelf_g=pl.Series([1, 0, 2, 0]),
        shelf_e=pl.lit(1),
        shelf_candidates=pl.lit(4),
    )
    table, users = summaries(views, K)
    assert _value(table, metric="ndcg/peers") == pytest.approx(((1 + SECOND) / 2 + THIRD) / 2)
    # b's only positive is not on the shelf: it is no 0 there
    shelf = {"metric": "ndcg/shelf"}
    mean = ((SECOND + 1) / 2 + THIRD) / 2
    assert _value(table, **shelf) == pytest.approx(mean)
    assert _value(table, average="micro", **shelf) == pytest.approx(mean)
    counts = [_value(table, column, **shelf) for column in ("n_users", "n_queries", "n_events")]
    assert counts == [1, 2, 3]
    assert users.filter(metric="ndcg/shelf")["user"].unique().to_list() == ["a"]
    assert np.isnan(_value(table, cohort="cold_user", **shelf))
    # a's positives are in the list however many places are kept, b's never is and is not on the shelf
    assert [_value(table, metric=f"recall/slots{s}") for s in range(K + 1)] == [0.5] * (K + 1)
    assert _value(table, metric="recall/slots0/on_shelf") == 1
    assert _value(table, column="n_users", metric="recall/slots0/on_shelf") == 1
    # what has no view is as it was
    plain = summarise(events, K)
    assert_frame_equal(
        table.filter(~pl.col("metric").str.contains("/peers|/shelf|/slots")),
        plain,
        check_exact=True,
    )


def test_tables_made_of_parts_of_the_users_are_those_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw, n = np.random.default_rng(3), 500
    many = pl.DataFrame(
        {
            "query": np.arange(n) // 2,
            "user": np.repeat(draw.integers(0, 40, n // 2), 2).astype(str),
            "window": np.sort(draw.integers(0, 3, n)),
            "n_item": draw.integers(0, 80, n),
            "n_user": draw.integers(0, 80, n),
            "cohort": draw.choice(["cold_item", "cold_user", "cold_both", "warm_warm"], n),
            "g": draw.integers(0, 30, n),
            "e": draw.integers(1, 4, n),
            "candidates": np.full(n, 60),
        }
    )
    whole = summaries(many, K)
    made: list[int] = []
    monkeypatch.setattr(summary, "AT_ONCE", 60)
    users = summary._users
    monkeypatch.setattr(
        summary, "_users", lambda part, *rest: made.append(part.height) or users(part, *rest)
    )
    for one, other, keys in zip(
        whole,
        summaries(many, K),
        (
            ["window", "cohort", "bucket", "average", "metric"],
            ["user", "cohort", "bucket", "metric"],
        ),
        strict=True,
    ):
        assert_frame_equal(one.sort(keys), other.sort(keys), rel_tol=1e-12)
    assert sum(made) == n
    assert len(made) > 5


def test_a_cohort_holds_its_own_positives_only(events: pl.DataFrame) -> None:
    table = summarise(events, K)
    assert _value(table, cohort="cold_item") == 1
    assert _value(table, cohort="warm_warm") == pytest.approx((SECOND + THIRD) / 2)
    assert _value(table, cohort="cold_user") == 0
    assert _value(table, cohort="cold_item_any") == 1
    assert _value(table, cohort="cold_user_any") == 0


def test_groups_of_users_are_cohorts(events: pl.DataFrame) -> None:
    told = events.with_columns(**{"group:team": pl.col("user").replace({"a": "red", "b": ""})})
    values, users = summaries(told, K)
    assert _value(values, cohort="team=red") == pytest.approx(
        _value(values, cohort="warm_warm") * 0 + (1 + SECOND) / 4 + THIRD / 2
    )
    assert set(users.filter(pl.col("cohort").str.contains("="))["user"]) == {"a"}
    assert "team=" not in set(values["cohort"])  # of whom nothing is known
    assert values.filter(~pl.col("cohort").str.contains("=")).equals(summarise(events, K))
    assert not summarise(told, K, by_bucket=False)["cohort"].str.contains("=").any()


def test_an_empty_cohort_bucket_or_window_has_no_row(events: pl.DataFrame) -> None:
    table = summarise(events, K)
    assert "cold_both" not in table["cohort"]
    assert "item:1" not in table["bucket"]
    assert sorted(table["window"].unique()) == [-1, 0, 1]


def test_buckets_are_cut_on_earlier_positives_of_item_and_user(events: pl.DataFrame) -> None:
    table = summarise(events, K)
    by_bucket = {
        b: _value(table, "n_events", bucket=b) for b in table["bucket"].unique() if b != "all"
    }
    assert by_bucket == {
        "item:0": 1,
        "item:3-4": 2,
        "item:50+": 1,
        "user:0": 1,
        "user:2": 2,
        "user:3-4": 1,
    }
    assert _value(table, bucket="item:3-4") == pytest.approx((SECOND + THIRD) / 2)


@pytest.mark.parametrize(
    ("n", "label"),
    [
        (0, "0"),
        (1, "1"),
        (2, "2"),
        (3, "3-4"),
        (4, "3-4"),
        (5, "5-9"),
        (10, "10-19"),
        (20, "20-49"),
        (50, "50+"),
    ],
)
def test_a_count_falls_into_its_bucket(events: pl.DataFrame, n: int, label: str) -> None:
    table = summarise(events.with_columns(pl.lit(n).alias("n_item")), K)
    assert set(table["bucket"].unique()) == {"all", f"item:{label}", "user:0", "user:2", "user:3-4"}


def test_windows_are_averaged_on_their_own(events: pl.DataFrame) -> None:
    table = summarise(events, K)
    assert _value(table, window=0) == pytest.approx((1 + SECOND) / 2)
    assert _value(table, window=1) == pytest.approx((THIRD + 0) / 2)


def test_windows_and_buckets_can_be_left_out(events: pl.DataFrame) -> None:
    table = summarise(events, K, by_window=False, by_bucket=False)
    assert set(table["window"]) == {-1}
    assert set(table["bucket"]) == {"all"}


def test_mrr_is_stored_without_a_cut_and_the_others_under_theirs(events: pl.DataFrame) -> None:
    found = {metric: set(rows["k"]) for (metric,), rows in summarise(events, K).group_by("metric")}
    assert found == {"ndcg": {K}, "recall": {K}, "mrr": {0}, "auc/user": {0}}
    assert (cut_of("mrr", K), cut_of("ndcg", K)) == (0, K)


def test_the_columns_are_those_of_the_results(events: pl.DataFrame) -> None:
    table = summarise(events, K)
    assert [column for column in RESULT_COLUMNS if column in table.columns] == table.columns
    assert table.schema["window"] == table.schema["k"] == pl.Int64


def test_averages_and_users_come_from_one_pass(events: pl.DataFrame) -> None:
    table, users = summaries(events, K)
    assert_frame_equal(table, summarise(events, K), check_exact=True)
    whole = users.filter(bucket="all")
    assert_frame_equal(whole, per_user(events, K), check_exact=True)
    for cohort in COHORTS:
        alone = per_user(events, K, cohorts=[cohort])
        assert_frame_equal(alone, whole.filter(cohort=cohort), check_exact=True)


def test_users_have_the_headline_metric_in_each_bucket_of_items(events: pl.DataFrame) -> None:
    table, users = summaries(events, K)
    in_buckets = users.filter(pl.col("bucket") != "all")
    buckets = table.filter(
        pl.col("bucket").str.starts_with("item:"), metric="ndcg", average="macro"
    )
    assert set(in_buckets["metric"]) == {"ndcg"}  # these events have no views
    assert set(in_buckets["bucket"]) == set(buckets["bucket"])
    for bucket, value, n_users in buckets.select("bucket", "value", "n_users").rows():
        rows = in_buckets.filter(bucket=bucket)
        assert (rows["value"].mean(), rows.height) == (pytest.approx(value), n_users)


def test_values_per_user_average_to_the_macro_rows(events: pl.DataFrame) -> None:
    users, table = per_user(events, K), summarise(events, K)
    for (cohort, metric), rows in users.group_by("cohort", "metric"):
        where = {"cohort": cohort, "metric": metric}
        assert rows["value"].mean() == pytest.approx(_value(table, **where))
        assert rows.height == _value(table, "n_users", **where)
        assert rows["n_queries"].sum() == _value(table, "n_queries", **where)
    a = users.filter(
        (pl.col("user") == "a") & (pl.col("cohort") == "all") & (pl.col("metric") == "ndcg")
    )
    assert a.select("value", "n_queries", "n_events").row(0) == (
        pytest.approx(((1 + SECOND) / 2 + THIRD) / 2),
        2,
        3,
    )


def test_ties_count_as_their_expectation(events: pl.DataFrame) -> None:
    scored = with_metrics(events.with_columns(g=pl.lit(0), e=pl.lit(2)), 1)
    assert scored["ndcg"].to_list() == scored["recall"].to_list() == [0.5] * 4
    assert scored["mrr"].to_list() == [0.75] * 4


def test_quadrants_are_disjoint_and_sum_to_all() -> None:
    quadrants = COHORTS[1:5]
    frame = pl.DataFrame({"cohort": [*quadrants, "cold_item"], "user": list("aabbc")})
    sizes = {cohort: frame.filter(in_cohort(cohort)).height for cohort in COHORTS}
    assert sizes == {
        "all": 5,
        "warm_warm": 1,
        "cold_user": 1,
        "cold_item": 2,
        "cold_both": 1,
        "cold_user_any": 2,
        "cold_item_any": 3,
    }
    assert sum(sizes[quadrant] for quadrant in quadrants) == sizes["all"]


def test_cohorts_are_counted_with_users_events_and_share(events: pl.DataFrame) -> None:
    counts = {row["cohort"]: row for row in count_cohorts(events)}
    assert list(counts) == list(COHORTS)
    assert counts["all"] == {"cohort": "all", "users": 2, "events": 4, "share": 1.0}
    assert counts["warm_warm"] == {"cohort": "warm_warm", "users": 1, "events": 2, "share": 0.5}
    assert counts["cold_both"] == {"cohort": "cold_both", "users": 0, "events": 0, "share": 0.0}
    assert sum(counts[quadrant]["events"] for quadrant in COHORTS[1:5]) == 4


def _tabulated(data: Dataset, split: Split) -> pl.DataFrame:
    catalogue, log = Catalogue(data), data.log
    as_of = AsOf(log, len(data.users), len(data.items), catalogue.enters_at, data.half_lives_days)
    queries = ask(log, catalogue, split.rows(STREAM), split.edges)
    judged = judge(
        baselines.popularity(as_of),
        queries,
        data,
        catalogue,
        Views(as_of.counts, 4),
        name="popularity",
    )
    version = np.zeros(len(queries.event), np.int64)
    live_from = np.full(len(version), split.t_test)
    return tabulate(
        judged,
        queries,
        data,
        catalogue,
        as_of,
        *cold(data, split),
        version=version,
        live_from=live_from,
    )


def test_one_row_per_positive_says_who_what_when_and_how_warm(make_data: MakeData) -> None:
    events = [
        (0, 0, 10),
        (1, 0, 20),
        (0, 1, 30, False),  # T_test; no positive
        (1, 1, DAY),
        (2, 2, DAY),
        (2, 0, DAY),  # same block
    ]
    data = make_data(events, released=dict.fromkeys(range(4), 5))
    rows = _tabulated(
        data,
        Split("time", 15, 30, np.array([0, 1, 2, 2, 2, 2], np.int8), np.array([30, DAY, DAY + 1])),
    )
    # the positives of the stream: u1 takes i1, u2 takes i0 and i2; so far i0 has 2 positives, the
    # others none
    assert rows.select("event_id", "query", "user", "item").rows() == [
        (3, 0, "u1", "i1"),
        (4, 1, "u2", "i2"),
        (5, 1, "u2", "i0"),
    ]
    assert rows["window"].to_list() == [1, 1, 1]
    assert rows["n_item"].to_list() == [0, 0, 2]
    assert rows["n_user"].to_list() == [1, 0, 0]
    assert rows["item_age_days"].to_list() == pytest.approx([1 - 5 / DAY] * 3)
    assert rows["cohort"].to_list() == ["cold_item", "cold_both", "cold_user"]
    assert rows["staleness"].to_list() == [1, 1, 1]  # the event at T_test
    # u1 has had i0; u2's other positive is left out
    assert rows["candidates"].to_list() == [
        3,
        3,
        3,
    ]
    assert rows["g"].to_list() == [0, 0, 0]
    assert rows["e"].to_list() == [3, 3, 1]
    assert rows["score"].to_list() == [0, 0, 2]
    assert rows["label"].to_list() == [1, 1, 1]


codes = st.integers(0, 3)
event_lists = st.lists(st.tuples(codes, codes, st.integers(0, 400)), min_size=20, max_size=40)


def _by_hand(rows: list[dict[str, Any]], average: str) -> float:
    """Macro or micro nDCG@10 from (user, query, g, e) alone, in plain Python."""
    queries: dict[tuple[object, object], list[float]] = {}
    for row in rows:
        ranks = range(row["g"] + 1, row["g"] + row["e"] + 1)
        gain = sum(1 / log2(rank + 1) for rank in ranks if rank <= K) / row["e"]
        queries.setdefault((row["user"], row["query"]), []).append(gain)
    users: dict[object, list[float]] = {}
    for (user, _), gains in queries.items():
        users.setdefault(user, []).append(sum(gains) / len(gains))
    if average == "macro":
        return sum(sum(values) / len(values) for values in users.values()) / len(users)
    return sum(sum(values) for values in users.values()) / len(queries)


@given(events=event_lists)
def test_every_row_of_the_results_follows_from_the_events_alone(
    make_data: MakeData, events: list[tuple[int, int, int]]
) -> None:
    data = make_data(events, users=4, items=4, released=dict.fromkeys(range(4), 0), repeats=True)
    assume(len(np.unique(data.log.time)) > 15)
    split = cuts.time(data.log, train=0.4, validation=0.2, windows=2)
    frame = _tabulated(data, split)
    table = summarise(frame, K)
    assert frame.height == len(split.rows(STREAM))
    for row in table.filter(pl.col("metric") == "ndcg").iter_rows(named=True):
        keep = [r for r in frame.to_dicts() if _is_in(r, row)]
        assert row["value"] == pytest.approx(_by_hand(keep, row["average"]), rel=1e-12)
        assert row["n_events"] == len(keep)
        assert row["n_users"] == len({r["user"] for r in keep})
    by_slice = table.filter((pl.col("average") == "macro") & (pl.col("metric") == "ndcg"))
    for kind in ("item:", "user:"):
        assert (
            by_slice.filter(pl.col("bucket").str.starts_with(kind))["n_events"].sum()
            == frame.height
        )
    assert by_slice.filter(pl.col("window") >= 0)["n_events"].sum() == frame.height
    assert by_slice.filter(pl.col("cohort").is_in(COHORTS[1:5]))["n_events"].sum() == frame.height


def _is_in(event: dict[str, object], row: dict[str, object]) -> bool:
    cohort, bucket = str(row["cohort"]), str(row["bucket"])
    if row["window"] not in (-1, event["window"]):
        return False
    if bucket != "all":
        kind, label = bucket.split(":")
        low, _, high = label.removesuffix("+").partition("-")
        n = int(str(event[f"n_{kind}"]))
        if n < int(low) or (not label.endswith("+") and n > int(high or low)):
            return False
    if cohort.endswith("_any"):
        return event["cohort"] in (cohort.removesuffix("_any"), "cold_both")
    return cohort in ("all", event["cohort"])


def test_stopping_and_the_table_agree(make_data: MakeData) -> None:
    draw = np.random.default_rng(0)
    events = [(int(u), int(i), t) for t, (u, i) in enumerate(draw.integers(0, (5, 9), (60, 2)))]
    data = make_data(events, released=dict.fromkeys(range(9), 0), repeats=True)
    split = cuts.time(data.log, train=0.4, validation=0.2, windows=2)
    frame, catalogue = _tabulated(data, split), Catalogue(data)
    as_of = AsOf(
        data.log, len(data.users), len(data.items), catalogue.enters_at, data.half_lives_days
    )
    queries = ask(data.log, catalogue, split.rows(STREAM), split.edges)
    metric = RankingMetric("ndcg", K, len(data.users))
    value = measure(
        baselines.popularity(as_of), queries, data, catalogue, metric, name="popularity"
    )
    assert value == pytest.approx(_value(summarise(frame, K)), rel=1e-12)
