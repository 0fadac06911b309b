"""Serves the console until it is asked to stop."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from console.app import create_app
from console.options import Options
from console.security.sessions import signing_key
from console.site import Site
from tidemark.broker import resolve_bootstrap
from tidemark.errors import BrokerError, ConfigError, TidemarkError
from tidemark.pipeline import load
from tidemark.pipeline.checked import CheckedTexts
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

_STOP_SECONDS: Final = 2
_KEEP_ALIVE_SECONDS: Final = 75
"""For longer than somebody looks at a case: else each decision would begin with a new connection."""
_MOST_REQUESTS: Final = 2_000


def main(files: Sequence[str]) -> int:
    """Serve pipelines until SIGTERM or SIGINT; the exit status."""
    try:
        options = Options.from_environment()
        settings = _settings()
        pipelines = [load(Path(file), CheckedTexts.of(settings.cache_dir)) for file in files]
        names = [pipeline.name for pipeline in pipelines]
        if len(set(names)) < len(names):
            raise ConfigError(f"two of the files are of one pipeline ({', '.join(sorted(names))}): name each once")
        listening = listen(options)
        options = replace(options, port=listening.getsockname()[1])
        sites = [Site.of(pipeline, file, settings) for pipeline, file in zip(pipelines, files, strict=True)]
        app = create_app(sites, options, signing_key(settings.state_dir))
    except TidemarkError as error:
        print(f"console: {safe(str(error), lines=True)}", file=sys.stderr)  # noqa: T201 - for who started it
        return 1
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # uvicorn takes both while it serves, and raises them again at its end
    print(f"the console is at {address(options)}", flush=True)  # noqa: T201 - what its reader waits for
    with listening:
        ConsoleServer(configuration(app, options), app.state.stopping).run(sockets=[listening])
    return 0


class ConsoleServer(uvicorn.Server):
    """Serves the console. Streams of events end when it is asked to stop, for they would never end by themselves."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then all else."""
        self._stopping.set()
        await super().shutdown(sockets)


def configuration(app: Starlette, options: Options) -> uvicorn.Config:
    """How uvicorn serves the console."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=_MOST_REQUESTS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )


def address(options: Options) -> str:
    """Where a browser finds it."""
    return f"{'https' if options.secure else 'http'}://{options.host}:{options.port}/"


def listen(options: Options) -> socket.socket:
    """A socket that listens where the options say.

    Raises:
        ConfigError: the port is taken, or the address is not this machine's.

    """
    host = options.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = [options.port] if options.chosen else [options.port, 0]
    for port in ports:
        try:
            return socket.create_server((host, port), family=family, backlog=512)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == ports[-1]:
                raise ConfigError(
                    f"the console can't listen on {options.host}:{port} ({error.strerror}): name another address in "
                    "TIDEMARK_CONSOLE_ADDRESS"
                ) from error
    raise ConfigError("the console has no port to listen on")


def _settings() -> Settings:
    """Settings that name the Kafka that runs, or, while none does, none: pages then say so."""
    settings = Settings.from_environment()
    try:
        return settings.at(resolve_bootstrap(settings))
    except BrokerError:
        return settings
