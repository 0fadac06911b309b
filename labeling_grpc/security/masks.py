"""Columns that some roles may not see (`labeling.hidden`): taken out of whatever leaves the service.

Responses are masked at its edge (`labeling_grpc.api.interceptor`), whichever method made them: none can forget it.
A column is hidden with all that tells it: what is computed from it, and, if it is the entity, the business id, the
segment or the skill, that field too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from google.protobuf.message import Message

from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.security.roles import Role
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.pipeline import Pipeline
from tidemark.records import Label

_NAMED: Final = (pb.ContextField, pb.Feature, pb.FeatureColumn, pb.Contribution)
"""Messages that hold a column's value under its name."""

_FILTERS: Final = {"key": "key", "segments": "segment"}
"""Fields of requests that select by what a field of a case says."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What one role may not see.

    columns: names of columns and features.  fields: of a case, derived from them.  explained: features of which the
    role may see what they added to the model's score, empty where it may not see all of the pipeline's. Contributions
    add up to the score, so that those which are seen tell the others.
    """

    columns: frozenset[str]
    fields: frozenset[str]
    explained: frozenset[str] = frozenset()

    def message(self, message: Message) -> None:
        """Take out of a response, in place, what may not be seen."""
        if isinstance(message, pb.Case):
            self._case(message)
        elif isinstance(message, pb.GetCaseResponse) and not self._explains(message):
            for name in ("contributions", "base_score", "contributions_model"):
                message.ClearField(name)
        elif isinstance(message, pb.SimilarCase) and not self.explained:
            message.ClearField("distance")  # of all features together: those that are seen tell the others' part
        elif isinstance(message, pb.QueueStats) and "segment" in self.fields:
            message.ClearField("segments")
        for descriptor, value in message.ListFields():
            if descriptor.message_type is None:
                continue
            if descriptor.is_repeated:
                self._many(value)
            else:
                self.message(value)

    def label(self, label: Label) -> Label:
        """A label without what may not be seen."""
        seen = {name: value for name, value in label.features.items() if name not in self.columns}
        changes: dict[str, Any] = {name: None for name in ("key", "business_id") if name in self.fields}
        return msgspec.structs.replace(label, features=seen, **changes)

    def request(self, request: Message) -> None:
        """Refuse a request that looks for what may not be seen: who may search for a value learns it."""
        for asked, field in _FILTERS.items():
            if field in self.fields and asked in request.DESCRIPTOR.fields_by_name and getattr(request, asked):
                raise RefusedError(Reason.FORBIDDEN, f"your role may not see what {asked} tells", field=asked)

    def _explains(self, details: pb.GetCaseResponse) -> bool:
        """Whether the role may see all that moved the score, by a model that may be older than the pipeline."""
        return all(contribution.name in self.explained for contribution in details.contributions)

    def _case(self, case: pb.Case) -> None:
        case.hidden_columns.extend(field.name for field in case.context if field.name in self.columns)
        for name in self.fields:
            case.ClearField(name)  # type: ignore[arg-type]  # names of its fields, as `_fields` gives them

    def _many(self, values: Any) -> None:  # noqa: ANN401 - a repeated field
        if len(values) and isinstance(values[0], _NAMED):
            kept = [value for value in values if value.name not in self.columns]
            if len(kept) < len(values):
                del values[:]
                values.extend(kept)
            return
        for value in values:
            self.message(value)


def masks(pipeline: Pipeline) -> dict[Role, Mask]:
    """What each role may not see; a role that may see all is not in it."""
    by_role: dict[Role, Mask] = {}
    for role in Role:
        columns = {column for column, roles in pipeline.labeling.hidden.items() if role.value in roles}
        if columns:
            names = _with_derived(pipeline, columns)
            features = frozenset(pipeline.feature_names)
            explained = features if names.isdisjoint(features) else frozenset()
            by_role[role] = Mask(frozenset(names), frozenset(_fields(pipeline, names)), explained)
    return by_role


def _fields(pipeline: Pipeline, names: set[str]) -> Iterable[str]:
    reasons: Mapping[str, str | None] = {
        "key": pipeline.keys[0],
        "business_id": pipeline.label.business_id,
        "segment": pipeline.labeling.segment,
        "skill": pipeline.labeling.skill,
    }
    return (field for field, column in reasons.items() if column in names)


def _with_derived(pipeline: Pipeline, columns: set[str]) -> set[str]:
    """The columns, and the columns and features that are computed from them, however far."""
    names = set(columns)
    for cleaning in pipeline.clean:
        from tidemark.pipeline.sql import parse_sql  # noqa: PLC0415 - SQLGlot, where a column is hidden

        expression = parse_sql(cleaning)
        if names & set(expression.columns):
            names.add(expression.output_name)
    for feature in pipeline.features:
        if _tells(feature.name, feature.sql, feature.function, names):
            names.add(feature.name)
    for window in pipeline.windows:
        if window.column in names:
            names.add(window.name)
    for derived in pipeline.derived:
        if _tells(derived.name, derived.sql, derived.function, names):
            names.add(derived.name)
    return names


def _tells(name: str, sql: str | None, function: str | None, names: set[str]) -> bool:
    if function is not None:
        return True  # it may read every column
    if sql is None:
        return name in names
    from tidemark.pipeline.sql import parse_sql  # noqa: PLC0415 - as above

    return not names.isdisjoint(parse_sql(sql).columns)
