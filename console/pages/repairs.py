"""Dead letters repaired: one by its text, or all open ones of a kind by SQL; looked at before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from starlette.responses import HTMLResponse, Response

from console.dead_letters import DeadLetters, Repaired
from console.pages.common import Visit, frame
from console.pages.letters import dead_letters, editable, one_of
from console.rendering import rendered
from console.security.requests import RejectedError, form
from tidemark.errors import ConfigError, TidemarkError
from tidemark.replay import Letter

_SHOWN: Final = 10
"""Letters whose changes are shown."""
_LONGEST: Final = 4_000
"""Characters of SQL."""
_DIGITS: Final = 18

Way = tuple[list[Letter], Callable[[Letter], Letter]]
"""The letters that are meant, and what a repair makes of each."""


async def repair(visit: Visit) -> Response:
    """Show what a repair changes, or send what was looked at once more, exactly once, in the person's name."""
    place = await dead_letters(visit)
    fields = await form(visit.request)
    if fields.get("do") not in {"look", "send"}:
        raise RejectedError(400, "this is none of the things that are done to dead letters")
    try:
        told = await asyncio.to_thread(_dealt, visit, place, fields)
    except TidemarkError as error:
        told = _answer(visit, problem=str(error))
    return HTMLResponse(told)


def _dealt(visit: Visit, place: DeadLetters, fields: dict[str, str]) -> str:
    chosen, make = _one(place, fields) if "offset" in fields else _many(visit, place, fields)
    repaired = place.look(chosen, make)
    if fields["do"] == "look":
        return _answer(visit, repaired)
    if fields.get("looked", "") != repaired.digest:
        return _answer(visit, repaired, problem="It is no longer what you looked at, so nothing is sent: look again.")
    report = place.send(repaired)
    problem = f"{len(report.refused):,} can't be sent: {report.refused[0][1]}." if report.refused else ""
    return _answer(visit, sent=len(report.sent), problem=problem)


def _one(place: DeadLetters, fields: dict[str, str]) -> Way:
    """A letter by its place, and its whole text and key as the form's fields have them."""
    partition, offset = (fields.get(name, "") for name in ("partition", "offset"))
    if not all(each.isascii() and each.isdecimal() and len(each) <= _DIGITS for each in (partition, offset)):
        raise RejectedError(400, "this is no place of a dead letter")
    letter, mark = one_of(place, int(partition), int(offset))
    if mark is not None:
        raise ConfigError(f"It was {mark.state} meanwhile, by {mark.by}.")
    before = editable(place.whole(letter))
    if before is None:
        raise RejectedError(400, "this record can't be edited as a text")
    text = fields.get("text", before[0]).replace("\r\n", "\n")  # as forms send every line's end
    key = before[1] if before[1] is None else fields.get("key", before[1])

    def made(whole: Letter) -> Letter:
        own = whole.key if key == before[1] or key is None else key.encode() or None  # an emptied field is no key
        return replace(whole, value=text.encode(), key=own)

    return [letter], made


def _many(visit: Visit, place: DeadLetters, fields: dict[str, str]) -> Way:
    """The open letters of a kind, and SQL over each."""
    from tidemark.replay.corrections import Repair, assignments  # noqa: PLC0415 a second, which the start does not wait for
    from tidemark.sources.repaired import column_types  # noqa: PLC0415 as above

    if any(len(text) > _LONGEST for text in fields.values()):
        raise RejectedError(400, f"write at most {_LONGEST:,} characters")
    lines = [line for line in fields.get("fields", "").splitlines() if line.strip()]
    drop = tuple(name for name in (each.strip() for each in fields.get("drop", "").split(",")) if name)
    text, key = fields.get("text", "").strip(), fields.get("key", "").strip()
    if not (lines or drop or text or key):
        raise ConfigError("Say what to repair: a field, the whole text or the key.")
    repairing = Repair(assignments(lines), text or None, key or None, drop, column_types(visit.site.pipeline))
    return place.of_kind(fields.get("kind", "")).open, repairing


def _answer(visit: Visit, repaired: Repaired | None = None, *, sent: int | None = None, problem: str = "") -> str:
    """What is told below the form. sent: how many were; None where none was to be."""
    from tidemark.replay.corrections import difference  # noqa: PLC0415 as above

    shown = [] if repaired is None else repaired.changed[:_SHOWN]
    return rendered(
        "letters_repair.html",
        **frame(visit.site, visit.session, "letters"),
        looked=repaired,
        changes=[(after.origin, list(difference(before, after))) for before, after in shown],
        more=0 if repaired is None else len(repaired.changed) - len(shown),
        right=0 if repaired is None else len(repaired.right),
        sent=sent,
        problem=problem,
        most=_SHOWN,
    )
