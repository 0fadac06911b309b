"""MQTT 5: messages of a broker, acknowledged when Kafka has them."""

from __future__ import annotations

import importlib.util
import logging
import ssl
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from pydantic import Field, field_validator, model_validator

from tidemark.errors import ConfigError
from tidemark.pipeline.model import Duration
from tidemark.records.source_kinds import SourceKind, SourceOptions
from tidemark.runtime.listen_addresses import parted
from tidemark.runtime.safe_text import safe
from tidemark.runtime.secrets import secret
from tidemark.sources.intake import Intake, Parcel, Room, weight
from tidemark.sources.listening.address import check_pair
from tidemark.sources.source import Positions, Setting, SourceRecord

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

_log = logging.getLogger(__name__)
_LONGEST_FILTER: Final = 1_000
_WAIT: Final = 0.2
_REFUSED: Final = {0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C}
"""Reason codes of MQTT 5 that a person must mend: protocol version, client id, password, authorisation, banned."""


class MqttOptions(SourceOptions):
    """Options of an `mqtt` source."""

    broker: str
    """`host:port` of the broker."""
    topics: Annotated[list[str], Field(min_length=1, max_length=100)]
    """Topic filters, with `+` and `#`. A shared subscription begins with `$share/GROUP/`."""
    client_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")] | None = None
    """Name by which the broker knows the session; `tidemark-PIPELINE-SOURCE` by default. Two clients can't share it."""
    session: Duration = 7 * 86_400_000_000
    """How long the broker keeps messages for the source while it is away."""
    in_flight: Annotated[int, Field(ge=1, le=65_535)] = 1_000
    """Messages that the broker sends before the first of them is acknowledged."""
    max_packet: Annotated[int, Field(ge=1_000, le=100_000_000)] = 1_000_000
    """Bytes above which the broker does not send a message."""
    buffer: Annotated[int, Field(ge=1_000_000, le=10_000_000_000)] = 64_000_000
    """Bytes that may wait for Kafka; beyond, nothing is read from the broker."""
    keep_alive: Duration = 60_000_000
    """Time without a word after which the connection counts as lost."""
    username: str | None = None
    """Name that the broker knows."""
    password_file: str | None = None
    """File of its password."""
    password_env: str | None = None
    """Environment variable of its password."""
    tls: bool = False
    """Whether to speak TLS."""
    tls_ca: str | None = None
    """PEM file of who must have signed the broker's certificate; by default the system's authorities."""
    tls_cert: str | None = None
    """PEM file of the source's certificate, if the broker asks for one."""
    tls_key: str | None = None
    """PEM file of its key."""

    @field_validator("broker")
    @classmethod
    def _is_address(cls, broker: str) -> str:
        if parted(broker)[1] == 0:
            raise ValueError(f"{broker!r} names no port; write host:1883")
        return broker

    @field_validator("topics")
    @classmethod
    def _are_filters(cls, topics: list[str]) -> list[str]:
        for text in topics:
            levels = text.split("/")
            if text.startswith("$share/"):
                levels = levels[2:]
            wild = any(("#" in level or "+" in level) and len(level) > 1 for level in levels)
            if not text.isprintable() or not any(levels) or len(text) > _LONGEST_FILTER:
                raise ValueError(f"{text[:60]!r} is no topic filter; write such as plant/+/temperature")
            if wild or "#" in levels[:-1]:
                raise ValueError(f"{text[:60]!r}: + stands for a whole level, # for all that follow, at the end")
        return topics

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_pair(self.tls_cert, self.tls_key)
        if not self.tls and (self.tls_ca or self.tls_cert):
            raise ValueError("tls_ca and tls_cert need tls = true")
        if self.password_file is not None and self.password_env is not None:
            raise ValueError("password_file and password_env: keep one of the two")
        if (self.password_file or self.password_env) and self.username is None:
            raise ValueError("a password needs a username")
        if self.buffer < 2 * self.max_packet:
            raise ValueError("buffer must be at least twice max_packet")
        return self


class MqttSource:
    """A client whose network thread hands messages over, and which acknowledges those that are committed."""

    def __init__(self, setting: Setting) -> None:
        """Prepare for a setting."""
        options = setting.options
        assert isinstance(options, MqttOptions)  # noqa: S101 by the kind
        self._setting, self._options = setting, options
        self._wanted = tuple(set(setting.spec.columns.values()) - {"body"})
        self._intake = Intake(Room(options.buffer))
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._connection = 0
        self._closed = threading.Event()
        self._problem: str | None = None
        self._said: str | None = None
        self.ready = False

    def open(self, known: Positions) -> None:  # noqa: ARG002 the broker knows what is acknowledged
        """Connect; what is not acknowledged is sent again.

        Raises:
            ConfigError: a file is wrong, or the extra `mqtt` is not installed.

        """
        if self._client is not None:
            self._intake.again()
            return
        if importlib.util.find_spec("paho") is None:
            raise ConfigError(f"source '{self._setting.name}' needs a package for MQTT: pip install 'tidemark[mqtt]'")
        self._client = self._made()
        self._client.loop_start()

    def _made(self) -> Client:
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion  # noqa: PLC0415 only here
        from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415 as above
        from paho.mqtt.properties import Properties  # noqa: PLC0415 as above

        from tidemark.sources.lenient_mqtt import LenientClient  # noqa: PLC0415 as above

        options, name = self._options, self._setting.name
        identity = options.client_id or f"tidemark-{self._setting.pipeline.name}-{name}"
        client = LenientClient(
            CallbackAPIVersion.VERSION2, identity, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        password = secret(
            f"source '{name}'", "password", self._setting.file(options.password_file), options.password_env
        )
        if options.username is not None:
            client.username_pw_set(options.username, password)
        if options.tls:
            client.tls_set_context(self._tls())
        client.reconnect_delay_set(1, 30)
        client.on_connect, client.on_subscribe = self._connected, self._subscribed
        client.on_connect_fail, client.on_disconnect = self._unreachable, self._disconnected
        client.on_pre_connect, client.on_message = self._connecting, self._came
        properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = min(options.session // 1_000_000, 2**32 - 2)
        properties.ReceiveMaximum = options.in_flight
        properties.MaximumPacketSize = options.max_packet
        host, port = parted(options.broker)
        keep_alive = min(max(options.keep_alive // 1_000_000, 1), 65_535)
        client.connect_async(host, port, keep_alive, clean_start=False, properties=properties)
        return client

    def _tls(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = ssl.create_default_context(cafile=self._setting.file(options.tls_ca))
            if options.tls_cert is not None and options.tls_key is not None:
                context.load_cert_chain(self._setting.path(options.tls_cert), self._setting.path(options.tls_key))
        except OSError as error:
            raise ConfigError(
                f"source '{self._setting.name}': tls_ca, tls_cert or tls_key: {error}; each must be a PEM file, the "
                "key the certificate's"
            ) from error
        return context

    def read(self, most: int, seconds: float) -> Sequence[SourceRecord]:
        """Messages that came.

        Raises:
            ConfigError: the broker refuses the client or a subscription, or the client's thread has ended.

        """
        if self._problem is not None:
            raise ConfigError(self._problem)
        if self._client is not None and not self._closed.is_set():
            thread = self._client._thread  # noqa: SLF001 paho tells it nowhere else
            if thread is None or not thread.is_alive():
                raise ConfigError(
                    f"source '{self._setting.name}' no longer reads from the broker; see the log, and start it again"
                )
        return self._intake.take(most, seconds)

    def positions(self) -> Positions:
        """None: the broker knows what was acknowledged."""
        return Positions()

    def committed(self) -> None:
        """Acknowledge."""
        self._intake.committed()

    def close(self) -> None:
        """Disconnect. The broker keeps the session, and what is not acknowledged."""
        self._closed.set()
        self._intake.close()
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()

    # What follows is called by the client's thread.

    def _connecting(self, _client: Client, _data: object) -> None:
        self._another_connection()

    def _another_connection(self) -> None:
        """Acknowledgements of messages of an earlier connection are void: the broker sends these messages again."""
        with self._lock:
            self._connection += 1

    def _connected(self, client: Client, _data: object, flags: Any, reason: Any, _more: object) -> None:  # noqa: ANN401 paho's
        from paho.mqtt.subscribeoptions import SubscribeOptions  # noqa: PLC0415 only here

        if reason.is_failure:
            told = f"the broker at {self._options.broker} refuses the connection: {safe(str(reason))}"
            if reason.value in _REFUSED:
                self._problem = f"source '{self._setting.name}': {told}; correct username, password or client_id"
            self._say(told)
            return
        resumed = "goes on with its session" if flags.session_present else "begins a session"
        self._say(f"connected to {self._options.broker}, {resumed}")
        kept = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_IF_NEW_SUB)
        client.subscribe([(topic, kept) for topic in self._options.topics])

    def _subscribed(self, _client: Client, _data: object, _number: int, reasons: Any, _more: object) -> None:  # noqa: ANN401 paho's
        for topic, reason in zip(self._options.topics, reasons, strict=False):
            if reason.is_failure:
                self._problem = (
                    f"source '{self._setting.name}': the broker at {self._options.broker} refuses to send "
                    f"{topic!r}: {safe(str(reason))}; correct topics, or have it permitted"
                )
        self.ready = True

    def _unreachable(self, _client: Client, _data: object) -> None:
        self._say(f"the broker at {self._options.broker} does not answer; it is asked again")

    def _disconnected(self, _client: Client, _data: object, _flags: object, reason: object, _more: object) -> None:
        self._another_connection()
        if not self._closed.is_set():
            self._say(f"the connection to {self._options.broker} is lost: {safe(str(reason))}; it is made again")

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            _log.info("source '%s': %s", self._setting.name, what)

    def _came(self, client: Client, _data: object, message: MQTTMessage) -> None:
        topic = message._topic.decode(errors="backslashreplace")  # noqa: SLF001 `topic` raises where it is no UTF-8
        record = SourceRecord(bytes(message.payload), f"{topic} {message.mid}", self._attributes(topic, message))
        held = weight([record])
        # While there is no room nothing more is read, so that the broker keeps what follows.
        while not self._intake.room.wait(held, _WAIT):
            if self._closed.is_set():
                return
        number, qos, connection = message.mid, message.qos, self._connection

        def done(committed: bool) -> None:  # noqa: FBT001 as a parcel calls it
            with self._lock:
                if committed and qos and connection == self._connection:
                    client.ack(number, qos)

        self._intake.put(Parcel([record], held, done))

    def _attributes(self, topic: str, message: MQTTMessage) -> dict[str, str]:
        """Those that columns are made of: a stranger's message may have thousands."""
        if not self._wanted:
            return {}
        told = {"topic": topic}
        levels = topic.split("/", 100)
        properties = message.properties
        kind = getattr(properties, "ContentType", None)
        if kind is not None:
            told["content_type"] = kind
        pairs = dict(reversed(getattr(properties, "UserProperty", [])))
        for name in self._wanted:
            group, _, rest = name.partition(".")
            if group == "topic" and rest.isdecimal() and int(rest) < len(levels):
                told[name] = levels[int(rest)]
            elif group == "property" and rest in pairs:
                told[name] = pairs[rest]
        return told


KIND: Final = SourceKind(
    meaning="Messages of an MQTT 5 broker, acknowledged (QoS 1) when Kafka has them.",
    options=MqttOptions,
    attributes={
        "topic": "Topic of the message.",
        "topic.": "A level of the topic by its number, the first is 0.",
        "property.": "A user property by its name.",
        "content_type": "Content type of the payload, where the sender tells it.",
    },
    open=MqttSource,
    alone=True,
    binary=True,
)
