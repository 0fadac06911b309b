import json
import random
import re
import subprocess
import sys
import time

import forests
import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import ModelTextError, parse_model

MUTATIONS_PER_MODEL = 120

# Loads each model in LightGBM and predicts with it; prints the number of each before it is tried.
NATIVE = """
import json, sys
import lightgbm as lgb, numpy as np
texts = json.load(sys.stdin)
x = np.random.default_rng(0).normal(size=(20, 6)) * 30
x[::3] = np.nan
for number, text in enumerate(texts):
    print(number, flush=True)
    try:
        booster = lgb.Booster(model_str=text)
        for options in ({}, {"raw_score": True}, {"pred_leaf": True}, {"pred_contrib": True}):
            booster.predict(x, num_threads=1, **options)
    except lgb.basic.LightGBMError as error:
        print("refused", error, flush=True)
print("done", flush=True)
"""


@pytest.mark.parametrize("kind", forests.KINDS)
def test_every_model_that_lightgbm_writes_is_read(kind: str) -> None:
    booster = forests.booster(kind)
    model = parse_model(forests.model_text(kind), expect_features=booster.feature_name())
    assert model.trees == booster.num_trees()
    assert model.outputs == booster.num_model_per_iteration()
    assert len(model.leaf_value) == booster.dump_model()["tree_info"][-1]["num_leaves"] + model.leaf_start[-2]


def test_values_are_read_to_the_last_bit() -> None:
    model = parse_model(forests.model_text("large"))
    booster = forests.booster("large")
    for tree in range(model.trees):
        leaves = model.leaf_value[model.leaf_start[tree] : model.leaf_start[tree + 1]]
        assert leaves.tolist() == [booster.get_leaf_output(tree, leaf) for leaf in range(len(leaves))]


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_model_that_was_loaded_continued_cut_or_refitted_is_read(rounds: int) -> None:
    x = forests.rows(300, 3)
    y = forests.target("binary", x, 3)
    loaded = lgb.Booster(model_str=forests.model_text("binary"))
    continued = lgb.train({"objective": "binary", "verbosity": -1}, lgb.Dataset(x, y), rounds, init_model=loaded)
    for booster in (loaded, continued, continued.refit(x, y)):
        assert parse_model(booster.model_to_string()).trees == booster.num_trees()
        assert parse_model(booster.model_to_string(num_iteration=1)).trees == 1


def test_a_model_without_trees_and_one_of_a_custom_objective_are_read() -> None:
    x = forests.rows(100, 0)
    empty = lgb.Booster({"objective": "binary", "verbosity": -1}, lgb.Dataset(x, forests.target("binary", x, 0)))
    assert parse_model(empty.model_to_string()).trees == 0

    def squares(raw: np.ndarray, data: lgb.Dataset) -> tuple[np.ndarray, np.ndarray]:
        return raw - data.get_label(), np.ones_like(raw)

    own = lgb.train({"objective": squares, "verbosity": -1}, lgb.Dataset(x, forests.target("positive", x, 0)), 2)
    assert parse_model(own.model_to_string()).objective is None


def test_a_linear_tree_is_refused_and_told_why() -> None:
    x = forests.rows(300, 0)
    data = lgb.Dataset(x, forests.target("positive", x, 0))
    booster = lgb.train({"objective": "regression", "linear_tree": True, "verbosity": -1}, data, 2)
    with pytest.raises(ModelTextError, match="linear trees are not supported"):
        parse_model(booster.model_to_string())


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"expect_features": ["a"] * 6}, "feature 0 is 'Column_0', expected 'a'"),
        ({"expect_features": [f"Column_{i}" for i in range(5)]}, "there are 6 features, expected 5"),
        ({"expect_classes": 3}, "2 classes, expected 3"),
        ({"expect_objective": "multiclass"}, "'binary', expected 'multiclass'"),
    ],
)
def test_a_header_that_is_not_as_expected_is_refused(expected: dict[str, object], message: str) -> None:
    with pytest.raises(ModelTextError, match=message):
        parse_model(forests.model_text("binary"), **expected)  # type: ignore[arg-type]


def test_expected_classes_are_those_of_the_task() -> None:
    for kind, classes in (("binary", 2), ("multiclass", 3), ("multiclassova", 3), ("regression", 1)):
        assert parse_model(forests.model_text(kind), expect_classes=classes).classes == classes


def edit(pattern: str, replacement: str) -> str:
    text, count = re.subn(pattern, replacement, forests.model_text("binary_categorical"), count=1, flags=re.MULTILINE)
    assert count == 1
    # sizes are mended, so that the edit itself is what is found
    blocks = re.finditer(r"^Tree=\d+\n(?:.+\n)*\n\n", text, re.MULTILINE)
    sizes = " ".join(str(len(block[0].encode())) for block in blocks)
    return re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"^version=v4$", "version=v3", "version: expected 'v4' .*, found 'v3'; load it in LightGBM 4 and save"),
        (r"^num_class=1$", "num_class=2", "do not fit"),
        (r"^max_feature_idx=5$", "max_feature_idx=4", "feature_names: expected 5"),
        (r"^max_feature_idx=5$", "max_feature_idx=99999999999", "max_feature_idx: expected an integer"),
        (r"^objective=.*$", "objective=binary sigmoid:-1", "sigmoid"),
        (r"^objective=.*$", "objective=golden", "none that LightGBM writes"),
        (r"Column_1", "Column_0", "'Column_0' is there twice"),
        (r"^(feature_infos)=\S+", r"\1=[1:2", "feature_infos"),
        (r"^num_leaves=\d+$", "num_leaves=2000000000", "num_leaves: expected an integer from 1 to 131072"),
        (r"^num_leaves=\d+$", "num_leaves=3", "split_feature: expected 2 numbers"),
        (r"^(split_feature)=\d+", r"\1=6", r"split_feature\[0\]: 6 is not from 0 to 5"),
        (r"^(split_feature)=\d+", r"\1=-1", r"split_feature\[0\]: -1"),
        (r"^(threshold)=\S+", r"\1=nan", "'nan' is not a number"),
        (r"^(threshold)=\S+", r"\1=1e999", "too large"),
        (r"^(decision_type)=\d+", r"\1=3", "there is no decision type 3"),
        (r"^(left_child)=\S+", r"\1=0", "node 0 has the child 0, which is not below it"),
        (r"^(right_child)=\S+", r"\1=-1", "is the child of"),
        (r"^(leaf_value)=\S+", r"\1=inf", "'inf' is not a number"),
        (r"^(leaf_value)=\S+ ", r"\1=", "leaf_value: expected 8 numbers, found 7"),
        (r"^(leaf_count)=\S+", r"\1=-5", "leaf_count"),
        (r"^(cat_boundaries)=0", r"\1=1", "they must start at 0 and rise"),
        (r"^(cat_threshold)=\S+", r"\1=4294967296", "cat_threshold"),
        (r"^(cat_threshold=.*)$", r"\1 1", "cat_threshold: expected"),
        (r"^num_cat=[1-9]\d*$", "num_cat=0", "category set|is_linear"),
        (r"^is_linear=0$", "is_linear=1", "linear trees"),
        (r"^shrinkage=.*$", "shrinkage=", "shrinkage"),
        (r"^Tree=0$", "Tree=1", "expected 'Tree=0'"),
        (r"^end of trees$", "end of forest", "expected 'end of trees'"),
        (r"^\[seed: .*\]$", "[seed]", r"expected '\[name: value\]'"),
        (r"^\[seed: .*\]$", "[seed: nan]", "'nan' is no value of seed"),
        (r"^\[data: \]$", '[data: "]', "is no value of data"),
        (r"^\[linear_tree: 0\]$", "[linear_tree: 1]", "linear trees"),
        (r"^end of parameters$", "parser:\n{}\nend of parser", "parameters"),
        (r"^pandas_categorical:null$", "pandas_categorical:{}", "pandas_categorical"),
        (r"^pandas_categorical:null$", "pandas_categorical:" + "[" * 100_000, "pandas_categorical"),
    ],
)
def test_what_lightgbm_would_not_write_is_refused_by_line(pattern: str, replacement: str, message: str) -> None:
    text = edit(pattern, replacement)
    with pytest.raises(ModelTextError, match=message) as refused:
        parse_model(text)
    assert 1 <= refused.value.line <= text.count("\n") + 2


def test_the_named_line_is_the_wrong_one() -> None:
    text = edit(r"^(leaf_value)=\S+", r"\1=inf")
    with pytest.raises(ModelTextError) as refused:
        parse_model(text)
    assert text.splitlines()[refused.value.line - 1].startswith("leaf_value=inf")


@pytest.mark.parametrize("size", [0, 1, 5, 300, -2, -1])
def test_a_cut_text_is_refused(size: int) -> None:
    with pytest.raises(ModelTextError):
        parse_model(re.sub(r"\n+pandas_categorical:null\n", "\n", forests.model_text("binary"))[:size])


def test_sizes_that_do_not_match_the_trees_are_refused() -> None:
    text = re.sub(
        r"^(tree_sizes=)(\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}", forests.model_text("binary"), flags=re.MULTILINE
    )
    with pytest.raises(ModelTextError, match="tree_sizes says"):
        parse_model(text)


def test_a_tree_too_deep_for_lightgbms_recursion_is_refused() -> None:
    nodes = 1025
    numbers = {
        "split_feature": [0] * nodes, "split_gain": [1] * nodes,
        "threshold": range(nodes), "decision_type": [2] * nodes,
        "left_child": [-1 - i for i in range(nodes)], "right_child": [*range(1, nodes), -1 - nodes],
        "leaf_value": [0] * (nodes + 1), "leaf_weight": [1] * (nodes + 1), "leaf_count": [1] * (nodes + 1),
        "internal_value": [0] * nodes, "internal_weight": [1] * nodes, "internal_count": [2] * nodes,
    }  # fmt: skip
    lines = [f"{key}={' '.join(map(str, value))}" for key, value in numbers.items()]
    block = "\n".join(
        ["Tree=0", f"num_leaves={nodes + 1}", "num_cat=0", *lines, "is_linear=0", "shrinkage=1", "", "", ""]
    )
    head, _, rest = forests.model_text("binary").partition("tree_sizes=")
    trailer = rest[rest.index("end of trees") :]
    with pytest.raises(ModelTextError, match="1025 splits deep"):
        parse_model(f"{head}tree_sizes={len(block)}\n\n{block}{trailer}")


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"tree\r\nversion=v4\r\n",
        b"tree\x00",
        b"\n" * 1_000_000,
        b"tree\n" * 1_000_000,
        b"tree\nversion=v4\nnum_class=" + b"9" * 1_000_000 + b"\n",
        b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=999999\n"
        b"objective=regression\nfeature_names=" + b" " * 3_000_000 + b"\n",
        b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
        b"objective=regression\nfeature_names=a\nfeature_infos=none\ntree_sizes=" + b"1 " * 1_500_000 + b"\n",
        b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
        b"objective=regression\nfeature_names=a\nfeature_infos=" + b"1:" * 1_500_000 + b"\ntree_sizes=1\n",
    ],
    ids=["bytes", "crlf", "nul", "blank", "repeated", "digits", "spaces", "sizes", "categories"],
)
def test_nasty_text_is_refused_at_once(text: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ModelTextError):
        parse_model(text)
    assert time.process_time() - began < 5


def test_a_text_above_the_size_cap_is_refused_unread() -> None:
    with pytest.raises(ModelTextError, match="at most 1000 are accepted"):
        parse_model(forests.model_text("binary"), max_bytes=1000)


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(ModelTextError):
        parse_model(data)


NASTY = ("-1", "0", "1", "2", "5", "77", "2147483647", "-2147483648", "1e300", "nan", "inf", "")


def with_another_number(line: str, rng: random.Random) -> str:
    numbers = list(re.finditer(r"-?\d+(?:\.\d+)?", line))
    if not numbers:
        return line
    found = rng.choice(numbers)
    return line[: found.start()] + rng.choice(NASTY) + line[found.end() :]


def with_tokens_changed(line: str, rng: random.Random) -> str:
    tokens = line.split(" ")
    a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    if rng.random() < 0.5:
        del tokens[a]
    else:
        tokens[a], tokens[b] = tokens[b], tokens[a]
    return " ".join(tokens)


def with_another_byte(line: str, rng: random.Random) -> str:
    at = rng.randrange(len(line) + 1)
    return line[:at] + chr(rng.randrange(32, 127)) + line[at + 1 :]


def cut_somewhere(line: str, rng: random.Random) -> str:
    return line[: rng.randrange(len(line) + 1)]


def mutated(text: str, rng: random.Random) -> str:
    """One or two random changes of the kind that corrupts files: of a number, a token, a byte, a line, or a cut."""
    for _ in range(rng.choice((1, 1, 2))):
        lines = text.split("\n")
        row = rng.randrange(min(len(lines), 90)) if rng.random() < 0.8 else rng.randrange(len(lines))
        how = rng.randrange(7)
        if how < 5:
            change = (with_another_number, with_another_number, with_tokens_changed, with_another_byte, cut_somewhere)
            lines[row] = change[how](lines[row], rng)
        elif how == 5:
            del lines[row]
        else:
            lines.insert(row, lines[rng.randrange(len(lines))])
        text = "\n".join(lines)
    if rng.random() < 0.05:
        text = cut_somewhere(text, rng)
    if rng.random() < 0.7:
        blocks = re.findall(r"^Tree=(?:.|\n(?!Tree=|end of trees))*\n", text, re.MULTILINE)
        sizes = " ".join(str(len(block)) for block in blocks)
        text = re.sub(r"^tree_sizes=.*$", f"tree_sizes={sizes}", text, flags=re.MULTILINE)
    return text


def test_no_mutation_that_is_accepted_crashes_lightgbm() -> None:
    rng = random.Random(20_260)
    accepted, refused = [], 0
    for kind in ("binary_categorical", "multiclass", "zero_is_missing", "constant"):
        text = forests.model_text(kind, rounds=2)
        for _ in range(MUTATIONS_PER_MODEL):
            changed = mutated(text, rng)
            try:
                parse_model(changed)
            except ModelTextError:
                refused += 1
            else:
                accepted.append(changed)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NATIVE],
        input=json.dumps(accepted), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1] if done.stdout else "nothing"
    assert last == "done", f"LightGBM died (exit {done.returncode}) at accepted mutation {last}: {done.stderr[-500:]}"
    assert "refused" not in done.stdout
    assert refused > MUTATIONS_PER_MODEL
    assert len(accepted) > 20
