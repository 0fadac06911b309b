"""The operator that all others are made of: a step, of which each worker has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Operator, Stream, operator

from dataflows.operators.envelope import Round
from tidemark.errors import ConfigError
from tidemark.runtime.steps import Step

X = TypeVar("X")
Y = TypeVar("Y")
Steps = Mapping[str, Any]
"""The steps of one worker, by name."""


@operator
def step(
    step_id: str,
    up: Stream[Round[X]],
    make: Callable[[], Step[X, Y]],  # noqa: ARG001 `steps_of` finds it in the flow
) -> Stream[Round[Y]]:
    """Let a step process each round.

    Args:
        step_id: unique. A stateful step finds its committed state by it: another name begins with none.
        up: rounds.
        make: makes the step of one worker, when the flow runs. A `tidemark.runtime.steps.StatefulStep` has its state
            committed with the outputs, and has it back after a crash.

    Returns:
        The same rounds, each with what the step gives.

    """
    name = _name(step_id)

    def process(rounds: list[Round[X]]) -> list[Round[Y]]:
        return [Round(one.work, one.work.session.run_step(name, one.payload, one.context)) for one in rounds]

    return op.flat_map_batch("process", up, process)


def steps_of(flow: Dataflow) -> Steps:
    """The steps of one worker of a flow, made anew, by the names under which the flow's operators ask for them.

    Raises:
        ConfigError: rows that a step refuses go nowhere.

    """
    read = {stream for each in flow.substeps for port in each.ups_names for stream in _streams(each, port)}
    for each in flow.substeps:
        if "errs" in each.dwn_names and read.isdisjoint(_streams(each, "errs")):
            raise ConfigError(
                f"step '{each.step_name}': its `errs` go nowhere, so rows that it refuses would be lost without a "
                "trace; give them to `dead_letters`"
            )
    return {_name(one.step_id): one.make() for one in operators_of(flow.substeps, step)}


def operators_of(operators: Sequence[Operator], kind: Any) -> Iterator[Any]:  # noqa: ANN401 what `@operator` gives
    """All operators of a kind in a flow, those within others too."""
    for each in operators:
        if isinstance(each, kind._op_cls):  # noqa: SLF001 the class Bytewax made of the function
            yield each
        yield from operators_of(each.substeps, kind)


def _streams(each: Operator, port: str) -> Iterable[str]:
    """Ids of the streams of an operator's port."""
    ids: Iterable[str] = getattr(each, port).stream_ids.values()
    return ids


def _name(step_id: str) -> str:
    """Without the name of the flow."""
    return step_id.partition(".")[2]
