"""`tidemark label PIPELINE`: answer cases in the terminal, by a key, a number or a name."""

from __future__ import annotations

import getpass
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from labeling_grpc.client import Annotation, Comment, LabelingClient, RefusedError, Submitted, Task
from labeling_grpc.client.messages import one
from tidemark.cli.case_view import Progress, discussion, rendered
from tidemark.cli.class_keys import FIND, MANY, keys_of, matching, pressed
from tidemark.cli.console import out, told
from tidemark.cli.keyboard import Keyboard
from tidemark.cli.pipeline_file import load
from tidemark.cli.service import runs_here
from tidemark.errors import ConfigError
from tidemark.runtime.safe_text import safe

app = typer.Typer(add_completion=False)

_QUIT: Final = {"q", "\x1b"}

_NAMED: Final = 12
"""Classes that are named where several fit what was typed."""

LEASE_SECONDS: Final = 120.0
"""Renewed for as long as the case is on the screen; a closed lid gives the case to others after this time."""


class Sitting:
    """One annotator at one terminal."""

    def __init__(self, client: LabelingClient, console: Console, keyboard: Keyboard) -> None:
        self.answered = 0
        self.skipped = 0
        self.escalated = 0
        self._last: tuple[Task, str] | None = None
        self._next: list[Task] = []
        self._client = client
        self._console = console
        self._keyboard = keyboard
        self._started = time.monotonic()

    def run(self, *, blind: bool, most: int | None, wait: bool) -> None:
        """Show cases until `q`, `most` answers and skips, or (unless `wait`) until none is left."""
        told_to_wait = False
        while (left := None if most is None else most - self.answered - self.skipped - self.escalated) != 0:
            tasks = self._next or self._client.lease(wait=1.0 if wait else 0.0, lease=LEASE_SECONDS)
            self._next = []
            with self._client.keep(tasks, lease=LEASE_SECONDS):
                if tasks:
                    told_to_wait = False
                    if not self._ask(tasks[0], blind=blind, last=left == 1):
                        return
                    continue
            if not wait:
                self._console.print("no case is waiting")
                return
            if not told_to_wait:
                self._console.print("no case is waiting; the next one is shown when it comes (q ends)", style="dim")
                told_to_wait = True
            if self._keyboard.key(0.0) in _QUIT:
                return

    def _ask(self, task: Task, *, blind: bool, last: bool) -> bool:
        """Show a case until a key decides it; False: the person is done. last: no other is to follow."""
        answers = keys_of(task.classes)
        comment = ""
        self._show(task, blind=blind, comment=comment)
        while True:
            key = self._keyboard.key().lower()
            if (chosen := self._chosen(key, task, answers)) is not None:
                answer = Annotation(task, chosen, comment=comment)
                self._end(task, partial(self._answer, answer, last=last), chosen)
                return True
            match key:
                case "s":
                    self._end(task, partial(self._client.skip, task, comment), "skipped")
                    return True
                case "u":
                    self._console.print("given back", style="dim")
                    return True
                case "!" if self._escalate(task):
                    return True
                case "z" | "c" | "+" | "!" | "?":
                    task, comment = self._aside(key, task, comment, blind=blind)
                    self._show(task, blind=blind, comment=comment)
                case _ if key in _QUIT:
                    return False
                case _:
                    pass

    def _chosen(self, key: str, task: Task, keys: Mapping[str, str]) -> str | None:
        """The class that a key, or what is typed after it, stands for."""
        if key != FIND or len(task.classes) < MANY:
            return pressed(key, keys, self._following)
        found = matching(self._keyboard.line("class"), task.classes)
        if len(found) == 1:
            return found[0]
        names = ", ".join(f"{safe(code)} {safe(name)}" for code, name in keys.items() if name in found[:_NAMED])
        self._console.print(f"several: {names}" if found else "no class has this in its name", style="yellow")
        return None

    def _following(self, typed: str) -> str:
        self._console.print(f"{typed}_", style="dim")
        return self._keyboard.key()

    def _aside(self, key: str, task: Task, comment: str, *, blind: bool) -> tuple[Task, str]:
        """Do what a key stands for that decides nothing; the case, and the comment to its answer, as they are then."""
        match key:
            case "z":
                self._undo(blind=blind)
            case "c":
                comment = self._keyboard.line("comment")
            case "+":
                task = self._tell(task)
            case "?":
                self._console.print(discussion(self._client.comments(task.event_id)))
                self._keyboard.line("Enter goes back")
            case _:
                pass
        return task, comment

    def _answer(self, answer: Annotation, *, last: bool) -> Submitted:
        """Answer and have the next case at once. Where none is given, and why, the next lease tells."""
        if last:
            return one(self._client.submit_many([answer]))
        turn = self._client.submit_and_lease([answer], lease=LEASE_SECONDS)
        self._next = turn.tasks
        return one(turn.outcomes)

    def _end(self, task: Task, call: Callable[[], Submitted | str], what: str) -> None:
        try:
            given = call()
        except RefusedError as refusal:
            self._refused(refusal)
            return
        self._last = task, given if isinstance(given, str) else given.annotation_id
        if what == "skipped":
            self.skipped += 1
        else:
            self.answered += 1
        self._console.print(safe(what), style="bold")

    def _tell(self, task: Task) -> Task:
        """Say something about a case to whoever is given it; the case with what was said."""
        text = self._keyboard.line("tell whoever is given this case")
        if not text:
            return task
        try:
            self._client.comment(task.event_id, text)
        except RefusedError as refusal:
            self._refused(refusal)
            return task
        return replace(task, comments=(*task.comments, Comment(self._client.annotator, text, 0)))

    def _escalate(self, task: Task) -> bool:
        """Hand a case on to the reviewers; False if nothing was said of what makes it hard."""
        reason = self._keyboard.line("what makes it hard (nothing: no escalation)")
        if not reason:
            return False
        self._last = None
        try:
            self._client.escalate(task, reason)
        except RefusedError as refusal:
            self._refused(refusal)
            return True
        self.escalated += 1
        self._console.print("escalated", style="bold")
        return True

    def _refused(self, refusal: RefusedError) -> None:
        self._console.print(Text.assemble(("not taken:", "yellow"), " ", safe(str(refusal))))

    def _undo(self, *, blind: bool) -> None:
        """Ask the case before once more; the new answer supersedes the one that was given."""
        if self._last is None:
            self._console.print("nothing to undo", style="dim")
            return
        task, annotation = self._last
        self._show(task, blind=blind, comment="")
        self._console.print(
            Text.assemble(("undo:", "yellow"), " answer once more, z takes the answer back, any other key leaves it")
        )
        key = self._keyboard.key().lower()
        try:
            if (chosen := self._chosen(key, task, keys_of(task.classes))) is not None:
                self._last = task, self._client.amend(annotation, chosen).annotation_id
            elif key == "z":
                self._client.retract(annotation)
                self._last = None
        except RefusedError as refusal:
            self._refused(refusal)

    def _show(self, task: Task, *, blind: bool, comment: str) -> None:
        progress = Progress(
            answered=self.answered,
            skipped=self.skipped,
            seconds=time.monotonic() - self._started,
            waiting=self._client.stats().waiting,
        )
        self._keyboard.forget()
        self._console.clear()
        self._console.print(rendered(task, progress, blind=blind, comment=comment))


def _name(pipeline: str) -> str:
    """The name of a pipeline, or of the one in a file."""
    return load(Path(pipeline)).name if pipeline.endswith(".toml") or Path(pipeline).is_file() else pipeline


@app.command()
def label(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="The pipeline's TOML file, or its name.")],
    annotator: Annotated[str, typer.Option("--as", metavar="NAME", help="Who answers.")] = "",
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The labeling service; by default the one that runs here.")
    ] = "",
    blind: Annotated[bool, typer.Option("--blind", help="Hide what the model thinks.")] = False,
    most: Annotated[int | None, typer.Option("--max", min=1, help="Stop after so many cases.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for more cases when none is left.")] = True,
) -> None:
    """Answer cases in the terminal: what it is, why it was asked, one key to answer."""
    with told():
        who = annotator or getpass.getuser()
        if not (out.is_terminal and sys.stdin.isatty()):
            raise ConfigError(
                "tidemark label needs a terminal; a program uses labeling_grpc.client.LabelingClient instead"
            )
        name = _name(pipeline)
        if not address:
            runs_here(name, pipeline)
        connected = LabelingClient(address, who, pipeline=name) if address else LabelingClient.of(name, who)
        with connected as client, Keyboard() as keyboard:
            sitting = Sitting(client, out, keyboard)
            try:
                sitting.run(blind=blind, most=most, wait=wait)
            except KeyboardInterrupt:
                out.print()
            escalated = f", {sitting.escalated} escalated" if sitting.escalated else ""
            out.print(f"{sitting.answered} answered, {sitting.skipped} skipped{escalated}: thank you, {safe(who)}")
