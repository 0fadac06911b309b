"""Kafka's jars: named by coordinates and SHA-256 in `jars.lock`, downloaded once into the cache folder.

Every start hashes every jar again (0.1 s), so a damaged or exchanged file is never run.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from tidemark.errors import BrokerError

_log = logging.getLogger(__name__)
_PARALLEL: Final = 8
_ATTEMPTS: Final = 4
_RETRY_SECONDS: Final = 0.5
_TIMEOUT_SECONDS: Final = 60
_BLOCK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Jar:
    """One jar of the lock: Maven coordinates, the SHA-256 of its content, and its size in bytes."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """Name of the file in the cache folder and in a Maven repository."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def path(self) -> str:
        """Where a Maven repository has it, relative to the repository's address."""
        return f"{self.group.replace('.', '/')}/{self.artifact}/{self.version}/{self.filename}"

    def __str__(self) -> str:
        return f"{self.group}:{self.artifact}:{self.version}"


@cache
def locked_jars() -> tuple[Jar, ...]:
    """The jars of `jars.lock`: one a line, `GROUP:ARTIFACT:VERSION SHA256 SIZE`; `#` begins a comment."""
    text = files("tidemark.broker").joinpath("jars.lock").read_text(encoding="utf-8")
    jars = []
    for line in text.splitlines():
        if line and not line.startswith("#"):
            coordinates, sha256, size = line.split()
            group, artifact, version = coordinates.split(":")
            jars.append(Jar(group, artifact, version, sha256, int(size)))
    return tuple(jars)


def kafka_version() -> str:
    """Version of the locked Kafka."""
    return next(jar.version for jar in locked_jars() if jar.artifact.startswith("kafka_"))


def ensure_jars(
    cache_dir: Path,
    *,
    jars: tuple[Jar, ...] | None = None,
    repository: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Paths of all jars, in the lock's order; those that are missing or damaged are downloaded first.

    A download counts only when it is complete and its SHA-256 is the lock's, so it may be interrupted at any
    moment and goes on where it was; several processes may do it at once.

    cache_dir: the cache folder; the jars are in `kafka-VERSION` below it.
    repository: address of a Maven repository; None means Maven Central.
    progress: called from any thread with (bytes done, bytes in all), of what must be downloaded.

    Raises:
        BrokerError: a jar can't be had, or is not the one that is locked.

    """
    wanted = locked_jars() if jars is None else jars
    folder = cache_dir / f"kafka-{kafka_version()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BrokerError(
            f"{folder}: can't be made ({error.strerror}); name a folder that you may write to in TIDEMARK_CACHE"
        ) from error
    paths = [folder / jar.filename for jar in wanted]
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="jars") as pool:
        good = list(pool.map(_is_good, wanted, paths))
        missing = [pair for pair, ok in zip(zip(wanted, paths, strict=True), good, strict=True) if not ok]
        if missing:
            base = _central() if repository is None else repository
            total, done = sum(jar.size for jar, _ in missing), 0
            _log.info("downloading %d of Kafka's jars, %.0f MB", len(missing), total / 1e6)
            for _, path in missing:
                if path.exists():
                    _log.warning("%s is not what jars.lock says (damaged?); downloading it again", path)
            for size in pool.map(lambda pair: _download(base, *pair), missing):
                done += size
                if progress is not None:
                    progress(done, total)
    return paths


def _central() -> str:
    """Address of Maven Central, as jgo knows it."""
    from jgo.maven import MavenContext  # noqa: PLC0415 0.2 s that only a download needs

    return next(iter(MavenContext().remote_repos.values()))


def _is_good(jar: Jar, path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == jar.sha256
    except FileNotFoundError:
        return False


def _download(base: str, jar: Jar, path: Path) -> int:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            found = _fetch(f"{base}/{jar.path}", path, jar)
        except (OSError, urllib.error.URLError) as error:
            final = isinstance(error, urllib.error.HTTPError) and error.code in (401, 403, 404)
            if final or attempt == _ATTEMPTS:
                raise BrokerError(
                    f"Kafka's jar {jar} can't be downloaded ({error}); check the network and the proxy settings, "
                    "or name a mirror in TIDEMARK_MAVEN_REPOSITORY; what is there already is kept"
                ) from error
            time.sleep(_RETRY_SECONDS * 2**attempt)
        else:
            if found != jar.sha256:
                raise BrokerError(
                    f"Kafka's jar {jar} is not the one that is locked: SHA-256 {found}, expected {jar.sha256}; "
                    "it was not kept. Don't run it: find out what the repository or a proxy on the way serves"
                )
            return jar.size
    raise AssertionError("unreachable: the last attempt returns or raises")


def _fetch(url: str, path: Path, jar: Jar) -> str:
    """Download to `path` if the content is the jar's; SHA-256 of what came."""
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as folder:
        part = Path(folder) / jar.filename
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer, part.open("wb") as stream:  # noqa: S310 the address is the operator's
            while block := answer.read(_BLOCK):
                digest.update(block)
                stream.write(block)
        if digest.hexdigest() == jar.sha256:
            part.replace(path)
    return digest.hexdigest()
