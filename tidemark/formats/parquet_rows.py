"""Parquet, read by a process of its own: a damaged or hostile file ends that process and not ours.

Polars panics on some damaged files and aborts the process on others, and a file of some kilobytes may unfold to
gigabytes. The child has a limit on its memory, and what it sends is cut into pieces of bounded size.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec

from tidemark.errors import ConfigError
from tidemark.formats.declared import Declared
from tidemark.formats.parquet_messages import FRAME, Asked, Schema
from tidemark.formats.rows import Row, Standpoint
from tidemark.runtime.suggestions import did_you_mean

_MAGIC: Final = b"PAR1"
_ENCRYPTED: Final = b"PARE"
_MOST_FOOTER: Final = 64 << 20
_MOST_FRAME: Final = 64 << 20


class ParquetRows:
    """Rows of a Parquet file, its declared columns alone."""

    kind = "parquet"
    whole = True
    closed = True

    def __init__(self, path: Path, declared: Declared, *, most_rows: int | None = None) -> None:
        """Look at the footer.

        Args:
            path: of the file.
            declared: its columns.
            most_rows: a file of more is refused.

        Raises:
            ConfigError: it is no such file, lacks a column, or holds one that can't be what it is declared.

        """
        self.path = path
        self._declared = declared
        self._check(path)
        with _Child(path, self.kind) as child:
            schema = child.schema
            self._kinds = {name: kind for name in schema.columns if (kind := declared.kind_of(name)) is not None}
            self.count = schema.rows
            if misspelt := declared.misspelt(list(schema.columns)):
                raise ConfigError(f"{path}: {misspelt}")
            absent = [name for name in declared.required if name not in schema.columns]
            if absent:
                raise ConfigError(
                    f"{path} has no column {', '.join(map(repr, absent))}, which {declared.owner} requires; "
                    f"{did_you_mean(absent[0], list(schema.columns)[:1_000])}"
                )
            if most_rows is not None and self.count > most_rows:
                raise ConfigError(f"{path} holds {self.count:,} rows; at most {most_rows:,} are taken of a file")
            child.ask(self._asked(0))
            next(child.payloads(), None)  # what is wrong with the columns' types is told before anything is read

    def rows(self, since: Standpoint) -> Iterator[Row]:
        """The rows behind a standpoint."""
        number = since.rows
        with _Child(self.path, self.kind) as child:
            child.ask(self._asked(since.position))
            for payload in child.payloads():
                for value in payload.split(b"\n"):
                    number += 1
                    yield Row(number, value, number)

    @staticmethod
    def _check(path: Path) -> None:
        """Whether the file may be one at all.

        Raises:
            ConfigError: it is none.

        """
        _check_footer(path)

    def _asked(self, begin: int) -> Asked:
        return Asked(begin, self._kinds, self._declared.time)


def _check_footer(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(4)
        file.seek(max(size - 8, 0))
        last = file.read(8)
    if _ENCRYPTED in (first, last[4:]):
        raise ConfigError(f"{path} can't be read: it is encrypted; write it without encryption")
    if first != _MAGIC or last[4:] != _MAGIC or size < 12:
        raise ConfigError(f"{path} can't be read: it is no Parquet file, or it was not written to its end")
    (footer,) = struct.unpack("<I", last[:4])
    if footer > min(size - 12, _MOST_FOOTER):
        raise ConfigError(f"{path} can't be read: its footer says that it has {footer:,} bytes; the file is damaged")


class _Child:
    """The process that reads."""

    def __init__(self, path: Path, form: str) -> None:
        self._path = path
        root = str(Path(__file__).resolve().parents[2])
        kept = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
        env = {name: os.environ[name] for name in kept if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tidemark.formats.parquet_child", form, str(path.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env | {"PYTHONPATH": root, "POLARS_MAX_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for us; we end the child
        )
        try:
            kind, payload = self._frame()
            self.schema = msgspec.json.decode(payload, type=Schema)
        except BaseException:
            self.end()
            raise
        if kind != b"S":
            self.end()
            raise self._broken("said nothing of its columns")

    def ask(self, asked: Asked) -> None:
        """Say what is wanted."""
        with contextlib.suppress(BrokenPipeError):  # it is dead, which the answer tells
            self._pipe(self._process.stdin).write(msgspec.json.encode(asked))
            self._pipe(self._process.stdin).close()

    def payloads(self) -> Iterator[bytes]:
        """Rows, each a line of JSON."""
        while True:
            kind, payload = self._frame()
            if kind == b"Z":
                return
            yield payload

    def end(self) -> None:
        """Kill it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                self._pipe(stream).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def _frame(self) -> tuple[bytes, bytes]:
        source = self._pipe(self._process.stdout)
        header = source.read(FRAME.size)
        if len(header) < FRAME.size:
            raise self._broken(self._post_mortem())
        kind, size = FRAME.unpack(header)
        if size > _MOST_FRAME:
            raise self._broken(f"sends {size:,} bytes at once")
        payload = source.read(size)
        if len(payload) < size:
            raise self._broken(self._post_mortem())
        if kind == b"E":
            raise ConfigError(f"{self._path} {payload.decode(errors='replace')}")
        return kind, payload

    def _post_mortem(self) -> str:
        code = self._process.wait()
        return f"died ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"

    def _broken(self, what: str) -> ConfigError:
        return ConfigError(
            f"{self._path} can't be read: the process that reads it {what}; the file is damaged, or takes more memory "
            "than a reader may have. Write it again, in smaller row groups"
        )

    @staticmethod
    def _pipe(stream: object) -> BinaryIO:
        return stream  # type: ignore[return-value]  # both are pipes
