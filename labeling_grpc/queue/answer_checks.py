"""What an answer or an amendment says, and what is asked of both alike."""

from __future__ import annotations

from collections.abc import Mapping

from labeling_grpc.commands.labeling import Accepted, Amend, Answer, Escalate
from labeling_grpc.commands.rules import QueueRules
from labeling_grpc.contract.errors import Reason, RefusedError
from tidemark.records import Candidate


def unknown_class(answer: Answer | Amend, rules: QueueRules, event_id: str) -> RefusedError | None:
    """Why it is refused, if it answers with none of the classes."""
    if answer.status != "answered" or answer.label in rules.classes:
        return None
    return RefusedError(
        Reason.UNKNOWN_CLASS,
        f"{answer.label!r} is none of the classes: {', '.join(rules.classes)}",
        field="label",
        event_id=event_id,
    )


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
