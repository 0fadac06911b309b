"""Annotators for benchmarks and tests of faults: they answer over gRPC and remember what was acknowledged."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from labeling_grpc.client import Annotation, LabelingClient, RefusedError, Submitted, Task
from tidemark.runtime.settings import Settings

_PATIENCE = 90.0
_LEASE = 5.0
_WAIT = 0.5

Opinion = Callable[[Task, random.Random], str | None]
"""What is answered; None skips the case."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was acknowledged of an event; label None: it was skipped."""

    event_id: str
    label: str | None


class Annotators:
    """Threads that answer, remember what was acknowledged, and try again what was not. Ended by `stop`.

    acknowledged: by annotation id.  failures: what ended a thread.
    """

    def __init__(self, pipeline: str, settings: Settings, number: int, opinion: Opinion, *, seed: int) -> None:
        self.acknowledged: dict[str, Answer] = {}
        self.failures: list[BaseException] = []
        self._opinion = opinion
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(pipeline, f"annotator-{i}", settings, seed + i))
            for i in range(number)
        ]
        for thread in self._threads:
            thread.start()

    def count(self) -> int:
        """Answers that were acknowledged so far."""
        with self._lock:
            return len(self.acknowledged)

    def stop(self) -> None:
        """Return when each thread has done what it was at."""
        self._done.set()
        for thread in self._threads:
            thread.join(_PATIENCE + 10)

    def _work(self, pipeline: str, name: str, settings: Settings, seed: int) -> None:
        choices = random.Random(seed)  # noqa: S311 seeded, no secret
        try:
            with LabelingClient.of(pipeline, name, settings, patience=_PATIENCE) as client:
                while not self._done.is_set():
                    self._answer(client, client.lease(choices.choice([1, 3, 8]), wait=_WAIT, lease=_LEASE), choices)
        except BaseException as error:
            self.failures.append(error)
            raise

    def _answer(self, client: LabelingClient, tasks: list[Task], choices: random.Random) -> None:
        answers = []
        for task in tasks:
            label = self._opinion(task, choices)
            if label is None:
                self._skip(client, task)
            else:
                answers.append(Annotation(task, label))
        if not answers:
            return
        for answer, outcome in zip(answers, client.submit_many(answers), strict=True):
            if isinstance(outcome, Submitted):
                self._remember(outcome.annotation_id, Answer(answer.task.event_id, answer.label))

    def _skip(self, client: LabelingClient, task: Task) -> None:
        try:
            annotation = client.skip(task)
        except RefusedError:
            return  # its lease has run out: the case comes back to somebody
        self._remember(annotation, Answer(task.event_id, None))

    def _remember(self, annotation: str, answer: Answer) -> None:
        with self._lock:
            self.acknowledged[annotation] = answer
