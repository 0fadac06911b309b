"""The flows of a pipeline: one row each, which the command line, the supervisor, `tidemark status` and `run` read.

A flow of Tidemark's own is its module in `dataflows` and its row here. A flow of another package is an entry point of
the group `tidemark.flows` that names its `FlowSpec`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from tidemark.pipeline import Pipeline
from tidemark.runtime.plugins import Plugins

GROUP: Final = "tidemark.flows"
"""Group of the entry points of other packages' flows."""
_TAKEN: Final = frozenset({"labeling", "ingest", "train", "init"})
"""Names of what else has a consumer group or a process of this name."""


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """A flow that runs as processes of its own in the consumer group `P.NAME`.

    Attributes:
        name: of the flow, its consumer group and its process.
        over: `module:function` that builds it: `(Pipeline, Settings, Stop) -> (Dataflow, Sessions)`. Imported in the
            flow's own process only.
        reads: topics that it reads, of a pipeline. A pipeline of which it reads none has no such flow.
        meaning: what it does, in a sentence.
        moves: `module:function` that says what `tidemark reset` commits: `(Pipeline, Settings, StoppedGroup, to,
            publish_again=) -> list[Move]`. None: the flow reads its topics from the beginning at each start.
        divided: several processes share its partitions, as `tidemark up --streams` starts them.
        model: how `tidemark status` knows the model in force there: `metric`, the flow writes `model_in_force`;
            `rows`, so it does, and it commits the version with its offsets; `budget`, by its metric `budget_spent`.

    """

    name: str
    over: str
    reads: Callable[[Pipeline], Sequence[str]]
    meaning: str
    moves: str | None = None
    divided: bool = False
    model: Literal["metric", "rows", "budget"] = "metric"


_OWN: Final = (
    FlowSpec(
        name="stream",
        over="dataflows.stream:over",
        reads=lambda pipeline: [*pipeline.raw_topics, *pipeline.hop_topics],
        meaning="Raw records to features, predictions and proposals.",
        moves="tidemark.cli.reset:stream_moves",
        divided=True,
        model="rows",
    ),
    FlowSpec(
        name="select",
        over="dataflows.select:over",
        reads=lambda pipeline: [pipeline.topics.proposals],
        meaning="Proposals to candidates, under the budget.",
        moves="tidemark.cli.reset:select_moves",
        model="budget",
    ),
    FlowSpec(
        name="retrain",
        over="dataflows.retrain:over",
        reads=lambda pipeline: [pipeline.topics.labels],
        meaning="Labels to models.",
    ),
    FlowSpec(
        name="monitor",
        over="dataflows.monitor:over",
        reads=lambda pipeline: [
            pipeline.topics.predictions,
            pipeline.topics.labels,
            pipeline.topics.outcomes,
            pipeline.topics.sample,
        ],
        meaning="Predictions, labels, outcomes and the sample to metrics.",
    ),
    FlowSpec(
        name="decide",
        over="dataflows.decide:over",
        reads=lambda pipeline: [pipeline.topics.predictions, pipeline.topics.metrics] if pipeline.decisions else [],
        meaning="Predictions to decisions, by the pipeline's rules.",
        moves="tidemark.cli.reset:decide_moves",
    ),
    FlowSpec(
        name="publish",
        over="dataflows.publish:over",
        reads=lambda pipeline: list(dict.fromkeys(getattr(pipeline.topics, each.of) for each in pipeline.outputs)),
        meaning="Predictions and candidates to other topics, in other forms.",
        moves="tidemark.cli.reset:publish_moves",
        divided=True,
    ),
)


def _accept(name: str, found: object) -> FlowSpec:
    if not isinstance(found, FlowSpec):
        raise ValueError(f"it is a {type(found).__name__}, not a tidemark.flows.FlowSpec")  # noqa: TRY004 a setting
    if name in _TAKEN:
        raise ValueError(f"'{name}' is the name of another part of Tidemark; choose another")
    if ":" not in name and found.name != name:
        raise ValueError(f"its FlowSpec is called {found.name!r}; give both one name")
    for given in (found.over, *([found.moves] if found.moves is not None else [])):
        if given.count(":") != 1:
            raise ValueError(f"{given!r} names no function; write 'module:function'")
    return found


FLOWS: Final = Plugins("flow", GROUP, {spec.name: spec for spec in _OWN}, _accept)
"""Every flow by its name."""


def flows_of(pipeline: Pipeline) -> list[FlowSpec]:
    """The flows that a pipeline has.

    Args:
        pipeline: whose flows these are.

    Returns:
        Those that read a topic of it.

    Raises:
        ConfigError: a flow that a package adds is broken.

    """
    return [spec for spec in FLOWS.all().values() if spec.reads(pipeline)]
