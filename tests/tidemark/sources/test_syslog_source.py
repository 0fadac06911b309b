from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from certificates import certificate
from hypothesis import given
from hypothesis import strategies as st
from sourcing import Committing, committing, pipeline_of, raw, running, source_of, values

from support import wait_until
from tidemark.errors import ConfigError
from tidemark.runtime.settings import Settings
from tidemark.sources.listening.syslog_message import BadFrameError, Frames, record_of

MESSAGE = (
    b'<165>1 2025-01-01T00:00:00.003Z h1 app 42 ID47 [ex@1 level="7" q="a\\"b\\]"][other x="1"] '
    b"\xef\xbb\xbfh\xc3\xa9llo"
)
COLUMNS = {"key": "host", "a": "data.ex@1.level", "time": "time"}
WANTED = ("data.ex@1.level", "data.ex@1.q")


def test_the_parts_of_a_message_are_its_attributes() -> None:
    record = record_of(MESSAGE, "p", WANTED)
    assert record.value.decode() == "héllo"
    assert record.attributes == {
        "facility": "20",
        "severity": "5",
        "time": "2025-01-01T00:00:00.003Z",
        "host": "h1",
        "app": "app",
        "process": "42",
        "message_id": "ID47",
        "data.ex@1.level": "7",
        "data.ex@1.q": 'a"b]',
    }
    assert record_of(b"<0>1 - - - - - -", "p", ()).attributes == {"facility": "0", "severity": "0"}
    assert record_of(b"<0>1 - - - - - - x", "p", ()).value == b"x"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"hello",
        b"<34>Oct 11 22:14:15 host su: of old",
        b"<192>1 - - - - - - x",
        b"<1>2 - - - - - - x",
        b"<1>1 - - - - - [",
        b'<1>1 - - - - - [a b="c]',
        b'<1>1 - - - - - [a b="c"',
        b'<1>1 - - - - - [a b="c"]x',
        b"<1>1 - - - - - [" + b"a" * 5_000,
        b"<1>1 - - - - - [a" + b' b="c"' * 5_000 + b"]",
        b"<1>1 " + b"x" * 5_000 + b" - - - - - x",
    ],
)
def test_what_is_no_message_stays_as_it_is(message: bytes) -> None:
    record = record_of(message, "p", ())
    assert (record.value, record.attributes) == (message, {})


@given(st.binary(max_size=300))
def test_no_message_is_a_surprise(message: bytes) -> None:
    assert record_of(message, "p", WANTED).position == "p"
    assert record_of(MESSAGE[:60] + message, "p", WANTED).position == "p"


@given(st.lists(st.binary(min_size=1, max_size=40).filter(lambda b: not b.isspace()), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    """Those that tell their length, and those that a newline ends, one after the other."""
    sent, wanted = b"", []
    for content in messages:
        if data.draw(st.booleans()):
            sent += b"%d %s" % (len(content), content)
            wanted.append(content)
        else:
            line = b"<" + content.replace(b"\n", b"_").replace(b"\r", b"_")
            sent += line + b"\n"
            wanted.append(line)
    frames, found, at = Frames(1_000), [], 0
    while at < len(sent):
        size = data.draw(st.integers(1, 30))
        found += frames.feed(sent[at : at + size])
        at += size
    assert found == wanted
    assert not frames.partial


def test_a_message_that_is_too_long_is_cut_or_ends_the_connection() -> None:
    frames = Frames(10)
    assert frames.feed(b"<" + b"x" * 50) == [b"<xxxxxxxxx"]
    assert frames.feed(b"yyy\n<next\n") == [b"<next"]
    for bad in (b"11 <", b"1x <", b"123456789", b"99999999 x"):
        with pytest.raises(BadFrameError):
            Frames(10).feed(bad)


@contextmanager
def served(columns: dict[str, str] | None = None, **options: Any) -> Iterator[tuple[Committing, int]]:  # noqa: ANN401
    named = {"address": "127.0.0.1:0", **options}
    made = source_of(pipeline_of("syslog", named, columns=columns or COLUMNS))
    with committing(made) as running_:
        yield running_, made.port


def _sender(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 10)


def test_messages_of_both_framings_come_in_order(tmp_path: Path) -> None:
    with served() as (came, port), _sender(port) as sender:
        sender.sendall(b"".join(b"<1>1 - h%d - - - - %d\n" % (n, n) for n in range(500)))
        sender.sendall(b"".join(b"%d %s" % (len(m), m) for m in [b"<1>1 - h - - - - a\nb"] * 3) + b"no message\n")
        wait_until(lambda: len(came.records) == 504, lambda: f"{len(came.records)} came")
    assert [record.value for record in came.records[:500]] == [b"%d" % n for n in range(500)]
    assert came.records[500].value == b"a\nb"
    assert (came.records[503].value, came.records[503].attributes) == (b"no message", {})
    assert tmp_path.exists()


def test_what_is_no_syslog_harms_no_other_connection() -> None:
    with (
        served(message_timeout="300ms", connections=4) as (came, port),
        _sender(port) as good,
        _sender(port) as slow,
        _sender(port) as wrong,
        _sender(port) as silent,
    ):
        slow.sendall(b"<1>1 - h")
        wrong.sendall(b"12345678901 x")
        assert wrong.recv(10) == b""
        assert _ended(slow)
        good.sendall(b"<1>1 - h - - - - good\n")
        wait_until(lambda: came.records, "the good one does not come")
        assert silent.fileno() >= 0
        others = [_sender(port) for _ in range(3)]
        assert _ended(others[-1])
        for other in others:
            other.close()


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(10) == b""
    except ConnectionResetError:
        return True


def test_without_room_the_sender_waits_and_nothing_is_lost() -> None:
    with served(buffer=1_000_000) as (came, port), _sender(port) as sender:
        came.paused.set()  # Kafka is away
        sender.settimeout(0.5)
        sent = _until_it_waits(sender)
        room = came._source._intake.room  # type: ignore[attr-defined]
        assert room.held <= 1_000_000
        came.paused.clear()
        wait_until(lambda: len(came.records) >= sent, lambda: f"{len(came.records)} of {sent} came", 60)


def _until_it_waits(sender: socket.socket) -> int:
    for sent in range(100_000):
        try:
            sender.sendall(b"<1>1 - h - - - - %06d%s\n" % (sent, b"x" * 1_000))
        except TimeoutError:
            return sent
    raise AssertionError("the sender never waits")


def test_tls_is_spoken_and_asks_for_the_senders_certificate(tmp_path: Path) -> None:
    files = certificate(tmp_path)
    named: dict[str, Any] = {
        "tls_cert": str(files.certificate),
        "tls_key": str(files.key),
        "tls_ca": str(files.certificate),
    }
    with served(**named) as (came, port):
        context = ssl.create_default_context(cafile=files.certificate)
        assert _refused(port, context)
        context.load_cert_chain(files.certificate, files.key)
        with _sender(port) as plain, context.wrap_socket(plain, server_hostname="localhost") as sender:
            sender.sendall(MESSAGE + b"\n")
            wait_until(lambda: came.records, "nothing comes")
    assert len(came.records) == 1


def _refused(port: int, context: ssl.SSLContext) -> bool:
    try:
        with _sender(port) as plain, context.wrap_socket(plain, server_hostname="localhost") as unknown:
            unknown.sendall(b"<1>1 - h - - - - x\n")
            return unknown.recv(1) == b""
    except OSError:
        return True


def test_what_came_is_in_kafka_when_the_process_was_asked_to_stop(kafka: Settings, unique: str, tmp_path: Path) -> None:
    pipeline = pipeline_of("syslog", {"address": "127.0.0.1:0"}, unique, columns={**COLUMNS, "b": "body"})
    with running(kafka, pipeline, tmp_path) as task:
        wait_until(lambda: task.error or task.source.port, "it does not listen", 60)
        with _sender(task.source.port) as sender:
            for n in range(2_000):
                sender.sendall(b'<165>1 2025-01-01T00:00:00Z h%d - - - [ex@1 level="1"] %d\n' % (n % 5, n))
            wait_until(lambda: task.task.counts.records, "nothing comes")
            before = sender.getsockname()
    assert before
    rows = [row for row in values(raw(kafka, pipeline)) if isinstance(row, dict)]
    assert rows[0].keys() == {"key", "a", "time", "b"}
    numbers = sorted(int(row["b"]) for row in rows)
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"address": "0.0.0.0:6514"}, "anybody could send to 0.0.0.0:6514"),
        ({"tls_cert": "a"}, "go together"),
        ({"tls_ca": "a"}, "needs tls_cert"),
    ],
)
def test_options_that_are_wrong_are_told_by_check(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pipeline_of("syslog", options, columns=COLUMNS)
    pipeline_of("syslog", {"address": "0.0.0.0:6514", "anybody": True}, columns=COLUMNS)


def test_a_byte_now_and_then_does_not_keep_a_message_that_never_ends() -> None:
    with served(message_timeout="500ms") as (_, port), _sender(port) as sender:
        sender.settimeout(0.05)

        def ended() -> bool:
            try:
                sender.sendall(b"<")
                return sender.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(ended, "the connection stays")


def test_a_message_that_is_cut_ends_where_its_newline_comes() -> None:
    frames = Frames(10)
    ends = []
    for data in (b"<a", b"b\n<c", b"x" * 50, b"yy", b"\n<", b"d\n"):
        frames.feed(data)
        ends.append(frames.ended)
    assert ends == [False, True, False, False, True, True]
