"""One list of checks that every selection strategy passes, those of other packages too."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from outside import entry_points_of, examples, in_path, install

import tidemark.strategies
from benchmarks.labels.proposal_streams import pipeline
from kernels import unit
from tidemark.errors import ConfigError
from tidemark.pipeline.model import Selection
from tidemark.selection.choice import choose
from tidemark.selection.clock import Watermarks
from tidemark.selection.proposals import active_rows, explore_rows
from tidemark.selection.tiles import OpenTile, Part, Proposal
from tidemark.strategies import STRATEGIES, Pool, Scored, Strategy, narrowed
from tools.reference import GENERATED

PICKING = [*(name for name, kind in STRATEGIES.own.items() if kind.ranks), "elsewhere:Newest"]


class Newest(Strategy):
    """A strategy of somebody else's: the latest events."""

    name = "newest"
    source = "a test"
    fails = "always"
    options = {"beta": 1.0}  # noqa: RUF012

    def pick(self, pool: Pool, slots: int, seed: int) -> np.ndarray:  # noqa: ARG002
        return np.argsort([-row.time for row in pool.rows], kind="stable")[:slots]  # type: ignore[attr-defined]


class Nameless(Strategy):
    source = "a test"


@pytest.fixture(autouse=True, scope="module")
def _elsewhere() -> Iterator[None]:
    module = types.ModuleType("elsewhere")
    module.Newest, module.Nameless = Newest, Nameless  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "elsewhere", module)
        yield


def selection_of(policy: str, **settings: object) -> Selection:
    return pipeline(policy=policy, budget=6, explore=1, **settings).selection


def made(name: str) -> Strategy:
    return STRATEGIES.get(name)(selection_of(name))


def rows_of(seed: int, n: int, classes: int, *, gaps: float = 0.2, ties: bool = True) -> list[Proposal]:
    """Scored proposals: ties, missing values, a column of nothing else, rows that are copies."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.7), n)
    if ties:
        p[rng.random(n) < 0.3] = np.eye(classes)[0]
    x = np.round(rng.normal(size=(n, 3)), 1)
    x[rng.random(x.shape) < gaps] = math.nan
    x[:, 2] = math.nan
    return [
        Proposal(
            event_id=f"e{row:04}",
            business_id=None,
            key=None,
            time=int(rng.integers(1_000)),
            coin=int(rng.integers(2**63)),
            draw=int(rng.integers(2**63)),
            score=0.0,
            uncertainty=0.0,
            probabilities=p[row].tolist(),
            model="m1",
            features={"x": _present(x[row, 0]), "y": _present(x[row, 1]), "z": _present(x[row, 2])},
            context={},
        )
        for row in range(n)
    ]


def _present(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def scored(strategy: Strategy, rows: list[Proposal]) -> list[Proposal]:
    """Rows with the strategy's score, in the order in which a tile holds them."""
    if not rows:
        return []
    names = Proposal.__slots__
    table = np.array([[np.nan if v is None else v for v in row.features.values()] for row in rows])
    given_rows = Scored(
        np.array([row.probabilities for row in rows]),
        table,
        np.array([row.draw for row in rows], np.uint64),
        1,
        object(),
    )
    values = strategy.score(given_rows).tolist()
    assert not any(math.isinf(value) for value in values)
    found = [
        Proposal(**{**{name: getattr(row, name) for name in names}, "score": value})
        for row, value in zip(rows, values, strict=True)
    ]
    return sorted(found, key=lambda row: row.by_score)


CASES = (
    st.integers(0, 2**32 - 1),
    st.integers(0, 40),
    st.integers(2, 5),
    st.integers(0, 12),
    st.integers(0, 2**64 - 1),
)


@pytest.mark.parametrize("name", PICKING)
@given(*CASES)
@settings(max_examples=15, deadline=None)
def test_picks_are_different_rows_no_more_than_asked_for_and_the_same_again(
    name: str, seed: int, n: int, classes: int, slots: int, draw: int
) -> None:
    strategy = made(name)
    pool = Pool(scored(strategy, rows_of(seed, n, classes)), events=n)
    picks = strategy.pick(pool, min(slots, n), draw).tolist()
    assert len(set(picks)) == len(picks) == min(slots, n)
    assert all(0 <= place < n for place in picks)
    again = STRATEGIES.get(name)(selection_of(name))
    assert again.pick(Pool(list(pool.rows), events=n), min(slots, n), draw).tolist() == picks


@pytest.mark.parametrize("name", PICKING)
@given(*CASES)
@settings(max_examples=10, deadline=None)
def test_a_tile_gives_the_same_candidates_in_whatever_order_its_events_come(
    name: str, seed: int, n: int, classes: int, slots: int, draw: int
) -> None:
    strategy = made(name)
    rows, selection = (
        scored(strategy, rows_of(seed, n, classes)),
        selection_of(name).model_copy(update={"budget": max(1, slots)}),
    )
    shuffled = [rows[i] for i in np.random.default_rng(draw % 2**32).permutation(len(rows))]
    tiles = [tile_of(selection, each) for each in (rows, shuffled)]
    first, second = ([(p.proposal.event_id, p.reason) for p in choose(tile, selection, None)] for tile in tiles)
    assert first == second
    assert len(first) == min(selection.budget, n)


def tile_of(selection: Selection, rows: list[Proposal], unsure: float | None = 0.5) -> OpenTile:
    """A tile as two records make it, merged."""
    tile = OpenTile(7, 0, Watermarks.unknown(1), 7, explore_rows(selection) - 1, active_rows(selection))
    for half in (rows[::2], rows[1::2]):
        coins = sorted(half, key=lambda row: row.by_coin)[: explore_rows(selection)]
        best = sorted(half, key=lambda row: row.by_score)[: active_rows(selection)]
        if half:
            tile.merge(Part(7, len(half), len(coins), len(half), coins, best, unsure), "m1")
    return tile


@pytest.mark.parametrize("name", list(STRATEGIES.own))
@pytest.mark.parametrize("unsure", [None, 0.0, 0.4, 1.0])
def test_what_is_drawn_is_the_smallest_coins_with_their_inclusion_probability(name: str, unsure: float | None) -> None:
    strategy, selection = made(name), selection_of(name)
    rows = scored(strategy, rows_of(3, 60, 2))
    picks = list(choose(tile_of(selection, rows, unsure), selection, None))
    drawn = [pick for pick in picks if pick.reason == "explore"]
    coins = sorted(row.by_coin for row in rows)
    share = strategy.random_share(unsure or 0.0) if unsure is not None or not strategy.ranks else 0.0
    assert len(drawn) == max(1, round(share * selection.budget))
    assert [pick.proposal.by_coin for pick in drawn] == coins[: len(drawn)]
    assert {pick.inclusion_probability for pick in drawn} == {unit(coins[len(drawn)][0])}
    assert {pick.inclusion_probability for pick in picks if pick.reason != "explore"} <= {None}
    assert len(picks) == selection.budget
    assert strategy.draws or share == 0.0


@pytest.mark.parametrize("name", list(STRATEGIES.own))
def test_a_mixture_draws_twice_as_large_a_share_as_the_model_is_unsure_whatever_the_strategy(name: str) -> None:
    selection = pipeline(policy=name, budget=10, explore=1, mixed=True).selection
    rows = scored(STRATEGIES.own[name](selection), rows_of(3, 60, 2))
    for unsure, share in ((0.0, 0.1), (0.2, 0.4), (0.5, 1.0), (1.0, 1.0)):
        picks = list(choose(tile_of(selection, rows, unsure), selection, None))
        drawn = sum(pick.reason == "explore" for pick in picks)
        assert drawn == (10 if name == "random" else 10 * share)
        assert len(picks) == 10


@pytest.mark.parametrize("name", PICKING)
@pytest.mark.parametrize("kind", ["one class", "fifty classes", "copies", "nothing known", "one row"])
def test_what_is_hard_is_answered_all_the_same(name: str, kind: str) -> None:
    strategy = made(name)
    rows = rows_of(1, 1 if kind == "one row" else 30, 50 if kind == "fifty classes" else 2, gaps=0.2)
    names = Proposal.__slots__

    def changed(row: Proposal) -> Proposal:
        values = {name: getattr(row, name) for name in names}
        if kind == "one class":
            values["probabilities"] = [1.0, 0.0]
        if kind == "copies":
            values |= {"features": rows[0].features, "probabilities": rows[0].probabilities}
        if kind == "nothing known":
            values["features"] = dict.fromkeys(row.features)
        return Proposal(**values)

    ranked = scored(strategy, [changed(row) for row in rows])
    picks = strategy.pick(Pool(ranked, events=len(ranked)), min(5, len(ranked)), 1).tolist()
    assert len(set(picks)) == len(picks) == min(5, len(ranked))


@pytest.mark.parametrize("name", PICKING)
def test_a_score_depends_on_the_event_alone(name: str) -> None:
    """Batches are cut anywhere, and what one proposes is merged with what others did."""
    strategy, rows = made(name), rows_of(5, 40, 3)
    whole = {row.event_id: row.score for row in scored(strategy, rows)}
    for part in (rows[:1], rows[10:20], rows[::-1]):
        assert {row.event_id: row.score for row in scored(strategy, part)}.items() <= whole.items()


@pytest.mark.parametrize("name", list(STRATEGIES.own))
def test_each_says_who_described_it_where_it_fails_and_is_in_the_documentation(name: str) -> None:
    kind = STRATEGIES.own[name]
    assert kind.source
    assert kind.fails
    assert kind.__doc__
    assert f"| `{name}` |" in GENERATED["reference/strategies.md"]()


def test_a_file_of_the_package_adds_a_strategy_and_nothing_else_need_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from tidemark.strategies.base import Strategy\n"
        "class Mine(Strategy):\n"
        "    '''Mine.'''\n"
        "    name = 'mine'\n    source = 'me'\n    fails = 'always'\n"
    )
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    package = tidemark.strategies
    before = set(STRATEGIES.own)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    try:
        assert set(STRATEGIES.own) - before == {"mine"}
        assert STRATEGIES.get("mine").source == "me"
    finally:
        sys.modules.pop("tidemark.strategies.mine", None)


def test_the_names_of_strategies_are_known_without_importing_one() -> None:
    program = (
        "import sys\nfrom tidemark.strategies import STRATEGIES\n"
        "assert 'margin' in STRATEGIES.own and 'none' not in STRATEGIES.own and len(STRATEGIES.names()) > 15\n"
        "print({'numpy', 'numba', 'tidemark.strategies.base'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "set()\n"
    assert all(kind.name == name for name, kind in STRATEGIES.all().items())


def test_a_strategy_of_another_package_is_named_in_a_pipeline_file_and_chooses_cases(tmp_path: Path) -> None:
    """The example of docs/contributing/extending.md, as it stands there."""
    files = examples("dearest")
    with in_path(install(tmp_path / "site", "dearest", files, entry_points_of(files["pyproject.toml"]))):
        selection = selection_of("dearest", options={"feature": "x"})
        rows = scored(STRATEGIES.get("dearest")(selection), rows_of(2, 40, 2))
        picks = [pick for pick in choose(tile_of(selection, rows), selection, None) if pick.reason == "uncertain"]
        amounts = [pick.proposal.features["x"] or 0.0 for pick in picks]
        assert len(picks) == 5
        assert amounts == sorted(amounts, reverse=True)


def test_a_strategy_from_elsewhere_chooses_the_candidates() -> None:
    selection = selection_of("elsewhere:Newest")
    rows = scored(Newest(selection), rows_of(2, 40, 2))
    picks = list(choose(tile_of(selection, rows), selection, None))
    drawn = {pick.proposal.event_id for pick in picks if pick.reason == "explore"}
    latest = sorted((row.time for row in rows if row.event_id not in drawn), reverse=True)
    assert [pick.proposal.time for pick in picks if pick.reason == "uncertain"] == latest[:5]


@pytest.mark.parametrize(
    "pick",
    [
        lambda *_: np.array([0, 0]),
        lambda *_: np.array([99]),
        lambda *_: np.array([-1]),
        lambda *_: np.arange(30),
        lambda *_: None,
        lambda *_: np.array([0.5]),
    ],
    ids=["one twice", "beyond the pool", "below it", "too many", "nothing", "a half"],
)
def test_a_strategy_that_picks_what_is_no_row_is_refused(
    pick: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = selection_of("elsewhere:Newest")
    rows = scored(Newest(selection), rows_of(2, 40, 2))
    monkeypatch.setattr(Newest, "pick", pick)
    with pytest.raises(ConfigError, match="different positions"):
        list(choose(tile_of(selection, rows), selection, None))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("margins", "'margins' is not allowed; write"),
        ("nowhere:Thing", "can't be loaded: ModuleNotFoundError"),
        ("math:sin", "not a subclass of tidemark.strategies.Strategy"),
        ("elsewhere:Nameless", "Nameless has no name and no fails"),
        ("x" * 201, "at most 200 characters"),
    ],
)
def test_a_name_that_is_no_strategy_is_refused_with_what_to_do(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        selection_of(name)


def test_options_are_the_strategys_own() -> None:
    margin, power, cost = (STRATEGIES.own[name] for name in ("margin", "power_margin", "cost"))
    assert list(margin.problems(selection_of("margin", options={"beta": 2.0}), ["a"]))
    assert not list(power.problems(selection_of("power_margin", options={"beta": 2}), ["a"]))
    assert list(power.problems(selection_of("power_margin", options={"beta": "2"}), ["a"]))
    assert list(power.problems(selection_of("power_margin", options={"beta": -1.0}), ["a"]))
    assert list(cost.problems(selection_of("cost", options={"c": 2.0}), ["a"]))
    assert not list(cost.problems(selection_of("cost", options={"a": 2.0}), ["a"]))


def test_a_tile_of_few_events_does_not_make_all_of_them_uncertain() -> None:
    rows = rows_of(1, 100, 2)
    assert len(narrowed(Pool(rows, events=245), 7, 10)) == 25
    assert len(narrowed(Pool(rows, events=10**6), 7, 10)) == 70
    assert len(narrowed(Pool(rows, events=20), 7, 10)) == 14
