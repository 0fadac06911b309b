"""`tidemark deadletter reasons|export`: what is wrong most often, and dead letters as a file that can be repaired."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.letter_choice import Place
from tidemark.cli.letter_options import Selection, selecting
from tidemark.errors import ConfigError
from tidemark.runtime.safe_text import safe


@selecting("offset", "every", "partition")
def reasons(pipeline: PipelineFile, selection: Selection) -> None:
    """Count dead letters by what was wrong with them: numbers and quoted texts apart, one line for each mistake."""
    from tidemark.replay import State, grouped, letters

    with told():
        place = Place.of(pipeline)
        marks = place.marks()
        found = letters(place.settings, place.topic, selection.chosen)
        groups = grouped((letter, marks.state(letter)) for letter in found)
        if not groups:
            meant = " that are meant" if selection.given else ""
            out.print(f"{safe(place.topic)}: no dead letters{meant}")
            return
        table = Table(box=None, pad_edge=False)
        for name in ("open", "in all", "last", "topic", "step", "reason", "as"):
            table.add_column(name, justify="right" if name in {"open", "in all", "as"} else "left", overflow="fold")
        for group in groups:
            table.add_row(
                f"{group.states[State.open]:,}",
                f"{group.count:,}",
                _day(group.last),
                safe(group.topic),
                safe(group.step),
                safe(group.reason),
                str(group.example),
            )
        out.print(table)
        out.print(f"`tidemark deadletter show {safe(str(pipeline))} OFFSET` shows the one in the last column")


@selecting("offset", "every", "partition")
def export(
    pipeline: PipelineFile,
    to: Annotated[Path, typer.Option(metavar="FILE", help="NDJSON, which `edit --corrections` takes back.")],
    selection: Selection,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write open dead letters to a file, one a line: edit keys and values there, then `edit --corrections`."""
    from tidemark.replay import letters
    from tidemark.replay.exporting import line

    with told():
        if to.exists() and not force:
            raise ConfigError(f"{to} is there already: take another name, or --force")
        place = Place.of(pipeline)
        marks = place.marks()
        still = [
            line(letter)
            for letter in letters(place.settings, place.topic, selection.chosen)
            if marks.of(letter) is None
        ]
        try:
            to.write_bytes(b"".join(each + b"\n" for each in still))
        except OSError as error:
            raise ConfigError(f"{to} can't be written: {error.strerror}; name a file in a folder of yours") from error
        again = f"tidemark deadletter edit {safe(str(pipeline))} --corrections {safe(str(to))}"
        out.print(f"{len(still):,} open dead letters written to {safe(str(to))}", soft_wrap=True)
        out.print(f"edit it, then: `{again}` sends what you changed", soft_wrap=True)


def _day(at: int | None) -> str:
    if at is None or at >= 253_402_300_800_000_000:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(at / 1e6))
