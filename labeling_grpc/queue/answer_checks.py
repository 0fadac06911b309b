"""What an answer or an amendment says, and what is asked of both alike.

Whatever a way in is called (gRPC, REST, the console, a file, a program, a bulk), its answers come to the queue as
commands. `canonical` is where each of them becomes the one text by which it is kept and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec

from labeling_grpc.commands.administration import ImportLabels
from labeling_grpc.commands.labeling import Accepted, AddGold, Amend, Answer, Command, Escalate, SubmitAnswers
from labeling_grpc.contract.errors import Reason, RefusedError
from tidemark.consensus.scales import Scale
from tidemark.records import Candidate


def canonical(command: Command, scale: Scale) -> Command:
    """A command with its answers as they are kept. What is no answer stays: the handlers refuse it, each by itself."""
    match command:
        case SubmitAnswers(answers):
            return replace(command, answers=tuple(_answer(each, scale) for each in answers))
        case ImportLabels(labels=labels):
            return replace(command, labels=tuple(replace(each, label=_kept(each.label, scale)) for each in labels))
        case Amend(label=str(label)):
            return replace(command, label=_kept(label, scale))
        case AddGold(answers):
            return replace(command, answers=tuple((event, _kept(label, scale)) for event, label in answers))
        case _:
            return command


def _answer(answer: Answer, scale: Scale) -> Answer:
    return answer if answer.label is None else msgspec.structs.replace(answer, label=_kept(answer.label, scale))


def _kept(label: str, scale: Scale) -> str:
    try:
        return scale.read(label)
    except ValueError:
        return label


def no_answer(
    label: str | None, scale: Scale, event_id: str = "", *, field: str = "label", status: str = "answered"
) -> RefusedError | None:
    """Why a label is refused, if it is neither a class nor a number within the bounds, where the status needs one."""
    if status != "answered":
        return None
    try:
        scale.read(label or "")
    except ValueError as error:
        return RefusedError(Reason.UNKNOWN_CLASS, str(error), field=field, event_id=event_id)
    return None


def known_too_early(answer: Answer | Amend, candidate: Candidate, what: str) -> RefusedError | None:
    """Why it is refused, if it says to be known before its event."""
    if answer.known_at is None or answer.known_at >= candidate.time:
        return None
    return RefusedError(
        Reason.INVALID_FIELD,
        f"known_at ({answer.known_at}) is before the event itself ({candidate.time}): give the event time from "
        f"which the {what} may be used, in µs",
        field="known_at_us",
        event_id=candidate.event_id,
    )


def repeated(
    answer: Answer | Amend | Escalate, earlier: Mapping[str, object], about: Mapping[str, str], reused: str
) -> Accepted | RefusedError:
    """What a repetition gets: what it got before, if it is the same.

    earlier: the annotation that its idempotency key stands for.  about: columns in which it names what it is about.
    reused: what else was taken under the key, for the refusal.  What was kept as a vote, or is of a gold case, is an
    answer if it has a class, else a skip.
    """
    same = (
        all(earlier[column] == value for column, value in about.items())
        and earlier["status"] in {answer.status, "vote", "gold"}
        and earlier["label"] == answer.label
        and earlier["confidence"] == answer.confidence
        and earlier["comment"] == answer.comment
        and (answer.known_at is None or earlier["known_at"] == answer.known_at)
    )
    if same:
        return Accepted(str(earlier["id"]), duplicate=True)
    return RefusedError(Reason.KEY_REUSED, reused, field="idempotency_key", event_id=str(earlier["event_id"]))
