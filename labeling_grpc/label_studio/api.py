"""Label Studio's REST API, as far as the bridge calls it: to a judged address, within bounds, some calls again.

Its own Python SDK brings pandas and a hundred packages more, and follows redirects with the token.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import msgspec

from labeling_grpc.label_studio.messages import AccessToken, Person, Project, Task, TaskPage, Webhook
from tidemark.errors import TidemarkError
from tidemark.runtime.judged_connection import JudgedConnection
from tidemark.runtime.safe_text import safe
from tidemark.runtime.web_addresses import Resolve, WebAddress, numbers_of

_READ_SECONDS: Final = 30.0
_DEADLINE: Final = 120.0
"""Seconds of a call: one that drips is cut off."""
_MOST: Final = 64 << 20
_STEP: Final = 1 << 16
_TRIES: Final = 3
_PAUSE: Final = 0.2
_PAGE: Final = 100
_MOST_PAGES: Final = 10_000
_SHOWN: Final = 300
_TOKEN_SECONDS: Final = 180.0
"""Seconds for which a personal access token's short-lived one is used; it lasts five minutes."""
_AWAY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_Answer = TypeVar("_Answer")


class _People(msgspec.Struct, frozen=True):
    """Some users. next: where the others are, None after the last."""

    results: list[Person] = []
    next: str | None = None


class AwayError(TidemarkError):
    """Label Studio can't be reached, or takes nothing for now. What was sent may have been done."""


class DeniedError(TidemarkError):
    """Label Studio refuses a call. status: of its answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class LabelStudioApi:
    """Calls as one user. Used by one thread, but for `cancel`."""

    def __init__(
        self,
        address: WebAddress,
        token: Callable[[], str],
        *,
        private: bool = False,
        ca_file: str | None = None,
        resolve: Resolve | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            address: of Label Studio, with the path that it is served under.
            token: gives the access token: a personal one, or one of the older kind.
            private: whether it may be of a private network, or this machine.
            ca_file: PEM file of the authority that signed its certificate; None: one that the system trusts.
            resolve: looks names up.
            sleep: waits so many seconds between tries.
            clock: seconds.

        Raises:
            OSError: the file can't be read, or holds no certificate.

        """
        self._address, self._token, self._private, self._resolve = address, token, private, resolve
        self._sleep, self._clock = sleep, clock
        self._base = address.path.partition("?")[0].rstrip("/")
        self._context = ssl.create_default_context(cafile=ca_file) if address.scheme == "https" else None
        self._short: tuple[str, str, float] | None = None
        self._lock = threading.RLock()  # a signal's handler may cancel in the midst of it
        self._socket: socket.socket | None = None
        self._cancelled = False

    @property
    def origin(self) -> str:
        """Where it is, for a person."""
        return self._address.origin

    def cancel(self) -> None:
        """End the call that is under way, and every later one. For other threads and signals."""
        self._cancelled = True
        with self._lock, suppress(OSError):
            if self._socket is not None:
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    # --- what is asked

    def whoami(self) -> Person:
        """Whose the token is."""
        person: Person = self._get("/api/current-user/whoami", Person)
        return person

    def people(self) -> dict[int, Person]:
        """The users that there are, by number: all at once, or page by page where it parts them."""
        found: dict[int, Person] = {}
        for page in range(1, _MOST_PAGES):
            path = "/api/users/" if page == 1 else f"/api/users/?page={page}"
            answer: list[Person] | _People = self._get(path, list[Person] | _People)
            listed = answer if isinstance(answer, list) else answer.results
            found |= {person.id: person for person in listed}
            if isinstance(answer, list) or not (answer.next and listed):
                break
        return found

    def project(self, project: int) -> Project:
        """A project."""
        found: Project = self._get(f"/api/projects/{project}/", Project)
        return found

    def tasks(self, project: int, order: str = "tasks:id") -> Iterator[Task]:
        """Tasks with their annotations, page by page. order: as the data manager has it, `-` before it: descending."""
        query, read = json.dumps({"ordering": [order]}), 0
        for page in range(1, _MOST_PAGES):
            asked = {"project": project, "page": page, "page_size": _PAGE, "fields": "all", "query": query}
            try:
                found: TaskPage = self._get("/api/tasks/?" + urlencode(asked | {"resolve_uri": "false"}), TaskPage)
            except DeniedError as error:
                if error.status == http.client.NOT_FOUND and page > 1:
                    return  # it answers so where there is no such page
                raise
            yield from found.tasks
            read += len(found.tasks)
            if not found.tasks or read >= found.total:
                return

    def task(self, task: int) -> Task | None:
        """A task with its annotations; None: there is none."""
        try:
            found: Task = self._get(f"/api/tasks/{task}/?resolve_uri=false", Task)
        except DeniedError as error:
            if error.status == http.client.NOT_FOUND:
                return None
            raise
        return found

    # --- what is changed

    def create_project(self, fields: Mapping[str, Any]) -> Project:
        """Make a project."""
        made: Project = self._ask("POST", "/api/projects/", Project, fields)
        return made

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Bring tasks. After an `AwayError` they may be there."""
        self._ask("POST", f"/api/projects/{project}/import", Any, tasks)

    def annotate(self, task: int, fields: Mapping[str, Any]) -> None:
        """Annotate a task. After an `AwayError` it may be."""
        self._ask("POST", f"/api/tasks/{task}/annotations/", Any, fields)

    def delete_annotation(self, annotation: int) -> None:
        """Delete an annotation, if it is there."""
        self._delete(f"/api/annotations/{annotation}/")

    def webhooks(self, project: int) -> list[Webhook]:
        """The webhooks of a project."""
        found: list[Webhook] = self._get(f"/api/webhooks/?project={project}", list[Webhook])
        return found

    def set_webhook(self, webhook: int | None, fields: Mapping[str, Any]) -> None:
        """Make a webhook, or change one."""
        if webhook is None:
            self._ask("POST", "/api/webhooks/", Any, fields)
        else:
            self._ask("PATCH", f"/api/webhooks/{webhook}/", Any, fields)

    # --- how

    def _get(self, path: str, kind: Any) -> Any:  # noqa: ANN401 - of the kind
        return self._again(lambda: self._ask("GET", path, kind))

    def _delete(self, path: str) -> None:
        def once() -> None:
            try:
                self._ask("DELETE", path, None)
            except DeniedError as error:
                if error.status != http.client.NOT_FOUND:
                    raise

        self._again(once)

    def _again(self, call: Callable[[], _Answer]) -> _Answer:
        """Make a call that is safe to repeat, up to three times."""
        for number in range(_TRIES - 1):
            try:
                return call()
            except AwayError:
                if self._cancelled:
                    raise
                self._sleep(_PAUSE * 2**number * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        return call()

    def _ask(self, method: str, path: str, kind: Any, body: object = None) -> Any:  # noqa: ANN401 - of the kind
        status, answer = self._sent(method, path, body, self._authorization())
        if status == http.client.UNAUTHORIZED and self._short is not None:
            self._short = None
            status, answer = self._sent(method, path, body, self._authorization())
        return self._read(method, path, kind, status, answer)

    def _read(self, method: str, path: str, kind: Any, status: int, answer: bytes) -> Any:  # noqa: ANN401 - as above
        where = f"Label Studio at {self.origin}: {method} {path.partition('?')[0]}"
        if status in _AWAY:
            raise AwayError(f"{where} answered {status}: {_shown(answer)}")
        if status == http.client.UNAUTHORIZED:
            raise DeniedError(status, f"{where} answered 401: the token is none of its, or was revoked; make a new one")
        if not 200 <= status < 300:
            more = "; redirects are not followed" if 300 <= status < 400 else f": {_shown(answer)}"
            raise DeniedError(status, f"{where} answered {status}{more}")
        if kind is None:
            return None
        try:
            return msgspec.json.decode(answer, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise AwayError(f"{where} answered what its API does not: {safe(str(error))[:_SHOWN]}") from error

    def _authorization(self) -> str:
        token = self._token().strip()
        if token.count(".") != 2:
            return f"Token {token}"
        now = self._clock()
        if self._short is None or self._short[0] != token or now - self._short[2] > _TOKEN_SECONDS:
            path = "/api/token/refresh/"
            status, answer = self._sent("POST", path, {"refresh": token}, "")
            self._short = token, self._read("POST", path, AccessToken, status, answer).access, now
        return f"Bearer {self._short[1]}"

    def _sent(self, method: str, path: str, body: object, authorization: str) -> tuple[int, bytes]:
        headers = {"Accept": "application/json", "Connection": "close"}
        headers |= {"Authorization": authorization} if authorization else {}
        content = None if body is None else msgspec.json.encode(body)
        headers |= {} if content is None else {"Content-Type": "application/json"}
        deadline = self._clock() + _DEADLINE
        connection = None
        try:
            numbers = numbers_of(self._address, private=self._private, resolve=self._resolve)
            connection = JudgedConnection(self._address, numbers, self._context, self._note, deadline=_READ_SECONDS)
            connection.connect()
            connection.request(method, self._base + path, content, headers)
            response = connection.getresponse()
            return response.status, self._body(response, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = safe(str(error) or type(error).__name__)[:_SHOWN]
            raise AwayError(f"Label Studio at {self.origin} is not reached: {why}") from error
        finally:
            if connection is not None:
                connection.close()
            with self._lock:
                self._socket = None

    def _body(self, response: http.client.HTTPResponse, deadline: float) -> bytes:
        parts, size = [], 0
        while part := response.read1(_STEP):
            size += len(part)
            if size > _MOST:
                raise OSError(f"its answer has more than {_MOST >> 20} MB")
            if self._clock() > deadline:
                raise TimeoutError(f"its answer takes more than {_DEADLINE:g} s")
            parts.append(part)
        if response.length:
            raise OSError("its answer was cut off")
        return b"".join(parts)

    def _note(self, opened: socket.socket) -> None:
        with self._lock:
            self._socket = opened
            if self._cancelled:
                raise ConnectionAbortedError("this process ends")


def _shown(answer: bytes) -> str:
    return safe(answer[: 4 * _SHOWN].decode(errors="replace").strip())[:_SHOWN]
