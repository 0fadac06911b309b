"""Features that labels lack, for the pipeline file was edited since: computed again once, and kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tidemark.records import Label, LabelFeatures, encode
from tidemark.registry.schema import ModelSchema
from tidemark.registry.values import Values
from tidemark.runtime.processor import Output
from tidemark.training.recomputing import Recomputing


class RecomputedFeatures:
    """What was recomputed of labeled events.

    recomputing: where features come from; None: what is lacking stays missing.
    values: of each event, by the id of the feature's definition.
    """

    def __init__(self, schema: ModelSchema, topic: str, recomputing: Recomputing | None) -> None:
        self._schema = schema
        self._topic = topic
        self._recomputing = recomputing
        self._stored: dict[str, LabelFeatures] = {}
        self.values: dict[str, dict[str, float | None]] = {}

    def open(self) -> None:
        """Take up what is kept in `P.label-features`."""
        self._stored = {} if self._recomputing is None else self._recomputing.stored()
        self.values = {event: record.values for event, record in self._stored.items()}

    def complete(self, labels: Iterable[Label], values: Values) -> list[Output]:
        """Compute what labels lack, once for each event and pipeline file.

        Args:
            labels: those that are known.
            values: how recorded features are read.

        Returns:
            Records that keep what was computed, to commit with what is trained.

        """
        if self._recomputing is None:
            return []
        lacking: dict[str, Label] = {}
        known: dict[str, dict[str, float | None]] = {}
        for label in labels:
            if label.status != "answered" or label.event_id in lacking:
                continue
            stored = self._stored.get(label.event_id)
            if stored is not None and stored.tried == self._schema.hash:
                continue
            if None not in values.sources(label.features, label.definitions):
                continue
            have = self._known(label, {} if stored is None else stored.values, values)
            if len(have) < len(self._schema.features):
                lacking[label.event_id], known[label.event_id] = label, have
        if not lacking:
            return []
        found = self._recomputing.features(known, list(lacking.values()))
        return [self._keep(event, found[event], known[event]) for event in lacking]

    def _keep(self, event: str, found: Mapping[str, float | None], known: Mapping[str, float | None]) -> Output:
        before = self._stored.get(event)
        kept = dict(before.values) if before is not None else {}
        kept |= {self._schema.ids[name]: value for name, value in found.items() if name not in known}
        self._stored[event] = LabelFeatures(event_id=event, values=kept, tried=self._schema.hash)
        self.values[event] = kept
        return Output(self._topic, encode(self._stored[event]), event.encode())

    def _known(self, label: Label, stored: Mapping[str, float | None], values: Values) -> dict[str, float | None]:
        """Features of a labeled event that need not be computed, by name."""
        known: dict[str, float | None] = {}
        sources = values.sources(label.features, label.definitions)
        for name, identity, source in zip(self._schema.features, self._schema.definitions, sources, strict=True):
            if source is not None and source in label.features:
                known[name] = label.features[source]
            elif identity in stored:
                known[name] = stored[identity]
        return known
