from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.core.columns import VIEWS, WARMUP_EDGES, view_columns
from coldlm.core.compiled import SWITCH
from coldlm.core.errors import ScoreError
from coldlm.core.tables import DAY, UNKNOWN, Dataset, Impressions, Ints, Queries
from coldlm.data.simulated import load
from coldlm.evaluate import judge as module
from coldlm.evaluate.judge import CHUNK, Judged, ScoreFunction, Views, judge, measure
from coldlm.evaluate.metrics import FORMULAS
from coldlm.evaluate.ranking_metric import RankingMetric
from coldlm.split.queries import ask, ask_lists

MakeData = Callable[..., Dataset]
Shown = Callable[..., Impressions]
ShowBlocks = Callable[..., Impressions]

codes = st.integers(0, 3)
event_lists = st.lists(
    st.tuples(codes, codes, st.integers(0, 12), st.booleans()), min_size=1, max_size=30
)


def _queries(data: Dataset) -> Queries:
    return ask(data.log, Catalogue(data), np.arange(len(data.log)))


def _judge(data: Dataset, scorer: ScoreFunction, queries: Queries | None = None) -> Judged:
    queries = _queries(data) if queries is None else queries
    return judge(scorer, queries, data, Catalogue(data), _views(data), name="toy")


def _views(data: Dataset, shelf: int = 4) -> Views:
    return Views(_as_of(data).counts, shelf)


def _as_of(data: Dataset) -> AsOf:
    catalogue = Catalogue(data)
    sizes = len(data.users), len(data.items)
    return AsOf(data.log, *sizes, catalogue.enters_at, data.half_lives_days, catalogue.masked_until)


def _fixed(*row: float) -> ScoreFunction:
    return lambda users, times: torch.tensor(row).expand(len(users), -1)


def _tied(users: Ints, times: Ints, n_items: int = 4) -> Tensor:
    """Scores 0, 1 and 2 that depend on user, time and item only."""
    table = (users[:, None] * 7 + times[:, None] * 3 + np.arange(n_items)[None, :] * 5) % 11 % 3
    return torch.from_numpy(table.astype(np.float32))


@pytest.fixture(scope="module")
def world() -> Dataset:
    """Several chunks of queries and a rest; times are rounded, so that many blocks hold several
    positives."""
    data = load(users=40, items=200, events=800)
    return replace(data, log=replace(data.log, time=data.log.time // (2 * DAY) * (2 * DAY)))


def _towers(data: Dataset) -> ScoreFunction:
    draw = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 48, generator=draw) for n in (len(data.users), len(data.items)))
    return lambda u, times: users[torch.from_numpy(u)] @ items.T


def test_places_of_a_toy_by_eye(make_data: MakeData) -> None:
    events = [
        (0, 1, 10),
        (0, 2, 20),  # item 1 is out, had: 3 is above, 0 is level
        (1, 0, 20),  # 1 and 3 are above, 2 is level
    ]
    judged = _judge(
        make_data(events, released=dict.fromkeys(range(4), 0)), _fixed(1.0, 5.0, 1.0, 7.0)
    )
    assert judged.g.tolist() == [1, 1, 2]
    assert judged.e.tolist() == [1, 2, 2]
    assert judged.candidates.tolist() == [4, 3, 4]
    assert judged.score.tolist() == [5.0, 1.0, 1.0]
    assert judged.g.dtype == judged.candidates.dtype == np.int64
    assert judged.score.dtype == np.float64


def test_the_other_positives_of_a_block_leave_the_candidates(make_data: MakeData) -> None:
    data = make_data(
        [(0, 0, 10), (0, 1, 10), (0, 2, 10)], items=4, released=dict.fromkeys(range(4), 0)
    )
    judged = _judge(data, _fixed(4.0, 3.0, 2.0, 1.0))
    assert judged.g.tolist() == [0, 0, 0]  # without the rule: 0 1 2
    assert judged.e.tolist() == [1, 1, 1]
    assert judged.candidates.tolist() == [2, 2, 2]  # itself and item 3


@pytest.mark.parametrize("repeats", [False, True])
@given(events=event_lists, released=st.dictionaries(codes, st.integers(0, 12)))
def test_places_equal_a_recount(
    make_data: MakeData,
    repeats: bool,
    events: list[tuple[int, int, int, bool]],
    released: dict[int, int],
) -> None:
    data = make_data(events, users=4, items=4, released=released, repeats=repeats)
    queries, catalogue, log = _queries(data), Catalogue(data), data.log
    judged = _judge(data, _tied)
    p = 0
    for q in range(len(queries)):
        block = log.item[queries.event[queries.start[q] : queries.start[q + 1]]].tolist()
        score = _tied(queries.user[q : q + 1], queries.time[q : q + 1])[0].tolist()
        is_there = catalogue.mask(queries.user[q : q + 1], queries.time[q : q + 1])[0]
        rivals = [item for item in range(4) if is_there[item] and item not in block]
        for item in block:
            assert judged.g[p] == sum(score[r] > score[item] for r in rivals)
            assert judged.e[p] == 1 + sum(score[r] == score[item] for r in rivals)
            assert judged.candidates[p] == 1 + len(rivals)
            assert judged.score[p] == score[item]
            p += 1
    assert p == len(judged.g)


def test_no_query_is_judged_to_nothing(make_data: MakeData) -> None:
    judged = _judge(make_data([(0, 0, 10)]), _tied)
    assert [len(getattr(judged, field.name)) for field in fields(judged)] == [0] * 12


@pytest.mark.parametrize(
    ("first", "last"), [(0, 1), (0, CHUNK + 1), (CHUNK, 3 * CHUNK - 5), (17, 150), (200, 201)]
)
def test_a_result_does_not_depend_on_the_queries_beside_it(
    world: Dataset, first: int, last: int
) -> None:
    queries, scorer = _queries(world), _towers(world)
    assert 3 * CHUNK < len(queries) < len(queries.event) - CHUNK
    whole = _judge(world, scorer, queries)
    part = _judge(world, scorer, queries.slice(first, last))
    rows = slice(queries.start[first], queries.start[last])
    for field in fields(Judged):
        assert getattr(part, field.name).tobytes() == getattr(whole, field.name)[rows].tobytes()


def test_the_scorer_always_sees_a_full_chunk_and_real_queries(world: Dataset) -> None:
    sizes: list[int] = []
    asked: set[tuple[int, int]] = set()
    queries = _queries(world)

    def scorer(users: Ints, times: Ints) -> Tensor:
        sizes.append(len(users))
        asked.update(zip(users.tolist(), times.tolist(), strict=True))
        return torch.zeros(len(users), len(world.items))

    _judge(world, scorer, queries)
    assert set(sizes) == {CHUNK}
    assert asked == set(zip(queries.user.tolist(), queries.time.tolist(), strict=True))


@pytest.mark.parametrize("first", [0, CHUNK])
def test_a_part_equals_its_rows_of_the_whole(world: Dataset, first: int) -> None:
    """Whatever it ends with, and wherever inside a chunk it begins."""
    queries, scorer = _queries(world), _towers(world)
    whole = _judge(world, scorer, queries)
    for since, last in ((first, first + 1), (first + 9, first + 50), (first + 50, len(queries))):
        part = _judge(world, scorer, queries.slice(first, last))
        part = part.rows(slice(int(queries.start[since] - queries.start[first]), None))
        rows = slice(*queries.start[[since, last]])
        for field in fields(Judged):
            found = getattr(part, field.name)
            assert np.array_equal(found, getattr(whole, field.name)[rows])


def test_a_window_is_chunked_alike_alone_and_in_the_stream(world: Dataset) -> None:
    queries, asked = _queries(world), list[Ints]()
    queries = replace(queries, window=np.repeat([0, 1], [CHUNK + 9, len(queries) - CHUNK - 9]))

    def scorer(users: Ints, times: Ints) -> Tensor:
        asked.append(times)
        return torch.zeros(len(users), len(world.items))

    _judge(world, scorer, queries)
    whole, asked[:] = sorted(map(list, asked)), []
    for window in (0, 1):
        _judge(world, scorer, queries.where(queries.window == window))
    assert sorted(map(list, asked)) == whole


def test_ranks_share_the_chunks_and_their_sum_is_the_whole(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries, scorer = _queries(world), _towers(world)
    whole = _judge(world, scorer, queries)
    metric = RankingMetric("ndcg", 10, len(world.users))
    value = measure(scorer, queries, world, Catalogue(world), metric, name="toy")
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    shares, metrics = [], []
    for rank in (0, 1):
        monkeypatch.setattr(module, "_share", lambda rank=rank: (rank, 2))
        shares.append(_judge(world, scorer, queries))
        metrics.append(RankingMetric("ndcg", 10, len(world.users)))
        measure(scorer, queries, world, Catalogue(world), metrics[-1], name="toy")
    assert ((shares[0].e > 0) != (shares[1].e > 0)).all()
    for field in fields(Judged):
        assert np.array_equal(
            *(sum(getattr(s, field.name) for s in shares), getattr(whole, field.name))
        )
    metrics[0].total += metrics[1].total
    metrics[0].weight += metrics[1].weight
    metrics[0]._computed = None
    assert float(metrics[0].compute()) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("formula", "k"), [("ndcg", 10), ("recall", 5), ("mrr", 0)])
@pytest.mark.parametrize("average", ["macro", "micro"])
def test_measuring_equals_judging_and_averaging(
    world: Dataset, formula: str, k: int, average: str
) -> None:
    queries, scorer = _queries(world), _towers(world)
    metric = RankingMetric(formula, k, len(world.users), average)  # type: ignore[arg-type]
    measured = measure(scorer, queries, world, Catalogue(world), metric, name="toy")
    judged = _judge(world, scorer, queries)
    value = FORMULAS[formula](torch.from_numpy(judged.g), torch.from_numpy(judged.e), k).numpy()
    per_query = [value[a:b].mean() for a, b in zip(queries.start, queries.start[1:], strict=False)]
    if average == "macro":
        expected = np.mean(
            [np.mean(np.array(per_query)[queries.user == u]) for u in np.unique(queries.user)]
        )
    else:
        expected = np.mean(per_query)
    assert measured == pytest.approx(expected, rel=1e-12)


def test_a_positive_outside_the_candidates_is_refused_by_name(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (0, 1, 20)], released={0: 0})
    blind = Queries(np.array([0]), np.array([20]), np.array([0]), np.array([0, 1]), np.array([1]))
    with pytest.raises(ScoreError, match=r"item 'i1' is a positive at time 20 but not a candidate"):
        _judge(data, _fixed(0.0, 0.0), blind)


@pytest.mark.parametrize(
    ("scorer", "what"),
    [
        (
            lambda users, times: torch.zeros(len(users), 2, dtype=torch.float16),
            r"\(1, 2\) torch.float16",
        ),
        (lambda users, times: torch.zeros(len(users), 3), r"\(1, 3\) torch.float32"),
        (lambda users, times: torch.zeros(len(users)), r"\(1,\) torch.float32"),
    ],
)
def test_scores_of_another_type_or_shape_are_refused(
    make_data: MakeData, scorer: ScoreFunction, what: str
) -> None:
    with pytest.raises(
        ScoreError, match=rf"'toy' returned {what}, expected \(1, 2\) torch.float32"
    ):
        _judge(make_data([(0, 0, 10)], released={0: 0, 1: 0}), scorer)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("item", [0, 1])
def test_a_score_that_is_not_finite_names_scorer_item_user_and_time(
    make_data: MakeData, bad: float, item: int
) -> None:
    data = make_data([(0, 0, 10)], released={0: 0, 1: 0})
    scores = [0.0, 0.0]
    scores[item] = bad
    scorer, queries = _fixed(*scores), _queries(data)
    said = rf"scorer 'toy' gave item 'i{item}' the score {bad} for user 'u0' at time 10"
    with pytest.raises(ScoreError, match=said):
        _judge(data, scorer)
    with pytest.raises(ScoreError, match=said):
        measure(scorer, queries, data, Catalogue(data), RankingMetric("ndcg", 10, 1), name="toy")


def test_what_is_no_candidate_may_have_any_score(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10), (0, 1, 20)], released={0: 0, 1: 15})
    scorer = _fixed(0.0, float("nan"))
    first = _queries(data).slice(0, 1)
    assert _judge(data, scorer, first).g.tolist() == [0]


def test_progress_is_told_after_every_chunk(world: Dataset) -> None:
    told: list[int] = []
    queries = _queries(world)
    views = _views(world)
    judge(_towers(world), queries, world, Catalogue(world), views, name="toy", on_chunk=told.append)
    whole, rest = divmod(len(queries), CHUNK)
    assert rest
    assert told == [CHUNK] * whole + [rest]


def _bucket(n: int) -> int:
    return sum(n >= edge for edge in WARMUP_EDGES)


@pytest.mark.parametrize("slot", [None, 10 * DAY])
def test_views_are_parts_of_the_candidates_by_what_can_be_counted(
    world: Dataset, slot: int | None
) -> None:
    if slot is not None:  # what enters with a slot is counted once the slot is over
        unknown = np.full(len(world.items), UNKNOWN)
        world = replace(world, items=replace(world.items, released_at=unknown), slot=slot)
    scorer, queries, shelf = _towers(world), _queries(world), 2
    catalogue, as_of = Catalogue(world), _as_of(world)
    judged = judge(scorer, queries, world, catalogue, _views(world, shelf), name="toy")
    row, seen = 0, set()
    for q in range(len(queries)):
        user, time = queries.user[[q]], queries.time[[q]]
        scores, mask = scorer(user, time)[0].numpy(), catalogue.mask(user, time)[0]
        positives = world.log.item[queries.event[queries.start[q] : queries.start[q + 1]]]
        counts = as_of.counts(time)[0]
        for positive in positives:
            others = [i for i in np.flatnonzero(mask) if i not in positives]
            parts = {
                "": others,
                "peers_": [i for i in others if _bucket(counts[i]) == _bucket(counts[positive])],
                "shelf_": [i for i in others if counts[i] <= shelf],
            }
            for prefix, part in parts.items():
                above = sum(scores[i] > scores[positive] for i in part)
                level = sum(scores[i] == scores[positive] for i in part)
                found = (
                    getattr(judged, f"{prefix}{name}")[row] for name in ("g", "e", "candidates")
                )
                assert tuple(found) == (above, level + 1, len(part) + 1)
            assert judged.n_shown[row] == counts[positive]
            assert judged.on_shelf[row] == (counts[positive] <= shelf)
            seen.add(_bucket(counts[positive]))
            row += 1
    assert row == len(judged.g)
    assert len(seen) > 3


@pytest.mark.parametrize("bits", [torch.float32, torch.float64])
def test_places_are_the_same_where_nothing_is_compiled(
    world: Dataset, bits: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = _towers(world)

    def rounded(users: Ints, times: Ints) -> Tensor:  # so that many are level
        return (towers(users, times) * 2).round().to(bits)

    compiled = _judge(world, rounded)
    monkeypatch.setenv(SWITCH, "0")
    plain = _judge(world, rounded)
    assert compiled.e.max() > 2
    for field in fields(Judged):
        assert np.array_equal(getattr(compiled, field.name), getattr(plain, field.name)), field.name


def test_of_large_catalogues_fewer_queries_are_scored_at_once(
    world: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def scorer(users: Ints, times: Ints) -> Tensor:
        sizes.append(len(users))
        return _tied(users, times, len(world.items))

    whole = _judge(world, scorer)
    monkeypatch.setattr(module, "AT_ONCE", 20 * len(world.items))
    parts = _judge(world, scorer)
    assert set(sizes) == {CHUNK, 16}
    for field in fields(Judged):
        assert np.array_equal(getattr(whole, field.name), getattr(parts, field.name)), field.name


def test_among_peers_a_scorer_that_knows_counts_alone_is_a_random_one(world: Dataset) -> None:
    as_of = _as_of(world)
    edges = np.array(WARMUP_EDGES)

    def score(users: Ints, times: Ints) -> Tensor:
        bucket = np.searchsorted(edges, as_of.counts(times), side="right")
        return torch.from_numpy(bucket.astype(np.float32))

    judged = _judge(world, score)
    assert judged.g.any()
    assert not judged.peers_g.any()
    assert np.array_equal(judged.peers_e, judged.peers_candidates)
    constant = _judge(world, lambda users, times: torch.zeros(len(users), len(world.items)))
    for view in VIEWS:
        g, e, size = (getattr(constant, name) for name in view_columns(view))
        assert not g.any()
        assert np.array_equal(e, size)


def test_scores_of_64_bits_are_told_apart(make_data: MakeData) -> None:
    data = make_data([(0, 0, 10)], released={0: 0, 1: 0})
    fine = torch.tensor([1.0, 1.0 + 1e-12], dtype=torch.float64)
    assert _judge(data, lambda users, times: fine.expand(len(users), -1)).g.tolist() == [1]


# --- lists as they were shown -----------------------------------------------------------------------------------------


def _judge_lists(data: Dataset, scorer: ScoreFunction, lists: Impressions) -> Judged:
    return _judge(data, scorer, ask_lists(data.log, lists, np.arange(len(data.log))))


def test_places_in_lists_by_eye(make_data: MakeData, shown: Shown) -> None:
    data = make_data([(0, 1, 10), (0, 2, 20), (0, 1, 30), (0, 3, 30)], items=5)
    lists = shown(
        (0, 10, "0 1*"),  # item 1 is new to the catalogue
        (0, 20, "4 2* 0 0"),  # item 0 is level, and shown twice
        (0, 30, "1* 0 3* 4"),  # item 1 was had; 3 is left out when 1 is ranked
    )
    judged = _judge_lists(data, _fixed(1.0, 5.0, 1.0, 7.0, 8.0), lists)
    assert judged.g.tolist() == [0, 1, 1, 1]
    assert judged.e.tolist() == [1, 3, 1, 1]
    assert judged.candidates.tolist() == [2, 4, 3, 3]
    assert judged.score.tolist() == [5.0, 1.0, 5.0, 7.0]


def test_an_item_that_was_not_shown_may_have_any_score(make_data: MakeData, shown: Shown) -> None:
    data = make_data([(0, 1, 10), (1, 1, 10)], items=4)
    # the first list is shorter: what fills it up is item 0
    lists = shown((0, 10, "1* 2"), (1, 10, "2 1* 2"))
    assert _judge_lists(data, _fixed(float("nan"), 1.0, 2.0, float("inf")), lists).g.tolist() == [
        1,
        2,
    ]
    with pytest.raises(
        ScoreError, match=r"'toy' gave item 'i2' the score nan for user 'u0' at time 10"
    ):
        _judge_lists(data, _fixed(0.0, 1.0, float("nan"), 0.0), lists)


@given(draw=st.data())
def test_places_in_lists_equal_a_recount(
    make_data: MakeData, shown: Shown, draw: st.DataObject
) -> None:
    word = st.sampled_from([f"{item}{star}" for item in range(4) for star in ("", "*")])
    words = draw.draw(st.lists(st.lists(word, min_size=2), min_size=1))
    events = [
        (q % 3, int(word[0]), q) for q, row in enumerate(words) for word in row if "*" in word
    ]
    data = make_data([*events, (0, 0, 999)], users=3, items=4)
    lists = shown(*((q % 3, q, " ".join(row)) for q, row in enumerate(words)))
    judged, p = _judge_lists(data, _tied, lists), 0
    for q, row in enumerate(words):
        clicks, others = (
            [int(w[0]) for w in row if ("*" in w) == is_click] for is_click in (True, False)
        )
        score = _tied(np.array([q % 3]), np.array([q]))[0].tolist()
        for item in clicks if others else []:
            assert judged.g[p] == sum(score[r] > score[item] for r in others)
            assert judged.e[p] == 1 + sum(score[r] == score[item] for r in others)
            assert judged.candidates[p] == 1 + len(others)
            assert judged.score[p] == score[item]
            p += 1
    assert p == len(judged.g)


def test_a_list_does_not_depend_on_the_lists_beside_it_and_stopping_agrees(
    world: Dataset, show_blocks: ShowBlocks
) -> None:
    lists, scorer = show_blocks(world), _towers(world)
    queries = ask_lists(world.log, lists, np.arange(len(world.log)))
    whole = _judge(world, scorer, queries)
    assert len(queries) > 2 * CHUNK
    for first, last in ((0, 1), (17, 150), (CHUNK, 2 * CHUNK)):
        part = _judge(world, scorer, queries.slice(first, last))
        rows = slice(queries.start[first], queries.start[last])
        for field in fields(Judged):
            assert getattr(part, field.name).tobytes() == getattr(whole, field.name)[rows].tobytes()
    metric = RankingMetric("ndcg", 10, len(world.users), "micro")
    measured = measure(scorer, queries, world, Catalogue(world), metric, name="toy")
    value = FORMULAS["ndcg"](torch.from_numpy(whole.g), torch.from_numpy(whole.e), 10).numpy()
    by_query = [value[a:b].mean() for a, b in zip(queries.start, queries.start[1:], strict=False)]
    assert measured == pytest.approx(np.mean(by_query), rel=1e-12)
