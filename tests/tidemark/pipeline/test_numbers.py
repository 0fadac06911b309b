from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from models import pipeline_text
from streaming import PIPELINE, SECOND_KEY

from labeling_grpc.client import NumberRange
from tidemark.consensus.scales import scale_of
from tidemark.errors import ConfigError
from tidemark.pipeline import parse
from tidemark.pipeline.model import LabelSpec
from tidemark.pipeline.number_checks import number_bounds
from tidemark.pipeline.numbers import NumberReader, answer_text

WEAR = LabelSpec.model_validate({"type": "number", "unit": "h", "min": -5, "max": 500.5, "delay": "1d"})
KIND = LabelSpec.model_validate({"classes": ["good", "bad"], "positive": "bad", "delay": "1d"})

NUMBER = 'type = "number"\nmin = 0\nmax = 5\n'


def problems(label: str, rest: str = "") -> list[str]:
    """What is wrong with the shop's file with another [label] table."""
    text = PIPELINE.format(keys='["who", "place"]', second=SECOND_KEY)
    assert 'classes = ["good", "bad"]\npositive = "bad"\n' in text
    text = text.replace('classes = ["good", "bad"]\npositive = "bad"\n', label) + rest
    try:
        parse(text, "wear.toml")
    except ConfigError as error:
        return [line.partition(": ")[2] for line in str(error).splitlines()]
    return []


@given(st.floats(min_value=-5, max_value=500.5))
def test_a_number_comes_back_from_its_canonical_text(number: float) -> None:
    text = NumberReader(WEAR).text(number)
    assert NumberReader(WEAR).number(text) == number
    assert NumberReader(WEAR).text(text) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("12", "12.0"),
        ("012.50", "12.5"),
        ("1.25e2", "125.0"),
        (" +7 ", "7.0"),
        (".5", "0.5"),
        ("3.", "3.0"),
        ("-0", "0.0"),
        (11, "11.0"),
        (0.1, "0.1"),
        (Decimal("0.10"), "0.1"),
    ],
)
def test_equal_numbers_are_one_text_however_they_are_written(written: str | float | Decimal, text: str) -> None:
    assert NumberReader(WEAR).text(written) == text


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ten",
        "1,5",
        "1_000",
        "0x10",
        "nan",
        "inf",
        "-inf",
        "1e999",
        "12 h",
        "\u0661",
        "1" * 60,
        True,
        pytest.param(math.nan, id="NaN"),
        pytest.param(math.inf, id="infinity"),
        "-5.001",
        "500.6",
        pytest.param(10**400, id="10^400"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("1e400"),
    ],
)
def test_what_is_no_number_within_the_bounds_is_refused_with_what_was_expected(written: str | float | Decimal) -> None:
    with pytest.raises(ValueError, match=r"expected a number from -5 to 500\.5 h") as raised:
        NumberReader(WEAR).number(written)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("least", "greatest", "told"),
    [
        (0, 1_234_567, "from 0 to 1234567 EUR"),
        (-0.1234567, 99_999_999.99, "from -0.1234567 to 99999999.99 EUR"),
        (0, 1e21, "from 0 to 1e+21 EUR"),
        (0.1, 0.3, "from 0.1 to 0.3 EUR"),
    ],
)
def test_bounds_are_told_with_all_their_digits(least: float, greatest: float, told: str) -> None:
    label = WEAR.model_copy(update={"min": least, "max": greatest, "unit": "EUR"})
    assert NumberReader(label).expected == f"a number {told}"
    shown = NumberRange("EUR", least, greatest, 0.0)
    assert shown.bounds.replace(",", "").replace(" to ", " ").split()[:2] == told.split()[1:4:2]
    assert shown.written(12_345_678_901.5) == "12,345,678,901.5 EUR"


@given(st.text(max_size=30))
def test_any_text_is_a_number_within_the_bounds_or_refused(text: str) -> None:
    try:
        number = NumberReader(WEAR).number(text)
    except ValueError:
        return
    assert -5 <= number <= 500.5


def test_a_column_of_numbers_is_read_and_what_is_missing_is_nan() -> None:
    reader = NumberReader(WEAR)
    assert np.array_equal(reader.column(pl.Series("rul", [1, None, 3])), [1, math.nan, 3], equal_nan=True)
    assert np.array_equal(
        reader.column(pl.Series("rul", ["1.5", "", "NaN"])), [1.5, math.nan, math.nan], equal_nan=True
    )
    assert np.array_equal(reader.column(pl.Series("rul", [math.nan, 2.0])), [math.nan, 2], equal_nan=True)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pl.Series("rul", ["1", "soon"]), "column 'rul' holds 'soon'; expected a number from -5 to 500.5 h"),
        (pl.Series("rul", [1, 501]), "column 'rul' holds 501; expected"),
        (pl.Series("rul", [True]), "column 'rul' is of type Boolean; expected"),
    ],
)
def test_a_column_that_holds_something_else_is_refused(column: pl.Series, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        NumberReader(WEAR).column(column)


def test_an_answer_is_kept_as_a_class_or_as_the_canonical_number() -> None:
    assert answer_text(KIND, "bad") == "bad"
    assert answer_text(WEAR, "40") == "40.0"
    with pytest.raises(ValueError, match="unknown class 'awful'; the classes are good, bad"):
        answer_text(KIND, "awful")
    with pytest.raises(ValueError, match="expected a number"):
        answer_text(WEAR, "bad")


def test_a_label_that_is_a_number_needs_bounds_and_no_classes() -> None:
    number = 'type = "number"\nmin = 0\nmax = 500\nunit = "h"\ntolerance = 2\n'
    assert problems(number) == []
    assert problems('type = "number"\n') == [
        "label.min: is missing; add it: the least number that can be right",
        "label.max: is missing; add it: the greatest number that can be right",
    ]
    assert problems('type = "number"\nmin = 5\nmax = 5\n') == [
        "label.max: 5 is not above label.min = 5; raise it",
    ]
    assert problems(number + 'classes = ["good", "bad"]\npositive = "bad"\n') == [
        "label.classes: a label that is a number has no classes; remove it",
        "label.positive: a label that is a number has no classes; remove it",
    ]
    assert problems('type = "number"\nmin = 0\nmax = 5\ntolerance = 5\n') == [
        "label.tolerance: is as large as all from label.min to label.max; write less"
    ]
    assert problems(number, '\n[labeling]\nanswers = 3\nconsensus = "glad"\n') == [
        "labeling.consensus: glad is a model of classes; remove it, or write 'majority'"
    ]
    assert problems(number, "\n[labeling]\nanswers = 3\n") == []
    due = '\n[labeling]\ngold_every = 9\n[labeling.due]\ndefault = "4h"\nerror_cost = "amount"\n'
    assert "labeling.due.error_cost: goes by how often classes are wrong; remove it" in problems(number, due)
    assert problems(number, "\n[alerts]\nrecall = 0.8\n") == [
        "alerts: flags events of a class, and the label is a number; remove it"
    ]


@pytest.mark.parametrize(
    ("numbers", "told"),
    [
        ("min = 0\nmax = 5e-324\n", "label.max: 5e-324 is too near to label.min = 0 to count in; raise it"),
        ("min = 9007199254740992\nmax = 9007199254740993\n", "label.max: 9007199254740993 is too near to label.min"),
        ("min = -1e100\nmax = 1e100\ntolerance = 1e-300\n", "label.tolerance: is finer than numbers"),
        ("min = 0\nmax = 1\ntolerance = 5e-324\n", "label.tolerance: is finer than numbers"),
    ],
)
def test_bounds_in_which_errors_could_not_be_counted_are_refused(numbers: str, told: str) -> None:
    (problem,) = problems(f'type = "number"\n{numbers}')
    assert problem.startswith(told)


@given(least=st.floats(-1e100, 1e100), greatest=st.floats(-1e100, 1e100), tolerance=st.none() | st.floats(0, 1e100))
def test_answers_within_bounds_that_are_taken_are_counted(
    least: float, greatest: float, tolerance: float | None
) -> None:
    """Whatever the check lets through: no answer ends the service."""
    label = WEAR.model_copy(update={"min": least, "max": greatest, "tolerance": tolerance})
    assume(not any(number_bounds(label)))
    scale = scale_of((), label)
    low, high = scale.read(repr(least)), scale.read(repr(greatest))
    tally = scale.tally()
    for cell in [*scale.told(scale.known(low), high), *scale.told(scale.known(high), low)]:
        scale.count(tally, *cell)
    found = scale.weigh(None, [(tally, low), (tally, high)], "dawid_skene")
    assert scale.holds(found.answer)
    assert 0 < found.confidence < 1


def test_a_label_that_is_a_class_has_no_unit_and_no_bounds() -> None:
    classes = 'classes = ["good", "bad"]\npositive = "bad"\n'
    assert problems(classes + "min = 0\n") == [
        "label.min: is of a number, and the label is a class; remove it, or write type = 'number'"
    ]
    assert problems("") == ["label.classes: is missing; add it: the names of the classes that people tell apart"]
    assert problems('classes = ["good", "bad"]\n') == [
        "label.positive: is missing; add it: the class that is looked for"
    ]


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (
            '[selection]\npolicy = "entropy"',
            "selection.policy: 'entropy' is of classes, and the label is a number",
        ),
        ('[selection]\ndraw = "focused"', "selection.draw: 'focused' draws by the odds of classes, and the label is a"),
        ('[gates]\nmetric = "log_loss"', "gates.metric: 'log_loss' is of classes; of a number write 'rmse' or 'mae'"),
        ('[training]\nforget = "auto"', "training.forget: labels of numbers can't be forgotten by age yet"),
        (
            '[label.outcomes]\nof = "all"\nshare = { yes = 0.1 }',
            "label.outcomes.share: names classes, and the label is a number; remove it",
        ),
        ("[alerts]\nrecall = 0.8", "alerts: flags events of a class, and the label is a number; remove it"),
    ],
)
def test_what_needs_classes_is_refused_in_a_sentence(rest: str, told: str) -> None:
    table, _, key = rest.partition("\n")
    text = pipeline_text(label="").replace("classes = ['no', 'yes']\npositive = \"yes\"", NUMBER.rstrip())
    edited = text.replace(table, rest, 1) if table == "[selection]" else f"{text}\n{table}\n{key}\n"
    with pytest.raises(ConfigError) as raised:
        parse(edited, "p.toml")
    assert told in str(raised.value)


def test_a_number_can_be_compared_by_either_of_its_errors_and_a_class_by_neither() -> None:
    numbers = pipeline_text().replace("classes = ['no', 'yes']\npositive = \"yes\"", NUMBER.rstrip())
    assert parse(numbers, "p.toml").gate_metric == "rmse"
    assert parse(f'{numbers}\n[gates]\nmetric = "mae"\n', "p.toml").gate_metric == "mae"
    with pytest.raises(ConfigError, match=r"gates\.metric: 'mae' is of numbers; write 'log_loss', or leave it out"):
        parse(pipeline_text(extra='[gates]\nmetric = "mae"'), "p.toml")
