"""The screen of `tidemark label`: what keys do, drawn anew at each of them and when the terminal's size changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Final

from prompt_toolkit.application import Application
from prompt_toolkit.filters import Condition
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import ALL_KEYS, Keys
from prompt_toolkit.layout import ConditionalContainer, HSplit, Layout, Window

from labeling_grpc.client import AsyncLabelingClient
from tidemark.cli.sitting.answer_keys import Typed, keys_of
from tidemark.cli.sitting.box import Box
from tidemark.cli.sitting.class_keys import FIND, matching, numbers_of
from tidemark.cli.sitting.decisions import Intent
from tidemark.cli.sitting.drawn import Drawn
from tidemark.cli.sitting.layout import Look
from tidemark.cli.sitting.sitting import Sitting

_NAMED: Final = 12
"""Classes that are named where several fit what was typed."""

_ESCAPE_SECONDS: Final = 0.05
"""After so long an Esc is the key, and not the beginning of an arrow."""

_UNTOLD: Final = {Keys.Any, Keys.CPRResponse, Keys.SIGINT, Keys.Ignore, Keys.WindowsMouseEvent, Keys.Vt100MouseEvent}
"""Of prompt_toolkit's own."""


class Screen:
    """A sitting on a terminal."""

    def __init__(
        self, client: AsyncLabelingClient, *, blind: bool = False, most: int | None = None, wait: bool = True
    ) -> None:
        """Prepare.

        Args:
            client: Of the service.
            blind: Without what the model thinks.
            most: End after so many answers, skips and escalations.
            wait: For more cases, when none is left.

        """
        self.sitting = Sitting(client, most=most, wait=wait, changed=self._changed)
        self.look = Look(blind=blind)
        self._asked: str | None = None
        self._leaving = False
        self._work: asyncio.Task[None] | None = None
        self._aside: set[asyncio.Task[None]] = set()
        self._box = Box(self.sitting.say)
        self._open = Condition(lambda: self._box.is_open)
        self._drawn = Window(Drawn(self.sitting, self.look), always_hide_cursor=True)
        self._app: Application[None] = Application(
            Layout(HSplit([self._drawn, ConditionalContainer(self._box.window, self._open)]), self._drawn),
            key_bindings=self._bindings(),
            full_screen=True,
        )
        self._app.ttimeoutlen = _ESCAPE_SECONDS

    async def run(self) -> None:
        """Let the person work until they, or the queue, are done.

        Raises:
            RefusedError: The service gives out no cases, and says why.

        """
        work = self._work = asyncio.create_task(self.sitting.run())
        work.add_done_callback(lambda _work: self._leave())
        try:
            with suppress(EOFError):  # the terminal is gone
                await self._app.run_async(pre_run=lambda: self._leave() if work.done() else None)
        finally:
            for aside in self._aside:
                aside.cancel()
            work.cancel()
            with suppress(asyncio.CancelledError):
                await work

    def _leave(self) -> None:
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    def _changed(self) -> None:
        """Draw anew; another case begins with its first page."""
        shown = self.sitting.shown
        event_id = None if shown is None else shown.event_id
        if event_id != self._asked:
            self._asked = event_id
            if shown is not None:
                self._close()
                self.look.turn("case")
        self._app.invalidate()

    def _bindings(self) -> KeyBindings:
        keys: dict[str, Callable[[], None]] = {
            "enter": self._enter,
            "escape": self._escape,
            "tab": self._more,
            "backspace": self._backspace,
            "pagedown": self._page_down,
            "pageup": lambda: self.look.scroll(-max(1, self.look.body_height - 1)),
            "down": lambda: self.look.scroll(1),
            "up": lambda: self.look.scroll(-1),
            "home": lambda: self.look.scroll(-self.look.body_lines),
            "end": lambda: self.look.scroll(self.look.body_lines),
            "c-c": self._quit,
            "c-d": self._quit,
            "c-z": lambda: self._app.suspend_to_background(),  # noqa: PLW0108 - the application is made after its keys
            "c-l": lambda: self._app.renderer.clear(),  # noqa: PLW0108 - the same
            Keys.BracketedPaste: lambda: self.sitting.say("pasted text is no answer; c writes a comment"),
        }
        bindings = KeyBindings()
        free = ~self._open
        for name, do in keys.items():
            bindings.add(name, filter=free, eager=name == "escape")(self._drawing(do))
        other_names = {"c-m", "c-i", "c-h"}  # of Enter, Tab and Backspace
        for name in set(ALL_KEYS) - set(keys) - other_names - _UNTOLD:
            bindings.add(name, filter=free)(self._drawing(lambda name=name: self._wrong(name)))  # type: ignore[misc]
        bindings.add(Keys.Any, filter=free)(self._pressed)
        bindings.add(Keys.SIGINT)(self._drawing(lambda: self._close() if self._box.is_open else self._quit()))
        for name in ("escape", "c-c"):
            bindings.add(name, filter=self._open, eager=True)(self._drawing(self._close))
        return bindings

    def _drawing(self, do: Callable[[], None]) -> Callable[[KeyPressEvent], None]:
        def handler(_event: KeyPressEvent) -> None:
            do()
            self._app.invalidate()

        return handler

    def _pressed(self, event: KeyPressEvent) -> None:
        """A key that has a character."""
        key = event.data.lower()
        commands: dict[str, Callable[[], None]] = {
            " ": self._page_down,
            "?": lambda: self.look.turn("case" if self.look.page == "help" else "help"),
            "q": self._quit,
            "z": self.sitting.look_back,
            "s": lambda: self.sitting.decide(Intent("skip")),
            "u": lambda: self.sitting.decide(Intent("give back")),
            "c": lambda: self._ask("comment to your answer", self._comment, self.sitting.draft),
            "+": lambda: self._ask("tell whoever is given this case", self._tell),
            "!": lambda: self._ask("what makes it hard, for the reviewers", self._escalate),
        }
        task = self.sitting.shown
        if task is None or keys_of(task).finds:
            commands[FIND] = lambda: self._ask("class", self._find)
        if not self._answered(key):
            commands.get(key, lambda: self._wrong(key))()
        self._app.invalidate()

    def _answered(self, key: str) -> bool:
        """Take a key that is part of an answer, or all of it."""
        task = self.sitting.shown
        typed = None if task is None else keys_of(task).press(self.look.typed, key)
        if typed is not None:
            self._take(typed)
        return typed is not None

    def _take(self, typed: Typed) -> None:
        self.look.typed, self.look.problem = typed.text, typed.problem
        if typed.answer is not None:
            self.sitting.decide(Intent("answer", typed.answer))
        elif typed.problem and not typed.text:
            self.sitting.say(typed.problem)

    def _wrong(self, key: str) -> None:
        task = self.sitting.shown
        hint = "" if task is None else keys_of(task).hint
        self.sitting.say(f"{key!r} is no key here:{hint} ? shows all keys")

    def _enter(self) -> None:
        task = self.sitting.shown
        if not self.look.typed or task is None:
            self.sitting.confirm()
        else:
            self._take(keys_of(task).enter(self.look.typed))

    def _backspace(self) -> None:
        if self.look.typed:
            self.look.typed, self.look.problem = self.look.typed[:-1], ""
        else:
            self.sitting.take_back()

    def _page_down(self) -> None:
        self.look.scroll(max(1, self.look.body_height - 1))

    def _escape(self) -> None:
        if self.look.typed:
            self.look.typed = self.look.problem = ""
        elif self.look.page != "case":
            self.look.turn("case")
        elif self.sitting.looking_back is not None:
            self.sitting.look_ahead()
        else:
            self.sitting.say("nothing is open; q ends")

    def _more(self) -> None:
        shown = self.sitting.shown
        if shown is None:
            self.sitting.say("no case is waiting")
            return
        self.look.turn("case" if self.look.page == "more" else "more")
        if self.look.page == "more" and self.sitting.known is None:
            self.sitting.details, self.sitting.comments = None, []
            self._start(self.sitting.look_up())

    def _quit(self) -> None:
        if self.sitting.unsent is not None and not self._leaving:
            self._leaving = True
            self.sitting.say("what you decided is not with the service yet: once more to leave without it")
            return
        self._leave()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        aside = asyncio.create_task(work)
        self._aside.add(aside)
        aside.add_done_callback(self._aside.discard)

    def _ask(self, title: str, accept: Callable[[str], bool | None], text: str = "") -> None:
        """Let a line be typed below."""
        if self.sitting.shown is None:
            self.sitting.say("no case is waiting")
            return

        def entered(line: str) -> bool:
            if accept(line) is False:
                return False
            self._app.layout.focus(self._drawn)
            return True

        self.look.typed = ""
        self._box.open(title, entered, text)
        self._app.layout.focus(self._box.window)

    def _close(self) -> None:
        if self._box.is_open:
            self._box.close()
            self._app.layout.focus(self._drawn)

    def _comment(self, text: str) -> None:
        self.sitting.write(text)

    def _tell(self, text: str) -> None:
        if text:
            self._start(self.sitting.tell(text))

    def _escalate(self, text: str) -> None:
        if text:
            self.sitting.decide(Intent("escalate", text))
        else:
            self.sitting.say("not escalated: the reviewers need to know what makes it hard")

    def _find(self, text: str) -> bool:
        """Answer with the class of this name; False: there are several, or none."""
        task = self.sitting.shown
        if task is None or not text:
            return True
        found = matching(text, task.classes)
        if len(found) == 1:
            self._take(Typed(answer=found[0]))
            return True
        numbers = {name: number for number, name in numbers_of(task.classes).items()}
        names = ", ".join(f"{numbers[name]} {name}" for name in found[:_NAMED])
        self.sitting.say(f"several: {names}" if found else "no class has this in its name")
        return False
