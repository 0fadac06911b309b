"""Rows G4: next task and submit beside a real Label Studio, on the same machine, in the same run.

Each side as its clients use it: Label Studio's in two calls a task, ours in one that answers and leases the next case.

Part of `make bench-labeling`; `python -m benchmarks.labeling.peer` measures these rows alone, and leaves the others.
"""

from __future__ import annotations

import http.client
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from benchmarks.labeling.label_studio import LabelStudio, LabelStudioError, postgres
from benchmarks.labeling.load import Load, run_loads
from benchmarks.labeling.rig import CLASSES, case, issue, services
from benchmarks.support.report import earlier, write
from labeling_grpc.security.roles import Role

_CLIENTS: Final = 16
_FASTER: Final = 20.0
_TASKS: Final = 10_000
_IMPORTED: Final = 1_000
"""Tasks of one call."""

_SECONDS: Final = 60.0
_USERS: Final = tuple(f"annotator{number}" for number in range(_CLIENTS))


@dataclass(slots=True)
class Delivered:
    """What Label Studio's clients were given, and answered. failures: calls that it answered with an error."""

    to: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    answers: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    failures: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def peer_rows() -> Iterator[dict[str, Any]]:
    """G4 over each store."""
    for store in ("sqlite", "postgres"):
        in_postgres = store == "postgres"
        theirs = _theirs(in_postgres=in_postgres)
        ours, open_ = (_ours(in_postgres=in_postgres, tokens=tokens) for tokens in (True, False))
        ratio = ours["rate"] / theirs["rate"]
        yield {
            "id": f"G4.{store}",
            "value": round(ratio, 1),
            "unit": f"× Label Studio's rate of next task and submit, {_CLIENTS} clients, {_TASKS:,} tasks, {store}",
            "target": _FASTER,
            "reached": ratio >= _FASTER and ours["given_twice"] == 0,
            "detail": {
                "label_studio": theirs,
                "ours_with_access_tokens": ours,
                "ours_without": open_,
                "ratio_without_access_tokens": round(open_["rate"] / theirs["rate"], 1),
            },
        }


def _theirs(*, in_postgres: bool) -> dict[str, Any]:
    with ExitStack() as stack:
        database = stack.enter_context(postgres()) if in_postgres else None
        studio = stack.enter_context(LabelStudio(_USERS, database))
        owner = studio.owner
        project = owner.create_project(CLASSES, "event_id")
        for start in range(0, _TASKS, _IMPORTED):
            owner.import_tasks(project, [_task(number) for number in range(start, start + _IMPORTED)])
        delivered = Delivered()
        began = time.perf_counter()
        with ThreadPoolExecutor(_CLIENTS) as threads:
            work = partial(_annotate, studio, project, began + _SECONDS, delivered)
            for done in [threads.submit(work, user) for user in _USERS]:
                done.result()
        took = time.perf_counter() - began
        answers = sum(delivered.answers.values())
        version = owner.call("GET", "/api/version")["release"]
    return {
        "version": version,
        "server": f"gunicorn, {studio.workers} processes",
        "seconds": round(took, 1),
        "answers": answers,
        "rate": round(answers / took, 2),
        "tasks_given_to_two": sum(len(users) > 1 for users in delivered.to.values()),
        "tasks_answered_twice": sum(count > 1 for count in delivered.answers.values()),
        "calls_that_failed": delivered.failures,
    }


def _annotate(studio: LabelStudio, project: int, deadline: float, delivered: Delivered, user: str) -> None:
    connection = studio.connect(user)
    answer = {"from_name": "label", "to_name": "event", "type": "choices", "value": {"choices": [CLASSES[0]]}}
    while time.perf_counter() < deadline:
        try:
            task = connection.call("GET", f"/api/projects/{project}/next")["id"]
            with delivered.lock:
                delivered.to[task].add(user)
            connection.call("POST", f"/api/tasks/{task}/annotations/", {"result": [answer], "lead_time": 1.0})
        except (LabelStudioError, OSError, http.client.HTTPException):
            with delivered.lock:
                delivered.failures += 1
            continue
        with delivered.lock:
            delivered.answers[task] += 1


def _task(number: int) -> dict[str, Any]:
    """The same case as ours, as its export has it."""
    asked = case(number)
    data = {"event_id": asked.event_id, "business_id": asked.business_id, "key": asked.key, "time_us": asked.time}
    return {"data": data | {f"f_{name}": value for name, value in asked.features.items()}}


def _ours(*, in_postgres: bool, tokens: bool) -> dict[str, Any]:
    secrets: list[str] = []
    holders = [(Role.ANNOTATOR, f"client-{number}") for number in range(_CLIENTS)]
    with ExitStack() as stack:
        database = stack.enter_context(postgres()) if in_postgres else None
        (service,) = stack.enter_context(
            services(
                1,
                cases=_TASKS,
                database=database.url if database is not None else None,
                before=partial(issue, secrets, holders) if tokens else None,
                environment={"TIDEMARK_LABELING_TOKENS": "on" if tokens else "off"},
            )
        )
        outcome = run_loads([Load([service.address], _CLIENTS, 1, 10 * _SECONDS, joined=True, secrets=secrets)])
    return {
        "seconds": round(outcome.seconds, 1),
        "answers": outcome.cases,
        "rate": round(outcome.cases / outcome.seconds, 1),
        "given_twice": len(outcome.events) - len(set(outcome.events)),
    }


def main() -> None:
    """Run, and write the rows into `benchmarks/results/labeling.json`."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that services and servers end with it
    rows = {row["id"]: row for row in earlier("labeling")} | {row["id"]: row for row in peer_rows()}
    write("labeling", sorted(rows.values(), key=lambda row: str(row["id"])))


if __name__ == "__main__":
    main()
