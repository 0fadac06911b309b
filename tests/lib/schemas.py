"""Schemas of Avro and Protobuf, records of them, and a schema registry over HTTP: `from schemas import ...`."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from tidemark.runtime.processor import Batch, Partition

Field = descriptor_pb2.FieldDescriptorProto
NOW_MS = 1_735_700_000_000


def batch_of(values: Sequence[bytes | None], topic: str = "p.raw") -> Batch:
    """A batch of raw records, one an offset."""
    n = len(values)
    keys: list[bytes | None] = [b"k"] * n
    return Batch(Partition(topic, 0, "0000aaaa"), np.arange(n), np.full(n, NOW_MS), keys, list(values), [None] * n)


def avro_schema(*fields: tuple[str, object] | tuple[str, object, object], name: str = "Reading") -> dict[str, Any]:
    """A schema of a record; a third element of a field is its default."""
    return {
        "type": "record",
        "name": name,
        "fields": [
            {"name": each[0], "type": each[1]} | ({"default": each[2]} if len(each) == 3 else {}) for each in fields
        ],
    }


def avro_record(schema: Mapping[str, Any], record: Mapping[str, object], number: int | None = None) -> bytes:
    """A record of a schema; framed, with the number of its schema, where there is one."""
    written = BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(dict(schema)), dict(record))
    return (b"" if number is None else frame(number)) + written.getvalue()


def frame(number: int) -> bytes:
    """What a record of a schema registry begins with."""
    return b"\x00" + number.to_bytes(4, "big")


def proto_file(
    *fields: tuple[str, int, Any], message: str = "Reading", optional: Sequence[str] = (), imports: Sequence[str] = ()
) -> descriptor_pb2.FileDescriptorProto:
    """A file of one message of package `plant`. fields: name, number, and type or full name of a message."""
    file = descriptor_pb2.FileDescriptorProto(name="plant.proto", package="plant", syntax="proto3", dependency=imports)
    made = file.message_type.add(name=message)
    for name, number, kind in fields:
        own = made.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL)
        if isinstance(kind, str):
            own.type, own.type_name = Field.TYPE_MESSAGE, f".{kind}"
        else:
            own.type = kind
        if name in optional:
            own.proto3_optional = True
            own.oneof_index = len(made.oneof_decl)
            made.oneof_decl.add(name=f"_{name}")
    return file


def descriptor_set(*files: descriptor_pb2.FileDescriptorProto) -> bytes:
    """What `protoc --descriptor_set_out` writes of files."""
    return descriptor_pb2.FileDescriptorSet(file=files).SerializeToString()


def proto_record(
    file: descriptor_pb2.FileDescriptorProto,
    record: Mapping[str, object],
    number: int | None = None,
    also: Sequence[bytes] = (),
) -> bytes:
    """A record of the first message of a file; framed, where its schema has a number. also: files that it imports."""
    pool = descriptor_pool.DescriptorPool()
    for each in also:
        pool.AddSerializedFile(each)
    pool.AddSerializedFile(file.SerializeToString())
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{file.message_type[0].name}"))
    made: bytes = kind(**record).SerializeToString()
    return (b"" if number is None else frame(number) + b"\x00") + made


@dataclass
class Registry:
    """A schema registry. down: answers 503.  asked: numbers of schemas, each time one is asked for."""

    address: str = ""
    auth: str | None = None
    down: bool = False
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    versions: dict[tuple[str, int], int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    subjects: dict[str, int] = field(default_factory=dict)

    def add_avro(self, number: int, schema: object, references: Sequence[Mapping[str, object]] = ()) -> None:
        """Register a schema of Avro."""
        self.schemas[number] = {"schema": json.dumps(schema), "references": list(references)}

    def add_proto(
        self, number: int, file: descriptor_pb2.FileDescriptorProto, references: Sequence[Mapping[str, object]] = ()
    ) -> None:
        """Register a file of Protobuf."""
        text = base64.b64encode(file.SerializeToString()).decode()
        self.schemas[number] = {"schema": text, "schemaType": "PROTOBUF", "references": list(references)}

    def register(self, path: str, body: Mapping[str, Any], auth: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to one who registers a schema: its number, the same for the same schema."""
        if self.auth is not None and auth != f"Basic {base64.b64encode(self.auth.encode()).decode()}":
            return 401, {"error_code": 401, "message": "Unauthorized"}
        subject = path.partition("?")[0].strip("/").split("/")[1]
        known = [number for number, each in self.schemas.items() if each["schema"] == body["schema"]]
        number = known[0] if known else max(self.schemas, default=100) + 1
        self.schemas[number] = {"schema": body["schema"], "references": []}
        self.subjects[subject] = number
        return 200, {"id": number}

    def answer(self, path: str, auth: str | None) -> tuple[int, dict[str, Any]]:
        """Status and body of an answer."""
        if self.down:
            return 503, {"error_code": 50302, "message": "down"}
        if self.auth is not None and auth != f"Basic {base64.b64encode(self.auth.encode()).decode()}":
            return 401, {"error_code": 401, "message": "Unauthorized"}
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["schemas", "ids"]:
            number = int(parts[2])
            self.asked.append(number)
            if not 0 < number < 2**31:  # as Confluent's, which has no address for such a number
                return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
            found = self.schemas.get(number)
            return (200, found) if found else (404, {"error_code": 40403, "message": "Schema not found"})
        version = (parts[1], int(parts[3]))
        if version not in self.versions:
            return 404, {"error_code": 40402, "message": "Version not found"}
        number = self.versions[version]
        return 200, {"subject": parts[1], "version": int(parts[3]), "id": number, **self.schemas[number]}


@contextmanager
def registry_running(auth: str | None = None) -> Iterator[Registry]:
    """A schema registry at an address of its own."""
    registry = Registry(auth=auth)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._tell(*registry.answer(self.path, self.headers.get("Authorization")))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._tell(*registry.register(self.path, body, self.headers.get("Authorization")))

        def _tell(self, status: int, body: Mapping[str, Any]) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    registry.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
