"""`tidemark train`: the first champion, from a history with labels or from a LightGBM model file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from tidemark.cli.console import PipelineFile, connected, out, told
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError
from tidemark.formats.reading import kind_of
from tidemark.pipeline import Pipeline
from tidemark.pipeline.number_checks import refuse_number
from tidemark.registry.signature import signing_key
from tidemark.runtime.figures import figure
from tidemark.runtime.safe_text import safe

app = typer.Typer(add_completion=False)


@app.command()
def train(
    pipeline: PipelineFile,
    history: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="History with labels: .parquet, .csv or .ndjson.", dir_okay=False),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            "--topic",
            metavar="TOPIC",
            help="The raw topic that the history is of, where the pipeline has several; or a column _topic tells it.",
        ),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="A LightGBM model file instead.", dir_okay=False)
    ] = None,
    all_known: Annotated[
        bool, typer.Option("--all-known", help="Use the labels of the last label.delay too: their truth has arrived.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the champion, if there is one.")] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads to train with.")] = 1,
) -> None:
    """Publish the first champion, so that predictions need not wait for labels."""
    with told():
        if (history is None) == (model is None):
            raise ConfigError("give either --from HISTORY or --model FILE")
        read = load(pipeline)
        if model is not None:
            refuse_number(read, "tidemark train --model")
        if history is not None:
            _from_history(read, history, topic=topic, all_known=all_known, replace=replace, threads=threads)
        elif model is not None:
            _from_file(read, model, replace=replace)


def _from_history(
    pipeline: Pipeline, path: Path, *, topic: str | None, all_known: bool, replace: bool, threads: int
) -> None:
    kind_of(path)  # before what follows takes seconds to import
    from tidemark.sources.history import read_history
    from tidemark.training.first import from_history, publish_first
    from tidemark.training.leakage import leakage_words

    frame = read_history(pipeline, path, topic=topic, timestamp=time.time_ns() // 1_000_000)
    settings = connected()
    made = from_history(pipeline, frame, path.name, all_known=all_known, num_threads=threads)
    manifest = publish_first(settings, pipeline, made, replace=replace, secret=signing_key())
    figures = manifest.metrics
    counts = ", ".join(
        f"{safe(name)} {count:,}" for name, count in zip(pipeline.label.classes, made.counts, strict=True)
    )
    what = f"{manifest.used:,} labels{f': {counts}' if counts else ''}"
    out.print(Text.assemble(("ok", "green"), f" {manifest.version} is champion, of {what}"), soft_wrap=True)
    if pipeline.label.is_number:
        out.print(safe(_off(figures, pipeline.label.unit)), soft_wrap=True)
    elif (precision := figures.get("holdout_average_precision")) is not None:
        out.print(
            f"on the last fifth ({figures['holdout_rows']:,.0f} rows, {figures['holdout_positives']:,.0f} "
            f"{safe(pipeline.label.positive)}), a model of the {figures['holdout_learnt_from']:,.0f} labels known "
            f"before has average precision {precision:.3f} "
            f"[{figures['holdout_average_precision_low']:.3f}, {figures['holdout_average_precision_high']:.3f}]",
            soft_wrap=True,
        )
    else:
        out.print("no figure: too few labels of some class in the last fifth, or known when it began (label.delay)")
    if made.leaking:
        out.print(Text.assemble(("note", "yellow"), f" {safe(leakage_words(made.leaking))}"), soft_wrap=True)


def _off(figures: Mapping[str, float | None], unit: str | None) -> str:
    """How far off a model of a number was, in words."""
    rmse, mae, share = (figures.get(f"holdout_{name}") for name in ("rmse", "mae", "r_squared"))
    if rmse is None or mae is None:
        return "no figure: too few labels in the last fifth, or known when it began (label.delay)"
    of = f" {unit}" if unit else ""
    foretold = "" if share is None else f", R² {share:.2f}"  # of labels that are all alike there is none
    held = 100 * (figures.get("holdout_interval_coverage") or 0)
    return (
        f"on the last fifth ({figures['holdout_rows']:,.0f} rows), a model of the "
        f"{figures['holdout_learnt_from']:,.0f} labels known before is off by {figure(mae)}{of} on average "
        f"(RMSE {figure(rmse)}{of}{foretold}); {held:.0f} % of its 90 % intervals hold"
    )


def _from_file(pipeline: Pipeline, path: Path, *, replace: bool) -> None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    from tidemark.training.first import from_model_file, publish_first

    settings = connected()
    made = from_model_file(pipeline, text, path.name)
    manifest = publish_first(settings, pipeline, made, replace=replace, secret=signing_key())
    out.print(Text.assemble(("ok", "green"), f" {manifest.version} is champion, imported from {safe(path.name)}"))
