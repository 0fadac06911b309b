"""Kernels that the table generates input for: equal to their oracles, on nasty input too; alike in what they refuse."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kernel_cases import changed, resized
from uncompiled import sized

import kernels
from kernels import virtual_ends, volume_sample, volume_state
from tests import naive
from tests.kernel_table import TABLE, TYPES, Row, kernel

GENERATED = {name: row for name, row in TABLE.items() if row.generate is not None}
PICKING = [name for name, row in GENERATED.items() if row.exact and name != "average_linkage"]
OF_PROBABILITIES = [
    n
    for n, row in GENERATED.items()
    if kernel(n).__module__.removeprefix("kernels.uncertainty.") in {"scores", "costs"}
]
MEASURING = [n for n, row in GENERATED.items() if not row.exact and n not in {"typicality", "robust_scale"}]
IN_UNITS: dict[str, tuple[set[int], set[str], int]] = {
    "kmeans_pp": ({0}, {"centres"}, 0),
    "k_center_greedy": ({0}, {"centres"}, 0),
    "facility_location": ({0}, {"centres"}, 0),
    "determinantal": ({0}, {"scale"}, 0),
    "badge": ({1}, {"bias"}, 0),
    "average_linkage": ({0, 1}, set(), 0),
    "novelty": ({0, 1}, set(), 1),
    "density": ({0, 1}, {"scale"}, 0),
    "typicality": ({0}, set(), -1),
}
"""Of kernels of distances the arguments and options in units of the rows, and the result's power of those units."""
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def case(name: str, seed: int, n: int, dtype: np.dtype[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    generate = TABLE[name].generate
    assert generate is not None
    return generate(np.random.default_rng(seed), n, dtype)


def case_with(name: str, n: int, dtype: np.dtype[Any], **wanted: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The first case that has some options and has not others."""
    cases = (case(name, seed, n, dtype) for seed in range(99))
    return next(found for found in cases if all((option in found[1]) == there for option, there in wanted.items()))


def expected(row: Row, args: tuple[Any, ...], options: dict[str, Any]) -> Any:  # noqa: ANN401
    assert row.oracle is not None
    return row.oracle(*widened(args), **widened_options(options))


def widened(args: tuple[Any, ...]) -> list[Any]:
    """The same in double precision."""
    return [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == np.float32 else a for a in args]


def widened_options(options: dict[str, Any]) -> dict[str, Any]:
    """As `widened`."""
    return dict(zip(options, widened(tuple(options.values())), strict=True))


def test_every_public_name_is_in_the_table_once_and_nothing_else_is() -> None:
    assert not set(TABLE) & TYPES
    assert set(TABLE) | TYPES == set(kernels.__all__)


def test_every_kernel_is_in_the_documentation() -> None:
    text = (Path(kernels.__file__).parents[1] / "docs" / "explanation" / "kernels.md").read_text(encoding="utf-8")
    assert [name for name in TABLE if f"`{name}`" not in text] == []


def test_every_oracle_is_one_of_the_naive_module_and_every_test_file_names_its_kernels() -> None:
    for name, row in TABLE.items():
        assert row.bound
        assert row.oracle is None or row.oracle is getattr(naive, row.oracle.__name__)
        assert (row.generate is None) == bool(row.tested_in), name
        if row.tested_in:
            tree = ast.parse((Path(__file__).parent / row.tested_in).read_text(encoding="utf-8"))
            named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
            assert name in named, f"{row.tested_in} does not test {name}"


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GENERATED)
@settings(max_examples=sized(25, 4))
@given(seed=st.integers(0, 2**32), n=st.integers(0, 40))
@example(seed=109, n=9)  # two rows that are equally good for facility_location, but for the last bits
def test_a_kernel_equals_its_oracle(name: str, dtype: np.dtype[Any], seed: int, n: int) -> None:
    args, options = case(name, seed, n, dtype)
    got, row = kernel(name)(*args, **options), GENERATED[name]
    tolerance = 2e-5 if dtype == np.float32 else 1e-9
    want = expected(row, args, options)
    if row.exact:
        assert got.dtype == np.int64
        if row.regret is not None and got.tolist() != list(want):
            assert row.regret(got.tolist(), *widened(args), **widened_options(options)) <= tolerance
            return
        assert got.tolist() == list(want)
        return
    assert got.dtype == dtype
    np.testing.assert_allclose(
        row.compared(got), row.compared(np.reshape(want, got.shape)), rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(
    ("name", "metric"), [*((name, False) for name in PICKING), ("kmeans_pp", True), ("k_center_greedy", True)]
)
def test_picks_of_many_rows_equal_the_oracles(name: str, metric: bool) -> None:
    """More rows than a block, a tile, or what is sorted first."""
    n = sized(2_500, 150) if name in {"k_center_greedy", "kmeans_pp", "badge"} else 150
    args, options = case_with(name, n, DTYPES[1], metric=metric)
    where = next(i for i, a in enumerate(args) if isinstance(a, int))
    args = (*args[:where], 30, *args[where + 1 :])
    got = kernel(name)(*args, **options).tolist()
    assert got == list(expected(GENERATED[name], args, options))
    assert len(set(got)) == len(got)


@pytest.mark.parametrize("name", PICKING)
def test_more_picks_than_rows_picks_each_row_once(name: str) -> None:
    args, options = case(name, 3, 12, np.dtype(np.float32))
    where = next(i for i, a in enumerate(args) if isinstance(a, int))
    got = kernel(name)(*args[:where], 99, *args[where + 1 :], **options)
    assert sorted(got.tolist()) == list(range(12))


@pytest.mark.parametrize("name", PICKING)
@pytest.mark.parametrize("n", [1, 20])
def test_rows_that_are_all_equal_are_picked_once_each(name: str, n: int) -> None:
    args, options = case(name, 4, n, np.dtype(np.float64))
    alike = tuple(np.repeat(a[:1], n, axis=0) if isinstance(a, np.ndarray) else a for a in args)
    where = next(i for i, a in enumerate(args) if isinstance(a, int))
    got = kernel(name)(*alike[:where], n, *alike[where + 1 :], **options)
    assert sorted(got.tolist()) == list(range(n))


@pytest.mark.parametrize("name", GENERATED)
def test_no_row_gives_no_result(name: str) -> None:
    args, options = case(name, 1, 0, np.dtype(np.float64))
    assert len(kernel(name)(*args, **options)) == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", MEASURING)
@settings(max_examples=sized(15, 3))
@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), part=st.integers(1, 40))
def test_a_rows_value_has_the_same_bits_wherever_the_row_is(
    name: str, dtype: np.dtype[Any], seed: int, n: int, part: int
) -> None:
    """In another order of rows, and in a batch with fewer: streams are cut into batches at any place."""
    args, options = case(name, seed, n, dtype)
    axis = GENERATED[name].axis
    per_row = [isinstance(a, np.ndarray) and a.ndim > axis and a.shape[axis] == n and a is not None for a in args]
    if name in {"expected_cost", "cost_margin", "shifted", "weighted_entropy", "recalibrated", "novelty", "density"}:
        per_row[1:] = [False] * (len(args) - 1)  # tables of classes, knots, rows to compare with
    whole = kernel(name)(*args, **options)
    for rows in (np.random.default_rng(seed).permutation(n), np.arange(min(part, n))):
        taken = [np.take(a, rows, axis) if of_rows else a for a, of_rows in zip(args, per_row, strict=True)]
        options_there = {k: v[rows] if k == "categories" else v for k, v in options.items()}
        assert kernel(name)(*taken, **options_there).tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("power", [-20, 3])
@pytest.mark.parametrize("name", IN_UNITS)
def test_units_of_the_rows_do_not_change_what_is_picked(name: str, power: int) -> None:
    """A power of two changes no digit."""
    positions, options_in_units, power_of_result = IN_UNITS[name]
    args, options = case_with(name, 60, DTYPES[1], categories=False)
    factor = 2.0**power
    scaled = [a * factor if i in positions else a for i, a in enumerate(args)]
    more = {option: value * factor if option in options_in_units else value for option, value in options.items()}
    want = kernel(name)(*args, **options)
    expected_there = want if GENERATED[name].exact else want * factor**power_of_result
    assert kernel(name)(*scaled, **more).tolist() == expected_there.tolist()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", GENERATED)
def test_read_only_and_strided_input_gives_the_bits_of_plain_input_and_is_left_alone(
    name: str, dtype: np.dtype[Any]
) -> None:
    args, options = case(name, 7, 30, dtype)
    want = kernel(name)(*args, **options).tobytes()
    assert kernel(name)(*args, **options).tobytes() == want
    for layout in ("read-only", "strided", "fortran"):
        laid = changed(args, layout)
        before = [a.tobytes() for a in laid if isinstance(a, np.ndarray)]
        assert kernel(name)(*laid, **options).tobytes() == want, layout
        assert [a.tobytes() for a in laid if isinstance(a, np.ndarray)] == before, layout


@pytest.mark.parametrize("how", [">f8", "f2", "i8", "list", "flat"])
@pytest.mark.parametrize("name", GENERATED)
def test_another_dtype_byte_order_or_shape_is_refused_with_what_was_expected(name: str, how: str) -> None:
    args, options = case(name, 2, 9, np.dtype(np.float64))
    wrong: Any = (
        args[0].tolist()
        if how == "list"
        else np.zeros((2, 2, 2, 2))
        if how == "flat"
        else np.ones_like(args[0]).astype(how)
    )
    with pytest.raises(ValueError, match="expected"):
        kernel(name)(wrong, *args[1:], **options)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [n for n in GENERATED if n not in {"robust_scale", "cluster_margin"}])
def test_a_row_that_is_not_finite_is_refused_by_its_index(name: str, value: float) -> None:
    args, options = case_with(name, 9, DTYPES[1], metric=False)
    bad = args[0].copy()
    np.moveaxis(bad, TABLE[name].axis, 0)[4] = value
    with pytest.raises(ValueError, match=r"rows? 4"):
        kernel(name)(bad, *args[1:], **options)


@pytest.mark.parametrize("name", OF_PROBABILITIES)
@pytest.mark.parametrize("shape", ["column", "pair", "rows"])
def test_numbers_that_are_no_probabilities_are_refused_by_row(name: str, shape: str) -> None:
    seed = next(s for s in range(99) if case(name, s, 9, DTYPES[1])[0][0].ndim == 2)
    args, options = case(name, seed, 9, DTYPES[1])
    args, options = resized(name, args, options, 2 if shape != "rows" else 5)
    good = args[0][:, 1].copy() if shape == "column" else args[0]
    for low, message in ((-0.5, "outside 0 to 1"), (1.5, "outside 0 to 1"), (np.nan, "NaN")):
        bad = good.copy()
        bad[3] = low
        with pytest.raises(ValueError, match=f"row 3 of 9.*{message}|{message} in row 3"):
            kernel(name)(bad, *args[1:], **options)
    if shape != "column":
        bad = good.copy()
        bad[[2, 6]] *= 0.5
        with pytest.raises(ValueError, match="rows 2, 6 of 9 do not sum to 1"):
            kernel(name)(bad, *args[1:], **options)


@pytest.mark.parametrize("name", ["kmeans_pp", "k_center_greedy", "facility_location"])
def test_categories_and_centres_come_with_those_of_the_centres(name: str) -> None:
    x, categories = np.zeros((4, 2)), np.zeros((4, 1), np.int64)
    seed = (0,) if name == "kmeans_pp" else ()
    for options, message in (
        ({"centres": x, "categories": categories}, "categories, centre_categories: expected both or neither"),
        ({"centres": x, "centre_categories": categories}, "categories, centre_categories: expected both or neither"),
        ({"categories": categories, "centre_categories": categories}, "centre_categories: given without centres"),
        (
            {"centres": x, "categories": categories, "centre_categories": categories[:3]},
            r"centre_categories: .*\(4, 1\)",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            kernel(name)(x, 2, *seed, **options)


@settings(max_examples=sized(40, 6))
@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), cut=st.integers(0, 40), classes=st.sampled_from([0, 2, 3]))
@pytest.mark.parametrize("levels", [(), (3,), (3, 1, 4)])
def test_volume_sampling_equals_its_oracle_however_the_stream_is_cut(
    levels: tuple[int, ...], seed: int, n: int, cut: int, classes: int
) -> None:
    """The oracle forms one-hot columns and gradients, of two classes both blocks of them."""
    rng = np.random.default_rng(seed)
    x, lots = rng.normal(size=(n, 4)), rng.random(n)
    given_too: dict[str, Any] = {"categories": rng.integers(0, levels or 1, (n, len(levels)))}
    if classes:
        given_too["proba"] = rng.dirichlet(np.ones(classes), n)
    state, parts = volume_state(4, levels=levels, classes=classes or 2), []
    for part in (slice(0, cut), slice(cut, n)):
        options = {name: values[part] for name, values in given_too.items()}
        selected, chances, state = volume_sample(x[part], lots[part], 0.2, state, **options)
        parts.append((selected, chances))
    want, chance = naive.volume_sample(x, lots, 0.2, levels=levels, **given_too)
    assert np.concatenate([p[0] for p in parts]).tolist() == want
    np.testing.assert_allclose(np.concatenate([p[1] for p in parts]), chance, rtol=1e-7)


def test_volume_sampling_takes_a_column_for_two_classes() -> None:
    rng = np.random.default_rng(1)
    x, lots, p = rng.normal(size=(30, 3)), rng.random(30), rng.random(30)
    column = volume_sample(x, lots, 0.3, volume_state(3), proba=p)
    pair = volume_sample(x, lots, 0.3, volume_state(3), proba=np.stack([1 - p, p], axis=1))
    np.testing.assert_allclose(column[1], pair[1], rtol=1e-12)


def test_volume_sampling_refuses_what_its_state_is_not_made_for() -> None:
    x, lots = np.zeros((4, 2)), np.zeros(4)
    mixed, plain = volume_state(2, levels=(2, 3)), volume_state(2)
    for state, options, message in (
        (mixed, {"categories": np.array([[0, 2], [1, 3], [0, -1], [0, 0]])}, r"categories: rows 1, 2 of 4 .*\(2, 3\)"),
        (mixed, {}, r"categories: expected .*\(4, 2\)"),
        (plain, {"categories": np.zeros((4, 1), int)}, r"categories: expected .*\(4, 0\)"),
        (plain, {"proba": np.full((4, 3), 1 / 3)}, "proba: expected 4 rows of 2 classes"),
        (volume_state(2, classes=3), {}, "proba: expected 4 rows of 3 classes"),
        (plain, {"proba": np.array([0.5, 2.0, 0.5, 0.5])}, "proba: row 1 of 4"),
    ):
        with pytest.raises(ValueError, match=message):
            volume_sample(x, lots, 0.5, state, **options)
    with pytest.raises(ValueError, match=r"levels\[1\]: expected an integer"):
        volume_state(2, levels=(2, 0))


@pytest.mark.parametrize("iterations", [1, 2, 5, 100])
@pytest.mark.parametrize("members", [1, 3, 10])
def test_a_virtual_ensemble_ends_evenly_over_the_second_half(iterations: int, members: int) -> None:
    assert virtual_ends(iterations, members) == naive.virtual_ends(iterations, members)
