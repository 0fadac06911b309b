from __future__ import annotations

import codecs
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeling import PIPELINE, SOURCE, arrivals, candidate, pipeline
from rich.console import Console
from typer.testing import CliRunner

from labeling_grpc.client import LabelingClient
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.server import LabelingServer, serve
from tidemark.cli.app import app
from tidemark.cli.case_view import Progress, rendered
from tidemark.cli.class_keys import COMMANDS, keys_of, matching, pressed
from tidemark.evaluation import final_labels
from tidemark.pipeline import parse
from tidemark.records import Label, decode
from tidemark.runtime.settings import Settings

RUN = """
import fcntl, signal, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
from tidemark.cli.app import main
main()
"""


class Terminal:
    """`tidemark label` in a terminal of its own."""

    def __init__(self, settings: Settings, *arguments: str) -> None:
        ours, theirs = pty.openpty()
        self.fd = ours
        self.seen = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        environment = os.environ | settings.environment() | {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, "label", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)

    def press(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def wait_for(self, text: str, timeout: float = 40.0) -> str:
        """What was shown up to `text`, without colours."""
        deadline = time.monotonic() + timeout
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], 0.1)
            if ready:
                self.seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._decoder.decode(os.read(self.fd, 65_536)))
            assert time.monotonic() < deadline, f"{text!r} is not shown:\n{self.seen}"
        shown, _, self.seen = self.seen.partition(text)
        return shown + text

    def status(self) -> int:
        return self.process.wait(10)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path).at("127.0.0.1:9")


@pytest.fixture
def server(settings: Settings) -> Iterator[LabelingServer]:
    with serve(pipeline("pay"), settings) as running:
        yield running


def test_a_sitting_at_the_terminal(server: LabelingServer, settings: Settings) -> None:
    asked = [candidate(i, priority=1 - i / 10, explore=i == 0) for i in range(5)]
    server._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
    with Terminal(settings, "pay", "--as", "ada") as terminal:
        first = terminal.wait_for("quit")
        assert "Is this payment fraud?" in first
        assert "drawn at random, to measure the model" in first
        assert "T0" in first
        assert re.search(r"channel\s+online", first)
        assert re.search(r"fraud\s+\S+\s+60\.0%", first)
        assert "4 waiting" in first
        terminal.press("f")
        assert re.search(r"fraud\s+.*T1\b.*1 answered", terminal.wait_for("quit"), re.DOTALL)
        terminal.press("x\x1b[A")
        terminal.press("c")
        terminal.wait_for("comment:")
        terminal.press("card was stolen\r")
        assert "card was stolen" in terminal.wait_for("quit")
        terminal.press("g")
        assert re.search(r"T2\b", terminal.wait_for("quit"))
        terminal.press("s")
        assert re.search(r"T3\b.*1 skipped", terminal.wait_for("quit"), re.DOTALL)
        terminal.press("u")
        assert re.search(r"given back.*T4\b", terminal.wait_for("quit"), re.DOTALL)
        terminal.press("q")
        terminal.wait_for("2 answered, 1 skipped: thank you, ada")
        assert terminal.status() == 0
    labels = [decode(Label, row.message.value) for row in server.store.unpublished(0, 100)]
    told = [(label.business_id, label.status, label.label, label.comment, label.annotator) for label in labels]
    assert told == [
        ("T0", "answered", "fraud", None, "ada"),
        ("T1", "answered", "genuine", "card was stolen", "ada"),
        ("T2", "skipped", None, None, "ada"),
    ]
    with LabelingClient(server.address, "ben") as other:
        assert [task.business_id for task in other.lease(9)] == ["T3", "T4"]


def test_a_key_pressed_by_mistake_is_undone(server: LabelingServer, settings: Settings) -> None:
    asked = [candidate(i, priority=1 - i / 10) for i in range(4)]
    server._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
    with Terminal(settings, "pay", "--as", "ada") as terminal:
        terminal.wait_for("quit")
        terminal.press("z")
        terminal.wait_for("quit")
        terminal.press("f")
        assert "T1" in terminal.wait_for("quit")
        terminal.press("z")
        assert "T0" in terminal.wait_for("any other key leaves it")
        terminal.press("g")
        assert "T1" in terminal.wait_for("quit")
        terminal.press("s")
        assert "T2" in terminal.wait_for("quit")
        terminal.press("z")
        terminal.wait_for("any other key leaves it")
        terminal.press("z")
        terminal.wait_for("quit")
        terminal.press("q")
        assert terminal.status() == 0
    labels = [decode(Label, row.message.value) for row in server.store.unpublished(0, 100)]
    first, corrected, skipped, back = labels
    assert [(label.business_id, label.status, label.label) for label in labels] == [
        ("T0", "answered", "fraud"),
        ("T0", "answered", "genuine"),
        ("T1", "skipped", None),
        ("T1", "retracted", None),
    ]
    assert (corrected.supersedes, back.supersedes) == (first.annotation_id, skipped.annotation_id)
    assert [(label.business_id, label.label) for label in final_labels(labels)] == [("T0", "genuine")]


def test_a_hard_case_is_handed_on_with_what_was_said_of_it(server: LabelingServer, settings: Settings) -> None:
    asked = [candidate(i, priority=1 - i / 10) for i in range(2)]
    server._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
    with LabelingClient(server.address, "ben") as other:
        other.comment(asked[0].event_id, "she called us")
        with Terminal(settings, "pay", "--as", "ada", "--no-wait") as terminal:
            assert re.search(r"T0\b.*said\s+ben: she called us", terminal.wait_for("quit"), re.DOTALL)
            terminal.press("+")
            terminal.wait_for("tell whoever is given this case:")
            terminal.press("from abroad\r")
            assert "ada: from abroad" in terminal.wait_for("quit")
            terminal.press("!")
            terminal.wait_for("no escalation):")
            terminal.press("\r")
            assert "T0" in terminal.wait_for("quit")
            terminal.press("!")
            terminal.wait_for("no escalation):")
            terminal.press("two names\r")
            assert "T1" in terminal.wait_for("quit")
            terminal.press("f")
            terminal.wait_for("1 answered, 0 skipped, 1 escalated: thank you, ada")
        details = other.case(asked[0].event_id)
    assert details.record.review
    assert [comment.text for comment in details.comments] == ["she called us", "from abroad", "two names"]


def test_waiting_at_the_terminal_and_leaving_with_ctrl_c(
    server: LabelingServer, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay"))
    with Terminal(settings, str(file), "--as", "ada", "--blind") as terminal:
        terminal.wait_for("no case is waiting")
        server._writer.call(TakeIn(SOURCE, None, 1, arrivals([candidate(1)])))
        shown = terminal.wait_for("quit")
        assert "60.0%" not in shown
        assert "uncertainty" not in shown
        terminal.press("\x03")
        terminal.wait_for("0 answered, 0 skipped")
        assert terminal.status() == 0
    with LabelingClient(server.address, "ben") as other:
        assert len(other.lease()) == 1


def test_an_empty_queue_ends_the_sitting_when_asked_to(server: LabelingServer, settings: Settings) -> None:
    with Terminal(settings, "pay", "--address", server.address, "--no-wait") as terminal:
        terminal.wait_for("no case is waiting")
        assert terminal.status() == 0


def test_a_sitting_that_is_over_holds_no_case(server: LabelingServer, settings: Settings) -> None:
    asked = [candidate(i, priority=1 - i / 10) for i in range(3)]
    server._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
    with Terminal(settings, "pay", "--as", "ada", "--max", "2") as terminal:
        terminal.wait_for("quit")
        terminal.press("f")
        assert "T1" in terminal.wait_for("quit")
        terminal.press("f")
        assert terminal.status() == 0
    assert (server.store.counts.leased, server.store.counts.answered) == (0, 2)


def test_without_a_terminal_the_command_names_the_client() -> None:
    result = CliRunner().invoke(app, ["label", "pay"])
    assert result.exit_code == 1
    assert "needs a terminal" in result.output


@given(st.lists(st.text(min_size=1, max_size=6), min_size=2, max_size=300, unique=True))
def test_every_class_has_a_key_or_a_number_of_its_own(classes: list[str]) -> None:
    keys = keys_of(classes)
    assert list(keys.values()) == classes
    assert not any(key in COMMANDS for key in keys)
    assert len({len(key) for key in keys}) == 1, "none is the beginning of another"
    assert len(classes) > 20 or all(len(key) == 1 for key in keys)
    for key, name in keys.items():
        following = iter(key[1:])
        assert pressed(key[0], keys, lambda _typed, rest=following: next(rest)) == name  # type: ignore[misc]


def test_what_is_typed_of_a_number_can_be_taken_back_or_given_up() -> None:
    classes = [f"class {number}" for number in range(1, 101)]
    keys = keys_of(classes)
    assert keys["042"] == "class 42"

    def typed(*following: str) -> str | None:
        rest = iter(following)
        return pressed("0", keys, lambda _typed: next(rest))

    assert typed("4", "2") == "class 42"
    assert typed("4", "\x7f", "1", "7") == "class 17"
    assert typed("\x7f") is None
    assert typed("\x1b") is None
    assert typed("9", "9") == "class 99"
    assert pressed("x", keys, str) is None


@given(st.lists(st.text("abAB c", min_size=1, max_size=4), min_size=1, max_size=30, unique=True), st.data())
def test_a_class_is_found_by_its_name(classes: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(classes))
    found = matching(name, classes)
    if name.strip():
        assert name in found
        assert all(name.strip().casefold() in its.casefold() for its in found)
    assert matching("  ", classes) == []
    assert matching("no such", classes) == []


def test_a_case_of_forty_classes_is_answered_by_number_and_by_name(settings: Settings) -> None:
    classes = [f"kind {number}" for number in range(40)]
    text = PIPELINE.replace("NAME", "pay").replace('["genuine", "fraud"]', str(classes).replace("'", '"'))
    many = parse(text.replace('positive = "fraud"', 'positive = "kind 7"'), "test.toml")
    with serve(many, settings) as server:
        shares = [0.02] * 39 + [0.22]
        asked = [candidate(i, priority=1 - i / 10, probabilities=shares) for i in range(3)]
        asked.append(candidate(3, priority=0.1, probabilities=[0.4, 0.6]))
        server._writer.call(TakeIn(SOURCE, None, len(asked), arrivals(asked)))
        with Terminal(settings, "pay", "--as", "ada", "--no-wait") as terminal:
            assert re.search(r"kind 39\s+\S+\s+22\.0%", terminal.wait_for("quit"))
            terminal.press("40")
            assert re.search(r"T1\b", terminal.wait_for("quit"))
            terminal.press("/")
            terminal.wait_for("class:")
            terminal.press("kind 1\r")
            assert re.search(r"T2\b", terminal.wait_for("quit"))
            terminal.press("/")
            terminal.wait_for("class:")
            terminal.press("KIND 3\r")
            assert re.search(r"T3\b.*spoke of other classes", terminal.wait_for("quit"), re.DOTALL)
            terminal.press("/")
            terminal.wait_for("class:")
            terminal.press("ind 2\r")
            assert "kind 20" in terminal.wait_for("kind 29")
            terminal.press("s")
            assert terminal.status() == 0
        labels = [decode(Label, row.message.value) for row in server.store.unpublished(0, 100)]
    assert [label.label for label in labels] == ["kind 39", "kind 1", "kind 3", None]


def test_all_that_was_said_is_shown_when_asked_for(server: LabelingServer, settings: Settings) -> None:
    server._writer.call(TakeIn(SOURCE, None, 1, arrivals([candidate(0)])))
    with LabelingClient(server.address, "ben") as other:
        for number in range(60):
            other.comment(candidate(0).event_id, f"remark {number}")
    with Terminal(settings, "pay", "--as", "ada", "--no-wait") as terminal:
        assert "10 earlier comments are left out" in terminal.wait_for("quit")
        terminal.press("?")
        assert "remark 3\r" in terminal.wait_for("Enter goes back")
        terminal.press("\r")
        terminal.wait_for("quit")
        terminal.press("q")
        assert terminal.status() == 0


def test_keys_are_first_letters_where_they_can_be() -> None:
    assert keys_of(["genuine", "fraud"]) == {"g": "genuine", "f": "fraud"}
    assert keys_of(["sepsis", "healthy", "heart"]) == {"1": "sepsis", "2": "healthy", "3": "heart"}


def test_nothing_from_outside_reaches_the_terminal_as_a_command(server: LabelingServer) -> None:
    evil = "\x1b[2Jgone\u202eresu [bold red]x[/] [/nothing]"
    asked = candidate(1, business_id=evil, key=evil, context={evil: evil}, features={evil: 1.0})
    server._writer.call(TakeIn(SOURCE, None, 1, arrivals([asked])))
    with LabelingClient(server.address, "ada") as client:
        (task,) = client.lease()
    console = Console(width=120, force_terminal=False, record=True, file=Path(os.devnull).open("w"))  # noqa: SIM115
    console.print(rendered(task, Progress(0, 0, 0.0, 0), blind=False))
    text = console.export_text()
    console.file.close()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold red]x[/] [/nothing]" in text
