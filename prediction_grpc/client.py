"""A client that asks a `stream` process, and blocks until it is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import grpc
import msgspec

from prediction_grpc.tokens import HEADER, SCHEME, is_shown
from prediction_grpc.v1 import prediction_pb2 as pb
from prediction_grpc.v1 import prediction_pb2_grpc
from tidemark.errors import ConfigError, TidemarkError
from tidemark.runtime.listen_addresses import is_loopback, parted
from tidemark.runtime.safe_text import safe

_CHANNEL: Final[list[tuple[str, Any]]] = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # no pause, whatever its name: how long an attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),  # a call that is repeated may record its event twice: the caller knows whether it may
]

Event = Mapping[str, object] | bytes
"""An event: columns and their values, or a JSON object of them."""


class NotAnsweredError(TidemarkError):
    """A call was refused, or not answered in time.

    code: name of the gRPC status, such as `UNAVAILABLE`.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class FeaturesOf:
    """What windows tell of an event.

    features: by name; one that is missing is not there.  late: a window may have lost rows.
    lag: seconds by which the windows were behind the stream.
    known: the stream has had a record with the same `[deduplicate]` key.
    """

    features: Mapping[str, float]
    late: bool
    lag: float
    known: bool


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number that a model foretells. low, high: nine numbers of ten lie between.  unit: of them, "" where none is."""

    value: float
    low: float
    high: float
    unit: str


@dataclass(frozen=True, slots=True)
class Said:
    """What a model says of an event.

    model: "none" before the first.  probabilities: by class, none before the first model.
    uncertainty: by the pipeline's strategy; None before the first model.
    estimate: where the label is a number, and there are no classes; None before the first model.
    """

    model: str
    probabilities: Mapping[str, float]
    uncertainty: float | None
    estimate: Estimate | None = None

    @classmethod
    def of(cls, said: pb.ModelPrediction) -> Said:
        """As the answer tells it."""
        uncertainty = said.uncertainty if said.HasField("uncertainty") else None
        told = said.estimate
        number = Estimate(told.value, told.low, told.high, told.unit) if said.HasField("estimate") else None
        return cls(said.model, dict(said.probabilities), uncertainty, number)


@dataclass(frozen=True, slots=True)
class Predicted(FeaturesOf):
    """What the model in force says of an event.

    event_id: of its record in the raw topic, and of its own prediction; "" where it is known.
    model: "none" before the first.  probabilities: by class, none before the first model.
    uncertainty: by the pipeline's strategy; None before the first model.
    estimate: where the label is a number, and there are no classes; None before the first model.
    shadow: what the pipeline's other model says, where it has one.
    """

    event_id: str
    model: str
    probabilities: Mapping[str, float]
    uncertainty: float | None
    estimate: Estimate | None = None
    shadow: Said | None = None


class PredictionClient:
    """Asks. Safe to share among threads; close it, or use it as a context manager."""

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        pipeline: str = "",
        timeout: float = 1.0,
        authority: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        """Connect.

        Args:
            address: `host:port` of the `stream` process.
            token: that the pipeline asks for, if it does.
            pipeline: that is meant, "" for any.
            timeout: seconds in which a call must be answered.
            authority: PEM file of who signed the server's certificate; with it the connection is TLS.
            certificate: PEM files of the caller's own certificate and its key, where one must be shown.

        Raises:
            ConfigError: a token would be sent in the clear to another machine, or no header can show it.

        """
        token = None if token is None else token.strip()
        if token and not is_shown(token):
            raise ConfigError("the token has characters that no token has: copy it anew")
        if token is not None and authority is None and not is_loopback(parted(address)[0]):
            raise ConfigError(
                f"{safe(address)} is not this machine: without TLS the token could be read on the way; name the "
                "authority of its certificate"
            )
        self._metadata = () if token is None else ((HEADER, SCHEME + token),)
        self._pipeline, self._timeout = pipeline, timeout
        self._channel = _channel(address, authority, certificate)
        self._stub: Any = prediction_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(self, event: Event, *, topic: str = "", with_features: bool = False) -> Predicted:
        """What the model in force says of an event, which is recorded in the raw topic.

        Args:
            event: the event.
            topic: raw topic that it belongs to, "" for the first.
            with_features: whether to tell the features as well.

        Raises:
            NotAnsweredError: says why. Where its code is `DEADLINE_EXCEEDED` or `UNAVAILABLE` the event may have been
                recorded; whether a repetition counts twice is decided by the pipeline's `[deduplicate]`.

        """
        request = pb.PredictRequest(event=_event(event, topic), pipeline=self._pipeline, with_features=with_features)
        response = self._called(self._stub.Predict, request)
        said, seen = Said.of(response.prediction), response.seen
        return Predicted(
            features=dict(seen.features),
            late=seen.late,
            lag=seen.lag,
            known=response.known,
            event_id=response.event_id,
            model=said.model,
            probabilities=said.probabilities,
            uncertainty=said.uncertainty,
            estimate=said.estimate,
            shadow=Said.of(response.shadow) if response.HasField("shadow") else None,
        )

    def features(self, event: Event, *, topic: str = "") -> FeaturesOf:
        """The features that an event would have now. Nothing is recorded.

        Args:
            event: the event.
            topic: raw topic that it belongs to, "" for the first.

        Raises:
            NotAnsweredError: says why.

        """
        request = pb.FeaturesRequest(event=_event(event, topic), pipeline=self._pipeline)
        response = self._called(self._stub.Features, request)
        return FeaturesOf(dict(response.seen.features), response.seen.late, response.seen.lag, response.known)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _called(self, call: Any, request: Any) -> Any:  # noqa: ANN401 generated code has no types of its own
        try:
            return call(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            raise NotAnsweredError(code, f"not answered ({code}): {safe(details)}") from error


def _event(event: Event, topic: str) -> pb.AskedEvent:
    return pb.AskedEvent(json=event if isinstance(event, bytes) else msgspec.json.encode(event), topic=topic)


def _channel(address: str, authority: Path | None, certificate: tuple[Path, Path] | None) -> grpc.Channel:
    if authority is None:
        return grpc.insecure_channel(address, options=_CHANNEL)
    chain, key = (None, None) if certificate is None else (each.read_bytes() for each in certificate)
    credentials = grpc.ssl_channel_credentials(authority.read_bytes(), key, chain)
    return grpc.secure_channel(address, credentials, options=_CHANNEL)
