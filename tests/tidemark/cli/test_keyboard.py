"""Keys of a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
from collections.abc import Iterator

import pytest

from tidemark.cli.keyboard import Keyboard


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The far end of the terminal that is standard input."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs) as standard_input:
        monkeypatch.setattr(sys, "stdin", standard_input)
        yield ours
    os.close(ours)


def test_arrows_are_no_keys_and_a_wait_can_end_without_one(terminal: int) -> None:
    with Keyboard() as keyboard:
        os.write(terminal, b"\x1b[Af\x1bOBg")
        assert [keyboard.key(10), keyboard.key(10), keyboard.key(0)] == ["f", "g", ""]


def test_keys_pressed_too_early_are_dropped(terminal: int) -> None:
    with Keyboard() as keyboard:
        os.write(terminal, b"fg")
        assert keyboard.key(10) == "f"
        keyboard.forget()
        assert keyboard.key(0) == ""


def test_a_signal_just_before_the_wait_is_not_left_until_the_next_key(
    terminal: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interpreter has handled what came before the system call; only the wake-up descriptor tells of it."""
    waits: list[None] = []
    wait = select.select

    def signalled_first(
        readers: list[int], writers: list[int], others: list[int], timeout: float | None
    ) -> tuple[list[int], list[int], list[int]]:
        waits.append(None)
        if len(waits) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            os.write(terminal, b"f")
        return wait(readers, writers, others, timeout)

    monkeypatch.setattr(select, "select", signalled_first)
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with Keyboard() as keyboard:
            assert keyboard.key(20) == "f"
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_terminal_and_the_wake_up_descriptor_are_as_they_were(terminal: int) -> None:
    with Keyboard():
        pass
    assert signal.set_wakeup_fd(-1) == -1
    os.write(terminal, b"line\n")
    assert sys.stdin.readline() == "line\n"
