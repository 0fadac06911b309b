"""Operators between Kafka and the rows: rounds of micro-batches in, one transaction's records and offsets out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream, operator
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.engine.source import KafkaSource, state_of
from dataflows.engine.work import Done, Work
from dataflows.operators.envelope import Round
from dataflows.operators.split import RowsAndErrors, split
from dataflows.operators.step import Steps, operators_of, step, steps_of
from tidemark.errors import ConfigError
from tidemark.records.dead_letters import dead_letters as as_dead_letters
from tidemark.runtime.by_topic import ByTopicStep, Received
from tidemark.runtime.processor import Batch, Output, Processor, TaskState
from tidemark.runtime.steps import Outcome, ProcessorStep, Refused, Step

T = TypeVar("T")
MakeState = Callable[[Steps], TaskState]
"""Makes what is committed with the offsets, of the steps of one worker."""


@operator
def input(step_id: str, flow: Dataflow, source: Source[Work]) -> Stream[Round[Sequence[Batch]]]:  # noqa: A001, ARG001
    """Read rounds: micro-batches of the partitions that a worker has, and ticks.

    Args:
        step_id: unique.
        flow: to which the stream belongs.
        source: `dataflows.engine.source.KafkaSource`, or a test's.

    Returns:
        A round each for what the worker processes together.

    """
    if isinstance(source, KafkaSource):
        source.attach(partial(task_of, flow))
    work = op.input("source", flow, source)
    return op.map("rounds", work, _round)


def _round(work: Work) -> Round[Sequence[Batch]]:
    return Round(work, work.batches)


@operator
def by_topic(step_id: str, up: Stream[Round[Sequence[Batch]]], topics: Sequence[str]) -> Stream[Round[Received]]:  # noqa: ARG001
    """The batches of some topics, to which the flow subscribes.

    Args:
        step_id: unique.
        up: what `input` gives.
        topics: their names.

    Returns:
        In each round the batches of these topics, possibly none.

    """
    return step("batches", up, lambda: ByTopicStep(topics))


@operator
def processor(
    step_id: str,  # noqa: ARG001
    up: Stream[Round[Sequence[Batch]]],
    make: Callable[[], Processor],
) -> Stream[Round[Sequence[Output]]]:
    """Domain logic in one piece, which has the whole state of its partitions: a processor.

    Args:
        step_id: unique.
        up: what `input` gives.
        make: makes the processor of one worker, when the flow runs.

    Returns:
        What to commit.

    """
    return step("process", up, lambda: ProcessorStep(make()))


@operator
def dead_letters(step_id: str, *errs: Stream[Round[Sequence[Refused]]], topic: str) -> Stream[Round[Sequence[Output]]]:
    """Rows that can't be processed, as dead letters in the order in which they came, whichever steps refused them.

    Args:
        step_id: unique.
        errs: rows that steps refused.
        topic: of the dead letters.

    Returns:
        What to commit.

    """

    def letters(work: Work, refused: list[Sequence[Refused]]) -> Round[Sequence[Output]]:
        if work.context.replay:
            return Round(work, ())
        return Round(work, as_dead_letters(topic, work.batches, [one for some in refused for one in some]))

    return _gathered(step_id, errs, letters)


@operator
def together(step_id: str, *branches: Stream[Round[Any]]) -> Stream[Round[tuple[Any, ...]]]:
    """Rounds of several streams as one, for a step that needs what each of them gives of a round.

    Args:
        step_id: unique.
        branches: the streams.

    Returns:
        Of each round a tuple of the payloads, in the order of the branches.

    """
    return _gathered(step_id, branches, lambda work, given: Round(work, tuple(given)))


@operator
def step_with_errors(
    step_id: str,  # noqa: ARG001
    *ups: Stream[Round[Any]],
    make: Callable[[], Step[Any, Outcome[Any]]],
) -> RowsAndErrors[Any]:
    """Let a step process each round that may refuse rows.

    Args:
        step_id: unique.
        ups: rounds. Of several streams the step is given a tuple of what each of them gives of a round.
        make: makes the step of one worker, when the flow runs. It gives a `tidemark.runtime.steps.Outcome`.

    Returns:
        What goes on, and the rows that can't.

    """
    up = ups[0] if len(ups) == 1 else together("together", *ups)
    return split(step("step", up, make))


@operator
def commit(
    step_id: str,
    sink: Sink[Done],
    *branches: Stream[Round[Any]],
    state: MakeState | None = None,  # noqa: ARG001 `task_of` finds it in the flow
) -> None:
    """Produce what all branches give of a round, and commit it with the offsets of the rows, as one transaction.

    Args:
        step_id: unique.
        sink: `dataflows.engine.sink.KafkaSink`, or a test's.
        branches: every end of the flow. The payload is a sequence of outputs, or has `outputs`. What they give of a
            round is produced in the order of the branches.
        state: makes what is committed with the offsets, of the steps of one worker; by default each step's own.

    """

    def done(work: Work, given: list[Any]) -> Done:
        outputs: list[Output] = []
        for payload in given:
            outputs += getattr(payload, "outputs", payload)
        return Done(work, outputs)

    op.output("sink", _gathered(step_id, branches, done), sink)


def task_of(flow: Dataflow) -> tuple[Steps, TaskState]:
    """The steps of one worker of a flow, made anew, and what they keep together.

    Raises:
        ConfigError: rows that a step refuses go nowhere, or steps are missing that the flow's state needs.

    """
    steps = steps_of(flow)
    made: Iterator[MakeState] = (one.state for one in operators_of(flow.substeps, commit) if one.state is not None)
    return steps, next(made, state_of)(steps)


def _gathered(
    step_id: str, branches: Sequence[Stream[Round[Any]]], together: Callable[[Work, list[Any]], T]
) -> Stream[T]:
    """Of each round one item, when all branches have delivered it."""

    def numbered(number: int, rounds: list[Round[Any]]) -> Iterable[T]:
        for one in rounds:
            delivered = one.work.delivered.setdefault(step_id, {})
            if number in delivered:
                raise ConfigError(
                    f"step '{step_id}': its stream number {number} delivers a round twice; every stream must carry "
                    "every round once"
                )
            delivered[number] = one.payload
            if len(delivered) == len(branches):
                given = [delivered[i] for i in range(len(branches))]
                delivered.update(dict.fromkeys(delivered))
                yield together(one.work, given)

    streams = [
        op.flat_map_batch(f"branch_{number}", branch, partial(numbered, number))
        for number, branch in enumerate(branches)
    ]
    return op.merge("together", *streams)
