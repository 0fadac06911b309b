from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import pipeline_text
from mqtt_brokers import MISSING, MOSQUITTO, MqttBroker, mqtt_broker, publish, publisher, reaches
from sourcing import committing, headers, pipeline_of, raw, read_until, running, source_of, toml

from support import wait_until
from tidemark.errors import ConfigError
from tidemark.kafka import ensure_topics, read_all
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings
from tidemark.sources.lenient_mqtt import without_properties
from tidemark.sources.source import Positions

BROKERS = [
    pytest.param("mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)),
    "rumqttd",
]
ROW = {"time": "2025-01-01T00:00:00Z", "b": 2, "c": 3}


@pytest.fixture(scope="module", params=BROKERS)
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MqttBroker]:
    with mqtt_broker(request.param, tmp_path_factory.mktemp("mqtt")) as found:
        yield found


def source(broker: MqttBroker, topics: list[str], columns: dict[str, str] | None = None, **options: Any) -> Any:  # noqa: ANN401
    named = {"broker": broker.address, "topics": topics, **options}
    return source_of(pipeline_of("mqtt", named, columns=columns or {}))


def _subscribed(made: Any) -> None:  # noqa: ANN401
    wait_until(made._client.is_connected, lambda: f"it does not connect: {made._said} {made._problem}")


def test_messages_come_in_order_with_their_topics_levels_and_user_properties(broker: MqttBroker, unique: str) -> None:
    columns = {"key": "topic.1", "a": "property.level"}
    with committing(source(broker, [f"{unique}/+/t"], columns, client_id=unique)) as served:
        _subscribed(served._source)
        with publisher(broker) as client:
            reaches(client, f"{unique}/first/t", lambda: served.records)
            publish(client, [(f"{unique}/m{i % 3}/t", b"%d" % i) for i in range(200)], {"level": "7", "x": "y"})
            wait_until(lambda: served.records[-1].value == b"199", "the last one does not come")
    came = [record for record in served.records if record.value != b"first"]
    assert [record.value for record in came] == [b"%d" % i for i in range(200)]
    assert came[4].attributes == {"topic": f"{unique}/m1/t", "topic.1": "m1", "property.level": "7"}
    assert came[4].position.startswith(f"{unique}/m1/t ")


def test_a_message_is_acknowledged_when_it_is_committed_and_comes_again_if_it_was_not(
    broker: MqttBroker, unique: str
) -> None:
    made = source(broker, [f"{unique}/#"], client_id=unique)
    made.open(Positions())
    _subscribed(made)
    with publisher(broker) as client:
        reaches(client, f"{unique}/0", lambda: made.read(1, 0.2))
        made.committed()
        publish(client, [(f"{unique}/{i}", b"%d" % i) for i in range(10)])
        first = [record for record in read_until(made, 10) if record.value != b"first"]
    assert len(first) == 10
    made.close()  # not committed, as when the process is killed

    again = source(broker, [f"{unique}/#"], client_id=unique)
    again.open(Positions())
    came = {record.value for record in read_until(again, 10)}
    assert came >= {record.value for record in first}
    again.committed()
    wait_until(lambda: not again._client._out_packet, "the acknowledgements are not sent")
    again.close()

    last = source(broker, [f"{unique}/#"], client_id=unique)
    last.open(Positions())
    _subscribed(last)
    with publisher(broker) as client:
        publish(client, [(f"{unique}/end", b"end")])
    assert [record.value for record in read_until(last, 1)] == [b"end"]
    last.close()


def test_after_a_failed_transaction_the_same_messages_come_again(broker: MqttBroker, unique: str) -> None:
    made = source(broker, [f"{unique}/#"], client_id=unique)
    made.open(Positions())
    _subscribed(made)
    with publisher(broker) as client:
        reaches(client, f"{unique}/0", lambda: made.read(1, 0.2))
    made.open(Positions())
    assert made.read(1, 5)[0].value == b"first"
    made.close()


def test_without_room_nothing_more_is_read_and_nothing_is_lost(broker: MqttBroker, unique: str) -> None:
    made = source(broker, [f"{unique}/#"], client_id=unique, buffer=1_000_000, max_packet=100_000)
    with committing(made) as served:
        _subscribed(made)
        with publisher(broker) as client:
            reaches(client, f"{unique}/first", lambda: served.records)
            served.paused.set()  # Kafka is away
            large = [(f"{unique}/x", b"%03d" % i + b"x" * 50_000) for i in range(60)]
            publish(client, large)
            wait_until(lambda: made._intake.room.held > 900_000, lambda: f"{made._intake.room.held} bytes are held")
            assert made._intake.room.held <= 1_000_000
            served.paused.clear()
            wait_until(lambda: {v for _, v in large} <= {r.value for r in served.records}, "some are lost", 60)


def test_payloads_that_are_no_rows_are_taken_as_they_are(
    kafka: Settings, broker: MqttBroker, unique: str, tmp_path: Path
) -> None:
    """One that is no text at all is a dead letter at once."""
    columns = {"key": "topic.1", "a": "body", "time": "property.at"}
    options = {"broker": broker.address, "topics": [f"{unique}/#"], "client_id": unique}
    pipeline = pipeline_of("mqtt", options, unique, columns=columns, body="text")
    with running(kafka, pipeline, tmp_path) as task, publisher(broker) as client:
        wait_until(lambda: task.error or task.source._client, "it does not start", 60)
        wait_until(task.source._client.is_connected, "it does not connect")
        told = {"at": "2025-01-01T00:00:00Z"}
        reaches(client, f"{unique}/first", lambda: task.task.counts.records, told)
        odd = f"{unique}/a\u202eb"
        payloads = {f"{unique}/m1": b"21.50", odd: b"7", f"{unique}/m2": b"\xff\x00", f"{unique}/m3": b""}
        publish(client, list(payloads.items()), told)
        wait_until(lambda: len(_topics(kafka, pipeline)) == 4, lambda: str(_topics(kafka, pipeline)), poll=0.3)
        wait_until(lambda: task.task.counts.refused == 1, lambda: str(task.task.counts))
        found = _topics(kafka, pipeline)
        (letter,) = read_all(kafka, pipeline.topics.deadletter, settled=True)
    first = found[f"{unique}/m1"]
    assert json.loads(first.value() or b"") == {"key": "m1", "a": 21.5, "time": told["at"]}
    assert first.key() == b"m1"
    assert (headers(letter)["record.tidemark-position"] or b"").startswith(f"{unique}/m2 ".encode())
    assert b"no UTF-8" in (headers(letter)["reason"] or b"")
    assert letter.value() == b'"\\\\xff\\u0000"'
    assert json.loads(found[f"{unique}/m3"].value() or b"")["a"] is None
    assert json.loads(found[odd].value() or b"")["key"] == "a\u202eb"


def _topics(kafka: Settings, pipeline: Any) -> dict[str, Any]:  # noqa: ANN401
    return {(headers(m)["tidemark-position"] or b"").decode().split(" ")[0]: m for m in raw(kafka, pipeline)}


def test_a_broker_that_is_away_is_waited_for_and_found_again(broker: MqttBroker, unique: str, tmp_path: Path) -> None:
    with mqtt_broker(broker.kind, tmp_path) as own, committing(source(own, ["x/#"], client_id=unique)) as served:
        made: Any = served._source
        _subscribed(made)
        own.stop()
        wait_until(lambda: not made._client.is_connected(), "it does not notice")
        own.start()
        wait_until(made._client.is_connected, "it does not connect again", 60)
        with publisher(own) as client:
            reaches(client, "x/y", lambda: served.records)


@pytest.mark.skipif(MOSQUITTO is None, reason=MISSING)
def test_a_broker_that_refuses_the_client_or_its_topics_is_told_in_a_sentence(
    unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acl").write_text("user plant\ntopic read plant/#\n")
    passwords = tmp_path / "passwords"
    subprocess.run([shutil.which("mosquitto_passwd") or "", "-b", "-c", str(passwords), "plant", "right"], check=True)
    settings = (
        f"listener {{port}} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nacl_file {tmp_path / 'acl'}"
    )
    with mqtt_broker("mosquitto", tmp_path, settings) as own:
        monkeypatch.setenv("MQTT_PASSWORD", "wrong")
        user: dict[str, Any] = {"username": "plant", "password_env": "MQTT_PASSWORD", "client_id": unique}
        refused = source(own, ["plant/#"], **user)
        refused.open(Positions())
        with pytest.raises(ConfigError, match=r"refuses the connection: Not authorized.*; correct username, password"):
            read_until(refused, 1)
        refused.close()
        monkeypatch.setenv("MQTT_PASSWORD", "right")
        right = source(own, ["plant/#"], **user)
        right.open(Positions())
        _subscribed(right)
        right.close()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"broker": "here", "topics": ["a"]}, "is not host:port"),
        ({"broker": "here:0", "topics": ["a"]}, "names no port"),
        ({"broker": "here:1883", "topics": []}, "at least 1 item"),
        ({"broker": "here:1883", "topics": [""]}, "is no topic filter"),
        ({"broker": "here:1883", "topics": ["a/#/b"]}, "at the end"),
        ({"broker": "here:1883", "topics": ["a/b+"]}, "a whole level"),
        ({"broker": "here:1883", "topics": ["a\u0000b"]}, "is no topic filter"),
        ({"broker": "here:1883", "topics": ["a"], "password_env": "X"}, "needs a username"),
        ({"broker": "here:1883", "topics": ["a"], "tls_ca": "ca.pem"}, "need tls = true"),
        ({"topics": ["a"]}, "options.broker: is missing"),
        ({"broker": "here:1883", "topics": ["a"], "password": "x"}, "is no option of kind mqtt"),
    ],
)
def test_options_that_are_wrong_are_told_by_check(options: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        pipeline_of("mqtt", options)


@pytest.mark.timeout(170)
def test_no_message_is_lost_when_the_process_is_killed(kafka: Settings, unique: str, tmp_path: Path) -> None:
    """Killed at seeded moments while messages come."""
    kind = "rumqttd" if MOSQUITTO is None else "mosquitto"
    with mqtt_broker(kind, tmp_path) as own:
        options = {"broker": own.address, "topics": ["m/#"]}
        pipeline = pipeline_of("mqtt", options, unique, columns={"key": "topic.1"})
        ensure_topics(kafka, [TopicSpec(pipeline.raw_topics[0], 2, {})])
        file = tmp_path / "p.toml"
        extra = f'[[sources]]\nname = "s"\nkind = "mqtt"\noptions = {toml(options)}\ncolumns = {{ key = "topic.1" }}\n'
        file.write_text(pipeline_text(unique, extra=extra))
        environment = {**os.environ, **kafka.model_copy(update={"state_dir": tmp_path / "home"}).environment()}

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-m", "dataflows.sources", str(file), "s"], env=environment)

        process = start()
        chance = random.Random(5)
        sent = 0
        try:
            with publisher(own) as client:
                reaches(client, "m/first", lambda: raw(kafka, pipeline))
                for _ in range(2):
                    publish(client, [(f"m/{n}", json.dumps({**ROW, "a": n}).encode()) for n in range(sent, sent + 300)])
                    sent += 300
                    time.sleep(chance.uniform(0, 0.1))  # the moment is what is tried
                    process.send_signal(signal.SIGKILL)
                    process.wait(60)
                    process = start()
            wanted = {str(n) for n in range(sent)}
            wait_until(lambda: _keys(kafka, pipeline) >= wanted, "messages are lost", 60, poll=0.5)
        finally:
            process.terminate()
            process.wait(60)
        assert process.returncode == 0


def _keys(kafka: Settings, pipeline: Any) -> set[str]:  # noqa: ANN401
    return {(message.key() or b"").decode() for message in raw(kafka, pipeline)}


def test_a_message_with_a_property_that_the_client_can_not_read_is_taken_and_holds_up_nothing(
    broker: MqttBroker, unique: str
) -> None:
    with committing(source(broker, [f"{unique}/#"], {"a": "property.note"}, client_id=unique)) as served:
        _subscribed(served._source)
        with publisher(broker) as client:
            reaches(client, f"{unique}/0", lambda: served.records)
            publish(client, [(f"{unique}/1", b"odd")], {"note": "\ufeffhello"})
            publish(client, [(f"{unique}/2", b"next")])
            wait_until(lambda: served.records[-1].value == b"next", lambda: f"{served.records[-1]}")
        odd = [record for record in served.records if record.value == b"odd"]
        assert [record.attributes for record in odd] == [{"topic": f"{unique}/1"}]


@given(st.binary(max_size=40))
def test_properties_are_cut_out_of_no_packet_that_has_none(packet: bytes) -> None:
    bare = without_properties(0x32, packet)
    assert bare is None or len(bare) < len(packet)


def test_properties_are_cut_out_and_the_rest_stays() -> None:
    odd = b"\x26\0\1a\0\3\xef\xbb\xbf"
    assert without_properties(0x32, b"\0\1t\0\7" + bytes([len(odd)]) + odd + b"x") == b"\0\1t\0\7\0x"
    assert without_properties(0x30, b"\0\1t\x83\1" + odd * 20 + b"x" * 9) == b"\0\1t\0" + (odd * 20 + b"x" * 9)[131:]


def test_a_source_whose_client_has_ended_says_so() -> None:
    made = source_of(pipeline_of("mqtt", {"broker": "127.0.0.1:1", "topics": ["t"]}))
    made.open(Positions())
    made._client.disconnect()
    made._client.loop_stop()
    with pytest.raises(ConfigError, match="no longer reads from the broker"):
        made.read(1, 0.0)
    made.close()
