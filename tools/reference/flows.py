"""The flows as pictures, as Bytewax draws them."""

from __future__ import annotations

from typing import Final

from bytewax.dataflow import Dataflow

import dataflows.ingest
from dataflows.engine.shutdown import Stop
from dataflows.run import built
from tidemark.flows import FLOWS
from tidemark.pipeline import load
from tidemark.runtime.settings import Settings
from tools.reference.flow_pictures import picture

PIPELINE: Final = "pipelines/fraud.toml"
_INTRO: Final = f"""# The flows

The steps of each flow of `{PIPELINE}`, each box with the operator that it is made of
([the operators](../how-to/own-flow.md#the-operators)), and the streams between them. Draw those of another pipeline, as
Mermaid, with `TIDEMARK_PIPELINE=PIPELINE.toml python -m bytewax.visualize dataflows.stream:flow`; no Kafka need run.
"""


def flows() -> dict[str, Dataflow]:
    """Tidemark's own flows over the pipeline, by name."""
    pipeline, settings = load(PIPELINE), Settings.from_environment({})
    over = {name: built(spec, pipeline, settings, Stop())[0] for name, spec in FLOWS.own.items()}
    return over | {"ingest": dataflows.ingest.over(pipeline, settings, [], Stop())[0]}


def flows_page() -> str:
    """The page's Markdown."""
    meanings = {name: spec.meaning for name, spec in FLOWS.own.items()} | {"ingest": "Files to a raw topic."}
    sections = [f"## `{name}`\n\n{meanings[name]}\n\n{picture(flow)}\n" for name, flow in flows().items()]
    return "\n".join([_INTRO, *sections])
