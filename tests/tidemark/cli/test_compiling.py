"""`tidemark up` says what it compiles before anything runs, and how far it is."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from support import wait_until
from tidemark import warmup
from tidemark.cli import compiling
from tidemark.cli.compiling import Compiling
from tidemark.cli.console import SafeConsole
from tidemark.runtime.settings import Settings

TELLS = """
import json, sys
if sys.argv[1] != "0":
    sys.exit()
for done, kernel in enumerate(["windows", "forest", "a\\x1b[2Jstranger"]):
    print(json.dumps({"kernel": kernel, "done": done, "of": 3}), flush=True)
"""
ENDLESS = TELLS + "import time\ntime.sleep(600)\n"
FAILS = TELLS + "print('no room for \\x1b[2J code', flush=True)\nsys.exit(3)\n"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return Settings.from_environment({"TIDEMARK_CACHE": str(tmp_path / "cache"), "TIDEMARK_HOME": str(tmp_path)})


def run(program: str, settings: Settings, *, terminal: bool, line_seconds: float = 5.0) -> str:
    """What is shown while a program runs as the one that compiles."""
    (settings.state_dir / "compiles.py").write_text(program)
    console = SafeConsole(file=io.StringIO(), width=80, height=24, force_terminal=terminal)
    with Compiling(settings, console, "compiles", line_seconds=line_seconds) as compilation:
        compilation.wait()
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_without_a_terminal_it_is_told_in_lines(settings: Settings) -> None:
    told = run(TELLS, settings, terminal=False, line_seconds=0.0).splitlines()
    assert told[0] == "compiling kernels, once for each version: less than a minute"
    assert told[1:-1] == [f"kernels: {done} of 3 compiled" for done in range(3)]
    assert told[-1].startswith("3 kernels are compiled, ")


def test_in_a_terminal_a_bar_names_the_kernel_and_how_many_are_done(settings: Settings) -> None:
    told = re.sub(r"\x1b\[[0-9;]*m", "", run(TELLS, settings, terminal=True))
    assert "compiling kernels, once" in told
    assert "1 left" in told
    assert "3 kernels are compiled, " in told
    assert max(len(line) for line in re.split(r"[\r\n]", told)) <= 80
    assert "\x1b[2Jstranger" not in told


def test_what_was_compiled_is_not_told_of_again_until_a_source_changes(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(TELLS, settings, terminal=False) != ""
    assert run(FAILS, settings, terminal=False) == ""
    monkeypatch.setattr(compiling, "version", lambda _: "another")
    assert run(TELLS, settings, terminal=False) != ""


def test_what_can_not_be_compiled_is_left_to_the_flows(settings: Settings) -> None:
    told = run(FAILS, settings, terminal=False).splitlines()
    assert told[-1] == (
        "kernels were not compiled beforehand (no room for \\x1b[2J code); each flow compiles what it needs"
    )
    assert run(TELLS, settings, terminal=False) != ""


def commands_below() -> Iterator[str]:
    """Command lines of all that this process has begun and that runs."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended, and nobody has asked how
            yield " ".join(child.cmdline())


def test_whoever_stops_meanwhile_leaves_no_process_behind(settings: Settings) -> None:
    (settings.state_dir / "compiles.py").write_text(ENDLESS)
    console = SafeConsole(file=io.StringIO(), width=80)
    begin = time.monotonic()
    with suppress(KeyboardInterrupt), Compiling(settings, console, "compiles"):
        wait_until(lambda: "compiling" in console.file.getvalue(), "it has not begun")  # type: ignore[attr-defined]
        raise KeyboardInterrupt
    assert time.monotonic() - begin < 30
    assert [command for command in commands_below() if "compiles" in command] == []
    assert "compiled beforehand" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_process_that_compiles_tells_each_kernel_before_it_begins_with_it() -> None:
    program = (
        "from tidemark import warmup\n"
        "warmup.EXAMPLES = {name: (lambda: None) for name in warmup.EXAMPLES}\n"
        "warmup.main(['0', '1'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["kernel"] for line in told] == [*warmup.share(0, 1), ""]
    assert [line["done"] for line in told] == list(range(len(warmup.EXAMPLES) + 1))
    assert {line["of"] for line in told} == {len(warmup.EXAMPLES)}
    assert told[-1]["weight"] == told[-1]["all"]


@pytest.mark.parametrize("shares", [1, 2, 3, 4])
def test_every_kernel_is_in_one_share_and_shares_take_about_as_long(shares: int) -> None:
    dealt = [warmup.share(number, shares) for number in range(shares)]
    assert sorted(name for names in dealt for name in names) == sorted(warmup.EXAMPLES)
    took = [sum(map(warmup.weight, names)) for names in dealt]
    longest = max(map(warmup.weight, warmup.EXAMPLES))
    assert max(took) <= max(longest, -(-sum(took) // shares) + 1)
