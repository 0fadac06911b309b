"""Categories of an imported LightGBM model in the pipeline's order.

A model that learnt from a pandas frame knows a category by its number in that frame's dtype, and writes the lists of
names behind the trees (`pandas_categorical`). A feature of the pipeline is the index of a text in its `categories`.
The numbers in the model's splits are changed from the one to the other, so that it decides as LightGBM did. Where that
can't be done exactly, the model is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from kernels.forest.model_text import ForestModel
from tidemark.errors import ModelError
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import Feature

_LISTS: Final = "pandas_categorical:"
_CATEGORICAL: Final = 1
"""Bit of a decision type."""
_WORD: Final = 32
_INFO: Final = re.compile(r"-?[0-9]+(:-?[0-9]+)*")
_SHOWN: Final = 60


def in_order_of(pipeline: Pipeline, text: str, model: ForestModel) -> str:
    """The text of a model whose categories are numbered as the pipeline numbers them.

    model: of the text, as the strict parser read it; its features are the pipeline's.

    Raises:
        ModelError: a feature's categories can't be told apart as the model does; says which and what to do.

    """
    own = [(model.feature_names.index(each.name), each) for each in pipeline.features if each.categories is not None]
    lists = _pandas_lists(text)
    if not lists:
        for index, feature in own:
            _check_count(model, index, feature)
        return text
    if len(lists) != len(own):
        names = ", ".join(feature.name for _, feature in own) or "none"
        raise ModelError(
            f"the model learnt from {len(lists)} category columns, and the pipeline has categories for {names}: give "
            "the same features `categories`, or train without the others as categories"
        )
    numbers = {
        index: _numbers(model, index, feature, names) for (index, feature), names in zip(own, lists, strict=True)
    }
    stray = sorted(set(_split_on(model, _CATEGORICAL)) - set(numbers))
    if stray:
        raise ModelError(
            f"the model splits on {model.feature_names[stray[0]]!r} by category, for which the pipeline has no "
            "`categories`; add them"
        )
    return _renumbered(text, numbers)


def _pandas_lists(text: str) -> list[list[object]]:
    """Names of the categories of each category column, in the columns' order; none where there were no such columns."""
    line = next((line for line in reversed(text.split("\n")) if line.startswith(_LISTS)), f"{_LISTS}null")
    lists: list[list[object]] | None = json.loads(line.removeprefix(_LISTS))
    return lists or []


def _split_on(model: ForestModel, kind: int) -> list[int]:
    """Features that splits of a kind are on: 0 numerical, 1 categorical."""
    found: list[int] = np.unique(model.split_feature[(model.decision_type & _CATEGORICAL) == kind]).tolist()
    return found


def categories_in_splits(model: ForestModel, index: int) -> NDArray[np.int64]:
    """Numbers of the categories that any split on a feature names, ascending."""
    named: set[int] = set()
    for tree in range(model.trees):
        nodes = slice(int(model.node_start[tree]), int(model.node_start[tree + 1]))
        on = (model.split_feature[nodes] == index) & ((model.decision_type[nodes] & _CATEGORICAL) == _CATEGORICAL)
        for number in model.threshold[nodes][on].astype(np.int64).tolist():
            at = int(model.set_first[tree]) + number
            named.update(_members(model.words[model.set_start[at] : model.set_start[at + 1]].tolist()))
    return np.array(sorted(named), np.int64)


def _check_count(model: ForestModel, index: int, feature: Feature) -> None:
    named = categories_in_splits(model, index)
    count = len(feature.categories or ())
    if named.size and named[-1] >= count:
        raise ModelError(
            f"the model splits on category {named[-1]} of {feature.name!r}, and the pipeline has {count} categories "
            f"for it, 0 to {count - 1}: write all that the model was trained with, in its order"
        )


def _numbers(model: ForestModel, index: int, feature: Feature, names: Sequence[object]) -> dict[int, int]:
    """The pipeline's number of each of the model's categories that the pipeline has."""
    categories = feature.categories or []
    texts: list[str] = []
    for name in names:
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise ModelError(
                f"{feature.name!r}: the model's category {str(name)[:_SHOWN]} is no text; train with texts as "
                "categories, as the pipeline has them"
            )
        texts.append(str(name))
    if len(set(texts)) != len(texts):
        raise ModelError(f"{feature.name!r}: two of the model's categories are the same text; train with texts")
    if index in _split_on(model, 0) and texts != categories:
        raise ModelError(
            f"{feature.name!r}: the model splits on the order of its categories, {_some(texts)}; the pipeline's are "
            f"{_some(categories)}: write them alike"
        )
    used = categories_in_splits(model, index).tolist()
    if used and used[-1] >= len(texts):
        raise ModelError(f"{feature.name!r}: the model splits on category {used[-1]}, and names {len(texts)} of them")
    unknown = [texts[number] for number in used if texts[number] not in categories]
    if unknown:
        raise ModelError(
            f"{feature.name!r}: the model knows the categories {_some(unknown)}, which the pipeline reads as missing; "
            "add them to its `categories`"
        )
    place = {text: number for number, text in enumerate(categories)}
    return {number: place[text] for number, text in enumerate(texts) if text in place}


def _some(texts: Sequence[str]) -> str:
    return ", ".join(repr(text[:_SHOWN]) for text in texts[:5]) + (" …" if len(texts) > 5 else "")


def _renumbered(text: str, numbers: Mapping[int, Mapping[int, int]]) -> str:
    """The text with other numbers in category sets and in what is told of features, and with the sizes that follow."""
    lines: list[str] = []
    sizes: list[int] = []
    fields: dict[str, str] = {}
    begin = sizes_at = 0
    for given in text.split("\n"):
        line = given
        key, _, value = line.partition("=")
        if key == "Tree" or line == "end of trees":
            if fields:
                sizes.append(len("\n".join(lines[begin:]).encode()) + 1)
            begin = len(lines)
            fields = {"Tree": value} if key == "Tree" else {}
        elif fields:
            fields[key] = value
            if key == "cat_threshold":
                boundaries, words = _sets(fields, numbers)
                lines[-1] = f"cat_boundaries={' '.join(map(str, boundaries))}"
                line = f"cat_threshold={' '.join(map(str, words))}"
        elif key == "tree_sizes":
            sizes_at = len(lines)
        elif key == "feature_infos":
            line = f"feature_infos={' '.join(_infos(value.split(' '), numbers))}"
        elif line.startswith(_LISTS):
            line = f"{_LISTS}null"
        lines.append(line)
    lines[sizes_at] = f"tree_sizes={' '.join(map(str, sizes))}"
    return "\n".join(lines)


def _sets(fields: Mapping[str, str], numbers: Mapping[int, Mapping[int, int]]) -> tuple[list[int], list[int]]:
    """Boundaries and words of a tree's category sets, renumbered by the feature of the split that has each."""
    split_feature, decision_type = _ints(fields["split_feature"]), _ints(fields["decision_type"])
    feature_of: dict[int, int] = {}
    for feature, kind, threshold in zip(split_feature, decision_type, fields["threshold"].split(" "), strict=True):
        if kind & _CATEGORICAL and feature_of.setdefault(int(float(threshold)), feature) != feature:
            raise ModelError("two splits of the model, on different features, share a set of categories")
    boundaries, words = _ints(fields["cat_boundaries"]), _ints(fields["cat_threshold"])
    new_boundaries, new_words = [0], list[int]()
    for number, (first, end) in enumerate(pairwise(boundaries)):
        members = _members(words[first:end])
        if number in feature_of:
            members = [numbers[feature_of[number]][member] for member in members]
        packed = [0] * (max(members, default=0) // _WORD + 1)
        for member in members:
            packed[member // _WORD] |= 1 << member % _WORD
        new_words += packed
        new_boundaries.append(len(new_words))
    return new_boundaries, new_words


def _infos(infos: Sequence[str], numbers: Mapping[int, Mapping[int, int]]) -> list[str]:
    found = list(infos)
    for index, place in numbers.items():
        if _INFO.fullmatch(infos[index]):
            codes = [int(part) for part in infos[index].split(":")]
            kept = [str(place.get(code, code)) for code in codes if code < 0 or code in place]
            found[index] = ":".join(kept) or "none"
    return found


def _members(words: Sequence[int]) -> list[int]:
    return [at * _WORD + bit for at, word in enumerate(words) for bit in range(_WORD) if word >> bit & 1]


def _ints(line: str) -> list[int]:
    return [int(part) for part in line.split(" ")] if line else []
