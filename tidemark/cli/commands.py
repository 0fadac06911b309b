"""The names of all commands, each with its line of help: `tidemark --help` imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PANELS: Final[Mapping[str, Mapping[str, str]]] = {
    "A first pipeline": {
        "demo": "Watch a model learn card fraud from a stream.",
        "topic": "Topics: list, create, produce a file's rows.",
        "feed": "Produce simulated events for a pipeline.",
        "init": "Draft a pipeline file from a topic's records.",
        "check": "Check a pipeline file; say what an edit costs.",
        "simulate": "What labels would be worth, on your own history.",
        "schema": "Print the JSON schema of pipeline files, for editors.",
    },
    "Run": {
        "broker": "The embedded Apache Kafka: start, stop, show it.",
        "up": "Run a whole pipeline, supervised, until Ctrl-C.",
        "reload": "Go on with the pipeline file as it is now.",
        "run": "Run one process of one flow, or the labeling service.",
        "ingest": "Files into a raw topic, or one of the pipeline's sources.",
        "train": "Publish a first champion from data that you have.",
        "warm": "Compile every kernel ahead of the first start.",
    },
    "Label": {
        "console": "Pages to label cases and watch the loop, in a browser.",
        "label": "Answer cases in the terminal.",
        "label-studio": "The bridge to Label Studio: cases answered there.",
        "queue": "The labeling service's queue.",
        "token": "Access tokens of the labeling service.",
        "audit": "The labeling service's audit trail.",
    },
    "Operate": {
        "doctor": "Is this machine ready? What to do where not.",
        "status": "Show flows, lag, quality, and what is wrong.",
        "why": "How one event came to its score, compared.",
        "replay": "Past events once more, compared with then.",
        "decisions": "What the rules would have decided on the past.",
        "models": "Models: list, compare, promote, pin.",
        "metrics": "Every metric that is published, and what it means.",
        "deadletter": "Records that could not be processed.",
        "webhook": "Webhooks: a secret, a test event, schemas.",
        "reset": "Set the offsets of a flow that is stopped.",
        "watermark": "Event time, where a wrong clock has moved it ahead.",
    },
}
"""Commands by what they are for. A line is short, so that all fit a terminal of 80 columns."""

COMMANDS: Final[Mapping[str, str]] = {name: line for panel in PANELS.values() for name, line in panel.items()}
"""Each is a module of this package with a Typer `app`: of one command, or of several under its name."""

MODULES: Final[Mapping[str, str]] = {"console": "console_pages", "label-studio": "label_studio"}
"""Modules of commands whose name another module has."""
