"""HTTP: records that services post."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import Field, model_validator

from tidemark.errors import ConfigError
from tidemark.formats.arrow_rows import ArrowRows
from tidemark.pipeline.model import Duration
from tidemark.records.source_kinds import SourceKind, SourceOptions
from tidemark.runtime.listen_addresses import is_loopback, parted
from tidemark.runtime.secrets import secret
from tidemark.sources.intake import Intake, Room
from tidemark.sources.listening.address import Address, check_tls, listening, server_tls
from tidemark.sources.source import Positions, Setting, SourceRecord

if TYPE_CHECKING:
    import uvicorn

_log = logging.getLogger(__name__)
_SHORTEST_TOKEN: Final = 16
_STOP_SECONDS: Final = 3


class HttpOptions(SourceOptions):
    """Options of an `http` source."""

    address: Address = "127.0.0.1:8080"
    """`host:port` to listen on; port 0 takes a free one, which the log names. Any but this machine's own needs a
    token."""
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9_./-]{0,200}$")] = "/events"
    """Path that records are posted to. `/health` answers whether the process lives."""
    token_file: str | None = None
    """File of tokens, one a line, of which a request must show one as `Authorization: Bearer TOKEN`."""
    token_env: str | None = None
    """Environment variable of a token, instead of a file."""
    tls_cert: str | None = None
    """PEM file of the certificate."""
    tls_key: str | None = None
    """PEM file of its key."""
    tls_ca: str | None = None
    """PEM file of who must have signed the clients' certificates, if clients must show one."""
    max_body: Annotated[int, Field(ge=1_000, le=100_000_000)] = 4_000_000
    """Most bytes of a body, as it comes and decompressed."""
    buffer: Annotated[int, Field(ge=1_000_000, le=10_000_000_000)] = 64_000_000
    """Bytes that may wait for Kafka; beyond, requests are answered 429 with Retry-After."""
    connections: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Most connections at once."""
    body_timeout: Duration = 30_000_000
    """Time in which a body must be there."""
    answer_timeout: Duration = 30_000_000
    """Time in which Kafka must have acknowledged it; after that the answer is 503, and the sender sends it again."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        check_tls(self.tls_cert, self.tls_key, self.tls_ca)
        if self.token_file is not None and self.token_env is not None:
            raise ValueError("token_file and token_env: keep one of the two")
        open_door = self.token_file is None and self.token_env is None and self.tls_ca is None
        if open_door and not is_loopback(parted(self.address)[0]):
            raise ValueError(f"anybody could post to {self.address}: set token_file or token_env, or tls_ca")
        if self.buffer < 2 * self.max_body:
            raise ValueError("buffer must be at least twice max_body")
        return self


class HttpSource:
    """Listens in a thread of its own."""

    def __init__(self, setting: Setting) -> None:
        """Prepare for a setting."""
        options = setting.options
        assert isinstance(options, HttpOptions)  # noqa: S101 by the kind
        self._setting, self._name, self._options = setting, setting.name, options
        self._intake = Intake(Room(options.buffer))
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    def open(self, known: Positions) -> None:  # noqa: ARG002 requests have no positions
        """Listen; what is not acknowledged is sent again.

        Raises:
            ConfigError: the address can't be had, a file is wrong, or the extra `http` is not installed.

        """
        if self._thread is not None:
            self._intake.again()
            return
        if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("starlette") is None:
            raise ConfigError(f"source '{self._name}' needs packages for HTTP: pip install 'tidemark[http]'")
        self._start()

    def _start(self) -> None:
        import uvicorn  # noqa: PLC0415 - only where HTTP is spoken

        from tidemark.sources.listening.http_app import Door  # noqa: PLC0415 as above
        from tidemark.sources.listening.http_protocol import Bounded  # noqa: PLC0415 as above

        options = self._options
        door = Door(
            self._intake,
            tokens=self._tokens(),
            most_bytes=options.max_body,
            body_seconds=options.body_timeout / 1e6,
            answer_seconds=options.answer_timeout / 1e6,
            batches=ArrowRows(self._setting.declared),
        )
        config = uvicorn.Config(
            door.app(options.path),
            http=Bounded.of(options.connections),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=32_768,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        config.load()
        if options.tls_cert is not None and options.tls_key is not None:
            files = (str(self._setting.path(options.tls_cert)), str(self._setting.path(options.tls_key)))
            config.ssl = server_tls(self._name, *files, self._setting.file(options.tls_ca))
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # a stranger's wrong request is no news
        listener = listening(self._name, options.address)
        self.port = listener.getsockname()[1]
        self._server = uvicorn.Server(config)
        server = self._server
        self._thread = threading.Thread(
            target=lambda: server.run(sockets=[listener]), daemon=True, name=f"http {self._name}"
        )
        self._thread.start()
        scheme = "http" if options.tls_cert is None else "https"
        host = parted(options.address)[0]
        shown = f"[{host}]" if ":" in host else host
        _log.info("source '%s' takes POST %s://%s:%d%s", self._name, scheme, shown, self.port, options.path)

    def _tokens(self) -> Sequence[str]:
        options = self._options
        text = secret(f"source '{self._name}'", "token", self._setting.file(options.token_file), options.token_env)
        tokens = [] if text is None else [line.strip() for line in text.splitlines() if line.strip()]
        if any(len(token) < _SHORTEST_TOKEN for token in tokens):
            raise ConfigError(
                f"source '{self._name}': a token has fewer than {_SHORTEST_TOKEN} characters, which can be guessed; "
                "make one with `openssl rand -hex 32`"
            )
        return tokens

    def read(self, most: int, seconds: float) -> Sequence[SourceRecord]:
        """Records of requests that wait."""
        if self._thread is not None and not self._thread.is_alive():
            raise ConfigError(f"source '{self._name}' no longer listens; see the log, and start it again")
        return self._intake.take(most, seconds)

    def positions(self) -> Positions:
        """None: who sends knows what was acknowledged."""
        return Positions()

    def committed(self) -> None:
        """Answer 202."""
        self._intake.committed()

    def close(self) -> None:
        """Answer 503 to what waits, and stop listening."""
        self._intake.close()
        if self._server is not None:
            self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS + 2)


KIND: Final = SourceKind(
    meaning="Records that services post: JSON, NDJSON, CloudEvents, or Arrow.",
    options=HttpOptions,
    attributes={
        "id": "Id of a CloudEvent.",
        "source": "Source of a CloudEvent.",
        "type": "Type of a CloudEvent.",
        "subject": "Subject of a CloudEvent.",
        "time": "Time of a CloudEvent.",
        "dataschema": "Schema of a CloudEvent's data.",
        "datacontenttype": "Type of a CloudEvent's data.",
        "extension.": "An extension of a CloudEvent, by its name.",
    },
    open=HttpSource,
)
