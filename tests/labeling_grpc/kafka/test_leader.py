from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest

from labeling_grpc.kafka import leader
from labeling_grpc.kafka.leader import Bridge, Problems
from labeling_grpc.kafka.outbox_publisher import no_hook
from labeling_grpc.storage.group_commit import Writer
from tidemark.records.topics import Topics
from tidemark.runtime.settings import Settings


class Part:
    """Intake or publisher: runs until the test ends it."""

    def __init__(self, made: list[Part], *given: Any, **named: Any) -> None:  # noqa: ANN401 - as either's
        self.leads = cast("Callable[[], bool]", named.get("leads") or given[-1])
        self.caught_up = threading.Event()
        self.running = False
        made.append(self)

    def start(self) -> None:
        self.running = True


class Elected:
    """An election that this replica wins for as long as the test says."""

    until = 0.0

    def hold(self, intake: str, publishing: str) -> tuple[float, str, str]:
        return self.until, intake, publishing


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Part], list[Part]]:
    intakes: list[Part] = []
    publishers: list[Part] = []
    monkeypatch.setattr(leader, "Intake", partial(Part, intakes))
    monkeypatch.setattr(leader, "Publisher", partial(Part, publishers))
    return intakes, publishers


def test_after_a_lapse_of_the_term_intake_and_publisher_begin_anew_together(
    parts: tuple[list[Part], list[Part]], monkeypatch: pytest.MonkeyPatch
) -> None:
    intakes, publishers = parts
    now = 100.0
    monkeypatch.setattr(leader, "time", SimpleNamespace(monotonic=lambda: now))
    election = Elected()
    writer = cast("Writer", SimpleNamespace(store=SimpleNamespace(election=election)))
    tested = Bridge(Settings(), Topics("pay"), writer, Problems(), lambda _error: None, no_hook)

    election.until = 106.0
    tested._ask()
    assert intakes[0].running
    assert publishers[0].leads()
    now = 107.0
    assert not publishers[0].leads()
    publishers[0].running = False  # it saw that, and ended; intake is busy and did not

    election.until = 113.0
    tested._ask()
    assert not intakes[0].leads(), "intake would go on without a publisher"
    assert len(publishers) == 1
    intakes[0].running = False
    tested._ask()
    assert intakes[1].running
    assert publishers[1].running
    assert intakes[1].leads()

    now = 108.0
    election.until = 114.0
    tested._ask()
    assert intakes[1].leads(), "a term that goes on without a lapse ends nothing"
    assert len(intakes) == len(publishers) == 2
