"""What the labeling benchmarks run on: queues filled beforehand, and services in processes of their own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.support.flow_process import FlowProcess
from labeling_grpc.commands.labeling import Arrival, Source, TakeIn
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import open_store, open_tokens
from labeling_grpc.options import find
from labeling_grpc.security.roles import Role
from labeling_grpc.storage.base import Store
from tidemark.errors import LabelingError
from tidemark.records import Candidate, encode
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings

NAME: Final = "bench"
NO_KAFKA: Final = "127.0.0.1:9"
"""The discard port: nothing answers there, and the queue works all the same."""

CLASSES: Final = ("genuine", "fraud")
_MOST: Final = 10_000_000
_CHUNKS: Final = (1_000, 50_000)
"""Cases of one commit; the second for millions, whose index pages are else written over and over."""

_MANY: Final = 500_000
_START_SECONDS: Final = 120.0
_LIFETIME: Final = 86_400_000_000
_PIPELINE: Final = """
name = "NAME"
partitions = 1
keys = ["customer"]
[[raw]]
topic = "NAME.raw"
[time]
column = "time"
[columns]
time = { type = "string" }
customer = { type = "string" }
amount = { type = "float" }
[[features]]
name = "amount"
[label]
classes = ["genuine", "fraud"]
positive = "fraud"
delay = "7d"
[selection]
tile = "1h"
budget = 10
explore = 2
"""


@dataclass(frozen=True, slots=True)
class Service:
    """A running service."""

    address: str
    process: FlowProcess
    pid: int

    def rss_mb(self) -> float:
        """Resident memory."""
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6

    def cpu_seconds(self) -> float:
        """CPU time so far, of all its threads."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


def pipeline_text(name: str) -> str:
    """File of a pipeline of this name, which asks for `CLASSES`."""
    return _PIPELINE.replace("NAME", name)


def case(number: int) -> Candidate:
    """One case in eight is for exploration; priorities are in no order."""
    explore = number % 8 == 0
    return Candidate(
        event_id=f"{NAME}.raw-0-{number}-0a1b2c3d",
        business_id=f"T{number}",
        key=f"C{number % 997}",
        time=1_000_000 + number,
        tile=3,
        tile_count=1_000,
        reason="explore" if explore else "uncertain",
        priority=(number * 7_919 % 10_007) / 10_007,
        inclusion_probability=0.02 if explore else None,
        policy="badge-1",
        features={f"f{i}": float(number * i % 13) for i in range(12)},
        context={"channel": "online", "terminal": number % 311, "night": number % 3 == 0, "amount": number / 7},
        probabilities=[0.4, 0.6],
        uncertainty=0.8,
        model="v000012-89abcdef",
        expires_at=None,
    )


def fill(database: str | Path, number: int) -> None:
    """Put `number` cases into a queue that is empty."""
    store: Store = open_store(database, Topics(NAME), QueueRules(classes=CLASSES, max_open=_MOST))
    source = Source(f"{NAME}.candidates", 0, "00c0ffee")
    chunk = _CHUNKS[number > _MANY]
    for start in range(0, number, chunk):
        end = min(start + chunk, number)
        arrivals = tuple(Arrival(i, asked := case(i), encode(asked)) for i in range(start, end))
        store.transact([TakeIn(source, start or None, end, arrivals)])
    store.close()


def issue(secrets: list[str], holders: Sequence[tuple[Role, str]], database: str | Path) -> None:
    """Make an access token for each of the holders (role and annotator), and add their secrets."""
    with closing(open_tokens(database, NAME)) as store:
        secrets += [store.create(role, who, _LIFETIME).secret for role, who in holders]


@contextmanager
def services(
    number: int,
    *,
    cases: int = 0,
    database: str | None = None,
    kafka: Settings | None = None,
    before: Callable[[str | Path], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Sequence[Service]]:
    """`number` replicas over a queue with `cases` waiting.

    database: None for SQLite.  kafka: None for none.  before: called with the database before any starts.
    environment: more of it for each.
    """
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder, ExitStack() as running:
        root = Path(folder)
        file = root / "bench.toml"
        file.write_text(pipeline_text(NAME), encoding="utf-8")
        settings = [
            (kafka or Settings().at(NO_KAFKA)).model_copy(update={"state_dir": root / f"replica{index}"})
            for index in range(number)
        ]
        where = database or _sqlite(settings[0])
        if cases:
            fill(where, cases)
        if before is not None:
            before(where)
        processes = []
        for index, own in enumerate(settings):
            more = {"TIDEMARK_LABELING_MAX_OPEN": str(_MOST), **(environment or {})}
            if database is not None:
                more["TIDEMARK_LABELING_DATABASE"] = database
            log = root / f"replica{index}.log"
            process = FlowProcess(own, f"replica{index}", "labeling_grpc", str(file), log=log, **more)
            processes.append(running.enter_context(process))
        yield [_started(process, own) for process, own in zip(processes, settings, strict=True)]


def _sqlite(settings: Settings) -> Path:
    return settings.state_dir / "pipelines" / NAME / "labeling.db"


def _started(process: FlowProcess, settings: Settings) -> Service:
    deadline = time.monotonic() + _START_SECONDS
    while process.runs and time.monotonic() < deadline:
        try:
            return Service(find(settings, NAME), process, process.pid)
        except LabelingError:
            time.sleep(0.05)
    raise RuntimeError(f"the labeling service does not start:\n{process.output[-3_000:]}")
