from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemark.pipeline.classes import NO_CLASS, ClassReader

NAMES = st.sampled_from(
    [
        "0",
        "1",
        "2",
        "-1",
        "01",
        "1.0",
        "0.5",
        "true",
        "false",
        "True",
        "no",
        "yes",
        "fraud",
        "ok",
        "nan",
        "\u0661",
        "1_0",
    ]
)
WRITTEN: dict[str, tuple[Callable[[int], Any], Any]] = {
    "int": (int, pl.Int64),
    "small int": (int, pl.Int8),
    "float": (float, pl.Float64),
    "decimal": (Decimal, pl.Decimal(10, 2)),
    "text": (str, pl.String),
    "text of a float": (lambda number: f"{number}.0", pl.String),
}


def as_number(name: str) -> Fraction | None:
    """The number a name of the table above is, by arithmetic of its own."""
    known = {"0": (0, 1), "1": (1, 1), "2": (2, 1), "-1": (-1, 1), "01": (1, 1), "1.0": (1, 1), "0.5": (1, 2)}
    return Fraction(*known[name]) if name in known else None


def meant(classes: list[str], number: int) -> int | None:
    """The class that a number means by the rule's words; None: it must be refused."""
    called = [index for index, name in enumerate(classes) if as_number(name) == number]
    if any(as_number(name) is not None for name in classes):
        return called[0] if len(called) == 1 else None
    if {"true", "false"} & {name.lower() for name in classes} and [name.lower() for name in classes] != [
        "false",
        "true",
    ]:
        return None  # 1 could be a position, or what is true
    return number if 0 <= number < len(classes) else None


@given(
    st.lists(NAMES, min_size=2, max_size=4, unique=True),
    st.sampled_from(sorted(WRITTEN)),
    st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=6),
)
def test_a_number_is_the_class_of_that_name_else_a_position_else_refused(
    classes: list[str], kind: str, numbers: list[int]
) -> None:
    write, dtype = WRITTEN[kind]
    column = pl.Series("truth", [write(number) for number in numbers], dtype=dtype)
    named = {str(value) for value in column.to_list()} & set(classes)
    reader = ClassReader(classes, classes[0])
    if dtype == pl.String and named:
        expected = [classes.index(text) if text in classes else None for text in column.to_list()]
    else:
        expected = [meant(classes, number) for number in numbers]
    if None in expected:
        with pytest.raises(ValueError, match=r"expected|could be|unknown"):
            reader.column(column)
    else:
        assert reader.column(column).tolist() == expected


@given(st.lists(NAMES, min_size=2, max_size=3, unique=True), st.data(), st.booleans())
def test_true_and_false_are_classes_of_that_name_else_the_positive_and_the_other_else_refused(
    classes: list[str], data: st.DataObject, as_text: bool
) -> None:
    positive = data.draw(st.sampled_from(classes))
    other = next(name for name in classes if name != positive)
    words = [name for name in classes if name.lower() in ("true", "false")]
    numbers = any(as_number(name) is not None for name in classes)
    if as_text and {"true", "false"} & set(classes):
        readable = {"true", "false"} <= set(classes)
    elif words:
        readable = sorted(name.lower() for name in words) == ["false", "true"]
    else:
        readable = len(classes) == 2 and (not numbers or (as_number(positive) == 1 and as_number(other) == 0))
    column = pl.Series("truth", [True, False])
    reader = ClassReader(classes, positive)
    if not readable:
        with pytest.raises(ValueError, match=r"column 'truth' holds"):
            reader.column(column.cast(pl.String) if as_text else column)
        return
    yes, no = (classes[index] for index in reader.column(column.cast(pl.String) if as_text else column))
    assert (yes.lower(), no.lower()) == ("true", "false") if words else (yes, no) == (positive, other)


@pytest.mark.parametrize("classes", [["0", "1"], ["1", "0"]])
@pytest.mark.parametrize("dtype", [pl.Int64, pl.UInt8, pl.Float32, pl.Decimal(5, 1), pl.String, pl.Categorical])
def test_classes_that_are_called_numbers_are_never_inverted(
    classes: list[str], dtype: type[pl.DataType] | pl.DataType
) -> None:
    given_ = [1, 0, 0]
    texts = dtype in (pl.String, pl.Categorical)
    column = pl.Series("truth", [str(value) for value in given_] if texts else given_, dtype=dtype)
    assert [classes[index] for index in ClassReader(classes, "1").column(column)] == ["1", "0", "0"]


@pytest.mark.parametrize("classes", [["ok", "fraud"], ["fraud", "ok"]])
@pytest.mark.parametrize("values", [[True, False], ["true", "False"]])
def test_true_is_the_positive_class_wherever_it_stands(classes: list[str], values: list[Any]) -> None:
    found = ClassReader(classes, "fraud").column(pl.Series("truth", values))
    assert [classes[index] for index in found] == ["fraud", "ok"]


@pytest.mark.parametrize(
    ("classes", "positive", "value", "why"),
    [
        (["1", "0"], "0", True, "are numbers with '0' positive"),
        (["1", "2"], "2", True, "are numbers with '2' positive"),
        (["a", "b", "c"], "a", False, "there are 3 classes, and a truth value tells two apart"),
        (["true", "unsure"], "true", True, "call it so in part"),
        (["1", "01"], "1", 1, "could be each of the classes '1' and '01'"),
        (["true", "false"], "true", 1, "a number could mean either, in this order"),
        (["no", "yes"], "yes", 2, "unknown class 2; expected"),
        (["no", "yes"], "yes", -1, "unknown class -1"),
        (["no", "yes"], "yes", 0.5, "unknown class 0.5"),
        (["no", "yes"], "yes", float("inf"), "unknown class inf"),
        (["no", "yes"], "yes", float("nan"), "unknown class nan"),
        (["no", "yes"], "yes", "1", "unknown class '1'; the classes are no, yes"),
        (["no", "yes"], "yes", "x" * 1_000, "unknown class 'xxx"),
        (["no", "yes"], "yes", 10**4_000, "unknown class 1000"),
    ],
)
def test_a_value_that_means_no_class_is_refused_with_a_sentence(
    classes: list[str], positive: str, value: str | float, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as told:
        ClassReader(classes, positive).index(value)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pl.Series("t", [None, "yes", ""]), [NO_CLASS, 1, NO_CLASS]),
        (pl.Series("t", [float("nan"), 1.0, None]), [NO_CLASS, 1, NO_CLASS]),
        (pl.Series("t", ["NaN", "1.0", "0.0"]), [NO_CLASS, 1, 0]),
        (pl.Series("t", [None, None], dtype=pl.Null), [NO_CLASS, NO_CLASS]),
        (pl.Series("t", [], dtype=pl.String), []),
    ],
)
def test_a_row_without_a_label_has_no_class(column: pl.Series, expected: list[int]) -> None:
    np.testing.assert_array_equal(ClassReader(["no", "yes"], "yes").column(column), expected)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pl.Series("t", ["yes", "1"]), "holds '1'; expected"),
        (pl.Series("t", ["true", "1"]), "holds '1', 'true'; expected"),
        (pl.Series("t", [1.5]), "holds 1.5; expected"),
        (pl.Series("t", [[1]]), r"is of type List\(Int64\); a class is a text, a number or a truth value"),
        (pl.Series("t", [b"yes"]), "is of type Binary"),
    ],
)
def test_a_column_that_mixes_or_holds_anything_else_is_refused(column: pl.Series, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ClassReader(["no", "yes"], "yes").column(column)
