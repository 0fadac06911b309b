"""`tidemark deadletter`: what could not be processed, why, and once more: as it was, or repaired."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import DryRun, PipelineFile, err, out, told
from tidemark.cli.letter_choice import Place
from tidemark.cli.letter_lists import export, reasons
from tidemark.cli.letter_options import Selection, selecting
from tidemark.cli.operator import operator
from tidemark.errors import ConfigError, TidemarkError
from tidemark.runtime.safe_text import indented, safe

if TYPE_CHECKING:
    from tidemark.replay import Letter, Mark, Marks, Report

app = typer.Typer(help="Records that could not be processed.", no_args_is_help=True, add_completion=False)
app.command()(reasons)
app.command()(export)
_SHOWN: Final = 2_000
_NAMED: Final = 10

Offset = Annotated[int, typer.Argument(min=0, help="Offset in the dead-letter topic, as `list` shows it.")]
Partition = Annotated[int, typer.Option(min=0, help="Partition of the dead-letter topic, where it has several.")]


@app.command(name="list")
@selecting("offset", "every", "partition")
def list_letters(
    pipeline: PipelineFile,
    selection: Selection,
    state: Annotated[str, typer.Option(help="Only those: open, replayed or resolved.")] = "",
    last: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
) -> None:
    """List dead letters: where each came from, at which step it failed, why, and what became of it."""
    from tidemark.replay import letters

    with told():
        if state not in {"", "open", "replayed", "resolved"}:
            raise ConfigError(f"--state {state!r}: write open, replayed or resolved")
        place = Place.of(pipeline)
        chosen = selection.chosen
        marks = place.marks()
        counts = dict.fromkeys(("open", "replayed", "resolved"), 0)
        newest: list[Letter] = []
        back: dict[str, int] = {}
        for letter in letters(place.settings, place.topic):
            if letter.source is not None:
                back[f"{letter.source.topic}-{letter.source.partition}-{letter.source.offset}"] = letter.offset
            became = marks.state(letter)
            if letter in chosen:
                counts[became] += 1
                if state in {"", became}:
                    newest = [*newest[-last + 1 :], letter] if last > 1 else [letter]
        if not newest:
            among = " that are meant" if selection.given or state else ""
            out.print(f"{safe(place.topic)}: no dead letters{among}")
            return
        out.print(_listed(newest, marks, back))
        told_counts = ", ".join(f"{number:,} {name}" for name, number in counts.items())
        out.print(f"{sum(counts.values()):,} in all: {told_counts}")


@app.command()
def show(pipeline: PipelineFile, offset: Offset, partition: Partition = 0) -> None:
    """Show one dead letter: what it says, its record's own headers, and its value as it came."""
    with told():
        place = Place.of(pipeline)
        letter = place.letter(partition, offset)
        mark = place.marks().of(letter)
        source = letter.source
        facts: dict[str, object] = {"state": _became(mark)}
        if source is not None:
            facts |= {
                "source_topic": source.topic,
                "source_partition": source.partition,
                "source_offset": source.offset,
                "source_incarnation": source.incarnation,
                "source_timestamp": source.timestamp,
            }
        facts |= {"step": letter.step, "reason": letter.reason, "at": _time(letter.at), "size": f"{letter.size:,}"}
        if letter.truncated:
            facts["truncated"] = "only a part of the record is here"
        for name, value in facts.items():
            out.print(Text.assemble((name, "bold"), " ", safe(str(value))), soft_wrap=True)
        for header, content in letter.headers:
            told_value = "(none)" if content is None else safe(content.decode(errors="backslashreplace"))
            out.print(Text.assemble(("header ", "dim"), (safe(header), "bold"), " ", told_value), soft_wrap=True)
        out.print(Text.assemble(("key", "bold"), " ", _content(letter.key)), soft_wrap=True)
        out.print(_content(letter.value), soft_wrap=True)


@app.command()
@selecting()
def replay(pipeline: PipelineFile, selection: Selection, dry_run: DryRun = False) -> None:
    """Send dead letters once more to where they came from, exactly once: after what was wrong has been mended."""
    from tidemark.replay import Replay, whole

    with told():
        place = Place.of(pipeline)
        chosen = selection.letters(place)
        if dry_run:
            _would(chosen, place.marks(), "replayed")
            return
        with Replay(place.settings, place.pipeline.topics, operator(), again=place.again) as sending:
            still = [letter if sending.marks.of(letter) else whole(place.settings, letter) for letter in chosen]
            if selection.offset and any(letter.truncated and not sending.marks.of(letter) for letter in still):
                _refuse_cut(still)
            _tell(sending.send(still), "replayed; what is still wrong with them comes back as a new dead letter")


@app.command()
@selecting()
def resolve(
    pipeline: PipelineFile,
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why nothing more is needed.")],
    selection: Selection,
    dry_run: DryRun = False,
) -> None:
    """Mark dead letters as needing nothing more; nothing is sent."""
    from tidemark.replay import Replay

    with told():
        place = Place.of(pipeline)
        chosen = selection.letters(place)
        if dry_run:
            _would(chosen, place.marks(), "resolved")
            return
        with Replay(place.settings, place.pipeline.topics, operator()) as marking:
            _tell(marking.resolve(chosen, why), "resolved")


@app.command()
@selecting()
def edit(
    pipeline: PipelineFile,
    selection: Selection,
    assigned: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=SQL", help="A field, by SQL over the record's fields.")
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="FIELD", help="A field to take out.")] = None,
    value: Annotated[str, typer.Option(metavar="SQL", help="The whole text, by SQL over value and key.")] = "",
    key: Annotated[str, typer.Option(metavar="SQL", help="The key, by SQL over value and key.")] = "",
    corrections: Annotated[
        Path | None, typer.Option(metavar="FILE", help='NDJSON: {"offset": 3, "set": {"amount": 12.5}} a line.')
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; for scripts.")] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Also what would come back as a dead letter.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Repair dead letters, show what changes, and send them once more, exactly once."""
    from tidemark.replay import Replay, whole
    from tidemark.replay import corrections as repairing
    from tidemark.sources.repaired import column_types, in_format, still_wrong

    with told():
        place = Place.of(pipeline)
        fields = repairing.assignments(assigned or ())
        repair = repairing.Repair(fields, value or None, key or None, tuple(drop or ()), column_types(place.pipeline))
        lines = {} if corrections is None else repairing.corrections(corrections)
        if corrections is None:
            if not (fields or drop or value or key):
                raise ConfigError("say what to repair: --set FIELD=SQL, --value SQL, --key SQL, or --corrections FILE")
            before = selection.letters(place)
        elif fields or drop or value or key or selection.given:
            raise ConfigError("--corrections names the dead letters and their repairs; give nothing beside it")
        else:
            before = [place.letter(where, number) for where, number in lines]
        marks = place.marks()
        before = [whole(place.settings, letter) for letter in before if marks.of(letter) is None]
        if not before:
            out.print("nothing to repair: none of them is open")
            return
        _refuse_cut(before)
        if corrections is not None:
            after = [repairing.corrected(each, lines[each.partition, each.offset]) for each in before]
        else:
            after = [repair(each) for each in before]
        written = in_format(place.pipeline)
        after = [written(*pair) for pair in zip(before, after, strict=True)]
        changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
        _show_changes(changed, repairing.difference, len(before))
        wrong = still_wrong(place.pipeline, [repaired for _, repaired in changed])
        for letter, why in wrong[:_NAMED]:
            err.print(Text.assemble((f"{letter.offset} is still wrong:", "yellow"), " ", safe(why)), soft_wrap=True)
        if wrong and not anyway:
            raise TidemarkError(
                f"{len(wrong):,} of {len(changed):,} would come back as dead letters, and nothing is sent: correct the "
                "repair, choose fewer, or send them with --anyway"
            )
        if dry_run or not changed or not (yes or typer.confirm(f"send {len(changed):,} repaired records?")):
            out.print("nothing is sent")
            return
        with Replay(place.settings, place.pipeline.topics, operator(), again=place.again) as sending:
            _tell(sending.send([repaired for _, repaired in changed], edited=True), "repaired and replayed")


def _listed(newest: list[Letter], marks: Marks, back: dict[str, int]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("offset", "at", "source", "step", "state", "reason"):
        table.add_column(name, justify="right" if name == "offset" else "left", overflow="fold")
    for letter in newest:
        mark = marks.of(letter)
        state = marks.state(letter).value
        if mark is not None and mark.to in back:
            state = f"came back as {back[mark.to]}"
        table.add_row(
            str(letter.offset), _time(letter.at), safe(letter.origin), safe(letter.step), state, safe(letter.reason)
        )
    return table


def _time(at: int | None) -> str:
    if at is None or at >= 253_402_300_800_000_000:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at / 1e6))


def _became(mark: Mark | None) -> str:
    if mark is None:
        return "open"
    parts = [f"{mark.state} at {_time(mark.at)} by {mark.by}"]
    parts += [f"to {mark.to}"] if mark.to else []
    parts += ["repaired before"] if mark.edited else []
    parts += [mark.note] if mark.note else []
    return ", ".join(parts)


def _content(content: bytes | None) -> str:
    if content is None:
        return "(none)"
    text = indented(content[:_SHOWN].decode(errors="backslashreplace"))
    return text if len(content) <= _SHOWN else f"{text}\n… {len(content) - _SHOWN:,} more bytes"


def _refuse_cut(found: Iterable[Letter]) -> None:
    cut = [letter for letter in found if letter.truncated]
    if cut:
        raise TidemarkError(
            f"dead letter {cut[0].offset} holds only the beginning of its record ({cut[0].size:,} bytes), and where it "
            "came from it is no more; send the whole record from its origin"
        )


def _show_changes(changed: list[tuple[Letter, Letter]], difference: Any, looked_at: int) -> None:  # noqa: ANN401 a function
    for before, after in changed[:_NAMED]:
        out.print(Text(f"{before.offset}  {safe(before.origin)}", "bold"))
        for sign, line in difference(before, after):
            out.print(Text(f"  {sign} {safe(line)}", "red" if sign == "-" else "green"), soft_wrap=True)
    if len(changed) > _NAMED:
        out.print(f"… and {len(changed) - _NAMED:,} more")
    out.print(f"{len(changed):,} of {looked_at:,} change")


def _would(chosen: list[Letter], marks: Marks, what: str) -> None:
    """Say what a command would do."""
    still = [letter for letter in chosen if marks.of(letter) is None]
    out.print(f"{len(still):,} would be {what}; {len(chosen) - len(still):,} were dealt with before")
    for letter in still[:_NAMED]:
        out.print(f"  {letter.offset}: {safe(letter.origin)}, {safe(letter.reason)}", soft_wrap=True)
    if len(still) > _NAMED:
        out.print(f"  … and {len(still) - _NAMED:,} more")


def _tell(report: Report, what: str) -> None:
    out.print(f"{len(report.sent):,} {what}")
    if report.known:
        out.print(f"{len(report.known):,} were dealt with before")
        for letter, mark in report.known[:_NAMED]:
            out.print(f"  {letter.offset}: {safe(_became(mark))}", soft_wrap=True)
    for letter, why in report.refused[:_NAMED]:
        err.print(Text.assemble((f"{letter.offset} is not sent:", "yellow"), " ", safe(why)), soft_wrap=True)
    if report.refused:
        err.print(f"{len(report.refused):,} can't be sent again")
        raise typer.Exit(1)
