"""Worker slots: each running worker of a flow has one, and with it a transactional id that is stable.

Stability is what makes a killed process's transaction end soon: the next process in the slot calls
`init_transactions` under the same id, and the broker aborts what was pending. Under another id it would wait for
`transaction.timeout.ms`. Two living workers must never share a slot: they would fence each other for ever.

A supervisor names the slot (`TIDEMARK_SLOT`), beginning with its `place`. Where none does, a worker takes the first of
its host's slots that no living process holds. Either way it holds a file lock, which the kernel releases however the
process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tidemark.errors import ConfigError
from tidemark.runtime.private_files import private_folder

SLOT: Final = "TIDEMARK_SLOT"
_MACHINE_IDS: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_RANDOM_NODE: Final = 1 << 40
"""Bit of a network address that `uuid.getnode` sets where it found none and made one up."""
_SAFE: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(slots=True)
class Slot:
    """A held slot. `transactional_id`: `GROUP.SLOT`."""

    transactional_id: str
    _lock: IO[str]

    def release(self) -> None:
        """Let another worker have it."""
        self._lock.close()


def claim_slot(group: str, bootstrap: str, *, folder: Path, worker: int = 0, name: str | None = None) -> Slot:
    """The slot of a worker of `group` on the Kafka at `bootstrap`.

    folder: of the lock files.  worker: index of the worker thread in its process.  name: by default `TIDEMARK_SLOT`.

    Raises:
        ConfigError: another living process on this host holds the named slot, or the name is none.

    """
    named = os.environ.get(SLOT) or None if name is None else name
    private_folder(folder)
    cluster = hashlib.sha256(bootstrap.encode()).hexdigest()[:8]
    if named is not None:
        if not _SAFE.fullmatch(named):
            raise ConfigError(f"{SLOT}={named!r} is no slot name; use letters, digits, '.', '_' and '-'")
        slot = f"{named}-{worker}" if worker else named
        lock = _lock(folder / f"{group}.{slot}@{cluster}.lock")
        if lock is None:
            raise ConfigError(
                f"slot {slot!r} of {group} is held by another living process on this host; give each process its own "
                f"{SLOT}, or unset it and a free slot is taken"
            )
        return Slot(f"{group}.{slot}", lock)
    here = _host()[:64]
    index = 0
    while (lock := _lock(folder / f"{group}.{here}-{index}@{cluster}.lock")) is None:
        index += 1
    return Slot(f"{group}.{here}-{index}", lock)


def place(folder: Path) -> str:
    """Name of this host and this folder of state, which no other has: the slots of `tidemark up` begin with it.

    Two hosts may have one name (`localhost`, containers of an image), and on one host two folders of state may use one
    Kafka: neither sees the other's locks. So the machine's id, its network address and the folder are in it, as digits.
    """
    host = _host()[:40]
    parts = [host, str(folder.absolute())]
    for path in _MACHINE_IDS:
        with contextlib.suppress(OSError):
            parts.append(path.read_text(encoding="ascii", errors="replace").strip())
    address = uuid.getnode()
    if not address & _RANDOM_NODE:  # else it is another one at each start
        parts.append(f"{address:012x}")
    return f"{host}-{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:8]}"


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())


def _lock(path: Path) -> IO[str] | None:
    file = path.open("a", encoding="ascii")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
