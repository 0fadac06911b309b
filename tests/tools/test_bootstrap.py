"""The set-up's judgements and messages. That it works from nothing is what every `make test` in a fresh clone shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools import bootstrap

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("version", [(3, 11), (3, 12)])
def test_both_supported_pythons_are_accepted(version: tuple[int, int]) -> None:
    assert bootstrap.python_problem(version, "python3") is None


@pytest.mark.parametrize("version", [(2, 7), (3, 9), (3, 10), (3, 13), (4, 0)])
def test_another_python_is_named_with_what_to_do(version: tuple[int, int]) -> None:
    problem = bootstrap.python_problem(version, "/usr/bin/python3")

    assert problem is not None
    assert f"/usr/bin/python3 is Python {version[0]}.{version[1]}" in problem
    assert "apt-get install python3.11" in problem


def test_a_missing_openmp_library_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_loads", lambda _: False)

    assert "apt-get install libgomp1" in (bootstrap.openmp_problem("linux") or "")
    assert "brew install libomp" in (bootstrap.openmp_problem("darwin") or "")


def test_a_library_that_is_there_is_found_and_one_that_is_not_is_missed() -> None:
    assert bootstrap._loads("libc.so.6" if sys.platform.startswith("linux") else "libSystem.dylib")
    assert not bootstrap._loads("libnosuchthing.so.1")


def fake_venv(folder: Path, prints: str, status: int = 0) -> Path:
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\necho {prints}\nexit {status}\n", encoding="utf-8")
    python.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("prints", "status", "expected"),
    [("3 13", 0, "has Python 3.13, and Tidemark needs 3.11 or 3.12"), ("", 1, "does not run")],
)
def test_an_environment_that_does_not_fit_is_explained(tmp_path: Path, prints: str, status: int, expected: str) -> None:
    problem = bootstrap.venv_problem(fake_venv(tmp_path / "venv", prints, status))

    assert problem is not None
    assert expected in problem
    assert "rm -rf" in problem


def test_an_environment_that_fits_is_accepted_and_none_at_all_is_not(tmp_path: Path) -> None:
    assert bootstrap.venv_problem(fake_venv(tmp_path / "venv", "3 12")) is None
    assert "is no virtual environment" in (bootstrap.venv_problem(tmp_path / "absent") or "")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the set-up reads, with an environment beside it that is never installed into."""
    (tmp_path / "tools").mkdir()
    for name in (*bootstrap.LOCKS.values(), bootstrap.INSTALLER, "pyproject.toml", "tools/bootstrap.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    fake_venv(tmp_path / ".venv", "3 11")
    monkeypatch.setattr(bootstrap, "ROOT", tmp_path)
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(bootstrap, "STAMP", tmp_path / ".venv" / "stamp.json")
    return tmp_path


def test_a_set_up_that_is_done_is_not_done_again(project: Path) -> None:
    assert not bootstrap.is_done("run")
    bootstrap.STAMP.write_text(json.dumps({"dev": bootstrap.fingerprint("dev")}), encoding="utf-8")

    assert bootstrap.is_done("dev")
    assert bootstrap.is_done("run"), "what the tests need includes what Tidemark needs"
    assert project.joinpath(".venv").exists()


@pytest.mark.parametrize("changed", ["requirements-dev.txt", "requirements-installer.txt", "pyproject.toml"])
def test_a_changed_lock_is_installed_anew(project: Path, changed: str) -> None:
    bootstrap.STAMP.write_text(json.dumps({"dev": bootstrap.fingerprint("dev")}), encoding="utf-8")
    with (project / changed).open("a", encoding="utf-8") as file:
        file.write("# changed\n")

    assert not bootstrap.is_done("dev")


def test_a_damaged_stamp_counts_as_none(project: Path) -> None:
    (project / ".venv" / "stamp.json").write_text("{", encoding="utf-8")

    assert not bootstrap.is_done("run")


def test_a_problem_is_one_sentence_on_standard_error(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4, "final", 0))

    status = bootstrap.main(["run"])

    shown = capsys.readouterr()
    assert status == 1
    assert shown.out == ""
    assert re.fullmatch(r"set-up: Tidemark needs Python 3\.11 or 3\.12, but .* is Python 3\.10: .*\n", shown.err)
    assert not (project / ".venv" / "stamp.json").exists()


def test_an_unknown_kind_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bootstrap.main(["everything"]) == 2
    assert "usage" in capsys.readouterr().err


def test_pips_settings_reach_uv_under_its_names(tmp_path: Path) -> None:
    pip_config = (
        "global.cert='/etc/ca.pem'\n"
        "global.index-url='https://mirror.example/simple'\n"
        "install.trusted-host='a.example\\nb.example'\n"
        ":env:.default-timeout='180'\n"
        f":env:.find-links='/no/such/folder {tmp_path}'\n"
        ":env:.disable-pip-version-check='1'\n"
    )

    found = bootstrap.uv_environment(pip_config, {"PATH": "/bin", "PIP_CACHE_DIR": "/caches/pip"})

    assert found == {
        "PATH": "/bin",
        "PIP_CACHE_DIR": "/caches/pip",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "UV_DEFAULT_INDEX": "https://mirror.example/simple",
        "UV_INSECURE_HOST": "a.example b.example",
        "UV_HTTP_TIMEOUT": "180",
        "UV_FIND_LINKS": str(tmp_path),
        "UV_CACHE_DIR": "/caches/pip/uv",
    }


def test_what_pips_environment_says_wins_over_its_files_and_uvs_own_over_both() -> None:
    config = "global.index-url='https://file.example'\n:env:.index-url='https://env.example'\n"

    assert bootstrap.uv_environment(config, {})["UV_DEFAULT_INDEX"] == "https://env.example"
    assert bootstrap.uv_environment(config, {"UV_DEFAULT_INDEX": "https://uv.example"}) == {
        "UV_DEFAULT_INDEX": "https://uv.example"
    }


@pytest.mark.parametrize("lock", [*bootstrap.LOCKS.values(), bootstrap.INSTALLER])
def test_every_requirement_is_pinned_by_hash_and_no_host_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")

    requirements = re.split(r"\n(?! )", text.replace("\\\n", "").strip())
    assert all(re.match(r"[a-z0-9.-]+==\S+.*--hash=sha256:[0-9a-f]{64}", line) for line in requirements)
    assert "://" not in text
    assert "index" not in text.replace("trove", "")


def test_what_tidemark_needs_has_the_same_version_in_both_locks() -> None:
    run, dev = (
        set(re.findall(r"^([a-z0-9.-]+==\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in bootstrap.LOCKS.values()
    )

    assert run < dev


def make(folder: Path, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("make") or "make", "--no-print-directory", "-C", str(folder), *arguments]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A clone's Makefile and tools, and a folder of programs with a shell and nothing else."""
    shutil.copytree(ROOT / "tools", tmp_path / "clone" / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", tmp_path / "clone")
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    return tmp_path


def test_make_says_in_a_sentence_that_there_is_no_python(bare: Path) -> None:
    done = make(bare / "clone", str(bare / "programs"), "setup")

    assert done.returncode != 0
    assert "Tidemark needs Python 3.11 or 3.12, and none was found" in done.stderr


def test_make_passes_by_pythons_that_do_not_fit(bare: Path) -> None:
    """A python3.12 that does not run (as version managers leave behind) and an older python3 are both passed by."""
    for name, body in (("python3.12", "exit 127"), ("python3", "exit 1"), ("python3.11", "echo chose $0")):
        program = bare / "programs" / name
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)

    done = make(bare / "clone", str(bare / "programs"), "setup")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"chose {bare / 'programs' / 'python3.11'}"


@pytest.mark.parametrize("named", ["/no/such/python", "no-such-python", "ls"])
def test_make_refuses_a_named_python_that_is_none_whatever_else_there_is(bare: Path, named: str) -> None:
    for name in ("python3.11", "python"):
        program = bare / "programs" / name
        program.write_text("#!/bin/sh\necho chose $0\n", encoding="utf-8")
        program.chmod(0o755)

    done = make(bare / "clone", str(bare / "programs"), "setup", f"PYTHON={named}")

    assert done.returncode != 0
    assert f"PYTHON={named} is no Python that runs" in done.stderr
    assert "chose" not in done.stdout


@pytest.mark.parametrize(
    ("named", "version", "told"),
    [
        ("", (3, 12), None),
        ("python3.11", (3, 11), None),
        ("python3.12", (3, 12), "PYTHON=python3.12 is Python 3.12, but .* was made with 3.11: make distclean"),
        ("python3.9", (3, 9), "needs Python 3.11 or 3.12, but python3.9 is Python 3.9"),
    ],
)
def test_a_named_python_that_the_environment_was_not_made_with_is_told(
    tmp_path: Path, named: str, version: tuple[int, int], told: str | None
) -> None:
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.7\n", encoding="utf-8")

    problem = bootstrap.named_problem(named, version, tmp_path)

    assert problem is None if told is None else re.search(told, problem or "")
