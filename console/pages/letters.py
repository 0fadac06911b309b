"""The Dead letters page: what could not be processed, by what was wrong; looked at, repaired, replayed, resolved.

For administrators, for a dead letter is a record as it came: where a column is hidden from administrators, it is not
shown at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from starlette.responses import HTMLResponse, Response

from console.dead_letters import MOST_REPAIRED, DeadLetters, kind_of, name_of_kind
from console.loop.kafka import kafka_settings
from console.pages.common import Visit, frame, verified
from console.rendering import rendered
from console.security.requests import RejectedError, form
from console.shown.formatting import NOTHING
from tidemark.errors import BrokerError, TidemarkError, TopicError
from tidemark.replay import Group, Letter, Mark, Report
from tidemark.runtime.safe_text import safe

_LONGEST: Final = 2_000
_SHOWN_BYTES: Final = 20_000
_EDITED_BYTES: Final = 16_000
"""Of a record that is edited here: escaped in a form it is three times as long, and a request is bounded."""


@dataclass(frozen=True, slots=True)
class Row:
    """A letter in the list. back: partition and offset of the dead letter that it has become after a replay."""

    letter: Letter
    state: str
    when: str
    back: tuple[int, int] | None


async def show(visit: Visit) -> Response:
    """Groups of letters, those with the most open ones first."""
    try:
        place = await dead_letters(visit)
    except BrokerError as error:
        return visit.page("letters.html", "letters", inner=_rendered(visit, None, str(error), bad=True))
    return visit.page("letters.html", "letters", inner=await _list(visit, place, "", bad=False))


async def of_kind(visit: Visit) -> Response:
    """The letters of one group."""
    place = await dead_letters(visit)
    wanted = visit.request.path_params["kind"]
    found = await asyncio.to_thread(place.of_kind, wanted)
    times = visit.site.times
    if not found.newest:
        raise RejectedError(404, "there are no dead letters of this kind")
    rows = [
        Row(
            each,
            found.marks.state(each).value,
            NOTHING if each.at is None else times.minute(each.at),
            found.came_back(each),
        )
        for each in reversed(found.newest)
    ]
    newest = found.newest[-1]
    return visit.page(
        "letters_kind.html",
        "letters",
        newest=newest,
        rows=rows,
        count=found.count,
        open=found.open_count,
        most=MOST_REPAIRED,
        reason=found.reason,
        kind=wanted,
        again=newest.sender is not None or newest.source is not None,
    )


async def one(visit: Visit) -> Response:
    """One letter, its record as it came."""
    place = await dead_letters(visit)
    params = visit.request.path_params
    letter, mark = await asyncio.to_thread(one_of, place, params["partition"], params["offset"])
    times = visit.site.times
    text = None if mark else editable(await asyncio.to_thread(place.whole, letter))
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
        text=text,
    )


def one_of(place: DeadLetters, partition: int, offset: int) -> tuple[Letter, Mark | None]:
    """A letter and what became of it.

    Raises:
        RejectedError: there is none at this place.

    """
    found = place.one(partition, offset)
    if found is None:
        raise RejectedError(404, f"there is no dead letter {partition}-{offset}")
    return found


def editable(letter: Letter) -> tuple[str, str | None] | None:
    """The record's text and its key's, as fields of a form give them back to the last character.

    Args:
        letter: with its whole record.

    Returns:
        Text and key; the key None where it is to stay as it is. None: the record is no such text, or is too long.

    """
    value = _field(letter.value, "\r\0")
    key = _field(letter.key or b"", "\r\n\0")
    sent = letter.source is not None or letter.sender is not None
    return None if letter.truncated or value is None or not sent else (value, key)


def _field(content: bytes | None, never: str) -> str | None:
    """A text that a form's field holds and shows as it is. never: characters that it would change."""
    if content is None or len(content) > _EDITED_BYTES:
        return None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    hidden = safe(text, lines=True) != text
    return None if hidden or set(text) & set(never) else text


async def act(visit: Visit) -> Response:
    """Replay or resolve the open letters of a group, exactly once, in the person's name."""
    place = await dead_letters(visit)
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
        found = place.of_kind(wanted).open
        return place.resolve(found, note) if what == "resolve" else place.replay(found)

    try:
        report = await asyncio.to_thread(deal)
    except TidemarkError as error:
        return HTMLResponse(await _list(visit, place, str(error), bad=True))
    did = "resolved" if what == "resolve" else "sent once more; what is still wrong with them comes back"
    told = f"{len(report.sent):,} {did}."
    if report.refused:
        told += f" {len(report.refused):,} can't be sent: {report.refused[0][1]}."
    return HTMLResponse(await _list(visit, place, told, bad=bool(report.refused)))


async def dead_letters(visit: Visit) -> DeadLetters:
    """Where they are, for who may see records as they came.

    Raises:
        RejectedError: a column is hidden from the role.
        TidemarkError: Kafka can't be asked.

    """
    role = await verified(visit)
    if any(role in roles for roles in visit.site.pipeline.labeling.hidden.values()):
        raise RejectedError(403, f"columns are hidden from the role {role}, and dead letters hold records as they came")
    await visit.site.watch.look()  # says within seconds that Kafka is down
    return DeadLetters(kafka_settings(visit.site.settings), visit.site.pipeline, visit.session.name)


async def _list(visit: Visit, place: DeadLetters, told: str, *, bad: bool) -> str:
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
