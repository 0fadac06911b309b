"""What is told of a worker's own records is what whoever reads them from Kafka is told. No Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
from confluent_kafka import TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Message

from dataflows.engine import transactional_producer
from dataflows.engine.transactional_producer import Transactions
from dataflows.engine.watchdog import Watchdog
from tidemark.runtime.processor import Output

Report = Callable[[None, Message], None]


@dataclass
class Reported:
    """A record as a report gives it."""

    at: int | None
    kind: int = TIMESTAMP_CREATE_TIME
    kept: Any = None

    def topic(self) -> str:
        return "hop"

    def offset(self) -> int | None:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return self.kind, 1_000

    def set_headers(self, headers: Any) -> None:  # noqa: ANN401 as the client has it
        self.kept = headers


class FakeProducer:
    """Kafka's client, as far as a transaction that is never committed needs it."""

    reports: list[Report]

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        FakeProducer.reports = []

    def init_transactions(self, timeout: float) -> None: ...

    def begin_transaction(self) -> None: ...

    def poll(self, timeout: float) -> None: ...

    def purge(self, **which: bool) -> None: ...

    def __len__(self) -> int:
        return 0

    def produce(self, *_: Any, on_delivery: Report, **__: Any) -> None:  # noqa: ANN401 as the client has it
        self.reports.append(on_delivery)


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transactions]:
    monkeypatch.setattr(transactional_producer, "Producer", FakeProducer)
    watchdog = Watchdog("reports")
    transactions = Transactions({}, watchdog, timeout=1, commit_timeout=1, told=["hop"])
    transactions.renew(0)
    yield transactions
    watchdog.close()


def sent(transactions: Transactions) -> Report:
    """A record has been sent; its report."""
    transactions.begin()
    transactions.send([Output("hop", b"a row", headers=(("of", b"it"),))])
    return FakeProducer.reports[-1]


def record(**of: Any) -> Message:  # noqa: ANN401 the fields of a report
    return cast("Message", Reported(**of))


def test_a_record_is_told_with_its_headers_once_kafka_has_it(transactions: Transactions) -> None:
    report = sent(transactions)
    assert transactions.untold == 1
    report(None, record(at=7))
    assert transactions.untold == 0
    [told] = transactions.delivered()
    assert (told.message.offset(), cast("Any", told.message).kept) == (7, [("of", b"it")])
    assert transactions.delivered() == []


@pytest.mark.parametrize(
    "of",
    [
        pytest.param({"at": None}, id="acknowledged by the answer to a later batch"),
        pytest.param({"at": 7, "kind": TIMESTAMP_LOG_APPEND_TIME}, id="told with the time of its batch"),
    ],
)
def test_a_record_of_which_the_report_does_not_tell_what_the_log_has_is_left_to_be_read(
    transactions: Transactions, of: dict[str, Any]
) -> None:
    report = sent(transactions)
    report(None, record(**of))
    assert transactions.untold == 0
    assert transactions.delivered() == []


def test_what_a_hung_commit_tells_of_a_producer_that_was_thrown_away_counts_no_more(transactions: Transactions) -> None:
    late = sent(transactions)
    transactions.renew(0)
    late(None, record(at=7))
    assert transactions.untold == 0
    assert transactions.delivered() == []
    sent(transactions)
    late(None, record(at=7))
    assert transactions.untold == 1
    assert transactions.delivered() == []
