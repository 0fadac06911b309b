"""What `tidemark reload` asks of `tidemark up`, by files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemark.errors import ConfigError
from tidemark.supervisor.reloading import answer, answer_of, ask, asking, taken, withdraw


def test_a_request_is_taken_once_whole_and_only_its_own_answer_counts(tmp_path: Path) -> None:
    text = "name = 'p'\n" + "# é\n" * 500_000
    identity = ask(tmp_path, tmp_path / "p.toml", text)
    assert answer_of(tmp_path, identity) is None
    request = taken(tmp_path)
    assert request is not None
    assert (request.identity, request.file, request.text) == (identity, str(tmp_path / "p.toml"), text)
    assert taken(tmp_path) is None
    answer(tmp_path, request, "no")
    found = answer_of(tmp_path, identity)
    assert found is not None
    assert found.problem == "no"
    assert answer_of(tmp_path, "another") is None


def test_what_nobody_took_is_withdrawn(tmp_path: Path) -> None:
    ask(tmp_path, tmp_path / "p.toml", "x")
    withdraw(tmp_path)
    assert taken(tmp_path) is None
    withdraw(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"identity": 1}', b"\xff"])
def test_a_file_that_is_no_request_is_removed_and_nothing_is_done(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "reload.json").write_bytes(content)
    assert taken(tmp_path) is None
    assert not (tmp_path / "reload.json").exists()


def test_of_two_that_ask_at_once_the_second_is_told_to_wait(tmp_path: Path) -> None:
    with asking(tmp_path), pytest.raises(ConfigError, match="another `tidemark reload`"), asking(tmp_path):
        pass
    with asking(tmp_path):
        pass


def test_the_files_are_their_owners_alone(tmp_path: Path) -> None:
    ask(tmp_path, tmp_path / "p.toml", "x")
    assert (tmp_path / "reload.json").stat().st_mode & 0o077 == 0
