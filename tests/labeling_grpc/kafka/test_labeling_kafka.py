from __future__ import annotations

import contextlib
import json
import random
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient
from feeding import feeder
from labeling import candidate, pipeline
from offsets import read_settled

from labeling_grpc.client import Annotation, LabelingClient, Submitted, Task
from labeling_grpc.commands.labeling import Source
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.database import open_store
from labeling_grpc.kafka.outbox_publisher import PUBLISHER, SEQ, Publisher
from labeling_grpc.options import Options, queue_database
from labeling_grpc.server import LabelingServer, serve
from support import wait_until
from tidemark.errors import BrokerError
from tidemark.kafka import admin, ensure_topics, producer_config, read_all
from tidemark.records import Candidate, Label, decode, encode
from tidemark.records.topics import Topics, TopicSpec
from tidemark.runtime.settings import Settings

Step = Literal["produced", "committed"]


@pytest.fixture
def topics(kafka: Settings, unique: str) -> Topics:
    names = Topics(unique)
    ensure_topics(kafka, [TopicSpec(name, 1, {}) for name in (names.candidates, names.labels, names.deadletter)])
    return names


@pytest.fixture
def settings(kafka: Settings, tmp_path: Path) -> Settings:
    return kafka.model_copy(update={"state_dir": tmp_path})


@pytest.fixture
def server(topics: Topics, settings: Settings) -> Iterator[LabelingServer]:
    with serve(pipeline(topics.pipeline), settings) as running:
        yield running


@pytest.fixture
def client(server: LabelingServer) -> Iterator[LabelingClient]:
    with LabelingClient(server.address, "ada") as connected:
        yield connected


def send(settings: Settings, topic: str, values: list[bytes | None], key: bytes = b"k") -> None:
    producer = feeder(settings)
    for value in values:
        producer.produce(topic, value=value, key=key)
    assert producer.flush(60) == 0


def ask(settings: Settings, topics: Topics, candidates: list[Candidate]) -> None:
    send(settings, topics.candidates, [encode(c) for c in candidates])


def labels(settings: Settings, topics: Topics) -> list[Label]:
    return [decode(Label, message.value()) for message in read_settled(settings, topics.labels)]


def header(message: Message, name: str) -> str:
    value = dict(message.headers() or [])[name]
    assert isinstance(value, bytes)
    return value.decode()


def answer_all(client: LabelingClient, number: int, label: str = "fraud") -> set[str]:
    """Answer until `number` answers are acknowledged; their annotation ids."""
    acknowledged: set[str] = set()
    while len(acknowledged) < number:
        tasks: list[Task] = []

        def came(tasks: list[Task] = tasks) -> bool:
            tasks += client.lease(min(10, number - len(acknowledged)), wait=10.0)
            return bool(tasks)

        wait_until(came, lambda: f"no case comes after {len(acknowledged)} answers of {number}", 120)
        for outcome in client.submit_many([Annotation(task, label) for task in tasks]):
            assert isinstance(outcome, Submitted)
            acknowledged.add(outcome.annotation_id)
    return acknowledged


def wait_for_labels(settings: Settings, topics: Topics, number: int) -> list[Label]:
    found: list[Label] = []

    def there() -> bool:
        found[:] = [decode(Label, message.value()) for message in read_all(settings, topics.labels)]
        return len(found) >= number

    wait_until(there, lambda: f"{len(found)} of {number} labels in {topics.labels}", poll=0.2)
    return found


def leave_it_hanging(server: LabelingServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server stop without waiting for its publisher."""
    publisher = server._bridge._publisher
    assert publisher is not None
    monkeypatch.setattr(publisher, "stop", publisher.ask_to_stop)


def test_candidates_become_tasks_and_answers_become_labels(
    settings: Settings, topics: Topics, server: LabelingServer, client: LabelingClient
) -> None:
    ask(settings, topics, [candidate(i, explore=i % 3 == 0) for i in range(30)])
    acknowledged = answer_all(client, 30)
    found = wait_for_labels(settings, topics, 30)
    assert Counter(label.annotation_id for label in found) == Counter(acknowledged)
    messages = read_all(settings, topics.labels)
    assert [header(message, "seq") for message in messages] == [str(i) for i in range(1, 31)]
    assert {header(message, "publisher") for message in messages} == {server.store.publisher}
    assert [message.key() for message in messages] == [label.event_id.encode() for label in found]
    wait_until(lambda: client.stats().unpublished == 0, "the outbox is not emptied")
    assert (client.stats().intake_problem, client.stats().publishing_problem) == ("", "")


def test_a_repeated_candidate_is_asked_once(settings: Settings, topics: Topics, client: LabelingClient) -> None:
    ask(settings, topics, [candidate(1), candidate(1), candidate(2)])
    answer_all(client, 2)
    ask(settings, topics, [candidate(1), candidate(3)])
    (task,) = client.lease(5, wait=10.0)
    assert task.event_id == candidate(3).event_id


def test_a_malformed_candidate_is_a_dead_letter_with_its_reason_and_the_rest_goes_on(
    settings: Settings, topics: Topics, client: LabelingClient
) -> None:
    bad: dict[bytes | None, str] = {
        b"no json": "malformed",
        b'{"event_id": "e"}': "missing required field",
        None: "empty value",
        encode(candidate(2, time=2**70)): "time",
        encode(candidate(3, explore=True)).replace(b'"inclusion_probability":0.25', b'"inclusion_probability":1.5'): (
            "not in (0, 1]"
        ),
        encode(candidate(4, event_id="a\nb")): "printable",
        encode(candidate(5, context={"text": "x" * 300_000})): "can be handed out",
        b"x" * 950_000: "can be handed out",
    }
    send(settings, topics.candidates, [*bad, encode(candidate(9))], key=b"k" * 40_000)
    (task,) = client.lease(5, wait=10.0)
    assert task.event_id == candidate(9).event_id
    wait_until(lambda: len(read_all(settings, topics.deadletter)) == len(bad), "dead letters are missing", poll=0.2)
    letters = read_settled(settings, topics.deadletter)
    assert [int(header(letter, "source_offset")) for letter in letters] == list(range(len(bad)))
    for letter, (value, reason) in zip(letters, bad.items(), strict=True):
        assert reason in header(letter, "reason")
        assert header(letter, "source_topic") == topics.candidates
        assert letter.value() == (value if value is None else value[:900_000])
    assert client.stats().rejected == len(bad)


def test_candidates_of_an_aborted_transaction_are_never_asked(
    settings: Settings, topics: Topics, client: LabelingClient
) -> None:
    producer = Producer(producer_config(settings, transactional_id=f"{topics.pipeline}.select"))
    producer.init_transactions(60)
    for number, committed in ((1, False), (2, True), (3, False), (4, True)):
        producer.begin_transaction()
        producer.produce(topics.candidates, encode(candidate(number)))
        producer.flush(10)
        if committed:
            producer.commit_transaction(10)
        else:
            producer.abort_transaction(10)
    given: list[str] = []
    while len(given) < 2:
        given += [task.event_id for task in client.lease(5, wait=10.0)]
    ask(settings, topics, [candidate(5)])
    given += [task.event_id for task in client.lease(5, wait=10.0)]
    assert given == [candidate(number).event_id for number in (2, 4, 5)]


def test_labels_are_published_once_whatever_fails_between_kafka_and_the_database(
    settings: Settings, topics: Topics
) -> None:
    faults = random.Random(7)
    struck: Counter[Step] = Counter()

    def strike(step: Step, _seq: int) -> None:
        if struck[step] < 2 and faults.random() < 0.4:
            struck[step] += 1
            raise BrokerError(f"fault injected after {step}")

    ask(settings, topics, [candidate(i) for i in range(80)])
    with (
        serve(pipeline(topics.pipeline), settings, hook=strike) as server,
        LabelingClient(server.address, "ada") as client,
    ):
        acknowledged: set[str] = set()
        for _ in range(8):
            acknowledged |= answer_all(client, 10)
            wait_until(lambda: client.stats().unpublished == 0, "the outbox is not emptied", 60)
    assert struck == {"produced": 2, "committed": 2}
    found = labels(settings, topics)
    assert Counter(label.annotation_id for label in found) == Counter(acknowledged)
    assert [header(m, "seq") for m in read_settled(settings, topics.labels)] == [str(i) for i in range(1, 81)]


@pytest.mark.parametrize("step", ["produced", "committed"])
def test_a_successor_goes_on_after_what_kafka_committed(
    settings: Settings, topics: Topics, step: Step, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def die(reached: Step, _seq: int) -> None:
        if reached == step:
            over.wait()
            raise BrokerError("the test is over")

    ask(settings, topics, [candidate(i) for i in range(20)])
    with (
        serve(pipeline(topics.pipeline), settings, hook=die) as first,
        LabelingClient(first.address, "ada") as client,
    ):
        acknowledged = answer_all(client, 12)
        leave_it_hanging(first, monkeypatch)
    with serve(pipeline(topics.pipeline), settings) as second, LabelingClient(second.address, "ada") as client:
        acknowledged |= answer_all(client, 8)
        found = wait_for_labels(settings, topics, 20)
    over.set()
    assert Counter(label.annotation_id for label in found) == Counter(acknowledged)


def test_a_tail_that_was_read_but_not_marked_is_read_again(
    settings: Settings, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def die(step: Step, _seq: int) -> None:
        if step == "committed":
            over.wait()
            raise BrokerError("the test is over")

    ask(settings, topics, [candidate(i) for i in range(20)])
    with (
        serve(pipeline(topics.pipeline), settings, hook=die) as first,
        LabelingClient(first.address, "ada") as client,
    ):
        acknowledged = answer_all(client, 12)
        wait_for_labels(settings, topics, 1)
        leave_it_hanging(first, monkeypatch)

    faults = [BrokerError("fault injected between the reading of a tail and its mark")]
    read_tail = Publisher._read_tail

    def strike(self: Publisher, client: AdminClient, source: Source) -> tuple[int, int]:
        found = read_tail(self, client, source)
        if faults:
            raise faults.pop()
        return found

    monkeypatch.setattr(Publisher, "_read_tail", strike)
    with serve(pipeline(topics.pipeline), settings) as second, LabelingClient(second.address, "ada") as client:
        acknowledged |= answer_all(client, 8)
        wait_until(lambda: client.stats().unpublished == 0, "the outbox is not emptied", 60)
    over.set()
    assert not faults
    assert Counter(label.annotation_id for label in labels(settings, topics)) == Counter(acknowledged)


def test_nothing_is_published_while_what_was_published_hangs_in_an_open_transaction(
    settings: Settings, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strike(_step: Step, _seq: int) -> None:
        raise BrokerError("fault injected before the commit")

    ask(settings, topics, [candidate(i) for i in range(3)])
    with (
        serve(pipeline(topics.pipeline), settings, hook=strike) as first,
        LabelingClient(first.address, "ada") as client,
    ):
        acknowledged = answer_all(client, 3)
        leave_it_hanging(first, monkeypatch)
    rules = QueueRules.of(pipeline(topics.pipeline))
    with closing(open_store(queue_database(settings, topics.pipeline, ""), topics, rules)) as store:
        rows, identity = store.unpublished(0, 10), store.publisher.encode()
    assert len(rows) == 3
    # As after a commit whose marker Kafka has lost (KAFKA-20734), which can't be brought about at will.
    held = Producer(
        producer_config(settings, transactional_id=f"{topics.pipeline}.held", transaction_timeout_ms=60_000)
    )
    held.init_transactions(60)
    held.begin_transaction()
    for row in rows:
        headers: list[tuple[str, str | bytes | None]] = [
            *row.message.headers,
            (SEQ, str(row.seq).encode()),
            (PUBLISHER, identity),
        ]
        held.produce(topics.labels, row.message.value, row.message.key, headers=headers)
    assert held.flush(60) == 0

    monkeypatch.setattr("labeling_grpc.kafka.partitions.SETTLED_SECONDS", 0.5)
    with serve(pipeline(topics.pipeline), settings) as second, LabelingClient(second.address, "ada") as client:
        wait_until(lambda: "begins at offset" in client.stats().publishing_problem, "nobody says that it hangs")
        assert client.stats().unpublished == 3
        held.commit_transaction(10)
        wait_until(lambda: client.stats().unpublished == 0, "the outbox is not emptied")
        assert client.stats().publishing_problem == ""
    assert Counter(label.annotation_id for label in labels(settings, topics)) == Counter(acknowledged)


def test_what_stays_wrong_is_said_once(
    settings: Settings, unique: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []
    session = Publisher._session

    def tried(self: Publisher) -> None:
        tries.append(1)
        session(self)

    monkeypatch.setattr(Publisher, "_session", tried)
    with serve(pipeline(unique), settings), caplog.at_level("DEBUG", logger="labeling_grpc.kafka.outbox_publisher"):
        wait_until(lambda: len(tries) > 3, lambda: f"{len(tries)} tries")
        told = [
            (record.getMessage(), record.levelname) for record in caplog.records if record.name.endswith("publisher")
        ]
    again = [level for (before, _), (now, level) in pairwise(told) if now == before]
    assert again
    assert set(again) == {"DEBUG"}
    assert told[0][1] == "WARNING"


def test_a_lost_database_is_rebuilt_from_kafka(settings: Settings, topics: Topics) -> None:
    ask(settings, topics, [candidate(i) for i in range(20)])
    with serve(pipeline(topics.pipeline), settings) as first, LabelingClient(first.address, "ada") as client:
        acknowledged = answer_all(client, 12)
        (task,) = client.lease()
        client.skip(task)
        wait_for_labels(settings, topics, 13)
    shutil.rmtree(settings.state_dir / "pipelines" / topics.pipeline)
    with serve(pipeline(topics.pipeline), settings) as second, LabelingClient(second.address, "ada") as client:
        wait_until(lambda: client.stats().waiting == 7, lambda: f"7 should wait: {client.stats()}")
        stats = client.stats()
        assert (stats.answered, stats.skipped) == (12, 1)
        acknowledged |= answer_all(client, 7)
        found = wait_for_labels(settings, topics, 20)
    assert Counter(label.annotation_id for label in found if label.status == "answered") == Counter(acknowledged)
    assert len({label.event_id for label in found}) == 20


def test_a_new_database_gives_out_nothing_before_it_knows_what_was_answered(
    settings: Settings, topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(settings, topics, [candidate(i) for i in range(20)])
    with serve(pipeline(topics.pipeline), settings) as first, LabelingClient(first.address, "ada") as client:
        answer_all(client, 13)
        wait_for_labels(settings, topics, 13)
    shutil.rmtree(settings.state_dir / "pipelines" / topics.pipeline)
    read_tails = Publisher._read_tails
    early: list[int] = []

    def slowly(self: Publisher, client: AdminClient) -> tuple[int, dict[tuple[str, int], Source]]:
        store = self._writer.store
        with contextlib.suppress(AssertionError):
            wait_until(lambda: store.counts.waiting, "as it should be", 1.0)
        early.append(store.counts.waiting)
        return read_tails(self, client)

    monkeypatch.setattr(Publisher, "_read_tails", slowly)
    with serve(pipeline(topics.pipeline), settings) as second, LabelingClient(second.address, "ada") as client:
        wait_until(lambda: client.stats().waiting == 7, lambda: f"7 should wait: {client.stats()}")
    assert early[0] == 0


def test_an_older_copy_of_the_database_loses_and_doubles_nothing(settings: Settings, topics: Topics) -> None:
    folder = settings.state_dir / "pipelines" / topics.pipeline
    copy = settings.state_dir / "copy"
    ask(settings, topics, [candidate(i) for i in range(20)])
    with serve(pipeline(topics.pipeline), settings) as first, LabelingClient(first.address, "ada") as client:
        acknowledged = answer_all(client, 5)
        wait_for_labels(settings, topics, 5)
    shutil.copytree(folder, copy)
    with serve(pipeline(topics.pipeline), settings) as second, LabelingClient(second.address, "ada") as client:
        acknowledged |= answer_all(client, 5)
        wait_for_labels(settings, topics, 10)
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    with serve(pipeline(topics.pipeline), settings) as third, LabelingClient(third.address, "ada") as client:
        wait_until(lambda: client.stats().waiting == 10, lambda: f"10 should wait: {client.stats()}")
        acknowledged |= answer_all(client, 10)
        found = wait_for_labels(settings, topics, 20)
    assert Counter(label.annotation_id for label in found) == Counter(acknowledged)
    assert len({label.event_id for label in found}) == 20


def test_a_recreated_candidates_topic_is_read_from_its_beginning(settings: Settings, topics: Topics) -> None:
    ask(settings, topics, [candidate(i) for i in range(5)])
    with serve(pipeline(topics.pipeline), settings) as first, LabelingClient(first.address, "ada") as client:
        answer_all(client, 5)
    client_of_kafka = admin(settings)
    client_of_kafka.delete_topics([topics.candidates])[topics.candidates].result(60)
    wait_until(
        lambda: topics.candidates not in client_of_kafka.list_topics(timeout=5).topics, "the topic is still there"
    )
    ensure_topics(settings, [TopicSpec(topics.candidates, 1, {})])
    ask(settings, topics, [candidate(i, topic="new") for i in range(3)])
    with serve(pipeline(topics.pipeline), settings) as second, LabelingClient(second.address, "ada") as client:
        answer_all(client, 3)
    assert len(labels(settings, topics)) == 8


def test_exploration_cases_wait_in_kafka_when_the_queue_is_full_of_them(settings: Settings, topics: Topics) -> None:
    ask(settings, topics, [candidate(i, explore=True) for i in range(12)])
    with (
        serve(pipeline(topics.pipeline), settings, options=Options(max_open=5)) as server,
        LabelingClient(server.address, "ada") as client,
    ):
        wait_until(lambda: "full" in client.stats().intake_problem, "intake does not say that it waits")
        assert client.stats().waiting == 5
        answer_all(client, 12)
        wait_until(lambda: client.stats().intake_problem == "", "intake does not say that it goes on")
        assert len(wait_for_labels(settings, topics, 12)) == 12


def test_expired_and_displaced_cases_are_published_as_non_response(settings: Settings, topics: Topics) -> None:
    asked = [
        candidate(1, explore=True, time=100, expires_at=150),
        candidate(2, priority=0.2, time=110),
        candidate(3, priority=0.3, time=120),
        candidate(4, priority=0.4, time=200),
        candidate(5, priority=0.1, time=210),
    ]
    ask(settings, topics, asked)
    with (
        serve(pipeline(topics.pipeline), settings, options=Options(max_open=2)) as server,
        LabelingClient(server.address, "ada") as client,
    ):
        found = {label.event_id: label for label in wait_for_labels(settings, topics, 3)}
        assert [task.event_id for task in client.lease(9)] == [asked[3].event_id, asked[2].event_id]
    assert {label.status for label in found.values()} == {"expired"}
    explored = found[asked[0].event_id]
    assert (explored.inclusion_probability, explored.known_at, explored.label) == (0.25, 210, None)
    assert {asked[1].event_id, asked[4].event_id} <= found.keys()


def test_a_rival_with_another_database_is_found_out(settings: Settings, topics: Topics, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"state_dir": tmp_path / "elsewhere"})
    ask(settings, topics, [candidate(i) for i in range(4)])
    with serve(pipeline(topics.pipeline), settings) as first, LabelingClient(first.address, "ada") as one:
        answer_all(one, 1)
        wait_for_labels(settings, topics, 1)
        with serve(pipeline(topics.pipeline), elsewhere) as second, LabelingClient(second.address, "ben") as two:
            wait_until(lambda: two.stats().waiting == 3, "the second has no cases")
            answer_all(two, 1)
            wait_for_labels(settings, topics, 2)
            answer_all(one, 1)
            assert first.ended.wait(30), "the first does not notice"
            assert "another labeling service publishes" in str(first.failed)


def settled(client: LabelingClient) -> bool:
    """Whether two records are dead letters, four cases wait, and all is published."""
    stats = client.stats()
    return (stats.rejected, stats.waiting, stats.unpublished) == (2, 4, 0)


@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_nothing_that_strangers_write_ends_the_service_or_is_in_its_log(
    store: str, settings: Settings, topics: Topics, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "MUST-NOT-BE-LOGGED"  # noqa: S105 - it is looked for
    nasty = [f"{secret}\0b", secret * 1_000, f"\u202e{secret}", f"{secret}\x1b[2J", f"{secret} %s \U0001f600"]
    asked = [candidate(number, key=key, context={"note": key}, model=key) for number, key in enumerate(nasty)]
    ask(settings, topics, asked)
    send(settings, topics.candidates, [encode(candidate(9, event_id=f"{secret}\0")), secret.encode() + b"\xff"])
    closing = json.loads(encode(candidate(0))) | {"status": "answered", "known_at": 5, "answered_at": 6}
    told = [
        closing | {"label": f"fraud\0{secret}", "annotator": "bea", "comment": f"\0{secret}"},
        closing | {"label": "fraud", "annotator": f"\0{secret}"},
        closing | {"label": "fraud", "annotator": "bea", "known_at": 2**80, "event_id": candidate(1).event_id},
        closing | {"label": "fraud", "annotator": "bea", "event_id": f"{secret}\0"},
    ]
    send(settings, topics.labels, [json.dumps(label).encode() for label in told])
    database = request.getfixturevalue("postgres").url if store == "postgresql" else None
    for _ in range(2):
        with serve(pipeline(topics.pipeline), settings, database=database) as server:
            publisher = server.store.publisher
            with LabelingClient(server.address, "ada") as client:
                wait_until(partial(settled, client), "what strangers wrote is not dealt with", poll=0.2)
            assert server.failed is None
        producer = feeder(settings)
        for number in (b"x", b"", None, b"9" * 30):  # under the service's own identity
            headers: list[tuple[str, str | bytes | None]] = [(PUBLISHER, publisher.encode()), (SEQ, number)]
            producer.produce(topics.labels, value=b"{}", key=b"k", headers=headers)
        assert producer.flush(60) == 0
    letters = read_settled(settings, topics.deadletter)
    assert sorted(header(letter, "step") for letter in letters) == ["decode", "queue"]
    assert secret not in caplog.text
