"""`tidemark label` on a terminal."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from labeling import PIPELINE, SOURCE, arrivals, candidate, pipeline
from terminal import Terminal
from typer.testing import CliRunner

from labeling_grpc.client import LabelingClient
from labeling_grpc.commands.labeling import TakeIn
from labeling_grpc.server import LabelingServer, serve
from tidemark.cli.app import app
from tidemark.evaluation import final_labels
from tidemark.pipeline import parse
from tidemark.pipeline.model import LabelSpec
from tidemark.records import Candidate, Label, decode
from tidemark.runtime.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path).at("127.0.0.1:9")


@pytest.fixture
def server(settings: Settings) -> Iterator[LabelingServer]:
    with serve(pipeline("pay"), settings) as running:
        yield running


def labeling(settings: Settings, *arguments: str, columns: int = 80, lines: int = 24) -> Terminal:
    return Terminal(settings.environment(), "label", *arguments, columns=columns, lines=lines)


def queued(server: LabelingServer, *asked: Candidate) -> None:
    server._writer.call(TakeIn(SOURCE, None, len(asked), arrivals([*asked])))


def labels_of(server: LabelingServer) -> list[Label]:
    return [decode(Label, row.message.value) for row in server.store.unpublished(0, 100)]


def test_a_sitting_at_a_terminal_of_80_columns_and_24_lines(server: LabelingServer, settings: Settings) -> None:
    features = {f"feature_{number:02}": number + 0.5 for number in range(30)}
    queued(server, *[candidate(i, priority=1 - i / 10, explore=i == 0, features=features) for i in range(5)])
    with labeling(settings, "pay", "--as", "ada") as terminal:
        first = terminal.wait_for("quit", "4 waiting")
        assert first.startswith("Is this payment fraud?\nid T0 · of C0")
        assert "drawn at random, to measure the model" in first
        assert re.search(r"channel +online", first)
        assert re.search(r"1 g +genuine +2 f +fraud", first)
        assert "feature_29" not in first
        terminal.press("\x1b[F")
        last = terminal.wait_for("feature_29", "60.0%")
        assert last.startswith("Is this payment fraud?\nid T0 · of C0")
        assert re.search(r"1 g +genuine +2 f +fraud", last)
        terminal.press("x")
        terminal.wait_for("'x' is no key here: 1 to 2 answer, ? shows all keys")
        terminal.press("\x1b[15~")
        terminal.wait_for("'f5' is no key here")
        terminal.press("?")
        terminal.wait_for("skip: nobody is asked again", "Ctrl-C")
        terminal.press("?")
        terminal.press("2")
        terminal.wait_for("id T1", "T0: fraud   (z undoes it)", "1 answered")
        terminal.press("c")
        terminal.wait_for("comment to your answer:")
        terminal.press("no\x1b")
        terminal.wait_for("id T1", gone="comment to your answer:")
        terminal.press("c")
        terminal.wait_for("comment to your answer:")
        terminal.press("no\x03")
        terminal.wait_for("id T1", gone="comment to your answer:")
        terminal.press("c")
        terminal.wait_for("comment to your answer:")
        terminal.press("card was stolen\r")
        terminal.wait_for("your comment  card was stolen", gone="comment to your answer:")
        terminal.press("g")
        terminal.wait_for("id T2")
        terminal.press("s")
        terminal.wait_for("id T3", "1 skipped")
        terminal.press("u")
        terminal.wait_for("id T4", "given back")
        terminal.press("q")
        assert terminal.status() == 0
        assert "2 answered, 1 skipped: thank you, ada" in terminal.text
    told = [(label.business_id, label.status, label.label, label.comment) for label in labels_of(server)]
    assert told == [
        ("T0", "answered", "fraud", None),
        ("T1", "answered", "genuine", "card was stolen"),
        ("T2", "skipped", None, None),
    ]
    with LabelingClient(server.address, "ben") as other:
        assert [task.business_id for task in other.lease(9)] == ["T3", "T4"]


def test_ten_answers_and_skips_can_be_undone_and_are_counted_as_they_are_then(
    server: LabelingServer, settings: Settings
) -> None:
    queued(server, *[candidate(i, priority=1 - i / 100) for i in range(13)])
    with labeling(settings, "pay", "--as", "ada") as terminal:
        terminal.wait_for("id T0")
        terminal.press("z")
        terminal.wait_for("nothing to undo")
        for number in range(12):
            terminal.wait_for(f"id T{number} ")
            terminal.press("s" if number % 2 else "f")
        terminal.wait_for("id T12", "6 answered", "6 skipped")
        for number in range(11, 1, -1):
            terminal.press("z")
            terminal.wait_for(f"an earlier case: T{number}:")
        terminal.press("z")
        terminal.wait_for("the last 10 can be undone", "an earlier case: T2: fraud")
        terminal.press("g")
        terminal.wait_for("id T12", "corrected: T2: genuine", "6 answered")
        terminal.press("z")
        terminal.wait_for("an earlier case: T11: skipped")
        terminal.press("\x7f")
        terminal.wait_for("id T12", "taken back: T11: skipped", "5 skipped")
        terminal.press("z")
        terminal.wait_for("an earlier case: T10")
        terminal.press("z")
        terminal.wait_for("an earlier case: T9: skipped")
        terminal.press("1")
        terminal.wait_for("corrected: T9: genuine", "7 answered", "4 skipped")
        terminal.press("z")
        terminal.wait_for("an earlier case: T10")
        terminal.press("\x1b")
        terminal.wait_for("id T12", gone="an earlier case")
        terminal.press("q")
        assert terminal.status() == 0
        assert "7 answered, 4 skipped" in terminal.text
    labels = labels_of(server)
    assert [(label.business_id, label.status, label.label) for label in labels[12:]] == [
        ("T2", "answered", "genuine"),
        ("T11", "retracted", None),
        ("T9", "answered", "genuine"),
    ]
    by_id = {label.annotation_id: label for label in labels}
    assert [by_id[str(label.supersedes)].business_id for label in labels[12:]] == ["T2", "T11", "T9"]
    answered = [label for label in final_labels(labels) if label.status == "answered"]
    assert len(answered) == 7


def test_a_hard_case_is_handed_on_with_what_was_said_of_it(server: LabelingServer, settings: Settings) -> None:
    asked = [candidate(i, priority=1 - i / 10) for i in range(2)]
    queued(server, *asked)
    with LabelingClient(server.address, "ben") as other:
        for number in range(60):
            other.comment(asked[0].event_id, f"remark {number}")
        with labeling(settings, "pay", "--as", "ada", "--no-wait", lines=80) as terminal:
            terminal.wait_for("id T0", "ben: remark 59", "10 earlier comments: Tab shows all")
            terminal.press("+")
            terminal.wait_for("tell whoever is given this case:")
            terminal.press("from abroad\r")
            terminal.wait_for("ada: from abroad")
            terminal.press("\t")
            terminal.wait_for("no earlier case of the same key", "what was said")
            terminal.press("\x1b[F")
            terminal.wait_for("ben: remark 0")
            terminal.press("!")
            terminal.wait_for("what makes it hard, for the reviewers:")
            terminal.press("\r")
            terminal.wait_for("not escalated", "id T0")
            terminal.press("!")
            terminal.wait_for("what makes it hard, for the reviewers:")
            terminal.press("two names\r")
            terminal.wait_for("id T1")
            terminal.press("f")
            assert terminal.status() == 0
            assert "1 answered, 0 skipped, 1 escalated: thank you, ada" in terminal.text
        details = other.case(asked[0].event_id)
    assert details.record.review
    assert [comment.text for comment in details.comments][-2:] == ["from abroad", "two names"]


def test_waiting_at_the_terminal_and_leaving_with_ctrl_c(
    server: LabelingServer, settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "pay.toml"
    file.write_text(PIPELINE.replace("NAME", "pay"))
    with labeling(settings, str(file), "--as", "ada", "--blind") as terminal:
        terminal.wait_for("no case is waiting")
        queued(server, candidate(1))
        shown = terminal.wait_for("id T1")
        assert "60.0%" not in shown
        assert "uncertainty" not in shown
        terminal.press("\x03")
        assert terminal.status() == 0
        assert "0 answered, 0 skipped" in terminal.text
    with LabelingClient(server.address, "ben") as other:
        assert len(other.lease()) == 1


def test_an_empty_queue_ends_the_sitting_when_asked_to(server: LabelingServer, settings: Settings) -> None:
    with labeling(settings, "pay", "--address", server.address, "--no-wait") as terminal:
        assert terminal.status() == 0
        assert "no case is waiting" in terminal.text


def test_a_sitting_that_is_over_holds_no_case(server: LabelingServer, settings: Settings) -> None:
    queued(server, *[candidate(i, priority=1 - i / 10) for i in range(3)])
    with labeling(settings, "pay", "--as", "ada", "--max", "2") as terminal:
        terminal.wait_for("id T0")
        terminal.press("f")
        terminal.wait_for("id T1")
        terminal.press("f")
        assert terminal.status() == 0
    assert (server.store.counts.leased, server.store.counts.answered) == (0, 2)


def test_the_screen_is_drawn_anew_when_the_terminal_changes_its_size(
    server: LabelingServer, settings: Settings
) -> None:
    queued(server, candidate(0, features={f"feature_{number:02}": float(number) for number in range(30)}))
    with labeling(settings, "pay", columns=120, lines=50) as terminal:
        terminal.wait_for("feature_29", "60.0%")
        terminal.resize(50, 18)
        small = terminal.wait_for("lines 1–", "id T0", "quit", "waiting", gone="feature_29")
        assert small.startswith("Is this payment fraud?")
        terminal.resize(120, 50)
        terminal.wait_for("feature_29", "60.0%", gone="lines 1–")
        terminal.press("q")
        assert terminal.status() == 0


def test_an_answer_is_kept_while_the_service_is_away(settings: Settings) -> None:
    with serve(pipeline("pay"), settings) as server:
        queued(server, candidate(0), candidate(1, priority=0.1))
        terminal = labeling(settings, "pay", "--as", "ada")
        terminal.wait_for("id T0")
    with terminal:
        terminal.press("f")
        terminal.wait_for("the service is away since", "what you decided (fraud) is kept")
        terminal.press("g")
        terminal.press("q")
        with serve(pipeline("pay"), settings) as server:
            terminal.wait_for("id T1", "1 answered", gone="away since")
            assert [(label.business_id, label.label) for label in labels_of(server)] == [("T0", "fraud")]
            terminal.press("q")
            assert terminal.status() == 0


def test_it_is_said_at_once_that_the_service_is_down(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # listens, and never answers
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        for arguments, told in (
            ((), "pipeline 'pay' is not started yet: no labeling service of it runs here"),
            (("--address", "127.0.0.1:9"), "the labeling service of pipeline 'pay' is down"),
            (("--address", address), "the labeling service of pipeline 'pay' is down"),
        ):
            begun = time.monotonic()
            with labeling(settings, "pay", *arguments, columns=400) as terminal:
                assert terminal.status() == 1
                # Three seconds where nothing else runs: 2 at most for the service, the rest to start.
                assert time.monotonic() - begun < 20
                assert told in terminal.text
                assert "`tidemark up" in terminal.text


def test_without_a_terminal_the_command_names_the_client() -> None:
    result = CliRunner().invoke(app, ["label", "pay"])
    assert result.exit_code == 1
    assert "needs a terminal" in result.output


def test_a_case_of_forty_classes_is_answered_by_number_and_by_name(settings: Settings) -> None:
    classes = [f"kind {number}" for number in range(40)]
    text = PIPELINE.replace("NAME", "pay").replace('["genuine", "fraud"]', str(classes).replace("'", '"'))
    many = parse(text.replace('positive = "fraud"', 'positive = "kind 7"'), "test.toml")
    with serve(many, settings) as server:
        shares = [0.02] * 39 + [0.22]
        asked = [candidate(i, priority=1 - i / 10, probabilities=shares) for i in range(4)]
        queued(server, *asked, candidate(4, priority=0.1, probabilities=[0.4, 0.6]))
        with labeling(settings, "pay", "--as", "ada", "--no-wait", lines=30) as terminal:
            assert re.search(r"kind 39 +\S+ +22\.0%", terminal.wait_for("id T0", "kind 39"))
            terminal.press("40")
            terminal.wait_for("id T1", "T0: kind 39")
            terminal.press("7")
            terminal.wait_for("class 7_ (Enter takes it")
            terminal.press("\x7f8\r")
            terminal.wait_for("id T2", "T1: kind 7")
            terminal.press("99")
            terminal.wait_for("there is no class 99: they go from 1 to 40")
            terminal.press("/")
            terminal.wait_for("class:")
            terminal.press("ind 2\r")
            terminal.wait_for("several: 03 kind 2, 21 kind 20")
            terminal.press("\x1b/")
            terminal.press("kind 1\r")
            terminal.wait_for("id T3", "T2: kind 1")
            terminal.press("/")
            terminal.wait_for("class:")
            terminal.press("KIND 3\r")
            terminal.wait_for("id T4", "spoke of other classes")
            terminal.press("s")
            assert terminal.status() == 0
        assert [label.label for label in labels_of(server)] == ["kind 39", "kind 7", "kind 1", "kind 3", None]


def test_a_number_is_typed_sent_by_enter_and_corrected(settings: Settings) -> None:
    made = pipeline("pay")
    spec = {"type": "number", "unit": "h", "min": 0, "max": 500, "delay": "7d", "question": "How long will it last?"}
    wear = made.model_copy(update={"label": LabelSpec.model_validate(spec)})
    with serve(wear, settings) as server:
        queued(server, *[candidate(i, priority=1 - i / 10) for i in range(3)])
        with labeling(settings, "pay", "--as", "ada") as terminal:
            first = terminal.wait_for("0 to 500 h", "2 waiting")
            assert first.startswith("How long will it last?\nid T0")
            assert "find" not in first
            terminal.press("x")
            terminal.wait_for("'x' is no key here: digits and Enter answer")
            terminal.press("41.55")
            terminal.press("\x7f")
            terminal.wait_for("number 41.5_ h (Enter sends it")
            terminal.press("\r")
            terminal.wait_for("T0: 41.5", "id T1")
            terminal.press("900")
            terminal.press("\r")
            terminal.wait_for("900 is no number from 0 to 500 h", "id T1")
            terminal.press("\x1b")
            terminal.press("z")
            terminal.wait_for("an earlier case: T0: 41.5")
            terminal.press("42")
            terminal.press("\r")
            terminal.wait_for("corrected: T0: 42.0", "id T1")
            terminal.press("?")
            terminal.wait_for("type the number; Enter sends it")
            terminal.press("q")
        given, corrected = labels_of(server)
    assert (given.label, corrected.label, corrected.supersedes) == ("41.5", "42.0", given.annotation_id)
