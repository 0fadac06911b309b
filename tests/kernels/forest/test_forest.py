import subprocess
import sys
from typing import Any

import forests
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from uncompiled import sized

from kernels import Forest, ModelTextError
from tests import naive

KINDS = list(forests.KINDS)


def nasty_rows(forest: Forest, n: int, seed: int) -> NDArray[np.float64]:
    """Rows with values exactly on thresholds and just beside them, both infinities, and odd categories."""
    rng = np.random.default_rng(seed)
    x = forests.rows(n, seed)
    model = forest.model
    numerical = model.decision_type & 1 == 0
    features, thresholds = model.split_feature[numerical], model.threshold[numerical]
    for feature, threshold in zip(features, thresholds, strict=True):
        beside = (threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf))
        x[rng.integers(n), feature] = beside[rng.integers(3)]
    odd = (1e300, -1e300, np.inf, -np.inf, -0.5, -1.0, 2.0**31, 31.0, 32.0, 64.5, 1e-36, -1e-36, 1e-35, -0.0, 5e-324)
    for value in odd:
        x[rng.integers(n), rng.integers(forests.FEATURES)] = value
    return x


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_raw_scores_and_leaves_are_lightgbms_to_the_last_bit(kind: str, dtype: type[np.floating]) -> None:
    booster, forest = forests.booster(kind), Forest.from_text(forests.model_text(kind))
    with np.errstate(over="ignore"):
        x = nasty_rows(forest, 400, 1).astype(dtype)
    expected = booster.predict(x, raw_score=True)
    np.testing.assert_array_equal(forest.raw(x), expected)
    np.testing.assert_array_equal(np.concatenate([forest.raw(x[i : i + 3]) for i in range(0, 400, 3)]), expected)
    leaves = np.asarray(booster.predict(x, pred_leaf=True)).reshape(400, -1)
    np.testing.assert_array_equal(forest.leaves(x), leaves)
    np.testing.assert_array_equal(forest.leaves(x[:5]), leaves[:5])


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_lightgbms(kind: str) -> None:
    forest = Forest.from_text(forests.model_text(kind))
    x = nasty_rows(forest, 200, 2)
    np.testing.assert_allclose(forest.probability(x), forests.booster(kind).predict(x), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("kind", KINDS)
def test_contributions_are_lightgbms_and_add_up_to_the_raw_score(kind: str) -> None:
    booster, forest = forests.booster(kind), Forest.from_text(forests.model_text(kind))
    x = nasty_rows(forest, 25, 3)
    expected = np.asarray(booster.predict(x, pred_contrib=True)).reshape(25, forest.outputs, -1)
    mean_of = forest.iterations if forest.model.average_output else 1  # LightGBM explains the sum
    expected /= mean_of
    for row, contributions in zip(x, expected, strict=True):
        found = forest.contributions(row).reshape(forest.outputs, -1)
        np.testing.assert_allclose(found, contributions, rtol=1e-9, atol=1e-9)
        score = forest.raw(row[None]).reshape(-1) / mean_of
        np.testing.assert_allclose(found.sum(axis=1), score, rtol=1e-9, atol=1e-9)


@settings(max_examples=sized(15, 5))
@given(st.sampled_from(KINDS), st.integers(0, 2**31), st.integers(2, 60), st.integers(1, 4))
def test_random_models_are_predicted_as_by_lightgbm(kind: str, seed: int, leaves: int, rounds: int) -> None:
    spec = forests.KINDS[kind]
    booster = forests.trained(spec, seed=seed, rounds=rounds, n=200, num_leaves=leaves)
    forest = Forest.from_text(booster.model_to_string())
    x = nasty_rows(forest, 60, seed % 1000)
    expected = np.asarray(booster.predict(x, raw_score=True))
    np.testing.assert_array_equal(forest.raw(x), expected)
    np.testing.assert_array_equal(forest.raw(x[:5]), expected[:5])


@pytest.mark.parametrize("kind", ["binary_categorical", "multiclass", "rf", "large", "constant"])
def test_a_prefix_is_the_forest_cut_there(kind: str) -> None:
    booster, forest = forests.booster(kind), Forest.from_text(forests.model_text(kind))
    x = nasty_rows(forest, 50, 4)
    ends = [*sorted({0, 1, forest.iterations // 2, forest.iterations}), forest.iterations]
    for rows in (x, x[:3]):
        prefixes = forest.prefix_raw(rows, ends)
        for end, prefix in zip(ends, prefixes, strict=True):
            cut = booster.predict(rows, raw_score=True, num_iteration=end) if end else np.zeros_like(prefix)
            np.testing.assert_array_equal(prefix, cut)
            if end:
                predicted = booster.predict(rows, num_iteration=end)
                np.testing.assert_allclose(forest.linked(prefix, end), predicted, rtol=1e-12)


def leaf_weights(node: dict[str, Any]) -> dict[int, float]:
    """Sum of hessians of each leaf of a tree as LightGBM dumps it."""
    if "leaf_value" in node:
        return {node.get("leaf_index", 0): node.get("leaf_weight", 0.0)}
    return leaf_weights(node["left_child"]) | leaf_weights(node["right_child"])


@pytest.mark.parametrize("kind", ["binary", "binary_categorical", "multiclass", "dart", "stumps", "constant"])
def test_the_expected_change_of_a_row_is_that_of_the_leaves_that_lightgbm_finds(kind: str) -> None:
    booster, forest = forests.booster(kind), Forest.from_text(forests.model_text(kind))
    x = nasty_rows(forest, 40, 6)
    weights = [leaf_weights(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]
    leaves = np.asarray(booster.predict(x, pred_leaf=True)).reshape(len(x), -1)
    expected = np.zeros(len(x))
    for row, p in enumerate(np.asarray(booster.predict(x)).reshape(len(x), forest.outputs)):
        for t, leaf in enumerate(leaves[row]):
            hessian = p[t % forest.outputs] * (1 - p[t % forest.outputs])
            if weights[t][leaf] + hessian > 0:
                expected[row] += 2 * hessian / (weights[t][leaf] + hessian)
    np.testing.assert_allclose(forest.expected_change(x), expected, rtol=1e-5)


def test_models_of_no_classes_have_no_expected_change() -> None:
    forest = Forest.from_text(forests.model_text("regression"))
    with pytest.raises(ValueError, match="expected_change: the model's objective is regression"):
        forest.expected_change(forests.rows(3, 0))


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "rf"])
def test_a_virtual_ensemble_is_what_lightgbm_predicts_with_fewer_trees(kind: str) -> None:
    booster, forest = forests.booster(kind), Forest.from_text(forests.model_text(kind))
    x = nasty_rows(forest, 60, 8)
    ends = naive.virtual_ends(forest.iterations, 4)
    members = np.array([booster.predict(x, num_iteration=end) for end in ends])
    probability, uncertainty, disagreement = forest.virtual_ensemble(x, 4)
    np.testing.assert_allclose(probability, members[-1], rtol=1e-9)
    of_all, apart = naive.consensus_entropy(members), naive.bald(members)
    if kind == "regression":
        of_all = apart = members.var(axis=0)
    np.testing.assert_allclose(uncertainty, of_all, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(disagreement, apart, rtol=1e-6, atol=1e-12)
    assert disagreement.max() > 1e-4


def test_categories_beyond_the_tables_are_walked() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, forests.FEATURES))
    x[:, 3] = rng.choice([1, 2, 70_000, 70_001], 400)
    y = (x[:, 3] >= 2) * 1.0 + rng.normal(size=400)
    booster = forests.fitted({"objective": "regression", "min_data_per_group": 5}, x, y, 3, (3,))
    forest = Forest.from_text(booster.model_to_string())
    np.testing.assert_array_equal(forest.raw(x), booster.predict(x, raw_score=True))


def test_a_block_boundary_is_no_boundary() -> None:
    forest = Forest.from_text(forests.model_text("multiclass_categorical"))
    x = forests.rows(9000, 5)
    expected = forests.booster("multiclass_categorical").predict(x, raw_score=True)
    np.testing.assert_array_equal(forest.raw(x), expected)
    np.testing.assert_array_equal(forest.raw(x[4090:4100]), np.asarray(expected)[4090:4100])


def test_no_rows_give_no_scores() -> None:
    forest = Forest.from_text(forests.model_text("binary"))
    nothing = np.zeros((0, forests.FEATURES))
    assert forest.raw(nothing).shape == (0,)
    assert forest.leaves(nothing).shape == (0, 5)
    several = Forest.from_text(forests.model_text("multiclass"))
    assert several.probability(nothing).shape == (0, 3)
    assert several.prefix_raw(nothing, []).shape == (0, 0, 3)


def test_rows_may_be_read_only_strided_or_in_fortran_order() -> None:
    forest = Forest.from_text(forests.model_text("binary"))
    x = forests.rows(50, 6)
    expected = forest.raw(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    doubled = np.repeat(x, 2, axis=0)
    for rows in (frozen, np.asfortranarray(x), doubled[::2]):
        np.testing.assert_array_equal(forest.raw(rows), expected)
    np.testing.assert_array_equal(forest.raw(x[::-1]), expected[::-1])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((3, 5)), "the model has 6 features .*shape \\(3, 5\\)"),
        (np.zeros(6), "expected a native-endian float32 or float64 array of shape \\(n, 6\\)"),
        (np.zeros((3, 6), np.int64), "int64|<i8"),
        (np.zeros((3, 6), ">f8"), ">f8"),
        ([[0.0] * 6], "got list"),
    ],
)
def test_other_rows_are_refused(x: object, message: str) -> None:
    forest = Forest.from_text(forests.model_text("binary"))
    for method in (forest.raw, forest.probability, forest.leaves):
        with pytest.raises(ValueError, match=message):
            method(x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="row: expected"):
        forest.contributions(np.zeros((1, 6)))


@pytest.mark.parametrize("ends", [[3, 2], [-1], [6], [1.5]])
def test_prefixes_out_of_order_or_range_are_refused(ends: list[int]) -> None:
    with pytest.raises(ValueError, match="ends"):
        Forest.from_text(forests.model_text("binary")).prefix_raw(forests.rows(3, 0), ends)


def test_a_corrupt_text_is_refused() -> None:
    with pytest.raises(ModelTextError):
        Forest.from_text("tree\n")


def test_without_the_compiler_the_numbers_are_the_same() -> None:
    """The interpreted functions agree with the compiled ones: what coverage sees is what runs."""
    program = """
import sys
sys.path[:0] = ["tests/lib", "."]
import forests, numpy as np
from kernels import Forest
for kind in ("binary_categorical", "zero_is_missing", "multiclass", "large", "constant"):
    forest = Forest.from_text(sys.stdin.readline().encode().decode("unicode_escape"))
    x = forests.rows(12, 8)
    print(np.concatenate([forest.raw(x).ravel(), forest.raw(x[:2]).ravel(), forest.contributions(x[0]).ravel(),
                          forest.leaves(x).ravel()]).tobytes().hex())
"""
    kinds = ("binary_categorical", "zero_is_missing", "multiclass", "large", "constant")
    texts = "\n".join(forests.model_text(kind).encode("unicode_escape").decode() for kind in kinds) + "\n"
    outputs = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            input=texts, capture_output=True, text=True, timeout=120, check=True, env={**forests.ENVIRONMENT, **extra},
        ).stdout
        for extra in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]  # fmt: skip
    assert outputs[0] == outputs[1]
    assert len(outputs[0].split()) == len(kinds)
