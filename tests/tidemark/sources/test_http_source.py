from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import ssl
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from arrow_bodies import batch
from certificates import certificate
from hypothesis import given
from hypothesis import strategies as st
from sourcing import Committing, committing, pipeline_of, source_of

from support import wait_until
from tidemark.errors import ConfigError
from tidemark.formats.arrow_rows import MEDIA_TYPE, ArrowRows
from tidemark.formats.declared import Declared
from tidemark.sources.intake import Room, weight
from tidemark.sources.kinds.http import HttpSource
from tidemark.sources.listening.http_body import Held, Refused, read_body, records_of
from tidemark.sources.listening.http_protocol import Bounded
from tidemark.sources.source import Positions

NDJSON = "application/x-ndjson"
BATCHES = ArrowRows(Declared.of(pipeline_of("http", {"address": "127.0.0.1:0"})))
EVENT = {"specversion": "1.0", "id": "e1", "source": "/meters", "type": "reading"}


def source(**options: object) -> HttpSource:
    made = source_of(pipeline_of("http", {"address": "127.0.0.1:0", **options}))
    assert isinstance(made, HttpSource)
    return made


def post(port: int, body: bytes, kind: str = NDJSON, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST", "/events", body, {"Content-Type": kind, **named})
    answer = connection.getresponse()
    answer.read_all = answer.read()  # type: ignore[attr-defined]
    connection.close()
    return answer


@pytest.fixture(scope="module")
def served() -> Iterator[Committing]:
    with committing(source(max_body=1_000_000)) as running:
        yield running


@pytest.fixture
def port(served: Committing) -> int:
    served.records.clear()
    port: int = served._source.port  # type: ignore[attr-defined]
    return port


def bodies(served: Committing) -> list[bytes]:
    return [record.value for record in served.records]


def test_lines_are_taken_as_they_are_blank_ones_left_out(served: Committing, port: int) -> None:
    answer = post(port, b'{"a": 1.50}\r\n\n{broken\n {"a": 2}')
    assert answer.status == 202
    assert bodies(served) == [b'{"a": 1.50}', b"{broken", b'{"a": 2}']


def test_json_is_a_record_and_an_array_is_as_many_as_it_has(served: Committing, port: int) -> None:
    assert post(port, b' {"a": 1} ', "application/json; charset=utf-8").status == 202
    assert post(port, b'[{"a": 12345678901234567890.10}, 7]', "application/json").status == 202
    assert bodies(served) == [b'{"a": 1}', b'{"a": 12345678901234567890.10}', b"7"]


def test_an_arrow_stream_is_as_many_rows_as_it_has_and_is_refused_whole(served: Committing, port: int) -> None:
    rows = [{"key": f"k{i}", "time": "t", "a": i / 2, "b": 1.0, "c": None, "more": [i]} for i in range(3)]
    assert post(port, batch(rows), MEDIA_TYPE).status == 202
    assert [json.loads(body) for body in bodies(served)] == [
        {name: row[name] for name in ("key", "time", "a", "b", "c")} for row in rows
    ]
    answer = post(port, batch(rows)[:-9], MEDIA_TYPE)
    assert (answer.status, b"the body is no Arrow IPC stream that can be read" in answer.read_all) == (400, True)  # type: ignore[attr-defined]
    many = post(port, batch([{"key": None, "time": None, "a": None, "b": None, "c": None}] * 20_001), MEDIA_TYPE)
    assert many.status == 413
    assert len(served.records) == 3


def test_a_structured_cloud_event_gives_its_data_and_its_attributes(served: Committing, port: int) -> None:
    event = json.dumps({**EVENT, "subject": "m7", "traceparent": "x", "n": 7, "data": {"a": 1.5}}).encode()
    assert post(port, event, "application/cloudevents+json; charset=UTF-8").status == 202
    (record,) = served.records
    assert json.loads(record.value) == {"a": 1.5}
    assert record.attributes == {**EVENT, "subject": "m7", "extension.traceparent": "x", "extension.n": "7"}


def test_data_of_an_event_may_be_base64(served: Committing, port: int) -> None:
    event = json.dumps({**EVENT, "data_base64": "eyJhIjogMX0="}).encode()
    assert post(port, event, "application/cloudevents+json").status == 202
    assert bodies(served) == [b'{"a": 1}']


def test_a_batch_of_cloud_events_keeps_the_good_ones_and_what_is_none_as_it_is(served: Committing, port: int) -> None:
    batch = json.dumps([{**EVENT, "data": {"a": 1}}, {"id": "no event"}, {**EVENT, "data": {"a": 2}}]).encode()
    assert post(port, batch, "application/cloudevents-batch+json").status == 202
    assert [json.loads(value) for value in bodies(served)] == [{"a": 1}, {"id": "no event"}, {"a": 2}]


def test_a_binary_cloud_event_has_its_attributes_in_headers(served: Committing, port: int) -> None:
    headers = {f"ce_{name}": value for name, value in {**EVENT, "subject": "caf%C3%A9"}.items()}
    assert post(port, b'{"a": 1}', "application/json", **headers).status == 202
    (record,) = served.records
    assert record.value == b'{"a": 1}'
    assert record.attributes["subject"] == "café"


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status", "told"),
    [
        (b"", NDJSON, {}, 400, "no record"),
        (b"\n" * 1_000, NDJSON, {}, 400, "no record"),
        (b"x", "text/plain", {}, 415, "Content-Type"),
        (b"{}", "application/json; charset=utf-16", {}, 415, "charset"),
        (b"{}", NDJSON, {"content_encoding": "br"}, 415, "Content-Encoding"),
        (b"{}", NDJSON, {"content_encoding": "gzip"}, 400, "not compressed"),
        (gzip.compress(b"{}", mtime=0)[:-5], NDJSON, {"content_encoding": "gzip"}, 400, "too soon"),
        (gzip.compress(b"{}", mtime=0) + b"x", NDJSON, {"content_encoding": "gzip"}, 400, "follow the end"),
        (b"[" * 100_000, "application/json", {}, 400, "no JSON array"),
        (b"{" * 100_000, "application/cloudevents+json", {}, 400, "no JSON object"),
        (b'{"a": 1}', "application/cloudevents+json", {}, 400, "'specversion'"),
        (json.dumps({**EVENT, "specversion": "0.3"}).encode(), "application/cloudevents+json", {}, 400, "'0.3'"),
        (json.dumps({**EVENT, "Bad\x1bName": "x"}).encode(), "application/cloudevents+json", {}, 400, "no name"),
        (json.dumps({**EVENT, "x": {"y": 1}}).encode(), "application/cloudevents+json", {}, 400, "no text"),
        (json.dumps({**EVENT, "data_base64": "%"}).encode(), "application/cloudevents+json", {}, 400, "base64"),
        (b'{"a": 1}', "application/json", {"ce_specversion": "1.0"}, 400, "attribute"),
        (b'{"a":"\xff"}', "application/cloudevents-batch+json", {}, 400, "no JSON array"),
        (b"{}\n" * 20_001, NDJSON, {}, 413, "records"),
        (b"x" * 1_000_001, NDJSON, {}, 413, "bytes"),
        (b"[" + b"0," * 499_000 + b"0]", "application/json", {}, 413, "records"),
        (gzip.compress(b"\0" * 50_000_000, mtime=0), NDJSON, {"content_encoding": "gzip"}, 413, "bytes"),
        (zlib.compress(b"\0" * 50_000_000), NDJSON, {"content_encoding": "deflate"}, 413, "bytes"),
    ],
)
def test_what_is_no_body_of_records_is_refused_with_its_reason_and_nothing_of_it_is_taken(
    served: Committing, port: int, body: bytes, kind: str, headers: dict[str, str], status: int, told: str
) -> None:
    answer = post(port, body, kind, **headers)
    assert (answer.status, served.records) == (status, [])
    assert told in json.loads(answer.read_all)["error"]  # type: ignore[attr-defined]
    assert served._source._intake.room.held == 0  # type: ignore[attr-defined]


def test_compressed_lines_are_taken(served: Committing, port: int) -> None:
    lines = b'{"a": 1}\n' * 10_000
    assert post(port, gzip.compress(lines), content_encoding="gzip").status == 202
    assert len(served.records) == 10_000


def test_without_room_the_answer_is_429_and_nothing_is_lost_of_what_was_taken() -> None:
    with committing(source(max_body=500_000, buffer=1_000_000)) as served:
        port = served._source.port  # type: ignore[attr-defined]
        served.paused.set()  # Kafka is away
        first: list[int] = []
        body = b'{"a": "' + b"x" * 400_000 + b'"}'
        waiting = [threading.Thread(target=lambda: first.append(post(port, body).status)) for _ in range(2)]
        for thread in waiting:
            thread.start()
        room = served._source._intake.room  # type: ignore[attr-defined]
        wait_until(lambda: room.held > 800_000, "two requests wait")
        refused = post(port, body)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        served.paused.clear()
        for thread in waiting:
            thread.join(20)
        assert first == [202, 202]
        assert post(port, body).status == 202
        assert (len(served.records), room.held) == (3, 0)


def test_no_answer_says_that_it_was_taken_before_kafka_has_it() -> None:
    with committing(source(answer_timeout="200ms")) as served:
        served.paused.set()
        answer = post(served._source.port, b"{}")  # type: ignore[attr-defined]
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_what_was_taken_and_not_committed_is_taken_again_after_a_failure() -> None:
    made = source()
    made.open(Positions())
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(post(made.port, b'{"a": 1}').status))
    thread.start()
    first = made.read(10, 10)
    made.open(Positions())  # the transaction failed
    assert made.read(10, 10) == first
    assert status == []
    made.committed()
    thread.join(10)
    made.close()
    assert status == [202]


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer wrong-wrong-wrong", "Basic 0123456789abcdef", "bearer"])
def test_a_request_without_the_token_is_refused_before_its_body_is_read(tmp_path: Path, shown: str) -> None:
    (tmp_path / "token").write_text("0123456789abcdef\nfedcba9876543210\n")
    with committing(source(token_file=str(tmp_path / "token"))) as served:
        port = served._source.port  # type: ignore[attr-defined]
        answer = post(port, b"x" * 3_000_000, authorization=shown)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert post(port, b"{}", authorization="bearer fedcba9876543210").status == 202
        assert len(served.records) == 1


def test_a_token_comes_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METERS_TOKEN", "0123456789abcdef")
    with committing(source(token_env="METERS_TOKEN")) as served:  # noqa: S106 a name
        port = served._source.port  # type: ignore[attr-defined]
        assert post(port, b"{}").status == 401
        assert post(port, b"{}", authorization="Bearer 0123456789abcdef").status == 202


def test_a_token_that_is_missing_or_short_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short\n")
    with pytest.raises(ConfigError, match="fewer than 16 characters"):
        source(token_file=str(tmp_path / "token")).open(Positions())
    with pytest.raises(ConfigError, match="token_env NO_SUCH_TOKEN is empty or not set"):
        source(token_env="NO_SUCH_TOKEN").open(Positions())  # noqa: S106 a name
    with pytest.raises(ConfigError, match="can't be read"):
        source(token_file=str(tmp_path / "none")).open(Positions())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"address": "0.0.0.0:8080"}, "anybody could post to 0.0.0.0:8080"),
        ({"address": "127.example.com:80"}, "anybody could post"),
        ({"address": "here"}, "is not host:port"),
        ({"tls_cert": "c.pem"}, "tls_cert and tls_key go together"),
        ({"max_body": 2_000_000, "buffer": 3_000_000}, "twice max_body"),
        ({"adress": "127.0.0.1:1"}, "is no option of kind http; did you mean 'address'"),
        ({"max_body": "4 MB"}, "sources\\[0\\].options.max_body"),
    ],
)
def test_options_that_are_wrong_are_told_by_check(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pipeline_of("http", options)


def test_tls_serves_and_asks_for_the_clients_certificate(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    options = {"tls_cert": str(files.certificate), "tls_key": str(files.key), "tls_ca": str(files.certificate)}
    with committing(source(**options)) as served:
        port = served._source.port  # type: ignore[attr-defined]
        trusting = ssl.create_default_context(cafile=files.certificate)
        with pytest.raises((ssl.SSLError, OSError, http.client.RemoteDisconnected)):
            _get(port, trusting)
        trusting.load_cert_chain(files.certificate, files.key)
        assert _get(port, trusting) == 200


def _get(port: int, context: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_address_that_is_taken_is_told_in_a_sentence() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(ConfigError, match=r"can't listen on 127\.0\.0\.1"),
    ):
        source(address=f"127.0.0.1:{other.getsockname()[1]}").open(Positions())


def test_a_body_that_comes_too_slowly_is_answered_408() -> None:
    with committing(source(body_timeout="300ms")) as served:
        port = served._source.port  # type: ignore[attr-defined]
        with socket.create_connection(("127.0.0.1", port), 10) as slow:
            slow.sendall(
                b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            assert b" 408 " in slow.recv(1_000)
        assert post(port, b"{}").status == 202


def test_heads_that_come_too_slowly_and_connections_beyond_the_bound_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Bounded, "head_seconds", 1.0)
    with committing(source(connections=5)) as served:
        port = served._source.port  # type: ignore[attr-defined]
        slow = [socket.create_connection(("127.0.0.1", port), 10) for _ in range(5)]
        for connection in slow:
            connection.sendall(b"POST /events HTTP/1.1\r\nX-Slow: ")
        with socket.create_connection(("127.0.0.1", port), 10) as beyond:
            assert _ended(beyond)
        assert all(_ended(connection) for connection in slow)
        for connection in slow:
            connection.close()
        assert post(port, b"{}").status == 202


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1_000) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "head",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"POST /events HTTP/1.1\r\nHost: x\r\nX\x00: y\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_and_harms_nobody(served: Committing, port: int, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), 10) as stranger:
        stranger.sendall(head)
        stranger.shutdown(socket.SHUT_WR)
        answer = stranger.recv(1_000)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert post(port, b'{"a": 1}').status == 202
    assert bodies(served) == [b'{"a": 1}']


KINDS = [
    NDJSON,
    "application/json",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "x; charset=",
    MEDIA_TYPE,
]
PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b'"',
    b"\\",
    b"\n",
    b"1",
    b"null",
    b'"id"',
    b'"data"',
    b'"specversion":"1.0"',
    batch([{"key": "k", "time": "t", "a": 1.0, "b": 2.0, "c": 3.0}]),
]
ANY_BODY = st.binary(max_size=80) | st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=40).map(b"".join)
EVENTS: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(
        ["specversion", "id", "source", "type", "data", "data_base64", "datacontenttype", "x", "é", "\ud800"]
    )
    | st.text(max_size=4),
    st.sampled_from(["1.0", "", 1, None, True, 1.5, [], {"a": 1}, "eyJhIjogMX0=", "text/plain", "x" * 5_000, "\ud800"]),
    max_size=9,
)


@given(ANY_BODY | EVENTS.map(lambda event: json.dumps(event).encode()), st.sampled_from(KINDS), st.booleans())
def test_whatever_is_posted_is_records_or_refused_with_a_reason(body: bytes, kind: str, binary: bool) -> None:
    room = Room(1_000_000)
    held = Held(room)
    headers = {"content-type": kind, **({"ce-specversion": "1.0", "ce-id": "\xff", "ce-x\x00": "%"} if binary else {})}
    told: tuple[int, bool] | None = None
    try:
        records = records_of(body, headers, "r", held, BATCHES)
    except Refused as refused:
        told = (refused.status, bool(str(refused)))
    else:
        assert all(record.position == f"r/{number}" for number, record in enumerate(records))
        assert room.held == weight(records)
    assert told in {None, (400, True), (413, True), (415, True)}


@given(st.binary(max_size=200), st.sampled_from(["gzip", "deflate", "", "br", " GZIP "]), st.integers(1, 50))
def test_whatever_is_compressed_is_a_body_or_refused_with_a_reason(body: bytes, encoding: str, size: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(body), size):
            yield body[begin : begin + size]

    try:
        read = asyncio.run(read_body(chunks(), encoding, Held(Room(10_000)), 5_000))
    except Refused as refused:
        status = refused.status
    else:
        status = 202
        assert len(read) <= 5_000
    assert status in {202, 400, 413, 415}
