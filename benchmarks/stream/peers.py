"""Other engines with the same task, and how they are installed: Python's from PyPI, the JVM's from Maven Central.

Each computes the features of `pipelines/fraud.toml` over two keys, applies the same forest and writes the same record.
Their programs are in `programs/`, written as their documentation recommends for state of one's own: none of them has
windows that end at each event.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Final

from benchmarks.stream.engines import Engine, Run
from benchmarks.support.environments import environment
from tidemark.runtime.settings import Settings

_PROGRAMS: Final = Path(__file__).parent / "programs"
_JAVA: Final = _PROGRAMS / "java"
_COMPLETE: Final = "complete"
_OPENED: Final = ("java.util", "java.lang", "java.time", "java.nio")


@cache
def python_environment() -> Path:
    """The folder of a virtual environment with Quix Streams and Pathway, in the user's cache; made on first use."""
    return environment("bench-stream")


@cache
def java_classes(engine: str) -> Path:
    """The folder of a JVM engine's jars and our compiled classes, in the user's cache; made on first use.

    Args:
        engine: a folder of `programs/java`.

    Raises:
        SystemExit: Java's compiler or Maven is missing.

    """
    sources = sorted([*(_JAVA / "common").glob("*"), *(_JAVA / engine).glob("*")])
    name = hashlib.sha256(b"".join(each.read_bytes() for each in sources)).hexdigest()[:16]
    folder = Settings.from_environment().cache_dir / f"bench-{engine}-{name}"
    if not (folder / _COMPLETE).exists():
        if missing := [program for program in ("java", "javac", "mvn") if shutil.which(program) is None]:
            sys.exit(f"{engine}: {', '.join(missing)} is not installed; install a JDK of 17 or later and Maven")
        pom, jars = _JAVA / engine / "pom.xml", folder / "jars"
        fetch: list[str | Path] = [
            "mvn",
            "-q",
            "-B",
            "-f",
            pom,
            "dependency:copy-dependencies",
            f"-DoutputDirectory={jars}",
        ]
        subprocess.run(fetch, check=True)
        programs = [each for each in sources if each.suffix == ".java"]
        compiled: list[str | Path] = ["javac", "-nowarn", "-d", folder / "classes", "-cp", f"{jars}/*", *programs]
        subprocess.run(compiled, check=True)
        (folder / _COMPLETE).touch()
    return folder


def _java(engine: str, main: str, _: Run) -> list[str]:
    folder = java_classes(engine)
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    return ["java", "-Xms1g", "-Xmx1g", *opened, "-cp", f"{folder / 'classes'}:{folder / 'jars'}/*", f"peers.{main}"]


def _python(program: str, _: Run) -> list[str]:
    return [str(python_environment() / "bin" / "python"), str(_PROGRAMS / program)]


def _bytewax(run: Run) -> list[str]:
    recovery = run.folder / "recovery"
    recovery.mkdir()
    subprocess.run([sys.executable, "-m", "bytewax.recovery", str(recovery), "1"], check=True)
    flow = f"{_PROGRAMS / 'bytewax_program.py'}:flow"
    return [sys.executable, "-m", "bytewax.run", flow, "-r", str(recovery), "-s", "10", "-b", "0"]


def _compiled(engine: str) -> None:
    java_classes(engine)


def _of_jvm(
    name: str, engine: str, main: str, environment: Mapping[str, str] | None = None, share: float = 0.25
) -> Engine:
    return Engine(
        name,
        "exactly once",
        partial(_java, engine, main),
        environment=environment or {},
        prepare=partial(_compiled, engine),
        share=share,
    )


def _installed() -> None:
    python_environment()


KAFKA_STREAMS: Final = "kafka-streams"
JVM: Final = (
    _of_jvm(KAFKA_STREAMS, KAFKA_STREAMS, "StreamsProgram"),
    _of_jvm(f"{KAFKA_STREAMS}, stores in memory", KAFKA_STREAMS, "StreamsProgram", {"PEER_STORE": "memory"}),
    _of_jvm("flink", "flink", "FlinkProgram"),
)
"""Engines of the JVM."""
PYTHON: Final = (
    Engine("quix-streams", "exactly once", partial(_python, "quix_program.py"), prepare=_installed, share=0.02),
    Engine("bytewax", "at least once", _bytewax, share=0.05),
    Engine("pathway", "at least once", partial(_python, "pathway_program.py"), prepare=_installed, share=0.04),
)
"""Engines whose users write Python."""
