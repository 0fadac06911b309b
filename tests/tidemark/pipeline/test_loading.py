from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text
from streaming import PIPELINE, SECOND_KEY

from tidemark.errors import ConfigError
from tidemark.pipeline import format_duration, json_schema, load, parse, parse_duration, schema_hash
from tidemark.pipeline.expressions import compile_expression, evaluate
from tidemark.pipeline.model import Cost

FRAUD = Path(__file__).parents[3] / "pipelines" / "fraud.toml"
SHOP = PIPELINE.format(keys='["who", "place"]', second=SECOND_KEY)


def errors_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        parse(text, "shop.toml")
    return str(raised.value).splitlines()


def test_the_fraud_pipeline_is_right() -> None:
    pipeline = load(FRAUD)
    assert pipeline.hop_topics == ["fraud.by-terminal_id"]
    assert pipeline.feature_names[0] == "amount"
    assert pipeline.feature_names[-1] == "terminal_rate_1d_to_7d"
    assert len(set(pipeline.feature_names)) == len(pipeline.feature_names) == 23
    assert pipeline.time.lateness == 6 * 3_600_000_000


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('size = "20s"', 'size = "1 hour"', "windows[0].size: '1 hour' is not a duration; write '1h'"),
        ('size = "20s"', 'size = "0s"', "windows[0].size: '0s' is out of range; write a duration above 0"),
        ('size = "20s"', "size = 20", "windows[0].size: 20 is not a duration; write a number and a unit in quotes"),
        ('tile = "30s"', 'tiel = "30s"', "selection.tiel: is no key of a pipeline file; did you mean 'tile'?"),
        ('tile = "30s"', "", "selection.tile: is missing; add it: length of event time in which one decision is made"),
        ('aggregate = "count"', 'aggregate = "number"', "windows[0].aggregate: 'number' is not allowed; write 'count'"),
        ("who = { type = ", "who = { tpye = ", "columns.who.tpye: is no key of a pipeline file; did you mean 'type'?"),
        (
            "[label]",
            "[label.answers]\nx = 1\n[label]",
            "label.answers: is no key of a pipeline file; known are business_id",
        ),
        ("budget = 2", 'budget = "two"', "selection.budget: 'two' is wrong; it should be a valid integer"),
        ("budget = 2", "budget = 0", "selection.budget: 0 is wrong; it should be greater than or equal to 1"),
        (
            "who = { type = ",
            'n = { type = "int", range = [0, 1e19] }\nwho = { type = ',
            "columns.n.range: [0, 1e+19] of an int must be whole numbers of 64 bits",
        ),
        ("missing = [-1]", "missing = [[]]", "columns.amount.missing[0]: [] is wrong; it should be a valid string or"),
        (
            "missing = [-1]",
            'missing = ["x"]',
            "columns.amount.missing[0]: 'x' is no float; write a value of the column",
        ),
        ('name = "shop"', 'name = "my shop"', "name: 'my shop' is not allowed; write text that matches"),
        ('name = "shop"', 'name = "shop', "is no TOML"),
        ('topic = "shop.raw"', 'topic = "shop raw"', "raw[0].topic: 'shop raw' is no topic name"),
        (
            'topic = "shop.raw"',
            'topic = "shop.labels"',
            "raw[0].topic: 'shop.labels' is a topic that the pipeline writes",
        ),
        ('"shop.raw" }', '"a" }, { topic = "a" }', "raw[1].topic: 'a' is named twice"),
        (
            'keys = ["who", "place"]',
            'keys = ["who", "plaec"]',
            "keys[1]: there is no column 'plaec'; did you mean 'place'?",
        ),
        ('keys = ["who", "place"]', 'keys = ["who", "place", "who"]', "keys[2]: 'who' is named twice"),
        ('keys = ["who", "place"]', 'keys = ["who", "place", "amount"]', "keys[2]: column 'amount' is a float"),
        ('keys = ["who", "place"]', 'keys = ["who", "place", "kind"]', "keys[2]: column 'kind' may be missing"),
        ('keys = ["who", "place"]', 'keys = ["who", "place", "at"]', "keys[2]: 'at' is the time column"),
        (
            'who = { type = "string" }',
            'who = { type = "string" }\n"_x" = { type = "int" }',
            "columns._x: '_x' begins with",
        ),
        ('column = "at"', 'column = "when"', "time.column: there is no column 'when'"),
        ('format = "epoch_us"', 'format = "iso8601"', "time.format: 'iso8601' needs a column of type 'string'"),
        ('at = { type = "int" }', 'at = { type = "int", required = false }', "time.column: column 'at' may be missing"),
        ('at = { type = "int" }', 'at = { type = "int", missing = [0] }', "columns.at.missing: the time column can't"),
        ("END AS amount", "END AS", "clean[0]: 'CASE WHEN amount < 0 THEN NULL ELSE amount END AS': it is no SQL"),
        ("END AS amount", "END AS at", "clean[0]"),
        ("END AS amount", "END AS who", "clean[0]"),
        ('sql = "amount > 50"', 'sql = "amonut > 50"', "features[2].sql: 'amonut > 50': there is no column 'amonut'"),
        ('sql = "amount > 50"', 'sql = "amount > AVG(amount)"', "it looks at other rows than its own"),
        ('sql = "amount > 50"', 'sql = "LAG(amount) OVER (ORDER BY at)"', "it looks at other rows than its own"),
        ('sql = "amount > 50"', 'sql = "SUM(amount)"', "it looks at other rows than its own"),
        ('sql = "amount > 50"', 'sql = "at < NOW()"', "it asks for the present time, which a replay can't repeat"),
        ('sql = "amount > 50"', 'sql = "50"', "it reads no column, so it is the same for every row"),
        ('sql = "amount > 50"', 'sql = "*"', "features[2].sql"),
        ('sql = "amount > 50"', 'sql = "at"', "features[2].sql: 'at' gives Datetime"),
        (
            'sql = "amount > 50"',
            'sql = "kind"',
            "features[2].sql: 'kind' gives String, and a feature is a number; list its",
        ),
        ('sql = "amount > 50"', 'sql = "amount + kind"', "features[2].sql: 'amount + kind': "),
        ('sql = "amount > 50"', 'sql = "CAST(kind AS INT) + place + LENGTH(id)"', "'id' identifies the event"),
        ('sql = "amount > 50"', 'sql = "amount"\nfunction = "a:b"', "features[2]: it has both 'sql' and 'function'"),
        ('sql = "amount > 50"', 'function = "nowhere"', "features[2].function: 'nowhere': write a function as"),
        ('sql = "amount > 50"', 'function = "nowhere:f"', "its module can't be imported"),
        ('sql = "amount > 50"', 'function = "math:sqtr"', "module 'math' has no function 'sqtr'; did you mean 'sqrt'?"),
        ('sql = "amount > 50"', 'function = "math:floor"', "it fails on every row that was tried: big: TypeError"),
        (
            'sql = "amount > 50"',
            'sql = "amount > 50"\ncategories = ["a"]',
            "features[2].categories: 'amount > 50' gives",
        ),
        ('["a", "b", "ü"]', '["a", "a"]', "features[1].categories: categories are empty or repeat"),
        ('name = "big"', 'name = "who"', "features[2].name: 'who' is a column's name"),
        ('name = "big"', 'name = "who_count"', "windows[0].name: 'who_count' is taken by features[2]"),
        ('name = "big"', 'name = "a b"', "features[2].name: 'a b' is not allowed"),
        (
            'key = "place"',
            'key = "palce"',
            "windows[5].key: 'palce' is none of the pipeline's keys; did you mean 'place'?",
        ),
        ('aggregate = "count"', 'aggregate = "sum"', "windows[0].column: 'sum' needs a column; name one"),
        ('aggregate = "count"', 'aggregate = "count"\ncolumn = "amuont"', "did you mean 'amount'?"),
        ('aggregate = "mean"\ncolumn = "amount"', 'aggregate = "mean"\ncolumn = "amuont"', "did you mean 'amount'?"),
        (
            'aggregate = "mean"\ncolumn = "amount"',
            'aggregate = "mean"\ncolumn = "id"',
            "windows[1].column: column 'id' is String",
        ),
        ('aggregate = "last"', 'aggregate = "quantile"', "windows[3].probability: 'quantile' needs it; write one, as"),
        ("probability = 0.5", "probability = 2.0", "windows[15].probability: 2.0 is wrong"),
        ('half_life = "20s"', 'half_life = "20s"\nprobability = 0.5', "probability: 'decayed_sum' has none; remove it"),
        ('half_life = "20s"', "", "half_life: 'decayed_sum' needs it; write one, as in half_life = '6h'"),
        ('half_life = "20s"', 'half_life = "20s"\nerror = 0.1', "error: 'decayed_sum' is exact; remove it"),
        ("rows = 5", "rows = 0", "windows[19].rows: 0 is wrong; it should be greater than or equal to 1"),
        ("rows = 5", 'rows = 5\ngap = "4s"', "windows[19].gap: a window has either 'rows' or 'gap'; remove one"),
        ('gap = "4s"', 'gap = "50s"', "windows[22].gap: 'size' = '50s' bounds a session and must be longer than '50s'"),
        ('gap = "4s"', 'gap = "4"', "windows[22].gap: '4' is not a duration"),
        (
            "error = 0.1",
            "error = 0.1\nrows = 2",
            "rows: 'approx_distinct' keeps no rows; remove it, or take 'distinct'",
        ),
        ("error = 0.1", "error = 0.5", "error: 0.5 is out of range; write a number from 0.0021 to 0.26"),
        (
            'sql = "amount / who_mean"',
            'sql = "amount / who_maen"',
            "derived[0].sql: 'amount / who_maen': there is no column",
        ),
        ('sql = "amount / who_mean"', 'sql = "amount / MAX(who_mean)"', "derived[0].sql"),
        ('sql = "amount / who_mean"', "", "derived[0]: it needs exactly one of 'sql' and 'function'"),
        ('sql = "amount / who_mean"', "sql = \"CONCAT(amount, 'x')\"", "derived[0].sql"),
        ('positive = "bad"', 'positive = "bda"', "label.positive: 'bda' is no class; did you mean 'bad'?"),
        ('["good", "bad"]', '["bad", "bad"]', "label.classes: ['bad', 'bad'] has an empty class or one twice"),
        ('["good", "bad"]', '["bad"]', "label.classes: ['bad'] is wrong"),
        (
            'business_id = "id"',
            'business_id = "idd"',
            "label.business_id: there is no column 'idd'; did you mean 'id'?",
        ),
        ('business_id = "id"', 'business_id = "amount"', "label.business_id: column 'amount' is a float"),
        ('context = ["id", ', 'context = ["idd", ', "label.context[0]: there is no column 'idd'; did you mean 'id'?"),
        ('positive = "bad"', 'positive = "bad"\ncolumn = "kind"', "label.column: 'kind' tells the answer"),
        ('positive = "bad"', 'positive = "bad"\nleaks = ["kind"]', "label.leaks[0]: 'kind' tells the answer"),
        ("explore = 1", "explore = 3", "selection.explore: 3 is more than the budget of 2; write at most 2"),
        ("explore = 1", "explore = 1\ntotal = 1", "selection.total: 1 is less than one tile's budget of 2"),
        (
            "[label]",
            '[labeling]\nsegment = "idd"\n[label]',
            "labeling.segment: 'idd' is no column of label.context; did you mean 'id'?",
        ),
        ("[label]", '[labeling]\nskill = "idd"\n[label]', "labeling.skill: 'idd' is no column of label.context"),
        (
            "[label]",
            '[labeling.hidden]\nidd = ["viewer"]\n[label]',
            "labeling.hidden.idd: 'idd' is no column of label.context; did you mean 'id'?",
        ),
        ("[label]", "[labeling.hidden]\nid = []\n[label]", "labeling.hidden.id: roles are missing or repeat"),
        (
            "[label]",
            "[labeling]\nanswers = 3\nmax_answers = 2\n[label]",
            "labeling.max_answers: 2 is less than labeling.answers = 3; raise it, or leave it out",
        ),
        ("[label]", "[labeling.due]\nlead = '5m'\n[label]", "labeling.due: no case gets a due time; write default"),
        (
            "[label]",
            "[labeling.due]\nsegments = { north = '5m' }\n[label]",
            "labeling.due.segments: there are no segments; name their column by labeling.segment",
        ),
        (
            "[label]",
            "[labeling.due]\ndefault = '4h'\ntogether = '5m'\n[label]",
            "labeling.due.together: nothing goes by it; name a column by labeling.due.error_cost",
        ),
        (
            "[label]",
            "[labeling]\ngold_every = 9\n[labeling.due]\ndefault = '4h'\nerror_cost = 'idd'\n[label]",
            "labeling.due.error_cost: 'idd' is no column of label.context; did you mean 'id'?",
        ),
        (
            "[label]",
            "[labeling]\ngold_every = 9\n[labeling.due]\ndefault = '4h'\nerror_cost = 'id'\n[label]",
            "labeling.due.error_cost: column 'id' is no number; name one of type float or int",
        ),
        (
            "[label]",
            "[labeling.due]\ndefault = '4h'\nerror_cost = 'id'\n[label]",
            "labeling.due.error_cost: nobody's errors are ever known",
        ),
        (
            'positive = "bad"',
            'positive = "bad"\nsources = ["person", "person"]',
            "label.sources: ['person', 'person'] has one twice; write each once",
        ),
        (
            'positive = "bad"',
            'positive = "bad"\nsources = ["outcome"]',
            "label.sources: outcomes are learnt from only with [label.outcomes]; add it",
        ),
        (
            'positive = "bad"',
            'positive = "bad"\nsources = ["person"]\noutcomes = { of = "all" }',
            "label.sources: [label.outcomes] says which outcomes are labels; add 'outcome' here",
        ),
        (
            'positive = "bad"',
            'positive = "bad"\noutcomes = { of = "all", share = { goood = 0.1 } }',
            "label.outcomes.share.goood: 'goood' is no class; did you mean 'good'?",
        ),
        (
            "[label]",
            "[training]\nlearner = 'boosted'\n[label]\noutcomes = { of = 'all', share = { good = 0.1 } }",
            "label.outcomes.share: the learner 'boosted' can't allow for shares that differ by class",
        ),
        (
            "explore = 1",
            "explore = 1\nper_hour = 4\ncost = { unit = 's', case = 5 }",
            "selection.per_hour: 4 is less than the random cases of one tile, 5 s; raise it",
        ),
        (
            "explore = 1",
            "explore = 1\ntotal = 9\ncost = { unit = 's', case = 5 }",
            "selection.total: 9 is less than one tile's budget of 10 s; raise it",
        ),
        (
            "explore = 1",
            "explore = 1\nper_day = 60\ncost = { unit = 's', column = 'idd' }",
            "selection.cost.column: 'idd' is no column of label.context; did you mean 'id'?",
        ),
        (
            "explore = 1",
            "explore = 1\nper_day = 60\ncost = { unit = 's', of = { phone = 9 } }",
            "selection.cost.of: it names values of a column; say which, by column",
        ),
        (
            "explore = 1",
            "explore = 1\ncost = { unit = 's' }",
            "selection.cost: nothing is bounded by it; add selection.total, per_hour or per_day",
        ),
        (
            "[label]",
            "[training]\nmin_positive = 30\n[label]",
            "training.min_positive: 30 is more than training.min_labels",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_key_and_remedy(before: str, after: str, expected: str) -> None:
    assert before in SHOP
    lines = errors_of(SHOP.replace(before, after, 1))
    assert any(expected in line for line in lines), lines
    assert all(line.startswith("shop.toml:") for line in lines)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ("num_iterations = 0", "training.params.num_iterations: 0 is wrong; write a whole number from 1 to 10,000"),
        ("num_iterations = 20.0", "training.params.num_iterations: 20.0 is wrong; write a whole number"),
        ('num_iterations = "20"', "training.params.num_iterations: '20' is wrong; write a whole number"),
        ("n_estimators = true", "training.params.n_estimators: True is wrong; write a whole number"),
        ("num_trees = 9\nnum_rounds = 9", "training.params.num_rounds: is another name of num_trees; keep one"),
        ("early_stopping_round = 5", "training.params.early_stopping_round: can't be set: there are too few labels"),
        ("n_iter_no_change = 5", "training.params.n_iter_no_change: can't be set"),
        ('loss = "l2"', "training.params.loss: can't be set: it follows from the number of classes"),
        ('boosting = "rf"', "training.params.boosting: can't be set: training.learner names what learns"),
        ("num_leaves = 1", "training.params.num_leaves: 1 is wrong; write a whole number from 2 to 4,096"),
        ("learning_rate = 0.0", "training.params.learning_rate: 0.0 is wrong; write a number above 0"),
        ("learning_rate = nan", "training.params.learning_rate: nan is wrong"),
        (
            "bagging_fraction = 1.5",
            "bagging_fraction: 1.5 is wrong; write a number from 0.1 to 1",
        ),
        ("extra_trees = 1", "training.params.extra_trees: 1 is wrong; write true or false"),
        ("num_leafs = 9", "training.params.num_leafs: is no parameter that can be set; did you mean num_leaves?"),
        ("is_unbalance = true\nscale_pos_weight = 2.0", "scale_pos_weight: excludes is_unbalance; keep one"),
    ],
)
def test_parameters_that_would_end_a_training_are_refused(params: str, expected: str) -> None:
    lines = errors_of(f"{SHOP}\n[training.params]\n{params}\n")
    assert any(expected in line for line in lines), lines


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ('context = ["id", ', 'context = ["id", "id", ', "label.context[1]: 'id' is named twice; remove one"),
        ('name = "big"', 'name = "_time"', "features[2].name: '_time' is a column of Tidemark's own"),
        ("END AS amount", "END AS _x", "'_x' begins with '_', as Tidemark's own columns do"),
        (
            'who = { type = "string" }',
            'who = { type = "string" }\n\'a"b\' = { type = "int" }',
            """'a"b' has a quote, a b""",
        ),
        (
            'who = { type = "string" }',
            'who = { type = "string", names = ["who", "w\\\\o"] }',
            "columns.who.names[1]: 'w\\\\o' has a quote, a backslash or a control character; give the column another",
        ),
        ('who = { type = "string" }', 'who = { type = "string" }\nf_big = { type = "int" }', "'f_big' is a column, by"),
        ('topic = "shop.raw"', 'topic = "shop_labels"', "'shop_labels' and 'shop.labels' are one name to Kafka"),
        ("budget = 2", "budget = 2_000_000_000", "selection.budget: 2000000000 is wrong; it should be less than"),
        ('tile = "30s"', 'tile = "30s"\ncandidates_per_pick = 0', "candidates_per_pick: 0 is wrong"),
    ],
)
def test_what_a_later_step_would_refuse_is_refused_at_once(before: str, after: str, expected: str) -> None:
    text = SHOP.replace("candidates_per_pick = 2\n", "") if "candidates_per_pick" in after else SHOP
    lines = errors_of(text.replace(before, after, 1))
    assert any(expected in line for line in lines), lines


def test_a_tolerance_without_bounds_is_refused() -> None:
    assert any("gates.tolerance: inf is wrong" in line for line in errors_of(f"{SHOP}\n[gates]\ntolerance = inf\n"))


def test_everything_that_is_wrong_is_told_at_once() -> None:
    text = SHOP.replace('size = "20s"', 'size = "20"').replace("budget = 2", "").replace('"count"', '"coutn"')
    assert len(errors_of(text)) == 3
    text = (
        SHOP.replace('positive = "bad"', 'positive = "x"')
        .replace("explore = 1", "explore = 9")
        .replace('"who_', '"who')
    )
    assert len(errors_of(text)) >= 3


def test_a_pipeline_without_features_is_refused() -> None:
    begin, end = SHOP.index("[[features]]"), SHOP.index("[label]")
    assert errors_of(SHOP[:begin] + SHOP[end:]) == [
        "shop.toml: features: the model has no features; add [[features]] or [[windows]]"
    ]


def test_files_that_cant_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "fraud.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"frud\.toml: there is no such file; did you mean 'fraud\.toml'\?"):
        load(tmp_path / "frud.toml")
    with pytest.raises(ConfigError, match=r"fraud\.toml: is not UTF-8 text \(byte 0\)"):
        load(tmp_path / "fraud.toml")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="there is no such file; there are none"):
        load(tmp_path / "nowhere" / "x.toml")


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (f"budget = {'9' * 5_000}", "is no TOML: Exceeds the limit"),
        (f"budget = {'9' * 4_000}", "selection.budget: is a whole number beyond 64 bits"),
        (f"budget = 0x{'f' * 5_000}", "selection.budget: is a whole number beyond 64 bits"),
        (f"budget = 2\nx = [{'[' * 2_000}{']' * 2_000}]", "nested too deeply"),
    ],
)
def test_a_number_or_a_nesting_without_bounds_is_refused_in_a_sentence(after: str, expected: str) -> None:
    (line,) = errors_of(SHOP.replace("budget = 2", after, 1))
    assert expected in line
    assert len(line) < 200


def test_patterns_of_times_are_checked() -> None:
    text = SHOP.replace('column = "at"', 'column = "at"\npatterns = ["%H:%M"]', 1)
    assert any("time.patterns[0]: '%H:%M': it tells no day" in line for line in errors_of(text))
    assert any("time.patterns: 'epoch_us' is a number" in line for line in errors_of(text))


def test_a_feature_may_be_a_function_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import polars as pl\ndef doubled(frame: pl.DataFrame) -> pl.Series:\n    return frame['amount'] * 2\n"
    source += "def ranked(frame: pl.DataFrame) -> pl.Series:\n    return frame['amount'].rank()\n"
    source += "def short(frame: pl.DataFrame) -> pl.Series:\n    return frame['amount'].head(0)\n"
    (tmp_path / "shop_functions.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    text = SHOP.replace('sql = "amount > 50"', 'function = "shop_functions:doubled"')
    feature = parse(text, "shop.toml").features[2]
    expression = compile_expression("big", feature.sql, feature.function, {"amount": pl.Float64()})
    assert evaluate([expression], pl.DataFrame({"amount": [1.5]}))["big"].to_list() == [3.0]
    assert "looks at other rows" in errors_of(text.replace("doubled", "ranked"))[0]
    assert "fails on every row" in errors_of(text.replace("doubled", "short"))[0]


def test_the_schema_hash_names_what_a_model_is_trained_on() -> None:
    pipeline = parse(SHOP, "shop.toml")
    assert schema_hash(pipeline) == schema_hash(parse(SHOP, "elsewhere.toml"))
    same = [("budget = 2", "budget = 7"), ('context = ["id", ', "context = ["), ('delay = "1m"', 'delay = "2m"')]
    other = [
        ('size = "20s"', 'size = "21s"'),
        ('["good", "bad"]', '["fine", "bad"]'),
        ("amount > 50", "amount > 51"),
        ("THEN 2 ELSE", "THEN 3 ELSE"),
        ("amount < 0", "amount < 1"),
        ("missing = [-1]", "missing = [-2]"),
        ('lateness = "10s"', 'lateness = "11s"'),
        ("include_current = true", "include_current = false"),
        ("probability = 0.5", "probability = 0.6"),
        ('half_life = "20s"', 'half_life = "21s"'),
        ("error = 0.1", "error = 0.11"),
    ]
    for before, after in same:
        assert schema_hash(parse(SHOP.replace(before, after), "x")) == schema_hash(pipeline), after
    hashes = {schema_hash(parse(SHOP.replace(before, after), "x")) for before, after in other}
    assert len(hashes) == len(other)
    assert schema_hash(pipeline) not in hashes
    assert all(len(h) == 16 and int(h, 16) >= 0 for h in hashes)


def test_the_json_schema_has_every_table_and_describes_durations() -> None:
    schema = json_schema()
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"name", "raw", "keys", "time", "columns", "windows", "derived", "label"} <= set(schema["properties"])
    size = schema["$defs"]["Window"]["properties"]["size"]
    assert size["type"] == "string"
    assert "6h" in size["examples"]


@given(st.integers(1, 9_000), st.sampled_from(["us", "ms", "s", "m", "h", "d"]))
def test_durations_survive_being_written(number: int, unit: str) -> None:
    duration = parse_duration(f"{number}{unit}")
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("1 hour", "write '1h'"),
        ("90 Minutes", "write '90m'"),
        ("10 sec", "write '10s'"),
        ("5D", "write '5d'"),
        ("soon", "write a number and a unit"),
        ("-1h", "write a number and a unit"),
        ("1.5h", "write a number and a unit"),
        ("99999d", "is out of range"),
        ("٣h", "is not a duration"),
    ],
)
def test_what_is_no_duration_is_told_with_a_remedy(text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        parse_duration(text)


@pytest.mark.parametrize(
    ("column", "named", "reason"),
    [
        ('"float"', "1", "'1' is no value of 'kind', which holds Float64; write '1.0'"),
        ('"float"', "1e3", "'1e3' is no value of 'kind', which holds Float64; write '1000.0'"),
        ('"float"', "-0.0", "'-0.0' is no value of 'kind', which holds Float64; write '0.0'"),
        ('"float"', "one", "'one' is no value of 'kind', which holds Float64; remove it"),
        ('"int"', "007", "'007' is no value of 'kind', which holds Int64; write '7'"),
        ('"int"', "1.0", "'1.0' is no value of 'kind', which holds Int64; remove it"),
        ('"bool"', "True", "'True' is no value of 'kind', which holds Boolean; write 'true'"),
        ('"bool"', "yes", "'yes' is no value of 'kind', which holds Boolean; remove it"),
        (
            '"string", vocabulary = ["phone", "web"]',
            "Phone",
            "'Phone' is not in the vocabulary of 'kind'; did you mean",
        ),
    ],
)
@pytest.mark.parametrize("where", ["selection.cost.of", "labeling.due.segments"])
def test_a_value_that_no_event_can_have_is_refused_where_it_is_named(
    column: str, named: str, reason: str, where: str
) -> None:
    text = pipeline_text(label='context = ["kind"]', extra=_naming(where, named))
    text = text.replace('c = { type = "float" }', f'c = {{ type = "float" }}\nkind = {{ type = {column} }}')
    assert errors_of(text)[0].partition(f"{where}.")[2].partition(": ")[2].startswith(reason)


@pytest.mark.parametrize(
    ("column", "named"),
    [
        ('"float"', ["1.0", "1e+22", "0.0", "-2.5"]),
        ('"int"', ["7", "-1", "0"]),
        ('"bool"', ["true", "false"]),
        ('"string"', ["phone", "007", "=1+1"]),
        ('"string", vocabulary = ["phone"]', ["phone", "other"]),
        ('"string", vocabulary = ["phone"], other = "rest"', ["phone", "rest"]),
    ],
)
@pytest.mark.parametrize("where", ["selection.cost.of", "labeling.due.segments"])
def test_a_value_that_an_event_can_have_is_taken_where_it_is_named(column: str, named: list[str], where: str) -> None:
    for value in named:
        text = pipeline_text(label='context = ["kind"]', extra=_naming(where, value))
        parse(text.replace('c = { type = "float" }', f'c = {{ type = "float" }}\nkind = {{ type = {column} }}'), "p")


def test_a_segment_is_named_as_the_queue_tells_it() -> None:
    text = pipeline_text(label='context = ["kind"]', extra=_naming("labeling.due.segments", "a  b"))
    text = text.replace('c = { type = "float" }', 'c = { type = "float" }\nkind = { type = "string" }')
    assert "segments are told as 'a b'; write it so" in errors_of(text)[0]


def _naming(where: str, value: str) -> str:
    if where == "selection.cost.of":
        return f'total = 100\n[selection.cost]\nunit = "s"\ncolumn = "kind"\nof = {{ "{value}" = 9 }}'
    return f'[labeling]\nsegment = "kind"\n[labeling.due]\nsegments = {{ "{value}" = "1h" }}'


@pytest.mark.parametrize(
    ("value", "cost"), [(1.0, 9), (-0.0, 8), (0.0, 8), (True, 7), (5, 6), (None, 1), ("x", 1), (1e22, 5)]
)
def test_a_case_costs_what_its_value_is_named_with(value: object, cost: int) -> None:
    of = {"1.0": 9, "0.0": 8, "true": 7, "5": 6, "1e+22": 5}
    assert Cost(unit="s", column="x", of=of).of_case({"x": value}) == cost
