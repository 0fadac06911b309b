"""Webhooks of Label Studio: who shows the secret hints at a task, and nothing that it says is believed."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling_grpc.label_studio.hints import HEADER, MOST_BYTES, Hinted, Hints, listening, task_named
from support import wait_until

SECRET = "0123456789abcdef"  # noqa: S105 - of nothing


@pytest.fixture
def port_and_hints() -> Iterator[tuple[int, Hints]]:
    hints = Hints()
    with listening(("127.0.0.1", 0), lambda: SECRET + "\n", hints) as port:
        yield port, hints


def sent(port: int, body: bytes, secret: str = SECRET, method: str = "POST") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, "/", body, {HEADER: secret, "Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_webhook_with_the_secret_hints_at_its_task(port_and_hints: tuple[int, Hints]) -> None:
    port, hints = port_and_hints
    told = {"action": "ANNOTATION_CREATED", "task": {"id": 7}, "annotation": {"id": 3, "task": 7}, "project": {"id": 1}}
    assert sent(port, json.dumps(told).encode()) == 204
    assert sent(port, json.dumps({"annotation": {"id": 3, "task": 8}}).encode()) == 204
    hints.wait(10)
    assert hints.take() == Hinted({7, 8})
    assert hints.take() == Hinted()


def test_one_that_names_no_task_lets_the_bridge_ask_what_changed(port_and_hints: tuple[int, Hints]) -> None:
    port, hints = port_and_hints
    assert sent(port, b'{"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 3}]}') == 204
    assert hints.take() == Hinted(all=True)


@pytest.mark.parametrize("secret", ["", "0123456789abcdee", "0123456789abcdef0", "ÿ"])
def test_one_without_the_secret_is_answered_401_and_hints_at_nothing(
    port_and_hints: tuple[int, Hints], secret: str
) -> None:
    port, hints = port_and_hints
    assert sent(port, b'{"task": {"id": 7}}', secret) == 401
    assert hints.take() == Hinted()


def test_a_body_that_is_too_large_is_not_read(port_and_hints: tuple[int, Hints]) -> None:
    port, hints = port_and_hints
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"POST / HTTP/1.1\r\nHost: x\r\n{HEADER}: {SECRET}\r\nContent-Length: {MOST_BYTES + 1}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")
    assert hints.take() == Hinted(all=True)


def test_connections_that_say_nothing_keep_no_webhook_out_for_long(
    port_and_hints: tuple[int, Hints], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, hints = port_and_hints
    monkeypatch.setattr("labeling_grpc.label_studio.hints._Handler.timeout", 0.2)
    silent = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(40)]

    def taken() -> bool:
        try:
            return sent(port, b'{"task": {"id": 7}}') == 204
        except (http.client.HTTPException, OSError):
            return False

    wait_until(taken, "silent connections keep webhooks out")
    assert hints.take() == Hinted({7})
    for each in silent:
        each.close()


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["task", "annotation", "id", "x"]), inner, max_size=3)
        ),
        max_leaves=10,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_a_body_says_it_names_one_task_or_none(body: bytes) -> None:
    named = task_named(body)
    assert named is None or 0 < named < 2**63
