"""Makes `.venv` with all that Tidemark needs. The standard library alone: it runs before anything is installed.

    python tools/bootstrap.py run     what Tidemark needs
    python tools/bootstrap.py dev     and what its tests, linters and benchmarks need

Every package is pinned by hash. Done once: as long as the locks are the same, a second run returns at once. pip's own
settings (`PIP_*`, pip.conf) are respected. The installing is done by uv, itself pinned and installed by pip, which
takes a tenth of the time; where it fails, or with TIDEMARK_INSTALLER=pip, pip does it.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "tidemark-setup.json"
LOCKS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
INSTALLER = "requirements-installer.txt"
OLDEST, NEWEST = (3, 11), (3, 12)

# pip's settings and uv's names for them.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "no-index": "UV_NO_INDEX",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "proxy": "HTTPS_PROXY",
}

# Imported once at the end: Python compiles them now, once, and not in each of the flows that start together.
WARMED = (
    "alembic",
    "bytewax.dataflow",
    "bytewax.run",
    "confluent_kafka.admin",
    "grpc.aio",
    "grpc_health.v1",
    "grpc_reflection.v1alpha",
    "lightgbm",
    "numba",
    "platformdirs",
    "polars",
    "psutil",
    "pydantic",
    "rich.live",
    "sqlalchemy.dialects.sqlite",
    "typer",
)


class SetupError(Exception):
    """One sentence that says what is missing and what to do."""


def python_problem(version: tuple[int, int], executable: str) -> str | None:
    """What is wrong with this Python, None if nothing is."""
    if OLDEST <= version <= NEWEST:
        return None
    return (
        f"Tidemark needs Python 3.11 or 3.12, but {executable} is Python {version[0]}.{version[1]}: install one "
        "(Debian, Ubuntu: apt-get install python3.11 python3.11-venv), or name it: make PYTHON=/path/to/python3.11"
    )


def openmp_problem(platform: str) -> str | None:
    """What LightGBM lacks of the system, None if nothing: its OpenMP library."""
    names: tuple[str, ...] = ("libgomp.so.1",)
    remedy = "apt-get install libgomp1, or dnf install libgomp"
    if not platform.startswith("linux"):
        names = ("libomp.dylib", "/opt/homebrew/opt/libomp/lib/libomp.dylib", "/usr/local/opt/libomp/lib/libomp.dylib")
        remedy = "brew install libomp"
    if any(_loads(name) for name in names):
        return None
    return f"LightGBM needs the system's OpenMP library, {names[0]}, which is not installed: {remedy}"


def venv_problem(venv: Path) -> str | None:
    """What is wrong with a virtual environment that is there already, None if nothing is."""
    python = venv / "bin" / "python"
    again = f"remove it (rm -rf {venv}) and run make again"
    if not python.exists():
        return f"{venv} is no virtual environment, or its Python is gone: {again}"
    asked = _run([str(python), "-c", "import sys; print(*sys.version_info[:2])"])
    if asked.returncode != 0:
        return f"the Python of {venv} does not run: {again}"
    major, minor = (int(part) for part in asked.stdout.split())
    if not OLDEST <= (major, minor) <= NEWEST:
        return f"{venv} has Python {major}.{minor}, and Tidemark needs 3.11 or 3.12: {again}"
    return None


def named_problem(named: str, version: tuple[int, int], venv: Path) -> str | None:
    """Why a Python that was named (`make PYTHON=...`) can't be the environment's, None if it can or none was named."""
    if not named:
        return None
    if problem := python_problem(version, named):
        return problem
    config = venv / "pyvenv.cfg"
    made = re.search(r"^version\s*=\s*(\d+)\.(\d+)", config.read_text(), re.MULTILINE) if config.exists() else None
    if made is None or (int(made[1]), int(made[2])) == version:
        return None
    return (
        f"PYTHON={named} is Python {version[0]}.{version[1]}, but {venv} was made with {made[1]}.{made[2]}: "
        "make distclean removes it, and the next make uses the Python that you name"
    )


def fingerprint(kind: str) -> str:
    """SHA-256 of all that decides what is installed."""
    digest = hashlib.sha256(kind.encode())
    for name in (LOCKS[kind], INSTALLER, "pyproject.toml", "tools/bootstrap.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def is_done(kind: str) -> bool:
    """Whether `kind`, or `dev` which has all of it, was installed from the locks as they are now."""
    try:
        done = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return any(done.get(k) == fingerprint(k) for k in {kind, "dev"})


def uv_environment(pip_settings: str, environment: dict[str, str]) -> dict[str, str]:
    """`environment` with pip's settings, as `pip config list` prints them, under uv's names.

    What is set for uv already stays. Folders of find-links that are not there are left out, as pip does.
    """
    settings: dict[str, str] = {}
    for line in pip_settings.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.strip().rpartition(".")
        # Printed in the order in which they override each other: global, install, environment.
        if section in {"global", "install", ":env:"} and key in UV_NAMES:
            settings[key] = " ".join(value.strip().strip("'\"").replace("\\n", " ").split())
    if "find-links" in settings:
        kept = [link for link in settings["find-links"].split() if "://" in link or Path(link).is_dir()]
        settings["find-links"] = ",".join(kept)
    named = {UV_NAMES[key]: value for key, value in settings.items() if value}
    if "PIP_CACHE_DIR" in environment:
        named["UV_CACHE_DIR"] = str(Path(environment["PIP_CACHE_DIR"]) / "uv")
    return {**named, **environment}


def install(kind: str) -> None:
    """Install the lock, and then the project itself, editable."""
    python = VENV / "bin" / "python"
    lock = str(ROOT / LOCKS[kind])
    pinned = ["--require-hashes", "--only-binary", ":all:"]
    if not _installed_by_uv(python, lock, pinned):
        _must(
            [str(python), "-m", "pip", "install", "--quiet", *pinned, "-r", lock],
            f"pip can't install {LOCKS[kind]}: see its message above, and check the network and pip's settings",
        )
    _must(
        [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", str(ROOT)],
        "Tidemark itself can't be installed: see pip's message above",
    )
    _must([str(python), "-c", f"import {', '.join(WARMED)}"], "what was installed can't be imported: see above")


def main(argv: list[str]) -> int:
    """Set up, or say in one sentence why not."""
    kind = argv[0] if argv else "run"
    if kind not in LOCKS:
        print(f"usage: bootstrap.py {'|'.join(LOCKS)}", file=sys.stderr)
        return 2
    try:
        _refuse(named_problem(os.environ.get("TIDEMARK_PYTHON", ""), sys.version_info[:2], VENV))
        if is_done(kind):
            return 0
        began = time.monotonic()
        _refuse(python_problem(sys.version_info[:2], sys.executable))
        _refuse(openmp_problem(sys.platform))
        if not VENV.exists():
            _make_venv()
        _refuse(venv_problem(VENV))
        print(f"installing {LOCKS[kind]} into {VENV} (once) ...", flush=True)
        STAMP.unlink(missing_ok=True)
        install(kind)
        STAMP.write_text(json.dumps({kind: fingerprint(kind)}), encoding="utf-8")
        print(f"installed in {time.monotonic() - began:.0f} s", flush=True)
    except SetupError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    return 0


def _make_venv() -> None:
    print(f"making {VENV} with {sys.executable} ...", flush=True)
    made = _run([sys.executable, "-m", "venv", str(VENV)])
    if made.returncode != 0:
        raise SetupError(
            f"{sys.executable} can't make a virtual environment (Debian, Ubuntu: apt-get install "
            f"python{sys.version_info[0]}.{sys.version_info[1]}-venv): {(made.stderr or made.stdout).strip()[-300:]}"
        )


def _installed_by_uv(python: Path, lock: str, pinned: list[str]) -> bool:
    if os.environ.get("TIDEMARK_INSTALLER") == "pip":
        return False
    first = _run([str(python), "-m", "pip", "install", "--quiet", *pinned, "-r", str(ROOT / INSTALLER)])
    if first.returncode == 0:
        config = _run([str(python), "-m", "pip", "config", "list"]).stdout
        command = [str(python), "-m", "uv", "pip", "install", "--quiet", "--python", str(python), *pinned, "-r", lock]
        done = _run(command, uv_environment(config, dict(os.environ)))
        if done.returncode == 0:
            return True
        first = done
    print(f"uv can't do it ({first.stderr.strip()[-300:]}); pip goes on, which takes longer ...", flush=True)
    return False


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise SetupError(problem)


def _must(command: list[str], otherwise: str) -> None:
    if subprocess.run(command, check=False, cwd=ROOT).returncode != 0:
        raise SetupError(otherwise)


def _run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
