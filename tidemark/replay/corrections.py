"""Repairs of dead letters: by SQL over a record's fields, or by a file that says what each is to be.

Only what is repaired changes: the other fields of a JSON object keep the very bytes that they came with.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec
import polars as pl

from tidemark.errors import ConfigError
from tidemark.pipeline.expressions import EvaluationError, compile_expression, evaluate
from tidemark.pipeline.sql import parse_sql
from tidemark.replay.letters import Letter
from tidemark.replay.nested_fields import changed, flattened
from tidemark.runtime.json_names import given_again

_MAX_FILE: Final = 64_000_000
_QUOTED: Final = re.compile(r"'(?:[^']|'')*'")
_TEXTS: Final[dict[str, pl.DataType]] = {"value": pl.String(), "key": pl.String()}
_NO_LITERAL: Final = object()
_TWICE: Final = "is given twice"
Columns: TypeAlias = Mapping[str, str | int | float | bool | None]
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of a file of corrections, as a person wrote it or `export` did. What is not given stays as it is.

    offset, partition: of the dead letter.  key: of the record.  value: a JSON object, or the record's whole text.
    base64: instead of `value`, the record's whole bytes, of a format that is no text.  headers: all of the record's.
    set: fields of the record's JSON object.  drop: fields to take out.  source, step, reason: for whoever edits it.
    """

    offset: int
    partition: int = 0
    key: str | msgspec.UnsetType | None = msgspec.UNSET
    value: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    base64: str | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str | None] | msgspec.UnsetType = msgspec.UNSET
    set: dict[str, msgspec.Raw] = {}
    drop: list[str] = []
    source: str = ""
    step: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Repair:
    """SQL that makes a record's fields (`fields`), its whole text (`value`) or its key (`key`) anew; `drop`: fields.

    Columns of `fields` are the record's own fields and those of objects within it, by their dotted names, that are no
    objects or lists; those of `value` and `key` are `value` and `key`, texts. A field that is made of another alone has
    its very bytes.  types: of fields that are null in a record.
    """

    fields: Mapping[str, str]
    value: str | None = None
    key: str | None = None
    drop: tuple[str, ...] = ()
    types: Mapping[str, pl.DataType] = field(default_factory=dict)

    def __call__(self, letter: Letter) -> Letter:
        """The repaired dead letter.

        Raises:
            ConfigError: an expression can't be computed for it; says which and why.

        """
        repaired = letter
        whole = self._texts(letter) if self.value is not None or self.key is not None else {}
        if self.value is not None:
            repaired = replace(
                repaired, value=_as_text(letter, "--value", _computed(letter, self.value, whole, _TEXTS))
            )
        if self.key is not None:
            repaired = replace(repaired, key=_as_text(letter, "--key", _computed(letter, self.key, whole, _TEXTS)))
        if self.fields or self.drop:
            fields = _object(repaired, {*self.fields, *self.drop})
            made, known = self._made(repaired, fields)
            if made or known & set(self.drop):
                repaired = _with(repaired, fields, made, self.drop)
        return repaired

    def _made(self, letter: Letter, own: Mapping[str, msgspec.Raw]) -> tuple[dict[str, bytes], set[str]]:
        """The fields that become others, and the names of all that there are. own: the record's own fields.

        A field that is made of another alone has its very bytes.
        """
        made: dict[str, bytes] = {}
        fields, twice = flattened(own)
        columns, unfit = _columns(fields, {*given_again(letter.value or b""), *twice})
        for name, sql in self.fields.items():
            other = _other(sql)
            if other is not None and other in fields and unfit.get(other) != _TWICE:
                if other != name:
                    made[name] = bytes(fields[other])
                continue
            value = _computed(letter, sql, columns, self.types, unfit)
            if name not in columns or not _same(columns[name], value):
                made[name] = _json(letter, name, value)
        return made, set(fields)

    def _texts(self, letter: Letter) -> dict[str, str | None]:
        try:
            value = None if letter.value is None else letter.value.decode()
            return {"value": value, "key": None if letter.key is None else letter.key.decode()}
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"dead letter {letter.offset} is no UTF-8 ({error.reason} at byte {error.start}), so SQL can't repair "
                "it without a loss: give its whole value or key in a file of --corrections"
            ) from error


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """Fields and the SQL that makes each, of `FIELD=SQL`.

    Raises:
        ConfigError: a text is none, or a field is set twice.

    """
    made: dict[str, str] = {}
    for name, sql in map(_assignment, texts):
        if name in made:
            raise ConfigError(f"{name} is set twice, to {made[name]!r} and to {sql!r}: say one")
        made[name] = sql
    return made


def _assignment(text: str) -> tuple[str, str]:
    name, equals, sql = text.partition("=")
    if not equals or not name.strip() or not sql.strip():
        raise ConfigError(f"{text!r}: write FIELD=SQL, as amount=REPLACE(amount, ',', '.')")
    return name.strip(), sql.strip()


def corrections(path: Path) -> dict[tuple[int, int], Correction]:
    """The corrections in an NDJSON file, by partition and offset of the dead letter.

    Args:
        path: the file.

    Returns:
        A correction for each dead letter that the file names.

    Raises:
        ConfigError: the file can't be read, or a line is no correction; names the line.

    """
    try:
        if path.stat().st_size > _MAX_FILE:
            raise ConfigError(f"{path} has more than {_MAX_FILE:,} bytes: split it")
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from error
    found: dict[tuple[int, int], Correction] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            correction = msgspec.json.decode(line, type=Correction)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(
                f'{path}:{number}: {error}; write one object a line, as {{"offset": 3, "set": {{"amount": 12.5}}}}'
            ) from error
        place = correction.partition, correction.offset
        if place in found:
            raise ConfigError(f"{path}:{number}: dead letter {correction.offset} is corrected twice; keep one line")
        found[place] = correction
    return found


def corrected(letter: Letter, correction: Correction) -> Letter:
    """A dead letter as a correction has it.

    Raises:
        ConfigError: fields are set in what is no JSON object.

    """
    repaired = letter
    if not isinstance(correction.key, msgspec.UnsetType):
        repaired = replace(repaired, key=None if correction.key is None else correction.key.encode())
    if not isinstance(correction.value, msgspec.UnsetType):
        repaired = replace(repaired, value=_value(letter, correction.value))
    if not isinstance(correction.base64, msgspec.UnsetType):
        try:
            repaired = replace(repaired, value=base64.b64decode(correction.base64, validate=True))
        except binascii.Error as error:
            raise ConfigError(f"dead letter {letter.offset}: its base64 is none ({error})") from error
    if not isinstance(correction.headers, msgspec.UnsetType):
        headers = tuple((name, None if own is None else own.encode()) for name, own in correction.headers.items())
        repaired = replace(repaired, headers=headers)
    if correction.set or correction.drop:
        made = {name: bytes(raw) for name, raw in correction.set.items()}
        fields = _object(repaired, {*made, *correction.drop})
        repaired = _with(repaired, fields, made, tuple(correction.drop))
    return repaired


def difference(before: Letter, after: Letter) -> Iterator[tuple[str, str]]:
    """What a repair changes, as a person reads it: ("-" or "+", what was or will be there)."""
    if before.key != after.key:
        yield "-", f"key {_shown(before.key)}"
        yield "+", f"key {_shown(after.key)}"
    if before.headers != after.headers:
        yield "-", f"headers {_headers(before)}"
        yield "+", f"headers {_headers(after)}"
    if before.value == after.value:
        return
    old, new = _fields_of(before.value), _fields_of(after.value)
    if old is None or new is None:
        yield "-", _shown(before.value)
        yield "+", _shown(after.value)
        return
    for name in [*old, *(name for name in new if name not in old)]:
        if old.get(name) != new.get(name):
            if name in old:
                yield "-", f"{name}: {_shown(old[name])}"
            if name in new:
                yield "+", f"{name}: {_shown(new[name])}"


def _headers(letter: Letter) -> str:
    return ", ".join(f"{name}={_shown(value)}" for name, value in letter.headers) or "(none)"


def _value(letter: Letter, raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    if text == b"null":
        return None
    if text[:1] == b'"':
        return msgspec.json.decode(text, type=str).encode()
    if text[:1] != b"{":
        raise ConfigError(f"dead letter {letter.offset}: a value is a JSON object, a text or null, not {_shown(text)}")
    return text


def _with(letter: Letter, fields: dict[str, msgspec.Raw], made: Mapping[str, bytes], drop: tuple[str, ...]) -> Letter:
    try:
        return replace(letter, value=changed(fields, made, drop))
    except ValueError as error:
        raise ConfigError(f"dead letter {letter.offset}: {error}: correct the whole text") from error


def _object(letter: Letter, settled: Collection[str]) -> dict[str, msgspec.Raw]:
    """The fields of a record. settled: those that the repair sets or drops, whatever they were."""
    try:
        fields = _fields.decode(letter.value or b"")
        twice = given_again(letter.value or b"", fields.keys() - settled)[:1]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"dead letter {letter.offset} is no JSON object ({error}): repair its whole text (--value), or correct it "
            "by itself (--corrections)"
        ) from error
    for name in twice:
        raise ConfigError(
            f"dead letter {letter.offset} gives {name!r} twice, and only one of the two would be sent: set it, drop "
            "it, or correct the whole text"
        )
    return fields


def _fields_of(value: bytes | None) -> dict[str, bytes] | None:
    """The fields of an object that gives each once; None of anything else."""
    try:
        fields = {name: bytes(raw) for name, raw in _fields.decode(value or b"").items()}
        return None if given_again(value or b"") else fields
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _columns(fields: Mapping[str, msgspec.Raw], twice: Collection[str]) -> tuple[Columns, dict[str, str]]:
    """The fields that SQL can read, and why it can't read others. twice: names that the record gives again."""
    columns: dict[str, str | int | float | bool | None] = {}
    unfit = dict.fromkeys(twice, _TWICE)
    for name, raw in fields.items():
        if name in unfit:
            continue
        try:
            found: Any = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            unfit[name] = f"can't be read ({error})"
            continue
        if isinstance(found, dict | list):
            unfit[name] = "is an object or a list"
        elif isinstance(found, int) and not -(2**63) <= found < 2**63:
            unfit[name] = "is a whole number of more than 64 bits"
        else:
            columns[name] = found
    return columns, unfit


def _other(sql: str) -> str | None:
    """The field that SQL names and nothing else."""
    try:
        return parse_sql(sql).column if _literal(sql) is _NO_LITERAL else None
    except ValueError:
        return None  # whoever computes it says why


def _same(before: object, after: object) -> bool:
    """Whether a computed value is what was there, which then keeps its bytes."""
    return type(before) is type(after) and before == after


def _computed(
    letter: Letter,
    sql: str,
    columns: Columns,
    types: Mapping[str, pl.DataType],
    unfit: Mapping[str, str] = MappingProxyType({}),
) -> object:
    """The value of an SQL expression over one record, as a pipeline's expressions are computed."""
    literal = _literal(sql)
    if literal is not _NO_LITERAL:
        return literal
    frame = pl.DataFrame(
        {
            name: pl.Series([value], dtype=types.get(name, pl.Null()) if value is None else None)
            for name, value in columns.items()
        }
    )
    try:
        _refuse_unfit(sql, unfit)
        expression = compile_expression("made", sql, None, dict(frame.schema))
        return evaluate([expression], frame)["made"].item()
    except (ValueError, EvaluationError) as error:
        raise ConfigError(f"dead letter {letter.offset}: {sql!r}: {error}") from error


def _refuse_unfit(sql: str, unfit: Mapping[str, str]) -> None:
    name = next((each for each in parse_sql(sql).columns if each in unfit), None)
    if name is not None:
        raise ValueError(f"{name} {unfit[name]}, so SQL can't compute with it: give what is to be by --corrections")


def _literal(sql: str) -> object:
    """A constant: a quoted text, a number, TRUE, FALSE or NULL."""
    text = sql.strip()
    if _QUOTED.fullmatch(text):
        return text[1:-1].replace("''", "'")
    if text.upper() == "NULL":
        return None
    try:
        return msgspec.json.decode(text.lower(), type=bool | int | float)
    except msgspec.DecodeError:
        return _NO_LITERAL


def _json(letter: Letter, name: str, value: object) -> bytes:
    if isinstance(value, Decimal):
        return str(value).encode()
    if value is not None and not isinstance(value, str | int | float | bool):
        raise ConfigError(
            f"dead letter {letter.offset}: {name} would be a {type(value).__name__}; CAST it to a text or a number"
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"dead letter {letter.offset}: {name} would be {value}, and JSON has no such number")
    return msgspec.json.encode(value)


def _as_text(letter: Letter, option: str, value: object) -> bytes | None:
    if value is not None and not isinstance(value, str):
        raise ConfigError(f"dead letter {letter.offset}: {option} gives a {type(value).__name__}; CAST it to VARCHAR")
    return None if value is None else value.encode()


def _shown(content: bytes | None) -> str:
    if content is None:
        return "(none)"
    text = content[:400].decode(errors="backslashreplace")
    return text if len(content) <= 400 else f"{text} … {len(content) - 400:,} more bytes"
