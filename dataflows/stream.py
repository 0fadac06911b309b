"""The stream flow: raw records to predictions and proposals. `python -m bytewax.run dataflows.stream:flow`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

import dataflows.operators as tm
from dataflows.engine.added_topics import ensure_added
from dataflows.engine.config import EngineConfig, commit_interval, commit_interval_set, gap_accepted
from dataflows.engine.environment import connected, of_environment
from dataflows.engine.flow import over_kafka
from dataflows.engine.kept import SessionWindows
from dataflows.engine.lost_offsets import check_offsets
from dataflows.engine.shutdown import Stop
from dataflows.engine.source import Running, Sessions
from dataflows.engine.warmup import as_json, load_reader, made_up, rehearse
from dataflows.engine.work import Done, Work
from tidemark.asking import Answerer
from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.registry.deployed import record_deployed
from tidemark.registry.follower import ModelWatcher
from tidemark.registry.label_counts import LabelCounts
from tidemark.registry.signature import signing_key
from tidemark.runtime.settings import Settings
from tidemark.stream.models import ActiveModel, ModelSource
from tidemark.stream.processor import StreamProcessor
from tidemark.stream.steps import has_rules

if TYPE_CHECKING:
    from prediction_grpc.server import PredictionServer

_log = logging.getLogger(__name__)
_QUIET_INTERVAL: Final = 0.01
_BEHIND_INTERVAL: Final = 0.5
"""Seconds between commits, unless the operator has set them: a commit costs some 10 ms however few rows it has."""
_LINGER_MS: Final = 1
"""What is handed on is waited for."""
_ROUND_ROWS: Final = 8_000
"""Rows of all partitions together. A round costs some 9 ms however few rows it has, and 5 µs a row."""


def build(source: Source[Work], sink: Sink[Done], pipeline: Pipeline, models: ModelSource) -> Dataflow:
    """The flow between a source and a sink: one stage for each key that rows are partitioned by."""
    flow = Dataflow("stream")
    read = tm.input("read", flow, source)
    raw = tm.by_topic("raw", read, pipeline.raw_topics)
    decoded = tm.decode("decode", raw, pipeline)
    rows = tm.row_features("row_features", decoded.oks, pipeline)
    featured = tm.window_features("window_features", rows.oks, pipeline)
    errs, hops = [decoded.errs, rows.errs], []
    if has_rules(pipeline):
        hops.append(tm.rule_counts("rule_counts", decoded.oks, pipeline))
    by_first_key = featured
    for key in pipeline.hops:
        named = _in_steps(key)
        hops.append(tm.repartition(f"to_{named}", featured, pipeline, key))
        hop = tm.by_topic(f"by_{named}", read, [pipeline.topics.hop(key)])
        rows_by_key = tm.receive(f"receive_{named}", hop, pipeline, key)
        featured = tm.window_features(f"window_features_{named}", rows_by_key.oks, pipeline, key)
        errs.append(rows_by_key.errs)
        by_first_key = featured if key == pipeline.keys[0] else by_first_key
    if pipeline.deduplicate is not None:
        hops.append(tm.duplicate_counts("duplicate_counts", by_first_key, pipeline))
    scored = tm.predict("predict", featured, pipeline, models)
    proposals = tm.propose("propose", scored, pipeline)
    sample = tm.sample("sample", scored, pipeline)
    letters = tm.dead_letters("dead_letters", *errs, topic=pipeline.topics.deadletter)
    tm.commit("commit", sink, letters, *hops, scored, sample, proposals)
    return flow


def _in_steps(key: str) -> str:
    """A key's name in the names of steps, which may have no period."""
    return key.replace("%", "%25").replace(".", "%2E")


Build = Callable[[Source[Work], Sink[Done], Pipeline, ModelSource], Dataflow]
"""What makes a flow between a source and a sink: `build`, or a user's own."""


_BUILD: Final[Build] = build


class Champion:
    """The model in force, once the flow runs."""

    def __init__(self) -> None:
        self.watcher: ModelWatcher | None = None

    def current(self) -> ActiveModel | None:
        """The model in force now; None before the first. Never waits."""
        return None if self.watcher is None else self.watcher.current()

    def shadow(self) -> ActiveModel | None:
        """The model that is asked beside it; None where there is none. Never waits."""
        return None if self.watcher is None else self.watcher.shadow()

    def label_counts(self) -> LabelCounts | None:
        """What labels had told when there was no model; None where nothing is known. Never waits."""
        return None if self.watcher is None else self.watcher.label_counts()


def over(pipeline: Pipeline, settings: Settings, stop: Stop, build: Build = build) -> tuple[Dataflow, Sessions]:
    """The flow over the pipeline's topics, which begins with `prepared` when it runs.

    Args:
        pipeline: whose records are predicted.
        settings: where Kafka is.
        stop: asks the flow to end.
        build: makes the flow; by default this module's.

    Returns:
        The flow, and the sessions that it will have.

    Raises:
        ConfigError: the pipeline has `[ask]`, and the flow is a user's own.

    """
    if pipeline.ask is not None and build is not _BUILD:
        raise ConfigError(
            f"pipeline '{pipeline.name}': [ask] answers by the steps of Tidemark's own stream flow, and this flow is "
            "another; remove [ask], or run `tidemark run stream`"
        )
    champion, kept = Champion(), SessionWindows()
    flow, kept.sessions = over_kafka(
        lambda source, sink: build(source, sink, pipeline, champion),
        lambda: prepared(pipeline, settings, champion, kept),
        stop,
    )
    return flow, kept.sessions


def prepared(pipeline: Pipeline, settings: Settings, champion: Champion, kept: SessionWindows) -> Running:
    """Kernels are warm and the champion is known before the group is joined.

    Raises:
        TidemarkError: the models topic can't be read, offsets are gone and what was published is there, or nobody can
            be answered where the pipeline says.

    """
    settings = connected(settings)
    check_offsets(pipeline, settings, "stream")
    ensure_added(pipeline, settings, pipeline.topics.sample)
    secret = signing_key()
    shadow = None if pipeline.ask is None else pipeline.ask.shadow
    watcher = champion.watcher = ModelWatcher(settings, pipeline, secret=secret, shadow=shadow).start()
    try:
        watcher.wait_ready()
        record_deployed(settings, pipeline, secret=secret)
        _log.info("warming up: a first start compiles kernels, which takes up to a minute; later ones take seconds")
        load_reader(pipeline)
        plain = as_json(pipeline)
        rehearse(StreamProcessor(plain, watcher), plain)
        answering = answers(pipeline, settings, champion, kept)
        _log.info("warm; joining the group")
    except BaseException:
        watcher.close()
        raise

    def close() -> None:
        if answering is not None:
            answering.close()
        watcher.close()

    last = tuple(pipeline.hop_topics[-1:])
    config = EngineConfig(
        group=f"{pipeline.name}.stream",
        settings=settings,
        batch_rows=_ROUND_ROWS,
        buffer_rows=12 * _ROUND_ROWS,  # more than is read ahead, unless a partition waits for another for long
        align=max(pipeline.time.lateness // 2, 1),
        align_groups=dict.fromkeys(pipeline.raw_topics, "raw"),
        last=last,
        fixed_partitions=dict.fromkeys(pipeline.hop_topics, pipeline.partitions),
        commit_interval=commit_interval(),
        quiet_interval=None if commit_interval_set() else _QUIET_INTERVAL,
        behind_interval=None if commit_interval_set() else _BEHIND_INTERVAL,
        # Not those between: while what was handed on is on its way, their partitions stand at their ends, and others
        # would go further than the order of event times allows.
        handed_over=last,
        producer={"linger_ms": _LINGER_MS} if pipeline.hop_topics else {},
        accept_gap=gap_accepted(),
        deadletter=pipeline.topics.deadletter,
    )
    return Running(config, close=close)


def answers(
    pipeline: Pipeline, settings: Settings, champion: Champion, kept: SessionWindows
) -> PredictionServer | None:
    """What answers calls, where the pipeline has `[ask]`: it listens at once, and refuses until the windows are there.

    Raises:
        TidemarkError: it can't listen; says what to do.

    """
    if pipeline.ask is None:
        return None
    from prediction_grpc.server import PredictionServer  # noqa: PLC0415 - only where somebody is answered

    ensure_added(pipeline, settings, pipeline.topics.answered)
    plain = as_json(pipeline)
    Answerer(plain, champion, kept, max_lag=0.0).warm(made_up(plain)[0])
    return PredictionServer(pipeline, settings, champion, kept).start()


def flow() -> Dataflow:
    """The flow of `TIDEMARK_PIPELINE`."""
    return of_environment(over)
