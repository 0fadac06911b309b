"""Calls that wait for their answers, in a thread of its own: those that have come meanwhile are answered together.

Not in the event loop, which takes calls one by one and must be free for it: else each is answered alone, and none is
refused where too many wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from tidemark.asking import Answer, Asked, Refusal

_TOGETHER: Final = 64
"""Calls that are answered at once: more make the first of them wait for the last."""

_Turn = tuple[Asked, asyncio.Future[Answer | Refusal]]


class Turns:
    """Lets calls wait for their turns. Made, asked and closed in an event loop."""

    def __init__(self, answer: Callable[[Sequence[Asked]], Sequence[Answer | Refusal]]) -> None:
        """Begin. answer: called by one thread, with the calls that wait."""
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._waiting: list[_Turn] = []
        self._some = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ask-turns", daemon=True)
        self._thread.start()

    async def answered(self, asked: Asked) -> Answer | Refusal:
        """The answer to a call, when it has had its turn. One that is cancelled before is not looked at."""
        turn: asyncio.Future[Answer | Refusal] = self._loop.create_future()
        with self._some:
            self._waiting.append((asked, turn))
            self._some.notify()
        return await turn

    def close(self) -> None:
        """End, once what is being answered is."""
        with self._some:
            self._closed = True
            self._some.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                turns, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            turns = [(asked, turn) for asked, turn in turns if not turn.done()]
            if not turns:
                continue
            answers: Sequence[Answer | Refusal] | Exception
            try:
                answers = self._answer([asked for asked, _ in turns])
            except Exception as error:  # noqa: BLE001 told to each of the callers
                answers = error
            except BaseException as error:  # noqa: BLE001 a panic of Polars is one, and would leave callers to wait for ever
                answers = RuntimeError(type(error).__name__)
                answers.__traceback__ = error.__traceback__
            with suppress(RuntimeError):  # the loop has ended, and with it who waits
                self._loop.call_soon_threadsafe(_settle, turns, answers)


def _settle(turns: Sequence[_Turn], answers: Sequence[Answer | Refusal] | Exception) -> None:
    for number, (_, turn) in enumerate(turns):
        if turn.done():
            continue
        if isinstance(answers, Exception):
            turn.set_exception(answers)
        else:
            turn.set_result(answers[number])
