"""Requests to real receivers, good and bad ones, over real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import pytest
from certificates import certificate
from receiving import Answer, Receiver, Request, receiving

from tidemark.runtime.web_addresses import WebAddress, web_address
from tidemark.webhooks.client import Attempt, Client

BODY = b'{"type":"label.completed"}'
HEADERS = {"webhook-id": "evt_1", "Content-Type": "application/json"}


OPENED: list[Client] = []


@pytest.fixture(autouse=True)
def all_closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def client(url: str | WebAddress, *, private: bool = True, **more: object) -> Client:
    address = web_address(url) if isinstance(url, str) else url
    OPENED.append(Client(address, private=private, **more))  # type: ignore[arg-type]
    return OPENED[-1]


def sent(receiver: Receiver, *, private: bool = True) -> Attempt:
    return client(receiver.url, private=private).post(BODY, HEADERS)


def answering(status: int, headers: dict[str, str] | None = None, content: bytes = b"") -> Callable[[Request], Answer]:
    return lambda _request: (status, headers or {}, content)


def test_a_receiver_gets_the_body_as_it_is_with_the_headers() -> None:
    with receiving() as receiver:
        attempt = client(f"{receiver.url}?room=1").post(BODY, HEADERS)
        assert attempt == Attempt(204)
        assert attempt.delivered
        (request,) = receiver.requests
    assert (request.method, request.path, request.body) == ("POST", "/hook?room=1", BODY)
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["webhook-id"] == "evt_1"
    assert request.headers["content-type"] == "application/json"


def test_deliveries_behind_each_other_go_over_one_connection_until_it_is_old() -> None:
    now = [0.0]
    with receiving() as receiver:
        sender = client(receiver.url, clock=lambda: now[0])
        assert all(sender.post(BODY, HEADERS).delivered for _ in range(3))
        now[0] += 31
        assert sender.post(BODY, HEADERS).delivered
        peers = [request.peer for request in receiver.requests]
    assert len(set(peers[:3])) == 1
    assert peers[3] != peers[0]


def test_a_connection_that_was_closed_meanwhile_is_opened_again_without_a_failure() -> None:
    with receiving(answering(200)) as receiver:
        sender = client(receiver.url)
        assert sender.post(BODY, HEADERS).delivered
        port = receiver.port
    with receiving(answering(200), port=port) as receiver:
        assert sender.post(BODY, HEADERS).delivered
        assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_answer_of_success_is_one(status: int) -> None:
    with receiving(answering(status)) as receiver:
        assert sent(receiver) == Attempt(status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int) -> None:
    with receiving() as elsewhere, receiving(answering(status, {"Location": elsewhere.url})) as receiver:
        attempt = sent(receiver)
        assert not attempt.delivered
        assert f"answered {status}" in attempt.reason
        assert attempt.reason.endswith(f"to http://127.0.0.1:{elsewhere.port}; redirects are not followed")
        assert elsewhere.requests == []


SECRET_PATH = "/services/T0AB/" + "x7Kq" * 6


QUOTES: dict[str, Callable[[Request], Answer]] = {
    "path": lambda request: (404, {}, f"Cannot POST {request.path}".encode()),
    "part": lambda request: (404, {}, f"no hook {request.path.split('/')[3].split('?')[0]}".encode()),
    "query": lambda request: (500, {}, f"?{request.path.partition('?')[2]}".encode()),
    "redirect": lambda request: (308, {"Location": request.path.replace("?", "/?")}, b""),
    "redirect elsewhere": lambda request: (301, {"Location": f"https://127.0.0.1{request.path}"}, b""),
}


@pytest.mark.parametrize("say", QUOTES.values(), ids=list(QUOTES))
def test_a_refusal_that_quotes_the_address_tells_nobody_the_secret_in_its_path(
    say: Callable[[Request], Answer],
) -> None:
    with receiving(say) as receiver:
        url = f"http://127.0.0.1:{receiver.port}{SECRET_PATH}?token=hunter2hunter2"
        attempt = client(url).post(BODY, HEADERS)
    assert "answered " in attempt.reason
    assert "x7Kq" not in attempt.reason
    assert "hunter2" not in attempt.reason


@pytest.mark.parametrize(
    ("status", "away", "gone"),
    [
        (400, False, False),
        (401, False, False),
        (404, False, False),
        (410, False, True),
        (429, True, False),
        (500, False, False),
        (502, True, False),
        (503, True, False),
        (504, True, False),
    ],
)
def test_a_refusal_says_why_and_whether_the_receiver_is_away(status: int, away: bool, gone: bool) -> None:
    with receiving(answering(status, content=b"no\x1b[31m thanks \xe2\x80\xae" + b"x" * 1_000)) as receiver:
        attempt = sent(receiver)
    assert (attempt.status, attempt.away, attempt.gone) == (status, away, gone)
    assert f"answered {status}" in attempt.reason
    assert "no\\x1b[31m thanks \\u202e" in attempt.reason
    assert len(attempt.reason) < 300


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("120", 120, 120),
        ("0", 0, 0),
        ("999999999999", 6 * 3_600, 6 * 3_600),
    ],
)
def test_the_time_that_a_receiver_asks_for_is_heard_within_a_bound(text: str, low: float, high: float) -> None:
    with receiving(answering(503, {"Retry-After": text})) as receiver:
        wait = sent(receiver).retry_after
    assert wait is not None
    assert low <= wait <= high


@pytest.mark.parametrize(("hours", "low", "high"), [(3, 2, 3), (-3, 0, 0), (300, 6, 6)])
def test_the_date_that_a_receiver_names_is_waited_for_within_a_bound(hours: int, low: int, high: int) -> None:
    date = formatdate(time.time() + hours * 3_600, usegmt=True)
    with receiving(answering(503, {"Retry-After": date})) as receiver:
        wait = sent(receiver).retry_after
    assert wait is not None
    assert low * 3_600 <= wait <= high * 3_600


@pytest.mark.parametrize("text", ["", "soon", "-1", "٣", "Fri, 99 Foo 9999"])
def test_a_time_that_is_none_is_not_heard(text: str) -> None:
    with receiving(lambda _r: (503, {"Retry-After": text.encode().decode("latin-1")}, b"")) as receiver:
        assert sent(receiver).retry_after is None


# What is not HTTP, or does not end.


@contextmanager
def speaking(speak: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that hears the beginning of a request and then does as it likes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65_536)
                    speak(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def dripping(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def dripping_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def continuing(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


def silent(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass


@pytest.mark.parametrize("speak", [dripping, continuing, silent])
def test_an_answer_that_does_not_end_is_given_up_in_time(speak: Callable[[socket.socket], None]) -> None:
    with speaking(speak) as url:
        begun = time.monotonic()
        attempt = client(url, deadline=0.5).post(BODY, HEADERS)
        taken = time.monotonic() - begun
    assert not attempt.delivered
    assert attempt.reason == "did not answer within 0.5 s"
    assert attempt.away
    assert taken < 30


def test_a_deadline_that_passes_while_it_connects_ends_the_attempt_once_it_has() -> None:
    with speaking(dripping) as url:
        sender = client(url, deadline=60.0)
        noted = sender._note

        def late(opened: socket.socket) -> None:
            noted(opened)
            sender._late.set()  # as its timer does, whose shutdown fails on a socket that is not connected yet

        sender._note = late  # type: ignore[method-assign]
        begun = time.monotonic()
        attempt = sender.post(BODY, HEADERS)
        assert attempt.reason == "did not answer within 60 s"
        assert time.monotonic() - begun < 30


def test_a_name_with_many_numbers_gets_no_longer_than_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tidemark.runtime.judged_connection._CONNECT_SECONDS", 1.5)
    with socket.create_server(("127.0.0.2", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]  # fills the backlog, so that a connection is not made
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.2", port))
        sender = client(
            WebAddress("http", "hook.example", port, "/"),
            deadline=0.5,
            resolve=lambda _host, _port: ["127.0.0.2"] * 16,
        )
        begun = time.monotonic()
        attempt = sender.post(BODY, HEADERS)
        taken = time.monotonic() - begun
        for each in waiting:
            each.close()
    assert not attempt.delivered
    assert attempt.away
    assert taken < 8, "sixteen numbers with a second and a half each"


def endless(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


def headers_without_end(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n")


def a_long_line(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x" * 10_000)


def a_part(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")


def no_chunk(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")


@pytest.mark.parametrize("speak", [endless, a_part, no_chunk, dripping_body])
def test_a_body_without_end_is_not_read_to_its_end(speak: Callable[[socket.socket], None]) -> None:
    with speaking(speak) as url:
        sender = client(url, deadline=5.0)
        assert sender.post(BODY, HEADERS).delivered, "its status has said so"
        assert sender._connection is None, "and the connection is used no more"


NO_HTTP = {
    "headers without end": headers_without_end,
    "a long line": a_long_line,
    "a word": lambda connection: connection.sendall(b"hello\r\n\r\n"),
    "a status of four digits": lambda connection: connection.sendall(b"HTTP/1.1 9999 OK\r\n\r\n"),
    "another protocol": lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.0\r\n"),
    "nothing": lambda _connection: None,
}


@pytest.mark.parametrize("speak", NO_HTTP.values(), ids=list(NO_HTTP))
def test_what_is_no_http_is_a_failure_that_says_so(speak: Callable[[socket.socket], None]) -> None:
    with speaking(speak) as url:
        attempt = client(url).post(BODY, HEADERS)
    assert not attempt.delivered
    assert attempt.away
    assert attempt.reason.startswith("is not reached: ")


def test_nobody_who_listens_is_a_failure_that_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    attempt = client(f"http://127.0.0.1:{port}/").post(BODY, HEADERS)
    assert attempt.reason == "is not reached: Connection refused"
    assert attempt.away


def test_a_name_that_does_not_exist_is_a_failure_that_says_so() -> None:
    def nowhere(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    attempt = client("https://nowhere.example/", resolve=nowhere).post(BODY, HEADERS)
    assert attempt.reason == "is not reached: its name can't be looked up (Name or service not known)"


# Where it connects to.


def test_a_private_address_gets_no_connection_unless_it_is_allowed() -> None:
    with receiving() as receiver:
        assert "this machine itself" in sent(receiver, private=False).reason
        assert receiver.requests == []
        assert sent(receiver).delivered


def test_the_address_that_was_judged_is_the_one_that_is_connected_to(tmp_path: Path) -> None:
    files = certificate(tmp_path, "hooks.example.com")
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    with receiving(tls=files) as receiver:
        sender = client(
            f"https://hooks.example.com:{receiver.port}/x", resolve=rebinding, ca_file=str(files.certificate)
        )
        assert [sender.post(BODY, HEADERS).reason for _ in range(3)] == ["", "", ""]
        assert asked == ["hooks.example.com"], "asked once for a connection"
        (host,) = {request.headers["host"] for request in receiver.requests}
        assert host == f"hooks.example.com:{receiver.port}"


def test_a_name_that_leads_elsewhere_later_is_judged_again(tmp_path: Path) -> None:
    files = certificate(tmp_path, "hooks.example.com")
    numbers = [["127.0.0.1"], ["169.254.169.254"]]
    now = [0.0]
    with receiving(tls=files) as receiver:
        sender = client(
            f"https://hooks.example.com:{receiver.port}/x",
            resolve=lambda _host, _port: numbers.pop(0),
            ca_file=str(files.certificate),
            clock=lambda: now[0],
        )
        assert sender.post(BODY, HEADERS).delivered
        now[0] += 31
        attempt = sender.post(BODY, HEADERS)
    assert attempt.reason.startswith("is not reached: hooks.example.com: 169.254.169.254 is of a network that is never")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost", "127.0.0.1", "::1"])
def test_however_this_machine_is_written_no_connection_is_made(host: str) -> None:
    with receiving() as receiver:
        # As if the check of the file had let it pass: the system's own look-up decides what it is.
        attempt = client(WebAddress("https", host, receiver.port, "/"), private=False).post(BODY, HEADERS)
        assert not attempt.delivered
        assert receiver.requests == []
    assert "this machine itself" in attempt.reason


def test_a_certificate_that_nobody_trusts_or_of_another_name_is_refused(tmp_path: Path) -> None:
    files, other = certificate(tmp_path), certificate(tmp_path, "other.example")
    with receiving(tls=files) as receiver:
        url = f"https://localhost:{receiver.port}/"
        assert client(url, ca_file=str(files.certificate)).post(BODY, HEADERS).delivered
        for untrusted in (client(url), client(url, ca_file=str(other.certificate))):
            assert "its certificate is not trusted" in untrusted.post(BODY, HEADERS).reason
        named = client(
            f"https://other.example:{receiver.port}/",
            ca_file=str(files.certificate),
            resolve=lambda _host, _port: ["127.0.0.1"],
        )
        assert "its certificate is not trusted" in named.post(BODY, HEADERS).reason
        assert len(receiver.requests) == 1


def test_an_attempt_that_is_cancelled_ends_at_once() -> None:
    with speaking(silent) as url:
        sender = client(url)
        found: list[Attempt] = []
        thread = threading.Thread(target=lambda: found.append(sender.post(BODY, HEADERS)))
        thread.start()
        while sender._socket is None:
            time.sleep(0.01)
        begun = time.monotonic()
        sender.cancel()
        thread.join()
        assert time.monotonic() - begun < 10
        assert not found[0].delivered
        assert not sender.post(BODY, HEADERS).delivered, "and none begins"
