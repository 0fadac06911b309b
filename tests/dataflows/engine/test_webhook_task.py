"""A webhook's task on a real Kafka and a real receiver, its time moved by the test."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import NewPartitions
from hooking import (
    SECRET,
    alarm,
    champion,
    events_told,
    hooked,
    hooked_text,
    labels,
    letter,
    produce,
    produce_to,
    running,
    verified,
)
from receiving import Answer, Receiver, Request, receiving, taken

from dataflows.engine.webhook_task import WebhookTask
from support import wait_until
from tidemark.cli.topics_compared import made
from tidemark.kafka import admin, ensure_topics, read_all
from tidemark.records import Metric, decode, encode
from tidemark.records.webhook_telling import NAME
from tidemark.replay.letters import letters
from tidemark.replay.sending import Replay
from tidemark.runtime.processor import Output
from tidemark.runtime.settings import Settings
from tidemark.webhooks.outbox import DAY
from tidemark.webhooks.signing import new_secret


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)


class Clock:
    def __init__(self) -> None:
        self.ahead = -3 * DAY  # Kafka refuses timestamps that lie an hour ahead of its own clock

    def __call__(self) -> float:
        return time.time() + self.ahead


def until(task: WebhookTask, condition: Callable[[], object], what: str) -> None:
    def stepped() -> object:
        task.step()
        return condition()

    wait_until(stepped, lambda: f"{what}; {task.under_way.standing}", 60, poll=0)


def more(receiver: Receiver, than: int) -> bool:
    return len(receiver.requests) > than


def gave_up(task: WebhookTask, count: int) -> bool:
    return task.under_way.counts.given_up == count


def refusing(status: int = 500, text: str = "") -> Callable[[Request], Answer]:
    return lambda _request: (status, {}, text.encode())


def test_each_kind_of_event_is_told_once_with_a_signature_and_nothing_from_before(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    clock = Clock()
    every = ["label.completed", "model.champion_changed", "drift.detected", "deadletter.added"]
    with receiving() as receiver:
        pipeline, settings, _ = hooked(kafka, tmp_path, hooked_text(unique, ("w", receiver.url, every)))
        produce(settings, labels(pipeline, 0, 5))
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(
                settings,
                [
                    *labels(pipeline, 5, 8),
                    champion(pipeline, 2),
                    Output(pipeline.topics.metrics, encode(alarm()), b"quality_fell"),
                    letter(pipeline, 1),
                    letter(pipeline, 2),
                    letter(pipeline, 3, "webhook w"),
                ],
            )
            until(task, lambda: len(receiver.requests) == 5, "labels, champion and alarm have not come")
            until(task, lambda: task.under_way.letters.untold, "no dead letter was read")
            clock.ahead += 10
            until(task, lambda: len(receiver.requests) == 6 and not len(task.outbox), "no dead letters have come")
        bodies = [verified(request) for request in receiver.requests]
    told = [(body["type"], body["data"].get("event_id")) for body in bodies if body["type"] == "label.completed"]
    assert told == [("label.completed", f"e{number}") for number in (5, 6, 7)], "in order, and none of before"
    by_type = {body["type"]: body["data"] for body in bodies}
    assert set(by_type) == set(every)
    assert by_type["deadletter.added"]["count"] == 2
    assert by_type["model.champion_changed"]["version"] == "v000002-00000000"
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 6


def test_a_restart_goes_on_where_it_was_and_tries_what_waits_at_its_time(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    clock = Clock()
    with receiving(refusing(500)) as receiver:
        pipeline, settings, _ = hooked(kafka, tmp_path, hooked_text(unique, ("w", receiver.url, ["label.completed"])))
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, labels(pipeline, 0, 3))
            until(task, lambda: len(receiver.requests) == 3, "three attempts")
            task.step()
        produce(settings, labels(pipeline, 3, 5))
        receiver.say = taken
        with running(pipeline, settings, "w", clock=clock) as task:
            assert len(task.outbox) == 3, "it remembers what waits"
            assert task.under_way.standing.failing_since is not None
            until(task, lambda: len(receiver.requests) == 5, "what came meanwhile")
            clock.ahead += 10
            until(task, lambda: len(receiver.requests) == 8 and not len(task.outbox), "what waited")
            assert not task.under_way.standing.reason
        with running(pipeline, settings, "w", clock=clock) as task:
            for _ in range(5):
                task.step()
            assert not len(task.outbox)
        assert events_told(receiver) == ["e0", "e1", "e2", "e3", "e4", "e0", "e1", "e2"]
        identities = receiver.identities
    assert identities[:3] == identities[5:]
    assert len(set(identities)) == 5


def test_after_a_day_of_refusals_a_delivery_is_a_dead_letter_and_can_be_replayed(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    clock = Clock()
    with receiving(refusing(500, "out of order")) as receiver:
        pipeline, settings, _ = hooked(kafka, tmp_path, hooked_text(unique, ("w", receiver.url, ["label.completed"])))
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, labels(pipeline, 0, 2))
            until(task, lambda: len(receiver.requests) == 2, "two attempts")
            tries = 2
            while len(task.outbox):
                due = task.outbox.next_due(clock())
                assert due is not None
                clock.ahead += max(due - clock(), 0) + 0.001
                before = len(receiver.requests)
                until(task, partial(more, receiver, before), "the next attempt")
                tries += 1
                assert tries < 100
            assert task.under_way.counts.given_up == 2
            assert clock.ahead >= -2 * DAY - 60
            found = list(letters(settings, pipeline.topics.deadletter))
            assert [letter.step for letter in found] == ["webhook w", "webhook w"]
            assert "given up after 24 h, tried" in found[0].reason
            assert "answered 500 Internal Server Error: out of order" in found[0].reason
            assert found[0].source is not None
            receiver.say = taken
            receiver.requests.clear()
            with Replay(settings, pipeline.topics, "test") as replay:
                assert len(replay.send(found).sent) == 2
            until(task, lambda: len(receiver.requests) == 2 and not len(task.outbox), "what was replayed")
            assert sorted(events_told(receiver)) == ["e0", "e1"]
        # Given up once more: another dead letter, which can be replayed again.
        receiver.say = refusing(410)
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, labels(pipeline, 2, 3))
            until(task, lambda: task.under_way.counts.given_up == 1, "given up at once")
            receiver.requests.clear()
            for _ in range(2):
                (newest,) = list(letters(settings, pipeline.topics.deadletter))[-1:]
                assert "answered 410 Gone: it wants no more" in newest.reason
                with Replay(settings, pipeline.topics, "test") as replay:
                    assert len(replay.send([newest]).sent) == 1
                before = task.under_way.counts.given_up
                until(task, partial(gave_up, task, before + 1), "given up again")
            assert len(set(receiver.identities)) == 1
            assert len(receiver.identities) == 2


def test_a_receiver_that_is_away_holds_up_no_other_webhook_and_stops_reading_at_a_bound(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    clock = Clock()
    with receiving(refusing(503)) as bad, receiving() as good:
        text = hooked_text(unique, ("bad", bad.url, ["label.completed"]), ("good", good.url, ["label.completed"]))
        pipeline, settings, _ = hooked(kafka, tmp_path, text)
        with (
            running(pipeline, settings, "bad", clock=clock) as failing,
            running(pipeline, settings, "good", clock=clock) as well,
        ):
            produce(settings, labels(pipeline, 0, 3_000))
            until(failing, lambda: len(failing.outbox) >= 1_000, "a thousand wait")
            until(well, lambda: len(good.requests) == 3_000 and not len(well.outbox), "the other has all")
            for _ in range(10):
                failing.step()
            assert 1_000 <= len(failing.outbox) < 2_500, "what is not taken stays in its topic"
            assert len(bad.requests) < 10
            bad.say = taken
            clock.ahead += 3_600
            until(failing, lambda: len(set(bad.identities)) == 3_000 and not len(failing.outbox), "it has all as well")
        assert events_told(good) == [f"e{number}" for number in range(3_000)]
        assert set(events_told(bad)) == {f"e{number}" for number in range(3_000)}


def metrics_of(settings: Settings, topic: str) -> list[Metric]:
    return [decode(Metric, m.value()) for m in read_all(settings, topic) if (m.key() or b"").startswith(NAME.encode())]


def test_it_tells_in_the_metrics_what_fails_since_when_and_what_waits(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    clock = Clock()
    with receiving(refusing(503)) as receiver:
        pipeline, settings, _ = hooked(kafka, tmp_path, hooked_text(unique, ("w", receiver.url, ["label.completed"])))
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, labels(pipeline, 0, 4))
            until(task, lambda: len(task.outbox) == 4 and receiver.requests, "four wait")
            clock.ahead += 11
            task.step()
            last = metrics_of(settings, pipeline.topics.metrics)[-1]
            assert last.detail["webhook"] == "w"
            assert last.detail["waiting"] == 4
            assert last.detail["reason"] == "answered 503 Service Unavailable"
            assert isinstance(last.detail["failing_since"], float)
            receiver.say = taken
            clock.ahead += 60
            until(task, lambda: not len(task.outbox), "none waits")
            clock.ahead += 11
            task.step()
            last = metrics_of(settings, pipeline.topics.metrics)[-1]
            assert (last.n, last.detail["waiting"], last.detail["failing_since"]) == (4, 0, None)


def test_records_that_retention_removed_before_they_were_read_are_told_as_a_dead_letter(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    clock = Clock()
    with receiving() as receiver:
        pipeline, settings, _ = hooked(kafka, tmp_path, hooked_text(unique, ("w", receiver.url, ["label.completed"])))
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, labels(pipeline, 0, 2))
            until(task, lambda: len(receiver.requests) == 2 and not len(task.outbox), "two")
        produce(settings, labels(pipeline, 2, 8))
        client = admin(settings)
        for future in client.delete_records([TopicPartition(pipeline.topics.labels, 0, 6)]).values():
            future.result(30)
        with running(pipeline, settings, "w", clock=clock) as task:
            until(task, lambda: len(receiver.requests) == 4 and not len(task.outbox), "what is left")
        (told,) = list(letters(settings, pipeline.topics.deadletter))
        assert told.reason.startswith("4 records were removed by retention before webhook w had read them; raise the")
        assert told.source is None, "there is nothing to send again"
        assert events_told(receiver) == ["e0", "e1", "e6", "e7"]


def test_a_topic_that_was_recreated_is_read_from_its_beginning(kafka: Settings, unique: str, tmp_path: Path) -> None:
    clock = Clock()
    with receiving() as receiver:
        pipeline, settings, _ = hooked(kafka, tmp_path, hooked_text(unique, ("w", receiver.url, ["label.completed"])))
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, labels(pipeline, 0, 3))
            until(task, lambda: len(receiver.requests) == 3 and not len(task.outbox), "three")
        client = admin(settings)
        for future in client.delete_topics([pipeline.topics.labels], operation_timeout=30).values():
            future.result(30)
        wait_until(lambda: ensure_topics(settings, made(pipeline)), "the topic is not made again")
        produce(settings, labels(pipeline, 0, 2))
        with running(pipeline, settings, "w", clock=clock) as task:
            until(task, lambda: len(receiver.requests) == 5, "all of the new topic")
        assert len(set(receiver.identities)) == 5, "events of another topic are others"


def test_serials_of_a_registry_that_was_recreated_begin_anew_and_its_champions_are_told(
    kafka: Settings, unique: str, tmp_path: Path
) -> None:
    clock = Clock()
    with receiving() as receiver:
        text = hooked_text(unique, ("w", receiver.url, ["model.champion_changed"]))
        pipeline, settings, _ = hooked(kafka, tmp_path, text)
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, [champion(pipeline, 7)])
            until(task, lambda: len(receiver.requests) == 1 and not len(task.outbox), "the seventh")
        client = admin(settings)
        for future in client.delete_topics([pipeline.topics.models], operation_timeout=30).values():
            future.result(30)
        wait_until(lambda: ensure_topics(settings, made(pipeline)), "the topic is not made again")
        produce(settings, [champion(pipeline, 1)])
        with running(pipeline, settings, "w", clock=clock) as task:
            until(task, lambda: len(receiver.requests) == 2, "the first of the new registry")
        assert verified(receiver.requests[1])["data"]["version"] == "v000001-00000000"


def grow(settings: Settings, topic: str, count: int) -> None:
    client = admin(settings)
    for future in client.create_partitions([NewPartitions(topic, count)]).values():
        future.result(30)
    wait_until(lambda: len(client.list_topics(topic, timeout=10).topics[topic].partitions) == count, "it has not grown")


def test_what_comes_to_a_partition_that_was_added_is_told(
    kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataflows.engine.webhook_task._CHECK_SECONDS", 0.0)
    clock = Clock()
    with receiving() as receiver:
        pipeline, settings, _ = hooked(kafka, tmp_path, hooked_text(unique, ("w", receiver.url, ["label.completed"])))
        with running(pipeline, settings, "w", clock=clock) as task:
            produce(settings, labels(pipeline, 0, 1))
            until(task, lambda: len(receiver.requests) == 1 and not len(task.outbox), "one")
        grow(settings, pipeline.topics.labels, 2)
        produce_to(settings, labels(pipeline, 1, 2), 1)
        with running(pipeline, settings, "w", clock=clock) as task:
            until(task, lambda: len(receiver.requests) == 2 and not len(task.outbox), "what came before the start")
            grow(settings, pipeline.topics.labels, 3)
            produce_to(settings, labels(pipeline, 2, 3), 2)
            until(task, lambda: len(receiver.requests) == 3 and not len(task.outbox), "what came while it ran")
        assert events_told(receiver) == ["e0", "e1", "e2"]


def test_a_secret_that_was_added_to_its_file_signs_without_a_restart(
    kafka: Settings, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dataflows.engine.webhook_task._CHECK_SECONDS", 0.0)
    clock, file = Clock(), tmp_path / "secret"
    file.write_text(SECRET)
    with receiving() as receiver:
        text = hooked_text(unique, ("w", receiver.url, ["label.completed"]))
        text = text.replace('secret_env = "HOOK_SECRET"', f'secret_file = "{file}"')
        pipeline, settings, _ = hooked(kafka, tmp_path, text)

        def signatures(number: int) -> int:
            produce(settings, labels(pipeline, number, number + 1))
            before = len(receiver.requests)
            until(task, lambda: len(receiver.requests) > before, "the next")
            verified(receiver.requests[-1])
            return len(receiver.requests[-1].headers["webhook-signature"].split())

        with running(pipeline, settings, "w", clock=clock) as task:
            assert signatures(0) == 1
            file.write_text(f"{SECRET}\n{new_secret()}\n")
            task.step()
            assert signatures(1) == 2
            file.write_text("no secret")
            task.step()
            task.step()
            assert signatures(2) == 2, "those from before"
    complaints = [record.getMessage() for record in caplog.records if "signed as before" in record.getMessage()]
    assert len(complaints) == 1
    assert SECRET not in caplog.text
