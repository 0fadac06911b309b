"""The network between a browser and the console, which can be cut."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from types import TracebackType
from typing import Final, Literal, Self

Weather = Literal["open", "cut", "deaf"]
"""cut: connections end, and none comes about.  deaf: what is sent arrives, but no answer comes back."""

_CHUNK: Final = 65_536
_STOP_SECONDS: Final = 10.0


class Relay:
    """Passes connections on to a port of this machine, in a thread of its own. Ended with the block."""

    def __init__(self, target: int) -> None:
        """target: the port that is passed on to; nothing need listen there yet."""
        self._target = target
        self._weather: Weather = "open"
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0
        """The port that it listens on."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(_STOP_SECONDS)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(_STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()

    def turn(self, weather: Weather) -> None:
        """Let the network be so from now on; connections that no answer came back on are ended when it changes."""

        def change() -> None:
            if weather == "cut" or self._weather == "deaf":
                self._reset()
            self._weather = weather

        self._loop.call_soon_threadsafe(change)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._pass, "127.0.0.1", 0)

    async def _stop(self) -> None:
        self._server.close()
        self._reset()
        await asyncio.gather(*self._passing, return_exceptions=True)

    def _reset(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._passing.add(task)
            task.add_done_callback(self._passing.discard)
        if self._weather == "cut":
            writer.transport.abort()
            return
        try:
            there, onward = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:  # the console does not run
            writer.transport.abort()
            return
        ends = {writer, onward}
        self._writers |= ends
        try:
            await asyncio.gather(self._copy(reader, onward, answers=False), self._copy(there, writer, answers=True))
        finally:
            self._writers -= ends
            for end in ends:
                end.transport.abort()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while part := await reader.read(_CHUNK):
                if answers and self._weather == "deaf":
                    continue
                writer.write(part)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
