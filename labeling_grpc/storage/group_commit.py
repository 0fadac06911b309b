"""The one thread that writes the queue's database: whatever is outstanding goes into one transaction.

A commit costs a disk flush. While one is under way commands gather, and the next group takes them all, so that the
flush is shared by as many callers as there are. While more wait, a group's callers are told when the next one is with
the database: told before, they would keep the interpreter from the thread that the others wait for, and leave it idle
while the database works. Callers that found no case to lease (long polls) are kept here too,
and are served first when cases come.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Final, Protocol

from labeling_grpc.commands.events import CaseEvent
from labeling_grpc.commands.labeling import (
    Applied,
    Command,
    Counts,
    LeaseCases,
    LeasedCase,
    LeaseRef,
    ReleaseLeases,
    Result,
    SubmitAnswers,
    Sweep,
)
from labeling_grpc.security.quiet import described
from labeling_grpc.storage.base import Store, StoreError, UnfitError

_GROUP: Final = 1_000
_IDLE_SECONDS: Final = 1.0
_CONTENDED_SECONDS: Final = 0.002
"""Until a lease is tried again that found less than waits, for another replica was looking at it."""

_PATIENCE_SECONDS: Final = 0.1
"""For how long one that would not wait for cases is tried again so."""

STALLED_SECONDS: Final = 10.0
"""A group takes milliseconds; a database that is alive fails a statement that takes long (see `stores.postgres`)."""

_BRIEF: Final = (LeaseCases, SubmitAnswers, Sweep)
"""Commands whose group nobody waits long for."""

Outcome = Result | Exception
Listener = Callable[[list[CaseEvent], Counts], None]

log = logging.getLogger(__name__)


class Reply(Protocol):
    """Where a result goes. Called by the writer's thread, once for each command."""

    @property
    def abandoned(self) -> bool:
        """Nobody waits for it any more."""
        ...

    def courier(self) -> Callable[[list[tuple[Reply, Outcome]]], None]:
        """Hands over results together with others of the same courier."""
        ...


class FutureReply:
    """Result for a thread that waits."""

    def __init__(self) -> None:
        self.future: Future[Result] = Future()

    @property
    def abandoned(self) -> bool:
        """A waiting thread is always there."""
        return False

    def courier(self) -> Callable[[list[tuple[Reply, Outcome]]], None]:
        """Set the futures one by one."""
        return _set_futures


def _set_futures(pairs: list[tuple[Reply, Outcome]]) -> None:
    for reply, outcome in pairs:
        if not isinstance(reply, FutureReply):
            raise TypeError(f"{type(reply).__name__} has another courier")
        if isinstance(outcome, Exception):
            reply.future.set_exception(outcome)
        else:
            reply.future.set_result(outcome)


class Stopping(Exception):  # noqa: N818 - a state of the service, as StopIteration is
    """The writer takes no more commands."""


class _Entry:
    __slots__ = ("command", "deadline", "reply")

    def __init__(self, command: Command, reply: Reply, deadline: float | None) -> None:
        self.command = command
        self.reply = reply
        self.deadline = deadline


class Writer:
    """Owns a store's transactions. `start`, then `submit` or `call` from any thread, then `stop`."""

    def __init__(self, store: Store, fatal: Callable[[Exception], None], *, max_parked: int = 5_000) -> None:
        """Keep at most `max_parked` long polls. fatal: called with a bug that ended the thread."""
        self._store = store
        self._fatal = fatal
        self._max_parked = max_parked
        self._inbox: queue.SimpleQueue[Sequence[_Entry] | None] = queue.SimpleQueue()
        self._parked: OrderedDict[int, _Entry] = OrderedDict()
        self._listeners: list[Listener] = []
        self._fresh = False
        self._contended = False
        self._untold: list[Callable[[], None]] = []
        self._failing = False
        self._begun: float | None = None
        self._waiting_allowed = True
        self._thread = threading.Thread(target=self._run, name="labeling-writer", daemon=True)
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    @property
    def store(self) -> Store:
        """The store it writes."""
        return self._store

    @property
    def parked(self) -> int:
        """Long polls that wait for a case."""
        return len(self._parked)

    @property
    def full(self) -> bool:
        """Whether another long poll would be one too many."""
        return len(self._parked) >= self._max_parked

    @property
    def stalled(self) -> bool:
        """Whether the database has worked on one group for so long that it must hang."""
        begun = self._begun
        return begun is not None and time.monotonic() - begun > STALLED_SECONDS

    @property
    def failing(self) -> bool:
        """Whether the database failed the last group."""
        return self._failing

    def start(self) -> None:
        """Begin to take commands."""
        self._thread.start()

    def let_go(self) -> None:
        """Answer long polls with nothing, now and from now on: the service is about to stop."""
        self._waiting_allowed = False
        self.look()

    def stop(self) -> None:
        """Answer what is outstanding, long polls with nothing, and end the thread."""
        with self._lock:
            self._stopping.set()
            self._inbox.put(None)
        self._thread.join()

    def listen(self, listener: Listener) -> None:
        """Have `listener` called, by the writer's thread, after each group that changed something."""
        self._listeners = [*self._listeners, listener]

    def forget(self, listener: Listener) -> None:
        """Call `listener` no more."""
        self._listeners = [known for known in self._listeners if known != listener]

    def look(self) -> None:
        """Another replica has added cases, or returned some: see whether somebody waits for them."""
        self._inbox.put([_Entry(Sweep(), FutureReply(), None)])

    def submit(self, command: Command, reply: Reply, *, wait: float = 0.0) -> None:
        """Put a command into the next group. `wait`: seconds that a `LeaseCases` may wait for its first case.

        Raises:
            Stopping: `stop` was called.

        """
        self.submit_together([(command, reply, wait)])

    def submit_together(self, asked: Iterable[tuple[Command, Reply, float]]) -> None:
        """Put commands, each with its reply and `wait`, into one group, which is one transaction.

        Raises:
            Stopping: `stop` was called.

        """
        now = time.monotonic()
        entries = [_Entry(command, reply, now + wait if wait > 0 else None) for command, reply, wait in asked]
        with self._lock:
            if self._stopping.is_set():
                raise Stopping
            self._inbox.put(entries)

    def call(self, command: Command, timeout: float = 60.0) -> Result:
        """Apply a command and wait for its result, at most `timeout` seconds.

        Raises:
            StoreError: the database can't be written.
            Stopping: `stop` was called.
            TimeoutError: it took longer.

        """
        reply = FutureReply()
        self.submit(command, reply)
        return reply.future.result(timeout)

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except Exception as error:  # noqa: BLE001 - the end of the thread, told to who can end the process
            self._fatal(error)
        finally:
            with self._lock:
                self._stopping.set()
            self._tell()
            self._refuse_rest()

    def _refuse_rest(self) -> None:
        outcomes: list[tuple[Reply, Outcome]] = [(entry.reply, []) for entry in self._parked.values()]
        self._parked.clear()
        while not self._inbox.empty():
            outcomes += [(entry.reply, Stopping()) for entry in self._inbox.get() or ()]
        _deliver(outcomes)

    def _turn(self) -> bool:
        """One group; False after the last."""
        entries, last = self._gather()
        group, late = self._grouped(entries)
        _deliver([(entry.reply, []) for entry in late])
        # Others may have changed something, or a database that failed may be back.
        idle = (self._store.shared or self._failing) and not entries and not last
        if group or idle or self._sweep_due():
            self._transact(group)
        return not last

    def _gather(self) -> tuple[list[_Entry], bool]:
        entries: list[_Entry] = []
        if self._inbox.empty():
            self._tell()
        timeout = self._patience()
        while len(entries) < _GROUP:
            try:
                together = self._inbox.get(timeout=timeout) if timeout else self._inbox.get_nowait()
            except queue.Empty:
                break
            if together is None:
                return entries, True
            entries += together
            timeout = 0.0
        return entries, False

    def _patience(self) -> float:
        """Seconds until there is something to do without being asked."""
        if self._fresh and self._parked and self._store.counts.waiting:
            return 0.0
        waits = [_CONTENDED_SECONDS if self._contended and self._parked else _IDLE_SECONDS]
        if self._store.next_lease_end is not None:
            waits.append((self._store.next_lease_end - self._store.clock.now()) / 1e6)
        if self._parked:
            first = min(entry.deadline or 0.0 for entry in self._parked.values())
            waits.append(first - time.monotonic())
        return max(min(waits), 0.001)

    def _sweep_due(self) -> bool:
        end = self._store.next_lease_end
        return end is not None and end <= self._store.clock.now()

    def _grouped(self, entries: Iterable[_Entry]) -> tuple[list[_Entry], list[_Entry]]:
        """Entries to apply now, long polls first; and long polls whose time is over."""
        now = time.monotonic()
        group: list[_Entry] = []
        late: list[_Entry] = []
        room = self._store.counts.waiting
        for key, entry in list(self._parked.items()) if self._parked else ():
            if entry.reply.abandoned:
                del self._parked[key]
            elif not self._waiting_allowed or (entry.deadline is not None and entry.deadline <= now):
                del self._parked[key]
                late.append(entry)
            elif room > 0 and isinstance(entry.command, LeaseCases):
                del self._parked[key]
                group.append(entry)
                room -= entry.command.count
        group += [entry for entry in entries if not entry.reply.abandoned]
        return group, late

    def _transact(self, group: Sequence[_Entry]) -> None:
        commands: list[Command] = [entry.command for entry in group] or [Sweep()]
        if not all(isinstance(command, _BRIEF) for command in commands):
            self._tell()
        waited = self._store.counts.waiting
        try:
            applied = self._applied(commands)
        except StoreError as error:
            self._unavailable(error)
            _deliver([(entry.reply, error) for entry in group])
            return
        except Exception as error:
            # A bug that one command brings to light must not take the others with it: each alone, from the same state.
            if len(group) > 1:
                for entry in group:
                    self._transact([entry])
                return
            if isinstance(error, UnfitError) and group:
                _deliver([(group[0].reply, error)])
                return
            log.error("a bug, at a %s: %s", type(commands[0]).__name__, described(error))  # noqa: TRY400 - its words
            if not group:
                raise
            _deliver([(group[0].reply, error)])
            return
        self._available()
        self._contended = applied.contended
        more = self._store.shared and applied.counts.waiting > waited
        self._fresh = more or any(event.kind in {"added", "returned", "requeued"} for event in applied.events)
        self._hand_out(group, applied)
        if applied.events or any(not isinstance(command, LeaseCases) for command in commands):
            for listener in self._listeners:
                self._untold.append(partial(listener, applied.events, applied.counts))

    def _applied(self, commands: Sequence[Command]) -> Applied:
        self._begun = time.monotonic()
        try:
            return self._store.transact(commands, self._tell)
        finally:
            self._begun = None
            self._tell()  # where it failed before it came to that

    def _tell(self) -> None:
        """Tell callers and listeners what became of the last group."""
        untold, self._untold = self._untold, []
        for tell in untold:
            tell()

    def _unavailable(self, error: StoreError) -> None:
        if not self._failing:  # once, not at each try
            log.error("%s", error)
        self._failing = True

    def _available(self) -> None:
        if self._failing:
            log.info("the queue's database answers again")
        self._failing = False

    def _hand_out(self, group: Sequence[_Entry], applied: Applied) -> None:
        done: list[tuple[Reply, Outcome]] = []
        for entry, result in zip(group, applied.results, strict=False):
            if applied.contended and entry.deadline is None and isinstance(entry.command, LeaseCases):
                entry.deadline = time.monotonic() + _PATIENCE_SECONDS
            if entry.deadline is not None and result == [] and self._waiting_allowed:
                self._parked[id(entry)] = entry
                continue
            done.append((entry.reply, result))
        self._untold.append(partial(_deliver, done))

    def give_back(self, leased: Iterable[LeasedCase]) -> None:
        """Release cases that were leased for a caller who is gone, and saw none of them.

        When stopping, their leases run out instead.
        """
        refs = tuple(LeaseRef(case.event_id, case.token) for case in leased)
        try:
            self.submit(ReleaseLeases(refs, passed=False), FutureReply())
        except Stopping:
            log.info("%d cases of a caller who is gone wait for the end of their leases", len(refs))


def _deliver(pairs: list[tuple[Reply, Outcome]]) -> None:
    if not pairs:
        return
    by_courier: dict[Callable[[list[tuple[Reply, Outcome]]], None], list[tuple[Reply, Outcome]]] = {}
    for reply, outcome in pairs:
        by_courier.setdefault(reply.courier(), []).append((reply, outcome))
    for courier, pairs_of in by_courier.items():
        courier(pairs_of)
