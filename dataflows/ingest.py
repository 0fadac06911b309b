"""The ingest flow: files to a raw topic, exactly once. `python -m dataflows.ingest PIPELINE FILE…`.

Its rows are read and committed by `dataflows.engine.file_task`, which tells why this is no task of the engine's.
"""

from __future__ import annotations

if __name__ == "__main__":  # before what takes a second to import
    from tidemark.runtime.signals import take_signals

    take_signals()

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import bytewax.operators as op
import bytewax.run
from bytewax.dataflow import Dataflow
from bytewax.inputs import Source
from bytewax.outputs import Sink

from dataflows.engine.config import EngineConfig, commit_interval
from dataflows.engine.environment import of_environment, pipeline_and_settings
from dataflows.engine.file_source import FileSource, Made, RawSink
from dataflows.engine.file_task import Ingest, Pace, Rows
from dataflows.engine.shutdown import Stop
from dataflows.run import exit_status
from tidemark.errors import ConfigError
from tidemark.pipeline import Pipeline
from tidemark.runtime.logs import log_to_stderr
from tidemark.runtime.settings import Settings
from tidemark.runtime.suggestions import did_you_mean
from tidemark.sources.files import open_file

_log = logging.getLogger(__name__)


def build(source: Source[Rows], sink: Sink[Made], ingest: Ingest) -> Dataflow:
    """The flow between a source of rows and a sink."""
    flow = Dataflow("ingest")
    rows = op.input("read", flow, source)
    records = op.map("raw_records", rows, lambda rows: (rows, ingest.outputs(rows)))
    op.output("commit", records, sink)
    return flow


def over(
    pipeline: Pipeline,
    settings: Settings,
    paths: Sequence[Path],
    stop: Stop,
    pace: Pace | None = None,
    *,
    topic: str | None = None,
    again: bool = False,
) -> tuple[Dataflow, Ingest]:
    """The flow from files to a raw topic of the pipeline.

    Args:
        pipeline: whose records the rows are.
        settings: where Kafka is.
        paths: of the files, in whose order they are read.
        stop: asks it to end.
        pace: how fast.
        topic: by default the pipeline's first raw topic.
        again: read the files from their beginnings, whatever is known of them.

    Raises:
        ConfigError: a file can't be read.

    """
    chosen = topic or pipeline.raw_topics[0]
    if chosen not in pipeline.raw_topics:
        raise ConfigError(f"'{chosen}' is no raw topic of {pipeline.name}; {did_you_mean(chosen, pipeline.raw_topics)}")
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise ConfigError(f"{path} is given twice; name each file once")
        seen.add(path.resolve())
    files = [open_file(path, pipeline, chosen) for path in paths]
    config = EngineConfig(group=f"{pipeline.name}.ingest", settings=settings, commit_interval=commit_interval())
    ingest = Ingest(config, pipeline, files, stop, topic=chosen, pace=pace, again=again)
    return build(FileSource(ingest), RawSink(ingest), ingest), ingest


def flow(*paths: str) -> Dataflow:
    """The flow from files to the first raw topic of `TIDEMARK_PIPELINE`, as Bytewax's own commands ask for it.

    Args:
        paths: of the files, as in `dataflows.ingest:flow("events.parquet")`.

    Returns:
        The flow.

    """
    files = [Path(path) for path in paths]
    return of_environment(lambda pipeline, settings, stop: over(pipeline, settings, files, stop))


def main(argv: list[str]) -> int:
    """Ingest files; the exit status."""
    log_to_stderr()
    parser = argparse.ArgumentParser("python -m dataflows.ingest", description="Files to a pipeline's raw topic.")
    parser.add_argument("pipeline", help="the pipeline's TOML file")
    parser.add_argument("files", nargs="+", type=Path, help=".parquet, .csv or .ndjson")
    parser.add_argument("--topic", help="the raw topic, if not the pipeline's first")
    parser.add_argument("--rate", type=float, help="rows a second")
    parser.add_argument("--max-lead", type=int, help="rows the stream flow may be behind before this waits")
    parser.add_argument("--again", action="store_true", help="send files again that were sent before")
    given = parser.parse_args(argv)
    stop = Stop().on_signals()
    try:
        pipeline, settings = pipeline_and_settings(given.pipeline)
        pace = Pace(given.rate, given.max_lead)
        flow, ingest = over(pipeline, settings, given.files, stop, pace, topic=given.topic, again=given.again)
        bytewax.run.cli_main(flow)
    except Exception as error:
        status = exit_status(error)
        if status is None:
            raise
        return status
    for held in ingest.held:
        _log.warning("%s", held)
    _log.info("%d rows of these files are in %s", ingest.done, given.topic or pipeline.raw_topics[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
