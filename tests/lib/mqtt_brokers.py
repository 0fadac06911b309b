"""Real MQTT brokers: mosquitto where it is installed, else rumqttd, which the development set-up brings (iotcore)."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from support import wait_until

MOSQUITTO: Final = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
MISSING: Final = "mosquitto is not installed (Debian, Ubuntu: apt-get install mosquitto); rumqttd is tested instead"
_RUMQTTD: Final = """
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 10485760
max_segment_count = 10
[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 2000000
max_inflight_count = 1000
dynamic_filters = true
"""


@dataclass(slots=True)
class MqttBroker:
    """A broker on this machine."""

    kind: str
    port: int
    folder: Path
    settings: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"localhost:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        file = self.folder / ("mosquitto.conf" if self.kind == "mosquitto" else "rumqttd.toml")
        if self.kind == "mosquitto":
            assert MOSQUITTO is not None, MISSING
            settings = self.settings or f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
            more = f"{settings}\nmax_queued_messages 0\nuser root\n"
            file.write_text(more.format(port=self.port))
            command = [MOSQUITTO, "-c", str(file)]
        else:
            file.write_text(_RUMQTTD.format(port=self.port))
            command = [sys.executable, "-m", "iotcore", "--config", str(file)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens, f"{self.kind} does not listen", 30)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return True
        except OSError:
            return False


@contextmanager
def mqtt_broker(kind: str, folder: Path, settings: str = "") -> Iterator[MqttBroker]:
    """A broker that runs."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    broker = MqttBroker(kind, port, folder, settings)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def publisher(broker: MqttBroker, **user: str) -> Iterator[Client]:
    """A client that is connected."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    if user:
        client.username_pw_set(user["name"], user["password"])
    client.max_inflight_messages_set(500)
    client.connect("localhost", broker.port)
    client.loop_start()
    wait_until(client.is_connected, "the publisher does not connect")
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def reaches(client: Client, topic: str, came: Callable[[], object], told: Mapping[str, str] | None = None) -> None:
    """Publish `first` to a topic until it comes: a subscription takes its time."""

    def tried() -> bool:
        publish(client, [(topic, b"first")], told)
        return bool(came())

    wait_until(tried, f"nothing that is published to {topic} comes", 60, 0.2)


def publish(
    client: Client, messages: Sequence[tuple[str, bytes]], told: Mapping[str, str] | None = None, qos: int = 1
) -> None:
    """Publish messages, and wait until the broker has them."""
    more: Any = None
    if told is not None:
        more = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        more.UserProperty = list(told.items())
    for sent in [client.publish(topic, payload, qos=qos, properties=more) for topic, payload in messages]:
        sent.wait_for_publish(20)
        assert sent.is_published()
