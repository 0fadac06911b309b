"""How `tidemark reload` hands an edited file to the `tidemark up` that runs the pipeline: by files in its folder.

The request is the text that was checked, not the file's name, so that an edit made meanwhile is not taken over
unchecked. `up` looks for it once a second, and answers with a file beside it. Both are private to their owner.
"""

from __future__ import annotations

import fcntl
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from tidemark.errors import ConfigError
from tidemark.runtime.private_files import private_content, private_file

_LOCK: Final = "reload.lock"
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


@contextmanager
def asking(folder: Path) -> Iterator[None]:
    """Be the one that asks: a request of another would take the place of one's own, and its answer too.

    Args:
        folder: the pipeline's.

    Raises:
        ConfigError: another asks now.

    """
    with private_file(folder / _LOCK).open("r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                "another `tidemark reload` of this pipeline waits for its answer: try it after that"
            ) from error
        yield


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
    private_content(folder / _REQUEST, msgspec.json.encode(request))
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
    private_content(folder / _ANSWER, msgspec.json.encode(Answer(request.identity, problem)))


def answer_of(folder: Path, identity: str) -> Answer | None:
    """The answer to a request; None if there is none yet."""
    found = _read(folder / _ANSWER, Answer)
    return found if found is not None and found.identity == identity else None


def withdraw(folder: Path) -> None:
    """Take back what nobody has taken."""
    (folder / _REQUEST).unlink(missing_ok=True)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
