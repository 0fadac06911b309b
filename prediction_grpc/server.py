"""The service of a `stream` process: it listens in a thread of its own, while the flow's workers go on."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc

from prediction_grpc.service import MOST_BYTES, PredictionService
from prediction_grpc.tokens import Tokens
from prediction_grpc.v1 import prediction_pb2_grpc
from tidemark.asking import Answerer, KeptWindows, Recorder
from tidemark.errors import ConfigError, TidemarkError
from tidemark.pipeline import Pipeline
from tidemark.pipeline.model import AskSpec
from tidemark.runtime.listen_addresses import parted
from tidemark.runtime.settings import Settings
from tidemark.stream.models import ModelSource

_START_SECONDS: Final = 30.0
_GRACE_SECONDS: Final = 1.0
_STRANGERS: Final = 100
"""Calls beyond those that are let in, which are refused in words; more are refused by gRPC."""
_GRPC: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", 2 * MOST_BYTES),  # those between are refused in words
    ("grpc.max_metadata_size", 16 * 1024),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, never shared
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]
_log = logging.getLogger(__name__)


class PredictionServer:
    """Answers for a pipeline with `[ask]`. `close` it, or use it as a context manager.

    address: `host:port` at which it listens, once it has started.
    """

    def __init__(self, pipeline: Pipeline, settings: Settings, models: ModelSource, kept: KeptWindows) -> None:
        """Prepare.

        Args:
            pipeline: that has `[ask]`.
            settings: that name the Kafka.
            models: where the model in force comes from.
            kept: the windows of this process.

        Raises:
            ConfigError: a token or a certificate can't be had.

        """
        assert pipeline.ask is not None  # noqa: S101 who makes it has looked
        spec = self._spec = pipeline.ask
        self.address = ""
        self._pipeline = pipeline
        self._tokens = Tokens.of(spec, _path(pipeline, spec.token_file))
        self._credentials = _credentials(pipeline, spec)
        self._answerer = Answerer(pipeline, models, kept, max_lag=spec.max_lag / 1_000_000)
        self._settings = settings
        self._recorder: Recorder | None = None
        self._failed: TidemarkError | None = None
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ask-{pipeline.name}", daemon=True)

    def start(self) -> Self:
        """Listen.

        Raises:
            ConfigError: the address can't be had.
            BrokerError: no Kafka is named.

        """
        self._recorder = Recorder(self._settings, self._pipeline)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            self._failed = ConfigError(f"[ask]: nothing listens at {self._spec.address} after {_START_SECONDS:g} s")
        if self._failed is not None:
            self._recorder.close()
            raise self._failed
        return self

    def close(self) -> None:
        """Answer what is under way, for a second at most, and stop listening."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except TidemarkError as error:
            self._failed = error
        finally:
            self._ready.set()
            self._loop.close()

    async def _serve(self) -> None:
        assert self._recorder is not None  # noqa: S101 `start` made it
        calls = self._spec.calls
        server = grpc.aio.server(options=_GRPC, maximum_concurrent_rpcs=calls + _STRANGERS)
        service = PredictionService(self._pipeline, self._answerer, self._recorder, self._tokens, calls)
        prediction_pb2_grpc.add_PredictionServiceServicer_to_server(service, server)
        address = self._spec.address
        try:
            if self._credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            service.close()
            raise ConfigError(
                f"[ask]: can't listen on {address}: the port is taken, or the address is not this machine's; name "
                "another in ask.address, or port 0 for a free one"
            ) from error
        host = parted(address)[0]
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        await server.start()
        _log.info("answers Predict and Features at %s", self.address)
        self._ready.set()
        await self._stop.wait()
        await server.stop(_GRACE_SECONDS)
        service.close()


def _path(pipeline: Pipeline, name: str | None) -> str | None:
    return None if name is None else str(pipeline.folder / Path(name).expanduser())


def _credentials(pipeline: Pipeline, spec: AskSpec) -> grpc.ServerCredentials | None:
    """TLS of the port, None without.

    Raises:
        ConfigError: a file is missing or no PEM, or the key is not the certificate's.

    """
    certificate, key, authority = (_path(pipeline, each) for each in (spec.tls_cert, spec.tls_key, spec.tls_ca))
    if certificate is None or key is None:
        return None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if authority is not None:
            context.load_verify_locations(authority)
        return grpc.ssl_server_credentials(
            [(Path(key).read_bytes(), Path(certificate).read_bytes())],
            root_certificates=None if authority is None else Path(authority).read_bytes(),
            require_client_auth=authority is not None,
        )
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(each for each in (certificate, key, authority) if each is not None)
        raise ConfigError(f"[ask]: {files}: {error}; each must be a PEM file, the key the certificate's") from error
