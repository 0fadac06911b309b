"""TLS of the service and of its clients, from PEM files. The service reads changed files at the next handshake."""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import grpc

from tidemark.errors import ConfigError

PREFIX: Final = "TIDEMARK_LABELING_TLS_"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one side. authority: who must have signed the other side's; None: the system's, or nobody's."""

    certificate: Path | None
    key: Path | None
    authority: Path | None

    @classmethod
    def from_environment(cls, env: Mapping[str, str]) -> Self | None:
        """Files named by TIDEMARK_LABELING_TLS_CERT, _KEY and _CA; None when none of them is set.

        Raises:
            ConfigError: a certificate without its key, or a key without its certificate.

        """
        certificate, key, authority = (
            Path(env[PREFIX + name]) if env.get(PREFIX + name) else None for name in ("CERT", "KEY", "CA")
        )
        if (certificate is None) != (key is None):
            raise ConfigError(f"{PREFIX}CERT and {PREFIX}KEY go together: set both, or neither")
        return None if certificate is None and authority is None else cls(certificate, key, authority)

    def check(self) -> None:
        """Read the files once.

        Raises:
            ConfigError: one is missing or no PEM, or the key is not the certificate's.

        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
            if self.authority is not None:
                context.load_verify_locations(self.authority)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(str(path) for path in (self.certificate, self.key, self.authority) if path is not None)
            raise ConfigError(f"{PREFIX}*: {files}: {error}; each must be a PEM file, the key the certificate's") from (
                error
            )

    def of_client(self) -> grpc.ChannelCredentials:
        """Credentials of a channel.

        Raises:
            ConfigError: as `check`.

        """
        self.check()
        return grpc.ssl_channel_credentials(_read(self.authority), _read(self.key), _read(self.certificate))

    def of_server(self) -> grpc.ServerCredentials:
        """Credentials of a port; callers must show a certificate of `authority`, where there is one.

        Raises:
            ConfigError: as `check`, or there is no certificate.

        """
        if self.certificate is None:
            raise ConfigError(f"{PREFIX}CERT is not set: the service needs a certificate and its key for TLS")
        reloaded = _Reloaded(self)
        return grpc.dynamic_ssl_server_credentials(
            reloaded.first,
            reloaded,  # type: ignore[arg-type]  # None means unchanged; the stubs leave it out
            require_client_authentication=self.authority is not None,
        )


class _Reloaded:
    """Asked by gRPC at each handshake, by threads of its own."""

    def __init__(self, files: Certificates) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamp = self._stamped()
        self.first = self._loaded()

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        """The certificates if they changed, None if they did not or are half written: the old ones then stay."""
        with self._lock:
            try:
                stamp = self._stamped()
                if stamp == self._stamp:
                    return None
                fresh = self._loaded()
            except (OSError, ConfigError) as error:
                log.warning("the labeling service keeps its old certificate: %s", error)
                return None
            self._stamp = stamp
            return fresh

    def _loaded(self) -> grpc.ServerCertificateConfiguration:
        self._files.check()
        pair = [(_read(self._files.key) or b"", _read(self._files.certificate) or b"")]
        return grpc.ssl_server_certificate_configuration(pair, root_certificates=_read(self._files.authority))

    def _stamped(self) -> list[tuple[int, int]]:
        files = (self._files.certificate, self._files.key, self._files.authority)
        try:
            stats = [path.stat() for path in files if path is not None]
        except OSError as error:
            raise ConfigError(f"{PREFIX}*: {error}: name a PEM file that can be read") from error
        return [(stat.st_mtime_ns, stat.st_ino) for stat in stats]


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
