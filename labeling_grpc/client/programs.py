"""`@labeler`: a function that answers cases, run as an annotator that is a program.

The function is given a case and says its class or number, or None where it leaves the case to people. What it answers
stands in the labels under a name that begins with `program:`; a known share of its cases goes to people too
(`labeling.programs_audited`).
"""

from __future__ import annotations

import asyncio
import inspect
import numbers
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from labeling_grpc.client.labeling import LabelingClient
from labeling_grpc.client.labeling_async import AsyncLabelingClient
from labeling_grpc.client.values import Annotation, Submitted, Task
from labeling_grpc.contract.errors import Reason, RefusedError
from labeling_grpc.contract.programs import PREFIX
from tidemark.errors import ConfigError

_WAIT: Final = 5.0
_LEASE: Final = 60.0
_LATE: Final = {Reason.STALE_LEASE, Reason.CASE_CLOSED, Reason.UNKNOWN_CASE}
"""Refusals of an answer that came too late: somebody else has the case by now."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a program says of a case. confidence: 0 to 1, where it has one."""

    label: str | float
    confidence: float | None = None
    comment: str = ""


Said = str | float | Decision | None
Function = Callable[[Task], Said] | Callable[[Task], Awaitable[Said]]


@dataclass(slots=True)
class Answered:
    """What a program did. late: answers that came after their lease had ended."""

    answered: int = 0
    left: int = 0
    late: int = 0

    @property
    def seen(self) -> int:
        """Cases that it was given."""
        return self.answered + self.left + self.late


class Labeler:
    """A function that answers cases; called, it is the function that it was."""

    def __init__(self, function: Function, pipeline: str, name: str, address: str, token: str | None) -> None:
        self.function = function
        self.name = name if name.startswith(PREFIX) else PREFIX + name
        self._pipeline = pipeline
        self._address = address
        self._token = token
        self._stopped = threading.Event()
        self.__doc__ = function.__doc__

    def __call__(self, task: Task) -> Said | Awaitable[Said]:
        """What the function says of a case."""
        return self.function(task)

    def stop(self) -> None:
        """Let `run` or `serve` end after the cases that are under way, from any thread."""
        self._stopped.set()

    def run(self, *, at_once: int = 10, most: int | None = None, idle: float | None = None) -> Answered:
        """Answer cases until it is stopped.

        Args:
            at_once: cases that it is given at a time; an async function works on them side by side.
            most: end after so many.
            idle: end where no case came for so many seconds.

        Returns:
            What was done.

        Raises:
            RefusedError: the service lets the program do nothing: no valid token, paused, in quarantine.
            UnreachableError: it can't be reached.
            ConfigError: the token is another annotator's.

        """
        if inspect.iscoroutinefunction(self.function):
            return asyncio.run(self.serve(at_once=at_once, most=most, idle=idle))
        done = Answered()
        with self._client(LabelingClient) as client:
            _check(client.caller().name, self.name, known=client.caller().known)
            quiet = 0.0
            while (count := self._wanted(done, at_once, most)) and (idle is None or quiet < idle):
                wait = _WAIT if idle is None else min(_WAIT, idle)
                tasks = client.lease(count, wait=wait, lease=_LEASE)
                quiet = 0.0 if tasks else quiet + wait
                with client.keep(tasks, lease=_LEASE):  # a function that fails gives its cases back
                    said = [(task, cast("Said", self.function(task))) for task in tasks]
                    answers = _answers(said)
                    if answers:
                        _count(done, client.submit_many(answers))
                done.left += len(tasks) - len(answers)
        return done

    async def serve(self, *, at_once: int = 10, most: int | None = None, idle: float | None = None) -> Answered:
        """As `run`, of an async function, in a loop that runs already."""
        done = Answered()
        function = cast("Callable[[Task], Awaitable[Said]]", self.function)
        async with self._client(AsyncLabelingClient) as client:
            caller = await client.caller()
            _check(caller.name, self.name, known=caller.known)
            quiet = 0.0
            while (count := self._wanted(done, at_once, most)) and (idle is None or quiet < idle):
                wait = _WAIT if idle is None else min(_WAIT, idle)
                tasks = await client.lease(count, wait=wait, lease=_LEASE)
                quiet = 0.0 if tasks else quiet + wait
                async with client.keep(tasks, lease=_LEASE):
                    said = await asyncio.gather(*(function(task) for task in tasks))
                    answers = _answers(list(zip(tasks, said, strict=True)))
                    if answers:
                        _count(done, await client.submit_many(answers))
                done.left += len(tasks) - len(answers)
        return done

    def _wanted(self, done: Answered, at_once: int, most: int | None) -> int:
        if self._stopped.is_set():
            return 0
        return at_once if most is None else max(0, min(at_once, most - done.seen))

    def _client(self, kind: type[Client]) -> Client:
        if not self._address:
            return kind.of(self._pipeline, self.name)
        return kind(self._address, self.name, pipeline=self._pipeline, token=self._token)


Client = TypeVar("Client", LabelingClient, AsyncLabelingClient)


def labeler(
    pipeline: str, name: str = "", *, address: str = "", token: str | None = None
) -> Callable[[Function], Labeler]:
    """Make an annotator of a function, sync or async.

    Args:
        pipeline: whose cases it answers.
        name: of the program, by default the function's; the labels have it as `program:NAME`.
        address: `host:port` of the labeling service; by default the one on this machine.
        token: access token; by default the one in `TIDEMARK_LABELING_TOKEN`, if any.

    Returns:
        The decorator.

    """

    def decorated(function: Function) -> Labeler:
        own = getattr(function, "__name__", "")
        return Labeler(function, pipeline, name or own, address, token)

    return decorated


def _check(caller: str, name: str, *, known: bool) -> None:
    if known and caller != name:
        raise ConfigError(
            f"the token is {caller!r}'s, and this program is {name!r}: make one with "
            f"`tidemark token create PIPELINE.toml --as {name} --role program`"
        )


def _answers(said: Sequence[tuple[Task, Said]]) -> list[Annotation]:
    answers = []
    for task, word in said:
        decision = word if word is None or isinstance(word, Decision) else Decision(word)
        if decision is not None:
            label = _text(decision.label)
            answers.append(Annotation(task, label, confidence=decision.confidence, comment=decision.comment))
    return answers


def _text(said: object) -> str:
    """An answer as it travels: of a fraction its shortest decimal, of anything else what it shows.

    True is no number, though Python takes it for 1: a program that says so compares where it should measure.
    """
    if isinstance(said, numbers.Real) and not isinstance(said, numbers.Integral):
        return repr(float(said))
    return str(said)


def _count(done: Answered, outcomes: Sequence[Submitted | RefusedError]) -> None:
    for outcome in outcomes:
        if not isinstance(outcome, RefusedError):
            done.answered += 1
        elif outcome.reason in _LATE:
            done.late += 1
        else:
            raise outcome
