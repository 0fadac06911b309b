"""What is to be done about what somebody says in Label Studio, by what the labeling service has: no clock, no call.

The bridge asks again after each step, so that whatever failed in between, or was done by others, is seen. A step may be
repeated: an import is known by event and annotator, an answer by its lease, an amendment by what it supersedes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from labeling_grpc.client.values import CaseDetails, GivenAnswer
from labeling_grpc.label_studio.statements import Statement
from tidemark.records import ENDING

_OPEN: Final = frozenset({"waiting", "leased"})
BY_LEASE: Final = "\n"
"""Spent where an answer by the lease was refused: what no annotator is named."""


@dataclass(frozen=True, slots=True)
class Import:
    """Give the class in somebody's name, whoever holds the case."""

    annotator: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer by the bridge's own lease: the only way where a name has been used, and for a case that is gold."""


@dataclass(frozen=True, slots=True)
class Skip:
    """End the case without an answer, by the bridge's own lease."""


@dataclass(frozen=True, slots=True)
class Amend:
    """Supersede an annotation: with the class that is said, or with nothing where the task was skipped."""

    annotation_id: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """It is there. annotation_id: as which annotation, "" for none."""

    annotation_id: str = ""


@dataclass(frozen=True, slots=True)
class Comment:
    """Say it in a comment on the case, for it can be no answer any more."""

    why: str


Step = Import | Answer | Skip | Amend | Nothing | Comment


@dataclass(frozen=True, slots=True)
class Standpoint:
    """What the bridge knows beside the case.

    holder: its own name.  held: it has the lease.  given: the annotation that it gave for the same person and case
    before, "" for none.  begun: it began to give one, and may have been killed after that.  spent: names under which an
    import is refused by now, and `BY_LEASE`.
    """

    holder: str
    held: bool
    given: str = ""
    begun: bool = False
    spent: Collection[str] = frozenset()


def decide(case: CaseDetails, said: Statement, here: Standpoint) -> Step:
    """The next step to let a case say what somebody says in Label Studio.

    Args:
        case: as the labeling service has it now.
        said: what they say; it is clear.
        here: what the bridge knows.

    Returns:
        The step; `Nothing` and `Comment` are the last.

    """
    stands = standing(case.answers)
    if stands is not None and _said_since(stands, said, here):
        if said.label in {None, stands.label}:
            return Nothing(stands.annotation_id)
        return Comment(f"by the two clocks they have said '{stands.label or stands.status}' here since")
    if case.record.state in _OPEN:
        return _open(said, here)
    if stands is not None and stands.status == "answered":
        return _beside(stands, said, here)
    return Nothing() if said.label is None else _named(said, here)


def taken_back(case: CaseDetails, who: str, given: str, *, begun: bool) -> Step:
    """What to do where somebody has deleted in Label Studio what they said.

    Args:
        case: as the labeling service has it now.
        who: said it.
        given: the annotation that it was given as, "" for none.
        begun: the bridge was killed while it gave another, whose id it does not know.

    Returns:
        Its retraction, where it still stands.

    """
    stands = standing(case.answers)
    if stands is None or stands.status != "answered" or case.record.state in _OPEN:
        return Nothing()
    theirs = stands.annotation_id == given or (begun and stands.annotator == who)
    return Amend(stands.annotation_id) if theirs else Nothing()


def standing(answers: Iterable[GivenAnswer]) -> GivenAnswer | None:
    """The newest of a case's annotations that says what became of it, and is not superseded."""
    telling = [each for each in answers if each.status in ENDING]
    superseded = {each.supersedes for each in telling}
    stands = (each for each in telling if each.annotation_id not in superseded)
    return max(stands, key=lambda each: (each.at, each.annotation_id), default=None)


def _is_of(answer: GivenAnswer, said: Statement, here: Standpoint) -> bool:
    return answer.annotator == said.who or answer.annotation_id == here.given


def _said_since(stands: GivenAnswer, said: Statement, here: Standpoint) -> bool:
    """Whether the same person has answered here since, by the two clocks: no answer that the bridge gave itself."""
    own = here.begun or stands.annotation_id == here.given
    return stands.annotator == said.who and not own and 0 < said.at <= stands.at


def _beside(stands: GivenAnswer, said: Statement, here: Standpoint) -> Step:
    """What to do about a case that has a label."""
    if said.label is None and stands.annotation_id == here.given:
        return Amend(here.given)
    if said.label is not None and _is_of(stands, said, here):
        return Nothing(stands.annotation_id) if stands.label == said.label else Amend(stands.annotation_id)
    if here.held and BY_LEASE not in here.spent:
        return Answer() if said.label is not None else Skip()  # a gold case: it has a label, and is given out
    if said.label is None:
        return Nothing()
    return Comment(f"the case has the label '{stands.label}' of {stands.annotator}")


def _open(said: Statement, here: Standpoint) -> Step:
    by_lease = here.held and BY_LEASE not in here.spent
    if said.label is None:
        return Skip() if by_lease else Nothing()
    if said.who in here.spent and by_lease:
        return Answer()
    return _named(said, here)


def _named(said: Statement, here: Standpoint) -> Step:
    for name in (said.who, here.holder):
        if name not in here.spent:
            return Import(name)
    return Comment("no name is left under which the case can be given a label from Label Studio; answer it here")
