"""What a run of `benchmarks.labeling.chaos` must have left, from what clients saw and what is in Kafka alone.

The rules are those of docs/explanation/labeling.md and docs/guarantees.md. Each check counts violations of one. Times
are the wall clock's, µs: all runs on one machine. A check goes by what is certain: a call may have been done at any
moment from when it was sent to when it was answered; one without an answer may have been done, or not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from benchmarks.labeling.chaos_clients import OK, STRANGER, UNKNOWN, Call
from tidemark.records import Candidate, Label

_TOLERANCE: Final = 50_000
"""Of the end of a lease, µs: the service's clock is not ours."""

_REFUSALS: Final = frozenset({"STALE_LEASE", "CASE_CLOSED", "KEY_REUSED", "UNKNOWN_CLASS", "NOT_AMENDABLE"})
"""Why what exists may be refused."""

_ENDING: Final = frozenset({"submit", "skip", "release"})


@dataclass(frozen=True, slots=True)
class Totals:
    """Cases by how they were closed, as the service counts them."""

    answered: int
    skipped: int
    expired: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a run left.

    cases: by event id.  calls: of all clients.  labels: of these cases, as committed, in their order.
    dead_letters: offsets in the candidates.  broken: offsets of the candidates that can't be read.
    totals: closed during the run.  bound: most open cases.  clock: when the newest case was asked.  drained: in time.
    log: what the services printed.
    """

    cases: Mapping[str, Candidate]
    calls: Sequence[Call]
    labels: Sequence[Label]
    dead_letters: Sequence[int]
    broken: frozenset[int]
    totals: Totals
    bound: int
    clock: int
    drained: bool
    log: str = ""


def violations(evidence: Evidence) -> dict[str, int]:
    """Number of violations of each rule; all zero when each holds."""
    return {
        **of_labels(evidence),
        **of_keys(evidence),
        **of_leases(evidence),
        **of_expiry(evidence),
        **of_service(evidence),
    }


# ---- labels ----------------------------------------------------------------------------------------------------------


def of_labels(evidence: Evidence) -> dict[str, int]:
    """What was acknowledged is published once, as it was said; each case is closed once; nothing else is there."""
    labels = evidence.labels
    published = {label.annotation_id: label for label in labels}
    acknowledged = {call.annotation_id: call for call in evidence.calls if call.annotation_id}
    firsts = Counter(label.event_id for label in labels if label.supersedes is None)
    return {
        "acknowledged annotations not published": len(set(acknowledged) - set(published)),
        "acknowledged annotations published otherwise": sum(
            not _says(published[annotation], call)
            for annotation, call in acknowledged.items()
            if annotation in published
        ),
        "annotations published again": len(labels) - len(published),
        "cases closed again": firsts.total() - len(firsts),
        "cases never closed": len(set(evidence.cases) - set(firsts)),
        "labels that nobody gave": len(_made_up(evidence)),
        "amendments of what is not the newest": _misplaced(labels),
    }


def _says(label: Label, call: Call) -> bool:
    """Whether a label says what the call said."""
    status = "skipped" if call.kind == "skip" else "answered" if call.label is not None else "retracted"
    return (
        label.event_id == call.event_id
        and label.status == status
        and label.label == call.label
        and label.confidence == call.confidence
        and label.comment == call.comment
        and (label.supersedes or "") == call.supersedes
        and label.annotator == call.who
    )


def _made_up(evidence: Evidence) -> list[Label]:
    asked: defaultdict[str, list[Call]] = defaultdict(list)
    for call in evidence.calls:
        if call.kind in {"submit", "skip", "amend"} and call.outcome in {OK, UNKNOWN}:
            asked[call.event_id].append(call)
    return [
        label
        for label in evidence.labels
        if label.event_id not in evidence.cases
        or (label.status != "expired" and not any(_says(label, call) for call in asked[label.event_id]))
    ]


def _misplaced(labels: Iterable[Label]) -> int:
    """Labels that amend something else than the newest annotation of their case."""
    newest: dict[str, str | None] = {}
    wrong = 0
    for label in labels:
        if label.supersedes is not None:
            wrong += newest.get(label.event_id) != label.supersedes
        newest[label.event_id] = label.annotation_id
    return wrong


# ---- keys ------------------------------------------------------------------------------------------------------------


def of_keys(evidence: Evidence) -> dict[str, int]:
    """A key stands for one annotation, and that for what was said first under it."""
    under: defaultdict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in evidence.calls:
        if call.annotation_id:
            under[call.event_id, call.key].append(call)
    return {
        "keys that stand for several annotations": sum(
            len({call.annotation_id for call in calls}) > 1 for calls in under.values()
        ),
        "keys under which different things were taken": sum(
            len({(call.kind, call.label, call.confidence, call.comment) for call in calls}) > 1
            for calls in under.values()
        ),
        "acknowledged twice as new": sum(
            sum(call.kind != "skip" and not call.duplicate for call in calls) > 1 for calls in under.values()
        ),
    }


# ---- leases ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease that a client was given.

    surely: it was held from when it was received up to here.  at_most: it had ended by then, None where that is not
    known.
    """

    call: Call
    surely: int
    at_most: int | None


def leases_of(calls: Sequence[Call]) -> dict[str, list[Lease]]:
    """By event id, in the order in which they were counted."""
    about: defaultdict[str, list[Call]] = defaultdict(list)
    for call in calls:
        if call.token and call.kind != "lease":
            about[call.token].append(call)
    found: defaultdict[str, list[Lease]] = defaultdict(list)
    for call in calls:
        if call.kind == "lease" and call.token:
            found[call.event_id].append(_lease(call, about[call.token]))
    for leases in found.values():
        leases.sort(key=lambda lease: lease.call.count)
    return dict(found)


def _lease(granted: Call, later: Iterable[Call]) -> Lease:
    surely = latest = granted.until
    known = True
    ended = [call for call in later if call.kind in _ENDING and call.outcome in {OK, UNKNOWN}]
    for call in sorted(later, key=lambda each: each.sent):
        if call.kind == "renew" and call.ok:
            surely = call.until  # it was not over when this was done
            latest = max(latest, call.until)
        elif call.kind == "renew" and call.outcome == UNKNOWN:
            surely = min(surely, call.sent + call.length)
            known = False
    given_back = [call.received for call in later if call.released]
    surely = min([surely - _TOLERANCE, *(call.sent for call in ended)])
    return Lease(granted, surely, min([latest + _TOLERANCE, *given_back]) if known else None)


def of_leases(evidence: Evidence) -> dict[str, int]:
    """A case is in one pair of hands, its lease is honoured while it lasts, and after its end no more."""
    leases = leases_of(evidence.calls)
    by_token = {lease.call.token: lease for each in leases.values() for lease in each}
    closed: dict[str, int] = {}
    for call in evidence.calls:
        if call.kind in {"submit", "skip"} and call.ok:
            closed[call.event_id] = min(call.received, closed.get(call.event_id, call.received))
    pairs = [pair for each in leases.values() for pair in pairwise(each)]
    return {
        "cases in two hands at once": sum(later.call.received < former.surely for former, later in pairs),
        "leases counted wrong": sum(
            later.call.count <= former.call.count or later.call.received < former.call.sent for former, later in pairs
        ),
        "cases leased after they were closed": sum(
            lease.call.sent > closed.get(event, lease.call.sent) for event, each in leases.items() for lease in each
        ),
        "taken under a lease that was over": sum(
            _too_late(call, by_token, leases) for call in evidence.calls if call.ok and not call.duplicate
        ),
        "refused under a lease that held": sum(
            call.outcome in {"STALE_LEASE", "CASE_CLOSED"} and _held(call, by_token) for call in evidence.calls
        ),
        "released under a lease that was over": sum(
            call.released and _over(call, by_token, leases) for call in evidence.calls
        ),
    }


def _too_late(call: Call, by_token: Mapping[str, Lease], leases: Mapping[str, list[Lease]]) -> bool:
    """Whether a call was done that needs a lease, which had ended when it was sent.

    `Skip` does not tell whether it repeats, which is allowed then: it is left out.
    """
    return call.kind in {"submit", "renew"} and _over(call, by_token, leases)


def _over(call: Call, by_token: Mapping[str, Lease], leases: Mapping[str, list[Lease]]) -> bool:
    lease = by_token[call.token]
    if lease.at_most is not None and call.sent > lease.at_most:
        return True
    return any(
        other.call.count > lease.call.count and other.call.received < call.sent for other in leases[call.event_id]
    )


def _held(call: Call, by_token: Mapping[str, Lease]) -> bool:
    lease = by_token.get(call.token)
    return lease is not None and lease.call.received <= call.sent and call.received < lease.surely


# ---- expiry ----------------------------------------------------------------------------------------------------------


def of_expiry(evidence: Evidence) -> dict[str, int]:
    """A case is withdrawn when its event is of no use any more, or, if it is not for exploration, for want of room."""
    withdrawn = [evidence.cases[label.event_id] for label in evidence.labels if label.status == "expired"]
    too_early = [case for case in withdrawn if case.expires_at is None or case.expires_at > evidence.clock]
    full = len(evidence.cases) > evidence.bound
    return {
        "exploration cases withdrawn": sum(case.inclusion_probability is not None for case in too_early),
        "cases withdrawn that had room": sum(case.inclusion_probability is None and not full for case in too_early),
        "queue over its bound": sum(call.open > evidence.bound for call in evidence.calls),
    }


# ---- the service -----------------------------------------------------------------------------------------------------


def of_service(evidence: Evidence) -> dict[str, int]:
    """Calls are answered as the contract says; counts are what is there; what can't be read is a dead letter."""
    states = Counter(label.status for label in evidence.labels if label.supersedes is None)
    dead = Counter(evidence.dead_letters)
    return {
        "answers that are not in the contract": sum(not _allowed(call) for call in evidence.calls),
        "counts other than the labels": int(
            evidence.totals != Totals(states["answered"], states["skipped"], states["expired"])
        ),
        "dead letters missing": len(evidence.broken - set(dead)),
        "dead letters again": dead.total() - len(dead),
        "dead letters of what was good": len(set(dead) - evidence.broken),
        "runs that did not come to their end": int(not evidence.drained),
        "bugs in the log": evidence.log.count("Traceback") + evidence.log.count("a bug"),
    }


def _allowed(call: Call) -> bool:
    if call.outcome == UNKNOWN:
        return True
    if call.event_id == STRANGER:
        return call.outcome == "UNKNOWN_CASE"
    if call.label == STRANGER:
        return call.outcome in _REFUSALS
    return call.ok or (call.outcome in _REFUSALS - {"UNKNOWN_CLASS"} and call.kind not in {"lease", "stats", "release"})
