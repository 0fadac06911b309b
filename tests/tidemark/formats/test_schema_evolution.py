"""Twenty changes of a schema while records come: each is read right, or is a dead letter that says which change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from models import pipeline_text
from schema_changes import BASE, KINDS_OF_CHANGES, MORE, PROTOBUF, READ, US, pipeline_of, proto
from schemas import Field, batch_of, proto_record, registry_running

from tidemark.formats.decoder import Decoder
from tidemark.pipeline import parse


@pytest.mark.parametrize("kind", KINDS_OF_CHANGES)
def test_each_change_of_a_schema_is_read_right_or_says_which_it_is(kind: str, tmp_path: Path) -> None:
    changes, encode = KINDS_OF_CHANGES[kind]
    assert len(changes) > 20
    with registry_running() as registry:
        decoder = Decoder(pipeline_of(tmp_path, kind, registry.address))
        values = []
        for number, change in enumerate(changes.values(), 1):  # the stream runs on: old records between the new
            values += [encode(registry, number, change), encode(registry, 1, changes["as it was"])]
        decoded = decoder.decode(batch_of(values))
    rows = dict(zip(decoded.rows.tolist(), decoded.frame.to_dicts(), strict=True))
    told = {each.row: each.reason for each in decoded.bad}
    for place, (name, change) in enumerate(changes.items()):
        if isinstance(change.read, str):
            assert change.read in told.get(2 * place, "it was read"), name
        else:
            assert 2 * place in rows, (name, told.get(2 * place))
            assert {each: rows[2 * place][each] for each in READ} == READ | change.read, name
        assert {each: rows[2 * place + 1][each] for each in READ} == READ, "a neighbour"
    assert set(decoded.times.tolist()) == {US}


def _types(file: descriptor_pb2.FileDescriptorProto) -> Iterator[int]:
    return (field.type for field in file.message_type[0].field)


def test_records_of_one_protobuf_schema_that_were_written_with_another_are_refused_and_never_cut(
    tmp_path: Path,
) -> None:
    """A schema file can't tell that a producer has a newer one; what the wire tells is enough."""
    (tmp_path / "r.desc").write_bytes(
        descriptor_pb2.FileDescriptorSet(file=[PROTOBUF["as it was"].schema]).SerializeToString()
    )
    text = pipeline_text("p").replace(
        'topic = "p.raw"', 'topic = "p.raw"\nformat = "protobuf"\nschema_file = "r.desc"\nmessage = "plant.Reading"'
    )
    pipeline = parse(text.replace("[label]", f"{MORE}\n[label]"), str(tmp_path / "p.toml"))
    wider = proto(BASE | {"n": 2**40 + 4}, {}, n=(7, Field.TYPE_INT64))
    other = proto(BASE | {"c": "3"}, {}, c=(5, Field.TYPE_STRING))
    values = [proto_record(each.schema, each.record) for each in (PROTOBUF["as it was"], wider, other)]
    decoded = Decoder(pipeline).decode(batch_of(values))
    assert decoded.frame["n"].to_list() == [4, 2**40 + 4]
    (bad,) = decoded.bad
    assert bad.reason.startswith("c: has another type in the record than in its schema (field 5, wire type 2); it was")
    assert Field.TYPE_INT32 in _types(PROTOBUF["as it was"].schema), "the schema itself is as it was"
