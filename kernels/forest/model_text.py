"""A strict reader of LightGBM model text (``version=v4``): what it accepts can't crash native code.

LightGBM trusts its model files: of 400 random mutations of one, 167 crashed or hung the process, without an
exception. So a model that came from outside is read here first. The reader knows exactly what LightGBM writes
(``GBDT::SaveModelToString`` and ``Tree::ToString``, unchanged since 4.0) and refuses all else: every field in its
place, ``tree_sizes`` that match the blocks byte for byte, arrays of the right length, children that form one tree,
features, categories and decision types in range, finite leaves. Work and memory are linear in the length of the text,
which is bounded.

Refused though LightGBM can write it: linear trees (``linear_tree``), custom parsers (``parser_config_file``), trees
deeper than 1,024 splits (LightGBM's own recursion over them overflows the stack) and more than 10,000 classes.

Longer than 400 lines: the checks of one format are one grammar, read top to bottom in the order of the text.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels.forest._model_parameters import is_written_so

MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 1024
MAX_CLASSES: Final = 10_000

_MAX_LEAVES = 131_072  # LightGBM's own bound of num_leaves
_MAX_FEATURES = 1_000_000
_MAX_TREES = 1_000_000

_INTEGER = re.compile(rb"-?[0-9]{1,10}")
_UNSIGNED = re.compile(rb"[0-9]{1,10}")
_FINITE = rb"-?[0-9]{1,25}(?:\.[0-9]{1,30})?(?:e[+-]?[0-9]{1,3})?"
_REAL = re.compile(_FINITE)
_INTEGERS = re.compile(rb"-?[0-9]{1,10}(?: -?[0-9]{1,10})*")
_UNSIGNEDS = re.compile(rb"[0-9]{1,10}(?: [0-9]{1,10})*")
_REALS = re.compile(_FINITE + rb"(?: " + _FINITE + rb")*")
_THRESHOLDS = re.compile(rb"(?:" + _FINITE + rb"|inf)(?: (?:" + _FINITE + rb"|inf))*")  # inf parts missing from present
_BOUND = rb"(?:" + _FINITE + rb"|-?inf|-?nan)"
_FEATURE_INFO = re.compile(rb"none|\[" + _BOUND + rb":" + _BOUND + rb"\]|-?[0-9]{1,10}(?::-?[0-9]{1,10})*")
_PARAMETER = re.compile(rb"\[([a-z][a-z0-9_]{0,63}): (.*)\]")
_CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")

_PLAIN = (
    "regression", "regression_l1", "quantile", "huber", "fair", "poisson", "mape", "gamma", "tweedie",
    "cross_entropy", "cross_entropy_lambda", "lambdarank", "rank_xendcg", "custom",
)  # fmt: skip
_WITH_SQRT = ("regression", "regression_l1", "quantile", "mape")

_NUMERICAL_TYPES = (0, 2, 4, 6, 8, 10)  # default-left bit 2, missing type (none 0, zero 4, NaN 8)
_CATEGORICAL_TYPES = (1, 5, 9)
_IS_TYPE = np.isin(np.arange(max(_NUMERICAL_TYPES) + 1), _NUMERICAL_TYPES + _CATEGORICAL_TYPES)
_NO_NODES = np.empty(0, np.int64)


class ModelTextError(ValueError):
    """A model text is not what LightGBM writes. ``line`` is the number, from 1, of the line that is wrong."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"model text, line {line}: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True, eq=False)
class ForestModel:
    """A LightGBM model as flat arrays. Trees lie one after the other; child and leaf numbers are of their own tree.

    feature_names: d names.  objective: its name, or None for a custom one; ``sigmoid`` its slope (1 where it has
    none), ``sqrt`` whether predictions are squared back.  outputs: raw scores of a row (classes of a multiclass model,
    else 1).  classes: classes of the task: 2 for binary, as many as outputs for multiclass, else 1.
    average_output: random-forest mode, scores are the mean over iterations.

    Nodes (m in all): split_feature (m,) int32; threshold (m,) float64, for categorical splits the number of the
    tree's category set; decision_type (m,) uint8; left, right (m,) int32, a child >= 0 is a node, < 0 is leaf
    ~child; node_count (m,) int64 training rows. Tree t has nodes node_start[t] : node_start[t + 1].
    Leaves (l in all): leaf_value, leaf_weight (l,) float64, the weight being a sum of hessians; leaf_count (l,) int64.
    Category sets: set s of tree t is the bits of the uint32 words
    words[set_start[set_first[t] + s] : set_start[set_first[t] + s + 1]], least significant bit first.
    """

    feature_names: tuple[str, ...]
    objective: str | None
    sigmoid: float
    sqrt: bool
    outputs: int
    classes: int
    average_output: bool
    split_feature: NDArray[np.int32]
    threshold: NDArray[np.float64]
    decision_type: NDArray[np.uint8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    node_count: NDArray[np.int64]
    node_start: NDArray[np.int64]
    leaf_value: NDArray[np.float64]
    leaf_weight: NDArray[np.float64]
    leaf_count: NDArray[np.int64]
    leaf_start: NDArray[np.int64]
    set_first: NDArray[np.int64]
    set_start: NDArray[np.int64]
    words: NDArray[np.uint32]

    @property
    def trees(self) -> int:
        """Number of trees, over all outputs."""
        return len(self.node_start) - 1

    @property
    def iterations(self) -> int:
        """Number of boosting iterations: trees of each output."""
        return self.trees // self.outputs


@dataclass(frozen=True, slots=True)
class _Objective:
    name: str | None
    sigmoid: float = 1.0
    sqrt: bool = False
    outputs: int | None = 1  # None: a custom objective, any number


@dataclass(frozen=True, slots=True)
class _Tree:
    split_feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    decision_type: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    node_count: NDArray[np.int64]
    leaf_value: NDArray[np.float64]
    leaf_weight: NDArray[np.float64]
    leaf_count: NDArray[np.int64]
    boundaries: NDArray[np.int64]
    words: NDArray[np.int64]


def _shown(value: bytes) -> str:
    text = value[:60].decode("utf-8", "replace")
    return repr(text + "…" if len(value) > 60 else text)


class _Cursor:
    """Lines of a text, one at a time: nothing of the size of the text is made."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0
        self.line = 0

    def error(self, problem: str) -> ModelTextError:
        return ModelTextError(self.line, problem)

    def at_end(self) -> bool:
        return self.position >= len(self._data)

    def next(self, wanted: str) -> bytes:
        self.line += 1
        if self.at_end():
            raise self.error(f"the text ends where {wanted} should be")
        end = self._data.find(b"\n", self.position)
        if end < 0:
            raise self.error("the last line has no line feed; the text was cut")
        line = self._data[self.position : end]
        self.position = end + 1
        return line

    def peek(self, prefix: bytes) -> bool:
        return self._data.startswith(prefix, self.position)

    def literal(self, wanted: bytes) -> None:
        line = self.next(_shown(wanted))
        if line != wanted:
            raise self.error(f"expected {_shown(wanted)}, found {_shown(line)}")

    def field(self, key: bytes) -> bytes:
        line = self.next(f"'{key.decode()}='")
        if not line.startswith(key + b"="):
            raise self.error(f"expected '{key.decode()}=', found {_shown(line)}")
        return line[len(key) + 1 :]

    def integer(self, key: bytes, low: int, high: int) -> int:
        value = self.field(key)
        if not _INTEGER.fullmatch(value) or not low <= int(value) <= high:
            raise self.error(f"{key.decode()}: expected an integer from {low} to {high}, found {_shown(value)}")
        return int(value)

    def integers(self, key: bytes, count: int, low: int, high: int) -> NDArray[np.int64]:
        numbers = np.array(self._tokens(key, count, _INTEGERS, int), dtype=np.int64)
        outside = np.flatnonzero((numbers < low) | (numbers > high))
        if len(outside):
            raise self.error(f"{key.decode()}[{outside[0]}]: {numbers[outside[0]]} is not from {low} to {high}")
        return numbers

    def reals(self, key: bytes, count: int) -> NDArray[np.float64]:
        numbers = np.array(self._tokens(key, count, _REALS, float), dtype=np.float64)
        self._refuse_overflow(key, np.isinf(numbers))
        return numbers

    def thresholds(self, key: bytes, count: int) -> NDArray[np.float64]:
        tokens = self._tokens(key, count, _THRESHOLDS, bytes)
        numbers = np.array([float(token) for token in tokens], dtype=np.float64)
        self._refuse_overflow(key, np.isinf(numbers) & np.array([token != b"inf" for token in tokens], dtype=np.bool_))
        return numbers

    def _refuse_overflow(self, key: bytes, infinite: NDArray[np.bool_]) -> None:
        if infinite.any():
            raise self.error(f"{key.decode()}[{infinite.argmax()}]: the number is too large for float64")

    def _tokens(self, key: bytes, count: int, grammar: re.Pattern[bytes], number: Callable[[bytes], Any]) -> list[Any]:
        value = self.field(key)
        found = value.count(b" ") + 1 if value else 0
        if found != count:
            raise self.error(f"{key.decode()}: expected {count} numbers, found {found}")
        if not value:
            return []
        if not grammar.fullmatch(value):
            wrong = next(token for token in value.split(b" ") if not grammar.fullmatch(token))
            raise self.error(f"{key.decode()}: {_shown(wrong)} is not a number as LightGBM writes it")
        return [number(token) for token in value.split(b" ")]


def _objective(cursor: _Cursor) -> _Objective:
    if not cursor.peek(b"objective="):
        return _Objective(None, outputs=None)
    text = cursor.field(b"objective")
    words = text.split(b" ", 4)
    name, options = words[0].decode("utf-8"), words[1:]
    found = None
    if name == "binary" and len(options) == 1:
        found = _Objective(name, sigmoid=_sigmoid(cursor, options[0]))
    elif name == "multiclass" and len(options) == 1:
        found = _Objective(name, outputs=_num_class(cursor, options[0]))
    elif name == "multiclassova" and len(options) == 2:
        found = _Objective(name, sigmoid=_sigmoid(cursor, options[1]), outputs=_num_class(cursor, options[0]))
    elif name in _PLAIN and not options:
        found = _Objective(name, outputs=None if name == "custom" else 1)
    elif name in _WITH_SQRT and options == [b"sqrt"]:
        found = _Objective(name, sqrt=True)
    if found is None:
        raise cursor.error(f"objective: {_shown(text)} is none that LightGBM writes")
    return found


def _sigmoid(cursor: _Cursor, option: bytes) -> float:
    key, _, value = option.partition(b":")
    if key != b"sigmoid" or not _REAL.fullmatch(value) or not 0.0 < float(value) < np.inf:
        raise cursor.error(f"objective: expected 'sigmoid:' and a number above 0, found {_shown(option)}")
    return float(value)


def _num_class(cursor: _Cursor, option: bytes) -> int:
    key, _, value = option.partition(b":")
    if key != b"num_class" or not _UNSIGNED.fullmatch(value) or not 2 <= int(value) <= MAX_CLASSES:
        raise cursor.error(f"objective: expected 'num_class:' and 2 to {MAX_CLASSES}, found {_shown(option)}")
    return int(value)


def _words(cursor: _Cursor, key: bytes, count: int) -> list[bytes]:
    value = cursor.field(key)
    found = value.count(b" ") + 1
    if found != count:
        raise cursor.error(f"{key.decode()}: expected {count}, one for each feature, found {found}")
    return value.split(b" ")


def _feature_names(cursor: _Cursor, count: int) -> tuple[str, ...]:
    names = [word.decode("utf-8") for word in _words(cursor, b"feature_names", count)]
    if not all(names):
        raise cursor.error("feature_names: a name is empty")
    if len(set(names)) != count:
        twice = Counter(names).most_common(1)[0][0]
        raise cursor.error(f"feature_names: {twice!r} is there twice")
    return tuple(names)


def _tree(cursor: _Cursor, index: int, features: int) -> _Tree:
    cursor.literal(b"Tree=%d" % index)
    leaves = cursor.integer(b"num_leaves", 1, _MAX_LEAVES)
    sets = cursor.integer(b"num_cat", 0, leaves - 1)
    nodes = leaves - 1
    split_feature = cursor.integers(b"split_feature", nodes, 0, features - 1)
    cursor.reals(b"split_gain", nodes)
    threshold = cursor.thresholds(b"threshold", nodes)
    threshold_line = cursor.line
    decision_type = cursor.integers(b"decision_type", nodes, 0, max(_NUMERICAL_TYPES))
    categorical = _decision_types(cursor, decision_type)
    left = cursor.integers(b"left_child", nodes, -leaves, nodes - 1)
    right = cursor.integers(b"right_child", nodes, -leaves, nodes - 1)
    _check_shape(cursor, left, right)
    leaf_value = cursor.reals(b"leaf_value", leaves)
    single = leaves == 1  # a constant tree's weight and count are written or left empty
    leaf_weight = np.zeros(1) if single and _is_empty(cursor, b"leaf_weight") else cursor.reals(b"leaf_weight", leaves)
    if single and _is_empty(cursor, b"leaf_count"):
        leaf_count = np.zeros(1, np.int64)
    else:
        leaf_count = cursor.integers(b"leaf_count", leaves, 0, 2**31 - 1)
    cursor.reals(b"internal_value", nodes)
    cursor.reals(b"internal_weight", nodes)
    node_count = cursor.integers(b"internal_count", nodes, 0, 2**31 - 1)
    boundaries, words = _category_sets(cursor, sets)
    wrong = np.flatnonzero(categorical & ~np.isin(threshold, np.arange(sets))) if categorical.any() else _NO_NODES
    if len(wrong):
        raise ModelTextError(
            threshold_line,
            f"threshold[{wrong[0]}]: a categorical split names category set {threshold[wrong[0]]:g}, there are {sets}",
        )
    linear = cursor.integer(b"is_linear", 0, 1)
    if linear:
        raise cursor.error("is_linear: linear trees are not supported; train with linear_tree=false")
    cursor.reals(b"shrinkage", 1)
    cursor.literal(b"")
    cursor.literal(b"")
    return _Tree(
        split_feature, threshold, decision_type, left, right, node_count,
        leaf_value, leaf_weight, leaf_count, boundaries, words,
    )  # fmt: skip


def _is_empty(cursor: _Cursor, key: bytes) -> bool:
    if not cursor.peek(key + b"=\n"):
        return False
    cursor.field(key)
    return True


def _decision_types(cursor: _Cursor, decision_type: NDArray[np.int64]) -> NDArray[np.bool_]:
    wrong = np.flatnonzero(~_IS_TYPE[decision_type])
    if len(wrong):
        raise cursor.error(f"decision_type[{wrong[0]}]: there is no decision type {decision_type[wrong[0]]}")
    return np.asarray(decision_type & 1, dtype=np.bool_)


def _check_shape(cursor: _Cursor, left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    """Refuse children that do not form one tree: no back edge, each node but the first and each leaf named once."""
    nodes = len(left)
    children = np.concatenate([left, right])
    parents = np.concatenate([np.arange(nodes)] * 2)
    inner = children >= 0
    back = np.flatnonzero(inner & (children <= parents))
    if len(back):
        raise cursor.error(
            f"children: node {parents[back[0]]} has the child {children[back[0]]}, which is not below it"
        )
    named = np.bincount(children[inner], minlength=nodes)
    wrong = np.flatnonzero(named[1:] != 1)
    if len(wrong):
        raise cursor.error(f"children: node {wrong[0] + 1} is the child of {named[wrong[0] + 1]} nodes, not of one")
    named = np.bincount(~children[~inner], minlength=nodes + 1 if nodes else 0)
    wrong = np.flatnonzero(named != 1)
    if len(wrong):
        raise cursor.error(f"children: leaf {wrong[0]} is the child of {named[wrong[0]]} nodes, not of one")
    if nodes <= MAX_DEPTH:
        return
    depth = [1] * nodes
    for parent, (low, high) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        for child in (low, high):
            if child >= 0:
                depth[child] = depth[parent] + 1
    if max(depth) > MAX_DEPTH:
        raise cursor.error(f"children: the tree is {max(depth)} splits deep; at most {MAX_DEPTH} are accepted")


def _category_sets(cursor: _Cursor, sets: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if not sets:
        return np.zeros(1, np.int64), np.zeros(0, np.int64)
    boundaries = cursor.integers(b"cat_boundaries", sets + 1, 0, 2**31 - 1)
    if boundaries[0] != 0 or bool(np.any(np.diff(boundaries) < 1)):
        raise cursor.error("cat_boundaries: they must start at 0 and rise")
    return boundaries, cursor.integers(b"cat_threshold", int(boundaries[-1]), 0, 2**32 - 1)


def _importances(cursor: _Cursor, names: tuple[str, ...]) -> None:
    known, seen = set(names), set()
    while not cursor.peek(b"\n") and not cursor.at_end() and not cursor.peek(b"pandas_categorical:"):
        line = cursor.next("a feature's importance")
        name, _, value = line.rpartition(b"=")
        text = name.decode("utf-8")
        if text not in known or text in seen or not re.fullmatch(rb"[0-9]{1,20}", value):
            raise cursor.error(f"feature_importances: expected a feature's name, '=' and a count, found {_shown(line)}")
        seen.add(text)


def _parameters(cursor: _Cursor) -> None:
    seen = set()
    while True:
        line = cursor.next("'end of parameters'")
        if line == b"end of parameters":
            return
        if not line:
            continue
        match = _PARAMETER.fullmatch(line)
        if not match or match[1] in seen:
            raise cursor.error(f"parameters: expected '[name: value]', each name once, found {_shown(line)}")
        if match[1] == b"linear_tree" and match[2] != b"0":
            raise cursor.error("parameters: linear trees are not supported; train with linear_tree=false")
        if not is_written_so(match[1], match[2]):
            raise cursor.error(f"parameters: {_shown(match[2])} is no value of {match[1].decode()}")
        seen.add(match[1])


def _pandas_categorical(cursor: _Cursor) -> None:
    value = cursor.next("'pandas_categorical:'").partition(b":")[2]
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        parsed = {}
    if parsed is not None and not (
        isinstance(parsed, list)
        and all(isinstance(column, list) and not any(isinstance(c, list | dict) for c in column) for column in parsed)
    ):
        raise cursor.error(f"pandas_categorical: expected null or lists of categories, found {_shown(value)}")


def _trailer(cursor: _Cursor, names: tuple[str, ...]) -> None:
    cursor.literal(b"end of trees")
    cursor.literal(b"")
    cursor.literal(b"feature_importances:")
    _importances(cursor, names)
    while not cursor.at_end():
        if cursor.peek(b"pandas_categorical:"):
            _pandas_categorical(cursor)
            while not cursor.at_end():
                cursor.literal(b"")
            return
        line = cursor.next("'parameters:'")
        if line == b"parameters:":
            _parameters(cursor)
        elif line == b"parser:":
            raise cursor.error("parser: models with a custom data parser are not supported")
        elif line:
            raise cursor.error(f"expected 'parameters:' or 'pandas_categorical:', found {_shown(line)}")


def _check_expected(
    cursor: _Cursor,
    found: tuple[tuple[str, ...], int, str | None],
    features: Sequence[str] | None,
    classes: int | None,
    objective: str | None,
) -> None:
    names, found_classes, found_objective = found
    if features is not None and names != tuple(features):
        differ = [i for i, (got, want) in enumerate(zip(names, features, strict=False)) if got != want]
        where = (
            f"feature {differ[0]} is {names[differ[0]]!r}, expected {features[differ[0]]!r}"
            if differ
            else f"there are {len(names)} features, expected {len(features)}"
        )
        raise cursor.error(f"feature_names: {where}")
    if classes is not None and found_classes != classes:
        raise cursor.error(f"num_class: the model is of {found_classes} classes, expected {classes}")
    if objective is not None and found_objective != objective:
        raise cursor.error(f"objective: the model's is {found_objective!r}, expected {objective!r}")


def _tree_sizes(cursor: _Cursor, outputs: int) -> list[int]:
    value = cursor.field(b"tree_sizes")
    if not value:
        return []
    count = value.count(b" ") + 1
    if count > _MAX_TREES or not _UNSIGNEDS.fullmatch(value):
        raise cursor.error(f"tree_sizes: expected at most {_MAX_TREES} integers, found {_shown(value)}")
    if count % outputs:
        raise cursor.error(f"tree_sizes: {count} trees are no whole number of iterations of {outputs} trees")
    return [int(size) for size in value.split(b" ")]


def _offsets(lengths: list[int]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)


def _joined(arrays: list[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, dtype), *(a.astype(dtype) for a in arrays)])


def _flattened(
    names: tuple[str, ...], objective: _Objective, outputs: int, trees: list[_Tree], *, average_output: bool
) -> ForestModel:
    words = _offsets([len(tree.words) for tree in trees])
    starts = [tree.boundaries[:-1] + first for tree, first in zip(trees, words, strict=False)]
    return ForestModel(
        feature_names=names,
        objective=objective.name,
        sigmoid=objective.sigmoid,
        sqrt=objective.sqrt,
        outputs=outputs,
        classes=2 if objective.name == "binary" else outputs,
        average_output=average_output,
        split_feature=_joined([tree.split_feature for tree in trees], np.int32),
        threshold=_joined([tree.threshold for tree in trees], np.float64),
        decision_type=_joined([tree.decision_type for tree in trees], np.uint8),
        left=_joined([tree.left for tree in trees], np.int32),
        right=_joined([tree.right for tree in trees], np.int32),
        node_count=_joined([tree.node_count for tree in trees], np.int64),
        node_start=_offsets([len(tree.left) for tree in trees]),
        leaf_value=_joined([tree.leaf_value for tree in trees], np.float64),
        leaf_weight=_joined([tree.leaf_weight for tree in trees], np.float64),
        leaf_count=_joined([tree.leaf_count for tree in trees], np.int64),
        leaf_start=_offsets([len(tree.leaf_value) for tree in trees]),
        set_first=_offsets([len(tree.boundaries) - 1 for tree in trees]),
        set_start=_joined([*starts, words[-1:]], np.int64),
        words=_joined([tree.words for tree in trees], np.uint32),
    )


def _encoded(text: bytes | str, max_bytes: int) -> bytes:
    if len(text) > max_bytes:
        raise ModelTextError(1, f"the text has {len(text)} bytes; at most {max_bytes} are accepted")
    try:
        data = text.encode("utf-8") if isinstance(text, str) else text
        data.decode("utf-8")
    except UnicodeError as error:
        raise ModelTextError(1, f"the text is not UTF-8: {error}") from error
    if len(data) > max_bytes:
        raise ModelTextError(1, f"the text has {len(data)} bytes; at most {max_bytes} are accepted")
    control = _CONTROL.search(data)
    if control:
        line = data.count(b"\n", 0, control.start()) + 1
        raise ModelTextError(line, f"control character {control[0]!r}; LightGBM writes none but line feeds")
    return data


def parse_model(
    text: bytes | str,
    *,
    max_bytes: int = MAX_BYTES,
    expect_features: Sequence[str] | None = None,
    expect_classes: int | None = None,
    expect_objective: str | None = None,
) -> ForestModel:
    """Read LightGBM model text strictly; what comes back is safe to predict with, here and in LightGBM.

    text: as ``Booster.model_to_string()`` gives it, str or UTF-8 bytes.  max_bytes: longer texts are refused unread.
    expect_features: the feature names that the header must have, in order.  expect_classes: classes of the task, 2 for
    binary (``ForestModel.classes``).  expect_objective: the objective's name.
    Raises ModelTextError, which names the line and what is wrong there.
    """
    cursor = _Cursor(_encoded(text, max_bytes))
    cursor.literal(b"tree")
    version = cursor.field(b"version")
    if version != b"v4":
        remedy = "; load it in LightGBM 4 and save it" if version in (b"v2", b"v3") else ""
        raise cursor.error(f"version: expected 'v4' (LightGBM 4), found {_shown(version)}{remedy}")
    num_class = cursor.integer(b"num_class", 1, MAX_CLASSES)
    outputs = cursor.integer(b"num_tree_per_iteration", 1, MAX_CLASSES)
    cursor.integer(b"label_index", 0, _MAX_FEATURES)
    features = cursor.integer(b"max_feature_idx", 0, _MAX_FEATURES - 1) + 1
    objective = _objective(cursor)
    if num_class != outputs or outputs != (objective.outputs or outputs):
        raise cursor.error(f"objective: num_class={num_class} and num_tree_per_iteration={outputs} do not fit it")
    average_output = cursor.peek(b"average_output\n")
    if average_output:
        cursor.literal(b"average_output")
    names = _feature_names(cursor, features)
    classes = 2 if objective.name == "binary" else outputs
    _check_expected(cursor, (names, classes, objective.name), expect_features, expect_classes, expect_objective)
    if cursor.peek(b"monotone_constraints="):
        cursor.integers(b"monotone_constraints", features, -1, 1)
    for word in _words(cursor, b"feature_infos", features):
        if not _FEATURE_INFO.fullmatch(word):
            raise cursor.error(f"feature_infos: {_shown(word)} is neither none, a range nor categories")
    sizes = _tree_sizes(cursor, outputs)
    cursor.literal(b"")
    trees = []
    for index, size in enumerate(sizes):
        start, line = cursor.position, cursor.line
        trees.append(_tree(cursor, index, features))
        if cursor.position - start != size:
            raise ModelTextError(line + 1, f"tree {index} has {cursor.position - start} bytes, tree_sizes says {size}")
    _trailer(cursor, names)
    return _flattened(names, objective, outputs, trees, average_output=average_output)
