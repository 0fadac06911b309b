"""Senders of rows to a source, of each kind: what the source is told, and how rows get to it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mqtt_brokers import MqttBroker, publish, publisher

from tidemark import kafka as clients
from tidemark.kafka import ensure_topics
from tidemark.records.topics import TopicSpec
from tidemark.runtime.settings import Settings

_PAUSE: Final = 0.05


class Feed:
    """A sender. `exact`: whether each row must be there once; else at least once."""

    kind: str
    exact = True

    def options(self) -> dict[str, object]:
        """Options of the source."""
        raise NotImplementedError

    def send(self, rows: Sequence[bytes], *, patience: float = 120.0) -> bool:
        """Send rows, again and again until they are acknowledged; whether they were, within the patience (seconds)."""
        raise NotImplementedError

    def rotate(self) -> None:
        """Begin another file, where there are files."""

    def close(self) -> None:
        """Let go."""


class HttpFeed(Feed):
    """Posts lines."""

    kind, exact = "http", False

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: http.client.HTTPConnection | None = None

    def options(self) -> dict[str, object]:
        """Where it listens."""
        return {"address": f"127.0.0.1:{self._port}"}

    def send(self, rows: Sequence[bytes], *, patience: float = 120.0) -> bool:
        """Post until 202."""
        last = time.monotonic() + patience
        while time.monotonic() < last:
            try:
                connection = self._connection or http.client.HTTPConnection("127.0.0.1", self._port, timeout=40)
                self._connection = connection
                connection.request("POST", "/events", b"\n".join(rows), {"Content-Type": "application/x-ndjson"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 202:
                    return True
            except (OSError, http.client.HTTPException):
                self.close()
            time.sleep(_PAUSE)
        return False

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class MqttFeed(Feed):
    """Publishes a row a message."""

    kind, exact = "mqtt", False

    def __init__(self, broker: MqttBroker) -> None:
        self._broker = broker
        self._context = publisher(broker)
        self._client = self._context.__enter__()

    def options(self) -> dict[str, object]:
        """The broker and the topics."""
        return {"broker": self._broker.address, "topics": ["rows/#"]}

    def send(self, rows: Sequence[bytes], *, patience: float = 120.0) -> bool:  # noqa: ARG002 the broker is never killed
        """Publish until the broker has them."""
        publish(self._client, [("rows/all", row) for row in rows])
        return True

    def close(self) -> None:
        """Disconnect."""
        self._context.__exit__(None, None, None)


class KafkaFeed(Feed):
    """Produces to a topic of another Kafka."""

    kind = "kafka"

    def __init__(self, theirs: Settings, topic: str) -> None:
        self._settings, self._topic = theirs, topic
        ensure_topics(theirs, [TopicSpec(topic, 1, {})])
        self._producer = clients.producer(theirs)

    def options(self) -> dict[str, object]:
        """The other Kafka."""
        return {"bootstrap": self._settings.bootstrap_servers or "", "topics": [self._topic]}

    def send(self, rows: Sequence[bytes], *, patience: float = 120.0) -> bool:
        """Produce and flush."""
        for row in rows:
            self._producer.produce(self._topic, row)
        return self._producer.flush(patience) == 0


class FileFeed(Feed):
    """Appends lines to a file."""

    def __init__(self, kind: str, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.kind, self._folder, self._number = kind, folder, 0

    @property
    def _path(self) -> Path:
        return self._folder / ("app.log" if self.kind == "log" else f"rows-{self._number:04d}.ndjson")

    def options(self) -> dict[str, object]:
        """The file, or the folder."""
        where: dict[str, object] = {"paths": [str(self._path)]} if self.kind == "log" else {"path": str(self._folder)}
        return {**where, "interval": "50ms"}

    def send(self, rows: Sequence[bytes], *, patience: float = 120.0) -> bool:  # noqa: ARG002 as of the base
        """Append."""
        with self._path.open("ab") as stream:
            stream.write(b"\n".join(rows) + b"\n")
        return True

    def rotate(self) -> None:
        """Rename the log, or begin another file."""
        path = self._path
        self._number += 1
        if self.kind == "log" and path.exists():
            path.rename(path.with_name(f"app.log.{self._number}"))
