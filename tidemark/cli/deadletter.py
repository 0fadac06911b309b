"""`tidemark deadletter list|show|replay`: what could not be processed, why, and once more."""

from __future__ import annotations

import time
from typing import Annotated, cast

import typer
from confluent_kafka import KafkaError, Message, Producer
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import PipelineFile, connected, out, told
from tidemark.errors import BrokerError, TidemarkError
from tidemark.kafka import producer_config, read_all
from tidemark.pipeline import load
from tidemark.settings import Settings
from tidemark.text import safe
from tidemark.topics import Topics

app = typer.Typer(help="Records that could not be processed.", no_args_is_help=True, add_completion=False)
_SHOWN = 2_000
_FLUSH_SECONDS = 30.0

Offset = Annotated[int, typer.Argument(min=0, help="Offset in the dead-letter topic, as `list` shows it.")]


def _headers(message: Message) -> dict[str, str]:
    pairs = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    return {name: (value or b"").decode(errors="replace") for name, value in pairs}


def _letters(settings: Settings, topic: str) -> list[Message]:
    return [message for message in read_all(settings, topic) if message.headers()]


def _letter(settings: Settings, topic: str, offset: int) -> Message:
    for message in _letters(settings, topic):
        if message.offset() == offset:
            return message
    raise TidemarkError(f"{topic} has no dead letter at offset {offset}; `tidemark deadletter list` shows which it has")


@app.command(name="list")
def list_letters(
    pipeline: PipelineFile,
    reason: Annotated[str, typer.Option(help="Only those whose reason contains this text.")] = "",
    last: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
) -> None:
    """List dead letters: where each came from, at which step it failed, and why."""
    with told():
        topic = Topics(load(pipeline).name).deadletter
        letters = [letter for letter in _letters(connected(), topic) if reason in _headers(letter).get("reason", "")]
        if not letters:
            out.print(f"{topic}: no dead letters{f' with {reason!r} in their reason' if reason else ''}")
            return
        table = Table(box=None, pad_edge=False)
        for name in ("offset", "at", "source", "step", "reason"):
            table.add_column(name, justify="right" if name == "offset" else "left", overflow="fold")
        for letter in letters[-last:]:
            headers = _headers(letter)
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(int(headers.get("at", "0")) / 1e6))
            source = f"{headers.get('source_topic')}[{headers.get('source_partition')}] {headers.get('source_offset')}"
            table.add_row(
                str(letter.offset()), at, safe(source), safe(headers.get("step", "")), safe(headers.get("reason", ""))
            )
        out.print(table)
        out.print(f"{len(letters):,} in all")


@app.command()
def show(pipeline: PipelineFile, offset: Offset) -> None:
    """Show one dead letter: its headers, and its value as it came."""
    with told():
        letter = _letter(connected(), Topics(load(pipeline).name).deadletter, offset)
        for name, value in _headers(letter).items():
            out.print(Text.assemble((safe(name), "bold"), " ", safe(value)), soft_wrap=True)
        body = letter.value()
        text = "(no value)" if body is None else body[:_SHOWN].decode(errors="backslashreplace")
        out.print(safe(text, lines=True), soft_wrap=True)
        if body is not None and len(body) > _SHOWN:
            out.print(f"… {len(body) - _SHOWN:,} more bytes")


@app.command()
def replay(
    pipeline: PipelineFile,
    offset: Annotated[list[int] | None, typer.Option(help="Offset of a dead letter; may be given again.")] = None,
    reason: Annotated[str, typer.Option(help="All whose reason contains this text.")] = "",
) -> None:
    """Send dead letters to their source topics again, as new records: after what was wrong has been mended."""
    with told():
        if not offset and not reason:
            raise TidemarkError("say which dead letters to replay: --offset N (again and again), or --reason TEXT")
        settings = connected()
        topic = Topics(load(pipeline).name).deadletter
        if offset:
            chosen = [_letter(settings, topic, number) for number in offset]
        else:
            chosen = [letter for letter in _letters(settings, topic) if reason in _headers(letter).get("reason", "")]
        count = _produce(settings, chosen)
        out.print(f"{count} replayed; what is still wrong with them comes back as a new dead letter")


def _produce(settings: Settings, letters: list[Message]) -> int:
    """Produce each letter to its source; returns how many were acknowledged."""
    producer = Producer(producer_config(settings))
    failures: list[str] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failures.append(error.str())

    for letter in letters:
        headers = _headers(letter)
        if "truncated" in headers:
            raise TidemarkError(
                f"dead letter {letter.offset()} holds only the beginning of its record ({headers.get('size')} bytes); "
                "send the whole record from its origin"
            )
        producer.produce(
            headers["source_topic"],
            letter.value(),
            letter.key(),
            headers=[("replayed_from", str(letter.offset()).encode())],
            on_delivery=delivered,
        )
    left = producer.flush(_FLUSH_SECONDS)
    if failures or left:
        raise BrokerError(f"{len(failures) + left} of {len(letters)} were not acknowledged: {failures or 'no answer'}")
    return len(letters)
