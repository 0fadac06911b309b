"""Schemas by their numbers: of Confluent's schema registry over HTTP, or of files in a folder.

A number that is unknown is the record's own fault, and it becomes a dead letter that can be sent once more when the
schema is there. A registry that does not answer says nothing of any record: the flow waits for it.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from tidemark.errors import ConfigError, RegistryError

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

T = TypeVar("T")
_log = logging.getLogger(__name__)
LARGEST: Final = 1_000_000
"""Bytes of a schema."""
_UNKNOWN: Final = {40402, 40403, 40401}
"""What the registry says of a schema, a version or a subject that it does not have."""
_TIMEOUT: Final = 5.0
_LONGEST_WAIT: Final = 120.0
"""Seconds that a flow stands still for a registry; well below the time after which its group takes it for dead."""
_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 5.0)
_SHOWN: Final = 200
_BEYOND: Final = 2**31
"""Registries number schemas from 1 in 32 bits with a sign, and know no address for any other number."""


class UnknownSchemaError(ValueError):
    """The registry has no schema of a number."""


def _checked(number: int) -> None:
    """See to it that a registry can have a schema of a number.

    Raises:
        UnknownSchemaError: it can't.

    """
    if not 0 < number < _BEYOND:
        raise UnknownSchemaError(
            f"has schema {number}, which is no number of a registry's schema; write it with a serializer of the "
            "registry"
        )


@dataclass(frozen=True, slots=True)
class StoredSchema:
    """A schema as a registry has it.

    content: JSON of an Avro schema; a serialized FileDescriptorSet or FileDescriptorProto of Protobuf.
    imports: name and content of what a Protobuf file imports, or named Avro types that a schema refers to.
    """

    content: bytes
    imports: tuple[tuple[str, bytes], ...] = ()


class Schemas(Protocol):
    """Where schemas are."""

    def get(self, number: int) -> StoredSchema:
        """The schema of a number.

        Raises:
            UnknownSchemaError: there is none.
            RegistryError: the registry does not answer.

        """
        ...


class SchemaFolder:
    """Files `NUMBER.SUFFIX` in a folder."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder, self._suffix = folder, suffix

    def get(self, number: int) -> StoredSchema:
        """The schema of a number."""
        _checked(number)
        path = self._folder / f"{number}{self._suffix}"
        try:
            return StoredSchema(content_of(path))
        except FileNotFoundError as error:
            if not self._folder.is_dir():
                raise RegistryError(f"the folder of schemas {self._folder} is not there; make or mount it") from error
            raise UnknownSchemaError(
                f"has schema {number}, and there is no {path.name} in the folder of schemas; put it there, and replay"
            ) from error
        except OSError as error:
            raise RegistryError(f"the schema {path} can't be read: {error.strerror}; mend that") from error


class HttpSchemas:
    """Schemas of a registry over HTTP, by confluent-kafka's own client, which remembers what it was told."""

    def __init__(self, address: str, auth: str | None, *, serialized: bool) -> None:
        """Connect when a schema is first asked for.

        Args:
            address: `http://…` or `https://…`.
            auth: `user:password`, if the registry wants it.
            serialized: whether schemas are of Protobuf, whose files the registry gives as serialized descriptors.

        """
        self._address, self._auth = address, auth
        self._serialized = serialized
        self._client: SchemaRegistryClient | None = None

    def get(self, number: int) -> StoredSchema:
        """The schema of a number."""
        _checked(number)
        found = self._asked(lambda client: client.get_schema(number, fmt=self._format))
        if found is None:
            raise UnknownSchemaError(
                f"has schema {number}, which the registry does not have; register it, and replay the dead letter"
            )
        imports: dict[str, bytes] = {}
        self._add_imports(found, imports)
        return StoredSchema(self._content(found), tuple(imports.items()))

    def register(self, subject: str, schema: str) -> int | None:
        """The number of an Avro schema, which the registry gives anew or knows already.

        Args:
            subject: under which it stands.
            schema: as JSON.

        Returns:
            The number; None where the registry gives none.

        Raises:
            RegistryError: the registry does not answer, or refuses the schema.

        """
        from confluent_kafka.schema_registry import Schema  # noqa: PLC0415 - half a second, and an extra

        return self._asked(lambda client: client.register_schema(subject, Schema(schema, "AVRO")))

    @property
    def _format(self) -> str | None:
        return "serialized" if self._serialized else None

    def _add_imports(self, schema: Schema, imports: dict[str, bytes]) -> None:
        for reference in schema.references or ():
            name, subject, version = reference.name, reference.subject, reference.version
            if name is None or name in imports or len(imports) > _SHOWN:
                continue
            found = self._asked(
                lambda client, s=subject, v=version: client.get_version(s, v, fmt=self._format)  # type: ignore[misc]
            )
            if found is None or found.schema is None:
                raise UnknownSchemaError(f"has a schema that refers to {subject} version {version}, which is unknown")
            self._add_imports(found.schema, imports)
            imports[name] = self._content(found.schema)

    def _content(self, schema: Schema) -> bytes:
        text = schema.schema_str or ""
        if len(text) > LARGEST:
            raise ValueError(f"has a schema of {len(text)} bytes; at most {LARGEST} are read")
        return base64.b64decode(text) if self._serialized else text.encode()

    def _asked(self, ask: Callable[[SchemaRegistryClient], T]) -> T | None:
        """What the registry answers; None where it does not have that."""
        from confluent_kafka.schema_registry import SchemaRegistryClient  # noqa: PLC0415 - half a second, and an extra
        from confluent_kafka.schema_registry.error import SchemaRegistryError  # noqa: PLC0415

        if self._client is None:
            self._client = SchemaRegistryClient(self._options())
        try:
            return ask(self._client)
        except SchemaRegistryError as error:
            if error.error_code in _UNKNOWN:
                return None
            remedy = (
                "write user:password into TIDEMARK_REGISTRY_AUTH" if error.http_status_code in (401, 403) else "mend it"
            )
            raise RegistryError(
                f"the schema registry {self._address} answers {error.http_status_code} "
                f"({str(error.error_message)[:_SHOWN]}); {remedy}"
            ) from error
        except Exception as error:  # the client passes on whatever its HTTP library raises
            raise RegistryError(
                f"the schema registry {self._address} can't be reached ({type(error).__name__}: "
                f"{str(error)[:_SHOWN]}); start it, or correct `registry` in the pipeline file"
            ) from error

    def _options(self) -> dict[str, object]:
        options: dict[str, object] = {"url": self._address, "timeout": _TIMEOUT, "max.retries": 0}
        if self._auth is not None:
            options["basic.auth.user.info"] = self._auth
        return options


class Waiting:
    """Schemas of a registry that may be away for a while: whoever asks stands still meanwhile.

    What was found stays; a number that was unknown is asked for again after some seconds.
    """

    def __init__(
        self,
        schemas: Schemas,
        *,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        longest: float = _LONGEST_WAIT,
        again: float = 5.0,
    ) -> None:
        """Wrap a registry.

        Args:
            schemas: the registry.
            pause: waits so many seconds.
            clock: seconds.
            longest: seconds after which the wait is given up, and the process ends: it goes on from what is committed.
            again: seconds after which an unknown number is asked for once more.

        """
        self._schemas, self._pause, self._clock, self._longest, self._again = schemas, pause, clock, longest, again
        self._unknown: dict[int, tuple[float, str]] = {}

    def get(self, number: int) -> StoredSchema:
        """The schema of a number."""
        since, reason = self._unknown.get(number, (0.0, ""))
        if reason and self._clock() < since + self._again:
            raise UnknownSchemaError(reason)
        try:
            found = self._waited(number)
        except UnknownSchemaError as error:
            if len(self._unknown) >= _MOST_UNKNOWN:
                self._unknown.clear()
            self._unknown[number] = self._clock(), str(error)
            raise
        self._unknown.pop(number, None)
        return found

    def _waited(self, number: int) -> StoredSchema:
        begun = self._clock()
        tries = 0
        while True:
            try:
                return self._schemas.get(number)
            except RegistryError as error:
                if self._clock() - begun >= self._longest:
                    raise
                if not tries:
                    _log.warning("waiting, and no record is lost meanwhile: %s", error)
                self._pause(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1


_MOST_UNKNOWN: Final = 10_000


def registry_of(where: str, folder: Path, suffix: str, *, serialized: bool) -> Schemas:
    """The registry that a pipeline file names.

    Args:
        where: its address, or a folder.
        folder: of the pipeline file.
        suffix: of the files in a folder.
        serialized: whether schemas are of Protobuf.

    Raises:
        ConfigError: the address is none, or the credentials are.

    """
    if "://" not in where:
        return Waiting(SchemaFolder(folder / where, suffix))
    return Waiting(http_registry(where, "raw[0].registry", serialized=serialized))


def http_registry(where: str, setting: str, *, serialized: bool = False) -> HttpSchemas:
    """The registry at an address.

    Args:
        where: its address.
        setting: that gives the address, for errors.
        serialized: whether schemas are of Protobuf.

    Raises:
        ConfigError: the address is none, or the credentials are.

    """
    if not where.startswith(("http://", "https://")) or "@" in where:
        raise ConfigError(
            f"{setting}: {where.rpartition('@')[2][:_SHOWN]!r} must begin with http:// or https://, without a "
            "user or password, which TIDEMARK_REGISTRY_AUTH gives"
        )
    auth = _secret("TIDEMARK_REGISTRY_AUTH")
    if auth is not None and ":" not in auth:
        raise ConfigError("TIDEMARK_REGISTRY_AUTH has no colon; write user:password")
    return HttpSchemas(where, auth, serialized=serialized)


def content_of(path: Path) -> bytes:
    """What a file of a schema holds.

    Raises:
        OSError: it can't be read.
        ValueError: it is too large for a schema.

    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"the schema {path.name} has more than {LARGEST} bytes")
    return content


def _secret(name: str) -> str | None:
    value, file = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if not file:
        return value or None
    try:
        return Path(file).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}_FILE names {file}, which can't be read ({error}); correct the path") from error
