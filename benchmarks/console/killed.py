"""The service, the console and the network killed under people who label in Chromium: nothing lost or doubled (W6)."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from browser import MISSING, Chromium, chromium, chromium_path

from benchmarks.console.people import PATIENCE, Deeds, Person
from benchmarks.console.place import Moment, Place, plan
from benchmarks.loop.fraud_loop import own_kafka
from benchmarks.support.flow_process import told
from benchmarks.support.report import earlier, write
from tidemark.records import Label
from tidemark.runtime.settings import Settings

_PEOPLE: Final = 3
_CASES: Final = 40
"""For each moment: a page that is loaded anew while all is dead leaves cases to their leases' end."""
_SEED: Final = 1
_MOMENTS: Final = 100


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run. wrong: a sentence for each answer that was lost, doubled or changed."""

    killed: dict[str, int]
    decisions: int
    records: int
    seconds: float
    wrong: list[str]


def survived(browser: Chromium, settings: Settings, name: str, folder: Path, moments: Sequence[Moment]) -> Outcome:
    """Let people label while service, console and network are killed, and compare what they did with what is known.

    Args:
        browser: in which they label.
        settings: that name a Kafka.
        name: of the pipeline, which no other has.
        folder: for the state of the processes.
        moments: when what is killed.

    Returns:
        What became of it.

    Raises:
        TimeoutError: something does not come back.

    """
    began = time.monotonic()
    with ExitStack() as stack:
        place = stack.enter_context(Place(settings, name, folder, _CASES * (len(moments) + _PEOPLE)))
        people = [
            stack.enter_context(Person(browser, f"person {number}", place.base, number)) for number in range(_PEOPLE)
        ]
        for moment in moments:
            _label(people, moment.decisions, place)
            place.end(moment)
        _label(people, moments[-1].decisions + _PEOPLE, place)
        place.rest()
        for person in people:
            person.finish()
        place.published()
        labels = place.labels()
    wrong = mistakes([person.did for person in people], place.events, labels)
    killed = Counter[str](moment.victim for moment in moments)
    return Outcome(dict(killed), sum(each.did.count for each in people), len(labels), time.monotonic() - began, wrong)


def _label(people: Sequence[Person], decisions: int, place: Place) -> None:
    """Return when they have decided so often."""
    made = sum(person.did.count for person in people)
    deadline = time.monotonic() + PATIENCE
    while made < decisions:
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody could decide anything for {PATIENCE:g} s:\n{told(place.processes)}")
        for person in people:
            person.act()
        before, made = made, sum(person.did.count for person in people)
        if made > before:
            deadline = time.monotonic() + PATIENCE


def mistakes(people: Sequence[Deeds], events: Mapping[str, str], labels: Sequence[Label]) -> list[str]:
    """What is in Kafka and is not what people did, or the other way round.

    Args:
        people: with what they decided of each case.
        events: event ids, by the names that people see.
        labels: all of the topic, in its order.

    Returns:
        A sentence for each difference.

    """
    wrong = [
        f"{annotation} stands in Kafka {count} times"
        for annotation, count in Counter(label.annotation_id for label in labels).items()
        if count > 1
    ]
    by_case: defaultdict[tuple[str, str], list[Label]] = defaultdict(list)
    for label in labels:
        by_case[label.event_id, label.annotator].append(label)
    for event, count in Counter(event for event, _ in by_case).items():
        if count > 1:
            wrong.append(f"{event} was answered by {count} people")
    for person in people:
        wrong += [f"{person.name} was told: {text}" for text in person.refused]
        for name, decided in person.decided.items():
            recorded = by_case.pop((events[name], person.name), [])
            if not _tells(recorded, decided):
                known = [label.label for label in recorded]
                wrong.append(f"{person.name} decided {decided} of {name}, and {known} is known")
    return wrong + [f"{annotator} never answered {event}" for event, annotator in by_case]


def _tells(recorded: Sequence[Label], decided: Sequence[str | None]) -> bool:
    """Whether each record supersedes the one before, and they say what the person decided, first and last.

    A change of mind that another followed before it was sent need not be among them.
    """
    if not recorded or recorded[0].supersedes is not None:
        return False
    chained = all(later.supersedes == earlier.annotation_id for earlier, later in pairwise(recorded))
    said = [label.label for label in recorded]
    between = iter(decided)
    return chained and (said[0], said[-1]) == (decided[0], decided[-1]) and all(each in between for each in said)


def row(browser: Chromium, *, seed: int = _SEED, count: int = _MOMENTS) -> dict[str, Any]:
    """The row W6. count: of moments."""
    with tempfile.TemporaryDirectory() as folder, own_kafka(Path(folder)) as (_, settings):
        outcome = survived(browser, settings, "killed", Path(folder), plan(seed, count))
    detail = {
        "what": "answers lost, doubled or changed while service, console or network were killed under people",
        "seed": seed,
        "killed": outcome.killed,
        "people": _PEOPLE,
        "decisions": outcome.decisions,
        "records": outcome.records,
        "seconds": round(outcome.seconds, 1),
        "wrong": outcome.wrong[:20],
    }
    return {"id": "W6", "value": float(len(outcome.wrong)), "target": 0.0, "reached": not outcome.wrong,
            "unit": "answers", "detail": detail}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the row by itself, or a part of its moments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="six moments")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--moments", type=int, default=_MOMENTS)
    arguments = parser.parse_args(argv)
    path = chromium_path()
    if path is None:
        sys.exit(MISSING)
    with chromium(path) as browser:
        found = row(browser, seed=arguments.seed, count=6 if arguments.quick else arguments.moments)
    name = "console_killed.quick" if arguments.quick else "console_killed"
    others = [row for row in earlier(name) if row["detail"]["seed"] != arguments.seed]
    write(name, [*others, found])
    return 0 if found["reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
