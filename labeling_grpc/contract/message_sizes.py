"""How large what the service sends may be: a client takes 4 MiB (gRPC's default), and a larger response is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

from google.protobuf.message import Message

from labeling_grpc.contract.text import shortened
from labeling_grpc.v1 import labeling_pb2 as pb
from tidemark.records import Candidate

MAX_RESPONSE: Final = 3_500_000
"""Bytes of any response. What it is made of has a share each, below, and they add up to no more."""

MAX_CANDIDATE: Final = 262_144
"""Of a candidate's JSON."""

MAX_CASES: Final = 2_400_000
"""Of the cases of one response, by `weight`; one case alone is always sent."""

MAX_COMMENTS: Final = 500_000
"""Of the comments of all cases of one response."""

MAX_HISTORY: Final = 800_000
MAX_SIMILAR: Final = 500_000
MAX_ANSWERS: Final = 300_000
MAX_CONTRIBUTIONS: Final = 300_000
"""Of the parts of one case's details. The case itself has what is left."""

MAX_CATEGORIES: Final = 100_000
"""Of the names of categories, of all cases of one response."""

MAX_LABELS: Final = 1_000_000
"""Of the labels of one message of an export, the last one not counted."""

MAX_EVENTS: Final = 400_000
"""Characters of the events that a watcher may be behind by."""

_FIELD: Final = 24
"""Bytes that a feature or a column may take in a message beyond those of its JSON: tags, lengths, a number."""

_CASE: Final = 2_000
"""Bytes of a case beyond what its candidate says: where it is, segment, skill, lease."""

M = TypeVar("M", bound=Message)


def weight(candidate: Candidate, size: int) -> int:
    """Bound the bytes of a case's message.

    Args:
        candidate: The case.
        size: Bytes of its JSON.

    Returns:
        Bytes that its message does not exceed.

    """
    fields = len(candidate.features) + len(candidate.context)
    return size + _FIELD * fields + 8 * len(candidate.probabilities or ()) + _CASE


def fit(messages: Iterable[M], most: int) -> tuple[list[M], bool]:
    """Take messages while there is room.

    Args:
        messages: The most important first.
        most: Bytes.

    Returns:
        The first of them that fit together, and whether those are all.

    """
    kept: list[M] = []
    for message in messages:
        most -= message.ByteSize() + 8
        if most < 0:
            return kept, False
        kept.append(message)
    return kept, True


def share(cases: int) -> int:
    """Divide the room for comments among the cases of one response.

    Args:
        cases: How many there are.

    Returns:
        Bytes of the comments of each.

    """
    return MAX_COMMENTS // max(cases, 1)


T = TypeVar("T")


def batches(items: Iterator[T], most: int, size: Callable[[T], int], bytes_: int) -> Iterator[list[T]]:
    """Cut a stream into messages.

    Args:
        items: What is sent.
        most: Items of one message.
        size: Bytes of one.
        bytes_: After so many a message is closed.

    Yields:
        Items that go together.

    """
    batch: list[T] = []
    full = 0
    for item in items:
        batch.append(item)
        full += size(item)
        if len(batch) == most or full >= bytes_:
            yield batch
            batch, full = [], 0
    if batch:
        yield batch


def without_details(response: Message, results: Iterable[pb.SubmitResult]) -> None:
    """Take what is said twice out of the errors of a response that would be too large.

    Args:
        response: The response.
        results: Of it.

    """
    if response.ByteSize() <= MAX_RESPONSE:
        return
    for result in results:
        if result.HasField("error"):
            del result.error.details[1:]  # the first is the ErrorInfo
            result.error.message = shortened(result.error.message, 200)
