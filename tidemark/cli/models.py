"""`tidemark models list|show|diff|promote|rollback|pin|unpin`: the models that there are, and which is champion."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from tidemark.cli.console import DryRun, PipelineFile, connected, out, told
from tidemark.cli.operator import operator
from tidemark.cli.pipeline_file import load
from tidemark.pipeline import Pipeline
from tidemark.runtime.safe_text import safe

if TYPE_CHECKING:
    from tidemark.records import ModelManifest
    from tidemark.registry.codec import Registry

app = typer.Typer(help="Models: which there are, and which is champion.", no_args_is_help=True, add_completion=False)

Version = Annotated[str, typer.Argument(metavar="VERSION", help="The model, or as much of its name as it needs.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
_SHOWN = 10


@app.command(name="list")
def list_models(pipeline: PipelineFile, *, as_json: Json = False) -> None:
    """List the models, newest first."""
    with told():
        from tidemark.registry.describing import figure_words, listed

        models = listed(_registry(load(pipeline)))
        if as_json:
            _json(models)
            return
        if not models:
            out.print("there is no model yet")
            return
        table = Table(box=None, pad_edge=False)
        for name in ("version", "state", "made", "labels", "figure"):
            table.add_column(name, no_wrap=True, justify="right" if name == "labels" else "left")
        for model in models:
            style = "bold" if model.state == "champion" else "dim" if model.state == "removed" else ""
            state = f"{model.state}, pinned" if model.pinned else model.state
            table.add_row(
                safe(model.version),
                state,
                _minute(model.created_at),
                f"{model.labels:,}",
                figure_words(model),
                style=style,
            )
        out.print(table)


@app.command()
def show(pipeline: PipelineFile, version: Version, *, as_json: Json = False) -> None:
    """Show a model: what it learnt from, how it was judged, which features it uses."""
    with told():
        from tidemark.registry.describing import described
        from tidemark.registry.promotion import named

        registry = _registry(load(pipeline))
        model = described(registry, named(registry, version))
        if as_json:
            _json(model)
            return
        facts = model.listed
        table = _grid()
        table.add_row("model", safe(facts.version))
        table.add_row("state", f"{facts.state}, pinned" if facts.pinned else facts.state)
        table.add_row("made", _minute(facts.created_at))
        table.add_row("after", safe(facts.parent or "none: it is the first"))
        if facts.copy_of is not None:
            table.add_row("copy of", safe(facts.copy_of))
        table.add_row("decision", safe(facts.decision))
        table.add_row("learnt from", f"{facts.labels:,} labels")
        table.add_row("size", f"{model.trees:,} trees, {model.leaves:,} leaves")
        table.add_row("classes", ", ".join(map(safe, model.classes)) or "none: it foretells a number")
        for name, value in facts.metrics.items():
            table.add_row(safe(name), "none" if value is None else f"{value:.4g}")
        table.add_row("splits", _lines((f"{share:.0%}", name) for name, share in model.splits.items() if share))
        out.print(table)


@app.command()
def diff(pipeline: PipelineFile, first: Version, second: Version, *, as_json: Json = False) -> None:
    """Tell how the second model differs from the first."""
    with told():
        from tidemark.comparison import compared_words
        from tidemark.comparison.comparing import compared
        from tidemark.registry.describing import agreement_words, difference
        from tidemark.registry.promotion import named

        loaded = load(pipeline)
        registry = _registry(loaded)
        manifests = named(registry, first), named(registry, second)
        found = difference(registry, *manifests)
        measured = compared(connected(), loaded, registry, *manifests)
        if as_json:
            _json({**msgspec.to_builtins(found), "on_unseen_labels": measured})
            return
        table = _grid()
        table.add_row("from, to", f"{safe(found.first)}, {safe(found.second)}")
        table.add_row("labels", f"{found.labels:+,}")
        table.add_row("trees", f"{found.trees:+,}")
        for name, features in (("added", found.added), ("removed", found.removed), ("redefined", found.redefined)):
            if features:
                table.add_row(name, ", ".join(map(safe, features)))
        changed = [(f"{change:+.0%}", name) for name, change in found.splits.items() if round(change, 2)]
        table.add_row("splits", _lines(changed) if changed else "no feature has more or fewer by a hundredth of all")
        table.add_row("answers", agreement_words(found.agreement))
        for name, lines in compared_words(measured):
            table.add_row(safe(name), "\n".join(map(safe, lines)))
        out.print(table)


@app.command()
def promote(
    pipeline: PipelineFile,
    version: Version,
    *,
    pin: Annotated[bool, typer.Option("--pin", help="Let no later model replace it.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Put an earlier model in force again."""
    with told():
        from tidemark.registry.promotion import named

        _promote(pipeline, lambda registry: named(registry, version), pin=pin, dry_run=dry_run)


@app.command()
def rollback(
    pipeline: PipelineFile,
    *,
    pin: Annotated[bool, typer.Option("--pin", help="Let no later model replace it.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Put the model in force again that was champion before this one."""
    with told():
        from tidemark.registry.promotion import previous

        _promote(pipeline, previous, pin=pin, dry_run=dry_run)


@app.command(name="pin")
def pin_champion(pipeline: PipelineFile, *, dry_run: DryRun = False) -> None:
    """Keep the champion in force: labels are collected, and no model replaces it."""
    with told():
        from tidemark.registry import operations

        champion = operations.pin_champion(connected(), load(pipeline), by=operator(), dry_run=dry_run)
        _done(dry_run, f"{champion} is pinned: no model replaces it until `tidemark models unpin {pipeline}`")


@app.command()
def unpin(pipeline: PipelineFile, *, dry_run: DryRun = False) -> None:
    """Let a later model replace the champion again."""
    with told():
        from tidemark.registry import operations

        operations.unpin_champion(connected(), load(pipeline), by=operator(), dry_run=dry_run)
        _done(dry_run, "the pin is lifted: the next model that passes the gate replaces the champion")


def _promote(path: Path, choose: Callable[[Registry], ModelManifest], *, pin: bool, dry_run: bool) -> None:
    from tidemark.registry import operations
    from tidemark.training.schedule import pause

    pipeline = load(path)
    copy = operations.promote(connected(), pipeline, choose, by=operator(), pin=pin, dry_run=dry_run)
    _done(dry_run, f"{safe(copy.copy_of or '')} is champion again, as {copy.version}, in the place of {copy.parent}")
    if pin:
        out.print(f"no model replaces it until `tidemark models unpin {path}`", soft_wrap=True)
    else:
        out.print(
            f"retrain compares a new model with it after {pause(pipeline, copy.used):,} more labels at the soonest; "
            f"`tidemark models pin {path}` keeps it",
            soft_wrap=True,
        )


def _registry(pipeline: Pipeline) -> Registry:
    from tidemark.registry.operations import registry_of

    return registry_of(connected(), pipeline)


def _done(dry_run: bool, sentence: str) -> None:
    words = (
        Text.assemble(("would be done: ", "yellow"), sentence) if dry_run else Text.assemble(("ok ", "green"), sentence)
    )
    out.print(words, soft_wrap=True)


def _json(content: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(content), indent=2).decode())


def _minute(at: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at / 1e6))


def _lines(parts: Iterable[tuple[str, str]]) -> str:
    lines = [f"{share:>5} {safe(name)}" for share, name in parts]
    rest = len(lines) - _SHOWN
    return "\n".join([*lines[:_SHOWN], *([f"and {rest} more"] if rest > 0 else [])])


def _grid() -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table
