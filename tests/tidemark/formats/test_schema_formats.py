"""Avro and Protobuf: of one schema or of a registry's, column by column as the same rows are in JSON."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from google.protobuf import timestamp_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text
from schemas import (
    Field,
    avro_record,
    avro_schema,
    batch_of,
    descriptor_set,
    frame,
    proto_file,
    proto_record,
    registry_running,
)

from tidemark.errors import ConfigError, RegistryError
from tidemark.features.raw_records import Records
from tidemark.formats.avro_records import AvroLayout
from tidemark.formats.decoder import Decoded, Decoder
from tidemark.formats.protobuf_records import ProtobufLayout
from tidemark.formats.schema_registry import StoredSchema, UnknownSchemaError, Waiting
from tidemark.pipeline import Pipeline, parse
from tidemark.records.record_formats import Told
from tidemark.runtime.processor import UNKNOWN_TIME

TIME: Final = "2025-01-01T00:00:01Z"
ROW: Final = {"key": "k", "time": TIME, "a": 1.5, "b": -0.25, "c": 3.0}
AVRO: Final = avro_schema(("key", "string"), ("time", "string"), ("a", "double"), ("b", "double"), ("c", "double"))
PROTO: Final = proto_file(
    ("key", 1, Field.TYPE_STRING),
    ("time", 2, Field.TYPE_STRING),
    ("a", 3, Field.TYPE_DOUBLE),
    ("b", 4, Field.TYPE_DOUBLE),
    ("c", 5, Field.TYPE_DOUBLE),
)
KINDS: Final = pytest.mark.parametrize("kind", ["avro", "protobuf"])


def pipeline_of(folder: Path, kind: str, where: str | None = None, columns: str = "") -> Pipeline:
    """A pipeline of records of a kind: of one schema, or of a registry's."""
    settings = f'format = "{kind}"'
    if where is not None:
        settings += f'\nregistry = "{where}"'
    elif kind == "avro":
        (folder / "reading.avsc").write_text(json.dumps(AVRO))
        settings += '\nschema_file = "reading.avsc"'
    else:
        (folder / "reading.desc").write_bytes(descriptor_set(PROTO))
        settings += '\nschema_file = "reading.desc"\nmessage = "plant.Reading"'
    text = pipeline_text("p").replace('topic = "p.raw"', f'topic = "p.raw"\n{settings}')
    return parse(text.replace("[label]", f"{columns}\n[label]"), str(folder / "p.toml"))


def record_of(kind: str, row: dict[str, Any], number: int | None = None) -> bytes:
    return avro_record(AVRO, row, number) if kind == "avro" else proto_record(PROTO, row, number)


def reasons(decoded: Decoded) -> list[str]:
    return [each.reason for each in decoded.bad]


NUMBER: Final = st.floats(-1e15, 1e15)
ROWS: Final = st.fixed_dictionaries(
    {"key": st.text(min_size=1, max_size=5), "time": st.just(TIME), "a": NUMBER, "b": NUMBER, "c": NUMBER}
)


@KINDS
@given(rows=st.lists(st.one_of(ROWS, st.binary(max_size=20)), max_size=8))
def test_records_are_what_the_same_rows_are_in_json(
    kind: str, rows: list[dict[str, Any] | bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pipeline = _ONCE.setdefault(kind, pipeline_of(tmp_path_factory.mktemp(kind), kind))
    good = [row for row in rows if isinstance(row, dict)]
    mixed = [record_of(kind, row) if isinstance(row, dict) else b"\xff" + row for row in rows]
    own = Decoder(pipeline).decode(batch_of(mixed))
    expected = Decoder(pipeline, "json").decode(batch_of([json.dumps(row).encode() for row in good]))
    assert own.frame.equals(expected.frame, null_equal=True)
    assert own.times.tolist() == expected.times.tolist()
    assert [rows[row] for row in own.rows.tolist()] == good, "a broken record harms no neighbour"
    assert [each.row for each in own.bad] == [i for i, row in enumerate(rows) if isinstance(row, bytes)]
    times = Decoder(pipeline).event_times(batch_of(mixed))
    assert [time == UNKNOWN_TIME for time in times] == [isinstance(row, bytes) for row in rows]


_ONCE: Final[dict[str, Pipeline]] = {}


@KINDS
def test_what_ingest_sends_is_read_as_the_json_it_was_made_from(kind: str, tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, kind)
    (sent,) = Records(pipeline).records([json.dumps(ROW).encode()])
    assert sent.value is not None
    assert not sent.value.startswith(b"{")
    assert Decoder(pipeline).decode(batch_of([sent.value])).frame.to_dicts()[0]["a"] == 1.5
    (unsayable,) = Records(pipeline).records([json.dumps({"key": "k", "time": 1}).encode()])
    assert reasons(Decoder(pipeline).decode(batch_of([unsayable.value])))


@KINDS
def test_records_of_a_registry_are_read_each_by_its_own_schema(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEMARK_REGISTRY_AUTH", "reader:secret:with:colons")
    with registry_running("reader:secret:with:colons") as registry:
        pipeline = pipeline_of(tmp_path, kind, registry.address)
        if kind == "avro":
            registry.add_avro(7, AVRO)
            wider = avro_schema(*((name, kinds) for name, kinds in _pairs(AVRO)), ("more", "string"))
            registry.add_avro(8, wider)
            second = avro_record(wider, {**ROW, "more": "m", "a": 2.5}, 8)
        else:
            registry.add_proto(7, PROTO)
            wider_file = type(PROTO)()
            wider_file.CopyFrom(PROTO)
            wider_file.message_type[0].field.add(
                name="more", number=9, type=Field.TYPE_STRING, label=Field.LABEL_OPTIONAL
            )
            registry.add_proto(8, wider_file)
            second = proto_record(wider_file, {**ROW, "more": "m", "a": 2.5}, 8)
        values = [record_of(kind, ROW, 7), frame(99) + b"\x00\x01", second, b"{}", record_of(kind, ROW, 7)]
        decoder = Decoder(pipeline)
        decoded = decoder.decode(batch_of(values))
        assert decoded.rows.tolist() == [0, 2, 4]
        assert decoded.frame["a"].to_list() == [1.5, 2.5, 1.5]
        assert "has schema 99, which the registry does not have; register it" in reasons(decoded)[0]
        assert "has no Schema Registry frame" in reasons(decoded)[1]
        decoder.decode(batch_of(values))
        assert registry.asked == [7, 99, 8], "a schema is asked for once, an unknown one not for each record"


def _pairs(schema: dict[str, Any]) -> list[tuple[str, object]]:
    return [(each["name"], each["type"]) for each in schema["fields"]]


@KINDS
def test_a_folder_of_schemas_is_a_registry_and_an_unknown_number_comes_back(kind: str, tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    pipeline = pipeline_of(tmp_path, kind, "schemas")
    value = record_of(kind, ROW, 3)
    ending = "avsc" if kind == "avro" else "desc"
    assert f"there is no 3.{ending} in the folder" in reasons(Decoder(pipeline).decode(batch_of([value])))[0]
    content = json.dumps(AVRO).encode() if kind == "avro" else descriptor_set(PROTO)
    (tmp_path / "schemas" / f"3.{ending}").write_bytes(content)
    assert Decoder(pipeline).decode(batch_of([value])).frame["a"].to_list() == [1.5]


def test_a_schema_that_refers_to_others_is_read_with_them(tmp_path: Path) -> None:
    place = avro_schema(("city", "string"), name="Place")
    own = avro_schema(*_pairs(AVRO), ("place", "Place"))
    with registry_running() as registry:
        pipeline = pipeline_of(tmp_path, "avro", registry.address, 'city = { type = "string", names = ["place.city"] }')
        registry.add_avro(1, place)
        registry.versions["Place", 4] = 1
        registry.add_avro(2, own, [{"name": "Place", "subject": "Place", "version": 4}])
        whole = avro_schema(*_pairs(AVRO), ("place", place))
        value = avro_record(whole, {**ROW, "place": {"city": "Ulm"}}, 2)
        assert Decoder(pipeline).decode(batch_of([value])).frame["city"].to_list() == ["Ulm"]


class Flaky:
    """A registry that is away for a while."""

    def __init__(self, failures: int) -> None:
        self.failures, self.asked = failures, 0

    def get(self, number: int) -> StoredSchema:
        self.asked += 1
        if self.asked <= self.failures:
            raise RegistryError("the schema registry http://r can't be reached; start it")
        if number == 5:
            raise UnknownSchemaError("has schema 5, which is unknown")
        return StoredSchema(b"{}")


def test_a_registry_that_is_away_is_waited_for_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    pauses: list[float] = []
    flaky = Flaky(4)
    assert Waiting(flaky, pause=pauses.append, clock=lambda: 0.0).get(1).content == b"{}"
    assert flaky.asked == 5
    assert pauses == [0.1, 0.5, 1.0, 2.0]
    assert [each.message for each in caplog.records] == [
        "waiting, and no record is lost meanwhile: the schema registry http://r can't be reached; start it"
    ]


def test_a_registry_that_stays_away_ends_the_process_and_condemns_no_record() -> None:
    time = [0.0]

    def pause(seconds: float) -> None:
        time[0] += seconds

    with pytest.raises(RegistryError, match="can't be reached"):
        Waiting(Flaky(10**6), pause=pause, clock=lambda: time[0]).get(1)
    assert 120 <= time[0] < 130


def test_a_number_that_was_unknown_is_asked_for_again_after_a_while() -> None:
    time = [0.0]
    registry = Flaky(0)
    waiting = Waiting(registry, clock=lambda: time[0])
    for _ in range(3):
        with pytest.raises(UnknownSchemaError):
            waiting.get(5)
    assert registry.asked == 1
    time[0] = 6.0
    with pytest.raises(UnknownSchemaError):
        waiting.get(5)
    assert registry.asked == 2


def test_a_registry_that_answers_no_or_not_at_all_is_told_apart_from_an_unknown_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidemark.formats.schema_registry._LONGEST_WAIT", 0.0)
    monkeypatch.setattr(Waiting.__init__, "__kwdefaults__", {**(Waiting.__init__.__kwdefaults__ or {}), "longest": 0.0})
    with registry_running("a:b") as registry:
        address = registry.address
        with pytest.raises(RegistryError, match=r"answers 401 .*TIDEMARK_REGISTRY_AUTH"):
            Decoder(pipeline_of(tmp_path, "avro", address)).decode(batch_of([record_of("avro", ROW, 1)]))
        registry.auth, registry.down = None, True
        with pytest.raises(RegistryError, match="answers 503"):
            Decoder(pipeline_of(tmp_path, "avro", address)).decode(batch_of([record_of("avro", ROW, 1)]))
    with pytest.raises(RegistryError, match="can't be reached"):
        Decoder(pipeline_of(tmp_path, "avro", address)).decode(batch_of([record_of("avro", ROW, 1)]))
    with pytest.raises(RegistryError, match=r"folder of schemas .* is not there"):
        Decoder(pipeline_of(tmp_path, "avro", "nowhere")).decode(batch_of([record_of("avro", ROW, 1)]))


NESTED: Final = avro_schema(("next", ["null", "Reading"]))
HOSTILE_AVRO: Final = {
    "no JSON": (b"{", "it is no JSON"),
    "no record": (b'"string"', "it is no schema of a record"),
    "no type": (
        b'{"type": "record", "name": "R", "fields": [{"name": "a", "type": "reading"}]}',
        "it is no Avro schema",
    ),
    "no text": (b"\xff\xfe", "it is no JSON"),
    "a list": (b"[1, 2]", "it is no Avro schema"),
    "within itself": (json.dumps(NESTED).encode(), "is within itself"),
    "nothing without end": (
        json.dumps(avro_schema(("a", {"type": "array", "items": "null"}))).encode(),
        "could go on without end",
    ),
    "deep": (
        json.dumps(avro_schema(("a", json.loads('{"type": "array", "items": ' * 60 + '"int"' + "}" * 60)))).encode(),
        "nested deeper than 16 levels",
    ),
    "deeper than JSON": (b"[" * 100_000, "it is nested too deeply"),
}


@pytest.mark.parametrize("name", HOSTILE_AVRO)
def test_a_schema_that_is_none_or_a_trap_is_refused_in_words(name: str) -> None:
    content, reason = HOSTILE_AVRO[name]
    with pytest.raises(ValueError, match=reason):
        AvroLayout(StoredSchema(content), [Told("a", "float", True, ("a",))], ("time", "iso8601"))


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x0a\x02\x0a\x00", b"syntax = 'proto3';", b"\xff" * 40])
def test_a_descriptor_that_is_none_is_refused_in_words(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"descriptor set|do not fit|no message"):
        ProtobufLayout(StoredSchema(content), "plant.Reading", None, [], ("time", "iso8601"))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ('format = "avro"', "raw[0].registry: 'schema_file' or 'registry': the format 'avro' needs it; add it"),
        ('format = "avro"\nschema_file = "a"\nregistry = "b"', "both are given; remove one"),
        ('schema_file = "a"', "raw[0].schema_file: is no setting of the format 'json'; remove it"),
        ('format = "avro"\nschema_file = "a"\nmessage = "M"', "raw[0].message: is no setting of the format 'avro'"),
    ],
)
def test_settings_that_do_not_go_together_are_told_at_their_keys(settings: str, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse(pipeline_text("p").replace('topic = "p.raw"', f'topic = "p.raw"\n{settings}'), "p.toml")
    assert says in str(refused.value)


def test_a_schema_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, "avro")
    (tmp_path / "reading.avsc").unlink()
    with pytest.raises(ConfigError, match=r"raw\[0\].schema_file: .*reading.avsc can't be read: No such file"):
        Decoder(pipeline)
    with pytest.raises(ConfigError, match="must begin with http"):
        Decoder(pipeline_of(tmp_path, "avro", "http://user:secret@r")).decode(batch_of([]))


def test_moments_of_both_kinds_are_told_as_the_pipeline_has_times(tmp_path: Path) -> None:
    stamped = avro_schema(
        ("key", "string"),
        ("time", ["null", {"type": "long", "logicalType": "timestamp-millis"}]),
        ("a", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}),
        ("b", "float"),
        ("c", "long"),
    )
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "1.avsc").write_text(json.dumps(stamped))
    value = avro_record(stamped, {**ROW, "time": 1_735_689_601_000, "a": Decimal("1.5"), "c": 3}, 1)
    decoded = Decoder(pipeline_of(tmp_path, "avro", "s")).decode(batch_of([value]))
    assert not decoded.bad
    assert decoded.times.tolist() == [1_735_689_601_000_000]
    assert decoded.frame.select("a", "b", "c").row(0) == (1.5, -0.25, 3.0)
    well_known = [timestamp_pb2.DESCRIPTOR.serialized_pb, wrappers_pb2.DESCRIPTOR.serialized_pb]
    file = proto_file(
        ("key", 1, Field.TYPE_STRING),
        ("time", 2, "google.protobuf.Timestamp"),
        ("a", 3, "google.protobuf.DoubleValue"),
        ("b", 4, Field.TYPE_FLOAT),
        ("c", 5, Field.TYPE_INT32),
        imports=("google/protobuf/timestamp.proto", "google/protobuf/wrappers.proto"),
    )
    (tmp_path / "s" / "1.desc").write_bytes(descriptor_set(file))
    seconds = {"seconds": 1_735_689_601, "nanos": 5_000}
    value = proto_record(file, {**ROW, "time": seconds, "a": {"value": 1.5}, "c": 3}, 1, well_known)
    decoded = Decoder(pipeline_of(tmp_path, "protobuf", "s")).decode(batch_of([value]))
    assert not decoded.bad
    assert decoded.times.tolist() == [1_735_689_601_000_005]
    assert decoded.frame.select("a", "b", "c").row(0) == (1.5, -0.25, 3.0)


def test_json_records_may_tell_a_column_under_another_name_or_not_at_all(tmp_path: Path) -> None:
    text = pipeline_text("p").replace(
        'a = { type = "float" }', 'a = { type = "float", names = ["amount", "betrag"], default = 9.5 }'
    )
    pipeline = parse(text, str(tmp_path / "p.toml"))
    rest = {name: value for name, value in ROW.items() if name != "a"}
    rows = [ROW, rest | {"betrag": 2}, rest, rest | {"amount": None}, ROW | {"amount": 1.5}, rest | {"amount": "x"}]
    decoded = Decoder(pipeline).decode(batch_of([msgspec.json.encode(row) for row in rows]))
    assert decoded.frame["a"].to_list() == [1.5, 2.0, 9.5, 9.5]
    assert reasons(decoded) == [
        "a: is given twice, once as 'amount'",
        'amount: expected a number within 64 bits, got "x"',
    ]
    large = msgspec.json.encode(rest | {"amount": 2**53 + 1})
    assert "beyond 2^53" in reasons(Decoder(pipeline).decode(batch_of([large])))[0]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ('names = ["b"]', "columns.a.names[0]: 'b' is already a name of column 'b'"),
        ('names = ["x", "x"]', "columns.a.names[1]: 'x' is named twice"),
        ('default = "x"', "columns.a.default: 'x' is no float"),
        ("default = true", "columns.a.default: True is no float"),
    ],
)
def test_names_and_defaults_that_can_not_be_are_told_at_their_keys(column: str, says: str) -> None:
    text = pipeline_text("p").replace('a = { type = "float" }', f'a = {{ type = "float", {column} }}')
    with pytest.raises(ConfigError) as refused:
        parse(text, "p.toml")
    assert says in str(refused.value)


@KINDS
def test_a_history_of_a_pipeline_is_read_without_its_schemas(kind: str, tmp_path: Path) -> None:
    pipeline = pipeline_of(tmp_path, kind)
    for path in tmp_path.glob("reading.*"):
        path.unlink()
    assert Records(pipeline).decode([json.dumps(ROW).encode()]).frame["a"].to_list() == [1.5]


@KINDS
@pytest.mark.parametrize("number", [0, 2**31, 2**32 - 1])
def test_a_number_that_no_registry_gives_is_the_fault_of_its_record(kind: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "schemas").mkdir()
    value = record_of(kind, ROW, number)
    with registry_running() as registry:
        for where in (registry.address, "schemas"):
            (reason,) = reasons(Decoder(pipeline_of(tmp_path, kind, where)).decode(batch_of([value])))
            assert f"has schema {number}, which is no number of a registry's schema" in reason
        assert not registry.asked


MILLIS: Final = {"type": "long", "logicalType": "timestamp-millis"}
DATE: Final = {"type": "int", "logicalType": "date"}


@pytest.mark.parametrize(
    ("kind", "told", "moment"),
    [(MILLIS, 1_735_689_601_000, 1_735_689_601_000_000), (DATE, 20_089, 1_735_689_600_000_000)],
)
@pytest.mark.parametrize("how", ["flat", "nested", "deeper", "optional", "by name"])
def test_a_moment_is_the_same_wherever_in_the_record_it_is(
    how: str, kind: dict[str, str], told: int, moment: int, tmp_path: Path
) -> None:
    place = avro_schema(("at", ["null", kind]), name="Place")
    deep = avro_schema(("in", place), name="Deep")
    shapes: dict[str, tuple[list[tuple[str, object]], dict[str, Any], str]] = {
        "flat": ([("at", kind)], {"at": told}, "at"),
        "nested": ([("meta", place)], {"meta": {"at": told}}, "meta.at"),
        "deeper": ([("deep", deep)], {"deep": {"in": {"at": told}}}, "deep.in.at"),
        "optional": ([("meta", ["null", place])], {"meta": {"at": told}}, "meta.at"),
        "by name": (
            [("first", place), ("meta", ["null", "Place"])],
            {"first": {"at": None}, "meta": {"at": told}},
            "meta.at",
        ),
    }
    fields, row, path = shapes[how]
    schema = avro_schema(*((name, own) for name, own in _pairs(AVRO) if name != "time"), *fields)
    text = pipeline_text("p").replace(
        'topic = "p.raw"', 'topic = "p.raw"\nformat = "avro"\nschema_file = "reading.avsc"'
    )
    text = text.replace('time = { type = "string" }', f'time = {{ type = "string", names = ["{path}"] }}')
    (tmp_path / "reading.avsc").write_text(json.dumps(schema))
    decoded = Decoder(parse(text, str(tmp_path / "p.toml"))).decode(batch_of([avro_record(schema, ROW | row)]))
    assert not decoded.bad
    assert decoded.times.tolist() == [moment]


def _with_place(kind: Any, *, before: bool = False) -> Any:  # noqa: ANN401 a type of a field, and a file
    """A file whose reading tells `a` in a place, which may be in another place."""
    inner = "plant.Outer" if before else "plant.Place"
    file = proto_file(("key", 1, Field.TYPE_STRING), ("time", 2, Field.TYPE_STRING), ("meta", 3, inner))
    place = proto_file(("a", 5, kind), message="Place").message_type[0]
    outer = proto_file(("place", 4, "plant.Place"), message="Outer").message_type[0]
    file.message_type.extend([place, outer])
    file.dependency.append("google/protobuf/wrappers.proto")
    return file


WELL_KNOWN: Final = [wrappers_pb2.DESCRIPTOR.serialized_pb]


@pytest.mark.parametrize("kind", [Field.TYPE_INT32, "google.protobuf.Int64Value"])
@pytest.mark.parametrize("before", [False, True])
def test_a_field_of_another_type_is_refused_however_deep_it_is(kind: Any, before: bool) -> None:  # noqa: ANN401
    name = "meta.place.a" if before else "meta.a"
    layout = ProtobufLayout(
        StoredSchema(descriptor_set(_with_place(kind, before=before))),
        "plant.Reading",
        None,
        [Told("a", "float", True, (name,))],
        ("time", "iso8601"),
    )
    value: Any = {"value": 3} if isinstance(kind, str) else 3

    def record(file: Any, own: object) -> bytes:  # noqa: ANN401 a file
        place = {"a": own}
        return proto_record(file, {"key": "k", "meta": {"place": place} if before else place}, also=WELL_KNOWN)

    good = record(_with_place(kind, before=before), value)
    other = record(_with_place(Field.TYPE_DOUBLE, before=before), 7.5)
    inner = record(_with_place("google.protobuf.DoubleValue", before=before), {"value": 7.5})
    empty = proto_record(_with_place(kind, before=before), {"key": "k"}, also=WELL_KNOWN)
    found = layout.columns([good, other, inner, empty])
    assert [found.values[name][0], found.values[name][3]] == [3, None]
    assert sorted(found.bad) == [1, 2]
    assert all(reason.startswith(f"{name}: has another type in the record") for reason in found.bad.values())


def test_an_enum_is_told_by_the_first_of_the_names_of_a_number() -> None:
    file = proto_file(("key", 1, Field.TYPE_STRING), ("state", 2, Field.TYPE_INT32))
    own = file.enum_type.add(name="State")
    own.options.allow_alias = True
    for name, number in (("UNKNOWN", 0), ("RUNNING", 1), ("STARTED", 1), ("NOTHING", 0)):
        own.value.add(name=name, number=number)
    file.message_type[0].field[1].type = Field.TYPE_ENUM
    file.message_type[0].field[1].type_name = ".plant.State"
    told = [Told("state", "string", True, ("state",))]
    layout = ProtobufLayout(StoredSchema(descriptor_set(file)), "plant.Reading", None, told, ("time", "iso8601"))
    records = [proto_record(file, {"key": "k", "state": number}) for number in (0, 1)]
    assert list(layout.columns(records).values["state"]) == ["UNKNOWN", "RUNNING"]


@pytest.mark.parametrize("scale", [0, 2])
def test_a_decimal_that_float64_does_not_hold_is_refused_as_a_whole_number_is(scale: int, tmp_path: Path) -> None:
    number = {"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": scale}
    schema = avro_schema(*((name, number if name == "a" else own) for name, own in _pairs(AVRO)))
    pipeline = pipeline_of(tmp_path, "avro")
    (tmp_path / "reading.avsc").write_text(json.dumps(schema))
    values = [avro_record(schema, ROW | {"a": Decimal(n)}) for n in (2**53 + 1, 2**53 + 2, -(2**53) - 1, 7, 10**22)]
    decoded = Decoder(pipeline).decode(batch_of(values))
    assert decoded.frame["a"].to_list() == [2.0**53 + 2, 7.0, 1e22]
    assert ["beyond 2^53" in reason for reason in reasons(decoded)] == [True, True]
