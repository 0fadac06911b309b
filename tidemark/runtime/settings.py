"""Settings of the installation: where Kafka is, where state, caches and data are. Never of a pipeline.

They come from the environment alone, so that no secret is ever written into a pipeline's file:

- `TIDEMARK_BOOTSTRAP_SERVERS`: another Kafka than the embedded one, `host:port,host:port`
- `TIDEMARK_KAFKA_<PROPERTY>`: any librdkafka property but those that exactly-once fixes (`FIXED`, which are refused by
  name), dots as underscores (`TIDEMARK_KAFKA_SECURITY_PROTOCOL=SASL_SSL`); it goes before Tidemark's own value.
  `TIDEMARK_KAFKA_<PROPERTY>_FILE` reads its value from a file
- `TIDEMARK_HOME`, `TIDEMARK_CACHE`, `TIDEMARK_DATA`: folders of state, downloads and data sets
- `TIDEMARK_MAVEN_REPOSITORY`: a mirror to download Kafka's jars from
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field

from tidemark.errors import ConfigError

PREFIX: Final = "TIDEMARK_KAFKA_"
_SECRET = re.compile(r"password|secret|token|\.pem$|oauthbearer\.config|basic\.auth")
_UNDERSCORED: Final = {"log.level": "log_level"}
FIXED: Final = {
    "acks": "acknowledged by all in-sync replicas is what 'nothing is lost' rests on",
    "auto.offset.reset": "a lost position must be an error, never a silent jump",
    "bootstrap.servers": "write TIDEMARK_BOOTSTRAP_SERVERS instead",
    "enable.auto.commit": "offsets are committed in the transaction of the outputs",
    "enable.auto.offset.store": "offsets are committed in the transaction of the outputs",
    "delivery.report.only.error": "every producer has its own reports",
    "enable.gapless.guarantee": "a transaction that fails begins again from what is committed",
    "enable.idempotence": "exactly-once rests on it",
    "enable.partition.eof": "flows look for the end of a partition",
    "group.id": "each flow has its own group",
    "group.instance.id": "each worker is a member of its own; a shared name would have them fence each other",
    "group.protocol": "the group's time-outs and the moving of partitions are those of the classic protocol",
    "group.remote.assignor": "each flow chooses what its partitions need",
    "isolation.level": "flows read committed records only",
    "max.in.flight.requests.per.connection": "the order of a partition rests on it",
    "max.poll.interval.ms": "each flow has its own, by how long its steps may take",
    "message.timeout.ms": "a record lives as long as its transaction",
    "partition.assignment.strategy": "each flow chooses what its partitions need",
    "partitioner": "a key is in the same partition whoever wrote it, as with the Java clients",
    "retries": "exactly-once rests on records being sent until their transaction ends",
    "topic.metadata.refresh.interval.ms": "a re-created topic must be noticed",
    "transaction.timeout.ms": "recovery is timed by it: a dead process's transaction ends within 10 s",
    "transactional.id": "each worker slot has its own",
}
"""Properties that are not the operator's to set, and why: the reference of settings is made from it."""


_ALIASES: Final = {
    "compression.codec": "compression.type",
    "delivery.timeout.ms": "message.timeout.ms",
    "fetch.message.max.bytes": "max.partition.fetch.bytes",
    "max.in.flight": "max.in.flight.requests.per.connection",
    "message.send.max.retries": "retries",
    "metadata.broker.list": "bootstrap.servers",
    "queue.buffering.max.ms": "linger.ms",
    "request.required.acks": "acks",
}
"""Second names that librdkafka has for a property."""


class Settings(BaseModel):
    """Settings of the installation. Printing them never prints a secret.

    bootstrap_servers: None means the embedded Kafka.
    kafka: librdkafka properties passed through to every client (TLS, SASL, ...); not printed, not dumped.
    state_dir: what must survive a restart (the embedded broker's log, the labeling queue).
    cache_dir: what can be downloaded or computed again.
    data_dir: real data sets for tests and benchmarks; need not exist.
    maven_repository: mirror for Kafka's jars; None means Maven Central.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: str | None = None
    kafka: dict[str, str] = Field(default_factory=dict, repr=False, exclude=True)
    state_dir: Path = Field(default_factory=lambda: platformdirs.user_data_path("tidemark", appauthor=False))
    cache_dir: Path = Field(default_factory=lambda: platformdirs.user_cache_path("tidemark", appauthor=False))
    data_dir: Path = Path("../shared/data")
    maven_repository: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Settings from `environment`, by default the process's own. Empty variables count as unset.

        Raises:
            ConfigError: a variable is wrong; names it and the remedy.

        """
        env = {k: v for k, v in (os.environ if environment is None else environment).items() if v.strip()}
        bootstrap = env.get("TIDEMARK_BOOTSTRAP_SERVERS")
        kafka = _passed_through(env)
        if bootstrap is None and kafka:
            raise ConfigError(
                f"{_variable(min(kafka))} is set, but TIDEMARK_BOOTSTRAP_SERVERS is not: the embedded Kafka "
                "takes no client settings; name your Kafka as host:port in TIDEMARK_BOOTSTRAP_SERVERS"
            )
        if bootstrap is not None:
            bootstrap = _checked_servers(bootstrap)
        values: dict[str, object] = {"bootstrap_servers": bootstrap, "kafka": kafka}
        for field, name in (("state_dir", "HOME"), ("cache_dir", "CACHE"), ("data_dir", "DATA")):
            if folder := env.get(f"TIDEMARK_{name}"):
                values[field] = Path(folder).expanduser()
        if mirror := env.get("TIDEMARK_MAVEN_REPOSITORY"):
            values["maven_repository"] = mirror.rstrip("/")
        return cls.model_validate(values)

    def at(self, bootstrap_servers: str) -> Self:
        """The same settings, for the Kafka at `bootstrap_servers`."""
        return self.model_copy(update={"bootstrap_servers": bootstrap_servers})

    def environment(self) -> dict[str, str]:
        """Variables that give a child process these settings, secrets included: for `subprocess`, never a log."""
        env = {_variable(name): value for name, value in self.kafka.items()}
        env |= {
            "TIDEMARK_HOME": str(self.state_dir.absolute()),
            "TIDEMARK_CACHE": str(self.cache_dir.absolute()),
            "TIDEMARK_DATA": str(self.data_dir.absolute()),
        }
        if self.bootstrap_servers is not None:
            env["TIDEMARK_BOOTSTRAP_SERVERS"] = self.bootstrap_servers
        if self.maven_repository is not None:
            env["TIDEMARK_MAVEN_REPOSITORY"] = self.maven_repository
        return env

    def masked(self) -> dict[str, str]:
        """The librdkafka properties with every secret as `***`, for people and logs."""
        return {name: "***" if is_secret(name) else value for name, value in sorted(self.kafka.items())}

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        return [*super().__repr_args__(), ("kafka", self.masked())]


def is_secret(name: str) -> bool:
    """Whether the value of a librdkafka property must never be shown."""
    return _SECRET.search(name) is not None


def _variable(name: str) -> str:
    return PREFIX + name.replace(".", "_").upper()


def _property(variable: str) -> str:
    name = variable.removeprefix(PREFIX).lower().replace("_", ".")
    return _UNDERSCORED.get(name, _ALIASES.get(name, name))


def _passed_through(env: Mapping[str, str]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for variable in sorted(name for name in env if name.startswith(PREFIX)):
        from_file = variable.endswith("_FILE")
        name = _property(variable.removesuffix("_FILE") if from_file else variable)
        if reason := FIXED.get(name):
            raise ConfigError(f"{variable} can't be set: {name} is Tidemark's own; {reason}")
        if name in properties:
            raise ConfigError(f"{variable}: {name} is set both as a value and by a file; keep one of the two")
        properties[name] = _read(variable, Path(env[variable])) if from_file else env[variable]
    return properties


def _read(variable: str, path: Path) -> str:
    try:
        return path.expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{variable} names {path}, which can't be read ({error}); correct the path") from error


def _checked_servers(text: str) -> str:
    servers = [part.strip() for part in text.split(",")]
    for server in servers:
        host, _, port = server.rpartition(":")
        if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"TIDEMARK_BOOTSTRAP_SERVERS: {server!r} is not host:port; write host:port,host:port")
    return ",".join(servers)
