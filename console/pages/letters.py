"""The Dead letters page: what could not be processed, by what was wrong; looked at, replayed, resolved.

For administrators, for a dead letter is a record as it came: where a column is hidden from administrators, it is not
shown at all.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec
from starlette.responses import HTMLResponse, Response

from console.loop.kafka import kafka_settings
from console.pages.common import Visit, frame, verified
from console.rendering import rendered
from console.security.requests import RejectedError, form
from console.shown.formatting import NOTHING
from tidemark.errors import BrokerError, TidemarkError, TopicError
from tidemark.kafka import read_record, topic_incarnation
from tidemark.replay import Group, Letter, Mark, Marks, Replay, Report, State, grouped, letters, whole
from tidemark.replay.grouping import kind
from tidemark.runtime.settings import Settings

_LISTED: Final = 50
"""Newest letters of a kind that are listed."""
_MOST: Final = 10_000
"""Letters that one act deals with."""
_LONGEST: Final = 2_000
_SHOWN_BYTES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Row:
    """A letter in the list."""

    letter: Letter
    state: str
    when: str


def name_of_kind(step: str, topic: str, reason: str) -> str:
    """Digits that name a group of letters: of a step and a source, whose reasons are of one kind."""
    return hashlib.sha256(msgspec.json.encode((step, topic, reason))).hexdigest()[:16]


def kind_of(letter: Letter) -> str:
    """The group of a letter."""
    return name_of_kind(letter.step, letter.source.topic if letter.source else "", kind(letter.reason))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the letters are."""

    settings: Settings
    visit: Visit

    @property
    def topic(self) -> str:
        return self.visit.site.pipeline.topics.deadletter

    def marks(self) -> Marks:
        incarnation = topic_incarnation(self.settings, self.topic)
        try:
            return Marks.read(self.settings, self.visit.site.pipeline.topics.deadletter_marks, incarnation)
        except TopicError:  # nothing was ever marked
            return Marks(incarnation)

    def groups(self) -> list[Group]:
        marks = self.marks()
        return grouped((letter, marks.state(letter)) for letter in letters(self.settings, self.topic))

    def of_kind(self, wanted: str) -> tuple[list[Letter], Marks]:
        """The newest letters of a kind, oldest first."""
        found = [letter for letter in letters(self.settings, self.topic) if kind_of(letter) == wanted]
        return found[-_MOST:], self.marks()

    def one(self, partition: int, offset: int) -> tuple[Letter, Mark | None]:
        message = read_record(self.settings, self.topic, partition, offset)
        if message is None:
            raise RejectedError(404, f"there is no dead letter {partition}-{offset}")
        letter = Letter.of(message)
        return letter, self.marks().of(letter)

    def deal(self, what: str, chosen: list[Letter], note: str) -> Report:
        from tidemark.sources.resending import Resending  # noqa: PLC0415 half a second, which the start does not wait for

        pipeline = self.visit.site.pipeline
        again = Resending(pipeline)
        with Replay(self.settings, pipeline.topics, self.visit.session.name, again=again) as dealing:
            if what == "resolve":
                return dealing.resolve(chosen, note)
            still = [each if dealing.marks.of(each) else whole(self.settings, each) for each in chosen]
            return dealing.send(still)


async def show(visit: Visit) -> Response:
    """Groups of letters, those with the most open ones first."""
    try:
        place = await _place(visit)
    except BrokerError as error:
        return visit.page("letters.html", "letters", inner=_rendered(visit, None, str(error), bad=True))
    return visit.page("letters.html", "letters", inner=await _list(visit, place, "", bad=False))


async def of_kind(visit: Visit) -> Response:
    """The letters of one group."""
    place = await _place(visit)
    wanted = visit.request.path_params["kind"]
    found, marks = await asyncio.to_thread(place.of_kind, wanted)
    times = visit.site.times
    if not found:
        raise RejectedError(404, "there are no dead letters of this kind")
    rows = [
        Row(each, marks.state(each).value, NOTHING if each.at is None else times.minute(each.at))
        for each in reversed(found[-_LISTED:])
    ]
    return visit.page(
        "letters_kind.html", "letters", newest=found[-1], rows=rows, count=len(found), reason=kind(found[-1].reason)
    )


async def one(visit: Visit) -> Response:
    """One letter, its record as it came."""
    place = await _place(visit)
    params = visit.request.path_params
    letter, mark = await asyncio.to_thread(place.one, params["partition"], params["offset"])
    times = visit.site.times
    return visit.page(
        "letter.html",
        "letters",
        letter=letter,
        mark=mark,
        when=NOTHING if letter.at is None else times.moment(letter.at),
        marked="" if mark is None else times.moment(mark.at),
        key=_text(letter.key),
        value=_text(letter.value),
        headers=[(name, _text(value)) for name, value in letter.headers],
        kind=kind_of(letter),
    )


async def act(visit: Visit) -> Response:
    """Replay or resolve the open letters of a group, exactly once, in the person's name."""
    place = await _place(visit)
    fields = await form(visit.request)
    what, note = fields.get("do", ""), fields.get("note", "").strip()
    if what not in {"replay", "resolve"}:
        raise RejectedError(400, "this is none of the things that are done to dead letters")
    if what == "resolve" and not note:
        raise RejectedError(400, "say why nothing more is needed")
    if len(note) > _LONGEST:
        raise RejectedError(400, f"write at most {_LONGEST:,} characters")
    wanted = fields.get("kind", "")

    def deal() -> Report:
        found, marks = place.of_kind(wanted)
        return place.deal(what, [each for each in found if marks.state(each) is State.open], note)

    try:
        report = await asyncio.to_thread(deal)
    except TidemarkError as error:
        return HTMLResponse(await _list(visit, place, str(error), bad=True))
    did = "resolved" if what == "resolve" else "sent once more; what is still wrong with them comes back"
    told = f"{len(report.sent):,} {did}."
    if report.refused:
        told += f" {len(report.refused):,} can't be sent: {report.refused[0][1]}."
    return HTMLResponse(await _list(visit, place, told, bad=bool(report.refused)))


async def _place(visit: Visit) -> _Place:
    """Where they are, for who may see records as they came.

    Raises:
        RejectedError: a column is hidden from the role.
        TidemarkError: Kafka can't be asked.

    """
    role = await verified(visit)
    if any(role in roles for roles in visit.site.pipeline.labeling.hidden.values()):
        raise RejectedError(403, f"columns are hidden from the role {role}, and dead letters hold records as they came")
    await visit.site.watch.look()  # says within seconds that Kafka is down
    return _Place(kafka_settings(visit.site.settings), visit)


async def _list(visit: Visit, place: _Place, told: str, *, bad: bool) -> str:
    try:
        groups = await asyncio.to_thread(place.groups)
    except TopicError:  # the pipeline was never started
        groups = []
    return _rendered(visit, groups, told, bad=bad)


def _rendered(visit: Visit, groups: list[Group] | None, told: str, *, bad: bool) -> str:
    """The list. groups: None where they could not be read."""
    times = visit.site.times
    shown = [
        (
            group,
            name_of_kind(group.step, group.topic, group.reason),
            NOTHING if group.last is None else times.minute(group.last),
        )
        for group in groups or []
    ]
    return rendered(
        "letters_list.html",
        **frame(visit.site, visit.session, "letters"),
        groups=shown,
        none=groups == [],
        told=told,
        bad=bad,
    )


def _text(content: bytes | None) -> str:
    if content is None:
        return "(none)"
    text = content[:_SHOWN_BYTES].decode(errors="backslashreplace")
    return f"{text}\n… {len(content) - _SHOWN_BYTES:,} more bytes" if len(content) > _SHOWN_BYTES else text
