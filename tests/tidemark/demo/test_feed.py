"""The demo's feed leaves Kafka: its client would look for a Kafka that has ended, and hold up the demo's own end."""

from __future__ import annotations

import threading
import time

import polars as pl
import pytest
from models import small_pipeline

from tidemark.demo.feed import Feed
from tidemark.demo.pace import Pace
from tidemark.errors import BrokerError
from tidemark.records.raw_record import RawRecord
from tidemark.runtime.settings import Settings
from tidemark.sources.sending import Sender

NOWHERE = Settings.from_environment({}).at("127.0.0.1:1")


def test_a_sender_whose_kafka_is_gone_lets_its_client_go_at_once() -> None:
    sender = Sender(NOWHERE, "t", log_level=0)
    for _ in range(100):
        sender.send(RawRecord(b"k", b"v"))
    began = time.monotonic()
    sender.close()
    assert time.monotonic() - began < 30, "it waited for what nobody will acknowledge"
    with pytest.raises(RuntimeError):
        sender._producer.poll(0)


@pytest.mark.parametrize("acknowledged", [True, False])
def test_the_feed_lets_its_client_go_whether_all_was_acknowledged_or_not(
    monkeypatch: pytest.MonkeyPatch, *, acknowledged: bool
) -> None:
    done: list[str] = []

    class Told(Sender):
        def send(self, record: RawRecord) -> None:  # noqa: ARG002 as the base
            self.sent += 1

        def finish(self) -> None:
            done.append("finish")
            if not acknowledged:
                raise BrokerError("of 3 records Kafka did not acknowledge 3")

        def close(self) -> None:
            done.append("close")
            super().close()

    monkeypatch.setattr("tidemark.demo.feed.Sender", Told)
    events = pl.DataFrame({"id": ["a", "b", "c"]})
    pace = Pace()
    pace.saw(lag=0, unselected=0, waiting=0, untrained=0)
    feed = Feed(NOWHERE, small_pipeline(), events, pace)
    if acknowledged:
        feed.run(threading.Event())
    else:
        with pytest.raises(BrokerError):
            feed.run(threading.Event())
    assert feed.sent == 3
    assert done == ["finish", "close"]
