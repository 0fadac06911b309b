"""Names of categories: a person is shown what a categorical feature stands for, and not its number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from labeling_grpc.contract.message_sizes import MAX_CATEGORIES
from labeling_grpc.contract.text import shortened
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import Pipeline
from tidemark.pipeline.definitions import feature_ids

_LONGEST: Final = 200
"""Bytes of a name."""

_AROUND: Final = 4
"""Bytes of a name's field beside the name."""


class Categories:
    """The categories of a pipeline's features. May be shared by threads."""

    def __init__(self, pipeline: Pipeline) -> None:
        ids = feature_ids(pipeline)
        self.of_feature: Final = {
            feature.name: (ids[feature.name], [shortened(name, _LONGEST) for name in feature.categories])
            for feature in pipeline.features
            if feature.categories is not None
        }

    def response(self) -> CategoryNames:
        """Names for one response."""
        return CategoryNames(self)


class CategoryNames:
    """Puts names into one response, as many as there is room for."""

    def __init__(self, categories: Categories, room: int = MAX_CATEGORIES) -> None:
        self._of_feature = categories.of_feature
        self._room = room

    def of(self, feature: str, values: Sequence[float], definitions: Sequence[Mapping[str, str] | None]) -> list[str]:
        """Names of the categories of one feature of several cases.

        Args:
            feature: Its name.
            values: Of each case; NaN is missing.
            definitions: By what it was computed for each, as for `add`.

        Returns:
            A name for each, "" where it has none, or there is no room for it.

        """
        identity, names = self._of_feature.get(feature, ("", ()))
        told = []
        for value, of_case in zip(values, definitions, strict=True) if names else ():
            defined = of_case is None or of_case.get(feature) == identity
            number = int(value) if defined and value.is_integer() else -1
            name = names[number] if 0 <= number < len(names) else ""
            self._room -= len(name.encode()) + _AROUND
            told.append(name if self._room >= 0 else "")
        return told

    def add(self, features: Iterable[pb.Feature], definitions: Mapping[str, str] | None) -> None:
        """Name the categories of a case's features.

        Args:
            features: Messages of the features, written in place.
            definitions: By what each was computed (`Candidate.definitions`); None: by what the pipeline's file says.

        """
        if not self._of_feature:
            return
        for feature in features:
            identity, names = self._of_feature.get(feature.name, ("", ()))
            if not names or not feature.HasField("value"):
                continue
            if definitions is not None and definitions.get(feature.name) != identity:
                continue
            number = int(feature.value) if feature.value.is_integer() else -1
            if not 0 <= number < len(names):
                continue
            self._room -= len(names[number].encode()) + _AROUND
            if self._room < 0:
                return
            feature.category = names[number]
