"""One annotator's sitting: which case is before them, what they decided, what of it the service has. No terminal."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from labeling_grpc.client import (
    Annotation,
    AsyncLabelingClient,
    CaseDetails,
    Comment,
    Reason,
    RefusedError,
    Stats,
    Task,
    UnreachableError,
)
from labeling_grpc.client.messages import one
from tidemark.cli.sitting.decisions import Decision, Intent
from tidemark.errors import LabelingError
from tidemark.runtime.safe_text import safe

LEASE_SECONDS: Final = 120.0
"""Renewed for as long as the case is on the screen; a closed lid gives the case to others after this time."""

UNDONE: Final = 10
"""Decisions that can be gone back to."""

_COMMENTS: Final = 500
"""Comments of a case that are read."""

_AGAIN: Final = 0.5
_RATED: Final = 20.0
"""Seconds after which a rate means something."""

_SHOWN: Final = 10.0
"""Seconds for which a notice stays."""

_AWAY: Final = {Reason.STOPPING, Reason.STORE_UNAVAILABLE, Reason.TOO_MANY_CALLS}

T = TypeVar("T")


class Sitting:
    """What the screen shows, and what the keys do. Lives in one event loop."""

    def __init__(
        self,
        client: AsyncLabelingClient,
        *,
        most: int | None = None,
        wait: bool = True,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare.

        Args:
            client: Of the service. Its patience is how long a call is tried before it is said that the service is away.
            most: End after so many answers, skips and escalations.
            wait: For more cases, when none is left.
            changed: Called when there is something else to show.

        """
        self.changed = changed
        self.answered = self.skipped = self.escalated = 0
        self.task: Task | None = None
        self.details: CaseDetails | None = None
        self.comments: list[Comment] = []
        self.comment = ""
        self.stats: Stats | None = None
        self.agreed = ""
        self.notice = ""
        self.away_since: float | None = None
        self.unsent: Intent | None = None
        self.past: deque[Decision] = deque(maxlen=UNDONE)
        self.looking_back: Decision | None = None
        self.ended = ""
        self._began = time.monotonic()
        self._noticed = 0.0
        self._client = client
        self._most = most
        self._wait = wait
        self._next: list[Task] = []
        self._kept: dict[str, Intent] = {}
        self._decided: asyncio.Future[Intent] | None = None
        self._amending: asyncio.Task[None] | None = None

    @property
    def minute_rate(self) -> float | None:
        """Answers a minute; None while it is too early to say."""
        seconds = time.monotonic() - self._began
        return None if seconds < _RATED else 60.0 * self.answered / seconds

    @property
    def shown(self) -> Task | None:
        """The case on the screen: the one that is asked, or an earlier one."""
        return self.task if self.looking_back is None else self.looking_back.task

    @property
    def known(self) -> CaseDetails | None:
        """What else is known of the case on the screen, once it was looked up."""
        details, shown = self.details, self.shown
        return details if details is not None and shown is not None and _is_of(details, shown) else None

    @property
    def draft(self) -> str:
        """The comment that will go with the answer to the case on the screen."""
        return self.comment if self.looking_back is None else self.looking_back.comment

    def say(self, text: str) -> None:
        """Show a notice for a moment."""
        self.notice, self._noticed = text, time.monotonic()
        asyncio.get_running_loop().call_later(_SHOWN, self._fade)
        self.changed()

    async def run(self) -> None:
        """Show cases until there is an end to it; what is not answered is given back.

        Raises:
            RefusedError: The service gives out no cases, and says why.

        """
        while self._left() != 0:
            tasks = self._next or await self._patiently(
                lambda: self._client.lease(wait=1.0 if self._wait else 0.0, lease=LEASE_SECONDS)
            )
            self._next = []
            if tasks:
                await self._ask(tasks[0])
                continue
            if not self._wait:
                self.ended = "no case is waiting"
                return
            self.stats = await self._patiently(self._client.stats)
            self.changed()

    def decide(self, intent: Intent) -> None:
        """Decide the case before the person; or, looking back, amend what was decided."""
        if self.looking_back is not None:
            if intent.kind == "answer":
                self._amend(self.looking_back, intent.text)
            else:
                self.say("an earlier case: an answer corrects it, Backspace takes it back, Esc leaves it")
        elif self.unsent is not None:
            self.say("wait: the answer before is on its way")
        elif self._decided is None or self._decided.done():
            self.say("no case is waiting")
        else:
            self.unsent = intent
            self._decided.set_result(intent)
            self.changed()

    def confirm(self) -> None:
        """Send what was decided of this very case while the service was away."""
        kept = None if self.task is None or self.looking_back is not None else self._kept.get(self.task.event_id)
        if kept is None:
            self.say("Enter is no answer here: ? shows the keys")
        else:
            self.decide(kept)

    def look_back(self) -> None:
        """Go one decision further back."""
        places = list(self.past)
        at = len(places) if self.looking_back is None else places.index(self.looking_back)
        if self.unsent is not None or self._busy():
            self.say("wait: the answer before is on its way")
        elif at == 0:
            self.say(f"nothing further back: the last {UNDONE} can be undone" if places else "nothing to undo")
        else:
            self.looking_back = places[at - 1]
            self.changed()

    def look_ahead(self) -> None:
        """Back to the case that is asked."""
        self.looking_back = None
        self.changed()

    def take_back(self) -> None:
        """Take back the decision that is looked at; nothing takes its place."""
        if self.looking_back is None:
            self.say("nothing is taken back here: z goes back to what was answered")
        else:
            self._amend(self.looking_back, None)

    def write(self, comment: str) -> None:
        """Keep what will go with the answer to the case on the screen."""
        if self.looking_back is None:
            self.comment = comment
        else:
            self.looking_back.comment = comment
        self.changed()

    async def tell(self, text: str) -> None:
        """Say something of the case to whoever is given it."""
        task = self.shown
        if task is None:
            return
        try:
            await self._patiently(lambda: self._client.comment(task.event_id, text))
        except RefusedError as refusal:
            self._refused(refusal)
            return
        told = Comment(self._client.annotator, text, 0)
        if self.task is not None and self.task.event_id == task.event_id:
            self.task = replace(self.task, comments=(*self.task.comments, told))
        self.comments = [told, *self.comments]
        self.say("told")

    async def look_up(self) -> None:
        """Read what else is known of the case on the screen."""
        task = self.shown
        if task is None:
            return
        try:
            details = await self._client.case(task.event_id, most=10)
            comments: list[Comment] = []
            async for comment in self._client.comments(task.event_id):
                comments.append(comment)
                if len(comments) == _COMMENTS:
                    break
        except UnreachableError:
            self.say("the service does not answer: no more is known of this case now")
        except RefusedError as refusal:
            self.say(f"no more is known of this case: {safe(str(refusal))}")
        else:
            if self.shown is not None and self.shown.event_id == task.event_id:
                self.details, self.comments = details, comments
                self.changed()

    def _left(self) -> int | None:
        return None if self._most is None else self._most - self.answered - self.skipped - self.escalated

    def _busy(self) -> bool:
        return self._amending is not None and not self._amending.done()

    async def _ask(self, task: Task) -> None:
        """Show a case until it is decided, and let the service have what was decided."""
        self.task, self.details, self.comments, self.comment = task, None, [], ""
        self._decided = asyncio.get_running_loop().create_future()
        self.changed()  # before any key: it closes what was open for the case before, and nothing that is opened after
        kept = self._kept.get(task.event_id)
        if kept is not None:
            self.say(f"you answered {safe(kept.text)} when the service was away: Enter sends it")
        renewing = asyncio.create_task(self._renew(task))
        around = asyncio.create_task(self._look_around())
        try:
            intent = await self._decided
            await self._send(task, intent)
        except asyncio.CancelledError:
            await self._give_back(task)
            raise
        finally:
            renewing.cancel()
            around.cancel()
            self.task = self.unsent = self._decided = None
            self.changed()

    async def _send(self, task: Task, intent: Intent) -> None:
        comment = self.comment
        try:
            match intent.kind:
                case "answer":
                    answer = Annotation(task, intent.text, comment=comment)
                    self._done(Decision(task, intent.text, await self._answer(answer), comment))
                case "skip":
                    said = await self._patiently(lambda: self._client.skip(task, comment))
                    self._done(Decision(task, None, said, comment))
                case "escalate":
                    await self._patiently(lambda: self._client.escalate(task, intent.text))
                    self.escalated += 1
                    self.say("escalated to the reviewers")
                case "give back":
                    await self._give_back(task)
                    self.say("given back")
        except RefusedError as refusal:
            if refusal.reason is Reason.STALE_LEASE and intent.kind == "answer":
                self._kept[task.event_id] = intent
            self._refused(refusal)

    async def _answer(self, answer: Annotation) -> str:
        """Answer and have the next case at once; the annotation's id. Why none is given, the next lease tells."""
        if self._left() == 1:
            return one(await self._patiently(lambda: self._client.submit_many([answer]))).annotation_id
        turn = await self._patiently(lambda: self._client.submit_and_lease([answer], lease=LEASE_SECONDS))
        self._next = turn.tasks
        return one(turn.outcomes).annotation_id

    def _done(self, decision: Decision) -> None:
        self._kept.pop(decision.task.event_id, None)
        self._count(decision.label, 1)
        self.past.append(decision)
        self.say(f"{decision.text}   (z undoes it)")

    def _count(self, label: str | None, change: int) -> None:
        if label is None:
            self.skipped += change
        else:
            self.answered += change

    def _amend(self, decision: Decision, label: str | None) -> None:
        if self._busy():
            self.say("wait: the correction before is on its way")
        else:
            self._amending = asyncio.create_task(self._amended(decision, label))

    async def _amended(self, decision: Decision, label: str | None) -> None:
        before = decision.annotation_id
        try:
            if label is None:
                amendment = await self._patiently(lambda: self._client.retract(before))
            else:
                amendment = await self._patiently(lambda: self._client.amend(before, label, comment=decision.comment))
        except RefusedError as refusal:
            self._refused(refusal)
            return
        self._count(decision.label, -1)
        if label is None:
            self.past.remove(decision)
            self.say(f"taken back: {decision.text}")
        else:
            decision.label, decision.annotation_id = label, amendment.annotation_id
            self._count(label, 1)
            self.say(f"corrected: {decision.text}")
        self.look_ahead()

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call, again and again while the service is away: every call of the client is safe to repeat."""
        while True:
            try:
                result = await call()
            except LabelingError as error:
                if not _away(error):
                    raise
                if self.away_since is None:
                    self.away_since = time.time()
                self.changed()
                await asyncio.sleep(_AGAIN)
                continue
            if self.away_since is not None:
                self.away_since = None
                self.say("the service is back")
            return result

    async def _renew(self, task: Task) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                (outcome,) = await self._client.renew([task], LEASE_SECONDS)
            except UnreachableError:
                continue  # the lease may last until it is back; what is answered tells
            if isinstance(outcome, RefusedError):
                self.say(f"no longer yours: {safe(str(outcome))}")
                return

    async def _look_around(self) -> None:
        """How much waits, and, once there is a model, what it says of the case now."""
        try:
            self.stats = await self._client.stats()
            self.agreed = (await self._client.progress()).agreed
        except RefusedError as refusal:
            if refusal.reason is not Reason.UNKNOWN_ANNOTATOR:  # of somebody who has answered nothing yet
                return
        except LabelingError:
            return  # the figures of before stay; the next call that decides something tells
        self.changed()
        if self.stats is not None and self.stats.ranked_by:
            await self.look_up()

    async def _give_back(self, task: Task) -> None:
        try:
            await self._client.release([task])
        except UnreachableError:
            self.ended = "the service is away: the case comes back to the queue when its lease ends"

    def _refused(self, refusal: RefusedError) -> None:
        self.say(f"not taken: {safe(str(refusal))}")

    def _fade(self) -> None:
        if time.monotonic() - self._noticed >= _SHOWN - 0.1:
            self.notice = ""
            self.changed()


def _is_of(details: CaseDetails, task: Task) -> bool:
    return details.record.case.event_id == task.event_id


def _away(error: LabelingError) -> bool:
    """Whether the same call may pass later."""
    return isinstance(error, UnreachableError) or (isinstance(error, RefusedError) and error.reason in _AWAY)
