"""A process of its own that loads a model text with LightGBM and predicts, so that a bad text can't kill ours.

LightGBM checks little of what it loads: of random mutations of a model text, two in five crashed or hung it, without
an exception. The helper has limits on memory and processor time, sees none of the environment's secrets, and is
killed at a time-out. It is started with `python -m tidemark.registry.sandbox` when it is first needed.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from tidemark.errors import ModelError

MEMORY_LIMIT: Final = 4 << 30
"""Bytes of address space; LightGBM and OpenBLAS reserve far more than they use."""
START_TIMEOUT: Final = 60.0
"""Seconds to import LightGBM, on a machine that is busy."""

_REQUEST = struct.Struct("<QII")
_REPLY = struct.Struct("<BI")
_READY: Final = b"R"
_OK: Final = 0
_REFUSED: Final = 1


class Sandbox:
    """Loads models in a helper process. One request at a time; a helper that died is replaced by the next one.

    timeout: seconds for a request, of the wall clock and of processor time.
    deaths: helpers that crashed or had to be killed so far.
    """

    def __init__(self, *, timeout: float = 20.0) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.deaths = 0

    def raw_scores(self, text: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Raw scores (n, trees an iteration) that LightGBM gives `rows`, (n, features) float64, NaN is missing.

        Raises:
            ModelError: LightGBM refuses the text, crashes on it, or does not answer in time.

        """
        body = text.encode()
        data = np.ascontiguousarray(rows, np.float64)
        with self._lock:
            process = self._running()
            request = _REQUEST.pack(len(body), *data.shape) + body + data.tobytes()
            deadline = time.monotonic() + self._timeout
            try:
                self._write(process, request, deadline)
                status, size = _REPLY.unpack(self._read(process, _REPLY.size, deadline))
                payload = self._read(process, size, deadline)
            except (EOFError, BrokenPipeError, TimeoutError) as error:
                raise ModelError(f"LightGBM {self._post_mortem(error)} while loading the model") from error
        if status != _OK:
            raise ModelError(f"LightGBM refuses the model: {payload.decode(errors='replace')[:500]}")
        return np.frombuffer(payload, np.float64).reshape(len(data), -1)

    def close(self) -> None:
        """End the helper process, if there is one."""
        with self._lock:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tidemark.registry.sandbox", str(int(self._timeout) + 1)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for us; we end the helper
        )
        self._process = process
        for stream in (process.stdin, process.stdout):
            os.set_blocking(_pipe(stream).fileno(), False)
        try:
            ready = self._read(process, 1, time.monotonic() + START_TIMEOUT)
        except (EOFError, TimeoutError) as error:
            raise ModelError(
                f"the model sandbox {self._post_mortem(error)} at its start; "
                "does `python -c 'import lightgbm'` work here?"
            ) from error
        if ready != _READY:
            self._end()
            raise ModelError(f"the model sandbox answered {ready!r} at its start")
        return process

    def _post_mortem(self, error: Exception) -> str:
        self.deaths += 1
        if isinstance(error, TimeoutError):
            self._end()
            return f"did not answer within {self._timeout:g} s and was killed"
        process = self._process
        code = process.wait(10) if process is not None else 0
        self._end()
        return f"died ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                _pipe(stream).close()

    @staticmethod
    def _write(process: subprocess.Popen[bytes], content: bytes, deadline: float) -> None:
        descriptor = _pipe(process.stdin).fileno()
        view = memoryview(content)
        while view:
            _wait(descriptor, selectors.EVENT_WRITE, deadline)
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(descriptor, view[: 1 << 16]) :]

    @staticmethod
    def _read(process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
        descriptor = _pipe(process.stdout).fileno()
        content = bytearray()
        while len(content) < size:
            _wait(descriptor, selectors.EVENT_READ, deadline)
            part = os.read(descriptor, size - len(content))
            if not part:
                raise EOFError
            content += part
        return bytes(content)


def _wait(descriptor: int, event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, event)
        if not selector.select(max(deadline - time.monotonic(), 0)):
            raise TimeoutError


def _pipe(stream: object) -> BinaryIO:
    return stream  # type: ignore[return-value]  # both are pipes


def _environment() -> dict[str, str]:
    """Just what Python and LightGBM need: no secret of ours reaches the helper."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in kept if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    return env | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


# ---- the helper's side -------------------------------------------------------------------------------------


def _limit(processor_seconds: int) -> None:
    import resource  # noqa: PLC0415 - the helper's alone

    used = resource.getrusage(resource.RUSAGE_SELF)
    allowed = int(used.ru_utime + used.ru_stime) + processor_seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _serve(source: BinaryIO, sink: BinaryIO, processor_seconds: int) -> None:
    import resource  # noqa: PLC0415

    for name in ("sklearn", "pandas", "matplotlib", "pyarrow", "dask"):
        sys.modules[name] = None  # type: ignore[assignment]  # optional to LightGBM, and half of its import time
    from lightgbm.basic import Booster, LightGBMError  # noqa: PLC0415

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS does not enforce it and may refuse it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    sink.write(_READY)
    sink.flush()
    while header := source.read(_REQUEST.size):
        size, count, width = _REQUEST.unpack(header)
        text = source.read(size).decode()
        rows = np.frombuffer(source.read(count * width * 8), np.float64).reshape(count, width)
        _limit(processor_seconds)
        try:
            booster = Booster(model_str=text)
            scores = booster.predict(rows, raw_score=True, num_threads=1)
            status, payload = _OK, np.asarray(scores, np.float64).tobytes()
        except (LightGBMError, ValueError, MemoryError) as error:
            status, payload = _REFUSED, f"{type(error).__name__}: {error}".encode()
        sink.write(_REPLY.pack(status, len(payload)) + payload)
        sink.flush()


def main() -> None:
    """Serve requests from standard input until it ends."""
    with os.fdopen(os.dup(1), "wb") as sink:  # LightGBM itself writes to standard output
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - a device
            os.dup2(nowhere.fileno(), 1)
        _serve(sys.stdin.buffer, sink, int(sys.argv[1]))


if __name__ == "__main__":
    main()
