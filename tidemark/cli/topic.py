"""`tidemark topic list|create|set|produce`: topics for a first try, where Kafka's own tools are not at hand."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from confluent_kafka import KafkaException
from rich.table import Table

from tidemark.cli.console import DryRun, connected, out, told
from tidemark.errors import ConfigError, TopicError
from tidemark.kafka import connect, ensure_topics
from tidemark.kafka.altering import alter_topic
from tidemark.kafka.clients import DOWN, unreachable
from tidemark.kafka.ends import ends
from tidemark.records.raw_record import RawRecord
from tidemark.records.topics import TopicSpec
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.runtime.suggestions import did_you_mean
from tidemark.sources.lines import records_of
from tidemark.sources.sending import Sender

app = typer.Typer(help="Topics: list, create, set, produce a file's rows.", no_args_is_help=True, add_completion=False)
Name = Annotated[str, typer.Argument(metavar="TOPIC", help="Name of the topic.", show_default=False)]
_ASK = 10.0
_DECIMALS = (".", ",")
_NAMED = 8
"""Columns that are named."""
_SEPARATORS = (",", ";", "|", "\t")


@app.command("list")
def list_() -> None:
    """List the topics with their partitions and the offsets that were written, markers of transactions among them."""
    with told():
        settings = connected()
        table = Table(box=None, pad_edge=False)
        table.add_column("topic", overflow="fold")
        table.add_column("partitions", justify="right")
        table.add_column("written", justify="right")
        for name, written in sorted(_topics(settings).items()):
            table.add_row(safe(name), str(len(written)), f"{sum(written):,}")
    if table.row_count:
        out.print(table)
    else:
        out.print("there are no topics; make one with `tidemark topic create NAME`")


@app.command()
def create(
    topic: Name,
    partitions: Annotated[int, typer.Option(min=1, max=1_000, help="Of the topic. They can't be taken back.")] = 4,
    dry_run: DryRun = False,
) -> None:
    """Create a topic, with the broker's own settings."""
    with told():
        settings = connected()
        known = _topics(settings)
        if topic in known:
            raise TopicError(
                f"there is a topic '{safe(topic)}' already, of {len(known[topic])} partitions; use it as it is"
            )
        if dry_run:
            out.print(f"topic '{safe(topic)}' would be made, of {partitions} partitions", soft_wrap=True)
            return
        ensure_topics(settings, [TopicSpec(topic, partitions, {})])
        out.print(f"topic '{safe(topic)}': made, of {partitions} partitions", soft_wrap=True)


@app.command("set")
def set_(
    topic: Name,
    values: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE…", help="As `retention.ms=604800000`.", show_default=False)
    ],
    dry_run: DryRun = False,
) -> None:
    """Change settings of a topic; what is not named stays as it is."""
    with told():
        wanted = dict(_setting(value) for value in values)
        alter_topic(connected(), topic, wanted, dry_run=dry_run)
        done = "could be set" if dry_run else "set"
        out.print(f"topic '{safe(topic)}': {done}: {safe(', '.join(values))}", soft_wrap=True)


@app.command()
def produce(
    topic: Name,
    file: Annotated[Path, typer.Argument(help="JSON lines, CSV or Parquet; `-` reads JSON lines.", show_default=False)],
    key: Annotated[
        str | None, typer.Option(help="Column that records are keyed by: rows of one key stay in order.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="What stands between cells of CSV: ',', ';', '|' or a tab.", show_default=False)
    ] = None,
    decimal: Annotated[str, typer.Option(help="What stands before a number's fraction in CSV: '.' or ','.")] = ".",
    dry_run: DryRun = False,
) -> None:
    """Produce the rows of a file to a topic, one JSON record each."""
    with told():
        if separator is not None and separator not in _SEPARATORS:
            raise ConfigError(f"--separator '{separator}': write one of ',', ';', '|', or a tab as $'\\t'")
        if decimal not in _DECIMALS:
            raise ConfigError(f"--decimal '{decimal}': write '.' or ','")
        settings = connected()
        _must_exist(settings, topic)
        texts: list[str] = []
        if str(file) != "-" and not dry_run:  # what is wrong is found before anything is sent
            deque(records_of(file, key, separator, decimal=decimal), maxlen=0)
        records = records_of(file, key, separator, decimal=decimal, doubt=texts.append)
        number, unkeyed = _sent(records, topic, None if dry_run else Sender(settings, topic, log_level=0))
        done = "would be produced" if dry_run else "produced"
        out.print(f"{number:,} records {done} to '{safe(topic)}'", soft_wrap=True)
        if texts:
            named = ", ".join(f"'{each}'" for each in texts[:_NAMED]) + (", …" if texts[_NAMED:] else "")
            out.print(safe(f"texts, and numbers with --decimal ',': {named}"), soft_wrap=True)
        if key is None and number:
            out.print("they have no key: rows of one entity stay in order with `--key COLUMN`", soft_wrap=True)
        elif unkeyed:
            out.print(f"{unkeyed:,} of them have no key, for '{safe(str(key))}' is null there", soft_wrap=True)
    sys.stdout.flush()


def _must_exist(settings: Settings, topic: str) -> None:
    """Raises TopicError where there is no such topic."""
    known = _topics(settings)
    if topic not in known:
        remedy = did_you_mean(topic, sorted(known)) if known else "there are none"
        raise TopicError(
            f"there is no topic '{safe(topic)}' ({remedy}); `tidemark topic create {safe(topic)}` makes it"
        )


def _sent(records: Iterable[RawRecord], topic: str, sender: Sender | None) -> tuple[int, int]:
    """How many records there are, and how many without a key. sender: sends them; None: nothing does.

    Raises:
        ConfigError: one is none; says how many were sent before it.

    """
    number = unkeyed = 0
    try:
        for record in records:
            number += 1
            unkeyed += record.key is None
            if sender is not None:
                sender.send(record)
    except ConfigError as error:
        if sender is None or not sender.sent:
            raise
        sender.finish()
        raise ConfigError(
            f"{error}\nthe {sender.sent:,} records before it are in '{topic}': send what follows them, and no more"
        ) from error
    if sender is not None:
        sender.finish()
    return number, unkeyed


def _setting(text: str) -> tuple[str, str]:
    """Name and value of NAME=VALUE.

    Raises:
        ConfigError: it is none.

    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"'{text}' is no setting; write NAME=VALUE, as retention.ms=604800000")
    return name, value


def _topics(settings: Settings) -> dict[str, list[int]]:
    """Of each topic that is nobody's inner affair, the end of each partition."""
    client = connect(settings, timeout=_ASK, down=DOWN)
    try:
        listed = client.list_topics(timeout=_ASK).topics
        shown = [name for name, found in listed.items() if found.error is None and not name.startswith("__")]
        return ends(client, {name: sorted(listed[name].partitions) for name in shown}, timeout=_ASK)
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from error
