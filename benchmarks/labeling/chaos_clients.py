"""Annotators who do anything that the contract allows, and some more, and write down what they were told.

Longer than 400 lines: one annotator has all calls of the contract, the wrong ones too.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

import grpc
from google.protobuf.message import Message
from grpc_status import rpc_status

from labeling_grpc.contract.errors import RefusedError
from labeling_grpc.v1 import labeling_pb2 as pb
from labeling_grpc.v1 import labeling_pb2_grpc

Kind = Literal["lease", "submit", "skip", "renew", "release", "amend", "stats"]

OK: Final = "ok"
UNKNOWN: Final = "unknown"
"""No answer came: it may have been done, or not."""

STRANGER: Final = "nobody asked about this"
"""An event, an annotation and a class that do not exist."""

_LOST: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED})
_CHANNEL: Final[list[tuple[str, Any]]] = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.enable_retries", 0),
]
_TIMEOUT: Final = 5.0
_PAUSE: Final = 0.03
_GIVES_UP: Final = 0.03
_LEASES_MS: Final = (1_000, 1_000, 1_500, 3_000)


@dataclass(frozen=True, slots=True)
class Call:
    """A call, or one item of one, as its caller saw it.

    sent, received: wall clock, µs.  outcome: `OK`, `UNKNOWN`, or why it was refused.  key: the idempotency key, the
    lease's token where it had none; of an amendment the annotation that it supersedes.  until: when the lease ends.
    length: what was asked for, µs.  count: how often the case was leased.  open: cases that wait or are leased.
    """

    kind: Kind
    who: str
    sent: int
    received: int
    outcome: str
    event_id: str = ""
    token: str = ""
    key: str = ""
    label: str | None = None
    confidence: float | None = None
    comment: str | None = None
    annotation_id: str = ""
    supersedes: str = ""
    duplicate: bool = False
    until: int = 0
    length: int = 0
    count: int = 0
    released: bool = False
    open: int = 0

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.outcome == OK


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that the client was given."""

    event_id: str
    token: str


@dataclass(frozen=True, slots=True)
class Given:
    """An annotation that the client gave."""

    event_id: str
    annotation_id: str


@dataclass(slots=True)
class Client:
    """One annotator, who asks any of the services at `addresses`, and insists where no answer came.

    calls: shared by all; appending needs no lock.  give_up: when to insist no longer, of the monotonic clock.
    """

    name: str
    addresses: Sequence[str]
    classes: Sequence[str]
    seed: int
    calls: list[Call]
    give_up: float
    _chance: random.Random = field(init=False)
    _channels: list[grpc.Channel] = field(init=False)
    _held: list[Held] = field(default_factory=list)
    _past: list[Held] = field(default_factory=list)
    _given: list[Given] = field(default_factory=list)
    _keys: int = 0

    def __post_init__(self) -> None:
        """Connect."""
        self._chance = random.Random(self.seed)  # noqa: S311 seeded, no secret
        self._channels = [grpc.insecure_channel(address, options=_CHANNEL) for address in self.addresses]

    def close(self) -> None:
        """Disconnect."""
        for channel in self._channels:
            channel.close()

    def work(self, steps: int) -> None:
        """Do that many things."""
        acts: dict[Callable[[], object], int] = {
            self.lease: 4,
            self._answer: 5,
            self._answer_many: 2,
            self._answer_twice: 2,
            self._answer_otherwise: 1,
            self._answer_with_no_class: 1,
            self._answer_with_past_lease: 2,
            self._skip: 2,
            self._renew: 2,
            self._release: 2,
            self._forget: 1,
            self._amend: 3,
            self._ask_about_strangers: 1,
            self._stats: 1,
        }
        for act in self._chance.choices(list(acts), list(acts.values()), k=steps):
            act()

    def drain(self, over: Callable[[pb.QueueStats], bool]) -> bool:
        """Answer whatever comes until it is over, and tell whether it was in time."""
        while time.monotonic() < self.give_up:
            self.lease(count=50, wait_ms=100, length_ms=60_000)
            while self._held:
                self._submit([self._take() for _ in range(min(50, len(self._held)))])
            stats = self._stats()
            if stats is not None and over(stats):
                return True
            time.sleep(_PAUSE)
        return False

    # ---- what a client does ------------------------------------------------------------------------------------------

    def lease(self, count: int | None = None, wait_ms: int | None = None, length_ms: int | None = None) -> None:
        """Ask for cases."""
        request = pb.LeaseTasksRequest(
            annotator=self.name,
            max_tasks=self._chance.choice((1, 1, 2, 4)) if count is None else count,
            wait_ms=self._chance.choice((0, 0, 30)) if wait_ms is None else wait_ms,
            lease_ms=self._chance.choice(_LEASES_MS) if length_ms is None else length_ms,
        )
        response, outcome, sent, received = self._send("LeaseTasks", request)
        if response is None:  # what was leased for a caller who does not know comes back by itself
            self.calls.append(Call("lease", self.name, sent, received, outcome))
            time.sleep(_PAUSE)
            return
        for task in response.tasks:
            held = Held(task.case.event_id, task.lease_token)
            self.calls.append(
                Call(
                    "lease",
                    self.name,
                    sent,
                    received,
                    outcome,
                    held.event_id,
                    held.token,
                    until=task.lease_expires_at_us,
                    count=task.lease_count,
                )
            )
            self._held.append(held)

    def _answer(self) -> None:
        if self._some():
            self._submit([self._take()])

    def _answer_many(self) -> None:
        if self._some():
            self._submit([self._take() for _ in range(min(3, len(self._held)))])

    def _answer_twice(self) -> None:
        """The same at the same moment, as by a client with a time-out that was too short."""
        if not self._some():
            return
        request = self._annotations([self._take()], key=self._chance.random() < 0.5)
        self._submitted(request, *(self._send_all("SubmitLabels", request, 2)))

    def _answer_otherwise(self) -> None:
        """Another answer under the key of one that was given."""
        if not self._some():
            return
        held = self._take()
        first = self._annotations([held], key=True)
        self._insist_on(first)
        other = pb.SubmitLabelsRequest()
        other.CopyFrom(first)
        (annotation,) = other.annotations
        annotation.label = next(each for each in self.classes if each != annotation.label)
        self._insist_on(other)

    def _answer_with_no_class(self) -> None:
        if self._some():
            held = self._chance.choice(self._held)
            request = self._annotations([held], key=False)
            request.annotations[0].label = STRANGER
            self._insist_on(request)

    def _answer_with_past_lease(self) -> None:
        if self._past:
            self._insist_on(self._annotations([self._chance.choice(self._past)], key=self._chance.random() < 0.5))

    def _skip(self) -> None:
        if not self._some():
            return
        held = self._take()
        request = pb.SkipRequest(
            lease=pb.Lease(event_id=held.event_id, lease_token=held.token),
            reason=self._chance.choice(("", "no idea")),
            idempotency_key=self._key() if self._chance.random() < 0.5 else "",
        )

        def note(response: pb.SkipResponse | None, outcome: str, sent: int, received: int) -> None:
            self.calls.append(
                Call(
                    "skip",
                    self.name,
                    sent,
                    received,
                    outcome,
                    held.event_id,
                    held.token,
                    request.idempotency_key or held.token,
                    comment=request.reason or None,
                    annotation_id=response.annotation_id if response is not None else "",
                )
            )
            if response is not None:
                self._given.append(Given(held.event_id, response.annotation_id))

        self._insist("Skip", request, note)

    def _renew(self) -> None:
        """A lease that is held, or was."""
        known = [*self._held, *self._past[-3:]]
        if not known:
            return
        held = self._chance.choice(known)
        length = self._chance.choice(_LEASES_MS)
        request = pb.RenewLeaseRequest(leases=[_lease(held)], lease_ms=length)

        def note(response: pb.RenewLeaseResponse | None, outcome: str, sent: int, received: int) -> None:
            until = response.results[0].lease_expires_at_us if response is not None else 0
            named = (held.event_id, held.token)
            self.calls.append(
                Call("renew", self.name, sent, received, outcome, *named, until=until, length=length * 1_000)
            )

        self._insist("RenewLease", request, note)

    def _release(self) -> None:
        known = [*self._held, *self._past[-2:]]
        if not known:
            return
        held = self._chance.choice(known)
        if held in self._held:
            self._held.remove(held)
            self._past.append(held)

        def note(response: pb.ReleaseResponse | None, outcome: str, sent: int, received: int) -> None:
            released = response is not None and response.released == 1
            named = (held.event_id, held.token)
            self.calls.append(Call("release", self.name, sent, received, outcome, *named, released=released))

        self._insist("Release", pb.ReleaseRequest(leases=[_lease(held)]), note)

    def _forget(self) -> None:
        """Go away with a case in hand."""
        if self._some():
            self._take()

    def _amend(self) -> None:
        """Correct or take back what was given; sometimes what was amended before."""
        if not self._given:
            return
        given = self._chance.choice(self._given)
        label = self._chance.choice((*self.classes, None, STRANGER) if self._chance.random() < 0.2 else self.classes)
        request = pb.AmendLabelRequest(
            annotation_id=given.annotation_id,
            annotator=self.name,
            confidence=self._chance.choice((None, 0.75)),
            comment=self._chance.choice(("", "second thoughts")),
            idempotency_key=self._key() if self._chance.random() < 0.5 else "",
        )
        if label is None:
            request.retract = True
        else:
            request.label = label

        def note(response: pb.AmendLabelResponse | None, outcome: str, sent: int, received: int) -> None:
            self.calls.append(
                Call(
                    "amend",
                    self.name,
                    sent,
                    received,
                    outcome,
                    given.event_id,
                    key=request.idempotency_key or given.annotation_id,
                    label=label,
                    confidence=request.confidence if request.HasField("confidence") else None,
                    comment=request.comment or None,
                    annotation_id=response.annotation_id if response is not None else "",
                    supersedes=given.annotation_id,
                    duplicate=response is not None and response.duplicate,
                )
            )
            if response is not None:
                self._given.append(Given(given.event_id, response.annotation_id))

        self._insist("AmendLabel", request, note)

    def _ask_about_strangers(self) -> None:
        """What nobody asked about is unknown, whatever happens."""
        self._insist_on(self._annotations([Held(STRANGER, STRANGER)], key=False))

    def _stats(self) -> pb.QueueStats | None:
        response, outcome, sent, received = self._send("Stats", pb.StatsRequest())
        stats = None if response is None else cast("pb.QueueStats", response.stats)
        waiting = 0 if stats is None else stats.waiting_explore + stats.waiting_active + stats.leased
        self.calls.append(Call("stats", self.name, sent, received, outcome, open=waiting))
        return stats

    # ---- how ---------------------------------------------------------------------------------------------------------

    def _some(self) -> bool:
        """Whether a case is in hand, after asking for one where there is none."""
        if not self._held:
            self.lease()
        return bool(self._held)

    def _take(self) -> Held:
        held = self._held.pop(self._chance.randrange(len(self._held)))
        self._past.append(held)
        return held

    def _key(self) -> str:
        self._keys += 1
        return f"{self.name}-{self._keys}"

    def _submit(self, held: Sequence[Held]) -> None:
        self._insist_on(self._annotations(held, key=self._chance.random() < 0.5))

    def _annotations(self, held: Sequence[Held], *, key: bool) -> pb.SubmitLabelsRequest:
        return pb.SubmitLabelsRequest(
            annotations=[
                pb.Annotation(
                    event_id=each.event_id,
                    lease_token=each.token,
                    label=self._chance.choice(self.classes),
                    idempotency_key=self._key() if key else "",
                    confidence=self._chance.choice((None, 0.25, 1.0)),
                    comment=self._chance.choice(("", "sure")),
                )
                for each in held
            ]
        )

    def _insist_on(self, request: pb.SubmitLabelsRequest) -> None:
        def note(response: pb.SubmitLabelsResponse | None, outcome: str, sent: int, received: int) -> None:
            self._submitted(request, (response, outcome, sent, received))

        self._insist("SubmitLabels", request, note)

    def _submitted(self, request: pb.SubmitLabelsRequest, *answers: tuple[Any, str, int, int]) -> None:
        for response, outcome, sent, received in answers:
            results = [None] * len(request.annotations) if response is None else response.results
            for annotation, result in zip(request.annotations, results, strict=True):
                refused = None if result is None else RefusedError.of(result.error)
                taken = result is not None and refused is None
                self.calls.append(
                    Call(
                        "submit",
                        self.name,
                        sent,
                        received,
                        outcome if refused is None else refused.reason.value,
                        annotation.event_id,
                        annotation.lease_token,
                        annotation.idempotency_key or annotation.lease_token,
                        annotation.label,
                        annotation.confidence if annotation.HasField("confidence") else None,
                        annotation.comment or None,
                        annotation_id=result.annotation_id if taken else "",
                        duplicate=taken and result.duplicate,
                    )
                )
                if taken:
                    self._given.append(Given(annotation.event_id, result.annotation_id))

    def _insist(self, method: str, request: Message, note: Callable[[Any, str, int, int], None]) -> None:
        """Repeat a call until there is an answer, and note each try; now and then give up, as people do."""
        while True:
            response, outcome, sent, received = self._send(method, request)
            note(response, outcome, sent, received)
            if outcome != UNKNOWN or self._chance.random() < _GIVES_UP or time.monotonic() > self.give_up:
                return
            time.sleep(_PAUSE)

    def _send(self, method: str, request: Message) -> tuple[Any, str, int, int]:
        (answer,) = self._send_all(method, request, 1)
        return answer

    def _send_all(self, method: str, request: Message, times: int) -> list[tuple[Any, str, int, int]]:
        """The same call `times` times at once: what each was answered, when it was sent and answered."""
        sent = now()
        calls = [
            getattr(labeling_pb2_grpc.LabelingServiceStub(self._chance.choice(self._channels)), method).future(
                request, timeout=_TIMEOUT
            )
            for _ in range(times)
        ]
        answers: list[tuple[Any, str, int, int]] = []
        for call in calls:
            try:
                response, outcome = call.result(), OK
            except grpc.RpcError as error:
                response, outcome = None, _told(error)
            answers.append((response, outcome, sent, now()))
        return answers


def now() -> int:
    """Wall clock, µs."""
    return time.time_ns() // 1_000


def _lease(held: Held) -> pb.Lease:
    return pb.Lease(event_id=held.event_id, lease_token=held.token)


def _told(error: grpc.RpcError) -> str:
    """Why a call was refused, by its reason; by its status where it has none."""
    call = cast("grpc.Call", error)
    if call.code() in _LOST:
        return UNKNOWN
    status = rpc_status.from_call(call)
    refused = None if status is None else RefusedError.of(status)
    return refused.reason.value if refused is not None else f"{call.code().name}: {call.details()}"
