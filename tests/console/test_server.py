"""`tidemark console`: says where it is, serves, and ends cleanly; a port that is taken is no obstacle."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import plain_http
import pytest

from console.options import DEFAULT_PORT, Options
from console.security.sessions import signing_key
from console.server import listen, main
from support import wait_until
from tidemark.cli.console_pages import lacks
from tidemark.errors import ConfigError

_FILE = Path(__file__).parents[2] / "pipelines" / "fraud.toml"


@contextmanager
def started(home: Path, *files: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    log = home / "console.log"
    environment = {**os.environ, "TIDEMARK_HOME": str(home), "TIDEMARK_CONSOLE_ADDRESS": "127.0.0.1:0"}
    with log.open("w") as out:
        program = [sys.executable, "-c", "from tidemark.cli import main; main()", "console", *map(str, files)]
        process = subprocess.Popen(program, env=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield process, log
    finally:
        process.kill()
        process.wait()


def test_the_command_says_where_it_is_serves_and_ends_cleanly_though_somebody_watches(tmp_path: Path) -> None:
    with started(tmp_path, _FILE) as (process, log):
        wait_until(lambda: "the console is at" in log.read_text(), log.read_text, 60)
        found = re.search(r"the console is at (http://127\.0\.0\.1:\d+)/", log.read_text())
        assert found is not None
        page = plain_http.get(f"{found[1]}/", follow_redirects=True)
        assert "The labeling service does not answer" in page.text
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert "Traceback" not in log.read_text()


def test_a_port_that_is_taken_is_passed_over_unless_it_was_named() -> None:
    with listen(Options(port=0)) as taken:
        port = taken.getsockname()[1]
        with listen(Options(port=port)) as other:
            assert other.getsockname()[1] not in {0, port}
        with pytest.raises(ConfigError, match="TIDEMARK_CONSOLE_ADDRESS"):
            listen(Options(port=port, chosen=True))
    assert Options.from_environment({}).port == DEFAULT_PORT


def test_a_pipeline_that_is_named_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDEMARK_HOME", str(tmp_path))
    assert main([str(_FILE), str(_FILE)]) == 1
    assert "name each once" in capsys.readouterr().err


def test_the_key_of_cookies_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    key = signing_key(folder)
    assert len(key) >= 32
    assert signing_key(folder) == key
    assert stat.S_IMODE((folder / "console.key").stat().st_mode) == 0o600
    assert signing_key(tmp_path / "other") != key


def test_what_is_not_installed_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacks() == ""
    monkeypatch.setattr("tidemark.cli.console_pages.find_spec", lambda name: None if name == "starlette" else name)
    assert "starlette is not installed; `pip install 'tidemark[console]'`" in lacks()
