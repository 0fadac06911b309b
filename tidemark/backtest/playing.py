"""The product's loop over a stream whose labels are there, each of which is known from its time on.

What is asked of a tile, when a model is trained, and whether it replaces the champion, is decided by the product's own
code. Annotators make no errors, and a model is in force from the next tile on. What the time alone decides, such as
`training.max_interval`, goes by event time.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from tidemark.backtest.answers import answers_of
from tidemark.backtest.loop import Loop
from tidemark.backtest.stream import LabeledStream
from tidemark.pipeline import Pipeline
from tidemark.records.event_id import parse_event_id
from tidemark.registry.serving import ActiveModel
from tidemark.selection.choice import Pick


@dataclass(frozen=True, slots=True)
class Moment:
    """What holds when a tile has closed.

    last: number of the tile's last event.  asked: cases so far.  known: of them, with an answer by now.  positives: of
    all cases asked so far.  champion: the new one, if this tile brought one.
    """

    last: int
    asked: int
    known: int
    positives: int
    champion: ActiveModel | None


def play(stream: LabeledStream, pipeline: Pipeline, loop: Loop) -> Iterator[Moment]:
    """Play a pipeline's loop over a stream.

    Args:
        stream: what comes, and the answers.
        pipeline: whose settings decide.
        loop: a new one of that pipeline.

    Yields:
        What holds after each tile that has events. What is asked too late to be known by the end is never learnt from.

    """
    answers_are, length = answers_of(pipeline), pipeline.selection.tile
    positive, askable = answers_are.sought(stream.target), stream.askable
    waiting: list[tuple[int, int, Pick, str]] = []
    asked = positives = 0
    for number, rows in stream.by_tile():
        picks = loop.ask(number, rows, stream.features[rows], askable[rows])
        for pick in picks:
            row = parse_event_id(pick.proposal.event_id).offset
            positives += int(positive[row])
            heapq.heappush(waiting, (int(stream.known_at[row]), asked, pick, answers_are.text(stream.target[row])))
            asked += 1
        end = (number + 1) * length
        answers, times = [], []
        while waiting and waiting[0][0] <= end:
            at, _, pick, answer = heapq.heappop(waiting)
            answers.append((pick, answer))
            times.append(at)
        champion = loop.learn(answers, times) if answers else None
        champion = loop.tick(end / 1_000_000) or champion
        yield Moment(int(rows[-1]), asked, len(loop.labels), positives, champion)
