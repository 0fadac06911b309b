"""Models that learnt from category columns, imported into a pipeline whose categories are numbered otherwise."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from models import pipeline_text
from numpy.typing import NDArray

from kernels.forest.forest import Forest
from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline, parse
from tidemark.training.first import from_model_file

CITIES = ["Aachen", "Bonn", "Celle", "Dresden", "Emden", "Fulda", *(f"town {number}" for number in range(40))]
KINDS = ["x", "y", "z"]


def pipeline(cities: list[str], kinds: list[str] | None = None) -> Pipeline:
    """Features: a number, a city by its index, a kind by its index (a number where `kinds` is None)."""
    plain = 'features = [{ name = "a" }, { name = "b" }, { name = "c" }]'
    kind = '{ name = "c" }' if kinds is None else f'{{ name = "c", sql = "kind", categories = {kinds} }}'
    features = f'features = [{{ name = "a" }}, {{ name = "b", sql = "city", categories = {cities} }}, {kind}]'
    text = pipeline_text().replace(plain, features).replace('b = { type = "float" }', 'city = { type = "string" }')
    if kinds is not None:
        text = text.replace('c = { type = "float" }', 'kind = { type = "string" }')
    return parse(text, "p")


def table(count: int = 1_500, seed: int = 0, cities: int = 46) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rows of a number, the number of a city in `CITIES`, that of a kind; the class hangs on each city by chance."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.normal(size=count), rng.integers(0, cities, count), rng.integers(0, 3, count)])
    lift = np.random.default_rng(99).normal(size=46) * 2
    chance = 1 / (1 + np.exp(-(rows[:, 0] + lift[rows[:, 1].astype(int)] + (rows[:, 2] == 1))))
    return rows, (rng.random(count) < chance).astype(np.int64)


def coded(rows: NDArray[np.float64], lists: dict[int, tuple[list[str], list[str]]]) -> NDArray[np.float64]:
    """Rows with category columns by another list's numbers; NaN for what is not in it, as pandas codes it."""
    out = rows.copy()
    for column, (ours, theirs) in lists.items():
        place = {name: number for number, name in enumerate(theirs)}
        codes = [place.get(ours[int(value)], np.nan) if np.isfinite(value) else np.nan for value in rows[:, column]]
        out[:, column] = codes
    return out


def trained(
    cities: list[str],
    kinds: list[str] = KINDS,
    *,
    as_pandas: bool = True,
    categorical: tuple[int, ...] = (1, 2),
    one_hot: int = 4,
) -> lgb.Booster:
    """A model of a frame whose dtypes have these categories in this order, written as LightGBM writes it."""
    rows, target = table()
    codes = coded(rows, {1: (CITIES, cities), 2: (KINDS, kinds)})
    parameters = {
        "verbosity": -1,
        "min_data_per_group": 5,
        "cat_smooth": 1.0,
        "num_threads": 1,
        "num_leaves": 15,
        "max_cat_to_onehot": one_hot,
    }
    data = lgb.Dataset(
        codes, target, feature_name=["a", "b", "c"], categorical_feature=list(categorical), params={"verbosity": -1}
    )
    booster = lgb.train({"objective": "binary", "verbosity": -1, "num_threads": 1, **parameters}, data, 12)
    booster.pandas_categorical = [cities, kinds] if as_pandas else None
    return booster


orders = st.permutations(CITIES)


@settings(max_examples=6, deadline=None)
@given(theirs=orders, ours=orders, kinds=st.permutations(KINDS), known=st.integers(3, 46), one_hot=st.booleans())
def test_an_imported_model_scores_each_category_as_lightgbm_did(
    theirs: list[str], ours: list[str], kinds: list[str], known: int, one_hot: bool
) -> None:
    booster = trained(theirs[:known], kinds, one_hot=60 if one_hot else 4)
    made = from_model_file(pipeline(ours, KINDS), booster.model_to_string(), "m.txt")
    rows, _ = table(400, seed=3)
    rows[::17, 1], rows[::13, 2], rows[::7, 0] = np.nan, np.nan, np.nan
    expected = booster.predict(coded(rows, {1: (CITIES, theirs[:known]), 2: (KINDS, kinds)}), raw_score=True)
    mapped = coded(rows, {1: (CITIES, ours)})
    np.testing.assert_array_equal(lgb.Booster(model_str=made.text).predict(mapped, raw_score=True), expected)
    np.testing.assert_allclose(Forest.from_text(made.text).raw(mapped), expected, rtol=1e-12, atol=1e-12)
    assert "pandas_categorical:null" in made.text


@settings(max_examples=4, deadline=None)
@given(lost=st.integers(0, 45))
def test_a_category_that_the_pipeline_does_not_have_is_refused_where_the_model_uses_it(lost: int) -> None:
    booster = trained(CITIES)
    assume(set(np.flatnonzero(np.bincount(table()[0][:, 1].astype(int), minlength=46))) >= {lost})
    ours = [city for number, city in enumerate(CITIES) if number != lost]
    rows, _ = table(400, seed=3)
    try:
        made = from_model_file(pipeline(ours, KINDS), booster.model_to_string(), "m.txt")
    except ModelError as error:
        assert repr(CITIES[lost]) in str(error) and "'b': the model knows the categories" in str(error)  # noqa: PT017, PT018
        return
    expected = booster.predict(rows, raw_score=True)  # no split names it: it is as good as missing
    np.testing.assert_array_equal(
        lgb.Booster(model_str=made.text).predict(coded(rows, {1: (CITIES, ours)}), raw_score=True), expected
    )


def test_a_model_without_names_must_have_no_more_categories_than_the_pipeline() -> None:
    text = trained(CITIES, as_pandas=False).model_to_string()
    assert from_model_file(pipeline(CITIES, KINDS), text, "m.txt").text == text
    with pytest.raises(ModelError, match=r"category [0-9]+ of 'b', and the pipeline has 10 categories for it, 0 to 9"):
        from_model_file(pipeline(CITIES[:10], KINDS), text, "m.txt")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ([CITIES], "learnt from 1 category columns, and the pipeline has categories for b, c"),
        ([CITIES, KINDS, KINDS], "learnt from 3 category columns"),
        ([CITIES, [1.5, 2.5, 3.5]], "'c': the model's category 1.5 is no text"),
        ([CITIES, [True, False, None]], "'c': the model's category True is no text"),
        ([CITIES, [1, "1", "x"]], "'c': two of the model's categories are the same text"),
        ([CITIES, ["x"]], r"'c': the model splits on category [12], and names 1 of them"),
        (
            [CITIES[::-1], ["p", "q", "r"]],
            "'c': the model knows the categories .*, which the pipeline reads as missing",
        ),
    ],
)
def test_lists_of_categories_that_do_not_fit_are_refused_with_a_sentence(names: list[list[object]], why: str) -> None:
    booster = trained(CITIES)
    booster.pandas_categorical = names
    with pytest.raises(ModelError, match=why):
        from_model_file(pipeline(CITIES, KINDS), booster.model_to_string(), "m.txt")


def test_splits_on_the_order_of_categories_need_the_same_order() -> None:
    booster = trained(CITIES, categorical=(2,))  # as pandas's ordered categories, whose numbers are compared
    text = booster.model_to_string()
    rows, _ = table(200, seed=3)
    made = from_model_file(pipeline(CITIES, KINDS), text, "m.txt")
    np.testing.assert_array_equal(lgb.Booster(model_str=made.text).predict(rows), booster.predict(rows))
    with pytest.raises(ModelError, match="'b': the model splits on the order of its categories"):
        from_model_file(pipeline(CITIES[::-1], KINDS), text, "m.txt")


def test_categories_of_a_feature_that_the_pipeline_has_as_a_number_are_refused() -> None:
    booster = trained(CITIES, categorical=(1, 2))
    booster.pandas_categorical = [CITIES]
    with pytest.raises(ModelError, match="the model splits on 'c' by category, for which the pipeline has no"):
        from_model_file(pipeline(CITIES), booster.model_to_string(), "m.txt")


def test_numbers_as_categories_are_their_texts() -> None:
    booster = trained(CITIES)
    booster.pandas_categorical = [CITIES, [1, 2, 3]]
    made = from_model_file(pipeline(CITIES, ["3", "2", "1"]), booster.model_to_string(), "m.txt")
    rows, _ = table(200, seed=3)
    turned = rows.copy()
    turned[:, 2] = 2 - rows[:, 2]
    np.testing.assert_array_equal(lgb.Booster(model_str=made.text).predict(turned), booster.predict(rows))


def test_golden_rows_of_a_categorical_model_reach_its_leaves() -> None:
    made = from_model_file(pipeline(CITIES, KINDS), trained(CITIES).model_to_string(), "m.txt")
    golden = np.array(made.manifest.golden, dtype=float).reshape(-1, 3)
    leaves = np.asarray(lgb.Booster(model_str=made.text).predict(golden, pred_leaf=True))
    every = np.asarray(lgb.Booster(model_str=made.text).predict(table(20_000, seed=8)[0], pred_leaf=True))
    assert sum(len(set(column)) for column in leaves.T) > 0.95 * sum(every.max(axis=0) + 1)
