from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from running import run_everything

from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline, parse
from tidemark.pipeline.draft import Sample, draft


def sample(fields: Mapping[str, object], key: str | None = None) -> Sample:
    return Sample(None if key is None else key.encode(), json.dumps(fields).encode())


def drafted(samples: list[Sample], **given: str) -> Pipeline:
    return parse(draft("cards.raw", samples, partitions=6, **given), "the draft")


PAYMENTS = [
    sample(
        {
            "payment": f"T{i}",
            "created": f"2025-01-01T00:{i % 60:02}:00Z",
            "card": f"C{i % 7}",
            "shop_id": i % 5,
            "amount": i * 1.5,
            "channel": ["chip", "online"][i % 2],
            "nested": {"x": 1, "tags": ["a"]},
            "odd name!": i % 3,
            **({"tip": 1} if i % 4 else {}),
        },
        key=f"C{i % 7}",
    )
    for i in range(60)
]


def test_a_draft_says_what_can_be_seen_in_the_records() -> None:
    pipeline = drafted([*PAYMENTS, Sample(b"x", b"no JSON"), Sample(None, None), Sample(None, b"[1]")])
    assert (pipeline.name, pipeline.raw_topics, pipeline.partitions) == ("cards", ["cards.raw"], 6)
    assert pipeline.keys == ["card"]
    assert (pipeline.time.column, pipeline.time.format) == ("created", "iso8601")
    assert pipeline.label.business_id == "payment"
    assert {name: column.type for name, column in pipeline.columns.items()} == {
        "payment": "string",
        "created": "string",
        "card": "string",
        "shop_id": "int",
        "amount": "float",
        "channel": "string",
        "nested.x": "int",
        "odd name!": "int",
        "tip": "int",
    }
    assert [name for name, column in pipeline.columns.items() if not column.required] == ["tip"]
    assert {"amount", "channel", "odd_name_", "tip", "shop_id"} <= {feature.name for feature in pipeline.features}
    assert next(f.categories for f in pipeline.features if f.name == "channel") == ["chip", "online"]
    assert "card_amount_mean_1d" in {window.name for window in pipeline.windows}


def test_fields_of_objects_within_the_records_are_columns_by_their_dotted_names() -> None:
    records = [
        {
            "user": {"id": f"u{i % 9}", "geo": {"country": "DE"}},
            "meta": {"ts": f"2026-09-01T00:{i % 60:02}:00Z"},
            "a": {},
        }
        for i in range(120)
    ]
    samples = [Sample(f"u{i % 9}".encode(), json.dumps(each).encode()) for i, each in enumerate(records)]
    pipeline = drafted(samples)
    assert (pipeline.keys, pipeline.time.column) == (["user.id"], "meta.ts")
    assert set(pipeline.columns) == {"user.id", "user.geo.country", "meta.ts"}
    assert {"user_geo_country"} <= {feature.name for feature in pipeline.features}


def test_a_field_that_is_an_object_in_some_records_alone_is_left_out_and_an_absent_object_is_not_called_null() -> None:
    """Each of its columns would make dead letters of the other records."""
    rows = [
        {
            "when": 1_700_000_000 + i,
            "who": f"w{i % 5}",
            "geo": {"lat": i * 0.5} if i % 3 else None,
            "cart": {"sum": {"net": i * 0.5}, "at": "web"} if i % 2 else {"sum": i * 1.5, "at": "shop"},
        }
        for i in range(30)
    ]
    text = draft("cards.raw", list(map(sample, rows)), partitions=1, key="who")
    assert set(parse(text, "draft").columns) == {"when", "who", "geo.lat", "cart.at"}
    assert '# left out: "cart.sum" ("cart.sum" is an object in some records and not in others)' in text
    assert '# left out: "cart.sum.net" ("cart.sum" is an object in some records and not in others)' in text
    assert '"geo"' not in text


def test_what_is_drafted_of_start_training_and_gates_is_what_a_file_without_them_has() -> None:
    text = draft("cards.raw", PAYMENTS, partitions=1)
    drafted_file = parse(text, "draft")
    bare = parse(text.partition("[start]")[0], "file")
    assert "[training]" in text
    assert drafted_file.learner == bare.learner == "mean"
    assert drafted_file.model_copy(update={"training": bare.training}) == bare
    assert drafted_file.training.model_copy(update={"learner": None}) == bare.training
    assert drafted_file.selection.policy == type(bare.selection).model_fields["policy"].default


def test_of_many_classes_boosted_trees_are_the_default() -> None:
    text = draft("cards.raw", PAYMENTS, partitions=1).partition("[start]")[0]
    few = parse(text, "file")
    classes = [f"class {number}" for number in range(11)]
    many = few.model_copy(update={"label": few.label.model_copy(update={"classes": classes})})
    assert (few.learner, many.learner) == ("mean", "boosted")
    named = many.model_copy(update={"training": many.training.model_copy(update={"learner": "linear"})})
    assert named.learner == "linear"


def test_choices_and_what_was_left_out_are_in_comments() -> None:
    text = draft("cards.raw", PAYMENTS, partitions=1)
    assert text.count("CHOOSE") >= 6
    assert '# left out: "nested.tags" (list)' in text


def test_key_and_time_can_be_given() -> None:
    pipeline = drafted(PAYMENTS, key="shop_id", time="created")
    assert pipeline.keys == ["shop_id"]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (1_700_000_000, "epoch_s"),
        (1_700_000_000.5, "epoch_s"),
        (1_700_000_000_123, "epoch_ms"),
        (1_700_000_000_123_456, "epoch_us"),
    ],
)
def test_epoch_times_are_told_apart_by_their_size(time: float, expected: str) -> None:
    assert drafted([sample({"ts": time, "who": "a"})]).time.format == expected


@pytest.mark.parametrize(
    ("written", "patterns", "ambiguous"),
    [
        (["01.09.2026 00:05", "24.12.2026 23:59"], ["%-d.%-m.%Y %-H:%M"], False),
        (["9/1/2026 1:05:09 PM", "12/24/2026 11:59:00 AM"], ["%-m/%-d/%Y %-I:%M:%S %p"], False),
        (["24/9/2026 13:05:09.5", "1/9/2026 0:00:00.25"], ["%-d/%-m/%Y %-H:%M:%S.%f"], False),
        (["1/2/2026 10:00", "3/4/2026 11:00"], ["%-d/%-m/%Y %-H:%M"], True),
        (["10/Oct/2000:13:55:36 -0700"], ["%d/%b/%Y:%H:%M:%S %z"], False),
        (["Tue, 01 Sep 2026 00:05:00 +0200"], ["%a, %d %b %Y %H:%M:%S %z"], False),
        (["Sep 1, 2026 12:05 AM"], ["%b %-d, %Y %-I:%M %p"], False),
        (["2026-09-01 00:05:00"], [], False),
    ],
)
def test_times_of_other_forms_are_read_by_a_pattern_and_what_could_be_two_is_to_be_chosen(
    written: list[str], patterns: list[str], ambiguous: bool
) -> None:
    samples = [sample({"who": f"w{i % 2}", "Zeit": text, "x": i}) for i, text in enumerate(written * 2)]
    text = draft("cards.raw", samples, partitions=1)
    pipeline = parse(text, "the draft")
    assert (pipeline.time.column, pipeline.time.patterns or []) == ("Zeit", patterns)
    assert ("reads them as well" in text) is ambiguous


@pytest.mark.parametrize("name", ["Patient ID", "Gerätenummer", "a.b", "名", "a/b"])
def test_the_column_that_records_are_keyed_by_is_found_whatever_it_is_called(name: str) -> None:
    records = [{"ward": f"w{i % 3}", name: f"{i % 40:04d}", "at": 1_700_000_000 + i} for i in range(200)]
    samples = [Sample(str(fields[name]).encode(), json.dumps(fields).encode()) for fields in records]
    pipeline = drafted(samples)
    assert pipeline.keys == [name]
    assert [raw.key for raw in pipeline.raw] == [None]  # as text
    assert {window.key for window in pipeline.windows} == {name}


def test_a_number_that_differs_in_every_record_is_no_feature_and_the_draft_says_so() -> None:
    text = draft(
        "cards.raw", [sample({"who": f"w{i % 2}", "at": 1_700_000_000, "n": 9 - i}) for i in range(9)], partitions=1
    )
    assert "n" not in {feature.name for feature in parse(text, "the draft").features}
    assert '# no feature: "n" (another number in every record' in text


def test_numbers_that_are_written_as_texts_are_features_by_their_value_and_name_no_event() -> None:
    records = [{"who": f"w{i % 2}", "at": 1_700_000_000, "price": f"{i}.50", "code": f"54{i:02}"} for i in range(30)]
    pipeline = drafted([sample(each) for each in records])
    told = {feature.name: feature.sql for feature in pipeline.features}
    assert told["price_number"] == 'TRY_CAST("price" AS DOUBLE)'
    assert pipeline.label.business_id == "code"


@pytest.mark.parametrize(
    ("name", "values", "classes"),
    [
        ("is_fraud", [True, False, False], ["false", "true"]),
        ("label", ["yes", "no", "no", ""], ["no", "yes"]),
        ("Label", [1, 0, 0], ["0", "1"]),
        ("target", [1.0, 0.0, 0.0], ["0", "1"]),
        ("outcome", ["paid", "paid", "disputed"], ["paid", "disputed"]),
        ("defaulted", ["yes", "no", "no"], ["no", "yes"]),
        ("machine_failure", [0, 0, 1], ["0", "1"]),
        ("was charged back", [False, False, True], ["false", "true"]),
    ],
)
def test_what_looks_like_the_answer_is_no_column_that_a_model_or_an_annotator_sees(
    name: str, values: list[object], classes: list[str]
) -> None:
    rows = [
        {"when": 1_700_000_000 + i, "who": f"w{i % 5}", "x": i * 0.5, name: values[i % len(values)]} for i in range(30)
    ]
    text = draft("cards.raw", list(map(sample, rows)), partitions=1, key="who")
    pipeline = parse(text, "draft")
    assert name not in {*pipeline.columns, *pipeline.feature_names, *pipeline.label.context}
    assert not any(window.column == name for window in pipeline.windows)
    assert (pipeline.label.column, pipeline.label.classes, pipeline.label.positive) == (name, classes, classes[-1])
    assert f'# left out: "{name}" (may be the answer' in text


def test_what_a_count_or_a_measurement_is_called_may_be_known_with_the_event() -> None:
    rows = [
        {"when": 1_700_000_000 + i, "who": f"w{i % 5}", "failed": i % 4, "default": i * 0.5, "died": "no"}
        for i in range(30)
    ]
    pipeline = parse(draft("cards.raw", list(map(sample, rows)), partitions=1, key="who"), "draft")
    assert {"failed", "default", "died"} <= set(pipeline.columns)
    assert pipeline.label.column is None


@pytest.mark.parametrize("values", [["1"], [0.5, 1.25, 7.5], [{"by": "ada"}, None]], ids=["one", "numbers", "objects"])
def test_an_answer_that_tells_no_classes_is_left_to_a_person(values: list[object]) -> None:
    rows = [{"when": 1_700_000_000 + i, "who": f"w{i % 5}", "label": values[i % len(values)]} for i in range(30)]
    text = draft("cards.raw", list(map(sample, rows)), partitions=1, key="who")
    pipeline = parse(text, "draft")
    assert "label" not in pipeline.columns
    assert pipeline.label.column is None
    assert pipeline.label.classes == ["normal", "positive"]


def test_numbers_with_a_comma_before_the_fraction_are_features_by_their_value_and_no_categories() -> None:
    rows = [
        {"when": 1_700_000_000 + i, "who": f"w{i % 5}", "sum": f"{i % 7 - 3},{i % 3}5" if i else "12"}
        for i in range(30)
    ]
    text = draft("cards.raw", list(map(sample, rows)), partitions=1, key="who")
    (feature,) = parse(text, "draft").features
    assert (feature.name, feature.sql) == ("sum_number", "TRY_CAST(REPLACE(\"sum\", ',', '.') AS DOUBLE)")
    assert "a comma before the fraction (CHOOSE" in text


def test_where_nothing_names_an_entity_records_are_named_by_their_time_whatever_it_is_called() -> None:
    pipeline = drafted([sample({"a time": 1_700_000_000, "x": 1.5})], time="a time")
    assert pipeline.keys == ["a time"]
    assert pipeline.windows == []


@pytest.mark.parametrize(
    ("samples", "given", "message"),
    [
        ([], {}, "topic 'cards.raw': none of 0 records is a JSON object; is its format JSON?"),
        ([Sample(None, b"a,b,c")], {}, "none of 1 records is a JSON object"),
        ([sample({"who": "a"})], {}, "no column looks like a time; name it with --time"),
        ([sample({"who": "a", "ts": 1_700_000_000})], {"time": "tss"}, "there is no column 'tss'; did you mean 'ts'?"),
        ([sample({"who": "a", "ts": 1_700_000_000})], {"time": "who"}, "'who' holds 'a', which is no time"),
        ([sample({"who": "a", "ts": 1_700_000_000 * 10**9})], {}, "'ts' looks like nanoseconds since 1970"),
        ([sample({"who": "a", "n": 1_700_000_000 * 10**9})], {}, "no column looks like a time; name it with --time"),
        ([sample({"who": "a", "n": 1_700_000_000 * 10**9})], {"time": "n"}, "have its sender write microseconds"),
        ([sample({"ts": 1_700_000_000, "x": 1.5, "y": 1})], {"key": "x"}, "'x' can't be a key"),
    ],
)
def test_what_cannot_be_drafted_is_told(samples: list[Sample], given: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        draft("cards.raw", samples, partitions=1, **given)
    assert message in str(raised.value)


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
NAMES = st.text(max_size=6) | st.sampled_from(
    ["id", "label", "is_fraud", "user id", "1st", "name", "who_count_1h", "ts", "a-b", 'a"b', "select"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(NAMES, VALUES | st.lists(VALUES, max_size=2), max_size=6), min_size=1, max_size=6))
def test_every_draft_passes_the_check(records: list[dict[str, object]]) -> None:
    samples = [sample(record | {"who": f"w{i % 2}", "when": 1_700_000_000 + i}) for i, record in enumerate(records)]
    pipeline = drafted(samples, key="who", time="when")
    assert {"who", "when"} <= set(pipeline.columns)


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ("json", lambda i: json.dumps(f"C{i % 7}").encode()),
        ("other", lambda _: None),
        ("other", lambda i: json.dumps({"card": f"C{i % 7}"}).encode()),
    ],
    ids=["in quotes", "not at all", "in an object"],
)
def test_a_draft_says_how_the_records_are_keyed(form: str, key: Callable[[int], bytes | None]) -> None:
    samples = [Sample(key(i), payment.value) for i, payment in enumerate(PAYMENTS)]
    pipeline = drafted(samples, key="card")
    assert pipeline.raw[0].key == form
    assert pipeline.repartitions == (form == "other")
    assert drafted(PAYMENTS).raw[0].key is None


def test_records_that_are_keyed_by_a_column_with_gaps_are_drafted_with_that_key() -> None:
    """Another key would give other windows; records without it become dead letters, and the draft says so."""
    rows = [
        {"ts": 1_700_000_000 + i, "card": None if i % 10 == 0 else f"c{i % 7}", "shop": f"s{i % 3}"} for i in range(60)
    ]
    samples = [
        Sample(None if row["card"] is None else str(row["card"]).encode(), json.dumps(row).encode()) for row in rows
    ]

    text = draft("payments", samples, partitions=2)

    assert parse(text, "p").keys == ["card"]
    assert "CHOOSE: card is missing in 6 of 60 records" in text
    assert parse(draft("payments", samples, partitions=2, key="card"), "p").keys == ["card"]


def test_a_text_of_many_values_keeps_the_commonest_and_says_so() -> None:
    texts = [f"m{i % 40 if i % 2 else i % 3:02}" for i in range(300)]
    samples = [sample({"when": 1_700_000_000 + i, "who": f"w{i % 5}", "shop": text}) for i, text in enumerate(texts)]
    text = draft("cards.raw", samples, partitions=1, key="who")
    (feature,) = [each for each in drafted(samples, key="who").features if each.name == "shop"]
    assert len(feature.categories or []) == 20
    assert {"m00", "m01", "m02"} <= set(feature.categories or [])
    assert "# the 20 commonest of 22 texts seen" in text


def test_a_text_that_is_another_in_every_record_is_named_as_no_feature() -> None:
    rows = [{"when": 1_700_000_000 + i, "who": f"w{i % 5}", "id": f"i{i}", "note": f"said {i}"} for i in range(30)]
    text = draft("cards.raw", list(map(sample, rows)), partitions=1, key="who")
    assert '# no feature: "note" (another text in every record' in text


def test_records_of_nothing_but_numbers_are_drafted_without_windows_and_run() -> None:
    pipeline = drafted([sample({"ts": 1_700_000_000.5 + i, "x": i * 0.1, "y": i * 0.3}) for i in range(30)])
    assert pipeline.keys == ["ts"]
    assert pipeline.windows == []
    assert [feature.name for feature in pipeline.features] == ["x", "y"]
    assert run_everything(pipeline, trains=True)[pipeline.topics.predictions]


def test_the_draft_names_the_settings_of_selection_start_and_training() -> None:
    pipeline = drafted(PAYMENTS)
    assert (pipeline.selection.policy, pipeline.selection.budget, pipeline.selection.explore) == ("robust", 8, 1)
    assert (pipeline.training.min_labels, pipeline.training.min_positive, pipeline.gates.min_holdout) == (16, 1, 10)
    assert (pipeline.start.anomalies, pipeline.start.positives) == (32, 20)
