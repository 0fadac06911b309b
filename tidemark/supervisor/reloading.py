"""How `tidemark reload` hands an edited file to the `tidemark up` that runs the pipeline: by files in its folder.

The request is the text that was checked, not the file's name, so that an edit made meanwhile is not taken over
unchecked. `up` looks for it once a second, and answers with a file beside it. Both are private to their owner.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tidemark.runtime.private_files import private_file

_REQUEST: Final = "reload.json"
_ANSWER: Final = "reloaded.json"
_LARGEST: Final = 32 << 20
T = TypeVar("T")


class Request(msgspec.Struct, frozen=True):
    """What is asked for. identity: of this request.  file: whose text it is, an absolute path."""

    identity: str
    file: str
    text: str


class Answer(msgspec.Struct, frozen=True):
    """What became of a request. problem: why the file is not run; "" where it is."""

    identity: str
    problem: str = ""


def ask(folder: Path, file: Path, text: str) -> str:
    """Ask the process that supervises a pipeline to run another text.

    Args:
        folder: the pipeline's.
        file: that has the text.
        text: of the pipeline file, checked.

    Returns:
        The request's identity, for `answer_of`.

    """
    request = Request(secrets.token_hex(8), str(file.absolute()), text)
    _write(folder / _REQUEST, msgspec.json.encode(request))
    return request.identity


def taken(folder: Path) -> Request | None:
    """The request that waits, which is taken away; None if there is none, or what is there is none."""
    found = _read(folder / _REQUEST, Request)
    (folder / _REQUEST).unlink(missing_ok=True)
    return found


def answer(folder: Path, request: Request, problem: str = "") -> None:
    """Say what became of a request.

    Args:
        folder: the pipeline's.
        request: that was taken.
        problem: why its text is not run.

    """
    _write(folder / _ANSWER, msgspec.json.encode(Answer(request.identity, problem)))


def answer_of(folder: Path, identity: str) -> Answer | None:
    """The answer to a request; None if there is none yet."""
    found = _read(folder / _ANSWER, Answer)
    return found if found is not None and found.identity == identity else None


def withdraw(folder: Path) -> None:
    """Take back what nobody has taken."""
    (folder / _REQUEST).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    new = private_file(path.with_suffix(".new"))
    new.write_bytes(content)
    os.replace(new, path)  # noqa: PTH105 - pathlib's says less of what it replaces


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
