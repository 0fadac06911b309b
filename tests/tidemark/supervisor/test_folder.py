"""One process supervises a pipeline, and its flows read one version of the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tidemark.errors import ConfigError
from tidemark.pipeline.loading import read
from tidemark.runtime.settings import Settings
from tidemark.supervisor.folder import PinnedFile, alone, pipeline_folder, running_text, supervised_by

_HOLDER = """
import sys
from pathlib import Path
from tidemark.supervisor.folder import PinnedFile, alone, pipeline_folder, running_text, supervised_by
with alone(Path(sys.argv[1]), "p"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_told_which_one_runs_the_pipeline_until_that_has_ended_however_it_ends(
    tmp_path: Path,
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert supervised_by(tmp_path) == holder.pid
    with (
        pytest.raises(ConfigError, match=rf"'p' is up already, process {holder.pid}: .*kill {holder.pid}"),
        alone(tmp_path, "p"),
    ):
        pass

    holder.kill()
    holder.communicate()

    assert supervised_by(tmp_path) is None
    with alone(tmp_path, "p"):
        pass


def test_flows_read_the_file_as_it_was_and_an_edit_is_noticed_once(tmp_path: Path) -> None:
    source = tmp_path / "p.toml"
    source.write_text("one")
    folder = pipeline_folder(Settings.from_environment({"TIDEMARK_HOME": str(tmp_path / "home")}), "p")
    pinned = PinnedFile(source, "one", folder)
    assert not pinned.edited()

    source.write_text("two")

    assert pinned.copy.read_text() == "one"
    assert [pinned.edited(), pinned.edited()] == [True, False]
    source.unlink()
    assert [pinned.edited(), pinned.edited()] == [True, False]
    source.write_text("three")
    pinned.replace("three")
    assert pinned.copy.read_text() == running_text(folder) == "three"
    assert not pinned.edited()


def test_a_file_with_the_line_ends_of_windows_is_not_taken_for_edited(tmp_path: Path) -> None:
    source = tmp_path / "p.toml"
    source.write_bytes(b"one\r\ntwo\r\n")
    pinned = PinnedFile(source, read(source), tmp_path)
    assert not pinned.edited()
    assert running_text(tmp_path) == read(source)
    source.write_bytes(b"one\r\nthree\r\n")
    assert pinned.edited()


def test_a_home_that_can_not_be_written_to_is_named_with_the_variable_that_names_another(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    with pytest.raises(ConfigError, match=r"home/pipelines: can't be written .*TIDEMARK_HOME"):
        pipeline_folder(Settings.from_environment({"TIDEMARK_HOME": str(tmp_path / "home")}), "p")
