"""Rivals that learn by steps: their formulas by hand, what they see, and when they stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coldlm.asof.catalogue import Catalogue
from coldlm.asof.context import AsOf
from coldlm.config.build import resolve
from coldlm.core.tables import Dataset, Ints
from coldlm.rivals import learned
from coldlm.rivals.bpr import Factors
from coldlm.rivals.gru4rec import Recurrent
from coldlm.rivals.known import Known, Stopping
from coldlm.rivals.learned import OthersOfTheTime, fit, unseen_last
from coldlm.rivals.lightgcn import LAYERS, _graph, _scorer
from coldlm.rivals.sasrec import SelfAttention
from coldlm.rivals.sequences import Sequential, _states_before

MakeData = Callable[..., Dataset]

GRAPHS = ("bpr", "lightgcn")
SEQUENCES = ("sasrec", "gru4rec")
TEXTS = ("dropoutnet", "clcrec")


def _known(data: Dataset, until: int, epochs: int = 30, history: int = 5, seed: int = 1) -> Known:
    catalogue = Catalogue(data)
    sizes = len(data.users), len(data.items)
    as_of = AsOf(data.log, *sizes, catalogue.enters_at, data.half_lives_days)
    rows = np.flatnonzero(data.log.time < until)
    return Known(
        data,
        catalogue,
        as_of,
        rows,
        catalogue.enters_at < until,
        history,
        _vectors(len(data.items)),
        seed,
        0,
        Stopping(epochs=epochs),
    )


def _vectors(n_items: int) -> Tensor:
    """[N, 4]: items 0 to 7 and the 17th are written about alike, and so are all others."""
    first = (np.arange(n_items) < 8) | (np.arange(n_items) == 16)
    noise = 0.1 * np.random.default_rng(3).standard_normal((n_items, 4))
    return torch.from_numpy(noise + np.outer(np.where(first, 1, -1), np.ones(4))).float()


def _make(name: str, known: Known, value: float) -> Callable[[Ints, Ints], Tensor]:
    made: Callable[[Ints, Ints], Tensor] = resolve(f"coldlm.rivals.{name}.{name}")(known, value)
    return made


@pytest.fixture
def two_tastes(make_data: MakeData) -> Dataset:
    """Users 0 to 19 take five of items 0 to 7, users 20 to 39 of items 8 to 15, by second 1,000. At
    2,000 users 40 and 41, of whom nothing is known, begin: with items 0 1 2 and 8 9 10. Item 16, there
    from 1,500 on, is taken by nobody."""
    draw, events = np.random.default_rng(0), []
    for user in range(40):
        for item in draw.choice(8, 5, replace=False):
            events.append((user, int(item) + 8 * (user >= 20), int(draw.integers(1, 1000))))
    for item in range(3):
        events += [(40, item, 2000 + item), (41, 8 + item, 2000 + item)]
    return make_data(events, items=17, released=dict.fromkeys(range(16), 0) | {16: 1500})


@pytest.mark.parametrize("name", [*GRAPHS, *TEXTS])
def test_who_took_alike_is_given_alike(name: str, two_tastes: Dataset) -> None:
    scorer = _make(name, _known(two_tastes, 1000, epochs=100), 0.0)
    users, times = np.array([0, 20, 40, 41]), np.full(4, 3000)
    first = scorer(users, times)
    mine, others = first[:, :8].mean(1), first[:, 8:16].mean(1)
    # a newcomer is placed by what it took since
    assert (mine > others).tolist() == [True, False, True, False]
    before = scorer(np.array([40, 41]), np.array([2000, 2000]))
    assert torch.equal(before[0], before[1])  # nothing is known of either yet


@pytest.mark.parametrize("name", TEXTS)
def test_an_item_that_nobody_took_is_placed_by_its_text(name: str, two_tastes: Dataset) -> None:
    scorer = _make(name, _known(two_tastes, 1000, epochs=100), 0.5)
    scores = scorer(np.array([0, 20, 40, 41]), np.full(4, 3000))
    mean = scores[:, :16].mean(1)
    assert (scores[:, 16] > mean).tolist() == [True, False, True, False]


@pytest.mark.parametrize("name", [*GRAPHS, *SEQUENCES])
def test_items_that_nobody_took_tie_below_all_others(name: str, two_tastes: Dataset) -> None:
    scores = _make(name, _known(two_tastes, 1000, epochs=1), 0.001)(np.array([3]), np.array([3000]))
    assert scores[0, 16] < scores[0, :16].min()
    assert torch.equal(
        unseen_last(torch.tensor([[3.0, 1.0, 2.0, 9.0]]), np.array([True, True, False, False])),
        torch.tensor([[3.0, 1.0, 0.0, 0.0]]),
    )


@pytest.mark.parametrize("name", [*GRAPHS, *SEQUENCES, *TEXTS])
def test_a_seed_says_it_all(name: str, two_tastes: Dataset) -> None:
    ask = np.array([3, 40]), np.array([3000, 3000])
    one, same, other = (
        _make(name, _known(two_tastes, 1000, epochs=2, seed=seed), 0.001)(*ask)
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", SEQUENCES)
def test_what_comes_next_is_learned(name: str, make_data: MakeData) -> None:
    """Each user walks around a ring of 12 items, from wherever: nothing is more popular."""
    events = [(user, (user + step) % 12, 10 * step + 1) for user in range(48) for step in range(9)]
    data = make_data([*events, (48, 5, 500)], repeats=True, released=dict.fromkeys(range(12), 0))
    scorer = _make(name, _known(data, 400, epochs=60), 0.01)
    users, times = np.arange(12), np.full(12, 400)
    assert scorer(users, times).argmax(1).tolist() == [(user + 9) % 12 for user in range(12)]
    assert int(scorer(np.array([48]), np.array([501])).argmax()) == 6


@pytest.mark.parametrize("network", [SelfAttention(9, 6), Recurrent(9)], ids=SEQUENCES)
def test_a_place_knows_itself_and_those_before(network: Sequential) -> None:
    network.eval()
    one, other = torch.tensor([[9, 1, 2, 3, 4]]), torch.tensor([[9, 1, 2, 7, 7]])
    with torch.no_grad():
        a, b = network.states(one)[0], network.states(other)[0]
    torch.testing.assert_close(a[:3], b[:3])
    assert not torch.allclose(a[3:], b[3:], atol=1e-3)


def test_an_event_sees_nothing_of_its_own_second() -> None:
    class Sums(Sequential):
        """A place is the set of items up to it."""

        def states(self, inputs: Tensor) -> Tensor:
            return nn.functional.one_hot(inputs, 10).cumsum(1)

    item, time = np.array([1, 2, 3, 4, 5, 6]), np.array([10, 20, 20, 30, 7, 7])
    found = _states_before(Sums(9), item, time, np.array([0, 4, 6]))
    seen = [[i for i in row.nonzero()[:, 0].tolist() if i != 9] for row in found]
    assert seen == [[], [1], [1], [1, 2, 3], [], []]


def test_bpr_is_its_formula() -> None:
    factors = Factors(2, 3, seed=1)
    p, q = factors.users.detach(), factors.items.detach()
    expected = []
    for u, i, j in ((0, 1, 2), (1, 0, 1)):
        x = float(p[u] @ (q[i] - q[j]))
        norms = float(p[u] @ p[u] + q[i] @ q[i] + q[j] @ q[j])
        expected.append(np.log1p(np.exp(-x)) + 0.3 / 2 * norms)
    got = factors.loss(torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([2, 1]), 0.3)
    assert got.item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_lightgcn_places_a_user_of_its_graph_where_the_graph_has_it(two_tastes: Dataset) -> None:
    known = _known(two_tastes, 1000)
    factors = Factors(42, 17, seed=1)
    e = torch.cat([factors.users, factors.items]).detach().double()
    taken = torch.from_numpy(known.taken().toarray())
    whole = torch.zeros(59, 59, dtype=torch.float64)
    whole[:42, 42:], whole[42:, :42] = taken, taken.T
    size = whole.sum(1).clamp(min=1)
    normed = whole / (size[:, None] * size[None, :]).sqrt()
    layers = [e]
    for _ in range(LAYERS):
        layers.append(normed @ layers[-1])
    mean = torch.stack(layers).mean(0)
    expected = mean[:40] @ mean[42:].T
    scores = _scorer(known, factors, _graph(known))(np.arange(40), np.full(40, 1500))
    torch.testing.assert_close(scores[:, :16], expected[:, :16], atol=1e-6, rtol=1e-4)


def test_what_stands_against_an_event_was_there_and_is_not_the_users(make_data: MakeData) -> None:
    # items 0 to 3 are there from 0 on, 4 from 50 on; user 0 takes 0, then 1
    released = dict.fromkeys(range(4), 0) | {4: 50}
    data = make_data([(0, 0, 10), (0, 1, 60), (1, 2, 60, 0)], items=5, released=released)
    known = _known(data, 100)
    draw = OthersOfTheTime(known).draw
    rng = np.random.default_rng(0)
    early, late = (draw(np.full(4000, row), rng) for row in (0, 1))
    assert np.bincount(early, minlength=5).tolist()[:2] == [0, 0]
    assert sorted(set(early)) == [2, 3]
    assert sorted(set(late)) == [2, 3, 4]
    assert abs((late == 4).mean() - 1 / 3) < 0.03
    short = make_data([(0, 0, 10), (0, 1, 60)], items=2, released={0: 0, 1: 0})
    assert OthersOfTheTime(_known(short, 100)).draw(np.array([0, 1]), rng).tolist() == [-1, -1]
    gone = make_data([(0, 1, 60)], items=3, released={0: 0, 1: 55, 2: 55}, ttl_seconds=20)
    assert set(OthersOfTheTime(_known(gone, 100)).draw(np.zeros(50, np.int64), rng)) == {2}


class _Number(nn.Module):
    """One weight that grows by about 1 an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


def _grow(known: Known) -> tuple[_Number, int]:
    module, epochs = _Number(), 0

    def losses(epoch: int) -> Iterator[Tensor]:
        nonlocal epochs
        epochs = epoch
        yield -module.weight.sum()

    fit(
        known,
        module,
        losses,
        lambda: lambda users, times: module.weight,
        name="it",
        rate=1.0,
        every=3,
    )
    return module, epochs


def test_training_stops_on_validation_and_keeps_what_was_best(
    make_data: MakeData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learned, "PATIENCE", 2)
    known = _known(make_data([(0, 0, 1)]), 10)
    none = np.zeros(0, np.int64)
    known.stopping.measure = lambda scorer: -abs(scorer(none, none).item() - 7)
    known.stopping.epochs = None
    module, epochs = _grow(known)
    assert known.stopping.epochs == 6  # of 3, 6, 9, 12
    assert epochs == 12
    assert module.weight.item() == pytest.approx(6, abs=1e-3)


def test_what_validation_chose_is_how_long_all_is_learned_from(make_data: MakeData) -> None:
    module, epochs = _grow(_known(make_data([(0, 0, 1)]), 10, epochs=4))
    assert epochs == 4
    assert module.weight.item() == pytest.approx(4, abs=1e-3)
