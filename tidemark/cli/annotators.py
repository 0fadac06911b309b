"""`tidemark queue annotators`: who labels how well."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table

from tidemark.cli.console import PipelineFile, out, told
from tidemark.cli.pipeline_file import load
from tidemark.errors import ConfigError
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings

if TYPE_CHECKING:
    from labeling_grpc.client.administration import Annotator
    from labeling_grpc.quality.annotator_metrics import AnnotatorQuality


def annotators(pipeline: PipelineFile) -> None:
    """Show how well each annotator labels, how far they agree, and who is set aside and why."""
    from labeling_grpc.commands.rules import QueueRules
    from labeling_grpc.database import open_tokens
    from labeling_grpc.options import database_url, queue_database
    from labeling_grpc.quality.annotator_metrics import agreement, names, qualities, states

    with told():
        loaded = load(pipeline)
        rules = QueueRules.of(loaded)
        settings = Settings.from_environment()
        store = open_tokens(queue_database(settings, loaded.name, database_url(os.environ)), loaded.name)
        try:
            with store.engine.connect() as connection:
                found = qualities(connection, rules, names(connection))
                stopped, alpha = states(connection), agreement(connection, rules)
        finally:
            store.close()
        out.print(_annotators(found, stopped))
        if alpha.cases:
            out.print(
                f"Krippendorff's alpha {_within(alpha.value, alpha.low, alpha.high, '.2f')} over {alpha.cases:,} cases "
                "that several answered",
                soft_wrap=True,
            )
        for name, its in found.items():
            if its.suspicion:
                out.print(f"! {safe(name)}: {safe(its.suspicion)}", style="yellow", soft_wrap=True)
        for name, (state, why) in stopped.items():
            out.print(f"! {safe(name)} is {state}: {safe(why)}", soft_wrap=True)


def absence(text: str, *, back: bool) -> int | None:
    """Until when somebody is absent, µs since 1970, 0 for no longer; None where nothing is said of it."""
    if back and text:
        raise ConfigError("say --back or --absent-until, not both")
    if not text:
        return 0 if back else None
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--absent-until: {text!r} is no time; write 2026-12-07 or 2026-12-07T13:00") from None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    if until <= datetime.now(UTC):
        raise ConfigError(f"--absent-until: {text} is past; --back says that somebody is there again")
    return round(until.timestamp() * 1_000_000)


def abilities(person: Annotator) -> str:
    """What somebody may do, in words."""
    skills = "every skill" if person.skills is None else f"skilled in {', '.join(person.skills) or 'nothing'}"
    quota = f"{person.quota:,} cases a day" if person.quota else "no bound a day"
    until = datetime.fromtimestamp(person.absent_until / 1_000_000, UTC)
    away = f", absent until {until:%Y-%m-%d %H:%M} UTC" if until > datetime.now(UTC) else ""
    return f"{person.state}, {skills}, {quota}{away}"


def _annotators(found: Mapping[str, AnnotatorQuality], stopped: Mapping[str, tuple[str, str]]) -> Table:
    table = Table(title="Annotators", title_justify="left", box=None, pad_edge=False)
    table.add_column("annotator")
    for heading in ("answers", "skips", "gold", "expected", "agrees", "median", "fastest", "drift"):
        table.add_column(heading, justify="right")
    table.add_column("state")
    for name, its in found.items():
        golden = (its.gold_accuracy, its.gold_low, its.gold_high)
        table.add_row(
            safe(name),
            f"{its.answered:,}",
            f"{its.skipped:,}",
            f"{_within(*golden, '.0%')} of {its.gold_answered}" if its.gold_answered else "-",
            _or_none(its.consensus_accuracy, ".0%"),
            _or_none(its.agreement, ".0%"),
            _seconds(its.median_ms),
            _seconds(its.fast_ms),
            "-" if its.drift is None else _within(its.drift, its.drift_low, its.drift_high, "+.0%"),
            stopped.get(name, ("active", ""))[0],
        )
    return table


def _within(value: float | None, low: float | None, high: float | None, form: str) -> str:
    return f"{_or_none(value, form)} ({_or_none(low, form)} to {_or_none(high, form)})"


def _seconds(ms: int) -> str:
    return "-" if not ms else f"{ms / 1_000:.1f} s"


def _or_none(value: float | None, form: str) -> str:
    return "-" if value is None or not math.isfinite(value) else format(value, form)
