"""A stand-in for Label Studio over HTTP, as its API is documented, and people who work in it: `from studio import ...`.

Tests with the real one (marker `label_studio`) hold that it answers as this one does.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "0123456789abcdef0123456789abcdef01234567"  # noqa: S105 - of nothing
PERSONAL = "eyJhbGciOiJI.eyJ0b2tlbl90eXBl.c2lnbmF0dXJl"
SHORT = "short-lived"
OWNER, ADA, BEN = 1, 2, 3
EMAILS = {OWNER: "bridge@bank.example", ADA: "Ada@bank.example", BEN: "ben@bank.example"}
Fault = Callable[[str, str], str]
"""Of method and path: "" answers, "lost" drops the request, "unheard" does it and drops the answer, "503" says so."""


def no_fault(_method: str, _path: str) -> str:
    """Nothing goes wrong."""
    return ""


@dataclass
class Studio:
    """What it holds. Its methods are what people do in it."""

    projects: dict[int, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    webhooks: dict[int, dict[str, Any]] = field(default_factory=dict)
    fault: Fault = no_fault
    calls: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    port: int = 0
    page: int = 100
    imports_late: bool = False
    late: list[dict[str, Any]] = field(default_factory=list)
    _number: int = 0
    _last: float = 0.0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def number(self) -> int:
        """A new one."""
        self._number += 1
        return self._number

    def now(self) -> str:
        """Its clock, which never stands still."""
        self._last = max(time.time(), self._last + 1e-6)
        return datetime.fromtimestamp(self._last, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

    def open_tasks(self) -> list[dict[str, Any]]:
        """Tasks that people are given: without an annotation, for the project has one a task and ignores skips."""
        with self.lock:
            return [task for task in self.tasks.values() if not task["annotations"]]

    def of_event(self, event_id: str) -> list[dict[str, Any]]:
        """The tasks of an event."""
        with self.lock:
            return [task for task in self.tasks.values() if task["data"].get("event_id") == event_id]

    def annotate(self, task: int, user: int, choice: str | list[str] | None) -> int:
        """Somebody answers a task, None: skips it."""
        chosen = [choice] if isinstance(choice, str) else choice or []
        result = [{"from_name": "label", "to_name": "event", "type": "choices", "value": {"choices": chosen}}]
        return self._annotated(task, user, {"result": result if chosen else [], "was_cancelled": choice is None})

    def edit(self, annotation: int, user: int, choice: str) -> None:
        """Somebody changes an annotation."""
        with self.lock:
            task, found = self._find(annotation)
            kept = {"id": found["result"][0]["id"]} if found["result"] and "id" in found["result"][0] else {}
            found["result"] = [
                kept | {"from_name": "label", "to_name": "event", "type": "choices", "value": {"choices": [choice]}}
            ]
            found |= {"updated_by": user, "updated_at": self.now(), "was_cancelled": False}
            task["updated_at"] = self.now()

    def delete(self, annotation: int) -> None:
        """Somebody deletes an annotation."""
        with self.lock:
            task, found = self._find(annotation)
            task["annotations"].remove(found)
            task["updated_at"] = self.now()

    def delete_task(self, task: int) -> None:
        """Somebody deletes a task."""
        with self.lock:
            del self.tasks[task]

    def bring_late(self) -> None:
        """What was imported is there by now."""
        with self.lock:
            for task in self.late:
                self._bring(task)
            self.late.clear()

    def _annotated(self, task: int, user: int, fields: dict[str, Any]) -> int:
        with self.lock:
            now = self.now()
            annotation: dict[str, Any] = {
                "id": self.number(),
                "completed_by": user,
                "updated_by": user,
                "created_at": now,
            }
            annotation |= {"updated_at": now, "result": fields.get("result", [])}
            annotation |= {"was_cancelled": bool(fields.get("was_cancelled"))}
            self.tasks[task]["annotations"].append(annotation)
            self.tasks[task]["updated_at"] = self.now()
            number: int = annotation["id"]
            return number

    def _find(self, annotation: int) -> tuple[dict[str, Any], dict[str, Any]]:
        for task in self.tasks.values():
            for each in task["annotations"]:
                if each["id"] == annotation:
                    return task, each
        raise KeyError(annotation)

    def _bring(self, task: dict[str, Any]) -> None:
        number = self.number()
        self.tasks[number] = {"id": number, "annotations": [], "updated_at": self.now(), **task}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:  # noqa: ANN401 - JSON
        """What it answers to a call."""
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        for wanted, pattern, act in _ROUTES:
            match = re.fullmatch(pattern, parts.path)
            if wanted == method and match is not None:
                with self.lock:
                    return act(self, [int(each) for each in match.groups()], query, body)
        return 404, {"detail": "Not found."}


def _people(_studio: Studio, _ids: list[int], _query: dict[str, str], _body: object) -> tuple[int, Any]:
    return 200, [{"id": number, "email": email, "username": ""} for number, email in EMAILS.items()]


def _whoami(_studio: Studio, _ids: list[int], _query: dict[str, str], _body: object) -> tuple[int, Any]:
    return 200, {"id": OWNER, "email": EMAILS[OWNER], "username": ""}


def _create_project(studio: Studio, _ids: list[int], _query: dict[str, str], body: Any) -> tuple[int, Any]:  # noqa: ANN401
    number = studio.number()
    studio.projects[number] = {"skip_queue": "REQUEUE_FOR_OTHERS", **body, "id": number}
    return 201, studio.projects[number]


def _project(studio: Studio, ids: list[int], _query: dict[str, str], _body: object) -> tuple[int, Any]:
    found = studio.projects.get(ids[0])
    return (404, {"detail": "Not found."}) if found is None else (200, found)


def _import(studio: Studio, _ids: list[int], _query: dict[str, str], body: Any) -> tuple[int, Any]:  # noqa: ANN401
    if studio.imports_late:
        studio.late += body
        return 201, {"import": 1}
    for task in body:
        studio._bring(task)
    return 201, {"task_count": len(body)}


def _tasks(studio: Studio, _ids: list[int], query: dict[str, str], _body: object) -> tuple[int, Any]:
    (order,) = json.loads(query["query"])["ordering"]
    name = order.removeprefix("-").removeprefix("tasks:")
    found = sorted(studio.tasks.values(), key=lambda task: task[name], reverse=order.startswith("-"))
    size, page = min(int(query["page_size"]), studio.page), int(query["page"])
    shown = found[(page - 1) * size : page * size]
    if not shown and page > 1:
        return 404, {"detail": "Invalid page."}
    return 200, {"tasks": shown, "total": len(found), "total_annotations": 0}


def _task(studio: Studio, ids: list[int], _query: dict[str, str], _body: object) -> tuple[int, Any]:
    found = studio.tasks.get(ids[0])
    if found is None:
        return 404, {"detail": "Not found."}
    people = [
        each | {"completed_by": {"id": each["completed_by"], "email": EMAILS.get(each["completed_by"], "")}}
        for each in found["annotations"]
    ]
    return 200, found | {"annotations": people}


def _annotate(studio: Studio, ids: list[int], _query: dict[str, str], body: Any) -> tuple[int, Any]:  # noqa: ANN401
    if ids[0] not in studio.tasks:
        return 404, {"detail": "Not found."}
    return 201, {"id": studio._annotated(ids[0], OWNER, body)}


def _delete_annotation(studio: Studio, ids: list[int], _query: dict[str, str], _body: object) -> tuple[int, Any]:
    try:
        studio.delete(ids[0])
    except KeyError:
        return 404, {"detail": "Not found."}
    return 204, None


def _webhooks(studio: Studio, _ids: list[int], query: dict[str, str], _body: object) -> tuple[int, Any]:
    return 200, [each for each in studio.webhooks.values() if each["project"] == int(query["project"])]


def _set_webhook(studio: Studio, ids: list[int], _query: dict[str, str], body: Any) -> tuple[int, Any]:  # noqa: ANN401
    number = ids[0] if ids else studio.number()
    studio.webhooks[number] = studio.webhooks.get(number, {}) | body | {"id": number}
    return 201, studio.webhooks[number]


def _short_lived(_studio: Studio, _ids: list[int], _query: dict[str, str], body: Any) -> tuple[int, Any]:  # noqa: ANN401
    return (200, {"access": SHORT}) if body == {"refresh": PERSONAL} else (401, {"detail": "Token is invalid"})


_ROUTES: list[tuple[str, str, Callable[[Studio, list[int], dict[str, str], Any], tuple[int, Any]]]] = [
    ("GET", "/api/current-user/whoami", _whoami),
    ("GET", "/api/users/", _people),
    ("POST", "/api/projects/", _create_project),
    ("GET", r"/api/projects/(\d+)/", _project),
    ("POST", r"/api/projects/(\d+)/import", _import),
    ("GET", "/api/tasks/", _tasks),
    ("GET", r"/api/tasks/(\d+)/", _task),
    ("POST", r"/api/tasks/(\d+)/annotations/", _annotate),
    ("DELETE", r"/api/annotations/(\d+)/", _delete_annotation),
    ("GET", "/api/webhooks/", _webhooks),
    ("POST", "/api/webhooks/", _set_webhook),
    ("PATCH", r"/api/webhooks/(\d+)/", _set_webhook),
    ("POST", "/api/token/refresh/", _short_lived),
]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        studio = self.server.studio
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        studio.calls.append((self.command, self.path))
        fault = studio.fault(self.command, self.path)
        answer: Any
        if fault == "lost":
            self.close_connection = True
            return
        if fault.isdecimal():
            status, answer = int(fault), {"detail": "away"}
        elif self._may():
            status, answer = studio.answer(self.command, self.path, json.loads(body) if body else None)
        else:
            status, answer = 401, {"detail": "Invalid token."}
        if fault == "unheard":
            self.close_connection = True
            return
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - named by the library

    def _may(self) -> bool:
        free = self.path.startswith("/api/token/refresh/")
        return free or self.headers.get("authorization", "") in {f"Token {TOKEN}", f"Bearer {SHORT}"}

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    studio: Studio

    def handle_error(self, *_: object) -> None:
        """A caller that was killed."""


@contextmanager
def standing_in(studio: Studio | None = None) -> Iterator[Studio]:
    """A Label Studio that listens on this machine."""
    shown = studio or Studio()
    server = _Server(("127.0.0.1", shown.port), _Handler)
    server.studio = shown
    shown.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        with suppress(OSError):
            server.socket.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()
