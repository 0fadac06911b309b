"""`tidemark queue`: labels as files, both ways, administration, who labels how well, the queue anew from Kafka."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from tidemark.cli.annotators import abilities, absence, annotators
from tidemark.cli.console import DryRun, PipelineFile, out, told
from tidemark.cli.operator import operator
from tidemark.cli.pipeline_file import load
from tidemark.cli.service import PATIENCE, runs_here
from tidemark.errors import ConfigError
from tidemark.runtime.safe_text import safe
from tidemark.runtime.settings import Settings
from tidemark.runtime.suggestions import near

if TYPE_CHECKING:
    from labeling_grpc.client.admin_messages import Imported
    from labeling_grpc.client.administration import Changed, LabelingAdminClient

_CLOSED: Final = frozenset({"answered", "skipped", "expired", "withdrawn"})
_SHOWN: Final = 10
"""Cases that are named one by one."""

Why = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the audit trail and whoever asks.")]
Address = Annotated[
    str, typer.Option(metavar="HOST:PORT", help="The labeling service; by default the one that runs here.")
]
Events = Annotated[
    list[str], typer.Argument(metavar="EVENT_ID...", help="Cases, by their event ids; - reads them from stdin.")
]

app = typer.Typer(help="The labeling service's queue.", no_args_is_help=True, add_completion=False)
app.command()(annotators)


@app.command()
def export(
    pipeline: PipelineFile,
    to: Annotated[Path, typer.Option(metavar="FILE", help=".csv, .parquet, .ndjson, or .json for Label Studio.")],
    verdicts: Annotated[
        bool, typer.Option("--verdicts", help="One row an event: what its annotations come to, corrections applied.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write all annotations of a pipeline, as Kafka has them, to a file."""
    from labeling_grpc.files.export import FORMATS
    from labeling_grpc.files.export import export as write
    from tidemark.cli.started import started
    from tidemark.evaluation import final_labels
    from tidemark.kafka import read_all
    from tidemark.records import Label, decode

    with told():
        if to.exists() and not force:
            raise ConfigError(f"{to} is there already: take another name, or --force")
        if to.suffix not in FORMATS:
            raise ConfigError(f"{to}: the ending must be one of {', '.join(FORMATS)} (.json: Label Studio's tasks)")
        loaded = load(pipeline)
        topic = loaded.topics.labels
        settings = started(loaded, pipeline, topic)
        labels = [decode(Label, message.value()) for message in read_all(settings, topic, settled=True)]
        found = final_labels(labels, loaded.label.order) if verdicts else labels
        write(found, to)
        out.print(f"{len(found):,} written to {safe(str(to))}", soft_wrap=True)


@app.command()
def review(
    pipeline: PipelineFile,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="Cases put back within a day, at most.")] = 20,
    address: Address = "",
    dry_run: DryRun = False,
) -> None:
    """Put labels that are worth a second look back into the queue, the most doubtful first, each once."""
    from tidemark.cli.label_review import to_review
    from tidemark.cli.started import started

    with told():
        loaded = load(pipeline)
        found = to_review(loaded, started(loaded, pipeline, loaded.topics.labels), most)
        out.print(
            f"{found.doubtful:,} of {found.labels:,} labels are worth a second look; {found.today:,} were put back "
            f"within a day, of at most {most:,}",
            soft_wrap=True,
        )
        for case in found.cases[:_SHOWN] if dry_run else ():
            out.print(Text.assemble((safe(case.event_id), "yellow"), f" {safe(case.words)}"), soft_wrap=True)
        if dry_run or not found.cases:
            return
        with _admin(pipeline, address) as admin:
            _show_changed("put back", admin.requeue([case.event_id for case in found.cases], found.why))


@app.command()
def rebuild(
    pipeline: PipelineFile,
    discard: Annotated[bool, typer.Option("--discard-unpublished", help="Give up what is not in Kafka yet.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Empty the queue's database, while no service runs; the next start builds it anew from Kafka."""
    from labeling_grpc.database import contents, empty
    from labeling_grpc.options import database_url, queue_database

    with told():
        name = load(pipeline).name
        database = queue_database(Settings.from_environment(), name, database_url(os.environ))
        if dry_run:
            rows, unpublished = contents(database, name)
            out.print(f"{rows:,} cases would be read from Kafka anew; {unpublished:,} records are not there yet")
            return
        lost = empty(database, name, discard=discard, operator=operator())
        out.print(f"the queue of {safe(name)} is empty; the service builds it from Kafka when it starts")
        if lost:
            out.print(f"{lost} records that were not in Kafka are lost", style="yellow")


@app.command(name="import")
def import_file(
    pipeline: PipelineFile,
    file: Annotated[Path, typer.Argument(metavar="FILE", help=".csv, .ndjson or .parquet with event_id and label.")],
    address: Address = "",
    dry_run: DryRun = False,
) -> None:
    """Take labels from elsewhere in: they close the cases that ask for them, and are published."""
    from labeling_grpc.contract.errors import RefusedError
    from labeling_grpc.files.importing import read

    with told():
        own = load(pipeline)
        labels = read(file, own.label)
        if unknown := _unknown(labels, own.feature_names):
            out.print(safe(f"no features of {own.name}, so that no model learns from them: {unknown}"), soft_wrap=True)
        if dry_run:
            classes = Counter(label.label for label in labels)
            shares = ", ".join(f"{count:,} {safe(name)}" for name, count in classes.most_common())
            out.print(f"{len(labels):,} labels would be sent: {shares}", soft_wrap=True)
            return
        with _admin(pipeline, address) as admin:
            outcomes = admin.import_labels(labels)
        refused = [(label, o) for label, o in zip(labels, outcomes, strict=True) if isinstance(o, RefusedError)]
        taken = [outcome for outcome in outcomes if not isinstance(outcome, RefusedError)]
        known = sum(outcome.duplicate for outcome in taken)
        out.print(f"{len(taken) - known:,} taken, {known:,} were there, {len(refused):,} refused")
        for label, refusal in refused[:_SHOWN]:
            out.print(Text.assemble((f"{safe(label.event_id)}:", "yellow"), " ", safe(str(refusal))), soft_wrap=True)
        if refused:
            raise typer.Exit(1)


def _unknown(labels: Iterable[Imported], known: Sequence[str]) -> str:
    """Features that events bring along and the pipeline has not, with what may have been meant."""
    told = {n for label in labels if label.time is not None for n, value in label.features.items() if value is not None}
    names = sorted(told.difference(known))
    shown = [f"'{name}'{f' (did you mean {meant!r}?)' if (meant := near(name, known)) else ''}" for name in names]
    return ", ".join(shown[:_SHOWN]) + (", …" if shown[_SHOWN:] else "")


@app.command()
def pause(pipeline: PipelineFile, why: Why, address: Address = "") -> None:
    """Give nothing out any more. Leases go on, answers are taken."""
    with told(), _admin(pipeline, address) as admin:
        admin.pause(why)
        out.print("the queue is paused; `tidemark queue resume` opens it")


@app.command()
def resume(pipeline: PipelineFile, address: Address = "") -> None:
    """Give out again."""
    with told(), _admin(pipeline, address) as admin:
        admin.resume()
        out.print("the queue is open")


@app.command()
def requeue(
    pipeline: PipelineFile, event_ids: Events, why: Why, address: Address = "", dry_run: DryRun = False
) -> None:
    """Ask again about closed cases, and take leased ones away from who has them."""
    with told(), _admin(pipeline, address) as admin:
        if dry_run:
            _would(pipeline, address, _named(event_ids), "put back", _CLOSED | {"leased"})
            return
        _show_changed("put back", admin.requeue(_named(event_ids), why))


@app.command()
def expire(pipeline: PipelineFile, event_ids: Events, why: Why, address: Address = "", dry_run: DryRun = False) -> None:
    """Close open cases: nobody is asked any more."""
    with told(), _admin(pipeline, address) as admin:
        if dry_run:
            _would(pipeline, address, _named(event_ids), "closed", {"waiting", "leased"})
            return
        _show_changed("closed", admin.expire(_named(event_ids), why))


@app.command()
def assign(
    pipeline: PipelineFile,
    event_ids: Events,
    why: Why,
    to: Annotated[str, typer.Option(metavar="NAME", help="Who alone is offered them.")] = "",
    nobody: Annotated[bool, typer.Option("--nobody", help="Offer them to whoever may have them, again.")] = False,
    address: Address = "",
) -> None:
    """Offer open cases to one person alone, until they are answered or due."""
    with told():
        if bool(to) == nobody:
            raise ConfigError("say to whom, by --to NAME, or take assignments back, by --nobody")
        with _admin(pipeline, address) as admin:
            _show_changed(f"assigned to {safe(to)}" if to else "taken back", admin.assign(_named(event_ids), to, why))


@app.command()
def annotator(
    pipeline: PipelineFile,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who.")],
    skills: Annotated[
        str, typer.Option(metavar="A,B", help="What they are skilled in; 'any' for everything, '' for nothing.")
    ] = "-",
    quota: Annotated[int, typer.Option(min=-1, metavar="CASES", help="Cases a day (UTC); 0: no bound.")] = -1,
    absent_until: Annotated[
        str, typer.Option(metavar="TIME", help="Absent from now on until 2026-12-07 or 2026-12-07T13:00 (UTC).")
    ] = "",
    back: Annotated[bool, typer.Option("--back", help="Is there again.")] = False,
    address: Address = "",
) -> None:
    """Say what somebody is skilled in, how many cases a day they take, and until when they are absent."""
    from labeling_grpc.client.administration import skills_of

    with told():
        until = absence(absent_until, back=back)
        with _admin(pipeline, address) as admin:
            person = admin.update(
                name,
                skills=None if skills == "-" else skills_of(skills),
                quota=None if quota < 0 else quota,
                absent_until=until,
            )
        out.print(f"{safe(person.name)}: {safe(abilities(person))}", soft_wrap=True)


def _admin(pipeline: PipelineFile, address: str) -> LabelingAdminClient:
    from labeling_grpc.client.administration import LabelingAdminClient

    name = load(pipeline).name
    if address:
        return LabelingAdminClient(address, operator(), pipeline=name, patience=PATIENCE)
    runs_here(name, str(pipeline))
    return LabelingAdminClient.of(name, operator(), patience=PATIENCE)


def _would(pipeline: PipelineFile, address: str, event_ids: list[str], what: str, states: Collection[str]) -> None:
    """Say of which cases a command would change the state, by the one that they are in now."""
    from labeling_grpc.client import LabelingClient
    from labeling_grpc.contract.errors import Reason, RefusedError

    name, left = load(pipeline).name, []
    with (
        LabelingClient(address, operator(), pipeline=name) if address else LabelingClient.of(name, operator()) as client
    ):
        for event_id in event_ids:
            try:
                state: str = client.case(event_id, most=1).record.state
            except RefusedError as refusal:
                if refusal.reason is not Reason.UNKNOWN_CASE:
                    raise
                state = "unknown"
            if state not in states:
                left.append(f"{event_id}: {state}")
    out.print(f"{len(event_ids) - len(left):,} would be {what}, {len(left):,} left as they are")
    for line in left[:_SHOWN]:
        out.print(Text.assemble(("left:", "yellow"), " ", safe(line)), soft_wrap=True)


def _named(event_ids: list[str]) -> list[str]:
    return sys.stdin.read().split() if event_ids == ["-"] else event_ids


def _show_changed(what: str, changed: Changed) -> None:
    out.print(f"{changed.number:,} {what}, {len(changed.left):,} left as they are")
    for event_id in changed.left[:_SHOWN]:
        out.print(Text.assemble(("left:", "yellow"), " ", safe(event_id)), soft_wrap=True)
