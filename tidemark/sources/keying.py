"""Records of a source as raw records: columns from what the source tells, the key, headers of their origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tidemark.features.raw_records import Records
from tidemark.formats.cells import CASTS
from tidemark.formats.declared import Declared
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import SourceSpec
from tidemark.records.raw_record import POSITION_HEADER, SOURCE_HEADER, TOLD_HEADER, RawRecord
from tidemark.records.record_formats import FORMATS, Format
from tidemark.runtime.processor import Output
from tidemark.sources.source import LONGEST_POSITION, SourceRecord

_SPACE: Final = b" \t\r\n"


class Keyed:
    """Makes raw records."""

    def __init__(self, pipeline: Pipeline, spec: SourceSpec, topic: str) -> None:
        """Prepare.

        Args:
            pipeline: whose records these are.
            spec: of the source.
            topic: raw topic that they are for.

        """
        raw = next(raw for raw in pipeline.raw if raw.topic == topic)
        form = FORMATS.get(raw.format)
        self._records = Records(pipeline, topic)
        self._topic, self._name = topic, spec.name.encode()
        kind_of = Declared.of(pipeline).kind_of
        self._columns = [(column, told, CASTS[kind_of(column) or "string"]) for column, told in spec.columns.items()]
        self._names = {column: pipeline.columns[column].names or () for column in spec.columns}
        self._text = spec.is_text
        self._untouched = raw.format != "json" and not self._text and not self._columns
        self._form = form if isinstance(form, Format) else None

    def outputs(self, records: Sequence[SourceRecord]) -> list[Output]:
        """The raw record of each record. What tells no key has none, and becomes a dead letter of the stream flow.

        Args:
            records: of the source.

        Returns:
            Records to produce.

        Raises:
            RegistryError: the records' schemas are with a registry that does not answer.

        """
        return [
            self.origin(record)._replace(value=raw.value, key=raw.key)
            for record, raw in zip(records, self._keyed(records), strict=True)
        ]

    def origin(self, record: SourceRecord) -> Output:
        """A record as it came, without a key, with where it came from in its headers."""
        position = record.position[:LONGEST_POSITION].encode(errors="backslashreplace")
        return Output(self._topic, record.value, headers=((SOURCE_HEADER, self._name), (POSITION_HEADER, position)))

    def _keyed(self, records: Sequence[SourceRecord]) -> list[RawRecord]:
        """Raw records with their keys. Rows are written in the topic's format; records are of it already."""
        rows = [i for i, record in enumerate(records) if record.is_row or not self._untouched]
        written = self._records.records([self._object(records[i]) for i in rows])
        if len(rows) == len(records):
            return written
        others = [i for i, record in enumerate(records) if not (record.is_row or not self._untouched)]
        whole = self._records.as_they_are([records[i].value for i in others])
        found = dict(zip([*rows, *others], [*written, *whole], strict=True))
        return [found[i] for i in range(len(records))]

    def refused(self, record: SourceRecord) -> Output:
        """A record as it came, of which none is made; with what the source tells of it, so that it may be later."""
        whole = self.origin(record)
        wanted = {told for _, told, _ in self._columns}
        told = {name: _whole(text) for name, text in record.attributes.items() if name in wanted}
        return whole._replace(headers=(*whole.headers, (TOLD_HEADER, msgspec.json.encode(told)))) if told else whole

    def refusal(self, record: SourceRecord) -> str | None:
        """Why a record is a dead letter before it is in the topic; None if it is not.

        Its sender's text must never be read as a record of the topic's format, in which it could tell any column.

        Args:
            record: of the source.

        """
        if not self._text or self._told_of_text(record) is not None:
            return None
        return "tells none of the source's columns: its text is not of the form that the source expects, or no UTF-8"

    def _object(self, record: SourceRecord) -> bytes:
        """A record as a JSON object; as it is where it is no record of the topic's format."""
        if self._text:
            return self._of_text(record)
        if record.is_row or self._form is None or not self._columns:
            return self._with_columns(record.value, record.attributes)
        try:
            told: object = self._form.to_json(record.value)
        except Exception:  # noqa: BLE001 a stranger's function may raise anything; the stream says why it is refused
            return record.value
        return self._with_columns(told, record.attributes) if isinstance(told, bytes) else record.value

    def _of_text(self, record: SourceRecord) -> bytes:
        """An object of columns alone. What tells nothing, or is not UTF-8, is a JSON string, which is no record."""
        told = self._told_of_text(record)
        if told is None:
            return msgspec.json.encode(record.value.decode(errors="backslashreplace"))
        return self._with_columns(b"{}", told)

    def _told_of_text(self, record: SourceRecord) -> Mapping[str, str] | None:
        try:
            told = {**record.attributes, "body": record.value.decode()}
        except UnicodeDecodeError:
            return None
        return told if any(attribute in told for _, attribute, _ in self._columns) else None

    def _with_columns(self, value: bytes, attributes: Mapping[str, str]) -> bytes:
        """The object with more columns.

        They are written before those that it has, whose bytes stay as they are. One that it has as well is then given
        twice, for which the stream refuses it: a sender can't pass off its own value as what the source tells. Every
        column is written, so that this holds where the source tells nothing of it, too: there under its other names as
        well, by which a sender could tell it beside a null.
        """
        if not self._columns:
            return value
        inner = value.strip(_SPACE)
        if not (inner.startswith(b"{") and inner.endswith(b"}")):
            return value
        added = {
            column: cast(attribute) if (attribute := attributes.get(told)) else None
            for column, told, cast in self._columns
        }
        if inner != b"{}":
            missing = [column for column, cell in added.items() if cell is None]
            added |= {name: None for column in missing for name in self._names[column] if name not in added}
        try:
            head = msgspec.json.encode(added)
        except UnicodeEncodeError:  # half a surrogate pair, which no text of JSON may hold
            head = msgspec.json.encode({name: _whole(cell) for name, cell in added.items()})
        rest = inner[1:-1].strip(_SPACE)
        return head[:-1] + (b"," + rest if rest else b"") + b"}"


def _whole(cell: object) -> object:
    return cell.encode(errors="backslashreplace").decode() if isinstance(cell, str) else cell
